//! The span of one run, shared by its threads, and the watch over it: progress, interval log, the measured part.

use crate::agent;
use crate::cluster::Fault;
use crate::gate::{self, Row};
use crate::health::{BrokerUse, Health, Observer, Sample};
use crate::live::Screen;
use crate::options::Target;
use crate::process::{ROOT, Usage};
use crate::report::Report;
use crate::tally::{Clock, SharedTally, Tally, gather};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

const SECOND_NS: u64 = 1_000_000_000;
/// Values in the log's own column "max" are milliseconds.
const LOG_MAX_DIVISOR: f64 = 1e6;
/// How long before the end the load is looked at once more.
const SHORTLY_NS: u64 = 10_000_000;
/// Tags of what a load on schedule logs beside its latencies: from when a request was due until the load had it written or knew
/// that it had to wait for the broker, and from then to the answer.
pub const LAG: &str = "lag";
pub const SERVICE: &str = "service";

/// When a run begins and ends. Times are nanoseconds of its clock.
pub struct Run {
    pub clock: Clock,
    /// No request is made from here on; `u64::MAX` if records alone decide.
    pub end_ns: u64,
    /// Where the measured part begins.
    pub measure_ns: u64,
    /// How long answers are awaited after the end.
    pub drain_ns: u64,
    /// Threads look for answers all the time.
    pub busy_poll: bool,
    records_left: AtomicI64,
    over: AtomicBool,
}

impl Run {
    /// Begins a run at this moment, or at the one that all agents share, of so many seconds after the warm-up if it does not end otherwise.
    pub fn begin(target: &Target, seconds: Option<f64>) -> Self {
        agent::hold(target);
        let measure_ns = (target.warmup_seconds * SECOND_NS as f64) as u64;
        let end_ns = seconds.map_or(u64::MAX, |seconds| measure_ns + (seconds * SECOND_NS as f64) as u64);
        let records = target.records.map_or(i64::MAX, |records| i64::try_from(records).unwrap_or(i64::MAX));
        Run {
            clock: Clock::new(),
            end_ns,
            measure_ns,
            drain_ns: (target.drain_seconds * SECOND_NS as f64) as u64,
            busy_poll: target.busy_poll,
            records_left: AtomicI64::new(records),
            over: AtomicBool::new(false),
        }
    }

    /// Takes `records` that are due at `due_ns` from those still to be sent or read; false when none were left. Those of the
    /// warm-up come on top.
    pub fn take(&self, records: u64, due_ns: u64) -> bool {
        due_ns < self.measure_ns || self.records_left.fetch_sub(records as i64, Ordering::Relaxed) > 0
    }

