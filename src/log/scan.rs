//! Finding record batches in bytes that were read from a segment.

use crate::types::Offset;

/// Bytes of a batch before the field that its length counts from.
const OVERHEAD: usize = 12;
/// Bytes of a batch header that a scan needs: up to and including the last offset delta.
const NEEDED: usize = 27;

/// The whole batches found by [`find`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Bytes before the first batch that is wanted.
    pub start: usize,
    /// Bytes up to the end of the last whole batch that is wanted; equal to `start` if none was found.
    pub end: usize,
    /// The offset after the last batch before `end`; -1 if none was passed.
    pub offset_end: Offset,
    /// Bytes that must be there from `start` on to hold the next batch, if it was cut off.
    pub next_bytes: usize,
}

/// Walks the batches of `bytes` (the first one begins at 0) and finds those from the one that holds `offset` on, at most
/// `bytes_max` of them, but one at least. `None` if the bytes are no batches.
pub fn find(bytes: &[u8], offset: Offset, bytes_max: usize) -> Option<Found> {
    let mut found = Found { offset_end: -1, ..Found::default() };
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + NEEDED) {
        let base = i64::from_be_bytes(header[..8].try_into().expect("8 bytes"));
        let length = i32::from_be_bytes(header[8..12].try_into().expect("4 bytes"));
        let delta = i32::from_be_bytes(header[23..27].try_into().expect("4 bytes"));
        if base < 0 || length < (NEEDED - OVERHEAD) as i32 || delta < 0 {
            return None;
        }
        let batch_end = at + OVERHEAD + length as usize;
        let wanted = base + i64::from(delta) >= offset;
        if batch_end > bytes.len() || (wanted && found.end > found.start && batch_end - found.start > bytes_max) {
            found.next_bytes = batch_end - found.start;
            return Some(found);
        }
        found.offset_end = base + i64::from(delta) + 1;
        found.end = batch_end;
        if !wanted {
            found.start = batch_end;
        } else if batch_end - found.start >= bytes_max {
            return Some(found);
        }
        at = batch_end;
    }
    found.next_bytes = at - found.start + NEEDED;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, records: i32, bytes: usize) -> Vec<u8> {
        let mut b = vec![0; bytes];
        b[..8].copy_from_slice(&base.to_be_bytes());
        b[8..12].copy_from_slice(&((bytes - OVERHEAD) as i32).to_be_bytes());
        b[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        b
    }

    fn three() -> Vec<u8> {
        [batch(10, 5, 100), batch(15, 5, 200), batch(20, 1, 300)].concat()
    }

    #[test]
    fn finds_the_batch_that_holds_the_offset() {
        let f = |offset, max| find(&three(), offset, max).map(|f| (f.start, f.end, f.offset_end)).unwrap();
        assert_eq!(f(0, 1000), (0, 600, 21));
        assert_eq!(f(17, 1000), (100, 600, 21));
        assert_eq!(f(17, 200), (100, 300, 20));
        assert_eq!(f(17, 1), (100, 300, 20), "one batch at least");
        assert_eq!(f(10, 299), (0, 100, 15));
        assert_eq!(f(21, 1000), (600, 600, 21));
    }

    #[test]
    fn a_cut_batch_says_what_it_needs() {
        let bytes = three();
        let found = find(&bytes[..250], 17, 1000).unwrap();
        assert_eq!((found.start, found.end, found.next_bytes), (100, 100, 200));
        let found = find(&bytes[..310], 17, 1000).unwrap();
        assert_eq!((found.start, found.end, found.next_bytes), (100, 300, 200 + NEEDED));
    }

    #[test]
    fn zeros_and_garbage_are_no_batches() {
        assert_eq!(find(&[0; 100], 0, 1000), None);
        assert_eq!(find(&[0xff; 100], 0, 1000), None);
        assert_eq!(find(&[], 0, 1000).map(|f| f.end), Some(0));
    }
}
