//! What shards say to each other, and what a shard asks of itself: the owner of a partition is asked, wherever it is.

use super::context::Caller;
use crate::group::Response;
use crate::log::check::Refusal;
use crate::log::{BatchInfo, DiskRead};
use crate::metadata::{Delta, Image};
use crate::types::{Epoch, Offset, PartitionId, TimestampMs, Uuid};
use crate::wire::error::ErrorCode;
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::sync::Arc;

/// A request in progress, by the number that its connection's shard gave it.
pub type RequestId = u64;

/// ListOffsets: the next offset that a consumer could read.
pub const LATEST: TimestampMs = -1;
pub const EARLIEST: TimestampMs = -2;
/// The record with the largest timestamp (KIP-734).
pub const MAX_TIMESTAMP: TimestampMs = -3;
/// The first offset that is on this node (KIP-405).
pub const EARLIEST_LOCAL: TimestampMs = -4;
/// The last offset in tiered storage (KIP-1005): none, without tiered storage.
pub const LATEST_TIERED: TimestampMs = -5;

/// One partition's share of a request, to the shard that owns the partition.
#[derive(Debug)]
pub struct Ask {
    /// Which part of the request: comes back with the answer.
    pub part: u32,
    pub partition: PartitionId,
    /// The partition's directory and its topic's settings, for an owner that opens the log on this occasion.
    pub topic: Arc<super::rules::TopicRules>,
    pub op: Op,
}

#[derive(Debug)]
pub enum Op {
    /// Append a batch that was checked; answered when it may be acknowledged.
    Append {
        batch: BytesMut,
        info: BatchInfo,
    },
    /// Batches from `offset` on. Answered at once.
    Read {
        offset: Offset,
        bytes_max: usize,
        leader_epoch: Epoch,
    },
    /// Answered once the high watermark is above this one.
    Watch {
        high_watermark: Offset,
    },
    /// The offset for a timestamp or one of Kafka's special values.
    ListOffset {
        timestamp: TimestampMs,
        leader_epoch: Epoch,
    },
    /// Move the log's start up to `offset`, -1 for the high watermark; answered when that is durable.
    DeleteRecords {
        offset: Offset,
    },
    EpochEnd {
        epoch: Epoch,
        leader_epoch: Epoch,
    },
    Size,
    Producers,
}

/// An idempotent producer of a partition, as of its last batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    pub id: i64,
    pub epoch: i16,
    pub sequence_last: i32,
    pub timestamp: TimestampMs,
}

#[derive(Debug)]
pub enum Answer {
    Appended {
        offset: Offset,
        log_start: Offset,
    },
    AppendRefused(Box<Refusal>),
    Read(ReadAnswer),
    Woken,
    Offset {
        timestamp: TimestampMs,
        offset: Offset,
        epoch: Epoch,
    },
    /// The batches in which the first record with at least `timestamp` is: `from` is where the search begins, `start` the
    /// log's.
    OffsetIn {
        timestamp: TimestampMs,
        from: Offset,
        start: Offset,
        epoch: Epoch,
        data: Data,
    },
    RecordsDeleted {
        low_watermark: Offset,
    },
    EpochEnd {
        epoch: Epoch,
        offset: Offset,
    },
    Size {
        bytes: u64,
    },
    /// Ordered by id.
    Producers(Vec<ActiveProducer>),
    /// The controller's: the whole response, `None` if the request's bytes were no request.
    Decided(Option<Vec<Bytes>>),
    /// A coordinator's, of groups.
    Group(GroupAnswer),
    Failed(ErrorCode),
}

#[derive(Debug)]
pub struct ReadAnswer {
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub data: Data,
}

/// Batches, or where they are.
#[derive(Debug, Clone)]
pub enum Data {
    None,
    Memory { parts: Vec<Bytes>, bytes: usize },
    Disk { partition: PartitionId, name: Arc<str>, read: DiskRead },
}

impl Data {
    /// Bytes that a read brings, at the most `bytes_max` where that is not known exactly.
    pub fn bytes(&self, bytes_max: usize) -> usize {
        match self {
            Data::None => 0,
            Data::Memory { bytes, .. } => *bytes,
            Data::Disk { read, .. } => ((read.position_end - read.position) as usize).min(bytes_max.max(1)),
        }
    }
}

/// What the controller is asked to do.
#[derive(Debug)]
pub enum CommandRequest {
    /// A client's request, answered by [`Answer::Decided`].
    Frame { request: RequestId, listener: usize, caller: Caller, frame: Bytes },
    /// A coordinator is asked for before there is the topic in which groups are kept. Nobody waits for an answer.
    MakeOffsetsTopic,
}

/// A request to the coordinators of one shard.
#[derive(Clone, Debug)]
pub struct GroupAsk {
    /// The topic whose partitions were counted to find the coordinators.
    pub topic: Uuid,
    pub partitions: i32,
    pub peer: IpAddr,
    /// The whole request frame, without its length.
    pub frame: Bytes,
}

/// One part of the answer; `None` if the request's bytes were no request.
pub type GroupAnswer = Option<Box<Response>>;

/// From one shard to another. Messages between two shards arrive in the order in which they were sent.
#[derive(Debug)]
pub enum Message {
    Asks {
        request: RequestId,
        asks: Vec<Ask>,
    },
    Answers {
        request: RequestId,
        answers: Vec<(u32, Answer)>,
    },
    /// The request needs its watches no more.
    Unwatch {
        request: RequestId,
        partitions: Vec<PartitionId>,
    },
    /// To the controller's shard.
    Command(CommandRequest),
    /// A request for coordinators of groups, to their shard.
    GroupAsk {
        request: RequestId,
        ask: Box<GroupAsk>,
    },
    /// What the cluster is from this index on, and what changed since the image before.
    Publish {
        image: Image,
        delta: Arc<Delta>,
    },
    /// A deleted topic of this name has a directory on the sender that cannot be taken out of the way (`held`), or not
    /// any more. Told before the image without the topic is said to be taken over.
    NameHeld {
        topic: Arc<str>,
        held: bool,
    },
    /// The sender has taken over the image of this index.
    Applied {
        index: u64,
    },
}
