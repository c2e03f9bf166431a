//! A file system that forgets. Writes take effect at once for readers, but only what was made durable survives a crash
//! for certain: of the rest, each sector survives or not by itself, and of the changes to names and lengths a prefix, as
//! in a file system with a journal of its own.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// The device writes so many bytes wholly or not at all.
const SECTOR: usize = 512;
const PAGE: usize = 4096;

pub type Stamp = u64;

/// An open file: it stays the same whatever its name becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle(usize);

#[derive(Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Not durable yet, oldest first.
    writes: Vec<Write>,
}

struct Write {
    stamp: Stamp,
    /// When the device said that it is written; a sync that begins later makes it durable.
    done: Option<Stamp>,
    position: usize,
    bytes: Vec<u8>,
}

enum Change {
    Create(String, usize),
    Rename(String, String),
    Unlink(String),
    Length(usize, usize),
}

#[derive(Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    changes: Vec<(Stamp, Change)>,
    clock: Stamp,
}

/// How much of what was not durable a crash keeps.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Everything,
    Writes,
    Pages,
    Sectors,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
            Change::Rename(from, to) => {
                let moved: Vec<String> = names.keys().filter(|name| below(name, from)).cloned().collect();
                for name in moved {
                    let inode = names.remove(&name).expect("it was just listed");
                    names.insert(format!("{to}{}", &name[from.len()..]), inode);
                }
            }
            Change::Unlink(name) => drop(names.remove(name)),
            Change::Length(..) => {}
        }
    }
}

