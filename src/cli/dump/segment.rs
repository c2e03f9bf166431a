//! Segments: record batches one behind the other.

use super::Depth;
use super::input::Input;
use super::printer::Printer;
use crate::cli::encoding::to_json;
use crate::cli::failure::Result;
use crate::cli::offset_records;
use crate::wire::batch::{Batch, BatchError, BatchHeader, HEADER_BYTES, Record, RecordCursor, crc_ok};
use crate::wire::compression::{DecompressError, decompress};
use serde_json::{Value, json};
use std::fmt::Display;
use zerocopy::FromBytes;

/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

pub fn dump(input: &mut Input, depth: Depth, out: &mut Printer) -> Result<()> {
    let mut offset_min = input.base().unwrap_or(0);
    let mut buffer = Vec::new();
    while input.rest() > 0 {
        let position = input.position;
        buffer.clear();
        let is_head = input.take(HEADER_BYTES, &mut buffer)?;
        if !is_head || buffer.iter().all(|byte| *byte == 0) {
            return end(input, position, &buffer, out);
        }
        let size = match Batch::first(&buffer) {
            Ok(batch) => batch.bytes.len(),
            Err(BatchError::Incomplete) => claimed(&buffer),
            Err(error) => return out.damage(position, error.to_string()),
        };
        if !input.take(size - HEADER_BYTES, &mut buffer)? {
            let what = format!("the batch claims {size} bytes, {} are left", input.bytes - position);
            return out.damage(position, what);
        }
        if let Some(header) = dump_batch(&buffer, position, depth, out)? {
            let (first, last) = (header.base_offset.get(), header.last_offset());
            if first < offset_min || last < first {
                let what = format!("offsets {first} to {last} follow where {offset_min} or later should");
                out.damage(position, what)?;
            }
            offset_min = offset_min.max(last.saturating_add(1));
        }
    }
    Ok(())
}

fn claimed(head: &[u8]) -> usize {
    let header = BatchHeader::ref_from_prefix(head).ok();
    header.and_then(|(header, _)| header.size()).unwrap_or(HEADER_BYTES)
}

/// A file grows ahead of what is written into it: zeros at its end are room.
fn end(input: &mut Input, position: u64, head: &[u8], out: &mut Printer) -> Result<()> {
    let stray = head.iter().position(|byte| *byte != 0).map(|at| position + at as u64);
    let stray = stray.or(input.first_not_zero()?);
    match stray {
        None => out.row(json!({"kind": "room", "position": position, "bytes": input.bytes - position})),
        Some(at) => out.damage(position, format!("no batch begins here, and byte {at} is not zero")),
    }
}

/// Prints one whole batch; its header, unless that is itself no good.
pub fn dump_batch<'a>(
    bytes: &'a [u8],
    position: u64,
    depth: Depth,
    out: &mut Printer,
) -> Result<Option<&'a BatchHeader>> {
    let batch = match Batch::first(bytes) {
        Ok(batch) => batch,
        Err(error) => return out.damage(position, error.to_string()).map(|()| None),
    };
    let header = batch.header;
    out.row(batch_row(&batch, position))?;
    if !crc_ok(batch.bytes) {
        out.damage(position, BatchError::Crc.to_string())?;
        return Ok(None);
    }
    if depth >= Depth::Records
        && let Err(what) = dump_records(&batch, depth, out)?
    {
        out.damage(position, what)?;
    }
    Ok(Some(header))
}

