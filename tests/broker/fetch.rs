//! What Fetch, ListOffsets and OffsetForLeaderEpoch refuse, and how.

use crate::batches::{batch, compressed, timed};
use crate::client::{Client, Produce, ask, fetch_once};
use crate::process::Broker;
use crate::subject::Subject;
use klamm::types::Uuid;
use klamm::wire::batch::{BatchBuilder, Compression, batches};
use klamm::wire::codec::Records;
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use klamm::wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, OffsetForLeaderEpochRequest};

/// A topic of two partitions, ten records in batches of five in the first; its name and id.
fn world(subject: &Subject) -> (Client, String, Uuid) {
    let mut client = subject.connect();
    let topic = subject.name("fetched");
    let id = client.create(&topic, 2, &[]);
    for offset in [0, 5] {
        assert_eq!(Produce::to(&topic, 0, batch(5)).write(&mut client), offset);
    }
    (client, topic, id)
}

#[derive(Clone)]
struct Wanted {
    version: i16,
    topic: String,
    id: Uuid,
    partition: i32,
    offset: i64,
    epoch: i32,
    bytes_max: i32,
    session: (i32, i32),
    forgotten: Vec<i32>,
    empty: bool,
}

impl Wanted {
    fn of(topic: &str, id: Uuid) -> Wanted {
        Wanted {
            version: 11,
            topic: topic.into(),
            id,
            partition: 0,
            offset: 0,
            epoch: -1,
            bytes_max: 1 << 20,
            session: (0, -1),
            forgotten: vec![],
            empty: false,
        }
    }

    fn ask(&self, client: &mut Client) -> FetchResponse<'static> {
        let partition = FetchPartition {
            partition: self.partition,
            current_leader_epoch: self.epoch,
            fetch_offset: self.offset,
            partition_max_bytes: self.bytes_max,
            ..Default::default()
        };
        let topic: FetchTopic<'static> =
            FetchTopic { topic: self.topic.clone().into(), topic_id: self.id, partitions: vec![partition] };
        let forgotten =
            ForgottenTopic { topic: self.topic.clone().into(), topic_id: self.id, partitions: self.forgotten.clone() };
        let request = FetchRequest {
            max_bytes: i32::MAX,
            session_id: self.session.0,
            session_epoch: self.session.1,
            topics: if self.empty { vec![] } else { vec![topic] },
            forgotten_topics_data: if self.forgotten.is_empty() { vec![] } else { vec![forgotten] },
            ..Default::default()
        };
        ask!(client, Fetch, self.version, FetchResponse, request)
    }
}

/// Error, high watermark, and the offsets of the batches of the answer's only partition.
fn outcome(response: &FetchResponse<'_>) -> (ErrorCode, i64, Vec<i64>) {
    assert_eq!(response.error_code, 0);
    let data = &response.responses[0].partitions[0];
    let bases = match &data.records {
        Some(Records::Slice(bytes)) => batches(bytes).map(|found| found.header.base_offset.get()).collect(),
        _ => vec![],
    };
    (ErrorCode::from_code(data.error_code).expect("known"), data.high_watermark, bases)
}

