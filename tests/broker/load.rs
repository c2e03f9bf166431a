//! What `loadgen` says of the real program: groups, commits, and connections and topics that come and go.

use crate::process::{Broker, cores, loadgen};
use std::path::Path;

/// A number in a JSON object, by its name; of an object in it by both names, with a dot between them.
#[track_caller]
pub fn number(text: &str, path: &str) -> f64 {
    let mut rest = text;
    for name in path.split('.') {
        let at = rest.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {path} in {text}"));
        rest = &rest[at + name.len() + 3..];
    }
    let end = rest.find([',', '}']).expect("an object ends");
    rest[..end].parse().unwrap_or_else(|_| panic!("{path} is no number in {text}"))
}

#[track_caller]
fn load(broker: &Broker, options: &str) -> String {
    let mut command = loadgen();
    command.args(options.split_whitespace().map(|word| word.replace('_', " ")));
    command.args([
        "--json",
        "--bootstrap-server",
        &broker.address.to_string(),
        "--broker-pid",
        &broker.pid().to_string(),
    ]);
    let output = command.output().expect("loadgen runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The load itself, or other guests of its host, may have had too little time: then its figures are not to be believed, but
    // nothing of that is the broker's.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{options}: {text}\n{}", broker.log());
    assert!(text.contains("\"errors\":{}") && text.contains("\"connections_lost\":0"), "{options}: {text}");
    let censored = text.split_once("\"censored_by\":{").and_then(|(_, rest)| rest.split_once('}'));
    let of_broker =
        |(kinds, _): (&str, &str)| ["lost", "unanswered", "refused"].iter().any(|kind| kinds.contains(kind));
    assert!(!censored.is_some_and(of_broker), "{options}: {text}\n{}", broker.log());
    String::from_utf8(output.stdout).expect("JSON")
}

fn start(dir: &Path, count: usize) -> Broker {
    let settings = [("cores", &*cores(count)), ("group.min.session.timeout.ms", "1000")];
    Broker::start(dir, &settings)
}

/// Members come, leave and die; everything is delivered, and with a cooperative assignor what stays goes on.
#[test]
fn a_group_that_changes_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), 2);
    for assignor in ["range", "cooperative-sticky"] {
        let options = format!(
            "group --topic {assignor} --partitions 8 --members 2 --pattern 2_join,4_leave,6_die --assignor {assignor} \
             --rate 200..600/8s --arrival poisson --record-bytes 50 --heartbeat-ms 100 --session-ms 2000 --commit-ms 200 --seconds 10"
        );
        let text = load(&broker, &options);
        let value = |path: &str| number(&text, path);
        assert!(value("first_message_ms") > 0.0, "{text}");
        for event in ["rebalance_join_ms", "rebalance_leave_ms", "rebalance_die_ms"] {
            let expected = if event == "rebalance_join_ms" { 2.0 } else { 1.0 };
            assert_eq!(value(&format!("{event}.count")), expected, "{event}: {text}");
        }
        // A death is found out by the end of the session.
        assert!(value("rebalance_die_ms.max") > 1_000.0, "{text}");
        assert_eq!((value("lost"), value("rebalances_unsettled")), (0.0, 0.0), "{text}");
        assert_eq!(value("records_produced"), value("records_delivered"), "{text}");
        assert!(value("records_produced") > 1_000.0 && value("pause_moved_ms.count") > 0.0, "{text}");
        assert!(value("pause_kept_ms.count") > 0.0, "{text}");
    }
}

/// A group that begins late has a backlog, which it drains while more is written; its lag is seen from outside.
#[test]
fn a_file_of_loads_drains_a_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), 1);
    let file = dir.path().join("loads.toml");
    let loads = format!(
        "bootstrap-server = \"{}\"\nseconds = 8\n\
         [[produce]]\ntopic = \"orders\"\npartitions = 3\nrate = 500\nrecord-bytes = \"20..200\"\n\
         keys = \"hot:100:10:90\"\ntombstones = 10\nheaders = 2\n\
         [[produce]]\nname = \"large\"\ntopic = \"large\"\npartitions = 2\nrate = 20\nrecord-bytes = 20000\n\
         compression = \"zstd\"\ncompressibility = 4\n\
         [[group]]\ntopic = \"orders\"\nread = true\nfrom = \"earliest\"\nmembers = 2\nheartbeat-ms = 100\n\
         session-ms = 2000\ncommit-ms = 100\nafter-seconds = 3\n",
        broker.address
    );
    std::fs::write(&file, loads).unwrap();
    let output = loadgen().arg("run").arg(&file).arg("--json").output().expect("loadgen runs");
    let text = String::from_utf8(output.stdout).expect("JSON");
    // As above, the load may have had too little time.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{text}\n{}", broker.log());
    let (backlog, produced) = (number(&text, "lag.backlog"), number(&text, "produce-1.records"));
    assert!((500.0..=produced).contains(&backlog), "{text}");
    assert!(number(&text, "lag.drain_seconds") > 0.0 && number(&text, "lag.max") >= backlog, "{text}");
    assert!(number(&text, "lag.last") < backlog, "{text}");
    assert!((backlog..=produced).contains(&number(&text, "group-1.records_delivered")), "{text}");
    assert_eq!((number(&text, "group-1.duplicates"), text.matches("\"errors\":{}").count()), (0.0, 3), "{text}");
    assert_eq!(number(&text, "large.bytes"), 20_000.0 * number(&text, "large.records"), "{text}");
}

#[test]
fn idle_groups_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), 2);
    let text = load(&broker, "group --groups 20 --members 5 --heartbeat-ms 200 --warmup-seconds 2 --seconds 3");
    assert_eq!(number(&text, "rebalance_join_ms.count"), 20.0, "{text}");
    // A hundred members, five heartbeats a second.
    assert!(number(&text, "requests") > 300.0 && number(&text, "broker_cpu_seconds") >= 0.0, "{text}");
}

#[test]
fn commits_are_counted_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), 2);
    let text = load(&broker, "commit --connections 20 --in-flight 4 --partitions-per-commit 3 --seconds 2");
    assert!(number(&text, "commits") > 100.0 && number(&text, "commits_per_second") > 50.0, "{text}");
    assert_eq!(number(&text, "records"), 3.0 * number(&text, "commits"), "{text}");
    assert_eq!(number(&text, "positions_behind"), 0.0, "{text}");
}

#[test]
fn connections_and_topics_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), 2);
    let text = load(&broker, "churn --rate 100 --topic-rate 5 --partitions 3 --seconds 3");
    let value = |path: &str| number(&text, path);
    assert!(value("connections") > 100.0 && value("connections") <= 300.0, "{text}");
    assert!(value("topics_created") > 3.0 && value("topics_created") <= 15.0, "{text}");
    assert_eq!(value("topics_deleted"), value("topics_created"), "{text}");
    assert!(value("broker_rss_bytes_before") > 0.0 && value("broker_rss_bytes_after") > 0.0, "{text}");
}
