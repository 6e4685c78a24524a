//! DescribeLogDirs: what partitions take where they are stored (KIP-113, KIP-827).
//!
//! There is one place: the object store, by the name that the shell gives the shard. What a partition takes is what its
//! ranges of objects have in record batches, and what is durable in the WAL and in no object yet. As Kafka counts whole
//! segments, a range that reaches below the log's start counts whole: it goes with its last record. An object store has
//! no size, so that is told as unknown.

use super::LINE;
use crate::id::StreamId;
use crate::metadata::{TopicImage, TopicName};
use crate::shard::Shard;
use crate::shard::api::str_bytes;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

impl Shard {
    /// A shard whose partitions are stored at a place of that name: a directory or an URL, without secrets.
    #[must_use]
    pub fn storing_at(mut self, place: &str) -> Self {
        self.log_dir = place.into();
        self
    }

    pub(super) fn weigh_log_dirs(&self, request: &DescribeLogDirsRequest) -> usize {
        let image = self.image.as_ref().expect("requests come after the image");
        let lines = match &request.topics {
            None => image.streams.len() + 4 * image.topics.len(),
            Some(topics) => topics.iter().map(|topic| 4 + topic.partitions.len()).sum(),
        };
        LINE * (1 + lines)
    }

    pub(super) fn log_dirs(&self, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
        let image = self.image.as_ref().expect("requests come after the image");
        let topics: Vec<_> = match &request.topics {
            None => image.names.values().filter_map(|id| self.stored(&image.topics[id], None)).collect(),
            Some(topics) => {
                let mut wanted: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
                for topic in topics {
                    if let Some(name) = TopicName::parse(topic.topic.as_str()) {
                        wanted.entry(name).or_default().extend(&topic.partitions);
                    }
                }
                let known = |(name, partitions): (&TopicName, &BTreeSet<i32>)| {
                    let (_, topic) = image.topic_named(name)?;
                    self.stored(topic, Some(partitions))
                };
                wanted.iter().filter_map(known).collect()
            }
        };
        let result = DescribeLogDirsResult::default().with_log_dir(str_bytes(&self.log_dir)).with_topics(topics);
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    /// The partitions of a topic, or those of these, that are led here; `None` if there is none.
    fn stored(&self, topic: &TopicImage, wanted: Option<&BTreeSet<i32>>) -> Option<DescribeLogDirsTopic> {
        let partitions = (0..).zip(&topic.partitions).filter(|(index, partition)| {
            wanted.is_none_or(|wanted| wanted.contains(index)) && self.partitions.contains_key(&partition.stream)
        });
        let partitions = partitions.map(|(index, partition)| {
            DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(self.stored_bytes(partition.stream)).unwrap_or(i64::MAX))
        });
        let partitions: Vec<_> = partitions.collect();
        let name = str_bytes(topic.name.as_str()).into();
        (!partitions.is_empty()).then(|| DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions))
    }

    /// Bytes of the record batches of a stream that are in objects or durable in the WAL.
    fn stored_bytes(&self, id: StreamId) -> u64 {
        let Some(stream) = self.image.as_ref().and_then(|image| image.streams.get(&id)) else { return 0 };
        let committed: u64 = stream.ranges.values().map(|range| range.bytes).sum();
        committed + self.cache.bytes_after(id, stream.end)
    }
}
