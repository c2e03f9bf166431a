//! Loading, and what idleness costs.

use crate::bench::{Bench, checkpoint, commit, join, restore, sync};
use klamm::group::{Coordinator, Request, Response, Settings};
use klamm::types::{Now, Time};

/// A log of commits to `groups` groups, with 4 partitions of as many topics as it takes.
fn commits(groups: usize, positions: usize) -> Bench {
    let mut bench = Bench::new(Settings::default());
    for group in 0..groups {
        let group = format!("application-group-{group:04}");
        let topics: Vec<String> =
            (0..positions / 4).map(|topic| format!("a-topic-of-some-length-{topic:04}")).collect();
        for chunk in topics.chunks(250) {
            let position = |topic| (0..4).map(move |partition| (topic, partition, 12_345_678, ""));
            let positions: Vec<_> = chunk.iter().flat_map(|topic| position(&**topic)).collect();
            let response = bench.ask(9, &Request::OffsetCommit(commit(&group, "", None, -1, &positions)));
            assert!(matches!(response, Response::OffsetCommit(_)));
        }
    }
    bench
}

#[test]
fn a_checkpoint_and_the_records_after_it_are_the_whole_log() {
    let mut bench = commits(7, 40);
    let begun_at = bench.coordinator.offset_end();
    let mut growing = bench.coordinator.checkpoint();
    assert!(bench.coordinator.checkpoint_part(&mut growing, 1), "it takes several steps");
    // Steps between the parts: of groups that are in it, and of groups that are not.
    for group in ["application-group-0000", "application-group-0006", "new"] {
        bench.ask(9, &Request::OffsetCommit(commit(group, "", None, -1, &[("t", 0, 1, "x"), ("t", 1, 2, "")])));
    }
    bench.ask(2, &crate::bench::delete("application-group-0005"));
    bench.ask(2, &crate::bench::delete("application-group-0001"));
    while bench.coordinator.checkpoint_part(&mut growing, 1) {}
    let bytes = growing.finish();
    let mut restored = Coordinator::new(Settings::default());
    assert_eq!(restore(&mut restored, &bytes), Ok(begun_at));
    for (offset, (key, value)) in bench.log.iter().enumerate().skip(begun_at as usize) {
        restored.replay(offset as i64, key, value.as_deref());
    }
    restored.loaded(bench.now());
    let mut replayed = bench.replayed();
    replayed.loaded(bench.now());
    let whole = checkpoint(&bench.coordinator);
    assert!(whole == checkpoint(&restored) && whole == checkpoint(&replayed));
    assert_eq!(restored.offset_end(), bench.log.len() as i64);
}

#[test]
fn a_harmed_checkpoint_changes_nothing() {
    let bench = commits(1, 8);
    let mut bytes = checkpoint(&bench.coordinator);
    bytes[30] ^= 1;
    let mut coordinator = Coordinator::new(Settings::default());
    assert!(restore(&mut coordinator, &bytes).is_err());
    assert_eq!((coordinator.group_count(), coordinator.offset_end()), (0, 0));
}

#[test]
fn records_that_name_no_group_are_counted() {
    let mut coordinator = Coordinator::new(Settings::default());
    for offset in 0..5 {
        coordinator.replay(offset, &[0, 3, 0, 1, b'g'], Some(&[0, 0]));
    }
    coordinator.replay(5, &[0], Some(&[0, 0]));
    coordinator.loaded(Now::default());
    let events: Vec<String> = coordinator.take_events().iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(events, ["UnknownKind { kind: 3, records: 5 }", "MalformedKeys { records: 1, first: [0] }"]);
}

