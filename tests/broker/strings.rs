//! The longest string that a message can say, in every string of every request: the broker answers, whatever its answer
//! repeats, and goes on.
//!
//! The requests are written from `messages.txt`, so a new API is here without being named.

use crate::client::{Client, ask, read_frame};
use crate::process::Broker;
use crate::sample::declaration::{Field, Type};
use crate::sample::{Message, messages};
use klamm::wire::codec::STRING_BYTES_MAX;
use klamm::wire::messages::*;
use std::collections::BTreeSet;
use std::io::Write;

/// A request's body: each string as it is likely to be taken, but those at `long` are as long as a string may be.
struct Body<'a> {
    message: &'a Message,
    version: i16,
    /// The string that is long, counted from 0 in the order of the message; `None`: all are.
    long: Option<usize>,
    /// Strings so far.
    strings: usize,
    /// Chooses among the numbers of a field that has several.
    choice: usize,
    out: Vec<u8>,
}

impl Body<'_> {
    fn fields(&mut self, name: &str) {
        let message = self.message;
        let (version, present) = (self.version, |field: &&Field| field.versions.contains(self.version));
        let fields: Vec<&Field> = message.structs[name].iter().filter(present).collect();
        fields.iter().filter(|field| field.tag.is_none()).for_each(|field| self.field(field));
        if message.flex.contains(version) {
            let mut tagged: Vec<&&Field> = fields.iter().filter(|field| field.tag.is_some()).collect();
            tagged.sort_by_key(|field| field.tag);
            uvarint(tagged.len(), &mut self.out);
            for field in tagged {
                let outer = std::mem::take(&mut self.out);
                self.field(field);
                let value = std::mem::replace(&mut self.out, outer);
                uvarint(field.tag.unwrap() as usize, &mut self.out);
                uvarint(value.len(), &mut self.out);
                self.out.extend(value);
            }
        }
    }

    fn field(&mut self, field: &Field) {
        let flex = field.flex.unwrap_or(self.message.flex).contains(self.version);
        if let (Type::Struct(_), true) = (&field.kind, field.null.contains(self.version)) {
            self.out.push(1);
        }
        self.value(&field.name, &field.kind, flex);
    }

    fn value(&mut self, name: &str, kind: &Type, flex: bool) {
        match kind {
            Type::Struct(kind) => self.fields(kind),
            Type::Array(element) => {
                length(1, flex, &mut self.out);
                self.value(name, element, flex);
            }
            Type::String => {
                let long = self.long.is_none_or(|long| long == self.strings);
                self.strings += 1;
                let text = if long { long_text() } else { likely(name, self.message).to_string() };
                match flex {
                    true => uvarint(text.len() + 1, &mut self.out),
                    false => self.out.extend((text.len() as u16).to_be_bytes()),
                }
                self.out.extend(text.bytes());
            }
            Type::Bytes | Type::Records => length(0, flex, &mut self.out),
            Type::Uuid => self.out.extend([0; 16]),
            Type::Bool => self.out.push(0),
            Type::I8 => self.out.push(self.number(name) as u8),
            Type::I16 | Type::U16 => self.out.extend((self.number(name) as i16).to_be_bytes()),
            Type::I32 | Type::U32 => self.out.extend(self.number(name).to_be_bytes()),
            Type::I64 => self.out.extend(i64::from(self.number(name)).to_be_bytes()),
            Type::F64 => self.out.extend([0; 8]),
        }
    }

    /// A number with which the request gets far.
    fn number(&self, name: &str) -> i32 {
        let of = |numbers: &[i32]| numbers[self.choice % numbers.len()];
        match name {
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

fn length(length: usize, flex: bool, out: &mut Vec<u8>) {
    if flex { uvarint(length + 1, out) } else { out.extend((length as u32).to_be_bytes()) }
}

fn uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The frame of a request, and how many strings its body has.
fn frame(message: &Message, version: i16, long: Option<usize>, choice: usize, client_id: &str) -> (Vec<u8>, usize) {
    let mut body = Body { message, version, long, strings: 0, choice, out: Vec::new() };
    body.fields(&message.name);
    let mut frame = vec![0; 4];
    frame.extend(message.key.expect("a request has a key").to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend((client_id.len() as u16).to_be_bytes());
    frame.extend(client_id.bytes());
    frame.extend(message.flex.contains(version).then_some(0));
    frame.extend(body.out);
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    (frame, body.strings)
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
            let strings = frame(message, version, None, 0, "").1;
            let chosen = (0..strings).map(Some).chain([None]);
            for (long, choice) in chosen.flat_map(|long| (0..7).map(move |choice| (long, choice))) {
                let client_id = if choice % 2 == 0 { "c" } else { &*long_id };
                let (bytes, _) = frame(message, version, long, choice, client_id);
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
