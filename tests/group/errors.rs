//! One row for each API and each error that it can answer with, in the situation that leads to it.

use crate::bench::{self, Bench, Disk, beat, commit, delete, delete_offsets, describe, fetch, join, leave, list, sync};
use klamm::group::{MEMBER_METADATA_BYTES_MAX, MEMBER_PROTOCOLS_MAX, Request, Response, Settings};
use klamm::wire::error::ErrorCode::{self, *};
use klamm::wire::messages::JoinGroupRequest;

/// What the coordinator is in when the row's request arrives. The group of all of them is `g`.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Situation {
    Nothing,
    Loading,
    Unloaded,
    /// More is decided than may wait for the disk.
    Overloaded,
    /// A record of the group cannot be read.
    Malformed,
    /// One member, static as `one`, in generation 1.
    Stable,
    /// The same, in a group of the type `connect`.
    Connect,
    /// The same, not yet assigned.
    Completing,
    /// A second member has joined.
    Preparing,
    /// The group may have one member, and has.
    Full,
    /// There are positions, and no members.
    Empty,
    Failing(ErrorCode),
    /// A member whose appends fail.
    StableFailing(ErrorCode),
    /// A leader that is about to share, and whose appends fail.
    CompletingFailing(ErrorCode),
}
use Situation::*;

/// The member of `Stable` and the like.
const MEMBER: &str = "one-00000000-0000-4000-8000-000000000001";
const ONE: Option<&str> = Some("one");

fn one_member(bench: &mut Bench, protocol_type: &str) {
    let request =
        JoinGroupRequest { protocol_type: protocol_type.to_string().into(), ..join("g", "", ONE, "range:@t") };
    bench.send("app", 9, &Request::JoinGroup(request));
    bench.wait(200);
    bench.coordinator.take_answers();
}

fn share(bench: &mut Bench) {
    let mut request = sync("g", MEMBER, ONE, 1, &[(MEMBER.to_string(), "all".to_string())]);
    (request.protocol_type, request.protocol_name) = Default::default();
    let Response::SyncGroup(response) = bench.ask(3, &Request::SyncGroup(request)) else { panic!() };
    assert_eq!(response.error_code, 0);
}

fn situation(situation: Situation) -> Bench {
    let mut settings = Settings::default();
    if situation == Overloaded {
        settings.offset_metadata_bytes_max = 1 << 20;
    }
    if situation == Full {
        settings.members_max = 1;
    }
    let mut bench = if situation == Loading { Bench::loading(settings) } else { Bench::new(settings) };
    match situation {
        Nothing | Loading => {}
        Unloaded => assert!(bench.coordinator.unload()),
        Overloaded => {
            bench.disk = Disk::Held;
            let metadata = "m".repeat(32_000);
            for _ in 0..2200 {
                let request = commit("other", "", Option::None, -1, &[("t", 0, 1, &metadata)]);
                bench.send("app", 9, &Request::OffsetCommit(request));
            }
        }
        Malformed => {
            bench.log.push((vec![0, 2, 0, 1, b'g'], Some(vec![0, 77])));
            bench.restart();
        }
        Completing | CompletingFailing(_) => one_member(&mut bench, "consumer"),
        Connect => {
            one_member(&mut bench, "connect");
            share(&mut bench);
        }
        Stable | Full | StableFailing(_) | Preparing => {
            one_member(&mut bench, "consumer");
            share(&mut bench);
        }
        Empty | Failing(_) => {
            bench.ask(9, &Request::OffsetCommit(commit("g", "", Option::None, -1, &[("t", 0, 5, "")])));
        }
    }
    if situation == Preparing {
        bench.send("app", 3, &Request::JoinGroup(join("g", "", Option::None, "range:@t")));
    }
    if let Failing(code) | StableFailing(code) | CompletingFailing(code) = situation {
        bench.disk = Disk::Failing(code);
    }
    bench.coordinator.take_answers();
    bench
}

