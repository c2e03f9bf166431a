//! SyncGroup: members ask for their shares of the work, and the leader brings them.

use super::members::Members;
use super::{Classic, Phase, State};
use crate::group::decisions::Then;
use crate::group::error::{owned, sync_refusal};
use crate::group::shared::Context;
use crate::group::{Response, Ticket};
use crate::types::{Now, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::{SyncGroupRequest, SyncGroupResponse};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From here on the protocol and its type are part of the request.
const VERSION_PROTOCOL: i16 = 5;

/// Members of this generation that have not asked for their shares.
#[derive(Clone, Debug, Default)]
pub(super) struct Syncing {
    missing: BTreeSet<Arc<str>>,
    /// When those are removed.
    deadline: Time,
}

impl Syncing {
    pub fn new(deadline: Time, ids: &[Arc<str>]) -> Syncing {
        assert!(!ids.is_empty(), "a generation has members");
        Syncing { missing: ids.iter().cloned().collect(), deadline }
    }

    /// The member has asked, or is none any more.
    pub fn done(&mut self, id: &str) {
        self.missing.remove(id);
    }

    pub fn rename(&mut self, before: &str, id: &Arc<str>) {
        if self.missing.remove(before) {
            self.missing.insert(id.clone());
        }
    }

    /// `None`: nobody is missing.
    pub fn deadline(&self) -> Option<Time> {
        (!self.missing.is_empty()).then_some(self.deadline)
    }

    /// Those who are missing when their time is over.
    pub fn late(&self, now: Now) -> Vec<Arc<str>> {
        if self.deadline <= now.mono { self.missing.iter().cloned().collect() } else { Vec::new() }
    }

    /// What holds between two steps.
    pub fn check(&self, members: &Members) {
        assert!(self.missing.len() <= members.len());
        assert!(self.missing.first().is_none_or(|id| members.get(id).is_some()), "only a member can be missing");
    }
}

/// What can be refused without knowing the group.
pub(in crate::group) fn check_sync(request: &SyncGroupRequest<'_>, version: i16) -> Result<(), ErrorCode> {
    if version >= VERSION_PROTOCOL && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

impl Classic {
    pub(super) fn sync(&mut self, cx: &mut Context<'_>, ticket: Ticket, request: &SyncGroupRequest<'_>) {
        if let Err(code) = self.check_generation(request) {
            return cx.answer(ticket, sync_refusal(code));
        }
        let id = &*request.member_id;
        match &mut self.phase {
            Phase::Empty | Phase::Preparing { .. } => cx.answer(ticket, sync_refusal(ErrorCode::RebalanceInProgress)),
            Phase::Stable { syncing, .. } => {
                syncing.done(id);
                self.keep_alive(cx, id);
                cx.answer(ticket, self.synced(id));
            }
            Phase::Completing { members, syncing, is_storing, .. } => {
                syncing.done(id);
                if let Some(before) = members.put_sync(id, ticket) {
                    cx.answer(before, sync_refusal(ErrorCode::RebalanceInProgress));
                }
                if members.is_leader(id) && !*is_storing {
                    self.store_assignments(cx, request);
                }
            }
        }
    }

    fn check_generation(&self, request: &SyncGroupRequest<'_>) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: &Option<Cow<'_, str>>, ours: Option<&Arc<str>>| match (asked, ours) {
            (Some(asked), Some(ours)) => **asked != **ours,
            _ => false,
        };
        let inconsistent = differs(&request.protocol_type, self.protocol_type.as_ref())
            || differs(&request.protocol_name, self.protocol());
        if inconsistent { Err(ErrorCode::InconsistentGroupProtocol) } else { Ok(()) }
    }

    /// Stores the leader's assignment, which is handed out when it is durable. A member that it leaves out gets an empty
    /// share.
    fn store_assignments(&mut self, cx: &mut Context<'_>, request: &SyncGroupRequest<'_>) {
        let mut assignments: BTreeMap<Arc<str>, Bytes> =
            self.members().iter().map(|(id, _)| (id.clone(), Bytes::new())).collect();
        for assigned in &request.assignments {
            if let Some(assignment) = assignments.get_mut(&*assigned.member_id) {
                *assignment = Bytes::copy_from_slice(&assigned.assignment);
            }
        }
        let record = self.record(cx, &assignments);
        let then = Then::Assign { group: cx.name().clone(), generation: self.generation, assignments };
        match cx.decide(vec![record], then) {
            Ok(()) => self.set_storing(true),
            Err(code) => self.not_assigned(cx, code),
        }
    }

    fn set_storing(&mut self, storing: bool) {
        let Phase::Completing { is_storing, .. } = &mut self.phase else { panic!("no assignment is awaited") };
        assert_ne!(*is_storing, storing, "an assignment is stored once");
        *is_storing = storing;
    }

    fn not_assigned(&mut self, cx: &mut Context<'_>, code: ErrorCode) {
        self.refuse_syncs(cx, code);
        self.rebalance(cx, &format!("the assignment cannot be stored: {code}"));
    }

    /// The assignment is durable, or could not be stored. Nothing follows if another rebalance has begun.
    pub(super) fn assigned(
        &mut self,
        cx: &mut Context<'_>,
        generation: i32,
        assignments: BTreeMap<Arc<str>, Bytes>,
        failure: Option<ErrorCode>,
    ) {
        if self.state() != State::Completing || self.generation != generation {
            return;
        }
        self.set_storing(false);
        if let Some(code) = failure {
            return self.not_assigned(cx, code);
        }
        let Phase::Completing { members, protocol, syncing, .. } = self.take_phase() else { unreachable!() };
        self.set_phase(cx.now, Phase::Stable { members, protocol, syncing });
        for (id, assignment) in assignments {
            let Some(members) = self.members_mut() else { continue };
            members.assign(&id, assignment);
            if let Some(ticket) = members.take_sync(&id) {
                self.keep_alive(cx, &id);
                cx.answer(ticket, self.synced(&id));
            }
        }
    }

    fn synced(&self, id: &str) -> Response {
        let member = self.members().get(id).expect("a member asks");
        Response::SyncGroup(SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(owned),
            protocol_name: self.protocol().map(|protocol| owned(protocol)),
            assignment: Cow::Owned(member.assignment.to_vec()),
            ..Default::default()
        })
    }
}
