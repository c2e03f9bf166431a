//! Carries out reads of older batches with direct I/O, and reads ahead: see `log/reading.rs` for what is read.

use super::blocking::{self, Kind};
use super::charge::{Charge, Memory};
use super::disk::{check_owner, patiently, plain};
use super::report;
use crate::journal::ALIGNMENT;
use crate::log::SegmentId;
use crate::log::handles::Handles;
use crate::log::reading::{self, READ_BYTES_MAX, ReadAhead, SEEK_BYTES, SegmentFile, SegmentKey};
use crate::shard::ReadPlan;
use crate::shard::memory::Purpose;
use crate::types::PartitionId;
use bytes::Bytes;
use glommio::io::{DmaFile, OpenOptions, ReadResult};
use send_wrapper::SendWrapper;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

type Ahead = (glommio::task::JoinHandle<io::Result<Bytes>>, Charge);

/// Bytes that a plan's read has in memory at a time, unless one batch is larger.
pub fn block_bytes(plan: &ReadPlan) -> usize {
    plan.bytes_max.clamp(SEEK_BYTES, READ_BYTES_MAX)
}

pub struct Reader {
    root: PathBuf,
    blocks: Blocks,
    handles: RefCell<Handles<Rc<DmaFile>>>,
    ahead: RefCell<ReadAhead<Ahead>>,
}

/// The blocks that somebody has.
#[derive(Clone)]
struct Blocks {
    memory: Memory,
    /// By address, their lengths.
    places: Rc<RefCell<BTreeMap<usize, usize>>>,
}

/// A block that was read.
struct Held {
    read: ReadResult,
    blocks: Blocks,
    _charge: Charge,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.blocks.places.borrow_mut().remove(&self.read.as_ptr().addr());
    }
}

/// Bytes of a block that was read, usable where only the core that read it ever is.
struct Block(SendWrapper<Held>);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0.read
    }
}

impl Reader {
    /// Of segment files, `handles_max` stay open, besides those that are read just then.
    pub fn new(root: PathBuf, handles_max: usize, memory: Memory) -> Reader {
        let blocks = Blocks { memory, places: Rc::default() };
        Reader { root, blocks, handles: RefCell::new(Handles::new(handles_max)), ahead: RefCell::default() }
    }

    /// Bytes of the blocks that these parts of answers keep.
    pub fn kept_bytes<'a>(&self, parts: impl Iterator<Item = &'a Bytes>) -> usize {
        let places = self.blocks.places.borrow();
        let block = |part: &Bytes| {
            let address = part.as_ptr().addr();
            let (start, length) = places.range(..=address).next_back()?;
            (address < start + length).then_some((*start, *length))
        };
        parts.filter_map(block).collect::<BTreeMap<usize, usize>>().values().sum()
    }

    /// Whole batches, the first of which holds the plan's offset; empty if the segment has none.
    pub async fn read(&self, plan: &ReadPlan) -> Option<Vec<Bytes>> {
        match self.read_batches(plan).await {
            Ok(parts) => Some(parts),
            Err(error) => {
                let place = format!("{}/{}", plan.name, plan.read.segment);
                report::failed(report::SEGMENT_READ, place, &error);
                None
            }
        }
    }

    async fn read_batches(&self, plan: &ReadPlan) -> io::Result<Vec<Bytes>> {
        let damaged = |damage| io::Error::other(format!("{damage}"));
        let key = SegmentKey { partition: plan.partition, segment: plan.read.segment };
        let file = self.file(key, &plan.name).await?;
        let begun = self.ahead.borrow_mut().begin(plan.partition, plan.read.clone(), plan.offset, plan.bytes_max);
        let (mut reading, known) = begun;
        if let Some((block, _charge)) = known {
            let block = block.await.unwrap_or_else(|| Err(io::Error::other("the read was cancelled")))?;
            reading.feed(block).map_err(damaged)?;
        }
        let mut index: Option<(SegmentFile, DmaFile)> = None;
        while let Some(want) = reading.want() {
            let bytes = match want.file {
                SegmentFile::Log => self.blocks.read(&file, want.position as usize, want.bytes).await?,
                kind => {
                    let open = match index.take().filter(|(open, _)| *open == kind) {
                        Some((_, open)) => open,
                        None => patiently(async || self.open(key, &plan.name, kind).await).await?,
                    };
                    let bytes = self.blocks.read(&open, want.position as usize, want.bytes).await?;
                    index = Some((kind, open));
                    bytes
                }
            };
            reading.feed(bytes).map_err(damaged)?;
        }
        let Some((bytes, ahead)) = reading.finish() else { return Ok(Vec::new()) };
        if let Some(ahead) = ahead {
            self.read_ahead(key, file, ahead);
        }
        Ok(vec![bytes])
    }

    /// Reads what the next reader wants, if there is memory for it.
    fn read_ahead(&self, key: SegmentKey, file: Rc<DmaFile>, ahead: reading::Ahead) {
        let mut blocks = self.ahead.borrow_mut();
        while !self.blocks.memory.borrow().may_take(Purpose::ReadAhead, ahead.bytes) {
            if !blocks.drop_oldest() {
                return;
            }
        }
        let charge = Charge::new(&self.blocks.memory, Purpose::ReadAhead, ahead.bytes);
        let held = self.blocks.clone();
        let read = async move { held.read(&file, ahead.position as usize, ahead.bytes).await };
        blocks.put(key, ahead, (glommio::spawn_local(read).detach(), charge));
    }

    async fn file(&self, key: SegmentKey, name: &str) -> io::Result<Rc<DmaFile>> {
        let known = self.handles.borrow_mut().get(key);
        if let Some(file) = known {
            return Ok(file);
        }
        let opening = self.handles.borrow().opening();
        let file = Rc::new(patiently(async || self.open(key, name, SegmentFile::Log).await).await?);
        self.handles.borrow_mut().keep(opening, key, file.clone());
        Ok(file)
    }

    async fn open(&self, key: SegmentKey, name: &str, kind: SegmentFile) -> io::Result<DmaFile> {
        let (dir, topic) = (self.root.join(name), key.partition.topic);
        let mut options = OpenOptions::new();
        let path = dir.join(kind.name(key.segment));
        let file = options.read(true).dma_open(path).await.map_err(plain)?;
        // Not before: the file is the topic's if its directory is afterwards.
        blocking::run(Kind::Files, move || check_owner(&dir, topic)).await?;
        Ok(file)
    }

    /// Files of the partition are removed: those of a segment, or all.
    pub fn forget(&self, partition: PartitionId, segment: Option<SegmentId>) {
        self.handles.borrow_mut().forget(partition, segment);
        self.ahead.borrow_mut().forget(partition, segment);
    }
}

impl Blocks {
    /// `bytes` bytes of the file from `position` on, fewer at its end.
    async fn read(&self, file: &DmaFile, position: usize, bytes: usize) -> io::Result<Bytes> {
        let start = position / ALIGNMENT * ALIGNMENT;
        let length = (position + bytes - start).next_multiple_of(ALIGNMENT);
        let read = file.read_at_aligned(start as u64, length).await.map_err(plain)?;
        let charge = Charge::new(&self.memory, Purpose::Reads, read.len());
        self.places.borrow_mut().insert(read.as_ptr().addr(), read.len());
        let held = Held { read, blocks: self.clone(), _charge: charge };
        let block = Bytes::from_owner(Block(SendWrapper::new(held)));
        let from = (position - start).min(block.len());
        let to = (from + bytes).min(block.len());
        Ok(block.slice(from..to))
    }
}
