//! Topics: made, described, enlarged and deleted.

use super::only;
use crate::cli::client::{Client, Cluster, Partition, Topic};
use crate::cli::failure::{Failure, Result};
use crate::types::{BrokerId, Uuid};
use crate::wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use crate::wire::messages::delete_topics_request::DeleteTopicState;
use crate::wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use crate::wire::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition;
use crate::wire::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
};
use std::collections::BTreeMap;

/// A number that leaves the choice to the broker.
pub const BROKERS_CHOICE: i32 = -1;
/// DeleteTopics since which topics are named in structs.
const DELETE_TOPICS_BY_STATE: i16 = 6;
/// Partitions in one answer to DescribeTopicPartitions, as Kafka's clients ask for.
const PARTITIONS_AT_A_TIME: i32 = 2000;

/// A topic that is to be.
#[derive(Clone, Default, Debug)]
pub struct NewTopic<'a> {
    pub name: &'a str,
    /// `BROKERS_CHOICE` for the broker's default.
    pub partitions: i32,
    pub replication_factor: i16,
    /// Brokers of each partition; then both numbers are `BROKERS_CHOICE`.
    pub assignment: &'a [Vec<BrokerId>],
    pub settings: &'a [(String, String)],
}

/// A topic that has been made; numbers are absent where the broker is older than Kafka 2.4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    pub id: Uuid,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

pub fn create(client: &mut Client, topic: &NewTopic<'_>, validate_only: bool) -> Result<Created> {
    let assignment = topic.assignment.iter().zip(0..).map(|(brokers, partition_index)| CreatableReplicaAssignment {
        partition_index,
        broker_ids: BrokerId::numbers(brokers),
    });
    let setting = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone().into(),
        value: Some(value.clone().into()),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.into(),
            num_partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: assignment.collect(),
            configs: topic.settings.iter().map(setting).collect(),
        }],
        timeout_ms: client.timeout_ms(),
        validate_only,
    };
    let answer = client.ask(&request)?;
    let made = only(&answer.topics, topic.name)?;
    Failure::check(format_args!("topic {}", topic.name), made.error_code, made.error_message.as_deref())?;
    Ok(Created {
        id: made.topic_id,
        partitions: Some(made.num_partitions).filter(|&partitions| partitions > 0),
        replication_factor: Some(made.replication_factor).filter(|&factor| factor > 0),
    })
}

/// Deletes topics; how it went for each.
pub fn delete(client: &mut Client, names: &[&str]) -> Result<Vec<(String, Result<()>)>> {
    let timeout_ms = client.timeout_ms();
    let link = client.any();
    let version = link.version(ApiKey::DeleteTopics)?;
    let mut request = DeleteTopicsRequest { timeout_ms, ..Default::default() };
    if version >= DELETE_TOPICS_BY_STATE {
        let state = |name: &&str| DeleteTopicState { name: Some((*name).to_string().into()), topic_id: Uuid::ZERO };
        request.topics = names.iter().map(state).collect();
    } else {
        request.topic_names = names.iter().map(|name| (*name).to_string().into()).collect();
    }
    let answer = link.ask_in(&request, version)?;
    let results = answer.responses.iter().map(|topic| {
        let name = topic.name.as_deref().unwrap_or_default().to_string();
        let result = Failure::check(format_args!("topic {name}"), topic.error_code, topic.error_message.as_deref());
        (name, result)
    });
    Ok(results.collect())
}

/// Enlarges a topic to `count` partitions; `assignment` has the brokers of each new one, or is empty.
pub fn enlarge(
    client: &mut Client,
    name: &str,
    count: i32,
    assignment: &[Vec<BrokerId>],
    validate_only: bool,
) -> Result<()> {
    let brokers = |brokers: &Vec<BrokerId>| CreatePartitionsAssignment { broker_ids: BrokerId::numbers(brokers) };
    let assignments = (!assignment.is_empty()).then(|| assignment.iter().map(brokers).collect());
    let topic = CreatePartitionsTopic { name: name.into(), count, assignments };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: client.timeout_ms(), validate_only };
    let answer = client.ask(&request)?;
    let result = only(&answer.results, name)?;
    Failure::check(format_args!("topic {name}"), result.error_code, result.error_message.as_deref())
}

/// Replicas of a partition that may lead it although they are not in sync (KIP-966).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Eligible {
    pub replicas: Option<Vec<BrokerId>>,
    pub last_known: Option<Vec<BrokerId>>,
}

/// Eligible replicas of each partition of `topics`, by topic and partition; empty where the broker does not say.
pub fn eligible(client: &mut Client, topics: &[&Topic]) -> Result<BTreeMap<(String, i32), Eligible>> {
    let mut found = BTreeMap::new();
    if !client.has(ApiKey::DescribeTopicPartitions, 0) || topics.is_empty() {
        return Ok(found);
    }
    let named = |topic: &&Topic| TopicRequest { name: topic.name.clone().into() };
    let mut request = DescribeTopicPartitionsRequest {
        topics: topics.iter().map(named).collect(),
        response_partition_limit: PARTITIONS_AT_A_TIME,
        cursor: None,
    };
    loop {
        let answer = client.ask(&request)?;
        for topic in &answer.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            let eligible = |partition: &DescribeTopicPartitionsResponsePartition| Eligible {
                replicas: partition.eligible_leader_replicas.as_deref().map(BrokerId::from_numbers),
                last_known: partition.last_known_elr.as_deref().map(BrokerId::from_numbers),
            };
            let partitions = topic.partitions.iter();
            found.extend(partitions.map(|each| ((name.to_string(), each.partition_index), eligible(each))));
        }
        let Some(next) = &answer.next_cursor else { return Ok(found) };
        let cursor = Cursor { topic_name: next.topic_name.to_string().into(), partition_index: next.partition_index };
        // A cursor that does not move would be asked for for ever.
        if request.cursor.as_ref() == Some(&cursor) {
            return Err(Failure::Other("the broker's list of partitions does not end".into()));
        }
        request.cursor = Some(cursor);
    }
}

/// What may be wrong with a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not all replicas are in sync.
    UnderReplicated,
    /// No leader, or one that is not there.
    Unavailable,
    /// Fewer replicas in sync than `min.insync.replicas`.
    UnderMinIsr,
    /// Just as many.
    AtMinIsr,
}

impl Fault {
    pub fn is_of(self, partition: &Partition, cluster: &Cluster, in_sync_min: usize) -> bool {
        let in_sync = partition.in_sync.len();
        match self {
            Fault::UnderReplicated => in_sync < partition.replicas.len(),
            Fault::Unavailable => {
                !partition.leader.is_some_and(|leader| cluster.nodes.iter().any(|node| node.id == leader))
            }
            Fault::UnderMinIsr => partition.leader.is_none() || in_sync < in_sync_min,
            Fault::AtMinIsr => in_sync == in_sync_min,
        }
    }
}
