//! Consumer groups on the real program: members that join and leave, and commits that outlive it.

use crate::client::{Client, Produce, ask, read_all};
use crate::member::*;
use crate::process::{Broker, wait_for};
use klamm::wire::batch::{BatchBuilder, batches};
use klamm::wire::codec::Reader;
use klamm::wire::error::ErrorCode::*;
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use klamm::wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm::wire::messages::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

const OFFSETS: &str = "__consumer_offsets";

fn two_members(count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), count);
    client.create("t", 4, &[]);
    find(&mut client, &["g", "another"]);
    let mut one = Member::new(&broker, "g");
    one.join();
    assert_eq!((one.generation, one.is_leader(), &one.members), (1, true, &vec![one.id.clone()]));
    assert_eq!(one.heartbeat(), None, "a heartbeat before its share");
    one.send_sync();
    one.receive_sync();
    assert_eq!((one.heartbeat(), one.commit("t", 5)), (None, None));
    // Another one comes: its join waits until the first has come again.
    let mut two = Member::new(&broker, "g");
    two.send_join();
    wait_for("a rebalance", || (one.heartbeat() == RebalanceInProgress).then_some(()));
    one.send_join();
    assert_eq!((one.receive_join(), two.receive_join()), (None, None));
    assert_eq!((one.generation, two.generation, two.is_leader()), (2, 2, false));
    let mut members = one.members.clone();
    members.sort();
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    assert_eq!((members, two.members.len()), (expected, 0));
    // The follower's sync waits for the leader's.
    two.send_sync();
    one.send_sync();
    one.receive_sync();
    two.receive_sync();
    assert_eq!((one.heartbeat(), two.heartbeat(), two.commit("t", 7)), (None, None, None));
    let generation = std::mem::replace(&mut two.generation, 1);
    assert_eq!((two.heartbeat(), two.commit("t", 9)), (IllegalGeneration, IllegalGeneration));
    two.generation = generation;
    assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, 9)]), UnknownMemberId, "the group has members");
    assert_eq!(one.leave(), None);
    assert_eq!((one.heartbeat(), two.heartbeat()), (UnknownMemberId, RebalanceInProgress));
    two.join();
    assert_eq!((two.generation, two.is_leader()), (3, true));
    two.send_sync();
    two.receive_sync();
    assert_eq!(committed_of(&mut client, "g"), [7]);
    // Dies with the broker; the member that comes back after it is known, its generation goes on.
    broker.kill();
    let (broker, mut client) = start(dir.path(), count);
    assert_eq!(committed_of(&mut client, "g"), [7]);
    two.client = Client::connect(broker.address);
    assert_eq!(two.heartbeat(), None);
    assert_eq!((two.commit("t", 8), two.leave()), (None, None));
    assert_eq!(committed_of(&mut client, "g"), [8]);
}

#[test]
fn two_members_share_a_topic() {
    two_members(1);
}

#[test]
fn two_members_share_a_topic_on_two_cores() {
    two_members(2);
}

/// Every group's coordinator is somewhere else.
const GROUPS: usize = 120;

