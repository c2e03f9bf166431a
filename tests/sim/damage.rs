//! Damage in the middle of a journal: bytes of a block change that a later block proves to have been durable.

use crate::device::{GROUP_CHECKPOINT, journal_path};
use crate::node::World;
use crate::replay::OFFSETS;
use klamm::journal::{ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, Entry, EntryKind, decode_entries};
use klamm::shard::checkpoint;
use klamm::types::{Offset, PartitionId};
use rand::Rng;
use std::ops::Range;

const FLIPS_BYTES: usize = 16;

/// What damage may cost a partition.
#[derive(Clone, Copy, Debug)]
pub struct Harm {
    pub partition: PartitionId,
    /// Records from here on may be lost.
    pub from: Offset,
    /// Nothing is left that says so: the entries' headers are damaged, and no later block has any of the partition.
    pub silent: bool,
    /// Deletions of records may be lost.
    pub start: bool,
}

struct FoundBlock {
    file: u32,
    position: usize,
    header: BlockHeader,
    entries: Vec<(Entry, Range<usize>)>,
}

impl FoundBlock {
    fn has_records_of(&self, partition: PartitionId) -> bool {
        self.entries.iter().any(|(entry, _)| entry.partition == partition && entry.kind != EntryKind::LogStart)
    }
}

/// The blocks of the newest generation in a core's files.
fn blocks(world: &World, core: u16) -> Vec<FoundBlock> {
    let mut blocks = Vec::new();
    for file in world.journal_files(core) {
        let content = world.disk.read(&journal_path(core, file)).expect("it was just listed");
        let mut position = 0;
        while position < content.len() {
            let header = BlockHeader::decode(&content[position..]).filter(|header| header.core == core);
            let block = header.and_then(|header| content.get(position..position + header.bytes as usize));
            match (header, block.and_then(decode_entries)) {
                (Some(header), Some(entries)) => {
                    blocks.push(FoundBlock { file, position, header, entries });
                    position += (header.bytes as usize).next_multiple_of(ALIGNMENT);
                }
                _ => position += ALIGNMENT,
            }
        }
    }
    let newest = blocks.iter().map(|block| block.header.generation).max();
    blocks.retain(|block| Some(block.header.generation) == newest);
    blocks.sort_by_key(|block| block.header.sequence);
    blocks
}

/// Harms checkpoints of coordinators. It costs nothing: their logs have it all.
pub fn damage_coordinators(world: &mut World) {
    for name in world.disk.starting(OFFSETS) {
        if name.ends_with(GROUP_CHECKPOINT) && world.random.random() {
            let bytes = world.disk.read(&name).map_or(0, <[u8]>::len);
            let position = world.random.random_range(0..bytes.max(1));
            world.disk.harm(&name, position, &[1 << world.random.random_range(0..8)]);
            world.trace(|| format!("byte {position} of {name} is harmed"));
        }
    }
}

/// Harms a block that was durable and is in no checkpoint, if there is one.
pub fn damage(world: &mut World) -> Vec<Harm> {
    let found = world.found();
    let heads: Vec<_> = found.checkpoints.iter().filter_map(|(_, bytes)| Some(checkpoint::decode(bytes)?.0)).collect();
    let Some(core) = found.journals.get(world.random.random_range(0..found.journals.len().max(1))).copied() else {
        return Vec::new();
    };
    let blocks = blocks(world, core);
    let Some(generation) = blocks.first().map(|block| block.header.generation) else { return Vec::new() };
    let ours = heads.iter().filter(|head| head.core == core);
    if ours.clone().any(|head| head.generation > generation) {
        return Vec::new();
    }
    let covered = ours.filter(|head| head.generation == generation).map(|head| head.sequence).max().unwrap_or(0);
    let durable = blocks.iter().map(|block| block.header.sequence_durable()).max().unwrap_or(0);
    let proven: Vec<usize> =
        (0..blocks.len()).filter(|at| (covered + 1..=durable).contains(&blocks[*at].header.sequence)).collect();
    let Some(at) = proven.get(world.random.random_range(0..proven.len().max(1))).copied() else { return Vec::new() };
    let block = &blocks[at];
    let whole = block.header.bytes as usize;
    let payloads: Vec<_> = block.entries.iter().filter(|(_, payload)| !payload.is_empty()).collect();
    let (range, harmed) = match payloads.get(world.random.random_range(0..2 * payloads.len().max(1))) {
        // One batch alone.
        Some((entry, payload)) => {
            let harm = Harm { partition: entry.partition, from: entry.offset, silent: false, start: false };
            (payload.clone(), vec![harm])
        }
        None => {
            let range = match world.random.random_range(0..3) {
                0 => 0..BLOCK_HEADER_BYTES,
                1 => 0..whole.min(ALIGNMENT),
                _ => 0..whole,
            };
            (range, harms(&blocks, at))
        }
    };
    let bytes = if range.len() <= BLOCK_HEADER_BYTES { range.len() } else { FLIPS_BYTES };
    let from = world.random.random_range(range.start..=range.end - bytes);
    let flips: Vec<u8> = (0..bytes).map(|_| world.random.random_range(1..=255)).collect();
    world.trace(|| {
        let sequence = block.header.sequence;
        format!("DAMAGE to block {sequence} of core {core}, {bytes} bytes at {from} of {whole}, durable up to {durable}: {harmed:?}")
    });
    let (path, position) = (journal_path(core, block.file), block.position + from);
    world.disk.harm(&path, position, &flips);
    harmed
}

/// What it may cost to lose a block wholly.
fn harms(blocks: &[FoundBlock], at: usize) -> Vec<Harm> {
    let mut harms: Vec<Harm> = Vec::new();
    for (entry, _) in &blocks[at].entries {
        let partition = entry.partition;
        let start = entry.kind == EntryKind::LogStart;
        let silent = !blocks[at + 1..].iter().any(|block| block.has_records_of(partition));
        match harms.iter_mut().find(|harm| harm.partition == partition) {
            Some(harm) => {
                harm.start |= start;
                if !start {
                    harm.from = harm.from.min(entry.offset);
                }
            }
            None => {
                let from = if start { Offset::MAX } else { entry.offset };
                harms.push(Harm { partition, from, silent, start });
            }
        }
    }
    harms
}
