//! Directories of partitions: carries out what `log/directory.rs` says of them.

use super::{Disk, LogIndex, blocking, close, remove_file, replace_file, sync_dir};
use crate::log::directory::{PARTITION_METADATA, Whose, deleted_name, partition_metadata, stray_name, whose};
use crate::shell::blocking::Kind;
use crate::shell::report::{self, succeeded};
use crate::types::Uuid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A file of a partition's directory besides its segments.
const GROUP_CHECKPOINT: &str = "group.checkpoint";

/// Who holds it may write files of a log, unless the log is forsaken.
pub struct Access {
    disk: Rc<Disk>,
    log: LogIndex,
    /// The log's topic is deleted: nothing is to be done.
    pub(super) forsaken: bool,
}

impl Drop for Access {
    fn drop(&mut self) {
        if self.disk.directories.borrow_mut().leave(self.log) {
            self.disk.unused.raise();
        }
    }
}

impl Disk {
    /// To be had for a log when work on its files is handed out, before the work begins.
    pub fn access(self: &Rc<Self>, log: LogIndex) -> Access {
        let forsaken = !self.directories.borrow_mut().enter(log);
        Access { disk: self.clone(), log, forsaken }
    }

    /// The log's topic is deleted: from now on nothing is written of it that was not begun.
    pub fn forsake(&self, log: LogIndex) {
        self.directories.borrow_mut().forsake(log);
    }

    /// Renames the directory of a forsaken log once nothing is written in it any more, and says which one is to be deleted,
    /// if there is one. After an error the directory is where it was.
    pub async fn partition_aside(&self, log: LogIndex, name: &str, topic: Uuid) -> io::Result<Option<PathBuf>> {
        self.unused.wait(|| self.directories.borrow().is_unused(log)).await;
        let state = self.appending.borrow_mut().remove(&log);
        if let Some(state) = state {
            close(state.file).await;
        }
        let (root, dir) = (self.root.clone(), self.root.join(name));
        let aside = root.join(deleted_name(name, topic));
        let renamed = blocking(Kind::Sync, move || {
            if !dir.try_exists()? || whose_dir(&dir, topic)? == Whose::Anothers {
                return Ok::<_, io::Error>(None);
            }
            fs::rename(dir, &aside)?;
            sync_dir(&root)?;
            Ok(Some(aside))
        })
        .await?;
        self.directories.borrow_mut().gone(log);
        Ok(renamed)
    }

    pub async fn remove_dir(&self, dir: PathBuf) {
        let place = dir.display().to_string();
        let removed = blocking(Kind::Remove, move || remove_partition_dir(&dir)).await;
        succeeded(report::SPACE, place, removed);
    }

    /// The checkpoint of a coordinator of groups, if there is one.
    pub async fn group_checkpoint_read(&self, name: &str, topic: Uuid) -> Option<Vec<u8>> {
        let dir = self.root.join(name);
        let read = blocking(Kind::Files, move || match belongs_to(&dir, topic)? {
            true => fs::read(dir.join(GROUP_CHECKPOINT)),
            false => Err(io::ErrorKind::NotFound.into()),
        })
        .await;
        match read {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                report::failed(report::GROUP_CHECKPOINT, name, &error);
                None
            }
        }
    }

    /// Replaces the checkpoint of a coordinator, if the partition has its directory.
    pub async fn group_checkpoint_write(&self, name: &str, topic: Uuid, bytes: Vec<u8>) {
        let dir = self.root.join(name);
        let written = blocking(Kind::Sync, move || match belongs_to(&dir, topic)? {
            true => replace_file(&dir.join(GROUP_CHECKPOINT), &bytes),
            false => Ok(()),
        })
        .await;
        succeeded(report::GROUP_CHECKPOINT, name, written);
    }
}

/// Makes a directory as Kafka makes it, or finds that it is the topic's. Another topic's goes out of the way.
pub(super) fn own_partition_dir(dir: &Path, topic: Uuid) -> io::Result<()> {
    let found = whose_dir(dir, topic)?;
    if found == Whose::Anothers {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let aside = dir.with_file_name(stray_name(&name, topic));
        tracing::warn!("{} holds another topic's data: moved to {}", dir.display(), aside.display());
        fs::rename(dir, aside)?;
        sync_dir(dir.parent().expect("the directory is in the data directory"))?;
    }
    fs::create_dir_all(dir)?;
    match found {
        Whose::Ours => Ok(()),
        _ => fs::write(dir.join(PARTITION_METADATA), partition_metadata(topic)),
    }
}

/// Whose a directory is, which need not be there.
fn whose_dir(dir: &Path, topic: Uuid) -> io::Result<Whose> {
    match fs::read(dir.join(PARTITION_METADATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Whose::Nobodys),
        content => Ok(whose(&content?, topic)),
    }
}

/// Whether the directory says that it is the topic's.
fn belongs_to(dir: &Path, topic: Uuid) -> io::Result<bool> {
    Ok(whose_dir(dir, topic)? == Whose::Ours)
}

/// An error if the directory is another topic's.
pub fn check_owner(dir: &Path, topic: Uuid) -> io::Result<()> {
    match whose_dir(dir, topic)? {
        Whose::Anothers => Err(io::Error::other(format!("{} is another topic's", dir.display()))),
        Whose::Ours | Whose::Nobodys => Ok(()),
    }
}

pub fn remove_partition_dir(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => remove_file(&entry.path())?,
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anothers_directory_goes_out_of_the_way() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("t-0");
        let (ours, theirs) = (Uuid([1; 16]), Uuid([2; 16]));
        let whose = || whose_dir(&dir, ours).unwrap();
        assert_eq!(whose(), Whose::Nobodys, "there is none");
        own_partition_dir(&dir, theirs).unwrap();
        assert_eq!(whose(), Whose::Anothers);
        // A crash may leave the file without its content.
        fs::write(dir.join(PARTITION_METADATA), [0; 20]).unwrap();
        assert_eq!(whose(), Whose::Nobodys);
        own_partition_dir(&dir, ours).unwrap();
        assert_eq!(whose(), Whose::Ours);
        assert!(check_owner(&dir, theirs).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        own_partition_dir(&dir, theirs).unwrap();
        assert_eq!((whose(), fs::read_dir(root.path()).unwrap().count()), (Whose::Anothers, 2));
    }
}
