//! Open loop: when each request ought to be sent, whatever the broker does.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Exp1;
use std::str::FromStr;

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;
/// Units of rates and of times, by the ends of words.
const RATE_UNITS: [(&str, f64); 2] = [("k", 1e3), ("M", 1e6)];
const TIME_UNITS: [(&str, f64); 3] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0)];

/// How much is due in a second: always as much, or from the end of the warm-up on evenly more or less, up to another rate that is
/// kept from then on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    from: f64,
    to: f64,
    /// How long the ramp takes, 0 if there is none.
    seconds: f64,
}

impl Rate {
    pub fn constant(per_second: f64) -> Rate {
        assert!(per_second > 0.0);
        Rate { from: per_second, to: per_second, seconds: 0.0 }
    }

    /// Always as much, if there is no ramp.
    pub fn steady(self) -> Option<f64> {
        (self.seconds == 0.0).then_some(self.to)
    }

    /// How long the ramp takes, if there is one.
    pub fn ramp_seconds(self) -> Option<f64> {
        (self.seconds > 0.0).then_some(self.seconds)
    }

    /// The rate of what consists of so many each.
    fn divided(self, size: f64) -> Rate {
        Rate { from: self.from / size, to: self.to / size, seconds: self.seconds }
    }

    /// When `count` have come due, in seconds since a start that is followed by a warm-up.
    fn seconds_until(self, count: f64, warmup_seconds: f64) -> f64 {
        let warmup = self.from * warmup_seconds;
        if count < warmup {
            return count / self.from;
        }
        let (count, ramp) = (count - warmup, (self.from + self.to) / 2.0 * self.seconds);
        if count >= ramp {
            return warmup_seconds + self.seconds + (count - ramp) / self.to;
        }
        // `from * t + slope / 2 * t^2 = count`, solved in the form that loses no digits where the slope is small.
        let slope = (self.to - self.from) / self.seconds;
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        warmup_seconds + 2.0 * count / (self.from + root)
    }
}

impl FromStr for Rate {
    type Err = String;

    /// `5000`, `5k`, `1k..50k/60s`.
    fn from_str(text: &str) -> Result<Rate, String> {
        let Some((from, rest)) = text.split_once("..") else {
            return Ok(Rate::constant(positive(text, &RATE_UNITS)?));
        };
        let (to, time) = rest.split_once('/').ok_or("a ramp is FROM..TO/TIME, such as 1k..50k/60s")?;
        let (from, to) = (positive(from, &RATE_UNITS)?, positive(to, &RATE_UNITS)?);
        Ok(Rate { from, to, seconds: time_of(time)? })
    }
}

/// How requests that have a rate in common lie in time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Arrival {
    /// Evenly spaced over all connections.
    Even,
    /// Independent of each other: each connection's are a Poisson process.
    Poisson,
    /// What would come within each span of so many seconds comes at its start.
    Burst { seconds: f64 },
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Arrival, String> {
        match text.split_once(':') {
            None if text == "even" => Ok(Arrival::Even),
            None if text == "poisson" => Ok(Arrival::Poisson),
            Some(("burst", time)) => Ok(Arrival::Burst { seconds: time_of(time)? }),
            _ => Err("not one of even, poisson, burst:TIME (such as burst:100ms)".to_string()),
        }
    }
}

/// Seconds of a time with its unit.
fn time_of(text: &str) -> Result<f64, String> {
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(format!("{text}: a time without its unit (ms, s, m)"));
    }
    positive(text, &TIME_UNITS)
}

fn positive(text: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let with_unit = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (digits, size) = with_unit.unwrap_or((text, 1.0));
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let number = number * size;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("must be above 0".to_string()) }
}

/// What is due of a load, of all its connections together.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In requests.
    rate: Rate,
    arrival: Arrival,
    warmup_seconds: f64,
    seed: u64,
}

impl Pace {
    /// Requests are of `records` each; the rate is that of the records. Ramps begin when the warm-up ends.
    pub fn new(rate: Rate, arrival: Arrival, records: usize, warmup_ns: u64) -> Pace {
        let warmup_seconds = warmup_ns as f64 / SECOND_NS;
        Pace { rate: rate.divided(records as f64), arrival, warmup_seconds, seed: rand::random() }
    }