#[test]
fn commits_survive_deaths_ends_and_other_cores() {
    let dir = tempfile::tempdir().unwrap();
    let groups: Vec<String> = (0..GROUPS).map(|group| format!("group-{group}")).collect();
    let expected = |offset: i64| -> BTreeMap<(String, String, i32), i64> {
        let keys = groups.iter().flat_map(|group| (0..3).map(|index| (group.clone(), "t".to_string(), index)));
        keys.map(|key| (key.clone(), offset + i64::from(key.2))).collect()
    };
    let write = |client: &mut Client, offset: i64| {
        // All of them on their way at once: those of one turn share a batch and a write.
        for group in &groups {
            let positions = [("t", 0, offset), ("t", 1, offset + 1), ("t", 2, offset + 2)];
            let request = commit_request(group, NOBODY, &positions);
            client.send(ApiKey::OffsetCommit, 9, |w| request.encode(w, 9));
        }
        for group in &groups {
            let (_, body) = client.receive(ApiKey::OffsetCommit, 9);
            let response = OffsetCommitResponse::decode(&mut Reader::new(body), 9).expect("a response");
            let codes: Vec<i16> =
                response.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect();
            assert_eq!(codes, [0; 3], "{group}");
        }
    };
    let (broker, mut client) = start(dir.path(), 1);
    client.create("t", 3, &[]);
    find(&mut client, &["group-0"]);
    write(&mut client, 100);
    broker.kill();
    for (round, count) in [(1, 2), (2, 1), (3, 2)] {
        let (broker, mut client) = start(dir.path(), count);
        assert_eq!(committed(&mut client, &groups), expected(100 * round));
        write(&mut client, 100 * (round + 1));
        match round {
            2 => assert_eq!(broker.stop(), Some(0)),
            _ => broker.kill(),
        }
        let checkpoints =
            (0..50).filter(|index| dir.path().join(format!("{OFFSETS}-{index}/group.checkpoint")).exists());
        assert_eq!(checkpoints.count() > 30, round >= 2, "they are written at the end");
    }
    // A checkpoint that is harmed is passed over.
    for index in 0..50 {
        let path = dir.path().join(format!("{OFFSETS}-{index}/group.checkpoint"));
        if let Ok(mut bytes) = std::fs::read(&path) {
            bytes[20] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let (broker, mut client) = start(dir.path(), 2);
    assert_eq!(committed(&mut client, &groups), expected(400));
    broker.wait_for_log("the log is read instead");
}

/// A checkpoint is made while the broker runs; what came after it is read from the log.
#[test]
fn a_coordinator_begins_with_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), 1);
    client.create("t", 1, &[]);
    find(&mut client, &["g"]);
    let path = dir.path().join(format!("{OFFSETS}-{}/group.checkpoint", klamm::group::partition_of("g", 50)));
    let mut last = 0;
    wait_for("a checkpoint", || {
        for _ in 0..100 {
            last += 1;
            let mut request = commit_request("g", NOBODY, &[("t", 0, last)]);
            request.topics[0].partitions[0].committed_metadata = Some(Cow::Owned("x".repeat(4096)));
            client.send(ApiKey::OffsetCommit, 9, |w| request.encode(w, 9));
        }
        for _ in 0..100 {
            client.receive(ApiKey::OffsetCommit, 9);
        }
        path.exists().then_some(())
    });
    assert!(std::fs::metadata(&path).unwrap().len() < 10_000, "it holds the last commit alone");
    assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, last + 1)]), None);
    broker.kill();
    let (_broker, mut client) = start(dir.path(), 1);
    assert_eq!(committed_of(&mut client, "g"), [last + 1]);
}

/// A commit that was acknowledged just before the broker died.
#[test]
fn acknowledged_commits_survive_death_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 2);
    client.create("t", 1, &[]);
    find(&mut client, &["g"]);
    let mut last = 0;
    for round in 0..4 {
        for offset in 0..50 {
            last = 1000 * round + offset;
            assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, last)]), None);
        }
        // One more is on its way when it dies.
        let request = commit_request("g", NOBODY, &[("t", 0, last + 1)]);
        client.send(ApiKey::OffsetCommit, 9, |w| request.encode(w, 9));
        broker.kill();
        (broker, client) = start(dir.path(), 1 + round as usize % 2);
        let found = committed_of(&mut client, "g");
        assert!(found == [last] || found == [last + 1], "{found:?}, {last}");
    }
    assert!(last > 0);
    broker.kill();
}

