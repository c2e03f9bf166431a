//! Memory follows the settings: whatever peers do, the broker stays below what README says, and who behaves is served.

use crate::batches::{batch, now_ms, sequenced};
use crate::client::{Client, Produce, ask, fetch_once};
use crate::process::{Broker, cores, wait_for};
use bytes::Bytes;
use klamm::wire::batch::BatchBuilder;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::{ApiKey, DescribeProducersRequest, FetchRequest};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MEBIBYTE: usize = 1 << 20;
pub const MEMORY: usize = 64 * MEBIBYTE;
pub const REQUEST: usize = 16 * MEBIBYTE;
const PARTITIONS: i32 = 4;

/// What README says that the broker may use.
pub fn allowed(cores: usize) -> u64 {
    (100 * MEBIBYTE + cores * (7 * MEMORY / 2 + 32 * MEBIBYTE + REQUEST)) as u64
}

/// A broker on two cores with little memory, and a topic with partitions on both.
fn start(dir: &Path, more: &[(&str, &str)]) -> (Broker, Client) {
    let (cores, memory, request) = (cores(2), MEMORY.to_string(), REQUEST.to_string());
    let mut settings =
        vec![("cores", &*cores), ("core.memory.bytes", &*memory), ("socket.request.max.bytes", &*request)];
    settings.extend_from_slice(more);
    let broker = Broker::start(dir, &settings);
    let mut client = Client::connect(broker.address);
    client.create("t", PARTITIONS, &[]);
    client.create("other", PARTITIONS, &[]);
    (broker, client)
}

/// The most memory that the process has had.
pub fn peak(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is listed");
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[track_caller]
fn assert_within(broker: &Broker) {
    let (peak, allowed) = (peak(broker), allowed(cores(2).split(',').count()));
    assert!(peak < allowed, "{} MiB were used, {} are allowed", peak >> 20, allowed >> 20);
}

fn large(bytes: usize) -> Bytes {
    BatchBuilder::new(0).record(now_ms(), None, Some(&vec![7; bytes])).build()
}

/// Somebody who writes and reads a little, again and again, on all partitions.
fn behave(client: &mut Client, times: usize) {
    for number in 0..times {
        let partition = number as i32 % PARTITIONS;
        let offset = Produce::to("other", partition, batch(1)).write(client);
        assert_eq!(fetch_once(client, "other", partition, offset, 1000).0, 0);
    }
}

/// Fills the partitions of `t` with so many batches of this size each.
fn fill(client: &mut Client, batches: usize, bytes: usize) {
    let records = large(bytes);
    for partition in 0..PARTITIONS {
        for _ in 0..batches {
            Produce::to("t", partition, records.clone()).write(client);
        }
    }
}

fn fetch_all(offset: i64, bytes_max: i32) -> FetchRequest<'static> {
    let wanted = |partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    let topics =
        vec![FetchTopic { topic: "t".into(), partitions: (0..PARTITIONS).map(wanted).collect(), ..Default::default() }];
    FetchRequest { max_bytes: i32::MAX, topics, session_epoch: -1, min_bytes: 1, ..Default::default() }
}

/// Batches just too large to be copied together, each with as much else in its request and on its connection as can be.
#[test]
fn a_batch_does_not_keep_its_receive_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), &[]);
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let address = broker.address;
            std::thread::spawn(move || {
                let mut writer = Client::connect(address);
                for _ in 0..400 {
                    // A batch of 33 KiB for a partition that is there, and a large one for one that is not.
                    two(&mut writer, number % PARTITIONS, large(33 << 10), 77, large(600 << 10));
                }
            })
        })
        .collect();
    behave(&mut client, 50);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_within(&broker);
}

