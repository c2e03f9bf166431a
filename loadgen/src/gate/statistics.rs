//! Whether two sets of runs differ: the ratio of their medians, how sure it is, and what follows.
//!
//! One run is one observation: within a run samples hang together, and what differs from run to run (placement in memory, the
//! state of drives and caches, frequency, neighbours) is seen between runs only. So the interval comes from a bootstrap over
//! runs, as in Kalibera and Jones, "Quantifying Performance Changes with Effect Size Confidence Intervals" (2012): both sides
//! are drawn again with replacement, and the middle 95 % of the ratios of the medians are the interval. The median lets one
//! run of five go astray.
//!
//! At five a side the bootstrap of a median is coarse: it can only give ratios of two runs. It covers the true ratio in 96 to
//! 97 % of tries for normal noise of 1 to 5 % all the same (`the_interval_covers_the_ratio`), but is wide: with noise of 3 % it
//! reaches 5 % to each side. An interval that excludes 1 therefore is not yet a difference that matters, and one that includes
//! 1 not yet equality. Two bounds part the cases: a change counts from `margin` on, and is ruled out only where the interval
//! ends within `RULED_OUT_MARGINS` times that. In between nothing is decided. With noise of 3 % and the margin of 3 % equal
//! sets are "same" in 97 % of tries and a change by 10 % is seen in 97 %; more noise gives "undecided", not a false answer.
//!
//! Runs that were made in turn, one of each side after the other, have neighbours: what drifts (a neighbour's load, a drive's
//! state, frequency) is much the same in both. Where the pairs show that, by the correlation of their logarithms, the medians
//! of the pairs' own ratios are drawn instead, and the drift cancels; the interval is widened by the root of n/(n-1), since
//! bootstrap intervals of few values are too narrow by that (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015).
//! With noise of 2 % and drift of 5 % from pair to pair, equal sets are "same" in 97 % of tries instead of 68 %, and a change by
//! 10 % is seen in 97 % instead of 61 %. Pairs without drift would lose by it, and are not taken.

/// Runs a side below which nothing is decided.
pub const RUNS_MIN: usize = 5;
/// A change is ruled out if the interval ends within so many margins.
pub const RULED_OUT_MARGINS: f64 = 4.0;
/// Runs a side at most: the work rises with the fourth power of their number.
pub const RUNS_MAX: usize = 100;
const TAIL: f64 = 0.025;
/// Shares that cannot matter in a tail.
const SHARE_MIN: f64 = 1e-9;
/// Pairs of runs hang together from this correlation on.
const CORRELATION_MIN: f64 = 0.8;
/// Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993): distance from the median in median absolute deviations,
/// which for normal noise are 0.6745 standard deviations.
const OUTLIER_SCORE: f64 = 3.5;
const MAD_NORMAL: f64 = 0.6745;

/// The medians' ratio, new to base, and the ends of its interval where there are runs enough.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    pub ratio: f64,
    pub interval: Option<(f64, f64)>,
}

/// What is known of a change that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Seen,
    RuledOut,
    Undecided,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Better,
    Worse,
    Same,
    Undecided,
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The median of one side's runs and the ends of its interval, where there are runs enough.
pub fn median_interval(values: &[f64]) -> Option<[f64; 3]> {
    let middle = median(values).filter(|_| values.len() >= RUNS_MIN)?;
    // Shares of the medians that can be drawn, from the lowest on and from the highest on.
    let mut medians = drawn_medians(values);
    medians.sort_by(|a, b| a.0.total_cmp(&b.0));
    let reversed: Vec<(f64, f64)> = medians.iter().rev().copied().collect();
    Some([middle, tail(&medians), tail(&reversed)])
}

impl Change {
    /// `None` where there is no ratio: without a run, or with values that are not above zero.
    pub fn between(base: &[f64], new: &[f64]) -> Option<Change> {
        let has_ratio = |values: &[f64]| values.iter().all(|value| value.is_finite() && *value > 0.0);
        if !has_ratio(base) || !has_ratio(new) {
            return None;
        }
        let ratio = median(new)? / median(base)?;
        let enough = base.len().min(new.len()) >= RUNS_MIN;
        Some(Change { ratio, interval: enough.then(|| interval(base, new)) })
    }

