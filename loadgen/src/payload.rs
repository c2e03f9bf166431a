//! Record batches that can be sent more than once: what changes from one send to the next is a header of 61 bytes, and its
//! checksum follows from that of the records without reading many of them again.

use crate::compression::compress;
use bytes::Bytes;
use klamm::wire::batch::{BatchHeader, CRC_START, Compression, HEADER_BYTES, LENGTH_OVERHEAD};
use klamm::wire::crc::combine;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use zerocopy::IntoBytes;

/// Records of fewer bytes are read for each checksum, which takes no longer than to combine two.
const COMBINE_BYTES_MIN: usize = 8 << 10;

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
    pub const PLAIN: Stamp = Stamp { timestamp_ms: 0, producer_id: -1, producer_epoch: -1, base_sequence: -1 };
}

/// The records of a batch as they are sent, and the header that goes before them.
#[derive(Clone, Debug)]
pub struct Payload {
    header: BatchHeader,
    body: Bytes,
    /// The body's checksum, if it is not read for each send.
    body_crc: Option<u32>,
}

impl Payload {
    /// Of records as they are without compression, and a header that says how many they are.
    pub fn new(mut header: BatchHeader, records: Bytes, compression: Compression) -> Self {
        let body = match compression {
            Compression::None => records,
            compression => compress(&records, compression).into(),
        };
        header.attributes = (compression as i16).into();
        let length = i32::try_from(HEADER_BYTES + body.len() - LENGTH_OVERHEAD).expect("a batch is shorter than 2 GiB");
        header.batch_length = length.into();
        Payload { header, body, body_crc: None }
    }

    /// The same, to be sent again and again.
    pub fn prepared(mut self) -> Self {
        self.body_crc = (self.body.len() >= COMBINE_BYTES_MIN).then(|| crc32c::crc32c(&self.body));
        self
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// What follows the header.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// That alone.
    pub fn into_body(self) -> Bytes {
        self.body
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
        let crc = match self.body_crc {
            Some(body_crc) => combine(start_crc, body_crc, self.body.len()),
            None => crc32c::crc32c_append(start_crc, &self.body),
        };
        header.crc = crc.into();
        header.as_bytes().try_into().expect("a header has its size")
    }
}

/// A source of random numbers that differs from run to run.
pub fn random() -> SmallRng {
    SmallRng::seed_from_u64(rand::rng().random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::{Batch, BatchBuilder, crc_ok};

    fn whole(payload: &Payload, stamp: &Stamp) -> Vec<u8> {
        [&payload.header(stamp)[..], payload.body()].concat()
    }

    #[test]
    fn the_checksum_is_right_for_every_stamp_and_compression() {
        let random = SmallRng::seed_from_u64(1);
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            for (records, record_bytes, is_prepared) in
                [(1, 0, true), (1, 1, false), (3, 100, true), (64, 1024, false), (64, 1024, true)]
            {
                let value: Vec<u8> = random.clone().random_iter().take(record_bytes).collect();
                let builder = (0..records).fold(BatchBuilder::new(0), |batch, _| batch.record(0, None, Some(&value)));
                let batch = builder.build();
                let header = *Batch::first(&batch).unwrap().header;
                let payload = Payload::new(header, batch.slice(HEADER_BYTES..), compression);
                let payload = if is_prepared { payload.prepared() } else { payload };
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
                    assert_eq!(batch.header.records_count.get(), records);
                    assert_eq!(batch.header.base_sequence.get(), base_sequence);
                    assert_eq!(batch.header.max_timestamp.get(), stamp.timestamp_ms);
                }
            }
        }
    }
}
