//! Kafka's error codes.

use core::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal,)*) => {
        /// What a response says about a request, a topic or a partition; by Kafka's own numbers and names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code that Karst uses.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Kafka's name of it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    /// Something that has no code of its own.
    UnknownServerError = -1 "UNKNOWN_SERVER_ERROR",
    /// Success.
    None = 0 "NONE",
    /// Below the log's start or beyond its end.
    OffsetOutOfRange = 1 "OFFSET_OUT_OF_RANGE",
    /// A record batch fails its CRC or its lengths.
    CorruptMessage = 2 "CORRUPT_MESSAGE",
    /// No such topic or partition here; the client refreshes its metadata.
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION",
    /// Nobody serves the partition at this moment.
    LeaderNotAvailable = 5 "LEADER_NOT_AVAILABLE",
    /// Another broker serves the partition.
    NotLeaderOrFollower = 6 "NOT_LEADER_OR_FOLLOWER",
    /// Whether the request took effect is unknown.
    RequestTimedOut = 7 "REQUEST_TIMED_OUT",
    /// The broker can't be reached.
    BrokerNotAvailable = 8 "BROKER_NOT_AVAILABLE",
    /// A record batch is larger than the broker takes.
    MessageTooLarge = 10 "MESSAGE_TOO_LARGE",
    /// What a commit says besides its offset is too long.
    OffsetMetadataTooLarge = 12 "OFFSET_METADATA_TOO_LARGE",
    /// The coordinator still reads what it needs to know.
    CoordinatorLoadInProgress = 14 "COORDINATOR_LOAD_IN_PROGRESS",
    /// Nobody coordinates the group at this moment.
    CoordinatorNotAvailable = 15 "COORDINATOR_NOT_AVAILABLE",
    /// Another broker coordinates the group.
    NotCoordinator = 16 "NOT_COORDINATOR",
    /// A topic's name that Kafka does not allow.
    InvalidTopicException = 17 "INVALID_TOPIC_EXCEPTION",
    /// Acks other than -1, 0 and 1.
    InvalidRequiredAcks = 21 "INVALID_REQUIRED_ACKS",
    /// The member speaks of another generation than the group's.
    IllegalGeneration = 22 "ILLEGAL_GENERATION",
    /// The member has no protocol in common with the others.
    InconsistentGroupProtocol = 23 "INCONSISTENT_GROUP_PROTOCOL",
    /// No group can have that id.
    InvalidGroupId = 24 "INVALID_GROUP_ID",
    /// The group has no such member; it joins anew.
    UnknownMemberId = 25 "UNKNOWN_MEMBER_ID",
    /// A session timeout that the broker does not allow.
    InvalidSessionTimeout = 26 "INVALID_SESSION_TIMEOUT",
    /// The group rebalances; the member joins again.
    RebalanceInProgress = 27 "REBALANCE_IN_PROGRESS",
    /// A commit is larger than the log takes.
    InvalidCommitOffsetSize = 28 "INVALID_COMMIT_OFFSET_SIZE",
    /// A producer stamped its records as the broker does.
    InvalidTimestamp = 32 "INVALID_TIMESTAMP",
    /// The API, or what the request needs of it, is not served.
    UnsupportedVersion = 35 "UNSUPPORTED_VERSION",
    /// The name is taken.
    TopicAlreadyExists = 36 "TOPIC_ALREADY_EXISTS",
    /// Too few or too many partitions.
    InvalidPartitions = 37 "INVALID_PARTITIONS",
    /// A replication factor below one (and not the default).
    InvalidReplicationFactor = 38 "INVALID_REPLICATION_FACTOR",
    /// Replicas are assigned by hand in a way that can't be.
    InvalidReplicaAssignment = 39 "INVALID_REPLICA_ASSIGNMENT",
    /// A configuration that can't be.
    InvalidConfig = 40 "INVALID_CONFIG",
    /// Another broker is the controller.
    NotController = 41 "NOT_CONTROLLER",
    /// The request contradicts itself.
    InvalidRequest = 42 "INVALID_REQUEST",
    /// The topic's message format can't hold what was sent.
    UnsupportedForMessageFormat = 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    /// A policy of the broker forbids it.
    PolicyViolation = 44 "POLICY_VIOLATION",
    /// The sequence does not follow the producer's last one.
    OutOfOrderSequenceNumber = 45 "OUT_OF_ORDER_SEQUENCE_NUMBER",
    /// The producer has begun a newer epoch.
    InvalidProducerEpoch = 47 "INVALID_PRODUCER_EPOCH",
    /// Transactional records outside a transaction that the broker knows.
    InvalidTxnState = 48 "INVALID_TXN_STATE",
    /// The producer may not use the transactional id; final for it.
    TransactionalIdAuthorizationFailed = 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    /// There is nobody who could allow or forbid anything.
    SecurityDisabled = 54 "SECURITY_DISABLED",
    /// The log can't be written or read.
    KafkaStorageError = 56 "KAFKA_STORAGE_ERROR",
    /// No producer has that id.
    UnknownProducerId = 59 "UNKNOWN_PRODUCER_ID",
    /// The group has members.
    NonEmptyGroup = 68 "NON_EMPTY_GROUP",
    /// There is no such group.
    GroupIdNotFound = 69 "GROUP_ID_NOT_FOUND",
    /// The broker does not know the fetch session; the client begins a full fetch.
    FetchSessionIdNotFound = 70 "FETCH_SESSION_ID_NOT_FOUND",
    /// Topics are not deleted here.
    TopicDeletionDisabled = 73 "TOPIC_DELETION_DISABLED",
    /// The client knows an older leader epoch.
    FencedLeaderEpoch = 74 "FENCED_LEADER_EPOCH",
    /// The client knows a later leader epoch.
    UnknownLeaderEpoch = 75 "UNKNOWN_LEADER_EPOCH",
    /// A codec that this version of the request can't carry.
    UnsupportedCompressionType = 76 "UNSUPPORTED_COMPRESSION_TYPE",
    /// The broker's epoch is not the current one.
    StaleBrokerEpoch = 77 "STALE_BROKER_EPOCH",
    /// The offset is not known yet.
    OffsetNotAvailable = 78 "OFFSET_NOT_AVAILABLE",
    /// The member is given an id and must join again with it.
    MemberIdRequired = 79 "MEMBER_ID_REQUIRED",
    /// The replica that is to lead can't.
    PreferredLeaderNotAvailable = 80 "PREFERRED_LEADER_NOT_AVAILABLE",
    /// The group, or what the broker keeps of all groups, is full.
    GroupMaxSizeReached = 81 "GROUP_MAX_SIZE_REACHED",
    /// Another member has taken the place of this static one; final for it.
    FencedInstanceId = 82 "FENCED_INSTANCE_ID",
    /// No replica can lead.
    EligibleLeadersNotAvailable = 83 "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    /// The partition has the leader that it should have.
    ElectionNotNeeded = 84 "ELECTION_NOT_NEEDED",
    /// The partition is not being moved.
    NoReassignmentInProgress = 85 "NO_REASSIGNMENT_IN_PROGRESS",
    /// The group consumes the topic.
    GroupSubscribedToTopic = 86 "GROUP_SUBSCRIBED_TO_TOPIC",
    /// A record batch that breaks a rule.
    InvalidRecord = 87 "INVALID_RECORD",
    /// What is asked about is not there.
    ResourceNotFound = 91 "RESOURCE_NOT_FOUND",
    /// Something is asked about twice.
    DuplicateResource = 92 "DUPLICATE_RESOURCE",
    /// No topic of that id here; the client refreshes its metadata.
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID",
    /// The topic's name and id do not belong together.
    InconsistentTopicId = 103 "INCONSISTENT_TOPIC_ID",
    /// There is no such transactional producer.
    TransactionalIdNotFound = 105 "TRANSACTIONAL_ID_NOT_FOUND",
    /// Brokers are asked for controllers, or the other way round.
    MismatchedEndpointType = 114 "MISMATCHED_ENDPOINT_TYPE",
    /// Endpoints of a kind that Kafka does not know are asked for.
    UnsupportedEndpointType = 115 "UNSUPPORTED_ENDPOINT_TYPE",
}

/// Why something is refused: for the client, and for the person who reads the client's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// What the client acts by.
    pub code: ErrorCode,
    /// More about it than the code says, if there is more.
    pub why: Option<&'static str>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, why: None }
    }
}

impl ErrorCode {
    /// A refusal by this code, for that reason.
    #[must_use]
    pub const fn because(self, why: &'static str) -> Refusal {
        Refusal { code: self, why: Some(why) }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;
    use alloc::format;
    use alloc::string::String;
    use kafka_protocol::ResponseError;

    #[test]
    fn numbers_and_names_are_kafkas() {
        for error in ErrorCode::ALL {
            let code = error.code();
            if code == 0 {
                continue;
            }
            let known = ResponseError::try_from_code(code).expect("not success");
            assert!(!matches!(known, ResponseError::Unknown(_)), "{error} is no code of Kafka's");
            let squeezed: String = error.name().chars().filter(|c| *c != '_').collect();
            let theirs = format!("{known:?}").to_uppercase();
            let theirs = theirs.trim_end_matches("EXCEPTION");
            assert_eq!(squeezed.trim_end_matches("EXCEPTION"), theirs, "{error}");
        }
    }
}
