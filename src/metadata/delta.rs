//! What is different between two images.

use super::record::Record;
use super::topic::Topic;
use crate::types::{BrokerId, PartitionIndex, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// What changed from one published image to the next. A topic that came and went in between is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics that are new.
    pub topics_created: BTreeSet<Uuid>,
    /// Topics that are gone, as they were.
    pub topics_deleted: BTreeMap<Uuid, Arc<Topic>>,
    /// Topics with other settings, none of them created.
    pub topics_set: BTreeSet<Uuid>,
    /// Partitions that were added or placed otherwise, of topics that were not created.
    pub partitions: BTreeMap<Uuid, Vec<Range<PartitionIndex>>>,
    /// Brokers that joined, or are reached otherwise.
    pub brokers: BTreeSet<BrokerId>,
    /// Brokers with other dynamic settings, [`BrokerId::ALL`] among them.
    pub broker_settings: BTreeSet<BrokerId>,
    /// Consumer groups with other settings.
    pub group_settings: BTreeSet<Arc<str>>,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Notes a record that was applied. `older` is the topic as it was before, if the record is about one that was there.
    pub(super) fn note(&mut self, record: &Record, older: Option<&Arc<Topic>>) {
        match record {
            Record::TopicCreated { id, .. } => {
                self.topics_created.insert(*id);
            }
            Record::TopicDeleted { id } => {
                self.topics_set.remove(id);
                self.partitions.remove(id);
                if !self.topics_created.remove(id) {
                    let older = older.expect("a topic that is deleted was there");
                    self.topics_deleted.insert(*id, older.clone());
                }
            }
            Record::PartitionsAdded { id, partitions } | Record::PartitionsChanged { id, partitions } => {
                if !self.topics_created.contains(id) {
                    let ranges = partitions.iter().map(|range| range.start..range.end);
                    self.partitions.entry(*id).or_default().extend(ranges);
                }
            }
            Record::TopicSettingsSet { id, .. } => {
                if !self.topics_created.contains(id) {
                    self.topics_set.insert(*id);
                }
            }
            Record::BrokerSettingsSet { broker, .. } => {
                self.broker_settings.insert(*broker);
            }
            Record::BrokerRegistered { id, .. } => {
                self.brokers.insert(*id);
            }
            Record::GroupSettingsSet { group, .. } => {
                self.group_settings.insert(group.clone());
            }
            Record::ProducerIdsAllocated { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::Image;
    use crate::metadata::record::tests::{range, settings};

    fn created(id: u8, name: &str) -> Record {
        let partitions = vec![range(0, 2, 1)];
        Record::TopicCreated { id: Uuid([id; 16]), name: name.into(), partitions, settings: settings(&[]) }
    }

    #[test]
    fn a_delta_says_what_changed_and_nothing_else() {
        let mut image = Image::default();
        let mut index = 0;
        let mut delta_of = |image: &mut Image, records: &[Record]| {
            let mut delta = Delta::default();
            index += 1;
            image.apply(index, 1, records, &mut delta).unwrap();
            delta
        };
        let [a, b, c] = [1, 2, 3].map(|id| Uuid([id; 16]));
        let delta = delta_of(&mut image, &[created(1, "a"), created(2, "b")]);
        assert_eq!(delta, Delta { topics_created: [a, b].into(), ..Delta::default() });

        let set = Record::TopicSettingsSet { id: a, settings: settings(&[("x", "y")]) };
        let added = Record::PartitionsAdded { id: a, partitions: vec![range(2, 5, 1)] };
        let delta = delta_of(&mut image, &[set.clone(), added]);
        let added = 2..5;
        let partitions = BTreeMap::from([(a, Vec::from([added]))]);
        assert_eq!(delta, Delta { topics_set: [a].into(), partitions, ..Delta::default() });

        // The name is used again; `a` changes before it goes, `c` comes and goes.
        let older = image.topic_by_id(a).unwrap().clone();
        let records = [
            Record::TopicSettingsSet { id: a, settings: settings(&[]) },
            Record::TopicDeleted { id: a },
            created(3, "a"),
            Record::TopicDeleted { id: c },
        ];
        let delta = delta_of(&mut image, &records);
        let older = Arc::new(older.with_settings(settings(&[])));
        assert_eq!(delta, Delta { topics_deleted: [(a, older)].into(), ..Delta::default() });

        let records = [
            Record::BrokerSettingsSet { broker: BrokerId::ALL, settings: settings(&[]) },
            Record::GroupSettingsSet { group: "g".into(), settings: settings(&[]) },
        ];
        let delta = delta_of(&mut image, &records);
        assert_eq!((delta.broker_settings, delta.group_settings), ([BrokerId::ALL].into(), ["g".into()].into()));
        assert!(delta_of(&mut image, &[Record::ProducerIdsAllocated { next: 7 }]).is_empty());
    }
}
