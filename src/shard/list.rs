//! Requests that ask each partition one small thing: ListOffsets, DeleteRecords, OffsetForLeaderEpoch, DescribeLogDirs,
//! DescribeProducers.

use super::connection::{ConnectionId, Slot};
use super::message::{ActiveProducer, Answer, Ask, Data, Op, RequestId};
use super::owner::{EARLIEST_LOCAL, LATEST_TIERED, MAX_TIMESTAMP};
use super::{Output, Pending, Shard, plan_of};
use crate::log::find;
use crate::metadata::check_name;
use crate::types::{Epoch, Now, Offset, PartitionId, PartitionIndex, TimestampMs};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, response_frame};
use crate::wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use crate::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::wire::messages::{
    ApiKey, DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeProducersRequest, DescribeProducersResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// At most this much is read to find a timestamp: the index leads close to it.
const FIND_BYTES_MAX: usize = 8 << 20;

pub struct List {
    connection: ConnectionId,
    slot: Slot,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    parts: Vec<Part>,
    outstanding: usize,
}

struct Part {
    topic: Arc<str>,
    index: PartitionIndex,
    code: ErrorCode,
    outcome: Outcome,
    producers: Vec<ActiveProducer>,
    /// A timestamp is looked for in records from this offset on.
    find: Option<(TimestampMs, Offset)>,
    partition: Option<PartitionId>,
}

#[derive(Clone, Copy)]
struct Outcome {
    timestamp: TimestampMs,
    offset: Offset,
    epoch: Epoch,
    bytes: u64,
}

const NOTHING: Outcome = Outcome { timestamp: -1, offset: -1, epoch: -1, bytes: 0 };

/// A partition that is asked, and what.
struct Question {
    topic: Arc<str>,
    index: PartitionIndex,
    op: Op,
}

impl Shard {
    pub(super) fn list(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head<'static>,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let body = &frame[head.body_start..];
        let questions = match head.api {
            ApiKey::ListOffsets => list_offsets(body, head.version)?,
            ApiKey::DeleteRecords => delete_records(body, head.version)?,
            ApiKey::OffsetForLeaderEpoch => epoch_ends(body, head.version)?,
            ApiKey::DescribeLogDirs => self.log_dirs(body, head.version)?,
            ApiKey::DescribeProducers => producers(body, head.version)?,
            other => panic!("{} is no list", other.name()),
        };
        let slot = self.begin(connection);
        let mut parts = Vec::with_capacity(questions.len());
        let mut asks = Vec::with_capacity(questions.len());
        for question in questions {
            let topic = self.image.topic(&question.topic).cloned();
            let known = topic.filter(|topic| self.partition_topic(topic, question.index));
            let code = if known.is_some() { ErrorCode::None } else { absent(head.api, &question.topic) };
            let partition = known.as_ref().map(|topic| PartitionId { topic: topic.id, index: question.index });
            if let Some((topic, partition)) = known.zip(partition) {
                let rules = self.rules_of(&topic);
                asks.push(Ask { part: parts.len() as u32, partition, topic: rules, op: question.op });
            }
            let (topic, index) = (question.topic, question.index);
            let (outcome, producers) = (NOTHING, Vec::new());
            parts.push(Part { topic, index, code, outcome, producers, find: None, partition });
        }
        let outstanding = asks.len();
        let list = List {
            connection,
            slot,
            api: head.api,
            version: head.version,
            correlation_id: head.correlation_id,
            parts,
            outstanding,
        };
        let id = self.start(Pending::List(Box::new(list)));
        self.ask_all(now, id, asks);
        if outstanding == 0 {
            self.list_finish(id);
        }
        Ok(())
    }

    /// All partitions, or those that the request names and that exist.
    fn log_dirs(&self, body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
        let request = DescribeLogDirsRequest::decode(&mut Reader::new(body), version)?;
        let mut questions = Vec::new();
        let mut ask = |topic: Arc<str>, index| questions.push(Question { topic, index, op: Op::Size });
        match &request.topics {
            None => {
                for topic in self.image.topics() {
                    (0..topic.partition_count()).for_each(|index| ask(topic.name.clone(), index));
                }
            }
            Some(topics) => {
                for wanted in topics {
                    let Some(topic) = self.image.topic(&wanted.topic) else { continue };
                    let there = |index: &&i32| self.partition_topic(topic, **index);
                    wanted.partitions.iter().filter(there).for_each(|index| ask(topic.name.clone(), *index));
                }
            }
        }
        Ok(questions)
    }

    pub(super) fn list_answered(&mut self, now: Now, request: RequestId, number: u32, answer: Answer) {
        let Some(Pending::List(list)) = self.requests.get_mut(&request) else { return };
        let part = &mut list.parts[number as usize];
        match answer {
            Answer::Offset { timestamp, offset, epoch } => {
                part.outcome = Outcome { timestamp, offset, epoch, ..NOTHING };
            }
            Answer::RecordsDeleted { low_watermark } => part.outcome.offset = low_watermark,
            Answer::EpochEnd { epoch, offset } => part.outcome = Outcome { offset, epoch, ..NOTHING },
            Answer::Size { bytes } => part.outcome.bytes = bytes,
            Answer::Producers(producers) => part.producers = producers,
            Answer::Failed(code) => part.code = code,
            Answer::OffsetIn { timestamp, from, start, epoch, data } => {
                part.outcome.epoch = epoch;
                part.find = Some((timestamp, start));
                return self.list_find(now, request, number, from, data);
            }
            Answer::Read(read) => {
                let (_, from) = part.find.expect("only a part that looks for a timestamp reads");
                return self.list_find(now, request, number, from, read.data);
            }
            other => panic!("a list is not answered by {other:?}"),
        }
        self.list_part_done(request);
    }

    /// Looks for a timestamp in batches from the one that holds `from` on.
    fn list_find(&mut self, now: Now, request: RequestId, number: u32, from: Offset, data: Data) {
        if let Some(plan) = plan_of(&data, from, FIND_BYTES_MAX) {
            self.out.push(Output::Read { request, part: number, plan });
            return;
        }
        let parts = if let Data::Memory { parts, .. } = data { parts } else { Vec::new() };
        self.list_read(now, request, number, Some(parts));
    }

    pub(super) fn list_read(&mut self, now: Now, request: RequestId, number: u32, data: Option<Vec<Bytes>>) {
        let Some(Pending::List(list)) = self.requests.get_mut(&request) else { return };
        let part = &mut list.parts[number as usize];
        let (timestamp, start) = part.find.expect("only a part that looks for a timestamp reads");
        match data.map(|parts| (find::first_at(&parts, timestamp, start), find::offset_end(&parts))) {
            Some((Ok(Some((timestamp, offset))), _)) => {
                (part.outcome.timestamp, part.outcome.offset) = (timestamp, offset);
            }
            // It is behind what one read brought, or in what is in no segment yet.
            Some((Ok(None), Some(next))) => {
                part.find = Some((timestamp, start.max(next)));
                return self.list_go_on(now, request, number, next);
            }
            Some((Ok(None), None)) => part.outcome = NOTHING,
            Some((Err(find::Corrupt), _)) => part.code = ErrorCode::CorruptMessage,
            None => part.code = ErrorCode::KafkaStorageError,
        }
        self.list_part_done(request);
    }

    fn list_go_on(&mut self, now: Now, request: RequestId, number: u32, offset: Offset) {
        let Some(Pending::List(list)) = self.requests.get(&request) else { return };
        let partition = list.parts[number as usize].partition.expect("the partition was asked before");
        let Some(topic) = self.image.topic_by_id(partition.topic).cloned() else {
            return self.list_answered(now, request, number, Answer::Failed(ErrorCode::UnknownTopicOrPartition));
        };
        let op = Op::Read { offset, bytes_max: FIND_BYTES_MAX, leader_epoch: -1 };
        let ask = Ask { part: number, partition, topic: self.rules_of(&topic), op };
        self.ask_all(now, request, vec![ask]);
    }

    fn list_part_done(&mut self, request: RequestId) {
        let Some(Pending::List(list)) = self.requests.get_mut(&request) else { return };
        list.outstanding -= 1;
        if list.outstanding == 0 {
            self.list_finish(request);
        }
    }

    fn list_finish(&mut self, request: RequestId) {
        let Some(Pending::List(list)) = self.requests.remove(&request) else { return };
        let (_, header_version) = list.api.header_versions(list.version);
        let version = list.version;
        let response = response_frame(header_version, list.correlation_id, |w| match list.api {
            ApiKey::ListOffsets => list_offsets_response(&list).encode(w, version),
            ApiKey::DeleteRecords => delete_records_response(&list).encode(w, version),
            ApiKey::OffsetForLeaderEpoch => epoch_ends_response(&list).encode(w, version),
            ApiKey::DescribeProducers => producers_response(&list).encode(w, version),
            _ => self.log_dirs_response(&list).encode(w, version),
        });
        self.respond(list.connection, list.slot, response);
    }

    fn log_dirs_response<'a>(&'a self, list: &'a List) -> DescribeLogDirsResponse<'a> {
        let topics = by_topic(list, |name, parts| DescribeLogDirsTopic {
            name: Cow::Borrowed(name),
            partitions: parts
                .iter()
                .map(|part| DescribeLogDirsPartition {
                    partition_index: part.index,
                    partition_size: part.outcome.bytes as i64,
                    ..Default::default()
                })
                .collect(),
        });
        let (total, usable) = self.disk_bytes;
        let result = DescribeLogDirsResult {
            log_dir: self.node.config.data_dir.to_string_lossy(),
            topics,
            total_bytes: i64::try_from(total).unwrap_or(i64::MAX),
            usable_bytes: i64::try_from(usable).unwrap_or(i64::MAX),
            ..Default::default()
        };
        DescribeLogDirsResponse { results: vec![result], ..Default::default() }
    }
}

fn list_offsets(body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
    let request = ListOffsetsRequest::decode(&mut Reader::new(body), version)?;
    let mut questions = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = (*topic.name).into();
        for p in &topic.partitions {
            // A special value that came with a later version means nothing in this one.
            let known = match p.timestamp {
                MAX_TIMESTAMP => version >= 7,
                EARLIEST_LOCAL => version >= 8,
                LATEST_TIERED => version >= 9,
                _ => true,
            };
            let timestamp = if known { p.timestamp } else { TimestampMs::MIN };
            let op = Op::ListOffset { timestamp, leader_epoch: p.current_leader_epoch };
            questions.push(Question { topic: name.clone(), index: p.partition_index, op });
        }
    }
    Ok(questions)
}

