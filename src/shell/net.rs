//! Connections: frames in, answers out.
//!
//! Frames come in through `receive`. Answers leave by `sendmsg` from where they lie in memory; a peer that does not read
//! holds up its own connection alone. While others wait for memory, a connection that hardly moves is closed.

use super::charge::Memory;
use super::core::{Core, CoreMessage};
use super::load::Cores;
use super::logging::{Limited, Untold};
use super::reader::Reader;
use super::shortage;
use crate::shard::Input;
use crate::shard::memory::Purpose;
use crate::shard::port::ConnectionId;
use crate::types::ShardId;
use bytes::{Buf, Bytes};
use futures_lite::io::AsyncWrite;
use glommio::net::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Slices in one `sendmsg`.
const SLICES_MAX: usize = 512;
/// How often connections that are held back are looked at.
const HELD_INTERVAL: Duration = Duration::from_secs(1);

/// While others wait for memory, who has some must move so many bytes in [`STUCK_AFTER`].
const MOVED_BYTES: usize = 64 << 10;
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// Faults of accepting, and refusals, are logged once in this time.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long accepting rests after a fault: it is there until somebody gives something up.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Counts connections, and where they come from.
pub struct ConnectionCounts {
    counts: Mutex<HashMap<IpAddr, u32>>,
    /// More would take descriptors that files need.
    all_max: u32,
}

/// A counted connection; dropping it counts it off.
pub struct Guard {
    counts: Arc<ConnectionCounts>,
    address: IpAddr,
}

impl ConnectionCounts {
    pub fn new(all_max: u32) -> ConnectionCounts {
        ConnectionCounts { counts: Mutex::default(), all_max }
    }

    fn admit(self: &Arc<Self>, address: IpAddr, all_max: u32, address_max: u32) -> Option<Guard> {
        let mut counts = self.counts.lock().expect("no holder panics");
        let all: u32 = counts.values().sum();
        let here = counts.get(&address).copied().unwrap_or(0);
        if all >= all_max.min(self.all_max) || here >= address_max {
            return None;
        }
        *counts.entry(address).or_default() += 1;
        Some(Guard { counts: self.clone(), address })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock().expect("no holder panics");
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A frame that has begun to arrive. Time in which nothing was read is not counted.
#[derive(Clone, Copy)]
pub struct Arriving {
    pub begun: Instant,
    pub bytes: usize,
    /// When so much of it had arrived; moved on by [`MOVED_BYTES`].
    mark: (Instant, usize),
}

impl Arriving {
    pub fn new(bytes: usize) -> Arriving {
        let begun = Instant::now();
        Arriving { begun, bytes, mark: (begun, bytes) }
    }

    /// So much of it has arrived.
    pub fn at(self, bytes: usize) -> Arriving {
        let much = bytes >= self.mark.1 + MOVED_BYTES;
        Arriving { bytes, mark: if much { (Instant::now(), bytes) } else { self.mark }, ..self }
    }

    pub fn held(self, time: Duration) -> Arriving {
        Arriving { begun: self.begun + time, mark: (self.mark.0 + time, self.mark.1), ..self }
    }
}

/// A connection as its core sees it.
pub struct Link {
    pub id: ConnectionId,
    pub peer: SocketAddr,
    fd: RawFd,
    stream: RefCell<TcpStream>,
    outgoing: RefCell<VecDeque<Bytes>>,
    outgoing_bytes: Cell<usize>,
    /// A task waits until the socket takes more.
    writing: Cell<bool>,
    dirty: Cell<bool>,
    /// Since when the peer has taken how many bytes of the answers that wait for it.
    taken: Cell<(Instant, usize)>,
    /// At a limit: nothing is read, so nothing tells that the peer has gone.
    pub held: Cell<bool>,
    /// The frame that has begun to arrive.
    pub arriving: Cell<Option<Arriving>>,
    /// What its buffer is charged with; 0 if what has arrived lies in the shared buffer.
    pub receive_bytes: Cell<usize>,
    /// The other cores that its last batches went to.
    pub owners: Cell<Cores>,
    closed: Cell<bool>,
    memory: Memory,
    /// Behind `stream`, whose descriptor is closed before the connection is counted off.
    _guard: Guard,
}

impl Link {
    /// Adds an answer; says whether the link is to be flushed.
    pub fn push(&self, parts: Vec<Bytes>) -> bool {
        if self.closed.get() {
            return false;
        }
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        if self.outgoing_bytes.get() == 0 {
            self.taken.set((Instant::now(), 0));
        }
        self.outgoing_bytes.set(self.outgoing_bytes.get() + bytes);
        self.memory.borrow_mut().charge(Purpose::Outgoing, bytes);
        self.outgoing.borrow_mut().extend(parts);
        !self.writing.get() && !self.dirty.replace(true)
    }

    /// Ends the connection; its reader then takes it off.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.memory.borrow_mut().release(Purpose::Outgoing, self.outgoing_bytes.take());
            self.outgoing.borrow_mut().clear();
            // SAFETY: the descriptor is open as long as `stream` is; no memory is passed.
            unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
        }
    }

