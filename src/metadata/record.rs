//! The records of the metadata log: their structs, and their FlatBuffers (`flatbuffers/metadata.fbs`).

use crate::flat::metadata as flat;
use crate::flat::types as flat_types;
use crate::types::{BrokerId, Epoch, PartitionIndex, Uuid};
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, WIPOffset};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Kafka's names and values of all settings that were set, none of the defaults.
pub type Settings = Arc<BTreeMap<String, String>>;

/// Where a partition is. Kafka: `PartitionRecord`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One of `replicas`; [`BrokerId::NONE`]: nobody can lead.
    pub leader: BrokerId,
    /// Raised with each change of leader.
    pub leader_epoch: Epoch,
    /// Raised with each change of the placement.
    pub partition_epoch: i32,
    /// Never empty; the preferred leader is the first.
    pub replicas: Arc<[BrokerId]>,
    /// The replicas that have all that is committed.
    pub isr: Arc<[BrokerId]>,
    /// The directory that holds each of `replicas`; zero: the broker has chosen none.
    pub directories: Arc<[Uuid]>,
}

impl Placement {
    /// A new partition: all replicas are in sync, and the first one leads.
    pub fn new(replicas: &[BrokerId]) -> Placement {
        let replicas: Arc<[BrokerId]> = replicas.into();
        Placement {
            leader: replicas.first().copied().unwrap_or(BrokerId::NONE),
            leader_epoch: Epoch(0),
            partition_epoch: 0,
            isr: replicas.clone(),
            directories: vec![Uuid::ZERO; replicas.len()].into(),
            replicas,
        }
    }

    /// Whether the fields agree with each other.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        let Placement { leader, leader_epoch, partition_epoch, replicas, isr, directories } = self;
        let replicas_set: BTreeSet<BrokerId> = replicas.iter().copied().collect();
        let isr_set: BTreeSet<BrokerId> = isr.iter().copied().collect();
        let wrong = match () {
            () if replicas.is_empty() || replicas_set.len() < replicas.len() => "replicas are missing or named twice",
            () if !isr_set.is_subset(&replicas_set) || isr_set.len() < isr.len() => {
                "in-sync replicas are none or twice"
            }
            () if directories.len() != replicas.len() => "not each replica has a directory",
            () if *leader != BrokerId::NONE && !replicas_set.contains(leader) => "the leader is no replica",
            () if leader_epoch.known().is_none() || *partition_epoch < 0 => "an epoch is negative",
            () => return Ok(()),
        };
        Err(RecordError(wrong.into()))
    }
}

/// The partitions `start` to `end` (exclusive) of a topic, placed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The first partition.
    pub start: PartitionIndex,
    /// The one behind the last partition.
    pub end: PartitionIndex,
    /// Where each of them is.
    pub placement: Placement,
}

/// One way to reach a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in `listeners`.
    pub name: String,
    /// The host that clients are told.
    pub host: String,
    /// The port that clients are told.
    pub port: u16,
}

/// What clients and other brokers must know to reach a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The ways to reach it, by listener.
    pub listeners: Vec<Listener>,
    /// `broker.rack`
    pub rack: Option<String>,
}