fn delete_records(body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
    let request = DeleteRecordsRequest::decode(&mut Reader::new(body), version)?;
    let mut questions = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = (*topic.name).into();
        for p in &topic.partitions {
            let op = Op::DeleteRecords { offset: p.offset };
            questions.push(Question { topic: name.clone(), index: p.partition_index, op });
        }
    }
    Ok(questions)
}

fn epoch_ends(body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
    let request = OffsetForLeaderEpochRequest::decode(&mut Reader::new(body), version)?;
    let mut questions = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = (*topic.topic).into();
        for p in &topic.partitions {
            let op = Op::EpochEnd { epoch: p.leader_epoch, leader_epoch: p.current_leader_epoch };
            questions.push(Question { topic: name.clone(), index: p.partition, op });
        }
    }
    Ok(questions)
}

/// Each partition once: an answer may be much longer than its question.
fn producers(body: &[u8], version: i16) -> Result<Vec<Question>, DecodeError> {
    let request = DescribeProducersRequest::decode(&mut Reader::new(body), version)?;
    let mut questions = Vec::new();
    let mut seen = BTreeSet::new();
    for topic in &request.topics {
        let name: Arc<str> = (*topic.name).into();
        let new = topic.partition_indexes.iter().filter(|index| seen.insert((name.clone(), **index)));
        questions.extend(new.map(|&index| Question { topic: name.clone(), index, op: Op::Producers }));
    }
    Ok(questions)
}

