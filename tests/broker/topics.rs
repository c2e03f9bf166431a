//! What the APIs about topics and settings refuse, and how.

use crate::batches::batch;
use crate::client::{Client, Produce, ask};
use crate::process::{Broker, wait_for};
use crate::subject::Subject;
use klamm::types::Uuid;
use klamm::wire::codec::Writer;
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::*;

/// Operations on a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn known(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

fn topic(name: &str, partitions: i32, settings: &[(&str, Option<&str>)]) -> CreatableTopic<'static> {
    let setting = |&(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: name.to_string().into(),
        value: value.map(|value| value.to_string().into()),
    };
    CreatableTopic {
        name: name.to_string().into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: settings.iter().map(setting).collect(),
        ..Default::default()
    }
}

fn create(client: &mut Client, topics: Vec<CreatableTopic<'static>>, validate_only: bool) -> Vec<ErrorCode> {
    let request = CreateTopicsRequest { topics, timeout_ms: 60_000, validate_only };
    let response = ask!(client, CreateTopics, 7, CreateTopicsResponse, request);
    response.topics.iter().map(|topic| known(topic.error_code)).collect()
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic<'static> {
    let assignment = |&(partition_index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic {
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.iter().map(assignment).collect(),
        ..topic(name, 0, &[])
    }
}

#[test]
fn topics_are_created_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let name = subject.name("t");
    let name = &*name;
    client.create(&subject.name("there"), 1, &[]);
    client.create(&subject.name("a.b"), 1, &[]);
    let long = "x".repeat(250);
    for (what, wanted, code) in [
        ("exists", topic(&subject.name("there"), 1, &[]), TopicAlreadyExists),
        ("collides", topic(&subject.name("a_b"), 1, &[]), InvalidTopicException),
        ("an empty name", topic("", 1, &[]), InvalidTopicException),
        ("a dot", topic(".", 1, &[]), InvalidTopicException),
        ("a slash", topic("a/b", 1, &[]), InvalidTopicException),
        ("too long", topic(&long, 1, &[]), InvalidTopicException),
        ("no partitions", topic(name, 0, &[]), InvalidPartitions),
        ("negative partitions", topic(name, -2, &[]), InvalidPartitions),
        (
            "too many replicas",
            CreatableTopic { replication_factor: 2, ..topic(name, 1, &[]) },
            InvalidReplicationFactor,
        ),
        ("no replicas", CreatableTopic { replication_factor: 0, ..topic(name, 1, &[]) }, InvalidReplicationFactor),
        ("an unknown setting", topic(name, 1, &[("no.such", Some("1"))]), InvalidConfig),
        ("a wrong value", topic(name, 1, &[("retention.ms", Some("x"))]), InvalidConfig),
        ("a value out of range", topic(name, 1, &[("segment.bytes", Some("5"))]), InvalidConfig),
        ("a null value", topic(name, 1, &[("retention.ms", Option::None)]), InvalidConfig),
        ("an unknown broker", assigned(name, &[(0, &[77])]), InvalidReplicaAssignment),
        ("a partition left out", assigned(name, &[(1, &[1])]), InvalidReplicaAssignment),
        ("a broker twice", assigned(name, &[(0, &[1, 1])]), InvalidReplicaAssignment),
        ("both", CreatableTopic { num_partitions: 1, ..assigned(name, &[(0, &[1])]) }, InvalidRequest),
    ] {
        assert_eq!(create(&mut client, vec![wanted], false), [code], "{what}");
    }
    let twice = vec![topic(name, 1, &[]), topic(&subject.name("u"), 1, &[]), topic(name, 1, &[])];
    let mut codes = create(&mut client, twice, false);
    codes.sort();
    assert!(codes == [None, InvalidRequest, InvalidRequest] || codes == [None, InvalidRequest], "{codes:?}");
    assert_eq!(create(&mut client, vec![topic(name, 1, &[])], true), [None]);
    assert_eq!(create(&mut client, vec![topic(name, 1, &[])], false), [None], "validating made nothing");
    assert_eq!(create(&mut client, vec![topic(name, 1, &[])], true), [TopicAlreadyExists]);
}

