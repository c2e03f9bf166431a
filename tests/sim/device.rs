//! What the shell does with its files, step by step on the simulated disk, so that a crash can come between any two steps.

use crate::disk::{Disk, Stamp, resize};
use crate::node::Slow;
use bytes::Bytes;
use klamm::journal::ALIGNMENT;
use klamm::log::{Close, FILE_ENDINGS, Flush, SegmentId, scan};
use klamm::metadata::{Part, Write, Written, file_name};
use klamm::shard::ReadPlan;
use klamm::shard::port::Reader;
use klamm::shard::store::{DiskOp, Done, LogIndex};
use klamm::types::PartitionId;
use std::sync::Arc;

/// A segment file grows at least by this much at a time.
const GROWTH_BYTES: usize = 64 << 10;

pub enum Work {
    Disk(DiskOp),
    Read { reader: Reader, plan: ReadPlan },
    MetadataWrite(Write),
    MetadataSnapshot(Part),
    PartitionRemove { log: LogIndex, name: Arc<str>, partition: PartitionId },
    GroupCheckpointRead { log: LogIndex, name: Arc<str> },
    GroupCheckpointWrite { log: LogIndex, name: Arc<str>, bytes: Vec<u8> },
    Unlink(Vec<String>),
}

/// What a core is told when the work is done.
pub enum Outcome {
    Disk(Done),
    Read { reader: Reader, data: Option<Vec<Bytes>> },
    MetadataWritten { written: Written },
    MetadataSnapshotted { ok: bool },
    PartitionRemoved { log: LogIndex, rest: Vec<String> },
    GroupCheckpoint { log: LogIndex, bytes: Option<Vec<u8>> },
    GroupCheckpointWritten { log: LogIndex },
    Nothing,
}

pub struct Job {
    pub core: u16,
    cores: u16,
    pub work: Work,
    /// The log's files belong to nobody any more.
    pub removed: bool,
    step: usize,
    stamp: Stamp,
}

pub fn journal_path(core: u16, file: u32) -> String {
    format!("journal/{core:02}/{file:06}.journal")
}

/// As one of so many cores.
fn checkpoint_path(core: u16, cores: u16) -> String {
    format!("checkpoint-{core:02}-{cores:02}")
}

fn group_checkpoint_path(name: &str) -> String {
    format!("{name}/group.checkpoint")
}

fn segment_path(name: &str, segment: SegmentId, ending: &str) -> String {
    format!("{name}/{}", segment.file_name(ending))
}

impl Job {
    pub fn new(core: u16, cores: u16, work: Work) -> Job {
        Job { core, cores, work, removed: false, step: 0, stamp: 0 }
    }

    pub fn is_slow(&self, slow: Slow) -> bool {
        let Work::Disk(op) = &self.work else { return false };
        match op {
            DiskOp::JournalWrite(_) => slow == Slow::Journal,
            DiskOp::JournalPrepare { .. } => false,
            _ => slow == Slow::Segments,
        }
    }

    pub fn label(&self) -> String {
        match &self.work {
            Work::Disk(DiskOp::JournalWrite(write)) => {
                let parts = write.parts.iter().map(Bytes::len).sum::<usize>();
                format!("journal block {} file {} at {} ({parts})", write.sequence, write.file, write.position)
            }
            Work::Disk(DiskOp::JournalPrepare { file, .. }) => format!("journal prepare {file}"),
            Work::Disk(DiskOp::SegmentWrite { name, flush, .. }) => {
                let Flush { segment, position, bytes, offset_end, .. } = flush;
                format!("segment {name}/{segment} at {position} ({bytes}) to offset {offset_end}")
            }
            Work::Disk(DiskOp::SegmentClose { name, close, .. }) => format!("close {name}/{}", close.segment),
            Work::Disk(DiskOp::Sync) => "sync".into(),
            Work::Disk(DiskOp::Checkpoint(bytes)) => format!("checkpoint ({})", bytes.len()),
            Work::Disk(DiskOp::SegmentRemove { name, segment, .. }) => format!("remove {name}/{segment}"),
            Work::Read { plan, .. } => format!("read {} from {} {:?}", plan.name, plan.offset, plan.read),
            Work::MetadataWrite(Write::Begin { file, .. }) => format!("metadata begins {file}"),
            Work::MetadataWrite(Write::Grow { to, .. }) => format!("metadata grows to {to}"),
            Work::MetadataWrite(Write::Append { position, .. }) => format!("metadata at {position}"),
            Work::MetadataSnapshot(_) => "metadata snapshot".into(),
            Work::PartitionRemove { name, .. } => format!("aside {name}"),
            Work::GroupCheckpointRead { name, .. } => format!("read checkpoint of {name}"),
            Work::GroupCheckpointWrite { name, bytes, .. } => format!("write checkpoint of {name} ({})", bytes.len()),
            Work::Unlink(names) => format!("unlink {names:?}"),
        }
    }

