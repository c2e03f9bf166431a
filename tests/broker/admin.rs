//! What the APIs of administration answer in a cluster of one, and what they refuse: a row for each API and error.

use crate::batches::sequenced;
use crate::client::{Client, Produce, ask};
use crate::limits::is_served;
use crate::process::{Broker, wait_for};
use crate::subject::Subject;
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::*;

/// Operations on a setting, and kinds of resources.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

fn known(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

/// Changes one setting; the error, and its message.
fn change(
    client: &mut Client,
    (resource_type, resource_name): (i8, &str),
    (setting, operation, value): (&str, i8, Option<&str>),
    validate_only: bool,
) -> (ErrorCode, String) {
    use klamm::wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig {
        name: setting.to_string().into(),
        config_operation: operation,
        value: value.map(|value| value.to_string().into()),
    };
    let resource_name = resource_name.to_string().into();
    let resources = vec![AlterConfigsResource { resource_type, resource_name, configs: vec![config] }];
    let request = IncrementalAlterConfigsRequest { resources, validate_only };
    let response = ask!(client, IncrementalAlterConfigs, 1, IncrementalAlterConfigsResponse, request);
    let result = &response.responses[0];
    (known(result.error_code), result.error_message.as_deref().unwrap_or("").to_string())
}

/// Value and source of one setting, if it is shown.
fn described(client: &mut Client, (resource_type, name): (i8, &str), setting: &str) -> Option<(String, i8)> {
    use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_string().into(),
        configuration_keys: Some(vec![setting.to_string().into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = ask!(client, DescribeConfigs, 4, DescribeConfigsResponse, request);
    assert_eq!(known(response.results[0].error_code), None);
    let setting = response.results[0].configs.first()?;
    Some((setting.value.as_deref().unwrap_or("").to_string(), setting.config_source))
}

#[test]
fn leaders_are_elected_as_by_kafka() {
    use klamm::wire::messages::elect_leaders_request::TopicPartitions;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("led"), subject.name("unknown"));
    client.create(&name, 2, &[]);
    let mut elect = |version: i16, election_type, topic: &str, partitions: &[i32]| {
        let topics = vec![TopicPartitions { topic: topic.to_string().into(), partitions: partitions.to_vec() }];
        let request = ElectLeadersRequest { election_type, topic_partitions: Some(topics), timeout_ms: 60_000 };
        let response = ask!(client, ElectLeaders, version, ElectLeadersResponse, request);
        let results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let mut results: Vec<_> = results.map(|p| (p.partition_id, known(p.error_code))).collect();
        results.sort();
        (known(response.error_code), results)
    };
    for version in 0..=2 {
        for kind in [0, 1] {
            assert_eq!(
                elect(version, kind, &name, &[0, 1]),
                (None, vec![(0, ElectionNotNeeded), (1, ElectionNotNeeded)])
            );
            assert_eq!(elect(version, kind, &name, &[2]), (None, vec![(2, UnknownTopicOrPartition)]));
            assert_eq!(elect(version, kind, &unknown, &[0]), (None, vec![(0, UnknownTopicOrPartition)]));
        }
    }
    assert_eq!(elect(2, 9, &name, &[0]).1, [(0, InvalidRequest)]);
    let request = ElectLeadersRequest { topic_partitions: Option::None, timeout_ms: 60_000, ..Default::default() };
    let response = ask!(client, ElectLeaders, 2, ElectLeadersResponse, request);
    assert_eq!(known(response.error_code), None);
    assert!(response.replica_election_results.iter().any(|topic| *topic.topic == name));
    assert!(response.replica_election_results.iter().all(|topic| topic.partition_result.is_empty()));
}

#[test]
fn partitions_are_reassigned_as_by_kafka() {
    use klamm::wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    use klamm::wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("moved"), subject.name("unknown"));
    client.create(&name, 1, &[]);
    let mut reassign = |version: i16, topic: &str, partition_index, replicas: Option<&[i32]>, may_change| {
        let partitions = vec![ReassignablePartition { partition_index, replicas: replicas.map(<[i32]>::to_vec) }];
        let topics = vec![ReassignableTopic { name: topic.to_string().into(), partitions }];
        let request = AlterPartitionReassignmentsRequest {
            topics,
            allow_replication_factor_change: may_change,
            timeout_ms: 60_000,
        };
        let response = ask!(client, AlterPartitionReassignments, version, AlterPartitionReassignmentsResponse, request);
        assert_eq!(known(response.error_code), None);
        known(response.responses[0].partitions[0].error_code)
    };
    for version in 0..=1 {
        for (what, topic, index, replicas, code) in [
            ("where it is", &name, 0, Some(&[1][..]), None),
            ("cancelled", &name, 0, Option::None, NoReassignmentInProgress),
            ("to nowhere", &name, 0, Some(&[]), InvalidReplicaAssignment),
            ("to an unknown broker", &name, 0, Some(&[77]), InvalidReplicaAssignment),
            ("to one twice", &name, 0, Some(&[1, 1]), InvalidReplicaAssignment),
            ("to a negative broker", &name, 0, Some(&[-1]), InvalidReplicaAssignment),
            ("of an unknown partition", &name, 1, Some(&[1]), UnknownTopicOrPartition),
            ("of an unknown topic", &unknown, 0, Some(&[1]), UnknownTopicOrPartition),
            ("cancelled, of an unknown topic", &unknown, 0, Option::None, UnknownTopicOrPartition),
        ] {
            assert_eq!(reassign(version, topic, index, replicas, true), code, "{what}");
        }
    }
    assert_eq!(reassign(1, &name, 0, Some(&[1, 77]), false), InvalidReplicaAssignment);
    assert_eq!(reassign(1, &name, 0, Some(&[1]), false), None);
    for topic in [&name, &unknown] {
        let topic = ListPartitionReassignmentsTopics { name: topic.clone().into(), partition_indexes: vec![0, 7] };
        let request = ListPartitionReassignmentsRequest { topics: Some(vec![topic]), ..Default::default() };
        let response = ask!(client, ListPartitionReassignments, 0, ListPartitionReassignmentsResponse, request);
        assert_eq!((known(response.error_code), response.topics.len()), (None, 0));
    }
    let all = ListPartitionReassignmentsRequest { topics: Option::None, ..Default::default() };
    let response = ask!(client, ListPartitionReassignments, 0, ListPartitionReassignmentsResponse, all);
    assert_eq!((known(response.error_code), response.topics.len()), (None, 0));
}

#[test]
fn the_quorum_is_described_as_by_kafka() {
    use klamm::wire::messages::describe_quorum_request::{PartitionData, TopicData};
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let mut describe = |version: i16, topic: &str, partition_index| {
        let partitions = vec![PartitionData { partition_index }];
        let topics = vec![TopicData { topic_name: topic.to_string().into(), partitions }];
        let request = DescribeQuorumRequest { topics };
        ask!(client, DescribeQuorum, version, DescribeQuorumResponse, request)
    };
    for version in 0..=2 {
        let response = describe(version, "__cluster_metadata", 0);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((known(response.error_code), known(partition.error_code)), (None, None));
        assert_eq!((partition.leader_id, partition.observers.len()), (1, 0));
        let [voter] = &partition.current_voters[..] else { panic!("one voter: {partition:?}") };
        assert_eq!(voter.replica_id, 1);
        assert!(voter.log_end_offset >= partition.high_watermark && partition.high_watermark > 0);
        assert_eq!(voter.last_caught_up_timestamp > 1_600_000_000_000, version > 0);
        assert_eq!(response.nodes.len(), usize::from(version > 1));
        for (topic, partition) in [("__cluster_metadata", 1), ("t", 0)] {
            let response = describe(version, topic, partition);
            assert_eq!(known(response.error_code), None);
            assert_eq!(known(response.topics[0].partitions[0].error_code), UnknownTopicOrPartition);
        }
    }
    let before = describe(2, "__cluster_metadata", 0).topics[0].partitions[0].high_watermark;
    subject.connect().create(&subject.name("new"), 1, &[]);
    let after = describe(2, "__cluster_metadata", 0).topics[0].partitions[0].high_watermark;
    assert!(after > before, "{before} {after}");
}

#[test]
fn producers_are_described_as_by_kafka() {
    use klamm::wire::messages::describe_producers_request::TopicRequest;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("produced"), subject.name("unknown"));
    client.create(&name, 2, &[]);
    for (id, epoch, sequence, records) in [(8_000_002, 3, 0, 5), (8_000_002, 3, 5, 2), (8_000_001, 0, 7, 1)] {
        Produce::to(&name, 0, sequenced(id, epoch, sequence, records)).write(&mut client);
    }
    let mut describe = |topic: &str, partition: i32| {
        let topics = vec![TopicRequest { name: topic.to_string().into(), partition_indexes: vec![partition] }];
        let request = DescribeProducersRequest { topics };
        let response = ask!(client, DescribeProducers, 0, DescribeProducersResponse, request);
        let partition = &response.topics[0].partitions[0];
        let producers = partition.active_producers.iter();
        let mut shown: Vec<_> = producers
            .map(|p| {
                assert!(p.last_timestamp > 1_600_000_000_000, "{p:?}");
                assert_eq!((p.coordinator_epoch, p.current_txn_start_offset), (-1, -1));
                (p.producer_id, p.producer_epoch, p.last_sequence)
            })
            .collect();
        shown.sort_unstable();
        (known(partition.error_code), shown)
    };
    assert_eq!(describe(&name, 0), (None, vec![(8_000_001, 0, 7), (8_000_002, 3, 6)]));
    assert_eq!(describe(&name, 1), (None, vec![]));
    assert_eq!(describe(&name, 2), (UnknownTopicOrPartition, vec![]));
    assert_eq!(describe(&unknown, 0), (UnknownTopicOrPartition, vec![]));
    assert_eq!(describe("a/b", 0), (InvalidTopicException, vec![]));
}

