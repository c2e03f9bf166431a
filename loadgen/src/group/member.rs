//! One member of a group as clients make them: what it asks next, and what it makes of the answers. No sockets, no clock.

use super::Plan;
use super::ask::{Answer, Ask, Identity};
use super::assign::{self, Partitions};
use klamm::client::membership::Standing;
use klamm::wire::error::ErrorCode;
use std::collections::BTreeMap;

/// Pause before something is asked again that could not be answered.
const RETRY_NS: u64 = 50_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The coordinator is to be found.
    Find,
    Join,
    Sync,
    Stable,
    Gone,
}

#[derive(Debug)]
pub struct Member {
    pub own: Identity,
    step: Step,
    /// Partitions that are its own, with the offset to read next once that is known.
    owned: BTreeMap<i32, Option<i64>>,
    /// Positions that are to be committed before another member takes their partitions over.
    handover: Vec<(i32, i64)>,
    /// As the leader: everybody's share.
    shares: Vec<(String, Vec<u8>)>,
    asked: Option<Ask>,
    leaving: bool,
    /// Records were delivered that are not committed.
    dirty: bool,
    beat_ns: u64,
    commit_ns: u64,
    retry_ns: u64,
    /// When it learnt that there is a rebalance to take part in.
    learnt_ns: u64,
}

/// What an answer has led to.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    Nothing,
    /// The coordinator is at this address.
    Found(String),
    /// What it owns may have changed; it took this long since the member learnt of the rebalance.
    Assigned {
        took_ns: u64,
    },
    /// It has lost what it owned, or given it up.
    Revoked,
    /// It has left.
    Left,
    /// An error that no client expects.
    Error(i16),
}

impl Member {
    pub fn new(group: &str, now_ns: u64) -> Member {
        Member {
            own: Identity { group: group.to_string(), member: String::new(), generation: -1 },
            step: Step::Find,
            owned: BTreeMap::new(),
            handover: Vec::new(),
            shares: Vec::new(),
            asked: None,
            leaving: false,
            dirty: false,
            beat_ns: 0,
            commit_ns: 0,
            retry_ns: 0,
            learnt_ns: now_ns,
        }
    }

    pub fn is_stable(&self) -> bool {
        self.step == Step::Stable && self.handover.is_empty()
    }

    /// Whether it still belongs to the group, as far as the group is concerned.
    pub fn is_staying(&self) -> bool {
        !self.leaving && self.step != Step::Gone
    }

    pub fn owned(&self) -> impl Iterator<Item = i32> {
        self.owned.keys().copied()
    }

    /// What is to be read: partitions and their next offsets.
    pub fn positions(&self) -> impl Iterator<Item = (i32, i64)> {
        self.owned.iter().filter_map(|(&partition, next)| Some((partition, (*next)?)))
    }

    pub fn has_positions(&self) -> bool {
        self.owned.values().all(Option::is_some)
    }

    /// Offsets up to `next` have been read; `false` if the partition is no longer its own.
    pub fn read(&mut self, partition: i32, next: i64) -> bool {
        let Some(position) = self.owned.get_mut(&partition) else { return false };
        *position = Some(next);
        self.dirty = true;
        true
    }

    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// When [`Member::next`] may have something to ask although nothing happens.
    pub fn wake_ns(&self, plan: &Plan) -> u64 {
        let due = match self.step {
            Step::Stable if plan.is_consuming => self.beat_ns.min(self.commit_ns),
            Step::Stable => self.beat_ns,
            Step::Gone => u64::MAX,
            _ => 0,
        };
        due.max(self.retry_ns)
    }

    /// What it asks now. Its answer goes to [`Member::answered`] before there is another question.
    pub fn next(&mut self, plan: &Plan, now_ns: u64) -> Option<Ask> {
        if self.asked.is_some() || now_ns < self.retry_ns {
            return None;
        }
        let ask = self.choose(plan, now_ns)?;
        self.asked = Some(ask.clone());
        Some(ask)
    }

