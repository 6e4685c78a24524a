//! The shapes of the requests that are served: Kafka's schemas, one line per field.

mod admin;
mod groups;

use super::{Element, Field, Kind, Place, Shape};
use crate::kafka::Api;
use crate::kafka::request::{ProducePartition, ProduceTopic};
use core::mem::size_of;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

const LAST: i16 = i16::MAX;
const BOOL: Kind = Kind::Fixed(1);
const I8: Kind = Kind::Fixed(1);
const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);
const UUID: Kind = Kind::Fixed(16);
const TEXT: Kind = Kind::Text;
const NULLABLE_TEXT: Kind = Kind::NullableText;

/// The shape of an API's requests.
pub(super) const fn of(api: Api) -> &'static Shape {
    match api {
        Api::Produce => &PRODUCE,
        Api::Fetch => &FETCH,
        Api::ListOffsets => &LIST_OFFSETS,
        Api::Metadata => &METADATA,
        Api::FindCoordinator => &FIND_COORDINATOR,
        Api::ApiVersions => &API_VERSIONS,
        Api::CreateTopics => &CREATE_TOPICS,
        Api::DeleteTopics => &DELETE_TOPICS,
        Api::DeleteRecords => &DELETE_RECORDS,
        Api::InitProducerId => &INIT_PRODUCER_ID,
        Api::CreatePartitions => &CREATE_PARTITIONS,
        Api::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        Api::DescribeCluster => &DESCRIBE_CLUSTER,
        Api::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        Api::DescribeConfigs => &DESCRIBE_CONFIGS,
        Api::AlterConfigs => &ALTER_CONFIGS,
        Api::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        Api::JoinGroup => &groups::JOIN_GROUP,
        Api::SyncGroup => &groups::SYNC_GROUP,
        Api::Heartbeat => &groups::HEARTBEAT,
        Api::LeaveGroup => &groups::LEAVE_GROUP,
        Api::OffsetCommit => &groups::OFFSET_COMMIT,
        Api::OffsetFetch => &groups::OFFSET_FETCH,
        Api::OffsetDelete => &groups::OFFSET_DELETE,
        Api::ListGroups => &groups::LIST_GROUPS,
        Api::DescribeGroups => &groups::DESCRIBE_GROUPS,
        Api::DeleteGroups => &groups::DELETE_GROUPS,
        Api::ConsumerGroupHeartbeat => &groups::CONSUMER_GROUP_HEARTBEAT,
        Api::DescribeAcls => &admin::DESCRIBE_ACLS,
        Api::CreateAcls => &admin::CREATE_ACLS,
        Api::DeleteAcls => &admin::DELETE_ACLS,
        Api::DescribeLogDirs => &admin::DESCRIBE_LOG_DIRS,
        Api::ElectLeaders => &admin::ELECT_LEADERS,
        Api::AlterPartitionReassignments => &admin::ALTER_PARTITION_REASSIGNMENTS,
        Api::ListPartitionReassignments => &admin::LIST_PARTITION_REASSIGNMENTS,
        Api::DescribeClientQuotas => &admin::DESCRIBE_CLIENT_QUOTAS,
        Api::DescribeUserScramCredentials => &admin::DESCRIBE_USER_SCRAM_CREDENTIALS,
        Api::DescribeProducers => &admin::DESCRIBE_PRODUCERS,
        Api::DescribeTransactions => &admin::DESCRIBE_TRANSACTIONS,
        Api::ListTransactions => &admin::LIST_TRANSACTIONS,
    }
}

static FIND_COORDINATOR: Shape = message(&[
    field(0, 3, "key", TEXT),
    field(1, LAST, "key_type", I8),
    field(4, LAST, "coordinator_keys", Kind::Array(&COORDINATOR_KEYS)),
]);
static COORDINATOR_KEYS: Element = Element { size: size_of::<StrBytes>(), kind: TEXT };

// Decoded produce requests are rebuilt as Karst's own, so for a moment there are both.
static PRODUCE: Shape = message(&[
    field(3, LAST, "transactional_id", NULLABLE_TEXT),
    field(0, LAST, "acks", I16),
    field(0, LAST, "timeout_ms", I32),
    field(0, LAST, "topic_data", Kind::Array(&PRODUCE_TOPICS)),
]);
static PRODUCE_TOPICS: Element =
    Element { size: size_of::<TopicProduceData>() + size_of::<ProduceTopic>(), kind: Kind::Struct(&PRODUCE_TOPIC) };