/// All errors of an answer, top level first.
fn codes(response: &Response) -> Vec<i16> {
    match response {
        Response::JoinGroup(r) => vec![r.error_code],
        Response::SyncGroup(r) => vec![r.error_code],
        Response::Heartbeat(r) => vec![r.error_code],
        Response::LeaveGroup(r) => {
            let members = r.members.iter().map(|member| member.error_code);
            std::iter::once(r.error_code).chain(members).collect()
        }
        Response::OffsetCommit(r) => {
            r.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
        }
        Response::OffsetFetch(r) => {
            let partitions = r.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
            std::iter::once(r.error_code).chain(partitions).collect()
        }
        Response::OffsetDelete(r) => {
            let partitions = r.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
            std::iter::once(r.error_code).chain(partitions).collect()
        }
        Response::ListGroups(r) => vec![r.error_code],
        Response::DescribeGroups(r) => r.groups.iter().map(|group| group.error_code).collect(),
        Response::DeleteGroups(r) => r.results.iter().map(|result| result.error_code).collect(),
        Response::TooLarge => panic!("the answer is too large"),
    }
}

#[track_caller]
fn check(place: Situation, version: i16, request: Request<'_>, expected: ErrorCode) {
    let mut bench = situation(place);
    let response = if matches!(place, Overloaded) {
        // The disk is stuck, so only what is refused is answered.
        let ticket = bench.send("app", version, &request);
        let mut answers = bench.coordinator.take_answers();
        answers.retain(|answer| answer.ticket == ticket);
        answers.pop().unwrap_or_else(|| panic!("{place:?}: {request:?} is not answered")).response
    } else {
        bench.ask(version, &request)
    };
    let found = codes(&response).into_iter().find(|code| *code != 0).unwrap_or(0);
    let found = ErrorCode::from_code(found).unwrap();
    assert_eq!(found, expected, "{place:?}, version {version}: {request:?}\n{response:?}");
}

fn joined(member: &str, instance: Option<&str>) -> Request<'static> {
    Request::JoinGroup(join("g", member, instance, "range:@t"))
}

fn joining(change: impl FnOnce(&mut JoinGroupRequest<'static>)) -> Request<'static> {
    let mut request = join("g", "", Option::None, "range:@t");
    change(&mut request);
    Request::JoinGroup(request)
}

fn synced(member: &str, instance: Option<&str>, generation: i32) -> Request<'static> {
    Request::SyncGroup(sync("g", member, instance, generation, &[]))
}

fn beaten(member: &str, instance: Option<&str>, generation: i32) -> Request<'static> {
    Request::Heartbeat(beat("g", member, instance, generation))
}

fn left(member: &str, instance: Option<&str>) -> Request<'static> {
    Request::LeaveGroup(leave("g", &[(member, instance)]))
}

fn committed(member: &str, instance: Option<&str>, generation: i32) -> Request<'static> {
    Request::OffsetCommit(commit("g", member, instance, generation, &[("t", 0, 1, "")]))
}

/// One request of each API, that a member of `Stable` could send.
fn one_of_each() -> Vec<Request<'static>> {
    vec![
        joined(MEMBER, ONE),
        synced(MEMBER, ONE, 1),
        beaten(MEMBER, ONE, 1),
        left(MEMBER, ONE),
        committed(MEMBER, ONE, 1),
        fetch("g", Some(&[("t", 0)])),
        delete_offsets("g", &[("t", 0)]),
        list(&[], &[]),
        describe("g"),
        delete("g"),
    ]
}

#[test]
fn a_coordinator_that_is_not_there() {
    for (at, request) in one_of_each().into_iter().enumerate() {
        // A heartbeat is not refused while the group is loaded: the session has not begun.
        let loading = if at == 2 { None } else { CoordinatorLoadInProgress };
        let version = if at == 7 { 5 } else { 3 };
        check(Loading, version, request.clone(), loading);
        check(Unloaded, version, request, NotCoordinator);
    }
}

#[test]
fn a_group_that_cannot_be_read() {
    let expected = |at| match at {
        // The list has no place for it; deleting is the way out.
        7 | 9 => None,
        _ => UnknownServerError,
    };
    for (at, request) in one_of_each().into_iter().enumerate() {
        check(Malformed, 3, request, expected(at));
    }
}

