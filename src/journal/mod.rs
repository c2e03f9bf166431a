//! One core's journal: what its partitions receive, appended as blocks to a ring of recycled files.
//!
//! A **block** is one aligned, synchronous write (`O_DSYNC`: the device has it when the write completes). What arrives while
//! one is under way gathers in the next one, so the block's size follows the load; beyond some size several are under way.
//! They count in order: one that the device has before an older one is durable, and acknowledged, after it. The journal
//! knows entries and their bytes, not what they mean, and it knows nothing of segments, sockets or clocks.
//!
//! Flow: [`Journal::append`] gathers entries; [`Journal::plan_block`] returns the next write, if one may start;
//! [`Journal::written`] says that it is durable. [`Journal::release`] gives files back whose blocks nobody needs.

#![warn(missing_docs)]

mod format;
mod replay;

pub use format::{BLOCK_HEADER_BYTES, BlockHeader, ENTRY_HEADER_BYTES, Entry, EntryKind, decode_entries};
pub use replay::{Block, Damage, HEAD_BYTES, Replay, Spot, Wanted};

use crate::wire::crc::combine;
use bytes::Bytes;
use std::collections::VecDeque;

/// Blocks start and end on this boundary, which every direct-I/O device takes.
pub const ALIGNMENT: usize = 4096;
/// Entries gather up to this size, four batches of 256 KiB with their headers; a larger entry is a block of its own.
/// Measured: beyond 1 MiB a larger write is not faster.
pub const BLOCK_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// How many blocks may be under way at a time, and the size from which on one does not wait for those before it.
/// Measured: where a sync takes milliseconds, one block after the other makes a third of the device's speed.
const IN_FLIGHT_MAX: usize = 4;
const BLOCK_BYTES_LARGE: usize = BLOCK_BYTES_MAX / 2;

/// Names a file of the ring: its number in the core's journal directory.
pub type FileIndex = u32;

/// The next block as one write: `parts` in order, then zeros up to `bytes`.
#[derive(Debug)]
pub struct BlockWrite {
    /// The file that is written.
    pub file: FileIndex,
    /// Byte position in the file, a multiple of [`ALIGNMENT`].
    pub position: u64,
    /// Header and entries.
    pub parts: Vec<Bytes>,
    /// Length with padding, a multiple of [`ALIGNMENT`].
    pub bytes: usize,
    /// The block's sequence: what [`Journal::written`] is told.
    pub sequence: u64,
}

#[derive(Debug)]
struct WaitingBlock {
    sequence: u64,
    /// Header and payload of each entry alternate.
    parts: Vec<Bytes>,
    entries: u32,
    bytes: usize,
    /// CRC-32C of the entries.
    crc: u32,
}

#[derive(Debug)]
struct UsedFile {
    index: FileIndex,
    /// Sequence of the first block in the file.
    sequence_first: u64,
}

/// The limits of one journal.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of each file of the ring, a multiple of [`ALIGNMENT`].
    pub file_bytes: u64,
    /// Files in the ring at the most.
    pub files_max: u32,
    /// How many bytes may wait to be written before [`Journal::is_full`] says so.
    pub waiting_bytes_max: usize,
}

/// One core's journal while it is written.
#[derive(Debug)]
pub struct Journal {
    limits: Limits,
    core: u16,
    generation: u64,
    /// Blocks that wait to be written, oldest first; entries join the last one until it is large enough.
    waiting: VecDeque<WaitingBlock>,
    waiting_bytes: usize,
    /// Sequence of the last block begun; blocks count from 1.
    sequence_last: u64,
    sequence_durable: u64,
    /// Blocks being written, oldest first, and whether each is on the device already.
    in_flight: VecDeque<(u64, bool)>,
    failed: bool,
    /// Files that hold blocks, oldest first; the last one is being written.
    used: VecDeque<UsedFile>,
    position: u64,
    /// Files that can be written over, in the order in which they were released: so the files of a generation never
    /// have a gap.
    free: VecDeque<FileIndex>,
    /// How many files [`Journal::plan_prepare`] has asked for that are not there yet.
    preparing: u32,
    /// Whether the last file that was asked for could not be made: the ring then goes on with those that it has.
    short: bool,
    files: u32,
    file_next: FileIndex,
}

