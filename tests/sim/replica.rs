//! Partitions whose logs are kept as a follower keeps them: batches come with the offsets and epochs of a leader, some offsets
//! are passed over, and what the leader turns out not to have is cut off. After a crash a log holds what it held after one of
//! these operations, the last one that was durable or a later one.

use crate::client::Clients;
use crate::device::Refusal;
use crate::node::{Crashed, Process, World};
use crate::segments::{Files, SegmentRead};
use bytes::{Bytes, BytesMut};
use klamm::log::{Read, Settings, check};
use klamm::shard::ReadPlan;
use klamm::shard::store::{LogIndex, Store};
use klamm::types::{Epoch, Offset, PartitionId, ProducerId, Uuid};
use klamm::wire::batch::{BatchBuilder, batches, crc_ok};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::*;
use rand::Rng;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

const TOPIC: &str = "followed";
const PARTITIONS: i32 = 2;
const PRODUCER: ProducerId = ProducerId(9_999);
const READ_BYTES: usize = 100_000;
/// An operation comes in one of so many steps.
const ACT_ONE_IN: u32 = 6;

/// A batch: where it is, its leader's epoch, how many records it has, and its number, which no other has.
type Known = (Offset, Epoch, i64, u64);

/// What a log holds after an operation, and the journal's block that makes that durable.
#[derive(Clone)]
struct State {
    block: u64,
    batches: Vec<Known>,
}

pub struct Replicas {
    parts: Vec<Replica>,
}

/// How often something was cut off, and passed over, in all seeds.
pub static CUTS: AtomicUsize = AtomicUsize::new(0);
pub static SKIPS: AtomicUsize = AtomicUsize::new(0);

struct Replica {
    index: i32,
    /// The first one is certain.
    states: VecDeque<State>,
    epoch: i32,
}

fn find(process: &Process, id: PartitionId) -> Option<(usize, LogIndex)> {
    process.shards.iter().enumerate().find_map(|(core, shard)| Some((core, shard.store().find(id)?)))
}

impl Replicas {
    pub fn new() -> Replicas {
        let empty = State { block: 0, batches: Vec::new() };
        let part = |index| Replica { index, states: [empty.clone()].into(), epoch: 0 };
        Replicas { parts: (0..PARTITIONS).map(part).collect() }
    }

    /// After a start: makes the topic if it is not there, and compares the logs.
    pub fn begin(&mut self, world: &mut World, process: &mut Process, clients: &mut Clients) -> Result<(), Crashed> {
        if process.shards[0].image().topic(TOPIC).is_none() {
            let answer = clients.call(world, process, (ApiKey::CreateTopics, 7), |_, w| {
                let settings =
                    [("segment.bytes", "1048576"), ("segment.index.bytes", "48"), ("index.interval.bytes", "0")];
                let configs = settings.map(|(name, value)| create_topics_request::CreatableTopicConfig {
                    name: name.into(),
                    value: Some(value.into()),
                });
                let topic = create_topics_request::CreatableTopic {
                    name: TOPIC.into(),
                    num_partitions: PARTITIONS,
                    replication_factor: 1,
                    configs: configs.into(),
                    ..Default::default()
                };
                CreateTopicsRequest { topics: vec![topic], timeout_ms: 1 << 30, ..Default::default() }.encode(w, 7);
            })?;
            let answer = CreateTopicsResponse::decode(&mut Reader::new(&answer), 7).expect("an answer");
            if answer.topics[0].error_code != ErrorCode::None.code() {
                // The disk is full.
                return Ok(());
            }
        }
        let topic = process.shards[0].image().topic(TOPIC).expect("it was made").id;
        for part in &mut self.parts {
            part.verify(world, process, topic);
        }
        Ok(())
    }

