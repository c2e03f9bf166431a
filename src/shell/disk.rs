//! One core's files. Carries out [`DiskOp`]s and [`ReadPlan`]s with direct I/O; what it learns goes back as [`Done`].
//!
//! ```text
//! DATA/journal/CORE/INDEX.journal    the core's ring
//! DATA/checkpoint-CORE-CORES         its checkpoint, as one of so many cores
//! DATA/TOPIC-PARTITION/              as in Kafka: OFFSET.log, .index, .timeindex, partition.metadata; group.checkpoint
//! ```

use super::leftovers::{delete_path, stray_path};
use crate::journal::{ALIGNMENT, BlockWrite, FileIndex};
use crate::log::{Close, Flush, file_stem};
use crate::shard::store::{Done, LogIndex};
use crate::types::{Offset, Uuid};
use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A segment file grows by doubling, and by this much at the most.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const GROWTH_BYTES_MIN: u64 = 64 << 10;
/// A new journal file is written with zeros in blocks of this size.
const PREPARE_BLOCK_BYTES: usize = 1 << 20;
/// A file that is removed is first cut by this much at a time: freeing many extents at once stalls synced writes.
const REMOVE_STEP_BYTES: u64 = 256 << 20;

/// How often a lock is tried that an earlier process still has.
pub const LOCK_STEP: Duration = Duration::from_millis(1);
/// Files of a partition's directory besides its segments.
pub const PARTITION_METADATA: &str = "partition.metadata";
const GROUP_CHECKPOINT: &str = "group.checkpoint";

const PAGE: u64 = ALIGNMENT as u64;

/// A segment file being appended to.
struct Appending {
    segment: Offset,
    file: Rc<DmaFile>,
    allocated: u64,
    /// Bytes of batches in the file.
    end: u64,
    /// The last page as far as it is filled; `None` if it has to be read first.
    page: Option<Vec<u8>>,
    used: u64,
}

pub struct Disk {
    root: PathBuf,
    core: u16,
    cores: u16,
    /// Segment files open for writing; the least recently used one is closed beyond that.
    handles_max: usize,
    journal: RefCell<HashMap<FileIndex, Rc<DmaFile>>>,
    appending: RefCell<HashMap<LogIndex, Appending>>,
    /// Partitions whose directory was made or checked.
    topics: RefCell<HashMap<LogIndex, Uuid>>,
    removed: RefCell<HashSet<LogIndex>>,
    clock: std::cell::Cell<u64>,
}

pub fn journal_dir(root: &Path, core: u16) -> PathBuf {
    root.join("journal").join(format!("{core:02}"))
}

pub fn journal_path(root: &Path, core: u16, file: FileIndex) -> PathBuf {
    journal_dir(root, core).join(format!("{file:06}.journal"))
}

const CHECKPOINT_START: &str = "checkpoint-";

fn checkpoint_path(root: &Path, core: u16, cores: u16) -> PathBuf {
    root.join(format!("{CHECKPOINT_START}{core:02}-{cores:02}"))
}

/// The number of cores in the name of a checkpoint's file; `None` if it is none, or one not finished.
pub fn checkpoint_cores(name: &str) -> Option<u16> {
    name.strip_prefix(CHECKPOINT_START)?.split_once('-')?.1.parse().ok()
}

fn plain<T>(error: GlommioError<T>) -> io::Error {
    error.into()
}

/// Waits until no write of an earlier process to this file is under way. The kernel ends what a killed process has submitted
/// after the process itself, and lets go of the lock on the file then.
async fn lock(file: &DmaFile) -> io::Result<()> {
    while !try_lock(file)? {
        glommio::timer::sleep(LOCK_STEP).await;
    }
    Ok(())
}

/// Says whether the file is locked for this process; it is unlocked when the last write through it is done and it is closed.
pub fn try_lock(file: &impl AsRawFd) -> io::Result<bool> {
    // SAFETY: a system call on a descriptor that is open; no memory is passed.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(work).await
}

