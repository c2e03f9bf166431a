//! Finding a record by its timestamp in batches that were read.

use super::records::Records;
use crate::types::{Offset, TimestampMs};
use crate::wire::batch::{Batch, HEADER_BYTES};
use crate::wire::compression::{Unpack, Workspace};
use bytes::Bytes;

/// What it costs to pass over a batch, and to look at a record: nanoseconds, about.
const BATCH_COST: usize = 20;
const RECORD_COST: usize = 8;

/// A batch that must be looked into cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// A search for the first record whose timestamp is at least `timestamp` and that is not below the log's `start`, in steps
/// that are bounded by the bytes that they look at.
pub struct Find {
    /// Whole batches in order.
    parts: Vec<Bytes>,
    timestamp: TimestampMs,
    start: Offset,
    /// The batch that is looked at next: its part, and where it begins in that.
    part: usize,
    at: usize,
    walk: Option<Walk>,
    offset_end: Option<Offset>,
}

/// How far the records of a batch have been walked.
struct Walk {
    unpack: Unpack,
    records: Records,
    found: Option<(TimestampMs, Offset)>,
}

impl Find {
    /// Looks in these batches for the first record from offset `start` on that is not older than `timestamp`.
    pub fn new(parts: Vec<Bytes>, timestamp: TimestampMs, start: Offset) -> Find {
        Find { parts, timestamp, start, part: 0, at: 0, walk: None, offset_end: None }
    }

    /// What the batches take in memory.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The offset after the last record of the batches that were passed over; `None` if there was none.
    pub fn offset_end(&self) -> Option<Offset> {
        self.offset_end
    }

    /// Begins the present batch anew with the next step; what the walk held in memory is free.
    pub fn restart(&mut self, workspace: &mut Workspace) {
        if let Some(walk) = self.walk.take() {
            walk.unpack.end(workspace);
        }
    }

    /// Searches on: timestamp and offset of the record, if there is one; `None` if `budget` is spent before that is known.
    pub fn step(
        &mut self,
        workspace: &mut Workspace,
        budget: &mut usize,
    ) -> Option<Result<Option<(TimestampMs, Offset)>, Corrupt>> {
        while *budget > 0 {
            let Some(part) = self.parts.get(self.part) else { return Some(Ok(None)) };
            let Ok(batch) = Batch::first(&part[self.at..]) else {
                (self.part, self.at) = (self.part + 1, 0);
                continue;
            };
            let header = batch.header;
            let maybe = header.max_timestamp.get() >= self.timestamp && header.last_offset() >= self.start;
            if maybe && !header.is_control() {
                if header.is_log_append_time() {
                    return Some(Ok(Some((header.max_timestamp.get(), header.base_offset.get().max(self.start)))));
                }
                let walk = match &mut self.walk {
                    Some(walk) => walk,
                    None => match Walk::new(&batch) {
                        Some(walk) => self.walk.insert(walk),
                        None => return Some(Err(Corrupt)),
                    },
                };
                match walk.step(&batch, self.timestamp, self.start, workspace, budget) {
                    Ok(false) => continue,
                    Ok(true) if walk.found.is_some() => return Some(Ok(walk.found)),
                    Ok(true) => {}
                    Err(Corrupt) => return Some(Err(Corrupt)),
                }
            }
            *budget = budget.saturating_sub(BATCH_COST);
            self.offset_end = Some(header.last_offset().saturating_add(1));
            self.at += batch.bytes.len();
            self.restart(workspace);
        }
        None
    }
}

impl Walk {
    fn new(batch: &Batch<'_>) -> Option<Walk> {
        let (compression, count) = (batch.header.compression()?, batch.header.records_count.get());
        let records = (count > 0).then(|| Records::new(count, usize::MAX))?;
        Some(Walk { unpack: Unpack::new(compression), records, found: None })
    }

