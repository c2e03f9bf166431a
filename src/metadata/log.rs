//! Bytes of the metadata log and of its snapshots. All numbers are little-endian.
//!
//! The log is a row of files, each named after the entry before its first ([`file_name`]); a snapshot is one file. Each is
//! a header of 32 bytes and frames, each of which is a header of 40 bytes and a payload:
//!
//! | header | | frame | |
//! |---|---|---|---|
//! | magic `klammeta` | 8 | length of the payload | u32 |
//! | version: 2 | u16 | CRC-32C of all that follows | u32 |
//! | kind: 0 log, 1 snapshot | u16 | index of the entry | u64 |
//! | CRC-32C of the other 28 bytes | u32 | index up to which the log was synced at that time | u64 |
//! | index of the entry before the file's first; snapshot: of its last | u64 | term of the entry | u64 |
//! | term of that entry | u64 | kind: 0 records, 1 a term begins, 2 a snapshot ends | u8 |
//! | | | zero | 7 |
//!
//! The payload of records is one decision: each record's length (u32) and its finished FlatBuffer `Entry`, repeated. Other
//! kinds have no payload. A log's frames have consecutive indexes and terms that never fall; a snapshot's count from 1,
//! and its last one has the kind 2.
//!
//! A drive may keep any part of what was not synced, so a frame that cannot be read ends the log, unless a later frame or
//! a later file says that it had been synced. Zeros behind the last frame are room for later ones.

use super::record::RecordError;
use std::fmt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"klammeta";
const VERSION: u16 = 2;
const KIND_LOG: u16 = 0;
const KIND_SNAPSHOT: u16 = 1;
/// Largest payload that is accepted: a decision ([`DECISION_BYTES_MAX`](super::DECISION_BYTES_MAX)), or in a snapshot the
/// largest topic and what stands before it.
const PAYLOAD_BYTES_MAX: usize = 40 << 20;
/// Bytes of the header of a file.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of the header of a frame.
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
/// Bytes before each record of a payload.
const RECORD_LENGTH_BYTES: usize = 4;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U16,
    kind: U16,
    crc: U32,
    index: U64,
    term: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FrameHeader {
    length: U32,
    crc: U32,
    index: U64,
    index_synced: U64,
    term: U64,
    kind: u8,
    zero: [u8; 7],
}

/// The CRC of a frame begins behind `length` and `crc`.
const FRAME_CRC_START: usize = 8;

