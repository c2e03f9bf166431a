//! Everything is read back, through the broker's deaths and restarts, and entered in the ledger.

use crate::cluster::{Attempts, Broker, Fault, LATEST, Layout, offsets, topic_layout};
use crate::compression::plain;
use crate::fetch::{Positions, Span};
use crate::options::{Fetching, Target};
use crate::verify::ledger::{Flaw, Ledger, Place};
use crate::verify::readers::Sightings;
use crate::verify::seal::Seal;
use klamm::wire::batch::{Batch, Record, crc_ok};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::{ApiKey, FetchResponse};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How the records are read back.
pub const READING: Fetching =
    Fetching { max_bytes: 16 << 20, fetch_partition_bytes: 4 << 20, min_bytes: 1, max_wait_ms: 500 };

/// How far the records are read back.
pub struct Reading {
    pub ledger: Ledger,
    topic: String,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
    /// Where the partitions ended when reading began; nothing is written any more.
    ends: Option<BTreeMap<i32, i64>>,
    /// Times that reading was begun again.
    pub interruptions: u64,
    /// Records and bytes of batches so far.
    pub records: u64,
    pub bytes: u64,
    /// What is still to be found of what was read during the writing.
    sightings: Sightings,
}

impl Reading {
    /// Reads `topic` from `starts` on, and looks for what was read before.
    pub fn new(mut ledger: Ledger, topic: &str, starts: BTreeMap<i32, i64>, sightings: Sightings) -> Self {
        ledger.add_all(&sightings.flaws);
        Reading {
            ledger,
            topic: topic.to_string(),
            next: starts,
            ends: None,
            interruptions: 0,
            records: 0,
            bytes: 0,
            sightings,
        }
    }

    /// Reads to the end, and enters what was missed on the way; fails when nothing more has come for too long.
    pub fn run(&mut self, target: &Target, timeout_seconds: f64) -> Result<(), Fault> {
        let result = self.read_all(target, timeout_seconds);
        self.ledger.add(Flaw::Unread, self.unread());
        // Nothing is said of what lies beyond the first trouble.
        let looked =
            |partition| match (self.next.get(&partition), self.ends.as_ref().and_then(|ends| ends.get(&partition))) {
                (Some(next), Some(end)) if next < end => *next,
                (Some(_), Some(_)) => i64::MAX,
                _ => i64::MIN,
            };
        self.ledger.add(Flaw::Vanished, self.sightings.vanished(looked));
        result
    }

    fn read_all(&mut self, target: &Target, timeout_seconds: f64) -> Result<(), Fault> {
        let mut attempts = Attempts::new(timeout_seconds);
        loop {
            let before = self.next.clone();
            let trouble = match self.attempt(target) {
                Ok(true) => return Ok(()),
                Ok(false) => Fault::Other("empty answers below the end of a partition".to_string()),
                Err(fault) => {
                    self.interruptions += 1;
                    fault
                }
            };
            if self.next != before {
                attempts.renew();
            }
            attempts.failed(trouble)?;
        }
    }

    /// Offsets below the ends that have not come.
    fn unread(&self) -> u64 {
        let left = |(partition, &next): (&i32, &i64)| {
            let end = *self.ends.as_ref()?.get(partition)?;
            u64::try_from(end.saturating_sub(next)).ok()
        };
        self.next.iter().filter_map(left).sum()
    }

    /// Reads each partition to its end or to its first trouble; gives whether all were read.
    fn attempt(&mut self, target: &Target) -> Result<bool, Fault> {
        let mut broker = Broker::bootstrap(target)?;
        let layout = topic_layout(&mut broker, &self.topic, None)?;
        if self.ends.is_none() {
            self.ends = Some(offsets(&layout, LATEST)?);
        }
        let mut all_read = Ok(true);
        for address in layout.leaders.keys() {
            match self.read_leader(&layout, *address) {
                Ok(true) => {}
                trouble => all_read = trouble,
            }
        }
        all_read
    }

    fn read_leader(&mut self, layout: &Layout, address: SocketAddr) -> Result<bool, Fault> {
        let mut broker = Broker::connect(address)?;
        let ends = self.ends.as_ref().expect("they are asked for before");
        let spans = layout.leaders[&address].iter().filter_map(|partition| {
            let (&next, &end) = (self.next.get(partition)?, ends.get(partition)?);
            Some((*partition, Span { next, end }))
        });
        let mut positions = Positions::new(layout.topic.clone(), READING, spans.collect());
        let mut refused = None;
        while !positions.done() {
            let request = positions.request();
            let (version, answer) = broker.call(ApiKey::Fetch, |w, version| request.encode(w, version))?;
            let answer = FetchResponse::decode(&mut Reader::new(&answer), version)?;
            let brought = positions.absorb(&answer, |partition, batch| self.see(partition, batch));
            self.records += brought.records;
            self.bytes += brought.bytes;
            if brought.records == 0 && brought.errors.is_empty() {
                return Ok(false);
            }
            // Records that the broker no longer has are missed in the end; the others are read.
            let gone = ErrorCode::OffsetOutOfRange.code();
            refused = brought.errors.into_iter().find(|&code| code != gone).or(refused);
            if answer.error_code != 0 {
                break;
            }
        }
        refused.map_or(Ok(true), |code| Err(Fault::Kafka("Fetch".to_string(), code)))
    }

