//! What a group was delivered: which records and how often, and how long its partitions paused in rebalances.

use crate::tally::histogram;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Members by their places among the group's.
pub type Owners = BTreeMap<i32, usize>;

struct Place {
    start: i64,
    /// A bit for each record from `start` on.
    seen: Vec<u64>,
    last_ns: u64,
    /// The longest time without a record since a rebalance began, while one goes on.
    pause_ns: Option<u64>,
    /// After the rebalance: whether the owner is as before. The next record ends the pause.
    kept: Option<bool>,
}

/// Partitions of one group.
pub struct Delivery {
    places: BTreeMap<i32, Place>,
    /// When the last record was written: what comes later is no pause.
    flow_end_ns: u64,
    owners_before: Owners,
    pub first_ns: Option<u64>,
    /// Records, each counted once, and repetitions.
    pub distinct: u64,
    pub duplicates: u64,
    /// Nanoseconds without delivery of partitions that stayed where they were, and of those that did not.
    pub kept: Histogram<u64>,
    pub moved: Histogram<u64>,
}

impl Delivery {
    pub fn new(starts: &BTreeMap<i32, i64>) -> Delivery {
        let place = |(&partition, &start): (&i32, &i64)| {
            (partition, Place { start, seen: Vec::new(), last_ns: 0, pause_ns: None, kept: None })
        };
        Delivery {
            places: starts.iter().map(place).collect(),
            flow_end_ns: u64::MAX,
            owners_before: Owners::new(),
            first_ns: None,
            distinct: 0,
            duplicates: 0,
            kept: histogram(),
            moved: histogram(),
        }
    }

    /// No more records are written from here on.
    pub fn flow_ends(&mut self, now_ns: u64) {
        self.flow_end_ns = self.flow_end_ns.min(now_ns);
    }

    /// Records from `from` up to before `end` have arrived.
    pub fn deliver(&mut self, partition: i32, from: i64, end: i64, now_ns: u64) {
        let Some(place) = self.places.get_mut(&partition) else { return };
        self.first_ns.get_or_insert(now_ns);
        for number in (from.max(place.start) - place.start)..(end - place.start) {
            let (word, bit) = (number as usize / 64, 1 << (number % 64));
            if place.seen.len() <= word {
                place.seen.resize(word + 1, 0);
            }
            let again = place.seen[word] & bit != 0;
            place.seen[word] |= bit;
            self.distinct += u64::from(!again);
            self.duplicates += u64::from(again);
        }
        let since_ns = now_ns.min(self.flow_end_ns).saturating_sub(place.last_ns);
        place.last_ns = now_ns;
        place.pause_ns = place.pause_ns.map(|pause_ns| pause_ns.max(since_ns));
        self.end_pause(partition);
    }

    fn end_pause(&mut self, partition: i32) {
        let place = self.places.get_mut(&partition).expect("it was just there");
        let Some(kept) = place.kept.take() else { return };
        let pause_ns = place.pause_ns.take().expect("a rebalance has begun before it ended");
        let pauses = if kept { &mut self.kept } else { &mut self.moved };
        pauses.saturating_record(pause_ns);
    }

    /// A rebalance begins, unless one goes on. Partitions that have never had a record have nothing to pause.
    pub fn rebalance_begins(&mut self, owners: &Owners) {
        if self.places.values().any(|place| place.pause_ns.is_some() && place.kept.is_none()) {
            return;
        }
        self.owners_before = owners.clone();
        for place in self.places.values_mut().filter(|place| place.last_ns > 0) {
            place.pause_ns = Some(0);
            place.kept = None;
        }
    }

    pub fn rebalance_ends(&mut self, owners: &Owners) {
        let before = &self.owners_before;
        for (partition, place) in self.places.iter_mut().filter(|(_, place)| place.pause_ns.is_some()) {
            place.kept = Some(before.contains_key(partition) && before.get(partition) == owners.get(partition));
        }
    }

    /// Nothing more comes: pauses that no record has ended last until here, or until no more was written.
    pub fn end(&mut self, now_ns: u64) {
        let partitions: Vec<i32> = self.places.keys().copied().collect();
        for partition in partitions {
            let place = self.places.get_mut(&partition).expect("it is a key");
            let since_ns = now_ns.min(self.flow_end_ns).saturating_sub(place.last_ns);
            place.pause_ns = place.pause_ns.map(|pause_ns| pause_ns.max(since_ns));
            self.end_pause(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery::new(&BTreeMap::from([(0, 100), (1, 0), (2, 0)]))
    }

    #[test]
    fn records_are_counted_once_and_repetitions_apart() {
        let mut delivery = delivery();
        delivery.deliver(0, 100, 180, 5);
        delivery.deliver(0, 190, 200, 6);
        delivery.deliver(0, 170, 195, 7);
        // What was there before the run, and what nobody reads.
        delivery.deliver(0, 90, 100, 8);
        delivery.deliver(9, 0, 10, 8);
        assert_eq!((delivery.first_ns, delivery.distinct, delivery.duplicates), (Some(5), 100, 15));
    }

    #[test]
    fn pauses_are_those_around_a_rebalance() {
        let ms = |ms: u64| ms * 1_000_000;
        let mut delivery = delivery();
        for at in [10, 30] {
            (0..2).for_each(|partition| delivery.deliver(partition, at, at + 1, ms(at as u64)));
        }
        delivery.rebalance_begins(&Owners::from([(0, 1), (1, 1)]));
        delivery.deliver(0, 35, 36, ms(35));
        // Another event in the middle of it is part of the same rebalance.
        delivery.rebalance_begins(&Owners::new());
        delivery.deliver(0, 43, 44, ms(43));
        delivery.rebalance_ends(&Owners::from([(0, 1), (1, 2), (2, 2)]));
        delivery.deliver(0, 45, 46, ms(45));
        delivery.deliver(1, 90, 91, ms(90));
        delivery.deliver(1, 200, 201, ms(200));
        delivery.end(ms(300));
        let only = |pauses: &Histogram<u64>| (pauses.len(), (pauses.max() as f64 / 1e6).round() as u64);
        assert_eq!((only(&delivery.kept), only(&delivery.moved)), ((1, 8), (1, 60)));
        delivery.rebalance_begins(&Owners::from([(0, 1), (1, 1)]));
        delivery.rebalance_ends(&Owners::from([(0, 1), (1, 1)]));
        delivery.end(ms(300));
        assert_eq!(only(&delivery.kept), (3, 255), "a pause without end counts too");
    }

    #[test]
    fn pauses_end_when_nothing_is_written_any_more() {
        let ms = |ms: u64| ms * 1_000_000;
        let mut delivery = delivery();
        (0..3).for_each(|partition| delivery.deliver(partition, 100, 101, ms(10)));
        let owners = Owners::from([(0, 1), (1, 1), (2, 1)]);
        delivery.rebalance_begins(&owners);
        delivery.flow_ends(ms(40));
        delivery.rebalance_ends(&owners);
        delivery.deliver(0, 101, 102, ms(45_000));
        delivery.end(ms(50_000));
        assert_eq!((delivery.kept.len(), (delivery.kept.max() as f64 / 1e6).round()), (3, 30.0));
    }
}
