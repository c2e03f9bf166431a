//! What one peer can do to a coordinator: names that come again, much of everything, and work that takes many turns.

use crate::bench::{Bench, Disk, commit, delete, describe, fetch, join, leave, list, restore};
use klamm::group::{Coordinator, Request, Response, Settings};
use klamm::types::Time;
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use klamm::wire::messages::*;

const NOBODY: Option<&str> = Option::None;

fn code(response: &Response) -> ErrorCode {
    let code = match response {
        Response::JoinGroup(r) => r.error_code,
        Response::LeaveGroup(r) => r.error_code,
        Response::DescribeGroups(r) => r.groups[0].error_code,
        Response::DeleteGroups(r) => r.results[0].error_code,
        Response::OffsetCommit(r) => r.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    };
    ErrorCode::from_code(code).unwrap()
}

fn commit_one(bench: &mut Bench, group: &str, topic: &str, metadata: &str) -> ErrorCode {
    let request = commit(group, "", NOBODY, -1, &[(topic, 0, 1, metadata)]);
    code(&bench.ask(9, &Request::OffsetCommit(request)))
}

/// Lets the coordinator do what takes many turns; how many it took.
fn turns(bench: &mut Bench) -> usize {
    let mut turns = 0;
    while bench.coordinator.deadline() == Some(Time(0)) {
        bench.coordinator.tick(bench.now());
        bench.flush();
        turns += 1;
    }
    turns
}

#[test]
fn a_protocol_that_is_named_twice_counts_once() {
    let mut bench = Bench::new(Settings::default());
    let twice = Request::JoinGroup(join("g", "", NOBODY, "range:first,range:second,other:x,range:first"));
    bench.send("a", 3, &twice);
    bench.send("b", 3, &twice);
    let answers = bench.wait(200);
    let joined = |response: &Response| match response {
        Response::JoinGroup(r) => (r.error_code, r.generation_id, r.protocol_name.as_deref().map(str::to_string)),
        other => panic!("{other:?}"),
    };
    for answer in &answers {
        assert_eq!(joined(&answer.response), (0, 1, Some("range".to_string())));
    }
    let leaders = answers.iter().filter_map(|answer| match &answer.response {
        Response::JoinGroup(r) if !r.members.is_empty() => Some(r),
        _ => Option::None,
    });
    let leader = leaders.collect::<Vec<_>>();
    assert_eq!((answers.len(), leader.len()), (2, 1));
    assert!(leader[0].members.iter().all(|member| *member.metadata == *b"first"));
    // The same again is the same: its answer was lost.
    let id = leader[0].member_id.to_string();
    let again = join("g", &id, NOBODY, "range:first,range:second,other:x,range:first");
    let answer = bench.ask(3, &Request::JoinGroup(again));
    assert_eq!(joined(&answer), (0, 1, Some("range".to_string())));
    // One that only some offer is none that all have.
    let alone = Request::JoinGroup(join("g", "", NOBODY, "third:x,third:y"));
    assert_eq!(code(&bench.ask(3, &alone)), InconsistentGroupProtocol);
}

#[test]
fn a_group_that_is_named_often_is_described_once() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(commit_one(&mut bench, "g", "t", ""), None);
    let groups = ["g", "none", "g"].repeat(2_600).into_iter().map(Into::into).collect();
    let request = Request::DescribeGroups(DescribeGroupsRequest { groups, ..Default::default() });
    let Response::DescribeGroups(response) = bench.ask(6, &request) else { panic!() };
    let names: Vec<&str> = response.groups.iter().map(|group| &*group.group_id).collect();
    assert_eq!(names, ["g", "none"]);
}

#[test]
fn positions_that_are_asked_for_often_are_answered_once() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(commit_one(&mut bench, "g", "t", &"m".repeat(4096)), None);
    let asked = [("t", 0), ("u", 0), ("t", 0), ("t", 1)].repeat(1000);
    for (group, expected) in [("g", 1), ("none", -1)] {
        let Response::OffsetFetch(response) = bench.ask(9, &fetch(group, Some(&asked))) else { panic!() };
        let rows = response.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| (topic.name.to_string(), partition.partition_index, partition.committed_offset))
        });
        let expected = [("t".to_string(), 0, expected), ("u".to_string(), 0, -1), ("t".to_string(), 1, -1)];
        assert_eq!(rows.collect::<Vec<_>>(), expected, "{group}");
    }
}

