//! `--live` in a terminal, in none, and when it is interrupted: what was changed of the terminal is put back.

#![allow(unsafe_code)]

mod fake;

use fake::Fault;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const COLUMNS: u16 = 60;
const HIDDEN: &str = "\x1b[?25l\x1b[?7l";
const RESTORED: &str = "\x1b[?7h\x1b[?25h";
const PATIENCE: Duration = Duration::from_secs(60);

fn loadgen(seconds: u32) -> Command {
    loadgen_with(Fault::None, seconds)
}

fn loadgen_with(fault: Fault, seconds: u32) -> Command {
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.args(["produce", "--live", "--rate", "500", "--batch-bytes", "0", "--record-bytes", "100"]);
    loadgen.args(["--bootstrap-server", &fake::start(fault).to_string(), "--seconds", &seconds.to_string()]);
    loadgen.env("TERM", "xterm").env_remove("LC_ALL").env("LC_CTYPE", "C.UTF-8");
    loadgen.stdin(Stdio::null()).stdout(Stdio::null());
    loadgen
}

/// A program whose standard error is a terminal, and what it writes there.
struct Seen {
    child: Child,
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Seen {
    fn start(mut command: Command) -> Seen {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: all pointers but the two that may be null are to what outlives the call.
        let result =
            unsafe { libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null_mut(), &size) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the descriptors are nobody else's, and other programs that are started get none of them.
        let (mut master, slave) = unsafe {
            for descriptor in [master, slave] {
                assert_eq!(libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC), 0);
            }
            (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
        };
        // What whoever runs the tests ignores, the program would ignore too.
        let heed = || {
            [libc::SIGINT, libc::SIGTERM, libc::SIGTSTP].iter().for_each(|&signal| {
                // SAFETY: the call may be made between fork and exec.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            });
            Ok(())
        };
        // SAFETY: it makes no call that may not be made there.
        let child = unsafe { command.pre_exec(heed) }.stderr(slave).spawn().unwrap();
        // Its copy of the terminal would keep it open.
        drop(command);
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let reader = std::thread::spawn(move || {
            let (mut buffer, mut bytes) = ([0; 4096], Vec::new());
            // It fails once nobody has the other side.
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                *into.lock().unwrap() = String::from_utf8_lossy(&bytes).into_owned();
            }
        });
        Seen { child, text, reader }
    }

    fn wait_for(&self, what: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !what(&self.text.lock().unwrap()) {
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.text.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// How it ended, and all that it wrote.
    fn end(mut self) -> (std::process::ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.reader.join().unwrap();
        let text = self.text.lock().unwrap().clone();
        (status, text)
    }
}

/// How often it was drawn.
fn pictures(text: &str) -> usize {
    text.matches("rate ").count()
}

#[test]
fn a_terminal_shows_the_last_seconds_and_is_as_before() {
    let (_, text) = Seen::start(loadgen(4)).end();
    for expected in ["rate ", "p50 ", "p99 ", "lag p99 ", "0 to ", "█"] {
        assert!(text.contains(expected), "{expected} {text:?}");
    }
    assert!(text.ends_with(RESTORED) && text.starts_with(HIDDEN), "{text:?}");
    let plain: String = text
        .split('\x1b')
        .map(|part| part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or(""))
        .collect();
    assert!(plain.lines().all(|line| line.trim_matches('\r').chars().count() <= usize::from(COLUMNS)), "{plain:?}");
}

/// Loads of a file have a picture each, one below the other, and the terminal is as before when the last has ended.
#[test]
fn loads_of_a_file_are_drawn_together() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("loads.toml");
    let load = "batch-bytes = 0\nrecord-bytes = 100\nrate = 500\npartitions = 2\n";
    let of = |name: &str, seconds: u32| format!("[[produce]]\nname = \"{name}\"\nseconds = {seconds}\n{load}");
    let address = fake::start(Fault::None).to_string();
    let text = format!("bootstrap-server = \"{address}\"\n{}{}", of("longer", 6), of("shorter", 3));
    fs::write(&file, text).unwrap();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.args(["run", "--live"]).arg(&file).env("TERM", "xterm").env_remove("LC_ALL").env("LC_CTYPE", "C.UTF-8");
    loadgen.stdin(Stdio::null()).stdout(Stdio::null());
    let (_, text) = Seen::start(loadgen).end();
    assert!(text.starts_with(HIDDEN) && text.ends_with(RESTORED), "{text:?}");
    let is_ended = |piece: &str| piece.contains("shorter, ended: ");
    let both = |piece: &str| piece.contains("longer: ") && piece.contains("shorter: ") && piece.contains("\x1b[10A");
    assert!(text.split(HIDDEN).any(both), "{text:?}");
    // What has ended comes last, and stays.
    let last = text.split(HIDDEN).last().unwrap();
    assert!(last.find("longer: ").unwrap() < last.find("shorter, ended: ").unwrap(), "{text:?}");
    assert!(!is_ended(text.split(HIDDEN).nth(1).unwrap()), "{text:?}");
}

#[test]
fn an_interrupt_leaves_the_terminal_as_it_was() {
    for (name, number) in [("-INT", libc::SIGINT), ("-TERM", libc::SIGTERM)] {
        let seen = Seen::start(loadgen(300));
        // One picture over the other.
        seen.wait_for(|text| pictures(text) > 1 && text.contains("\x1b[5A\r\x1b[J"));
        seen.signal(name);
        let (status, text) = seen.end();
        assert_eq!(status.signal(), Some(number), "{status:?}");
        assert!(text.ends_with(RESTORED), "{text:?}");
    }
}

#[test]
fn a_program_that_is_stopped_gives_the_terminal_back_meanwhile() {
    let seen = Seen::start(loadgen(300));
    seen.wait_for(|text| pictures(text) > 0);
    seen.signal("-TSTP");
    let stat = format!("/proc/{}/stat", seen.child.id());
    seen.wait_for(|_| fs::read_to_string(&stat).unwrap().contains(") T "));
    seen.wait_for(|text| text.ends_with(RESTORED));
    let before = pictures(&seen.text.lock().unwrap());
    seen.signal("-CONT");
    seen.wait_for(|text| pictures(text) > before);
    // What was written meanwhile is not painted over.
    let (_, after) = seen.text.lock().unwrap().rsplit_once(RESTORED).map(|(a, b)| (a.len(), b.to_string())).unwrap();
    assert!(after.starts_with(&format!("{HIDDEN}\r\x1b[J")), "{after:?}");
    seen.signal("-TERM");
    assert!(seen.end().1.ends_with(RESTORED));
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let output = loadgen(4).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(" records/s ") && !text.contains('\x1b'), "{text:?}");
    // Nor in one that cannot do it.
    let mut dumb = loadgen(4);
    dumb.env("TERM", "dumb");
    let (_, text) = Seen::start(dumb).end();
    assert!(text.contains(" records/s ") && !text.contains('\x1b'), "{text:?}");
}

#[test]
fn what_is_said_meanwhile_stays_above_the_picture() {
    let seen = Seen::start(loadgen_with(Fault::Cut, 300));
    let later = |text: &str| text.split_once(" lost: ").map_or(0, |(_, after)| pictures(after));
    seen.wait_for(|text| later(text) > 2);
    seen.signal("-TERM");
    let (_, text) = seen.end();
    let (before, after) = text.split_once(" lost: ").unwrap();
    assert!(before.contains("\x1b[?7hconnection to "), "{text:?}");
    // The next picture is drawn over the last one and not over the line.
    let mut pictures = after.split(HIDDEN).skip_while(|piece| !piece.contains("rate "));
    let lines = pictures.next().unwrap().matches("\r\n").count();
    let next = pictures.next().unwrap();
    assert!(lines >= 5 && next.starts_with(&format!("\x1b[{lines}A\r\x1b[J")), "{lines} {text:?}");
}

/// A shell has put it into the background, and the terminal is the shell's.
#[test]
fn in_the_background_nothing_is_drawn() {
    let inner = loadgen(4);
    let mut shell = Command::new("sh");
    shell.args(["-c", "set -m; \"$@\" & wait $!", "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: both calls may be made between fork and exec.
    unsafe {
        shell.pre_exec(|| {
            let is_done = libc::setsid() >= 0 && libc::ioctl(libc::STDERR_FILENO, libc::TIOCSCTTY, 0) == 0;
            if is_done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let (_, text) = Seen::start(shell).end();
    assert!(text.contains(" records/s ") && !text.contains('\x1b'), "{text:?}");
}
