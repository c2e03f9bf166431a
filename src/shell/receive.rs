//! What a connection receives: frames, each in a buffer of the right size.
//!
//! An idle connection holds no buffer: what arrives is read into a buffer that the core's connections share. A frame that
//! did not arrive whole gets a buffer of its own, which grows with the bytes that come and ends exactly as large as the
//! frame; so does a large frame that lies in the shared buffer, since what is kept of it would pin all of that. Who sends
//! large frames is read from in two steps, the frame's head and then the rest to where it stays, so that little is copied.

use super::core::Core;
use super::net::{Arriving, Link};
use crate::shard::Input;
use crate::shard::memory::Purpose;
use crate::wire::frame::explain_length;
use bytes::{Buf, BytesMut};
use futures_lite::io::AsyncRead;
use glommio::net::TcpStream;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Size of the buffer that connections share, and of the largest that one gets before its frame has arrived.
const SHARED_BYTES: usize = 1 << 20;
/// The first buffer of a frame that did not arrive whole, unless the frame is smaller.
const PARTIAL_BYTES: usize = 64 << 10;
/// A frame above this gets a buffer of its own. Batches up to this size are copied when they are appended.
const LARGE_BYTES: usize = 32 << 10;
/// Of a frame that will be large, so much is read before its size is known.
const HEAD_BYTES: usize = 512;
const LENGTH_BYTES: usize = 4;
/// Of a frame: its length, and of its header the API, its version and the correlation id.
const HEADER_BYTES: usize = LENGTH_BYTES + 8;

thread_local! {
    /// What the connections of a core read into while none of their frames is cut in two.
    static SHARED: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Limits of a connection.
struct Limits {
    request_bytes: usize,
    idle: Option<Duration>,
    header: Duration,
    request: Duration,
}

/// What has arrived of the next frame, and perhaps of others behind it.
struct Incoming<'a> {
    core: &'a Rc<Core>,
    link: &'a Rc<Link>,
    limits: Limits,
    partial: BytesMut,
    /// Size of the frame before, if that was large.
    large_bytes: usize,
}

/// Reads frames until the connection ends; an error is the reason why it is closed.
pub async fn receive(core: &Rc<Core>, link: &Rc<Link>) -> Result<(), String> {
    let limits = core.look(|shard| {
        let config = &shard.node().config;
        Limits {
            request_bytes: config.socket_request_bytes_max as usize,
            idle: config.connections_idle_ms_max.map(Duration::from_millis),
            header: Duration::from_millis(u64::from(config.connection_header_timeout_ms)),
            request: Duration::from_millis(u64::from(config.connection_request_timeout_ms)),
        }
    });
    let mut incoming = Incoming { core, link, limits, partial: BytesMut::new(), large_bytes: 0 };
    let ended = incoming.run().await;
    incoming.uncharge();
    link.arriving.set(None);
    ended
}

