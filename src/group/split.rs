//! What the core that holds a client's connection does with requests: it finds the partition that coordinates a group, and
//! cuts an OffsetFetch into its groups.

use crate::wire::error::ErrorCode;
use crate::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use crate::wire::messages::{OffsetFetchRequest, OffsetFetchResponse};

/// OffsetFetch from here on asks for several groups (KIP-709).
const VERSION_GROUPS: i16 = 8;
/// OffsetFetch from here on has one error for the whole answer.
const VERSION_ERROR: i16 = 2;

/// The partition of `__consumer_offsets`, which has `partitions`, that coordinates `group`: Java's hash of the id.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    assert!(partitions > 0);
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions
}

/// The groups that an OffsetFetch asks for, in its order.
pub fn offset_fetch_split(request: OffsetFetchRequest<'_>, version: i16) -> Vec<OffsetFetchRequestGroup<'_>> {
    if version >= VERSION_GROUPS {
        return request.groups;
    }
    let named = |OffsetFetchRequestTopic { name, partition_indexes }| OffsetFetchRequestTopics {
        name,
        partition_indexes,
        ..Default::default()
    };
    let topics = request.topics.map(|topics| topics.into_iter().map(named).collect());
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

/// The answer made of the groups' answers, in the request's order.
pub fn offset_fetch_join(
    mut groups: Vec<OffsetFetchResponseGroup<'static>>,
    version: i16,
) -> OffsetFetchResponse<'static> {
    if version >= VERSION_GROUPS {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    assert_eq!(groups.len(), 1, "one group is all that version {version} can ask for");
    let group = groups.remove(0);
    let partition_error = if version < VERSION_ERROR { group.error_code } else { ErrorCode::None.code() };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: if partition_error != 0 { partition_error } else { partition.error_code },
            })
            .collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_where_kafka_sends_them() {
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("ab", 1000), (97 * 31 + 98) % 1000);
        assert_eq!(
            [("my-group", 12), ("connect-cluster", 13)].map(|(group, at)| partition_of(group, 50) == at),
            [true; 2]
        );
        // Its hash is i32::MIN, of which Kafka makes 0.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}
