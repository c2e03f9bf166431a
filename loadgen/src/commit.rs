//! `loadgen commit`: offset commits as fast as the requests in flight allow, each connection for a group of its own; at the
//! end every group's positions are asked for, and none may be behind what was acknowledged.

use crate::cluster::{Broker, Fault, LATEST, check, offsets, open_topic, resolve};
use crate::epoll::Epoll;
use crate::group::{Identity, commit as commit_request, fetch, fetched};
use crate::link::Link;
use crate::options::Commit;
use crate::process::raise_file_limit;
use crate::report::Report;
use crate::request::{CLIENT_ID, Topic};
use crate::run::{Run, Watched, deal, endings, start, watch};
use crate::tally::SharedTally;
use klamm::wire::codec::{DecodeError, Reader};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::{
    ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitResponse, ResponseHeader,
};
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How long answers are awaited after the end, and coordinators at the start.
const DRAIN_NS: u64 = 60_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// One connection and its group, which has no members: it commits as a consumer does that assigns itself.
struct Committer {
    link: Link,
    own: Identity,
    partitions: Vec<i32>,
    version: i16,
    /// The offset of the last commit, which is also its request's number; the last one that was acknowledged.
    offset: i32,
    acknowledged: i64,
    waiting: VecDeque<(i32, u64)>,
    alive: bool,
}

/// Gives the report, and whether every acknowledged commit was there at the end.
pub fn commit(options: &Commit) -> Result<(Report, bool), Fault> {
    let target = &options.target;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let all: Vec<i32> = offsets(&layout, LATEST)?.into_keys().collect();
    let run_id: u32 = rand::random();
    let mut committers = Vec::new();
    for number in 0..target.connections {
        let group = format!("loadgen-commit-{run_id:08x}-{number}");
        let coordinator = find(&mut broker, &group)?;
        let count = (options.partitions_per_commit as usize).min(all.len());
        let link = Link::connect(coordinator).map_err(|error| Fault::Io(coordinator.to_string(), error))?;
        committers.push(Committer {
            link,
            own: Identity { group, member: String::new(), generation: -1 },
            partitions: all.iter().cycle().skip(number as usize).take(count).copied().collect(),
            version: broker.versions.common(ApiKey::OffsetCommit)?,
            offset: 0,
            acknowledged: 0,
            waiting: VecDeque::new(),
            alive: true,
        });
    }
    let threads = target.threads(committers.len());
    let watched = [Watched::new(None, threads)];
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, committers) in deal(committers, threads).into_iter().enumerate() {
        let (run, tally, topic) = (run.clone(), watched[0].tallies[thread].clone(), layout.topic.clone());
        let in_flight = options.in_flight as usize;
        handles.push(start(&ended, move || Load { run, tally, topic, in_flight, committers }.run()));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    let mut behind = 0;
    for handle in handles {
        let committers = handle.join().expect("a thread of load does not panic");
        for committer in committers.map_err(|error| Fault::Io("load".to_string(), error))? {
            behind += positions_behind(&mut broker, &layout.topic, &committer)?;
        }
    }
    let commits_per_second = if report.seconds > 0.0 { report.tally.requests as f64 / report.seconds } else { 0.0 };
    report.more.push(("commits", json!(report.tally.requests)));
    report.more.push(("commits_per_second", json!(commits_per_second)));
    report.more.push(("positions_behind", json!(behind)));
    let faultless = behind == 0 && report.tally.requests > 0;
    Ok((report, faultless))
}

/// The coordinator of a group, once there is one.
fn find(broker: &mut Broker, group: &str) -> Result<SocketAddr, Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let key: std::borrow::Cow<'_, str> = group.into();
        let request = FindCoordinatorRequest { coordinator_keys: vec![key.clone()], key, key_type: 0 };
        let (version, answer) = broker.call(ApiKey::FindCoordinator, |w, version| request.encode(w, version))?;
        let answer = FindCoordinatorResponse::decode(&mut Reader::new(&answer), version)?;
        let (code, host, port) = match answer.coordinators.first() {
            Some(one) => (one.error_code, &one.host, one.port),
            None => (answer.error_code, &answer.host, answer.port),
        };
        let again = ErrorCode::from_code(code).is_some_and(ErrorCode::retriable) && Instant::now() < deadline;
        if !again {
            check(|| format!("coordinator of {group}"), code)?;
            return resolve(&format!("{host}:{port}"));
        }
        std::thread::sleep(POLL);
    }
}