#[test]
fn fetches_are_refused_as_by_kafka() {
    let subject = Subject::new(&[]);
    let (mut client, topic, id) = world(&subject);
    let by_name = Wanted::of(&topic, id);
    let by_id = Wanted { version: 13, ..by_name.clone() };
    let nothing = vec![];
    for (name, wanted, code, bases) in [
        ("all", by_name.clone(), None, vec![0, 5]),
        ("all, by id", by_id.clone(), None, vec![0, 5]),
        ("within a batch", Wanted { offset: 7, ..by_name.clone() }, None, vec![5]),
        ("one batch at least", Wanted { bytes_max: 1, ..by_name.clone() }, None, vec![0]),
        ("no bytes", Wanted { bytes_max: 0, ..by_name.clone() }, None, vec![0]),
        ("the end", Wanted { offset: 10, ..by_name.clone() }, None, nothing.clone()),
        ("an empty partition", Wanted { partition: 1, ..by_name.clone() }, None, nothing.clone()),
        ("behind the end", Wanted { offset: 11, ..by_name.clone() }, OffsetOutOfRange, nothing.clone()),
        ("before the start", Wanted { offset: -1, ..by_name.clone() }, OffsetOutOfRange, nothing.clone()),
        ("no such partition", Wanted { partition: 2, ..by_name.clone() }, UnknownTopicOrPartition, nothing.clone()),
        (
            "no such partition, by id",
            Wanted { partition: 2, ..by_id.clone() },
            UnknownTopicOrPartition,
            nothing.clone(),
        ),
        ("a negative partition", Wanted { partition: -1, ..by_name.clone() }, UnknownTopicOrPartition, nothing.clone()),
        (
            "no such topic",
            Wanted { topic: subject.name("no"), ..by_name.clone() },
            UnknownTopicOrPartition,
            nothing.clone(),
        ),
        ("no such id", Wanted { id: Uuid([7; 16]), ..by_id.clone() }, UnknownTopicId, nothing.clone()),
        ("an id of zero", Wanted { id: Uuid::ZERO, ..by_id.clone() }, UnknownTopicId, nothing.clone()),
        ("the leader's epoch", Wanted { epoch: 0, ..by_name.clone() }, None, vec![0, 5]),
        ("a later epoch", Wanted { epoch: 1, ..by_name.clone() }, UnknownLeaderEpoch, nothing.clone()),
    ] {
        let (got, high_watermark, found) = outcome(&wanted.ask(&mut client));
        assert_eq!((got, found), (code, bases), "{name}");
        assert!(code != None || high_watermark == if wanted.partition == 0 { 10 } else { 0 }, "{name}");
    }
}

#[test]
fn fetch_sessions_are_kept_as_by_kafka() {
    let subject = Subject::new(&[]);
    let (mut client, topic, id) = world(&subject);
    let wanted = Wanted { version: 11, offset: 10, session: (0, 0), ..Wanted::of(&topic, id) };
    let first = wanted.ask(&mut client);
    let session = first.session_id;
    assert!(first.error_code == 0 && session != 0 && outcome(&first) == (None, 10, vec![]));
    let next = |epoch| Wanted { session: (session, epoch), empty: true, ..wanted.clone() };
    // Nothing is new, so nothing is said.
    let second = next(1).ask(&mut client);
    assert_eq!((second.session_id, second.responses.len()), (session, 0));
    assert_eq!(Produce::to(&topic, 0, batch(2)).write(&mut client), 10);
    assert_eq!(outcome(&next(2).ask(&mut client)), (None, 12, vec![10]));
    for (request, code) in [
        (next(2), InvalidFetchSessionEpoch),
        (next(9), InvalidFetchSessionEpoch),
        (Wanted { session: (session.wrapping_add(77), 1), ..next(1) }, FetchSessionIdNotFound),
        (Wanted { session: (0, 1), ..next(1) }, FetchSessionIdNotFound),
    ] {
        let refused = request.ask(&mut client);
        assert_eq!((ErrorCode::from_code(refused.error_code), refused.responses.len()), (Some(code), 0));
    }
    // Another partition is added, the first one forgotten.
    let changed = Wanted { partition: 1, offset: 0, empty: false, forgotten: vec![0], ..next(3) }.ask(&mut client);
    let told: Vec<i32> =
        changed.responses.iter().flat_map(|t| t.partitions.iter().map(|p| p.partition_index)).collect();
    assert_eq!((changed.error_code, told), (0, vec![1]));
    assert_eq!(Produce::to(&topic, 0, batch(2)).write(&mut client), 12);
    assert_eq!(next(4).ask(&mut client).responses.len(), 0);
    // The session ends, and is not found again.
    let ended = Wanted { session: (session, -1), empty: false, ..next(5) }.ask(&mut client);
    assert_eq!((ended.error_code, ended.session_id), (0, 0));
    assert_eq!(next(5).ask(&mut client).error_code, FetchSessionIdNotFound.code());
}

