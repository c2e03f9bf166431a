//! `loadgen churn`: connections that are opened and closed, and topics that are made and deleted.

use crate::cluster::{Broker, Fault, check};
use crate::options::Churn;
use crate::process::{Usage, raise_file_limit};
use crate::report::{Report, summary};
use crate::run::{Run, Watched, endings, start, watch};
use crate::schedule::{Arrival, Pace, Rate, Schedule};
use crate::tally::{SharedTally, Tally};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may take to make or delete a topic.
const TIMEOUT_MS: i32 = 30_000;
/// From here on a topic to delete is named by its name or its id.
const DELETE_VERSION_STATES: i16 = 6;
/// Longest wait without a look whether the run is over.
const NAP_MAX: Duration = Duration::from_millis(50);

/// One thread's share of the work of one kind.
#[derive(Clone)]
struct Worker {
    run: Arc<Run>,
    bootstrap: SocketAddr,
    /// `None`: as fast as answers come.
    schedule: Option<Schedule>,
    name: String,
    topic_partitions: i32,
}

pub fn churn(options: &Churn) -> Result<Report, Fault> {
    let target = &options.target;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let bootstrap = Broker::bootstrap(target)?.address;
    let usage = || -> Result<Option<Usage>, Fault> {
        let usage = target.broker_pid.map(Usage::of).transpose();
        usage.map_err(|error| Fault::Io("--broker-pid".to_string(), error))
    };
    let before = usage()?;
    let [openers, makers] = [options.workers, options.topic_workers].map(|workers| workers as usize);
    let rates = [options.rate, options.topic_rate].into_iter().flatten();
    let longer = rates.max_by(|a, b| a.ramp_seconds().partial_cmp(&b.ramp_seconds()).expect("times are numbers"));
    let run = Arc::new(Run::begin(target, target.seconds_of(longer)));
    let watched = [
        Watched::new(Some("connect"), openers),
        Watched::new(Some("create"), makers),
        Watched::new(Some("delete"), makers),
    ];
    let worker = |rate: Option<Rate>, thread: usize, threads: usize| Worker {
        run: run.clone(),
        bootstrap,
        schedule: rate.map(|rate| Pace::new(rate, Arrival::Even, 1, run.measure_ns).schedule(thread, threads)),
        name: format!("{}-{:08x}-{thread}", target.topic, rand::random::<u32>()),
        topic_partitions: target.partitions.map_or(1, |partitions| partitions as i32),
    };
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for thread in 0..openers {
        let (worker, tally) = (worker(options.rate, thread, openers), watched[0].tallies[thread].clone());
        handles.push(start(&ended, move || worker.connections(&tally)));
    }
    for thread in 0..makers {
        let (worker, create) = (worker(options.topic_rate, thread, makers), watched[1].tallies[thread].clone());
        let delete = watched[2].tallies[thread].clone();
        handles.push(start(&ended, move || worker.topics(&create, &delete)));
    }
    drop(ended);
    let (mut report, totals) = watch(target, &run, &watched, openers + makers, &endings)?;
    handles.into_iter().for_each(|handle| handle.join().expect("a thread of load does not panic"));
    report.seconds = run.clock.now_ns() as f64 / 1e9;
    complete(&mut report, &totals, (before, usage()?));
    Ok(report)
}

/// Rates of what was done, its latencies, and the broker's memory at both ends.
fn complete(report: &mut Report, totals: &[Tally], (before, after): (Option<Usage>, Option<Usage>)) {
    let seconds = report.seconds;
    let per_second = |count: u64| json!(if seconds > 0.0 { count as f64 / seconds } else { 0.0 });
    let [created, deleted] = totals else { unreachable!("two besides the main one") };
    report.tally.records = report.tally.requests + created.requests + deleted.requests;
    for total in totals {
        total.errors.iter().for_each(|(&code, &count)| report.tally.error(code, count));
    }
    let rss = |usage: Option<Usage>| json!(usage.map(|usage| usage.rss_bytes));
    let rows = [
        ("connections", json!(report.tally.requests)),
        ("connections_per_second", per_second(report.tally.requests)),
        ("topics_created", json!(created.requests)),
        ("topics_created_per_second", per_second(created.requests)),
        ("create_ms", summary(&created.latency)),
        ("topics_deleted", json!(deleted.requests)),
        ("delete_ms", summary(&deleted.latency)),
        ("broker_rss_bytes_before", rss(before)),
        ("broker_rss_bytes_after", rss(after)),
    ];
    report.more.extend(rows);
}

