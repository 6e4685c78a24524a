//! CreateTopics: answered when the partitions are open.

use super::configs::{effective, set, shown};
use super::{kafka_id, millis, own_topics, repeated, str_bytes, text};
use crate::id::TopicId;
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Effects, Now};
use crate::metadata::{Command, ConfigName, Image, NewTopic, TopicConfigs, TopicName};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

impl Shard {
    pub(in crate::shard) fn handle_create_topics(
        &mut self,
        now: Now,
        asked: Asked,
        request: CreateTopicsRequest,
        out: &mut Effects<Effect>,
    ) {
        let repeated = repeated(request.topics.iter().map(|topic| topic.name.0.clone()));
        let steps = request.topics.iter().map(|topic| match self.check_new_topic(topic, &repeated) {
            Err(outcome) => TopicStep::Known(outcome),
            Ok(new) if request.validate_only => TopicStep::Known(TopicOutcome::Created(Box::new(new))),
            Ok(new) => create(new),
        });
        let steps = steps.collect();
        let due = now.mono.after(millis(request.timeout_ms));
        self.begin_topics(now, asked, TopicRequest::Create(request), steps, due, out);
    }

    pub(in crate::shard) fn answer_create_topics(
        &mut self,
        asked: Asked,
        request: &CreateTopicsRequest,
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let mut told = 0;
        let results = request.topics.iter().zip(outcomes).map(|(topic, outcome)| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            match outcome {
                TopicOutcome::Created(new) => {
                    let id = if request.validate_only { Uuid::nil() } else { kafka_id(new.id) };
                    let result = created(result, id, &new);
                    told += 1;
                    // The fields came with version 5 (KIP-525).
                    match asked.version {
                        ..5 => result.with_configs(None),
                        _ if told <= TOLD => result.with_configs(Some(describe(&new.configs, &self.limits))),
                        _ => result.with_configs(None).with_topic_config_error_code(NOT_TOLD.code()),
                    }
                }
                TopicOutcome::Done | TopicOutcome::Trimmed(..) => {
                    unreachable!("a created topic is known by what was created")
                }
                TopicOutcome::Refused(code, why) => {
                    result.with_error_code(code.code()).with_error_message(Some(str_bytes(&why)))
                }
            }
        });
        let response = CreateTopicsResponse::default().with_topics(results.collect());
        self.answer(asked, &response, out);
    }

    /// What the request sets for a topic. Of a config that it names twice the last counts, as in Kafka.
    fn check_configs(&self, topic: &CreatableTopic) -> Result<TopicConfigs, TopicOutcome> {
        let refuse = |why: String| TopicOutcome::refused(ErrorCode::InvalidConfig, why);
        let mut configs = TopicConfigs::default();
        for config in &topic.configs {
            let name = config.name.as_str();
            let null = || refuse(format!("Null value not supported for topic configs: {}", shown(name)));
            let value = config.value.as_ref().ok_or_else(null)?;
            set(&mut configs, name, value.as_str(), self.limits.largest_batch).map_err(refuse)?;
        }
        configs.check().map_err(refuse)?;
        Ok(configs)
    }

    fn check_new_topic(
        &mut self,
        topic: &CreatableTopic,
        repeated: &BTreeSet<StrBytes>,
    ) -> Result<NewTopic, TopicOutcome> {
        let refuse = |code, why: &'static str| Err(TopicOutcome::refused(code, why));
        let Some(name) = TopicName::parse(topic.name.as_str()) else {
            return refuse(
                ErrorCode::InvalidTopicException,
                "a topic's name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and neither '.' nor '..'",
            );
        };
        if repeated.contains(&topic.name.0) {
            return refuse(ErrorCode::InvalidRequest, "the request names this topic more than once");
        }
        let image = self.image.as_ref().expect("requests come after the image");
        if image.names.contains_key(&name) {
            return refuse(ErrorCode::TopicAlreadyExists, "a topic of that name exists");
        }
        if collides(image, &name) {
            return refuse(
                ErrorCode::InvalidTopicException,
                "a topic exists whose name differs only in '.' and '_', which metrics can't tell apart",
            );
        }
        let configs = self.check_configs(topic)?;
        let usual = own_topics::usual_partitions(&name, &self.limits);
        let partitions = match partitions(topic, usual) {
            Ok(partitions) if partitions <= self.limits.partitions_per_topic => partitions,
            Ok(_) => return refuse(ErrorCode::InvalidPartitions, "more partitions than a topic may have"),
            Err(outcome) => return Err(outcome),
        };
        topic.assignments.iter().try_for_each(|assignment| self.check_replicas(&assignment.broker_ids))?;
        let new = NewTopic { id: TopicId::draw(&mut self.rng), name, partitions, configs };
        own_topics::check(new, &self.limits)
    }
}

