//! Topics come, grow and go.

use crate::controller::NodeCommand;
use crate::id::{Offset, PartitionIndex, StreamEpoch, StreamId, TopicId};
use crate::metadata::{
    Answer, ConfigPatch, EpochHistory, Image, NewTopic, PartitionImage, Refusal, StreamImage, StreamState, TopicImage,
    bounds,
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

impl Image {
    /// A topic with all its streams open at the sender, each under its first epoch.
    pub(super) fn create_topic(&mut self, by: &NodeCommand, topic: &NewTopic) -> Result<Answer, Refusal> {
        if self.names.contains_key(&topic.name) {
            return Err(Refusal::TopicExists);
        }
        if self.topics.contains_key(&topic.id) || topic.id == TopicId::default() {
            return Err(Refusal::Invalid);
        }
        if !(1..=bounds::PARTITIONS).contains(&topic.partitions) || !self.has_room_for(topic.partitions) {
            return Err(Refusal::InvalidPartitions);
        }
        self.may_open(by)?;
        let partitions = self.new_streams(by, topic.id, 0, topic.partitions);
        self.names.insert(topic.name.clone(), topic.id);
        self.topics
            .insert(topic.id, TopicImage { name: topic.name.clone(), partitions, configs: topic.configs.clone() });
        Ok(Answer::Done)
    }

    /// More partitions for a topic, their streams open at the sender.
    pub(super) fn grow_topic(&mut self, by: &NodeCommand, id: TopicId, count: u32) -> Result<Answer, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopic)?;
        let now = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        if count <= now || count > bounds::PARTITIONS || !self.has_room_for(count - now) {
            return Err(Refusal::InvalidPartitions);
        }
        self.may_open(by)?;
        let more = self.new_streams(by, id, now, count);
        self.topics.get_mut(&id).ok_or(Refusal::UnknownTopic)?.partitions.extend(more);
        Ok(Answer::Done)
    }

    /// The topic goes, with its streams, whoever holds them: what a WAL still has of them is dropped at its commit.
    pub(super) fn delete_topic(&mut self, id: TopicId) -> Result<Answer, Refusal> {
        let topic = self.topics.remove(&id).ok_or(Refusal::UnknownTopic)?;
        self.names.remove(&topic.name);
        for partition in topic.partitions {
            let Some(stream) = self.streams.remove(&partition.stream) else { continue };
            self.release(stream.ranges.into_values().map(|range| range.object));
            self.release(stream.producers.into_iter().map(|state| state.object));
        }
        Ok(Answer::Done)
    }

    /// What the topic has is changed; what two requests ask for at the same time is applied one after the other.
    pub(super) fn configure_topic(&mut self, id: TopicId, patch: &ConfigPatch) -> Result<Answer, Refusal> {
        let topic = self.topics.get_mut(&id).ok_or(Refusal::UnknownTopic)?;
        topic.configs = topic.configs.patched(patch);
        Ok(Answer::Done)
    }

    fn has_room_for(&self, streams: u32) -> bool {
        let room = bounds::STREAMS.saturating_sub(self.streams.len());
        usize::try_from(streams).is_ok_and(|streams| streams <= room)
    }

    fn new_streams(&mut self, by: &NodeCommand, topic: TopicId, from: u32, to: u32) -> Vec<PartitionImage> {
        (from..to).map(|index| PartitionImage { stream: self.new_stream(by, topic, PartitionIndex(index)) }).collect()
    }

    fn new_stream(&mut self, by: &NodeCommand, topic: TopicId, partition: PartitionIndex) -> StreamId {
        let id = self.next_stream;
        self.next_stream = id.next();
        let stream = StreamImage {
            topic,
            partition,
            owner: by.node,
            epoch: StreamEpoch(1),
            state: StreamState::Open(by.epoch),
            start: Offset(0),
            end: Offset(0),
            ranges: BTreeMap::new(),
            producers: Vec::new(),
            epochs: EpochHistory::new(StreamEpoch(1)),
        };
        self.streams.insert(id, stream);
        id
    }
}
