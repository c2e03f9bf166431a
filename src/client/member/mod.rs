//! One member of a consumer group of the classic protocol: what it asks next, and what it makes of the answers.
//!
//! A member has one question under way at a time. It is driven by [`Member::step`], with events and with the time that
//! [`Member::deadline`] names. Who drives it sends what it asks and reads its partitions.

#[cfg(test)]
mod tests;

use super::ask::{Answer, Ask, Identity, Joined};
use super::assignment::{Assignor, Share, Subscription, encode_assignment};
use super::coordinator::Coordinator;
use super::membership::Standing;
use super::partition::{TopicPartition, by_topic};
use super::patience::Patience;
use crate::types::{Offset, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::ApiKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest pause before something is asked again, as a multiple of the first one.
const PAUSE_GROWTH: u64 = 16;

/// How a member behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What it wants to read.
    pub topics: Vec<String>,
    /// The only one that it knows.
    pub assignor: Assignor,
    /// Without a heartbeat for so long the coordinator takes it for dead.
    pub session_ms: i32,
    /// So long a rebalance waits for it.
    pub rebalance_ms: i32,
    /// How often the coordinator hears of it.
    pub heartbeat_ms: u64,
    /// How often it commits what has been read; `None` for never, not even before it gives partitions up.
    pub commit_ms: Option<u64>,
    /// Whether it asks where to read on.
    pub reads: bool,
    /// Pause before something is asked again that could not be answered.
    pub pause_ms: u64,
    /// How long an answer may take that does not wait for other members.
    pub answer_ms: u64,
}

/// What a member is told.
pub enum Event {
    /// Time has passed.
    Tick,
    /// The answer to the last question, with its code.
    Answered(i16, Answer),
    /// The last question, or its answer, is lost: the connection is gone or could not be made.
    Lost,
    /// How many partitions topics have, as [`Action::Count`] asked.
    Counted(BTreeMap<String, usize>),
    /// The member is to leave, after it has committed.
    Leave,
}

/// What is to be done for a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// To be sent to [`Member::coordinator`]; [`Ask::Find`] to any broker.
    Ask(Ask),
    /// No answer of the coordinator is awaited any more that may still come: its connection is to be closed.
    HangUp,
    /// The leader shares these topics out: how many partitions have they?
    Count(Vec<String>),
    /// What it owns may have changed.
    Assigned {
        /// Nanoseconds since it learnt of the rebalance, or began to join.
        took_ns: u64,
    },
    /// It has given up what it owned, or lost it.
    Revoked,
    /// Of these it reads from now on, and this is committed, if anything. [`Member::read`] says where it begins.
    Begin(Vec<(TopicPartition, Option<Offset>)>),
    /// Kafka's code for what no member of good will expects. It goes on, unless it is [`Member::is_gone`].
    Refused(ApiKey, i16),
    /// It is no member any more.
    Left,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Out,
    /// It has joined; what is its own comes with the answer to SyncGroup.
    Joined,
    Stable,
    Gone,
}

/// How far a partition has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    Unknown,
    /// What is committed has been told, and reading has not begun.
    Told(Option<Offset>),
    Next(Offset),
}

/// A member of one group.
#[derive(Clone, Debug)]
pub struct Member {
    settings: Arc<Settings>,
    own: Identity,
    coordinator: Option<Coordinator>,
    phase: Phase,
    /// Of its generation.
    leader: String,
    /// As the leader: the members that wait to be shared out among, and then everybody's share.
    members: Vec<Joined>,
    shares: Vec<(String, Vec<u8>)>,
    owned: BTreeMap<TopicPartition, Position>,
    /// What is to be committed before others take these partitions over.
    handover: Vec<(TopicPartition, Offset)>,
    /// The question without an answer, and until when it may come.
    asked: Option<(Ask, Time)>,
    is_leaving: bool,
    /// A static member that comes back may have given something up before and not begun the rebalance that gives it out.
    owes_rebalance: bool,
    /// Something was read that is not committed.
    is_dirty: bool,
    beat_at: Time,
    commit_at: Time,
    retry_at: Time,
    pauses: Patience,
    /// When it learnt of the rebalance that it takes part in.
    learnt: Time,
}

