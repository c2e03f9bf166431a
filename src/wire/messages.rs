//! Every message of `messages.txt` as Rust, made by the build script.
//!
//! A message is a struct of its own name in a module of its own name (`FetchRequest` in `fetch_request`) beside the structs
//! that it holds; the message itself is also here. Each has `decode(reader, version)` and `encode(writer, version)`;
//! requests and responses have `KEY`, `VERSIONS` and `FLEXIBLE_SINCE`.
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
use prelude::{DecodeError, RangeInclusive, Reader};

#[allow(clippy::all, unused)]
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
