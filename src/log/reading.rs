//! How older batches are read from a segment's files, and what is read ahead of a reader that goes on where it ended.
//!
//! Pure machines: [`Reading`] says which bytes it wants to see, [`ReadAhead`] keeps what was read before it was asked for. Who
//! has the files shows them the bytes.

use super::index::{INDEX_BLOCK_BYTES, Search};
use super::{DiskRead, FILE_ENDINGS, SegmentId, scan};
use crate::types::{Offset, PartitionId};
use bytes::Bytes;
use std::collections::VecDeque;

/// The largest read, unless one batch is larger.
pub const READ_BYTES_MAX: usize = 4 << 20;
const READ_BYTES_MIN: usize = 4 << 10;
/// The first read when it is not known where exactly the batches begin.
pub const SEEK_BYTES: usize = 512 << 10;
/// This share of an answer is read ahead on top, for batches that are a little larger than those before.
const AHEAD_SLACK_SHARE: usize = 32;
/// Blocks read ahead and not yet asked for.
const AHEAD_MAX: usize = 32;

/// A segment, whatever its directory is called: names are used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentKey {
    /// The partition, by its topic's id.
    pub partition: PartitionId,
    /// Its name in the partition's directory.
    pub segment: SegmentId,
}

/// A file of a segment, by its ending.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentFile {
    /// `.log`: the batches.
    Log,
    /// `.index`: positions by offset.
    Index,
    /// `.timeindex`: offsets by time.
    TimeIndex,
}

impl SegmentFile {
    /// The batches' file first, in the order of [`FILE_ENDINGS`].
    pub const ALL: [SegmentFile; 3] = [SegmentFile::Log, SegmentFile::Index, SegmentFile::TimeIndex];

    /// The file's name in the partition's directory.
    pub fn name(self, segment: SegmentId) -> String {
        segment.file_name(FILE_ENDINGS[self as usize])
    }
}

/// Bytes of a file that a [`Reading`] wants to see; fewer where the file ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// Which of the segment's files.
    pub file: SegmentFile,
    /// Where the bytes begin in it.
    pub position: u64,
    /// How many there are.
    pub bytes: usize,
}

/// Why a segment cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// What begins at a position is no batch.
    NoBatch {
        /// The position in the segment.
        position: u32,
    },
    /// The file ends before the batches that are known to be in it.
    Short,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::NoBatch { position } => write!(f, "no batch begins at {position}"),
            Damage::Short => f.write_str("the segment is shorter than known"),
        }
    }
}

/// What follows what was read: the next reader's offset, where its batches begin, and how much to read ahead of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// The offset after what was read.
    pub offset: Offset,
    /// Where its batch begins in the segment.
    pub position: u32,
    /// How much is worth reading there.
    pub bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Times(Search),
    Offsets(Search),
    Batches,
    /// Whole batches, the first of which holds the offset; `None` if the segment has none from there on.
    Read(Option<(Bytes, Option<Ahead>)>),
}

/// A read of whole batches from the one that holds an offset on.
#[derive(Debug)]
pub struct Reading {
    read: DiskRead,
    offset: Offset,
    bytes_max: usize,
    /// Where a batch begins that is at or before the wanted one.
    position: usize,
    bytes: usize,
    /// What comes next was read ahead, and may be less than is wanted.
    ahead: bool,
    stage: Stage,
}

impl Reading {
    /// Of at most `bytes_max` bytes, but one batch at least.
    pub fn new(read: DiskRead, offset: Offset, bytes_max: usize) -> Reading {
        assert!(offset >= read.segment.base && read.position <= read.position_end);
        let stage = match read.timestamp {
            _ if !read.indexed => Stage::Batches,
            Some(timestamp) => Stage::Times(Search::time(timestamp)),
            None if offset == read.segment.base => Stage::Batches,
            None => Stage::Offsets(Search::offset(offset, read.segment.base)),
        };
        let position = read.position as usize;
        let bytes = bytes_max.clamp(READ_BYTES_MIN, READ_BYTES_MAX).max(SEEK_BYTES);
        Reading { read, offset, bytes_max, position, bytes, ahead: false, stage }
    }

    /// Goes on where an earlier read ended: the batch that holds `offset` begins at `position`. The first bytes that it is shown
    /// may be fewer than it wants.
    fn resumed(read: DiskRead, offset: Offset, bytes_max: usize, position: u32) -> Reading {
        let bytes = bytes_max.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        Reading { read, offset, bytes_max, position: position as usize, bytes, ahead: true, stage: Stage::Batches }
    }

