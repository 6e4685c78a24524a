//! What a member asks.

use super::{Asked, Member, Mode, Pending, Step};
use crate::client::{Effect, wire};
use crate::oracle::{CommitId, GroupSeen, Observation};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use karst_core::machine::{Effects, Now};

impl Member {
    fn send(
        &mut self,
        now: Now,
        (api, version): (ApiKey, i16),
        body: &impl Encodable,
        asked: Asked,
        out: &mut Effects<Effect>,
    ) {
        self.correlation += 1;
        *self.asked.entry(asked.kind()).or_default() += 1;
        let client = format!("member-{}", self.me.id);
        out.push(Effect::Send(wire::frame(api, version, self.correlation, client, body)));
        self.pending = Some(Pending { correlation: self.correlation, version, sent_at: now.mono, asked });
    }

    pub(super) fn create_topic(&mut self, now: Now, out: &mut Effects<Effect>) {
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(&self.me.topic)))
            .with_num_partitions(self.me.partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        out.push(Effect::Observe(Observation::Creating(self.me.topic.clone(), self.me.partitions)));
        self.send(now, (ApiKey::CreateTopics, 5), &request, Asked::Create, out);
    }

    pub(super) fn find(&mut self, now: Now, out: &mut Effects<Effect>) {
        let version = self.rng.between(0, 6) as i16;
        let group = text(&self.me.group);
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![group])
        } else {
            FindCoordinatorRequest::default().with_key(group)
        };
        self.send(now, (ApiKey::FindCoordinator, version), &request, Asked::Find, out);
    }

    pub(super) fn join(&mut self, now: Now, out: &mut Effects<Effect>) {
        let least = if self.me.instance.is_some() { 5 } else { 1 };
        let version = self.rng.between(least, 9) as i16;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("simulated"))
            .with_metadata(self.subscription.to_be_bytes().to_vec().into());
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(self.me.session.as_millis() as i32)
            .with_rebalance_timeout_ms(self.rebalance_timeout().as_millis() as i32)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.me.instance.as_deref().map(text))
            .with_protocol_type(StrBytes::from_static_str("simulated"))
            .with_protocols(vec![protocol]);
        self.see(GroupSeen::Joining(self.me.id), out);
        self.send(now, (ApiKey::JoinGroup, version), &request, Asked::Join { floor: self.generation }, out);
        if self.mode == Mode::Work && self.rng.chance(1, 20) {
            // It does not wait to hear that the others have gone on.
            self.hang_up(now, out);
        }
    }

    pub(super) fn sync(&mut self, now: Now, members: &[String], out: &mut Effects<Effect>) {
        let least = if self.me.instance.is_some() { 3 } else { 0 };
        let version = self.rng.between(least, 5) as i16;
        // Partitions change hands in each generation, so that whoever lives in an earlier one is in somebody's way.
        let turn = self.generation;
        let share = |at: usize| (0..self.me.partitions).filter(move |p| (*p + turn) as usize % members.len() == at);
        let assignments = members.iter().enumerate().map(|(at, id)| {
            SyncGroupRequestAssignment::default().with_member_id(text(id)).with_assignment(encode(share(at)))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.me.instance.as_deref().map(text))
            .with_assignments(assignments.collect());
        self.send(now, (ApiKey::SyncGroup, version), &request, Asked::Sync, out);
    }

    pub(super) fn heartbeat(&mut self, now: Now, out: &mut Effects<Effect>) {
        let least = if self.me.instance.is_some() { 3 } else { 0 };
        let version = self.rng.between(least, 4) as i16;
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.me.instance.as_deref().map(text));
        self.send(now, (ApiKey::Heartbeat, version), &request, Asked::Heartbeat, out);
    }

    pub(super) fn commit(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(partition) = self.rng.pick(&self.owned).copied() else { return self.heartbeat(now, out) };
        let least = if self.me.instance.is_some() { 7 } else { 2 };
        let version = self.rng.between(least, 9) as i16;
        self.commits += 1;
        let id = CommitId(u64::from(self.me.id) << 32 | self.commits);
        // Above what is known, and nobody else's.
        let last = self.positions.get(&partition).copied().unwrap_or(0);
        let offset = (last / STAMP + 1) * STAMP + i64::from(self.me.id);
        self.positions.insert(partition, offset);
        let line =
            OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(offset);
        let topic =
            OffsetCommitRequestTopic::default().with_name(TopicName(text(&self.me.topic))).with_partitions(vec![line]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.me.instance.as_deref().map(text))
            .with_topics(vec![topic]);
        self.see(GroupSeen::Committing(id, partition, offset, self.generation), out);
        self.send(now, (ApiKey::OffsetCommit, version), &request, Asked::Commit(id, partition), out);
    }

    pub(super) fn fetch_offsets(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.owned.is_empty() {
            self.step = Step::Steady;
            return self.go_on(now, out);
        }
        let version = self.rng.between(1, 9) as i16;
        self.questions += 1;
        let question = u64::from(self.me.id) << 32 | self.questions;
        self.see(GroupSeen::AskedForOffsets(question), out);
        let topic = TopicName(text(&self.me.topic));
        let request = if version >= 8 {
            let topic = OffsetFetchRequestTopics::default().with_name(topic).with_partition_indexes(self.owned.clone());
            let topics = self.rng.chance(1, 2).then(|| vec![topic]);
            let group = OffsetFetchRequestGroup::default().with_group_id(self.group_id()).with_topics(topics);
            OffsetFetchRequest::default().with_topics(Some(Vec::new())).with_groups(vec![group])
        } else {
            let topic = OffsetFetchRequestTopic::default().with_name(topic).with_partition_indexes(self.owned.clone());
            OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(Some(vec![topic]))
        };
        self.send(now, (ApiKey::OffsetFetch, version), &request, Asked::Offsets(question), out);
    }

    pub(super) fn leave(&mut self, now: Now, out: &mut Effects<Effect>) {
        let member = MemberIdentity::default()
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.me.instance.as_deref().map(text));
        let request = LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]);
        self.send(now, (ApiKey::LeaveGroup, 4), &request, Asked::Leave, out);
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.me.group))
    }

    /// Whether it is to do nothing that disturbs others.
    pub(super) fn settles(&self) -> bool {
        self.mode == Mode::Settle
    }
}

/// Offsets are multiples of this, and who committed them.
pub(super) const STAMP: i64 = 1_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Partitions as an assignment. It is never empty, so that a member without any has one all the same.
fn encode(partitions: impl Iterator<Item = i32>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0xa5);
    partitions.for_each(|partition| bytes.put_i32(partition));
    bytes.freeze()
}

/// And back.
pub(super) fn decode(assignment: &[u8]) -> Result<Vec<i32>, String> {
    match assignment.split_first() {
        Some((0xa5, rest)) if rest.len().is_multiple_of(4) => {
            let partition = |part: &[u8]| i32::from_be_bytes(part.try_into().expect("four bytes"));
            Ok(rest.chunks(4).map(partition).collect())
        }
        _ => Err(format!("an assignment of {} bytes that no leader made", assignment.len())),
    }
}
