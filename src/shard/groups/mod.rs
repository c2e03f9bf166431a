//! The coordinators of consumer groups: one for each partition of `__consumer_offsets` that this core owns.
//!
//! What a coordinator decides in a turn is one batch in its partition's log ([`Shard::groups_append`]); what follows from
//! it goes out when the partition's high watermark has passed the batch ([`Shard::groups_advance`]).

mod checkpoint;
mod load;
mod request;

pub use request::{GroupAnswer, GroupAsk, GroupRequest};

use self::checkpoint::{Capture, Saved};
use self::load::Load;
use super::Shard;
use super::command::uuid_next;
use super::message::{Message, RequestId};
use super::owner::append_error;
use super::store::LogIndex;
use crate::config::Config;
use crate::group::{Append, AppendId, Caller, Coordinator, Event, Request, Settings, Ticket, refusal};
use crate::log::check;
use crate::metadata::{Delta, Image, Topic};
use crate::types::{Now, Offset, PartitionId, PartitionIndex, ShardId, Time, TimestampMs};
use crate::wire::batch::{BatchBuilder, Compression, HEADER_BYTES, replace_records};
use crate::wire::compression::{Codec, compress};
use crate::wire::error::ErrorCode;
use bytes::BytesMut;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use super::query::OFFSETS_TOPIC;

/// Bytes of keys and values in one batch: with what surrounds them it fits into every journal file.
const APPEND_BYTES_MAX: usize = 1 << 20;

/// A coordinator and what it has to do with its partition.
struct Host {
    coordinator: Coordinator,
    log: LogIndex,
    load: Load,
    /// Appends under way, in order: up to where the log must be committed, or why there is nothing to wait for.
    appends: VecDeque<(AppendId, Result<Offset, ErrorCode>)>,
    saved: Saved,
    /// What there was when the loading began, and which topics were deleted since then until it ended.
    known: Image,
    deleted: BTreeSet<Arc<str>>,
    forgetting: Forgetting,
}

/// How far a coordinator is with storing that positions in deleted topics are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forgetting {
    Done,
    Decided,
    /// Until this append is over.
    Appended(AppendId),
}

impl Host {
    /// A log may move while it is being loaded: its settings change, for one. What is known then is no checkpoint yet.
    fn is_checkpoint_due(&self) -> bool {
        self.load == Load::Done && self.saved.is_due()
    }

    fn forget(&mut self, topic: &str) {
        assert_eq!(self.load, Load::Done);
        if self.coordinator.topic_deleted(topic) {
            self.forgetting = Forgetting::Decided;
        }
    }

    /// Whether a crash could bring positions in deleted topics back.
    fn is_forgetting(&self) -> bool {
        match self.load {
            Load::Done => self.forgetting != Forgetting::Done,
            // It may take forever, and nobody is to wait for that.
            Load::Retry { .. } => false,
            Load::Begun | Load::Checkpoint | Load::Log { .. } => !self.deleted.is_empty(),
        }
    }
}

pub struct Groups {
    settings: Settings,
    codec: Option<Codec>,
    /// Random bits for members' ids.
    seed: u128,
    /// The image whose topic the hosts belong to.
    image_index: Option<u64>,
    topic: Option<Arc<Topic>>,
    hosts: BTreeMap<PartitionIndex, Host>,
    by_log: HashMap<LogIndex, PartitionIndex>,
    /// Coordinators that may have something to append or to say.
    touched: BTreeSet<PartitionIndex>,
    deadline: Option<Time>,
    answers: BTreeMap<ShardId, Vec<(RequestId, u32, GroupAnswer)>>,
    /// The controller has been asked for the topic since the last image.
    topic_wanted: bool,
    capture: Option<Capture>,
    capture_queue: VecDeque<PartitionIndex>,
    saving: usize,
    /// The last checkpoints before the end have been queued.
    ending: bool,
}

impl Groups {
    pub fn new(config: &Config, seed: u128) -> Groups {
        Groups {
            settings: settings(config),
            codec: codec(config),
            seed,
            image_index: None,
            topic: None,
            hosts: BTreeMap::new(),
            by_log: HashMap::new(),
            touched: BTreeSet::new(),
            deadline: None,
            answers: BTreeMap::new(),
            topic_wanted: false,
            capture: None,
            capture_queue: VecDeque::new(),
            saving: 0,
            ending: false,
        }
    }

