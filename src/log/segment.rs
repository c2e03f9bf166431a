//! A segment: a run of a partition's batches in one file, with its sparse offset and time index.
//!
//! In memory the index of a segment being written has an entry each `index.interval.bytes`; that of a closed one is
//! thinned out, because its files `.index` and `.timeindex` hold all entries. An index only shortens the search: a reader
//! walks the batches from the position that it names.

use crate::types::{Offset, TimestampMs};
use bytes::{BufMut, Bytes, BytesMut};

/// Endings of a segment's files.
pub const FILE_ENDINGS: [&str; 3] = ["log", "index", "timeindex"];
/// Bytes between two entries of the index that stays in memory for a closed segment and goes into checkpoints.
pub const INDEX_INTERVAL_COARSE: u32 = 256 << 10;

/// A batch that a search can begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// Last offset of the batch at `position`.
    pub offset: Offset,
    /// Where it begins in the segment.
    pub position: u32,
    /// Largest timestamp of the segment before `position`.
    pub timestamp_max: TimestampMs,
    /// The last offset of the batch that has it.
    pub timestamp_offset: Offset,
}

/// Names a segment's files in its partition's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentId {
    /// The segment begins at this offset.
    pub base: Offset,
    /// Counts the files that there have been of this base offset, from 0: later ones take the place of earlier ones, which
    /// may still be there or be read.
    pub generation: u32,
}

impl SegmentId {
    /// The name of a segment that begins at an offset, and of its files by number.
    pub fn new(base: Offset, generation: u32) -> SegmentId {
        assert!(base >= 0);
        SegmentId { base, generation }
    }

    /// The name of one of its files: the base offset in 20 digits, as in Kafka, and the generation if there were others before.
    pub fn file_name(&self, ending: &str) -> String {
        let SegmentId { base, generation } = self;
        match generation {
            0 => format!("{base:020}.{ending}"),
            _ => format!("{base:020}.{generation}.{ending}"),
        }
    }

    /// The segment that a file of this name belongs to, if it has the name of a segment's file.
    pub fn of_file(name: &str) -> Option<SegmentId> {
        let (stem, ending) = name.rsplit_once('.')?;
        let (base, generation) = stem.split_once('.').unwrap_or((stem, "0"));
        let id = SegmentId { base: base.parse().ok().filter(|base| *base >= 0)?, generation: generation.parse().ok()? };
        (FILE_ENDINGS.contains(&ending) && id.file_name(ending) == name).then_some(id)
    }
}

impl std::fmt::Display for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file_name("log").trim_end_matches(".log"))
    }
}

/// What is known of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Offset of its first record: the name of its files.
    pub base: Offset,
    /// Of its files: see [`SegmentId`].
    pub generation: u32,
    /// Bytes of all batches, also of those still on their way to the file.
    pub bytes: u32,
    /// Largest timestamp; -1 while empty.
    pub timestamp_max: TimestampMs,
    /// Last offset of the batch that has it.
    pub timestamp_offset: Offset,
    /// Largest timestamp of the first batch: `segment.ms` counts from it.
    pub timestamp_first: TimestampMs,
    /// As `timestamp_max` and `timestamp_offset`, of the batches that are in the file.
    pub timestamp_written: (TimestampMs, Offset),
    /// When the first batch came that this process has seen: `segment.ms` counts from it where that batch has no time. -1: none.
    pub created_ms: TimestampMs,
    /// When the last batch came: `retention.ms` counts from it where no batch has a time. -1: that is not known.
    pub modified_ms: TimestampMs,
    /// Its index files are there.
    pub indexed: bool,
    index: Vec<IndexEntry>,
    indexed_to: u32,
}

