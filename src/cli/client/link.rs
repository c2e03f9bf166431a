//! One connection to one broker: requests one after the other, each waiting for its answer.

use crate::cli::failure::{Failure, Result};
use crate::cli::time::mono;
use crate::client::request::Requests;
use crate::client::version::{Negotiation, NegotiationError, Versions};
use crate::types::Time;
use crate::wire::codec::{Reader, Writer};
use crate::wire::frame::{LENGTH_BYTES, explain_length};
use crate::wire::messages::{ApiKey, Exchange};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How requests introduce themselves.
pub const CLIENT_ID: &str = "klamm";
/// Longest answer that is believed.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// How long a connection may take to be made, unless everything together has less time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Link {
    /// As it was typed or as the broker's metadata have it.
    address: String,
    peer: SocketAddr,
    stream: TcpStream,
    /// A request or an answer was cut off: the next request goes over a new connection.
    is_lost: bool,
    /// How long an answer may take.
    timeout: Duration,
    versions: Versions,
    requests: Requests<()>,
    /// The last answer; what was decoded from it borrows from here.
    frame: Vec<u8>,
}

impl Link {
    /// Connects to `HOST:PORT` and asks what it speaks. An answer may take `timeout`.
    pub fn connect(address: &str, timeout: Duration) -> Result<Link> {
        let unreachable = |error| Failure::Unreachable(vec![(address.to_string(), error)]);
        let mut refused = io::Error::new(io::ErrorKind::NotFound, "no such host");
        let resolved = address.to_socket_addrs();
        for peer in resolved.map_err(|error| unreachable(io::Error::new(error.kind(), resolve_reason(&error))))? {
            match TcpStream::connect_timeout(&peer, timeout.min(CONNECT_TIMEOUT)) {
                Err(error) => refused = error,
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(unreachable)?;
                    let mut link = Link {
                        address: address.to_string(),
                        peer,
                        stream,
                        is_lost: false,
                        timeout,
                        versions: Versions::default(),
                        requests: Requests::default(),
                        frame: Vec::new(),
                    };
                    link.negotiate()?;
                    return Ok(link);
                }
            }
        }
        Err(unreachable(refused))
    }

    /// How long an answer may take.
    pub fn patience(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What the broker speaks, by the numbers of its APIs.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    fn negotiate(&mut self) -> Result<()> {
        let mut negotiation = Negotiation::new(CLIENT_ID, env!("CARGO_PKG_VERSION"));
        loop {
            let (request, version) = negotiation.request();
            let body = self.exchange(request, version)?;
            match negotiation.answered(&self.frame[body..]) {
                Ok(None) => {}
                Ok(Some(versions)) => {
                    self.versions = versions;
                    return Ok(());
                }
                Err(NegotiationError::Refused(code)) => {
                    return Failure::check(format_args!("ApiVersions of {}", self.address), code, None);
                }
                Err(NegotiationError::Unreadable(error)) => {
                    return Err(self.nonsense(&format!("{}: {error}", ApiKey::ApiVersions.name())));
                }
            }
        }
    }

    /// The highest version of an API that both sides know.
    pub fn version(&self, api: ApiKey) -> Result<i16> {
        let unsupported = |why| Failure::Unsupported { address: self.address.clone(), why };
        self.versions.common(api).map_err(unsupported)
    }

    /// Sends a request in the highest common version; the answer lies in this connection until the next request.
    pub fn ask<R: Exchange>(&mut self, request: &R) -> Result<R::Response<'_>> {
        let version = self.version(R::API)?;
        self.ask_in(request, version)
    }

    /// The same in a version of the caller's choice, which the broker is to speak.
    pub fn ask_in<R: Exchange>(&mut self, request: &R, version: i16) -> Result<R::Response<'_>> {
        let body = self.exchange(request, version)?;
        self.decode(request, version, body)
    }

    /// Sends a request that is not answered: Produce with acks 0.
    pub fn tell<R: Exchange>(&mut self, request: &R) -> Result<()> {
        let version = self.version(R::API)?;
        self.send(R::API, version, |w| request.encode(w, version))?;
        self.requests.unanswered();
        Ok(())
    }

    /// Sends a request whose body `encode` writes; gives the body of its answer.
    pub fn call(&mut self, api: ApiKey, version: i16, encode: impl FnOnce(&mut Writer)) -> Result<&[u8]> {
        let body = self.call_in(api, version, encode)?;
        Ok(&self.frame[body..])
    }

    fn send(&mut self, api: ApiKey, version: i16, encode: impl FnOnce(&mut Writer)) -> Result<()> {
        if self.is_lost {
            *self = Link::connect(&self.address, self.timeout)?;
        }
        let deadline = Time(mono().0.saturating_add(u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX)));
        let parts = self.requests.frame((api, version), (mono(), deadline), CLIENT_ID, (), encode);
        let sent = wait_until(deadline, |left| self.stream.set_write_timeout(left));
        let sent = sent.and_then(|()| self.stream.write_all(&parts.concat()));
        sent.map_err(|error| self.lost(error))
    }

    /// Sends a request and reads the frame of its answer; where the body begins in it.
    fn exchange<R: Exchange>(&mut self, request: &R, version: i16) -> Result<usize> {
        self.call_in(R::API, version, |w| request.encode(w, version))
    }

    fn call_in(&mut self, api: ApiKey, version: i16, encode: impl FnOnce(&mut Writer)) -> Result<usize> {
        self.send(api, version, encode)?;
        self.receive().map_err(|error| self.lost(error))?;
        match self.requests.answered(&self.frame) {
            Ok(answered) => Ok(answered.body_start),
            Err(why) => Err(self.nonsense(&why.to_string())),
        }
    }

    fn decode<R: Exchange>(&self, _: &R, version: i16, body: usize) -> Result<R::Response<'_>> {
        R::decode_response(&mut Reader::new(&self.frame[body..]), version)
            .map_err(|error| self.senseless(&format!("{}: {error}", R::API.name())))
    }

    fn receive(&mut self) -> io::Result<()> {
        let deadline = self.requests.deadline();
        let mut length = [0; LENGTH_BYTES];
        Until { stream: &self.stream, deadline }.read_exact(&mut length)?;
        let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > RESPONSE_BYTES_MAX {
            let why = format!("this is no Kafka broker: it sends {}", explain_length(length, RESPONSE_BYTES_MAX));
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.frame.clear();
        // Room is made as bytes arrive, whatever the length claims.
        Until { stream: &self.stream, deadline }.take(bytes as u64).read_to_end(&mut self.frame)?;
        if self.frame.len() < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn lost(&mut self, error: io::Error) -> Failure {
        self.is_lost = true;
        Failure::Lost { address: self.address.clone(), error }
    }

    fn nonsense(&mut self, what: &str) -> Failure {
        self.is_lost = true;
        self.senseless(what)
    }

    fn senseless(&self, what: &str) -> Failure {
        let why = format!("this is no Kafka broker: it sends {what}");
        Failure::Lost { address: self.address.clone(), error: io::Error::new(io::ErrorKind::InvalidData, why) }
    }
}

/// Reads what arrives until a deadline, however often something arrives.
struct Until<'a> {
    stream: &'a TcpStream,
    deadline: Time,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait_until(self.deadline, |left| self.stream.set_read_timeout(left))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

/// Sets a socket's timeout to what is left until a deadline.
fn wait_until(deadline: Time, set: impl FnOnce(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
    match deadline.0.saturating_sub(mono().0) {
        0 => Err(io::ErrorKind::TimedOut.into()),
        // Less than a microsecond would be none at all.
        left => set(Some(Duration::from_nanos(left.max(1000)))),
    }
}

/// The resolver's reason without its preamble.
fn resolve_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map(str::to_string).unwrap_or(text)
}
