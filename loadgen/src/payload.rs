//! Record batches made once and sent often: what changes from one send to the next is a header of 61 bytes, and its checksum
//! follows from the records' checksum without reading them again.

use crate::compression::compress;
use bytes::Bytes;
use klamm::wire::batch::{BatchBuilder, BatchHeader, CRC_START, Compression, HEADER_BYTES, LENGTH_OVERHEAD};
use klamm::wire::crc::combine;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use zerocopy::{FromBytes, IntoBytes};

/// What a batch says about itself when it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Stamp {
    /// Of a producer that is not idempotent.
    pub fn plain(timestamp_ms: i64) -> Self {
        Stamp { timestamp_ms, producer_id: -1, producer_epoch: -1, base_sequence: -1 }
    }
}

/// The records of a batch as they are sent, and the header that goes before them.
#[derive(Clone, Debug)]
pub struct Payload {
    header: BatchHeader,
    body: Bytes,
    body_crc: u32,
}

impl Payload {
    fn new(header: BatchHeader, body: Bytes) -> Self {
        Payload { header, body_crc: crc32c::crc32c(&body), body }
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// What follows the header.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The header for one send.
    pub fn header(&self, stamp: &Stamp) -> [u8; HEADER_BYTES] {
        let mut header = self.header;
        header.base_timestamp = stamp.timestamp_ms.into();
        header.max_timestamp = stamp.timestamp_ms.into();
        header.producer_id = stamp.producer_id.into();
        header.producer_epoch = stamp.producer_epoch.into();
        header.base_sequence = stamp.base_sequence.into();
        let start_crc = crc32c::crc32c(&header.as_bytes()[CRC_START..]);
        header.crc = combine(start_crc, self.body_crc, self.body.len()).into();
        header.as_bytes().try_into().expect("a header has its size")
    }
}

/// A batch whose values are still being written: for loads whose records say something.
#[derive(Clone, Debug)]
pub struct Draft {
    header: BatchHeader,
    records: Vec<u8>,
    /// Where each record's value begins in `records`.
    values: Vec<usize>,
    record_bytes: usize,
}

impl Draft {
    /// `records` records with random values of `record_bytes` bytes each.
    pub fn new(records: usize, record_bytes: usize, random: &mut SmallRng) -> Self {
        assert!(records > 0);
        let mut value = vec![0; record_bytes];
        let mut builder = BatchBuilder::new(0);
        let mut values = Vec::with_capacity(records);
        for _ in 0..records {
            random.fill_bytes(&mut value);
            builder = builder.record(0, None, Some(&value));
            // The record ends with its value and a count of headers, 0, in one byte.
            values.push(builder.size() - HEADER_BYTES - 1 - record_bytes);
        }
        let batch = builder.build();
        let (header, body) = BatchHeader::read_from_prefix(&batch).expect("a batch has a header");
        Draft { header, records: body.to_vec(), values, record_bytes }
    }

    /// Lets `write` change each value, in order; its first argument counts from 0.
    pub fn write_values(&mut self, mut write: impl FnMut(usize, &mut [u8])) {
        for (i, &at) in self.values.iter().enumerate() {
            write(i, &mut self.records[at..at + self.record_bytes]);
        }
    }

    /// The batch with the values that it has.
    pub fn payload(&self, compression: Compression) -> Payload {
        let body = match compression {
            Compression::None => Bytes::copy_from_slice(&self.records),
            compression => compress(&self.records, compression).into(),
        };
        let mut header = self.header;
        header.attributes = (compression as i16).into();
        let length = i32::try_from(HEADER_BYTES + body.len() - LENGTH_OVERHEAD).expect("a batch is shorter than 2 GiB");
        header.batch_length = length.into();
        Payload::new(header, body)
    }
}

/// A source of random numbers that differs from run to run.
pub fn random() -> SmallRng {
    SmallRng::seed_from_u64(rand::rng().random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::{Batch, crc_ok};

    fn whole(payload: &Payload, stamp: &Stamp) -> Vec<u8> {
        [&payload.header(stamp)[..], payload.body()].concat()
    }

    #[test]
    fn the_checksum_is_right_for_every_stamp_and_compression() {
        let mut random = SmallRng::seed_from_u64(1);
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            for (records, record_bytes) in [(1, 0), (1, 1), (3, 100), (64, 1024)] {
                let payload = Draft::new(records, record_bytes, &mut random).payload(compression);
                for base_sequence in [-1, 0, 1, 77_777] {
                    let stamp = Stamp {
                        timestamp_ms: 1_700_000_000_000 + i64::from(base_sequence),
                        producer_id: 4711,
                        producer_epoch: 3,
                        base_sequence,
                    };
                    let bytes = whole(&payload, &stamp);
                    assert!(crc_ok(&bytes), "{compression:?} {records} {record_bytes}");
                    let batch = Batch::first(&bytes).unwrap();
                    assert_eq!(batch.bytes.len(), payload.size());
                    assert_eq!(batch.header.compression(), Some(compression));
                    assert_eq!(batch.header.records_count.get(), records as i32);
                    assert_eq!(batch.header.base_sequence.get(), base_sequence);
                    assert_eq!(batch.header.max_timestamp.get(), stamp.timestamp_ms);
                }
            }
        }
    }

    #[test]
    fn values_are_where_they_are_written() {
        for record_bytes in [8, 63, 64, 200, 10_000] {
            let mut draft = Draft::new(200, record_bytes, &mut SmallRng::seed_from_u64(2));
            draft.write_values(|i, value| value[..8].copy_from_slice(&(i as u64).to_be_bytes()));
            let payload = draft.payload(Compression::None);
            let bytes = whole(&payload, &Stamp::plain(5));
            let records: Vec<_> = Batch::first(&bytes).unwrap().records().map(Result::unwrap).collect();
            assert_eq!(records.len(), 200);
            for (i, record) in records.iter().enumerate() {
                let value = record.value.unwrap();
                assert_eq!((value.len(), &value[..8]), (record_bytes, &(i as u64).to_be_bytes()[..]));
            }
        }
    }
}
