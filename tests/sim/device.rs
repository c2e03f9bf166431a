//! What the shell does with its files, step by step on the simulated disk, so that a crash or a refusal can come between any
//! two steps.

use crate::disk::{Disk, Stamp, resize};
use crate::node::Slow;
use crate::segments::{self, Failed, Files, SegmentRead, SegmentWrite, whose_dir};
use bytes::Bytes;
use klamm::journal::ALIGNMENT;
use klamm::log::directory::Whose;
use klamm::log::{Close, Flush, SegmentId};
use klamm::metadata::{Part, Write, Written, file_name};
use klamm::shard::checkpoint;
use klamm::shard::port::Reader;
use klamm::shard::store::{DiskOp, Done, LogIndex};
use klamm::types::{PartitionId, Uuid};
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;

/// What the disk refuses just then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Nothing,
    /// It is full.
    Space,
    Everything,
}

impl Refusal {
    /// A step that needs space.
    pub fn space(self) -> Result<(), Failed> {
        if self == Refusal::Nothing { Ok(()) } else { Err(Failed) }
    }

    /// A step that needs none.
    pub fn anything(self) -> Result<(), Failed> {
        if self == Refusal::Everything { Err(Failed) } else { Ok(()) }
    }
}

pub enum Work {
    JournalWrite(klamm::journal::BlockWrite),
    JournalPrepare { file: u32, bytes: u64 },
    SegmentWrite { log: LogIndex, write: SegmentWrite },
    SegmentClose { log: LogIndex, dir: Arc<str>, topic: Uuid, close: Close },
    SegmentRemove { log: LogIndex, dir: Arc<str>, partition: PartitionId, segment: SegmentId },
    Sync,
    Checkpoint(Vec<u8>),
    Read { reader: Reader, read: SegmentRead },
    MetadataWrite(Write),
    MetadataSnapshot(Part),
    PartitionRemove { log: LogIndex, dir: Arc<str>, partition: PartitionId, renamed: Option<String> },
    GroupCheckpointRead { log: LogIndex, dir: Arc<str>, topic: Uuid },
    GroupCheckpointWrite { log: LogIndex, dir: Arc<str>, topic: Uuid, bytes: Vec<u8> },
    Unlink(Vec<String>),
}

impl From<DiskOp> for Work {
    fn from(op: DiskOp) -> Work {
        match op {
            DiskOp::JournalWrite(write) => Work::JournalWrite(write),
            DiskOp::JournalPrepare { file, bytes } => Work::JournalPrepare { file, bytes },
            DiskOp::SegmentWrite { log, name, topic, segment_bytes, flush } => {
                Work::SegmentWrite { log, write: SegmentWrite::new(name.to_string(), topic, segment_bytes, flush) }
            }
            DiskOp::SegmentClose { log, name, topic, close } => Work::SegmentClose { log, dir: name, topic, close },
            DiskOp::Sync => Work::Sync,
            DiskOp::Checkpoint(bytes) => Work::Checkpoint(bytes),
            DiskOp::SegmentRemove { log, name, partition, segment } => {
                Work::SegmentRemove { log, dir: name, partition, segment }
            }
        }
    }
}

/// What a core is told when the work is done, or has failed.
pub enum Outcome {
    Disk(Done),
    Read {
        reader: Reader,
        data: Option<Vec<Bytes>>,
    },
    MetadataWritten {
        written: Written,
    },
    MetadataSnapshotted {
        ok: bool,
    },
    /// These files are to be removed, unless it has failed: then it is tried again.
    PartitionRemoved {
        log: LogIndex,
        partition: PartitionId,
        rest: Option<Vec<String>>,
    },
    SegmentRemoved {
        done: Done,
        partition: PartitionId,
        segment: SegmentId,
    },
    GroupCheckpoint {
        log: LogIndex,
        bytes: Option<Vec<u8>>,
    },
    GroupCheckpointWritten {
        log: LogIndex,
    },
    Nothing,
}

pub struct Job {
    pub core: u16,
    cores: u16,
    pub work: Work,
    /// The log is not forsaken: something may be done.
    entered: bool,
    step: usize,
    stamp: Stamp,
}

