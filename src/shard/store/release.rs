//! How journal files become free again: what is in them goes to segments or is carried forward, a checkpoint says so.

use super::append::SMALL_BATCH_BYTES;
use super::flush::RETRY_MS;
use super::op::DiskOp;
use super::{LogIndex, PARTITIONS_PER_TURN, PRODUCERS_PER_TURN, Store};
use crate::journal::{ENTRY_HEADER_BYTES, EntryKind};
use crate::log::{SKIP_BYTES, Segment, SegmentId};
use crate::shard::checkpoint::{CheckpointBuilder, CheckpointHead};
use crate::types::{Now, Time};
use std::collections::{BTreeSet, VecDeque};

/// A partition with fewer bytes than this has its batches carried forward in the journal, instead of written as a
/// partial block.
const CARRY_BYTES_MAX: usize = 16 << 10;

/// What a release has carried forward so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Carried {
    bytes: usize,
    /// The last block that holds some of it.
    block: u64,
}

pub(super) enum Release {
    Idle,
    /// The batches of blocks up to `target` are written to segments or carried forward.
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

/// Files of segments are removed that are so many at a time.
const REMOVALS_MAX: usize = 16;
/// How long segments that leave their logs are gathered for one checkpoint: a part of `file.delete.delay.ms`, within these bounds.
const GATHER_SHARE: u64 = 6;
const GATHER_MS_MIN: u64 = 50;
const GATHER_MS_MAX: u64 = 10_000;

/// Segments that have left their logs, on the way to the removal of their files: a checkpoint is made that does not name them,
/// one for all that have gathered; then `file.delete.delay.ms` passes.
#[derive(Default, Debug)]
pub(super) struct Removals {
    /// Those that a checkpoint may still name.
    gathered: Vec<(LogIndex, SegmentId)>,
    /// So many of them have been looked at for `checkpoint_at`.
    timed: usize,
    /// When there is to be a checkpoint that does not name them.
    checkpoint_at: Option<Time>,
    /// Those that the checkpoint under way does not name.
    unnamed: Vec<(LogIndex, SegmentId)>,
    /// Those that no checkpoint names, by the time at which their files go.
    waiting: BTreeSet<(Time, LogIndex, SegmentId)>,
    under_way: usize,
    /// Segments whose files could not be removed; it is tried again then.
    again: VecDeque<(Time, LogIndex, SegmentId)>,
}

impl Removals {
    pub(super) fn add(&mut self, segments: impl IntoIterator<Item = (LogIndex, SegmentId)>) {
        self.gathered.extend(segments);
    }

