//! `loadgen verify`: numbered records through the broker's deaths and restarts, then all of them read back.

use crate::cluster::{Attempts, Broker, Fault, LATEST, Layout, offsets, open_topic, topic_layout};
use crate::compression::plain;
use crate::fetch::{Positions, Span};
use crate::ledger::{Counts, Ledger, Stream};
use crate::options::{Acks, Fetching, Verify};
use crate::produce::schedule;
use crate::producer;
use crate::report::Report;
use crate::run::{Run, Watched, endings, start, watch};
use crate::writer::Writer;
use klamm::wire::batch::{Batch, crc_ok};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, FetchResponse};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes at the front of a value that say which record it is, the value's checksum first.
pub const SEAL_BYTES: usize = 24;
/// How the records are read back.
const READING: Fetching =
    Fetching { max_bytes: 16 << 20, fetch_partition_bytes: 4 << 20, min_bytes: 1, max_wait_ms: 500 };

/// Which record a value is: the run, the stream and the number in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal {
    pub run_id: u64,
    pub stream: u32,
    pub number: u64,
}

impl Seal {
    /// Puts the seal on a value, whose rest is as it will stay.
    pub fn write(&self, value: &mut [u8]) {
        value[4..12].copy_from_slice(&self.run_id.to_be_bytes());
        value[12..16].copy_from_slice(&self.stream.to_be_bytes());
        value[16..SEAL_BYTES].copy_from_slice(&self.number.to_be_bytes());
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
        })
    }
}

/// Gives the report, and whether every acknowledged record was there once, in order and intact.
pub fn verify(options: &Verify) -> Result<(Report, bool), Fault> {
    let mut options = options.clone();
    options.writing.partitions_per_request = 1;
    let options = &options;
    let Verify { target, writing, .. } = options;
    producer::check(writing)?;
    if writing.acks == Acks::None {
        return Err(Fault::Other("verify needs acknowledgements: --acks 1 or all".to_string()));
    }
    if (writing.record_bytes as usize) < SEAL_BYTES {
        return Err(Fault::Other(format!("verify needs --record-bytes of at least {SEAL_BYTES}")));
    }
    let run_id: u64 = rand::random();
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let starts = offsets(&layout, LATEST)?;
    let shares = layout.share(target.connections as usize);
    let watched = [Watched::new(None, shares.len())];
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let (mut handles, mut stream_first) = (Vec::new(), 0);
    let writers = shares.len();
    for (i, (_, partitions)) in shares.into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].tallies[i].clone());
        let (options, schedule) = (options.clone(), schedule(writing, i, writers));
        let count = partitions.len() as u32;
        handles.push(start(&ended, move || {
            let result = Writer::new(run.clone(), tally, &options, schedule, partitions, run_id, stream_first).run();
            if result.is_err() {
                run.end();
            }
            result
        }));
        stream_first += count;
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, writers, &endings)?;
    let (mut streams, mut interruptions) = (Vec::new(), 0);
    for handle in handles {
        let written = handle.join().expect("a writer does not panic")?;
        streams.extend(written.streams);
        interruptions += written.interruptions;
    }
    let (counts, reading_interruptions) = read_back(options, streams, run_id, starts)?;
    report.more.push(("acknowledged", json!(counts.acknowledged)));
    report.more.push(("unknown", json!(counts.unknown)));
    report.more.push(("unknown_present", json!(counts.unknown_present)));
    report.more.push(("lost", json!(counts.lost)));
    report.more.push(("duplicated", json!(counts.duplicated)));
    report.more.push(("reordered", json!(counts.reordered)));
    report.more.push(("corrupted", json!(counts.corrupted)));
    report.more.push(("interruptions", json!(interruptions + reading_interruptions)));
    Ok((report, counts.faultless() && counts.acknowledged > 0))
}

/// Reads everything from `starts` on into the ledger.
fn read_back(
    options: &Verify,
    streams: Vec<Stream>,
    run_id: u64,
    starts: BTreeMap<i32, i64>,
) -> Result<(Counts, u64), Fault> {
    let mut reading =
        Reading { ledger: Ledger::new(streams, options.writing.idempotent), run_id, next: starts, ends: None };
    let mut attempts = Attempts::new(options.timeout_seconds);
    let mut interruptions = 0;
    loop {
        let before = reading.next.clone();
        match reading.attempt(options) {
            Ok(()) => return Ok((reading.ledger.counts(), interruptions)),
            Err(fault) => {
                interruptions += 1;
                if reading.next != before {
                    attempts.renew();
                }
                attempts.failed(fault)?;
            }
        }
    }
}

