//! The side of the connection: a request goes to the cores of its groups' coordinators, which take it apart; their answers
//! meet here.

use super::ask::{GroupAnswer, GroupAsk};
use crate::group::{Request, Response, offset_fetch_join, offset_fetch_split, partition_of, refusal};
use crate::metadata::Image;
use crate::shard::connection::{ConnectionId, Slot};
use crate::shard::message::{CommandRequest, Message, RequestId};
use crate::shard::query::OFFSETS_TOPIC;
use crate::shard::{Pending, Shard};
use crate::types::{Now, PartitionId, PartitionIndex, ShardId};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Head, response_frame};
use crate::wire::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// OffsetFetch from here on asks for several groups (KIP-709).
const FETCH_VERSION_GROUPS: i16 = 8;

/// A request to coordinators in progress.
pub struct GroupRequest {
    connection: ConnectionId,
    slot: Slot,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    responses: BTreeMap<u32, Response>,
    outstanding: usize,
}

/// A shard's wish that there be a topic for groups: told to the controller once for each image that has none.
#[derive(Default)]
pub struct TopicWish {
    told: Option<u64>,
}

impl TopicWish {
    fn is_new(&mut self, image: &Image) -> bool {
        assert!(image.topic(OFFSETS_TOPIC).is_none());
        self.told.replace(image.index()) != Some(image.index())
    }
}

/// Shows `visit` each part of a request, its number, and the partition whose coordinator is to serve it.
pub fn visit(
    head: &Head<'_>,
    body: &[u8],
    partitions: i32,
    mut visit: impl FnMut(u32, PartitionIndex, &Request<'_>),
) -> Result<(), DecodeError> {
    let (r, version) = (&mut Reader::new(body), head.version);
    let at = |group: &str| partition_of(group, partitions);
    let single = match head.api {
        ApiKey::JoinGroup => Request::JoinGroup(JoinGroupRequest::decode(r, version)?),
        ApiKey::SyncGroup => Request::SyncGroup(SyncGroupRequest::decode(r, version)?),
        ApiKey::Heartbeat => Request::Heartbeat(HeartbeatRequest::decode(r, version)?),
        ApiKey::LeaveGroup => Request::LeaveGroup(LeaveGroupRequest::decode(r, version)?),
        ApiKey::OffsetCommit => Request::OffsetCommit(OffsetCommitRequest::decode(r, version)?),
        ApiKey::OffsetDelete => Request::OffsetDelete(OffsetDeleteRequest::decode(r, version)?),
        ApiKey::OffsetFetch => {
            let request = OffsetFetchRequest::decode(r, version)?;
            let require_stable = request.require_stable;
            for (number, group) in (0..).zip(offset_fetch_split(request, version)) {
                let partition = at(&group.group_id);
                visit(number, partition, &Request::OffsetFetch { group, require_stable });
            }
            return Ok(());
        }
        ApiKey::ListGroups => {
            let request = Request::ListGroups(ListGroupsRequest::decode(r, version)?);
            (0..partitions).for_each(|partition| visit(partition as u32, partition, &request));
            return Ok(());
        }
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::decode(r, version)?;
            let include_authorized_operations = request.include_authorized_operations;
            for (partition, groups) in by_partition(request.groups, at) {
                let request = DescribeGroupsRequest { groups, include_authorized_operations };
                visit(partition as u32, partition, &Request::DescribeGroups(request));
            }
            return Ok(());
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest::decode(r, version)?;
            for (partition, groups_names) in by_partition(request.groups_names, at) {
                let request = DeleteGroupsRequest { groups_names };
                visit(partition as u32, partition, &Request::DeleteGroups(request));
            }
            return Ok(());
        }
        api => panic!("{} is no API of groups", api.name()),
    };
    visit(0, at(group_of(head, body)?.as_ref()), &single);
    Ok(())
}

/// The group of a request that concerns one: its first field.
fn group_of<'a>(head: &Head<'_>, body: &'a [u8]) -> Result<Cow<'a, str>, DecodeError> {
    Reader::new(body).string(head.version >= head.api.flexible_since())
}

fn by_partition<'a>(
    groups: Vec<Cow<'a, str>>,
    at: impl Fn(&str) -> PartitionIndex,
) -> BTreeMap<PartitionIndex, Vec<Cow<'a, str>>> {
    let mut parts: BTreeMap<PartitionIndex, Vec<Cow<'a, str>>> = BTreeMap::new();
    for group in groups {
        parts.entry(at(&group)).or_default().push(group);
    }
    parts
}

/// The parts of a request and the partitions whose coordinators serve them.
fn places(head: &Head<'_>, body: &[u8], partitions: i32) -> Result<Vec<PartitionIndex>, DecodeError> {
    let one = match head.api {
        ApiKey::ListGroups | ApiKey::DescribeGroups | ApiKey::DeleteGroups => false,
        ApiKey::OffsetFetch => head.version < FETCH_VERSION_GROUPS,
        _ => true,
    };
    if one {
        return Ok(vec![partition_of(&group_of(head, body)?, partitions)]);
    }
    let mut places = Vec::new();
    visit(head, body, partitions, |_, partition, _| places.push(partition))?;
    Ok(places)
}

