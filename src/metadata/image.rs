//! What the cluster is, as of one record of the metadata log.

use super::delta::Delta;
use super::record::{Broker, PartitionRange, Record, RecordError, Settings};
use super::topic::Topic;
use crate::types::{BrokerId, Epoch, PartitionId, PartitionIndex, Uuid};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::ops::Bound;
use std::sync::Arc;

/// Ids are random, so nobody can aim at one bucket; a hasher without a secret keeps machines free of randomness.
type TopicsById = HashTrieMapSync<Uuid, Arc<Topic>, BuildHasherDefault<DefaultHasher>>;

/// Who leads a partition, and since when: the first epoch is 0, and each change of leader raises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// -1: nobody can lead it.
    pub broker: BrokerId,
    /// The epoch in which it leads.
    pub epoch: Epoch,
}

/// Cheap to clone: clones share what has not changed since.
#[derive(Clone, Debug)]
pub struct Image {
    index: u64,
    term: u64,
    topics: RedBlackTreeMapSync<Arc<str>, Arc<Topic>>,
    topics_by_id: TopicsById,
    /// Topics whose names contain `.` or `_`, under [`metric_name`] and the name itself: topics that would share
    /// metrics stand side by side.
    topics_by_metric: RedBlackTreeMapSync<(String, Arc<str>), ()>,
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
            term: 0,
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
        (self.index, self.term) == (other.index, other.term)
            && self.topics == other.topics
            && self.brokers == other.brokers
            && self.broker_settings == other.broker_settings
            && self.group_settings == other.group_settings
            && self.producer_id_next == other.producer_id_next
    }
}

impl Image {
    /// Index of the last entry that was applied; 0 before the first. Kafka: the metadata log's offset.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Term of the last entry that was applied; 0 before the first. Kafka: the quorum's leader epoch.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The id of the topic with this name, if it has a partition of this index.
    pub fn topic_of(&self, name: &str, index: PartitionIndex) -> Option<Uuid> {
        self.topic(name).filter(|topic| (0..topic.partition_count()).contains(&index)).map(|topic| topic.id)
    }

