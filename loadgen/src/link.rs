//! One connection that never blocks: requests go out as vectors of fields and shared batches, responses are used where they arrived.

use crate::request::CLIENT_ID;
use bytes::Bytes;
use klamm::client::request::{Answered, Requests};
use klamm::types::Time;
use klamm::wire::codec::{DecodeError, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::ApiKey;
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest response that is believed.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Room for responses at the start; it grows as they arrive.
const INPUT_BYTES: usize = 64 * 1024;
/// Slices given to the kernel at a time.
const SLICES_MAX: usize = 64;
/// Shorter spans are copied: that takes less than to share them, and more of them go to the kernel at a time.
const SPAN_BYTES_MIN: usize = 4 * 1024;
/// How long an answer may take that waits for nothing but the broker.
pub const ANSWER_MS: u64 = 40_000;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One frame: fields with shared spans between them.
#[derive(Default, Debug)]
pub struct Outgoing {
    pub fields: Vec<u8>,
    /// Each span with the position in `fields` that it stands at, positions rising.
    pub spans: Vec<(usize, Bytes)>,
}

impl Outgoing {
    pub fn clear(&mut self) {
        self.fields.clear();
        self.spans.clear();
    }

    /// Adds bytes behind all that is there.
    pub fn put(&mut self, bytes: &Bytes) {
        match bytes.len() {
            SPAN_BYTES_MIN.. => self.spans.push((self.fields.len(), bytes.clone())),
            _ => self.fields.extend_from_slice(bytes),
        }
    }

    fn size(&self) -> usize {
        self.fields.len() + self.spans.iter().map(|(_, span)| span.len()).sum::<usize>()
    }

    /// Adds the pieces behind the first `skip` bytes to `slices`.
    fn slices<'a>(&'a self, mut skip: usize, slices: &mut Vec<IoSlice<'a>>) {
        let mut piece = |bytes: &'a [u8]| {
            if skip < bytes.len() {
                slices.push(IoSlice::new(&bytes[skip..]));
                skip = 0;
            } else {
                skip -= bytes.len();
            }
        };
        let mut position = 0;
        for (at, span) in &self.spans {
            piece(&self.fields[position..*at]);
            piece(span);
            position = *at;
        }
        piece(&self.fields[position..]);
    }

    #[cfg(test)]
    pub fn concat(&self) -> Vec<u8> {
        let mut slices = Vec::new();
        self.slices(0, &mut slices);
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }
}

pub struct Link {
    stream: TcpStream,
    queue: VecDeque<Outgoing>,
    /// Bytes of the queue's front that are written.
    written: usize,
    /// Frames that were sent, to be filled again.
    spare: Vec<Outgoing>,
    input: Vec<u8>,
    /// The bytes of `input` that have arrived and are not used yet.
    begin: usize,
    end: usize,
}

