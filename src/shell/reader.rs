//! Reading older batches from segments with direct I/O, ahead of a reader that goes on where it ended.

use super::charge::{Charge, Memory};
use crate::log::file_stem;
use crate::log::scan::{self, Found};
use crate::shard::ReadPlan;
use crate::shard::memory::Purpose;
use crate::types::{Offset, TimestampMs};
use bytes::Bytes;
use glommio::io::{DmaFile, OpenOptions, ReadResult};
use send_wrapper::SendWrapper;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The largest read of one plan, unless one batch is larger.
const READ_BYTES_MAX: usize = 4 << 20;
/// The first read when it is not known where exactly the batches begin.
const SEEK_BYTES: usize = 512 << 10;
/// This share of an answer is read ahead on top, for batches that are a little larger than those before.
const AHEAD_SLACK_SHARE: usize = 32;
/// Blocks read ahead and not yet asked for.
const AHEAD_MAX: usize = 32;
const PAGE: usize = crate::journal::ALIGNMENT;

type SegmentKey = (Arc<str>, Offset);
type Ahead = glommio::task::JoinHandle<io::Result<Bytes>>;

/// Bytes that a plan's read has in memory at a time, unless one batch is larger.
pub fn block_bytes(plan: &ReadPlan) -> usize {
    plan.bytes_max.clamp(SEEK_BYTES, READ_BYTES_MAX)
}

/// What follows a block that was read: where the next batch begins, perhaps read already.
struct Next {
    segment: SegmentKey,
    offset: Offset,
    position: u32,
    block: Option<Ahead>,
    _charge: Charge,
}

pub struct Reader {
    root: PathBuf,
    /// Segment files that stay open, besides those that are read just then.
    handles_max: usize,
    memory: Memory,
    handles: RefCell<VecDeque<(SegmentKey, Rc<DmaFile>)>>,
    next: RefCell<VecDeque<Next>>,
}

/// Bytes of a block that was read, usable where only the core that read it ever is.
struct Block(SendWrapper<(ReadResult, Charge)>);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl Reader {
    pub fn new(root: PathBuf, handles_max: usize, memory: Memory) -> Reader {
        Reader { root, handles_max, memory, handles: RefCell::default(), next: RefCell::default() }
    }

    /// Whole batches, the first of which holds the plan's offset; empty if the segment has none.
    pub async fn read(self: &Rc<Self>, plan: &ReadPlan) -> Option<Vec<Bytes>> {
        match self.read_batches(plan).await {
            Ok(parts) => Some(parts),
            Err(error) => {
                tracing::warn!("reading {} of {}: {error}", file_stem(plan.read.segment), plan.name);
                None
            }
        }
    }

    async fn read_batches(self: &Rc<Self>, plan: &ReadPlan) -> io::Result<Vec<Bytes>> {
        let key = (plan.name.clone(), plan.read.segment);
        let position_end = plan.read.position_end as usize;
        let known = self.take_next(&key, plan.offset);
        let (mut position, mut block) = match known {
            Some(next) => (next.position as usize, next.block),
            None => (self.seek(plan).await? as usize, None),
        };
        let seeking = position == plan.read.position as usize;
        let mut want = plan.bytes_max.clamp(PAGE, READ_BYTES_MAX);
        if seeking {
            want = want.max(SEEK_BYTES);
        }
        while position < position_end {
            let bytes = match block.take() {
                Some(ahead) => ahead.await.unwrap_or_else(|| Err(io::Error::other("the read was cancelled")))?,
                None => self.block(&key, position, want.min(position_end - position)).await?,
            };
            let Some(found) = scan::find(&bytes, plan.offset, plan.bytes_max) else {
                return Err(io::Error::other(format!("no batch begins at {position}")));
            };
            if found.end > found.start {
                let ahead = ahead_bytes(&found, plan.bytes_max, want);
                self.read_ahead(&key, position + found.end, found.offset_end, position_end, ahead);
                let found = bytes.slice(found.start..found.end);
                // A small part of a block would keep all of it.
                let part = if 2 * found.len() < bytes.len() { Bytes::copy_from_slice(&found) } else { found };
                return Ok(vec![part]);
            }
            if found.start == 0 && found.next_bytes <= bytes.len() || bytes.is_empty() {
                return Err(io::Error::other("the segment is shorter than known"));
            }
            // All of the block is before the offset, or the batch that holds it is larger than the block.
            position += found.start;
            want = want.max(found.next_bytes);
        }
        Ok(Vec::new())
    }

    /// A batch boundary at or before what is wanted: from the segment's index files if there are any.
    async fn seek(&self, plan: &ReadPlan) -> io::Result<u32> {
        let read = &plan.read;
        if !read.indexed || (plan.offset == read.segment && read.timestamp.is_none()) {
            return Ok(read.position);
        }
        let path = segment_path(&self.root, &plan.name, read.segment);
        let (first, timestamp) = ((plan.offset - read.segment) as u32, read.timestamp);
        let position = glommio::executor().spawn_blocking(move || {
            let after = match timestamp {
                Some(timestamp) => after_older(&fs::read(path.with_extension("timeindex"))?, timestamp),
                None => 0,
            };
            Ok::<_, io::Error>(position_of(&fs::read(path.with_extension("index"))?, first.max(after)))
        });
        Ok(position.await?.max(read.position).min(read.position_end))
    }

    fn take_next(&self, key: &SegmentKey, offset: Offset) -> Option<Next> {
        let mut next = self.next.borrow_mut();
        let at = next.iter().position(|next| next.offset == offset && next.segment == *key)?;
        next.remove(at)
    }

