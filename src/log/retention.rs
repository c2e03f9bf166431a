//! What a log lets go: whole segments at its front, and when a segment begins because the one before is old.
//!
//! [`Log::find_expired`] says what its settings do not keep. The log's start moves up first ([`Log::set_start`]); the segments
//! below it are taken out when nothing is being written of the log ([`Log::take_outlived`]).

use super::{Log, Segment};
use crate::types::{Offset, TimestampMs};

/// Segments at a log's front that its settings do not keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// The log's start without them; its end if no segment stays.
    pub start: Offset,
    /// How many they are.
    pub segments: usize,
    /// How many of them go because of `retention.bytes`.
    pub oversized: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Log {
    /// Moves the log's start up; returns the segments that hold nothing above it and are removed.
    pub fn set_start(&mut self, start: Offset) -> Vec<Segment> {
        assert!(start <= self.end);
        self.start = self.start.max(start);
        self.take_outlived()
    }

    /// Takes out the segments below the log's start that may go: not the last one, unless it takes no more batches. Batches that
    /// are in the journal alone go unwritten. This is asked again after each write, and after a restart.
    pub fn take_outlived(&mut self) -> Vec<Segment> {
        let mut removed = Vec::new();
        while !self.flushing && self.is_first_outlived() && self.pass_over_first() {
            let segment = self.segments.pop_front().expect("there is a first one");
            self.bytes -= u64::from(segment.bytes);
            removed.push(segment);
        }
        self.sealed &= !self.segments.is_empty();
        removed
    }

    /// Nothing of the first segment is above the log's start.
    fn is_first_outlived(&self) -> bool {
        match self.segments.get(1) {
            Some(next) => next.base <= self.start,
            None => self.sealed && self.start == self.end && self.skipped_from.is_none() && !self.segments.is_empty(),
        }
    }

    /// Counts the first segment's batches as written, though some are in memory and in the journal alone; `false` if one of
    /// those is not durable: a checkpoint must not say more than is on disk.
    fn pass_over_first(&mut self) -> bool {
        let first = self.segments.front().map(Segment::id);
        let unwritten = self.tail.range(self.tail_flushed..).take_while(|batch| Some(batch.segment) == first);
        let (mut batches, mut bytes, mut end) = (0, 0, self.flushed_end);
        for batch in unwritten {
            (batches, bytes, end) = (batches + 1, bytes + batch.bytes.len(), batch.last + 1);
        }
        if end > self.durable_end {
            return false;
        }
        self.tail_flushed += batches;
        self.unflushed_bytes -= bytes;
        self.flushed_end = end;
        assert!(self.tail_flushed <= self.tail.len());
        true
    }

    /// The last segment takes no more batches: the next one begins another.
    pub fn seal(&mut self) {
        self.sealed = !self.segments.is_empty();
    }

    /// `segment.ms` is over for a segment when a batch with this largest timestamp comes. As in Kafka it counts from the
    /// times of records, from the first batch to this one, and by the clock only where the first batch has no time.
    pub(super) fn is_over(&self, active: &Segment, timestamp_max: TimestampMs, wall_ms: TimestampMs) -> bool {
        let waited_ms = match (active.timestamp_first, active.created_ms) {
            (first @ 0.., _) => timestamp_max.saturating_sub(first),
            (_, created @ 0..) => wall_ms.saturating_sub(created),
            _ => return false,
        };
        active.bytes > 0 && waited_ms > self.settings.segment_ms - self.jitter_ms(active.base)
    }

    /// By how much `segment.ms` is shorter for the segment: another part of `segment.jitter.ms` for each, the same each time.
    fn jitter_ms(&self, base: Offset) -> i64 {
        let most = self.settings.segment_jitter_ms.min(self.settings.segment_ms);
        let partition = crc32c::crc32c_append(crc32c::crc32c(&self.id.topic.0), &self.id.index.to_le_bytes());
        let chance = crc32c::crc32c_append(partition, &base.to_le_bytes());
        i64::from(chance).checked_rem(most).unwrap_or(0)
    }

    /// The time of day at which the first segment has outlived `retention.ms`, unless younger records come; any time if there is
    /// too much of the log. `None`: nothing goes by itself.
    pub fn retention_due(&self) -> Option<TimestampMs> {
        let first = self.segments.front()?;
        if self.is_oversized() {
            return Some(TimestampMs::MIN);
        }
        Some(first.newest_ms().saturating_add(self.settings.retention_ms?).saturating_add(1))
    }

    /// The log has at least `retention.bytes` without its first segment.
    pub fn is_oversized(&self) -> bool {
        let first = self.segments.front().map_or(0, |first| u64::from(first.bytes));
        first > 0 && self.settings.retention_bytes.is_some_and(|most| self.bytes - first >= most)
    }

    /// What goes at this time of day, first by size and then by age; of what may be read only, as in Kafka. Where every
    /// segment goes the log is empty. A segment goes with all that is before it, and stays with what is behind it.
    pub fn find_expired(&self, wall_ms: TimestampMs) -> Option<Expired> {
        let mut expired = Expired { start: self.start, segments: 0, oversized: 0, bytes: 0 };
        let mut rest = self.bytes;
        for (at, segment) in self.segments.iter().enumerate() {
            let end = self.segments.get(at + 1).map_or(self.end, |next| next.base);
            let last_with_gap = at + 1 == self.segments.len() && self.skipped_from.is_some();
            if end > self.commit_end || last_with_gap {
                break;
            }
            rest -= u64::from(segment.bytes);
            let oversized = self.settings.retention_bytes.is_some_and(|most| rest >= most);
            let age_ms = wall_ms.saturating_sub(segment.newest_ms());
            if !oversized && self.settings.retention_ms.is_none_or(|most| age_ms <= most) {
                break;
            }
            expired.segments += 1;
            expired.oversized += usize::from(oversized);
            expired.bytes += u64::from(segment.bytes);
            expired.start = expired.start.max(end);
        }
        (expired.segments > 0).then_some(expired)
    }
}
