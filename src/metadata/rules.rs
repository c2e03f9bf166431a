//! What Kafka allows: names, counts and placement of topics. The messages are Kafka's (`Topic`,
//! `ReplicationControlManager`, `StripedReplicaPlacer`, `ControllerApis`).

use super::image::Image;
use super::record::{PartitionRange, Placement, Settings};
use super::rejection::Rejection;
use super::topic::Topic;
use crate::types::{BrokerId, PartitionIndex, Uuid};
use std::sync::Arc;

/// Longest topic name, in characters.
const NAME_CHARS_MAX: usize = 249;
/// Partitions that one request may add, all its topics together. Kafka: `MAX_PARTITIONS_PER_BATCH`.
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Partitions of all topics together.
pub const PARTITIONS_MAX: usize = 200_000;

/// What stands for -1 in a request: `num.partitions` and `default.replication.factor`.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// `num.partitions`
    pub partitions: i32,
    /// `default.replication.factor`
    pub replication_factor: i16,
}

/// Says whether a topic or broker may have a setting with this value; the error is a message for people.
pub type SettingCheck<'a> = &'a dyn Fn(&str, Option<&str>) -> Result<(), String>;

/// Says whether a topic of this name may have so many partitions, and so many replicas of each; the error is a message for
/// people, with POLICY_VIOLATION.
pub type PolicyCheck<'a> = &'a dyn Fn(&str, i32, i16) -> Result<(), String>;

/// On which terms topics are made.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// What stands for a count of -1.
    pub defaults: Defaults,
    /// Says whether a topic may have a setting.
    pub setting: SettingCheck<'a>,
    /// Says whether a topic may have such a name and such counts.
    pub policy: PolicyCheck<'a>,
}

/// The brokers that a request wants for one partition; the first becomes leader.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The partition's index.
    pub index: PartitionIndex,
    /// Ids of its replicas.
    pub brokers: Vec<BrokerId>,
}

/// A topic as CreateTopics (API 19) asks for it. With `assignments` both counts are -1.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// The topic's name, as the request gives it.
    pub name: String,
    /// -1: the default.
    pub partitions: i32,
    /// -1: the default.
    pub replication_factor: i16,
    /// Where each partition is to be; empty: the controller places them.
    pub assignments: Vec<Assignment>,
    /// A key without a value is checked, and then left at its default.
    pub settings: Vec<(String, Option<String>)>,
}

impl TopicSpec {
    /// How many partitions the topic would have; 0 where the request makes no sense.
    pub(super) fn partitions_added(&self, defaults: Defaults) -> usize {
        match (self.assignments.len(), self.partitions) {
            (0, -1) => defaults.partitions.max(0) as usize,
            (0, partitions) => partitions.max(0) as usize,
            (assigned, _) => assigned,
        }
    }
}

/// A topic that was made, or with `validate_only` could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The topic's new id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each partition has.
    pub replication_factor: i16,
    /// The settings that were set.
    pub settings: Settings,
}

/// More partitions for a topic, as CreatePartitions (API 37) asks for them.
#[derive(Clone, Debug)]
pub struct PartitionsSpec {
    /// The topic's name.
    pub name: String,
    /// The number of partitions that the topic is to have.
    pub count: i32,
    /// The brokers of each new partition, in order; `None`: placed by the controller.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// By its name.
    Name(String),
    /// By its id.
    Id(Uuid),
}

/// A topic that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The id that it had.
    pub id: Uuid,
    /// The name that it had.
    pub name: Arc<str>,
    /// How many partitions it had.
    pub partitions: i32,
}

/// Kafka's rules for topic names.
pub fn check_name(name: &str) -> Result<(), Rejection> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_string(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.chars().count() > NAME_CHARS_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_CHARS_MAX}")
        }
        _ if !name.chars().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(Rejection::InvalidTopicName(format!("Topic name is invalid: {reason}")))
}

/// Whether `name` is legal and free.
pub fn check_name_free(image: &Image, name: &str) -> Result<(), Rejection> {
    check_name(name)?;
    if image.topic(name).is_some() {
        return Err(Rejection::TopicExists(name.into()));
    }
    match image.topic_colliding(name) {
        Some(other) => {
            Err(Rejection::InvalidTopicName(format!("Topic '{name}' collides with existing topic: {other}")))
        }
        None => Ok(()),
    }
}

/// Whether one request may add so many partitions, all its topics together.
pub fn check_request_partitions(added: usize) -> Result<(), Rejection> {
    match added > REQUEST_PARTITIONS_MAX {
        true => Err(Rejection::PolicyViolation("Excessively large number of partitions per request.".into())),
        false => Ok(()),
    }
}

/// Whether the cluster has room for so many more partitions.
pub fn check_room(image: &Image, added: usize) -> Result<(), Rejection> {
    let total = image.partition_total();
    match total + added > PARTITIONS_MAX {
        true => Err(Rejection::PolicyViolation(format!(
            "The cluster has {total} partitions and may have {PARTITIONS_MAX}; {added} more are too many."
        ))),
        false => Ok(()),
    }
}

/// Where the partitions of a new topic go.
pub fn place_topic(
    image: &Image,
    spec: &TopicSpec,
    id: Uuid,
    defaults: Defaults,
) -> Result<Vec<PartitionRange>, Rejection> {
    if !spec.assignments.is_empty() {
        let conflict = match (spec.partitions, spec.replication_factor) {
            (_, factor) if factor != -1 => "replication factor",
            (partitions, _) if partitions != -1 => "numPartitions",
            _ => return assign_topic(image, &spec.assignments),
        };
        return Err(Rejection::InvalidRequest(format!(
            "A manual partition assignment was specified, but {conflict} was not set to -1."
        )));
    }
    let partitions = if spec.partitions == -1 { defaults.partitions } else { spec.partitions };
    let factor = if spec.replication_factor == -1 { defaults.replication_factor } else { spec.replication_factor };
    if factor <= 0 {
        return Err(Rejection::InvalidReplicationFactor(
            "Replication factor must be larger than 0, or -1 to use the default value.".into(),
        ));
    }
    if partitions <= 0 {
        return Err(Rejection::InvalidPartitions(
            "Number of partitions was set to an invalid non-positive value.".into(),
        ));
    }
    place(image, id, 0, partitions, factor as usize)
}

