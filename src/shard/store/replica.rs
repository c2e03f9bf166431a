//! What a follower does to its log: the leader's batches are appended where the leader has them, and what the leader does not
//! have is cut off.

use super::append::{AppendError, Appended};
use super::release::Release;
use super::{LogIndex, Store};
use crate::journal::{ENTRY_HEADER_BYTES, EntryKind};
use crate::log::{BatchInfo, Cut, Placement, Truncated, encode_skip};
use crate::types::{Epoch, Now, Offset, PartitionId};
use bytes::BytesMut;

/// Why a log is not cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TruncateError {
    /// The disk fails.
    Storage,
    /// Something is being written of the log, a checkpoint is being made, or the journal has no room just then: it can be
    /// tried again.
    Busy,
}

impl Store {
    /// Appends a batch that the leader has at `offset`, in its epoch. Offsets of which the leader has no records any more are
    /// passed over.
    pub fn append_replica(
        &mut self,
        now: Now,
        index: LogIndex,
        (offset, epoch): (Offset, Epoch),
        batch: BytesMut,
        info: &BatchInfo,
    ) -> Result<Appended, AppendError> {
        let log = self.writable(index, batch.len())?;
        if offset < log.end() || epoch < log.epoch_last() {
            return Err(AppendError::Passed);
        }
        let (partition, from) = (log.id(), log.end());
        let at = Placement { epoch, ..log.decide_at(offset, info, batch.len(), now.wall_ms) };
        let skip = (offset > from).then(|| {
            let block = self.write_skip(partition, from, at);
            self.log_mut(index).expect("the log is there").skip(offset, block);
            block
        });
        Ok(self.place(now, index, at, skip, batch, info))
    }

    /// Tells the journal that there are no records from `from` on up to the batch that is placed `at`.
    pub(super) fn write_skip(&mut self, partition: PartitionId, from: Offset, at: Placement) -> u64 {
        assert!(from < at.offset);
        let at = Placement { roll: false, ..at };
        self.write_journal(EntryKind::Skip, partition, at, encode_skip(from))
    }

    /// Cuts a log off where [`crate::log::Log::find_cut`] has found that it can be cut; durable with the journal's block that
    /// is returned. What has its place in segments is written over, or goes with its files as soon as no checkpoint names them.
    pub fn truncate(&mut self, index: LogIndex, cut: &Cut) -> Result<u64, TruncateError> {
        let stored = self.logs.get(index).ok_or(TruncateError::Storage)?;
        if self.is_closed() || stored.failed || stored.log.lost_from().is_some() {
            return Err(TruncateError::Storage);
        }
        if cut.end == stored.log.end() {
            // Nothing goes. A start that knows more of the log must not be told to end it here.
            return Ok(self.journal.sequence_last());
        }
        // A checkpoint waits for the block: it must not need the room that only a checkpoint brings.
        let cut = &stored.log.told(cut);
        let payload = cut.encode();
        let captured = matches!(self.release, Release::Drain { .. } | Release::Capture { .. });
        if captured || stored.log.is_busy() || !self.journal.has_room(ENTRY_HEADER_BYTES + payload.len()) {
            return Err(TruncateError::Busy);
        }
        let partition = stored.log.id();
        let at = Placement { offset: cut.end, epoch: stored.log.epoch(), roll: false };
        let truncated = self.log_mut(index).expect("it was just there").truncate(cut);
        self.forget(index, cut.end, truncated);
        self.truncated = self.write_journal(EntryKind::Truncate, partition, at, payload);
        self.advanced.push(index);
        Ok(self.truncated)
    }

    /// A cut that the journal tells of, at recovery.
    pub fn replay_truncation(&mut self, index: LogIndex, cut: &Cut) {
        let truncated = self.log_mut(index).expect("the log is there").replay_truncation(cut);
        self.forget(index, cut.end, truncated);
    }

    /// Offsets that the journal says were passed over, at recovery; `false` if batches are missing before them.
    pub fn replay_skip(&mut self, index: LogIndex, from: Offset, to: Offset) -> bool {
        self.log_mut(index).expect("the log is there").replay_skip(from, to)
    }

