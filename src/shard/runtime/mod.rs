//! The runtime of coordinators: one [`Coordinator`] for each partition of a topic that this core owns.
//!
//! What a coordinator decides in a turn is one batch in its partition's log ([`Runtime::append`]); what follows from it
//! comes out when the partition's high watermark has passed the batch ([`Runtime::advanced`]). The runtime loads
//! coordinators from their checkpoints and logs, writes their checkpoints, keeps their timers, passes on the requests
//! that they make of other partitions, and gives them up when the topic goes. It does not know what its coordinators
//! coordinate.

mod checkpoint;
mod coordinator;
mod load;
mod originate;
#[cfg(test)]
mod tests;

pub use self::coordinator::{Coordinator, Memory, Originated, ShowRecord};
pub use self::originate::{Scattered, scatter};

use self::checkpoint::{Captures, Saved};
use self::load::{Load, Replay};
use self::originate::Outstanding;
use super::message::{Answer, Op, OriginId};
use super::port::ReadPlan;
use super::rules::TopicRules;
use super::store::{LogIndex, Store};
use crate::log::check;
use crate::metadata::Image;
use crate::types::{Now, Offset, PartitionId, PartitionIndex, ShardId, Time, TimestampMs, Uuid};
use crate::wire::batch::{BatchBuilder, HEADER_BYTES, replace_records};
use crate::wire::compression::{Codec, compress};
use crate::wire::error::ErrorCode;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Partitions that are opened, or given up, in one turn.
const OPENED_PER_TURN: i32 = 64;
/// Coordinators that go on in one turn with work that takes several: they load, or are due at [`Time(0)`](Time).
const SLICES_PER_TURN: usize = 4;
/// Appends that a coordinator is told of at once when they are over. Each may be of a megabyte.
const SETTLED_PER_TURN: usize = 4;

