//! Frames: a request or response is its length (int32, itself not counted), a header and a body.

use super::codec::{DecodeError, EncodeError, Reader, Writer};
use super::messages::{ApiKey, RequestHeader, ResponseHeader};
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;

/// Bytes of the length that precedes every frame.
pub const LENGTH_BYTES: usize = 4;
/// Room for the fields of a common message, so that one buffer without growing is enough.
const FIELD_BYTES: usize = 512;

/// Why a connection is closed whose next frame begins with `length`: what else the peer may be that it speaks like this.
pub fn explain_length(length: [u8; LENGTH_BYTES], bytes_max: usize) -> String {
    let number = i32::from_be_bytes(length);
    let guess = match &length {
        [0x16, 0x03, ..] => "; it looks like TLS, which this listener does not speak",
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" => "; it looks like HTTP, which this listener does not speak",
        _ => "",
    };
    format!("a frame of {number} bytes: the limit is {bytes_max}{guess}")
}

/// The name of an API that this build knows, by its key.
pub fn api_name(key: i16) -> Option<&'static str> {
    ApiKey::from_i16(key).map(ApiKey::name)
}

/// The head of a request in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<'a> {
    /// The request's API.
    pub api: ApiKey,
    /// The version in which it is encoded, and its answer will be.
    pub version: i16,
    /// The client's number for the request, which the answer repeats.
    pub correlation_id: i32,
    /// How the client calls itself.
    pub client_id: Option<Cow<'a, str>>,
    /// Where the body begins in the frame (without its length).
    pub body_start: usize,
}

/// Why a frame is no request that can be answered as usual.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// An API that this build cannot decode: the connection is closed.
    UnknownApi {
        /// The number in the frame.
        key: i16,
        /// The version in the frame.
        version: i16,
    },
    /// A version that this build cannot decode. ApiVersions is answered with UNSUPPORTED_VERSION and a body of version 0
    /// (KIP-511); on any other API the connection is closed.
    UnsupportedVersion {
        /// The request's API.
        api: ApiKey,
        /// The version in the frame.
        version: i16,
        /// The client's number for the request.
        correlation_id: i32,
    },
    /// The frame does not hold what it claims to.
    Malformed(DecodeError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::UnknownApi { key, version } => write!(f, "unknown API key {key} (version {version})"),
            FrameError::UnsupportedVersion { api, version, .. } => {
                write!(f, "unsupported version {version} of {}", api.name())
            }
            FrameError::Malformed(error) => write!(f, "malformed request header: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<DecodeError> for FrameError {
    fn from(error: DecodeError) -> Self {
        FrameError::Malformed(error)
    }
}

impl<'a> Head<'a> {
    /// Reads the header of a request from `frame`, the bytes after its length.
    pub fn decode(frame: &'a [u8]) -> Result<Self, FrameError> {
        // The first three fields are the same in every version of the header.
        let mut fixed = Reader::new(frame);
        let (key, version, correlation_id) = (fixed.i16()?, fixed.i16()?, fixed.i32()?);
        let api = ApiKey::from_i16(key).ok_or(FrameError::UnknownApi { key, version })?;
        if !api.versions().contains(&version) {
            return Err(FrameError::UnsupportedVersion { api, version, correlation_id });
        }
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, api.header_versions(version).0)?;
        let body_start = frame.len() - reader.remaining();
        Ok(Head { api, version, correlation_id, client_id: header.client_id, body_start })
    }
}

/// A whole response frame, length included; `header_version` is the second of [`ApiKey::header_versions`]. Parts that
/// [`is_unsayable`] names stand for an answer that no frame can hold.
pub fn response_frame(header_version: i16, correlation_id: i32, body: impl FnOnce(&mut Writer)) -> Vec<Bytes> {
    let parts = frame(|w| {
        ResponseHeader { correlation_id }.encode(w, header_version);
        body(w);
    });
    parts.unwrap_or_else(|_| unsayable())
}

/// Stands for an answer that cannot be said: see [`is_unsayable`].
pub fn unsayable() -> Vec<Bytes> {
    vec![Bytes::new()]
}

/// Whether these parts stand for an answer that cannot be said: the connection that waits for it is to be closed.
pub fn is_unsayable(parts: &[Bytes]) -> bool {
    matches!(parts, [part] if part.is_empty())
}

/// A whole request frame, length included. Who asks knows that it fits.
pub fn request_frame(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: impl FnOnce(&mut Writer),
) -> Vec<Bytes> {
    assert!(api.versions().contains(&version), "{} has no version {version}", api.name());
    let header = RequestHeader {
        request_api_key: api as i16,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(Cow::Borrowed),
    };
    let parts = frame(|w| {
        header.encode(w, api.header_versions(version).0);
        body(w);
    });
    parts.unwrap_or_else(|error| panic!("no {} request: {error}", api.name()))
}