    fn read_ahead(self: &Rc<Self>, key: &SegmentKey, position: usize, offset: Offset, end: usize, want: usize) {
        if position >= end {
            return;
        }
        let (reader, segment, bytes) = (self.clone(), key.clone(), want.min(end - position));
        let mut next = self.next.borrow_mut();
        while next.len() >= AHEAD_MAX || !self.memory.borrow().may_take(Purpose::ReadAhead, bytes) {
            if next.pop_front().is_none() {
                return;
            }
        }
        let charge = Charge::new(&self.memory, Purpose::ReadAhead, bytes);
        let block = glommio::spawn_local(async move { reader.block(&segment, position, bytes).await }).detach();
        let position = position as u32;
        next.push_back(Next { segment: key.clone(), offset, position, block: Some(block), _charge: charge });
    }

    /// `bytes` bytes of the segment from `position` on, fewer at its end.
    async fn block(&self, key: &SegmentKey, position: usize, bytes: usize) -> io::Result<Bytes> {
        let file = self.file(key).await?;
        let start = position / PAGE * PAGE;
        let length = (position + bytes - start).next_multiple_of(PAGE);
        let read = file.read_at_aligned(start as u64, length).await.map_err(io::Error::from)?;
        let charge = Charge::new(&self.memory, Purpose::Reads, read.len());
        let block = Bytes::from_owner(Block(SendWrapper::new((read, charge))));
        let from = (position - start).min(block.len());
        let to = (from + bytes).min(block.len());
        Ok(block.slice(from..to))
    }

    async fn file(&self, key: &SegmentKey) -> io::Result<Rc<DmaFile>> {
        let known = {
            let mut handles = self.handles.borrow_mut();
            let at = handles.iter().position(|(known, _)| known == key);
            at.and_then(|at| handles.remove(at))
        };
        let file = match known {
            Some((_, file)) => file,
            None => {
                let path = segment_path(&self.root, &key.0, key.1);
                let mut options = OpenOptions::new();
                Rc::new(options.read(true).dma_open(&path).await.map_err(io::Error::from)?)
            }
        };
        let mut handles = self.handles.borrow_mut();
        handles.push_back((key.clone(), file.clone()));
        if handles.len() > self.handles_max {
            handles.pop_front();
        }
        Ok(file)
    }

    /// Files of this name belong to another topic from now on, or to none.
    pub fn forget(&self, name: &str) {
        self.handles.borrow_mut().retain(|((known, _), _)| &**known != name);
        self.next.borrow_mut().retain(|next| &*next.segment.0 != name);
    }
}

/// How much to read for the next answer, if its batches are about as large as those of this one, of which one at least was found:
/// a batch that does not fit into the answer would be read twice.
fn ahead_bytes(found: &Found, bytes_max: usize, read_max: usize) -> usize {
    let answered = found.end - found.start;
    assert!(answered > 0);
    let bytes = if found.next_bytes <= bytes_max { answered.max(found.next_bytes) } else { answered };
    (bytes + bytes / AHEAD_SLACK_SHARE).min(read_max.max(answered))
}

/// The position at or before an offset by a segment's `.index` (u32 relative last offset of a batch, u32 position of it).
fn position_of(index: &[u8], offset: u32) -> u32 {
    let (entries, _) = index.as_chunks::<8>();
    let number = |b: &[u8]| u32::from_be_bytes(b.try_into().expect("4 bytes"));
    match entries.partition_point(|entry| number(&entry[..4]) <= offset) {
        0 => 0,
        after => number(&entries[after - 1][4..]),
    }
}

/// The relative offset from which on a segment's records may have `timestamp` or a later one, by its `.timeindex` (i64 largest
/// timestamp, u32 last offset of the batch that has it).
fn after_older(index: &[u8], timestamp: TimestampMs) -> u32 {
    let (entries, _) = index.as_chunks::<12>();
    let time = |entry: &[u8; 12]| i64::from_be_bytes(entry[..8].try_into().expect("8 bytes"));
    match entries.partition_point(|entry| time(entry) < timestamp) {
        0 => 0,
        after => u32::from_be_bytes(entries[after - 1][8..].try_into().expect("4 bytes")).saturating_add(1),
    }
}

fn segment_path(root: &Path, name: &str, segment: Offset) -> PathBuf {
    root.join(name).join(file_stem(segment)).with_extension("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_files_lead_close() {
        let index: Vec<u8> = [[10u32, 4096], [20, 9000]].iter().flatten().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!([9, 10, 19, 20, 99].map(|offset| position_of(&index, offset)), [0, 4096, 4096, 9000, 9000]);
        let times: Vec<u8> = [(1000i64, 7u32), (2000, 12)]
            .iter()
            .flat_map(|(time, offset)| [&time.to_be_bytes()[..], &offset.to_be_bytes()].concat())
            .collect();
        assert_eq!([0, 1000, 1001, 2000, 2001].map(|time| after_older(&times, time)), [0, 0, 8, 8, 13]);
    }

    #[test]
    fn what_does_not_fit_into_an_answer_is_not_read_ahead() {
        let found = |end, next_bytes| Found { start: 0, end, offset_end: 9, next_bytes };
        let third = 300 << 10;
        let fits = ahead_bytes(&found(3 * third, 4 * third), 1 << 20, 1 << 20);
        assert!((3 * third..4 * third).contains(&fits), "three batches and some slack, not the fourth");
        let cut = ahead_bytes(&found(2 * third, 3 * third), 1 << 20, 1 << 20);
        assert!(cut > 3 * third, "the third was cut off, and fits");
        assert_eq!(ahead_bytes(&found(third, 0), 1000, 4096), third, "each is larger than an answer");
    }
}