/// The generation of a journal that is begun now. It is above `known`, the largest of which blocks are left. Its lower half
/// is `random`: a crash may have left no block of an older generation, whose number is not to be used again, and no client
/// can guess it and send bytes that look like a block.
pub fn generation_next(known: u64, random: u32) -> u64 {
    ((known >> 32) + 1) << 32 | u64::from(random)
}

impl Journal {
    /// A journal without content. `files` are those that exist and may be overwritten, new ones get numbers from `file_next`
    /// on; `generation` is higher than that of every earlier start: see [`generation_next`].
    pub fn new(limits: Limits, core: u16, generation: u64, files: Vec<FileIndex>, file_next: FileIndex) -> Journal {
        assert!(limits.file_bytes.is_multiple_of(ALIGNMENT as u64) && limits.files_max >= 2);
        assert!(limits.file_bytes >= 2 * BLOCK_BYTES_MAX as u64);
        assert!(files.iter().all(|index| *index < file_next));
        Journal {
            limits,
            core,
            generation,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sequence_last: 0,
            sequence_durable: 0,
            in_flight: VecDeque::new(),
            failed: false,
            used: VecDeque::new(),
            position: 0,
            files: files.len() as u32,
            file_next,
            free: files.into(),
            preparing: 0,
            short: false,
        }
    }

    /// The number that all blocks of this process carry.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All blocks up to and including this sequence are durable.
    pub fn sequence_durable(&self) -> u64 {
        self.sequence_durable
    }

    /// Sequence of the newest block begun: every entry appended so far is in it or in an older one.
    pub fn sequence_last(&self) -> u64 {
        self.sequence_last
    }

    /// The largest payload that one entry can have.
    pub fn payload_bytes_max(&self) -> usize {
        self.limits.file_bytes as usize - BLOCK_HEADER_BYTES - ENTRY_HEADER_BYTES
    }

    /// Whether more waits to be written than the limit allows: appends must be refused or held back.
    pub fn is_full(&self) -> bool {
        self.waiting_bytes >= self.limits.waiting_bytes_max
    }

    /// Whether `bytes` more of entries can be written behind what waits already, with the files that are free now: without
    /// waiting for [`Journal::release`].
    pub fn has_room(&self, bytes: usize) -> bool {
        // What follows the last block goes into others, half full at the least, and each is padded.
        let padding = (self.waiting.len() + 2 + 2 * bytes / BLOCK_BYTES_MAX) * ALIGNMENT;
        let all = (self.waiting_bytes + bytes + padding) as u64;
        !self.free.is_empty() && all <= self.limits.file_bytes
    }

    /// Whether a write has failed: nothing more will become durable.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Adds an entry to the newest waiting block, or to a new one, and returns that block's sequence. `crc` is the payload's
    /// CRC-32C.
    pub fn append(&mut self, entry: &Entry, payload: Bytes, crc: u32) -> u64 {
        debug_assert_eq!(crc, crc32c::crc32c(&payload));
        assert!(!self.failed, "nothing is appended to a failed journal");
        assert!(entry.payload_bytes as usize == payload.len() && payload.len() <= self.payload_bytes_max());
        let bytes = ENTRY_HEADER_BYTES + payload.len();
        let room = |block: &WaitingBlock| block.bytes + bytes <= BLOCK_BYTES_MAX;
        if !self.waiting.back().is_some_and(room) {
            self.sequence_last += 1;
            self.waiting.push_back(WaitingBlock {
                sequence: self.sequence_last,
                parts: Vec::new(),
                entries: 0,
                bytes: BLOCK_HEADER_BYTES,
                crc: 0,
            });
        }
        let block = self.waiting.back_mut().expect("one was pushed");
        block.bytes += bytes;
        block.entries += 1;
        let head = entry.encode((self.generation, self.sequence_last));
        block.crc = combine(crc32c::crc32c_append(block.crc, &head), crc, payload.len());
        block.parts.push(head);
        if !payload.is_empty() {
            block.parts.push(payload);
        }
        self.waiting_bytes += bytes;
        self.sequence_last
    }

