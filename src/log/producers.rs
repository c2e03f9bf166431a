//! Idempotent producers of one partition: the last five batches of each producer id (KIP-98, KIP-360).

use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use std::collections::{HashMap, VecDeque};

/// Batches remembered for each producer: as many as a client may have in flight.
pub const BATCHES_MAX: usize = 5;

/// A batch that a producer has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBatch {
    /// Sequence of its first record.
    pub sequence_first: Sequence,
    /// Sequence of its last record.
    pub sequence_last: Sequence,
    /// Offset of its first record.
    pub offset_first: Offset,
    /// Offset of its last record.
    pub offset_last: Offset,
    /// The latest time of a record in it.
    pub timestamp: TimestampMs,
}

/// What is known of one producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    /// The epoch of its last batch: a producer that starts again under its id has a higher one.
    pub epoch: ProducerEpoch,
    /// Oldest first, at most [`BATCHES_MAX`].
    pub batches: VecDeque<ProducerBatch>,
    /// When the producer was last heard of, by the broker's clock.
    pub seen_ms: TimestampMs,
}

/// The producer's part of a batch header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerStamp {
    /// The producer's id.
    pub id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub sequence_first: Sequence,
    /// How many records the batch has, each the next in the sequence.
    pub records: i32,
}

/// Why a batch does not continue what its producer has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceError {
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of the producer has written.
    StaleEpoch,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch is missing in between, a new epoch does not start at 0, or the batch was written
    /// too long ago to know its offset.
    OutOfOrder,
}

/// What to do with a batch whose sequence was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It continues what is there.
    Append,
    /// It is in the log already: answer as if it had been appended just then.
    Written(ProducerBatch),
}

/// The producers of one partition.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Producers {
    by_id: HashMap<ProducerId, Producer>,
}

impl ProducerStamp {
    /// Sequence of the batch's last record.
    pub fn sequence_last(&self) -> Sequence {
        self.sequence_first.after(self.records - 1)
    }
}

impl Producers {
    /// Whether a batch continues what its producer has written.
    pub fn check(&self, stamp: &ProducerStamp) -> Result<Verdict, SequenceError> {
        assert!(stamp.id.0 >= 0 && stamp.records > 0);
        // No state: the producer is new, or its state expired; any sequence is accepted (KIP-360).
        let Some(producer) = self.by_id.get(&stamp.id) else {
            return Ok(Verdict::Append);
        };
        if stamp.epoch < producer.epoch {
            return Err(SequenceError::StaleEpoch);
        }
        if stamp.epoch > producer.epoch {
            return if stamp.sequence_first == Sequence::FIRST {
                Ok(Verdict::Append)
            } else {
                Err(SequenceError::OutOfOrder)
            };
        }
        let same =
            |b: &&ProducerBatch| b.sequence_first == stamp.sequence_first && b.sequence_last == stamp.sequence_last();
        if let Some(batch) = producer.batches.iter().find(same) {
            return Ok(Verdict::Written(*batch));
        }
        let Some(last) = producer.batches.back() else {
            return Ok(Verdict::Append);
        };
        if stamp.sequence_first == last.sequence_last.after(1) {
            Ok(Verdict::Append)
        } else {
            Err(SequenceError::OutOfOrder)
        }
    }

    /// Notes a batch that is in the log. Batches at or below one that is known are left out, so that replaying twice
    /// changes nothing.
    pub fn apply(&mut self, stamp: &ProducerStamp, offset_first: Offset, timestamp: TimestampMs, seen_ms: TimestampMs) {
        assert!(stamp.id.0 >= 0 && stamp.records > 0 && offset_first >= 0);
        let producer = self.by_id.entry(stamp.id).or_insert_with(|| Producer {
            epoch: stamp.epoch,
            batches: VecDeque::with_capacity(1),
            seen_ms,
        });
        if producer.batches.back().is_some_and(|last| last.offset_last >= offset_first) {
            return;
        }
        if producer.epoch != stamp.epoch {
            producer.epoch = stamp.epoch;
            producer.batches.clear();
        }
        producer.seen_ms = producer.seen_ms.max(seen_ms);
        if producer.batches.len() == BATCHES_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(ProducerBatch {
            sequence_first: stamp.sequence_first,
            sequence_last: stamp.sequence_last(),
            offset_first,
            offset_last: offset_first + i64::from(stamp.records) - 1,
            timestamp,
        });
    }