/// The brokers' own topics keep their partitions.
fn check_growable(topic: &Topic) -> Result<(), Rejection> {
    match topic.is_internal() {
        true => Err(Rejection::InvalidRequest(format!(
            "The number of partitions of {} decides which of them a group belongs to, so it cannot change.",
            topic.name
        ))),
        false => Ok(()),
    }
}

/// Where the partitions go that a topic gets in addition.
pub fn place_added(image: &Image, topic: &Topic, spec: &PartitionsSpec) -> Result<Vec<PartitionRange>, Rejection> {
    check_growable(topic)?;
    let (count, wanted) = (topic.partition_count(), spec.count);
    if wanted == count {
        return Err(Rejection::InvalidPartitions(format!("Topic already has {count} partition(s).")));
    }
    if wanted < count {
        return Err(Rejection::InvalidPartitions(format!(
            "The topic {} currently has {count} partition(s); {wanted} would not be an increase.",
            topic.name
        )));
    }
    let factor = topic.replication_factor() as usize;
    let Some(assignments) = &spec.assignments else {
        return place(image, topic.id, count, wanted, factor);
    };
    let added = (wanted - count) as usize;
    if assignments.len() != added {
        return Err(Rejection::InvalidReplicaAssignment(format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    assign(image, count, Some(factor), assignments.iter().map(|brokers| &brokers[..]))
}

/// The partitions `start` to `end`: round robin over the brokers, from one that depends on the topic.
fn place(
    image: &Image,
    id: Uuid,
    start: PartitionIndex,
    end: PartitionIndex,
    factor: usize,
) -> Result<Vec<PartitionRange>, Rejection> {
    assert!(0 <= start && start < end && factor > 0);
    let brokers: Vec<BrokerId> = image.brokers().map(|(id, _)| id).collect();
    if factor > brokers.len() {
        let count = brokers.len();
        return Err(Rejection::InvalidReplicationFactor(format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only {count} broker(s) are registered."
        )));
    }
    if let [broker] = brokers[..] {
        return Ok(vec![PartitionRange { start, end, placement: Placement::new(&[broker]) }]);
    }
    let first = usize::from(id.0[0]);
    let replicas = |index: PartitionIndex| -> Vec<BrokerId> {
        (0..factor).map(|i| brokers[(first + index as usize + i) % brokers.len()]).collect()
    };
    Ok((start..end)
        .map(|index| PartitionRange { start: index, end: index + 1, placement: Placement::new(&replicas(index)) })
        .collect())
}

/// The partitions of a new topic as the request wants them, in any order.
fn assign_topic(image: &Image, assignments: &[Assignment]) -> Result<Vec<PartitionRange>, Rejection> {
    let mut ordered: Vec<&Assignment> = assignments.iter().collect();
    ordered.sort_by_key(|assignment| assignment.index);
    if let Some(pair) = ordered.windows(2).find(|pair| pair[0].index == pair[1].index) {
        return Err(Rejection::InvalidReplicaAssignment(format!(
            "Found multiple manual partition assignments for partition {}",
            pair[0].index
        )));
    }
    if ordered.iter().zip(0..).any(|(assignment, index)| assignment.index != index) {
        return Err(Rejection::InvalidReplicaAssignment(
            "partitions should be a consecutive 0-based integer sequence".into(),
        ));
    }
    assign(image, 0, None, ordered.iter().map(|assignment| &assignment.brokers[..]))
}

/// The partitions from `start` on, each with the replicas that a request wants. `factor` is the number of replicas that
/// the partitions before them have.
fn assign<'a>(
    image: &Image,
    start: PartitionIndex,
    mut factor: Option<usize>,
    replicas: impl Iterator<Item = &'a [BrokerId]>,
) -> Result<Vec<PartitionRange>, Rejection> {
    let mut ranges: Vec<PartitionRange> = Vec::new();
    for (brokers, index) in replicas.zip(start..) {
        check_assignment(image, brokers, factor).map_err(Rejection::InvalidReplicaAssignment)?;
        factor = Some(brokers.len());
        match ranges.last_mut() {
            Some(last) if *last.placement.replicas == *brokers => last.end = index + 1,
            _ => ranges.push(PartitionRange { start: index, end: index + 1, placement: Placement::new(brokers) }),
        }
    }
    Ok(ranges)
}

/// Whether a partition may have its replicas on these brokers; if `factor` is given, it must have as many. The error
/// text is for the client.
pub fn check_assignment(image: &Image, brokers: &[BrokerId], factor: Option<usize>) -> Result<(), String> {
    const WHAT: &str = "The manual partition assignment includes";
    if brokers.is_empty() {
        return Err(format!("{WHAT} an empty replica list."));
    }
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("{WHAT} the broker {} more than once.", pair[0]));
    }
    if let Some(id) = sorted.iter().find(|&&id| image.broker(id).is_none()) {
        return Err(format!("{WHAT} broker {id}, but no such broker is registered."));
    }
    match factor {
        Some(factor) if factor != brokers.len() => Err(format!(
            "{WHAT} a partition with {} replica(s), but this is not consistent with previous partitions, which have \
             {factor} replica(s).",
            brokers.len()
        )),
        _ => Ok(()),
    }
}
