//! What can be asked of brokers, as functions from plain values to plain values. They print nothing and read no arguments,
//! so commands and Kafka's tools share them.

pub mod cluster;
pub mod configs;
pub mod groups;
pub mod lag;
pub mod offsets;
pub mod reset;
pub mod topics;

use super::failure::{Failure, Result};
use crate::types::PartitionIndex;
use std::fmt;

/// A partition by its topic's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: PartitionIndex,
}

impl TopicPartition {
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

/// The partitions of each topic, for requests that nest them. `each` makes the element of a partition.
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

/// The answer to the only thing that was asked for; a broker that leaves it out is at fault.
pub fn only<T>(answers: impl IntoIterator<Item = T>, what: &str) -> Result<T> {
    answers.into_iter().next().ok_or_else(|| Failure::Other(format!("the answer says nothing of {what}")))
}
