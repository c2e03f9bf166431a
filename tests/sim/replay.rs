//! The coordinators once more, from the log alone: what they then say must be what the broker says.

use crate::groups::{GROUPS, PLAIN};
use crate::member;
use crate::node::Crashed;
use bytes::Bytes;
use klamm::group::{Caller, Coordinator, Request, Response, Settings, Ticket, partition_of};
use klamm::types::{Now, RequestId, ShardId};
use klamm::wire::batch::batches;
use klamm::wire::codec::{Reader, Records, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::messages::*;
use std::collections::BTreeMap;

pub const OFFSETS: &str = "__consumer_offsets";
/// Of the topic of commits.
pub const PARTITIONS: i32 = 3;
const FETCH: (ApiKey, i16) = (ApiKey::Fetch, 12);
const FETCH_BYTES: i32 = 4 << 20;
const DESCRIBE: (ApiKey, i16) = (ApiKey::DescribeGroups, 6);

/// Asks the broker, which may die.
pub type Ask<'a> = dyn FnMut((ApiKey, i16), &dyn Fn(&mut Writer)) -> Result<Bytes, Crashed> + 'a;

/// All batches of each partition; nothing if the topic is not made yet, which may be so unless it `was_there`.
pub fn read(ask: &mut Ask<'_>, was_there: bool) -> Result<Vec<Vec<u8>>, Crashed> {
    let mut logs = Vec::new();
    for partition in 0..PARTITIONS {
        let (mut log, mut next) = (Vec::new(), 0);
        loop {
            let answer = ask(FETCH, &|w| fetch(partition, next).encode(w, FETCH.1))?;
            let answer = FetchResponse::decode(&mut Reader::new(&answer), FETCH.1).expect("an answer");
            let data = &answer.responses[0].partitions[0];
            if !was_there && logs.is_empty() && data.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                return Ok(logs);
            }
            assert_eq!(data.error_code, ErrorCode::None.code(), "{OFFSETS}-{partition} from {next}");
            let Some(Records::Slice(bytes)) = &data.records else { break };
            let Some(last) = batches(bytes).last() else { break };
            next = last.header.last_offset() + 1;
            log.extend_from_slice(bytes);
        }
        logs.push(log);
    }
    Ok(logs)
}

fn fetch(partition: i32, fetch_offset: i64) -> FetchRequest<'static> {
    let partition = fetch_request::FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: FETCH_BYTES,
        ..Default::default()
    };
    let partitions = vec![partition];
    let topics = vec![fetch_request::FetchTopic { topic: OFFSETS.into(), partitions, ..Default::default() }];
    FetchRequest { max_wait_ms: 0, min_bytes: 0, max_bytes: FETCH_BYTES, topics, ..Default::default() }
}

/// What is said of a group.
#[derive(PartialEq, Debug)]
pub struct Described {
    state: String,
    protocol: String,
    /// Id, instance id and assignment of its members.
    members: Vec<(String, Option<String>, Vec<u8>)>,
    positions: Vec<(String, i32, i64)>,
}

fn described(group: &describe_groups_response::DescribedGroup<'_>, positions: Vec<(String, i32, i64)>) -> Described {
    let member = |member: &describe_groups_response::DescribedGroupMember<'_>| {
        let instance = member.group_instance_id.as_ref().map(|instance| instance.to_string());
        (member.member_id.to_string(), instance, member.member_assignment.to_vec())
    };
    Described {
        state: group.group_state.to_string(),
        protocol: group.protocol_data.to_string(),
        members: group.members.iter().map(member).collect(),
        positions,
    }
}

fn groups() -> Vec<&'static str> {
    [PLAIN, GROUPS].concat()
}

/// What the broker says of all groups.
pub fn describe(ask: &mut Ask<'_>) -> Result<BTreeMap<&'static str, Described>, Crashed> {
    let mut all = BTreeMap::new();
    for group in groups() {
        let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let answer = ask(DESCRIBE, &|w| request.encode(w, DESCRIBE.1))?;
        let answer = DescribeGroupsResponse::decode(&mut Reader::new(&answer), DESCRIBE.1).expect("an answer");
        let found = ask((ApiKey::OffsetFetch, 9), &|w| member::fetch(group, None).encode(w, 9))?;
        let (code, positions) = member::fetched(&mut Reader::new(&found), 9);
        assert_eq!(code, ErrorCode::None.code(), "positions of {group}");
        all.insert(group, described(&answer.groups[0], positions));
    }
    Ok(all)
}

/// Compares the positions of all groups, and the state of those that rest, the only ones whose state is in the log as a whole, if
/// all of it was `taken`; gives their number.
pub fn compare(now: Now, logs: &[Vec<u8>], all: &BTreeMap<&'static str, Described>, taken: bool) -> usize {
    let mut compared = 0;
    for (partition, log) in logs.iter().enumerate() {
        let mut coordinator = Coordinator::new(Settings::default());
        for batch in batches(log) {
            for (offset, record) in (batch.header.base_offset.get()..).zip(batch.records()) {
                let record = record.expect("a sound record");
                coordinator.replay(offset, record.key.expect("a key"), record.value);
            }
        }
        coordinator.loaded(now);
        for group in groups().into_iter().filter(|group| partition_of(group, PARTITIONS) == partition as i32) {
            let live = &all[group];
            let replayed = replayed(&mut coordinator, now, group);
            assert_eq!(live.positions, replayed.positions, "positions of {group}");
            let rests = live.state == "Stable" || (live.state == "Empty" && !live.positions.is_empty());
            if rests && taken {
                assert_eq!(*live, replayed, "{group}");
                compared += 1;
            }
        }
    }
    compared
}

fn replayed(coordinator: &mut Coordinator, now: Now, group: &str) -> Described {
    let ticket = Ticket { shard: ShardId(0), request: RequestId(0), part: 0 };
    let mut ask = |request: &Request<'_>| {
        let caller = Caller {
            ticket,
            version: 6,
            client_id: "sim",
            client_host: "/sim",
            random: [0; 16],
            member_bytes_elsewhere: 0,
            offset_bytes_elsewhere: 0,
        };
        coordinator.handle(now, &caller, request, &|_, _| true);
        coordinator.take_answers().pop().expect("it is answered at once").response
    };
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let Response::DescribeGroups(answer) = ask(&Request::DescribeGroups(request)) else { unreachable!() };
    let all = offset_fetch_request::OffsetFetchRequestGroup { group_id: group.into(), ..Default::default() };
    let all = offset_fetch_request::OffsetFetchRequestGroup { topics: None, ..all };
    let Response::OffsetFetch(found) = ask(&Request::OffsetFetch { group: all, require_stable: false }) else {
        unreachable!()
    };
    let rows = found.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|p| (topic.name.to_string(), p.partition_index, p.committed_offset))
    });
    described(&answer.groups[0], rows.collect())
}
