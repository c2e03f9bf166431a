//! Readers during the writing: what was read once must stay where it was, and ends never go back.

use crate::cluster::{Attempts, Broker, EARLIEST, Fault, LATEST, Layout, offsets, topic_layout};
use crate::fetch::{Positions, Span};
use crate::options::{Fetching, Target, Verify};
use crate::verify::ledger::{Flaw, Flaws};
use klamm::wire::batch::Batch;
use klamm::wire::codec::Reader;
use klamm::wire::messages::{ApiKey, FetchResponse};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// How readers ask: one leader after the other, so none may hold them up.
const FOLLOWING: Fetching =
    Fetching { max_bytes: 16 << 20, fetch_partition_bytes: 4 << 20, min_bytes: 1, max_wait_ms: 50 };

/// A batch as it was read: the offset of its last record, and its checksum, which neither its offset nor its leader is part of.
type Sighting = (i64, u32);

fn sighting(batch: &Batch<'_>) -> Sighting {
    (batch.header.last_offset(), batch.header.crc.get())
}

/// What all readers saw.
#[derive(Default)]
pub struct Sightings {
    /// The batches of each partition, by their base offsets.
    batches: BTreeMap<i32, BTreeMap<i64, Sighting>>,
    pub flaws: Flaws,
}

impl Sightings {
    /// A reader read a batch: what any has read before at its offset must be the same.
    fn read(&mut self, partition: i32, batch: &Batch<'_>) {
        let base_offset = batch.header.base_offset.get();
        let before = self.batches.entry(partition).or_default().insert(base_offset, sighting(batch));
        if let Some(before) = before
            && before != sighting(batch)
        {
            self.flaws.add(Flaw::Vanished, records(base_offset, before));
        }
    }

    /// A batch is there at the end.
    pub fn found(&mut self, partition: i32, batch: &Batch<'_>) {
        if let Some(batches) = self.batches.get_mut(&partition)
            && batches.get(&batch.header.base_offset.get()) == Some(&sighting(batch))
        {
            batches.remove(&batch.header.base_offset.get());
        }
    }

    /// Records that were read and not found at the end, below the offset that `looked` says of their partition.
    pub fn vanished(&self, looked: impl Fn(i32) -> i64) -> u64 {
        let below = |(&partition, batches): (&i32, &BTreeMap<i64, Sighting>)| {
            let below = batches.range(..looked(partition));
            below.map(|(&base_offset, &sighting)| records(base_offset, sighting)).sum::<u64>()
        };
        self.batches.iter().map(below).sum()
    }
}

fn records(base_offset: i64, (last_offset, _): Sighting) -> u64 {
    last_offset.saturating_sub(base_offset).saturating_add(1).try_into().unwrap_or(0)
}

/// What readers share.
struct Shared {
    target: Target,
    timeout_seconds: f64,
    sightings: Mutex<Sightings>,
    /// The writing is over.
    over: AtomicBool,
}

impl Shared {
    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings.lock().expect("no reader panics")
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

/// All readers of a run.
pub struct Readers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<Result<(), Fault>>>,
}