#[test]
fn an_answer_that_would_be_too_large_is_not_made() {
    let settings = Settings { answer_bytes_max: 20_000, ..Settings::default() };
    let mut bench = Bench::new(settings);
    let metadata = "m".repeat(4096);
    for topic in ["a", "b", "c", "d", "e"] {
        assert_eq!(commit_one(&mut bench, "g", topic, &metadata), None);
    }
    let some: Vec<(&str, i32)> = ["a", "b", "c", "d", "a"].map(|topic| (topic, 0)).to_vec();
    let all = [&some[..], &[("e", 0)]].concat();
    assert!(matches!(bench.ask(9, &fetch("g", Some(&some))), Response::OffsetFetch(_)));
    assert_eq!(bench.ask(9, &fetch("g", Some(&all))), Response::TooLarge);
    assert_eq!(bench.ask(9, &fetch("g", Option::None)), Response::TooLarge);
    let absent: Vec<(&str, i32)> = (0..1000).map(|index| ("t", index)).collect();
    assert_eq!(bench.ask(9, &fetch("none", Some(&absent))), Response::TooLarge);
    assert!(matches!(bench.ask(6, &describe("g")), Response::DescribeGroups(_)));
    assert_eq!(bench.ask(6, &describe(&"x".repeat(10_000))), Response::TooLarge);
    let member = join("h", "", Some("one"), &format!("range:{}", "x".repeat(20_000)));
    bench.send("app", 9, &Request::JoinGroup(member));
    bench.wait(200);
    assert_eq!(bench.ask(6, &describe("h")), Response::TooLarge);
    assert!(matches!(bench.ask(5, &list(&[], &[])), Response::ListGroups(_)));
    assert_eq!(commit_one(&mut bench, &"x".repeat(20_000), "t", ""), None);
    assert_eq!(bench.ask(5, &list(&[], &[])), Response::TooLarge);
}

/// Ids that were given out and have not joined, in groups with long names.
#[test]
fn ids_that_were_given_out_take_memory() {
    let settings = Settings { member_bytes_max: 1 << 20, ..Settings::default() };
    let mut bench = Bench::new(settings);
    let mut given = 0;
    let refused = loop {
        let group = format!("{}{given}", "g".repeat(30_000));
        match code(&bench.ask(4, &Request::JoinGroup(join(&group, "", NOBODY, "range:m")))) {
            MemberIdRequired => given += 1,
            other => break other,
        }
        assert!(given < 1000 && bench.coordinator.member_bytes() <= 1 << 20);
    };
    assert_eq!((refused, given), (GroupMaxSizeReached, 34));
    assert!(bench.coordinator.member_bytes() > 34 * 30_000);
    bench.wait(10_000);
    assert_eq!(bench.coordinator.member_bytes(), 0, "their time is over");
    // The groups are empty ones then, which go as such.
    assert!(bench.coordinator.group_count() == 34 && bench.coordinator.offset_bytes() > 34 * 30_000);
    bench.wait(bench.settings.retention_check_ms);
    assert_eq!((bench.coordinator.group_count(), bench.coordinator.offset_bytes()), (0, 0));
}

#[test]
fn positions_have_a_limit_of_memory() {
    let settings = Settings { offset_bytes_max: 100_000, ..Settings::default() };
    let mut bench = Bench::new(settings);
    let mut groups = 0;
    let refused = loop {
        match commit_one(&mut bench, &format!("g{groups}"), "t", &"m".repeat(1000)) {
            None => groups += 1,
            other => break other,
        }
        assert!(groups < 1000);
    };
    assert_eq!(refused, InvalidCommitOffsetSize);
    let held = bench.coordinator.offset_bytes();
    assert!((50_000..=100_000).contains(&held), "{groups} groups take {held} bytes");
    assert_eq!(commit_one(&mut bench, "g0", "t", &"n".repeat(1000)), None, "it does not grow");
    assert_eq!(commit_one(&mut bench, "g0", "t", &"n".repeat(4000)), InvalidCommitOffsetSize);
    let new = Request::JoinGroup(join(&"new".repeat(1000), "", NOBODY, "range:m"));
    assert_eq!(code(&bench.ask(4, &new)), GroupMaxSizeReached);
    // Who starts again knows as much of it.
    bench.restart();
    assert_eq!(bench.coordinator.offset_bytes(), held);
    assert_eq!(code(&bench.ask(2, &delete("g1"))), None);
    assert_eq!(commit_one(&mut bench, "g1", "t", ""), None);
    bench.offset_bytes_elsewhere = 100_000;
    assert_eq!(commit_one(&mut bench, "g2", "u", ""), InvalidCommitOffsetSize);
}

