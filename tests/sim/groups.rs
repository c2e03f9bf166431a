//! Groups of clients beside those that write and read: members that join, leave, die, fall silent and lose messages, some
//! of them static, and committers without a group. What must hold whatever happens: at most one owner of each partition in
//! a generation; a commit that was acknowledged never goes back and never vanishes; no request waits for long; the log
//! makes the state that the broker has.

use crate::client::Clients;
use crate::member::{self, Ask, Member, PARTITIONS, TOPIC};
use crate::model::TopicState;
use crate::node::{Crashed, Process, World};
use crate::replay;
use bytes::Bytes;
use klamm::client::ask::{self, Answer};
use klamm::client::partition::TopicPartition;
use klamm::shard::port::ConnectionId;
use klamm::types::Time;
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::*;
use rand::Rng;
use std::collections::{BTreeMap, HashMap};

/// Connections from here on belong to groups.
pub const CONNECTION_FIRST: u64 = 1_000;
pub const GROUPS: [&str; 2] = ["one", "two"];
const MEMBERS: usize = 3;
/// Groups without members, to which positions are committed from outside.
pub const PLAIN: [&str; 2] = ["plain", "heavy"];
/// Metadata of a heavy commit, and its positions: so that the log outgrows its checkpoints.
const HEAVY_METADATA_BYTES: usize = 4096;
const HEAVY_POSITIONS: i32 = 4;
/// No answer takes longer, in virtual time.
const ANSWER_MS_MAX: u64 = 2_000;
/// A coordinator is loaded in so many steps of the simulator.
const LOAD_STEPS_MAX: u64 = 10_000;
/// In peace a group comes to rest in this time, its members' sessions and pauses included.
const REST_MS_MAX: u64 = 5_000;
/// Positions in topics that may go say in which life of the topic they were committed.
const LIFE: i64 = 1_000_000;

/// A position that is watched: group, topic, partition.
type Key = (String, String, i32);

struct Asked {
    /// The member, if it is one that asks.
    member: Option<usize>,
    ask: Ask,
    group: String,
    sent: Time,
    /// What was acknowledged when it was sent.
    least: BTreeMap<Key, i64>,
    /// Topics that there were when it was sent, with their places in the model.
    lives: Lives,
    generation: i32,
}

type Lives = BTreeMap<String, usize>;

fn lives(clients: &Clients) -> Lives {
    let live = clients.model.topics.iter().enumerate().filter(|(_, topic)| topic.state == TopicState::Live);
    live.map(|(life, topic)| (topic.name.clone(), life)).collect()
}

#[derive(Clone, Copy, Default)]
struct Mark {
    acknowledged: i64,
    sent: i64,
}

#[derive(Default)]
pub struct Groups {
    members: Vec<Member>,
    /// Of each member: its connection, and the request that it waits for, if it is not lost.
    connections: Vec<Option<(u16, ConnectionId)>>,
    waits: Vec<Option<i32>>,
    requests: HashMap<i32, Asked>,
    correlation_last: i32,
    connection_last: u64,
    outside: Option<(u16, ConnectionId)>,
    called: Option<(i32, Bytes)>,
    /// By group, leader and generation, and by partition.
    owners: HashMap<((String, String, i32), i32), String>,
    marks: BTreeMap<Key, Mark>,
    /// Whether anything goes wrong on the clients' side.
    trouble: bool,
    heavy: bool,
    /// The disk may fail, and then not even take that positions are gone.
    faulty: bool,
    /// The topic of commits was seen.
    has_topic: bool,
    pub compared: usize,
}

impl Groups {
    pub fn new(world: &mut World, faulty: bool) -> Groups {
        let member = |i: usize| {
            let group = i / MEMBERS;
            Member::new((group, GROUPS[group]), i.is_multiple_of(MEMBERS).then(|| format!("static-{i}")))
        };
        let count = GROUPS.len() * MEMBERS;
        Groups {
            members: (0..count).map(member).collect(),
            connections: vec![None; count],
            waits: vec![None; count],
            heavy: world.random.random_range(0..3) == 0,
            trouble: true,
            faulty,
            ..Default::default()
        }
    }

    /// After a start of the broker: no connection and no request is left.
    pub fn begin(&mut self, world: &mut World, process: &mut Process) {
        self.requests.clear();
        self.connections.fill(None);
        self.waits.fill(None);
        self.members.iter_mut().for_each(|member| member.lost(world.now));
        self.connection_last = CONNECTION_FIRST;
        self.outside = Some(self.connect(world, process));
    }

