//! Requests: from a frame to something that a handler can act on.

use super::admin::AdminRequest;
use super::api::Api;
use super::batch::CheckedBatch;
use super::error::{ErrorCode, Refusal};
use super::frame::{Header, skip_header_rest};
use super::reader::{Fault, Malformed, Reader};
use super::shape;
use crate::id::TopicId;
use crate::machine::Payload;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest, FetchRequest,
    FindCoordinatorRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    OffsetForLeaderEpochRequest, ProduceRequest,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

/// A request, checked and decoded. Strings and records in its body are slices of its frame.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it asks for.
    pub api: Api,
    /// In which version, one that is served.
    pub version: i16,
    /// The frame it came in, header included.
    pub frame: Payload,
    /// The frame's body, decoded.
    pub body: RequestBody,
}

// The body is made from the frame alone.
impl Hash for Request {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.api, self.version).hash(state);
        self.frame.hash(state);
    }
}

/// What a request says, by API.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// Append records.
    Produce(Produce),
    /// Read records.
    Fetch(Box<FetchRequest>),
    /// Find offsets.
    ListOffsets(ListOffsetsRequest),
    /// Describe topics.
    Metadata(MetadataRequest),
    /// Find who coordinates a group.
    FindCoordinator(FindCoordinatorRequest),
    /// Create topics.
    CreateTopics(CreateTopicsRequest),
    /// Delete topics.
    DeleteTopics(DeleteTopicsRequest),
    /// Move the start of partitions up.
    DeleteRecords(DeleteRecordsRequest),
    /// Give a producer an id.
    InitProducerId(InitProducerIdRequest),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitionsRequest),
    /// Find where leader epochs end.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    /// Describe the brokers.
    DescribeCluster(DescribeClusterRequest),
    /// Describe topics, page by page.
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    /// Tell configs.
    DescribeConfigs(DescribeConfigsRequest),
    /// Replace configs.
    AlterConfigs(AlterConfigsRequest),
    /// Change some configs.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// Something about a consumer group.
    Group(Box<GroupRequest>),
    /// A question of administrators.
    Admin(Box<AdminRequest>),
}

/// What a request says about consumer groups.
#[derive(Clone, Debug)]
pub enum GroupRequest {
    /// Join it.
    Join(JoinGroupRequest),
    /// Assign, or be assigned.
    Sync(SyncGroupRequest),
    /// Still there.
    Heartbeat(HeartbeatRequest),
    /// Leave it.
    Leave(LeaveGroupRequest),
    /// Commit offsets.
    Commit(OffsetCommitRequest),
    /// Tell the offsets.
    Fetch(OffsetFetchRequest),
    /// Delete offsets.
    DeleteOffsets(OffsetDeleteRequest),
    /// List all groups.
    List(ListGroupsRequest),
    /// Describe some.
    Describe(DescribeGroupsRequest),
    /// Delete some.
    Delete(DeleteGroupsRequest),
    /// Join, or still there, by the new protocol.
    NewHeartbeat(ConsumerGroupHeartbeatRequest),
}

/// Records to append, each batch checked already, but for what is compressed.
#[derive(Clone, Debug)]
pub struct Produce {
    /// When to answer.
    pub acks: Acks,
    /// How long the client waits for it.
    pub timeout: Duration,
    /// Where to append.
    pub topics: Vec<ProduceTopic>,
}

/// What a producer wants to be told. Karst answers after durability in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Nothing; an error closes the connection.
    None,
    /// That the leader has the records.
    Leader,
    /// That all in-sync replicas have them.
    All,
    /// A number that means nothing; every partition is answered with `INVALID_REQUIRED_ACKS`.
    Invalid,
}

/// Records for one topic. A topic may occur more than once.
#[derive(Clone, Debug)]
pub struct ProduceTopic {
    /// Its name, up to version 12.
    pub name: Option<StrBytes>,
    /// Its id, from version 13 on; nil before.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<ProducePartition>,
}

/// Records for one partition. A partition may occur more than once.
#[derive(Clone, Debug)]
pub struct ProducePartition {
    /// Which.
    pub index: i32,
    /// One batch, or what is wrong with what was sent.
    pub records: Result<CheckedBatch, Refusal>,
}

/// What a frame turned out to be.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What is served? To be answered in this version, and with this error. A client that asks in a version that is
    /// not served gets the oldest answer, which it can certainly read.
    Versions {
        /// Of the answer.
        version: i16,
        /// Whether the question was understood.
        error: ErrorCode,
    },
    /// Everything else.
    Handle(Request),
}