#[test]
fn a_disk_that_is_stuck() {
    let writing = [0, 1, 3, 4, 6, 9];
    let all = one_of_each();
    let mut bench = situation(Overloaded);
    for (at, request) in all.iter().enumerate() {
        let ticket = bench.send("app", 3, request);
        let answer = bench.coordinator.take_answers().into_iter().find(|answer| answer.ticket == ticket);
        let refused = answer.is_some_and(|answer| codes(&answer.response).contains(&CoordinatorNotAvailable.code()));
        assert_eq!(refused, writing.contains(&at), "{request:?}");
    }
}

#[test]
fn join_group() {
    check(Nothing, 9, joining(|r| r.group_id = "".into()), InvalidGroupId);
    check(Nothing, 9, joining(|r| r.session_timeout_ms = 5_999), InvalidSessionTimeout);
    check(Nothing, 9, joining(|r| r.session_timeout_ms = 1_800_001), InvalidSessionTimeout);
    check(Nothing, 9, joining(|r| r.protocol_type = "".into()), InconsistentGroupProtocol);
    check(Nothing, 9, joining(|r| r.protocols.clear()), InconsistentGroupProtocol);
    check(Stable, 9, joining(|r| r.protocol_type = "connect".into()), InconsistentGroupProtocol);
    check(Stable, 9, joining(|r| r.protocols[0].name = "other".into()), InconsistentGroupProtocol);
    check(Nothing, 4, joined("", Option::None), MemberIdRequired);
    check(Nothing, 9, joined("nobody", Option::None), UnknownMemberId);
    check(Stable, 9, joined("nobody", Option::None), UnknownMemberId);
    check(Stable, 9, joined("nobody", Some("two")), UnknownMemberId);
    check(Stable, 9, joined("nobody", ONE), FencedInstanceId);
    check(Preparing, 9, joining(|r| r.protocols[0].name = "other".into()), InconsistentGroupProtocol);
    check(Completing, 9, joining(|r| r.protocol_type = "connect".into()), InconsistentGroupProtocol);
    check(Empty, 9, joining(|r| r.protocol_type = "connect".into()), MemberIdRequired);
    check(Preparing, 9, joined("nobody", ONE), FencedInstanceId);
    check(Completing, 9, joined("nobody", Option::None), UnknownMemberId);
    check(Full, 9, joined("", Option::None), GroupMaxSizeReached);
    check(Full, 9, joined("", Some("two")), GroupMaxSizeReached);
    check(StableFailing(KafkaStorageError), 9, joined("", ONE), NotCoordinator);
    check(StableFailing(NotEnoughReplicas), 9, joined("", ONE), CoordinatorNotAvailable);
    check(StableFailing(MessageTooLarge), 9, joined("", ONE), UnknownServerError);
    let many = |count: usize, bytes: usize| {
        joining(|r| {
            let one = r.protocols[0].clone();
            r.protocols = vec![one; count];
            r.protocols.iter_mut().for_each(|protocol| protocol.metadata = vec![0; bytes].into());
        })
    };
    check(Nothing, 9, many(1000, 1 << 20), PolicyViolation);
    check(Nothing, 9, many(1, MEMBER_METADATA_BYTES_MAX), PolicyViolation);
    check(Nothing, 9, many(MEMBER_PROTOCOLS_MAX + 1, 1), PolicyViolation);
    check(Nothing, 9, many(MEMBER_PROTOCOLS_MAX, 1), MemberIdRequired);
}

