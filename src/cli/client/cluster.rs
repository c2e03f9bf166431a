//! What the cluster is, by the answer to a Metadata request.

use crate::cli::failure::{Failure, Result};
use crate::types::{BrokerId, Epoch, PartitionIndex, Uuid};
use crate::wire::error::ErrorCode;
use crate::wire::messages::MetadataResponse;
use crate::wire::messages::metadata_response::MetadataResponseTopic;

/// Kafka's number for a leader that is not there.
pub const NO_LEADER: BrokerId = BrokerId::NONE;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: BrokerId,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    pub index: PartitionIndex,
    /// `None` while there is none.
    pub leader: Option<BrokerId>,
    pub leader_epoch: Epoch,
    pub replicas: Vec<BrokerId>,
    pub in_sync: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: String,
    /// Zero where the broker is older than Kafka 2.8.
    pub id: Uuid,
    pub is_internal: bool,
    /// Why there is no more than the name; 0 otherwise.
    pub error_code: i16,
    /// In order.
    pub partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    pub id: Option<String>,
    pub controller: BrokerId,
    /// In the order of their ids.
    pub nodes: Vec<Node>,
    /// In the order of their names.
    pub topics: Vec<Topic>,
}

impl Node {
    /// `HOST:PORT`, to connect to.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Topic {
    fn of(topic: &MetadataResponseTopic<'_>) -> Topic {
        let partition = |partition: &crate::wire::messages::metadata_response::MetadataResponsePartition| Partition {
            index: partition.partition_index,
            leader: Some(BrokerId(partition.leader_id)).filter(|&id| id > NO_LEADER),
            leader_epoch: Epoch(partition.leader_epoch),
            replicas: BrokerId::from_numbers(&partition.replica_nodes),
            in_sync: BrokerId::from_numbers(&partition.isr_nodes),
            offline: BrokerId::from_numbers(&partition.offline_replicas),
        };
        let mut partitions: Vec<Partition> = topic.partitions.iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        Topic {
            name: topic.name.as_deref().unwrap_or_default().to_string(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            error_code: topic.error_code,
            partitions,
        }
    }

    /// The broker that leads a partition, or why none can be asked.
    pub fn leader(&self, index: PartitionIndex) -> Result<BrokerId> {
        let what = || format!("partition {index} of topic {}", self.name);
        let Some(partition) = self.partitions.iter().find(|partition| partition.index == index) else {
            let unknown =
                if self.error_code == 0 { ErrorCode::UnknownTopicOrPartition.code() } else { self.error_code };
            return Err(Failure::Refused { what: what(), code: unknown, message: None });
        };
        let none = || Failure::Refused { what: what(), code: ErrorCode::LeaderNotAvailable.code(), message: None };
        partition.leader.ok_or_else(none)
    }
}

impl Cluster {
    pub(super) fn of(answer: &MetadataResponse<'_>) -> Result<Cluster> {
        Failure::check("Metadata", answer.error_code, None)?;
        let node = |broker: &crate::wire::messages::metadata_response::MetadataResponseBroker<'_>| Node {
            id: BrokerId(broker.node_id),
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_deref().map(str::to_string),
        };
        let mut nodes: Vec<Node> = answer.brokers.iter().map(node).collect();
        nodes.sort_by_key(|node| node.id);
        let mut topics: Vec<Topic> = answer.topics.iter().map(Topic::of).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let id = answer.cluster_id.as_deref().map(str::to_string);
        Ok(Cluster { id, controller: BrokerId(answer.controller_id), nodes, topics })
    }

    /// A topic that is there, or the broker's reason why it is not.
    pub fn topic(&self, name: &str) -> Result<&Topic> {
        let found = self.topics.iter().find(|topic| topic.name == name);
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |topic| topic.error_code);
        Failure::check(format_args!("topic {name}"), code, None)?;
        found.ok_or_else(|| Failure::Other(format!("there is no topic {name}")))
    }
}
