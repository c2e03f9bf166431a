//! DescribeTopicPartitions (API 75, KIP-966): topics in pages.

use super::cluster::Endpoints;
use super::metadata::absent_error;
use super::{TOPIC_OPERATIONS, reply};
use crate::metadata::{Topic, is_internal};
use crate::shard::context::Context;
use crate::types::{BrokerId, PartitionIndex};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::error::ErrorCode;
use crate::wire::frame::Head;
use crate::wire::messages::DescribeTopicPartitionsRequest;
use crate::wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as TopicPage,
};
use bytes::Bytes;
use std::collections::BTreeSet;

pub fn answer(context: &Context<'_>, head: &Head<'_>, body: &[u8]) -> Result<Vec<Bytes>, DecodeError> {
    let &Context { node, image, listener, .. } = context;
    let request = DescribeTopicPartitionsRequest::decode(&mut Reader::new(body), head.version)?;
    let (first, start) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, cursor.partition_index),
        None => ("", 0),
    };
    let names: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
    let cursor_fits = names.is_empty() || request.cursor.is_none() || names.contains(first);
    let response = if start < 0 || !cursor_fits {
        let refuse = |name: &&'_ str| topic_without_partitions(name.to_string(), ErrorCode::InvalidRequest);
        DescribeTopicPartitionsResponse { topics: names.iter().map(refuse).collect(), ..Default::default() }
    } else {
        let limit_max = context.config.describe_partitions_max;
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
        self.response.next_cursor = Some(Cursor { topic_name: name.to_string().into(), partition_index });
        false
    }

    fn partition(&self, topic: &Topic, index: PartitionIndex) -> Partition {
        let placement = topic.partition(index).expect("the index is below the count");
        let (error, leader) = self.endpoints.leader(placement);
        Partition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader.0,
            leader_epoch: placement.leader_epoch.0,
            replica_nodes: BrokerId::numbers(&placement.replicas),
            isr_nodes: BrokerId::numbers(&placement.isr),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::query::fixture::{World, ask};
    use crate::wire::messages::{describe_topic_partitions_request, describe_topic_partitions_request::TopicRequest};

    fn request(
        names: &[&'static str],
        limit: i32,
        cursor: Option<(&'static str, i32)>,
    ) -> DescribeTopicPartitionsRequest<'static> {
        DescribeTopicPartitionsRequest {
            topics: names.iter().map(|&name| TopicRequest { name: name.into() }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition_index)| describe_topic_partitions_request::Cursor {
                topic_name: name.into(),
                partition_index,
            }),
        }
    }

    /// The answer in short: `ERROR NAME [PARTITIONS]` of each topic, and the next cursor.
    fn page(world: &World, request: DescribeTopicPartitionsRequest<'_>) -> String {
        let response = ask!(world.query(0), DescribeTopicPartitions, DescribeTopicPartitionsResponse, request);
        let mut lines = Vec::new();
        for topic in &response.topics {
            let partitions: Vec<i32> = topic.partitions.iter().map(|p| p.partition_index).collect();
            lines.push(format!("{} {} {partitions:?}", topic.error_code, topic.name.as_deref().expect("a name")));
        }
        if let Some(cursor) = &response.next_cursor {
            lines.push(format!("next {} {}", cursor.topic_name, cursor.partition_index));
        }
        lines.join(", ")
    }

    fn world(settings: &[(&str, &str)]) -> World {
        let mut world = World::new(settings);
        for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
            world.topic(name, partitions, &[]);
        }
        world
    }

    #[test]
    fn pages_follow_each_other() {
        let world = world(&[]);
        assert_eq!(page(&world, request(&[], 2000, None)), "0 a [0, 1], 0 b [0, 1, 2], 0 c [0]");
        assert_eq!(page(&world, request(&[], 3, None)), "0 a [0, 1], 0 b [0], next b 1");
        assert_eq!(page(&world, request(&[], 3, Some(("b", 1)))), "0 b [1, 2], 0 c [0]");
        assert_eq!(page(&world, request(&[], 2, None)), "0 a [0, 1], next b 0");
        // At least one partition, whatever the client says.
        assert_eq!(page(&world, request(&[], -4, None)), "0 a [0], next a 1");
        // A cursor may point at what is gone.
        assert_eq!(page(&world, request(&[], 9, Some(("aa", 5)))), "0 b [0, 1, 2], 0 c [0]");
        assert_eq!(page(&world, request(&[], 9, Some(("b", 7)))), "0 b [], 0 c [0]");
    }

    #[test]
    fn the_broker_limits_pages() {
        let world = world(&[("max.request.partition.size.limit", "1")]);
        assert_eq!(page(&world, request(&[], 2000, None)), "0 a [0], next a 1");
    }

    #[test]
    fn names_choose_and_faults_are_told_apart() {
        let world = world(&[]);
        let names = ["c", "no", "a", "c", "a/b"];
        assert_eq!(page(&world, request(&names, 9, None)), "0 a [0, 1], 17 a/b [], 0 c [0], 3 no []");
        assert_eq!(page(&world, request(&names, 9, Some(("c", 0)))), "0 c [0], 3 no []");
        assert_eq!(page(&world, request(&names, 2, None)), "0 a [0, 1], next a/b 0");
        assert_eq!(page(&world, request(&["a"], 9, Some(("b", 0)))), "42 a []");
        assert_eq!(page(&world, request(&["a"], 9, Some(("a", -1)))), "42 a []");
    }

    #[test]
    fn partitions_are_whole() {
        let world = world(&[]);
        let asked = request(&["a"], 1, None);
        let response = ask!(world.query(0), DescribeTopicPartitions, DescribeTopicPartitionsResponse, asked);
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        assert_eq!(response.topics[0].topic_id, crate::types::Uuid([1; 16]));
        let expected = Partition {
            leader_id: 1,
            leader_epoch: 0,
            replica_nodes: vec![1],
            isr_nodes: vec![1],
            eligible_leader_replicas: Some(vec![]),
            last_known_elr: Some(vec![]),
            ..Default::default()
        };
        assert_eq!(response.topics[0].partitions, [expected]);
    }
}