/// A commit of so many positions of a topic.
fn large_commit(group: &'static str, topic: &'static str, positions: i32) -> Request<'static> {
    let partition = |partition_index: i32| OffsetCommitRequestPartition {
        partition_index: partition_index % 4,
        committed_offset: 1,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let partitions = (0..positions).map(partition).collect();
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() };
    Request::OffsetCommit(OffsetCommitRequest { topics: vec![topic], ..commit(group, "", NOBODY, -1, &[]) })
}

/// As in Kafka, whose batches are as large.
#[test]
fn positions_that_do_not_fit_into_one_batch_are_refused_whole() {
    let mut bench = Bench::new(Settings::default());
    for (positions, expected) in [(20_000, None), (30_000, UnknownServerError), (600_000, UnknownServerError)] {
        let answer = bench.ask(9, &large_commit("g", "t", positions));
        let Response::OffsetCommit(response) = &answer else { panic!() };
        let partitions = &response.topics[0].partitions;
        assert_eq!(partitions.len() as i32, positions);
        assert!(partitions.iter().all(|partition| partition.error_code == expected.code()), "{positions}");
        assert_eq!(bench.log.len(), 20_000, "nothing of what is too large is stored");
    }
}

/// Each group looks at its own records that wait for the disk, not at all of them.
#[test]
fn many_groups_are_deleted_behind_a_large_commit() {
    const GROUPS: usize = 3_000;
    let mut bench = Bench::new(Settings::default());
    let groups: Vec<String> = (0..GROUPS).map(|number| format!("g{number}")).collect();
    for group in &groups {
        assert_eq!(commit_one(&mut bench, group, "t", ""), None);
    }
    bench.disk = Disk::Held;
    for group in &groups[..2] {
        bench.send("app", 9, &Request::OffsetCommit(commit(group, "", NOBODY, -1, &[("u", 0, 1, "")])));
    }
    for _ in 0..40 {
        bench.send("app", 9, &large_commit("large", "t", 15_000));
    }
    let groups_names = groups.iter().map(|name| name.as_str().into()).collect();
    let ticket = bench.send("app", 2, &Request::DeleteGroups(DeleteGroupsRequest { groups_names }));
    bench.disk = Disk::Durable;
    bench.flush();
    let answers = bench.coordinator.take_answers();
    let answer = answers.iter().find(|answer| answer.ticket == ticket).expect("it is answered");
    let Response::DeleteGroups(response) = &answer.response else { panic!() };
    assert_eq!(response.results.len(), GROUPS);
    assert!(response.results.iter().all(|result| result.error_code == 0));
    assert_eq!(bench.coordinator.group_count(), 1, "what was on its way is deleted, too");
}

/// Only static members are left, all are away, and they gave a rebalance no time.
#[test]
fn a_rebalance_without_time_does_not_come_again_at_once() {
    let mut bench = Bench::new(Settings::default());
    let member = |instance: Option<&str>| {
        let request = JoinGroupRequest { rebalance_timeout_ms: 0, ..join("g", "", instance, "range:m") };
        Request::JoinGroup(request)
    };
    bench.send("app", 9, &member(Some("one")));
    bench.wait(200);
    bench.coordinator.take_answers();
    bench.send("app", 3, &member(NOBODY));
    let dynamic = "app-00000000-0000-4000-8000-000000000002";
    bench.ask(3, &Request::LeaveGroup(leave("g", &[(dynamic, NOBODY)])));
    let (mut ticks, end_ms) = (0, bench.now_ms + 5_000);
    while let Some(due) = bench.coordinator.deadline().map(|due| due.0 / Time::MILLISECOND)
        && due <= end_ms
    {
        bench.now_ms = bench.now_ms.max(due);
        bench.coordinator.tick(bench.now());
        bench.flush();
        ticks += 1;
        assert!(ticks < 60, "the same deadline again and again");
    }
    assert!(ticks > 0);
}

