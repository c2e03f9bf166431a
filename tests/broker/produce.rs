//! What Produce refuses, and how: Kafka's code for exactly that.

use crate::batches::*;
use crate::client::{Client, Produce, Produced, read_all};
use crate::subject::Subject;
use bytes::Bytes;
use klamm::types::Uuid;
use klamm::wire::batch::{BatchBuilder, CRC_START, Compression, HEADER_BYTES};
use klamm::wire::error::ErrorCode::{self, *};

/// What is sent, and what comes back: the code, and the records at fault.
struct Case {
    name: &'static str,
    topic: &'static str,
    version: i16,
    records: Option<Bytes>,
    code: ErrorCode,
    faults: &'static [i32],
    /// What Kafka does where this broker does not do the same.
    kafka: &'static str,
}

fn case(name: &'static str, topic: &'static str, records: Bytes, code: ErrorCode) -> Case {
    Case { name, topic, version: 9, records: Some(records), code, faults: &[], kafka: "" }
}

impl Case {
    fn faults(self, faults: &'static [i32]) -> Case {
        Case { faults, ..self }
    }

    fn unlike_kafka(self, kafka: &'static str) -> Case {
        assert!(!kafka.is_empty());
        Case { kafka, ..self }
    }

    fn version(self, version: i16) -> Case {
        Case { version, ..self }
    }
}

/// Kafka's answer to what it did not foresee.
const UNKNOWN: &str = "answers UNKNOWN_SERVER_ERROR";

