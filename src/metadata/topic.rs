//! One topic of an image: its settings, and where its partitions are.

use super::record::{PartitionRange, Placement, RecordError, Settings};
use crate::types::{PartitionIndex, Uuid};
use rpds::RedBlackTreeMapSync;
use std::ops::Range;
use std::sync::Arc;

/// Topics that belong to the brokers. Kafka: `Topic.INTERNAL_TOPICS`.
const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Cheap to clone: clones share what has not changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The id, which no other topic ever has.
    pub id: Uuid,
    /// The name, which another topic may have had before.
    pub name: Arc<str>,
    /// The settings that were set, none of the defaults.
    pub settings: Settings,
    partitions: Ranges,
}

/// Ranges of partitions that are placed alike, by their first partition: from 0 on, without gaps, and no two neighbours
/// alike. A change of one partition copies a path of the tree.
type Ranges = RedBlackTreeMapSync<PartitionIndex, PartitionRange>;

/// Whether a topic of this name belongs to the brokers.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

impl Topic {
    /// A topic whose partitions are these, from 0 on.
    pub(super) fn new(
        id: Uuid,
        name: Arc<str>,
        settings: Settings,
        partitions: &[PartitionRange],
    ) -> Result<Topic, RecordError> {
        let topic = Topic { id, name, settings, partitions: Ranges::new_sync() };
        topic.extended(partitions)
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> PartitionIndex {
        self.partitions.last().map_or(0, |(_, range)| range.end)
    }

    /// Where a partition is; `None` if the topic has no such partition.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Placement> {
        // Mostly all partitions are placed alike; then no search, which has to allocate, is needed.
        let (_, first) = self.partitions.first()?;
        let range = if index < first.end { first } else { self.partitions.range(..=index).next_back()?.1 };
        (range.start..range.end).contains(&index).then_some(&range.placement)
    }

    /// All partitions in order, neighbours that are placed alike together.
    pub fn partition_ranges(&self) -> impl Iterator<Item = &PartitionRange> {
        self.partitions.values()
    }

    /// The ranges from the one that begins at `start` on.
    pub(super) fn partition_ranges_from(&self, start: PartitionIndex) -> impl Iterator<Item = &PartitionRange> {
        self.partitions.range(start..).map(|(_, range)| range)
    }

    /// Replicas of the first partition, as Kafka counts it.
    pub fn replication_factor(&self) -> i16 {
        self.partitions.first().map_or(0, |(_, range)| range.placement.replicas.len() as i16)
    }

    /// Whether the topic belongs to the brokers.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }

    /// The topic with other settings.
    pub(super) fn with_settings(&self, settings: Settings) -> Topic {
        Topic { settings, ..self.clone() }
    }

    /// The topic with more partitions, which continue where it ends.
    pub(super) fn extended(&self, added: &[PartitionRange]) -> Result<Topic, RecordError> {
        let mut topic = self.clone();
        for range in added {
            check_range(range)?;
            let end = topic.partition_count();
            if range.start != end {
                let PartitionRange { start, end: got, .. } = range;
                return Err(RecordError(format!("partitions {start}..{got} are where those from {end} should be")));
            }
            put(&mut topic.partitions, range.clone());
        }
        match added.is_empty() {
            true => Err(RecordError("a topic or an addition without partitions".into())),
            false => Ok(topic),
        }
    }

    /// The topic with some of its partitions placed otherwise. Partition epochs rise, leader epochs never fall.
    pub(super) fn changed(&self, changes: &[PartitionRange]) -> Result<Topic, RecordError> {
        let mut topic = self.clone();
        for change in changes {
            check_range(change)?;
            if change.start < 0 || change.end > topic.partition_count() {
                let PartitionRange { start, end, .. } = change;
                return Err(RecordError(format!("partitions {start}..{end} are changed and not there")));
            }
            for older in cut(&mut topic.partitions, change.start..change.end) {
                check_epochs(&older, change)?;
            }
            put(&mut topic.partitions, change.clone());
        }
        assert_eq!(topic.partition_count(), self.partition_count());
        match changes.is_empty() {
            true => Err(RecordError("a change of no partition".into())),
            false => Ok(topic),
        }
    }
}

fn check_range(range: &PartitionRange) -> Result<(), RecordError> {
    let PartitionRange { start, end, placement } = range;
    match end > start {
        true => placement.check().map_err(|error| RecordError(format!("partitions {start}..{end}: {error}"))),
        false => Err(RecordError(format!("partitions {start}..{end} are none"))),
    }
}

fn check_epochs(older: &PartitionRange, newer: &PartitionRange) -> Result<(), RecordError> {
    let (from, to) = (&older.placement, &newer.placement);
    match to.partition_epoch > from.partition_epoch && to.leader_epoch >= from.leader_epoch {
        true => Ok(()),
        false => Err(RecordError(format!(
            "partition {} goes from leader epoch {} and partition epoch {} to {} and {}",
            older.start, from.leader_epoch, from.partition_epoch, to.leader_epoch, to.partition_epoch
        ))),
    }
}

