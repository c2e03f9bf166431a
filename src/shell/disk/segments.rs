//! Segments on their way to the disk: carries out what `log/appender.rs` plans.

use super::partitions::{check_owner, own_partition_dir};
use super::{Disk, blocking, close, copy_all, lock, patiently, plain, remove_file, write_all};
use crate::log::appender::{Appender, CloseStep, PAGE_BYTES, Truncated};
use crate::log::reading::SegmentFile;
use crate::log::{Close, Flush, SegmentId};
use crate::shard::store::LogIndex;
use crate::shell::blocking::Kind;
use crate::types::Uuid;
use glommio::io::{DmaFile, OpenOptions};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A segment file being appended to.
pub(super) struct Appending {
    appender: Appender,
    pub(super) file: Rc<DmaFile>,
    used: u64,
}

impl Disk {
    pub(super) async fn segment_write(
        &self,
        log: LogIndex,
        name: &str,
        topic: Uuid,
        limit: u32,
        flush: Flush,
    ) -> io::Result<()> {
        // One write of a log is under way at a time, so its state can be taken out meanwhile.
        let mut state = self.appending_file(log, name, topic, &flush).await?;
        let result = append(&mut state, limit, &flush).await;
        match result {
            Ok(()) => {
                self.clock.set(self.clock.get() + 1);
                state.used = self.clock.get();
                self.appending.borrow_mut().insert(log, state);
                self.close_unused();
            }
            Err(_) => close(state.file).await,
        }
        result
    }

    async fn appending_file(&self, log: LogIndex, name: &str, topic: Uuid, flush: &Flush) -> io::Result<Appending> {
        let (segment, end) = (flush.segment, u64::from(flush.position));
        let known = self.appending.borrow_mut().remove(&log);
        if let Some(state) = known {
            if state.appender.is_for(flush) {
                return Ok(state);
            }
            // The segment before is cut to its length by its own operation.
            close(state.file).await;
        }
        let dir = self.root.join(name);
        let path = dir.join(SegmentFile::Log.name(segment));
        if !self.directories.borrow().is_owned(log) {
            let dir = Arc::new(dir);
            patiently(async || {
                let dir = dir.clone();
                blocking(Kind::Files, move || own_partition_dir(&dir, topic)).await
            })
            .await?;
            self.directories.borrow_mut().own(log);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = patiently(async || options.dma_open(&path).await.map_err(plain)).await?;
        lock(&file).await?;
        if flush.cut {
            file.truncate(end).await.map_err(plain)?;
        }
        let allocated = file.file_size().await.map_err(plain)?;
        Ok(Appending { appender: Appender::new(segment, end, allocated), file: Rc::new(file), used: 0 })
    }

    fn close_unused(&self) {
        let mut appending = self.appending.borrow_mut();
        if appending.len() > self.handles_max {
            let oldest = appending.iter().min_by_key(|(_, state)| state.used).map(|(log, _)| *log);
            let state = appending.remove(&oldest.expect("there are some")).expect("it was just found");
            glommio::spawn_local(close(state.file)).detach();
        }
    }

    /// Cuts a closed segment to its length and writes its index files.
    pub(super) async fn segment_close(&self, log: LogIndex, name: &str, topic: Uuid, segment: Close) -> io::Result<()> {
        self.close_appending(log, segment.segment).await;
        let dir = self.root.join(name);
        blocking(Kind::Files, move || close_segment(&dir, topic, &segment)).await
    }

    /// The segment is not written any more.
    async fn close_appending(&self, log: LogIndex, segment: SegmentId) {
        let state = {
            let mut appending = self.appending.borrow_mut();
            match appending.get(&log) {
                Some(state) if state.appender.segment() == segment => appending.remove(&log),
                _ => None,
            }
        };
        if let Some(state) = state {
            close(state.file).await;
        }
    }

    /// At a clean stop: files end where their batches end.
    pub async fn cut_all(&self) -> io::Result<()> {
        let states: Vec<Appending> = self.appending.borrow_mut().drain().map(|(_, state)| state).collect();
        for state in states {
            state.file.truncate(state.appender.end()).await.map_err(plain)?;
            close(state.file).await;
        }
        Ok(())
    }

    pub(super) async fn segment_remove(
        &self,
        log: LogIndex,
        name: &str,
        topic: Uuid,
        segment: SegmentId,
    ) -> io::Result<()> {
        // Its space is free only when nobody has it open.
        self.close_appending(log, segment).await;
        let dir = self.root.join(name);
        blocking(Kind::Remove, move || {
            check_owner(&dir, topic)?;
            SegmentFile::ALL.iter().try_for_each(|file| remove_file(&dir.join(file.name(segment))))
        })
        .await
    }
}

async fn append(state: &mut Appending, limit: u32, flush: &Flush) -> io::Result<()> {
    let Appending { appender, file, .. } = state;
    if let Some((position, _)) = appender.want() {
        let page = file.read_at_aligned(position, PAGE_BYTES as usize).await.map_err(plain)?;
        let shorter = |Truncated| io::Error::other("the segment is shorter than known");
        appender.feed(&page).map_err(shorter)?;
    }
    let plan = appender.plan(flush, limit);
    if let Some(bytes) = plan.grow {
        file.pre_allocate(bytes, false).await.map_err(plain)?;
        appender.grown(bytes);
    }
    let mut buffer = file.alloc_dma_buffer(plan.bytes);
    let parts = std::iter::once(appender.head()).chain(flush.parts.iter().map(|part| &part[..]));
    copy_all(buffer.as_bytes_mut(), parts);
    // The buffer goes with the write, and what its last page holds is needed for the next one.
    let mut written = appender.clone();
    written.written(flush, buffer.as_bytes());
    write_all(file, buffer, plan.position).await?;
    *appender = written;
    Ok(())
}

fn close_segment(dir: &Path, topic: Uuid, segment: &Close) -> io::Result<()> {
    check_owner(dir, topic)?;
    let path = |file: SegmentFile| dir.join(file.name(segment.segment));
    segment.steps().into_iter().try_for_each(|step| match step {
        CloseStep::Cut(bytes) => fs::OpenOptions::new().write(true).open(path(SegmentFile::Log))?.set_len(bytes),
        CloseStep::Write(file, content) => fs::write(path(file), content),
    })
}
