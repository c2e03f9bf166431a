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

mod append;
#[cfg(test)]
mod fixture;
mod flush;
mod logs;
mod op;
mod release;
mod replica;
mod retention;
mod sweep;

pub use append::{AppendError, Appended};
pub use logs::LogIndex;
pub use op::{DiskOp, Done};
pub use replica::TruncateError;
pub use retention::RetentionLimits;
pub use sweep::ProducerLimits;

use self::flush::RETRY_MS;
use self::logs::Logs;
use self::release::{Release, Removals};
use self::retention::Retention;
use self::sweep::Sweep;
use crate::journal::Journal;
use crate::log::{Log, Restored, Segment, SegmentId, Settings};
use crate::types::{Epoch, Now, Offset, PartitionId, Time, TimestampMs, Uuid};
use bytes::BytesMut;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Partitions looked at in one turn by work that concerns many.
const PARTITIONS_PER_TURN: usize = 256;
/// Producers looked at in one turn, unless one log has more.
const PRODUCERS_PER_TURN: usize = 8192;

/// What a store is made for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of batches to keep in memory (`core.memory.bytes`).
    pub memory_bytes: usize,
    /// Cores of the node, as noted in checkpoints.
    pub cores: u16,
    /// The core, counted from 0.
    pub core: u16,
}

#[derive(Debug)]
struct StoredLog {
    log: Log,
    /// The log's place in `oldest`.
    oldest: Option<u64>,
    queued: bool,
    /// Its last segment write failed: nothing is appended until one succeeds.
    failed: bool,
    /// Its place in the queue of logs that are looked at.
    due: Option<TimestampMs>,
    /// The journal is being told of a start that the log gets when it knows.
    expiring: bool,
}

impl StoredLog {
    fn new(log: Log) -> StoredLog {
        StoredLog { log, oldest: None, queued: false, failed: false, due: None, expiring: false }
    }
}

/// A core's journal and logs.
pub struct Store {
    limits: Limits,
    journal: Journal,
    logs: Logs,
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
    /// Logs that are gone may be named in `held`, which had this length when it was last rid of them.
    held_stale: bool,
    held_length: usize,
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
    /// Segments that have left their logs.
    removals: Removals,
    retention: Retention,
    /// Blocks that the last checkpoint covers.
    covered: u64,
    sweep: Sweep,
    /// The last block that cuts a log off: a checkpoint that knows of the cut comes after it.
    truncated: u64,
    ops: Vec<DiskOp>,
}

impl Store {
    /// A store without logs.
    pub fn new(limits: Limits, journal: Journal) -> Store {
        assert!(limits.core < limits.cores && limits.memory_bytes > 0);
        Store {
            limits,
            journal,
            logs: Logs::default(),
            by_id: HashMap::new(),
            pending: VecDeque::new(),
            oldest: BTreeSet::new(),
            flush_queue: VecDeque::new(),
            flushes: 0,
            closes: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            held_stale: false,
            held_length: 0,
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
            removals: Removals::default(),
            retention: Retention::default(),
            covered: 0,
            sweep: Sweep::default(),
            truncated: 0,
            ops: Vec::new(),
        }
    }

    /// The log of a partition, if it is open.
    pub fn find(&self, id: PartitionId) -> Option<LogIndex> {
        self.by_id.get(&id).copied()
    }

    /// An open log; `None` after it was removed.
    pub fn log(&self, index: LogIndex) -> Option<&Log> {
        self.logs.get(index).map(|stored| &stored.log)
    }

    /// The same, to be changed.
    pub fn log_mut(&mut self, index: LogIndex) -> Option<&mut Log> {
        self.stored(index).map(|stored| &mut stored.log)
    }

    /// Some logs from a place on, and the place of the next one, if there are more.
    pub fn logs_from(&self, place: u32) -> (Vec<(LogIndex, PartitionId)>, Option<u32>) {
        let mut logs = self.logs.iter_from(place);
        let some = logs.by_ref().take(PARTITIONS_PER_TURN).map(|(index, stored)| (index, stored.log.id())).collect();
        (some, logs.next().map(|(index, _)| index.place()))
    }

    /// All open logs, in no order.
    pub fn logs(&self) -> impl Iterator<Item = (LogIndex, &Log)> {
        self.by_id.values().map(|index| (*index, self.log(*index).expect("by_id names logs that are there")))
    }

    /// Logs in whose directories there may be files that no segment names, after a start: their names, their topics and the
    /// segments that are theirs.
    pub fn leftovers(&self) -> Vec<(Arc<str>, Uuid, HashSet<SegmentId>)> {
        let gone = |log: &Log| log.segments().next().map_or(log.end() > 0, |first| first.base > 0);
        let may = |log: &&Log| log.has_leftovers() || gone(log);
        let logs = self.logs().map(|(_, log)| log).filter(may);
        logs.map(|log| (log.name().clone(), log.id().topic, log.segments().map(Segment::id).collect())).collect()
    }

