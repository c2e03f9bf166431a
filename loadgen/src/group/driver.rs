//! The sockets of all members of all groups, in one thread.

use super::delivery::{Delivery, Owners};
use super::pattern::{Action, Event, Pattern};
use super::places::Places;
use super::{Plan, Written};
use crate::cluster::resolve;
use crate::epoll::{self, Epoll};
use crate::link::{ANSWER_MS, Asking, lost_code};
use crate::live::say;
use crate::options::Fetching;
use crate::run::Run;
use crate::tally::{SharedTally, histogram};
use hdrhistogram::Histogram;
use klamm::client::ask::Ask;
use klamm::client::member::{self, Member};
use klamm::client::partition::TopicPartition;
use klamm::client::request::Answered;
use klamm::types::Time;
use klamm::wire::batch::batches;
use klamm::wire::codec::{DecodeError, Reader, Records};
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::{ApiKey, FetchRequest, FetchResponse};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest wait without a look at the clock.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long members may take to leave at the end.
const LEAVE_NS: u64 = 1_000_000_000;
/// How long until a leader is connected to again that could not be read from.
const READ_AGAIN_NS: u64 = 200_000_000;
/// A fetch without a session.
const NO_SESSION_EPOCH: i32 = -1;

/// A member by its group and its place in it.
type Place = (usize, usize);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// To the coordinator, or to whom it is asked after.
    Coordinator,
    Reading,
}

struct Connection {
    place: Place,
    kind: Kind,
    address: SocketAddr,
    /// What a coordinator is asked; nothing for a fetch.
    asking: Asking<Option<Ask>>,
}

struct Peer {
    member: Member,
    /// It asks nothing more, without a word.
    is_dead: bool,
    /// Its connections, by their numbers.
    coordinator: Option<usize>,
    readers: BTreeMap<SocketAddr, usize>,
    read_again_ns: u64,
    /// When it is in `wakes`; `u64::MAX` if it is not.
    wake_ns: u64,
}

impl Peer {
    fn new(member: Member) -> Peer {
        let readers = BTreeMap::new();
        Peer { member, is_dead: false, coordinator: None, readers, read_again_ns: 0, wake_ns: u64::MAX }
    }

    fn is_staying(&self) -> bool {
        !self.is_dead && self.member.is_staying()
    }
}

struct Group {
    name: String,
    peers: Vec<Peer>,
    delivery: Delivery,
    /// What has happened and is not settled.
    open: Vec<(Action, u64)>,
}

/// What the run came to.
pub struct Result {
    /// Times from an event until all members are settled, by what happened.
    pub rebalances: BTreeMap<&'static str, Histogram<u64>>,
    /// Times from when a member learnt of a rebalance until it had its share.
    pub shares: Histogram<u64>,
    pub unsettled: u64,
    pub first_ns: Option<u64>,
    pub distinct: u64,
    pub duplicates: u64,
    pub kept: Histogram<u64>,
    pub moved: Histogram<u64>,
    /// Of each group, in the order of their numbers.
    pub distinct_each: Vec<u64>,
    /// The cluster could not be found in the end: what was not read may yet be there.
    pub is_away: bool,
}

pub struct Driver {
    run: Arc<Run>,
    tally: SharedTally,
    plan: Plan,
    fetching: Fetching,
    places: Places,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    /// Places in it without a connection.
    free: Vec<usize>,
    groups: Vec<Group>,
    /// What happens to which group, the last first.
    pattern: Vec<(Event, usize)>,
    /// When members want to be asked what they have to say.
    wakes: BinaryHeap<Reverse<(u64, Place)>>,
    /// Addresses of coordinators by their names.
    resolved: BTreeMap<String, SocketAddr>,
    result: Result,
}

impl Driver {
    pub fn new(
        (run, tally): (Arc<Run>, SharedTally),
        plan: Plan,
        fetching: Fetching,
        places: Places,
        names: Vec<String>,
        pattern: Pattern,
    ) -> io::Result<Driver> {
        let count = names.len();
        // Groups that began together would send all their heartbeats together ever after.
        let shifted = |event: &Event, group: usize| {
            let at_ns = event.at_ns + plan.settings.heartbeat_ms * super::MS_NS * group as u64 / count as u64;
            (Event { at_ns, ..*event }, group)
        };
        let all = pattern.0.iter().flat_map(|event| (0..count).map(|group| shifted(event, group)));
        let mut pattern: Vec<(Event, usize)> = all.collect();
        pattern.sort_by_key(|(event, _)| std::cmp::Reverse(event.at_ns));
        let group = |name| Group { name, peers: Vec::new(), delivery: Delivery::new(&plan.starts), open: Vec::new() };
        let result = Result {
            rebalances: BTreeMap::new(),
            shares: histogram(),
            unsettled: 0,
            first_ns: None,
            distinct: 0,
            duplicates: 0,
            kept: histogram(),
            moved: histogram(),
            distinct_each: Vec::new(),
            is_away: false,
        };
        Ok(Driver {
            run,
            tally,
            groups: names.into_iter().map(group).collect(),
            plan,
            fetching,
            places,
            epoll: Epoll::new(false)?,
            connections: Vec::new(),
            free: Vec::new(),
            pattern,
            wakes: BinaryHeap::new(),
            resolved: BTreeMap::new(),
            result,
        })
    }

