//! DeleteTopics: answered when the topics are gone from the metadata. Their objects follow in the background.

use super::{kafka_id, millis, str_bytes};
use crate::id::TopicId;
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{Command, Image, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;

impl Shard {
    pub(in crate::shard) fn handle_delete_topics(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: DeleteTopicsRequest,
        out: &mut Effects<Effect>,
    ) {
        // Up to version 5 there were names only.
        let names = core::mem::take(&mut request.topic_names);
        request.topics.extend(names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name))));
        let image = self.image.as_ref().expect("requests come after the image");
        let lines = Lines::of(image, &mut request.topics);
        let ids: Vec<Option<TopicId>> = request.topics.iter().map(|topic| find(image, topic)).collect();
        let steps = ids.iter().zip(&request.topics).map(|(id, topic)| {
            let refuse = |code, why: &'static str| TopicStep::Known(TopicOutcome::refused(code, why));
            if let Some(why) = lines.why_not(topic, *id) {
                return refuse(ErrorCode::InvalidRequest, why);
            }
            match (*id, &topic.name) {
                (Some(id), _) if image.topics[&id].name.is_internal() => {
                    refuse(ErrorCode::InvalidTopicException, "the topic is the broker's own")
                }
                (Some(id), _) => TopicStep::Command(Command::DeleteTopic { id }, TopicOutcome::Done),
                (None, Some(_)) => refuse(ErrorCode::UnknownTopicOrPartition, "no such topic"),
                (None, None) => refuse(ErrorCode::UnknownTopicId, "no topic has that id"),
            }
        });
        let steps = steps.collect();
        let due = now.mono.after(millis(request.timeout_ms));
        self.begin_topics(now, asked, TopicRequest::Delete(request, ids), steps, due, out);
    }

    pub(in crate::shard) fn answer_delete_topics(
        &mut self,
        asked: Asked,
        request: &DeleteTopicsRequest,
        ids: &[Option<TopicId>],
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let results = request.topics.iter().zip(ids).zip(outcomes).map(|((topic, id), outcome)| {
            let result = DeletableTopicResult::default()
                .with_name(topic.name.clone())
                .with_topic_id(id.map_or(topic.topic_id, kafka_id));
            match outcome {
                TopicOutcome::Refused(code, why) => {
                    let result = result.with_error_code(code.code());
                    if asked.version >= 5 { result.with_error_message(Some(str_bytes(&why))) } else { result }
                }
                _ => result,
            }
        });
        let response = DeleteTopicsResponse::default().with_responses(results.collect());
        self.answer(asked, &response, out);
    }
}

/// The lines of a request, each answered once.
struct Lines {
    /// Names and ids that it has more than once.
    repeated: BTreeSet<(Option<StrBytes>, TopicId)>,
    /// Ids of topics that it names by id.
    by_id: BTreeSet<TopicId>,
}

impl Lines {
    fn of(image: &Image, topics: &mut Vec<DeleteTopicState>) -> Self {
        let mut seen = BTreeSet::new();
        let mut repeated = BTreeSet::new();
        topics.retain(|topic| {
            let is_new = seen.insert(key(topic));
            if !is_new {
                repeated.insert(key(topic));
            }
            is_new
        });
        let by_id: BTreeSet<TopicId> =
            seen.iter().filter(|(name, id)| name.is_none() && *id != NIL).map(|(_, id)| *id).collect();
        // Who gives a topic's id and its name is told so at its name.
        let named: BTreeSet<TopicId> =
            topics.iter().filter(|topic| topic.name.is_some()).filter_map(|topic| find(image, topic)).collect();
        topics.retain(|topic| {
            let (name, id) = key(topic);
            name.is_some() || !named.contains(&id)
        });
        Self { repeated, by_id }
    }

    /// Kafka's words for what is wrong with a line.
    fn why_not(&self, topic: &DeleteTopicState, id: Option<TopicId>) -> Option<&'static str> {
        let key = key(topic);
        match (&topic.name, key.1) {
            (None, NIL) => Some("Neither topic name nor id were specified."),
            (Some(_), given) if given != NIL => Some("You may not specify both topic name and topic id."),
            (Some(_), _) if self.repeated.contains(&key) => Some("Duplicate topic name."),
            (None, _) if self.repeated.contains(&key) => Some("Duplicate topic id."),
            (Some(_), _) if id.is_some_and(|id| self.by_id.contains(&id)) => {
                Some("The provided topic name maps to an ID that was already supplied.")
            }
            _ => None,
        }
    }
}

const NIL: TopicId = TopicId([0; 16]);

fn key(topic: &DeleteTopicState) -> (Option<StrBytes>, TopicId) {
    (topic.name.as_ref().map(|name| name.0.clone()), TopicId(*topic.topic_id.as_bytes()))
}

fn find(image: &Image, topic: &DeleteTopicState) -> Option<TopicId> {
    match &topic.name {
        Some(name) => image.names.get(&TopicName::parse(name.as_str())?).copied(),
        None => {
            let id = TopicId(*topic.topic_id.as_bytes());
            image.topics.contains_key(&id).then_some(id)
        }
    }
}
