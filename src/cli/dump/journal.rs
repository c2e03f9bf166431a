//! Files of a core's journal: blocks in sequence, and behind them whatever an earlier use of the file left.

use super::Depth;
use super::input::Input;
use super::printer::Printer;
use super::segment::dump_batch;
use crate::cli::failure::Result;
use crate::journal::{ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, Entry, EntryKind, decode_entries};
use serde_json::json;

pub fn dump(input: &mut Input, depth: Depth, out: &mut Printer) -> Result<()> {
    let mut last: Option<BlockHeader> = None;
    let mut block = Vec::new();
    loop {
        let position = input.position;
        let Some(header) = header(input)?.filter(|header| follows(header, last.as_ref())) else {
            return end(input, last, out);
        };
        block.clear();
        let size = header.bytes as usize;
        if !input.take(size, &mut block)? {
            let what = format!("the block claims {size} bytes, {} are left", input.bytes - position);
            return out.damage(position, what);
        }
        out.row(json!({
            "kind": "block",
            "position": position,
            "core": header.core,
            "generation": header.generation,
            "sequence": header.sequence,
            "bytes": header.bytes,
            "entries": header.entries,
        }))?;
        match decode_entries(&block) {
            Some(entries) => {
                for (entry, range) in entries {
                    dump_entry(&entry, &block[range.clone()], position + range.start as u64, depth, out)?;
                }
            }
            None => out.damage(position, "the block does not match its checksum: damage, or cut off by a crash")?,
        }
        input.skip((size.next_multiple_of(ALIGNMENT) - size) as i64)?;
        last = Some(header);
    }
}

/// The header that stands here, which is read again.
fn header(input: &mut Input) -> Result<Option<BlockHeader>> {
    let mut bytes = Vec::new();
    if !input.take(BLOCK_HEADER_BYTES, &mut bytes)? {
        return Ok(None);
    }
    input.skip(-(BLOCK_HEADER_BYTES as i64))?;
    Ok(BlockHeader::decode(&bytes))
}

fn follows(header: &BlockHeader, last: Option<&BlockHeader>) -> bool {
    last.is_none_or(|last| is_same(header, last) && header.sequence == last.sequence.wrapping_add(1))
}

fn is_same(header: &BlockHeader, other: &BlockHeader) -> bool {
    header.core == other.core && header.generation == other.generation
}

fn dump_entry(entry: &Entry, payload: &[u8], position: u64, depth: Depth, out: &mut Printer) -> Result<()> {
    let kind = match entry.kind {
        EntryKind::Batch => "entry",
        EntryKind::Carried => "carried",
        EntryKind::LogStart => "log-start",
        EntryKind::Truncate => "truncate",
        EntryKind::Skip => "skip",
    };
    out.row(json!({
        "kind": kind,
        "position": position,
        "topic": entry.partition.topic.to_string(),
        "partition": entry.partition.index,
        "epoch": entry.epoch.0,
        "offset": entry.offset,
        "bytes": entry.payload_bytes,
        "segment_begins": entry.roll,
    }))?;
    match entry.kind {
        EntryKind::LogStart | EntryKind::Truncate | EntryKind::Skip => Ok(()),
        EntryKind::Batch | EntryKind::Carried => dump_batch(payload, position, depth, out).map(|_| ()),
    }
}

/// The blocks in sequence have ended. What follows is zeros, or older: a later block there means that one is missing.
fn end(input: &mut Input, last: Option<BlockHeader>, out: &mut Printer) -> Result<()> {
    let position = input.position;
    let Some(last) = last else {
        return match input.first_not_zero()? {
            None => out.row(json!({"kind": "room", "position": position, "bytes": input.bytes})),
            Some(_) => out.damage(position, "no block begins here"),
        };
    };
    while input.rest() >= BLOCK_HEADER_BYTES as u64 {
        let later = header(input)?.filter(|header| is_same(header, &last));
        if let Some(later) = later.filter(|later| later.sequence > last.sequence) {
            let (at, missing) = (input.position, last.sequence + 1);
            let what = format!("block {missing} should begin here; at {at} block {} does", later.sequence);
            return out.damage(position, what);
        }
        input.skip(ALIGNMENT as i64)?;
    }
    out.row(json!({"kind": "end", "position": position, "bytes_older": input.bytes - position}))
}
