//! Which rate is tried next: twice the last one until one does not pass, then between what passes and what does not. The highest
//! rate has to pass twice.

/// Each step of the ramp, up or down, is so many times the one before.
const FACTOR: f64 = 2.0;
/// Below this share of the first rate nothing is tried.
const SHARE_MIN: f64 = 0.01;
/// Passes that a rate needs before it is the one that was found.
pub const PASSES: u32 = 2;
/// Digits of a rate that is tried.
const DIGITS: i32 = 4;

#[derive(Clone, Debug)]
pub struct Plan {
    from: f64,
    /// No higher rate is tried.
    to: Option<f64>,
    /// Between the rate that is found and one that does not pass, as a share of the former.
    precision: f64,
    /// Rates that passed, rising, and how often.
    passed: Vec<(f64, u32)>,
    /// The lowest rate that did not pass.
    ceiling: Option<f64>,
}

impl Plan {
    pub fn new(from: f64, to: Option<f64>, precision: f64) -> Plan {
        assert!(from > 0.0 && precision > 0.0 && to.is_none_or(|to| to >= from));
        Plan { from, to, precision, passed: Vec::new(), ceiling: None }
    }

    /// `None` when nothing is left to try.
    pub fn next(&self) -> Option<f64> {
        let again = |(rate, passes): (f64, u32)| (passes < PASSES).then_some(rate);
        match (self.passed.last(), self.ceiling) {
            (None, None) => Some(self.from),
            (None, Some(ceiling)) => Some(rounded(ceiling / FACTOR)).filter(|&rate| rate >= self.from * SHARE_MIN),
            (Some(&best), None) => match self.to {
                Some(to) if best.0 >= to => again(best),
                to => Some(rounded(best.0 * FACTOR).min(to.unwrap_or(f64::INFINITY))),
            },
            (Some(&best), Some(ceiling)) => {
                let middle = rounded((best.0 * ceiling).sqrt());
                let is_near = ceiling / best.0 <= 1.0 + self.precision || middle <= best.0 || middle >= ceiling;
                if is_near { again(best) } else { Some(middle) }
            }
        }
    }

    pub fn pass(&mut self, rate: f64) {
        match self.passed.iter_mut().find(|(passed, _)| *passed == rate) {
            Some((_, passes)) => *passes += 1,
            None => self.passed.push((rate, 1)),
        }
        self.passed.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    pub fn fail(&mut self, rate: f64) {
        self.ceiling = Some(self.ceiling.map_or(rate, |ceiling| ceiling.min(rate)));
        self.passed.retain(|(passed, _)| *passed < rate);
    }

    /// The highest rate that passed; if the search ended early perhaps only once.
    pub fn best(&self) -> Option<f64> {
        self.passed.last().map(|(rate, _)| *rate)
    }

    /// The lowest rate that did not pass.
    pub fn ceiling(&self) -> Option<f64> {
        self.ceiling
    }
}

/// To a few digits, so that it can be read and typed.
fn rounded(rate: f64) -> f64 {
    let scale = 10f64.powi(DIGITS - 1 - rate.log10().floor() as i32);
    (rate * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a broker that passes as `passes` says; gives the rates that were tried and what was found.
    fn search(mut plan: Plan, mut passes: impl FnMut(f64) -> bool) -> (Vec<f64>, Option<f64>) {
        let mut tried = Vec::new();
        while let Some(rate) = plan.next() {
            tried.push(rate);
            assert!(tried.len() < 100, "{tried:?}");
            if passes(rate) { plan.pass(rate) } else { plan.fail(rate) }
        }
        (tried, plan.best())
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for capacity in [37.0, 1_000.0, 5_555.5, 123_456.0, 9e6] {
            for from in [1_000.0, 1_800.0, 3.0] {
                let (tried, found) = search(Plan::new(from, None, 0.05), |rate| rate <= capacity);
                let found = found.unwrap();
                assert!(found <= capacity && found * 1.05 >= capacity, "{capacity} from {from}: {found}");
                assert_eq!(tried.iter().filter(|&&rate| rate == found).count(), 2, "{tried:?}");
                assert!(tried.len() < 40, "{tried:?}");
            }
        }
    }

    #[test]
    fn the_ramp_doubles_and_then_halves_what_is_between() {
        let (tried, found) = search(Plan::new(100.0, None, 0.25), |rate| rate < 700.0);
        assert_eq!(tried, [100.0, 200.0, 400.0, 800.0, 565.7, 672.7, 672.7]);
        assert_eq!(found, Some(672.7));
    }

    #[test]
    fn no_rate_above_the_last_is_tried() {
        let (tried, found) = search(Plan::new(100.0, Some(300.0), 0.05), |_| true);
        assert_eq!((tried, found), (vec![100.0, 200.0, 300.0, 300.0], Some(300.0)));
    }

    #[test]
    fn what_passes_once_and_not_again_is_not_found() {
        let mut luck = true;
        let (_, found) = search(Plan::new(100.0, None, 0.05), |rate| rate < 700.0 || std::mem::take(&mut luck));
        assert!(found.unwrap() < 700.0, "{found:?}");
    }

    #[test]
    fn where_nothing_passes_nothing_is_found() {
        let (tried, found) = search(Plan::new(1_000.0, None, 0.05), |_| false);
        assert!(found.is_none() && tried.len() == 7 && *tried.last().unwrap() >= 10.0, "{tried:?}");
    }
}