/// What the core that hosts a runtime is to do.
pub enum Output<C: Coordinator> {
    /// An answer is to be given.
    Answer(C::Answer),
    /// An operator is to be told.
    Event(C::Event),
    /// Answered by [`Runtime::checkpoint_read`].
    CheckpointRead {
        /// The coordinator's partition.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
    },
    /// Answered by [`Runtime::checkpoint_written`].
    CheckpointWrite {
        /// The coordinator's partition.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// A coordinator's log is read. Answered by [`Runtime::read_done`].
    Read {
        /// The coordinator's partition.
        log: LogIndex,
        /// What is read.
        plan: ReadPlan,
    },
    /// Each ask goes to its partition's owner, whose answer comes to [`Runtime::answered`] with the ask's place in the
    /// list.
    Originate {
        /// The request.
        request: OriginId,
        /// The partitions, and what is wanted of each.
        asks: Vec<(PartitionId, Op)>,
    },
}

/// A coordinator and what it has to do with its partition.
struct Host<C: Coordinator> {
    coordinator: C,
    log: LogIndex,
    load: Load,
    /// The checkpoint that is being taken over, and the batches that have been read behind it.
    restoring: Option<C::Restoring>,
    replay: Replay,
    /// Appends under way, in order: up to where the log must be committed, or why there is nothing to wait for.
    appends: VecDeque<(C::AppendId, Result<Offset, ErrorCode>)>,
    /// More appends may be over than the coordinator has been told of: it is told of the others in the next turn.
    is_behind: bool,
    saved: Saved,
    /// While the coordinator loads: the image at the beginning, and the topics that were deleted since.
    known: Image,
    deleted: BTreeSet<Arc<str>>,
    /// Its place in the runtime's timers, and its share of the runtime's memory.
    armed: Option<Time>,
    memory_counted: Memory,
}

impl<C: Coordinator> Host<C> {
    fn new(settings: &C::Settings, log: LogIndex, known: Image) -> Host<C> {
        Host {
            coordinator: C::new(settings),
            log,
            load: Load::Begun,
            restoring: None,
            replay: Replay::default(),
            appends: VecDeque::new(),
            is_behind: false,
            saved: Saved::default(),
            known,
            deleted: BTreeSet::new(),
            armed: None,
            memory_counted: Memory::default(),
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self.load {
            Load::Later { at, .. } => Some(at),
            Load::Restoring | Load::Replaying { .. } | Load::Opening => Some(Time(0)),
            Load::Done if self.is_behind => Some(Time(0)),
            Load::Done => self.coordinator.deadline(),
            Load::Begun | Load::Checkpoint | Load::Log { .. } => None,
        }
    }

    /// Whether the coordinator knows so much more than its checkpoint that it should have another one. While it loads
    /// it does not know all that a checkpoint has to hold.
    fn is_checkpoint_due(&self) -> bool {
        self.load == Load::Done && self.saved.is_due()
    }

    /// Whether the coordinator knows something of deleted topics that a crash could bring back.
    fn is_forgetting(&self) -> bool {
        match self.load {
            Load::Done => self.coordinator.is_forgetting(),
            // It may take forever, and nobody is to wait for that.
            Load::Later { failed: true, .. } => false,
            _ => !self.deleted.is_empty(),
        }
    }
}

/// The coordinators of one kind on one core.
pub struct Runtime<C: Coordinator> {
    settings: C::Settings,
    codec: Option<Codec>,
    shard: ShardId,
    shards: u16,
    image: Image,
    topic: Option<Arc<TopicRules>>,
    /// This core's partitions of the topic have their hosts, if they come before this one.
    opened_end: PartitionIndex,
    hosts: BTreeMap<PartitionIndex, Host<C>>,
    by_log: HashMap<LogIndex, PartitionIndex>,
    /// Partitions whose coordinators may have something to append or to say.
    touched: BTreeSet<PartitionIndex>,
    timers: BTreeSet<(Time, PartitionIndex)>,
    forgetting: BTreeSet<PartitionIndex>,
    memory: Memory,
    /// What coordinators have asked of owners of partitions.
    outstanding: Outstanding,
    /// Coordinators whose partitions are gone, and which have not told yet everybody who waits for them.
    leaving: VecDeque<C>,
    captures: Captures<C::Checkpoint>,
    out: Vec<Output<C>>,
}

impl<C: Coordinator> Runtime<C> {
    /// Appends are compressed with `codec`; the partitions are those of `shard` among `shards`.
    pub fn new(settings: C::Settings, codec: Option<Codec>, shard: ShardId, shards: u16) -> Runtime<C> {
        Runtime {
            settings,
            codec,
            shard,
            shards,
            image: Image::default(),
            topic: None,
            opened_end: 0,
            hosts: BTreeMap::new(),
            by_log: HashMap::new(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            memory: Memory::default(),
            outstanding: Outstanding::default(),
            leaving: VecDeque::new(),
            captures: Captures::default(),
            out: Vec::new(),
        }
    }

    /// The topic whose partitions have coordinators.
    pub fn topic(&self) -> Option<Uuid> {
        self.topic.as_ref().map(|rules| rules.topic.id)
    }

    /// Whether names of deleted topics must not be used again yet, because what is known of the topics could come back.
    pub fn is_forgetting(&self) -> bool {
        !self.forgetting.is_empty()
    }

    /// When a turn is due although nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        if self.captures.is_capturing() || self.is_opening() || !self.leaving.is_empty() {
            return Some(Time(0));
        }
        self.timers.first().map(|(time, _)| *time)
    }

    /// What the core is to do.
    pub fn take_output(&mut self) -> Vec<Output<C>> {
        std::mem::take(&mut self.out)
    }

    fn is_opening(&self) -> bool {
        self.topic.as_ref().is_some_and(|rules| self.opened_end < rules.topic.partition_count())
    }

    /// The cluster is as `image` says from now on, and the coordinators are those of this topic.
    pub fn follow(&mut self, image: &Image, topic: Option<Arc<TopicRules>>) {
        self.image = image.clone();
        if self.topic() != topic.as_ref().map(|rules| rules.topic.id) {
            self.leave();
        }
        self.topic = topic;
    }

    /// The topic is gone: so are its coordinators.
    fn leave(&mut self) {
        self.opened_end = 0;
        self.by_log.clear();
        self.touched.clear();
        self.timers.clear();
        self.forgetting.clear();
        self.memory = Memory::default();
        self.outstanding.clear();
        self.captures.clear();
        self.leaving.extend(std::mem::take(&mut self.hosts).into_values().map(|host| host.coordinator));
    }

    /// Goes on with giving up coordinators whose topic is gone.
    fn unload_some(&mut self) {
        for _ in 0..OPENED_PER_TURN {
            let Some(coordinator) = self.leaving.front_mut() else { return };
            let is_over = coordinator.unload();
            self.out.extend(coordinator.take_events().into_iter().map(Output::Event));
            self.out.extend(coordinator.take_answers().into_iter().map(Output::Answer));
            if !is_over {
                return;
            }
            self.leaving.pop_front();
        }
    }

    /// Topics are deleted, and the image that has been followed does not have them any more.
    pub fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>) {
        if topics.is_empty() {
            return;
        }
        for (partition, host) in &mut self.hosts {
            match host.load {
                Load::Done => host.coordinator.topics_deleted(topics),
                _ => host.deleted.extend(topics.iter().cloned()),
            }
            self.forgetting.insert(*partition);
            self.touched.insert(*partition);
        }
    }

