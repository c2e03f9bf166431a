//! What is due of a load on schedule and has no answer, looked at while it goes on.

use std::collections::BTreeMap;

/// How often it is looked at.
pub const PERIOD_NS: u64 = 100_000_000;
/// Fewer looks do not show whether it grows.
const LOOKS_MIN: usize = 5;
/// Of what is due, the share that the backlog may seem to grow by: a tenth of the precision that a rate is searched with.
const GROWTH_MAX: f64 = 0.005;
/// It scatters about as the root of its size does, in requests; so many times that is no growth yet.
const SCATTER: f64 = 3.0;
const SECOND_NS: f64 = 1e9;

/// One thread's records without an answer, by the number of the period in which they were counted.
pub type Looks = BTreeMap<u64, u64>;

/// Records without an answer of a whole load, at seconds of its measured part.
#[derive(Clone, Default, Debug)]
pub struct Backlog(Vec<(f64, f64)>);

impl Backlog {
    /// Of all threads. One that did not look in a period has what it had before.
    pub fn of(threads: &[Looks]) -> Backlog {
        let periods = threads.iter().flat_map(|looks| looks.keys()).collect::<std::collections::BTreeSet<_>>();
        let at = |looks: &Looks, period: u64| looks.range(..=period).next_back().map_or(0, |(_, &count)| count);
        let sum = |period: u64| threads.iter().map(|looks| at(looks, period)).sum::<u64>() as f64;
        let seconds = |period: u64| period as f64 * PERIOD_NS as f64 / SECOND_NS;
        Backlog(periods.into_iter().map(|&period| (seconds(period), sum(period))).collect())
    }

    /// Records a second by which it grew while so many a second were due, in requests of so many each; 0 if that may be chance.
    /// `None` if too little was seen.
    pub fn growth(&self, records_per_second: f64, size: f64) -> Option<f64> {
        let [(first, _), .., (last, _)] = self.0[..] else { return None };
        if self.0.len() < LOOKS_MIN {
            return None;
        }
        let count = self.0.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| self.0.iter().map(of).sum::<f64>() / count;
        let (seconds, records) = (mean(|look| look.0), mean(|look| look.1));
        let product = self.0.iter().map(|look| (look.0 - seconds) * (look.1 - records)).sum::<f64>();
        let square = self.0.iter().map(|look| (look.0 - seconds) * (look.0 - seconds)).sum::<f64>();
        // Least squares.
        let (slope, span) = (product / square, last - first);
        let scatter = SCATTER * size * (1.0 + records / size).sqrt();
        let chance = GROWTH_MAX * records_per_second * span + scatter;
        Some(if slope * span > chance { slope } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two threads, ten seconds: at each look what `count` says.
    fn backlog(count: impl Fn(u64) -> u64) -> Backlog {
        let looks: Looks = (0..100).map(|period| (period, count(period))).collect();
        Backlog::of(&[looks.clone(), looks])
    }

    #[test]
    fn what_stays_and_scatters_does_not_grow() {
        // As much as 20 ms have of 10,000 a second, now and then nothing or thrice as much, and a pause at the end.
        let steady = |period: u64| 100 + 37 * (period % 5) * (period % 3) / 8;
        let uneven = |period: u64| if period.is_multiple_of(7) { 0 } else { 300 * (period % 2) };
        let pause = |period: u64| if period > 97 { 1_000 } else { 100 };
        let counts: [&dyn Fn(u64) -> u64; 4] = [&steady, &uneven, &pause, &|_| 0];
        for (n, count) in counts.iter().enumerate() {
            assert_eq!(backlog(count).growth(10_000.0, 1.0), Some(0.0), "{n}");
        }
        // Little is due, and of that one more than before.
        assert_eq!(backlog(|period| period / 50).growth(10.0, 1.0), Some(0.0));
    }

    #[test]
    fn what_is_not_kept_up_with_grows() {
        // Of 10,000 a second the broker takes one in a hundred less; it was already behind.
        for behind in [0, 5_000] {
            let growth = backlog(|period| behind + 5 * period + period % 3).growth(10_000.0, 1.0).unwrap();
            assert!((growth - 100.0).abs() < 5.0, "{growth}");
        }
        assert!(backlog(|period| 1_000 - 5 * period).growth(10_000.0, 1.0) == Some(0.0));
    }

    #[test]
    fn little_that_was_seen_says_nothing() {
        assert_eq!(Backlog::of(&[Looks::new()]).growth(1.0, 1.0), None);
        assert_eq!(Backlog::of(&[(0..4).map(|period| (period, 1_000 * period)).collect()]).growth(1.0, 1.0), None);
        // A thread that looked less often counts with what it saw last.
        let (often, seldom) = ((0..6).map(|period| (period, 1)).collect(), Looks::from([(1, 5)]));
        assert_eq!(Backlog::of(&[often, seldom]).0[..3], [(0.0, 1.0), (0.1, 6.0), (0.2, 6.0)]);
    }
}
