//! The index files of a segment, as Kafka has them, and how a position is found in one without reading all of it.

use crate::types::{Offset, TimestampMs};

/// A block that a search reads: whole pages, and whole entries of both kinds of index.
pub const INDEX_BLOCK_BYTES: usize = 96 << 10;

/// An entry of `.index`, big-endian: the last offset of a batch relative to the segment's base, and where the batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    /// The last offset of the batch, less the segment's base.
    pub relative: u32,
    /// Where the batch begins in the segment.
    pub position: u32,
}

/// An entry of `.timeindex`, big-endian: the largest timestamp so far, and the last offset of the batch that has it, relative
/// to the segment's base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    /// The largest timestamp so far.
    pub timestamp: TimestampMs,
    /// The last offset of the batch that has it, less the segment's base.
    pub relative: u32,
}

impl OffsetEntry {
    /// Bytes of an entry.
    pub const BYTES: usize = 8;

    /// The entry in these bytes.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> OffsetEntry {
        let [relative, position] = [0, 4].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes")));
        OffsetEntry { relative, position }
    }
}

impl TimeEntry {
    /// Bytes of an entry.
    pub const BYTES: usize = 12;

    /// The entry in these bytes.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> TimeEntry {
        let timestamp = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
        TimeEntry { timestamp, relative: u32::from_be_bytes(bytes[8..].try_into().expect("4 bytes")) }
    }
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// The last batch of the index whose last offset is not above this one, relative to the segment's base: its position.
    Offset(u32),
    /// The last entry with an older timestamp: its offset.
    Time(TimestampMs),
}

/// A search in an index file of unknown length, block by block: at first in steps that double, then by halves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search {
    key: Key,
    /// The last block that was found to begin with an entry that is not beyond the key.
    low: u64,
    /// The first block that was found to begin beyond the key, or not to be there.
    high: Option<u64>,
    found: Option<u32>,
    /// The block to be read next.
    next: Option<u64>,
}

impl Search {
    fn new(key: Key) -> Search {
        Search { key, low: 0, high: None, found: None, next: Some(0) }
    }

    /// Looks in an `.index` for the batch that holds `offset`, in a segment that begins at `base`.
    pub fn offset(offset: Offset, base: Offset) -> Search {
        Search::new(Key::Offset(u32::try_from(offset - base).unwrap_or(u32::MAX)))
    }

    /// Looks in a `.timeindex` for the last entry that is older than `timestamp`.
    pub fn time(timestamp: TimestampMs) -> Search {
        Search::new(Key::Time(timestamp))
    }

    /// Where the next block of [`INDEX_BLOCK_BYTES`] begins; `None` if the search is over.
    pub fn want(&self) -> Option<u64> {
        self.next.map(|block| block * INDEX_BLOCK_BYTES as u64)
    }

    /// Takes the block that was wanted, shorter at the file's end.
    pub fn feed(&mut self, bytes: &[u8]) {
        let block = self.next.take().expect("a block is wanted");
        let whole = bytes.len() >= INDEX_BLOCK_BYTES;
        let (passed, count, last) = match self.key {
            Key::Offset(offset) => {
                let (entries, _) = bytes.as_chunks::<{ OffsetEntry::BYTES }>();
                let passed = entries.partition_point(|entry| OffsetEntry::decode(entry).relative <= offset);
                (passed, entries.len(), passed.checked_sub(1).map(|at| OffsetEntry::decode(&entries[at]).position))
            }
            Key::Time(timestamp) => {
                let (entries, _) = bytes.as_chunks::<{ TimeEntry::BYTES }>();
                let passed = entries.partition_point(|entry| TimeEntry::decode(entry).timestamp < timestamp);
                (passed, entries.len(), passed.checked_sub(1).map(|at| TimeEntry::decode(&entries[at]).relative))
            }
        };
        if passed == 0 {
            self.high = Some(block);
        } else {
            (self.low, self.found) = (block, last);
            if passed < count || !whole {
                return;
            }
        }
        self.next = match self.high {
            None => Some((2 * self.low).max(1)),
            Some(high) if high > self.low + 1 => Some(self.low + (high - self.low) / 2),
            Some(_) => None,
        };
    }

    /// What the last entry says that is not beyond the key; `None` if all are.
    pub fn found(&self) -> Option<u32> {
        assert!(self.next.is_none(), "the search is over");
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, and how many blocks that took.
    fn search(mut search: Search, file: &[u8]) -> (Option<u32>, usize) {
        let mut blocks = 0;
        while let Some(position) = search.want() {
            let from = (position as usize).min(file.len());
            search.feed(&file[from..(from + INDEX_BLOCK_BYTES).min(file.len())]);
            blocks += 1;
        }
        (search.found(), blocks)
    }

    fn offsets(entries: impl IntoIterator<Item = (u32, u32)>) -> Vec<u8> {
        entries.into_iter().flat_map(|(offset, at)| [offset.to_be_bytes(), at.to_be_bytes()].concat()).collect()
    }

    #[test]
    fn an_index_leads_to_the_batch_before_what_is_wanted() {
        let index = offsets([(10, 4096), (20, 9000)]);
        let found = [109, 110, 119, 120, 199].map(|offset| search(Search::offset(offset, 100), &index).0);
        assert_eq!(found, [None, Some(4096), Some(4096), Some(9000), Some(9000)]);
        assert_eq!(search(Search::offset(5, 0), &[]), (None, 1));
        let time = |(time, offset): (i64, u32)| [&time.to_be_bytes()[..], &offset.to_be_bytes()].concat();
        let times: Vec<u8> = [(1000, 7), (2000, 12)].into_iter().flat_map(time).collect();
        let found = [0, 1000, 1001, 2000, 2001].map(|at| search(Search::time(at), &times).0);
        assert_eq!(found, [None, None, Some(7), Some(7), Some(12)]);
    }

    #[test]
    fn a_large_index_is_searched_in_few_blocks() {
        let block = INDEX_BLOCK_BYTES / OffsetEntry::BYTES;
        for entries in [block - 1, block, block + 1, 2 * block, 11 * block, 100 * block + 7] {
            let index = offsets((0..entries as u32).map(|n| (10 * n + 5, 100 * n)));
            for wanted in (0..entries as u32).step_by(entries / 50 + 1).chain([entries as u32 - 1]) {
                for (offset, expected) in [(10 * wanted + 5, Some(wanted)), (10 * wanted + 4, wanted.checked_sub(1))] {
                    let (found, blocks) = search(Search::offset(offset.into(), 0), &index);
                    assert_eq!(found, expected.map(|n| 100 * n), "{wanted} of {entries}");
                    assert!(blocks <= 16, "{blocks} blocks for {wanted} of {entries}");
                }
            }
        }
    }
}