#[test]
fn features_are_updated_as_by_kafka() {
    use klamm::wire::messages::update_features_request::FeatureUpdateKey;
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let versions = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let response = ask!(client, ApiVersions, 4, ApiVersionsResponse, versions);
    let level = |features: &[api_versions_response::FinalizedFeatureKey<'_>]| {
        features.iter().find(|feature| feature.name == "metadata.version").expect("finalized").max_version_level
    };
    let level = level(&response.finalized_features);
    let mut update = |version: i16, feature: &str, max_version_level, upgrade_type| {
        let update = FeatureUpdateKey {
            feature: feature.to_string().into(),
            max_version_level,
            upgrade_type,
            allow_downgrade: false,
        };
        let request =
            UpdateFeaturesRequest { feature_updates: vec![update], validate_only: true, ..Default::default() };
        let response = ask!(client, UpdateFeatures, version, UpdateFeaturesResponse, request);
        (known(response.error_code), response.results.len())
    };
    for version in 0..=2 {
        let listed = usize::from(version < 2);
        assert_eq!(update(version, "metadata.version", level, 1), (None, listed));
        assert_eq!(update(version, "metadata.version", 999, 1), (InvalidUpdateVersion, 0));
        assert_eq!(update(version, "metadata.version", -1, 1), (InvalidUpdateVersion, 0));
        assert_eq!(update(version, "metadata.version", 1, 1), (InvalidUpdateVersion, 0));
        assert_eq!(update(version, "no.such", 1, 1), (InvalidUpdateVersion, 0));
        assert_eq!(update(version, "no.such", 0, 1), (InvalidUpdateVersion, 0));
    }
    assert_eq!(update(2, "metadata.version", level, 9), (InvalidUpdateVersion, 0));
    assert_eq!(update(2, "metadata.version", level, 2), (None, 0));
}

