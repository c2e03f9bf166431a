//! One core's files. Carries out [`DiskOp`]s and [`ReadPlan`]s with direct I/O; what it learns goes back as [`Done`].
//!
//! ```text
//! DATA/journal/CORE/INDEX.journal    the core's ring
//! DATA/checkpoint-CORE-CORES         its checkpoint, as one of so many cores
//! DATA/TOPIC-PARTITION/              as in Kafka: OFFSET.log, .index, .timeindex, partition.metadata; group.checkpoint
//! ```

mod partitions;
mod segments;

pub use self::partitions::{check_owner, remove_partition_dir};
use self::segments::Appending;
use super::blocking::{self, Kind};
use super::core::Signal;
use super::data_dir::PROBE;
use super::report::{self, succeeded};
use crate::journal::{BlockWrite, FileIndex};
use crate::log::directory::Directories;
use crate::shard::checkpoint;
use crate::shard::store::{DiskOp, Done, LogIndex};
use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A new journal file is written with zeros in blocks of this size.
const PREPARE_BLOCK_BYTES: usize = 1 << 20;
/// A file that is removed is first cut by this much at a time: freeing many extents at once stalls synced writes.
const REMOVE_STEP_BYTES: u64 = 256 << 20;

/// How often a lock is tried that an earlier process still has.
pub const LOCK_STEP: Duration = Duration::from_millis(1);
/// How often what needs a descriptor is tried again while too many are open.
const DESCRIPTOR_STEP: Duration = Duration::from_millis(50);

/// Open from the start, so that a sync needs no descriptor.
struct Synced {
    root: fs::File,
    /// A regular file: to sync it makes the device write its cache, also where the file system's own log has nothing to write.
    probe: fs::File,
}

pub struct Disk {
    root: PathBuf,
    core: u16,
    cores: u16,
    /// Segment files open for writing; the least recently used one is closed beyond that.
    handles_max: usize,
    journal: RefCell<HashMap<FileIndex, Rc<DmaFile>>>,
    appending: RefCell<HashMap<LogIndex, Appending>>,
    directories: RefCell<Directories<LogIndex>>,
    /// Raised when nothing more is written of some log.
    unused: Signal,
    synced: Arc<Synced>,
    clock: std::cell::Cell<u64>,
}

pub fn journal_dir(root: &Path, core: u16) -> PathBuf {
    root.join("journal").join(format!("{core:02}"))
}

pub fn journal_path(root: &Path, core: u16, file: FileIndex) -> PathBuf {
    journal_dir(root, core).join(format!("{file:06}.journal"))
}

/// Room that is kept for the next checkpoint, at least.
const RESERVE_BYTES_MIN: usize = 64 << 10;

/// The system's error, where there is one: glommio's conversion leaves its number out.
pub fn plain<T>(error: GlommioError<T>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

/// Tries again as long as too many files are open: that is no failure of the device, and passes.
pub async fn patiently<T>(mut attempt: impl AsyncFnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt().await {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                report::failed(report::DESCRIPTORS, "the disk", &error);
                glommio::timer::sleep(DESCRIPTOR_STEP).await;
            }
            result => return result,
        }
    }
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

async fn blocking<T: Send + 'static>(kind: Kind, work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking::run(kind, work).await
}

/// Writes `bytes` so that after a crash the old content is there or the new one.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path.parent().expect("the path has a directory"))
}

/// As [`replace_file`]. On a full disk the room of a file is used that is kept for it, so that what is deleted goes, and makes
/// room.
fn replace_in_reserve(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let reserve = path.with_extension("reserve");
    match replace_file(path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull && reserve.exists() => {
            fs::remove_file(&reserve)?;
            replace_file(path, bytes)?;
        }
        replaced => replaced?,
    }
    let wanted = (2 * bytes.len()).max(RESERVE_BYTES_MIN);
    if fs::metadata(&reserve).map_or(0, |known| known.len() as usize) < wanted {
        // On a full disk a part of it, or nothing.
        let _ = fs::write(&reserve, vec![0; wanted]);
    }
    Ok(())
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
    whole(file.write_at(buffer, position).await.map_err(plain)?, bytes)
}

