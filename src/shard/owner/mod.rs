//! The owner of partitions on one core: its store, who waits for reads and appends, and the coordinators that it hosts.
//!
//! Knows partitions and shards, and no connection.

mod answer;

use super::groups::{Groups, OFFSETS_TOPIC};
use super::message::{Acks, Answer, Ask, GroupAsk, Message, Op, Origin, OriginId, ReadBy};
use super::port::{Output, Reader};
use super::runtime::{self, Scattered};
use super::store::{AppendError, Appended, Done, LogIndex, ProducerLimits, RetentionLimits, Store};
use super::view::View;
use crate::group::Coordinator;
use crate::log::Log;
use crate::log::check::Refusal;
use crate::metadata::{Delta, Topic};
use crate::types::{Now, Offset, PartitionId, RequestId, ShardId, Time, Uuid};
use crate::wire::error::ErrorCode;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Whom to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asker {
    shard: ShardId,
    origin: Origin,
    part: u32,
}

/// Who waits for a partition.
#[derive(Default, Debug)]
struct Waiting {
    /// Appends that wait to be acknowledged, each with the offset up to which the log must be committed, in the order
    /// of offsets.
    appends: VecDeque<(Offset, Asker, Answer)>,
    /// Those that are acknowledged when this broker alone has them on disk.
    appends_local: VecDeque<(Offset, Asker, Answer)>,
    watches: Vec<Asker>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.appends_local.is_empty() && self.watches.is_empty()
    }
}

/// Partitions of deleted topics whose directories are still in place, with their topics' names.
#[derive(Default)]
struct Removing {
    under_way: HashMap<LogIndex, Arc<str>>,
    /// Directories that could not be taken out of the way: it is tried again.
    stuck: HashMap<LogIndex, Arc<str>>,
}

/// An answer that waits for a journal block instead of an offset.
struct BlockWait {
    block: u64,
    asker: Asker,
    answer: Answer,
}

pub struct Owner {
    shard: ShardId,
    store: Store,
    waiting: HashMap<LogIndex, Waiting>,
    /// In the order of blocks.
    block_waits: VecDeque<BlockWait>,
    /// Answers for this shard, and for others.
    replies_own: Vec<(Origin, Vec<(u32, Answer)>)>,
    replies: BTreeMap<(ShardId, Origin), Vec<(u32, Answer)>>,
    groups: Groups,
    removing: Removing,
    /// The place of the next log that has yet to take over the settings of the view.
    settings_next: Option<u32>,
    /// Messages that must reach other machines before those that are sent at the end of the turn, and what coordinators ask.
    told_at_once: Vec<(ShardId, Message)>,
    out: Vec<Output>,
    mail: Vec<(ShardId, Message)>,
}

fn append_refusal(error: AppendError) -> Refusal {
    let (code, message) = error.told();
    Refusal::new(code, message)
}

