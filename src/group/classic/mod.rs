//! A group of the classic protocol: its members agree on a protocol of their own, and their leader shares the work out.

mod join;
mod member;
mod members;
mod rebalance;
mod session;
mod sync;

pub(super) use join::check_join;
pub(super) use sync::check_sync;

use self::member::{Member, PENDING_BYTES, subscribed_topics};
use self::members::Members;
use self::sync::Syncing;
use super::Request;
use super::decisions::Then;
use super::error::{absent_group, join_refusal, owned, sync_refusal};
use super::ledger::Committed;
use super::record::{Record, decode_group};
use super::shared::{Context, Step};
use crate::types::{Now, Time, TimestampMs};
use crate::wire::error::ErrorCode;
use crate::wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::wire::messages::{GroupMetadataValue, OffsetCommitRequest};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What ListGroups calls groups of this kind.
pub(super) const TYPE: &str = "classic";
/// The protocol type of consumers, whose metadata the coordinator can read.
const TYPE_CONSUMER: &str = "consumer";
/// The members of an empty group.
static NOBODY: Members = Members::new();

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No members; there may be offsets.
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

/// The state that a group is in, with what belongs to that state alone. A group that is dead is not there any more.
#[derive(Clone, Debug)]
enum Phase {
    Empty,
    Preparing {
        members: Members,
        /// When the rebalance goes on without those who have not joined.
        deadline: Time,
        /// Of the first rebalance of a group that was empty: the group waits for others until then, at most.
        gather_end: Option<Time>,
        /// What the members of the generation before had in common.
        protocol: Option<Arc<str>>,
    },
    Completing {
        members: Members,
        protocol: Arc<str>,
        syncing: Syncing,
        /// The leader's assignment of this generation is being stored.
        is_storing: bool,
    },
    Stable {
        members: Members,
        protocol: Arc<str>,
        syncing: Syncing,
    },
}

impl Phase {
    fn into_members(self) -> Members {
        match self {
            Phase::Empty => Members::new(),
            Phase::Preparing { members, .. } | Phase::Completing { members, .. } | Phase::Stable { members, .. } => {
                members
            }
        }
    }
}

/// Ids that were given out and have not joined yet, each with the time until which it may.
#[derive(Clone, Debug, Default)]
struct Pending {
    ids: BTreeMap<Arc<str>, Time>,
    bytes: usize,
}

impl Pending {
    fn put(&mut self, id: Arc<str>, deadline: Time) {
        self.bytes += PENDING_BYTES + id.len();
        let before = self.ids.insert(id, deadline);
        assert!(before.is_none(), "ids are given out once");
    }

    /// The id may not join any more; whether it might have.
    fn take(&mut self, id: &str) -> bool {
        let was = self.ids.remove(id).is_some();
        if was {
            self.bytes -= PENDING_BYTES + id.len();
        }
        was
    }

    /// Drops those whose time is over; whether there were any.
    fn expire(&mut self, now: Now) -> bool {
        let over = self.ids.iter().filter(|(_, deadline)| **deadline <= now.mono);
        let over: Vec<Arc<str>> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| assert!(self.take(id)));
        !over.is_empty()
    }
}

/// What a classic group is besides its name and what is stored of it.
#[derive(Clone, Debug)]
pub(super) struct Classic {
    phase: Phase,
    generation: i32,
    /// When the group came into its state.
    since_ms: TimestampMs,
    /// Of the members, or of the last ones there were.
    protocol_type: Option<Arc<str>>,
    /// Topics that the members of this generation are known to read; `None` if that cannot be known.
    subscribed: Option<BTreeSet<Box<str>>>,
    pending: Pending,
}

impl Classic {
    pub fn new() -> Classic {
        Classic {
            phase: Phase::Empty,
            generation: 0,
            since_ms: super::NO_TIMESTAMP,
            protocol_type: None,
            subscribed: None,
            pending: Pending::default(),
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::Preparing,
            Phase::Completing { .. } => State::Completing,
            Phase::Stable { .. } => State::Stable,
        }
    }

    fn members(&self) -> &Members {
        match &self.phase {
            Phase::Empty => &NOBODY,
            Phase::Preparing { members, .. } | Phase::Completing { members, .. } | Phase::Stable { members, .. } => {
                members
            }
        }
    }

    fn members_mut(&mut self) -> Option<&mut Members> {
        match &mut self.phase {
            Phase::Empty => None,
            Phase::Preparing { members, .. } | Phase::Completing { members, .. } | Phase::Stable { members, .. } => {
                Some(members)
            }
        }
    }

    fn syncing_mut(&mut self) -> Option<&mut Syncing> {
        match &mut self.phase {
            Phase::Empty | Phase::Preparing { .. } => None,
            Phase::Completing { syncing, .. } | Phase::Stable { syncing, .. } => Some(syncing),
        }
    }

