//! Processor time and memory of the broker's process, from `/proc`; this process's own limits.

#![allow(unsafe_code)]

use std::{fs, io};

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// Seconds in user and kernel mode of all its threads since it began.
    pub cpu_seconds: f64,
    pub rss_bytes: u64,
}

impl Usage {
    pub fn of(pid: u32) -> io::Result<Usage> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}"))
                .map_err(|error| io::Error::new(error.kind(), format!("process {pid}: {error}")))
        };
        // SAFETY: a call without pointers.
        let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        assert!(ticks_per_second > 0);
        let ticks = cpu_ticks(&read("stat")?).ok_or_else(|| io::Error::other("/proc/PID/stat is of another form"))?;
        // A process that has ended and not been waited for has no memory.
        let rss_bytes = rss_bytes(&read("status")?).unwrap_or(0);
        Ok(Usage { cpu_seconds: ticks as f64 / ticks_per_second as f64, rss_bytes })
    }

    /// What was used since `before`, and the memory of this moment.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage { cpu_seconds: self.cpu_seconds - before.cpu_seconds, rss_bytes: self.rss_bytes }
    }
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

/// User and system time are fields 14 and 15; the name in field 2 may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
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
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("12 (a"), None);
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