impl Link {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Link::of(stream))
    }

    /// The same without waiting: what is pushed is written once the peer has accepted, and if it does not, reading fails.
    pub fn begin(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(Link::of(socket.into())),
        }
    }

    fn of(stream: TcpStream) -> Link {
        let (queue, spare, input) = (VecDeque::new(), Vec::new(), vec![0; INPUT_BYTES]);
        Link { stream, queue, written: 0, spare, input, begin: 0, end: 0 }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// An empty frame to fill and to push.
    pub fn outgoing(&mut self) -> Outgoing {
        self.spare.pop().unwrap_or_default()
    }

    /// Puts a frame behind those that wait to be written.
    pub fn push(&mut self, frame: Outgoing) {
        assert!(!frame.fields.is_empty());
        self.queue.push_back(frame);
    }

    /// Writes what the socket takes; gives the number of frames whose last byte it took.
    pub fn flush(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while !self.queue.is_empty() {
            let mut slices = Vec::with_capacity(SLICES_MAX);
            let mut skip = self.written;
            for frame in &self.queue {
                if slices.len() + 2 * frame.spans.len() + 1 > SLICES_MAX && !slices.is_empty() {
                    break;
                }
                frame.slices(skip, &mut slices);
                skip = 0;
            }
            slices.truncate(libc::UIO_MAXIOV as usize);
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let count = match self.stream.write_vectored(&slices) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sent += self.advance(count);
            if count < offered {
                // The socket is full: the next edge says when it is not.
                break;
            }
        }
        Ok(sent)
    }

    fn advance(&mut self, count: usize) -> usize {
        let mut sent = 0;
        self.written += count;
        while let Some(front) = self.queue.front() {
            let size = front.size();
            if self.written < size {
                break;
            }
            self.written -= size;
            let mut frame = self.queue.pop_front().expect("it was there");
            frame.clear();
            self.spare.push(frame);
            sent += 1;
        }
        assert!(!self.queue.is_empty() || self.written == 0);
        sent
    }

    /// Reads all that has arrived and gives each whole response, without its length, to `response`.
    /// An orderly close by the peer is an error too.
    pub fn receive(&mut self, mut response: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            if self.begin == self.end {
                (self.begin, self.end) = (0, 0);
            }
            if self.end == self.input.len() {
                self.make_room();
            }
            let room = self.input.len() - self.end;
            let count = match self.stream.read(&mut self.input[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.end += count;
            while let Some(length) = frame_length(&self.input[self.begin..self.end])? {
                response(&self.input[self.begin + 4..self.begin + 4 + length])?;
                self.begin += 4 + length;
            }
            if count < room {
                return Ok(());
            }
        }
    }

    /// Moves what is left to the front; if that is all there is, doubles the room.
    fn make_room(&mut self) {
        if self.begin > 0 {
            self.input.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        } else {
            self.input.resize(2 * self.input.len(), 0);
        }
    }
}

/// A connection and the requests that are under way on it, each with a `T` that its answer brings back.
pub struct Asking<T> {
    link: Link,
    requests: Requests<T>,
}

impl<T> Asking<T> {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Asking { link: Link::connect(address)?, requests: Requests::default() })
    }

    /// The same without waiting until the peer accepts.
    pub fn begin(address: SocketAddr) -> io::Result<Self> {
        Ok(Asking { link: Link::begin(address)?, requests: Requests::default() })
    }

    pub fn stream(&self) -> &TcpStream {
        self.link.stream()
    }

    /// Requests without an answer.
    pub fn under_way(&self) -> usize {
        self.requests.len()
    }

    /// Puts a request in the queue that `fill` writes, with its number.
    pub fn push_filled(
        &mut self,
        of: (ApiKey, i16),
        (now_ns, answer_ms): (u64, u64),
        what: T,
        fill: impl FnOnce(&mut Outgoing, i32),
    ) {
        let (now, mut frame) = (Time(now_ns), self.link.outgoing());
        let number = self.requests.begin(of, (now, now.after_ms(answer_ms)), what);
        fill(&mut frame, number);
        self.link.push(frame);
    }

    /// The same for a request whose body `encode` writes.
    pub fn push(
        &mut self,
        of: (ApiKey, i16),
        (now_ns, answer_ms): (u64, u64),
        what: T,
        encode: impl FnOnce(&mut Writer),
    ) {
        let now = Time(now_ns);
        let parts = self.requests.frame(of, (now, now.after_ms(answer_ms)), CLIENT_ID, what, encode);
        let mut frame = self.link.outgoing();
        parts.iter().for_each(|part| frame.fields.extend_from_slice(part));
        self.link.push(frame);
    }

    /// Writes what the socket takes; gives the number of requests whose last byte it took.
    pub fn flush(&mut self) -> io::Result<usize> {
        self.link.flush()
    }

    /// Takes the oldest request back: it is not answered.
    pub fn unanswered(&mut self) -> Option<T> {
        self.requests.unanswered()
    }

    /// Reads all that has arrived, and gives each answer and its body to `answer`, in the order of the requests.
    pub fn receive(&mut self, mut answer: impl FnMut(Answered<T>, &[u8]) -> Result<(), DecodeError>) -> io::Result<()> {
        let Asking { link, requests } = self;
        link.receive(|frame| {
            let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
            let answered = requests.answered(frame).map_err(|why| invalid(why.to_string()))?;
            let body = &frame[answered.body_start..];
            answer(answered, body).map_err(|error| invalid(format!("an answer that cannot be read: {error}")))
        })
    }

    /// Fails if the oldest request has not been answered in time.
    pub fn check(&self, now_ns: u64) -> io::Result<()> {
        if self.requests.deadline() <= Time(now_ns) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// The connection is given up: what was under way, which may or may not have been done.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> {
        self.requests.give_up()
    }
}

