//! JoinGroup.

use super::decisions::{Replacement, Then};
use super::error::{join_refusal, sync_refusal};
use super::member::{MEMBER_BYTES, Member, member_id, protocol_bytes, protocols, request_bytes, timeouts};
use super::record::Record;
use super::state::{Group, State, Step};
use super::{
    Caller, MEMBER_METADATA_BYTES_MAX, MEMBER_PROTOCOLS_MAX, MEMBERS_PENDING_MAX, NEW_MEMBER_JOIN_MS, Response,
    Settings,
};
use crate::types::Now;
use crate::wire::error::ErrorCode;
use crate::wire::messages::JoinGroupRequest;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// From here on a dynamic member joins with an id that it was given before (KIP-394).
const VERSION_ID_REQUIRED: i16 = 4;
/// From here on a leader can be told to leave the assignment as it is (KIP-814).
const VERSION_SKIPS: i16 = 9;

/// What can be refused without knowing the group.
pub(super) fn check_join(request: &JoinGroupRequest<'_>, settings: &Settings) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if !(settings.session_ms_min..=settings.session_ms_max).contains(&request.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    if request.protocol_type.is_empty() || request.protocols.is_empty() {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if request.protocols.len() > MEMBER_PROTOCOLS_MAX || request_bytes(request) > MEMBER_METADATA_BYTES_MAX {
        return Err(ErrorCode::PolicyViolation);
    }
    Ok(())
}

impl Group {
    pub fn join(&mut self, now: Now, caller: &Caller<'_>, request: &JoinGroupRequest<'_>, step: &mut Step) {
        let id = &*request.member_id;
        let refused = if !self.has_memory(id, caller, request, step) {
            Some((id, ErrorCode::GroupMaxSizeReached))
        } else if !self.has_room(id, step) {
            self.remove_member(id, ErrorCode::GroupMaxSizeReached, step);
            self.take_pending(id);
            self.maybe_complete(now, step);
            Some(("", ErrorCode::GroupMaxSizeReached))
        } else if !self.supports(request) {
            Some((id, ErrorCode::InconsistentGroupProtocol))
        } else {
            None
        };
        if let Some((id, code)) = refused {
            return step.answer(caller.ticket, join_refusal(id, code));
        }
        if id.is_empty() {
            self.join_unknown(now, caller, request, step);
        } else if self.pending.contains_key(id) && request.group_instance_id.is_none() {
            self.join_new(now, caller, request, Arc::from(id), step);
        } else {
            self.join_known(now, caller, request, step);
        }
    }

    /// Whether there is memory for what the member says of itself, beside what it has said before.
    fn has_memory(&self, id: &str, caller: &Caller<'_>, request: &JoinGroupRequest<'_>, step: &Step) -> bool {
        let growth = match self.members.get(id) {
            Some(member) => request_bytes(request).saturating_sub(protocol_bytes(&member.protocols)),
            None => {
                let instance = request.group_instance_id.as_deref().unwrap_or_default();
                // The instance's name is the beginning of the id too.
                let texts = caller.client_id.len() + caller.client_host.len() + 2 * instance.len();
                request_bytes(request) + MEMBER_BYTES + texts + self.name.len()
            }
        };
        // A group that is new is stored.
        let stored = !self.ledger.is_empty() || step.has_offset_memory(caller, self.name.len());
        let bytes = step.member_bytes + caller.member_bytes_elsewhere + growth;
        stored && (growth == 0 || bytes <= step.settings.member_bytes_max)
    }

    /// Whether the group may have one more member, or this one goes on being one.
    fn has_room(&self, id: &str, step: &Step) -> bool {
        let members_max = step.settings.members_max;
        let known = self.members.get(id);
        match self.state() {
            State::Empty => self.pending.len() < MEMBERS_PENDING_MAX || self.pending.contains_key(id),
            // Those count who have joined, so that the last to come again are left out if the group is too large.
            State::Preparing => known.is_some_and(|member| member.join.is_some()) || self.joining < members_max,
            State::Completing | State::Stable => known.is_some() || self.members.len() < members_max,
        }
    }

