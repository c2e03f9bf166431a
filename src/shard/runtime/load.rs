//! What a coordinator knows when it begins: its checkpoint, and the records of its partition after that. Both are taken
//! over in pieces, one a turn.

use super::{Coordinator, Host, Output, Runtime};
use crate::log::{Log, Read, SegmentId};
use crate::shard::port::ReadPlan;
use crate::shard::store::{LogIndex, Store};
use crate::types::{Now, Offset, PartitionIndex, Time};
use crate::wire::batch::{Batch, HEADER_BYTES, RecordCursor, batches, crc_ok};
use crate::wire::compression::decompress;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// Bytes of batches that are read at once.
const LOAD_BYTES: usize = 512 << 10;
/// Bytes of a checkpoint that are taken over in one turn.
const RESTORED_BYTES: usize = 256 << 10;
/// Records that are replayed in one turn.
pub(super) const REPLAYED_PER_TURN: usize = 4096;
/// A batch's records take at most this much when decompressed: the coordinators themselves write them, and no client.
const RECORDS_BYTES_MAX: usize = 4 << 20;
/// Unpacking so many bytes of records takes about as long as replaying one.
const BYTES_PER_RECORD: usize = 256;
/// A read that failed is tried again after this time.
const RETRY_MS: u64 = 1000;

/// How far a coordinator is with loading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    Begun,
    /// The checkpoint is being read.
    Checkpoint,
    /// The checkpoint is being taken over.
    Restoring,
    /// The log is being read, in this segment.
    Log {
        segment: SegmentId,
    },
    /// What was read from an offset on is being replayed: out of that segment, or out of memory.
    Replaying {
        segment: Option<SegmentId>,
        from: Offset,
    },
    /// The log is read on at this time.
    Later {
        at: Time,
        failed: bool,
    },
    /// All is read, and the coordinator is about to become active.
    Opening,
    Done,
}

/// Batches of a coordinator's log on their way to it.
#[derive(Default)]
pub struct Replay {
    /// Where reading goes on.
    next: Offset,
    parts: VecDeque<Bytes>,
    current: Option<Current>,
}

/// A batch of which not all records have been replayed: the rest of them.
struct Current {
    base_offset: Offset,
    bytes: Bytes,
    records: i32,
}

impl<C: Coordinator> Runtime<C> {
    pub(super) fn load_begin(&mut self, now: Now, store: &Store, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("it was just made");
        let log = store.log(host.log).expect("it was just opened");
        if log.end() == 0 {
            return self.load_end(now, partition);
        }
        host.load = Load::Checkpoint;
        let (name, topic) = (log.name().clone(), log.id().topic);
        self.out.push(Output::CheckpointRead { log: host.log, name, topic });
    }

    /// The bytes of an [`Output::CheckpointRead`]; `None` if there are none.
    pub fn checkpoint_read(&mut self, store: &Store, log: LogIndex, bytes: Option<Vec<u8>>) {
        let Some(high_watermark) = store.log(log).map(|log| log.high_watermark()) else { return };
        let Some((partition, host)) = self.host_of(log) else { return };
        if host.load != Load::Checkpoint {
            return;
        }
        let begun = bytes.map(|bytes| (bytes.len() as u64, C::restore_begin(bytes)));
        let name = store.log(log).expect("it was just there").name();
        match begun {
            // What it has beyond the log was lost with `ack.durability=memory`.
            Some((_, Ok((_, checkpoint_end)))) if checkpoint_end > high_watermark => {
                tracing::warn!("{name}: the coordinator's checkpoint is ahead of the log, which is read instead");
            }
            Some((bytes, Ok((restoring, _)))) => {
                host.saved.checkpoint_bytes = bytes;
                host.restoring = Some(restoring);
            }
            Some((_, Err(error))) => refuse(name, &error),
            None => {}
        }
        host.load = Load::Restoring;
        self.touched.insert(partition);
    }

    /// Goes on with taking over the checkpoint, if there is one.
    pub(super) fn restore_some(&mut self, store: &Store, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        let Some(restoring) = &mut host.restoring else { return self.read_on(partition) };
        match host.coordinator.restore_some(restoring, RESTORED_BYTES) {
            Ok(false) => return,
            Ok(true) => host.replay.next = host.coordinator.offset_end(),
            Err(error) => {
                let name = store.log(host.log).map_or("a deleted partition", |log| log.name());
                refuse(name, &error);
                host.saved.checkpoint_bytes = 0;
                // Whom the former has answered in this turn is to hear of it.
                let mut former = std::mem::replace(&mut host.coordinator, C::new(&self.settings));
                self.out.extend(former.take_answers().into_iter().map(Output::Answer));
            }
        }
        host.restoring = None;
        self.read_on(partition);
    }

    /// The log is read on in the next turn.
    fn read_on(&mut self, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        host.load = Load::Later { at: Time(0), failed: false };
        self.touched.insert(partition);
    }

    pub(super) fn load_next(&mut self, now: Now, store: &Store, partition: PartitionIndex) {
        self.touched.insert(partition);
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        let Some(log) = store.log(host.log) else { return };
        let offset = host.replay.next.max(log.start());
        host.replay.next = offset;
        match log.read(offset, log.high_watermark(), LOAD_BYTES) {
            Read::Empty | Read::Lost | Read::OutOfRange => self.load_end(now, partition),
            Read::Memory { parts, .. } => {
                host.replay.parts = parts.into();
                host.load = Load::Replaying { segment: None, from: offset };
            }
            Read::Disk(read) => {
                host.load = Load::Log { segment: read.segment };
                let plan =
                    ReadPlan { partition: log.id(), name: log.name().clone(), read, offset, bytes_max: LOAD_BYTES };
                self.out.push(Output::Read { log: host.log, plan });
            }
        }
    }

