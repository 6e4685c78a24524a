//! Requests about consumer groups: from Kafka's words to the group room's, and back.

mod answers;
mod questions;

pub(in crate::shard) use questions::Question;

use crate::group::{Commit, CommitLine, Commits, Join, Leaver, Sync};
use crate::kafka::frame::client_id;
use crate::kafka::{ErrorCode, GroupRequest};
use crate::machine::{Effects, Now, Payload};
use crate::shard::joins::Asked;
use crate::shard::{Effect, Shard};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

impl Shard {
    pub(in crate::shard) fn handle_group(
        &mut self,
        now: Now,
        asked: Asked,
        frame: &Payload,
        request: GroupRequest,
        out: &mut Effects<Effect>,
    ) {
        match request {
            GroupRequest::Join(request) => self.handle_join_group(now, asked, client_id(frame), &request),
            GroupRequest::Sync(request) => self.handle_sync_group(now, asked, &request),
            GroupRequest::Heartbeat(request) => self.handle_heartbeat(now, asked, &request, out),
            GroupRequest::NewHeartbeat(_) => self.refuse_new_protocol(asked, out),
            GroupRequest::Leave(request) => self.handle_leave_group(now, asked, &request),
            GroupRequest::Commit(request) => self.handle_offset_commit(now, asked, &request),
            GroupRequest::DeleteOffsets(request) => self.handle_offset_delete(now, asked, &request),
            GroupRequest::Delete(request) => {
                let ids = request.groups_names.iter().map(|id| name(&id.0)).collect();
                self.groups.coordinator.delete(now, asked, ids, &mut self.groups.out);
            }
            GroupRequest::Fetch(request) => self.ask_question(now, asked, Question::Fetch(request), out),
            GroupRequest::List(request) => self.ask_question(now, asked, Question::List(request), out),
            GroupRequest::Describe(request) => self.ask_question(now, asked, Question::Describe(request), out),
        }
    }

    fn handle_join_group(&mut self, now: Now, asked: Asked, client: &str, request: &JoinGroupRequest) {
        // In version 0 there was one timeout for both.
        let rebalance = if asked.version >= 1 { request.rebalance_timeout_ms } else { request.session_timeout_ms };
        let protocols = request.protocols.iter();
        let join = Join {
            member: name(&request.member_id),
            instance: request.group_instance_id.as_ref().map(name),
            client: client.into(),
            host: self.arrivals.host(asked.conn),
            session: super::millis(request.session_timeout_ms),
            rebalance: super::millis(rebalance),
            protocol_type: name(&request.protocol_type),
            protocols: protocols.map(|protocol| (name(&protocol.name), copied(&protocol.metadata))).collect(),
        };
        self.groups.coordinator.join(now, asked, &request.group_id.0, join, &mut self.groups.out);
    }

    fn handle_sync_group(&mut self, now: Now, asked: Asked, request: &SyncGroupRequest) {
        let assignments = request.assignments.iter();
        let sync = Sync {
            member: name(&request.member_id),
            instance: request.group_instance_id.as_ref().map(name),
            generation: request.generation_id,
            protocol_type: request.protocol_type.as_ref().map(name),
            protocol: request.protocol_name.as_ref().map(name),
            assignments: assignments.map(|one| (name(&one.member_id), copied(&one.assignment))).collect(),
        };
        self.groups.coordinator.sync(now, asked, &request.group_id.0, sync, &mut self.groups.out);
    }

    fn handle_heartbeat(&mut self, now: Now, asked: Asked, request: &HeartbeatRequest, out: &mut Effects<Effect>) {
        let instance = request.group_instance_id.as_deref();
        let who = (&*request.member_id, instance, request.generation_id);
        let result = self.groups.coordinator.heartbeat(now, &request.group_id.0, who);
        let code = result.err().unwrap_or(ErrorCode::None);
        self.answer(asked, &HeartbeatResponse::default().with_error_code(code.code()), out);
    }

    /// Whoever asks for the new protocol (KIP-848) hears at once that it is to use the classic one.
    fn refuse_new_protocol(&mut self, asked: Asked, out: &mut Effects<Effect>) {
        let why = "this version of Karst has only the classic protocol of consumer groups: set group.protocol=classic";
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_error_code(ErrorCode::UnsupportedVersion.code())
            .with_error_message(Some(StrBytes::from_static_str(why)));
        self.answer(asked, &response, out);
    }

    fn handle_leave_group(&mut self, now: Now, asked: Asked, request: &LeaveGroupRequest) {
        let leavers = if asked.version >= 3 {
            let members = request.members.iter();
            let leaver = |member: &kafka_protocol::messages::leave_group_request::MemberIdentity| Leaver {
                member: name(&member.member_id),
                instance: member.group_instance_id.as_ref().map(name),
            };
            members.map(leaver).collect()
        } else {
            vec![Leaver { member: name(&request.member_id), instance: None }]
        };
        self.groups.coordinator.leave(now, asked, &request.group_id.0, leavers, &mut self.groups.out);
    }

    fn handle_offset_commit(&mut self, now: Now, asked: Asked, request: &OffsetCommitRequest) {
        let commit = Commit {
            member: name(&request.member_id),
            instance: request.group_instance_id.as_ref().map(name),
            generation: request.generation_id_or_member_epoch,
            retention: u64::try_from(request.retention_time_ms)
                .ok()
                .filter(|_| asked.version < 5)
                .map(Duration::from_millis),
        };
        let topics = request.topics.iter().map(|topic| {
            let line =
                |line: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition| CommitLine {
                    partition: line.partition_index,
                    offset: line.committed_offset,
                    leader_epoch: line.committed_leader_epoch,
                    metadata: line.committed_metadata.as_ref().map(name).unwrap_or_default(),
                    is_unknown: self.stream_named(&topic.name.0, line.partition_index).is_err(),
                };
            (name(&topic.name.0), topic.partitions.iter().map(line).collect())
        });
        let commits: Commits = topics.collect();
        self.groups.coordinator.commit(now, asked, &request.group_id.0, (commit, commits), &mut self.groups.out);
    }

    fn handle_offset_delete(&mut self, now: Now, asked: Asked, request: &OffsetDeleteRequest) {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|line| {
                let is_unknown = self.stream_named(&topic.name.0, line.partition_index).is_err();
                (line.partition_index, is_unknown)
            });
            (name(&topic.name.0), partitions.collect())
        });
        let lines: Vec<_> = topics.collect();
        self.groups.coordinator.delete_offsets(now, asked, &request.group_id.0, lines, &mut self.groups.out);
    }
}

/// A text of its own: a slice would keep the request in memory.
fn name(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