/// Writes two batches of one request, and waits for the answer.
fn two(client: &mut Client, first: i32, first_records: Bytes, second: i32, second_records: Bytes) {
    use klamm::wire::codec::Records;
    use klamm::wire::messages::ProduceRequest;
    use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let data = |index, records| PartitionProduceData { index, records: Some(Records::Spans(vec![records])) };
    let partition_data = vec![data(first, first_records), data(second, second_records)];
    let topic = TopicProduceData { name: "t".into(), partition_data, ..Default::default() };
    let request = ProduceRequest { acks: 1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    client.send(ApiKey::Produce, 9, |w| request.encode(w, 9));
    client.frame().expect("it is open");
}

/// Connections that ask for much, from segments, and read nothing of it.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    // Far more than there is memory for, so that most of it is read from segments.
    let (broker, mut client) = start(dir.path(), &[("fetch.max.bytes", "8388608")]);
    fill(&mut client, 60, 900 << 10);
    let mut silent: Vec<Client> = (0..40).map(|_| Client::connect(broker.address)).collect();
    for round in 0..15 {
        for (number, client) in silent.iter_mut().enumerate() {
            let request = fetch_all((number + round) as i64 % 50, 2 << 20);
            // Who is closed meanwhile has what it deserves.
            let frame = klamm::wire::frame::request_frame(ApiKey::Fetch, 11, 1, None, |w| request.encode(w, 11));
            let _ = client.stream.write_all(&frame.concat());
        }
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        behave(&mut client, 4);
        // Segments too.
        let request = fetch_all(3, 2 << 20);
        client.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
        assert!(client.frame().expect("it is open").len() > MEBIBYTE);
    }
    broker.wait_for_log("it does not read its answers");
    assert_within(&broker);
}

/// One connection that asks six hundred times before it reads, and then does.
#[test]
fn a_connection_that_asks_ahead_is_answered_in_pieces() {
    const FETCHES: usize = 600;
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), &[]);
    fill(&mut client, 40, 900 << 10);
    let mut eager = Client::connect(broker.address);
    let mut writer = Client { stream: eager.stream.try_clone().unwrap(), correlation: 0 };
    for number in 0..FETCHES {
        let request = fetch_all(number as i64 % 30, 2 << 20);
        writer.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
    }
    behave(&mut client, 100);
    assert_within(&broker);
    for number in 0..FETCHES {
        let frame = eager.frame().expect("it is open");
        assert_eq!(frame[..4], (number as i32 + 1).to_be_bytes());
    }
    assert_within(&broker);
}

/// Requests that never arrive whole.
#[test]
fn half_received_requests_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), &[]);
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut half = Client::connect(broker.address);
                half.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
                let _ = half.stream.write_all(&(REQUEST as i32 - 4).to_be_bytes());
                let _ = half.stream.write_all(&[0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff]);
                let mut left = REQUEST - 100;
                let block = vec![0; 64 << 10];
                while left > block.len() && !stopped.load(Ordering::Acquire) {
                    match half.stream.write(&block[..block.len().min(left)]) {
                        Ok(written) => left -= written,
                        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
                        Err(_) => return,
                    }
                }
                while !stopped.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // Small requests are not held up, and large ones get their turn.
        behave(&mut client, 200);
        for _ in 0..4 {
            Produce::to("other", 0, large(900 << 10)).write(&mut client);
        }
        stopped.store(true, Ordering::Release);
    });
    assert_within(&broker);
    broker.wait_for_log("its request arrives slowly");
}

/// Fetches that name very many partitions, wait, and want to be remembered.
#[test]
fn fetches_that_wait_and_sessions_are_bounded() {
    const NAMED: i32 = 70_000;
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), &[]);
    let wanted = |partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        partition_max_bytes: 1,
        ..Default::default()
    };
    let topics =
        vec![FetchTopic { topic: "t".into(), partitions: (0..NAMED).map(wanted).collect(), ..Default::default() }];
    let request =
        FetchRequest { max_bytes: 1000, max_wait_ms: 1, min_bytes: 1, topics, session_epoch: 0, ..Default::default() };
    for _ in 0..100 {
        let mut greedy = Client::connect(broker.address);
        greedy.send(ApiKey::Fetch, 11, |w| request.encode(w, 11));
        greedy.frame().expect("it is open");
    }
    behave(&mut client, 50);
    assert_within(&broker);
}

