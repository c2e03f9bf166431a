//! Segments on their way to the disk: carries out what `log/appender.rs` plans.

use super::partitions::{Access, check_owner, own_partition_dir};
use super::{Disk, blocking, close, copy_all, lock, patiently, plain, remove_file, write_all};
use crate::log::appender::{Appender, PAGE_BYTES, Truncated};
use crate::log::{Close, Flush, file_stem};
use crate::shard::store::{Done, LogIndex};
use crate::shell::blocking::Kind;
use crate::shell::report::{self, succeeded};
use crate::types::{Offset, Uuid};
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
    pub async fn segment_write(
        &self,
        access: Access,
        name: Arc<str>,
        topic: Uuid,
        segment_bytes: u32,
        flush: Flush,
    ) -> Done {
        let (log, offset_end) = (access.log, flush.offset_end);
        let written = match access.forsaken {
            true => Ok(()),
            false => self.segment_write_all(log, &name, topic, segment_bytes, flush).await,
        };
        Done::SegmentWrite { log, offset_end, ok: succeeded(report::SEGMENT, name, written) }
    }

    async fn segment_write_all(
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
            if (state.appender.segment(), state.appender.end()) == (segment, end) {
                return Ok(state);
            }
            // The segment before is cut to its length by its own operation.
            close(state.file).await;
        }
        let dir = self.root.join(name);
        let path = dir.join(file_stem(segment)).with_extension("log");
        if !self.owned.borrow().contains(&log) {
            let dir = Arc::new(dir);
            patiently(async || {
                let dir = dir.clone();
                blocking(Kind::Files, move || own_partition_dir(&dir, topic)).await
            })
            .await?;
            self.owned.borrow_mut().insert(log);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = patiently(async || options.dma_open(&path).await.map_err(plain)).await?;
        lock(&file).await?;
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
    pub async fn segment_close(&self, access: Access, name: Arc<str>, topic: Uuid, segment: Close) -> Done {
        let (log, base) = (access.log, segment.segment);
        let state = {
            let mut appending = self.appending.borrow_mut();
            match appending.get(&log) {
                Some(state) if state.appender.segment() == base => appending.remove(&log),
                _ => None,
            }
        };
        if let Some(state) = state {
            close(state.file).await;
        }
        let dir = self.root.join(&*name);
        let closed = match access.forsaken {
            true => Ok(()),
            false => blocking(Kind::Files, move || close_segment(&dir, topic, &segment)).await,
        };
        Done::SegmentClose { log, segment: base, ok: succeeded(report::SEGMENT, name, closed) }
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

    pub async fn segments_remove(&self, access: Access, name: Arc<str>, topic: Uuid, segments: Vec<Offset>) {
        if access.forsaken {
            return;
        }
        let dir = self.root.join(&*name);
        let removed = blocking(Kind::Remove, move || {
            check_owner(&dir, topic)?;
            for stem in segments.into_iter().map(|segment| dir.join(file_stem(segment))) {
                for ending in ["log", "index", "timeindex"] {
                    remove_file(&stem.with_extension(ending))?;
                }
            }
            Ok(())
        })
        .await;
        succeeded(report::SEGMENT_REMOVE, name, removed);
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
    let stem = dir.join(file_stem(segment.segment));
    let file = fs::OpenOptions::new().write(true).open(stem.with_extension("log"))?;
    file.set_len(u64::from(segment.bytes))?;
    fs::write(stem.with_extension("index"), &segment.index)?;
    fs::write(stem.with_extension("timeindex"), &segment.timeindex)
}
