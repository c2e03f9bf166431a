//! One client of a group: the machine that the command line and loadgen use, and what may happen to it. It may fall silent and
//! die; what it reads is only counted.

use klamm::client::ask::{Answer, Identity};
use klamm::client::assignment::Assignor;
use klamm::client::member::{self, Action, Event, Settings};
use klamm::client::{ask, partition::TopicPartition};
use klamm::types::{Now, Time};
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm::wire::messages::*;
use std::sync::Arc;

/// What the groups read.
pub const TOPIC: &str = "read";
pub const PARTITIONS: i32 = 4;
/// Short beside a life of the broker, long beside a write.
const SESSION_MS: i32 = 60;
pub const REBALANCE_MS: i32 = 60;
const HEARTBEAT_MS: u64 = 15;
const COMMIT_MS: u64 = 10;
const PAUSE_MS: u64 = 2;
/// How long it waits for an answer before it breaks its connection.
const ANSWER_MS: u64 = 80;

#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// The topic that is read.
    Create,
    Of(ask::Ask),
}

impl Ask {
    pub fn api(&self) -> (ApiKey, i16) {
        match self {
            Ask::Create => (ApiKey::CreateTopics, 7),
            Ask::Of(ask) => (ask.api(), ask.version(*ask.api().versions().end())),
        }
    }

    pub fn encode(&self, w: &mut Writer, own: &Identity) {
        let (_, version) = self.api();
        match self {
            Ask::Create => create_topic().encode(w, version),
            Ask::Of(ask) => ask.encode(w, version, own),
        }
    }

    pub fn decode(&self, r: &mut Reader<'_>) -> (ErrorCode, Answer) {
        let (_, version) = self.api();
        let (code, answer) = match self {
            Ask::Create => match CreateTopicsResponse::decode(r, version).expect("an answer").topics[0].error_code {
                code if code == ErrorCode::TopicAlreadyExists.code() => (0, Answer::Nothing),
                code => (code, Answer::Nothing),
            },
            Ask::Of(ask) => ask.decode(r, version).expect("an answer"),
        };
        (ErrorCode::from_code(code).expect("a code of Kafka's"), answer)
    }
}

/// How a client behaves in a group of that number: half of them are eager, half are cooperative.
fn settings(number: usize) -> Settings {
    Settings {
        topics: vec![TOPIC.to_string()],
        assignor: if number.is_multiple_of(2) { Assignor::Range } else { Assignor::CooperativeSticky },
        session_ms: SESSION_MS,
        rebalance_ms: REBALANCE_MS,
        heartbeat_ms: HEARTBEAT_MS,
        commit_ms: Some(COMMIT_MS),
        reads: true,
        pause_ms: PAUSE_MS,
        answer_ms: ANSWER_MS,
    }
}

#[derive(Clone, Debug)]
pub struct Member {
    settings: Arc<Settings>,
    machine: member::Member,
    pub silent_until: Time,
    /// What the machine wants to ask, and whether it has given its connection up before.
    next: Option<ask::Ask>,
    hangs_up: bool,
    /// The topic is to be made; or until when that may take.
    lacks_topic: bool,
    creates: Option<Time>,
}

impl Member {
    pub fn new(group: (usize, &str), instance: Option<String>) -> Member {
        let settings = Arc::new(settings(group.0));
        Member::begin(settings, group.1, instance, Time(0))
    }

    fn begin(settings: Arc<Settings>, group: &str, instance: Option<String>, silent_until: Time) -> Member {
        let machine = member::Member::new(settings.clone(), group, instance, silent_until);
        let (next, creates) = (None, None);
        Member { settings, machine, silent_until, next, hangs_up: false, lacks_topic: false, creates }
    }

    pub fn own(&self) -> &Identity {
        self.machine.own()
    }

    /// Of its generation; a group that ended and begins anew counts from 1 again, with another one.
    pub fn leader(&self) -> &str {
        self.machine.leader()
    }

    /// Whom it is, whatever its id: a static member keeps its partitions when it comes back under another.
    pub fn name(&self) -> &str {
        self.own().instance.as_deref().unwrap_or(&self.own().id)
    }

    /// What it reads, if all is well.
    pub fn reads(&self) -> Option<Vec<i32>> {
        let is_reading = self.machine.is_stable() && self.machine.has_positions() && !self.lacks_topic;
        is_reading.then(|| self.machine.owned().map(|place| place.partition).collect())
    }

    /// It ends and is started again, with what a process knows then.
    pub fn die(&mut self, silent_until: Time) {
        let own = self.own().clone();
        *self = Member::begin(self.settings.clone(), &own.group, own.instance, silent_until);
    }

