//! A broker in memory, with one topic, that can be told to be faithless.

// Each program that has this file uses some of the faults.
#![allow(dead_code)]

mod coordinator;

use klamm::types::Uuid;
use klamm::wire::batch::{Batch, BatchBuilder, batches, crc_ok, patch_base_offset_and_epoch};
use klamm::wire::codec::{Records, Writer};
use klamm::wire::frame::{Head, response_frame};
use klamm::wire::messages::api_versions_response::ApiVersion;
use klamm::wire::messages::create_topics_response::CreatableTopicResult;
use klamm::wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use klamm::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use klamm::wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm::wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use klamm::wire::messages::*;
use serde_json::Value;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes that a fetch gets of one partition.
const FETCH_BYTES: usize = 1 << 20;

/// What is read at a time of requests that are not longer.
const INPUT_BYTES: usize = 64 * 1024;
/// How long a fetch waits for which there is nothing.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// Offsets by which an end may be too high.
pub const END_TOO_HIGH: u64 = 10;

/// What the broker does wrong, to some of the batches that it acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Keeps nothing, and checks nothing: for speed.
    Sink,
    Lose,
    Duplicate,
    Swap,
    /// Changes a byte of the last record's value and makes the checksum right again.
    Corrupt,
    /// Breaks the connection after keeping the batch, without an answer, now and then.
    HangUp,
    /// The same after keeping it twice.
    HangUpTwice,
    /// The same, and forgets the batch once it has been read, if nothing was kept behind it.
    HangUpAndForget,
    /// Answers NOT_LEADER_OR_FOLLOWER now and then.
    Refuse,
    /// Loses some batches, and keeps as many others twice.
    LoseAndDuplicate,
    /// Answers nothing any more after `REQUESTS` requests to write.
    Hang,
    /// Ends after `REQUESTS` requests to write: its connections and its port are closed.
    Die,
    /// Breaks one connection, once, after `REQUESTS` requests to write.
    Cut,
    /// Sends bytes that are no answers after `REQUESTS` requests to write, once.
    Babble,
    /// Lets nobody write.
    Deny,
    /// Leads no partition any more after `REQUESTS` requests to write; another broker does.
    Move,
    /// The same once it has been asked to read twice.
    MoveReading,
    /// Ends after `REQUESTS` requests to write, and another broker leads.
    FailOver,
    /// Breaks the connection of the second request to read.
    CutReading,
    /// Of two brokers, which lead every other partition, one breaks its connections after `REQUESTS` requests to write or two to
    /// read and answers none any more, and the other breaks one at each `REQUESTS` and at each third request to read.
    Mute,
    /// Keeps all batches in the next partition.
    WrongPartition,
    /// Acknowledges one offset more than it should.
    WrongOffset,
    /// Passes over an offset.
    Gap,
    /// Changes the last record's time, key or headers.
    Time,
    Key,
    Headers,
    /// Keeps the partition's first batch a second time.
    Stale,
    /// Keeps a record that nobody sent.
    Foreign,
    /// Says that a partition that is not empty ends behind its end.
    EndTooHigh,
    /// Takes a time for each request to write, one after the other: at most `SLOW_RATE` a second.
    Slow,
}

/// Requests to write after which some faults begin.
pub const REQUESTS: u64 = 300;
/// Requests to write that a slow broker can do in a second.
pub const SLOW_RATE: u64 = 100;
const NOT_LEADER: i16 = 6;
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

struct State {
    fault: Fault,
    /// Brokers of the cluster. The first leads all partitions, until they move.
    brokers: Vec<SocketAddr>,
    is_dead: bool,
    topic: Option<Vec<Vec<Vec<u8>>>>,
    requests: u64,
    /// Requests to read.
    fetches: u64,
    /// A partition, and its end as long as its last batch is to be forgotten.
    doomed: Option<(i32, i64)>,
    sequences: std::collections::BTreeMap<(i64, i32), i32>,
    offsets: coordinator::Offsets,
}

const TOPIC_ID: Uuid = Uuid([9; 16]);

/// Starts a broker that lives as long as the test's process.
pub fn start(fault: Fault) -> SocketAddr {
    start_all(fault)[0]
}

