//! DescribeConfigs: what topics and this broker are configured to.
//!
//! An answer is many times as long as its question, so it takes credit before it is made, and says each resource once.

use super::metadata::DEFAULT_PARTITIONS;
use super::str_bytes;
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Effects, Now, Rope};
use crate::metadata::{ConfigKind, ConfigName, TopicConfigs, TopicName};
use crate::shard::joins::Asked;
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

/// Kafka's numbers of resource types.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Where a value is from, by Kafka's numbers.
pub(super) const TOPIC_CONFIG: i8 = 1;
const STATIC_BROKER_CONFIG: i8 = 4;
pub(super) const DEFAULT_CONFIG: i8 = 5;

/// What one resource takes in an answer, and while that is made, at most: some 20 configs with synonyms and their
/// documentation.
const RESOURCE: u64 = 8 << 10;

type Refused = (ErrorCode, Cow<'static, str>);

/// What the client wants to know besides the values.
#[derive(Clone, Copy)]
struct Wish<'a> {
    resource: &'a DescribeConfigsResource,
    request: &'a DescribeConfigsRequest,
    version: i16,
}

impl Shard {
    pub(in crate::shard) fn handle_describe_configs(
        &mut self,
        now: Now,
        asked: Asked,
        mut request: DescribeConfigsRequest,
        out: &mut Effects<Effect>,
    ) {
        let mut seen = BTreeSet::new();
        request.resources.retain(|one| seen.insert((one.resource_type, one.resource_name.clone())));
        let bytes = RESOURCE * (request.resources.len() as u64);
        self.answer_when_paid(now, asked, (Unanswered::DescribeConfigs(request), bytes), out);
    }

    /// The answer's body.
    pub(in crate::shard) fn describe_configs(&self, version: i16, request: &DescribeConfigsRequest) -> Rope {
        let results = request.resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match self.describe(Wish { resource, request, version }) {
                Ok(configs) => result.with_error_message(None).with_configs(configs),
                Err((code, why)) => result.with_error_code(code.code()).with_error_message(Some(str_bytes(&why))),
            }
        });
        encoded(version, &DescribeConfigsResponse::default().with_results(results.collect()))
    }

    fn describe(&self, wish: Wish<'_>) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        let name = wish.resource.resource_name.as_str();
        match wish.resource.resource_type {
            TOPIC => self.describe_topic(name, wish),
            BROKER if name.is_empty() => Ok(Vec::new()),
            BROKER => {
                self.check_broker(name, " or empty string")?;
                Ok(broker_configs(&self.limits, self.me.map_or(0, |me| me.node.0))
                    .into_iter()
                    .filter(|config| wish.wants(config.name))
                    .map(|config| config.describe(wish))
                    .collect())
            }
            other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}").into())),
        }
    }

    fn describe_topic(&self, name: &str, wish: Wish<'_>) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        let illegal = || (ErrorCode::InvalidTopicException, "the topic's name is not legal".into());
        let name = TopicName::parse(name).ok_or_else(illegal)?;
        let image = self.image.as_ref().expect("requests come after the image");
        let unknown = || (ErrorCode::UnknownTopicOrPartition, "no such topic".into());
        let (_, topic) = image.topic_named(&name).ok_or_else(unknown)?;
        let wanted = ConfigName::ALL.into_iter().filter(|name| wish.wants(name.name()));
        Ok(wanted.map(|name| describe_topic_config(&topic.configs, name, &self.limits, wish)).collect())
    }

    /// Whether a resource's name is this broker's number.
    pub(super) fn check_broker(&self, name: &str, or: &str) -> Result<(), Refused> {
        let me = self.me.map_or(0, |me| me.node.0);
        match name.parse::<i32>() {
            Ok(id) if u32::try_from(id) == Ok(me) => Ok(()),
            Ok(_) => {
                let why = format!("Unexpected broker id, expected {me}{or}, but received {name}");
                Err((ErrorCode::InvalidRequest, why.into()))
            }
            Err(_) => Err((ErrorCode::InvalidRequest, "Broker id must be an integer, and is another text".into())),
        }
    }
}

impl Wish<'_> {
    fn wants(self, name: &str) -> bool {
        let keys = self.resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
    }

    fn explain(
        self,
        result: DescribeConfigsResourceResult,
        kind: ConfigKind,
        documentation: &'static str,
    ) -> DescribeConfigsResourceResult {
        // The fields came with version 3 (KIP-569).
        if self.version < 3 {
            return result;
        }
        let documentation = self.request.include_documentation.then(|| StrBytes::from_static_str(documentation));
        result.with_config_type(kind as i8).with_documentation(documentation)
    }
}

