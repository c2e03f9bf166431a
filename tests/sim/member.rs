//! One client of a group: what it asks next and what it makes of the answers. It may fall silent, die, and lose messages.

use klamm::client::membership::Standing;
use klamm::types::{Now, Time};
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::leave_group_request::MemberIdentity;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::*;
use std::collections::BTreeMap;

/// What the groups read.
pub const TOPIC: &str = "read";
pub const PARTITIONS: i32 = 4;
/// Short beside a life of the broker, long beside a write.
const SESSION_MS: i32 = 60;
pub const REBALANCE_MS: i32 = 60;
const HEARTBEAT_MS: u64 = 15;
const COMMIT_MS: u64 = 10;
const RETRY_MS: u64 = 2;

#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    Find,
    /// The topic that is read.
    Create,
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(Vec<(i32, i64)>),
    Positions,
}

impl Ask {
    pub fn api(&self) -> (ApiKey, i16) {
        match self {
            Ask::Find => (ApiKey::FindCoordinator, 6),
            Ask::Create => (ApiKey::CreateTopics, 7),
            Ask::Join => (ApiKey::JoinGroup, 9),
            Ask::Sync => (ApiKey::SyncGroup, 5),
            Ask::Heartbeat => (ApiKey::Heartbeat, 4),
            Ask::Leave => (ApiKey::LeaveGroup, 5),
            Ask::Commit(_) => (ApiKey::OffsetCommit, 9),
            Ask::Positions => (ApiKey::OffsetFetch, 9),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The coordinator is to be found, the first time in a life of the broker.
    Lost,
    NoTopic,
    Out,
    Joined,
    /// How far its partitions are committed is to be learnt.
    Assigned,
    Reading,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub group: String,
    pub instance: Option<String>,
    pub id: String,
    pub generation: i32,
    /// Of its generation; a group that ended and begins anew counts from 1 again, with another one.
    pub leader: String,
    pub phase: Phase,
    pub owned: Vec<i32>,
    pub positions: BTreeMap<i32, i64>,
    /// As the leader: what everybody gets.
    shares: Vec<(String, String)>,
    pub silent_until: Time,
    pub retry_at: Time,
    beat_at: Time,
    commit_at: Time,
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

/// An answer's error, and for whom its partitions are, if it hands some out.
pub struct Heard {
    pub code: ErrorCode,
    pub share: Option<Vec<i32>>,
    pub positions: Option<Vec<(i32, i64)>>,
}

impl Member {
    pub fn new(group: &str, instance: Option<String>) -> Member {
        Member {
            group: group.to_string(),
            instance,
            id: String::new(),
            generation: -1,
            leader: String::new(),
            phase: Phase::Lost,
            owned: Vec::new(),
            positions: BTreeMap::new(),
            shares: Vec::new(),
            silent_until: Time(0),
            retry_at: Time(0),
            beat_at: Time(0),
            commit_at: Time(0),
        }
    }

    /// Whom it is, whatever its id: a static member keeps its partitions when it comes back under another.
    pub fn name(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.id)
    }

    /// It ends and is started again, with what a process knows then.
    pub fn die(&mut self, silent_until: Time) {
        let fresh = Member::new(&self.group, self.instance.clone());
        *self = Member { silent_until, phase: Phase::Out, ..fresh };
    }

    /// When it will have something to ask.
    pub fn wake(&self) -> Time {
        let due = match self.phase {
            Phase::Reading if self.owned.is_empty() => self.beat_at,
            Phase::Reading => self.beat_at.min(self.commit_at),
            _ => Time(0),
        };
        due.max(self.retry_at).max(self.silent_until)
    }

    pub fn next(&mut self, now: Now) -> Option<Ask> {
        if self.wake() > now.mono {
            return None;
        }
        Some(match self.phase {
            Phase::Lost => Ask::Find,
            Phase::NoTopic => Ask::Create,
            Phase::Out => Ask::Join,
            Phase::Joined => Ask::Sync,
            Phase::Assigned => Ask::Positions,
            Phase::Reading if self.commit_at <= now.mono && !self.owned.is_empty() => {
                self.commit_at = now.mono.after_ms(COMMIT_MS);
                self.positions.values_mut().for_each(|position| *position += 1);
                Ask::Commit(self.positions.iter().map(|(&partition, &next)| (partition, next)).collect())
            }
            Phase::Reading => {
                self.beat_at = now.mono.after_ms(HEARTBEAT_MS);
                Ask::Heartbeat
            }
        })
    }

    pub fn encode(&self, ask: &Ask, w: &mut Writer) {
        let (_, version) = ask.api();
        let (group_id, member_id) = (self.group.as_str().into(), self.id.as_str().into());
        let (generation_id, group_instance_id) = (self.generation, self.instance.as_deref().map(Into::into));
        match ask {
            Ask::Find => {
                let coordinator_keys = vec![group_id];
                FindCoordinatorRequest { coordinator_keys, ..Default::default() }.encode(w, version);
            }
            Ask::Create => create_topic().encode(w, version),
            Ask::Join => {
                let protocols = vec![JoinGroupRequestProtocol { name: "share".into(), metadata: b"any"[..].into() }];
                JoinGroupRequest {
                    group_id,
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: REBALANCE_MS,
                    member_id,
                    group_instance_id,
                    protocol_type: "sim".into(),
                    protocols,
                    reason: None,
                }
                .encode(w, version);
            }
            Ask::Sync => {
                let share = |(member, share): &(String, String)| SyncGroupRequestAssignment {
                    member_id: member.clone().into(),
                    assignment: share.clone().into_bytes().into(),
                };
                SyncGroupRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    protocol_type: Some("sim".into()),
                    protocol_name: Some("share".into()),
                    assignments: self.shares.iter().map(share).collect(),
                }
                .encode(w, version);
            }
            Ask::Heartbeat => {
                HeartbeatRequest { group_id, generation_id, member_id, group_instance_id }.encode(w, version);
            }
            Ask::Leave => {
                let identity = MemberIdentity { member_id, group_instance_id, reason: None };
                LeaveGroupRequest { group_id, members: vec![identity], ..Default::default() }.encode(w, version);
            }
            Ask::Commit(positions) => {
                let mut request = commit(&self.group, TOPIC, positions, "");
                (request.generation_id_or_member_epoch, request.member_id) = (generation_id, member_id);
                request.group_instance_id = group_instance_id;
                request.encode(w, version);
            }
            Ask::Positions => fetch(&self.group, Some((TOPIC, &self.owned))).encode(w, version),
        }
    }

    /// What an answer says; the member takes it in by [`Member::take`], if it gets it.
    pub fn decode(&self, ask: &Ask, r: &mut Reader<'_>) -> (Heard, Option<JoinGroupResponse<'static>>) {
        let (_, version) = ask.api();
        let (mut share, mut positions, mut joined) = (None, None, None);
        let code = match ask {
            Ask::Find => FindCoordinatorResponse::decode(r, version).expect("an answer").coordinators[0].error_code,
            Ask::Create => match CreateTopicsResponse::decode(r, version).expect("an answer").topics[0].error_code {
                code if code == ErrorCode::TopicAlreadyExists.code() => 0,
                code => code,
            },
            Ask::Join => {
                let answer = JoinGroupResponse::decode(r, version).expect("an answer");
                joined = Some(owned(&answer));
                answer.error_code
            }
            Ask::Sync => {
                let answer = SyncGroupResponse::decode(r, version).expect("an answer");
                share = Some(answer.assignment.iter().map(|&digit| i32::from(digit - b'0')).collect());
                answer.error_code
            }
            Ask::Heartbeat => HeartbeatResponse::decode(r, version).expect("an answer").error_code,
            Ask::Leave => LeaveGroupResponse::decode(r, version).expect("an answer").members[0].error_code,
            Ask::Commit(_) => {
                let answer = OffsetCommitResponse::decode(r, version).expect("an answer");
                let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
                codes.max().unwrap_or(0)
            }
            Ask::Positions => {
                let (code, found) = fetched(r, version);
                positions = Some(found.into_iter().map(|(_, partition, offset)| (partition, offset)).collect());
                code
            }
        };
        (Heard { code: self::code(code), share, positions }, joined)
    }

    pub fn take(&mut self, now: Now, ask: &Ask, heard: Heard, joined: Option<JoinGroupResponse<'static>>) {
        let retry_at = now.mono.after_ms(RETRY_MS);
        match (Standing::of(heard.code.code()), ask) {
            (Standing::Member, Ask::Find) => self.phase = if self.generation < 0 { Phase::Out } else { Phase::Reading },
            (Standing::Member, Ask::Create) => self.phase = Phase::Out,
            (Standing::Member, Ask::Join) => {
                let answer = joined.expect("a join is answered by one");
                (self.id, self.generation) = (answer.member_id.to_string(), answer.generation_id);
                self.leader = answer.leader.to_string();
                let count = answer.members.len();
                let share = |(i, member): (usize, &join_group_response::JoinGroupResponseMember<'_>)| {
                    let its = (0..PARTITIONS).filter(|partition| *partition as usize % count == i);
                    (member.member_id.to_string(), its.map(|partition| partition.to_string()).collect())
                };
                let leads = answer.leader == answer.member_id && !answer.skip_assignment;
                self.shares = if leads { answer.members.iter().enumerate().map(share).collect() } else { Vec::new() };
                self.phase = Phase::Joined;
            }
            (Standing::Member, Ask::Sync) => {
                self.owned = heard.share.expect("a share");
                (self.phase, self.beat_at) = (Phase::Assigned, now.mono.after_ms(HEARTBEAT_MS));
            }
            (Standing::Member, Ask::Positions) => {
                let positions = heard.positions.expect("positions").into_iter();
                self.positions = positions.map(|(partition, offset)| (partition, offset.max(0))).collect();
                self.phase = Phase::Reading;
            }
            (Standing::Member, _) => {}
            (Standing::IdGiven, _) => self.id = joined.expect("a join is answered by one").member_id.into(),
            // The group may have ended with its last member.
            (Standing::MembershipLost, _) | (Standing::Refused(ErrorCode::GroupIdNotFound), Ask::Commit(_)) => {
                (self.id, self.generation, self.phase) = (String::new(), -1, Phase::Out);
                self.retry_at = retry_at;
            }
            (Standing::GenerationLost | Standing::Rebalance, _) => {
                (self.phase, self.retry_at) = (Phase::Out, retry_at);
            }
            (Standing::Refused(ErrorCode::UnknownTopicOrPartition), Ask::Commit(_)) => self.phase = Phase::NoTopic,
            (Standing::CoordinatorMoved, _) => {
                self.phase = if self.phase == Phase::Reading { Phase::Reading } else { Phase::Lost };
                self.retry_at = retry_at;
            }
            (Standing::CoordinatorLoading, _) => self.retry_at = retry_at,
            (standing, ask) => panic!("a client of good will asked {ask:?} and got {standing:?}"),
        }
    }
}

fn owned(answer: &JoinGroupResponse<'_>) -> JoinGroupResponse<'static> {
    let text = |text: &str| text.to_string().into();
    let member = |member: &join_group_response::JoinGroupResponseMember<'_>| {
        let member_id = text(&member.member_id);
        join_group_response::JoinGroupResponseMember { member_id, ..Default::default() }
    };
    JoinGroupResponse {
        generation_id: answer.generation_id,
        leader: text(&answer.leader),
        skip_assignment: answer.skip_assignment,
        member_id: text(&answer.member_id),
        members: answer.members.iter().map(member).collect(),
        ..Default::default()
    }
}

fn create_topic() -> CreateTopicsRequest<'static> {
    let topic = create_topics_request::CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: i32::MAX, ..Default::default() }
}

