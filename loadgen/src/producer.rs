//! One connection that writes, and the requests that it makes. When the leader of some of its partitions moves, it becomes
//! a connection to each of their leaders, and goes on with its requests in the same order.

use crate::cluster::{Broker, Fault, Layout, Leaders, Shares, topic_layout};
use crate::link::{ANSWER_MS, Asking};
use crate::mark::{Book, Mark};
use crate::options::{Acks, Shape, Target, Writing};
use crate::payload::{Payload, Stamp};
use crate::request::{Template, Topic};
use crate::shape::{self, Made, Maker, Tables};
use klamm::client::patience::Patience;
use klamm::wire::messages::ApiKey;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Requests in flight that a broker keeps apart for an idempotent producer.
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;
/// Pauses between two attempts to find a leader and connect to it.
const PAUSES_MS: RangeInclusive<u64> = 20..=500;

/// How long nothing may work before a load without a planned end gives up.
const GONE_MS: u64 = 60_000;

/// Refuses combinations that no broker accepts.
pub fn check(writing: &Writing) -> Result<(), Fault> {
    let refuse = |why: &str| Err(Fault::Other(why.to_string()));
    if writing.idempotent && writing.in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
        return refuse("--idempotent allows at most 5 requests --in-flight");
    }
    if writing.idempotent && writing.acks != Acks::All {
        return refuse("--idempotent needs --acks all");
    }
    Ok(())
}

/// The time of day that records carry.
pub fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}

/// What all connections of a load write.
pub struct Making {
    target: Target,
    writing: Writing,
    shape: Shape,
    /// Partitions of the load.
    partitions: usize,
    seed: u64,
    /// What values are made of.
    tables: Arc<Tables>,
    /// Batches that are sent again and again; none if each is made when it is sent.
    prepared: Vec<Made>,
    /// Records carry marks, and are written down in it, if it is there.
    book: Option<Arc<Book>>,
}

/// One partition of a connection.
struct Slot {
    partition: i32,
    lane: usize,
    /// Sequence of its next batch.
    sequence: i32,
    /// The last request that was for this partition alone, to be sent again with another batch.
    template: Option<Template>,
}

/// When records were born, in order: one time for all of them, or one each.
#[derive(Clone, Debug)]
pub enum Births {
    Together(u64),
    Each(Vec<u64>),
}

impl From<&[u64]> for Births {
    fn from(births: &[u64]) -> Births {
        if let [all] = births { Births::Together(*all) } else { Births::Each(births.to_vec()) }
    }
}

impl Deref for Births {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Births::Together(all) => std::slice::from_ref(all),
            Births::Each(births) => births,
        }
    }
}

/// A request that is under way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Of its records.
    pub births: Births,
    /// When it was.
    pub sent_ns: u64,
    /// Its batches, one a partition, and what is in all of them.
    pub batches: u64,
    pub records: u64,
    /// Of keys and values.
    pub bytes: u64,
    /// The number of its first record, if records have some.
    pub first: u64,
}

impl Sent {
    /// When its first record was born.
    pub fn intended_ns(&self) -> u64 {
        self.births[0]
    }
}

/// When record `i` of some was born.
fn birth(births: &[u64], i: usize) -> u64 {
    if births.len() == 1 { births[0] } else { births[i] }
}

/// The connection to one leader.
pub struct Lane {
    pub address: SocketAddr,
    version: i16,
    /// `None` while it is lost.
    pub asking: Option<Asking<Sent>>,
}

/// How a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Ready,
    /// Leaders are looked for from then on.
    Troubled {
        retry_ns: u64,
    },
    /// Leaders are being looked for.
    Placing,
    /// Nothing has worked for too long.
    GivenUp,
}

/// One connection and its partitions.
pub struct Producer {
    making: Arc<Making>,
    /// Its number among the connections of the load.
    number: usize,
    maker: Maker,
    /// Batches made so far, of those that are prepared.
    prepared_next: usize,
    pub lanes: Vec<Lane>,
    slots: Vec<Slot>,
    /// Whose turn it is.
    slot_next: usize,
    /// Of the request that is being made: its batches by the lanes and places of their partitions, with their records; and what
    /// is sent to one leader.
    batches: Vec<(usize, usize, usize)>,
    filling: Vec<(Payload, Stamp)>,
    topic: Topic,
    /// Id and epoch of an idempotent producer.
    identity: Option<(i64, i16)>,
    pub state: State,
    pub patience: Patience,
}