impl Segment {
    /// An empty segment of this name.
    pub fn new(id: SegmentId) -> Segment {
        Segment {
            base: id.base,
            generation: id.generation,
            bytes: 0,
            timestamp_max: -1,
            timestamp_offset: -1,
            timestamp_first: -1,
            timestamp_written: (-1, -1),
            created_ms: -1,
            modified_ms: -1,
            indexed: false,
            index: Vec::new(),
            indexed_to: 0,
        }
    }

    /// Its name.
    pub fn id(&self) -> SegmentId {
        SegmentId::new(self.base, self.generation)
    }

    /// Notes a batch at the segment's end.
    pub fn push(&mut self, base: Offset, last: Offset, bytes: u32, timestamp_max: TimestampMs, interval: u32) {
        assert!(base >= self.base && last >= base && bytes > 0);
        if self.bytes - self.indexed_to > interval {
            self.index.push(IndexEntry {
                offset: last,
                position: self.bytes,
                timestamp_max: self.timestamp_max,
                timestamp_offset: self.timestamp_offset,
            });
            self.indexed_to = self.bytes;
        }
        if self.bytes == 0 {
            self.timestamp_first = timestamp_max;
        }
        if timestamp_max > self.timestamp_max {
            self.timestamp_max = timestamp_max;
            self.timestamp_offset = last;
        }
        self.bytes += bytes;
    }

    /// A batch came at this time.
    pub fn touch(&mut self, wall_ms: TimestampMs) {
        if self.created_ms < 0 {
            self.created_ms = wall_ms;
        }
        self.modified_ms = self.modified_ms.max(wall_ms);
    }

    /// The age of the segment counts from then: the largest time of a record, or when the last batch came if none has a time.
    pub fn newest_ms(&self) -> TimestampMs {
        if self.timestamp_max >= 0 { self.timestamp_max } else { self.modified_ms }
    }

    /// A batch up to `last` with this largest timestamp is in the file.
    pub fn written(&mut self, last: Offset, timestamp_max: TimestampMs) {
        if timestamp_max > self.timestamp_written.0 {
            self.timestamp_written = (timestamp_max, last);
        }
        assert!(self.timestamp_written.0 <= self.timestamp_max);
    }

    /// Batches from `position` on are cut off; of the others this is the largest timestamp, with the last offset of the batch
    /// that has it. `written`: what stays is in the file.
    pub fn cut(&mut self, position: u32, timestamp: (TimestampMs, Offset), written: bool) {
        assert!(position > 0 && position <= self.bytes && timestamp.0 <= self.timestamp_max);
        self.bytes = position;
        (self.timestamp_max, self.timestamp_offset) = timestamp;
        if written {
            self.timestamp_written = timestamp;
        }
        self.index.retain(|entry| entry.position < position);
        self.indexed_to = self.index.last().map_or(0, |entry| entry.position);
        self.indexed = false;
    }

    /// A position at or before the batch that holds `offset`.
    pub fn position_of(&self, offset: Offset) -> u32 {
        assert!(offset >= self.base);
        match self.index.partition_point(|entry| entry.offset <= offset) {
            0 => 0,
            n => self.index[n - 1].position,
        }
    }

    /// A position before which no record has a timestamp of `timestamp` or later.
    pub fn position_of_time(&self, timestamp: TimestampMs) -> u32 {
        match self.index.partition_point(|entry| entry.timestamp_max < timestamp) {
            0 => 0,
            n => self.index[n - 1].position,
        }
    }

    /// The index as it is in memory.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// The index as it goes into a checkpoint, for positions below `position_end`.
    pub fn index_coarse(&self, position_end: u32) -> Vec<IndexEntry> {
        let mut coarse: Vec<IndexEntry> = Vec::new();
        for entry in self.index.iter().take_while(|entry| entry.position < position_end) {
            if coarse.last().is_none_or(|last| entry.position - last.position >= INDEX_INTERVAL_COARSE) {
                coarse.push(*entry);
            }
        }
        coarse
    }

    /// Keeps of the index only what a checkpoint would.
    pub fn thin_out(&mut self) {
        self.index = self.index_coarse(u32::MAX);
        self.index.shrink_to_fit();
    }