/// The file itself, or a file in the directory.
fn below(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Disk {
    fn tick(&mut self) -> Stamp {
        self.clock += 1;
        self.clock
    }

    fn change(&mut self, change: Change) {
        let stamp = self.tick();
        change.apply(&mut self.names);
        self.changes.push((stamp, change));
    }

    pub fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        self.names.keys().filter(|name| below(name, path)).cloned().collect()
    }

    /// All files that begin with these characters.
    pub fn starting(&self, start: &str) -> Vec<String> {
        self.names.keys().filter(|name| name.starts_with(start)).cloned().collect()
    }

    pub fn open(&self, name: &str) -> Option<Handle> {
        self.names.get(name).copied().map(Handle)
    }

    fn known(&self, name: &str) -> Handle {
        self.open(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub fn content(&self, file: Handle) -> &[u8] {
        &self.inodes[file.0].live
    }

    /// Fewer bytes where the file ends.
    pub fn content_at(&self, file: Handle, position: usize, bytes: usize) -> &[u8] {
        let content = self.content(file);
        &content[position.min(content.len())..(position + bytes).min(content.len())]
    }

    pub fn read(&self, name: &str) -> Option<&[u8]> {
        self.open(name).map(|file| self.content(file))
    }

    pub fn read_at(&self, name: &str, position: usize, bytes: usize) -> Option<&[u8]> {
        self.open(name).map(|file| self.content_at(file, position, bytes))
    }

    /// Makes an empty file if there is none.
    pub fn create(&mut self, name: &str) {
        if !self.exists(name) {
            self.inodes.push(Inode::default());
            self.change(Change::Create(name.into(), self.inodes.len() - 1));
        }
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        self.change(Change::Rename(from.into(), to.into()));
    }

    pub fn unlink(&mut self, name: &str) {
        if self.exists(name) {
            self.change(Change::Unlink(name.into()));
        }
    }

    pub fn cut(&mut self, file: Handle, bytes: usize) {
        let Handle(inode) = file;
        if self.inodes[inode].live.len() != bytes {
            // What is on its way to what is cut off gets nowhere.
            let writes = &mut self.inodes[inode].writes;
            writes.iter_mut().for_each(|write| write.bytes.truncate(bytes.saturating_sub(write.position)));
            resize(&mut self.inodes[inode].live, bytes);
            self.change(Change::Length(inode, bytes));
        }
    }

    pub fn set_length(&mut self, name: &str, bytes: usize) {
        self.cut(self.known(name), bytes);
    }

    pub fn extend(&mut self, file: Handle, bytes: usize) {
        if self.content(file).len() < bytes {
            self.cut(file, bytes);
        }
    }

    pub fn grow(&mut self, name: &str, bytes: usize) {
        self.extend(self.known(name), bytes);
    }

    /// A write that is on its way; [`Disk::done`] says that the device has it.
    pub fn put(&mut self, file: Handle, position: usize, bytes: Vec<u8>) -> Stamp {
        self.extend(file, position + bytes.len());
        let stamp = self.tick();
        let inode = &mut self.inodes[file.0];
        let end = position + bytes.len();
        // One that has failed does not reach the disk any more when another one is made to its place.
        inode.writes.retain(|w| w.done.is_some() || w.position >= end || w.position + w.bytes.len() <= position);
        inode.live[position..position + bytes.len()].copy_from_slice(&bytes);
        inode.writes.push(Write { stamp, done: None, position, bytes });
        stamp
    }

    pub fn done(&mut self, file: Handle, stamp: Stamp) {
        let now = self.tick();
        if let Some(write) = self.inodes[file.0].writes.iter_mut().find(|write| write.stamp == stamp) {
            write.done = Some(now);
        }
    }

    pub fn write(&mut self, name: &str, position: usize, bytes: Vec<u8>) -> Stamp {
        self.put(self.known(name), position, bytes)
    }

    pub fn written(&mut self, name: &str, stamp: Stamp) {
        self.done(self.known(name), stamp);
    }

    /// Bytes of the file are others than were written, and nobody was told.
    pub fn harm(&mut self, name: &str, position: usize, flips: &[u8]) {
        let inode = &mut self.inodes[self.names[name]];
        for content in [&mut inode.live, &mut inode.durable] {
            content[position..].iter_mut().zip(flips).for_each(|(byte, flip)| *byte ^= flip);
        }
    }

    /// A whole file through the page cache.
    pub fn write_file(&mut self, name: &str, bytes: &[u8]) {
        self.create(name);
        self.set_length(name, bytes.len());
        let stamp = self.write(name, 0, bytes.to_vec());
        self.written(name, stamp);
    }

    pub fn now(&mut self) -> Stamp {
        self.tick()
    }

    fn commit_changes(&mut self, until: Stamp) {
        let count = self.changes.partition_point(|(stamp, _)| *stamp <= until);
        for (_, change) in self.changes.drain(..count) {
            change.apply(&mut self.names_durable);
            if let Change::Length(inode, bytes) = change {
                resize(&mut self.inodes[inode].durable, bytes);
            }
        }
    }

    /// Makes one file durable, with all older changes of names and lengths: what `fdatasync` and `O_DSYNC` do in the
    /// file systems that the broker runs on.
    pub fn sync_file(&mut self, name: &str) {
        let now = self.tick();
        self.commit_changes(now);
        let inode = &mut self.inodes[self.names[name]];
        inode.commit(now);
    }

    /// Makes all changes of names and lengths durable.
    pub fn sync_names(&mut self) {
        let now = self.tick();
        self.commit_changes(now);
    }

    /// Makes everything durable that was done before `begun`.
    pub fn sync_all(&mut self, begun: Stamp) {
        self.commit_changes(begun);
        self.inodes.iter_mut().for_each(|inode| inode.commit(begun));
    }

    /// Power fails. Says what was kept.
    pub fn crash(&mut self, random: &mut StdRng) -> String {
        let keep = match random.random_range(0..5) {
            0 => Keep::Nothing,
            1 => Keep::Everything,
            2 => Keep::Writes,
            3 => Keep::Pages,
            _ => Keep::Sectors,
        };
        let changes = match keep {
            Keep::Nothing => 0,
            Keep::Everything => self.changes.len(),
            _ => random.random_range(0..=self.changes.len()),
        };
        let until = if changes == 0 { 0 } else { self.changes[changes - 1].0 };
        let lost = self.changes.len() - changes;
        self.commit_changes(until);
        self.changes.clear();
        for inode in &mut self.inodes {
            for write in std::mem::take(&mut inode.writes) {
                inode.crash_write(&write, keep, random);
            }
            inode.live = inode.durable.clone();
        }
        self.names = self.names_durable.clone();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !self.names.values().any(|named| *named == number) {
                *inode = Inode::default();
            }
        }
        format!("{keep:?} kept, {lost} changes of names and lengths lost")
    }
}

/// Longer by zeros, or shorter. `Vec::resize` goes byte by byte where nothing is optimized.
pub fn resize(content: &mut Vec<u8>, bytes: usize) {
    content.truncate(bytes);
    content.extend_from_slice(&vec![0; bytes - content.len()]);
}

impl Inode {
    fn commit(&mut self, begun: Stamp) {
        for write in self.writes.extract_if(.., |write| write.done.is_some_and(|done| done <= begun)) {
            let end = (write.position + write.bytes.len()).min(self.durable.len());
            if let Some(kept) = end.checked_sub(write.position) {
                self.durable[write.position..end].copy_from_slice(&write.bytes[..kept]);
            }
        }
    }

    fn crash_write(&mut self, write: &Write, keep: Keep, random: &mut StdRng) {
        let whole = random.random::<bool>();
        let mut page = (usize::MAX, false);
        let mut at = 0;
        while at < write.bytes.len() {
            let position = write.position + at;
            let length = (SECTOR - position % SECTOR).min(write.bytes.len() - at);
            if page.0 != position / PAGE {
                page = (position / PAGE, random.random());
            }
            let kept = match keep {
                Keep::Nothing => false,
                Keep::Everything => true,
                Keep::Writes => whole,
                Keep::Pages => page.1,
                Keep::Sectors => random.random(),
            };
            if kept && position + length <= self.durable.len() {
                self.durable[position..position + length].copy_from_slice(&write.bytes[at..at + length]);
            }
            at += length;
        }
    }
}

#[test]
fn what_is_synced_survives_and_the_rest_may_not() {
    use rand::SeedableRng;
    let (mut torn, mut lost) = (0, 0);
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = Disk::default();
        disk.create("a");
        let stamp = disk.write("a", 0, vec![1; PAGE]);
        disk.written("a", stamp);
        disk.sync_file("a");
        disk.write("a", 0, vec![2; PAGE]);
        disk.write_file("b", b"new");
        disk.crash(&mut random);
        let content = disk.read("a").unwrap();
        assert_eq!(content.len(), PAGE);
        assert!(content.chunks(SECTOR).all(|sector| sector == [1; SECTOR] || sector == [2; SECTOR]));
        torn += usize::from(content.contains(&1) && content.contains(&2));
        lost += usize::from(!disk.exists("b"));
    }
    assert!(torn > 0 && lost > 0);
}
