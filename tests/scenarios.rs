//! Text scenarios of the shard machine, `tests/scenarios/*.txt`: input lines, each followed by the lines that it brings.
//!
//! ```text
//! cores N                      begins anew with so many cores; nothing happens between them until `mesh`
//! topic NAME PARTITIONS [K=V]  creates a topic, to the end
//! delete NAME                  deletes one, to the end
//! disk [fail]                  the disk does all that it was asked for
//! metadata fail                the metadata log cannot be written from here on
//! mesh                         messages between cores arrive
//! time MS                      so much time passes
//! C: produce T/P VALUE.. [acks=N id=I epoch=E seq=S]    a request on connection C (C@1: one of core 1)
//! C: fetch [T/P@OFFSET..] [min=B wait=MS max=B session=I epoch=E forget=T/P]
//! C: list T/P TIME
//! C: delete T/P OFFSET
//! C: find GROUP                the group's coordinator
//! C: commit GROUP T/P OFFSET
//! C: committed GROUP T/P
//! = C: ANSWER                  what is expected
//! ```
//! `KLAMM_SCENARIOS=print` prints what happens instead of comparing.

use bytes::{Bytes, BytesMut};
use klamm::config::Config;
use klamm::metadata::{Broker, Controller, Listener, Written};
use klamm::shard::message::Message;
use klamm::shard::node::Node;
use klamm::shard::port::ConnectionId;
use klamm::shard::recovery::{Found, Recovery};
use klamm::shard::store::{DiskOp, Done};
use klamm::shard::{Input, Output, Shard};
use klamm::types::{BrokerId, Now, ShardId, Time};
use klamm::wire::batch::{BatchBuilder, batches};
use klamm::wire::codec::{Reader, Records, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::*;
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

const WALL_MS: i64 = 1_700_000_000_000;
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const LIST: i16 = 7;
const DELETE: i16 = 2;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 3;
const FIND: i16 = 3;
const COMMIT: i16 = 8;
const COMMITTED: i16 = 7;

struct Stage {
    shards: Vec<Shard>,
    now: Now,
    disk: Vec<(u16, DiskOp)>,
    mail: VecDeque<(u16, u16, Message)>,
    /// Connections by name: core and id.
    connections: HashMap<String, (u16, ConnectionId)>,
    asked: HashMap<i32, ApiKey>,
    correlation_last: i32,
    lines: Vec<String>,
    metadata_fails: bool,
}

/// `KEY=VALUE` words of a line by key, and the other words.
fn options(words: &[&str]) -> (HashMap<String, i64>, Vec<String>) {
    let (mut options, mut plain) = (HashMap::new(), Vec::new());
    for word in words {
        match word.split_once('=').and_then(|(key, value)| Some((key, value.parse().ok()?))) {
            Some((key, value)) => drop(options.insert(key.to_string(), value)),
            None => plain.push(word.to_string()),
        }
    }
    (options, plain)
}

/// `TOPIC/PARTITION`.
fn part(text: &str) -> (&str, i32) {
    let (topic, index) = text.split_once('/').expect("TOPIC/PARTITION");
    (topic, index.parse().expect("a number"))
}

fn name(code: i16) -> &'static str {
    ErrorCode::from_code(code).expect("a code of Kafka's").name()
}