    fn connect(&mut self, world: &mut World, process: &mut Process) -> (u16, ConnectionId) {
        self.connection_last += 1;
        let core = world.random.random_range(0..process.shards.len()) as u16;
        let connection = ConnectionId(self.connection_last);
        process.connect(core, connection);
        (core, connection)
    }

    fn send(
        &mut self,
        world: &mut World,
        process: &mut Process,
        (core, connection): (u16, ConnectionId),
        (member, group): (Option<usize>, &str),
        ask: &Ask,
        body: impl FnOnce(&mut Writer),
    ) -> i32 {
        self.correlation_last += 1;
        let number = self.correlation_last;
        let (api, version) = ask.api();
        let marks = self.marks.iter().filter(|((of, ..), _)| of == group);
        let least = marks.map(|(key, mark)| (key.clone(), mark.acknowledged)).collect();
        let generation = member.map_or(-1, |member| self.members[member].own().generation);
        let (ask, group, sent) = (ask.clone(), group.to_string(), world.now.mono);
        let lives = Lives::new();
        self.requests.insert(number, Asked { member, ask, group, sent, least, lives, generation });
        let frame = request_frame(api, version, number, Some("sim"), body);
        process.send(world, core, connection, &frame);
        number
    }

    /// One of the clients may do something.
    pub fn act(&mut self, world: &mut World, process: &mut Process, clients: &Clients) {
        let at = world.random.random_range(0..self.members.len());
        if self.trouble {
            self.disturb(world, process, at);
            match world.random.random_range(0..40) {
                0 => self.commit_from_outside(world, process, clients),
                1 => self.ask_from_outside(world, process, clients),
                _ => {}
            }
        }
        self.act_as(world, process, at);
        for (number, asked) in &self.requests {
            let waited_ms = (world.now.mono.0 - asked.sent.0) / Time::MILLISECOND;
            assert!(waited_ms <= ANSWER_MS_MAX, "request {number} of {} is not answered: {:?}", asked.group, asked.ask);
        }
    }

    /// When a client has something to do, if the broker has not: of those that do not wait for it.
    pub fn wake(&self) -> Option<Time> {
        self.members.iter().map(Member::wake).min()
    }

    fn act_as(&mut self, world: &mut World, process: &mut Process, at: usize) {
        if self.members[at].wake() > world.now.mono {
            return;
        }
        let place = match self.connections[at] {
            Some(place) => place,
            None => self.connect(world, process),
        };
        self.connections[at] = Some(place);
        if !process.may_read(place.0, place.1) {
            return;
        }
        let (hangs_up, ask) = self.members[at].act(world.now);
        if hangs_up {
            self.hang_up(process, at);
        }
        let Some(ask) = ask else { return };
        let place = match self.connections[at] {
            Some(place) => place,
            None => self.connect(world, process),
        };
        self.connections[at] = Some(place);
        if self.trouble && world.random.random_range(0..50) == 0 {
            // Lost on its way there.
            return;
        }
        let own = self.members[at].own().clone();
        if let Ask::Of(ask::Ask::Commit(positions)) = &ask {
            for (place, offset) in positions {
                let mark = self.marks.entry((own.group.clone(), TOPIC.to_string(), place.partition)).or_default();
                mark.sent = mark.sent.max(*offset);
            }
        }
        self.waits[at] = Some(self.send(world, process, place, (Some(at), &own.group), &ask, |w| ask.encode(w, &own)));
    }

    fn hang_up(&mut self, process: &mut Process, at: usize) {
        self.waits[at] = None;
        if let Some((core, connection)) = self.connections[at].take() {
            process.disconnect(core, connection);
            self.requests.retain(|_, asked| asked.member != Some(at));
        }
    }

    fn disturb(&mut self, world: &mut World, process: &mut Process, at: usize) {
        match world.random.random_range(0..400) {
            // A pause that its session may not outlast.
            0 => self.members[at].silent_until = world.now.mono.after_ms(world.random.random_range(5..150)),
            1 => {
                let silent_until = world.now.mono.after_ms(world.random.random_range(0..100));
                self.members[at].die(silent_until);
                self.hang_up(process, at);
            }
            2 if !self.members[at].own().id.is_empty() && self.waits[at].is_none() => {
                let Some(place) = self.connections[at] else { return };
                let (own, leave) = (self.members[at].own().clone(), Ask::Of(ask::Ask::Leave));
                self.send(world, process, place, (Some(at), &own.group), &leave, |w| leave.encode(w, &own));
                let silent_until = world.now.mono.after_ms(world.random.random_range(0..50));
                self.members[at].die(silent_until);
            }
            _ => {}
        }
    }