/// How far the records are read back.
struct Reading {
    ledger: Ledger,
    run_id: u64,
    next: BTreeMap<i32, i64>,
    /// Where the partitions ended when reading began; nothing is written any more.
    ends: Option<BTreeMap<i32, i64>>,
}

impl Reading {
    /// Reads to the end, or to the first trouble.
    fn attempt(&mut self, options: &Verify) -> Result<(), Fault> {
        let target = &options.target;
        let mut broker = Broker::bootstrap(target)?;
        let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
        if self.ends.is_none() {
            self.ends = Some(offsets(&layout, LATEST)?);
        }
        for address in layout.leaders.keys() {
            self.read_leader(&layout, *address)?;
        }
        Ok(())
    }

    fn read_leader(&mut self, layout: &Layout, address: std::net::SocketAddr) -> Result<(), Fault> {
        let mut broker = Broker::connect(address)?;
        let ends = self.ends.as_ref().expect("they are asked for before");
        let spans = layout.leaders[&address].iter().filter_map(|partition| {
            let (&next, &end) = (self.next.get(partition)?, ends.get(partition)?);
            Some((*partition, Span { next, end }))
        });
        let mut positions = Positions::new(layout.topic.clone(), READING, spans.collect());
        while !positions.done() {
            let request = positions.request();
            let (version, answer) = broker.call(ApiKey::Fetch, |w, version| request.encode(w, version))?;
            let answer = FetchResponse::decode(&mut Reader::new(&answer), version)?;
            let brought = positions.absorb(&answer, |partition, batch| {
                self.next.insert(partition, batch.header.last_offset().saturating_add(1));
                self.see(batch);
            });
            for code in brought.errors {
                // Records that the broker no longer has are missed in the end; the others are read.
                if code != ErrorCode::OffsetOutOfRange.code() {
                    return Err(Fault::Kafka("Fetch".to_string(), code));
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, batch: &Batch<'_>) {
        let records = u64::try_from(batch.header.records_count.get()).unwrap_or(0);
        if !crc_ok(batch.bytes) {
            self.ledger.corrupt(records);
            return;
        }
        let (ledger, run_id) = (&mut self.ledger, self.run_id);
        let result = plain(batch, |batch| {
            for record in batch.records() {
                match record.ok().and_then(|record| Seal::read(record.value?)) {
                    Some(seal) if seal.run_id == run_id => ledger.see(seal.stream, seal.number),
                    // Another run of this program writes to the same topic.
                    Some(_) => {}
                    None => ledger.corrupt(1),
                }
            }
        });
        if result.is_err() {
            ledger.corrupt(records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::BatchBuilder;

    fn sealed(stream: u32, number: u64) -> Vec<u8> {
        let mut value = vec![0xaa; 100];
        let run_id = 5;
        Seal { run_id, stream, number }.write(&mut value);
        value
    }

    #[test]
    fn a_seal_breaks_when_any_bit_changes() {
        let value = sealed(3, 77);
        let seal = Seal::read(&value).unwrap();
        assert_eq!((seal.run_id, seal.stream, seal.number), (5, 3, 77));
        for bit in 0..8 * value.len() {
            let mut broken = value.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::read(&broken), None, "bit {bit}");
        }
        assert_eq!(Seal::read(&value[..SEAL_BYTES - 1]), None);
    }

    #[test]
    fn batches_read_back_are_held_against_the_ledger() {
        let mut stream = Stream::default();
        stream.send(5);
        stream.acknowledge(0..4);
        let mut reading =
            Reading { ledger: Ledger::new(vec![stream], false), run_id: 5, next: BTreeMap::new(), ends: None };
        let mut broken = sealed(0, 3);
        broken[50] ^= 1;
        let batch = |values: &[Vec<u8>]| {
            let records = values.iter().fold(BatchBuilder::new(0), |batch, value| batch.record(0, None, Some(value)));
            records.build().to_vec()
        };
        let good = batch(&[sealed(0, 0), sealed(0, 1), sealed(0, 1), broken]);
        reading.see(&Batch::first(&good).unwrap());
        let mut torn = batch(&[sealed(0, 2)]);
        *torn.last_mut().unwrap() ^= 1;
        reading.see(&Batch::first(&torn).unwrap());
        let expected = Counts {
            acknowledged: 4,
            unknown: 1,
            unknown_present: 0,
            lost: 2,
            duplicated: 1,
            reordered: 0,
            corrupted: 2,
        };
        assert_eq!(reading.ledger.counts(), expected);
    }
}