    /// The same producers without the batches that end at or above `durable_end`, which a crash may still lose.
    pub fn durable(&self, durable_end: Offset) -> Producers {
        let mut durable = self.clone();
        for producer in durable.by_id.values_mut() {
            producer.batches.retain(|batch| batch.offset_last < durable_end);
        }
        durable
    }

    /// Forgets batches that end at or above `end`, which were cut off. A producer's epoch stays: an older one may not write
    /// again.
    pub fn truncate(&mut self, end: Offset) {
        for producer in self.by_id.values_mut() {
            producer.batches.retain(|batch| batch.offset_last < end);
        }
    }

    /// Puts in a producer that a checkpoint describes.
    pub fn insert(&mut self, id: ProducerId, producer: Producer) {
        assert!(id.0 >= 0 && producer.batches.len() <= BATCHES_MAX);
        self.by_id.insert(id, producer);
    }

    /// Every producer with its id, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Forgets producers that were last seen before `before_ms`, unless a batch of theirs ends at or above `durable_end`: it is
    /// not acknowledged, and may come again.
    pub fn expire(&mut self, before_ms: TimestampMs, durable_end: Offset) {
        let waits = |producer: &Producer| producer.batches.back().is_some_and(|last| last.offset_last >= durable_end);
        self.by_id.retain(|_, producer| producer.seen_ms >= before_ms || waits(producer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, sequence_first: i32, records: i32) -> ProducerStamp {
        ProducerStamp {
            id: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            sequence_first: Sequence(sequence_first),
            records,
        }
    }

    fn written(producers: &mut Producers, epoch: i16, sequence: i32, records: i32, offset: Offset) {
        let stamp = stamp(epoch, sequence, records);
        assert_eq!(producers.check(&stamp), Ok(Verdict::Append));
        producers.apply(&stamp, offset, 1, 1);
    }

    #[test]
    fn duplicates_gaps_and_epochs() {
        let mut p = Producers::default();
        written(&mut p, 0, 5, 10, 100); // unknown producer: any sequence
        written(&mut p, 0, 15, 1, 110);
        assert!(matches!(p.check(&stamp(0, 5, 10)), Ok(Verdict::Written(b)) if b.offset_first == 100));
        assert_eq!(p.check(&stamp(0, 17, 1)), Err(SequenceError::OutOfOrder));
        assert_eq!(p.check(&stamp(0, 5, 11)), Err(SequenceError::OutOfOrder));
        for i in 0..5 {
            written(&mut p, 0, 16 + i, 1, 111 + i64::from(i));
        }
        assert_eq!(p.check(&stamp(0, 5, 10)), Err(SequenceError::OutOfOrder));
        assert_eq!(p.check(&stamp(1, 1, 1)), Err(SequenceError::OutOfOrder));
        written(&mut p, 1, 0, 1, 200);
        assert_eq!(p.check(&stamp(0, 21, 1)), Err(SequenceError::StaleEpoch));
    }

    #[test]
    fn sequences_wrap() {
        let mut p = Producers::default();
        written(&mut p, 0, i32::MAX - 1, 3, 0);
        assert_eq!(p.by_id[&ProducerId(7)].batches[0].sequence_last, Sequence::FIRST);
        written(&mut p, 0, 1, 1, 3);
    }

    #[test]
    fn replay_is_idempotent_and_states_expire() {
        let mut p = Producers::default();
        written(&mut p, 0, 0, 2, 10);
        let before = p.clone();
        p.apply(&stamp(0, 0, 2), 10, 1, 1);
        assert_eq!(p, before);
        p.expire(1, 12);
        assert_eq!(p.len(), 1);
        p.expire(2, 11);
        assert_eq!(p.len(), 1, "its batch is not durable");
        p.expire(2, 12);
        assert!(p.is_empty());
    }
}
