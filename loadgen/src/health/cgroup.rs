//! The cgroup (version 2) of a process, where it has one of its own.

use crate::health::pressure::Pressure;
use crate::health::processes::Processes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

#[derive(Clone, PartialEq, Debug)]
pub struct Cgroup {
    pub directory: PathBuf,
    pub pids: BTreeSet<u32>,
    /// Processor time of all that ever was in it, those that ended included.
    pub cpu_seconds: f64,
    /// `None` where memory is not counted by cgroup.
    pub memory: Option<Memory>,
    pub pressure: Pressure,
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Memory {
    pub total: u64,
    /// The processes' own, and the page cache of the files that they read and write.
    pub anonymous: u64,
    pub page_cache: u64,
}

impl Cgroup {
    /// Of process `pid`, if no other is in its cgroup but those that it came from or that came from it: what others use would
    /// be counted as its own.
    pub fn of(root: &Path, pid: u32, processes: &Processes) -> Option<Cgroup> {
        let path = fs::read_to_string(root.join(format!("proc/{pid}/cgroup"))).ok()?;
        let path = PathBuf::from(path.lines().find_map(|line| line.strip_prefix("0::"))?);
        let directory = directory(root, &path)?;
        let mut pids = BTreeSet::new();
        members(&directory, &mut pids);
        let is_own = |member: &u32| *member != std::process::id() && processes.are_related(*member, pid);
        if !pids.contains(&pid) || !pids.iter().all(is_own) {
            return None;
        }
        let usage_us = *fields(&directory.join("cpu.stat")).get("usage_usec")?;
        let memory = || {
            let total = fs::read_to_string(directory.join("memory.current")).ok()?.trim().parse().ok()?;
            let parts = fields(&directory.join("memory.stat"));
            Some(Memory { total, anonymous: *parts.get("anon")?, page_cache: *parts.get("file")? })
        };
        Some(Cgroup {
            pids,
            cpu_seconds: usage_us as f64 / 1e6,
            memory: memory(),
            pressure: Pressure::of_cgroup(&directory),
            directory,
        })
    }
}

/// Where a cgroup's files are. The root is nobody's own; what lies outside of the own namespace (`/..`) is not to be seen.
fn directory(root: &Path, path: &Path) -> Option<PathBuf> {
    if path.components().any(|component| component == Component::ParentDir) || path.parent().is_none() {
        return None;
    }
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let place = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (top, point) = (mount.next()?, mount.next()?);
        let below = path.strip_prefix(top).ok().filter(|_| kind.starts_with("cgroup2 "))?;
        Some(root.join(point.trim_start_matches('/')).join(below))
    };
    mounts.lines().find_map(place)
}

/// Processes of a cgroup and of those below it. Those that go meanwhile, and those of threads, whose processes the one above has,
/// cannot be read.
fn members(directory: &Path, pids: &mut BTreeSet<u32>) {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.for_each(|entry| members(&entry.path(), pids));
}

/// Lines of a name and a number.
fn fields(file: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let field = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_string(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::{BROKER, Tree};

    fn found(tree: &Tree) -> Option<Cgroup> {
        Cgroup::of(tree.root(), BROKER, &Processes::read(tree.root()))
    }

    #[test]
    fn the_brokers_own_is_found_with_its_page_cache() {
        let tree = Tree::new();
        tree.broker_in_cgroup("/system.slice/klamm.service", 2_500_000);
        let cgroup = found(&tree).unwrap();
        assert!(cgroup.directory.ends_with("sys/fs/cgroup/system.slice/klamm.service"), "{cgroup:?}");
        let memory = Memory { total: 5000, anonymous: 1000, page_cache: 3000 };
        assert_eq!((cgroup.cpu_seconds, cgroup.memory), (2.5, Some(memory)));
        // What started the broker, and what the broker started in a cgroup below, belong to it.
        tree.process(60, "start", 1, 0, false);
        tree.process(BROKER, "broker", 60, 0, false);
        tree.process(90, "helper", BROKER, 0, false);
        tree.write("sys/fs/cgroup/system.slice/klamm.service/cgroup.procs", &format!("60\n{BROKER}\n"));
        tree.write("sys/fs/cgroup/system.slice/klamm.service/below/cgroup.procs", "90\n");
        assert_eq!(found(&tree).unwrap().pids, BTreeSet::from([60, BROKER, 90]));
        // Memory may be without a controller.
        fs::remove_file(tree.root().join("sys/fs/cgroup/system.slice/klamm.service/memory.current")).unwrap();
        assert_eq!(found(&tree).unwrap().memory, None);
    }

    #[test]
    fn one_that_others_are_in_is_not_its_own() {
        let tree = Tree::new();
        tree.broker_in_cgroup("/user.slice/session", 1);
        assert!(found(&tree).is_some());
        tree.process(91, "editor", 1, 0, false);
        tree.write("sys/fs/cgroup/user.slice/session/below/cgroup.procs", "91\n");
        assert_eq!(found(&tree), None);
        // Nor one whose processes are of another namespace, nor this program's.
        tree.process(std::process::id(), "loadgen", BROKER, 0, false);
        for other in [0, std::process::id()] {
            tree.write("sys/fs/cgroup/user.slice/session/below/cgroup.procs", &format!("{other}\n"));
            assert_eq!(found(&tree), None, "{other}");
        }
    }

    #[test]
    fn the_root_and_what_lies_outside_are_nobodys() {
        for path in ["/", "/../outside", "/elsewhere"] {
            let tree = Tree::new();
            tree.broker_in_cgroup("/own", 1);
            tree.write("sys/fs/cgroup/cgroup.procs", &format!("{BROKER}\n"));
            tree.write(&format!("proc/{BROKER}/cgroup"), &format!("4:memory:/own\n0::{path}\n"));
            assert_eq!(found(&tree), None, "{path}");
        }
        let tree = Tree::new();
        tree.broker_in_cgroup("/own", 1);
        tree.write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n");
        assert_eq!(found(&tree), None, "version 2 is not mounted");
    }

    #[test]
    fn the_mount_may_be_of_a_part() {
        let tree = Tree::new();
        tree.broker_in_cgroup("/own", 1);
        tree.write(&format!("proc/{BROKER}/cgroup"), "0::/docker/abc/own\n");
        tree.write("proc/self/mountinfo", "41 31 0:38 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(found(&tree).is_some());
    }
}