/// Checks and decodes a frame.
///
/// # Errors
/// When it is no request that is served; then the connection can't go on, for nobody knows how to answer.
pub fn decode(frame: Bytes) -> Result<(Header, Ask), Malformed> {
    let mut reader = Reader::new(&frame);
    let header = Header::read(&mut reader)?;
    let Header { api_key, version, .. } = header;
    let api = Api::of_key(api_key).ok_or(Malformed { field: "API key", fault: Fault::Api(api_key) })?;
    if !api.serves(version) {
        return match api {
            Api::ApiVersions => Ok((header, Ask::Versions { version: 0, error: ErrorCode::UnsupportedVersion })),
            _ if version < api.served().0 => Err(Malformed { field: name(api), fault: Fault::OldVersion(version) }),
            _ => Err(Malformed { field: name(api), fault: Fault::Version(version) }),
        };
    }
    skip_header_rest(&mut reader, api.request_header(version))?;
    let body = frame.slice(frame.len() - reader.left()..);
    shape::check(api, version, &body)?;
    let ask = match decode_body(api, version, &body)? {
        Some(body) => Ask::Handle(Request { api, version, frame: Payload(frame), body }),
        None => Ask::Versions { version, error: check_software(version, &shape::decode(version, &body)?) },
    };
    Ok((header, ask))
}

/// `None` for what the session answers by itself.
fn decode_body(api: Api, version: i16, body: &Bytes) -> Result<Option<RequestBody>, Malformed> {
    Ok(Some(match api {
        Api::Produce => RequestBody::Produce(Produce::of(version, shape::decode(version, body)?)),
        Api::Fetch => RequestBody::Fetch(Box::new(shape::decode(version, body)?)),
        Api::ListOffsets => RequestBody::ListOffsets(shape::decode(version, body)?),
        Api::Metadata => RequestBody::Metadata(shape::decode(version, body)?),
        Api::FindCoordinator => RequestBody::FindCoordinator(shape::decode(version, body)?),
        Api::CreateTopics => RequestBody::CreateTopics(shape::decode(version, body)?),
        Api::DeleteTopics => RequestBody::DeleteTopics(shape::decode(version, body)?),
        Api::DeleteRecords => RequestBody::DeleteRecords(shape::decode(version, body)?),
        Api::InitProducerId => RequestBody::InitProducerId(shape::decode(version, body)?),
        Api::CreatePartitions => RequestBody::CreatePartitions(shape::decode(version, body)?),
        Api::OffsetForLeaderEpoch => RequestBody::OffsetForLeaderEpoch(shape::decode(version, body)?),
        Api::DescribeCluster => RequestBody::DescribeCluster(shape::decode(version, body)?),
        Api::DescribeTopicPartitions => RequestBody::DescribeTopicPartitions(shape::decode(version, body)?),
        Api::DescribeConfigs => RequestBody::DescribeConfigs(shape::decode(version, body)?),
        Api::AlterConfigs => RequestBody::AlterConfigs(shape::decode(version, body)?),
        Api::IncrementalAlterConfigs => RequestBody::IncrementalAlterConfigs(shape::decode(version, body)?),
        Api::JoinGroup => group(GroupRequest::Join(shape::decode(version, body)?)),
        Api::SyncGroup => group(GroupRequest::Sync(shape::decode(version, body)?)),
        Api::Heartbeat => group(GroupRequest::Heartbeat(shape::decode(version, body)?)),
        Api::LeaveGroup => group(GroupRequest::Leave(shape::decode(version, body)?)),
        Api::OffsetCommit => group(GroupRequest::Commit(shape::decode(version, body)?)),
        Api::OffsetFetch => group(GroupRequest::Fetch(shape::decode(version, body)?)),
        Api::OffsetDelete => group(GroupRequest::DeleteOffsets(shape::decode(version, body)?)),
        Api::ListGroups => group(GroupRequest::List(shape::decode(version, body)?)),
        Api::DescribeGroups => group(GroupRequest::Describe(shape::decode(version, body)?)),
        Api::DeleteGroups => group(GroupRequest::Delete(shape::decode(version, body)?)),
        Api::ConsumerGroupHeartbeat => group(GroupRequest::NewHeartbeat(shape::decode(version, body)?)),
        Api::DescribeAcls => admin(AdminRequest::Acls(shape::decode(version, body)?)),
        Api::CreateAcls => admin(AdminRequest::CreateAcls(shape::decode(version, body)?)),
        Api::DeleteAcls => admin(AdminRequest::DeleteAcls(shape::decode(version, body)?)),
        Api::DescribeLogDirs => admin(AdminRequest::LogDirs(shape::decode(version, body)?)),
        Api::ElectLeaders => admin(AdminRequest::ElectLeaders(shape::decode(version, body)?)),
        Api::AlterPartitionReassignments => admin(AdminRequest::Reassign(shape::decode(version, body)?)),
        Api::ListPartitionReassignments => admin(AdminRequest::Reassignments(shape::decode(version, body)?)),
        Api::DescribeClientQuotas => admin(AdminRequest::ClientQuotas(shape::decode(version, body)?)),
        Api::DescribeUserScramCredentials => admin(AdminRequest::ScramCredentials(shape::decode(version, body)?)),
        Api::DescribeProducers => admin(AdminRequest::Producers(shape::decode(version, body)?)),
        Api::DescribeTransactions => admin(AdminRequest::Transactions(shape::decode(version, body)?)),
        Api::ListTransactions => admin(AdminRequest::ListTransactions(shape::decode(version, body)?)),
        Api::ApiVersions => return Ok(None),
    }))
}