    /// The batches of an [`Output::Read`], or a read that failed.
    pub fn read_done(&mut self, now: Now, log: LogIndex, data: Option<Vec<Bytes>>) {
        // A deleted partition's coordinator goes with the next image.
        let Some((partition, host)) = self.host_of(log) else { return };
        let Load::Log { segment } = host.load else { return };
        match data {
            Some(parts) => {
                host.replay.parts = parts.into();
                host.load = Load::Replaying { segment: Some(segment), from: host.replay.next };
            }
            None => host.load = Load::Later { at: now.mono.after_ms(RETRY_MS), failed: true },
        }
        self.touched.insert(partition);
    }

    /// Goes on with replaying what was read.
    pub(super) fn replay_some(&mut self, now: Now, store: &Store, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        let Load::Replaying { segment, from } = host.load else { panic!("nothing is replayed") };
        let Some(log) = store.log(host.log) else { return };
        let mut budget = REPLAYED_PER_TURN;
        while budget > 0 {
            if !replay_step(host, log, &mut budget) {
                return self.replayed(now, store, partition, segment, from);
            }
        }
        self.touched.insert(partition);
    }

    /// All that was read from `from` on is replayed.
    fn replayed(
        &mut self,
        now: Now,
        store: &Store,
        partition: PartitionIndex,
        segment: Option<SegmentId>,
        from: Offset,
    ) {
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        if host.replay.next == from {
            let log = store.log(host.log).zip(segment);
            let Some((log, segment)) = log else { return self.load_end(now, partition) };
            host.replay.next = segment_after(log, segment, from);
        }
        self.load_next(now, store, partition);
    }

    /// All records are replayed.
    pub(super) fn load_end(&mut self, now: Now, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        let Host { coordinator, known, deleted, .. } = host;
        // Also topics of which the process before this one could not store that they are gone. What is known of a topic
        // that was made since the loading began is of its predecessor.
        let exists = |topic: &str| known.topic(topic).is_some() && !deleted.contains(topic);
        host.load = if coordinator.loaded(now, &exists) { Load::Done } else { Load::Opening };
        if host.load == Load::Done {
            (host.known, host.deleted) = Default::default();
        }
        self.touched.insert(partition);
    }
}

/// Where reading goes on when a segment has nothing more from `offset` on.
fn segment_after(log: &Log, segment: SegmentId, offset: Offset) -> Offset {
    let bases = log.segments().map(|segment| segment.base);
    bases.filter(|base| *base > segment.base && *base > offset).min().unwrap_or(log.end())
}

/// Replays what is next of what was read; false when there is no more. `budget`: in records, about.
fn replay_step<C: Coordinator>(host: &mut Host<C>, log: &Log, budget: &mut usize) -> bool {
    let Host { coordinator, replay, saved, .. } = host;
    if let Some(current) = &mut replay.current {
        if replay_records(coordinator, current, log, budget) {
            replay.current = None;
        }
        return true;
    }
    let Some(part) = replay.parts.front_mut() else { return false };
    let Some(batch) = batches(part).next() else {
        replay.parts.pop_front();
        return true;
    };
    let (base_offset, bytes) = (batch.header.base_offset.get(), batch.bytes.len());
    saved.tail_bytes += bytes as u64;
    replay.next = replay.next.max(batch.header.last_offset() + 1);
    match unpack(&batch) {
        Ok(current) => replay.current = current,
        Err(reason) => tracing::error!("{}: the batch at offset {base_offset} is left out: {reason}", log.name()),
    }
    let unpacked = replay.current.as_ref().map_or(0, |current| current.bytes.len());
    *budget = budget.saturating_sub(1 + unpacked / BYTES_PER_RECORD);
    part.advance(bytes);
    true
}

/// The records of a batch; none of one that marks a transaction's end.
fn unpack(batch: &Batch<'_>) -> Result<Option<Current>, &'static str> {
    let header = batch.header;
    if header.is_control() {
        return Ok(None);
    }
    if !crc_ok(batch.bytes) {
        return Err("its checksum is wrong");
    }
    let compression = header.compression().ok_or("its compression is unknown")?;
    let records = decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX);
    let records = records.map_err(|_| "it does not decompress")?;
    let bytes = Bytes::from(records);
    Ok(Some(Current { base_offset: header.base_offset.get(), bytes, records: header.records_count.get() }))
}

/// Replays records of a batch; true when there are no more.
fn replay_records<C: Coordinator>(coordinator: &mut C, current: &mut Current, log: &Log, budget: &mut usize) -> bool {
    let mut records = RecordCursor::new(&current.bytes, current.records);
    while *budget > 0 {
        *budget -= 1;
        let record = match records.next() {
            None => return true,
            Some(Err(_)) => {
                let base_offset = current.base_offset;
                tracing::error!("{}: the records of the batch at offset {base_offset} end early", log.name());
                return true;
            }
            Some(Ok(record)) => record,
        };
        let offset = current.base_offset + i64::from(record.offset_delta);
        // A batch may begin before what the checkpoint covers ends.
        if offset >= coordinator.offset_end() {
            coordinator.replay(offset, record.key.unwrap_or_default(), record.value);
        }
    }
    let (bytes, records) = records.rest();
    current.bytes.advance(current.bytes.len() - bytes);
    current.records = records;
    false
}

fn refuse(name: &str, error: &impl std::fmt::Display) {
    tracing::warn!("{name}: the log is read instead of the coordinator's checkpoint: {error}");
}
