//! One partition's log: segments on disk, the newest batches in memory, producer states, epochs.
//!
//! A pure machine. It decides where a batch goes ([`Log::decide`]) and changes only by [`Log::apply`], live and at
//! recovery. Batches are written to segment files behind the journal: [`Log::plan_flush`] returns the next write,
//! [`Log::flushed`] says that it is done. The log knows nothing of files' handles, sockets, clocks or other partitions.
//!
//! ```text
//!  start            tail (in memory) begins        flushed_end      durable_end      end
//!    |---- on disk only ----|---- disk and memory ----|---- journal and memory ----|---|
//! ```

#![warn(missing_docs)]

pub mod appender;
pub mod check;
pub mod directory;
pub mod find;
pub mod handles;
pub mod index;
mod producers;
pub mod reading;
mod records;
mod restore;
mod retention;
pub mod scan;
mod segment;
mod truncation;

pub use producers::{
    BATCHES_MAX, Producer, ProducerBatch, ProducerStamp, Producers, SequenceError, Verdict as SequenceVerdict,
};
pub use restore::Restored;
pub use retention::Expired;
pub use segment::{FILE_ENDINGS, IndexEntry, Segment, SegmentId};
pub use truncation::{Cut, CutSearch, SKIP_BYTES, Truncated, Unsound, decode_skip, encode_skip};

use crate::types::{Epoch, Offset, PartitionId, TimestampMs};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A segment write holds at most this many bytes, but one batch at least.
pub const FLUSH_BYTES_MAX: usize = 1 << 20;

/// What a log obeys of its topic's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`
    pub index_bytes_max: usize,
    /// `index.interval.bytes`
    pub index_interval: u32,
    /// `retention.ms`; `None`: nothing goes because it is old.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None`: nothing goes because there is too much.
    pub retention_bytes: Option<u64>,
    /// `file.delete.delay.ms`
    pub delete_delay_ms: u64,
    /// Whether records count as committed once they are in memory (`ack.durability=memory`).
    pub ack_memory: bool,
}

/// What the log needs to know of a batch; its bytes stay opaque.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchInfo {
    /// How many records it has.
    pub records: i32,
    /// Offset of the last record, less that of the first.
    pub last_offset_delta: i32,
    /// The latest time of a record; -1: none has one.
    pub timestamp_max: TimestampMs,
    /// Who produced it, if the producer is idempotent.
    pub producer: Option<ProducerStamp>,
}

/// Where a batch goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Offset of its first record.
    pub offset: Offset,
    /// Epoch of the leader that appends it.
    pub epoch: Epoch,
    /// It begins a new segment.
    pub roll: bool,
}

/// A batch in memory.
#[derive(Clone, Debug)]
struct Batch {
    base: Offset,
    last: Offset,
    epoch: Epoch,
    timestamp_max: TimestampMs,
    segment: SegmentId,
    position: u32,
    /// The journal block that makes it durable.
    journal: u64,
    bytes: Bytes,
}

/// A write of batches to a segment's file.
#[derive(Debug)]
pub struct Flush {
    /// The segment that it is of.
    pub segment: SegmentId,
    /// Where in the segment's file the batches go.
    pub position: u32,
    /// Whole batches, in order.
    pub parts: Vec<Bytes>,
    /// Bytes of all of them.
    pub bytes: usize,
    /// The offset after the last batch that it writes.
    pub offset_end: Offset,
    /// What the file holds from the position on was cut off: it is shortened first.
    pub cut: bool,
}

/// A closed segment whose file is to be cut to its length and given its index files.
#[derive(Debug)]
pub struct Close {
    /// The segment that it is of.
    pub segment: SegmentId,
    /// The length to which its file is cut.
    pub bytes: u32,
    /// Content of its `.index`.
    pub index: Bytes,
    /// Content of its `.timeindex`.
    pub timeindex: Bytes,
}

/// A place in a segment's file from which older batches are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskRead {
    /// The segment that it is of.
    pub segment: SegmentId,
    /// Begins a batch at or before the one that is wanted.
    pub position: u32,
    /// What may be read of the segment.
    pub position_end: u32,
    /// The files `.index` and `.timeindex` may lead closer to what is wanted than `position`.
    pub indexed: bool,
    /// Batches without a timestamp of this or later may be left out at the start.
    pub timestamp: Option<TimestampMs>,
}