    /// Records still to be sent or read.
    pub fn records_left(&self) -> u64 {
        u64::try_from(self.records_left.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether more requests are to be made.
    pub fn goes_on(&self, now_ns: u64) -> bool {
        now_ns < self.end_ns && !self.over.load(Ordering::Relaxed) && self.records_left() > 0
    }

    /// When the watch looks again: every second, at the start of the measured part, and shortly before the end, while all
    /// threads are there.
    fn tick_ns(&self, tick_ns: u64) -> u64 {
        let shortly = self.end_ns.saturating_sub(SHORTLY_NS);
        let moments = [self.measure_ns, shortly].into_iter().filter(|&moment| moment > tick_ns);
        moments.min().unwrap_or(u64::MAX).min(tick_ns + SECOND_NS)
    }

    /// Ends the run early, for all its threads.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Seconds by which rates are divided: the planned window, however early the last answer came; without a planned end, or
    /// when all that was wanted is done before it, up to `last_ns`.
    fn seconds(&self, last_ns: u64) -> f64 {
        let is_done = self.over.load(Ordering::Relaxed) || self.records_left() == 0;
        let end_ns = if self.end_ns == u64::MAX || is_done { last_ns.min(self.end_ns) } else { self.end_ns };
        end_ns.saturating_sub(self.measure_ns) as f64 / SECOND_NS as f64
    }
}

/// Latencies that a run logs: their tag in the log (none if they are the only ones), and where the threads count them.
pub struct Watched {
    pub tag: Option<&'static str>,
    pub tallies: Vec<SharedTally>,
    /// Where threads that tell the warm-up from the measured part by themselves count what belongs to it; of others everything
    /// before the measured part is left out.
    warmups: Vec<SharedTally>,
}

impl Watched {
    pub fn new(tag: Option<&'static str>, threads: usize) -> Self {
        Watched { tag, tallies: (0..threads).map(|_| SharedTally::new()).collect(), warmups: Vec::new() }
    }

    /// The same with a second tally for each thread, for what was due before the measured part.
    pub fn divided(tag: Option<&'static str>, threads: usize) -> Self {
        Watched { warmups: (0..threads).map(|_| SharedTally::new()).collect(), ..Watched::new(tag, threads) }
    }

    /// Where a thread counts.
    pub fn divided_tally(&self, run: &Run, thread: usize) -> DividedTally {
        DividedTally {
            measure_ns: run.measure_ns,
            measured: self.tallies[thread].clone(),
            warmup: self.warmups[thread].clone(),
        }
    }

    /// What was counted since the last time, and whether it belongs to the measured part.
    fn interval(&self, measuring: bool) -> (Tally, bool) {
        match measuring || self.warmups.is_empty() {
            true => (gather(&self.tallies), measuring),
            false => (gather(&self.warmups), false),
        }
    }
}

/// The tally of the measured part and that of the warm-up: what is due before the measured part begins is not in it, even if
/// its answer comes later.
#[derive(Clone)]
pub struct DividedTally {
    measure_ns: u64,
    measured: SharedTally,
    warmup: SharedTally,
}

impl DividedTally {
    /// Without a warm-up.
    pub fn whole(measured: SharedTally) -> Self {
        DividedTally { measure_ns: 0, warmup: measured.clone(), measured }
    }

    /// For what was due at `due_ns`.
    pub fn at(&self, due_ns: u64) -> &SharedTally {
        if due_ns >= self.measure_ns { &self.measured } else { &self.warmup }
    }
}

/// Starts a thread whose end the watch notices.
pub fn start<T: Send + 'static>(ended: &Sender<()>, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let ended = ended.clone();
    std::thread::spawn(move || {
        let result = work();
        // The watch has gone only if it failed itself.
        let _ = ended.send(());
        result
    })
}

/// Shares things out over threads, round robin.
pub fn deal<T>(things: Vec<T>, threads: usize) -> Vec<Vec<T>> {
    let mut shares: Vec<Vec<T>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, thing) in things.into_iter().enumerate() {
        shares[i % threads].push(thing);
    }
    shares
}

/// The pair that `start` and `watch` need.
pub fn endings() -> (Sender<()>, Receiver<()>) {
    channel()
}

/// Follows `threads` threads to their end, and shows on standard error how they go on. The report's main tally is that of the first of
/// `watched`; the other totals come with it.
pub fn watch(
    target: &Target,
    run: &Run,
    watched: &[Watched],
    threads: usize,
    ended: &Receiver<()>,
) -> Result<(Report, Vec<Tally>), Fault> {
    let fault = |error| Fault::Io("interval log".to_string(), error);
    let mut file = log_file(target)?;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("latencies in nanoseconds; the column of maxima in milliseconds")
        .with_start_time(SystemTime::now())
        .with_base_time(SystemTime::now())
        .with_max_value_divisor(LOG_MAX_DIVISOR)
        .begin_log_with(&mut file, &mut serializer)
        .map_err(fault)?;
    let mut totals: Vec<Tally> = watched.iter().map(|_| Tally::new()).collect();
    let mut rows = Vec::new();
    usage(target)?;
    let mut looks = Looks::begin(target);
    let mut screen = Screen::open(target.live, target.name.as_deref());
    let mut measuring = run.measure_ns == 0;
    let (mut tick_ns, mut running, mut goes_on) = (0, threads, true);
    while goes_on {
        running -= wait(run, run.tick_ns(tick_ns), running, ended);
        let now_ns = run.clock.now_ns();
        let seconds = (now_ns - tick_ns).max(1) as f64 / SECOND_NS as f64;
        let mut intervals: Vec<(Tally, bool)> = watched.iter().map(|watched| watched.interval(measuring)).collect();
        if running > 0 {
            screen.show(now_ns, seconds, watched, &intervals);
        }
        let (health, broker) = looks.look(run);
        let row = || Row::new((tick_ns, now_ns), watched, &intervals, (&health, broker.as_ref()));
        rows.extend(intervals[0].1.then(row));
        for (total, (watched, (interval, is_measured))) in totals.iter_mut().zip(watched.iter().zip(&mut intervals)) {
            if *is_measured {
                let tag = watched.tag.and_then(Tag::new);
                let (from, took) = (Duration::from_nanos(tick_ns), Duration::from_nanos(now_ns - tick_ns));
                log.write_histogram(&interval.latency, from, took, tag)
                    .map_err(|error| Fault::Other(format!("interval log: {error:?}")))?;
                total.take(interval);
            }
        }
        let begins = !measuring && now_ns >= run.measure_ns;
        if begins {
            measuring = true;
            looks.measure();
        }
        // Threads may have ended before it was seen that the measured part had begun.
        goes_on = running > 0 || begins;
        tick_ns = now_ns;
    }
    drop(log);
    file.flush().map_err(fault)?;
    let main = totals.remove(0);
    let seconds = run.seconds(main.last_ns);
    let of = |tag: &str| watched[1..].iter().position(|watched| watched.tag == Some(tag));
    let latency = |tag: &str| of(tag).map(|at| totals[at].latency.clone());
    let mut report = Report::new(main, seconds);
    (report.service, report.lag) = (latency(SERVICE), latency(LAG));
    (report.health, report.broker) = looks.end();
    report.rows = rows;
    if let Err(fault) = usage(target) {
        report.why.push(format!("the broker's process is gone: {fault}"));
    }
    Ok((report, totals))
}

