//! What the broker asks of the machine: cores, limits, signals, io_uring.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Locked memory without which glommio starts no executor.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Rings of an executor; the kernel counts the memory that is registered with each of them.
const RINGS: usize = 3;

/// File systems in memory, by `f_type` of statfs(2).
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;
/// Descriptors that the process has open whatever it does: standard streams, listeners, the metadata log, some to spare.
const DESCRIPTORS_PROCESS: usize = 14;
/// Those of a core besides its journal's files and its segments: rings, channels to other cores, files that are replaced.
const DESCRIPTORS_CORE: usize = 8;
/// Segment files that a core needs open at least, and has use for at the most.
const SEGMENTS_MIN: usize = 4;
const SEGMENTS_MAX: usize = 1024;
/// Segment writes of a core that may be under way.
const SEGMENT_WRITES_MAX: usize = 4;
/// A broker for fewer connections does not start.
const CONNECTIONS_MIN: usize = 4;
/// Whoever does not ask for fewer connections is warned below this number.
const CONNECTIONS_FEW: u32 = 1000;

/// The CPUs to run on: those configured, or all that the process may use. Each must be allowed.
pub fn cores(configured: &[usize]) -> Result<Vec<usize>, String> {
    // SAFETY: the set is plain memory that the call fills.
    let allowed: Vec<usize> = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return Err(format!("the allowed CPUs cannot be read: {}", io::Error::last_os_error()));
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    };
    if configured.is_empty() {
        return Ok(allowed);
    }
    match configured.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(configured.to_vec()),
        Some(cpu) => Err(format!("cores: this process may not run on CPU {cpu}, only on {allowed:?}")),
    }
}

/// A ring can be made, or the error says what forbids it.
pub fn check_io_uring() -> Result<(), String> {
    // SAFETY: the kernel fills the parameters, 120 bytes; a descriptor that it returns is closed at once.
    let result = unsafe {
        let mut parameters = [0u8; 120];
        libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr())
    };
    if result >= 0 {
        // SAFETY: the descriptor is ours and has no other owner.
        drop(unsafe { OwnedFd::from_raw_fd(result as i32) });
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::ENOSYS) => "io_uring: the kernel has none; Klamm needs Linux 5.10 or newer".into(),
        Some(libc::EPERM | libc::EACCES) => match fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
            Ok(value) if value.trim() != "0" => {
                "io_uring is forbidden on this host: sysctl kernel.io_uring_disabled=0 allows it".into()
            }
            _ => "io_uring is forbidden to this process, as by the default seccomp profile of Docker and others: \
                  start the container with --security-opt seccomp=unconfined or a profile that allows io_uring_*"
                .into(),
        },
        _ => format!("io_uring cannot be used: {error}"),
    })
}

/// Takes as much locked memory as the process may have. Says so if that is not enough for all cores' registered buffers: the
/// broker runs without them. An error if it is not enough for an executor.
pub fn check_memlock(cores: usize, bytes: usize) -> Result<(), String> {
    raise(libc::RLIMIT_MEMLOCK);
    let (limit, _) = limit(libc::RLIMIT_MEMLOCK);
    if limit < MEMLOCK_BYTES_MIN {
        return Err(format!(
            "memlock: {limit} bytes may be locked, io_uring needs {MEMLOCK_BYTES_MIN}; `ulimit -l 8192`, LimitMEMLOCK=8M in \
             a systemd unit or --ulimit memlock=8388608 of Docker raises the limit"
        ));
    }
    let wanted = (cores * RINGS * bytes) as u64;
    if limit < wanted {
        tracing::info!(
            "memlock is limited to {limit} bytes, {wanted} are wanted: running with unregistered buffers, which costs \
             a little CPU; `ulimit -l {}` or LimitMEMLOCK=infinity raises the limit",
            wanted.div_ceil(1024)
        );
    }
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t) -> (u64, u64) {
    // SAFETY: the call fills the structure.
    let (result, limit) = unsafe {
        let mut limit = MaybeUninit::<libc::rlimit>::zeroed().assume_init();
        (libc::getrlimit(resource, &mut limit), limit)
    };
    assert!(result == 0, "getrlimit fails only for arguments that are wrong: {}", io::Error::last_os_error());
    (limit.rlim_cur, limit.rlim_max)
}

