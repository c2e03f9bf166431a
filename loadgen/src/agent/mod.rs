//! `loadgen agent` and `--agents`: the same load from several hosts, with a common start and one report.
//!
//! Whoever conducts sends each agent the words of a command, waits until all are prepared, measures how far each agent's clock is
//! from its own, and gives each the moment at which it is to begin. An agent runs the command as a process of its own, which waits
//! for that moment on its standard input and leaves a run's directory behind; the agent sends its files back. Both sides speak
//! lines of JSON. Loads of one file are a set, which an agent runs together. An agent says ten times a second or so that it is there, whatever it does.

mod conductor;
mod held;
mod merge;
mod server;

pub use conductor::{AHEAD, Prepared, conduct, prepare, soon_ns};
pub use held::hold;
pub use server::agent;

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of the messages. An agent refuses any other, and other versions of loadgen, which may count otherwise.
const PROTOCOL: u64 = 1;
/// How often an agent says that it is there, and after how much silence it is taken for gone.
const BEAT: Duration = Duration::from_millis(100);
const SILENCE: Duration = Duration::from_secs(20);

/// Nanoseconds of the clock that hosts have in common, more or less.
fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Messages as they arrive. Nothing that a peer says makes more room than its bytes, up to a limit.
struct Lines {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Bytes of these in which there is no end of a line.
    searched: usize,
    bytes_max: usize,
}

impl Lines {
    fn new(stream: TcpStream, bytes_max: usize) -> Lines {
        Lines { stream, bytes: Vec::new(), searched: 0, bytes_max }
    }

    /// The next message, if its bytes come without longer `silence` and all of them within `whole`.
    fn next(&mut self, silence: Duration, whole: Duration) -> io::Result<Value> {
        let end = Instant::now() + whole;
        let mut piece = [0; 1 << 16];
        loop {
            if let Some(at) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=self.searched + at).collect();
                self.searched = 0;
                return serde_json::from_slice(&line).map_err(|error| invalid(format!("no message: {error}")));
            }
            self.searched = self.bytes.len();
            if self.bytes.len() > self.bytes_max {
                return Err(invalid(format!("a message of more than {} bytes", self.bytes_max)));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left.min(silence)))?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Says messages, each of them whole, whichever thread has something to say.
#[derive(Clone)]
struct Voice(Arc<Mutex<TcpStream>>);

impl Voice {
    fn new(stream: TcpStream) -> Voice {
        Voice(Arc::new(Mutex::new(stream)))
    }

    fn say(&self, message: &Value) -> io::Result<()> {
        self.0.lock().expect("nobody panics while speaking").write_all(format!("{message}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::TcpListener;

    fn pair() -> (Lines, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Lines::new(listener.accept().unwrap().0, 100_000), near)
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let (mut lines, mut peer) = pair();
        let long = json!({"long": "x".repeat(90_000)});
        let bytes = format!("{{\"a\":1}}\n{long}\n{{\"b\":\n");
        let writer = std::thread::spawn(move || {
            for piece in bytes.as_bytes().chunks(30_001) {
                peer.write_all(piece).unwrap();
            }
        });
        let wait = Duration::from_secs(20);
        assert_eq!(lines.next(wait, wait).unwrap(), json!({"a": 1}));
        assert_eq!(lines.next(wait, wait).unwrap(), long);
        assert_eq!(lines.next(wait, wait).unwrap_err().kind(), io::ErrorKind::InvalidData);
        writer.join().unwrap();
        assert_eq!(lines.next(wait, wait).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_too_long_or_too_slow_is_refused() {
        let (mut lines, mut peer) = pair();
        let wait = Duration::from_secs(20);
        peer.write_all(&[b'x'; 100_001]).unwrap();
        assert!(lines.next(wait, wait).unwrap_err().to_string().contains("more than 100000 bytes"));
        let (mut lines, mut peer) = pair();
        let drip = std::thread::spawn(move || {
            while peer.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let error = lines.next(wait, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(lines);
        drip.join().unwrap();
    }
}