impl Readers {
    /// Starts as many as are asked for, each of which reads all partitions from `starts` on.
    pub fn start(options: &Verify, starts: &BTreeMap<i32, i64>) -> Self {
        let shared = Arc::new(Shared {
            target: options.target.clone(),
            timeout_seconds: options.timeout_seconds,
            sightings: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let follow = |_| {
            let follower = Follower { shared: shared.clone(), next: starts.clone() };
            std::thread::spawn(move || follower.run())
        };
        let handles = (0..options.readers).map(follow).collect();
        Readers { shared, handles }
    }

    /// Ends them; gives what they saw, and why some ended early.
    pub fn stop(self) -> (Sightings, Vec<Fault>) {
        self.shared.over.store(true, Ordering::Relaxed);
        let ended = self.handles.into_iter().map(|handle| handle.join().expect("no reader panics"));
        let faults = ended.filter_map(Result::err).collect();
        (std::mem::take(&mut *self.shared.sightings()), faults)
    }
}

/// One reader of all partitions.
struct Follower {
    shared: Arc<Shared>,
    /// The next offset of each partition.
    next: BTreeMap<i32, i64>,
}

/// A connection to a leader, and how far its partitions are read on it.
struct Leader {
    broker: Broker,
    positions: Positions,
    /// The highest end of each partition that this leader has named.
    ends: BTreeMap<i32, i64>,
}

impl Follower {
    /// Reads until the writing is over; fails when nothing has worked for too long.
    fn run(mut self) -> Result<(), Fault> {
        let mut attempts = Attempts::new(self.shared.timeout_seconds);
        while self.shared.goes_on() {
            if let Err(fault) = self.session(&mut attempts) {
                attempts.failed(fault)?;
            }
        }
        Ok(())
    }

    /// Reads until the writing is over or to the first trouble.
    fn session(&mut self, attempts: &mut Attempts) -> Result<(), Fault> {
        let mut broker = Broker::bootstrap(&self.shared.target)?;
        let layout = topic_layout(&mut broker, &self.shared.target.topic, None)?;
        let (begins, ends) = (offsets(&layout, EARLIEST)?, offsets(&layout, LATEST)?);
        for (partition, next) in &mut self.next {
            let (begin, end) = (begins.get(partition).copied(), ends.get(partition).copied());
            if end.is_some_and(|end| end < *next) {
                self.shared.sightings().flaws.add(Flaw::WentBack, 1);
            }
            *next = (*next).min(end.unwrap_or(*next)).max(begin.unwrap_or(0));
        }
        let leader = |&address| self.connect(&layout, address, &ends);
        let mut leaders = layout.leaders.keys().map(leader).collect::<Result<Vec<_>, Fault>>()?;
        while self.shared.goes_on() {
            for leader in &mut leaders {
                self.read(leader)?;
                attempts.renew();
            }
        }
        Ok(())
    }

    fn connect(&self, layout: &Layout, address: SocketAddr, ends: &BTreeMap<i32, i64>) -> Result<Leader, Fault> {
        let span = |partition: &i32| Some((*partition, Span { next: *self.next.get(partition)?, end: i64::MAX }));
        let spans = layout.leaders[&address].iter().filter_map(span).collect();
        let positions = Positions::new(layout.topic.clone(), FOLLOWING, spans);
        Ok(Leader { broker: Broker::connect(address)?, positions, ends: ends.clone() })
    }

    fn read(&mut self, leader: &mut Leader) -> Result<(), Fault> {
        let request = leader.positions.request();
        let (version, answer) = leader.broker.call(ApiKey::Fetch, |w, version| request.encode(w, version))?;
        let answer = FetchResponse::decode(&mut Reader::new(&answer), version)?;
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let (index, end) = (partition.partition_index, partition.high_watermark);
            let before = leader.ends.insert(index, end).unwrap_or(end);
            if partition.error_code == 0 && end < before {
                self.shared.sightings().flaws.add(Flaw::WentBack, 1);
            }
        }
        let brought = leader.positions.absorb(&answer, |partition, batch| {
            let next = self.next.insert(partition, batch.header.last_offset().saturating_add(1));
            if next != Some(batch.header.base_offset.get()) {
                self.shared.sightings().flaws.add(Flaw::OffsetGaps, 1);
            }
            self.shared.sightings().read(partition, batch);
        });
        // Whatever it is, the next session asks where the partitions end.
        brought.errors.first().map_or(Ok(()), |&code| Err(Fault::Kafka("Fetch".to_string(), code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::batch::BatchBuilder;

    /// Sightings that `see` changes, and the batches that it is given: two that follow each other, and another at the second's place.
    fn sightings(see: impl Fn(&mut Sightings, [&Batch<'_>; 3])) -> Sightings {
        let batch =
            |base_offset, value| BatchBuilder::new(base_offset).record(1, None, Some(value)).record(1, None, None);
        let bytes = [batch(10, b"a"), batch(12, b"b"), batch(12, b"c")].map(BatchBuilder::build);
        let batches = [0, 1, 2].map(|i: usize| Batch::first(&bytes[i]).unwrap());
        let mut sightings = Sightings::default();
        see(&mut sightings, batches.each_ref());
        sightings
    }

    fn vanished(sightings: &Sightings, looked: i64) -> (u64, u64) {
        (sightings.flaws.count(Flaw::Vanished), sightings.vanished(|_| looked))
    }

    #[test]
    fn what_was_read_is_looked_for_as_far_as_anyone_looked() {
        let read = |sightings: &mut Sightings, [first, second, _]: [&Batch<'_>; 3]| {
            // Two readers.
            [first, second, first, second].into_iter().for_each(|batch| sightings.read(0, batch));
        };
        assert_eq!([10, 11, 13].map(|looked| vanished(&sightings(read), looked)), [(0, 0), (0, 2), (0, 4)]);
        let found = sightings(|sightings, batches| {
            read(sightings, batches);
            sightings.found(0, batches[0]);
            // Another batch, and another partition.
            sightings.found(0, batches[2]);
            sightings.found(1, batches[1]);
        });
        assert_eq!(vanished(&found, i64::MAX), (0, 2));
        let all = sightings(|sightings, batches| {
            read(sightings, batches);
            batches[..2].iter().for_each(|batch| sightings.found(0, batch));
        });
        assert_eq!(vanished(&all, i64::MAX), (0, 0));
    }

    #[test]
    fn what_takes_the_place_of_what_was_read_is_seen_at_once() {
        let replaced = sightings(|sightings, [first, second, other]| {
            [first, second, other].into_iter().for_each(|batch| sightings.read(0, batch));
            [first, other].into_iter().for_each(|batch| sightings.found(0, batch));
        });
        assert_eq!(vanished(&replaced, i64::MAX), (2, 0));
    }
}
