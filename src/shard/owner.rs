//! The owner's side: what other shards, or this one's own connections, ask of this core's partitions.

use super::Shard;
use super::message::{ActiveProducer, Answer, Ask, Data, Message, Op, ReadAnswer, RequestId};
use super::store::{AppendError, LogIndex};
use crate::log::check::Refusal;
use crate::log::{Log, Read};
use crate::types::{Now, Offset, PartitionId, ShardId};
use crate::wire::error::ErrorCode;
use std::collections::{BTreeMap, VecDeque};

/// ListOffsets: the next offset that a consumer could read.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
pub(super) const MAX_TIMESTAMP: i64 = -3;
/// The first offset that is on this node (KIP-405).
pub(super) const EARLIEST_LOCAL: i64 = -4;
/// The last offset in tiered storage (KIP-1005): none, without tiered storage.
pub(super) const LATEST_TIERED: i64 = -5;

/// Whom to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asker {
    shard: ShardId,
    request: RequestId,
    part: u32,
}

/// Who waits for a partition.
#[derive(Default, Debug)]
pub struct Waiting {
    /// Appends to be acknowledged when the log is committed up to the offset.
    appends: VecDeque<(Offset, Asker, Answer)>,
    watches: Vec<Asker>,
}

/// What waits for a journal block instead of an offset.
pub struct GroupWait {
    group: u64,
    asker: Asker,
    answer: Answer,
}

fn epoch_error(log: Option<&Log>, leader_epoch: i32) -> Option<ErrorCode> {
    let epoch = log.map_or(0, Log::epoch);
    match leader_epoch {
        ..0 => None,
        asked if asked < epoch => Some(ErrorCode::FencedLeaderEpoch),
        asked if asked > epoch => Some(ErrorCode::UnknownLeaderEpoch),
        _ => None,
    }
}

fn append_refusal(error: AppendError) -> Refusal {
    let (code, message) = error.told();
    Refusal::new(code, message)
}

impl Shard {
    /// Sends each part of a request to the owner of its partition.
    pub(super) fn ask_all(&mut self, now: Now, request: RequestId, asks: Vec<Ask>) {
        if self.node.shards == 1 {
            for ask in asks {
                self.asked(now, self.id, request, ask);
            }
            return;
        }
        let mut away: BTreeMap<ShardId, Vec<Ask>> = BTreeMap::new();
        for ask in asks {
            match ask.partition.shard(self.node.shards) {
                owner if owner == self.id => self.asked(now, self.id, request, ask),
                owner => away.entry(owner).or_default().push(ask),
            }
        }
        for (to, asks) in away {
            self.send(to, Message::Asks { request, asks });
        }
    }

    pub(super) fn asked(&mut self, now: Now, shard: ShardId, request: RequestId, ask: Ask) {
        let asker = Asker { shard, request, part: ask.part };
        if let Some(answer) = self.owner_step(now, asker, ask) {
            self.reply(now, asker, answer);
        }
    }

    fn reply(&mut self, now: Now, asker: Asker, answer: Answer) {
        if asker.shard == self.id {
            self.answered(now, asker.request, asker.part, answer);
        } else {
            let key = (asker.shard, asker.request);
            self.replies.entry(key).or_default().push((asker.part, answer));
        }
    }

    /// Answers to other shards leave together at the end of a turn.
    pub(super) fn send_replies(&mut self) {
        while let Some(((to, request), answers)) = self.replies.pop_first() {
            self.send(to, Message::Answers { request, answers });
        }
    }

    fn open(&mut self, ask: &Ask) -> LogIndex {
        match self.store.find(ask.partition) {
            Some(index) => index,
            None => {
                // The settings of this core's image: a change of them that it has seen does not come again.
                let topic = self.image.topic_by_id(ask.partition.topic).expect("the caller has looked").clone();
                let rules = self.rules_of(&topic);
                self.store.open(ask.partition, &rules.partition_name(ask.partition.index), &rules.log)
            }
        }
    }

