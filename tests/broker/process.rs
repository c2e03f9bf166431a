//! The real program as a child process with a data directory of its own.

#![allow(unsafe_code)]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes longer, on a machine however slow.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How often a test that waits looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `ready` has a value. Says `what` it waited for when it never comes.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The program with settings, without any of this process's environment that it would read.
pub fn klamm(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KAFKA_") || name.starts_with("KLAMM_")) {
        command.env_remove(name);
    }
    for (name, value) in settings {
        command.arg("--override").arg(format!("{name}={value}"));
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program that is to end by itself; its exit status and what it wrote to standard output and error.
#[track_caller]
pub fn run_to_end(mut command: Command) -> (Option<i32>, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let output = read_aside(child.stdout.take().unwrap());
    let errors = read_aside(child.stderr.take().unwrap());
    let status = wait_for_exit(&mut child);
    (status, output.join().unwrap(), errors.join().unwrap())
}

/// Reads all of a pipe while others go on, so that whoever writes to it never waits.
fn read_aside(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("output is UTF-8");
        text
    })
}

#[track_caller]
fn wait_for_exit(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        if start.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("the program does not end");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// CPUs that this process may run on, as `/proc` lists them.
pub fn cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("it is listed");
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().unwrap()..=last.parse::<usize>().unwrap());
    }
    cpus
}

/// The first `count` CPUs of this process, or all if it has fewer, as a value of the setting `cores`.
pub fn cores(count: usize) -> String {
    let cpus = cpus();
    let chosen: Vec<String> = cpus.iter().take(count).map(usize::to_string).collect();
    chosen.join(",")
}

/// A broker that runs, killed at the end.
pub struct Broker {
    child: Child,
    pub address: SocketAddr,
    pub ready_line: String,
    log: Arc<Mutex<String>>,
    _stdout: BufReader<ChildStdout>,
}

impl Broker {
    /// Starts the program with its data in `dir`, on one core and a free port unless `settings` say otherwise.
    #[track_caller]
    pub fn start(dir: &Path, settings: &[(&str, &str)]) -> Broker {
        let (dir, core) = (dir.to_str().unwrap(), cores(1));
        let mut all = vec![
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", dir),
            ("cores", &*core),
            // Small: most tests write little.
            ("journal.file.bytes", "33554432"),
            // The records of many tests are of long ago, and stay.
            ("log.initial.task.delay.ms", "86400000"),
        ];
        all.extend_from_slice(settings);
        Broker::spawn(klamm(&all))
    }

    #[track_caller]
    pub fn spawn(mut command: Command) -> Broker {
        // SAFETY: prctl is safe between fork and exec. The child dies with the thread that started it, even if that is killed.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the broker starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, errors) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready_line = String::new();
        stdout.read_line(&mut ready_line).expect("output is UTF-8");
        let Some(address) = address_of(&ready_line) else {
            let _ = child.kill();
            let _ = child.wait();
            std::thread::sleep(Duration::from_millis(200));
            panic!("not ready: {ready_line}{}", log.lock().unwrap());
        };
        Broker { child, address, ready_line, log, _stdout: stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without memory; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.pid() as i32, signal) }, 0);
    }

    /// SIGTERM; the exit status.
    #[track_caller]
    pub fn stop(mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        wait_for_exit(&mut self.child)
    }

    /// Waits until it ends after a signal; the exit status.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        wait_for_exit(&mut self.child)
    }

    /// `kill -9`, and gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    #[track_caller]
    pub fn assert_alive(&mut self) {
        let status = self.child.try_wait().expect("a child can be waited for");
        assert!(status.is_none(), "the broker has ended with {status:?}:\n{}", self.log());
    }

    /// Bytes of memory that are in use.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is listed");
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
    }
}

/// The first listener's address in the line that says that the broker is ready.
fn address_of(ready_line: &str) -> Option<SocketAddr> {
    let rest = ready_line.strip_prefix("klamm is ready: listeners PLAINTEXT://")?;
    rest.split([',', ' ']).next()?.parse().ok()
}

/// The load generator, made when the workspace's other members were not.
pub fn loadgen() -> Command {
    static PATH: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let path = PATH.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_klamm")).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        // As `cargo test --workspace` builds it, so that there is nothing left to build.
        let arguments = "test --no-run --quiet --offline --package klamm --package loadgen --test loadgen";
        build.args(arguments.split(' '));
        build.arg("--target-dir").arg(directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if directory.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "loadgen cannot be built");
        directory.join("loadgen")
    });
    Command::new(path)
}