/// The same; gives all brokers of its cluster.
pub fn start_all(fault: Fault) -> Vec<SocketAddr> {
    let brokers = if [Fault::Move, Fault::MoveReading, Fault::FailOver, Fault::Mute].contains(&fault) { 2 } else { 1 };
    let listeners: Vec<TcpListener> = (0..brokers).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let brokers: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let all = brokers.clone();
    let state = State {
        fault,
        brokers,
        is_dead: false,
        topic: None,
        requests: 0,
        fetches: 0,
        doomed: None,
        sequences: Default::default(),
        offsets: Default::default(),
    };
    let state = Arc::new(Mutex::new(state));
    for listener in listeners {
        let (address, state) = (listener.local_addr().unwrap(), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if state.lock().unwrap().is_gone(address) {
                    return;
                }
                let state = state.clone();
                std::thread::spawn(move || serve(stream, address, &state));
            }
        });
    }
    all
}

fn serve(stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let is_sink = state.lock().unwrap().fault == Fault::Sink;
    let mut input = BufReader::with_capacity(INPUT_BYTES, stream.try_clone()?);
    let mut output = BufWriter::new(stream);
    let mut frame = Vec::new();
    for served in 0.. {
        // As with real brokers, what has arrived together is answered together where speed matters.
        if !(is_sink && has_frame(input.buffer())) {
            output.flush()?;
        }
        read_frame(&mut input, &mut frame)?;
        let head = Head::decode(&frame).expect("loadgen's requests are well formed");
        let (version, mut reader) = (head.version, klamm::wire::codec::Reader::new(&frame[head.body_start..]));
        let request = Request::decode(head.api, version, &mut reader).expect("loadgen's requests are well formed");
        assert_eq!(reader.remaining(), 0);
        let mut body = Writer::new();
        let mut guard = state.lock().unwrap();
        let state = &mut *guard;
        if state.is_mute(address) {
            drop(guard);
            if served > 0 {
                return Ok(());
            }
            loop {
                std::thread::park();
            }
        }
        if let Some(more) = state.misbehave(address) {
            return output.write_all(more);
        }
        match request {
            Request::ApiVersions(_) => api_versions().encode(&mut body, version),
            Request::Metadata(request) => metadata(state, &request).encode(&mut body, version),
            Request::CreateTopics(request) => create(state, &request).encode(&mut body, version),
            Request::DeleteTopics(request) => delete(state, &request).encode(&mut body, version),
            Request::FindCoordinator(request) => coordinator::find(state, &request).encode(&mut body, version),
            Request::OffsetCommit(request) => match coordinator::commit(state, &request, address) {
                Some(response) => response.encode(&mut body, version),
                None => return Ok(()),
            },
            Request::OffsetFetch(request) => coordinator::committed(state, &request).encode(&mut body, version),
            Request::InitProducerId(_) => init_producer_id(state).encode(&mut body, version),
            Request::ListOffsets(request) => list_offsets(state, &request).encode(&mut body, version),
            Request::Produce(request) => match produce(state, &request, address) {
                Some(response) if request.acks != 0 => response.encode(&mut body, version),
                Some(_) => continue,
                None => return Ok(()),
            },
            Request::Fetch(request) => {
                if state.cuts_reading() {
                    return Ok(());
                }
                let (response, is_empty) = fetch(state, &request, address);
                response.encode(&mut body, version);
                if is_empty {
                    drop(guard);
                    std::thread::sleep(EMPTY_PAUSE);
                }
            }
            other => panic!("{other:?}"),
        }
        let header_version = head.api.header_versions(version).1;
        let body = body.into_bytes();
        let response = response_frame(header_version, head.correlation_id, |w| w.put_slice(&body));
        output.write_all(&response.concat())?;
    }
    Ok(())
}

fn read_frame(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    frame.resize(u32::from_be_bytes(length) as usize, 0);
    input.read_exact(frame)
}

/// Whether the first frame of what was read is whole.
fn has_frame(input: &[u8]) -> bool {
    input.split_first_chunk().is_some_and(|(&length, rest)| rest.len() >= u32::from_be_bytes(length) as usize)
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let api_keys = ApiKey::ALL.iter().map(|api| ApiVersion {
        api_key: *api as i16,
        min_version: *api.versions().start(),
        max_version: *api.versions().end(),
    });
    ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() }
}

