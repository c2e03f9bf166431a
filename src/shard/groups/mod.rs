//! Consumer groups on one core: the coordinators of the partitions of `__consumer_offsets` that this core owns, in a
//! [`Runtime`], which are asked by `front/groups.rs`.

mod coordinator;

use self::coordinator::Call;
use super::front::groups::visit;
use super::message::{Answer, GroupAnswer, GroupAsk, OriginId};
use super::node::Node;
use super::rules::TopicRules;
use super::runtime::{self, Runtime};
use super::seed::Seed;
use super::store::{LogIndex, Store};
use crate::config::Config;
use crate::group::{ANSWER_BYTES_MAX, Caller, Coordinator, Event, Settings, Ticket, refusal};
use crate::metadata::{Delta, Image};
use crate::types::{Now, PartitionId, RequestId, ShardId, Time, Uuid};
use crate::wire::batch::Compression;
use crate::wire::compression::Codec;
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use super::query::OFFSETS_TOPIC;

/// Bytes of keys and values in one batch: with what surrounds them it fits into every journal file.
const APPEND_BYTES_MAX: usize = 1 << 20;

/// Answers for one shard: each with its request and its part.
pub type Answers = Vec<(RequestId, u32, GroupAnswer)>;

/// The coordinators of this core, and what they say to the shards.
pub struct Groups {
    runtime: Runtime<Coordinator>,
    shard: ShardId,
    shards: u16,
    /// For members' ids.
    seed: Seed,
    /// The image that the coordinators follow.
    image_index: Option<u64>,
    answers: BTreeMap<ShardId, Answers>,
}

impl Groups {
    pub fn new(config: &Config, seed: u128, shard: ShardId, node: &Node) -> Groups {
        Groups {
            runtime: Runtime::new(settings(config), codec(config), shard, node.shards),
            shard,
            shards: node.shards,
            seed: Seed::new(seed),
            image_index: None,
            answers: BTreeMap::new(),
        }
    }

    /// Whether [`Groups::follow`] has seen this image.
    pub fn follows(&self, image: &Image) -> bool {
        self.image_index == Some(image.index())
    }

    /// Makes the coordinators be those of the image's topic, whose settings these are.
    pub fn follow(&mut self, image: &Image, rules: Option<Arc<TopicRules>>) {
        assert!(rules.as_ref().is_none_or(|rules| &*rules.topic.name == OFFSETS_TOPIC));
        self.image_index = Some(image.index());
        self.runtime.follow(image, rules);
    }

    /// Positions in topics that are no more are forgotten.
    pub fn topics_deleted(&mut self, delta: &Delta) {
        let names: BTreeSet<Arc<str>> = delta.topics_deleted.values().map(|topic| topic.name.clone()).collect();
        self.runtime.topics_deleted(&names);
    }

    /// The names of deleted topics must not be used again yet: positions in them could come back.
    pub fn is_forgetting(&self) -> bool {
        self.runtime.is_forgetting()
    }

    /// When a turn is due although nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        self.runtime.deadline()
    }

    /// The checkpoints of a clean end are written.
    pub fn is_saved(&self) -> bool {
        self.runtime.is_saved()
    }

    pub fn begin_turn(&mut self, now: Now, store: &mut Store) {
        self.runtime.begin_turn(now, store);
    }

    /// Gives the logs what the coordinators have decided; whether there was anything.
    pub fn append(&mut self, now: Now, store: &mut Store) -> bool {
        self.runtime.append(now, store)
    }

    /// A log has moved, or failed.
    pub fn advanced(&mut self, now: Now, store: &Store, log: LogIndex) {
        self.runtime.advanced(now, store, log);
    }

    pub fn checkpoint_read(&mut self, store: &Store, log: LogIndex, bytes: Option<Vec<u8>>) {
        self.runtime.checkpoint_read(store, log, bytes);
    }

    pub fn checkpoint_written(&mut self, log: LogIndex) {
        self.runtime.checkpoint_written(log);
    }

    /// Batches of a coordinator's log, or a read that failed.
    pub fn read_done(&mut self, now: Now, log: LogIndex, data: Option<Vec<Bytes>>) {
        self.runtime.read_done(now, log, data);
    }

    /// One part of the answer to what a coordinator has asked of owners of partitions.
    pub fn answered(&mut self, now: Now, request: OriginId, part: u32, answer: Answer) {
        self.runtime.answered(now, request, part, answer);
    }

    /// Ends a turn: what the shard is to do beside sending the answers.
    pub fn end_turn(&mut self, store: &Store) -> Vec<runtime::Output<Coordinator>> {
        self.runtime.end_turn(store);
        let mut rest = Vec::new();
        for output in self.runtime.take_output() {
            match output {
                runtime::Output::Answer(answer) => self.reply(answer.ticket, Some(Box::new(answer.response))),
                runtime::Output::Event(event) => log(event),
                output => rest.push(output),
            }
        }
        rest
    }

    /// What this and other shards are to be told.
    pub fn take_answers(&mut self) -> BTreeMap<ShardId, Answers> {
        std::mem::take(&mut self.answers)
    }

    fn reply(&mut self, ticket: Ticket, answer: GroupAnswer) {
        self.answers.entry(ticket.shard).or_default().push((ticket.request, ticket.part, answer));
    }

    /// A request of a shard for coordinators of this core.
    pub fn asked(&mut self, now: Now, image: &Image, from: ShardId, request: RequestId, ask: &GroupAsk) {
        let head = Head::decode(&ask.frame).expect("the connection's shard has decoded it");
        let client_id = head.client_id.clone().unwrap_or_default();
        let host = format!("/{}", ask.peer.to_canonical());
        let current = self.runtime.topic() == Some(ask.topic);
        let body = &ask.frame[head.body_start..];
        let topics =
            |name: &str, index| image.topic(name).is_some_and(|topic| (0..topic.partition_count()).contains(&index));
        let ticket = |part| Ticket { shard: from, request, part };
        let result = visit(&head, body, ask.partitions, |part, index, request| {
            if !self.owns(ask.topic, index) {
                return;
            }
            let caller = Caller {
                ticket: ticket(part),
                version: head.version,
                client_id: &client_id,
                client_host: &host,
                random: self.seed.next_id().0,
                member_bytes_elsewhere: 0,
                offset_bytes_elsewhere: 0,
            };
            let call = Call { caller, request, topics: &topics };
            let code = match current {
                false => ErrorCode::NotCoordinator,
                true if self.runtime.handle(now, index, call) => return,
                true => ErrorCode::CoordinatorLoadInProgress,
            };
            self.reply(ticket(part), Some(Box::new(refusal(request, head.version, code))));
        });
        if result.is_err() {
            self.reply(ticket(0), None);
        }
    }

    fn owns(&self, topic: Uuid, index: i32) -> bool {
        PartitionId { topic, index }.shard(self.shards) == self.shard
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
        offset_bytes_max: config.core_memory_bytes_max as usize,
        answer_bytes_max: ANSWER_BYTES_MAX,
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