#[test]
fn the_topic_is_internal_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("offsets.topic.num.partitions", "3"), ("offsets.topic.compression.codec", "4")];
    let broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    // Whoever comes before there is a topic has it made, and is to come again.
    let early = commit(&mut client, "g", NOBODY, &[("t", 0, 1)]);
    assert_eq!(early, NotCoordinator);
    wait_for("the topic", || (commit(&mut client, "g", NOBODY, &[("t", 0, 1)]) == None).then_some(()));
    let request = MetadataRequest { topics: Option::None, ..Default::default() };
    let metadata = ask!(&mut client, Metadata, 12, MetadataResponse, request);
    let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(OFFSETS)).expect("listed");
    assert_eq!((topic.is_internal, topic.partitions.len()), (true, 3));
    let records = BatchBuilder::new(0).record(1, Some(b"k"), Some(b"v")).build();
    let refused = Produce::to(OFFSETS, 0, records).ask(&mut client);
    assert_eq!(known(refused.code), InvalidTopicException);
    let index = klamm::group::partition_of("g", 3);
    let bytes = read_all(&mut client, OFFSETS, index, 0);
    let batch = batches(&bytes).next().expect("a batch");
    assert_eq!(batch.header.compression(), Some(klamm::wire::batch::Compression::Zstd));
    let packed = &batch.bytes[klamm::wire::batch::HEADER_BYTES..];
    let records = klamm::wire::compression::decompress(klamm::wire::batch::Compression::Zstd, packed, 1 << 20).unwrap();
    let record = klamm::wire::batch::RecordCursor::new(&records, 1).next().unwrap().unwrap();
    // Kind 1, then the key's fields.
    assert_eq!(record.key, Some(&b"\0\x01\0\x01g\0\x01t\0\0\0\0"[..]));
    let value = record.value.expect("no tombstone");
    let value = OffsetCommitValue::decode(&mut Reader::new(&value[2..]), i16::from(value[1])).expect("a value");
    assert_eq!((value.offset, &*value.metadata), (1, "m"));
    // And is read at the next start.
    broker.kill();
    let broker = Broker::start(dir.path(), &settings);
    assert_eq!(committed_of(&mut Client::connect(broker.address), "g"), [1]);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), 2);
    let list = |client: &mut Client| {
        let response = ask!(client, ListGroups, 5, ListGroupsResponse, ListGroupsRequest::default());
        assert_eq!(known(response.error_code), None);
        let row =
            |group: &list_groups_response::ListedGroup<'_>| (group.group_id.to_string(), group.group_state.to_string());
        let mut groups: Vec<_> = response.groups.iter().map(row).collect();
        groups.sort();
        groups
    };
    assert_eq!(list(&mut client), [], "also before there is a topic");
    client.create("t", 1, &[]);
    client.create("u", 1, &[]);
    find(&mut client, &["g0"]);
    for index in 0..9 {
        assert_eq!(commit(&mut client, &format!("g{index}"), NOBODY, &[("t", 0, index), ("u", 0, 1)]), None);
    }
    let mut member = Member::new(&broker, "g9");
    member.join();
    let row = |name: &str, state: &str| (name.to_string(), state.to_string());
    let mut expected: Vec<_> = (0..9).map(|index| row(&format!("g{index}"), "Empty")).collect();
    expected.push(row("g9", "CompletingRebalance"));
    assert_eq!(list(&mut client), expected);
    let groups: Vec<Cow<'_, str>> = ["g1", "g9", "none", "g2"].map(cow).to_vec();
    let request = DescribeGroupsRequest { groups, ..Default::default() };
    let response = ask!(&mut client, DescribeGroups, 6, DescribeGroupsResponse, request);
    let mut described: Vec<_> = response
        .groups
        .iter()
        .map(|group| (&*group.group_id, known(group.error_code), &*group.group_state, group.members.len()))
        .collect();
    described.sort();
    let expected = [
        ("g1", None, "Empty", 0),
        ("g2", None, "Empty", 0),
        ("g9", None, "CompletingRebalance", 1),
        ("none", GroupIdNotFound, "Dead", 0),
    ];
    assert_eq!(described, expected);
    let host = response.groups.iter().find(|group| group.group_id == "g9").map(|group| &group.members[0]);
    assert_eq!(host.map(|member| (&*member.client_id, &*member.client_host)), Some(("test", "/127.0.0.1")));
    let request = OffsetDeleteRequest {
        group_id: cow("g3"),
        topics: vec![OffsetDeleteRequestTopic {
            name: cow("u"),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    let response = ask!(&mut client, OffsetDelete, 0, OffsetDeleteResponse, request);
    assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(committed_of(&mut client, "g3"), [3]);
    let request = DeleteGroupsRequest { groups_names: ["g0", "g1", "g9", "none"].map(cow).to_vec() };
    let response = ask!(&mut client, DeleteGroups, 2, DeleteGroupsResponse, request);
    let mut deleted: Vec<_> =
        response.results.iter().map(|result| (&*result.group_id, known(result.error_code))).collect();
    deleted.sort();
    assert_eq!(deleted, [("g0", None), ("g1", None), ("g9", NonEmptyGroup), ("none", GroupIdNotFound)]);
    // A topic takes the groups' positions in it along.
    let request = DeleteTopicsRequest { topic_names: vec![cow("u")], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(ask!(&mut client, DeleteTopics, 5, DeleteTopicsResponse, request).responses[0].error_code, 0);
    client.create("u", 1, &[]);
    wait_for("forgotten positions", || (committed_of(&mut client, "g8") == [8]).then_some(()));
    broker.kill();
    let (_broker, mut client) = start(dir.path(), 1);
    let all: Vec<String> = (0..10).map(|index| format!("g{index}")).collect();
    let left: Vec<i64> = committed(&mut client, &all).into_values().collect();
    assert_eq!(left, [2, 3, 4, 5, 6, 7, 8]);
}

/// The topic itself is deleted: its groups are no more, and new ones begin in a new one.
#[test]
fn groups_end_with_their_topic() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(dir.path(), 2);
    client.create("t", 1, &[]);
    find(&mut client, &["g"]);
    assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, 1)]), None);
    let mut member = Member::new(&broker, "m");
    member.join();
    let mut waiting = Member::new(&broker, "m");
    waiting.send_join();
    let request = DeleteTopicsRequest { topic_names: vec![cow(OFFSETS)], timeout_ms: 60_000, ..Default::default() };
    assert_eq!(ask!(&mut client, DeleteTopics, 5, DeleteTopicsResponse, request).responses[0].error_code, 0);
    assert_eq!(waiting.receive_join(), NotCoordinator);
    find(&mut client, &["g"]);
    assert!(committed_of(&mut client, "g").is_empty());
    assert_eq!(member.heartbeat(), UnknownMemberId);
    assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, 2)]), None);
    broker.kill();
    let (_broker, mut client) = start(dir.path(), 1);
    assert_eq!(committed_of(&mut client, "g"), [2]);
}