/// What is said of a topic whose configs are not told.
const NOT_TOLD: ErrorCode = ErrorCode::PolicyViolation;

/// Topics of an answer that tell their configs at most: some thousand bytes each. Of the others it says that it does not.
const TOLD: usize = 250;

/// All configs of a new topic, set or not.
fn describe(configs: &TopicConfigs, limits: &Limits) -> Vec<CreatableTopicConfigs> {
    let one = |name: ConfigName| {
        let (value, source) = effective(configs, name, limits);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name.name()))
            .with_value(Some(text(value)))
            .with_config_source(source)
    };
    ConfigName::all().into_iter().map(one).collect()
}

/// Whether a topic exists that metrics could not tell from one of that name: they have `_` for `.`.
pub(super) fn collides(image: &Image, name: &TopicName) -> bool {
    let metric = |byte: u8| if byte == b'.' { b'_' } else { byte };
    // Only names that are equal up to there are looked at.
    let Some(prefix) = name.as_str().find(['.', '_']).map(|end| &name.as_str()[..end]) else { return false };
    let from = TopicName::parse(prefix).map_or(Bound::Unbounded, Bound::Included);
    let near = image.names.range((from, Bound::Unbounded)).map(|(other, _)| other.as_str());
    let mut near = near.take_while(|other| other.starts_with(prefix));
    near.any(|other| other.bytes().map(metric).eq(name.as_str().bytes().map(metric)))
}

/// What creates a topic.
pub(super) fn create(new: NewTopic) -> TopicStep {
    TopicStep::Command(Command::CreateTopic(new.clone()), TopicOutcome::Created(Box::new(new)))
}

/// The number of partitions asked for, the usual one if that is left to the broker. Replicas are accepted as they are: durability
/// comes from the WAL's device and the object store.
fn partitions(topic: &CreatableTopic, usual: u32) -> Result<u32, TopicOutcome> {
    let refuse = |code, why: &'static str| Err(TopicOutcome::refused(code, why));
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return refuse(ErrorCode::InvalidRequest, "a request assigns replicas or counts them, not both");
        }
        let indexes: BTreeSet<i32> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        let dense = indexes.iter().copied().eq((0..).take(topic.assignments.len()));
        if !dense {
            return refuse(ErrorCode::InvalidReplicaAssignment, "partitions must be numbered from 0 without gaps");
        }
        return Ok(u32::try_from(topic.assignments.len()).unwrap_or(u32::MAX));
    }
    if topic.replication_factor == 0 || topic.replication_factor < -1 {
        return refuse(ErrorCode::InvalidReplicationFactor, "the replication factor must be above 0, or -1");
    }
    match topic.num_partitions {
        -1 => Ok(usual),
        count @ 1.. => Ok(count.unsigned_abs()),
        _ => refuse(ErrorCode::InvalidPartitions, "the number of partitions must be above 0, or -1"),
    }
}

fn created(result: CreatableTopicResult, id: Uuid, new: &NewTopic) -> CreatableTopicResult {
    result
        .with_topic_id(id)
        .with_error_message(None)
        .with_num_partitions(i32::try_from(new.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(1)
}
