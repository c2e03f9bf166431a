//! How the load itself and its host did while something was measured: from `/proc`, at two moments.

use crate::process::Usage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Above this share of a core a thread of load is not to be trusted to keep its schedule.
const BUSY_MAX: f64 = 0.85;
/// Lag of the load's own that is too much, as a share of the latencies that it is a part of.
const LAG_MAX: f64 = 0.1;
/// Share of all processor time that the host may give to other guests.
const STEAL_MAX: f64 = 0.01;
/// Shorter spans say nothing: processor time is counted in ticks of 10 ms.
const SECONDS_MIN: f64 = 0.9;
const SECOND_NS: f64 = 1e9;

/// Processor time of the host's CPUs, in ticks.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Ticks {
    /// In user and kernel mode, in interrupts and softirqs.
    busy: f64,
    softirq: f64,
    steal: f64,
    total: f64,
    /// CPUs that these are of, whether this process may use them or not.
    cpus: f64,
}

impl Ticks {
    /// The first line of `/proc/stat`, behind which each CPU has one. Guests are counted as user time too.
    fn of(stat: &str) -> Option<Ticks> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<f64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = fields[..] else { return None };
        let busy = user + nice + system + irq + softirq;
        let cpus = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count() as f64;
        Some(Ticks { busy, softirq, steal, total: busy + idle + iowait + steal, cpus })
    }
}

/// What is used up at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at_ns: u64,
    /// Processor time of each thread of this process but the one that looks.
    threads_ns: BTreeMap<String, u64>,
    host: Option<Ticks>,
    /// Processor seconds of this process and the broker's.
    own_seconds: f64,
    broker_seconds: Option<f64>,
}

impl Sample {
    pub fn take(at_ns: u64, broker_pid: Option<u32>) -> Sample {
        let seconds = |pid: u32| Usage::of(pid).ok().map(|usage| usage.cpu_seconds);
        Sample {
            at_ns,
            threads_ns: threads_ns(),
            host: fs::read_to_string("/proc/stat").ok().and_then(|stat| Ticks::of(&stat)),
            own_seconds: seconds(std::process::id()).unwrap_or(0.0),
            broker_seconds: broker_pid.and_then(seconds),
        }
    }

    /// A later sample, if there were threads of load at that time.
    pub fn or_later(self, later: Sample) -> Sample {
        if later.threads_ns.is_empty() { self } else { later }
    }
}

