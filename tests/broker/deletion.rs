//! Topics that are deleted, and made again under the same name: nothing of the older one is seen, and its space is free.

use crate::client::{Client, Produce, ask, fetch_once};
use crate::process::{Broker, cores, wait_for};
use bytes::Bytes;
use klamm::types::Uuid;
use klamm::wire::batch::BatchBuilder;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use std::path::Path;

const PARTITIONS: i32 = 2;
/// More than a core holds in memory, of each partition.
const BATCHES: usize = 24;
const RECORD_BYTES: usize = 900_000;
const MEMORY_BYTES: &str = "16777216";
/// Connections are dealt out to the cores in turn.
const CONNECTIONS: usize = 4;

fn filled(byte: u8) -> Bytes {
    BatchBuilder::new(0).record(0, None, Some(&vec![byte; RECORD_BYTES])).build()
}

fn delete(client: &mut Client, topic: &str) -> i16 {
    let topics = vec![DeleteTopicState { name: Some(topic.to_string().into()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
    ask!(client, DeleteTopics, 6, DeleteTopicsResponse, request).responses[0].error_code
}

fn create(client: &mut Client, topic: &str) -> (i16, String) {
    let topic = CreatableTopic {
        name: topic.to_string().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let response = ask!(client, CreateTopics, 7, CreateTopicsResponse, request);
    let result = &response.topics[0];
    (result.error_code, result.error_message.as_deref().unwrap_or_default().into())
}

/// Files of partitions that the process has open and that have no name any more, or one that is to go.
fn held_open(broker: &Broker) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("it runs");
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.contains(".log") && (name.contains("(deleted)") || name.contains("-delete"))).collect()
}

/// A topic of which each core has read from the disk.
fn written_and_read(broker: &Broker, clients: &mut [Client], fill: u8) -> Uuid {
    let id = clients[0].create("t", PARTITIONS, &[("segment.bytes", "8388608")]);
    for partition in 0..PARTITIONS {
        for _ in 0..BATCHES {
            Produce::to("t", partition, filled(fill)).write(&mut clients[0]);
        }
    }
    for client in clients {
        for partition in 0..PARTITIONS {
            let (code, _, bytes) = fetch_once(client, "t", partition, 0, 1 << 20);
            assert_eq!(code, 0, "{}", broker.log());
            let body = &bytes[bytes.len() - RECORD_BYTES / 2..bytes.len() - 1];
            assert!(body.iter().all(|byte| *byte == fill), "another topic's records: {} for {fill}", body[0]);
        }
    }
    id
}

#[test]
fn a_name_used_again_shows_nothing_of_the_topic_before_and_its_space_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("cores", &cores(2)), ("core.memory.bytes", MEMORY_BYTES)]);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(broker.address)).collect();
    for fill in 1..=3 {
        written_and_read(&broker, &mut clients, fill);
        assert_eq!(delete(&mut clients[0], "t"), 0);
        wait_for("descriptors of deleted files to be closed", || held_open(&broker).is_empty().then_some(()));
    }
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_name_stays_taken_until_the_directory_of_the_topic_before_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("cores", &cores(2))]);
    let mut client = Client::connect(broker.address);
    let id = client.create("t", 1, &[]);
    // One batch is large enough to be written to a segment.
    Produce::to("t", 0, filled(1)).write(&mut client);
    let segment = |dir: &Path| dir.join("t-0/00000000000000000000.log").exists();
    wait_for("the segment", || segment(dir.path()).then_some(()));
    // A directory cannot take the place of another one that is not empty.
    let obstacle = dir.path().join(format!("t-0.{id}-delete"));
    std::fs::create_dir_all(obstacle.join("x")).unwrap();
    assert_eq!(delete(&mut client, "t"), 0);
    let (code, message) = create(&mut client, "t");
    assert_eq!((code, message.contains("marked for deletion")), (36, true), "{message}");
    assert_eq!(create(&mut client, "other").0, 0, "other names are free");
    assert!(segment(dir.path()), "nobody else may write there");
    std::fs::remove_dir(obstacle.join("x")).unwrap();
    wait_for("the name to be free", || (create(&mut client, "t").0 == 0).then_some(()));
    Produce::to("t", 0, filled(2)).write(&mut client);
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    let (code, end, bytes) = fetch_once(&mut client, "t", 0, 0, 1 << 20);
    assert_eq!((code, end, bytes[bytes.len() / 2]), (0, 1, 2));
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn files_of_another_topic_are_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let theirs = dir.path().join("t-0");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("partition.metadata"), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAEQ\n").unwrap();
    std::fs::write(theirs.join("00000000000000000000.log"), "theirs").unwrap();
    Produce::to("t", 0, filled(1)).write(&mut client);
    wait_for("the segment", || {
        let written = std::fs::metadata(theirs.join("00000000000000000000.log")).ok()?.len() > 100_000;
        written.then_some(())
    });
    let stray = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let stray = stray.filter(|path| path.to_string_lossy().ends_with("-stray")).collect::<Vec<_>>();
    assert_eq!(stray.len(), 1);
    assert_eq!(std::fs::read_to_string(stray[0].join("00000000000000000000.log")).unwrap(), "theirs");
    assert_eq!(broker.stop(), Some(0));
}