#[test]
fn topics_are_deleted_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let names = ["a", "b", "c"].map(|name| subject.name(name));
    let ids = names.each_ref().map(|name| client.create(name, 1, &[]));
    let unknown = subject.name("unknown");
    let state =
        |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(|name| name.to_string().into()), topic_id };
    let mut delete = |states: Vec<DeleteTopicState<'static>>| {
        let request = DeleteTopicsRequest { topics: states, timeout_ms: 60_000, ..Default::default() };
        let response = ask!(client, DeleteTopics, 6, DeleteTopicsResponse, request);
        response.responses.iter().map(|result| known(result.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(delete(vec![state(Some(&names[0]), Uuid::ZERO)]), [None]);
    assert_eq!(delete(vec![state(Some(&names[0]), Uuid::ZERO)]), [UnknownTopicOrPartition]);
    assert_eq!(delete(vec![state(Option::None, ids[1])]), [None]);
    assert_eq!(delete(vec![state(Option::None, ids[1])]), [UnknownTopicId]);
    assert_eq!(delete(vec![state(Option::None, Uuid([7; 16]))]), [UnknownTopicId]);
    assert_eq!(delete(vec![state(Some(&unknown), Uuid::ZERO)]), [UnknownTopicOrPartition]);
    assert_eq!(delete(vec![state(Some(&names[2]), ids[2])]), [InvalidRequest]);
    assert_eq!(delete(vec![state(Option::None, Uuid::ZERO)]), [InvalidRequest]);
    assert_eq!(delete(vec![state(Some(&names[2]), Uuid::ZERO)]), [None]);
    // A topic that is made again is another one.
    let again = client.create(&names[2], 1, &[]);
    assert_ne!(again, ids[2]);
    assert_eq!(Produce::to(&names[2], 0, batch(1)).write(&mut client), 0);
}

#[test]
fn partitions_are_added_as_by_kafka() {
    use klamm::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("grown"), subject.name("unknown"));
    client.create(&name, 2, &[]);
    let mut add = |name: &str, count, brokers: &[&[i32]], validate_only| {
        let assignments = brokers.iter().map(|ids| CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect();
        let assignments = (!brokers.is_empty()).then_some(assignments);
        let topics = vec![CreatePartitionsTopic { name: name.to_string().into(), count, assignments }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 60_000, validate_only };
        let response = ask!(client, CreatePartitions, 3, CreatePartitionsResponse, request);
        known(response.results[0].error_code)
    };
    assert_eq!(add(&name, 2, &[], false), InvalidPartitions);
    assert_eq!(add(&name, 1, &[], false), InvalidPartitions);
    assert_eq!(add(&name, -1, &[], false), InvalidPartitions);
    assert_eq!(add(&unknown, 3, &[], false), UnknownTopicOrPartition);
    assert_eq!(add(&name, 3, &[&[77]], false), InvalidReplicaAssignment);
    assert_eq!(add(&name, 4, &[&[1]], false), InvalidReplicaAssignment);
    assert_eq!(add(&name, 3, &[], true), None);
    assert_eq!(add(&name, 3, &[], false), None);
    assert_eq!(add(&name, 3, &[], false), InvalidPartitions);
}

#[test]
fn records_are_deleted_as_by_kafka() {
    use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let [name, unknown, compacted, both] = ["shrunk", "unknown", "compacted", "both"].map(|name| subject.name(name));
    client.create(&name, 1, &[]);
    client.create(&compacted, 1, &[("cleanup.policy", "compact")]);
    client.create(&both, 1, &[("cleanup.policy", "compact,delete")]);
    let find = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    ask!(client, FindCoordinator, 3, FindCoordinatorResponse, find);
    for _ in 0..4 {
        Produce::to(&name, 0, batch(5)).write(&mut client);
    }
    let mut delete = |name: &str, partition_index, offset| {
        let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
        let topics = vec![DeleteRecordsTopic { name: name.to_string().into(), partitions }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 60_000 };
        let response = ask!(client, DeleteRecords, 2, DeleteRecordsResponse, request);
        let result = &response.topics[0].partitions[0];
        (known(result.error_code), result.low_watermark)
    };
    assert_eq!(delete(&name, 0, 7), (None, 7));
    assert_eq!(delete(&name, 0, 3), (None, 7), "it never goes back");
    assert_eq!(delete(&name, 0, 21), (OffsetOutOfRange, -1));
    assert_eq!(delete(&name, 0, -2), (OffsetOutOfRange, -1));
    assert_eq!(delete(&name, 1, 1), (UnknownTopicOrPartition, -1));
    assert_eq!(delete(&unknown, 0, 1), (UnknownTopicOrPartition, -1));
    assert_eq!(delete(&compacted, 0, 0), (PolicyViolation, -1));
    assert_eq!(delete(&compacted, 1, 0), (UnknownTopicOrPartition, -1));
    assert_eq!(delete(&both, 0, 0), (None, 0));
    assert_eq!(delete("__consumer_offsets", 0, 0), (InvalidTopicException, -1));
    assert_eq!(delete(&name, 0, -1), (None, 20));
    assert_eq!(crate::client::fetch_once(&mut client, &name, 0, 7, 1000).0, OffsetOutOfRange.code());
    assert_eq!(crate::client::fetch_once(&mut client, &name, 0, 20, 1000).0, 0);
    assert_eq!(Produce::to(&name, 0, batch(1)).write(&mut client), 20);
}

#[test]
fn settings_are_changed_as_by_kafka() {
    use klamm::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("set"), subject.name("unknown"));
    client.create(&name, 1, &[("retention.ms", "5000")]);
    let (topic, unknown) = ((2, &*name), (2, &*unknown));
    let mut change = |resource: (i8, &str), setting: &str, operation, value: Option<&str>| {
        let config = AlterableConfig {
            name: setting.to_string().into(),
            config_operation: operation,
            value: value.map(|value| value.to_string().into()),
        };
        let resource = AlterConfigsResource {
            resource_type: resource.0,
            resource_name: resource.1.to_string().into(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let response = ask!(client, IncrementalAlterConfigs, 1, IncrementalAlterConfigsResponse, request);
        known(response.responses[0].error_code)
    };
    for (resource, setting, operation, value, code) in [
        (topic, "retention.ms", SET, Some("6000"), None),
        (topic, "retention.ms", DELETE, Option::None, None),
        (topic, "retention.ms", SET, Option::None, InvalidRequest),
        (topic, "retention.ms", SET, Some("soon"), InvalidConfig),
        (topic, "retention.ms", SET, Some("-2"), InvalidConfig),
        (topic, "retention.ms", APPEND, Some("1"), InvalidConfig),
        (topic, "no.such", SET, Some("1"), InvalidConfig),
        (topic, "cleanup.policy", APPEND, Some("compact"), None),
        (topic, "cleanup.policy", SUBTRACT, Some("compact"), None),
        (unknown, "retention.ms", SET, Some("1"), UnknownTopicOrPartition),
        ((2, ""), "retention.ms", SET, Some("1"), InvalidRequest),
        ((4, "77"), "log.retention.ms", SET, Some("1"), InvalidRequest),
        ((4, "x"), "log.retention.ms", SET, Some("1"), InvalidRequest),
        ((4, "1"), "node.id", SET, Some("7"), InvalidRequest),
        ((99, "x"), "retention.ms", SET, Some("1"), InvalidRequest),
    ] {
        assert_eq!(change(resource, setting, operation, value), code, "{resource:?} {setting} {operation} {value:?}");
    }
    // Kafka did not foresee that: UNKNOWN_SERVER_ERROR.
    assert!(subject.is_other() || change(topic, "retention.ms", 9, Some("1")) == InvalidRequest);
}

#[test]
fn descriptions_are_refused_as_by_kafka() {
    use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("told"), subject.name("unknown"));
    client.create(&name, 1, &[]);
    let mut describe = |resource_type, resource_name: &str, keys: Option<Vec<&'static str>>| {
        let configuration_keys = keys.map(|keys| keys.into_iter().map(Into::into).collect());
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.to_string().into(),
            configuration_keys,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = ask!(client, DescribeConfigs, 4, DescribeConfigsResponse, request);
        (known(response.results[0].error_code), response.results[0].configs.len())
    };
    assert!(matches!(describe(2, &name, Option::None), (None, 20..)));
    assert_eq!(describe(2, &name, Some(vec!["retention.ms", "no.such"])), (None, 1));
    assert_eq!(describe(2, &unknown, Option::None), (UnknownTopicOrPartition, 0));
    assert_eq!(describe(2, "a/b", Option::None), (InvalidTopicException, 0));
    assert_eq!(describe(4, "77", Option::None), (InvalidRequest, 0));
    assert_eq!(describe(4, "x", Option::None), (InvalidRequest, 0));
    assert_eq!(describe(99, "x", Option::None), (InvalidRequest, 0));
}

