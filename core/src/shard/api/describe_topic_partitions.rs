//! DescribeTopicPartitions: topics and who serves their partitions, in order of their names, page by page (KIP-966).

use super::{broker_id, kafka_id, str_bytes};
use crate::kafka::{ErrorCode, operations};
use crate::machine::{Effects, Now, Rope};
use crate::metadata::{Image, StreamState, TopicName};
use crate::shard::joins::Asked;
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use kafka_protocol::protocol::StrBytes;

/// Partitions in one answer, at most, whatever the client asks for: Kafka's `max.request.partition.size.limit`.
const MOST: usize = 2_000;

impl Shard {
    pub(in crate::shard) fn handle_describe_topic_partitions(
        &mut self,
        now: Now,
        asked: Asked,
        request: DescribeTopicPartitionsRequest,
        out: &mut Effects<Effect>,
    ) {
        let bytes = size(self.image.as_ref().expect("requests come after the image"), &request);
        self.answer_when_paid(now, asked, (Unanswered::DescribeTopicPartitions(request), bytes), out);
    }

    /// The answer's body.
    pub(in crate::shard) fn described_topics(&self, asked: Asked, request: &DescribeTopicPartitionsRequest) -> Rope {
        let image = self.image.as_ref().expect("requests come after the image");
        let response = match Page::of(image, request) {
            Ok(page) => page.fill(image),
            Err(code) => refused(request, code),
        };
        encoded(asked.version, &response)
    }
}

/// At least the length of the answer's body.
fn size(image: &Image, request: &DescribeTopicPartitionsRequest) -> u64 {
    /// Without its name, and the longest name that there can be.
    const TOPIC: usize = 48;
    const NAME: usize = 249;
    const PARTITION: usize = 48;
    let most = most(request);
    let named = request.topics.iter().map(|topic| TOPIC + topic.name.len()).sum::<usize>();
    let all = most.min(image.topics.len()) * (TOPIC + NAME);
    let topics = if request.topics.is_empty() { all } else { named };
    (topics + most.min(image.streams.len()) * PARTITION + TOPIC + NAME) as u64
}

/// How many partitions the answer may have.
fn most(request: &DescribeTopicPartitionsRequest) -> usize {
    usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, MOST)
}

/// What an answer may have.
struct Page {
    /// Ascending.
    topics: Vec<StrBytes>,
    /// Which partition of the first topic comes first.
    first: usize,
    /// Partitions.
    most: usize,
    /// Whether all topics are asked for: then one that is gone is no error.
    all: bool,
}

impl Page {
    fn of(image: &Image, request: &DescribeTopicPartitionsRequest) -> Result<Self, ErrorCode> {
        let after = request.cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
        let first = request.cursor.as_ref().map_or(Ok(0), |cursor| usize::try_from(cursor.partition_index));
        let first = first.map_err(|_| ErrorCode::InvalidRequest)?;
        let all = request.topics.is_empty();
        let most = most(request);
        let topics: Vec<StrBytes> = if all {
            // A topic has a partition at least.
            let names = image.names.keys().map(TopicName::as_str).filter(|name| *name >= after);
            names.take(most + 1).map(str_bytes).collect()
        } else {
            let names = request.topics.iter().map(|topic| &topic.name.0).filter(|name| name.as_str() >= after);
            names.cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let cursor_is_named = topics.first().is_some_and(|name| name.as_str() == after);
        if request.cursor.is_some() && !all && !cursor_is_named {
            return Err(ErrorCode::InvalidRequest);
        }
        // Where the cursor's topic is gone, the next one begins at its beginning.
        Ok(Self { topics, first: if cursor_is_named { first } else { 0 }, most, all })
    }

    fn fill(self, image: &Image) -> DescribeTopicPartitionsResponse {
        let Self { topics, mut first, most: mut left, all } = self;
        let mut response = DescribeTopicPartitionsResponse::default();
        let cursor = |name: StrBytes, index: usize| {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            Some(Cursor::default().with_topic_name(name.into()).with_partition_index(index))
        };
        for name in topics {
            if left == 0 {
                return response.with_next_cursor(cursor(name, 0));
            }
            let Some((topic, next)) = described(image, &name, core::mem::take(&mut first), left) else {
                if !all {
                    response.topics.push(missing(name));
                }
                continue;
            };
            left -= topic.partitions.len();
            response.topics.push(topic);
            if let Some(next) = next {
                return response.with_next_cursor(cursor(name, next));
            }
        }
        response
    }
}

/// Up to `most` partitions of a topic, and the index of the next, if there are more.
fn described(
    image: &Image,
    name: &StrBytes,
    first: usize,
    most: usize,
) -> Option<(DescribeTopicPartitionsResponseTopic, Option<usize>)> {
    let (id, topic) = image.topic_named(&TopicName::parse(name.as_str())?)?;
    let count = topic.partitions.len();
    let end = first.saturating_add(most).min(count);
    let partitions = (first..end).map(|index| {
        let stream = &image.streams[&topic.partitions[index].stream];
        let (owner, open) = (broker_id(stream.owner), matches!(stream.state, StreamState::Open(_)));
        DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(if open { 0 } else { ErrorCode::LeaderNotAvailable.code() })
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_id(if open { owner } else { (-1).into() })
            .with_leader_epoch(i32::try_from(stream.epoch.0).unwrap_or(i32::MAX))
            .with_replica_nodes(vec![owner])
            .with_isr_nodes(vec![owner])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    let described = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name.clone().into()))
        .with_topic_id(kafka_id(id))
        .with_is_internal(name.as_str() == crate::group::TOPIC)
        // As Kafka does, unasked.
        .with_topic_authorized_operations(operations::ON_TOPIC)
        .with_partitions(partitions.collect());
    Some((described, (end < count).then_some(end)))
}

fn missing(name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let code = match TopicName::parse(name.as_str()) {
        Some(_) => ErrorCode::UnknownTopicOrPartition,
        None => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default().with_name(Some(name.into())).with_error_code(code.code())
}

/// The answer has no error of its own: each topic has it.
fn refused(request: &DescribeTopicPartitionsRequest, code: ErrorCode) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default().with_name(Some(topic.name.clone())).with_error_code(code.code())
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}
