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
}