    pub fn outgoing_bytes(&self) -> usize {
        self.outgoing_bytes.get()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub fn stream(&self) -> RefMut<'_, TcpStream> {
        self.stream.borrow_mut()
    }

    /// Answers wait for it, and it hardly takes any.
    pub fn is_stuck_reading(&self) -> bool {
        self.outgoing_bytes.get() > 0 && self.taken.get().0.elapsed() > STUCK_AFTER
    }

    /// It has begun a request, and hardly sends any of it.
    pub fn is_stuck_sending(&self) -> bool {
        let slow = |arriving: Arriving| arriving.mark.0.elapsed() > STUCK_AFTER;
        !self.held.get() && self.arriving.get().is_some_and(slow)
    }

    /// Bytes of blocks that its answers keep.
    pub fn read_bytes(&self, reader: &Reader) -> usize {
        reader.kept_bytes(self.outgoing.borrow().iter())
    }

    /// Whether the peer has closed the connection, or will send no more.
    fn is_left(&self) -> bool {
        self.poll(libc::POLLRDHUP)
    }

    /// Whether there is something of the peer's to be taken.
    pub fn has_sent(&self) -> bool {
        self.arriving.get().is_some() || self.poll(libc::POLLIN)
    }

    fn poll(&self, events: libc::c_short) -> bool {
        let mut poll = libc::pollfd { fd: self.fd, events, revents: 0 };
        // SAFETY: a system call on one `pollfd`, which does not wait; the descriptor is open as long as `stream` is.
        unsafe { libc::poll(&mut poll, 1, 0) > 0 }
    }

    /// Sends what the socket takes at once; a task sends the rest.
    pub fn flush(self: &Rc<Self>, core: &Rc<Core>) {
        self.dirty.set(false);
        match self.send_some() {
            Ok(true) => {}
            Ok(false) => {
                self.writing.set(true);
                let (link, core) = (self.clone(), core.clone());
                glommio::spawn_local(async move { link.send_rest(&core).await }).detach();
            }
            Err(_) => self.close(),
        }
    }

    /// Sends until everything is sent (`true`) or the socket is full.
    fn send_some(&self) -> io::Result<bool> {
        let mut outgoing = self.outgoing.borrow_mut();
        while !outgoing.is_empty() {
            let slices: Vec<IoSlice<'_>> = outgoing.iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
            // SAFETY: an all-zero msghdr is valid; the slices outlive the call, which only reads from them.
            let sent = unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = slices.as_ptr() as *mut libc::iovec;
                message.msg_iovlen = slices.len();
                libc::sendmsg(self.fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            };
            if sent < 0 {
                return match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => Err(error),
                };
            }
            self.sent(&mut outgoing, sent as usize);
        }
        Ok(true)
    }

    fn sent(&self, outgoing: &mut VecDeque<Bytes>, mut bytes: usize) {
        self.outgoing_bytes.set(self.outgoing_bytes.get() - bytes);
        self.memory.borrow_mut().release(Purpose::Outgoing, bytes);
        let (since, taken) = self.taken.get();
        let much = taken + bytes >= MOVED_BYTES;
        self.taken.set(if much { (Instant::now(), 0) } else { (since, taken + bytes) });
        while bytes > 0 {
            let first = outgoing.front_mut().expect("no more is sent than there is");
            if first.len() > bytes {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            outgoing.pop_front();
        }
    }

    async fn send_rest(self: Rc<Self>, core: &Rc<Core>) {
        loop {
            let Some(first) = self.outgoing.borrow().front().cloned() else { break };
            // Waits until the socket takes something, and sends that.
            let sent =
                std::future::poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, &first));
            let result = match sent.await {
                Ok(sent) if !self.closed.get() => {
                    self.sent(&mut self.outgoing.borrow_mut(), sent);
                    self.send_some()
                }
                Ok(_) => break,
                Err(error) => Err(error),
            };
            match result {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => {
                    self.close();
                    break;
                }
            }
            core.resumed.raise();
        }
        self.writing.set(false);
        core.resumed.raise();
    }
}