impl Stage {
    fn new(cores: u16) -> Stage {
        let config = Config::load(None, std::iter::empty(), &[("node.id".into(), "1".into())]).expect("valid").config;
        let node = Arc::new(Node {
            id: BrokerId(1),
            cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
            config: Arc::new(config),
            advertised: vec![("stage".into(), 9092)],
            shards: cores,
        });
        let mut controller = Controller::recover(None, &[]).expect("new").controller;
        let listener = Listener { name: "PLAINTEXT".into(), host: "stage".into(), port: 9092 };
        controller.register_broker(BrokerId(1), Broker { listeners: vec![listener], rack: None }).expect("registered");
        while controller.plan_write().is_some() {
            controller.written(Written::Synced);
        }
        let image = controller.image_durable().clone();
        let mut controller = Some((controller, 7));
        let shards = (0..cores).map(|core| {
            let recovery = Recovery::new(ShardId(core), node.clone(), image.clone(), &Found::default());
            let mut recovery = recovery.expect("nothing is there");
            recovery.begin();
            assert_eq!(recovery.want(), None);
            recovery.ring(vec![0], 1, 0);
            assert!(!recovery.drain());
            recovery.finish(u128::from(core), controller.take()).expect("nothing was there")
        });
        let mut stage = Stage {
            shards: shards.collect(),
            now: Now { mono: Time(1), wall_ms: WALL_MS },
            disk: Vec::new(),
            mail: VecDeque::new(),
            connections: HashMap::new(),
            asked: HashMap::new(),
            correlation_last: 0,
            lines: Vec::new(),
            metadata_fails: false,
        };
        // The ring gets its spare file.
        (0..cores).for_each(|core| stage.end_turn(core));
        stage.disk(true);
        stage
    }

    fn end_turn(&mut self, core: u16) {
        let shard = &mut self.shards[usize::from(core)];
        shard.end_turn(self.now);
        let mut again = false;
        for output in shard.take_output() {
            match output {
                Output::Send { connection, parts } => self.answer(core, connection, &parts.concat()),
                Output::Close { connection, reason } => {
                    let name = self.connection_name(core, connection);
                    self.lines.push(format!("{name}: closed: {reason}"));
                }
                Output::Disk(op) => self.disk.push((core, op)),
                Output::Mesh { to, message } => self.mail.push_back((core, to.0, message)),
                Output::MetadataWrite(_) => {
                    let written = if self.metadata_fails { Written::Failed } else { Written::Synced };
                    self.shards[0].step(self.now, Input::MetadataWritten { written });
                    again = true;
                }
                Output::PartitionRemove { log, .. } => {
                    self.shards[usize::from(core)].step(self.now, Input::PartitionRemoved { log, ok: true });
                    again = true;
                }
                other => panic!("nothing does {other:?} here"),
            }
        }
        if again {
            self.end_turn(core);
        }
    }

    fn disk(&mut self, ok: bool) {
        while !self.disk.is_empty() {
            for (core, op) in std::mem::take(&mut self.disk) {
                let done = match op {
                    DiskOp::JournalWrite(write) => Done::JournalWrite { sequence: write.sequence, ok },
                    DiskOp::JournalPrepare { file, .. } => Done::JournalPrepare { file, ok: true },
                    other => panic!("nothing does {other:?} here"),
                };
                self.shards[usize::from(core)].step(self.now, Input::DiskDone(done));
                self.end_turn(core);
            }
        }
    }

