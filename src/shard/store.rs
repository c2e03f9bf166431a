//! What one core keeps: its journal and its partitions' logs, and the order in which bytes reach the disk.
//!
//! A pure machine between the journal and the logs, which do not know each other:
//!
//! 1. [`Store::append`] places a batch and adds it to the journal's open block.
//! 2. [`Store::plan`] returns work for the disk: the next block, segment writes behind it, a checkpoint when the ring of
//!    journal files runs short. [`Store::done`] takes each completion.
//! 3. [`Store::take_advanced`] names the partitions whose durable end has moved.
//!
//! A journal file is recycled after this sequence, each step after the one before has completed: every batch in it is
//! written to its segment (a small one is carried forward in the journal instead), the durable state of all logs is
//! captured, the file system is synced, what was carried forward is durable, the checkpoint is in place. No step waits for
//! room in the ring, which only the last one brings.

use super::checkpoint::{CheckpointBuilder, CheckpointHead};
use crate::journal::{BlockWrite, ENTRY_HEADER_BYTES, Entry, EntryKind, FileIndex, Journal};
use crate::log::{BatchInfo, Close, Flush, Log, Placement, Restored, SequenceError, SequenceVerdict, Settings};
use crate::types::{Now, Offset, PartitionId, Time, Uuid};
use crate::wire::batch::{checksum, patch_base_offset_and_epoch};
use crate::wire::error::ErrorCode;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// A partition is written to its segment when this much waits.
const FLUSH_BYTES: usize = 256 << 10;
/// Segment writes under way at the same time.
const FLUSHES_MAX: usize = 4;
/// Of a partition with less than this, batches are carried forward in the journal instead of written as a partial block.
const CARRY_BYTES_MAX: usize = 16 << 10;
/// Partitions looked at in one turn by work that concerns many.
const PARTITIONS_PER_TURN: usize = 256;
/// Batches up to this size are copied together, so that none of them keeps a large receive buffer alive.
const SMALL_BATCH_BYTES: usize = 32 << 10;
const ARENA_BYTES: usize = 256 << 10;
/// A partition whose segment could not be written is tried again after this time.
const RETRY_MS: u64 = 1000;

/// A log by its place in the store; places are not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LogIndex(pub u32);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of batches to keep in memory (`core.memory.bytes`).
    pub memory_bytes: usize,
    /// Cores of the node, as noted in checkpoints.
    pub cores: u16,
    pub core: u16,
}

/// Work for the disk. Each is answered by one [`Done`].
#[derive(Debug)]
pub enum DiskOp {
    /// Durable when done.
    JournalWrite(BlockWrite),
    JournalPrepare {
        file: FileIndex,
        bytes: u64,
    },
    SegmentWrite {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
        segment_bytes: u32,
        flush: Flush,
    },
    SegmentClose {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
        close: Close,
    },
    /// Makes all completed segment writes durable, with their files' sizes and names.
    Sync,
    Checkpoint(Vec<u8>),
    /// Removes these segments' files.
    SegmentsRemove {
        log: LogIndex,
        name: Arc<str>,
        partition: PartitionId,
        segments: Vec<Offset>,
    },
}

/// The completion of a [`DiskOp`]. `ok` is false after any error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    JournalWrite { sequence: u64, ok: bool },
    JournalPrepare { file: FileIndex, ok: bool },
    SegmentWrite { log: LogIndex, offset_end: Offset, ok: bool },
    SegmentClose { log: LogIndex, segment: Offset, ok: bool },
    Sync { ok: bool },
    Checkpoint { ok: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    Sequence(SequenceError),
    /// The batch does not fit into a journal file.
    TooLarge,
    /// The disk fails: KAFKA_STORAGE_ERROR.
    Storage,
}

impl AppendError {
    /// What a client is told of an append that is refused.
    pub fn told(self) -> (ErrorCode, &'static str) {
        match self {
            AppendError::Sequence(SequenceError::StaleEpoch) => {
                (ErrorCode::InvalidProducerEpoch, "a newer epoch of this producer has written")
            }
            AppendError::Sequence(SequenceError::OutOfOrder) => {
                (ErrorCode::OutOfOrderSequenceNumber, "the batch does not follow the producer's last one")
            }
            AppendError::TooLarge => (ErrorCode::MessageTooLarge, "the batch does not fit into a journal file"),
            AppendError::Storage => (ErrorCode::KafkaStorageError, "the data directory cannot be written"),
        }
    }
}