/// Members that are there go on; what they say of themselves must not grow, nor may others come.
#[test]
fn memory_for_members_has_a_limit() {
    let mut bench = situation(Stable);
    let held = bench.coordinator.member_bytes();
    assert!(held > 0);
    bench.member_bytes_elsewhere = bench.settings.member_bytes_max - held;
    let code = |response: Response| ErrorCode::from_code(codes(&response)[0]).unwrap();
    let grown = |instance: Option<&str>, member: &str| {
        Request::JoinGroup(join("g", member, instance, "range:@t,roundrobin:more"))
    };
    assert_eq!(code(bench.ask(9, &grown(ONE, MEMBER))), GroupMaxSizeReached);
    assert_eq!(code(bench.ask(9, &joined("", Option::None))), GroupMaxSizeReached);
    assert_eq!(code(bench.ask(4, &beaten(MEMBER, ONE, 1))), None, "it is still a member");
    bench.member_bytes_elsewhere -= 4096;
    assert_eq!(code(bench.ask(9, &grown(ONE, MEMBER))), None);
    let grown_bytes = bench.coordinator.member_bytes() - held;
    assert!((14..200).contains(&grown_bytes), "a protocol more takes {grown_bytes} bytes");
    assert_eq!(code(bench.ask(9, &joined("", Option::None))), MemberIdRequired);
}

#[test]
fn a_second_join_of_one_member_answers_the_first() {
    let mut bench = situation(Preparing);
    let first = bench.send("app", 9, &joined(MEMBER, Option::None));
    let answers = bench.coordinator.take_answers();
    assert!(answers.iter().any(|answer| answer.ticket == first), "nobody is missing: {answers:?}");
    let mut bench = situation(Stable);
    bench.send("app", 3, &joined("", Option::None));
    bench.send("app", 3, &joined("", Option::None));
    let id = "app-00000000-0000-4000-8000-000000000003";
    bench.send("app", 3, &joined(id, Option::None));
    let answers = bench.coordinator.take_answers();
    assert_eq!(
        answers.iter().map(|answer| codes(&answer.response)).collect::<Vec<_>>(),
        [[RebalanceInProgress.code()]]
    );
}

#[test]
fn sync_group() {
    check(Nothing, 5, Request::SyncGroup(sync("", "m", Option::None, 0, &[])), InvalidGroupId);
    check(Nothing, 5, synced("nobody", Option::None, 1), UnknownMemberId);
    check(Empty, 5, synced("nobody", Option::None, 1), UnknownMemberId);
    check(Stable, 5, synced("nobody", Option::None, 1), UnknownMemberId);
    check(Stable, 5, synced("nobody", ONE, 1), FencedInstanceId);
    check(Stable, 5, synced(MEMBER, ONE, 0), IllegalGeneration);
    check(Preparing, 5, synced(MEMBER, ONE, 1), RebalanceInProgress);
    check(Preparing, 5, synced(MEMBER, ONE, 2), IllegalGeneration);
    check(Completing, 5, synced(MEMBER, ONE, 2), IllegalGeneration);
    check(Completing, 5, synced("nobody", Option::None, 1), UnknownMemberId);
    let protocol = |kind: Option<&'static str>, name: Option<&'static str>| {
        let mut request = sync("g", MEMBER, ONE, 1, &[]);
        (request.protocol_type, request.protocol_name) = (kind.map(Into::into), name.map(Into::into));
        Request::SyncGroup(request)
    };
    check(Stable, 5, protocol(Some("connect"), Some("range")), InconsistentGroupProtocol);
    check(Stable, 5, protocol(Some("consumer"), Some("other")), InconsistentGroupProtocol);
    check(Stable, 5, protocol(Some("consumer"), Option::None), InconsistentGroupProtocol);
    check(Stable, 5, protocol(Option::None, Some("range")), InconsistentGroupProtocol);
    check(Stable, 4, protocol(Option::None, Option::None), None);
    check(CompletingFailing(KafkaStorageError), 5, synced(MEMBER, ONE, 1), NotCoordinator);
    check(CompletingFailing(NotEnoughReplicas), 5, synced(MEMBER, ONE, 1), CoordinatorNotAvailable);
    check(CompletingFailing(RecordListTooLarge), 5, synced(MEMBER, ONE, 1), UnknownServerError);
    let large = vec![(MEMBER.to_string(), "x".repeat(2 << 20))];
    check(Completing, 5, Request::SyncGroup(sync("g", MEMBER, ONE, 1, &large)), UnknownServerError);
}