pub fn journal_path(core: u16, file: u32) -> String {
    format!("journal/{core:02}/{file:06}.journal")
}

/// What a coordinator's checkpoint is called in the directory of its partition.
pub const GROUP_CHECKPOINT: &str = "group.checkpoint";

fn group_checkpoint_path(name: &str) -> String {
    format!("{name}/{GROUP_CHECKPOINT}")
}

impl Job {
    pub fn new(core: u16, cores: u16, work: Work, files: &mut Files) -> Job {
        let mut job = Job { core, cores, work, entered: true, step: 0, stamp: 0 };
        if let Some(log) = job.log() {
            job.entered = files.enter(log);
        }
        job
    }

    /// The log whose files the work is on, as long as they are its own.
    fn log(&self) -> Option<LogIndex> {
        match &self.work {
            Work::SegmentWrite { log, .. } | Work::SegmentClose { log, .. } | Work::SegmentRemove { log, .. } => {
                Some(*log)
            }
            _ => None,
        }
    }

    pub fn is_slow(&self, slow: Slow) -> bool {
        match &self.work {
            Work::JournalWrite(_) => slow == Slow::Journal,
            Work::SegmentWrite { .. } | Work::SegmentClose { .. } | Work::SegmentRemove { .. } => {
                slow == Slow::Segments
            }
            Work::Sync | Work::Checkpoint(_) => slow == Slow::Segments,
            _ => false,
        }
    }

    pub fn label(&self) -> String {
        match &self.work {
            Work::JournalWrite(write) => {
                let parts = write.parts.iter().map(Bytes::len).sum::<usize>();
                format!("journal block {} file {} at {} ({parts})", write.sequence, write.file, write.position)
            }
            Work::JournalPrepare { file, .. } => format!("journal prepare {file}"),
            Work::SegmentWrite { write, .. } => {
                let Flush { segment, position, bytes, offset_end, .. } = &write.flush;
                format!("segment {}/{segment} at {position} ({bytes}) to offset {offset_end}", write.dir)
            }
            Work::SegmentClose { dir, close, .. } => format!("close {dir}/{}", close.segment),
            Work::Sync => "sync".into(),
            Work::Checkpoint(bytes) => format!("checkpoint ({})", bytes.len()),
            Work::SegmentRemove { dir, segment, .. } => format!("remove {dir}/{segment}"),
            Work::Read { read, .. } => {
                format!("read {} from {} {:?}", read.plan.name, read.plan.offset, read.plan.read)
            }
            Work::MetadataWrite(Write::Begin { file, .. }) => format!("metadata begins {file}"),
            Work::MetadataWrite(Write::Grow { to, .. }) => format!("metadata grows to {to}"),
            Work::MetadataWrite(Write::Append { position, .. }) => format!("metadata at {position}"),
            Work::MetadataSnapshot(_) => "metadata snapshot".into(),
            Work::PartitionRemove { dir, .. } => format!("aside {dir}"),
            Work::GroupCheckpointRead { dir, .. } => format!("read checkpoint of {dir}"),
            Work::GroupCheckpointWrite { dir, bytes, .. } => format!("write checkpoint of {dir} ({})", bytes.len()),
            Work::Unlink(names) => format!("unlink {names:?}"),
        }
    }

    /// The next step; says what came of the work when that was the last one.
    pub fn advance(&mut self, files: &mut Files, disk: &mut Disk, no: Refusal, random: &mut StdRng) -> Option<Outcome> {
        self.step += 1;
        let outcome = self.carry_out(files, disk, no, random);
        if let (Some(_), Some(log)) = (&outcome, self.log()) {
            files.leave(log);
        }
        outcome
    }

