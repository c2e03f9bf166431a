//! Processor time and memory of the broker's process, from `/proc`; this process's own limits.

#![allow(unsafe_code)]

use std::path::Path;
use std::{fs, io};

/// Where the kernel's file systems are.
pub const ROOT: &str = "/";
/// `PF_KTHREAD` of linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// Seconds in user and kernel mode of all its threads since it began.
    pub cpu_seconds: f64,
    pub rss_bytes: u64,
}

impl Usage {
    pub fn of(pid: u32) -> io::Result<Usage> {
        Usage::below(Path::new(ROOT), pid)
    }

    /// With the kernel's files below `root`.
    pub fn below(root: &Path, pid: u32) -> io::Result<Usage> {
        let read = |file: &str| {
            fs::read_to_string(root.join(format!("proc/{pid}/{file}")))
                .map_err(|error| io::Error::new(error.kind(), format!("process {pid}: {error}")))
        };
        let stat = Stat::of(&read("stat")?).ok_or_else(|| io::Error::other("/proc/PID/stat is of another form"))?;
        // A process that has ended and not been waited for has no memory.
        let rss_bytes = rss_bytes(&read("status")?).unwrap_or(0);
        Ok(Usage { cpu_seconds: stat.ticks as f64 / ticks_per_second(), rss_bytes })
    }

    /// What was used since `before`, and the memory of this moment.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage { cpu_seconds: self.cpu_seconds - before.cpu_seconds, rss_bytes: self.rss_bytes }
    }
}

/// What `/proc/PID/stat` says of a process or a thread of the kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Stat {
    pub name: String,
    pub parent: u32,
    pub is_kernel: bool,
    /// Time in user and kernel mode; that of children that it has waited for; and when it began.
    pub ticks: u64,
    pub reaped_ticks: u64,
    pub began_ticks: u64,
}

impl Stat {
    /// The name in field 2 may hold spaces and parentheses.
    pub fn of(stat: &str) -> Option<Stat> {
        let (head, fields) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first behind the name is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            name: name.to_string(),
            parent: u32::try_from(field(4)?).ok()?,
            is_kernel: field(9)? & KERNEL_THREAD != 0,
            ticks: field(14)? + field(15)?,
            reaped_ticks: field(16)? + field(17)?,
            began_ticks: field(22)?,
        })
    }
}

/// The unit of processor time in `/proc`.
pub fn ticks_per_second() -> f64 {
    // SAFETY: a call without pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    assert!(ticks > 0);
    ticks as f64
}

/// Lets the other threads that may use the same cores go first, and gets its share nevertheless where they are always busy.
pub fn step_back() {
    const NICE: i32 = 5;
    // SAFETY: a call without pointers, for this thread alone. It cannot fail: whoever may run may be nicer.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Lets this process have as many open files, and so connections, as it may give itself.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits outlive both calls.
    let result = unsafe {
        match libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) {
            0 => {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
            }
            failed => failed,
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_strange_name() {
        let stat = Stat::of("12 (a) b (c)) S 1 2 3 4 5 2129984 7 8 9 10 250 50 7 3 20 0 1 0 99 0 0\n").unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.is_kernel), ("a) b (c)", 1, true));
        assert_eq!((stat.ticks, stat.reaped_ticks, stat.began_ticks), (300, 10, 99));
        assert_eq!(Stat::of("12 (a"), None);
        assert_eq!(Stat::of("12 (a) S 1 2"), None);
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0 && usage.cpu_seconds >= 0.0);
        assert!(Usage::of(u32::MAX).is_err());
        assert_eq!(usage.since(&usage).cpu_seconds, 0.0);
    }
}
