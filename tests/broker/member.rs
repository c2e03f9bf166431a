//! Members of consumer groups, and who commits from outside, on connections of their own.

use crate::client::{Client, ask};
use crate::process::{Broker, cores, wait_for};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::leave_group_request::MemberIdentity;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

pub const JOIN: i16 = 9;
pub const SYNC: i16 = 5;

pub fn cow(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_string())
}

pub fn known(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

pub fn start(dir: &Path, count: usize) -> (Broker, Client) {
    let broker = Broker::start(dir, &[("cores", &cores(count))]);
    let client = Client::connect(broker.address);
    (broker, client)
}

/// The coordinator of a group, which there is: the first who asks has the topic made.
#[track_caller]
pub fn find(client: &mut Client, groups: &[&str]) {
    let coordinator_keys = groups.iter().map(|group| cow(group)).collect();
    let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
    let response = ask!(client, FindCoordinator, 6, FindCoordinatorResponse, request);
    for (found, group) in response.coordinators.iter().zip(groups) {
        assert_eq!((known(found.error_code), &*found.key), (None, *group), "{:?}", found.error_message);
        assert_eq!(found.port, i32::from(client.stream.peer_addr().unwrap().port()));
    }
    assert_eq!(response.coordinators.len(), groups.len());
}

/// A member of a group, on a connection of its own.
pub struct Member {
    pub client: Client,
    pub group: String,
    pub id: String,
    pub generation: i32,
    /// What it was told when it joined: its leader, and the members if that is it.
    pub leader: String,
    pub members: Vec<String>,
}

impl Member {
    /// Is given an id.
    pub fn new(broker: &Broker, group: &str) -> Member {
        let (client, id) = (Client::connect(broker.address), String::new());
        let (group, leader) = (group.to_string(), String::new());
        let mut member = Member { client, group, id, generation: -1, leader, members: Vec::new() };
        member.send_join();
        assert_eq!(member.receive_join(), MemberIdRequired);
        assert!(member.id.starts_with("test-"), "{}", member.id);
        member
    }

    pub fn send_join(&mut self) {
        let protocol = JoinGroupRequestProtocol { name: cow("range"), metadata: Cow::Borrowed(b"metadata") };
        let request = JoinGroupRequest {
            group_id: cow(&self.group),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            member_id: cow(&self.id),
            protocol_type: cow("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        };
        self.client.send(ApiKey::JoinGroup, JOIN, |w| request.encode(w, JOIN));
    }

    pub fn receive_join(&mut self) -> ErrorCode {
        let (_, body) = self.client.receive(ApiKey::JoinGroup, JOIN);
        let response = JoinGroupResponse::decode(&mut Reader::new(body), JOIN).expect("a response");
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        self.leader = response.leader.to_string();
        self.members = response.members.iter().map(|member| member.member_id.to_string()).collect();
        known(response.error_code)
    }

    pub fn join(&mut self) {
        self.send_join();
        assert_eq!(self.receive_join(), None);
    }

    pub fn is_leader(&self) -> bool {
        self.leader == self.id
    }

    /// The leader gives each member its own id as its share.
    pub fn send_sync(&mut self) {
        let share = |member: &String| SyncGroupRequestAssignment {
            member_id: cow(member),
            assignment: Cow::Owned(member.as_bytes().to_vec()),
        };
        let request = SyncGroupRequest {
            group_id: cow(&self.group),
            generation_id: self.generation,
            member_id: cow(&self.id),
            protocol_type: Some(cow("consumer")),
            protocol_name: Some(cow("range")),
            assignments: self.members.iter().map(share).collect(),
            ..Default::default()
        };
        self.client.send(ApiKey::SyncGroup, SYNC, |w| request.encode(w, SYNC));
    }

    #[track_caller]
    pub fn receive_sync(&mut self) {
        let (_, body) = self.client.receive(ApiKey::SyncGroup, SYNC);
        let response = SyncGroupResponse::decode(&mut Reader::new(body), SYNC).expect("a response");
        assert_eq!((known(response.error_code), &*response.assignment), (None, self.id.as_bytes()));
    }

    pub fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: cow(&self.group),
            generation_id: self.generation,
            member_id: cow(&self.id),
            ..Default::default()
        };
        known(ask!(self.client, Heartbeat, 4, HeartbeatResponse, request).error_code)
    }

    pub fn leave(&mut self) -> ErrorCode {
        let identity = MemberIdentity { member_id: cow(&self.id), ..Default::default() };
        let request = LeaveGroupRequest { group_id: cow(&self.group), members: vec![identity], ..Default::default() };
        known(ask!(self.client, LeaveGroup, 5, LeaveGroupResponse, request).members[0].error_code)
    }

    pub fn commit(&mut self, topic: &str, offset: i64) -> ErrorCode {
        let (group, id, generation) = (self.group.clone(), self.id.clone(), self.generation);
        commit(&mut self.client, &group, (&id, generation), &[(topic, 0, offset)])
    }
}

/// What nobody is who commits from outside.
pub const NOBODY: (&str, i32) = ("", -1);

pub fn commit_request(
    group: &str,
    member: (&str, i32),
    positions: &[(&str, i32, i64)],
) -> OffsetCommitRequest<'static> {
    let topic = |&(topic, partition_index, committed_offset): &(&str, i32, i64)| OffsetCommitRequestTopic {
        name: cow(topic),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_metadata: Some(cow("m")),
            ..Default::default()
        }],
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: cow(group),
        member_id: cow(member.0),
        generation_id_or_member_epoch: member.1,
        topics: positions.iter().map(topic).collect(),
        ..Default::default()
    }
}

/// Commits; the error of the first partition.
pub fn commit(client: &mut Client, group: &str, member: (&str, i32), positions: &[(&str, i32, i64)]) -> ErrorCode {
    let request = commit_request(group, member, positions);
    known(ask!(client, OffsetCommit, 9, OffsetCommitResponse, request).topics[0].partitions[0].error_code)
}

/// All that these groups have committed, in one request, once they are loaded: (group, topic, partition) to offset.
pub fn committed(client: &mut Client, groups: &[String]) -> BTreeMap<(String, String, i32), i64> {
    let group =
        |group: &String| OffsetFetchRequestGroup { group_id: cow(group), topics: Option::None, ..Default::default() };
    wait_for("loaded groups", || {
        let groups: Vec<_> = groups.iter().map(group).collect();
        let count = groups.len();
        let request = OffsetFetchRequest { groups, require_stable: true, ..Default::default() };
        let response = ask!(client, OffsetFetch, 9, OffsetFetchResponse, request);
        assert_eq!(response.groups.len(), count);
        let codes = response.groups.iter().map(|group| known(group.error_code));
        if codes.into_iter().any(|code| code == CoordinatorLoadInProgress) {
            return Option::None;
        }
        let mut found = BTreeMap::new();
        for group in &response.groups {
            assert_eq!(known(group.error_code), None);
            for topic in &group.topics {
                for partition in &topic.partitions {
                    assert_eq!(partition.metadata.as_deref(), Some("m"));
                    let key = (group.group_id.to_string(), topic.name.to_string(), partition.partition_index);
                    found.insert(key, partition.committed_offset);
                }
            }
        }
        Some(found)
    })
}

pub fn committed_of(client: &mut Client, group: &str) -> Vec<i64> {
    committed(client, &[group.to_string()]).into_values().collect()
}
