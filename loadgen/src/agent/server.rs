//! The agent: runs one load at a time for whoever conducts it, or those of one set together.

use super::held::{BEGUN, PREPARED};
use super::{BEAT, Lines, PROTOCOL, SILENCE, Voice, invalid, wall_ns};
use crate::cluster::Fault;
use crate::gate::{LOG_FILE, RUN_FILE};
use crate::options::{Agent, Command, Options};
use clap::Parser;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes that a message to an agent may have.
const MESSAGE_BYTES_MAX: usize = 1 << 16;
/// Connections at a time; those beyond are closed. Each costs a thread until it has said what it wants, or time is up.
const CONNECTIONS_MAX: usize = 16;
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// What is kept of what a load says on standard error: its end.
const ERRORS_BYTES: usize = 4096;
/// Pause after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest silence of a conductor that is no reason to look.
const FOREVER: Duration = Duration::from_secs(1 << 30);

const NO_PANIC: &str = "no thread panics while it counts loads";

/// Serves until it is killed.
pub fn agent(options: &Agent) -> Result<(), Fault> {
    let fault = |error| Fault::Io(options.listen.clone(), error);
    let listener = TcpListener::bind(&options.listen).map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    println!("loadgen agent is ready: {address}");
    io::stdout().flush().map_err(fault)?;
    if !address.ip().is_loopback() {
        eprintln!("whoever reaches {address} may run loads from this host");
    }
    let (connections, busy) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Busy::default())));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("a connection is not accepted: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        let guard = Guard(connections.clone());
        if connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            continue;
        }
        let busy = busy.clone();
        thread::spawn(move || {
            let _guard = guard;
            if let Err(error) = serve(&stream, &busy) {
                eprintln!("a connection has ended: {error}");
            }
            // Whoever reads from it reads no more.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// A place among the connections, or that of a load, which is free again in the end.
struct Guard<T: Place>(Arc<T>);

trait Place {
    fn free(&self);
}

impl Place for AtomicUsize {
    fn free(&self) {
        self.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place for Mutex<Busy> {
    fn free(&self) {
        self.lock().expect(NO_PANIC).loads -= 1;
    }
}

impl<T: Place> Drop for Guard<T> {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// Loads that run, all of one set.
#[derive(Default)]
struct Busy {
    set: Option<u64>,
    loads: usize,
}

impl Busy {
    /// Whether a load of this set may run; it does from then on.
    fn take(&mut self, set: Option<u64>) -> bool {
        let may = self.loads == 0 || (set.is_some() && self.set == set);
        if may {
            (self.set, self.loads) = (set, self.loads + 1);
        }
        may
    }
}

fn serve(stream: &TcpStream, busy: &Arc<Mutex<Busy>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(SILENCE))?;
    let voice = Voice::new(stream.try_clone()?);
    let mut lines = Lines::new(stream.try_clone()?, MESSAGE_BYTES_MAX);
    let request = lines.next(REQUEST_TIME, REQUEST_TIME)?;
    let number = request["number"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
    let words = match words(&request) {
        Ok(words) => words,
        Err(why) => return voice.say(&json!({"refused": why})),
    };
    if !busy.lock().expect(NO_PANIC).take(request["set"].as_u64()) {
        return voice.say(&json!({"refused": "it runs another load"}));
    }
    let guard = Guard(busy.clone());
    let room = Room::new()?;
    let mut load = Load::start(&words, number, &room.0, (lines, voice.clone()))?;
    let ended = load.run(&voice, &room.0)?;
    // Whoever is told so may have the next load at once.
    drop(guard);
    voice.say(&ended)?;
    load.wait_for_the_end()
}

/// The words of a command that an agent runs: a load that writes no file of this host.
fn words(request: &Value) -> Result<Vec<String>, String> {
    if request["loadgen_agent"] != PROTOCOL {
        return Err("no request of this protocol".to_string());
    }
    let version = env!("CARGO_PKG_VERSION");
    if request["version"] != version {
        return Err(format!("it is loadgen {version}, and not {}", request["version"]));
    }
    let all = request["words"].as_array().map_or(&[][..], Vec::as_slice);
    let words: Option<Vec<String>> = all.iter().map(|word| word.as_str().map(str::to_string)).collect();
    let words = words.ok_or("words that are none")?;
    // What reads the words would read the file: this process, and whatever file it is.
    if words.iter().any(|word| word.starts_with('@') || word.contains("=@")) {
        return Err("a size by @FILE is not for agents".to_string());
    }
    let command = Options::try_parse_from(std::iter::once("loadgen").chain(words.iter().map(String::as_str)));
    let command = command.map_err(|error| error.to_string())?.command;
    let load = match &command {
        Command::Load(load) if load.is_for_agents() => load,
        _ => return Err("an agent runs produce, consume, end-to-end, commit and churn".to_string()),
    };
    let target = load.target();
    let has_files = target.out.is_some() || target.hdr.is_some();
    if has_files || target.held.is_some() || !target.agents.is_empty() || target.broker_pid.is_some() {
        return Err("an option that is not for agents".to_string());
    }
    Ok(words)
}

/// A directory that goes in the end.
struct Room(PathBuf);

impl Room {
    fn new() -> io::Result<Room> {
        let name = format!("loadgen-agent-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Room(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

enum Event {
    Prepared,
    /// So many nanoseconds late.
    Begun(u64),
    /// Whoever conducts says when to begin.
    Begin(u64),
    /// Whoever conducts has gone.
    Gone(io::Error),
}

/// A load under way. It ends with this value.
struct Load {
    child: Child,
    input: ChildStdin,
    errors: Option<JoinHandle<Vec<u8>>>,
    events: Receiver<Event>,
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Load {
    fn start(words: &[String], number: u32, room: &Path, (lines, voice): (Lines, Voice)) -> io::Result<Load> {
        // The file may have been replaced since this process began; the process is still what it was.
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args(words).args(["--json", "--held", &number.to_string(), "--out"]).arg(room);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = "it was asked for";
        let (input, output) = (child.stdin.take().expect(pipe), child.stdout.take().expect(pipe));
        let stderr = child.stderr.take().expect(pipe);
        let (sender, events) = channel();
        let conductor = sender.clone();
        thread::spawn(move || follow_load(BufReader::new(output), &sender));
        thread::spawn(move || follow_conductor(lines, &voice, &conductor));
        let errors = Some(thread::spawn(move || tail(stderr)));
        Ok(Load { child, input, errors, events })
    }

    /// Runs to the load's end; gives what is to be said of it.
    fn run(&mut self, voice: &Voice, room: &Path) -> io::Result<Value> {
        let status = loop {
            match self.events.recv_timeout(BEAT) {
                Ok(Event::Prepared) => voice.say(&json!({"prepared": true}))?,
                Ok(Event::Begun(late_ns)) => voice.say(&json!({"late_ns": late_ns}))?,
                Ok(Event::Begin(begin_ns)) => writeln!(self.input, "{begin_ns}")?,
                Ok(Event::Gone(error)) => return Err(error),
                Err(_) => voice.say(&json!({"alive": true}))?,
            }
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
        };
        let run = fs::read(room.join(RUN_FILE)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let log = fs::read_to_string(room.join(LOG_FILE)).unwrap_or_default();
        let errors = self.errors.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors).into_owned();
        Ok(json!({"ended": {"status": status.to_string(), "run": run, "log": log, "errors": errors}}))
    }

    /// Whoever conducts looks at the clock once more, and hangs up.
    fn wait_for_the_end(&self) -> io::Result<()> {
        let end = Instant::now() + REQUEST_TIME;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Event::Gone(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}

fn follow_load(output: impl BufRead, events: &Sender<Event>) {
    for line in output.lines().map_while(Result::ok) {
        let late_ns = line.strip_prefix(BEGUN).and_then(|late| late.parse().ok());
        let event = late_ns.map(Event::Begun).or_else(|| (line == PREPARED).then_some(Event::Prepared));
        // Nobody waits for it when the conductor has gone.
        event.into_iter().for_each(|event| drop(events.send(event)));
    }
}

/// Answers what is asked about the clock at once.
fn follow_conductor(mut lines: Lines, voice: &Voice, events: &Sender<Event>) {
    let gone = loop {
        let message = match lines.next(FOREVER, FOREVER) {
            Ok(message) => message,
            Err(error) => break error,
        };
        let now_ns = wall_ns();
        if message["clock"].is_u64() {
            if let Err(error) = voice.say(&json!({"clock": message["clock"], "now_ns": now_ns})) {
                break error;
            }
        } else if let Some(begin_ns) = message["begin_ns"].as_u64() {
            // The load may have ended.
            let _ = events.send(Event::Begin(begin_ns));
        } else {
            break invalid(format!("a message that is none: {message}"));
        }
    };
    let _ = events.send(Event::Gone(gone));
}

/// The last bytes of what is said.
fn tail(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; ERRORS_BYTES]);
    while let Ok(count @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(&piece[..count]);
        kept.drain(..kept.len().saturating_sub(ERRORS_BYTES));
    }
    kept
}
