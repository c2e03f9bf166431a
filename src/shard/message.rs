//! What shards say to each other, and what a shard asks of itself: the owner of a partition is asked, wherever it is.

use super::context::Caller;
use crate::group::Response;
use crate::log::check::Refusal;
use crate::log::{BatchInfo, DiskRead};
use crate::metadata::{Delta, Image};
use crate::types::{
    BrokerId, Epoch, Offset, PartitionId, ProducerEpoch, ProducerId, RequestId, Sequence, TimestampMs, Uuid,
};
use crate::wire::error::ErrorCode;
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::sync::Arc;

/// A request that a coordinator makes of owners of partitions, by the number that its shard gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OriginId(pub u64);

/// Who on a shard asks owners of partitions, and is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// A client's request.
    Client(RequestId),
    /// A coordinator's own.
    Coordinator(OriginId),
}

/// ListOffsets: the next offset that a consumer could read.
pub const LATEST: TimestampMs = -1;
/// ListOffsets: the log's start.
pub const EARLIEST: TimestampMs = -2;
/// The record with the largest timestamp (KIP-734).
pub const MAX_TIMESTAMP: TimestampMs = -3;
/// The first offset that is on this node (KIP-405).
pub const EARLIEST_LOCAL: TimestampMs = -4;
/// The last offset in tiered storage (KIP-1005): none, without tiered storage.
pub const LATEST_TIERED: TimestampMs = -5;
/// The isolation level of who wants no records of transactions that are open or were given up (KIP-98).
const READ_COMMITTED: i8 = 1;

/// One partition's share of a request, to the shard that owns the partition.
#[derive(Debug)]
pub struct Ask {
    /// Which part of the request: comes back with the answer.
    pub part: u32,
    /// The partition that is asked.
    pub partition: PartitionId,
    /// The partition's directory and its topic's settings, for an owner that opens the log on this occasion.
    pub topic: Arc<super::rules::TopicRules>,
    /// What is wanted of it.
    pub op: Op,
}

/// Which replicas must have a batch before it is acknowledged: a client's `acks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// The leader, as with `Leader`, although nobody is told: who writes is held back by what is under way.
    None,
    /// The leader.
    Leader,
    /// All that are in sync: the batch is committed.
    All,
}

/// Who reads a partition, which says up to where it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadBy {
    /// A consumer: what is committed, and with the isolation *read_committed* only what is decided.
    Consumer {
        /// Nothing of transactions that are open.
        decided: bool,
    },
    /// A broker that follows the leader: all there is.
    Replica(BrokerId),
}

impl ReadBy {
    /// From the fields of a request: negative ids of replicas are clients'.
    pub fn new(replica: i32, isolation_level: i8) -> ReadBy {
        match replica {
            ..0 => ReadBy::Consumer { decided: isolation_level == READ_COMMITTED },
            _ => ReadBy::Replica(BrokerId(replica)),
        }
    }
}

/// What is wanted of one partition.
#[derive(Debug)]
pub enum Op {
    /// Append a batch that was checked; answered when it may be acknowledged.
    Append {
        /// The batch, as [`crate::log::check`] has passed it.
        batch: BytesMut,
        /// What the log needs to know of it.
        info: BatchInfo,
        /// When it may be acknowledged.
        acks: Acks,
    },
    /// Batches from `offset` on. Answered at once.
    Read {
        /// The first offset that is wanted.
        offset: Offset,
        /// Where to stop; the first batch may be larger.
        bytes_max: usize,
        /// The leader epoch that the client believes in.
        leader_epoch: Epoch,
        /// Who reads.
        by: ReadBy,
    },
    /// Answered once the high watermark is above this one.
    Watch {
        /// The one that the asker knows.
        high_watermark: Offset,
    },
    /// The offset for a timestamp or one of Kafka's special values.
    ListOffset {
        /// Milliseconds since 1970, or one of [`LATEST`] to [`LATEST_TIERED`].
        timestamp: TimestampMs,
        /// The leader epoch that the client believes in.
        leader_epoch: Epoch,
        /// Who reads.
        by: ReadBy,
    },
    /// Move the log's start up to `offset`, -1 for the high watermark; answered when that is durable.
    DeleteRecords {
        /// The first offset that is to stay.
        offset: Offset,
    },
    /// Where a leader epoch ends in the log (KIP-101).
    EpochEnd {
        /// The epoch that is asked for.
        epoch: Epoch,
        /// The leader epoch that the client believes in.
        leader_epoch: Epoch,
    },
    /// Bytes of all segments.
    Size,
    /// The idempotent producers that are known.
    Producers,
}

/// An idempotent producer of a partition, as of its last batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// The producer's id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record, if one is known.
    pub sequence_last: Sequence,
    /// The latest time of a record in its last batch; -1: none is known.
    pub timestamp: TimestampMs,
}

