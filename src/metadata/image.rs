//! What the cluster is, as of one record of the metadata log.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::ops::Bound;
use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::record::{Broker, PartitionRange, Placement, Record, RecordError, Settings};
use crate::types::{BrokerId, PartitionIndex, Uuid};

/// Topics that belong to the brokers. Kafka: `Topic.INTERNAL_TOPICS`.
const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    pub settings: Settings,
    /// In order, without gaps, and no two neighbours placed alike.
    partitions: Arc<[PartitionRange]>,
}

impl Topic {
    pub fn partition_count(&self) -> i32 {
        self.partitions.last().map_or(0, |range| range.end)
    }

    pub fn partition(&self, index: PartitionIndex) -> Option<&Placement> {
        let range = self.partitions.get(self.partitions.partition_point(|range| range.end <= index))?;
        (range.start <= index).then_some(&range.placement)
    }

    pub fn partition_ranges(&self) -> &[PartitionRange] {
        &self.partitions
    }

    /// Replicas of the first partition, as Kafka counts it.
    pub fn replication_factor(&self) -> i16 {
        self.partitions.first().map_or(0, |range| range.placement.replicas.len() as i16)
    }

    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Whether a topic of this name belongs to the brokers.
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// Ids are random, so nobody can aim at one bucket; a hasher without a secret keeps machines free of randomness.
type TopicsById = HashTrieMapSync<Uuid, Arc<Topic>, BuildHasherDefault<DefaultHasher>>;

/// Cheap to clone: clones share what has not changed since.
#[derive(Clone, Debug)]
pub struct Image {
    index: u64,
    topics: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    topics_by_id: TopicsById,
    /// Topics whose names contain `.` or `_`, by their names with each `.` replaced by `_`.
    topics_by_metric: RedBlackTreeMapSync<String, Arc<str>>,
    partition_total: usize,
    brokers: RedBlackTreeMapSync<BrokerId, Arc<Broker>>,
    broker_settings: RedBlackTreeMapSync<BrokerId, Settings>,
    group_settings: RedBlackTreeMapSync<Arc<str>, Settings>,
    producer_id_next: i64,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            index: 0,
            topics: RedBlackTreeMapSync::new_sync(),
            topics_by_id: TopicsById::new_with_hasher_and_ptr_kind(BuildHasherDefault::default()),
            topics_by_metric: RedBlackTreeMapSync::new_sync(),
            partition_total: 0,
            brokers: RedBlackTreeMapSync::new_sync(),
            broker_settings: RedBlackTreeMapSync::new_sync(),
            group_settings: RedBlackTreeMapSync::new_sync(),
            producer_id_next: 0,
        }
    }
}

/// Equal in all that was decided; the other fields follow from these.
impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
            && self.topics == other.topics
            && self.brokers == other.brokers
            && self.broker_settings == other.broker_settings
            && self.group_settings == other.group_settings
            && self.producer_id_next == other.producer_id_next
    }
}

impl Image {
    /// Index of the last record that was applied; 0 before the first. Kafka's clients never see it.
    pub fn index(&self) -> u64 {
        self.index
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(&id)
    }