/// Why a file of the log or a snapshot cannot be used. Positions are bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The file does not begin as ours do.
    Foreign,
    /// Written by another version of this program.
    Version(u16),
    /// Bytes at this position had been synced and cannot be read.
    Corrupt {
        /// Where the frame begins.
        position: usize,
    },
    /// The frame at this position does not follow what comes before it: entries between them are missing.
    Gap {
        /// Where the frame begins.
        position: usize,
        /// The index in it.
        index: u64,
        /// The index that should follow.
        index_expected: u64,
    },
    /// The frame at this position is of an older term than the one before.
    Term {
        /// Where the frame begins.
        position: usize,
        /// The term in it.
        term: u64,
        /// The term of the frame before.
        term_before: u64,
    },
    /// The frame at this position is of a kind that a later version of this program writes.
    Kind {
        /// Where the frame begins.
        position: usize,
        /// The number of the kind.
        kind: u8,
    },
    /// There is no such file.
    Missing,
    /// The frame at this position holds something else than records.
    Record {
        /// Where the frame begins.
        position: usize,
        /// What is wrong with the payload.
        error: RecordError,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it is not a metadata file of this program"),
            Self::Version(version) => {
                write!(f, "its format is {version}, and this program reads {VERSION}: use the program that wrote it")
            }
            Self::Corrupt { position } => write!(f, "it is damaged at byte {position}"),
            Self::Gap { position, index, index_expected } => {
                write!(f, "entry {index} at byte {position} follows where entry {index_expected} should")
            }
            Self::Term { position, term, term_before } => {
                write!(f, "the entry at byte {position} is of term {term}, behind one of term {term_before}")
            }
            Self::Kind { position, kind } => {
                write!(f, "the entry at byte {position} is of kind {kind}, which a later version of this program knows")
            }
            Self::Missing => f.write_str("it is not there"),
            Self::Record { position, error } => write!(f, "the entry at byte {position} is wrong: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// The name of the log file whose first entry follows the one with this index.
pub fn file_name(index_before: u64) -> String {
    format!("log-{index_before:020}")
}

/// The index in the name of a log file; `None` if the name is none.
pub fn file_index(name: &str) -> Option<u64> {
    let index = name.strip_prefix("log-")?.parse().ok()?;
    (file_name(index) == name).then_some(index)
}

fn encode_header(kind: u16, index: u64, term: u64) -> [u8; HEADER_BYTES] {
    let mut header = Header {
        magic: MAGIC,
        version: U16::new(VERSION),
        kind: U16::new(kind),
        crc: U32::ZERO,
        index: U64::new(index),
        term: U64::new(term),
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
    /// Whether the file is a snapshot, and no part of the log.
    pub is_snapshot: bool,
    /// Of the entry before the file's first; of a snapshot's last one.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
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
    if header.version.get() != VERSION {
        return Err(LogError::Version(header.version.get()));
    }
    let is_snapshot = match header.kind.get() {
        KIND_LOG => false,
        KIND_SNAPSHOT => true,
        _ => return Err(LogError::Foreign),
    };
    Ok(Head { is_snapshot, index: header.index.get(), term: header.term.get() })
}

/// What a log file begins with whose first entry follows this one.
pub fn encode_log_header(index_before: u64, term_before: u64) -> [u8; HEADER_BYTES] {
    encode_header(KIND_LOG, index_before, term_before)
}

/// What a snapshot begins with that holds everything up to this entry.
pub fn encode_snapshot_header(index_last: u64, term_last: u64) -> [u8; HEADER_BYTES] {
    encode_header(KIND_SNAPSHOT, index_last, term_last)
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The records of one decision.
    Records,
    /// The first entry of a term.
    TermBegins,
    /// The last frame of a snapshot.
    SnapshotEnds,
    /// Of a later version of this program.
    Later(u8),
}

impl Kind {
    pub(super) fn code(self) -> u8 {
        match self {
            Kind::Records => 0,
            Kind::TermBegins => 1,
            Kind::SnapshotEnds => 2,
            Kind::Later(code) => code,
        }
    }

    fn from_code(code: u8) -> Kind {
        match code {
            0 => Kind::Records,
            1 => Kind::TermBegins,
            2 => Kind::SnapshotEnds,
            code => Kind::Later(code),
        }
    }
}

/// One frame of a log or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The entry's index; in a snapshot, the frame's number.
    pub index: u64,
    /// The last entry that was durable when the frame was made.
    pub index_synced: u64,
    /// The entry's term.
    pub term: u64,
    /// What the payload is.
    pub kind: Kind,
    /// The bytes behind the header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes of the frame that begins with `head`, as it claims; `None` if it is too short for a head or no frame is of
    /// such a length.
    pub fn bytes(head: &[u8]) -> Option<usize> {
        let (header, _) = FrameHeader::ref_from_prefix(head).ok()?;
        let length = header.length.get() as usize;
        (length <= PAYLOAD_BYTES_MAX).then_some(FRAME_HEADER_BYTES + length)
    }

    /// Appends the frame's header and payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.payload.len() <= PAYLOAD_BYTES_MAX && self.index > self.index_synced);
        assert_eq!(self.payload.is_empty(), self.kind != Kind::Records);
        let mut header = FrameHeader {
            length: U32::new(self.payload.len() as u32),
            crc: U32::ZERO,
            index: U64::new(self.index),
            index_synced: U64::new(self.index_synced),
            term: U64::new(self.term),
            kind: self.kind.code(),
            zero: [0; 7],
        };
        let crc = crc32c::crc32c(&header.as_bytes()[FRAME_CRC_START..]);
        header.crc = U32::new(crc32c::crc32c_append(crc, self.payload));
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(self.payload);
    }

    /// The finished FlatBuffers of the records in the frame.
    pub fn records(&self) -> Result<Vec<&'a [u8]>, RecordError> {
        match self.kind {
            Kind::Records => split_records(self.payload),
            Kind::TermBegins | Kind::SnapshotEnds | Kind::Later(_) => Ok(Vec::new()),
        }
    }
}

