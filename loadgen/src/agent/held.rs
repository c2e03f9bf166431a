//! A load that an agent runs: prepared, it waits for the moment at which all agents begin.

use super::wall_ns;
use crate::options::Target;
use std::io::{self, BufRead, Read, Write};
use std::process::exit;
use std::time::Duration;

/// What it says once it is prepared, and once it has begun, with the nanoseconds by which it was late.
pub const PREPARED: &str = "prepared";
pub const BEGUN: &str = "begun ";
/// Exit status of one whose agent has gone.
const ABANDONED: i32 = 3;
/// The last bit of the wait is not slept, for a timer may be late.
const AWAKE: Duration = Duration::from_millis(2);

/// Waits if an agent runs this load. The end of its standard input, which comes with the agent's death, ends it.
pub fn hold(target: &Target) {
    if target.held.is_none() {
        return;
    }
    let begin_ns = say(PREPARED).and_then(|()| moment());
    let begun = begin_ns.and_then(|begin_ns| {
        let left = || Duration::from_nanos(begin_ns.saturating_sub(wall_ns()));
        while let Some(sleep) = left().checked_sub(AWAKE) {
            std::thread::sleep(sleep.max(Duration::from_micros(100)));
        }
        while !left().is_zero() {
            std::hint::spin_loop();
        }
        say(&format!("{BEGUN}{}", wall_ns().saturating_sub(begin_ns)))
    });
    if let Err(error) = begun {
        eprintln!("loadgen: the agent has gone: {error}");
        exit(ABANDONED);
    }
    std::thread::spawn(|| {
        // Nothing is said any more; it ends with the agent.
        let _ = io::stdin().lock().read(&mut [0]);
        exit(ABANDONED);
    });
}

/// The moment to begin at.
fn moment() -> io::Result<u64> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    line.trim().parse().map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

fn say(what: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{what}")?;
    output.flush()
}
