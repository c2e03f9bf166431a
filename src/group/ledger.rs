//! The ledger of one group: what its records in the log say, and so what is durable of it. [`Ledger::apply`] alone
//! changes it.

use super::record::{Key, Record, decode_group, decode_offset};
use crate::types::{Offset, TimestampMs};
use crate::wire::codec::DecodeError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What a topic, a position and a record that cannot be decoded take beside their texts.
const TOPIC_BYTES: usize = 128;
const POSITION_BYTES: usize = 96;
const MALFORMED_BYTES: usize = 128;

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: Offset,
    /// -1: unknown.
    pub leader_epoch: i32,
    pub metadata: Box<str>,
    pub commit_ms: TimestampMs,
    /// Only of commits by OffsetCommit 2-4 that ask for it.
    pub expire_ms: Option<TimestampMs>,
}

impl Committed {
    fn bytes(&self) -> usize {
        POSITION_BYTES + self.metadata.len()
    }

    /// When the position expires, if its retention counts from `base_ms`.
    pub fn expiry_ms(&self, base_ms: TimestampMs, retention_ms: i64) -> TimestampMs {
        self.expire_ms.unwrap_or(base_ms.saturating_add(retention_ms))
    }
}

/// A topic and one of its partitions.
pub(super) type Position = (Arc<str>, i32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// The last value of the group's own key, as it is in the log; it can be decoded.
    metadata: Option<Bytes>,
    offsets: BTreeMap<Arc<str>, BTreeMap<i32, Committed>>,
    /// Values that cannot be decoded, and why, by their keys.
    malformed: BTreeMap<Bytes, (Bytes, DecodeError)>,
    /// How many positions there are, and the memory that all of this takes.
    positions: usize,
    bytes: usize,
}

impl Ledger {
    pub fn is_empty(&self) -> bool {
        self.metadata.is_none() && self.offsets.is_empty() && self.malformed.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The last value of the group's own key, which can be decoded.
    pub fn metadata(&self) -> Option<&Bytes> {
        self.metadata.as_ref()
    }

    pub fn is_malformed(&self) -> bool {
        !self.malformed.is_empty()
    }

    /// Keys of values that cannot be decoded, and why.
    pub fn malformed(&self) -> impl Iterator<Item = (&Bytes, &DecodeError)> {
        self.malformed.iter().map(|(key, (_, error))| (key, error))
    }

    /// Topics behind `after`, in their order, each with its positions by partition.
    pub fn topics_after(&self, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, Committed>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.offsets.range::<str, _>((from, Bound::Unbounded))
    }

    /// The positions of one topic, by partition.
    pub fn topic(&self, topic: &str) -> Option<&BTreeMap<i32, Committed>> {
        self.offsets.get(topic)
    }

    /// Positions behind `after`, ordered by topic and partition.
    pub fn positions_after<'a>(
        &'a self,
        after: Option<&Position>,
    ) -> impl Iterator<Item = (&'a Arc<str>, i32, &'a Committed)> {
        let topic = after.map_or(Bound::Unbounded, |(topic, _)| Bound::Included(&**topic));
        let mut first = after.cloned();
        self.offsets.range::<str, _>((topic, Bound::Unbounded)).flat_map(move |(topic, partitions)| {
            let after = first.take().filter(|(name, _)| name == topic);
            let from = after.map_or(Bound::Unbounded, |(_, partition)| Bound::Excluded(partition));
            partitions.range((from, Bound::Unbounded)).map(move |(&partition, committed)| (topic, partition, committed))
        })
    }

    /// By how much the ledger would grow with this position.
    pub fn growth(&self, topic: &str, partition: i32, metadata_bytes: usize) -> usize {
        let topic_bytes = if self.offsets.contains_key(topic) { 0 } else { TOPIC_BYTES + topic.len() };
        let before = self.offset(topic, partition).map_or(0, Committed::bytes);
        topic_bytes + (POSITION_BYTES + metadata_bytes).saturating_sub(before)
    }

    pub fn offset(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.offsets.get(topic)?.get(&partition)
    }

    /// Takes over one record of this group, with what its key says. A value that cannot be decoded is kept as it is.
    pub fn apply(&mut self, key: &Key<'_>, key_bytes: &[u8], value: Option<&[u8]>) {
        if let Some((value, _)) = self.malformed.remove(key_bytes) {
            self.bytes -= MALFORMED_BYTES + key_bytes.len() + value.len();
        }
        let applied = match key {
            Key::Offset { topic, partition, .. } => self.apply_offset(topic, *partition, value),
            Key::Group { .. } => self.apply_group(value),
            Key::Unknown { kind } => unreachable!("a record of kind {kind} has no group"),
        };
        if let Err(error) = applied {
            let value = Bytes::copy_from_slice(value.expect("only a value can be malformed"));
            self.bytes += MALFORMED_BYTES + key_bytes.len() + value.len();
            self.malformed.insert(Bytes::copy_from_slice(key_bytes), (value, error));
        }
    }

