//! A coordinator that has not read its log yet says so, whatever it is asked, and then knows what was committed.

use crate::member::{self, Ask, TOPIC};
use crate::node::{Process, World};
use bytes::Bytes;
use klamm::client::ask::{Ask as Question, Identity};
use klamm::client::assignment::Subscription;
use klamm::client::partition::TopicPartition;
use klamm::shard::port::ConnectionId;
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::error::ErrorCode;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::*;

const CLIENT: ConnectionId = ConnectionId(1);
const GROUP: &str = "g";

fn ask(
    world: &mut World,
    process: &mut Process,
    (api, version): (ApiKey, i16),
    body: impl FnOnce(&mut Writer),
) -> Bytes {
    process.send(world, 0, CLIENT, &request_frame(api, version, 1, None, body));
    loop {
        if let Some((_, _, frame)) = process.answers.pop_front() {
            let mut r = Reader::new(&frame[4..]);
            ResponseHeader::decode(&mut r, api.header_versions(version).1).expect("a header");
            return frame.slice(frame.len() - r.remaining()..);
        }
        assert!(process.step(world).expect("nothing ends it"), "the broker does nothing and owes an answer");
    }
}

fn outside() -> Identity {
    Identity { group: GROUP.to_string(), instance: None, id: String::new(), generation: -1 }
}

fn ask_as(world: &mut World, process: &mut Process, own: &Identity, question: &Ask) -> ErrorCode {
    let answer = ask(world, process, question.api(), |w| question.encode(w, own));
    question.decode(&mut Reader::new(&answer)).0
}

fn committed(world: &mut World, process: &mut Process) -> (ErrorCode, Vec<i64>) {
    let answer = ask(world, process, (ApiKey::OffsetFetch, 9), |w| member::fetch(GROUP, None).encode(w, 9));
    let (code, found) = member::fetched(&mut Reader::new(&answer), 9);
    (ErrorCode::from_code(code).expect("a code of Kafka's"), found.into_iter().map(|(_, _, offset)| offset).collect())
}

#[test]
fn a_coordinator_that_loads_says_so() {
    let mut world = World::new(1, crate::config(&mut rand::SeedableRng::seed_from_u64(1)), false);
    world.steps_left = u64::MAX;
    let mut process = world.boot(1).expect("nothing ends it");
    process.connect(0, CLIENT);
    let own = outside();
    for question in [Ask::Of(Question::Find), Ask::Create] {
        assert_eq!(ask_as(&mut world, &mut process, &own, &question), ErrorCode::None);
    }
    let answer = ask(&mut world, &mut process, (ApiKey::OffsetCommit, 9), |w| {
        member::commit(GROUP, TOPIC, &[(0, 7), (1, 8)], "").encode(w, 9);
    });
    let answer = OffsetCommitResponse::decode(&mut Reader::new(&answer), 9).expect("an answer");
    assert!(answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0));
    drop(process);
    world.crash();
    let mut process = world.boot(1).expect("nothing ends it");
    process.connect(0, CLIENT);
    // The first turn asks for the checkpoint; nothing of it has come yet.
    process.end_turn(&mut world, 0);
    let loading = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(committed(&mut world, &mut process), (loading, Vec::new()));
    let member = Identity { generation: 1, ..own };
    let place = TopicPartition::new(TOPIC, 0);
    let questions = [
        Question::Join { protocol: "range", session_ms: 60, rebalance_ms: 60, subscription: Subscription::default() },
        Question::Sync { protocol: "range", shares: Vec::new() },
        Question::Commit(vec![(place.clone(), 9)]),
        Question::Committed(vec![place]),
    ];
    for question in questions.map(Ask::Of) {
        assert_eq!(ask_as(&mut world, &mut process, &member, &question), loading, "{question:?}");
    }
    let beat = Ask::Of(Question::Heartbeat);
    assert_eq!(ask_as(&mut world, &mut process, &member, &beat), ErrorCode::None);
    let request = ListGroupsRequest::default();
    let answer = ask(&mut world, &mut process, (ApiKey::ListGroups, 5), |w| request.encode(w, 5));
    let answer = ListGroupsResponse::decode(&mut Reader::new(&answer), 5).expect("an answer");
    assert_eq!(answer.error_code, loading.code());
    while !process.is_idle(&world) {
        process.step(&mut world).expect("nothing ends it");
    }
    assert_eq!(committed(&mut world, &mut process), (ErrorCode::None, vec![7, 8]));
}

fn delete_topic(w: &mut Writer) {
    let state = delete_topics_request::DeleteTopicState { name: Some(TOPIC.into()), ..Default::default() };
    DeleteTopicsRequest { topics: vec![state], timeout_ms: i32::MAX, ..Default::default() }.encode(w, 6);
}

/// Power fails at any step of a topic's deletion: once the topic is gone, so are the positions in it, even if its name is
/// used again before the coordinator has begun to load.
#[test]
fn positions_do_not_outlive_their_topic() {
    let (mut gone, mut there) = (0, 0);
    for steps in 0..60 {
        let mut world = World::new(steps, crate::config(&mut rand::SeedableRng::seed_from_u64(1)), false);
        world.steps_left = u64::MAX;
        let mut process = world.boot(1).expect("nothing ends it");
        process.connect(0, CLIENT);
        let own = outside();
        for question in [Ask::Of(Question::Find), Ask::Create] {
            assert_eq!(ask_as(&mut world, &mut process, &own, &question), ErrorCode::None);
        }
        ask(&mut world, &mut process, (ApiKey::OffsetCommit, 9), |w| {
            member::commit(GROUP, TOPIC, &[(0, 7)], "").encode(w, 9);
        });
        assert_eq!(committed(&mut world, &mut process), (ErrorCode::None, vec![7]));
        process.send(&mut world, 0, CLIENT, &request_frame(ApiKey::DeleteTopics, 6, 1, None, delete_topic));
        for _ in 0..steps / 3 {
            process.step(&mut world).expect("nothing ends it");
        }
        drop(process);
        world.crash();
        let mut process = world.boot(1).expect("nothing ends it");
        process.connect(0, CLIENT);
        let is_gone = process.shards[0].image().topic(TOPIC).is_none();
        assert_eq!(ask_as(&mut world, &mut process, &own, &Ask::Create), ErrorCode::None);
        while committed(&mut world, &mut process).0 != ErrorCode::None {
            process.step(&mut world).expect("nothing ends it");
        }
        while !process.is_idle(&world) {
            process.step(&mut world).expect("nothing ends it");
        }
        let expected = if is_gone { Vec::new() } else { vec![7] };
        assert_eq!(committed(&mut world, &mut process), (ErrorCode::None, expected), "{steps} steps");
        (gone, there) = (gone + usize::from(is_gone), there + usize::from(!is_gone));
    }
    assert!(gone > 0 && there > 0, "{gone} and {there}: a crash before and after the deletion");
}
