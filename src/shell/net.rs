//! Connections: frames in, answers out.
//!
//! An idle connection holds no buffer: what arrives is read into a buffer that the core's connections share. Only a frame
//! that did not arrive whole gets a buffer of the connection's own, which grows with the bytes that come. Answers leave by
//! `sendmsg` from where they lie in memory; a peer that does not read holds up its own connection alone.

use super::core::{Core, Parcel};
use super::logging::{Limited, Untold};
use crate::shard::Input;
use crate::shard::port::ConnectionId;
use crate::types::ShardId;
use crate::wire::frame::explain_length;
use bytes::{Buf, Bytes, BytesMut};
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Size of the buffer that connections share, and of the largest that one gets before its frame has arrived.
const RECEIVE_BYTES: usize = 1 << 20;
/// The first buffer of a frame that did not arrive whole.
const PARTIAL_BYTES: usize = 64 << 10;
/// Slices in one `sendmsg`.
const SLICES_MAX: usize = 512;
/// How often connections that are held back are looked at.
const HELD_INTERVAL: Duration = Duration::from_secs(1);
const LENGTH_BYTES: usize = 4;

/// Faults of accepting, and refusals, are logged once in this time.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long accepting rests after a fault: it is there until somebody gives something up.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Of a frame: its length, and of its header the API, its version and the correlation id.
const HEADER_BYTES: usize = LENGTH_BYTES + 8;

/// Counts connections, and where they come from.
pub struct Census {
    counts: Mutex<HashMap<IpAddr, u32>>,
    /// More would take descriptors that files need.
    all_max: u32,
}

/// A counted connection; dropping it counts it off.
pub struct Guard {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    pub fn new(all_max: u32) -> Census {
        Census { counts: Mutex::default(), all_max }
    }

    fn admit(self: &Arc<Self>, address: IpAddr, all_max: u32, address_max: u32) -> Option<Guard> {
        let mut counts = self.counts.lock().expect("no holder panics");
        let all: u32 = counts.values().sum();
        let here = counts.get(&address).copied().unwrap_or(0);
        if all >= all_max.min(self.all_max) || here >= address_max {
            return None;
        }
        *counts.entry(address).or_default() += 1;
        Some(Guard { census: self.clone(), address })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().expect("no holder panics");
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
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
    /// At a limit: nothing is read, so nothing tells that the peer has gone.
    held: Cell<bool>,
    closed: Cell<bool>,
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
        self.outgoing_bytes.set(self.outgoing_bytes.get() + bytes);
        self.outgoing.borrow_mut().extend(parts);
        !self.writing.get() && !self.dirty.replace(true)
    }

    /// Ends the connection; its reader then takes it off.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.outgoing.borrow_mut().clear();
            self.outgoing_bytes.set(0);
            // SAFETY: the descriptor is open as long as `stream` is; no memory is passed.
            unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
        }
    }

    /// Whether the peer has closed the connection, or will send no more.
    fn is_left(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.fd, events: libc::POLLRDHUP, revents: 0 };
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
pub async fn accept(core: Rc<Core>, listener: TcpListener, number: usize, shards: u16, census: Arc<Census>) {
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
        let Some(guard) = census.admit(address, all_max, address_max) else {
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
            core.post(to, Parcel::Connection { socket, listener: number, guard });
        }
    }
}

/// Ends connections whose peers left while they were held back: their requests may wait for weeks.
pub async fn watch_held(core: Rc<Core>) {
    loop {
        glommio::timer::sleep(HELD_INTERVAL).await;
        let links: Vec<_> = core.links.borrow().values().filter(|link| link.held.get()).cloned().collect();
        links.iter().filter(|link| link.is_left()).for_each(|link| link.close());
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
        held: Cell::new(false),
        closed: Cell::new(false),
        _guard: guard,
    });
    core.links.borrow_mut().insert(link.id, link.clone());
    core.input(Input::Connected { connection: link.id, listener, peer: peer.ip() });
    let core = core.clone();
    glommio::spawn_local(async move {
        if let Err(reason) = receive(&core, &link).await {
            core.log_close(&link, &reason);
        }
        link.close();
        core.links.borrow_mut().remove(&link.id);
        core.input(Input::Disconnected { connection: link.id });
        core.end_turn();
    })
    .detach();
}

