//! `loadgen churn`: connections that are opened and closed, and topics that are made and deleted.

use crate::cluster::{Broker, Fault, check};
use crate::live::say;
use crate::options::{Churn, Target};
use crate::process::{Usage, raise_file_limit};
use crate::report::{Report, summary};
use crate::run::{DividedTally, Run, Watched, endings, start, watch};
use crate::schedule::{Arrival, Pace, Rate, Schedule};
use crate::tally::{Miss, Tally};
use klamm::client::patience::Patience;
use klamm::types::Time;
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::create_topics_request::CreatableTopic;
use klamm::wire::messages::delete_topics_request::DeleteTopicState;
use klamm::wire::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may take to make or delete a topic.
const TIMEOUT_MS: i32 = 30_000;
/// From here on a topic to delete is named by its name or its id.
const DELETE_VERSION_STATES: i16 = 6;
/// Longest wait without a look whether the run is over.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Pauses between two looks for a broker.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;
/// How long nothing may work before a load without a planned end gives up.
const GONE_MS: u64 = 60_000;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// One thread's share of the work of one kind. What is due has an outcome, as a record has in `load.rs`.
#[derive(Clone)]
struct Worker {
    run: Arc<Run>,
    target: Target,
    /// The broker that is connected to; another when it has gone.
    address: SocketAddr,
    /// `None`: as fast as answers come.
    schedule: Option<Schedule>,
    name: String,
    topic_partitions: i32,
    patience: Patience,
    given_up: bool,
    /// Where it is counted what is censored, and when it was due.
    missed: Vec<(DividedTally, u64)>,
}

pub fn churn(options: &Churn) -> Result<Report, Fault> {
    let target = &options.target;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let address = Broker::bootstrap(target)?.address;
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
        Watched::divided(Some("connect"), openers),
        Watched::divided(Some("create"), makers),
        Watched::divided(Some("delete"), makers),
    ];
    let patience_ms = if run.end_ns < u64::MAX { u64::MAX } else { GONE_MS };
    let worker = |rate: Option<Rate>, thread: usize, threads: usize| Worker {
        run: run.clone(),
        target: target.clone(),
        address,
        schedule: rate.map(|rate| Pace::new(rate, Arrival::Even, 1, run.measure_ns).schedule(thread, threads)),
        name: format!("{}-{:08x}-{thread}", target.topic, rand::random::<u32>()),
        topic_partitions: target.partitions.map_or(1, |partitions| partitions as i32),
        patience: Patience::new(patience_ms, PAUSES_MS),
        given_up: false,
        missed: Vec::new(),
    };
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for thread in 0..openers {
        let (worker, tally) = (worker(options.rate, thread, openers), watched[0].divided_tally(&run, thread));
        handles.push(start(&ended, move || worker.connections(&tally)));
    }
    for thread in 0..makers {
        let (worker, create) = (worker(options.topic_rate, thread, makers), watched[1].divided_tally(&run, thread));
        let delete = watched[2].divided_tally(&run, thread);
        handles.push(start(&ended, move || worker.topics(&create, &delete)));
    }
    drop(ended);
    let (mut report, totals) = watch(target, &run, &watched, openers + makers, &endings)?;
    handles.into_iter().for_each(|handle| handle.join().expect("a thread of load does not panic"));
    if run.end_ns == u64::MAX {
        let last_ns = totals.iter().map(|total| total.last_ns).fold(report.tally.last_ns, u64::max);
        report.seconds = last_ns.saturating_sub(run.measure_ns) as f64 / 1e9;
        // All of them were wanted, and nothing worked any more.
        let left = run.records_left();
        (left > 0).then(|| report.tally.miss(Miss::Unsent, left));
    }
    complete(&mut report, &totals, (before, usage()?));
    Ok(report)
}

/// Rates of what was done, its latencies, and the broker's memory at both ends.
fn complete(report: &mut Report, totals: &[Tally], (before, after): (Option<Usage>, Option<Usage>)) {
    let seconds = report.seconds;
    let per_second = |tally: &Tally| {
        let in_time = tally.records.saturating_sub(tally.late_records) as f64;
        json!(if seconds > 0.0 { in_time / seconds } else { 0.0 })
    };
    let [created, deleted] = totals else { unreachable!("two besides the main one") };
    let rss = |usage: Option<Usage>| json!(usage.map(|usage| usage.rss_bytes));
    let rows = [
        ("connections", json!(report.tally.requests)),
        ("connections_per_second", per_second(&report.tally)),
        ("topics_created", json!(created.requests)),
        ("topics_created_per_second", per_second(created)),
        ("create_ms", summary(&created.latency)),
        ("topics_deleted", json!(deleted.requests)),
        ("delete_ms", summary(&deleted.latency)),
        ("broker_rss_bytes_before", rss(before)),
        ("broker_rss_bytes_after", rss(after)),
    ];
    report.more.extend(rows);
    for total in totals {
        report.tally.add_counts(total);
    }
}