    /// The same from runs that were made in turn. `None` also where those of a pair have nothing in common.
    pub fn of_pairs(pairs: &[(f64, f64)]) -> Option<Change> {
        let is_usable = |value: f64| value.is_finite() && value > 0.0;
        if pairs.len() < RUNS_MIN || !pairs.iter().all(|&(base, new)| is_usable(base) && is_usable(new)) {
            return None;
        }
        let logs: Vec<(f64, f64)> = pairs.iter().map(|(base, new)| (base.ln(), new.ln())).collect();
        if correlation(&logs)? < CORRELATION_MIN {
            return None;
        }
        let changes: Vec<f64> = logs.iter().map(|(base, new)| new - base).collect();
        let [middle, low, high] = median_interval(&changes)?;
        let widening = (pairs.len() as f64 / (pairs.len() - 1) as f64).sqrt();
        let end = |at: f64| (middle + (at - middle) * widening).exp();
        Some(Change { ratio: middle.exp(), interval: Some((end(low), end(high))) })
    }

    /// Whether the value rose by at least `margin` (0.05 is 5 %).
    pub fn rise(&self, margin: f64) -> Fate {
        let Some((low, high)) = self.interval else { return Fate::Undecided };
        match () {
            () if low > 1.0 && self.ratio >= 1.0 + margin => Fate::Seen,
            () if high <= 1.0 + RULED_OUT_MARGINS * margin => Fate::RuledOut,
            () => Fate::Undecided,
        }
    }

    /// Whether the value fell by at least `margin`; 1 / (1 + m) is as far below 1 as 1 + m is above.
    pub fn fall(&self, margin: f64) -> Fate {
        let turned = self.interval.map(|(low, high)| (1.0 / high, 1.0 / low));
        Change { ratio: 1.0 / self.ratio, interval: turned }.rise(margin)
    }

    pub fn verdict(&self, less_is_better: bool, margin: f64) -> Verdict {
        let (rise, fall) = (self.rise(margin), self.fall(margin));
        match (rise, fall) {
            (Fate::Seen, _) if less_is_better => Verdict::Worse,
            (Fate::Seen, _) => Verdict::Better,
            (_, Fate::Seen) if less_is_better => Verdict::Better,
            (_, Fate::Seen) => Verdict::Worse,
            (Fate::RuledOut, Fate::RuledOut) => Verdict::Same,
            _ => Verdict::Undecided,
        }
    }
}

/// The places of the runs of each pair, if the runs were made in turn: by their times, one of each side after the other.
pub fn in_turn(base: &[Option<u64>], new: &[Option<u64>]) -> Option<Vec<(usize, usize)>> {
    let of = |side, times: &[Option<u64>]| -> Option<Vec<(u64, bool, usize)>> {
        times.iter().enumerate().map(|(place, time)| Some(((*time)?, side, place))).collect()
    };
    let mut runs = of(false, base)?;
    runs.extend(of(true, new)?);
    runs.sort_unstable();
    let pairs: Option<Vec<(usize, usize)>> = runs
        .chunks(2)
        .map(|pair| match *pair {
            [(_, false, base), (_, true, new)] | [(_, true, new), (_, false, base)] => Some((base, new)),
            _ => None,
        })
        .collect();
    // Of runs with the same time in two pairs nobody knows which were neighbours.
    let are_apart = runs.chunks(2).map_while(|pair| pair.get(1)).zip(runs.iter().skip(2).step_by(2));
    pairs.filter(|_| are_apart.into_iter().all(|(last, next)| last.0 < next.0))
}

/// Pearson's; `None` where one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let count = pairs.len() as f64;
    let (a, b) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / count, sum.1 + pair.1 / count));
    let sum = |of: fn(f64, f64) -> f64| pairs.iter().map(|pair| of(pair.0 - a, pair.1 - b)).sum::<f64>();
    let spread = (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
    (spread > 0.0).then(|| sum(|a, b| a * b) / spread)
}