    fn mesh(&mut self) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            self.shards[usize::from(to)].step(self.now, Input::Message { from: ShardId(from), message });
            self.end_turn(to);
        }
    }

    fn time(&mut self, ms: u64) {
        self.now.mono = self.now.mono.after_ms(ms);
        self.now.wall_ms += ms as i64;
        (0..self.shards.len()).for_each(|core| self.end_turn(core as u16));
    }

    fn connection(&mut self, text: &str) -> (u16, ConnectionId) {
        if let Some(known) = self.connections.get(text) {
            return *known;
        }
        let core = text.split_once('@').map_or(0, |(_, core)| core.parse().expect("a core"));
        let id = ConnectionId(self.connections.len() as u64);
        let input = Input::Connected { connection: id, listener: 0, peer: Ipv4Addr::LOCALHOST.into() };
        self.shards[usize::from(core)].step(self.now, input);
        self.connections.insert(text.into(), (core, id));
        (core, id)
    }

    fn connection_name(&self, core: u16, connection: ConnectionId) -> String {
        let of = self.connections.iter().find(|(_, known)| **known == (core, connection));
        of.expect("a connection").0.clone()
    }

    fn send(&mut self, connection: &str, api: ApiKey, version: i16, body: impl FnOnce(&mut Writer)) {
        let (core, id) = self.connection(connection);
        self.correlation_last += 1;
        self.asked.insert(self.correlation_last, api);
        let frame = request_frame(api, version, self.correlation_last, None, body).concat();
        let frame = BytesMut::from(&frame[4..]);
        self.shards[usize::from(core)].step(self.now, Input::Frame { connection: id, frame });
        self.end_turn(core);
    }

    fn request(&mut self, connection: &str, words: &[&str]) {
        let (options, plain) = options(&words[1..]);
        let get = |key: &str, default: i64| options.get(key).copied().unwrap_or(default);
        match words[0] {
            "produce" => {
                let (topic, index) = part(&plain[0]);
                let builder =
                    BatchBuilder::new(0).producer(get("id", -1), get("epoch", -1) as i16, get("seq", -1) as i32);
                let time = self.now.wall_ms;
                let add = |b: BatchBuilder, value: &String| b.record(time, None, Some(value.as_bytes()));
                let batch = plain[1..].iter().fold(builder, add).build();
                let records = Some(Records::Spans(vec![batch]));
                let topic = produce_request::TopicProduceData {
                    name: topic.into(),
                    partition_data: vec![produce_request::PartitionProduceData { index, records }],
                    ..Default::default()
                };
                let (acks, timeout_ms) = (get("acks", -1) as i16, get("timeout", 30_000) as i32);
                let request = ProduceRequest { transactional_id: None, acks, timeout_ms, topic_data: vec![topic] };
                self.send(connection, ApiKey::Produce, PRODUCE, |w| request.encode(w, PRODUCE));
            }
            "fetch" => self.fetch(connection, &options, &plain, words),
            "list" => {
                let (topic, partition_index) = part(&plain[0]);
                let timestamp = match plain[1].parse().expect("a time") {
                    special @ ..0 => special,
                    after => WALL_MS + after,
                };
                let partition =
                    list_offsets_request::ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
                let topic = list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
                let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
                self.send(connection, ApiKey::ListOffsets, LIST, |w| request.encode(w, LIST));
            }
            "delete" => {
                let (topic, partition_index) = part(&plain[0]);
                let offset = plain[1].parse().expect("an offset");
                let partition = delete_records_request::DeleteRecordsPartition { partition_index, offset };
                let topic =
                    delete_records_request::DeleteRecordsTopic { name: topic.into(), partitions: vec![partition] };
                let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 };
                self.send(connection, ApiKey::DeleteRecords, DELETE, |w| request.encode(w, DELETE));
            }
            "find" | "commit" | "committed" => self.group_request(connection, words[0], &plain),
            other => panic!("no request {other}"),
        }
    }

    fn group_request(&mut self, connection: &str, what: &str, words: &[String]) {
        let group = &*words[0];
        if what == "find" {
            let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
            return self.send(connection, ApiKey::FindCoordinator, FIND, |w| request.encode(w, FIND));
        }
        let (topic, index) = part(&words[1]);
        if what == "commit" {
            let partition = offset_commit_request::OffsetCommitRequestPartition {
                partition_index: index,
                committed_offset: words[2].parse().expect("an offset"),
                ..Default::default()
            };
            let (name, partitions) = (topic.into(), vec![partition]);
            let topics =
                vec![offset_commit_request::OffsetCommitRequestTopic { name, partitions, ..Default::default() }];
            let request = OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() };
            return self.send(connection, ApiKey::OffsetCommit, COMMIT, |w| request.encode(w, COMMIT));
        }
        let (name, partition_indexes) = (topic.into(), vec![index]);
        let topics = Some(vec![offset_fetch_request::OffsetFetchRequestTopic { name, partition_indexes }]);
        let request = OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
        self.send(connection, ApiKey::OffsetFetch, COMMITTED, |w| request.encode(w, COMMITTED));
    }

    fn fetch(&mut self, connection: &str, options: &HashMap<String, i64>, plain: &[String], words: &[&str]) {
        let get = |key: &str, default: i64| options.get(key).copied().unwrap_or(default);
        let topics = plain.iter().filter_map(|word| word.split_once('@')).map(|(place, offset)| {
            let (topic, partition) = part(place);
            let fetch_offset = offset.parse().expect("an offset");
            let partition = fetch_request::FetchPartition {
                partition,
                fetch_offset,
                partition_max_bytes: get("max", 1 << 20) as i32,
                ..Default::default()
            };
            fetch_request::FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }
        });
        let forgotten = words.iter().filter_map(|word| word.strip_prefix("forget=")).map(|place| {
            let (topic, index) = part(place);
            fetch_request::ForgottenTopic { topic: topic.into(), partitions: vec![index], ..Default::default() }
        });
        let request = FetchRequest {
            max_wait_ms: get("wait", 500) as i32,
            min_bytes: get("min", 1) as i32,
            max_bytes: get("max", 1 << 20) as i32,
            session_id: get("session", 0) as i32,
            session_epoch: get("epoch", -1) as i32,
            topics: topics.collect(),
            forgotten_topics_data: forgotten.collect(),
            ..Default::default()
        };
        self.send(connection, ApiKey::Fetch, FETCH, |w| request.encode(w, FETCH));
    }

    fn answer(&mut self, core: u16, connection: ConnectionId, frame: &[u8]) {
        let mut reader = Reader::new(&frame[4..]);
        let correlation = Reader::new(&frame[4..]).i32().expect("a correlation id");
        let api = self.asked.remove(&correlation).expect("each request is answered once");
        let version = match api {
            ApiKey::Produce => PRODUCE,
            ApiKey::Fetch => FETCH,
            ApiKey::ListOffsets => LIST,
            ApiKey::DeleteRecords => DELETE,
            ApiKey::CreateTopics => CREATE_TOPICS,
            ApiKey::FindCoordinator => FIND,
            ApiKey::OffsetCommit => COMMIT,
            ApiKey::OffsetFetch => COMMITTED,
            _ => DELETE_TOPICS,
        };
        ResponseHeader::decode(&mut reader, api.header_versions(version).1).expect("a header");
        let lines = describe(api, &mut reader);
        let name = self.connection_name(core, connection);
        self.lines.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
    }

    fn create(&mut self, words: &[&str]) {
        let configs = words[2..].iter().filter_map(|word| word.split_once('=')).map(|(name, value)| {
            create_topics_request::CreatableTopicConfig { name: name.into(), value: Some(value.into()) }
        });
        let topic = create_topics_request::CreatableTopic {
            name: words[0].into(),
            num_partitions: words[1].parse().expect("a number"),
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        self.send("admin", ApiKey::CreateTopics, CREATE_TOPICS, |w| request.encode(w, CREATE_TOPICS));
        self.mesh();
    }

    fn delete(&mut self, topic: &str) {
        let request = DeleteTopicsRequest { topic_names: vec![topic.into()], ..Default::default() };
        self.send("admin", ApiKey::DeleteTopics, DELETE_TOPICS, |w| request.encode(w, DELETE_TOPICS));
        self.mesh();
    }

    fn input(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "topic" => self.create(&words[1..]),
            "delete" => self.delete(words[1]),
            "disk" => self.disk(words.len() == 1),
            "mesh" => self.mesh(),
            "metadata" => self.metadata_fails = words[1] == "fail",
            "time" => self.time(words[1].parse().expect("milliseconds")),
            connection => {
                let connection = connection.strip_suffix(':').unwrap_or_else(|| panic!("no input {connection}"));
                self.request(connection, &words[1..]);
            }
        }
    }
}

