//! Records that go by themselves, because they are old or because there are too many of them.

use crate::client::{Client, Produce, ask, fetch_once, read_all};
use crate::process::{Broker, wait_for};
use bytes::Bytes;
use klamm::wire::batch::{BatchBuilder, batches};
use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use klamm::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm::wire::messages::{DeleteRecordsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const OUT_OF_RANGE: i16 = 1;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Looks come often, and files go soon.
const OFTEN: [(&str, &str); 3] = [
    ("log.initial.task.delay.ms", "0"),
    ("log.retention.check.interval.ms", "50"),
    ("log.segment.delete.delay.ms", "0"),
];
/// One record of this size, and no second one, fits into a segment of 1 MiB.
const LARGE_BYTES: usize = 600_000;
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn record(ms: i64, bytes: usize) -> Bytes {
    BatchBuilder::new(0).record(ms, None, Some(&vec![7; bytes])).build()
}

/// The log's first offset, and its end.
fn bounds(client: &mut Client, topic: &str) -> (i64, i64) {
    let mut at = |timestamp| {
        let partition = ListOffsetsPartition { current_leader_epoch: -1, timestamp, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: topic.to_string().into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = ask!(client, ListOffsets, 7, ListOffsetsResponse, request);
        response.topics[0].partitions[0].offset
    };
    (at(-2), at(-1))
}

fn wait_for_bounds(client: &mut Client, topic: &str, expected: (i64, i64)) {
    let mut seen = (-1, -1);
    wait_for(&format!("{topic} to hold {expected:?}"), || {
        let (start, end) = bounds(client, topic);
        assert!(
            start >= seen.0 && start <= expected.0,
            "{topic} starts at {start}, was {seen:?}, goes to {expected:?}"
        );
        seen = (start, end);
        (seen == expected).then_some(())
    });
}

fn alter(client: &mut Client, kind: i8, name: &str, setting: &str, value: &str) {
    let config = AlterableConfig {
        name: setting.to_string().into(),
        config_operation: 0,
        value: Some(value.to_string().into()),
    };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.to_string().into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = ask!(client, IncrementalAlterConfigs, 1, IncrementalAlterConfigsResponse, request);
    assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
}

/// Base offsets in the names of the partition's segments.
fn segments(dir: &Path, partition: &str) -> Vec<i64> {
    let names = fs::read_dir(dir.join(partition)).expect("the directory is there");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut bases: Vec<i64> = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

fn wait_for_segments(dir: &Path, partition: &str, expected: &[i64]) {
    wait_for(&format!("the segments {expected:?} of {partition}"), || {
        (segments(dir, partition) == expected).then_some(())
    });
}

#[test]
fn old_segments_go_in_order_and_with_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &OFTEN);
    let mut client = Client::connect(broker.address);
    let settings = [("segment.bytes", "1048576"), ("retention.ms", "3600000")];
    client.create("t", 1, &settings);
    client.create("compacted", 1, &[settings[0], settings[1], ("cleanup.policy", "compact")]);
    client.create("both", 1, &[settings[0], settings[1], ("cleanup.policy", "compact,delete")]);
    let young = now_ms();
    // One that is young keeps what is behind it.
    for (at, ms) in
        [young - 2 * HOUR_MS, young - 3 * HOUR_MS, young, young - 2 * HOUR_MS, young].into_iter().enumerate()
    {
        for topic in ["t", "compacted", "both"] {
            let keyed = BatchBuilder::new(0).record(ms, Some(b"k"), Some(&vec![7; LARGE_BYTES])).build();
            // Those that are old may go before the next one comes.
            assert_eq!(Produce::to(topic, 0, keyed).write(&mut client), at as i64, "{topic}");
        }
    }
    for topic in ["t", "both"] {
        wait_for_bounds(&mut client, topic, (2, 5));
        assert_eq!(fetch_once(&mut client, topic, 0, 1, 1000).0, OUT_OF_RANGE);
        assert_eq!(batches(&read_all(&mut client, topic, 0, 2)).count(), 3);
    }
    assert_eq!(bounds(&mut client, "compacted"), (0, 5));
    broker.wait_for_log("t-0: the log starts at offset");
    assert_eq!(broker.stop(), Some(0));
    assert_eq!(segments(dir.path(), "t-0"), [2, 3, 4]);
    assert_eq!(segments(dir.path(), "compacted-0"), [0, 1, 2, 3, 4]);
    let broker = Broker::start(dir.path(), &OFTEN);
    let mut client = Client::connect(broker.address);
    assert_eq!((bounds(&mut client, "t"), bounds(&mut client, "compacted")), ((2, 5), (0, 5)));
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_log_that_is_all_old_becomes_empty_and_goes_on_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &OFTEN);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("retention.ms", "3600000")]);
    let (old, young) = (now_ms() - 2 * HOUR_MS, now_ms() + 60_000);
    // A few bytes, which are in the journal alone, and so many that they are in a segment.
    let mut end = 0;
    for bytes in [10, LARGE_BYTES] {
        assert_eq!(Produce::to("t", 0, record(old, bytes)).write(&mut client), end);
        end += 1;
        wait_for_bounds(&mut client, "t", (end, end));
    }
    wait_for("the segment's file to go", || {
        let dir = dir.path().join("t-0");
        (!dir.exists() || segments(dir.parent().unwrap(), "t-0").is_empty()).then_some(())
    });
    // Of the time to come: it stays until that is past.
    assert_eq!(Produce::to("t", 0, record(young, 10)).write(&mut client), 2);
    broker.kill();
    let broker = Broker::start(dir.path(), &OFTEN);
    let mut client = Client::connect(broker.address);
    assert_eq!(bounds(&mut client, "t"), (2, 3));
    assert_eq!(fetch_once(&mut client, "t", 0, 1, 1000).0, OUT_OF_RANGE);
    assert_eq!(batches(&read_all(&mut client, "t", 0, 2)).count(), 1);
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_partition_stays_within_its_bytes_without_waiting_for_a_look() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[OFTEN[2]]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("segment.bytes", "1048576"), ("retention.bytes", "1500000")]);
    for offset in 0..20 {
        assert_eq!(Produce::to("t", 0, record(now_ms(), LARGE_BYTES)).write(&mut client), offset);
    }
    // Without the first of three there would be less than that.
    wait_for_bounds(&mut client, "t", (17, 20));
    wait_for_segments(dir.path(), "t-0", &[17, 18, 19]);
    assert_eq!(batches(&read_all(&mut client, "t", 0, 17)).count(), 3);
    broker.kill();
    let broker = Broker::start(dir.path(), &[OFTEN[2]]);
    assert_eq!(bounds(&mut Client::connect(broker.address), "t"), (17, 20));
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn settings_are_obeyed_as_soon_as_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let given = [("log.retention.minutes", "120"), ("log.retention.hours", "1")];
    let broker = Broker::start(dir.path(), &[&OFTEN[..], &given].concat());
    let mut client = Client::connect(broker.address);
    let old = now_ms() - HOUR_MS - HOUR_MS / 2;
    for topic in ["a", "b", "c"] {
        client.create(topic, 1, &[]);
        assert_eq!(Produce::to(topic, 0, record(old, 10)).write(&mut client), 0);
    }
    // Minutes count before hours, or these would be gone at once.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bounds(&mut client, "a"), (0, 1));
    alter(&mut client, TOPIC, "a", "retention.ms", "3600000");
    wait_for_bounds(&mut client, "a", (1, 1));
    alter(&mut client, TOPIC, "c", "retention.ms", "-1");
    assert_eq!(bounds(&mut client, "b"), (0, 1));
    alter(&mut client, BROKER, "", "log.retention.ms", "3600000");
    wait_for_bounds(&mut client, "b", (1, 1));
    assert_eq!(bounds(&mut client, "c"), (0, 1), "the topic's own setting counts first");
    alter(&mut client, TOPIC, "c", "retention.ms", "1000");
    wait_for_bounds(&mut client, "c", (1, 1));
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn segments_begin_by_the_times_of_records() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &OFTEN);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("segment.ms", "10000"), ("retention.ms", "-1")]);
    client.create("jitter", 1, &[("segment.ms", "10000"), ("segment.jitter.ms", "10000"), ("retention.ms", "-1")]);
    let first = now_ms() - HOUR_MS;
    for ms in [0, 10_000, 10_001, 10_002, 30_000] {
        Produce::to("t", 0, record(first + ms, 10)).write(&mut client);
    }
    for ms in (0..60_000).step_by(1000) {
        Produce::to("jitter", 0, record(first + ms, 10)).write(&mut client);
    }
    assert_eq!(broker.stop(), Some(0));
    assert_eq!(segments(dir.path(), "t-0"), [0, 2, 4]);
    let bases = segments(dir.path(), "jitter-0");
    let lengths: Vec<i64> = bases.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(lengths.iter().all(|length| (1..=11).contains(length)), "{bases:?}");
    assert!(lengths.iter().any(|length| *length != lengths[0]), "{bases:?}");
}

#[test]
fn files_stay_for_a_while_after_their_segment_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[OFTEN[0], OFTEN[1]]);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[("segment.bytes", "1048576"), ("file.delete.delay.ms", "3600000")]);
    for _ in 0..3 {
        Produce::to("t", 0, record(now_ms(), LARGE_BYTES)).write(&mut client);
    }
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 2 }];
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 60_000 };
    let response = ask!(client, DeleteRecords, 2, DeleteRecordsResponse, request);
    assert_eq!(response.topics[0].partitions[0].low_watermark, 2);
    wait_for_segments(dir.path(), "t-0", &[0, 1, 2]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(segments(dir.path(), "t-0"), [0, 1, 2]);
    assert_eq!(broker.stop(), Some(0));
    let broker = Broker::start(dir.path(), &[]);
    wait_for_segments(dir.path(), "t-0", &[2]);
    assert_eq!(broker.stop(), Some(0));
}
