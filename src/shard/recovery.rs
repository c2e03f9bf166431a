//! From checkpoints and journals to a shard: everything that was acknowledged is in segments when it ends, and the journal
//! is empty.

use super::Shard;
use super::checkpoint::{self, CheckpointHead};
use super::node::Node;
use super::rules::TopicRules;
use super::store::{DiskOp, Done, Limits, LogIndex, Store};
use super::view::dynamic_config;
use crate::journal::{self, Block, Entry, EntryKind, FileIndex, Journal, Replay, Wanted};
use crate::log::{Cut, Restored, check, decode_skip};
use crate::metadata::{Controller, Image};
use crate::types::{Now, Offset, PartitionId, ShardId, Time, Uuid};
use crate::wire::batch::{batches, crc_ok};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

impl Found {
    /// What nobody needs once a node of so many cores has recovered: journals of cores that it does not have, and checkpoints of
    /// other numbers of cores. All they held is in segments and in the checkpoints of this number.
    pub fn leftovers(&self, cores: u16) -> (Vec<u16>, Vec<&str>) {
        let journals = self.journals.iter().copied().filter(|core| *core >= cores);
        let names = self.checkpoints.iter().map(|(name, _)| name.as_str());
        (journals.collect(), names.filter(|name| checkpoint::cores_of(name) != Some(cores)).collect())
    }
}

/// What a core has replayed: blocks of journals, and the batches in them that were its own and in no checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Replayed {
    /// Blocks that were read.
    pub blocks: u64,
    /// Batches that were added to logs.
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

/// Recovery of one core: first all checkpoints, then all blocks of all journals in order of generation.
///
/// [`Recovery::journals`] says whose journals count; the beginning of each of their files goes to [`Recovery::heads`].
/// After [`Recovery::begin`], bytes are shown as [`Recovery::want`] asks. [`Recovery::ring`] gives the core's own new journal
/// its files; [`Recovery::drain`] then says whether there is something to write.
pub struct Recovery {
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    config: Arc<crate::config::Config>,
    /// The newest state of each partition of this core, and the generation it is from.
    checkpoints: BTreeMap<PartitionId, (u64, Restored)>,
    generation_max: u64,
    /// Of partitions that blocks name: see [`Recovery::generation_of`].
    generations: HashMap<PartitionId, u64>,
    covered: Vec<CheckpointHead>,
    journals: Vec<u16>,
    /// Whether partitions may come from other cores, because the number of cores has changed.
    others: bool,
    /// The journals that are replayed, by generation once all of them are surveyed.
    replays: Vec<(u16, Replay)>,
    sorted: bool,
    /// The one whose bytes are wanted.
    reading: usize,
    replayed: Replayed,
    /// Partitions that a block continues beyond their end: what is missing was carried forward to a later block.
    gaps: BTreeMap<PartitionId, Gap>,
    /// Partitions of which records are lost from an offset on, unless a later block has them.
    lost: BTreeMap<PartitionId, Offset>,
    /// Starts of logs that did not reach so far when they were read.
    starts: BTreeMap<PartitionId, Offset>,
    /// What was found to be damaged, in words for the log.
    report: Vec<String>,
    store: Option<Store>,
    rules: HashMap<Uuid, Arc<TopicRules>>,
}

/// Batches that did not follow what the log had: the first of them and the last, by offset.
struct Gap {
    next: Offset,
    last: Offset,
}

/// Whether the payload of an entry whose block is damaged is what was written.
fn is_sound(entry: &Entry, payload: &[u8]) -> bool {
    match entry.kind {
        EntryKind::LogStart => return true,
        EntryKind::Truncate => return Cut::decode(entry.offset, payload).is_ok(),
        EntryKind::Skip => return decode_skip(payload).is_ok(),
        EntryKind::Batch | EntryKind::Carried => {}
    }
    let batch = check::info(payload).and_then(|_| batches(payload).next());
    batch.is_some_and(|batch| {
        batch.bytes.len() == payload.len() && batch.header.base_offset.get() == entry.offset && crc_ok(payload)
    })
}