    fn left(&self) -> usize {
        (self.read.position_end as usize).saturating_sub(self.position)
    }

    /// The bytes to be shown next; `None` if there is nothing more to read.
    pub fn want(&self) -> Option<Want> {
        let index = |file, search: &Search| {
            let position = search.want().expect("a search that is over is followed by the next stage");
            Some(Want { file, position, bytes: INDEX_BLOCK_BYTES })
        };
        match &self.stage {
            Stage::Times(search) => index(SegmentFile::TimeIndex, search),
            Stage::Offsets(search) => index(SegmentFile::Index, search),
            Stage::Batches if self.left() > 0 => {
                let bytes = self.bytes.min(self.left());
                Some(Want { file: SegmentFile::Log, position: self.position as u64, bytes })
            }
            Stage::Batches | Stage::Read(_) => None,
        }
    }

    /// Takes bytes from the position that was wanted on, fewer where the file ends.
    pub fn feed(&mut self, bytes: Bytes) -> Result<(), Damage> {
        let base = self.read.segment.base;
        match &mut self.stage {
            Stage::Times(search) => {
                search.feed(&bytes);
                if search.want().is_none() {
                    // Records after the last older one may be what is looked for.
                    let after = search.found().map_or(base, |older| base + i64::from(older) + 1);
                    self.stage = Stage::Offsets(Search::offset(self.offset.max(after), base));
                }
                Ok(())
            }
            Stage::Offsets(search) => {
                search.feed(&bytes);
                if search.want().is_none() {
                    let found = search.found().unwrap_or(0);
                    self.position = found.clamp(self.read.position, self.read.position_end) as usize;
                    self.stage = Stage::Batches;
                }
                Ok(())
            }
            Stage::Batches => self.feed_batches(bytes),
            Stage::Read(_) => panic!("nothing is wanted"),
        }
    }

    fn feed_batches(&mut self, bytes: Bytes) -> Result<(), Damage> {
        let position = self.position as u32;
        let short = !std::mem::take(&mut self.ahead) && bytes.len() < self.bytes.min(self.left());
        let found = scan::find(&bytes, self.offset, self.bytes_max).ok_or(Damage::NoBatch { position })?;
        if found.end > found.start {
            let next = self.position + found.end;
            let left = (self.read.position_end as usize).saturating_sub(next);
            let ahead = (left > 0).then(|| Ahead {
                offset: found.offset_end,
                position: next as u32,
                bytes: ahead_bytes(&found, self.bytes_max, self.bytes).min(left),
            });
            let wanted = bytes.slice(found.start..found.end);
            // A small part of a block would keep all of it.
            let wanted = if 2 * wanted.len() < bytes.len() { Bytes::copy_from_slice(&wanted) } else { wanted };
            self.stage = Stage::Read(Some((wanted, ahead)));
            return Ok(());
        }
        // All of the block is before the offset, or the batch that holds it is larger than the block.
        let stuck = found.start == 0 && (found.next_bytes <= bytes.len() || bytes.len() >= self.left());
        if short || stuck || bytes.is_empty() {
            return Err(Damage::Short);
        }
        self.position += found.start;
        self.bytes = self.bytes.max(found.next_bytes);
        Ok(())
    }

    /// Whole batches, the first of which holds the offset, and what follows them; `None` if the segment has none.
    pub fn finish(self) -> Option<(Bytes, Option<Ahead>)> {
        match self.stage {
            Stage::Read(read) => read,
            Stage::Batches => None,
            Stage::Times(_) | Stage::Offsets(_) => panic!("the reading is not over"),
        }
    }
}

/// How much to read for the next answer, if its batches are about as large as those of this one, of which one at least was found:
/// a batch that does not fit into the answer would be read twice.
fn ahead_bytes(found: &scan::Found, bytes_max: usize, read_max: usize) -> usize {
    let answered = found.end - found.start;
    assert!(answered > 0);
    let bytes = if found.next_bytes <= bytes_max { answered.max(found.next_bytes) } else { answered };
    (bytes + bytes / AHEAD_SLACK_SHARE).min(read_max.max(answered))
}

/// Blocks that were read, or are being read, before they are asked for.
#[derive(Debug)]
pub struct ReadAhead<T> {
    blocks: VecDeque<(SegmentKey, Ahead, T)>,
}