/// Takes these partitions out. Returns what they were.
fn cut(ranges: &mut Ranges, wanted: Range<PartitionIndex>) -> Vec<PartitionRange> {
    let first = ranges.range(..=wanted.start).next_back().map_or(wanted.start, |(&start, _)| start);
    let met: Vec<PartitionRange> = ranges.range(first..wanted.end).map(|(_, range)| range.clone()).collect();
    for range in &met {
        ranges.remove_mut(&range.start);
        if range.start < wanted.start {
            ranges.insert_mut(range.start, PartitionRange { end: wanted.start, ..range.clone() });
        }
        if range.end > wanted.end {
            ranges.insert_mut(wanted.end, PartitionRange { start: wanted.end, ..range.clone() });
        }
    }
    met
}

/// Puts a range where nothing is, joined with neighbours that are placed alike.
fn put(ranges: &mut Ranges, mut range: PartitionRange) {
    let left = ranges.range(..range.start).next_back().map(|(_, left)| left);
    if let Some(left) = left.filter(|left| left.end == range.start && left.placement == range.placement) {
        range.start = left.start;
    }
    let right = ranges.get(&range.end).filter(|right| right.placement == range.placement);
    if let Some(end) = right.map(|right| right.end) {
        ranges.remove_mut(&range.end);
        range.end = end;
    }
    ranges.insert_mut(range.start, range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::tests::{range, settings};
    use crate::types::{BrokerId, Epoch};

    fn topic(partitions: &[PartitionRange]) -> Topic {
        Topic::new(Uuid([1; 16]), "t".into(), settings(&[]), partitions).unwrap()
    }

    fn later(mut range: PartitionRange, leader_epoch: i32, partition_epoch: i32) -> PartitionRange {
        range.placement.leader_epoch = Epoch(leader_epoch);
        range.placement.partition_epoch = partition_epoch;
        range
    }

    #[test]
    fn partitions_are_found_and_ranges_are_joined() {
        let topic = topic(&[range(0, 2, 1), range(2, 4, 1), range(4, 5, 2)]).extended(&[range(5, 9, 2)]).unwrap();
        assert!(topic.partition_ranges().eq(&[range(0, 4, 1), range(4, 9, 2)]));
        assert_eq!((topic.partition_count(), topic.replication_factor()), (9, 1));
        let leaders: Vec<_> = (-1..=9).map(|index| topic.partition(index).map(|p| p.leader)).collect();
        let [a, b] = [1, 2].map(|id| Some(BrokerId(id)));
        assert_eq!(leaders, [None, a, a, a, a, b, b, b, b, b, None]);
    }

    #[test]
    fn a_change_splits_ranges_and_joins_them_again() {
        let older = topic(&[range(0, 10, 1)]);
        let newer = older.changed(&[later(range(3, 5, 2), 1, 1)]).unwrap();
        assert!(newer.partition_ranges().eq(&[range(0, 3, 1), later(range(3, 5, 2), 1, 1), range(5, 10, 1)]));
        let newer = newer.changed(&[later(range(0, 10, 1), 2, 2)]).unwrap();
        assert!(newer.partition_ranges().eq(&[later(range(0, 10, 1), 2, 2)]));
        assert!(older.partition_ranges().eq(&[range(0, 10, 1)]), "images share nothing that changes");
    }

    #[test]
    fn changes_that_do_not_fit_are_refused() {
        let topic = topic(&[range(0, 10, 1)]).changed(&[later(range(4, 6, 2), 3, 5)]).unwrap();
        for change in [
            later(range(9, 11, 1), 9, 9),
            later(range(-1, 1, 1), 9, 9),
            later(range(5, 5, 1), 9, 9),
            later(range(3, 5, 1), 2, 6),
            later(range(3, 5, 1), 3, 5),
            later(range(5, 7, 1), 4, 1),
        ] {
            assert!(topic.changed(std::slice::from_ref(&change)).is_err(), "{change:?}");
        }
        assert!(topic.changed(&[]).is_err());
        assert!(topic.changed(&[later(range(3, 5, 1), 3, 6)]).is_ok());
    }

    #[test]
    fn changes_by_range_are_changes_one_by_one() {
        use rand::{Rng, SeedableRng};
        for seed in 0..50 {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let mut topic = topic(&[range(0, 20, 1)]);
            let mut plain: Vec<(BrokerId, i32)> = vec![(BrokerId(1), 0); 20];
            for epoch in 1..40 {
                let start = random.random_range(0..20);
                let end = random.random_range(start + 1..=20);
                let leader = random.random_range(1..3);
                topic = topic.changed(&[later(range(start, end, leader), epoch, epoch)]).unwrap();
                plain[start as usize..end as usize].fill((BrokerId(leader), epoch));
                let seen: Vec<_> =
                    (0..20).map(|i| topic.partition(i).map(|p| (p.leader, p.leader_epoch.0)).unwrap()).collect();
                assert_eq!(seen, plain, "seed {seed}");
                let ranges: Vec<_> = topic.partition_ranges().collect();
                assert!(ranges.windows(2).all(|p| p[0].end == p[1].start && p[0].placement != p[1].placement));
            }
        }
    }
}