    /// Work for the shell: the next block to write. `None` while one is under way, unless much waits, when nothing waits, or
    /// when the ring has no room.
    pub fn plan_block(&mut self) -> Option<BlockWrite> {
        let block = self.waiting.front().filter(|_| !self.failed)?;
        let large = self.waiting.len() > 1 || block.bytes >= BLOCK_BYTES_LARGE;
        if !self.in_flight.is_empty() && (!large || self.in_flight.len() >= IN_FLIGHT_MAX || self.is_file_begun()) {
            return None;
        }
        let bytes = block.bytes.next_multiple_of(ALIGNMENT);
        assert!(bytes as u64 <= self.limits.file_bytes, "a block fits into a file");
        if self.used.is_empty() || self.position + bytes as u64 > self.limits.file_bytes {
            let index = self.free.pop_front()?;
            self.used.push_back(UsedFile { index, sequence_first: block.sequence });
            self.position = 0;
        }
        let mut block = self.waiting.pop_front().expect("it is there");
        let header = BlockHeader {
            core: self.core,
            generation: self.generation,
            sequence: block.sequence,
            bytes: block.bytes as u32,
            entries: block.entries,
            in_flight: self.in_flight.len() as u16,
        };
        assert!(header.sequence_durable() == self.sequence_durable);
        block.parts.insert(0, header.encode(block.crc));
        let write = BlockWrite {
            file: self.used.back().expect("a file was taken above").index,
            position: self.position,
            parts: block.parts,
            bytes,
            sequence: block.sequence,
        };
        self.position += bytes as u64;
        self.waiting_bytes -= block.bytes - BLOCK_HEADER_BYTES;
        self.in_flight.push_back((block.sequence, false));
        Some(write)
    }

    /// Whether the first block of the file that is written is under way. No other is begun until the device has it: a replay
    /// knows by a file's first block that later ones may be in it, and those prove what was durable.
    fn is_file_begun(&self) -> bool {
        let first = self.used.back().map(|file| (file.sequence_first, false));
        first.is_some_and(|first| self.in_flight.contains(&first))
    }

    /// A block is on the device. It is durable once all before it are.
    pub fn written(&mut self, sequence: u64) {
        let block = self.in_flight.iter_mut().find(|(known, _)| *known == sequence).expect("the block is under way");
        assert!(!std::mem::replace(&mut block.1, true), "a block is written once");
        while let Some((sequence, _)) = self.in_flight.pop_front_if(|(_, written)| *written) {
            assert!(sequence == self.sequence_durable + 1);
            self.sequence_durable = sequence;
        }
    }