/// Whatever the log holds, it is loaded, and the groups that it leaves answer.
#[test]
fn a_mutated_log_stops_nobody() {
    use rand::{Rng, SeedableRng};
    let mut bench = Bench::new(Settings::default());
    for name in ["one", "two"] {
        let mut request = join("g", "", Some(name), "range:@t");
        request.session_timeout_ms = 45_000;
        bench.send("app", 5, &Request::JoinGroup(request));
    }
    let leader = bench.wait(200).into_iter().find_map(|answer| match answer.response {
        Response::JoinGroup(r) if r.leader == r.member_id => Some(r.member_id.to_string()),
        _ => None,
    });
    let leader = leader.expect("somebody leads");
    let shares = [(leader.clone(), "0".to_string())];
    bench.ask(5, &Request::SyncGroup(sync("g", &leader, Some("one"), 1, &shares)));
    bench.ask(9, &Request::OffsetCommit(commit("h", "", None, -1, &[("t", 0, 1, "metadata")])));
    // Without the record of the new group, which says nothing.
    let good = bench.log.split_off(1);
    assert_eq!(good.len(), 2);
    let (mut malformed, mut whole) = (0, 0);
    for seed in 0..5_000 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        bench.log = good.clone();
        let record = random.random_range(0..2);
        let (key, value) = &mut bench.log[record];
        let bytes = if random.random_ratio(1, 4) { key } else { value.as_mut().expect("it is no tombstone") };
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len().max(1));
            match random.random_range(0..3) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), random.random()),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random()),
            }
        }
        bench.restart();
        match bench.coordinator.take_events().is_empty() {
            true => whole += 1,
            false => malformed += 1,
        }
        for group in ["g", "h"] {
            assert!(matches!(bench.ask(6, &crate::bench::describe(group)), Response::DescribeGroups(_)));
        }
        bench.wait(50_000);
        bench.ask(2, &crate::bench::delete("g"));
        let live = checkpoint(&bench.coordinator);
        let mut replayed = bench.replayed();
        replayed.loaded(bench.now());
        assert!(live == checkpoint(&replayed), "seed {seed}");
    }
    assert!(malformed > 300 && whole > 300, "{malformed}, {whole}");
}

/// A hundred groups of ten members that send heartbeats: each group is looked at about once a session, not at each beat.
#[test]
fn idle_groups_cost_nothing_but_their_heartbeats() {
    const GROUPS: usize = 100;
    const MEMBERS: usize = 10;
    let mut bench = Bench::new(Settings::default());
    let mut members = Vec::new();
    for group in 0..GROUPS {
        let group = format!("g{group}");
        for _ in 0..MEMBERS {
            let mut request = join(&group, "", None, "range:m");
            request.session_timeout_ms = 45_000;
            bench.send("app", 3, &Request::JoinGroup(request));
        }
        bench.wait(100).into_iter().for_each(|answer| {
            let Response::JoinGroup(response) = answer.response else { return };
            members.push((group.clone(), response.member_id.to_string(), response.leader == response.member_id));
        });
    }
    assert_eq!(members.len(), GROUPS * MEMBERS);
    for (group, member, _) in &members {
        bench.send("app", 3, &Request::SyncGroup(sync(group, member, None, 1, &[])));
    }
    bench.flush();
    let mut ticks = 0;
    for _ in 0..30 {
        let end = bench.now_ms + 3_000;
        while let Some(due) =
            bench.coordinator.deadline().map(|time| time.0 / Time::MILLISECOND).filter(|&due| due <= end)
        {
            bench.now_ms = due;
            bench.coordinator.tick(bench.now());
            ticks += 1;
        }
        bench.now_ms = end;
        bench.coordinator.take_answers();
        for (group, member, _) in &members {
            bench.send("app", 4, &Request::Heartbeat(crate::bench::beat(group, member, None, 1)));
        }
        let answers = bench.coordinator.take_answers();
        assert!(answers.iter().all(|answer| matches!(&answer.response, Response::Heartbeat(r) if r.error_code == 0)));
    }
    assert!(ticks <= 4 * GROUPS, "90 seconds are two sessions, but there were {ticks} ticks");
}
