//! Lines of the log, on standard error.
//!
//! What a peer says may be in a line, so control characters in it are escaped, and a field is cut at a length: a name cannot
//! forge a line. A line that cannot be written (a full disk, a closed pipe, a pipe that nobody empties) is dropped and
//! counted; the next one that can be written says how many there were. No line waits, because a core would wait with it.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;

/// Characters of one field of a line; the rest is cut off.
const FIELD_CHARACTERS_MAX: usize = 8 << 10;
/// A pipe that says that it can be written to takes this much without waiting (`PIPE_BUF`).
const WRITE_BYTES_MAX: usize = 4096;

/// Has the process log to standard error what `filter` (or, if that is wrong, the default) lets through.
pub fn start(filter: Option<&str>) {
    let filter = filter.and_then(|filter| EnvFilter::try_new(filter).ok());
    let fields = debug_fn(|writer, field, value| {
        if field.name() != "message" {
            write!(writer, "{}=", field.name())?;
        }
        write!(Escaping { writer, left: FIELD_CHARACTERS_MAX }, "{value:?}")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("info,glommio=warn")))
        .with_writer(|| StandardError)
        .with_ansi(is_colored())
        .with_target(false)
        .fmt_fields(fields.delimited(" "))
        .init();
}

/// Whether the log goes to a terminal whose user has nothing against colors (no-color.org).
fn is_colored() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Escapes what would end a line, or move a terminal's cursor.
struct Escaping<'a, W> {
    writer: &'a mut W,
    left: usize,
}

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match self.left {
                0 => return Ok(()),
                1 => self.writer.write_char('…')?,
                _ if ends_line(character) => write!(self.writer, "{}", character.escape_default())?,
                _ => self.writer.write_char(character)?,
            }
            self.left -= 1;
        }
        Ok(())
    }
}

/// Control characters, the separators of Unicode, and what turns the direction of writing.
fn ends_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What has become of the lines so far.
#[derive(Default)]
struct Lines {
    lost: u64,
    /// The last line that was written lacks its end.
    torn: bool,
}

impl Lines {
    /// Writes a line by `put`, which says how much of its bytes it has written.
    fn write(&mut self, line: &[u8], put: impl FnOnce(&[u8]) -> usize) {
        let mut all = Vec::with_capacity(line.len());
        if self.torn {
            all.push(b'\n');
        }
        if self.lost > 0 {
            all.extend_from_slice(format!("{} lines of this log could not be written\n", self.lost).as_bytes());
        }
        all.extend_from_slice(line);
        match put(&all) {
            written if written == all.len() => *self = Lines::default(),
            0 => self.lost += 1,
            _ => *self = Lines { lost: self.lost + 1, torn: true },
        }
    }
}

static LINES: Mutex<Lines> = Mutex::new(Lines { lost: 0, torn: false });

/// Takes whole lines. Never fails: the subscriber would tell a failure to standard error, and panic when that fails too.
struct StandardError;

impl io::Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.write(line, |bytes| put(io::stderr().as_raw_fd(), bytes));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to a descriptor as much as it takes at once; how much that was.
fn put(fd: RawFd, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        let chunk = &bytes[written..bytes.len().min(written + WRITE_BYTES_MAX)];
        let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
        // SAFETY: a system call on one `pollfd`, which does not wait.
        let ready = unsafe { libc::poll(&mut poll, 1, 0) };
        if ready == 1 && poll.revents & libc::POLLOUT != 0 {
            // SAFETY: the call reads from `chunk`, which outlives it.
            match unsafe { libc::write(fd, chunk.as_ptr().cast(), chunk.len()) } {
                bytes @ 1.. => written += bytes as usize,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        } else if ready >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    written
}

/// Lines of one kind: so many in an interval, of the others the number.
pub struct Limited {
    interval: Duration,
    burst: u32,
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Limited {
    pub const fn new(burst: u32, interval: Duration) -> Limited {
        Limited { interval, burst, since: None, told: 0, untold: 0 }
    }

    /// Whether a line of this kind is written; then how many were not since the last.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= self.interval) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told == self.burst {
            self.untold += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

/// For the end of a line: how many of its kind were not written.
pub struct Untold(pub u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (and once more before)"),
            times => write!(f, " (and {times} times more before)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn escaped(text: &str, left: usize) -> String {
        let mut written = String::new();
        write!(Escaping { writer: &mut written, left }, "{text}").unwrap();
        written
    }

    #[test]
    fn what_a_peer_says_is_one_line() {
        assert_eq!(
            escaped("a\nb\r\u{1b}[31m\tc\u{85}\u{2028}\u{202e}ü", 100),
            "a\\nb\\r\\u{1b}[31m\\tc\\u{85}\\u{2028}\\u{202e}ü"
        );
        assert_eq!(escaped("abcdef", 4), "abc…");
        assert_eq!(escaped("abcd", 5), "abcd");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (mut lines, mut log) = (Lines::default(), Vec::new());
        let mut take = |lines: &mut Lines, line: &str, room: usize| {
            lines.write(line.as_bytes(), |bytes| {
                let taken = bytes.len().min(room);
                log.extend_from_slice(&bytes[..taken]);
                taken
            });
        };
        take(&mut lines, "one\n", 100);
        take(&mut lines, "two\n", 0);
        take(&mut lines, "three\n", 0);
        take(&mut lines, "four\n", 100);
        take(&mut lines, "five\n", 2);
        take(&mut lines, "six\n", 0);
        take(&mut lines, "seven\n", 100);
        take(&mut lines, "eight\n", 100);
        let lost = "2 lines of this log could not be written\n";
        let text = String::from_utf8(log).unwrap();
        assert_eq!(text, format!("one\n{lost}four\nfi\n{lost}seven\neight\n"));
    }

    #[test]
    fn nobody_waits_for_a_reader() {
        let (writer, mut reader) = UnixStream::pair().unwrap();
        let line = vec![b'x'; 10_000];
        let mut all = 0;
        let cut = loop {
            match put(writer.as_raw_fd(), &line) {
                written if written < line.len() => break written,
                written => all += written,
            }
            assert!(all < 100 << 20, "a socket takes that much");
        };
        drop(writer);
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), all + cut);
        assert_eq!(put(-1, b"x"), 0);
    }

    #[test]
    fn lines_of_a_kind_are_limited() {
        let start = Instant::now();
        let mut limited = Limited::new(2, Duration::from_secs(1));
        let at = |ms: u64| start + Duration::from_millis(ms);
        let told: Vec<_> = [0, 1, 2, 999, 1000, 1001, 1002, 3000].map(|ms| limited.admit(at(ms))).into();
        assert_eq!(told, [Some(0), Some(0), None, None, Some(2), Some(0), None, Some(1)]);
        assert_eq!(format!("x{}{}", Untold(0), Untold(3)), "x (and 3 times more before)");
    }
}