impl<T> Default for ReadAhead<T> {
    fn default() -> Self {
        ReadAhead { blocks: VecDeque::new() }
    }
}

impl<T> ReadAhead<T> {
    /// Keeps a block; the oldest one goes if there are too many.
    pub fn put(&mut self, segment: SegmentKey, ahead: Ahead, block: T) {
        assert!(ahead.bytes > 0);
        if self.blocks.len() >= AHEAD_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((segment, ahead, block));
    }

    /// Drops the oldest block; `false` if there is none.
    pub fn drop_oldest(&mut self) -> bool {
        self.blocks.pop_front().is_some()
    }

    /// Begins a read of at most `bytes_max` bytes, but one batch at least. With the block that was read ahead for it, if there
    /// is one: its bytes are what the reading is shown first.
    pub fn begin(
        &mut self,
        partition: PartitionId,
        read: DiskRead,
        offset: Offset,
        bytes_max: usize,
    ) -> (Reading, Option<T>) {
        let key = SegmentKey { partition, segment: read.segment };
        match self.take(key, offset) {
            None => (Reading::new(read, offset, bytes_max), None),
            Some((position, block)) => (Reading::resumed(read, offset, bytes_max, position), Some(block)),
        }
    }

    /// The block for a reader of this offset, and where it begins.
    fn take(&mut self, segment: SegmentKey, offset: Offset) -> Option<(u32, T)> {
        let at = self.blocks.iter().position(|(key, ahead, _)| *key == segment && ahead.offset == offset)?;
        self.blocks.remove(at).map(|(_, ahead, block)| (ahead.position, block))
    }

    /// The partition's files are removed: those of a segment, or all.
    pub fn forget(&mut self, partition: PartitionId, segment: Option<SegmentId>) {
        self.blocks.retain(|(key, ..)| !key.is_of(partition, segment));
    }
}

