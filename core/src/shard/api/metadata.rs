//! Metadata: which topics there are, and who serves them.

use super::create_topics::create;
use super::{broker_id, kafka_id, str_bytes};
use crate::id::{PartitionIndex, TopicId};
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{Image, NewTopic, StreamState, TopicImage, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

/// How long a client waits for topics that its request creates.
const CREATION: Duration = Duration::from_secs(30);

/// Partitions of a topic that nobody created by name.
const DEFAULT_PARTITIONS: u32 = 1;

impl Shard {
    pub(in crate::shard) fn handle_metadata(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: MetadataRequest,
        out: &mut Effects<Effect>,
    ) {
        deduplicate(&mut request);
        // Before version 4 there was no such field, and every request for a topic created it.
        let may_create = request.allow_auto_topic_creation || asked.version < 4;
        let steps = request.topics.iter().flatten().map(|topic| {
            let missing = may_create.then(|| self.missing_topic(topic)).flatten();
            missing.map_or(TopicStep::Known(TopicOutcome::Done), create)
        });
        let steps = steps.collect();
        let due = now.mono.after(CREATION);
        self.begin_topics(asked, TopicRequest::Metadata(request), steps, due, out);
    }

    pub(in crate::shard) fn answer_metadata(
        &mut self,
        asked: Asked,
        request: &MetadataRequest,
        out: &mut Effects<Effect>,
    ) {
        let image = self.image.as_ref().expect("requests come after the image");
        let brokers = image.nodes.iter().map(|(id, node)| {
            MetadataResponseBroker::default()
                .with_node_id(broker_id(*id))
                .with_host(str_bytes(&node.host))
                .with_port(i32::from(node.port))
        });
        let topics: Vec<MetadataResponseTopic> = match &request.topics {
            // In version 0 an empty list meant all topics; since version 1 it means none, and null means all.
            Some(named) if asked.version > 0 || !named.is_empty() => {
                named.iter().map(|topic| requested(image, topic)).collect()
            }
            _ => image.topics.iter().map(|(id, topic)| known(image, *id, topic)).collect(),
        };
        let me = self.me.map_or(broker_id(crate::id::NodeId(0)), |me| broker_id(me.node));
        let response = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(Some(str_bytes(&format!("{}", image.cluster))))
            .with_controller_id(me)
            .with_topics(topics);
        self.answer(asked, &response, out);
    }

    /// The topic to create for this line of a request, if it names one that is missing and may exist.
    fn missing_topic(&mut self, topic: &MetadataRequestTopic) -> Option<NewTopic> {
        let name = TopicName::parse(topic.name.as_ref()?.as_str())?;
        let image = self.image.as_ref().expect("requests come after the image");
        if image.names.contains_key(&name) {
            return None;
        }
        Some(NewTopic { id: TopicId::draw(&mut self.rng), name, partitions: DEFAULT_PARTITIONS })
    }
}

/// A topic is answered once, however often it is named: its answer may be far larger than its name.
fn deduplicate(request: &mut MetadataRequest) {
    let mut seen = BTreeSet::new();
    if let Some(topics) = &mut request.topics {
        topics.retain(|topic| seen.insert((topic.name.clone(), topic.topic_id)));
    }
}

fn requested(image: &Image, topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    let Some(name) = &topic.name else {
        let id = TopicId(*topic.topic_id.as_bytes());
        return image.topics.get(&id).map_or_else(
            || failed(ErrorCode::UnknownTopicId).with_topic_id(topic.topic_id).with_name(None),
            |topic| known(image, id, topic),
        );
    };
    let Some(parsed) = TopicName::parse(name.as_str()) else {
        return failed(ErrorCode::InvalidTopicException).with_name(Some(name.clone()));
    };
    image.names.get(&parsed).and_then(|id| Some((*id, image.topics.get(id)?))).map_or_else(
        || failed(ErrorCode::UnknownTopicOrPartition).with_name(Some(name.clone())),
        |(id, topic)| known(image, id, topic),
    )
}

fn known(image: &Image, id: TopicId, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions = (0..).map(PartitionIndex).zip(&topic.partitions).map(|(index, partition)| {
        let stream = image.streams.get(&partition.stream).expect("every partition of a topic has its stream");
        let owner = broker_id(stream.owner);
        let open = matches!(stream.state, StreamState::Open(_));
        MetadataResponsePartition::default()
            .with_error_code(if open { 0 } else { ErrorCode::LeaderNotAvailable.code() })
            .with_partition_index(i32::try_from(index.0).unwrap_or(i32::MAX))
            .with_leader_id(if open { owner } else { (-1).into() })
            .with_leader_epoch(i32::try_from(stream.epoch.0).unwrap_or(i32::MAX))
            .with_replica_nodes(vec![owner])
            .with_isr_nodes(vec![owner])
    });
    MetadataResponseTopic::default()
        .with_name(Some(str_bytes(topic.name.as_str()).into()))
        .with_topic_id(kafka_id(id))
        .with_partitions(partitions.collect())
}

fn failed(code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.code())
}
