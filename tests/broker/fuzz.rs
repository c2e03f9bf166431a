//! Requests of every type, bent at random, against the running broker: it stays alive, answers others, and does not grow.
//!
//! `KLAMM_FUZZ=COUNT` sets how many (CI: 300,000); `KLAMM_FUZZ_SEED=SEED` where to begin, to repeat a failure.

use crate::batches::{batch, compressed, sequenced};
use crate::client::{Client, Produce, ask, fetch_once, read_frame};
use crate::process::{Broker, cores};
use crate::sample::{Message, Random, messages, sample};
use klamm::wire::batch::Compression;
use klamm::wire::codec::{Records, Writer};
use klamm::wire::frame::request_frame;
use klamm::wire::messages::*;
use std::io::{ErrorKind, Write};
use std::time::Duration;

const COUNT_DEFAULT: u64 = 5_000;
/// After so many the broker must still serve a client that behaves.
const ROUND: u64 = 25;
/// Correlation id of the request behind each bent one.
const LAST: i32 = 0x7e57_1a57;
/// How long an answer is waited for that may never come.
const PATIENCE: Duration = Duration::from_millis(5);
/// After so many rounds everything that was made is deleted.
const ROUNDS_KEPT: u64 = 40;
/// What the broker may need more than after the first requests: its journal's and tail's buffers fill.
const GROWTH_BYTES_MAX: u64 = 400 << 20;
/// Bytes that decoders are likely to stumble over: lengths that are huge, negative, null or one off.
const NASTY: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// A request as what makes its frame.
macro_rules! encode {
    ($api:ident, $version:expr, $request:expr) => {{
        let request = $request;
        let body: Body<'_> = Box::new(move |w| request.encode(w, $version));
        (ApiKey::$api, $version, body)
    }};
}
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn bent_requests_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let cores = cores(2);
    // No topic for every name that comes along.
    let settings =
        [("auto.create.topics.enable", "false"), ("cores", &*cores), ("socket.request.max.bytes", "10000000")];
    let mut broker = Broker::start(dir.path(), &settings);
    let mut witness = Client::connect(broker.address);
    witness.create("witness", 2, &[]);
    let declared: Vec<Message> = messages();
    let (first, count) = (number("KLAMM_FUZZ_SEED", 0), number("KLAMM_FUZZ", COUNT_DEFAULT));
    let mut memory_first = 0;
    let mut client = None;
    let mut fates = [0u64; 3];
    for round in 0..count.div_ceil(ROUND) {
        let seeds = first + round * ROUND..first + (round + 1) * ROUND;
        eprintln!("seeds {seeds:?}");
        for seed in seeds {
            let mut random = Random(seed);
            let mut frame = request(&declared, &mut random);
            mutate(&mut frame, &mut random);
            let mut fuzzer = client.take().unwrap_or_else(|| connect(&broker));
            let fate = offer(&mut fuzzer, &frame);
            fates[fate as usize] += 1;
            client = (fate == Fate::Answered).then_some(fuzzer);
        }
        broker.assert_alive();
        let partition = (round % 2) as i32;
        let offset = Produce::to("witness", partition, batch(1)).write(&mut witness);
        assert_eq!(fetch_once(&mut witness, "witness", partition, offset, 1000).0, 0);
        if round % ROUNDS_KEPT == ROUNDS_KEPT - 1 {
            delete_all(&mut witness);
            memory_first = if memory_first == 0 { broker.memory() } else { memory_first };
            let memory = broker.memory();
            assert!(memory < memory_first + GROWTH_BYTES_MAX, "from {memory_first} to {memory} bytes");
        }
    }
    eprintln!("answered, closed, open: {fates:?}");
    // Neither so harsh that nothing is decoded, nor so mild that nothing is refused.
    assert!(fates.iter().all(|fate| *fate > count / 1000), "answered, closed, open: {fates:?}");
    drop(witness);
    assert_eq!(broker.stop(), Some(0), "it still stops cleanly");
    // What it has kept can be read.
    let broker = Broker::start(dir.path(), &settings);
    let mut witness = Client::connect(broker.address);
    assert_eq!(fetch_once(&mut witness, "witness", 0, 0, 1000).0, 0);
}

/// What becomes of a request, or of the connection that it came on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Closed,
    /// A fetch that waits, or a frame that is longer than what was sent.
    Open,
}

