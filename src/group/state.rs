//! One group: its ledger, who is in it, and when to look at it again.

use super::decisions::{Decisions, Then};
use super::error::{append_error, join_refusal, sync_refusal};
use super::ledger::Ledger;
use super::member::{Member, PENDING_BYTES, subscribed_topics};
use super::record::{Record, decode_group};
use super::{Answer, Caller, Event, Response, Settings, Ticket};
use crate::types::{Now, Time, TimestampMs};
use crate::wire::error::ErrorCode;
use crate::wire::messages::GroupMetadataValue;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a group takes beside its name and what is in it.
const GROUP_BYTES: usize = 512;

/// The protocol type of consumers, whose metadata the coordinator can read.
pub(super) const TYPE_CONSUMER: &str = "consumer";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    /// No members; there may be offsets.
    #[default]
    Empty,
    /// Members are asked to join again.
    Preparing,
    /// Members have joined; the leader's assignment is awaited.
    Completing,
    Stable,
}

impl State {
    pub const ALL: [State; 4] = [State::Empty, State::Preparing, State::Completing, State::Stable];

    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Preparing => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The state that a group is in, with what belongs to that state alone.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Empty,
    Preparing {
        /// When it ends without those who have not joined.
        deadline: Time,
        /// Of an empty group's first rebalance: when it begins whoever may still come.
        gather_end: Option<Time>,
    },
    Completing {
        /// The leader's assignment of this generation is being stored.
        is_storing: bool,
    },
    Stable,
}

/// What a step of any group has at hand.
#[derive(Debug)]
pub(super) struct Step {
    pub settings: Settings,
    pub answers: Vec<Answer>,
    pub events: Vec<Event>,
    pub decisions: Decisions,
    /// [`Group::held_bytes`] of all groups, and [`Group::durable_bytes`].
    pub member_bytes: usize,
    pub offset_bytes: usize,
}

impl Step {
    /// Whether there is memory for so many more bytes of what is durable.
    pub fn has_offset_memory(&self, caller: &Caller<'_>, growth: usize) -> bool {
        let held = self.offset_bytes + caller.offset_bytes_elsewhere + self.decisions.bytes();
        held + growth <= self.settings.offset_bytes_max
    }

    pub fn answer(&mut self, ticket: Ticket, response: Response) {
        self.answers.push(Answer { ticket, response });
    }
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub name: Arc<str>,
    pub ledger: Ledger,
    /// The numbers of this group's records that are decided and not durable.
    pub undurable: VecDeque<u64>,

    pub phase: Phase,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Static members' ids by their instance ids.
    pub instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not joined yet, with the time until which they may.
    pub pending: BTreeMap<Arc<str>, Time>,
    /// How many members offer each protocol.
    pub offered: BTreeMap<Arc<str>, usize>,
    /// Members whose join waits, and members of this generation that have not asked for their share.
    pub joining: usize,
    pub unsynced: usize,
    /// When those are removed that have not asked for their share.
    pub sync_deadline: Option<Time>,
    pub since_ms: TimestampMs,
    /// What the members are known to read; `None` if that cannot be known.
    pub subscribed: Option<BTreeSet<Box<str>>>,
    /// Bytes of the members and of ids that were given out, and how much of [`Group::held_bytes`] the coordinator has counted.
    pub bytes: usize,
    pub bytes_counted: usize,
    /// How much of [`Group::durable_bytes`] the coordinator has counted.
    pub durable_counted: usize,

    /// When offsets are looked at for expiry.
    pub retention_at: Option<Time>,
    /// The earliest time at which something may be due; lazy: what it was set for may have moved to a later time.
    pub due: Option<Time>,
    /// The group's place in the coordinator's timers.
    pub armed: Option<Time>,
}

impl Group {
    pub fn new(name: Arc<str>) -> Group {
        Group {
            name,
            ledger: Ledger::default(),
            undurable: VecDeque::new(),
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            offered: BTreeMap::new(),
            joining: 0,
            unsynced: 0,
            sync_deadline: None,
            since_ms: super::NO_TIMESTAMP,
            subscribed: None,
            bytes: 0,
            bytes_counted: 0,
            durable_counted: 0,
            retention_at: None,
            due: None,
            armed: None,
        }
    }

    /// Whether anybody could know of the group.
    pub fn exists(&self) -> bool {
        !self.ledger.is_empty() || self.state() != State::Empty || !self.pending.is_empty()
    }

    /// Whether nothing would be lost with the group.
    pub fn is_gone(&self) -> bool {
        self.undurable.is_empty() && !self.exists()
    }

    pub fn is_malformed(&self) -> bool {
        !self.ledger.malformed.is_empty()
    }