/// An accepted batch, whether new or written before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub offset: Offset,
    /// The answer waits until the log is durable up to here.
    pub offset_end: Offset,
}

#[derive(Debug)]
struct StoredLog {
    log: Log,
    /// The log's place in `oldest`.
    oldest: Option<u64>,
    queued: bool,
    /// Its last segment write failed: nothing is appended until one succeeds.
    failed: bool,
}

/// What a release has carried forward so far.
#[derive(Clone, Copy, Default)]
struct Carried {
    bytes: usize,
    /// The last block that holds some of it.
    block: u64,
}

enum Release {
    Idle,
    /// Batches of blocks up to `target` go to segments or are carried forward.
    Drain {
        target: u64,
        carried: Carried,
    },
    Capture {
        target: u64,
        carried: Carried,
        next: u32,
        builder: CheckpointBuilder,
    },
    Sync {
        target: u64,
        bytes: Vec<u8>,
        carried: Carried,
        synced: bool,
    },
    Checkpoint {
        target: u64,
    },
}

pub struct Store {
    limits: Limits,
    journal: Journal,
    logs: Vec<Option<Box<StoredLog>>>,
    by_id: HashMap<PartitionId, LogIndex>,
    /// `(block, log, end)` of each appended batch whose block is not durable.
    pending: VecDeque<(u64, LogIndex, Offset)>,
    /// Logs with batches in no segment, by the block that holds the oldest one.
    oldest: BTreeSet<(u64, LogIndex)>,
    flush_queue: VecDeque<LogIndex>,
    flushes: usize,
    closes: usize,
    /// Logs of the batches in memory, in order of arrival.
    held: VecDeque<LogIndex>,
    held_bytes: usize,
    arena: BytesMut,
    advanced: Vec<LogIndex>,
    release: Release,
    /// Everything goes to segments, and the checkpoint then says so.
    draining: bool,
    drained: bool,
    /// The broker ends: nothing is appended after what is drained.
    ending: bool,
    /// Appends may come as soon as everything is drained.
    resuming: bool,
    /// While draining, the disk has refused something.
    refused: bool,
    /// Partitions whose last segment write failed.
    failures: usize,
    retry: VecDeque<(Time, LogIndex)>,
    /// A journal file could not be made; it is tried again then.
    prepare_at: Option<Time>,
    /// A checkpoint could not be written; it is tried again then.
    checkpoint_at: Option<Time>,
    /// Segments below their log's start that a checkpoint may still name: they go once one is in place that does not.
    removed: Vec<(LogIndex, Offset)>,
    /// Those of them that the checkpoint under way does not name.
    removing: Vec<(LogIndex, Offset)>,
    /// Blocks that the last checkpoint covers.
    covered: u64,
    ops: Vec<DiskOp>,
}

impl Store {
    pub fn new(limits: Limits, journal: Journal) -> Store {
        assert!(limits.core < limits.cores && limits.memory_bytes > 0);
        Store {
            limits,
            journal,
            logs: Vec::new(),
            by_id: HashMap::new(),
            pending: VecDeque::new(),
            oldest: BTreeSet::new(),
            flush_queue: VecDeque::new(),
            flushes: 0,
            closes: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            arena: BytesMut::new(),
            advanced: Vec::new(),
            release: Release::Idle,
            draining: false,
            drained: false,
            ending: false,
            resuming: false,
            refused: false,
            failures: 0,
            retry: VecDeque::new(),
            prepare_at: None,
            checkpoint_at: None,
            removed: Vec::new(),
            removing: Vec::new(),
            covered: 0,
            ops: Vec::new(),
        }
    }

    pub fn find(&self, id: PartitionId) -> Option<LogIndex> {
        self.by_id.get(&id).copied()
    }

    pub fn log(&self, index: LogIndex) -> Option<&Log> {
        self.logs.get(index.0 as usize)?.as_ref().map(|stored| &stored.log)
    }

    pub fn log_mut(&mut self, index: LogIndex) -> Option<&mut Log> {
        self.stored(index).map(|stored| &mut stored.log)
    }

    pub fn logs(&self) -> impl Iterator<Item = (LogIndex, &Log)> {
        self.by_id.values().map(|index| (*index, self.log(*index).expect("by_id names logs that are there")))
    }