/// Left between JoinGroup and SyncGroup.
#[test]
fn a_group_that_is_left_before_its_first_assignment_is_empty() {
    let mut bench = Bench::new(Settings::default());
    bench.send("app", 3, &Request::JoinGroup(join("g", "", NOBODY, "range:m")));
    bench.flush();
    let stored = |bench: &Bench| {
        let (_, value) = bench.log.last().expect("it is stored");
        let mut r = klamm::wire::codec::Reader::new(&value.as_ref().expect("no tombstone")[2..]);
        let value = GroupMetadataValue::decode(&mut r, 3).expect("a value");
        (value.generation, value.protocol_type.to_string(), value.protocol.is_none(), value.members.len())
    };
    assert_eq!(stored(&bench), (0, "".to_string(), true, 0), "as it is new");
    bench.wait(200);
    let member = "app-00000000-0000-4000-8000-000000000001";
    let left = Request::LeaveGroup(leave("g", &[(member, NOBODY)]));
    assert_eq!(code(&bench.ask(3, &left)), None);
    assert_eq!(stored(&bench), (2, "consumer".to_string(), true, 0));
    for restarted in [false, true] {
        if restarted {
            bench.restart();
        }
        let Response::ListGroups(listed) = bench.ask(5, &list(&[], &[])) else { panic!() };
        let states: Vec<(&str, &str)> = listed.groups.iter().map(|g| (&*g.group_id, &*g.group_state)).collect();
        assert_eq!(states, [("g", "Empty")], "{restarted}");
        let Response::DescribeGroups(described) = bench.ask(6, &describe("g")) else { panic!() };
        assert_eq!((described.groups[0].error_code, &*described.groups[0].group_state), (0, "Empty"), "{restarted}");
    }
    assert_eq!(code(&bench.ask(2, &delete("g"))), None);
    assert_eq!(bench.coordinator.group_count(), 0);
}

#[test]
fn commit_metadata_is_as_long_as_java_says() {
    let mut bench = Bench::new(Settings::default());
    for (text, length, expected) in [
        ("x", 4096, None),
        ("x", 4097, OffsetMetadataTooLarge),
        ("\u{e9}", 4096, None),
        ("\u{e9}", 4097, OffsetMetadataTooLarge),
        // Two units each.
        ("\u{1f600}", 2048, None),
        ("\u{1f600}", 2049, OffsetMetadataTooLarge),
    ] {
        assert_eq!(commit_one(&mut bench, "g", "t", &text.repeat(length)), expected, "{text} {length}");
    }
}

#[test]
fn operations_are_told_to_who_asks() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(commit_one(&mut bench, "g", "t", ""), None);
    let mut told = |version: i16, include_authorized_operations: bool, group: &'static str| {
        let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations };
        let Response::DescribeGroups(r) = bench.ask(version, &Request::DescribeGroups(request)) else { panic!() };
        r.groups[0].authorized_operations
    };
    assert_eq!((told(3, true, "g"), told(6, true, "g")), (3400, 3400));
    assert_eq!((told(6, false, "g"), told(6, true, "none")), (i32::MIN, i32::MIN));
    assert_eq!(told(5, true, "none"), 3400, "a group that is not there is no error yet");
}

