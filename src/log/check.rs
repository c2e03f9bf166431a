//! What a batch must be before it may be appended (KIP-98, KIP-467, Kafka's `LogValidator`).

use super::{BatchInfo, ProducerStamp};
use crate::types::TimestampMs;
use crate::wire::batch::{self, Batch, BatchError, BatchHeader, Compression, HEADER_BYTES};
use crate::wire::compression::{Codec, DecompressError, compress, decompress};
use crate::wire::error::ErrorCode;
use bytes::BytesMut;

/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 64 << 20;
/// At most this many records of a batch are named as being at fault.
const FAULTS_MAX: usize = 1000;
const NO_TIMESTAMP: TimestampMs = -1;

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
    /// `compression.type`; `None` keeps what the producer chose.
    pub codec: Option<Codec>,
}

/// Why a batch is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The records at fault, by their index in the batch, and what is wrong with each (KIP-467).
    pub faults: Vec<(i32, &'static str)>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), faults: Vec::new() }
    }
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

/// Checks `batch`, the records of one partition of a Produce request of `version`: exactly one batch, sound and allowed.
/// Afterwards it is as it is to be stored: compressed and with times as `rules` say.
///
/// Records are looked at one by one where they are not compressed. Compressed ones are decompressed only where something
/// depends on it: keys that must be there, another compression, times out of range.
pub fn check(batch: &mut BytesMut, version: i16, rules: &Rules, wall_ms: TimestampMs) -> Result<BatchInfo, Refusal> {
    let found = check_bytes(batch, rules)?;
    let mut info = check_header(&found, version)?;
    let (header, payload) = (found.header, &found.bytes[HEADER_BYTES..]);
    let compression = header.compression().expect("it was just checked");
    let codec = rules.codec.filter(|codec| codec.compression != compression);
    let times = Times::new(header, rules, wall_ms);
    let unpacked = match compression {
        Compression::None => None,
        _ if codec.is_some() || rules.key_required || !times.holds_header(header) => {
            Some(unpack(compression, payload)?)
        }
        _ => None,
    };
    let records = match (&unpacked, compression) {
        (Some(unpacked), _) => Some(&unpacked[..]),
        (None, Compression::None) => Some(payload),
        (None, _) => None,
    };
    if let Some(records) = records {
        info.timestamp_max = check_records(records, header, &times, rules.key_required)?;
    }
    let time_stands = info.timestamp_max == header.max_timestamp.get() && !header.is_log_append_time();
    if let (Some(codec), Some(records)) = (codec, records) {
        *batch = batch::replace_records(batch, codec.compression, &compress(codec, records));
        check_size(batch, rules)?;
    }
    if rules.log_append_time {
        info.timestamp_max = wall_ms;
        batch::set_log_append_time(batch, wall_ms);
    } else if !time_stands {
        batch::set_create_time(batch, info.timestamp_max);
    }
    Ok(info)
}

/// The one batch that `bytes` are.
fn check_bytes<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Batch<'a>, Refusal> {
    let batch = match Batch::first(bytes) {
        Ok(batch) => batch,
        // Formats that older versions of the protocol had.
        Err(error @ (BatchError::Magic(0..batch::MAGIC) | BatchError::Incomplete)) => {
            return refuse(ErrorCode::InvalidRecord, error.to_string());
        }
        Err(error) => return refuse(ErrorCode::CorruptMessage, error.to_string()),
    };
    if batch.bytes.len() != bytes.len() {
        return refuse(ErrorCode::InvalidRecord, "a partition's records must be exactly one batch");
    }
    if batch.header.base_offset.get() != 0 {
        return refuse(ErrorCode::InvalidRecord, "the base offset of a batch that is produced must be 0");
    }
    check_size(bytes, rules)?;
    match batch::crc_ok(bytes) {
        true => Ok(batch),
        false => refuse(ErrorCode::CorruptMessage, "the record batch does not match its checksum"),
    }
}

