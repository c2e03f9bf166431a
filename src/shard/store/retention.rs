//! When logs are looked at for what they do not keep, and what then goes.
//!
//! Logs are queued by the time of day at which something of them may be due, so that a look touches those alone, some of them
//! a turn. Because the time of day decides, a clock that is set forward lets records go as in Kafka, and one that is set back
//! keeps them. A log that has grown above its size is looked at without waiting for the next look.
//!
//! A log's start moves in two steps: the journal is told, and when that is durable the start moves and the segments below it
//! leave the log. So nobody sees a start that a crash could take back. Their files go later: see `release.rs`.

use super::{LogIndex, PARTITIONS_PER_TURN, Store};
use crate::journal::EntryKind;
use crate::log::{Expired, Placement};
use crate::types::{Now, Offset, Time, TimestampMs};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// When logs are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionLimits {
    /// `log.initial.task.delay.ms`
    pub initial_delay_ms: u64,
    /// `log.retention.check.interval.ms`
    pub check_interval_ms: u64,
}

/// A log for which nothing can be done just then is looked at again after this, at the latest.
const AGAIN_MS: u64 = 1000;
/// So many removals a second are named in the log; of the others their number.
const TOLD_MAX: u32 = 10;
const TOLD_MS: u64 = 1000;

#[derive(Default, Debug)]
pub(super) struct Retention {
    /// Logs by the time of day before which nothing of them is due.
    due: BTreeSet<(TimestampMs, LogIndex)>,
    /// Logs that are too large.
    grown: VecDeque<LogIndex>,
    /// The next look; `None` before the first turn.
    next: Option<Time>,
    /// The look that is under way takes what was due at this time of day.
    begun_ms: Option<TimestampMs>,
    /// When the next turn is due for it.
    wake: Option<Time>,
    /// Starts that logs get when these blocks are durable.
    starts: VecDeque<(u64, LogIndex, Offset)>,
    told: Told,
}

/// How much was said of removals.
#[derive(Default, Debug)]
struct Told {
    since: Time,
    lines: u32,
    untold: u64,
}

