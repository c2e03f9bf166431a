//! Bytes of the metadata log and of its snapshots. All numbers are little-endian.
//!
//! Both files are a header of 32 bytes and frames, each a header of 24 bytes and a finished FlatBuffer `Entry`:
//!
//! | header | | frame | |
//! |---|---|---|---|
//! | magic `klammeta` | 8 | length of the entry | u32 |
//! | version | u16 | CRC-32C of all that follows | u32 |
//! | kind: 0 log, 1 snapshot | u16 | index of the record | u64 |
//! | CRC-32C of the other 28 bytes | u32 | index up to which the log was synced at that time | u64 |
//! | index of the snapshot's last record; log: 0 | u64 | entry | |
//! | frames in the snapshot; log: 0 | u64 | | |
//!
//! A log's frames have consecutive indexes; a snapshot's count from 1. A drive may keep any part of what was not
//! synced, so a frame that cannot be read ends the log, unless a later frame says that it had been synced.

use std::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"klammeta";
const VERSION: u16 = 1;
const KIND_LOG: u16 = 0;
const KIND_SNAPSHOT: u16 = 1;
/// Largest entry that is written or accepted: room for 10,000 partitions that are all placed differently.
pub const ENTRY_BYTES_MAX: usize = 16 << 20;
pub const HEADER_BYTES: usize = size_of::<Header>();
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U16,
    kind: U16,
    crc: U32,
    index_last: U64,
    frames: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FrameHeader {
    length: U32,
    crc: U32,
    index: U64,
    index_synced: U64,
}

/// The CRC of a frame begins behind `length` and `crc`.
const FRAME_CRC_START: usize = 8;

/// Why a log or a snapshot cannot be used. Positions are bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The file does not begin as ours do.
    Foreign,
    /// Written by a later version of this program.
    Version(u16),
    /// Bytes at this position had been synced and cannot be read.
    Corrupt { position: usize },
    /// The frame at this position does not follow what comes before it: records between them are missing.
    Gap { position: usize, index: u64, index_expected: u64 },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it is not a metadata file of this program"),
            Self::Version(version) => {
                write!(f, "its format {version} is later than {VERSION}, which this program knows")
            }
            Self::Corrupt { position } => write!(f, "it is damaged at byte {position}"),
            Self::Gap { position, index, index_expected } => {
                write!(f, "record {index} at byte {position} follows where record {index_expected} should")
            }
        }
    }
}

impl std::error::Error for LogError {}

/// The readable part of a log: entries in order with their indexes, and where the part ends. What lies behind it was
/// never acknowledged and is to be cut off. 0 bytes mean that even the header is to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub entries: Vec<(u64, &'a [u8])>,
    pub bytes_valid: usize,
}

fn encode_header(kind: u16, index_last: u64, frames: u64) -> [u8; HEADER_BYTES] {
    let mut header = Header {
        magic: MAGIC,
        version: U16::new(VERSION),
        kind: U16::new(kind),
        crc: U32::ZERO,
        index_last: U64::new(index_last),
        frames: U64::new(frames),
    };
    header.crc = U32::new(header_crc(&header));
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

fn header_crc(header: &Header) -> u32 {
    let bytes = header.as_bytes();
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub is_snapshot: bool,
    /// Of a snapshot: index of its last record, and its frames.
    pub index_last: u64,
    pub frames: u64,
}

/// Reads the first [`HEADER_BYTES`] of a log or a snapshot.
pub fn decode_head(bytes: &[u8]) -> Result<Head, LogError> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| LogError::Foreign)?;
    if header.magic != MAGIC {
        return Err(LogError::Foreign);
    }
    if header.crc.get() != header_crc(header) {
        return Err(LogError::Corrupt { position: 0 });
    }
    if header.version.get() > VERSION {
        return Err(LogError::Version(header.version.get()));
    }
    let is_snapshot = match header.kind.get() {
        KIND_LOG => false,
        KIND_SNAPSHOT => true,
        _ => return Err(LogError::Foreign),
    };
    Ok(Head { is_snapshot, index_last: header.index_last.get(), frames: header.frames.get() })
}

/// What a log begins with.
pub fn encode_log_header() -> [u8; HEADER_BYTES] {
    encode_header(KIND_LOG, 0, 0)
}

/// Appends the frame of one entry to `out`. `index_synced` is the last record that is durable as the frame is made.
pub fn encode_frame(out: &mut Vec<u8>, index: u64, index_synced: u64, entry: &[u8]) {
    assert!(!entry.is_empty() && entry.len() <= ENTRY_BYTES_MAX);
    assert!(index > index_synced);
    let mut header = FrameHeader {
        length: U32::new(entry.len() as u32),
        crc: U32::ZERO,
        index: U64::new(index),
        index_synced: U64::new(index_synced),
    };
    let crc = crc32c::crc32c(&header.as_bytes()[FRAME_CRC_START..]);
    header.crc = U32::new(crc32c::crc32c_append(crc, entry));
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(entry);
}

