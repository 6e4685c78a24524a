//! Topics with configs: created with some, changed, described, and now and then asked for what can't be.

use super::{Asked, Client, Effect};
use crate::oracle::{ConfigEnd, ConfigId, Observation};
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiKey, DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;
use karst_core::machine::{Effects, Now, Rng};
use std::collections::BTreeMap;

/// What is drawn for each config. Times are days apart, since clocks are hours off: whether a record is old is never in
/// doubt.
const VALUES: [(&str, &[&str]); 12] = [
    ("cleanup.policy", &["compact", "compact,delete", "delete"]),
    // Not gzip: what its library makes depends on the processor, and a run must not.
    ("compression.type", &["producer", "uncompressed", "snappy", "lz4", "zstd"]),
    ("max.message.bytes", &["200", "2000", "8192"]),
    ("message.timestamp.after.max.ms", &["9223372036854775807"]),
    ("message.timestamp.before.max.ms", &["432000000", "9223372036854775807"]),
    ("message.timestamp.type", &["LogAppendTime", "LogAppendTime", "CreateTime"]),
    ("min.cleanable.dirty.ratio", &["0.1", "0.75"]),
    ("min.insync.replicas", &["2"]),
    ("preallocate", &["false", "true"]),
    ("retention.bytes", &["-1", "0", "500", "3000", "20000"]),
    ("retention.ms", &["-1", "172800000", "1728000000"]),
    ("segment.bytes", &["1048576", "52428800"]),
];

/// Kafka's number of topics among resources.
const TOPIC: i8 = 2;
/// Kafka's source of a value that was set for its topic.
const SET_FOR_TOPIC: i8 = 1;

/// Values by name; `None` where the default is wanted.
pub(super) type Wishes = BTreeMap<String, Option<String>>;

/// A change of configs on its way.
#[derive(Debug)]
pub(super) struct Change {
    topic: String,
    /// `None` if it must be refused, or is only a rehearsal, which changes nothing.
    id: Option<ConfigId>,
    refused: bool,
}

/// How records of this world are aged, in milliseconds: half of them by nothing.
pub(super) fn age(rng: &mut Rng) -> i64 {
    const DAY: i64 = 24 * 3_600_000;
    *rng.pick(&[0, 0, 0, 10 * DAY, 40 * DAY]).expect("not empty")
}

impl Client {
    /// What a new topic is configured to.
    pub(super) fn draw_configs(&self) -> Wishes {
        if self.habits.kept > 0 {
            return [("retention.bytes".to_owned(), Some(self.habits.kept.to_string()))].into();
        }
        let mut rng = self.rng.child("configs");
        if !rng.chance(self.habits.configured, 100) {
            return Wishes::new();
        }
        let mut wishes = Wishes::new();
        for (name, values) in VALUES {
            // Clocks may be more than an hour off.
            let chance = if name == "message.timestamp.after.max.ms" { 80 } else { 25 };
            if rng.chance(chance, 100) {
                wishes.insert(name.into(), rng.pick(values).map(|value| self.raised(name, value)));
            }
        }
        wishes
    }

    /// Tells the oracle what a topic that is about to be created has: it has that before anybody can change it.
    pub(super) fn tell_configs(&mut self, topic: &str, wishes: &Wishes, out: &mut Effects<Effect>) {
        if !wishes.is_empty() {
            let id = ConfigId(self.next_question());
            out.push(Effect::Observe(Observation::Configuring(topic.into(), id, wishes.clone())));
            out.push(Effect::Observe(Observation::Configured(topic.into(), id, ConfigEnd::Done)));
        }
    }

    pub(super) fn configure(&mut self, now: Now, out: &mut Effects<Effect>) {
        let at = self.rng.below(self.topics.len() as u64) as usize;
        let Some(topic) = self.topics.keys().nth(at).cloned() else { return };
        match self.rng.below(12) {
            0..=4 => self.describe_configs(now, topic, out),
            5..=8 => self.change_some(now, topic, out),
            9..=10 => self.change_all(now, topic, out),
            _ => self.ask_the_impossible(now, topic, out),
        }
    }