    fn stored(&mut self, index: LogIndex) -> Option<&mut StoredLog> {
        self.logs.get_mut(index)
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
        self.note_due(index);
        index
    }

    /// Moves the high watermark: while the node is the only replica, what it has is committed.
    fn commit(&mut self, index: LogIndex) {
        if let Some(log) = self.log_mut(index) {
            log.commit(log.acknowledged_end());
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
        let id = log.id();
        let index = self.logs.insert(StoredLog::new(log));
        self.by_id.insert(id, index);
        index
    }

    /// Forgets a deleted partition; its files are the caller's to remove once no write to them is under way.
    pub fn remove(&mut self, id: PartitionId) -> Option<Arc<str>> {
        let index = self.by_id.remove(&id)?;
        let stored = self.logs.remove(index).expect("by_id names logs that are there");
        self.held_bytes -= stored.log.held_bytes();
        self.held_stale = true;
        self.failures -= usize::from(stored.failed);
        self.retention.forget(index, stored.due);
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

    /// Whether a write to the journal has failed: nothing is appended until the next start.
    pub fn is_failed(&self) -> bool {
        self.journal.is_failed()
    }

    /// Bytes of the batches in memory.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The journal is durable up to and including this block.
    pub fn sequence_durable(&self) -> u64 {
        self.journal.sequence_durable()
    }

    /// All that was appended, cut off or moved so far is in blocks up to this one.
    pub fn sequence_last(&self) -> u64 {
        self.journal.sequence_last()
    }

    /// The largest batch that can be journalled.
    pub fn batch_bytes_max(&self) -> usize {
        self.journal.payload_bytes_max()
    }

    /// The partition's leader has this epoch: what is appended is stamped with it.
    pub fn set_epoch(&mut self, index: LogIndex, epoch: Epoch) {
        self.log_mut(index).expect("the log is there").set_epoch(epoch);
    }

    /// The log's settings are others: its high watermark may have moved.
    pub fn settings_changed(&mut self, index: LogIndex) {
        self.commit(index);
        self.note_due(index);
        self.note_grown(index);
        self.advanced.push(index);
    }

    /// The partitions whose high watermark may have moved since the last call, in no order, some of them twice.
    pub fn take_advanced(&mut self) -> Vec<LogIndex> {
        std::mem::take(&mut self.advanced)
    }

    /// Whether [`Store::take_advanced`] would name a partition.
    pub fn has_advanced(&self) -> bool {
        !self.advanced.is_empty()
    }

    /// Work for the disk that may start.
    pub fn plan(&mut self, now: Now, out: &mut Vec<DiskOp>) {
        out.append(&mut self.ops);
        self.retry_flushes(now);
        self.plan_removals(now);
        if self.checkpoint_at.is_none_or(|time| time <= now.mono) {
            self.checkpoint_at = None;
            self.plan_release(now);
        }
        while let Some(block) = self.journal.plan_block() {
            out.push(DiskOp::JournalWrite(block));
        }
        if self.prepare_at.is_none_or(|time| time <= now.mono) {
            self.prepare_at = None;
            out.extend(self.journal.plan_prepare().map(|(file, bytes)| DiskOp::JournalPrepare { file, bytes }));
        }
        self.evict();
        self.plan_flushes(out);
        out.append(&mut self.ops);
    }

    /// A turn must come although nothing happens: more is to do, or a retry is due.
    pub fn deadline(&self) -> Option<Time> {
        match &self.release {
            Release::Capture { .. } => Some(Time(0)),
            _ if self.sweep.is_under_way() => Some(Time(0)),
            _ => {
                let retry = self.retry.front().map(|(time, _)| *time);
                let idle = matches!(self.release, Release::Idle) && self.checkpoint_at.is_none();
                let times = [retry, self.removals.deadline(idle), self.prepare_at, self.checkpoint_at];
                times.into_iter().chain([self.retention.deadline()]).flatten().min()
            }
        }
    }

    /// Takes the completion of an operation.
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
                if let Some(log) = self.log_mut(log) {
                    log.closed(segment, ok);
                }
            }
            Done::Sync { ok } => match &mut self.release {
                Release::Sync { synced, .. } if ok => *synced = true,
                Release::Sync { .. } => self.journal_failed(),
                _ => panic!("no sync is under way"),
            },
            Done::Checkpoint { ok } => self.checkpoint_done(now, ok),
            Done::SegmentRemove { log, segment, ok } => self.remove_done(now, log, segment, ok),
        }
    }
}
