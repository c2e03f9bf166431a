//! Standard error as a terminal: its size, a picture that is drawn over the last one, and its state, which is put back by what
//! ends or stops this program.

#![allow(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Hides the cursor, and cuts lines that are too long instead of wrapping them.
const CHANGE: &str = "\x1b[?25l\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const RESTORE: &str = "\x1b[?7h\x1b[?25h";
/// Of terminals that do not know theirs.
const SIZE_DEFAULT: (usize, usize) = (80, 24);
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The terminal's state is not as it was.
static CHANGED: AtomicBool = AtomicBool::new(false);
/// The program was stopped and goes on: others may have written meanwhile.
static STOPPED: AtomicBool = AtomicBool::new(false);

pub struct Terminal {
    /// Lines of the last picture, and columns and lines that there were for it.
    drawn: usize,
    size: (usize, usize),
}

impl Terminal {
    /// `None` if standard error is no terminal, or one whose cursor cannot be moved.
    pub fn open() -> Option<Terminal> {
        let is_able = std::env::var("TERM").is_ok_and(|name| !name.is_empty() && name != "dumb");
        if !io::stderr().is_terminal() || !is_able {
            return None;
        }
        ENDING.into_iter().for_each(|signal| handle(signal, end as extern "C" fn(i32), libc::SA_RESETHAND));
        handle(libc::SIGTSTP, stop as extern "C" fn(i32), libc::SA_RESTART);
        Some(Terminal { drawn: 0, size: size() })
    }

    /// Columns and lines at this moment.
    pub fn size(&self) -> (usize, usize) {
        size()
    }

    /// Whether the terminal is this program's, and not that of the shell that runs it in the background.
    pub fn is_in_front(&self) -> bool {
        // SAFETY: calls without pointers.
        let (front, own) = unsafe { (libc::tcgetpgrp(libc::STDERR_FILENO), libc::getpgrp()) };
        // A terminal that controls no processes is anybody's.
        front < 0 || front == own
    }

    /// Puts `picture` in the place of the last one, below `notes`, which stay.
    pub fn draw(&mut self, notes: &[String], picture: &[String]) {
        let now = size();
        let is_elsewhere = STOPPED.swap(false, Ordering::Relaxed) || now != self.size;
        self.size = now;
        // The cursor cannot go above the first line.
        let picture = &picture[..picture.len().min(now.1.saturating_sub(1))];
        CHANGED.store(true, Ordering::Relaxed);
        put(&paint(if is_elsewhere { 0 } else { self.drawn }, notes, picture));
        self.drawn = picture.len();
    }

    /// Leaves the picture where it is.
    pub fn leave(&mut self) {
        if CHANGED.swap(false, Ordering::Relaxed) {
            put(RESTORE);
        }
        self.drawn = 0;
    }
}

/// One piece, so that little can come in between.
fn paint(drawn: usize, notes: &[String], picture: &[String]) -> String {
    let mut text = CHANGE.to_string();
    if drawn > 0 {
        text += &format!("\x1b[{drawn}A");
    }
    text += "\r\x1b[J";
    if !notes.is_empty() {
        text += WRAP;
        notes.iter().for_each(|note| text += &format!("{note}\r\n"));
        text += CHANGE;
    }
    picture.iter().for_each(|line| text += &format!("{line}\r\n"));
    text
}

/// A terminal that is gone is nobody's any more.
fn put(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn size() -> (usize, usize) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the size outlives the call.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    match (usize::from(size.ws_col), usize::from(size.ws_row)) {
        (columns, lines) if result == 0 && columns > 0 && lines > 0 => (columns, lines),
        _ => SIZE_DEFAULT,
    }
}

/// What is ignored, or handled already, stays so.
fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: both structures outlive the calls, and the handlers call only what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = flags;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(signal, &action, &mut before) == 0 && before.sa_sigaction != libc::SIG_DFL {
            libc::sigaction(signal, &before, std::ptr::null_mut());
        }
    }
}

/// In a handler.
fn restore() {
    if CHANGED.swap(false, Ordering::Relaxed) {
        // SAFETY: it may be called in a handler, and the bytes are constant.
        unsafe { libc::write(libc::STDERR_FILENO, RESTORE.as_ptr().cast(), RESTORE.len()) };
    }
}

/// Ends the program as the signal would have: its disposition is reset by then, and it comes again when this returns.
extern "C" fn end(signal: i32) {
    restore();
    // SAFETY: it may be called in a handler.
    unsafe { libc::raise(signal) };
}

extern "C" fn stop(_: i32) {
    // SAFETY: all calls may be made in a handler; `errno` is the interrupted thread's.
    unsafe {
        let errno = *libc::__errno_location();
        restore();
        // The shell sees the same as without a handler. From here on when the program goes on.
        libc::kill(libc::getpid(), libc::SIGSTOP);
        STOPPED.store(true, Ordering::Relaxed);
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_replaces_the_last_and_notes_stay() {
        let lines = ["a", "b"].map(str::to_string);
        assert_eq!(paint(0, &[], &lines), "\x1b[?25l\x1b[?7l\r\x1b[Ja\r\nb\r\n");
        let text = paint(2, &["lost".to_string()], &lines);
        assert_eq!(text, "\x1b[?25l\x1b[?7l\x1b[2A\r\x1b[J\x1b[?7hlost\r\n\x1b[?25l\x1b[?7la\r\nb\r\n");
    }
}
