//! Newtypes and small vocabulary that every room shares. Depends on std alone.

#![warn(missing_docs)]

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Position of a record in a partition, counted from 0. Kafka: int64.
pub type Offset = i64;
/// Index of a partition in its topic.
pub type PartitionIndex = i32;
/// Milliseconds since the Unix epoch, as Kafka stores them.
pub type TimestampMs = i64;

/// Identity of a node in the cluster (`node.id`). Kafka: int32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BrokerId(pub i32);

impl BrokerId {
    /// Stands for no broker, as the leader of a partition that nobody can lead.
    pub const NONE: BrokerId = BrokerId(-1);
    /// Stands for all brokers, as the key of the settings that are the default of each.
    pub const ALL: BrokerId = BrokerId(-1);

    /// Ids from the numbers of a message.
    pub fn from_numbers(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    /// The numbers that messages and stored records carry.
    pub fn numbers(ids: &[BrokerId]) -> Vec<i32> {
        ids.iter().map(|id| id.0).collect()
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BrokerId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<BrokerId, ParseIntError> {
        text.parse().map(BrokerId)
    }
}

/// Counts the leaders that a partition has had: its records carry the epoch of the leader that appended them. Kafka: int32.
/// Epochs of producers and of clients' sessions are others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Epoch(pub i32);

impl Epoch {
    /// Stands for no epoch: none is known, or none is asked for.
    pub const NONE: Epoch = Epoch(-1);

    /// The epoch, unless a message says with a negative number that there is none.
    pub fn known(self) -> Option<Epoch> {
        (self.0 >= 0).then_some(self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of an idempotent producer, given by the controller (KIP-98). Kafka: int64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProducerId(pub i64);

/// Counts how often a producer has begun again under its id. Kafka: int16.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProducerEpoch(pub i16);

/// A record's number among those that its producer has written to a partition in one epoch: from 0 to 2^31 - 1, and then
/// from 0 again. So sequences have no order. Kafka: int32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sequence(pub i32);

impl Sequence {
    /// The first one of an epoch.
    pub const FIRST: Sequence = Sequence(0);
    /// Stands for no sequence, as that of a producer of which no batch is known.
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence so many records later.
    pub fn after(self, records: i32) -> Sequence {
        assert!(self.0 >= 0 && records >= 0);
        Sequence(((i64::from(self.0) + i64::from(records)) % (1 << 31)) as i32)
    }
}

/// One core's shard, counted from 0 without gaps in the order of the configured cores.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

/// A request in progress, by the number that its connection's shard gave it. Numbers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RequestId(pub u64);

impl RequestId {
    /// The number of the request after this one.
    pub fn next(self) -> RequestId {
        RequestId(self.0 + 1)
    }
}

/// 128-bit identifier; the zero value means "none" in Kafka's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// The id that means "none".
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is the id that means "none".
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// An id of random bits, marked as such (RFC 9562, version 4).
    pub fn from_random(bits: u128) -> Uuid {
        let mut bytes = bits.to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Parses the 22 characters of unpadded URL-safe base64 that Kafka prints.
    pub fn parse(text: &str) -> Option<Uuid> {
        let text = text.as_bytes();
        if text.len() != 22 {
            return None;
        }
        let mut value: u128 = 0;
        for (i, &c) in text.iter().enumerate() {
            let digit = BASE64_URL.iter().position(|&b| b == c)? as u128;
            // The last character carries only the lowest two bits of the 128.
            value = if i < 21 { value << 6 | digit } else { value << 2 | digit >> 4 };
        }
        Some(Uuid(value.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; 22];
        for (i, c) in text.iter_mut().enumerate() {
            let digit = if i < 21 { value >> (122 - 6 * i) & 63 } else { value << 4 & 63 };
            *c = BASE64_URL[digit as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("base64 is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition by its topic's id: what journals and checkpoints are keyed by, so that a topic made again under an
/// old name never meets the old one's data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionId {
    /// The topic's id.
    pub topic: Uuid,
    /// The partition's index in its topic.
    pub index: PartitionIndex,
}

impl PartitionId {
    /// The shard that owns this partition on a node with `shards` cores: stable, and even for the partitions of one
    /// topic, which go round robin from a start that depends on the topic.
    pub fn shard(self, shards: u16) -> ShardId {
        assert!(shards > 0);
        let start = u32::from_le_bytes([self.topic.0[12], self.topic.0[13], self.topic.0[14], self.topic.0[15]]);
        ShardId((start.wrapping_add(self.index as u32) % u32::from(shards)) as u16)
    }
}

/// A point in time of one process: nanoseconds of a clock that never goes back. Machines get it as an argument.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Nanoseconds of a millisecond.
    pub const MILLISECOND: u64 = 1_000_000;

    /// The time so many milliseconds later; the end of time if there is none.
    pub fn after_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms.saturating_mul(Self::MILLISECOND)))
    }
}

/// The two clocks of a step: `mono` for deadlines, `wall_ms` for timestamps that are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The clock that never goes back.
    pub mono: Time,
    /// The time of day, which may be set back.
    pub wall_ms: TimestampMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_round_trips() {
        for seed in 0..100u128 {
            let uuid = Uuid((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes());
            assert_eq!(Uuid::parse(&uuid.to_string()), Some(uuid));
        }
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::parse("short"), None);
        assert_eq!(Uuid::parse("!!!!!!!!!!!!!!!!!!!!!!"), None);
    }

    #[test]
    fn partitions_spread_evenly() {
        let topic = Uuid([7; 16]);
        let mut counts = [0; 4];
        for index in 0..16 {
            counts[usize::from(PartitionId { topic, index }.shard(4).0)] += 1;
        }
        assert_eq!(counts, [4; 4]);
    }
}