/// Error, timestamp and offset.
fn list(client: &mut Client, version: i16, topic: &str, partition: i32, epoch: i32, at: i64) -> (ErrorCode, i64, i64) {
    let wanted = ListOffsetsPartition { partition_index: partition, current_leader_epoch: epoch, timestamp: at };
    let topics = vec![ListOffsetsTopic { name: topic.to_string().into(), partitions: vec![wanted] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, timeout_ms: 1000, ..Default::default() };
    let response = ask!(client, ListOffsets, version, ListOffsetsResponse, request);
    let partition = &response.topics[0].partitions[0];
    (ErrorCode::from_code(partition.error_code).expect("known"), partition.timestamp, partition.offset)
}

#[test]
fn offsets_are_listed_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("listed");
    client.create(&topic, 2, &[]);
    Produce::to(&topic, 0, timed(&[1000, 3000, 2000])).write(&mut client);
    Produce::to(&topic, 0, compressed(&timed(&[5000, 4000, 6000]), Compression::Lz4)).write(&mut client);
    Produce::to(&topic, 0, timed(&[2500])).write(&mut client);
    for (at, expected) in [
        (-1, (None, -1, 7)),
        (-2, (None, -1, 0)),
        (-3, (None, 6000, 5)),
        (-4, (None, -1, 0)),
        (0, (None, 1000, 0)),
        (1000, (None, 1000, 0)),
        (1001, (None, 3000, 1)),
        (2001, (None, 3000, 1)),
        (3001, (None, 5000, 3)),
        (5001, (None, 6000, 5)),
        (6001, (None, -1, -1)),
    ] {
        assert_eq!(list(&mut client, 8, &topic, 0, -1, at), expected, "at {at}");
    }
    for at in [-1, -2, -4] {
        assert_eq!(list(&mut client, 8, &topic, 1, -1, at), (None, -1, 0), "of nothing, at {at}");
    }
    for at in [-3, 0, i64::MAX] {
        assert_eq!(list(&mut client, 8, &topic, 1, -1, at), (None, -1, -1), "of nothing, at {at}");
    }
    let unknown = subject.name("unknown");
    assert_eq!(list(&mut client, 8, &unknown, 0, -1, -1), (UnknownTopicOrPartition, -1, -1));
    assert_eq!(list(&mut client, 8, &topic, 2, -1, -1), (UnknownTopicOrPartition, -1, -1));
    assert_eq!(list(&mut client, 8, &topic, -1, -1, -1), (UnknownTopicOrPartition, -1, -1));
    assert_eq!(list(&mut client, 8, &topic, 0, 0, -1), (None, -1, 7));
    assert_eq!(list(&mut client, 8, &topic, 0, 1, -1), (UnknownLeaderEpoch, -1, -1));
    // Special times that a version does not know yet, and one that none knows.
    for (version, at) in [(6, -3), (7, -4), (8, -5), (10, -6), (10, -99)] {
        assert_eq!(list(&mut client, version, &topic, 0, -1, at), (UnsupportedVersion, -1, -1), "{version}: {at}");
    }
}

#[test]
fn epochs_end_as_with_kafka() {
    let subject = Subject::new(&[]);
    let (mut client, topic, _) = world(&subject);
    let unknown = subject.name("unknown");
    let mut ask = |topic: &str, partition, epoch, leader_epoch| {
        let wanted = OffsetForLeaderPartition { partition, current_leader_epoch: leader_epoch, leader_epoch: epoch };
        let topics = vec![OffsetForLeaderTopic { topic: topic.to_string().into(), partitions: vec![wanted] }];
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
        let response = ask!(client, OffsetForLeaderEpoch, 4, OffsetForLeaderEpochResponse, request);
        let end = &response.topics[0].partitions[0];
        (ErrorCode::from_code(end.error_code).expect("known"), end.leader_epoch, end.end_offset)
    };
    assert_eq!(ask(&topic, 0, 0, -1), (None, 0, 10));
    assert_eq!(ask(&topic, 0, 0, 0), (None, 0, 10));
    assert_eq!(ask(&topic, 0, 1, -1), (None, -1, -1));
    assert_eq!(ask(&topic, 0, -1, -1), (None, -1, -1));
    assert_eq!(ask(&topic, 0, 0, 1), (UnknownLeaderEpoch, -1, -1));
    assert_eq!(ask(&topic, 5, 0, -1), (UnknownTopicOrPartition, -1, -1));
    assert_eq!(ask(&unknown, 0, 0, -1), (UnknownTopicOrPartition, -1, -1));
}

