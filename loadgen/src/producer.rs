//! One connection that writes, and the requests that it has prepared. When the leader of some of its partitions moves, it becomes
//! a connection to each of their leaders, and goes on with its requests in the same order.

use crate::cluster::{Broker, Fault, Layout, Shares, topic_layout};
use crate::link::{ANSWER_MS, Asking};
use crate::mark::{Book, Mark};
use crate::options::{Acks, Target, Writing};
use crate::payload::{Draft, Payload, Stamp, random};
use crate::request::{Template, Topic};
use klamm::client::patience::Patience;
use klamm::wire::batch::Compression;
use klamm::wire::messages::ApiKey;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Different batches that are prepared, if their bytes allow; more would not stay in a core's cache.
const PAYLOADS_MAX: usize = 16;
const PAYLOADS_BYTES: usize = 1 << 20;
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
    drafts: Vec<Draft>,
    payloads: Vec<Payload>,
    /// Records carry marks, and are written down in it, if it is there.
    book: Option<Arc<Book>>,
}

/// The requests to some partitions of one leader that are written to together.
enum Content {
    /// Always the same records.
    Same(Template),
    /// Records that carry marks, made for each send.
    Marked(Box<Marked>),
}

struct Marked {
    draft: Draft,
    run_id: u64,
    partitions: Vec<i32>,
    topic: Topic,
    version: i16,
    acks: i16,
    compression: Compression,
}

impl Marked {
    fn template(&mut self, intended_ns: u64, mut number: u64) -> Template {
        let run_id = self.run_id;
        let mut batches = Vec::with_capacity(self.partitions.len());
        for &partition in &self.partitions {
            self.draft.write_values(|_, value| {
                Mark { run_id, intended_ns, number }.write(value);
                number += 1;
            });
            batches.push((partition, self.draft.payload(self.compression)));
        }
        Template::new(self.version, self.acks, &self.topic, batches)
    }
}

/// One request, or one to each leader of its partitions where they have several.
struct Group {
    parts: Vec<Part>,
}