/// One frame of a log or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub index: u64,
    /// The last record that was durable when the frame was made.
    pub index_synced: u64,
    /// A record, as [`Record::decode`](super::Record::decode) reads it.
    pub entry: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame that begins with `head`, as it claims; `None` if it is too short for a head or no frame is of
    /// such a length.
    pub fn bytes(head: &[u8]) -> Option<usize> {
        let (header, _) = FrameHeader::ref_from_prefix(head).ok()?;
        let length = header.length.get() as usize;
        (length > 0 && length <= ENTRY_BYTES_MAX).then_some(FRAME_HEADER_BYTES + length)
    }
}

/// The frame at the start of `bytes`, if a whole and sound one is there.
pub fn decode_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let bytes = bytes.get(..Frame::bytes(bytes)?)?;
    let (header, entry) = FrameHeader::ref_from_prefix(bytes).ok()?;
    let sound = crc32c::crc32c(&bytes[FRAME_CRC_START..]) == header.crc.get();
    sound.then_some(Frame { index: header.index.get(), index_synced: header.index_synced.get(), entry })
}

/// Reads a log whose records up to `index_snapshot` are in a snapshot; they may be in the log too.
pub fn decode_log(bytes: &[u8], index_snapshot: u64) -> Result<Decoded<'_>, LogError> {
    let mut decoded = Decoded { entries: Vec::new(), bytes_valid: 0 };
    // A crash during the first append may leave a header in part, or a file that has grown but holds zeros.
    if bytes.len() < HEADER_BYTES || bytes[..HEADER_BYTES].iter().all(|&b| b == 0) {
        return match proof_of_sync(bytes, 0, index_snapshot + 1) {
            true => Err(LogError::Corrupt { position: 0 }),
            false => Ok(decoded),
        };
    }
    if decode_head(bytes)?.is_snapshot {
        return Err(LogError::Foreign);
    }
    decoded.bytes_valid = HEADER_BYTES;
    while let Some(Frame { index, entry, .. }) = decode_frame(&bytes[decoded.bytes_valid..]) {
        let follows = match decoded.entries.last() {
            Some(&(last, _)) => index == last + 1,
            None => index >= 1 && index <= index_snapshot + 1,
        };
        if !follows {
            let index_expected = decoded.entries.last().map_or(index_snapshot, |&(last, _)| last) + 1;
            return Err(LogError::Gap { position: decoded.bytes_valid, index, index_expected });
        }
        decoded.entries.push((index, entry));
        decoded.bytes_valid += FRAME_HEADER_BYTES + entry.len();
    }
    let index_missing = decoded.entries.last().map_or(index_snapshot, |&(last, _)| last) + 1;
    if proof_of_sync(bytes, decoded.bytes_valid, index_missing) {
        return Err(LogError::Corrupt { position: decoded.bytes_valid });
    }
    assert!(decoded.bytes_valid <= bytes.len());
    Ok(decoded)
}

/// Whether a sound frame behind `position` says that record `index` had been synced.
fn proof_of_sync(bytes: &[u8], position: usize, index: u64) -> bool {
    let index_end = index.saturating_add(bytes.len() as u64);
    (position..bytes.len()).any(|position| {
        // The indexes are looked at first: they rule out nearly every position, which spares its CRC.
        let Ok((header, _)) = FrameHeader::ref_from_prefix(&bytes[position..]) else {
            return false;
        };
        let plausible = (index..index_end).contains(&header.index_synced.get())
            && header.index.get() > header.index_synced.get()
            && header.index.get() < index_end;
        plausible && decode_frame(&bytes[position..]).is_some()
    })
}

/// A snapshot: the entries that rebuild an image whose last record was `index_last`.
pub fn encode_snapshot(index_last: u64, entries: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut frames = 0;
    for entry in entries {
        frames += 1;
        encode_frame(&mut bytes, frames, 0, &entry);
    }
    bytes[..HEADER_BYTES].copy_from_slice(&encode_header(KIND_SNAPSHOT, index_last, frames));
    bytes
}

