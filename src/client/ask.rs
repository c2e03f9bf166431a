//! What a member of a group of the classic protocol asks, and the answers, in every version that both sides may have in common.

use super::assignment::{Share, Subscription};
use super::coordinator::{self, Coordinator, Kind};
use super::offsets;
use super::partition::TopicPartition;
use crate::types::Offset;
use crate::wire::codec::{DecodeError, Reader, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    ApiKey, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, OffsetCommitResponse, SyncGroupRequest, SyncGroupResponse,
};

const PROTOCOL_TYPE: &str = "consumer";

/// As whom it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The group's id.
    pub group: String,
    /// Set if it keeps its partitions over a restart (KIP-345).
    pub instance: Option<String>,
    /// Empty until the coordinator has given one out.
    pub id: String,
    /// -1 outside of any.
    pub generation: i32,
}

/// A question of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Any broker is asked; everything else goes to the coordinator.
    Find,
    /// To become a member, or to take part in a rebalance.
    Join {
        /// The assignor's name.
        protocol: &'static str,
        /// Without a heartbeat for so long the member is taken for dead.
        session_ms: i32,
        /// So long a rebalance waits for the member.
        rebalance_ms: i32,
        /// What the member wants, and has.
        subscription: Subscription,
    },
    /// With every member's share, encoded, from the leader.
    Sync {
        /// The assignor's name.
        protocol: &'static str,
        /// Ids of members and what each gets.
        shares: Vec<(String, Vec<u8>)>,
    },
    /// To be known as alive, and to learn of rebalances.
    Heartbeat,
    /// To be a member no more.
    Leave,
    /// To keep next offsets for the group.
    Commit(Vec<(TopicPartition, Offset)>),
    /// What is committed for these?
    Committed(Vec<TopicPartition>),
}

/// What an answer brings besides its code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To `Find`.
    Found(Coordinator),
    /// To `Join`.
    Joined {
        /// The member's id, also where it is to join again with it.
        id: String,
        /// The generation that it is in.
        generation: i32,
        /// The id of the member that shares out.
        leader: String,
        /// Of the leader, unless it is not to share out again: all members.
        members: Vec<Joined>,
    },
    /// To `Sync`: the share of the member.
    Synced(Share),
    /// -1 where nothing is committed.
    Committed(Vec<(TopicPartition, Offset)>),
    /// To all others, and where something was refused.
    Nothing,
}

/// A member as the leader of its group sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Its id.
    pub id: String,
    /// Set if it keeps its partitions over a restart.
    pub instance: Option<String>,
    /// What it wants, and has.
    pub subscription: Subscription,
}

impl Ask {
    /// The API that it is asked with.
    pub fn api(&self) -> ApiKey {
        match self {
            Ask::Find => ApiKey::FindCoordinator,
            Ask::Join { .. } => ApiKey::JoinGroup,
            Ask::Sync { .. } => ApiKey::SyncGroup,
            Ask::Heartbeat => ApiKey::Heartbeat,
            Ask::Leave => ApiKey::LeaveGroup,
            Ask::Commit(_) => ApiKey::OffsetCommit,
            Ask::Committed(_) => ApiKey::OffsetFetch,
        }
    }

    /// The version to ask in where `common` is the highest that both sides know.
    pub fn version(&self, common: i16) -> i16 {
        match self {
            Ask::Commit(_) => common.min(offsets::COMMIT_VERSION_MAX),
            Ask::Committed(_) => common.min(offsets::FETCH_VERSION_MAX),
            _ => common,
        }
    }

    /// Whether its answer waits for other members.
    pub fn waits(&self) -> bool {
        matches!(self, Ask::Join { .. } | Ask::Sync { .. })
    }