    /// The write of a block failed, or a file that it needed could not be opened. There is no retry: what the device holds
    /// is unknown.
    pub fn fail(&mut self) {
        self.failed = true;
        self.in_flight.clear();
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Work for the shell: a file to make ready (allocated and written once), so that a rotation finds one. One at a time.
    pub fn plan_prepare(&mut self) -> Option<(FileIndex, u64)> {
        let spare = self.free.len() as u32 + self.preparing;
        if self.failed || spare > 0 || self.files >= self.limits.files_max {
            return None;
        }
        self.preparing += 1;
        self.files += 1;
        self.file_next += 1;
        Some((self.file_next - 1, self.limits.file_bytes))
    }

    /// A file that [`Journal::plan_prepare`] asked for is ready to be written.
    pub fn prepared(&mut self, file: FileIndex) {
        assert!(self.preparing > 0 && !self.free.contains(&file));
        self.preparing -= 1;
        self.short = false;
        self.free.push_front(file);
    }

    /// The file that [`Journal::plan_prepare`] asked for could not be made, and nothing of it is left. The ring goes on with
    /// the files that it has until one can be made.
    pub fn prepare_failed(&mut self, file: FileIndex) {
        assert!(self.preparing > 0 && self.files > 0 && file + 1 == self.file_next);
        self.preparing -= 1;
        self.files -= 1;
        self.file_next -= 1;
        self.short = true;
    }

    /// Whether the ring has no file at all, because none could be made yet.
    pub fn is_without_files(&self) -> bool {
        self.used.is_empty() && self.free.is_empty()
    }

    /// Whether the oldest waiting block needs another file, and none is free.
    fn is_stuck(&self) -> bool {
        let fits = |block: &WaitingBlock| {
            let bytes = block.bytes.next_multiple_of(ALIGNMENT) as u64;
            !self.used.is_empty() && self.position + bytes <= self.limits.file_bytes
        };
        self.free.is_empty() && self.waiting.front().is_some_and(|block| !fits(block))
    }

    /// Sequence of the last block that was given out to be written.
    fn sequence_planned(&self) -> u64 {
        self.in_flight.back().map_or(self.sequence_durable, |(sequence, _)| *sequence)
    }

    /// If the ring is about to run out of free files: the sequence up to which blocks must become unnecessary, so that files
    /// can be recycled. Those are the blocks of the older half of the used files, or all if the only one is full.
    pub fn release_wanted(&self) -> Option<u64> {
        let others = if self.short { 0 } else { self.limits.files_max - self.files };
        let spare = self.free.len() as u32 + self.preparing + others;
        let ring = if self.short { self.files } else { self.limits.files_max };
        if self.used.is_empty() || spare >= ring.div_ceil(4) {
            return None;
        }
        if self.used.len() == 1 {
            return self.is_stuck().then(|| self.sequence_planned());
        }
        let keep_from = self.used.len().div_ceil(2).min(self.used.len() - 1);
        Some(self.used[keep_from].sequence_first - 1)
    }

    /// Frees the files that hold no block above `sequence`: whatever the blocks up to it say is in segments, or was written
    /// again behind it.
    pub fn release(&mut self, sequence: u64) {
        assert!(sequence <= self.sequence_durable);
        while self.used.len() >= 2 && self.used[1].sequence_first <= sequence + 1 {
            let file = self.used.pop_front().expect("two are used");
            self.free.push_back(file.index);
        }
        if self.used.len() == 1 && sequence == self.sequence_planned() && self.is_stuck() {
            let file = self.used.pop_front().expect("one is used");
            self.free.push_back(file.index);
        }
    }

    /// How many files hold blocks that somebody may need.
    pub fn files_used(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Epoch, PartitionId, Uuid};

    fn limits() -> Limits {
        Limits { file_bytes: 4 << 20, files_max: 4, waiting_bytes_max: 1 << 20 }
    }

    fn entry(offset: i64, bytes: usize) -> Entry {
        Entry {
            kind: EntryKind::Batch,
            roll: false,
            partition: PartitionId { topic: Uuid([1; 16]), index: 3 },
            epoch: Epoch(0),
            offset,
            payload_bytes: bytes as u32,
        }
    }

    fn append(journal: &mut Journal, entry: &Entry, payload: Bytes) -> u64 {
        let crc = crc32c::crc32c(&payload);
        journal.append(entry, payload, crc)
    }

    fn fill(journal: &mut Journal, bytes: usize) -> BlockWrite {
        append(journal, &entry(0, bytes), Bytes::from(vec![7; bytes]));
        let write = journal.plan_block().expect("room");
        journal.written(write.sequence);
        write
    }

    #[test]
    fn one_block_at_a_time_and_the_rest_gathers() {
        let mut journal = Journal::new(limits(), 0, 1, vec![0], 1);
        assert_eq!(append(&mut journal, &entry(0, 10), Bytes::from_static(&[1; 10])), 1);
        let first = journal.plan_block().unwrap();
        assert_eq!((first.position, first.bytes, first.sequence), (0, ALIGNMENT, 1));
        assert_eq!(append(&mut journal, &entry(1, 10), Bytes::from_static(&[1; 10])), 2);
        assert_eq!(append(&mut journal, &entry(2, 5000), Bytes::from(vec![1; 5000])), 2);
        assert!(journal.plan_block().is_none());
        assert_eq!(journal.sequence_durable(), 0);
        journal.written(1);
        let second = journal.plan_block().unwrap();
        assert_eq!((second.position, second.bytes), (ALIGNMENT as u64, 2 * ALIGNMENT));
    }

    #[test]
    fn large_blocks_overlap_and_count_in_order() {
        let mut journal = Journal::new(Limits { waiting_bytes_max: 8 << 20, ..limits() }, 0, 1, vec![0, 1], 2);
        let bytes = BLOCK_BYTES_LARGE;
        let mut writes = Vec::new();
        fill(&mut journal, bytes);
        for offset in 0..IN_FLIGHT_MAX as i64 + 1 {
            append(&mut journal, &entry(offset, bytes), Bytes::from(vec![7; bytes]));
            writes.extend(journal.plan_block());
        }
        assert_eq!(writes.iter().map(|write| write.sequence).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert!(journal.plan_block().is_none(), "enough are under way");
        for (sequence, durable) in [(3, 1), (5, 1), (2, 3), (4, 5)] {
            journal.written(sequence);
            assert_eq!(journal.sequence_durable(), durable);
        }
        assert_eq!(journal.plan_block().unwrap().sequence, 6);
        append(&mut journal, &entry(9, 10), Bytes::from_static(&[1; 10]));
        assert!(journal.plan_block().is_none(), "a small block waits for those before it");
    }

    #[test]
    fn the_first_block_of_a_file_is_there_before_others_are_begun() {
        let mut journal = Journal::new(Limits { waiting_bytes_max: 8 << 20, ..limits() }, 0, 1, vec![0, 1], 2);
        let (bytes, rest) = (BLOCK_BYTES_LARGE, (4 << 20) - BLOCK_BYTES_LARGE);
        fill(&mut journal, rest - 2 * ALIGNMENT);
        for offset in 0..3 {
            append(&mut journal, &entry(offset, bytes), Bytes::from(vec![7; bytes]));
        }
        let mut next = || journal.plan_block().map(|write| (write.file, write.sequence));
        assert_eq!([next(), next(), next()], [Some((0, 2)), Some((1, 3)), None]);
        journal.written(3);
        assert_eq!(journal.sequence_durable(), 1);
        assert_eq!(journal.plan_block().map(|write| (write.file, write.sequence)), Some((1, 4)));
    }

    #[test]
    fn the_ring_rotates_waits_and_recycles() {
        let mut journal = Journal::new(limits(), 0, 1, vec![0], 1);
        assert_eq!(journal.plan_prepare(), None, "a spare file is there");
        for _ in 0..3 {
            fill(&mut journal, 1 << 20);
        }
        assert_eq!(journal.plan_prepare(), Some((1, 4 << 20)));
        append(&mut journal, &entry(0, 1 << 20), Bytes::from(vec![7; 1 << 20]));
        assert!(journal.plan_block().is_none(), "the file is full and the next one is not there");
        journal.prepared(1);
        let write = journal.plan_block().unwrap();
        assert_eq!((write.file, write.position, write.sequence), (1, 0, 4));
        journal.written(4);
        assert_eq!(journal.release_wanted(), None);
        for file in [2, 3] {
            assert_eq!(journal.plan_prepare(), Some((file, 4 << 20)));
            journal.prepared(file);
            for _ in 0..3 {
                fill(&mut journal, 1 << 20);
            }
        }
        assert_eq!(journal.plan_prepare(), None, "files_max is reached");
        let wanted = journal.release_wanted().unwrap();
        journal.release(wanted);
        assert_eq!(journal.files_used(), 2);
        for _ in 0..5 {
            fill(&mut journal, 1 << 20);
        }
        assert_eq!(journal.files_used(), 3);
    }

    #[test]
    fn a_failed_journal_plans_nothing() {
        let mut journal = Journal::new(limits(), 0, 1, vec![0], 1);
        append(&mut journal, &entry(0, 10), Bytes::from_static(&[1; 10]));
        journal.plan_block().unwrap();
        journal.fail();
        assert!(journal.is_failed() && journal.plan_block().is_none() && journal.plan_prepare().is_none());
    }
}
