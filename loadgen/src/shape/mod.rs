//! What records are like: sizes, keys, headers, tombstones, and how far values can be compressed; and the batches of such records.

mod body;
mod keys;
mod linger;
mod noise;
mod size;

pub use keys::Keys;
pub use linger::Stream;
pub use noise::Tables;
pub use size::Size;

use crate::options::{Shape, Writing};
use crate::payload::Payload;
use body::{Body, Spare, varint_bytes};
use keys::Drawn;
use klamm::wire::batch::{BatchBuilder, BatchHeader, Compression};
use noise::Noise;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use zerocopy::FromBytes;

/// Names of headers; the last one repeats if there are more.
const HEADER_NAMES: [&str; 4] = ["trace", "source", "type", "more"];

/// Why records of this shape cannot be made, if they cannot.
pub fn check(shape: &Shape) -> Result<(), String> {
    match &shape.keys {
        Some(keys) if keys.digits() > shape.key_bytes as usize => {
            Err(format!("--key-bytes {} has no room for the {} digits of --keys", shape.key_bytes, keys.digits()))
        }
        _ => Ok(()),
    }
}

/// Makes the batches of one connection.
pub struct Maker {
    shape: Shape,
    size: Size,
    compression: Compression,
    keys: Option<Drawn>,
    noise: Noise,
    random: SmallRng,
    /// Of a batch of one record, to be changed.
    header: BatchHeader,
    key: Vec<u8>,
    spare: Spare,
    /// Bytes of the last batch's records.
    body_bytes: usize,
}

/// A batch, and the bytes of its keys and values.
#[derive(Clone, Debug)]
pub struct Made {
    pub payload: Payload,
    pub bytes: u64,
}

impl Maker {
    /// For connection `number` of a load on so many partitions, which share the tables.
    pub fn new(
        (writing, shape): (&Writing, &Shape),
        partitions: usize,
        (seed, number): (u64, usize),
        tables: Arc<Tables>,
    ) -> Maker {
        let mut random = SmallRng::seed_from_u64(seed.wrapping_add(number as u64));
        let batch = BatchBuilder::new(0).record(0, None, None).build();
        let (header, _) = BatchHeader::read_from_prefix(&batch).expect("a batch has a header");
        Maker {
            shape: shape.clone(),
            size: writing.record_bytes.clone(),
            compression: writing.compression.into(),
            keys: Drawn::of(shape, partitions),
            noise: Noise::new(tables, random.random()),
            random,
            header,
            key: Vec::new(),
            spare: Spare::default(),
            body_bytes: 0,
        }
    }

    /// The partition that the next batch, of so many records, is for, if their keys decide on that.
    pub fn partition(&mut self, records: usize) -> Option<i32> {
        self.keys.as_mut()?.partition(records, &mut self.random)
    }

    /// So many records for a partition. `mark` may change each value; its first argument counts from 0.
    pub fn batch(&mut self, records: usize, partition: i32, mut mark: impl FnMut(usize, &mut [u8])) -> Made {
        assert!(records > 0);
        let mut body = self.spare.take(self.body_bytes);
        let mut bytes = 0;
        for number in 0..records {
            let is_tombstone = self.shape.tombstones > 0.0 && self.random.random_bool(self.shape.tombstones / 100.0);
            let size = (!is_tombstone).then(|| self.size.draw(&mut self.random));
            self.draw_key(partition);
            bytes += (size.unwrap_or(0) + self.key.len()) as u64;
            self.put_record(&mut body, number as i32, size, |value| mark(number, value));
        }
        let body = body.finish();
        self.body_bytes = body.len();
        self.header.last_offset_delta = (records as i32 - 1).into();
        self.header.records_count = (records as i32).into();
        if self.compression != Compression::None {
            self.spare.put(body.clone());
        }
        Made { payload: Payload::new(self.header, body, self.compression), bytes }
    }

    /// A batch is done with, as soon as what shares its bytes is.
    pub fn recycle(&mut self, payload: Payload) {
        if self.compression == Compression::None {
            self.spare.put(payload.into_body());
        }
    }

    fn draw_key(&mut self, partition: i32) {
        let Some(keys) = &mut self.keys else { return };
        let number = keys.draw(&mut self.random, partition);
        keys::write(number, &mut self.key, self.shape.key_bytes);
    }

