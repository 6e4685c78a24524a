//! AlterConfigs, which replaces all configs of a topic, and IncrementalAlterConfigs, which changes some (KIP-339).
//! Answered when the change is durable.

use super::{BROKER, TOPIC, set, shown};
use crate::kafka::ErrorCode;
use crate::machine::{Effects, Now};
use crate::metadata::{
    CleanupPolicy, Command, ConfigKind, ConfigName, ConfigNames, ConfigPatch, InertName, TopicConfigs, TopicName,
};
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

/// What is added to a list or taken away is no longer, in bytes: it is compared with the list, and no list that is kept is
/// nearly as long.
const LONGEST_LIST: usize = 4096;

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
        let image = self.image.as_ref().expect("requests come after the image");
        let topic_name = TopicName::parse(name.as_str());
        let topic = topic_name.as_ref().and_then(|name| image.topic_named(name));
        let patch = patch((begin, topic.map(|(_, topic)| &topic.configs)), changes, self.limits.largest_batch)?;
        if name.is_empty() {
            return refuse(ErrorCode::InvalidRequest, "Default topic resources are not allowed.".into());
        }
        if topic_name.is_none() {
            return refuse(ErrorCode::InvalidTopicException, "the topic's name is not legal".into());
        }
        let Some((id, topic)) = topic else {
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

/// What the changes come to, for a topic that is configured like this, if there is one.
fn patch(
    (begin, now): (ConfigPatch, Option<&TopicConfigs>),
    changes: &[Change<'_>],
    largest_batch: u32,
) -> Result<ConfigPatch, TopicOutcome> {
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
            APPEND | SUBTRACT if value.len() > LONGEST_LIST => {
                return Err(invalid(format!("a list of more than {LONGEST_LIST} bytes is not added or taken away")));
            }
            APPEND | SUBTRACT => match list_named(name, *operation).map_err(invalid)? {
                List::CleanupPolicy if *operation == APPEND => patch.append = policy(value).map_err(invalid)?,
                List::CleanupPolicy => {
                    let known = value.split(',').filter_map(|element| policy(element).ok());
                    patch.subtract = known.fold(CleanupPolicy::NONE, CleanupPolicy::join);
                }
                List::Inert(inert) => {
                    let known = now.and_then(|configs| configs.text(ConfigName::Inert(inert))).unwrap_or_default();
                    let changed = changed_list(&known, *operation, value);
                    set(&mut patch.set, name, &changed, largest_batch).map_err(invalid)?;
                }
            },
            other => {
                let why = format!("Unknown operations type {other}");
                return Err(TopicOutcome::refused(ErrorCode::InvalidRequest, why));
            }
        }
    }
    Ok(patch)
}

/// A config that is a list.
enum List {
    /// The one that is honoured: its elements are added and taken away when the change is made.
    CleanupPolicy,
    /// One without effect: what it becomes is known when it is asked for, and set.
    Inert(InertName),
}

fn list_named(name: &str, operation: i8) -> Result<List, String> {
    match ConfigName::parse(name) {
        Some(ConfigName::CleanupPolicy) => Ok(List::CleanupPolicy),
        Some(ConfigName::Inert(inert)) if inert.kind() == ConfigKind::List => Ok(List::Inert(inert)),
        _ => {
            let operation = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
            Err(format!("Can't {operation} to key {} because its type is not LIST.", shown(name)))
        }
    }
}

/// The elements of `cleanup.policy`.
fn policy(value: &str) -> Result<CleanupPolicy, String> {
    let mut configs = TopicConfigs::default();
    configs.set(ConfigName::CleanupPolicy, value)?;
    Ok(configs.cleanup_policy())
}

/// The list with these elements more or less, as Kafka makes it: none twice.
fn changed_list(known: &str, operation: i8, value: &str) -> String {
    let mut elements: Vec<&str> = known.split(',').filter(|one| !one.is_empty()).collect();
    for element in value.split(',').filter(|one| !one.is_empty()) {
        let at = elements.iter().position(|one| *one == element);
        match (operation, at) {
            (APPEND, None) => elements.push(element),
            (SUBTRACT, Some(at)) => {
                elements.remove(at);
            }
            _ => {}
        }
    }
    elements.join(",")
}

fn told(outcome: TopicOutcome) -> (ErrorCode, Option<StrBytes>) {
    match outcome {
        TopicOutcome::Refused(code, why) => (code, Some(str_bytes(&why))),
        TopicOutcome::Done => (ErrorCode::None, None),
        other => unreachable!("configs come to nothing like {other:?}"),
    }
}