thread_local! {
    /// What the connections of a core read into while none of their frames is cut in two.
    static SHARED: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Limits of a connection.
struct Limits {
    request_bytes: usize,
    outgoing_bytes: usize,
    idle: Option<Duration>,
    header: Duration,
    request: Duration,
}

/// A frame that has begun to arrive.
#[derive(Default)]
struct Arriving {
    /// Since its first byte; time in which nothing was read is not counted.
    since: Option<Instant>,
}

impl Arriving {
    /// What has arrived of it. `moved`: it is another one than before.
    fn note(&mut self, partial: &[u8], moved: bool) {
        if partial.is_empty() || moved {
            self.since = None;
        }
        if !partial.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn rest(&mut self, held: Duration) {
        self.since = self.since.map(|since| since + held);
    }

    /// How long more of it may be waited for; the error is the reason to close the connection.
    fn patience(&self, partial: &[u8], limits: &Limits) -> Result<Option<Duration>, String> {
        let Some(since) = self.since else { return Ok(limits.idle) };
        let (whole, setting) = match partial.len() {
            ..HEADER_BYTES => (limits.header, "connection.header.timeout.ms"),
            _ => (limits.request, "connection.request.timeout.ms"),
        };
        match whole.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(format!("a request did not arrive within {setting}")),
        }
    }
}

/// Reads frames until the connection ends; an error is the reason why it is closed.
async fn receive(core: &Rc<Core>, link: &Rc<Link>) -> Result<(), String> {
    let limits = core.look(|shard| {
        let config = &shard.node().config;
        Limits {
            request_bytes: config.socket_request_bytes_max as usize,
            outgoing_bytes: config.connection_outgoing_bytes_max as usize,
            idle: config.connections_idle_ms_max.map(Duration::from_millis),
            header: Duration::from_millis(u64::from(config.connection_header_timeout_ms)),
            request: Duration::from_millis(u64::from(config.connection_request_timeout_ms)),
        }
    });
    // The part of a frame that has arrived, and the size of the largest frame so far.
    let mut partial = BytesMut::new();
    let mut frame_bytes_max = 0;
    let mut arriving = Arriving::default();
    loop {
        let may_read = || {
            link.closed.get()
                || core.stopping.get()
                || (link.outgoing_bytes.get() < limits.outgoing_bytes && core.look(|shard| shard.may_read(link.id)))
        };
        if !may_read() {
            let since = Instant::now();
            link.held.set(true);
            core.resumed.wait(may_read).await;
            link.held.set(false);
            arriving.rest(since.elapsed());
        }
        if link.closed.get() || core.stopping.get() {
            return Ok(());
        }
        let _ = link.stream.borrow().set_read_timeout(arriving.patience(&partial, &limits)?);
        let read = std::future::poll_fn(|context| poll_receive(link, &mut partial, context)).await;
        match read {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                arriving.patience(&partial, &limits)?;
                let busy = link.outgoing_bytes.get() > 0 || core.look(|shard| shard.requests_of(link.id) > 0);
                match partial.is_empty() {
                    true if !busy => return Err("idle for longer than connections.max.idle.ms".into()),
                    _ => continue,
                }
            }
            Err(_) => return Ok(()),
        }
        let moved = take_frames(core, link, &mut partial, &mut frame_bytes_max, limits.request_bytes);
        core.end_turn();
        arriving.note(&partial, moved?);
        make_room(&mut partial, frame_bytes_max);
        futures_lite::future::yield_now().await;
    }
}

/// Reads behind `partial`, or into the shared buffer if that is empty; what was read is in `partial` then.
fn poll_receive(link: &Link, partial: &mut BytesMut, context: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
    let mut stream = link.stream.borrow_mut();
    if !partial.is_empty() {
        return poll_into(&mut stream, partial, context);
    }
    SHARED.with_borrow_mut(|shared| {
        if shared.capacity() - shared.len() < PARTIAL_BYTES {
            *shared = BytesMut::with_capacity(RECEIVE_BYTES);
        }
        let read = poll_into(&mut stream, shared, context);
        *partial = shared.split();
        read
    })
}

fn poll_into(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<usize>> {
    let spare = buffer.spare_capacity_mut();
    // SAFETY: the stream hands the memory to `recv`, which only writes to it; its length is set to what was written.
    let target = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), spare.len()) };
    let read = Pin::new(stream).poll_read(context, target);
    if let Poll::Ready(Ok(bytes)) = &read {
        assert!(*bytes <= buffer.capacity() - buffer.len());
        // SAFETY: `recv` has written that many bytes behind the buffer's end.
        unsafe { buffer.set_len(buffer.len() + bytes) };
    }
    read
}

/// Hands the whole frames in `partial` to the shard; says whether there were any.
fn take_frames(
    core: &Rc<Core>,
    link: &Link,
    partial: &mut BytesMut,
    frame_bytes_max: &mut usize,
    request_max: usize,
) -> Result<bool, String> {
    let mut moved = false;
    while let Some(length) = partial.first_chunk::<LENGTH_BYTES>() {
        let claim = usize::try_from(i32::from_be_bytes(*length)).ok();
        let Some(length) = claim.filter(|claim| *claim <= request_max) else {
            return Err(explain_length(*length, request_max));
        };
        if partial.len() < LENGTH_BYTES + length {
            break;
        }
        *frame_bytes_max = (*frame_bytes_max).max(LENGTH_BYTES + length);
        partial.advance(LENGTH_BYTES);
        let frame = partial.split_to(length);
        moved = true;
        core.input(Input::Frame { connection: link.id, frame });
        if link.closed.get() {
            return Ok(true);
        }
    }
    Ok(moved)
}

/// Gives a cut frame a buffer of its own, sized by what has arrived: this frame so far, or larger ones before.
fn make_room(partial: &mut BytesMut, frame_bytes_max: usize) {
    if partial.is_empty() {
        *partial = BytesMut::new();
        return;
    }
    if partial.capacity() - partial.len() >= PARTIAL_BYTES / 2
        && partial.capacity() >= frame_bytes_max.min(RECEIVE_BYTES)
    {
        return;
    }
    let room = (2 * partial.len()).max(4 * frame_bytes_max).clamp(PARTIAL_BYTES, RECEIVE_BYTES).max(2 * partial.len());
    let mut own = BytesMut::with_capacity(room);
    own.extend_from_slice(partial);
    *partial = own;
}
