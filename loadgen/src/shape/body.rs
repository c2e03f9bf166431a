//! The records of a batch as they are put together, in the memory of batches that have been sent.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Batches whose memory is kept to be used again.
const SPARE_MAX: usize = 16;

/// Bytes that grow at their end.
pub struct Body {
    /// What may be overwritten; `used` of them are.
    bytes: BytesMut,
    used: usize,
}

impl Body {
    /// The next so many bytes, whatever is in them.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        let (start, end) = (self.used, self.used + length);
        if end > self.bytes.len() {
            self.bytes.resize(end.max(2 * start), 0);
        }
        self.used = end;
        &mut self.bytes[start..end]
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    /// A signed number in one to five bytes.
    pub fn put_varint(&mut self, value: i32) {
        let mut bits = (value << 1 ^ value >> 31) as u32;
        while bits >= 0x80 {
            self.put(&[bits as u8 | 0x80]);
            bits >>= 7;
        }
        self.put(&[bits as u8]);
    }

    pub fn finish(mut self) -> Bytes {
        self.bytes.truncate(self.used);
        self.bytes.freeze()
    }
}

/// Bytes of a signed number as `put_varint` writes it.
pub fn varint_bytes(value: i32) -> usize {
    let bits = 32 - ((value << 1 ^ value >> 31) as u32).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

/// The memory of batches, to be used again once nobody else has it.
#[derive(Default)]
pub struct Spare(VecDeque<Bytes>);

impl Spare {
    pub fn put(&mut self, bytes: Bytes) {
        if self.0.len() < SPARE_MAX {
            self.0.push_back(bytes);
        }
    }

    /// A body without bytes. One that has to be new has room for so many.
    pub fn take(&mut self, bytes: usize) -> Body {
        let oldest = self.0.pop_front().map(Bytes::try_into_mut);
        let bytes = match oldest {
            Some(Ok(bytes)) => bytes,
            other => {
                // It waits to be sent, as those behind it do.
                other.into_iter().filter_map(Result::err).for_each(|bytes| self.0.push_front(bytes));
                BytesMut::zeroed(bytes)
            }
        };
        Body { bytes, used: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::codec::Writer;

    #[test]
    fn numbers_are_those_of_the_codec() {
        for value in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 1 << 20, i32::MAX, i32::MIN] {
            let mut w = Writer::new();
            w.put_varint(value);
            let mut body = Spare::default().take(0);
            body.put_varint(value);
            assert_eq!(varint_bytes(value), w.len(), "{value}");
            assert_eq!(body.finish(), w.into_bytes(), "{value}");
        }
    }

    #[test]
    fn memory_is_used_again_once_nobody_else_has_it() {
        let mut spare = Spare::default();
        let make = |spare: &mut Spare, text: &[u8]| {
            let mut body = spare.take(1000);
            body.put(text);
            body.finish()
        };
        let first = make(&mut spare, b"a longer text");
        let place = first.as_ptr();
        spare.put(first.clone());
        let second = make(&mut spare, b"second");
        assert!(second.as_ptr() != place && first == b"a longer text"[..]);
        drop(first);
        let third = make(&mut spare, b"third");
        assert_eq!((third.as_ptr(), &third[..]), (place, &b"third"[..]));
        // What was there before is not to be seen, and bodies grow.
        spare.put(third);
        let long = vec![7; 5000];
        assert_eq!(make(&mut spare, &long), long);
        (0..100).for_each(|_| spare.put(Bytes::from(vec![0])));
        assert!(spare.0.len() <= SPARE_MAX);
    }
}