const TOPICS: [(&str, &[(&str, &str)]); 6] = [
    ("plain", &[]),
    ("compact", &[("cleanup.policy", "compact")]),
    ("small", &[("max.message.bytes", "1000")]),
    ("times", &[("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "3600000")]),
    ("stamped", &[("message.timestamp.type", "LogAppendTime")]),
    ("gzip", &[("compression.type", "gzip")]),
];

fn sound() -> Vec<Case> {
    let mut cases = vec![
        case("one record", "plain", batch(1), None),
        case("records without keys", "plain", keyed(3, |_| false, now_ms()), None),
        case("records without times", "plain", timed(&[-1]), None),
        case("keys", "compact", batch(3), None),
        case("as large as allowed", "small", sized(1000), None),
        case("within the times", "times", timed(&[now_ms() - 3_500_000, now_ms() + 3_500_000]), None),
        case("a time type of its own", "plain", edited(&batch(2), ATTRIBUTES + 1, &[8]), None),
        case("any time, stamped", "stamped", timed(&[1]), None),
        case("zstd in version 7", "plain", compressed(&batch(3), Compression::Zstd), None).version(7),
    ];
    for compression in COMPRESSIONS {
        for topic in ["plain", "compact", "stamped", "gzip"] {
            cases.push(case("compressed", topic, compressed(&batch(3), compression), None));
        }
    }
    cases
}

/// A batch of one record that is as large as this.
fn sized(bytes: usize) -> Bytes {
    let make = |value: usize| BatchBuilder::new(0).record(now_ms(), Some(b"key"), Some(&vec![7; value])).build();
    let batch = make(bytes - make(200).len() + 200);
    assert_eq!(batch.len(), bytes);
    batch
}

fn broken() -> Vec<Case> {
    let good = batch(3);
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let attributes = |bits: u8| edited(&good, ATTRIBUTES + 1, &[bits]);
    let count = |count: i32| edited(&good, RECORDS_COUNT, &count.to_be_bytes());
    let delta = |delta: i32| edited(&good, LAST_OFFSET_DELTA, &delta.to_be_bytes());
    let both = |count: i32| edited(&delta(count - 1), RECORDS_COUNT, &count.to_be_bytes());
    let length = |length: i32| Bytes::from([&good[..8], &length.to_be_bytes(), &good[12..]].concat());
    let magic = |magic: u8| edited(&good, MAGIC, &[magic]);
    vec![
        Case { records: Option::None, ..case("null", "plain", Bytes::new(), InvalidRecord) }
            .unlike_kafka("never answers"),
        case("empty", "plain", Bytes::new(), InvalidRecord),
        case("a flipped bit in a record", "plain", flipped(70), CorruptMessage),
        case("a flipped bit in the header", "plain", flipped(30), CorruptMessage),
        case("a flipped bit in the checksum", "plain", flipped(18), CorruptMessage),
        case("magic 0", "plain", magic(0), InvalidRecord),
        case("magic 1", "plain", magic(1), InvalidRecord),
        case("magic 3", "plain", magic(3), CorruptMessage),
        case("two batches", "plain", [&good[..], &good[..]].concat().into(), InvalidRecord),
        case("bytes behind the batch", "plain", [&good[..], &[0; 5]].concat().into(), InvalidRecord)
            .unlike_kafka("cuts them off"),
        case("a batch cut short", "plain", good.slice(..good.len() - 1), InvalidRecord),
        case("a header cut short", "plain", good.slice(..30), InvalidRecord),
        case("a length of 0", "plain", length(0), CorruptMessage),
        case("a negative length", "plain", length(-1), CorruptMessage),
        case("a length beyond the end", "plain", length(1 << 20), InvalidRecord),
        case("no records", "plain", both(0), InvalidRecord),
        case("a negative count", "plain", count(-1), InvalidRecord),
        case("a count below the offsets", "plain", count(2), InvalidRecord),
        case("a count above the offsets", "plain", count(4), InvalidRecord),
        case("too few records", "plain", both(4), InvalidRecord),
        case("too many records", "plain", both(2), InvalidRecord),
        case("a huge count", "plain", both(i32::MAX), InvalidRecord),
        case("a control batch", "plain", attributes(1 << 5), InvalidRecord),
        case("an unknown compression", "plain", attributes(5), InvalidRecord).unlike_kafka(UNKNOWN),
        case("a transaction out of nowhere", "plain", attributes(1 << 4), TransactionalIdAuthorizationFailed),
        case("a base offset", "plain", edited(&good, 0, &7i64.to_be_bytes()), InvalidRecord),
        case("zstd in version 6", "plain", compressed(&good, Compression::Zstd), UnsupportedCompressionType).version(6),
        case("larger than allowed", "small", sized(1001), MessageTooLarge),
        case("larger than allowed and corrupt", "small", flipped_of(&sized(1001)), MessageTooLarge),
    ]
}

fn flipped_of(batch: &Bytes) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[70] ^= 1;
    bytes.into()
}

fn records() -> Vec<Case> {
    let now = now_ms();
    let hours = |hours: i64| now + hours * 3_600_000;
    let without_keys = keyed(4, |index| index % 2 == 0, now);
    let none = keyed(1, |_| false, now);
    let mut cases = vec![
        case("a record without a key", "compact", none.clone(), InvalidRecord).faults(&[0]),
        case("some records without keys", "compact", without_keys.clone(), InvalidRecord).faults(&[1, 3]),
        case("too old", "times", timed(&[hours(-2)]), InvalidTimestamp).faults(&[0]),
        case("too new", "times", timed(&[now, hours(2), now]), InvalidTimestamp).faults(&[1]),
        case("one too old in the middle", "times", timed(&[now, hours(-2), now]), InvalidTimestamp).faults(&[1]),
        case("too new by default", "plain", timed(&[hours(2)]), InvalidTimestamp).faults(&[0]),
        case("offsets that do not count up", "plain", wrong_offset(), InvalidRecord)
            .faults(&[1])
            .unlike_kafka("stores what no consumer can read"),
        case("a record of the wrong length", "plain", wrong_record(), InvalidRecord),
        case("a record of the wrong length, compacted", "compact", wrong_record(), InvalidRecord),
    ];
    for compression in COMPRESSIONS {
        let few =
            edited(&edited(&batch(3), LAST_OFFSET_DELTA, &3i32.to_be_bytes()), RECORDS_COUNT, &4i32.to_be_bytes());
        let garbage = with_payload(&batch(3), compression, &[0xaa; 40]);
        for topic in ["compact", "gzip"] {
            if (topic, compression) == ("gzip", Compression::Gzip) {
                continue;
            }
            cases.push(case("compressed, too few records", topic, compressed(&few, compression), InvalidRecord));
            let wrong =
                case("compressed, a wrong length", topic, compressed(&wrong_record(), compression), InvalidRecord);
            cases.push(if topic == "gzip" { wrong } else { wrong.unlike_kafka("looks at keys alone") });
            let garbage = case("no compressed bytes", topic, garbage.clone(), InvalidRecord);
            cases.push(garbage.unlike_kafka(UNKNOWN));
        }
        let keyless = compressed(&without_keys, compression);
        cases.push(case("compressed without keys", "compact", keyless, InvalidRecord).faults(&[1, 3]));
        let late = compressed(&timed(&[now, hours(2), now]), compression);
        cases.push(case("compressed too new", "times", late, InvalidTimestamp).faults(&[1]));
    }
    cases
}

/// A batch whose second record claims one byte more than its fields have.
fn wrong_record() -> Bytes {
    let good = batch(3);
    let record = (good.len() - HEADER_BYTES) / 3;
    let mut bytes = good.to_vec();
    bytes[HEADER_BYTES + record] += 2;
    sealed(bytes)
}

/// A batch whose second record has the first one's offset.
fn wrong_offset() -> Bytes {
    let good = batch(3);
    let record = (good.len() - HEADER_BYTES) / 3;
    // Length, attributes and timestamp take a byte each.
    edited(&good, HEADER_BYTES + record + 3, &[0])
}

fn check(cases: Vec<Case>) {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let names: Vec<(String, &str)> = TOPICS.map(|(name, _)| (subject.name(name), name)).into();
    for ((name, _), (_, settings)) in names.iter().zip(TOPICS) {
        client.create(name, 1, settings);
    }
    let mut wrong = Vec::new();
    for case in cases.into_iter().filter(|case| case.kafka.is_empty() || !subject.is_other()) {
        let (topic, _) = names.iter().find(|(_, known)| *known == case.topic).expect("a topic");
        let produce = Produce { version: case.version, records: case.records, ..Produce::to(topic, 0, Bytes::new()) };
        let Produced { code, records, message, .. } = produce.ask(&mut client);
        // Records at fault are told from version 8 on.
        let known = ErrorCode::from_code(code).map(ErrorCode::name);
        if code != case.code.code() || (case.version >= 8 && records != case.faults) {
            wrong.push(format!("{}, {}: {known:?} {records:?} ({message:?})", case.topic, case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sound_batches_are_taken() {
    check(sound());
}

#[test]
fn broken_batches_are_refused() {
    check(broken());
}

#[test]
fn broken_records_are_refused() {
    check(records());
}

#[test]
fn wrong_destinations_are_refused() {
    let subject = Subject::new(&[("auto.create.topics.enable", "false")]);
    let mut client = subject.connect();
    let (topic, unknown) = (subject.name("there"), subject.name("unknown"));
    let id = client.create(&topic, 2, &[]);
    let good = Produce::to(&topic, 0, batch(1));
    let by_id = Produce { version: 13, topic: "", id, ..good.clone() };
    assert_eq!(by_id.ask(&mut client).code, 0);
    for (name, produce, code) in [
        ("an unknown topic", Produce { topic: &unknown, ..good.clone() }, UnknownTopicOrPartition),
        ("a partition behind the last", Produce { partition: 2, ..good.clone() }, UnknownTopicOrPartition),
        ("a negative partition", Produce { partition: -1, ..good.clone() }, UnknownTopicOrPartition),
        ("an unknown id", Produce { id: Uuid([7; 16]), ..by_id.clone() }, UnknownTopicId),
        ("no id", Produce { id: Uuid::ZERO, ..by_id.clone() }, UnknownTopicId),
        ("a partition behind the last, by id", Produce { partition: 2, ..by_id.clone() }, UnknownTopicOrPartition),
        ("acks 2", Produce { acks: 2, ..good.clone() }, InvalidRequiredAcks),
        ("acks -2", Produce { acks: -2, ..good.clone() }, InvalidRequiredAcks),
    ] {
        assert_eq!(ErrorCode::from_code(produce.ask(&mut client).code), Some(code), "{name}");
    }
    // Without acknowledgements an error closes the connection.
    let silent = Produce { acks: 0, ..good.clone() };
    silent.send(&mut client);
    assert_eq!(good.ask(&mut client).code, 0, "nothing was answered to acks=0");
    Produce { topic: &unknown, ..silent }.send(&mut client);
    assert!(client.is_closed());
}

#[test]
fn sequences_are_kept() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("sequences");
    client.create(&topic, 1, &[]);
    let producer = 1_000_000 + now_ms();
    let mut send = |epoch, sequence, records| {
        let produced = Produce::to(&topic, 0, sequenced(producer, epoch, sequence, records)).ask(&mut client);
        (ErrorCode::from_code(produced.code).expect("known").name(), produced.offset)
    };
    // Nothing is known of the producer: any sequence is taken (KIP-360).
    assert_eq!(send(3, 10, 2), ("NONE", 0));
    assert_eq!(send(3, 12, 1), ("NONE", 2));
    assert_eq!(send(3, 12, 1), ("NONE", 2), "again");
    assert_eq!(send(3, 10, 2), ("NONE", 0), "again, an older one");
    assert_eq!(send(3, 14, 1), ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1));
    assert_eq!(send(3, 11, 1), ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1), "overlaps");
    assert_eq!(send(2, 13, 1), ("INVALID_PRODUCER_EPOCH", -1));
    assert_eq!(send(4, 13, 1), ("OUT_OF_ORDER_SEQUENCE_NUMBER", -1), "a new epoch begins at 0");
    assert_eq!(send(4, 0, 1), ("NONE", 3));
    for sequence in 1..=6 {
        assert_eq!(send(4, sequence, 1), ("NONE", 3 + i64::from(sequence)));
    }
    assert_eq!(send(4, 2, 1), ("NONE", 5), "the fifth last");
    assert_eq!(send(4, 1, 1).0, "OUT_OF_ORDER_SEQUENCE_NUMBER", "the sixth last");
    assert_eq!(send(4, -1, 1).0, "INVALID_RECORD");
    // Sequences go round.
    assert_eq!(send(5, 0, 1), ("NONE", 10));
    let other = producer + 1;
    let mut send =
        |sequence, records| Produce::to(&topic, 0, sequenced(other, 0, sequence, records)).ask(&mut client).code;
    assert_eq!([send(i32::MAX - 1, 3), send(1, 1), send(3, 1)], [0, 0, OutOfOrderSequenceNumber.code()]);
}

#[test]
fn the_header_is_made_to_tell_the_truth() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("truth");
    client.create(&topic, 1, &[]);
    let sent = batch(2);
    let stamped = edited(&sent, ATTRIBUTES + 1, &[8]);
    let (early, late) = (edited(&sent, MAX_TIMESTAMP, &[0; 8]), edited(&sent, MAX_TIMESTAMP, &[0x7f; 8]));
    for records in [&stamped, &early, &late] {
        Produce::to(&topic, 0, records.clone()).write(&mut client);
    }
    let bytes = read_all(&mut client, &topic, 0, 0);
    let stored: Vec<_> = klamm::wire::batch::batches(&bytes).map(|batch| batch.bytes[CRC_START..].to_vec()).collect();
    assert_eq!(stored, vec![sent[CRC_START..].to_vec(); 3]);
}

#[test]
fn append_time_is_the_brokers() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("stamped");
    client.create(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    for records in [timed(&[5, 7]), compressed(&timed(&[5, 7]), Compression::Lz4)] {
        let produced = Produce::to(&topic, 0, records).ask(&mut client);
        assert_eq!(produced.code, 0);
        assert!((before..=now_ms()).contains(&produced.log_append_time));
    }
    let bytes = read_all(&mut client, &topic, 0, 0);
    let mut count = 0;
    for batch in klamm::wire::batch::batches(&bytes) {
        assert!(klamm::wire::batch::crc_ok(batch.bytes) && batch.header.is_log_append_time());
        assert!((before..=now_ms()).contains(&batch.header.max_timestamp.get()));
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn batches_are_stored_as_the_topic_compresses() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let all = [Compression::None].into_iter().chain(COMPRESSIONS);
    for (name, stored) in [
        ("uncompressed", Compression::None),
        ("gzip", COMPRESSIONS[0]),
        ("snappy", COMPRESSIONS[1]),
        ("lz4", COMPRESSIONS[2]),
        ("zstd", COMPRESSIONS[3]),
    ] {
        let topic = subject.name(&format!("stored-{name}"));
        client.create(&topic, 1, &[("compression.type", name)]);
        let sent = batch(50);
        for compression in all.clone() {
            Produce::to(&topic, 0, compressed(&sent, compression)).write(&mut client);
        }
        let bytes = read_all(&mut client, &topic, 0, 0);
        let mut offset = 0;
        for batch in klamm::wire::batch::batches(&bytes) {
            assert!(klamm::wire::batch::crc_ok(batch.bytes));
            assert_eq!((batch.header.compression(), batch.header.base_offset.get()), (Some(stored), offset), "{name}");
            let records = klamm::wire::compression::decompress(stored, &batch.bytes[HEADER_BYTES..], 1 << 20);
            let plain = with_payload(&batch.bytes.to_vec().into(), Compression::None, &records.expect("sound"));
            assert_eq!(contents(&plain), contents(&sent));
            offset += 50;
        }
        assert_eq!(offset, 250);
    }
}

#[test]
fn a_refusal_leaves_the_connection_open() {
    let subject = Subject::new(&[]);
    let mut client: Client = subject.connect();
    let topic = subject.name("open");
    client.create(&topic, 1, &[]);
    for offset in 0..5 {
        let mut corrupt = batch(1).to_vec();
        *corrupt.last_mut().unwrap() ^= 1;
        assert_eq!(Produce::to(&topic, 0, corrupt.into()).ask(&mut client).code, CorruptMessage.code());
        assert_eq!(Produce::to(&topic, 0, batch(1)).write(&mut client), offset);
    }
}
