//! What a member asks its coordinator, and the answers, in every version that both sides may have in common.

use super::Plan;
use super::assign;
use crate::request::Topic;
use klamm::wire::codec::{DecodeError, Reader, Writer};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::leave_group_request::MemberIdentity;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::*;

/// From here on FindCoordinator and OffsetFetch ask about several groups.
const FIND_VERSION_KEYS: i16 = 4;
const POSITIONS_VERSION_GROUPS: i16 = 8;

#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    Find,
    Join {
        owned: assign::Partitions,
    },
    /// With every member's share, from the leader.
    Sync {
        shares: Vec<(String, Vec<u8>)>,
    },
    Heartbeat,
    Leave,
    Commit {
        positions: Vec<(i32, i64)>,
    },
    Positions {
        partitions: Vec<i32>,
    },
}

/// As whom it is asked.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub group: String,
    pub member: String,
    pub generation: i32,
}

/// The code of an answer is kept apart from what it brings.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Host and port.
    Found(String),
    Joined {
        member: String,
        generation: i32,
        /// Of the leader only: members and what they sent.
        members: Vec<(String, Vec<u8>)>,
    },
    Synced(Vec<u8>),
    /// Committed positions, -1 where there is none.
    Positions(Vec<(i32, i64)>),
    Nothing,
}

impl Ask {
    pub fn api(&self) -> ApiKey {
        match self {
            Ask::Find => ApiKey::FindCoordinator,
            Ask::Join { .. } => ApiKey::JoinGroup,
            Ask::Sync { .. } => ApiKey::SyncGroup,
            Ask::Heartbeat => ApiKey::Heartbeat,
            Ask::Leave => ApiKey::LeaveGroup,
            Ask::Commit { .. } => ApiKey::OffsetCommit,
            Ask::Positions { .. } => ApiKey::OffsetFetch,
        }
    }

    /// Whether its answer waits for other members.
    pub fn waits(&self) -> bool {
        matches!(self, Ask::Join { .. } | Ask::Sync { .. })
    }

    pub fn encode(&self, w: &mut Writer, version: i16, plan: &Plan, own: &Identity) {
        let (group_id, member_id) = (own.group.as_str().into(), own.member.as_str().into());
        match self {
            Ask::Find => {
                let key: std::borrow::Cow<'_, str> = own.group.as_str().into();
                FindCoordinatorRequest { coordinator_keys: vec![key.clone()], key, key_type: 0 }.encode(w, version)
            }
            Ask::Join { owned } => JoinGroupRequest {
                group_id,
                session_timeout_ms: plan.session_ms,
                rebalance_timeout_ms: plan.rebalance_ms,
                member_id,
                protocol_type: "consumer".into(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: plan.assignor.name().into(),
                    metadata: assign::subscription(&plan.topic.name, owned).into(),
                }],
                ..Default::default()
            }
            .encode(w, version),
            Ask::Sync { shares } => SyncGroupRequest {
                group_id,
                generation_id: own.generation,
                member_id,
                protocol_type: Some("consumer".into()),
                protocol_name: Some(plan.assignor.name().into()),
                assignments: shares
                    .iter()
                    .map(|(member, share)| SyncGroupRequestAssignment {
                        member_id: member.as_str().into(),
                        assignment: share.as_slice().into(),
                    })
                    .collect(),
                ..Default::default()
            }
            .encode(w, version),
            Ask::Heartbeat => {
                let generation_id = own.generation;
                HeartbeatRequest { group_id, generation_id, member_id, ..Default::default() }.encode(w, version)
            }
            Ask::Leave => {
                let identity = MemberIdentity { member_id: own.member.as_str().into(), ..Default::default() };
                LeaveGroupRequest { group_id, member_id, members: vec![identity] }.encode(w, version)
            }
            Ask::Commit { positions } => {
                commit(own, &plan.topic, positions).encode(w, version);
            }
            Ask::Positions { partitions } => fetch(&own.group, &plan.topic, partitions).encode(w, version),
        }
    }

    /// The answer and its error code, the first if it has several.
    pub fn decode(&self, r: &mut Reader<'_>, version: i16) -> Result<(i16, Answer), DecodeError> {
        Ok(match self {
            Ask::Find => {
                let found = FindCoordinatorResponse::decode(r, version)?;
                let (code, host, port) = match (version >= FIND_VERSION_KEYS, found.coordinators.first()) {
                    (true, Some(one)) => (one.error_code, &one.host, one.port),
                    _ => (found.error_code, &found.host, found.port),
                };
                (code, Answer::Found(format!("{host}:{port}")))
            }
            Ask::Join { .. } => {
                let joined = JoinGroupResponse::decode(r, version)?;
                let members = joined.members.iter();
                let answer = Answer::Joined {
                    member: joined.member_id.to_string(),
                    generation: joined.generation_id,
                    members: members.map(|member| (member.member_id.to_string(), member.metadata.to_vec())).collect(),
                };
                (joined.error_code, answer)
            }
            Ask::Sync { .. } => {
                let synced = SyncGroupResponse::decode(r, version)?;
                (synced.error_code, Answer::Synced(synced.assignment.to_vec()))
            }
            Ask::Heartbeat => (HeartbeatResponse::decode(r, version)?.error_code, Answer::Nothing),
            Ask::Leave => (LeaveGroupResponse::decode(r, version)?.error_code, Answer::Nothing),
            Ask::Commit { .. } => {
                let committed = OffsetCommitResponse::decode(r, version)?;
                let mut codes = committed.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
                (codes.find(|&code| code != 0).unwrap_or(0), Answer::Nothing)
            }
            Ask::Positions { .. } => {
                let (code, positions) = fetched(r, version)?;
                (code, Answer::Positions(positions))
            }
        })
    }
}