    /// The names of deleted topics must not be used again yet: positions in them could come back.
    pub fn is_forgetting(&self) -> bool {
        self.hosts.values().any(Host::is_forgetting)
    }

    /// When a turn is due although nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        if self.is_capturing() { Some(Time(0)) } else { self.deadline }
    }

    fn host_of(&mut self, log: LogIndex) -> Option<(PartitionIndex, &mut Host)> {
        let partition = *self.by_log.get(&log)?;
        Some((partition, self.hosts.get_mut(&partition).expect("by_log names hosts that are there")))
    }
}

fn settings(config: &Config) -> Settings {
    let gather_ms_max = u64::from(config.group_gather_ms_max);
    Settings {
        session_ms_min: config.group_session_ms_min,
        session_ms_max: config.group_session_ms_max,
        members_max: config.group_members_max as usize,
        gather_ms: u64::from(config.group_gather_ms).min(gather_ms_max),
        gather_ms_max,
        offset_metadata_bytes_max: config.offset_metadata_bytes_max as usize,
        retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        retention_check_ms: config.offsets_retention_check_ms,
        append_bytes_max: APPEND_BYTES_MAX,
        member_bytes_max: config.group_members_bytes_max as usize,
    }
}

fn codec(config: &Config) -> Option<Codec> {
    let compression = match config.offsets_topic_codec {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => return None,
    };
    Some(Codec { compression, level: None })
}

/// The records of an append as a batch.
fn batch(append: &Append<'_>, codec: Option<Codec>, wall_ms: TimestampMs) -> BytesMut {
    let add = |batch: BatchBuilder, record: &crate::group::Record| {
        batch.record(wall_ms, Some(&record.key), record.value.as_deref())
    };
    let plain = append.records.iter().fold(BatchBuilder::new(0), add).build();
    match codec {
        None => plain.try_into_mut().unwrap_or_else(|plain| BytesMut::from(&plain[..])),
        Some(codec) => replace_records(&plain, codec.compression, &compress(codec, &plain[HEADER_BYTES..])),
    }
}

impl Shard {
    /// Once a turn, before answers go out.
    pub(super) fn groups_turn(&mut self, now: Now) {
        self.groups_follow(now);
        self.groups_tick(now);
        loop {
            self.advance(now);
            if !self.groups_append(now) {
                break;
            }
        }
        self.groups_end();
        self.groups_capture();
        self.groups_answer();
    }

    /// Makes the coordinators be those of the image's topic.
    fn groups_follow(&mut self, now: Now) {
        if self.groups.image_index == Some(self.image.index()) {
            return;
        }
        self.groups.image_index = Some(self.image.index());
        self.groups.topic_wanted = false;
        let topic = self.image.topic(OFFSETS_TOPIC).cloned();
        if self.groups.topic.as_ref().map(|topic| topic.id) != topic.as_ref().map(|topic| topic.id) {
            self.groups_leave();
        }
        self.groups.topic = topic.clone();
        let Some(topic) = topic else { return };
        let rules = self.rules_of(&topic);
        for index in 0..topic.partition_count() {
            let id = PartitionId { topic: topic.id, index };
            if id.shard(self.node.shards) != self.id || self.groups.hosts.contains_key(&index) {
                continue;
            }
            let log = self.store.open(id, &rules.partition_name(index), &rules.log);
            let host = Host {
                coordinator: Coordinator::new(self.groups.settings.clone()),
                log,
                load: Load::Begun,
                appends: VecDeque::new(),
                saved: Saved::default(),
                known: self.image.clone(),
                deleted: BTreeSet::new(),
                forgetting: Forgetting::Done,
            };
            self.groups.hosts.insert(index, host);
            self.groups.by_log.insert(log, index);
            self.groups_load(now, index);
        }
    }