fn whole(written: usize, bytes: usize) -> io::Result<()> {
    match written == bytes {
        true => Ok(()),
        false => Err(io::Error::other(format!("{written} of {bytes} bytes were written"))),
    }
}

impl Disk {
    /// The files of one core of so many, of which `handles_max` segments are open for writing.
    pub fn open(root: PathBuf, core: u16, cores: u16, handles_max: usize) -> io::Result<Disk> {
        let synced = Synced { root: fs::File::open(&root)?, probe: fs::File::open(root.join(PROBE))? };
        Ok(Disk {
            root,
            core,
            cores,
            handles_max,
            journal: RefCell::default(),
            appending: RefCell::default(),
            directories: RefCell::default(),
            unused: Signal::default(),
            synced: Arc::new(synced),
            clock: std::cell::Cell::new(0),
        })
    }

    /// Opens a file that has written blocks, before all others.
    pub async fn probe(&self) -> io::Result<()> {
        let probe = DmaFile::open(self.root.join(PROBE)).await.map_err(plain)?;
        probe.close().await.map_err(plain)
    }

    async fn journal_file(&self, file: FileIndex) -> io::Result<Rc<DmaFile>> {
        loop {
            if let Some(open) = self.journal.borrow().get(&file) {
                return Ok(open.clone());
            }
            let path = journal_path(&self.root, self.core, file);
            let mut options = OpenOptions::new();
            // Each write returns when the device has it: one operation instead of a write and a sync.
            options.read(true).write(true).custom_flags(libc::O_DSYNC);
            let open = Rc::new(patiently(async || options.dma_open(&path).await.map_err(plain)).await?);
            if try_lock(&*open)? {
                self.journal.borrow_mut().insert(file, open.clone());
                return Ok(open);
            }
            // Another write has opened it meanwhile, or an earlier process still writes.
            close(open).await;
            glommio::timer::sleep(LOCK_STEP).await;
        }
    }

    /// Carries out an operation, which belongs to the log that it is about from now on, although it begins later.
    pub fn carry_out(self: &Rc<Self>, op: DiskOp) -> impl Future<Output = Done> + use<> {
        let (well, badly) = (op.done(true), op.done(false));
        let (disk, access) = (self.clone(), op.log().map(|log| self.access(log)));
        async move {
            let forsaken = access.as_ref().is_some_and(|access| access.forsaken);
            // Of a deleted topic nothing is written any more.
            if forsaken || disk.perform(op).await { well } else { badly }
        }
    }

    async fn perform(&self, op: DiskOp) -> bool {
        match op {
            DiskOp::JournalWrite(write) => {
                let written = self.journal_write(write).await;
                succeeded(report::JOURNAL, self.journal_place(), written)
            }
            DiskOp::JournalPrepare { file, bytes } => {
                let prepared = self.journal_prepare(file, bytes).await;
                succeeded(report::JOURNAL_FILE, self.journal_place(), prepared)
            }
            DiskOp::SegmentWrite { log, name, topic, segment_bytes, flush } => {
                let written = self.segment_write(log, &name, topic, segment_bytes, flush).await;
                succeeded(report::SEGMENT, name, written)
            }
            DiskOp::SegmentClose { log, name, topic, close } => {
                let closed = self.segment_close(log, &name, topic, close).await;
                succeeded(report::SEGMENT, name, closed)
            }
            DiskOp::Sync => succeeded(report::SYNC, self.root.display(), self.sync().await),
            DiskOp::Checkpoint(bytes) => {
                let path = self.root.join(checkpoint::file_name(self.core, self.cores));
                let place = path.display().to_string();
                succeeded(report::CHECKPOINT, place, self.checkpoint(path, bytes).await)
            }
            DiskOp::SegmentRemove { log, name, partition, segment } => {
                let removed = self.segment_remove(log, &name, partition.topic, segment).await;
                succeeded(report::SEGMENT_REMOVE, name, removed)
            }
        }
    }

