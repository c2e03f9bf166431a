//! Whoever has agents run a load: prepares them, has them begin together, and makes one report of theirs.

use super::merge::{Part, merge};
use super::{Lines, PROTOCOL, SILENCE, Voice, invalid, wall_ns};
use crate::cluster::{Fault, resolve};
use crate::options::Target;
use crate::report::Report;
use klamm::client::address::{BOOTSTRAP_VARIABLE, bootstrap};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Agents' port, where an address has none.
pub const PORT_DEFAULT: u16 = 9099;
/// Longest time for a connection, and for a load to prepare itself: its topic may have to be made first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PREPARE_TIME: Duration = Duration::from_secs(300);
/// Longest time for one message, that with a run's files included, and the bytes that it may have.
const MESSAGE_TIME: Duration = Duration::from_secs(600);
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Looks at a clock, of which the one counts that was answered soonest.
const LOOKS: u64 = 32;
/// How long before all begin each is told.
pub const AHEAD: Duration = Duration::from_millis(500);
/// Options that are for whoever conducts, those with a value first.
const OWN: [&str; 4] = ["--agents", "--out", "--hdr", "--broker-pid"];
const OWN_FLAGS: [&str; 2] = ["--json", "--live"];

/// How far a host's clock is ahead of this one's, and by how much that may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    pub ns: i64,
    pub error_ns: u64,
}

impl Offset {
    /// By one look: asked and answered on this host's clock, and what the other said meanwhile. It said so at any moment between.
    fn of(asked_ns: u64, answered_ns: u64, now_ns: u64) -> Offset {
        let half = answered_ns.saturating_sub(asked_ns) / 2;
        Offset { ns: now_ns.wrapping_sub(asked_ns + half) as i64, error_ns: half + 1 }
    }

    /// By this look and a later one: what one clock gained on the other meanwhile is an error too.
    fn and(self, later: Offset) -> Offset {
        let gained = self.ns.abs_diff(later.ns);
        Offset { error_ns: self.error_ns.max(later.error_ns).saturating_add(gained), ..self }
    }
}

/// A connection to an agent.
struct Agent {
    name: String,
    voice: Voice,
    lines: Lines,
}

