//! What a coordinator knows when it begins: its checkpoint, and the records of its partition after that.

use super::Host;
use super::checkpoint::is_ahead;
use crate::group::Coordinator;
use crate::log::Read;
use crate::shard::message::RequestId;
use crate::shard::store::LogIndex;
use crate::shard::{Output, Pending, ReadPlan, Shard};
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
    /// The log is being read, by this request.
    Log {
        request: RequestId,
        offset: Offset,
        segment: Offset,
    },
    Retry {
        at: Time,
    },
    Done,
}

impl Shard {
    pub(super) fn groups_load(&mut self, now: Now, partition: PartitionIndex) {
        let host = self.groups.hosts.get_mut(&partition).expect("it was just made");
        let log = self.store.log(host.log).expect("it was just opened");
        if log.end() == 0 {
            return self.groups_loaded(now, partition);
        }
        host.load = Load::Checkpoint;
        let (name, topic) = (log.name().clone(), log.id().topic);
        self.out.push(Output::GroupCheckpointRead { log: host.log, name, topic });
    }

    /// The bytes of an [`Output::GroupCheckpointRead`]; `None` if there are none.
    pub(in crate::shard) fn group_checkpoint_read(&mut self, now: Now, log: LogIndex, bytes: Option<Vec<u8>>) {
        let Some(high_watermark) = self.store.log(log).map(|log| log.high_watermark()) else { return };
        let settings = self.groups.settings.clone();
        let Some((partition, host)) = self.groups.host_of(log) else { return };
        if host.load != Load::Checkpoint {
            return;
        }
        if let Some(bytes) = bytes {
            match host.coordinator.restore(&bytes) {
                Ok(offset) if is_ahead(offset, high_watermark) => {
                    tracing::warn!(
                        "groups of partition {partition}: the checkpoint is ahead of the log, which is read instead"
                    );
                    host.coordinator = Coordinator::new(settings);
                }
                Ok(_) => host.saved.checkpoint_bytes = bytes.len() as u64,
                Err(error) => tracing::warn!("groups of partition {partition}: {error}: the log is read instead"),
            }
        }
        self.groups_load_next(now, partition);
    }

    pub(super) fn groups_load_next(&mut self, now: Now, partition: PartitionIndex) {
        let offset = self.groups.hosts[&partition].coordinator.offset_end();
        self.groups_load_from(now, partition, offset);
    }

    fn groups_load_from(&mut self, now: Now, partition: PartitionIndex, mut offset: Offset) {
        loop {
            let host = &self.groups.hosts[&partition];
            let Some(log) = self.store.log(host.log) else { return };
            offset = offset.max(log.start());
            match log.read(offset, log.high_watermark(), LOAD_BYTES) {
                Read::Empty | Read::OutOfRange => return self.groups_loaded(now, partition),
                Read::Memory { parts, .. } => offset = self.groups_replay(partition, &parts, offset),
                Read::Disk(read) => {
                    let (name, log, segment) = (log.name().clone(), host.log, read.segment);
                    let plan = ReadPlan { name, read, offset, bytes_max: LOAD_BYTES };
                    let request = self.start(Pending::GroupLoad { log });
                    let host = self.groups.hosts.get_mut(&partition).expect("it was just there");
                    host.load = Load::Log { request, offset, segment };
                    self.out.push(Output::Read { request, part: 0, plan });
                    return;
                }
            }
        }
    }

    /// Batches of the log, or a read that failed.
    pub(in crate::shard) fn groups_read(
        &mut self,
        now: Now,
        request: RequestId,
        log: LogIndex,
        data: Option<Vec<Bytes>>,
    ) {
        self.requests.remove(&request);
        if self.store.log(log).is_none() {
            // Deleted; the coordinator goes at the end of the turn.
            return;
        }
        let Some((partition, host)) = self.groups.host_of(log) else { return };
        let Load::Log { request: expected, offset, segment } = host.load else { return };
        assert_eq!(request, expected, "one read at a time");
        let Some(parts) = data else {
            host.load = Load::Retry { at: now.mono.after_ms(RETRY_MS) };
            self.groups.touched.insert(partition);
            return;
        };
        let next = self.groups_replay(partition, &parts, offset);
        let next = if next > offset { next } else { self.segment_after(log, segment, offset) };
        self.groups_load_from(now, partition, next);
    }

    /// Where reading goes on when a segment has nothing more from `offset` on.
    fn segment_after(&self, log: LogIndex, segment: Offset, offset: Offset) -> Offset {
        let log = self.store.log(log).expect("a host's log is there");
        let bases = log.segments().map(|segment| segment.base);
        bases.filter(|base| *base > segment && *base > offset).min().unwrap_or(log.end())
    }

    /// Shows the coordinator the records in `parts` from `offset` on; returns where the next ones begin.
    fn groups_replay(&mut self, partition: PartitionIndex, parts: &[Bytes], mut offset: Offset) -> Offset {
        let host = self.groups.hosts.get_mut(&partition).expect("it is loading");
        for batch in parts.iter().flat_map(|part| batches(part)) {
            host.saved.tail_bytes += batch.bytes.len() as u64;
            if let Err(reason) = replay(host, &batch) {
                let base = batch.header.base_offset.get();
                tracing::error!("groups of partition {partition}: the batch at offset {base} is left out: {reason}");
            }
            offset = offset.max(batch.header.last_offset() + 1);
        }
        offset
    }

    fn groups_loaded(&mut self, now: Now, partition: PartitionIndex) {
        let host = self.groups.hosts.get_mut(&partition).expect("it is loading");
        host.load = Load::Done;
        host.coordinator.loaded(now);
        // Also those of which the process before this one could not store that they are gone. A topic that was made since
        // the loading began has no positions yet.
        let mut gone = host.coordinator.topics_missing(|topic| host.known.topic(topic).is_some());
        gone.append(&mut host.deleted);
        gone.iter().for_each(|topic| host.forget(topic));
        self.groups.touched.insert(partition);
    }
}

fn replay(host: &mut Host, batch: &Batch<'_>) -> Result<(), &'static str> {
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
