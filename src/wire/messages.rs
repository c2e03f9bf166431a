//! Every message of `messages.txt` as Rust, made by the build script.
//!
//! A message is a struct of its own name in a module of its own name (`FetchRequest` in `fetch_request`) beside the structs
//! that it holds; the message itself is also here. Each has `decode(reader, version)` and `encode(writer, version)`;
//! requests and responses have `KEY`, `VERSIONS` and `FLEXIBLE_SINCE`.
//!
//! Records are the keys and values of records in the broker's own topics; their version stands before them in the bytes.
//!
//! - Strings, bytes and records borrow from the decoded bytes. What may be null in some version is an `Option`.
//! - A field that a version lacks has its declared default after decoding, and is left out when encoding, whatever its value.
//! - A null where the version has none is an error when decoding. When encoding, it goes out as an empty value.
//! - `default()` gives Kafka's declared defaults: a nullable field without one is `Some` of an empty value.
//! - Unknown tagged fields are skipped. Bytes after a message are left to the caller.

/// What the generated modules use.
mod prelude {
    pub(super) use crate::types::Uuid;
    pub(super) use crate::wire::codec::{DecodeError, Reader, Records, Writer};
    pub(super) use std::borrow::Cow;
    pub(super) use std::ops::RangeInclusive;
}
use prelude::{DecodeError, RangeInclusive, Reader, Writer};

// What the fields mean is said in messages.txt and in Kafka's documentation.
#[allow(clippy::all, missing_docs, unused)]
mod generated {
    use super::*;
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}
pub use generated::*;

impl ApiKey {
    /// Versions of the request header and of the response header that go with a version of this API (KIP-482).
    /// ApiVersions answers with header 0 always, because its client does not know yet what the broker speaks (KIP-511).
    pub fn header_versions(self, version: i16) -> (i16, i16) {
        let flexible = version >= self.flexible_since();
        let response = flexible && self != ApiKey::ApiVersions;
        (1 + i16::from(flexible), i16::from(response))
    }
}

/// A request, with the response that belongs to it.
pub trait Exchange {
    /// The API that both belong to.
    const API: ApiKey;
    /// Borrows from the bytes that it is decoded from.
    type Response<'a>;

    /// Writes the request's body.
    fn encode(&self, w: &mut Writer, version: i16);
    /// Reads the response's body.
    fn decode_response<'a>(r: &mut Reader<'a>, version: i16) -> Result<Self::Response<'a>, DecodeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_refused_where_a_version_has_none() {
        let null = [0xff, 0xff, 0xff, 0xff];
        assert_eq!(MetadataRequest::decode(&mut Reader::new(&null), 0), Err(DecodeError::Null));
        assert_eq!(MetadataRequest::decode(&mut Reader::new(&null), 1).map(|request| request.topics), Ok(None));
    }

    #[test]
    fn null_goes_out_empty_where_a_version_has_none() {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let encoded = [0, 1].map(|version| {
            let mut w = Writer::new();
            request.encode(&mut w, version);
            w.into_bytes().to_vec()
        });
        assert_eq!(encoded, [vec![0; 4], vec![0xff; 4]]);
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let bytes = [&[0; 16][..], &[1, 0, 0, 0, 0]].concat();
        let request = FetchRequest::decode(&mut Reader::new(&bytes), 4).unwrap();
        let expected = FetchRequest { replica_id: 0, max_bytes: 0, isolation_level: 1, ..Default::default() };
        assert_eq!(request, expected);
        assert_eq!((request.session_epoch, expected.cluster_id), (-1, None));
    }

    #[test]
    fn versions_outside_the_declared_range_are_refused() {
        for version in [-1, 3, 19, i16::MAX] {
            assert_eq!(FetchRequest::decode(&mut Reader::new(&[0; 64]), version), Err(DecodeError::Version));
        }
    }

    #[test]
    fn unknown_tags_do_not_disturb() {
        let known = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
        let mut w = Writer::new();
        known.encode(&mut w, 4);
        let mut bytes = w.into_bytes().to_vec();
        assert_eq!(bytes.pop(), Some(0), "the tag section is empty");
        bytes.extend([1, 0x90, 0x4e, 3, 7, 7, 7]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(HeartbeatRequest::decode(&mut reader, 4), Ok(known));
        assert_eq!(reader.remaining(), 0);
    }
}
