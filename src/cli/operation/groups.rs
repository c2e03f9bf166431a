//! Groups, asked of their coordinators: listed, described, deleted; and their committed offsets.

use super::{TopicPartition, by_topic, only};
use crate::cli::client::{Client, Coordinated, Link, Node};
use crate::cli::failure::{Failure, Result};
use crate::client::assignment::decode_assignment;
use crate::client::offsets;
use crate::types::{Epoch, Offset};
use crate::wire::codec::DecodeError;
use crate::wire::error::ErrorCode;
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::wire::messages::{
    ApiKey, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use std::collections::BTreeMap;

/// OffsetFetch since which several groups are asked for at a time (KIP-709).
const OFFSET_FETCH_BATCHED: i16 = 8;
/// First versions of ListGroups with filters.
const LIST_GROUPS_STATES: i16 = 4;
const LIST_GROUPS_TYPES: i16 = 5;
/// The protocol type of consumers; groups of simple consumers, which only commit, have none.
const CONSUMER: &str = "consumer";

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listed {
    pub id: String,
    /// Absent where the broker is older than Kafka 2.6.
    pub state: Option<String>,
    /// `Classic`, `Consumer` ...; absent where the broker is older than Kafka 3.8.
    pub kind: Option<String>,
    pub protocol_type: String,
}

impl Listed {
    /// Whether it is a group of consumers, simple ones included.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type == CONSUMER || self.protocol_type.is_empty()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    /// In order; empty where it cannot be read, as of groups that are not consumers'.
    pub assignment: Vec<TopicPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    pub id: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor that the members agreed on; empty if they have not.
    pub protocol: String,
    pub coordinator: Option<Node>,
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    pub offset: Offset,
    pub leader_epoch: Option<Epoch>,
    pub metadata: String,
}

/// Whether such a group has nobody in it, by its state's name.
pub fn is_inactive(state: &str) -> bool {
    matches!(state, "Empty" | "Dead")
}

/// All groups that have one of the states and types, or all where none is named, in the order of their ids. Names are those
/// of Kafka, in any case.
pub fn list(client: &mut Client, states: &[String], kinds: &[String]) -> Result<Vec<Listed>> {
    let nodes = client.cluster(Some(&[]))?.nodes;
    let mut listed = Vec::new();
    for node in nodes {
        listed.extend(client.again(|client| list_of(client.broker(node.id)?, states, kinds))?);
    }
    listed.sort();
    listed.dedup();
    Ok(listed)
}

fn list_of(link: &mut Link, states: &[String], kinds: &[String]) -> Result<Vec<Listed>> {
    let version = link.version(ApiKey::ListGroups)?;
    let owned = |names: &[String]| names.iter().map(|name| name.clone().into()).collect();
    let filters = [("states", states, LIST_GROUPS_STATES), ("types", kinds, LIST_GROUPS_TYPES)];
    let missing = filters.iter().find(|(_, names, since)| !names.is_empty() && version < *since);
    if let Some((what, _, _)) = missing {
        return Err(Failure::Other(format!("{} cannot list groups by {what}", link.address())));
    }
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(kinds) };
    let answer = link.ask_in(&request, version)?;
    Failure::check("groups", answer.error_code, None)?;
    let groups = answer.groups.iter().map(|group| Listed {
        id: group.group_id.to_string(),
        state: (version >= LIST_GROUPS_STATES).then(|| group.group_state.to_string()),
        kind: (version >= LIST_GROUPS_TYPES).then(|| group.group_type.to_string()),
        protocol_type: group.protocol_type.to_string(),
    });
    Ok(groups.collect())
}

/// Does something with the coordinator of a group, until it answers.
fn with_coordinator<T>(client: &mut Client, group: &str, mut ask: impl FnMut(&mut Link) -> Result<T>) -> Result<T> {
    client.again(|client| {
        let coordinator = client.coordinator(Coordinated::Group, group)?;
        ask(client.broker(coordinator)?)
    })
}

/// One group, or GROUP_ID_NOT_FOUND.
pub fn describe(client: &mut Client, group: &str) -> Result<Described> {
    let coordinator = client.again(|client| client.coordinator(Coordinated::Group, group))?;
    let node = client.cluster(Some(&[]))?.nodes.into_iter().find(|node| node.id == coordinator);
    with_coordinator(client, group, |link| {
        let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
        let answer = link.ask(&request)?;
        let found = only(&answer.groups, group)?;
        Failure::check(format_args!("group {group}"), found.error_code, found.error_message.as_deref())?;
        if &*found.group_state == "Dead" {
            // How brokers say it that are older than Kafka 4.0.
            let message = Some(format!("Group {group} not found."));
            let code = ErrorCode::GroupIdNotFound.code();
            return Err(Failure::Refused { what: format!("group {group}"), code, message });
        }
        Ok(described(found, node.clone()))
    })
}

