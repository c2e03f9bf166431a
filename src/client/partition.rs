//! Partitions by their topics' names, and the lists of requests that nest them.

use crate::types::PartitionIndex;
use std::fmt;

/// A partition by its topic's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// Its number in the topic.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition of that number.
    pub fn new(topic: &str, partition: PartitionIndex) -> TopicPartition {
        TopicPartition { topic: topic.to_string(), partition }
    }
}

/// As Kafka writes it: `TOPIC-PARTITION`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The partitions of each topic, each topic once, in the order of their first mention. `each` makes the element of a
/// partition.
pub fn by_topic<'a, T, P>(
    items: impl IntoIterator<Item = (&'a TopicPartition, T)>,
    each: impl Fn(PartitionIndex, T) -> P,
) -> Vec<(String, Vec<P>)> {
    let mut topics: Vec<(String, Vec<P>)> = Vec::new();
    for (place, item) in items {
        let at = topics.iter().position(|(topic, _)| *topic == place.topic).unwrap_or_else(|| {
            topics.push((place.topic.clone(), Vec::new()));
            topics.len() - 1
        });
        topics[at].1.push(each(place.partition, item));
    }
    topics
}

/// The partition, of so many of its topic, that Kafka's default partitioner gives a record with this key.
pub fn partition_of_key(key: &[u8], partitions: usize) -> PartitionIndex {
    ((murmur2(key) & i32::MAX as u32) as usize % partitions) as PartitionIndex
}

/// The hash by which Kafka's own clients choose a partition by its key.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_nested_in_their_topics() {
        let all = [("a", 1), ("b", 0), ("a", 0)].map(|(topic, partition)| TopicPartition::new(topic, partition));
        let nested = by_topic(all.iter().map(|place| (place, ())), |partition, ()| partition);
        assert_eq!(nested, [("a".to_string(), vec![1, 0]), ("b".to_string(), vec![0])]);
        assert_eq!(all[0].to_string(), "a-1");
    }

    #[test]
    fn keys_are_hashed_as_kafka_does() {
        // Of Kafka's own tests.
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_key_has_a_partition_whatever_the_sign_of_its_hash() {
        // The first one's is negative.
        for (key, partitions, partition) in [("foobar", 10, 6), ("foobar", 50, 16), ("abc", 7, 4), ("x", 1, 0)] {
            assert_eq!(partition_of_key(key.as_bytes(), partitions), partition, "{key}");
        }
    }
}
