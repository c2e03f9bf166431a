//! What was sent and acknowledged, held against what is read back.
//!
//! A stream is what one writer sends to one partition: records numbered from 0, each number sent under one identity only, so that a
//! faithful broker keeps every acknowledged number once and in order. A number whose request got no answer is unknown: it may or may
//! not be there.

use std::ops::Range;

const ACKNOWLEDGED: u8 = 1;
const SEEN: u8 = 2;

/// Records by what became of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    pub acknowledged: u64,
    /// Sent and never acknowledged.
    pub unknown: u64,
    /// Those of the unknown that are there.
    pub unknown_present: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// Copies beyond the first of a record that may not have any.
    pub duplicated: u64,
    /// Acknowledged and behind an acknowledged one with a higher number.
    pub reordered: u64,
    /// Read and not what was sent: a wrong checksum of a batch or of a value, or a number that was never sent.
    pub corrupted: u64,
}

impl Counts {
    pub fn faultless(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0 && self.corrupted == 0
    }

    fn add(&mut self, other: &Counts) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.unknown_present += other.unknown_present;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

/// The records of one writer in one partition.
#[derive(Clone, Default, Debug)]
pub struct Stream {
    /// A byte of flags for each number that was sent.
    records: Vec<u8>,
    /// The highest acknowledged number that was read.
    highest: Option<u64>,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

impl Stream {
    /// Gives out the next `count` numbers, which are unknown until they are acknowledged.
    pub fn send(&mut self, count: usize) -> Range<u64> {
        let first = self.records.len();
        self.records.resize(first + count, 0);
        first as u64..(first + count) as u64
    }

    pub fn acknowledge(&mut self, numbers: Range<u64>) {
        assert!(numbers.end <= self.records.len() as u64, "acknowledged before it was sent");
        for flags in &mut self.records[numbers.start as usize..numbers.end as usize] {
            *flags |= ACKNOWLEDGED;
        }
    }

    /// A record was read; call in the order of offsets, when no more is sent. `exactly_once` says that even an unknown record may be
    /// there only once.
    pub fn see(&mut self, number: u64, exactly_once: bool) {
        let Some(flags) = usize::try_from(number).ok().and_then(|number| self.records.get_mut(number)) else {
            self.corrupted += 1;
            return;
        };
        let acknowledged = *flags & ACKNOWLEDGED != 0;
        if *flags & SEEN != 0 {
            self.duplicated += u64::from(acknowledged || exactly_once);
            return;
        }
        *flags |= SEEN;
        if acknowledged {
            match self.highest {
                Some(highest) if number < highest => self.reordered += 1,
                _ => self.highest = Some(number),
            }
        }
    }

    fn counts(&self) -> Counts {
        let with = |wanted: u8| self.records.iter().filter(|&&flags| flags == wanted).count() as u64;
        let (present, lost) = (with(ACKNOWLEDGED | SEEN), with(ACKNOWLEDGED));
        let (unknown_present, unknown_absent) = (with(SEEN), with(0));
        Counts {
            acknowledged: present + lost,
            unknown: unknown_present + unknown_absent,
            unknown_present,
            lost,
            duplicated: self.duplicated,
            reordered: self.reordered,
            corrupted: self.corrupted,
        }
    }
}

/// All streams of a run, by their numbers.
#[derive(Debug)]
pub struct Ledger {
    streams: Vec<Stream>,
    exactly_once: bool,
    corrupted: u64,
}

impl Ledger {
    pub fn new(streams: Vec<Stream>, exactly_once: bool) -> Self {
        Ledger { streams, exactly_once, corrupted: 0 }
    }

    pub fn see(&mut self, stream: u32, number: u64) {
        match self.streams.get_mut(stream as usize) {
            Some(found) => found.see(number, self.exactly_once),
            None => self.corrupted += 1,
        }
    }

    /// Records were read that cannot be told apart from each other any more.
    pub fn corrupt(&mut self, records: u64) {
        self.corrupted += records;
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { corrupted: self.corrupted, ..Default::default() };
        self.streams.iter().for_each(|stream| counts.add(&stream.counts()));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten records of which those in `acknowledged` are, read back as `seen`.
    fn counts(acknowledged: Range<u64>, seen: &[u64], exactly_once: bool) -> Counts {
        let mut stream = Stream::default();
        assert_eq!(stream.send(4), 0..4);
        assert_eq!(stream.send(6), 4..10);
        stream.acknowledge(acknowledged);
        let mut ledger = Ledger::new(vec![Stream::default(), stream], exactly_once);
        seen.iter().for_each(|&number| ledger.see(1, number));
        ledger.counts()
    }

    const ALL: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn all_there_once_in_order_is_faultless() {
        let counts = counts(0..10, &ALL, true);
        assert!(counts.faultless());
        assert_eq!((counts.acknowledged, counts.unknown), (10, 0));
    }

    #[test]
    fn acknowledged_and_absent_is_lost() {
        let counts = counts(0..8, &[0, 1, 3, 4, 5, 7], false);
        assert_eq!((counts.lost, counts.unknown, counts.unknown_present), (2, 2, 0));
        assert!(!counts.faultless());
    }

    #[test]
    fn unknown_records_may_be_there_or_not() {
        let counts = counts(0..6, &[0, 1, 2, 3, 4, 5, 8], false);
        assert!(counts.faultless());
        assert_eq!((counts.unknown, counts.unknown_present), (4, 1));
    }

    #[test]
    fn a_second_copy_is_a_duplicate_unless_nobody_promised() {
        assert_eq!(counts(0..10, &[&ALL[..], &[3, 3]].concat(), false).duplicated, 2);
        let unknown = [&ALL[..], &[9]].concat();
        assert_eq!(counts(0..9, &unknown, false).duplicated, 0);
        assert_eq!(counts(0..9, &unknown, true).duplicated, 1);
        assert_eq!(counts(0..10, &[&ALL[..], &[3]].concat(), false).reordered, 0);
    }

    #[test]
    fn order_is_that_of_acknowledged_records() {
        let swapped = counts(0..10, &[0, 2, 1, 3, 4, 5, 9, 6, 7, 8], true);
        assert_eq!((swapped.reordered, swapped.lost), (4, 0));
        // 9 is unknown: a request that the broker took up late.
        assert!(counts(0..9, &[9, 0, 1, 2, 3, 4, 5, 6, 7, 8], false).faultless());
    }

    #[test]
    fn what_was_never_sent_is_corrupt() {
        let mut ledger = Ledger::new(vec![Stream::default()], true);
        ledger.see(0, 0);
        ledger.see(1, 0);
        ledger.corrupt(5);
        assert_eq!(ledger.counts().corrupted, 7);
    }
}
