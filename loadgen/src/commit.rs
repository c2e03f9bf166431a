//! `loadgen commit`: offset commits as fast as the requests in flight allow, each connection for a group of its own; at the
//! end every group's positions are asked for, and none may be behind what was acknowledged.
//!
//! A commit is due when it is sent, and has an outcome: it is acknowledged or censored, as a record is in `load.rs`. A connection
//! that is lost finds its coordinator again, in a thread beside the others; a commit is never sent twice.

use crate::cluster::{Broker, Fault, LATEST, offsets, open_topic};
use crate::epoll::Epoll;
use crate::link::{ANSWER_MS, Asking, lost_code};
use crate::live::say;
use crate::options::{Commit, Target};
use crate::process::raise_file_limit;
use crate::report::Report;
use crate::run::{DividedTally, Run, Watched, deal, endings, start, watch};
use crate::tally::Miss;
use klamm::client::meaning::Meaning;
use klamm::client::offsets::{self as positions, COMMIT_VERSION_MAX};
use klamm::client::partition::TopicPartition;
use klamm::client::patience::Patience;
use klamm::types::Time;
use klamm::wire::codec::Reader;
use klamm::wire::messages::{ApiKey, OffsetCommitResponse};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// Longest wait without a look at the clock, and while a coordinator is looked for.
const WAIT_MAX: Duration = Duration::from_millis(100);
const WAIT_PLACING: Duration = Duration::from_millis(5);
/// Pauses between two attempts to find a coordinator, and how long nothing may work before a load without a planned end gives up.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;
const GONE_MS: u64 = 60_000;
/// How long the answers about positions are waited for at least, with however short a drain.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// Commits that are censored are told apart by the milliseconds in which they were sent.
const MS_NS: u64 = 1_000_000;

/// A commit that is under way.
#[derive(Clone, Copy)]
struct Sent {
    offset: i64,
    at_ns: u64,
}

/// Whether a committer may send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// Its coordinator is looked for from then on.
    Troubled {
        retry_ns: u64,
    },
    /// Its coordinator is being looked for.
    Placing,
    /// Nothing has worked for too long.
    GivenUp,
}

/// One connection and its group, which has no members: it commits as a consumer does that assigns itself.
struct Committer {
    /// `None` while it is lost.
    asking: Option<Asking<Sent>>,
    group: String,
    partitions: Vec<TopicPartition>,
    version: i16,
    /// The offset of the last commit, and the last one that was acknowledged.
    offset: i64,
    acknowledged: i64,
    /// Offsets of commits that a connection took with it: a broker may get round to them after later ones.
    lost: BTreeSet<i64>,
    state: State,
    patience: Patience,
}

/// A connection to a group's coordinator, and the version of OffsetCommit that it speaks.
type Placed = (Asking<Sent>, i16);
/// Of committers by their numbers.
type Found = Vec<(usize, Result<Placed, Fault>)>;

/// What was found in the end.
#[derive(Default)]
struct Positions {
    behind: usize,
    /// Those of a commit that has no answer, where a later one was acknowledged: it may have been carried out late.
    unclear: usize,
    /// Groups that could not be asked for, and why the first could not.
    unasked: usize,
    fault: Option<Fault>,
}

/// Gives the report, and whether every acknowledged commit was there at the end.
pub fn commit(options: &Commit) -> Result<(Report, bool), Fault> {
    let target = &options.target;
    raise_file_limit().map_err(|error| Fault::Io("the limit of open files".to_string(), error))?;
    let committers = committers(options)?;
    let threads = target.threads(committers.len());
    let watched = [Watched::divided(None, threads)];
    let run = Arc::new(Run::begin(target, target.seconds(false)));
    let (ended, endings) = endings();
    let mut handles = Vec::new();
    for (thread, committers) in deal(committers, threads).into_iter().enumerate() {
        let (run, tally) = (run.clone(), watched[0].divided_tally(&run, thread));
        let (in_flight, target) = (options.in_flight as usize, target.clone());
        handles.push(start(&ended, move || Load::new(run, tally, in_flight, committers, target)?.run()));
    }
    drop(ended);
    let (mut report, _) = watch(target, &run, &watched, threads, &endings)?;
    let mut committers = Vec::new();
    for handle in handles {
        let result = handle.join().expect("a thread of load does not panic");
        committers.extend(result.map_err(|error| Fault::Io("load".to_string(), error))?);
    }
    if run.end_ns == u64::MAX {
        // All of them were wanted, and nothing worked any more.
        let partitions = committers[0].partitions.len() as u64;
        let left = run.records_left() * partitions;
        (left > 0).then(|| report.tally.miss(Miss::Unsent, left));
    }
    let found = look_for(target, &committers);
    let faultless = complete(&mut report, &found);
    Ok((report, faultless))
}

