//! The longest string that a message can say, in every string of every request: the broker answers, whatever its answer
//! repeats, and goes on.
//!
//! The requests are written from `messages.txt`, so a new API is here without being named.

use crate::client::{Client, ask, read_frame};
use crate::compose::{Values, frame};
use crate::process::Broker;
use crate::sample::{Message, messages};
use klamm::wire::codec::STRING_BYTES_MAX;
use klamm::wire::messages::*;
use std::collections::BTreeSet;
use std::io::Write;

/// A request in which each string is as it is likely to be taken, but those at `long` are as long as a string may be.
struct Strings {
    /// The string that is long, counted from 0 in the order of the message; `None`: all are.
    long: Option<usize>,
    /// Strings so far.
    strings: usize,
    /// Chooses among the numbers of a field that has several.
    choice: usize,
}

impl Values for Strings {
    fn string(&mut self, message: &Message, field: &str) -> String {
        let long = self.long.is_none_or(|long| long == self.strings);
        self.strings += 1;
        if long { long_text() } else { likely(field, message).to_string() }
    }

    /// A number with which the request gets far.
    fn number(&mut self, _: &Message, field: &str) -> i64 {
        let of = |numbers: &[i64]| numbers[self.choice % numbers.len()];
        match field {
            "ResourceType" => of(&[2, 4, 32, 8, 16, 3]),
            "ConfigOperation" => of(&[0, 0, 0, 2, 3, 1, 9]),
            "ElectionType" | "KeyType" => of(&[0, 0, 0, 1, 7]),
            "NumPartitions" | "ReplicationFactor" => of(&[1, -1]),
            "UpgradeType" => of(&[1, 9]),
            "SessionTimeoutMs" => 20,
            "RebalanceTimeoutMs" => 20,
            "BrokerIds" | "Replicas" | "Acks" | "MaxVersionLevel" | "TimeoutMs" => 1,
            "ReplicaId" | "CurrentLeaderEpoch" | "GenerationId" | "GenerationIdOrMemberEpoch" => -1,
            _ => 0,
        }
    }
}

/// A value of a string with which the request gets far: what it names is there.
fn likely(field: &str, message: &Message) -> &'static str {
    match (&*message.name, field) {
        (_, "GroupId" | "Groups" | "GroupsNames" | "Key" | "CoordinatorKeys") => "g",
        ("DescribeConfigsRequest" | "AlterConfigsRequest" | "IncrementalAlterConfigsRequest", "ResourceName") => "1",
        ("CreateTopicsRequest" | "AlterConfigsRequest" | "IncrementalAlterConfigsRequest", "Name") => "cleanup.policy",
        (_, "Value") => "compact",
        (_, "Feature") => "metadata.version",
        (_, "ProtocolType") => "consumer",
        (_, "ProtocolName") => "range",
        ("JoinGroupRequest", "Name") => "range",
        (_, "MemberId" | "GroupInstanceId" | "Reason" | "Rack" | "RackId" | "ClusterId") => "",
        _ => "t",
    }
}

fn long_text() -> String {
    let mut text = "é".repeat(STRING_BYTES_MAX / 2);
    text.push('x');
    assert_eq!(text.len(), STRING_BYTES_MAX);
    text
}

/// The frame of a request, and how many strings its body has.
fn composed(message: &Message, version: i16, long: Option<usize>, choice: usize, client_id: &str) -> (Vec<u8>, usize) {
    let mut strings = Strings { long, strings: 0, choice };
    (frame(message, version, 7, client_id, &mut strings), strings.strings)
}

#[test]
fn the_longest_string_in_any_request_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("group.initial.rebalance.delay.ms", "0"), ("group.min.session.timeout.ms", "10")];
    let mut broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let served = ask!(client, ApiVersions, 0, ApiVersionsResponse, ApiVersionsRequest::default()).api_keys;
    let long_id = long_text();
    let mut asked = BTreeSet::new();
    for message in messages().iter().filter(|message| message.name.ends_with("Request")) {
        let Some(api) = served.iter().find(|api| Some(api.api_key) == message.key) else { continue };
        let (first, last) = (api.min_version.max(message.valid.from), api.max_version);
        let flexible = message.flex.from.clamp(first, last);
        for version in BTreeSet::from([first, (flexible - 1).max(first), flexible, last]) {
            let strings = composed(message, version, None, 0, "").1;
            let chosen = (0..strings).map(Some).chain([None]);
            for (long, choice) in chosen.flat_map(|long| (0..7).map(move |choice| (long, choice))) {
                let client_id = if choice % 2 == 0 { "c" } else { &*long_id };
                let (bytes, _) = composed(message, version, long, choice, client_id);
                let what = format!("{} {version}, long {long:?}, choice {choice}", message.name);
                client.stream.write_all(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
                match read_frame(&mut client.stream) {
                    Ok(Some(answer)) => assert_eq!(answer[..4], [0, 0, 0, 7], "{what}"),
                    other => {
                        broker.assert_alive();
                        panic!("{what}: {other:?}")
                    }
                }
                asked.insert(message.name.clone());
            }
        }
    }
    broker.assert_alive();
    assert!(asked.len() > 35, "{asked:?}");
    drop(client);
    assert_eq!(broker.stop(), Some(0));
    // What it took can be read again, and said.
    let broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(!ask!(client, Metadata, 12, MetadataResponse, all).topics.is_empty());
    let resources = ListConfigResourcesRequest::default();
    assert_eq!(ask!(client, ListConfigResources, 1, ListConfigResourcesResponse, resources).error_code, 0);
    ask!(client, ListGroups, 4, ListGroupsResponse, ListGroupsRequest::default());
}

#[test]
fn messages_that_repeat_what_a_peer_said_are_cut() {
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    let setting = CreatableTopicConfig { name: long_text().into(), value: Some(long_text().into()) };
    let topic = |name: String, configs| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs,
        ..Default::default()
    };
    let topics = vec![topic(long_text(), vec![]), topic("t".into(), vec![setting])];
    let request = CreateTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
    let response = ask!(client, CreateTopics, 7, CreateTopicsResponse, request);
    for (result, code, start, end) in [
        (
            &response.topics[0],
            17,
            "Topic name is invalid: the length of 'éé",
            "is longer than the max allowed length 249",
        ),
        (&response.topics[1], 40, "Unknown topic config name: éé", "éx"),
    ] {
        let message = result.error_message.as_deref().expect("a message");
        assert_eq!(result.error_code, code, "{message}");
        assert!(message.starts_with(start) && message.ends_with(end) && message.contains('…'), "{message}");
        assert!((1000..=1024).contains(&message.len()), "{}", message.len());
    }
}
