//! The table of APIs: of each one that this broker has, the versions in which it is complete, and who answers.

use super::admin::Decision;
use super::front::begin;
use super::front::route::{Api, Route};
use super::query::{
    api_versions, cluster, configs, coordinator, election, features, log_dirs, metadata, partitions, quorum,
    reassignment, resources,
};
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;

/// The row of an API.
// long: the table
pub fn api(key: ApiKey) -> Api {
    use Route::{Controller, Either, Image, Owners};
    let (versions, route) = match key {
        ApiKey::Produce => (0..=13, Owners(begin::produce)),
        ApiKey::Fetch => (4..=17, Owners(begin::fetch)),
        ApiKey::ListOffsets => (1..=10, Owners(begin::list_offsets)),
        ApiKey::Metadata => {
            let controller = |d: Decision<'_>, head: &Head<'_>, body: &[u8]| d.metadata(head, body);
            (0..=13, Either { needed: metadata::makes_topics, image: metadata::answer, controller })
        }
        ApiKey::OffsetCommit => (2..=9, Owners(begin::groups)),
        ApiKey::OffsetFetch => (1..=9, Owners(begin::groups)),
        ApiKey::FindCoordinator => {
            let controller = |d: Decision<'_>, head: &Head<'_>, body: &[u8]| d.find_coordinator(head, body);
            (0..=6, Either { needed: coordinator::needs_topic, image: coordinator::answer, controller })
        }
        ApiKey::JoinGroup => (0..=9, Owners(begin::groups)),
        ApiKey::Heartbeat => (0..=4, Owners(begin::groups)),
        ApiKey::LeaveGroup => (0..=5, Owners(begin::groups)),
        ApiKey::SyncGroup => (0..=5, Owners(begin::groups)),
        ApiKey::DescribeGroups => (0..=6, Owners(begin::groups)),
        ApiKey::ListGroups => (0..=5, Owners(begin::groups)),
        ApiKey::ApiVersions => (0..=4, Image(api_versions::answer)),
        ApiKey::CreateTopics => (2..=7, Controller(|d, head, body| d.create_topics(head, body))),
        ApiKey::DeleteTopics => (1..=6, Controller(|d, head, body| d.delete_topics(head, body))),
        ApiKey::DeleteRecords => (0..=2, Owners(begin::delete_records)),
        ApiKey::InitProducerId => (0..=5, Controller(|d, head, body| d.init_producer_id(head, body))),
        ApiKey::OffsetForLeaderEpoch => (2..=4, Owners(begin::epoch_ends)),
        ApiKey::DescribeConfigs => (1..=4, Image(configs::answer)),
        ApiKey::AlterConfigs => (0..=2, Controller(|d, head, body| d.alter_configs(head, body))),
        ApiKey::AlterReplicaLogDirs => (1..=2, Image(log_dirs::answer)),
        ApiKey::DescribeLogDirs => (1..=5, Owners(begin::log_dirs)),
        ApiKey::CreatePartitions => (0..=3, Controller(|d, head, body| d.create_partitions(head, body))),
        ApiKey::DeleteGroups => (0..=2, Owners(begin::groups)),
        ApiKey::ElectLeaders => (0..=2, Image(election::answer)),
        ApiKey::IncrementalAlterConfigs => (0..=1, Controller(|d, head, body| d.incremental_alter_configs(head, body))),
        ApiKey::AlterPartitionReassignments => (0..=1, Image(reassignment::alter)),
        ApiKey::ListPartitionReassignments => (0..=0, Image(reassignment::list)),
        ApiKey::OffsetDelete => (0..=0, Owners(begin::groups)),
        ApiKey::DescribeQuorum => (0..=2, Image(quorum::answer)),
        ApiKey::UpdateFeatures => (0..=2, Image(features::update)),
        ApiKey::DescribeCluster => (0..=2, Image(cluster::answer)),
        ApiKey::DescribeProducers => (0..=0, Owners(begin::producers)),
        ApiKey::ListConfigResources => (0..=1, Image(resources::answer)),
        ApiKey::DescribeTopicPartitions => (0..=0, Image(partitions::answer)),
    };
    Api { key, version_min: *versions.start(), version_max: *versions.end(), route }
}

/// All APIs with the versions that are told of them, in the order of keys.
pub fn versions() -> Vec<(ApiKey, i16, i16)> {
    let versions = |Api { key, version_min, version_max, .. }| (key, version_min, version_max);
    ApiKey::ALL.iter().map(|key| versions(api(*key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_versions_are_declared() {
        for api in ApiKey::ALL.iter().map(|key| api(*key)) {
            assert!(api.key.versions().contains(&api.version_max), "{:?}", api.key);
            assert!(api.key == ApiKey::Produce || api.key.versions().contains(&api.version_min), "{:?}", api.key);
        }
        let is_served = |key, version| api(key).is_served(version);
        assert!(!is_served(ApiKey::Produce, 2) && is_served(ApiKey::Produce, 3));
        assert!(!is_served(ApiKey::Fetch, 18) && !is_served(ApiKey::OffsetCommit, 1));
    }
}
