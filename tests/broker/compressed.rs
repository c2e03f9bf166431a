//! Compressed records are looked at before they are acknowledged: whatever is stored can be read.

use crate::batches::*;
use crate::client::{Client, Produce, ask, read_all};
use crate::process::Broker;
use crate::subject::Subject;
use bytes::Bytes;
use klamm::wire::batch::{BatchBuilder, Compression, HEADER_BYTES, batches};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ListOffsetsRequest, list_offsets_request, list_offsets_response};
use std::io::Write;

/// Sends each; none may be taken, and nothing of any may be stored.
#[track_caller]
fn all_refused(client: &mut Client, topic: &str, cases: Vec<(String, Bytes)>) {
    for (name, records) in cases {
        let produced = Produce::to(topic, 0, records).ask(client);
        assert_eq!(
            ErrorCode::from_code(produced.code),
            Some(ErrorCode::InvalidRecord),
            "{name}: {:?}",
            produced.message
        );
    }
    assert_eq!(Produce::to(topic, 0, batch(1)).write(client), 0, "nothing is stored");
}

/// The records of a batch, as they are when not compressed.
fn plain(batch: &Bytes) -> &[u8] {
    &batch[HEADER_BYTES..]
}

#[test]
fn compressed_records_that_cannot_be_read_are_refused() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("unreadable");
    client.create(&topic, 1, &[]);
    let good = batch(3);
    let mut cases = Vec::new();
    for compression in COMPRESSIONS {
        let mut case = |name: &str, records| cases.push((format!("{compression:?}, {name}"), records));
        let payload = compress(compression, plain(&good));
        case("noise", with_payload(&good, compression, &[0xaa; 40]));
        case("no payload", with_payload(&good, compression, &[]));
        for end in 1..payload.len() {
            case(&format!("cut at {end}"), with_payload(&good, compression, &payload[..end]));
        }
        case("bytes behind", with_payload(&good, compression, &[&payload[..], &[0; 3]].concat()));
        case("nothing in it", with_payload(&good, compression, &compress(compression, &[])));
        for other in COMPRESSIONS.into_iter().filter(|other| *other != compression) {
            case(&format!("in fact {other:?}"), with_payload(&good, compression, &compress(other, plain(&good))));
        }
        case("not compressed", with_payload(&good, compression, plain(&good)));
    }
    all_refused(&mut client, &topic, cases);
}

#[test]
fn compressed_records_that_are_not_what_the_header_counts_are_refused() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("miscounted");
    client.create(&topic, 1, &[]);
    let good = batch(3);
    let record = plain(&good).len() / 3;
    let mut cases = Vec::new();
    for compression in COMPRESSIONS {
        let mut case = |name: &str, records: &[u8]| {
            let payload = compress(compression, records);
            cases.push((format!("{compression:?}, {name}"), with_payload(&good, compression, &payload)));
        };
        case("a record too few", &plain(&good)[..2 * record]);
        case("a record too many", plain(&batch(4)));
        case("a byte too few", &plain(&good)[..3 * record - 1]);
        case("a byte too many", &[plain(&good), &[0]].concat());
        case("the first record three times", &plain(&good)[..record].repeat(3));
        case("records in another order", &[&plain(&good)[record..], &plain(&good)[..record]].concat());
    }
    all_refused(&mut client, &topic, cases);
}

#[test]
fn lz4_that_some_client_cannot_read_is_refused() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("lz4");
    client.create(&topic, 1, &[]);
    let good = batch(3);
    let record = plain(&good).len() / 3;
    let frame = |info, bytes: &[u8]| {
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let info = lz4_flex::frame::FrameInfo::new;
    let two = [&plain(&good)[..record], &plain(&good)[record..]].map(|part| frame(info(), part)).concat();
    let linked = frame(info().block_mode(lz4_flex::frame::BlockMode::Linked), plain(&good));
    // Magic number, flags, block size, checksum: Kafka before 0.10 had the magic number in the checksum, too (0x82 without).
    let mut old = frame(info(), plain(&good));
    assert_eq!((&old[4..6], old[6]), (&[0x60, 0x40][..], 0x82));
    old[6] = OLD_CHECKSUM;
    let cases = [("two frames", two), ("blocks that depend on each other", linked), ("the old checksum", old)];
    let cases = cases.map(|(name, payload)| (name.to_string(), with_payload(&good, Compression::Lz4, &payload)));
    all_refused(&mut client, &topic, cases.into());
}