/// Makes the value of a position's record one that nobody can read, in a batch whose checksum is right.
fn harm(log: &mut [u8], key: &[u8]) {
    let found = log.windows(key.len()).position(|bytes| bytes == key).expect("the record is in the segment");
    // Behind the key: the value's length in one byte, then its version.
    log[found + key.len() + 1..][..2].copy_from_slice(&[0, 77]);
    let of = |batch: &klamm::wire::batch::Batch<'_>| batch.position..batch.position + batch.bytes.len();
    let batch = batches(log).map(|batch| of(&batch)).find(|range| range.contains(&found)).expect("its batch");
    // The checksum covers all that is behind it.
    let checksum = crc32c::crc32c(&log[batch.start + 21..batch.end]);
    log[batch.start + 17..][..4].copy_from_slice(&checksum.to_be_bytes());
}

/// One group cannot be read: it says so, and the log names it; the others are as they were.
#[test]
fn a_record_that_cannot_be_read_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("offsets.topic.num.partitions", "1")];
    let broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    find(&mut client, &["bad"]);
    for (group, offset) in [("one", 1), ("bad", 2), ("two", 3)] {
        assert_eq!(commit(&mut client, group, NOBODY, &[("t", 0, offset)]), None);
    }
    assert_eq!(broker.stop(), Some(0));
    let partition = dir.path().join(format!("{OFFSETS}-0"));
    std::fs::remove_file(partition.join("group.checkpoint")).unwrap();
    let path = partition.join("00000000000000000000.log");
    let mut log = std::fs::read(&path).unwrap();
    harm(&mut log, b"\0\x01\0\x03bad\0\x01t\0\0\0\0");
    std::fs::write(&path, log).unwrap();
    let broker = Broker::start(dir.path(), &settings);
    let mut client = Client::connect(broker.address);
    assert_eq!((committed_of(&mut client, "one"), committed_of(&mut client, "two")), (vec![1], vec![3]));
    broker.wait_for_log("group bad: a record cannot be read");
    assert_eq!(commit(&mut client, "bad", NOBODY, &[("t", 0, 4)]), UnknownServerError);
    let group = OffsetFetchRequestGroup { group_id: cow("bad"), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let response = ask!(&mut client, OffsetFetch, 9, OffsetFetchResponse, request);
    assert_eq!(known(response.groups[0].error_code), UnknownServerError);
    // Deleting it is the way out.
    let request = DeleteGroupsRequest { groups_names: vec![cow("bad")] };
    assert_eq!(ask!(&mut client, DeleteGroups, 2, DeleteGroupsResponse, request).results[0].error_code, 0);
    assert_eq!(commit(&mut client, "bad", NOBODY, &[("t", 0, 5)]), None);
    assert_eq!(committed_of(&mut client, "bad"), [5]);
}