    fn owner_step(&mut self, now: Now, asker: Asker, ask: Ask) -> Option<Answer> {
        if self.image.topic_by_id(ask.partition.topic).is_none() {
            // Deleted since the request was routed. Who watches asks again, and is then told.
            let watch = matches!(ask.op, Op::Watch { .. });
            return Some(if watch { Answer::Woken } else { Answer::Failed(ErrorCode::UnknownTopicOrPartition) });
        }
        let index = self.open(&ask);
        match ask.op {
            Op::Append { batch, info } => match self.store.append(now, index, batch, &info) {
                Err(error) => Some(Answer::AppendRefused(Box::new(append_refusal(error)))),
                Ok(appended) => {
                    let log = self.store.log(index).expect("it was just opened");
                    let answer = Answer::Appended { offset: appended.offset, log_start: log.start() };
                    if appended.offset_end <= log.high_watermark() {
                        return Some(answer);
                    }
                    let waiting = self.waiting.entry(index).or_default();
                    waiting.appends.push_back((appended.offset_end, asker, answer));
                    None
                }
            },
            Op::Read { offset, bytes_max, leader_epoch } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(read(log, offset, bytes_max, leader_epoch))
            }
            Op::Watch { high_watermark } => {
                let log = self.store.log(index).expect("it was just opened");
                if log.high_watermark() > high_watermark {
                    return Some(Answer::Woken);
                }
                self.waiting.entry(index).or_default().watches.push(asker);
                None
            }
            Op::ListOffset { timestamp, leader_epoch } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(list_offset(log, timestamp, leader_epoch))
            }
            Op::DeleteRecords { offset } => self.delete_records(index, asker, offset),
            Op::EpochEnd { epoch, leader_epoch } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(match (epoch_error(Some(log), leader_epoch), log.epoch_end(epoch)) {
                    (Some(error), _) => Answer::Failed(error),
                    (None, Some((epoch, offset))) => Answer::EpochEnd { epoch, offset },
                    (None, None) => Answer::EpochEnd { epoch: -1, offset: -1 },
                })
            }
            Op::Producers => Some(Answer::Producers(self.store.log(index).map_or_else(Vec::new, active_producers))),
            Op::Size => Some(Answer::Size { bytes: self.store.log(index).map_or(0, Log::bytes) }),
        }
    }

    fn delete_records(&mut self, index: LogIndex, asker: Asker, offset: Offset) -> Option<Answer> {
        let log = self.store.log(index).expect("it was just opened");
        let offset = if offset == -1 { log.high_watermark() } else { offset };
        if offset < 0 || offset > log.high_watermark() {
            return Some(Answer::Failed(ErrorCode::OffsetOutOfRange));
        }
        let low_watermark = offset.max(log.start());
        let answer = Answer::RecordsDeleted { low_watermark };
        // Also where the start is there already: it may not be durable yet.
        match self.store.delete_records(index, low_watermark) {
            Ok(group) => {
                self.group_waits.push_back(GroupWait { group, asker, answer });
                None
            }
            Err(_) => Some(Answer::Failed(ErrorCode::KafkaStorageError)),
        }
    }

    pub(super) fn unwatch(&mut self, shard: ShardId, request: RequestId, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(index) = self.store.find(*partition)
                && let Some(waiting) = self.waiting.get_mut(&index)
            {
                waiting.watches.retain(|asker| asker.shard != shard || asker.request != request);
                if waiting.watches.is_empty() && waiting.appends.is_empty() {
                    self.waiting.remove(&index);
                }
            }
        }
    }

    /// Answers those whose partitions have moved.
    pub(super) fn advance(&mut self, now: Now) {
        while self.store.has_advanced() {
            for index in self.store.take_advanced() {
                self.advance_one(now, index);
            }
        }
        let (durable, failed) = (self.store.sequence_durable(), self.store.is_failed());
        while self.group_waits.front().is_some_and(|wait| wait.group <= durable || failed) {
            let wait = self.group_waits.pop_front().expect("it is there");
            let answer = if wait.group <= durable { wait.answer } else { Answer::Failed(ErrorCode::KafkaStorageError) };
            self.reply(now, wait.asker, answer);
        }
    }

    fn advance_one(&mut self, now: Now, index: LogIndex) {
        self.groups.advanced(now, &self.store, index);
        let Some(mut waiting) = self.waiting.remove(&index) else { return };
        let Some(log) = self.store.log(index) else { return };
        let (high_watermark, failed) = (log.high_watermark(), self.store.is_failed());
        while let Some((end, _, _)) = waiting.appends.front()
            && (*end <= high_watermark || failed)
        {
            let (end, asker, answer) = waiting.appends.pop_front().expect("it is there");
            if end <= high_watermark {
                self.reply(now, asker, answer);
            } else {
                let refusal = append_refusal(AppendError::Storage);
                self.reply(now, asker, Answer::AppendRefused(Box::new(refusal)));
            }
        }
        for asker in std::mem::take(&mut waiting.watches) {
            self.reply(now, asker, Answer::Woken);
        }
        if !waiting.appends.is_empty() {
            // Answers may have led to further asks of the same partition.
            let added = self.waiting.entry(index).or_default();
            waiting.appends.append(&mut added.appends);
            added.appends = waiting.appends;
        }
    }

    /// A deleted partition: everybody who waits for it is told.
    pub(super) fn forsake(&mut self, now: Now, index: LogIndex) {
        let Some(waiting) = self.waiting.remove(&index) else { return };
        for (_, asker, _) in waiting.appends {
            self.reply(now, asker, Answer::Failed(ErrorCode::UnknownTopicOrPartition));
        }
        for asker in waiting.watches {
            self.reply(now, asker, Answer::Woken);
        }
    }
}

