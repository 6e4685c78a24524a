//! AlterConfigs, which replaces all configs of a topic, and IncrementalAlterConfigs, which changes some (KIP-339).
//! Answered when the change is durable.

use super::{BROKER, TOPIC, set, shown};
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{CleanupPolicy, Command, ConfigName, ConfigNames, ConfigPatch, TopicConfigs, TopicName};
use crate::shard::api::{repeated, str_bytes};
use crate::shard::joins::Asked;
use crate::shard::topics::{TopicOutcome, TopicRequest, TopicStep};
use crate::shard::{Effect, Shard};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::incremental_alter_configs_response as incremental;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// How long a client waits: its requests don't say.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kafka's numbers of operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What a line of a request wants of one config.
struct Change<'a> {
    name: &'a str,
    operation: i8,
    value: Option<&'a str>,
}

/// A resource: its type and name.
type Resource<'a> = (i8, &'a StrBytes);

impl Shard {
    pub(in crate::shard) fn handle_alter_configs(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: AlterConfigsRequest,
        out: &mut Effects<Effect>,
    ) {
        let repeated = repeated(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
        let mut seen = BTreeSet::new();
        request.resources.retain(|one| seen.insert((one.resource_type, one.resource_name.clone())));
        let steps = request.resources.iter().map(|one| {
            let changes: Vec<_> = one.configs.iter().map(change_of).collect();
            let all = ConfigPatch { clear: ConfigNames::ALL, ..ConfigPatch::default() };
            let resource = (one.resource_type, &one.resource_name);
            self.plan_change(resource, &repeated, (all, &changes), request.validate_only)
        });
        let steps = steps.collect();
        self.begin_topics(now, asked, TopicRequest::Alter(request), steps, now.mono.after(PATIENCE), out);
    }

    pub(in crate::shard) fn handle_incremental_alter_configs(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: IncrementalAlterConfigsRequest,
        out: &mut Effects<Effect>,
    ) {
        let repeated = repeated(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
        let mut seen = BTreeSet::new();
        request.resources.retain(|one| seen.insert((one.resource_type, one.resource_name.clone())));
        let steps = request.resources.iter().map(|one| {
            let changes: Vec<_> = one
                .configs
                .iter()
                .map(|config| Change {
                    name: config.name.as_str(),
                    operation: config.config_operation,
                    value: config.value.as_ref().map(StrBytes::as_str),
                })
                .collect();
            let resource = (one.resource_type, &one.resource_name);
            self.plan_change(resource, &repeated, (ConfigPatch::default(), &changes), request.validate_only)
        });
        let steps = steps.collect();
        self.begin_topics(now, asked, TopicRequest::AlterIncrementally(request), steps, now.mono.after(PATIENCE), out);
    }

    pub(in crate::shard) fn answer_alter_configs(
        &mut self,
        asked: Asked,
        request: &AlterConfigsRequest,
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let responses = request.resources.iter().zip(outcomes).map(|(one, outcome)| {
            let (code, why) = told(outcome);
            AlterConfigsResourceResponse::default()
                .with_error_code(code.code())
                .with_error_message(why)
                .with_resource_type(one.resource_type)
                .with_resource_name(one.resource_name.clone())
        });
        self.answer(asked, &AlterConfigsResponse::default().with_responses(responses.collect()), out);
    }

    pub(in crate::shard) fn answer_incremental_alter_configs(
        &mut self,
        asked: Asked,
        request: &IncrementalAlterConfigsRequest,
        outcomes: Vec<TopicOutcome>,
        out: &mut Effects<Effect>,
    ) {
        let responses = request.resources.iter().zip(outcomes).map(|(one, outcome)| {
            let (code, why) = told(outcome);
            incremental::AlterConfigsResourceResponse::default()
                .with_error_code(code.code())
                .with_error_message(why)
                .with_resource_type(one.resource_type)
                .with_resource_name(one.resource_name.clone())
        });
        self.answer(asked, &IncrementalAlterConfigsResponse::default().with_responses(responses.collect()), out);
    }

    fn plan_change(
        &self,
        resource: Resource<'_>,
        repeated: &BTreeSet<(i8, StrBytes)>,
        (begin, changes): (ConfigPatch, &[Change<'_>]),
        validate_only: bool,
    ) -> TopicStep {
        if repeated.contains(&(resource.0, resource.1.clone())) {
            let why = "Each resource must appear at most once.";
            return TopicStep::Known(TopicOutcome::refused(ErrorCode::InvalidRequest, why));
        }
        match self.check_change(resource, (begin, changes)) {
            Err(refused) => TopicStep::Known(refused),
            Ok(_) if validate_only => TopicStep::Known(TopicOutcome::Done),
            Ok(command) => TopicStep::Command(command, TopicOutcome::Done),
        }
    }

    fn check_change(
        &self,
        (kind, name): Resource<'_>,
        (begin, changes): (ConfigPatch, &[Change<'_>]),
    ) -> Result<Command, TopicOutcome> {
        let refuse = |code, why: String| Err(TopicOutcome::refused(code, why));
        let mut seen = BTreeSet::new();
        if !changes.iter().all(|change| seen.insert(change.name)) {
            return refuse(ErrorCode::InvalidRequest, "Error due to duplicate config keys".into());
        }
        if let Some(null) = changes.iter().find(|change| change.operation != DELETE && change.value.is_none()) {
            return refuse(ErrorCode::InvalidRequest, format!("Null value not supported for : {}", shown(null.name)));
        }
        match kind {
            TOPIC => {}
            BROKER => return Err(self.refuse_broker(name.as_str())),
            other => return refuse(ErrorCode::InvalidRequest, format!("Unknown resource type {other}")),
        }
        let patch = patch(begin, changes, self.limits.largest_batch)?;
        let image = self.image.as_ref().expect("requests come after the image");
        let Some(name) = TopicName::parse(name.as_str()) else {
            return refuse(ErrorCode::InvalidTopicException, "the topic's name is not legal".into());
        };
        let Some((id, topic)) = image.topic_named(&name) else {
            let why = format!("The topic '{}' does not exist.", name.as_str());
            return refuse(ErrorCode::UnknownTopicOrPartition, why);
        };
        if let Err(why) = topic.configs.patched(&patch).check() {
            return refuse(ErrorCode::InvalidConfig, why);
        }
        Ok(Command::ConfigureTopic { id, patch })
    }

    /// What a broker is configured to is said when it is started.
    fn refuse_broker(&self, name: &str) -> TopicOutcome {
        if !name.is_empty()
            && let Err((code, why)) = self.check_broker(name, "")
        {
            return TopicOutcome::Refused(code, why);
        }
        TopicOutcome::refused(
            ErrorCode::InvalidRequest,
            "Cannot update these configs dynamically: a broker's configs are set when it is started",
        )
    }
}

fn change_of(config: &kafka_protocol::messages::alter_configs_request::AlterableConfig) -> Change<'_> {
    Change { name: config.name.as_str(), operation: SET, value: config.value.as_ref().map(StrBytes::as_str) }
}

/// What the changes come to.
fn patch(begin: ConfigPatch, changes: &[Change<'_>], largest_batch: u32) -> Result<ConfigPatch, TopicOutcome> {
    let invalid = |why| TopicOutcome::refused(ErrorCode::InvalidConfig, why);
    let mut patch = begin;
    for Change { name, operation, value } in changes {
        let value = value.unwrap_or_default();
        match *operation {
            SET => set(&mut patch.set, name, value, largest_batch).map_err(invalid)?,
            DELETE => {
                // What there is not is not set: there is nothing to do.
                patch.clear = ConfigName::parse(name).map_or(patch.clear, |known| patch.clear.with(known));
            }
            APPEND => patch.append = list(name, value, "APPEND").map_err(invalid)?,
            SUBTRACT => {
                let known = value.split(',').map(|element| list(name, element, "SUBTRACT"));
                patch.subtract = known.filter_map(Result::ok).fold(CleanupPolicy::NONE, CleanupPolicy::join);
                list(name, "", "SUBTRACT").map_err(invalid)?;
            }
            other => {
                let why = format!("Unknown operations type {other}");
                return Err(TopicOutcome::refused(ErrorCode::InvalidRequest, why));
            }
        }
    }
    Ok(patch)
}

/// The elements of a list. Only one is honoured: of those that have no effect nobody needs a part changed.
fn list(name: &str, value: &str, operation: &str) -> Result<CleanupPolicy, String> {
    let Some(ConfigName::CleanupPolicy) = ConfigName::parse(name) else {
        return Err(format!("Can't {operation} to key {} because its type is not LIST.", shown(name)));
    };
    let mut configs = TopicConfigs::default();
    configs.set(ConfigName::CleanupPolicy, value)?;
    Ok(configs.cleanup_policy())
}

fn told(outcome: TopicOutcome) -> (ErrorCode, Option<StrBytes>) {
    match outcome {
        TopicOutcome::Refused(code, why) => (code, Some(str_bytes(&why))),
        TopicOutcome::Done => (ErrorCode::None, None),
        other => unreachable!("configs come to nothing like {other:?}"),
    }
}
