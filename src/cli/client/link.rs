//! One connection to one broker: requests one after the other, each waiting for its answer.

use crate::cli::failure::{Failure, Result};
use crate::client::request::{Requests, Sent};
use crate::client::version::{Negotiation, NegotiationError, Versions};
use crate::wire::codec::Reader;
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
    versions: Versions,
    requests: Requests,
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
                    let frame = Vec::new();
                    let address = address.to_string();
                    let (versions, requests) = (Versions::default(), Requests::default());
                    let mut link = Link { address, peer, stream, versions, requests, frame };
                    link.patience(timeout)?;
                    link.negotiate()?;
                    return Ok(link);
                }
            }
        }
        Err(unreachable(refused))
    }

    /// How long an answer may take.
    pub fn patience(&mut self, timeout: Duration) -> Result<()> {
        // A timeout of zero would mean none.
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        let set = self.stream.set_read_timeout(timeout).and_then(|()| self.stream.set_write_timeout(timeout));
        set.map_err(|error| self.lost(error))
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
        self.send(request, version).map(drop)
    }

    fn send<R: Exchange>(&mut self, request: &R, version: i16) -> Result<Sent> {
        let (parts, sent) = self.requests.frame(R::API, version, CLIENT_ID, |w| request.encode(w, version));
        self.stream.write_all(&parts.concat()).map_err(|error| self.lost(error))?;
        Ok(sent)
    }

    /// Sends a request and reads the frame of its answer; where the body begins in it.
    fn exchange<R: Exchange>(&mut self, request: &R, version: i16) -> Result<usize> {
        let sent = self.send(request, version)?;
        self.receive().map_err(|error| self.lost(error))?;
        sent.body_start(&self.frame).map_err(|why| self.nonsense(&why.to_string()))
    }

    fn decode<R: Exchange>(&self, _: &R, version: i16, body: usize) -> Result<R::Response<'_>> {
        R::decode_response(&mut Reader::new(&self.frame[body..]), version)
            .map_err(|error| self.nonsense(&format!("{}: {error}", R::API.name())))
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > RESPONSE_BYTES_MAX {
            let why = format!("this is no Kafka broker: it sends {}", explain_length(length, RESPONSE_BYTES_MAX));
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.frame.clear();
        // Room is made as bytes arrive, whatever the length claims.
        (&self.stream).take(bytes as u64).read_to_end(&mut self.frame)?;
        if self.frame.len() < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn lost(&self, error: io::Error) -> Failure {
        Failure::Lost { address: self.address.clone(), error }
    }

    fn nonsense(&self, what: &str) -> Failure {
        let why = format!("this is no Kafka broker: it sends {what}");
        self.lost(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// The resolver's reason without its preamble.
fn resolve_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map(str::to_string).unwrap_or(text)
}
