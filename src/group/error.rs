//! Refusals: what is answered to a request of which nothing is done.

use super::{Request, Response};
use crate::wire::error::ErrorCode;
use crate::wire::messages::delete_groups_response::DeletableGroupResult;
use crate::wire::messages::describe_groups_response::DescribedGroup;
use crate::wire::messages::leave_group_response::MemberResponse;
use crate::wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::wire::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse,
    SyncGroupResponse,
};
use std::borrow::Cow;

/// LeaveGroup from here on names several members (KIP-345).
pub(super) const LEAVE_VERSION_MEMBERS: i16 = 3;
/// OffsetCommit from here on is told that there is no such group; before, that its generation is wrong.
const COMMIT_VERSION_GROUP_ERROR: i16 = 9;
/// `OffsetFetch`: nothing is committed.
pub(super) const NO_OFFSET: i64 = -1;

pub(super) fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_string())
}

pub(super) fn join_refusal(member_id: &str, code: ErrorCode) -> Response {
    Response::JoinGroup(JoinGroupResponse {
        error_code: code.code(),
        member_id: owned(member_id),
        ..Default::default()
    })
}

pub(super) fn sync_refusal(code: ErrorCode) -> Response {
    assert_ne!(code, ErrorCode::None);
    Response::SyncGroup(SyncGroupResponse { error_code: code.code(), ..Default::default() })
}

pub(super) fn heartbeat(code: ErrorCode) -> Response {
    Response::Heartbeat(HeartbeatResponse { error_code: code.code(), ..Default::default() })
}

/// The answer to a LeaveGroup that is refused: `code` for every member, or at the top if it concerns the group.
pub(super) fn leave_refusal(request: &LeaveGroupRequest<'_>, version: i16, code: ErrorCode) -> Response {
    let each = code == ErrorCode::UnknownMemberId && version >= LEAVE_VERSION_MEMBERS;
    let member = |member: &crate::wire::messages::leave_group_request::MemberIdentity<'_>| MemberResponse {
        member_id: owned(&member.member_id),
        group_instance_id: member.group_instance_id.as_deref().map(owned),
        error_code: code.code(),
    };
    let members = if each { request.members.iter().map(member).collect() } else { Vec::new() };
    let error_code = if each { 0 } else { code.code() };
    Response::LeaveGroup(LeaveGroupResponse { error_code, members, ..Default::default() })
}

/// The answer to an OffsetCommit, with the code that `code` gives each partition.
pub(super) fn commit_response(
    request: &OffsetCommitRequest<'_>,
    mut code: impl FnMut(&str, i32) -> ErrorCode,
) -> OffsetCommitResponse<'static> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let partition = |partition: &crate::wire::messages::offset_commit_request::OffsetCommitRequestPartition<'_>| {
            OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code(&topic.name, partition.partition_index).code(),
            }
        };
        topics.push(OffsetCommitResponseTopic {
            name: owned(&topic.name),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(partition).collect(),
        });
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

/// What a commit with a generation is told of a group that is not there.
pub(super) fn absent_group(version: i16) -> ErrorCode {
    if version >= COMMIT_VERSION_GROUP_ERROR { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration }
}

/// The answer to a ListGroups for which no group is looked at.
pub(super) fn list_refusal(code: ErrorCode) -> Response {
    Response::ListGroups(ListGroupsResponse { error_code: code.code(), ..Default::default() })
}

pub(super) fn offset_delete_refusal(code: ErrorCode) -> Response {
    Response::OffsetDelete(OffsetDeleteResponse { error_code: code.code(), ..Default::default() })
}

/// The answer to a request that is refused unseen: it refuses every part of the request, in every version.
pub fn refusal(request: &Request<'_>, version: i16, code: ErrorCode) -> Response {
    assert_ne!(code, ErrorCode::None);
    let error_code = code.code();
    match request {
        Request::JoinGroup(request) => join_refusal(&request.member_id, code),
        Request::SyncGroup(_) => sync_refusal(code),
        Request::Heartbeat(_) => heartbeat(code),
        Request::LeaveGroup(request) => leave_refusal(request, version, code),
        Request::OffsetCommit(request) => Response::OffsetCommit(commit_response(request, |_, _| code)),
        Request::OffsetFetch { group, .. } => {
            // Version 1 has no place for an error but the partitions.
            let topics = group.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
                name: owned(&topic.name),
                topic_id: topic.topic_id,
                partitions: topic.partition_indexes.iter().map(|&index| fetched_none(index, code)).collect(),
            });
            let topics = if version < 2 { topics.collect() } else { Vec::new() };
            Response::OffsetFetch(OffsetFetchResponseGroup { group_id: owned(&group.group_id), topics, error_code })
        }
        Request::OffsetDelete(_) => offset_delete_refusal(code),
        Request::ListGroups(_) => list_refusal(code),
        Request::DescribeGroups(request) => {
            let group =
                |group: &Cow<'_, str>| DescribedGroup { error_code, group_id: owned(group), ..Default::default() };
            let groups = request.groups.iter().map(group).collect();
            Response::DescribeGroups(DescribeGroupsResponse { groups, ..Default::default() })
        }
        Request::DeleteGroups(request) => {
            let result =
                |group: &Cow<'_, str>| DeletableGroupResult { error_code, group_id: owned(group), error_message: None };
            let results = request.groups_names.iter().map(result).collect();
            Response::DeleteGroups(DeleteGroupsResponse { results, ..Default::default() })
        }
    }
}

/// What OffsetFetch says of a partition without a committed position, or with one that is not told.
pub(super) fn fetched_none(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: -1,
        metadata: Some("".into()),
        error_code: code.code(),
    }
}

/// What a client is told when the coordinator's own append fails with `code`.
pub(super) fn append_error(code: ErrorCode) -> ErrorCode {
    assert_ne!(code, ErrorCode::None);
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        code => code,
    }
}