impl SegmentKey {
    /// Whether it is the partition's segment named here, or one of them all if none is named.
    pub fn is_of(&self, partition: PartitionId, segment: Option<SegmentId>) -> bool {
        self.partition == partition && segment.is_none_or(|segment| segment == self.segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Segment;
    use crate::types::Uuid;
    use crate::wire::batch::{BatchBuilder, batches, patch_base_offset_and_epoch};
    use bytes::BytesMut;

    const BATCHES: i64 = 300;

    /// A segment from offset 100 on of batches of two records each, and its index files.
    fn segment() -> (DiskRead, [Vec<u8>; 3]) {
        let (mut log, mut segment) = (Vec::new(), Segment::new(SegmentId::new(100, 0)));
        for number in 0..BATCHES {
            let (base, value) = (100 + 2 * number, vec![number as u8; 5000 + 7 * number as usize]);
            let record = |builder: BatchBuilder| builder.record(1000 + number, None, Some(&value));
            let mut batch = BytesMut::from(&record(record(BatchBuilder::new(0))).build()[..]);
            patch_base_offset_and_epoch(&mut batch, base, 0);
            segment.push(base, base + 1, batch.len() as u32, 1000 + number, 4096);
            log.extend_from_slice(&batch);
        }
        let (index, times) = segment.index_files(10 << 20);
        let read = DiskRead {
            segment: SegmentId::new(100, 0),
            position: 0,
            position_end: log.len() as u32,
            indexed: true,
            timestamp: None,
        };
        (read, [log, index.to_vec(), times.to_vec()])
    }

    fn show(reading: &mut Reading, files: &[Vec<u8>; 3]) -> Result<usize, Damage> {
        let mut shown = 0;
        while let Some(want) = reading.want() {
            let file = match want.file {
                SegmentFile::Log => &files[0],
                SegmentFile::Index => &files[1],
                SegmentFile::TimeIndex => &files[2],
            };
            let from = (want.position as usize).min(file.len());
            let bytes = &file[from..(from + want.bytes).min(file.len())];
            reading.feed(Bytes::copy_from_slice(bytes))?;
            shown += bytes.len();
        }
        Ok(shown)
    }

    fn offsets(bytes: &[u8]) -> (i64, i64) {
        let all: Vec<_> = batches(bytes).map(|found| found.header).collect();
        (all[0].base_offset.get(), all.last().unwrap().last_offset())
    }

    #[test]
    fn each_offset_is_found_by_index_and_without() {
        let (read, files) = segment();
        for offset in 100..100 + 2 * BATCHES {
            for indexed in [true, false] {
                let mut reading = Reading::new(DiskRead { indexed, ..read.clone() }, offset, 1);
                let shown = show(&mut reading, &files).unwrap();
                let (bytes, _) = reading.finish().unwrap();
                assert_eq!(offsets(&bytes), (offset / 2 * 2, offset / 2 * 2 + 1), "{offset}");
                assert!(!indexed || shown <= SEEK_BYTES + files[1].len(), "{shown} bytes for {offset}");
            }
        }
        let mut beyond = Reading::new(read, 100 + 2 * BATCHES, 1);
        show(&mut beyond, &files).unwrap();
        assert_eq!(beyond.finish(), None);
    }

    #[test]
    fn a_time_leads_past_older_batches() {
        let (read, files) = segment();
        for number in [0, 1, 150, 299] {
            let timed = DiskRead { timestamp: Some(1000 + number), ..read.clone() };
            let mut reading = Reading::new(timed, 100, 1 << 20);
            show(&mut reading, &files).unwrap();
            let (bytes, _) = reading.finish().unwrap();
            let (first, last) = offsets(&bytes);
            let wanted = 100 + 2 * number;
            assert!(first <= wanted && last >= wanted && wanted - first <= 4, "{number}: {first} to {last}");
        }
    }

    #[test]
    fn a_reader_that_goes_on_gets_what_was_read_ahead() {
        let (read, files) = segment();
        let key =
            SegmentKey { partition: PartitionId { topic: Uuid([1; 16]), index: 0 }, segment: SegmentId::new(100, 0) };
        let (mut ahead, mut offset, mut answers) = (ReadAhead::<Bytes>::default(), 100, 0);
        while offset < 100 + 2 * BATCHES {
            let (mut reading, known) = ahead.begin(key.partition, read.clone(), offset, 100_000);
            assert_eq!(known.is_some(), offset > 100);
            if let Some(block) = known {
                reading.feed(block).unwrap();
            }
            show(&mut reading, &files).unwrap();
            let (bytes, next) = reading.finish().unwrap();
            let (first, last) = offsets(&bytes);
            assert_eq!(first, offset);
            (offset, answers) = (last + 1, answers + 1);
            if let Some(next) = next {
                let from = next.position as usize;
                ahead.put(key, next, Bytes::copy_from_slice(&files[0][from..from + next.bytes]));
            }
        }
        assert!(answers > 30, "{answers}");
        ahead.put(key, Ahead { offset: 1, position: 0, bytes: 1 }, Bytes::new());
        ahead.forget(key.partition, Some(SegmentId::new(99, 0)));
        assert!(ahead.take(SegmentKey { segment: SegmentId::new(100, 1), ..key }, 1).is_none());
        ahead.forget(PartitionId { topic: Uuid([2; 16]), index: 0 }, None);
        ahead.forget(key.partition, Some(SegmentId::new(100, 0)));
        assert!(ahead.take(key, 1).is_none());
    }

    #[test]
    fn names_are_kafkas() {
        let names = SegmentFile::ALL.map(|file| file.name(SegmentId::new(42, 0)));
        let stem = "00000000000000000042";
        assert_eq!(names, ["log", "index", "timeindex"].map(|ending| format!("{stem}.{ending}")));
    }

    #[test]
    fn damage_is_told() {
        let (read, mut files) = segment();
        let end = read.position_end as usize;
        let mut short = Reading::new(DiskRead { indexed: false, ..read.clone() }, 100 + 2 * BATCHES - 1, 1);
        let cut = [files[0][..end - 100].to_vec(), vec![], vec![]];
        assert_eq!(show(&mut short, &cut), Err(Damage::Short));
        files[0].fill(0);
        assert_eq!(show(&mut Reading::new(read, 100, 1), &files), Err(Damage::NoBatch { position: 0 }));
    }

    #[test]
    fn what_does_not_fit_into_an_answer_is_not_read_ahead() {
        let found = |end, next_bytes| scan::Found { start: 0, end, offset_end: 9, next_bytes };
        let third = 300 << 10;
        let fits = ahead_bytes(&found(3 * third, 4 * third), 1 << 20, 1 << 20);
        assert!((3 * third..4 * third).contains(&fits), "three batches and some slack, not the fourth");
        let cut = ahead_bytes(&found(2 * third, 3 * third), 1 << 20, 1 << 20);
        assert!(cut > 3 * third, "the third was cut off, and fits");
        assert_eq!(ahead_bytes(&found(third, 0), 1000, 4096), third, "each is larger than an answer");
    }
}