#[test]
fn replicas_change_directories_as_by_kafka() {
    use klamm::wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (name, unknown) = (subject.name("kept"), subject.name("unknown"));
    client.create(&name, 1, &[]);
    let all = DescribeLogDirsRequest { topics: Option::None };
    let own = ask!(client, DescribeLogDirs, 4, DescribeLogDirsResponse, all).results[0].log_dir.to_string();
    assert!(own.starts_with('/'), "{own}");
    let mut change = |version: i16, path: &str, topic: &str, partition: i32| {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.to_string().into(), partitions: vec![partition] }];
        let dirs = vec![AlterReplicaLogDir { path: path.to_string().into(), topics }];
        let request = AlterReplicaLogDirsRequest { dirs };
        let response = ask!(client, AlterReplicaLogDirs, version, AlterReplicaLogDirsResponse, request);
        known(response.results[0].partitions[0].error_code)
    };
    for version in 1..=2 {
        assert_eq!(change(version, &own, &name, 0), None);
        assert_eq!(change(version, "/no/such", &name, 0), LogDirNotFound);
        assert_eq!(change(version, "relative", &name, 0), LogDirNotFound);
        assert_eq!(change(version, &own, &name, 1), UnknownTopicOrPartition);
        assert_eq!(change(version, &own, &unknown, 0), UnknownTopicOrPartition);
        assert_eq!(change(version, "/no/such", &unknown, 0), LogDirNotFound);
    }
}