fn connect(broker: &Broker) -> Client {
    let client = Client::connect(broker.address);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends a frame and behind it a request whose answer says that the frame is dealt with.
fn offer(client: &mut Client, frame: &[u8]) -> Fate {
    let last = request_frame(ApiKey::ApiVersions, 0, LAST, None, |w| ApiVersionsRequest::default().encode(w, 0));
    if client.stream.write_all(&[frame, &last.concat()].concat()).is_err() {
        return Fate::Closed;
    }
    loop {
        match read_frame(&mut client.stream) {
            Ok(Some(answer)) if answer.starts_with(&LAST.to_be_bytes()) => return Fate::Answered,
            Ok(Some(_)) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Open,
            Ok(None) | Err(_) => return Fate::Closed,
        }
    }
}

fn delete_all(client: &mut Client) {
    let all = MetadataRequest { topics: None, ..Default::default() };
    let found = ask!(client, Metadata, 12, MetadataResponse, all);
    let names = found.topics.iter().filter_map(|topic| topic.name.clone()).filter(|name| name != "witness");
    let request = DeleteTopicsRequest { topic_names: names.collect(), timeout_ms: 60_000, ..Default::default() };
    ask!(client, DeleteTopics, 5, DeleteTopicsResponse, request);
}

/// A whole frame: one that makes sense to this broker, or one of random values.
fn request(declared: &[Message], random: &mut Random) -> Vec<u8> {
    let mut frame = match random.below(3) {
        0 => {
            let requests: Vec<&Message> = declared.iter().filter(|m| m.name.ends_with("Request")).collect();
            let message = requests[random.below(requests.len())];
            let versions: Vec<i16> = message.valid.range().collect();
            let version = versions[random.below(versions.len())];
            let body = sample(message, version, random);
            let mut frame = vec![0; 4];
            frame.extend(message.key.expect("a request has a key").to_be_bytes());
            frame.extend(version.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0xff, 0xff]);
            // A tag section, or one byte too many.
            frame.extend(message.flex.contains(version).then_some(0));
            frame.extend(body);
            frame
        }
        _ => sensible(random),
    };
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Bends bytes of the frame behind its length, which mostly is made right again.
fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = 4 + random.below(frame.len() - 3);
        match random.below(6) {
            0 => frame.truncate(at),
            1 => frame.insert(at, NASTY[random.below(8)]),
            2 => frame.splice(at..at, [NASTY[random.below(8)]; 4]).for_each(drop),
            3 if at < frame.len() => drop(frame.remove(at)),
            4 if at < frame.len() => frame[at] ^= 1 << random.below(8),
            _ => frame.iter_mut().skip(at).take(1 + random.below(4)).for_each(|byte| *byte = NASTY[random.below(8)]),
        }
    }
    if random.below(50) > 0 {
        let length = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// A request about topics that may well be there.
fn sensible(random: &mut Random) -> Vec<u8> {
    let name = ["a", "b", "c-compacted"][random.below(3)];
    let partition = random.below(3) as i32;
    let offset = random.below(40) as i64 - 5;
    let (api, version, body) = match random.below(14) {
        0 | 1 => return produce(name, partition, random),
        2 => fetch(name, partition, offset, random),
        3 => create(name, random),
        4 => encode!(DeleteTopics, 5, DeleteTopicsRequest { topic_names: vec![name.into()], ..Default::default() }),
        5 => {
            use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
            let wanted =
                ListOffsetsPartition { partition_index: partition, current_leader_epoch: -1, timestamp: offset };
            let topics = vec![ListOffsetsTopic { name: name.into(), partitions: vec![wanted] }];
            encode!(ListOffsets, 10, ListOffsetsRequest { replica_id: -1, topics, ..Default::default() })
        }
        6 => {
            use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
            let wanted = DeleteRecordsPartition { partition_index: partition, offset };
            let topics = vec![DeleteRecordsTopic { name: name.into(), partitions: vec![wanted] }];
            encode!(DeleteRecords, 2, DeleteRecordsRequest { topics, timeout_ms: 1000 })
        }
        7 => {
            use create_partitions_request::CreatePartitionsTopic;
            let topics = vec![CreatePartitionsTopic { name: name.into(), count: 4, assignments: None }];
            encode!(CreatePartitions, 3, CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: false })
        }
        8 => {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let settings = [
                ("segment.bytes", "1048576"),
                ("compression.type", "zstd"),
                ("cleanup.policy", "compact"),
                ("consumer.session.timeout.ms", "50000"),
            ];
            let (setting, value) = settings[random.below(4)];
            let configs = vec![AlterableConfig {
                name: setting.into(),
                config_operation: random.below(4) as i8,
                value: Some(value.into()),
            }];
            let resource_type = [2, 2, 2, 32][random.below(4)];
            let resources = vec![AlterConfigsResource { resource_type, resource_name: name.into(), configs }];
            encode!(IncrementalAlterConfigs, 1, IncrementalAlterConfigsRequest { resources, validate_only: false })
        }
        9 => {
            use describe_configs_request::DescribeConfigsResource;
            let resources = vec![DescribeConfigsResource {
                resource_type: [2, 4, 32][random.below(3)],
                resource_name: [name, "1"][random.below(2)].into(),
                configuration_keys: None,
            }];
            encode!(DescribeConfigs, 4, DescribeConfigsRequest { resources, ..Default::default() })
        }
        10 | 11 => administer(name, partition, random),
        12 => encode!(DescribeLogDirs, 4, DescribeLogDirsRequest { topics: None }),
        _ => encode!(Metadata, 12, MetadataRequest { topics: None, ..Default::default() }),
    };
    request_frame(api, version, 1, Some("fuzz"), |w| body(w)).concat()
}