impl Worker {
    /// Waits for the time of the next round; gives the time at which it ought to begin, `None` at the end.
    fn next(&mut self) -> Option<u64> {
        loop {
            let now_ns = self.run.clock.now_ns();
            if !self.run.goes_on(now_ns) {
                return None;
            }
            let intended_ns = self.schedule.as_ref().map_or(now_ns, Schedule::intended_ns);
            if intended_ns <= now_ns {
                self.schedule.iter_mut().for_each(Schedule::advance);
                return Some(intended_ns);
            }
            std::thread::sleep(Duration::from_nanos(intended_ns - now_ns).min(NAP_MAX));
        }
    }

    /// A connection is one when the broker has said what it speaks.
    fn connections(mut self, tally: &SharedTally) {
        while let Some(intended_ns) = self.next() {
            self.count(tally, intended_ns, Broker::connect(self.bootstrap).map(drop));
        }
    }

    fn topics(mut self, create: &SharedTally, delete: &SharedTally) {
        let mut broker = None;
        for round in 0.. {
            let Some(intended_ns) = self.next() else { return };
            let name = format!("{}-{round}", self.name);
            let made = connection(&mut broker, self.bootstrap)
                .and_then(|broker| create_topic(broker, &name, self.topic_partitions));
            if !self.count(create, intended_ns, made) {
                broker = None;
                continue;
            }
            let begun_ns = self.run.clock.now_ns();
            let gone = connection(&mut broker, self.bootstrap).and_then(|broker| delete_topic(broker, &name));
            if !self.count(delete, begun_ns, gone) {
                broker = None;
            }
        }
    }

    /// Counts what was done, or why it was not.
    fn count(&self, tally: &SharedTally, since_ns: u64, result: Result<(), Fault>) -> bool {
        let now_ns = self.run.clock.now_ns();
        tally.with(|tally| match &result {
            Ok(()) => tally.request(now_ns, now_ns.saturating_sub(since_ns)),
            Err(Fault::Kafka(_, code)) => tally.error(*code, 1),
            Err(_) => tally.error(ErrorCode::NetworkException.code(), 1),
        });
        result.is_ok()
    }
}

fn connection(broker: &mut Option<Broker>, address: SocketAddr) -> Result<&mut Broker, Fault> {
    if broker.is_none() {
        *broker = Some(Broker::connect(address)?);
    }
    Ok(broker.as_mut().expect("it was just made"))
}

fn create_topic(broker: &mut Broker, name: &str, num_partitions: i32) -> Result<(), Fault> {
    let topic = CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, ..Default::default() };
    let (version, answer) = broker.call(ApiKey::CreateTopics, |w, version| request.encode(w, version))?;
    let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer), version)?;
    answer.topics.iter().try_for_each(|topic| check(|| format!("topic {name}"), topic.error_code))
}

fn delete_topic(broker: &mut Broker, name: &str) -> Result<(), Fault> {
    let state = DeleteTopicState { name: Some(name.into()), ..Default::default() };
    let version = broker.versions.common(ApiKey::DeleteTopics)?;
    let new_form = version >= DELETE_VERSION_STATES;
    let request = DeleteTopicsRequest {
        topics: if new_form { vec![state] } else { Vec::new() },
        topic_names: if new_form { Vec::new() } else { vec![name.into()] },
        timeout_ms: TIMEOUT_MS,
    };
    let (version, answer) = broker.call(ApiKey::DeleteTopics, |w, version| request.encode(w, version))?;
    let answer = DeleteTopicsResponse::decode(&mut Reader::new(&answer), version)?;
    answer.responses.iter().try_for_each(|topic| check(|| format!("topic {name}"), topic.error_code))
}
