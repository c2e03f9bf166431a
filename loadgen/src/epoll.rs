//! Readiness of sockets, edge triggered, with waits finer than a millisecond.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;

/// The socket that was added as `token` became writable, or readable too.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub token: usize,
    pub readable: bool,
}

pub struct Epoll {
    fd: OwnedFd,
    busy_poll: bool,
    events: [libc::epoll_event; EVENTS_MAX],
}

impl Epoll {
    /// With `busy_poll` no wait sleeps: it ends at once, with nothing if nothing has happened.
    pub fn new(busy_poll: bool) -> io::Result<Self> {
        // SAFETY: a call without pointers; the descriptor that it gives is ours alone.
        let fd = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // The default slack of 50 us would show in every latency of a paced load.
            libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Epoll { fd, busy_poll, events: [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// From here on `wait` tells when the socket becomes readable or writable. It is forgotten when it is closed.
    pub fn add(&self, socket: &impl AsRawFd, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32,
            u64: token as u64,
        };
        // SAFETY: both descriptors are open, and the event outlives the call.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits until something happened or the time is over, and puts what happened into `events`; a signal ends it too.
    pub fn wait(&mut self, timeout: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let timeout = if self.busy_poll { Duration::ZERO } else { timeout };
        let time = libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: timeout.subsec_nanos().into() };
        // SAFETY: the kernel writes at most EVENTS_MAX events, for which there is room.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                &time,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        if self.busy_poll && count == 0 {
            // Other threads of the load may share the core.
            std::thread::yield_now();
        }
        events.extend(self.events[..count as usize].iter().map(|event| {
            let flags = event.events;
            let is = |wanted: libc::c_int| flags & wanted as u32 != 0;
            let closed = is(libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP);
            Event { token: event.u64 as usize, readable: is(libc::EPOLLIN) || closed }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn sockets_are_told_apart_and_waits_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let mut epoll = Epoll::new(false).unwrap();
        epoll.add(&far, 7).unwrap();
        let mut events = Vec::new();
        epoll.wait(Duration::from_secs(5), &mut events).unwrap();
        assert!(events.len() == 1 && events[0].token == 7 && !events[0].readable);
        epoll.wait(Duration::from_micros(100), &mut events).unwrap();
        assert_eq!(events.len(), 0);
        near.write_all(b"x").unwrap();
        epoll.wait(Duration::from_secs(5), &mut events).unwrap();
        assert!(events[0].readable);
    }
}
