//! What the cluster is, by the answers to Metadata requests, and when it is asked again.

use super::address::host_port;
use super::patience::Patience;
use crate::types::{BrokerId, Epoch, PartitionIndex, Time, Uuid};
use crate::wire::error::ErrorCode;
use crate::wire::messages::metadata_request::MetadataRequestTopic;
use crate::wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::messages::{MetadataRequest, MetadataResponse};
use std::collections::BTreeMap;

/// First version of Metadata in which topics can be asked for without making them.
pub const VERSION_WITHOUT_CREATION: i16 = 4;

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its id.
    pub id: BrokerId,
    /// The host that clients connect to.
    pub host: String,
    /// The port that clients connect to.
    pub port: i32,
    /// Where it stands.
    pub rack: Option<String>,
}

/// A partition and who has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its number in its topic.
    pub index: PartitionIndex,
    /// `None` while there is none.
    pub leader: Option<BrokerId>,
    /// Counts its leaders.
    pub leader_epoch: Epoch,
    /// Brokers that are to have it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those that have all of it.
    pub in_sync: Vec<BrokerId>,
    /// Those that cannot serve it.
    pub offline: Vec<BrokerId>,
}

/// A topic and its partitions, or why it cannot be described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Zero where the broker is older than Kafka 2.8.
    pub id: Uuid,
    /// Whether brokers keep their own state in it.
    pub is_internal: bool,
    /// Why there is no more than the name; 0 otherwise.
    pub error_code: i16,
    /// In order.
    pub partitions: Vec<Partition>,
}

/// What one answer says of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Its id.
    pub id: Option<String>,
    /// The broker that decides, or one that passes on what is to be decided.
    pub controller: BrokerId,
    /// In the order of their ids.
    pub nodes: Vec<Node>,
    /// In the order of their names.
    pub topics: Vec<Topic>,
}

impl Node {
    /// `HOST:PORT`, to connect to.
    pub fn address(&self) -> String {
        host_port(&self.host, self.port)
    }
}

impl Topic {
    fn of(topic: &MetadataResponseTopic<'_>) -> Topic {
        let partition = |partition: &MetadataResponsePartition| Partition {
            index: partition.partition_index,
            leader: Some(BrokerId(partition.leader_id)).filter(|&id| id > BrokerId::NONE),
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

    /// The broker that leads a partition, or Kafka's code for why none can be asked.
    pub fn leader(&self, index: PartitionIndex) -> Result<BrokerId, i16> {
        let Some(partition) = self.partitions.iter().find(|partition| partition.index == index) else {
            let unknown = ErrorCode::UnknownTopicOrPartition.code();
            return Err(if self.error_code == 0 { unknown } else { self.error_code });
        };
        partition.leader.ok_or(ErrorCode::LeaderNotAvailable.code())
    }

    /// The first `wanted` partitions, or all, by the brokers that lead them; a code where not all can be used yet.
    pub fn layout(&self, wanted: Option<usize>) -> Result<BTreeMap<BrokerId, Vec<PartitionIndex>>, i16> {
        let mut leaders: BTreeMap<BrokerId, Vec<PartitionIndex>> = BTreeMap::new();
        for partition in self.partitions.iter().take(wanted.unwrap_or(usize::MAX)) {
            leaders.entry(self.leader(partition.index)?).or_default().push(partition.index);
        }
        Ok(leaders)
    }
}

/// Asks for topics by their names, for all of them with `None`. With `create` the broker makes those that are missing, if its
/// settings say so.
pub fn request<'a>(topics: Option<&[&'a str]>, create: bool) -> MetadataRequest<'a> {
    let topic = |name: &&'a str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let topics = topics.map(|names| names.iter().map(topic).collect());
    MetadataRequest { topics, allow_auto_topic_creation: create, ..Default::default() }
}