    fn choose(&mut self, plan: &Plan, now_ns: u64) -> Option<Ask> {
        match self.step {
            Step::Gone => return None,
            Step::Find => return Some(Ask::Find),
            _ => {}
        }
        if self.leaving && !self.owned.is_empty() {
            self.give_up_all();
        }
        if !self.handover.is_empty() {
            return Some(Ask::Commit { positions: std::mem::take(&mut self.handover) });
        }
        if self.leaving {
            return Some(Ask::Leave);
        }
        match self.step {
            Step::Join => Some(Ask::Join { owned: self.owned().collect() }),
            Step::Sync => Some(Ask::Sync { shares: std::mem::take(&mut self.shares) }),
            Step::Stable => {
                let unknown: Vec<i32> = self.owned.iter().filter(|(_, next)| next.is_none()).map(|(&p, _)| p).collect();
                if !unknown.is_empty() && plan.is_consuming {
                    return Some(Ask::Positions { partitions: unknown });
                }
                if self.beat_ns <= now_ns {
                    self.beat_ns = now_ns + plan.heartbeat_ns;
                    return Some(Ask::Heartbeat);
                }
                if self.commit_ns <= now_ns {
                    self.commit_ns = now_ns + plan.commit_ns;
                    let dirty = std::mem::take(&mut self.dirty);
                    return dirty.then(|| Ask::Commit { positions: self.positions().collect() });
                }
                None
            }
            Step::Find | Step::Gone => unreachable!("they have returned"),
        }
    }

    /// Stops reading; where it had come to is committed first of all.
    fn give_up_all(&mut self) {
        self.handover = self.positions().collect();
        self.owned.clear();
    }

    pub fn answered(&mut self, plan: &Plan, now_ns: u64, code: i16, answer: Answer) -> Outcome {
        let ask = self.asked.take().expect("an answer to a question");
        if matches!(ask, Ask::Leave) {
            // Whatever it says: the member asks nothing more.
            self.step = Step::Gone;
            return Outcome::Left;
        }
        let Some(ErrorCode::None) = ErrorCode::from_code(code) else {
            return self.refused(plan, now_ns, &ask, code, answer);
        };
        match (ask, answer) {
            (Ask::Find, Answer::Found(address)) => {
                self.step = if self.own.generation >= 0 { Step::Stable } else { Step::Join };
                Outcome::Found(address)
            }
            (Ask::Join { .. }, Answer::Joined { member, generation, members }) => {
                (self.own.member, self.own.generation, self.step) = (member, generation, Step::Sync);
                self.shares = share_out(plan, &members);
                Outcome::Nothing
            }
            (Ask::Sync { .. }, Answer::Synced(share)) => match assign::assigned(&share) {
                Ok(share) => self.assigned(plan, now_ns, &share),
                Err(_) => Outcome::Error(ErrorCode::UnknownServerError.code()),
            },
            (Ask::Positions { .. }, Answer::Positions(positions)) => {
                for (partition, committed) in positions {
                    if let Some(next) = self.owned.get_mut(&partition) {
                        let start = plan.starts.get(&partition).copied().unwrap_or(0);
                        next.get_or_insert(committed.max(start));
                    }
                }
                Outcome::Nothing
            }
            _ => Outcome::Nothing,
        }
    }

    fn assigned(&mut self, plan: &Plan, now_ns: u64, share: &Partitions) -> Outcome {
        self.step = Step::Stable;
        self.beat_ns = now_ns + plan.heartbeat_ns;
        self.commit_ns = self.commit_ns.max(now_ns + plan.commit_ns);
        let revoked: Vec<i32> = self.owned().filter(|partition| !share.contains(partition)).collect();
        self.handover = self.positions().filter(|(partition, _)| revoked.contains(partition)).collect();
        self.owned.retain(|partition, _| share.contains(partition));
        share.iter().for_each(|&partition| {
            self.owned.entry(partition).or_insert(None);
        });
        let took_ns = now_ns.saturating_sub(self.learnt_ns);
        if !revoked.is_empty() {
            // What it has given up is given out in the rebalance that it begins now.
            (self.step, self.learnt_ns) = (Step::Join, now_ns);
        }
        Outcome::Assigned { took_ns }
    }