    // long: one arm for each kind of work.
    fn carry_out(&mut self, files: &mut Files, disk: &mut Disk, no: Refusal, random: &mut StdRng) -> Option<Outcome> {
        let (core, step, entered) = (self.core, self.step, self.entered);
        // What was to be done, as far as it goes: its end, a failure, or a step of it.
        let ended = |result: Result<bool, Failed>| match result {
            Ok(false) => None,
            Ok(true) => Some(true),
            Err(Failed) => Some(false),
        };
        Some(match &mut self.work {
            Work::JournalWrite(write) => {
                let sequence = write.sequence;
                let ok = ended(journal_write(core, write, step, &mut self.stamp, disk, no))?;
                Outcome::Disk(Done::JournalWrite { sequence, ok })
            }
            Work::JournalPrepare { file, bytes } => {
                let path = journal_path(core, *file);
                let ok = ended(journal_prepare(&path, *bytes, step, &mut self.stamp, disk, no))?;
                Outcome::Disk(Done::JournalPrepare { file: *file, ok })
            }
            Work::SegmentWrite { log, write } => {
                let ok = if entered { ended(write.step(*log, files, disk, no))? } else { true };
                Outcome::Disk(Done::SegmentWrite { log: *log, offset_end: write.flush.offset_end, ok })
            }
            Work::SegmentClose { log, dir, topic, close } => {
                let mut closed = || segments::close(dir, (*log, *topic), close, step, (files, disk), no);
                let ok = if entered { ended(closed())? } else { true };
                Outcome::Disk(Done::SegmentClose { log: *log, segment: close.segment, ok })
            }
            Work::SegmentRemove { log, dir, partition, segment } => {
                let (log, partition, segment) = (*log, *partition, *segment);
                let mut removed = || segments::remove(dir, partition.topic, segment, step, disk, no);
                let ok = if entered { ended(removed())? } else { true };
                Outcome::SegmentRemoved { done: Done::SegmentRemove { log, segment, ok }, partition, segment }
            }
            Work::Sync => {
                if step == 1 {
                    self.stamp = disk.now();
                    return None;
                }
                let ok = no.anything().is_ok();
                if ok {
                    disk.sync_all(self.stamp);
                }
                Outcome::Disk(Done::Sync { ok })
            }
            Work::Checkpoint(bytes) => {
                let ok = ended(replace(disk, &checkpoint::file_name(core, self.cores), bytes, step, no))?;
                Outcome::Disk(Done::Checkpoint { ok })
            }
            Work::Read { reader, read } => {
                let data = match read.step(files, disk, no, random.random()) {
                    Ok(None) => return None,
                    Ok(Some(data)) => Some(data),
                    Err(Failed) => None,
                };
                Outcome::Read { reader: *reader, data }
            }
            Work::MetadataWrite(write) => {
                let written = metadata_write(write, step, &mut self.stamp, disk, no, random)?;
                Outcome::MetadataWritten { written }
            }
            Work::MetadataSnapshot(part) => {
                let ok = ended(metadata_part(part, step, disk, no))?;
                if !ok {
                    disk.unlink(METADATA_TEMPORARY);
                }
                Outcome::MetadataSnapshotted { ok }
            }
            Work::PartitionRemove { log, dir, partition, renamed } => {
                let (log, partition) = (*log, *partition);
                let rest = match segments::aside(dir, (log, partition.topic), renamed, (files, disk), no) {
                    Ok(None) => return None,
                    Ok(rest) => rest,
                    Err(Failed) => None,
                };
                Outcome::PartitionRemoved { log, partition, rest }
            }
            Work::GroupCheckpointRead { log, dir, topic } => {
                let ours = no.anything().is_ok() && whose_dir(disk, dir, *topic) == Whose::Ours;
                let bytes = disk.read(&group_checkpoint_path(dir)).filter(|_| ours).map(<[u8]>::to_vec);
                Outcome::GroupCheckpoint { log: *log, bytes }
            }
            Work::GroupCheckpointWrite { log, dir, topic, bytes } => {
                // Without a directory there is nowhere to write it; a failure is nobody's concern.
                if whose_dir(disk, dir, *topic) == Whose::Ours {
                    ended(replace(disk, &group_checkpoint_path(dir), bytes, step, no))?;
                }
                Outcome::GroupCheckpointWritten { log: *log }
            }
            Work::Unlink(names) => match names.pop() {
                Some(name) => {
                    disk.unlink(&name);
                    return None;
                }
                None => Outcome::Nothing,
            },
        })
    }
}