/// A request of administration.
fn administer(name: &'static str, partition: i32, random: &mut Random) -> (ApiKey, i16, Body<'static>) {
    match random.below(8) {
        0 => {
            let partitions = vec![partition];
            let topics = vec![elect_leaders_request::TopicPartitions { topic: name.into(), partitions }];
            let topic_partitions = (random.below(4) > 0).then_some(topics);
            let election_type = random.below(3) as i8;
            encode!(ElectLeaders, 2, ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1000 })
        }
        1 => {
            use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
            let replicas = [None, Some(vec![1]), Some(vec![7])][random.below(3)].clone();
            let partitions = vec![ReassignablePartition { partition_index: partition, replicas }];
            let topics = vec![ReassignableTopic { name: name.into(), partitions }];
            encode!(AlterPartitionReassignments, 1, AlterPartitionReassignmentsRequest { topics, ..Default::default() })
        }
        2 => encode!(ListPartitionReassignments, 0, ListPartitionReassignmentsRequest::default()),
        3 => {
            let partition_indexes = vec![partition, partition];
            let topics = vec![describe_producers_request::TopicRequest { name: name.into(), partition_indexes }];
            encode!(DescribeProducers, 0, DescribeProducersRequest { topics })
        }
        4 => {
            use alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
            let topics = vec![AlterReplicaLogDirTopic { name: name.into(), partitions: vec![partition] }];
            let dirs = vec![AlterReplicaLogDir { path: "/no/such".into(), topics }];
            encode!(AlterReplicaLogDirs, 2, AlterReplicaLogDirsRequest { dirs })
        }
        5 => {
            use describe_quorum_request::{PartitionData, TopicData};
            let partitions = vec![PartitionData { partition_index: partition }];
            let topics = vec![TopicData { topic_name: "__cluster_metadata".into(), partitions }];
            encode!(DescribeQuorum, 2, DescribeQuorumRequest { topics })
        }
        6 => {
            let update = update_features_request::FeatureUpdateKey {
                feature: "metadata.version".into(),
                max_version_level: 26 + partition as i16,
                upgrade_type: random.below(5) as i8,
                ..Default::default()
            };
            encode!(UpdateFeatures, 2, UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() })
        }
        _ => {
            let resource_types = [vec![], vec![2, 32], vec![4, 8, 16], vec![3]][random.below(4)].clone();
            encode!(ListConfigResources, 1, ListConfigResourcesRequest { resource_types })
        }
    }
}

type Body<'a> = Box<dyn FnOnce(&mut Writer) + 'a>;

fn produce(name: &str, partition: i32, random: &mut Random) -> Vec<u8> {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let plain = match random.below(2) {
        0 => batch(1 + random.below(20)),
        _ => sequenced(random.below(5) as i64, random.below(2) as i16, random.below(30) as i32, 1 + random.below(5)),
    };
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut bytes = compressed(&plain, codecs[random.below(5)]).to_vec();
    if random.below(2) == 0 {
        // Bent inside, with a checksum that is right.
        for _ in 0..1 + random.below(3) {
            let at = 21 + random.below(bytes.len() - 21);
            bytes[at] = NASTY[random.below(8)];
        }
        bytes = crate::batches::sealed(bytes).to_vec();
    }
    let records = Some(Records::Slice(&bytes));
    let topic = TopicProduceData {
        name: name.into(),
        partition_data: vec![PartitionProduceData { index: partition, records }],
        ..Default::default()
    };
    let acks = [-1, 1, 0][random.below(3)];
    let request = ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    request_frame(ApiKey::Produce, 9, 1, Some("fuzz"), |w| request.encode(w, 9)).concat()
}

fn fetch(name: &'static str, partition: i32, offset: i64, random: &mut Random) -> (ApiKey, i16, Body<'static>) {
    use fetch_request::{FetchPartition, FetchTopic};
    let wanted = FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 10_000,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: name.into(), partitions: vec![wanted], ..Default::default() }];
    let request = FetchRequest {
        max_wait_ms: if random.below(20) == 0 { i32::MAX } else { 1 },
        min_bytes: [0, 1, i32::MAX][random.below(3)],
        max_bytes: 10_000,
        session_epoch: [-1, 0, 1][random.below(3)],
        session_id: random.below(5) as i32,
        topics,
        ..Default::default()
    };
    encode!(Fetch, 12, request)
}

fn create(name: &'static str, random: &mut Random) -> (ApiKey, i16, Body<'static>) {
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let policy = if name == "c-compacted" { "compact" } else { "delete" };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1 + random.below(3) as i32,
        replication_factor: 1,
        configs: vec![CreatableTopicConfig { name: "cleanup.policy".into(), value: Some(policy.into()) }],
        ..Default::default()
    };
    encode!(CreateTopics, 7, CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() })
}