    /// Runs until the end of the run, and after that until what was `written` is delivered.
    pub(super) fn run(mut self, written: &Written) -> io::Result<Result> {
        loop {
            let now_ns = self.run.clock.now_ns();
            while let Some((event, group)) = self.pattern.pop_if(|(event, _)| event.at_ns <= now_ns) {
                self.happen(&event, group);
            }
            let flow_end_ns = written.end_ns.load(Ordering::SeqCst);
            self.groups.iter_mut().for_each(|group| group.delivery.flow_ends(flow_end_ns));
            let keeps_waiting =
                |group: &Group| written.keeps_waiting(group.delivery.distinct, !group.open.is_empty(), now_ns);
            if !self.run.goes_on(now_ns) && !self.groups.iter().any(keeps_waiting) {
                break;
            }
            self.turn()?;
        }
        self.finish()
    }

    fn turn(&mut self) -> io::Result<()> {
        let now_ns = self.run.clock.now_ns();
        if self.places.look(now_ns) {
            self.resolved.clear();
        }
        while self.wakes.peek().is_some_and(|Reverse((at, _))| *at <= now_ns) {
            let Reverse((at_ns, place)) = self.wakes.pop().expect("it was just there");
            let peer = &mut self.groups[place.0].peers[place.1];
            if peer.wake_ns == at_ns {
                peer.wake_ns = u64::MAX;
                self.pump(place);
            }
        }
        let next_ns = self.wakes.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let event_ns = self.pattern.last().map_or(u64::MAX, |(event, _)| event.at_ns);
        let wait = Duration::from_nanos(next_ns.min(event_ns).saturating_sub(self.run.clock.now_ns())).min(WAIT_MAX);
        let mut events = Vec::new();
        self.epoll.wait(wait, &mut events)?;
        events.into_iter().for_each(|event| self.ready(event));
        Ok(())
    }

    /// An event of the pattern.
    fn happen(&mut self, event: &Event, group: usize) {
        let now_ns = self.run.clock.now_ns();
        let owners = self.owners(group);
        self.groups[group].delivery.rebalance_begins(&owners);
        self.groups[group].open.push((event.action, now_ns));
        for _ in 0..event.members {
            let of = &mut self.groups[group];
            if event.action == Action::Join {
                of.peers.push(Peer::new(Member::new(self.plan.settings.clone(), &of.name, None, Time(now_ns))));
                let place = (group, of.peers.len() - 1);
                self.pump(place);
                continue;
            }
            let Some(peer) = of.peers.iter().position(Peer::is_staying) else { break };
            match event.action {
                Action::Leave => self.step((group, peer), member::Event::Leave),
                _ => {
                    of.peers[peer].is_dead = true;
                    self.hang_up((group, peer));
                }
            }
        }
    }

    fn owners(&self, group: usize) -> Owners {
        let peers = self.groups[group].peers.iter().enumerate();
        let staying = peers.filter(|(_, peer)| peer.is_staying());
        staying.flat_map(|(i, peer)| peer.member.owned().map(move |place| (place.partition, i))).collect()
    }

    /// Whether all members have agreed on who has what, and each partition has somebody.
    fn is_settled(&self, group: usize) -> bool {
        let staying = || self.groups[group].peers.iter().filter(|peer| peer.is_staying()).map(|peer| &peer.member);
        let Some(generation) = staying().next().map(|member| member.own().generation) else { return true };
        let ready = |member: &Member| {
            member.is_stable()
                && member.own().generation == generation
                && (member.has_positions() || !self.plan.settings.reads)
        };
        let shares: usize = staying().map(|member| member.owned().count()).sum();
        let partitions = self.plan.partitions as usize;
        staying().all(ready) && shares == partitions && self.owners(group).len() == partitions
    }

