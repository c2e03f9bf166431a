//! `klamm storage` and `kafka-storage`: data directories without a broker, and a broker in one of them.

use crate::process::Broker;
use crate::stage::{alone, tool_alone};
use std::path::Path;

/// A file of settings that names a data directory, which is not there yet.
fn settings(dir: &Path) -> (String, String) {
    let (data, file) = (dir.join("data"), dir.join("server.properties"));
    std::fs::write(&file, format!("node.id=3\nlog.dirs={}\n", data.display())).unwrap();
    (data.display().to_string(), file.display().to_string())
}

#[test]
fn a_directory_is_formatted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = settings(dir.path());
    assert!(alone(&format!("storage info -c {file}")).ill(1).contains("No such file"));
    let told = alone(&format!("storage format -c {file} -t abc --format json")).well();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["formatted"].as_bool(), told["cluster_id"].as_str()), (Some(true), Some("abc")));
    assert!(alone(&format!("storage format -c {file} -t abc")).ill(1).contains("formatted already"));
    let again = format!("{data}: formatted already, cluster abc, node 3\n");
    assert_eq!(alone(&format!("storage format -c {file} -g")).well(), again);
    assert!(alone(&format!("storage format -c {file} -g -t other")).ill(1).contains("Expected other, but read abc"));
    let info = alone(&format!("storage info -c {file}")).well();
    assert_eq!(info, format!("{data}\n  cluster.id=abc\n  format=klamm-1\n  node.id=3\n  version=1\n"));
    assert!(alone(&format!("storage info -c {file} --override node.id=4")).ill(1).contains("node.id=3"));
}

#[test]
fn a_broker_keeps_the_cluster_id() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    alone(&format!("storage format --override log.dirs={} -t MkU3OEVBNTcwNTJENDM2Qk", data.display())).well();
    let broker = Broker::start(&data, &[]);
    let id = alone(&format!("cluster id --bootstrap-server {}", broker.address)).well();
    assert_eq!(id.trim(), "MkU3OEVBNTcwNTJENDM2Qk");
}

#[test]
fn ids_are_new_each_time() {
    let ids: Vec<String> = (0..3).map(|_| alone("storage random-uuid").well()).collect();
    assert!(ids.iter().all(|id| id.len() == 23 && klamm::types::Uuid::parse(id.trim()).is_some()), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && !ids.iter().any(|id| id.starts_with('-')));
    assert_eq!(tool_alone("kafka-storage.sh", "random-uuid").well().len(), 23);
}

#[test]
fn kafkas_tool_says_what_kafkas_says() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = settings(dir.path());
    let storage = |line: &str| tool_alone("kafka-storage", line);
    let missing = storage(&format!("info -c {file}"));
    let problem = format!("Found problem:\n  {data} does not exist\n\n");
    assert_eq!((missing.status, missing.out, missing.err), (Some(1), problem, String::new()));
    let told = storage(&format!("format --standalone --cluster-id abc --config {file}")).well();
    assert_eq!(told, format!("Formatting dynamic metadata voter directory {data} with metadata.version 4.1-IV1.\n"));
    let again = storage(&format!("format -t abc -c {file}")).ill(1);
    assert_eq!(
        again,
        format!(
            "Log directory {data} is already formatted. Use --ignore-formatted to ignore this directory and format the others.\n"
        )
    );
    let told = storage(&format!("format -g -t abc -c {file}")).well();
    assert_eq!(told, "All of the log directories are already formatted.\n");
    let wrong = storage(&format!("format -g -t abd -c {file}")).ill(1);
    assert_eq!(wrong, format!("Invalid cluster.id in: {data}/meta.properties. Expected abd, but read abc\n"));
    let info = storage(&format!("info -c {file}")).well();
    let metadata = "{cluster.id=abc, format=klamm-1, node.id=3, version=1}";
    assert_eq!(info, format!("Found log directory:\n  {data}\n\nFound metadata: {metadata}\n\n"));
    assert!(storage(&format!("format -t abc -c {file} --add-scram x")).ill(1).contains("--add-scram is not served"));
    let two = "1@a:1:x,2@b:1:y";
    assert!(storage(&format!("format -t abc -c {file} -I {two}")).ill(1).contains(two));
    assert!(storage("format -c x").ill(1).contains("--cluster-id"));
    assert!(storage("version-mapping").ill(1).contains("version-mapping"));
}