/// Writes `bytes` so that after a crash the old content is there or the new one.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path.parent().expect("the path has a directory"))
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Removes a file, a large one in steps.
fn remove_file(path: &Path) -> io::Result<()> {
    let file = match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut length = file.metadata()?.len();
    while length > REMOVE_STEP_BYTES {
        length -= REMOVE_STEP_BYTES;
        file.set_len(length)?;
    }
    fs::remove_file(path)
}

fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// As `copy_from_slice`, past the cache: a buffer for the device is not read again here, and its lines, which the device's
/// side has read before, would have to be fetched only to be overwritten.
#[cfg(target_arch = "x86_64")]
fn copy(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    const LINE: usize = 64;
    let head = to.as_ptr().align_offset(LINE).min(to.len());
    to[..head].copy_from_slice(&from[..head]);
    let ((lines, to_rest), (sources, from_rest)) =
        (to[head..].as_chunks_mut::<LINE>(), from[head..].as_chunks::<LINE>());
    for (line, source) in lines.iter_mut().zip(sources) {
        // SAFETY: both are 64 bytes, `line` begins at a multiple of 64, and every x86-64 has these instructions.
        unsafe {
            let (line, source): (*mut __m128i, *const __m128i) = (line.as_mut_ptr().cast(), source.as_ptr().cast());
            for k in 0..LINE / size_of::<__m128i>() {
                _mm_stream_si128(line.add(k), _mm_loadu_si128(source.add(k)));
            }
        }
    }
    to_rest.copy_from_slice(from_rest);
    // SAFETY: as above.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn copy(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

fn copy_all<'a>(buffer: &mut [u8], parts: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let mut at = 0;
    for part in parts {
        copy(&mut buffer[at..at + part.len()], part);
        at += part.len();
    }
    buffer[at..].fill(0);
    at
}

async fn write_all(file: &DmaFile, buffer: DmaBuffer, position: u64) -> io::Result<()> {
    let bytes = buffer.len();
    match file.write_at(buffer, position).await.map_err(plain)? {
        written if written == bytes => Ok(()),
        written => Err(io::Error::other(format!("{written} of {bytes} bytes were written"))),
    }
}

impl Disk {
    pub fn new(root: PathBuf, core: u16, cores: u16, handles_max: usize) -> Disk {
        Disk {
            root,
            core,
            cores,
            handles_max,
            journal: RefCell::default(),
            appending: RefCell::default(),
            topics: RefCell::default(),
            removed: RefCell::default(),
            clock: std::cell::Cell::new(0),
        }
    }

    /// Opens a file that has written blocks, before all others.
    pub async fn probe(&self, path: &Path) {
        report("the probe file", async { DmaFile::open(path).await?.close().await }.await.map_err(plain));
    }

    async fn journal_file(&self, file: FileIndex) -> io::Result<Rc<DmaFile>> {
        let path = journal_path(&self.root, self.core, file);
        let mut options = OpenOptions::new();
        // Each write returns when the device has it: one operation instead of a write and a sync.
        options.read(true).write(true).custom_flags(libc::O_DSYNC);
        loop {
            if let Some(open) = self.journal.borrow().get(&file) {
                return Ok(open.clone());
            }
            let open = Rc::new(options.dma_open(&path).await.map_err(plain)?);
            if try_lock(&*open)? {
                self.journal.borrow_mut().insert(file, open.clone());
                return Ok(open);
            }
            // Another write has opened it meanwhile, or an earlier process still writes.
            close(open).await;
            glommio::timer::sleep(LOCK_STEP).await;
        }
    }

    pub async fn journal_write(&self, write: BlockWrite) -> Done {
        let sequence = write.sequence;
        let ok = self.journal_write_all(write).await;
        Done::JournalWrite { sequence, ok: report("the journal", ok) }
    }

    async fn journal_write_all(&self, write: BlockWrite) -> io::Result<()> {
        let file = self.journal_file(write.file).await?;
        let mut buffer = file.alloc_dma_buffer(write.bytes);
        copy_all(buffer.as_bytes_mut(), write.parts.iter().map(|part| &part[..]));
        drop(write.parts);
        write_all(&file, buffer, write.position).await
    }