    fn describe_configs(&mut self, now: Now, topic: String, out: &mut Effects<Effect>) {
        let version = self.rng.between(1, 4) as i16;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&topic))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(self.rng.chance(1, 2));
        let question = self.next_question();
        out.push(Effect::Observe(Observation::AskedForConfigs(topic.clone(), question)));
        self.send(now, (ApiKey::DescribeConfigs, version), &request, Asked::Configs(topic, question), out);
    }

    fn change_some(&mut self, now: Now, topic: String, out: &mut Effects<Effect>) {
        let mut wishes = Wishes::new();
        for _ in 0..self.rng.between(1, 2) {
            let (name, values) = *self.rng.pick(&VALUES).expect("not empty");
            let value = if self.rng.chance(1, 4) { None } else { self.rng.pick(values).copied() };
            let value = value.map(|value| self.raised(name, value));
            wishes.insert(name.into(), value);
        }
        let rehearsal = self.rng.chance(1, 10);
        let change = self.begin_change(topic, wishes.clone(), rehearsal, out);
        let lines = wishes.iter().map(|(name, value)| line(name, i8::from(value.is_none()), value.as_deref()));
        let request = changing(&change.topic, lines.collect()).with_validate_only(rehearsal);
        self.send_change(now, &request, change, out);
    }

    fn change_all(&mut self, now: Now, topic: String, out: &mut Effects<Effect>) {
        let mut wishes: Wishes = VALUES.iter().map(|(name, _)| ((*name).to_owned(), None)).collect();
        for _ in 0..self.rng.between(0, 4) {
            let (name, values) = *self.rng.pick(&VALUES).expect("not empty");
            let value = self.rng.pick(values).map(|value| self.raised(name, value));
            wishes.insert(name.into(), value);
        }
        let rehearsal = self.rng.chance(1, 10);
        let change = self.begin_change(topic, wishes.clone(), rehearsal, out);
        let config = |(name, value): (&String, &String)| {
            AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let set = wishes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&change.topic))
            .with_configs(set.map(config).collect());
        let request = AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(rehearsal);
        let version = self.rng.between(0, 2) as i16;
        self.send(now, (ApiKey::AlterConfigs, version), &request, Asked::Replace(change), out);
    }

    /// A config that there is not, or a value that it can't have: together with one that could be, so that a half done
    /// change would show.
    fn ask_the_impossible(&mut self, now: Now, topic: String, out: &mut Effects<Effect>) {
        let wrong = [
            ("segment.size", 0, Some("1048576")),
            ("segment.bytes", 0, Some("13")),
            ("preallocate", 0, Some("perhaps")),
            ("retention.ms", 0, Some("-2")),
            ("retention.ms", 2, Some("1")),
            ("compression.type", 0, Some("brotli")),
            ("max.message.bytes", 0, Some("2147483647")),
            ("cleanup.policy", 0, None),
        ];
        let (name, operation, value) = *self.rng.pick(&wrong).expect("not empty");
        let value = value.map(|value| if name == "max.message.bytes" { self.beyond(value) } else { value.to_owned() });
        let wrong = line(name, operation, value.as_deref());
        let lines = vec![line("min.insync.replicas", 0, Some("77")), wrong];
        let change = Change { topic, id: None, refused: true };
        let request = changing(&change.topic, lines);
        self.send_change(now, &request, change, out);
    }

    fn begin_change(&mut self, topic: String, wishes: Wishes, rehearsal: bool, out: &mut Effects<Effect>) -> Change {
        if rehearsal {
            return Change { topic, id: None, refused: false };
        }
        let id = ConfigId(self.next_question());
        out.push(Effect::Observe(Observation::Configuring(topic.clone(), id, wishes)));
        Change { topic, id: Some(id), refused: false }
    }

    fn send_change(
        &mut self,
        now: Now,
        request: &IncrementalAlterConfigsRequest,
        change: Change,
        out: &mut Effects<Effect>,
    ) {
        let version = self.rng.between(0, 1) as i16;
        self.send(now, (ApiKey::IncrementalAlterConfigs, version), request, Asked::Change(change), out);
    }

    /// A change was answered, with that code.
    pub(super) fn handle_changed(change: Change, code: i16, out: &mut Effects<Effect>) -> Result<(), String> {
        // Done; no such topic; timed out; not the controller; what can't be.
        let end = match code {
            0 => ConfigEnd::Done,
            7 => ConfigEnd::Unknown,
            3 | 41 => ConfigEnd::Refused,
            40 | 42 if change.refused => ConfigEnd::Refused,
            _ => return Err(format!("a change of configs was answered with error {code}")),
        };
        if change.refused && end != ConfigEnd::Refused {
            return Err("configs that can't be were accepted".into());
        }
        end_change(change, end, out);
        Ok(())
    }

    pub(super) fn handle_described(
        response: &DescribeConfigsResponse,
        (topic, question): (String, u64),
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let result = response.results.first().ok_or("an empty answer to describe-configs")?;
        match result.error_code {
            0 => {}
            3 => return Ok(()),
            other => return Err(format!("describe-configs was answered with error {other}")),
        }
        let all = result.configs.iter().map(|config| {
            let set = config.config_source == SET_FOR_TOPIC;
            (config.name.to_string(), config.value.as_ref().filter(|_| set).map(ToString::to_string))
        });
        out.push(Effect::Observe(Observation::Configs(topic, question, all.collect())));
        Ok(())
    }
}

/// The answer to a creation tells what was asked for.
pub(super) fn check_created(answer: &CreatableTopicResult, wishes: &Wishes, version: i16) -> Result<(), String> {
    if version < 5 {
        return Ok(());
    }
    let told = answer.configs.iter().flatten().filter(|config| config.config_source == SET_FOR_TOPIC);
    let told: Wishes =
        told.map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string))).collect();
    if told == *wishes { Ok(()) } else { Err(format!("a topic was to have {wishes:?}, and has {told:?}")) }
}

/// Nothing will be heard of a change.
pub(super) fn forget_change(change: Change, out: &mut Effects<Effect>) {
    end_change(change, ConfigEnd::Unknown, out);
}

fn end_change(change: Change, end: ConfigEnd, out: &mut Effects<Effect>) {
    if let Some(id) = change.id {
        out.push(Effect::Observe(Observation::Configured(change.topic, id, end)));
    }
}

/// For a request that creates a topic.
pub(super) fn creatable(wishes: &Wishes) -> Vec<CreatableTopicConfig> {
    let config = |(name, value): (&String, &Option<String>)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(value.as_deref().map(text))
    };
    wishes.iter().map(config).collect()
}

fn changing(topic: &str, lines: Vec<incremental::AlterableConfig>) -> IncrementalAlterConfigsRequest {
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(lines);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn line(name: &str, operation: i8, value: Option<&str>) -> incremental::AlterableConfig {
    incremental::AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(operation)
        .with_value(value.map(text))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