impl Owner {
    pub fn new(shard: ShardId, store: Store, groups: Groups) -> Owner {
        Owner {
            shard,
            store,
            waiting: HashMap::new(),
            block_waits: VecDeque::new(),
            replies_own: Vec::new(),
            replies: BTreeMap::new(),
            groups,
            removing: Removing::default(),
            settings_next: None,
            told_at_once: Vec::new(),
            out: Vec::new(),
            mail: Vec::new(),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Takes what this shard itself is to be told, at once. What others are told is sent together at the end of a turn.
    pub fn take_own(&mut self) -> Vec<Message> {
        let replies = std::mem::take(&mut self.replies_own).into_iter();
        replies.map(|(origin, answers)| Message::Answers { origin, answers }).collect()
    }

    pub fn take_told_at_once(&mut self) -> Vec<(ShardId, Message)> {
        std::mem::take(&mut self.told_at_once)
    }

    pub fn take_mail(&mut self) -> Vec<(ShardId, Message)> {
        let replies = std::mem::take(&mut self.replies).into_iter();
        self.mail.extend(replies.map(|((to, origin), answers)| (to, Message::Answers { origin, answers })));
        std::mem::take(&mut self.mail)
    }

    /// When a turn is due although no input comes.
    pub fn deadline(&self) -> Option<Time> {
        let settings = self.settings_next.map(|_| Time::default());
        [self.store.deadline(), self.groups.deadline(), settings].into_iter().flatten().min()
    }

    /// Whether the view's image has yet to be taken over: a log has older settings, or something of deleted topics is left that
    /// could come back.
    pub fn is_applying(&self) -> bool {
        self.settings_next.is_some() || !self.removing.under_way.is_empty() || self.groups.is_forgetting()
    }

    /// Takes the parts of a request that concern partitions of this core.
    pub fn asked(&mut self, now: Now, view: &mut View, shard: ShardId, origin: Origin, asks: Vec<Ask>) {
        for ask in asks {
            let asker = Asker { shard, origin, part: ask.part };
            if let Some(answer) = self.ask(now, view, asker, ask) {
                self.reply(asker, answer);
            }
        }
    }

    /// Takes a request for coordinators of this core.
    pub fn groups_asked(&mut self, now: Now, view: &View, from: ShardId, request: RequestId, ask: &GroupAsk) {
        self.groups.asked(now, view.image(), from, request, ask);
    }

    fn reply(&mut self, asker: Asker, answer: Answer) {
        let part = (asker.part, answer);
        if asker.shard != self.shard {
            return self.replies.entry((asker.shard, asker.origin)).or_default().push(part);
        }
        match self.replies_own.last_mut() {
            Some((origin, answers)) if *origin == asker.origin => answers.push(part),
            _ => self.replies_own.push((asker.origin, vec![part])),
        }
    }

    fn open(&mut self, view: &mut View, ask: &Ask) -> LogIndex {
        self.store.find(ask.partition).unwrap_or_else(|| {
            // The settings of this core's image: a change of them that it has seen does not come again.
            let topic = view.image().topic_by_id(ask.partition.topic).expect("the caller has looked").clone();
            let rules = view.rules_of(&topic);
            self.store.open(ask.partition, &rules.partition_name(ask.partition.index), &rules.log)
        })
    }

    fn ask(&mut self, now: Now, view: &mut View, asker: Asker, ask: Ask) -> Option<Answer> {
        let Some(leader) = view.leader(ask.partition) else {
            // Since the request was routed it was deleted, or another broker leads it. Who watches asks again, and is then told.
            let there = view.image().leader(ask.partition).is_some();
            let code = if there { ErrorCode::NotLeaderOrFollower } else { ErrorCode::UnknownTopicOrPartition };
            let watch = matches!(ask.op, Op::Watch { .. });
            return Some(if watch { Answer::Woken } else { Answer::Failed(code) });
        };
        let index = self.open(view, &ask);
        self.store.set_epoch(index, leader.epoch);
        match ask.op {
            Op::Append { batch, info, acks } => match self.store.append(now, index, batch, &info) {
                Err(error) => Some(Answer::AppendRefused(Box::new(append_refusal(error)))),
                Ok(appended) => self.appended(index, asker, appended, acks),
            },
            Op::Read { by: ReadBy::Replica(broker), leader_epoch, .. } if !view.follows(ask.partition, broker) => {
                // As Kafka: who knows the epoch knows a later image.
                let code =
                    leader_epoch.known().map_or(ErrorCode::NotLeaderOrFollower, |_| ErrorCode::UnknownLeaderEpoch);
                Some(Answer::Failed(code))
            }
            Op::Read { offset, bytes_max, leader_epoch, by } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(answer::read(log, offset, bytes_max, leader_epoch, by))
            }
            Op::Watch { high_watermark } => {
                let log = self.store.log(index).expect("it was just opened");
                if log.high_watermark() > high_watermark {
                    return Some(Answer::Woken);
                }
                self.waiting.entry(index).or_default().watches.push(asker);
                None
            }
            Op::ListOffset { timestamp, leader_epoch, by } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(answer::list_offset(log, timestamp, leader_epoch, by))
            }
            Op::DeleteRecords { offset } => self.delete_records(index, asker, offset),
            Op::EpochEnd { epoch, leader_epoch } => {
                let log = self.store.log(index).expect("it was just opened");
                Some(answer::epoch_end(log, epoch, leader_epoch))
            }
            Op::Producers => {
                Some(Answer::Producers(self.store.log(index).map_or_else(Vec::new, answer::active_producers)))
            }
            Op::Size => Some(Answer::Size { bytes: self.store.log(index).map_or(0, Log::bytes) }),
        }
    }

