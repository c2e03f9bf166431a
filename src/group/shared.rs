//! What a step of a group works on: what groups of every kind have, and what all groups of a coordinator share.

use super::decisions::{Decisions, Then};
use super::error::append_error;
use super::ledger::{Ledger, Position};
use super::record::{Key, Record};
use super::{AGAIN_MS_MIN, Answer, Caller, Event, Response, Settings, Ticket};
use crate::types::{Now, Time, TimestampMs};
use crate::wire::error::ErrorCode;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a step of any group has at hand.
#[derive(Debug)]
pub(super) struct Step {
    pub settings: Settings,
    pub answers: Vec<Answer>,
    pub events: Vec<Event>,
    pub decisions: Decisions,
    /// Memory that all groups take because somebody is in them, and because of what is stored of them.
    pub member_bytes: usize,
    pub offset_bytes: usize,
}

impl Step {
    /// Whether there is memory for so many more bytes of what is durable.
    pub fn has_offset_memory(&self, caller: &Caller<'_>, growth: usize) -> bool {
        let held = self.offset_bytes + caller.offset_bytes_elsewhere + self.decisions.bytes();
        held + growth <= self.settings.offset_bytes_max
    }

    pub fn answer(&mut self, ticket: Ticket, response: Response) {
        self.answers.push(Answer { ticket, response });
    }
}

/// More records that are under way are not looked through in [`Shared::check`].
const CHECKED_MAX: usize = 64;

/// A walk through a group's positions in search of those that have expired, which takes several turns if there are many.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    /// The last position that was looked at.
    pub after: Option<Position>,
    /// When the next of those that were looked at expires.
    pub next_ms: Option<TimestampMs>,
    /// Positions that had expired.
    pub expired: usize,
}

/// What groups of every kind have.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    name: Arc<str>,
    ledger: Ledger,
    /// The numbers of this group's records that are decided and not durable.
    undurable: VecDeque<u64>,
    /// When offsets are looked at for expiry, and how far that has come.
    retention_at: Option<Time>,
    expiry: Expiry,
    /// When something may be due, at the earliest. What it was set for may be due later by now.
    due: Option<Time>,
}

impl Shared {
    pub fn new(name: Arc<str>) -> Shared {
        Shared {
            name,
            ledger: Ledger::default(),
            undurable: VecDeque::new(),
            retention_at: None,
            expiry: Expiry::default(),
            due: None,
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes over one record of this group, with what its key says.
    pub fn apply(&mut self, key: &Key<'_>, key_bytes: &[u8], value: Option<&[u8]>) {
        self.ledger.apply(key, key_bytes, value);
    }

    /// One of the group's records is over; of the coordinator's, those before `number_over` are.
    pub fn record_over(&mut self, number_over: u64) {
        let number = self.undurable.pop_front();
        assert!(number.is_some_and(|number| number < number_over), "records are over in their order");
    }

    /// When to look at the group again.
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    /// The group has been looked at: what is due next is what its kind says, or its offsets.
    pub fn set_next_due(&mut self, of_kind: Option<Time>) {
        self.due = [of_kind, self.retention_at].into_iter().flatten().min();
    }

    /// Whether offsets are to be looked at now; they are, then.
    pub fn take_retention(&mut self, now: Now) -> bool {
        self.retention_at.take_if(|at| *at <= now.mono).is_some()
    }

    pub fn has_retention(&self) -> bool {
        self.retention_at.is_some()
    }

    /// What holds between two steps.
    pub fn check(&self) {
        assert!(self.undurable.len() > CHECKED_MAX || self.undurable.iter().is_sorted(), "{}", self.name);
        assert!(self.retention_at.is_none() || self.due <= self.retention_at, "{}", self.name);
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The numbers of this group's records that are decided and not durable.
    pub fn undurable(&self) -> impl Iterator<Item = u64> {
        self.undurable.iter().copied()
    }

    pub fn has_undurable(&self) -> bool {
        !self.undurable.is_empty()
    }

    /// The next `records` records that the coordinator decides are this group's.
    pub fn expect_records(&mut self, start: u64, records: usize) {
        assert!(records > 0 && self.undurable.back().is_none_or(|last| *last < start));
        self.undurable.extend((start..).take(records));
    }

    /// Decides records of this group, if each of them is small enough to be appended.
    pub fn decide(&mut self, records: Vec<Record>, then: Then, step: &mut Step) -> Result<(), ErrorCode> {
        if records.iter().any(|record| record.bytes() > step.settings.append_bytes_max) {
            return Err(append_error(ErrorCode::MessageTooLarge));
        }
        assert!(records.iter().all(|record| record.group == self.name));
        self.expect_records(step.decisions.number_decided(), records.len());
        step.decisions.decide(records, then);
        Ok(())
    }
}

/// What a group has at hand in one step.
pub(super) struct Context<'a> {
    pub now: Now,
    pub shared: &'a mut Shared,
    pub step: &'a mut Step,
}

impl Context<'_> {
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    pub fn answer(&mut self, ticket: Ticket, response: Response) {
        self.step.answer(ticket, response);
    }

    pub fn event(&mut self, event: Event) {
        self.step.events.push(event);
    }

    /// Sees to it that the group is looked at no later than `time`.
    pub fn wake_at(&mut self, time: Time) {
        let due = &mut self.shared.due;
        *due = Some(due.map_or(time, |due| due.min(time)));
    }

    /// Decides records of this group, if each of them is small enough to be appended.
    pub fn decide(&mut self, records: Vec<Record>, then: Then) -> Result<(), ErrorCode> {
        self.shared.decide(records, then, self.step)
    }

    /// Has the offsets looked at after `ms` milliseconds.
    fn retention_after(&mut self, ms: u64) -> Time {
        let at = self.now.mono.after_ms(ms.max(AGAIN_MS_MIN));
        self.wake_at(at);
        at
    }

    /// Has the offsets looked at no later than anything may expire, and no more often than the settings say.
    pub fn schedule_retention(&mut self) {
        let soon = self.retention_after(self.step.settings.retention_check_ms);
        let at = &mut self.shared.retention_at;
        *at = Some(at.map_or(soon, |at| at.min(soon)));
    }

    /// Has the offsets looked at again after `ms` milliseconds, however early that is.
    pub fn retry_retention(&mut self, ms: u64) {
        let at = self.retention_after(ms);
        self.shared.retention_at = Some(at);
    }

    /// How far the walk in search of expired offsets has come. A walk begins if it is not put back.
    pub fn take_expiry(&mut self) -> Expiry {
        std::mem::take(&mut self.shared.expiry)
    }

    pub fn put_expiry(&mut self, expiry: Expiry) {
        self.shared.expiry = expiry;
    }
}
