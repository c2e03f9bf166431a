//! `loadgen produce`: requests as fast as their answers allow, or on schedule whatever the broker does.

use crate::backlog::Backlog;
use crate::cluster::{Broker, Fault, open_topic};
use crate::load::{Load, Outcome, Own};
use crate::options::{Produce, Writing};
use crate::producer;
use crate::report::Report;
use crate::run::{LAG, Run, SERVICE, Watched, deal, endings, start, watch};
use crate::schedule::{Arrival, Pace, Schedule};
use crate::tally::Miss;
use serde_json::json;
use std::sync::Arc;

pub fn produce(options: &Produce) -> Result<Report, Fault> {
    run(options).map(|(report, _)| report)
}

/// Gives besides what was due and not answered while it went on.
pub fn run(options: &Produce) -> Result<(Report, Backlog), Fault> {
    let Produce { target, writing, shape } = options;
    producer::check(writing)?;
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let shares = producer::shares(&layout, target, shape);
    let writing = &producer::fit(writing, &shares);
    let producers = producer::connect(&mut broker, &layout, shares, (target, writing, shape), None)?;
    let threads = target.threads(producers.len());
    let mut watched = vec![Watched::divided(None, threads)];
    watched.extend(on_schedule(writing, threads));
    let run = Arc::new(Run::begin(target, target.seconds_of(writing.rate)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, producers) in deal(producers, threads).into_iter().enumerate() {
        let (run, tally) = (run.clone(), (watched[0].divided_tally(&run, thread), own(&watched[1..], &run, thread)));
        let (schedules, writing) = (schedules(writing, &run, (thread, threads), producers.len()), writing.clone());
        handles.push(start(&ended, move || Load::new(run, tally, producers, schedules, &writing)?.run()));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    let (mut unsent, mut looks) = (0, Vec::new());
    for handle in handles {
        let outcome = handle.join().expect("a thread of load does not panic");
        let Outcome { unsent: more, backlog, .. } = outcome.map_err(|error| Fault::Io("load".to_string(), error))?;
        unsent += more;
        looks.push(backlog);
    }
    if run.end_ns == u64::MAX && run.records_left() > 0 {
        // All of them were wanted, and nothing worked any more.
        unsent += run.records_left();
        report.tally.miss(Miss::Unsent, run.records_left());
    }
    if writing.rate.is_some() {
        report.more.push(("records_unsent", json!(unsent)));
    }
    Ok((report, Backlog::of(&looks)))
}

/// What a load on schedule logs besides its latencies.
pub fn on_schedule(writing: &Writing, threads: usize) -> Vec<Watched> {
    let tags = [LAG, SERVICE].into_iter().filter(|_| writing.rate.is_some());
    tags.map(|tag| Watched::divided(Some(tag), threads)).collect()
}

/// Where a thread counts it.
pub fn own(watched: &[Watched], run: &Run, thread: usize) -> Option<Own> {
    let [lag, service] = watched else { return None };
    Some(Own { lag: lag.divided_tally(run, thread), service: service.divided_tally(run, thread) })
}

/// What is due of a load with a rate, in requests of so many records.
pub fn pace(writing: &Writing, run: &Run, records: usize) -> Option<Pace> {
    Some(Pace::new(writing.rate?, writing.arrival.unwrap_or(Arrival::Even), records, run.measure_ns))
}

/// The schedules of the records of a thread's connections, none without a rate.
pub fn schedules(writing: &Writing, run: &Run, (thread, threads): (usize, usize), connections: usize) -> Vec<Schedule> {
    let Some(pace) = pace(writing, run, 1) else { return Vec::new() };
    (0..connections).map(|i| pace.schedule(i * threads + thread, connections * threads)).collect()
}