fn admin(request: AdminRequest) -> RequestBody {
    RequestBody::Admin(Box::new(request))
}

fn group(request: GroupRequest) -> RequestBody {
    RequestBody::Group(Box::new(request))
}

impl Produce {
    fn of(version: i16, request: ProduceRequest) -> Self {
        let topics = request.topic_data.into_iter().map(|topic| ProduceTopic {
            name: (version <= 12).then_some(topic.name.0),
            id: TopicId(*topic.topic_id.as_bytes()),
            partitions: topic
                .partition_data
                .into_iter()
                .map(|partition| ProducePartition {
                    index: partition.index,
                    records: check_records(version, partition.records),
                })
                .collect(),
        });
        Self {
            acks: match request.acks {
                0 => Acks::None,
                1 => Acks::Leader,
                -1 => Acks::All,
                _ => Acks::Invalid,
            },
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
            topics: topics.collect(),
        }
    }
}

/// Whether a client gives its name and version as Kafka wants them (KIP-511): letters, digits, and between them also dots
/// and hyphens.
fn check_software(version: i16, request: &ApiVersionsRequest) -> ErrorCode {
    let legal = |text: &str| {
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let inner = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        ends(bytes.first()) && ends(bytes.last()) && inner
    };
    // Before version 3 there were no such fields.
    if version < 3 || (legal(&request.client_software_name) && legal(&request.client_software_version)) {
        ErrorCode::None
    } else {
        ErrorCode::InvalidRequest
    }
}

fn check_records(version: i16, records: Option<Bytes>) -> Result<CheckedBatch, Refusal> {
    /// The first version of Produce in which a batch may be compressed by Zstandard.
    const ZSTD: i16 = 7;
    let checked = CheckedBatch::check(&records.unwrap_or_default())?;
    if version < ZSTD && checked.header.attributes.codec() == Some(super::batch::Codec::Zstd) {
        return Err(ErrorCode::UnsupportedCompressionType.because("Zstandard needs version 7 of Produce"));
    }
    Ok(checked)
}

