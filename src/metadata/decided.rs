//! What the controller needs of the log behind it.

use super::record::{Record, RecordError};

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This node, in this term; the entry `index_first` begins it.
    Leader {
        /// The term of what is proposed.
        term: u64,
        /// Index of the entry that begins the term.
        index_first: u64,
    },
    /// Another node, or nobody at the moment.
    Follower,
    /// The log of this node cannot be written until the next start.
    Failed,
}

/// Nothing can be proposed: this node does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLeader;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1 without gaps.
    pub index: u64,
    /// The term in which the entry was proposed.
    pub term: u64,
    /// What the entry says.
    pub body: Body,
}

/// What an entry of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The first entry of a term, which changes nothing.
    TermBegins,
    /// The records of one decision, as a frame's payload holds them.
    Records(Vec<u8>),
}

impl Entry {
    /// The records of a payload.
    pub(super) fn decode_records(payload: &[u8]) -> Result<Vec<Record>, RecordError> {
        super::log::split_records(payload)?.into_iter().map(Record::decode).collect()
    }
}

/// A log whose entries are committed once they cannot be lost any more. The controller decides on an image, proposes
/// what it decided, and applies what is committed. Proposed entries are committed in their order; if one is lost, so
/// are all behind it.
pub trait DecidedLog {
    /// Whether this node may propose.
    fn role(&self) -> Role;

    /// Index of the last entry, committed or not.
    fn index_last(&self) -> u64;

    /// Bytes of the entries that are proposed and that nothing has begun to write.
    fn pending_bytes(&self) -> usize;

    /// Bytes that can still be proposed if no room is added: they are kept for decisions that free space.
    fn reserve_bytes(&self) -> usize;

    /// Adds an entry with the records of one decision behind the last one, and returns its index. `frees` says that the
    /// decision frees space, and may use the reserve.
    fn propose(&mut self, records: Vec<u8>, frees: bool) -> Result<u64, NotLeader>;

    /// The entries that have been committed since the last call, in order.
    fn take_committed(&mut self) -> Vec<Entry>;

    /// Gives up leadership. Entries that are not committed may be lost.
    fn resign(&mut self);

    /// Whether recovery would read so much that a snapshot pays.
    fn is_snapshot_due(&self) -> bool;

    /// A snapshot of everything up to the entry `index` is in its place. Entries behind the snapshot before it stay
    /// readable.
    fn snapshot_made(&mut self, index: u64, bytes: u64);

    /// The snapshot could not be made; another one is due later.
    fn snapshot_failed(&mut self);
}