    /// One of the logs may be changed.
    pub fn act(&mut self, world: &mut World, process: &mut Process) {
        let Some(topic) = process.shards[0].image().topic(TOPIC).map(|topic| topic.id) else { return };
        for part in &mut self.parts {
            part.observe(process, topic);
        }
        if world.random.random_range(0..ACT_ONE_IN) > 0 {
            return;
        }
        let part = world.random.random_range(0..self.parts.len());
        let part = &mut self.parts[part];
        let id = part.id(topic);
        let (core, log) = part.open(process, id);
        let store = process.shards[core].store_mut();
        if store.is_congested() {
            return;
        }
        match world.random.random_range(0..10) {
            0 => {
                CUTS.fetch_add(usize::from(part.cut(world, store, log)), Relaxed);
            }
            1 => part.epoch += 1,
            2 => {
                SKIPS.fetch_add(usize::from(part.append(world, store, log, true)), Relaxed);
            }
            _ => {
                part.append(world, store, log, false);
            }
        }
        let log = store.log(log).expect("it was just there");
        log.check();
        process.end_turn(world, core as u16);
    }
}

impl Replica {
    fn id(&self, topic: Uuid) -> PartitionId {
        PartitionId { topic, index: self.index }
    }

    fn open(&self, process: &mut Process, id: PartitionId) -> (usize, LogIndex) {
        find(process, id).unwrap_or_else(|| {
            let core = usize::from(id.shard(process.shards.len() as u16).0);
            let settings = Settings {
                segment_bytes: 1 << 20,
                segment_ms: i64::MAX,
                segment_jitter_ms: 0,
                index_bytes_max: 48,
                index_interval: 0,
                retention_ms: None,
                retention_bytes: None,
                delete_delay_ms: 0,
                ack_memory: false,
            };
            let name: Arc<str> = format!("{TOPIC}-{}", id.index).into();
            (core, process.shards[core].store_mut().open(id, &name, &Arc::new(settings)))
        })
    }

    fn last(&self) -> &State {
        self.states.back().expect("there is one at least")
    }

    fn end(&self) -> Offset {
        self.last().batches.last().map_or(0, |(base, _, records, _)| base + records)
    }

    /// What has become durable is certain.
    fn observe(&mut self, process: &Process, topic: Uuid) {
        let Some((core, _)) = find(process, self.id(topic)) else { return };
        let durable = process.shards[core].store().sequence_durable();
        while self.states.get(1).is_some_and(|next| next.block <= durable) {
            self.states.pop_front();
        }
    }

    fn push(&mut self, store: &Store, batches: Vec<Known>) {
        self.states.push_back(State { block: store.sequence_last(), batches });
    }

    fn append(&mut self, world: &mut World, store: &mut Store, log: LogIndex, skip: bool) -> bool {
        let random = &mut world.random;
        // The first partition stays small, so that its batches are carried forward.
        let bytes = random.random_range(8..if self.index == 0 { 60 } else { 40_000 });
        let (records, number) = (random.random_range(1..4), random.random::<u64>() >> 1);
        let offset = self.end() + if skip { random.random_range(1..50) } else { 0 };
        let mut value = vec![self.index as u8; bytes];
        value[..8].copy_from_slice(&number.to_be_bytes());
        let builder = BatchBuilder::new(0).producer(PRODUCER.0, 0, offset as i32);
        let time = world.now.wall_ms;
        let batch = (0..records).fold(builder, |batch, _| batch.record(time, None, Some(&value))).build();
        let info = check::info(&batch).expect("a batch");
        let at = (offset, Epoch(self.epoch));
        // Where something was passed over and the batch behind it was lost in a crash, the log is ahead.
        let at = (at.0.max(store.log(log).expect("it is open").end()), at.1);
        if store.append_replica(world.now, log, at, BytesMut::from(&batch[..]), &info).is_err() {
            return false;
        }
        world.trace(|| format!("{TOPIC}-{}: {number:x} at {at:?}", self.index));
        let mut batches = self.last().batches.clone();
        batches.push((at.0, at.1, records, number));
        self.push(store, batches);
        true
    }