    fn see(&mut self, partition: i32, batch: &Batch<'_>) {
        let header = batch.header;
        self.sightings.found(partition, batch);
        let next = self.next.insert(partition, header.last_offset().saturating_add(1));
        let records = u64::try_from(header.records_count.get()).unwrap_or(0);
        let is_whole = i64::from(header.last_offset_delta.get()) + 1 == i64::from(header.records_count.get());
        let is_next = next.is_none_or(|next| next == header.base_offset.get());
        self.ledger.add(Flaw::OffsetGaps, u64::from(!is_whole) + u64::from(!is_next));
        if !crc_ok(batch.bytes) {
            self.ledger.add(Flaw::Corrupted, records);
        } else if header.is_control() {
            self.ledger.add(Flaw::Foreign, records);
        } else if plain(batch, |batch| self.see_records(partition, batch)).is_err() {
            self.ledger.add(Flaw::Corrupted, records);
        }
    }

    fn see_records(&mut self, partition: i32, batch: &Batch<'_>) {
        let header = batch.header;
        let is_append_time = header.is_log_append_time();
        let mut latest_ms = None;
        for (i, record) in batch.records().enumerate() {
            let Ok(record) = record else {
                self.ledger.add(Flaw::Corrupted, 1);
                continue;
            };
            self.ledger.add(Flaw::OffsetGaps, u64::from(usize::try_from(record.offset_delta) != Ok(i)));
            let created_ms = header.base_timestamp.get().wrapping_add(record.timestamp_delta);
            let place = Place {
                partition,
                offset: header.base_offset.get().wrapping_add(i64::from(record.offset_delta)),
                timestamp_ms: if is_append_time { header.max_timestamp.get() } else { created_ms },
                is_append_time,
            };
            self.see_record(&record, &place);
            latest_ms = latest_ms.max(Some(place.timestamp_ms));
        }
        let is_latest = latest_ms.is_none_or(|latest_ms| latest_ms == header.max_timestamp.get());
        self.ledger.add(Flaw::WrongTimestamp, u64::from(!is_latest));
    }