    /// The share of one of so many streams.
    pub fn schedule(&self, stream: usize, streams: usize) -> Schedule {
        assert!(stream < streams);
        let mut schedule = Schedule {
            pace: *self,
            stream: stream as f64,
            streams: streams as f64,
            number: 0.0,
            random: SmallRng::seed_from_u64(self.seed.wrapping_add(stream as u64)),
            waited: 0.0,
            intended_ns: 0,
        };
        schedule.look();
        schedule
    }
}

/// When the requests of one stream ought to go, one after the other. Times are nanoseconds of the run's clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    stream: f64,
    streams: f64,
    /// Of the next request in this stream.
    number: f64,
    random: SmallRng,
    /// Of a Poisson process: up to the last request, in average distances.
    waited: f64,
    intended_ns: u64,
}

impl Schedule {
    /// When the next request ought to go.
    pub fn intended_ns(&self) -> u64 {
        self.intended_ns
    }

    /// Goes on to the request after that.
    pub fn advance(&mut self) {
        self.number += 1.0;
        self.look();
    }

    fn look(&mut self) {
        let Pace { rate, arrival, warmup_seconds, .. } = self.pace;
        // How many requests of the whole load come before it.
        let before = match arrival {
            Arrival::Even | Arrival::Burst { .. } => self.number * self.streams + self.stream,
            Arrival::Poisson => {
                self.waited += self.random.sample::<f64, _>(Exp1);
                self.waited * self.streams
            }
        };
        let intended_ns = (rate.seconds_until(before, warmup_seconds) * SECOND_NS).round() as u64;
        self.intended_ns = match arrival {
            Arrival::Burst { seconds } => intended_ns - intended_ns % ((seconds * SECOND_NS) as u64).max(1),
            Arrival::Even | Arrival::Poisson => intended_ns,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: &str, arrival: Arrival, warmup_seconds: f64) -> Pace {
        Pace { seed: 7, ..Pace::new(rate.parse().unwrap(), arrival, 1, (warmup_seconds * SECOND_NS) as u64) }
    }

    /// The times of a stream before `end_ns`.
    fn stream_times(pace: &Pace, (stream, streams): (usize, usize), end_ns: u64) -> Vec<u64> {
        let mut schedule = pace.schedule(stream, streams);
        let next = || {
            let intended_ns = schedule.intended_ns();
            schedule.advance();
            Some(intended_ns)
        };
        std::iter::from_fn(next).take_while(|&intended_ns| intended_ns < end_ns).collect()
    }

    /// The times of all streams, in order.
    fn all(pace: &Pace, streams: usize, end_ns: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..streams).flat_map(|stream| stream_times(pace, (stream, streams), end_ns)).collect();
        all.sort();
        all
    }

    #[test]
    fn requests_are_evenly_spaced_over_all_streams() {
        let expected: Vec<u64> = (0..100).map(|n| n * 1_000).collect();
        assert_eq!(all(&pace("1M", Arrival::Even, 0.0), 4, 100_000), expected);
        let batches = Pace::new(Rate::constant(64e3), Arrival::Even, 64, 0);
        assert_eq!(all(&batches, 3, 5_000_000), [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]);
    }

    #[test]
    fn a_long_run_does_not_drift() {
        let mut schedule = pace("3", Arrival::Even, 0.0).schedule(0, 1);
        schedule.number = 3.0 * 86_399.0 + 2.0;
        schedule.advance();
        assert_eq!(schedule.intended_ns(), 86_400_000_000_000);
    }

