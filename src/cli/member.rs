//! A member of a consumer group, of the classic protocol with range assignment.

use super::client::{Client, Cluster, Coordinated};
use super::failure::{Failure, Result};
use super::operation::{TopicPartition, by_topic};
use crate::client::assignment::{Share, Subscription, decode_assignment, encode_assignment, ranges};
use crate::client::membership::Standing;
use crate::types::{BrokerId, Offset};
use crate::wire::error::ErrorCode;
use crate::wire::messages::join_group_request::JoinGroupRequestProtocol;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::wire::messages::{
    ApiKey, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Kafka's defaults.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
const AGAIN_INTERVAL: Duration = Duration::from_millis(50);
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// The last version of OffsetCommit in which topics have names.
const OFFSET_COMMIT_BY_NAME: i16 = 9;

pub struct Member {
    group: String,
    topics: Vec<String>,
    coordinator: BrokerId,
    id: String,
    generation: i32,
    /// When the coordinator last heard of this member.
    heard: Instant,
}

/// What the coordinator says to a member that shows itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    Fine,
    /// The group forms anew: join again.
    Rejoin,
}

impl Member {
    pub fn new(client: &mut Client, group: &str, topics: &[String]) -> Result<Member> {
        let coordinator = client.coordinator(Coordinated::Group, group)?;
        let (group, topics) = (group.to_string(), topics.to_vec());
        Ok(Member { group, topics, coordinator, id: String::new(), generation: -1, heard: Instant::now() })
    }

    /// Joins, or joins again, until the group stands: the partitions that are now this member's.
    pub fn join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>> {
        let deadline = Instant::now() + REBALANCE_TIMEOUT + client.timeout();
        loop {
            let failure = match self.try_join(client) {
                Ok(partitions) => return Ok(partitions),
                Err(failure) => failure,
            };
            let code = failure.code().map_or(ErrorCode::UnknownServerError.code(), ErrorCode::code);
            match Standing::of(code) {
                _ if Instant::now() > deadline => return Err(failure),
                // Its id is set by the answer.
                Standing::Member | Standing::IdGiven | Standing::Rebalance | Standing::GenerationLost => {}
                Standing::MembershipLost => self.id.clear(),
                Standing::CoordinatorMoved => {
                    std::thread::sleep(AGAIN_INTERVAL);
                    self.coordinator = client.coordinator(Coordinated::Group, &self.group)?;
                }
                Standing::CoordinatorLoading => std::thread::sleep(AGAIN_INTERVAL),
                Standing::Refused(_) => return Err(failure),
            }
        }
    }

