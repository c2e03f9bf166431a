//! What the runtime asks of a coordinator.

use crate::shard::message::{Answer, Op};
use crate::types::{Now, Offset, PartitionId, Time};
use crate::wire::error::ErrorCode;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Is shown the records of an append: each one's key and value.
pub type ShowRecord<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// A coordinator is a pure machine whose durable state is what the records of one partition say. It decides records, and
/// answers when they are committed.
///
/// A coordinator begins with [`Coordinator::restore_some`] and [`Coordinator::replay`], answers requests after
/// [`Coordinator::loaded`], and ends with [`Coordinator::unload`].
pub trait Coordinator: Sized {
    /// What a coordinator obeys.
    type Settings;
    /// What a coordinator is asked.
    type Request<'a>;
    /// An answer and whom it is for.
    type Answer;
    /// What an operator wants to read in the log.
    type Event;
    /// An append, from [`Coordinator::plan_append`] to [`Coordinator::appended`].
    type AppendId: Copy;
    /// A checkpoint in the making.
    type Checkpoint;
    /// A checkpoint that is being taken over.
    type Restoring;
    /// Why a checkpoint cannot be taken over.
    type Error: fmt::Display;

    /// A coordinator that knows nothing yet.
    fn new(settings: &Self::Settings) -> Self;

    /// Begins to take over the bytes of a checkpoint, and tells the offset at which it says that the log goes on.
    fn restore_begin(bytes: Vec<u8>) -> Result<(Self::Restoring, Offset), Self::Error>;

    /// Takes about `bytes` more of what a checkpoint holds, before any record; true when it has all. After an error the
    /// coordinator is not used any more.
    fn restore_some(&mut self, restoring: &mut Self::Restoring, bytes: usize) -> Result<bool, Self::Error>;

    /// Takes one record of the partition, in their order.
    fn replay(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>);

    /// The partition's records before this offset are taken over.
    fn offset_end(&self) -> Offset;

    /// All records are replayed: the coordinator forgets what it knows of topics that do not exist, and becomes active.
    /// Called again, once a turn, until it returns true.
    fn loaded(&mut self, now: Now, exists: &dyn Fn(&str) -> bool) -> bool;

    /// Serves one request, also before the coordinator is active. `elsewhere`: what the other coordinators of this runtime
    /// hold.
    fn handle(&mut self, now: Now, elsewhere: Memory, request: Self::Request<'_>);

    /// Memory that counts against the limits which all coordinators of a runtime share.
    fn memory(&self) -> Memory;

    /// When [`Coordinator::tick`] is due.
    fn deadline(&self) -> Option<Time>;

    /// Does what is due, and leaves some for the next turn if there is much.
    fn tick(&mut self, now: Now);

    /// The topics are deleted: the coordinator forgets what it knows of them. Only while it is active.
    fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>);

    /// Whether a crash could bring back what the coordinator knows of deleted topics.
    fn is_forgetting(&self) -> bool;

    /// Shows `record` the keys and values of the next append, which become one batch; `None` if there is none.
    fn plan_append(&mut self, record: &mut ShowRecord<'_>) -> Option<Self::AppendId>;

    /// An append is over, in the order in which they were planned: committed up to before the offset, or failed.
    fn appended(&mut self, now: Now, id: Self::AppendId, result: Result<Offset, ErrorCode>);

    /// The partition is given up: everybody who waits is answered. Called again, once a turn, until it returns true.
    fn unload(&mut self) -> bool;

    /// The answers that may leave.
    fn take_answers(&mut self) -> Vec<Self::Answer>;

    /// What has happened that an operator wants to know.
    fn take_events(&mut self) -> Vec<Self::Event>;

    /// What the coordinator wants of owners of partitions. An answer may never come: the coordinator keeps the time with
    /// [`Coordinator::deadline`], and decides whether to ask again.
    fn take_originated(&mut self) -> Vec<Originated>;

    /// One part of the answer to [`Originated::Ask`]. Parts come in any order, each at most once.
    fn answered(&mut self, now: Now, number: u64, part: u32, answer: Answer);

    /// Begins a checkpoint of all that is durable.
    fn checkpoint(&self) -> Self::Checkpoint;

    /// Adds about `bytes` to the checkpoint; false when it is complete. What changes in between is in the records after
    /// the offset at which the checkpoint began.
    fn checkpoint_part(&self, checkpoint: &mut Self::Checkpoint, bytes: usize) -> bool;

    /// What to put into the file.
    fn checkpoint_finish(checkpoint: Self::Checkpoint) -> Vec<u8>;
}

/// Bytes that coordinators hold.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Memory {
    /// What is in memory alone.
    pub live_bytes: usize,
    /// What is in the log, too.
    pub durable_bytes: usize,
}

impl Memory {
    /// What is left of a sum, of which this is a part.
    pub(super) fn without(self, part: Memory) -> Memory {
        Memory { live_bytes: self.live_bytes - part.live_bytes, durable_bytes: self.durable_bytes - part.durable_bytes }
    }

    pub(super) fn with(self, part: Memory) -> Memory {
        Memory { live_bytes: self.live_bytes + part.live_bytes, durable_bytes: self.durable_bytes + part.durable_bytes }
    }
}

/// What a coordinator wants of owners of partitions.
#[derive(Debug)]
pub enum Originated {
    /// A request. Its number is the coordinator's own, is used once, and comes back with each part of the answer; a part's
    /// number is its place in `asks`. A request is lost in a crash and when the partition is given up: the next coordinator
    /// finds in its records what it has to ask.
    Ask {
        /// The request's number.
        number: u64,
        /// The partitions, and what is wanted of each.
        asks: Vec<(PartitionId, Op)>,
    },
    /// Answers to the request that have not come are not wanted any more.
    Forget {
        /// The request's number.
        number: u64,
    },
}
