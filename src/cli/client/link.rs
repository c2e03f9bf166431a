//! One connection to one broker: requests one after the other, each waiting for its answer.

use crate::cli::failure::{Failure, Result};
use crate::wire::codec::Reader;
use crate::wire::error::ErrorCode;
use crate::wire::frame::{LENGTH_BYTES, explain_length, request_frame};
use crate::wire::messages::{ApiKey, ApiVersionsRequest, Exchange, ResponseHeader};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How requests introduce themselves.
pub const CLIENT_ID: &str = "klamm";
/// Longest answer that is believed.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// The version of ApiVersions that is asked first; a broker that lacks it says so in version 0 (KIP-511).
const API_VERSIONS_VERSION: i16 = 3;
/// How long a connection may take to be made, unless everything together has less time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Versions of each API that a broker speaks, by the API's number.
pub type Versions = BTreeMap<i16, (i16, i16)>;

pub struct Link {
    /// As it was typed or as the broker's metadata have it.
    address: String,
    peer: SocketAddr,
    stream: TcpStream,
    versions: Versions,
    correlation_id: i32,
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
                    let versions = Versions::new();
                    let mut link = Link { address, peer, stream, versions, correlation_id: 0, frame };
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
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        self.versions.insert(ApiKey::ApiVersions as i16, (0, API_VERSIONS_VERSION));
        let unsupported = |code| ErrorCode::from_code(code) == Some(ErrorCode::UnsupportedVersion);
        let body = self.exchange(&request, API_VERSIONS_VERSION)?;
        let version = match self.frame[body..] {
            [high, low, ..] if unsupported(i16::from_be_bytes([high, low])) => 0,
            _ => API_VERSIONS_VERSION,
        };
        let answer = if version == 0 { self.ask_in(&request, 0)? } else { self.decode(&request, version, body)? };
        let ranges = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
        let (versions, code) = (ranges.collect(), answer.error_code);
        Failure::check(format_args!("ApiVersions of {}", self.address), code, None)?;
        self.versions = versions;
        Ok(())
    }

    /// The highest version of an API that both sides know.
    pub fn version(&self, api: ApiKey) -> Result<i16> {
        let (theirs, ours) = (self.versions.get(&(api as i16)).copied(), api.versions());
        let common = theirs.map(|(from, to)| (from.max(*ours.start()), to.min(*ours.end())));
        match common {
            Some((from, to)) if from <= to => Ok(to),
            _ => Err(Failure::Unsupported { address: self.address.clone(), api, theirs }),
        }
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
        self.send(request, version)
    }

    fn send<R: Exchange>(&mut self, request: &R, version: i16) -> Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let encode = |w: &mut _| request.encode(w, version);
        let parts = request_frame(R::API, version, self.correlation_id, Some(CLIENT_ID), encode);
        self.stream.write_all(&parts.concat()).map_err(|error| self.lost(error))
    }

    /// Sends a request and reads the frame of its answer; where the body begins in it.
    fn exchange<R: Exchange>(&mut self, request: &R, version: i16) -> Result<usize> {
        self.send(request, version)?;
        self.receive().map_err(|error| self.lost(error))?;
        let mut reader = Reader::new(&self.frame);
        let header = ResponseHeader::decode(&mut reader, R::API.header_versions(version).1);
        let body = self.frame.len() - reader.remaining();
        match header {
            Ok(header) if header.correlation_id == self.correlation_id => Ok(body),
            _ => Err(self.nonsense("the answer to another request")),
        }
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
