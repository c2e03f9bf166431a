//! Records that say themselves what they are: which run sent them, to which stream, when, and with which key and headers.

use crate::compression::compress;
use crate::payload::random;
use bytes::Bytes;
use klamm::wire::batch::{BatchBuilder, Compression, HEADER_BYTES, Record, replace_records};
use rand::RngCore;

/// Bytes at the front of a value that say which record it is, the value's checksum first.
pub const SEAL_BYTES: usize = 32;

/// Which record a value is. Key and headers follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    pub run_id: u64,
    pub stream: u32,
    /// The record's number in its stream.
    pub number: u64,
    /// The time that the record was sent with.
    pub created_ms: i64,
}

impl Seal {
    /// Puts the seal on a value, whose rest is as it will stay.
    pub fn write(&self, value: &mut [u8]) {
        value[4..12].copy_from_slice(&self.run_id.to_be_bytes());
        value[12..16].copy_from_slice(&self.stream.to_be_bytes());
        value[16..24].copy_from_slice(&self.number.to_be_bytes());
        value[24..SEAL_BYTES].copy_from_slice(&self.created_ms.to_be_bytes());
        let checksum = crc32c::crc32c(&value[4..]);
        value[..4].copy_from_slice(&checksum.to_be_bytes());
    }

    /// `None` if the value is not as it was when it was sealed.
    pub fn read(value: &[u8]) -> Option<Seal> {
        let (seal, _) = value.split_first_chunk::<SEAL_BYTES>()?;
        let intact = crc32c::crc32c(&value[4..]).to_be_bytes() == seal[..4];
        intact.then(|| Seal {
            run_id: u64::from_be_bytes(std::array::from_fn(|i| seal[4 + i])),
            stream: u32::from_be_bytes(std::array::from_fn(|i| seal[12 + i])),
            number: u64::from_be_bytes(std::array::from_fn(|i| seal[16 + i])),
            created_ms: i64::from_be_bytes(std::array::from_fn(|i| seal[24 + i])),
        })
    }

    /// Whether a value whose seal is broken names this run all the same.
    pub fn is_broken(value: &[u8], run_id: u64) -> bool {
        value.get(4..12) == Some(&run_id.to_be_bytes())
    }

    /// Differs from record to record, so that compaction keeps them all.
    pub fn key(&self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&self.stream.to_be_bytes());
        key[4..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// Every kind of headers in turn: none, one, one without a value, and a name that repeats.
    pub fn headers<'a>(&self, key: &'a [u8; 12]) -> Vec<(&'static str, Option<&'a [u8]>)> {
        match self.number % 4 {
            0 => vec![],
            1 => vec![("key", Some(key))],
            2 => vec![("null", None)],
            _ => vec![("key", Some(&[])), ("key", Some(key))],
        }
    }

    pub fn has_key(&self, record: &Record<'_>) -> bool {
        record.key == Some(&self.key())
    }

    pub fn has_headers(&self, record: &Record<'_>) -> bool {
        record.headers == self.headers(&self.key())
    }
}

/// Makes batches of sealed records.
pub struct Sealer {
    /// The values of a batch, random except for their seals.
    values: Vec<u8>,
    record_bytes: usize,
    compression: Compression,
}

impl Sealer {
    pub fn new(records: usize, record_bytes: usize, compression: Compression) -> Self {
        let mut values = vec![0; records * record_bytes];
        random().fill_bytes(&mut values);
        Sealer { values, record_bytes, compression }
    }

    /// The batch that begins with `first`, of an idempotent producer if it has an id, an epoch and a sequence. The times of its
    /// records go back and forth.
    pub fn batch(&mut self, first: Seal, producer: Option<(i64, i16, i32)>) -> Bytes {
        let mut builder = BatchBuilder::new(0);
        if let Some((id, epoch, sequence)) = producer {
            builder = builder.producer(id, epoch, sequence);
        }
        for (i, value) in self.values.chunks_exact_mut(self.record_bytes).enumerate() {
            let seal = Seal { number: first.number + i as u64, created_ms: first.created_ms - (i % 3) as i64, ..first };
            seal.write(value);
            let key = seal.key();
            builder = builder.record_with_headers(seal.created_ms, Some(&key), Some(value), &seal.headers(&key));
        }
        let batch = builder.build();
        match self.compression {
            Compression::None => batch,
            compression => {
                let records = compress(&batch[HEADER_BYTES..], compression);
                replace_records(&batch, compression, &records).freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::plain;
    use klamm::wire::batch::{Batch, crc_ok};

    const SEAL: Seal = Seal { run_id: 5, stream: 3, number: 77, created_ms: 1_700_000_000_000 };

    #[test]
    fn a_seal_breaks_when_any_bit_changes() {
        let mut value = vec![0xaa; 100];
        SEAL.write(&mut value);
        assert_eq!(Seal::read(&value), Some(SEAL));
        for bit in 0..8 * value.len() {
            let mut broken = value.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::read(&broken), None, "bit {bit}");
            assert_eq!(Seal::is_broken(&broken, 5), !(32..96).contains(&bit), "bit {bit}");
        }
        assert_eq!(Seal::read(&value[..SEAL_BYTES - 1]), None);
        assert!(!Seal::is_broken(&value[..11], 5));
    }

    #[test]
    fn a_batch_is_what_its_seals_say() {
        for compression in [Compression::None, Compression::Lz4] {
            let bytes = Sealer::new(9, 100, compression).batch(SEAL, Some((7, 1, 4)));
            let batch = Batch::first(&bytes).unwrap();
            assert!(crc_ok(&bytes) && bytes.len() == batch.bytes.len());
            let header = batch.header;
            assert_eq!((header.compression(), header.records_count.get()), (Some(compression), 9));
            assert_eq!((header.producer_id.get(), header.base_sequence.get()), (7, 4));
            assert_eq!(header.max_timestamp.get(), SEAL.created_ms);
            let look = |batch: &Batch<'_>| {
                for (i, record) in batch.records().map(Result::unwrap).enumerate() {
                    let seal = Seal::read(record.value.unwrap()).unwrap();
                    assert_eq!((seal.run_id, seal.stream, seal.number), (5, 3, 77 + i as u64));
                    assert_eq!(batch.header.base_timestamp.get() + record.timestamp_delta, seal.created_ms);
                    assert!(seal.has_key(&record) && seal.has_headers(&record));
                    let other = Seal { number: seal.number + 1, ..seal };
                    assert!(!other.has_key(&record) && !other.has_headers(&record));
                }
            };
            plain(&batch, look).unwrap();
        }
    }
}