    /// Hands a request to the coordinator of a partition. False: there is none (yet), and nobody will answer.
    pub fn handle(&mut self, now: Now, partition: PartitionIndex, request: C::Request<'_>) -> bool {
        let Some(host) = self.hosts.get_mut(&partition) else { return false };
        let elsewhere = self.memory.without(host.memory_counted);
        host.coordinator.handle(now, elsewhere, request);
        self.touched.insert(partition);
        self.note(partition);
        true
    }

    /// One part of the answer to an [`Output::Originate`]. It comes to nobody if its coordinator is gone or does not
    /// want it.
    pub fn answered(&mut self, now: Now, request: OriginId, part: u32, answer: Answer) {
        let Some((partition, number)) = self.outstanding.answered(request, part) else { return };
        let host = self.hosts.get_mut(&partition).expect("who asks is there as long as its requests");
        host.coordinator.answered(now, number, part, answer);
        self.touched.insert(partition);
    }

    /// Does what is due, once a turn.
    pub fn begin_turn(&mut self, now: Now, store: &mut Store) {
        self.unload_some();
        self.open_some(now, store);
        // Who is due again at once is so in the next turn.
        let mut due = Vec::new();
        while self.timers.first().is_some_and(|(time, _)| *time <= now.mono) {
            due.extend(self.timers.pop_first());
        }
        let mut slices = SLICES_PER_TURN;
        for (time, partition) in due {
            let host = self.hosts.get_mut(&partition).expect("timers are of hosts that are there");
            assert_eq!(host.armed.take(), Some(time));
            self.touched.insert(partition);
            if time == Time(0) {
                if slices == 0 {
                    continue;
                }
                slices -= 1;
            }
            match host.load {
                Load::Restoring => self.restore_some(store, partition),
                Load::Replaying { .. } => self.replay_some(now, store, partition),
                Load::Later { .. } => self.load_next(now, store, partition),
                Load::Opening => self.load_end(now, partition),
                Load::Done if host.is_behind => {
                    host.is_behind = false;
                    self.settle(now, store, partition);
                }
                Load::Done => host.coordinator.tick(now),
                Load::Begun | Load::Checkpoint | Load::Log { .. } => unreachable!("it waits for the disk"),
            }
        }
    }

    /// Makes hosts for some of the partitions that have none yet.
    fn open_some(&mut self, now: Now, store: &mut Store) {
        let Some(rules) = self.topic.clone() else { return };
        let end = rules.topic.partition_count().min(self.opened_end.saturating_add(OPENED_PER_TURN));
        for index in self.opened_end..end {
            let id = PartitionId { topic: rules.topic.id, index };
            if id.shard(self.shards) != self.shard {
                continue;
            }
            let log = store.open(id, &rules.partition_name(index), &rules.log);
            if let Some(leader) = self.image.leader(id) {
                store.set_epoch(log, leader.epoch);
            }
            let before = self.hosts.insert(index, Host::new(&self.settings, log, self.image.clone()));
            assert!(before.is_none(), "a partition is opened once");
            self.by_log.insert(log, index);
            self.touched.insert(index);
            self.load_begin(now, store, index);
        }
        self.opened_end = end.max(self.opened_end);
    }

    /// Appends what the coordinators have decided to their logs, whose high watermarks may move by that. Returns whether
    /// there was anything.
    pub fn append(&mut self, now: Now, store: &mut Store) -> bool {
        let mut any = false;
        let touched: Vec<PartitionIndex> = self.touched.iter().copied().collect();
        for partition in touched {
            let Some(host) = self.hosts.get_mut(&partition) else { continue };
            while let Some((id, batch)) = plan(&mut host.coordinator, self.codec, now.wall_ms) {
                let info = check::info(&batch).expect("it was just made");
                let bytes = batch.len() as u64;
                let appended = store.append(now, host.log, batch, &info);
                let end = appended.map(|appended| appended.offset_end).map_err(|error| error.told().0);
                host.saved.tail_bytes += if end.is_ok() { bytes } else { 0 };
                host.appends.push_back((id, end));
                any = true;
            }
            self.settle(now, store, partition);
        }
        any
    }

    /// A log has moved, or failed.
    pub fn advanced(&mut self, now: Now, store: &Store, log: LogIndex) {
        if let Some(&partition) = self.by_log.get(&log) {
            self.settle(now, store, partition);
        }
    }

