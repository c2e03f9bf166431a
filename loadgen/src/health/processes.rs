//! All processes of the host and the kernel's threads: whose processor time is whose.

use crate::process::Stat;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The process whose children are the kernel's threads. It is seen only where all others are: not from within a container.
const KTHREADD: u32 = 2;

/// By their numbers.
#[derive(Clone, Default, Debug)]
pub struct Processes(BTreeMap<u32, Stat>);

impl Processes {
    /// Those that end meanwhile are left out.
    pub fn read(root: &Path) -> Processes {
        let directory = root.join("proc");
        let entries = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let stat = |pid: u32| Stat::of(&fs::read_to_string(directory.join(format!("{pid}/stat"))).ok()?);
        Processes(pids.filter_map(|pid| Some((pid, stat(pid)?))).collect())
    }

    /// Whether all of the host are seen.
    pub fn are_all(&self) -> bool {
        self.0.get(&KTHREADD).is_some_and(|stat| stat.is_kernel)
    }

    /// Ticks of all that are neither `ours` nor the kernel's. What a child used counts as its parent's once it has been waited
    /// for, so that the sum goes on when it ends.
    pub fn foreign_ticks(&self, ours: &BTreeSet<u32>) -> u64 {
        let foreign = self.0.iter().filter(|(pid, stat)| !stat.is_kernel && !ours.contains(pid));
        foreign.map(|(_, stat)| stat.ticks + stat.reaped_ticks).sum()
    }

    /// Adds what the kernel's threads used since `before` to `ticks`, by what they work for.
    pub fn add_kernel_ticks(&self, before: &Processes, ticks: &mut BTreeMap<String, u64>) {
        for (pid, stat) in self.0.iter().filter(|(_, stat)| stat.is_kernel) {
            let earlier = before.0.get(pid).filter(|earlier| earlier.began_ticks == stat.began_ticks);
            // One that began in between has used nothing before.
            let used = stat.ticks.saturating_sub(earlier.map_or(0, |earlier| earlier.ticks));
            *ticks.entry(work(&stat.name)).or_default() += used;
        }
    }

    /// Whether a process is another, has come from it or is what it came from.
    pub fn are_related(&self, one: u32, other: u32) -> bool {
        self.descends(one, other) || self.descends(other, one)
    }

    fn descends(&self, mut pid: u32, from: u32) -> bool {
        // A chain of parents that were read at different times might be a circle.
        for _ in 0..self.0.len() {
            match self.0.get(&pid) {
                _ if pid == from => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    }
}

/// What a thread of the kernel works for, without the CPU or device: of a worker the queue that it worked for last.
fn work(name: &str) -> String {
    // kworker/CPU:NUMBER, then - and the queue, or + while it works for it; kworker/R-QUEUE is a queue's rescuer.
    let queue =
        name.strip_prefix("kworker/").map(|rest| rest.split_once(['-', '+']).map_or("kworker", |(_, queue)| queue));
    let work = queue.unwrap_or(name);
    match work.split_once('/') {
        Some((work, _)) => work.to_string(),
        None => {
            let device = |(at, _): &(usize, &str)| work[at + 1..].starts_with(|c: char| c.is_ascii_digit());
            let end = work.match_indices('-').find(device).map_or(work.len(), |(at, _)| at);
            work[..end].trim_end_matches(|c: char| c.is_ascii_digit()).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::Tree;

    #[test]
    fn threads_of_the_kernel_are_named_by_their_work() {
        for (name, expected) in [
            ("kworker/0:1H-kblockd", "kblockd"),
            ("kworker/u8:2+flush-8:0", "flush"),
            ("kworker/1:37-dio/vda", "dio"),
            ("kworker/R-dio/vda", "dio"),
            ("kworker/u8:8-ext4-rsv-conversion", "ext4-rsv-conversion"),
            ("kworker/1:1H", "kworker"),
            ("ksoftirqd/1", "ksoftirqd"),
            ("kswapd0", "kswapd"),
            ("jbd2/vda-8", "jbd2"),
        ] {
            assert_eq!(work(name), expected, "{name}");
        }
    }

    #[test]
    fn time_is_summed_up_by_whose_it_is() {
        let tree = Tree::new();
        tree.process(2, "kthreadd", 0, 0, true);
        tree.process(10, "kworker/0:1H-kblockd", 2, 50, true);
        tree.process(70, "broker", 1, 100, false);
        tree.process(71, "shell", 1, 30, false);
        let before = Processes::read(tree.root());
        tree.process(10, "kworker/0:1H-dio/vda", 2, 57, true);
        tree.process(11, "kworker/0:2-kblockd", 2, 4, true);
        tree.process(72, "compiler", 71, 20, false);
        let after = Processes::read(tree.root());
        let ours = BTreeSet::from([70]);
        assert_eq!((before.foreign_ticks(&ours), after.foreign_ticks(&ours)), (30, 50));
        assert_eq!(before.foreign_ticks(&BTreeSet::new()), 130);
        let mut ticks = BTreeMap::from([("dio".to_string(), 1)]);
        after.add_kernel_ticks(&before, &mut ticks);
        let expected = [("dio", 8), ("kblockd", 4), ("kthreadd", 0)].map(|(name, ticks)| (name.to_string(), ticks));
        assert_eq!(ticks, BTreeMap::from(expected));
        assert!(after.are_related(71, 72) && after.are_related(72, 71) && !after.are_related(70, 72));
        // Without the father of the kernel's threads others may be hidden as well.
        assert!(after.are_all());
        tree.process(2, "shell", 0, 0, false);
        assert!(!Processes::read(tree.root()).are_all());
    }
}
