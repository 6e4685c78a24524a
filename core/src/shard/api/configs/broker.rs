//! What this broker is configured to, by Kafka's names, as far as something is true of it that Kafka has a name for. All
//! else about a config follows from its line here. A broker's settings are read once: none can be changed.

use super::{source, source_of_default};
use crate::limits::Limits;
use crate::metadata::{ConfigKind, ConfigName, TopicConfigs};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A config of this broker.
pub(super) struct BrokerConfig {
    pub(super) name: &'static str,
    pub(super) value: Cow<'static, str>,
    pub(super) kind: ConfigKind,
    pub(super) source: i8,
    pub(super) documentation: &'static str,
}

/// A limit of the broker, in Kafka's unit.
type Limit = (&'static str, ConfigKind, fn(&Limits) -> u128, &'static str);

const INT: ConfigKind = ConfigKind::Int;
const LONG: ConfigKind = ConfigKind::Long;

const LIMITS: [Limit; 15] = [
    (
        "connections.max.idle.ms",
        LONG,
        |of| of.idle_connection.as_millis(),
        "A connection on which nothing happens is closed after so long.",
    ),
    ("fetch.max.bytes", INT, |of| of.fetch.into(), "What a fetch returns at most."),
    (
        "group.initial.rebalance.delay.ms",
        INT,
        |of| of.group_initial_rebalance_delay.as_millis(),
        "How long the first rebalance of an empty group waits for more members.",
    ),
    (
        "group.max.session.timeout.ms",
        INT,
        |of| of.group_max_session_timeout.as_millis(),
        "The longest session timeout that a group's member may ask for.",
    ),
    ("group.max.size", INT, |of| of.group_size.into(), "Members of a group."),
    (
        "group.min.session.timeout.ms",
        INT,
        |of| of.group_min_session_timeout.as_millis(),
        "The shortest session timeout that a group's member may ask for.",
    ),
    (
        "log.retention.check.interval.ms",
        LONG,
        |of| of.retention_check.as_millis(),
        "Pause between two looks for records that may go.",
    ),
    ("max.connections", INT, |of| of.connections.into(), "Connections at once."),
    (
        "num.partitions",
        INT,
        |of| of.default_partitions.into(),
        "Partitions of a topic of which nobody says how many it has.",
    ),
    ("offset.metadata.max.bytes", INT, |of| of.offset_metadata.into(), "What a commit may say besides its offset."),
    (
        "offsets.retention.check.interval.ms",
        LONG,
        |of| of.offsets_retention_check.as_millis(),
        "Pause between two looks for expired offsets.",
    ),
    (
        "offsets.retention.minutes",
        INT,
        |of| of.offsets_retention.as_millis() / 60_000,
        "Offsets of a group are kept so long after its last member left.",
    ),
    (
        "offsets.topic.num.partitions",
        INT,
        |of| of.offsets_partitions.into(),
        "Partitions of __consumer_offsets when it is created.",
    ),
    (
        "producer.id.expiration.ms",
        INT,
        |of| of.producer_expiration.as_millis(),
        "An idempotent producer that has not written for so long is forgotten.",
    ),
    ("socket.request.max.bytes", INT, |of| of.request.into(), "The largest request."),
];

/// What is so on every broker.
const FACTS: [(&str, &str, ConfigKind, &str); 5] = [
    ("default.replication.factor", "1", INT, "Replicas of a topic."),
    ("delete.topic.enable", "true", ConfigKind::Boolean, "Topics can be deleted."),
    ("group.coordinator.rebalance.protocols", "classic", ConfigKind::List, "How groups agree on who reads what."),
    ("offsets.topic.compression.codec", "0", INT, "Records of __consumer_offsets are not compressed."),
    ("offsets.topic.replication.factor", "1", INT, "Replicas of __consumer_offsets."),
];

/// All of them, in the order of names.
pub(super) fn broker_configs(limits: &Limits, node: u32) -> Vec<BrokerConfig> {
    let usual = Limits::default();
    let mut all: Vec<BrokerConfig> = Vec::new();
    all.extend(FACTS.map(|(name, value, kind, documentation)| BrokerConfig {
        name,
        value: value.into(),
        kind,
        source: source(true),
        documentation,
    }));
    all.extend(LIMITS.map(|(name, kind, get, documentation)| BrokerConfig {
        name,
        value: get(limits).to_string().into(),
        kind,
        source: source(get(limits) == get(&usual)),
        documentation,
    }));
    let number = |name, value: u32, is_default, documentation| {
        let value = value.to_string().into();
        BrokerConfig { name, value, kind: INT, source: source(is_default), documentation }
    };
    all.push(number("broker.id", node, false, "This broker's number."));
    all.push(number("node.id", node, false, "This broker's number."));
    all.push(BrokerConfig {
        name: "auto.create.topics.enable",
        value: limits.auto_create_topics.to_string().into(),
        kind: ConfigKind::Boolean,
        source: source(limits.auto_create_topics == usual.auto_create_topics),
        documentation: "Topics are created when clients ask for them.",
    });
    all.extend(ConfigName::HONOURED.into_iter().filter_map(|name| {
        Some(BrokerConfig {
            name: name.broker_name()?,
            value: TopicConfigs::default_text(name, limits.batch),
            kind: name.kind(),
            source: source_of_default(name, limits),
            documentation: name.documentation(),
        })
    }));
    all.sort_by_key(|config| config.name);
    all
}
