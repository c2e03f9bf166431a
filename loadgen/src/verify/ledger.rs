//! What was sent and acknowledged, held against what is read back.
//!
//! A stream is what one writer sends to one partition: records numbered from 0, each number sent under one identity only, so that a
//! faithful broker keeps every acknowledged number once, in order, and where it said. A number whose request got no answer is
//! unknown: it may or may not be there.

use crate::verify::seal::Seal;
use std::collections::BTreeMap;
use std::ops::Range;

const ACKNOWLEDGED: u8 = 1;
/// Found in its partition.
const SEEN: u8 = 2;
/// Found at the offset that was acknowledged.
const PLACED: u8 = 4;
/// Found in another partition.
const ASTRAY: u8 = 8;

/// What a broker can do wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Flaw {
    /// Acknowledged and not there.
    Lost,
    /// Copies beyond the first of a record that may not have any.
    Duplicated,
    /// Acknowledged and behind an acknowledged one with a higher number.
    Reordered,
    /// Read and not what was sent: a wrong checksum of a batch or of a value, or a number that was never sent.
    Corrupted,
    /// Found in a partition that they were not sent to.
    WrongPartition,
    /// Acknowledged, and not found at the offset that the acknowledgement named.
    WrongOffset,
    /// Another time than the one sent, or acknowledged where the broker sets it.
    WrongTimestamp,
    WrongKey,
    WrongHeaders,
    /// Sealed by another run.
    Stale,
    /// Not records of this program at all.
    Foreign,
    /// Places where offsets are not contiguous.
    OffsetGaps,
    /// Offsets below a partition's end that never came.
    Unread,
    /// Read during the writing, and not there at the end.
    Vanished,
    /// Times that a partition's end was before one that readers had been told of, or had read up to.
    WentBack,
}

impl Flaw {
    /// Each with its name in reports.
    pub const ALL: [(Flaw, &str); 15] = [
        (Flaw::Lost, "lost"),
        (Flaw::Duplicated, "duplicated"),
        (Flaw::Reordered, "reordered"),
        (Flaw::Corrupted, "corrupted"),
        (Flaw::WrongPartition, "wrong_partition"),
        (Flaw::WrongOffset, "wrong_offset"),
        (Flaw::WrongTimestamp, "wrong_timestamp"),
        (Flaw::WrongKey, "wrong_key"),
        (Flaw::WrongHeaders, "wrong_headers"),
        (Flaw::Stale, "stale"),
        (Flaw::Foreign, "foreign"),
        (Flaw::OffsetGaps, "offset_gaps"),
        (Flaw::Unread, "unread"),
        (Flaw::Vanished, "vanished"),
        (Flaw::WentBack, "went_back"),
    ];
}

/// How often each flaw was found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Flaws(BTreeMap<Flaw, u64>);

impl Flaws {
    pub fn add(&mut self, flaw: Flaw, count: u64) {
        if count > 0 {
            *self.0.entry(flaw).or_default() += count;
        }
    }

    pub fn count(&self, flaw: Flaw) -> u64 {
        self.0.get(&flaw).copied().unwrap_or(0)
    }

    pub fn add_all(&mut self, other: &Flaws) {
        other.0.iter().for_each(|(&flaw, &count)| self.add(flaw, count));
    }
}

/// Records by what became of them.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    pub acknowledged: u64,
    /// Sent and never acknowledged.
    pub unknown: u64,
    /// Those of the unknown that are there.
    pub unknown_present: u64,
    /// Copies beyond the first of unknown records that nobody promised to keep once.
    pub unknown_duplicated: u64,
    pub flaws: Flaws,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.unknown_present += other.unknown_present;
        self.unknown_duplicated += other.unknown_duplicated;
        self.flaws.add_all(&other.flaws);
    }
}

/// Where a record was found, and with which time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    /// The broker set the time.
    pub is_append_time: bool,
}

/// What an acknowledgement says of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Offset of the first record; `None` if the broker knows only that it has the batch.
    pub offset: Option<i64>,
    /// The time that the broker set, -1 if it set none. For a batch that it had already, it may be the batch's own.
    pub append_ms: i64,
}

/// The promise for some numbers that follow each other.
#[derive(Clone, Copy, Debug)]
struct Promised {
    end: u64,
    promise: Promise,
}

/// The records of one writer in one partition.
#[derive(Clone, Debug)]
pub struct Stream {
    pub partition: i32,
    /// A byte of flags for each number that was sent.
    records: Vec<u8>,
    /// Nobody knows how much was sent: more than is written here may be there.
    is_open: bool,
    /// What was acknowledged, by the first number.
    promised: BTreeMap<u64, Promised>,
    /// The highest acknowledged number that was read.
    highest: Option<u64>,
    unknown_duplicated: u64,
    flaws: Flaws,
}