    /// Positions of a group without members, also in topics that may be deleted: those say in which life of the topic.
    fn commit_from_outside(&mut self, world: &mut World, process: &mut Process, clients: &Clients) {
        let place = self.outside.expect("the broker runs");
        if !process.may_read(place.0, place.1) {
            return;
        }
        let heavy = self.heavy && world.random.random_range(0..4) > 0;
        let (group, positions) = if heavy { (PLAIN[1], HEAVY_POSITIONS) } else { (PLAIN[0], 2) };
        let live = clients.model.parts(TopicState::Live);
        let chosen = live.get(world.random.random_range(0..2 * live.len().max(1)));
        let (topic, life, first, count) = match chosen {
            Some(part) if !heavy => {
                (clients.model.topics[part.topic].name.clone(), part.topic as i64 + 1, part.index, 1)
            }
            _ => (TOPIC.to_string(), 0, 0, positions),
        };
        let mut committed = Vec::new();
        for partition in first..first + count {
            let mark = self.marks.entry((group.to_string(), topic.clone(), partition)).or_default();
            mark.sent = mark.sent.max(life * LIFE) + 1;
            committed.push((partition, mark.sent));
        }
        let metadata = "m".repeat(if heavy { HEAVY_METADATA_BYTES } else { world.random.random_range(0..100) });
        let of = |&(partition, offset): &(i32, i64)| (TopicPartition::new(&topic, partition), offset);
        let ask = Ask::Of(ask::Ask::Commit(committed.iter().map(of).collect()));
        let request = member::commit(group, &topic, &committed, &metadata);
        let number = self.send(world, process, place, (None, group), &ask, |w| request.encode(w, 9));
        self.requests.get_mut(&number).expect("it was just sent").group = format!("{group} {topic}");
    }

    fn ask_from_outside(&mut self, world: &mut World, process: &mut Process, clients: &Clients) {
        let place = self.outside.expect("the broker runs");
        if process.may_read(place.0, place.1) {
            let group = [PLAIN, GROUPS].as_flattened()[world.random.random_range(0..PLAIN.len() + GROUPS.len())];
            let request = member::fetch(group, None);
            let number =
                self.send(world, process, place, (None, group), &Ask::Of(ask::Ask::Committed(Vec::new())), |w| {
                    request.encode(w, 9);
                });
            self.requests.get_mut(&number).expect("it was just sent").lives = lives(clients);
        }
    }

    /// Takes what the broker has answered.
    pub fn receive(&mut self, world: &mut World, clients: &mut Clients) {
        while let Some(frame) = clients.others.pop_front() {
            let number = Reader::new(&frame[4..]).i32().expect("a correlation id");
            // Of a connection that was broken.
            let Some(asked) = self.requests.remove(&number) else {
                if self.called.as_ref().is_some_and(|(called, _)| *called == number) {
                    self.called = Some((number, frame));
                }
                continue;
            };
            let (api, version) = asked.ask.api();
            let mut r = Reader::new(&frame[4..]);
            ResponseHeader::decode(&mut r, api.header_versions(version).1).expect("a header");
            match asked.member {
                Some(at) => self.answered_member(world, at, number, &asked, &mut r),
                None => self.answered_outside(world, &asked, &mut r, clients),
            }
        }
    }

    fn answered_member(&mut self, world: &mut World, at: usize, number: i32, asked: &Asked, r: &mut Reader<'_>) {
        let (code, answer) = asked.ask.decode(r);
        world.trace(|| format!("member {at} of {}: {:?} is answered by {code}", asked.group, asked.ask));
        if code == ErrorCode::None {
            self.check(at, asked, &answer);
        }
        if self.waits[at].take_if(|waits| *waits == number).is_some()
            && !(self.trouble && world.random.random_range(0..50) == 0)
        {
            self.members[at].take(world.now, &asked.ask, code, answer);
        }
    }