/// One decision. Settings are always the whole map after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A topic was created, with all its partitions.
    TopicCreated {
        /// Its id, which no topic had before.
        id: Uuid,
        /// Its name, which no other topic has.
        name: Arc<str>,
        /// Its partitions from 0 on, without gaps.
        partitions: Vec<PartitionRange>,
        /// Its settings.
        settings: Settings,
    },
    /// A topic was deleted, with its partitions and settings.
    TopicDeleted {
        /// The topic's id.
        id: Uuid,
    },
    /// Partitions were added behind the last one.
    PartitionsAdded {
        /// The topic's id.
        id: Uuid,
        /// The new partitions, without gaps.
        partitions: Vec<PartitionRange>,
    },
    /// Partitions that are there are placed otherwise.
    PartitionsChanged {
        /// The topic's id.
        id: Uuid,
        /// The partitions, and where they are from now on.
        partitions: Vec<PartitionRange>,
    },
    /// A topic has other settings.
    TopicSettingsSet {
        /// The topic's id.
        id: Uuid,
        /// The settings from now on.
        settings: Settings,
    },
    /// A broker, or [`BrokerId::ALL`], has other dynamic settings.
    BrokerSettingsSet {
        /// The broker's id.
        broker: BrokerId,
        /// The settings from now on.
        settings: Settings,
    },
    /// A block of producer ids was given to a core.
    ProducerIdsAllocated {
        /// The first id that is still free.
        next: i64,
    },
    /// A broker is there, or is reached otherwise.
    BrokerRegistered {
        /// The broker's id.
        id: BrokerId,
        /// How it is reached from now on.
        broker: Broker,
    },
    /// A consumer group has other settings.
    GroupSettingsSet {
        /// The group's id.
        group: Arc<str>,
        /// The settings from now on.
        settings: Settings,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError(pub String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

/// The shortest buffer with a root offset and a file identifier.
const ENTRY_BYTES_MIN: usize = 8;

impl Record {
    /// The topic that the record is about.
    pub(super) fn topic(&self) -> Option<Uuid> {
        match self {
            Record::TopicCreated { id, .. }
            | Record::TopicDeleted { id }
            | Record::PartitionsAdded { id, .. }
            | Record::PartitionsChanged { id, .. }
            | Record::TopicSettingsSet { id, .. } => Some(*id),
            Record::BrokerSettingsSet { .. }
            | Record::ProducerIdsAllocated { .. }
            | Record::BrokerRegistered { .. }
            | Record::GroupSettingsSet { .. } => None,
        }
    }

    /// A finished FlatBuffer of table `Entry`.
    pub fn encode(&self) -> Vec<u8> {
        let mut fbb = FlatBufferBuilder::new();
        let record_type = self.flat_type();
        let record = self.build(&mut fbb);
        let entry = flat::Entry::create(&mut fbb, &flat::EntryArgs { record_type, record: Some(record) });
        flat::finish_entry_buffer(&mut fbb, entry);
        let bytes = fbb.finished_data().to_vec();
        assert!(bytes.len() >= ENTRY_BYTES_MIN);
        bytes
    }

    fn flat_type(&self) -> flat::Record {
        match self {
            Record::TopicCreated { .. } => flat::Record::TopicCreated,
            Record::TopicDeleted { .. } => flat::Record::TopicDeleted,
            Record::PartitionsAdded { .. } => flat::Record::PartitionsAdded,
            Record::PartitionsChanged { .. } => flat::Record::PartitionsChanged,
            Record::TopicSettingsSet { .. } => flat::Record::TopicSettingsSet,
            Record::BrokerSettingsSet { .. } => flat::Record::BrokerSettingsSet,
            Record::ProducerIdsAllocated { .. } => flat::Record::ProducerIdsAllocated,
            Record::BrokerRegistered { .. } => flat::Record::BrokerRegistered,
            Record::GroupSettingsSet { .. } => flat::Record::GroupSettingsSet,
        }
    }

    fn build(&self, fbb: &mut FlatBufferBuilder<'_>) -> WIPOffset<UnionWIPOffset> {
        match self {
            Record::TopicCreated { id, name, partitions, settings } => {
                let args = flat::TopicCreatedArgs {
                    id: Some(&(*id).into()),
                    name: Some(fbb.create_string(name)),
                    partitions: Some(build_ranges(fbb, partitions)),
                    settings: Some(build_settings(fbb, settings)),
                };
                flat::TopicCreated::create(fbb, &args).as_union_value()
            }
            Record::TopicDeleted { id } => {
                let args = flat::TopicDeletedArgs { id: Some(&(*id).into()) };
                flat::TopicDeleted::create(fbb, &args).as_union_value()
            }
            Record::PartitionsAdded { id, partitions } => {
                let partitions = Some(build_ranges(fbb, partitions));
                let args = flat::PartitionsAddedArgs { id: Some(&(*id).into()), partitions };
                flat::PartitionsAdded::create(fbb, &args).as_union_value()
            }
            Record::PartitionsChanged { id, partitions } => {
                let partitions = Some(build_ranges(fbb, partitions));
                let args = flat::PartitionsChangedArgs { id: Some(&(*id).into()), partitions };
                flat::PartitionsChanged::create(fbb, &args).as_union_value()
            }
            Record::TopicSettingsSet { id, settings } => {
                let settings = Some(build_settings(fbb, settings));
                let args = flat::TopicSettingsSetArgs { id: Some(&(*id).into()), settings };
                flat::TopicSettingsSet::create(fbb, &args).as_union_value()
            }
            Record::BrokerSettingsSet { broker, settings } => {
                let settings = Some(build_settings(fbb, settings));
                let args = flat::BrokerSettingsSetArgs { broker: broker.0, settings };
                flat::BrokerSettingsSet::create(fbb, &args).as_union_value()
            }
            Record::ProducerIdsAllocated { next } => {
                let args = flat::ProducerIdsAllocatedArgs { next: *next };
                flat::ProducerIdsAllocated::create(fbb, &args).as_union_value()
            }
            Record::BrokerRegistered { id, broker } => {
                let args = flat::BrokerRegisteredArgs {
                    broker: id.0,
                    listeners: Some(build_listeners(fbb, &broker.listeners)),
                    rack: broker.rack.as_ref().map(|rack| fbb.create_string(rack)),
                };
                flat::BrokerRegistered::create(fbb, &args).as_union_value()
            }
            Record::GroupSettingsSet { group, settings } => {
                let args = flat::GroupSettingsSetArgs {
                    group: Some(fbb.create_string(group)),
                    settings: Some(build_settings(fbb, settings)),
                };
                flat::GroupSettingsSet::create(fbb, &args).as_union_value()
            }
        }
    }

    /// The record in a finished `Entry`. Anything that is none, or none that this version knows, is an error.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        if bytes.len() < ENTRY_BYTES_MIN || !flat::entry_buffer_has_identifier(bytes) {
            return Err(RecordError("not a metadata entry".into()));
        }
        let entry = flat::root_as_entry(bytes).map_err(|error| RecordError(error.to_string()))?;
        if let Some(t) = entry.record_as_topic_created() {
            let partitions = decode_ranges(t.partitions());
            let settings = decode_settings(t.settings());
            Ok(Record::TopicCreated { id: t.id().into(), name: t.name().into(), partitions, settings })
        } else if let Some(t) = entry.record_as_topic_deleted() {
            Ok(Record::TopicDeleted { id: t.id().into() })
        } else if let Some(t) = entry.record_as_partitions_added() {
            Ok(Record::PartitionsAdded { id: t.id().into(), partitions: decode_ranges(t.partitions()) })
        } else if let Some(t) = entry.record_as_partitions_changed() {
            Ok(Record::PartitionsChanged { id: t.id().into(), partitions: decode_ranges(t.partitions()) })
        } else if let Some(t) = entry.record_as_topic_settings_set() {
            Ok(Record::TopicSettingsSet { id: t.id().into(), settings: decode_settings(t.settings()) })
        } else if let Some(t) = entry.record_as_broker_settings_set() {
            Ok(Record::BrokerSettingsSet { broker: BrokerId(t.broker()), settings: decode_settings(t.settings()) })
        } else if let Some(t) = entry.record_as_producer_ids_allocated() {
            Ok(Record::ProducerIdsAllocated { next: t.next() })
        } else if let Some(t) = entry.record_as_broker_registered() {
            let listeners = t
                .listeners()
                .iter()
                .map(|l| Listener { name: l.name().into(), host: l.host().into(), port: l.port() })
                .collect();
            let broker = Broker { listeners, rack: t.rack().map(Into::into) };
            Ok(Record::BrokerRegistered { id: BrokerId(t.broker()), broker })
        } else if let Some(t) = entry.record_as_group_settings_set() {
            Ok(Record::GroupSettingsSet { group: t.group().into(), settings: decode_settings(t.settings()) })
        } else {
            Err(RecordError(format!("record type {} is of a later version", entry.record_type().0)))
        }
    }
}