    fn stored(&mut self, index: LogIndex) -> Option<&mut StoredLog> {
        self.logs.get_mut(index.0 as usize)?.as_deref_mut()
    }

    /// The partition's log, made empty if it is not there.
    pub fn open(&mut self, id: PartitionId, name: &Arc<str>, settings: &Arc<Settings>) -> LogIndex {
        match self.find(id) {
            Some(index) => index,
            None => self.insert(Log::new(id, name.clone(), settings.clone())),
        }
    }

    /// A log that a checkpoint describes.
    pub fn restore(&mut self, id: PartitionId, name: &Arc<str>, settings: &Arc<Settings>, from: Restored) -> LogIndex {
        assert!(self.find(id).is_none());
        let index = self.insert(Log::restore(id, name.clone(), settings.clone(), from));
        self.commit(index);
        self.note_outlived(index);
        index
    }

    /// Segments below the log's start go when a checkpoint no longer names them.
    fn note_outlived(&mut self, index: LogIndex) {
        let Some(stored) = self.stored(index) else { return };
        let segments = stored.log.take_outlived();
        self.removed.extend(segments.iter().map(|segment| (index, segment.base)));
    }

    /// Moves the high watermark: while the node is the only replica, what it has is committed.
    fn commit(&mut self, index: LogIndex) {
        if let Some(log) = self.log_mut(index) {
            log.commit(if log.settings().ack_memory { log.end() } else { log.durable_end() });
        }
    }

    /// The journal of this start takes the place of the one of the recovery, which has written nothing.
    pub fn set_journal(&mut self, journal: Journal) {
        assert!(self.journal.sequence_last() == 0);
        self.journal = journal;
    }

    /// What followed the log's end was acknowledged and cannot be read any more.
    pub fn lose(&mut self, index: LogIndex) {
        self.log_mut(index).expect("the log is there").lose();
    }

    fn insert(&mut self, log: Log) -> LogIndex {
        let index = LogIndex(self.logs.len() as u32);
        self.by_id.insert(log.id(), index);
        self.logs.push(Some(Box::new(StoredLog { log, oldest: None, queued: false, failed: false })));
        index
    }

    /// Forgets a deleted partition; its files are the caller's to remove once no write to them is under way.
    pub fn remove(&mut self, id: PartitionId) -> Option<Arc<str>> {
        let index = self.by_id.remove(&id)?;
        let stored = self.logs[index.0 as usize].take().expect("by_id names logs that are there");
        self.held_bytes -= stored.log.held_bytes();
        self.failures -= usize::from(stored.failed);
        if let Some(block) = stored.oldest {
            self.oldest.remove(&(block, index));
        }
        Some(stored.log.name().clone())
    }

    /// Too much waits for the disk: nothing more should be read from clients that write. Where the disk refuses writes,
    /// clients are refused instead: those that make room must be heard.
    pub fn is_congested(&self) -> bool {
        let waits = self.journal.is_full() || self.is_crowded();
        waits && self.failures == 0 && !self.draining && !self.journal.is_without_files()
    }

    fn is_crowded(&self) -> bool {
        self.held_bytes > self.limits.memory_bytes + self.limits.memory_bytes / 2
    }

    /// Nothing can be appended to any log.
    fn is_closed(&self) -> bool {
        let refused = self.failures > 0 && (self.is_crowded() || self.journal.is_full());
        self.journal.is_failed() || self.draining || self.journal.is_without_files() || refused
    }

