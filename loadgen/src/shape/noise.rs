//! Random bytes at nearly the speed of memory: no two pieces are the same, and no compressor finds anything in them.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use std::sync::Arc;

/// Bytes of a table in which pieces may begin; a power of two, so that all tables together stay in a core's first cache.
const STARTS: usize = 1 << START_BITS;
const START_BITS: usize = 13;
/// Bytes that are made at a time.
const PIECE_BYTES: usize = 1 << 10;
/// Within each block of so many bytes some are random and the others not, where values are to be compressible.
const BLOCK_BYTES: usize = 1 << 12;

/// Random bytes that any number of sources share.
pub struct Tables([Vec<u8>; 3]);

impl Tables {
    pub fn new(seed: u64) -> Tables {
        let mut random = SmallRng::seed_from_u64(seed);
        Tables(std::array::from_fn(|_| {
            let mut table = vec![0; STARTS + PIECE_BYTES];
            random.fill_bytes(&mut table);
            table
        }))
    }
}

/// Each piece is the exclusive or of pieces of three random tables, so that there are as many as places in all three: 2^39.
pub struct Noise {
    tables: Arc<Tables>,
    random: SmallRng,
}

impl Noise {
    pub fn new(tables: Arc<Tables>, seed: u64) -> Noise {
        Noise { tables, random: SmallRng::seed_from_u64(seed) }
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        let Tables([first, second, third]) = &*self.tables;
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            let places = self.random.next_u64() as usize;
            let [a, b, c] = [0, 1, 2].map(|table| (places >> (table * START_BITS)) % STARTS);
            let tables = first[a..].iter().zip(&second[b..]).zip(&third[c..]);
            for (byte, ((a, b), c)) in piece.iter_mut().zip(tables) {
                *byte = a ^ b ^ c;
            }
        }
    }

    /// Bytes that compression makes about `ratio` times fewer: so many are random, and the others zeros.
    pub fn fill_compressible(&mut self, bytes: &mut [u8], ratio: f64) {
        if ratio <= 1.0 {
            return self.fill(bytes);
        }
        for block in bytes.chunks_mut(BLOCK_BYTES) {
            let random = (block.len() as f64 / ratio).round() as usize;
            let (random, rest) = block.split_at_mut(random);
            self.fill(random);
            rest.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn bytes_are_even_and_do_not_repeat() {
        let mut noise = Noise::new(Arc::new(Tables::new(1)), 1);
        let mut bytes = vec![0; 1 << 22];
        noise.fill(&mut bytes);
        let mut counts = [0u64; 256];
        bytes.iter().for_each(|&byte| counts[byte as usize] += 1);
        let expected = bytes.len() as u64 / 256;
        assert!(counts.iter().all(|&count| count.abs_diff(expected) < expected / 20), "{counts:?}");
        let distinct: BTreeSet<&[u8]> = bytes.chunks(16).collect();
        assert_eq!(distinct.len(), bytes.len() / 16);
    }

    #[test]
    fn a_seed_decides_and_lengths_are_kept() {
        let tables = Arc::new(Tables::new(3));
        let of = |seed, length| {
            let mut bytes = vec![0; length];
            Noise::new(tables.clone(), seed).fill(&mut bytes);
            bytes
        };
        for length in [0, 1, 7, PIECE_BYTES, PIECE_BYTES + 1, 10_000] {
            assert_eq!(of(5, length), of(5, length));
            assert!(length < 4 || of(5, length) != of(6, length));
        }
    }
}