fn metadata<'a>(state: &State, request: &MetadataRequest<'a>) -> MetadataResponse<'a> {
    let name = request.topics.as_ref().and_then(|topics| topics.first()?.name.clone());
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: state.leader_of(partition_index) as i32,
        ..Default::default()
    };
    let topic = match &state.topic {
        Some(partitions) => MetadataResponseTopic {
            name,
            topic_id: TOPIC_ID,
            partitions: (0..partitions.len() as i32).map(partition).collect(),
            ..Default::default()
        },
        None => MetadataResponseTopic { name, error_code: 3, ..Default::default() },
    };
    let broker = |(address, node_id): (&SocketAddr, i32)| MetadataResponseBroker {
        node_id,
        host: address.ip().to_string().into(),
        port: address.port().into(),
        ..Default::default()
    };
    MetadataResponse {
        brokers: state.brokers.iter().zip(0..).map(broker).collect(),
        topics: vec![topic],
        ..Default::default()
    }
}

fn create(state: &mut State, request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
    let partitions = request.topics[0].num_partitions as usize;
    state.topic.get_or_insert_with(|| vec![Vec::new(); partitions]);
    CreateTopicsResponse { topics: vec![CreatableTopicResult::default()], ..Default::default() }
}

/// Says so, and keeps the one topic that it has.
fn delete(state: &mut State, request: &DeleteTopicsRequest<'_>) -> DeleteTopicsResponse<'static> {
    state.requests += 1;
    DeleteTopicsResponse {
        responses: request.topics.iter().map(|_| Default::default()).collect(),
        ..Default::default()
    }
}

fn init_producer_id(state: &mut State) -> InitProducerIdResponse {
    state.requests += 1;
    InitProducerIdResponse { producer_id: state.requests as i64, ..Default::default() }
}

fn partitions(state: &mut State) -> &mut Vec<Vec<Vec<u8>>> {
    state.topic.as_mut().expect("the topic was made")
}

fn end(partition: &[Vec<u8>]) -> i64 {
    partition.last().map_or(0, |batch| Batch::first(batch).unwrap().header.last_offset() + 1)
}

fn list_offsets(state: &mut State, request: &ListOffsetsRequest<'_>) -> ListOffsetsResponse<'static> {
    let asked = request.topics[0].partitions.iter();
    let partitions = asked.map(|asked| ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        offset: match (asked.timestamp, end(&partitions(state)[asked.partition_index as usize])) {
            (-1, end) if end > 0 && state.fault == Fault::EndTooHigh => end + END_TOO_HIGH as i64,
            (-1, end) => end,
            _ => 0,
        },
        ..Default::default()
    });
    let partitions = partitions.collect();
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse { partitions, ..Default::default() }],
        ..Default::default()
    }
}

impl State {
    /// Which of its brokers leads all partitions.
    fn leader(&self) -> usize {
        usize::from(match self.fault {
            Fault::Move | Fault::FailOver => self.requests >= REQUESTS,
            Fault::MoveReading => self.fetches > 2,
            _ => false,
        })
    }

    fn leader_of(&self, partition: i32) -> usize {
        if self.fault == Fault::Mute { partition as usize % 2 } else { self.leader() }
    }

    /// Counts a request to read; gives whether its connection breaks.
    fn cuts_reading(&mut self) -> bool {
        self.fetches += 1;
        match self.fault {
            Fault::CutReading => self.fetches == 2,
            Fault::Mute => self.fetches.is_multiple_of(3),
            _ => false,
        }
    }

    /// Whether the broker with this address answers nothing any more.
    fn is_mute(&self, address: SocketAddr) -> bool {
        let has_begun = self.requests >= REQUESTS || self.fetches >= 2;
        self.fault == Fault::Mute && has_begun && address == self.brokers[1]
    }

    /// Whether the broker with this address has ended.
    fn is_gone(&self, address: SocketAddr) -> bool {
        self.is_dead && address == self.brokers[0]
    }

    /// What ends a connection instead of an answer.
    fn misbehave(&mut self, address: SocketAddr) -> Option<&'static [u8]> {
        if self.requests < REQUESTS {
            return None;
        }
        match self.fault {
            // The others wait for the state.
            Fault::Hang => loop {
                std::thread::park();
            },
            Fault::Die | Fault::FailOver if address == self.brokers[0] => {
                if !std::mem::replace(&mut self.is_dead, true) {
                    // Whoever accepts connections looks once more.
                    let _ = TcpStream::connect(address);
                }
                Some(&[])
            }
            Fault::Babble => {
                self.fault = Fault::None;
                Some(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])
            }
            _ => None,
        }
    }
}

