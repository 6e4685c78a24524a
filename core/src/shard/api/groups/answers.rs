//! What the group room says, in Kafka's words.

use crate::group::{Codes, JoinReply, Left, Reply, SyncReply};
use crate::kafka::ErrorCode;
use crate::machine::Rope;
use crate::shard::api::str_bytes;
use crate::shard::encoded;
use alloc::sync::Arc;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{
    DeleteGroupsResponse, JoinGroupResponse, LeaveGroupResponse, OffsetCommitResponse, OffsetDeleteResponse,
    SyncGroupResponse,
};

/// The body of an answer.
pub(super) fn body(version: i16, reply: Reply) -> Rope {
    match reply {
        Reply::Join(reply) => encoded(version, &join(version, reply)),
        Reply::Sync(reply) => encoded(version, &sync(version, reply)),
        Reply::Leave(left) => encoded(version, &leave(version, left)),
        Reply::Commit(topics) => encoded(version, &commit(topics)),
        Reply::DeleteOffsets(code, topics) => encoded(version, &delete_offsets(code, topics)),
        Reply::DeleteGroups(groups) => {
            let result = |(id, code): (Arc<str>, ErrorCode)| {
                DeletableGroupResult::default().with_group_id(str_bytes(&id).into()).with_error_code(code.code())
            };
            let results = groups.into_iter().map(result).collect();
            encoded(version, &DeleteGroupsResponse::default().with_results(results))
        }
    }
}

fn join(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(str_bytes(&id)).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(instance.map(|id| str_bytes(&id))) } else { member }
    });
    let protocol = reply.protocol.map(|name| str_bytes(&name));
    let response = JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation)
        .with_leader(str_bytes(&reply.leader))
        .with_member_id(str_bytes(&reply.member))
        .with_members(members.collect());
    let response = if version >= 9 { response.with_skip_assignment(reply.skip_assignment) } else { response };
    if version >= 7 {
        // It may be null since.
        response.with_protocol_type(reply.protocol_type.map(|name| str_bytes(&name))).with_protocol_name(protocol)
    } else {
        response.with_protocol_name(Some(protocol.unwrap_or_default()))
    }
}

fn sync(version: i16, reply: SyncReply) -> SyncGroupResponse {
    let response = SyncGroupResponse::default().with_error_code(reply.error.code()).with_assignment(reply.assignment);
    if version >= 5 {
        let text = |name: Option<Arc<str>>| name.map(|name| str_bytes(&name));
        response.with_protocol_type(text(reply.protocol_type)).with_protocol_name(text(reply.protocol))
    } else {
        response
    }
}

fn leave(version: i16, left: Left) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default().with_error_code(left.error.code());
    if version < 3 {
        // There is one member, and one code for all.
        let code = left.members.first().map_or(left.error, |(.., code)| *code);
        return response.with_error_code(code.code());
    }
    let members = left.members.into_iter().map(|(id, instance, code)| {
        MemberResponse::default()
            .with_member_id(str_bytes(&id))
            .with_group_instance_id(instance.map(|id| str_bytes(&id)))
            .with_error_code(code.code())
    });
    response.with_members(members.collect())
}

fn commit(topics: Codes) -> OffsetCommitResponse {
    let topics = topics.into_iter().map(|(topic, lines)| {
        let partitions = lines.into_iter().map(|(index, code)| {
            OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(code.code())
        });
        OffsetCommitResponseTopic::default().with_name(str_bytes(&topic).into()).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn delete_offsets(code: ErrorCode, topics: Codes) -> OffsetDeleteResponse {
    let topics = topics.into_iter().map(|(topic, lines)| {
        let partitions = lines.into_iter().map(|(index, code)| {
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code.code())
        });
        OffsetDeleteResponseTopic::default().with_name(str_bytes(&topic).into()).with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_error_code(code.code()).with_topics(topics.collect())
}
