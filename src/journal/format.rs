//! The journal's bytes, little-endian.
//!
//! ```text
//! block   0  u32  magic "KLJ1"            entry   0  u8   kind: 1 batch, 2 carried batch, 3 log start,
//!         4  u16  format version (1)                      4 reference (reserved: bytes in a segment)
//!         6  u16  core                            1  u8   flags: bit 0 the batch begins a segment
//!         8  u64  generation                      2  u16  0
//!        16  u64  sequence                        4  u32  payload bytes
//!        24  u32  bytes without padding           8  16   topic id
//!        28  u32  entries                        24  i32  partition
//!        32  u32  CRC-32C of 0..32 and entries   28  i32  leader epoch
//!        36  u32  0                              32  i64  base offset; kind 3: the new log start
//!        40       entries                        40       payload
//! ```
//! Blocks are padded with zeros to 4 KiB. Whatever stands behind the last block of a file is older: a block counts only
//! where its core, generation and sequence are the ones expected.

use crate::types::{Epoch, Offset, PartitionId, Uuid};
use crate::wire::crc::combine;
use bytes::{BufMut, Bytes, BytesMut};

pub const BLOCK_HEADER_BYTES: usize = 40;
pub const ENTRY_HEADER_BYTES: usize = 40;
const MAGIC: u32 = u32::from_le_bytes(*b"KLJ1");
const VERSION: u16 = 1;
const CRC_POSITION: usize = 32;
const FLAG_ROLL: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// One record batch as a client will read it.
    Batch = 1,
    /// A batch that an older block holds too, written again so that the older one's file can be recycled.
    Carried = 2,
    /// The partition's log start moved to `offset`; no payload.
    LogStart = 3,
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub kind: EntryKind,
    /// The batch is the first of a new segment.
    pub roll: bool,
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub offset: Offset,
    pub payload_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHeader {
    pub core: u16,
    pub generation: u64,
    pub sequence: u64,
    /// Header and entries, without padding.
    pub bytes: u32,
    pub entries: u32,
}

impl Entry {
    pub fn encode(&self) -> Bytes {
        let mut b = BytesMut::with_capacity(ENTRY_HEADER_BYTES);
        b.put_u8(self.kind as u8);
        b.put_u8(if self.roll { FLAG_ROLL } else { 0 });
        b.put_u16_le(0);
        b.put_u32_le(self.payload_bytes);
        b.put_slice(&self.partition.topic.0);
        b.put_i32_le(self.partition.index);
        b.put_i32_le(self.epoch);
        b.put_i64_le(self.offset);
        assert_eq!(b.len(), ENTRY_HEADER_BYTES);
        b.freeze()
    }

    fn decode(b: &[u8; ENTRY_HEADER_BYTES]) -> Option<Entry> {
        let kind = match b[0] {
            1 => EntryKind::Batch,
            2 => EntryKind::Carried,
            3 => EntryKind::LogStart,
            _ => return None,
        };
        Some(Entry {
            kind,
            roll: b[1] & FLAG_ROLL != 0,
            payload_bytes: u32_at(b, 4),
            partition: PartitionId { topic: Uuid(array(b, 8)), index: i32::from_le_bytes(array(b, 24)) },
            epoch: i32::from_le_bytes(array(b, 28)),
            offset: i64::from_le_bytes(array(b, 32)),
        })
    }
}

impl BlockHeader {
    /// The header's bytes for a block whose entries have this CRC-32C.
    pub fn encode(&self, entries: u32) -> Bytes {
        let mut b = BytesMut::with_capacity(BLOCK_HEADER_BYTES);
        b.put_u32_le(MAGIC);
        b.put_u16_le(VERSION);
        b.put_u16_le(self.core);
        b.put_u64_le(self.generation);
        b.put_u64_le(self.sequence);
        b.put_u32_le(self.bytes);
        b.put_u32_le(self.entries);
        assert_eq!(b.len(), CRC_POSITION);
        b.put_u32_le(combine(crc32c::crc32c(&b), entries, self.bytes as usize - BLOCK_HEADER_BYTES));
        b.put_u32_le(0);
        b.freeze()
    }