#[test]
fn producers_get_ids_as_from_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let mut ask = |transactional: Option<&'static str>, producer_id, producer_epoch| {
        let request = InitProducerIdRequest {
            transactional_id: transactional.map(Into::into),
            transaction_timeout_ms: 1000,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        // Kafka needs a moment before the first one.
        wait_for("a producer id", || {
            let response = ask!(client, InitProducerId, 4, InitProducerIdResponse, request.clone());
            let code = known(response.error_code);
            (code != CoordinatorLoadInProgress).then_some((code, response.producer_id, response.producer_epoch))
        })
    };
    let (code, first, epoch) = ask(Option::None, -1, -1);
    assert!(code == None && first >= 0 && epoch == 0);
    let (code, second, epoch) = ask(Option::None, -1, -1);
    assert!(code == None && second > first && epoch == 0);
    assert_eq!(ask(Option::None, 5, -1), (InvalidRequest, -1, -1));
    assert_eq!(ask(Option::None, -1, 5), (InvalidRequest, -1, -1));
    assert_eq!(ask(Some(""), -1, -1), (InvalidRequest, -1, -1));
}

#[test]
fn metadata_tells_what_is_not_there() {
    use klamm::wire::messages::metadata_request::MetadataRequestTopic;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("there"), subject.name("unknown"));
    let id = client.create(&name, 3, &[]);
    let mut ask = |name: Option<&str>, topic_id| {
        let topic = MetadataRequestTopic { name: name.map(|name| name.to_string().into()), topic_id };
        let request =
            MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() };
        let response = ask!(client, Metadata, 12, MetadataResponse, request);
        (known(response.topics[0].error_code), response.topics[0].partitions.len())
    };
    assert_eq!(ask(Some(&name), Uuid::ZERO), (None, 3));
    assert_eq!(ask(Option::None, id), (None, 3));
    assert_eq!(ask(Some(&unknown), Uuid::ZERO), (UnknownTopicOrPartition, 0));
    assert_eq!(ask(Some("a/b"), Uuid::ZERO), (InvalidTopicException, 0));
    assert_eq!(ask(Option::None, Uuid([7; 16])), (UnknownTopicId, 0));
    let mut pages = |name: &str| {
        use klamm::wire::messages::describe_topic_partitions_request::TopicRequest;
        let topics = vec![TopicRequest { name: name.to_string().into() }];
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 2, cursor: Option::None };
        let response = ask!(client, DescribeTopicPartitions, 0, DescribeTopicPartitionsResponse, request);
        let topic = &response.topics[0];
        (known(topic.error_code), topic.partitions.len(), response.next_cursor.is_some())
    };
    assert_eq!(pages(&name), (None, 2, true));
    assert_eq!(pages(&unknown), (UnknownTopicOrPartition, 0, false));
}

