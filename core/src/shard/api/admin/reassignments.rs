//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455): a partition's one replica is where it is.

use super::LINE;
use crate::kafka::ErrorCode;
use crate::shard::Shard;
use crate::shard::api::text;
use crate::shard::topics::TopicOutcome;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsResponse,
};

pub(super) fn weigh(request: &AlterPartitionReassignmentsRequest) -> usize {
    // The reason may be long.
    2 * LINE * request.topics.iter().map(|topic| 1 + topic.partitions.len()).sum::<usize>()
}

/// None is under way.
pub(super) fn ongoing() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

impl Shard {
    pub(super) fn reassigned(
        &self,
        version: i16,
        request: &AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let response = ReassignablePartitionResponse::default().with_partition_index(partition.partition_index);
                match self.check_reassignment(&topic.name, partition) {
                    Err(TopicOutcome::Refused(code, why)) => {
                        response.with_error_code(code.code()).with_error_message(Some(text(why)))
                    }
                    _ => response.with_error_message(None),
                }
            });
            ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        let response =
            AlterPartitionReassignmentsResponse::default().with_error_message(None).with_responses(topics.collect());
        if version >= 1 {
            response.with_allow_replication_factor_change(request.allow_replication_factor_change)
        } else {
            response
        }
    }

    /// A partition may be moved to where it is; nothing is to be done then.
    fn check_reassignment(&self, topic: &str, partition: &ReassignablePartition) -> Result<(), TopicOutcome> {
        let refuse = |code, why: &'static str| TopicOutcome::refused(code, why);
        self.stream_named(topic, partition.partition_index)
            .map_err(|code| refuse(code, "no such topic or partition"))?;
        match &partition.replicas {
            Some(replicas) => self.check_replicas(replicas),
            None => Err(refuse(ErrorCode::NoReassignmentInProgress, "the partition is not being moved")),
        }
    }
}
