//! Requests whose answers are as large as what is known, however small they are themselves: OffsetFetch, ListGroups,
//! DescribeGroups. Such an answer is made when there is credit for it.

use super::answers;
use crate::group::Reply;
use crate::group::{Described, DescribedMember};
use crate::kafka::{ErrorCode, operations};
use crate::machine::{Effects, Now, Rope};
use crate::shard::api::str_bytes;
use crate::shard::joins::Asked;
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// A question about groups.
#[derive(Debug)]
pub(in crate::shard) enum Question {
    Fetch(OffsetFetchRequest),
    List(ListGroupsRequest),
    Describe(DescribeGroupsRequest),
    /// It is answered; what others said, and is said again, is shared until there is room for a copy.
    Reply(Reply),
}

/// From this version on, offsets of several groups are asked for at once.
const BATCHED: i16 = 8;
/// From this version on, a group that is not there is an error (KIP-1043).
const MISSING_IS_ERROR: i16 = 6;
/// Nothing was committed.
const NONE: i64 = -1;
/// What the answer about a partition takes while it is made, about, unless its metadata is long.
const PARTITION: u64 = 128;
/// The kind of all groups here.
const CLASSIC: &str = "classic";

impl Question {
    /// What is answered at length is answered once, however often it is named: a description, or all offsets of a group.
    /// Who names partitions hears of them each time, as from Kafka.
    fn deduplicated(mut self) -> Self {
        let mut seen = BTreeSet::new();
        match &mut self {
            Self::Fetch(request) => {
                request.groups.retain(|group| group.topics.is_some() || seen.insert(group.group_id.clone()));
            }
            Self::Describe(request) => request.groups.retain(|id| seen.insert(id.clone())),
            Self::List(_) | Self::Reply(_) => {}
        }
        self
    }
}

impl Shard {
    pub(in crate::shard) fn ask_question(
        &mut self,
        now: Now,
        asked: Asked,
        question: Question,
        out: &mut Effects<Effect>,
    ) {
        let question = question.deduplicated();
        let bytes = self.weigh_question(&question);
        self.answer_when_paid(now, asked, (Unanswered::Groups(question), bytes), out);
    }

    /// What the answer takes, about.
    fn weigh_question(&self, question: &Question) -> u64 {
        let groups = &self.groups.coordinator;
        match question {
            Question::Fetch(request) => {
                let named = |topics: &mut dyn Iterator<Item = &Vec<i32>>| {
                    topics.map(|indexes| PARTITION * indexes.len() as u64).sum::<u64>()
                };
                let single = match &request.topics {
                    Some(topics) => named(&mut topics.iter().map(|topic| &topic.partition_indexes)),
                    None => groups.committed_weight(&request.group_id.0),
                };
                let several = request.groups.iter().map(|group| match &group.topics {
                    Some(topics) => named(&mut topics.iter().map(|topic| &topic.partition_indexes)),
                    None => groups.committed_weight(&group.group_id.0),
                });
                single + several.sum::<u64>()
            }
            Question::List(_) => groups.list_weight(),
            Question::Describe(request) => request.groups.iter().map(|id| groups.describe_weight(&id.0)).sum(),
            Question::Reply(reply) => reply.weight(),
        }
    }

    /// The answer as it is now: what has come since there was credit asked for it is little.
    pub(in crate::shard) fn group_answer(&self, asked: Asked, question: Question) -> Rope {
        let version = asked.version;
        match question {
            Question::Fetch(request) => encoded(version, &self.fetch_offsets(version, &request)),
            Question::List(request) => encoded(version, &self.list_groups(version, &request)),
            Question::Describe(request) => encoded(version, &self.describe_groups(version, &request)),
            Question::Reply(reply) => answers::body(version, reply),
        }
    }

