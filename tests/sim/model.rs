//! What the broker was sent, what it said, and what must therefore be true.

use crate::damage::Harm;
use bytes::Bytes;
use klamm::types::Offset;
use klamm::wire::batch::{Batch as Wire, batches, crc_ok};
use std::collections::{BTreeMap, HashMap, HashSet};

pub type BatchId = usize;

/// A partition by its topic's place in [`Model::topics`] and its index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Part {
    pub topic: usize,
    pub index: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Sent, and nothing certain was heard of it.
    Open,
    /// The broker said where it is.
    Written(Offset),
    /// It is not there and will not be sent again.
    Lost,
}

pub struct Batch {
    pub part: Part,
    pub producer: usize,
    /// As it was sent.
    pub bytes: Bytes,
    pub times: Vec<i64>,
    pub state: State,
    /// The broker answered with an error, so that it may be missing between others.
    pub failed: bool,
}

/// What of a topic may go by itself: what is so old, and what is more than so much of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Retention {
    pub ms: Option<i64>,
    pub bytes: Option<u64>,
}

impl Retention {
    pub fn any(self) -> bool {
        self.ms.is_some() || self.bytes.is_some()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicState {
    Creating,
    Live,
    Deleting,
    Gone,
}

pub struct Topic {
    pub name: String,
    pub partitions: i32,
    /// Acknowledged records may be lost.
    pub memory: bool,
    pub retention: Retention,
    pub state: TopicState,
}

#[derive(Default)]
pub struct Log {
    /// Batches that were acknowledged or read, by base offset.
    pub known: BTreeMap<Offset, BatchId>,
    /// In the order of sending, as far as not settled by a recovery.
    pub sent: Vec<BatchId>,
    /// Of all acknowledged deletions of records.
    pub start: Offset,
    /// Of all deletions of records that were asked for.
    pub start_max: Offset,
    /// The latest start that a client was told of and that came by itself.
    pub told: Offset,
    /// What the last damage may have cost, until a recovery has told.
    pub harm: Option<Harm>,
    /// Damage may have cost the last batches of its producers, which begin anew.
    pub cut: bool,
    /// Records from its end on are lost, and it takes no others.
    pub lost: bool,
}

impl Log {
    /// Damage may have cost what is at this offset.
    fn is_harmed(&self, offset: Offset) -> bool {
        self.harm.is_some_and(|harm| offset >= harm.from)
    }

    /// Damage may have cost it with nothing left that says so.
    fn is_harmed_silently(&self, offset: Offset) -> bool {
        self.is_harmed(offset) && self.harm.is_some_and(|harm| harm.silent)
    }
}

#[derive(Default)]
pub struct Model {
    pub topics: Vec<Topic>,
    pub logs: HashMap<Part, Log>,
    pub batches: Vec<Batch>,
}

impl Model {
    pub fn log(&mut self, part: Part) -> &mut Log {
        self.logs.entry(part).or_default()
    }

    pub fn is_memory(&self, part: Part) -> bool {
        self.topics[part.topic].memory
    }

    pub fn retention(&self, part: Part) -> Retention {
        self.topics[part.topic].retention
    }

    /// A client was told where the log starts. What nobody has asked for does not go back.
    pub fn told_start(&mut self, part: Part, start: Offset) {
        let retains = self.retention(part).any();
        let name = self.name(part);
        let log = self.log(part);
        if start > log.start_max {
            assert!(retains, "{name}: the log starts at {start}, deletion was asked up to {}", log.start_max);
            log.told = log.told.max(start);
        }
    }

    /// Whether what lies below the log's start, and nobody has asked to be deleted, had outlived its retention by then.
    fn check_expired(&self, part: Part, start: Offset, wall_ms: i64) {
        let (name, retention, log) = (self.name(part), self.retention(part), &self.logs[&part]);
        if start <= log.start_max {
            return;
        }
        let mut gone = log.known.range(log.start_max..start);
        if let Some((offset, id)) = log.known.range(..start).next_back() {
            assert!(offset + self.records(*id) <= start, "{name}: the start {start} is within batch {id}");
        }
        let time = |id: &BatchId| *self.batches[*id].times.iter().max().expect("records");
        let young = |id: &BatchId| retention.ms.is_none_or(|ms| wall_ms - time(id) <= ms);
        let Some((last, id)) = gone.rfind(|(_, id)| young(id)) else { return };
        // It went by its size: so much was behind it.
        let known = log.known.range(last + 1..).map(|(_, id)| id);
        let open = log.sent.iter().filter(|id| !matches!(self.batches[**id].state, State::Written(_)));
        let rest: u64 = known.chain(open).map(|id| self.batches[*id].bytes.len() as u64).sum();
        let most = retention.bytes.unwrap_or_else(|| panic!("{name}: batch {id} of {} went at {wall_ms}", time(id)));
        assert!(rest >= most, "{name}: batch {id} at {last} went with {rest} of {most} bytes behind it");
    }

    pub fn name(&self, part: Part) -> String {
        format!("{}-{}", self.topics[part.topic].name, part.index)
    }

    pub fn parts(&self, state: TopicState) -> Vec<Part> {
        let topics = self.topics.iter().enumerate().filter(|(_, topic)| topic.state == state);
        topics.flat_map(|(topic, t)| (0..t.partitions).map(move |index| Part { topic, index })).collect()
    }

    fn records(&self, id: BatchId) -> i64 {
        self.batches[id].times.len() as i64
    }

    /// The offset after the last batch that is known.
    pub fn known_end(&self, part: Part) -> Offset {
        let last = self.logs.get(&part).and_then(|log| log.known.last_key_value());
        last.map_or(0, |(offset, id)| offset + self.records(*id))
    }

    /// The broker says that the batch is at this offset.
    pub fn written(&mut self, id: BatchId, offset: Offset) {
        let (part, records) = (self.batches[id].part, self.records(id));
        let name = self.name(part);
        match self.batches[id].state {
            State::Written(before) => assert_eq!(before, offset, "{name}: batch {id} has moved"),
            State::Lost => panic!("{name}: batch {id} is at {offset}, it was found to be missing"),
            State::Open => {}
        }
        self.batches[id].state = State::Written(offset);
        let before = self.log(part).known.range(..offset).next_back().map(|(base, id)| (*base, *id));
        let after = self.log(part).known.range(offset..).next().map(|(base, id)| (*base, *id));
        if let Some((base, other)) = before {
            let end = base + self.records(other);
            assert!(end <= offset, "{name}: batch {id} is at {offset}, batch {other} reaches from {base} to {end}");
        }
        match after {
            Some((base, other)) if base == offset => assert_eq!(other, id, "{name}: two batches at {offset}"),
            Some((base, other)) => {
                assert!(offset + records <= base, "{name}: batch {id} at {offset} reaches into {other} at {base}");
            }
            None => {}
        }
        self.log(part).known.insert(offset, id);
    }

    /// Batches that a consumer was given; notes that they are there and returns their offsets.
    pub fn read(&mut self, part: Part, bytes: &[u8]) -> Vec<(Offset, BatchId)> {
        let name = self.name(part);
        let mut walk = batches(bytes);
        let mut found = Vec::new();
        for batch in walk.by_ref() {
            let id = self.identify(part, &batch);
            found.push((batch.header.base_offset.get(), id));
        }
        assert_eq!(walk.position(), bytes.len(), "{name}: what was read does not end with a batch");
        for (offset, id) in &found {
            self.written(*id, *offset);
        }
        found
    }

    fn identify(&self, part: Part, batch: &Wire<'_>) -> BatchId {
        let (name, offset) = (self.name(part), batch.header.base_offset.get());
        assert!(crc_ok(batch.bytes), "{name}: the batch at {offset} is damaged");
        let record = batch.records().next().expect("a record").expect("a sound record");
        let value = record.value.expect("a value");
        let id = u64::from_be_bytes(value[..8].try_into().unwrap()) as BatchId;
        let sent = &self.batches[id];
        assert_eq!(sent.part, part, "{name}: the batch at {offset} belongs elsewhere");
        assert_eq!(batch.bytes.len(), sent.bytes.len(), "{name}: the batch at {offset} has another length");
        // The broker sets base offset and leader epoch.
        assert!(batch.bytes[8..12] == sent.bytes[8..12], "{name}: length at {offset}");
        assert!(batch.bytes[16..] == sent.bytes[16..], "{name}: the batch at {offset} is another one");
        id
    }

    /// After a recovery: the partition holds these batches, all of it. From then on all of them must stay. `lost`: the broker
    /// says that others followed.
    pub fn recovered(
        &mut self,
        part: Part,
        (start, end): (Offset, Offset),
        found: &[(Offset, BatchId)],
        lost: bool,
        wall_ms: i64,
    ) {
        let (name, memory) = (self.name(part), self.is_memory(part));
        let log = &self.logs[&part];
        assert!(lost || !log.lost, "{name}: that records are lost is forgotten");
        assert!(!lost || log.lost || log.harm.is_some(), "{name}: records are lost that no damage has cost");
        // Of a partition that has lost its end, all may have been deleted.
        let start_min = if log.harm.is_some() { log.start.min(end) } else { log.start };
        let starts = log.harm.is_some_and(|harm| harm.start);
        assert!(start >= start_min || starts, "{name}: the log start went back from {} to {start}", log.start);
        match self.retention(part).any() {
            true => self.check_expired(part, start, wall_ms),
            false => assert!(start <= log.start_max, "{name}: {start} is deleted, asked was up to {}", log.start_max),
        }
        let mut next = None;
        let mut there = HashSet::new();
        for (offset, id) in found {
            match next {
                Some(next) => assert_eq!(*offset, next, "{name}: offsets have a gap"),
                None => assert!(*offset <= start, "{name}: {start} is not there, the first batch is at {offset}"),
            }
            next = Some(offset + self.records(*id));
            assert!(there.insert(*id), "{name}: batch {id} is there twice");
        }
        assert_eq!(next.unwrap_or(start), end, "{name}: the end of what can be read");
        // Where nothing is left behind the start, what is lost may begin below it, with a batch that reaches across.
        let across = log.known.iter().find(|(offset, id)| **offset + self.records(**id) > start);
        let end = across.filter(|_| lost && found.is_empty()).map_or(end, |(offset, _)| end.min(*offset));
        for (offset, id) in &log.known {
            let last = offset + self.records(*id) - 1;
            let missing = last >= start && !there.contains(id);
            let harmed = if lost { log.is_harmed(*offset) } else { log.is_harmed_silently(*offset) };
            let may = memory || harmed;
            assert!(!missing || may, "{name}: batch {id} was known at {offset} and is lost ({start} to {end})");
            assert!(!missing || *offset >= end, "{name}: batch {id} of {offset} is lost from the middle ({end})");
        }
        self.check_order(part, start, &there);
        let log = self.logs.get_mut(&part).expect("it was just looked at");
        log.lost = lost;
        log.cut |= log.harm.is_some();
        for id in log.known.split_off(&end).into_values() {
            self.batches[id].state = State::Lost;
        }
        log.start = start;
        log.start_max = start;
    }

    /// All batches that were sent to the partition. Those that are open stay among them, for the case that the broker dies
    /// before they are answered.
    pub fn keep_open(&mut self, part: Part) -> Vec<BatchId> {
        let log = self.logs.entry(part).or_default();
        let sent = std::mem::take(&mut log.sent);
        log.sent = sent.iter().copied().filter(|id| self.batches[*id].state == State::Open).collect();
        sent
    }

    /// Of what one producer sent, nothing is missing before what is there.
    fn check_order(&self, part: Part, start: Offset, there: &HashSet<BatchId>) {
        let log = &self.logs[&part];
        if start > log.start {
            // What was deleted cannot be told from what was never written.
            return;
        }
        // One of which nobody said where it is may be deleted: below the start there is room for so many records of unknown
        // batches. What one producer sent is there in the order of sending, so all of them were sent before its first one
        // that is still there.
        let known = log.known.range(..start).map(|(offset, id)| self.records(*id).min(start - offset)).sum::<i64>();
        let (room, mut deleted) = (start - known, 0);
        assert!(room >= 0, "{}: {known} records below {start}", self.name(part));
        let mut missing = HashMap::new();
        let mut before: HashMap<usize, i64> = HashMap::new();
        let mut begun = HashSet::new();
        for id in &log.sent {
            let batch = &self.batches[*id];
            if there.contains(id) {
                if begun.insert(batch.producer) {
                    deleted += before.remove(&batch.producer).unwrap_or(0);
                }
                let earlier = missing.get(&batch.producer);
                assert!(earlier.is_none(), "{}: batch {id} is there, batch {earlier:?} is not", self.name(part));
                continue;
            }
            let missed = match batch.state {
                _ if batch.failed => false,
                State::Written(offset) => offset >= start,
                State::Open if !begun.contains(&batch.producer) => {
                    *before.entry(batch.producer).or_default() += self.records(*id);
                    false
                }
                State::Open | State::Lost => true,
            };
            if missed {
                missing.entry(batch.producer).or_insert(*id);
            }
        }
        assert!(deleted <= room, "{}: {deleted} records before others are gone, {room} were deleted", self.name(part));
    }

    /// The first record at or after the time, from the log start on.
    pub fn find_time(&self, part: Part, start: Offset, time: i64) -> Option<(i64, Offset)> {
        let log = &self.logs[&part];
        let records = log.known.iter().flat_map(|(base, id)| (*base..).zip(self.batches[*id].times.iter()));
        records.filter(|(offset, at)| *offset >= start && **at >= time).map(|(offset, at)| (*at, offset)).next()
    }
}
