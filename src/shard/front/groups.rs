//! The side of the connection: a request goes to the cores of its groups' coordinators, which take it apart; their answers
//! meet here.

use super::gather::{Begun, Incoming, Reply, ReplyHead, Scatter, Work};
use crate::group::{
    ANSWER_BYTES_MAX, ListFilter, Request, Response, offset_fetch_join, offset_fetch_split, partition_of, refusal,
};
use crate::shard::message::{Answer, CommandRequest, GroupAsk};
use crate::shard::query::OFFSETS_TOPIC;
use crate::types::{PartitionId, PartitionIndex, ShardId};
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsResponse, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use bytes::BytesMut;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Groups, members or positions that one request may name, except in a commit, which a coordinator bounds.
const NAMED_MAX: usize = 100_000;
/// OffsetFetch from here on asks for several groups (KIP-709).
const FETCH_VERSION_GROUPS: i16 = 8;

/// A request to coordinators in progress.
struct GroupRequest {
    api: ApiKey,
    head: ReplyHead,
    responses: BTreeMap<u32, Response>,
    /// About what the responses take.
    bytes: usize,
    /// Why the connection is closed instead of answered.
    refused: Option<&'static str>,
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
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::decode(r, version)?;
            check_named(request.members.len())?;
            Request::LeaveGroup(request)
        }
        ApiKey::OffsetCommit => Request::OffsetCommit(OffsetCommitRequest::decode(r, version)?),
        ApiKey::OffsetDelete => {
            let request = OffsetDeleteRequest::decode(r, version)?;
            check_named(request.topics.iter().map(|topic| topic.partitions.len()).sum())?;
            Request::OffsetDelete(request)
        }
        ApiKey::OffsetFetch => {
            let request = OffsetFetchRequest::decode(r, version)?;
            let require_stable = request.require_stable;
            let mut groups = offset_fetch_split(request, version);
            let topics = groups.iter().flat_map(|group| group.topics.iter().flatten());
            check_named(topics.map(|topic| topic.partition_indexes.len()).sum::<usize>() + groups.len())?;
            let mut seen = BTreeSet::new();
            groups.retain(|group| seen.insert(group.group_id.clone()));
            for (number, group) in (0..).zip(groups) {
                let partition = at(&group.group_id);
                visit(number, partition, &Request::OffsetFetch { group, require_stable });
            }
            return Ok(());
        }
        ApiKey::ListGroups => {
            let request = Request::ListGroups(ListFilter::decode(r, version)?);
            (0..partitions).for_each(|partition| visit(partition as u32, partition, &request));
            return Ok(());
        }
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::decode(r, version)?;
            check_named(request.groups.len())?;
            let include_authorized_operations = request.include_authorized_operations;
            for (partition, groups) in by_partition(request.groups, at) {
                let request = DescribeGroupsRequest { groups, include_authorized_operations };
                visit(partition as u32, partition, &Request::DescribeGroups(request));
            }
            return Ok(());
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest::decode(r, version)?;
            check_named(request.groups_names.len())?;
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

/// A request that names more closes its connection: a turn would take too long. All positions of a group can be asked for
/// without naming them.
fn check_named(count: usize) -> Result<(), DecodeError> {
    if count > NAMED_MAX { Err(DecodeError::Length) } else { Ok(()) }
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
    let once: BTreeSet<Cow<'a, str>> = groups.into_iter().collect();
    for group in once {
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

pub fn begin(scatter: &mut Scatter<'_>, incoming: &Incoming<'_>, frame: BytesMut) -> Result<Begun, DecodeError> {
    let (head, frame) = (&incoming.head, frame.freeze());
    let topic = scatter.view.image().topic(OFFSETS_TOPIC).map(|topic| (topic.id, topic.partition_count()));
    let partitions = topic.map_or(1, |(_, partitions)| partitions);
    let body = &frame[head.body_start..];
    let places = places(head, body, partitions)?;
    let (api, reply_head) = (head.api, ReplyHead::new(head));
    let mut work = GroupRequest { api, head: reply_head, responses: BTreeMap::new(), bytes: 0, refused: None };
    match topic {
        Some((topic, partitions)) => {
            scatter.expect(places.len());
            let owner = |index| scatter.view.owner(PartitionId { topic, index });
            let owners: BTreeSet<ShardId> = places.into_iter().map(owner).collect();
            for owner in owners {
                let ask = GroupAsk { topic, partitions, peer: incoming.caller.address, frame: frame.clone() };
                scatter.ask_groups(owner, ask);
            }
        }
        None if head.api == ApiKey::ListGroups => {}
        None => {
            scatter.command(CommandRequest::MakeOffsetsTopic);
            visit(head, body, partitions, |part, _, request| {
                work.responses.insert(part, refusal(request, head.version, ErrorCode::NotCoordinator));
            })?;
        }
    }
    Ok(Begun::Started { work: Box::new(work), deadline: None, silent: false })
}

impl Work for GroupRequest {
    fn answered(&mut self, _: &mut Scatter<'_>, part: u32, answer: Answer) {
        let Answer::Group(answer) = answer else { panic!("a coordinator does not answer with {answer:?}") };
        self.bytes += answer.as_ref().map_or(0, |response| response.bytes());
        match answer {
            None => self.refused = Some("malformed request"),
            Some(response) if *response == Response::TooLarge || self.bytes > ANSWER_BYTES_MAX => {
                self.refused = Some("the answer would be too large");
                self.responses.clear();
            }
            Some(_) if self.refused.is_some() => {}
            Some(response) => {
                let twice = self.responses.insert(part, *response);
                assert!(twice.is_none(), "a part is answered once");
            }
        }
    }

    fn reply(self: Box<Self>, _: &mut Scatter<'_>) -> Reply {
        if let Some(reason) = self.refused {
            return Reply::Close(reason.into());
        }
        let GroupRequest { api, head, responses, .. } = *self;
        Reply::Send(head.frame(|w| encode_body(api, head.version, responses, w)))
    }
}

/// The whole answer, made of its parts.
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
            Response::TooLarge => unreachable!("it closes the connection"),
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