fn committers(options: &Commit) -> Result<Vec<Committer>, Fault> {
    let target = &options.target;
    let mut broker = Broker::bootstrap(target)?;
    let layout = open_topic(&mut broker, target, true)?;
    let all: Vec<i32> = offsets(&layout, LATEST)?.into_keys().collect();
    let place = |partition: &i32| TopicPartition::new(&target.topic, *partition);
    let run_id: u32 = rand::random();
    // With a planned end the load goes on until then, whatever happens; without one it ends when nothing works any more.
    let patience_ms = if target.seconds(false).is_some() { u64::MAX } else { GONE_MS };
    let mut committers = Vec::new();
    for number in 0..target.connections {
        let group = format!("loadgen-commit-{run_id:08x}-{number}");
        let coordinator = broker.coordinator(&group)?;
        let count = (options.partitions_per_commit as usize).min(all.len());
        let (asking, version) = connect(&broker, coordinator)?;
        committers.push(Committer {
            asking: Some(asking),
            group,
            partitions: all.iter().cycle().skip(number as usize).take(count).map(place).collect(),
            version,
            offset: 0,
            acknowledged: 0,
            lost: BTreeSet::new(),
            state: State::Ready,
            patience: Patience::new(patience_ms, PAUSES_MS),
        });
    }
    Ok(committers)
}

fn connect(broker: &Broker, coordinator: SocketAddr) -> Result<Placed, Fault> {
    let version = broker.versions.common(ApiKey::OffsetCommit)?.min(COMMIT_VERSION_MAX);
    let asking = Asking::connect(coordinator).map_err(|error| Fault::Io(coordinator.to_string(), error))?;
    Ok((asking, version))
}

/// Connections to the coordinators of committers. Waits for answers, so not in a thread that others wait for.
fn place(target: &Target, groups: Vec<(usize, String)>) -> Found {
    let mut broker = Broker::bootstrap_beside(target);
    let one = |group: &str| match &mut broker {
        Ok(broker) => broker.coordinator_at_once(group).and_then(|coordinator| connect(broker, coordinator)),
        Err(fault) => Err(Fault::Other(fault.to_string())),
    };
    let mut one = one;
    groups.into_iter().map(|(number, group)| (number, one(&group))).collect()
}

/// Asks for the positions of all groups.
fn look_for(target: &Target, committers: &[Committer]) -> Positions {
    let patience = Duration::from_secs_f64(target.drain_seconds).max(PATIENCE_MIN);
    let mut found = Positions::default();
    let mut broker = Broker::bootstrap_within(target, patience);
    for committer in committers.iter().filter(|committer| committer.acknowledged > 0) {
        let asked = match &mut broker {
            Ok(broker) => {
                broker.wait_for(patience);
                look_for_one(broker, committer, patience, &mut found)
            }
            Err(fault) => Err(Fault::Other(fault.to_string())),
        };
        if let Err(fault) = asked {
            found.unasked += 1;
            found.fault.get_or_insert(fault);
        }
    }
    found
}

fn look_for_one(
    broker: &mut Broker,
    committer: &Committer,
    patience: Duration,
    found: &mut Positions,
) -> Result<(), Fault> {
    let mut coordinator = Broker::connect_within(broker.coordinator(&committer.group)?, patience)?;
    let answered = coordinator.committed(&committer.group, &committer.partitions)?;
    for partition in &committer.partitions {
        let position = answered.iter().find(|(at, _)| at == partition).map_or(-1, |(_, next)| *next);
        if position < committer.acknowledged {
            let is_unclear = committer.lost.contains(&position);
            *(if is_unclear { &mut found.unclear } else { &mut found.behind }) += 1;
        }
    }
    Ok(())
}

/// Adds what was found to the report; gives whether it is as it should be.
fn complete(report: &mut Report, found: &Positions) -> bool {
    let commits_per_second = if report.seconds > 0.0 { report.tally.requests as f64 / report.seconds } else { 0.0 };
    report.more.push(("commits", json!(report.tally.requests)));
    report.more.push(("commits_per_second", json!(commits_per_second)));
    report.more.push(("positions_behind", json!(found.behind)));
    report.more.push(("positions_unclear", json!(found.unclear)));
    let (behind, unclear, unasked) = (found.behind, found.unclear, found.unasked);
    let mut say = |count: usize, why: String| report.why.extend((count > 0).then(|| format!("{count} {why}")));
    say(behind, "positions are behind what was acknowledged".to_string());
    say(unclear, "positions are those of commits without an answer, where later ones were acknowledged".to_string());
    if let Some(fault) = &found.fault {
        say(unasked, format!("groups could not be asked for their positions: {fault}"));
    }
    behind == 0
}

