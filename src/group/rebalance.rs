//! Rebalances: gathering joins, the next generation, its leader and its protocol.

use super::decisions::Then;
use super::error::{owned, sync_refusal};
use super::record::Record;
use super::state::{Group, Phase, State, Step};
use super::{AGAIN_MS_MIN, Event, Response};
use crate::types::{Now, Time};
use crate::wire::error::ErrorCode;
use crate::wire::messages::group_metadata_value::MemberMetadata;
use crate::wire::messages::join_group_response::JoinGroupResponseMember;
use crate::wire::messages::{GroupMetadataValue, JoinGroupResponse};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// When the first rebalance begins if nobody else comes; `end` is the latest time.
fn gather_deadline(end: Option<Time>, now: Now, step: &Step) -> Option<Time> {
    end.map(|end| end.min(now.mono.after_ms(step.settings.gather_ms)))
}

impl Group {
    /// Asks all members to join again, or goes on with those who have.
    pub fn rebalance(&mut self, now: Now, reason: &str, step: &mut Step) {
        if self.state() != State::Preparing {
            self.prepare(now, reason, step);
        }
        self.maybe_complete(now, step);
    }

    pub fn prepare(&mut self, now: Now, reason: &str, step: &mut Step) {
        assert_ne!(self.state(), State::Preparing);
        if self.state() == State::Completing {
            self.refuse_syncs(now, ErrorCode::RebalanceInProgress, step);
        }
        self.clear_sync_deadline();
        let (group, generation, reason) = (self.name.clone(), self.generation, reason.to_string());
        step.events.push(Event::Rebalance { group, generation, reason });
        let rebalance_ms = self.rebalance_ms();
        let gather_ms_max = step.settings.gather_ms_max.min(rebalance_ms);
        let gather_end = (self.state() == State::Empty).then(|| now.mono.after_ms(gather_ms_max));
        let deadline = gather_deadline(gather_end, now, step).unwrap_or(now.mono.after_ms(rebalance_ms));
        self.set_phase(now, Phase::Preparing { deadline, gather_end });
        self.wake_at(deadline);
    }

    /// Somebody has come, and others may follow.
    pub fn gather_on(&mut self, now: Now, step: &Step) {
        let Phase::Preparing { deadline, gather_end } = &mut self.phase else { return };
        if let Some(later) = gather_deadline(*gather_end, now, step) {
            *deadline = later;
            self.wake_at(later);
        }
    }

    /// Drops the assignments of this generation and answers those who wait for them.
    pub fn refuse_syncs(&mut self, now: Now, code: ErrorCode, step: &mut Step) {
        assert_eq!(self.state(), State::Completing);
        for member in self.members.values_mut() {
            self.bytes -= member.assignment.len();
            member.assignment = Bytes::new();
            if let Some(ticket) = member.sync.take() {
                step.answer(ticket, sync_refusal(code));
                member.deadline = now.mono.after_ms(member.session_ms);
                self.due = Some(self.due.map_or(member.deadline, |due| due.min(member.deadline)));
            }
        }
    }

