//! Checksums of concatenations, from those of their parts.

/// CRC-32C's polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// 1 as a polynomial, its bits reversed.
const ONE: u32 = 1 << 31;
/// x^(2^k) modulo the polynomial, by k.
const POWERS: [u32; 64] = powers();

/// The product of two polynomials modulo CRC-32C's.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, ONE);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 != 0 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

const fn powers() -> [u32; 64] {
    let mut powers = [ONE >> 1; 64];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
}

/// The CRC-32C of two pieces one after the other, of which `first` and `second` are the checksums; the second is `bytes` long.
/// Takes some hundred nanoseconds however long it is.
pub fn combine(first: u32, second: u32, bytes: usize) -> u32 {
    // Appending zeros multiplies by x^(8 * bytes).
    let bits = bytes as u64 * 8;
    let shifted = (0..64).filter(|k| bits >> k & 1 == 1).fold(first, |crc, k| multiply(POWERS[k], crc));
    shifted ^ second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_has_the_checksum_of_its_parts() {
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (u64::from(i).pow(2) >> 3) as u8).collect();
        for end in [0, 1, 7, 64, 4095, 65_537, bytes.len()] {
            for cut in [0, 1, end / 3, end.saturating_sub(1), end] {
                let (first, second) = bytes[..end].split_at(cut.min(end));
                let combined = combine(crc32c::crc32c(first), crc32c::crc32c(second), second.len());
                assert_eq!(combined, crc32c::crc32c(&bytes[..end]), "{cut} of {end}");
            }
        }
    }
}