    /// Looks at one piece of the batch's records. Returns whether more of them make no difference.
    fn step(
        &mut self,
        batch: &Batch<'_>,
        timestamp: TimestampMs,
        start: Offset,
        workspace: &mut Workspace,
        budget: &mut usize,
    ) -> Result<bool, Corrupt> {
        let piece = self.unpack.next(&batch.bytes[HEADER_BYTES..], workspace).map_err(|_| Corrupt)?;
        let Some(piece) = piece else { return self.records.finish().map(|()| true).map_err(|_| Corrupt) };
        let (base_timestamp, base_offset) = (batch.header.base_timestamp.get(), batch.header.base_offset.get());
        let (before, found) = (self.records.seen(), &mut self.found);
        let look = |_, record: super::records::Outline| {
            let at = base_timestamp.saturating_add(record.timestamp_delta);
            let offset = base_offset.saturating_add(i64::from(record.offset_delta));
            if found.is_none() && at >= timestamp && offset >= start {
                *found = Some((at, offset));
            }
        };
        let fed = self.records.feed(piece.bytes, look);
        let records = (self.records.seen() - before) as usize;
        *budget = budget.saturating_sub(piece.cost + RECORD_COST * records);
        match self.found {
            Some(_) => Ok(true),
            None => fed.map(|()| false).map_err(|_| Corrupt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{BatchBuilder, Compression, replace_records};
    use crate::wire::compression::{Codec, compress};

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn packed(bytes: &[u8], compression: Compression) -> Bytes {
        let payload = compress(Codec { compression, level: None }, &bytes[HEADER_BYTES..]);
        replace_records(bytes, compression, &payload).freeze()
    }

    #[test]
    fn the_first_record_at_or_after_the_time_is_found() {
        let make = |base, times: [i64; 3], compression| {
            packed(
                &times.iter().fold(BatchBuilder::new(base), |b, t| b.record(*t, None, Some(b"v"))).build(),
                compression,
            )
        };
        for compression in ALL {
            let parts = [make(10, [100, 90, 110], compression), make(13, [105, 120, 130], compression)];
            for parts in [parts.to_vec(), vec![parts.concat().into()]] {
                let first_at = |timestamp, start| {
                    let mut find = Find::new(parts.clone(), timestamp, start);
                    let found = find.step(&mut Workspace::default(), &mut { usize::MAX }).expect("no end");
                    (found, find.offset_end())
                };
                assert_eq!(first_at(0, 0), (Ok(Some((100, 10))), None));
                assert_eq!(first_at(101, 0), (Ok(Some((110, 12))), None));
                assert_eq!(first_at(111, 0), (Ok(Some((120, 14))), Some(13)));
                assert_eq!(first_at(131, 0), (Ok(None), Some(16)));
                assert_eq!(first_at(0, 11).0, Ok(Some((90, 11))), "records below the start of the log do not count");
                assert_eq!(first_at(100, 13).0, Ok(Some((105, 13))));
            }
        }
        let nothing = Find::new(Vec::new(), 0, 0).step(&mut Workspace::default(), &mut 1);
        assert_eq!(nothing, Some(Ok(None)));
    }

    #[test]
    fn a_batch_that_becomes_large_is_searched_in_bounded_steps() {
        let value = vec![0; 8 << 20];
        let plain = BatchBuilder::new(0).record(5, None, Some(&value)).record(7, None, Some(b"v")).build();
        let mut workspace = Workspace::default();
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
            let mut find = Find::new(vec![packed(&plain, compression)], 6, 0);
            let mut steps = 0;
            let found = loop {
                match find.step(&mut workspace, &mut { 100_000 }) {
                    Some(found) => break found,
                    None => steps += 1,
                }
                if steps == 10 {
                    find.restart(&mut workspace);
                }
            };
            assert_eq!(found, Ok(Some((7, 1))));
            assert!(steps > 50, "{compression:?}: {steps}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let plain = BatchBuilder::new(0).record(5, None, Some(b"v")).build();
        for compression in &ALL[1..] {
            let noise = replace_records(&plain, *compression, b"noise").freeze();
            let found = Find::new(vec![noise], 0, 0).step(&mut Workspace::default(), &mut { usize::MAX });
            assert_eq!(found, Some(Err(Corrupt)));
        }
    }
}
