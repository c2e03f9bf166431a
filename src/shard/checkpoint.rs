//! One core's checkpoint: what is in its partitions' segments, in the schema of `flatbuffers/checkpoint.fbs`, followed by
//! the CRC-32C of it as a little-endian u32.

use crate::flat::checkpoint as flat;
use crate::log::{IndexEntry, Producer, ProducerBatch, Producers, Restored, Segment, SegmentId};
use crate::types::{Epoch, PartitionId, ProducerEpoch, ProducerId, Sequence};
use flatbuffers::{FlatBufferBuilder, WIPOffset};

/// A checkpoint being written, a few partitions at a time.
pub struct CheckpointBuilder {
    flat: FlatBufferBuilder<'static>,
    partitions: Vec<WIPOffset<flat::PartitionCheckpoint<'static>>>,
}

/// What a checkpoint says besides the partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CheckpointHead {
    /// Of the journal: blocks of older generations are not needed.
    pub generation: u64,
    /// The core that wrote it.
    pub core: u16,
    /// Cores that the node had.
    pub cores: u16,
    /// Blocks of this generation up to and including this sequence are not needed.
    pub sequence: u64,
    /// The broker ended cleanly: no blocks follow.
    pub ended: bool,
}

impl Default for CheckpointBuilder {
    fn default() -> Self {
        CheckpointBuilder { flat: FlatBufferBuilder::new(), partitions: Vec::new() }
    }
}

impl CheckpointBuilder {
    /// Adds a partition.
    pub fn add(&mut self, id: PartitionId, log: &Restored) {
        let segments: Vec<_> = log.segments.iter().map(segment_meta).collect();
        let marks: Vec<_> = log.segments.iter().flat_map(index_marks).collect();
        let epochs: Vec<_> = log.epochs.iter().map(|(epoch, start)| flat::EpochStart::new(epoch.0, *start)).collect();
        let producers: Vec<_> = log.producers.iter().map(|(id, producer)| self.producer(id, producer)).collect();
        let untimed: Vec<_> = log.segments.iter().filter_map(untimed).collect();
        let untimed = (!untimed.is_empty()).then(|| self.flat.create_vector(&untimed));
        let partition = flat::PartitionCheckpointArgs {
            topic: Some(&id.topic.into()),
            index: id.index,
            log_start: log.start,
            flushed_end: log.flushed_end,
            segments: Some(self.flat.create_vector(&segments)),
            index_marks: Some(self.flat.create_vector(&marks)),
            epochs: Some(self.flat.create_vector(&epochs)),
            producers: Some(self.flat.create_vector(&producers)),
            lost_from: log.lost_from.unwrap_or(-1),
            commit_end: log.commit_end,
            leftovers: log.leftovers,
            untimed,
        };
        self.partitions.push(flat::PartitionCheckpoint::create(&mut self.flat, &partition));
    }