#[test]
fn topics_that_occur_twice_are_answered_as_by_kafka() {
    use create_partitions_request::CreatePartitionsTopic;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let [there, new, dot, line, by_id] = ["there", "new", "x.y", "x_y", "id"].map(|name| subject.name(name));
    client.create(&there, 2, &[]);
    let mut create = |names: &[&String]| {
        let topics = names.iter().map(|name| topic(name, 1, &[])).collect();
        let request = CreateTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
        let response = ask!(client, CreateTopics, 7, CreateTopicsResponse, request);
        let mut results: Vec<_> = response.topics.iter().map(|t| (known(t.error_code), t.name.to_string())).collect();
        results.sort();
        results
    };
    assert_eq!(create(&[&new, &there, &new]), [(TopicAlreadyExists, there.clone()), (InvalidRequest, new.clone())]);
    assert_eq!(create(&[&new, &new, &new]), [(InvalidRequest, new.clone())]);
    // Names that collide with each other alone.
    assert_eq!(create(&[&dot, &line]), [(None, dot.clone()), (None, line.clone())]);
    let topics = [(&there, 3), (&dot, 3), (&there, 4)].map(|(name, count)| CreatePartitionsTopic {
        name: name.clone().into(),
        count,
        assignments: Option::None,
    });
    let request = CreatePartitionsRequest { topics: topics.into(), timeout_ms: 60_000, validate_only: true };
    let response = ask!(client, CreatePartitions, 3, CreatePartitionsResponse, request);
    let mut results: Vec<_> = response.results.iter().map(|t| (known(t.error_code), t.name.to_string())).collect();
    results.sort();
    assert_eq!(results, [(None, dot.clone()), (InvalidRequest, there.clone())]);
    let names = [&dot, &there, &dot].map(|name| name.clone().into());
    let request = DeleteTopicsRequest { topic_names: names.into(), timeout_ms: 60_000, ..Default::default() };
    let response = ask!(client, DeleteTopics, 5, DeleteTopicsResponse, request);
    let name = |name: &Option<std::borrow::Cow<'_, str>>| name.as_deref().unwrap_or("").to_string();
    let mut results: Vec<_> = response.responses.iter().map(|t| (known(t.error_code), name(&t.name))).collect();
    results.sort();
    assert_eq!(results, [(None, there), (InvalidRequest, dot)]);
    let id = client.create(&by_id, 1, &[]);
    let state = |name: Option<&String>, topic_id| DeleteTopicState { name: name.map(|n| n.clone().into()), topic_id };
    let (both, twice) = (state(Some(&by_id), Uuid::ZERO), state(Option::None, id));
    for topics in [vec![twice.clone(), twice.clone()], vec![both.clone(), twice.clone()], vec![both.clone(), both]] {
        let request = DeleteTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
        let response = ask!(client, DeleteTopics, 6, DeleteTopicsResponse, request);
        let codes: Vec<_> = response.responses.iter().map(|result| known(result.error_code)).collect();
        assert_eq!(codes, [InvalidRequest]);
    }
}

