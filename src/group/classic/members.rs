//! The members of a group: who they are, who leads them, and what they have in common.

use super::member::Member;
use crate::group::Ticket;
use crate::types::{Now, Time};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Groups with more members are not counted again in [`Members::check`].
const CHECKED_MAX: usize = 32;

/// The members of a group that is not empty. One of them is always the leader.
#[derive(Clone, Debug)]
pub(super) struct Members {
    by_id: BTreeMap<Arc<str>, Member>,
    /// Static members' ids by their instance ids.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// How many members offer each protocol.
    offered: BTreeMap<Arc<str>, usize>,
    leader: Option<Arc<str>>,
    /// Members whose join waits for its answer.
    joining: usize,
    /// Memory that all members take.
    bytes: usize,
}

impl Members {
    pub const fn new() -> Members {
        Members {
            by_id: BTreeMap::new(),
            instances: BTreeMap::new(),
            offered: BTreeMap::new(),
            leader: None,
            joining: 0,
            bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.by_id.iter()
    }

    pub fn ids(&self) -> Vec<Arc<str>> {
        self.by_id.keys().cloned().collect()
    }

    /// The id of the static member with this instance id.
    pub fn of_instance(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    pub fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    pub fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    pub fn joining(&self) -> usize {
        self.joining
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all members offer the protocol.
    pub fn have_in_common(&self, protocol: &str) -> bool {
        self.offered.get(protocol) == Some(&self.len())
    }

    /// The protocol that all members offer and most of them prefer.
    pub fn choose_protocol(&self) -> Arc<str> {
        assert!(!self.is_empty());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.by_id.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| self.have_in_common(name));
            *votes.entry(vote.expect("members have a protocol in common")).or_insert(0) += 1;
        }
        let (name, _) = votes.into_iter().max_by_key(|&(_, count)| count).expect("there is a member");
        name.clone()
    }

    /// The time that the slowest member asks for to join again.
    pub fn rebalance_ms(&self) -> u64 {
        self.by_id.values().map(|member| member.rebalance_ms).max().unwrap_or(0)
    }

    /// When the first session ends.
    pub fn next_deadline(&self) -> Option<Time> {
        self.by_id.values().filter(|member| !member.is_excused()).map(|member| member.deadline).min()
    }

    /// Those whose sessions are over.
    pub fn silent(&self, now: Now) -> Vec<Arc<str>> {
        let over = self.by_id.iter().filter(|(_, member)| member.deadline <= now.mono && !member.is_excused());
        over.map(|(id, _)| id.clone()).collect()
    }

    fn count(&mut self, id: &str, member: &Member) {
        for (name, _) in &member.protocols {
            *self.offered.entry(name.clone()).or_insert(0) += 1;
        }
        self.bytes += member.bytes(id);
        self.joining += usize::from(member.join.is_some());
    }

    fn discount(&mut self, id: &str, member: &Member) {
        for (name, _) in &member.protocols {
            let count = self.offered.get_mut(name).expect("its protocols are counted");
            *count -= 1;
            if *count == 0 {
                self.offered.remove(name);
            }
        }
        self.bytes -= member.bytes(id);
        self.joining -= usize::from(member.join.is_some());
    }

    /// Adds a member, who leads if nobody does.
    pub fn put(&mut self, id: Arc<str>, member: Member) {
        assert!(!member.protocols.is_empty());
        self.count(&id, &member);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        let before = self.by_id.insert(id, member);
        assert!(before.is_none(), "a member is added once");
    }

    /// Takes a member out; if it was the leader, another one is.
    pub fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        self.discount(id, &member);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member, which stays who it is.
    pub fn change<T>(&mut self, id: &str, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let (id, mut member) = self.by_id.remove_entry(id)?;
        self.discount(&id, &member);
        let instance = member.instance.clone();
        let result = change(&mut member);
        assert!(member.instance == instance && !member.protocols.is_empty());
        self.count(&id, &member);
        self.by_id.insert(id, member);
        Some(result)
    }

    /// Gives a member another id, also as the leader.
    pub fn rename(&mut self, before: &str, id: &Arc<str>) {
        assert_ne!(before, &**id);
        let leads = self.is_leader(before);
        let member = self.remove(before).expect("only a member is renamed");
        self.put(id.clone(), member);
        if leads {
            self.leader = Some(id.clone());
        }
    }

    /// Sees to it that the leader is one whose join waits, if there is one.
    pub fn appoint_leader(&mut self) {
        let joins = |id: &Arc<str>| self.by_id[id].join.is_some();
        if !self.leader.as_ref().is_some_and(joins) {
            let joined = self.by_id.iter().find(|(_, member)| member.join.is_some());
            self.leader = joined.map(|(id, _)| id.clone()).or(self.leader.take());
        }
        assert!(self.leader.is_some(), "there are members");
    }

    /// Makes the member the leader that the log says, if it is there.
    pub fn restore_leader(&mut self, id: &str) {
        if let Some((id, _)) = self.by_id.get_key_value(id) {
            self.leader = Some(id.clone());
        }
    }

    /// Hands the member's waiting join to whoever answers it.
    pub fn take_join(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.by_id.get_mut(id)?.join.take()?;
        assert!(self.joining > 0);
        self.joining -= 1;
        Some(ticket)
    }

    /// Hands the member's waiting request for its share to whoever answers it.
    pub fn take_sync(&mut self, id: &str) -> Option<Ticket> {
        self.by_id.get_mut(id)?.sync.take()
    }

    /// The member's request for its share waits; the one that waited before, which nobody reads any more.
    pub fn put_sync(&mut self, id: &str, ticket: Ticket) -> Option<Ticket> {
        self.by_id.get_mut(id).expect("a member asks").sync.replace(ticket)
    }

    /// Gives the member its share.
    pub fn assign(&mut self, id: &str, assignment: Bytes) {
        let Some(member) = self.by_id.get_mut(id) else { return };
        assert!(self.bytes >= member.assignment.len());
        self.bytes = self.bytes + assignment.len() - member.assignment.len();
        member.assignment = assignment;
    }

    /// The member's session begins anew; when it ends.
    pub fn keep_alive(&mut self, now: Now, id: &str) -> Option<Time> {
        let member = self.by_id.get_mut(id)?;
        member.deadline = now.mono.after_ms(member.session_ms);
        Some(member.deadline)
    }

    /// What holds between two steps.
    pub fn check(&self) {
        assert_eq!(self.leader.is_some(), !self.is_empty());
        assert!(self.leader.as_ref().is_none_or(|id| self.by_id.contains_key(id)));
        assert!(self.joining <= self.len() && self.instances.len() <= self.len());
        if self.len() > CHECKED_MAX {
            return;
        }
        let mut again = Members::new();
        self.by_id.iter().for_each(|(id, member)| again.put(id.clone(), member.clone()));
        assert_eq!((again.joining, again.bytes), (self.joining, self.bytes));
        assert_eq!(again.offered, self.offered);
    }
}