impl Cluster {
    /// What an answer says, or its code.
    pub fn of(answer: &MetadataResponse<'_>) -> Result<Cluster, i16> {
        if answer.error_code != 0 {
            return Err(answer.error_code);
        }
        let node = |broker: &MetadataResponseBroker<'_>| Node {
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

    /// A topic that is there, or the code that says why it is not.
    pub fn topic(&self, name: &str) -> Result<&Topic, i16> {
        match self.topics.iter().find(|topic| topic.name == name) {
            Some(topic) if topic.error_code == 0 => Ok(topic),
            found => Err(found.map_or(ErrorCode::UnknownTopicOrPartition.code(), |topic| topic.error_code)),
        }
    }

    /// The broker that leads a partition, or the code that says why none can be asked.
    pub fn leader(&self, topic: &str, index: PartitionIndex) -> Result<BrokerId, i16> {
        self.topic(topic)?.leader(index)
    }

    /// A broker by its id.
    pub fn node(&self, id: BrokerId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// The cluster as it was last told, and when it is to be asked again.
#[derive(Clone, Debug)]
pub struct Metadata {
    cluster: Cluster,
    patience: Patience,
    refresh_at: Option<Time>,
}

impl Metadata {
    /// What is known, and the pauses between two questions.
    pub fn new(cluster: Cluster, patience: Patience) -> Metadata {
        Metadata { cluster, patience, refresh_at: None }
    }

    /// As it was told last.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// An answer said that somebody else leads, or nobody does (`Meaning::Moved`): the cluster is to be asked again after a
    /// pause. `None` if that has gone on for too long.
    pub fn moved(&mut self, now: Time) -> Option<Time> {
        if self.refresh_at.is_none() {
            self.refresh_at = Some(self.patience.failed(now)?);
        }
        self.refresh_at
    }

    /// When the cluster is to be asked again; `None` while nothing speaks against what is known.
    pub fn refresh_at(&self) -> Option<Time> {
        self.refresh_at
    }

    /// The cluster has been asked again.
    pub fn refreshed(&mut self, cluster: Cluster) {
        self.cluster = cluster;
        self.refresh_at = None;
    }

    /// A leader did what was asked: what is known is right.
    pub fn confirmed(&mut self) {
        if self.refresh_at.is_none() {
            self.patience.renew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(leaders: &[i32]) -> MetadataResponse<'static> {
        let partition = |(index, leader_id): (usize, &i32)| MetadataResponsePartition {
            partition_index: index as PartitionIndex,
            leader_id: *leader_id,
            ..Default::default()
        };
        // Answers come in any order.
        let partitions = leaders.iter().enumerate().map(partition).rev().collect();
        let topic = MetadataResponseTopic { name: Some("t".into()), partitions, ..Default::default() };
        let gone = MetadataResponseTopic { name: Some("a".into()), error_code: 3, ..Default::default() };
        let broker = |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 1, ..Default::default() };
        MetadataResponse { brokers: vec![broker(2), broker(1)], topics: vec![topic, gone], ..Default::default() }
    }

    #[test]
    fn partitions_are_found_with_their_leaders() {
        let cluster = Cluster::of(&answer(&[1, 2, 1, -1])).unwrap();
        let topic = cluster.topic("t").unwrap();
        assert_eq!(topic.layout(Some(3)), Ok(BTreeMap::from([(BrokerId(1), vec![0, 2]), (BrokerId(2), vec![1])])));
        assert_eq!(topic.layout(None), Err(ErrorCode::LeaderNotAvailable.code()));
        assert_eq!((cluster.leader("t", 1), cluster.leader("t", 9)), (Ok(BrokerId(2)), Err(3)));
        assert_eq!((cluster.leader("a", 0), cluster.topic("none").err()), (Err(3), Some(3)));
        assert_eq!((cluster.node(BrokerId(2)).unwrap().address().as_str(), cluster.node(BrokerId(3))), ("h:1", None));
        assert_eq!(Cluster::of(&MetadataResponse { error_code: 41, ..Default::default() }), Err(41));
    }

    #[test]
    fn the_cluster_is_asked_again_after_a_pause_that_grows() {
        let cluster = Cluster::of(&answer(&[1])).unwrap();
        let at = |ms| Time(0).after_ms(ms);
        let mut metadata = Metadata::new(cluster.clone(), Patience::new(100, 10..=40));
        assert_eq!(metadata.refresh_at(), None);
        assert_eq!(metadata.moved(at(0)), Some(at(10)));
        assert_eq!(metadata.moved(at(5)), Some(at(10)), "one question answers for all partitions");
        metadata.confirmed();
        metadata.refreshed(cluster.clone());
        assert_eq!(metadata.moved(at(11)), Some(at(31)), "others worked meanwhile, this did not");
        metadata.refreshed(cluster.clone());
        metadata.confirmed();
        assert_eq!(metadata.moved(at(40)), Some(at(50)));
        metadata.refreshed(cluster);
        assert_eq!(metadata.moved(at(140)), None);
    }
}