fn active_producers(log: &Log) -> Vec<ActiveProducer> {
    let active = log.producers().iter().map(|(id, producer)| {
        let last = producer.batches.back();
        ActiveProducer {
            id,
            epoch: producer.epoch,
            sequence_last: last.map_or(-1, |batch| batch.sequence_last),
            timestamp: last.map_or(-1, |batch| batch.timestamp),
        }
    });
    let mut active: Vec<_> = active.collect();
    active.sort_unstable_by_key(|producer| producer.id);
    active
}

fn data(log: &Log, read: Read) -> Data {
    match read {
        Read::Memory { parts, bytes } => Data::Memory { parts, bytes },
        Read::Disk(read) => Data::Disk { name: log.name().clone(), read },
        Read::Empty | Read::OutOfRange => Data::None,
    }
}

fn read(log: &Log, offset: Offset, bytes_max: usize, leader_epoch: i32) -> Answer {
    if let Some(error) = epoch_error(Some(log), leader_epoch) {
        return Answer::Failed(error);
    }
    let high_watermark = log.high_watermark();
    // Above the high watermark but in the log: the reader is ahead of what is committed.
    let read = match log.read(offset, high_watermark, bytes_max) {
        Read::OutOfRange if offset > high_watermark && offset <= log.end() => Read::Empty,
        Read::OutOfRange => return Answer::Failed(ErrorCode::OffsetOutOfRange),
        read => read,
    };
    Answer::Read(ReadAnswer { high_watermark, log_start: log.start(), data: data(log, read) })
}

fn list_offset(log: &Log, timestamp: i64, leader_epoch: i32) -> Answer {
    if let Some(error) = epoch_error(Some(log), leader_epoch) {
        return Answer::Failed(error);
    }
    let epoch = log.epoch();
    let none = Answer::Offset { timestamp: -1, offset: -1, epoch: -1 };
    match timestamp {
        LATEST => Answer::Offset { timestamp: -1, offset: log.high_watermark(), epoch },
        EARLIEST | EARLIEST_LOCAL => Answer::Offset { timestamp: -1, offset: log.start(), epoch },
        LATEST_TIERED => none,
        MAX_TIMESTAMP => match log.timestamp_max() {
            Some((timestamp, from)) if from >= log.start() && from < log.high_watermark() => {
                let found = log.read(from, log.high_watermark(), 1);
                Answer::OffsetIn { timestamp, from, start: log.start(), epoch, data: data(log, found) }
            }
            _ => none,
        },
        0.. => match log.find_time(timestamp) {
            Some((from, found)) => {
                Answer::OffsetIn { timestamp, from, start: log.start(), epoch, data: data(log, found) }
            }
            None => none,
        },
        _ => Answer::Failed(ErrorCode::UnsupportedVersion),
    }
}