/// One thread's connections.
struct Load {
    run: Arc<Run>,
    tally: DividedTally,
    in_flight: usize,
    committers: Vec<Committer>,
    target: Target,
    epoll: Epoll,
    found: Option<Receiver<Found>>,
    /// Censored commits, by the milliseconds in which they were sent.
    missed: BTreeMap<u64, u64>,
}

impl Load {
    fn new(
        run: Arc<Run>,
        tally: DividedTally,
        in_flight: usize,
        committers: Vec<Committer>,
        target: Target,
    ) -> io::Result<Load> {
        let epoll = Epoll::new(run.busy_poll)?;
        for (token, committer) in committers.iter().enumerate() {
            committer.asking.as_ref().map_or(Ok(()), |asking| epoll.add(asking.stream(), token))?;
        }
        Ok(Load { run, tally, in_flight, committers, target, epoll, found: None, missed: BTreeMap::new() })
    }

    fn run(mut self) -> io::Result<Vec<Committer>> {
        (0..self.committers.len()).for_each(|i| self.pump(i));
        let (mut events, mut ended_ns) = (Vec::new(), None);
        loop {
            let now_ns = self.run.clock.now_ns();
            if self.run.goes_on(now_ns) {
                self.find_coordinators(now_ns)?;
                if self.committers.iter().all(|committer| committer.state == State::GivenUp) {
                    break;
                }
            } else {
                let end_ns = *ended_ns.get_or_insert(now_ns.min(self.run.end_ns));
                let mut askings = self.committers.iter().filter_map(|committer| committer.asking.as_ref());
                let is_idle = askings.all(|asking| asking.under_way() == 0);
                if is_idle || now_ns > end_ns.saturating_add(self.run.drain_ns) {
                    break;
                }
            }
            for i in 0..self.committers.len() {
                let asking = self.committers[i].asking.as_ref();
                if let Some(Err(error)) = asking.map(|asking| asking.check(now_ns)) {
                    self.lose(i, &error);
                }
            }
            let is_whole = self.committers.iter().all(|committer| committer.state == State::Ready);
            self.epoll.wait(if is_whole { WAIT_MAX } else { WAIT_PLACING }, &mut events)?;
            for event in &events {
                if event.readable {
                    self.receive(event.token);
                }
                self.pump(event.token);
            }
        }
        self.finish();
        Ok(self.committers)
    }

