//! One lz4 frame of independent blocks (lz4_Frame_format.md, version 1.6.1).

use super::input::{UnpackError, Workspace, sized, take, take_array};

const MAGIC: u32 = 0x184d_2204;
const VERSION: u8 = 0b01;
const DICTIONARY: u8 = 1;
const RESERVED: u8 = 1 << 1;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const CONTENT_SIZE: u8 = 1 << 3;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const BLOCK_INDEPENDENT: u8 = 1 << 5;
/// In a block's length: the block is not compressed.
const BLOCK_PLAIN: u32 = 1 << 31;
/// A compressed byte becomes at most so many.
const EXPANSION_MAX: usize = 255;

#[derive(Default)]
pub(super) struct Lz4 {
    frame: Option<Frame>,
}

struct Frame {
    block_bytes_max: usize,
    block_checksum: bool,
    content: Option<XxHash>,
    content_size: Option<u64>,
    content_bytes: u64,
}

impl Lz4 {
    pub(super) fn next<'a>(
        &mut self,
        input: &'a [u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<Option<&'a [u8]>, UnpackError> {
        let frame = match &mut self.frame {
            Some(frame) => frame,
            None => self.frame.insert(Frame::read(input, at)?),
        };
        frame.block(input, at, workspace)
    }
}

impl Frame {
    fn read(input: &[u8], at: &mut usize) -> Result<Frame, UnpackError> {
        if u32::from_le_bytes(take_array(input, at)?) != MAGIC {
            return Err(UnpackError::Corrupt);
        }
        let begin = *at;
        let [flags, block] = take_array(input, at)?;
        if flags >> 6 != VERSION || flags & RESERVED != 0 || block & 0b1000_1111 != 0 || block >> 4 < 4 {
            return Err(UnpackError::Corrupt);
        }
        if flags & BLOCK_INDEPENDENT == 0 || flags & DICTIONARY != 0 {
            return Err(UnpackError::Lz4Frame);
        }
        let content_size = match flags & CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(take_array(input, at)?)),
        };
        let [checksum] = take_array(input, at)?;
        let right = |bytes: &[u8]| (XxHash::of(bytes) >> 8) as u8 == checksum;
        if !right(&input[begin..*at - 1]) {
            // Kafka before 0.10 went over the magic number, too (KAFKA-3160).
            let old = right(&input[begin - 4..*at - 1]);
            return Err(if old { UnpackError::Lz4Frame } else { UnpackError::Corrupt });
        }
        Ok(Frame {
            block_bytes_max: 1 << (8 + 2 * (block >> 4)),
            block_checksum: flags & BLOCK_CHECKSUM != 0,
            content: (flags & CONTENT_CHECKSUM != 0).then(XxHash::default),
            content_size,
            content_bytes: 0,
        })
    }

    /// The next block; `None` at the frame's end.
    fn block<'a>(
        &mut self,
        input: &'a [u8],
        at: &mut usize,
        workspace: &'a mut Workspace,
    ) -> Result<Option<&'a [u8]>, UnpackError> {
        let length = u32::from_le_bytes(take_array(input, at)?);
        if length == 0 {
            let sum = self.content.as_ref().map(XxHash::sum);
            let sum_wrong = sum.map(|sum| Ok(sum != u32::from_le_bytes(take_array(input, at)?))).transpose()?;
            let size_wrong = self.content_size.is_some_and(|size| size != self.content_bytes);
            return if sum_wrong == Some(true) || size_wrong { Err(UnpackError::Corrupt) } else { Ok(None) };
        }
        let (plain, length) = (length & BLOCK_PLAIN != 0, (length & !BLOCK_PLAIN) as usize);
        if length > self.block_bytes_max {
            return Err(UnpackError::Corrupt);
        }
        let packed = take(input, at, length)?;
        if self.block_checksum && XxHash::of(packed) != u32::from_le_bytes(take_array(input, at)?) {
            return Err(UnpackError::Corrupt);
        }
        let block = if plain {
            packed
        } else {
            let room = self.block_bytes_max.min(packed.len() * EXPANSION_MAX);
            let out = sized(&mut workspace.piece, room);
            let made = lz4_flex::block::decompress_into(packed, out).map_err(|_| UnpackError::Corrupt)?;
            &out[..made]
        };
        self.content_bytes += block.len() as u64;
        if let Some(content) = &mut self.content {
            content.update(block);
        }
        Ok(Some(block))
    }
}

const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
const STRIPE_BYTES: usize = 16;

/// XXH32 with seed 0.
pub(super) struct XxHash {
    lanes: [u32; 4],
    /// What does not fill a stripe yet.
    rest: [u8; STRIPE_BYTES],
    bytes: u64,
}

impl Default for XxHash {
    fn default() -> XxHash {
        let lanes = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, 0u32.wrapping_sub(PRIMES[0])];
        XxHash { lanes, rest: [0; STRIPE_BYTES], bytes: 0 }
    }
}

impl XxHash {
    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut hash = XxHash::default();
        hash.update(bytes);
        hash.sum()
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let filled = (self.bytes % STRIPE_BYTES as u64) as usize;
        self.bytes += bytes.len() as u64;
        if filled > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(STRIPE_BYTES - filled));
            self.rest[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < STRIPE_BYTES {
                return;
            }
            let stripe = self.rest;
            self.stripe(&stripe);
            bytes = tail;
        }
        let (stripes, tail) = bytes.as_chunks::<STRIPE_BYTES>();
        stripes.iter().for_each(|stripe| self.stripe(stripe));
        self.rest[..tail.len()].copy_from_slice(tail);
    }

    fn stripe(&mut self, stripe: &[u8; STRIPE_BYTES]) {
        for (lane, word) in self.lanes.iter_mut().zip(stripe.as_chunks::<4>().0) {
            let mixed = lane.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[1]));
            *lane = mixed.rotate_left(13).wrapping_mul(PRIMES[0]);
        }
    }

    fn sum(&self) -> u32 {
        let [a, b, c, d] = self.lanes;
        let mut hash = if self.bytes < STRIPE_BYTES as u64 {
            PRIMES[4]
        } else {
            let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7));
            sum.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18))
        };
        hash = hash.wrapping_add(self.bytes as u32);
        let (words, tail) = self.rest[..(self.bytes % STRIPE_BYTES as u64) as usize].as_chunks::<4>();
        for word in words {
            hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[2]));
            hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
        }
        for byte in tail {
            hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
            hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        hash = (hash ^ hash >> 15).wrapping_mul(PRIMES[1]);
        hash = (hash ^ hash >> 13).wrapping_mul(PRIMES[2]);
        hash ^ hash >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_authors() {
        assert_eq!(XxHash::of(b""), 0x02cc_5d05);
        assert_eq!(XxHash::of(b"abc"), 0x32d1_53ff);
        assert_eq!(XxHash::of(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
        let mut pieces = XxHash::default();
        b"Nobody inspects the spammish repetition".chunks(7).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.sum(), 0xe229_3b2f);
    }
}
