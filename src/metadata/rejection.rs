//! Why the controller does not do what it was asked to.

use std::fmt;

/// One variant for each Kafka error code that the answer can carry; the text goes into its error message, in Kafka's
/// words where Kafka has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// TOPIC_ALREADY_EXISTS (36), with the name.
    TopicExists(String),
    /// TOPIC_ALREADY_EXISTS (36), with the name: the directory of a deleted topic of this name is still in place.
    TopicMarkedForDeletion(String),
    /// UNKNOWN_TOPIC_OR_PARTITION (3).
    UnknownTopic,
    /// UNKNOWN_TOPIC_ID (100).
    UnknownTopicId,
    /// INVALID_TOPIC_EXCEPTION (17).
    InvalidTopicName(String),
    /// INVALID_PARTITIONS (37).
    InvalidPartitions(String),
    /// INVALID_REPLICATION_FACTOR (38).
    InvalidReplicationFactor(String),
    /// INVALID_REPLICA_ASSIGNMENT (39).
    InvalidReplicaAssignment(String),
    /// INVALID_CONFIG (40).
    InvalidConfig(String),
    /// INVALID_REQUEST (42).
    InvalidRequest(String),
    /// TOPIC_DELETION_DISABLED (73).
    TopicDeletionDisabled,
    /// POLICY_VIOLATION (44).
    PolicyViolation(String),
    /// UNKNOWN_SERVER_ERROR (-1): every producer id has been given away.
    ProducerIdsExhausted,
    /// REQUEST_TIMED_OUT (7): as many records as memory allows wait for the disk. The client tries again.
    Overloaded,
    /// KAFKA_STORAGE_ERROR (56): the metadata log cannot be written until the next start.
    StorageFailed,
    /// KAFKA_STORAGE_ERROR (56): there is no space for the metadata log. Topics can be deleted.
    StorageFull,
    /// NOT_CONTROLLER (41): this node does not decide. The client finds out who does and asks there.
    NotController,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicExists(name) => write!(f, "Topic '{name}' already exists."),
            Self::TopicMarkedForDeletion(name) => write!(f, "Topic '{name}' is marked for deletion."),
            Self::UnknownTopic => f.write_str("This server does not host this topic-partition."),
            Self::UnknownTopicId => f.write_str("This server does not host this topic ID."),
            Self::InvalidTopicName(text)
            | Self::InvalidPartitions(text)
            | Self::InvalidReplicationFactor(text)
            | Self::InvalidReplicaAssignment(text)
            | Self::InvalidConfig(text)
            | Self::InvalidRequest(text)
            | Self::PolicyViolation(text) => f.write_str(text),
            Self::TopicDeletionDisabled => f.write_str("Topic deletion is disabled."),
            Self::ProducerIdsExhausted => f.write_str("All producer ids have been given away."),
            Self::Overloaded => f.write_str("Too many metadata changes wait for the disk."),
            Self::StorageFull => f.write_str("The disk is full: topics can be deleted, nothing else can be changed."),
            Self::NotController => f.write_str("This is not the correct controller for this cluster."),
            Self::StorageFailed => f.write_str("The metadata log cannot be written."),
        }
    }
}
