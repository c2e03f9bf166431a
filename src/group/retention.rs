//! Offsets that nobody needs any more (KIP-211), and groups of which nothing else is left.

use super::decisions::Then;
use super::ledger::Committed;
use super::record::Record;
use super::state::{Group, State, Step};
use super::{AGAIN_MS_MIN, Event};
use crate::types::{Now, TimestampMs};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Group {
    /// From when a position's retention counts.
    fn retention_base_ms(&self, committed: &Committed) -> TimestampMs {
        let empty_since = self.protocol_type.is_some() && self.state() == State::Empty && self.since_ms >= 0;
        if empty_since { self.since_ms } else { committed.commit_ms }
    }

    /// Whether a topic's positions may expire: nobody reads the topic, as far as that can be known.
    fn may_expire(&self, topic: &str) -> bool {
        match (self.state(), &self.protocol_type) {
            (_, None) => true,
            (State::Empty, Some(_)) => true,
            (State::Stable, Some(_)) => self.subscribed.as_ref().is_some_and(|topics| !topics.contains(topic)),
            _ => false,
        }
    }

    /// Looks at the offsets no later than anything may expire, and no more often than the settings say.
    pub fn schedule_retention(&mut self, now: Now, step: &Step) {
        let soon = now.mono.after_ms(step.settings.retention_check_ms.max(AGAIN_MS_MIN));
        self.retention_at = Some(self.retention_at.map_or(soon, |at| at.min(soon)));
        self.wake_at(soon);
    }

    /// A commit is durable: it may expire at the end of its retention.
    pub fn schedule_commit_retention(&mut self, now: Now, step: &Step) {
        if self.retention_at.is_none() {
            let at = now.mono.after_ms(step.settings.retention_ms.max(0) as u64);
            self.retention_at = Some(at);
            self.wake_at(at);
        }
    }

    pub fn expire_offsets(&mut self, now: Now, step: &mut Step) {
        self.retention_at = None;
        if !self.undurable.is_empty() || self.is_malformed() {
            return self.schedule_retention(now, step);
        }
        let retention_ms = step.settings.retention_ms;
        let (mut records, mut next_ms, mut left) = (Vec::new(), None::<TimestampMs>, 0);
        let offsets: &BTreeMap<Arc<str>, BTreeMap<i32, Committed>> = &self.ledger.offsets;
        for (topic, partitions) in offsets {
            let may_expire = self.may_expire(topic);
            for (&partition, committed) in partitions {
                let expiry_ms = committed.expiry_ms(self.retention_base_ms(committed), retention_ms);
                if may_expire && expiry_ms <= now.wall_ms {
                    records.push(Record::offset(&self.name, topic, partition, None));
                } else {
                    left += 1;
                    next_ms = Some(next_ms.map_or(expiry_ms, |next| next.min(expiry_ms)));
                }
            }
        }
        let group_gone = left == 0 && self.state() == State::Empty && self.pending.is_empty();
        let offsets = records.len();
        if group_gone && self.ledger.metadata.is_some() {
            records.push(Record::group(&self.name, None));
        }
        if let Some(next_ms) = next_ms {
            let wait_ms = next_ms.saturating_sub(now.wall_ms).max(0) as u64;
            let at = now.mono.after_ms(wait_ms.max(step.settings.retention_check_ms).max(AGAIN_MS_MIN));
            self.retention_at = Some(at);
            self.wake_at(at);
        }
        if records.is_empty() {
            return;
        }
        step.events.push(Event::Expired { group: self.name.clone(), offsets, group_gone });
        let then = Then::Nothing { group: self.name.clone() };
        if self.decide(records, then, step).is_err() {
            self.schedule_retention(now, step);
        }
    }
}
