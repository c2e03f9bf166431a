//! `loadgen group`: consumers in groups that join, leave and die in a pattern, and what that costs those who consume.

mod delivery;
mod driver;
mod pattern;
mod places;

pub use pattern::Pattern;

use crate::cluster::{Broker, EARLIEST, Fault, LATEST, Layout, offsets, open_topic};
use crate::link::ANSWER_MS;
use crate::load::{Load, Outcome};
use crate::options::{From, Group};
use crate::process::raise_file_limit;
use crate::produce::schedules;
use crate::producer;
use crate::report::{Report, summary};
use crate::request::Topic;
use crate::run::{Run, Watched, endings, start, watch};
use crate::schedule::Rate;
use crate::tally::{SharedTally, Tally};
use driver::Driver;
use klamm::client::member::Settings;
use pattern::{Action, Event};
use places::{Cluster, Places};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MS_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Seconds that a run goes on after the last event of its pattern.
const SECONDS_AFTER: f64 = 10.0;
/// Pause before a member asks something again that could not be answered.
const PAUSE_MS: u64 = 50;
/// How long records are awaited after the end.
const ARRIVAL_NS: u64 = 10 * SECOND_NS;

/// What members know and how they behave.
#[derive(Clone, Debug)]
pub struct Plan {
    /// They fetch and commit, or only are members.
    pub settings: Arc<Settings>,
    pub topic: Topic,
    pub partitions: i32,
    /// Where partitions are read from that have no committed position.
    pub starts: BTreeMap<i32, i64>,
}

/// What the thread that writes tells the one that reads.
struct Written {
    records: AtomicU64,
    unsent: AtomicU64,
    /// When the last record was written; `u64::MAX` while more are.
    end_ns: AtomicU64,
}

/// Gives the report, and whether every record that was acknowledged was delivered and every rebalance came to its end.
pub fn group(options: &Group) -> Result<(Report, bool), Fault> {
    let mut target = options.target.clone();
    let known_seconds = options.pattern.known_ns(options.session_ms as u64 * MS_NS) as f64 / SECOND_NS as f64;
    if target.seconds.is_none() && known_seconds > 0.0 {
        let ramp_seconds = options.writing.rate.and_then(Rate::ramp_seconds).unwrap_or(0.0);
        target.seconds = Some(ramp_seconds.max(known_seconds + SECONDS_AFTER));
    }
    if target.seconds_of(options.writing.rate).is_some_and(|seconds| target.warmup_seconds + seconds <= known_seconds) {
        eprintln!(
            "the coordinator knows of the pattern's last event after {known_seconds} s only: the run ends before"
        );
    }
    producer::check(&options.writing)?;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let mut broker = Broker::bootstrap(&target)?;
    let layout = open_topic(&mut broker, &target, true)?;
    let plan = plan(options, &layout)?;
    let places = Places::new(target.clone(), Cluster::of(&broker, &layout));
    let written = Arc::new(Written::new());
    let watched = [Watched::new(None, 1)];
    let writes = Watched::divided(None, 1);
    let writing = writing(options, &mut broker, &layout)?;
    let threads = 1 + usize::from(writing.is_some());
    let run = Arc::new(Run::begin(&target, target.seconds_of(options.writing.rate)));
    let (ended, endings) = endings();
    let mut writer = None;
    if let Some((producers, writing)) = writing {
        let (run, run_clock) = (run.clone(), run.clone());
        let (writes, written) = (writes.divided_tally(&run, 0), written.clone());
        writer = Some(start(&ended, move || {
            let schedules = schedules(&writing, &run, (0, 1), producers.len());
            let outcome = Load::new(run, (writes, None), producers, schedules, &writing).and_then(Load::run);
            written.ended(outcome.as_ref().ok(), run_clock.clock.now_ns());
            outcome.map(drop)
        }));
    } else {
        // Others may write as long as is read, even if that has no end.
        written.ended(None, run.end_ns.min(u64::MAX - 1));
    }
    let driver = driver(options, (run.clone(), watched[0].tallies[0].clone()), plan, places)?;
    let awaited = written.clone();
    let reader = start(&ended, move || driver.run(&awaited));
    drop(ended);
    let (mut report, _) = watch(&target, &run, &watched, threads, &endings)?;
    let fault = |error: io::Error| Fault::Io("load".to_string(), error);
    if let Some(writer) = writer {
        writer.join().expect("a thread of load does not panic").map_err(fault)?;
    }
    let result = reader.join().expect("a thread of load does not panic").map_err(fault)?;
    // Records that are written are counted when they are read.
    let writes = writes.tallies[0].with(|writes| writes.clone());
    report.tally.add_counts(&Tally { records: 0, bytes: 0, late_records: 0, late_bytes: 0, ..writes });
    let is_faultless = complete(&mut report, options, &written, &result);
    Ok((report, is_faultless))
}

impl Written {
    fn new() -> Written {
        Written { records: AtomicU64::new(0), unsent: AtomicU64::new(0), end_ns: AtomicU64::new(u64::MAX) }
    }