    /// Its connection is gone with what was under way.
    pub fn lost(&mut self, now: Now) {
        self.next = None;
        self.creates = None;
        self.step(now, Event::Lost);
    }

    /// When it will have something to do.
    pub fn wake(&self) -> Time {
        let due = match self.creates {
            Some(give_up) => give_up,
            None if self.next.is_some() || self.hangs_up || self.lacks_topic => Time(0),
            None => self.machine.deadline(),
        };
        due.max(self.silent_until)
    }

    /// Whether it gives its connection up, and what it asks then.
    pub fn act(&mut self, now: Now) -> (bool, Option<Ask>) {
        assert!(self.wake() <= now.mono);
        if self.creates.take().is_some() {
            // Nobody has said that the topic is there.
            return (true, None);
        }
        if self.lacks_topic {
            self.creates = Some(now.mono.after_ms(ANSWER_MS));
            return (std::mem::take(&mut self.hangs_up), Some(Ask::Create));
        }
        let read: Vec<(TopicPartition, i64)> =
            self.machine.positions().map(|(place, next)| (place.clone(), next + 1)).collect();
        read.iter().for_each(|(place, next)| assert!(self.machine.read(place, *next)));
        self.step(now, Event::Tick);
        (std::mem::take(&mut self.hangs_up), self.next.take().map(Ask::Of))
    }

    /// Takes an answer in.
    pub fn take(&mut self, now: Now, ask: &Ask, code: ErrorCode, answer: Answer) {
        match (ask, code) {
            (Ask::Of(_), _) => self.step(now, Event::Answered(code.code(), answer)),
            (Ask::Create, ErrorCode::None) => (self.lacks_topic, self.creates) = (false, None),
            // The disk refuses; the member asks again when its patience is over.
            (Ask::Create, ErrorCode::KafkaStorageError) => {}
            (Ask::Create, code) => panic!("a client of good will made a topic and got {code}"),
        }
    }

    fn step(&mut self, now: Now, event: Event) {
        let mut actions = Vec::new();
        self.machine.step(now.mono, event, &mut actions);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Ask(ask) => self.next = Some(ask),
                    Action::HangUp => (self.next, self.hangs_up) = (None, true),
                    Action::Count(topics) => {
                        let counts = topics.into_iter().map(|topic| (topic, PARTITIONS as usize)).collect();
                        self.machine.step(now.mono, Event::Counted(counts), &mut actions);
                    }
                    Action::Begin(begin) => {
                        for (place, committed) in begin {
                            assert!(self.machine.read(&place, committed.unwrap_or(0)));
                        }
                    }
                    Action::Refused(ApiKey::OffsetCommit, code)
                        if code == ErrorCode::UnknownTopicOrPartition.code() =>
                    {
                        self.lacks_topic = true;
                    }
                    Action::Assigned { .. } | Action::Revoked => {}
                    // A request that its former self had sent came late, and took its place: it is started again.
                    Action::Refused(_, code) if code == ErrorCode::FencedInstanceId.code() => {}
                    Action::Left => {
                        self.die(now.mono);
                        self.hangs_up = true;
                        return;
                    }
                    action => panic!("a client of good will comes to {action:?}"),
                }
            }
        }
    }
}

fn create_topic() -> CreateTopicsRequest<'static> {
    let topic = create_topics_request::CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: i32::MAX, ..Default::default() }
}

/// A commit by nobody, to a group without members.
pub fn commit<'a>(
    group: &'a str,
    topic: &'a str,
    positions: &[(i32, i64)],
    metadata: &'a str,
) -> OffsetCommitRequest<'a> {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    let partitions = positions.iter().map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() }];
    OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() }
}

/// A question for some positions in one topic, or for all.
pub fn fetch<'a>(group: &'a str, which: Option<(&'a str, &[i32])>) -> OffsetFetchRequest<'a> {
    let topic = |(name, partitions): (&'a str, &[i32])| OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    let topics = which.map(|which| vec![topic(which)]);
    let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }];
    OffsetFetchRequest { groups, require_stable: true, ..Default::default() }
}

/// The error and the positions: topic, partition, offset.
pub fn fetched(r: &mut Reader<'_>, version: i16) -> (i16, Vec<(String, i32, i64)>) {
    let answer = OffsetFetchResponse::decode(r, version).expect("an answer");
    let group = &answer.groups[0];
    let row = |topic: &str, p: &offset_fetch_response::OffsetFetchResponsePartitions<'_>| {
        (topic.to_string(), p.partition_index, p.committed_offset)
    };
    let rows = group.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| row(&topic.name, p)));
    (group.error_code, rows.collect())
}
