//! The APIs that are served: one table, from which everything else about them is derived.

use super::error::ErrorCode;
use super::frame::HeaderKind;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

/// An API that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Api {
    /// Appends records.
    Produce = 0,
    /// Reads records.
    Fetch = 1,
    /// Finds offsets by time.
    ListOffsets = 2,
    /// Tells who serves what.
    Metadata = 3,
    /// Commits how far a group got.
    OffsetCommit = 8,
    /// Tells how far a group got.
    OffsetFetch = 9,
    /// Tells who coordinates a group.
    FindCoordinator = 10,
    /// Joins a group.
    JoinGroup = 11,
    /// Tells that a member lives.
    Heartbeat = 12,
    /// Leaves a group.
    LeaveGroup = 13,
    /// Assigns partitions to members, and tells them.
    SyncGroup = 14,
    /// Describes groups.
    DescribeGroups = 15,
    /// Lists groups.
    ListGroups = 16,
    /// Tells this table.
    ApiVersions = 18,
    /// Creates topics.
    CreateTopics = 19,
    /// Deletes topics.
    DeleteTopics = 20,
    /// Moves the start of partitions up.
    DeleteRecords = 21,
    /// Gives a producer an id.
    InitProducerId = 22,
    /// Tells where leader epochs end.
    OffsetForLeaderEpoch = 23,
    /// Tells who may do what.
    DescribeAcls = 29,
    /// Allows or forbids something to somebody.
    CreateAcls = 30,
    /// Takes that back.
    DeleteAcls = 31,
    /// Tells what topics and the broker are configured to.
    DescribeConfigs = 32,
    /// Replaces all that is configured.
    AlterConfigs = 33,
    /// Tells what partitions take where they are stored.
    DescribeLogDirs = 35,
    /// Adds partitions to topics.
    CreatePartitions = 37,
    /// Deletes groups.
    DeleteGroups = 42,
    /// Makes the preferred replica the leader, or any.
    ElectLeaders = 43,
    /// Changes some of what is configured.
    IncrementalAlterConfigs = 44,
    /// Moves partitions to other brokers.
    AlterPartitionReassignments = 45,
    /// Tells which partitions are being moved.
    ListPartitionReassignments = 46,
    /// Deletes offsets of a group.
    OffsetDelete = 47,
    /// Tells how much clients may do in a time.
    DescribeClientQuotas = 48,
    /// Tells which users have SCRAM passwords.
    DescribeUserScramCredentials = 50,
    /// Tells which brokers there are.
    DescribeCluster = 60,
    /// Tells who writes to partitions without duplicates.
    DescribeProducers = 61,
    /// Tells of transactional producers.
    DescribeTransactions = 65,
    /// Lists transactional producers.
    ListTransactions = 66,
    /// Tells that a member of a group of the new protocol lives (KIP-848).
    ConsumerGroupHeartbeat = 68,
    /// Tells who serves what, page by page.
    DescribeTopicPartitions = 75,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    api: Api,
    /// First and last version that clients are told of.
    advertised: (i16, i16),
    /// First and last version that are answered.
    served: (i16, i16),
    /// The first version with compact lengths and tagged fields.
    flexible: i16,
}