    fn apply_offset(&mut self, topic: &str, partition: i32, value: Option<&[u8]>) -> Result<(), DecodeError> {
        let decoded = value.map(decode_offset).transpose();
        let Ok(Some(committed)) = decoded else {
            if let Some(partitions) = self.offsets.get_mut(topic) {
                let before = partitions.remove(&partition);
                self.positions -= usize::from(before.is_some());
                self.bytes -= before.as_ref().map_or(0, Committed::bytes);
                if partitions.is_empty() {
                    self.bytes -= TOPIC_BYTES + topic.len();
                    self.offsets.remove(topic);
                }
            }
            return decoded.map(|_| ());
        };
        self.bytes += committed.bytes();
        let before = match self.offsets.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, committed),
            None => {
                self.bytes += TOPIC_BYTES + topic.len();
                self.offsets.entry(Arc::from(topic)).or_default().insert(partition, committed)
            }
        };
        self.positions += usize::from(before.is_none());
        assert!(self.positions >= self.offsets.len(), "a topic without positions is dropped");
        self.bytes -= before.as_ref().map_or(0, Committed::bytes);
        Ok(())
    }

    fn apply_group(&mut self, value: Option<&[u8]>) -> Result<(), DecodeError> {
        self.bytes -= self.metadata.take().map_or(0, |value| value.len());
        if let Some(value) = value {
            decode_group(value)?;
            self.metadata = Some(Bytes::copy_from_slice(value));
            self.bytes += value.len();
        }
        Ok(())
    }

    /// Records of all that is no position, in an order that depends on nothing but the contents.
    pub fn head_records(&self, group: &Arc<str>) -> impl Iterator<Item = Record> {
        let metadata = self.metadata.iter().map(|value| {
            let record = Record::group(group, None);
            Record { value: Some(value.clone()), ..record }
        });
        let malformed = self.malformed.iter().map(|(key, (value, _))| {
            let record = Record::tombstone(group, key.clone());
            Record { value: Some(value.clone()), ..record }
        });
        metadata.chain(malformed)
    }

    /// Records that make this ledger, in an order that depends on nothing but its contents.
    fn records(&self, group: &Arc<str>) -> impl Iterator<Item = Record> {
        let offsets = self.positions_after(None);
        let offsets =
            offsets.map(|(topic, partition, committed)| Record::offset(group, topic, partition, Some(committed)));
        self.head_records(group).chain(offsets)
    }

    /// Tombstones for all of it.
    pub fn tombstones(&self, group: &Arc<str>) -> impl Iterator<Item = Record> {
        self.records(group).map(|record| Record { value: None, ..record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(ledger: &mut Ledger, record: &Record) {
        ledger.apply(&Key::decode(&record.key).unwrap(), &record.key, record.value.as_deref());
    }

    #[test]
    fn records_make_the_ledger_that_they_come_from() {
        let group: Arc<str> = "g".into();
        let mut ledger = Ledger::default();
        for partition in 0..3 {
            let committed =
                Committed { offset: 1, leader_epoch: -1, metadata: "".into(), commit_ms: 5, expire_ms: None };
            apply(&mut ledger, &Record::offset(&group, "t", partition, Some(&committed)));
        }
        apply(&mut ledger, &Record::group(&group, Some(&Default::default())));
        let broken = Record { value: Some(Bytes::from_static(&[0])), ..Record::offset(&group, "t", 1, None) };
        apply(&mut ledger, &broken);
        assert_eq!(ledger.malformed[&broken.key].1, DecodeError::Truncated);
        assert_eq!(ledger.offset("t", 1), None);
        let mut copy = Ledger::default();
        ledger.records(&group).for_each(|record| apply(&mut copy, &record));
        assert_eq!(copy, ledger);
        assert!(ledger.bytes() > 2 * POSITION_BYTES + TOPIC_BYTES + MALFORMED_BYTES);
        assert_eq!((ledger.growth("t", 0, 0), ledger.growth("t", 0, 7)), (0, 7));
        assert_eq!(ledger.growth("tt", 0, 7), TOPIC_BYTES + 2 + POSITION_BYTES + 7);
        let tombstones: Vec<Record> = ledger.tombstones(&group).collect();
        tombstones.iter().for_each(|record| apply(&mut ledger, record));
        assert!(ledger.is_empty() && ledger.bytes() == 0);
    }

    #[test]
    fn an_overwritten_record_is_malformed_no_more() {
        let group: Arc<str> = "g".into();
        let mut ledger = Ledger::default();
        let broken = Record { value: Some(Bytes::from_static(&[0, 9])), ..Record::group(&group, None) };
        apply(&mut ledger, &broken);
        assert_eq!(ledger.malformed[&broken.key].1, DecodeError::Version);
        apply(&mut ledger, &Record::group(&group, Some(&Default::default())));
        assert!(ledger.malformed.is_empty() && ledger.metadata.is_some());
    }
}
