//! `loadgen run FILE`: several loads at once, and the lag of their groups.

mod file;
mod lag;

use crate::cluster::{Broker, Fault, open_topic};
use crate::options::{Command, Scenario};
use crate::report::Report;
use file::Load;
use lag::{Lag, Observed};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// The report of a load, and whether the broker did what it should.
type Reported = Result<(Report, bool), Fault>;

/// What became of all loads.
pub struct Outcome {
    loads: Vec<(Load, Reported)>,
    lags: Vec<Lag>,
}

pub fn run(options: &Scenario) -> Result<Outcome, Fault> {
    let path = options.file.display();
    let text = std::fs::read_to_string(&options.file).map_err(|error| Fault::Io(path.to_string(), error))?;
    let loads = file::loads(&text).map_err(|why| Fault::Other(format!("{path}: {why}")))?;
    // Topics are made in the order of the loads, so that those which only read find the partitions that writers want.
    for target in loads.iter().filter(|load| load.needs_topic()).filter_map(|load| load.command.target()) {
        open_topic(&mut Broker::bootstrap(target)?, target, true)?;
    }
    let begin = Instant::now();
    let (reports, lags) = scope(|scope| {
        let mut threads = Vec::new();
        for load in &loads {
            let at = begin + Duration::from_secs_f64(load.after_seconds);
            threads.push(scope.spawn(move || {
                sleep(at.saturating_duration_since(Instant::now()));
                let over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    // The backlog is looked at before the first member joins.
                    let observed: Vec<Observed> =
                        Observed::of(&load.command).into_iter().map(Observed::start).collect();
                    let over = &over;
                    let watch = |observed: Observed| scope.spawn(move || observed.watch(begin, over));
                    let lags: Vec<_> = observed.into_iter().map(watch).collect();
                    let result = carry_out(&load.command);
                    over.store(true, Ordering::SeqCst);
                    (result, lags.into_iter().map(|lag| lag.join().expect("a look does not panic")).collect::<Vec<_>>())
                })
            }));
        }
        let joined = threads.into_iter().map(|thread| thread.join().expect("a load does not panic"));
        joined.unzip::<_, _, Vec<_>, Vec<_>>()
    });
    let lags = lags.into_iter().flatten().collect();
    Ok(Outcome { loads: loads.into_iter().zip(reports).collect(), lags })
}

/// Gives the report of one load, weighed, and whether the broker did what it should.
fn carry_out(command: &Command) -> Reported {
    let weighed = |(mut report, is_faultless): (Report, bool)| {
        report.weigh();
        (report, is_faultless)
    };
    let faultless = |report| (report, true);
    match command {
        Command::Produce(options) => crate::produce::produce(options).map(faultless).map(weighed),
        Command::Consume(options) => crate::consume::consume(options).map(faultless).map(weighed),
        Command::EndToEnd(options) => crate::end_to_end::end_to_end(options).map(faultless).map(weighed),
        Command::Group(options) => crate::group::group(options).map(weighed),
        Command::Commit(options) => crate::commit::commit(options).map(weighed),
        Command::Churn(options) => crate::churn::churn(options).map(faultless).map(weighed),
        Command::Verify(options) => crate::verify::verify(options).map(faultless),
        Command::Agent(_) | Command::Search(_) | Command::Compare(_) | Command::Run(_) => {
            unreachable!("a file has no such table")
        }
    }
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