    /// Puts in the index that a checkpoint has.
    pub fn restore_index(&mut self, index: Vec<IndexEntry>) {
        assert!(index.is_sorted_by_key(|entry| entry.position) && self.index.is_empty());
        self.indexed_to = index.last().map_or(0, |entry| entry.position);
        self.index = index;
    }

    /// Kafka's `.index` (u32 offset relative to the base, u32 position) and `.timeindex` (i64 timestamp, u32 relative
    /// offset), big-endian, without the entries that Kafka's own limits would leave out.
    pub fn index_files(&self, index_bytes_max: usize) -> (Bytes, Bytes) {
        let (mut offsets, mut times) = (BytesMut::new(), BytesMut::new());
        let mut timestamp_last = -1;
        for entry in &self.index {
            if offsets.len() + 8 <= index_bytes_max {
                offsets.put_u32((entry.offset - self.base) as u32);
                offsets.put_u32(entry.position);
            }
            if entry.timestamp_max > timestamp_last && times.len() + 24 <= index_bytes_max {
                timestamp_last = entry.timestamp_max;
                times.put_i64(entry.timestamp_max);
                times.put_u32((entry.timestamp_offset - self.base) as u32);
            }
        }
        if self.timestamp_max > timestamp_last && times.len() + 12 <= index_bytes_max {
            times.put_i64(self.timestamp_max);
            times.put_u32((self.timestamp_offset - self.base) as u32);
        }
        (offsets.freeze(), times.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        let mut segment = Segment::new(SegmentId::new(100, 0));
        for i in 0..10 {
            segment.push(100 + i * 10, 109 + i * 10, 3000, 1000 + i * 5, 4096);
        }
        segment
    }

    #[test]
    fn index_is_sparse_and_finds_a_position_at_or_before() {
        let segment = segment();
        assert_eq!(segment.index().iter().map(|e| e.position).collect::<Vec<_>>(), [6000, 12000, 18000, 24000]);
        assert_eq!(segment.position_of(100), 0);
        assert_eq!(segment.position_of(119), 0);
        assert_eq!(segment.position_of(128), 0, "before, although the batch at 6000 holds it");
        assert_eq!(segment.position_of(129), 6000);
        assert_eq!(segment.position_of(1000), 24000);
        assert_eq!(segment.position_of_time(0), 0);
        assert_eq!(segment.position_of_time(1006), 6000);
    }

    #[test]
    fn files_have_kafkas_names_until_others_take_their_place() {
        assert_eq!(SegmentId::new(4711, 0).file_name("log"), "00000000000000004711.log");
        for id in [SegmentId::new(0, 0), SegmentId::new(i64::MAX, 0), SegmentId::new(4711, 12)] {
            for ending in FILE_ENDINGS {
                assert_eq!(SegmentId::of_file(&id.file_name(ending)), Some(id));
            }
        }
        assert_eq!(SegmentId::new(7, 1).to_string(), "00000000000000000007.1");
        let others =
            ["partition.metadata", "7.log", "00000000000000000007.snapshot", "00000000000000000007.0.log", "x.log"];
        assert!(others.iter().all(|name| SegmentId::of_file(name).is_none()));
    }

    #[test]
    fn index_files_are_kafkas() {
        let (offsets, times) = segment().index_files(1 << 20);
        assert_eq!(&offsets[..16], [0, 0, 0, 29, 0, 0, 0x17, 0x70, 0, 0, 0, 49, 0, 0, 0x2e, 0xe0]);
        assert_eq!(times.len(), 5 * 12);
        assert_eq!(&times[..12], [0, 0, 0, 0, 0, 0, 3, 0xed, 0, 0, 0, 19]);
        let (offsets, times) = segment().index_files(16);
        assert_eq!((offsets.len(), times.len()), (16, 12));
    }
}