type Offsets<'a, T> = WIPOffset<Vector<'a, ForwardsUOffset<T>>>;

fn build_ranges<'a>(
    fbb: &mut FlatBufferBuilder<'a>,
    ranges: &[PartitionRange],
) -> Offsets<'a, flat::PartitionRange<'a>> {
    let offsets: Vec<_> = ranges
        .iter()
        .map(|range| {
            let args = flat::PartitionRangeArgs {
                start: range.start,
                end: range.end,
                leader: range.placement.leader.0,
                leader_epoch: range.placement.leader_epoch.0,
                replicas: Some(fbb.create_vector(&BrokerId::numbers(&range.placement.replicas))),
                isr: Some(fbb.create_vector(&BrokerId::numbers(&range.placement.isr))),
                partition_epoch: range.placement.partition_epoch,
                directories: Some(build_ids(fbb, &range.placement.directories)),
            };
            flat::PartitionRange::create(fbb, &args)
        })
        .collect();
    fbb.create_vector(&offsets)
}

fn build_ids<'a>(fbb: &mut FlatBufferBuilder<'a>, ids: &[Uuid]) -> WIPOffset<Vector<'a, flat_types::Id>> {
    let ids: Vec<flat_types::Id> = ids.iter().map(|&id| id.into()).collect();
    fbb.create_vector(&ids)
}

fn build_settings<'a>(
    fbb: &mut FlatBufferBuilder<'a>,
    settings: &BTreeMap<String, String>,
) -> Offsets<'a, flat::Setting<'a>> {
    let offsets: Vec<_> = settings
        .iter()
        .map(|(key, value)| {
            let args = flat::SettingArgs { key: Some(fbb.create_string(key)), value: Some(fbb.create_string(value)) };
            flat::Setting::create(fbb, &args)
        })
        .collect();
    fbb.create_vector(&offsets)
}

