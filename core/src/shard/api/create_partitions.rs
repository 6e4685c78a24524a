//! CreatePartitions: topics grow. Answered when the new partitions are open.

use super::{broker_id, millis, repeated, str_bytes};
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{Command, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;

impl Shard {
    pub(in crate::shard) fn handle_create_partitions(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: CreatePartitionsRequest,
        out: &mut Effects<Effect>,
    ) {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.0.clone()));
        // A topic that is named more than once is answered once.
        let mut seen = BTreeSet::new();
        request.topics.retain(|topic| seen.insert(topic.name.clone()));
        let steps = request.topics.iter().map(|topic| match self.check_growth(topic, &repeated) {
            Err(outcome) => TopicStep::Known(outcome),
            Ok(_) if request.validate_only => TopicStep::Known(TopicOutcome::Done),
            Ok(command) => TopicStep::Command(command, TopicOutcome::Done),
        });
        let steps = steps.collect();
        let due = now.mono.after(millis(request.timeout_ms));
        self.begin_topics(now, asked, TopicRequest::Grow(request), steps, due, out);
    }

    pub(in crate::shard) fn answer_create_partitions(
        &mut self,
        asked: Asked,
        request: &CreatePartitionsRequest,
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let results = request.topics.iter().zip(outcomes).map(|(topic, outcome)| {
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            match outcome {
                TopicOutcome::Refused(code, why) => {
                    result.with_error_code(code.code()).with_error_message(Some(str_bytes(&why)))
                }
                _ => result.with_error_message(None),
            }
        });
        let response = CreatePartitionsResponse::default().with_results(results.collect());
        self.answer(asked, &response, out);
    }

    /// The command that makes a topic grow, unless something is wrong with the wish.
    fn check_growth(
        &self,
        topic: &CreatePartitionsTopic,
        repeated: &BTreeSet<StrBytes>,
    ) -> Result<Command, TopicOutcome> {
        if repeated.contains(&topic.name.0) {
            return Err(TopicOutcome::refused(ErrorCode::InvalidRequest, "Duplicate topic name."));
        }
        let image = self.image.as_ref().expect("requests come after the image");
        let known = TopicName::parse(topic.name.as_str()).and_then(|name| image.topic_named(&name));
        let Some((id, known)) = known else {
            return Err(TopicOutcome::refused(ErrorCode::UnknownTopicOrPartition, "no such topic"));
        };
        if known.name.is_internal() {
            // Groups belong to partitions by their count.
            return Err(TopicOutcome::refused(ErrorCode::InvalidTopicException, "the topic is the broker's own"));
        }
        let now = known.partitions.len();
        let refuse = |why| Err(TopicOutcome::refused(ErrorCode::InvalidPartitions, why));
        let count = usize::try_from(topic.count).unwrap_or(0);
        if count == now {
            return refuse(format!("Topic already has {now} partition(s)."));
        }
        if count < now {
            let (name, count) = (topic.name.as_str(), topic.count);
            return refuse(format!(
                "The topic {name} currently has {now} partition(s); {count} would not be an increase."
            ));
        }
        let partitions = topic.count.unsigned_abs();
        if partitions > self.limits.partitions_per_topic {
            return refuse("more partitions than a topic may have".into());
        }
        if let Some(assignments) = &topic.assignments {
            self.check_assignments(assignments, count - now)?;
        }
        Ok(Command::GrowTopic { id, partitions })
    }

    /// Replicas may be assigned by hand, as long as each partition gets this broker: there is no other.
    fn check_assignments(&self, given: &[CreatePartitionsAssignment], wanted: usize) -> Result<(), TopicOutcome> {
        let refuse = |why| Err(TopicOutcome::refused(ErrorCode::InvalidReplicaAssignment, why));
        if given.len() != wanted {
            return refuse(format!(
                "Attempted to add {wanted} additional partition(s), but only {} assignment(s) were specified.",
                given.len()
            ));
        }
        given.iter().try_for_each(|assignment| self.check_replicas(&assignment.broker_ids))
    }

    /// The replicas of a partition, assigned by hand: this broker, since there is no other.
    pub(super) fn check_replicas(&self, replicas: &[BrokerId]) -> Result<(), TopicOutcome> {
        let refuse = |why| Err(TopicOutcome::refused(ErrorCode::InvalidReplicaAssignment, why));
        let me = self.me.map(|me| broker_id(me.node));
        match replicas {
            [] => refuse("The manual partition assignment includes an empty replica list.".into()),
            [only] if Some(*only) == me => Ok(()),
            [first, ..] => match replicas.iter().find(|id| Some(**id) != me) {
                Some(BrokerId(id)) => refuse(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                )),
                None => {
                    let BrokerId(id) = first;
                    refuse(format!("The manual partition assignment includes the broker {id} more than once."))
                }
            },
        }
    }
}
