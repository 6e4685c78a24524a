//! Topics that brokers keep for themselves. A client may create the groups' log before the broker does, as tools that copy
//! clusters do, but only as the broker would; others by Kafka's names would be in the way of what is to come.

use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::metadata::{CleanupPolicy, NewTopic, TopicName};
use crate::shard::topics::TopicOutcome;
use alloc::format;

/// Names that Kafka keeps for itself and of which nothing is kept here.
const RESERVED: [&str; 3] = ["__cluster_metadata", "__share_group_state", "__transaction_state"];

/// Whether nobody may create a topic of that name.
pub(super) fn is_reserved(name: &TopicName) -> bool {
    RESERVED.contains(&name.as_str())
}

/// Partitions of a new topic of which nobody says how many it has.
pub(super) fn usual_partitions(name: &TopicName, limits: &Limits) -> u32 {
    if name.is_internal() { limits.offsets_partitions } else { limits.default_partitions }
}

/// The topic as it may be created.
pub(super) fn check(mut new: NewTopic, limits: &Limits) -> Result<NewTopic, TopicOutcome> {
    if is_reserved(&new.name) {
        let why = "Kafka keeps the name for a topic of its own, which Karst does not have";
        return Err(TopicOutcome::refused(ErrorCode::InvalidTopicException, why));
    }
    if !new.name.is_internal() {
        return Ok(new);
    }
    if new.partitions != limits.offsets_partitions {
        let why = format!(
            "the topic is the log of consumer groups, which has {} partitions here (offsets.topic.num.partitions)",
            limits.offsets_partitions
        );
        return Err(TopicOutcome::refused(ErrorCode::InvalidPartitions, why));
    }
    if new.configs.cleanup_policy.is_some_and(|policy| policy != CleanupPolicy::COMPACT) {
        let why = "the topic is the log of consumer groups, whose cleanup.policy is compact";
        return Err(TopicOutcome::refused(ErrorCode::InvalidConfig, why));
    }
    new.configs.cleanup_policy = Some(CleanupPolicy::COMPACT);
    Ok(new)
}