#[test]
fn resources_are_listed_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (topic, group) = (subject.name("listed"), subject.name("group"));
    client.create(&topic, 1, &[]);
    let setting = ("consumer.session.timeout.ms", SET, Some("50000"));
    assert_eq!(change(&mut client, (GROUP, &group), setting, false).0, None);
    let mut list = |version: i16, kinds: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec() };
        let response = ask!(client, ListConfigResources, version, ListConfigResourcesResponse, request);
        let resources = response.config_resources.iter();
        (
            known(response.error_code),
            resources.map(|r| (r.resource_type, r.resource_name.to_string())).collect::<Vec<_>>(),
        )
    };
    let (code, all) = list(1, &[]);
    assert_eq!(code, None);
    let broker = "1".to_string();
    for resource in [(TOPIC, &topic), (BROKER, &broker), (LOGGER, &broker), (GROUP, &group)] {
        assert!(all.contains(&(resource.0, resource.1.clone())), "{resource:?}");
        let (code, some) = list(1, &[resource.0]);
        assert!(code == None && some.iter().all(|(kind, _)| *kind == resource.0), "{some:?}");
        assert!(some.contains(&(resource.0, resource.1.clone())));
    }
    assert_eq!(list(1, &[METRICS]), (None, vec![]));
    assert_eq!(list(0, &[]), (None, vec![]), "client metrics");
    assert_eq!(list(1, &[TOPIC, 99]).0, UnsupportedVersion);
}

#[test]
fn groups_settings_are_changed_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let group = subject.name("g");
    let group = (GROUP, &*group);
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    for (resource, setting, operation, value, code) in [
        (group, session, SET, Some("50000"), None),
        (group, session, SET, Some("1"), InvalidConfig),
        (group, session, SET, Some("60001"), InvalidConfig),
        (group, session, SET, Some("soon"), InvalidConfig),
        (group, session, SET, Option::None, InvalidRequest),
        (group, heartbeat, SET, Some("4999"), InvalidConfig),
        (group, heartbeat, SET, Some("15000"), None),
        (group, heartbeat, DELETE, Option::None, None),
        (group, "share.isolation.level", SET, Some("read_committed"), None),
        (group, "share.isolation.level", SET, Some("x"), InvalidConfig),
        (group, "streams.num.standby.replicas", SET, Some("3"), InvalidConfig),
        (group, "no.such", SET, Some("1"), InvalidConfig),
        (group, "retention.ms", SET, Some("1"), InvalidConfig),
        ((GROUP, ""), session, SET, Some("50000"), InvalidRequest),
    ] {
        let (got, message) = change(&mut client, resource, (setting, operation, value), false);
        assert_eq!(got, code, "{resource:?} {setting} {operation} {value:?}: {message}");
    }
    assert_eq!(described(&mut client, group, session), Some(("50000".into(), 8)));
    assert_eq!(described(&mut client, group, heartbeat), Some(("5000".into(), 5)));
    assert_eq!(change(&mut client, group, (session, SET, Some("55000")), true).0, None);
    assert_eq!(described(&mut client, group, session), Some(("50000".into(), 8)), "validating changed nothing");
}

#[test]
fn brokers_settings_take_effect_at_once_and_last() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    let (all, one, group) = ((BROKER, ""), (BROKER, "1"), (GROUP, "g"));
    let mut set = |resource, name: &str, value: &str| {
        let outcome = change(&mut client, resource, (name, SET, Some(value)), false);
        assert_eq!(outcome, (None, String::new()), "{name}={value}");
    };
    set(all, "topic.name.patterns", "a-*");
    set(one, "topic.partitions.max", "4");
    set(all, "max.connections", "3");
    set(group, "consumer.session.timeout.ms", "50000");
    let check = |broker: &Broker| {
        let mut client = Client::connect(broker.address);
        assert_eq!(described(&mut client, all, "topic.name.patterns"), Some(("a-*".into(), 3)));
        assert_eq!(described(&mut client, one, "topic.partitions.max"), Some(("4".into(), 2)));
        assert_eq!(described(&mut client, one, "max.connections"), Some(("3".into(), 3)));
        assert_eq!(described(&mut client, group, "consumer.session.timeout.ms"), Some(("50000".into(), 8)));
        let mut create = |name: &'static str, partitions: i32, validate_only| {
            let topic = create_topics_request::CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, validate_only };
            known(ask!(client, CreateTopics, 7, CreateTopicsResponse, request).topics[0].error_code)
        };
        assert_eq!(create("a-x", 4, true), None);
        assert_eq!(create("b", 1, false), PolicyViolation);
        assert_eq!(create("a-x", 5, false), PolicyViolation);
    };
    check(&broker);
    // Beside the first client, which is still there.
    let others: Vec<Client> = (0..2).map(|_| wait_for("room", || is_served(&broker))).collect();
    assert!(is_served(&broker).is_none(), "one more than there may be");
    drop((client, others));
    broker.kill();
    check(&Broker::start(dir.path(), &[]));
}