    /// A record with `key`, and a value of so many bytes if it has one, behind its length; it has the time of its batch.
    fn put_record(
        &mut self,
        body: &mut Body,
        offset_delta: i32,
        value_bytes: Option<usize>,
        mark: impl FnOnce(&mut [u8]),
    ) {
        let key = self.keys.is_some().then_some(&self.key[..]);
        let (headers, compressibility) = (self.shape.headers, self.shape.compressibility);
        let name = |i: u32| HEADER_NAMES[(i as usize).min(HEADER_NAMES.len() - 1)].as_bytes();
        let header_bytes = self.shape.header_bytes as usize;
        let field_bytes = |length: usize| varint_bytes(length as i32) + length;
        let nullable_bytes = |length: Option<usize>| length.map_or(1, field_bytes);
        let headers_bytes: usize = (0..headers).map(|i| field_bytes(name(i).len()) + field_bytes(header_bytes)).sum();
        // Attributes and the difference to the batch's time take a byte each.
        let length = 2
            + varint_bytes(offset_delta)
            + nullable_bytes(key.map(<[u8]>::len))
            + nullable_bytes(value_bytes)
            + varint_bytes(headers as i32)
            + headers_bytes;
        body.put_varint(i32::try_from(length).expect("a record is shorter than 2 GiB"));
        body.put(&[0, 0]);
        body.put_varint(offset_delta);
        body.put_varint(key.map_or(-1, |key| key.len() as i32));
        body.put(key.unwrap_or_default());
        body.put_varint(value_bytes.map_or(-1, |bytes| bytes as i32));
        if let Some(bytes) = value_bytes {
            let value = body.room(bytes);
            self.noise.fill_compressible(value, compressibility);
            mark(value);
        }
        body.put_varint(headers as i32);
        for i in 0..headers {
            body.put_varint(name(i).len() as i32);
            body.put(name(i));
            body.put_varint(header_bytes as i32);
            self.noise.fill_compressible(body.room(header_bytes), compressibility);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::plain;
    use crate::options::{Command, LoadCommand, Options};
    use crate::payload::Stamp;
    use clap::Parser;
    use klamm::client::partition::partition_of_key;
    use klamm::wire::batch::{Batch, Record, crc_ok};
    use std::collections::{BTreeMap, BTreeSet};

    fn maker(words: &str) -> Maker {
        let all = ["loadgen", "produce"].into_iter().chain(words.split_whitespace());
        let Command::Load(load) = Options::parse_from(all).command else { panic!("load") };
        let LoadCommand::Produce(produce) = *load else { panic!("produce") };
        let seed = produce.shape.seed.unwrap_or(3);
        Maker::new((&produce.writing, &produce.shape), 4, (seed, 0), Arc::new(Tables::new(seed)))
    }

    fn whole(made: &Made) -> Vec<u8> {
        [&made.payload.header(&Stamp { timestamp_ms: 77, ..Stamp::PLAIN })[..], made.payload.body()].concat()
    }

    fn look(made: &Made, mut look: impl FnMut(usize, &Record<'_>)) {
        let bytes = whole(made);
        assert!(crc_ok(&bytes));
        let batch = Batch::first(&bytes).unwrap();
        let count = batch.header.records_count.get();
        plain(&batch, |batch| {
            let records: Vec<Record<'_>> = batch.records().map(Result::unwrap).collect();
            assert_eq!(records.len() as i32, count);
            records.iter().enumerate().for_each(|(i, record)| look(i, record));
        })
        .unwrap();
    }

    #[test]
    fn records_have_what_was_asked_for() {
        for compression in ["none", "zstd"] {
            let shape = "--record-bytes 50..90 --keys uniform:1000 --partitioner even --key-bytes 12 --headers 5 --header-bytes 200";
            let mut maker = maker(&format!("{shape} --tombstones 25 --compression {compression}"));
            let (mut tombstones, mut keys, mut bytes) = (0, BTreeSet::new(), 0);
            let made = maker.batch(2000, 3, |i, value| value[..8].copy_from_slice(&(i as u64).to_be_bytes()));
            look(&made, |i, record| {
                assert_eq!((record.offset_delta, record.timestamp_delta), (i as i32, 0));
                let key: u64 = std::str::from_utf8(record.key.unwrap()).unwrap().parse().unwrap();
                assert!(record.key.unwrap().len() == 12 && key < 1000 && key % 4 == 3, "{key}");
                keys.insert(key);
                let names: Vec<&str> = record.headers.iter().map(|(name, _)| *name).collect();
                assert_eq!(names, ["trace", "source", "type", "more", "more"]);
                assert!(record.headers.iter().all(|(_, value)| value.unwrap().len() == 200));
                bytes += 12 + record.value.map_or(0, <[u8]>::len);
                match record.value {
                    None => tombstones += 1,
                    Some(value) => {
                        assert!((50..=90).contains(&value.len()));
                        assert_eq!(value[..8], (i as u64).to_be_bytes());
                    }
                }
            });
            assert!((400..600).contains(&tombstones) && keys.len() == 250, "{tombstones} {}", keys.len());
            assert_eq!(made.bytes, bytes as u64);
        }
    }

    #[test]
    fn values_are_fresh_and_compress_as_far_as_was_asked_for() {
        let ratios = [1, 2, 4, 8];
        let all = ["gzip", "snappy", "lz4", "zstd"].into_iter().flat_map(|codec| ratios.map(|ratio| (codec, ratio)));
        for (codec, ratio) in all.filter(|of| *of != ("snappy", 8)) {
            let words = format!("--record-bytes 1024 --compressibility {ratio} --compression {codec}");
            let made = maker(&words).batch(64, 0, |_, _| ());
            let achieved = 65536.0 / made.payload.size() as f64;
            assert!((0.8..1.1).contains(&(achieved / f64::from(ratio))), "{codec} {ratio}: {achieved}");
        }
        let mut maker = maker("--record-bytes 32");
        let mut values = BTreeSet::new();
        for _ in 0..2000 {
            look(&maker.batch(50, 0, |_, _| ()), |_, record| assert!(values.insert(record.value.unwrap().to_vec())));
        }
    }

    #[test]
    fn a_seed_makes_the_same_records() {
        let batches = |words: &str, number: u64| {
            let mut maker =
                maker(&format!("--record-bytes 10..99 --keys zipf:500:0.9 --partitioner even --headers 1 {words}"));
            maker.random = SmallRng::seed_from_u64(number);
            (0..3).map(|_| whole(&maker.batch(20, 1, |_, _| ()))).collect::<Vec<_>>()
        };
        assert_eq!(batches("--seed 8", 1), batches("--seed 8", 1));
        assert_ne!(batches("--seed 8", 1), batches("--seed 9", 1));
        assert_ne!(
            maker("--seed 8").batch(1, 0, |_, _| ()).payload.body(),
            maker("").batch(1, 0, |_, _| ()).payload.body()
        );
        let (first, second) = (maker("--seed 8"), maker("--seed 8"));
        let [first, second] = [first, second].map(|mut maker| whole(&maker.batch(9, 0, |_, _| ())));
        assert_eq!(first, second);
    }

    /// Each record is where Kafka's producers would have it, and so as many are there as its keys have.
    #[test]
    fn a_hot_key_makes_a_hot_partition() {
        let shares = |words: &str, sizes: [usize; 3]| {
            let (mut maker, mut counts, mut keys) = (maker(words), [0; 4], BTreeMap::new());
            for records in sizes.into_iter().cycle().take(3000) {
                let partition = maker.partition(records).unwrap();
                counts[partition as usize] += records;
                look(&maker.batch(records, partition, |_, _| ()), |_, record| {
                    let key = record.key.unwrap().to_vec();
                    assert_eq!(partition_of_key(&key, 4), partition);
                    *keys.entry(key).or_insert(0) += 1;
                });
            }
            let all = counts.iter().sum::<usize>() as f64;
            (counts.map(|count| count as f64 / all), keys.into_values().max().unwrap_or(0) as f64 / all)
        };
        let near = |share: f64, expected: f64| (share - expected).abs() < 0.03;
        let hot = "--record-bytes 1 --keys hot:1000:1:70";
        let of_hot = partition_of_key(b"0000000000000000", 4) as usize;
        for sizes in [[1, 1, 1], [20, 20, 20], [1, 30, 7]] {
            let (counts, key) = shares(hot, sizes);
            // The hot one, and a quarter of the others, more or less.
            let is_right = |(at, share): (usize, f64)| near(share, if at == of_hot { 0.775 } else { 0.075 });
            assert!(counts.into_iter().enumerate().all(is_right) && near(key, 0.7), "{sizes:?} {counts:?} {key}");
            let (counts, _) = shares("--record-bytes 1 --keys uniform:10000", sizes);
            assert!(counts.iter().all(|&share| near(share, 0.25)), "{sizes:?} {counts:?}");
        }
        assert_eq!(maker("--keys uniform:5 --partitioner even").partition(7), None);
        assert_eq!(maker("").partition(7), None);
    }

    #[test]
    fn keys_need_room() {
        let shape = maker("--keys uniform:1001 --key-bytes 3").shape;
        assert!(check(&shape).unwrap_err().contains("4 digits"));
        assert!(check(&maker("--keys uniform:1000 --key-bytes 3").shape).is_ok());
    }
}