impl Member {
    /// A member that begins to join at `now`; with an `instance` it keeps its place over a restart (KIP-345).
    pub fn new(settings: Arc<Settings>, group: &str, instance: Option<String>, now: Time) -> Member {
        assert!(settings.pause_ms > 0 && settings.heartbeat_ms > 0 && settings.commit_ms != Some(0));
        let pauses = Patience::new(u64::MAX, settings.pause_ms..=settings.pause_ms.saturating_mul(PAUSE_GROWTH));
        let owes_rebalance = instance.is_some() && settings.assignor == Assignor::CooperativeSticky;
        Member {
            settings,
            own: Identity { group: group.to_string(), instance, id: String::new(), generation: -1 },
            coordinator: None,
            phase: Phase::Out,
            leader: String::new(),
            members: Vec::new(),
            shares: Vec::new(),
            owned: BTreeMap::new(),
            handover: Vec::new(),
            asked: None,
            is_leaving: false,
            owes_rebalance,
            is_dirty: false,
            beat_at: Time(0),
            commit_at: Time(0),
            retry_at: Time(0),
            pauses,
            learnt: now,
        }
    }

    /// As whom it asks.
    pub fn own(&self) -> &Identity {
        &self.own
    }

    /// The id of the member that leads its generation.
    pub fn leader(&self) -> &str {
        &self.leader
    }

    /// Whom it asks, once that is found.
    pub fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    /// Whether it has its share and nothing to hand over.
    pub fn is_stable(&self) -> bool {
        self.phase == Phase::Stable && self.handover.is_empty()
    }

    /// Whether it has left, or has been replaced.
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether it is to remain a member.
    pub fn is_staying(&self) -> bool {
        !self.is_leaving && !self.is_gone()
    }

