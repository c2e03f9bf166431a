//! What lies beside a segment: its indexes, and Kafka's snapshot of producers. All integers are big-endian.

use super::input::Input;
use super::printer::Printer;
use crate::cli::failure::{Failure, Result};
use crate::log::SegmentId;
use crate::log::index::{OffsetEntry, TimeEntry};
use crate::log::reading::SegmentFile;
use crate::wire::batch::{BatchHeader, HEADER_BYTES};
use crate::wire::codec::{DecodeError, Reader};
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::FileExt;
use zerocopy::FromBytes;

const TRANSACTION_ENTRY_BYTES: usize = 34;
/// Version, checksum and count of a snapshot, and one of its producers.
const SNAPSHOT_HEADER_BYTES: usize = 10;
const PRODUCER_BYTES: usize = 52;
/// The checksum of a snapshot covers everything from here.
const SNAPSHOT_CRC_START: usize = 6;

/// Reads entries of `N` bytes until the file ends or zeros follow: Kafka makes an index larger than it is filled.
fn entries<const N: usize>(
    input: &mut Input,
    out: &mut Printer,
    mut entry: impl FnMut(u64, &[u8; N], &mut Printer) -> Result<()>,
) -> Result<()> {
    let mut buffer = Vec::new();
    while input.rest() > 0 {
        let position = input.position;
        buffer.clear();
        if !input.take(N, &mut buffer)? {
            return out.damage(position, format!("the file ends within an entry of {N} bytes"));
        }
        // The first entry may well be zeros: offset and position of the first batch.
        if position > 0 && buffer.iter().all(|byte| *byte == 0) {
            return match input.first_not_zero()? {
                None => out.row(json!({"kind": "room", "position": position, "bytes": input.bytes - position})),
                Some(at) => out.damage(position, format!("an entry of zeros, but byte {at} is not zero")),
            };
        }
        let bytes: &[u8; N] = buffer.as_slice().try_into().expect("so many were read");
        entry(position, bytes, out)?;
    }
    Ok(())
}

/// The segment that an index belongs to, if it stands beside it.
struct Log(Option<File>);

impl Log {
    fn beside(input: &Input) -> Result<Log> {
        let name = input.path.file_name().and_then(|name| name.to_str());
        let Some(segment) = name.and_then(SegmentId::of_file) else { return Ok(Log(None)) };
        let path = input.path.with_file_name(SegmentFile::Log.name(segment));
        match File::open(&path) {
            Ok(file) => Ok(Log(Some(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Log(None)),
            Err(error) => Err(Failure::File { path: path.display().to_string(), error }),
        }
    }

    /// Whether a batch that holds `offset` begins at `position`, as far as that can be told.
    fn holds(&self, offset: i64, position: u64) -> bool {
        let Log(Some(file)) = self else { return true };
        let mut head = [0; HEADER_BYTES];
        let is_read = file.read_exact_at(&mut head, position).is_ok();
        is_read
            && BatchHeader::ref_from_bytes(&head).is_ok_and(|header| {
                header.size().is_some() && (header.base_offset.get()..=header.last_offset()).contains(&offset)
            })
    }
}

pub fn dump_offsets(input: &mut Input, out: &mut Printer) -> Result<()> {
    let base = input.base().unwrap_or(0);
    let log = Log::beside(input)?;
    let mut last: Option<(u32, u32)> = None;
    entries::<{ OffsetEntry::BYTES }>(input, out, |at, bytes, out| {
        let OffsetEntry { relative, position } = OffsetEntry::decode(bytes);
        let offset = base.saturating_add(relative.into());
        out.row(json!({"kind": "entry", "offset": offset, "log_position": position}))?;
        if last.is_some_and(|last| relative <= last.0 || position <= last.1) {
            out.damage(at, "the entry is not behind the one before")?;
        } else if !log.holds(offset, position.into()) {
            out.damage(at, format!("no batch with offset {offset} begins at {position} in the segment"))?;
        }
        last = Some((relative, position));
        Ok(())
    })
}

pub fn dump_times(input: &mut Input, out: &mut Printer) -> Result<()> {
    let base = input.base().unwrap_or(0);
    let mut last: Option<(i64, u32)> = None;
    entries::<{ TimeEntry::BYTES }>(input, out, |at, bytes, out| {
        let TimeEntry { timestamp, relative } = TimeEntry::decode(bytes);
        out.row(json!({"kind": "entry", "timestamp": timestamp, "offset": base.saturating_add(relative.into())}))?;
        if last.is_some_and(|last| timestamp < last.0 || relative < last.1) || timestamp < -1 {
            out.damage(at, "the entry is not behind the one before")?;
        }
        last = Some((timestamp, relative));
        Ok(())
    })
}

pub fn dump_transactions(input: &mut Input, out: &mut Printer) -> Result<()> {
    entries::<TRANSACTION_ENTRY_BYTES>(input, out, |at, bytes, out| {
        let version = i16::from_be_bytes(part(bytes, 0));
        if version != 0 {
            return out.damage(at, format!("the entry has version {version}"));
        }
        let field = |at| i64::from_be_bytes(part(bytes, at));
        let (first, last) = (field(10), field(18));
        out.row(json!({
            "kind": "aborted",
            "producer_id": field(2),
            "offset_first": first,
            "offset_last": last,
            "last_stable_offset": field(26),
        }))?;
        if first > last { out.damage(at, "the transaction ends before it begins") } else { Ok(()) }
    })
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the entry is so long")
}

/// A version (1), a checksum, and producers with their last batch.
pub fn dump_producers(input: &mut Input, out: &mut Printer) -> Result<()> {
    let mut buffer = Vec::new();
    if !input.take(SNAPSHOT_HEADER_BYTES, &mut buffer)? {
        return out.damage(0, "the file ends in its header");
    }
    let (version, crc): (i16, u32) = (i16::from_be_bytes(part(&buffer, 0)), u32::from_be_bytes(part(&buffer, 2)));
    if version != 1 {
        return out.damage(0, format!("the snapshot has version {version}, not 1"));
    }
    let mut computed = crc32c::crc32c(&buffer[SNAPSHOT_CRC_START..]);
    let mut left = u32::from_be_bytes(part(&buffer, SNAPSHOT_CRC_START));
    while left > 0 {
        let position = input.position;
        buffer.clear();
        if !input.take(PRODUCER_BYTES, &mut buffer)? {
            return out.damage(position, format!("{left} producers are missing"));
        }
        computed = crc32c::crc32c_append(computed, &buffer);
        left -= 1;
        let row = producer(&mut Reader::new(&buffer)).expect("the producer is whole");
        out.row(row)?;
    }
    if crc != computed {
        return out.damage(0, "the snapshot does not match its checksum");
    }
    match input.rest() {
        0 => Ok(()),
        rest => out.damage(input.position, format!("{rest} bytes follow the last producer")),
    }
}

fn producer(r: &mut Reader<'_>) -> Result<serde_json::Value, DecodeError> {
    Ok(json!({
        "kind": "producer",
        "producer_id": r.i64()?,
        "producer_epoch": r.i16()?,
        "sequence_last": r.i32()?,
        "offset_last": r.i64()?,
        "offset_delta": r.i32()?,
        "timestamp": r.i64()?,
        "coordinator_epoch": r.i32()?,
        "transaction_offset_first": r.i64()?,
    }))
}
