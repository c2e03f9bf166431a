//! Positions in topics that are deleted. All groups are looked through, over several turns.

use super::coordinator::Coordinator;
use super::decisions::Then;
use super::record::{Key, Record};
use super::shared::Step;
use super::state::Group;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Groups, topics and positions in deleted topics that are looked at in one turn, about.
pub(super) const SWEPT_PER_TURN: usize = 4096;
/// As many are looked at when the topics are deleted.
const SWEPT_AT_ONCE: usize = 64;

/// How far a walk through all groups and their topics has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The last group that was looked at.
    group: Option<Arc<str>>,
    /// The last of that group's topics, if there may be more of them.
    topic: Option<Arc<str>>,
}

impl Walk {
    /// The group to look at next, and behind which of its topics.
    pub fn next(&mut self, groups: &BTreeMap<Arc<str>, Group>) -> Option<(Arc<str>, Option<Arc<str>>)> {
        let topic = self.topic.take();
        let from = match &self.group {
            None => Bound::Unbounded,
            Some(group) if topic.is_some() => Bound::Included(&**group),
            Some(group) => Bound::Excluded(&**group),
        };
        let (name, _) = groups.range::<str, _>((from, Bound::Unbounded)).next()?;
        let topic = topic.filter(|_| self.group.as_ref() == Some(name));
        self.group = Some(name.clone());
        Some((name.clone(), topic))
    }

    /// The group has been looked at up to this topic; `None`: wholly.
    pub fn looked_at(&mut self, topic: Option<Arc<str>>) {
        assert!(self.group.is_some());
        self.topic = topic;
    }
}

/// A walk through all groups in search of positions in these topics.
#[derive(Debug)]
pub(super) struct Sweep {
    topics: BTreeSet<Arc<str>>,
    walk: Walk,
}

impl Coordinator {
    /// The topics are deleted: positions in them are forgotten.
    pub fn topics_deleted(&mut self, topics: &BTreeSet<Arc<str>>) {
        self.sweeps.push_back(Sweep { topics: topics.clone(), walk: Walk::default() });
        if self.sweeps.len() == 1 {
            self.sweep_some(SWEPT_AT_ONCE);
        }
    }

    /// Goes on with the walk that was begun first.
    pub(super) fn sweep_some(&mut self, mut budget: usize) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        let is_over = loop {
            if budget == 0 {
                break false;
            }
            let Some((name, topic)) = sweep.walk.next(&self.groups) else { break true };
            let group = self.groups.get_mut(&name).expect("it is a key");
            let gone = |topic: &str| sweep.topics.contains(topic);
            sweep.walk.looked_at(group.forget(&gone, topic, &mut budget, &mut self.step));
        };
        self.forgotten_end = self.step.decisions.number_decided();
        if !is_over {
            self.sweeps.push_front(sweep);
        }
    }

    /// Whether positions in deleted topics may still be in the log.
    pub fn is_forgetting(&self) -> bool {
        !self.sweeps.is_empty() || self.step.decisions.number_over() < self.forgotten_end
    }
}

impl Group {
    /// Decides that the positions in topics that are `gone` are deleted. Looks at topics behind `after` until `budget` is
    /// spent; the last one that was looked at, if there may be more.
    pub(super) fn forget(
        &mut self,
        gone: &dyn Fn(&str) -> bool,
        after: Option<Arc<str>>,
        budget: &mut usize,
        step: &mut Step,
    ) -> Option<Arc<str>> {
        let mut positions: BTreeSet<(Arc<str>, i32)> = BTreeSet::new();
        let (mut last, mut is_over) = (None, true);
        *budget = budget.saturating_sub(1);
        for (topic, partitions) in self.ledger().topics_after(after.as_deref()) {
            if *budget == 0 && last.is_some() {
                is_over = false;
                break;
            }
            *budget = budget.saturating_sub(1);
            last = Some(topic);
            if gone(topic) {
                *budget = budget.saturating_sub(partitions.len());
                positions.extend(partitions.keys().map(|&partition| (topic.clone(), partition)));
            }
        }
        let place = last.filter(|_| !is_over).cloned();
        // What is decided is on its way into the log.
        if after.is_none() && self.shared().has_undurable() {
            for record in self.shared().undurable().map(|number| step.decisions.record(number)) {
                if let (Some(_), Ok(Key::Offset { topic, partition, .. })) = (&record.value, Key::decode(&record.key))
                    && gone(&topic)
                {
                    positions.insert((Arc::from(&*topic), partition));
                }
            }
        }
        if !positions.is_empty() {
            let name = self.name();
            let tombstone = |(topic, partition): (Arc<str>, i32)| Record::offset(name, &topic, partition, None);
            let tombstones = positions.into_iter().map(tombstone).collect();
            let then = Then::Nothing { group: name.clone() };
            // A tombstone is smaller than the record that it deletes, which was not too large.
            let decided = self.shared_mut().decide(tombstones, then, step);
            assert!(decided.is_ok(), "{}: positions cannot be deleted", self.name());
        }
        place
    }
}
