//! Record batches, right and wrong.

use bytes::Bytes;
use klamm::wire::batch::{Batch, BatchBuilder, CRC_START, Compression, HEADER_BYTES, LENGTH_OVERHEAD};
use std::io::Write;
use std::time::SystemTime;

pub const ATTRIBUTES: usize = 21;
pub const LAST_OFFSET_DELTA: usize = 23;
pub const MAX_TIMESTAMP: usize = 35;
pub const RECORDS_COUNT: usize = 57;
pub const MAGIC: usize = 16;

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A batch of as many records, with keys, of this moment.
pub fn batch(records: usize) -> Bytes {
    keyed(records, |_| true, now_ms())
}

/// A batch whose records have a key where `has_key` says so.
pub fn keyed(records: usize, has_key: impl Fn(usize) -> bool, ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for index in 0..records {
        let key = format!("key {index}");
        builder = builder.record(ms, has_key(index).then_some(key.as_bytes()), Some(b"value"));
    }
    builder.build()
}

/// A batch of one record for each of these times.
pub fn timed(times: &[i64]) -> Bytes {
    times.iter().fold(BatchBuilder::new(0), |builder, ms| builder.record(*ms, Some(b"key"), Some(b"value"))).build()
}

/// A batch of an idempotent producer.
pub fn sequenced(producer: i64, epoch: i16, sequence: i32, records: usize) -> Bytes {
    let builder = BatchBuilder::new(0).producer(producer, epoch, sequence);
    (0..records).fold(builder, |builder, _| builder.record(now_ms(), Some(b"key"), Some(b"value"))).build()
}

/// The batch with other bytes at `at`, and a checksum that is right.
pub fn edited(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut edited = batch.to_vec();
    edited[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(edited)
}

/// The batch with its length and checksum made right.
pub fn sealed(mut batch: Vec<u8>) -> Bytes {
    let length = (batch.len() - LENGTH_OVERHEAD) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[CRC_START..]);
    batch[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// CRC-32C, bit by bit, so that the broker's own is not the judge.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// The batch with its records compressed.
pub fn compressed(batch: &Bytes, compression: Compression) -> Bytes {
    with_payload(batch, compression, &compress(compression, &batch[HEADER_BYTES..]))
}

/// The batch with another payload that claims to be compressed so.
pub fn with_payload(batch: &Bytes, compression: Compression, payload: &[u8]) -> Bytes {
    let mut bytes = [&batch[..HEADER_BYTES], payload].concat();
    bytes[ATTRIBUTES + 1] = (bytes[ATTRIBUTES + 1] & !7) | compression as u8;
    sealed(bytes)
}

pub fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        Compression::Lz4 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

pub const COMPRESSIONS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Key and value of a record.
pub type Content = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The contents of an uncompressed batch.
pub fn contents(batch: &[u8]) -> Vec<Content> {
    let batch = Batch::first(batch).expect("a batch");
    let record =
        |record: klamm::wire::batch::Record<'_>| (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
    batch.records().map(|found| record(found.expect("a record"))).collect()
}