    fn try_join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>> {
        let what = format!("group {}", self.group);
        let request = JoinGroupRequest {
            group_id: self.group.clone().into(),
            session_timeout_ms: ms(SESSION_TIMEOUT),
            rebalance_timeout_ms: ms(REBALANCE_TIMEOUT),
            member_id: self.id.clone().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: PROTOCOL.into(),
                metadata: Subscription { topics: self.topics.clone(), owned: None }.encode().into(),
            }],
            ..Default::default()
        };
        let timeout = client.timeout();
        let link = client.broker(self.coordinator)?;
        // The coordinator answers when all members have joined.
        link.patience(REBALANCE_TIMEOUT + timeout)?;
        let answer = link.ask(&request)?;
        if !answer.member_id.is_empty() {
            self.id = answer.member_id.to_string();
        }
        Failure::check(&what, answer.error_code, None)?;
        self.generation = answer.generation_id;
        let subscription = |metadata: &[u8]| Subscription::decode(metadata).unwrap_or_default().topics;
        let members: BTreeMap<String, Vec<String>> = answer
            .members
            .iter()
            .map(|member| (member.member_id.to_string(), subscription(&member.metadata)))
            .collect();
        let assignments = match *answer.leader == self.id && !answer.skip_assignment {
            true => self.assign(client, &members)?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments,
            ..Default::default()
        };
        let link = client.broker(self.coordinator)?;
        let answer = link.ask(&request)?;
        Failure::check(&what, answer.error_code, None)?;
        let share = decode_assignment(&answer.assignment)
            .map_err(|error| Failure::Other(format!("{what}: the assignment cannot be read: {error}")))?;
        link.patience(timeout)?;
        self.heard = Instant::now();
        Ok(places(&share))
    }

    /// What the leader of a group decides for all members.
    fn assign(
        &self,
        client: &mut Client,
        members: &BTreeMap<String, Vec<String>>,
    ) -> Result<Vec<SyncGroupRequestAssignment<'static>>> {
        let mut topics: Vec<&str> = members.values().flatten().map(String::as_str).collect();
        topics.sort_unstable();
        topics.dedup();
        let cluster = client.cluster(Some(&topics))?;
        let assignment = |(member, partitions): (&String, Vec<TopicPartition>)| SyncGroupRequestAssignment {
            member_id: member.clone().into(),
            assignment: encode_assignment(&share(&partitions)).into(),
        };
        Ok(range(&cluster, members).into_iter().map(assignment).collect())
    }

    /// Shows the coordinator that this member lives, if that is due.
    pub fn beat(&mut self, client: &mut Client) -> Result<Heard> {
        if self.heard.elapsed() < HEARTBEAT_INTERVAL {
            return Ok(Heard::Fine);
        }
        let request = HeartbeatRequest {
            group_id: self.group.clone().into(),
            generation_id: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: None,
        };
        let code = client.broker(self.coordinator)?.ask(&request)?.error_code;
        self.heard(code)
    }

    fn heard(&mut self, code: i16) -> Result<Heard> {
        match Standing::of(code) {
            Standing::Member => {
                self.heard = Instant::now();
                Ok(Heard::Fine)
            }
            Standing::MembershipLost => {
                self.id.clear();
                Ok(Heard::Rejoin)
            }
            Standing::Refused(_) => {
                Failure::check(format_args!("group {}", self.group), code, None).map(|()| Heard::Fine)
            }
            Standing::IdGiven
            | Standing::Rebalance
            | Standing::GenerationLost
            | Standing::CoordinatorMoved
            | Standing::CoordinatorLoading => Ok(Heard::Rejoin),
        }
    }

    /// Commits where the group is to go on.
    pub fn commit(&mut self, client: &mut Client, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<Heard> {
        if offsets.is_empty() {
            return Ok(Heard::Fine);
        }
        let partition = |partition_index, committed_offset: &Offset| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: *committed_offset,
            committed_leader_epoch: -1,
            committed_metadata: Some("".into()),
        };
        let topics = by_topic(offsets, partition);
        let topic = |(name, partitions): (String, _)| OffsetCommitRequestTopic {
            name: name.into(),
            partitions,
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone().into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone().into(),
            group_instance_id: None,
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let link = client.broker(self.coordinator)?;
        let version = link.version(ApiKey::OffsetCommit)?.min(OFFSET_COMMIT_BY_NAME);
        let answer = link.ask_in(&request, version)?;
        let codes =
            answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| partition.error_code));
        let code = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
        self.heard(code)
    }

    /// So that the others need not wait for the session to end.
    pub fn leave(&mut self, client: &mut Client) -> Result<()> {
        if self.id.is_empty() {
            return Ok(());
        }
        let member =
            MemberIdentity { member_id: self.id.clone().into(), group_instance_id: None, ..Default::default() };
        let request = LeaveGroupRequest {
            group_id: self.group.clone().into(),
            member_id: self.id.clone().into(),
            members: vec![member],
        };
        let code = client.broker(self.coordinator)?.ask(&request)?.error_code;
        self.id.clear();
        Failure::check(format_args!("leaving the group {}", self.group), code, None)
    }
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Kafka's RangeAssignor: of each topic, the members that want it get runs of partitions in the order of their ids.
fn range<'a>(
    cluster: &Cluster,
    members: &'a BTreeMap<String, Vec<String>>,
) -> BTreeMap<&'a String, Vec<TopicPartition>> {
    let mut assigned: BTreeMap<&String, Vec<TopicPartition>> = members.keys().map(|id| (id, Vec::new())).collect();
    for topic in &cluster.topics {
        let wanting: Vec<&String> =
            members.iter().filter(|(_, topics)| topics.contains(&topic.name)).map(|(id, _)| id).collect();
        if wanting.is_empty() {
            continue;
        }
        let runs = ranges(wanting.len(), topic.partitions.len());
        for (id, run) in wanting.into_iter().zip(runs) {
            let run = topic.partitions[run].iter().map(|partition| TopicPartition::new(&topic.name, partition.index));
            assigned.entry(id).or_default().extend(run);
        }
    }
    assigned
}

fn share(partitions: &[TopicPartition]) -> Share {
    by_topic(partitions.iter().map(|place| (place, ())), |partition, ()| partition)
}

fn places(share: &Share) -> Vec<TopicPartition> {
    let places =
        share.iter().flat_map(|(topic, all)| all.iter().map(|&partition| TopicPartition::new(topic, partition)));
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::{Partition, Topic};
    use crate::types::Epoch;

    fn topic(name: &str, partitions: i32) -> Topic {
        let partition = |index| Partition {
            index,
            leader: Some(BrokerId(1)),
            leader_epoch: Epoch(0),
            replicas: Vec::new(),
            in_sync: Vec::new(),
            offline: Vec::new(),
        };
        let partitions = (0..partitions).map(partition).collect();
        Topic { name: name.into(), id: Default::default(), is_internal: false, error_code: 0, partitions }
    }

    #[test]
    fn ranges_are_kafkas() {
        let cluster = Cluster {
            id: None,
            controller: BrokerId(1),
            nodes: Vec::new(),
            topics: vec![topic("a", 5), topic("b", 1), topic("c", 2)],
        };
        let both = || vec!["a".to_string(), "b".into()];
        let members =
            BTreeMap::from([("m1".to_string(), both()), ("m2".into(), both()), ("m3".into(), vec!["x".into()])]);
        let assigned = range(&cluster, &members);
        let shown = |id: &str| assigned[&id.to_string()].iter().map(TopicPartition::to_string).collect::<Vec<_>>();
        assert_eq!(shown("m1"), ["a-0", "a-1", "a-2", "b-0"]);
        assert_eq!(shown("m2"), ["a-3", "a-4"]);
        assert!(shown("m3").is_empty());
    }

    #[test]
    fn shares_are_places() {
        let all = vec![TopicPartition::new("t", 0), TopicPartition::new("t", 2), TopicPartition::new("u", 1)];
        assert_eq!(share(&all), [("t".to_string(), vec![0, 2]), ("u".to_string(), vec![1])]);
        assert_eq!(places(&share(&all)), all);
    }
}
