//! The codec against an independent one (the crate `kafka-protocol`): for every message in every version that both know, sample
//! bytes must come through both decoders and both encoders unchanged.

#[path = "wire/sample.rs"]
mod sample;

use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as _};
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::messages as ours;
use sample::{Random, sample, shared};
use std::fmt::Debug;

const SAMPLES: u64 = 40;

/// Numbers, truths and nulls of a message with their fields' names, as its debug output shows them: what both have in common.
fn plain_values(message: &impl Debug) -> Vec<(String, String)> {
    let text = format!("{message:?}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut values = Vec::new();
    for pair in words.windows(2) {
        let Some(name) = pair[0].strip_suffix(':') else {
            continue;
        };
        // A newtype shows its name around the value.
        let value = pair[1].rsplit('(').next().unwrap().trim_end_matches([',', ')', '}', ']']);
        if value.parse::<i64>().is_ok() || ["true", "false", "None"].contains(&value) {
            values.push((name.to_string(), value.to_string()));
        }
    }
    values.sort();
    values
}

/// Decodes and encodes `bytes` as message `$name` in our codec and in theirs.
macro_rules! compare {
    ($name:ident, $declared:expr) => {{
        let declared = $declared.iter().find(|message| message.name == stringify!($name)).expect("declared");
        let range = theirs::$name::VERSIONS;
        let versions = shared(declared, range.min, range.max);
        assert!(!versions.is_empty(), "{}", declared.name);
        for &version in &versions {
            for seed in 0..SAMPLES {
                let bytes = sample(declared, version, &mut Random(seed));
                let what = format!("{} version {version} seed {seed}: {bytes:02x?}", declared.name);

                let mut reader = Reader::new(&bytes);
                let message = ours::$name::decode(&mut reader, version).expect(&what);
                assert_eq!(reader.remaining(), 0, "{what}");
                let mut writer = Writer::new();
                message.encode(&mut writer, version);
                assert_eq!(writer.into_bytes(), bytes, "ours, {what}\n{message:?}");

                let mut values = plain_values(&message);
                let mut rest = bytes::Bytes::from(bytes.clone());
                let message = theirs::$name::decode(&mut rest, version).expect(&what);
                assert!(rest.is_empty(), "{what}");
                let mut written = bytes::BytesMut::new();
                message.encode(&mut written, version).expect(&what);
                assert_eq!(written, bytes, "theirs, {what}\n{message:?}");
                // Ours may have fields of versions that theirs does not reach.
                let text = format!("{message:?}");
                values.retain(|(name, _)| text.contains(&format!(" {name}: ")));
                assert_eq!(values, plain_values(&message), "{what}");
            }
        }
        versions.len()
    }};
}

macro_rules! compare_all {
    ($($api:ident $request:ident $response:ident;)*) => {
        #[test]
        fn every_message_in_every_version() {
            let declared = sample::messages();
            let mut versions = compare!(RequestHeader, declared) + compare!(ResponseHeader, declared);
            $(versions += compare!($request, declared) + compare!($response, declared);)*
            assert!(versions > 250, "only {versions} versions were compared");
        }

        #[test]
        fn keys_and_header_versions() {
            $(
                let (our_key, their_key) = (ours::ApiKey::$api, theirs::ApiKey::$api);
                assert_eq!(our_key as i16, their_key as i16);
                assert_eq!(ours::$request::KEY, ours::$response::KEY);
                assert_eq!(ours::ApiKey::from_i16(our_key as i16), Some(our_key));
                for version in our_key.versions() {
                    let headers = (their_key.request_header_version(version), their_key.response_header_version(version));
                    assert_eq!(our_key.header_versions(version), headers, "{} version {version}", our_key.name());
                }
            )*
        }
    };
}
klamm::for_each_api!(compare_all);

#[test]
fn record_batches_are_understood_by_each_other() {
    use kafka_protocol::records::{Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
    use klamm::wire::batch::{BatchBuilder, batches, crc_ok};
    let builder = BatchBuilder::new(1 << 33).producer(77, 3, 1000).leader_epoch(6).transactional();
    let built = builder
        .record(1_700_000_000_123, Some(b"key"), Some(&[b'v'; 200]))
        .record_with_headers(1_700_000_000_003, None, None, &[("name", Some(b"text")), ("null", None)])
        .build();
    let sets = RecordBatchDecoder::decode_all(&mut built.clone()).expect("theirs reads ours");
    assert_eq!(sets.len(), 1);
    let records = &sets[0].records;
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!((records[1].key.as_ref(), records[1].value.as_ref()), (None, None));
    assert_eq!((records[1].offset, records[1].sequence), ((1 << 33) + 1, 1001));
    assert_eq!((records[1].timestamp, records[1].headers.len()), (1_700_000_000_003, 2));
    assert_eq!((records[0].producer_id, records[0].producer_epoch, records[0].transactional), (77, 3, true));
    assert_eq!(records[0].partition_leader_epoch, 6);

    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut theirs = bytes::BytesMut::new();
    RecordBatchEncoder::encode(&mut theirs, records, &options).expect("theirs writes its own");
    let mut walk = batches(&theirs);
    let batch = walk.next().expect("ours reads theirs");
    assert!(crc_ok(batch.bytes) && batch.header.is_transactional() && !batch.header.is_control());
    assert_eq!((batch.header.base_offset.get(), batch.header.last_offset()), (1 << 33, (1 << 33) + 1));
    let read: Vec<_> = batch.records().collect::<Result<_, _>>().expect("every record is well formed");
    assert_eq!((read[0].value, read[1].key), (Some(&[b'v'; 200][..]), None));
    assert_eq!(read[1].headers, [("name", Some(&b"text"[..])), ("null", None)]);
    assert_eq!(walk.position(), theirs.len());
}
