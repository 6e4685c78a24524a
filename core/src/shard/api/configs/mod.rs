//! What topics and the broker are configured to: asked for, told and changed.
//!
//! ```text
//!  CreateTopics ──────────────┐
//!  AlterConfigs ──────────────┼─► set: name known to Kafka? value legal? ──► a patch in the metadata log
//!  IncrementalAlterConfigs ───┘
//!  DescribeConfigs ─► credit ─► effective: what was set, or the broker's default, with where it is from
//! ```

mod alter;
mod broker;
mod describe;

use crate::limits::Limits;
use crate::metadata::{ConfigName, TopicConfigs};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// Kafka's numbers of resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value is from, by Kafka's numbers.
const TOPIC_CONFIG: i8 = 1;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;

/// Sets a config of a topic to what a client wrote, on a broker that takes batches of so many bytes.
///
/// # Errors
/// What is wrong, in Kafka's words.
pub(super) fn set(configs: &mut TopicConfigs, name: &str, value: &str, largest_batch: u32) -> Result<(), String> {
    let known = ConfigName::parse(name).ok_or_else(|| format!("Unknown topic config name: {}", shown(name)))?;
    configs.set(known, value)?;
    if known == ConfigName::MaxMessageBytes
        && let Some(bytes) = configs.max_message_bytes
        && bytes.0 > i64::from(largest_batch)
    {
        return Err(format!(
            "Invalid value {} for configuration {name}: Value must be no more than {largest_batch}, the largest batch \
             that this broker takes",
            bytes.0
        ));
    }
    Ok(())
}

/// A config's value, and where it is from.
pub(super) fn effective(configs: &TopicConfigs, name: ConfigName, limits: &Limits) -> (Cow<'static, str>, i8) {
    match configs.text(name) {
        Some(value) => (Cow::Owned(value), TOPIC_CONFIG),
        None => (TopicConfigs::default_text(name, limits.batch), source_of_default(name, limits)),
    }
}

fn source_of_default(name: ConfigName, limits: &Limits) -> i8 {
    if name == ConfigName::MaxMessageBytes { source(limits.batch == Limits::default().batch) } else { DEFAULT_CONFIG }
}

const fn source(is_default: bool) -> i8 {
    if is_default { DEFAULT_CONFIG } else { STATIC_BROKER_CONFIG }
}

/// As much of a name as an answer says: its own may be as long as the request.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}