    fn cut(&mut self, world: &mut World, store: &mut Store, index: LogIndex) -> bool {
        let log = store.log(index).expect("it is open");
        let back = *[2, 20, 1000].get(world.random.random_range(0..3)).expect("one of three");
        let to = (log.end() - world.random.random_range(0..=back)).max(log.start());
        let mut search = log.find_cut(to);
        while let Some((read, offset)) = log.search_cut(&mut search) {
            let plan = ReadPlan { partition: log.id(), name: log.name().clone(), read, offset, bytes_max: READ_BYTES };
            let parts = read_files(world, plan.clone());
            assert!(!parts.is_empty(), "{plan:?}");
            search.feed(&parts);
        }
        let cut = *search.cut().expect("it is found");
        let result = store.truncate(index, &cut);
        world.trace(|| format!("{TOPIC}-{}: cut at {to}: {cut:?} {result:?}", self.index));
        if result.is_err() {
            return false;
        }
        let mut batches = self.last().batches.clone();
        batches.retain(|(base, _, records, _)| base + records <= to);
        self.push(store, batches);
        true
    }

    fn verify(&mut self, world: &mut World, process: &Process, topic: Uuid) {
        let id = self.id(topic);
        let found = find(process, id).map(|(core, log)| contents(world, process.shards[core].store(), log));
        let found = found.unwrap_or_default();
        let known = self.states.iter().rposition(|state| state.batches == found);
        let all = || self.states.iter().map(|state| &state.batches).collect::<Vec<_>>();
        let at =
            known.unwrap_or_else(|| panic!("{TOPIC}-{} holds {found:?}, which is none of {:?}", self.index, all()));
        world.trace(|| format!("{TOPIC}-{} holds {found:?}, operation {at} of {}", self.index, self.states.len()));
        self.states = [State { block: 0, batches: found }].into();
        // Epochs of a leader only rise.
        self.epoch += 1;
    }
}

/// Batches that have left memory.
fn read_files(world: &World, plan: ReadPlan) -> Vec<Bytes> {
    let (mut files, mut read) = (Files::new(), SegmentRead::new(plan));
    loop {
        match read.step(&mut files, &world.disk, Refusal::Nothing, true) {
            Ok(Some(parts)) => return parts,
            Ok(None) => {}
            Err(_) => panic!("the files of {:?} are not there", read.plan),
        }
    }
}

/// All batches of a log, from memory and from its files.
fn contents(world: &World, store: &Store, index: LogIndex) -> Vec<Known> {
    let log = store.log(index).expect("it was just found");
    log.check();
    let (mut found, mut next) = (Vec::new(), log.start());
    while next < log.end() {
        let parts: Vec<Bytes> = match log.read(next, log.end(), READ_BYTES) {
            Read::Memory { parts, .. } => parts,
            Read::Disk(read) => {
                let plan = ReadPlan {
                    partition: log.id(),
                    name: log.name().clone(),
                    read,
                    offset: next,
                    bytes_max: READ_BYTES,
                };
                read_files(world, plan)
            }
            // Nothing follows what was passed over last.
            Read::Empty => break,
            other => panic!("{other:?} at {next} of {}", log.end()),
        };
        let Some(last) = parts.iter().flat_map(|part| batches(part)).last() else { break };
        next = last.header.last_offset() + 1;
        for batch in parts.iter().flat_map(|part| batches(part)) {
            assert!(crc_ok(batch.bytes));
            let record = batch.records().next().expect("a record").expect("a sound record");
            let number = u64::from_be_bytes(record.value.expect("a value")[..8].try_into().expect("eight bytes"));
            let header = &batch.header;
            let epoch = Epoch(header.partition_leader_epoch.get());
            found.push((header.base_offset.get(), epoch, i64::from(header.records_count.get()), number));
        }
    }
    let producer = log.producers().iter().find(|(id, _)| *id == PRODUCER);
    let last = producer.and_then(|(_, producer)| producer.batches.back()).map(|batch| batch.offset_last + 1);
    let end = found.last().map(|(base, _, records, _)| base + records);
    // All that was remembered of it may have been cut off.
    assert!(last.is_none() || last == end, "the producer's last batch ends at {last:?}, the log at {end:?}");
    assert_eq!(log.epoch_last(), found.last().map_or(Epoch(0), |(_, epoch, ..)| *epoch));
    found
}
