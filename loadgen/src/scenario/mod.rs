//! `loadgen run FILE`: several loads at once, and the lag of their groups.

mod file;
mod lag;

use crate::agent::{self, Prepared};
use crate::cluster::{Broker, Fault, open_topic};
use crate::gate;
use crate::loads::{Reported, carry_out};
use crate::options::Scenario;
use file::Load;
use lag::{Lag, Observed};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// How long before a load begins its agents are asked to prepare it.
const PREPARATION: Duration = Duration::from_secs(1);

/// What became of all loads.
pub struct Outcome {
    /// The file.
    text: String,
    loads: Vec<(Load, Reported)>,
    lags: Vec<Lag>,
}

/// The moment from which loads count, on both of this host's clocks, and the set that they are for agents.
#[derive(Clone, Copy)]
struct Begin {
    at: Instant,
    wall_ns: u64,
    set: u32,
}

pub fn run(options: &Scenario) -> Result<Outcome, Fault> {
    let path = options.file.display();
    let text = std::fs::read_to_string(&options.file).map_err(|error| Fault::Io(path.to_string(), error))?;
    let loads = file::loads(&text, options).map_err(|why| Fault::Other(format!("{path}: {why}")))?;
    gate::prepare(options.out.as_deref())?;
    for load in &loads {
        gate::prepare(load.command.target().out.as_deref())?;
    }
    // Topics are made in the order of the loads, so that those which only read find the partitions that writers want.
    for target in loads.iter().filter(|load| load.needs_topic()).map(|load| load.command.target()) {
        open_topic(&mut Broker::bootstrap(target)?, target, true)?;
    }
    let set = rand::random();
    let mut prepared = Vec::new();
    for load in &loads {
        let is_first = load.after_seconds == 0.0 && !load.command.target().agents.is_empty();
        prepared.push(is_first.then(|| prepare(load, set)).transpose()?);
    }
    let begin = match options.agents.is_empty() {
        true => Begin { at: Instant::now(), wall_ns: 0, set },
        false => Begin::soon(set),
    };
    let (reports, lags): (Vec<_>, Vec<_>) = scope(|scope| {
        let threads = loads.iter().zip(prepared);
        let threads = threads.map(|(load, prepared)| scope.spawn(move || one(load, prepared, begin)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("a load does not panic")).unzip()
    });
    let lags = lags.into_iter().flatten().collect();
    Ok(Outcome { text, loads: loads.into_iter().zip(reports).collect(), lags })
}

fn prepare(load: &Load, set: u32) -> Result<Prepared, Fault> {
    agent::prepare(load.command.target(), &load.words, set)
}

impl Begin {
    fn soon(set: u32) -> Begin {
        let (at, wall_ns) = (Instant::now(), agent::soon_ns());
        Begin { at: at + agent::AHEAD, wall_ns, set }
    }
}

/// Carries out one load when its time comes, and looks at its groups.
fn one(load: &Load, prepared: Option<Prepared>, begin: Begin) -> (Reported, Vec<Lag>) {
    let after = Duration::from_secs_f64(load.after_seconds);
    let wait_until = |at: Instant| sleep(at.saturating_duration_since(Instant::now()));
    let target = load.command.target();
    if !target.agents.is_empty() {
        let due_ns = begin.wall_ns + after.as_nanos() as u64;
        let (prepared, at_ns) = match prepared {
            Some(prepared) => (Ok(prepared), due_ns),
            None => {
                wait_until((begin.at + after).checked_sub(PREPARATION).unwrap_or(begin.at));
                let prepared = prepare(load, begin.set);
                (prepared, due_ns.max(agent::soon_ns()))
            }
        };
        let report = prepared.and_then(|prepared| prepared.run(target, at_ns));
        return (report.map(|report| (report, true)), Vec::new());
    }
    wait_until(begin.at + after);
    let over = AtomicBool::new(false);
    scope(|scope| {
        // The backlog is looked at before the first member joins.
        let observed: Vec<Observed> = Observed::of(&load.command).into_iter().map(Observed::start).collect();
        let over = &over;
        let watch = |observed: Observed| scope.spawn(move || observed.watch(begin.at, over));
        let lags: Vec<_> = observed.into_iter().map(watch).collect();
        let result = carry_out(&load.command, &load.words);
        over.store(true, Ordering::SeqCst);
        (result, lags.into_iter().map(|lag| lag.join().expect("a look does not panic")).collect())
    })
}

impl Outcome {
    /// Whether no load found the broker faulty.
    pub fn is_faultless(&self) -> bool {
        self.loads.iter().all(|(_, result)| !matches!(result, Ok((_, false))))
    }

    /// Why the figures are not what they seem.
    pub fn why(&self) -> Vec<String> {
        let loads = self.loads.iter().flat_map(|(load, result)| {
            let why = match result {
                Ok((report, _)) => report.why.clone(),
                Err(fault) => vec![fault.to_string()],
            };
            why.into_iter().map(|why| format!("{}: {why}", load.name))
        });
        loads.chain(self.lags.iter().filter_map(Lag::doubt)).collect()
    }

    pub fn print(&self, as_json: bool) {
        if as_json {
            return println!("{}", self.json());
        }
        for (load, result) in &self.loads {
            println!("== {}", load.name);
            match result {
                Ok((report, _)) => print!("{}", report.text()),
                Err(fault) => println!("{:<22}{fault}", "NOT VALID"),
            }
        }
        self.lags.iter().for_each(|lag| print!("{}", lag.text()));
        self.why().iter().for_each(|why| println!("{:<22}{why}", "NOT VALID"));
    }

    /// Completes the directories of the run and of its loads, if there are any.
    pub fn keep(&self, options: &Scenario) -> Result<(), Fault> {
        let Some(directory) = &options.out else { return Ok(()) };
        for (load, result) in &self.loads {
            if let Ok((report, _)) = result {
                gate::keep(load.command.target(), &load.words, report)?;
            }
        }
        let given = [("file", json!(options.file.display().to_string())), ("text", json!(self.text))];
        let given = given.into_iter().chain([("agents", json!(options.agents))]);
        let given = given.map(|(name, value)| (name.to_string(), value)).collect();
        gate::keep_all(directory, given, self.json())
    }

    fn json(&self) -> Value {
        let report = |(load, result): &(Load, Reported)| {
            let report = match result {
                Ok((report, _)) => report.json(),
                Err(fault) => json!({"valid": false, "why": [fault.to_string()]}),
            };
            (load.name.clone(), report)
        };
        let why = self.why();
        json!({
            "loads": self.loads.iter().map(report).collect::<Map<_, _>>(),
            "lag": self.lags.iter().map(Lag::json).collect::<Vec<_>>(),
            "valid": why.is_empty(),
            "why": why,
        })
    }
}
