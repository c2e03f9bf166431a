//! Finding a record by its timestamp in batches that were read.

use crate::types::{Offset, TimestampMs};
use crate::wire::batch::{Batch, HEADER_BYTES, RecordCursor, batches};
use crate::wire::compression::decompress;
use bytes::Bytes;

/// A batch's records take at most this much when decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

/// A batch that must be looked into and whose records cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable;

/// Timestamp and offset of the first record in `parts`, whole batches in order, whose timestamp is at least `timestamp`.
pub fn first_at(parts: &[Bytes], timestamp: TimestampMs) -> Result<Option<(TimestampMs, Offset)>, Unreadable> {
    for batch in parts.iter().flat_map(|part| batches(part)) {
        if batch.header.max_timestamp.get() >= timestamp && !batch.header.is_control() {
            let found = in_batch(&batch, timestamp)?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

fn in_batch(batch: &Batch<'_>, timestamp: TimestampMs) -> Result<Option<(TimestampMs, Offset)>, Unreadable> {
    let header = batch.header;
    if header.is_log_append_time() {
        return Ok(Some((header.max_timestamp.get(), header.base_offset.get())));
    }
    let compression = header.compression().ok_or(Unreadable)?;
    let records = decompress(compression, &batch.bytes[HEADER_BYTES..], RECORDS_BYTES_MAX).ok_or(Unreadable)?;
    for record in RecordCursor::new(&records, header.records_count.get()) {
        let record = record.map_err(|_| Unreadable)?;
        let at = header.base_timestamp.get().saturating_add(record.timestamp_delta);
        if at >= timestamp {
            return Ok(Some((at, header.base_offset.get() + i64::from(record.offset_delta))));
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
        assert_eq!(first_at(&parts, 0), Ok(Some((100, 10))));
        assert_eq!(first_at(&parts, 101), Ok(Some((110, 12))));
        assert_eq!(first_at(&parts, 111), Ok(Some((120, 14))));
        assert_eq!(first_at(&parts, 131), Ok(None));
    }
}