    /// The topic is gone: so are its coordinators.
    fn groups_leave(&mut self) {
        let shard = self.id;
        let groups = &mut self.groups;
        groups.by_log.clear();
        groups.capture = None;
        groups.capture_queue.clear();
        let mut answers = Vec::new();
        for host in std::mem::take(&mut groups.hosts).values_mut() {
            host.coordinator.unload();
            answers.append(&mut host.coordinator.take_answers());
        }
        for answer in answers {
            self.group_reply(shard, answer.ticket, Some(Box::new(answer.response)));
        }
    }

    /// Positions in topics that are no more are forgotten.
    pub(super) fn groups_topics_deleted(&mut self, delta: &Delta) {
        if self.groups.hosts.is_empty() {
            return;
        }
        let names: Vec<Arc<str>> = delta.topics_deleted.values().map(|topic| topic.name.clone()).collect();
        for (partition, host) in &mut self.groups.hosts {
            for name in &names {
                if host.load == Load::Done {
                    host.forget(name);
                    self.groups.touched.insert(*partition);
                } else {
                    host.deleted.insert(name.clone());
                }
            }
        }
    }

    fn groups_tick(&mut self, now: Now) {
        if self.groups.deadline.is_none_or(|deadline| deadline > now.mono) {
            return;
        }
        let mut again = Vec::new();
        for (partition, host) in &mut self.groups.hosts {
            if let Load::Retry { at } = host.load
                && at <= now.mono
            {
                again.push(*partition);
            }
            if host.coordinator.deadline().is_some_and(|deadline| deadline <= now.mono) {
                host.coordinator.tick(now);
                self.groups.touched.insert(*partition);
            }
        }
        for partition in again {
            self.groups_load_next(now, partition);
        }
    }

    /// One request, or one group's share of it, to the coordinator of a partition.
    fn group_handle(&mut self, now: Now, partition: PartitionIndex, mut caller: Caller<'_>, request: &Request<'_>) {
        if matches!(request, Request::JoinGroup(_)) {
            let others = self.groups.hosts.iter().filter(|(index, _)| **index != partition);
            caller.member_bytes_elsewhere = others.map(|(_, host)| host.coordinator.member_bytes()).sum();
        }
        let Some(host) = self.groups.hosts.get_mut(&partition) else {
            let response = refusal(request, caller.version, ErrorCode::CoordinatorNotAvailable);
            return self.group_reply(self.id, caller.ticket, Some(Box::new(response)));
        };
        let image = &self.image;
        let topics =
            |name: &str, index| image.topic(name).is_some_and(|topic| (0..topic.partition_count()).contains(&index));
        host.coordinator.handle(now, &caller, request, &topics);
        self.groups.touched.insert(partition);
    }

    fn group_random(&mut self) -> [u8; 16] {
        uuid_next(&mut self.groups.seed).0
    }

    /// Gives the logs what the coordinators have decided; whether there was anything.
    fn groups_append(&mut self, now: Now) -> bool {
        let codec = self.groups.codec;
        let mut any = false;
        let touched: Vec<PartitionIndex> = self.groups.touched.iter().copied().collect();
        for partition in touched {
            let Some(host) = self.groups.hosts.get_mut(&partition) else { continue };
            while let Some(append) = host.coordinator.plan_append() {
                let (id, batch) = (append.id, batch(&append, codec, now.wall_ms));
                let info = check::info(&batch).expect("it was just made");
                let bytes = batch.len() as u64;
                let appended = self.store.append(now, host.log, batch, &info);
                let end = appended.map(|appended| appended.offset_end).map_err(|error| append_error(error).0);
                host.saved.tail_bytes += if end.is_ok() { bytes } else { 0 };
                host.appends.push_back((id, end));
                any = true;
            }
            if host.forgetting == Forgetting::Decided {
                let (last, _) = host.appends.back().expect("what was decided has just been appended");
                host.forgetting = Forgetting::Appended(*last);
            }
            self.groups_settle(now, partition);
        }
        any
    }

    /// A log has moved, or failed.
    pub(super) fn groups_advance(&mut self, now: Now, log: LogIndex) {
        if let Some(&partition) = self.groups.by_log.get(&log) {
            self.groups_settle(now, partition);
        }
    }

