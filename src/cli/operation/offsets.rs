//! Offsets of partitions, asked of their leaders; and records deleted from the front.

use super::{TopicPartition, by_topic};
use crate::cli::client::{Client, Cluster, leader};
use crate::cli::failure::{Failure, Result};
use crate::types::{BrokerId, Epoch, Offset, PartitionIndex, TimestampMs};
use crate::wire::error::ErrorCode;
use crate::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::messages::{ApiKey, DeleteRecordsRequest, ListOffsetsRequest};
use std::collections::BTreeMap;

/// Times with a meaning of their own; any other is the first record that is not older.
pub const LATEST: TimestampMs = -1;
pub const EARLIEST: TimestampMs = -2;
pub const MAX_TIMESTAMP: TimestampMs = -3;
pub const EARLIEST_LOCAL: TimestampMs = -4;
pub const LATEST_TIERED: TimestampMs = -5;
pub const EARLIEST_PENDING_UPLOAD: TimestampMs = -6;
/// The offset that stands for the end of what may be read, in DeleteRecords.
pub const HIGH_WATERMARK: Offset = -1;

/// What a partition has at a time; nothing if no record is so late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub offset: Option<Offset>,
    pub timestamp: Option<TimestampMs>,
    pub leader_epoch: Option<Epoch>,
}

/// The result of each partition that was asked for.
pub type Each<T> = BTreeMap<TopicPartition, Result<T>>;

/// First version of ListOffsets that knows a special time.
fn version_min(timestamp: TimestampMs) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 1,
    }
}

/// All partitions of the topics of `cluster`.
pub fn partitions(cluster: &Cluster) -> Vec<TopicPartition> {
    let of = |topic: &crate::cli::client::Topic| {
        let name = topic.name.clone();
        let partitions: Vec<PartitionIndex> = topic.partitions.iter().map(|partition| partition.index).collect();
        partitions.into_iter().map(move |partition| TopicPartition { topic: name.clone(), partition })
    };
    cluster.topics.iter().flat_map(of).collect()
}

/// Partitions by the broker that leads them; those without a leader get their failure.
fn by_leader<'a, T>(
    cluster: &Cluster,
    wanted: impl IntoIterator<Item = &'a TopicPartition>,
    results: &mut Each<T>,
) -> BTreeMap<BrokerId, Vec<&'a TopicPartition>> {
    let mut leaders: BTreeMap<BrokerId, Vec<&TopicPartition>> = BTreeMap::new();
    for place in wanted {
        match leader(cluster, place) {
            Ok(leader) => leaders.entry(leader).or_default().push(place),
            Err(failure) => {
                results.insert(place.clone(), Err(failure));
            }
        }
    }
    leaders
}

/// Offsets at a time. `cluster` says who leads; the leaders are asked again while they do not know yet that they do.
pub fn list(
    client: &mut Client,
    cluster: &Cluster,
    wanted: &[TopicPartition],
    timestamp: TimestampMs,
) -> Result<Each<Found>> {
    let mut results = Each::new();
    for (leader, places) in by_leader(cluster, wanted, &mut results) {
        let found = client.again(|client| list_of(client, leader, &places, timestamp))?;
        results.extend(found);
    }
    Ok(results)
}

fn list_of(
    client: &mut Client,
    leader: BrokerId,
    places: &[&TopicPartition],
    timestamp: TimestampMs,
) -> Result<Each<Found>> {
    let timeout_ms = client.timeout_ms();
    let link = client.broker(leader)?;
    let version = link.version(ApiKey::ListOffsets)?;
    if version < version_min(timestamp) {
        return Err(Failure::Other(format!("{} cannot look for the time {timestamp}", link.address())));
    }
    let partition = |partition_index, ()| ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp };
    let topics = by_topic(places.iter().map(|place| (*place, ())), partition);
    let topic = |(name, partitions): (String, _)| ListOffsetsTopic { name: name.into(), partitions };
    let topics = topics.into_iter().map(topic).collect();
    let request = ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics, timeout_ms };
    let answer = link.ask_in(&request, version)?;
    let mut results = Each::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let place = TopicPartition::new(&topic.name, partition.partition_index);
            let found = Found {
                offset: Some(partition.offset).filter(|&offset| offset >= 0),
                timestamp: Some(partition.timestamp).filter(|&timestamp| timestamp >= 0),
                leader_epoch: Epoch(partition.leader_epoch).known(),
            };
            let result = Failure::check(format_args!("offsets of {place}"), partition.error_code, None);
            // A leader that does not know yet that it is one is asked again for all.
            if let Err(failure) = &result
                && matches!(failure.code(), Some(ErrorCode::NotLeaderOrFollower | ErrorCode::LeaderNotAvailable))
            {
                result?;
                continue;
            }
            results.insert(place, result.map(|()| found));
        }
    }
    Ok(results)
}

/// Deletes the records before an offset of each partition, or before the high watermark for -1; gives each one's new first
/// offset.
pub fn delete_records(
    client: &mut Client,
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, Offset>,
) -> Result<Each<Offset>> {
    let mut results = Each::new();
    let timeout_ms = client.timeout_ms();
    for (leader, places) in by_leader(cluster, wanted.keys(), &mut results) {
        let before = places.iter().map(|place| (*place, wanted[*place]));
        let topics = by_topic(before, |partition_index, offset| DeleteRecordsPartition { partition_index, offset });
        let topic = |(name, partitions): (String, _)| DeleteRecordsTopic { name: name.into(), partitions };
        let request = DeleteRecordsRequest { topics: topics.into_iter().map(topic).collect(), timeout_ms };
        let answer = client.broker(leader)?.ask(&request)?;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                let result = Failure::check(format_args!("records of {place}"), partition.error_code, None);
                results.insert(place, result.map(|()| partition.low_watermark));
            }
        }
    }
    Ok(results)
}