    fn producer(&mut self, id: ProducerId, producer: &Producer) -> WIPOffset<flat::Producer<'static>> {
        let batches: Vec<_> = producer
            .batches
            .iter()
            .map(|b| {
                let (first, last) = (b.sequence_first.0, b.sequence_last.0);
                flat::ProducerBatch::new(first, last, b.offset_first, b.offset_last, b.timestamp)
            })
            .collect();
        let batches = Some(self.flat.create_vector(&batches));
        let args = flat::ProducerArgs {
            id: id.0,
            epoch: producer.epoch.0,
            timestamp_ms: producer.seen_ms,
            batches,
            ..Default::default()
        };
        flat::Producer::create(&mut self.flat, &args)
    }

    /// The whole file.
    pub fn finish(mut self, head: CheckpointHead) -> Vec<u8> {
        let partitions = Some(self.flat.create_vector(&self.partitions));
        let args = flat::CheckpointArgs {
            generation: head.generation,
            core: head.core,
            cores: head.cores,
            journal_sequence: head.sequence,
            partitions,
            ended: head.ended,
        };
        let root = flat::Checkpoint::create(&mut self.flat, &args);
        flat::finish_checkpoint_buffer(&mut self.flat, root);
        let mut bytes = self.flat.finished_data().to_vec();
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

fn segment_meta(segment: &Segment) -> flat::SegmentMeta {
    flat::SegmentMeta::new(
        segment.base,
        u64::from(segment.bytes),
        segment.timestamp_max,
        segment.timestamp_offset,
        segment.timestamp_first,
        segment.indexed,
        segment.generation,
    )
}

fn untimed(segment: &Segment) -> Option<flat::Untimed> {
    let untimed = segment.timestamp_max < 0 && segment.modified_ms >= 0;
    untimed.then(|| flat::Untimed::new(segment.base, segment.modified_ms))
}

fn index_marks(segment: &Segment) -> impl Iterator<Item = flat::IndexMark> {
    segment.index().iter().map(|entry| {
        flat::IndexMark::new(segment.base, entry.offset, entry.timestamp_max, entry.timestamp_offset, entry.position)
    })
}

const FILE_START: &str = "checkpoint-";

/// The file of a core's checkpoint, as one of so many cores.
pub fn file_name(core: u16, cores: u16) -> String {
    format!("{FILE_START}{core:02}-{cores:02}")
}

/// The number of cores in the name of a checkpoint's file; `None` if it is none, or one not finished.
pub fn cores_of(name: &str) -> Option<u16> {
    name.strip_prefix(FILE_START)?.split_once('-')?.1.parse().ok()
}

/// Reads a checkpoint; `None` if the bytes are none.
pub fn decode(bytes: &[u8]) -> Option<(CheckpointHead, Vec<(PartitionId, Restored)>)> {
    let (bytes, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(bytes) != u32::from_le_bytes(*crc) || bytes.len() < 8 {
        return None;
    }
    if !flat::checkpoint_buffer_has_identifier(bytes) {
        return None;
    }
    // Tables of a checkpoint number a few for each partition: the verifier's default limits are too low.
    let options =
        flatbuffers::VerifierOptions { max_tables: bytes.len() / 4, max_apparent_size: 1 << 40, ..Default::default() };
    let root = flat::root_as_checkpoint_with_opts(&options, bytes).ok()?;
    let head = CheckpointHead {
        generation: root.generation(),
        core: root.core(),
        cores: root.cores(),
        sequence: root.journal_sequence(),
        ended: root.ended(),
    };
    let partitions = root.partitions().iter().map(|partition| {
        let id = PartitionId { topic: partition.topic().into(), index: partition.index() };
        Some((id, restored(&partition)?))
    });
    Some((head, partitions.collect::<Option<Vec<_>>>()?))
}

fn restored(partition: &flat::PartitionCheckpoint<'_>) -> Option<Restored> {
    let mut segments = Vec::new();
    for meta in partition.segments() {
        if meta.base_offset() < 0 {
            return None;
        }
        let mut segment = Segment::new(SegmentId::new(meta.base_offset(), meta.generation()));
        segment.bytes = u32::try_from(meta.bytes()).ok()?;
        segment.timestamp_max = meta.timestamp_max();
        segment.timestamp_offset = meta.timestamp_max_offset();
        segment.timestamp_written = (segment.timestamp_max, segment.timestamp_offset);
        segment.timestamp_first = meta.first_timestamp();
        segment.indexed = meta.indexed();
        let marks = partition.index_marks().iter().filter(|mark| mark.segment() == meta.base_offset());
        let index: Vec<IndexEntry> = marks.map(index_entry).collect();
        if !index.is_sorted_by_key(|entry| entry.position) {
            return None;
        }
        segment.restore_index(index);
        let untimed = partition.untimed().into_iter().flatten().find(|untimed| untimed.segment() == segment.base);
        segment.modified_ms = untimed.map_or(-1, |untimed| untimed.modified_ms());
        segments.push(segment);
    }
    let mut producers = Producers::default();
    for producer in partition.producers() {
        let batches = producer.batches().iter().map(|b| ProducerBatch {
            sequence_first: Sequence(b.base_sequence()),
            sequence_last: Sequence(b.last_sequence()),
            offset_first: b.base_offset(),
            offset_last: b.last_offset(),
            timestamp: b.timestamp(),
        });
        let state = Producer {
            epoch: ProducerEpoch(producer.epoch()),
            batches: batches.collect(),
            seen_ms: producer.timestamp_ms(),
        };
        producers.insert(ProducerId(producer.id()), state);
    }
    Some(Restored {
        start: partition.log_start(),
        flushed_end: partition.flushed_end(),
        segments,
        producers,
        epochs: partition.epochs().iter().map(|e| (Epoch(e.epoch()), e.start())).collect(),
        commit_end: partition.commit_end(),
        lost_from: Some(partition.lost_from()).filter(|offset| *offset >= 0),
        leftovers: partition.leftovers(),
    })
}

fn index_entry(mark: &flat::IndexMark) -> IndexEntry {
    IndexEntry {
        offset: mark.offset(),
        position: mark.position(),
        timestamp_max: mark.timestamp_max(),
        timestamp_offset: mark.timestamp_max_offset(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ProducerStamp;
    use crate::types::Uuid;

    #[test]
    fn an_index_out_of_order_is_refused() {
        let mut segment = Segment::new(SegmentId::new(0, 0));
        for i in 0..3 {
            segment.push(i, i, 1000, 5, 1);
        }
        let (segments, producers) = (vec![segment], Producers::default());
        let (epochs, lost_from, leftovers) = (Vec::new(), None, false);
        let log =
            Restored { start: 0, flushed_end: 3, commit_end: 3, segments, producers, epochs, lost_from, leftovers };
        let mut builder = CheckpointBuilder::default();
        builder.add(PartitionId { topic: Uuid([5; 16]), index: 0 }, &log);
        let mut bytes = builder.finish(CheckpointHead::default());
        assert!(decode(&bytes).is_some());
        // The marks' positions, 1000 and 2000, change places.
        let place = |position: u32| bytes.windows(4).position(|b| b == position.to_le_bytes()).unwrap();
        let (first, second) = (place(1000), place(2000));
        bytes[first..first + 4].copy_from_slice(&2000u32.to_le_bytes());
        bytes[second..second + 4].copy_from_slice(&1000u32.to_le_bytes());
        let end = bytes.len() - 4;
        let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn round_trip() {
        let mut active = Segment::new(SegmentId::new(500, 7));
        for i in 0..1000 {
            active.push(500 + i, 500 + i, 1000, 5000 + i, 4096);
        }
        let mut cut = active.clone();
        cut.thin_out();
        let mut closed = Segment::new(SegmentId::new(100, 0));
        closed.bytes = 77;
        closed.indexed = true;
        let mut producers = Producers::default();
        producers.apply(
            &ProducerStamp { id: ProducerId(9), epoch: ProducerEpoch(1), sequence_first: Sequence(4), records: 3 },
            1490,
            6,
            7,
        );
        let log = Restored {
            start: 120,
            flushed_end: 1500,
            commit_end: 1400,
            segments: vec![closed, cut],
            producers,
            epochs: vec![(Epoch(0), 100), (Epoch(3), 600)],
            lost_from: Some(1500),
            leftovers: true,
        };
        let id = PartitionId { topic: Uuid([5; 16]), index: 4 };
        let head = CheckpointHead { generation: 3, core: 1, cores: 2, sequence: 88, ended: true };
        let mut builder = CheckpointBuilder::default();
        builder.add(id, &log);
        let bytes = builder.finish(head);
        let (read_head, read) = decode(&bytes).unwrap();
        assert_eq!(read_head, head);
        assert_eq!(read[0].0, id);
        let indexed_to_ignored = |r: &Restored| format!("{r:?}").replace("indexed_to", "");
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].1.flushed_end, read[0].1.commit_end, read[0].1.lost_from), (1500, 1400, Some(1500)));
        assert_eq!(read[0].1.segments[1].index(), log.segments[1].index());
        let ids = |log: &Restored| log.segments.iter().map(Segment::id).collect::<Vec<_>>();
        assert_eq!(ids(&read[0].1), ids(&log));
        assert_eq!(read[0].1.producers, log.producers);
        assert!(read[0].1.leftovers);
        assert!(indexed_to_ignored(&read[0].1).contains("indexed: true"));
        assert_eq!(decode(&bytes[..bytes.len() / 2]), None);
        assert_eq!(decode(b"nonsense"), None);
    }
}