/// Raises a limit as far as the process may.
fn raise(resource: libc::__rlimit_resource_t) {
    let (soft, hard) = limit(resource);
    if soft < hard {
        let raised = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: the call reads the structure.
        if unsafe { libc::setrlimit(resource, &raised) } != 0 {
            // The broker runs with what it has.
            tracing::info!("a limit of {soft} cannot be raised to {hard}: {}", io::Error::last_os_error());
        }
    }
}

/// How the descriptors that the process may open are divided, so that connections never take those that files need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// Connections of all listeners.
    pub connections_max: u32,
    /// Segment files that a core may have open.
    pub segments_max: usize,
}

impl Descriptors {
    /// Of a process that runs on so many cores, each with a journal of at most `journal_files`. Raises the process's limit as
    /// far as that is allowed; the error says that it is too low.
    pub fn divide(cores: usize, journal_files: usize, connections_max: u32) -> Result<Descriptors, String> {
        raise(libc::RLIMIT_NOFILE);
        let (limit, _) = limit(libc::RLIMIT_NOFILE);
        let descriptors = Descriptors::of(limit, cores, journal_files).map_err(|needed| {
            format!(
                "{limit} files may be open, and at least {needed} are needed; `ulimit -n`, LimitNOFILE= in a systemd unit \
                 or --ulimit nofile= of Docker raises the limit, and fewer `cores` need less"
            )
        })?;
        let connections = descriptors.connections_max;
        if connections < connections_max.min(CONNECTIONS_FEW) {
            tracing::warn!(
                "only {connections} connections at a time: {limit} files may be open; `ulimit -n`, LimitNOFILE= in a systemd \
                 unit or --ulimit nofile= of Docker raises the limit"
            );
        } else {
            let most = connections.min(connections_max);
            tracing::info!("at most {most} connections at a time: {limit} files may be open");
        }
        Ok(descriptors)
    }

    /// The error is the number of descriptors that are needed at least.
    fn of(limit: u64, cores: usize, journal_files: usize) -> Result<Descriptors, usize> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let fixed = DESCRIPTORS_PROCESS + cores * (DESCRIPTORS_CORE + journal_files);
        let needed = fixed + cores * SEGMENTS_MIN + CONNECTIONS_MIN;
        let rest = limit.checked_sub(fixed).filter(|_| limit >= needed).ok_or(needed)?;
        // Half of the rest, unless that is more than a core has use for or less than it can do with.
        let segments_max = (rest / 2 / cores).clamp(SEGMENTS_MIN, SEGMENTS_MAX);
        let connections_max = u32::try_from(rest - cores * segments_max).unwrap_or(u32::MAX);
        Ok(Descriptors { connections_max, segments_max })
    }

    /// Segment files that a core may keep open for writing; as many are for reading.
    pub fn handles_write_max(self) -> usize {
        (self.segments_max / 2).saturating_sub(SEGMENT_WRITES_MAX).max(1)
    }

    /// Segment files that a core may keep open for reading, besides those that are read just then.
    pub fn handles_read_max(self) -> usize {
        (self.segments_max / 2).saturating_sub(self.reads_max()).max(1)
    }

    /// Reads of segments that a core may have under way.
    pub fn reads_max(self) -> usize {
        (self.segments_max / 8).max(1)
    }
}

/// An error of glommio at the start of an executor, with what to do.
pub fn explain_executor(error: &str) -> String {
    if error.contains("memlock") || error.contains("Cannot allocate") {
        return format!("io_uring: not enough locked memory ({error}); raise it with `ulimit -l 8192`");
    }
    format!("a core cannot be started: {error}")
}

