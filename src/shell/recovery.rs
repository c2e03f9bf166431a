//! Feeds a core's [`Recovery`] with checkpoints and journals, and carries out what it asks of the disk.

use super::core::now;
use super::disk::{Disk, LOCK_STEP, journal_dir, journal_path, sync_dir, try_lock};
use crate::journal::{ALIGNMENT, FileIndex, HEAD_BYTES, Wanted};
use crate::metadata::Image;
use crate::shard::checkpoint;
use crate::shard::node::Node;
use crate::shard::recovery::{Found, Recovery};
use crate::types::ShardId;
use bytes::Bytes;
use glommio::channels::local_channel;
use glommio::io::{DmaFile, OpenOptions};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Journals are read in pieces of this size.
const READ_BYTES: usize = 4 << 20;

/// What there is below `root`, once no earlier process writes to a journal any more.
pub fn look(root: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    match fs::read_dir(root.join("journal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                found.journals.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u16>().ok()));
            }
        }
    }
    found.journals.sort_unstable();
    for core in &found.journals {
        for file in journal_files(root, *core)? {
            let path = journal_path(root, *core, file);
            let file = fs::File::open(&path)?;
            let mut waits = false;
            while !try_lock(&file)? {
                if !std::mem::replace(&mut waits, true) {
                    tracing::warn!("{}: waiting until no other process has the file locked", path.display());
                }
                std::thread::sleep(LOCK_STEP);
            }
        }
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if checkpoint::cores_of(&name).is_some() {
            found.checkpoints.push((name, fs::read(entry.path())?));
        }
    }
    Ok(found)
}

/// The files of a core's journal.
fn journal_files(root: &Path, core: u16) -> io::Result<Vec<FileIndex>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(journal_dir(root, core)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        files.extend(stem.and_then(|stem| stem.parse::<FileIndex>().ok()));
    }
    files.sort_unstable();
    Ok(files)
}

/// Recovers one core.
pub async fn recover(
    id: ShardId,
    node: Arc<Node>,
    image: Image,
    found: &Found,
    root: &Path,
    disk: &Rc<Disk>,
    start: Instant,
) -> Result<Recovery, String> {
    let mut recovery = Recovery::new(id, node.clone(), image, found)?;
    for core in recovery.journals().to_vec() {
        let heads =
            heads(root, core).await.map_err(|error| format!("{}: {error}", journal_dir(root, core).display()))?;
        recovery.heads(core, &heads);
    }
    recovery.begin();
    replay(root, &mut recovery, start).await?;
    let (files, file_next) = own_files(root, id, &node, &recovery).await?;
    let random = super::data_dir::random().map_err(|error| format!("/dev/urandom: {error}"))?;
    recovery.ring(files, file_next, random as u32);
    for line in recovery.report() {
        tracing::error!("{line}");
    }
    if recovery.drain() {
        drain(&mut recovery, disk, start).await?;
    }
    if recovery.is_refused() {
        tracing::error!(
            "core {}: the data directory takes no writes (is it full?): records are served, and none are taken until there \
             is room; deleting topics makes some",
            id.0
        );
    }
    Ok(recovery)
}

/// The files that the core's journal begins with, and the number that the next one gets. Without any, as at the first start,
/// one is made: allocated but not written, which takes no time; without room for it the core starts without any.
async fn own_files(
    root: &Path,
    id: ShardId,
    node: &Node,
    recovery: &Recovery,
) -> Result<(Vec<FileIndex>, FileIndex), String> {
    let dir = journal_dir(root, id.0);
    let bytes = u64::from(node.config.journal_file_bytes);
    let wrong = |error: io::Error| format!("{}: {error}", dir.display());
    fs::create_dir_all(&dir).map_err(wrong)?;
    let sized = |file| Ok((file, fs::metadata(journal_path(root, id.0, file))?.len()));
    let all: io::Result<Vec<_>> = journal_files(root, id.0).map_err(wrong)?.into_iter().map(sized).collect();
    let (mut files, mut file_next) = recovery.reusable(&all.map_err(wrong)?);
    if files.is_empty() {
        match allocate(root, id.0, file_next, bytes).await {
            Ok(()) => {
                files.push(file_next);
                file_next += 1;
            }
            Err(error) => {
                tracing::error!("{}: a journal file of {bytes} bytes cannot be allocated: {error}", dir.display());
            }
        }
    }
    Ok((files, file_next))
}

/// Makes a journal file, or nothing.
async fn allocate(root: &Path, core: u16, file: FileIndex, bytes: u64) -> io::Result<()> {
    let path = journal_path(root, core, file);
    let open = DmaFile::create(&path).await.map_err(io::Error::from)?;
    let allocated = open.pre_allocate(bytes, false).await.map_err(io::Error::from);
    open.close().await.map_err(io::Error::from)?;
    if let Err(error) = allocated {
        fs::remove_file(&path)?;
        return Err(error);
    }
    // The file's name, its directory's and that one's.
    journal_dir(root, core).ancestors().take(3).try_for_each(sync_dir)
}

