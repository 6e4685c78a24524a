//! DeleteTopics: answered when the topics are gone from the metadata. Their objects follow in the background.

use super::{kafka_id, millis, str_bytes};
use crate::id::TopicId;
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{Command, Image, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::vec::Vec;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

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
        let ids: Vec<Option<TopicId>> = request.topics.iter().map(|topic| find(image, topic)).collect();
        let steps = ids.iter().zip(&request.topics).map(|(id, topic)| {
            let refuse = |code, why: &'static str| TopicStep::Known(TopicOutcome::refused(code, why));
            match (*id, &topic.name) {
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

fn find(image: &Image, topic: &DeleteTopicState) -> Option<TopicId> {
    match &topic.name {
        Some(name) => image.names.get(&TopicName::parse(name.as_str())?).copied(),
        None => {
            let id = TopicId(*topic.topic_id.as_bytes());
            image.topics.contains_key(&id).then_some(id)
        }
    }
}
