//! A checkpoint of what is durable: the same records as in the log, one for each key, so that the log before its offset need
//! not be read.
//!
//! ```text
//! magic "KGRP", version u32, offset_end i64, records: (key length u32, value length u32, key, value)*, count u64, CRC-32C u32
//! ```
//! Integers are big-endian; the CRC covers all before it.

use super::record::Record;
use crate::types::Offset;
use crate::wire::codec::{DecodeError, Reader};
use std::fmt;
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"KGRP";
const VERSION: u32 = 1;
/// Bytes before the records, and behind them.
pub const HEADER_BYTES: usize = 16;
pub const TRAILER_BYTES: usize = 12;

/// Why bytes are no checkpoint: all records are to be replayed instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckpointError {
    Magic,
    Version(u32),
    Crc,
    Truncated,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Magic => f.write_str("not a checkpoint of groups"),
            CheckpointError::Version(version) => write!(f, "checkpoint of groups has version {version}, not {VERSION}"),
            CheckpointError::Crc => f.write_str("checkpoint of groups does not match its checksum"),
            CheckpointError::Truncated => f.write_str("checkpoint of groups ends early"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl From<DecodeError> for CheckpointError {
    fn from(_: DecodeError) -> Self {
        CheckpointError::Truncated
    }
}

/// A checkpoint in the making.
#[derive(Debug)]
pub struct Checkpoint {
    bytes: Vec<u8>,
    count: u64,
    /// The last group that is in it.
    pub(super) group_last: Option<Arc<str>>,
}

impl Checkpoint {
    pub(super) fn new(offset_end: Offset) -> Checkpoint {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(offset_end.to_be_bytes());
        assert_eq!(bytes.len(), HEADER_BYTES);
        Checkpoint { bytes, count: 0, group_last: None }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn put(&mut self, record: &Record) {
        let value = record.value.as_ref().expect("a checkpoint has no tombstones");
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is shorter than 4 GiB").to_be_bytes();
        self.bytes.extend(length(&record.key));
        self.bytes.extend(length(value));
        self.bytes.extend_from_slice(&record.key);
        self.bytes.extend_from_slice(value);
        self.count += 1;
    }

    /// What to put into the file.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(self.count.to_be_bytes());
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.extend(crc.to_be_bytes());
        self.bytes
    }
}

/// The offset in the first [`HEADER_BYTES`] of a checkpoint.
pub fn decode_head(bytes: &[u8]) -> Result<Offset, CheckpointError> {
    let mut r = Reader::new(bytes);
    if r.take(MAGIC.len())? != MAGIC {
        return Err(CheckpointError::Magic);
    }
    let version = r.u32()?;
    if version != VERSION {
        return Err(CheckpointError::Version(version));
    }
    Ok(r.i64()?)
}

/// Whether the bytes are a checkpoint, whole and unharmed; its offset.
pub(super) fn verify(bytes: &[u8]) -> Result<Offset, CheckpointError> {
    let offset_end = decode_head(bytes)?;
    if bytes.len() < HEADER_BYTES + TRAILER_BYTES {
        return Err(CheckpointError::Truncated);
    }
    let (covered, crc) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(covered).to_be_bytes() != *crc {
        return Err(CheckpointError::Crc);
    }
    let mut count = 0u64;
    walk(bytes, |_, _| count += 1);
    let (_, told) = covered.split_at(covered.len() - 8);
    if told != count.to_be_bytes() || offset_end < 0 {
        return Err(CheckpointError::Truncated);
    }
    Ok(offset_end)
}

/// Hands out the records of a checkpoint, up to the first that is not whole.
pub(super) fn walk(bytes: &[u8], mut record: impl FnMut(&[u8], &[u8])) {
    assert!(bytes.len() >= HEADER_BYTES + TRAILER_BYTES);
    let mut r = Reader::new(&bytes[HEADER_BYTES..bytes.len() - TRAILER_BYTES]);
    let mut next = || -> Result<bool, DecodeError> {
        if r.remaining() == 0 {
            return Ok(false);
        }
        let (key_bytes, value_bytes) = (r.u32()? as usize, r.u32()? as usize);
        record(r.take(key_bytes)?, r.take(value_bytes)?);
        Ok(true)
    };
    while next() == Ok(true) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut checkpoint = Checkpoint::new(77);
        let record = Record::group(&"g".into(), Some(&Default::default()));
        checkpoint.put(&record);
        checkpoint.finish()
    }

    #[test]
    fn a_checkpoint_is_whole_or_refused() {
        let bytes = sample();
        assert_eq!(verify(&bytes), Ok(77));
        for end in 0..bytes.len() {
            assert!(verify(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut harmed = bytes.clone();
            harmed[at] ^= 1;
            assert!(verify(&harmed).is_err(), "{at}");
        }
        assert_eq!(verify(b"nothing of the kind, nothing"), Err(CheckpointError::Magic));
        let mut next = bytes.clone();
        next[7] = 2;
        assert_eq!(verify(&next), Err(CheckpointError::Version(2)));
    }

    #[test]
    fn its_form_is_fixed() {
        let bytes = sample();
        assert_eq!(&bytes[..16], b"KGRP\0\0\0\x01\0\0\0\0\0\0\0\x4d");
        assert_eq!(&bytes[16..24], [0, 0, 0, 5, 0, 0, 0, 24]);
        assert_eq!(bytes[bytes.len() - 12..bytes.len() - 4], 1u64.to_be_bytes());
    }
}
