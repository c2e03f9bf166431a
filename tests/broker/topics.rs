//! What the APIs about topics and settings refuse, and how.

use crate::batches::batch;
use crate::client::{Client, Produce, ask};
use crate::process::wait_for;
use crate::subject::Subject;
use klamm::types::Uuid;
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
    let (name, unknown) = (subject.name("shrunk"), subject.name("unknown"));
    client.create(&name, 1, &[]);
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
