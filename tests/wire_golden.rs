//! Messages as bytes that were written down by hand, in `tests/golden/*.hex`: both directions, down to the frame.

use klamm::types::Uuid;
use klamm::wire::batch::{Batch, BatchBuilder, crc_ok};
use klamm::wire::codec::{Reader, Records};
use klamm::wire::frame::{Head, LENGTH_BYTES, request_frame, response_frame};
use klamm::wire::messages::*;

/// The bytes of a file of hexadecimal digits with comments.
fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
}

macro_rules! request {
    ($name:literal, $api:ident, $version:literal, $correlation:literal, $client:expr, $message:expr) => {{
        let (bytes, message) = (golden($name), $message);
        let frame = request_frame(ApiKey::$api, $version, $correlation, $client, |w| message.encode(w, $version));
        assert_eq!(frame.concat(), bytes);
        let body = &bytes[LENGTH_BYTES..];
        let head = Head::decode(body).unwrap();
        assert_eq!((head.api, head.version, head.correlation_id), (ApiKey::$api, $version, $correlation));
        assert_eq!(head.client_id.as_deref(), $client);
        let mut reader = Reader::new(&body[head.body_start..]);
        assert_eq!(Request::decode(head.api, head.version, &mut reader), Ok(Request::$api(message)));
        assert_eq!(reader.remaining(), 0);
    }};
}

macro_rules! response {
    ($name:literal, $response:ident, $api:ident, $version:literal, $correlation:literal, $message:expr) => {{
        let (bytes, message) = (golden($name), $message);
        let header = ApiKey::$api.header_versions($version).1;
        assert_eq!(response_frame(header, $correlation, |w| message.encode(w, $version)).concat(), bytes);
        let mut reader = Reader::new(&bytes[LENGTH_BYTES..]);
        assert_eq!(ResponseHeader::decode(&mut reader, header).unwrap().correlation_id, $correlation);
        assert_eq!($response::decode(&mut reader, $version), Ok(message));
        assert_eq!(reader.remaining(), 0);
    }};
}

fn topic_id() -> Uuid {
    Uuid(std::array::from_fn(|i| i as u8))
}

#[test]
fn api_versions() {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    request!("api_versions_request_3", ApiVersions, 3, 7, Some("klamm"), request);
    use api_versions_response::{ApiVersion, FinalizedFeatureKey};
    let response = ApiVersionsResponse {
        api_keys: vec![
            ApiVersion { api_key: 0, min_version: 3, max_version: 13 },
            ApiVersion { api_key: 1, min_version: 4, max_version: 18 },
        ],
        finalized_features_epoch: 9,
        finalized_features: vec![FinalizedFeatureKey {
            name: "group.version".into(),
            max_version_level: 1,
            min_version_level: 1,
        }],
        ..Default::default()
    };
    response!("api_versions_response_3", ApiVersionsResponse, ApiVersions, 3, 7, response);
}

#[test]
fn metadata() {
    let request = MetadataRequest { topics: None, include_topic_authorized_operations: true, ..Default::default() };
    request!("metadata_request_9", Metadata, 9, 1, None, request);
}

#[test]
fn record_batch() {
    let bytes = golden("record_batch");
    let built = BatchBuilder::new(42)
        .producer(9, 2, 5)
        .record_with_headers(1000, Some(b"k"), Some(b"value"), &[("h", None)])
        .record(1005, None, None)
        .build();
    assert_eq!(built, bytes);
    let batch = Batch::first(&bytes).unwrap();
    assert!(crc_ok(batch.bytes));
    assert_eq!((batch.header.last_offset(), batch.header.last_sequence()), (43, 6));
    let records: Vec<_> = batch.records().collect::<Result<_, _>>().unwrap();
    assert_eq!((records[0].value, records[1].timestamp_delta), (Some(&b"value"[..]), 5));
}

#[test]
fn produce() {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let batch = golden("record_batch");
    let partition = PartitionProduceData { index: 1, records: Some(Records::Slice(&batch)) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    request!("produce_request_3", Produce, 3, 2, Some("c"), request);
}

#[test]
fn fetch() {
    use fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData};
    let batch = golden("record_batch");
    let served = PartitionData {
        partition_index: 1,
        high_watermark: 44,
        last_stable_offset: 44,
        log_start_offset: 0,
        aborted_transactions: None,
        records: Some(Records::Slice(&batch)),
        ..Default::default()
    };
    let diverging = PartitionData {
        partition_index: 2,
        high_watermark: 100,
        last_stable_offset: 100,
        log_start_offset: 0,
        diverging_epoch: EpochEndOffset { epoch: 3, end_offset: 80 },
        records: Some(Records::Slice(&[])),
        ..Default::default()
    };
    let topic =
        FetchableTopicResponse { topic_id: topic_id(), partitions: vec![served, diverging], ..Default::default() };
    let response = FetchResponse { session_id: 42, responses: vec![topic], ..Default::default() };
    response!("fetch_response_13", FetchResponse, Fetch, 13, 3, response);
}

#[test]
fn describe_topic_partitions() {
    use describe_topic_partitions_response::*;
    let partition = DescribeTopicPartitionsResponsePartition {
        leader_id: 1,
        leader_epoch: 7,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        eligible_leader_replicas: None,
        last_known_elr: Some(vec![]),
        ..Default::default()
    };
    let topic = DescribeTopicPartitionsResponseTopic {
        name: Some("t".into()),
        topic_id: topic_id(),
        partitions: vec![partition],
        ..Default::default()
    };
    let next_cursor = Some(Cursor { topic_name: "u".into(), partition_index: 3 });
    let response = DescribeTopicPartitionsResponse { topics: vec![topic], next_cursor, ..Default::default() };
    response!(
        "describe_topic_partitions_response_0",
        DescribeTopicPartitionsResponse,
        DescribeTopicPartitions,
        0,
        4,
        response
    );
}

#[test]
fn offset_commit() {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 42,
        committed_leader_epoch: 6,
        committed_metadata: Some("".into()),
    };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 3,
        member_id: "m".into(),
        topics: vec![topic],
        ..Default::default()
    };
    request!("offset_commit_request_8", OffsetCommit, 8, 5, Some("c"), request);
}