/// Appends a record to a payload.
pub(super) fn push_record(payload: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("a record is smaller than a payload");
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(record);
}

/// The records of a payload: one at least.
pub(super) fn split_records(mut payload: &[u8]) -> Result<Vec<&[u8]>, RecordError> {
    let wrong = || RecordError("not a row of records".into());
    let mut records = Vec::new();
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk::<RECORD_LENGTH_BYTES>().ok_or_else(wrong)?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(wrong)?;
        records.push(record);
        payload = rest;
    }
    if records.is_empty() { Err(wrong()) } else { Ok(records) }
}

/// The frame at the start of `bytes`, if a whole and sound one is there.
pub fn decode_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let bytes = bytes.get(..Frame::bytes(bytes)?)?;
    let (header, payload) = FrameHeader::ref_from_prefix(bytes).ok()?;
    if crc32c::crc32c(&bytes[FRAME_CRC_START..]) != header.crc.get() {
        return None;
    }
    Some(Frame {
        index: header.index.get(),
        index_synced: header.index_synced.get(),
        term: header.term.get(),
        kind: Kind::from_code(header.kind),
        payload,
    })
}

/// The readable part of a log file: its frames in order with their positions, and where the part ends. What lies behind it
/// was never acknowledged. 0 bytes: even the header is missing.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub frames: Vec<(usize, Frame<'a>)>,
    pub bytes_valid: usize,
}

/// Reads the log file whose first entry follows the one with this index.
pub fn decode_log(bytes: &[u8], index_before: u64) -> Result<Decoded<'_>, LogError> {
    let mut decoded = Decoded { frames: Vec::new(), bytes_valid: 0 };
    let mut index_next = index_before.checked_add(1).ok_or(LogError::Foreign)?;
    // A crash while the file is made may leave a header in part, or a file that has grown but holds zeros.
    if bytes.len() < HEADER_BYTES || bytes[..HEADER_BYTES].iter().all(|&b| b == 0) {
        return match proof_of_sync(bytes, 0, index_next) {
            true => Err(LogError::Corrupt { position: 0 }),
            false => Ok(decoded),
        };
    }
    let head = decode_head(bytes)?;
    if head.is_snapshot {
        return Err(LogError::Foreign);
    }
    if head.index != index_before {
        return Err(LogError::Gap { position: 0, index: head.index + 1, index_expected: index_next });
    }
    let mut term_before = head.term;
    let mut position = HEADER_BYTES;
    while let Some(frame) = decode_frame(&bytes[position..]) {
        if frame.index != index_next {
            return Err(LogError::Gap { position, index: frame.index, index_expected: index_next });
        }
        if frame.term < term_before {
            return Err(LogError::Term { position, term: frame.term, term_before });
        }
        if let Kind::Later(kind) = frame.kind {
            return Err(LogError::Kind { position, kind });
        }
        decoded.frames.push((position, frame));
        term_before = frame.term;
        index_next += 1;
        position += FRAME_HEADER_BYTES + frame.payload.len();
    }
    if proof_of_sync(bytes, position, index_next) {
        return Err(LogError::Corrupt { position });
    }
    assert!(position <= bytes.len());
    decoded.bytes_valid = position;
    Ok(decoded)
}

