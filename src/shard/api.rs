//! The APIs that this broker has, each with the versions in which it is complete.

use crate::wire::messages::ApiKey;

/// One row of the ApiVersions answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Api {
    pub key: ApiKey,
    /// As advertised. Produce: from 0, although 0-2 are refused, because old librdkafka otherwise takes compression for
    /// unsupported (KAFKA-18659).
    pub version_min: i16,
    pub version_max: i16,
}

const fn api(key: ApiKey, version_min: i16, version_max: i16) -> Api {
    Api { key, version_min, version_max }
}

pub const APIS: [Api; 36] = [
    api(ApiKey::Produce, 0, 13),
    api(ApiKey::Fetch, 4, 17),
    api(ApiKey::ListOffsets, 1, 10),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::OffsetCommit, 2, 9),
    api(ApiKey::OffsetFetch, 1, 9),
    api(ApiKey::FindCoordinator, 0, 6),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::AlterConfigs, 0, 2),
    api(ApiKey::AlterReplicaLogDirs, 1, 2),
    api(ApiKey::DescribeLogDirs, 1, 5),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::AlterPartitionReassignments, 0, 1),
    api(ApiKey::ListPartitionReassignments, 0, 0),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeQuorum, 0, 2),
    api(ApiKey::UpdateFeatures, 0, 2),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::DescribeProducers, 0, 0),
    api(ApiKey::ListConfigResources, 0, 1),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// Whether requests of this API and version are served.
pub fn is_served(key: ApiKey, version: i16) -> bool {
    let served = |api: &Api| api.key == key && (api.version_min..=api.version_max).contains(&version);
    APIS.iter().any(served) && key.versions().contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_versions_are_declared() {
        for api in APIS {
            assert!(api.key.versions().contains(&api.version_max), "{:?}", api.key);
            assert!(api.key == ApiKey::Produce || api.key.versions().contains(&api.version_min), "{:?}", api.key);
        }
        assert!(!is_served(ApiKey::Produce, 2) && is_served(ApiKey::Produce, 3));
        assert!(!is_served(ApiKey::Fetch, 18) && !is_served(ApiKey::OffsetCommit, 1));
    }
}