#[test]
fn the_offsets_topic_keeps_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("offsets.topic.num.partitions", "3")]);
    let mut client = Client::connect(broker.address);
    let find = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    ask!(client, FindCoordinator, 3, FindCoordinatorResponse, find);
    let name = "__consumer_offsets".into();
    let topics = vec![create_partitions_request::CreatePartitionsTopic { name, count: 4, assignments: Option::None }];
    for validate_only in [true, false] {
        let request = CreatePartitionsRequest { topics: topics.clone(), timeout_ms: 60_000, validate_only };
        let response = ask!(client, CreatePartitions, 3, CreatePartitionsResponse, request);
        assert_eq!(known(response.results[0].error_code), InvalidRequest);
        let message = response.results[0].error_message.as_deref().expect("a message");
        assert!(message.starts_with("The number of partitions of __consumer_offsets"), "{message}");
    }
}

/// A setting as DescribeConfigs shows it: value, source, and whether it is sensitive.
fn shown(client: &mut Client, (resource_type, name): (i8, &str), setting: &str) -> Option<(Option<String>, i8, bool)> {
    use klamm::wire::messages::describe_configs_request::DescribeConfigsResource;
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_string().into(),
        configuration_keys: Some(vec![setting.to_string().into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = ask!(client, DescribeConfigs, 4, DescribeConfigsResponse, request);
    let setting = response.results[0].configs.first()?;
    Some((setting.value.as_deref().map(str::to_string), setting.config_source, setting.is_sensitive))
}

#[test]
fn odd_settings_of_brokers_are_changed_and_shown_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let (one, all) = ((BROKER, "1"), (BROKER, ""));
    let hidden = |source| Some((Option::None, source, true));
    let plain = |value: &str, source| Some((Some(value.to_string()), source, false));
    let prefixed = "listener.name.x.ssl.client.auth";
    let listener_only =
        "These security configs can be dynamically updated only per-listener using the listener prefix: ";
    let of_one = "Cannot update these configs at default cluster level, broker id must be specified: ";
    for (resource, name, operation, value, code, message, then) in [
        (one, "node.id", SET, "1", InvalidRequest, "Cannot update these configs dynamically: [node.id]", Option::None),
        (one, "ssl.truststore.type", SET, "PEM", InvalidRequest, listener_only, Option::None),
        (all, "ssl.truststore.type", SET, "PEM", InvalidRequest, listener_only, Option::None),
        (all, "ssl.client.auth", SET, "none", InvalidRequest, of_one, Option::None),
        (all, prefixed, SET, "none", InvalidRequest, of_one, Option::None),
        (one, prefixed, SET, "none", None, "", plain("none", 2)),
        (one, "listener.name.x.ssl.key.password", SET, "secret", None, "", hidden(2)),
        (all, "listener.name.x.max.connections", SET, "5", None, "", plain("5", 3)),
        (one, "no.such", SET, "secret", None, "", hidden(2)),
        (all, "no.such", SET, "secret", None, "", hidden(3)),
        (one, "no.such", APPEND, "more", InvalidConfig, "Unknown config name: no.such", hidden(2)),
        (one, "message.max.bytes", SET, " 5000000 ", None, "", plain("5000000", 2)),
        (one, "message.max.bytes", SET, "x", InvalidRequest, "Invalid value x for configuration", plain("5000000", 2)),
        (
            one,
            "message.max.bytes",
            APPEND,
            "1",
            InvalidConfig,
            "Config value append is not allowed for config key: ",
            plain("5000000", 2),
        ),
    ] {
        let what = format!("{resource:?} {name} {operation} {value}");
        let (got, text) = change(&mut client, resource, (name, operation, Some(value)), false);
        assert_eq!(got, code, "{what}: {text}");
        assert!(text.starts_with(message), "{what}: {text}");
        // Kafka answers before its broker has heard of it.
        if then.is_some() {
            wait_for(&what, || (shown(&mut client, resource, name) == then).then_some(()));
        }
    }
    for (resource, name) in [
        (one, prefixed),
        (one, "listener.name.x.ssl.key.password"),
        (all, "listener.name.x.max.connections"),
        (one, "no.such"),
        (all, "no.such"),
        (one, "message.max.bytes"),
    ] {
        assert_eq!(change(&mut client, resource, (name, DELETE, Option::None), false), (None, String::new()));
    }
}

#[test]
fn odd_settings_of_topics_are_changed_and_shown_as_by_kafka() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let name = subject.name("odd");
    client.create(&name, 1, &[]);
    let topic = (TOPIC, &*name);
    let throttled = "leader.replication.throttled.replicas";
    let list = |start: u32| (start..start + 3200).map(|n| format!("{n}:1")).collect::<Vec<_>>().join(",");
    let (first, second) = (list(1_000_000), list(2_000_000));
    let too_long = "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
    for (name, operation, value, code, message, then) in [
        ("retention.ms", SET, " 5000 ", None, "", "5000"),
        ("cleanup.policy", SET, "compact , delete", None, "", "compact,delete"),
        (
            "cleanup.policy",
            APPEND,
            "",
            InvalidConfig,
            "Configuration 'cleanup.policy' values must not be empty.",
            "compact,delete",
        ),
        ("cleanup.policy", SUBTRACT, "", None, "", "compact,delete"),
        ("cleanup.policy", SET, "", None, "", ""),
        ("compression.type", SET, " gzip ", None, "", "gzip"),
        ("preallocate", SET, " TRUE ", None, "", "true"),
        ("internal.segment.bytes", SET, "1048577", None, "", "1048577"),
        (throttled, APPEND, "", None, "", ""),
        (throttled, APPEND, &first, None, "", &*first),
        (throttled, APPEND, &second, InvalidConfig, too_long, &first),
    ] {
        let what = format!("{name} {operation} {value:.20}");
        let (got, text) = change(&mut client, topic, (name, operation, Some(value)), false);
        assert_eq!((got, &*text), (code, message), "{what}");
        wait_for(&what, || (shown(&mut client, topic, name) == Some((Some(then.to_string()), 1, false))).then_some(()));
    }
}

