//! A log as a follower keeps it: cut off where its leader's log is another one, and with offsets that are passed over.
//!
//! [`Log::find_cut`] and [`Log::search_cut`] find out where a log is cut: between two batches, which may have left memory.
//! [`Log::truncate`] cuts it; a [`Cut`] goes into the journal with all that a replay needs, so that a start reads no segment.

use super::{Batch, DiskRead, Log, Segment, SegmentId};
use crate::types::{Offset, TimestampMs};
use crate::wire::batch::batches;
use bytes::{BufMut, Bytes, BytesMut};
use std::cmp::Ordering;

/// What the journal holds of a cut besides its offset; a CRC-32C is its end.
const CUT_BYTES: usize = 8 + 4 + 8 + 8 + 4;
/// Bytes of what the journal says of offsets that are passed over.
pub const SKIP_BYTES: usize = 8 + 4;

/// Where a log is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The log's end afterwards: that of the last batch that stays.
    pub end: Offset,
    /// The base offset of the segment that is cut, or ends there. Of later segments nothing stays.
    pub segment: Offset,
    /// So many bytes of it stay.
    pub position: u32,
    /// The largest timestamp in what stays of the segment; -1 if nothing stays.
    pub timestamp_max: TimestampMs,
    /// The last offset of the batch that has it.
    pub timestamp_offset: Offset,
}

/// Bytes behind a journal entry's header are not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsound;

impl Cut {
    /// The payload of the journal's entry; its offset is the cut's end.
    pub fn encode(&self) -> Bytes {
        let mut b = BytesMut::with_capacity(CUT_BYTES);
        b.put_i64_le(self.segment);
        b.put_u32_le(self.position);
        b.put_i64_le(self.timestamp_max);
        b.put_i64_le(self.timestamp_offset);
        sealed(b, CUT_BYTES)
    }

    /// The cut of a journal's entry.
    pub fn decode(end: Offset, payload: &[u8]) -> Result<Cut, Unsound> {
        let b = unsealed::<CUT_BYTES>(payload)?;
        Ok(Cut {
            end,
            segment: long(b, 0),
            position: u32::from_le_bytes(b[8..12].try_into().expect("four bytes")),
            timestamp_max: long(b, 12),
            timestamp_offset: long(b, 20),
        })
    }
}

/// The payload of the journal's entry for offsets from `from` on that are passed over up to the entry's own.
pub fn encode_skip(from: Offset) -> Bytes {
    let mut b = BytesMut::with_capacity(SKIP_BYTES);
    b.put_i64_le(from);
    sealed(b, SKIP_BYTES)
}

/// The first offset that is passed over, from the payload of a journal's entry.
pub fn decode_skip(payload: &[u8]) -> Result<Offset, Unsound> {
    Ok(long(unsealed::<SKIP_BYTES>(payload)?, 0))
}

fn sealed(mut b: BytesMut, bytes: usize) -> Bytes {
    let crc = crc32c::crc32c(&b);
    b.put_u32_le(crc);
    assert_eq!(b.len(), bytes);
    b.freeze()
}

fn unsealed<const BYTES: usize>(payload: &[u8]) -> Result<&[u8], Unsound> {
    let (content, crc) = payload.split_last_chunk::<4>().ok_or(Unsound)?;
    let sound = payload.len() == BYTES && crc32c::crc32c(content) == u32::from_le_bytes(*crc);
    sound.then_some(content).ok_or(Unsound)
}

fn long(b: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(b[at..at + 8].try_into().expect("eight bytes"))
}

/// A search for the place where a log is cut, batch by batch from the last entry of an index before it.
#[derive(Clone, Debug)]
pub struct CutSearch {
    to: Offset,
    /// The log's.
    start: Offset,
    /// Of what has been passed over.
    cut: Cut,
    /// An offset of the next batch to look at.
    next: Offset,
    found: bool,
}

impl CutSearch {
    /// A batch that begins where the search is.
    fn pass(&mut self, last: Offset, bytes: u32, timestamp_max: TimestampMs) {
        assert!(!self.found);
        if last >= self.to {
            self.finish();
            return;
        }
        if timestamp_max > self.cut.timestamp_max {
            (self.cut.timestamp_max, self.cut.timestamp_offset) = (timestamp_max, last);
        }
        self.cut.position += bytes;
        self.cut.end = last + 1;
        self.next = last + 1;
    }

    fn finish(&mut self) {
        self.found = true;
        // The batch that the log's start is in goes as a whole.
        self.cut.end = self.cut.end.max(self.start);
    }

    /// Takes batches that were read where [`Log::search_cut`] said.
    pub fn feed(&mut self, parts: &[Bytes]) {
        for batch in parts.iter().flat_map(|part| batches(part)) {
            if !self.found {
                self.pass(batch.header.last_offset(), batch.bytes.len() as u32, batch.header.max_timestamp.get());
            }
        }
    }

    /// Where the log is cut; `None` while that is not known.
    pub fn cut(&self) -> Option<&Cut> {
        self.found.then_some(&self.cut)
    }
}

