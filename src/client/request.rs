//! Requests on one connection and the answers that belong to them.

use crate::wire::codec::Reader;
use crate::wire::codec::Writer;
use crate::wire::frame::request_frame;
use crate::wire::messages::{ApiKey, ResponseHeader};
use bytes::Bytes;

/// Why a frame is not the answer that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// The response header cannot be decoded.
    Unreadable,
    /// It carries the number of another request.
    AnotherRequest,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mismatch::Unreadable => "an answer that cannot be read",
            Mismatch::AnotherRequest => "the answer to another request",
        })
    }
}

/// What an answer must match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// The API of the request.
    pub api: ApiKey,
    /// The version of the request, in which the answer comes.
    pub version: i16,
    correlation_id: i32,
}

/// Numbers the requests of one connection.
#[derive(Debug, Default)]
pub struct Requests {
    last_id: i32,
}

impl Requests {
    /// The frame of a request whose body `encode` writes, and what its answer must match.
    pub fn frame(
        &mut self,
        api: ApiKey,
        version: i16,
        client_id: &str,
        encode: impl FnOnce(&mut Writer),
    ) -> (Vec<Bytes>, Sent) {
        self.last_id = self.last_id.wrapping_add(1);
        let sent = Sent { api, version, correlation_id: self.last_id };
        (request_frame(api, version, self.last_id, Some(client_id), encode), sent)
    }
}

impl Sent {
    /// Where the answer's body begins in a frame, which has no length in front.
    pub fn body_start(&self, frame: &[u8]) -> Result<usize, Mismatch> {
        let mut reader = Reader::new(frame);
        match ResponseHeader::decode(&mut reader, self.api.header_versions(self.version).1) {
            Ok(header) if header.correlation_id == self.correlation_id => Ok(frame.len() - reader.remaining()),
            Ok(_) => Err(Mismatch::AnotherRequest),
            Err(_) => Err(Mismatch::Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_their_requests() {
        let mut requests = Requests { last_id: i32::MAX };
        // Heads of answers are flexible since a version of each API: Metadata's since 9.
        let mut ask = |version| requests.frame(ApiKey::Metadata, version, "test", |_| {});
        let (frame, old) = ask(8);
        assert_eq!(frame.concat()[8..12], i32::MIN.to_be_bytes(), "numbers go round");
        let (_, new) = ask(9);
        let head = |id: i32, tags: &[u8]| [&id.to_be_bytes()[..], tags, b"body"].concat();
        assert_eq!(old.body_start(&head(i32::MIN, &[])), Ok(4));
        assert_eq!(new.body_start(&head(i32::MIN + 1, &[0])), Ok(5));
        assert_eq!(new.body_start(&head(i32::MIN, &[0])), Err(Mismatch::AnotherRequest));
        assert_eq!(new.body_start(&[0, 0]), Err(Mismatch::Unreadable));
    }
}