    /// What must hold of a good answer, whether its member gets it or not.
    fn check(&mut self, at: usize, asked: &Asked, answer: &Answer) {
        let group = &asked.group;
        match (&asked.ask, answer) {
            (Ask::Of(ask::Ask::Commit(positions)), _) => {
                positions.iter().for_each(|(place, offset)| self.acknowledge(group, TOPIC, place.partition, *offset));
            }
            // One that was started again since does not know as whom it asked.
            (_, Answer::Synced(share)) if self.members[at].own().generation == asked.generation => {
                for partition in share.iter().flat_map(|(_, partitions)| partitions) {
                    let me = self.members[at].name().to_string();
                    let generation = (group.clone(), self.members[at].leader().to_string(), asked.generation);
                    let owner = self.owners.entry((generation, *partition)).or_insert_with(|| me.clone());
                    assert_eq!(*owner, me, "two owners of {partition} in generation {} of {group}", asked.generation);
                }
            }
            (_, Answer::Committed(positions)) => {
                for (place, told) in positions {
                    self.check_position((group.clone(), TOPIC.to_string(), place.partition), *told, &asked.least);
                }
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mark = self.marks.get_mut(&(group.to_string(), topic.to_string(), partition)).expect("it was sent");
        mark.acknowledged = mark.acknowledged.max(offset);
    }

    fn check_position(&self, key: Key, told: i64, least: &BTreeMap<Key, i64>) {
        let least = least.get(&key).copied().unwrap_or(0);
        let most = self.marks.get(&key).map_or(-1, |mark| mark.sent);
        assert!(told <= most, "{key:?} is {told}, but no more than {most} was ever committed");
        assert!(told >= least || (told == -1 && least == 0), "{key:?} is {told}, but {least} was acknowledged");
    }

    fn answered_outside(&mut self, world: &World, asked: &Asked, r: &mut Reader<'_>, clients: &Clients) {
        match &asked.ask {
            Ask::Of(ask::Ask::Commit(positions)) => {
                let answer = OffsetCommitResponse::decode(r, 9).expect("an answer");
                let (group, topic) = asked.group.split_once(' ').expect("a group and its topic");
                let codes: Vec<i16> =
                    answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect();
                world.trace(|| format!("commit of {positions:?} in {topic} by {group}: {codes:?}"));
                for (code, (place, offset)) in codes.into_iter().zip(positions) {
                    if code == ErrorCode::None.code() {
                        self.acknowledge(group, topic, place.partition, *offset);
                    }
                }
            }
            Ask::Of(ask::Ask::Committed(_)) => {
                let (code, found) = member::fetched(r, 9);
                world.trace(|| format!("positions of {}: {code} {found:?}", asked.group));
                if code == ErrorCode::None.code() {
                    self.check_all(&asked.group, (&asked.least, &asked.lives), &found, clients);
                }
            }
            ask => unreachable!("nobody outside asks {ask:?}"),
        }
    }

    /// All positions of a group: none of those that were acknowledged is missing, none is of an older life of its topic.
    fn check_all(
        &self,
        group: &str,
        (least, lives): (&BTreeMap<Key, i64>, &Lives),
        found: &[(String, i32, i64)],
        clients: &Clients,
    ) {
        let mut told: BTreeMap<Key, i64> = BTreeMap::new();
        for (topic, partition, offset) in found {
            told.insert((group.to_string(), topic.clone(), *partition), *offset);
        }
        for key in self.marks.keys().filter(|(of, topic, _)| of == group && topic == TOPIC) {
            self.check_position(key.clone(), told.get(key).copied().unwrap_or(-1), least);
        }
        for ((_, topic, partition), offset) in told.iter().filter(|((_, topic, _), _)| topic != TOPIC) {
            let life = (offset / LIFE - 1) as usize;
            let known = &clients.model.topics[life];
            assert!(known.name == *topic && *partition < known.partitions);
            let newer = lives.get(topic).is_some_and(|newest| *newest > life);
            assert!(
                !newer || self.faulty,
                "{topic}-{partition} is at {offset}, from before the topic was deleted and made again"
            );
        }
    }

    /// Asks from outside and waits for the answer.
    fn call(
        &mut self,
        world: &mut World,
        process: &mut Process,
        clients: &mut Clients,
        (api, version): (ApiKey, i16),
        body: impl FnOnce(&mut Writer),
    ) -> Result<Bytes, Crashed> {
        self.correlation_last += 1;
        let number = self.correlation_last;
        let (core, connection) = self.outside.expect("the broker runs");
        self.called = Some((number, Bytes::new()));
        let frame = request_frame(api, version, number, Some("sim"), body);
        process.send(world, core, connection, &frame);
        loop {
            clients.receive(world, process);
            self.receive(world, clients);
            if let Some((_, frame)) = self.called.take_if(|(_, frame)| !frame.is_empty()) {
                let mut r = Reader::new(&frame[4..]);
                ResponseHeader::decode(&mut r, api.header_versions(version).1).expect("a header");
                return Ok(frame.slice(frame.len() - r.remaining()..));
            }
            assert!(clients.step(world, process)?, "the broker does nothing and owes an answer");
        }
    }

    /// After a recovery: everything that was acknowledged is there, and the log makes the state that there is.
    pub fn verify(&mut self, world: &mut World, process: &mut Process, clients: &mut Clients) -> Result<(), Crashed> {
        if process.shards[0].image().topic(replay::OFFSETS).is_none() {
            assert!(self.marks.values().all(|mark| mark.acknowledged == 0), "the topic of the commits is lost");
            return Ok(());
        }
        for group in [PLAIN, GROUPS].as_flattened() {
            let marks = self.marks.iter().filter(|((of, ..), _)| of == group);
            let least = marks.map(|(key, mark)| (key.clone(), mark.acknowledged)).collect();
            let (begun, lives) = (world.steps, lives(clients));
            loop {
                let answer = self.call(world, process, clients, (ApiKey::OffsetFetch, 9), |w| {
                    member::fetch(group, None).encode(w, 9);
                })?;
                let (code, found) = member::fetched(&mut Reader::new(&answer), 9);
                world.trace(|| format!("after the start positions of {group}: {code} {found:?}"));
                if code == ErrorCode::None.code() {
                    self.check_all(group, (&least, &lives), &found, clients);
                    break;
                }
                let expected = [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator];
                assert!(expected.map(ErrorCode::code).contains(&code), "{group}: error {code}");
                clients.step(world, process)?;
                assert!(world.steps - begun < LOAD_STEPS_MAX, "{group} is loaded without end");
            }
        }
        self.compare(world, process, clients)
    }

    /// Replays the log beside the broker, and compares what both say of the groups.
    pub fn compare(&mut self, world: &mut World, process: &mut Process, clients: &mut Clients) -> Result<(), Crashed> {
        while !process.is_idle(world) {
            clients.step(world, process)?;
        }
        self.receive(world, clients);
        let was_there = self.has_topic;
        let mut ask = |api, body: &dyn Fn(&mut Writer)| self.call(world, process, clients, api, body);
        let before = replay::read(&mut ask, was_there)?;
        if before.is_empty() {
            return Ok(());
        }
        let described = replay::describe(&mut ask)?;
        let after = replay::read(&mut ask, true)?;
        self.has_topic = true;
        // What is said of a group may be ahead of its log while that is being written.
        if before == after && process.is_idle(world) {
            // What a full disk does not take of a group stays in memory alone, as in Kafka.
            self.compared += replay::compare(world.now, &before, &described, !world.full);
        }
        Ok(())
    }

    /// Nothing goes wrong any more: all groups come to rest, with an owner for each partition.
    pub fn rest(&mut self, world: &mut World, process: &mut Process, clients: &mut Clients) -> Result<(), Crashed> {
        self.trouble = false;
        let begun = world.now.mono;
        while !self.is_at_rest() {
            let waited_ms = (world.now.mono.0 - begun.0) / Time::MILLISECOND;
            assert!(waited_ms < REST_MS_MAX, "the groups do not come to rest: {:#?}", self.members);
            world.wake = self.wake();
            for at in 0..self.members.len() {
                self.act_as(world, process, at);
            }
            clients.step(world, process)?;
            self.receive(world, clients);
        }
        world.wake = None;
        self.compare(world, process, clients)
    }

    fn is_at_rest(&self) -> bool {
        let rests = |group: &str| {
            let members: Vec<&Member> = self.members.iter().filter(|member| member.own().group == group).collect();
            let mut owned: Vec<i32> = members.iter().filter_map(|member| member.reads()).flatten().collect();
            owned.sort_unstable();
            let generation = members[0].own().generation;
            members.iter().all(|member| member.reads().is_some() && member.own().generation == generation)
                && owned == (0..PARTITIONS).collect::<Vec<_>>()
        };
        GROUPS.iter().all(|group| rests(group))
    }
}