fn described(group: &DescribedGroup<'_>, coordinator: Option<Node>) -> Described {
    let is_of_consumers = &*group.protocol_type == CONSUMER;
    let member = |member: &DescribedGroupMember<'_>| {
        let assignment = is_of_consumers.then(|| assignment(&member.member_assignment));
        Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.as_deref().map(str::to_string),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            assignment: assignment.and_then(|read| read.ok()).unwrap_or_default(),
        }
    };
    Described {
        id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        coordinator,
        members: group.members.iter().map(member).collect(),
    }
}

/// What a member has, in order.
fn assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, DecodeError> {
    let share = decode_assignment(bytes)?;
    let place =
        |(topic, all): &(String, Vec<_>)| all.iter().map(|&at| TopicPartition::new(topic, at)).collect::<Vec<_>>();
    let mut all: Vec<TopicPartition> = share.iter().flat_map(place).collect();
    all.sort();
    Ok(all)
}

/// Every offset that a group has committed; none if there is no such group.
pub fn committed(client: &mut Client, group: &str) -> Result<BTreeMap<TopicPartition, Committed>> {
    with_coordinator(client, group, |link| {
        let version = link.version(ApiKey::OffsetFetch)?.min(offsets::FETCH_VERSION_MAX);
        let mut request = OffsetFetchRequest::default();
        if version >= OFFSET_FETCH_BATCHED {
            request.groups =
                vec![OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() }];
        } else {
            request.group_id = group.into();
            request.topics = None;
        }
        let answer = link.ask_in(&request, version)?;
        let what = || format!("offsets of group {group}");
        let mut offsets = BTreeMap::new();
        let mut keep = |topic: &str, partition, offset, epoch: i32, metadata: Option<&str>, code| {
            let place = TopicPartition::new(topic, partition);
            Failure::check(format_args!("offset of group {group} for {place}"), code, None)?;
            let leader_epoch = Epoch(epoch).known();
            let metadata = metadata.unwrap_or_default().to_string();
            offsets.insert(place, Committed { offset, leader_epoch, metadata });
            Ok(())
        };
        Failure::check(what(), answer.error_code, None)?;
        for topic in &answer.topics {
            for p in &topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                keep(&topic.name, p.partition_index, offset, epoch, p.metadata.as_deref(), p.error_code)?;
            }
        }
        for group in &answer.groups {
            Failure::check(what(), group.error_code, None)?;
            for topic in &group.topics {
                for p in &topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    keep(&topic.name, p.partition_index, offset, epoch, p.metadata.as_deref(), p.error_code)?;
                }
            }
        }
        Ok(offsets)
    })
}

/// Commits offsets for a group that has no members.
pub fn commit(client: &mut Client, group: &str, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
    let request = offsets::commit(group, offsets.iter().map(|(place, offset)| (place, *offset)));
    with_coordinator(client, group, |link| {
        let version = link.version(ApiKey::OffsetCommit)?.min(offsets::COMMIT_VERSION_MAX);
        let answer = link.ask_in(&request, version)?;
        for topic in &answer.topics {
            for p in &topic.partitions {
                let what = format_args!("offset of group {group} for {}-{}", topic.name, p.partition_index);
                Failure::check(what, p.error_code, None)?;
            }
        }
        Ok(())
    })
}

pub fn delete(client: &mut Client, group: &str) -> Result<()> {
    with_coordinator(client, group, |link| {
        let answer = link.ask(&DeleteGroupsRequest { groups_names: vec![group.into()] })?;
        let result = only(&answer.results, group)?;
        Failure::check(format_args!("group {group}"), result.error_code, result.error_message.as_deref())
    })
}

/// Forgets what a group has committed for partitions; how it went for each.
pub fn delete_offsets(
    client: &mut Client,
    group: &str,
    places: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Result<()>>> {
    let partition = |partition_index, ()| OffsetDeleteRequestPartition { partition_index };
    let topics = by_topic(places.iter().map(|place| (place, ())), partition);
    let topic = |(name, partitions): (String, _)| OffsetDeleteRequestTopic { name: name.into(), partitions };
    let topics: Vec<_> = topics.into_iter().map(topic).collect();
    let request = OffsetDeleteRequest { group_id: group.into(), topics };
    with_coordinator(client, group, |link| {
        let answer = link.ask(&request)?;
        Failure::check(format_args!("group {group}"), answer.error_code, None)?;
        let mut results = BTreeMap::new();
        for topic in &answer.topics {
            for p in &topic.partitions {
                let place = TopicPartition::new(&topic.name, p.partition_index);
                let result = Failure::check(format_args!("offset for {place}"), p.error_code, None);
                results.insert(place, result);
            }
        }
        Ok(results)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;

    #[test]
    fn assignments_are_read() {
        let mut w = Writer::new();
        w.put_i16(1);
        w.put_length(Some(1), false);
        w.put_string("t", false);
        w.put_length(Some(2), false);
        w.put_i32(3);
        w.put_i32(1);
        w.put_length(None, false);
        let bytes = w.into_bytes();
        assert_eq!(assignment(&bytes), Ok(vec![TopicPartition::new("t", 1), TopicPartition::new("t", 3)]));
        assert_eq!(assignment(&[]), Ok(Vec::new()));
        assert!(assignment(&bytes[..8]).is_err());
    }
}