/// Second byte of XXH32 of `04 22 4d 18 60 40`, as an old client wrote it.
const OLD_CHECKSUM: u8 = 0x1a;

/// What clients write besides the plainest form of each codec.
fn forms(records: &[u8]) -> Vec<(&'static str, Compression, Vec<u8>)> {
    let mut java = vec![0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    for part in records.chunks(40) {
        let block = compress(Compression::Snappy, part);
        java.extend((block.len() as u32).to_be_bytes());
        java.extend(block);
    }
    let mut gzip = flate2::GzBuilder::new().filename("records").write(Vec::new(), flate2::Compression::best());
    gzip.write_all(records).unwrap();
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true).block_checksums(true);
    let mut lz4 = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    lz4.write_all(records).unwrap();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 22).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(records).unwrap();
    vec![
        ("snappy-java's blocks", Compression::Snappy, java),
        ("a name in the header", Compression::Gzip, gzip.finish().unwrap()),
        ("checksums", Compression::Lz4, lz4.finish().unwrap()),
        ("checksum and the largest window", Compression::Zstd, zstd.finish().unwrap()),
        ("one call", Compression::Zstd, zstd::bulk::compress(records, 3).unwrap()),
    ]
}

#[test]
fn every_form_of_compression_that_clients_write_is_stored_as_it_came() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("forms");
    client.create(&topic, 1, &[]);
    let good = batch(50);
    let mut sent: Vec<Bytes> = COMPRESSIONS.map(|compression| compressed(&good, compression)).into();
    sent.extend(forms(plain(&good)).iter().map(|(_, compression, payload)| with_payload(&good, *compression, payload)));
    for records in &sent {
        Produce::to(&topic, 0, records.clone()).write(&mut client);
    }
    let stored = read_all(&mut client, &topic, 0, 0);
    let stored: Vec<&[u8]> = batches(&stored).map(|batch| &batch.bytes[16..]).collect();
    assert!(stored == sent.iter().map(|batch| &batch[16..]).collect::<Vec<_>>());
}

#[test]
fn a_compressed_batch_without_its_latest_time_gets_the_true_one() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("latest");
    client.create(&topic, 1, &[]);
    let now = now_ms();
    for compression in COMPRESSIONS {
        let sent = compressed(&timed(&[now, now + 1000, now - 1000]), compression);
        let offset = Produce::to(&topic, 0, edited(&sent, MAX_TIMESTAMP, &(-1i64).to_be_bytes())).write(&mut client);
        let stored = read_all(&mut client, &topic, 0, offset);
        assert!(stored[21..] == sent[21..], "{compression:?}");
        assert_eq!(find(&mut client, &topic, &[now + 1]), [(0, now + 1000, 1)]);
    }
}

/// Code, time and offset of the first record at or after each of these times in partition 0.
#[track_caller]
fn find(client: &mut Client, topic: &str, times: &[i64]) -> Vec<(i16, i64, i64)> {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let wanted =
        |timestamp: &i64| ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: *timestamp };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: times.iter().map(wanted).collect() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let found = ask!(client, ListOffsets, 7, ListOffsetsResponse, request);
    let answer =
        |part: &list_offsets_response::ListOffsetsPartitionResponse| (part.error_code, part.timestamp, part.offset);
    found.topics.iter().flat_map(|topic| topic.partitions.iter().map(answer)).collect()
}

#[test]
fn who_trusts_producers_has_headers_checked_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("ack.validation", "header")]);
    let mut client = Client::connect(broker.address);
    client.create("trusting", 1, &[]);
    client.create("compacted", 1, &[("cleanup.policy", "compact")]);
    client.create("careful", 1, &[("ack.validation", "full")]);
    let noise = with_payload(&batch(3), Compression::Gzip, &[0xaa; 40]);
    let code = |client: &mut Client, topic| Produce::to(topic, 0, noise.clone()).ask(client).code;
    assert_eq!(code(&mut client, "trusting"), 0);
    assert_eq!(code(&mut client, "compacted"), ErrorCode::InvalidRecord.code(), "keys must be there");
    assert_eq!(code(&mut client, "careful"), ErrorCode::InvalidRecord.code());
    let mut torn = noise.to_vec();
    *torn.last_mut().unwrap() ^= 1;
    assert_eq!(Produce::to("trusting", 0, torn.into()).ask(&mut client).code, ErrorCode::CorruptMessage.code());
    assert_eq!(find(&mut client, "trusting", &[1])[0].0, ErrorCode::CorruptMessage.code());
}

