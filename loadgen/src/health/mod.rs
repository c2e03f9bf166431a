//! How the load itself, its host and the broker's process did while something was measured: from the kernel's files, at two moments.

mod cgroup;
mod pressure;
mod processes;

pub use cgroup::Memory;

use crate::process::{Usage, step_back, ticks_per_second};
use cgroup::Cgroup;
use pressure::Pressure;
use processes::Processes;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Above this share of a core a thread of load is not to be trusted to keep its schedule.
const BUSY_MAX: f64 = 0.85;
/// Lag of the load's own that is too much, as a share of the latencies that it is a part of.
const LAG_MAX: f64 = 0.1;
/// Share of all processor time that the host may give to other guests.
const STEAL_MAX: f64 = 0.01;
/// Shorter spans say nothing: processor time is counted in ticks of 10 ms.
const SECONDS_MIN: f64 = 0.9;
const SECOND_NS: f64 = 1e9;
/// Cores below which what a thread of the kernel works for is not named.
const NAMED_MIN: f64 = 0.001;

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

/// The broker's process at one moment.
#[derive(Clone, Debug)]
struct Broker {
    usage: Usage,
    cgroup: Option<Cgroup>,
}

/// What is used up at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at_ns: u64,
    /// Processor time of each thread of this process but the one that looks.
    threads_ns: BTreeMap<String, u64>,
    host: Option<Ticks>,
    /// Processor seconds of this process.
    own_seconds: f64,
    /// Where all processes of the host are seen: ticks of the kernel's threads by what they worked for, and of all processes
    /// that are neither this one nor the broker's.
    kernel_ticks: Option<BTreeMap<String, u64>>,
    foreign_ticks: Option<u64>,
    pressure: Pressure,
    broker: Option<Broker>,
}

impl Sample {
    /// A later sample, if there were threads of load at that time.
    pub fn or_later(self, later: Sample) -> Sample {
        if later.threads_ns.is_empty() { self } else { later }
    }
}

/// Looks at everything now and then. What ends between two looks is lost, so that about a second should lie between them.
pub struct Observer {
    root: PathBuf,
    broker_pid: Option<u32>,
    processes: Option<Processes>,
    kernel_ticks: BTreeMap<String, u64>,
}

impl Observer {
    /// With the kernel's files below `root`.
    pub fn new(root: &Path, broker_pid: Option<u32>) -> Observer {
        Observer { root: root.to_path_buf(), broker_pid, processes: None, kernel_ticks: BTreeMap::new() }
    }

    pub fn look(&mut self, at_ns: u64) -> Sample {
        let threads_ns = threads_ns(&self.root);
        let processes = self.processes();
        let broker = self.broker_pid.and_then(|pid| {
            let usage = Usage::below(&self.root, pid).ok()?;
            Some(Broker { usage, cgroup: Cgroup::of(&self.root, pid, &processes) })
        });
        let mut ours = BTreeSet::from([std::process::id()]);
        ours.extend(self.broker_pid);
        ours.extend(broker.iter().filter_map(|broker| broker.cgroup.as_ref()).flat_map(|cgroup| &cgroup.pids));
        let are_all = processes.are_all();
        if let Some(before) = &self.processes {
            processes.add_kernel_ticks(before, &mut self.kernel_ticks);
        }
        let sample = Sample {
            at_ns,
            threads_ns,
            host: fs::read_to_string(self.root.join("proc/stat")).ok().and_then(|stat| Ticks::of(&stat)),
            own_seconds: Usage::below(&self.root, std::process::id()).map_or(0.0, |usage| usage.cpu_seconds),
            kernel_ticks: are_all.then(|| self.kernel_ticks.clone()),
            foreign_ticks: are_all.then(|| processes.foreign_ticks(&ours)),
            pressure: Pressure::of_host(&self.root),
            broker,
        };
        self.processes = Some(processes);
        sample
    }

    /// There may be thousands, and the load goes first of the core that it may share with this program's other threads.
    fn processes(&self) -> Processes {
        let read = || {
            step_back();
            Processes::read(&self.root)
        };
        std::thread::scope(|scope| scope.spawn(read).join()).expect("what cannot be read is left out")
    }
}