/// Accepts connections on the first core and deals them out to all.
pub async fn accept(core: Rc<Core>, listener: TcpListener, number: usize, shards: u16, counts: Arc<ConnectionCounts>) {
    let mut turn = 0;
    let mut faults = Limited::new(1, ACCEPT_LOG_INTERVAL);
    let mut refusals = Limited::new(1, ACCEPT_LOG_INTERVAL);
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                if let Some(untold) = faults.admit(Instant::now()) {
                    tracing::warn!("a connection cannot be accepted: {error}{}", Untold(untold));
                }
                glommio::timer::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        if core.stopping.get() {
            return;
        }
        let Ok(address) = stream.peer_addr().map(|peer| peer.ip()) else { continue };
        let (all_max, address_max) = core.look(|shard| shard.connections_max(address));
        let Some(guard) = counts.admit(address, all_max, address_max) else {
            if let Some(untold) = refusals.admit(Instant::now()) {
                tracing::warn!("refused a connection from {address}: too many are open{}", Untold(untold));
            }
            continue;
        };
        let to = ShardId(turn);
        turn = (turn + 1) % shards;
        // A stream belongs to the core that accepted it; its descriptor may move.
        // SAFETY: the descriptor is open as long as `stream` is.
        let Ok(socket) = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }.try_clone_to_owned() else { continue };
        drop(stream);
        if to == core.id {
            serve(&core, socket, number, guard);
        } else {
            core.post(to, CoreMessage::Connection { socket, listener: number, guard });
        }
    }
}

/// Ends connections whose peers left while they were held back: their requests may wait for weeks. While others wait for
/// memory, ends those that have some and hardly move.
pub async fn watch_held(core: Rc<Core>) {
    loop {
        glommio::timer::sleep(HELD_INTERVAL).await;
        let links: Vec<_> = core.links.borrow().values().cloned().collect();
        let waits_for_itself = |link: &Rc<Link>| !core.may_read(link) && !core.waits_for_disk(link);
        let held = links.iter().filter(|link| link.held.get() && waits_for_itself(link));
        held.filter(|link| link.is_left()).for_each(|link| link.close());
        shortage::relieve(&core, &links);
        core.resumed.raise();
    }
}

/// Serves a connection on this core.
pub fn serve(core: &Rc<Core>, socket: OwnedFd, listener: usize, guard: Guard) {
    // SAFETY: the descriptor is handed over and has no other owner.
    let stream = unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) };
    let Ok(peer) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true);
    let link = Rc::new(Link {
        id: core.connection_id(),
        peer,
        fd: stream.as_raw_fd(),
        stream: RefCell::new(stream),
        outgoing: RefCell::default(),
        outgoing_bytes: Cell::new(0),
        writing: Cell::new(false),
        dirty: Cell::new(false),
        taken: Cell::new((Instant::now(), 0)),
        held: Cell::new(false),
        arriving: Cell::new(None),
        receive_bytes: Cell::new(0),
        owners: Cell::default(),
        memory: core.memory.clone(),
        closed: Cell::new(false),
        _guard: guard,
    });
    core.links.borrow_mut().insert(link.id, link.clone());
    core.input(Input::Connected { connection: link.id, listener, peer: peer.ip() });
    let core = core.clone();
    glommio::spawn_local(async move {
        if let Err(reason) = super::receive::receive(&core, &link).await {
            core.log_close(&link, &reason);
        }
        link.close();
        core.links.borrow_mut().remove(&link.id);
        core.input(Input::Disconnected { connection: link.id });
        core.end_turn();
    })
    .detach();
}