fn describe_topic_config(
    configs: &TopicConfigs,
    name: ConfigName,
    limits: &Limits,
    wish: Wish<'_>,
) -> DescribeConfigsResourceResult {
    let (value, source) = effective(configs, name, limits);
    let synonym = |name: &'static str, value: String, source| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_source(source)
    };
    let mut synonyms = Vec::new();
    if wish.request.include_synonyms {
        if source == TOPIC_CONFIG {
            synonyms.push(synonym(name.name(), value.clone(), TOPIC_CONFIG));
        }
        let default = TopicConfigs::default_text(name, limits.batch);
        synonyms.push(synonym(name.broker_name(), default, source_of_default(name, limits)));
    }
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name.name()))
        .with_value(Some(StrBytes::from_string(value)))
        .with_config_source(source)
        .with_synonyms(synonyms);
    wish.explain(result, name.kind(), name.documentation())
}

/// A config's value, and where it is from.
pub(super) fn effective(configs: &TopicConfigs, name: ConfigName, limits: &Limits) -> (String, i8) {
    match configs.text(name) {
        Some(value) => (value, TOPIC_CONFIG),
        None => (TopicConfigs::default_text(name, limits.batch), source_of_default(name, limits)),
    }
}

fn source_of_default(name: ConfigName, limits: &Limits) -> i8 {
    if name == ConfigName::MaxMessageBytes { source(limits.batch == Limits::default().batch) } else { DEFAULT_CONFIG }
}

const fn source(is_default: bool) -> i8 {
    if is_default { DEFAULT_CONFIG } else { STATIC_BROKER_CONFIG }
}

/// A limit of this broker, by Kafka's name.
struct BrokerConfig {
    name: &'static str,
    value: String,
    kind: ConfigKind,
    source: i8,
    documentation: &'static str,
}

impl BrokerConfig {
    fn describe(self, wish: Wish<'_>) -> DescribeConfigsResourceResult {
        let (name, value) = (StrBytes::from_static_str(self.name), Some(StrBytes::from_string(self.value)));
        let synonym = DescribeConfigsSynonym::default()
            .with_name(name.clone())
            .with_value(value.clone())
            .with_source(self.source);
        let result = DescribeConfigsResourceResult::default()
            .with_name(name)
            .with_value(value)
            .with_read_only(true)
            .with_config_source(self.source)
            .with_synonyms(if wish.request.include_synonyms { vec![synonym] } else { Vec::new() });
        wish.explain(result, self.kind, self.documentation)
    }
}

/// What this broker allows, as far as Kafka has a name for it, in the order of names.
fn broker_configs(limits: &Limits, node: u32) -> Vec<BrokerConfig> {
    let usual = Limits::default();
    let of = |name, value, kind, is_default, documentation| BrokerConfig {
        name,
        value,
        kind,
        source: source(is_default),
        documentation,
    };
    let limit = |name, kind, get: fn(&Limits) -> u128, documentation| {
        of(name, get(limits).to_string(), kind, get(limits) == get(&usual), documentation)
    };
    let idle = "A connection on which nothing happens is closed after so long.";
    let check = "Pause between two looks for records that may go.";
    let mut all = vec![
        of("auto.create.topics.enable", "true".into(), ConfigKind::Boolean, true, "Producers create topics."),
        of("default.replication.factor", "1".into(), ConfigKind::Int, true, "Replicas of a topic."),
        of("delete.topic.enable", "true".into(), ConfigKind::Boolean, true, "Topics can be deleted."),
        of(
            "num.partitions",
            DEFAULT_PARTITIONS.to_string(),
            ConfigKind::Int,
            true,
            "Partitions of a topic that is created by its use.",
        ),
        of("node.id", node.to_string(), ConfigKind::Int, false, "This broker's number."),
        of("broker.id", node.to_string(), ConfigKind::Int, false, "This broker's number."),
        limit("connections.max.idle.ms", ConfigKind::Long, |of| of.idle_connection.as_millis(), idle),
        limit("fetch.max.bytes", ConfigKind::Int, |of| of.fetch.into(), "What a fetch returns at most."),
        limit("log.retention.check.interval.ms", ConfigKind::Long, |of| of.retention_check.as_millis(), check),
        limit("max.connections", ConfigKind::Int, |of| of.connections.into(), "Connections at once."),
        limit("socket.request.max.bytes", ConfigKind::Int, |of| of.request.into(), "The largest request."),
    ];
    all.extend(ConfigName::ALL.into_iter().map(|name| {
        let value = TopicConfigs::default_text(name, limits.batch);
        BrokerConfig {
            name: name.broker_name(),
            value,
            kind: name.kind(),
            source: source_of_default(name, limits),
            documentation: name.documentation(),
        }
    }));
    all.sort_by_key(|config| config.name);
    all
}