    /// All topics, ordered by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The topic named `name` and those that follow it, ordered by name: for answers in pages.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.topics.range::<str, _>((Bound::Included(name), Bound::Unbounded)).map(|(_, topic)| topic)
    }

    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// Partitions of all topics together.
    pub fn partition_total(&self) -> usize {
        self.partition_total
    }

    /// The topic whose metrics would be named like those of a new topic `name`.
    pub fn topic_colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.topics_by_metric.get(&metric_name(name)?)
    }

    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All brokers, ordered by id.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &Arc<Broker>)> {
        self.brokers.iter().map(|(&id, broker)| (id, broker))
    }

    pub fn broker_count(&self) -> usize {
        self.brokers.size()
    }

    /// Dynamic settings of one broker, or with -1 the default of all brokers.
    pub fn broker_settings(&self, broker: BrokerId) -> Option<&Settings> {
        self.broker_settings.get(&broker)
    }

    /// Settings of one consumer group, whether it exists or not.
    pub fn group_settings(&self, group: &str) -> Option<&Settings> {
        self.group_settings.get(group)
    }

    /// The names of all groups that have settings, in order.
    pub fn groups_set(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.group_settings.keys()
    }

    /// Producer ids below this are taken.
    pub fn producer_id_next(&self) -> i64 {
        self.producer_id_next
    }

    /// Applies the record with this index. A record that does not fit this image changes nothing and is an error:
    /// the log then is not one that this image belongs to.
    pub fn apply(&mut self, index: u64, record: &Record) -> Result<(), RecordError> {
        assert!(index > self.index, "records are applied once and in order");
        match record {
            Record::TopicCreated { id, name, partitions, settings } => {
                if id.is_zero() || self.topics.contains_key(name) || self.topics_by_id.contains_key(id) {
                    return Err(RecordError(format!("topic {name} ({id}) is made twice")));
                }
                let partitions = extend_ranges(&[], partitions)?;
                self.put(Topic { id: *id, name: name.clone(), settings: settings.clone(), partitions });
            }
            Record::TopicDeleted { id } => {
                let topic = self.known(*id)?;
                self.remove(&topic);
            }
            Record::PartitionsAdded { id, partitions } => {
                let topic = self.known(*id)?;
                let partitions = extend_ranges(&topic.partitions, partitions)?;
                self.put(Topic { partitions, ..Topic::clone(&topic) });
            }
            Record::TopicSettingsSet { id, settings } => {
                let topic = self.known(*id)?;
                self.put(Topic { settings: settings.clone(), ..Topic::clone(&topic) });
            }
            Record::BrokerSettingsSet { broker, settings } if settings.is_empty() => {
                self.broker_settings.remove_mut(broker);
            }
            Record::BrokerSettingsSet { broker, settings } => {
                self.broker_settings.insert_mut(*broker, settings.clone());
            }
            Record::ProducerIdsAllocated { next } => {
                if *next <= self.producer_id_next {
                    return Err(RecordError(format!("producer ids below {next} are given away twice")));
                }
                self.producer_id_next = *next;
            }
            Record::GroupSettingsSet { group, settings } if settings.is_empty() => {
                self.group_settings.remove_mut(group);
            }
            Record::GroupSettingsSet { group, settings } => {
                self.group_settings.insert_mut(group.clone(), settings.clone());
            }
            Record::BrokerRegistered { id, broker } => self.brokers.insert_mut(*id, Arc::new(broker.clone())),
        }
        self.index = index;
        assert_eq!(self.topics.size(), self.topics_by_id.size());
        Ok(())
    }

    fn known(&self, id: Uuid) -> Result<Arc<Topic>, RecordError> {
        self.topics_by_id.get(&id).cloned().ok_or_else(|| RecordError(format!("there is no topic {id}")))
    }

    /// Adds a topic, or replaces its older self.
    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.partition_total += topic.partition_count() as usize;
        if let Some(older) = self.topics_by_id.get(&topic.id) {
            assert_eq!(older.name, topic.name);
            self.partition_total -= older.partition_count() as usize;
        } else if let Some(metric) = metric_name(&topic.name) {
            self.topics_by_metric.insert_mut(metric, topic.name.clone());
        }
        self.topics_by_id.insert_mut(topic.id, topic.clone());
        self.topics.insert_mut(topic.name.clone(), topic);
    }

    fn remove(&mut self, topic: &Topic) {
        let known = self.topics.remove_mut(&topic.name) && self.topics_by_id.remove_mut(&topic.id);
        assert!(known);
        self.partition_total -= topic.partition_count() as usize;
        if let Some(metric) = metric_name(&topic.name) {
            self.topics_by_metric.remove_mut(&metric);
        }
    }

    /// Records that make this image out of an empty one, its index aside.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let brokers =
            self.brokers.iter().map(|(&id, broker)| Record::BrokerRegistered { id, broker: Broker::clone(broker) });
        let settings = self.broker_settings.iter();
        let settings =
            settings.map(|(&broker, settings)| Record::BrokerSettingsSet { broker, settings: settings.clone() });
        let groups = self.group_settings.iter();
        let groups = groups
            .map(|(group, settings)| Record::GroupSettingsSet { group: group.clone(), settings: settings.clone() });
        let next = self.producer_id_next;
        let producer_ids = (next > 0).then_some(Record::ProducerIdsAllocated { next });
        let topics = self.topics.values().map(|topic| Record::TopicCreated {
            id: topic.id,
            name: topic.name.clone(),
            partitions: topic.partitions.to_vec(),
            settings: topic.settings.clone(),
        });
        brokers.chain(settings).chain(groups).chain(producer_ids).chain(topics)
    }

    /// The image that these records of a snapshot make, as of the record `index_last`.
    pub(super) fn from_records(
        index_last: u64,
        records: impl Iterator<Item = Result<Record, RecordError>>,
    ) -> Result<Image, RecordError> {
        let mut image = Image::default();
        for (i, record) in records.enumerate() {
            image.apply(i as u64 + 1, &record?)?;
        }
        image.index = index_last;
        Ok(image)
    }
}