    /// Has the coordinators looked for that are to be, and takes up the connections to those that were found.
    fn find_coordinators(&mut self, now_ns: u64) -> io::Result<()> {
        match self.found.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return Ok(()),
            Some(Ok(found)) => {
                for (i, placed) in found {
                    self.committers[i].state = State::Ready;
                    match placed {
                        Ok((asking, version)) => {
                            self.give_up(i);
                            self.epoll.add(asking.stream(), i)?;
                            let committer = &mut self.committers[i];
                            (committer.asking, committer.version) = (Some(asking), version);
                            self.pump(i);
                        }
                        Err(fault) => {
                            say(format!("no coordinator yet: {fault}"));
                            self.trouble(i);
                        }
                    }
                }
            }
            Some(Err(TryRecvError::Disconnected)) | None => {}
        }
        self.found = None;
        let is_due = |state| matches!(state, State::Troubled { retry_ns } if retry_ns <= now_ns);
        let mut groups = Vec::new();
        for (i, committer) in self.committers.iter_mut().enumerate().filter(|(_, committer)| is_due(committer.state)) {
            committer.state = State::Placing;
            groups.push((i, committer.group.clone()));
        }
        if !groups.is_empty() {
            let (sender, receiver) = channel();
            let target = self.target.clone();
            self.found = Some(receiver);
            // The load may have ended when the answer comes, and wants none.
            std::thread::spawn(move || sender.send(place(&target, groups)));
        }
        Ok(())
    }

    fn pump(&mut self, i: usize) {
        let now_ns = self.run.clock.now_ns();
        let committer = &mut self.committers[i];
        let Some(asking) = &mut committer.asking else { return };
        while committer.state == State::Ready
            && self.run.goes_on(now_ns)
            && asking.under_way() < self.in_flight
            && self.run.take(1, now_ns)
        {
            committer.offset += 1;
            let (of, times) = ((ApiKey::OffsetCommit, committer.version), (now_ns, ANSWER_MS));
            let sent = Sent { offset: committer.offset, at_ns: now_ns };
            let request =
                positions::commit(&committer.group, committer.partitions.iter().map(|place| (place, sent.offset)));
            asking.push(of, times, sent, |w| request.encode(w, of.1));
        }
        if let Err(error) = asking.flush() {
            self.lose(i, &error);
        }
    }

    fn receive(&mut self, i: usize) {
        let now_ns = self.run.clock.now_ns();
        let Some(asking) = &mut self.committers[i].asking else { return };
        let (mut answers, mut unreadable) = (Vec::new(), None);
        let result = asking.receive(|answered, body| {
            let answer = OffsetCommitResponse::decode(&mut Reader::new(body), answered.version);
            let answer = answer.inspect_err(|_| unreadable = Some(answered.what))?;
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            answers.push((answered.what, partitions.map(|partition| partition.error_code).collect::<Vec<i16>>()));
            Ok(())
        });
        answers.into_iter().for_each(|(sent, codes)| self.answered(i, now_ns, sent, &codes));
        unreadable.into_iter().for_each(|sent| self.miss(i, Miss::Lost, sent, None));
        if let Err(error) = result {
            self.lose(i, &error);
        }
    }

    fn answered(&mut self, i: usize, now_ns: u64, sent: Sent, codes: &[i16]) {
        let committer = &mut self.committers[i];
        let partitions = committer.partitions.len();
        let done = codes.iter().filter(|&&code| code == 0).count().min(partitions);
        let is_done = done == partitions;
        self.tally.at(sent.at_ns).with(|tally| {
            tally.records += done as u64;
            codes.iter().filter(|&&code| code != 0).for_each(|&code| tally.error(code, 1));
            if now_ns > self.run.end_ns {
                tally.late_records += done as u64;
            }
            if is_done {
                tally.request(now_ns, now_ns.saturating_sub(sent.at_ns));
            }
        });
        if is_done {
            committer.acknowledged = sent.offset;
            committer.patience.renew();
            return;
        }
        self.miss(i, Miss::Refused, sent, Some(partitions - done));
        if codes.iter().any(|&code| Meaning::of(code).is_passing()) {
            self.trouble(i);
        }
    }

    /// A commit is censored, of so many partitions if not of all; it enters the histogram in the end.
    fn miss(&mut self, i: usize, miss: Miss, sent: Sent, partitions: Option<usize>) {
        if miss == Miss::Lost {
            self.committers[i].lost.insert(sent.offset);
        }
        if sent.at_ns >= self.run.measure_ns {
            *self.missed.entry(sent.at_ns / MS_NS).or_default() += 1;
        }
        let partitions = partitions.unwrap_or(self.committers[i].partitions.len()) as u64;
        self.tally.at(sent.at_ns).with(|tally| tally.miss(miss, partitions));
    }

    /// A connection is lost, and with it the commits that it had in flight.
    fn lose(&mut self, i: usize, error: &io::Error) {
        let now_ns = self.run.clock.now_ns();
        let lost = self.give_up(i).max(1);
        say(format!("connection lost: {error}"));
        self.tally.at(now_ns).with(|tally| {
            tally.error(lost_code(error), lost);
            tally.lose(error.to_string());
        });
        self.trouble(i);
    }

    /// Closes a connection; gives how many commits it had in flight.
    fn give_up(&mut self, i: usize) -> u64 {
        let asking = self.committers[i].asking.take();
        let lost: Vec<Sent> = asking.into_iter().flat_map(|mut asking| asking.give_up().collect::<Vec<_>>()).collect();
        lost.iter().for_each(|&sent| self.miss(i, Miss::Lost, sent, None));
        lost.len() as u64
    }

    /// A committer sends nothing until its coordinator is found.
    fn trouble(&mut self, i: usize) {
        let now = Time(self.run.clock.now_ns());
        let committer = &mut self.committers[i];
        if committer.state == State::Ready {
            let retry = committer.patience.failed(now);
            committer.state = retry.map_or(State::GivenUp, |at| State::Troubled { retry_ns: at.0 });
        }
    }

    /// Gives an outcome to all that has none yet, and each censored commit its latency.
    fn finish(&mut self) {
        let end_ns = self.run.clock.now_ns();
        for i in 0..self.committers.len() {
            let asking = self.committers[i].asking.as_mut();
            let unanswered: Vec<Sent> =
                asking.into_iter().flat_map(|asking| asking.give_up().collect::<Vec<_>>()).collect();
            unanswered.into_iter().for_each(|sent| self.miss(i, Miss::Unanswered, sent, None));
        }
        self.tally.at(u64::MAX).with(|tally| {
            for (&sent_ms, &commits) in &self.missed {
                tally.latency.saturating_record_n(end_ns.saturating_sub(sent_ms * MS_NS), commits);
                tally.last_ns = tally.last_ns.max(end_ns);
            }
        });
    }
}