    /// When files go; `idle`: no checkpoint is under way, and one may begin.
    pub(super) fn deadline(&self, idle: bool) -> Option<Time> {
        let first = self.waiting.first().filter(|_| self.under_way < REMOVALS_MAX).map(|(time, ..)| *time);
        [self.checkpoint_at.filter(|_| idle), first, self.again.front().map(|(time, ..)| *time)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The checkpoint that is made from now on names none of the segments that have gathered.
    fn unname(&mut self) {
        assert!(self.unnamed.is_empty(), "one checkpoint is made at a time");
        self.unnamed = std::mem::take(&mut self.gathered);
        (self.timed, self.checkpoint_at) = (0, None);
    }

    /// That checkpoint was not made.
    fn name_again(&mut self) {
        self.gathered.append(&mut self.unnamed);
        self.timed = 0;
    }
}

impl Store {
    pub(super) fn plan_release(&mut self, now: Now) {
        if let Release::Idle = self.release {
            let (last, durable) = (self.journal.sequence_last(), self.journal.sequence_durable());
            let target = if self.draining && !self.drained && last == durable {
                // Nothing is appended while draining, so this covers everything.
                Some(last)
            } else {
                self.journal.release_wanted().or(self.is_removal_due(now).then_some(self.covered))
            };
            // A cut that the checkpoint knows of is not replayed on top of what came after it.
            let target = target.map(|target| target.max(self.truncated));
            let Some(target) = target.filter(|target| *target <= durable) else {
                return;
            };
            self.release = Release::Drain { target, carried: Carried::default() };
        }
        if let Release::Drain { target, carried } = self.release {
            let carried = self.drain(target, carried);
            let rest = self.oldest.first().is_some_and(|(block, _)| *block <= target);
            // Where the disk takes no segments, what is deleted must go first: a checkpoint that releases nothing says so.
            // Not at a start: a checkpoint of this generation says that former journals are not needed.
            let former = self.resuming || (self.draining && !self.ending);
            let stuck = rest && !former && self.failures > 0 && !self.removals.gathered.is_empty();
            let target = if stuck { self.covered } else { target };
            self.release = if (rest && !stuck) || self.closes > 0 || (self.draining && self.flushes > 0) {
                Release::Drain { target, carried }
            } else {
                self.removals.unname();
                Release::Capture { target, carried, next: 0, builder: CheckpointBuilder::default() }
            };
        }
        self.capture();
        if let Release::Sync { target, bytes, carried, synced: true } = &mut self.release
            && carried.block.max(self.truncated) <= self.journal.sequence_durable()
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
            let mut bytes = log.unflushed_bytes() + log.unflushed_batches() * ENTRY_HEADER_BYTES;
            if bytes < CARRY_BYTES_MAX {
                bytes += log.unflushed_skips() * (ENTRY_HEADER_BYTES + SKIP_BYTES);
            }
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

    /// Carries the log's batches forward. Returns the last block that they went to.
    fn carry(&mut self, index: LogIndex) -> u64 {
        let mut stored = self.logs.take(index).expect("oldest names logs that are there");
        let partition = stored.log.id();
        let mut last = None;
        stored.log.carry(|at, skipped, bytes| {
            let skip = skipped.map(|from| self.write_skip(partition, from, at));
            let bytes = if bytes.len() <= SMALL_BATCH_BYTES { self.gather(bytes) } else { bytes.clone() };
            let block = self.write_journal(EntryKind::Carried, partition, at, bytes.clone());
            last = Some(block);
            (skip.unwrap_or(block), bytes)
        });
        self.logs.put_back(index, stored);
        self.note_oldest(index);
        last.expect("a log in `oldest` has something to carry")
    }

    /// Captures the state of the logs, a bounded number a turn; then asks for the sync that makes it true.
    fn capture(&mut self) {
        let (target, carried, next, mut builder) = match &mut self.release {
            Release::Capture { target, carried, next, builder } => (*target, *carried, *next, std::mem::take(builder)),
            _ => return,
        };
        let (mut logs, mut producers) = (0, 0);
        for (place, stored) in self.logs.from(next) {
            if logs == PARTITIONS_PER_TURN || producers >= PRODUCERS_PER_TURN {
                self.release = Release::Capture { target, carried, next: place, builder };
                return;
            }
            logs += 1;
            let log = &stored.log;
            producers += log.producers().len();
            if log.end() > 0 || log.start() > 0 || log.lost_from().is_some() {
                builder.add(log.id(), &log.checkpoint());
            }
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

    /// Whether what [`Store::drain_all`] asked for is done, or cannot be done because the disk fails.
    pub fn is_drained(&self) -> bool {
        self.draining && (self.drained || self.journal.is_failed() || self.is_refused())
    }

    /// Whether the disk refuses to take what [`Store::drain_all`] asks for: the journal still has it.
    pub fn is_refused(&self) -> bool {
        self.draining && self.refused && !self.drained
    }

    /// Ends recovery: appends may come, or come as soon as the disk has taken what is in the journals.
    pub fn resume(&mut self) {
        assert!(!self.draining || self.is_drained());
        self.resuming = self.is_refused();
        self.draining = self.resuming;
    }

    /// Notes the segments below the log's start: they go when no checkpoint names them any more.
    pub(super) fn note_outlived(&mut self, index: LogIndex) {
        let Some(stored) = self.stored(index) else { return };
        let segments = stored.log.take_outlived();
        self.outlived(index, &segments);
    }

    /// Segments have left the log, and with them perhaps batches that had yet to be written.
    pub(super) fn outlived(&mut self, index: LogIndex, segments: &[Segment]) {
        if segments.is_empty() {
            return;
        }
        self.removals.add(segments.iter().map(|segment| (index, segment.id())));
        self.note_oldest(index);
        let stored = self.stored(index).expect("its segments were just taken");
        if stored.log.is_flushed() && std::mem::take(&mut stored.failed) {
            self.failures -= 1;
        }
    }

    /// Whether it is time for a checkpoint that does not name the segments which have gathered. What is free of a full disk comes
    /// from them.
    fn is_removal_due(&mut self, now: Now) -> bool {
        let (new, timed) = (&self.removals.gathered, self.removals.timed);
        let delays = new[timed..].iter().map(|(index, _)| self.delete_delay_ms(*index) / GATHER_SHARE);
        if let Some(gather_ms) = delays.min() {
            let at = now.mono.after_ms(gather_ms.clamp(GATHER_MS_MIN, GATHER_MS_MAX));
            self.removals.checkpoint_at = Some(self.removals.checkpoint_at.map_or(at, |known| known.min(at)));
            self.removals.timed = self.removals.gathered.len();
        }
        let due = self.removals.checkpoint_at.is_some_and(|time| time <= now.mono);
        !self.removals.gathered.is_empty() && (due || self.is_pressed())
    }

    fn delete_delay_ms(&self, index: LogIndex) -> u64 {
        self.log(index).map_or(0, |log| log.settings().delete_delay_ms)
    }

    /// The disk has refused something: perhaps it is full.
    fn is_pressed(&self) -> bool {
        self.failures > 0 || self.draining || self.journal.is_without_files()
    }

    pub(super) fn checkpoint_done(&mut self, now: Now, ok: bool) {
        let Release::Checkpoint { target } = self.release else { panic!("no checkpoint is under way") };
        self.release = Release::Idle;
        if !ok {
            // The one before is in place, or this one: none of them names what is not there.
            self.refused = self.draining;
            self.checkpoint_at = Some(now.mono.after_ms(RETRY_MS));
            self.removals.name_again();
            return;
        }
        self.journal.release(target);
        self.covered = target;
        for (index, segment) in std::mem::take(&mut self.removals.unnamed) {
            let at = now.mono.after_ms(self.delete_delay_ms(index));
            self.removals.waiting.insert((at, index, segment));
        }
        self.plan_removals(now);
        // A release that began before the draining leaves more to do.
        self.drained = self.draining && self.oldest.is_empty() && target == self.journal.sequence_last();
        if self.drained && self.resuming && !self.ending {
            (self.resuming, self.draining) = (false, false);
        }
    }

    /// Removes the files of some segments that the checkpoint in place does not name, and whose time has come. Where the disk has
    /// refused something that is at once.
    pub(super) fn plan_removals(&mut self, now: Now) {
        while self.removals.again.front().is_some_and(|(time, ..)| *time <= now.mono) {
            let (_, index, segment) = self.removals.again.pop_front().expect("it is there");
            self.remove_segment(index, segment);
        }
        let pressed = self.is_pressed();
        while self.removals.under_way < REMOVALS_MAX
            && self.removals.waiting.first().is_some_and(|(time, ..)| pressed || *time <= now.mono)
        {
            let (_, index, segment) = self.removals.waiting.pop_first().expect("it is there");
            self.remove_segment(index, segment);
        }
    }

    fn remove_segment(&mut self, index: LogIndex, segment: SegmentId) {
        // The files of a log that is gone go with its directory.
        let Some(log) = self.log(index) else { return };
        assert!(log.segments().all(|other| other.id() != segment), "a segment of the log is not removed");
        let (name, partition) = (log.name().clone(), log.id());
        self.removals.under_way += 1;
        self.ops.push(DiskOp::SegmentRemove { log: index, name, partition, segment });
    }

    pub(super) fn remove_done(&mut self, now: Now, index: LogIndex, segment: SegmentId, ok: bool) {
        self.removals.under_way = self.removals.under_way.checked_sub(1).expect("a removal is under way");
        if let Some(log) = self.log_mut(index).filter(|_| ok) {
            log.dropped(segment);
        }
        if !ok {
            self.removals.again.push_back((now.mono.after_ms(RETRY_MS), index, segment));
        }
        self.plan_removals(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Entry;
    use crate::log::check;
    use crate::shard::store::fixture::{PARTITION, store};
    use crate::types::{Epoch, Time};
    use crate::wire::batch::BatchBuilder;

    /// A store that has found one batch in a former journal.
    fn found() -> (Store, LogIndex) {
        let (mut store, index) = store(2);
        let batch = BatchBuilder::new(0).record(1, None, Some(b"x")).build();
        let info = check::info(&batch).unwrap();
        let (kind, partition, payload_bytes) = (EntryKind::Batch, PARTITION, batch.len() as u32);
        let entry = Entry { kind, partition, epoch: Epoch(0), offset: 0, roll: false, payload_bytes };
        assert!(store.replay(index, &entry, Some(&info), batch, Now::default()));
        (store, index)
    }

    /// Carries out what is planned in ten seconds from a time on; says whether a checkpoint is among it.
    fn checkpoints(store: &mut Store, from_ms: u64, takes_segments: bool) -> bool {
        let mut found = false;
        for ms in (from_ms..from_ms + 10_000).step_by(100) {
            let now = Now { mono: Time::default().after_ms(ms), wall_ms: 0 };
            let mut ops = Vec::new();
            store.plan(now, &mut ops);
            for op in ops {
                found |= matches!(op, DiskOp::Checkpoint(_));
                let ok = takes_segments || !matches!(op, DiskOp::SegmentWrite { .. });
                store.done(now, op.done(ok));
            }
        }
        found
    }

    #[test]
    fn a_start_makes_no_checkpoint_before_former_journals_are_in_segments() {
        let (mut store, index) = found();
        store.drain_all();
        store.removals.add([(index, SegmentId::new(0, 7))]);
        assert!(!checkpoints(&mut store, 0, false) && store.is_refused());
        store.resume();
        assert!(!checkpoints(&mut store, 10_000, false), "the batch is in the former journal alone");
        store.end();
        assert!(!checkpoints(&mut store, 20_000, false), "nor when the broker ends");
        assert!(checkpoints(&mut store, 30_000, true) && store.is_drained());
    }
}