/// What the kernel's files say of a run, look by look.
struct Looks {
    observer: Observer,
    /// Threads of load are busy all the time.
    is_polling: bool,
    latest: Sample,
    /// Where the measured part begins, and when there were threads of load last in the planned window.
    first: Sample,
    last: Sample,
}

impl Looks {
    fn begin(target: &Target) -> Looks {
        let mut observer = Observer::new(Path::new(ROOT), target.broker_pid);
        let first = observer.look(0);
        Looks { observer, is_polling: target.busy_poll, latest: first.clone(), last: first.clone(), first }
    }

    /// What was used since the look before.
    fn look(&mut self, run: &Run) -> (Health, Option<BrokerUse>) {
        let now_ns = run.clock.now_ns();
        let before = std::mem::replace(&mut self.latest, self.observer.look(now_ns));
        if now_ns <= run.end_ns {
            self.last = self.last.clone().or_later(self.latest.clone());
        }
        (Health::between(&before, &self.latest, self.is_polling), BrokerUse::between(&before, &self.latest))
    }

    /// The measured part begins at the latest look.
    fn measure(&mut self) {
        (self.first, self.last) = (self.latest.clone(), self.latest.clone());
    }

    /// Of the load within the planned window, and of the broker up to the end of the drain.
    fn end(self) -> (Health, Option<BrokerUse>) {
        (Health::between(&self.first, &self.last, self.is_polling), BrokerUse::between(&self.first, &self.latest))
    }
}

/// Waits until `next_ns` or until all threads have ended; gives the number that have.
fn wait(run: &Run, next_ns: u64, running: usize, ended: &Receiver<()>) -> usize {
    let mut count = 0;
    while count < running {
        let left = next_ns.saturating_sub(run.clock.now_ns());
        match ended.recv_timeout(Duration::from_nanos(left)) {
            Ok(()) => count += 1,
            Err(RecvTimeoutError::Timeout) => break,
            // Threads that panicked have not said that they end.
            Err(RecvTimeoutError::Disconnected) => return running,
        }
    }
    count
}

/// Where the intervals go, which is nowhere if nobody asked for them.
fn log_file(target: &Target) -> Result<Box<dyn Write>, Fault> {
    let Some(path) = target.log() else {
        return Ok(Box::new(io::sink()));
    };
    gate::prepare(target.out.as_deref())?;
    let file = File::create(&path).map_err(|error| Fault::Io(path.display().to_string(), error))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn usage(target: &Target) -> Result<Option<Usage>, Fault> {
    target
        .broker_pid
        .map(|pid| Usage::of(pid).map_err(|error| Fault::Io("--broker-pid".to_string(), error)))
        .transpose()
}
