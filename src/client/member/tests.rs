//! Questions, answers and what a member makes of them.

use super::*;
use crate::types::BrokerId;

fn at(ms: u64) -> Time {
    Time(0).after_ms(ms)
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn share(partitions: &[i32]) -> Share {
    if partitions.is_empty() { Share::new() } else { vec![("t".to_string(), partitions.to_vec())] }
}

fn subscription(owned: &[i32]) -> Subscription {
    Subscription { topics: vec!["t".to_string()], owned: Some(share(owned)) }
}

struct Stage {
    member: Member,
    now: Time,
}

impl Stage {
    fn new(assignor: Assignor, instance: Option<&str>) -> Stage {
        let settings = Settings {
            topics: vec!["t".to_string()],
            assignor,
            session_ms: 10_000,
            rebalance_ms: 20_000,
            heartbeat_ms: 1_000,
            commit_ms: Some(5_000),
            reads: true,
            pause_ms: 50,
            answer_ms: 3_000,
        };
        Stage { member: Member::new(Arc::new(settings), "g", instance.map(str::to_string), at(0)), now: at(0) }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.member.step(self.now, event, &mut actions);
        actions
    }

    fn tick(&mut self, ms: u64) -> Vec<Action> {
        self.now = at(ms);
        self.step(Event::Tick)
    }

    fn ok(&mut self, answer: Answer) -> Vec<Action> {
        self.step(Event::Answered(0, answer))
    }

    fn refused(&mut self, code: ErrorCode) -> Vec<Action> {
        self.step(Event::Answered(code.code(), Answer::Nothing))
    }

    fn joined(&mut self, generation: i32, members: &[(&str, &[i32])]) -> Vec<Action> {
        let member = |(id, owned): &(&str, &[i32])| Joined {
            id: id.to_string(),
            instance: None,
            subscription: subscription(owned),
        };
        let members = members.iter().map(member).collect();
        self.ok(Answer::Joined { id: "a".into(), generation, leader: "a".into(), members })
    }

    /// A member that reads 0 and 1 from 100 and from 7 on, at the time 10.
    fn reading(assignor: Assignor) -> Stage {
        let mut stage = Stage::new(assignor, None);
        assert_eq!(stage.tick(10), [Action::Ask(Ask::Find)]);
        assert!(matches!(&found(&mut stage)[..], [Action::Ask(Ask::Join { .. })]));
        let id = Answer::Joined { id: "a".into(), generation: -1, leader: "".into(), members: Vec::new() };
        let again = stage.step(Event::Answered(ErrorCode::MemberIdRequired.code(), id));
        assert!(matches!(&again[..], [Action::Ask(Ask::Join { .. })]) && stage.member.own.id == "a");
        stage.joined(1, &[]);
        let assigned = stage.ok(Answer::Synced(share(&[0, 1])));
        let committed = Ask::Committed(vec![place(0), place(1)]);
        assert_eq!(assigned, [Action::Assigned { took_ns: at(10).0 }, Action::Ask(committed)]);
        let begin = stage.ok(Answer::Committed(vec![(place(0), -1), (place(1), 7)]));
        assert_eq!(begin, [Action::Begin(vec![(place(0), None), (place(1), Some(7))])]);
        assert!(!stage.member.has_positions());
        assert!(stage.member.read(&place(0), 100) && stage.member.read(&place(1), 7));
        assert!(stage.member.has_positions() && stage.member.is_stable() && !stage.member.read(&place(3), 1));
        assert_eq!(stage.member.deadline(), at(1_010));
        stage
    }
}

fn found(stage: &mut Stage) -> Vec<Action> {
    stage.ok(Answer::Found(Coordinator { node: BrokerId(1), host: "h".into(), port: 1 }))
}

fn commit(positions: &[(i32, Offset)]) -> Action {
    Action::Ask(Ask::Commit(positions.iter().map(|&(partition, next)| (place(partition), next)).collect()))
}

fn is_join(actions: &[Action], owned: Option<&[i32]>) -> bool {
    let [.., Action::Ask(Ask::Join { subscription, .. })] = actions else { return false };
    subscription.owned == owned.map(share)
}

#[test]
fn an_eager_member_gives_all_up_before_it_joins_again() {
    let mut stage = Stage::reading(Assignor::Range);
    stage.member.read(&place(0), 105);
    assert_eq!(stage.tick(2_000), [Action::Ask(Ask::Heartbeat)]);
    let told = stage.refused(ErrorCode::RebalanceInProgress);
    assert_eq!(told, [Action::Revoked, commit(&[(0, 105), (1, 7)])]);
    assert_eq!(stage.member.owned().count(), 0);
    assert!(is_join(&stage.ok(Answer::Nothing), None));
    stage.now = at(2_500);
    let sync = stage.joined(2, &[]);
    assert_eq!(sync, [Action::Ask(Ask::Sync { protocol: "range", shares: Vec::new() })]);
    stage.now = at(3_000);
    let assigned = stage.ok(Answer::Synced(share(&[1])));
    assert_eq!(assigned[0], Action::Assigned { took_ns: at(1_000).0 });
    assert_eq!(assigned[1], Action::Ask(Ask::Committed(vec![place(1)])));
}

#[test]
fn a_cooperative_member_goes_on_with_what_stays() {
    let mut stage = Stage::reading(Assignor::CooperativeSticky);
    stage.member.read(&place(0), 105);
    stage.tick(2_000);
    assert!(is_join(&stage.refused(ErrorCode::RebalanceInProgress), Some(&[0, 1])));
    assert!(stage.member.read(&place(0), 106), "it reads on");
    let count = stage.joined(2, &[("a", &[0, 1]), ("b", &[]), ("c", &[])]);
    assert_eq!(count, [Action::Count(vec!["t".to_string()])]);
    assert_eq!(stage.member.deadline(), Time(u64::MAX));
    let sync = stage.step(Event::Counted(BTreeMap::from([("t".to_string(), 3)])));
    let [Action::Ask(Ask::Sync { shares, .. })] = &sync[..] else { panic!("{sync:?}") };
    let expected = [("a", &[0][..]), ("b", &[2]), ("c", &[])];
    assert_eq!(*shares, expected.map(|(id, own)| (id.to_string(), encode_assignment(&share(own)))), "it leads");
    stage.now = at(3_000);
    let assigned = stage.ok(Answer::Synced(share(&[0])));
    assert_eq!(assigned, [Action::Assigned { took_ns: at(1_000).0 }, Action::Revoked, commit(&[(1, 7)])]);
    assert!(!stage.member.is_stable());
    assert!(is_join(&stage.ok(Answer::Nothing), Some(&[0])));
    assert_eq!(stage.member.positions().collect::<Vec<_>>(), [(&place(0), 106)]);
}

#[test]
fn a_cooperative_member_that_missed_a_rebalance_commits_nothing_of_before() {
    let mut stage = Stage::reading(Assignor::CooperativeSticky);
    stage.member.read(&place(0), 105);
    stage.tick(2_000);
    stage.refused(ErrorCode::RebalanceInProgress);
    // In generation 2 others had its partitions: it comes back in the next.
    assert_eq!(stage.joined(3, &[])[0], Action::Revoked);
    let assigned = stage.ok(Answer::Synced(share(&[0])));
    let [Action::Assigned { .. }, Action::Ask(Ask::Join { subscription, .. })] = &assigned[..] else {
        panic!("it has others given what it claimed: {assigned:?}")
    };
    assert_eq!(subscription.owned, Some(share(&[0])));
    assert_eq!(stage.member.positions().count(), 0, "where to read on is asked");
}

#[test]
fn a_member_that_is_unknown_begins_again() {
    for (code, id) in [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, "a")] {
        let mut stage = Stage::reading(Assignor::Range);
        stage.member.read(&place(0), 105);
        stage.tick(2_000);
        let told = stage.refused(code);
        assert!(told[0] == Action::Revoked && is_join(&told, None), "what it had is another's: {told:?}");
        let own = stage.member.own();
        assert_eq!((own.id.as_str(), own.generation, stage.member.owned().count()), (id, -1, 0));
    }
}

