//! JoinGroup: clients become members, and members join again.

use super::member::{MEMBER_BYTES, Member, member_id, protocol_bytes, protocols, request_bytes, timeouts};
use super::{Classic, Phase, State};
use crate::group::decisions::{Replacement, Then};
use crate::group::error::{join_refusal, owned, sync_refusal};
use crate::group::shared::Context;
use crate::group::{
    Caller, MEMBER_METADATA_BYTES_MAX, MEMBER_PROTOCOLS_MAX, MEMBERS_PENDING_MAX, NEW_MEMBER_JOIN_MS, Response,
    Settings,
};
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
pub(in crate::group) fn check_join(request: &JoinGroupRequest<'_>, settings: &Settings) -> Result<(), ErrorCode> {
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

impl Classic {
    pub(super) fn join(&mut self, cx: &mut Context<'_>, caller: &Caller<'_>, request: &JoinGroupRequest<'_>) {
        let id = &*request.member_id;
        let refused = if !self.has_memory(cx, id, caller, request) {
            Some((id, ErrorCode::GroupMaxSizeReached))
        } else if !self.has_room(cx, id) {
            self.remove_member(id, ErrorCode::GroupMaxSizeReached, cx);
            self.pending.take(id);
            self.maybe_complete(cx);
            Some(("", ErrorCode::GroupMaxSizeReached))
        } else if !self.supports(request) {
            Some((id, ErrorCode::InconsistentGroupProtocol))
        } else {
            None
        };
        if let Some((id, code)) = refused {
            return cx.answer(caller.ticket, join_refusal(id, code));
        }
        if id.is_empty() {
            self.join_unknown(cx, caller, request);
        } else if request.group_instance_id.is_none() && self.pending.take(id) {
            self.join_new(cx, caller, request, Arc::from(id));
        } else {
            self.join_known(cx, caller, request);
        }
    }

    /// Whether there is memory for what the member says of itself, beside what it has said before.
    fn has_memory(&self, cx: &Context<'_>, id: &str, caller: &Caller<'_>, request: &JoinGroupRequest<'_>) -> bool {
        let name_bytes = cx.name().len();
        let growth = match self.members().get(id) {
            Some(member) => request_bytes(request).saturating_sub(protocol_bytes(&member.protocols)),
            None => {
                let instance = request.group_instance_id.as_deref().unwrap_or_default();
                // The instance's name is the beginning of the id too.
                let texts = caller.client_id.len() + caller.client_host.len() + 2 * instance.len();
                request_bytes(request) + MEMBER_BYTES + texts + name_bytes
            }
        };
        // A group that is new is stored.
        let stored = !cx.shared.ledger().is_empty() || cx.step.has_offset_memory(caller, name_bytes);
        let bytes = cx.step.member_bytes + caller.member_bytes_elsewhere + growth;
        stored && (growth == 0 || bytes <= cx.step.settings.member_bytes_max)
    }

    /// Whether the group may have one more member, or this one goes on being one.
    fn has_room(&self, cx: &Context<'_>, id: &str) -> bool {
        let members_max = cx.step.settings.members_max;
        let members = self.members();
        let known = members.get(id);
        match self.state() {
            State::Empty => self.pending.ids.len() < MEMBERS_PENDING_MAX || self.pending.ids.contains_key(id),
            // Those count who have joined, so that the last to come again are left out if the group is too large.
            State::Preparing => known.is_some_and(|member| member.join.is_some()) || members.joining() < members_max,
            State::Completing | State::Stable => known.is_some() || members.len() < members_max,
        }
    }

    fn supports(&self, request: &JoinGroupRequest<'_>) -> bool {
        assert!(!request.protocols.is_empty() && !request.protocol_type.is_empty());
        self.state() == State::Empty
            || self.protocol_type.as_deref() == Some(&*request.protocol_type)
                && request.protocols.iter().any(|protocol| self.members().have_in_common(&protocol.name))
    }

    /// A client without an id.
    fn join_unknown(&mut self, cx: &mut Context<'_>, caller: &Caller<'_>, request: &JoinGroupRequest<'_>) {
        let instance = request.group_instance_id.as_deref();
        let id = member_id(instance.unwrap_or(caller.client_id), caller.random);
        let known = instance.and_then(|instance| self.members().of_instance(instance).cloned());
        if let Some(before) = known {
            self.replace(cx, caller, request, &before, id);
        } else if instance.is_none() && caller.version >= VERSION_ID_REQUIRED {
            if self.pending.ids.len() >= MEMBERS_PENDING_MAX {
                return cx.answer(caller.ticket, join_refusal("", ErrorCode::GroupMaxSizeReached));
            }
            cx.answer(caller.ticket, join_refusal(&id, ErrorCode::MemberIdRequired));
            let deadline = cx.now.mono.after_ms(timeouts(request, caller.version).0);
            self.pending.put(id, deadline);
            cx.wake_at(deadline);
            self.gather_on(cx);
        } else {
            self.join_new(cx, caller, request, id);
        }
    }

    fn join_new(&mut self, cx: &mut Context<'_>, caller: &Caller<'_>, request: &JoinGroupRequest<'_>, id: Arc<str>) {
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
            deadline: cx.now.mono.after_ms(NEW_MEMBER_JOIN_MS),
        };
        cx.wake_at(member.deadline);
        let reason = request.reason.as_deref().unwrap_or("not given");
        let reason = format!("member {id} joins; its reason: {reason}");
        match self.members_mut() {
            None => {
                self.protocol_type = Some(Arc::from(&*request.protocol_type));
                self.prepare_first(cx, id, member, &reason);
            }
            Some(members) => {
                members.put(id, member);
                self.gather_on(cx);
                self.rebalance(cx, &reason);
            }
        }
    }

    /// A client with an id that it was given.
    fn join_known(&mut self, cx: &mut Context<'_>, caller: &Caller<'_>, request: &JoinGroupRequest<'_>) {
        let id = &*request.member_id;
        if let Err(code) = self.check_member(id, request.group_instance_id.as_deref()) {
            return cx.answer(caller.ticket, join_refusal(id, code));
        }
        let state = self.state();
        let members = self.members_mut().expect("a member is there");
        let unchanged = members.get(id).expect("it was checked").matches(request);
        let current = match state {
            // The answer to its join was lost.
            State::Completing => unchanged,
            // The leader may want a new assignment for reasons that no metadata shows.
            State::Stable => unchanged && !members.is_leader(id),
            State::Empty | State::Preparing => false,
        };
        if current {
            self.keep_alive(cx, id);
            return cx.answer(caller.ticket, Response::JoinGroup(self.joined(id)));
        }
        let before = members.change(id, |member| {
            member.update(request, caller.version);
            member.join.replace(caller.ticket)
        });
        if let Some(before) = before.flatten() {
            cx.answer(before, join_refusal(id, ErrorCode::RebalanceInProgress));
        }
        let reason = request.reason.as_deref().unwrap_or("not given");
        let change = if unchanged { "joins again" } else { "has new metadata" };
        self.rebalance(cx, &format!("member {id} {change}; its reason: {reason}"));
    }

    /// A static member comes back without its id: it is the same member under a new id, and the old one is fenced.
    fn replace(
        &mut self,
        cx: &mut Context<'_>,
        caller: &Caller<'_>,
        request: &JoinGroupRequest<'_>,
        before: &Arc<str>,
        id: Arc<str>,
    ) {
        let members = self.members_mut().expect("an instance id leads to a member");
        let leader_old = members.leader().cloned();
        let protocols_old = members.get(before).expect("an instance id leads to a member").protocols.clone();
        let waited = members.change(before, |member| {
            let waited = (member.join.replace(caller.ticket), member.sync.take());
            member.update(request, caller.version);
            (member.client_id, member.client_host) = (caller.client_id.into(), caller.client_host.into());
            waited
        });
        let (join, sync) = waited.expect("it is a member");
        if let Some(ticket) = join {
            cx.answer(ticket, join_refusal(before, ErrorCode::FencedInstanceId));
        }
        if let Some(ticket) = sync {
            cx.answer(ticket, sync_refusal(ErrorCode::FencedInstanceId));
        }
        self.rename(before, &id);
        self.keep_alive(cx, &id);
        match &self.phase {
            Phase::Stable { members, protocol, .. } if *protocol == members.choose_protocol() => {
                let replacement = Replacement {
                    ticket: caller.ticket,
                    member_new: id,
                    member_old: before.clone(),
                    leader_old,
                    protocols_old,
                    skips: caller.version >= VERSION_SKIPS,
                };
                self.store_replacement(cx, replacement);
            }
            Phase::Stable { .. } | Phase::Completing { .. } => {
                self.rebalance(cx, &format!("static member {id} comes back"));
            }
            Phase::Preparing { .. } => self.maybe_complete(cx),
            Phase::Empty => unreachable!("an empty group has no static member"),
        }
    }

    /// Gives a member another id, whatever it does.
    fn rename(&mut self, before: &str, id: &Arc<str>) {
        if let Some(syncing) = self.syncing_mut() {
            syncing.rename(before, id);
        }
        self.members_mut().expect("only a member is renamed").rename(before, id);
    }

    /// The assignment stays; the new id is told when it is durable.
    fn store_replacement(&mut self, cx: &mut Context<'_>, replacement: Replacement) {
        assert_eq!(self.state(), State::Stable);
        let members = self.members().iter();
        let assignments: BTreeMap<Arc<str>, Bytes> =
            members.map(|(id, member)| (id.clone(), member.assignment.clone())).collect();
        let record = self.record(cx, &assignments);
        let (ticket, id) = (replacement.ticket, replacement.member_new.clone());
        let then = Then::Replace { group: cx.name().clone(), generation: self.generation, replacement };
        if let Err(code) = cx.decide(vec![record], then) {
            self.take_join(&id);
            cx.answer(ticket, join_refusal("", code));
            self.rebalance(cx, "a static member's new id cannot be stored");
        }
    }

    fn take_join(&mut self, id: &str) {
        let ticket = self.members_mut().and_then(|members| members.take_join(id));
        assert!(ticket.is_some(), "its join waits");
    }

    /// The new id of a static member is durable, or could not be stored.
    pub(super) fn replaced(
        &mut self,
        cx: &mut Context<'_>,
        generation: i32,
        replacement: Replacement,
        failure: Option<ErrorCode>,
    ) {
        let Replacement { ticket, member_new, member_old, leader_old, protocols_old, skips } = replacement;
        let waits = self.members().get(&member_new).is_some_and(|member| member.join == Some(ticket));
        if !waits || self.state() != State::Stable || self.generation != generation {
            // A rebalance or a removal has answered, or will.
            return;
        }
        self.take_join(&member_new);
        self.keep_alive(cx, &member_new);
        let Some(code) = failure else {
            let mut response = self.joined(&member_new);
            if skips {
                response.skip_assignment = self.members().is_leader(&member_new);
            } else {
                // It must not take itself for the leader, which would have to assign.
                response.leader = leader_old.as_deref().map_or("".into(), owned);
                response.members.clear();
            }
            return cx.answer(ticket, Response::JoinGroup(response));
        };
        let members = self.members_mut().expect("it waits");
        members.change(&member_new, |member| member.protocols = protocols_old);
        self.rename(&member_new, &member_old);
        self.keep_alive(cx, &member_old);
        cx.answer(ticket, join_refusal("", code));
    }
}