    fn supports(&self, request: &JoinGroupRequest<'_>) -> bool {
        assert!(!request.protocols.is_empty() && !request.protocol_type.is_empty());
        if self.state() == State::Empty {
            return true;
        }
        let common = |name: &str| self.offered.get(name) == Some(&self.members.len());
        self.protocol_type.as_deref() == Some(&*request.protocol_type)
            && request.protocols.iter().any(|protocol| common(&protocol.name))
    }

    /// A client without an id.
    fn join_unknown(&mut self, now: Now, caller: &Caller<'_>, request: &JoinGroupRequest<'_>, step: &mut Step) {
        let instance = request.group_instance_id.as_deref();
        let id = member_id(instance.unwrap_or(caller.client_id), caller.random);
        let known = instance.and_then(|instance| self.instances.get(instance).cloned());
        if let Some(before) = known {
            self.replace(now, caller, request, &before, id, step);
        } else if instance.is_none() && caller.version >= VERSION_ID_REQUIRED {
            if self.pending.len() >= MEMBERS_PENDING_MAX {
                return step.answer(caller.ticket, join_refusal("", ErrorCode::GroupMaxSizeReached));
            }
            step.answer(caller.ticket, join_refusal(&id, ErrorCode::MemberIdRequired));
            let deadline = now.mono.after_ms(timeouts(request, caller.version).0);
            self.put_pending(id, deadline);
            self.wake_at(deadline);
            self.gather_on(now, step);
        } else {
            self.join_new(now, caller, request, id, step);
        }
    }