    /// What the members of this generation have in common; while they are asked to join again, of the one before.
    fn protocol(&self) -> Option<&Arc<str>> {
        match &self.phase {
            Phase::Empty => None,
            Phase::Preparing { protocol, .. } => protocol.as_ref(),
            Phase::Completing { protocol, .. } | Phase::Stable { protocol, .. } => Some(protocol),
        }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Empty)
    }

    fn set_phase(&mut self, now: Now, phase: Phase) {
        self.phase = phase;
        self.since_ms = now.wall_ms;
    }

    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Whether the group has members, or somebody may join with an id that was given out.
    pub fn is_used(&self) -> bool {
        self.state() != State::Empty || !self.pending.ids.is_empty()
    }

    /// Memory that members and ids that were given out take.
    pub fn bytes(&self) -> usize {
        self.members().bytes() + self.pending.bytes
    }

    pub fn next_due(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Empty => None,
            Phase::Preparing { deadline, .. } => Some(*deadline),
            Phase::Completing { syncing, .. } | Phase::Stable { syncing, .. } => syncing.deadline(),
        };
        let pending = self.pending.ids.values().min().copied();
        [phase, pending, self.members().next_deadline()].into_iter().flatten().min()
    }

    fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(TYPE_CONSUMER)
    }

    /// Whether positions in the topic must stay because members read it.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Whether single positions can be deleted.
    pub fn may_delete_offsets(&self) -> bool {
        self.state() == State::Empty || self.uses_consumer_protocol()
    }

    /// From when a position's retention counts.
    pub fn retention_base_ms(&self, committed: &Committed) -> TimestampMs {
        let empty_since = self.protocol_type.is_some() && self.state() == State::Empty && self.since_ms >= 0;
        if empty_since { self.since_ms } else { committed.commit_ms }
    }

    /// Whether a topic's positions may expire: nobody reads the topic, as far as that can be known.
    pub fn may_expire(&self, topic: &str) -> bool {
        match (self.state(), &self.protocol_type) {
            (_, None) => true,
            (State::Empty, Some(_)) => true,
            (State::Stable, Some(_)) => self.subscribed.as_ref().is_some_and(|topics| !topics.contains(topic)),
            _ => false,
        }
    }

    /// Whether the sender may commit. `is_known`: somebody could know of the group.
    pub fn check_commit(
        &self,
        request: &OffsetCommitRequest<'_>,
        version: i16,
        is_known: bool,
    ) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if generation < 0 && self.state() == State::Empty {
            // An operator, or a consumer that assigns itself.
            return Ok(());
        }
        if !is_known {
            return Err(absent_group(version));
        }
        let instance = request.group_instance_id.as_deref();
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member_id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Its assignment is not known yet, so what it commits may be another's.
        if self.state() == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// A commit shows that the member lives.
    pub fn commits(&mut self, cx: &mut Context<'_>, member_id: &str) {
        if matches!(self.state(), State::Stable | State::Preparing) {
            self.keep_alive(cx, member_id);
        }
    }

    /// The member's session begins anew.
    fn keep_alive(&mut self, cx: &mut Context<'_>, member_id: &str) {
        let deadline = self.members_mut().and_then(|members| members.keep_alive(cx.now, member_id));
        if let Some(deadline) = deadline {
            cx.wake_at(deadline);
        }
    }

    /// Whether `member_id` is a member, and not fenced by another of the same instance id.
    fn check_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        let members = self.members();
        if let Some(instance) = instance {
            match members.of_instance(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if members.get(member_id).is_some() { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Removes a member; its waiting requests are answered with `code`.
    fn remove_member(&mut self, id: &str, code: ErrorCode, cx: &mut Context<'_>) {
        if let Some(syncing) = self.syncing_mut() {
            syncing.done(id);
        }
        let Some(member) = self.members_mut().and_then(|members| members.remove(id)) else { return };
        if let Some(ticket) = member.join {
            cx.answer(ticket, join_refusal("", code));
        }
        if let Some(ticket) = member.sync {
            cx.answer(ticket, sync_refusal(code));
        }
    }

    /// A request of the classic protocol.
    pub fn handle(&mut self, cx: &mut Context<'_>, caller: &super::Caller<'_>, request: &Request<'_>) {
        match request {
            Request::JoinGroup(request) => self.join(cx, caller, request),
            Request::SyncGroup(request) => self.sync(cx, caller.ticket, request),
            Request::Heartbeat(request) => {
                let response = self.heartbeat(cx, request);
                cx.answer(caller.ticket, response);
            }
            Request::LeaveGroup(request) => self.leave(cx, caller, request),
            other => unreachable!("{other:?} is for groups of any kind"),
        }
    }

    /// What follows when records of this kind of group are durable, or could not be stored.
    pub fn follow(&mut self, cx: &mut Context<'_>, then: Then, failure: Option<ErrorCode>) {
        match then {
            Then::Assign { generation, assignments, .. } => self.assigned(cx, generation, assignments, failure),
            Then::Replace { generation, replacement, .. } => self.replaced(cx, generation, replacement, failure),
            other => unreachable!("{other:?} is no matter of a classic group"),
        }
    }

    /// Nothing is stored of the group any more.
    pub fn forgotten(&mut self) {
        if self.state() == State::Empty {
            (self.protocol_type, self.generation, self.subscribed) = (None, 0, None);
        }
    }

    /// Whether an operator may delete the group.
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        if self.state() == State::Empty { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    /// The group is deleted: ids that were given out are unknown from here on.
    pub fn deleted(&mut self) {
        assert_eq!(self.state(), State::Empty);
        self.pending = Pending::default();
    }

    /// The record of a group that is new, and has no members yet.
    pub fn new_value(now: Now) -> GroupMetadataValue<'static> {
        GroupMetadataValue {
            protocol_type: "".into(),
            protocol: None,
            leader: None,
            current_state_timestamp: now.wall_ms,
            ..Default::default()
        }
    }

    /// What `members` are known to read under `protocol`.
    fn subscription(&self, members: &Members, protocol: &str) -> Option<BTreeSet<Box<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for (_, member) in members.iter() {
            topics.append(&mut subscribed_topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Makes the group that its record tells of: as it was when its last generation became stable.
    pub fn restore(&mut self, cx: &mut Context<'_>, record: &[u8]) {
        assert!(!self.is_used());
        let value = decode_group(record).expect("the ledger holds what can be decoded");
        self.generation = value.generation;
        self.protocol_type = Some(&*value.protocol_type).filter(|name| !name.is_empty()).map(Arc::from);
        let mut members = Members::new();
        for stored in &value.members {
            let protocol = value.protocol.as_deref().expect("members have a protocol");
            let (id, member) = Member::restore(stored, protocol.into(), cx.now);
            cx.wake_at(member.deadline);
            members.remove(&id);
            members.put(id, member);
        }
        members.restore_leader(value.leader.as_deref().unwrap_or_default());
        let protocol: Arc<str> = value.protocol.as_deref().unwrap_or_default().into();
        self.subscribed = self.subscription(&members, &protocol);
        self.since_ms = value.current_state_timestamp;
        if !members.is_empty() {
            self.phase = Phase::Stable { members, protocol, syncing: Syncing::default() };
        }
        if self.members().len() > cx.step.settings.members_max {
            self.rebalance(cx, "the loaded group is larger than group.max.size");
        }
    }

    /// What is stored of the group in this phase, with these assignments.
    fn value<'a>(&'a self, assignments: &'a BTreeMap<Arc<str>, Bytes>) -> GroupMetadataValue<'a> {
        let protocol = self.protocol().map(|protocol| &**protocol);
        let members = self.members();
        let stored = |(id, member): (&'a Arc<str>, &'a Member)| {
            let assignment = assignments.get(id).map_or(&[][..], |bytes| &bytes[..]);
            member.stored(id, protocol.unwrap_or_default(), assignment)
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().map_or(Cow::Borrowed(""), Cow::Borrowed),
            generation: self.generation,
            protocol: protocol.map(Cow::Borrowed),
            leader: members.leader().map(|id| Cow::Borrowed(&**id)),
            current_state_timestamp: self.since_ms,
            members: members.iter().map(stored).collect(),
        }
    }

    /// The record of the group in this phase, with these assignments.
    fn record(&self, cx: &Context<'_>, assignments: &BTreeMap<Arc<str>, Bytes>) -> Record {
        Record::group(cx.name(), Some(&self.value(assignments)))
    }

    /// All but the group's name and state. What members say to each other is shown while they agree on a protocol.
    pub fn describe(&self) -> DescribedGroup<'static> {
        let protocol = self.protocol().filter(|_| self.state() == State::Stable);
        let metadata = |member: &Member| protocol.map_or_else(Vec::new, |name| member.metadata(name).to_vec());
        let member = |(id, member): (&Arc<str>, &Member)| DescribedGroupMember {
            member_id: owned(id),
            group_instance_id: member.instance.as_deref().map(owned),
            client_id: owned(&member.client_id),
            client_host: owned(&member.client_host),
            member_metadata: Cow::Owned(metadata(member)),
            member_assignment: Cow::Owned(member.assignment.to_vec()),
        };
        DescribedGroup {
            protocol_type: owned(self.protocol_type().unwrap_or_default()),
            protocol_data: owned(protocol.map_or("", |protocol| &**protocol)),
            members: self.members().iter().map(member).collect(),
            ..Default::default()
        }
    }

    /// The partition is given up: members who wait are told to look for its next coordinator.
    pub fn unload(&self, step: &mut Step) {
        let code = ErrorCode::NotCoordinator;
        for (_, member) in self.members().iter() {
            member.join.into_iter().for_each(|ticket| step.answer(ticket, join_refusal("", code)));
            member.sync.into_iter().for_each(|ticket| step.answer(ticket, sync_refusal(code)));
        }
    }

    /// What holds between two steps.
    pub fn check(&self) {
        let members = self.members();
        assert_eq!(self.state() == State::Empty, members.is_empty());
        assert_eq!(self.pending.bytes == 0, self.pending.ids.is_empty());
        match &self.phase {
            Phase::Completing { syncing, is_storing, .. } => {
                assert!(*is_storing || syncing.deadline().is_some(), "somebody is waited for");
                syncing.check(members);
            }
            Phase::Stable { syncing, .. } => syncing.check(members),
            Phase::Empty | Phase::Preparing { .. } => {}
        }
        members.check();
    }
}