#[test]
fn a_member_that_says_too_much_of_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 1);
    find(&mut client, &["g"]);
    let metadata = vec![7; 1 << 19];
    let join = |client: &mut Client, protocols: usize| {
        let protocol = |number| JoinGroupRequestProtocol {
            name: Cow::Owned(format!("protocol-{number}")),
            metadata: Cow::Borrowed(&metadata),
        };
        let request = JoinGroupRequest {
            group_id: cow("g"),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: cow("consumer"),
            protocols: (0..protocols).map(protocol).collect(),
            ..Default::default()
        };
        client.send(ApiKey::JoinGroup, JOIN, |w| request.encode(w, JOIN));
    };
    // More than a request may hold.
    let mut greedy = Client::connect(broker.address);
    join(&mut greedy, 4);
    assert!(greedy.is_closed());
    join(&mut client, 3);
    let (_, body) = client.receive(ApiKey::JoinGroup, JOIN);
    let response = JoinGroupResponse::decode(&mut Reader::new(body), JOIN).expect("a response");
    assert_eq!(known(response.error_code), PolicyViolation);
    broker.assert_alive();
    assert_eq!(Member::new(&broker, "g").heartbeat(), UnknownMemberId);
}

/// Before there is a topic in which groups are kept, nobody coordinates them, and who asks has the topic made.
#[test]
fn without_their_topic_groups_have_no_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, mut client) = start(dir.path(), 1);
    client.create("t", 1, &[]);
    let group = || OffsetFetchRequestGroup { group_id: cow("g"), ..Default::default() };
    let fetch = OffsetFetchRequest { groups: vec![group()], ..Default::default() };
    let response = ask!(&mut client, OffsetFetch, 9, OffsetFetchResponse, fetch);
    assert_eq!(known(response.groups[0].error_code), NotCoordinator);
    wait_for("the topic", || {
        let fetch = OffsetFetchRequest { groups: vec![group()], ..Default::default() };
        let response = ask!(&mut client, OffsetFetch, 9, OffsetFetchResponse, fetch);
        (response.groups[0].error_code == 0).then_some(())
    });
}