/// A batch whose one record is all zeros: it compresses to almost nothing.
fn bomb(bytes: usize, compression: Compression) -> Bytes {
    compressed(&BatchBuilder::new(0).record(now_ms(), Some(b"key"), Some(&vec![0; bytes])).build(), compression)
}

#[test]
fn what_a_batch_becomes_is_limited_by_its_topic() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("bombs");
    client.create(&topic, 1, &[("max.decompressed.message.bytes", "1000000")]);
    for compression in COMPRESSIONS {
        Produce::to(&topic, 0, bomb(900_000, compression)).write(&mut client);
        let produced = Produce::to(&topic, 0, bomb(1_000_000, compression)).ask(&mut client);
        assert_eq!(produced.code, ErrorCode::InvalidRecord.code(), "{compression:?}");
    }
}

#[test]
fn requests_behind_a_check_that_takes_long_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("slow", 1, &[("max.decompressed.message.bytes", "200000000")]);
    client.create("other", 1, &[]);
    let producer = 77;
    let sequenced = |sequence, bytes: usize| {
        let value = vec![0; bytes];
        let plain = BatchBuilder::new(0).producer(producer, 0, sequence).record(now_ms(), None, Some(&value)).build();
        compressed(&plain, Compression::Zstd)
    };
    // Pipelined: each takes many turns or one, and all are appended in the order in which they were sent.
    let sizes = [60_000_000, 10, 30_000_000, 10, 10, 90_000_000, 10];
    let produce = |(sequence, bytes): (usize, &usize)| Produce::to("slow", 0, sequenced(sequence as i32, *bytes));
    let requests: Vec<Produce<'_>> = sizes.iter().enumerate().map(produce).collect();
    let sent: Vec<i32> = requests.iter().map(|produce| produce.send(&mut client)).collect();
    // Somebody else is served meanwhile (`shard/checking.rs` has the test that it is at once).
    let mut other = Client::connect(broker.address);
    assert_eq!(Produce::to("other", 0, batch(1)).write(&mut other), 0);
    for (offset, (produce, correlation)) in requests.iter().zip(&sent).enumerate() {
        let (answered, produced) = produce.receive(&mut client);
        assert_eq!((answered, produced.code, produced.offset), (*correlation, 0, offset as i64));
    }
    // What was sent without acknowledgements before the peer went is appended as well.
    let mut leaving = Client::connect(broker.address);
    for sequence in 7..10 {
        let records = sequenced(sequence, if sequence == 7 { 60_000_000 } else { 10 });
        Produce { acks: 0, ..Produce::to("slow", 0, records) }.send(&mut leaving);
    }
    drop(leaving);
    crate::process::wait_for("what was sent before", || {
        (crate::client::fetch_once(&mut other, "slow", 0, 0, 1000).1 == 10).then_some(())
    });
}

#[test]
fn a_time_is_found_in_a_batch_that_becomes_large_and_a_partition_named_twice_is_refused() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let topic = subject.name("large");
    client.create(&topic, 1, &[]);
    let (now, value) = (now_ms(), vec![0; 30_000_000]);
    let plain = BatchBuilder::new(0).record(now, None, Some(&value)).record(now + 10, None, Some(b"v")).build();
    Produce::to(&topic, 0, compressed(&plain, Compression::Zstd)).write(&mut client);
    assert_eq!(find(&mut client, &topic, &[now + 1]), [(0, now + 10, 1)]);
    assert_eq!(find(&mut client, &topic, &[now + 11]), [(0, -1, -1)]);
    let codes: Vec<i16> = find(&mut client, &topic, &[now + 1; 100]).iter().map(|(code, ..)| *code).collect();
    assert!(codes.iter().all(|code| *code == ErrorCode::InvalidRequest.code()), "{codes:?}");
}
