//! DescribeTopicPartitions (API 75, KIP-966): topics in pages.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::cluster::Endpoints;
use super::metadata::absent_error;
use super::{TOPIC_OPERATIONS, config_effective, reply};
use crate::metadata::{Image, Topic, is_internal};
use crate::shard::node::Node;
use crate::types::PartitionIndex;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::DescribeTopicPartitionsRequest;
use crate::wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as TopicPage,
};

pub fn answer(
    node: &Node,
    image: &Image,
    listener: usize,
    head: &Head<'_>,
    body: &[u8],
) -> Result<Vec<Bytes>, DecodeError> {
    let request = DescribeTopicPartitionsRequest::decode(&mut Reader::new(body), head.version)?;
    let (first, start) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, cursor.partition_index),
        None => ("", 0),
    };
    let names: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    let cursor_fits = names.is_empty() || request.cursor.is_none() || names.contains(first);
    let response = if start < 0 || !cursor_fits {
        let refuse = |name: &&'_ str| topic_without_partitions(name.to_string(), ErrorCode::InvalidRequest);
        DescribeTopicPartitionsResponse {
            topics: names.iter().map(refuse).collect(),
            ..Default::default()
        }
    } else {
        let limit_max = config_effective(node, image).describe_partitions_max;
        let limit = u32::try_from(request.response_partition_limit).unwrap_or(0);
        let mut page = Page {
            endpoints: Endpoints::of(node, image, listener),
            room: limit.min(limit_max).max(1) as usize,
            response: DescribeTopicPartitionsResponse::default(),
        };
        let start_of = |name: &str| if name == first { start } else { 0 };
        if names.is_empty() {
            let mut topics = image.topics_from(first);
            topics.all(|topic| page.add(&topic.name, Some(topic), start_of(&topic.name)));
        } else {
            let mut names = names.range(first..);
            names.all(|name| page.add(name, image.topic(name).map(|topic| &**topic), start_of(name)));
        }
        page.response
    };
    Ok(reply(head, |w| response.encode(w, head.version)))
}

struct Page<'a> {
    endpoints: Endpoints<'a>,
    /// Partitions that still fit.
    room: usize,
    response: DescribeTopicPartitionsResponse<'a>,
}

impl Page<'_> {
    /// Adds a topic's partitions from `start` on, as far as they fit. Returns whether the next topic may follow.
    fn add(&mut self, name: &str, topic: Option<&Topic>, start: PartitionIndex) -> bool {
        assert!(start >= 0 && self.response.next_cursor.is_none());
        if self.room == 0 {
            return self.end(name, 0);
        }
        let Some(topic) = topic else {
            let absent = topic_without_partitions(name.to_string(), absent_error(name));
            self.response.topics.push(absent);
            return true;
        };
        let count = topic.partition_count();
        let end = (start as usize + self.room).min(count as usize) as PartitionIndex;
        let partitions: Vec<Partition> = (start..end).map(|index| self.partition(topic, index)).collect();
        self.room -= partitions.len();
        self.response.topics.push(TopicPage {
            topic_id: topic.id,
            partitions,
            ..topic_without_partitions(name.to_string(), ErrorCode::None)
        });
        end >= count || self.end(name, end)
    }

    fn end(&mut self, name: &str, partition_index: PartitionIndex) -> bool {
        self.response.next_cursor = Some(Cursor {
            topic_name: name.to_string().into(),
            partition_index,
        });
        false
    }

    fn partition(&self, topic: &Topic, index: PartitionIndex) -> Partition {
        let placement = topic.partition(index).expect("the index is below the count");
        let (error, leader) = self.endpoints.leader(placement);
        Partition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader,
            leader_epoch: placement.leader_epoch,
            replica_nodes: placement.replicas.to_vec(),
            isr_nodes: placement.isr.to_vec(),
            // Kafka's answer where nobody has left the in-sync replicas.
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: self.endpoints.offline(placement),
        }
    }
}

fn topic_without_partitions(name: String, error: ErrorCode) -> TopicPage<'static> {
    TopicPage {
        error_code: error.code(),
        is_internal: is_internal(&name),
        name: Some(name.into()),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    }
}