/// Names that come thousands of times, or are as long as names can be.
#[test]
fn repeated_and_long_names_end_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 2);
    client.create("t", 1, &[]);
    find(&mut client, &["g"]);
    assert_eq!(commit(&mut client, "g", NOBODY, &[("t", 0, 1)]), None);
    let many = |count: usize| vec![cow("g"); count];
    let request = DescribeGroupsRequest { groups: many(2_600), ..Default::default() };
    let response = ask!(&mut client, DescribeGroups, 6, DescribeGroupsResponse, request);
    let described: Vec<_> = response.groups.iter().map(|group| (&*group.group_id, group.error_code)).collect();
    assert_eq!(described, [("g", 0)]);
    let group = OffsetFetchRequestGroup { group_id: cow("g"), topics: Option::None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group; 2_600], ..Default::default() };
    let response = ask!(&mut client, OffsetFetch, 9, OffsetFetchResponse, request);
    assert_eq!((response.groups.len(), response.groups[0].topics[0].partitions.len()), (1, 1));
    let long = "x".repeat(32_760);
    let request = DescribeGroupsRequest { groups: vec![cow(&long)], ..Default::default() };
    let response = ask!(&mut client, DescribeGroups, 6, DescribeGroupsResponse, request);
    assert_eq!(known(response.groups[0].error_code), GroupIdNotFound);
    assert_eq!(response.groups[0].group_id, long);
    let request = DeleteGroupsRequest { groups_names: vec![cow(&long); 3] };
    let response = ask!(&mut client, DeleteGroups, 2, DeleteGroupsResponse, request);
    assert_eq!((response.results.len(), known(response.results[0].error_code)), (1, GroupIdNotFound));
    let request = ListGroupsRequest { states_filter: vec![cow("x"); 1_000_000], ..Default::default() };
    let response = ask!(&mut client, ListGroups, 4, ListGroupsResponse, request);
    assert_eq!((response.error_code, response.groups.len()), (0, 0));
    let request = FindCoordinatorRequest { coordinator_keys: vec![cow(""); 2_000_000], ..Default::default() };
    let response = ask!(&mut client, FindCoordinator, 6, FindCoordinatorResponse, request);
    assert_eq!(response.coordinators.len(), 1);
    // Above what a request may hold.
    let request = FindCoordinatorRequest { coordinator_keys: vec![cow(""); 5_000_000], ..Default::default() };
    client.send(ApiKey::FindCoordinator, 6, |w| request.encode(w, 6));
    assert!(client.is_closed());
    broker.assert_alive();
}

#[test]
fn a_protocol_that_is_named_twice_ends_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 1);
    find(&mut client, &["g"]);
    let protocol = |metadata: &'static [u8]| JoinGroupRequestProtocol { name: cow("range"), metadata: metadata.into() };
    let request = JoinGroupRequest {
        group_id: cow("g"),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: cow("consumer"),
        protocols: vec![protocol(b"first"), protocol(b"second")],
        ..Default::default()
    };
    let response = ask!(&mut client, JoinGroup, 3, JoinGroupResponse, request);
    assert_eq!((known(response.error_code), response.protocol_name.as_deref()), (None, Some("range")));
    assert_eq!(&*response.members[0].metadata, b"first");
    broker.assert_alive();
}