/// Threads that end while they are listed are left out.
fn threads_ns() -> BTreeMap<String, u64> {
    let own = fs::read_link("/proc/thread-self").ok();
    let own = own.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str()).map(str::to_string);
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let names = tasks.filter_map(|task| task.file_name().into_string().ok()).filter(|name| Some(name) != own.as_ref());
    let time = |name: &String| {
        let stat = fs::read_to_string(format!("/proc/self/task/{name}/schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    };
    names.filter_map(|name| time(&name).map(|time| (name, time))).collect()
}

/// What was used between two moments.
#[derive(Clone, Default, Debug)]
pub struct Health {
    /// Cores that the load used, and the share of one that its busiest thread did.
    cpu: Option<f64>,
    busiest_thread: Option<f64>,
    /// Shares of all processor time, and cores.
    steal: Option<f64>,
    foreign_cpu: Option<f64>,
    softirq: Option<f64>,
}

impl Health {
    /// `is_polling` says that threads are busy all the time, whatever they have to do.
    pub fn between(first: &Sample, last: &Sample, is_polling: bool) -> Health {
        let seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / SECOND_NS;
        if seconds < SECONDS_MIN {
            return Health::default();
        }
        let cpu = (last.own_seconds - first.own_seconds) / seconds;
        let share = |(name, time): (&String, &u64)| {
            let before = first.threads_ns.get(name).copied().unwrap_or(0);
            time.saturating_sub(before) as f64 / SECOND_NS / seconds
        };
        let busiest = last.threads_ns.iter().map(share).max_by(f64::total_cmp);
        let mut health =
            Health { cpu: Some(cpu), busiest_thread: busiest.filter(|_| !is_polling), ..Health::default() };
        if let (Some(before), Some(after)) = (first.host, last.host) {
            let total = (after.total - before.total).max(1.0);
            let cores = |ticks: f64| ticks / total * after.cpus;
            let broker = first.broker_seconds.zip(last.broker_seconds).map_or(0.0, |(before, after)| after - before);
            health.steal = Some((after.steal - before.steal) / total);
            health.softirq = Some(cores(after.softirq - before.softirq));
            health.foreign_cpu = Some((cores(after.busy - before.busy) - cpu - broker / seconds).max(0.0));
        }
        health
    }

    pub fn load_json(&self, lag_ms: Value) -> Value {
        json!({"cpu": self.cpu, "busiest_thread": self.busiest_thread, "lag_ms": lag_ms})
    }

    pub fn host_json(&self) -> Value {
        json!({"steal": self.steal, "foreign_cpu": self.foreign_cpu, "softirq": self.softirq})
    }

    /// Why a load on schedule is not to be trusted, which had this lag and these latencies at the 99th percentile.
    pub fn distrust(&self, lag_p99_ms: f64, latency_p99_ms: f64) -> Vec<String> {
        let mut why = Vec::new();
        if let Some(busy) = self.busiest_thread.filter(|&busy| busy > BUSY_MAX) {
            why.push(format!("a thread of the load was busy for {:.0} % of the time", 100.0 * busy));
        }
        if lag_p99_ms > LAG_MAX * latency_p99_ms {
            why.push(format!("the load's own lag has p99 {lag_p99_ms:.3} ms, the latency {latency_p99_ms:.3} ms"));
        }
        why
    }

    /// Why figures of this host are not to be trusted.
    pub fn distrust_host(&self) -> Option<String> {
        let steal = self.steal.filter(|&steal| steal > STEAL_MAX)?;
        Some(format!("the host gave {:.1} % of the processor time to other guests (steal)", 100.0 * steal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ns: u64, thread_ns: u64, stat: &str, own_seconds: f64) -> Sample {
        let threads_ns = BTreeMap::from([("1".to_string(), thread_ns), ("2".to_string(), thread_ns / 2)]);
        Sample { at_ns, threads_ns, host: Ticks::of(stat), own_seconds, broker_seconds: None }
    }

    #[test]
    fn shares_are_those_between_the_samples() {
        let first = sample(0, 1_000_000_000, "cpu  100 0 50 800 20 0 10 20 0 0\ncpu0 1\ncpu1 1\nintr 1", 1.0);
        let last =
            sample(2_000_000_000, 2_800_000_000, "cpu  200 0 100 820 20 0 30 30 0 0\ncpu0 1\ncpu1 1\nintr 1", 2.0);
        let health = Health::between(&first, &last, false);
        assert_eq!((health.cpu, health.busiest_thread, health.steal), (Some(0.5), Some(0.9), Some(0.05)));
        assert_eq!(health.softirq, Some(0.2));
        assert!((health.foreign_cpu.unwrap() - 1.2).abs() < 1e-9, "{health:?}");
        let why = health.distrust(1.0, 9.0);
        assert!(why.len() == 2 && why[0].contains("90 %") && why[1].contains("1.000 ms"), "{why:?}");
        assert!(health.distrust_host().unwrap().contains("5.0 %"));
        assert!(Health { busiest_thread: None, ..health }.distrust(1.0, 11.0).is_empty());
        assert_eq!(Health::between(&first, &last, true).busiest_thread, None);
    }

    #[test]
    fn a_short_span_says_nothing() {
        let health = Health::between(&sample(0, 0, "cpu ", 0.0), &sample(100_000_000, 100_000_000, "", 0.1), false);
        assert_eq!((health.cpu, health.steal, health.distrust_host()), (None, None, None));
    }

    #[test]
    fn this_process_is_looked_at() {
        let (stop, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv());
        let sample = Sample::take(5, Some(std::process::id()));
        assert!(sample.host.is_some_and(|ticks| ticks.total > ticks.busy && ticks.busy > 0.0), "{sample:?}");
        assert!(!sample.threads_ns.is_empty() && sample.broker_seconds.is_some());
        drop(stop);
        assert!(thread.join().unwrap().is_err());
    }
}