/// Kafka's metrics have `_` where a topic has `.`, so two names that differ in nothing else would share metrics.
fn metric_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// `ranges` continued by `added`, neighbours that are placed alike joined.
fn extend_ranges(ranges: &[PartitionRange], added: &[PartitionRange]) -> Result<Arc<[PartitionRange]>, RecordError> {
    let mut joined = ranges.to_vec();
    for range in added {
        let start = joined.last().map_or(0, |last| last.end);
        if range.start != start || range.end <= start || range.placement.replicas.is_empty() {
            let PartitionRange { start: got, end, .. } = range;
            return Err(RecordError(format!("partitions {got}..{end} are where those from {start} should be")));
        }
        match joined.last_mut() {
            Some(last) if last.placement == range.placement => last.end = range.end,
            _ => joined.push(range.clone()),
        }
    }
    match added.is_empty() {
        true => Err(RecordError("a topic or an addition without partitions".into())),
        false => Ok(joined.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::tests::{range, samples, settings};

    fn created(id: u8, name: &str, partitions: Vec<PartitionRange>) -> Record {
        Record::TopicCreated { id: Uuid([id; 16]), name: name.into(), partitions, settings: settings(&[]) }
    }

    #[test]
    fn records_of_an_image_make_it_again_at_every_point() {
        let mut image = Image::default();
        for (i, record) in samples().iter().enumerate() {
            image.apply(i as u64 + 1, record).unwrap();
            let again = Image::from_records(image.index(), image.records().map(Ok)).unwrap();
            assert_eq!(again, image);
            assert_eq!(again.partition_total(), image.partition_total());
        }
        assert_eq!((image.topic_count(), image.partition_total(), image.broker_count()), (0, 0, 2));
        assert_eq!(image.topic_colliding("a_b"), None);
    }

    #[test]
    fn partitions_are_found_and_ranges_are_joined() {
        let mut image = Image::default();
        image.apply(1, &created(1, "t", vec![range(0, 2, 1), range(2, 4, 1), range(4, 5, 2)])).unwrap();
        image.apply(2, &Record::PartitionsAdded { id: Uuid([1; 16]), partitions: vec![range(5, 9, 2)] }).unwrap();
        let topic = image.topic("t").unwrap();
        assert_eq!(topic.partition_ranges(), [range(0, 4, 1), range(4, 9, 2)]);
        assert_eq!((topic.partition_count(), topic.replication_factor(), image.partition_total()), (9, 1, 9));
        let leaders: Vec<_> = (-1..=9).map(|index| topic.partition(index).map(|p| p.leader)).collect();
        let [a, b] = [Some(1), Some(2)];
        assert_eq!(leaders, [None, a, a, a, a, b, b, b, b, b, None]);
    }

    #[test]
    fn records_that_do_not_fit_change_nothing() {
        let mut image = Image::default();
        image.apply(1, &created(1, "t", vec![range(0, 2, 1)])).unwrap();
        let before = image.clone();
        let id = Uuid([1; 16]);
        for record in [
            created(2, "t", vec![range(0, 1, 1)]),
            created(1, "u", vec![range(0, 1, 1)]),
            created(0, "u", vec![range(0, 1, 1)]),
            created(2, "u", vec![]),
            created(2, "u", vec![range(1, 2, 1)]),
            created(2, "u", vec![range(0, 1, 1), range(2, 3, 1)]),
            Record::PartitionsAdded { id, partitions: vec![range(1, 3, 1)] },
            Record::PartitionsAdded { id, partitions: vec![range(2, 2, 1)] },
            Record::TopicDeleted { id: Uuid([2; 16]) },
            Record::TopicSettingsSet { id: Uuid([2; 16]), settings: settings(&[]) },
            Record::ProducerIdsAllocated { next: 0 },
        ] {
            assert!(image.apply(2, &record).is_err(), "{record:?}");
            assert_eq!(image, before);
        }
    }

    #[test]
    fn topics_are_ordered_and_images_are_apart() {
        let mut image = Image::default();
        for (i, name) in ["c", "a.x", "b"].into_iter().enumerate() {
            image.apply(i as u64 + 1, &created(i as u8 + 1, name, vec![range(0, 1, 1)])).unwrap();
        }
        let older = image.clone();
        image.apply(4, &Record::TopicDeleted { id: Uuid([3; 16]) }).unwrap();
        let names = |image: &Image, from| image.topics_from(from).map(|t| t.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&older, "b"), ["b", "c"]);
        assert_eq!(names(&image, ""), ["a.x", "c"]);
        assert_eq!(image.topic_colliding("a_x").map(|name| &**name), Some("a.x"));
        assert_eq!(image.topic_colliding("ax"), None);
        assert!(older.topic_by_id(Uuid([3; 16])).is_some() && image.topic_by_id(Uuid([3; 16])).is_none());
    }
}