fn frame(content: impl FnOnce(&mut Writer)) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(FIELD_BYTES);
    w.put_i32(0);
    content(&mut w);
    if let Some(error) = w.error() {
        return Err(error);
    }
    let length = i32::try_from(w.len() - LENGTH_BYTES).map_err(|_| EncodeError::Message)?;
    w.patch_i32(0, length);
    Ok(w.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::{ApiVersionsRequest, MetadataRequest};

    fn whole(parts: Vec<Bytes>) -> Vec<u8> {
        let bytes = parts.concat();
        let length = i32::from_be_bytes(*bytes.first_chunk().unwrap());
        assert_eq!(length as usize, bytes.len() - LENGTH_BYTES);
        bytes[LENGTH_BYTES..].to_vec()
    }

    #[test]
    fn a_request_is_found_again_in_its_frame() {
        for version in MetadataRequest::VERSIONS {
            let body = MetadataRequest { topics: None, ..Default::default() };
            let client = Some("client");
            let frame = whole(request_frame(ApiKey::Metadata, version, 77, client, |w| body.encode(w, version)));
            let head = Head::decode(&frame).unwrap();
            assert_eq!((head.api, head.version, head.correlation_id), (ApiKey::Metadata, version, 77));
            assert_eq!(head.client_id.as_deref(), client);
            // Two and two and four bytes, the client id, and the tag section in flexible versions.
            assert_eq!(head.body_start, 16 + usize::from(version >= MetadataRequest::FLEXIBLE_SINCE));
            let mut reader = Reader::new(&frame[head.body_start..]);
            let decoded = MetadataRequest::decode(&mut reader, version).unwrap();
            assert_eq!((decoded.topics.is_none(), reader.remaining()), (version > 0, 0));
        }
    }

    #[test]
    fn an_answer_that_no_frame_holds_is_marked() {
        use crate::wire::codec::{FIELD_BYTES_MAX, Records, STRING_BYTES_MAX};
        let answer = response_frame(0, 1, |w| w.put_string(&"x".repeat(STRING_BYTES_MAX), false));
        assert!(!is_unsayable(&answer) && !is_unsayable(&[]));
        assert!(is_unsayable(&response_frame(0, 1, |w| w.put_string(&"x".repeat(STRING_BYTES_MAX + 1), false))));
        assert!(is_unsayable(&response_frame(0, 1, |w| (0..=FIELD_BYTES_MAX / 8).for_each(|_| w.put_i64(0)))));
        // 2 GiB of the same megabyte.
        let span = Bytes::from(vec![0; 1 << 20]);
        let spans = |count| Some(Records::Spans(vec![span.clone(); count]));
        assert!(!is_unsayable(&response_frame(0, 1, |w| w.put_records(&spans(2047).unwrap(), false))));
        assert!(is_unsayable(&response_frame(0, 1, |w| w.put_records(&spans(2048).unwrap(), false))));
        let halves = |w: &mut Writer| (0..2).for_each(|_| w.put_records(&spans(1024).unwrap(), true));
        assert!(is_unsayable(&response_frame(0, 1, halves)));
    }

    #[test]
    fn other_protocols_are_named() {
        assert!(explain_length(*b"GET ", 100).contains("HTTP"));
        assert!(explain_length([0x16, 3, 1, 2], 100).contains("TLS"));
        assert_eq!(explain_length([0, 0, 1, 0], 100), "a frame of 256 bytes: the limit is 100");
    }

    #[test]
    fn faults_are_told_apart() {
        let unknown = [0x7f, 0xff, 0, 3, 0, 0, 0, 1, 0xff, 0xff];
        assert_eq!(Head::decode(&unknown), Err(FrameError::UnknownApi { key: 0x7fff, version: 3 }));
        let newer = [0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff];
        let unsupported = FrameError::UnsupportedVersion { api: ApiKey::ApiVersions, version: 99, correlation_id: 5 };
        assert_eq!(Head::decode(&newer), Err(unsupported));
        let known = [0, 18, 0, 0, 0, 0, 0, 5, 0, 9, b'x'];
        assert_eq!(Head::decode(&known), Err(FrameError::Malformed(DecodeError::Truncated)));
        assert_eq!(Head::decode(&known[..7]), Err(FrameError::Malformed(DecodeError::Truncated)));
    }

    #[test]
    fn response_headers_follow_the_api() {
        let version = *ApiVersionsRequest::VERSIONS.end();
        assert_eq!(ApiKey::ApiVersions.header_versions(version), (2, 0));
        assert_eq!(ApiKey::Metadata.header_versions(8), (1, 0));
        assert_eq!(ApiKey::Metadata.header_versions(9), (2, 1));
        assert_eq!(ApiKey::OffsetDelete.header_versions(0), (1, 0));
        assert_eq!(whole(response_frame(1, 5, |w| w.put_i8(9))), [0, 0, 0, 5, 0, 9]);
    }
}