    /// The topic with this id.
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

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.size()
    }

    /// Partitions of all topics together.
    pub fn partition_total(&self) -> usize {
        self.partition_total
    }

    /// The topic whose metrics would be named like those of a new topic `name`.
    pub fn topic_colliding(&self, name: &str) -> Option<&Arc<str>> {
        let metric = metric_name(name)?;
        let mut named = self.topics_by_metric.range((metric.clone(), Arc::from(""))..);
        named.next().filter(|((known, _), _)| *known == metric).map(|((_, name), _)| name)
    }

    /// The leader of a partition: the one place that says whether a broker leads it. `None` if there is no such partition.
    pub fn leader(&self, partition: PartitionId) -> Option<Leader> {
        let placement = self.topic_by_id(partition.topic)?.partition(partition.index)?;
        Some(Leader { broker: placement.leader, epoch: placement.leader_epoch })
    }

    /// How a broker is reached; `None`: no such broker has registered.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All brokers, ordered by id.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &Arc<Broker>)> {
        self.brokers.iter().map(|(&id, broker)| (id, broker))
    }

    /// How many brokers have registered.
    pub fn broker_count(&self) -> usize {
        self.brokers.size()
    }

    /// Dynamic settings of one broker, or with [`BrokerId::ALL`] the default of all brokers.
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

    /// Applies the entry with this index: all its records, and notes in `delta` what changed. An entry that does not fit
    /// this image changes nothing of it and is an error: the log then is not one that this image belongs to.
    pub fn apply(&mut self, index: u64, term: u64, records: &[Record], delta: &mut Delta) -> Result<(), RecordError> {
        let mut next = self.clone();
        for record in records {
            next.stage(record, delta)?;
        }
        next.advance(index, term);
        *self = next;
        Ok(())
    }

    /// Applies one record of an entry; [`Image::advance`] ends the entry.
    pub(super) fn stage(&mut self, record: &Record, delta: &mut Delta) -> Result<(), RecordError> {
        let older = record.topic().and_then(|id| self.topics_by_id.get(&id)).cloned();
        self.change(record)?;
        delta.note(record, older.as_ref());
        assert_eq!(self.topics.size(), self.topics_by_id.size());
        Ok(())
    }

    /// All records up to this entry are applied.
    pub(super) fn advance(&mut self, index: u64, term: u64) {
        assert!(index > self.index && term >= self.term, "entries are applied once and in order");
        (self.index, self.term) = (index, term);
    }

    fn change(&mut self, record: &Record) -> Result<(), RecordError> {
        match record {
            Record::TopicCreated { id, name, partitions, settings } => {
                if id.is_zero() || self.topics.contains_key(name) || self.topics_by_id.contains_key(id) {
                    return Err(RecordError(format!("topic {name} ({id}) is made twice")));
                }
                self.put(Topic::new(*id, name.clone(), settings.clone(), partitions)?);
            }
            Record::TopicDeleted { id } => {
                let topic = self.known(*id)?;
                self.remove(&topic);
            }
            Record::PartitionsAdded { id, partitions } => self.put(self.known(*id)?.extended(partitions)?),
            Record::PartitionsChanged { id, partitions } => self.put(self.known(*id)?.changed(partitions)?),
            Record::TopicSettingsSet { id, settings } => self.put(self.known(*id)?.with_settings(settings.clone())),
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
            self.topics_by_metric.insert_mut((metric, topic.name.clone()), ());
        }
        self.topics_by_id.insert_mut(topic.id, topic.clone());
        self.topics.insert_mut(topic.name.clone(), topic);
    }

    fn remove(&mut self, topic: &Topic) {
        let known = self.topics.remove_mut(&topic.name) && self.topics_by_id.remove_mut(&topic.id);
        assert!(known);
        self.partition_total -= topic.partition_count() as usize;
        if let Some(metric) = metric_name(&topic.name) {
            self.topics_by_metric.remove_mut(&(metric, topic.name.clone()));
        }
    }

    /// Records that make this image out of an empty one, its index and term aside.
    #[cfg(test)]
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let mut cursor = Cursor::Start;
        std::iter::from_fn(move || {
            let (next, record) = self.record_after(&cursor)?;
            cursor = next;
            Some(record)
        })
    }

    /// The next of the records that make this image, and where it stands. A topic of many partitions becomes several
    /// records, so that none is large.
    pub(super) fn record_after(&self, cursor: &Cursor) -> Option<(Cursor, Record)> {
        match cursor {
            Cursor::Start => self.brokers_from(Bound::Unbounded),
            Cursor::Broker(id) => self.brokers_from(Bound::Excluded(*id)),
            Cursor::BrokerSettings(id) => self.broker_settings_from(Bound::Excluded(*id)),
            Cursor::Group(name) => self.groups_from(Bound::Excluded(name)),
            Cursor::ProducerIds => self.topic_from(Bound::Unbounded),
            Cursor::Topic { name, end } => self.more_partitions(name, *end),
        }
    }

    fn brokers_from(&self, start: Bound<BrokerId>) -> Option<(Cursor, Record)> {
        let next = self.brokers.range((start, Bound::Unbounded)).next();
        let record = |(&id, broker): (&BrokerId, &Arc<Broker>)| {
            (Cursor::Broker(id), Record::BrokerRegistered { id, broker: Broker::clone(broker) })
        };
        next.map(record).or_else(|| self.broker_settings_from(Bound::Unbounded))
    }

    fn broker_settings_from(&self, start: Bound<BrokerId>) -> Option<(Cursor, Record)> {
        let next = self.broker_settings.range((start, Bound::Unbounded)).next();
        let record = |(&broker, settings): (&BrokerId, &Settings)| {
            (Cursor::BrokerSettings(broker), Record::BrokerSettingsSet { broker, settings: settings.clone() })
        };
        next.map(record).or_else(|| self.groups_from(Bound::Unbounded))
    }

    fn groups_from(&self, start: Bound<&Arc<str>>) -> Option<(Cursor, Record)> {
        let next = self.group_settings.range::<Arc<str>, _>((start, Bound::Unbounded)).next();
        let record = |(group, settings): (&Arc<str>, &Settings)| {
            let record = Record::GroupSettingsSet { group: group.clone(), settings: settings.clone() };
            (Cursor::Group(group.clone()), record)
        };
        next.map(record).or_else(|| match self.producer_id_next {
            0 => self.topic_from(Bound::Unbounded),
            next => Some((Cursor::ProducerIds, Record::ProducerIdsAllocated { next })),
        })
    }

    fn topic_from(&self, start: Bound<&str>) -> Option<(Cursor, Record)> {
        let (name, topic) = self.topics.range::<str, _>((start, Bound::Unbounded)).next()?;
        let (end, partitions) = piece(topic, 0);
        let (id, settings) = (topic.id, topic.settings.clone());
        let record = Record::TopicCreated { id, name: name.clone(), partitions, settings };
        Some((Cursor::Topic { name: name.clone(), end }, record))
    }

    fn more_partitions(&self, name: &Arc<str>, start: PartitionIndex) -> Option<(Cursor, Record)> {
        let topic = self.topics.get(name).expect("a cursor belongs to one image");
        if start == topic.partition_count() {
            return self.topic_from(Bound::Excluded(name));
        }
        let (end, partitions) = piece(topic, start);
        Some((Cursor::Topic { name: name.clone(), end }, Record::PartitionsAdded { id: topic.id, partitions }))
    }
}

