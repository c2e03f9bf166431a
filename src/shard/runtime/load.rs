//! What a coordinator knows when it begins: its checkpoint, and the records of its partition after that.

use super::checkpoint::is_ahead;
use super::{Coordinator, Host, Output, Runtime};
use crate::log::{Log, Read, SegmentId};
use crate::shard::port::ReadPlan;
use crate::shard::store::{LogIndex, Store};
use crate::types::{Now, Offset, PartitionIndex, Time};
use crate::wire::batch::{Batch, HEADER_BYTES, RecordCursor, batches, crc_ok};
use crate::wire::compression::decompress;
use bytes::Bytes;

/// Records read, and applied in one turn.
const LOAD_BYTES: usize = 512 << 10;
/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 64 << 20;
/// A read that failed is tried again after this time.
const RETRY_MS: u64 = 1000;

/// How far a coordinator is with loading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    Begun,
    /// The checkpoint is being read.
    Checkpoint,
    /// The log is being read from `offset` on, in this segment.
    Log {
        offset: Offset,
        segment: SegmentId,
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
    pub fn checkpoint_read(&mut self, now: Now, store: &Store, log: LogIndex, bytes: Option<Vec<u8>>) {
        let Some(high_watermark) = store.log(log).map(|log| log.high_watermark()) else { return };
        let fresh = C::new(&self.settings);
        let Some((partition, host)) = self.host_of(log) else { return };
        if host.load != Load::Checkpoint {
            return;
        }
        if let Some(bytes) = bytes {
            let name = store.log(log).expect("it was just there").name();
            match host.coordinator.restore(&bytes) {
                Ok(offset) if is_ahead(offset, high_watermark) => {
                    tracing::warn!("{name}: the coordinator's checkpoint is ahead of the log, which is read instead");
                    host.coordinator = fresh;
                }
                Ok(_) => host.saved.checkpoint_bytes = bytes.len() as u64,
                Err(error) => {
                    tracing::warn!("{name}: the log is read instead of the coordinator's checkpoint: {error}");
                }
            }
        }
        self.load_next(now, store, partition);
    }

    pub(super) fn load_next(&mut self, now: Now, store: &Store, partition: PartitionIndex) {
        let offset = self.hosts[&partition].coordinator.offset_end();
        self.load_from(now, store, partition, offset);
    }

    fn load_from(&mut self, now: Now, store: &Store, partition: PartitionIndex, offset: Offset) {
        self.touched.insert(partition);
        let host = self.hosts.get_mut(&partition).expect("it is loading");
        let Some(log) = store.log(host.log) else { return };
        let offset = offset.max(log.start());
        match log.read(offset, log.high_watermark(), LOAD_BYTES) {
            Read::Empty | Read::Lost | Read::OutOfRange => self.load_end(now, partition),
            Read::Memory { parts, .. } => {
                replay_parts(host, log, &parts, offset);
                host.load = Load::Later { at: now.mono, failed: false };
            }
            Read::Disk(read) => {
                host.load = Load::Log { offset, segment: read.segment };
                let plan =
                    ReadPlan { partition: log.id(), name: log.name().clone(), read, offset, bytes_max: LOAD_BYTES };
                self.out.push(Output::Read { log: host.log, plan });
            }
        }
    }

    /// The batches of an [`Output::Read`], or a read that failed.
    pub fn read_done(&mut self, now: Now, store: &Store, log: LogIndex, data: Option<Vec<Bytes>>) {
        // A deleted partition's coordinator goes with the next image.
        let Some(source) = store.log(log) else { return };
        let Some((partition, host)) = self.host_of(log) else { return };
        let Load::Log { offset, segment } = host.load else { return };
        let Some(parts) = data else {
            host.load = Load::Later { at: now.mono.after_ms(RETRY_MS), failed: true };
            self.touched.insert(partition);
            return;
        };
        let next = replay_parts(host, source, &parts, offset);
        let next = if next > offset { next } else { segment_after(source, segment, offset) };
        self.load_from(now, store, partition, next);
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

/// Shows the coordinator the records in `parts` from `offset` on; returns where the next ones begin.
fn replay_parts<C: Coordinator>(host: &mut Host<C>, log: &Log, parts: &[Bytes], mut offset: Offset) -> Offset {
    for batch in parts.iter().flat_map(|part| batches(part)) {
        host.saved.tail_bytes += batch.bytes.len() as u64;
        if let Err(reason) = replay(host, &batch) {
            let base = batch.header.base_offset.get();
            tracing::error!("{}: the batch at offset {base} is left out: {reason}", log.name());
        }
        offset = offset.max(batch.header.last_offset() + 1);
    }
    offset
}

fn replay<C: Coordinator>(host: &mut Host<C>, batch: &Batch<'_>) -> Result<(), &'static str> {
    let header = batch.header;
    if header.is_control() {
        return Ok(());
    }
    if !crc_ok(batch.bytes) {
        return Err("its checksum is wrong");
    }
    let compression = header.compression().ok_or("its compression is unknown")?;
    let records = decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX);
    let records = records.map_err(|_| "it does not decompress")?;
    for record in RecordCursor::new(&records, header.records_count.get()) {
        let record = record.map_err(|_| "its records end early")?;
        let offset = header.base_offset.get() + i64::from(record.offset_delta);
        // A batch may begin before what the checkpoint covers ends.
        if offset >= host.coordinator.offset_end() {
            host.coordinator.replay(offset, record.key.unwrap_or_default(), record.value);
        }
    }
    Ok(())
}
