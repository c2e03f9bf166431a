//! Sessions of members: Heartbeat keeps one alive, LeaveGroup ends it, and so does time.

use super::{Classic, Phase, State};
use crate::group::error::{LEAVE_VERSION_MEMBERS, heartbeat, owned};
use crate::group::shared::Context;
use crate::group::{Caller, Response};
use crate::wire::error::ErrorCode;
use crate::wire::messages::leave_group_request::MemberIdentity;
use crate::wire::messages::leave_group_response::MemberResponse;
use crate::wire::messages::{HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse};
use std::sync::Arc;

impl Classic {
    pub(super) fn heartbeat(&mut self, cx: &mut Context<'_>, request: &HeartbeatRequest<'_>) -> Response {
        if let Err(code) = self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
            return heartbeat(code);
        }
        if request.generation_id != self.generation {
            return heartbeat(ErrorCode::IllegalGeneration);
        }
        self.keep_alive(cx, &request.member_id);
        let preparing = self.state() == State::Preparing;
        heartbeat(if preparing { ErrorCode::RebalanceInProgress } else { ErrorCode::None })
    }

    pub(super) fn leave(&mut self, cx: &mut Context<'_>, caller: &Caller<'_>, request: &LeaveGroupRequest<'_>) {
        let single = [MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
        let old_form = caller.version < LEAVE_VERSION_MEMBERS;
        let leaving = if old_form { &single[..] } else { &request.members[..] };
        let mut members = Vec::with_capacity(leaving.len());
        let (mut left, mut reason) = (false, String::new());
        for identity in leaving {
            let outcome = self.leave_one(cx, identity);
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
        cx.answer(caller.ticket, Response::LeaveGroup(response));
        if left {
            self.after_removal(cx, &reason);
        }
        // One of those who were waited for may have been an id that has not joined.
        self.maybe_complete(cx);
    }

    /// Whether a member has left, not just an id that was given out. An operator removes a static member by its instance
    /// id alone.
    fn leave_one(&mut self, cx: &mut Context<'_>, identity: &MemberIdentity<'_>) -> Result<bool, ErrorCode> {
        let instance = identity.group_instance_id.as_deref();
        let id: Arc<str> = if identity.member_id.is_empty() {
            let known = instance.and_then(|instance| self.members().of_instance(instance));
            known.ok_or(ErrorCode::UnknownMemberId)?.clone()
        } else {
            Arc::from(&*identity.member_id)
        };
        if self.pending.take(&id) {
            return Ok(false);
        }
        self.check_member(&id, instance)?;
        self.remove_member(&id, ErrorCode::UnknownMemberId, cx);
        Ok(true)
    }

    /// Members are gone: the others share anew what they had.
    fn after_removal(&mut self, cx: &mut Context<'_>, reason: &str) {
        match self.state() {
            State::Stable | State::Completing => self.rebalance(cx, reason),
            State::Preparing => self.maybe_complete(cx),
            State::Empty => {}
        }
    }

    /// Does what is due: ids that were given out expire, members are removed that are silent or do not ask for their
    /// shares, a rebalance goes on.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        let pending_over = self.pending.expire(cx.now);
        let mut removed = self.members().silent(cx.now);
        let mut reason = "its session has ended";
        let late = self.syncing_mut().map_or_else(Vec::new, |syncing| syncing.late(cx.now));
        if !late.is_empty() {
            removed.extend(late);
            reason = "it has not asked for its share in time";
        }
        for id in &removed {
            self.remove_member(id, ErrorCode::UnknownMemberId, cx);
        }
        if let Some(id) = removed.first() {
            let more = removed.len() - 1;
            self.after_removal(cx, &format!("member {id} and {more} others are removed: {reason}"));
        } else if pending_over {
            self.maybe_complete(cx);
        }
        if matches!(self.phase, Phase::Preparing { deadline, .. } if deadline <= cx.now.mono) {
            self.complete(cx);
        }
    }
}
