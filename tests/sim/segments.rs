//! What a core does with partitions' files: carries out the machines of `log/`, a step at a time, with files that stay what
//! they are while their names change.

use crate::device::Refusal;
use crate::disk::{Disk, Handle, Stamp, resize};
use bytes::Bytes;
use klamm::log::appender::{Appender, CloseStep, PAGE_BYTES};
use klamm::log::directory::{
    Directories, PARTITION_METADATA, Whose, deleted_name, partition_metadata, stray_name, whose,
};
use klamm::log::handles::{Handles, Opening};
use klamm::log::reading::{ReadAhead, Reading, SegmentFile, SegmentKey};
use klamm::log::{Close, Flush, SegmentId};
use klamm::shard::ReadPlan;
use klamm::shard::store::LogIndex;
use klamm::types::{PartitionId, Uuid};
use std::collections::VecDeque;

/// Files that stay open: few, so that they are often closed and opened again.
const HANDLES_MAX: usize = 3;

/// What one core of a process has open and knows of its directories.
pub struct Files {
    directories: Directories<LogIndex>,
    /// Segments that are written, the least recently used first.
    appending: VecDeque<(LogIndex, Appending)>,
    handles: Handles<Handle>,
    ahead: ReadAhead<Block>,
}

struct Appending {
    appender: Appender,
    file: Handle,
}

/// A block that is read ahead: at once, or when somebody asks for it.
enum Block {
    Read(Bytes),
    Later(Handle, usize, usize),
}

impl Files {
    pub fn new() -> Files {
        Files {
            directories: Directories::default(),
            appending: VecDeque::new(),
            handles: Handles::new(HANDLES_MAX),
            ahead: ReadAhead::default(),
        }
    }

    /// Work on the log's files is handed out; says whether it may do anything.
    pub fn enter(&mut self, log: LogIndex) -> bool {
        self.directories.enter(log)
    }

    pub fn leave(&mut self, log: LogIndex) {
        self.directories.leave(log);
    }

    pub fn forsake(&mut self, log: LogIndex) {
        self.directories.forsake(log);
    }

    /// Files are removed: those of a segment of the partition, or all.
    pub fn forget(&mut self, partition: PartitionId, segment: Option<SegmentId>) {
        self.handles.forget(partition, segment);
        self.ahead.forget(partition, segment);
    }

    fn take_appending(&mut self, log: LogIndex) -> Option<Appending> {
        let at = self.appending.iter().position(|(known, _)| *known == log)?;
        self.appending.remove(at).map(|(_, appending)| appending)
    }
}

fn path(dir: &str, file: SegmentFile, segment: SegmentId) -> String {
    format!("{dir}/{}", file.name(segment))
}

/// Whose a directory is, which need not be there.
pub fn whose_dir(disk: &Disk, dir: &str, topic: Uuid) -> Whose {
    whose(disk.read(&format!("{dir}/{PARTITION_METADATA}")).unwrap_or_default(), topic)
}

/// Batches on their way to a segment.
pub struct SegmentWrite {
    pub dir: String,
    pub topic: Uuid,
    pub segment_bytes: u32,
    pub flush: Flush,
    stage: Stage,
}

enum Stage {
    Begun,
    Closed,
    Owned,
    Open(Appending),
    Grown(Appending),
    Writing { appending: Appending, pages: Vec<u8>, stamp: Stamp },
}

/// The disk has refused it.
pub struct Failed;

impl SegmentWrite {
    pub fn new(dir: String, topic: Uuid, segment_bytes: u32, flush: Flush) -> SegmentWrite {
        SegmentWrite { dir, topic, segment_bytes, flush, stage: Stage::Begun }
    }

    /// Makes the directory, or finds that it is the topic's. Another topic's goes out of the way; the rest is another step.
    fn own(&self, log: LogIndex, files: &mut Files, disk: &mut Disk, no: Refusal) -> Result<Stage, Failed> {
        no.space()?;
        match whose_dir(disk, &self.dir, self.topic) {
            Whose::Anothers => {
                disk.rename(&self.dir, &stray_name(&self.dir, self.topic));
                disk.sync_names();
                return Ok(Stage::Closed);
            }
            Whose::Nobodys => {
                let content = partition_metadata(self.topic);
                disk.write_file(&format!("{}/{PARTITION_METADATA}", self.dir), content.as_bytes());
            }
            Whose::Ours => {}
        }
        files.directories.own(log);
        Ok(Stage::Owned)
    }

