//! SyncGroup.

use super::Response;
use super::decisions::Then;
use super::error::{owned, sync_refusal};
use super::record::Record;
use super::state::{Group, Phase, State, Step};
use crate::types::Now;
use crate::wire::error::ErrorCode;
use crate::wire::messages::{SyncGroupRequest, SyncGroupResponse};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// From here on the protocol and its type are part of the request.
const VERSION_PROTOCOL: i16 = 5;

/// What can be refused without knowing the group.
pub(super) fn check_sync(request: &SyncGroupRequest<'_>, version: i16) -> Result<(), ErrorCode> {
    if version >= VERSION_PROTOCOL && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

impl Group {
    pub fn sync(&mut self, now: Now, ticket: super::Ticket, request: &SyncGroupRequest<'_>, step: &mut Step) {
        if let Err(code) = self.check_generation(request) {
            return step.answer(ticket, sync_refusal(code));
        }
        let id = &*request.member_id;
        match self.state() {
            State::Empty | State::Preparing => step.answer(ticket, sync_refusal(ErrorCode::RebalanceInProgress)),
            State::Stable => {
                self.mark_synced(id);
                self.keep_alive(now, id);
                step.answer(ticket, self.synced(id));
            }
            State::Completing => {
                self.mark_synced(id);
                let member = self.members.get_mut(id).expect("it was checked");
                if let Some(before) = member.sync.replace(ticket) {
                    step.answer(before, sync_refusal(ErrorCode::RebalanceInProgress));
                }
                if self.is_leader(id) && !self.is_storing() {
                    self.store_assignments(now, request, step);
                }
            }
        }
    }

    fn is_storing(&self) -> bool {
        matches!(self.phase, Phase::Completing { is_storing: true })
    }

    fn check_generation(&self, request: &SyncGroupRequest<'_>) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<Cow<'_, str>>, ours: &Option<Arc<str>>| match (asked, ours) {
            (Some(asked), Some(ours)) => **asked != **ours,
            _ => false,
        };
        let inconsistent =
            differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol);
        if inconsistent { Err(ErrorCode::InconsistentGroupProtocol) } else { Ok(()) }
    }

    /// The leader's assignment: handed out when it is durable. A member that it leaves out gets an empty one.
    fn store_assignments(&mut self, now: Now, request: &SyncGroupRequest<'_>, step: &mut Step) {
        assert!(!self.is_storing());
        let mut assignments: BTreeMap<Arc<str>, Bytes> =
            self.members.keys().map(|id| (id.clone(), Bytes::new())).collect();
        for assigned in &request.assignments {
            if let Some(assignment) = assignments.get_mut(&*assigned.member_id) {
                *assignment = Bytes::copy_from_slice(&assigned.assignment);
            }
        }
        let record = Record::group(&self.name, Some(&self.value(&assignments)));
        let then = Then::Assign { group: self.name.clone(), generation: self.generation, assignments };
        match self.decide(vec![record], then, step) {
            Ok(()) => self.phase = Phase::Completing { is_storing: true },
            Err(code) => self.not_assigned(now, code, step),
        }
    }

    fn not_assigned(&mut self, now: Now, code: ErrorCode, step: &mut Step) {
        self.refuse_syncs(now, code, step);
        self.rebalance(now, &format!("the assignment cannot be stored: {code}"), step);
    }

    /// The assignment is durable, or is not. Nothing follows if another rebalance has begun.
    pub fn assigned(
        &mut self,
        now: Now,
        generation: i32,
        assignments: BTreeMap<Arc<str>, Bytes>,
        failure: Option<ErrorCode>,
        step: &mut Step,
    ) {
        if self.state() != State::Completing || self.generation != generation {
            return;
        }
        assert!(self.is_storing());
        self.phase = Phase::Completing { is_storing: false };
        if let Some(code) = failure {
            return self.not_assigned(now, code, step);
        }
        self.set_phase(now, Phase::Stable);
        for (id, assignment) in assignments {
            let Some(member) = self.members.get_mut(&id) else { continue };
            self.bytes = self.bytes + assignment.len() - member.assignment.len();
            member.assignment = assignment;
            if let Some(ticket) = member.sync.take() {
                self.keep_alive(now, &id);
                step.answer(ticket, self.synced(&id));
            }
        }
    }

    fn synced(&self, id: &str) -> Response {
        Response::SyncGroup(SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(owned),
            protocol_name: self.protocol.as_deref().map(owned),
            assignment: Cow::Owned(self.members[id].assignment.to_vec()),
            ..Default::default()
        })
    }
}
