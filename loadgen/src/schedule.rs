//! Open loop: when each request ought to be sent, whatever the broker does.

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// The requests of one thread: number `n` ought to go at `start + (phase + n) * interval`. Times are nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    phase: f64,
}

impl Schedule {
    /// The share of thread `thread` of `threads` in `requests_per_second`; together their requests are evenly spaced.
    pub fn new(start_ns: u64, requests_per_second: f64, thread: usize, threads: usize) -> Self {
        assert!(requests_per_second > 0.0 && thread < threads);
        Schedule {
            start_ns,
            interval_ns: SECOND_NS * threads as f64 / requests_per_second,
            phase: thread as f64 / threads as f64,
        }
    }

    /// When request `n` ought to go.
    pub fn intended_ns(&self, n: u64) -> u64 {
        self.start_ns + ((n as f64 + self.phase) * self.interval_ns) as u64
    }

    /// How many requests ought to have gone by `now_ns`, one at exactly that time included.
    pub fn due(&self, now_ns: u64) -> u64 {
        if now_ns < self.start_ns {
            return 0;
        }
        let elapsed = (now_ns - self.start_ns) as f64 / self.interval_ns - self.phase;
        let mut due = if elapsed < 0.0 { 0 } else { elapsed as u64 + 1 };
        // Rounding may put the estimate one off either way.
        while due > 0 && self.intended_ns(due - 1) > now_ns {
            due -= 1;
        }
        while self.intended_ns(due) <= now_ns {
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_evenly_spaced_over_threads() {
        let threads: Vec<Schedule> = (0..4).map(|thread| Schedule::new(1_000, 1e6, thread, 4)).collect();
        let mut times: Vec<u64> =
            (0..25).flat_map(|n| threads.iter().map(move |thread| thread.intended_ns(n))).collect();
        times.sort();
        let expected: Vec<u64> = (0..100).map(|n| 1_000 + n * 1_000).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn due_counts_exactly_the_intended_times_passed() {
        for rate in [0.3, 7.0, 999.0, 20_000.0, 3_333_333.3] {
            let schedule = Schedule::new(12_345, rate, 1, 3);
            assert_eq!(schedule.due(0), 0);
            for n in [0, 1, 2, 3, 1_000, 123_456_789] {
                let intended = schedule.intended_ns(n);
                assert_eq!(schedule.due(intended), n + 1, "rate {rate}, request {n}");
                assert_eq!(schedule.due(intended - 1), n, "rate {rate}, request {n}");
            }
        }
    }

    #[test]
    fn a_long_run_does_not_drift() {
        let schedule = Schedule::new(0, 3.0, 0, 1);
        assert_eq!(schedule.intended_ns(3 * 86_400), 86_400_000_000_000);
    }
}