/// An answer that would be too large closes the connection that asks for it, and no other.
#[test]
fn an_answer_about_too_many_positions_closes_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 1);
    find(&mut client, &["g"]);
    let topic = offset_fetch_request::OffsetFetchRequestTopics {
        name: cow("t"),
        partition_indexes: (0..4_000_000).collect(),
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup { group_id: cow("g"), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let mut greedy = Client::connect(broker.address);
    greedy.send(ApiKey::OffsetFetch, 9, |w| request.encode(w, 9));
    assert!(greedy.is_closed());
    find(&mut client, &["g"]);
    broker.assert_alive();
}

/// What is named is looked at in one turn, so it is not much.
#[test]
fn a_request_that_names_too_much_closes_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, mut client) = start(dir.path(), 1);
    find(&mut client, &["g"]);
    let names = |count: usize| (0..count).map(|number| format!("g{number}").into()).collect();
    for (count, is_closed) in [(100_000, false), (100_001, true)] {
        let mut greedy = Client::connect(broker.address);
        let partition = OffsetDeleteRequestPartition { partition_index: 1 };
        let topic = OffsetDeleteRequestTopic { name: cow("t"), partitions: vec![partition; count] };
        let delete = OffsetDeleteRequest { group_id: cow("g"), topics: vec![topic] };
        greedy.send(ApiKey::OffsetDelete, 0, |w| delete.encode(w, 0));
        assert_eq!(greedy.is_closed(), is_closed, "OffsetDelete {count}");
        let mut greedy = Client::connect(broker.address);
        let delete = DeleteGroupsRequest { groups_names: names(count) };
        greedy.send(ApiKey::DeleteGroups, 2, |w| delete.encode(w, 2));
        assert_eq!(greedy.is_closed(), is_closed, "DeleteGroups {count}");
    }
    find(&mut client, &["g"]);
    broker.assert_alive();
}

/// Each version of each API of groups is answered in a form that its client can read.
#[test]
fn every_version_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, mut client) = start(dir.path(), 2);
    client.create("t", 1, &[]);
    find(&mut client, &["g"]);
    macro_rules! each {
        ($api:ident, $versions:expr, $response:ident, $request:expr) => {
            for version in $versions {
                ask!(&mut client, $api, version, $response, $request);
            }
        };
    }
    let keys = || FindCoordinatorRequest { key: cow("g"), coordinator_keys: vec![cow("g")], ..Default::default() };
    each!(FindCoordinator, 0..=6, FindCoordinatorResponse, keys());
    each!(JoinGroup, 0..=9, JoinGroupResponse, JoinGroupRequest { group_id: cow("g"), ..Default::default() });
    each!(SyncGroup, 0..=5, SyncGroupResponse, SyncGroupRequest { group_id: cow("g"), ..Default::default() });
    each!(Heartbeat, 0..=4, HeartbeatResponse, HeartbeatRequest { group_id: cow("g"), ..Default::default() });
    each!(LeaveGroup, 0..=5, LeaveGroupResponse, LeaveGroupRequest { group_id: cow("g"), ..Default::default() });
    each!(OffsetCommit, 2..=9, OffsetCommitResponse, commit_request("g", NOBODY, &[("t", 0, 1)]));
    let group = || OffsetFetchRequestGroup { group_id: cow("g"), ..Default::default() };
    let fetch = || OffsetFetchRequest { group_id: cow("g"), groups: vec![group()], ..Default::default() };
    each!(OffsetFetch, 1..=9, OffsetFetchResponse, fetch());
    each!(ListGroups, 0..=5, ListGroupsResponse, ListGroupsRequest::default());
    let describe = || DescribeGroupsRequest { groups: vec![cow("g")], ..Default::default() };
    each!(DescribeGroups, 0..=6, DescribeGroupsResponse, describe());
    each!(OffsetDelete, 0..=0, OffsetDeleteResponse, OffsetDeleteRequest { group_id: cow("g"), ..Default::default() });
    each!(DeleteGroups, 0..=2, DeleteGroupsResponse, DeleteGroupsRequest { groups_names: vec![cow("g")] });
    // No groups at all are answered with none.
    assert_eq!(ask!(&mut client, OffsetFetch, 9, OffsetFetchResponse, OffsetFetchRequest::default()).groups, []);
    let none = DeleteGroupsRequest::default();
    assert_eq!(ask!(&mut client, DeleteGroups, 2, DeleteGroupsResponse, none).results, []);
    // A request that ends early closes the connection, wherever the coordinator is.
    for group in ["a", "b", "c", "d"] {
        let mut client = Client::connect(client.stream.peer_addr().unwrap());
        client.send(ApiKey::JoinGroup, 0, |w| w.put_string(group, false));
        assert!(client.is_closed());
    }
}