impl Stream {
    pub fn new(partition: i32) -> Self {
        Stream {
            partition,
            records: Vec::new(),
            is_open: false,
            promised: BTreeMap::new(),
            highest: None,
            unknown_duplicated: 0,
            flaws: Flaws::default(),
        }
    }

    /// A stream of which parts are known only.
    pub fn unfinished(partition: i32) -> Self {
        Stream { is_open: true, ..Stream::new(partition) }
    }

    /// The same as [`Stream::acknowledge`], of numbers that nobody has said to be sent.
    pub fn enter(&mut self, numbers: Range<u64>, promise: Promise) {
        self.extend(numbers.end);
        self.acknowledge(numbers, promise);
    }

    /// So many were sent, and no more will be.
    pub fn finish(&mut self, sent: u64) {
        self.extend(sent);
        self.is_open = false;
    }

    pub fn sent(&self) -> u64 {
        self.records.len() as u64
    }

    fn extend(&mut self, end: u64) {
        let end = usize::try_from(end).expect("memory has a byte for each record");
        self.records.resize(end.max(self.records.len()), 0);
    }

    /// Gives out the next `count` numbers, which are unknown until they are acknowledged.
    pub fn send(&mut self, count: usize) -> Range<u64> {
        let first = self.records.len();
        self.records.resize(first + count, 0);
        first as u64..(first + count) as u64
    }

    pub fn acknowledge(&mut self, numbers: Range<u64>, promise: Promise) {
        assert!(numbers.end <= self.records.len() as u64, "acknowledged before it was sent");
        for flags in &mut self.records[numbers.start as usize..numbers.end as usize] {
            *flags |= ACKNOWLEDGED;
        }
        let before = self.promised.range_mut(..numbers.start).next_back();
        let Promise { offset, append_ms } = promise;
        match before {
            // Batches that follow each other without anything between them need no entries of their own.
            Some((first, before))
                if before.end == numbers.start
                    && before.promise.append_ms == append_ms
                    && offset.is_some()
                    && before.promise.offset.map(|offset| offset.wrapping_add((before.end - first) as i64))
                        == offset =>
            {
                before.end = numbers.end;
            }
            _ => {
                self.promised.insert(numbers.start, Promised { end: numbers.end, promise });
            }
        }
    }

    /// What was promised for one number.
    fn promise(&self, number: u64) -> Option<Promise> {
        let (first, promised) = self.promised.range(..=number).next_back()?;
        let offset = promised.promise.offset.map(|offset| offset.wrapping_add((number - first) as i64));
        (number < promised.end).then_some(Promise { offset, ..promised.promise })
    }

