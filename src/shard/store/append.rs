//! What reaches the logs: batches that are appended, moved starts, entries of the journal at recovery.

use super::{LogIndex, Store};
use crate::journal::{Entry, EntryKind};
use crate::log::{BatchInfo, Log, Placement, SequenceError, SequenceVerdict};
use crate::types::{Now, Offset, PartitionId};
use crate::wire::batch::{checksum, patch_base_offset_and_epoch};
use crate::wire::error::ErrorCode;
use bytes::{Bytes, BytesMut};

/// Batches up to this size are copied together, so that none of them keeps a large receive buffer alive.
pub(super) const SMALL_BATCH_BYTES: usize = 32 << 10;
const ARENA_BYTES: usize = 256 << 10;

/// Why a batch is not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// It does not continue what its producer has written.
    Sequence(SequenceError),
    /// The batch does not fit into a journal file.
    TooLarge,
    /// The disk fails: KAFKA_STORAGE_ERROR.
    Storage,
    /// A leader's batch is of an offset or an epoch that the log has passed already.
    Passed,
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
            AppendError::Passed => (ErrorCode::UnknownServerError, "the log has passed the batch's offset or epoch"),
        }
    }
}

/// An accepted batch, whether new or written before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Offset of its first record.
    pub offset: Offset,
    /// The answer waits until the log is durable up to here.
    pub offset_end: Offset,
}

impl Store {
    /// Appends a batch whose bytes have been checked. Its header gets its offset and epoch.
    pub fn append(
        &mut self,
        now: Now,
        index: LogIndex,
        batch: BytesMut,
        info: &BatchInfo,
    ) -> Result<Appended, AppendError> {
        let log = self.writable(index, batch.len())?;
        if let Some(stamp) = &info.producer
            && let SequenceVerdict::Written(known) = log.producers().check(stamp).map_err(AppendError::Sequence)?
        {
            return Ok(Appended { offset: known.offset_first, offset_end: known.offset_last + 1 });
        }
        let at = log.decide(info, batch.len(), now.wall_ms);
        Ok(self.place(now, index, at, None, batch, info))
    }

    /// The log, if a batch of so many bytes can be appended to it.
    pub(super) fn writable(&self, index: LogIndex, bytes: usize) -> Result<&Log, AppendError> {
        let stored = self.logs.get(index).ok_or(AppendError::Storage)?;
        if self.is_closed() || stored.failed || stored.log.lost_from().is_some() {
            return Err(AppendError::Storage);
        }
        if bytes > self.journal.payload_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        Ok(&stored.log)
    }

    /// Writes a batch to the journal and adds it to the log. `skip`: the journal's block that says which offsets before it
    /// were passed over.
    pub(super) fn place(
        &mut self,
        now: Now,
        index: LogIndex,
        at: Placement,
        skip: Option<u64>,
        mut batch: BytesMut,
        info: &BatchInfo,
    ) -> Appended {
        let partition = self.log(index).expect("the log is there").id();
        patch_base_offset_and_epoch(&mut batch, at.offset, at.epoch.0);
        let bytes = if batch.len() <= SMALL_BATCH_BYTES { self.gather(&batch) } else { batch.freeze() };
        let block = self.write_journal(EntryKind::Batch, partition, at, bytes.clone());
        assert!(skip.is_none_or(|skip| skip <= block));
        self.apply(index, at, info, bytes, skip.unwrap_or(block), now.wall_ms);
        let offset_end = at.offset + i64::from(info.last_offset_delta) + 1;
        self.pending.push_back((block, index, offset_end));
        if self.log(index).is_some_and(|log| log.settings().ack_memory) {
            self.commit(index);
            self.advanced.push(index);
        }
        Appended { offset: at.offset, offset_end }
    }

    pub(super) fn gather(&mut self, batch: &[u8]) -> Bytes {
        if self.arena.capacity() < batch.len() {
            self.arena = BytesMut::with_capacity(ARENA_BYTES);
        }
        self.arena.extend_from_slice(batch);
        self.arena.split().freeze()
    }

    pub(super) fn write_journal(
        &mut self,
        kind: EntryKind,
        partition: PartitionId,
        at: Placement,
        bytes: Bytes,
    ) -> u64 {
        let payload_bytes = bytes.len() as u32;
        let entry = Entry { kind, roll: at.roll, partition, epoch: at.epoch, offset: at.offset, payload_bytes };
        let crc = checksum(&bytes);
        self.journal.append(&entry, bytes, crc)
    }

    fn apply(&mut self, index: LogIndex, at: Placement, info: &BatchInfo, bytes: Bytes, block: u64, seen_ms: i64) {
        self.held_bytes += bytes.len();
        self.held.push_back(index);
        let stored = self.stored(index).expect("the log is there");
        let producers = stored.log.producers().len();
        stored.log.apply(at, info, bytes, block, seen_ms);
        let come = stored.log.producers().len() - producers;
        self.sweep.producers += come;
        self.note_oldest(index);
        self.note_due(index);
    }

    /// Puts the log where it belongs in `oldest`.
    pub(super) fn note_oldest(&mut self, index: LogIndex) {
        let Some(stored) = self.logs.get_mut(index) else { return };
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
        self.move_start(index, start);
        Ok(self.write_journal(EntryKind::LogStart, partition, at, Bytes::new()))
    }

    /// Moves the log's start up, to its end at the most.
    pub fn move_start(&mut self, index: LogIndex, start: Offset) {
        let log = self.log_mut(index).expect("the log is there");
        let segments = log.set_start(start.min(log.end()));
        self.outlived(index, &segments);
    }

    /// Takes an entry of the journal at recovery. Returns `false` if it does not follow what the log has.
    pub fn replay(&mut self, index: LogIndex, entry: &Entry, info: Option<&BatchInfo>, bytes: Bytes, now: Now) -> bool {
        let Some(stored) = self.stored(index) else { return true };
        let Some(info) = info else {
            self.move_start(index, entry.offset);
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
            self.note_due(index);
            self.queue_flush_if_due(index);
        }
        true
    }

    pub(super) fn block_durable(&mut self, sequence: u64) {
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
        self.starts_durable(durable);
    }

    /// Gives up the journal: a failed sync leaves unknown what the device holds. The core takes no more writes; reads
    /// go on.
    pub(super) fn journal_failed(&mut self) {
        self.journal.fail();
        while let Some((_, index, _)) = self.pending.pop_front() {
            self.advanced.push(index);
        }
    }
}