/// The middle of the ratios that both sides give when each is drawn again from its own runs.
fn interval(base: &[f64], new: &[f64]) -> (f64, f64) {
    let (base, new) = (drawn_medians(base), drawn_medians(new));
    let pair = |&(new, share): &(f64, f64)| base.iter().map(move |(base, other)| (new / base, share * other));
    let mut ratios: Vec<(f64, f64)> = new.iter().flat_map(pair).collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let reversed: Vec<(f64, f64)> = ratios.iter().rev().copied().collect();
    (tail(&ratios), tail(&reversed))
}

/// The first ratio that has the tail at or outside of it.
fn tail(ratios: &[(f64, f64)]) -> f64 {
    let mut outside = 0.0;
    let found = ratios.iter().find(|(_, share)| {
        outside += share;
        outside >= TAIL
    });
    found.expect("shares add up to 1").0
}

/// The medians that values drawn again, with replacement, can have, and the share of each. This is what resampling without
/// end would come to (Maritz and Jarrett, "A Note on Estimating the Variance of the Sample Median", 1978): the same runs give
/// the same interval each time.
fn drawn_medians(values: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    assert!((1..=RUNS_MAX).contains(&count));
    let part = |number: usize| number as f64 / count as f64;
    // Share of the draws in which at least `rank` values come from the `lowest`.
    let reached = |rank: usize, lowest: usize| -> f64 {
        let p = part(lowest);
        (rank..=count)
            .map(|hits| choose(count, hits) * p.powi(hits as i32) * (1.0 - p).powi((count - hits) as i32))
            .sum()
    };
    let half = count / 2;
    let mut medians = Vec::new();
    for low in 1..=count {
        // Of an odd number the middle one is the median.
        let rank = count.div_ceil(2);
        let mut share = reached(rank, low) - reached(rank, low - 1);
        if count.is_multiple_of(2) {
            // Half of the values come from the `low` lowest, one of them from there, and half from `high` on.
            let power = |number: usize| part(number).powi(half as i32);
            for high in low + 1..=count {
                let apart = choose(count, half)
                    * (power(low) - power(low - 1))
                    * (power(count - high + 1) - power(count - high));
                medians.push(((sorted[low - 1] + sorted[high - 1]) / 2.0, apart));
                share -= apart;
            }
        }
        medians.push((sorted[low - 1], share));
    }
    medians.retain(|(_, share)| *share > SHARE_MIN);
    medians
}

fn choose(count: usize, of: usize) -> f64 {
    (1..=of).map(|n| (count - of + n) as f64 / n as f64).product()
}

