//! What Kafka's error codes say: their names, plain words for people, and what Kafka's Java client makes of them.

use crate::wire::error::ErrorCode;

/// Kafka's name of a code, or its number.
pub fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("ERROR_{code}"), |code| code.name().to_string())
}

/// What a code means to the one who typed the command, where the broker gives no reason: plain words where a command can
/// meet the code, else what Kafka's client says.
pub fn explained(code: i16) -> Option<String> {
    use ErrorCode::*;
    let code = ErrorCode::from_code(code)?;
    let words = match code {
        UnknownServerError => "the broker met an error of its own; its log says which",
        OffsetOutOfRange => "the partition has no such offset",
        CorruptMessage => "the records arrived damaged",
        UnknownTopicOrPartition => "there is no such topic or partition",
        LeaderNotAvailable => "the partition has no leader at the moment",
        NotLeaderOrFollower => "another broker leads the partition now",
        RequestTimedOut => "it was not done in time",
        MessageTooLarge => "a batch is larger than the broker or topic allows (max.message.bytes)",
        CoordinatorLoadInProgress => "the group's coordinator is still starting",
        CoordinatorNotAvailable => "the group has no coordinator at the moment",
        NotCoordinator => "another broker coordinates the group now",
        InvalidTopicException => "a topic cannot have this name, or nobody may write to this one",
        NotEnoughReplicas | NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than the topic asks for (min.insync.replicas)"
        }
        InvalidGroupId => "a group cannot have this name",
        UnknownMemberId => "the group does not know this member, or its members commit for themselves",
        RebalanceInProgress => "the group is sharing out its partitions anew; try again",
        TopicAuthorizationFailed => "you may not do this with the topic",
        GroupAuthorizationFailed => "you may not do this with the group",
        ClusterAuthorizationFailed => "you may not do this with the cluster",
        UnsupportedVersion => "the broker is too old or too new for this",
        TopicAlreadyExists => "there is a topic of this name already",
        InvalidPartitions => "a topic cannot have so many partitions",
        InvalidReplicationFactor => "there are not so many brokers",
        InvalidConfig => "a setting's name or value is not valid",
        NonEmptyGroup => "the group has members; stop them first",
        GroupIdNotFound => "there is no such group",
        TopicDeletionDisabled => "the broker does not delete topics (delete.topic.enable)",
        GroupSubscribedToTopic => "the group's members read this topic; stop them first",
        KafkaStorageError => "the broker cannot use its disk; its log says why",
        UnsupportedCompressionType => "the broker does not take this compression",
        GroupDeletionFailed => "the group could not be deleted",
        _ => return exception(code.code()).map(|(_, message)| message.to_string()),
    };
    Some(words.to_string())
}