/// A commit by nobody, to a group without members.
pub fn commit<'a>(
    group: &'a str,
    topic: &'a str,
    positions: &[(i32, i64)],
    metadata: &'a str,
) -> OffsetCommitRequest<'a> {
    let partition = |&(partition_index, committed_offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    };
    let partitions = positions.iter().map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() }];
    OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() }
}

/// A question for some positions in one topic, or for all.
pub fn fetch<'a>(group: &'a str, which: Option<(&'a str, &[i32])>) -> OffsetFetchRequest<'a> {
    let topic = |(name, partitions): (&'a str, &[i32])| OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    let topics = which.map(|which| vec![topic(which)]);
    let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }];
    OffsetFetchRequest { groups, require_stable: true, ..Default::default() }
}

/// The error and the positions: topic, partition, offset.
pub fn fetched(r: &mut Reader<'_>, version: i16) -> (i16, Vec<(String, i32, i64)>) {
    let answer = OffsetFetchResponse::decode(r, version).expect("an answer");
    let group = &answer.groups[0];
    let row = |topic: &str, p: &offset_fetch_response::OffsetFetchResponsePartitions<'_>| {
        (topic.to_string(), p.partition_index, p.committed_offset)
    };
    let rows = group.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| row(&topic.name, p)));
    (group.error_code, rows.collect())
}
