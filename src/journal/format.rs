//! The journal's bytes, little-endian.
//!
//! ```text
//! block   0  u32  magic "KLJ1"            entry   0  u8   kind: 1 batch, 2 carried batch, 3 log start,
//!         4  u16  format version (2)                      5 truncate, 6 skip; reserved: 4 reference
//!         6  u16  core                                    (bytes in a segment)
//!         8  u64  generation                      1  u8   flags: bit 0 the batch begins a segment
//!        16  u64  sequence                        2  u16  check of the entry's header
//!        24  u32  bytes without padding           4  u32  payload bytes
//!        28  u32  entries                         8  16   topic id
//!        32  u16  blocks in flight before it     24  i32  partition
//!        34  u16  check of 0..34                 28  i32  leader epoch
//!        36  u32  CRC-32C of 0..36 and entries   32  i64  base offset; 3: the new log start; 5, 6: the new end
//!        40       entries                        40       payload
//! ```
//! Blocks are padded with zeros to 4 KiB. Files are recycled, so whatever stands behind the last block of a file is older:
//! a block counts only where its core, generation and sequence are the ones expected.
//!
//! A check is the lower half of a CRC-32C. That of an entry covers its block's generation and sequence and the entry's own
//! header without the check. So the entries of a damaged block can be told from garbage one by one.

use crate::types::{Epoch, Offset, PartitionId, Uuid};
use crate::wire::crc::combine;
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// Bytes of a block before its entries.
pub const BLOCK_HEADER_BYTES: usize = 40;
/// Bytes of an entry before its payload.
pub const ENTRY_HEADER_BYTES: usize = 40;
const MAGIC: u32 = u32::from_le_bytes(*b"KLJ1");
const VERSION: u16 = 2;
const CHECK_POSITION: usize = 34;
const CRC_POSITION: usize = 36;
const FLAG_ROLL: u8 = 1;

/// What an entry says of its partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// One record batch as a client will read it.
    Batch = 1,
    /// A batch that an older block holds too, written again so that the older one's file can be recycled.
    Carried = 2,
    /// The partition's log start moved to `offset`. There is no payload.
    LogStart = 3,
    /// The partition's log was cut off: it ends at `offset`. The payload says where that is in its segment.
    Truncate = 5,
    /// The partition's log has no records up to `offset`, from the offset on that the payload says: that is no loss.
    Skip = 6,
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What the entry says.
    pub kind: EntryKind,
    /// Whether the batch is the first of a new segment.
    pub roll: bool,
    /// The partition that it is about.
    pub partition: PartitionId,
    /// Epoch of the leader that appended the batch.
    pub epoch: Epoch,
    /// Offset of the batch's first record, or the new log start.
    pub offset: Offset,
    /// Bytes of the batch behind the header.
    pub payload_bytes: u32,
}

/// What stands before a block's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    /// The core whose journal it is, in a node with as many cores as there were.
    pub core: u16,
    /// The journal's generation: the number of the process that wrote the block.
    pub generation: u64,
    /// The block's number in its generation, from 1 without gaps.
    pub sequence: u64,
    /// Header and entries, without padding.
    pub bytes: u32,
    /// How many entries follow.
    pub entries: u32,
    /// How many blocks right before it were not known to be durable when it was made.
    pub in_flight: u16,
}

/// Where an entry stands: the block's generation and sequence.
pub type Place = (u64, u64);

fn check(parts: &[&[u8]]) -> u16 {
    parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part)) as u16
}

fn entry_check((generation, sequence): Place, header: &[u8]) -> u16 {
    check(&[&generation.to_le_bytes(), &sequence.to_le_bytes(), &header[..2], &header[4..]])
}

