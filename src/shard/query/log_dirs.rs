//! AlterReplicaLogDirs (API 34, KIP-113). The node has one data directory: replicas may be wanted there, where they are.

use super::reply;
use crate::metadata::Image;
use crate::shard::context::Context;
use crate::types::PartitionIndex;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::AlterReplicaLogDirsRequest;
use crate::wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use bytes::Bytes;
use std::collections::BTreeMap;

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, .. } = context;
    let request = AlterReplicaLogDirsRequest::decode(&mut Reader::new(body), head.version)?;
    let own = node.config.data_dir.to_string_lossy();
    // Of a partition that is wanted in two places the last one counts.
    let mut wanted: BTreeMap<&str, BTreeMap<PartitionIndex, bool>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let partitions = wanted.entry(&*topic.name).or_default();
            partitions.extend(topic.partitions.iter().map(|&index| (index, *dir.path == *own)));
        }
    }
    let partition = |name: &str, partition_index, in_own| AlterReplicaLogDirPartitionResult {
        partition_index,
        error_code: move_replica(image, name, partition_index, in_own).code(),
    };
    let topic = |(name, partitions): (&str, BTreeMap<PartitionIndex, bool>)| AlterReplicaLogDirTopicResult {
        topic_name: name.to_string().into(),
        partitions: partitions.into_iter().map(|(index, in_own)| partition(name, index, in_own)).collect(),
    };
    let results = wanted.into_iter().map(topic).collect();
    let response = AlterReplicaLogDirsResponse { results, ..Default::default() };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn move_replica(image: &Image, name: &str, index: PartitionIndex, in_own: bool) -> ErrorCode {
    match image.topic(name).and_then(|topic| topic.partition(index)) {
        _ if !in_own => ErrorCode::LogDirNotFound,
        Some(_) => ErrorCode::None,
        None => ErrorCode::UnknownTopicOrPartition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};

    #[test]
    fn replicas_are_in_the_only_directory() {
        let mut world = World::new(&[("log.dirs", "/own")]);
        world.topic("t", 2, &[]);
        let dir = |path: &'static str, name: &'static str, partitions: &[i32]| AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic { name: name.into(), partitions: partitions.to_vec() }],
        };
        for version in 1..=2 {
            let dirs =
                vec![dir("/own", "t", &[0, 2]), dir("/other", "t", &[1]), dir("/own", "u", &[0]), dir("/x", "u", &[1])];
            let request = AlterReplicaLogDirsRequest { dirs };
            let response = ask!(world.query(version), AlterReplicaLogDirs, AlterReplicaLogDirsResponse, request);
            let results: Vec<_> = response
                .results
                .iter()
                .flat_map(|topic| {
                    topic.partitions.iter().map(|p| (&*topic.topic_name, p.partition_index, p.error_code))
                })
                .collect();
            assert_eq!(results, [("t", 0, 0), ("t", 1, 57), ("t", 2, 3), ("u", 0, 3), ("u", 1, 57)]);
        }
        let twice = AlterReplicaLogDirsRequest { dirs: vec![dir("/other", "t", &[0]), dir("/own", "t", &[0])] };
        let response = ask!(world.query(2), AlterReplicaLogDirs, AlterReplicaLogDirsResponse, twice);
        assert_eq!((response.results.len(), response.results[0].partitions[0].error_code), (1, 0));
    }
}
