//! Positions in topics that are no more. The groups are looked through over several turns.

use super::coordinator::Coordinator;
use super::decisions::Then;
use super::record::{Key, Record};
use super::state::{Group, Step};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// Groups that are looked at in one turn.
const SWEPT_PER_TURN: usize = 4096;

/// A walk through all groups in search of positions in these topics.
#[derive(Debug)]
pub(super) struct Sweep {
    topics: BTreeSet<Arc<str>>,
    /// The last group that was looked at.
    after: Option<Arc<str>>,
}

impl Coordinator {
    /// The topics are deleted: positions in them are forgotten.
    pub fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>) {
        self.sweeps.push_back(Sweep { topics: topics.clone(), after: None });
        if self.sweeps.len() == 1 {
            self.sweep_some();
        }
    }

    /// Goes on with the walk that was begun first.
    pub(super) fn sweep_some(&mut self) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        let from = sweep.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked_at = 0;
        for (name, group) in self.groups.range_mut((from, Bound::Unbounded)).take(SWEPT_PER_TURN) {
            looked_at += 1;
            sweep.after = Some(name.clone());
            group.forget(&|topic| sweep.topics.contains(topic), &mut self.step);
        }
        self.forgotten_end = self.step.decisions.number_decided();
        if looked_at == SWEPT_PER_TURN {
            self.sweeps.push_front(sweep);
        }
    }

    /// Whether positions in deleted topics may still be in the log.
    pub fn is_forgetting(&self) -> bool {
        !self.sweeps.is_empty() || self.step.decisions.number_over() < self.forgotten_end
    }
}

impl Group {
    /// Decides that the positions in topics that are `gone` are deleted.
    pub(super) fn forget(&mut self, gone: &dyn Fn(&str) -> bool, step: &mut Step) {
        let mut positions: BTreeSet<(Arc<str>, i32)> = BTreeSet::new();
        for (topic, partitions) in self.ledger.offsets.iter().filter(|(topic, _)| gone(topic)) {
            positions.extend(partitions.keys().map(|&partition| (topic.clone(), partition)));
        }
        // What is decided is on its way into the log.
        for record in self.undurable.iter().map(|&number| step.decisions.record(number)) {
            if let (Some(_), Ok(Key::Offset { topic, partition, .. })) = (&record.value, Key::decode(&record.key))
                && gone(&topic)
            {
                positions.insert((Arc::from(&*topic), partition));
            }
        }
        if positions.is_empty() {
            return;
        }
        let tombstone = |(topic, partition): (Arc<str>, i32)| Record::offset(&self.name, &topic, partition, None);
        let tombstones = positions.into_iter().map(tombstone).collect();
        // A tombstone is smaller than the record that it deletes, which was not too large.
        let decided = self.decide(tombstones, Then::Nothing { group: self.name.clone() }, step);
        assert!(decided.is_ok(), "{}: positions cannot be deleted", self.name);
    }
}
