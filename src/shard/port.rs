//! What goes into a shard and what comes out of it.

use super::message::Message;
use super::store::{DiskOp, Done, LogIndex};
use crate::metadata::{Part, Write, Written};
use crate::types::{Offset, PartitionId, RequestId, ShardId, Uuid};
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::sync::Arc;

/// Names a connection on its shard; not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

/// What the shell tells a shard. Completions come once for each [`Output`] that asks for one.
#[derive(Debug)]
pub enum Input {
    /// A client has connected through the listener of that index in [`super::node::Node::advertised`].
    Connected {
        /// The number that the shell gives it.
        connection: ConnectionId,
        /// The listener's index.
        listener: usize,
        /// The client's address.
        peer: IpAddr,
    },
    /// The connection is gone, whoever has closed it.
    Disconnected {
        /// Its number.
        connection: ConnectionId,
    },
    /// A request frame, without its length.
    Frame {
        /// The connection that it came through.
        connection: ConnectionId,
        /// The bytes.
        frame: BytesMut,
    },
    /// From another shard of this node.
    Message {
        /// The sender.
        from: ShardId,
        /// What it says.
        message: Message,
    },
    /// The completion of an [`Output::Disk`].
    DiskDone(Done),
    /// The bytes of an [`Output::Read`]: whole batches, the first of which holds the plan's offset; `None` if the read failed.
    ReadDone {
        /// For whom they were read.
        reader: Reader,
        /// The batches.
        data: Option<Vec<Bytes>>,
    },
    /// An [`Output::MetadataWrite`] has ended.
    MetadataWritten {
        /// What came of it.
        written: Written,
    },
    /// An [`Output::MetadataSnapshot`] has ended.
    MetadataSnapshotted {
        /// Whether the part is written.
        ok: bool,
    },
    /// The directory of an [`Output::PartitionRemove`] is out of the way, or could not be taken there: it is tried again, and
    /// this input then comes again.
    PartitionRemoved {
        /// The log whose directory it is.
        log: LogIndex,
        /// Whether it is out of the way.
        ok: bool,
    },
    /// The bytes of an [`Output::GroupCheckpointRead`]; `None` if there are none.
    GroupCheckpointRead {
        /// The coordinator's partition.
        log: LogIndex,
        /// The whole file.
        bytes: Option<Vec<u8>>,
    },
    /// An [`Output::GroupCheckpointWrite`] is over, well or not: if not, the older checkpoint still holds.
    GroupCheckpointWritten {
        /// The coordinator's partition.
        log: LogIndex,
    },
    /// Bytes of the data directory's file system.
    DiskBytes {
        /// What it can hold.
        total: u64,
        /// What of it this process may still fill.
        free: u64,
    },
    /// The broker ends: everything goes to segments, and nothing more is taken from clients.
    Drain,
}

/// For whom older batches are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// A part of a client's request.
    Request {
        /// The request.
        request: RequestId,
        /// The number of its part.
        part: u32,
    },
    /// The coordinator of the partition with this log, which loads.
    Coordinator {
        /// The log of its partition.
        log: LogIndex,
    },
}

/// A read of older batches that the connection's core does itself.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Whose files are read: a directory of that name may by then belong to another topic.
    pub partition: PartitionId,
    /// The partition's directory.
    pub name: Arc<str>,
    /// The place in the segment.
    pub read: crate::log::DiskRead,
    /// The first offset that is wanted.
    pub offset: Offset,
    /// Where to stop; the first batch may be larger.
    pub bytes_max: usize,
}

/// Work for the shell.
#[derive(Debug)]
pub enum Output {
    /// Bytes for a client.
    Send {
        /// Its connection.
        connection: ConnectionId,
        /// The bytes, in pieces that are sent in this order.
        parts: Vec<Bytes>,
    },
    /// A connection is to be closed, behind what was sent before.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// A write for the store; answered by [`Input::DiskDone`].
    Disk(DiskOp),
    /// A message for another shard.
    Mesh {
        /// The receiver.
        to: ShardId,
        /// What it is told.
        message: Message,
    },
    /// Older batches are to be read; answered by [`Input::ReadDone`].
    Read {
        /// For whom.
        reader: Reader,
        /// What.
        plan: ReadPlan,
    },
    /// A write to the metadata log; answered by [`Input::MetadataWritten`].
    MetadataWrite(Write),
    /// A part of a snapshot of the metadata; answered by [`Input::MetadataSnapshotted`].
    MetadataSnapshot(Part),
    /// Takes the directory out of the way, then removes it; answered by [`Input::PartitionRemoved`] once it is out of the
    /// way, and at the first time that this fails.
    PartitionRemove {
        /// The log that is deleted.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        partition: PartitionId,
    },
    /// Answered by [`Input::GroupCheckpointRead`].
    GroupCheckpointRead {
        /// The coordinator's partition.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
    },
    /// Answered by [`Input::GroupCheckpointWritten`].
    GroupCheckpointWrite {
        /// The coordinator's partition.
        log: LogIndex,
        /// Its directory.
        name: Arc<str>,
        /// Whose directory it must be.
        topic: Uuid,
        /// The whole file.
        bytes: Vec<u8>,
    },
}