impl Entry {
    /// The header's bytes in a block of this generation and sequence.
    pub fn encode(&self, place: Place) -> Bytes {
        let mut b = BytesMut::with_capacity(ENTRY_HEADER_BYTES);
        b.put_u8(self.kind as u8);
        b.put_u8(if self.roll { FLAG_ROLL } else { 0 });
        b.put_u16_le(0);
        b.put_u32_le(self.payload_bytes);
        b.put_slice(&self.partition.topic.0);
        b.put_i32_le(self.partition.index);
        b.put_i32_le(self.epoch.0);
        b.put_i64_le(self.offset);
        assert_eq!(b.len(), ENTRY_HEADER_BYTES);
        let check = entry_check(place, &b);
        b[2..4].copy_from_slice(&check.to_le_bytes());
        b.freeze()
    }

    fn decode(b: &[u8; ENTRY_HEADER_BYTES], place: Place) -> Option<Entry> {
        if u16::from_le_bytes(array(b, 2)) != entry_check(place, b) {
            return None;
        }
        let kind = match b[0] {
            1 => EntryKind::Batch,
            2 => EntryKind::Carried,
            3 => EntryKind::LogStart,
            5 => EntryKind::Truncate,
            6 => EntryKind::Skip,
            _ => return None,
        };
        Some(Entry {
            kind,
            roll: b[1] & FLAG_ROLL != 0,
            payload_bytes: u32_at(b, 4),
            partition: PartitionId { topic: Uuid(array(b, 8)), index: i32::from_le_bytes(array(b, 24)) },
            epoch: Epoch(i32::from_le_bytes(array(b, 28))),
            offset: i64::from_le_bytes(array(b, 32)),
        })
    }
}

impl BlockHeader {
    /// The header's bytes for a block whose entries have this CRC-32C.
    pub fn encode(&self, entries: u32) -> Bytes {
        assert!(u64::from(self.in_flight) < self.sequence);
        let mut b = BytesMut::with_capacity(BLOCK_HEADER_BYTES);
        b.put_u32_le(MAGIC);
        b.put_u16_le(VERSION);
        b.put_u16_le(self.core);
        b.put_u64_le(self.generation);
        b.put_u64_le(self.sequence);
        b.put_u32_le(self.bytes);
        b.put_u32_le(self.entries);
        b.put_u16_le(self.in_flight);
        assert_eq!(b.len(), CHECK_POSITION);
        let check = check(&[&b[..]]);
        b.put_u16_le(check);
        assert_eq!(b.len(), CRC_POSITION);
        b.put_u32_le(combine(crc32c::crc32c(&b), entries, self.bytes as usize - BLOCK_HEADER_BYTES));
        b.freeze()
    }

    /// The header at the start of `b`; `None` if none stands there. Says nothing about the entries: see
    /// [`decode_entries`].
    pub fn decode(b: &[u8]) -> Option<BlockHeader> {
        let b = b.get(..BLOCK_HEADER_BYTES)?;
        if u32_at(b, 0) != MAGIC || u16::from_le_bytes(array(b, 4)) != VERSION {
            return None;
        }
        if check(&[&b[..CHECK_POSITION]]) != u16::from_le_bytes(array(b, CHECK_POSITION)) {
            return None;
        }
        let header = BlockHeader {
            core: u16::from_le_bytes(array(b, 6)),
            generation: u64::from_le_bytes(array(b, 8)),
            sequence: u64::from_le_bytes(array(b, 16)),
            bytes: u32_at(b, 24),
            entries: u32_at(b, 28),
            in_flight: u16::from_le_bytes(array(b, 32)),
        };
        let plausible = header.bytes as usize >= BLOCK_HEADER_BYTES && u64::from(header.in_flight) < header.sequence;
        plausible.then_some(header)
    }

    /// All blocks up to this sequence were durable when this one was made.
    pub fn sequence_durable(&self) -> u64 {
        self.sequence - 1 - u64::from(self.in_flight)
    }
}

/// The entries of the block that `block` holds (header and entries, without padding) with the range of each payload in
/// it, or `None` if the bytes are not what was written.
pub fn decode_entries(block: &[u8]) -> Option<Vec<(Entry, Range<usize>)>> {
    let header = BlockHeader::decode(block)?;
    if header.bytes as usize != block.len() {
        return None;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..CRC_POSITION]), &block[BLOCK_HEADER_BYTES..]);
    if crc != u32_at(block, CRC_POSITION) {
        return None;
    }
    let (entries, end) = walk(block, (header.generation, header.sequence));
    (end == block.len() && entries.len() == header.entries as usize).then_some(entries)
}

