//! From checkpoints and journals to a shard: everything that was acknowledged is in segments when it ends, and the journal
//! is empty.

use super::checkpoint::CheckpointHead;
use super::command::{Commands, dynamic_config};
use super::node::Node;
use super::rules::TopicRules;
use super::session::Sessions;
use super::store::{Limits, Store};
use super::{DiskOp, Done, Shard};
use crate::journal::{self, Entry, EntryKind, FileIndex, Journal};
use crate::log::{Restored, check};
use crate::metadata::{Controller, Image};
use crate::types::{Now, PartitionId, ShardId, Time, Uuid};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Batches that may wait for the journal before clients are slowed.
const JOURNAL_WAITING_BYTES_MAX: usize = 16 << 20;

/// Recovery of one core: first all checkpoints, then all groups of all journals in order of generation.
pub struct Recovery {
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    config: Arc<crate::config::Config>,
    /// The newest state of each partition of this core, and the generation it is from.
    checkpoints: HashMap<PartitionId, (u64, Restored)>,
    generation_max: u64,
    store: Option<Store>,
    rules: HashMap<Uuid, Arc<TopicRules>>,
}

fn limits(node: &Node, id: ShardId) -> Limits {
    Limits { memory_bytes: node.config.core_memory_bytes_max as usize, cores: node.shards, core: id.0 }
}

impl Recovery {
    pub fn new(id: ShardId, node: Arc<Node>, image: Image) -> Recovery {
        assert!(id.0 < node.shards);
        let config = dynamic_config(&node.config, &image, node.id);
        Recovery {
            id,
            node,
            image,
            config,
            checkpoints: HashMap::new(),
            generation_max: 0,
            store: None,
            rules: HashMap::new(),
        }
    }

    /// A checkpoint, of this core or another one: partitions may have changed cores.
    pub fn checkpoint(&mut self, head: CheckpointHead, partitions: Vec<(PartitionId, Restored)>) {
        assert!(self.store.is_none(), "checkpoints come before groups");
        self.generation_max = self.generation_max.max(head.generation);
        for (id, restored) in partitions {
            if id.shard(self.node.shards) != self.id || self.image.topic_by_id(id.topic).is_none() {
                continue;
            }
            let newer = self.checkpoints.get(&id).is_none_or(|(generation, _)| *generation <= head.generation);
            if newer {
                self.checkpoints.insert(id, (head.generation, restored));
            }
        }
    }

    /// A generation that a journal was found to have.
    pub fn generation_seen(&mut self, generation: u64) {
        self.generation_max = self.generation_max.max(generation);
    }

    fn rules_of(&mut self, topic: Uuid) -> Option<Arc<TopicRules>> {
        let topic = self.image.topic_by_id(topic)?;
        let bytes_max = self.node.config.journal_file_bytes as usize;
        let make = || Arc::new(TopicRules::new(topic, &self.config, bytes_max));
        Some(self.rules.entry(topic.id).or_insert_with(make).clone())
    }

    /// Checkpoints and generations are known: the store with its new, empty journal, whose files are `files`.
    pub fn begin(&mut self, files: Vec<FileIndex>) {
        let config = &self.node.config;
        let journal_limits = journal::Limits {
            file_bytes: u64::from(config.journal_file_bytes),
            files_max: config.journal_files_max,
            waiting_bytes_max: JOURNAL_WAITING_BYTES_MAX,
        };
        let journal = Journal::new(journal_limits, self.id.0, self.generation_max + 1, files);
        let mut store = Store::new(limits(&self.node, self.id), journal);
        for (id, (_, restored)) in std::mem::take(&mut self.checkpoints) {
            if let Some(rules) = self.rules_of(id.topic) {
                store.restore(id, &rules.partition_name(id.index), &rules.log, restored);
            }
        }
        self.store = Some(store);
    }

    /// The entries of one group, in order of generation and sequence. `Err` says what is wrong.
    pub fn group(&mut self, now: Now, bytes: &Bytes) -> Result<(), String> {
        let entries = journal::decode_entries(bytes).ok_or("a group of the journal is damaged")?;
        for (entry, payload) in entries {
            let ours = entry.partition.shard(self.node.shards) == self.id;
            let Some(rules) = self.rules_of(entry.partition.topic).filter(|_| ours) else { continue };
            // A copy: the group's buffer is large, and few of its entries stay.
            self.entry(now, &rules, &entry, &bytes[payload])?;
        }
        Ok(())
    }

    fn entry(&mut self, now: Now, rules: &TopicRules, entry: &Entry, payload: &[u8]) -> Result<(), String> {
        let store = self.store.as_mut().expect("groups come after `begin`");
        let info = match entry.kind {
            EntryKind::LogStart => None,
            EntryKind::Batch | EntryKind::Carried => {
                Some(check::info(payload).ok_or("the journal holds what is no batch")?)
            }
        };
        let name = rules.partition_name(entry.partition.index);
        let index = store.open(entry.partition, &name, &rules.log);
        let log = store.log(index).expect("it was just opened");
        let known = info.as_ref().is_some_and(|i| entry.offset + i64::from(i.last_offset_delta) < log.end());
        if known {
            return Ok(());
        }
        let end = log.end();
        if store.replay(index, entry, info.as_ref(), Bytes::copy_from_slice(payload), now) {
            return Ok(());
        }
        Err(format!("the journal continues {name} at offset {}, the log ends at {end}", entry.offset))
    }

    /// All groups have been shown: what is only in journals goes to segments. Drive the store with [`Recovery::plan`] and
    /// [`Recovery::done`] until [`Recovery::is_done`].
    pub fn drain(&mut self) {
        self.store.as_mut().expect("groups come before").drain_all();
    }

    pub fn plan(&mut self, now: Now, out: &mut Vec<DiskOp>) {
        self.store.as_mut().expect("groups come before").plan(now, out);
    }

    pub fn done(&mut self, now: Now, done: Done) {
        self.store.as_mut().expect("groups come before").done(now, done);
    }

    pub fn is_done(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_drained)
    }

    pub fn deadline(&self) -> Option<Time> {
        self.store.as_ref().and_then(Store::deadline)
    }

    /// The shard; the first one gets the controller, with a random seed for topic ids.
    pub fn finish(self, controller: Option<(Controller, u128)>) -> Result<Shard, String> {
        let mut store = self.store.expect("groups come before");
        if store.is_failed() {
            return Err("what the journal holds cannot be written to the segments".into());
        }
        store.resume();
        let shards = self.node.shards;
        assert_eq!(controller.is_some(), self.id == ShardId(0));
        let slots = self.node.config.fetch_session_slots as usize;
        Ok(Shard {
            id: self.id,
            image: self.image,
            config: self.config,
            store,
            connections: HashMap::new(),
            requests: HashMap::new(),
            request_next: 0,
            deadlines: BTreeSet::new(),
            waiting: HashMap::new(),
            group_waits: VecDeque::new(),
            replies: BTreeMap::new(),
            rules: HashMap::new(),
            sessions: Sessions::new(slots.div_ceil(usize::from(shards)), self.id.0, shards),
            commands: controller.map(|(controller, seed)| Commands::new(controller, seed, shards)),
            removing: 0,
            disk_bytes: (0, 0),
            expire_at: Time::default(),
            out: Vec::new(),
            node: self.node,
        })
    }
}
