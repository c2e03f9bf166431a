//! Consumer groups: a [`Coordinator`] for each partition of `__consumer_offsets` knows the groups of that partition,
//! and the positions that they have committed.
//!
//! A coordinator is a pure machine. Its durable state is what the partition's records say, and `Ledger::apply` alone
//! changes that, live and at loading. A step decides: it changes who is a member (which a crash may undo, because
//! clients then join again), gathers records for the partition ([`Coordinator::plan_append`]) and leaves answers
//! ([`Coordinator::take_answers`]). An answer that promises something waits until [`Coordinator::appended`] says that
//! its records are durable.
//!
//! What groups of every kind have is in `shared.rs`; `Kind` (`state.rs`) is what a group is besides. There is one kind,
//! `classic/`, which follows Kafka's classic protocol: KIP-134, KIP-211, KIP-345, KIP-394, KIP-496, KIP-709, KIP-800,
//! KIP-814.

#![warn(missing_docs)]

pub mod checkpoint;
mod classic;
mod coordinator;
mod decisions;
mod error;
mod forget;
mod groups;
mod ledger;
mod list;
mod offsets;
mod record;
mod retention;
mod shared;
mod split;
mod state;

pub use checkpoint::{Checkpoint, CheckpointError, Restoring};
pub use coordinator::Coordinator;
pub use decisions::{Append, AppendId};
pub use error::refusal;
pub use list::ListFilter;
pub use record::Record;
pub use split::{offset_fetch_join, offset_fetch_split, partition_of};

use crate::types::{RequestId, ShardId, TimestampMs};
use crate::wire::messages as wire;
use std::sync::Arc;

/// Protocols that one member may offer. Clients offer one to four.
pub const MEMBER_PROTOCOLS_MAX: usize = 100;
/// Bytes of metadata, over all its protocols, that one member may send: as many as a batch with its group may have.
pub const MEMBER_METADATA_BYTES_MAX: usize = 1 << 20;
/// Members of one group that have been given an id and have not joined with it yet.
pub const MEMBERS_PENDING_MAX: usize = 10_000;
/// A coordinator refuses writes while more bytes of its records than this are decided and not durable.
pub const DECIDED_BYTES_MAX: usize = 64 << 20;
/// A deadline that is over and is set anew lies at least so many milliseconds ahead, so that nothing comes again at once.
pub const AGAIN_MS_MIN: u64 = 100;
/// Bytes that the answer to a request about groups may take; a larger one is not made.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Milliseconds that a new member may wait for its group: it has no id yet that it could send heartbeats with.
pub const NEW_MEMBER_JOIN_MS: u64 = 5 * 60 * 1000;

/// Settings of a coordinator, in milliseconds and bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `group.min.session.timeout.ms`
    pub session_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_ms_max: i32,
    /// `group.max.size`
    pub members_max: usize,
    /// A group that was empty waits so long for one more member before its first rebalance goes on.
    pub gather_ms: u64,
    /// `group.initial.rebalance.delay.ms`: such a group waits so long at most, however many come.
    pub gather_ms_max: u64,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: no group is looked at more often.
    pub retention_check_ms: u64,
    /// Bytes of keys and values in one append; a larger record is refused.
    pub append_bytes_max: usize,
    /// `group.members.memory.bytes`: what members, and ids that were given out, may take in all coordinators of a core.
    pub member_bytes_max: usize,
    /// What durable groups and positions may take in all coordinators of a core.
    pub offset_bytes_max: usize,
    /// What one answer about groups or positions may take.
    pub answer_bytes_max: usize,
}

