//! One connection that writes, and the requests that it has prepared.

use crate::cluster::{Broker, Fault, Layout, Shares};
use crate::link::{ANSWER_MS, Asking};
use crate::options::{Acks, Writing};
use crate::payload::{Draft, Payload, Stamp, random};
use crate::request::{Template, Topic};
use klamm::wire::batch::Compression;
use klamm::wire::messages::ApiKey;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Different batches that are prepared, if their bytes allow; more would not stay in a core's cache.
const PAYLOADS_MAX: usize = 16;
const PAYLOADS_BYTES: usize = 1 << 20;
/// Requests in flight that a broker keeps apart for an idempotent producer.
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;

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

/// Bytes at the front of a value that says when it ought to have been sent.
pub const MARK_BYTES: usize = 24;

/// What such a value says: whose it is, when it ought to have been sent, and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub run_id: u64,
    pub intended_ns: u64,
    pub number: u64,
}

impl Mark {
    pub fn write(&self, value: &mut [u8]) {
        let fields = [self.run_id, self.intended_ns, self.number];
        for (place, field) in value[..MARK_BYTES].chunks_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
    }

    pub fn read(value: &[u8]) -> Option<Mark> {
        let field = |i: usize| Some(u64::from_be_bytes(value.get(8 * i..8 * i + 8)?.try_into().ok()?));
        Some(Mark { run_id: field(0)?, intended_ns: field(1)?, number: field(2)? })
    }
}

/// The requests to some partitions that are written to together.
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
    fn template(&mut self, intended_ns: u64, number: u64) -> Template {
        let run_id = self.run_id;
        self.draft.write_values(|i, value| {
            let number = number + i as u64;
            Mark { run_id, intended_ns, number }.write(value)
        });
        let payload = self.draft.payload(self.compression);
        let batches = self.partitions.iter().map(|&partition| (partition, payload.clone()));
        Template::new(self.version, self.acks, &self.topic, batches.collect())
    }
}

struct Group {
    content: Content,
    /// Its partitions, by their places among the connection's.
    slots: Vec<usize>,
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
    /// Each request with the time at which it ought to have been sent.
    pub asking: Asking<u64>,
    version: i16,
    groups: Vec<Group>,
    group_next: usize,
    /// Sequence of the next batch of each partition.
    sequences: Vec<i32>,
    /// Id and epoch of an idempotent producer.
    identity: Option<(i64, i16)>,
    /// Requests made so far.
    pub taken: u64,
    pub alive: bool,
    batch_records: usize,
}

impl Producer {
    /// Puts the next request in the queue of the connection.
    pub fn push(&mut self, now_ns: u64, intended_ns: u64) {
        let groups = self.groups.len();
        let group = &mut self.groups[self.group_next];
        self.group_next = (self.group_next + 1) % groups;
        let plain = Stamp::plain(wall_ms());
        let (identity, sequences, slots) = (self.identity, &self.sequences, &group.slots);
        let stamp = |i: usize| match identity {
            None => plain,
            Some((producer_id, producer_epoch)) => {
                Stamp { producer_id, producer_epoch, base_sequence: sequences[slots[i]], ..plain }
            }
        };
        let number = self.taken * self.batch_records as u64;
        let of = (ApiKey::Produce, self.version);
        self.asking.push_filled(of, (now_ns, ANSWER_MS), intended_ns, |frame, id| match &mut group.content {
            Content::Same(template) => template.fill(frame, id, stamp),
            Content::Marked(marked) => marked.template(intended_ns, number).fill(frame, id, stamp),
        });
        for &slot in &group.slots {
            self.sequences[slot] = self.sequences[slot].wrapping_add(self.batch_records as i32) & i32::MAX;
        }
        self.taken += 1;
    }
}

/// What is written, with no more partitions in a request than every connection has.
pub fn fit(writing: &Writing, shares: &Shares) -> Writing {
    let partitions = shares.iter().map(|(_, partitions)| partitions.len()).min().unwrap_or(1);
    Writing { partitions_per_request: writing.partitions_per_request.min(partitions as u32), ..writing.clone() }
}

/// Makes the connections, each with its requests prepared; records carry marks of `run_id` if there is one.
pub fn connect(
    broker: &mut Broker,
    layout: &Layout,
    shares: Shares,
    writing: &Writing,
    run_id: Option<u64>,
) -> Result<Vec<Producer>, Fault> {
    let mut random = random();
    let (records, record_bytes) = (writing.batch_records(), writing.record_bytes as usize);
    let compression = Compression::from(writing.compression);
    let acks = writing.acks.number();
    let count = (PAYLOADS_BYTES / (records * record_bytes).max(1)).clamp(1, PAYLOADS_MAX);
    let drafts: Vec<Draft> = (0..count).map(|_| Draft::new(records, record_bytes, &mut random)).collect();
    let payloads: Vec<Payload> = drafts.iter().map(|draft| draft.payload(compression)).collect();
    let mut payloads = payloads.iter().cycle();
    let mut versions = BTreeMap::new();
    let mut producers = Vec::new();
    for (address, partitions) in shares {
        let version = match versions.get(&address) {
            Some(&version) => version,
            None => Broker::connect(address)?.versions.common(ApiKey::Produce)?,
        };
        versions.insert(address, version);
        let identity = writing.idempotent.then(|| broker.producer_id()).transpose()?;
        let mut content = |partitions: &[i32]| match run_id {
            None => {
                let batches = partitions.iter().map(|&index| (index, payloads.next().expect("endless").clone()));
                Content::Same(Template::new(version, acks, &layout.topic, batches.collect()))
            }
            Some(run_id) => Content::Marked(Box::new(Marked {
                draft: drafts[0].clone(),
                run_id,
                partitions: partitions.to_vec(),
                topic: layout.topic.clone(),
                version,
                acks,
                compression,
            })),
        };
        let group = |slots: Vec<usize>| Group {
            content: content(&slots.iter().map(|&slot| partitions[slot]).collect::<Vec<i32>>()),
            slots,
        };
        let groups = groups(partitions.len(), writing.partitions_per_request as usize);
        producers.push(Producer {
            asking: Asking::connect(address).map_err(|error| Fault::Io(address.to_string(), error))?,
            version,
            groups: groups.into_iter().map(group).collect(),
            group_next: 0,
            sequences: vec![0; partitions.len()],
            identity,
            taken: 0,
            alive: true,
            batch_records: records,
        });
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

    #[test]
    fn marks_come_back() {
        let mark = Mark { run_id: 1, intended_ns: u64::MAX, number: 3 };
        let mut value = [0; MARK_BYTES + 5];
        mark.write(&mut value);
        assert_eq!(Mark::read(&value), Some(mark));
        assert_eq!(Mark::read(&value[..MARK_BYTES - 1]), None);
    }
}