    fn refused(&mut self, plan: &Plan, now_ns: u64, ask: &Ask, code: i16, answer: Answer) -> Outcome {
        match Standing::of(code) {
            Standing::IdGiven => {
                if let Answer::Joined { member, .. } = answer {
                    self.own.member = member;
                }
                Outcome::Nothing
            }
            Standing::Rebalance => {
                if self.step == Step::Stable {
                    self.learnt_ns = now_ns;
                }
                self.step = Step::Join;
                match plan.assignor.is_eager() && !self.owned.is_empty() {
                    true => {
                        self.give_up_all();
                        Outcome::Revoked
                    }
                    false => Outcome::Nothing,
                }
            }
            standing @ (Standing::MembershipLost | Standing::GenerationLost) => {
                if matches!(ask, Ask::Commit { .. }) && self.step == Step::Join {
                    // What it gave up too late is another's already.
                    return Outcome::Nothing;
                }
                if standing == Standing::MembershipLost {
                    self.own.member.clear();
                }
                if self.step == Step::Stable {
                    self.learnt_ns = now_ns;
                }
                self.step = Step::Join;
                self.own.generation = -1;
                self.owned.clear();
                self.handover.clear();
                Outcome::Revoked
            }
            Standing::CoordinatorMoved => {
                self.retry_ns = now_ns + RETRY_NS;
                self.step = if matches!(self.step, Step::Stable) { Step::Stable } else { Step::Find };
                Outcome::Nothing
            }
            Standing::CoordinatorLoading => {
                self.retry_ns = now_ns + RETRY_NS;
                Outcome::Nothing
            }
            Standing::Member | Standing::Refused(_) => {
                self.retry_ns = now_ns + RETRY_NS;
                self.step = if matches!(ask, Ask::Sync { .. }) { Step::Join } else { self.step };
                Outcome::Error(code)
            }
        }
    }
}