/// What a truncation took away.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Truncated {
    /// Segments of which nothing stays, with files that go as those below the log's start do.
    pub segments: Vec<SegmentId>,
    /// Batches that were in memory.
    pub batches: usize,
    /// Bytes of these batches.
    pub bytes: usize,
}

impl Log {
    /// Begins to look for the place where the log is cut so that no record from `to` on stays.
    pub fn find_cut(&self, to: Offset) -> CutSearch {
        assert!(to >= self.start && to <= self.end, "a log is cut between its start and its end");
        let end = if to == self.end { to } else { to.min(self.skipped_from.unwrap_or(self.end)) };
        let none = Cut { end, segment: end, position: 0, timestamp_max: -1, timestamp_offset: -1 };
        if to == self.end {
            return CutSearch { to, start: self.start, cut: none, next: to, found: true };
        }
        let at = self.segments.partition_point(|segment| segment.base < to);
        let Some(segment) = at.checked_sub(1).map(|at| &self.segments[at]) else {
            return CutSearch { to, start: self.start, cut: none, next: to, found: true };
        };
        let first = Cut { end: segment.base, segment: segment.base, ..none };
        // A batch that stays at least, so that it is known where it ends.
        match segment.index().iter().rfind(|entry| entry.offset < to) {
            None => CutSearch { to, start: self.start, cut: first, next: segment.base, found: false },
            Some(entry) => {
                let (timestamp_max, timestamp_offset) = (entry.timestamp_max, entry.timestamp_offset);
                let cut = Cut { position: entry.position, timestamp_max, timestamp_offset, ..first };
                CutSearch { to, start: self.start, cut, next: entry.offset, found: false }
            }
        }
    }

    /// Searches on in memory; what has left it is to be read, from the batch that holds the offset, and fed to the search.
    /// `None`: the search is over.
    pub fn search_cut(&self, search: &mut CutSearch) -> Option<(DiskRead, Offset)> {
        let segment = self.segments.iter().find(|segment| segment.base == search.cut.segment);
        while let (Some(segment), false) = (segment, search.found) {
            assert!(search.cut.position <= segment.bytes, "the log was cut since");
            if search.cut.position == segment.bytes {
                search.finish();
                break;
            }
            let at = self.tail.partition_point(|batch| batch.last < search.next);
            let held = self.tail.get(at).filter(|batch| batch.segment == segment.id());
            match held.filter(|batch| batch.position == search.cut.position) {
                Some(batch) => search.pass(batch.last, batch.bytes.len() as u32, batch.timestamp_max),
                None => {
                    let (position, position_end) = (search.cut.position, self.position_flushed(segment));
                    assert!(position < position_end, "what is in no segment is in memory");
                    let read =
                        DiskRead { segment: segment.id(), position, position_end, indexed: false, timestamp: None };
                    return Some((read, search.next));
                }
            }
        }
        None
    }

    /// The same cut as the journal tells it. Where nothing of a segment stays it names the end of the one before: a checkpoint may
    /// know that one longer, with what came after the cut.
    pub fn told(&self, cut: &Cut) -> Cut {
        let before = self.segments.iter().rfind(|segment| segment.base < cut.segment);
        match before.filter(|_| cut.position == 0) {
            None => *cut,
            Some(before) => Cut {
                end: cut.end,
                segment: before.base,
                position: before.bytes,
                timestamp_max: before.timestamp_max,
                timestamp_offset: before.timestamp_offset,
            },
        }
    }

    /// Writes of its files are under way that a truncation would come into.
    pub fn is_busy(&self) -> bool {
        self.flushing || self.closing > 0
    }

    /// Cuts the log off. Consumers may have read what goes if it was committed: the high watermark goes down with the end.
    pub fn truncate(&mut self, cut: &Cut) -> Truncated {
        assert!(!self.is_busy(), "nothing is written of a log that is cut");
        assert!(cut.end >= self.start && cut.end <= self.end && !self.is_lost);
        let truncated = self.cut_off(cut, false);
        if cfg!(debug_assertions) {
            self.check();
        }
        truncated
    }

    /// A cut that the journal tells of: one that came after all that the log has from a checkpoint.
    pub fn replay_truncation(&mut self, cut: &Cut) -> Truncated {
        assert!(!self.is_busy());
        self.cut_off(cut, true)
    }

