//! What a crash leaves behind: files that nothing names any more. All of it is looked for before the first client is served, so
//! that nobody makes files of the same names meanwhile.

use super::disk::{self, check_owner, remove_partition_dir, sync_dir};
use crate::log::SegmentId;
use crate::log::directory::{PARTITION_METADATA, is_deleted, is_stray, is_unknown, stray_name};
use crate::metadata::Image;
use crate::shard::recovery::Found;
use crate::types::Uuid;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of a journal that is to be removed.
const JOURNAL_DELETE: &str = "delete";

/// Removes what [`Found::leftovers`] names.
pub fn remove_orphans(root: &Path, found: &Found, cores: u16) {
    let (journals, checkpoints) = found.leftovers(cores);
    for core in journals {
        let dir = disk::journal_dir(root, core);
        // At once: one that is there in part would be taken for a damaged one.
        let aside = dir.with_extension(JOURNAL_DELETE);
        warn(&dir, fs::rename(&dir, aside).and_then(|()| sync_dir(&root.join("journal"))));
    }
    for dir in fs::read_dir(root.join("journal")).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if dir.extension().is_some_and(|ending| ending == JOURNAL_DELETE) {
            warn(&dir, remove_partition_dir(&dir));
        }
    }
    for name in checkpoints {
        let path = root.join(name);
        warn(&path, fs::remove_file(&path));
    }
}

/// The directories of deleted partitions. Those of topics that were deleted just before a crash are put aside, not removed: so
/// is the data of a node whose metadata was lost.
pub fn deleted(root: &Path, image: &Image, now_ms: i64) -> io::Result<Vec<PathBuf>> {
    let mut deleted = Vec::new();
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
        if is_deleted(name) {
            deleted.push(dir);
        } else if !is_stray(name) && is_of_nobody(&dir, name, image)? {
            let aside = dir.with_file_name(stray_name(name, now_ms));
            tracing::warn!("{} belongs to no topic: moved to {}", dir.display(), aside.display());
            warn(&dir, fs::rename(&dir, aside).and_then(|()| sync_dir(root)));
        }
    }
    Ok(deleted)
}

/// Whether it is a partition's directory, and the partition is not known.
fn is_of_nobody(dir: &Path, name: &str, image: &Image) -> io::Result<bool> {
    let content = match fs::read(dir.join(PARTITION_METADATA)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        content => content?,
    };
    Ok(is_unknown(name, &content, |topic, index| image.topic_of(topic, index)))
}

/// Removes the files of a partition's segments that are not among `named`: a crash came between the checkpoint that no longer
/// names them and their end.
pub fn remove_unnamed_segments(root: &Path, name: &str, topic: Uuid, named: &HashSet<SegmentId>) {
    let dir = root.join(name);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        entries => entries,
    };
    let result = entries.and_then(|entries| {
        check_owner(&dir, topic)?;
        for entry in entries {
            let path = entry?.path();
            let segment = path.file_name().and_then(|name| SegmentId::of_file(name.to_str()?));
            if segment.is_some_and(|segment| !named.contains(&segment)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    });
    warn(&dir, result);
}

fn warn(path: &Path, result: io::Result<()>) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("{}: {error}", path.display()),
        _ => {}
    }
}
