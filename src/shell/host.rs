//! What the broker asks of the machine: cores, limits, signals, io_uring.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

/// Locked memory without which glommio starts no executor.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Rings of an executor; the kernel counts the memory that is registered with each of them.
const RINGS: usize = 3;

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
        tracing::warn!(
            "memlock is limited to {limit} bytes, {wanted} are wanted: running with unregistered buffers, which costs \
             a little CPU; `ulimit -l {}` or LimitMEMLOCK=infinity raises the limit",
            wanted.div_ceil(1024)
        );
    }
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t) -> (u64, u64) {
    // SAFETY: the call fills the structure.
    unsafe {
        let mut limit = MaybeUninit::<libc::rlimit>::zeroed().assume_init();
        libc::getrlimit(resource, &mut limit);
        (limit.rlim_cur, limit.rlim_max)
    }
}

/// Takes as many open files as the process may have.
pub fn raise_open_files() {
    raise(libc::RLIMIT_NOFILE);
}

/// Raises a limit as far as the process may.
fn raise(resource: libc::__rlimit_resource_t) {
    let (soft, hard) = limit(resource);
    if soft < hard {
        let raised = libc::rlimit { rlim_cur: hard, rlim_max: hard };
        // SAFETY: the call reads the structure.
        unsafe { libc::setrlimit(resource, &raised) };
    }
}

/// An error of glommio at the start of an executor, with what to do.
pub fn explain_executor(error: &str) -> String {
    if error.contains("memlock") || error.contains("Cannot allocate") {
        return format!("io_uring: not enough locked memory ({error}); raise it with `ulimit -l 8192`");
    }
    format!("a core cannot be started: {error}")
}

/// SIGINT and SIGTERM wait to be asked for, on this thread and those that it starts.
pub fn block_signals() -> libc::sigset_t {
    // SAFETY: the set is plain memory that the calls fill.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    }
}

pub fn wait_for_signal(set: &libc::sigset_t) {
    let mut signal = 0;
    // SAFETY: both pointers are to live memory.
    unsafe { libc::sigwait(set, &mut signal) };
    tracing::info!("stopping: signal {signal}");
}

/// Bytes of the file system that holds `root`: all, and those free to this user.
pub fn space(root: &Path) -> (u64, u64) {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(root.as_os_str().as_bytes()) else { return (0, 0) };
    // SAFETY: the path ends with a zero byte, and the call fills the structure.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut stat) != 0 {
            return (0, 0);
        }
        (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
    }
}

/// The host's name, for clients that are told no other.
pub fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}
