//! Heartbeat, LeaveGroup, and what happens when time is over.

use super::error::{LEAVE_VERSION_MEMBERS, heartbeat, owned};
use super::state::{Group, State, Step};
use super::{Caller, Response};
use crate::types::Now;
use crate::wire::error::ErrorCode;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::leave_group_response::MemberResponse;
use crate::wire::messages::{HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse};
use std::sync::Arc;

impl Group {
    pub fn heartbeat(&mut self, now: Now, request: &HeartbeatRequest<'_>) -> Response {
        if let Err(code) = self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
            return heartbeat(code);
        }
        if request.generation_id != self.generation {
            return heartbeat(ErrorCode::IllegalGeneration);
        }
        self.keep_alive(now, &request.member_id);
        let preparing = self.state() == State::Preparing;
        heartbeat(if preparing { ErrorCode::RebalanceInProgress } else { ErrorCode::None })
    }

    pub fn leave(&mut self, now: Now, caller: &Caller<'_>, request: &LeaveGroupRequest<'_>, step: &mut Step) {
        let single = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
        let old_form = caller.version < LEAVE_VERSION_MEMBERS;
        let leaving = if old_form { &single[..] } else { &request.members[..] };
        let mut members = Vec::with_capacity(leaving.len());
        let (mut left, mut reason) = (false, String::new());
        for identity in leaving {
            let outcome = self.leave_one(identity, step);
            if outcome == Ok(true) {
                let theirs = identity.reason.as_deref().unwrap_or("not given");
                (left, reason) = (true, format!("member {} leaves; its reason: {theirs}", identity.member_id));
            }
            members.push(MemberResponse {
                member_id: owned(&identity.member_id),
                group_instance_id: identity.group_instance_id.as_deref().map(owned),
                error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        let error_code = if old_form { members[0].error_code } else { ErrorCode::None.code() };
        let response = LeaveGroupResponse { error_code, members, ..Default::default() };
        step.answer(caller.ticket, Response::LeaveGroup(response));
        if left {
            self.after_removal(now, &reason, step);
        }
        // One of those who were waited for may have been an id that has not joined.
        self.maybe_complete(now, step);
    }

    /// Whether a member has left, not just an id that was given out. An operator removes a static member by its instance
    /// id alone.
    fn leave_one(&mut self, identity: &MemberIdentity<'_>, step: &mut Step) -> Result<bool, ErrorCode> {
        let instance = identity.group_instance_id.as_deref();
        let id: Arc<str> = if identity.member_id.is_empty() {
            let known = instance.and_then(|instance| self.instances.get(instance));
            known.ok_or(ErrorCode::UnknownMemberId)?.clone()
        } else {
            Arc::from(&*identity.member_id)
        };
        if self.take_pending(&id) {
            return Ok(false);
        }
        self.check_member(&id, instance)?;
        self.remove_member(&id, ErrorCode::UnknownMemberId, step);
        Ok(true)
    }

    /// Members are gone: the others share anew what they had.
    fn after_removal(&mut self, now: Now, reason: &str, step: &mut Step) {
        match self.state() {
            State::Stable | State::Completing => self.rebalance(now, reason, step),
            State::Preparing => self.maybe_complete(now, step),
            State::Empty => {}
        }
    }

    /// Does what is due, and finds out when something will be due next.
    pub fn expire(&mut self, now: Now, step: &mut Step) {
        let is_over = |deadline: &crate::types::Time| *deadline <= now.mono;
        let pending_before = self.pending.len();
        let over: Vec<Arc<str>> =
            self.pending.iter().filter(|(_, deadline)| is_over(deadline)).map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| assert!(self.take_pending(id)));
        let dead = |(id, member): (&Arc<str>, &super::member::Member)| {
            (is_over(&member.deadline) && !member.is_excused()).then(|| id.clone())
        };
        let mut removed: Vec<Arc<str>> = self.members.iter().filter_map(dead).collect();
        let mut reason = "its session has ended";
        if self.sync_deadline.as_ref().is_some_and(is_over) {
            let unsynced = self.members.iter().filter(|(_, member)| !member.is_synced);
            removed.extend(unsynced.map(|(id, _)| id.clone()));
            self.clear_sync_deadline();
            reason = "it has not asked for its share in time";
        }
        for id in &removed {
            self.remove_member(id, ErrorCode::UnknownMemberId, step);
        }
        if let Some(id) = removed.first() {
            let more = removed.len() - 1;
            self.after_removal(now, &format!("member {id} and {more} others are removed: {reason}"), step);
        } else if self.pending.len() < pending_before {
            self.maybe_complete(now, step);
        }
        if self.join_deadline().as_ref().is_some_and(is_over) {
            self.complete(now, step);
        }
        if self.retention_at.as_ref().is_some_and(is_over) {
            self.expire_offsets(now, step);
        }
        self.due = self.next_due();
    }
}
