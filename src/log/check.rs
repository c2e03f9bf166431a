//! What a batch must be before it may be appended (KIP-98, KIP-467, Kafka's `LogValidator`).

use super::{BatchInfo, ProducerStamp};
use crate::types::TimestampMs;
use crate::wire::batch::{self, Batch, BatchError, Compression};
use crate::wire::error::ErrorCode;

/// What a topic's settings say of batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `max.message.bytes`
    pub message_bytes_max: usize,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.type=LogAppendTime`
    pub log_append_time: bool,
    /// The topic is compacted: each record has a key.
    pub key_required: bool,
}

/// Why a batch is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The record at fault, by its index in the batch.
    pub record: Option<i32>,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into(), record: None })
}

/// Checks `bytes`, the records of one partition of a Produce request of `version`: exactly one batch, sound and allowed.
pub fn check(bytes: &[u8], version: i16, rules: &Rules, wall_ms: TimestampMs) -> Result<BatchInfo, Refusal> {
    let batch = match Batch::first(bytes) {
        Ok(batch) => batch,
        Err(error @ BatchError::Magic(_)) => return refuse(ErrorCode::InvalidRecord, error.to_string()),
        Err(error) => return refuse(ErrorCode::CorruptMessage, error.to_string()),
    };
    if batch.bytes.len() != bytes.len() {
        return refuse(ErrorCode::InvalidRecord, "a partition's records must be exactly one batch");
    }
    if bytes.len() > rules.message_bytes_max {
        let (size, max) = (bytes.len(), rules.message_bytes_max);
        return refuse(
            ErrorCode::MessageTooLarge,
            format!("the record batch of {size} bytes is larger than max.message.bytes of {max}"),
        );
    }
    if !batch::crc_ok(bytes) {
        return refuse(ErrorCode::CorruptMessage, "the record batch does not match its checksum");
    }
    let info = check_header(&batch, version)?;
    check_timestamps(&batch, rules, wall_ms)?;
    if batch.header.compression() == Some(Compression::None) {
        check_records(&batch, rules)?;
    }
    Ok(info)
}

fn check_header(batch: &Batch<'_>, version: i16) -> Result<BatchInfo, Refusal> {
    let header = batch.header;
    let (records, delta) = (header.records_count.get(), header.last_offset_delta.get());
    if records <= 0 || i64::from(delta) + 1 != i64::from(records) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("the batch counts {records} records, its last offset delta is {delta}"),
        );
    }
    if header.is_control() {
        return refuse(ErrorCode::InvalidRecord, "clients do not write control batches");
    }
    match header.compression() {
        None => return refuse(ErrorCode::InvalidRecord, "the batch has an unknown compression type"),
        Some(Compression::Zstd) if version < 7 => {
            return refuse(ErrorCode::UnsupportedCompressionType, "zstd needs version 7 of the Produce request");
        }
        Some(_) => {}
    }
    if header.is_transactional() {
        return refuse(ErrorCode::InvalidTxnState, "this broker has no transactions");
    }
    let id = header.producer_id.get();
    let (epoch, sequence_first) = (header.producer_epoch.get(), header.base_sequence.get());
    if id >= 0 && (sequence_first < 0 || epoch < 0) {
        return refuse(
            ErrorCode::InvalidRecord,
            format!("sequence {sequence_first} and epoch {epoch} of producer {id} must not be negative"),
        );
    }
    let producer = (id >= 0).then_some(ProducerStamp { id, epoch, sequence_first, records });
    Ok(BatchInfo { records, last_offset_delta: delta, timestamp_max: header.max_timestamp.get(), producer })
}

fn check_timestamps(batch: &Batch<'_>, rules: &Rules, wall_ms: TimestampMs) -> Result<(), Refusal> {
    if rules.log_append_time {
        return Ok(());
    }
    let (first, max) = (batch.header.base_timestamp.get(), batch.header.max_timestamp.get());
    let late = max.saturating_sub(wall_ms) > rules.timestamp_after_max_ms;
    // A batch without timestamps has -1.
    let early = first >= 0 && wall_ms.saturating_sub(first) > rules.timestamp_before_max_ms;
    if late || early || batch.header.is_log_append_time() {
        let timestamp = if early { first } else { max };
        return refuse(
            ErrorCode::InvalidTimestamp,
            format!("timestamp {timestamp} of the batch is not allowed at {wall_ms}"),
        );
    }
    Ok(())
}

/// The records of an uncompressed batch of a topic that asks for keys: each is whole and has one.
fn check_records(batch: &Batch<'_>, rules: &Rules) -> Result<(), Refusal> {
    if !rules.key_required {
        return Ok(());
    }
    for (index, record) in (0..).zip(batch.records()) {
        let refusal = match record {
            Ok(record) if record.key.is_some() && record.offset_delta == index => continue,
            Ok(record) if record.key.is_some() => "offset deltas do not count up",
            Ok(_) => "a compacted topic takes no record without a key",
            Err(_) => "the record cannot be read",
        };
        return Err(Refusal { code: ErrorCode::InvalidRecord, message: refusal.into(), record: Some(index) });
    }
    Ok(())
}

/// What the log needs to know of a batch that it holds already.
pub fn info(bytes: &[u8]) -> Option<BatchInfo> {
    let header = Batch::first(bytes).ok()?.header;
    let id = header.producer_id.get();
    let (records, last_offset_delta) = (header.records_count.get(), header.last_offset_delta.get());
    let (epoch, sequence_first) = (header.producer_epoch.get(), header.base_sequence.get());
    if records <= 0 || last_offset_delta < 0 || (id >= 0 && sequence_first < 0) {
        return None;
    }
    let producer = (id >= 0).then_some(ProducerStamp { id, epoch, sequence_first, records });
    Some(BatchInfo { records, last_offset_delta, timestamp_max: header.max_timestamp.get(), producer })
}