    /// Makes a journal file: allocated, and written once so that later writes change no metadata.
    pub async fn journal_prepare(&self, file: FileIndex, bytes: u64) -> Done {
        let mut ok = self.journal_prepare_all(file, bytes).await;
        if ok.is_err() {
            // A file in part would be taken for one of the ring.
            let path = journal_path(&self.root, self.core, file);
            let removed = blocking(move || fs::remove_file(path)).await;
            ok = ok.map_err(|error| match removed {
                Err(kept) if kept.kind() != io::ErrorKind::NotFound => io::Error::other(format!("{error}; {kept}")),
                _ => error,
            });
        }
        Done::JournalPrepare { file, ok: report("a new journal file", ok) }
    }

    async fn journal_prepare_all(&self, file: FileIndex, bytes: u64) -> io::Result<()> {
        let path = journal_path(&self.root, self.core, file);
        let open = DmaFile::create(&path).await.map_err(plain)?;
        // A write that goes on after the process has been killed is waited for at the next start.
        lock(&open).await?;
        open.pre_allocate(bytes, false).await.map_err(plain)?;
        let mut block = open.alloc_dma_buffer(PREPARE_BLOCK_BYTES);
        block.as_bytes_mut().fill(0);
        let block = Rc::new(block);
        for position in (0..bytes).step_by(PREPARE_BLOCK_BYTES) {
            let length = PREPARE_BLOCK_BYTES.min((bytes - position) as usize);
            let written = open.write_rc_at(block.clone(), position).await.map_err(plain)?;
            if written < length {
                return Err(io::Error::other(format!("{written} of {length} bytes were written")));
            }
            glommio::yield_if_needed().await;
        }
        open.truncate(bytes).await.map_err(plain)?;
        open.fdatasync().await.map_err(plain)?;
        open.close().await.map_err(plain)?;
        let dir = journal_dir(&self.root, self.core);
        blocking(move || sync_dir(&dir)).await
    }

    pub async fn segment_write(&self, log: LogIndex, name: Arc<str>, segment_bytes: u32, flush: Flush) -> Done {
        let offset_end = flush.offset_end;
        let ok = if self.removed.borrow().contains(&log) {
            Ok(())
        } else {
            self.segment_write_all(log, &name, segment_bytes, flush).await
        };
        Done::SegmentWrite { log, offset_end, ok: report(&format!("a segment of {name}"), ok) }
    }

    async fn segment_write_all(&self, log: LogIndex, name: &str, limit: u32, flush: Flush) -> io::Result<()> {
        // One write of a log is under way at a time, so its state can be taken out meanwhile.
        let mut state = self.appending_file(log, name, &flush).await?;
        let result = Self::append(&mut state, limit, &flush).await;
        if result.is_ok() {
            self.clock.set(self.clock.get() + 1);
            state.used = self.clock.get();
            self.appending.borrow_mut().insert(log, state);
            self.close_unused();
        }
        result
    }

