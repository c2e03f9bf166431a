//! What the machines of a shard see of the node and of the cluster. It is the same for all of them, and replaced as a
//! whole when the controller publishes an image.

use super::context::Apis;
use super::node::Node;
use super::rules::TopicRules;
use crate::config::Config;
use crate::metadata::{Delta, Image, Leader, Topic};
use crate::types::{BrokerId, PartitionId, PartitionIndex, ShardId, Uuid};
use std::collections::HashMap;
use std::sync::Arc;

pub struct View {
    shard: ShardId,
    node: Arc<Node>,
    image: Image,
    /// The node's settings with the dynamic ones of the image.
    config: Arc<Config>,
    /// The rules of topics that were asked about, as the image and the settings have them.
    rules: HashMap<Uuid, Arc<TopicRules>>,
    /// The largest batch that fits into the journal.
    batch_bytes_max: usize,
    disk_bytes: (u64, u64),
    apis: Apis,
}

impl View {
    pub fn new(
        shard: ShardId,
        node: Arc<Node>,
        image: Image,
        config: Arc<Config>,
        batch_bytes_max: usize,
        apis: Apis,
    ) -> View {
        assert!(shard.0 < node.shards);
        View { shard, node, image, config, rules: HashMap::new(), batch_bytes_max, disk_bytes: (0, 0), apis }
    }

    pub fn shard(&self) -> ShardId {
        self.shard
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn apis(&self) -> Apis {
        self.apis
    }

    /// Bytes of the data directory's file system: all, and free.
    pub fn disk_bytes(&self) -> (u64, u64) {
        self.disk_bytes
    }

    pub fn set_disk_bytes(&mut self, total: u64, free: u64) {
        self.disk_bytes = (total, free);
    }

    /// The shard that owns a partition.
    pub fn owner(&self, partition: PartitionId) -> ShardId {
        partition.shard(self.node.shards)
    }

    /// The partition's leader, if it is this broker: whoever answers for a partition asks here.
    pub fn leader(&self, partition: PartitionId) -> Option<Leader> {
        self.image.leader(partition).filter(|leader| leader.broker == self.node.id)
    }

    /// Whether another broker has a replica of the partition.
    pub fn follows(&self, partition: PartitionId, broker: BrokerId) -> bool {
        let placement = self.image.topic_by_id(partition.topic).and_then(|topic| topic.partition(partition.index));
        broker != self.node.id && placement.is_some_and(|placement| placement.replicas.contains(&broker))
    }

    /// The topic's partition of this index, if it is there and this broker leads it.
    pub fn led(&self, topic: &Topic, index: PartitionIndex) -> Option<PartitionId> {
        let partition = PartitionId { topic: topic.id, index };
        self.leader(partition).map(|_| partition)
    }

    pub fn rules_of(&mut self, topic: &Arc<Topic>) -> Arc<TopicRules> {
        match self.rules.get(&topic.id) {
            Some(rules) if Arc::ptr_eq(&rules.topic, topic) => rules.clone(),
            _ => {
                let rules = Arc::new(TopicRules::new(topic, &self.config, self.batch_bytes_max));
                self.rules.insert(topic.id, rules.clone());
                rules
            }
        }
    }

    /// Takes over the next image. Returns whether the settings of all topics may have changed by it.
    pub fn publish(&mut self, image: Image, delta: &Delta) -> bool {
        assert!(image.index() >= self.image.index(), "images come in order");
        self.image = image;
        for topic in delta.topics_deleted.keys() {
            self.rules.remove(topic);
        }
        let brokers = &delta.broker_settings;
        let all = brokers.contains(&self.node.id) || brokers.contains(&BrokerId::ALL);
        if all {
            let (config, left_out) = with_dynamic(&self.node, &self.image);
            for setting in left_out {
                tracing::warn!("dynamic setting {setting} is left out: its value is not valid with the others");
            }
            self.config = config;
            self.rules.clear();
        }
        all
    }
}

/// The node's settings with those that were set while it runs, and the names of those that are left out because a newer check
/// refuses them.
fn with_dynamic(node: &Node, image: &Image) -> (Arc<Config>, Vec<String>) {
    let own = image.broker_settings(node.id);
    let all = image.broker_settings(BrokerId::ALL);
    if own.is_none() && all.is_none() {
        return (node.config.clone(), Vec::new());
    }
    let none = Default::default();
    let (config, left_out) = node.config.with_dynamic(own.unwrap_or(&none), all.unwrap_or(&none));
    (Arc::new(config), left_out)
}

/// The node's settings with those that were set while it runs.
pub fn dynamic_config(node: &Node, image: &Image) -> Arc<Config> {
    with_dynamic(node, image).0
}