#[test]
fn partitions_that_occur_twice_are_answered_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let name = subject.name("a");
    client.create(&name, 2, &[]);
    {
        use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
        let partition = |p| ListOffsetsPartition { partition_index: p, timestamp: -1, current_leader_epoch: -1 };
        let topic = |partitions: &[i32]| ListOffsetsTopic {
            name: name.clone().into(),
            partitions: partitions.iter().map(|&p| partition(p)).collect(),
        };
        let topics = vec![topic(&[0, 0]), topic(&[1, 0])];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = ask!(client, ListOffsets, 7, ListOffsetsResponse, request);
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let mut codes: Vec<_> = partitions.map(|p| (p.partition_index, known(p.error_code))).collect();
        codes.sort();
        assert_eq!(codes, [(0, InvalidRequest), (1, None)]);
    }
    {
        use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
        let topic = |partitions: &[i32]| DeleteRecordsTopic {
            name: name.clone().into(),
            partitions: partitions.iter().map(|&p| DeleteRecordsPartition { partition_index: p, offset: 0 }).collect(),
        };
        let request = DeleteRecordsRequest { topics: vec![topic(&[0, 0]), topic(&[1, 0])], timeout_ms: 60_000 };
        let response = ask!(client, DeleteRecords, 2, DeleteRecordsResponse, request);
        let [topic] = &response.topics[..] else { panic!("one topic: {response:?}") };
        let mut answered: Vec<_> = topic.partitions.iter().map(|p| p.partition_index).collect();
        answered.sort();
        assert_eq!(answered, [0, 1]);
    }
}