impl Shard {
    pub(in crate::shard) fn group_request(
        &mut self,
        now: Now,
        connection: ConnectionId,
        head: &Head<'static>,
        frame: BytesMut,
    ) -> Result<(), DecodeError> {
        let frame = frame.freeze();
        let topic = self.image.topic(OFFSETS_TOPIC).map(|topic| (topic.id, topic.partition_count()));
        let partitions = topic.map_or(1, |(_, partitions)| partitions);
        let body = &frame[head.body_start..];
        let places = places(head, body, partitions)?;
        let (api, version, correlation_id) = (head.api, head.version, head.correlation_id);
        let mut pending = GroupRequest {
            connection,
            slot: 0,
            api,
            version,
            correlation_id,
            responses: BTreeMap::new(),
            outstanding: places.len(),
        };
        let Some((topic, _)) = topic else {
            if api != ApiKey::ListGroups {
                if self.topic_wish.is_new(&self.image) {
                    self.ask_controller(now, CommandRequest::MakeOffsetsTopic);
                }
                visit(head, body, partitions, |part, _, request| {
                    pending.responses.insert(part, refusal(request, version, ErrorCode::CoordinatorNotAvailable));
                })?;
            }
            pending.slot = self.begin(connection);
            let response = encode(pending.api, pending.version, pending.correlation_id, pending.responses);
            self.respond(connection, pending.slot, response);
            return Ok(());
        };
        let shards = self.node.shards;
        let owner = |index| PartitionId { topic, index }.shard(shards);
        let owners: BTreeSet<ShardId> = places.into_iter().map(owner).collect();
        pending.slot = self.begin(connection);
        let peer = self.connections[&connection].caller.address;
        let nothing = pending.outstanding == 0;
        let request = self.start(Pending::Group(Box::new(pending)));
        if nothing {
            self.group_finish(request);
        }
        for owner in owners {
            let ask = GroupAsk { request, topic, partitions, peer, frame: frame.clone() };
            if owner == self.id {
                self.groups.asked(now, &self.image, owner, &ask);
            } else {
                self.send(owner, Message::GroupAsk(Box::new(ask)));
            }
        }
        Ok(())
    }

    /// One part of an answer.
    pub(in crate::shard) fn group_answered(&mut self, request: RequestId, part: u32, answer: GroupAnswer) {
        let Some(Pending::Group(pending)) = self.requests.get_mut(&request) else { return };
        let Some(response) = answer else {
            let connection = pending.connection;
            self.requests.remove(&request);
            if self.connections.contains_key(&connection) {
                self.close(connection, "malformed request".into());
            }
            return;
        };
        let twice = pending.responses.insert(part, *response);
        assert!(twice.is_none(), "a part is answered once");
        pending.outstanding -= 1;
        if pending.outstanding == 0 {
            self.group_finish(request);
        }
    }

    fn group_finish(&mut self, request: RequestId) {
        let Some(Pending::Group(pending)) = self.requests.remove(&request) else { return };
        let response = encode(pending.api, pending.version, pending.correlation_id, pending.responses);
        self.respond(pending.connection, pending.slot, response);
    }
}

/// The whole answer, made of its parts.
fn encode(api: ApiKey, version: i16, correlation_id: i32, parts: BTreeMap<u32, Response>) -> Vec<Bytes> {
    let (_, header_version) = api.header_versions(version);
    response_frame(header_version, correlation_id, |w| encode_body(api, version, parts, w))
}

fn encode_body(api: ApiKey, version: i16, parts: BTreeMap<u32, Response>, w: &mut Writer) {
    let (mut fetched, mut listed) = (Vec::new(), ListGroupsResponse::default());
    let (mut described, mut deleted) = (DescribeGroupsResponse::default(), DeleteGroupsResponse::default());
    for part in parts.into_values() {
        match part {
            Response::JoinGroup(response) => return response.encode(w, version),
            Response::SyncGroup(response) => return response.encode(w, version),
            Response::Heartbeat(response) => return response.encode(w, version),
            Response::LeaveGroup(response) => return response.encode(w, version),
            Response::OffsetCommit(response) => return response.encode(w, version),
            Response::OffsetDelete(response) => return response.encode(w, version),
            Response::OffsetFetch(group) => fetched.push(group),
            Response::ListGroups(mut response) => {
                if listed.error_code == ErrorCode::None.code() {
                    listed.error_code = response.error_code;
                }
                listed.groups.append(&mut response.groups);
            }
            Response::DescribeGroups(mut response) => described.groups.append(&mut response.groups),
            Response::DeleteGroups(mut response) => deleted.results.append(&mut response.results),
        }
    }
    match api {
        ApiKey::OffsetFetch => offset_fetch_join(fetched, version).encode(w, version),
        ApiKey::ListGroups => listed.encode(w, version),
        ApiKey::DescribeGroups => described.encode(w, version),
        ApiKey::DeleteGroups => deleted.encode(w, version),
        api => panic!("{} has one part", api.name()),
    }
}