/// `None` to break the connection.
fn produce(state: &mut State, request: &ProduceRequest<'_>, address: SocketAddr) -> Option<ProduceResponse<'static>> {
    state.requests += 1;
    let is_cut = match state.fault {
        Fault::Cut => state.requests == REQUESTS,
        Fault::Mute => state.requests.is_multiple_of(REQUESTS),
        _ => false,
    };
    if is_cut {
        return None;
    }
    if state.fault == Fault::Slow {
        std::thread::sleep(Duration::from_secs(1) / SLOW_RATE as u32);
    }
    let sometimes = state.requests % 50 == 20;
    let mut responses = Vec::new();
    for data in &request.topic_data[0].partition_data {
        let Some(Records::Slice(bytes)) = data.records else { panic!("no records") };
        let is_leader = address == state.brokers[state.leader_of(data.index)];
        let (error_code, base_offset) = match state.fault {
            Fault::Sink | Fault::Slow => (0, 0),
            Fault::Refuse if sometimes => (NOT_LEADER, -1),
            Fault::Deny => (TOPIC_AUTHORIZATION_FAILED, -1),
            _ if !is_leader => (NOT_LEADER, -1),
            _ => append(state, data.index, bytes, sometimes),
        };
        responses.push(PartitionProduceResponse { index: data.index, error_code, base_offset, ..Default::default() });
    }
    if [Fault::HangUp, Fault::HangUpTwice, Fault::HangUpAndForget].contains(&state.fault) && sometimes {
        let index = request.topic_data[0].partition_data[0].index;
        state.doomed =
            (state.fault == Fault::HangUpAndForget).then_some((index, end(&partitions(state)[index as usize])));
        return None;
    }
    Some(ProduceResponse {
        responses: vec![TopicProduceResponse {
            topic_id: TOPIC_ID,
            partition_responses: responses,
            ..Default::default()
        }],
        ..Default::default()
    })
}

/// Gives the error's code and the base offset.
fn append(state: &mut State, index: i32, bytes: &[u8], sometimes: bool) -> (i16, i64) {
    assert!(crc_ok(bytes) && batches(bytes).count() == 1);
    let header = *Batch::first(bytes).unwrap().header;
    if header.producer_id.get() >= 0 {
        let next = state.sequences.entry((header.producer_id.get(), index)).or_insert(0);
        match header.base_sequence.get() {
            sequence if sequence < *next => return (0, offset_of(&partitions(state)[index as usize], bytes)),
            sequence if sequence > *next => return (45, -1),
            _ => *next = header.last_sequence() + 1,
        }
    }
    let loses = state.requests % 100 == 20;
    let fault = if sometimes || state.fault == Fault::WrongPartition { state.fault } else { Fault::None };
    let partitions = partitions(state);
    let count = partitions.len();
    let partition = &mut partitions[(index as usize + usize::from(fault == Fault::WrongPartition)) % count];
    let offset = end(partition);
    match fault {
        Fault::Lose => {}
        Fault::LoseAndDuplicate if loses => {}
        Fault::Duplicate | Fault::LoseAndDuplicate | Fault::HangUpTwice => {
            keep(partition, bytes, offset);
            keep(partition, bytes, end(partition));
        }
        Fault::Corrupt => keep(partition, &changed(bytes, |last| *last.value.last_mut().unwrap() ^= 1), offset),
        Fault::Time => keep(partition, &changed(bytes, |last| last.time_ms -= 1), offset),
        Fault::Key => keep(partition, &changed(bytes, |last| last.key = None), offset),
        Fault::Headers => keep(partition, &changed(bytes, |last| last.headers.push(("x".to_string(), None))), offset),
        Fault::Swap if !partition.is_empty() => {
            let before = partition.pop().expect("there is one");
            keep(partition, bytes, Batch::first(&before).unwrap().header.base_offset.get());
            keep(partition, &before, end(partition));
        }
        Fault::Gap => {
            keep(partition, bytes, offset + 1);
            return (0, offset + 1);
        }
        Fault::WrongOffset => {
            keep(partition, bytes, offset);
            return (0, offset + 1);
        }
        Fault::Stale | Fault::Foreign => {
            keep(partition, bytes, offset);
            let first = partition[0].clone();
            let foreign = BatchBuilder::new(0).record(1, None, Some(b"not a record of this run")).build();
            keep(partition, if fault == Fault::Stale { &first } else { &foreign }, end(partition));
        }
        _ => keep(partition, bytes, offset),
    }
    (0, offset)
}

fn keep(partition: &mut Vec<Vec<u8>>, batch: &[u8], offset: i64) {
    let mut batch = batch.to_vec();
    patch_base_offset_and_epoch(&mut batch, offset, 0);
    partition.push(batch);
}

/// Where a batch is that came before, by its producer and sequence.
fn offset_of(partition: &[Vec<u8>], bytes: &[u8]) -> i64 {
    let header = |batch| *Batch::first(batch).unwrap().header;
    let identity = |batch| (header(batch).producer_id, header(batch).base_sequence);
    let found = partition.iter().find(|batch| identity(batch) == identity(bytes));
    header(found.expect("a sequence that was taken has its batch")).base_offset.get()
}

/// A record that may be changed.
struct Changing {
    time_ms: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The batch with a change of its last record, and with the checksum right again.
fn changed(bytes: &[u8], change: impl Fn(&mut Changing)) -> Vec<u8> {
    let batch = Batch::first(bytes).unwrap();
    let header = batch.header;
    let owned = |bytes: &[u8]| bytes.to_vec();
    let mut builder = BatchBuilder::new(0);
    if header.producer_id.get() >= 0 {
        builder = builder.producer(header.producer_id.get(), header.producer_epoch.get(), header.base_sequence.get());
    }
    for (i, record) in batch.records().map(Result::unwrap).enumerate() {
        let headers = record.headers.iter().map(|(name, value)| (name.to_string(), value.map(owned)));
        let mut changing = Changing {
            time_ms: header.base_timestamp.get() + record.timestamp_delta,
            key: record.key.map(owned),
            value: record.value.map(owned).unwrap(),
            headers: headers.collect(),
        };
        if i + 1 == header.records_count.get() as usize {
            change(&mut changing);
        }
        let headers: Vec<_> = changing.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        builder =
            builder.record_with_headers(changing.time_ms, changing.key.as_deref(), Some(&changing.value), &headers);
    }
    builder.build().to_vec()
}

/// Every fetch is answered as if it began a session and no session could be had.
/// Says too whether there is nothing in the answer.
fn fetch(state: &mut State, request: &FetchRequest<'_>, address: SocketAddr) -> (FetchResponse<'static>, bool) {
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
    let mut is_empty = true;
    let partitions: Vec<PartitionData<'static>> = asked
        .map(|asked| {
            let doomed = state.doomed.filter(|doomed| doomed.0 == asked.partition);
            let is_leader = address == state.brokers[state.leader_of(asked.partition)];
            let error_code = if is_leader { 0 } else { NOT_LEADER };
            let partition = &mut partitions(state)[asked.partition as usize];
            let high_watermark = end(partition);
            let first = partition
                .partition_point(|batch| Batch::first(batch).unwrap().header.last_offset() < asked.fetch_offset);
            let mut bytes = Vec::new();
            for batch in &partition[first..] {
                if bytes.len() > FETCH_BYTES {
                    break;
                }
                bytes.extend_from_slice(batch);
            }
            is_empty &= bytes.is_empty();
            let is_read = batches(&bytes).last().is_some_and(|batch| batch.header.last_offset() + 1 == high_watermark);
            if is_read && doomed.is_some_and(|(_, end)| end == high_watermark) {
                partition.pop();
                state.doomed = None;
            }
            PartitionData {
                partition_index: asked.partition,
                error_code,
                high_watermark,
                records: Some(Records::Spans(vec![bytes.into()])),
                ..Default::default()
            }
        })
        .collect();
    let responses = vec![FetchableTopicResponse { topic_id: TOPIC_ID, partitions, ..Default::default() }];
    (FetchResponse { responses, ..Default::default() }, is_empty)
}

/// The report that a load with `--json` has printed: one line, and nothing else.
#[track_caller]
pub fn json(output: &Output) -> Value {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{text}{errors}");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{errors}"))
}

/// A count of a report, by its names with dots between them; 0 if it is not there.
pub fn count(value: &Value, path: &str) -> u64 {
    path.split('.').fold(value, |value, name| &value[name]).as_u64().unwrap_or_default()
}