/// Much is written without acknowledgement to partitions of both cores while the drive takes nothing, and then does.
#[test]
fn writers_that_want_no_answer_are_slowed() {
    // A build for use has no way to stop the drive: there it is only slow.
    const FROZEN: Duration = Duration::from_secs(5);
    let dir = tempfile::tempdir().unwrap();
    let settings = [("journal.file.bytes", "8388608"), ("journal.files.max", "4")];
    let (broker, mut client) = start(dir.path(), &settings);
    let frozen = dir.path().join("frozen");
    std::fs::write(&frozen, "").unwrap();
    let records = large(900 << 10);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let records = &records;
            let address = broker.address;
            scope.spawn(move || {
                let mut writer = Client::connect(address);
                writer.stream.set_write_timeout(None).unwrap();
                for round in 0..150 {
                    let mut request = Produce::to("t", (number + round) % PARTITIONS, records.clone());
                    request.acks = 0;
                    request.send(&mut writer);
                }
            });
        }
        let mut waiting = Client::connect(broker.address);
        Produce::to("other", 0, batch(1)).send(&mut waiting);
        std::thread::sleep(FROZEN);
        assert_within(&broker);
        waiting.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let answered = waiting.stream.peek(&mut [0]).is_ok();
        assert!(!cfg!(debug_assertions) || !answered, "the drive takes nothing");
        std::fs::remove_file(&frozen).unwrap();
        behave(&mut client, 20);
    });
    for partition in 0..PARTITIONS {
        wait_for("all batches", || (fetch_once(&mut client, "t", partition, 0, 1).1 == 150).then_some(()));
    }
    assert_within(&broker);
}

/// Ids of the producers that the broker remembers of partition 0.
fn producers(client: &mut Client) -> Vec<i64> {
    use klamm::wire::messages::describe_producers_request::TopicRequest;
    let topics = vec![TopicRequest { name: "t".into(), partition_indexes: vec![0] }];
    let response = ask!(client, DescribeProducers, 0, DescribeProducersResponse, DescribeProducersRequest { topics });
    response.topics[0].partitions[0].active_producers.iter().map(|producer| producer.producer_id).collect()
}

/// Producers that come and go: those that were silent for longest are forgotten.
#[test]
fn producers_are_bounded() {
    const MOST: usize = 1000;
    const ALL: i64 = 5000;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("core.producers.max", &MOST.to_string())]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    for id in 0..ALL {
        // One that stays, among those that come once.
        let (id, sequence) = if id % 100 == 99 { (7, (id / 100) as i32) } else { (id + 1000, 0) };
        let written = Produce::to("t", 0, sequenced(id, 0, sequence, 1)).write(&mut client);
        assert!(written < ALL);
    }
    let left = wait_for("the limit", || Some(producers(&mut client)).filter(|left| left.len() <= MOST));
    assert!(left.len() > MOST / 4, "{} are left", left.len());
    // A batch that comes again is known if its producer is.
    let mut again = |id, sequence| Produce::to("t", 0, sequenced(id, 0, sequence, 1)).write(&mut client);
    assert_eq!(again(7, (ALL / 100 - 1) as i32), ALL - 1);
    assert_eq!(again(ALL - 2 + 1000, 0), ALL - 2);
    assert_eq!(again(1000, 0), ALL);
}

#[test]
fn producers_expire_when_they_are_looked_through() {
    for (interval, expires) in [("20", true), ("600000", false)] {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("producer.id.expiration.ms", "1"), ("producer.id.expiration.check.interval.ms", interval)];
        let broker = Broker::start(dir.path(), &settings);
        let mut client = Client::connect(broker.address);
        client.create("t", 1, &[]);
        Produce::to("t", 0, sequenced(5, 0, 0, 1)).write(&mut client);
        if expires {
            wait_for("the producer's end", || producers(&mut client).is_empty().then_some(()));
        } else {
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(producers(&mut client), [5]);
        }
    }
}