fn name(api: Api) -> &'static str {
    match api {
        Api::Produce => "Produce",
        Api::Fetch => "Fetch",
        Api::ListOffsets => "ListOffsets",
        Api::Metadata => "Metadata",
        Api::ApiVersions => "ApiVersions",
        Api::FindCoordinator => "FindCoordinator",
        Api::CreateTopics => "CreateTopics",
        Api::DeleteTopics => "DeleteTopics",
        Api::DeleteRecords => "DeleteRecords",
        Api::InitProducerId => "InitProducerId",
        Api::CreatePartitions => "CreatePartitions",
        Api::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        Api::DescribeCluster => "DescribeCluster",
        Api::DescribeTopicPartitions => "DescribeTopicPartitions",
        Api::DescribeConfigs => "DescribeConfigs",
        Api::AlterConfigs => "AlterConfigs",
        Api::IncrementalAlterConfigs => "IncrementalAlterConfigs",
        Api::JoinGroup => "JoinGroup",
        Api::SyncGroup => "SyncGroup",
        Api::Heartbeat => "Heartbeat",
        Api::LeaveGroup => "LeaveGroup",
        Api::OffsetCommit => "OffsetCommit",
        Api::OffsetFetch => "OffsetFetch",
        Api::OffsetDelete => "OffsetDelete",
        Api::ListGroups => "ListGroups",
        Api::DescribeGroups => "DescribeGroups",
        Api::DeleteGroups => "DeleteGroups",
        Api::ConsumerGroupHeartbeat => "ConsumerGroupHeartbeat",
        Api::DescribeAcls => "DescribeAcls",
        Api::CreateAcls => "CreateAcls",
        Api::DeleteAcls => "DeleteAcls",
        Api::DescribeLogDirs => "DescribeLogDirs",
        Api::ElectLeaders => "ElectLeaders",
        Api::AlterPartitionReassignments => "AlterPartitionReassignments",
        Api::ListPartitionReassignments => "ListPartitionReassignments",
        Api::DescribeClientQuotas => "DescribeClientQuotas",
        Api::DescribeUserScramCredentials => "DescribeUserScramCredentials",
        Api::DescribeProducers => "DescribeProducers",
        Api::DescribeTransactions => "DescribeTransactions",
        Api::ListTransactions => "ListTransactions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::tests::{batch, records};
    use crate::kafka::frame::CorrelationId;
    use crate::kafka::testing::{Client, frame};
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

    fn produce(version: i16, acks: i16, records: Option<Bytes>) -> Produce {
        let name = if version <= 12 { "logs" } else { "" };
        let partition = PartitionProduceData::default().with_index(4).with_records(records);
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_partition_data([partition].into());
        let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(1500).with_topic_data([topic].into());
        let bytes = frame(Client { correlation: 9, id: Some("a") }, Api::Produce, version, &request);
        let (header, ask) = decode(bytes).expect("well-formed");
        assert_eq!(header.correlation, CorrelationId(9));
        match ask {
            Ask::Handle(Request { body: RequestBody::Produce(produce), .. }) => produce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_produce_comes_with_checked_batches_that_are_slices_of_the_frame() {
        let sound = Bytes::from(batch(2, &records(2)));
        for version in 3..=13 {
            let produce = produce(version, -1, Some(sound.clone()));
            assert_eq!((produce.acks, produce.timeout), (Acks::All, Duration::from_millis(1500)));
            assert_eq!(produce.topics[0].name.is_some(), version <= 12);
            let partition = &produce.topics[0].partitions[0];
            assert_eq!(partition.index, 4);
            assert_eq!(*partition.records.as_ref().expect("sound").bytes, sound);
        }
    }

    #[test]
    fn defects_are_kept_for_the_answer() {
        let error = |version, acks, records| {
            let produce = produce(version, acks, records);
            (produce.acks, produce.topics[0].partitions[0].records.clone().map(|_| ()).unwrap_err().code)
        };
        assert_eq!(error(9, 0, None), (Acks::None, ErrorCode::InvalidRecord));
        assert_eq!(error(3, 1, Some(Bytes::from_static(b"???"))), (Acks::Leader, ErrorCode::InvalidRecord));
        let mut zstd = batch(1, b"");
        zstd[22] = 4;
        let crc = crc32c::crc32c(&zstd[21..]);
        zstd[17..21].copy_from_slice(&crc.to_be_bytes());
        let zstd = Bytes::from(zstd);
        assert_eq!(error(6, 5, Some(zstd.clone())), (Acks::Invalid, ErrorCode::UnsupportedCompressionType));
        assert!(produce(7, 5, Some(zstd)).topics[0].partitions[0].records.is_ok());
    }

    #[test]
    fn clients_name_their_software_as_kafka_wants_it() {
        let verdict = |name: &'static str, version: &'static str| {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str(name))
                .with_client_software_version(StrBytes::from_static_str(version));
            let bytes = frame(Client { correlation: 9, id: Some("a") }, Api::ApiVersions, 3, &request);
            match decode(bytes).expect("well-formed").1 {
                Ask::Versions { version: 3, error } => error,
                other => panic!("{other:?}"),
            }
        };
        for (name, version) in [("kgo", "1.20.0"), ("a", "1"), ("apache-kafka-java", "4.0.0-rc1"), ("A.-b", "0")] {
            assert_eq!(verdict(name, version), ErrorCode::None);
        }
        for (name, version) in [("", "1"), ("a", ""), ("-a", "1"), ("a", "1."), ("a b", "1"), ("ä", "1"), ("a_b", "1")]
        {
            assert_eq!(verdict(name, version), ErrorCode::InvalidRequest, "{name} {version}");
        }
    }

    #[test]
    fn what_is_not_served_is_malformed_unless_it_asks_what_is_served() {
        let head = |key: i16, version: i16| {
            let mut bytes = Vec::new();
            bytes.extend_from_slice(&key.to_be_bytes());
            bytes.extend_from_slice(&version.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 1]);
            decode(bytes.into())
        };
        for version in [5, 1000, -1, i16::MIN] {
            let (_, ask) = head(18, version).expect("answered");
            assert!(matches!(ask, Ask::Versions { version: 0, error: ErrorCode::UnsupportedVersion }), "{ask:?}");
        }
        assert_eq!(head(24, 0).unwrap_err().fault, Fault::Api(24));
        assert_eq!(head(0, 2).unwrap_err().fault, Fault::OldVersion(2));
        assert_eq!(head(1, 19).unwrap_err().fault, Fault::Version(19));
        assert_eq!(head(3, 1).unwrap_err(), Malformed { field: "client id", fault: Fault::Short });
    }
}
