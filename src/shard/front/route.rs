//! Who answers a request: what a row of the table of APIs (`api.rs`) says.

use super::gather::Begin;
use crate::shard::admin::Decision;
use crate::shard::context::Context;
use crate::wire::codec::DecodeError;
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;
use bytes::Bytes;

/// The table of APIs.
pub type Table = fn(ApiKey) -> Api;
/// The whole response frame to a request with this head and body. An error is the client's fault, and closes its
/// connection.
pub type Answer = fn(&Context<'_>, &Head<'_>, &[u8]) -> Result<Vec<Bytes>, DecodeError>;
/// As [`Answer`], by the controller, which may decide that something changes.
pub type Decide = fn(Decision<'_>, &Head<'_>, &[u8]) -> Result<Vec<Bytes>, DecodeError>;

/// Who answers a request.
#[derive(Clone, Copy)]
pub enum Route {
    /// The connection's core, at once, from the image that it has.
    Image(Answer),
    /// The controller, on the first core; the answer leaves when every core has the image with what was decided.
    Controller(Decide),
    /// The controller if `needed` says that something must be made first, otherwise as [`Route::Image`].
    Either {
        needed: fn(&Context<'_>, &Head<'_>, &[u8]) -> Result<bool, DecodeError>,
        image: Answer,
        controller: Decide,
    },
    /// Other machines, of this core and others: owners of partitions, coordinators of groups. The function splits the
    /// request into what is asked of each.
    Owners(Begin),
}

/// Bytes that the body of a request may have, its record batches aside: enough to name 100,000 topics or partitions, and more
/// than can be stored of a group's members. What a request names is looked at in one turn, and its answer may be many times
/// longer, so a longer one closes its connection.
pub const REQUEST_FIELD_BYTES_MAX: usize = 2 << 20;

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Api {
    pub key: ApiKey,
    /// The versions that ApiVersions tells. Produce: from 0, although 0-2 are refused, because old librdkafka otherwise
    /// takes compression for unsupported (KAFKA-18659).
    pub version_min: i16,
    pub version_max: i16,
    pub route: Route,
}

impl Api {
    /// Whether requests of this version are served.
    pub fn is_served(&self, version: i16) -> bool {
        (self.version_min..=self.version_max).contains(&version) && self.key.versions().contains(&version)
    }
}