#[test]
fn what_is_described_twice_is_answered_once() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, other) = (subject.name("a"), subject.name("b"));
    client.create(&name, 2, &[]);
    client.create(&other, 1, &[]);
    {
        use describe_log_dirs_request::DescribableLogDirTopic;
        let topic = |partitions| DescribableLogDirTopic { topic: name.clone().into(), partitions };
        let topics = Some(vec![topic(vec![0; 500_000]), topic(vec![1])]);
        let response = ask!(client, DescribeLogDirs, 4, DescribeLogDirsResponse, DescribeLogDirsRequest { topics });
        let [topic] = &response.results[0].topics[..] else { panic!("one topic: {response:?}") };
        assert_eq!(topic.partitions.len(), 2);
    }
    {
        use describe_configs_request::DescribeConfigsResource;
        let resource = |name: &String, key: &'static str| DescribeConfigsResource {
            resource_type: 2,
            resource_name: name.clone().into(),
            configuration_keys: Some(vec![key.into(), key.into()]),
        };
        let resources =
            vec![resource(&name, "retention.ms"), resource(&other, "segment.ms"), resource(&name, "segment.ms")];
        let request = DescribeConfigsRequest { resources, ..Default::default() };
        let response = ask!(client, DescribeConfigs, 4, DescribeConfigsResponse, request);
        let mut shown: Vec<(String, String)> = Vec::new();
        for result in &response.results {
            shown.extend(result.configs.iter().map(|c| (result.resource_name.to_string(), c.name.to_string())));
        }
        shown.sort();
        let expected = [(&name, "retention.ms"), (&name, "segment.ms"), (&other, "segment.ms")];
        assert_eq!(shown, expected.map(|(name, key)| (name.clone(), key.to_string())));
        // Kafka answers for a resource as often as it is named.
        assert!(subject.is_other() || response.results.len() == 2);
    }
    {
        use metadata_request::MetadataRequestTopic;
        let wanted = |name: &String| MetadataRequestTopic { name: Some(name.clone().into()), ..Default::default() };
        let topics = Some((0..40_000).map(|n| wanted([&name, &other][n % 2])).collect());
        let request = MetadataRequest { topics, ..Default::default() };
        assert_eq!(ask!(client, Metadata, 12, MetadataResponse, request).topics.len(), 2);
        use describe_topic_partitions_request::TopicRequest;
        let topics = (0..40_000).map(|n| TopicRequest { name: [&name, &other][n % 2].clone().into() }).collect();
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 100, cursor: Option::None };
        let response = ask!(client, DescribeTopicPartitions, 0, DescribeTopicPartitionsResponse, request);
        assert_eq!(response.topics.len(), 2);
    }
}

#[test]
fn questions_whose_answers_would_be_huge_close_their_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut witness = Client::connect(broker.address);
    witness.create("t", 2, &[]);
    let memory = broker.memory();
    let mut close = |api, version, body: &dyn Fn(&mut Writer)| {
        let mut client = Client::connect(broker.address);
        client.send(api, version, body);
        assert!(client.is_closed(), "{}", api.name());
        let all = MetadataRequest { topics: Option::None, ..Default::default() };
        assert_eq!(ask!(witness, Metadata, 12, MetadataResponse, all).topics.len(), 1);
    };
    // Each of three million partitions, of which there are two: more than a request may name.
    let topics =
        vec![elect_leaders_request::TopicPartitions { topic: "t".into(), partitions: (0..3_000_000).collect() }];
    let request = ElectLeadersRequest { topic_partitions: Some(topics), timeout_ms: 1000, ..Default::default() };
    close(ApiKey::ElectLeaders, 2, &|w| request.encode(w, 2));
    let partitions = (0..3_000_000).collect();
    let topics = vec![describe_producers_request::TopicRequest { name: "t".into(), partition_indexes: partitions }];
    close(ApiKey::DescribeProducers, 0, &|w| DescribeProducersRequest { topics: topics.clone() }.encode(w, 0));
    // The settings of some groups, with their documentation.
    let group = |n: u32| describe_configs_request::DescribeConfigsResource {
        resource_type: 32,
        resource_name: n.to_string().into(),
        configuration_keys: Option::None,
    };
    let resources = (0..150_000).map(group).collect();
    let request = DescribeConfigsRequest { resources, include_synonyms: true, include_documentation: true };
    close(ApiKey::DescribeConfigs, 4, &|w| request.encode(w, 4));
    let grown = broker.memory().saturating_sub(memory);
    assert!(grown < 700 << 20, "{grown} bytes");
}
