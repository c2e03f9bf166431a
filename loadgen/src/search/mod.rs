//! `loadgen search`: the highest rate at which the broker keeps within limits, found by loads at one rate each.

mod limit;
mod plan;
mod print;
mod step;

pub use limit::Limit;

use crate::INVALID;
use crate::cluster::Fault;
use crate::drive;
use crate::end_to_end;
use crate::options::Search;
use crate::process::ROOT;
use crate::produce;
use crate::schedule::Rate;
use plan::{PASSES, Plan};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use step::{Step, Verdict};

/// How often a step is tried that is not valid.
const TRIES: usize = 2;
/// Shorter steps do not show whether the backlog grows.
const SECONDS_MIN: f64 = 1.0;

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Found {
    pub steps: Vec<Step>,
    pub rate: Option<f64>,
    /// What the lowest rate had that did not pass.
    pub limited_by: Vec<String>,
    /// Why the rate is not what it seems.
    pub why: Vec<String>,
    /// What the drives of the broker's data can do at most, where that was measured.
    pub drive: Option<String>,
}

pub fn search(options: &Search) -> Result<ExitCode, Fault> {
    let refuse = |why: &str| Err(Fault::Other(why.to_string()));
    if options.load.target.seconds(false).is_some_and(|seconds| seconds < SECONDS_MIN) {
        return refuse("a step needs --seconds of at least 1");
    }
    if options.to.is_some_and(|to| to < options.from) {
        return refuse("--to is below --from");
    }
    let drive = options.load.target.broker_pid.and_then(|pid| drive::headline(Path::new(ROOT), pid));
    let mut plan = Plan::new(options.from, options.to, options.precision / 100.0);
    let (mut steps, mut gone) = (Vec::new(), None);
    while let Some(rate) = plan.next() {
        match try_rate(options, rate, &mut steps) {
            Ok(true) => plan.pass(rate),
            Ok(false) => plan.fail(rate),
            // There is nothing to report yet.
            Err(fault) if steps.is_empty() => return Err(fault),
            Err(fault) => {
                gone = Some(fault);
                break;
            }
        }
    }
    let found = Found { drive, ..conclude(&plan, steps, gone) };
    let write =
        |path: &Path, text: String| fs::write(path, text).map_err(|error| Fault::Io(path.display().to_string(), error));
    match options.load.target.json {
        true => println!("{}", print::object(&found, &options.max)),
        false => print!("{}", print::text(&found)),
    }
    options.csv.as_ref().map_or(Ok(()), |path| write(path, print::csv(&found.steps)))?;
    options.svg.as_ref().map_or(Ok(()), |path| write(path, print::chart(&found, &options.max)))?;
    Ok(if found.why.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// Whether a rate passes. A step that is not valid is repeated; in the end it leads the search on all the same, and the search is
/// not valid if it rests on it.
fn try_rate(options: &Search, rate: f64, steps: &mut Vec<Step>) -> Result<bool, Fault> {
    let mut load = options.load.clone();
    load.writing.rate = Some(Rate::constant(rate));
    let mut is_kept = false;
    for _ in 0..TRIES {
        let (report, backlog) = match options.end_to_end(&load) {
            Some(load) => end_to_end::run(&load)?,
            None => produce::run(&load)?,
        };
        let verdict = Verdict::of(&report, &backlog, &options.max, rate);
        let step = Step::new(rate, &report, verdict);
        eprintln!("{}", print::line(steps.len() + 1, &step));
        is_kept = step.verdict.is_kept();
        let is_valid = step.verdict.is_valid();
        steps.push(step);
        if is_valid {
            break;
        }
    }
    Ok(is_kept)
}

/// Judges the search itself.
fn conclude(plan: &Plan, steps: Vec<Step>, gone: Option<Fault>) -> Found {
    let last = |rate: f64| steps.iter().rfind(|step| step.rate == rate);
    let mut why: Vec<String> = gone.iter().map(|fault| format!("the search ended early: {fault}")).collect();
    let ceiling = plan.ceiling().and_then(last);
    if let Some(Step { rate, verdict, .. }) = ceiling.filter(|step| !step.verdict.is_valid()) {
        let own = verdict.own.join("; ");
        why.push(format!("the load or its host may be the limit and not the broker, at {rate}: {own}"));
    }
    match plan.best() {
        None => why.push("no rate passed".to_string()),
        Some(rate) => {
            let is_pass = |step: &&Step| step.rate == rate && step.verdict.is_valid() && step.verdict.is_kept();
            let passes = steps.iter().filter(is_pass).count();
            if passes < PASSES as usize && gone.is_none() {
                let own = last(rate).map_or(String::new(), |step| step.verdict.own.join("; "));
                why.push(format!("{passes} valid steps passed at {rate}, not {PASSES}: {own}"));
            }
        }
    }
    let mut limited_by = ceiling.map_or(Vec::new(), |step| step.verdict.broker.clone());
    if ceiling.is_none() && gone.is_none() {
        limited_by.push("--to".to_string());
    }
    Found { rate: plan.best(), limited_by, why, steps, drive: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: &str = "slow";

    fn step(rate: f64, broker: &[&str], own: &[&str]) -> Step {
        let [broker, own] = [broker, own].map(|why| why.iter().map(|why| why.to_string()).collect());
        Step { rate, verdict: Verdict { broker, own }, figures: serde_json::Map::new() }
    }

    /// 100 passes and 200 does not.
    fn plan() -> Plan {
        let mut plan = Plan::new(100.0, None, 0.05);
        plan.pass(100.0);
        plan.fail(200.0);
        plan
    }

    #[test]
    fn a_search_that_rests_on_valid_steps_is_valid() {
        let steps = vec![step(100.0, &[], &[]), step(200.0, &[SLOW], &[]), step(100.0, &[], &[])];
        let found = conclude(&plan(), steps, None);
        assert_eq!((found.rate, found.why), (Some(100.0), Vec::new()));
        assert_eq!(found.limited_by, [SLOW]);
        let mut all = Plan::new(100.0, Some(100.0), 0.05);
        all.pass(100.0);
        let found = conclude(&all, vec![step(100.0, &[], &[]), step(100.0, &[], &[])], None);
        assert_eq!((found.limited_by, found.why), (vec!["--to".to_string()], Vec::new()));
    }

    #[test]
    fn what_the_load_cannot_do_is_not_the_brokers_limit() {
        let why = |steps: Vec<Step>| conclude(&plan(), steps, None).why;
        let pass = || step(100.0, &[], &[]);
        let busy = why(vec![pass(), step(200.0, &[SLOW], &["busy"]), pass()]);
        assert!(busy.len() == 1 && busy[0].ends_with("and not the broker, at 200: busy"), "{busy:?}");
        let late = why(vec![pass(), step(200.0, &[SLOW], &[]), step(100.0, &[], &["late"])]);
        assert_eq!(late, ["1 valid steps passed at 100, not 2: late"]);
    }

    #[test]
    fn a_search_without_an_end_says_so() {
        let steps = vec![step(100.0, &[], &[]), step(200.0, &[SLOW], &[])];
        let found = conclude(&plan(), steps, Some(Fault::Other("away".to_string())));
        assert_eq!((found.rate, found.why), (Some(100.0), vec!["the search ended early: away".to_string()]));
        let mut none = Plan::new(100.0, None, 0.05);
        none.fail(100.0);
        assert_eq!(conclude(&none, vec![step(100.0, &[SLOW], &[])], None).why, ["no rate passed"]);
    }
}