/// `OFFSET:VALUE` of each record.
fn records(records: Option<&Records<'_>>) -> String {
    let bytes = match records {
        Some(Records::Slice(bytes)) => Bytes::copy_from_slice(bytes),
        _ => Bytes::new(),
    };
    let mut found = Vec::new();
    for batch in batches(&bytes) {
        for record in batch.records() {
            let record = record.expect("a record");
            let offset = batch.header.base_offset.get() + i64::from(record.offset_delta);
            found.push(format!("{offset}:{}", String::from_utf8_lossy(record.value.unwrap_or_default())));
        }
    }
    found.join(" ")
}

fn describe(api: ApiKey, reader: &mut Reader<'_>) -> Vec<String> {
    match api {
        ApiKey::Produce => {
            let answer = ProduceResponse::decode(reader, PRODUCE).expect("an answer");
            let parts = answer.responses.iter().flat_map(|t| t.partition_responses.iter().map(|p| (&t.name, p)));
            parts.map(|(t, p)| format!("produce {t}/{} {} {}", p.index, name(p.error_code), p.base_offset)).collect()
        }
        ApiKey::Fetch => {
            let answer = FetchResponse::decode(reader, FETCH).expect("an answer");
            let session = match (answer.error_code, answer.session_id) {
                (0, 0) => String::new(),
                (0, id) => format!(" session={id}"),
                (code, _) => format!(" {}", name(code)),
            };
            let parts = answer.responses.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.topic, p)));
            let mut line = format!("fetch{session}");
            for (topic, p) in parts {
                let (index, code, end) = (p.partition_index, name(p.error_code), p.high_watermark);
                let found = records(p.records.as_ref());
                line += &match p.error_code {
                    0 => format!(" {topic}/{index} to {end} [{found}]"),
                    _ => format!(" {topic}/{index} {code}"),
                };
            }
            vec![line]
        }
        ApiKey::ListOffsets => {
            let answer = ListOffsetsResponse::decode(reader, LIST).expect("an answer");
            let p = &answer.topics[0].partitions[0];
            vec![format!("list {} {}", name(p.error_code), p.offset)]
        }
        ApiKey::DeleteRecords => {
            let answer = DeleteRecordsResponse::decode(reader, DELETE).expect("an answer");
            let p = &answer.topics[0].partitions[0];
            vec![format!("delete {} {}", name(p.error_code), p.low_watermark)]
        }
        ApiKey::FindCoordinator => {
            let answer = FindCoordinatorResponse::decode(reader, FIND).expect("an answer");
            vec![format!("find {} {}:{}", name(answer.error_code), answer.host, answer.port)]
        }
        ApiKey::OffsetCommit => {
            let answer = OffsetCommitResponse::decode(reader, COMMIT).expect("an answer");
            vec![format!("commit {}", name(answer.topics[0].partitions[0].error_code))]
        }
        ApiKey::OffsetFetch => {
            let answer = OffsetFetchResponse::decode(reader, COMMITTED).expect("an answer");
            let offset = answer.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
            vec![format!("committed {} {offset}", name(answer.error_code))]
        }
        ApiKey::CreateTopics => {
            let answer = CreateTopicsResponse::decode(reader, CREATE_TOPICS).expect("an answer");
            vec![format!("created {}", name(answer.topics[0].error_code))]
        }
        _ => {
            let answer = DeleteTopicsResponse::decode(reader, DELETE_TOPICS).expect("an answer");
            vec![format!("deleted {}", name(answer.responses[0].error_code))]
        }
    }
}

