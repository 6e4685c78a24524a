//! One handler for each API that the shard answers.

mod admin;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_topic_partitions;
mod fetch;
mod find_coordinator;
mod groups;
mod init_producer_id;
mod leaders;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod own_topics;
mod produce;
mod record_errors;

pub(super) use groups::Question;
pub(super) use metadata::unasked_topic;
pub(super) use produce::{ProduceOutcome, Produced};

use crate::id::{NodeId, TopicId};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use core::time::Duration;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

fn broker_id(node: NodeId) -> BrokerId {
    BrokerId(i32::try_from(node.0).unwrap_or(i32::MAX))
}

fn kafka_id(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.0)
}

pub(super) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn text(text: Cow<'static, str>) -> StrBytes {
    match text {
        Cow::Borrowed(text) => StrBytes::from_static_str(text),
        Cow::Owned(text) => StrBytes::from_string(text),
    }
}

/// A duration as clients send it; negative ones count as zero.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// What a request names more than once.
fn repeated<T: Ord + Clone>(named: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    named.filter(|one| !seen.insert(one.clone())).collect()
}