impl Worker {
    /// Waits for the time of the next round; gives the time at which it ought to begin, `None` at the end.
    fn next(&mut self) -> Option<u64> {
        loop {
            let now_ns = self.run.clock.now_ns();
            if !self.run.goes_on(now_ns) || self.given_up {
                return None;
            }
            let intended_ns = self.schedule.as_ref().map_or(now_ns, Schedule::intended_ns);
            if intended_ns <= now_ns {
                self.schedule.iter_mut().for_each(Schedule::advance);
                return self.run.take(1, intended_ns).then_some(intended_ns);
            }
            std::thread::sleep(Duration::from_nanos(intended_ns - now_ns).min(NAP_MAX));
        }
    }

    /// A connection is one when the broker has said what it speaks.
    fn connections(mut self, tally: &DividedTally) {
        while let Some(intended_ns) = self.next() {
            let made = Broker::connect_within(self.address, self.patience()).map(drop);
            self.count(tally, intended_ns, made);
        }
        self.finish(tally);
    }

    fn topics(mut self, create: &DividedTally, delete: &DividedTally) {
        let (mut broker, mut round) = (None, 0_u64);
        while let Some(intended_ns) = self.next() {
            let name = format!("{}-{round}", self.name);
            round += 1;
            let partitions = self.topic_partitions;
            let made = self.connection(&mut broker).and_then(|broker| create_topic(broker, &name, partitions));
            if !self.count(create, intended_ns, made) {
                broker = None;
                continue;
            }
            let begun_ns = self.run.clock.now_ns();
            let gone = self.connection(&mut broker).and_then(|broker| delete_topic(broker, &name));
            if !self.count(delete, begun_ns, gone) {
                broker = None;
            }
        }
        self.finish(create);
    }

    /// How long an answer is waited for: at most to the end of the drain.
    fn patience(&self) -> Duration {
        let end_ns = self.run.end_ns.saturating_add(self.run.drain_ns);
        Duration::from_nanos(end_ns.saturating_sub(self.run.clock.now_ns())).min(ANSWER_MAX)
    }

    /// The connection, which waits for an answer no longer than this round may.
    fn connection<'a>(&self, broker: &'a mut Option<Broker>) -> Result<&'a mut Broker, Fault> {
        if broker.is_none() {
            *broker = Some(Broker::connect_within(self.address, self.patience())?);
        }
        let broker = broker.as_mut().expect("it was just made");
        broker.wait_for(self.patience());
        Ok(broker)
    }

    /// Counts what was done, or why it was not; looks for a broker if this one has gone. Gives whether it was done.
    fn count(&mut self, tally: &DividedTally, due_ns: u64, result: Result<(), Fault>) -> bool {
        let now_ns = self.run.clock.now_ns();
        let late = u64::from(now_ns > self.run.end_ns);
        let (miss, code) = match &result {
            Ok(()) => {
                tally.at(due_ns).with(|tally| {
                    tally.request(now_ns, now_ns.saturating_sub(due_ns));
                    tally.records += 1;
                    tally.late_records += late;
                });
                self.patience.renew();
                return true;
            }
            Err(Fault::Kafka(_, code)) => (Miss::Refused, *code),
            Err(Fault::Io(_, error)) if is_silence(error) => (Miss::Unanswered, ErrorCode::RequestTimedOut.code()),
            Err(_) => (Miss::Lost, ErrorCode::NetworkException.code()),
        };
        tally.at(due_ns).with(|tally| {
            tally.error(code, 1);
            tally.miss(miss, 1);
        });
        self.missed.push((tally.clone(), due_ns));
        if let (Err(fault), false) = (&result, miss == Miss::Refused) {
            tally.at(due_ns).with(|tally| tally.lose(fault.to_string()));
            self.find_broker();
        }
        false
    }

    /// Waits until a broker is there again, or the run is over.
    fn find_broker(&mut self) {
        while self.run.goes_on(self.run.clock.now_ns()) {
            let left_ns = self.run.end_ns.saturating_sub(self.run.clock.now_ns());
            let within = Duration::from_nanos(left_ns).min(ANSWER_MAX);
            match Broker::bootstrap_within(&self.target, within) {
                Ok(broker) => {
                    self.address = broker.address;
                    return;
                }
                Err(fault) => say(format!("no broker yet: {fault}")),
            }
            let now_ns = self.run.clock.now_ns();
            let Some(at) = self.patience.failed(Time(now_ns)) else {
                self.given_up = true;
                return;
            };
            std::thread::sleep(Duration::from_nanos((at.0 - now_ns).min(self.run.end_ns.saturating_sub(now_ns))));
        }
    }

    /// Gives an outcome to the rounds that were due and not begun, and each that is censored its latency.
    fn finish(mut self, tally: &DividedTally) {
        let end_ns = self.run.clock.now_ns();
        while let Some(schedule) = &mut self.schedule {
            let due_ns = schedule.intended_ns();
            if due_ns >= self.run.end_ns.min(end_ns) || !self.run.take(1, due_ns) {
                break;
            }
            schedule.advance();
            tally.at(due_ns).with(|tally| tally.miss(Miss::Unsent, 1));
            self.missed.push((tally.clone(), due_ns));
        }
        for (tally, due_ns) in &self.missed {
            tally.at(*due_ns).with(|tally| tally.latency.saturating_record(end_ns.saturating_sub(*due_ns)));
        }
    }
}

/// Whether an answer has not come in time.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
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
