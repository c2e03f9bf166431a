//! The kernel's pressure stall information: how long tasks waited for a resource.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The last is there only where the kernel measures the time of interrupts.
const RESOURCES: [&str; 4] = ["cpu", "io", "memory", "irq"];
/// Of the whole host it is always none, and there for the sake of older programs.
const HOST_CPU_FULL: &str = "cpu_full";
const SECOND_US: f64 = 1e6;

/// Microseconds since the start in which some or all tasks waited, such as `io_some`. Empty where the kernel does not count them.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Pressure(BTreeMap<String, u64>);

impl Pressure {
    pub fn of_host(root: &Path) -> Pressure {
        let mut pressure = Pressure::read(|resource| root.join("proc/pressure").join(resource));
        pressure.0.remove(HOST_CPU_FULL);
        pressure
    }

    pub fn of_cgroup(directory: &Path) -> Pressure {
        Pressure::read(|resource| directory.join(format!("{resource}.pressure")))
    }

    fn read(file: impl Fn(&str) -> PathBuf) -> Pressure {
        let mut totals = BTreeMap::new();
        for resource in RESOURCES {
            let text = fs::read_to_string(file(resource)).unwrap_or_default();
            totals.extend(text.lines().filter_map(|line| {
                let kind = line.split_whitespace().next()?;
                let total = line.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
                Some((format!("{resource}_{kind}"), total.parse().ok()?))
            }));
        }
        Pressure(totals)
    }

    /// Shares of so many seconds that passed since `before`.
    pub fn since(&self, before: &Pressure, seconds: f64) -> BTreeMap<String, f64> {
        let share = |(name, total): (&String, &u64)| {
            let before = before.0.get(name)?;
            Some((name.clone(), total.saturating_sub(*before) as f64 / SECOND_US / seconds))
        };
        self.0.iter().filter_map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::Tree;

    #[test]
    fn totals_become_shares() {
        let tree = Tree::new();
        let line = |kind: &str, total: u64| format!("{kind} avg10=1.00 avg60=2.00 avg300=3.00 total={total}\n");
        tree.write("proc/pressure/cpu", &(line("some", 1_000_000) + &line("full", 0)));
        tree.write("proc/pressure/io", &(line("some", 0) + &line("full", 500_000)));
        let before = Pressure::of_host(tree.root());
        tree.write("proc/pressure/cpu", &line("some", 1_500_000));
        tree.write("proc/pressure/io", &(line("some", 2_000_000) + &line("full", 600_000)));
        // One that begins to be counted in between has no share.
        tree.write("proc/pressure/irq", &line("full", 7));
        let shares = Pressure::of_host(tree.root()).since(&before, 2.0);
        let expected = [("cpu_some", 0.25), ("io_full", 0.05), ("io_some", 1.0)];
        assert_eq!(shares, BTreeMap::from(expected.map(|(name, share)| (name.to_string(), share))));
        assert_eq!(Pressure::of_host(&tree.root().join("elsewhere")), Pressure::default());
    }
}