    fn see_record(&mut self, record: &Record<'_>, place: &Place) {
        let (ledger, value) = (&mut self.ledger, record.value.unwrap_or_default());
        match Seal::read(value) {
            Some(seal) => {
                ledger.see(&seal, place);
                if seal.run_id == ledger.run_id() {
                    ledger.add(Flaw::WrongKey, u64::from(!seal.has_key(record)));
                    ledger.add(Flaw::WrongHeaders, u64::from(!seal.has_headers(record)));
                }
            }
            None if Seal::is_broken(value, ledger.run_id()) => ledger.add(Flaw::Corrupted, 1),
            None => ledger.add(Flaw::Foreign, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::ledger::{Promise, Stream};
    use bytes::Bytes;
    use klamm::wire::batch::{BatchBuilder, patch_base_offset_and_epoch, set_log_append_time};

    const CREATED_MS: i64 = 1_000;
    const SEALED: Seal = Seal { run_id: 5, stream: 0, number: 0, created_ms: CREATED_MS };
    type Kept = (Seal, Vec<u8>, Option<Vec<u8>>, Vec<(&'static str, Option<Vec<u8>>)>);

    /// A record as it is sent: its seal, its value, its key and its headers, each of which a test may change.
    fn kept(number: u64) -> Kept {
        let seal = Seal { number, ..SEALED };
        let mut value = vec![0xaa; 100];
        seal.write(&mut value);
        let key = seal.key();
        let headers = seal.headers(&key).into_iter().map(|(name, value)| (name, value.map(<[u8]>::to_vec)));
        (seal, value, Some(key.to_vec()), headers.collect())
    }

    fn batch(base_offset: i64, records: &[Kept]) -> Vec<u8> {
        let add = |batch: BatchBuilder, (seal, value, key, headers): &Kept| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_deref())).collect();
            batch.record_with_headers(seal.created_ms, key.as_deref(), Some(value), &headers)
        };
        records.iter().fold(BatchBuilder::new(base_offset), add).build().to_vec()
    }

    /// What is found in `batches`, in partition 0 from offset 0 on, when records 0 to 4 were sent and 0 to 3 were acknowledged.
    fn flaws(batches: &[Vec<u8>]) -> Vec<(Flaw, u64)> {
        let mut stream = Stream::new(0);
        stream.send(5);
        stream.acknowledge(0..4, Promise { offset: Some(0), append_ms: -1 });
        let ledger = Ledger::new(5, vec![stream], false);
        let mut reading = Reading::new(ledger, "t", BTreeMap::from([(0, 0)]), Sightings::default());
        batches.iter().for_each(|batch| reading.see(0, &Batch::first(batch).unwrap()));
        let flaws = reading.ledger.counts().flaws;
        Flaw::ALL.iter().map(|(flaw, _)| (*flaw, flaws.count(*flaw))).filter(|(_, count)| *count > 0).collect()
    }

    /// The four acknowledged records after a change, and what is found.
    fn changed(change: impl Fn(&mut Vec<Kept>)) -> Vec<(Flaw, u64)> {
        let mut records: Vec<_> = (0..4).map(kept).collect();
        change(&mut records);
        flaws(&[batch(0, &records)])
    }

    #[test]
    fn what_was_sent_is_faultless() {
        assert_eq!(changed(|_| ()), []);
        assert_eq!(changed(|records| records.push(kept(4))), []);
        assert_eq!(flaws(&[batch(0, &[kept(0)]), batch(1, &[kept(1), kept(2), kept(3)])]), []);
    }

    #[test]
    fn each_change_of_a_record_is_found() {
        assert_eq!(changed(|records| records[2].2 = None), [(Flaw::WrongKey, 1)]);
        assert_eq!(changed(|records| records[2].2.as_mut().unwrap()[11] ^= 1), [(Flaw::WrongKey, 1)]);
        assert_eq!(changed(|records| records[1].3.clear()), [(Flaw::WrongHeaders, 1)]);
        assert_eq!(changed(|records| records[2].3[0].1 = Some(vec![])), [(Flaw::WrongHeaders, 1)]);
        assert_eq!(changed(|records| records[3].3.swap(0, 1)), [(Flaw::WrongHeaders, 1)]);
        assert_eq!(changed(|records| records[3].0.created_ms -= 1), [(Flaw::WrongTimestamp, 1)]);
        assert_eq!(changed(|records| records[3].1[50] ^= 1), [(Flaw::Lost, 1), (Flaw::Corrupted, 1)]);
        assert_eq!(changed(|records| records[3].1.truncate(40)), [(Flaw::Lost, 1), (Flaw::Corrupted, 1)]);
        assert_eq!(changed(|records| records[3].1.clear()), [(Flaw::Lost, 1), (Flaw::Foreign, 1)]);
        let stale = Seal { run_id: 4, ..SEALED };
        let restamp = |records: &mut Vec<Kept>| stale.write(&mut records[3].1);
        assert_eq!(changed(restamp), [(Flaw::Lost, 1), (Flaw::Stale, 1)]);
    }

    #[test]
    fn offsets_are_contiguous_between_batches_and_within_them() {
        let all = |base_offset| batch(base_offset, &[kept(0), kept(1), kept(2), kept(3)]);
        assert_eq!(flaws(&[all(1)]), [(Flaw::WrongOffset, 4), (Flaw::OffsetGaps, 1)]);
        let gap = flaws(&[batch(0, &[kept(0), kept(1)]), batch(3, &[kept(2), kept(3)])]);
        assert_eq!(gap, [(Flaw::WrongOffset, 2), (Flaw::OffsetGaps, 1)]);
        let overlap = flaws(&[batch(0, &[kept(0), kept(1)]), batch(1, &[kept(1), kept(2), kept(3)])]);
        assert_eq!(overlap, [(Flaw::Duplicated, 1), (Flaw::OffsetGaps, 1)]);
        let mut longer = all(0);
        // The offset of the last record is one more than there are records; then the checksum is right again.
        longer[26] += 1;
        let crc = crc32c::crc32c(&longer[klamm::wire::batch::CRC_START..]);
        longer[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(flaws(&[longer]), [(Flaw::OffsetGaps, 1)]);
    }

    #[test]
    fn batches_that_are_not_as_they_were_sent_are_found() {
        let all = || batch(0, &[kept(0), kept(1), kept(2), kept(3)]);
        let mut torn = all();
        *torn.last_mut().unwrap() ^= 1;
        assert_eq!(flaws(&[torn]), [(Flaw::Lost, 4), (Flaw::Corrupted, 4)]);
        let mut appended = all();
        set_log_append_time(&mut appended, 5);
        assert_eq!(flaws(&[appended]), [(Flaw::WrongTimestamp, 4)]);
        let mut later = all();
        klamm::wire::batch::set_create_time(&mut later, CREATED_MS + 1);
        assert_eq!(flaws(&[later]), [(Flaw::WrongTimestamp, 1)]);
        let marker: Bytes = BatchBuilder::new(4).control().record(5, Some(b"\0\0\0\x01"), Some(b"")).build();
        assert_eq!(flaws(&[all(), marker.to_vec()]), [(Flaw::Foreign, 1)]);
        let mut again = all();
        patch_base_offset_and_epoch(&mut again, 4, 0);
        assert_eq!(flaws(&[all(), again]), [(Flaw::Duplicated, 4)]);
    }
}