fn journal_write(
    core: u16,
    write: &klamm::journal::BlockWrite,
    step: usize,
    stamp: &mut Stamp,
    disk: &mut Disk,
    no: Refusal,
) -> Result<bool, Failed> {
    let path = journal_path(core, write.file);
    if step == 1 {
        let mut bytes = write.parts.concat();
        assert!(bytes.len() <= write.bytes && write.bytes.is_multiple_of(ALIGNMENT));
        resize(&mut bytes, write.bytes);
        *stamp = disk.write(&path, write.position as usize, bytes);
        // It may reach the disk all the same.
        return no.anything().map(|()| false);
    }
    disk.written(&path, *stamp);
    disk.sync_file(&path);
    Ok(true)
}

/// The file has its name once all of it is written.
fn journal_prepare(
    path: &str,
    bytes: u64,
    step: usize,
    stamp: &mut Stamp,
    disk: &mut Disk,
    no: Refusal,
) -> Result<bool, Failed> {
    let made = path.replace(".journal", ".tmp");
    if no.space().is_err() {
        // What there is of it takes up space that may be needed; with its name it is one like any other.
        disk.unlink(&made);
        return Err(Failed);
    }
    match step {
        1 => disk.create(&made),
        2 => disk.grow(&made, bytes as usize),
        3 => *stamp = disk.write(&made, 0, vec![0; bytes as usize]),
        4 => {
            disk.written(&made, *stamp);
            disk.sync_file(&made);
        }
        5 => disk.rename(&made, path),
        _ => disk.sync_names(),
    }
    Ok(step == 6)
}

pub fn metadata_path(file: u64) -> String {
    format!("metadata/{}", file_name(file))
}

/// One step; says what came of it after the last one.
pub fn metadata_write(
    write: &Write,
    step: usize,
    stamp: &mut Stamp,
    disk: &mut Disk,
    no: Refusal,
    random: &mut StdRng,
) -> Option<Written> {
    let (Write::Begin { file, .. } | Write::Grow { file, .. } | Write::Append { file, .. }) = write;
    let path = metadata_path(*file);
    // A file system that writes elsewhere may have no room for what is written again.
    let refused = match no {
        Refusal::Everything if random.random() => Some(Written::Failed),
        Refusal::Everything => Some(Written::Full),
        Refusal::Space if !matches!(write, Write::Append { .. }) => Some(Written::Full),
        _ => None,
    };
    if let Some(refused) = refused.filter(|_| step <= 2) {
        match write {
            Write::Begin { .. } => disk.unlink(&path),
            Write::Grow { from: end, .. } | Write::Append { position: end, .. } if refused == Written::Full => {
                disk.set_length(&path, *end as usize);
                disk.sync_file(&path);
            }
            _ => {}
        }
        return Some(refused);
    }
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
        _ => return Some(Written::Synced),
    }
    None
}

const METADATA_TEMPORARY: &str = "metadata/snapshot.tmp";

fn metadata_part(part: &Part, step: usize, disk: &mut Disk, no: Refusal) -> Result<bool, Failed> {
    match step {
        1 => {
            no.space()?;
            if part.position == 0 {
                disk.unlink(METADATA_TEMPORARY);
                disk.create(METADATA_TEMPORARY);
            }
            let stamp = disk.write(METADATA_TEMPORARY, part.position as usize, part.bytes.clone());
            disk.written(METADATA_TEMPORARY, stamp);
            return Ok(!part.last);
        }
        2 => {
            no.anything()?;
            disk.sync_file(METADATA_TEMPORARY);
        }
        3 => {
            no.anything()?;
            disk.rename(METADATA_TEMPORARY, "metadata/snapshot");
        }
        _ => disk.sync_file("metadata/snapshot"),
    }
    Ok(step == 4)
}

/// A new file in the place of an old one; true after the last step.
fn replace(disk: &mut Disk, path: &str, bytes: &[u8], step: usize, no: Refusal) -> Result<bool, Failed> {
    let temporary = format!("{path}.tmp");
    match step {
        1 => {
            no.space()?;
            disk.write_file(&temporary, bytes);
        }
        2 => {
            no.anything()?;
            disk.sync_file(&temporary);
        }
        3 => {
            no.anything()?;
            disk.rename(&temporary, path);
        }
        _ => {
            no.anything()?;
            disk.sync_names();
        }
    }
    Ok(step == 4)
}