/// What there is from an offset on.
#[derive(Clone, PartialEq, Debug)]
pub enum Read {
    /// Whole batches, the first of which holds the offset.
    Memory {
        /// The batches, in order.
        parts: Vec<Bytes>,
        /// Bytes of all of them.
        bytes: usize,
    },
    /// The batches are in a segment's file alone.
    Disk(DiskRead),
    /// The offset is the end of what may be read.
    Empty,
    /// Records from the log's end on are lost: see [`Log::lost_from`].
    Lost,
    /// The offset is below the log's start or above what may be read.
    OutOfRange,
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    id: PartitionId,
    name: Arc<str>,
    settings: Arc<Settings>,
    epoch: Epoch,
    start: Offset,
    end: Offset,
    durable_end: Offset,
    /// The offset after the last record that consumers may read: the high watermark.
    commit_end: Offset,
    flushed_end: Offset,
    segments: VecDeque<Segment>,
    /// Of all segments.
    bytes: u64,
    /// The last segment takes no more batches.
    sealed: bool,
    /// Base of the oldest segment that has not been closed.
    unclosed: Offset,
    tail: VecDeque<Batch>,
    /// Batches at the front of the tail that are in segments.
    tail_flushed: usize,
    unflushed_bytes: usize,
    flushing: bool,
    /// Segments that are being closed.
    closing: usize,
    /// Where the last batch ends, if offsets up to the log's end were passed over.
    skipped_from: Option<Offset>,
    /// Segments that were cut off, by base offset, with the generation of their files, as long as these may be there.
    dropped: BTreeMap<Offset, u32>,
    /// Before this start there may have been such files.
    leftovers: bool,
    /// The segment whose file may hold batches that were cut off, behind those that count.
    stale: Option<SegmentId>,
    producers: Producers,
    /// Leader epochs and the offset at which each began, ascending.
    epochs: Vec<(Epoch, Offset)>,
    /// Records from the end on were acknowledged and are lost.
    is_lost: bool,
}

impl Log {
    /// An empty log.
    pub fn new(id: PartitionId, name: Arc<str>, settings: Arc<Settings>) -> Log {
        Log {
            id,
            name,
            settings,
            epoch: Epoch(0),
            start: 0,
            end: 0,
            durable_end: 0,
            commit_end: 0,
            flushed_end: 0,
            segments: VecDeque::new(),
            bytes: 0,
            sealed: false,
            unclosed: 0,
            tail: VecDeque::new(),
            tail_flushed: 0,
            unflushed_bytes: 0,
            flushing: false,
            closing: 0,
            skipped_from: None,
            dropped: BTreeMap::new(),
            leftovers: false,
            stale: None,
            producers: Producers::default(),
            epochs: Vec::new(),
            is_lost: false,
        }
    }

    /// The partition, by its topic's id.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The partition's directory, `TOPIC-PARTITION`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the log obeys at the moment.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The topic's settings have changed.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// The first offset that may be read.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Where the log ends because what followed was acknowledged and cannot be read any more. Nothing may be appended there:
    /// the offsets have been used.
    pub fn lost_from(&self) -> Option<Offset> {
        self.is_lost.then_some(self.end)
    }

    /// Notes that what followed the log's end is lost. The log starts at its end if records beyond it were deleted.
    pub fn lose(&mut self) {
        assert!(self.durable_end == self.end, "only what a recovery has found is in the log");
        self.is_lost = true;
        self.start = self.start.min(self.end);
    }

    /// The offset after the last record that is on disk, in the journal or in a segment.
    pub fn durable_end(&self) -> Offset {
        self.durable_end
    }

    /// The offset after the last one that consumers may read.
    pub fn high_watermark(&self) -> Offset {
        self.commit_end
    }

    /// The leader's epoch: batches are stamped with it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch of the last batch; 0 before the first.
    pub fn epoch_last(&self) -> Epoch {
        self.epochs.last().map_or(Epoch::default(), |(epoch, _)| *epoch)
    }