#[test]
fn times_are_found_in_closed_segments() {
    const BATCHES: i64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("segment.bytes", "1048576")]);
    for number in 0..BATCHES {
        let records = BatchBuilder::new(0).record((number + 1) * 1000, Option::None, Some(&[7; 50_000])).build();
        Produce::to("t", 0, records).write(&mut client);
    }
    assert_eq!(broker.stop(), Some(0));
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    for number in 0..BATCHES {
        let time = (number + 1) * 1000;
        for at in [time - 999, time] {
            assert_eq!(list(&mut client, 8, "t", 0, -1, at), (None, time, number), "at {at}");
        }
    }
    assert_eq!(broker.stop(), Some(0));
    // An index that leads on shows that the search begins where it says.
    let index = [&0i64.to_be_bytes()[..], &15u32.to_be_bytes()].concat();
    std::fs::write(dir.path().join("t-0/00000000000000000000.timeindex"), index).unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    let (code, _, offset) = list(&mut client, 8, "t", 0, -1, 1);
    assert!(code == None && (1..=16).contains(&offset), "{offset}");
}

#[test]
fn batches_larger_than_an_answer_are_read_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    for _ in 0..8 {
        let records = BatchBuilder::new(0).record(0, Option::None, Some(&[7; 300_000])).build();
        Produce::to("t", 0, records).write(&mut client);
    }
    assert_eq!(broker.stop(), Some(0));
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    for bytes_max in [1, 5000, 310_000, 700_000] {
        let mut offset = 0;
        while offset < 8 {
            let (code, _, bytes) = fetch_once(&mut client, "t", 0, offset, bytes_max);
            let last = batches(&bytes).last().expect("one batch at least").header.last_offset();
            assert!(code == 0 && last >= offset, "{bytes_max} bytes from {offset}");
            offset = last + 1;
        }
    }
}

/// Bytes of the records of each partition of one Fetch, in the order of the request.
fn sizes(client: &mut Client, topic: &str, partitions: &[i32], max: i32, partition_max: i32) -> Vec<usize> {
    let partition = |&partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        partition_max_bytes: partition_max,
        ..Default::default()
    };
    let topic: FetchTopic<'static> = FetchTopic {
        topic: topic.to_string().into(),
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    let request = FetchRequest { max_bytes: max, session_epoch: -1, topics: vec![topic], ..Default::default() };
    let response: FetchResponse<'static> = ask!(client, Fetch, 11, FetchResponse, request);
    let records = response.responses.iter().flat_map(|topic| &topic.partitions).map(|data| {
        assert_eq!(data.error_code, 0);
        match &data.records {
            Some(Records::Slice(bytes)) => bytes.len(),
            _ => 0,
        }
    });
    records.collect()
}

/// KIP-74: only the first partition that is not empty may exceed the limits, whether the batches are in memory or on disk.
#[test]
fn an_answer_exceeds_its_limits_by_its_first_batch_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [("num.partitions", "4")];
    let mut broker = Broker::start(dir.path(), &settings);
    for stored in ["in memory", "on disk"] {
        let mut client = Client::connect(broker.address);
        if stored == "in memory" {
            client.create("large", 4, &[]);
            let value = vec![7; 921_600];
            for partition in 1..4 {
                let batch = BatchBuilder::new(0).record(0, Option::None, Some(&value)).build();
                assert_eq!(batch.len(), 921_672, "the size that was reported");
                assert_eq!(Produce::to("large", partition, batch).write(&mut client), 0);
            }
        }
        for (max, partition_max, expected) in [
            (1_000_000, 1 << 20, [0, 921_672, 0, 0]),
            (i32::MAX, 100_000, [0, 921_672, 0, 0]),
            (2_000_000, 1 << 20, [0, 921_672, 921_672, 0]),
            (i32::MAX, 1, [0, 921_672, 0, 0]),
            (0, 1 << 20, [0, 921_672, 0, 0]),
        ] {
            let all = sizes(&mut client, "large", &[0, 1, 2, 3], max, partition_max);
            assert_eq!(all, expected, "{stored}: {max} bytes, {partition_max} a partition");
        }
        // A partition that is named twice is answered once.
        assert_eq!(sizes(&mut client, "large", &[2, 2, 1], 1_000_000, 1 << 20), [921_672, 0], "{stored}");
        if stored == "in memory" {
            assert_eq!(broker.stop(), Some(0));
            broker = Broker::start(dir.path(), &settings);
        }
    }
}