    /// A batch is in the log: the answer, if it may be acknowledged already.
    fn appended(&mut self, index: LogIndex, asker: Asker, appended: Appended, acks: Acks) -> Option<Answer> {
        let log = self.store.log(index).expect("something was appended to it");
        let answer = Answer::Appended { offset: appended.offset, log_start: log.start() };
        let (end, waiting) = (appended.offset_end, self.waiting.entry(index).or_default());
        let (reached, queue) = match acks {
            Acks::All => (log.high_watermark(), &mut waiting.appends),
            Acks::None | Acks::Leader => (log.acknowledged_end(), &mut waiting.appends_local),
        };
        if end > reached {
            queue.push_back((end, asker, answer));
            return None;
        }
        if waiting.is_empty() {
            self.waiting.remove(&index);
        }
        Some(answer)
    }

    fn delete_records(&mut self, index: LogIndex, asker: Asker, offset: Offset) -> Option<Answer> {
        let log = self.store.log(index).expect("it was just opened");
        let offset = if offset == -1 { log.high_watermark() } else { offset };
        if offset < 0 || offset > log.high_watermark() {
            return Some(Answer::Failed(ErrorCode::OffsetOutOfRange));
        }
        let low_watermark = offset.max(log.start());
        let answer = Answer::RecordsDeleted { low_watermark };
        // Also where the start is there already: it may not be durable yet.
        match self.store.delete_records(index, low_watermark) {
            Ok(block) => {
                self.block_waits.push_back(BlockWait { block, asker, answer });
                None
            }
            Err(_) => Some(Answer::Failed(ErrorCode::KafkaStorageError)),
        }
    }

