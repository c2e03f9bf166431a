//! Directories of partitions: whose they are, and how they go.
//!
//! A directory has its topic's id in `partition.metadata`, as in Kafka. One that has another topic's is never written: a name
//! is used again after its topic was deleted, and a crash or a failing device may have left the older directory in place.

use super::{Disk, LogIndex, blocking, close, remove_file, replace_file, sync_dir};
use crate::shell::blocking::Kind;
use crate::shell::leftovers::{delete_path, stray_path};
use crate::shell::report::{self, succeeded};
use crate::types::Uuid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Files of a partition's directory besides its segments.
pub const PARTITION_METADATA: &str = "partition.metadata";
const GROUP_CHECKPOINT: &str = "group.checkpoint";
const TOPIC_ID: &str = "topic_id: ";

/// Who holds it may write files of a log, unless the log is forsaken.
pub struct Access {
    disk: Rc<Disk>,
    log: LogIndex,
    /// The log's topic is deleted: nothing is to be done.
    pub(super) forsaken: bool,
}

impl Drop for Access {
    fn drop(&mut self) {
        let mut users = self.disk.users.borrow_mut();
        let count = users.get_mut(&self.log).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            users.remove(&self.log);
            self.disk.unused.raise();
        }
    }
}

impl Disk {
    /// To be had for a log when work on its files is handed out, before the work begins.
    pub fn access(self: &Rc<Self>, log: LogIndex) -> Access {
        *self.users.borrow_mut().entry(log).or_default() += 1;
        Access { disk: self.clone(), log, forsaken: self.forsaken.borrow().contains(&log) }
    }

    /// The log's topic is deleted: from now on nothing is written of it that was not begun.
    pub fn forsake(&self, log: LogIndex) {
        self.forsaken.borrow_mut().insert(log);
    }

    /// Renames the directory of a forsaken log once nothing is written in it any more, and says which one is to be deleted,
    /// if there is one. After an error the directory is where it was.
    pub async fn partition_aside(&self, log: LogIndex, name: &str, topic: Uuid) -> io::Result<Option<PathBuf>> {
        self.unused.wait(|| !self.users.borrow().contains_key(&log)).await;
        let state = self.appending.borrow_mut().remove(&log);
        if let Some(state) = state {
            close(state.file).await;
        }
        let (root, dir) = (self.root.clone(), self.root.join(name));
        let aside = delete_path(&self.root, name, topic);
        let renamed = blocking(Kind::Sync, move || {
            if !dir.try_exists()? || is_foreign(&dir, topic)? {
                return Ok::<_, io::Error>(None);
            }
            fs::rename(dir, &aside)?;
            sync_dir(&root)?;
            Ok(Some(aside))
        })
        .await?;
        self.forsaken.borrow_mut().remove(&log);
        self.owned.borrow_mut().remove(&log);
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
    if is_foreign(dir, topic)? {
        let aside = stray_path(dir, topic);
        tracing::warn!("{} holds another topic's data: moved to {}", dir.display(), aside.display());
        fs::rename(dir, aside)?;
        sync_dir(dir.parent().expect("the directory is in the data directory"))?;
    }
    fs::create_dir_all(dir)?;
    match belongs_to(dir, topic)? {
        true => Ok(()),
        false => fs::write(dir.join(PARTITION_METADATA), partition_metadata(topic)),
    }
}

fn partition_metadata(topic: Uuid) -> String {
    format!("version: 0\n{TOPIC_ID}{topic}\n")
}

/// The content of a directory's `partition.metadata`; empty without such a file.
fn metadata_of(dir: &Path) -> io::Result<Vec<u8>> {
    match fs::read(dir.join(PARTITION_METADATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        content => content,
    }
}

/// Whether the directory says that it is the topic's.
pub fn belongs_to(dir: &Path, topic: Uuid) -> io::Result<bool> {
    Ok(metadata_of(dir)? == partition_metadata(topic).as_bytes())
}

/// Whether the directory says that it is another topic's. What says nothing (a crash came before it was on the disk) is in no
/// checkpoint, so that nothing is lost if the topic takes it over.
pub fn is_foreign(dir: &Path, topic: Uuid) -> io::Result<bool> {
    let content = metadata_of(dir)?;
    let line = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(TOPIC_ID.as_bytes()));
    Ok(line.is_some_and(|id| id.len() == topic.to_string().len() && id != topic.to_string().as_bytes()))
}

/// An error if the directory is another topic's.
pub fn check_owner(dir: &Path, topic: Uuid) -> io::Result<()> {
    match is_foreign(dir, topic)? {
        false => Ok(()),
        true => Err(io::Error::other(format!("{} is another topic's", dir.display()))),
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
    fn a_directory_says_whose_it_is() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("t-0");
        let (ours, theirs) = (Uuid([1; 16]), Uuid([2; 16]));
        let whose = || (belongs_to(&dir, ours).unwrap(), is_foreign(&dir, ours).unwrap());
        assert_eq!(whose(), (false, false), "there is none");
        own_partition_dir(&dir, theirs).unwrap();
        assert_eq!(whose(), (false, true));
        // A crash may leave the file without its content.
        fs::write(dir.join(PARTITION_METADATA), [0; 20]).unwrap();
        assert_eq!(whose(), (false, false));
        own_partition_dir(&dir, ours).unwrap();
        assert_eq!(whose(), (true, false));
        assert!(check_owner(&dir, theirs).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        own_partition_dir(&dir, theirs).unwrap();
        assert_eq!((whose(), fs::read_dir(root.path()).unwrap().count()), ((false, true), 2));
    }
}
