//! DescribeConfigs: what topics and this broker are configured to.
//!
//! An answer is many times as long as its question, so it takes credit before it is made, and says each resource once.

use super::broker::{BrokerConfig, broker_configs};
use super::{BROKER, TOPIC, TOPIC_CONFIG, effective, source_of_default};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Effects, Now, Rope};
use crate::metadata::{ConfigKind, ConfigName, TopicConfigs, TopicName};
use crate::shard::api::{str_bytes, text};
use crate::shard::joins::Asked;
use crate::shard::unpaid::Unanswered;
use crate::shard::{Effect, Shard, encoded};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

/// What a resource takes in an answer and while that is made, at most, beside its configs: its name, a list that was set
/// twice as long as any (there are two), and why it is refused.
const RESOURCE: u64 = 3 << 10;
/// One config of it.
const CONFIG: u64 = 320;
/// Its synonyms: there are two at most.
const SYNONYMS: u64 = 420;
/// What it means.
const DOCUMENTATION: u64 = 200;

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
        let bytes = cost(&request);
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
                let all = broker_configs(&self.limits, self.me.map_or(0, |me| me.node.0)).into_iter();
                Ok(all.filter(|config| wish.wants(config.name)).map(|config| config.describe(wish)).collect())
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
        let wanted = ConfigName::all().into_iter().filter(|name| wish.wants(name.name()));
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
    let value = text(value);
    let synonym = |name: &'static str, value: StrBytes, source| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(value))
            .with_source(source)
    };
    let mut synonyms = Vec::new();
    if wish.request.include_synonyms {
        if source == TOPIC_CONFIG {
            synonyms.push(synonym(name.name(), value.clone(), TOPIC_CONFIG));
        }
        if let Some(broker) = name.broker_name() {
            let default = text(TopicConfigs::default_text(name, limits.batch));
            synonyms.push(synonym(broker, default, source_of_default(name, limits)));
        }
    }
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name.name()))
        .with_value(Some(value))
        .with_config_source(source)
        .with_synonyms(synonyms);
    wish.explain(result, name.kind(), name.documentation())
}

impl BrokerConfig {
    fn describe(self, wish: Wish<'_>) -> DescribeConfigsResourceResult {
        let (name, value) = (StrBytes::from_static_str(self.name), Some(text(self.value)));
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

/// What an answer takes, and what is held while it is made, at most.
fn cost(request: &DescribeConfigsRequest) -> u64 {
    let synonyms = if request.include_synonyms { SYNONYMS } else { 0 };
    let documentation = if request.include_documentation { DOCUMENTATION } else { 0 };
    let resources = request.resources.iter().map(|resource| {
        let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        // A broker has no more of them than a topic.
        let configs = keys.map_or(ConfigName::COUNT, |keys| keys.len().min(ConfigName::COUNT)) as u64;
        RESOURCE + resource.resource_name.len() as u64 + configs * (CONFIG + synonyms + documentation)
    });
    resources.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::InertName;
    use kafka_protocol::protocol::Encodable;

    /// What the parts of an answer take in memory, and it as bytes.
    fn weight(request: &DescribeConfigsRequest, configs: Vec<DescribeConfigsResourceResult>) -> u64 {
        let held = |text: &StrBytes| text.len() + 64;
        let of = |config: &DescribeConfigsResourceResult| {
            let synonyms = config.synonyms.iter().map(|one| size_of_val(one) + one.value.as_ref().map_or(0, held));
            size_of_val(config) + config.value.as_ref().map_or(0, held) + synonyms.sum::<usize>()
        };
        let structs: usize = configs.iter().map(of).sum();
        let result = DescribeConfigsResult::default()
            .with_resource_name(request.resources[0].resource_name.clone())
            .with_configs(configs);
        let mut bytes = Vec::new();
        let response = DescribeConfigsResponse::default().with_results(vec![result]);
        response.encode(&mut bytes, 4).expect("it can be said");
        (structs + bytes.len()) as u64
    }

    /// Every config of a topic is set, to what is long.
    fn full() -> TopicConfigs {
        let mut full = TopicConfigs::default();
        for name in ConfigName::all() {
            let value = TopicConfigs::default_text(name, 1 << 30);
            full.set(name, &value).expect("a default is legal");
        }
        let list = "100000:100000,".repeat(18);
        for name in [InertName::LeaderThrottle, InertName::FollowerThrottle] {
            full.set(ConfigName::Inert(name), &list[..list.len() - 1]).expect("short enough");
        }
        full
    }

    #[test]
    fn no_answer_takes_more_than_was_paid() {
        let limits = Limits::default();
        let (full, brokers) = (full(), broker_configs(&limits, 7).len());
        assert!(brokers <= ConfigName::COUNT, "{brokers}");
        for (synonyms, documentation) in [(false, false), (false, true), (true, false), (true, true)] {
            for keys in [None, Some(vec![]), Some(vec![StrBytes::from_static_str("segment.bytes")])] {
                let resource = DescribeConfigsResource::default()
                    .with_resource_name(StrBytes::from_string("t".repeat(249)))
                    .with_configuration_keys(keys);
                let request = DescribeConfigsRequest::default()
                    .with_include_synonyms(synonyms)
                    .with_include_documentation(documentation)
                    .with_resources(vec![resource.clone()]);
                let wish = Wish { resource: &resource, request: &request, version: 4 };
                let names = ConfigName::all().into_iter().filter(|name| wish.wants(name.name()));
                let topic = names.map(|name| describe_topic_config(&full, name, &limits, wish)).collect();
                let broker = broker_configs(&limits, 7).into_iter().filter(|config| wish.wants(config.name));
                let broker = broker.map(|config| config.describe(wish)).collect();
                let (topic, broker) = (weight(&request, topic), weight(&request, broker));
                let paid = cost(&request);
                assert!(topic.max(broker) <= paid, "{topic} and {broker} of {paid}");
                assert!(resource.configuration_keys.is_some() || paid < 2 * topic, "{paid} for {topic}");
            }
        }
    }
}
