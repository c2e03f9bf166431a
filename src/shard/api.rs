//! The table of APIs: of each one that this broker has, the versions in which it is complete, and who answers.

use super::admin::Decision;
use super::context::Context;
use super::front::{Begin, begin};
use super::query::{
    api_versions, cluster, configs, coordinator, election, features, log_dirs, metadata, partitions, quorum,
    reassignment, resources,
};
use crate::wire::codec::DecodeError;
use crate::wire::frame::Head;
use crate::wire::messages::ApiKey;
use bytes::Bytes;

/// The whole response frame to a request with this head and body. An error is the client's fault, and closes its
/// connection.
pub type Answer = fn(&Context<'_>, &Head<'_>, &[u8]) -> Result<Vec<Bytes>, DecodeError>;
/// As [`Answer`], by the controller, which may decide that something changes.
pub type Decide = fn(Decision<'_>, &Head<'_>, &[u8]) -> Result<Vec<Bytes>, DecodeError>;

/// Who answers a request.
#[derive(Clone, Copy)]
pub enum Route {
    /// The connection's core, at once, from the image that it has.
    Image(Answer),
    /// The controller, on the first core; the answer leaves when every core has the image with what was decided.
    Controller(Decide),
    /// The controller if `needed` says that something must be made first, otherwise as [`Route::Image`].
    Either {
        needed: fn(&Context<'_>, &Head<'_>, &[u8]) -> Result<bool, DecodeError>,
        image: Answer,
        controller: Decide,
    },
    /// Other machines, of this core and others: owners of partitions, coordinators of groups. The function splits the
    /// request into what is asked of each.
    Owners(Begin),
}

/// Bytes that the body of a request may have that is not about records or groups: enough to name every partition that a
/// cluster may have. A longer one, whose answer could be many times longer, closes its connection.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// Whether a request's body is as short as it has to be where [`BODY_BYTES_MAX`] holds.
pub fn check_length(body: &[u8]) -> Result<(), DecodeError> {
    match body.len() <= BODY_BYTES_MAX {
        true => Ok(()),
        false => Err(DecodeError::Length),
    }
}

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Api {
    pub key: ApiKey,
    /// The versions that ApiVersions tells. Produce: from 0, although 0-2 are refused, because old librdkafka otherwise
    /// takes compression for unsupported (KAFKA-18659).
    pub version_min: i16,
    pub version_max: i16,
    pub route: Route,
}

/// The row of an API.
// long: the table
pub fn api(key: ApiKey) -> Api {
    use Route::{Controller, Either, Image, Owners};
    let (versions, route) = match key {
        ApiKey::Produce => (0..=13, Owners(begin::produce)),
        ApiKey::Fetch => (4..=17, Owners(begin::fetch)),
        ApiKey::ListOffsets => (1..=10, Owners(begin::list_offsets)),
        ApiKey::Metadata => {
            let needed = |context: &Context<'_>, head: &Head<'_>, body: &[u8]| {
                metadata::missing(context, head, body).map(|names| !names.is_empty())
            };
            (0..=13, Either { needed, image: metadata::answer, controller: |d, head, body| d.metadata(head, body) })
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

/// All rows, in the order of keys.
pub fn apis() -> impl Iterator<Item = Api> {
    ApiKey::ALL.iter().map(|key| api(*key))
}

/// Whether requests of this API and version are served.
pub fn is_served(key: ApiKey, version: i16) -> bool {
    let api = api(key);
    (api.version_min..=api.version_max).contains(&version) && key.versions().contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_versions_are_declared() {
        for api in apis() {
            assert!(api.key.versions().contains(&api.version_max), "{:?}", api.key);
            assert!(api.key == ApiKey::Produce || api.key.versions().contains(&api.version_min), "{:?}", api.key);
        }
        assert!(!is_served(ApiKey::Produce, 2) && is_served(ApiKey::Produce, 3));
        assert!(!is_served(ApiKey::Fetch, 18) && !is_served(ApiKey::OffsetCommit, 1));
    }
}