/// Threads that end while they are listed are left out.
fn threads_ns(root: &Path) -> BTreeMap<String, u64> {
    let own = fs::read_link(root.join("proc/thread-self")).ok();
    let own = own.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str()).map(str::to_string);
    let directory = root.join("proc/self/task");
    let tasks = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
    let names = tasks.filter_map(|task| task.file_name().into_string().ok()).filter(|name| Some(name) != own.as_ref());
    let time = |name: &String| {
        let stat = fs::read_to_string(directory.join(name).join("schedstat")).ok()?;
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
    /// Cores by what they worked for.
    kernel_threads: Option<BTreeMap<String, f64>>,
    /// Shares of the time.
    pressure: BTreeMap<String, f64>,
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
        let mut health = Health {
            cpu: Some(cpu),
            busiest_thread: busiest.filter(|_| !is_polling),
            pressure: last.pressure.since(&first.pressure, seconds),
            ..Health::default()
        };
        if let (Some(before), Some(after)) = (first.host, last.host) {
            let total = (after.total - before.total).max(1.0);
            let cores = |ticks: f64| ticks / total * after.cpus;
            let broker = first.broker.as_ref().zip(last.broker.as_ref()).map_or(0.0, |pair| used(pair) / seconds);
            health.steal = Some((after.steal - before.steal) / total);
            health.softirq = Some(cores(after.softirq - before.softirq));
            // Where others are hidden: what remains, the kernel's work among it.
            health.foreign_cpu = Some((cores(after.busy - before.busy) - cpu - broker).max(0.0));
        }
        if let (Some(before), Some(after)) = (&first.kernel_ticks, &last.kernel_ticks) {
            let cores = |(work, ticks): (&String, &u64)| {
                let used = ticks.saturating_sub(before.get(work).copied().unwrap_or(0));
                (work.clone(), used as f64 / ticks_per_second() / seconds)
            };
            health.kernel_threads = Some(after.iter().map(cores).collect());
        }
        if let Some(foreign) = foreign_seconds(first, last) {
            health.foreign_cpu = Some(foreign / seconds);
        }
        health
    }

    pub fn load_json(&self) -> Value {
        json!({"cpu": self.cpu, "busiest_thread": self.busiest_thread})
    }

    pub fn host_json(&self) -> Value {
        let works = self.kernel_threads.as_ref();
        json!({
            "steal": self.steal,
            "foreign_cpu": self.foreign_cpu,
            "softirq": self.softirq,
            "kernel_threads": works.map(|works| works.values().sum::<f64>()),
            "kernel_threads_by": works.map(|works| {
                let named = works.iter().filter(|(_, cores)| **cores >= NAMED_MIN);
                named.map(|(work, cores)| (work.clone(), json!(cores))).collect::<Map<_, _>>()
            }),
            "pressure": self.pressure,
        })
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

/// Processor seconds of the broker: of its cgroup if it had one of its own all the time.
fn used((before, after): (&Broker, &Broker)) -> f64 {
    match same_cgroup(before, after) {
        Some((before, after)) => after.cpu_seconds - before.cpu_seconds,
        None => after.usage.since(&before.usage).cpu_seconds,
    }
}

fn same_cgroup<'a>(before: &'a Broker, after: &'a Broker) -> Option<(&'a Cgroup, &'a Cgroup)> {
    let both = before.cgroup.as_ref().zip(after.cgroup.as_ref());
    both.filter(|(before, after)| before.directory == after.directory)
}

/// Processor seconds of processes that are neither the load nor the broker's, where all are seen. It would go back where a
/// process ends that nobody waits for.
fn foreign_seconds(first: &Sample, last: &Sample) -> Option<f64> {
    let (before, after) = first.foreign_ticks.zip(last.foreign_ticks)?;
    Some(after.saturating_sub(before) as f64 / ticks_per_second())
}

/// What the broker used between two moments.
#[derive(Clone, Debug)]
pub struct BrokerUse {
    pub seconds: f64,
    /// Of its cgroup if it has one of its own, else of its process.
    pub cpu_seconds: f64,
    /// All that any CPU of the host was busy for and that was neither the load's nor another process's: so also what the
    /// kernel's threads, interrupts and softirqs did. `None` where not all processes are seen, or the span is too short.
    pub charged_cpu_seconds: Option<f64>,
    /// At the end.
    pub rss_bytes: u64,
    pub cgroup: Option<CgroupUse>,
}

#[derive(Clone, Debug)]
pub struct CgroupUse {
    pub memory: Option<Memory>,
    /// Shares of the time.
    pub pressure: BTreeMap<String, f64>,
}