struct Part {
    lane: usize,
    content: Content,
    /// Its partitions, by their places among the connection's.
    slots: Vec<usize>,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it ought to have been sent.
    pub intended_ns: u64,
    /// When it was.
    pub sent_ns: u64,
    /// Its batches, one a partition.
    pub batches: u64,
    /// The number of its first record, if records have some.
    pub first: u64,
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

/// Groups of `size` of `count` things, in turn, so that each thing is in as many groups as the others.
fn groups(count: usize, size: usize) -> Vec<Vec<usize>> {
    assert!(0 < size && size <= count);
    let mut groups = Vec::new();
    let mut first = 0;
    loop {
        groups.push((first..first + size).map(|i| i % count).collect());
        first = (first + size) % count;
        if first == 0 {
            return groups;
        }
    }
}

/// One connection and its partitions.
pub struct Producer {
    making: Arc<Making>,
    /// Its number among the connections of the load.
    number: usize,
    partitions: Vec<i32>,
    pub lanes: Vec<Lane>,
    groups: Vec<Group>,
    group_next: usize,
    /// Sequence of the next batch of each partition.
    sequences: Vec<i32>,
    /// Id and epoch of an idempotent producer.
    identity: Option<(i64, i16)>,
    pub state: State,
    pub patience: Patience,
}

impl Producer {
    /// Without connections yet; they come with `install`.
    fn new(making: Arc<Making>, number: usize, partitions: Vec<i32>, patience_ms: u64) -> Producer {
        Producer {
            making,
            number,
            sequences: vec![0; partitions.len()],
            partitions,
            lanes: Vec::new(),
            groups: Vec::new(),
            group_next: 0,
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
    pub fn acknowledged(&self, sent: Sent) {
        if let Some(book) = &self.making.book {
            book.acknowledge(sent.first, sent.batches as usize);
        }
    }

    /// Whether the next request can go without more than `in_flight` unanswered ones.
    pub fn may_push(&self, in_flight: usize) -> bool {
        let has_room = |part: &Part| {
            let asking = self.lanes[part.lane].asking.as_ref();
            asking.is_some_and(|asking| asking.under_way() < in_flight)
        };
        self.state == State::Ready && self.groups[self.group_next].parts.iter().all(has_room)
    }

    /// Puts the next request in the queues of its connections.
    pub fn push(&mut self, now_ns: u64, intended_ns: u64) {
        let groups = self.groups.len();
        let plain = Stamp::plain(wall_ms());
        for part in &mut self.groups[self.group_next].parts {
            let (identity, sequences, slots) = (self.identity, &self.sequences, &part.slots);
            let stamp = |i: usize| match identity {
                None => plain,
                Some((producer_id, producer_epoch)) => {
                    Stamp { producer_id, producer_epoch, base_sequence: sequences[slots[i]], ..plain }
                }
            };
            let lane = &mut self.lanes[part.lane];
            let asking = lane.asking.as_mut().expect("it was looked for room");
            let book = self.making.book.as_ref();
            let first = book.map_or(0, |book| book.send(self.number, intended_ns, slots.len()));
            let sent = Sent { intended_ns, sent_ns: now_ns, batches: slots.len() as u64, first };
            let of = (ApiKey::Produce, lane.version);
            asking.push_filled(of, (now_ns, ANSWER_MS), sent, |frame, id| match &mut part.content {
                Content::Same(template) => template.fill(frame, id, stamp),
                Content::Marked(marked) => marked.template(intended_ns, first).fill(frame, id, stamp),
            });
            for &slot in &part.slots {
                let records = self.making.writing.batch_records() as i32;
                self.sequences[slot] = self.sequences[slot].wrapping_add(records) & i32::MAX;
            }
        }
        self.group_next = (self.group_next + 1) % groups;
    }

    /// Requests without an answer.
    pub fn under_way(&self) -> usize {
        self.lanes.iter().filter_map(|lane| lane.asking.as_ref()).map(Asking::under_way).sum()
    }

    /// What is needed to find the leaders of its partitions.
    pub fn need(&self) -> Need {
        Need {
            partitions: self.partitions.clone(),
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
            self.sequences.fill(0);
        }
        let lane = |address: &SocketAddr| {
            let at = self.lanes.iter().position(|lane| lane.address == *address);
            at.expect("each leader is connected to")
        };
        let leaders: Vec<usize> = placed.leaders.iter().map(lane).collect();
        let size = self.making.writing.partitions_per_request as usize;
        let mut payloads = self.making.payloads.iter().cycle().skip(self.partitions.first().map_or(0, |&p| p as usize));
        let mut group = |slots: Vec<usize>| {
            let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            slots.into_iter().for_each(|slot| parts.entry(leaders[slot]).or_default().push(slot));
            let part = |(lane, slots): (usize, Vec<usize>)| {
                let partitions: Vec<i32> = slots.iter().map(|&slot| self.partitions[slot]).collect();
                let version = self.lanes[lane].version;
                let content = self.making.content(version, &placed.topic, &partitions, &mut payloads);
                Part { lane, content, slots }
            };
            Group { parts: parts.into_iter().map(part).collect() }
        };
        self.groups = groups(self.partitions.len(), size).into_iter().map(&mut group).collect();
        self.state = State::Ready;
        fresh
    }
}

impl Making {
    fn new(target: &Target, writing: &Writing, book: Option<Arc<Book>>) -> Making {
        let mut random = random();
        let (records, record_bytes) = (writing.batch_records(), writing.record_bytes as usize);
        let count = (PAYLOADS_BYTES / (records * record_bytes).max(1)).clamp(1, PAYLOADS_MAX);
        let drafts: Vec<Draft> = (0..count).map(|_| Draft::new(records, record_bytes, &mut random)).collect();
        let payloads = drafts.iter().map(|draft| draft.payload(writing.compression.into())).collect();
        Making { target: target.clone(), writing: writing.clone(), drafts, payloads, book }
    }

    fn content<'a>(
        &'a self,
        version: i16,
        topic: &Topic,
        partitions: &[i32],
        payloads: &mut impl Iterator<Item = &'a Payload>,
    ) -> Content {
        let acks = self.writing.acks.number();
        match &self.book {
            None => {
                let batches = partitions.iter().map(|&index| (index, payloads.next().expect("endless").clone()));
                Content::Same(Template::new(version, acks, topic, batches.collect()))
            }
            Some(book) => Content::Marked(Box::new(Marked {
                draft: self.drafts[0].clone(),
                run_id: book.run_id(),
                partitions: partitions.to_vec(),
                topic: topic.clone(),
                version,
                acks,
                compression: self.writing.compression.into(),
            })),
        }
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
    let mut versions = BTreeMap::new();
    let target = &making.target;
    let found = Broker::bootstrap(target).or_else(|fault| {
        // Those that were asked at first may be gone, and others not.
        let mut known = needs.iter().flat_map(|need| &need.connected);
        known.find_map(|&address| Broker::connect(address).ok()).ok_or(fault)
    });
    let found = found.and_then(|mut broker| {
        let layout = topic_layout(&mut broker, &target.topic, target.partitions)?;
        Ok((broker, layout))
    });
    match found {
        Ok((mut broker, layout)) => {
            needs.into_iter().map(|need| place_one(making, &mut broker, &layout, need, &mut versions)).collect()
        }
        Err(fault) => needs.iter().map(|_| Err(Fault::Other(fault.to_string()))).collect(),
    }
}

fn place_one(
    making: &Making,
    broker: &mut Broker,
    layout: &Layout,
    need: Need,
    versions: &mut BTreeMap<SocketAddr, i16>,
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
            let version = match versions.get(&address) {
                Some(&version) => version,
                None => Broker::connect(address)?.versions.common(ApiKey::Produce)?,
            };
            versions.insert(address, version);
            let asking = Asking::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?;
            links.push((address, version, asking));
        }
    }
    let identity = making.writing.idempotent.then(|| broker.producer_id()).transpose()?;
    Ok(Placed { topic: layout.topic.clone(), leaders, links, identity })
}

/// What is written, with no more partitions in a request than every connection has.
pub fn fit(writing: &Writing, shares: &Shares) -> Writing {
    let partitions = shares.iter().map(|(_, partitions)| partitions.len()).min().unwrap_or(1);
    Writing { partitions_per_request: writing.partitions_per_request.min(partitions as u32), ..writing.clone() }
}

/// Makes the connections, each with its requests prepared; records carry marks if there is a book to write them down in.
pub fn connect(
    broker: &mut Broker,
    layout: &Layout,
    shares: Shares,
    (target, writing): (&Target, &Writing),
    book: Option<Arc<Book>>,
) -> Result<Vec<Producer>, Fault> {
    let making = Arc::new(Making::new(target, writing, book));
    // With a planned end the load goes on until then, whatever happens; without one it ends when nothing works any more.
    let patience_ms = if target.seconds(false).is_some() { u64::MAX } else { GONE_MS };
    let mut versions = BTreeMap::new();
    let mut producers = Vec::new();
    for (number, (_, partitions)) in shares.into_iter().enumerate() {
        let mut producer = Producer::new(making.clone(), number, partitions, patience_ms);
        producer.install(place_one(&making, broker, layout, producer.need(), &mut versions)?);
        producers.push(producer);
    }
    Ok(producers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_turns_evenly() {
        assert_eq!(groups(4, 1), [[0], [1], [2], [3]]);
        assert_eq!(groups(4, 4), [[0, 1, 2, 3]]);
        assert_eq!(groups(4, 2), [[0, 1], [2, 3]]);
        assert_eq!(groups(4, 3), [[0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3]]);
    }
}
