//! Kafka's error codes, by number, name and what a client does about them (Kafka 4.4.0, `Errors`).

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:ident $again:ident)*) => {
        /// A code of the protocol. The variants are Kafka's names in Rust's spelling.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// `None` for a number that Kafka has not given out.
            pub fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, as its tools print it.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => stringify!($name),)*
                }
            }

            /// Whether a client may send the same request again and hope.
            pub fn retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => error_codes!($again),)*
                }
            }
        }
    };
    (again) => { true };
    (never) => { false };
}

error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR never
    0 None NONE never
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE never
    2 CorruptMessage CORRUPT_MESSAGE again
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION again
    4 InvalidFetchSize INVALID_FETCH_SIZE never
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE again
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER again
    7 RequestTimedOut REQUEST_TIMED_OUT again
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE never
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE again
    10 MessageTooLarge MESSAGE_TOO_LARGE never
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH never
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE never
    13 NetworkException NETWORK_EXCEPTION again
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS again
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE again
    16 NotCoordinator NOT_COORDINATOR again
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION never
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE never
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS again
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND again
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS never
    22 IllegalGeneration ILLEGAL_GENERATION never
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL never
    24 InvalidGroupId INVALID_GROUP_ID never
    25 UnknownMemberId UNKNOWN_MEMBER_ID never
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT never
    27 RebalanceInProgress REBALANCE_IN_PROGRESS never
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE never
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED never
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED never
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED never
    32 InvalidTimestamp INVALID_TIMESTAMP never
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM never
    34 IllegalSaslState ILLEGAL_SASL_STATE never
    35 UnsupportedVersion UNSUPPORTED_VERSION never
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS never
    37 InvalidPartitions INVALID_PARTITIONS never
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR never
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT never
    40 InvalidConfig INVALID_CONFIG never
    41 NotController NOT_CONTROLLER again
    42 InvalidRequest INVALID_REQUEST never
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT never
    44 PolicyViolation POLICY_VIOLATION never
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER never
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER never
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH never
    48 InvalidTxnState INVALID_TXN_STATE never
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING never
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT never
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS again
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED never
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED never
    54 SecurityDisabled SECURITY_DISABLED never
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED never
    56 KafkaStorageError KAFKA_STORAGE_ERROR again
    57 LogDirNotFound LOG_DIR_NOT_FOUND never
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED never
    59 UnknownProducerId UNKNOWN_PRODUCER_ID never
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS never
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED never
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND never
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH never
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED never
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED never
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED never
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE never
    68 NonEmptyGroup NON_EMPTY_GROUP never
    69 GroupIdNotFound GROUP_ID_NOT_FOUND never
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND again
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH again
    72 ListenerNotFound LISTENER_NOT_FOUND again
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED never
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH again
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH again
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE never
    77 StaleBrokerEpoch STALE_BROKER_EPOCH never
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE again
    79 MemberIdRequired MEMBER_ID_REQUIRED never
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE again
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED never
    82 FencedInstanceId FENCED_INSTANCE_ID never
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE again
    84 ElectionNotNeeded ELECTION_NOT_NEEDED again
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS never
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC never
    87 InvalidRecord INVALID_RECORD never
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT again
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED again
    90 ProducerFenced PRODUCER_FENCED never
    91 ResourceNotFound RESOURCE_NOT_FOUND never
    92 DuplicateResource DUPLICATE_RESOURCE never
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL never
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET never
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION never
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED never
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE never
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND never
    99 PositionOutOfRange POSITION_OUT_OF_RANGE never
    100 UnknownTopicId UNKNOWN_TOPIC_ID again
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION never
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED never
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID again
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID never
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND never
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR again
    107 IneligibleReplica INELIGIBLE_REPLICA never
    108 NewLeaderElected NEW_LEADER_ELECTED never
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE never
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH never
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID never
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR never
    113 StaleMemberEpoch STALE_MEMBER_EPOCH never
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE never
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE never
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID never
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID never
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE never
    119 InvalidRegistration INVALID_REGISTRATION never
    120 TransactionAbortable TRANSACTION_ABORTABLE never
    121 InvalidRecordState INVALID_RECORD_STATE never
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND again
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH again
    124 FencedStateEpoch FENCED_STATE_EPOCH never
    125 InvalidVoterKey INVALID_VOTER_KEY never
    126 DuplicateVoter DUPLICATE_VOTER never
    127 VoterNotFound VOTER_NOT_FOUND never
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION never
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED never
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY never
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH never
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED never
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED again
    134 GroupDeletionFailed GROUP_DELETION_FAILED never
    135 StreamsTopologyDescriptionUpdateFailed STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED never
    136 ControllerIdNotRegistered CONTROLLER_ID_NOT_REGISTERED never
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_errors_are_one_to_one() {
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::ALL.len(), 138);
        assert_eq!((ErrorCode::from_code(-2), ErrorCode::from_code(137)), (None, None));
    }

    #[test]
    fn names_and_advice_are_kafkas() {
        assert_eq!(ErrorCode::None.code(), 0);
        assert_eq!(ErrorCode::NotLeaderOrFollower.to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert!(ErrorCode::NotLeaderOrFollower.retriable());
        assert!(!ErrorCode::OffsetOutOfRange.retriable());
    }
}
