//! A log as a checkpoint describes it, and what the journal adds to that at a start.

use super::{BatchInfo, Log, Placement, Producers, Segment, Settings};
use crate::types::{Epoch, Offset, PartitionId, TimestampMs};
use bytes::Bytes;
use std::sync::Arc;

/// What a checkpoint says of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The first offset that may be read.
    pub start: Offset,
    /// The offset after the last batch that is in a segment's file.
    pub flushed_end: Offset,
    /// The high watermark.
    pub commit_end: Offset,
    /// The segments up to `flushed_end`, oldest first.
    pub segments: Vec<Segment>,
    /// The states of producers, by their durable batches.
    pub producers: Producers,
    /// Leader epochs, and the offset at which each began, ascending.
    pub epochs: Vec<(Epoch, Offset)>,
    /// Records from this offset on were acknowledged and are lost.
    pub lost_from: Option<Offset>,
    /// There may be files of segments that were cut off.
    pub leftovers: bool,
}

impl Log {
    /// The log as a checkpoint made now would restore it: what is not durable yet is left out.
    pub fn checkpoint(&self) -> Restored {
        let mut segments: Vec<Segment> = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.base < self.flushed_end) {
            let mut cut = Segment::new(segment.id());
            cut.bytes = self.position_flushed(segment);
            (cut.timestamp_max, cut.timestamp_offset) = segment.timestamp_written;
            cut.timestamp_written = segment.timestamp_written;
            cut.timestamp_first = segment.timestamp_first;
            cut.modified_ms = segment.modified_ms;
            cut.indexed = segment.indexed;
            if !segment.indexed {
                cut.restore_index(segment.index_coarse(cut.bytes));
            }
            segments.push(cut);
        }
        Restored {
            start: self.start.min(self.durable_end),
            flushed_end: self.flushed_end,
            commit_end: self.commit_end.min(self.durable_end),
            segments,
            producers: self.producers.durable(self.durable_end),
            epochs: self.epochs.iter().filter(|(_, start)| *start < self.flushed_end).copied().collect(),
            lost_from: self.lost_from(),
            leftovers: self.has_leftovers(),
        }
    }

    /// The log that a checkpoint describes. What follows is in the journal: see [`Log::replay`].
    pub fn restore(id: PartitionId, name: Arc<str>, settings: Arc<Settings>, from: Restored) -> Log {
        let mut log = Log::new(id, name, settings);
        // The start may lie above: records can be deleted before they are in a segment.
        assert!(from.start >= 0 && from.flushed_end >= 0);
        log.start = from.start;
        log.end = from.flushed_end;
        log.durable_end = from.flushed_end;
        log.commit_end = from.commit_end.clamp(0, from.flushed_end);
        log.flushed_end = from.flushed_end;
        log.unclosed = from.segments.iter().find(|segment| !segment.indexed).map_or(log.end, |segment| segment.base);
        log.bytes = from.segments.iter().map(|segment| u64::from(segment.bytes)).sum();
        log.segments = from.segments.into();
        log.producers = from.producers;
        log.epoch = from.epochs.last().map_or(Epoch(0), |(epoch, _)| *epoch);
        log.epochs = from.epochs;
        // Batches before that may still be in the journal.
        log.leftovers = from.leftovers;
        log.is_lost = from.lost_from.is_some_and(|offset| offset <= log.end);
        log
    }

    /// Adds a batch that the journal holds. One that the log has already changes nothing. Returns `false` if batches are
    /// missing before it.
    pub fn replay(&mut self, at: Placement, info: &BatchInfo, bytes: Bytes, seen_ms: TimestampMs) -> bool {
        if at.offset + i64::from(info.last_offset_delta) < self.end {
            return true;
        }
        if at.offset != self.end || self.is_lost {
            return false;
        }
        self.apply(at, info, bytes, 0, seen_ms);
        self.durable_end = self.end;
        true
    }
}