    fn cut_off(&mut self, cut: &Cut, replayed: bool) -> Truncated {
        self.producers.truncate(cut.end);
        self.epochs.retain(|(_, start)| *start < cut.end);
        let mut truncated = Truncated::default();
        if cut.end >= self.end {
            return truncated;
        }
        while let Some(batch) = self.tail.pop_back_if(|batch| batch.last >= cut.end) {
            truncated.batches += 1;
            truncated.bytes += batch.bytes.len();
            if self.tail.len() >= self.tail_flushed {
                self.unflushed_bytes -= batch.bytes.len();
            }
        }
        self.tail_flushed = self.tail_flushed.min(self.tail.len());
        let goes = |segment: &Segment| match segment.base.cmp(&cut.segment) {
            Ordering::Less => segment.base >= cut.end,
            Ordering::Equal => cut.position == 0,
            Ordering::Greater => true,
        };
        while let Some(segment) = self.segments.pop_back_if(|segment| goes(segment)) {
            self.bytes -= u64::from(segment.bytes);
            // A process before this one may have written a file that no checkpoint names.
            if replayed || segment.base < self.flushed_end {
                self.dropped.insert(segment.base, segment.generation);
                truncated.segments.push(segment.id());
            }
        }
        if let Some(last) = self.segments.back_mut() {
            if last.base == cut.segment && (1..last.bytes).contains(&cut.position) {
                let written = self.flushed_end > cut.end;
                self.bytes -= u64::from(last.bytes - cut.position);
                last.cut(cut.position, (cut.timestamp_max, cut.timestamp_offset), written);
                self.stale = self.stale.or(written.then(|| last.id()));
            }
            // It is written again, and then closed again.
            last.indexed = false;
            self.unclosed = self.unclosed.min(last.base);
        } else {
            self.unclosed = self.unclosed.min(cut.end);
        }
        self.end = cut.end;
        self.durable_end = self.durable_end.min(cut.end);
        self.commit_end = self.commit_end.min(cut.end);
        self.flushed_end = self.flushed_end.min(cut.end);
        // Only a replay goes below it: a later entry then moves the start.
        self.start = self.start.min(cut.end);
        // A batch goes as a whole, also one that the log's start is in.
        let records_end = self.tail.back().map_or(self.flushed_end, |last| last.last + 1);
        self.skipped_from = (records_end < cut.end).then_some(records_end);
        truncated
    }

    /// Passes over the offsets up to `to`: the leader has no records there. The batch that follows is in the journal only with
    /// `journal`, the block that says so.
    pub fn skip(&mut self, to: Offset, journal: u64) {
        assert!(to > self.end && !self.is_lost, "offsets are passed over at the end");
        assert!(self.tail.back().is_none_or(|last| last.journal <= journal));
        if self.skipped_from.is_none() {
            self.skipped_from = Some(self.end);
        }
        self.end = to;
    }

    /// Offsets that the journal says were passed over; `false` if batches are missing before them.
    pub fn replay_skip(&mut self, from: Offset, to: Offset) -> bool {
        if to <= self.end {
            return true;
        }
        if from > self.end || self.is_lost {
            return false;
        }
        self.skip(to, 0);
        self.durable_end = self.end;
        true
    }

    /// The files of a segment that was cut off are gone: its name may be used again.
    pub fn dropped(&mut self, segment: SegmentId) {
        if self.dropped.get(&segment.base) == Some(&segment.generation) {
            self.dropped.remove(&segment.base);
        }
    }

    /// A segment from `base` on whose files are not those of one that was cut off.
    pub(super) fn new_segment(&self, base: Offset) -> Segment {
        let generation = self.dropped.get(&base).map_or(0, |generation| generation + 1);
        Segment::new(SegmentId::new(base, generation))
    }

    /// Gaps between batches that are in no segment yet: each is told to the journal again when they are.
    pub fn unflushed_skips(&self) -> usize {
        let mut end = self.flushed_end;
        let mut gap = |batch: &Batch| std::mem::replace(&mut end, batch.last + 1) < batch.base;
        self.tail.range(self.tail_flushed..).map(|batch| usize::from(gap(batch))).sum()
    }

    /// What must hold at any time.
    pub fn check(&self) {
        assert!(self.start >= 0 && self.start <= self.end);
        assert!(self.flushed_end <= self.end && self.commit_end <= self.end);
        assert!(self.durable_end <= self.end && self.tail_flushed <= self.tail.len());
        assert!(self.skipped_from.is_none_or(|from| from < self.end));
        let unflushed: usize = self.tail.range(self.tail_flushed..).map(|batch| batch.bytes.len()).sum();
        assert_eq!(unflushed, self.unflushed_bytes);
        assert_eq!(self.bytes, self.segments.iter().map(|segment| u64::from(segment.bytes)).sum::<u64>());
        let mut end = self.flushed_end;
        for batch in self.tail.range(self.tail_flushed..) {
            assert!(batch.base >= end && batch.last >= batch.base);
            end = batch.last + 1;
        }
        let records_end = self.skipped_from.unwrap_or(self.end);
        assert!(end == records_end, "{}: records end at {end} or {records_end}", self.name);
        if let (Some(batch), Some(segment)) = (self.tail.back(), self.segments.back()) {
            assert_eq!(batch.segment, segment.id());
            assert_eq!(batch.position + batch.bytes.len() as u32, segment.bytes);
        }
        assert!(
            self.epochs.is_sorted()
                && self.epochs.last().is_none_or(|(epoch, start)| { *epoch <= self.epoch && *start < self.end })
        );
    }
}
