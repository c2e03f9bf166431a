//! What the threads of a load count while it runs, and who looks at it once a second.

use crate::cluster::error_name;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Latencies are kept in nanoseconds, up to an hour, to three digits from a microsecond on: the smallest value is also the step
/// between the smaller ones.
const LATENCY_NS_MIN: u64 = 1;
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// An empty histogram of latencies in nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS).expect("the bounds are sensible")
}

/// The clock of a run: nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn new() -> Self {
        Clock(Instant::now())
    }

    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Why a record that was due is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Miss {
    /// Its time came and it could not be sent.
    Unsent,
    /// Its connection was lost.
    Lost,
    /// Its connection stands and no answer came before the end of the drain.
    Unanswered,
    /// The broker answered with an error.
    Refused,
}

impl Miss {
    pub const ALL: [Miss; 4] = [Miss::Unsent, Miss::Lost, Miss::Unanswered, Miss::Refused];

    pub fn name(self) -> &'static str {
        match self {
            Miss::Unsent => "unsent",
            Miss::Lost => "lost",
            Miss::Unanswered => "unanswered",
            Miss::Refused => "refused",
        }
    }
}

/// What was counted in some span of time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Of each request: from when it was due to its answer, and without one to the end of the drain.
    pub latency: Histogram<u64>,
    /// Requests that were answered, and records and bytes that were acknowledged or read.
    pub requests: u64,
    pub records: u64,
    pub bytes: u64,
    /// Failed requests, or parts of requests that failed alone, by Kafka's code.
    pub errors: BTreeMap<i16, u64>,
    /// Records and bytes among the above that were acknowledged after the planned window.
    pub late_records: u64,
    pub late_bytes: u64,
    /// Records that were due and are not acknowledged.
    pub censored: BTreeMap<Miss, u64>,
    /// Connections that were lost, by what happened to them.
    pub lost: BTreeMap<String, u64>,
    /// When the last of it happened, on the run's clock.
    pub last_ns: u64,
}

impl Tally {
    pub fn new() -> Self {
        Tally {
            latency: histogram(),
            requests: 0,
            records: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            late_records: 0,
            late_bytes: 0,
            censored: BTreeMap::new(),
            lost: BTreeMap::new(),
            last_ns: 0,
        }
    }

    /// What was due of a request that was answered at `now_ns`, `latency_ns` before that.
    pub fn answer(&mut self, now_ns: u64, latency_ns: u64) {
        self.latency.saturating_record(latency_ns);
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// A request that was answered at `now_ns`, `latency_ns` after it ought to have been sent.
    pub fn request(&mut self, now_ns: u64, latency_ns: u64) {
        self.answer(now_ns, latency_ns);
        self.requests += 1;
    }

    pub fn error(&mut self, code: i16, count: u64) {
        *self.errors.entry(code).or_default() += count;
    }

    /// Records that are not acknowledged.
    pub fn miss(&mut self, miss: Miss, records: u64) {
        *self.censored.entry(miss).or_default() += records;
    }

    pub fn censored(&self) -> u64 {
        self.censored.values().sum()
    }

    pub fn lose(&mut self, why: String) {
        *self.lost.entry(why).or_default() += 1;
    }

    /// Errors by Kafka's names.
    pub fn errors_named(&self) -> BTreeMap<String, u64> {
        self.errors.iter().map(|(&code, &count)| (error_name(code), count)).collect()
    }

    /// Adds what `other` counted, without its latencies and requests.
    pub fn add_counts(&mut self, other: &Tally) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.late_records += other.late_records;
        self.late_bytes += other.late_bytes;
        other.errors.iter().for_each(|(&code, &count)| self.error(code, count));
        other.censored.iter().for_each(|(&miss, &count)| self.miss(miss, count));
        other.lost.iter().for_each(|(why, &count)| *self.lost.entry(why.clone()).or_default() += count);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Adds what `other` counted and leaves it empty.
    pub fn take(&mut self, other: &mut Tally) {
        self.latency.add(&other.latency).expect("the bounds are the same");
        self.requests += other.requests;
        self.add_counts(other);
        *other = Tally::new();
    }
}

/// A tally that one thread fills and another empties.
#[derive(Clone)]
pub struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    pub fn new() -> Self {
        SharedTally(Arc::new(Mutex::new(Tally::new())))
    }

    pub fn with<T>(&self, use_it: impl FnOnce(&mut Tally) -> T) -> T {
        use_it(&mut self.0.lock().expect("no thread panics while it counts"))
    }
}

/// Moves what all threads have counted into one tally.
pub fn gather(shared: &[SharedTally]) -> Tally {
    let mut total = Tally::new();
    for tally in shared {
        tally.with(|tally| total.take(tally));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_moves_everything_once() {
        let shared = [SharedTally::new(), SharedTally::new()];
        for (i, tally) in shared.iter().enumerate() {
            tally.with(|tally| {
                tally.request(10 * i as u64, 5_000_000);
                tally.records += 64;
                tally.bytes += 65_536;
                tally.error(3, 2);
                tally.error(-1, 1);
                tally.miss(Miss::Lost, 7);
                tally.lose("gone".to_string());
            });
        }
        let total = gather(&shared);
        assert_eq!((total.requests, total.records, total.bytes, total.last_ns), (2, 128, 131_072, 10));
        assert_eq!((total.latency.len(), total.errors.values().sum::<u64>()), (2, 6));
        assert_eq!((total.censored(), total.lost["gone"]), (14, 2));
        let named =
            BTreeMap::from([("UNKNOWN_SERVER_ERROR".to_string(), 2), ("UNKNOWN_TOPIC_OR_PARTITION".to_string(), 4)]);
        assert_eq!(total.errors_named(), named);
        let again = gather(&shared);
        assert_eq!((again.requests, again.latency.len(), again.errors.len(), again.censored()), (0, 0, 0, 0));
    }

    #[test]
    fn three_digits_are_kept_at_20_microseconds() {
        let mut tally = Tally::new();
        for ns in [20_000, 20_020, 20_040] {
            tally.request(0, ns);
        }
        for (percentile, ns) in [(1.0, 20_000), (50.0, 20_020), (99.0, 20_040)] {
            let kept = tally.latency.value_at_percentile(percentile);
            assert!(kept >= ns && kept - ns < 20, "{ns} ns is kept as {kept} ns");
        }
        assert_eq!(tally.latency.iter_recorded().count(), 3);
    }

    #[test]
    fn latencies_outside_the_bounds_are_kept_at_the_bounds() {
        let mut tally = Tally::new();
        tally.request(0, 0);
        tally.request(0, u64::MAX);
        assert_eq!(tally.latency.len(), 2);
        assert!(tally.latency.max() >= LATENCY_NS_MAX);
    }
}