fn check_size(batch: &[u8], rules: &Rules) -> Result<(), Refusal> {
    let (size, max) = (batch.len(), rules.message_bytes_max);
    if size <= max {
        return Ok(());
    }
    let message = format!("the record batch of {size} bytes is larger than max.message.bytes of {max}");
    refuse(ErrorCode::MessageTooLarge, message)
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
        return refuse(ErrorCode::TransactionalIdAuthorizationFailed, "this broker has no transactions");
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

/// The times that records may have.
struct Times {
    base: TimestampMs,
    earliest: TimestampMs,
    latest: TimestampMs,
}

impl Times {
    fn new(header: &BatchHeader, rules: &Rules, wall_ms: TimestampMs) -> Times {
        let base = header.base_timestamp.get();
        if rules.log_append_time {
            return Times { base, earliest: TimestampMs::MIN, latest: TimestampMs::MAX };
        }
        let (before, after) = (rules.timestamp_before_max_ms, rules.timestamp_after_max_ms);
        Times { base, earliest: wall_ms.saturating_sub(before), latest: wall_ms.saturating_add(after) }
    }

    fn hold(&self, timestamp: TimestampMs) -> bool {
        (self.earliest..=self.latest).contains(&timestamp) || timestamp == NO_TIMESTAMP
    }

    /// As far as the header tells.
    fn holds_header(&self, header: &BatchHeader) -> bool {
        self.hold(self.base) && self.hold(header.max_timestamp.get())
    }
}

fn unpack(compression: Compression, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    decompress(compression, payload, RECORDS_BYTES_MAX).or_else(|error| match error {
        DecompressError::Corrupt => refuse(ErrorCode::InvalidRecord, "the records cannot be decompressed"),
        // A producer that is told so sends less at a time.
        DecompressError::TooLarge => refuse(
            ErrorCode::MessageTooLarge,
            format!("the records decompress to more than the {RECORDS_BYTES_MAX} bytes that can be looked through"),
        ),
    })
}

/// Checks each record; returns the latest of their times.
fn check_records(
    records: &[u8],
    header: &BatchHeader,
    times: &Times,
    key_required: bool,
) -> Result<TimestampMs, Refusal> {
    let mut faults = Vec::new();
    let mut code = ErrorCode::InvalidRecord;
    let mut timestamp_max = NO_TIMESTAMP;
    let walked = batch::outlines(records, header.records_count.get(), |index, record| {
        let timestamp = times.base.saturating_add(record.timestamp_delta);
        timestamp_max = timestamp_max.max(timestamp);
        let fault = if record.offset_delta != index {
            "the offset delta is not the record's place in the batch"
        } else if key_required && !record.has_key {
            "a compacted topic takes no record without a key"
        } else if !times.hold(timestamp) {
            code = ErrorCode::InvalidTimestamp;
            "the timestamp is out of the range that the topic allows"
        } else {
            return;
        };
        if faults.len() < FAULTS_MAX {
            faults.push((index, fault));
        }
    });
    if let Err(index) = walked {
        return refuse(ErrorCode::InvalidRecord, format!("record {index} of the batch is not whole, or too much"));
    }
    match faults.first() {
        None => Ok(timestamp_max),
        Some((_, fault)) => Err(Refusal { code, message: (*fault).into(), faults }),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;

    const NOW: TimestampMs = 1_000_000;

    fn rules() -> Rules {
        Rules {
            message_bytes_max: 1000,
            timestamp_before_max_ms: 100,
            timestamp_after_max_ms: 100,
            log_append_time: false,
            key_required: false,
            codec: None,
        }
    }

    fn batch(times: &[TimestampMs]) -> BytesMut {
        let build = |builder: BatchBuilder, ms: &TimestampMs| builder.record(*ms, None, Some(&[7; 100]));
        BytesMut::from(&times.iter().fold(BatchBuilder::new(0), build).build()[..])
    }

    fn packed(bytes: &[u8], compression: Compression) -> BytesMut {
        batch::replace_records(
            bytes,
            compression,
            &compress(Codec { compression, level: None }, &bytes[HEADER_BYTES..]),
        )
    }

    fn refusal(mut batch: BytesMut, rules: &Rules) -> (ErrorCode, Vec<i32>) {
        let refusal = check(&mut batch, 9, rules, NOW).expect_err("refused");
        (refusal.code, refusal.faults.iter().map(|(index, _)| *index).collect())
    }

    #[test]
    fn a_sound_batch_stays_as_it_is() {
        for compression in [Compression::None, Compression::Lz4] {
            let sent = packed(&batch(&[NOW, NOW + 5, NOW - 5]), compression);
            let mut stored = sent.clone();
            let info = check(&mut stored, 9, &rules(), NOW).expect("sound");
            assert_eq!((info.records, info.timestamp_max, stored == sent), (3, NOW + 5, true));
        }
    }

    #[test]
    fn records_at_fault_are_named() {
        let late = batch(&[NOW, NOW + 101, NOW, NOW - 101]);
        let expected = (ErrorCode::InvalidTimestamp, vec![1, 3]);
        assert_eq!(refusal(late.clone(), &rules()), expected);
        assert_eq!(refusal(packed(&late, Compression::Gzip), &rules()), expected);
        let compacted = Rules { key_required: true, ..rules() };
        for compression in [Compression::None, Compression::Zstd] {
            let keyless = packed(&batch(&[NOW, NOW]), compression);
            assert_eq!(refusal(keyless, &compacted), (ErrorCode::InvalidRecord, vec![0, 1]));
        }
        let many = Rules { message_bytes_max: 1 << 20, ..compacted };
        assert_eq!(refusal(batch(&vec![NOW; FAULTS_MAX + 1]), &many).1.len(), FAULTS_MAX);
    }

    #[test]
    fn the_header_follows_the_records() {
        let sent = batch(&[NOW, NOW + 5]);
        let mut odd = sent.clone();
        batch::set_log_append_time(&mut odd, 3);
        let info = check(&mut odd, 9, &rules(), NOW).expect("sound");
        assert_eq!((info.timestamp_max, odd), (NOW + 5, sent));
    }

    #[test]
    fn the_broker_stamps_and_compresses() {
        let sent = batch(&[5, 7]);
        let gzip = Codec { compression: Compression::Gzip, level: None };
        let rules = Rules { log_append_time: true, codec: Some(gzip), ..rules() };
        for compression in [Compression::None, Compression::Snappy, Compression::Gzip] {
            let mut stored = packed(&sent, compression);
            assert_eq!(check(&mut stored, 9, &rules, NOW).expect("sound").timestamp_max, NOW);
            let found = Batch::first(&stored).unwrap();
            assert!(batch::crc_ok(&stored) && found.header.is_log_append_time());
            assert_eq!(found.header.compression(), Some(Compression::Gzip));
            let records = decompress(Compression::Gzip, &stored[HEADER_BYTES..], 1 << 20);
            assert_eq!(records.as_deref(), Ok(&sent[HEADER_BYTES..]));
        }
        // What becomes larger than allowed is refused, as it is in Kafka.
        let plain = Codec { compression: Compression::None, level: None };
        let small = Rules { message_bytes_max: 200, codec: Some(plain), ..rules };
        assert_eq!(refusal(packed(&sent, Compression::Gzip), &small).0, ErrorCode::MessageTooLarge);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = compress(Codec { compression: Compression::Zstd, level: None }, &vec![0; RECORDS_BYTES_MAX + 1]);
        let bytes = batch::replace_records(&batch(&[NOW]), Compression::Zstd, &bomb);
        let rules = Rules { message_bytes_max: 1 << 20, key_required: true, ..rules() };
        assert_eq!(refusal(bytes, &rules).0, ErrorCode::MessageTooLarge);
    }
}