/// The places of the values that stand apart from the others, and by more than `margin` of the median.
pub fn outliers(values: &[f64], margin: f64) -> Vec<usize> {
    let Some(middle) = median(values).filter(|_| values.len() >= RUNS_MIN) else { return Vec::new() };
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let deviation = median(&distances).expect("there are as many");
    let is_apart =
        |distance: f64| MAD_NORMAL * distance > OUTLIER_SCORE * deviation && distance > margin * middle.abs();
    (0..values.len()).filter(|&place| is_apart(distances[place])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const TRIES: usize = 1000;
    const MARGIN: f64 = 0.03;

    /// A value around 5 with normal noise (Box and Muller), multiplied.
    fn run(random: &mut StdRng, noise: f64, factor: f64) -> f64 {
        let (a, b): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        5.0 * factor * (noise * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    }

    fn changes(noise: f64, factor: f64, runs: usize) -> Vec<Change> {
        let mut random = StdRng::seed_from_u64(7);
        let mut side = |factor| (0..runs).map(|_| run(&mut random, noise, factor)).collect::<Vec<f64>>();
        (0..TRIES).map(|_| Change::between(&side(1.0), &side(factor)).unwrap()).collect()
    }

    /// Those of runs in turn, with drift that both of a pair have.
    fn changes_in_turn(noise: f64, drift: f64, factor: f64) -> Vec<Change> {
        let mut random = StdRng::seed_from_u64(9);
        let mut change = || {
            let pair = |_| {
                let drift = run(&mut random, drift, 1.0);
                (drift * run(&mut random, noise, 1.0), drift * run(&mut random, noise, factor))
            };
            let pairs: Vec<(f64, f64)> = (0..5).map(pair).collect();
            let (base, new): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            Change::of_pairs(&pairs).or_else(|| Change::between(&base, &new)).unwrap()
        };
        (0..TRIES).map(|_| change()).collect()
    }

    /// Shares of better, worse, same and undecided.
    fn verdicts(noise: f64, factor: f64, runs: usize) -> [f64; 4] {
        shares(&changes(noise, factor, runs))
    }

    fn shares(changes: &[Change]) -> [f64; 4] {
        let all: Vec<Verdict> = changes.iter().map(|change| change.verdict(true, MARGIN)).collect();
        [Verdict::Better, Verdict::Worse, Verdict::Same, Verdict::Undecided]
            .map(|verdict| all.iter().filter(|&&other| other == verdict).count() as f64 / TRIES as f64)
    }

    #[test]
    fn equal_sets_are_the_same_in_19_of_20_tries() {
        let [.., same, _] = verdicts(0.03, 1.0, 5);
        assert!(same >= 0.95, "{same}");
        // Whatever the noise, equal sets seldom seem to differ.
        for noise in [0.001, 0.01, 0.1, 0.3] {
            let [better, worse, ..] = verdicts(noise, 1.0, 5);
            assert!(better + worse <= 0.05, "{noise}: {better} {worse}");
        }
    }

    #[test]
    fn a_change_by_a_tenth_is_seen_in_19_of_20_tries() {
        let [_, worse, ..] = verdicts(0.03, 1.1, 5);
        assert!(worse >= 0.95, "{worse}");
        let [better, ..] = verdicts(0.03, 1.0 / 1.1, 5);
        assert!(better >= 0.95, "{better}");
        // More noise than the runs can bear is said to be so.
        let [.., same, undecided] = verdicts(0.1, 1.1, 5);
        assert!(same <= 0.05 && undecided > 0.5, "{same} {undecided}");
    }

    #[test]
    fn runs_in_turn_bear_drift() {
        for drift in [0.05, 0.3] {
            let [.., same, _] = shares(&changes_in_turn(0.02, drift, 1.0));
            let [_, worse, ..] = shares(&changes_in_turn(0.02, drift, 1.1));
            assert!(same >= 0.95 && worse >= 0.95, "{drift}: {same} {worse}");
        }
        // Without drift they are as good as others.
        let [_, worse, ..] = shares(&changes_in_turn(0.03, 0.0, 1.1));
        assert!(worse >= 0.95, "{worse}");
        for (noise, drift) in [(0.03, 0.0), (0.05, 0.1), (0.1, 0.0), (0.1, 0.2), (0.3, 0.3)] {
            let [better, worse, ..] = shares(&changes_in_turn(noise, drift, 1.0));
            assert!(better + worse <= 0.05, "{noise} {drift}: {better} {worse}");
        }
    }

    #[test]
    fn pairs_are_those_of_neighbours() {
        let times = |seconds: &[u64]| seconds.iter().copied().map(Some).collect::<Vec<_>>();
        let pairs = |base: &[u64], new: &[u64]| in_turn(&times(base), &times(new));
        // The order of a pair may change, and runs may be named in any order.
        assert_eq!(pairs(&[10, 40, 50], &[20, 30, 60]), Some(vec![(0, 0), (1, 1), (2, 2)]));
        assert_eq!(pairs(&[50, 10], &[20, 51]), Some(vec![(1, 0), (0, 1)]));
        assert_eq!(pairs(&[10, 20], &[30, 40]), None, "one side after the other");
        assert_eq!(pairs(&[10, 30], &[20]), None, "one has no neighbour");
        assert_eq!(pairs(&[10, 20], &[20, 30]), None, "which came first");
        assert_eq!(pairs(&[10, 30], &[10, 30]), Some(vec![(0, 0), (1, 1)]));
        assert_eq!(in_turn(&[Some(1), None], &times(&[2, 3])), None);
    }

    #[test]
    fn more_runs_bear_more_noise() {
        let [_, few, ..] = verdicts(0.05, 1.1, 5);
        let [_, many, ..] = verdicts(0.05, 1.1, 15);
        assert!(few < 0.7 && many > 0.95, "{few} {many}");
    }

    #[test]
    fn the_interval_covers_the_ratio() {
        for (noise, factor, runs) in [(0.01, 1.0, 5), (0.05, 1.1, 5), (0.03, 0.9, 6), (0.03, 1.0, 7)] {
            let covers = |change: &&Change| {
                let (low, high) = change.interval.unwrap();
                low <= factor && factor <= high
            };
            let share = changes(noise, factor, runs).iter().filter(covers).count() as f64 / TRIES as f64;
            assert!(share >= 0.92, "{noise} {factor} {runs}: {share}");
        }
    }

    #[test]
    fn drawn_medians_are_those_of_drawing() {
        for count in [1, 2, 5, 6, 8] {
            let values: Vec<f64> = (0..count).map(|n| f64::from(n * n)).collect();
            let medians = drawn_medians(&values);
            let total: f64 = medians.iter().map(|(_, share)| share).sum();
            assert!((total - 1.0).abs() < 1e-6, "{count}: {total}");
            let mean: f64 = medians.iter().map(|(median, share)| median * share).sum();
            let mut random = StdRng::seed_from_u64(1);
            let mut draw = || {
                let drawn: Vec<f64> = (0..count).map(|_| values[random.random_range(0..values.len())]).collect();
                median(&drawn).unwrap()
            };
            let seen = (0..20_000).map(|_| draw()).sum::<f64>() / 20_000.0;
            assert!((mean - seen).abs() <= 0.02 * mean, "{count}: {mean} {seen}");
        }
        let total: f64 = drawn_medians(&[1.0; RUNS_MAX]).iter().map(|(_, share)| share).sum();
        assert!((total - 1.0).abs() < 1e-3, "{total}");
    }

    #[test]
    fn a_sides_own_interval_covers_its_median() {
        // Each run is the median of at least a tail of the draws from five.
        assert_eq!(median_interval(&[3.0, 1.0, 2.0, 5.0, 4.0]), Some([3.0, 1.0, 5.0]));
        assert_eq!(median_interval(&[1.0; 4]), None);
        let mut random = StdRng::seed_from_u64(3);
        for runs in [5, 6, 15] {
            let covers = |_: &usize| {
                let values: Vec<f64> = (0..runs).map(|_| run(&mut random, 0.1, 1.0)).collect();
                let [_, low, high] = median_interval(&values).unwrap();
                (low..=high).contains(&5.0)
            };
            let share = (0..TRIES).filter(covers).count() as f64 / TRIES as f64;
            assert!(share >= 0.92, "{runs}: {share}");
        }
        let values: Vec<f64> = (0..15).map(f64::from).collect();
        let [middle, low, high] = median_interval(&values).unwrap();
        assert!(middle == 7.0 && low > 1.0 && high < 13.0, "{low} {high}");
    }

    #[test]
    fn less_than_five_runs_decide_nothing() {
        let change = Change::between(&[1.0; 4], &[2.0; 9]).unwrap();
        assert_eq!((change.ratio, change.interval), (2.0, None));
        assert_eq!(change.verdict(true, MARGIN), Verdict::Undecided);
        assert_eq!(Change::between(&[], &[1.0]), None);
        assert_eq!(Change::between(&[0.0], &[1.0]), None);
    }

    #[test]
    fn directions_are_told_apart() {
        let change = Change::between(&[1.0; 5], &[1.2; 5]).unwrap();
        assert_eq!((change.rise(0.05), change.fall(0.05)), (Fate::Seen, Fate::RuledOut));
        assert_eq!(change.rise(0.25), Fate::RuledOut);
        assert_eq!((change.verdict(true, 0.05), change.verdict(false, 0.05)), (Verdict::Worse, Verdict::Better));
        // Sure, and of no interest.
        let change = Change::between(&[1.0; 5], &[1.01; 5]).unwrap();
        assert_eq!(change.verdict(true, 0.03), Verdict::Same);
    }

    #[test]
    fn one_run_that_went_astray_is_named_and_does_no_harm() {
        let runs = [1.0, 1.01, 0.99, 9.0, 1.02];
        assert_eq!(outliers(&runs, MARGIN), [3]);
        assert_eq!(outliers(&[1.0, 1.0, 1.0, 1.0, 1.001], MARGIN), [0; 0]);
        let change = Change::between(&runs, &[1.0, 1.01, 0.99, 1.0, 1.02]).unwrap();
        assert!((change.ratio - 1.0).abs() < 0.02);
    }
}