fn batch_row(batch: &Batch<'_>, position: u64) -> Value {
    let header = batch.header;
    let is_producer = header.producer_id.get() >= 0;
    let of_producer = |value: i64| is_producer.then_some(value);
    json!({
        "kind": "batch",
        "position": position,
        "offset_first": header.base_offset.get(),
        "offset_last": header.last_offset(),
        "records": header.records_count.get(),
        "bytes": batch.bytes.len(),
        "epoch": header.partition_leader_epoch.get(),
        "compression": header.compression().map_or("unknown".into(), |c| format!("{c:?}").to_lowercase()),
        "timestamp_first": header.base_timestamp.get(),
        "timestamp_max": header.max_timestamp.get(),
        "log_append_time": header.is_log_append_time(),
        "producer_id": of_producer(header.producer_id.get()),
        "producer_epoch": of_producer(header.producer_epoch.get().into()),
        "sequence_first": of_producer(header.base_sequence.get().into()),
        "sequence_last": of_producer(header.last_sequence().into()),
        "transactional": header.is_transactional(),
        "control": header.is_control(),
        "delete_horizon": header.has_delete_horizon(),
    })
}

/// Prints the records; the inner error says why they cannot be read, or not all.
fn dump_records(batch: &Batch<'_>, depth: Depth, out: &mut Printer) -> Result<Result<(), String>> {
    let header = batch.header;
    let Some(compression) = header.compression() else { return Ok(Err("unknown compression".into())) };
    let records = match decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX) {
        Ok(records) => records,
        Err(DecompressError::Corrupt) => return Ok(Err("the records cannot be decompressed".into())),
        Err(DecompressError::TooLarge) => {
            return Ok(Err(format!("the records decompress to more than {RECORDS_BYTES_MAX} bytes")));
        }
    };
    for record in RecordCursor::new(&records, header.records_count.get()) {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(format!("a record of the batch: {error}"))),
        };
        let shown = match depth {
            Depth::Offsets if !header.is_control() => offsets_row(header, &record),
            _ => Ok(record_row(header, &record)),
        };
        match shown {
            Ok(row) => out.row(row)?,
            Err(what) => return Ok(Err(what)),
        }
    }
    Ok(Ok(()))
}

/// The parts that every record's row begins with.
fn place(header: &BatchHeader, record: &Record<'_>) -> (i64, i64) {
    let timestamp = match header.is_log_append_time() {
        true => header.max_timestamp.get(),
        false => header.base_timestamp.get().wrapping_add(record.timestamp_delta),
    };
    (header.base_offset.get().wrapping_add(record.offset_delta.into()), timestamp)
}

fn record_row(header: &BatchHeader, record: &Record<'_>) -> Value {
    let (offset, timestamp) = place(header, record);
    if header.is_control() {
        return json!({"kind": "control", "offset": offset, "timestamp": timestamp, "type": control(record.key)});
    }
    let headers: Vec<Value> = record.headers.iter().map(|(key, value)| json!([key, to_json(*value)])).collect();
    json!({
        "kind": "record",
        "offset": offset,
        "timestamp": timestamp,
        "key": to_json(record.key),
        "value": to_json(record.value),
        "headers": if headers.is_empty() { Value::Null } else { headers.into() },
    })
}

/// A control record's type by its key: a version and a number, each int16.
fn control(key: Option<&[u8]>) -> Value {
    match key {
        Some([_, _, 0, 0, ..]) => "abort".into(),
        Some([_, _, 0, 1, ..]) => "commit".into(),
        Some([_, _, 0, 2, ..]) => "leader-change".into(),
        Some([_, _, 0, 3, ..]) => "snapshot-header".into(),
        Some([_, _, 0, 4, ..]) => "snapshot-footer".into(),
        Some([_, _, 0, 5, ..]) => "kraft-version".into(),
        Some([_, _, 0, 6, ..]) => "kraft-voters".into(),
        other => to_json(other),
    }
}

fn offsets_row(header: &BatchHeader, record: &Record<'_>) -> Result<Value, String> {
    let (offset, timestamp) = place(header, record);
    let fault = |what: &dyn Display| format!("record {offset}: {what}");
    let key = record.key.ok_or_else(|| fault(&"it has no key"))?;
    let (key, value) = offset_records::decode(key, record.value).map_err(|error| fault(&error))?;
    Ok(json!({"kind": "record", "offset": offset, "timestamp": timestamp, "key": key, "value": value}))
}