/// Everybody's share, if the members are known: to the leader alone.
fn share_out(plan: &Plan, members: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    if members.is_empty() {
        return Vec::new();
    }
    let owned = |(id, metadata): &(String, Vec<u8>)| (id.clone(), assign::owned(metadata).unwrap_or_default());
    let shares = plan.assignor.assign(&members.iter().map(owned).collect(), plan.partitions);
    shares.into_iter().map(|(id, share)| (id, assign::assignment(&plan.topic.name, &share))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::assign::Assignor;
    use super::*;
    use crate::request::Topic;
    use klamm::types::Uuid;

    fn plan(assignor: Assignor) -> Plan {
        Plan {
            assignor,
            topic: Topic { name: "t".to_string(), id: Uuid::ZERO },
            partitions: 4,
            starts: BTreeMap::from([(0, 100)]),
            session_ms: 10_000,
            rebalance_ms: 10_000,
            heartbeat_ns: 1_000,
            commit_ns: 5_000,
            is_consuming: true,
        }
    }

    fn joined(generation: i32, members: &[(&str, &[i32])]) -> Answer {
        let row = |(id, owned): &(&str, &[i32])| {
            (id.to_string(), assign::subscription("t", &owned.iter().copied().collect()))
        };
        Answer::Joined { member: "a".to_string(), generation, members: members.iter().map(row).collect() }
    }

    fn synced(share: &[i32]) -> Answer {
        Answer::Synced(assign::assignment("t", &share.iter().copied().collect()))
    }

    /// A member that reads 0 and 1 from 100 and from 7 on.
    fn reading(plan: &Plan) -> Member {
        let mut member = Member::new("g", 0);
        let mut go = |expected: &str, code: i16, answer: Answer| {
            let ask = member.next(plan, 10).expect("it asks");
            assert!(format!("{ask:?}").starts_with(expected), "{ask:?}, not {expected}");
            assert_eq!(member.next(plan, 10), None, "one question at a time");
            member.answered(plan, 10, code, answer)
        };
        assert_eq!(go("Find", 0, Answer::Found("h:1".to_string())), Outcome::Found("h:1".to_string()));
        go("Join", ErrorCode::MemberIdRequired.code(), joined(-1, &[]));
        go("Join", 0, joined(1, &[("a", &[]), ("b", &[])]));
        assert_eq!(go("Sync", 0, synced(&[0, 1])), Outcome::Assigned { took_ns: 10 });
        go("Positions", 0, Answer::Positions(vec![(0, -1), (1, 7)]));
        assert_eq!((member.next(plan, 10), member.wake_ns(plan)), (None, 1_010));
        assert_eq!(member.positions().collect::<Vec<_>>(), [(0, 100), (1, 7)]);
        member
    }

    fn beat(plan: &Plan, member: &mut Member, now_ns: u64, code: ErrorCode) -> Outcome {
        assert_eq!(member.next(plan, now_ns), Some(Ask::Heartbeat));
        member.answered(plan, now_ns, code.code(), Answer::Nothing)
    }

    #[test]
    fn an_eager_member_gives_all_up_before_it_joins_again() {
        let plan = plan(Assignor::Range);
        let mut member = reading(&plan);
        assert!(member.read(0, 105) && !member.read(3, 1));
        assert_eq!(beat(&plan, &mut member, 2_000, ErrorCode::RebalanceInProgress), Outcome::Revoked);
        assert_eq!(member.positions().count(), 0);
        assert_eq!(member.next(&plan, 2_000), Some(Ask::Commit { positions: vec![(0, 105), (1, 7)] }));
        member.answered(&plan, 2_000, 0, Answer::Nothing);
        assert_eq!(member.next(&plan, 2_000), Some(Ask::Join { owned: Partitions::new() }));
        member.answered(&plan, 2_500, 0, joined(2, &[]));
        assert_eq!(member.next(&plan, 2_500), Some(Ask::Sync { shares: Vec::new() }));
        assert_eq!(member.answered(&plan, 3_000, 0, synced(&[1])), Outcome::Assigned { took_ns: 1_000 });
        assert!(member.is_stable() && !member.has_positions());
    }

    #[test]
    fn a_cooperative_member_goes_on_with_what_stays() {
        let plan = plan(Assignor::CooperativeSticky);
        let mut member = reading(&plan);
        member.read(0, 105);
        assert_eq!(beat(&plan, &mut member, 2_000, ErrorCode::RebalanceInProgress), Outcome::Nothing);
        assert_eq!(member.next(&plan, 2_000), Some(Ask::Join { owned: [0, 1].into() }));
        assert!(member.read(0, 106), "it reads on");
        member.answered(&plan, 2_500, 0, joined(2, &[("a", &[0, 1]), ("b", &[]), ("c", &[])]));
        let Some(Ask::Sync { shares }) = member.next(&plan, 2_500) else { panic!() };
        assert_eq!(shares.len(), 3, "it leads");
        assert_eq!(member.answered(&plan, 3_000, 0, synced(&[0])), Outcome::Assigned { took_ns: 1_000 });
        assert!(!member.is_stable());
        assert_eq!(member.next(&plan, 3_000), Some(Ask::Commit { positions: vec![(1, 7)] }));
        member.answered(&plan, 3_000, 0, Answer::Nothing);
        assert_eq!(member.next(&plan, 3_000), Some(Ask::Join { owned: [0].into() }));
        assert_eq!(member.positions().collect::<Vec<_>>(), [(0, 106)]);
    }

    #[test]
    fn a_member_that_is_unknown_begins_again() {
        let plan = plan(Assignor::Range);
        let mut member = reading(&plan);
        assert_eq!(beat(&plan, &mut member, 2_000, ErrorCode::UnknownMemberId), Outcome::Revoked);
        assert_eq!((member.own.member.as_str(), member.own.generation, member.owned().count()), ("", -1, 0));
        assert!(matches!(member.next(&plan, 2_000), Some(Ask::Join { .. })));
    }

    #[test]
    fn what_is_read_is_committed_from_time_to_time_and_at_the_end() {
        let plan = plan(Assignor::Range);
        let mut member = reading(&plan);
        member.read(1, 9);
        beat(&plan, &mut member, 6_000, ErrorCode::None);
        assert_eq!(member.next(&plan, 6_000), Some(Ask::Commit { positions: vec![(0, 100), (1, 9)] }));
        member.answered(&plan, 6_000, 0, Answer::Nothing);
        assert_eq!(member.next(&plan, 6_000), None);
        member.leave();
        assert!(matches!(member.next(&plan, 6_000), Some(Ask::Commit { .. })));
        member.answered(&plan, 6_000, 0, Answer::Nothing);
        assert_eq!(member.next(&plan, 6_000), Some(Ask::Leave));
        assert_eq!(member.answered(&plan, 6_000, 0, Answer::Nothing), Outcome::Left);
        assert_eq!((member.next(&plan, 9_000), member.wake_ns(&plan)), (None, u64::MAX));
    }

    #[test]
    fn a_coordinator_that_is_busy_is_asked_again() {
        let plan = plan(Assignor::Range);
        let mut member = Member::new("g", 0);
        for code in [ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress] {
            let now_ns = member.wake_ns(&plan);
            assert_eq!(member.next(&plan, now_ns), Some(Ask::Find));
            member.answered(&plan, now_ns, code.code(), Answer::Found(":-1".to_string()));
            assert_eq!((member.next(&plan, now_ns), member.wake_ns(&plan)), (None, now_ns + RETRY_NS));
        }
    }
}
