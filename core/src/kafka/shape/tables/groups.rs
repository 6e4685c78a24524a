//! Requests about consumer groups.

use super::{BOOL, I32, I64, LAST, NULLABLE_TEXT, PARTITION_INDEXES, TEXT, UUID, field, message};
use crate::kafka::shape::{Element, Kind, Shape};
use core::mem::size_of;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

const BYTES: Kind = Kind::Bytes;

pub(super) static JOIN_GROUP: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(0, LAST, "session_timeout_ms", I32),
    field(1, LAST, "rebalance_timeout_ms", I32),
    field(0, LAST, "member_id", TEXT),
    field(5, LAST, "group_instance_id", NULLABLE_TEXT),
    field(0, LAST, "protocol_type", TEXT),
    field(0, LAST, "protocols", Kind::Array(&PROTOCOLS)),
    field(8, LAST, "reason", NULLABLE_TEXT),
]);
static PROTOCOLS: Element = Element { size: size_of::<JoinGroupRequestProtocol>(), kind: Kind::Struct(&PROTOCOL) };
static PROTOCOL: Shape = message(&[field(0, LAST, "name", TEXT), field(0, LAST, "metadata", BYTES)]);

pub(super) static SYNC_GROUP: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(0, LAST, "generation_id", I32),
    field(0, LAST, "member_id", TEXT),
    field(3, LAST, "group_instance_id", NULLABLE_TEXT),
    field(5, LAST, "protocol_type", NULLABLE_TEXT),
    field(5, LAST, "protocol_name", NULLABLE_TEXT),
    field(0, LAST, "assignments", Kind::Array(&ASSIGNMENTS)),
]);
static ASSIGNMENTS: Element =
    Element { size: size_of::<SyncGroupRequestAssignment>(), kind: Kind::Struct(&ASSIGNMENT) };
static ASSIGNMENT: Shape = message(&[field(0, LAST, "member_id", TEXT), field(0, LAST, "assignment", BYTES)]);

pub(super) static HEARTBEAT: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(0, LAST, "generation_id", I32),
    field(0, LAST, "member_id", TEXT),
    field(3, LAST, "group_instance_id", NULLABLE_TEXT),
]);

pub(super) static CONSUMER_GROUP_HEARTBEAT: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(0, LAST, "member_id", TEXT),
    field(0, LAST, "member_epoch", I32),
    field(0, LAST, "instance_id", NULLABLE_TEXT),
    field(0, LAST, "rack_id", NULLABLE_TEXT),
    field(0, LAST, "rebalance_timeout_ms", I32),
    field(0, LAST, "subscribed_topic_names", Kind::NullableArray(&SUBSCRIBED)),
    field(1, LAST, "subscribed_topic_regex", NULLABLE_TEXT),
    field(0, LAST, "server_assignor", NULLABLE_TEXT),
    field(0, LAST, "topic_partitions", Kind::NullableArray(&OWNED_TOPICS)),
]);
static SUBSCRIBED: Element = Element { size: size_of::<TopicName>(), kind: TEXT };
static OWNED_TOPICS: Element = Element { size: size_of::<TopicPartitions>(), kind: Kind::Struct(&OWNED_TOPIC) };
static OWNED_TOPIC: Shape =
    message(&[field(0, LAST, "topic_id", UUID), field(0, LAST, "partitions", Kind::Array(&PARTITION_INDEXES))]);

pub(super) static LEAVE_GROUP: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(0, 2, "member_id", TEXT),
    field(3, LAST, "members", Kind::Array(&LEAVERS)),
]);
static LEAVERS: Element = Element { size: size_of::<MemberIdentity>(), kind: Kind::Struct(&LEAVER) };
static LEAVER: Shape = message(&[
    field(3, LAST, "member_id", TEXT),
    field(3, LAST, "group_instance_id", NULLABLE_TEXT),
    field(5, LAST, "reason", NULLABLE_TEXT),
]);