/// A list, positions in a deleted topic, and the opening after a start: of many groups, each over several turns.
#[test]
fn what_concerns_many_groups_takes_many_turns() {
    const GROUPS: usize = 10_000;
    let mut bench = Bench::new(Settings::default());
    for number in 0..GROUPS {
        let request = commit(&format!("g{number:05}"), "", NOBODY, -1, &[("t", 0, 1, ""), ("u", 0, 1, "")]);
        bench.send("app", 9, &Request::OffsetCommit(request));
    }
    bench.flush();
    bench.coordinator.take_answers();
    let tickets = [bench.send("app", 5, &list(&[], &[])), bench.send("app", 5, &list(&["Stable"], &[]))];
    assert!(bench.coordinator.take_answers().is_empty());
    assert!(turns(&mut bench) > 3);
    let answers = bench.coordinator.take_answers();
    let listed = answers.iter().map(|answer| match &answer.response {
        Response::ListGroups(r) => (answer.ticket, r.groups.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(listed.collect::<Vec<_>>(), [(tickets[0], GROUPS), (tickets[1], 0)]);
    bench.coordinator.topics_deleted(&["t".into()].into());
    assert!(bench.coordinator.is_forgetting());
    assert!(turns(&mut bench) >= 2 && !bench.coordinator.is_forgetting());
    let tombstones = |bench: &Bench| bench.log.iter().filter(|(_, value)| value.is_none()).count();
    assert_eq!(tombstones(&bench), GROUPS);
    // The process before this one could not store that `u` is gone.
    bench.coordinator = bench.replayed();
    let mut opened = 1;
    while !bench.coordinator.open_some(bench.now(), &|topic| topic != "u") {
        let refused = code(&bench.ask(6, &describe("g00000")));
        assert_eq!(refused, CoordinatorLoadInProgress);
        opened += 1;
    }
    bench.flush();
    assert!(opened > 3 && !bench.coordinator.is_forgetting());
    assert_eq!((tombstones(&bench), bench.coordinator.group_count()), (2 * GROUPS, 0));
}

/// Positions of one large group go into a checkpoint and expire in pieces. One that is committed anew meanwhile stays.
#[test]
fn a_large_group_takes_many_turns() {
    const POSITIONS: usize = 20_000;
    let settings = Settings { retention_ms: 10_000, retention_check_ms: 1_000, ..Settings::default() };
    let mut bench = Bench::new(settings);
    let topics: Vec<String> = (0..POSITIONS / 4).map(|number| format!("t{number:05}")).collect();
    for topics in topics.chunks(2_500) {
        let positions = topics.iter().flat_map(|topic| (0..4).map(move |partition| (&**topic, partition, 1, "")));
        let request = commit("g", "", NOBODY, -1, &positions.collect::<Vec<_>>());
        assert_eq!(code(&bench.ask(9, &Request::OffsetCommit(request))), None);
    }
    let (mut growing, mut parts) = (bench.coordinator.checkpoint(), 1);
    while bench.coordinator.checkpoint_part(&mut growing, 10_000) {
        parts += 1;
    }
    assert!(parts > 50);
    let mut restored = Coordinator::new(bench.settings.clone());
    assert_eq!(restore(&mut restored, &growing.finish()), Ok(POSITIONS as i64));
    assert_eq!(restored.offset_bytes(), bench.coordinator.offset_bytes());

    let tombstones = |bench: &Bench| bench.log.iter().filter(|(_, value)| value.is_none()).count();
    bench.now_ms += 60_000;
    let mut pieces = Vec::new();
    while tombstones(&bench) < POSITIONS {
        let before = tombstones(&bench);
        bench.wait(99);
        pieces.push(tombstones(&bench) - before);
        assert!(pieces.len() < 20, "{pieces:?}");
        if pieces.len() == 1 {
            assert_eq!(commit_one(&mut bench, "g", "t00000", ""), None);
        }
    }
    assert!(pieces.len() > 4 && pieces.iter().all(|piece| *piece < 5_000), "{pieces:?}");
    let Response::OffsetFetch(fetched) = bench.ask(9, &fetch("g", Option::None)) else { panic!() };
    assert_eq!((fetched.topics.len(), &*fetched.topics[0].name), (1, "t00000"));
    bench.wait(30_000);
    assert_eq!((bench.coordinator.group_count(), tombstones(&bench)), (0, POSITIONS + 1));
}

/// A list that is under way when the partition goes is answered.
#[test]
fn a_list_ends_with_its_coordinator() {
    let mut bench = Bench::new(Settings::default());
    for number in 0..5_000 {
        bench.send("app", 9, &Request::OffsetCommit(commit(&format!("g{number}"), "", NOBODY, -1, &[("t", 0, 1, "")])));
    }
    bench.flush();
    bench.coordinator.take_answers();
    let ticket = bench.send("app", 5, &list(&[], &[]));
    let mut turns = 1;
    while !bench.coordinator.unload() {
        turns += 1;
    }
    assert!(turns > 2);
    let answers = bench.coordinator.take_answers();
    let Response::ListGroups(response) = &answers[0].response else { panic!() };
    assert_eq!((answers[0].ticket, response.error_code), (ticket, NotCoordinator.code()));
    assert_eq!(bench.coordinator.deadline(), Option::None);
}
