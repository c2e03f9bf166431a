//! Producers that are forgotten: those that have expired, and beyond the limit of a core those that were silent for longest.
//!
//! A sweep passes over all logs, some of them a turn. It counts who stays by how long ago they were heard of; if that is more
//! than the limit, the next pass follows at once, and forgets those above the age that the count has shown.

use super::{PARTITIONS_PER_TURN, PRODUCERS_PER_TURN, Store};
use crate::types::{Now, Time};

/// What of producers a core keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerLimits {
    /// `producer.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub check_interval_ms: u64,
    /// `core.producers.max`.
    pub producers_max: usize,
}

/// What a sweep leaves of the limit, so that the next one is not due at once.
const LEFT_SHARE: usize = 8;
/// A sweep that could not forget enough, because batches are on their way to the disk, is followed by another after this.
const AGAIN_MS: u64 = 100;
/// Ages are told apart to one part in so many.
const AGE_PARTS: u64 = 16;

/// How many producers have which age in milliseconds.
#[derive(Default, Debug)]
struct Ages(Vec<usize>);

/// The class of an age: exact below [`AGE_PARTS`], above that so many classes for each power of two.
fn class(age_ms: u64) -> usize {
    let shift = age_ms.checked_ilog2().unwrap_or(0).saturating_sub(AGE_PARTS.ilog2());
    (u64::from(shift) * AGE_PARTS + (age_ms >> shift)) as usize
}

/// The lowest age of a class.
fn age_min(class: usize) -> u64 {
    let class = class as u64;
    match class / AGE_PARTS {
        0 | 1 => class,
        power => (AGE_PARTS + class % AGE_PARTS) << (power - 1),
    }
}

impl Ages {
    fn note(&mut self, age_ms: u64) {
        let class = class(age_ms);
        if self.0.len() <= class {
            self.0.resize(class + 1, 0);
        }
        self.0[class] += 1;
    }

    fn count(&self) -> usize {
        self.0.iter().sum()
    }

    /// The age from which on those are that must go so that at most `most` stay.
    fn limit_ms(&self, most: usize) -> u64 {
        let mut stay = self.count();
        let mut oldest = (0..self.0.len()).rev();
        loop {
            let Some(class) = oldest.next() else { return 0 };
            stay -= self.0[class];
            if stay <= most {
                return age_min(class);
            }
        }
    }
}

/// A pass over all logs.
#[derive(Debug)]
struct Pass {
    /// The place of the next log.
    next: u32,
    begun_ms: i64,
    /// Who was last heard of before this goes.
    before_ms: i64,
    /// Because there are too many.
    crowded: bool,
    ages: Ages,
}

#[derive(Default, Debug)]
pub(super) struct Sweep {
    pass: Option<Pass>,
    due: Time,
    /// There were too many, and no more could go: not before then.
    again: Time,
    /// How many producers the last pass has left, and who has come since.
    pub(super) producers: usize,
}

impl Sweep {
    pub(super) fn is_under_way(&self) -> bool {
        self.pass.is_some()
    }
}

impl Store {
    /// A turn's share of forgetting producers.
    pub fn sweep_producers(&mut self, now: Now, limits: &ProducerLimits) {
        let expired_ms = now.wall_ms - limits.expiration_ms;
        let crowded = self.sweep.producers > limits.producers_max && now.mono >= self.sweep.again;
        if self.sweep.pass.is_none() && (now.mono >= self.sweep.due || crowded) {
            self.sweep.due = now.mono.after_ms(limits.check_interval_ms);
            self.sweep.producers = 0;
            self.sweep.pass = Some(Pass::new(now, expired_ms, false));
        }
        let Some(mut pass) = self.sweep.pass.take() else { return };
        if !self.pass_on(&mut pass) {
            self.sweep.pass = Some(pass);
            return;
        }
        if pass.ages.count() <= limits.producers_max {
            return;
        }
        if pass.crowded {
            self.sweep.again = now.mono.after_ms(AGAIN_MS);
            return;
        }
        let left = limits.producers_max - limits.producers_max / LEFT_SHARE;
        let before_ms = pass.begun_ms.saturating_sub_unsigned(pass.ages.limit_ms(left)) + 1;
        self.sweep.producers = 0;
        self.sweep.pass = Some(Pass::new(now, expired_ms.max(before_ms), true));
    }

    /// Looks at some logs; whether they were the last ones.
    fn pass_on(&mut self, pass: &mut Pass) -> bool {
        let (mut logs, mut producers) = (0, 0);
        for (place, stored) in self.logs.from(pass.next) {
            if logs == PARTITIONS_PER_TURN || producers >= PRODUCERS_PER_TURN {
                pass.next = place;
                return false;
            }
            logs += 1;
            let durable_end = stored.log.durable_end();
            let of_log = stored.log.producers_mut();
            producers += of_log.len();
            of_log.expire(pass.before_ms, durable_end);
            self.sweep.producers += of_log.len();
            for (_, producer) in of_log.iter() {
                pass.ages.note(pass.begun_ms.saturating_sub(producer.seen_ms).max(0) as u64);
            }
        }
        true
    }
}

impl Pass {
    fn new(now: Now, before_ms: i64, crowded: bool) -> Pass {
        Pass { next: 0, begun_ms: now.wall_ms, before_ms, crowded, ages: Ages::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_apart() {
        let mut last = 0;
        for age in (0..100_000).chain([1 << 40, u64::MAX >> 1]) {
            let class = class(age);
            assert!(age_min(class) <= age && age - age_min(class) <= age / AGE_PARTS, "{age}");
            assert!(class >= last, "{age}");
            last = class;
        }
    }

    #[test]
    fn the_oldest_go() {
        let mut ages = Ages::default();
        assert_eq!(ages.limit_ms(0), 0);
        (0..1000).for_each(|number| ages.note(10 * number));
        let limit = ages.limit_ms(500);
        let stay = (0..1000).filter(|number| 10 * number < limit).count();
        assert!((450..=500).contains(&stay), "{stay}");
        assert_eq!(ages.limit_ms(1000), age_min(class(9990)), "somebody goes in any case");
    }
}