    /// Writes the request's body.
    pub fn encode(&self, w: &mut Writer, version: i16, own: &Identity) {
        let (group_id, member_id) = (own.group.as_str().into(), own.id.as_str().into());
        let (generation_id, group_instance_id) = (own.generation, own.instance.as_deref().map(Into::into));
        match self {
            Ask::Find => coordinator::request(Kind::Group, &own.group).encode(w, version),
            Ask::Join { protocol, session_ms, rebalance_ms, subscription } => JoinGroupRequest {
                group_id,
                session_timeout_ms: *session_ms,
                rebalance_timeout_ms: *rebalance_ms,
                member_id,
                group_instance_id,
                protocol_type: PROTOCOL_TYPE.into(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: (*protocol).into(),
                    metadata: subscription.encode().into(),
                }],
                reason: None,
            }
            .encode(w, version),
            Ask::Sync { protocol, shares } => {
                let share = |(member, share): &(String, Vec<u8>)| SyncGroupRequestAssignment {
                    member_id: member.clone().into(),
                    assignment: share.clone().into(),
                };
                SyncGroupRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    protocol_type: Some(PROTOCOL_TYPE.into()),
                    protocol_name: Some((*protocol).into()),
                    assignments: shares.iter().map(share).collect(),
                }
                .encode(w, version)
            }
            Ask::Heartbeat => {
                HeartbeatRequest { group_id, generation_id, member_id, group_instance_id }.encode(w, version)
            }
            Ask::Leave => {
                let identity =
                    MemberIdentity { member_id: own.id.as_str().into(), group_instance_id, ..Default::default() };
                LeaveGroupRequest { group_id, member_id, members: vec![identity] }.encode(w, version)
            }
            Ask::Commit(positions) => {
                let mut request = offsets::commit(&own.group, positions.iter().map(|(place, next)| (place, *next)));
                (request.generation_id_or_member_epoch, request.member_id) = (generation_id, member_id);
                request.group_instance_id = group_instance_id;
                request.encode(w, version)
            }
            Ask::Committed(places) => offsets::fetch(&own.group, places).encode(w, version),
        }
    }

    /// The answer and its error code, the first if it has several.
    pub fn decode(&self, r: &mut Reader<'_>, version: i16) -> Result<(i16, Answer), DecodeError> {
        Ok(match self {
            Ask::Find => match coordinator::found(&FindCoordinatorResponse::decode(r, version)?) {
                Ok(coordinator) => (0, Answer::Found(coordinator)),
                Err((code, _)) => (code, Answer::Nothing),
            },
            Ask::Join { .. } => {
                let answer = JoinGroupResponse::decode(r, version)?;
                let is_leader = answer.leader == answer.member_id && !answer.skip_assignment;
                let members = answer.members.iter().filter(|_| is_leader);
                let member =
                    |member: &crate::wire::messages::join_group_response::JoinGroupResponseMember<'_>| Joined {
                        id: member.member_id.to_string(),
                        instance: member.group_instance_id.as_deref().map(str::to_string),
                        // Of whom nothing can be read wants nothing.
                        subscription: Subscription::decode(&member.metadata).unwrap_or_default(),
                    };
                let brought = Answer::Joined {
                    id: answer.member_id.to_string(),
                    generation: answer.generation_id,
                    leader: answer.leader.to_string(),
                    members: members.map(member).collect(),
                };
                (answer.error_code, brought)
            }
            Ask::Sync { .. } => {
                let answer = SyncGroupResponse::decode(r, version)?;
                match answer.error_code {
                    0 => (0, Answer::Synced(super::assignment::decode_assignment(&answer.assignment)?)),
                    code => (code, Answer::Nothing),
                }
            }
            Ask::Heartbeat => (HeartbeatResponse::decode(r, version)?.error_code, Answer::Nothing),
            Ask::Leave => {
                let answer = LeaveGroupResponse::decode(r, version)?;
                let of_member = answer.members.first().map_or(0, |member| member.error_code);
                (
                    if answer.error_code == ErrorCode::None.code() { of_member } else { answer.error_code },
                    Answer::Nothing,
                )
            }
            Ask::Commit(_) => (offsets::committed(&OffsetCommitResponse::decode(r, version)?), Answer::Nothing),
            Ask::Committed(_) => {
                let (code, positions) = offsets::fetched(r, version)?;
                (code, Answer::Committed(positions))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::join_group_response::JoinGroupResponseMember;

    fn own() -> Identity {
        Identity { group: "g".into(), instance: None, id: "m".into(), generation: 3 }
    }

    #[test]
    fn everything_can_be_asked_in_every_version() {
        let place = TopicPartition::new("t", 0);
        let subscription = Subscription { topics: vec!["t".into()], owned: None };
        let all = [
            Ask::Find,
            Ask::Join { protocol: "range", session_ms: 1, rebalance_ms: 2, subscription },
            Ask::Sync { protocol: "range", shares: vec![("m".into(), vec![1])] },
            Ask::Heartbeat,
            Ask::Leave,
            Ask::Commit(vec![(place.clone(), 7)]),
            Ask::Committed(vec![place]),
        ];
        for ask in all {
            let versions = ask.api().versions();
            for version in *versions.start()..=ask.version(*versions.end()) {
                let mut w = Writer::new();
                ask.encode(&mut w, version, &own());
                assert!(w.into_bytes().contains(&b'g'), "{ask:?} in version {version}");
            }
        }
    }

    #[test]
    fn only_the_leader_learns_who_shares() {
        let subscription = Subscription { topics: vec!["t".into()], owned: None };
        let ask = Ask::Join { protocol: "range", session_ms: 1, rebalance_ms: 2, subscription: subscription.clone() };
        let decode = |leader: &str, skip_assignment| {
            let member = JoinGroupResponseMember {
                member_id: "m".into(),
                metadata: subscription.encode().into(),
                ..Default::default()
            };
            let response = JoinGroupResponse {
                generation_id: 4,
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                leader: leader.to_string().into(),
                skip_assignment,
                member_id: "m".into(),
                members: vec![member],
                ..Default::default()
            };
            let mut w = Writer::new();
            response.encode(&mut w, 9);
            match ask.decode(&mut Reader::new(&w.into_bytes()), 9).unwrap() {
                (0, Answer::Joined { id, generation: 4, members, .. }) if id == "m" => members,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(decode("m", false), [Joined { id: "m".into(), instance: None, subscription: subscription.clone() }]);
        assert!(decode("m", true).is_empty() && decode("x", false).is_empty());
    }
}