/// Whether a sound frame behind `position` says that the entry `index` had been synced.
fn proof_of_sync(bytes: &[u8], position: usize, index: u64) -> bool {
    let index_end = index.saturating_add(bytes.len() as u64);
    // Room that nothing was written to proves nothing.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (position..end).any(|position| {
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

/// The head and the frames of a snapshot, which must be whole: it is renamed into place only when it is synced.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(Head, Vec<(usize, Frame<'_>)>), LogError> {
    let head = decode_head(bytes)?;
    if !head.is_snapshot {
        return Err(LogError::Foreign);
    }
    let mut frames = Vec::new();
    let mut position = HEADER_BYTES;
    loop {
        let frame = decode_frame(&bytes[position..]).ok_or(LogError::Corrupt { position })?;
        if frame.index != frames.len() as u64 + 1 {
            return Err(LogError::Corrupt { position });
        }
        let end = position + FRAME_HEADER_BYTES + frame.payload.len();
        match frame.kind {
            Kind::Records => frames.push((position, frame)),
            Kind::SnapshotEnds if end == bytes.len() => return Ok((head, frames)),
            Kind::SnapshotEnds | Kind::TermBegins => return Err(LogError::Corrupt { position }),
            Kind::Later(kind) => return Err(LogError::Kind { position, kind }),
        }
        position = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::tests::unhex;

    fn frame(index: u64, index_synced: u64, term: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Frame { index, index_synced, term, kind: Kind::Records, payload }.encode(&mut bytes);
        bytes
    }

    /// A log of the payloads "entry1" ... with two entries to an append.
    fn log(count: u64) -> Vec<u8> {
        let mut bytes = encode_log_header(0, 0).to_vec();
        for index in 1..=count {
            bytes.extend(frame(index, (index - 1) / 2 * 2, 1, format!("entry{index}").as_bytes()));
        }
        bytes
    }

    const FRAME: usize = FRAME_HEADER_BYTES + 6;

    #[test]
    fn bytes_are_golden() {
        const HEADER: &str = "6b6c616d6d65746102000000f7166f160a0b0000000000000c00000000000000";
        const FRAME: &str =
            "0a0000004e4171160201000000000000010100000000000005000000000000000000000000000000060000007265636f7264";
        const TERM: &str = "000000005e57f72b0100000000000000000000000000000007000000000000000100000000000000";
        let header = encode_log_header(0x0b0a, 0x0c);
        assert_eq!(header[..], unhex(HEADER), "{}", hex(&header));
        let mut payload = Vec::new();
        push_record(&mut payload, b"record");
        let frame = frame(0x0102, 0x0101, 0x05, &payload);
        assert_eq!(frame, unhex(FRAME), "{}", hex(&frame));
        let mut term = Vec::new();
        Frame { index: 1, index_synced: 0, term: 7, kind: Kind::TermBegins, payload: b"" }.encode(&mut term);
        assert_eq!(term, unhex(TERM), "{}", hex(&term));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn files_are_named_after_the_entry_before_their_first() {
        assert_eq!(file_name(7), "log-00000000000000000007");
        assert_eq!(file_index(&file_name(u64::MAX)), Some(u64::MAX));
        for name in ["log", "log-", "log-7", "log-000000000000000000007", "log-+0000000000000000007", "snapshot"] {
            assert_eq!(file_index(name), None, "{name}");
        }
    }

    #[test]
    fn logs_round_trip() {
        let bytes = log(9);
        let decoded = decode_log(&bytes, 0).unwrap();
        assert_eq!(decoded.bytes_valid, bytes.len());
        assert_eq!(decoded.frames.len(), 9);
        let last = decoded.frames[8].1;
        assert_eq!((last.index, last.term, last.payload), (9, 1, &b"entry9"[..]));
        assert_eq!(decode_log(b"", 0).unwrap().bytes_valid, 0);
    }

    #[test]
    fn a_torn_tail_ends_the_log() {
        let bytes = log(4);
        for end in 0..bytes.len() {
            let whole = end.saturating_sub(HEADER_BYTES) / FRAME;
            let decoded = decode_log(&bytes[..end], 0).unwrap();
            assert_eq!(decoded.frames.len(), whole);
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
            // Entries 3 and 4 were one append, in which 3 may be lost and 4 kept.
            match damaged {
                0 | 1 => assert_eq!(decode_log(&bytes, 0), Err(LogError::Corrupt { position })),
                _ => assert_eq!(decode_log(&bytes, 0).unwrap().bytes_valid, position),
            }
        }
        let mut bytes = log(4);
        bytes[..HEADER_BYTES + FRAME].fill(0);
        assert_eq!(decode_log(&bytes, 0), Err(LogError::Corrupt { position: 0 }));
    }

    /// Any bit of a log, anywhere, in each of its entries: the readable part is what it was up to there, or the file and
    /// the position are named.
    #[test]
    fn a_flipped_bit_never_changes_what_is_read() {
        let whole = log(6);
        let frames = decode_log(&whole, 0).unwrap().frames;
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[position] ^= 1 << bit;
                let at = position.saturating_sub(HEADER_BYTES) / FRAME;
                match decode_log(&bytes, 0) {
                    Ok(decoded) => {
                        assert_eq!(decoded.frames, frames[..at], "{position}");
                        assert!(position >= HEADER_BYTES && at >= 4, "entries 1 to 4 had been synced");
                    }
                    Err(LogError::Corrupt { position: told }) => {
                        assert_eq!(told, if position < HEADER_BYTES { 0 } else { HEADER_BYTES + at * FRAME })
                    }
                    Err(error) => assert!(position < HEADER_BYTES, "{error}"),
                }
            }
        }
    }

    #[test]
    fn entries_follow_each_other_and_terms_never_fall() {
        let mut later = encode_log_header(4, 3).to_vec();
        later.extend(frame(5, 4, 3, b"entry5"));
        assert_eq!(decode_log(&later, 4).unwrap().frames.len(), 1);
        let gap = |position, index, index_expected| Err(LogError::Gap { position, index, index_expected });
        assert_eq!(decode_log(&later, 3), gap(0, 5, 4));
        let mut bytes = later.clone();
        bytes.extend(frame(7, 4, 3, b"entry7"));
        assert_eq!(decode_log(&bytes, 4), gap(later.len(), 7, 6));
        let mut bytes = later.clone();
        bytes.extend(frame(6, 4, 2, b"entry6"));
        assert_eq!(decode_log(&bytes, 4), Err(LogError::Term { position: later.len(), term: 2, term_before: 3 }));
    }

    #[test]
    fn foreign_files_and_other_versions_are_refused() {
        assert_eq!(decode_log(&[7; 100], 0), Err(LogError::Foreign));
        assert_eq!(decode_log(&encode_snapshot_header(0, 0), 0), Err(LogError::Foreign));
        let mut header = encode_log_header(0, 0);
        header[20] ^= 1;
        assert_eq!(decode_log(&header, 0), Err(LogError::Corrupt { position: 0 }));
        for version in [VERSION - 1, VERSION + 1] {
            let mut header = encode_log_header(0, 0);
            let (other, _) = Header::mut_from_prefix(&mut header).unwrap();
            other.version = U16::new(version);
            other.crc = U32::new(header_crc(other));
            assert_eq!(decode_log(&header, 0), Err(LogError::Version(version)));
        }
        let mut bytes = encode_log_header(0, 0).to_vec();
        Frame { index: 1, index_synced: 0, term: 1, kind: Kind::Later(9), payload: b"" }.encode(&mut bytes);
        assert_eq!(decode_log(&bytes, 0), Err(LogError::Kind { position: HEADER_BYTES, kind: 9 }));
    }

    #[test]
    fn payloads_are_rows_of_records() {
        let mut payload = Vec::new();
        push_record(&mut payload, b"a");
        push_record(&mut payload, b"");
        push_record(&mut payload, b"bcd");
        assert_eq!(split_records(&payload), Ok(vec![&b"a"[..], b"", b"bcd"]));
        for wrong in [&b""[..], b"abc", &payload[..payload.len() - 1], &[255; 9]] {
            assert!(split_records(wrong).is_err());
        }
    }

    #[test]
    fn snapshots_are_whole_or_refused() {
        let mut bytes = encode_snapshot_header(77, 5).to_vec();
        (1..=3).for_each(|i| bytes.extend(frame(i, 0, 5, format!("entry{i}").as_bytes())));
        Frame { index: 4, index_synced: 0, term: 5, kind: Kind::SnapshotEnds, payload: b"" }.encode(&mut bytes);
        let (head, frames) = decode_snapshot(&bytes).unwrap();
        assert_eq!((head.index, head.term, frames.len()), (77, 5, 3));
        for end in 0..bytes.len() {
            assert!(decode_snapshot(&bytes[..end]).is_err());
        }
        for position in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[position] ^= 0x10;
            assert!(decode_snapshot(&bytes).is_err(), "{position}");
        }
        bytes.push(0);
        assert!(decode_snapshot(&bytes).is_err(), "something stands behind the end");
    }
}