#[test]
fn loggers_and_client_metrics_are_answered_for() {
    let subject = Subject::new(&[]);
    let mut client = subject.connect();
    let subscription = subject.name("m");
    for (resource, operation, code, message) in [
        ((LOGGER, "1"), SET, InvalidConfig, "Logger no.such does not exist!"),
        ((LOGGER, "1"), APPEND, InvalidRequest, "APPEND operation is not allowed for the BROKER_LOGGER resource"),
        ((LOGGER, "2"), SET, InvalidRequest, "Unexpected node id. Expected 1, but received 2"),
        ((LOGGER, ""), SET, InvalidRequest, "Node id must be an integer, but it is: "),
        ((METRICS, ""), SET, InvalidRequest, "Subscription name can't be empty"),
        ((METRICS, &*subscription), SET, InvalidRequest, ""),
    ] {
        let (got, text) = change(&mut client, resource, ("no.such", operation, Some("INFO")), false);
        assert_eq!(got, code, "{resource:?}: {text}");
        assert!(text.starts_with(message), "{text}");
    }
    let defaults = [("interval.ms", "300000"), ("match", ""), ("metrics", "")];
    for (name, value) in defaults {
        let default = Some((Some(value.to_string()), 5, false));
        assert_eq!(shown(&mut client, (METRICS, &subscription), name), default);
    }
}

#[test]
fn a_value_that_is_longer_than_it_may_be_can_still_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let value = "x".repeat(50_000);
    let broker = Broker::start(dir.path(), &[("metric.reporters", &value), ("sasl.enabled.mechanisms", "PLAIN")]);
    let mut client = Client::connect(broker.address);
    let (shown, source) = described(&mut client, (BROKER, "1"), "metric.reporters").expect("it is given");
    assert_eq!((shown.len(), source), (32_767, 4));
    assert!(shown.contains('…') && shown.starts_with('x') && shown.ends_with('x'));
}
