//! The broker in memory as the coordinator of groups without members.

use super::{Fault, REQUESTS, State};
use klamm::wire::messages::find_coordinator_response::Coordinator;
use klamm::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use klamm::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use klamm::wire::messages::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const NOT_COORDINATOR: i16 = 16;

/// Committed offsets by group and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

pub fn find(state: &State, request: &FindCoordinatorRequest<'_>) -> FindCoordinatorResponse<'static> {
    let address = state.brokers[state.leader()];
    let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
        key: key.to_string().into(),
        node_id: state.leader() as i32,
        host: address.ip().to_string().into(),
        port: address.port().into(),
        ..Default::default()
    });
    FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() }
}

/// `None` to break the connection.
pub fn commit(
    state: &mut State,
    request: &OffsetCommitRequest<'_>,
    address: SocketAddr,
) -> Option<OffsetCommitResponse<'static>> {
    state.requests += 1;
    let error_code = if address == state.brokers[state.leader()] { 0 } else { NOT_COORDINATOR };
    let is_kept = error_code == 0 && !(state.fault == Fault::Lose && state.requests > REQUESTS);
    let mut topics = Vec::new();
    for topic in &request.topics {
        for partition in topic.partitions.iter().filter(|_| is_kept) {
            let of = (request.group_id.to_string(), partition.partition_index);
            state.offsets.insert(of, partition.committed_offset);
        }
        let partition = |partition_index| OffsetCommitResponsePartition { partition_index, error_code };
        let partitions = topic.partitions.iter().map(|at| partition(at.partition_index)).collect();
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.to_string().into(),
            partitions,
            ..Default::default()
        });
    }
    let is_cut = state.fault == Fault::Cut && state.requests == REQUESTS;
    (!is_cut).then(|| OffsetCommitResponse { topics, ..Default::default() })
}

pub fn committed(state: &State, request: &OffsetFetchRequest<'_>) -> OffsetFetchResponse<'static> {
    let group = request.groups.first().expect("there is a group");
    let of = |index: i32| OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: state.offsets.get(&(group.group_id.to_string(), index)).copied().unwrap_or(-1),
        ..Default::default()
    };
    let topics = group.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.to_string().into(),
        partitions: topic.partition_indexes.iter().map(|&index| of(index)).collect(),
        ..Default::default()
    });
    let group = OffsetFetchResponseGroup {
        group_id: group.group_id.to_string().into(),
        topics: topics.collect(),
        ..Default::default()
    };
    OffsetFetchResponse { groups: vec![group], ..Default::default() }
}