impl Producer {
    /// Without connections yet; they come with `install`.
    fn new(making: Arc<Making>, number: usize, partitions: &[i32], topic: &Topic, patience_ms: u64) -> Producer {
        let slot = |&partition: &i32| Slot { partition, lane: 0, sequence: 0, template: None };
        Producer {
            maker: making.maker(number),
            making,
            number,
            prepared_next: number,
            lanes: Vec::new(),
            slots: partitions.iter().map(slot).collect(),
            slot_next: 0,
            batches: Vec::new(),
            filling: Vec::new(),
            topic: topic.clone(),
            identity: None,
            state: State::Ready,
            patience: Patience::new(patience_ms, PAUSES_MS),
        }
    }

    /// What it writes, as all connections of its load do.
    pub fn making(&self) -> Arc<Making> {
        self.making.clone()
    }

    /// All of a request is written.
    pub fn acknowledged(&self, sent: &Sent) {
        if let Some(book) = &self.making.book {
            book.acknowledge(sent.first, sent.records as usize);
        }
    }

    /// The places of the next partitions, in turn.
    fn turn(&self, count: usize) -> impl Iterator<Item = usize> {
        let (first, slots) = (self.slot_next, self.slots.len());
        assert!(count <= slots);
        (first..first + count).map(move |at| at % slots)
    }

    /// The place of a partition.
    fn place(&self, partition: i32) -> usize {
        self.slots
            .binary_search_by_key(&partition, |slot| slot.partition)
            .expect("where keys decide it has all, in order")
    }

    /// Whether the next request can go without more than `in_flight` unanswered ones.
    pub fn may_push(&self, in_flight: usize) -> bool {
        let has_room = |slot: usize| {
            let asking = self.lanes[self.slots[slot].lane].asking.as_ref();
            asking.is_some_and(|asking| asking.under_way() < in_flight)
        };
        // Which partition is next is not known where keys decide.
        let count = match self.making.shape.is_partitioned_by_key() {
            true => self.slots.len(),
            false => self.making.writing.partitions_per_request as usize,
        };
        self.state == State::Ready && self.turn(count).all(has_room)
    }

    /// Puts the next request in the queues of its connections, with so many records: a batch for each partition whose turn it
    /// is, the last of which may not be full. The records were born at these times, or all of them at the only one. `now` is the
    /// time of the run's clock and that of day.
    pub fn push(&mut self, now: (u64, i64), records: usize, births: &[u64]) {
        assert!(births.len() == records || births.len() == 1);
        let full = self.making.writing.batch_records();
        let count = records.div_ceil(full);
        let mut batches = std::mem::take(&mut self.batches);
        batches.clear();
        let by_key = self.maker.partition(records).map(|partition| self.place(partition));
        let lane = |slot: usize| self.slots[slot].lane;
        match by_key {
            Some(slot) => batches.push((lane(slot), slot, records)),
            None => {
                let sizes = (0..count).map(|batch| full.min(records - batch * full));
                batches.extend(self.turn(count).zip(sizes).map(|(slot, records)| (lane(slot), slot, records)));
            }
        }
        batches.sort_by_key(|&(lane, ..)| lane);
        let mut births = births;
        for batches in batches.chunk_by(|a, b| a.0 == b.0) {
            let records = batches.iter().map(|(.., records)| records).sum();
            let (mine, rest) = births.split_at(if births.len() == 1 { 1 } else { records });
            self.push_to(batches, records, now, mine);
            births = if rest.is_empty() { mine } else { rest };
        }
        self.batches = batches;
        self.slot_next = (self.slot_next + count) % self.slots.len();
    }

    /// One request to one leader.
    fn push_to(
        &mut self,
        batches: &[(usize, usize, usize)],
        records: usize,
        (now_ns, timestamp_ms): (u64, i64),
        births: &[u64],
    ) {
        let plain = Stamp { timestamp_ms, ..Stamp::PLAIN };
        let book = self.making.book.as_ref();
        let first = book.map_or(0, |book| book.send(self.number, (0..records).map(|i| birth(births, i))));
        let (mut number, mut bytes) = (first, 0);
        for &(_, at, records) in batches {
            let made = self.make(self.slots[at].partition, records, (first, number), births);
            let slot = &mut self.slots[at];
            let stamp = match self.identity {
                None => plain,
                Some((producer_id, producer_epoch)) => {
                    Stamp { producer_id, producer_epoch, base_sequence: slot.sequence, ..plain }
                }
            };
            slot.sequence = slot.sequence.wrapping_add(records as i32) & i32::MAX;
            self.filling.push((made.payload, stamp));
            bytes += made.bytes;
            number += records as u64;
        }
        let sent = Sent {
            births: births.into(),
            sent_ns: now_ns,
            batches: batches.len() as u64,
            records: records as u64,
            bytes,
            first,
        };
        let Lane { version, asking, .. } = &mut self.lanes[batches[0].0];
        let asking = asking.as_mut().expect("it was looked for room");
        let of = (ApiKey::Produce, *version);
        let sizes = self.filling.iter().map(|(payload, _)| payload.size());
        let fresh = |sizes: &[(i32, usize)]| Template::new(of.1, self.making.writing.acks.number(), &self.topic, sizes);
        let new;
        let template = match (batches, &self.filling[..]) {
            ([(_, only, _)], [(payload, _)]) => {
                let Slot { partition, template, .. } = &mut self.slots[*only];
                if !template.as_ref().is_some_and(|template| template.fits(payload.size())) {
                    *template = Some(fresh(&[(*partition, payload.size())]));
                }
                template.as_ref().expect("it is there")
            }
            _ => {
                let partitions = batches.iter().map(|(_, at, _)| self.slots[*at].partition);
                new = fresh(&partitions.zip(sizes).collect::<Vec<_>>());
                &new
            }
        };
        asking.push_filled(of, (now_ns, ANSWER_MS), sent, |frame, id| template.fill(frame, id, &self.filling));
        for (payload, _) in self.filling.drain(..) {
            // Those that are prepared are needed as they are.
            if self.making.prepared.is_empty() {
                self.maker.recycle(payload);
            }
        }
    }

