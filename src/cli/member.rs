//! A member of a consumer group, of the classic protocol with range assignment, that waits for each answer.

use super::client::{Client, sleep_until, topic};
use super::failure::{Failure, Result};
use super::operation::TopicPartition;
use super::time::mono;
use crate::client::ask::{Answer, Ask};
use crate::client::assignment::Assignor;
use crate::client::meaning::Meaning;
use crate::client::member::{self, Action, Event, Settings};
use crate::client::patience::Patience;
use crate::types::{Offset, Time};
use crate::wire::codec::Reader;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Kafka's defaults.
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;
const HEARTBEAT_MS: u64 = 3_000;
const COMMIT_MS: u64 = 1_000;
const PAUSE_MS: u64 = 50;

/// What is to be read, with what is committed, if anything.
pub type Begin = Vec<(TopicPartition, Option<Offset>)>;

pub struct Member {
    machine: member::Member,
    /// Begins with the first answer that was refused or lost and ends with one that was neither.
    attempts: Patience,
}

impl Member {
    /// With `commits` it commits what has been read.
    pub fn new(client: &Client, group: &str, topics: &[String], commits: bool) -> Member {
        let settings = Settings {
            topics: topics.to_vec(),
            assignor: Assignor::Range,
            session_ms: SESSION_MS,
            rebalance_ms: REBALANCE_MS,
            heartbeat_ms: HEARTBEAT_MS,
            commit_ms: commits.then_some(COMMIT_MS),
            reads: true,
            pause_ms: PAUSE_MS,
            answer_ms: u64::try_from(client.timeout().as_millis()).unwrap_or(u64::MAX),
        };
        let machine = member::Member::new(Arc::new(settings), group, None, mono());
        Member { machine, attempts: client.attempts() }
    }

    /// Whether it has a share, or none at the moment, and reads it.
    pub fn is_reading(&self) -> bool {
        self.machine.is_stable() && self.machine.has_positions()
    }

    /// A partition is read from here on, or has been read up to here.
    pub fn read(&mut self, place: &TopicPartition, next: Offset) {
        self.machine.read(place, next);
    }

    /// Asks what is due; gives what it begins to read. What is to be asked after a pause waits for the next turn.
    pub fn turn(&mut self, client: &mut Client) -> Result<Begin> {
        self.step(client, Event::Tick)
    }

    /// Waits until something is to be asked again.
    pub fn pause(&self) {
        sleep_until(self.machine.deadline());
    }

    /// Commits, and leaves so that the others need not wait for the session to end.
    pub fn leave(&mut self, client: &mut Client) -> Result<()> {
        // A broker that cannot take it now is not waited for.
        self.attempts = Patience::new(0, PAUSE_MS..=PAUSE_MS);
        self.step(client, Event::Leave)?;
        while !self.machine.is_gone() {
            self.pause();
            self.turn(client)?;
        }
        Ok(())
    }

    fn step(&mut self, client: &mut Client, event: Event) -> Result<Begin> {
        let mut actions = Vec::new();
        let mut begin = Begin::new();
        self.machine.step(mono(), event, &mut actions);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                let event = match action {
                    Action::Ask(ask) => self.ask(client, &ask)?,
                    Action::Count(topics) => Event::Counted(count(client, &topics)?),
                    Action::Refused(_, code) => return Err(self.refused(code)),
                    Action::Begin(more) => {
                        begin.extend(more);
                        continue;
                    }
                    // Each answer is waited for, so a connection without one is closed already.
                    Action::HangUp | Action::Assigned { .. } | Action::Revoked | Action::Left => continue,
                };
                self.machine.step(mono(), event, &mut actions);
            }
        }
        Ok(begin)
    }

    fn refused(&self, code: i16) -> Failure {
        Failure::refused(format_args!("group {}", self.machine.own().group), code)
    }

    /// Asks, and waits for the answer. What may pass is told to the machine until the time is over.
    fn ask(&mut self, client: &mut Client, ask: &Ask) -> Result<Event> {
        let (event, failure) = match self.exchange(client, ask) {
            Ok((code, answer)) if !Meaning::of(code).is_passing() => {
                self.attempts.renew();
                return Ok(Event::Answered(code, answer));
            }
            Ok((code, answer)) => (Event::Answered(code, answer), self.refused(code)),
            Err(failure @ (Failure::Lost { .. } | Failure::Unreachable(_))) => (Event::Lost, failure),
            Err(failure) => return Err(failure),
        };
        self.attempts.failed(mono()).map(|_| event).ok_or(failure)
    }

    fn exchange(&self, client: &mut Client, ask: &Ask) -> Result<(i16, Answer)> {
        let (own, timeout) = (self.machine.own(), client.timeout());
        let link = match (ask, self.machine.coordinator()) {
            (Ask::Find, _) | (_, None) => client.any(),
            (_, Some(coordinator)) => client.broker(coordinator.node)?,
        };
        let version = ask.version(link.version(ask.api())?);
        let Time(left_ns) = Time(self.machine.deadline().0.saturating_sub(mono().0));
        link.patience(Duration::from_nanos(left_ns));
        let result = link.call(ask.api(), version, |w| ask.encode(w, version, own)).and_then(|body| {
            let unreadable =
                |error| Failure::Other(format!("group {}: an answer that cannot be read: {error}", own.group));
            ask.decode(&mut Reader::new(body), version).map_err(unreadable)
        });
        link.patience(timeout);
        result
    }
}

/// How many partitions topics have that are there.
fn count(client: &mut Client, topics: &[String]) -> Result<BTreeMap<String, usize>> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let cluster = client.cluster(Some(&names))?;
    let count = |name: &str| Some((name.to_string(), topic(&cluster, name).ok()?.partitions.len()));
    Ok(names.into_iter().filter_map(count).collect())
}