/// What a code is called in Java (without `Exception` at the end), and what it says where the broker says nothing.
/// (Kafka 4.3, `Errors`)
const EXCEPTIONS: [(i16, &str, &str); 134] = [
    (-1, "UnknownServer", "The server experienced an unexpected error when processing the request."),
    (1, "OffsetOutOfRange", "The requested offset is not within the range of offsets maintained by the server."),
    (
        2,
        "CorruptRecord",
        "This message has failed its CRC checksum, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.",
    ),
    (3, "UnknownTopicOrPartition", "This server does not host this topic-partition."),
    (4, "InvalidFetchSize", "The requested fetch size is invalid."),
    (
        5,
        "LeaderNotAvailable",
        "There is no leader for this topic-partition as we are in the middle of a leadership election.",
    ),
    (
        6,
        "NotLeaderOrFollower",
        "For requests intended only for the leader, this error indicates that the broker is not the current leader. For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.",
    ),
    (7, "Timeout", "The request timed out."),
    (8, "BrokerNotAvailable", "The broker is not available."),
    (
        9,
        "ReplicaNotAvailable",
        "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.",
    ),
    (10, "RecordTooLarge", "The request included a message larger than the max message size the server will accept."),
    (11, "ControllerMoved", "The controller moved to another broker."),
    (12, "OffsetMetadat", "The metadata field of the offset request was too large."),
    (13, "Network", "The server disconnected before a response was received."),
    (14, "CoordinatorLoadInProgress", "The coordinator is loading and hence can't process requests."),
    (15, "CoordinatorNotAvailable", "The coordinator is not available."),
    (16, "NotCoordinator", "This is not the correct coordinator."),
    (17, "InvalidTopic", "The request attempted to perform an operation on an invalid topic."),
    (
        18,
        "RecordBatchTooLarge",
        "The request included message batch larger than the configured segment size on the server.",
    ),
    (19, "NotEnoughReplicas", "Messages are rejected since there are fewer in-sync replicas than required."),
    (
        20,
        "NotEnoughReplicasAfterAppend",
        "Messages are written to the log, but to fewer in-sync replicas than required.",
    ),
    (21, "InvalidRequiredAcks", "Produce request specified an invalid value for required acks."),
    (22, "IllegalGeneration", "Specified group generation id is not valid."),
    (
        23,
        "InconsistentGroupProtocol",
        "The group member's supported protocols are incompatible with those of existing members or first group member tried to join with empty protocol type or empty protocol list.",
    ),
    (24, "InvalidGroupId", "The group id is invalid."),
    (25, "UnknownMemberId", "The coordinator is not aware of this member."),
    (
        26,
        "InvalidSessionTimeout",
        "The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).",
    ),
    (27, "RebalanceInProgress", "The group is rebalancing, so a rejoin is needed."),
    (28, "InvalidCommitOffsetSize", "The committing offset data size is not valid."),
    (29, "TopicAuthorization", "Topic authorization failed."),
    (30, "GroupAuthorization", "Group authorization failed."),
    (31, "ClusterAuthorization", "Cluster authorization failed."),
    (32, "InvalidTimestamp", "The timestamp of the message is out of acceptable range."),
    (33, "UnsupportedSaslMechanism", "The broker does not support the requested SASL mechanism."),
    (34, "IllegalSaslState", "Request is not valid given the current SASL state."),
    (35, "UnsupportedVersion", "The version of API is not supported."),
    (36, "TopicExists", "Topic with this name already exists."),
    (37, "InvalidPartitions", "Number of partitions is below 1."),
    (38, "InvalidReplicationFactor", "Replication factor is below 1 or larger than the number of available brokers."),
    (39, "InvalidReplicaAssignment", "Replica assignment is invalid."),
    (40, "InvalidConfiguration", "Configuration is invalid."),
    (41, "NotController", "This is not the correct controller for this cluster."),
    (
        42,
        "InvalidRequest",
        "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.",
    ),
    (43, "UnsupportedForMessageFormat", "The message format version on the broker does not support the request."),
    (44, "PolicyViolation", "Request parameters do not satisfy the configured policy."),
    (45, "OutOfOrderSequence", "The broker received an out of order sequence number."),
    (46, "DuplicateSequence", "The broker received a duplicate sequence number."),
    (47, "InvalidProducerEpoch", "Producer attempted to produce with an old epoch."),
    (48, "InvalidTxnState", "The producer attempted a transactional operation in an invalid state."),
    (
        49,
        "InvalidPidMapping",
        "The producer attempted to use a producer id which is not currently assigned to its transactional id.",
    ),
    (
        50,
        "InvalidTxnTimeout",
        "The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).",
    ),
    (
        51,
        "ConcurrentTransactions",
        "The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing.",
    ),
    (
        52,
        "TransactionCoordinatorFenced",
        "Indicates that the transaction coordinator sending a WriteTxnMarker is no longer the current coordinator for a given producer.",
    ),
    (53, "TransactionalIdAuthorization", "Transactional Id authorization failed."),
    (54, "SecurityDisabled", "Security features are disabled."),
    (
        55,
        "OperationNotAttempted",
        "The broker did not attempt to execute this operation. This may happen for batched RPCs where some operations in the batch failed, causing the broker to respond without trying the rest.",
    ),
    (56, "KafkaStorage", "Disk error when trying to access log file on the disk."),
    (57, "LogDirNotFound", "The user-specified log directory is not found in the broker config."),
    (58, "SaslAuthentication", "SASL Authentication failed."),
    (
        59,
        "UnknownProducerId",
        "This exception is raised by the broker if it could not locate the producer metadata associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed from the broker, and future appends by the producer will return this exception.",
    ),
    (60, "ReassignmentInProgress", "A partition reassignment is in progress."),
    (61, "DelegationTokenDisabled", "Delegation Token feature is not enabled."),
    (62, "DelegationTokenNotFound", "Delegation Token is not found on server."),
    (63, "DelegationTokenOwnerMismatch", "Specified Principal is not valid Owner/Renewer."),
    (
        64,
        "UnsupportedByAuthentication",
        "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.",
    ),
    (65, "DelegationTokenAuthorization", "Delegation Token authorization failed."),
    (66, "DelegationTokenExpired", "Delegation Token is expired."),
    (67, "InvalidPrincipalType", "Supplied principalType is not supported."),
    (68, "GroupNotEmpty", "The group is not empty."),
    (69, "GroupIdNotFound", "The group id does not exist."),
    (70, "FetchSessionIdNotFound", "The fetch session ID was not found."),
    (71, "InvalidFetchSessionEpoch", "The fetch session epoch is invalid."),
    (
        72,
        "ListenerNotFound",
        "There is no listener on the leader broker that matches the listener on which metadata request was processed.",
    ),
    (73, "TopicDeletionDisabled", "Topic deletion is disabled."),
    (74, "FencedLeaderEpoch", "The leader epoch in the request is older than the epoch on the broker."),
    (75, "UnknownLeaderEpoch", "The leader epoch in the request is newer than the epoch on the broker."),
    (
        76,
        "UnsupportedCompressionType",
        "The requesting client does not support the compression type of given partition.",
    ),
    (77, "StaleBrokerEpoch", "Broker epoch has changed."),
    (
        78,
        "OffsetNotAvailable",
        "The leader high watermark has not caught up from a recent leader election so the offsets cannot be guaranteed to be monotonically increasing.",
    ),
    (
        79,
        "MemberIdRequired",
        "The group member needs to have a valid member id before actually entering a consumer group.",
    ),
    (80, "PreferredLeaderNotAvailable", "The preferred leader was not available."),
    (81, "GroupMaxSizeReached", "The group has reached its maximum size."),
    (
        82,
        "FencedInstanceId",
        "The broker rejected this static consumer since another consumer with the same group.instance.id has registered with a different member.id.",
    ),
    (83, "EligibleLeadersNotAvailable", "Eligible topic partition leaders are not available."),
    (84, "ElectionNotNeeded", "Leader election not needed for topic partition."),
    (85, "NoReassignmentInProgress", "No partition reassignment is in progress."),
    (
        86,
        "GroupSubscribedToTopic",
        "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
    ),
    (87, "InvalidRecord", "This record has failed the validation on broker and hence will be rejected."),
    (88, "UnstableOffsetCommit", "There are unstable offsets that need to be cleared."),
    (89, "ThrottlingQuotaExceeded", "The throttling quota has been exceeded."),
    (90, "ProducerFenced", "There is a newer producer with the same transactionalId which fences the current one."),
    (91, "ResourceNotFound", "A request illegally referred to a resource that does not exist."),
    (92, "DuplicateResource", "A request illegally referred to the same resource twice."),
    (93, "UnacceptableCredential", "Requested credential would not meet criteria for acceptability."),
    (
        94,
        "InconsistentVoterSet",
        "Indicates that the either the sender or recipient of a voter-only request is not one of the expected voters.",
    ),
    (95, "InvalidUpdateVersion", "The given update version was invalid."),
    (96, "FeatureUpdateFailed", "Unable to update finalized features due to an unexpected server error."),
    (
        97,
        "PrincipalDeserialization",
        "Request principal deserialization failed during forwarding. This indicates an internal error on the broker cluster security setup.",
    ),
    (98, "SnapshotNotFound", "Requested snapshot was not found."),
    (
        99,
        "PositionOutOfRange",
        "Requested position is not greater than or equal to zero, and less than the size of the snapshot.",
    ),
    (100, "UnknownTopicId", "This server does not host this topic ID."),
    (101, "DuplicateBrokerRegistration", "This broker ID is already in use."),
    (102, "BrokerIdNotRegistered", "The given broker ID was not registered."),
    (103, "InconsistentTopicId", "The log's topic ID did not match the topic ID in the request."),
    (104, "InconsistentClusterId", "The clusterId in the request does not match that found on the server."),
    (105, "TransactionalIdNotFound", "The transactionalId could not be found."),
    (106, "FetchSessionTopicId", "The fetch session encountered inconsistent topic ID usage."),
    (107, "IneligibleReplica", "The new ISR contains at least one ineligible replica."),
    (
        108,
        "NewLeaderElected",
        "The AlterPartition request successfully updated the partition state but the leader has changed.",
    ),
    (109, "OffsetMovedToTieredStorage", "The requested offset is moved to tiered storage."),
    (
        110,
        "FencedMemberEpoch",
        "The member epoch is fenced by the group coordinator. The member must abandon all its partitions and rejoin.",
    ),
    (
        111,
        "UnreleasedInstanceId",
        "The instance ID is still used by another member in the consumer group. That member must leave first.",
    ),
    (112, "UnsupportedAssignor", "The assignor or its version range is not supported by the consumer group."),
    (
        113,
        "StaleMemberEpoch",
        "The member epoch is stale. The member must retry after receiving its updated member epoch via the ConsumerGroupHeartbeat API.",
    ),
    (114, "MismatchedEndpointType", "The request was sent to an endpoint of the wrong type."),
    (115, "UnsupportedEndpointType", "This endpoint type is not supported yet."),
    (116, "UnknownControllerId", "This controller ID is not known."),
    (117, "UnknownSubscriptionId", "Client sent a push telemetry request with an invalid or outdated subscription ID."),
    (
        118,
        "TelemetryTooLarge",
        "Client sent a push telemetry request larger than the maximum size the broker will accept.",
    ),
    (119, "InvalidRegistration", "The controller has considered the broker registration to be invalid."),
    (
        120,
        "TransactionAbortable",
        "The server encountered an error with the transaction. The client can abort the transaction to continue using this transactional ID.",
    ),
    (121, "InvalidRecordState", "The record state is invalid. The acknowledgement of delivery could not be completed."),
    (122, "ShareSessionNotFound", "The share session was not found."),
    (123, "InvalidShareSessionEpoch", "The share session epoch is invalid."),
    (
        124,
        "FencedStateEpoch",
        "The share coordinator rejected the request because the share-group state epoch did not match.",
    ),
    (125, "InvalidVoterKey", "The voter key doesn't match the receiving replica's key."),
    (126, "DuplicateVoter", "The voter is already part of the set of voters."),
    (127, "VoterNotFound", "The voter is not part of the set of voters."),
    (128, "InvalidRegularE", "The regular expression is not valid."),
    (129, "RebootstrapRequired", "Client metadata is stale. The client should rebootstrap to obtain new metadata."),
    (130, "StreamsInvalidTopology", "The supplied topology is invalid."),
    (131, "StreamsInvalidTopologyEpoch", "The supplied topology epoch is invalid."),
    (132, "StreamsTopologyFenced", "The supplied topology epoch is outdated."),
    (133, "ShareSessionLimitReached", "The limit of share sessions has been reached."),
];

/// A code's exception without `Exception`, and its message.
pub fn exception(code: i16) -> Option<(&'static str, &'static str)> {
    EXCEPTIONS.iter().find(|(known, _, _)| *known == code).map(|(_, name, message)| (*name, *message))
}

/// What a code says by itself.
pub fn default_message(code: ErrorCode) -> String {
    exception(code.code()).map_or_else(|| code.name().to_string(), |(_, message)| message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_kafka_4_3_has_words() {
        for code in ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::None && code.code() <= 133) {
            let words = explained(code.code()).unwrap_or_else(|| panic!("{} has no words", code.name()));
            assert!(words.contains(' ') && words != code.name(), "{words}");
        }
        assert_eq!(explained(999), None);
    }
}