    /// The next step; says what came of the work when that was the last one. `fault`: the device fails now.
    pub fn advance(&mut self, disk: &mut Disk, fault: bool) -> Option<Outcome> {
        self.step += 1;
        let (core, step) = (self.core, self.step);
        match &mut self.work {
            Work::Disk(op) => disk_op(op, (core, self.cores), step, &mut self.stamp, self.removed, disk, fault),
            Work::Read { reader, plan } => Some(Outcome::Read { reader: *reader, data: read(disk, plan) }),
            Work::MetadataWrite(write) => {
                let ended = metadata_write(write, step, &mut self.stamp, disk);
                ended.then_some(Outcome::MetadataWritten { written: Written::Synced })
            }
            Work::MetadataSnapshot(part) => {
                metadata_part(part, step, disk).then_some(Outcome::MetadataSnapshotted { ok: true })
            }
            Work::PartitionRemove { log, name, partition } => {
                let topic = partition.topic;
                let aside = format!("{name}.{topic}-delete");
                if !disk.list(name).is_empty() {
                    disk.rename(name, &aside);
                }
                Some(Outcome::PartitionRemoved { log: *log, rest: disk.list(&aside) })
            }
            Work::GroupCheckpointRead { log, name } => {
                let bytes = disk.read(&group_checkpoint_path(name)).map(<[u8]>::to_vec);
                Some(Outcome::GroupCheckpoint { log: *log, bytes })
            }
            Work::GroupCheckpointWrite { log, name, bytes } => {
                // Without a directory there is nowhere to write it; a failure is nobody's concern.
                let written =
                    fault || disk.list(name).is_empty() || replace(disk, &group_checkpoint_path(name), bytes, step);
                written.then_some(Outcome::GroupCheckpointWritten { log: *log })
            }
            Work::Unlink(names) => match names.pop() {
                Some(name) => {
                    disk.unlink(&name);
                    None
                }
                None => Some(Outcome::Nothing),
            },
        }
    }
}

pub fn metadata_path(file: u64) -> String {
    format!("metadata/{}", file_name(file))
}

/// One step; says whether it was the last.
pub fn metadata_write(write: &Write, step: usize, stamp: &mut Stamp, disk: &mut Disk) -> bool {
    let (Write::Begin { file, .. } | Write::Grow { file, .. } | Write::Append { file, .. }) = write;
    let path = metadata_path(*file);
    match (write, step) {
        (Write::Begin { bytes, room, .. }, 1) => {
            disk.create(&path);
            disk.set_length(&path, *room as usize);
            *stamp = disk.write(&path, 0, bytes.clone());
        }
        (Write::Grow { to, .. }, 1) => disk.grow(&path, *to as usize),
        (Write::Append { position, bytes, .. }, 1) => *stamp = disk.write(&path, *position as usize, bytes.clone()),
        (_, 2) => {
            disk.written(&path, *stamp);
            disk.sync_file(&path);
        }
        (Write::Begin { remove, .. }, step) if step - 3 < remove.len() => {
            disk.unlink(&metadata_path(remove[step - 3]));
        }
        _ => return true,
    }
    false
}

fn metadata_part(part: &Part, step: usize, disk: &mut Disk) -> bool {
    const TEMPORARY: &str = "metadata/snapshot.tmp";
    match step {
        1 => {
            if part.position == 0 {
                disk.unlink(TEMPORARY);
                disk.create(TEMPORARY);
            }
            let stamp = disk.write(TEMPORARY, part.position as usize, part.bytes.clone());
            disk.written(TEMPORARY, stamp);
            return !part.last;
        }
        2 => disk.sync_file(TEMPORARY),
        3 => disk.rename(TEMPORARY, "metadata/snapshot"),
        _ => disk.sync_file("metadata/snapshot"),
    }
    step == 4
}