    pub fn unwatch(&mut self, shard: ShardId, request: RequestId, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(index) = self.store.find(*partition)
                && let Some(waiting) = self.waiting.get_mut(&index)
            {
                waiting.watches.retain(|asker| asker.shard != shard || asker.origin != Origin::Client(request));
                if waiting.is_empty() {
                    self.waiting.remove(&index);
                }
            }
        }
    }

    /// Answers the requests that wait for partitions whose high watermark has moved.
    fn advance_logs(&mut self, now: Now) {
        while self.store.has_advanced() {
            for index in self.store.take_advanced() {
                self.advance_one(now, index);
            }
        }
        let (durable, failed) = (self.store.sequence_durable(), self.store.is_failed());
        while self.block_waits.front().is_some_and(|wait| wait.block <= durable || failed) {
            let wait = self.block_waits.pop_front().expect("it is there");
            let answer = if wait.block <= durable { wait.answer } else { Answer::Failed(ErrorCode::KafkaStorageError) };
            self.reply(wait.asker, answer);
        }
    }

    fn advance_one(&mut self, now: Now, index: LogIndex) {
        self.groups.advanced(now, &self.store, index);
        let Some(mut waiting) = self.waiting.remove(&index) else { return };
        let Some(log) = self.store.log(index) else { return };
        let failed = self.store.is_failed();
        let (committed, local) = (log.high_watermark(), log.acknowledged_end());
        for (queue, reached) in [(&mut waiting.appends, committed), (&mut waiting.appends_local, local)] {
            while let Some((end, asker, answer)) = queue.pop_front_if(|(end, ..)| *end <= reached || failed) {
                if end <= reached {
                    self.reply(asker, answer);
                } else {
                    let refusal = append_refusal(AppendError::Storage);
                    self.reply(asker, Answer::AppendRefused(Box::new(refusal)));
                }
            }
        }
        for asker in std::mem::take(&mut waiting.watches) {
            self.reply(asker, Answer::Woken);
        }
        if !waiting.is_empty() {
            self.waiting.insert(index, waiting);
        }
    }

    /// Answers every request that waits for a deleted partition.
    fn forsake(&mut self, index: LogIndex) {
        let Some(waiting) = self.waiting.remove(&index) else { return };
        for (_, asker, _) in waiting.appends.into_iter().chain(waiting.appends_local) {
            self.reply(asker, Answer::Failed(ErrorCode::UnknownTopicOrPartition));
        }
        for asker in waiting.watches {
            self.reply(asker, Answer::Woken);
        }
    }

    pub fn disk_done(&mut self, now: Now, done: Done) {
        self.store.done(now, done);
    }

    pub fn checkpoint_read(&mut self, log: LogIndex, bytes: Option<Vec<u8>>) {
        self.groups.checkpoint_read(&self.store, log, bytes);
    }

    pub fn checkpoint_written(&mut self, log: LogIndex) {
        self.groups.checkpoint_written(log);
    }

    /// Takes batches of a coordinator's log, or that reading them failed.
    pub fn read_done(&mut self, now: Now, log: LogIndex, data: Option<Vec<Bytes>>) {
        self.groups.read_done(now, log, data);
    }

    /// The directory of a removed partition is out of the way, or cannot be taken there. If not, only its topic's name stays
    /// taken: other requests need not wait for it.
    pub fn partition_removed(&mut self, log: LogIndex, ok: bool) {
        let Removing { under_way, stuck } = &mut self.removing;
        let (topic, held) = match (under_way.remove(&log), ok) {
            (Some(_), true) => return,
            (Some(topic), false) => (stuck.entry(log).or_insert(topic).clone(), true),
            (None, true) => (stuck.remove(&log).expect("its directory is being removed"), false),
            (None, false) => return,
        };
        self.told_at_once.push((ShardId(0), Message::NameHeld { topic, held }));
    }

    /// Begins to write everything to segments. Nothing more is taken from clients.
    pub fn drain(&mut self) {
        self.store.end();
    }

    /// Whether what [`Owner::drain`] asked for is done, or cannot be done because the disk fails.
    pub fn is_drained(&self) -> bool {
        self.store.is_drained() && (self.groups.is_saved() || self.store.is_failed())
    }

    /// Follows a new image in the view. `delta` says what changed; `all` says that the settings of all topics may have
    /// changed.
    pub fn published(&mut self, view: &mut View, delta: &Delta, all: bool) {
        if all {
            self.settings_next = Some(0);
            self.take_settings_on(view);
        } else {
            for topic in &delta.topics_set {
                let topic = view.image().topic_by_id(*topic).expect("a topic whose settings changed is there").clone();
                self.logs_of(&topic).into_iter().for_each(|(index, id)| self.take_settings(view, index, id.topic));
            }
        }
        for (topic, ranges) in &delta.partitions {
            for index in ranges.iter().cloned().flatten() {
                let id = PartitionId { topic: *topic, index };
                if let (Some(log), Some(leader)) = (self.store.find(id), view.image().leader(id)) {
                    self.store.set_epoch(log, leader.epoch);
                }
            }
        }
        for topic in delta.topics_deleted.values() {
            for (index, id) in self.logs_of(topic) {
                let name = self.store.remove(id).expect("it was just listed");
                self.forsake(index);
                self.removing.under_way.insert(index, topic.name.clone());
                self.out.push(Output::PartitionRemove { log: index, name, partition: id });
            }
        }
        self.groups.topics_deleted(delta);
    }

    /// Some of the logs that have yet to take over the settings of the view do so.
    fn take_settings_on(&mut self, view: &mut View) {
        let Some(place) = self.settings_next else { return };
        let (logs, next) = self.store.logs_from(place);
        self.settings_next = next;
        logs.into_iter().for_each(|(index, id)| self.take_settings(view, index, id.topic));
    }

    fn take_settings(&mut self, view: &mut View, index: LogIndex, topic: Uuid) {
        // A topic that is gone needs no settings.
        let Some(topic) = view.image().topic_by_id(topic).cloned() else { return };
        let settings = view.rules_of(&topic).log.clone();
        self.store.log_mut(index).expect("it was just listed").set_settings(settings);
        self.store.settings_changed(index);
    }

    /// The logs of a topic that this core has open, by partition.
    fn logs_of(&self, topic: &Topic) -> Vec<(LogIndex, PartitionId)> {
        let ids = (0..topic.partition_count()).map(|index| PartitionId { topic: topic.id, index });
        ids.filter_map(|id| Some((self.store.find(id)?, id))).collect()
    }

    /// Does what is due at the beginning of each turn.
    pub fn begin_turn(&mut self, now: Now, view: &mut View) {
        let config = view.config();
        let limits = ProducerLimits {
            expiration_ms: config.producer_id_expiration_ms.into(),
            check_interval_ms: config.producer_id_check_interval_ms.into(),
            producers_max: config.core_producers_max as usize,
        };
        let retention = RetentionLimits {
            initial_delay_ms: config.log_initial_task_delay_ms,
            check_interval_ms: config.log_retention_check_ms,
        };
        self.store.sweep_producers(now, &limits);
        self.store.retain(now, &retention);
        self.take_settings_on(view);
        if !self.groups.follows(view.image()) {
            let topic: Option<Arc<Topic>> = view.image().topic(OFFSETS_TOPIC).cloned();
            let rules = topic.map(|topic| view.rules_of(&topic));
            self.groups.follow(view.image(), rules);
        }
        self.groups.begin_turn(now, &mut self.store);
    }

    /// Answers the requests whose partitions have moved, and lets coordinators append what they have decided.
    pub fn advance(&mut self, now: Now) {
        loop {
            self.advance_logs(now);
            if !self.groups.append(now, &mut self.store) {
                break;
            }
        }
    }

    /// Whether partitions have moved since the last [`Owner::advance`].
    pub fn has_advanced(&self) -> bool {
        self.store.has_advanced()
    }

    /// Takes what coordinators have to say, after the last [`Owner::advance`] of a turn.
    pub fn speak(&mut self, now: Now, view: &mut View) {
        for output in self.groups.end_turn(&self.store) {
            self.carry_out(now, view, output);
        }
        for (to, answers) in self.groups.take_answers() {
            for (request, part, answer) in answers {
                let asker = Asker { shard: to, origin: Origin::Client(request), part };
                self.reply(asker, Answer::Group(answer));
            }
        }
    }

    fn carry_out(&mut self, now: Now, view: &mut View, output: runtime::Output<Coordinator>) {
        self.out.push(match output {
            runtime::Output::CheckpointRead { log, name, topic } => Output::GroupCheckpointRead { log, name, topic },
            runtime::Output::CheckpointWrite { log, name, topic, bytes } => {
                Output::GroupCheckpointWrite { log, name, topic, bytes }
            }
            runtime::Output::Read { log, plan } => Output::Read { reader: Reader::Coordinator { log }, plan },
            runtime::Output::Originate { request, asks } => {
                let Scattered { messages, absent } = runtime::scatter(view, request, asks);
                self.told_at_once.extend(messages);
                return self.answers(now, request, absent);
            }
            runtime::Output::Answer(_) | runtime::Output::Event(_) => unreachable!("the groups take them"),
        });
    }

    /// Takes answers to what a coordinator of this core has asked of owners.
    pub fn answers(&mut self, now: Now, request: OriginId, answers: Vec<(u32, Answer)>) {
        for (part, answer) in answers {
            self.groups.answered(now, request, part, answer);
        }
    }

    /// Puts out the work for the disk that may start.
    pub fn plan(&mut self, now: Now) {
        let mut ops = Vec::new();
        self.store.plan(now, &mut ops);
        self.out.extend(ops.into_iter().map(Output::Disk));
    }

    /// What must hold between two turns.
    pub fn check(&self) {
        for (index, waiting) in &self.waiting {
            let log = self.store.log(*index).expect("nobody waits for a log that is gone");
            assert!(!waiting.is_empty(), "somebody waits");
            let queues = [(&waiting.appends, log.high_watermark()), (&waiting.appends_local, log.acknowledged_end())];
            for (queue, reached) in queues {
                let ends: Vec<Offset> = queue.iter().map(|(end, ..)| *end).collect();
                assert!(ends.is_sorted() && ends.last().is_none_or(|end| *end <= log.end()));
                assert!(ends.first().is_none_or(|end| *end > reached), "who is committed is answered");
            }
        }
        assert!(self.block_waits.iter().is_sorted_by_key(|wait| wait.block));
        assert!(
            self.replies_own.is_empty() && self.replies.is_empty() && self.out.is_empty() && self.mail.is_empty(),
            "all that was said is taken"
        );
    }
}