/// Where advertised and served differ, it is because librdkafka before 2.11.1 takes a Produce that does not begin at
/// version 0 for a broker without compression, and sends everything uncompressed without a word.
const TABLE: [Line; 40] = [
    Line { api: Api::Produce, advertised: (0, 13), served: (3, 13), flexible: 9 },
    Line { api: Api::Fetch, advertised: (4, 18), served: (4, 18), flexible: 12 },
    Line { api: Api::ListOffsets, advertised: (1, 10), served: (1, 10), flexible: 6 },
    Line { api: Api::Metadata, advertised: (0, 13), served: (0, 13), flexible: 9 },
    Line { api: Api::OffsetCommit, advertised: (2, 9), served: (2, 9), flexible: 8 },
    Line { api: Api::OffsetFetch, advertised: (1, 9), served: (1, 9), flexible: 6 },
    Line { api: Api::FindCoordinator, advertised: (0, 6), served: (0, 6), flexible: 3 },
    Line { api: Api::JoinGroup, advertised: (0, 9), served: (0, 9), flexible: 6 },
    Line { api: Api::Heartbeat, advertised: (0, 4), served: (0, 4), flexible: 4 },
    Line { api: Api::LeaveGroup, advertised: (0, 5), served: (0, 5), flexible: 4 },
    Line { api: Api::SyncGroup, advertised: (0, 5), served: (0, 5), flexible: 4 },
    Line { api: Api::DescribeGroups, advertised: (0, 6), served: (0, 6), flexible: 5 },
    Line { api: Api::ListGroups, advertised: (0, 5), served: (0, 5), flexible: 3 },
    Line { api: Api::ApiVersions, advertised: (0, 4), served: (0, 4), flexible: 3 },
    Line { api: Api::CreateTopics, advertised: (2, 7), served: (2, 7), flexible: 5 },
    Line { api: Api::DeleteTopics, advertised: (1, 6), served: (1, 6), flexible: 4 },
    Line { api: Api::DeleteRecords, advertised: (0, 2), served: (0, 2), flexible: 2 },
    Line { api: Api::InitProducerId, advertised: (0, 5), served: (0, 5), flexible: 2 },
    Line { api: Api::OffsetForLeaderEpoch, advertised: (2, 4), served: (2, 4), flexible: 4 },
    Line { api: Api::DescribeAcls, advertised: (1, 3), served: (1, 3), flexible: 2 },
    Line { api: Api::CreateAcls, advertised: (1, 3), served: (1, 3), flexible: 2 },
    Line { api: Api::DeleteAcls, advertised: (1, 3), served: (1, 3), flexible: 2 },
    Line { api: Api::DescribeConfigs, advertised: (1, 4), served: (1, 4), flexible: 4 },
    Line { api: Api::AlterConfigs, advertised: (0, 2), served: (0, 2), flexible: 2 },
    Line { api: Api::DescribeLogDirs, advertised: (1, 4), served: (1, 4), flexible: 2 },
    Line { api: Api::CreatePartitions, advertised: (0, 3), served: (0, 3), flexible: 2 },
    Line { api: Api::DeleteGroups, advertised: (0, 2), served: (0, 2), flexible: 2 },
    Line { api: Api::ElectLeaders, advertised: (0, 2), served: (0, 2), flexible: 2 },
    Line { api: Api::IncrementalAlterConfigs, advertised: (0, 1), served: (0, 1), flexible: 1 },
    Line { api: Api::AlterPartitionReassignments, advertised: (0, 1), served: (0, 1), flexible: 0 },
    Line { api: Api::ListPartitionReassignments, advertised: (0, 0), served: (0, 0), flexible: 0 },
    // It never became flexible.
    Line { api: Api::OffsetDelete, advertised: (0, 0), served: (0, 0), flexible: i16::MAX },
    Line { api: Api::DescribeClientQuotas, advertised: (0, 1), served: (0, 1), flexible: 1 },
    Line { api: Api::DescribeUserScramCredentials, advertised: (0, 0), served: (0, 0), flexible: 0 },
    Line { api: Api::DescribeCluster, advertised: (0, 2), served: (0, 2), flexible: 0 },
    Line { api: Api::DescribeProducers, advertised: (0, 0), served: (0, 0), flexible: 0 },
    Line { api: Api::DescribeTransactions, advertised: (0, 0), served: (0, 0), flexible: 0 },
    Line { api: Api::ListTransactions, advertised: (0, 2), served: (0, 2), flexible: 0 },
    // Refused, as by a Kafka whose new protocol is off: a librdkafka that can't ask waits for ever, and says nothing.
    Line { api: Api::ConsumerGroupHeartbeat, advertised: (0, 1), served: (0, 1), flexible: 0 },
    Line { api: Api::DescribeTopicPartitions, advertised: (0, 0), served: (0, 0), flexible: 0 },
];