pub(super) static OFFSET_COMMIT: Shape = message(&[
    field(0, LAST, "group_id", TEXT),
    field(1, LAST, "generation_id_or_member_epoch", I32),
    field(1, LAST, "member_id", TEXT),
    field(7, LAST, "group_instance_id", NULLABLE_TEXT),
    field(2, 4, "retention_time_ms", I64),
    field(0, LAST, "topics", Kind::Array(&COMMIT_TOPICS)),
]);
static COMMIT_TOPICS: Element =
    Element { size: size_of::<OffsetCommitRequestTopic>(), kind: Kind::Struct(&COMMIT_TOPIC) };
static COMMIT_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partitions", Kind::Array(&COMMIT_PARTITIONS))]);
static COMMIT_PARTITIONS: Element =
    Element { size: size_of::<OffsetCommitRequestPartition>(), kind: Kind::Struct(&COMMIT_PARTITION) };
static COMMIT_PARTITION: Shape = message(&[
    field(0, LAST, "partition_index", I32),
    field(0, LAST, "committed_offset", I64),
    field(6, LAST, "committed_leader_epoch", I32),
    field(0, LAST, "committed_metadata", NULLABLE_TEXT),
]);

pub(super) static OFFSET_FETCH: Shape = message(&[
    field(0, 7, "group_id", TEXT),
    field(0, 7, "topics", Kind::NullableArray(&FETCH_TOPICS)),
    field(8, LAST, "groups", Kind::Array(&FETCH_GROUPS)),
    field(7, LAST, "require_stable", BOOL),
]);
static FETCH_TOPICS: Element = Element { size: size_of::<OffsetFetchRequestTopic>(), kind: Kind::Struct(&FETCH_TOPIC) };
static FETCH_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partition_indexes", Kind::Array(&PARTITION_INDEXES))]);
static FETCH_GROUPS: Element = Element { size: size_of::<OffsetFetchRequestGroup>(), kind: Kind::Struct(&FETCH_GROUP) };
static FETCH_GROUP: Shape = message(&[
    field(8, LAST, "group_id", TEXT),
    field(9, LAST, "member_id", NULLABLE_TEXT),
    field(9, LAST, "member_epoch", I32),
    field(8, LAST, "topics", Kind::NullableArray(&FETCH_GROUP_TOPICS)),
]);
static FETCH_GROUP_TOPICS: Element =
    Element { size: size_of::<OffsetFetchRequestTopics>(), kind: Kind::Struct(&FETCH_TOPIC) };

pub(super) static OFFSET_DELETE: Shape =
    message(&[field(0, LAST, "group_id", TEXT), field(0, LAST, "topics", Kind::Array(&DELETE_TOPICS))]);
static DELETE_TOPICS: Element =
    Element { size: size_of::<OffsetDeleteRequestTopic>(), kind: Kind::Struct(&DELETE_TOPIC) };
static DELETE_TOPIC: Shape =
    message(&[field(0, LAST, "name", TEXT), field(0, LAST, "partitions", Kind::Array(&DELETE_PARTITIONS))]);
static DELETE_PARTITIONS: Element =
    Element { size: size_of::<OffsetDeleteRequestPartition>(), kind: Kind::Struct(&DELETE_PARTITION) };
static DELETE_PARTITION: Shape = message(&[field(0, LAST, "partition_index", I32)]);

pub(super) static LIST_GROUPS: Shape = message(&[
    field(4, LAST, "states_filter", Kind::Array(&TEXTS)),
    field(5, LAST, "types_filter", Kind::Array(&TEXTS)),
]);
static TEXTS: Element = Element { size: size_of::<StrBytes>(), kind: TEXT };

pub(super) static DESCRIBE_GROUPS: Shape = message(&[
    field(0, LAST, "groups", Kind::Array(&GROUP_IDS)),
    field(3, LAST, "include_authorized_operations", BOOL),
]);
static GROUP_IDS: Element = Element { size: size_of::<GroupId>(), kind: TEXT };

pub(super) static DELETE_GROUPS: Shape = message(&[field(0, LAST, "groups_names", Kind::Array(&GROUP_IDS))]);
