//! The sockets of all members of all groups, in one thread.

use super::ask::Ask;
use super::delivery::{Delivery, Owners};
use super::member::{Member, Outcome};
use super::pattern::{Action, Event, Pattern};
use super::{Plan, Written};
use crate::cluster::resolve;
use crate::epoll::{self, Epoll};
use crate::link::{Link, Outgoing};
use crate::options::Fetching;
use crate::request::CLIENT_ID;
use crate::run::Run;
use crate::tally::{SharedTally, histogram};
use hdrhistogram::Histogram;
use klamm::client::version::Versions;
use klamm::wire::batch::batches;
use klamm::wire::codec::{DecodeError, Reader, Records};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::{ApiKey, FetchRequest, FetchResponse, ResponseHeader};
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
/// A fetch without a session.
const NO_SESSION_EPOCH: i32 = -1;

/// A member by its group and its place in it.
type Place = (usize, usize);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Coordinator,
    Reading(SocketAddr),
}

struct Connection {
    place: Place,
    kind: Kind,
    link: Link,
    /// The request without its answer: its number, version and time.
    waiting: Option<(i32, i16, u64)>,
    ask: Option<Ask>,
}

struct Peer {
    member: Member,
    /// Its connections, by their numbers.
    coordinator: Option<usize>,
    readers: BTreeMap<SocketAddr, usize>,
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
}

/// Where the broker is and what it speaks.
#[derive(Clone)]
pub struct Cluster {
    pub bootstrap: SocketAddr,
    pub versions: Versions,
    pub leaders: BTreeMap<i32, SocketAddr>,
}

pub struct Driver {
    run: Arc<Run>,
    tally: SharedTally,
    plan: Plan,
    fetching: Fetching,
    cluster: Cluster,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    groups: Vec<Group>,
    /// What happens to which group, the last first.
    pattern: Vec<(Event, usize)>,
    /// When members want to be asked what they have to say.
    wakes: BinaryHeap<Reverse<(u64, Place)>>,
    correlation_id: i32,
    result: Result,
}

