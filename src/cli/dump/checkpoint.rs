//! Checkpoints: of a core's partitions, and of a coordinator's groups.

use super::input::Input;
use super::printer::Printer;
use crate::cli::encoding::to_json;
use crate::cli::failure::Result;
use crate::cli::offset_records;
use crate::group::checkpoint::{HEADER_BYTES, TRAILER_BYTES, decode_head};
use crate::log::Restored;
use crate::shard::checkpoint;
use crate::types::PartitionId;
use serde_json::json;

pub fn dump_core(input: &mut Input, out: &mut Printer) -> Result<()> {
    let mut bytes = Vec::new();
    let whole = usize::try_from(input.bytes).unwrap_or(usize::MAX);
    let is_read = input.take(whole, &mut bytes)?;
    let Some((head, partitions)) = checkpoint::decode(&bytes).filter(|_| is_read) else {
        return out.damage(0, "the checkpoint does not match its checksum, or is none");
    };
    out.row(json!({
        "kind": "checkpoint",
        "generation": head.generation,
        "core": head.core,
        "cores": head.cores,
        "journal_sequence": head.sequence,
        "partitions": partitions.len(),
    }))?;
    partitions.iter().try_for_each(|(id, log)| dump_partition(*id, log, out))
}

fn dump_partition(id: PartitionId, log: &Restored, out: &mut Printer) -> Result<()> {
    out.row(json!({
        "kind": "partition",
        "topic": id.topic.to_string(),
        "partition": id.index,
        "log_start": log.start,
        "flushed_end": log.flushed_end,
        "epochs": log.epochs.iter().map(|(epoch, start)| (epoch.0, start)).collect::<Vec<_>>(),
    }))?;
    for segment in &log.segments {
        out.row(json!({
            "kind": "segment",
            "offset_first": segment.base,
            "generation": segment.generation,
            "bytes": segment.bytes,
            "timestamp_first": segment.timestamp_first,
            "timestamp_max": segment.timestamp_max,
            "timestamp_offset": segment.timestamp_offset,
            "index_entries": segment.index().len(),
            "indexed": segment.indexed,
        }))?;
    }
    for (id, producer) in log.producers.iter() {
        out.row(json!({
            "kind": "producer",
            "producer_id": id.0,
            "producer_epoch": producer.epoch.0,
            "seen": producer.seen_ms,
            "batches": producer.batches.iter().map(|batch| json!({
                "sequence_first": batch.sequence_first.0,
                "sequence_last": batch.sequence_last.0,
                "offset_first": batch.offset_first,
                "offset_last": batch.offset_last,
                "timestamp": batch.timestamp,
            })).collect::<Vec<_>>(),
        }))?;
    }
    Ok(())
}

pub fn dump_groups(input: &mut Input, out: &mut Printer) -> Result<()> {
    let mut buffer = Vec::new();
    if input.bytes < (HEADER_BYTES + TRAILER_BYTES) as u64 || !input.take(HEADER_BYTES, &mut buffer)? {
        return out.damage(0, "the file is shorter than a checkpoint of groups");
    }
    match decode_head(&buffer) {
        Ok(offset_end) => out.row(json!({"kind": "checkpoint", "offset_end": offset_end}))?,
        Err(error) => return out.damage(0, error.to_string()),
    }
    let mut crc = crc32c::crc32c(&buffer);
    let mut count = 0u64;
    while input.rest() > TRAILER_BYTES as u64 {
        let position = input.position;
        buffer.clear();
        let record = take_record(input, &mut buffer)?;
        let Some((key, value)) = record else {
            return out.damage(position, "a record that is not whole");
        };
        crc = crc32c::crc32c_append(crc, &buffer);
        count += 1;
        match offset_records::decode(key.of(&buffer), Some(value.of(&buffer))) {
            Ok((key, value)) => {
                out.row(json!({"kind": "record", "position": position, "key": key, "value": value}))?;
            }
            Err(error) => {
                let (key, value) = (to_json(Some(key.of(&buffer))), to_json(Some(value.of(&buffer))));
                out.row(json!({"kind": "record", "position": position, "key": key, "value": value}))?;
                out.damage(position, format!("the record cannot be read: {error}"))?;
            }
        }
    }
    let position = input.position;
    buffer.clear();
    let is_whole = input.take(TRAILER_BYTES, &mut buffer)?;
    let crc = crc32c::crc32c_append(crc, buffer.get(..8).unwrap_or_default());
    let is_sound = is_whole && buffer[..8] == count.to_be_bytes() && buffer[8..] == crc.to_be_bytes();
    if is_sound { Ok(()) } else { out.damage(position, "the checkpoint does not match its checksum") }
}

/// Where a field lies in a buffer.
struct Field {
    start: usize,
    end: usize,
}

impl Field {
    fn of<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start..self.end]
    }
}

/// Reads a record into the empty `buffer`, lengths and all; `None` if it is not whole.
fn take_record(input: &mut Input, buffer: &mut Vec<u8>) -> Result<Option<(Field, Field)>> {
    const LENGTHS_BYTES: usize = 8;
    if !input.take(LENGTHS_BYTES, buffer)? {
        return Ok(None);
    }
    let length = |at: usize| u32::from_be_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]) as usize;
    let (key_bytes, value_bytes) = (length(0), length(4));
    let is_inside = (key_bytes + value_bytes + TRAILER_BYTES) as u64 <= input.rest();
    if !is_inside || !input.take(key_bytes + value_bytes, buffer)? {
        return Ok(None);
    }
    let key_end = LENGTHS_BYTES + key_bytes;
    Ok(Some((Field { start: LENGTHS_BYTES, end: key_end }, Field { start: key_end, end: key_end + value_bytes })))
}