static PRODUCE_TOPIC: Shape = message(&[
    field(0, 12, "name", TEXT),
    field(13, LAST, "topic_id", UUID),
    field(0, LAST, "partition_data", Kind::Array(&PRODUCE_PARTITIONS)),
]);
static PRODUCE_PARTITIONS: Element = Element {
    size: size_of::<PartitionProduceData>() + size_of::<ProducePartition>(),
    kind: Kind::Struct(&PRODUCE_PARTITION),
};
static PRODUCE_PARTITION: Shape = message(&[field(0, LAST, "index", I32), field(0, LAST, "records", Kind::Records)]);

static FETCH: Shape = message(&[
    field(0, 14, "replica_id", I32),
    field(0, LAST, "max_wait_ms", I32),
    field(0, LAST, "min_bytes", I32),
    field(3, LAST, "max_bytes", I32),
    field(4, LAST, "isolation_level", I8),
    field(7, LAST, "session_id", I32),
    field(7, LAST, "session_epoch", I32),
    field(0, LAST, "topics", Kind::Array(&FETCH_TOPICS)),
    field(7, LAST, "forgotten_topics_data", Kind::Array(&FORGOTTEN_TOPICS)),
    field(11, LAST, "rack_id", TEXT),
    tagged(0, 12, "cluster_id", NULLABLE_TEXT),
    tagged(1, 15, "replica_state", Kind::Struct(&REPLICA_STATE)),
]);
static REPLICA_STATE: Shape = message(&[field(15, LAST, "replica_id", I32), field(15, LAST, "replica_epoch", I64)]);
static FETCH_TOPICS: Element = Element { size: size_of::<FetchTopic>(), kind: Kind::Struct(&FETCH_TOPIC) };
static FETCH_TOPIC: Shape = message(&[
    field(0, 12, "topic", TEXT),
    field(13, LAST, "topic_id", UUID),
    field(0, LAST, "partitions", Kind::Array(&FETCH_PARTITIONS)),
]);
static FETCH_PARTITIONS: Element = Element { size: size_of::<FetchPartition>(), kind: Kind::Struct(&FETCH_PARTITION) };
static FETCH_PARTITION: Shape = message(&[
    field(0, LAST, "partition", I32),
    field(9, LAST, "current_leader_epoch", I32),
    field(0, LAST, "fetch_offset", I64),
    field(12, LAST, "last_fetched_epoch", I32),
    field(5, LAST, "log_start_offset", I64),
    field(0, LAST, "partition_max_bytes", I32),
    tagged(0, 17, "replica_directory_id", UUID),
    tagged(1, 18, "high_watermark", I64),
]);
static FORGOTTEN_TOPICS: Element = Element { size: size_of::<ForgottenTopic>(), kind: Kind::Struct(&FORGOTTEN_TOPIC) };
static FORGOTTEN_TOPIC: Shape = message(&[
    field(7, 12, "topic", TEXT),
    field(13, LAST, "topic_id", UUID),
    field(7, LAST, "partitions", Kind::Array(&PARTITION_INDEXES)),
]);
static PARTITION_INDEXES: Element = Element { size: size_of::<i32>(), kind: I32 };

static LIST_OFFSETS: Shape = message(&[
    field(0, LAST, "replica_id", I32),
    field(2, LAST, "isolation_level", I8),
    field(0, LAST, "topics", Kind::Array(&LIST_OFFSETS_TOPICS)),
    field(10, LAST, "timeout_ms", I32),
]);
static LIST_OFFSETS_TOPICS: Element =
    Element { size: size_of::<ListOffsetsTopic>(), kind: Kind::Struct(&LIST_OFFSETS_TOPIC) };
static LIST_OFFSETS_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partitions", Kind::Array(&LIST_OFFSETS_PARTITIONS))]);
// What they come to is gathered before there is an answer.
static LIST_OFFSETS_PARTITIONS: Element = Element {
    size: size_of::<ListOffsetsPartition>() + size_of::<[u64; 5]>(),
    kind: Kind::Struct(&LIST_OFFSETS_PARTITION),
};
static LIST_OFFSETS_PARTITION: Shape = message(&[
    field(0, LAST, "partition_index", I32),
    field(4, LAST, "current_leader_epoch", I32),
    field(0, LAST, "timestamp", I64),
]);

static METADATA: Shape = message(&[
    field(0, LAST, "topics", Kind::NullableArray(&METADATA_TOPICS)),
    field(4, LAST, "allow_auto_topic_creation", BOOL),
    field(8, 10, "include_cluster_authorized_operations", BOOL),
    field(8, LAST, "include_topic_authorized_operations", BOOL),
]);
static METADATA_TOPICS: Element =
    Element { size: size_of::<MetadataRequestTopic>(), kind: Kind::Struct(&METADATA_TOPIC) };
static METADATA_TOPIC: Shape = message(&[field(10, LAST, "topic_id", UUID), field(0, LAST, "name", NULLABLE_TEXT)]);

static API_VERSIONS: Shape =
    message(&[field(3, LAST, "client_software_name", TEXT), field(3, LAST, "client_software_version", TEXT)]);