    fn join_new(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &JoinGroupRequest<'_>,
        id: Arc<str>,
        step: &mut Step,
    ) {
        let (session_ms, rebalance_ms) = timeouts(request, caller.version);
        let member = Member {
            instance: request.group_instance_id.as_deref().map(Arc::from),
            client_id: caller.client_id.into(),
            client_host: caller.client_host.into(),
            session_ms,
            rebalance_ms,
            protocols: protocols(request),
            assignment: Bytes::new(),
            join: Some(caller.ticket),
            sync: None,
            is_new: true,
            is_synced: true,
            deadline: now.mono.after_ms(NEW_MEMBER_JOIN_MS),
        };
        let deadline = member.deadline;
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::from(&*request.protocol_type));
        }
        self.put_member(id.clone(), member);
        self.wake_at(deadline);
        self.gather_on(now, step);
        let reason = request.reason.as_deref().unwrap_or("not given");
        self.rebalance(now, &format!("member {id} joins; its reason: {reason}"), step);
    }

    /// A client with an id that it was given.
    fn join_known(&mut self, now: Now, caller: &Caller<'_>, request: &JoinGroupRequest<'_>, step: &mut Step) {
        let id = &*request.member_id;
        if let Err(code) = self.check_member(id, request.group_instance_id.as_deref()) {
            return step.answer(caller.ticket, join_refusal(id, code));
        }
        let unchanged = self.members[id].matches(request);
        let current = match self.state() {
            // The answer to its join was lost.
            State::Completing => unchanged,
            // The leader may want a new assignment for reasons that no metadata shows.
            State::Stable => unchanged && !self.is_leader(id),
            State::Empty | State::Preparing => false,
        };
        if current {
            self.keep_alive(now, id);
            return step.answer(caller.ticket, Response::JoinGroup(self.joined(id)));
        }
        let mut member = self.take_member(id).expect("it was checked");
        member.update(request, caller.version);
        self.put_member(Arc::from(id), member);
        self.set_join(id, Some(caller.ticket), step);
        let reason = request.reason.as_deref().unwrap_or("not given");
        let change = if unchanged { "joins again" } else { "has new metadata" };
        self.rebalance(now, &format!("member {id} {change}; its reason: {reason}"), step);
    }

    /// A static member comes back without its id: it is the same member under a new id, and the old one is fenced.
    fn replace(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &JoinGroupRequest<'_>,
        before: &Arc<str>,
        id: Arc<str>,
        step: &mut Step,
    ) {
        let leader_old = self.leader.clone();
        let mut member = self.take_member(before).expect("an instance id leads to a member");
        let protocols_old = member.protocols.clone();
        if let Some(ticket) = member.join.take() {
            step.answer(ticket, join_refusal(before, ErrorCode::FencedInstanceId));
        }
        if let Some(ticket) = member.sync.take() {
            step.answer(ticket, sync_refusal(ErrorCode::FencedInstanceId));
        }
        member.update(request, caller.version);
        member.join = Some(caller.ticket);
        (member.client_id, member.client_host) = (caller.client_id.into(), caller.client_host.into());
        self.rename_leader(before, &id);
        self.put_member(id.clone(), member);
        self.keep_alive(now, &id);
        match self.state() {
            State::Stable if self.protocol.as_ref() == Some(&self.choose_protocol()) => {
                let replacement = Replacement {
                    ticket: caller.ticket,
                    member_new: id,
                    member_old: before.clone(),
                    leader_old,
                    protocols_old,
                    skips: caller.version >= VERSION_SKIPS,
                };
                self.store_replacement(now, replacement, step);
            }
            State::Stable | State::Completing => {
                self.prepare(now, &format!("static member {id} comes back"), step);
                self.maybe_complete(now, step);
            }
            State::Preparing => self.maybe_complete(now, step),
            State::Empty => unreachable!("an empty group has no static member"),
        }
    }

    fn rename_leader(&mut self, before: &str, id: &Arc<str>) {
        if self.is_leader(before) {
            self.leader = Some(id.clone());
        }
    }

    /// The assignment stays; the new id is told when it is durable.
    fn store_replacement(&mut self, now: Now, replacement: Replacement, step: &mut Step) {
        let assignments: BTreeMap<Arc<str>, Bytes> =
            self.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone())).collect();
        let record = Record::group(&self.name, Some(&self.value(&assignments)));
        let (ticket, id) = (replacement.ticket, replacement.member_new.clone());
        let then = Then::Replace { group: self.name.clone(), generation: self.generation, replacement };
        if let Err(code) = self.decide(vec![record], then, step) {
            self.take_join(&id);
            step.answer(ticket, join_refusal("", code));
            self.prepare(now, "a static member's new id cannot be stored", step);
            self.maybe_complete(now, step);
        }
    }

    /// The new id of a static member is durable, or is not.
    pub fn replaced(
        &mut self,
        now: Now,
        generation: i32,
        replacement: Replacement,
        failure: Option<ErrorCode>,
        step: &mut Step,
    ) {
        let Replacement { ticket, member_new, member_old, leader_old, protocols_old, skips } = replacement;
        let waits = self.members.get(&member_new).is_some_and(|member| member.join == Some(ticket));
        if !waits || self.state() != State::Stable || self.generation != generation {
            // A rebalance or a removal has answered, or will.
            return;
        }
        self.take_join(&member_new);
        self.keep_alive(now, &member_new);
        let Some(code) = failure else {
            let mut response = self.joined(&member_new);
            if skips {
                response.skip_assignment = self.is_leader(&member_new);
            } else {
                // It must not take itself for the leader, which would have to assign.
                response.leader = leader_old.as_deref().map_or("".into(), super::error::owned);
                response.members.clear();
            }
            return step.answer(ticket, Response::JoinGroup(response));
        };
        let mut member = self.take_member(&member_new).expect("it waits");
        member.protocols = protocols_old;
        self.rename_leader(&member_new, &member_old);
        self.put_member(member_old.clone(), member);
        self.keep_alive(now, &member_old);
        step.answer(ticket, join_refusal("", code));
    }
}