#[test]
fn what_is_read_is_committed_from_time_to_time_and_at_the_end() {
    let mut stage = Stage::reading(Assignor::Range);
    stage.member.read(&place(1), 9);
    stage.tick(6_000);
    assert_eq!(stage.ok(Answer::Nothing), [commit(&[(0, 100), (1, 9)])]);
    assert_eq!(stage.ok(Answer::Nothing), []);
    stage.member.read(&place(1), 10);
    assert_eq!(stage.step(Event::Leave), [commit(&[(0, 100), (1, 10)])]);
    assert_eq!(stage.ok(Answer::Nothing), [Action::Ask(Ask::Leave)]);
    assert_eq!(stage.ok(Answer::Nothing), [Action::Left]);
    assert!(stage.member.is_gone());
    assert_eq!((stage.tick(9_000), stage.member.deadline()), (vec![], Time(u64::MAX)));
}

#[test]
fn a_static_member_leaves_without_a_word() {
    let mut stage = Stage::new(Assignor::Range, Some("i"));
    stage.tick(0);
    found(&mut stage);
    stage.joined(1, &[]);
    stage.ok(Answer::Synced(Share::new()));
    assert_eq!(stage.step(Event::Leave), [Action::Left]);
}

#[test]
fn a_member_whose_place_is_taken_is_gone() {
    let mut stage = Stage::reading(Assignor::Range);
    stage.tick(2_000);
    let code = ErrorCode::FencedInstanceId;
    assert_eq!(stage.refused(code), [Action::Refused(ApiKey::Heartbeat, code.code()), Action::Left]);
    assert!(stage.member.is_gone());
}