    fn fetch_offsets(&self, version: i16, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        if version >= BATCHED {
            let groups = request.groups.iter().map(|group| {
                let wanted = group.topics.as_ref().map(|topics| {
                    topics.iter().map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect()
                });
                let found = self.offsets_of(&group.group_id.0, wanted);
                let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
                match found {
                    Ok(topics) => response.with_topics(topics),
                    Err(code) => response.with_error_code(code.code()),
                }
            });
            return OffsetFetchResponse::default().with_groups(groups.collect());
        }
        let wanted = request.topics.as_ref().map(|topics| {
            topics.iter().map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect::<Vec<_>>()
        });
        match self.offsets_of(&request.group_id.0, wanted.clone()) {
            Ok(topics) => OffsetFetchResponse::default()
                .with_topics(topics.into_iter().map(|topic| older(version, topic)).collect()),
            Err(code) if version >= 2 => OffsetFetchResponse::default().with_error_code(code.code()),
            // Version 1 can only say it of each partition.
            Err(code) => {
                let failed = |index: i32| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(NONE)
                        .with_metadata(Some(StrBytes::new()))
                        .with_error_code(code.code())
                };
                let topics = wanted.unwrap_or_default().into_iter().map(|(name, indexes)| {
                    let partitions = indexes.into_iter().map(failed).collect();
                    OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
                });
                OffsetFetchResponse::default().with_topics(topics.collect())
            }
        }
    }

    /// The offsets of a group: of these partitions, or of all in which it committed.
    fn offsets_of(
        &self,
        id: &str,
        wanted: Option<Vec<(TopicName, Vec<i32>)>>,
    ) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
        let groups = &self.groups.coordinator;
        groups.ready(id)?;
        let wanted = wanted.unwrap_or_else(|| {
            let all = groups.committed_partitions(id).into_iter();
            all.map(|(topic, partitions)| (TopicName(str_bytes(&topic)), partitions)).collect()
        });
        let topics = wanted.into_iter().map(|(topic, partitions)| {
            let partition = |index: i32| {
                let response = OffsetFetchResponsePartitions::default().with_partition_index(index);
                match groups.committed_offset(id, &topic.0, index) {
                    Some((offset, epoch, metadata)) => response
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(epoch)
                        .with_metadata(Some(str_bytes(&metadata))),
                    None => response
                        .with_committed_offset(NONE)
                        .with_committed_leader_epoch(-1)
                        .with_metadata(Some(StrBytes::new())),
                }
            };
            let partitions = partitions.into_iter().map(partition).collect();
            OffsetFetchResponseTopics::default().with_name(topic.clone()).with_partitions(partitions)
        });
        Ok(topics.collect())
    }

    fn list_groups(&self, version: i16, request: &ListGroupsRequest) -> ListGroupsResponse {
        let (error, all) = self.groups.coordinator.list();
        let is_wanted = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let listed = all.into_iter().filter(|group| {
            is_wanted(&request.states_filter, group.state) && is_wanted(&request.types_filter, CLASSIC)
        });
        let listed = listed.map(|group| {
            let response = ListedGroup::default()
                .with_group_id(str_bytes(&group.group).into())
                .with_protocol_type(str_bytes(&group.protocol_type));
            let response = if version >= 4 { response.with_group_state(str_bytes(group.state)) } else { response };
            if version >= 5 { response.with_group_type(str_bytes(CLASSIC)) } else { response }
        });
        ListGroupsResponse::default().with_error_code(error.code()).with_groups(listed.collect())
    }

    fn describe_groups(&self, version: i16, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| {
            let group = described(version, self.groups.coordinator.describe(&id.0));
            let is_told = request.include_authorized_operations && group.error_code == 0;
            if is_told { group.with_authorized_operations(operations::ON_GROUP) } else { group }
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

/// The form of an answer before version 8.
fn older(version: i16, topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| {
        let response = OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_metadata(partition.metadata);
        if version >= 5 { response.with_committed_leader_epoch(partition.committed_leader_epoch) } else { response }
    });
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
}

fn described(version: i16, group: Described) -> DescribedGroup {
    let is_missing = group.error == ErrorCode::GroupIdNotFound;
    let error = if is_missing && version < MISSING_IS_ERROR { ErrorCode::None } else { group.error };
    let member = |member: DescribedMember| {
        let response = DescribedGroupMember::default()
            .with_member_id(str_bytes(&member.id))
            .with_client_id(str_bytes(&member.client))
            .with_client_host(str_bytes(&member.host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        if version >= 4 { response.with_group_instance_id(member.instance.map(|id| str_bytes(&id))) } else { response }
    };
    let response = DescribedGroup::default()
        .with_error_code(error.code())
        .with_group_id(str_bytes(&group.group).into())
        .with_group_state(str_bytes(group.state))
        .with_protocol_type(str_bytes(&group.protocol_type))
        .with_protocol_data(str_bytes(&group.protocol))
        .with_members(group.members.into_iter().map(member).collect());
    if version >= MISSING_IS_ERROR && is_missing {
        response.with_error_message(Some(str_bytes(&format!("Group {} not found.", group.group))))
    } else {
        response
    }
}