#[test]
fn heartbeat() {
    check(Nothing, 4, Request::Heartbeat(beat("", "m", Option::None, 0)), InvalidGroupId);
    check(Nothing, 4, beaten("nobody", Option::None, 1), UnknownMemberId);
    check(Empty, 4, beaten("nobody", Option::None, 1), UnknownMemberId);
    check(Stable, 4, beaten("nobody", Some("two"), 1), UnknownMemberId);
    check(Stable, 4, beaten("nobody", ONE, 1), FencedInstanceId);
    check(Stable, 4, beaten(MEMBER, ONE, 2), IllegalGeneration);
    check(Preparing, 4, beaten(MEMBER, ONE, 1), RebalanceInProgress);
    check(Preparing, 4, beaten(MEMBER, ONE, 0), IllegalGeneration);
    check(Completing, 4, beaten("nobody", Option::None, 1), UnknownMemberId);
    check(Completing, 4, beaten(MEMBER, ONE, 1), None);
}

#[test]
fn leave_group() {
    for version in 0..=5 {
        check(Nothing, version, Request::LeaveGroup(leave("", &[("m", Option::None)])), InvalidGroupId);
        check(Nothing, version, left("nobody", Option::None), UnknownMemberId);
        check(Stable, version, left("nobody", Option::None), UnknownMemberId);
    }
    check(Stable, 3, left("nobody", ONE), FencedInstanceId);
    check(Stable, 3, left("", Some("two")), UnknownMemberId);
    check(Stable, 3, left("", Option::None), UnknownMemberId);
    check(Stable, 3, left("", ONE), None);
}

#[test]
fn offset_commit() {
    let all =
        |positions: &[(&str, i32, i64, &str)]| Request::OffsetCommit(commit("g", "", Option::None, -1, positions));
    check(Nothing, 9, all(&[("gone", 0, 1, "")]), UnknownTopicOrPartition);
    check(Nothing, 9, all(&[("t", 4, 1, "")]), UnknownTopicOrPartition);
    check(Nothing, 9, all(&[("t", 0, 1, &"x".repeat(4097))]), OffsetMetadataTooLarge);
    check(Nothing, 9, all(&[("t", 0, 1, &"x".repeat(4096))]), None);
    check(Nothing, 9, all(&[]), None);
    check(Nothing, 9, committed("m", Option::None, 1), GroupIdNotFound);
    check(Nothing, 8, committed("m", Option::None, 1), IllegalGeneration);
    check(Empty, 9, committed("m", Option::None, 1), UnknownMemberId);
    check(Stable, 9, committed("m", Option::None, 1), UnknownMemberId);
    check(Stable, 9, committed("", Option::None, -1), UnknownMemberId);
    check(Stable, 9, committed("nobody", ONE, 1), FencedInstanceId);
    check(Stable, 9, committed(MEMBER, ONE, 7), IllegalGeneration);
    check(Stable, 9, committed(MEMBER, ONE, -1), IllegalGeneration);
    check(Completing, 9, committed(MEMBER, ONE, 1), RebalanceInProgress);
    check(Completing, 9, committed(MEMBER, ONE, 0), IllegalGeneration);
    check(Preparing, 9, committed(MEMBER, ONE, 1), None);
    check(Preparing, 9, committed(MEMBER, ONE, 2), IllegalGeneration);
    check(Preparing, 9, committed("", Option::None, -1), UnknownMemberId);
    check(StableFailing(KafkaStorageError), 9, committed(MEMBER, ONE, 1), NotCoordinator);
    let failures = [
        (KafkaStorageError, NotCoordinator),
        (NotLeaderOrFollower, NotCoordinator),
        (NotEnoughReplicas, CoordinatorNotAvailable),
        (UnknownTopicOrPartition, CoordinatorNotAvailable),
        (RequestTimedOut, CoordinatorNotAvailable),
        (MessageTooLarge, UnknownServerError),
    ];
    for (failure, expected) in failures {
        check(Failing(failure), 9, all(&[("t", 0, 1, "")]), expected);
    }
}