fn describe(core: u16, damage: &journal::Damage) -> String {
    let journal::Damage { spot, sequence_first, sequence_last, complete } = damage;
    let others = match complete {
        true => "",
        false => ", and of which partitions they hold the last records cannot be told for certain",
    };
    format!(
        "journal file {} of core {core} is damaged at byte {}: blocks {sequence_first} to {sequence_last} had been synced and \
         cannot be read whole{others}; the file is put aside in journal/damaged",
        spot.file, spot.position
    )
}

fn limits(node: &Node, id: ShardId) -> Limits {
    Limits { memory_bytes: node.config.core_memory_bytes_max as usize, cores: node.shards, core: id.0 }
}

impl Recovery {
    /// A recovery of the core `id`. `found` is what the files said when the node started, before any core wrote.
    pub fn new(id: ShardId, node: Arc<Node>, image: Image, found: &Found) -> Result<Recovery, String> {
        assert!(id.0 < node.shards);
        let config = dynamic_config(&node, &image);
        let mut recovery = Recovery {
            id,
            others: false,
            node,
            image,
            config,
            checkpoints: BTreeMap::new(),
            generation_max: 0,
            generations: HashMap::new(),
            covered: Vec::new(),
            journals: Vec::new(),
            replays: Vec::new(),
            sorted: false,
            reading: 0,
            replayed: Replayed::default(),
            gaps: BTreeMap::new(),
            lost: BTreeMap::new(),
            starts: BTreeMap::new(),
            report: Vec::new(),
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

    /// Takes a checkpoint, of this core or another one: partitions may have changed cores.
    fn checkpoint(&mut self, head: CheckpointHead, partitions: Vec<(PartitionId, Restored)>) {
        self.covered.push(head);
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

    /// Takes the first [`journal::HEAD_BYTES`] of each file of a core's journal, fewer where the file is shorter.
    pub fn heads(&mut self, core: u16, heads: &[(FileIndex, Vec<u8>)]) {
        assert!(self.store.is_none() && self.journals.contains(&core));
        let ours = self.covered.iter().filter(|head| head.core == core);
        let checkpoints: Vec<(u64, u64)> = ours.clone().map(|head| (head.generation, head.sequence)).collect();
        let ended = ours.filter(|head| head.ended).map(|head| head.generation).max();
        let replay = Replay::new(core, heads, &checkpoints, self.others);
        // After a clean end the search for the journal's end is spared.
        let over = |replay: &Replay| {
            !self.others && replay.is_surveyed() && ended.is_some_and(|ended| ended >= replay.generation())
        };
        self.replays.extend(replay.filter(|replay| !over(replay)).map(|replay| (core, replay)));
    }

    /// The generation of the newest checkpoint of a core that owned the partition: what older blocks hold of it is in there,
    /// or was lost, or is nothing. An empty partition is in no checkpoint.
    fn generation_of(&self, id: PartitionId) -> u64 {
        let owners = self.covered.iter().filter(|head| id.shard(head.cores).0 == head.core);
        owners.map(|head| head.generation).max().unwrap_or(0)
    }

    fn rules_of(&mut self, topic: Uuid) -> Option<Arc<TopicRules>> {
        let topic = self.image.topic_by_id(topic)?;
        let bytes_max = self.node.config.journal_file_bytes as usize;
        let make = || Arc::new(TopicRules::new(topic, &self.config, bytes_max));
        Some(self.rules.entry(topic.id).or_insert_with(make).clone())
    }

    /// Begins to replay, when the heads of all journals are known: makes the store that the checkpoints describe.
    pub fn begin(&mut self) {
        let mut store = Store::new(limits(&self.node, self.id), self.journal(0, Vec::new(), 0));
        for (id, (generation, restored)) in std::mem::take(&mut self.checkpoints) {
            if self.generation_of(id) > generation {
                continue;
            }
            if let Some(rules) = self.rules_of(id.topic) {
                // What was deleted beyond what segments hold was there: if the journals do not have it, it is lost.
                let deleted = (restored.start > restored.flushed_end).then(|| restored.start - 1);
                self.lost.extend(restored.lost_from.max(deleted).map(|offset| (id, offset)));
                store.restore(id, &rules.partition_name(id.index), &rules.log, restored);
            }
        }
        self.store = Some(store);
    }

    fn journal(&self, generation: u64, files: Vec<FileIndex>, file_next: FileIndex) -> Journal {
        let config = &self.node.config;
        let journal_limits = journal::Limits {
            file_bytes: u64::from(config.journal_file_bytes),
            files_max: config.journal_files_max,
            waiting_bytes_max: JOURNAL_WAITING_BYTES_MAX,
        };
        Journal::new(journal_limits, self.id.0, generation, files, file_next)
    }

    /// What is to be shown to [`Recovery::feed`] next, of a core's journal: at least so many bytes, or all up to the file's
    /// end.
    pub fn want(&mut self) -> Option<(u16, Wanted)> {
        if let Some(at) = self.replays.iter().position(|(_, replay)| !replay.is_surveyed()) {
            self.reading = at;
            return self.wanted();
        }
        if !std::mem::replace(&mut self.sorted, true) {
            self.replays.sort_by_key(|(_, replay)| replay.generation());
            self.reading = 0;
            for (_, replay) in &self.replays {
                self.generation_max = self.generation_max.max(replay.generation());
            }
        }
        while self.reading < self.replays.len() {
            if let Some(want) = self.wanted() {
                return Some(want);
            }
            self.reading += 1;
        }
        None
    }

    fn wanted(&self) -> Option<(u16, Wanted)> {
        let (core, replay) = &self.replays[self.reading];
        Some((*core, replay.want()?))
    }

    /// Takes the bytes that [`Recovery::want`] asked for. The error says what is wrong with them.
    pub fn feed(&mut self, now: Now, content: &Bytes) -> Result<(), String> {
        let (_, replay) = self.replays.get_mut(self.reading).expect("bytes were wanted");
        let Some(block) = replay.feed(content) else { return Ok(()) };
        let generation = replay.generation();
        self.replayed.blocks += 1;
        self.block(now, content, block, generation)
    }

    fn block(&mut self, now: Now, bytes: &Bytes, block: Block, generation: u64) -> Result<(), String> {
        for (entry, payload) in block.entries {
            let ours = entry.partition.shard(self.node.shards) == self.id;
            let Some(rules) = self.rules_of(entry.partition.topic).filter(|_| ours) else { continue };
            let restored = match self.generations.get(&entry.partition) {
                Some(restored) => *restored,
                None => {
                    let restored = self.generation_of(entry.partition);
                    self.generations.insert(entry.partition, restored);
                    restored
                }
            };
            if restored > generation {
                continue;
            }
            let payload = &bytes[payload];
            if block.damaged && !is_sound(&entry, payload) {
                self.unsound(&rules, &entry);
                continue;
            }
            // A copy: the block's buffer is large, and few of its entries stay.
            self.entry(now, &rules, &entry, payload)?;
        }
        Ok(())
    }

    /// An entry whose payload cannot be read, of a block that was durable.
    fn unsound(&mut self, rules: &TopicRules, entry: &Entry) {
        let index = self.open(rules, entry);
        let store = self.store.as_mut().expect("blocks come after `begin`");
        let end = store.log(index).expect("it was just opened").end();
        let mut offset = entry.offset;
        if entry.kind == EntryKind::Truncate && end > offset {
            // Nothing says where in its segment the log was cut: what follows would stand behind what was cut off.
            store.lose(index);
            offset = end;
        }
        let from = self.lost.entry(entry.partition).or_insert(offset);
        *from = offset.max(*from);
    }

    /// The log was cut off: what was missing behind the cut is no loss, and what is missing before it is.
    fn cut(&mut self, index: LogIndex, entry: &Entry, payload: &[u8]) -> Result<(), String> {
        let cut = Cut::decode(entry.offset, payload).map_err(|_| "the journal holds what is no cut")?;
        let store = self.store.as_mut().expect("blocks come after `begin`");
        store.replay_truncation(index, &cut);
        let end = store.log(index).expect("it was just opened").end();
        self.lost.remove(&entry.partition);
        self.gaps.remove(&entry.partition);
        if end < cut.end {
            self.gaps.insert(entry.partition, Gap { next: cut.end, last: cut.end - 1 });
        }
        Ok(())
    }

    fn open(&mut self, rules: &TopicRules, entry: &Entry) -> LogIndex {
        let name = rules.partition_name(entry.partition.index);
        self.store.as_mut().expect("blocks come after `begin`").open(entry.partition, &name, &rules.log)
    }

    fn entry(&mut self, now: Now, rules: &TopicRules, entry: &Entry, payload: &[u8]) -> Result<(), String> {
        let index = self.open(rules, entry);
        let store = self.store.as_mut().expect("blocks come after `begin`");
        let info = match entry.kind {
            EntryKind::LogStart => None,
            EntryKind::Truncate => return self.cut(index, entry, payload),
            EntryKind::Skip => {
                let from = decode_skip(payload).map_err(|_| "the journal holds what is no skip")?;
                // If batches are missing before it, the one behind it is, too.
                store.replay_skip(index, from, entry.offset);
                return Ok(());
            }
            EntryKind::Batch | EntryKind::Carried => {
                Some(check::info(payload).ok_or("the journal holds what is no batch")?)
            }
        };
        let log = store.log(index).expect("it was just opened");
        if info.is_none() && entry.offset > log.end() {
            self.starts.insert(entry.partition, entry.offset);
        }
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
        let gap = self.gaps.entry(entry.partition).or_insert(Gap { next: entry.offset, last: entry.offset });
        if gap.next < end || entry.offset < gap.next {
            gap.next = entry.offset;
        }
        gap.last = gap.last.max(entry.offset);
        Ok(())
    }

    /// Ends the replay, when all blocks have been shown: records that are still missing are lost, and their partition
    /// ends before them.
    fn settle(&mut self) {
        for (id, gap) in &self.gaps {
            let from = self.lost.entry(*id).or_insert(gap.last);
            *from = gap.last.max(*from);
        }
        let store = self.store.as_mut().expect("blocks come before");
        for (id, start) in &self.starts {
            // What was deleted stays so, as far as it is there.
            store.find(*id).into_iter().for_each(|index| store.move_start(index, *start));
        }
        for (core, replay) in self.replays.iter().filter(|(core, _)| core % self.node.shards == self.id.0) {
            self.report.extend(replay.damages().iter().map(|damage| describe(*core, damage)));
        }
        self.lost.retain(|id, offset| {
            let Some(index) = store.find(*id) else { return false };
            let log = store.log(index).expect("it was just found");
            let (name, end) = (log.name().clone(), log.end());
            let stays = end <= *offset;
            if stays {
                if log.lost_from().is_none() {
                    store.lose(index);
                }
                let last = match self.gaps.get(id) {
                    Some(gap) => format!("{} are lost; those from {} on cannot be served", gap.next - 1, gap.next),
                    None => "its end are lost".into(),
                };
                self.report.push(format!(
                    "{name}: records from offset {end} to {last}. Records below {end} are served; reads from there on and \
                     writes get KAFKA_STORAGE_ERROR until the topic is deleted"
                ));
            }
            stays
        });
    }

    /// What is damaged and which records are lost, for the log.
    pub fn report(&self) -> &[String] {
        &self.report
    }

    /// Journal files with damage, by core: they are put aside, because what can be salvaged of them is in them alone. Those
    /// of cores that are no more are the first core's.
    pub fn damaged_files(&self) -> Vec<(u16, FileIndex)> {
        let cores = self.node.shards;
        let ours = |core: u16| core == self.id.0 || (core >= cores && self.id == ShardId(0));
        let damaged = self.replays.iter().filter(|(core, replay)| ours(*core) && !replay.damages().is_empty());
        damaged.flat_map(|(core, replay)| replay.files().map(|file| (*core, file))).collect()
    }

    /// Which of the core's journal files, each with its bytes, its new journal can write over: those of the ring's size. What
    /// others held has been read, or they were being made when a process ended. Also gives the number of the next file that is
    /// made.
    pub fn reusable(&self, files: &[(FileIndex, u64)]) -> (Vec<FileIndex>, FileIndex) {
        let file_bytes = u64::from(self.node.config.journal_file_bytes);
        let whole = files.iter().filter(|(_, bytes)| *bytes == file_bytes).map(|(file, _)| *file);
        let last = files.iter().map(|(file, _)| *file).max();
        (whole.collect(), last.map_or(0, |file| file + 1))
    }

    /// All blocks have been shown. The new journal of this start writes to `files`, but not to those that
    /// [`Recovery::damaged_files`] names; further files get numbers from `file_next` on. `random` makes its generation one
    /// that no other start has.
    pub fn ring(&mut self, mut files: Vec<FileIndex>, file_next: FileIndex, random: u32) {
        assert!(self.sorted && self.reading == self.replays.len());
        self.settle();
        let damaged = self.damaged_files();
        files.retain(|file| !damaged.contains(&(self.id.0, *file)));
        files.truncate(self.node.config.journal_files_max as usize);
        let journal = self.journal(journal::generation_next(self.generation_max, random), files, file_next);
        self.store.as_mut().expect("blocks come before").set_journal(journal);
    }

    /// What is only in journals goes to segments. If true, drive the store with [`Recovery::plan`] and [`Recovery::done`]
    /// until [`Recovery::is_done`].
    pub fn drain(&mut self) -> bool {
        let wanted = self.replayed.blocks > 0 || self.others || !self.report.is_empty();
        if wanted {
            self.store.as_mut().expect("blocks come before").drain_all();
        }
        wanted
    }

    /// The disk does not take what is in the journals: nothing more is planned, and the core starts without taking writes.
    pub fn is_refused(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_refused)
    }

    /// What has been replayed so far.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// Work for the disk that may start, of what was replayed: see [`Store::plan`].
    pub fn plan(&mut self, now: Now, out: &mut Vec<DiskOp>) {
        self.store.as_mut().expect("blocks come before").plan(now, out);
    }

    /// The completion of such work.
    pub fn done(&mut self, now: Now, done: Done) {
        self.store.as_mut().expect("blocks come before").done(now, done);
    }

    /// Whether what was replayed is in segments, and a checkpoint says so.
    pub fn is_done(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_drained)
    }

    /// When [`Recovery::plan`] is to be asked again although no work has ended.
    pub fn deadline(&self) -> Option<Time> {
        self.store.as_ref().and_then(Store::deadline)
    }

    /// The shard, with random bits for the ids of groups' members; the first one gets the controller, with random bits for
    /// topic ids.
    pub fn finish(self, seed: u128, controller: Option<(Controller, u128)>) -> Result<Shard, String> {
        let mut store = self.store.expect("blocks come before");
        if store.is_failed() || (self.others && store.is_refused()) {
            return Err("what the journal holds cannot be written to the segments".into());
        }
        store.resume();
        let logs: Vec<_> = store.logs().map(|(index, log)| (index, self.image.leader(log.id()))).collect();
        for (index, leader) in logs {
            leader.into_iter().for_each(|leader| store.set_epoch(index, leader.epoch));
        }
        Ok(Shard::new(self.id, self.node, self.image, self.config, store, seed, controller))
    }
}
