//! Rebalances: all members are asked to join again; those who do are the next generation.

use super::members::Members;
use super::{Classic, Member, Phase, State, Syncing};
use crate::group::decisions::Then;
use crate::group::error::{owned, sync_refusal};
use crate::group::shared::Context;
use crate::group::{AGAIN_MS_MIN, Event, Response};
use crate::types::Time;
use crate::wire::error::ErrorCode;
use crate::wire::messages::JoinGroupResponse;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// When a group that gathers its first members has waited long enough for one more; `end`: the latest time.
fn gather_deadline(end: Time, cx: &Context<'_>) -> Time {
    end.min(cx.now.mono.after_ms(cx.step.settings.gather_ms))
}

impl Classic {
    /// Asks all members to join again, if they are not asked yet, and goes on if all have.
    pub(super) fn rebalance(&mut self, cx: &mut Context<'_>, reason: &str) {
        if self.state() != State::Preparing {
            self.prepare(cx, reason);
        }
        self.maybe_complete(cx);
    }

    /// A member joins a group that is empty, which waits a while for others.
    pub(super) fn prepare_first(&mut self, cx: &mut Context<'_>, id: Arc<str>, member: Member, reason: &str) {
        assert_eq!(self.state(), State::Empty);
        self.report_rebalance(cx, reason);
        let mut members = Members::new();
        members.put(id, member);
        let gather_ms_max = cx.step.settings.gather_ms_max.min(members.rebalance_ms());
        let gather_end = cx.now.mono.after_ms(gather_ms_max);
        let deadline = gather_deadline(gather_end, cx);
        self.set_phase(cx.now, Phase::Preparing { members, deadline, gather_end: Some(gather_end), protocol: None });
        cx.wake_at(deadline);
    }

    /// Asks all members to join again.
    pub(super) fn prepare(&mut self, cx: &mut Context<'_>, reason: &str) {
        if self.state() == State::Completing {
            self.refuse_syncs(cx, ErrorCode::RebalanceInProgress);
        }
        self.report_rebalance(cx, reason);
        let (Phase::Completing { members, protocol, .. } | Phase::Stable { members, protocol, .. }) = self.take_phase()
        else {
            panic!("{}: there is no generation that could end", cx.name())
        };
        let deadline = cx.now.mono.after_ms(members.rebalance_ms());
        let protocol = Some(protocol);
        self.set_phase(cx.now, Phase::Preparing { members, deadline, gather_end: None, protocol });
        cx.wake_at(deadline);
    }

    fn report_rebalance(&self, cx: &mut Context<'_>, reason: &str) {
        let (group, reason) = (cx.name().clone(), reason.to_string());
        cx.event(Event::Rebalance { group, generation: self.generation, reason });
    }

    /// Somebody has come while the group gathers its first members: others may follow.
    pub(super) fn gather_on(&mut self, cx: &mut Context<'_>) {
        if let Phase::Preparing { deadline, gather_end: Some(end), .. } = &mut self.phase {
            *deadline = gather_deadline(*end, cx);
            cx.wake_at(*deadline);
        }
    }

    /// Drops the assignments of this generation and answers those who wait for them.
    pub(super) fn refuse_syncs(&mut self, cx: &mut Context<'_>, code: ErrorCode) {
        let Phase::Completing { members, .. } = &mut self.phase else { panic!("nobody waits for an assignment") };
        for id in members.ids() {
            members.assign(&id, Bytes::new());
            if let Some(ticket) = members.take_sync(&id) {
                cx.answer(ticket, sync_refusal(code));
                let deadline = members.keep_alive(cx.now, &id).expect("it is a member");
                cx.wake_at(deadline);
            }
        }
    }

    /// Goes on with the rebalance as soon as all members have joined again and nobody who was given an id may still come.
    /// A group that gathers its first members waits on all the same, unless all of them have left.
    pub(super) fn maybe_complete(&mut self, cx: &mut Context<'_>) {
        let Phase::Preparing { members, gather_end, .. } = &self.phase else { return };
        let all_here = members.joining() == members.len() && self.pending.ids.is_empty() && gather_end.is_none();
        if all_here || members.is_empty() {
            self.complete(cx);
        }
    }