/// The last index and the entries of a snapshot, which must be whole: it is renamed into place only when it is synced.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(u64, Vec<&[u8]>), LogError> {
    let head = decode_head(bytes)?;
    if !head.is_snapshot {
        return Err(LogError::Foreign);
    }
    let mut entries = Vec::new();
    let mut position = HEADER_BYTES;
    while position < bytes.len() {
        let frame = decode_frame(&bytes[position..]).ok_or(LogError::Corrupt { position })?;
        entries.push(frame.entry);
        if frame.index != entries.len() as u64 {
            return Err(LogError::Corrupt { position });
        }
        position += FRAME_HEADER_BYTES + frame.entry.len();
    }
    if entries.len() as u64 != head.frames {
        return Err(LogError::Corrupt { position });
    }
    Ok((head.index_last, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::tests::unhex;

    /// A log of entries "entry1" ... with two records to an append.
    fn log(count: u64) -> Vec<u8> {
        let mut bytes = encode_log_header().to_vec();
        for index in 1..=count {
            encode_frame(&mut bytes, index, (index - 1) / 2 * 2, format!("entry{index}").as_bytes());
        }
        bytes
    }

    const FRAME: usize = FRAME_HEADER_BYTES + 6;

    #[test]
    fn bytes_are_golden() {
        const HEADER: &str = "6b6c616d6d65746101000000b5be4cde00000000000000000000000000000000";
        const FRAME: &str = "050000004b7dea0102010000000000000101000000000000656e747279";
        let header = encode_log_header();
        assert_eq!(header[..], unhex(HEADER), "{header:02x?}");
        let mut frame = Vec::new();
        encode_frame(&mut frame, 0x0102, 0x0101, b"entry");
        assert_eq!(frame, unhex(FRAME), "{frame:02x?}");
    }

    #[test]
    fn logs_round_trip() {
        let bytes = log(9);
        let decoded = decode_log(&bytes, 0).unwrap();
        assert_eq!(decoded.bytes_valid, bytes.len());
        assert_eq!(decoded.entries.len(), 9);
        assert_eq!(decoded.entries[8], (9, &b"entry9"[..]));
        assert_eq!(decode_log(b"", 0).unwrap().bytes_valid, 0);
    }

    #[test]
    fn a_torn_tail_ends_the_log() {
        let bytes = log(4);
        for end in 0..bytes.len() {
            let whole = end.saturating_sub(HEADER_BYTES) / FRAME;
            let decoded = decode_log(&bytes[..end], 0).unwrap();
            assert_eq!(decoded.entries.len(), whole);
            let bytes_valid = if end < HEADER_BYTES { 0 } else { HEADER_BYTES + whole * FRAME };
            assert_eq!(decoded.bytes_valid, bytes_valid);
        }
        let mut zeros_behind = log(4);
        zeros_behind.resize(bytes.len() + 4096, 0);
        assert_eq!(decode_log(&zeros_behind, 0).unwrap().bytes_valid, bytes.len());
        assert_eq!(decode_log(&[0; 4096], 0).unwrap().bytes_valid, 0);
    }

    #[test]
    fn damage_counts_only_where_it_was_synced() {
        for damaged in 0..4 {
            let mut bytes = log(4);
            bytes[HEADER_BYTES + damaged * FRAME + FRAME_HEADER_BYTES] ^= 1;
            let position = HEADER_BYTES + damaged * FRAME;
            // Records 3 and 4 were one append, in which 3 may be lost and 4 kept.
            match damaged {
                0 | 1 => assert_eq!(decode_log(&bytes, 0), Err(LogError::Corrupt { position })),
                _ => assert_eq!(decode_log(&bytes, 0).unwrap().bytes_valid, position),
            }
        }
        let mut bytes = log(4);
        bytes[..HEADER_BYTES + FRAME].fill(0);
        assert_eq!(decode_log(&bytes, 0), Err(LogError::Corrupt { position: 0 }));
        assert_eq!(decode_log(&bytes, 3).unwrap().bytes_valid, 0);
    }

    #[test]
    fn records_may_be_in_the_snapshot_too_but_none_may_be_missing() {
        let bytes = log(4);
        assert_eq!(decode_log(&bytes, 2).unwrap().entries.len(), 4);
        let mut later = encode_log_header().to_vec();
        encode_frame(&mut later, 5, 4, b"entry5");
        assert_eq!(decode_log(&later, 4).unwrap().entries.len(), 1);
        let gap = LogError::Gap { position: HEADER_BYTES, index: 5, index_expected: 4 };
        assert_eq!(decode_log(&later, 3), Err(gap));
    }

    #[test]
    fn foreign_and_later_files_are_refused() {
        assert_eq!(decode_log(&[7; 100], 0), Err(LogError::Foreign));
        assert_eq!(decode_log(&encode_snapshot(1, std::iter::empty()), 0), Err(LogError::Foreign));
        let mut header = encode_log_header();
        header[20] ^= 1;
        assert_eq!(decode_log(&header, 0), Err(LogError::Corrupt { position: 0 }));
        let (later, _) = Header::mut_from_prefix(&mut header).unwrap();
        later.version = U16::new(VERSION + 1);
        later.crc = U32::new(header_crc(later));
        assert_eq!(decode_log(&header, 0), Err(LogError::Version(VERSION + 1)));
    }

    #[test]
    fn snapshots_are_whole_or_refused() {
        let bytes = encode_snapshot(77, (1..=3).map(|i| format!("entry{i}").into_bytes()));
        assert_eq!(decode_snapshot(&bytes), Ok((77, vec![&b"entry1"[..], b"entry2", b"entry3"])));
        for end in 0..bytes.len() {
            assert!(decode_snapshot(&bytes[..end]).is_err());
        }
        for position in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[position] ^= 0x10;
            assert!(decode_snapshot(&bytes).is_err(), "{position}");
        }
    }
}