impl Incoming<'_> {
    async fn run(&mut self) -> Result<(), String> {
        loop {
            self.wait_until(|core, link| core.may_read(link)).await;
            if self.is_over() {
                return Ok(());
            }
            let moved = self.take_frames();
            self.core.end_turn_of(self.link);
            self.note(moved?);
            if self.has_frame()? {
                // It waits until the connection may go on.
                continue;
            }
            self.make_room().await;
            if self.is_over() {
                return Ok(());
            }
            let _ = self.link.stream().set_read_timeout(self.patience()?);
            let read = std::future::poll_fn(|context| self.poll(context)).await;
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => self.note(false),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.patience()?;
                    let busy =
                        self.link.outgoing_bytes() > 0 || self.core.look(|shard| shard.requests_of(self.link.id) > 0);
                    if self.partial.is_empty() && !busy {
                        return Err("idle for longer than connections.max.idle.ms".into());
                    }
                }
                Err(_) => return Ok(()),
            }
            futures_lite::future::yield_now().await;
        }
    }

    fn is_over(&self) -> bool {
        self.link.is_closed() || self.core.stopping.get()
    }

    /// Waits, without reading, until `ready` or the connection is over.
    async fn wait_until(&self, ready: impl Fn(&Core, &Link) -> bool) {
        let ready = || self.is_over() || ready(self.core, self.link);
        if ready() {
            return;
        }
        let since = Instant::now();
        self.link.held.set(true);
        self.core.resumed.wait(ready).await;
        self.link.held.set(false);
        // What the peer could not send does not count against it.
        self.link.arriving.set(self.link.arriving.get().map(|arriving| arriving.held(since.elapsed())));
    }

    /// Notes what has arrived of a frame, and since when. `moved`: it is another frame than before.
    fn note(&self, moved: bool) {
        let bytes = self.partial.len();
        let arriving = self.link.arriving.get().filter(|_| !moved);
        let arriving = arriving.map_or_else(|| Arriving::new(bytes), |arriving| arriving.at(bytes));
        self.link.arriving.set((bytes > 0).then_some(arriving));
    }

    /// How long more may be waited for; the error is the reason to close the connection.
    fn patience(&self) -> Result<Option<Duration>, String> {
        let Some(Arriving { begun, bytes, .. }) = self.link.arriving.get() else { return Ok(self.limits.idle) };
        let (whole, setting) = match bytes {
            ..HEADER_BYTES => (self.limits.header, "connection.header.timeout.ms"),
            _ => (self.limits.request, "connection.request.timeout.ms"),
        };
        match whole.checked_sub(begun.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(format!("a request did not arrive within {setting}")),
        }
    }

    /// The whole size of the frame that has begun, if that is known.
    fn frame_bytes(&self) -> Result<Option<usize>, String> {
        let Some(length) = self.partial.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let claim = usize::try_from(i32::from_be_bytes(*length)).ok();
        match claim.filter(|claim| *claim <= self.limits.request_bytes) {
            Some(claim) => Ok(Some(LENGTH_BYTES + claim)),
            None => Err(explain_length(*length, self.limits.request_bytes)),
        }
    }

    fn has_frame(&self) -> Result<bool, String> {
        Ok(self.frame_bytes()?.is_some_and(|bytes| bytes <= self.partial.len()))
    }

    /// Hands whole frames to the shard while the connection may go on; says whether there were any.
    fn take_frames(&mut self) -> Result<bool, String> {
        let mut moved = false;
        while let Some(bytes) = self.frame_bytes()?.filter(|bytes| *bytes <= self.partial.len()) {
            if self.is_over() || !self.core.may_read(self.link) {
                break;
            }
            let mut frame = self.partial.split_to(bytes);
            self.large_bytes = if bytes > LARGE_BYTES { bytes } else { 0 };
            if bytes > LARGE_BYTES && self.link.receive_bytes.get() == 0 {
                frame = BytesMut::from(&frame[..]);
            }
            if self.partial.is_empty() {
                self.uncharge();
            }
            frame.advance(LENGTH_BYTES);
            moved = true;
            self.core.input(Input::Frame { connection: self.link.id, frame });
        }
        Ok(moved)
    }

    /// Gives up the connection's own buffer.
    fn uncharge(&mut self) {
        self.partial = BytesMut::new();
        self.core.memory.borrow_mut().release(Purpose::Receiving, self.link.receive_bytes.take());
        if self.core.over_limit.get() == Some(self.link.id) {
            self.core.over_limit.set(None);
        }
    }

    /// Gives a cut frame a buffer of its own, sized by what has arrived: of this frame, or of the one before.
    async fn make_room(&mut self) {
        let have = self.partial.len();
        if have == 0 || (self.link.receive_bytes.get() > 0 && self.partial.capacity() > have) {
            return;
        }
        let frame = self.frame_bytes().ok().flatten().unwrap_or(HEAD_BYTES);
        let room = (2 * have).max(PARTIAL_BYTES).max(self.large_bytes.min(SHARED_BYTES)).min(frame).max(have + 1);
        let waiter = (frame, self.link.id);
        self.core.receive_waiting.borrow_mut().insert(waiter);
        self.wait_until(|core, _| core.may_receive(waiter, room)).await;
        self.core.receive_waiting.borrow_mut().remove(&waiter);
        self.core.memory.borrow_mut().charge(Purpose::Receiving, room);
        let mut own = BytesMut::with_capacity(room);
        own.extend_from_slice(&self.partial);
        self.core.memory.borrow_mut().release(Purpose::Receiving, self.link.receive_bytes.replace(room));
        self.partial = own;
    }

    /// Reads behind `partial`, or into the shared buffer if that is empty; what was read is in `partial` then.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.link.stream();
        if !self.partial.is_empty() {
            return poll_into(&mut stream, &mut self.partial, usize::MAX, context);
        }
        let most = if self.large_bytes > 0 { HEAD_BYTES } else { usize::MAX };
        SHARED.with_borrow_mut(|shared| {
            if shared.capacity() - shared.len() < PARTIAL_BYTES {
                *shared = BytesMut::with_capacity(SHARED_BYTES);
            }
            let read = poll_into(&mut stream, shared, most, context);
            self.partial = shared.split();
            read
        })
    }
}

fn poll_into(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    most: usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let spare = buffer.spare_capacity_mut();
    let length = spare.len().min(most);
    // SAFETY: the stream hands the memory to `recv`, which only writes to it; its length is set to what was written.
    let target = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), length) };
    let read = Pin::new(stream).poll_read(context, target);
    if let Poll::Ready(Ok(bytes)) = &read {
        assert!(*bytes <= buffer.capacity() - buffer.len());
        // SAFETY: `recv` has written that many bytes behind the buffer's end.
        unsafe { buffer.set_len(buffer.len() + bytes) };
    }
    read
}
