//! `loadgen commit`: offset commits as fast as the requests in flight allow, each connection for a group of its own; at the
//! end every group's positions are asked for, and none may be behind what was acknowledged.

use crate::cluster::{Broker, Fault, LATEST, check, offsets, open_topic};
use crate::epoll::Epoll;
use crate::link::{ANSWER_MS, Asking, lost_code};
use crate::live::say;
use crate::options::Commit;
use crate::process::raise_file_limit;
use crate::report::Report;
use crate::run::{Run, Watched, deal, endings, start, watch};
use crate::tally::SharedTally;
use klamm::client::offsets::{self as positions, COMMIT_VERSION_MAX, FETCH_VERSION_MAX};
use klamm::client::partition::TopicPartition;
use klamm::wire::codec::Reader;
use klamm::wire::messages::{ApiKey, OffsetCommitResponse};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How long answers are awaited after the end.
const DRAIN_NS: u64 = 60_000_000_000;

/// One connection and its group, which has no members: it commits as a consumer does that assigns itself.
struct Committer {
    /// Each request with the offset that it commits.
    asking: Asking<i64>,
    group: String,
    partitions: Vec<TopicPartition>,
    version: i16,
    /// The offset of the last commit, and the last one that was acknowledged.
    offset: i64,
    acknowledged: i64,
    alive: bool,
}

/// Gives the report, and whether every acknowledged commit was there at the end.
pub fn commit(options: &Commit) -> Result<(Report, bool), Fault> {
    let target = &options.target;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let all: Vec<i32> = offsets(&layout, LATEST)?.into_keys().collect();
    let place = |partition: &i32| TopicPartition::new(&target.topic, *partition);
    let run_id: u32 = rand::random();
    let mut committers = Vec::new();
    for number in 0..target.connections {
        let group = format!("loadgen-commit-{run_id:08x}-{number}");
        let coordinator = broker.coordinator(&group)?;
        let count = (options.partitions_per_commit as usize).min(all.len());
        let asking = Asking::connect(coordinator).map_err(|error| Fault::Io(coordinator.to_string(), error))?;
        committers.push(Committer {
            asking,
            group,
            partitions: all.iter().cycle().skip(number as usize).take(count).map(place).collect(),
            version: broker.versions.common(ApiKey::OffsetCommit)?.min(COMMIT_VERSION_MAX),
            offset: 0,
            acknowledged: 0,
            alive: true,
        });
    }
    let threads = target.threads(committers.len());
    let watched = [Watched::new(None, threads)];
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, committers) in deal(committers, threads).into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].tallies[thread].clone());
        let in_flight = options.in_flight as usize;
        handles.push(start(&ended, move || Load { run, tally, in_flight, committers }.run()));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    let mut behind = 0;
    for handle in handles {
        let committers = handle.join().expect("a thread of load does not panic");
        for committer in committers.map_err(|error| Fault::Io("load".to_string(), error))? {
            behind += positions_behind(&mut broker, &committer)?;
        }
    }
    let commits_per_second = if report.seconds > 0.0 { report.tally.requests as f64 / report.seconds } else { 0.0 };
    report.more.push(("commits", json!(report.tally.requests)));
    report.more.push(("commits_per_second", json!(commits_per_second)));
    report.more.push(("positions_behind", json!(behind)));
    let faultless = behind == 0 && report.tally.requests > 0;
    Ok((report, faultless))
}

/// How many of a group's positions are behind what was acknowledged.
fn positions_behind(broker: &mut Broker, committer: &Committer) -> Result<usize, Fault> {
    if committer.acknowledged == 0 {
        return Ok(0);
    }
    let mut coordinator = Broker::connect(broker.coordinator(&committer.group)?)?;
    let request = positions::fetch(&committer.group, &committer.partitions);
    let version = coordinator.versions.common(ApiKey::OffsetFetch)?.min(FETCH_VERSION_MAX);
    let answer = coordinator.call_in(ApiKey::OffsetFetch, version, |w| request.encode(w, version))?;
    let (code, found) = positions::fetched(&mut Reader::new(&answer), version)?;
    check(|| format!("positions of {}", committer.group), code)?;
    let found = |place: &TopicPartition| found.iter().any(|(at, next)| at == place && *next >= committer.acknowledged);
    Ok(committer.partitions.iter().filter(|partition| !found(partition)).count())
}