fn run(path: &std::path::Path, print: bool) {
    let text = std::fs::read_to_string(path).expect("a scenario");
    let place = path.file_name().expect("a file").to_string_lossy().into_owned();
    let mut stage = Stage::new(1);
    let lines: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    let mut at = 0;
    while at < lines.len() {
        let (number, line) = (at + 1, lines[at]);
        at += 1;
        if line.is_empty() {
            continue;
        }
        match line.strip_prefix("cores ") {
            Some(cores) => stage = Stage::new(cores.parse().expect("a number")),
            None => stage.input(line),
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.get(at).and_then(|line| line.strip_prefix("= ")) {
            expected.push(line.to_string());
            at += 1;
        }
        let found = std::mem::take(&mut stage.lines);
        if print {
            println!("{line}");
            found.iter().for_each(|line| println!("= {line}"));
        } else {
            assert_eq!(found, expected, "{place}:{number}: {line}");
        }
    }
}

#[test]
fn scenarios() {
    let dir = format!("{}/tests/scenarios", env!("CARGO_MANIFEST_DIR"));
    let print = std::env::var("KLAMM_SCENARIOS").is_ok_and(|value| value == "print");
    let files = std::fs::read_dir(dir).expect("the scenarios").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "txt")).collect();
    files.sort();
    assert!(files.len() >= 4);
    files.iter().for_each(|path| run(path, print));
}
