//! A coordinator with a log in memory and a clock that the test moves.

use klamm::group::{
    Answer, AppendId, Caller, CheckpointError, Coordinator, ListFilter, Request, Response, Restoring, Settings, Ticket,
};
use klamm::types::{Now, RequestId, ShardId, Time};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm::wire::messages::sync_group_request::SyncGroupRequestAssignment;
use klamm::wire::messages::*;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Wall-clock time at which a bench begins.
pub const EPOCH_MS: i64 = 1_000_000;
pub const HOST: &str = "/127.0.0.1";

/// What becomes of appends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Disk {
    Durable,
    /// They stay under way.
    Held,
    Failing(ErrorCode),
}

pub type Stored = (Vec<u8>, Option<Vec<u8>>);

pub struct Bench {
    pub coordinator: Coordinator,
    pub settings: Settings,
    pub now_ms: u64,
    pub disk: Disk,
    /// The partition's records by offset.
    pub log: Vec<Stored>,
    held: VecDeque<(AppendId, Vec<Stored>)>,
    /// What the coordinators beside this one hold.
    pub member_bytes_elsewhere: usize,
    pub offset_bytes_elsewhere: usize,
    tickets: u64,
    randoms: u128,
}

/// Topics of these tests have four partitions; one named `gone...` has none.
pub fn topics(topic: &str, partition: i32) -> bool {
    !topic.starts_with("gone") && (0..4).contains(&partition)
}

impl Bench {
    pub fn new(settings: Settings) -> Bench {
        let mut bench = Bench::loading(settings);
        bench.coordinator.loaded(bench.now());
        bench
    }

    pub fn loading(settings: Settings) -> Bench {
        let coordinator = Coordinator::new(settings.clone());
        let (log, held) = (Vec::new(), VecDeque::new());
        let member_bytes_elsewhere = 0;
        Bench {
            coordinator,
            settings,
            now_ms: 0,
            disk: Disk::Durable,
            log,
            held,
            member_bytes_elsewhere,
            offset_bytes_elsewhere: 0,
            tickets: 0,
            randoms: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now { mono: Time(0).after_ms(self.now_ms), wall_ms: EPOCH_MS + self.now_ms as i64 }
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket { shard: ShardId(0), request: RequestId(self.tickets), part: 0 }
    }

    pub fn send(&mut self, client_id: &str, version: i16, request: &Request<'_>) -> Ticket {
        let ticket = self.ticket();
        self.randoms += 1;
        let random = self.randoms.to_be_bytes();
        let caller = Caller {
            ticket,
            version,
            client_id,
            client_host: HOST,
            random,
            member_bytes_elsewhere: self.member_bytes_elsewhere,
            offset_bytes_elsewhere: self.offset_bytes_elsewhere,
        };
        self.coordinator.handle(self.now(), &caller, request, &topics);
        ticket
    }

    /// Plans what has gathered and lets the disk have it.
    pub fn flush(&mut self) {
        while let Some(append) = self.coordinator.plan_append() {
            let stored =
                append.records.iter().map(|record| (record.key.to_vec(), record.value.as_ref().map(|v| v.to_vec())));
            let append = (append.id, stored.collect());
            self.held.push_back(append);
        }
        while self.disk != Disk::Held && !self.held.is_empty() {
            self.write_one();
        }
    }

    /// Ends the oldest append that is under way.
    pub fn write_one(&mut self) {
        let Some((id, stored)) = self.held.pop_front() else { return };
        let result = match self.disk {
            Disk::Failing(code) => Err(code),
            Disk::Durable | Disk::Held => {
                self.log.extend(stored);
                Ok(self.log.len() as i64)
            }
        };
        self.coordinator.appended(self.now(), id, result);
    }

    /// Moves the clock, stopping wherever something is due.
    pub fn wait(&mut self, ms: u64) -> Vec<Answer> {
        let end = self.now_ms + ms;
        let mut answers = Vec::new();
        loop {
            let due = self.coordinator.deadline().map_or(u64::MAX, |time| time.0 / Time::MILLISECOND);
            if due > end {
                break;
            }
            self.now_ms = self.now_ms.max(due);
            self.coordinator.tick(self.now());
            self.flush();
            answers.append(&mut self.coordinator.take_answers());
        }
        self.now_ms = end;
        answers
    }

    /// Sends a request that is answered at once, with the disk's help.
    pub fn ask(&mut self, version: i16, request: &Request<'_>) -> Response {
        let ticket = self.send("client", version, request);
        self.flush();
        let mut answers = self.coordinator.take_answers();
        let at = answers.iter().position(|answer| answer.ticket == ticket).expect("it is answered at once");
        answers.remove(at).response
    }

    pub fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(self.settings.clone());
        for (offset, (key, value)) in self.log.iter().enumerate() {
            coordinator.replay(offset as i64, key, value.as_deref());
        }
        coordinator
    }

    /// The process ends; another reads what was durable.
    pub fn restart(&mut self) {
        self.held.clear();
        self.coordinator = self.replayed();
        self.coordinator.loaded(self.now());
    }
}

/// Takes over a whole checkpoint, in small pieces; its offset.
pub fn restore(coordinator: &mut Coordinator, bytes: &[u8]) -> Result<i64, CheckpointError> {
    let mut restoring = Restoring::new(bytes.to_vec())?;
    while !coordinator.restore_some(&mut restoring, 100)? {}
    Ok(coordinator.offset_end())
}