    /// Tells the coordinator which of its appends are over, some at a time.
    fn settle(&mut self, now: Now, store: &Store, partition: PartitionIndex) {
        let Some(host) = self.hosts.get_mut(&partition) else { return };
        let high_watermark = store.log(host.log).map_or(0, |log| log.high_watermark());
        let failed = store.is_failed() || store.log(host.log).is_none();
        if host.is_behind {
            return;
        }
        let mut left = SETTLED_PER_TURN;
        while let Some(&(id, end)) = host.appends.front() {
            let result = match end {
                Ok(end) if end <= high_watermark => Ok(end),
                Ok(_) if failed => Err(ErrorCode::KafkaStorageError),
                Ok(_) => return,
                Err(code) => Err(code),
            };
            self.touched.insert(partition);
            if left == 0 {
                host.is_behind = true;
                return;
            }
            left -= 1;
            host.appends.pop_front();
            host.coordinator.appended(now, id, result);
        }
        if host.is_checkpoint_due() {
            host.saved.queued = true;
            self.captures.queue(partition);
        }
    }

    /// Ends a turn, after the last [`Runtime::append`]: goes on with a checkpoint, and takes what the coordinators have
    /// to say.
    pub fn end_turn(&mut self, store: &Store) {
        self.queue_last_captures(store);
        self.capture(store);
        for partition in std::mem::take(&mut self.touched) {
            let Some(host) = self.hosts.get_mut(&partition) else { continue };
            self.out.extend(host.coordinator.take_events().into_iter().map(Output::Event));
            self.out.extend(host.coordinator.take_answers().into_iter().map(Output::Answer));
            for originated in host.coordinator.take_originated() {
                match originated {
                    Originated::Ask { number, asks } => {
                        let request = self.outstanding.begin(partition, number, asks.len());
                        self.out.push(Output::Originate { request, asks });
                    }
                    Originated::Forget { number } => self.outstanding.forget(partition, number),
                }
            }
            self.note(partition);
        }
    }

    /// After a change of a host: sets its timer, counts its memory, and notes whether it still has to forget topics.
    fn note(&mut self, partition: PartitionIndex) {
        let host = self.hosts.get_mut(&partition).expect("a host that changes is there");
        let deadline = host.deadline();
        if host.armed != deadline {
            if let Some(armed) = host.armed {
                self.timers.remove(&(armed, partition));
            }
            self.timers.extend(deadline.map(|deadline| (deadline, partition)));
            host.armed = deadline;
        }
        let memory = host.coordinator.memory();
        self.memory = self.memory.without(host.memory_counted).with(memory);
        host.memory_counted = memory;
        if host.is_forgetting() {
            self.forgetting.insert(partition);
        } else {
            self.forgetting.remove(&partition);
        }
    }

    fn host_of(&mut self, log: LogIndex) -> Option<(PartitionIndex, &mut Host<C>)> {
        let partition = *self.by_log.get(&log)?;
        Some((partition, self.hosts.get_mut(&partition).expect("by_log names hosts that are there")))
    }

    /// What holds between two turns.
    pub fn check(&self) {
        assert_eq!(self.by_log.len(), self.hosts.len());
        assert!(self.touched.is_empty());
        let counted = self.hosts.values().fold(Memory::default(), |sum, host| sum.with(host.memory_counted));
        assert_eq!(counted, self.memory);
        let armed = self.hosts.iter().filter_map(|(partition, host)| Some((host.armed?, *partition)));
        assert!(armed.collect::<BTreeSet<_>>() == self.timers);
        assert!(self.forgetting.iter().all(|partition| self.hosts.contains_key(partition)));
        self.outstanding.check(|partition| self.hosts.contains_key(&partition));
        assert!(self.hosts.is_empty() || self.topic.is_some());
    }
}

/// The next records to append, as a batch.
fn plan<C: Coordinator>(
    coordinator: &mut C,
    codec: Option<Codec>,
    wall_ms: TimestampMs,
) -> Option<(C::AppendId, BytesMut)> {
    let mut builder = Some(BatchBuilder::new(0));
    let id = coordinator.plan_append(&mut |key, value| {
        let before = builder.take().expect("it is put back");
        builder = Some(before.record(wall_ms, Some(key), value));
    })?;
    let plain: Bytes = builder.expect("it is put back").build();
    let batch = match codec {
        None => plain.try_into_mut().unwrap_or_else(|plain| BytesMut::from(&plain[..])),
        Some(codec) => replace_records(&plain, codec.compression, &compress(codec, &plain[HEADER_BYTES..])),
    };
    Some((id, batch))
}
