//! What topics are configured to, as this broker honours it.

use super::Shard;
use crate::id::StreamId;
use crate::metadata::TopicConfigs;
use alloc::collections::BTreeMap;

/// Of what belongs to no topic (any more).
static NONE: TopicConfigs = TopicConfigs {
    retention_time: None,
    retention_bytes: None,
    max_message_bytes: None,
    timestamp_type: None,
    timestamp_before_max: None,
    timestamp_after_max: None,
    compression_type: None,
    cleanup_policy: None,
    min_insync_replicas: None,
    inert: BTreeMap::new(),
};

impl Shard {
    /// The configs of the topic that a stream belongs to.
    pub(super) fn configs_of(&self, stream: StreamId) -> &TopicConfigs {
        let configs = || {
            let image = self.image.as_ref()?;
            Some(&image.topics.get(&image.streams.get(&stream)?.topic)?.configs)
        };
        configs().unwrap_or(&NONE)
    }

    /// The largest batch that a topic takes: never above what the broker takes at all. That may have become less since
    /// the topic was configured.
    pub(super) fn largest_batch(&self, configs: &TopicConfigs) -> usize {
        let usual = self.limits.batch as usize;
        let topic = configs.max_message_bytes.map_or(usual, |bytes| usize::try_from(bytes.0).unwrap_or(0));
        topic.min(self.limits.largest_batch as usize)
    }
}