    /// Tells of records that cannot be decoded.
    pub fn report_malformed(&self, step: &mut Step) {
        for (key, (_, error)) in &self.ledger.malformed {
            let (group, key, reason) = (self.name.clone(), key.to_vec(), error.to_string());
            step.events.push(Event::Malformed { group, key, reason });
        }
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(TYPE_CONSUMER)
    }

    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Sees to it that the group is looked at no later than `time`.
    pub fn wake_at(&mut self, time: Time) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// When something is due, from all that may be.
    pub fn next_due(&self) -> Option<Time> {
        let sessions = self.members.values().filter(|member| !member.is_excused()).map(|member| member.deadline);
        let phases = [self.join_deadline(), self.sync_deadline, self.retention_at];
        sessions.chain(self.pending.values().copied()).chain(phases.into_iter().flatten()).min()
    }

    /// The member's session begins anew.
    pub fn keep_alive(&mut self, now: Now, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.deadline = now.mono.after_ms(member.session_ms);
            let deadline = member.deadline;
            self.wake_at(deadline);
        }
    }

    /// Whether `member_id` is a member, and not fenced by another of the same instance id.
    pub fn check_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn count_protocols(&mut self, member: &Member, arrives: bool) {
        for (name, _) in &member.protocols {
            let count = self.offered.entry(name.clone()).or_insert(0);
            *count = if arrives { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.offered.remove(name);
            }
        }
    }

    /// Adds a member, or puts a changed one back into its place.
    pub fn put_member(&mut self, id: Arc<str>, member: Member) {
        assert!(!member.protocols.is_empty());
        self.count_protocols(&member, true);
        self.bytes += member.bytes(&id);
        self.joining += usize::from(member.join.is_some());
        self.unsynced += usize::from(self.expects_sync() && !member.is_synced);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.take_pending(&id);
        let replaced = self.members.insert(id, member);
        assert!(replaced.is_none(), "a member is taken out before it is put back");
    }

    /// Takes a member out for a change; `put_member` puts it back. The group's leader stays.
    pub fn take_member(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count_protocols(&member, false);
        self.bytes -= member.bytes(id);
        self.joining -= usize::from(member.join.is_some());
        self.unsynced -= usize::from(self.expects_sync() && !member.is_synced);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        Some(member)
    }

    /// Gives an id out, with which somebody may join until the deadline.
    pub fn put_pending(&mut self, id: Arc<str>, deadline: Time) {
        self.bytes += PENDING_BYTES + id.len();
        let before = self.pending.insert(id, deadline);
        assert!(before.is_none(), "ids are given out once");
    }

    /// The id is no longer one that may join; whether it was.
    pub fn take_pending(&mut self, id: &str) -> bool {
        let was = self.pending.remove(id).is_some();
        if was {
            self.bytes -= PENDING_BYTES + id.len();
        }
        was
    }

    /// Memory that the group takes because somebody is in it, or may come.
    pub fn held_bytes(&self) -> usize {
        if self.bytes == 0 { 0 } else { GROUP_BYTES + self.name.len() + self.bytes }
    }

    /// Memory that the group takes because of what is stored of it.
    pub fn durable_bytes(&self) -> usize {
        if self.ledger.is_empty() { 0 } else { GROUP_BYTES + self.name.len() + self.ledger.bytes() }
    }

    fn expects_sync(&self) -> bool {
        self.sync_deadline.is_some()
    }

    /// Removes a member; its waiting requests are answered with `code`.
    pub fn remove_member(&mut self, id: &str, code: ErrorCode, step: &mut Step) {
        let Some(member) = self.take_member(id) else { return };
        if let Some(ticket) = member.join {
            step.answer(ticket, join_refusal("", code));
        }
        if let Some(ticket) = member.sync {
            step.answer(ticket, sync_refusal(code));
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Changes whose join waits; whoever waited is told to come again.
    pub fn set_join(&mut self, id: &str, ticket: Option<Ticket>, step: &mut Step) {
        let Some(member) = self.members.get_mut(id) else { return };
        self.joining = self.joining + usize::from(ticket.is_some()) - usize::from(member.join.is_some());
        if let Some(before) = std::mem::replace(&mut member.join, ticket)
            && ticket.is_some()
        {
            step.answer(before, join_refusal(id, ErrorCode::RebalanceInProgress));
        }
    }

    /// Hands the member's waiting join to whoever answers it.
    pub fn take_join(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(id)?.join.take()?;
        self.joining -= 1;
        Some(ticket)
    }

    pub fn mark_synced(&mut self, id: &str) {
        let expects = self.expects_sync();
        let Some(member) = self.members.get_mut(id) else { return };
        if expects && !member.is_synced {
            self.unsynced -= 1;
            if self.unsynced == 0 {
                self.sync_deadline = None;
            }
        }
        member.is_synced = true;
    }

    pub fn clear_sync_deadline(&mut self) {
        self.sync_deadline = None;
        self.unsynced = 0;
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::Preparing,
            Phase::Completing { .. } => State::Completing,
            Phase::Stable => State::Stable,
        }
    }

    /// When those who have not joined are no longer waited for.
    pub fn join_deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Preparing { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    pub fn set_phase(&mut self, now: Now, phase: Phase) {
        self.phase = phase;
        self.since_ms = now.wall_ms;
    }

    /// Decides records of this group, if each of them is small enough to be appended.
    pub fn decide(&mut self, records: Vec<Record>, then: Then, step: &mut Step) -> Result<(), ErrorCode> {
        if records.iter().any(|record| record.bytes() > step.settings.append_bytes_max) {
            return Err(append_error(ErrorCode::MessageTooLarge));
        }
        assert!(records.iter().all(|record| record.group == self.name));
        let start = step.decisions.number_decided();
        self.undurable.extend((start..).take(records.len()));
        step.decisions.decide(records, then);
        Ok(())
    }

    /// A group that is new is stored as it is: without members, and of no type.
    pub fn store_new(&mut self, now: Now, step: &mut Step) {
        assert!(self.ledger.is_empty() && self.undurable.is_empty());
        let value = GroupMetadataValue {
            protocol_type: "".into(),
            protocol: None,
            leader: None,
            current_state_timestamp: now.wall_ms,
            ..Default::default()
        };
        let record = Record::group(&self.name, Some(&value));
        let then = Then::Nothing { group: self.name.clone() };
        let decided = self.decide(vec![record], then, step);
        assert!(decided.is_ok(), "the record of a group without members is small");
        self.schedule_retention(now, step);
    }

    /// What the members are known to read under the chosen protocol.
    pub fn subscription(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if !self.members.is_empty() {
            let protocol = self.protocol.as_deref()?;
            for member in self.members.values() {
                topics.append(&mut subscribed_topics(&member.metadata(protocol))?);
            }
        }
        Some(topics)
    }

    /// Makes the members that the ledger tells of: the group as it was when its last generation became stable.
    pub fn restore(&mut self, now: Now) {
        assert!(self.members.is_empty() && self.state() == State::Empty);
        let Some(bytes) = self.ledger.metadata.clone() else { return };
        let value = decode_group(&bytes).expect("the ledger holds what can be decoded");
        let text = |text: &str| Arc::<str>::from(text);
        self.generation = value.generation;
        self.since_ms = value.current_state_timestamp;
        self.protocol_type = Some(&*value.protocol_type).filter(|name| !name.is_empty()).map(text);
        self.protocol = value.protocol.as_deref().map(text);
        for stored in &value.members {
            let session_ms = stored.session_timeout.max(0) as u64;
            let rebalance_ms = if stored.rebalance_timeout < 0 { session_ms } else { stored.rebalance_timeout as u64 };
            let protocol = self.protocol.clone().expect("members have a protocol");
            let id = text(&stored.member_id);
            let member = Member {
                instance: stored.group_instance_id.as_deref().map(text),
                client_id: text(&stored.client_id),
                client_host: text(&stored.client_host),
                session_ms,
                rebalance_ms,
                protocols: vec![(protocol, Bytes::copy_from_slice(&stored.subscription))],
                assignment: Bytes::copy_from_slice(&stored.assignment),
                join: None,
                sync: None,
                is_new: false,
                is_synced: true,
                deadline: now.mono.after_ms(session_ms),
            };
            self.take_member(&id);
            self.put_member(id.clone(), member);
            self.keep_alive(now, &id);
        }
        self.leader =
            value.leader.as_deref().map(text).filter(|id| self.members.contains_key(id)).or(self.leader.take());
        if !self.members.is_empty() {
            self.phase = Phase::Stable;
        }
        self.subscribed = self.subscription();
    }

    /// What holds between two steps.
    pub fn check(&self) {
        assert_eq!(self.state() == State::Empty, self.members.is_empty(), "{}", self.name);
        assert!(self.joining <= self.members.len() && self.unsynced <= self.members.len());
        assert!(self.instances.len() <= self.members.len());
        assert_eq!(self.leader.is_some(), !self.members.is_empty(), "{}", self.name);
        assert_eq!(self.bytes == 0, self.members.is_empty() && self.pending.is_empty(), "{}", self.name);
    }
}