    /// The partitions that are its own, in order.
    pub fn owned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.keys()
    }

    /// What it owns and has begun to read, with the next offsets.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.owned.iter().filter_map(|(place, position)| match position {
            Position::Next(next) => Some((place, *next)),
            Position::Unknown | Position::Told(_) => None,
        })
    }

    /// The next offset of one partition; `None` if it is not its own, or not begun.
    pub fn position(&self, place: &TopicPartition) -> Option<Offset> {
        match self.owned.get(place) {
            Some(Position::Next(next)) => Some(*next),
            _ => None,
        }
    }

    /// Whether it reads all that it owns.
    pub fn has_positions(&self) -> bool {
        self.owned.values().all(|position| matches!(position, Position::Next(_)))
    }

    /// A partition is read from here on, or has been read up to here; `false` if it is not its own.
    pub fn read(&mut self, place: &TopicPartition, next: Offset) -> bool {
        let Some(position) = self.owned.get_mut(place) else { return false };
        self.is_dirty |= match position {
            Position::Unknown => true,
            // Also where reading begins is committed, unless it is so already.
            Position::Told(committed) => *committed != Some(next),
            Position::Next(before) => *before != next,
        };
        *position = Position::Next(next);
        true
    }

    /// When it wants a [`Event::Tick`] although nothing happens.
    pub fn deadline(&self) -> Time {
        if let Some((_, deadline)) = &self.asked {
            return *deadline;
        }
        let is_busy = self.coordinator.is_none()
            || self.is_leaving
            || !self.handover.is_empty()
            || (self.settings.reads && self.owned.values().any(|position| *position == Position::Unknown));
        match self.phase {
            Phase::Gone => Time(u64::MAX),
            _ if !self.members.is_empty() => Time(u64::MAX),
            Phase::Stable if !is_busy => {
                let commit_at = if self.settings.commit_ms.is_some() { self.commit_at } else { Time(u64::MAX) };
                self.beat_at.min(commit_at).max(self.retry_at)
            }
            _ => self.retry_at,
        }
    }

    /// Takes an event; adds what is to be done about it.
    pub fn step(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {
                if self.asked.as_ref().is_some_and(|(_, deadline)| *deadline <= now) {
                    out.push(Action::HangUp);
                    self.lost(now, out);
                }
            }
            Event::Answered(code, answer) => self.answered(now, code, answer, out),
            Event::Lost => self.lost(now, out),
            Event::Counted(counts) => self.counted(&counts),
            Event::Leave => self.is_leaving = true,
        }
        self.ask(now, out);
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// What must hold between two steps.
    fn check(&self) {
        assert!(self.phase != Phase::Gone || (self.asked.is_none() && self.owned.is_empty()));
        assert!(self.members.is_empty() || self.phase == Phase::Joined);
        assert!(self.handover.is_empty() || self.settings.commit_ms.is_some());
        assert!(self.handover.iter().all(|(place, _)| !self.owned.contains_key(place)));
        let is_eager = self.settings.assignor.is_eager();
        assert!(
            !is_eager || self.phase == Phase::Stable || self.owned.is_empty(),
            "an eager member joins with nothing"
        );
    }

    /// Asks what is due, if nothing is under way.
    fn ask(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.asked.is_some() || !self.members.is_empty() || self.phase == Phase::Gone {
            return;
        }
        if self.is_leaving {
            self.give_up_all();
            let is_known = !self.own.id.is_empty() && self.own.instance.is_none();
            if self.handover.is_empty() && !is_known {
                // The coordinator does not know it, or is to keep its place for its next start (KIP-345).
                return self.go(out);
            }
        }
        if now < self.retry_at {
            return;
        }
        let Some(ask) = self.choose(now) else { return };
        let answer_ms = match ask.waits() {
            true => self.settings.answer_ms.saturating_add(u64::try_from(self.settings.rebalance_ms).unwrap_or(0)),
            // A coordinator that is silent for a session takes the member for silent as well.
            false => self.settings.answer_ms.min(u64::try_from(self.settings.session_ms).unwrap_or(0).max(1)),
        };
        self.asked = Some((ask.clone(), now.after_ms(answer_ms)));
        out.push(Action::Ask(ask));
    }

    fn choose(&mut self, now: Time) -> Option<Ask> {
        let protocol = self.settings.assignor.name();
        if self.coordinator.is_none() {
            return Some(Ask::Find);
        }
        if !self.handover.is_empty() {
            return Some(Ask::Commit(self.handover.clone()));
        }
        if self.is_leaving {
            return Some(Ask::Leave);
        }
        match self.phase {
            Phase::Out => {
                let owned = (!self.settings.assignor.is_eager()).then(|| self.share());
                let subscription = Subscription { topics: self.settings.topics.clone(), owned };
                let (session_ms, rebalance_ms) = (self.settings.session_ms, self.settings.rebalance_ms);
                Some(Ask::Join { protocol, session_ms, rebalance_ms, subscription })
            }
            Phase::Joined => Some(Ask::Sync { protocol, shares: self.shares.clone() }),
            Phase::Stable => self.choose_stable(now),
            Phase::Gone => None,
        }
    }

    fn choose_stable(&mut self, now: Time) -> Option<Ask> {
        if self.settings.reads {
            let unknown = self.owned.iter().filter(|(_, position)| **position == Position::Unknown);
            let unknown: Vec<TopicPartition> = unknown.map(|(place, _)| place.clone()).collect();
            if !unknown.is_empty() {
                return Some(Ask::Committed(unknown));
            }
        }
        if self.beat_at <= now {
            self.beat_at = now.after_ms(self.settings.heartbeat_ms);
            return Some(Ask::Heartbeat);
        }
        let commit_ms = self.settings.commit_ms.filter(|_| self.commit_at <= now)?;
        self.commit_at = now.after_ms(commit_ms);
        std::mem::take(&mut self.is_dirty).then(|| Ask::Commit(self.read_positions()))
    }

    /// What it owns, as it says in JoinGroup.
    fn share(&self) -> Share {
        by_topic(self.owned.keys().map(|place| (place, ())), |partition, ()| partition)
    }

    fn read_positions(&self) -> Vec<(TopicPartition, Offset)> {
        self.positions().map(|(place, next)| (place.clone(), next)).collect()
    }

    /// Stops reading; where it has come to is committed first of all.
    fn give_up_all(&mut self) {
        if self.settings.commit_ms.is_some() && self.is_dirty {
            self.handover = self.read_positions();
        }
        self.is_dirty = false;
        self.owned.clear();
    }

    fn go(&mut self, out: &mut Vec<Action>) {
        self.phase = Phase::Gone;
        self.own.id.clear();
        self.asked = None;
        self.owned.clear();
        self.handover.clear();
        out.push(Action::Left);
    }

    fn answered(&mut self, now: Time, code: i16, answer: Answer, out: &mut Vec<Action>) {
        let Some((ask, _)) = self.asked.take() else { return };
        if ask == Ask::Leave {
            // Whatever it says: the member asks nothing more.
            return self.go(out);
        }
        let standing = Standing::of(code);
        if standing == Standing::Member {
            self.pauses.renew();
            return self.done(now, ask, answer, out);
        }
        // A commit that the group does not take is another's to make again, and what is read since goes with the next one.
        let is_handover = matches!(ask, Ask::Commit(_)) && !self.handover.is_empty();
        self.is_dirty |= matches!(ask, Ask::Commit(_)) && !is_handover;
        match standing {
            Standing::Member => unreachable!("it has been dealt with"),
            Standing::IdGiven => {
                if let Answer::Joined { id, .. } = answer {
                    self.own.id = id;
                }
            }
            Standing::Rebalance | Standing::GenerationLost | Standing::MembershipLost if is_handover => {
                // It comes too late.
                self.handover.clear();
            }
            Standing::Rebalance => {
                self.rejoin(now);
                if self.settings.assignor.is_eager() && !self.owned.is_empty() {
                    self.give_up_all();
                    out.push(Action::Revoked);
                }
            }
            Standing::GenerationLost | Standing::MembershipLost => {
                if standing == Standing::MembershipLost {
                    self.own.id.clear();
                }
                self.own.generation = -1;
                self.rejoin(now);
                self.is_dirty = false;
                if !std::mem::take(&mut self.owned).is_empty() {
                    out.push(Action::Revoked);
                }
            }
            Standing::CoordinatorMoved => {
                self.coordinator = None;
                out.push(Action::HangUp);
                self.again(now, &ask);
            }
            Standing::CoordinatorLoading => self.pause(now),
            Standing::Replaced => {
                out.push(Action::Refused(ask.api(), code));
                self.go(out);
            }
            Standing::Refused(code) => {
                self.again(now, &ask);
                out.push(Action::Refused(ask.api(), code.code()));
            }
        }
    }

    /// What was asked has been done.
    fn done(&mut self, now: Time, ask: Ask, answer: Answer, out: &mut Vec<Action>) {
        match (ask, answer) {
            (Ask::Find, Answer::Found(coordinator)) => self.coordinator = Some(coordinator),
            (Ask::Join { .. }, Answer::Joined { id, generation, leader, members }) => {
                if generation != self.own.generation && generation != self.own.generation + 1 {
                    self.lapsed(out);
                }
                (self.own.id, self.own.generation, self.leader) = (id, generation, leader);
                self.phase = Phase::Joined;
                self.shares.clear();
                self.members = members;
                if !self.members.is_empty() {
                    let topics: BTreeSet<&String> =
                        self.members.iter().flat_map(|member| &member.subscription.topics).collect();
                    out.push(Action::Count(topics.into_iter().cloned().collect()));
                }
            }
            (Ask::Sync { .. }, Answer::Synced(share)) => self.assigned(now, share, out),
            (Ask::Commit(_), _) => self.handover.clear(),
            (Ask::Committed(asked), Answer::Committed(committed)) => {
                let mut begin = Vec::new();
                for place in asked {
                    let Some(position) = self.owned.get_mut(&place) else { continue };
                    let found = committed.iter().find(|(of, _)| *of == place).map(|(_, offset)| *offset);
                    let found = found.filter(|offset| *offset >= 0);
                    *position = Position::Told(found);
                    begin.push((place, found));
                }
                out.push(Action::Begin(begin));
            }
            (Ask::Heartbeat, _) => {}
            (ask, _) => {
                // An answer of another kind: whoever drives the member is at fault, or the broker.
                self.again(now, &ask);
                out.push(Action::Refused(ask.api(), ErrorCode::UnknownServerError.code()));
            }
        }
    }

    /// A rebalance is over that it did not take part in, as a static member's is whose broker was away: others may have had
    /// since what it owned, and have committed. It reads on from there, and what it claims to own is yet to be given out.
    fn lapsed(&mut self, out: &mut Vec<Action>) {
        if !std::mem::take(&mut self.owned).is_empty() {
            self.is_dirty = false;
            self.owes_rebalance = true;
            out.push(Action::Revoked);
        }
    }

    /// Everybody's share, by the leader.
    fn counted(&mut self, counts: &BTreeMap<String, usize>) {
        let mut members = std::mem::take(&mut self.members);
        // Kafka's order: those that come back as who they were keep their places.
        members.sort_by(|a, b| {
            (a.instance.is_none(), &a.instance, &a.id).cmp(&(b.instance.is_none(), &b.instance, &b.id))
        });
        let (ids, subscriptions): (Vec<String>, Vec<Subscription>) =
            members.into_iter().map(|member| (member.id, member.subscription)).unzip();
        let shares = self.settings.assignor.assign(&subscriptions, counts);
        self.shares = ids.into_iter().zip(shares.iter().map(encode_assignment)).collect();
    }

    fn assigned(&mut self, now: Time, share: Share, out: &mut Vec<Action>) {
        self.phase = Phase::Stable;
        self.beat_at = now.after_ms(self.settings.heartbeat_ms);
        if let Some(commit_ms) = self.settings.commit_ms {
            self.commit_at = now.after_ms(commit_ms);
        }
        let share: BTreeSet<TopicPartition> = share
            .iter()
            .flat_map(|(topic, all)| all.iter().map(|&partition| TopicPartition::new(topic, partition)))
            .collect();
        let before = self.owned.len();
        if self.settings.commit_ms.is_some() {
            self.handover = self.read_positions();
            self.handover.retain(|(place, _)| !share.contains(place));
        }
        self.owned.retain(|place, _| share.contains(place));
        let is_revoked = self.owned.len() < before;
        for place in share {
            self.owned.entry(place).or_insert(Position::Unknown);
        }
        out.push(Action::Assigned { took_ns: now.0.saturating_sub(self.learnt.0) });
        if is_revoked {
            out.push(Action::Revoked);
        }
        if std::mem::take(&mut self.owes_rebalance) || is_revoked {
            // What it has given up is given out in the rebalance that it begins now.
            self.rejoin(now);
        }
    }

    fn rejoin(&mut self, now: Time) {
        if self.phase == Phase::Stable {
            self.learnt = now;
        }
        self.phase = Phase::Out;
    }

    /// The question and its answer went with the connection.
    fn lost(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some((ask, _)) = self.asked.take() else { return };
        if ask == Ask::Leave {
            return self.go(out);
        }
        self.coordinator = None;
        self.is_dirty |= matches!(ask, Ask::Commit(_)) && self.handover.is_empty();
        self.again(now, &ask);
    }

    /// The same is to be asked again after a pause; who has joined and does not know its share joins again.
    fn again(&mut self, now: Time, ask: &Ask) {
        if ask.waits() {
            self.phase = Phase::Out;
        }
        self.pause(now);
    }

    fn pause(&mut self, now: Time) {
        self.retry_at = self.pauses.failed(now).unwrap_or(now);
    }
}