    /// A record was read; call in the order of offsets, when no more is sent. `exactly_once` says that even an unknown record may be
    /// there only once.
    fn see(&mut self, seal: &Seal, place: &Place, exactly_once: bool) {
        let number = seal.number;
        if self.is_open {
            self.extend(number + 1);
        }
        let promise = self.promise(number);
        let Some(flags) = usize::try_from(number).ok().and_then(|number| self.records.get_mut(number)) else {
            self.flaws.add(Flaw::Corrupted, 1);
            return;
        };
        if place.partition != self.partition {
            *flags |= ASTRAY;
            self.flaws.add(Flaw::WrongPartition, 1);
            return;
        }
        let acknowledged = *flags & ACKNOWLEDGED != 0;
        let is_copy = *flags & SEEN != 0;
        *flags |= SEEN;
        let is_placed = promise.is_none_or(|promise| promise.offset.is_none_or(|offset| offset == place.offset));
        if is_placed {
            *flags |= PLACED;
        }
        let expected_ms = match promise {
            _ if !place.is_append_time => Some(seal.created_ms),
            Some(promise) if is_placed && promise.offset.is_some() => Some(promise.append_ms),
            _ => None,
        };
        let is_timely = expected_ms.is_none_or(|expected_ms| expected_ms == place.timestamp_ms);
        self.flaws.add(Flaw::WrongTimestamp, u64::from(!is_timely));
        if is_copy {
            match acknowledged || exactly_once {
                true => self.flaws.add(Flaw::Duplicated, 1),
                false => self.unknown_duplicated += 1,
            }
        } else if acknowledged {
            match self.highest {
                Some(highest) if number < highest => self.flaws.add(Flaw::Reordered, 1),
                _ => self.highest = Some(number),
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts =
            Counts { unknown_duplicated: self.unknown_duplicated, flaws: self.flaws.clone(), ..Default::default() };
        for flags in &self.records {
            let (seen, placed, astray) = (flags & SEEN != 0, flags & PLACED != 0, flags & ASTRAY != 0);
            if flags & ACKNOWLEDGED != 0 {
                counts.acknowledged += 1;
                counts.flaws.add(Flaw::Lost, u64::from(!seen && !astray));
                counts.flaws.add(Flaw::WrongOffset, u64::from(seen && !placed));
            } else {
                counts.unknown += 1;
                counts.unknown_present += u64::from(seen);
            }
        }
        counts
    }
}

/// All streams of a run, by their numbers.
#[derive(Debug)]
pub struct Ledger {
    run_id: u64,
    streams: Vec<Stream>,
    exactly_once: bool,
    flaws: Flaws,
}

impl Ledger {
    pub fn new(run_id: u64, streams: Vec<Stream>, exactly_once: bool) -> Self {
        Ledger { run_id, streams, exactly_once, flaws: Flaws::default() }
    }

    pub fn run_id(&self) -> u64 {
        self.run_id
    }

    pub fn see(&mut self, seal: &Seal, place: &Place) {
        if seal.run_id != self.run_id {
            self.flaws.add(Flaw::Stale, 1);
            return;
        }
        match self.streams.get_mut(seal.stream as usize) {
            Some(stream) => stream.see(seal, place, self.exactly_once),
            None => self.flaws.add(Flaw::Corrupted, 1),
        }
    }

    /// A flaw that belongs to no stream.
    pub fn add(&mut self, flaw: Flaw, count: u64) {
        self.flaws.add(flaw, count);
    }

    /// Flaws that readers found during the writing.
    pub fn add_all(&mut self, flaws: &Flaws) {
        self.flaws.add_all(flaws);
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { flaws: self.flaws.clone(), ..Default::default() };
        self.streams.iter().for_each(|stream| counts.add(&stream.counts()));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED_MS: i64 = 1_000;

    fn seal(number: u64) -> Seal {
        Seal { run_id: 5, stream: 1, number, created_ms: CREATED_MS }
    }

    fn place(offset: i64) -> Place {
        Place { partition: 7, offset, timestamp_ms: CREATED_MS, is_append_time: false }
    }

    fn promise(offset: i64) -> Promise {
        Promise { offset: Some(offset), append_ms: -1 }
    }

    /// Ten records of which those in `acknowledged` are, by so many at offsets from 100 on.
    fn ledger(acknowledged: Range<u64>, exactly_once: bool) -> Ledger {
        let mut stream = Stream::new(7);
        assert_eq!(stream.send(4), 0..4);
        assert_eq!(stream.send(6), 4..10);
        for number in acknowledged {
            stream.acknowledge(number..number + 1, promise(100 + number as i64));
        }
        assert!(stream.promised.len() <= 1, "what is contiguous takes one entry");
        Ledger::new(5, vec![Stream::new(3), stream], exactly_once)
    }

    /// What is found when each number of `seen` is read at the offset beside it.
    fn counts(mut ledger: Ledger, seen: &[(u64, i64)]) -> Counts {
        seen.iter().for_each(|&(number, offset)| ledger.see(&seal(number), &place(offset)));
        ledger.counts()
    }

    /// All ten where they were acknowledged.
    fn all() -> Vec<(u64, i64)> {
        (0..10).map(|number| (number, 100 + number as i64)).collect()
    }

    #[track_caller]
    fn assert_flaws(counts: &Counts, expected: &[(Flaw, u64)]) {
        assert_eq!(counts.flaws.0, expected.iter().copied().collect(), "{counts:?}");
    }

    #[test]
    fn all_there_once_in_order_is_faultless() {
        let counts = counts(ledger(0..10, true), &all());
        assert_flaws(&counts, &[]);
        assert_eq!((counts.acknowledged, counts.unknown), (10, 0));
    }

    #[test]
    fn acknowledged_and_absent_is_lost() {
        let seen: Vec<_> = all().into_iter().filter(|(number, _)| ![2, 6, 8, 9].contains(number)).collect();
        let counts = counts(ledger(0..8, false), &seen);
        assert_flaws(&counts, &[(Flaw::Lost, 2)]);
        assert_eq!((counts.unknown, counts.unknown_present), (2, 0));
    }

    #[test]
    fn unknown_records_may_be_there_or_not_and_anywhere() {
        let seen = [&all()[..6], &[(8, 150)]].concat();
        let counts = counts(ledger(0..6, false), &seen);
        assert_flaws(&counts, &[]);
        assert_eq!((counts.unknown, counts.unknown_present), (4, 1));
    }

    #[test]
    fn a_second_copy_counts_and_is_a_fault_unless_nobody_promised() {
        let acknowledged = [&all()[..], &[(3, 110), (3, 111)]].concat();
        assert_flaws(&counts(ledger(0..10, false), &acknowledged), &[(Flaw::Duplicated, 2)]);
        let unknown = [&all()[..], &[(9, 110)]].concat();
        let allowed = counts(ledger(0..9, false), &unknown);
        assert_flaws(&allowed, &[]);
        assert_eq!(allowed.unknown_duplicated, 1);
        let forbidden = counts(ledger(0..9, true), &unknown);
        assert_flaws(&forbidden, &[(Flaw::Duplicated, 1)]);
        assert_eq!(forbidden.unknown_duplicated, 0);
    }

    #[test]
    fn order_is_that_of_acknowledged_records() {
        let seen: Vec<_> = [0, 2, 1, 3, 4, 5, 9, 6, 7, 8].into_iter().map(|number| (number, number as i64)).collect();
        let mut stream = Stream::new(7);
        stream.send(10);
        // The broker does not say where they are.
        stream.acknowledge(0..10, Promise { offset: None, append_ms: -1 });
        let swapped = counts(Ledger::new(5, vec![Stream::new(3), stream], true), &seen);
        assert_flaws(&swapped, &[(Flaw::Reordered, 4)]);
        // 9 is unknown: a request that the broker took up late.
        let late = [&[(9, 99)], &all()[..9]].concat();
        assert_flaws(&counts(ledger(0..9, false), &late), &[]);
    }

    #[test]
    fn a_record_is_where_the_acknowledgement_says() {
        let shifted: Vec<_> = all().into_iter().map(|(number, offset)| (number, offset + 1)).collect();
        assert_flaws(&counts(ledger(0..10, false), &shifted), &[(Flaw::WrongOffset, 10)]);
        // One of two copies is in its place.
        let copied = [&[(0, 99)], &all()[..]].concat();
        assert_flaws(&counts(ledger(0..10, false), &copied), &[(Flaw::Duplicated, 1)]);
        let mut negative = Stream::new(7);
        negative.send(1);
        negative.acknowledge(0..1, promise(-1));
        let negative = Ledger::new(5, vec![Stream::new(3), negative], false);
        assert_flaws(&counts(negative, &[(0, 0)]), &[(Flaw::WrongOffset, 1)]);
    }

    #[test]
    fn promises_are_kept_apart_where_they_do_not_follow_each_other() {
        let mut stream = Stream::new(7);
        stream.send(10);
        for (numbers, offset) in [(4..6, 50), (0..2, 10), (2..4, 12), (6..8, 52), (8..10, 70)] {
            stream.acknowledge(numbers, promise(offset));
        }
        let offsets: Vec<_> = (0..11).map(|number| stream.promise(number).and_then(|promise| promise.offset)).collect();
        let expected = [10, 11, 12, 13, 50, 51, 52, 53, 70, 71].map(Some);
        assert_eq!((&offsets[..10], offsets[10], stream.promised.len()), (&expected[..], None, 3));
    }

    #[test]
    fn another_partition_is_a_fault_and_no_loss() {
        let mut ledger = ledger(0..9, false);
        for (number, offset) in all() {
            ledger.see(&seal(number), &Place { partition: 3, ..place(offset) });
        }
        let counts = ledger.counts();
        assert_flaws(&counts, &[(Flaw::WrongPartition, 10)]);
        assert_eq!(counts.unknown_present, 0);
    }

    #[test]
    fn times_are_those_sent_or_those_that_the_broker_said() {
        let see = |append_ms, timestamp_ms, is_append_time| {
            let mut stream = Stream::new(7);
            stream.send(2);
            stream.acknowledge(0..1, Promise { offset: Some(0), append_ms });
            let mut ledger = Ledger::new(5, vec![Stream::new(3), stream], false);
            for number in 0..2 {
                let place = Place { partition: 7, offset: number, timestamp_ms, is_append_time };
                ledger.see(&seal(number as u64), &place);
            }
            ledger.counts().flaws.count(Flaw::WrongTimestamp)
        };
        assert_eq!(see(-1, CREATED_MS, false), 0);
        assert_eq!(see(-1, CREATED_MS + 1, false), 2);
        assert_eq!(see(2_000, 2_000, true), 0);
        // Only of the acknowledged record it is known what the broker set.
        assert_eq!(see(2_000, 2_001, true), 1);
        assert_eq!(see(-1, 2_000, true), 1);
        // A batch that was there already is acknowledged with its own time.
        assert_eq!(see(CREATED_MS, CREATED_MS, false), 0);
    }

    #[test]
    fn what_was_never_sent_is_corrupt_and_what_others_sent_is_theirs() {
        let mut ledger = Ledger::new(5, vec![Stream::new(7)], true);
        ledger.see(&Seal { stream: 0, ..seal(0) }, &place(0));
        ledger.see(&seal(0), &place(1));
        ledger.see(&Seal { run_id: 4, ..seal(0) }, &place(2));
        ledger.add(Flaw::Corrupted, 5);
        ledger.add(Flaw::Foreign, 0);
        assert_flaws(&ledger.counts(), &[(Flaw::Corrupted, 7), (Flaw::Stale, 1)]);
    }
}
