//! Metadata: which topics there are, and who serves them.

use super::create_topics::{collides, create};
use super::{broker_id, kafka_id, own_topics, str_bytes};
use crate::id::{PartitionIndex, TopicId};
use crate::kafka::{ErrorCode, operations};
use crate::limits::Limits;
use crate::machine::{Effects, Now, Rope};
use crate::metadata::{CleanupPolicy, Image, NewTopic, StreamState, TopicConfigs, TopicImage, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName as MessageTopicName};

/// How long a client waits for topics that its request creates.
const CREATION: Duration = Duration::from_secs(30);

/// Topics that one request creates by asking for them, so that others wait for no more than these. For the rest the
/// client hears that they don't exist, as it would from Kafka while they are being created, and asks again.
const MOST_CREATED: usize = 500;

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
        let asks_for_it = request.allow_auto_topic_creation || asked.version < 4;
        let may_create = asks_for_it && self.limits.auto_create_topics;
        let mut left = if may_create { MOST_CREATED } else { 0 };
        let steps = request.topics.iter().flatten().map(|topic| {
            let missing = (left > 0).then(|| self.missing_topic(topic)).flatten();
            left -= usize::from(missing.is_some());
            missing.map_or(TopicStep::Known(TopicOutcome::Done), create)
        });
        let steps = steps.collect();
        let due = now.mono.after(CREATION);
        self.begin_topics(now, asked, TopicRequest::Metadata(request), steps, due, out);
    }

    /// Answers, after paying for the answer unless that is small.
    pub(in crate::shard) fn answer_metadata(
        &mut self,
        now: Now,
        asked: Asked,
        request: MetadataRequest,
        out: &mut Effects<Effect>,
    ) {
        let image = self.image.as_ref().expect("requests come after the image");
        let bytes = size(image, asked.version, &request);
        self.answer_when_paid(now, asked, (Unanswered::Metadata(request), bytes), out);
    }

    /// The answer's body.
    pub(in crate::shard) fn metadata(&self, asked: Asked, request: &MetadataRequest) -> Rope {
        let image = self.image.as_ref().expect("requests come after the image");
        let brokers = image.nodes.keys().map(|id| {
            let (host, port) = self.address_for(asked.conn, *id);
            MetadataResponseBroker::default().with_node_id(broker_id(*id)).with_host(host).with_port(port)
        });
        let mut topics: Vec<MetadataResponseTopic> = match named(asked.version, request) {
            Some(named) => named.iter().map(|topic| requested(image, topic)).collect(),
            None => image.topics.iter().map(|(id, topic)| known(image, *id, topic)).collect(),
        };
        if asked.version == 0 {
            // There was no such field.
            topics.iter_mut().for_each(|topic| topic.is_internal = false);
        }
        if request.include_topic_authorized_operations {
            let known = topics.iter_mut().filter(|topic| topic.error_code == 0);
            known.for_each(|topic| topic.topic_authorized_operations = operations::ON_TOPIC);
        }
        let on_cluster =
            if request.include_cluster_authorized_operations { operations::ON_CLUSTER } else { operations::UNASKED };
        let me = self.me.map_or(broker_id(crate::id::NodeId(0)), |me| broker_id(me.node));
        let response = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_cluster_id(Some(str_bytes(&format!("{}", image.cluster))))
            .with_controller_id(me)
            .with_cluster_authorized_operations(on_cluster)
            .with_topics(topics);
        encoded(asked.version, &response)
    }

    /// The topic to create for this line of a request, if it names one that is missing and may exist.
    fn missing_topic(&mut self, topic: &MetadataRequestTopic) -> Option<NewTopic> {
        let name = TopicName::parse(name_of(topic)?.as_str())?;
        let image = self.image.as_ref().expect("requests come after the image");
        if image.names.contains_key(&name) || collides(image, &name) || own_topics::is_reserved(&name) {
            return None;
        }
        Some(unasked_topic(TopicId::draw(&mut self.rng), name, &self.limits))
    }
}

/// A topic that nobody has described. The broker's own has keys that count, and no age.
pub(in crate::shard) fn unasked_topic(id: TopicId, name: TopicName, limits: &Limits) -> NewTopic {
    if name.is_internal() {
        let configs = TopicConfigs { cleanup_policy: Some(CleanupPolicy::COMPACT), ..TopicConfigs::default() };
        return NewTopic { id, name, partitions: limits.offsets_partitions, configs };
    }
    NewTopic { id, name, partitions: limits.default_partitions, configs: TopicConfigs::default() }
}

/// A topic is answered once, however often it is named: its answer may be far larger than its name.
fn deduplicate(request: &mut MetadataRequest) {
    let mut seen = BTreeSet::new();
    if let Some(topics) = &mut request.topics {
        topics.retain(|topic| seen.insert((name_of(topic).cloned(), topic.topic_id)));
    }
}

/// The topics that a request names; `None` if it wants all. In version 0 an empty list meant all topics; since version 1
/// it means none, and null means all.
fn named(version: i16, request: &MetadataRequest) -> Option<&[MetadataRequestTopic]> {
    request.topics.as_deref().filter(|named| version > 0 || !named.is_empty())
}

/// At least the length of the answer's body.
fn size(image: &Image, version: i16, request: &MetadataRequest) -> u64 {
    let known = |topic: &TopicImage| 64 + topic.name.as_str().len() + 64 * topic.partitions.len();
    let asked = |topic: &MetadataRequestTopic| 64 + found(image, topic).map_or(0, |(_, topic)| known(topic));
    let text = |topic: &MetadataRequestTopic| topic.name.as_ref().map_or(0, |name| name.len());
    let topics: usize = match named(version, request) {
        Some(named) => named.iter().map(|topic| asked(topic) + text(topic)).sum(),
        None => image.topics.values().map(known).sum(),
    };
    let brokers: usize = image.nodes.values().map(|node| 32 + node.host.len()).sum();
    (128 + brokers + topics) as u64
}

/// The topic that is meant, if there is one. As in Kafka the name counts for nothing where there is an id: clients send
/// an empty one along.
fn found<'a>(image: &'a Image, topic: &MetadataRequestTopic) -> Option<(TopicId, &'a TopicImage)> {
    let id = match name_of(topic) {
        Some(name) => *image.names.get(&TopicName::parse(name.as_str())?)?,
        None => TopicId(*topic.topic_id.as_bytes()),
    };
    Some((id, image.topics.get(&id)?))
}

fn name_of(topic: &MetadataRequestTopic) -> Option<&MessageTopicName> {
    topic.name.as_ref().filter(|_| topic.topic_id.is_nil())
}

fn requested(image: &Image, topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    if let Some((id, topic)) = found(image, topic) {
        return known(image, id, topic);
    }
    match name_of(topic) {
        None => failed(ErrorCode::UnknownTopicId).with_topic_id(topic.topic_id).with_name(None),
        Some(name) if TopicName::parse(name.as_str()).is_none() => {
            failed(ErrorCode::InvalidTopicException).with_name(Some(name.clone()))
        }
        Some(name) => failed(ErrorCode::UnknownTopicOrPartition).with_name(Some(name.clone())),
    }
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
        .with_is_internal(topic.name.is_internal())
        .with_partitions(partitions.collect())
}

fn failed(code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.code())
}