// long: one arm for each operation.
fn disk_op(
    op: &mut DiskOp,
    (core, cores): (u16, u16),
    step: usize,
    stamp: &mut Stamp,
    removed: bool,
    disk: &mut Disk,
    fault: bool,
) -> Option<Outcome> {
    let (well, badly) = (Some(Outcome::Disk(op.done(true))), Some(Outcome::Disk(op.done(false))));
    match op {
        DiskOp::JournalWrite(write) => {
            let path = journal_path(core, write.file);
            if step == 1 {
                let mut bytes = write.parts.concat();
                assert!(bytes.len() <= write.bytes && write.bytes.is_multiple_of(ALIGNMENT));
                resize(&mut bytes, write.bytes);
                *stamp = disk.write(&path, write.position as usize, bytes);
                return if fault { badly } else { None };
            }
            disk.written(&path, *stamp);
            disk.sync_file(&path);
            return well;
        }
        DiskOp::JournalPrepare { file, bytes } => {
            let path = journal_path(core, *file);
            if fault {
                // It has failed, so nothing of it reaches the file later, and the file is removed.
                disk.unlink(&path);
                return badly;
            }
            match step {
                1 => disk.create(&path),
                2 => disk.grow(&path, *bytes as usize),
                3 => *stamp = disk.write(&path, 0, vec![0; *bytes as usize]),
                _ => {
                    disk.written(&path, *stamp);
                    disk.sync_file(&path);
                    return well;
                }
            }
            return None;
        }
        DiskOp::SegmentWrite { .. } if removed => return well,
        DiskOp::SegmentWrite { name, flush, .. } => {
            let path = segment_path(name, flush.segment, "log");
            if step == 1 {
                disk.create(&path);
                if fault {
                    return badly;
                }
                *stamp = segment_write(disk, &path, flush);
                return None;
            }
            disk.written(&path, *stamp);
        }
        DiskOp::SegmentClose { name, close, .. } => {
            if !removed && !fault && !segment_close(disk, name, close, step) {
                return None;
            }
        }
        DiskOp::Sync => {
            if step == 1 {
                *stamp = disk.now();
                return None;
            }
            if !fault {
                disk.sync_all(*stamp);
            }
        }
        DiskOp::Checkpoint(bytes) => {
            if !fault && !replace(disk, &checkpoint_path(core, cores), bytes, step) {
                return None;
            }
        }
        DiskOp::SegmentRemove { name, segment, .. } => {
            if let Some(ending) = FILE_ENDINGS.get(step - 1).filter(|_| !removed && !fault) {
                disk.unlink(&segment_path(name, *segment, ending));
                return None;
            }
        }
    }
    if fault { badly } else { well }
}

/// Direct I/O: whole pages, the first of them with what it holds already.
fn segment_write(disk: &mut Disk, path: &str, flush: &Flush) -> Stamp {
    let position = flush.position as usize;
    let start = position / ALIGNMENT * ALIGNMENT;
    let head = disk.read_at(path, start, position - start).expect("the file is there").to_vec();
    assert_eq!(head.len(), position - start, "{path} is shorter than known: nothing precedes {position}");
    let mut bytes = [&head[..], &flush.parts.concat()].concat();
    assert_eq!(bytes.len(), head.len() + flush.bytes);
    let whole = bytes.len().next_multiple_of(ALIGNMENT);
    resize(&mut bytes, whole);
    disk.grow(path, (start + bytes.len()).next_multiple_of(GROWTH_BYTES));
    disk.write(path, start, bytes)
}

fn segment_close(disk: &mut Disk, name: &str, close: &Close, step: usize) -> bool {
    match step {
        1 => {
            let path = segment_path(name, close.segment, "log");
            let length = disk.read(&path).map(<[u8]>::len).expect("the segment's file is there");
            assert!(length >= close.bytes as usize, "{path} has {length} bytes, it is closed with {}", close.bytes);
            disk.set_length(&path, close.bytes as usize);
        }
        2 => disk.write_file(&segment_path(name, close.segment, "index"), &close.index),
        _ => disk.write_file(&segment_path(name, close.segment, "timeindex"), &close.timeindex),
    }
    step == 3
}

/// A new file in the place of an old one; true after the last step.
fn replace(disk: &mut Disk, path: &str, bytes: &[u8], step: usize) -> bool {
    let temporary = format!("{path}.tmp");
    match step {
        1 => disk.write_file(&temporary, bytes),
        2 => disk.sync_file(&temporary),
        3 => disk.rename(&temporary, path),
        _ => disk.sync_file(path),
    }
    step == 4
}

/// Whole batches from the one that holds the plan's offset on; `None` if the files do not have them.
fn read(disk: &Disk, plan: &ReadPlan) -> Option<Vec<Bytes>> {
    let read = &plan.read;
    let mut position = read.position;
    if read.indexed && plan.offset != read.segment.base {
        let path = segment_path(&plan.name, read.segment, "index");
        let index = disk.read(&path)?;
        for entry in index.as_chunks::<8>().0 {
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            if i64::from(number(&entry[..4])) <= plan.offset - read.segment.base {
                position = position.max(number(&entry[4..])).min(read.position_end);
            }
        }
    }
    let path = segment_path(&plan.name, read.segment, "log");
    let wanted = (read.position_end - position) as usize;
    let bytes = disk.read_at(&path, position as usize, wanted).filter(|bytes| bytes.len() == wanted)?;
    let found = scan::find(bytes, plan.offset, plan.bytes_max)?;
    let some = found.end > found.start;
    Some(if some { vec![Bytes::copy_from_slice(&bytes[found.start..found.end])] } else { Vec::new() })
}
