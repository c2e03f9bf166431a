//! Finding a record by its timestamp in batches that were read.

use crate::types::{Offset, TimestampMs};
use crate::wire::batch::{Batch, HEADER_BYTES, RecordCursor, batches};
use crate::wire::compression::decompress;
use bytes::Bytes;

/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

/// A batch that must be looked into cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// Timestamp and offset of the first record in `parts`, whole batches in order, whose timestamp is at least `timestamp`
/// and that is not below the log's `start`.
pub fn first_at(
    parts: &[Bytes],
    timestamp: TimestampMs,
    start: Offset,
) -> Result<Option<(TimestampMs, Offset)>, Corrupt> {
    for batch in parts.iter().flat_map(|part| batches(part)) {
        let maybe = batch.header.max_timestamp.get() >= timestamp && batch.header.last_offset() >= start;
        if maybe && !batch.header.is_control() {
            let found = in_batch(&batch, timestamp, start)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// The offset after the last record in `parts`; `None` if there is no batch.
pub fn offset_end(parts: &[Bytes]) -> Option<Offset> {
    let last = parts.iter().rev().find_map(|part| batches(part).last())?;
    Some(last.header.last_offset() + 1)
}

fn in_batch(
    batch: &Batch<'_>,
    timestamp: TimestampMs,
    start: Offset,
) -> Result<Option<(TimestampMs, Offset)>, Corrupt> {
    let header = batch.header;
    if header.is_log_append_time() {
        return Ok(Some((header.max_timestamp.get(), header.base_offset.get().max(start))));
    }
    let compression = header.compression().ok_or(Corrupt)?;
    let records = decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX).map_err(|_| Corrupt)?;
    for record in RecordCursor::new(&records, header.records_count.get()) {
        let record = record.map_err(|_| Corrupt)?;
        let at = header.base_timestamp.get().saturating_add(record.timestamp_delta);
        let offset = header.base_offset.get() + i64::from(record.offset_delta);
        if at >= timestamp && offset >= start {
            return Ok(Some((at, offset)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;

    #[test]
    fn the_first_record_at_or_after_the_time_is_found() {
        let make = |base, times: [i64; 3]| {
            times.iter().fold(BatchBuilder::new(base), |b, t| b.record(*t, None, Some(b"v"))).build()
        };
        let parts = [make(10, [100, 90, 110]), make(13, [105, 120, 130])];
        assert_eq!(first_at(&parts, 0, 0), Ok(Some((100, 10))));
        assert_eq!(first_at(&parts, 101, 0), Ok(Some((110, 12))));
        assert_eq!(first_at(&parts, 111, 0), Ok(Some((120, 14))));
        assert_eq!(first_at(&parts, 131, 0), Ok(None));
        assert_eq!(first_at(&parts, 0, 11), Ok(Some((90, 11))), "records below the start of the log do not count");
        assert_eq!(first_at(&parts, 100, 13), Ok(Some((105, 13))));
    }
}