    /// Tells the coordinator which of its appends are over.
    fn groups_settle(&mut self, now: Now, partition: PartitionIndex) {
        let Some(host) = self.groups.hosts.get_mut(&partition) else { return };
        let high_watermark = self.store.log(host.log).map_or(0, |log| log.high_watermark());
        let failed = self.store.is_failed() || self.store.log(host.log).is_none();
        while let Some(&(id, end)) = host.appends.front() {
            let result = match end {
                Ok(end) if end <= high_watermark => Ok(end),
                Ok(_) if failed => Err(ErrorCode::KafkaStorageError),
                Ok(_) => return,
                Err(code) => Err(code),
            };
            host.appends.pop_front();
            if host.forgetting == Forgetting::Appended(id) {
                host.forgetting = Forgetting::Done;
            }
            host.coordinator.appended(now, id, result);
            self.groups.touched.insert(partition);
        }
        if host.is_checkpoint_due() {
            host.saved.queued = true;
            self.groups.capture_queue.push_back(partition);
        }
    }

    /// What the coordinators have to say, and when they want to be asked again.
    fn groups_answer(&mut self) {
        let touched = std::mem::take(&mut self.groups.touched);
        if touched.is_empty() && self.groups.answers.is_empty() {
            return;
        }
        let shard = self.id;
        for partition in touched {
            let Some(host) = self.groups.hosts.get_mut(&partition) else { continue };
            host.coordinator.take_events().into_iter().for_each(log);
            for answer in host.coordinator.take_answers() {
                self.group_reply(shard, answer.ticket, Some(Box::new(answer.response)));
            }
        }
        let due = |host: &Host| match host.load {
            Load::Retry { at } => Some(at),
            _ => host.coordinator.deadline(),
        };
        self.groups.deadline = self.groups.hosts.values().filter_map(due).min();
        while let Some((to, answers)) = self.groups.answers.pop_first() {
            self.send(to, Message::GroupAnswers { answers });
        }
    }

    fn group_reply(&mut self, shard: ShardId, ticket: Ticket, answer: GroupAnswer) {
        if ticket.shard == shard {
            self.group_answered(ticket.request, ticket.part, answer);
        } else {
            self.groups.answers.entry(ticket.shard).or_default().push((ticket.request, ticket.part, answer));
        }
    }
}

fn log(event: Event) {
    match event {
        Event::Malformed { group, key, reason } => {
            tracing::warn!(
                "group {group}: a record cannot be read and the group answers with errors until it is deleted: {reason} (key {key:02x?})"
            );
        }
        Event::MalformedKeys { records, first } => {
            tracing::warn!(
                "{OFFSETS_TOPIC}: {records} records have unreadable keys and are left out, the first {first:02x?}"
            );
        }
        Event::UnknownKind { kind, records } => {
            tracing::warn!("{OFFSETS_TOPIC}: {records} records of the unknown kind {kind} are left out");
        }
        Event::Rebalance { group, generation, reason } => {
            tracing::info!("group {group}: rebalance after generation {generation}: {reason}");
        }
        Event::Generation { group, generation, members } => {
            tracing::info!("group {group}: generation {generation} has {members} members");
        }
        Event::Expired { group, offsets, group_gone } => {
            let end = if group_gone { ", and the group with them" } else { "" };
            tracing::info!("group {group}: {offsets} offsets have expired{end}");
        }
        Event::AppendFailed { group, reason } => {
            tracing::error!("group {group}: its records cannot be stored: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_loads_makes_no_checkpoint() {
        let mut host = Host {
            coordinator: Coordinator::new(Settings::default()),
            log: LogIndex(0),
            load: Load::Checkpoint,
            appends: VecDeque::new(),
            saved: Saved { tail_bytes: u64::MAX, ..Saved::default() },
            known: Image::default(),
            deleted: BTreeSet::new(),
            forgetting: Forgetting::Done,
        };
        assert!(!host.is_checkpoint_due());
        host.load = Load::Done;
        assert!(host.is_checkpoint_due());
        host.saved.queued = true;
        assert!(!host.is_checkpoint_due(), "one at a time");
    }
}
