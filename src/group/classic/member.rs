//! A member of a classic group, as the coordinator knows it between two records.

use crate::group::Ticket;
use crate::types::{Now, Time};
use crate::wire::codec::Reader;
use crate::wire::messages::JoinGroupRequest;
use crate::wire::messages::group_metadata_value::MemberMetadata;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The part of a member's id before the random one is cut to this.
const ID_PREFIX_BYTES_MAX: usize = 255;
/// What a member, an id that was given out, and a protocol of a member take beside their texts.
pub(super) const MEMBER_BYTES: usize = 512;
pub(super) const PENDING_BYTES: usize = 128;
const PROTOCOL_BYTES: usize = 64;
/// The first version of JoinGroup with a rebalance timeout of its own.
const JOIN_VERSION_REBALANCE_TIMEOUT: i16 = 1;

#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Of a static member: `group.instance.id` (KIP-345).
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_ms: u64,
    pub rebalance_ms: u64,
    /// Protocols in the order of preference, each with what the member says under it.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    pub assignment: Bytes,
    /// The request that waits for its answer.
    pub join: Option<Ticket>,
    pub sync: Option<Ticket>,
    /// Has not completed a join: cannot send heartbeats yet.
    pub is_new: bool,
    /// When the session ends, unless a request keeps it alive.
    pub deadline: Time,
}

impl Member {
    /// The member that a stored group has, with its id; its session begins.
    pub fn restore(stored: &MemberMetadata<'_>, protocol: Arc<str>, now: Now) -> (Arc<str>, Member) {
        let session_ms = stored.session_timeout.max(0) as u64;
        let rebalance_ms = if stored.rebalance_timeout < 0 { session_ms } else { stored.rebalance_timeout as u64 };
        let member = Member {
            instance: stored.group_instance_id.as_deref().map(Arc::from),
            client_id: Arc::from(&*stored.client_id),
            client_host: Arc::from(&*stored.client_host),
            session_ms,
            rebalance_ms,
            protocols: vec![(protocol, Bytes::copy_from_slice(&stored.subscription))],
            assignment: Bytes::copy_from_slice(&stored.assignment),
            join: None,
            sync: None,
            is_new: false,
            deadline: now.mono.after_ms(session_ms),
        };
        (Arc::from(&*stored.member_id), member)
    }

    /// What is stored of the member.
    pub fn stored<'a>(&'a self, id: &'a str, protocol: &str, assignment: &'a [u8]) -> MemberMetadata<'a> {
        MemberMetadata {
            member_id: Cow::Borrowed(id),
            group_instance_id: self.instance.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&self.client_id),
            client_host: Cow::Borrowed(&self.client_host),
            rebalance_timeout: self.rebalance_ms.min(i32::MAX as u64) as i32,
            session_timeout: self.session_ms.min(i32::MAX as u64) as i32,
            subscription: Cow::Owned(self.metadata(protocol).to_vec()),
            assignment: Cow::Borrowed(assignment),
        }
    }

    /// Memory that a member with this id takes.
    pub fn bytes(&self, id: &str) -> usize {
        let texts = id.len() + self.client_id.len() + self.client_host.len();
        let instance = self.instance.as_ref().map_or(0, |instance| instance.len());
        MEMBER_BYTES + texts + instance + protocol_bytes(&self.protocols) + self.assignment.len()
    }

    /// Whether the session cannot end, because the member waits for the group.
    pub fn is_excused(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }

    pub fn matches(&self, request: &JoinGroupRequest<'_>) -> bool {
        self.protocols.iter().map(|(name, metadata)| (&**name, &**metadata)).eq(offered(request))
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| **name == *protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Takes over what a join may change.
    pub fn update(&mut self, request: &JoinGroupRequest<'_>, version: i16) {
        (self.session_ms, self.rebalance_ms) = timeouts(request, version);
        self.protocols = protocols(request);
    }
}

/// Session and rebalance timeout.
pub(super) fn timeouts(request: &JoinGroupRequest<'_>, version: i16) -> (u64, u64) {
    let session_ms = request.session_timeout_ms.max(0) as u64;
    let rebalance_ms = request.rebalance_timeout_ms.max(0) as u64;
    (session_ms, if version < JOIN_VERSION_REBALANCE_TIMEOUT { session_ms } else { rebalance_ms })
}

pub(super) fn protocol_bytes(protocols: &[(Arc<str>, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| PROTOCOL_BYTES + name.len() + metadata.len()).sum()
}

/// Memory that the protocols of a request take.
pub(super) fn request_bytes(request: &JoinGroupRequest<'_>) -> usize {
    offered(request).map(|(name, metadata)| PROTOCOL_BYTES + name.len() + metadata.len()).sum()
}

/// The protocols of a request, each once: the first of those with the same name counts.
fn offered<'a>(request: &'a JoinGroupRequest<'_>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let mut seen = BTreeSet::new();
    let all = request.protocols.iter().map(|protocol| (&*protocol.name, &*protocol.metadata));
    all.filter(move |(name, _)| seen.insert(*name))
}

pub(super) fn protocols(request: &JoinGroupRequest<'_>) -> Vec<(Arc<str>, Bytes)> {
    offered(request).map(|(name, metadata)| (Arc::from(name), Bytes::copy_from_slice(metadata))).collect()
}

/// A new member's id: `prefix`, which tells an operator who it is, and a random UUID.
pub(super) fn member_id(prefix: &str, random: [u8; 16]) -> Arc<str> {
    let end = (0..=ID_PREFIX_BYTES_MAX.min(prefix.len())).rev().find(|&end| prefix.is_char_boundary(end));
    let bits = u128::from_be_bytes(random) & !(0xf000 << 64) & !(0xc000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    let hex = format!("{bits:032x}");
    let (prefix, uuid) = (
        &prefix[..end.expect("0 is a boundary")],
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
    );
    format!("{prefix}-{uuid}").into()
}

/// The topics that a member of a `consumer` group subscribes to: version 0 of its metadata is what all others begin with.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<Box<str>>> {
    let mut r = Reader::new(metadata);
    r.i16().ok()?;
    let topics = r.array(false, 2, |r| r.string(false)).ok()?;
    Some(topics.into_iter().map(|topic| topic.into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_readable_and_short() {
        assert_eq!(&*member_id("app", [0xff; 16]), "app-ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&*member_id("", [0; 16]), "-00000000-0000-4000-8000-000000000000");
        let long = member_id(&"é".repeat(20_000), [1; 16]);
        assert!(long.len() < 300 && long.starts_with("éé"));
    }

    #[test]
    fn subscriptions_are_read_by_their_oldest_form() {
        let bytes = [0, 3, 0, 0, 0, 2, 0, 1, b'b', 0, 1, b'a', 0xff, 0xff, 0xff, 0xff, 9, 9];
        let topics = subscribed_topics(&bytes).unwrap();
        assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(subscribed_topics(&bytes[..9]), None);
        assert_eq!(subscribed_topics(&[]), None);
    }
}