/// How many of a group's positions are behind what was acknowledged.
fn positions_behind(broker: &mut Broker, topic: &Topic, committer: &Committer) -> Result<usize, Fault> {
    if committer.acknowledged == 0 {
        return Ok(0);
    }
    let mut coordinator = Broker::connect(find(broker, &committer.own.group)?)?;
    let request = fetch(&committer.own.group, topic, &committer.partitions);
    let (version, answer) = coordinator.call(ApiKey::OffsetFetch, |w, version| request.encode(w, version))?;
    let (code, positions) = fetched(&mut Reader::new(&answer), version)?;
    check(|| format!("positions of {}", committer.own.group), code)?;
    let found =
        |partition: &i32| positions.iter().any(|&(at, next)| at == *partition && next >= committer.acknowledged);
    Ok(committer.partitions.iter().filter(|partition| !found(partition)).count())
}

/// One thread's connections.
struct Load {
    run: Arc<Run>,
    tally: SharedTally,
    topic: Topic,
    in_flight: usize,
    committers: Vec<Committer>,
}

impl Load {
    fn run(mut self) -> io::Result<Vec<Committer>> {
        let mut epoll = Epoll::new(self.run.busy_poll)?;
        for (token, committer) in self.committers.iter().enumerate() {
            epoll.add(committer.link.stream(), token)?;
        }
        (0..self.committers.len()).for_each(|i| self.pump(i));
        let (mut events, mut ended_ns) = (Vec::new(), None);
        loop {
            let now_ns = self.run.clock.now_ns();
            if !self.run.goes_on(now_ns) {
                let ended_ns = *ended_ns.get_or_insert(now_ns);
                let idle = self.committers.iter().all(|committer| committer.waiting.is_empty());
                if idle || now_ns > ended_ns + DRAIN_NS {
                    return Ok(self.committers);
                }
            }
            if !self.committers.iter().any(|committer| committer.alive) {
                return Ok(self.committers);
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
        while self.run.goes_on(now_ns) && committer.waiting.len() < self.in_flight && self.run.take(1) {
            committer.offset += 1;
            let positions: Vec<(i32, i64)> =
                committer.partitions.iter().map(|&partition| (partition, committer.offset.into())).collect();
            let (version, number) = (committer.version, committer.offset);
            let frame = request_frame(ApiKey::OffsetCommit, version, number, Some(CLIENT_ID), |w| {
                commit_request(&committer.own, &self.topic, &positions).encode(w, version);
            });
            let mut outgoing = committer.link.outgoing();
            frame.iter().for_each(|part| outgoing.fields.extend_from_slice(part));
            committer.link.push(outgoing);
            committer.waiting.push_back((number, now_ns));
        }
        if let Err(error) = committer.link.flush() {
            self.lose(i, &error);
        }
    }

    fn receive(&mut self, i: usize) {
        let now_ns = self.run.clock.now_ns();
        let Committer { link, waiting, version, acknowledged, partitions, .. } = &mut self.committers[i];
        let tally = &self.tally;
        let result = link.receive(|answer| {
            let unreadable = |error: DecodeError| io::Error::other(format!("an answer that cannot be read: {error}"));
            let r = &mut Reader::new(answer);
            let header_version = ApiKey::OffsetCommit.header_versions(*version).1;
            let header = ResponseHeader::decode(r, header_version).map_err(unreadable)?;
            let (number, sent_ns) = waiting.pop_front().ok_or_else(|| io::Error::other("an answer to no request"))?;
            if header.correlation_id != number {
                return Err(io::Error::other("answers out of order"));
            }
            let answer = OffsetCommitResponse::decode(r, *version).map_err(unreadable)?;
            let codes: Vec<i16> =
                answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect();
            tally.with(|tally| {
                codes.iter().filter(|&&code| code != 0).for_each(|&code| tally.error(code, 1));
                if codes.len() == partitions.len() && codes.iter().all(|&code| code == 0) {
                    tally.request(now_ns, now_ns.saturating_sub(sent_ns));
                    tally.records += codes.len() as u64;
                    *acknowledged = number.into();
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
        let lost = committer.waiting.len().max(1) as u64;
        committer.waiting.clear();
        eprintln!("connection lost: {error}");
        self.tally.with(|tally| tally.error(ErrorCode::NetworkException.code(), lost));
    }
}