/// A commit of positions in one topic.
pub fn commit<'a>(own: &'a Identity, topic: &'a Topic, positions: &[(i32, i64)]) -> OffsetCommitRequest<'a> {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topics = vec![OffsetCommitRequestTopic {
        name: topic.name.as_str().into(),
        topic_id: topic.id,
        partitions: positions.iter().map(partition).collect(),
    }];
    OffsetCommitRequest {
        group_id: own.group.as_str().into(),
        generation_id_or_member_epoch: own.generation,
        member_id: own.member.as_str().into(),
        topics,
        ..Default::default()
    }
}

/// A question for a group's positions in one topic.
pub fn fetch<'a>(group: &'a str, topic: &'a Topic, partitions: &[i32]) -> OffsetFetchRequest<'a> {
    let name: std::borrow::Cow<'_, str> = topic.name.as_str().into();
    let partition_indexes = partitions.to_vec();
    let topics = vec![OffsetFetchRequestTopics {
        name: name.clone(),
        topic_id: topic.id,
        partition_indexes: partition_indexes.clone(),
    }];
    let one = OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() };
    OffsetFetchRequest {
        group_id: group.into(),
        topics: Some(vec![OffsetFetchRequestTopic { name, partition_indexes }]),
        groups: vec![one],
        require_stable: false,
    }
}

/// The first error, and the positions.
pub fn fetched(r: &mut Reader<'_>, version: i16) -> Result<(i16, Vec<(i32, i64)>), DecodeError> {
    let answer = OffsetFetchResponse::decode(r, version)?;
    let (code, rows): (i16, Vec<(i32, i64, i16)>) = match answer.groups.first() {
        Some(group) if version >= POSITIONS_VERSION_GROUPS => {
            let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            let rows = partitions.map(|p| (p.partition_index, p.committed_offset, p.error_code));
            (group.error_code, rows.collect())
        }
        _ => {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let rows = partitions.map(|p| (p.partition_index, p.committed_offset, p.error_code));
            (answer.error_code, rows.collect())
        }
    };
    let codes = [code].into_iter().chain(rows.iter().map(|row| row.2));
    let code = codes.into_iter().find(|&code| code != 0).unwrap_or(0);
    Ok((code, rows.into_iter().map(|(partition, offset, _)| (partition, offset)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm::wire::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };

    #[test]
    fn positions_are_read_in_every_version() {
        for version in OffsetFetchRequest::VERSIONS {
            let (partition_index, committed_offset) = (3, 7);
            let new = OffsetFetchResponsePartitions { partition_index, committed_offset, ..Default::default() };
            let old = OffsetFetchResponsePartition {
                partition_index,
                committed_offset,
                metadata: Some("".into()),
                ..Default::default()
            };
            let topics = vec![OffsetFetchResponseTopics { partitions: vec![new], ..Default::default() }];
            let response = OffsetFetchResponse {
                topics: vec![OffsetFetchResponseTopic { name: "t".into(), partitions: vec![old] }],
                groups: vec![OffsetFetchResponseGroup { topics, ..Default::default() }],
                ..Default::default()
            };
            let mut w = Writer::new();
            response.encode(&mut w, version);
            let found = fetched(&mut Reader::new(&w.into_bytes()), version);
            assert_eq!(found, Ok((0, vec![(3, 7)])), "version {version}");
        }
    }

    #[test]
    fn a_coordinator_is_found_in_every_version() {
        for version in FindCoordinatorRequest::VERSIONS {
            let one = find_coordinator_response::Coordinator { host: "h".into(), port: 9, ..Default::default() };
            let response =
                FindCoordinatorResponse { host: "h".into(), port: 9, coordinators: vec![one], ..Default::default() };
            let mut w = Writer::new();
            response.encode(&mut w, version);
            let found = Ask::Find.decode(&mut Reader::new(&w.into_bytes()), version);
            assert_eq!(found, Ok((0, Answer::Found("h:9".to_string()))), "version {version}");
        }
    }
}
