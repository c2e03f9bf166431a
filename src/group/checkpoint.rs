//! A checkpoint of what is durable: the same records as in the log, one for each key, so that the log before its offset
//! need not be read.
//!
//! ```text
//! magic "KGRP", version u32, offset_end i64, records: (key length u32, value length u32, key, value)*, count u64, CRC-32C u32
//! ```
//! Integers are big-endian; the CRC covers all before it.

use super::ledger::Position;
use super::record::Record;
use super::state::Group;
use crate::types::Offset;
use crate::wire::codec::{DecodeError, Reader};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"KGRP";
const VERSION: u32 = 1;
/// Bytes before the records, and behind them.
pub const HEADER_BYTES: usize = 16;
/// Bytes behind the records.
pub const TRAILER_BYTES: usize = 12;

/// Why bytes are no checkpoint: all records are to be replayed instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckpointError {
    /// It does not begin as a checkpoint does.
    Magic,
    /// Another version of this program has written it.
    Version(u32),
    /// The checksum is another one.
    Crc,
    /// It ends early, or does not hold what it says.
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
    /// The checksum of the bytes before `covered`.
    crc: u32,
    covered: usize,
    /// The last group that is in it, and if not all of that is, the last of its positions.
    place: Option<(Arc<str>, Option<Position>)>,
}

impl Checkpoint {
    pub(super) fn new(offset_end: Offset) -> Checkpoint {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(offset_end.to_be_bytes());
        assert_eq!(bytes.len(), HEADER_BYTES);
        Checkpoint { bytes, count: 0, crc: 0, covered: 0, place: None }
    }

    /// Adds groups until the checkpoint has grown by about `bytes`; false when all are in it.
    pub(super) fn grow(&mut self, groups: &BTreeMap<Arc<str>, Group>, bytes: usize) -> bool {
        let end = self.bytes.len() + bytes;
        let mut whole = true;
        if let Some((name, Some(position))) = self.place.clone() {
            let group = groups.get(&name);
            whole = group.is_none_or(|group| self.put_positions(group, Some(&position), end));
            if whole {
                self.place = Some((name, None));
            }
        }
        let from = self.place.as_ref().map_or(Bound::Unbounded, |(name, _)| Bound::Excluded(&**name));
        let mut rest = groups.range::<str, _>((from, Bound::Unbounded));
        while whole && self.bytes.len() < end {
            let Some((name, group)) = rest.next() else { break };
            group.ledger().head_records(name).for_each(|record| self.put(&record));
            whole = self.put_positions(group, None, end);
            if whole {
                self.place = Some((name.clone(), None));
            }
        }
        let is_over = whole && rest.next().is_none();
        self.crc = crc32c::crc32c_append(self.crc, &self.bytes[self.covered..]);
        self.covered = self.bytes.len();
        !is_over
    }

    /// Adds positions of a group; whether all are in the checkpoint.
    fn put_positions(&mut self, group: &Group, after: Option<&Position>, end: usize) -> bool {
        for (topic, partition, committed) in group.ledger().positions_after(after) {
            self.put(&Record::offset(group.name(), topic, partition, Some(committed)));
            if self.bytes.len() >= end {
                self.place = Some((group.name().clone(), Some((topic.clone(), partition))));
                return false;
            }
        }
        true
    }

    fn put(&mut self, record: &Record) {
        assert!(!record.key.is_empty());
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
        assert!(self.covered <= self.bytes.len());
        self.bytes.extend(self.count.to_be_bytes());
        let crc = crc32c::crc32c_append(self.crc, &self.bytes[self.covered..]);
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

/// A checkpoint that is taken over, in pieces: all of it is verified first.
#[derive(Debug)]
pub struct Restoring {
    bytes: Vec<u8>,
    offset_end: Offset,
    /// The record that comes next, to be verified or to be taken over.
    at: usize,
    is_verified: bool,
    /// Of the bytes before `at`.
    crc: u32,
    count: u64,
}

/// The records of a checkpoint are read from its bytes at `at`, up to `end`.
fn next_record<'a>(bytes: &'a [u8], at: &mut usize, end: usize) -> Result<(&'a [u8], &'a [u8]), CheckpointError> {
    let mut r = Reader::new(&bytes[*at..end]);
    let (key_bytes, value_bytes) = (r.u32()? as usize, r.u32()? as usize);
    let record = (r.take(key_bytes)?, r.take(value_bytes)?);
    *at = end - r.remaining();
    Ok(record)
}

impl Restoring {
    /// Says no more of the bytes than that their head may be a checkpoint's.
    pub fn new(bytes: Vec<u8>) -> Result<Restoring, CheckpointError> {
        let offset_end = decode_head(&bytes)?;
        if offset_end < 0 || bytes.len() < HEADER_BYTES + TRAILER_BYTES {
            return Err(CheckpointError::Truncated);
        }
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES]);
        Ok(Restoring { bytes, offset_end, at: HEADER_BYTES, is_verified: false, crc, count: 0 })
    }

    /// The offset at which the log goes on, if the checkpoint is whole.
    pub fn offset_end(&self) -> Offset {
        self.offset_end
    }

    pub(super) fn is_verified(&self) -> bool {
        self.is_verified
    }

    fn end(&self) -> usize {
        self.bytes.len() - TRAILER_BYTES
    }

    /// Verifies about `bytes_max` more; true when all is verified.
    pub(super) fn verify(&mut self, bytes_max: usize) -> Result<bool, CheckpointError> {
        assert!(!self.is_verified);
        let (start, end) = (self.at, self.end());
        while self.at < end && self.at - start < bytes_max {
            next_record(&self.bytes, &mut self.at, end)?;
            self.count += 1;
        }
        self.crc = crc32c::crc32c_append(self.crc, &self.bytes[start..self.at]);
        if self.at < end {
            return Ok(false);
        }
        let (count, crc) = self.bytes[end..].split_at(TRAILER_BYTES - 4);
        if crc32c::crc32c_append(self.crc, count).to_be_bytes() != *crc {
            return Err(CheckpointError::Crc);
        }
        if self.count.to_be_bytes() != *count {
            return Err(CheckpointError::Truncated);
        }
        (self.is_verified, self.at) = (true, HEADER_BYTES);
        Ok(true)
    }

    /// Hands out the next records, of about `bytes_max`; true when there are no more. All of them are verified.
    pub(super) fn take(&mut self, bytes_max: usize, mut record: impl FnMut(&[u8], &[u8])) -> bool {
        assert!(self.is_verified);
        let (start, end) = (self.at, self.end());
        while self.at < end && self.at - start < bytes_max {
            let (key, value) = next_record(&self.bytes, &mut self.at, end).expect("it is verified");
            record(key, value);
        }
        assert!(self.at <= end);
        self.at == end
    }
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

    /// Verifies a checkpoint a record at a time; its offset.
    fn verify(bytes: &[u8]) -> Result<Offset, CheckpointError> {
        let mut restoring = Restoring::new(bytes.to_vec())?;
        while !restoring.verify(1)? {}
        Ok(restoring.offset_end())
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
