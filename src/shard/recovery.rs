//! From checkpoints and journals to a shard: everything that was acknowledged is in segments when it ends, and the journal
//! is empty.

use super::Shard;
use super::checkpoint::{self, CheckpointHead};
use super::node::Node;
use super::rules::TopicRules;
use super::store::{DiskOp, Done, Limits, Store};
use super::view::dynamic_config;
use crate::journal::{self, ALIGNMENT, BlockHeader, Entry, EntryKind, FileIndex, Journal, Replay, ReplayStep};
use crate::log::{Restored, check};
use crate::metadata::{Controller, Image};
use crate::types::{Now, Offset, PartitionId, ShardId, Time, Uuid};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Batches that may wait for the journal before clients are slowed.
const JOURNAL_WAITING_BYTES_MAX: usize = 16 << 20;

/// What the files say of all cores: the same for every core that recovers.
#[derive(Default)]
pub struct Found {
    /// Cores with a journal, ascending.
    pub journals: Vec<u16>,
    /// Checkpoints by name. Those made on different numbers of cores have different names: a core that has recovered
    /// must not overwrite what the others still need.
    pub checkpoints: Vec<(String, Vec<u8>)>,
}

/// What a core has replayed: blocks of journals, and the batches in them that were its own and in no checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Replayed {
    pub blocks: u64,
    pub batches: u64,
    /// Of these batches.
    pub bytes: u64,
}

impl std::ops::AddAssign for Replayed {
    fn add_assign(&mut self, other: Replayed) {
        self.blocks += other.blocks;
        self.batches += other.batches;
        self.bytes += other.bytes;
    }
}

/// Bytes of a journal file that [`Recovery`] wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    pub core: u16,
    pub file: FileIndex,
    pub position: u64,
    pub bytes: usize,
}

/// Recovery of one core: first all checkpoints, then all blocks of all journals in order of generation.
///
/// [`Recovery::journals`] says whose journals count; the first page of each of their files goes to [`Recovery::heads`].
/// After [`Recovery::begin`], bytes are shown as [`Recovery::want`] asks; [`Recovery::drain`] then says whether there is
/// something to write.
pub struct Recovery {
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    config: Arc<crate::config::Config>,
    /// The newest state of each partition of this core, and the generation it is from.
    checkpoints: BTreeMap<PartitionId, (u64, Restored)>,
    generation_max: u64,
    /// Core, generation and sequence that each checkpoint covers.
    covered: Vec<(u16, u64, u64)>,
    journals: Vec<u16>,
    /// Partitions may come from other cores, because their number has changed.
    others: bool,
    /// By generation.
    replays: VecDeque<(u16, Replay)>,
    /// Bytes of the block that was cut off when it was shown; 0 if none was.
    block_bytes: usize,
    replayed: Replayed,
    /// Partitions that a block continues beyond their end: what is missing was carried forward to a later block.
    gaps: HashMap<PartitionId, Gap>,
    store: Option<Store>,
    rules: HashMap<Uuid, Arc<TopicRules>>,
}

/// Where a log ended when a batch came that does not follow it, and where that batch begins.
struct Gap {
    end: Offset,
    offset: Offset,
}

fn limits(node: &Node, id: ShardId) -> Limits {
    Limits { memory_bytes: node.config.core_memory_bytes_max as usize, cores: node.shards, core: id.0 }
}

impl Recovery {
    /// `found` is what was there when the node started, before any core wrote.
    pub fn new(id: ShardId, node: Arc<Node>, image: Image, found: &Found) -> Result<Recovery, String> {
        assert!(id.0 < node.shards);
        let config = dynamic_config(&node.config, &image, node.id);
        let mut recovery = Recovery {
            id,
            others: false,
            node,
            image,
            config,
            checkpoints: BTreeMap::new(),
            generation_max: 0,
            covered: Vec::new(),
            journals: Vec::new(),
            replays: VecDeque::new(),
            block_bytes: 0,
            replayed: Replayed::default(),
            gaps: HashMap::new(),
            store: None,
            rules: HashMap::new(),
        };
        let mut layouts = BTreeSet::new();
        for (name, bytes) in &found.checkpoints {
            let (head, partitions) =
                checkpoint::decode(bytes).ok_or_else(|| format!("{name} is damaged: restore it from a backup"))?;
            layouts.insert((head.cores, head.core));
            recovery.checkpoint(head, partitions);
        }
        // A core's own journal is enough only if each core of this number has recovered before.
        let cores = recovery.node.shards;
        let complete = layouts.into_iter().eq((0..cores).map(|core| (cores, core)));
        let all_ours = found.journals.iter().all(|core| *core < cores);
        let nothing = found.journals.is_empty() && found.checkpoints.is_empty();
        recovery.others = !(nothing || complete && all_ours);
        recovery.journals = if recovery.others { found.journals.clone() } else { vec![id.0] };
        Ok(recovery)
    }

