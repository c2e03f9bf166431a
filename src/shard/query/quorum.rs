//! DescribeQuorum (API 55, KIP-595): who keeps the metadata. In a cluster of one that is this node alone.

use super::{partitions_once, reply};
use crate::metadata::Image;
use crate::shard::context::Context;
use crate::shard::node::Node;
use crate::types::{TimestampMs, Uuid};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData as WantedPartition};
use crate::wire::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use bytes::Bytes;

/// The metadata log's name as a topic, and its only partition.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_PARTITION: i32 = 0;

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, .. } = context;
    // When the only voter was last in step with itself.
    let now_ms = context.now.wall_ms;
    let request = DescribeQuorumRequest::decode(&mut Reader::new(body), head.version)?;
    let response = match is_metadata(&request) {
        true => describe(node, image, now_ms),
        false => unknown(&request),
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

fn is_metadata(request: &DescribeQuorumRequest<'_>) -> bool {
    match &request.topics[..] {
        [topic] if topic.topic_name == METADATA_TOPIC => {
            topic.partitions.len() == 1 && topic.partitions[0].partition_index == METADATA_PARTITION
        }
        _ => false,
    }
}

fn describe<'a>(node: &'a Node, image: &Image, now_ms: TimestampMs) -> DescribeQuorumResponse<'a> {
    // Records count from 1, Kafka's offsets from 0: so the last record's index is the end of the log. An image that a shard
    // has is durable, and all of it.
    let end = i64::try_from(image.index()).expect("indexes count records");
    let voter = ReplicaState {
        replica_id: node.id.0,
        // The directory has no id of its own.
        replica_directory_id: Uuid::ZERO,
        log_end_offset: end,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
    };
    let partition = PartitionData {
        partition_index: METADATA_PARTITION,
        error_message: None,
        leader_id: node.id.0,
        leader_epoch: i32::try_from(image.term()).unwrap_or(i32::MAX),
        high_watermark: end,
        current_voters: vec![voter],
        ..Default::default()
    };
    let listeners = node.config.listeners.iter().zip(&node.advertised).map(|(listener, (host, port))| Listener {
        name: (&*listener.name).into(),
        host: (&**host).into(),
        port: *port,
    });
    DescribeQuorumResponse {
        error_message: None,
        topics: vec![TopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition] }],
        nodes: vec![QuorumNode { node_id: node.id.0, listeners: listeners.collect() }],
        ..Default::default()
    }
}

/// Every partition that is asked for, each once, as one that is not there.
fn unknown(request: &DescribeQuorumRequest<'_>) -> DescribeQuorumResponse<'static> {
    let topics = request.topics.iter().map(|topic| (&*topic.topic_name, &topic.partitions[..]));
    let topic = |(name, partitions): (&str, Vec<&WantedPartition>)| TopicData {
        topic_name: name.to_string().into(),
        partitions: partitions
            .into_iter()
            .map(|wanted| PartitionData {
                partition_index: wanted.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some("This server does not host this topic-partition.".into()),
                ..Default::default()
            })
            .collect(),
    };
    DescribeQuorumResponse {
        error_message: None,
        topics: partitions_once(topics, |wanted| wanted.partition_index).into_iter().map(topic).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{NOW, World};
    use crate::types::Now;
    use crate::wire::messages::ApiKey;
    use crate::wire::messages::describe_quorum_request::PartitionData as WantedPartition;
    use crate::wire::messages::describe_quorum_request::TopicData as WantedTopic;

    fn request(topics: &[(&'static str, &[i32])]) -> DescribeQuorumRequest<'static> {
        let topic = |&(name, partitions): &(&'static str, &[i32])| WantedTopic {
            topic_name: name.into(),
            partitions: partitions.iter().map(|&partition_index| WantedPartition { partition_index }).collect(),
        };
        DescribeQuorumRequest { topics: topics.iter().map(topic).collect() }
    }

    fn ask_quorum(
        world: &World,
        version: i16,
        now_ms: i64,
        request: DescribeQuorumRequest<'_>,
    ) -> DescribeQuorumResponse<'static> {
        let now = Now { wall_ms: now_ms, ..NOW };
        let body = world.query_at(now, ApiKey::DescribeQuorum, version, |w| request.encode(w, version));
        let mut reader = Reader::new(body);
        let response = DescribeQuorumResponse::decode(&mut reader, version).expect("a response");
        assert_eq!(reader.remaining(), 0);
        response
    }

    #[test]
    fn the_node_is_the_only_voter() {
        let mut world = World::new(&[]);
        world.topic("t", 1, &[]);
        for version in 0..=2 {
            let response = ask_quorum(&world, version, 77, request(&[(METADATA_TOPIC, &[0])]));
            assert_eq!((response.error_code, response.topics.len()), (0, 1));
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.error_code, partition.leader_id, partition.leader_epoch), (0, 1, 1));
            // The term that began, the broker's registration and the topic.
            assert_eq!((partition.high_watermark, partition.observers.len()), (3, 0));
            let time = if version == 0 { -1 } else { 77 };
            let voter = ReplicaState {
                replica_id: 1,
                log_end_offset: 3,
                last_fetch_timestamp: time,
                last_caught_up_timestamp: time,
                ..Default::default()
            };
            assert_eq!(partition.current_voters, [voter]);
            let listener = Listener { name: "PLAINTEXT".into(), host: "broker.example".into(), port: 19092 };
            let nodes = vec![QuorumNode { node_id: 1, listeners: vec![listener] }];
            assert_eq!(response.nodes, if version == 2 { nodes } else { vec![] });
        }
    }

    #[test]
    fn other_topics_have_no_quorum() {
        let world = World::new(&[]);
        for topics in [&[("t", &[0][..])][..], &[(METADATA_TOPIC, &[1])], &[(METADATA_TOPIC, &[0]), ("t", &[0, 1])]] {
            let response = ask_quorum(&world, 2, 77, request(topics));
            assert_eq!((response.error_code, response.topics.len()), (0, topics.len()));
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                assert_eq!((partition.error_code, partition.current_voters.len()), (3, 0));
            }
        }
        assert!(ask_quorum(&world, 2, 77, request(&[])).topics.is_empty());
    }
}