impl Default for Settings {
    /// Kafka's defaults, except that a group which was empty waits no longer once joins pause.
    fn default() -> Self {
        Settings {
            session_ms_min: 6_000,
            session_ms_max: 1_800_000,
            members_max: i32::MAX as usize,
            gather_ms: 100,
            gather_ms_max: 3_000,
            offset_metadata_bytes_max: 4096,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_check_ms: 600_000,
            append_bytes_max: 1 << 20,
            member_bytes_max: 128 << 20,
            offset_bytes_max: 1 << 30,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// Whom an answer is for. A ticket comes back with the answer as it was given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket {
    /// The shard that asks.
    pub shard: ShardId,
    /// Its number for the request.
    pub request: RequestId,
    /// The part of the request.
    pub part: u32,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Whom to answer.
    pub ticket: Ticket,
    /// Version of the request's API.
    pub version: i16,
    /// How the client calls itself.
    pub client_id: &'a str,
    /// As Kafka's tools print it: `/` and the address.
    pub client_host: &'a str,
    /// Random bits for a new member's id.
    pub random: [u8; 16],
    /// [`Coordinator::member_bytes`] of the other coordinators that share the memory; only of interest to a join.
    pub member_bytes_elsewhere: usize,
    /// [`Coordinator::offset_bytes`] of the same; only of interest to a commit.
    pub offset_bytes_elsewhere: usize,
}

/// A request, or one group's share of it (OffsetFetch), to the coordinator of its groups. Variants are called as Kafka's APIs.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub enum Request<'a> {
    JoinGroup(wire::JoinGroupRequest<'a>),
    SyncGroup(wire::SyncGroupRequest<'a>),
    Heartbeat(wire::HeartbeatRequest<'a>),
    LeaveGroup(wire::LeaveGroupRequest<'a>),
    OffsetCommit(wire::OffsetCommitRequest<'a>),
    OffsetFetch { group: wire::offset_fetch_request::OffsetFetchRequestGroup<'a>, require_stable: bool },
    OffsetDelete(wire::OffsetDeleteRequest<'a>),
    ListGroups(ListFilter),
    DescribeGroups(wire::DescribeGroupsRequest<'a>),
    DeleteGroups(wire::DeleteGroupsRequest<'a>),
}

/// The answer to the [`Request`] of the same name. Where groups of several coordinators are asked for, the caller puts the
/// lists together.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    JoinGroup(wire::JoinGroupResponse<'static>),
    SyncGroup(wire::SyncGroupResponse<'static>),
    Heartbeat(wire::HeartbeatResponse),
    LeaveGroup(wire::LeaveGroupResponse<'static>),
    OffsetCommit(wire::OffsetCommitResponse<'static>),
    OffsetFetch(wire::offset_fetch_response::OffsetFetchResponseGroup<'static>),
    OffsetDelete(wire::OffsetDeleteResponse<'static>),
    ListGroups(wire::ListGroupsResponse<'static>),
    DescribeGroups(wire::DescribeGroupsResponse<'static>),
    DeleteGroups(wire::DeleteGroupsResponse<'static>),
    /// The answer would be larger than [`Settings::answer_bytes_max`].
    TooLarge,
}

impl Response {
    /// About what the response takes, if it may be part of a larger one; 0 for others.
    pub fn bytes(&self) -> usize {
        match self {
            Response::ListGroups(r) => {
                r.groups.iter().map(|group| group.group_id.len() + group.protocol_type.len() + 64).sum()
            }
            Response::DescribeGroups(r) => {
                let member = |m: &wire::describe_groups_response::DescribedGroupMember<'_>| {
                    let texts = m.member_id.len() + m.client_id.len() + m.client_host.len();
                    64 + texts + m.member_metadata.len() + m.member_assignment.len()
                };
                let members = |members: &[_]| members.iter().map(member).sum::<usize>();
                r.groups.iter().map(|group| 128 + group.group_id.len() + members(&group.members)).sum()
            }
            Response::OffsetFetch(r) => {
                let metadata = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
                let partitions = r.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.map(|partition| offsets::FETCHED_BYTES + metadata(&partition.metadata)).sum()
            }
            _ => 0,
        }
    }
}

/// An answer, and whom it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Whom to answer.
    pub ticket: Ticket,
    /// What to say.
    pub response: Response,
}

/// What an operator wants to read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record of the group cannot be read. The group answers with errors until the record is overwritten or the group
    /// deleted.
    Malformed {
        /// The group's id.
        group: Arc<str>,
        /// The record's key.
        key: Vec<u8>,
        /// What is wrong with it.
        reason: String,
    },
    /// Records were left out whose keys do not even name a group.
    MalformedKeys {
        /// How many there were.
        records: u64,
        /// The key of the first.
        first: Vec<u8>,
    },
    /// Records were left out whose kind this build does not know.
    UnknownKind {
        /// The number of the kind.
        kind: i16,
        /// How many there were.
        records: u64,
    },
    /// A rebalance begins.
    Rebalance {
        /// The group's id.
        group: Arc<str>,
        /// The generation that ends.
        generation: i32,
        /// Why it ends.
        reason: String,
    },
    /// A generation is complete: its members are about to be given their shares.
    Generation {
        /// The group's id.
        group: Arc<str>,
        /// The generation.
        generation: i32,
        /// How many members it has.
        members: usize,
    },
    /// Offsets and, if `group_gone`, the group itself have outlived their retention.
    Expired {
        /// The group's id.
        group: Arc<str>,
        /// How many offsets are gone.
        offsets: usize,
        /// Whether the group is gone, too.
        group_gone: bool,
    },
    /// Records could not be appended.
    AppendFailed {
        /// The group's id.
        group: Arc<str>,
        /// Why not.
        reason: String,
    },
}

/// Whether a topic has a partition.
pub type Topics<'a> = &'a dyn Fn(&str, i32) -> bool;

/// How a record says that there is no time.
const NO_TIMESTAMP: TimestampMs = -1;