    /// The header at the start of `b`; `None` if none stands there. Says nothing about the entries: see
    /// [`decode_entries`].
    pub fn decode(b: &[u8]) -> Option<BlockHeader> {
        let b = b.get(..BLOCK_HEADER_BYTES)?;
        if u32_at(b, 0) != MAGIC || u16::from_le_bytes(array(b, 4)) != VERSION {
            return None;
        }
        let header = BlockHeader {
            core: u16::from_le_bytes(array(b, 6)),
            generation: u64::from_le_bytes(array(b, 8)),
            sequence: u64::from_le_bytes(array(b, 16)),
            bytes: u32_at(b, 24),
            entries: u32_at(b, 28),
        };
        (header.bytes as usize >= BLOCK_HEADER_BYTES).then_some(header)
    }
}

/// The entries of the block that `block` holds (header and entries, without padding) with the range of each payload in
/// it, or `None` if the bytes are not what was written.
pub fn decode_entries(block: &[u8]) -> Option<Vec<(Entry, std::ops::Range<usize>)>> {
    let header = BlockHeader::decode(block)?;
    if header.bytes as usize != block.len() {
        return None;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..CRC_POSITION]), &block[BLOCK_HEADER_BYTES..]);
    if crc != u32_at(block, CRC_POSITION) {
        return None;
    }
    let mut entries = Vec::new();
    let mut position = BLOCK_HEADER_BYTES;
    for _ in 0..header.entries {
        let head = block.get(position..position + ENTRY_HEADER_BYTES)?;
        let entry = Entry::decode(head.try_into().ok()?)?;
        let start = position + ENTRY_HEADER_BYTES;
        let end = start.checked_add(entry.payload_bytes as usize)?;
        block.get(start..end)?;
        entries.push((entry, start..end));
        position = end;
    }
    (position == block.len()).then_some(entries)
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
        let batch =
            Entry { kind: EntryKind::Batch, roll: true, partition, epoch: 5, offset: 0x0102_0304, payload_bytes: 3 };
        let start = Entry { kind: EntryKind::LogStart, roll: false, payload_bytes: 0, ..batch };
        let parts = [batch.encode(), Bytes::from_static(b"xyz"), start.encode()];
        let bytes = (BLOCK_HEADER_BYTES + 2 * ENTRY_HEADER_BYTES + 3) as u32;
        let header = BlockHeader { core: 1, generation: 9, sequence: 77, bytes, entries: 2 }
            .encode(crc32c::crc32c(&parts.concat()));
        [header.to_vec(), parts.concat()].concat()
    }

    #[test]
    fn golden_bytes() {
        let hex: String = block().iter().map(|b| format!("{b:02x}")).collect();
        let expected = concat!(
            "4b4c4a3101000100",
            "0900000000000000",
            "4d00000000000000",
            "7b00000002000000",
            "CRC_____00000000",
            "0101000003000000abababababababababababababababab02000000050000000403020100000000",
            "78797a",
            "0300000000000000abababababababababababababababab02000000050000000403020100000000"
        );
        let (before, after) = expected.split_once("CRC_____").unwrap();
        assert!(hex.starts_with(before) && hex.ends_with(after), "{hex}");
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let good = block();
        assert_eq!(decode_entries(&good).unwrap().len(), 2);
        assert_eq!(&good[decode_entries(&good).unwrap()[0].1.clone()], b"xyz");
        for i in (0..good.len()).filter(|i| !(36..40).contains(i)) {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(decode_entries(&bad), None, "byte {i}");
        }
        for len in 0..good.len() {
            assert_eq!(decode_entries(&good[..len]), None);
        }
    }
}