/// Removes files of a core's journal that have another size than those of the ring: no core reads them any more.
pub fn remove_odd_files(root: &Path, core: u16, bytes: u64) -> io::Result<()> {
    for file in journal_files(root, core)? {
        let path = journal_path(root, core, file);
        if fs::metadata(&path)?.len() != bytes {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Puts journal files with damage aside, where no ring uses them.
pub fn put_aside(root: &Path, files: &[(u16, FileIndex)], tag: i64) -> io::Result<()> {
    let aside = root.join("journal").join("damaged");
    for (core, file) in files {
        fs::create_dir_all(&aside)?;
        let name = format!("{core:02}-{file:06}-{tag}.journal");
        fs::rename(journal_path(root, *core, *file), aside.join(name))?;
        sync_dir(&journal_dir(root, *core))?;
        sync_dir(&aside)?;
    }
    Ok(())
}

/// The beginning of each file of a journal.
async fn heads(root: &Path, core: u16) -> io::Result<Vec<(FileIndex, Vec<u8>)>> {
    let mut heads = Vec::new();
    for file in journal_files(root, core)? {
        heads.push((file, read(root, core, file, 0, HEAD_BYTES).await?.to_vec()));
    }
    Ok(heads)
}

async fn read(root: &Path, core: u16, file: FileIndex, position: u64, bytes: usize) -> io::Result<Bytes> {
    let mut options = OpenOptions::new();
    let file = options.read(true).dma_open(journal_path(root, core, file)).await.map_err(io::Error::from)?;
    // What a damaged header claims is no reason for more memory than the file has bytes.
    let size = file.file_size().await.map_err(io::Error::from)?;
    let bytes = bytes.min(size.saturating_sub(position).next_multiple_of(ALIGNMENT as u64) as usize);
    if bytes == 0 {
        file.close().await.map_err(io::Error::from)?;
        return Ok(Bytes::new());
    }
    let read = file.read_at_aligned(position, bytes).await.map_err(io::Error::from)?;
    let bytes = Bytes::copy_from_slice(&read);
    file.close().await.map_err(io::Error::from)?;
    Ok(bytes)
}

/// Shows the recovery the journals, as far as it wants to see them.
async fn replay(root: &Path, recovery: &mut Recovery, start: Instant) -> Result<(), String> {
    // A piece of a file: its place and bytes.
    let mut piece: Option<((u16, Wanted), Bytes)> = None;
    while let Some((core, want)) = recovery.want() {
        let have = piece.as_ref().filter(|((of, at), content)| {
            let end = at.position + content.len() as u64;
            (*of, at.file) == (core, want.file)
                && (at.position..=end).contains(&want.position)
                && want.position + want.bytes as u64 <= end
        });
        let content = match have {
            Some(((_, at), content)) => content.slice((want.position - at.position) as usize..),
            None => {
                let length = want.bytes.max(READ_BYTES).next_multiple_of(ALIGNMENT);
                let content = read(root, core, want.file, want.position, length).await;
                let wrong = |error: io::Error| format!("{}: {error}", journal_dir(root, core).display());
                let content = content.map_err(wrong)?;
                piece = Some(((core, want), content.clone()));
                content
            }
        };
        recovery.feed(now(start, Instant::now()), &content)?;
    }
    Ok(())
}

/// Writes what was only in journals to segments.
async fn drain(recovery: &mut Recovery, disk: &Rc<Disk>, start: Instant) -> Result<(), String> {
    let (sender, receiver) = local_channel::new_unbounded();
    let sender = Rc::new(sender);
    let mut under_way = 0;
    while !recovery.is_done() || under_way > 0 {
        let mut ops = Vec::new();
        if !recovery.is_refused() {
            recovery.plan(now(start, Instant::now()), &mut ops);
        }
        for op in ops {
            under_way += 1;
            let (work, sender) = (disk.carry_out(op), sender.clone());
            glommio::spawn_local(async move { drop(sender.try_send(work.await)) }).detach();
        }
        match recovery.deadline() {
            Some(deadline) if deadline <= now(start, Instant::now()).mono && !recovery.is_refused() => {
                glommio::executor().yield_task_queue_now().await
            }
            _ if under_way > 0 => {
                let done = receiver.recv().await.expect("a sender is there");
                under_way -= 1;
                recovery.done(now(start, Instant::now()), done);
            }
            _ => return Err("what the journal holds cannot be written to the segments: see the log".into()),
        }
    }
    Ok(())
}