    async fn journal_write(&self, write: BlockWrite) -> io::Result<()> {
        let file = self.journal_file(write.file).await?;
        let mut buffer = file.alloc_dma_buffer(write.bytes);
        copy_all(buffer.as_bytes_mut(), write.parts.iter().map(|part| &part[..]));
        drop(write.parts);
        self.thaw().await;
        write_all(&file, buffer, write.position).await
    }

    /// Waits while a file `frozen` is in the data directory: so tests stop the device, where nobody else can. Not in a build for
    /// use.
    async fn thaw(&self) {
        while cfg!(debug_assertions) && self.root.join("frozen").exists() {
            glommio::timer::sleep(LOCK_STEP).await;
        }
    }

    /// The journal's directory, made into text only if somebody is told of it.
    fn journal_place(&self) -> impl Display {
        fmt::from_fn(|f| journal_dir(&self.root, self.core).display().fmt(f))
    }

    /// Makes a journal file: allocated, and written once so that later writes change no metadata. It has its name once all of
    /// it is written.
    async fn journal_prepare(&self, file: FileIndex, bytes: u64) -> io::Result<()> {
        let path = journal_path(&self.root, self.core, file);
        let made = path.with_extension("tmp");
        let prepared = prepare(&made, bytes).await;
        let dir = journal_dir(&self.root, self.core);
        blocking(Kind::Sync, move || {
            if let Err(error) = prepared {
                // What there is of it takes up space that may be needed.
                let _ = fs::remove_file(&made);
                return Err(error);
            }
            fs::rename(made, path)?;
            sync_dir(&dir)
        })
        .await
    }

    /// Makes everything durable that was written before.
    async fn sync(&self) -> io::Result<()> {
        let synced = self.synced.clone();
        blocking(Kind::Sync, move || {
            // SAFETY: a system call on a descriptor that is open; no memory is passed.
            if unsafe { libc::syncfs(synced.root.as_raw_fd()) } != 0 {
                return Err(io::Error::last_os_error());
            }
            synced.probe.sync_all()
        })
        .await
    }

    async fn checkpoint(&self, path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
        let (path, bytes) = (Arc::new(path), Arc::new(bytes));
        patiently(async || {
            let (path, bytes) = (path.clone(), bytes.clone());
            blocking(Kind::Sync, move || replace_in_reserve(&path, &bytes)).await
        })
        .await
    }
}

/// Writes a file with zeros, through a descriptor that is locked like all that write to the journal.
async fn prepare(path: &Path, bytes: u64) -> io::Result<()> {
    let file = DmaFile::create(path).await.map_err(plain)?;
    lock(&file).await?;
    file.pre_allocate(bytes, false).await.map_err(plain)?;
    let mut block = file.alloc_dma_buffer(PREPARE_BLOCK_BYTES);
    block.as_bytes_mut().fill(0);
    let block = Rc::new(block);
    for position in (0..bytes).step_by(PREPARE_BLOCK_BYTES) {
        let written = file.write_rc_at(block.clone(), position).await.map_err(plain)?;
        whole(written, PREPARE_BLOCK_BYTES)?;
        glommio::yield_if_needed().await;
    }
    if !bytes.is_multiple_of(PREPARE_BLOCK_BYTES as u64) {
        file.truncate(bytes).await.map_err(plain)?;
    }
    file.fdatasync().await.map_err(plain)?;
    file.close().await.map_err(plain)
}

async fn close(file: Rc<DmaFile>) {
    // Another user of the handle, if there is one, closes it.
    let _ = file.close_rc().await;
}