    async fn append(state: &mut Appending, limit: u32, flush: &Flush) -> io::Result<()> {
        let start = u64::from(flush.position) / PAGE * PAGE;
        let head_bytes = (u64::from(flush.position) - start) as usize;
        let head =
            match state.page.take().filter(|page| page.len() == head_bytes && state.end == u64::from(flush.position)) {
                Some(page) => page,
                None if head_bytes == 0 => Vec::new(),
                None => {
                    let page = state.file.read_at_aligned(start, ALIGNMENT).await.map_err(plain)?;
                    page.get(..head_bytes)
                        .ok_or_else(|| io::Error::other("the segment is shorter than known"))?
                        .to_vec()
                }
            };
        let bytes = aligned(head_bytes + flush.bytes);
        let end = start + bytes as u64;
        if end > state.allocated {
            let ceiling = (u64::from(limit) + PAGE).next_multiple_of(PAGE).max(end);
            let grown = end.next_power_of_two().max(GROWTH_BYTES_MIN).min(end + GROWTH_BYTES_MAX).min(ceiling);
            let grown = grown.next_multiple_of(PAGE);
            state.file.pre_allocate(grown, false).await.map_err(plain)?;
            state.allocated = grown;
        }
        let mut buffer = state.file.alloc_dma_buffer(bytes);
        let parts = std::iter::once(&head[..]).chain(flush.parts.iter().map(|part| &part[..]));
        let filled = copy_all(buffer.as_bytes_mut(), parts);
        let page = buffer.as_bytes()[filled / ALIGNMENT * ALIGNMENT..filled].to_vec();
        write_all(&state.file, buffer, start).await?;
        state.end = start + filled as u64;
        state.page = Some(page);
        Ok(())
    }

    async fn appending_file(&self, log: LogIndex, name: &str, flush: &Flush) -> io::Result<Appending> {
        let known = self.appending.borrow_mut().remove(&log);
        match known {
            Some(state) if state.segment == flush.segment => return Ok(state),
            Some(state) => {
                // The segment before is cut to its length by its own operation.
                close(state.file).await;
            }
            None => {}
        }
        let dir = self.root.join(name);
        let path = dir.join(file_stem(flush.segment)).with_extension("log");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = match options.dma_open(&path).await {
            Ok(file) => file,
            Err(_) => {
                let topic = self.topics.borrow().get(&log).copied();
                blocking(move || make_partition_dir(&dir, topic)).await?;
                options.dma_open(&path).await.map_err(plain)?
            }
        };
        lock(&file).await?;
        let allocated = file.file_size().await.map_err(plain)?;
        let (segment, file) = (flush.segment, Rc::new(file));
        Ok(Appending { segment, file, allocated, end: u64::from(flush.position), page: None, used: 0 })
    }