    /// Batches of a log from `end` on were cut off: nobody waits for them any more.
    fn forget(&mut self, index: LogIndex, end: Offset, truncated: Truncated) {
        // What waits for a block stays in order, but claims nothing above the log's end.
        for (_, log, offset_end) in &mut self.pending {
            if *log == index {
                *offset_end = end.min(*offset_end);
            }
        }
        self.retention.cut(index, end);
        self.held_bytes -= truncated.bytes;
        let mut rest = truncated.batches;
        let mut kept: Vec<LogIndex> = Vec::new();
        // The newest of its batches are the last ones of the log that came.
        while rest > 0 {
            let last = self.held.pop_back().expect("each batch in memory is noted");
            if last == index { rest -= 1 } else { kept.push(last) }
        }
        self.held.extend(kept.into_iter().rev());
        self.removals.add(truncated.segments.into_iter().map(|segment| (index, segment)));
        self.note_oldest(index);
        self.note_due(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Read, check};
    use crate::shard::store::DiskOp;
    use crate::shard::store::fixture::store;
    use crate::types::Time;
    use crate::wire::batch::{BatchBuilder, batches, crc_ok};

    const NOW: Now = Now { mono: Time(1), wall_ms: 1_700_000_000_000 };

    fn append(store: &mut Store, index: LogIndex, offset: Offset, epoch: i32) -> Result<Appended, AppendError> {
        let batch = BatchBuilder::new(0).record(1, None, Some(&[7; 100])).record(2, None, Some(b"x")).build();
        let info = check::info(&batch).unwrap();
        store.append_replica(NOW, index, (offset, Epoch(epoch)), BytesMut::from(&batch[..]), &info)
    }

    fn find(store: &Store, index: LogIndex, to: Offset) -> Cut {
        let log = store.log(index).unwrap();
        let mut search = log.find_cut(to);
        assert_eq!(log.search_cut(&mut search), None, "all is in memory");
        *search.cut().unwrap()
    }

    fn plan(store: &mut Store) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        store.plan(NOW, &mut ops);
        ops
    }

    fn settle(store: &mut Store) {
        loop {
            let ops = plan(store);
            if ops.is_empty() {
                return;
            }
            ops.iter().for_each(|op| store.done(NOW, op.done(true)));
        }
    }

    #[test]
    fn batches_are_where_the_leader_has_them_and_of_its_epoch() {
        let (mut store, index) = store(2);
        assert_eq!(append(&mut store, index, 5, 3), Ok(Appended { offset: 5, offset_end: 7 }));
        assert_eq!(append(&mut store, index, 6, 3), Err(AppendError::Passed), "the offset is taken");
        assert_eq!(append(&mut store, index, 7, 2), Err(AppendError::Passed), "the leader is an older one");
        assert_eq!(append(&mut store, index, 7, 4), Ok(Appended { offset: 7, offset_end: 9 }));
        let log = store.log(index).unwrap();
        let Read::Memory { parts, .. } = log.read(0, 9, 1 << 20) else { panic!("it is in memory") };
        let read: Vec<_> = parts.iter().flat_map(|part| batches(part)).collect();
        let heads = read.iter().map(|batch| {
            assert!(crc_ok(batch.bytes));
            (batch.header.base_offset.get(), batch.header.partition_leader_epoch.get())
        });
        assert_eq!(heads.collect::<Vec<_>>(), [(5, 3), (7, 4)]);
        assert_eq!(log.epoch_end(Epoch(3)), Some((Epoch(3), 7)));
    }

    #[test]
    fn what_waits_for_a_block_claims_nothing_that_was_cut_off() {
        let (mut store, index) = store(2);
        (0..4).for_each(|batch| assert!(append(&mut store, index, 2 * batch, 0).is_ok()));
        let under_way = plan(&mut store);
        assert!(matches!(&under_way[0], DiskOp::JournalWrite(_)), "all four are being written");
        let cut = find(&store, index, 4);
        let held = store.held_bytes();
        let block = store.truncate(index, &cut).unwrap();
        assert_eq!(block, 2);
        assert_eq!(store.held_bytes(), held / 2);
        assert_eq!(append(&mut store, index, 4, 1), Ok(Appended { offset: 4, offset_end: 6 }));
        under_way.iter().for_each(|op| store.done(NOW, op.done(true)));
        let log = store.log(index).unwrap();
        assert_eq!((log.durable_end(), log.high_watermark(), log.end()), (4, 4, 6), "the new batch is not durable");
        settle(&mut store);
        assert_eq!(store.log(index).unwrap().durable_end(), 6);
        assert!(store.sequence_durable() >= block);
    }

    #[test]
    fn nothing_is_cut_off_without_room_in_the_journal() {
        let (mut store, index) = store(1);
        assert!(append(&mut store, index, 0, 0).is_ok());
        let write = plan(&mut store);
        assert!(write.iter().any(|op| matches!(op, DiskOp::JournalWrite(_))), "the only file is taken");
        let cut = find(&store, index, 0);
        assert_eq!(store.truncate(index, &cut), Err(TruncateError::Busy));
        write.iter().for_each(|op| store.done(NOW, op.done(true)));
        assert_eq!(store.log(index).unwrap().end(), 2);
        assert!(store.truncate(index, &cut).is_ok(), "another file was made meanwhile");
        assert_eq!(store.log(index).unwrap().end(), 0);
    }
}