    /// A batch: the next of those that are prepared, or one that carries marks where records are numbered.
    fn make(&mut self, partition: i32, records: usize, (first, number): (u64, u64), births: &[u64]) -> Made {
        let prepared = &self.making.prepared;
        if !prepared.is_empty() && records == self.making.writing.batch_records() {
            self.prepared_next = (self.prepared_next + 1) % prepared.len();
            return prepared[self.prepared_next].clone();
        }
        let run_id = self.making.book.as_ref().map(|book| book.run_id());
        self.maker.batch(records, partition, |i, value| {
            if let Some(run_id) = run_id {
                let number = number + i as u64;
                Mark { run_id, intended_ns: birth(births, (number - first) as usize), number }.write(value);
            }
        })
    }

    /// Requests without an answer.
    pub fn under_way(&self) -> usize {
        self.lanes.iter().filter_map(|lane| lane.asking.as_ref()).map(Asking::under_way).sum()
    }

    /// What is needed to find the leaders of its partitions.
    pub fn need(&self) -> Need {
        Need {
            partitions: self.slots.iter().map(|slot| slot.partition).collect(),
            connected: self.lanes.iter().filter(|lane| lane.asking.is_some()).map(|lane| lane.address).collect(),
        }
    }

    /// Goes on with what was found; gives the places of the new connections among the lanes.
    pub fn install(&mut self, placed: Placed) -> Vec<usize> {
        let mut fresh = Vec::new();
        for (address, version, asking) in placed.links {
            let asking = Some(asking);
            match self.lanes.iter().position(|lane| lane.address == address) {
                Some(at) => {
                    self.lanes[at] = Lane { address, version, asking };
                    fresh.push(at);
                }
                None => {
                    fresh.push(self.lanes.len());
                    self.lanes.push(Lane { address, version, asking });
                }
            }
        }
        if placed.identity.is_some() {
            // A new producer has written nothing.
            self.identity = placed.identity;
            self.slots.iter_mut().for_each(|slot| slot.sequence = 0);
        }
        for (slot, leader) in self.slots.iter_mut().zip(&placed.leaders) {
            let lane = self.lanes.iter().position(|lane| lane.address == *leader);
            slot.lane = lane.expect("each leader is connected to");
            slot.template = None;
        }
        self.topic = placed.topic;
        self.state = State::Ready;
        fresh
    }
}

impl Making {
    fn new((target, writing, shape): Asked<'_>, partitions: usize, book: Option<Arc<Book>>) -> Result<Making, Fault> {
        shape::check(shape).map_err(Fault::Other)?;
        if shape.is_partitioned_by_key() && writing.partitions_per_request > 1 {
            let why = "--partitions-per-request is for --keys with --partitioner even";
            return Err(Fault::Other(why.to_string()));
        }
        if book.is_some() && shape.prepared > 0 {
            return Err(Fault::Other("records that are told apart cannot be --prepared".to_string()));
        }
        let seed = shape.seed.unwrap_or_else(rand::random);
        let mut making = Making {
            target: target.clone(),
            writing: writing.clone(),
            shape: shape.clone(),
            partitions,
            seed,
            tables: Arc::new(Tables::new(seed)),
            prepared: Vec::new(),
            book,
        };
        let mut maker = making.maker(usize::MAX);
        let made = (0..shape.prepared).map(|_| maker.batch(writing.batch_records(), 0, |_, _| ()));
        making.prepared = made.map(|made| Made { payload: made.payload.prepared(), ..made }).collect();
        Ok(making)
    }