impl Told {
    /// Whether one more may be named; then also how many were not since the last one.
    fn admit(&mut self, now: Time) -> Option<u64> {
        if now >= self.since.after_ms(TOLD_MS) {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines == TOLD_MAX {
            self.untold += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl Retention {
    pub(super) fn deadline(&self) -> Option<Time> {
        // A recovery lets nothing go.
        let busy = self.begun_ms.is_some() || (self.next.is_some() && !self.grown.is_empty());
        if busy { Some(Time::default()) } else { self.wake }
    }

    /// A log is cut off: no start above its end comes into force.
    pub(super) fn cut(&mut self, index: LogIndex, end: Offset) {
        for (_, log, start) in &mut self.starts {
            if *log == index {
                *start = end.min(*start);
            }
        }
    }

    /// The log is gone.
    pub(super) fn forget(&mut self, index: LogIndex, due: Option<TimestampMs>) {
        if let Some(due) = due {
            self.due.remove(&(due, index));
        }
    }
}

impl Store {
    /// Sees to it that the log is looked at as soon as something of it may be due. What is noted may be too early, and never too
    /// late.
    pub(super) fn note_due(&mut self, index: LogIndex) {
        let Some(stored) = self.logs.get_mut(index) else { return };
        let Some(due) = stored.log.retention_due() else { return };
        if stored.due.is_none_or(|known| due < known) {
            self.retention.forget(index, stored.due);
            self.retention.due.insert((due, index));
            stored.due = Some(due);
        }
    }

    /// Something was written of the log: if it has become too large, the next turn sees to that.
    pub(super) fn note_grown(&mut self, index: LogIndex) {
        if self.log(index).is_some_and(|log| log.is_oversized()) && self.retention.grown.back() != Some(&index) {
            self.retention.grown.push_back(index);
        }
    }

    /// A turn's share of letting go what logs do not keep.
    pub fn retain(&mut self, now: Now, limits: &RetentionLimits) {
        let next = *self.retention.next.get_or_insert(now.mono.after_ms(limits.initial_delay_ms));
        if self.retention.begun_ms.is_none() && now.mono >= next {
            self.retention.next = Some(now.mono.after_ms(limits.check_interval_ms));
            self.retention.begun_ms = Some(now.wall_ms);
        }
        for _ in 0..PARTITIONS_PER_TURN {
            let Some(index) = self.retention.grown.pop_front() else { break };
            self.let_go(now, index);
        }
        if let Some(begun_ms) = self.retention.begun_ms {
            self.look(now, begun_ms);
        }
        let first = self.retention.due.first().map(|(due, _)| due.saturating_sub(now.wall_ms).max(0) as u64);
        let next = self.retention.next.unwrap_or_default();
        self.retention.wake = first.map(|wait_ms| now.mono.after_ms(wait_ms).max(next));
    }

    /// Looks at some of the logs that were due when the look began.
    fn look(&mut self, now: Now, begun_ms: TimestampMs) {
        for _ in 0..PARTITIONS_PER_TURN {
            let Some(&(due, index)) = self.retention.due.first().filter(|(due, _)| *due <= begun_ms) else {
                self.retention.begun_ms = None;
                return;
            };
            let possible = self.let_go(now, index);
            if !possible {
                let again = now.mono.after_ms(AGAIN_MS);
                self.retention.next = self.retention.next.map(|next| next.min(again));
                self.retention.begun_ms = None;
                return;
            }
            // What is still due could not go yet: the next look sees it again.
            self.retention.due.remove(&(due, index));
            let stored = self.logs.get_mut(index).expect("logs that are gone are not due");
            stored.due = stored.log.retention_due().map(|due| due.max(begun_ms.saturating_add(1)));
            self.retention.due.extend(stored.due.map(|due| (due, index)));
        }
    }

    /// Begins to let go what the log does not keep; `false` if the journal takes nothing.
    fn let_go(&mut self, now: Now, index: LogIndex) -> bool {
        if self.journal.is_failed() || self.draining || self.journal.is_without_files() {
            return false;
        }
        let Some(stored) = self.logs.get_mut(index).filter(|stored| !stored.expiring) else { return true };
        let log = &mut stored.log;
        let Some(expired) = log.find_expired(now.wall_ms) else { return true };
        if expired.start == log.end() {
            log.seal();
        }
        if expired.start == log.start() {
            // The journal knows: they are below the start already.
            self.note_outlived(index);
            return true;
        }
        stored.expiring = true;
        let (partition, epoch) = (log.id(), log.epoch());
        self.tell_expired(now, index, &expired);
        let at = Placement { offset: expired.start, epoch, roll: false };
        let block = self.write_journal(EntryKind::LogStart, partition, at, Bytes::new());
        self.retention.starts.push_back((block, index, expired.start));
        true
    }

    /// Blocks up to this one are durable.
    pub(super) fn starts_durable(&mut self, durable: u64) {
        while let Some((_, index, start)) = self.retention.starts.pop_front_if(|(block, ..)| *block <= durable) {
            let Some(stored) = self.stored(index) else { continue };
            stored.expiring = false;
            self.move_start(index, start);
        }
    }

    fn tell_expired(&mut self, now: Now, index: LogIndex, expired: &Expired) {
        let Some(untold) = self.retention.told.admit(now.mono) else { return };
        let name = self.log(index).map_or("", |log| log.name());
        let Expired { start, segments, oversized, bytes } = expired;
        let aged = segments - oversized;
        let others = if untold > 0 { format!("; {untold} partitions before it are not named") } else { String::new() };
        tracing::info!(
            "{name}: the log starts at offset {start}: {oversized} segments go by retention.bytes and {aged} by retention.ms, \
             {bytes} bytes{others}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Settings, check};
    use crate::shard::store::DiskOp;
    use crate::shard::store::fixture::store;
    use crate::types::{PartitionId, Uuid};
    use crate::wire::batch::BatchBuilder;
    use bytes::BytesMut;
    use std::sync::Arc;

    const LIMITS: RetentionLimits = RetentionLimits { initial_delay_ms: 0, check_interval_ms: 1000 };
    const OLD_MS: TimestampMs = 1_000_000;

    fn at(ms: u64) -> Now {
        Now { mono: Time::default().after_ms(ms), wall_ms: OLD_MS + ms as i64 }
    }

    /// So many logs beside the fixture's, with a batch each; records stay for a second.
    fn filled(logs: i32) -> (Store, Vec<LogIndex>) {
        let (mut store, index) = store(2);
        let settings = Settings { retention_ms: Some(1000), ..store.log(index).unwrap().settings().clone() };
        let settings = Arc::new(settings);
        let open = |store: &mut Store, number| {
            let id = PartitionId { topic: Uuid([2; 16]), index: number };
            store.open(id, &format!("t-{number}").into(), &settings)
        };
        let indexes: Vec<_> = (0..logs).map(|number| open(&mut store, number)).collect();
        for index in &indexes {
            let batch = BatchBuilder::new(0).record(OLD_MS, None, Some(&[7; 100])).build();
            let info = check::info(&batch).unwrap();
            store.append(at(0), *index, BytesMut::from(&batch[..]), &info).unwrap();
        }
        (store, indexes)
    }

    /// A turn whose work for the disk is done at once; what it was.
    fn turn(store: &mut Store, now: Now) -> Vec<DiskOp> {
        store.retain(now, &LIMITS);
        let mut ops = Vec::new();
        store.plan(now, &mut ops);
        ops.iter().for_each(|op| store.done(now, op.done(true)));
        ops
    }

    fn starts(store: &Store, indexes: &[LogIndex]) -> i64 {
        indexes.iter().map(|index| store.log(*index).unwrap().start()).sum()
    }

    #[test]
    fn a_start_moves_when_the_journal_has_it() {
        let (mut store, indexes) = filled(1);
        (0..10).for_each(|ms| drop(turn(&mut store, at(ms))));
        store.retain(at(2000), &LIMITS);
        let mut ops = Vec::new();
        store.plan(at(2000), &mut ops);
        assert!(matches!(&ops[..], [DiskOp::JournalWrite(_)]), "{ops:?}");
        assert_eq!(starts(&store, &indexes), 0, "a crash would bring it back");
        store.retain(at(3000), &LIMITS);
        ops.iter().for_each(|op| store.done(at(3001), op.done(true)));
        let log = store.log(indexes[0]).unwrap();
        assert_eq!((log.start(), log.end(), log.bytes()), (1, 1, 0));
        assert!(turn(&mut store, at(3002)).is_empty(), "it was told once");
    }

    #[test]
    fn some_logs_go_a_turn_and_one_checkpoint_covers_all() {
        let logs = 3 * PARTITIONS_PER_TURN as i32;
        let (mut store, indexes) = filled(logs);
        (0..10).for_each(|ms| drop(turn(&mut store, at(ms))));
        assert_eq!(store.deadline(), Some(at(1001).mono), "nothing is looked at before something is due");
        let (mut checkpoints, mut syncs, mut removed, mut last) = (0, 0, 0, 0);
        for ms in 1001..3000 {
            for op in turn(&mut store, at(ms)) {
                match op {
                    DiskOp::Checkpoint(_) => checkpoints += 1,
                    DiskOp::Sync => syncs += 1,
                    DiskOp::SegmentRemove { .. } => removed += 1,
                    DiskOp::SegmentWrite { .. } => panic!("what goes is not written"),
                    _ => {}
                }
            }
            let sum = starts(&store, &indexes);
            assert!(sum - last <= PARTITIONS_PER_TURN as i64, "{sum} after {last}");
            last = sum;
        }
        assert_eq!((last, removed), (i64::from(logs), logs));
        assert_eq!((checkpoints, syncs), (1, 1));
        assert_eq!(store.deadline(), None, "nothing is left to be looked at");
    }

    #[test]
    fn a_look_waits_where_the_journal_takes_nothing() {
        let (mut store, indexes) = filled(1);
        (0..10).for_each(|ms| drop(turn(&mut store, at(ms))));
        store.drain_all();
        for ms in (2000..4000).step_by(10) {
            store.retain(at(ms), &LIMITS);
            assert!(store.retention.deadline() > Some(at(ms).mono), "it is not tried again and again");
        }
        assert_eq!(starts(&store, &indexes), 0);
    }

    #[test]
    fn a_few_removals_a_second_are_named() {
        let mut told = Told::default();
        let named = |told: &mut Told, ms| (0..30).filter_map(|_| told.admit(Time::default().after_ms(ms))).collect();
        let (first, second): (Vec<u64>, Vec<u64>) = (named(&mut told, 5000), named(&mut told, 6000));
        assert_eq!((first.len(), first[0], second.len(), second[0]), (10, 0, 10, 20));
    }
}