impl Driver {
    pub fn new(
        (run, tally): (Arc<Run>, SharedTally),
        plan: Plan,
        fetching: Fetching,
        cluster: Cluster,
        names: Vec<String>,
        pattern: Pattern,
    ) -> io::Result<Driver> {
        let count = names.len();
        // Groups that began together would send all their heartbeats together ever after.
        let shifted = |event: &Event, group: usize| {
            let at_ns = event.at_ns + plan.heartbeat_ns * group as u64 / count as u64;
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
        };
        Ok(Driver {
            run,
            tally,
            groups: names.into_iter().map(group).collect(),
            plan,
            fetching,
            cluster,
            epoll: Epoll::new(false)?,
            connections: Vec::new(),
            pattern,
            wakes: BinaryHeap::new(),
            correlation_id: 0,
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
        while self.wakes.peek().is_some_and(|Reverse((at, _))| *at <= now_ns) {
            let Reverse((_, place)) = self.wakes.pop().expect("it was just there");
            self.pump(place);
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
                let member = Member::new(&of.name, now_ns);
                of.peers.push(Peer { member, coordinator: None, readers: BTreeMap::new() });
                let place = (group, of.peers.len() - 1);
                self.pump(place);
                continue;
            }
            let Some(peer) = of.peers.iter().position(|peer| peer.member.is_staying()) else { break };
            of.peers[peer].member.leave();
            match event.action {
                Action::Leave => self.pump((group, peer)),
                _ => self.hang_up((group, peer)),
            }
        }
    }

    fn owners(&self, group: usize) -> Owners {
        let peers = self.groups[group].peers.iter().enumerate();
        let staying = peers.filter(|(_, peer)| peer.member.is_staying());
        staying.flat_map(|(i, peer)| peer.member.owned().map(move |partition| (partition, i))).collect()
    }

    /// Whether all members have agreed on who has what, and each partition has somebody.
    fn is_settled(&self, group: usize) -> bool {
        let staying = || self.groups[group].peers.iter().map(|peer| &peer.member).filter(|member| member.is_staying());
        let Some(generation) = staying().next().map(|member| member.own.generation) else { return true };
        let ready = |member: &Member| {
            member.is_stable()
                && member.own.generation == generation
                && (member.has_positions() || !self.plan.is_consuming)
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

    /// Sends what a member has to ask, and what it reads.
    fn pump(&mut self, place: Place) {
        let now_ns = self.run.clock.now_ns();
        let peer = &mut self.groups[place.0].peers[place.1];
        if !peer.member.is_staying() && peer.coordinator.is_none() {
            return;
        }
        let ask = peer.member.next(&self.plan, now_ns);
        let waiting = peer.coordinator.and_then(|at| self.connections[at].as_ref()?.ask.as_ref()).is_some();
        if let Some(ask) = ask {
            if let Err(error) = self.ask(place, ask) {
                self.lose(place, &error);
            }
        } else if !waiting {
            let at = self.groups[place.0].peers[place.1].member.wake_ns(&self.plan);
            self.wakes.push(Reverse((at.max(now_ns + 1), place)));
        }
        if self.plan.is_consuming
            && let Err(error) = self.read(place)
        {
            self.lose(place, &error);
        }
    }

    fn connect(&mut self, place: Place, kind: Kind, address: SocketAddr) -> io::Result<usize> {
        let link = Link::connect(address)?;
        let token = self.connections.len();
        self.epoll.add(link.stream(), token)?;
        self.connections.push(Some(Connection { place, kind, link, waiting: None, ask: None }));
        Ok(token)
    }

    fn ask(&mut self, place: Place, ask: Ask) -> io::Result<()> {
        let token = match self.groups[place.0].peers[place.1].coordinator {
            Some(token) => token,
            None => self.connect(place, Kind::Coordinator, self.cluster.bootstrap)?,
        };
        let peer = &mut self.groups[place.0].peers[place.1];
        peer.coordinator = Some(token);
        let api = ask.api();
        let version = self.cluster.versions.common(api).map_err(|why| io::Error::other(format!("the broker {why}")))?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = request_frame(api, version, self.correlation_id, Some(CLIENT_ID), |w| {
            ask.encode(w, version, &self.plan, &peer.member.own);
        });
        let connection = self.connections[token].as_mut().expect("a member's connections are there");
        connection.waiting = Some((self.correlation_id, version, self.run.clock.now_ns()));
        connection.ask = Some(ask);
        connection.link.push(Outgoing { fields: frame.concat(), spans: Vec::new() });
        connection.link.flush().map(drop)
    }

    /// Fetches from each leader that has not been asked yet.
    fn read(&mut self, place: Place) -> io::Result<()> {
        let version =
            self.cluster.versions.common(ApiKey::Fetch).map_err(|why| io::Error::other(format!("the broker {why}")))?;
        let mut wanted: BTreeMap<SocketAddr, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, fetch_offset) in self.groups[place.0].peers[place.1].member.positions() {
            let Some(leader) = self.cluster.leaders.get(&partition) else { continue };
            let partition_max_bytes = self.fetching.fetch_partition_bytes;
            let one = FetchPartition { partition, fetch_offset, partition_max_bytes, ..Default::default() };
            wanted.entry(*leader).or_default().push(one);
        }
        for (leader, partitions) in wanted {
            let token = match self.groups[place.0].peers[place.1].readers.get(&leader) {
                Some(token) => *token,
                None => self.connect(place, Kind::Reading(leader), leader)?,
            };
            self.groups[place.0].peers[place.1].readers.insert(leader, token);
            let connection = self.connections[token].as_mut().expect("a member's connections are there");
            if connection.waiting.is_some() {
                continue;
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
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let frame = request_frame(ApiKey::Fetch, version, self.correlation_id, Some(CLIENT_ID), |w| {
                request.encode(w, version);
            });
            connection.waiting = Some((self.correlation_id, version, self.run.clock.now_ns()));
            connection.link.push(Outgoing { fields: frame.concat(), spans: Vec::new() });
            connection.link.flush()?;
        }
        Ok(())
    }

    fn ready(&mut self, event: epoll::Event) {
        // It may have been closed by what came before it.
        let Some(mut connection) = self.connections[event.token].take() else { return };
        let mut answers = Vec::new();
        let mut result = connection.link.flush().map(drop);
        if event.readable && result.is_ok() {
            result = connection.link.receive(|answer| {
                answers.push(answer.to_vec());
                Ok(())
            });
        }
        let (place, kind) = (connection.place, connection.kind);
        for answer in &answers {
            let taken = match kind {
                Kind::Coordinator => self.answered(&mut connection, answer),
                Kind::Reading(_) => self.fetched(&mut connection, answer),
            };
            result = result.and(taken.map_err(|error| io::Error::other(format!("an unreadable answer: {error}"))));
        }
        let peer = &self.groups[place.0].peers[place.1];
        let kept = peer.coordinator == Some(event.token) || peer.readers.values().any(|at| *at == event.token);
        self.connections[event.token] = kept.then_some(connection);
        match result {
            Err(error) if kept => self.lose(place, &error),
            _ if answers.is_empty() => {}
            _ => self.pump(place),
        }
    }

    /// An answer of the coordinator.
    fn answered(&mut self, connection: &mut Connection, answer: &[u8]) -> std::result::Result<(), DecodeError> {
        let now_ns = self.run.clock.now_ns();
        let r = &mut Reader::new(answer);
        let (Some((correlation_id, version, sent_ns)), Some(ask)) = (connection.waiting.take(), connection.ask.take())
        else {
            return Err(DecodeError::Length);
        };
        let header = ResponseHeader::decode(r, ask.api().header_versions(version).1)?;
        if header.correlation_id != correlation_id {
            return Err(DecodeError::Length);
        }
        let (code, brought) = ask.decode(r, version)?;
        if !ask.waits() {
            self.tally.with(|tally| tally.request(now_ns, now_ns.saturating_sub(sent_ns)));
        }
        let (group, place) = connection.place;
        let member = &mut self.groups[group].peers[place].member;
        match member.answered(&self.plan, now_ns, code, brought) {
            Outcome::Nothing | Outcome::Revoked => {}
            Outcome::Assigned { took_ns } => self.result.shares.saturating_record(took_ns),
            Outcome::Error(code) => self.tally.with(|tally| tally.error(code, 1)),
            Outcome::Left => self.hang_up((group, place)),
            Outcome::Found(address) => match resolve(&address) {
                Ok(address) if address != self.cluster.bootstrap => {
                    self.groups[group].peers[place].coordinator = None;
                    match self.connect((group, place), Kind::Coordinator, address) {
                        Ok(token) => self.groups[group].peers[place].coordinator = Some(token),
                        Err(error) => self.lose((group, place), &error),
                    }
                }
                Ok(_) => {}
                Err(_) => self.tally.with(|tally| tally.error(ErrorCode::CoordinatorNotAvailable.code(), 1)),
            },
        }
        self.look_whether_settled(group, now_ns);
        Ok(())
    }

    fn fetched(&mut self, connection: &mut Connection, answer: &[u8]) -> std::result::Result<(), DecodeError> {
        let now_ns = self.run.clock.now_ns();
        let r = &mut Reader::new(answer);
        let (correlation_id, version, _) = connection.waiting.take().ok_or(DecodeError::Length)?;
        let header = ResponseHeader::decode(r, ApiKey::Fetch.header_versions(version).1)?;
        if header.correlation_id != correlation_id {
            return Err(DecodeError::Length);
        }
        let answer = FetchResponse::decode(r, version)?;
        let group = &mut self.groups[connection.place.0];
        let member = &mut group.peers[connection.place.1].member;
        let (mut records, mut bytes, mut errors) = (0, 0, Vec::from_iter(Some(answer.error_code)));
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            errors.push(data.error_code);
            let position = member.positions().find(|(partition, _)| *partition == data.partition_index);
            let (Some((partition, mut next)), Some(Records::Slice(slice))) = (position, &data.records) else {
                continue;
            };
            for batch in batches(slice) {
                let (from, end) = (batch.header.base_offset.get().max(next), batch.header.last_offset() + 1);
                if from < end {
                    group.delivery.deliver(partition, from, end, now_ns);
                    (records, bytes) = (records + (end - from) as u64, bytes + batch.bytes.len() as u64);
                    next = end;
                }
            }
            member.read(partition, next);
        }
        self.run.take(records);
        self.tally.with(|tally| {
            (tally.records, tally.bytes) = (tally.records + records, tally.bytes + bytes);
            tally.last_ns = tally.last_ns.max(now_ns);
            errors.into_iter().filter(|&code| code != 0).for_each(|code| tally.error(code, 1));
        });
        Ok(())
    }

    /// Closes all connections of a member.
    fn hang_up(&mut self, place: Place) {
        let peer = &mut self.groups[place.0].peers[place.1];
        let tokens: Vec<usize> = peer.coordinator.take().into_iter().chain(peer.readers.values().copied()).collect();
        peer.readers.clear();
        tokens.into_iter().for_each(|token| self.connections[token] = None);
    }

    /// A member's connection is gone, and the member with it.
    fn lose(&mut self, place: Place, error: &io::Error) {
        eprintln!("a member's connection is lost: {error}");
        self.tally.with(|tally| tally.error(ErrorCode::NetworkException.code(), 1));
        self.groups[place.0].peers[place.1].member.leave();
        self.hang_up(place);
    }

    /// All members leave.
    fn finish(mut self) -> io::Result<Result> {
        let end_ns = self.run.clock.now_ns();
        for group in 0..self.groups.len() {
            self.result.unsettled += self.groups[group].open.len() as u64;
            self.groups[group].open.clear();
            for peer in 0..self.groups[group].peers.len() {
                self.groups[group].peers[peer].member.leave();
                self.pump((group, peer));
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
