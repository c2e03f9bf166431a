//! How far long work is: a line on standard error, for people only.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Work that ends earlier shows nothing.
const SHOW_AFTER: Duration = Duration::from_secs(1);
const SHOW_INTERVAL: Duration = Duration::from_millis(250);

pub struct Progress {
    /// When to show the next line; `None` for never.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Shown where standard error is a terminal, unless `in_the_way` of something else on it.
    pub fn new(in_the_way: bool) -> Progress {
        let is_wanted = stderr().is_terminal() && !in_the_way;
        Progress { next: is_wanted.then(|| Instant::now() + SHOW_AFTER), shown: false }
    }

    /// Shows a line, if it is time.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.next.is_some_and(|next| Instant::now() >= next) {
            self.next = Some(Instant::now() + SHOW_INTERVAL);
            self.shown = true;
            let _ = write!(stderr(), "\r\x1b[K{}", line());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
