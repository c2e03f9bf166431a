//! Offsets that nobody needs any more (KIP-211), and groups of which nothing else is left.

use super::decisions::Then;
use super::record::Record;
use super::shared::{Expiry, Step};
use super::state::{Group, Kind};
use super::{AGAIN_MS_MIN, Event};
use crate::types::Now;

/// Positions of a group that are looked at in one turn.
const LOOKED_AT_PER_TURN: usize = 4096;

impl Group {
    /// Decides that positions which have expired are deleted, and the group with the last of them if it is empty. Looks at
    /// some of them, and goes on at the next call. Returns how many were looked at.
    pub(super) fn expire_offsets(&mut self, now: Now, step: &mut Step) -> usize {
        let is_malformed = self.is_malformed();
        let (kind, mut cx) = self.parts(now, step);
        let Kind::Classic(classic) = kind;
        let expiry = cx.take_expiry();
        if is_malformed {
            cx.schedule_retention();
            return 0;
        }
        if cx.shared.has_undurable() {
            // What is on its way to the disk may be a commit of what seems to have expired.
            let wait_ms = if expiry.after.is_some() { AGAIN_MS_MIN } else { cx.step.settings.retention_check_ms };
            cx.put_expiry(expiry);
            cx.retry_retention(wait_ms);
            return 0;
        }
        let Expiry { mut after, mut next_ms, mut expired } = expiry;
        let is_first = after.is_none();
        let retention_ms = cx.step.settings.retention_ms;
        let (mut records, mut looked_at) = (Vec::new(), 0);
        let positions = cx.shared.ledger().positions_after(after.as_ref());
        let mut last = None;
        for (topic, partition, committed) in positions.take(LOOKED_AT_PER_TURN) {
            (looked_at, last) = (looked_at + 1, Some((topic, partition)));
            let expiry_ms = committed.expiry_ms(classic.retention_base_ms(committed), retention_ms);
            if expiry_ms <= now.wall_ms && classic.may_expire(topic) {
                records.push(Record::offset(cx.name(), topic, partition, None));
            } else {
                next_ms = Some(next_ms.map_or(expiry_ms, |next| next.min(expiry_ms)));
            }
        }
        after = last.map(|(topic, partition)| (topic.clone(), partition)).or(after);
        expired += records.len();
        let is_over = looked_at < LOOKED_AT_PER_TURN;
        // All tombstones of earlier turns are durable: what the ledger holds is all there is.
        let group_gone = is_over && !classic.is_used() && cx.shared.ledger().positions() == records.len();
        if group_gone && cx.shared.ledger().metadata().is_some() {
            records.push(Record::group(cx.name(), None));
        }
        let is_left = cx.shared.ledger().positions() > records.len();
        if !is_over {
            cx.put_expiry(Expiry { after, next_ms, expired });
            cx.retry_retention(AGAIN_MS_MIN);
        } else if !is_first && is_left {
            // There may be new positions before those that were looked at last.
            cx.schedule_retention();
        } else if let Some(next_ms) = next_ms {
            let wait_ms = next_ms.saturating_sub(now.wall_ms).max(0) as u64;
            cx.retry_retention(wait_ms.max(cx.step.settings.retention_check_ms));
        }
        if is_over && (expired > 0 || !records.is_empty()) {
            cx.event(Event::Expired { group: cx.name().clone(), offsets: expired, group_gone });
        }
        let then = Then::Nothing { group: cx.name().clone() };
        if !records.is_empty() && cx.decide(records, then).is_err() {
            cx.schedule_retention();
        }
        looked_at
    }
}