    #[test]
    fn a_ramp_has_each_rate_at_its_time() {
        let seconds = |from: f64, to: f64| from as u64 * 1_000_000_000..to as u64 * 1_000_000_000;
        for (rate, warmup, middle, after) in [("100..500/4s", 200, 600, 500), ("500..100/4s", 1000, 600, 100)] {
            let times = all(&pace(rate, Arrival::Even, 2.0), 3, 10_000_000_000);
            let count =
                |from: f64, to: f64| times.iter().filter(|time| seconds(from, to).contains(time)).count() as i64;
            // The warm-up has the first rate, the ramp's middle their mean, and what comes behind it the last one.
            for ((from, to), expected) in [((0.0, 2.0), warmup), ((3.0, 5.0), middle), ((6.0, 7.0), after)] {
                assert!((count(from, to) - expected).abs() <= 1, "{rate} from {from}: {}", count(from, to));
            }
            assert!((count(2.0, 6.0) - 1_200).abs() <= 1, "{rate}");
            let nearer = |n: usize| times[n + 1] - times[n];
            assert_eq!(nearer(300) > nearer(1_100), after == 500, "{rate}");
        }
    }

    #[test]
    fn independent_arrivals_scatter_around_the_rate() {
        let poisson = pace("1000", Arrival::Poisson, 0.0);
        let times = all(&poisson, 4, 100_000_000_000);
        // A hundred thousand, give or take four times the root.
        assert!(times.len().abs_diff(100_000) < 4 * 317, "{}", times.len());
        let mut counts = vec![0.0; 10_000];
        times.iter().for_each(|time| counts[(time / 10_000_000) as usize] += 1.0);
        let mean = times.len() as f64 / 10_000.0;
        let variance = counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / 10_000.0;
        // Evenly spaced ones would have none.
        assert!((variance / mean - 1.0).abs() < 0.1, "{}", variance / mean);
        assert_eq!(stream_times(&poisson, (1, 4), 1_000_000_000), stream_times(&poisson, (1, 4), 1_000_000_000));
        assert_ne!(stream_times(&poisson, (0, 4), 1_000_000_000), stream_times(&poisson, (1, 4), 1_000_000_000));
        let ramp = all(&pace("100..900/20s", Arrival::Poisson, 0.0), 2, 20_000_000_000);
        let late = ramp.iter().filter(|&&time| time >= 10_000_000_000).count();
        assert!(ramp.len().abs_diff(10_000) < 400 && late.abs_diff(7_000) < 350, "{} {late}", ramp.len());
    }

    #[test]
    fn a_burst_is_what_its_span_would_have() {
        let bursts = all(&pace("1k", Arrival::Burst { seconds: 0.1 }, 0.0), 3, 1_000_000_000);
        assert_eq!(bursts.len(), 1_000);
        for (n, burst) in bursts.chunks(100).enumerate() {
            assert!(burst.iter().all(|&time| time == n as u64 * 100_000_000), "{n} {burst:?}");
        }
        let ramp = all(&pace("100..900/4s", Arrival::Burst { seconds: 1.0 }, 0.0), 1, 4_000_000_000);
        let sizes = [0, 1, 2, 3].map(|second| ramp.iter().filter(|&&time| time == second * 1_000_000_000).count());
        assert_eq!((sizes.iter().sum::<usize>(), sizes.is_sorted()), (2_000, true), "{sizes:?}");
    }

    #[test]
    fn rates_and_arrivals_are_read() {
        let rate = |from, to, seconds| Ok(Rate { from, to, seconds });
        for (text, expected) in [
            ("5000", rate(5_000.0, 5_000.0, 0.0)),
            ("0.5", rate(0.5, 0.5, 0.0)),
            ("2.5k", rate(2_500.0, 2_500.0, 0.0)),
            ("1k..50k/60s", rate(1e3, 5e4, 60.0)),
            ("1M..10/500ms", rate(1e6, 10.0, 0.5)),
            ("10..20/2m", rate(10.0, 20.0, 120.0)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "0", "-1", "x", "nan", "inf", "1..", "1..2", "1..2/3", "1..2/0s", "0..2/1s", "1..2..3/1s", "k"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!("burst:50ms".parse(), Ok(Arrival::Burst { seconds: 0.05 }));
        assert_eq!(("even".parse(), "poisson".parse()), (Ok(Arrival::Even), Ok(Arrival::Poisson)));
        for text in ["", "burst", "burst:", "burst:5", "burst:0s", "poisson:1s", "Even"] {
            assert!(text.parse::<Arrival>().is_err(), "{text}");
        }
    }
}