    fn ended(&self, outcome: Option<&Outcome>, now_ns: u64) {
        if let Some(outcome) = outcome {
            self.records.store(outcome.written, Ordering::SeqCst);
            self.unsent.store(outcome.unsent, Ordering::SeqCst);
        }
        self.end_ns.store(now_ns, Ordering::SeqCst);
    }

    /// Whether a group that has `delivered` records is still to get some. While it `is_sharing` its partitions out, those of
    /// a member that has died come when its session has ended, and the run is over before.
    fn keeps_waiting(&self, delivered: u64, is_sharing: bool, now_ns: u64) -> bool {
        let end_ns = self.end_ns.load(Ordering::SeqCst);
        let is_missing = delivered < self.records.load(Ordering::SeqCst);
        end_ns == u64::MAX || (is_missing && !is_sharing && now_ns < end_ns.saturating_add(ARRIVAL_NS))
    }
}

fn plan(options: &Group, layout: &Layout) -> Result<Plan, Fault> {
    let reads = options.writing.rate.is_some() || options.read;
    let settings = Settings {
        topics: vec![layout.topic.name.clone()],
        assignor: options.assignor.into(),
        session_ms: options.session_ms,
        rebalance_ms: options.rebalance_ms,
        heartbeat_ms: options.heartbeat_ms.into(),
        commit_ms: reads.then_some(options.commit_ms.into()),
        reads,
        pause_ms: PAUSE_MS,
        answer_ms: ANSWER_MS,
    };
    Ok(Plan {
        settings: Arc::new(settings),
        topic: layout.topic.clone(),
        partitions: layout.partitions() as i32,
        starts: offsets(layout, if options.from == From::Latest { LATEST } else { EARLIEST })?,
    })
}

/// The connections that feed the topic, if it is to be fed.
fn writing(
    options: &Group,
    broker: &mut Broker,
    layout: &Layout,
) -> Result<Option<(Vec<producer::Producer>, crate::options::Writing)>, Fault> {
    if options.writing.rate.is_none() {
        return Ok(None);
    }
    let mut writing = options.writing.clone();
    writing.batch_bytes = Some(writing.batch_bytes.unwrap_or(0));
    let shares = producer::shares(layout, &options.target, &options.shape);
    let writing = producer::fit(&writing, &shares);
    Ok(Some((producer::connect(broker, layout, shares, (&options.target, &writing, &options.shape), None)?, writing)))
}

fn driver(options: &Group, (run, tally): (Arc<Run>, SharedTally), plan: Plan, places: Places) -> Result<Driver, Fault> {
    let mut pattern = options.pattern.clone();
    pattern.0.insert(0, Event { at_ns: 0, action: Action::Join, members: options.members as usize });
    Driver::new((run, tally), plan, options.fetching.clone(), places, options.names(), pattern)
        .map_err(|error| Fault::Io("load".to_string(), error))
}

/// Adds what the groups came to; gives whether it is as it should be.
fn complete(report: &mut Report, options: &Group, written: &Written, result: &driver::Result) -> bool {
    let produced = written.records.load(Ordering::SeqCst);
    let missing: u64 = result.distinct_each.iter().map(|distinct| produced.saturating_sub(*distinct)).sum();
    // Whoever gets the partitions in a rebalance that the run's end cut off has them yet to read, and so has everybody if the
    // cluster was away.
    let is_open = result.unsettled > 0 || result.is_away;
    let (undelivered, lost) = if is_open { (missing, 0) } else { (0, missing) };
    let mut put = |name: &'static str, value| report.more.push((name, value));
    put("groups", json!(options.groups));
    put("members", json!(options.members));
    put("assignor", json!(klamm::client::assignment::Assignor::from(options.assignor).name()));
    put("first_message_ms", json!(result.first_ns.map(|ns| ns as f64 / MS_NS as f64)));
    for action in [Action::Join, Action::Leave, Action::Die] {
        if let Some(times) = result.rebalances.get(action.name()) {
            let name = match action {
                Action::Join => "rebalance_join_ms",
                Action::Leave => "rebalance_leave_ms",
                Action::Die => "rebalance_die_ms",
            };
            put(name, summary(times));
        }
    }
    put("member_rebalance_ms", summary(&result.shares));
    put("rebalances_unsettled", json!(result.unsettled));
    if options.writing.rate.is_some() || options.read {
        put("pause_kept_ms", summary(&result.kept));
        put("pause_moved_ms", summary(&result.moved));
        put("records_delivered", json!(result.distinct));
        put("duplicates", json!(result.duplicates));
    }
    if options.writing.rate.is_some() {
        put("records_produced", json!(produced));
        put("records_unsent", json!(written.unsent.load(Ordering::SeqCst)));
        put("records_undelivered", json!(undelivered));
        put("lost", json!(lost));
    }
    let faults = [(lost, "acknowledged records were not delivered"), (result.unsettled, "rebalances did not end")];
    let faults = faults.into_iter().filter(|(count, _)| *count > 0);
    report.why.extend(faults.map(|(count, what)| format!("{count} {what}")));
    report
        .why
        .extend(result.is_away.then(|| format!("the cluster was away at the end, with {undelivered} records to read")));
    lost == 0 && result.unsettled == 0
}