    /// Which topic a log's directory belongs to, for its `partition.metadata`.
    pub fn opened(&self, log: LogIndex, topic: Uuid) {
        self.topics.borrow_mut().insert(log, topic);
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
    pub async fn segment_close(&self, log: LogIndex, name: Arc<str>, segment: Close) -> Done {
        let base = segment.segment;
        let state = {
            let mut appending = self.appending.borrow_mut();
            match appending.get(&log) {
                Some(state) if state.segment == base => appending.remove(&log),
                _ => None,
            }
        };
        if let Some(state) = state {
            close(state.file).await;
        }
        let stem = self.root.join(&*name).join(file_stem(base));
        let removed = self.removed.borrow().contains(&log);
        let ok = blocking(move || {
            if removed {
                return Ok(());
            }
            cut(&stem.with_extension("log"), u64::from(segment.bytes))?;
            fs::write(stem.with_extension("index"), &segment.index)?;
            fs::write(stem.with_extension("timeindex"), &segment.timeindex)
        })
        .await;
        Done::SegmentClose { log, segment: base, ok: report(&format!("a segment of {name}"), ok) }
    }

    /// At a clean stop: files end where their batches end.
    pub async fn cut_all(&self) -> io::Result<()> {
        let states: Vec<Appending> = self.appending.borrow_mut().drain().map(|(_, state)| state).collect();
        for state in states {
            state.file.truncate(state.end).await.map_err(plain)?;
            close(state.file).await;
        }
        Ok(())
    }

    pub async fn sync(&self) -> Done {
        let root = self.root.clone();
        let ok = blocking(move || {
            let dir = fs::File::open(root)?;
            // SAFETY: a system call on a descriptor that is open; no memory is passed.
            match unsafe { libc::syncfs(dir.as_raw_fd()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
        .await;
        Done::Sync { ok: report("the file system", ok) }
    }

    pub async fn checkpoint(&self, bytes: Vec<u8>) -> Done {
        let path = checkpoint_path(&self.root, self.core, self.cores);
        let ok = blocking(move || replace_file(&path, &bytes)).await;
        Done::Checkpoint { ok: report("a checkpoint", ok) }
    }

    /// The checkpoint of a coordinator of groups, if there is one.
    pub async fn group_checkpoint_read(&self, name: &str, topic: Uuid) -> Option<Vec<u8>> {
        let dir = self.root.join(name);
        let read = blocking(move || match belongs_to(&dir, topic) {
            true => fs::read(dir.join(GROUP_CHECKPOINT)),
            false => Err(io::ErrorKind::NotFound.into()),
        })
        .await;
        match read {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                report(&format!("the checkpoint of {name}"), Err(error));
                None
            }
        }
    }

    /// Replaces the checkpoint of a coordinator, if the partition has its directory.
    pub async fn group_checkpoint_write(&self, name: &str, topic: Uuid, bytes: Vec<u8>) {
        let dir = self.root.join(name);
        let written = blocking(move || match belongs_to(&dir, topic) {
            true => replace_file(&dir.join(GROUP_CHECKPOINT), &bytes),
            false => Ok(()),
        })
        .await;
        report(&format!("the checkpoint of {name}"), written);
    }

    pub async fn segments_remove(&self, name: Arc<str>, segments: Vec<Offset>) {
        let dir = self.root.join(&*name);
        let ok = blocking(move || {
            for stem in segments.into_iter().map(|segment| dir.join(file_stem(segment))) {
                for ending in ["log", "index", "timeindex"] {
                    remove_file(&stem.with_extension(ending))?;
                }
            }
            Ok(())
        })
        .await;
        report(&format!("removed segments of {name}"), ok);
    }

    /// Renames a removed partition's directory, and says which one is to be deleted.
    pub async fn partition_aside(&self, log: LogIndex, name: &str, topic: Uuid) -> Option<PathBuf> {
        self.removed.borrow_mut().insert(log);
        let state = self.appending.borrow_mut().remove(&log);
        if let Some(state) = state {
            close(state.file).await;
        }
        let dir = self.root.join(name);
        let aside = delete_path(&self.root, name, topic);
        let renamed = blocking({
            let aside = aside.clone();
            move || fs::rename(dir, aside)
        })
        .await;
        match renamed {
            Ok(()) => Some(aside),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                report(&format!("the directory of {name}"), Err(error));
                None
            }
        }
    }

    pub async fn remove_dir(&self, dir: PathBuf) {
        let ok = blocking({
            let dir = dir.clone();
            move || remove_partition_dir(&dir)
        })
        .await;
        report(&format!("{}", dir.display()), ok);
    }
}

async fn close(file: Rc<DmaFile>) {
    // Another user of the handle, if there is one, closes it.
    let _ = file.close_rc().await;
}

fn report(what: &str, result: io::Result<()>) -> bool {
    if let Err(error) = &result {
        tracing::error!("{what}: {error}");
    }
    result.is_ok()
}

fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.set_len(bytes)
}

/// A directory as Kafka makes it. One of an older topic of the same name, left by a crash, goes out of the way.
fn make_partition_dir(dir: &Path, topic: Option<Uuid>) -> io::Result<()> {
    if let Some(topic) = topic
        && dir.exists()
        && !belongs_to(dir, topic)
    {
        let aside = stray_path(dir, topic);
        tracing::warn!("{} holds another topic's data: moved to {}", dir.display(), aside.display());
        fs::rename(dir, aside)?;
    }
    fs::create_dir_all(dir)?;
    match topic {
        Some(topic) => fs::write(dir.join(PARTITION_METADATA), partition_metadata(topic)),
        None => Ok(()),
    }
}

fn partition_metadata(topic: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic}\n")
}

pub fn belongs_to(dir: &Path, topic: Uuid) -> bool {
    fs::read_to_string(dir.join(PARTITION_METADATA)).is_ok_and(|content| content == partition_metadata(topic))
}

pub fn remove_partition_dir(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        remove_file(&entry?.path())?;
    }
    fs::remove_dir(dir)
}