/// What an [`Op`] or a request to a coordinator or the controller comes to.
#[derive(Debug)]
pub enum Answer {
    /// The batch may be acknowledged.
    Appended {
        /// Offset of its first record.
        offset: Offset,
        /// The log's start at that time.
        log_start: Offset,
    },
    /// The batch is not in the log, and will not be.
    AppendRefused(Box<Refusal>),
    /// What there is from the wanted offset on.
    Read(ReadAnswer),
    /// The high watermark has risen, or the log changed so that a read would find something else.
    Woken,
    /// The offset for a timestamp.
    Offset {
        /// The record's time; -1: the question was not about time, or there is no such record.
        timestamp: TimestampMs,
        /// The offset; -1: there is no such record.
        offset: Offset,
        /// The leader epoch that goes with it.
        epoch: Epoch,
    },
    /// The batches in which the first record with at least `timestamp` is: `from` is where the search begins, `start` the
    /// log's.
    OffsetIn {
        /// The time that was asked for.
        timestamp: TimestampMs,
        /// The offset at which the search begins.
        from: Offset,
        /// The log's start.
        start: Offset,
        /// The current leader epoch.
        epoch: Epoch,
        /// The batches.
        data: Data,
    },
    /// The records are gone, and stay so.
    RecordsDeleted {
        /// The log's start from then on.
        low_watermark: Offset,
    },
    /// Where the epoch ends.
    EpochEnd {
        /// The largest epoch of the log that is not above the one asked for; none if there is none.
        epoch: Epoch,
        /// The offset after its last record; -1 if there is no such epoch.
        offset: Offset,
    },
    /// How large the partition is.
    Size {
        /// Bytes of all segments.
        bytes: u64,
    },
    /// Ordered by id.
    Producers(Vec<ActiveProducer>),
    /// The controller's: the whole response, `None` if the request's bytes were no request.
    Decided(Option<Vec<Bytes>>),
    /// A coordinator's, of groups.
    Group(GroupAnswer),
    /// The question has no other answer than Kafka's code.
    Failed(ErrorCode),
}

/// What there is to read in a partition.
#[derive(Debug)]
pub struct ReadAnswer {
    /// Up to where consumers may read.
    pub high_watermark: Offset,
    /// The offset after the last record of which it is decided whether it counts.
    pub last_stable: Offset,
    /// From where on they may.
    pub log_start: Offset,
    /// The batches.
    pub data: Data,
}

/// Batches, or where they are.
#[derive(Debug, Clone)]
pub enum Data {
    /// There are none.
    None,
    /// They are in memory.
    Memory {
        /// Whole batches, in order.
        parts: Vec<Bytes>,
        /// Bytes of all of them.
        bytes: usize,
    },
    /// They are in a segment's file, and who sends them reads them.
    Disk {
        /// Whose directory it must be.
        partition: PartitionId,
        /// The directory.
        name: Arc<str>,
        /// The place in the segment.
        read: DiskRead,
    },
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
    Frame {
        /// Who waits for the answer.
        request: RequestId,
        /// The listener through which it came.
        listener: usize,
        /// Who asks.
        caller: Caller,
        /// The whole frame, without its length.
        frame: Bytes,
    },
    /// A coordinator is asked for before there is the topic in which groups are kept. Nobody waits for an answer.
    MakeOffsetsTopic,
}

/// A request to the coordinators of one shard.
#[derive(Clone, Debug)]
pub struct GroupAsk {
    /// The topic whose partitions were counted to find the coordinators.
    pub topic: Uuid,
    /// How many partitions it had then: another number leads to other coordinators.
    pub partitions: i32,
    /// The client's address, which a member's description shows.
    pub peer: IpAddr,
    /// The whole request frame, without its length.
    pub frame: Bytes,
}

/// One part of the answer; `None` if the request's bytes were no request.
pub type GroupAnswer = Option<Box<Response>>;

/// From one shard to another. Messages between two shards arrive in the order in which they were sent.
#[derive(Debug)]
pub enum Message {
    /// Parts of a request, to the owner of their partitions.
    Asks {
        /// Who asks, on the sender's shard.
        origin: Origin,
        /// The parts.
        asks: Vec<Ask>,
    },
    /// Answers to some parts of a request.
    Answers {
        /// Who is answered, on the receiver's shard.
        origin: Origin,
        /// Each behind the number of its part.
        answers: Vec<(u32, Answer)>,
    },
    /// The request needs its watches no more.
    Unwatch {
        /// The request that watched.
        request: RequestId,
        /// What it watched.
        partitions: Vec<PartitionId>,
    },
    /// To the controller's shard.
    Command(CommandRequest),
    /// A request for coordinators of groups, to their shard.
    GroupAsk {
        /// The request, as the sender numbers it.
        request: RequestId,
        /// What is asked.
        ask: Box<GroupAsk>,
    },
    /// What the cluster is from this index on, and what changed since the image before.
    Publish {
        /// The whole cluster.
        image: Image,
        /// What is different in it.
        delta: Arc<Delta>,
    },
    /// A deleted topic of this name has a directory on the sender that cannot be taken out of the way (`held`), or not
    /// any more. Told before the image without the topic is said to be taken over.
    NameHeld {
        /// The topic's name.
        topic: Arc<str>,
        /// Whether the name cannot be used.
        held: bool,
    },
    /// The sender has taken over the image of this index.
    Applied {
        /// The image's index in the metadata log.
        index: u64,
    },
}