fn build_listeners<'a>(fbb: &mut FlatBufferBuilder<'a>, listeners: &[Listener]) -> Offsets<'a, flat::Listener<'a>> {
    let offsets: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let args = flat::ListenerArgs {
                name: Some(fbb.create_string(&listener.name)),
                host: Some(fbb.create_string(&listener.host)),
                port: listener.port,
            };
            flat::Listener::create(fbb, &args)
        })
        .collect();
    fbb.create_vector(&offsets)
}

fn decode_ranges(ranges: Vector<'_, ForwardsUOffset<flat::PartitionRange<'_>>>) -> Vec<PartitionRange> {
    let decode = |range: flat::PartitionRange<'_>| PartitionRange {
        start: range.start(),
        end: range.end(),
        placement: Placement {
            leader: BrokerId(range.leader()),
            leader_epoch: Epoch(range.leader_epoch()),
            replicas: range.replicas().iter().map(BrokerId).collect(),
            partition_epoch: range.partition_epoch(),
            isr: range.isr().iter().map(BrokerId).collect(),
            directories: range.directories().iter().map(Uuid::from).collect(),
        },
    };
    ranges.iter().map(decode).collect()
}

fn decode_settings(settings: Vector<'_, ForwardsUOffset<flat::Setting<'_>>>) -> Settings {
    Arc::new(settings.iter().map(|s| (s.key().to_string(), s.value().to_string())).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Bytes from the hexadecimal digits in `text`, whatever stands between them.
    pub(in crate::metadata) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    pub(in crate::metadata) fn range(start: i32, end: i32, leader: i32) -> PartitionRange {
        PartitionRange { start, end, placement: Placement::new(&[BrokerId(leader)]) }
    }

    pub(in crate::metadata) fn settings(pairs: &[(&str, &str)]) -> Settings {
        Arc::new(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    pub(in crate::metadata) fn samples() -> Vec<Record> {
        let id = Uuid(*b"0123456789abcdef");
        let listener = Listener { name: "PLAINTEXT".into(), host: "::1".into(), port: 9092 };
        let placement = Placement {
            leader: BrokerId(2),
            leader_epoch: Epoch(3),
            partition_epoch: 5,
            replicas: [1, 2].map(BrokerId).into(),
            isr: [BrokerId(2)].into(),
            directories: [Uuid::ZERO, id].into(),
        };
        let moved = PartitionRange { start: 2, end: 7, placement };
        vec![
            Record::TopicCreated {
                id,
                name: "a.b".into(),
                partitions: vec![range(0, 3, 1), range(3, 4, 2)],
                settings: settings(&[("retention.ms", "-1"), ("x", "")]),
            },
            Record::PartitionsAdded { id, partitions: vec![range(4, 10_000, 1)] },
            Record::PartitionsChanged { id, partitions: vec![moved] },
            Record::TopicSettingsSet { id, settings: settings(&[]) },
            Record::BrokerSettingsSet { broker: BrokerId::ALL, settings: settings(&[("log.retention.ms", "5")]) },
            Record::ProducerIdsAllocated { next: 1_000 },
            Record::BrokerRegistered {
                id: BrokerId(7),
                broker: Broker { listeners: vec![listener], rack: Some("left".into()) },
            },
            Record::BrokerRegistered { id: BrokerId(0), broker: Broker { listeners: vec![], rack: None } },
            Record::GroupSettingsSet { group: "g".into(), settings: settings(&[("share.isolation.level", "x")]) },
            Record::GroupSettingsSet { group: "g".into(), settings: settings(&[]) },
            Record::TopicDeleted { id },
        ]
    }

    #[test]
    fn records_round_trip() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn bytes_of_an_entry_are_golden() {
        const GOLDEN: &str = "\
            100000004b4c4d4508000c000700080008000000000000040c00000008001800
            0400140008000000303132333435363738396162636465660400000001000000
            0c00000008000c00040008000800000014000000040000000500000036303030
            300000000c000000726574656e74696f6e2e6d7300000000";
        let record = Record::TopicSettingsSet {
            id: Uuid(*b"0123456789abcdef"),
            settings: settings(&[("retention.ms", "60000")]),
        };
        let bytes = record.encode();
        assert_eq!(bytes, unhex(GOLDEN), "{bytes:02x?}");
        assert_eq!(Record::decode(&unhex(GOLDEN)), Ok(record));
    }

    #[test]
    fn bytes_that_are_no_entry_are_errors() {
        for record in samples() {
            let bytes = record.encode();
            for end in 0..bytes.len() {
                // The last bytes may be padding, so a cut buffer may still hold the whole record, and no other.
                if let Ok(decoded) = Record::decode(&bytes[..end]) {
                    assert_eq!(decoded, record);
                }
            }
            for position in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[position] ^= flip;
                    let _any_answer_but_a_panic = Record::decode(&bytes);
                }
            }
        }
        assert!(Record::decode(b"").is_err());
        assert!(Record::decode(&[0; 64]).is_err());
    }
}