/// The signals that end the broker (SIGINT, SIGTERM, SIGHUP) wait to be asked for, on this thread and those that it starts. A
/// process that is to outlive its terminal (`nohup`) goes on without SIGHUP.
pub fn block_signals() -> Result<libc::sigset_t, String> {
    // SAFETY: the sets and the action are plain memory that the calls fill; a null action only asks.
    let blocked = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            if signal != libc::SIGHUP || action.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(&mut set, signal);
            }
        }
        // A file at the limit of its size (`ulimit -f`) is an error of writing.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        (libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), set)
    };
    match blocked {
        (0, set) => Ok(set),
        (error, _) => Err(format!("signals cannot be blocked: {}", io::Error::from_raw_os_error(error))),
    }
}

/// Waits for one of these signals.
pub fn wait_for_signal(set: &libc::sigset_t) {
    let mut signal = 0;
    // SAFETY: both pointers are to live memory.
    let error = unsafe { libc::sigwait(set, &mut signal) };
    assert!(error == 0, "sigwait fails only for a set that is wrong: {}", io::Error::from_raw_os_error(error));
    tracing::info!("stopping: signal {signal}");
}

fn path_for_c(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Bytes of the file system that holds `root`: all, and those free to this user.
pub fn space(root: &Path) -> io::Result<(u64, u64)> {
    let path = path_for_c(root)?;
    // SAFETY: the path ends with a zero byte, and the call fills the structure.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        match libc::statvfs(path.as_ptr(), &mut stat) {
            // Some file systems in user space name as many blocks as the number can say.
            0 => Ok((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Warns where the data directory is in memory, and so would not outlive the machine.
pub fn check_file_system(root: &Path) -> Result<(), String> {
    let wrong = |error: io::Error| format!("{}: {error}", root.display());
    let path = path_for_c(root).map_err(wrong)?;
    // SAFETY: the path ends with a zero byte, and the call fills the structure.
    let kind = unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        if libc::statfs(path.as_ptr(), &mut stat) != 0 {
            return Err(wrong(io::Error::last_os_error()));
        }
        stat.f_type as u32
    };
    let name = match kind {
        TMPFS => "tmpfs",
        RAMFS => "ramfs",
        _ => return Ok(()),
    };
    tracing::warn!(
        "{} is on {name}, which is memory: records survive the end of the broker, but not of the machine; set log.dirs to a \
         directory on a drive",
        root.display()
    );
    Ok(())
}

/// The host's name, for clients that are told no other.
pub fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided() {
        for (limit, cores, journal) in
            [(64, 1, 8), (64, 2, 8), (1024, 2, 8), (1024, 32, 8), (20_000, 2, 8), (1 << 40, 64, 1024)]
        {
            let descriptors = Descriptors::of(limit, cores, journal).unwrap();
            let Descriptors { connections_max, segments_max } = descriptors;
            let fixed = DESCRIPTORS_PROCESS + cores * (DESCRIPTORS_CORE + journal);
            assert!(fixed + cores * segments_max + connections_max as usize <= limit as usize, "{limit} {cores}");
            assert!(connections_max as usize >= CONNECTIONS_MIN && segments_max >= SEGMENTS_MIN, "{limit} {cores}");
            let reading = descriptors.handles_read_max() + descriptors.reads_max();
            assert!(descriptors.handles_write_max() + reading <= segments_max, "{limit} {cores}");
        }
        assert_eq!(Descriptors::of(1024, 2, 8), Ok(Descriptors { connections_max: 490, segments_max: 244 }));
        assert_eq!(Descriptors::of(u64::MAX, 1, 8).unwrap().segments_max, SEGMENTS_MAX);
        assert_eq!(Descriptors::of(33, 1, 8), Err(38));
    }
}