    /// A checkpoint, of this core or another one: partitions may have changed cores.
    fn checkpoint(&mut self, head: CheckpointHead, partitions: Vec<(PartitionId, Restored)>) {
        self.covered.push((head.core, head.generation, head.sequence));
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

    /// The cores whose journals may hold what this core needs.
    pub fn journals(&self) -> &[u16] {
        &self.journals
    }

    /// The first [`ALIGNMENT`] bytes of each file of a core's journal, fewer where the file is shorter.
    pub fn heads(&mut self, core: u16, heads: &[(FileIndex, Vec<u8>)]) {
        assert!(self.store.is_none() && self.journals.contains(&core));
        let newest = heads.iter().filter_map(|(_, head)| BlockHeader::decode(head)).map(|head| head.generation).max();
        let covered = self.covered.iter().find(|(of, generation, _)| *of == core && Some(*generation) == newest);
        let (_, generation, sequence) = covered.copied().unwrap_or_default();
        if let Some(replay) = Replay::new(heads, generation, sequence) {
            self.generation_max = self.generation_max.max(replay.generation());
            let at = self.replays.partition_point(|(_, other)| other.generation() <= replay.generation());
            self.replays.insert(at, (core, replay));
        }
    }

    fn rules_of(&mut self, topic: Uuid) -> Option<Arc<TopicRules>> {
        let topic = self.image.topic_by_id(topic)?;
        let bytes_max = self.node.config.journal_file_bytes as usize;
        let make = || Arc::new(TopicRules::new(topic, &self.config, bytes_max));
        Some(self.rules.entry(topic.id).or_insert_with(make).clone())
    }

    /// The heads of all journals are known: the store with its new, empty journal, whose files are `files`.
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

    /// What is to be shown to [`Recovery::feed`] next: at least so many bytes, or all up to the file's end.
    pub fn want(&mut self) -> Option<Want> {
        while let Some((core, replay)) = self.replays.front() {
            if let ReplayStep::Want { file, position, bytes } = replay.want() {
                return Some(Want { core: *core, file, position, bytes: bytes.max(self.block_bytes) });
            }
            self.replays.pop_front();
        }
        None
    }

    /// Bytes of the wanted file from the wanted position on. `Err` says what is wrong with them.
    pub fn feed(&mut self, now: Now, content: &Bytes) -> Result<(), String> {
        let (_, replay) = self.replays.front_mut().expect("bytes were wanted");
        let block_bytes = std::mem::take(&mut self.block_bytes);
        if content.len() < block_bytes {
            // The block goes on behind the end of its file: it is none.
            replay.stop();
            return Ok(());
        }
        match replay.feed(content) {
            ReplayStep::Block { bytes, .. } => {
                let block = content.slice(..bytes);
                match journal::decode_entries(&block) {
                    Some(entries) => {
                        replay.accept(bytes);
                        self.replayed.blocks += 1;
                        self.block(now, &block, entries)?;
                    }
                    // Torn: it was not acknowledged, nor was anything after it.
                    None => replay.stop(),
                }
            }
            ReplayStep::Want { bytes, .. } if bytes > ALIGNMENT => self.block_bytes = bytes,
            ReplayStep::Want { .. } | ReplayStep::End => {}
        }
        Ok(())
    }

    fn block(&mut self, now: Now, bytes: &Bytes, entries: Vec<(Entry, Range<usize>)>) -> Result<(), String> {
        for (entry, payload) in entries {
            let ours = entry.partition.shard(self.node.shards) == self.id;
            let Some(rules) = self.rules_of(entry.partition.topic).filter(|_| ours) else { continue };
            // A copy: the block's buffer is large, and few of its entries stay.
            self.entry(now, &rules, &entry, &bytes[payload])?;
        }
        Ok(())
    }

    fn entry(&mut self, now: Now, rules: &TopicRules, entry: &Entry, payload: &[u8]) -> Result<(), String> {
        let store = self.store.as_mut().expect("blocks come after `begin`");
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
            self.replayed.batches += u64::from(info.is_some());
            self.replayed.bytes += payload.len() as u64;
            return Ok(());
        }
        // The checkpoint covers the block of the batches before: they were carried forward, and come again with this one.
        let gap = self.gaps.entry(entry.partition).or_insert(Gap { end, offset: entry.offset });
        gap.offset = gap.offset.max(entry.offset);
        Ok(())
    }

    /// All blocks have been shown: no batch may be missing.
    fn check_gaps(&self) -> Result<(), String> {
        let store = self.store.as_ref().expect("blocks come before");
        for (id, gap) in &self.gaps {
            let log = store.find(*id).and_then(|index| store.log(index)).expect("a gap is in a log");
            if log.end() <= gap.offset {
                let Gap { end, offset } = gap;
                return Err(format!("the journal continues {} at offset {offset}, the log ends at {end}", log.name()));
            }
        }
        Ok(())
    }

    /// All blocks have been shown: what is only in journals goes to segments. If true, drive the store with
    /// [`Recovery::plan`] and [`Recovery::done`] until [`Recovery::is_done`].
    pub fn drain(&mut self) -> Result<bool, String> {
        assert!(self.replays.is_empty());
        self.check_gaps()?;
        let wanted = self.replayed.blocks > 0 || self.others;
        if wanted {
            self.store.as_mut().expect("blocks come before").drain_all();
        }
        Ok(wanted)
    }

    /// What has been replayed so far.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    pub fn plan(&mut self, now: Now, out: &mut Vec<DiskOp>) {
        self.store.as_mut().expect("blocks come before").plan(now, out);
    }

    pub fn done(&mut self, now: Now, done: Done) {
        self.store.as_mut().expect("blocks come before").done(now, done);
    }

    pub fn is_done(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_drained)
    }

    pub fn deadline(&self) -> Option<Time> {
        self.store.as_ref().and_then(Store::deadline)
    }

    /// The shard, with random bits for the ids of groups' members; the first one gets the controller, with random bits for
    /// topic ids.
    pub fn finish(self, seed: u128, controller: Option<(Controller, u128)>) -> Result<Shard, String> {
        let mut store = self.store.expect("blocks come before");
        if store.is_failed() {
            return Err("what the journal holds cannot be written to the segments".into());
        }
        store.resume();
        Ok(Shard::new(self.id, self.node, self.image, self.config, store, seed, controller))
    }
}