    /// One step; true after the last one.
    pub fn step(&mut self, log: LogIndex, files: &mut Files, disk: &mut Disk, no: Refusal) -> Result<bool, Failed> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Begun) {
            Stage::Begun => match files.take_appending(log) {
                Some(known) if known.appender.is_for(&self.flush) => Stage::Open(known),
                _ => Stage::Closed,
            },
            Stage::Closed if files.directories.is_owned(log) => Stage::Owned,
            Stage::Closed => self.own(log, files, disk, no)?,
            Stage::Owned => {
                no.anything()?;
                let path = path(&self.dir, SegmentFile::Log, self.flush.segment);
                disk.create(&path);
                if self.flush.cut {
                    disk.set_length(&path, self.flush.position as usize);
                }
                let file = disk.open(&path).expect("it was just made");
                let (end, allocated) = (u64::from(self.flush.position), disk.content(file).len() as u64);
                Stage::Open(Appending { appender: Appender::new(self.flush.segment, end, allocated), file })
            }
            Stage::Open(mut appending) => {
                let Appending { appender, file } = &mut appending;
                match appender.want() {
                    Some((position, _)) => {
                        no.anything()?;
                        let page = disk.content_at(*file, position as usize, PAGE_BYTES as usize);
                        appender.feed(page).expect("the segment is as long as known");
                        Stage::Open(appending)
                    }
                    None => {
                        let plan = appender.plan(&self.flush, self.segment_bytes);
                        if let Some(bytes) = plan.grow {
                            no.space()?;
                            disk.extend(*file, bytes as usize);
                            appender.grown(bytes);
                        }
                        Stage::Grown(appending)
                    }
                }
            }
            Stage::Grown(appending) => {
                no.anything()?;
                let Appending { appender, file } = &appending;
                let plan = appender.plan(&self.flush, self.segment_bytes);
                assert_eq!(plan.grow, None, "there is room");
                let mut pages = [appender.head(), &self.flush.parts.concat()].concat();
                resize(&mut pages, plan.bytes);
                let stamp = disk.put(*file, plan.position as usize, pages.clone());
                Stage::Writing { appending, pages, stamp }
            }
            Stage::Writing { mut appending, pages, stamp } => {
                // What was sent to the device may reach it, whatever is said of it.
                no.anything()?;
                disk.done(appending.file, stamp);
                appending.appender.written(&self.flush, &pages);
                files.appending.push_back((log, appending));
                if files.appending.len() > HANDLES_MAX {
                    files.appending.pop_front();
                }
                return Ok(true);
            }
        };
        Ok(false)
    }
}

/// One step of closing a segment; true after the last one.
pub fn close(
    dir: &str,
    (log, topic): (LogIndex, Uuid),
    close: &Close,
    step: usize,
    (files, disk): (&mut Files, &mut Disk),
    no: Refusal,
) -> Result<bool, Failed> {
    if step == 1 {
        let known =
            files.appending.iter().position(|(of, state)| *of == log && state.appender.segment() == close.segment);
        known.map(|at| files.appending.remove(at));
        no.anything()?;
        assert_ne!(whose_dir(disk, dir, topic), Whose::Anothers, "{dir} is in use");
        return Ok(false);
    }
    let steps = close.steps();
    match &steps[step - 2] {
        CloseStep::Cut(bytes) => {
            no.anything()?;
            let path = path(dir, SegmentFile::Log, close.segment);
            let length = disk.read(&path).map(<[u8]>::len).expect("the segment's file is there") as u64;
            assert!(length >= *bytes, "{path} has {length} bytes, it is closed with {bytes}");
            disk.set_length(&path, *bytes as usize);
        }
        CloseStep::Write(file, content) => {
            no.space()?;
            disk.write_file(&path(dir, *file, close.segment), content);
        }
    }
    Ok(step == steps.len() + 1)
}

/// One step of removing a segment; true after the last one.
pub fn remove(
    dir: &str,
    topic: Uuid,
    segment: SegmentId,
    step: usize,
    disk: &mut Disk,
    no: Refusal,
) -> Result<bool, Failed> {
    no.anything()?;
    if whose_dir(disk, dir, topic) == Whose::Anothers {
        return Err(Failed);
    }
    disk.unlink(&path(dir, SegmentFile::ALL[step - 1], segment));
    Ok(step == SegmentFile::ALL.len())
}