static CREATE_TOPICS: Shape = message(&[
    field(0, LAST, "topics", Kind::Array(&CREATABLE_TOPICS)),
    field(0, LAST, "timeout_ms", I32),
    field(1, LAST, "validate_only", BOOL),
]);
static CREATABLE_TOPICS: Element = Element { size: size_of::<CreatableTopic>(), kind: Kind::Struct(&CREATABLE_TOPIC) };
static CREATABLE_TOPIC: Shape = message(&[
    field(0, LAST, "name", TEXT),
    field(0, LAST, "num_partitions", I32),
    field(0, LAST, "replication_factor", I16),
    field(0, LAST, "assignments", Kind::Array(&ASSIGNMENTS)),
    field(0, LAST, "configs", Kind::Array(&CONFIGS)),
]);
static ASSIGNMENTS: Element =
    Element { size: size_of::<CreatableReplicaAssignment>(), kind: Kind::Struct(&ASSIGNMENT) };
static ASSIGNMENT: Shape =
    message(&[field(0, LAST, "partition_index", I32), field(0, LAST, "broker_ids", Kind::Array(&BROKER_IDS))]);
static BROKER_IDS: Element = Element { size: size_of::<BrokerId>(), kind: I32 };
static CONFIGS: Element = Element { size: size_of::<CreatableTopicConfig>(), kind: Kind::Struct(&CONFIG) };
static CONFIG: Shape = message(&[field(0, LAST, "name", TEXT), field(0, LAST, "value", NULLABLE_TEXT)]);

static DELETE_TOPICS: Shape = message(&[
    field(6, LAST, "topics", Kind::Array(&DELETE_TOPIC_STATES)),
    field(0, 5, "topic_names", Kind::Array(&TOPIC_NAMES)),
    field(0, LAST, "timeout_ms", I32),
]);
static DELETE_TOPIC_STATES: Element =
    Element { size: size_of::<DeleteTopicState>(), kind: Kind::Struct(&DELETE_TOPIC_STATE) };
static DELETE_TOPIC_STATE: Shape = message(&[field(6, LAST, "name", NULLABLE_TEXT), field(6, LAST, "topic_id", UUID)]);
static TOPIC_NAMES: Element = Element { size: size_of::<TopicName>(), kind: TEXT };

static DELETE_RECORDS: Shape =
    message(&[field(0, LAST, "topics", Kind::Array(&TRIMMED_TOPICS)), field(0, LAST, "timeout_ms", I32)]);
static TRIMMED_TOPICS: Element = Element { size: size_of::<DeleteRecordsTopic>(), kind: Kind::Struct(&TRIMMED_TOPIC) };
static TRIMMED_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partitions", Kind::Array(&TRIMMED_PARTITIONS))]);
static TRIMMED_PARTITIONS: Element =
    Element { size: size_of::<DeleteRecordsPartition>(), kind: Kind::Struct(&TRIMMED_PARTITION) };
static TRIMMED_PARTITION: Shape = message(&[field(0, LAST, "partition_index", I32), field(0, LAST, "offset", I64)]);

static INIT_PRODUCER_ID: Shape = message(&[
    field(0, LAST, "transactional_id", NULLABLE_TEXT),
    field(0, LAST, "transaction_timeout_ms", I32),
    field(3, LAST, "producer_id", I64),
    field(3, LAST, "producer_epoch", I16),
]);

static CREATE_PARTITIONS: Shape = message(&[
    field(0, LAST, "topics", Kind::Array(&GROWING_TOPICS)),
    field(0, LAST, "timeout_ms", I32),
    field(0, LAST, "validate_only", BOOL),
]);
static GROWING_TOPICS: Element =
    Element { size: size_of::<CreatePartitionsTopic>(), kind: Kind::Struct(&GROWING_TOPIC) };
static GROWING_TOPIC: Shape = message(&[
    field(0, LAST, "name", TEXT),
    field(0, LAST, "count", I32),
    field(0, LAST, "assignments", Kind::NullableArray(&NEW_ASSIGNMENTS)),
]);
static NEW_ASSIGNMENTS: Element =
    Element { size: size_of::<CreatePartitionsAssignment>(), kind: Kind::Struct(&NEW_ASSIGNMENT) };
static NEW_ASSIGNMENT: Shape = message(&[field(0, LAST, "broker_ids", Kind::Array(&BROKER_IDS))]);

static OFFSET_FOR_LEADER_EPOCH: Shape =
    message(&[field(3, LAST, "replica_id", I32), field(0, LAST, "topics", Kind::Array(&EPOCH_TOPICS))]);