pub fn checkpoint(coordinator: &Coordinator) -> Vec<u8> {
    let mut checkpoint = coordinator.checkpoint();
    while coordinator.checkpoint_part(&mut checkpoint, 100) {}
    checkpoint.finish()
}

fn cow(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_string())
}

/// What a consumer says that it wants to read: version 0, topics, no user data.
fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = [&[0, 0][..], &(topics.len() as i32).to_be_bytes()].concat();
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes
}

/// `group`, `member`, `instance`, and the protocols `name:metadata`, apart by commas.
pub fn join(group: &str, member: &str, instance: Option<&str>, protocols: &str) -> JoinGroupRequest<'static> {
    let protocol = |text: &str| {
        let (name, metadata) = text.split_once(':').unwrap_or((text, ""));
        let metadata = match metadata.strip_prefix('@') {
            Some(topics) => subscription(&topics.split('+').collect::<Vec<_>>()),
            None => metadata.as_bytes().to_vec(),
        };
        JoinGroupRequestProtocol { name: cow(name), metadata: Cow::Owned(metadata) }
    };
    JoinGroupRequest {
        group_id: cow(group),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: cow(member),
        group_instance_id: instance.map(cow),
        protocol_type: cow("consumer"),
        protocols: protocols.split(',').filter(|text| !text.is_empty()).map(protocol).collect(),
        reason: None,
    }
}

pub fn sync(
    group: &str,
    member: &str,
    instance: Option<&str>,
    generation: i32,
    assignments: &[(String, String)],
) -> SyncGroupRequest<'static> {
    let assignment = |(member, bytes): &(String, String)| SyncGroupRequestAssignment {
        member_id: cow(member),
        assignment: Cow::Owned(bytes.as_bytes().to_vec()),
    };
    SyncGroupRequest {
        group_id: cow(group),
        generation_id: generation,
        member_id: cow(member),
        group_instance_id: instance.map(cow),
        protocol_type: Some(cow("consumer")),
        protocol_name: Some(cow("range")),
        assignments: assignments.iter().map(assignment).collect(),
    }
}

pub fn beat(group: &str, member: &str, instance: Option<&str>, generation: i32) -> HeartbeatRequest<'static> {
    HeartbeatRequest {
        group_id: cow(group),
        generation_id: generation,
        member_id: cow(member),
        group_instance_id: instance.map(cow),
    }
}

/// Positions as (topic, partition, offset, metadata).
pub fn commit(
    group: &str,
    member: &str,
    instance: Option<&str>,
    generation: i32,
    positions: &[(&str, i32, i64, &str)],
) -> OffsetCommitRequest<'static> {
    let topic = |&(topic, partition_index, committed_offset, metadata): &(&str, i32, i64, &str)| {
        let committed_metadata = Some(cow(metadata));
        let partition = OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch: -1,
            committed_metadata,
        };
        OffsetCommitRequestTopic { name: cow(topic), partitions: vec![partition], ..Default::default() }
    };
    OffsetCommitRequest {
        group_id: cow(group),
        generation_id_or_member_epoch: generation,
        member_id: cow(member),
        group_instance_id: instance.map(cow),
        topics: positions.iter().map(topic).collect(),
        ..Default::default()
    }
}

/// Positions that are asked for; `None` for all.
pub fn fetch(group: &str, positions: Option<&[(&str, i32)]>) -> Request<'static> {
    let topic = |&(topic, partition): &(&str, i32)| OffsetFetchRequestTopics {
        name: cow(topic),
        partition_indexes: vec![partition],
        ..Default::default()
    };
    let topics = positions.map(|positions| positions.iter().map(topic).collect());
    let group = OffsetFetchRequestGroup { group_id: cow(group), topics, ..Default::default() };
    Request::OffsetFetch { group, require_stable: false }
}

pub fn delete_offsets(group: &str, positions: &[(&str, i32)]) -> Request<'static> {
    use klamm::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    let topic = |&(topic, partition_index): &(&str, i32)| OffsetDeleteRequestTopic {
        name: cow(topic),
        partitions: vec![OffsetDeleteRequestPartition { partition_index }],
    };
    Request::OffsetDelete(OffsetDeleteRequest { group_id: cow(group), topics: positions.iter().map(topic).collect() })
}

/// Members as (id, instance id).
pub fn leave(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest<'static> {
    use klamm::wire::messages::leave_group_request::MemberIdentity;
    let identity = |&(member, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: cow(member),
        group_instance_id: instance.map(cow),
        reason: None,
    };
    let member_id = cow(members.first().map_or("", |(member, _)| member));
    LeaveGroupRequest { group_id: cow(group), member_id, members: members.iter().map(identity).collect() }
}

pub fn describe(group: &str) -> Request<'static> {
    Request::DescribeGroups(DescribeGroupsRequest { groups: vec![cow(group)], ..Default::default() })
}

pub fn delete(group: &str) -> Request<'static> {
    Request::DeleteGroups(DeleteGroupsRequest { groups_names: vec![cow(group)] })
}

pub fn list(states: &[&str], types: &[&str]) -> Request<'static> {
    let filter = |filter: &[&str]| filter.iter().map(|text| cow(text)).collect();
    let request = ListGroupsRequest { states_filter: filter(states), types_filter: filter(types) };
    Request::ListGroups(ListFilter::new(&request))
}