    fn maker(&self, connection: usize) -> Maker {
        let seed = (self.seed, connection);
        Maker::new((&self.writing, &self.shape), self.partitions, seed, self.tables.clone())
    }
}

/// A connection whose leaders are looked for: its partitions, and the leaders that it is connected to.
pub struct Need {
    partitions: Vec<i32>,
    connected: BTreeSet<SocketAddr>,
}

/// Where the partitions of a connection are, and new connections to leaders that it had none to, each with its version.
pub struct Placed {
    topic: Topic,
    /// The leader of each of its partitions.
    leaders: Vec<SocketAddr>,
    links: Vec<(SocketAddr, i16, Asking<Sent>)>,
    /// Of a new idempotent producer.
    identity: Option<(i64, i16)>,
}

/// Asks the cluster again who leads, and connects. Waits for answers, so not in a thread that others wait for.
pub fn place(making: &Making, needs: Vec<Need>) -> Vec<Result<Placed, Fault>> {
    let mut speaking = Leaders::while_others_go_on(ApiKey::Produce);
    let target = &making.target;
    let found = Broker::bootstrap_beside(target).or_else(|fault| {
        // Those that were asked at first may be gone, and others not.
        let known: BTreeSet<String> = needs.iter().flat_map(|need| &need.connected).map(|at| at.to_string()).collect();
        let known = Target { bootstrap_server: known.into_iter().collect(), ..target.clone() };
        (!known.bootstrap_server.is_empty()).then(|| Broker::bootstrap_beside(&known).ok()).flatten().ok_or(fault)
    });
    let found = found.and_then(|mut broker| {
        let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
        Ok((broker, layout))
    });
    match found {
        Ok((mut broker, layout)) => {
            needs.into_iter().map(|need| place_one(making, &mut broker, &layout, need, &mut speaking)).collect()
        }
        Err(fault) => needs.iter().map(|_| Err(Fault::Other(fault.to_string()))).collect(),
    }
}

fn place_one(
    making: &Making,
    broker: &mut Broker,
    layout: &Layout,
    need: Need,
    speaking: &mut Leaders,
) -> Result<Placed, Fault> {
    let leader = |partition: &i32| {
        let found = layout.leaders.iter().find(|(_, partitions)| partitions.binary_search(partition).is_ok());
        let missing = || Fault::Other(format!("partition {partition} is gone"));
        found.map(|(address, _)| *address).ok_or_else(missing)
    };
    let leaders = need.partitions.iter().map(leader).collect::<Result<Vec<_>, Fault>>()?;
    let mut links = Vec::new();
    for address in leaders.iter().copied().collect::<BTreeSet<_>>() {
        if !need.connected.contains(&address) {
            let version = speaking.version(address)?;
            let asking = Asking::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?;
            links.push((address, version, asking));
        }
    }
    let identity = making.writing.idempotent.then(|| broker.producer_id()).transpose()?;
    Ok(Placed { topic: layout.topic.clone(), leaders, links, identity })
}

/// The partitions of each connection: where keys decide on them, all.
pub fn shares(layout: &Layout, target: &Target, shape: &Shape) -> Shares {
    let connections = target.connections as usize;
    if shape.is_partitioned_by_key() { layout.share_all(connections) } else { layout.share(connections) }
}

/// What is written, with no more partitions in a request than every connection has.
pub fn fit(writing: &Writing, shares: &Shares) -> Writing {
    let partitions = shares.iter().map(|(_, partitions)| partitions.len()).min().unwrap_or(1);
    Writing { partitions_per_request: writing.partitions_per_request.min(partitions as u32), ..writing.clone() }
}

/// What was asked for of a load that writes.
pub type Asked<'a> = (&'a Target, &'a Writing, &'a Shape);

/// Makes the connections; records carry marks if there is a book to write them down in.
pub fn connect(
    broker: &mut Broker,
    layout: &Layout,
    shares: Shares,
    asked: Asked<'_>,
    book: Option<Arc<Book>>,
) -> Result<Vec<Producer>, Fault> {
    let making = Arc::new(Making::new(asked, layout.partitions(), book)?);
    // With a planned end the load goes on until then, whatever happens; without one it ends when nothing works any more.
    let patience_ms = if asked.0.seconds(false).is_some() { u64::MAX } else { GONE_MS };
    let mut speaking = Leaders::new(ApiKey::Produce);
    let mut producers = Vec::new();
    for (number, (_, partitions)) in shares.into_iter().enumerate() {
        let mut producer = Producer::new(making.clone(), number, &partitions, &layout.topic, patience_ms);
        producer.install(place_one(&making, broker, layout, producer.need(), &mut speaking)?);
        producers.push(producer);
    }
    Ok(producers)
}