static EPOCH_TOPICS: Element = Element { size: size_of::<OffsetForLeaderTopic>(), kind: Kind::Struct(&EPOCH_TOPIC) };
static EPOCH_TOPIC: Shape =
    message(&[field(0, LAST, "topic", TEXT), field(0, LAST, "partitions", Kind::Array(&EPOCH_PARTITIONS))]);
static EPOCH_PARTITIONS: Element =
    Element { size: size_of::<OffsetForLeaderPartition>(), kind: Kind::Struct(&EPOCH_PARTITION) };
static EPOCH_PARTITION: Shape = message(&[
    field(0, LAST, "partition", I32),
    field(2, LAST, "current_leader_epoch", I32),
    field(0, LAST, "leader_epoch", I32),
]);

static DESCRIBE_CLUSTER: Shape = message(&[
    field(0, LAST, "include_cluster_authorized_operations", BOOL),
    field(1, LAST, "endpoint_type", I8),
    field(2, LAST, "include_fenced_brokers", BOOL),
]);

static DESCRIBE_TOPIC_PARTITIONS: Shape = message(&[
    field(0, LAST, "topics", Kind::Array(&DESCRIBED_TOPICS)),
    field(0, LAST, "response_partition_limit", I32),
    field(0, LAST, "cursor", Kind::NullableStruct(&CURSOR)),
]);
static DESCRIBED_TOPICS: Element = Element { size: size_of::<TopicRequest>(), kind: Kind::Struct(&DESCRIBED_TOPIC) };
static DESCRIBED_TOPIC: Shape = message(&[field(0, LAST, "name", TEXT)]);
static CURSOR: Shape = message(&[field(0, LAST, "topic_name", TEXT), field(0, LAST, "partition_index", I32)]);

static DESCRIBE_CONFIGS: Shape = message(&[
    field(0, LAST, "resources", Kind::Array(&DESCRIBED_RESOURCES)),
    field(1, LAST, "include_synonyms", BOOL),
    field(3, LAST, "include_documentation", BOOL),
]);
static DESCRIBED_RESOURCES: Element =
    Element { size: size_of::<DescribeConfigsResource>(), kind: Kind::Struct(&DESCRIBED_RESOURCE) };
static DESCRIBED_RESOURCE: Shape = message(&[
    field(0, LAST, "resource_type", I8),
    field(0, LAST, "resource_name", TEXT),
    field(0, LAST, "configuration_keys", Kind::NullableArray(&CONFIGURATION_KEYS)),
]);
static CONFIGURATION_KEYS: Element = Element { size: size_of::<StrBytes>(), kind: TEXT };

static ALTER_CONFIGS: Shape =
    message(&[field(0, LAST, "resources", Kind::Array(&ALTERED_RESOURCES)), field(0, LAST, "validate_only", BOOL)]);
static ALTERED_RESOURCES: Element =
    Element { size: size_of::<AlterConfigsResource>(), kind: Kind::Struct(&ALTERED_RESOURCE) };
static ALTERED_RESOURCE: Shape = message(&[
    field(0, LAST, "resource_type", I8),
    field(0, LAST, "resource_name", TEXT),
    field(0, LAST, "configs", Kind::Array(&ALTERED_CONFIGS)),
]);
static ALTERED_CONFIGS: Element = Element { size: size_of::<AlterableConfig>(), kind: Kind::Struct(&CONFIG) };

static INCREMENTAL_ALTER_CONFIGS: Shape =
    message(&[field(0, LAST, "resources", Kind::Array(&CHANGED_RESOURCES)), field(0, LAST, "validate_only", BOOL)]);
static CHANGED_RESOURCES: Element =
    Element { size: size_of::<incremental::AlterConfigsResource>(), kind: Kind::Struct(&CHANGED_RESOURCE) };
static CHANGED_RESOURCE: Shape = message(&[
    field(0, LAST, "resource_type", I8),
    field(0, LAST, "resource_name", TEXT),
    field(0, LAST, "configs", Kind::Array(&CHANGED_CONFIGS)),
]);
static CHANGED_CONFIGS: Element =
    Element { size: size_of::<incremental::AlterableConfig>(), kind: Kind::Struct(&CHANGED_CONFIG) };
static CHANGED_CONFIG: Shape = message(&[
    field(0, LAST, "name", TEXT),
    field(0, LAST, "config_operation", I8),
    field(0, LAST, "value", NULLABLE_TEXT),
]);

const fn message(fields: &'static [Field]) -> Shape {
    Shape { fields }
}

const fn field(first: i16, last: i16, name: &'static str, kind: Kind) -> Field {
    Field { name, kind, versions: (first, last), place: Place::InOrder }
}

const fn tagged(tag: u32, first: i16, name: &'static str, kind: Kind) -> Field {
    Field { name, kind, versions: (first, LAST), place: Place::Tagged(tag) }
}