impl Api {
    /// The API of a key, if it is served.
    #[must_use]
    pub fn of_key(key: i16) -> Option<Self> {
        TABLE.iter().map(|line| line.api).find(|api| api.key() == key)
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// Whether this version of it is answered.
    #[must_use]
    pub fn serves(self, version: i16) -> bool {
        let (first, last) = self.line().served;
        (first..=last).contains(&version)
    }

    /// Whether this version has compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.line().flexible
    }

    /// First and last version that are answered.
    #[must_use]
    pub fn served(self) -> (i16, i16) {
        self.line().served
    }

    /// Every API, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|line| line.api)
    }

    /// How this version's request header goes on after the client id.
    pub(crate) fn request_header(self, version: i16) -> HeaderKind {
        if self.is_flexible(version) { HeaderKind::Flexible } else { HeaderKind::Plain }
    }

    /// How this version's response header goes on after the correlation id. A client that does not know yet what the
    /// broker can do must be able to read an answer to ApiVersions, so that one is plain for ever.
    pub(crate) fn response_header(self, version: i16) -> HeaderKind {
        if self == Self::ApiVersions { HeaderKind::Plain } else { self.request_header(version) }
    }

    fn line(self) -> &'static Line {
        TABLE.iter().find(|line| line.api == self).expect("each variant has a line in the table")
    }
}

/// The answer to ApiVersions. To a question in an unknown version it lists the versions all the same, so that the client
/// can try again (KIP-511); with any other error it lists nothing. It tells no features (KIP-584): of those that there are
/// none says anything true of Karst (`metadata.version` is the format of another controller's log), and where
/// `transaction.version` and `group.version` are missing, clients take the older protocols, which are the ones served.
pub fn api_versions(error: ErrorCode) -> ApiVersionsResponse {
    if !matches!(error, ErrorCode::None | ErrorCode::UnsupportedVersion) {
        return ApiVersionsResponse::default().with_error_code(error.code());
    }
    let lines = TABLE.iter().map(|line| {
        let (first, last) = line.advertised;
        ApiVersion::default().with_api_key(line.api.key()).with_min_version(first).with_max_version(last)
    });
    ApiVersionsResponse::default().with_error_code(error.code()).with_api_keys(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn the_table_agrees_with_the_schemas() {
        for api in Api::all() {
            let schema = ApiKey::try_from(api.key()).expect("a key of Kafka's");
            let (first, last) = api.served();
            let known = schema.valid_versions();
            // From version 10 on, these name topics by id, and kafka-protocol reads no such requests.
            // Version 6 of InitProducerId is of two-phase commit (KIP-939), which clients don't send yet.
            let max = match api {
                Api::OffsetCommit | Api::OffsetFetch => 9,
                Api::InitProducerId => 5,
                _ => known.max,
            };
            assert_eq!((first, last), (known.min, max), "{api:?}");
            for version in first..=last {
                let request = if api.request_header(version) == HeaderKind::Flexible { 2 } else { 1 };
                let response = if api.response_header(version) == HeaderKind::Flexible { 1 } else { 0 };
                assert_eq!(request, schema.request_header_version(version), "{api:?} {version}");
                assert_eq!(response, schema.response_header_version(version), "{api:?} {version}");
            }
        }
    }

    #[test]
    fn only_produce_advertises_what_is_not_served() {
        for line in TABLE {
            let extra = if line.api == Api::Produce { (0, 13) } else { line.served };
            assert_eq!(line.advertised, extra);
            assert_eq!(Api::of_key(line.api.key()), Some(line.api));
        }
        assert_eq!(Api::of_key(24), None);
        assert!(!Api::Produce.serves(2) && Api::Produce.serves(3) && !Api::Metadata.serves(-1));
    }
}
