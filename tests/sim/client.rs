//! Clients: what they send, and what they make of the answers.

use crate::damage::Harm;
use crate::model::{Batch, BatchId, Model, Part, Retention, State, Topic, TopicState};
use crate::node::{Crashed, Process, WALL_MS, World};
use bytes::Bytes;
use klamm::shard::port::ConnectionId;
use klamm::types::{Offset, PartitionId};
use klamm::wire::batch::BatchBuilder;
use klamm::wire::codec::{Reader, Records, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::*;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{HashMap, HashSet, VecDeque};

const CONNECTIONS: usize = 3;
/// Batches of a producer that may be unanswered in a partition.
const IN_FLIGHT_MAX: usize = 5;
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 7;
const DELETE_RECORDS: i16 = 2;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
/// Values are cut out of so many random bytes.
const FILLER_BYTES: usize = 256 << 10;
const FOREVER_MS: i32 = i32::MAX;
/// After so long without any trouble nothing is refused: what failed is tried again each second.
const RECOVER_MS: u64 = 5000;

enum Request {
    Produce(Vec<BatchId>),
    /// From an offset, when the partition was known to reach to another one.
    Fetch(Part, Offset, Offset),
    /// By time; the time and offset of the first record that was known then.
    Find(Part, (i64, Offset)),
    DeleteRecords(Part),
    Create(usize),
    Delete(usize),
    /// The answer goes to who asked.
    Call,
}

/// A producer's stream into one partition.
#[derive(Clone, Copy)]
struct Stream {
    id: i64,
    sequence: i32,
}

#[derive(Default)]
struct Producer {
    idempotent: bool,
    streams: HashMap<Part, Stream>,
    /// An error was answered: nothing more is sent before the next start.
    halted: HashSet<Part>,
    history: HashMap<Part, Vec<BatchId>>,
}

pub struct Clients {
    pub model: Model,
    producers: Vec<Producer>,
    connections: Vec<(u16, ConnectionId, VecDeque<i32>)>,
    requests: HashMap<i32, Request>,
    correlation_last: i32,
    called: Option<(i32, Bytes)>,
    /// Answers to others, whole frames.
    pub others: VecDeque<Bytes>,
    producer_id_next: i64,
    filler: Bytes,
    /// Batches are large, so that rings wrap often.
    heavy: bool,
    /// Some topics let go what is old, or too much.
    pub retains: bool,
    /// The disk refuses something, or did a while ago: so may the broker.
    pub refused: bool,
}

/// Settings of a topic whose records go by themselves.
fn retention(random: &mut StdRng, settings: &mut Vec<(&str, &str)>) -> Retention {
    let ms = ["-1", "10", "60", "300"][random.random_range(0..4)];
    let bytes = ["-1", "0", "100000", "1500000"][random.random_range(0..4)];
    settings.extend([("retention.ms", ms), ("retention.bytes", bytes)]);
    settings.push(("segment.ms", ["604800000", "20", "150"][random.random_range(0..3)]));
    settings.push(("segment.jitter.ms", ["0", "15"][random.random_range(0..2)]));
    settings.push(("file.delete.delay.ms", ["0", "10", "1000"][random.random_range(0..3)]));
    let limit = |text: &str| text.parse::<i64>().ok().filter(|limit| *limit >= 0);
    Retention { ms: limit(ms), bytes: limit(bytes).map(|bytes| bytes as u64) }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

impl Clients {
    pub fn new(world: &mut World) -> Clients {
        let mut filler = vec![0; FILLER_BYTES];
        world.random.fill(&mut filler[..]);
        let producer = |number: usize| Producer { idempotent: number > 0, ..Default::default() };
        Clients {
            model: Model::default(),
            producers: (0..CONNECTIONS).map(producer).collect(),
            connections: Vec::new(),
            requests: HashMap::new(),
            correlation_last: 0,
            called: None,
            others: VecDeque::new(),
            producer_id_next: 1000,
            filler: filler.into(),
            heavy: world.random.random_range(0..3) == 0,
            retains: false,
            refused: false,
        }
    }

    /// New connections to a broker that has just started: what was not answered never will be.
    pub fn connect(&mut self, world: &mut World, process: &mut Process) {
        self.requests.clear();
        self.connections.clear();
        self.others.clear();
        self.refused = false;
        for number in 0..CONNECTIONS {
            let core = world.random.random_range(0..process.shards.len()) as u16;
            let connection = ConnectionId(number as u64);
            process.connect(core, connection);
            self.connections.push((core, connection, VecDeque::new()));
        }
        self.producers.iter_mut().for_each(|producer| producer.halted.clear());
    }

    fn send(
        &mut self,
        world: &mut World,
        process: &mut Process,
        connection: usize,
        (api, version): (ApiKey, i16),
        request: Request,
        body: impl FnOnce(&Self, &mut Writer),
    ) -> i32 {
        self.correlation_last += 1;
        let correlation = self.correlation_last;
        let frame = request_frame(api, version, correlation, None, |w| body(self, w));
        self.requests.insert(correlation, request);
        let (core, id, waiting) = &mut self.connections[connection];
        waiting.push_back(correlation);
        let (core, id) = (*core, *id);
        process.send(world, core, id, &frame);
        self.receive(world, process);
        correlation
    }

    pub fn receive(&mut self, world: &World, process: &mut Process) {
        while let Some((core, connection, frame)) = process.answers.pop_front() {
            if connection.0 >= crate::groups::CONNECTION_FIRST {
                self.others.push_back(frame);
                continue;
            }
            let mut reader = Reader::new(&frame[4..]);
            let correlation = Reader::new(&frame[4..]).i32().expect("a correlation id");
            let of = self.connections.iter_mut().find(|(c, id, _)| (*c, *id) == (core, connection));
            let expected = of.expect("a connection").2.pop_front();
            assert_eq!(Some(correlation), expected, "answers leave in the order of requests");
            match self.requests.remove(&correlation).expect("each request is answered once") {
                Request::Call => self.called = Some((correlation, frame)),
                request => {
                    let header = if matches!(request, Request::Fetch(..)) { ApiKey::Fetch } else { ApiKey::Produce };
                    let version = if header == ApiKey::Fetch { FETCH } else { PRODUCE };
                    ResponseHeader::decode(&mut reader, header.header_versions(version).1).expect("a header");
                    self.answered(world, request, &mut reader);
                }
            }
        }
    }

    pub fn step(&mut self, world: &mut World, process: &mut Process) -> Result<bool, Crashed> {
        let more = process.step(world)?;
        self.receive(world, process);
        Ok(more)
    }

    /// Until all is answered.
    pub fn wait(&mut self, world: &mut World, process: &mut Process) -> Result<(), Crashed> {
        while !self.requests.is_empty() {
            let more = self.step(world, process)?;
            assert!(more || self.requests.is_empty(), "the broker does nothing and owes {}", self.requests.len());
        }
        Ok(())
    }

    pub fn call(
        &mut self,
        world: &mut World,
        process: &mut Process,
        (api, version): (ApiKey, i16),
        body: impl FnOnce(&Self, &mut Writer),
    ) -> Result<Bytes, Crashed> {
        let correlation = self.send(world, process, 0, (api, version), Request::Call, body);
        loop {
            if let Some((_, frame)) = self.called.take_if(|(called, _)| *called == correlation) {
                let mut reader = Reader::new(&frame[4..]);
                ResponseHeader::decode(&mut reader, api.header_versions(version).1).expect("a header");
                let at = frame.len() - reader.remaining();
                return Ok(frame.slice(at..));
            }
            assert!(self.step(world, process)?, "the broker does nothing and owes an answer");
        }
    }

    fn answered(&mut self, world: &World, request: Request, reader: &mut Reader<'_>) {
        match request {
            Request::Produce(ids) => {
                let answer = ProduceResponse::decode(reader, PRODUCE).expect("an answer");
                let parts: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
                assert_eq!(parts.len(), ids.len());
                for (id, part) in ids.into_iter().zip(parts) {
                    world.trace(|| format!("batch {id}: {:?} at {}", code(part.error_code), part.base_offset));
                    self.produced(id, code(part.error_code), part.base_offset);
                }
            }
            Request::Fetch(part, offset, known_end) => {
                let answer = FetchResponse::decode(reader, FETCH).expect("an answer");
                let data = &answer.responses[0].partitions[0];
                let found = self.fetched(part, offset, data);
                let start = self.model.log(part).start_max;
                let live = self.model.topics[part.topic].state == TopicState::Live;
                if live && code(data.error_code) == ErrorCode::None && offset >= start && offset < known_end {
                    let (first, _) = *found.first().expect("acknowledged records can be read");
                    assert!(first <= offset, "{}: {offset} was asked for", self.model.name(part));
                }
            }
            Request::Find(part, expected) => {
                let answer = ListOffsetsResponse::decode(reader, LIST_OFFSETS).expect("an answer");
                let answer = &answer.topics[0].partitions[0];
                let moved = self.model.log(part).start_max > expected.1 || self.model.retention(part).any();
                let going = self.model.topics[part.topic].state != TopicState::Live;
                let found = (answer.timestamp, answer.offset);
                let going = going || (self.refused && code(answer.error_code) == ErrorCode::KafkaStorageError);
                assert!(moved || going || found == expected, "{}: {found:?}, not {expected:?}", self.model.name(part));
            }
            Request::DeleteRecords(part) => {
                let answer = DeleteRecordsResponse::decode(reader, DELETE_RECORDS).expect("an answer");
                let answer = &answer.topics[0].partitions[0];
                if code(answer.error_code) == ErrorCode::None {
                    let log = self.model.log(part);
                    log.start = log.start.max(answer.low_watermark);
                    log.start_max = log.start_max.max(log.start);
                }
            }
            Request::Create(topic) => {
                let answer = CreateTopicsResponse::decode(reader, CREATE_TOPICS).expect("an answer");
                if code(answer.topics[0].error_code) == ErrorCode::None {
                    self.model.topics[topic].state = TopicState::Live;
                }
            }
            Request::Delete(topic) => {
                let answer = DeleteTopicsResponse::decode(reader, DELETE_TOPICS).expect("an answer");
                if code(answer.responses[0].error_code) == ErrorCode::None {
                    self.model.topics[topic].state = TopicState::Gone;
                }
            }
            Request::Call => unreachable!("handled where it is received"),
        }
    }

    /// The batch's producer was refused something in its partition.
    fn is_halted(&self, id: BatchId) -> bool {
        let batch = &self.model.batches[id];
        self.producers[batch.producer].halted.contains(&batch.part)
    }

    fn produced(&mut self, id: BatchId, error: ErrorCode, offset: Offset) {
        let part = self.model.batches[id].part;
        let going = self.model.topics[part.topic].state != TopicState::Live;
        match error {
            ErrorCode::None => self.model.written(id, offset),
            ErrorCode::UnknownTopicOrPartition if going => self.model.batches[id].failed = true,
            ErrorCode::KafkaStorageError => {
                let lost = self.model.logs.get(&part).is_some_and(|log| log.lost);
                assert!(self.refused || lost || going, "{}: batch {id} is refused", self.model.name(part));
                let batch = &mut self.model.batches[id];
                batch.failed = true;
                self.producers[batch.producer].halted.insert(part);
            }
            ErrorCode::OutOfOrderSequenceNumber if self.is_halted(id) => self.model.batches[id].failed = true,
            error => panic!("{}: batch {id} is refused: {error}", self.model.name(part)),
        }
    }

    fn fetched(
        &mut self,
        part: Part,
        offset: Offset,
        data: &fetch_response::PartitionData<'_>,
    ) -> Vec<(Offset, BatchId)> {
        let going = self.model.topics[part.topic].state != TopicState::Live;
        let retains = self.model.retention(part).any();
        let log = self.model.log(part);
        match code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange if retains => return Vec::new(),
            // The records, or their files, have gone while the fetch was under way.
            ErrorCode::OffsetOutOfRange | ErrorCode::KafkaStorageError if log.start_max > offset => return Vec::new(),
            ErrorCode::KafkaStorageError if self.refused => return Vec::new(),
            // Where the log ends others followed.
            ErrorCode::KafkaStorageError if log.lost && log.known.range(offset..).next().is_none() => {
                return Vec::new();
            }
            ErrorCode::UnknownTopicOrPartition | ErrorCode::KafkaStorageError if going => return Vec::new(),
            error => panic!("{}: a fetch is answered by {error}", self.model.name(part)),
        }
        if !going {
            self.model.told_start(part, data.log_start_offset);
        }
        match &data.records {
            Some(Records::Slice(bytes)) if !going => self.model.read(part, bytes),
            _ => Vec::new(),
        }
    }

    fn fetch_body(&self, w: &mut Writer, part: Part, offset: Offset, bytes_max: i32) {
        let partition = fetch_request::FetchPartition {
            partition: part.index,
            fetch_offset: offset,
            partition_max_bytes: bytes_max,
            ..Default::default()
        };
        let topic = &self.model.topics[part.topic].name;
        let topics = vec![fetch_request::FetchTopic {
            topic: topic.as_str().into(),
            partitions: vec![partition],
            ..Default::default()
        }];
        let request = FetchRequest { max_wait_ms: 5, min_bytes: 1, max_bytes: bytes_max, topics, ..Default::default() };
        request.encode(w, FETCH);
    }

    pub fn fetch(&mut self, world: &mut World, process: &mut Process, part: Part) {
        let connection = world.random.random_range(0..CONNECTIONS);
        let (start, end) = (self.model.log(part).start, self.model.known_end(part));
        let offset = world.random.random_range(start..=end.max(start));
        let bytes_max = world.random.random_range(1..200_000);
        let request = Request::Fetch(part, offset, end);
        self.send(world, process, connection, (ApiKey::Fetch, FETCH), request, |own, w| {
            own.fetch_body(w, part, offset, bytes_max);
        });
    }

    fn list_offset_body(&self, w: &mut Writer, part: Part, timestamp: i64) {
        let partition =
            list_offsets_request::ListOffsetsPartition { partition_index: part.index, timestamp, ..Default::default() };
        let name = self.model.topics[part.topic].name.as_str().into();
        let topic = list_offsets_request::ListOffsetsTopic { name, partitions: vec![partition] };
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }.encode(w, LIST_OFFSETS);
    }

    /// Looks for a record by its time.
    pub fn find(&mut self, world: &mut World, process: &mut Process, part: Part) {
        let time = WALL_MS + world.random.random_range(-100..(world.now.wall_ms - WALL_MS) + 50);
        let start = self.model.log(part).start_max;
        // A record that was not acknowledged may be the first one.
        let log = self.model.log(part);
        let settled = log.start == start;
        let open = log.sent.clone().iter().any(|id| self.model.batches[*id].state == State::Open);
        let Some(expected) = self.model.find_time(part, start, time).filter(|_| settled && !open) else { return };
        let connection = world.random.random_range(0..CONNECTIONS);
        let api = (ApiKey::ListOffsets, LIST_OFFSETS);
        self.send(world, process, connection, api, Request::Find(part, expected), |own, w| {
            own.list_offset_body(w, part, time);
        });
    }

    /// `None` if the broker says that records are lost, among which it may be.
    fn list_offset(
        &mut self,
        world: &mut World,
        process: &mut Process,
        part: Part,
        timestamp: i64,
    ) -> Result<Option<(i64, Offset)>, Crashed> {
        let api = (ApiKey::ListOffsets, LIST_OFFSETS);
        let body = self.call(world, process, api, |own, w| own.list_offset_body(w, part, timestamp))?;
        let answer = ListOffsetsResponse::decode(&mut Reader::new(&body), LIST_OFFSETS).expect("an answer");
        let answer = &answer.topics[0].partitions[0];
        match code(answer.error_code) {
            ErrorCode::None => Ok(Some((answer.timestamp, answer.offset))),
            ErrorCode::KafkaStorageError => Ok(None),
            error => panic!("{}: offset for {timestamp}: {error}", self.model.name(part)),
        }
    }

    /// Reads a partition from its first to its last record after a recovery, and compares.
    pub fn verify(&mut self, world: &mut World, process: &mut Process, part: Part) -> Result<(), Crashed> {
        while !self.verify_once(world, process, part)? {}
        Ok(())
    }

    /// `false` if records went by themselves meanwhile.
    fn verify_once(&mut self, world: &mut World, process: &mut Process, part: Part) -> Result<bool, Crashed> {
        self.model.log(part);
        let told = self.model.log(part).told;
        let (_, start) = self.list_offset(world, process, part, -2)?.expect("the log start is known");
        assert!(start >= told, "{}: the log start went back from {told} to {start}", self.model.name(part));
        let end = self.list_offset(world, process, part, -1)?.map(|(_, end)| end);
        let mut found = Vec::new();
        let mut next = start;
        while end.is_none_or(|end| next < end) {
            let bytes_max = world.random.random_range(1..1_000_000);
            let body = self.call(world, process, (ApiKey::Fetch, FETCH), |own, w| {
                own.fetch_body(w, part, next, bytes_max);
            })?;
            let answer = FetchResponse::decode(&mut Reader::new(&body), FETCH).expect("an answer");
            let data = &answer.responses[0].partitions[0];
            if end.is_none() && code(data.error_code) == ErrorCode::KafkaStorageError {
                break;
            }
            if self.model.retention(part).any() && code(data.error_code) == ErrorCode::OffsetOutOfRange {
                return Ok(false);
            }
            let read = self.fetched(part, next, data);
            let (last, id) = *read.last().unwrap_or_else(|| panic!("{}: {next} of {end:?}", self.model.name(part)));
            next = last + self.model.batches[id].times.len() as i64;
            found.extend(read);
        }
        let (lost, end) = (end.is_none(), end.unwrap_or(next));
        let others = if lost { "; others are lost" } else { "" };
        world.trace(|| format!("{} holds {start} to {end} in {} batches{others}", self.model.name(part), found.len()));
        self.model.recovered(part, (start, end), &found, lost, world.wall_ms_max);
        for _ in 0..3 {
            let time = WALL_MS + world.random.random_range(-200..(world.now.wall_ms - WALL_MS) + 200);
            let known = self.model.find_time(part, start, time);
            let expected = if lost { known } else { known.or(Some((-1, -1))) };
            let answer = self.list_offset(world, process, part, time)?;
            if self.list_offset(world, process, part, -2)?.is_none_or(|(_, now)| now > start) {
                return Ok(true);
            }
            assert_eq!(answer, expected, "{}: the first record at {time} ({start} to {end})", self.model.name(part));
        }
        Ok(true)
    }

    /// After the comparison: producers send again what they do not know of, and some of what they know, which must be
    /// answered as before.
    pub fn retry(&mut self, world: &mut World, process: &mut Process, part: Part) -> Result<(), Crashed> {
        let log = self.model.log(part);
        let lost = std::mem::take(&mut log.cut) || log.lost || self.model.is_memory(part);
        let sent = self.model.keep_open(part);
        for producer in 0..self.producers.len() {
            let open = |id: &BatchId| {
                let batch = &self.model.batches[*id];
                batch.producer == producer && batch.state == State::Open
            };
            let open: Vec<BatchId> = sent.iter().copied().filter(open).collect();
            if lost || !self.producers[producer].idempotent {
                open.iter().for_each(|id| self.model.batches[*id].state = State::Lost);
                self.producers[producer].streams.remove(&part);
                self.producers[producer].history.remove(&part);
                self.model.log(part).sent.retain(|id| !open.contains(id));
                continue;
            }
            // One that was refused cannot follow a later one that was not: its producer was new to the log then.
            let later = |id: BatchId| {
                let written = |other: &&BatchId| {
                    let batch = &self.model.batches[**other];
                    **other > id && batch.producer == producer && matches!(batch.state, State::Written(_))
                };
                self.model.batches[id].failed && sent.iter().any(|other| written(&other))
            };
            let (passed, open): (Vec<BatchId>, Vec<BatchId>) = open.into_iter().partition(|id| later(*id));
            passed.iter().for_each(|id| self.model.batches[*id].state = State::Lost);
            self.model.log(part).sent.retain(|id| !passed.contains(id));
            for id in open {
                self.model.batches[id].failed = false;
                self.send_batches(world, process, vec![id]);
            }
            self.wait(world, process)?;
            let history = self.producers[producer].history.get(&part).cloned().unwrap_or_default();
            let lost = |id: &&BatchId| self.model.batches[**id].state == State::Lost;
            let sent: Vec<&BatchId> = history.iter().rev().take(IN_FLIGHT_MAX).rev().filter(|id| !lost(id)).collect();
            for id in sent {
                self.send_batches(world, process, vec![*id]);
            }
            self.wait(world, process)?;
        }
        Ok(())
    }

    fn send_batches(&mut self, world: &mut World, process: &mut Process, ids: Vec<BatchId>) {
        let connection = self.model.batches[ids[0]].producer;
        world.trace(|| format!("produce {ids:?} to {}", self.model.name(self.model.batches[ids[0]].part)));
        let request = Request::Produce(ids.clone());
        self.send(world, process, connection, (ApiKey::Produce, PRODUCE), request, |own, w| {
            let data = ids.iter().map(|id| {
                let batch = &own.model.batches[*id];
                produce_request::TopicProduceData {
                    name: own.model.topics[batch.part.topic].name.as_str().into(),
                    partition_data: vec![produce_request::PartitionProduceData {
                        index: batch.part.index,
                        records: Some(Records::Spans(vec![batch.bytes.clone()])),
                    }],
                    ..Default::default()
                }
            });
            let request =
                ProduceRequest { transactional_id: None, acks: -1, timeout_ms: FOREVER_MS, topic_data: data.collect() };
            request.encode(w, PRODUCE);
        });
    }

    /// New batches for one partition or several.
    pub fn produce(&mut self, world: &mut World, process: &mut Process, parts: &[Part]) {
        let producer = world.random.random_range(0..self.producers.len());
        let (core, connection, _) = self.connections[producer];
        if !process.may_read(core, connection) {
            return;
        }
        let mut ids = Vec::new();
        for part in parts {
            // All that follow the oldest one which is not answered may not be either.
            let open = |id: &BatchId| self.model.batches[*id].state == State::Open;
            let history = self.producers[producer].history.get(part);
            let full = history.is_some_and(|history| history.iter().rev().nth(IN_FLIGHT_MAX - 1).is_some_and(open));
            let takes = !self.producers[producer].halted.contains(part) && !self.model.log(*part).lost;
            if !full && takes {
                ids.push(self.make_batch(world, producer, *part));
            }
        }
        if !ids.is_empty() {
            self.send_batches(world, process, ids);
        }
    }

    /// One of the last batches once more, as after a lost answer.
    pub fn produce_again(&mut self, world: &mut World, process: &mut Process, part: Part) {
        let producer = world.random.random_range(1..self.producers.len());
        let Some(history) = self.producers[producer].history.get(&part) else { return };
        let Some(id) = history.iter().rev().take(IN_FLIGHT_MAX).next_back().copied() else { return };
        if matches!(self.model.batches[id].state, State::Written(_)) {
            self.send_batches(world, process, vec![id]);
        }
    }

    fn make_batch(&mut self, world: &mut World, number: usize, part: Part) -> BatchId {
        let id = self.model.batches.len();
        let records = world.random.random_range(1..6);
        // The first partition of each topic stays small, so that its batches are carried forward.
        let sizes: &[usize] = match part.index {
            0 => &[20, 60, 200],
            _ if self.heavy => &[30_000, 90_000],
            _ => &[40, 200, 3000, 30_000, 60_000],
        };
        let bytes_max = sizes[world.random.random_range(0..sizes.len())];
        let mut builder = BatchBuilder::new(0);
        let producer = &mut self.producers[number];
        if producer.idempotent {
            let next = &mut self.producer_id_next;
            let stream = producer.streams.entry(part).or_insert_with(|| {
                *next += 1;
                Stream { id: *next, sequence: 0 }
            });
            builder = builder.producer(stream.id, 0, stream.sequence);
            stream.sequence += records;
        }
        let mut times = Vec::new();
        for _ in 0..records {
            let time = world.now.wall_ms + world.random.random_range(-50..50);
            let from = world.random.random_range(0..self.filler.len() - bytes_max);
            let bytes = world.random.random_range(8..=bytes_max);
            let mut value = self.filler[from..from + bytes].to_vec();
            value[..8].copy_from_slice(&(id as u64).to_be_bytes());
            builder = builder.record(time, None, Some(&value));
            times.push(time);
        }
        producer.history.entry(part).or_default().push(id);
        self.model.log(part).sent.push(id);
        let bytes = builder.build();
        let batch = Batch { part, producer: number, bytes, times, state: State::Open, failed: false };
        self.model.batches.push(batch);
        id
    }

    pub fn delete_records(&mut self, world: &mut World, process: &mut Process, part: Part) {
        let (start, end) = (self.model.log(part).start_max, self.model.known_end(part));
        if end <= start {
            return;
        }
        let offset = world.random.random_range(start + 1..=end);
        self.model.log(part).start_max = offset;
        world.trace(|| format!("delete records of {} before {offset}", self.model.name(part)));
        let connection = world.random.random_range(0..CONNECTIONS);
        let api = (ApiKey::DeleteRecords, DELETE_RECORDS);
        self.send(world, process, connection, api, Request::DeleteRecords(part), |own, w| {
            let partition = delete_records_request::DeleteRecordsPartition { partition_index: part.index, offset };
            let name = own.model.topics[part.topic].name.as_str().into();
            let topic = delete_records_request::DeleteRecordsTopic { name, partitions: vec![partition] };
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: FOREVER_MS }.encode(w, DELETE_RECORDS);
        });
    }

    pub fn create_topic(&mut self, world: &mut World, process: &mut Process, name: &str) {
        let random = &mut world.random;
        let memory = random.random_range(0..4) == 0;
        let mut settings: Vec<(&str, &str)> = vec![
            ("segment.bytes", "1048576"),
            ("segment.index.bytes", ["36", "120", "10485760"][random.random_range(0..3)]),
            ("index.interval.bytes", ["0", "1000", "4096", "100000"][random.random_range(0..4)]),
            ("ack.durability", if memory { "memory" } else { "disk" }),
        ];
        let partitions = random.random_range(1..4);
        let retains = self.retains && random.random();
        let retention = if retains { retention(random, &mut settings) } else { Retention::default() };
        world.trace(|| format!("create {name} with {partitions} partitions, {settings:?}"));
        let topic = self.model.topics.len();
        let state = TopicState::Creating;
        self.model.topics.push(Topic { name: name.into(), partitions, memory, retention, state });
        let connection = world.random.random_range(0..CONNECTIONS);
        let api = (ApiKey::CreateTopics, CREATE_TOPICS);
        self.send(world, process, connection, api, Request::Create(topic), |_, w| {
            let configs = settings.iter().map(|(name, value)| create_topics_request::CreatableTopicConfig {
                name: (*name).into(),
                value: Some((*value).into()),
            });
            let topic = create_topics_request::CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs.collect(),
                ..Default::default()
            };
            CreateTopicsRequest { topics: vec![topic], timeout_ms: FOREVER_MS, ..Default::default() }
                .encode(w, CREATE_TOPICS);
        });
    }

    pub fn delete_topic(&mut self, world: &mut World, process: &mut Process, topic: usize) {
        self.model.topics[topic].state = TopicState::Deleting;
        world.trace(|| format!("delete {}", self.model.topics[topic].name));
        let connection = world.random.random_range(0..CONNECTIONS);
        let api = (ApiKey::DeleteTopics, DELETE_TOPICS);
        self.send(world, process, connection, api, Request::Delete(topic), |own, w| {
            let name = Some(own.model.topics[topic].name.as_str().into());
            let state = delete_topics_request::DeleteTopicState { name, ..Default::default() };
            DeleteTopicsRequest { topics: vec![state], timeout_ms: FOREVER_MS, ..Default::default() }
                .encode(w, DELETE_TOPICS);
        });
    }

    /// What damage may have cost.
    pub fn harmed(&mut self, process: &Process, harms: &[Harm]) {
        for part in self.model.parts(TopicState::Live) {
            let topic = process.shards[0].image().topic(&self.model.topics[part.topic].name).expect("it is live");
            let id = PartitionId { topic: topic.id, index: part.index };
            self.model.log(part).harm = harms.iter().find(|harm| harm.partition == id).copied();
        }
    }

    /// The disk refuses nothing any more: after a while the broker does not either.
    pub fn recover(&mut self, world: &mut World, process: &mut Process) -> Result<(), Crashed> {
        let until = world.now.mono.after_ms(RECOVER_MS);
        while world.now.mono < until || !self.requests.is_empty() {
            // Groups wait for days, and what they wait for is not to come meanwhile.
            world.wake = Some(world.now.mono.after_ms(1));
            self.step(world, process)?;
            let owed = self.requests.len();
            assert!(owed == 0 || world.now.mono < until.after_ms(RECOVER_MS), "the broker owes {owed} answers");
        }
        world.wake = None;
        world.trace(|| "the disk is well again".into());
        self.refused = false;
        self.look_at_topics(process);
        self.producers.iter_mut().for_each(|producer| producer.halted.clear());
        self.model.parts(TopicState::Live).into_iter().try_for_each(|part| self.retry(world, process, part))
    }

    /// What became of the topics whose creation or deletion was not answered.
    pub fn look_at_topics(&mut self, process: &Process) {
        for topic in &mut self.model.topics {
            let there = process.shards[0].image().topic(&topic.name).is_some();
            match topic.state {
                TopicState::Creating | TopicState::Deleting if there => topic.state = TopicState::Live,
                TopicState::Creating | TopicState::Deleting => topic.state = TopicState::Gone,
                TopicState::Live => assert!(there, "the topic {} is lost", topic.name),
                TopicState::Gone => {}
            }
        }
    }
}