impl Agent {
    fn call(name: &str, (number, set): (u32, u32), words: &[String]) -> io::Result<Agent> {
        let with_port =
            if name.rsplit_once(':').is_some() { name.to_string() } else { format!("{name}:{PORT_DEFAULT}") };
        let address = resolve(&with_port).map_err(|fault| io::Error::other(fault.to_string()))?;
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SILENCE))?;
        let voice = Voice::new(stream.try_clone()?);
        let (version, protocol) = (env!("CARGO_PKG_VERSION"), PROTOCOL);
        let request = json!({
            "loadgen_agent": protocol, "version": version, "number": number, "set": set, "words": words,
        });
        voice.say(&request)?;
        Ok(Agent { name: name.to_string(), voice, lines: Lines::new(stream, MESSAGE_BYTES_MAX) })
    }

    /// The next message that says more than that the agent is there.
    fn next(&mut self) -> io::Result<Value> {
        loop {
            let message = self.lines.next(SILENCE, MESSAGE_TIME)?;
            if let Some(why) = message["refused"].as_str() {
                return Err(invalid(format!("refuses: {why}")));
            }
            if message["alive"] != true {
                return Ok(message);
            }
        }
    }

    fn wait_until_prepared(&mut self) -> io::Result<()> {
        let end = Instant::now() + PREPARE_TIME;
        loop {
            let message = self.lines.next(SILENCE, MESSAGE_TIME)?;
            if message["prepared"] == true {
                return Ok(());
            }
            if let Some(why) = message["refused"].as_str() {
                return Err(invalid(format!("refuses: {why}")));
            }
            if message["ended"].is_object() {
                return Err(invalid(format!(
                    "its load ended before it began: {}",
                    words_of(&message["ended"]["errors"])
                )));
            }
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn look_at_clock(&mut self) -> io::Result<Offset> {
        let mut best: Option<Offset> = None;
        for look in 0..LOOKS {
            let asked_ns = wall_ns();
            self.voice.say(&json!({"clock": look}))?;
            let answer = self.next()?;
            let answered_ns = wall_ns();
            let now_ns = answer["now_ns"].as_u64().filter(|_| answer["clock"] == look);
            let now_ns = now_ns.ok_or_else(|| invalid(format!("says {answer} when asked for its clock")))?;
            let offset = Offset::of(asked_ns, answered_ns, now_ns);
            best = best.into_iter().chain([offset]).min_by_key(|offset| offset.error_ns);
        }
        Ok(best.expect("it is looked more than once"))
    }

    /// Waits for the end of the load; gives what the agent has of it, and by how much it began late.
    fn follow(&mut self) -> io::Result<(Value, u64)> {
        let mut late_ns = 0;
        loop {
            let mut message = self.next()?;
            if message["ended"].is_object() {
                return Ok((message["ended"].take(), late_ns));
            }
            late_ns = message["late_ns"].as_u64().unwrap_or(late_ns);
        }
    }

    /// Runs the load, which is prepared, to its end.
    fn run(mut self, offset: Offset) -> Part {
        let mut part = Part { name: self.name.clone(), offset, late_ns: 0, ended: Value::Null, fault: None };
        let followed = self.follow().and_then(|(ended, late_ns)| {
            (part.ended, part.late_ns) = (ended, late_ns);
            part.offset = offset.and(self.look_at_clock()?);
            Ok(())
        });
        part.fault = followed.err().map(|error| error.to_string());
        part
    }
}

/// What was said of itself, on one line.
pub fn words_of(errors: &Value) -> String {
    let last = errors.as_str().unwrap_or_default().lines().last().unwrap_or_default();
    last.strip_prefix("loadgen: ").unwrap_or(last).to_string()
}

/// Has the agents run the command that these words are.
pub fn conduct(target: &Target, words: &[OsString]) -> Result<Report, Fault> {
    prepare(target, words, rand::random())?.run(target, soon_ns())
}

/// The first moment, on this host's clock, at which agents that are told can begin together.
pub fn soon_ns() -> u64 {
    wall_ns() + AHEAD.as_nanos() as u64
}

/// Agents that are ready to begin.
pub struct Prepared(Vec<(Agent, Offset)>);

/// Has the agents prepare the command that these words are. Those of the same `set` run together.
pub fn prepare(target: &Target, words: &[OsString], set: u32) -> Result<Prepared, Fault> {
    let variable = std::env::var(BOOTSTRAP_VARIABLE).ok();
    let all = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words = told(all, &bootstrap(&target.bootstrap_server, variable.as_deref()));
    if target.broker_pid.is_some() {
        return Err(Fault::Other("--broker-pid is of one host, and not of --agents".to_string()));
    }
    let (mut agents, number) = (Vec::new(), rand::random());
    for name in &target.agents {
        agents.push(Agent::call(name, (number, set), &words).map_err(fault(name))?);
    }
    for agent in &mut agents {
        agent.wait_until_prepared().map_err(fault(&agent.name))?;
    }
    let mut prepared = Vec::new();
    for mut agent in agents {
        let offset = agent.look_at_clock().map_err(fault(&agent.name))?;
        prepared.push((agent, offset));
    }
    Ok(Prepared(prepared))
}

impl Prepared {
    /// Has all begin at this moment of this host's clock, and follows them to their ends.
    pub fn run(self, target: &Target, begin_ns: u64) -> Result<Report, Fault> {
        for (agent, offset) in &self.0 {
            let begin_ns = begin_ns.wrapping_add_signed(offset.ns);
            agent.voice.say(&json!({"begin_ns": begin_ns})).map_err(fault(&agent.name))?;
        }
        let running: Vec<_> =
            self.0.into_iter().map(|(agent, offset)| thread::spawn(move || agent.run(offset))).collect();
        let parts: Vec<Part> = running.into_iter().map(|part| part.join().expect("following does not panic")).collect();
        merge(target, &parts)
    }
}

fn fault(name: &str) -> impl FnOnce(io::Error) -> Fault {
    let name = format!("agent {name}");
    move |error| Fault::Io(name, error)
}

/// What agents are told of a command line: all but what is for this process, and the brokers by name.
fn told(all: impl Iterator<Item = String>, brokers: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let mut all = all.peekable();
    while let Some(word) = all.next() {
        let name = word.split_once('=').map_or(&*word, |(name, _)| name);
        if OWN.contains(&name) {
            if name == word {
                all.next();
            }
        } else if !OWN_FLAGS.contains(&&*word) {
            words.push(word);
        }
    }
    if !words.iter().any(|word| word.starts_with("-b") || word.starts_with("--bootstrap-server")) {
        words.extend(["--bootstrap-server".to_string(), brokers.join(",")]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_what_is_for_them() {
        let of = |line: &str| {
            told(line.split_whitespace().map(str::to_string), &["a:1".to_string(), "b".to_string()]).join(" ")
        };
        assert_eq!(
            of("produce --agents x,y --json --rate 5 --out DIR --agents=z --hdr=F"),
            "produce --rate 5 --bootstrap-server a:1,b"
        );
        assert_eq!(of("consume -b c:1 --to-end"), "consume -b c:1 --to-end");
        assert_eq!(of("consume --bootstrap-server=c:1"), "consume --bootstrap-server=c:1");
    }

    #[test]
    fn a_clock_is_known_as_well_as_the_answer_was_quick() {
        // The other one is 1000 ahead and was asked at 110, while 20 went by here.
        let offset = Offset::of(100, 120, 1_110);
        assert_eq!(offset, Offset { ns: 1_000, error_ns: 11 });
        assert_eq!(Offset::of(1_000, 1_100, 50).ns, -1_000);
        // Wherever in between it looked at its clock, the truth is within the error.
        for now_ns in 1_100..=1_120 {
            let offset = Offset::of(100, 120, now_ns);
            assert!(offset.ns.abs_diff(1_000) <= offset.error_ns);
        }
        assert_eq!(offset.and(Offset { ns: 1_005, error_ns: 3 }), Offset { ns: 1_000, error_ns: 16 });
    }
}
