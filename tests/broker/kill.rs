//! Death at any moment: what was acknowledged is there afterwards, once, in order.

use crate::batches::batch;
use crate::client::{Client, ask, read_all};
use crate::process::{Broker, cores, loadgen, run_to_end, wait_for};
use bytes::Bytes;
use klamm::wire::batch::batches;
use klamm::wire::codec::Records;
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::messages::{ListOffsetsRequest, ProduceRequest};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Deaths while the load runs.
const DEATHS: usize = 5;
const PARTITIONS: i32 = 2000;
/// How long the broker lives each time: long enough to write, short enough to die in the middle of it.
const LIFE: Duration = Duration::from_millis(600);

/// A port that nobody uses and that no connection gets by chance, because it is below those that the kernel gives out. Tests that
/// run side by side, and leave theirs for a while, begin to look at different places.
pub fn free_port(place: u16) -> u16 {
    let start = 20_000 + std::process::id() as u16 % 8000 + place * 1000;
    (start..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The kernel may still carry out writes of a killed process, and keeps the lock of their file so long.
#[test]
fn a_start_waits_for_the_writes_of_the_process_before() {
    let dir = tempfile::tempdir().unwrap();
    Broker::start(dir.path(), &[("cores", &cores(1))]).kill();
    let journal = std::fs::File::open(dir.path().join("journal/00/000000.journal")).unwrap();
    journal.lock().unwrap();
    let writes = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(journal);
    });
    let broker = Broker::start(dir.path(), &[("cores", &cores(1))]);
    assert!(writes.is_finished(), "the broker reads a journal that is still written");
    assert_eq!(broker.stop(), Some(0));
}

/// Runs `loadgen verify` while the broker is killed and started again and again, and `loadgen verify --check` after one more death.
fn verify_through_deaths(options: &str) {
    let (dir, ledger) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap().into_temp_path());
    std::fs::remove_file(&ledger).unwrap();
    let port = free_port(0);
    let listener = format!("PLAINTEXT://127.0.0.1:{port}");
    // Small files, so that they are recycled and closed within the test.
    let settings = [("listeners", &*listener), ("journal.file.bytes", "8388608")];
    let mut broker = Broker::start(dir.path(), &settings);
    let mut command = loadgen();
    command.args(["verify", "--json", "--bootstrap-server", &format!("127.0.0.1:{port}"), "--topic", "verified"]);
    command.args(["--topic-config", "segment.bytes=1048576", "--timeout-seconds", "100"]);
    command.args(["--partitions", "4", "--connections", "2", "--record-bytes", "100", "--batch-bytes", "2000"]);
    command
        .args(["--rate", "10000", "--seconds", "8", "--readers", "1"])
        .args(options.split_whitespace())
        .arg("--ledger")
        .arg(&*ledger);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loadgen starts");
    let pid = child.id();
    let output = std::thread::spawn(move || child.wait_with_output().expect("loadgen runs"));
    let two = cores(2);
    for death in 0..DEATHS {
        std::thread::sleep(LIFE);
        if output.is_finished() {
            break;
        }
        broker.kill();
        let more = [("cores", &*two)];
        let settings = [&settings[..], if death % 2 == 0 { &more[..] } else { &[] }].concat();
        broker = Broker::start(dir.path(), &settings);
    }
    wait_for("loadgen's end", || output.is_finished().then_some(()));
    let output = output.join().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "verify ({pid}): {text}\n{}", broker.log());
    assert!(text.contains("\"lost\":0") && text.contains("\"corrupted\":0"), "{text}");
    broker.kill();
    let broker = Broker::start(dir.path(), &settings);
    let mut command = loadgen();
    command.args(["verify", "--bootstrap-server", &format!("127.0.0.1:{port}"), "--check"]).arg(&*ledger);
    let (code, text, _) = run_to_end(command);
    assert_eq!(code, Some(0), "verify --check: {text}\n{}", broker.log());
}

#[test]
fn nothing_acknowledged_is_lost() {
    verify_through_deaths("");
}

#[test]
fn nothing_is_lost_or_doubled_by_idempotent_producers() {
    verify_through_deaths("--idempotent");
}

/// Writes a batch of `records` to each partition, a hundred partitions a request.
fn write_all(client: &mut Client, topic: &str, records: usize) {
    let bytes: Bytes = batch(records);
    for first in (0..PARTITIONS).step_by(100) {
        let partition = |index| PartitionProduceData { index, records: Some(Records::Spans(vec![bytes.clone()])) };
        let partition_data = (first..first + 100).map(partition).collect();
        let topic_data = vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data, ..Default::default() };
        let response = ask!(client, Produce, 9, ProduceResponse, request);
        let results = &response.responses[0].partition_responses;
        assert_eq!(results.len(), 100);
        assert!(results.iter().all(|result| result.error_code == 0), "{:?}", results[0]);
    }
}

/// Offsets at the end of all partitions.
fn ends(client: &mut Client, topic: &str) -> Vec<i64> {
    let wanted = |index| ListOffsetsPartition { partition_index: index, current_leader_epoch: -1, timestamp: -1 };
    let topics =
        vec![ListOffsetsTopic { name: topic.to_string().into(), partitions: (0..PARTITIONS).map(wanted).collect() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let response = ask!(client, ListOffsets, 7, ListOffsetsResponse, request);
    response.topics[0].partitions.iter().map(|partition| partition.offset).collect()
}

fn start(dir: &Path, count: usize) -> (Broker, Client) {
    let broker = Broker::start(dir, &[("cores", &cores(count))]);
    let client = Client::connect(broker.address);
    (broker, client)
}

#[test]
fn two_thousand_partitions_survive_deaths_and_other_cores() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), 1);
    client.create("many", PARTITIONS, &[]);
    let written = |times: usize| vec![(3 * times) as i64; PARTITIONS as usize];
    write_all(&mut client, "many", 3);
    broker.kill();
    for (times, count) in [(1, 2), (2, 1), (3, 2)] {
        let (broker, mut client) = start(dir.path(), count);
        assert_eq!(ends(&mut client, "many"), written(times));
        write_all(&mut client, "many", 3);
        broker.kill();
    }
    let (broker, _) = start(dir.path(), 1);
    assert_eq!(broker.stop(), Some(0));
    let (_broker, mut client) = start(dir.path(), 2);
    assert_eq!(ends(&mut client, "many"), written(4));
    for partition in [0, 7, 1234, PARTITIONS - 1] {
        let bytes = read_all(&mut client, "many", partition, 0);
        let found: Vec<(i64, i64)> =
            batches(&bytes).map(|found| (found.header.base_offset.get(), found.header.last_offset())).collect();
        assert_eq!(found, [(0, 2), (3, 5), (6, 8), (9, 11)]);
    }
}