    pub fn is_failed(&self) -> bool {
        self.journal.is_failed()
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The journal is durable up to and including this block.
    pub fn sequence_durable(&self) -> u64 {
        self.journal.sequence_durable()
    }

    /// The largest batch that can be journalled.
    pub fn batch_bytes_max(&self) -> usize {
        self.journal.payload_bytes_max()
    }

    /// The log's settings are others: its high watermark may have moved.
    pub fn settings_changed(&mut self, index: LogIndex) {
        self.commit(index);
        self.advanced.push(index);
    }

    pub fn expire_producers(&mut self, before_ms: i64) {
        for stored in self.logs.iter_mut().flatten() {
            stored.log.producers_mut().expire(before_ms);
        }
    }

    /// Appends a batch whose bytes have been checked. Its header gets its offset and epoch.
    pub fn append(
        &mut self,
        now: Now,
        index: LogIndex,
        mut batch: BytesMut,
        info: &BatchInfo,
    ) -> Result<Appended, AppendError> {
        let closed = self.is_closed();
        let stored = self.logs[index.0 as usize].as_deref_mut().ok_or(AppendError::Storage)?;
        if closed || stored.failed || stored.log.lost_from().is_some() {
            return Err(AppendError::Storage);
        }
        if batch.len() > self.journal.payload_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        if let Some(stamp) = &info.producer
            && let SequenceVerdict::Written(known) =
                stored.log.producers().check(stamp).map_err(AppendError::Sequence)?
        {
            return Ok(Appended { offset: known.offset_first, offset_end: known.offset_last + 1 });
        }
        let partition = stored.log.id();
        let at = stored.log.decide(info, batch.len(), now.wall_ms);
        patch_base_offset_and_epoch(&mut batch, at.offset, at.epoch);
        let bytes = if batch.len() <= SMALL_BATCH_BYTES { self.gather(&batch) } else { batch.freeze() };
        let block = self.write_journal(EntryKind::Batch, partition, at, bytes.clone());
        self.apply(index, at, info, bytes, block, now.wall_ms);
        let offset_end = at.offset + i64::from(info.last_offset_delta) + 1;
        self.pending.push_back((block, index, offset_end));
        if self.log(index).is_some_and(|log| log.settings().ack_memory) {
            self.commit(index);
            self.advanced.push(index);
        }
        Ok(Appended { offset: at.offset, offset_end })
    }

    fn gather(&mut self, batch: &[u8]) -> Bytes {
        if self.arena.capacity() < batch.len() {
            self.arena = BytesMut::with_capacity(ARENA_BYTES);
        }
        self.arena.extend_from_slice(batch);
        self.arena.split().freeze()
    }

    fn write_journal(&mut self, kind: EntryKind, partition: PartitionId, at: Placement, bytes: Bytes) -> u64 {
        let payload_bytes = bytes.len() as u32;
        let entry = Entry { kind, roll: at.roll, partition, epoch: at.epoch, offset: at.offset, payload_bytes };
        let crc = checksum(&bytes);
        self.journal.append(&entry, bytes, crc)
    }

    fn apply(&mut self, index: LogIndex, at: Placement, info: &BatchInfo, bytes: Bytes, block: u64, seen_ms: i64) {
        self.held_bytes += bytes.len();
        self.held.push_back(index);
        let stored = self.stored(index).expect("the log is there");
        stored.log.apply(at, info, bytes, block, seen_ms);
        self.note_oldest(index);
    }

    /// Puts the log where it belongs in `oldest`.
    fn note_oldest(&mut self, index: LogIndex) {
        let Some(stored) = self.logs[index.0 as usize].as_deref_mut() else {
            return;
        };
        let block = stored.log.journal_oldest();
        if block != stored.oldest {
            if let Some(block) = stored.oldest {
                self.oldest.remove(&(block, index));
            }
            if let Some(block) = block {
                self.oldest.insert((block, index));
            }
            stored.oldest = block;
        }
    }

    /// Moves the log's start up (DeleteRecords); durable with the journal's next block, whose sequence is returned. The
    /// files go later: until that block and a checkpoint are durable, a crash brings the older state back.
    pub fn delete_records(&mut self, index: LogIndex, start: Offset) -> Result<u64, AppendError> {
        if self.is_closed() {
            return Err(AppendError::Storage);
        }
        let log = self.log_mut(index).ok_or(AppendError::Storage)?;
        let partition = log.id();
        let at = Placement { offset: start, epoch: log.epoch(), roll: false };
        let segments = log.set_start(start);
        self.removed.extend(segments.iter().map(|segment| (index, segment.base)));
        Ok(self.write_journal(EntryKind::LogStart, partition, at, Bytes::new()))
    }

    /// An entry of the journal at recovery; `false` if it does not follow what the log has.
    pub fn replay(&mut self, index: LogIndex, entry: &Entry, info: Option<&BatchInfo>, bytes: Bytes, now: Now) -> bool {
        let Some(stored) = self.stored(index) else { return true };
        let Some(info) = info else {
            if entry.offset <= stored.log.end() {
                let segments = stored.log.set_start(entry.offset);
                self.removed.extend(segments.iter().map(|segment| (index, segment.base)));
            }
            return true;
        };
        let (held, end) = (bytes.len(), stored.log.end());
        let at = Placement { offset: entry.offset, epoch: entry.epoch, roll: entry.roll };
        if !stored.log.replay(at, info, bytes, now.wall_ms) {
            return false;
        }
        if stored.log.end() > end {
            self.held_bytes += held;
            self.held.push_back(index);
            self.commit(index);
            self.note_oldest(index);
            self.queue_flush_if_due(index);
        }
        true
    }

    fn queue_flush(&mut self, index: LogIndex) {
        if let Some(stored) = self.stored(index)
            && !stored.queued
            && !stored.failed
        {
            stored.queued = true;
            self.flush_queue.push_back(index);
        }
    }

    fn queue_flush_if_due(&mut self, index: LogIndex) {
        if self.log(index).is_some_and(|log| log.unflushed_bytes() >= FLUSH_BYTES) {
            self.queue_flush(index);
        }
    }

    /// The partitions whose high watermark may have moved since the last call, in no order, some of them twice.
    pub fn take_advanced(&mut self) -> Vec<LogIndex> {
        std::mem::take(&mut self.advanced)
    }

    pub fn has_advanced(&self) -> bool {
        !self.advanced.is_empty()
    }

    /// Work for the disk that may start.
    pub fn plan(&mut self, now: Now, out: &mut Vec<DiskOp>) {
        out.append(&mut self.ops);
        while self.retry.front().is_some_and(|(time, _)| *time <= now.mono) {
            let (_, index) = self.retry.pop_front().expect("it is there");
            if let Some(stored) = self.stored(index)
                && !std::mem::replace(&mut stored.queued, true)
            {
                self.flush_queue.push_back(index);
            }
        }
        if self.checkpoint_at.is_none_or(|time| time <= now.mono) {
            self.checkpoint_at = None;
            self.plan_release();
        }
        while let Some(block) = self.journal.plan_block() {
            out.push(DiskOp::JournalWrite(block));
        }
        if self.prepare_at.is_none_or(|time| time <= now.mono) {
            self.prepare_at = None;
            out.extend(self.journal.plan_prepare().map(|(file, bytes)| DiskOp::JournalPrepare { file, bytes }));
        }
        self.evict();
        while self.flushes < FLUSHES_MAX
            && let Some(index) = self.flush_queue.pop_front()
        {
            let Some(stored) = self.stored(index) else { continue };
            stored.queued = false;
            if let Some(flush) = stored.log.plan_flush() {
                let name = stored.log.name().clone();
                let topic = stored.log.id().topic;
                let segment_bytes = stored.log.settings().segment_bytes;
                let op = DiskOp::SegmentWrite { log: index, name, topic, segment_bytes, flush };
                self.flushes += 1;
                out.push(op);
            }
        }
        out.append(&mut self.ops);
    }

    /// Drops the oldest batches beyond the memory limit; those in no segment yet are queued to be written.
    fn evict(&mut self) {
        while self.held_bytes > self.limits.memory_bytes
            && let Some(&index) = self.held.front()
        {
            match self.stored(index).map(|stored| stored.log.evict()) {
                // The log is gone, and its batches with it: their bytes were taken off when it went.
                None => {}
                Some(Some(bytes)) => self.held_bytes -= bytes,
                Some(None) => {
                    self.queue_flush(index);
                    return;
                }
            }
            self.held.pop_front();
        }
    }

    fn plan_release(&mut self) {
        if let Release::Idle = self.release {
            let (last, durable) = (self.journal.sequence_last(), self.journal.sequence_durable());
            let target = if self.draining && !self.drained && last == durable {
                // Nothing is appended while draining, so this covers everything.
                Some(last)
            } else {
                self.journal.release_wanted().or((!self.removed.is_empty()).then_some(self.covered))
            };
            let Some(target) = target.filter(|target| *target <= durable) else {
                return;
            };
            self.release = Release::Drain { target, carried: Carried::default() };
        }
        if let Release::Drain { target, carried } = self.release {
            let carried = self.drain(target, carried);
            let rest = self.oldest.first().is_some_and(|(block, _)| *block <= target);
            self.release = if rest || self.closes > 0 || (self.draining && self.flushes > 0) {
                Release::Drain { target, carried }
            } else {
                self.removing = std::mem::take(&mut self.removed);
                Release::Capture { target, carried, next: 0, builder: CheckpointBuilder::default() }
            };
        }
        self.capture();
        if let Release::Sync { target, bytes, carried, synced: true } = &mut self.release
            && carried.block <= self.journal.sequence_durable()
        {
            let (target, bytes) = (*target, std::mem::take(bytes));
            self.ops.push(DiskOp::Checkpoint(bytes));
            self.release = Release::Checkpoint { target };
        }
    }

    /// Gets the batches of blocks up to `target` out of the journal, a bounded number of partitions a turn.
    fn drain(&mut self, target: u64, mut carried: Carried) -> Carried {
        let due: Vec<LogIndex> = self
            .oldest
            .iter()
            .take_while(|(block, _)| *block <= target)
            .map(|(_, index)| *index)
            .take(PARTITIONS_PER_TURN)
            .collect();
        let carry_bytes_max = self.journal.payload_bytes_max() / 2;
        for index in due {
            let log = self.log(index).expect("oldest names logs that are there");
            let bytes = log.unflushed_bytes() + log.unflushed_batches() * ENTRY_HEADER_BYTES;
            let small = bytes < CARRY_BYTES_MAX && carried.bytes + bytes < carry_bytes_max;
            let may = !self.draining && !log.is_flushing() && !self.journal.is_failed();
            if small && may && self.journal.has_room(bytes) {
                carried.bytes += bytes;
                carried.block = self.carry(index);
            } else {
                self.queue_flush(index);
            }
        }
        carried
    }

    /// Returns the last block that the log's batches went to.
    fn carry(&mut self, index: LogIndex) -> u64 {
        let mut stored = self.logs[index.0 as usize].take().expect("oldest names logs that are there");
        let partition = stored.log.id();
        let mut last = None;
        stored.log.carry(|at, bytes| {
            let bytes = if bytes.len() <= SMALL_BATCH_BYTES { self.gather(bytes) } else { bytes.clone() };
            let block = self.write_journal(EntryKind::Carried, partition, at, bytes.clone());
            last = Some(block);
            (block, bytes)
        });
        self.logs[index.0 as usize] = Some(stored);
        self.note_oldest(index);
        last.expect("a log in `oldest` has something to carry")
    }

    /// Captures the state of the logs, a bounded number a turn; then asks for the sync that makes it true.
    fn capture(&mut self) {
        let (target, carried, next, mut builder) = match &mut self.release {
            Release::Capture { target, carried, next, builder } => (*target, *carried, *next, std::mem::take(builder)),
            _ => return,
        };
        let end = (next as usize + PARTITIONS_PER_TURN).min(self.logs.len());
        for stored in self.logs[next as usize..end].iter().flatten() {
            let log = &stored.log;
            if log.end() > 0 || log.start() > 0 {
                builder.add(log.id(), &log.checkpoint());
            }
        }
        if end < self.logs.len() {
            self.release = Release::Capture { target, carried, next: end as u32, builder };
            return;
        }
        let head = CheckpointHead {
            generation: self.journal.generation(),
            core: self.limits.core,
            cores: self.limits.cores,
            sequence: target,
            ended: self.ending && target == self.journal.sequence_last() && self.oldest.is_empty(),
        };
        self.ops.push(DiskOp::Sync);
        self.release = Release::Sync { target, bytes: builder.finish(head), carried, synced: false };
    }

    /// Writes everything to segments and then a checkpoint that says so; nothing may be appended any more.
    pub fn drain_all(&mut self) {
        self.draining = true;
        self.drained = false;
        self.refused = false;
    }

    /// As [`Store::drain_all`], for good.
    pub fn end(&mut self) {
        self.ending = true;
        self.drain_all();
    }

    /// What [`Store::drain_all`] asked for is done, or cannot be done because the disk fails.
    pub fn is_drained(&self) -> bool {
        self.draining && (self.drained || self.journal.is_failed() || self.is_refused())
    }

    /// The disk refuses to take what [`Store::drain_all`] asks for: the journal still has it.
    pub fn is_refused(&self) -> bool {
        self.draining && self.refused && !self.drained
    }

    /// Recovery is over: appends may come, or come as soon as the disk has taken what is in the journals.
    pub fn resume(&mut self) {
        assert!(!self.draining || self.is_drained());
        self.resuming = self.is_refused();
        self.draining = self.resuming;
    }

    /// A turn must come although nothing happens: more is to do, or a retry is due.
    pub fn deadline(&self) -> Option<Time> {
        match &self.release {
            Release::Capture { .. } => Some(Time(0)),
            _ => {
                let retry = self.retry.front().map(|(time, _)| *time);
                [retry, self.prepare_at, self.checkpoint_at].into_iter().flatten().min()
            }
        }
    }

    pub fn done(&mut self, now: Now, done: Done) {
        match done {
            // Its batches were refused when something else made the journal fail.
            Done::JournalWrite { .. } if self.journal.is_failed() => {}
            Done::JournalWrite { sequence, ok: true } => self.block_durable(sequence),
            Done::JournalWrite { ok: false, .. } => self.journal_failed(),
            Done::JournalPrepare { file, ok: true } => self.journal.prepared(file),
            Done::JournalPrepare { file, ok: false } => {
                self.journal.prepare_failed(file);
                self.prepare_at = Some(now.mono.after_ms(RETRY_MS));
            }
            Done::SegmentWrite { log, offset_end, ok } => self.flush_done(now, log, offset_end, ok),
            Done::SegmentClose { log, segment, ok } => {
                self.closes -= 1;
                if let Some(log) = self.log_mut(log)
                    && ok
                {
                    log.closed(segment);
                }
            }
            Done::Sync { ok } => match &mut self.release {
                Release::Sync { synced, .. } if ok => *synced = true,
                Release::Sync { .. } => self.journal_failed(),
                _ => panic!("no sync is under way"),
            },
            Done::Checkpoint { ok } => self.checkpoint_done(now, ok),
        }
    }

    fn checkpoint_done(&mut self, now: Now, ok: bool) {
        let Release::Checkpoint { target } = self.release else { panic!("no checkpoint is under way") };
        self.release = Release::Idle;
        if !ok {
            // The one before is in place, or this one: none of them names what is not there.
            self.refused = self.draining;
            self.checkpoint_at = Some(now.mono.after_ms(RETRY_MS));
            self.removed.append(&mut self.removing);
            return;
        }
        self.journal.release(target);
        self.covered = target;
        self.remove_segments();
        // A release that began before the draining leaves more to do.
        self.drained = self.draining && self.oldest.is_empty() && target == self.journal.sequence_last();
        if self.drained && self.resuming && !self.ending {
            (self.resuming, self.draining) = (false, false);
        }
    }

    /// The checkpoint in place does not name these segments any more.
    fn remove_segments(&mut self) {
        for (index, segment) in std::mem::take(&mut self.removing) {
            // The files of a log that is gone go with its directory.
            if let Some(log) = self.log(index) {
                let (name, partition) = (log.name().clone(), log.id());
                self.ops.push(DiskOp::SegmentsRemove { log: index, name, partition, segments: vec![segment] });
            }
        }
    }

    fn block_durable(&mut self, sequence: u64) {
        self.journal.written(sequence);
        let durable = self.journal.sequence_durable();
        while let Some(&(block, index, end)) = self.pending.front()
            && block <= durable
        {
            self.pending.pop_front();
            if let Some(log) = self.log_mut(index) {
                log.durable(end);
                self.commit(index);
                self.advanced.push(index);
                self.queue_flush_if_due(index);
            }
        }
    }

    /// A failed sync leaves unknown what the device holds: the core takes no more writes, reads go on.
    fn journal_failed(&mut self) {
        self.journal.fail();
        while let Some((_, index, _)) = self.pending.pop_front() {
            self.advanced.push(index);
        }
    }

    fn flush_done(&mut self, now: Now, index: LogIndex, offset_end: Offset, ok: bool) {
        self.flushes -= 1;
        let Some(stored) = self.stored(index) else { return };
        let failed = std::mem::replace(&mut stored.failed, !ok);
        if !ok {
            stored.log.flush_failed();
            self.failures += usize::from(!failed);
            self.refused = self.draining;
            self.retry.push_back((now.mono.after_ms(RETRY_MS), index));
            return;
        }
        let closes = stored.log.flushed(offset_end);
        let (name, topic) = (stored.log.name().clone(), stored.log.id().topic);
        self.failures -= usize::from(failed);
        self.closes += closes.len();
        let close = |close| DiskOp::SegmentClose { log: index, name: name.clone(), topic, close };
        self.ops.extend(closes.into_iter().map(close));
        self.note_outlived(index);
        self.note_oldest(index);
        self.queue_flush_if_due(index);
    }
}
