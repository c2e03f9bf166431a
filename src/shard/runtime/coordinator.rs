//! What the runtime asks of a coordinator.

use crate::types::{Now, Offset, PartitionId, Time};
use crate::wire::error::ErrorCode;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Takes a record of an append: its key and its value.
pub type ShowRecord<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// A pure machine whose durable state is what the records of one partition say. It decides records, and answers when they
/// are committed.
///
/// It begins with [`Coordinator::restore`] and [`Coordinator::replay`], answers requests after [`Coordinator::loaded`], and
/// ends with [`Coordinator::unload`].
pub trait Coordinator: Sized {
    type Settings;
    type Request<'a>;
    /// An answer and whom it is for.
    type Answer;
    /// What an operator wants to read in the log.
    type Event;
    /// An append, from [`Coordinator::plan_append`] to [`Coordinator::appended`].
    type AppendId: Copy;
    /// A checkpoint in the making.
    type Checkpoint;
    /// What it asks of the owner of another partition, and what it is told.
    type Ask;
    type AskAnswer;
    type Error: fmt::Display;

    /// Knows nothing yet.
    fn new(settings: &Self::Settings) -> Self;

    /// Takes what a checkpoint holds, before any record; the offset at which replay goes on. After an error nothing is
    /// taken.
    fn restore(&mut self, bytes: &[u8]) -> Result<Offset, Self::Error>;

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

    /// What counts against the limits that all coordinators of a runtime share.
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

    /// The partition is given up: everybody who waits is answered.
    fn unload(&mut self);

    fn take_answers(&mut self) -> Vec<Self::Answer>;

    fn take_events(&mut self) -> Vec<Self::Event>;

    /// Requests to owners of partitions.
    fn take_requests(&mut self) -> Vec<Originated<Self::Ask>>;

    /// One part of the answer to a request of [`Coordinator::take_requests`]. Parts come in any order, each once.
    fn answered(&mut self, now: Now, number: u64, part: u32, answer: Self::AskAnswer);

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

/// A request of a coordinator to the owners of partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Originated<A> {
    /// The coordinator's own, which comes back with each part of the answer.
    pub number: u64,
    /// Each with its part's number: the place in this list.
    pub asks: Vec<(PartitionId, A)>,
}
