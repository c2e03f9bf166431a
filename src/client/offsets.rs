//! Offsets that groups commit and ask for. Topics have names here, so versions with ids (KIP-848) are left out.

use super::partition::{TopicPartition, by_topic};
use crate::types::Offset;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::wire::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse};

/// The last version of OffsetCommit in which topics have names and no ids.
pub const COMMIT_VERSION_MAX: i16 = 9;
/// The same of OffsetFetch.
pub const FETCH_VERSION_MAX: i16 = 9;

/// A commit of offsets by nobody: of a group without members, or of a consumer that assigns itself.
pub fn commit<'a>(
    group: &'a str,
    offsets: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> OffsetCommitRequest<'a> {
    let topics = by_topic(offsets, |partition_index, committed_offset| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    });
    let topic = |(name, partitions): (String, _)| OffsetCommitRequestTopic {
        name: name.into(),
        partitions,
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

/// The first error of an answer's partitions, or 0.
pub fn committed(answer: &OffsetCommitResponse<'_>) -> i16 {
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    codes.into_iter().find(|&code| code != 0).unwrap_or(0)
}

/// Asks for offsets of one group, in any version: up to 7 the group has fields of its own, from 8 on it is in a list.
pub fn fetch<'a>(group: &'a str, places: &[TopicPartition]) -> OffsetFetchRequest<'a> {
    let topics = by_topic(places.iter().map(|place| (place, ())), |partition, ()| partition);
    let single = topics.iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
        name: name.clone().into(),
        partition_indexes: partition_indexes.clone(),
    });
    let single = single.collect();
    let topic = |(name, partition_indexes): (String, _)| OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes,
        ..Default::default()
    };
    let topics = Some(topics.into_iter().map(topic).collect());
    let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }];
    OffsetFetchRequest { group_id: group.into(), topics: Some(single), groups, require_stable: true }
}

/// The first error of an answer about one group, or 0, and its offsets; those of partitions without any are -1.
pub fn fetched(r: &mut Reader<'_>, version: i16) -> Result<(i16, Vec<(TopicPartition, Offset)>), DecodeError> {
    let answer = OffsetFetchResponse::decode(r, version)?;
    let mut code = answer.error_code;
    let mut offsets = Vec::new();
    let mut keep = |topic: &str, partition, offset, error_code| {
        code = if code == 0 { error_code } else { code };
        offsets.push((TopicPartition::new(topic, partition), offset));
    };
    for topic in &answer.topics {
        topic.partitions.iter().for_each(|p| keep(&topic.name, p.partition_index, p.committed_offset, p.error_code));
    }
    for topic in answer.groups.iter().flat_map(|group| &group.topics) {
        topic.partitions.iter().for_each(|p| keep(&topic.name, p.partition_index, p.committed_offset, p.error_code));
    }
    let of_group = answer.groups.iter().map(|group| group.error_code).find(|&code| code != 0);
    Ok((of_group.unwrap_or(code), offsets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Writer;
    use crate::wire::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };

    #[test]
    fn offsets_are_read_in_every_version() {
        for version in *OffsetFetchRequest::VERSIONS.start()..=FETCH_VERSION_MAX {
            for error_code in [0, 14] {
                let (partition_index, committed_offset) = (3, 7);
                let metadata = Some("".into());
                let new = OffsetFetchResponsePartitions {
                    partition_index,
                    committed_offset,
                    error_code,
                    ..Default::default()
                };
                let old = OffsetFetchResponsePartition {
                    partition_index,
                    committed_offset,
                    metadata,
                    error_code,
                    ..Default::default()
                };
                let topics =
                    vec![OffsetFetchResponseTopics { name: "t".into(), partitions: vec![new], ..Default::default() }];
                let response = OffsetFetchResponse {
                    topics: vec![OffsetFetchResponseTopic { name: "t".into(), partitions: vec![old] }],
                    groups: vec![OffsetFetchResponseGroup { topics, ..Default::default() }],
                    ..Default::default()
                };
                let mut w = Writer::new();
                response.encode(&mut w, version);
                let found = fetched(&mut Reader::new(&w.into_bytes()), version);
                assert_eq!(found, Ok((error_code, vec![(TopicPartition::new("t", 3), 7)])), "version {version}");
            }
        }
    }

    #[test]
    fn offsets_are_asked_for_in_every_version() {
        let places = [TopicPartition::new("t", 3), TopicPartition::new("t", 1)];
        for version in *OffsetFetchRequest::VERSIONS.start()..=FETCH_VERSION_MAX {
            let mut w = Writer::new();
            fetch("g", &places).encode(&mut w, version);
            let bytes = w.into_bytes();
            let asked = OffsetFetchRequest::decode(&mut Reader::new(&bytes), version).unwrap();
            let (group, partitions) = match asked.groups.first() {
                Some(group) => (&group.group_id, group.topics.as_ref().unwrap()[0].partition_indexes.clone()),
                None => (&asked.group_id, asked.topics.as_ref().unwrap()[0].partition_indexes.clone()),
            };
            assert_eq!((&**group, partitions), ("g", vec![3, 1]), "version {version}");
        }
    }
}
