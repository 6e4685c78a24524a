//! Requests of administrators.

use super::{BOOL, BROKER_IDS, I8, I32, I64, LAST, NULLABLE_TEXT, PARTITION_INDEXES, TEXT, field, message};
use crate::kafka::shape::{Element, Kind, Shape};
use core::mem::size_of;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;

pub(super) static DESCRIBE_ACLS: Shape = message(&[
    field(0, LAST, "resource_type_filter", I8),
    field(0, LAST, "resource_name_filter", NULLABLE_TEXT),
    field(1, LAST, "pattern_type_filter", I8),
    field(0, LAST, "principal_filter", NULLABLE_TEXT),
    field(0, LAST, "host_filter", NULLABLE_TEXT),
    field(0, LAST, "operation", I8),
    field(0, LAST, "permission_type", I8),
]);

pub(super) static CREATE_ACLS: Shape = message(&[field(0, LAST, "creations", Kind::Array(&ACL_CREATIONS))]);
static ACL_CREATIONS: Element = Element { size: size_of::<AclCreation>(), kind: Kind::Struct(&ACL_CREATION) };
static ACL_CREATION: Shape = message(&[
    field(0, LAST, "resource_type", I8),
    field(0, LAST, "resource_name", TEXT),
    field(1, LAST, "resource_pattern_type", I8),
    field(0, LAST, "principal", TEXT),
    field(0, LAST, "host", TEXT),
    field(0, LAST, "operation", I8),
    field(0, LAST, "permission_type", I8),
]);

pub(super) static DELETE_ACLS: Shape = message(&[field(0, LAST, "filters", Kind::Array(&ACL_FILTERS))]);
// A filter is all that DescribeAcls asks.
static ACL_FILTERS: Element = Element { size: size_of::<DeleteAclsFilter>(), kind: Kind::Struct(&DESCRIBE_ACLS) };

pub(super) static DESCRIBE_LOG_DIRS: Shape = message(&[field(0, LAST, "topics", Kind::NullableArray(&LOG_DIR_TOPICS))]);
static LOG_DIR_TOPICS: Element =
    Element { size: size_of::<DescribableLogDirTopic>(), kind: Kind::Struct(&NAMED_PARTITIONS) };
/// A topic's name, and the indexes of some of its partitions.
static NAMED_PARTITIONS: Shape =
    message(&[field(0, LAST, "topic", TEXT), field(0, LAST, "partitions", Kind::Array(&PARTITION_INDEXES))]);

pub(super) static ELECT_LEADERS: Shape = message(&[
    field(1, LAST, "election_type", I8),
    field(0, LAST, "topic_partitions", Kind::NullableArray(&ELECTED_TOPICS)),
    field(0, LAST, "timeout_ms", I32),
]);
static ELECTED_TOPICS: Element = Element { size: size_of::<TopicPartitions>(), kind: Kind::Struct(&NAMED_PARTITIONS) };

pub(super) static ALTER_PARTITION_REASSIGNMENTS: Shape = message(&[
    field(0, LAST, "timeout_ms", I32),
    field(1, LAST, "allow_replication_factor_change", BOOL),
    field(0, LAST, "topics", Kind::Array(&REASSIGNED_TOPICS)),
]);
static REASSIGNED_TOPICS: Element =
    Element { size: size_of::<ReassignableTopic>(), kind: Kind::Struct(&REASSIGNED_TOPIC) };
static REASSIGNED_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partitions", Kind::Array(&REASSIGNED_PARTITIONS))]);
static REASSIGNED_PARTITIONS: Element =
    Element { size: size_of::<ReassignablePartition>(), kind: Kind::Struct(&REASSIGNED_PARTITION) };
static REASSIGNED_PARTITION: Shape =
    message(&[field(0, LAST, "partition_index", I32), field(0, LAST, "replicas", Kind::NullableArray(&BROKER_IDS))]);

pub(super) static LIST_PARTITION_REASSIGNMENTS: Shape =
    message(&[field(0, LAST, "timeout_ms", I32), field(0, LAST, "topics", Kind::NullableArray(&REASSIGNING_TOPICS))]);
static REASSIGNING_TOPICS: Element =
    Element { size: size_of::<ListPartitionReassignmentsTopics>(), kind: Kind::Struct(&NAMED_PARTITIONS) };

pub(super) static DESCRIBE_CLIENT_QUOTAS: Shape =
    message(&[field(0, LAST, "components", Kind::Array(&QUOTA_COMPONENTS)), field(0, LAST, "strict", BOOL)]);
static QUOTA_COMPONENTS: Element = Element { size: size_of::<ComponentData>(), kind: Kind::Struct(&QUOTA_COMPONENT) };
static QUOTA_COMPONENT: Shape = message(&[
    field(0, LAST, "entity_type", TEXT),
    field(0, LAST, "match_type", I8),
    field(0, LAST, "match", NULLABLE_TEXT),
]);

pub(super) static DESCRIBE_USER_SCRAM_CREDENTIALS: Shape =
    message(&[field(0, LAST, "users", Kind::NullableArray(&SCRAM_USERS))]);
static SCRAM_USERS: Element = Element { size: size_of::<UserName>(), kind: Kind::Struct(&SCRAM_USER) };
static SCRAM_USER: Shape = message(&[field(0, LAST, "name", TEXT)]);

pub(super) static DESCRIBE_PRODUCERS: Shape = message(&[field(0, LAST, "topics", Kind::Array(&PRODUCING_TOPICS))]);
static PRODUCING_TOPICS: Element = Element { size: size_of::<TopicRequest>(), kind: Kind::Struct(&NAMED_PARTITIONS) };

pub(super) static DESCRIBE_TRANSACTIONS: Shape =
    message(&[field(0, LAST, "transactional_ids", Kind::Array(&TRANSACTIONAL_IDS))]);
static TRANSACTIONAL_IDS: Element = Element { size: size_of::<TransactionalId>(), kind: TEXT };

pub(super) static LIST_TRANSACTIONS: Shape = message(&[
    field(0, LAST, "state_filters", Kind::Array(&STATE_FILTERS)),
    field(0, LAST, "producer_id_filters", Kind::Array(&PRODUCER_IDS)),
    field(1, LAST, "duration_filter", I64),
    field(2, LAST, "transactional_id_pattern", NULLABLE_TEXT),
]);
static STATE_FILTERS: Element = Element { size: size_of::<StrBytes>(), kind: TEXT };
static PRODUCER_IDS: Element = Element { size: size_of::<ProducerId>(), kind: I64 };