#[test]
fn a_coordinator_that_is_not_ready_is_asked_again_later_and_later() {
    let mut stage = Stage::new(Assignor::Range, None);
    stage.tick(0);
    for pause in [50, 100, 200] {
        let mut expected = vec![];
        let code = match pause {
            100 => ErrorCode::CoordinatorLoadInProgress,
            _ => {
                expected.push(Action::HangUp);
                ErrorCode::CoordinatorNotAvailable
            }
        };
        assert_eq!(stage.refused(code), expected);
        stage.now = stage.now.after_ms(pause);
        assert_eq!((stage.member.deadline(), stage.step(Event::Tick)), (stage.now, vec![Action::Ask(Ask::Find)]));
    }
}

#[test]
fn a_coordinator_that_moves_is_found_again() {
    let mut stage = Stage::reading(Assignor::Range);
    stage.member.read(&place(0), 105);
    stage.tick(5_010);
    assert_eq!(stage.ok(Answer::Nothing), [commit(&[(0, 105), (1, 7)])]);
    assert_eq!(stage.refused(ErrorCode::NotCoordinator), [Action::HangUp]);
    assert_eq!(stage.tick(5_060), [Action::Ask(Ask::Find)]);
    found(&mut stage);
    assert_eq!((stage.member.owned().count(), stage.member.own().generation), (2, 1), "it goes on as it was");
    stage.tick(10_010);
    assert_eq!(stage.ok(Answer::Nothing), [commit(&[(0, 105), (1, 7)])], "what was not taken is committed later");
}

#[test]
fn answers_that_do_not_come_in_time_are_lost() {
    let mut stage = Stage::reading(Assignor::Range);
    stage.tick(2_000);
    assert_eq!((stage.tick(4_999), stage.member.deadline()), (vec![], at(5_000)));
    assert_eq!(stage.tick(5_000), [Action::HangUp]);
    stage.tick(5_050);
    assert!(matches!(&found(&mut stage)[..], [Action::Ask(Ask::Heartbeat)]), "it is a member as before");
    // Who waits for others waits for as long as a rebalance takes.
    let told = stage.refused(ErrorCode::RebalanceInProgress);
    assert!(told.contains(&Action::Revoked));
    stage.ok(Answer::Nothing);
    assert_eq!(stage.member.deadline(), at(5_050 + 23_000));
    assert_eq!(stage.step(Event::Lost), [], "whoever lost the connection need not close it");
    stage.tick(5_150);
    assert!(is_join(&found(&mut stage), None));
}

#[test]
fn what_nobody_expects_is_told() {
    let mut stage = Stage::new(Assignor::Range, None);
    stage.tick(0);
    found(&mut stage);
    let code = ErrorCode::GroupAuthorizationFailed;
    assert_eq!(stage.refused(code), [Action::Refused(ApiKey::JoinGroup, code.code())]);
    assert!(is_join(&stage.tick(50), None));
}

#[test]
fn a_static_member_that_comes_back_begins_the_rebalance_that_it_may_owe() {
    for (assignor, owes) in [(Assignor::CooperativeSticky, true), (Assignor::Range, false)] {
        let mut stage = Stage::new(assignor, Some("i"));
        stage.tick(10);
        found(&mut stage);
        // The group has not noticed that it was gone: nobody is to be shared out among.
        stage.joined(1, &[]);
        let assigned = stage.ok(Answer::Synced(share(&[0, 1])));
        assert_eq!(is_join(&assigned, Some(&[0, 1])), owes, "{assigned:?}");
        if owes {
            stage.joined(2, &[]);
            assert!(!is_join(&stage.ok(Answer::Synced(share(&[0, 1]))), Some(&[0, 1])), "once is enough");
        }
    }
}