/// What is said of a partition that is not there.
fn absent(api: ApiKey, topic: &str) -> ErrorCode {
    match api {
        ApiKey::DescribeProducers if check_name(topic).is_err() => ErrorCode::InvalidTopicException,
        _ => ErrorCode::UnknownTopicOrPartition,
    }
}

/// One element a topic, for the runs of parts of the same topic.
fn by_topic<'a, T>(list: &'a List, make: impl Fn(&'a str, &'a [Part]) -> T) -> Vec<T> {
    list.parts.chunk_by(|a, b| a.topic == b.topic).map(|parts| make(&parts[0].topic, parts)).collect()
}

fn list_offsets_response(list: &List) -> ListOffsetsResponse<'_> {
    let partition = |part: &Part| ListOffsetsPartitionResponse {
        partition_index: part.index,
        error_code: part.code.code(),
        timestamp: part.outcome.timestamp,
        offset: part.outcome.offset,
        leader_epoch: part.outcome.epoch,
    };
    let topics = by_topic(list, |name, parts| ListOffsetsTopicResponse {
        name: Cow::Borrowed(name),
        partitions: parts.iter().map(partition).collect(),
    });
    ListOffsetsResponse { topics, ..Default::default() }
}

fn delete_records_response(list: &List) -> DeleteRecordsResponse<'_> {
    let partition = |part: &Part| DeleteRecordsPartitionResult {
        partition_index: part.index,
        low_watermark: part.outcome.offset,
        error_code: part.code.code(),
    };
    let topics = by_topic(list, |name, parts| DeleteRecordsTopicResult {
        name: Cow::Borrowed(name),
        partitions: parts.iter().map(partition).collect(),
    });
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn epoch_ends_response(list: &List) -> OffsetForLeaderEpochResponse<'_> {
    let partition = |part: &Part| EpochEndOffset {
        error_code: part.code.code(),
        partition: part.index,
        leader_epoch: part.outcome.epoch,
        end_offset: part.outcome.offset,
    };
    let topics = by_topic(list, |name, parts| OffsetForLeaderTopicResult {
        topic: Cow::Borrowed(name),
        partitions: parts.iter().map(partition).collect(),
    });
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn producers_response(list: &List) -> DescribeProducersResponse<'_> {
    let producer = |producer: &ActiveProducer| ProducerState {
        producer_id: producer.id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.sequence_last,
        last_timestamp: producer.timestamp,
        // No producer has transactions.
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    };
    let partition = |part: &Part| PartitionResponse {
        partition_index: part.index,
        error_code: part.code.code(),
        active_producers: part.producers.iter().map(producer).collect(),
        ..Default::default()
    };
    let topics = by_topic(list, |name, parts| TopicResponse {
        name: Cow::Borrowed(name),
        partitions: parts.iter().map(partition).collect(),
    });
    DescribeProducersResponse { topics, ..Default::default() }
}
