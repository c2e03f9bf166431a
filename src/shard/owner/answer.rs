//! What a log answers at once: batches, offsets, epochs, producers.

use crate::log::{Log, Read};
use crate::shard::message::{
    ActiveProducer, Answer, Data, EARLIEST, EARLIEST_LOCAL, LATEST, LATEST_TIERED, MAX_TIMESTAMP, ReadAnswer, ReadBy,
};
use crate::types::{Epoch, Offset, Sequence, TimestampMs};
use crate::wire::error::ErrorCode;
use std::cmp::Ordering;

/// What is wrong with the leader epoch that a client believes in, if it says that it believes in one.
fn epoch_error(log: &Log, leader_epoch: Epoch) -> Option<ErrorCode> {
    match leader_epoch.known()?.cmp(&log.epoch()) {
        Ordering::Less => Some(ErrorCode::FencedLeaderEpoch),
        Ordering::Greater => Some(ErrorCode::UnknownLeaderEpoch),
        Ordering::Equal => None,
    }
}

pub fn epoch_end(log: &Log, epoch: Epoch, leader_epoch: Epoch) -> Answer {
    match (epoch_error(log, leader_epoch), log.epoch_end(epoch)) {
        (Some(error), _) => Answer::Failed(error),
        (None, Some((epoch, offset))) => Answer::EpochEnd { epoch, offset },
        (None, None) => Answer::EpochEnd { epoch: Epoch::NONE, offset: -1 },
    }
}

pub fn active_producers(log: &Log) -> Vec<ActiveProducer> {
    let active = log.producers().iter().map(|(id, producer)| {
        let last = producer.batches.back();
        ActiveProducer {
            id,
            epoch: producer.epoch,
            sequence_last: last.map_or(Sequence::NONE, |batch| batch.sequence_last),
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
        Read::Disk(read) => Data::Disk { partition: log.id(), name: log.name().clone(), read },
        Read::Empty | Read::OutOfRange | Read::Lost => Data::None,
    }
}

/// Up to where the log is shown.
fn limit(log: &Log, by: ReadBy) -> Offset {
    match by {
        ReadBy::Consumer { decided: false } => log.high_watermark(),
        ReadBy::Consumer { decided: true } => log.last_stable(),
        ReadBy::Replica(_) => log.end(),
    }
}

pub fn read(log: &Log, offset: Offset, bytes_max: usize, leader_epoch: Epoch, by: ReadBy) -> Answer {
    if let Some(error) = epoch_error(log, leader_epoch) {
        return Answer::Failed(error);
    }
    let limit = limit(log, by);
    // Above the limit but in the log: the reader is ahead of what is committed.
    let read = match log.read(offset, limit, bytes_max) {
        Read::OutOfRange if offset > limit && offset <= log.end() => Read::Empty,
        Read::OutOfRange => return Answer::Failed(ErrorCode::OffsetOutOfRange),
        Read::Lost => return Answer::Failed(ErrorCode::KafkaStorageError),
        read => read,
    };
    let (high_watermark, last_stable) = (log.high_watermark(), log.last_stable());
    assert!(last_stable <= high_watermark);
    Answer::Read(ReadAnswer { high_watermark, last_stable, log_start: log.start(), data: data(log, read) })
}

pub fn list_offset(log: &Log, timestamp: TimestampMs, leader_epoch: Epoch, by: ReadBy) -> Answer {
    if let Some(error) = epoch_error(log, leader_epoch) {
        return Answer::Failed(error);
    }
    let epoch = log.epoch();
    let none = Answer::Offset { timestamp: -1, offset: -1, epoch: Epoch::NONE };
    match timestamp {
        LATEST | MAX_TIMESTAMP if log.lost_from().is_some() => Answer::Failed(ErrorCode::KafkaStorageError),
        LATEST => Answer::Offset { timestamp: -1, offset: limit(log, by), epoch },
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
            Some((_, Read::Lost)) => Answer::Failed(ErrorCode::KafkaStorageError),
            Some((from, found)) => {
                Answer::OffsetIn { timestamp, from, start: log.start(), epoch, data: data(log, found) }
            }
            None if log.lost_from().is_some() => Answer::Failed(ErrorCode::KafkaStorageError),
            None => none,
        },
        _ => Answer::Failed(ErrorCode::UnsupportedVersion),
    }
}