impl BrokerUse {
    /// `None` if there was no broker's process at both moments.
    pub fn between(first: &Sample, last: &Sample) -> Option<BrokerUse> {
        let (before, after) = first.broker.as_ref().zip(last.broker.as_ref())?;
        let seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / SECOND_NS;
        let cpu_seconds = used((before, after));
        let busy = first.host.zip(last.host).map(|(before, after)| (after.busy - before.busy) / ticks_per_second());
        let rest = busy.zip(foreign_seconds(first, last)).filter(|_| seconds >= SECONDS_MIN);
        let own = last.own_seconds - first.own_seconds;
        let cgroup = same_cgroup(before, after).map(|(before, after)| CgroupUse {
            memory: after.memory,
            pressure: after.pressure.since(&before.pressure, seconds.max(f64::MIN_POSITIVE)),
        });
        Some(BrokerUse {
            seconds,
            cpu_seconds,
            // The time of the CPUs is counted in ticks and may seem less than that of the processes.
            charged_cpu_seconds: rest.map(|(busy, foreign)| (busy - own - foreign).max(cpu_seconds)),
            rss_bytes: after.usage.rss_bytes,
            cgroup,
        })
    }

    pub fn json(&self) -> Value {
        let cores = |seconds: f64| if self.seconds > 0.0 { Some(seconds / self.seconds) } else { None };
        let memory = self.cgroup.as_ref().and_then(|cgroup| cgroup.memory);
        json!({
            "cpu": cores(self.cpu_seconds),
            "charged_cpu": self.charged_cpu_seconds.and_then(cores),
            "counted_by": if self.cgroup.is_some() { "cgroup" } else { "process" },
            "rss_bytes": self.rss_bytes,
            "memory_bytes": memory.map(|memory| memory.total),
            "anonymous_bytes": memory.map(|memory| memory.anonymous),
            "page_cache_bytes": memory.map(|memory| memory.page_cache),
            "pressure": self.cgroup.as_ref().map(|cgroup| &cgroup.pressure),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    pub const BROKER: u32 = 77;

    /// Made-up files of the kernel.
    pub struct Tree(TempDir);

    impl Tree {
        pub fn new() -> Tree {
            Tree(TempDir::new().unwrap())
        }

        pub fn root(&self) -> &Path {
            self.0.path()
        }

        pub fn write(&self, path: &str, text: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub fn process(&self, pid: u32, name: &str, parent: u32, ticks: u64, is_kernel: bool) {
            let flags = if is_kernel { 0x0020_8040 } else { 0x40_0000 };
            let stat = format!("{pid} ({name}) S {parent} 0 0 0 -1 {flags} 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5 0 0\n");
            self.write(&format!("proc/{pid}/stat"), &stat);
            self.write(&format!("proc/{pid}/status"), "Name:\tx\nVmRSS:\t    16 kB\n");
        }

        /// The broker's process alone in a cgroup.
        pub fn broker_in_cgroup(&self, path: &str, usage_us: u64) {
            self.process(BROKER, "broker", 1, 0, false);
            self.write(&format!("proc/{BROKER}/cgroup"), &format!("4:memory:/other\n0::{path}\n"));
            let mount = "/sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw";
            self.write("proc/self/mountinfo", &format!("23 1 0:21 / /proc rw - proc proc rw\n41 31 0:38 / {mount}\n"));
            let file = |name: &str, text: &str| self.write(&format!("sys/fs/cgroup{path}/{name}"), text);
            file("cgroup.procs", &format!("{BROKER}\n"));
            file("cpu.stat", &format!("usage_usec {usage_us}\nuser_usec 1\nnr_throttled 0\n"));
            file("memory.current", "5000\n");
            file("memory.stat", "anon 1000\nfile 3000\nkernel 900\n");
            file("io.pressure", &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n", usage_us / 10));
        }

        /// Two CPUs that were busy for so many ticks, a quarter of them in softirqs, and some pressure.
        fn host(&self, busy: u64, idle: u64) {
            let cpu = format!("cpu  {} 0 0 {idle} 0 0 {} 0 0 0\ncpu0 1\ncpu1 1\nintr 1\n", busy - busy / 4, busy / 4);
            self.write("proc/stat", &cpu);
            self.write("proc/pressure/cpu", &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={busy}0000\n"));
        }

        fn thread(&self, schedstat_ns: u64) {
            self.write("proc/self/task/5/schedstat", &format!("{schedstat_ns} 0 0\n"));
        }
    }

    /// Ticks of a second, as the C library has them.
    fn ticks(seconds: f64) -> u64 {
        (seconds * ticks_per_second()) as u64
    }

    fn sample(at_ns: u64, thread_ns: u64, stat: &str, own_seconds: f64) -> Sample {
        let threads_ns = BTreeMap::from([("1".to_string(), thread_ns), ("2".to_string(), thread_ns / 2)]);
        let (kernel_ticks, foreign_ticks, pressure) = (None, None, Pressure::default());
        let host = Ticks::of(stat);
        Sample { at_ns, threads_ns, host, own_seconds, kernel_ticks, foreign_ticks, pressure, broker: None }
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

    /// Four seconds on two CPUs. Of 5 busy seconds the load used 1, the broker 2, a compiler 0.5, the drive's threads 0.8.
    fn four_seconds(with_cgroup: bool, with_kernel: bool) -> (Health, BrokerUse) {
        let tree = Tree::new();
        let own = std::process::id();
        let put = |share: f64| {
            tree.host(ticks(5.0 * share), ticks(3.0 * share));
            tree.thread((1e9 * share) as u64);
            tree.process(own, "loadgen", 1, ticks(share), false);
            tree.process(2, "kthreadd", 0, 0, with_kernel);
            tree.process(9, "kworker/0:1H-kblockd", 2, ticks(0.5 * share), true);
            tree.process(10, "kworker/0:2-dio/vda", 2, ticks(0.3 * share), true);
            tree.process(50, "compiler", 1, ticks(0.5 * share), false);
            if with_cgroup {
                tree.broker_in_cgroup("/klamm", (2e6 * share) as u64);
            }
            // The process alone used less: the rest was that of a child that has ended.
            tree.process(BROKER, "broker", 1, ticks(1.5 * share), false);
        };
        let mut observer = Observer::new(tree.root(), Some(BROKER));
        put(1.0);
        let first = observer.look(1_000_000_000);
        put(2.0);
        let last = observer.look(5_000_000_000);
        (Health::between(&first, &last, false), BrokerUse::between(&first, &last).unwrap())
    }

    #[test]
    fn the_kernels_work_is_shown_and_charged_to_the_broker() {
        let near = |value: Option<f64>, expected: f64| {
            assert!(value.is_some_and(|value| (value - expected).abs() < 0.02), "{value:?} {expected}");
        };
        let (health, broker) = four_seconds(true, true);
        let host = health.host_json();
        near(host["foreign_cpu"].as_f64(), 0.125);
        near(host["softirq"].as_f64(), 1.25 / 4.0);
        near(host["kernel_threads"].as_f64(), 0.2);
        near(host["kernel_threads_by"]["kblockd"].as_f64(), 0.125);
        near(host["kernel_threads_by"]["dio"].as_f64(), 0.075);
        near(host["pressure"]["cpu_some"].as_f64(), ticks(5.0) as f64 * 0.01 / 4.0);
        assert_eq!(host["kernel_threads_by"].as_object().unwrap().len(), 2, "{host}");
        near(health.load_json()["busiest_thread"].as_f64(), 0.25);
        near(Some(broker.cpu_seconds), 2.0);
        near(broker.charged_cpu_seconds, 5.0 - 1.0 - 0.5);
        let json = broker.json();
        near(json["cpu"].as_f64(), 0.5);
        near(json["charged_cpu"].as_f64(), 0.875);
        near(json["pressure"]["io_some"].as_f64(), 0.05);
        assert_eq!((&json["counted_by"], &json["page_cache_bytes"]), (&json!("cgroup"), &json!(3000)));
    }

    #[test]
    fn without_a_cgroup_the_process_is_counted() {
        let (_, broker) = four_seconds(false, true);
        assert!((broker.cpu_seconds - 1.5).abs() < 0.02 && broker.cgroup.is_none(), "{broker:?}");
        let json = broker.json();
        assert_eq!((&json["counted_by"], &json["rss_bytes"]), (&json!("process"), &json!(16384)));
        assert!(json["page_cache_bytes"].is_null() && json["pressure"].is_null());
    }

    /// From within a container nobody knows whose the rest is: it is called foreign, and nothing is charged.
    #[test]
    fn where_processes_are_hidden_nothing_is_charged() {
        let (health, broker) = four_seconds(true, false);
        let host = health.host_json();
        assert!(host["kernel_threads"].is_null() && broker.charged_cpu_seconds.is_none(), "{host} {broker:?}");
        let foreign = host["foreign_cpu"].as_f64().unwrap();
        assert!((foreign - 0.5).abs() < 0.02, "{foreign}");
    }

    #[test]
    fn this_process_is_looked_at() {
        let (stop, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv());
        let sample = Observer::new(Path::new(crate::process::ROOT), Some(std::process::id())).look(5);
        assert!(sample.host.is_some_and(|ticks| ticks.total > ticks.busy && ticks.busy > 0.0), "{sample:?}");
        assert!(!sample.threads_ns.is_empty() && sample.broker.is_some());
        drop(stop);
        assert!(thread.join().unwrap().is_err());
    }
}
