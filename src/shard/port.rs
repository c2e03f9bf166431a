//! What goes into a shard and what comes out of it.

use super::message::{Message, RequestId};
use super::store::{DiskOp, Done, LogIndex};
use crate::metadata::{Part, Write, Written};
use crate::types::{Offset, PartitionId, ShardId, Uuid};
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
        connection: ConnectionId,
        listener: usize,
        peer: IpAddr,
    },
    Disconnected {
        connection: ConnectionId,
    },
    /// A request frame, without its length.
    Frame {
        connection: ConnectionId,
        frame: BytesMut,
    },
    /// From another shard of this node.
    Message {
        from: ShardId,
        message: Message,
    },
    /// The completion of an [`Output::Disk`].
    DiskDone(Done),
    /// The bytes of an [`Output::Read`]: whole batches, the first of which holds the plan's offset; `None` if the read failed.
    ReadDone {
        reader: Reader,
        data: Option<Vec<Bytes>>,
    },
    /// An [`Output::MetadataWrite`] has ended.
    MetadataWritten {
        written: Written,
    },
    MetadataSnapshotted {
        ok: bool,
    },
    /// The directory of an [`Output::PartitionRemove`] is out of the way, or could not be taken there: it is tried again, and
    /// this input then comes again.
    PartitionRemoved {
        log: LogIndex,
        ok: bool,
    },
    /// The bytes of an [`Output::GroupCheckpointRead`]; `None` if there are none.
    GroupCheckpointRead {
        log: LogIndex,
        bytes: Option<Vec<u8>>,
    },
    /// An [`Output::GroupCheckpointWrite`] is over, well or not: if not, the older checkpoint still holds.
    GroupCheckpointWritten {
        log: LogIndex,
    },
    /// Bytes of the data directory's file system.
    DiskBytes {
        total: u64,
        free: u64,
    },
    /// The broker ends: everything goes to segments, and nothing more is taken from clients.
    Drain,
}

/// For whom older batches are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// A part of a client's request.
    Request { request: RequestId, part: u32 },
    /// The coordinator of the partition with this log, which loads.
    Coordinator { log: LogIndex },
}

/// A read of older batches that the connection's core does itself.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Whose files are read: a directory of that name may by then belong to another topic.
    pub partition: PartitionId,
    pub name: Arc<str>,
    pub read: crate::log::DiskRead,
    pub offset: Offset,
    pub bytes_max: usize,
}

/// Work for the shell.
#[derive(Debug)]
pub enum Output {
    Send {
        connection: ConnectionId,
        parts: Vec<Bytes>,
    },
    Close {
        connection: ConnectionId,
        reason: String,
    },
    Disk(DiskOp),
    Mesh {
        to: ShardId,
        message: Message,
    },
    Read {
        reader: Reader,
        plan: ReadPlan,
    },
    MetadataWrite(Write),
    MetadataSnapshot(Part),
    /// Takes the directory out of the way, then removes it; answered by [`Input::PartitionRemoved`] once it is out of the
    /// way, and at the first time that this fails.
    PartitionRemove {
        log: LogIndex,
        name: Arc<str>,
        partition: PartitionId,
    },
    /// Answered by [`Input::GroupCheckpointRead`].
    GroupCheckpointRead {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
    },
    /// Answered by [`Input::GroupCheckpointWritten`].
    GroupCheckpointWrite {
        log: LogIndex,
        name: Arc<str>,
        topic: Uuid,
        bytes: Vec<u8>,
    },
}