    fn look_whether_settled(&mut self, group: usize, now_ns: u64) {
        if self.groups[group].open.is_empty() || !self.is_settled(group) {
            return;
        }
        for (action, at_ns) in std::mem::take(&mut self.groups[group].open) {
            let times = self.result.rebalances.entry(action.name()).or_insert_with(histogram);
            times.saturating_record(now_ns.saturating_sub(at_ns));
        }
        let owners = self.owners(group);
        self.groups[group].delivery.rebalance_ends(&owners);
    }

    /// Lets a member ask what is due, and sends what it reads.
    fn pump(&mut self, place: Place) {
        self.step(place, member::Event::Tick);
        if self.plan.settings.reads && !self.groups[place.0].peers[place.1].is_dead {
            self.read(place);
        }
    }

    /// Gives a member an event, and carries out what it does about it.
    fn step(&mut self, place: Place, event: member::Event) {
        let now = Time(self.run.clock.now_ns());
        let peer = &mut self.groups[place.0].peers[place.1];
        if peer.is_dead || peer.member.is_gone() {
            return;
        }
        let mut actions = Vec::new();
        peer.member.step(now, event, &mut actions);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                self.carry_out(place, now, action, &mut actions);
            }
        }
        let peer = &mut self.groups[place.0].peers[place.1];
        let wake_ns = peer.member.deadline().0.max(now.0 + 1);
        if wake_ns < peer.wake_ns {
            peer.wake_ns = wake_ns;
            self.wakes.push(Reverse((wake_ns, place)));
        }
        self.look_whether_settled(place.0, now.0);
    }

    fn carry_out(&mut self, place: Place, now: Time, action: member::Action, more: &mut Vec<member::Action>) {
        match action {
            member::Action::Ask(ask) => {
                if let Err(error) = self.ask(place, ask) {
                    self.lose(place, &error);
                    self.groups[place.0].peers[place.1].member.step(now, member::Event::Lost, more);
                }
            }
            member::Action::HangUp => {
                self.places.trouble();
                self.close_coordinator(place);
            }
            member::Action::Count(topics) => {
                let count = |topic| (topic, self.plan.partitions as usize);
                let counts = topics.into_iter().map(count).collect();
                self.groups[place.0].peers[place.1].member.step(now, member::Event::Counted(counts), more);
            }
            member::Action::Begin(begin) => {
                let member = &mut self.groups[place.0].peers[place.1].member;
                for (partition, committed) in begin {
                    let start = self.plan.starts.get(&partition.partition).copied().unwrap_or(0);
                    member.read(&partition, committed.unwrap_or(0).max(start));
                }
            }
            member::Action::Assigned { took_ns } => self.result.shares.saturating_record(took_ns),
            member::Action::Revoked => {}
            member::Action::Refused(_, code) => self.tally.with(|tally| tally.error(code, 1)),
            member::Action::Left => self.hang_up(place),
        }
    }

    fn connect(&mut self, place: Place, kind: Kind, address: SocketAddr) -> io::Result<usize> {
        let asking = Asking::begin(address)?;
        let token = self.free.pop().unwrap_or(self.connections.len());
        self.epoll.add(asking.stream(), token)?;
        if token == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[token] = Some(Connection { place, kind, address, asking });
        Ok(token)
    }

    fn close(&mut self, token: usize) {
        assert!(self.connections[token].take().is_some(), "a connection is closed once");
        self.free.push(token);
    }

    /// The address of a member's coordinator; the first broker's if that is to be asked for it.
    fn address(&mut self, place: Place, ask: &Ask) -> io::Result<SocketAddr> {
        let coordinator = self.groups[place.0].peers[place.1].member.coordinator();
        let (Some(coordinator), false) = (coordinator, *ask == Ask::Find) else {
            return Ok(self.places.cluster.bootstrap);
        };
        let name = coordinator.address();
        if let Some(address) = self.resolved.get(&name) {
            return Ok(*address);
        }
        let address = resolve(&name).map_err(|fault| io::Error::other(fault.to_string()))?;
        self.resolved.insert(name, address);
        Ok(address)
    }

    fn ask(&mut self, place: Place, ask: Ask) -> io::Result<()> {
        let address = self.address(place, &ask)?;
        let token = self.groups[place.0].peers[place.1].coordinator;
        let is_there = |token: &usize| self.connections[*token].as_ref().is_some_and(|it| it.address == address);
        let token = match token.filter(is_there) {
            Some(token) => token,
            None => {
                self.close_coordinator(place);
                self.connect(place, Kind::Coordinator, address)?
            }
        };
        let peer = &mut self.groups[place.0].peers[place.1];
        peer.coordinator = Some(token);
        let common = self.places.cluster.versions.common(ask.api());
        let version = ask.version(common.map_err(|why| io::Error::other(format!("the broker {why}")))?);
        let connection = self.connections[token].as_mut().expect("a member's connections are there");
        // The member itself knows how long it waits.
        let (of, times) = ((ask.api(), version), (self.run.clock.now_ns(), u64::MAX));
        connection.asking.push(of, times, Some(ask.clone()), |w| ask.encode(w, version, peer.member.own()));
        connection.asking.flush().map(drop)
    }

    /// Fetches from each leader that has not been asked yet.
    fn read(&mut self, place: Place) {
        let now_ns = self.run.clock.now_ns();
        let peer = &self.groups[place.0].peers[place.1];
        if now_ns < peer.read_again_ns {
            return;
        }
        let mut wanted: BTreeMap<SocketAddr, Vec<FetchPartition>> = BTreeMap::new();
        for (of, fetch_offset) in peer.member.positions() {
            let Some(leader) = self.places.cluster.leaders.get(&of.partition) else { continue };
            let (partition, partition_max_bytes) = (of.partition, self.fetching.fetch_partition_bytes);
            let one = FetchPartition { partition, fetch_offset, partition_max_bytes, ..Default::default() };
            wanted.entry(*leader).or_default().push(one);
        }
        for (leader, partitions) in wanted {
            if let Err(error) = self.fetch(place, leader, partitions, now_ns) {
                self.lose_reader(place, leader, &error);
            }
        }
    }

    fn fetch(
        &mut self,
        place: Place,
        leader: SocketAddr,
        partitions: Vec<FetchPartition>,
        now_ns: u64,
    ) -> io::Result<()> {
        let common = self.places.cluster.versions.common(ApiKey::Fetch);
        let version = common.map_err(|why| io::Error::other(format!("the broker {why}")))?;
        let token = match self.groups[place.0].peers[place.1].readers.get(&leader) {
            Some(token) => *token,
            None => self.connect(place, Kind::Reading, leader)?,
        };
        self.groups[place.0].peers[place.1].readers.insert(leader, token);
        let connection = self.connections[token].as_mut().expect("a member's connections are there");
        if connection.asking.under_way() > 0 {
            return connection.asking.check(now_ns);
        }
        let (name, topic_id) = (self.plan.topic.name.as_str().into(), self.plan.topic.id);
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: self.fetching.max_wait_ms,
            min_bytes: self.fetching.min_bytes,
            max_bytes: self.fetching.max_bytes,
            session_epoch: NO_SESSION_EPOCH,
            topics: vec![FetchTopic { topic: name, topic_id, partitions }],
            ..Default::default()
        };
        let answer_ms = ANSWER_MS + u64::try_from(self.fetching.max_wait_ms).unwrap_or(0);
        connection.asking.push((ApiKey::Fetch, version), (now_ns, answer_ms), None, |w| request.encode(w, version));
        connection.asking.flush().map(drop)
    }

    fn ready(&mut self, event: epoll::Event) {
        // It may have been closed by what came before it.
        let Some(connection) = &mut self.connections[event.token] else { return };
        let (place, kind, address) = (connection.place, connection.kind, connection.address);
        let mut answers = Vec::new();
        let mut result = connection.asking.flush().map(drop);
        if event.readable && result.is_ok() {
            result = connection.asking.receive(|answered, body| {
                answers.push((answered, body.to_vec()));
                Ok(())
            });
        }
        let has_answers = !answers.is_empty();
        for (answered, body) in answers {
            let taken = match kind {
                Kind::Coordinator => self.answered(place, answered, &body),
                Kind::Reading => self.fetched(place, answered.version, &body),
            };
            result = result.and(taken.map_err(|error| io::Error::other(format!("an unreadable answer: {error}"))));
        }
        if let (Err(error), true) = (&result, self.connections[event.token].is_some()) {
            match kind {
                Kind::Coordinator => {
                    self.lose(place, error);
                    self.step(place, member::Event::Lost);
                }
                Kind::Reading => self.lose_reader(place, address, error),
            }
        }
        if has_answers {
            self.pump(place);
        }
    }

    /// An answer of the coordinator.
    fn answered(
        &mut self,
        place: Place,
        answered: Answered<Option<Ask>>,
        body: &[u8],
    ) -> std::result::Result<(), DecodeError> {
        let now_ns = self.run.clock.now_ns();
        let ask = answered.what.expect("a coordinator is asked what a member asks");
        let (code, answer) = ask.decode(&mut Reader::new(body), answered.version)?;
        if !ask.waits() {
            self.tally.with(|tally| tally.request(now_ns, now_ns.saturating_sub(answered.sent.0)));
        }
        self.step(place, member::Event::Answered(code, answer));
        Ok(())
    }

    fn fetched(&mut self, place: Place, version: i16, body: &[u8]) -> std::result::Result<(), DecodeError> {
        let now_ns = self.run.clock.now_ns();
        let answer = FetchResponse::decode(&mut Reader::new(body), version)?;
        let group = &mut self.groups[place.0];
        let member = &mut group.peers[place.1].member;
        let (mut records, mut bytes, mut errors) = (0, 0, Vec::from_iter(Some(answer.error_code)));
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            errors.push(data.error_code);
            let of = TopicPartition::new(&self.plan.topic.name, data.partition_index);
            let (Some(mut next), Some(Records::Slice(slice))) = (member.position(&of), &data.records) else {
                continue;
            };
            for batch in batches(slice) {
                let (from, end) = (batch.header.base_offset.get().max(next), batch.header.last_offset() + 1);
                if from < end {
                    group.delivery.deliver(of.partition, from, end, now_ns);
                    (records, bytes) = (records + (end - from) as u64, bytes + batch.bytes.len() as u64);
                    next = end;
                }
            }
            member.read(&of, next);
        }
        self.run.take(records, now_ns);
        self.tally.with(|tally| {
            (tally.records, tally.bytes) = (tally.records + records, tally.bytes + bytes);
            tally.last_ns = tally.last_ns.max(now_ns);
            errors.iter().filter(|&&code| code != 0).for_each(|&code| tally.error(code, 1));
        });
        if errors.iter().any(|&code| code != 0) {
            // Somebody else may lead the partition.
            self.places.trouble();
            self.read_later(place);
        } else {
            self.places.renew();
        }
        Ok(())
    }

    /// Closes all connections of a member.
    fn hang_up(&mut self, place: Place) {
        let peer = &mut self.groups[place.0].peers[place.1];
        let tokens: Vec<usize> = peer.coordinator.take().into_iter().chain(peer.readers.values().copied()).collect();
        peer.readers.clear();
        tokens.into_iter().for_each(|token| self.close(token));
    }

    fn close_coordinator(&mut self, place: Place) {
        if let Some(token) = self.groups[place.0].peers[place.1].coordinator.take() {
            self.close(token);
        }
    }

    /// A member's connection to its coordinator is gone, or cannot be made.
    fn lose(&mut self, place: Place, error: &io::Error) {
        self.count_lost(error);
        self.close_coordinator(place);
    }

    /// The same of a connection to a leader, which is made again a little later.
    fn lose_reader(&mut self, place: Place, leader: SocketAddr, error: &io::Error) {
        self.count_lost(error);
        if let Some(token) = self.groups[place.0].peers[place.1].readers.remove(&leader) {
            self.close(token);
        }
        self.read_later(place);
    }

    /// A member reads on a little later.
    fn read_later(&mut self, place: Place) {
        let peer = &mut self.groups[place.0].peers[place.1];
        peer.read_again_ns = self.run.clock.now_ns() + READ_AGAIN_NS;
        let wake_ns = peer.read_again_ns;
        if wake_ns < peer.wake_ns {
            peer.wake_ns = wake_ns;
            self.wakes.push(Reverse((wake_ns, place)));
        }
    }

    fn count_lost(&mut self, error: &io::Error) {
        say(format!("a member's connection is lost: {error}"));
        self.places.trouble();
        self.tally.with(|tally| {
            tally.error(lost_code(error), 1);
            tally.lose(error.to_string());
        });
    }

    /// All members leave.
    fn finish(mut self) -> io::Result<Result> {
        let end_ns = self.run.clock.now_ns();
        self.result.is_away = self.places.is_troubled();
        for group in 0..self.groups.len() {
            self.result.unsettled += self.groups[group].open.len() as u64;
            self.groups[group].open.clear();
            for peer in 0..self.groups[group].peers.len() {
                self.step((group, peer), member::Event::Leave);
            }
        }
        while self.connections.iter().flatten().any(|connection| connection.kind == Kind::Coordinator)
            && self.run.clock.now_ns() < end_ns + LEAVE_NS
        {
            self.turn()?;
        }
        for Group { mut delivery, .. } in self.groups {
            delivery.end(end_ns);
            self.result.distinct += delivery.distinct;
            self.result.distinct_each.push(delivery.distinct);
            self.result.duplicates += delivery.duplicates;
            self.result.first_ns = self.result.first_ns.into_iter().chain(delivery.first_ns).min();
            self.result.kept.add(&delivery.kept).expect("the bounds are the same");
            self.result.moved.add(&delivery.moved).expect("the bounds are the same");
        }
        Ok(self.result)
    }
}