/// The entries of a damaged block, as far as they can be told; `bytes` begin with the block and may go on behind it. Entries
/// count whose headers are sound, up to the first that is not; payloads are unchecked. The flag says whether these are all.
pub fn salvage_entries(bytes: &[u8], place: Place) -> (Vec<(Entry, Range<usize>)>, bool) {
    let header = BlockHeader::decode(bytes).filter(|header| (header.generation, header.sequence) == place);
    let (entries, end) = walk(bytes, place);
    let complete = match header {
        Some(header) => end == header.bytes as usize && entries.len() == header.entries as usize,
        // Zeros follow, up to the next block.
        None => !entries.is_empty() && bytes[end..].iter().all(|byte| *byte == 0),
    };
    (entries, complete)
}

/// The entries of a block from its start on, as long as they are sound, and where the last one ends.
fn walk(block: &[u8], place: Place) -> (Vec<(Entry, Range<usize>)>, usize) {
    let mut entries = Vec::new();
    let mut position = BLOCK_HEADER_BYTES.min(block.len());
    while let Some((head, rest)) = block[position..].split_first_chunk::<ENTRY_HEADER_BYTES>()
        && let Some(entry) = Entry::decode(head, place)
        && entry.payload_bytes as usize <= rest.len()
    {
        let start = position + ENTRY_HEADER_BYTES;
        position = start + entry.payload_bytes as usize;
        entries.push((entry, start..position));
    }
    (entries, position)
}

fn array<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b[at..at + N].try_into().expect("the slice has N bytes")
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(b, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let partition = PartitionId { topic: Uuid([0xab; 16]), index: 2 };
        let batch = Entry {
            kind: EntryKind::Batch,
            roll: true,
            partition,
            epoch: Epoch(5),
            offset: 0x0102_0304,
            payload_bytes: 3,
        };
        let start = Entry { kind: EntryKind::LogStart, roll: false, payload_bytes: 0, ..batch };
        let parts = [batch.encode((9, 77)), Bytes::from_static(b"xyz"), start.encode((9, 77))];
        let bytes = (BLOCK_HEADER_BYTES + 2 * ENTRY_HEADER_BYTES + 3) as u32;
        let header = BlockHeader { core: 1, generation: 9, sequence: 77, bytes, entries: 2, in_flight: 3 }
            .encode(crc32c::crc32c(&parts.concat()));
        [header.to_vec(), parts.concat()].concat()
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let good = block();
        assert_eq!(decode_entries(&good).unwrap().len(), 2);
        assert_eq!(&good[decode_entries(&good).unwrap()[0].1.clone()], b"xyz");
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(decode_entries(&bad), None, "byte {i}");
        }
        for len in 0..good.len() {
            assert_eq!(decode_entries(&good[..len]), None);
        }
    }

    #[test]
    fn a_damaged_block_says_which_entries_it_holds() {
        let good = block();
        let mut padded = good.clone();
        padded.resize(4096, 0);
        for i in 0..good.len() {
            let mut bad = padded.clone();
            bad[i] ^= 0x55;
            let (entries, complete) = salvage_entries(&bad, (9, 77));
            match i {
                // The block's header, or the payload: all entries are known.
                0..40 | 80..83 => assert_eq!((entries.len(), complete), (2, true), "byte {i}"),
                40..80 => assert_eq!((entries.len(), complete), (0, false), "byte {i}"),
                _ => assert_eq!((entries.len(), complete), (1, false), "byte {i}"),
            }
        }
        assert_eq!(salvage_entries(&padded, (9, 78)), (Vec::new(), false), "another block's");
        assert_eq!(salvage_entries(&[0; 4096], (9, 77)), (Vec::new(), false));
    }
}