    /// The partition has a leader of this epoch; one that is older than the log knows changes nothing.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        assert!(epoch.known().is_some());
        self.epoch = self.epoch.max(epoch);
    }

    /// The offset after the last record that this broker keeps as safely as the topic wants it.
    pub fn acknowledged_end(&self) -> Offset {
        if self.settings.ack_memory { self.end } else { self.durable_end }
    }

    /// The offset after the last record of which it is decided whether it counts (KIP-98).
    pub fn last_stable(&self) -> Offset {
        self.commit_end
    }

    /// Files of segments that were cut off may be there, and no segment of the log names them.
    pub fn has_leftovers(&self) -> bool {
        self.leftovers || !self.dropped.is_empty()
    }

    /// The states of idempotent producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The same, to be changed.
    pub fn producers_mut(&mut self) -> &mut Producers {
        &mut self.producers
    }

    /// The segments, oldest first; the last one is active.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Bytes of all segments, also those not yet written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the batches in memory.
    pub fn held_bytes(&self) -> usize {
        self.tail.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// Bytes of the batches that are in no segment's file yet.
    pub fn unflushed_bytes(&self) -> usize {
        self.unflushed_bytes
    }

    /// How many batches are in no segment's file yet.
    pub fn unflushed_batches(&self) -> usize {
        self.tail.len() - self.tail_flushed
    }

    /// Whether a write to a segment is under way.
    pub fn is_flushing(&self) -> bool {
        self.flushing
    }

    /// Whether every batch is in a segment's file.
    pub fn is_flushed(&self) -> bool {
        self.flushed_end == self.end
    }

    /// The journal block that holds the oldest batch that is in no segment yet.
    pub fn journal_oldest(&self) -> Option<u64> {
        self.tail.get(self.tail_flushed).map(|batch| batch.journal)
    }

    /// Where a batch goes that is `bytes` long and arrives at `wall_ms`.
    pub fn decide(&self, info: &BatchInfo, bytes: usize, wall_ms: TimestampMs) -> Placement {
        self.decide_at(self.end, info, bytes, wall_ms)
    }

    /// As [`Log::decide`], of a batch that gets this offset.
    pub fn decide_at(&self, offset: Offset, info: &BatchInfo, bytes: usize, wall_ms: TimestampMs) -> Placement {
        assert!(offset >= self.end);
        assert!(info.records > 0 && info.last_offset_delta >= 0 && bytes > 0);
        let roll = self.segments.back().is_none_or(|active| {
            let last = offset + i64::from(info.last_offset_delta);
            self.sealed
                || active.bytes as usize + bytes > self.settings.segment_bytes as usize
                || self.is_over(active, info.timestamp_max, wall_ms)
                || last - active.base > i64::from(i32::MAX)
                || (active.index().len() + 1) * 12 > self.settings.index_bytes_max
        });
        Placement { offset, epoch: self.epoch, roll }
    }

    /// Adds a batch at the end: the only way in which one gets there.
    pub fn apply(&mut self, at: Placement, info: &BatchInfo, bytes: Bytes, journal: u64, seen_ms: TimestampMs) {
        assert_eq!(at.offset, self.end, "batches follow each other");
        assert!(!self.is_lost, "offsets behind lost records are not used again");
        assert!(!bytes.is_empty() && self.tail.back().is_none_or(|last| last.journal <= journal));
        let last = at.offset + i64::from(info.last_offset_delta);
        if at.roll || self.segments.is_empty() {
            // Offsets that were passed over before it are looked for in it.
            let from = self.skipped_from.filter(|from| last - from <= i64::from(i32::MAX));
            self.segments.push_back(self.new_segment(from.unwrap_or(at.offset)));
            self.sealed = false;
        }
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < at.epoch) {
            self.epochs.push((at.epoch, at.offset));
        }
        let segment = self.segments.back_mut().expect("there is an active segment");
        let (id, position) = (segment.id(), segment.bytes);
        segment.push(at.offset, last, bytes.len() as u32, info.timestamp_max, self.settings.index_interval);
        segment.touch(seen_ms);
        self.bytes += bytes.len() as u64;
        if let Some(stamp) = &info.producer {
            self.producers.apply(stamp, at.offset, info.timestamp_max, seen_ms);
        }
        self.unflushed_bytes += bytes.len();
        self.tail.push_back(Batch {
            base: at.offset,
            last,
            epoch: at.epoch,
            timestamp_max: info.timestamp_max,
            segment: id,
            position,
            journal,
            bytes,
        });
        self.epoch = self.epoch.max(at.epoch);
        self.skipped_from = None;
        self.end = last + 1;
    }

    /// Everything before `offset` is durable.
    pub fn durable(&mut self, offset: Offset) {
        assert!(offset <= self.end);
        self.durable_end = self.durable_end.max(offset);
    }

    /// Consumers may read up to `offset`: as many replicas as must have them have the records before it.
    pub fn commit(&mut self, offset: Offset) {
        assert!(offset <= self.end);
        self.commit_end = self.commit_end.max(offset);
    }

    /// Work for the shell: a write of the next batches of one segment, durable ones only. There is one write at a time.
    pub fn plan_flush(&mut self) -> Option<Flush> {
        if self.flushing {
            return None;
        }
        let first = self.tail.get(self.tail_flushed)?;
        let mut flush = Flush {
            segment: first.segment,
            position: first.position,
            parts: Vec::new(),
            bytes: 0,
            offset_end: self.flushed_end,
            cut: self.stale == Some(first.segment),
        };
        for batch in self.tail.range(self.tail_flushed..) {
            let fits = flush.parts.is_empty() || flush.bytes + batch.bytes.len() <= FLUSH_BYTES_MAX;
            if batch.last >= self.durable_end || batch.segment != flush.segment || !fits {
                break;
            }
            flush.bytes += batch.bytes.len();
            flush.parts.push(batch.bytes.clone());
            flush.offset_end = batch.last + 1;
        }
        if flush.parts.is_empty() {
            return None;
        }
        self.flushing = true;
        Some(flush)
    }

    /// The write that ended at `offset_end` is in the file. Returns the segments that can be closed: those that have all
    /// their batches and that another one follows.
    pub fn flushed(&mut self, offset_end: Offset) -> Vec<Close> {
        assert!(self.flushing && offset_end > self.flushed_end && offset_end <= self.end);
        (self.flushing, self.stale) = (false, None);
        self.flushed_end = offset_end;
        while let Some(batch) = self.tail.get(self.tail_flushed).filter(|batch| batch.last < offset_end) {
            self.unflushed_bytes -= batch.bytes.len();
            self.tail_flushed += 1;
            // One that DeleteRecords has taken away has its segment until it is written.
            let segment = self.segments.iter_mut().rfind(|segment| segment.id() == batch.segment);
            segment.expect("a batch is in a segment").written(batch.last, batch.timestamp_max);
        }
        let mut closes = Vec::new();
        let mut at = self.segments.partition_point(|segment| segment.base < self.unclosed);
        while self.segments.get(at + 1).is_some_and(|next| next.base <= offset_end) {
            closes.push(self.close(at));
            at += 1;
            self.unclosed = self.segments[at].base;
        }
        self.closing += closes.len();
        closes
    }

    fn close(&mut self, at: usize) -> Close {
        let segment = &mut self.segments[at];
        let (index, timeindex) = segment.index_files(self.settings.index_bytes_max);
        segment.thin_out();
        Close { segment: segment.id(), bytes: segment.bytes, index, timeindex }
    }

    /// A segment's closing has ended: well, if its index files are there.
    pub fn closed(&mut self, id: SegmentId, ok: bool) {
        self.closing = self.closing.checked_sub(1).expect("a segment is being closed");
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id() == id) {
            segment.indexed = ok;
        }
    }

    /// The write failed; its batches wait for another one.
    pub fn flush_failed(&mut self) {
        assert!(self.flushing);
        self.flushing = false;
    }

    /// The batches that are in no segment yet, to be written to the journal again: each with the offset from which on others
    /// were passed over before it, if any were. What is returned is the first block of what is written, and the bytes.
    pub fn carry(&mut self, mut write: impl FnMut(Placement, Option<Offset>, &Bytes) -> (u64, Bytes)) {
        assert!(!self.flushing);
        let mut end = self.flushed_end;
        for batch in self.tail.range_mut(self.tail_flushed..) {
            let at = Placement { offset: batch.base, epoch: batch.epoch, roll: batch.position == 0 };
            let skipped = (end < batch.base).then_some(end);
            let (journal, bytes) = write(at, skipped, &batch.bytes);
            assert!(journal >= batch.journal && bytes.len() == batch.bytes.len(), "a later block holds the same batch");
            (batch.journal, batch.bytes) = (journal, bytes);
            end = batch.last + 1;
        }
    }

    /// Drops the oldest batch from memory if it is in a segment; returns its bytes.
    pub fn evict(&mut self) -> Option<usize> {
        if self.tail_flushed == 0 {
            return None;
        }
        assert!(self.tail_flushed <= self.tail.len());
        self.tail_flushed -= 1;
        let batch = self.tail.pop_front().expect("flushed batches are in the tail");
        if self.tail.is_empty() {
            self.tail = VecDeque::new();
        }
        Some(batch.bytes.len())
    }

    /// The batches from `offset` on and below `limit`, at most `bytes_max` of them but one at least.
    pub fn read(&self, offset: Offset, limit: Offset, bytes_max: usize) -> Read {
        assert!(limit <= self.end);
        if self.is_lost && offset >= self.end {
            return Read::Lost;
        }
        if offset < self.start || offset > limit {
            return Read::OutOfRange;
        }
        if offset == limit {
            return Read::Empty;
        }
        // Where offsets were passed over before what is in no segment, there is nothing to find on disk.
        let unflushed = |first: &Batch| self.tail_flushed == 0 && self.flushed_end <= offset && first.last >= offset;
        if self.tail.front().is_some_and(|first| first.base <= offset || unflushed(first)) {
            return self.read_memory(offset, limit, bytes_max);
        }
        let at = self.segments.partition_point(|segment| segment.base <= offset);
        assert!(at > 0, "a segment begins at or before the log's start");
        let segment = &self.segments[at - 1];
        Read::Disk(DiskRead {
            segment: segment.id(),
            position: segment.position_of(offset),
            position_end: self.position_flushed(segment),
            indexed: segment.indexed,
            timestamp: None,
        })
    }

    fn read_memory(&self, offset: Offset, limit: Offset, bytes_max: usize) -> Read {
        let from = self.tail.partition_point(|batch| batch.last < offset);
        let mut parts = Vec::new();
        let mut bytes = 0;
        for batch in self.tail.range(from..) {
            if batch.last >= limit || (!parts.is_empty() && bytes + batch.bytes.len() > bytes_max) {
                break;
            }
            bytes += batch.bytes.len();
            parts.push(batch.bytes.clone());
            if bytes >= bytes_max {
                break;
            }
        }
        if parts.is_empty() { Read::Empty } else { Read::Memory { parts, bytes } }
    }

    /// Bytes of `segment` that are in its file.
    fn position_flushed(&self, segment: &Segment) -> u32 {
        match self.tail.get(self.tail_flushed) {
            Some(batch) if batch.segment == segment.id() => batch.position,
            _ => segment.bytes,
        }
    }

    /// Where a search begins for the first record with a timestamp of `timestamp` or later: an offset at or before it, and
    /// the batches from there on, in memory or in one segment. `None` if no record has such a timestamp.
    pub fn find_time(&self, timestamp: TimestampMs) -> Option<(Offset, Read)> {
        let segment = self.segments.iter().find(|s| s.timestamp_max >= timestamp && s.timestamp_max >= 0)?;
        let position = segment.position_of_time(timestamp);
        let at = segment.index().partition_point(|entry| entry.position <= position);
        let offset = if at == 0 { segment.base } else { segment.index()[at - 1].offset };
        let offset = offset.max(self.start);
        let mut read = self.read(offset, self.high_watermark().max(offset), usize::MAX);
        if let Read::Disk(read) = &mut read {
            read.timestamp = Some(timestamp);
        }
        Some((offset, read))
    }

    /// The largest timestamp and the last offset of the batch that has it; `None` without records.
    pub fn timestamp_max(&self) -> Option<(TimestampMs, Offset)> {
        let newest = self.segments.iter().rev().max_by_key(|segment| segment.timestamp_max)?;
        (newest.timestamp_max >= 0).then_some((newest.timestamp_max, newest.timestamp_offset))
    }

    /// The end offset of `epoch` (KIP-101): `(epoch, end)` of the largest epoch not above it that the log has.
    pub fn epoch_end(&self, epoch: Epoch) -> Option<(Epoch, Offset)> {
        if epoch == self.epoch {
            return Some((epoch, self.end));
        }
        let at = self.epochs.partition_point(|(known, _)| *known <= epoch);
        if at == 0 || epoch > self.epoch {
            return None;
        }
        Some((self.epochs[at - 1].0, self.epochs.get(at).map_or(self.end, |(_, start)| *start)))
    }
}

#[cfg(test)]
mod tests;