/// One thread's connections.
struct Load {
    run: Arc<Run>,
    tally: SharedTally,
    in_flight: usize,
    committers: Vec<Committer>,
}

impl Load {
    fn run(mut self) -> io::Result<Vec<Committer>> {
        let mut epoll = Epoll::new(self.run.busy_poll)?;
        for (token, committer) in self.committers.iter().enumerate() {
            epoll.add(committer.asking.stream(), token)?;
        }
        (0..self.committers.len()).for_each(|i| self.pump(i));
        let (mut events, mut ended_ns) = (Vec::new(), None);
        loop {
            let now_ns = self.run.clock.now_ns();
            if !self.run.goes_on(now_ns) {
                let ended_ns = *ended_ns.get_or_insert(now_ns);
                let idle = self.committers.iter().all(|committer| committer.asking.under_way() == 0);
                if idle || now_ns > ended_ns + DRAIN_NS {
                    return Ok(self.committers);
                }
            }
            if !self.committers.iter().any(|committer| committer.alive) {
                return Ok(self.committers);
            }
            for i in 0..self.committers.len() {
                if let Err(error) = self.committers[i].asking.check(now_ns) {
                    self.lose(i, &error);
                }
            }
            epoll.wait(WAIT_MAX, &mut events)?;
            for event in &events {
                if event.readable && self.committers[event.token].alive {
                    self.receive(event.token);
                }
                self.pump(event.token);
            }
        }
    }

    fn pump(&mut self, i: usize) {
        let now_ns = self.run.clock.now_ns();
        let committer = &mut self.committers[i];
        if !committer.alive {
            return;
        }
        while self.run.goes_on(now_ns) && committer.asking.under_way() < self.in_flight && self.run.take(1, now_ns) {
            committer.offset += 1;
            let (of, times) = ((ApiKey::OffsetCommit, committer.version), (now_ns, ANSWER_MS));
            let Committer { group, partitions, offset, .. } = committer;
            let request = positions::commit(group, partitions.iter().map(|place| (place, *offset)));
            committer.asking.push(of, times, *offset, |w| request.encode(w, of.1));
        }
        if let Err(error) = committer.asking.flush() {
            self.lose(i, &error);
        }
    }

    fn receive(&mut self, i: usize) {
        let now_ns = self.run.clock.now_ns();
        let Committer { asking, acknowledged, partitions, .. } = &mut self.committers[i];
        let tally = &self.tally;
        let result = asking.receive(|answered, body| {
            let answer = OffsetCommitResponse::decode(&mut Reader::new(body), answered.version)?;
            let codes: Vec<i16> =
                answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect();
            tally.with(|tally| {
                codes.iter().filter(|&&code| code != 0).for_each(|&code| tally.error(code, 1));
                if codes.len() == partitions.len() && codes.iter().all(|&code| code == 0) {
                    tally.request(now_ns, now_ns.saturating_sub(answered.sent.0));
                    tally.records += codes.len() as u64;
                    *acknowledged = answered.what;
                }
            });
            Ok(())
        });
        if let Err(error) = result {
            self.lose(i, &error);
        }
    }

    fn lose(&mut self, i: usize, error: &io::Error) {
        let committer = &mut self.committers[i];
        committer.alive = false;
        let lost = committer.asking.give_up().count().max(1) as u64;
        say(format!("connection lost: {error}"));
        self.tally.with(|tally| tally.error(lost_code(error), lost));
    }
}
