//! What clients ask about the broker, its topics and its settings. Pure functions of a request and one image: any shard
//! answers from the image that it has. Each is of the type [`super::api::Answer`].

pub(in crate::shard) mod api_versions;
pub(in crate::shard) mod cluster;
pub(in crate::shard) mod configs;
pub(in crate::shard) mod coordinator;
pub(in crate::shard) mod election;
pub(in crate::shard) mod features;
#[cfg(test)]
pub(in crate::shard) mod fixture;
pub(in crate::shard) mod log_dirs;
pub(in crate::shard) mod metadata;
pub(in crate::shard) mod partitions;
pub(in crate::shard) mod quorum;
pub(in crate::shard) mod reassignment;
pub(in crate::shard) mod resources;

use crate::types::PartitionIndex;
use crate::wire::codec::Writer;
use crate::wire::frame::{Head, response_frame};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};

pub use api_versions::unsupported as api_versions_unsupported;
pub(in crate::shard) use configs::{Resource, check_broker_name};
pub use coordinator::OFFSETS_TOPIC;

/// Bytes of a name that an error message repeats for each of many partitions. Names of topics are no longer.
const NAME_BYTES_SHOWN: usize = 249;

/// Operations on a topic and on the cluster as bits numbered like Kafka's `AclOperation` (KIP-430): without an authorizer
/// a client may do whatever the resource has.
const TOPIC_OPERATIONS: i32 =
    operations(&[READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
const CLUSTER_OPERATIONS: i32 =
    operations(&[CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE]);
/// What stands for operations that the client did not ask for.
const OPERATIONS_OMITTED: i32 = i32::MIN;

const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

const fn operations(numbers: &[u32]) -> i32 {
    let (mut bits, mut i) = (0, 0);
    while i < numbers.len() {
        bits |= 1 << numbers[i];
        i += 1;
    }
    bits
}

/// What a request says under each key, in the order in which the keys first occur.
pub(in crate::shard) fn by_key<K: Ord + Clone, T>(items: impl Iterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let (mut places, mut groups) = (BTreeMap::new(), Vec::<(K, Vec<T>)>::new());
    for (key, item) in items {
        let place = *places.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// The partitions that a request names, each once and with the first that is said of it, by topic in the order in which
/// topics first occur.
pub(in crate::shard) fn partitions_once<'a, T>(
    topics: impl Iterator<Item = (&'a str, &'a [T])>,
    index: impl Fn(&T) -> PartitionIndex,
) -> Vec<(&'a str, Vec<&'a T>)> {
    let mut grouped = by_key(topics);
    let once = grouped.drain(..).map(|(name, lists)| {
        let mut seen = HashSet::new();
        (name, lists.into_iter().flatten().filter(|partition| seen.insert(index(partition))).collect())
    });
    once.collect()
}

/// The response frame to a request with this head.
pub(in crate::shard) fn reply(head: &Head<'_>, body: impl FnOnce(&mut Writer)) -> Vec<Bytes> {
    response_frame(head.api.header_versions(head.version).1, head.correlation_id, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kafkas() {
        // What `kafka-topics --describe` and Kafka 4 answer without an authorizer.
        assert_eq!((TOPIC_OPERATIONS, CLUSTER_OPERATIONS), (3576, 8096));
    }
}