/// One step of taking a deleted partition's directory out of the way; then the files that are to be removed.
pub fn aside(
    dir: &str,
    (log, topic): (LogIndex, Uuid),
    renamed: &mut Option<String>,
    (files, disk): (&mut Files, &mut Disk),
    no: Refusal,
) -> Result<Option<Vec<String>>, Failed> {
    if !files.directories.is_unused(log) {
        return Ok(None);
    }
    files.take_appending(log);
    if let Some(aside) = renamed {
        no.anything()?;
        disk.sync_names();
        files.directories.gone(log);
        return Ok(Some(disk.list(aside)));
    }
    no.anything()?;
    if disk.list(dir).is_empty() || whose_dir(disk, dir, topic) == Whose::Anothers {
        files.directories.gone(log);
        return Ok(Some(Vec::new()));
    }
    let aside = deleted_name(dir, topic);
    disk.rename(dir, &aside);
    *renamed = Some(aside);
    Ok(None)
}

/// A read of older batches.
pub struct SegmentRead {
    pub plan: ReadPlan,
    stage: ReadStage,
}

enum ReadStage {
    Begun,
    Opened(Opening, Handle),
    Reading { file: Handle, reading: Reading, index: Option<(SegmentFile, Handle)> },
}

impl SegmentRead {
    pub fn new(plan: ReadPlan) -> SegmentRead {
        SegmentRead { plan, stage: ReadStage::Begun }
    }

    /// One step; after the last one the batches, none if the segment has none. `at_once`: what is read ahead is read now.
    pub fn step(
        &mut self,
        files: &mut Files,
        disk: &Disk,
        no: Refusal,
        at_once: bool,
    ) -> Result<Option<Vec<Bytes>>, Failed> {
        no.anything()?;
        let ReadPlan { partition, name, read, offset, bytes_max } = &self.plan;
        let key = SegmentKey { partition: *partition, segment: read.segment };
        let open = |file: SegmentFile| disk.open(&path(name, file, read.segment)).ok_or(Failed);
        let own = |file: Handle| match whose_dir(disk, name, partition.topic) {
            Whose::Anothers => Err(Failed),
            Whose::Ours | Whose::Nobodys => Ok(file),
        };
        let begin = |files: &mut Files, file: Handle| {
            let (mut reading, known) = files.ahead.begin(*partition, read.clone(), *offset, *bytes_max);
            if let Some(block) = known {
                let bytes = match block {
                    Block::Read(bytes) => bytes,
                    Block::Later(file, position, bytes) => {
                        Bytes::copy_from_slice(disk.content_at(file, position, bytes))
                    }
                };
                reading.feed(bytes).map_err(|_| Failed)?;
            }
            Ok(ReadStage::Reading { file, reading, index: None })
        };
        self.stage = match std::mem::replace(&mut self.stage, ReadStage::Begun) {
            ReadStage::Begun => match files.handles.get(key) {
                Some(file) => begin(files, file)?,
                None => ReadStage::Opened(files.handles.opening(), open(SegmentFile::Log)?),
            },
            ReadStage::Opened(opening, file) => {
                // Not before: the file is the topic's if its directory is afterwards.
                files.handles.keep(opening, key, own(file)?);
                begin(files, file)?
            }
            ReadStage::Reading { file, mut reading, mut index } => match reading.want() {
                Some(want) => {
                    let from = match want.file {
                        SegmentFile::Log => file,
                        kind => match index.filter(|(known, _)| *known == kind) {
                            Some((_, open)) => open,
                            None => index.insert((kind, own(open(kind)?)?)).1,
                        },
                    };
                    let bytes = Bytes::copy_from_slice(disk.content_at(from, want.position as usize, want.bytes));
                    reading.feed(bytes).map_err(|_| Failed)?;
                    ReadStage::Reading { file, reading, index }
                }
                None => {
                    let Some((bytes, ahead)) = reading.finish() else { return Ok(Some(Vec::new())) };
                    if let Some(next) = ahead {
                        let (position, length) = (next.position as usize, next.bytes);
                        let block = match at_once {
                            true => Block::Read(Bytes::copy_from_slice(disk.content_at(file, position, length))),
                            false => Block::Later(file, position, length),
                        };
                        files.ahead.put(key, next, block);
                    }
                    return Ok(Some(vec![bytes]));
                }
            },
        };
        Ok(None)
    }
}