/// A place in the row of records that make an image.
#[derive(Clone, Debug)]
pub(super) enum Cursor {
    Start,
    Broker(BrokerId),
    BrokerSettings(BrokerId),
    Group(Arc<str>),
    ProducerIds,
    /// Behind the partitions of the topic up to `end` (exclusive).
    Topic {
        name: Arc<str>,
        end: PartitionIndex,
    },
}

/// How many ranges, and replicas in them, one record may have that makes a topic.
const PIECE_RANGES_MAX: usize = 2_000;
const PIECE_REPLICAS_MAX: usize = 20_000;

/// The partitions of a topic from `start` on that fit into one record, and where they end.
fn piece(topic: &Topic, start: PartitionIndex) -> (PartitionIndex, Vec<PartitionRange>) {
    let mut replicas = 0;
    let mut fits = |range: &&PartitionRange| {
        let first = replicas == 0;
        replicas += range.placement.replicas.len();
        first || replicas <= PIECE_REPLICAS_MAX
    };
    let ranges = topic.partition_ranges_from(start).take(PIECE_RANGES_MAX).take_while(|range| fits(range));
    let ranges: Vec<PartitionRange> = ranges.cloned().collect();
    (ranges.last().expect("a topic has partitions").end, ranges)
}

/// Kafka's metrics have `_` where a topic has `.`, so two names that differ in nothing else would share metrics.
fn metric_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::Placement;
    use crate::metadata::record::tests::{range, samples, settings};

    /// The image that the records of this one make.
    fn remade(image: &Image) -> Image {
        let mut again = Image::default();
        image.records().for_each(|record| again.stage(&record, &mut Delta::default()).unwrap());
        again.advance(image.index(), image.term());
        again
    }

    fn apply(image: &mut Image, index: u64, record: &Record) -> Result<(), RecordError> {
        image.apply(index, 1, std::slice::from_ref(record), &mut Delta::default())
    }

    fn created(id: u8, name: &str, partitions: Vec<PartitionRange>) -> Record {
        Record::TopicCreated { id: Uuid([id; 16]), name: name.into(), partitions, settings: settings(&[]) }
    }

    #[test]
    fn records_of_an_image_make_it_again_at_every_point() {
        let mut image = Image::default();
        for (i, record) in samples().iter().enumerate() {
            apply(&mut image, i as u64 + 1, record).unwrap();
            let again = remade(&image);
            assert_eq!(again, image);
            assert_eq!(again.partition_total(), image.partition_total());
        }
        assert_eq!((image.topic_count(), image.partition_total(), image.broker_count()), (0, 0, 2));
        assert_eq!(image.topic_colliding("a_b"), None);
    }

    #[test]
    fn the_leader_of_a_partition_comes_with_its_epoch() {
        let mut image = Image::default();
        apply(&mut image, 1, &created(1, "t", vec![range(0, 2, 1)])).unwrap();
        let partition = |index| PartitionId { topic: Uuid([1; 16]), index };
        assert_eq!(image.leader(partition(1)), Some(Leader { broker: BrokerId(1), epoch: Epoch(0) }));
        let mut change = range(1, 2, 2);
        change.placement.leader_epoch = Epoch(4);
        change.placement.partition_epoch = 1;
        let record = Record::PartitionsChanged { id: Uuid([1; 16]), partitions: vec![change] };
        apply(&mut image, 2, &record).unwrap();
        assert_eq!(image.leader(partition(0)), Some(Leader { broker: BrokerId(1), epoch: Epoch(0) }));
        assert_eq!(image.leader(partition(1)), Some(Leader { broker: BrokerId(2), epoch: Epoch(4) }));
        assert_eq!(image.leader(partition(2)), None);
        assert_eq!(image.leader(PartitionId { topic: Uuid([2; 16]), index: 0 }), None);
    }

    #[test]
    fn a_topic_of_many_placements_is_made_in_pieces() {
        let mut image = Image::default();
        let partitions: Vec<_> = (0..PIECE_RANGES_MAX as i32 * 2 + 1).map(|i| range(i, i + 1, i % 2 + 1)).collect();
        apply(&mut image, 1, &created(1, "a", partitions)).unwrap();
        let mut wide = range(0, 1, 1);
        wide.placement = Placement::new(&(1..=PIECE_REPLICAS_MAX as i32 + 1).map(BrokerId).collect::<Vec<_>>());
        apply(&mut image, 2, &created(2, "b", vec![wide, range(1, 2, 1)])).unwrap();
        let records: Vec<Record> = image.records().collect();
        assert_eq!(records.len(), 5);
        assert_eq!(remade(&image), image);
    }

    #[test]
    fn an_entry_is_applied_as_a_whole_or_not_at_all() {
        let mut image = Image::default();
        let entry = [created(1, "a", vec![range(0, 1, 1)]), created(2, "a", vec![range(0, 1, 1)])];
        assert!(image.apply(1, 1, &entry, &mut Delta::default()).is_err());
        assert_eq!(image, Image::default());
        image.apply(1, 1, &entry[..1], &mut Delta::default()).unwrap();
        assert_eq!((image.index(), image.term(), image.topic_count()), (1, 1, 1));
    }

    #[test]
    fn records_that_do_not_fit_change_nothing() {
        let mut image = Image::default();
        apply(&mut image, 1, &created(1, "t", vec![range(0, 2, 1)])).unwrap();
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
            Record::PartitionsChanged { id, partitions: vec![range(0, 1, 1)] },
            Record::TopicDeleted { id: Uuid([2; 16]) },
            Record::TopicSettingsSet { id: Uuid([2; 16]), settings: settings(&[]) },
            Record::ProducerIdsAllocated { next: 0 },
        ] {
            assert!(apply(&mut image, 2, &record).is_err(), "{record:?}");
            assert_eq!(image, before);
        }
    }

    #[test]
    fn topics_are_ordered_and_images_are_apart() {
        let mut image = Image::default();
        for (i, name) in ["c", "a.x", "b"].into_iter().enumerate() {
            apply(&mut image, i as u64 + 1, &created(i as u8 + 1, name, vec![range(0, 1, 1)])).unwrap();
        }
        let older = image.clone();
        apply(&mut image, 4, &Record::TopicDeleted { id: Uuid([3; 16]) }).unwrap();
        let names = |image: &Image, from| image.topics_from(from).map(|t| t.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&older, "b"), ["b", "c"]);
        assert_eq!(names(&image, ""), ["a.x", "c"]);
        assert_eq!(image.topic_colliding("a_x").map(|name| &**name), Some("a.x"));
        assert_eq!(image.topic_colliding("ax"), None);
        assert!(older.topic_by_id(Uuid([3; 16])).is_some() && image.topic_by_id(Uuid([3; 16])).is_none());
    }
}
