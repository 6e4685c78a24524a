//! Requests about consumer groups.

use super::*;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};

/// Whether a body that passed the check is a request.
pub(super) fn decodes(api: Api, version: i16, body: &Bytes) -> bool {
    match api {
        Api::JoinGroup => decode::<JoinGroupRequest>(version, body).is_ok(),
        Api::SyncGroup => decode::<SyncGroupRequest>(version, body).is_ok(),
        Api::Heartbeat => decode::<HeartbeatRequest>(version, body).is_ok(),
        Api::LeaveGroup => decode::<LeaveGroupRequest>(version, body).is_ok(),
        Api::OffsetCommit => decode::<OffsetCommitRequest>(version, body).is_ok(),
        Api::OffsetFetch => decode::<OffsetFetchRequest>(version, body).is_ok(),
        Api::OffsetDelete => decode::<OffsetDeleteRequest>(version, body).is_ok(),
        Api::ListGroups => decode::<ListGroupsRequest>(version, body).is_ok(),
        Api::DescribeGroups => decode::<DescribeGroupsRequest>(version, body).is_ok(),
        Api::DeleteGroups => decode::<DeleteGroupsRequest>(version, body).is_ok(),
        Api::ConsumerGroupHeartbeat => decode::<ConsumerGroupHeartbeatRequest>(version, body).is_ok(),
        _ => super::admin::decodes(api, version, body),
    }
}

impl Maker {
    fn group(&mut self) -> GroupId {
        GroupId(self.text())
    }

    fn text_since(&mut self, version: i16) -> Option<StrBytes> {
        if self.since(version) { self.maybe(Self::text) } else { None }
    }

    pub(super) fn join_group(&mut self) -> JoinGroupRequest {
        let request = JoinGroupRequest::default()
            .with_group_id(self.group())
            .with_session_timeout_ms(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.text_since(5))
            .with_protocol_type(self.text())
            .with_protocols(self.list(|m| {
                JoinGroupRequestProtocol::default()
                    .with_name(m.text())
                    .with_metadata(m.text().into_bytes())
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_reason(self.text_since(8))
            .with_unknown_tagged_fields(self.tags());
        if self.since(1) { request.with_rebalance_timeout_ms(self.i32()) } else { request }
    }

    pub(super) fn sync_group(&mut self) -> SyncGroupRequest {
        SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.text_since(3))
            .with_protocol_type(self.text_since(5))
            .with_protocol_name(self.text_since(5))
            .with_assignments(self.list(|m| {
                SyncGroupRequestAssignment::default()
                    .with_member_id(m.text())
                    .with_assignment(m.text().into_bytes())
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn heartbeat(&mut self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.text_since(3))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn consumer_group_heartbeat(&mut self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group())
            .with_member_id(self.text())
            .with_member_epoch(self.i32())
            .with_instance_id(self.maybe(Self::text))
            .with_rack_id(self.maybe(Self::text))
            .with_rebalance_timeout_ms(self.i32())
            .with_subscribed_topic_names(self.maybe(|m| m.list(Self::name)))
            .with_subscribed_topic_regex(self.text_since(1))
            .with_server_assignor(self.maybe(Self::text))
            .with_topic_partitions(self.maybe(|m| {
                m.list(|m| {
                    TopicPartitions::default()
                        .with_topic_id(m.uuid())
                        .with_partitions(m.list(Self::i32))
                        .with_unknown_tagged_fields(m.tags())
                })
            }))
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn leave_group(&mut self) -> LeaveGroupRequest {
        let request = LeaveGroupRequest::default().with_group_id(self.group()).with_unknown_tagged_fields(self.tags());
        if !self.since(3) {
            return request.with_member_id(self.text());
        }
        request.with_members(self.list(|m| {
            MemberIdentity::default()
                .with_member_id(m.text())
                .with_group_instance_id(m.maybe(Self::text))
                .with_reason(m.text_since(5))
                .with_unknown_tagged_fields(m.tags())
        }))
    }

    pub(super) fn offset_commit(&mut self) -> OffsetCommitRequest {
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group())
            .with_generation_id_or_member_epoch(self.i32())
            .with_member_id(self.text())
            .with_group_instance_id(self.text_since(7))
            .with_topics(self.list(|m| {
                OffsetCommitRequestTopic::default()
                    .with_name(m.name())
                    .with_partitions(m.list(|m| {
                        let partition = OffsetCommitRequestPartition::default()
                            .with_partition_index(m.i32())
                            .with_committed_offset(m.i64())
                            .with_committed_metadata(m.maybe(Self::text))
                            .with_unknown_tagged_fields(m.tags());
                        if m.since(6) { partition.with_committed_leader_epoch(m.i32()) } else { partition }
                    }))
                    .with_unknown_tagged_fields(m.tags())
            }))
            .with_unknown_tagged_fields(self.tags());
        if self.since(5) { request } else { request.with_retention_time_ms(self.i64()) }
    }

    pub(super) fn offset_fetch(&mut self) -> OffsetFetchRequest {
        let request = OffsetFetchRequest::default()
            .with_require_stable(self.since(7) && self.bool())
            .with_unknown_tagged_fields(self.tags());
        if self.since(8) {
            return request.with_topics(Some(Vec::new())).with_groups(self.list(|m| {
                let group = OffsetFetchRequestGroup::default()
                    .with_group_id(m.group())
                    .with_topics(m.maybe(|m| {
                        m.list(|m| {
                            OffsetFetchRequestTopics::default()
                                .with_name(m.name())
                                .with_partition_indexes(m.list(Self::i32))
                                .with_unknown_tagged_fields(m.tags())
                        })
                    }))
                    .with_unknown_tagged_fields(m.tags());
                if m.since(9) { group.with_member_id(m.maybe(Self::text)).with_member_epoch(m.i32()) } else { group }
            }));
        }
        let topics = self.list(|m| {
            OffsetFetchRequestTopic::default()
                .with_name(m.name())
                .with_partition_indexes(m.list(Self::i32))
                .with_unknown_tagged_fields(m.tags())
        });
        let topics = if self.since(2) { self.maybe(|_| topics) } else { Some(topics) };
        request.with_group_id(self.group()).with_topics(topics)
    }

    pub(super) fn offset_delete(&mut self) -> OffsetDeleteRequest {
        OffsetDeleteRequest::default().with_group_id(self.group()).with_topics(self.list(|m| {
            OffsetDeleteRequestTopic::default()
                .with_name(m.name())
                .with_partitions(m.list(|m| OffsetDeleteRequestPartition::default().with_partition_index(m.i32())))
        }))
    }

    pub(super) fn list_groups(&mut self) -> ListGroupsRequest {
        let request = ListGroupsRequest::default().with_unknown_tagged_fields(self.tags());
        let request = if self.since(4) { request.with_states_filter(self.list(Self::text)) } else { request };
        if self.since(5) { request.with_types_filter(self.list(Self::text)) } else { request }
    }

    pub(super) fn describe_groups(&mut self) -> DescribeGroupsRequest {
        DescribeGroupsRequest::default()
            .with_groups(self.list(Self::group))
            .with_include_authorized_operations(self.since(3) && self.bool())
            .with_unknown_tagged_fields(self.tags())
    }

    pub(super) fn delete_groups(&mut self) -> DeleteGroupsRequest {
        DeleteGroupsRequest::default().with_groups_names(self.list(Self::group)).with_unknown_tagged_fields(self.tags())
    }
}