    pub fn rebalance_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_ms).max().unwrap_or(0)
    }

    /// Ends the wait for joins once nobody is missing; the first rebalance's lasts its time, unless nobody is left.
    pub fn maybe_complete(&mut self, now: Now, step: &mut Step) {
        let Phase::Preparing { gather_end, .. } = self.phase else { return };
        let all_here = self.joining == self.members.len() && self.pending.is_empty() && gather_end.is_none();
        if all_here || self.members.is_empty() {
            self.complete(now, step);
        }
    }

    /// Ends the wait for joins: who has not joined is no member any more, unless static.
    pub fn complete(&mut self, now: Now, step: &mut Step) {
        let Phase::Preparing { gather_end, .. } = &mut self.phase else { panic!("nobody is waited for") };
        *gather_end = None;
        let gone = |(id, member): (&Arc<str>, &super::member::Member)| {
            (member.join.is_none() && member.instance.is_none()).then(|| id.clone())
        };
        let gone: Vec<Arc<str>> = self.members.iter().filter_map(gone).collect();
        for id in gone {
            self.remove_member(&id, ErrorCode::UnknownMemberId, step);
        }
        if self.members.is_empty() {
            self.become_empty(now, step);
        } else if self.joining == 0 {
            // Only static members are left, and all are away: their sessions decide.
            let deadline = now.mono.after_ms(self.rebalance_ms().max(AGAIN_MS_MIN));
            self.phase = Phase::Preparing { deadline, gather_end: None };
            self.wake_at(deadline);
        } else {
            self.next_generation(now, step);
        }
    }

    fn begin_generation(&mut self, now: Now, phase: Phase) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.clear_sync_deadline();
        self.set_phase(now, phase);
    }

    fn become_empty(&mut self, now: Now, step: &mut Step) {
        self.begin_generation(now, Phase::Empty);
        (self.protocol, self.leader) = (None, None);
        self.subscribed = self.subscription();
        self.schedule_retention(now, step);
        let record = Record::group(&self.name, Some(&self.value(&BTreeMap::new())));
        let then = Then::Nothing { group: self.name.clone() };
        if self.decide(vec![record], then, step).is_err() {
            let reason = "the record of the empty group is too large".to_string();
            step.events.push(Event::AppendFailed { group: self.name.clone(), reason });
        }
    }

    fn next_generation(&mut self, now: Now, step: &mut Step) {
        let leader_joined = self.leader.as_ref().is_some_and(|id| self.members[id].join.is_some());
        if !leader_joined {
            let joined = self.members.iter().find(|(_, member)| member.join.is_some());
            self.leader = joined.map(|(id, _)| id.clone());
        }
        self.begin_generation(now, Phase::Completing { is_storing: false });
        self.protocol = Some(self.choose_protocol());
        self.subscribed = self.subscription();
        let (group, generation, members) = (self.name.clone(), self.generation, self.members.len());
        step.events.push(Event::Generation { group, generation, members });
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            if let Some(ticket) = self.take_join(id) {
                step.answer(ticket, Response::JoinGroup(self.joined(id)));
            }
            let member = self.members.get_mut(id).expect("it is one of the keys");
            member.is_new = false;
            member.is_synced = false;
            self.keep_alive(now, id);
        }
        let deadline = now.mono.after_ms(self.rebalance_ms());
        self.unsynced = self.members.len();
        self.sync_deadline = Some(deadline);
        self.wake_at(deadline);
    }

    /// The protocol that all members offer and most of them prefer.
    pub fn choose_protocol(&self) -> Arc<str> {
        assert!(!self.members.is_empty());
        let common = |name: &Arc<str>| self.offered.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| common(name));
            *votes.entry(vote.expect("members have a protocol in common")).or_insert(0) += 1;
        }
        let (name, _) = votes.into_iter().max_by_key(|&(_, count)| count).expect("there is a member");
        name.clone()
    }

    /// The answer to a join, of the current generation.
    pub fn joined(&self, id: &str) -> JoinGroupResponse<'static> {
        let members = if self.is_leader(id) { self.listed_members() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref().map(owned),
            protocol_name: self.protocol.as_deref().map(owned),
            leader: self.leader.as_deref().map_or(Cow::Borrowed(""), owned),
            member_id: owned(id),
            members,
            ..Default::default()
        }
    }

    fn listed_members(&self) -> Vec<JoinGroupResponseMember<'static>> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let listed = |(id, member): (&Arc<str>, &super::member::Member)| JoinGroupResponseMember {
            member_id: owned(id),
            group_instance_id: member.instance.as_deref().map(owned),
            metadata: Cow::Owned(member.metadata(protocol).to_vec()),
        };
        self.members.iter().map(listed).collect()
    }

    /// What is stored of the group, with these assignments.
    pub fn value<'a>(&'a self, assignments: &'a BTreeMap<Arc<str>, Bytes>) -> GroupMetadataValue<'a> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let stored = |(id, member): (&'a Arc<str>, &'a super::member::Member)| MemberMetadata {
            member_id: Cow::Borrowed(id),
            group_instance_id: member.instance.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&member.client_id),
            client_host: Cow::Borrowed(&member.client_host),
            rebalance_timeout: member.rebalance_ms.min(i32::MAX as u64) as i32,
            session_timeout: member.session_ms.min(i32::MAX as u64) as i32,
            subscription: Cow::Owned(member.metadata(protocol).to_vec()),
            assignment: assignments.get(id).map_or(Cow::Borrowed(&[][..]), |bytes| Cow::Borrowed(&bytes[..])),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.as_deref().map_or(Cow::Borrowed(""), Cow::Borrowed),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Cow::Borrowed),
            leader: self.leader.as_deref().map(Cow::Borrowed),
            current_state_timestamp: self.since_ms,
            members: self.members.iter().map(stored).collect(),
        }
    }
}
