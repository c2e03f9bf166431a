//! ListOffsets (API 2): offsets for timestamps (KIP-79) and for Kafka's special values.

use super::super::gather::{Begun, Incoming, Next, Reply, ReplyHead, Scatter, Work};
use super::{Part, Parts, Question, if_there};
use crate::log::find::{Corrupt, Find};
use crate::shard::message::{Answer, Data, EARLIEST_LOCAL, LATEST_TIERED, MAX_TIMESTAMP, Op, ReadBy};
use crate::shard::port::ReadPlan;
use crate::types::{Epoch, Offset, TimestampMs};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much is read at a time to find a timestamp: the index leads close to it.
const FIND_BYTES_MAX: usize = 1 << 20;
/// Timestamps are looked for in what is committed.
const CONSUMER: ReadBy = ReadBy::Consumer { decided: false };
/// How many reads a request may have under way, or may look into, at the same time.
const READS_MAX: usize = 4;

#[derive(Clone, Copy)]
struct Found {
    timestamp: TimestampMs,
    offset: Offset,
    epoch: Epoch,
    /// The timestamp that is looked for, and the offset from which on.
    find: Option<(TimestampMs, Offset)>,
    /// Whether the owner was asked once more, because a read has failed: the segment may have been deleted meanwhile.
    again: bool,
}

impl Default for Found {
    fn default() -> Found {
        Found { timestamp: -1, offset: -1, epoch: Epoch::NONE, find: None, again: false }
    }
}

struct ListOffsets {
    head: ReplyHead,
    by: ReadBy,
    parts: Parts<Found>,
    /// Reads that wait until others are done.
    reads: VecDeque<(u32, ReadPlan)>,
    reading: usize,
    /// Batches that are looked into, one after the other, and the parts that they are for.
    looking: VecDeque<(u32, Find)>,
}

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    let head = &incoming.head;
    let body = &frame[head.body_start..];
    let (questions, by) = questions(body, head.version)?;
    let mut parts = Parts::<Found>::new(scatter.view, questions, |_, rules| if_there(rules));
    // As Kafka: of a partition that is named twice nothing is told.
    for part in parts.parts.iter_mut().filter(|part| part.is_repeated) {
        part.code = ErrorCode::InvalidRequest;
        part.partition = None;
    }
    let Parts { parts: all, queue } = &mut parts;
    queue.retain(|(number, ..)| all[*number as usize].partition.is_some());
    parts.begin(scatter);
    let work = ListOffsets {
        head: ReplyHead::new(head),
        by,
        parts,
        reads: VecDeque::new(),
        reading: 0,
        looking: VecDeque::new(),
    };
    Ok(Begun::Started { work: Box::new(work), deadline: None, silent: false })
}

/// The questions of a request, and who asks.
fn questions(body: &[u8], version: i16) -> Result<(Vec<Question>, ReadBy), DecodeError> {
    let request = ListOffsetsRequest::decode(&mut Reader::new(body), version)?;
    let by = ReadBy::new(request.replica_id, request.isolation_level);
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
            let op = Op::ListOffset { timestamp, leader_epoch: Epoch(p.current_leader_epoch), by };
            questions.push(Question { topic: name.clone(), index: p.partition_index, op });
        }
    }
    Ok((questions, by))
}

impl ListOffsets {
    /// Looks for the timestamp in `data`, batches that begin with the one that holds `offset`.
    fn find(&mut self, scatter: &mut Scatter<'_>, number: u32, offset: Offset, data: Data) {
        match data {
            Data::Disk { partition, name, read } => {
                let plan = ReadPlan { partition, name, read, offset, bytes_max: FIND_BYTES_MAX };
                self.reads.push_back((number, plan));
                self.read_next(scatter);
            }
            Data::Memory { parts, .. } => self.look(scatter, number, Some(parts)),
            Data::None => self.look(scatter, number, Some(Vec::new())),
        }
    }

    fn read_next(&mut self, scatter: &mut Scatter<'_>) {
        if self.reading + self.looking.len() < READS_MAX
            && let Some((number, plan)) = self.reads.pop_front()
        {
            self.reading += 1;
            scatter.read(number, plan);
        }
    }

    /// Looks into batches, as the request's own work.
    fn look(&mut self, scatter: &mut Scatter<'_>, number: u32, data: Option<Vec<Bytes>>) {
        let part = &mut self.parts.parts[number as usize];
        let (timestamp, start) = part.answer.find.expect("only a part that looks for a timestamp reads");
        match data {
            Some(batches) => self.looking.push_back((number, Find::new(batches, timestamp, start))),
            None if !std::mem::replace(&mut part.answer.again, true) => self.search_again(scatter, number),
            None => {
                part.code = ErrorCode::KafkaStorageError;
                self.parts.ask_next(scatter);
            }
        }
    }

