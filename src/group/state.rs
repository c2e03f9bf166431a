//! One group: what groups of every kind have, and what it is by its kind.

use super::classic::{self, Classic};
use super::decisions::Then;
use super::ledger::Ledger;
use super::record::{Key, Record};
use super::shared::{Context, Shared, Step};
use super::{Caller, Event, Request, Topics};
use crate::types::{Now, Time};
use crate::wire::error::ErrorCode;
use std::sync::Arc;

/// What a group takes beside its name and what is in it.
const GROUP_BYTES: usize = 512;
/// What is called so is not there, or cannot be read.
pub(super) const STATE_DEAD: &str = "Dead";

/// What a group is by its protocol. Groups of another kind are another variant; what groups of all kinds can do is
/// dispatched here.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Classic(Classic),
}

impl Kind {
    /// What ListGroups calls the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Classic(_) => classic::TYPE,
        }
    }

    pub fn state_name(&self) -> &'static str {
        match self {
            Kind::Classic(classic) => classic.state().name(),
        }
    }

    pub fn protocol_type(&self) -> &str {
        match self {
            Kind::Classic(classic) => classic.protocol_type().unwrap_or_default(),
        }
    }

    /// Whether somebody is in the group, or may come.
    pub fn is_used(&self) -> bool {
        match self {
            Kind::Classic(classic) => classic.is_used(),
        }
    }

    /// Memory that whoever is in the group takes.
    fn bytes(&self) -> usize {
        match self {
            Kind::Classic(classic) => classic.bytes(),
        }
    }

    fn next_due(&self) -> Option<Time> {
        match self {
            Kind::Classic(classic) => classic.next_due(),
        }
    }

    fn check(&self) {
        match self {
            Kind::Classic(classic) => classic.check(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    shared: Shared,
    kind: Kind,
    /// How much of [`Group::member_bytes`] and [`Group::offset_bytes`] the coordinator has counted.
    member_bytes_counted: usize,
    offset_bytes_counted: usize,
    /// The group's place in the coordinator's timers.
    armed: Option<Time>,
}

impl Group {
    /// A group of which nothing is known yet: a classic one, until its records say something else.
    pub fn new(name: Arc<str>) -> Group {
        let kind = Kind::Classic(Classic::new());
        Group { shared: Shared::new(name), kind, member_bytes_counted: 0, offset_bytes_counted: 0, armed: None }
    }

    pub fn name(&self) -> &Arc<str> {
        self.shared.name()
    }

    pub fn ledger(&self) -> &Ledger {
        self.shared.ledger()
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    pub fn shared_mut(&mut self) -> &mut Shared {
        &mut self.shared
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The kind, and what it has at hand in a step.
    pub fn parts<'a>(&'a mut self, now: Now, step: &'a mut Step) -> (&'a mut Kind, Context<'a>) {
        (&mut self.kind, Context { now, shared: &mut self.shared, step })
    }

    /// Whether anybody could know of the group.
    pub fn exists(&self) -> bool {
        !self.ledger().is_empty() || self.kind.is_used()
    }

    /// Whether nothing would be lost with the group.
    pub fn is_gone(&self) -> bool {
        !self.shared.has_undurable() && !self.exists()
    }

    pub fn is_malformed(&self) -> bool {
        self.ledger().is_malformed()
    }

    /// What the state is called: that of a group whose records cannot be read is not known.
    pub fn state_name(&self) -> &'static str {
        if self.is_malformed() { STATE_DEAD } else { self.kind.state_name() }
    }

    /// Memory that the group takes because somebody is in it, or may come.
    pub fn member_bytes(&self) -> usize {
        let bytes = self.kind.bytes();
        if bytes == 0 { 0 } else { GROUP_BYTES + self.shared.name().len() + bytes }
    }

    /// Memory that the group takes because of what is stored of it.
    fn offset_bytes(&self) -> usize {
        let ledger = self.shared.ledger();
        if ledger.is_empty() { 0 } else { GROUP_BYTES + self.shared.name().len() + ledger.bytes() }
    }

    /// Takes over one record of this group, with what its key says.
    pub fn apply(&mut self, key: &Key<'_>, key_bytes: &[u8], value: Option<&[u8]>, step: &mut Step) {
        self.shared.apply(key, key_bytes, value);
        self.count(step);
    }

    /// Has the memory that the group takes counted.
    pub fn count(&mut self, step: &mut Step) {
        let (members, offsets) = (self.member_bytes(), self.offset_bytes());
        step.member_bytes = step.member_bytes + members - self.member_bytes_counted;
        step.offset_bytes = step.offset_bytes + offsets - self.offset_bytes_counted;
        (self.member_bytes_counted, self.offset_bytes_counted) = (members, offsets);
    }

    /// All records of the group are replayed: it becomes what they say.
    pub fn open(&mut self, now: Now, step: &mut Step) {
        let record = self.ledger().metadata().cloned();
        let (kind, mut cx) = self.parts(now, step);
        cx.schedule_retention();
        match kind {
            Kind::Classic(classic) => record.iter().for_each(|record| classic.restore(&mut cx, record)),
        }
        for (key, error) in self.ledger().malformed() {
            let (group, key, reason) = (self.name().clone(), key.to_vec(), error.to_string());
            step.events.push(Event::Malformed { group, key, reason });
        }
    }

    /// Serves a request that concerns this group; `is_new`: it is made by the request.
    pub fn handle(
        &mut self,
        now: Now,
        caller: &Caller<'_>,
        request: &Request<'_>,
        topics: Topics<'_>,
        step: &mut Step,
        is_new: bool,
    ) {
        match request {
            Request::OffsetCommit(request) => self.commit(now, caller, request, topics, step),
            Request::OffsetFetch { group: request, .. } => {
                step.answer(caller.ticket, self.fetch(request, step.settings.answer_bytes_max));
            }
            Request::OffsetDelete(request) => self.delete_offsets(now, caller.ticket, request, topics, step),
            request => {
                let (kind, mut cx) = self.parts(now, step);
                match kind {
                    Kind::Classic(classic) => classic.handle(&mut cx, caller, request),
                }
                if is_new && self.exists() && !self.shared.has_undurable() {
                    self.store_new(now, step);
                }
            }
        }
    }

    /// A group that is new is stored as it is: without members, and of no type.
    fn store_new(&mut self, now: Now, step: &mut Step) {
        assert!(self.ledger().is_empty());
        let (kind, mut cx) = self.parts(now, step);
        let record = match kind {
            Kind::Classic(_) => Record::group(cx.name(), Some(&Classic::new_value(now))),
        };
        let then = Then::Nothing { group: cx.name().clone() };
        let decided = cx.decide(vec![record], then);
        assert!(decided.is_ok(), "the record of a group without members is small");
        cx.schedule_retention();
    }

    /// One of the group's records is over: durable, or not.
    pub fn record_over(&mut self, now: Now, record: &Record, durable: bool, step: &mut Step) {
        self.shared.record_over(step.decisions.number_over());
        if !durable {
            return;
        }
        let retention_ms = step.settings.retention_ms.max(0) as u64;
        if record.value.is_some() && !self.shared.has_retention() {
            // A commit may expire at the end of its retention.
            let (_, mut cx) = self.parts(now, step);
            cx.retry_retention(retention_ms);
        }
        if self.ledger().is_empty() {
            match &mut self.kind {
                Kind::Classic(classic) => classic.forgotten(),
            }
        }
    }

    /// What follows when all records of a decision are durable, or one of them could not be stored.
    pub fn follow(&mut self, now: Now, then: Then, failure: Option<ErrorCode>, step: &mut Step) {
        let (kind, mut cx) = self.parts(now, step);
        match kind {
            Kind::Classic(classic) => classic.follow(&mut cx, then, failure),
        }
    }

    /// Does what is due, and finds out when something will be due next. Returns how many positions were looked at.
    pub fn expire(&mut self, now: Now, step: &mut Step) -> usize {
        let mut looked_at = 0;
        let (kind, mut cx) = self.parts(now, step);
        match kind {
            Kind::Classic(classic) => classic.expire(&mut cx),
        }
        if self.shared.take_retention(now) {
            looked_at = self.expire_offsets(now, step);
        }
        self.shared.set_next_due(self.kind.next_due());
        looked_at
    }

    /// An operator deletes the group, which is empty.
    pub fn deleted(&mut self) {
        match &mut self.kind {
            Kind::Classic(classic) => classic.deleted(),
        }
    }

    /// When to look at the group again.
    pub fn due(&self) -> Option<Time> {
        self.shared.due()
    }

    pub fn armed(&self) -> Option<Time> {
        self.armed
    }

    pub fn set_armed(&mut self, armed: Option<Time>) {
        assert!(armed.is_none() || self.armed.is_none(), "a group has one timer");
        self.armed = armed;
    }

    /// The partition is given up: whoever waits is told to look for its next coordinator.
    pub fn unload(&self, step: &mut Step) {
        match &self.kind {
            Kind::Classic(classic) => classic.unload(step),
        }
    }

    /// What holds between two steps.
    pub fn check(&self) {
        self.kind.check();
        assert_eq!(self.kind.bytes() == 0, !self.kind.is_used(), "{}", self.name());
        assert_eq!(self.member_bytes_counted, self.member_bytes(), "{}", self.name());
        assert_eq!(self.offset_bytes_counted, self.offset_bytes(), "{}", self.name());
        self.shared.check();
    }
}