    /// Goes on with the rebalance: a member that has not joined again is removed, unless it is static.
    pub(super) fn complete(&mut self, cx: &mut Context<'_>) {
        let absent = |(id, member): (&Arc<str>, &Member)| {
            (member.join.is_none() && member.instance.is_none()).then(|| id.clone())
        };
        let absent: Vec<Arc<str>> = self.members().iter().filter_map(absent).collect();
        for id in absent {
            self.remove_member(&id, ErrorCode::UnknownMemberId, cx);
        }
        let Phase::Preparing { members, deadline, gather_end, .. } = &mut self.phase else {
            panic!("nobody is waited for")
        };
        if members.is_empty() {
            self.become_empty(cx);
        } else if members.joining() == 0 {
            // Only static members are left, and all are away: their sessions decide.
            *gather_end = None;
            *deadline = cx.now.mono.after_ms(members.rebalance_ms().max(AGAIN_MS_MIN));
            cx.wake_at(*deadline);
        } else {
            self.next_generation(cx);
        }
    }

    fn begin_generation(&mut self, cx: &Context<'_>, phase: Phase) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.set_phase(cx.now, phase);
    }

    fn become_empty(&mut self, cx: &mut Context<'_>) {
        assert!(self.members().is_empty());
        self.begin_generation(cx, Phase::Empty);
        self.subscribed = self.subscription(&Members::new(), "");
        cx.schedule_retention();
        let record = self.record(cx, &BTreeMap::new());
        let then = Then::Nothing { group: cx.name().clone() };
        if cx.decide(vec![record], then).is_err() {
            let (group, reason) = (cx.name().clone(), "the record of the empty group is too large".to_string());
            cx.event(Event::AppendFailed { group, reason });
        }
    }

    /// Answers those who have joined: they are a generation, whose leader is to give everybody a share.
    fn next_generation(&mut self, cx: &mut Context<'_>) {
        let mut members = self.take_phase().into_members();
        assert!(members.joining() > 0, "somebody has joined");
        members.appoint_leader();
        let protocol = members.choose_protocol();
        self.subscribed = self.subscription(&members, &protocol);
        let ids = members.ids();
        let (group, members_count) = (cx.name().clone(), ids.len());
        let deadline = cx.now.mono.after_ms(members.rebalance_ms());
        cx.wake_at(deadline);
        let syncing = Syncing::new(deadline, &ids);
        self.begin_generation(cx, Phase::Completing { members, protocol, syncing, is_storing: false });
        cx.event(Event::Generation { group, generation: self.generation, members: members_count });
        for id in &ids {
            let members = self.members_mut().expect("a generation has members");
            let ticket = members.change(id, |member| {
                member.is_new = false;
                member.join.take()
            });
            if let Some(ticket) = ticket.flatten() {
                cx.answer(ticket, Response::JoinGroup(self.joined(id)));
            }
            self.keep_alive(cx, id);
        }
    }

    /// The answer to a join, of the current generation.
    pub(super) fn joined(&self, id: &str) -> JoinGroupResponse<'static> {
        let members = self.members();
        let listed = if members.is_leader(id) { self.listed_members() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref().map(owned),
            protocol_name: self.protocol().map(|protocol| owned(protocol)),
            leader: members.leader().map_or(Cow::Borrowed(""), |leader| owned(leader)),
            member_id: owned(id),
            members: listed,
            ..Default::default()
        }
    }

    fn listed_members(&self) -> Vec<JoinGroupResponseMember<'static>> {
        let protocol = self.protocol().map_or("", |protocol| &**protocol);
        let listed = |(id, member): (&Arc<str>, &Member)| JoinGroupResponseMember {
            member_id: owned(id),
            group_instance_id: member.instance.as_deref().map(owned),
            metadata: Cow::Owned(member.metadata(protocol).to_vec()),
        };
        self.members().iter().map(listed).collect()
    }
}