    /// Takes the result of a search, the last of whose batches ends before `next`.
    fn looked(
        &mut self,
        scatter: &mut Scatter<'_>,
        number: u32,
        found: Result<Option<(TimestampMs, Offset)>, Corrupt>,
        next: Option<Offset>,
    ) {
        let part = &mut self.parts.parts[number as usize];
        match (found, next) {
            (Ok(Some((timestamp, offset))), _) => (part.answer.timestamp, part.answer.offset) = (timestamp, offset),
            // It is behind what one read brought, or in what is in no segment yet.
            (Ok(None), Some(next)) => {
                let (timestamp, start) = part.answer.find.expect("a timestamp was looked for");
                part.answer.find = Some((timestamp, start.max(next)));
                return self.go_on(scatter, number, next);
            }
            (Ok(None), None) => part.answer = Found::default(),
            (Err(Corrupt), _) => part.code = ErrorCode::CorruptMessage,
        }
        self.parts.ask_next(scatter);
    }

    /// Begins the search from the log's start again, which has moved.
    fn search_again(&mut self, scatter: &mut Scatter<'_>, number: u32) {
        let (timestamp, _) = self.parts.parts[number as usize].answer.find.expect("a timestamp was looked for");
        self.ask(scatter, number, Op::ListOffset { timestamp, leader_epoch: Epoch::NONE, by: self.by });
    }

    fn go_on(&mut self, scatter: &mut Scatter<'_>, number: u32, offset: Offset) {
        self.ask(
            scatter,
            number,
            Op::Read { offset, bytes_max: FIND_BYTES_MAX, leader_epoch: Epoch::NONE, by: CONSUMER },
        );
    }

    fn ask(&mut self, scatter: &mut Scatter<'_>, number: u32, op: Op) {
        let part = &mut self.parts.parts[number as usize];
        let partition = part.partition.expect("the partition was asked before");
        let Some(topic) = scatter.view.image().topic_by_id(partition.topic).cloned() else {
            part.code = ErrorCode::UnknownTopicOrPartition;
            return self.parts.ask_next(scatter);
        };
        scatter.ask(number, partition, &topic, op);
    }
}

impl Work for ListOffsets {
    fn answered(&mut self, scatter: &mut Scatter<'_>, number: u32, answer: Answer) {
        let part = &mut self.parts.parts[number as usize];
        match answer {
            Answer::Offset { timestamp, offset, epoch } => {
                part.answer = Found { timestamp, offset, epoch, ..Found::default() };
            }
            Answer::Failed(ErrorCode::OffsetOutOfRange) if part.answer.find.is_some() => {
                return self.search_again(scatter, number);
            }
            Answer::Failed(code) => part.code = code,
            Answer::OffsetIn { timestamp, from, start, epoch, data } => {
                part.answer.epoch = epoch;
                part.answer.find = Some((timestamp, start));
                return self.find(scatter, number, from, data);
            }
            Answer::Read(read) => {
                let (_, from) = part.answer.find.expect("only a part that looks for a timestamp reads");
                return self.find(scatter, number, from, read.data);
            }
            other => panic!("an offset is not answered by {other:?}"),
        }
        self.parts.ask_next(scatter);
    }

    fn read(&mut self, scatter: &mut Scatter<'_>, number: u32, data: Option<Vec<Bytes>>) {
        self.reading -= 1;
        self.look(scatter, number, data);
        self.read_next(scatter);
    }

    fn own_bytes(&self) -> Option<usize> {
        (!self.looking.is_empty()).then(|| self.looking.iter().map(|(_, find)| find.bytes()).sum())
    }

    fn work_on(&mut self, scatter: &mut Scatter<'_>, budget: &mut usize) -> bool {
        while let Some((number, find)) = self.looking.front_mut() {
            let Some(found) = find.step(scatter.workspace, budget) else { return false };
            find.restart(scatter.workspace);
            let (number, next) = (*number, find.offset_end());
            self.looking.pop_front();
            self.looked(scatter, number, found, next);
            self.read_next(scatter);
        }
        true
    }

    fn rest(&mut self, scatter: &mut Scatter<'_>) {
        if let Some((_, find)) = self.looking.front_mut() {
            find.restart(scatter.workspace);
        }
    }

    fn gathered(&mut self, _: &mut Scatter<'_>) -> Next {
        assert!(self.reads.is_empty() && self.reading == 0 && self.parts.queue.is_empty() && self.looking.is_empty());
        Next::Reply
    }

    fn reply(self: Box<Self>, _: &mut Scatter<'_>) -> Reply {
        let ListOffsets { head, parts, .. } = *self;
        Reply::Send(head.frame(|w| encode(&parts, w, head.version)))
    }
}

fn encode(parts: &Parts<Found>, w: &mut Writer, version: i16) {
    let partition = |part: &Part<Found>| ListOffsetsPartitionResponse {
        partition_index: part.index,
        error_code: part.code.code(),
        timestamp: part.answer.timestamp,
        offset: part.answer.offset,
        leader_epoch: part.answer.epoch.0,
    };
    let topics = parts.by_topic(|name, parts| ListOffsetsTopicResponse {
        name: Cow::Borrowed(name),
        partitions: parts.iter().map(partition).collect(),
    });
    ListOffsetsResponse { topics, ..Default::default() }.encode(w, version);
}