/// Under which of Kafka's codes requests are counted that a connection took with it.
pub fn lost_code(error: &io::Error) -> i16 {
    match error.kind() {
        io::ErrorKind::TimedOut => ErrorCode::RequestTimedOut.code(),
        _ => ErrorCode::NetworkException.code(),
    }
}

/// Length of the first frame if all of it is there.
fn frame_length(input: &[u8]) -> io::Result<Option<usize>> {
    let Some(&length) = input.first_chunk() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(length) if length <= FRAME_BYTES_MAX => Ok((input.len() - 4 >= length).then_some(length)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a response of {length} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::connect(listener.local_addr().unwrap()).unwrap();
        (link, listener.accept().unwrap().0)
    }

    fn frame(tag: u8, span: &Bytes) -> Outgoing {
        Outgoing { fields: vec![tag; 10], spans: vec![(4, span.clone()), (10, span.clone())] }
    }

    #[test]
    fn frames_arrive_whole_and_in_order_through_a_full_socket() {
        let (mut link, mut peer) = pair();
        let span = Bytes::from(vec![0xaa; 300_000]);
        let expected: Vec<u8> = (0..100).flat_map(|tag| frame(tag, &span).concat()).collect();
        (0..100).for_each(|tag| link.push(frame(tag, &span)));
        let mut sent = link.flush().unwrap();
        assert!(sent < 100);
        let length = expected.len();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; length];
            peer.read_exact(&mut got).unwrap();
            got
        });
        while sent < 100 {
            sent += link.flush().unwrap();
        }
        assert!(reader.join().unwrap() == expected);
        assert_eq!(link.outgoing().fields.len(), 0);
    }

    #[test]
    fn responses_are_found_however_they_are_cut() {
        let (mut link, mut peer) = pair();
        let bodies: Vec<Vec<u8>> = [0, 1, 70_000, 5, 300_000].map(|length| vec![length as u8; length]).to_vec();
        let stream: Vec<u8> =
            bodies.iter().flat_map(|body| [&(body.len() as u32).to_be_bytes()[..], body].concat()).collect();
        let writer = std::thread::spawn(move || {
            for piece in stream.chunks(50_001) {
                peer.write_all(piece).unwrap();
            }
        });
        let mut got = Vec::new();
        let error = loop {
            let keep = |body: &[u8]| {
                got.push(body.to_vec());
                Ok(())
            };
            if let Err(error) = link.receive(keep) {
                break error;
            }
        };
        writer.join().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(got == bodies);
    }

    /// What is pushed before the peer has accepted arrives, and a peer that is not there is an error of reading.
    #[test]
    fn a_connection_may_be_used_before_it_is_made() {
        let mut epoll = crate::epoll::Epoll::new(false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut link = Link::begin(address).unwrap();
        link.push(frame(7, &Bytes::from_static(b"span")));
        epoll.add(link.stream(), 0).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut events = Vec::new();
        while link.flush().unwrap() == 0 {
            epoll.wait(Duration::from_secs(5), &mut events).unwrap();
        }
        let mut got = [0; 18];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got[..8], *b"\x07\x07\x07\x07span");
        drop((listener, peer));
        // The kernel says so at once, or with an event.
        let gone = Link::begin(address).and_then(|mut link| {
            epoll.add(link.stream(), 1)?;
            while !events.iter().any(|event| event.token == 1 && event.readable) {
                epoll.wait(Duration::from_secs(5), &mut events)?;
            }
            link.receive(|_| Ok(()))
        });
        assert_eq!(gone.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn a_senseless_length_is_an_error() {
        assert!(frame_length(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(frame_length(&[0x7f, 0, 0, 0]).is_err());
        assert_eq!(frame_length(&[0, 0, 0, 1]).unwrap(), None);
        assert_eq!(frame_length(&[0, 0, 0]).unwrap(), None);
        assert_eq!(frame_length(&[0, 0, 0, 1, 5, 6]).unwrap(), Some(1));
    }
}
