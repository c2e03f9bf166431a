//! Directories of partitions: whose they are, and when they may be taken out of the way.
//!
//! A directory has its topic's id in `partition.metadata`, as in Kafka. One that has another topic's is never written: a name
//! is used again after its topic was deleted, and a crash or a failing device may have left the older directory in place.

use crate::types::Uuid;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

/// The file of a partition's directory that says whose it is.
pub const PARTITION_METADATA: &str = "partition.metadata";
const TOPIC_ID: &str = "topic_id: ";
/// Endings of directories that are out of the way: to be removed, and kept for someone to look at.
const DELETED: &str = "-delete";
const STRAY: &str = "-stray";

/// Whose a directory is, from a topic's point of view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The topic's.
    Ours,
    /// It does not say: a crash came before that was on the disk. So it is in no checkpoint, and nothing is lost if a topic
    /// takes it over.
    Nobodys,
    /// Another topic's.
    Anothers,
}

/// What `partition.metadata` holds.
pub fn partition_metadata(topic: Uuid) -> String {
    format!("version: 0\n{TOPIC_ID}{topic}\n")
}

/// Whose the directory is that has this `partition.metadata`, empty where there is none.
pub fn whose(content: &[u8], topic: Uuid) -> Whose {
    if content == partition_metadata(topic).as_bytes() {
        return Whose::Ours;
    }
    let line = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(TOPIC_ID.as_bytes()));
    let id = topic.to_string();
    match line {
        Some(line) if line.len() == id.len() && line != id.as_bytes() => Whose::Anothers,
        _ => Whose::Nobodys,
    }
}

/// The name that a deleted partition's directory gets before it is removed.
pub fn deleted_name(name: &str, topic: Uuid) -> String {
    assert!(!name.contains('/'), "a name, not a path");
    format!("{name}.{topic}{DELETED}")
}

/// The name that a directory gets which holds the data of a topic that is not known.
pub fn stray_name(name: &str, tag: impl Display) -> String {
    assert!(!name.contains('/'), "a name, not a path");
    format!("{name}.{tag}{STRAY}")
}

/// Whether a directory of this name is to be removed.
pub fn is_deleted(name: &str) -> bool {
    name.ends_with(DELETED)
}

/// Whether a directory of this name is kept for someone to look at.
pub fn is_stray(name: &str) -> bool {
    name.ends_with(STRAY)
}

/// Whether the directory of this name, with this `partition.metadata`, is of a partition that is not there. `known` says which
/// topic has this name and a partition of this index.
pub fn is_unknown(name: &str, content: &[u8], known: impl FnOnce(&str, i32) -> Option<Uuid>) -> bool {
    let Some((topic, index)) = name.rsplit_once('-') else { return false };
    let Ok(index) = index.parse() else { return false };
    known(topic, index).is_none_or(|topic| whose(content, topic) != Whose::Ours)
}

/// Who writes in which directories, by log.
#[derive(Debug)]
pub struct Directories<K> {
    /// Logs whose directory was made, or was found to be theirs.
    owned: HashSet<K>,
    /// Logs that files are written of, and by how many operations.
    users: HashMap<K, usize>,
    /// Logs whose directory is being taken out of the way: nothing of them is written any more.
    forsaken: HashSet<K>,
}

impl<K> Default for Directories<K> {
    fn default() -> Self {
        Directories { owned: HashSet::new(), users: HashMap::new(), forsaken: HashSet::new() }
    }
}

impl<K: Copy + Eq + Hash> Directories<K> {
    /// An operation on the log's files is handed out. Says whether it may do anything: not if the log is forsaken.
    pub fn enter(&mut self, log: K) -> bool {
        *self.users.entry(log).or_default() += 1;
        !self.forsaken.contains(&log)
    }

    /// An operation is over. Says whether it was the last one of the log.
    pub fn leave(&mut self, log: K) -> bool {
        let count = self.users.get_mut(&log).expect("it was counted");
        *count -= 1;
        let last = *count == 0;
        if last {
            self.users.remove(&log);
        }
        last
    }

    /// Nobody is in the directory: it can be taken out of the way.
    pub fn is_unused(&self, log: K) -> bool {
        !self.users.contains_key(&log)
    }

    /// The log's topic is deleted: from now on nothing is written of it that was not begun.
    pub fn forsake(&mut self, log: K) {
        self.forsaken.insert(log);
    }

    /// The directory of a forsaken log is out of the way.
    pub fn gone(&mut self, log: K) {
        assert!(self.is_unused(log), "nobody is in the directory");
        let forsaken = self.forsaken.remove(&log);
        assert!(forsaken, "nothing is begun in it any more");
        self.owned.remove(&log);
    }

    /// The directory was made, or found to be the log's.
    pub fn own(&mut self, log: K) {
        assert!(!self.is_unused(log), "who makes it is in it");
        self.owned.insert(log);
    }

    /// Whether that is known.
    pub fn is_owned(&self, log: K) -> bool {
        self.owned.contains(&log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_whose_it_is() {
        let (ours, theirs) = (Uuid([1; 16]), Uuid([2; 16]));
        let content = partition_metadata(ours);
        assert_eq!(whose(content.as_bytes(), ours), Whose::Ours);
        assert_eq!(whose(content.as_bytes(), theirs), Whose::Anothers);
        assert_eq!(whose(b"", ours), Whose::Nobodys);
        assert_eq!(whose(&vec![0; content.len()], ours), Whose::Nobodys, "a crash has left it without its content");
        for cut in 0..content.len() - 1 {
            assert_eq!(whose(&content.as_bytes()[..cut], theirs), Whose::Nobodys, "{cut} bytes");
        }
    }

    #[test]
    fn a_directory_goes_when_nobody_is_in_it() {
        let mut directories = Directories::default();
        assert!(directories.enter(1) && directories.enter(1) && directories.is_unused(2));
        directories.own(1);
        directories.forsake(1);
        assert!(!directories.enter(1), "nothing is begun any more");
        assert_eq!([1; 3].map(|log| directories.leave(log)), [false, false, true]);
        assert!(directories.is_unused(1) && directories.is_owned(1));
        directories.gone(1);
        assert!(!directories.is_owned(1) && directories.enter(1));
    }

    #[test]
    fn names_say_what_becomes_of_a_directory() {
        let deleted = deleted_name("t-0", Uuid([1; 16]));
        assert!(is_deleted(&deleted) && !is_stray(&deleted) && !is_deleted("t-0"));
        assert!(is_stray(&stray_name("t-0", 7)));
        let ours = Uuid([1; 16]);
        let known = |name: &str, index| (name == "t" && index == 0).then_some(ours);
        let unknown = |name: &str, topic| is_unknown(name, partition_metadata(topic).as_bytes(), known);
        assert_eq!([unknown("t-0", ours), unknown("t-1", ours), unknown("u-0", ours)], [false, true, true]);
        assert!(unknown("t-0", Uuid([2; 16])) && !unknown("journal", ours) && !unknown("t-x", ours));
    }
}