#[test]
fn offset_fetch() {
    // What is not there is no error.
    check(Nothing, 9, fetch("g", Some(&[("t", 0), ("gone", 0)])), None);
    check(Nothing, 9, fetch("", Option::None), None);
    check(Empty, 9, fetch("g", Option::None), None);
    check(Loading, 1, fetch("g", Some(&[("t", 0)])), CoordinatorLoadInProgress);
}

#[test]
fn offset_delete() {
    check(Nothing, 0, delete_offsets("", &[("t", 0)]), InvalidGroupId);
    check(Nothing, 0, delete_offsets("g", &[("t", 0)]), GroupIdNotFound);
    check(Stable, 0, delete_offsets("g", &[("t", 0)]), GroupSubscribedToTopic);
    check(Stable, 0, delete_offsets("g", &[("u", 0)]), None);
    check(Preparing, 0, delete_offsets("g", &[("t", 0)]), GroupSubscribedToTopic);
    check(Completing, 0, delete_offsets("g", &[("t", 0)]), GroupSubscribedToTopic);
    check(Stable, 0, delete_offsets("g", &[("gone", 0)]), UnknownTopicOrPartition);
    check(Connect, 0, delete_offsets("g", &[("u", 0)]), NonEmptyGroup);
    check(Empty, 0, delete_offsets("g", &[("gone", 0)]), UnknownTopicOrPartition);
    check(Failing(KafkaStorageError), 0, delete_offsets("g", &[("t", 0)]), NotCoordinator);
}

#[test]
fn list_describe_delete() {
    check(Nothing, 6, describe("g"), GroupIdNotFound);
    check(Nothing, 5, describe("g"), None);
    check(Stable, 6, describe("g"), None);
    check(Nothing, 2, delete("g"), GroupIdNotFound);
    check(Stable, 2, delete("g"), NonEmptyGroup);
    check(Preparing, 2, delete("g"), NonEmptyGroup);
    check(Completing, 2, delete("g"), NonEmptyGroup);
    check(Empty, 2, delete("g"), None);
    check(Failing(KafkaStorageError), 2, delete("g"), NotCoordinator);
    check(Stable, 5, list(&[], &[]), None);
}

#[test]
fn lists_are_filtered() {
    let mut bench = situation(Stable);
    bench.ask(9, &Request::OffsetCommit(commit("simple", "", Option::None, -1, &[("t", 0, 5, "")])));
    let mut listed = |states: &[&str], types: &[&str]| {
        let Response::ListGroups(response) = bench.ask(5, &list(states, types)) else { panic!() };
        response.groups.iter().map(|group| group.group_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[], &[]), ["g", "simple"]);
    assert_eq!(listed(&["stable"], &[]), ["g"]);
    assert_eq!(listed(&["Empty", "Dead"], &["Classic"]), ["simple"]);
    assert!(listed(&[], &["consumer"]).is_empty() && listed(&["no such state"], &[]).is_empty());
}

#[test]
fn offset_fetch_in_its_old_forms() {
    use klamm::group::{offset_fetch_join, offset_fetch_split};
    use klamm::wire::messages::OffsetFetchRequest;
    use klamm::wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] };
    let request = OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
    for (place, version, top, each) in [
        (Empty, 1, None, None),
        (Empty, 7, None, None),
        (Loading, 1, CoordinatorLoadInProgress, CoordinatorLoadInProgress),
        (Loading, 7, CoordinatorLoadInProgress, None),
    ] {
        let mut bench = situation(place);
        let groups = offset_fetch_split(request.clone(), version);
        let answers = groups.into_iter().map(|group| {
            let Response::OffsetFetch(answer) =
                bench.ask(version, &Request::OffsetFetch { group, require_stable: false })
            else {
                panic!()
            };
            answer
        });
        let response = offset_fetch_join(answers.collect(), version);
        assert_eq!(response.error_code, top.code(), "{place:?} {version}");
        let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert!(partitions.iter().all(|partition| partition.error_code == each.code()), "{place:?} {version}");
        if place == Empty {
            assert_eq!(partitions.iter().map(|partition| partition.committed_offset).collect::<Vec<_>>(), [5, -1]);
        }
    }
    assert!(bench::topics("t", 0));
}
