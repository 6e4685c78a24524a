//! Configs as clients write and read them.

use super::inert::InertName;
use super::parse::{int, invalid, long};
use super::{ByteLimit, CleanupPolicy, CompressionType, Millis, Replicas, TimestampType, Toggle, TopicConfigs};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The configs that there are. Their numbers are those of [`super::ConfigNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigName {
    /// `cleanup.policy`.
    CleanupPolicy,
    /// `compression.type`.
    CompressionType,
    /// `max.message.bytes`.
    MaxMessageBytes,
    /// `message.timestamp.after.max.ms`.
    TimestampAfterMax,
    /// `message.timestamp.before.max.ms`.
    TimestampBeforeMax,
    /// `message.timestamp.type`.
    TimestampType,
    /// `min.insync.replicas`.
    MinInsyncReplicas,
    /// `retention.bytes`.
    RetentionBytes,
    /// `retention.ms`.
    RetentionTime,
    /// Known to Kafka, and without effect.
    Inert(InertName),
}

/// A config's type, by Kafka's own numbers in DescribeConfigs (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum ConfigKind {
    /// True or false.
    Boolean = 1,
    /// A word.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 64 bits, signed.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Words with commas between them.
    List = 7,
}

const LOG_APPEND_TIME: &str = "LogAppendTime";
const CREATE_TIME: &str = "CreateTime";
const DELETE: &str = "delete";
const COMPACT: &str = "compact";
/// In the order in which Kafka names them.
const COMPRESSION_TYPES: [(CompressionType, &str); 6] = [
    (CompressionType::Uncompressed, "uncompressed"),
    (CompressionType::Zstd, "zstd"),
    (CompressionType::Lz4, "lz4"),
    (CompressionType::Snappy, "snappy"),
    (CompressionType::Gzip, "gzip"),
    (CompressionType::Producer, "producer"),
];

impl ConfigName {
    /// Those that are honoured, in the order of their names.
    pub const HONOURED: [Self; 9] = [
        Self::CleanupPolicy,
        Self::CompressionType,
        Self::MaxMessageBytes,
        Self::TimestampAfterMax,
        Self::TimestampBeforeMax,
        Self::TimestampType,
        Self::MinInsyncReplicas,
        Self::RetentionBytes,
        Self::RetentionTime,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::HONOURED.len() + InertName::ALL.len();

    /// All of them, in the order of their names, as Kafka tells them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let inert = InertName::ALL.iter().copied().map(Self::Inert);
        let mut all: Vec<Self> = Self::HONOURED.into_iter().chain(inert).collect();
        all.sort_by_key(|name| name.name());
        all
    }

    /// The config of that name, if Kafka knows it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let honoured = Self::HONOURED.into_iter().find(|one| one.name() == name);
        honoured.or_else(|| InertName::parse(name).map(Self::Inert))
    }

    /// Its bit in [`super::ConfigNames`].
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::CleanupPolicy => 0,
            Self::CompressionType => 1,
            Self::MaxMessageBytes => 2,
            Self::TimestampAfterMax => 3,
            Self::TimestampBeforeMax => 4,
            Self::TimestampType => 5,
            Self::MinInsyncReplicas => 6,
            Self::RetentionBytes => 7,
            Self::RetentionTime => 8,
            Self::Inert(inert) => 16 + inert as u32,
        }
    }

    /// Its name on a topic.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CleanupPolicy => "cleanup.policy",
            Self::CompressionType => "compression.type",
            Self::MaxMessageBytes => "max.message.bytes",
            Self::TimestampAfterMax => "message.timestamp.after.max.ms",
            Self::TimestampBeforeMax => "message.timestamp.before.max.ms",
            Self::TimestampType => "message.timestamp.type",
            Self::MinInsyncReplicas => "min.insync.replicas",
            Self::RetentionBytes => "retention.bytes",
            Self::RetentionTime => "retention.ms",
            Self::Inert(inert) => inert.name(),
        }
    }

    /// The name of the broker's config that is its default; some have none.
    #[must_use]
    pub const fn broker_name(self) -> Option<&'static str> {
        Some(match self {
            Self::CleanupPolicy => "log.cleanup.policy",
            Self::CompressionType => "compression.type",
            Self::MaxMessageBytes => "message.max.bytes",
            Self::TimestampAfterMax => "log.message.timestamp.after.max.ms",
            Self::TimestampBeforeMax => "log.message.timestamp.before.max.ms",
            Self::TimestampType => "log.message.timestamp.type",
            Self::MinInsyncReplicas => "min.insync.replicas",
            Self::RetentionBytes => "log.retention.bytes",
            Self::RetentionTime => "log.retention.ms",
            Self::Inert(inert) => return inert.broker_name(),
        })
    }

    /// Its type.
    #[must_use]
    pub const fn kind(self) -> ConfigKind {
        match self {
            Self::CleanupPolicy => ConfigKind::List,
            Self::CompressionType | Self::TimestampType => ConfigKind::String,
            Self::MaxMessageBytes | Self::MinInsyncReplicas => ConfigKind::Int,
            Self::TimestampAfterMax | Self::TimestampBeforeMax | Self::RetentionBytes | Self::RetentionTime => {
                ConfigKind::Long
            }
            Self::Inert(inert) => inert.kind(),
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn documentation(self) -> &'static str {
        match self {
            Self::CleanupPolicy => {
                "What happens to old records: 'delete' removes them by age and size; 'compact' demands a key of every \
                 record (Karst keeps all records of a key)."
            }
            Self::CompressionType => {
                "How records are stored: 'producer' as producers compress them, else 'uncompressed' or by 'gzip', 'snappy', \
                 'lz4' or 'zstd', whatever the producer did."
            }
            Self::MaxMessageBytes => "The largest record batch that is accepted, in bytes, after compression.",
            Self::TimestampAfterMax => {
                "How far ahead of the broker's clock the time of a record may be, in milliseconds."
            }
            Self::TimestampBeforeMax => {
                "How far behind the broker's clock the time of a record may be, in milliseconds."
            }
            Self::TimestampType => {
                "Whether a record's time is the producer's (CreateTime) or that of its append (LogAppendTime)."
            }
            Self::MinInsyncReplicas => "No effect in Karst: a record is acknowledged when the WAL's device has it.",
            Self::RetentionBytes => {
                "Beyond this size of a partition its oldest records are deleted, by whole ranges of objects. -1: never."
            }
            Self::RetentionTime => {
                "Records are deleted when all of their range of an object are older, in milliseconds. -1: never."
            }
            Self::Inert(inert) => inert.documentation(),
        }
    }
}

impl TopicConfigs {
    /// Sets a config to what a client wrote.
    ///
    /// # Errors
    /// What is wrong with the value, in Kafka's words, and what would be right.
    pub fn set(&mut self, name: ConfigName, value: &str) -> Result<(), String> {
        let value = value.trim();
        match name {
            ConfigName::CleanupPolicy => self.cleanup_policy = Some(policy(name, value)?),
            ConfigName::CompressionType => self.compression_type = Some(compression(name, value)?),
            ConfigName::MaxMessageBytes => {
                self.max_message_bytes = Some(ByteLimit(i64::from(int(name.name(), value, 0..=i32::MAX)?)));
            }
            ConfigName::TimestampAfterMax => self.timestamp_after_max = Some(Millis(long(name.name(), value, 0)?)),
            ConfigName::TimestampBeforeMax => self.timestamp_before_max = Some(Millis(long(name.name(), value, 0)?)),
            ConfigName::TimestampType => self.timestamp_type = Some(timestamp_type(name, value)?),
            ConfigName::MinInsyncReplicas => {
                self.min_insync_replicas = Some(Replicas(int(name.name(), value, 1..=i32::MAX)?.unsigned_abs()));
            }
            ConfigName::RetentionBytes => self.retention_bytes = Some(ByteLimit(long(name.name(), value, i64::MIN)?)),
            ConfigName::RetentionTime => self.retention_time = Some(Millis(long(name.name(), value, -1)?)),
            ConfigName::Inert(inert) => {
                self.inert.insert(inert, inert.check(value)?);
            }
        }
        Ok(())
    }

    /// Takes a config back to its default.
    pub fn clear(&mut self, name: ConfigName) {
        match name {
            ConfigName::CleanupPolicy => self.cleanup_policy = None,
            ConfigName::CompressionType => self.compression_type = None,
            ConfigName::MaxMessageBytes => self.max_message_bytes = None,
            ConfigName::TimestampAfterMax => self.timestamp_after_max = None,
            ConfigName::TimestampBeforeMax => self.timestamp_before_max = None,
            ConfigName::TimestampType => self.timestamp_type = None,
            ConfigName::MinInsyncReplicas => self.min_insync_replicas = None,
            ConfigName::RetentionBytes => self.retention_bytes = None,
            ConfigName::RetentionTime => self.retention_time = None,
            ConfigName::Inert(inert) => {
                self.inert.remove(&inert);
            }
        }
    }

    /// What a config was set to; `None` if it was not.
    #[must_use]
    pub fn text(&self, name: ConfigName) -> Option<String> {
        match name {
            ConfigName::CleanupPolicy => self.cleanup_policy.map(policy_text),
            ConfigName::CompressionType => self.compression_type.map(compression_text),
            ConfigName::MaxMessageBytes => self.max_message_bytes.map(|bytes| bytes.0.to_string()),
            ConfigName::TimestampAfterMax => self.timestamp_after_max.map(|time| time.0.to_string()),
            ConfigName::TimestampBeforeMax => self.timestamp_before_max.map(|time| time.0.to_string()),
            ConfigName::TimestampType => self.timestamp_type.map(timestamp_type_text),
            ConfigName::MinInsyncReplicas => self.min_insync_replicas.map(|replicas| replicas.0.to_string()),
            ConfigName::RetentionBytes => self.retention_bytes.map(|bytes| bytes.0.to_string()),
            ConfigName::RetentionTime => self.retention_time.map(|time| time.0.to_string()),
            ConfigName::Inert(inert) => self.inert.get(&inert).cloned(),
        }
    }

    /// What a config is by default, on a broker whose topics usually take batches of so many bytes.
    #[must_use]
    pub fn default_text(name: ConfigName, usual_batch: u32) -> Cow<'static, str> {
        let none = Self::default();
        match name {
            ConfigName::CleanupPolicy => policy_text(none.cleanup_policy()).into(),
            ConfigName::CompressionType => compression_text(none.compression_type()).into(),
            ConfigName::MaxMessageBytes => usual_batch.to_string().into(),
            ConfigName::TimestampAfterMax => none.timestamp_after_max().0.to_string().into(),
            ConfigName::TimestampBeforeMax => none.timestamp_before_max().0.to_string().into(),
            ConfigName::TimestampType => timestamp_type_text(none.timestamp_type()).into(),
            ConfigName::MinInsyncReplicas => "1".into(),
            ConfigName::RetentionBytes => "-1".into(),
            ConfigName::RetentionTime => none.retention_time().map_or(-1, |time| time.0).to_string().into(),
            ConfigName::Inert(inert) => inert.default_text().into(),
        }
    }
}

/// The elements of `cleanup.policy`, as they stand in a list.
///
/// # Errors
/// Which element is none, in Kafka's words.
pub(super) fn policy(name: ConfigName, value: &str) -> Result<CleanupPolicy, String> {
    let mut policy = CleanupPolicy::NONE;
    for element in value.split(',').map(str::trim).filter(|_| !value.is_empty()) {
        match element {
            DELETE => policy.delete = Toggle::On,
            COMPACT => policy.compact = Toggle::On,
            other => return Err(invalid(name.name(), other, "String must be one of: compact, delete")),
        }
    }
    Ok(policy)
}

fn policy_text(policy: CleanupPolicy) -> String {
    match (policy.delete.is_on(), policy.compact.is_on()) {
        (true, true) => format!("{COMPACT},{DELETE}"),
        (true, false) => DELETE.into(),
        (false, true) => COMPACT.into(),
        (false, false) => String::new(),
    }
}

fn compression(name: ConfigName, value: &str) -> Result<CompressionType, String> {
    const NONE: &str = "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer";
    let known = COMPRESSION_TYPES.into_iter().find(|(_, text)| *text == value);
    known.map(|(of, _)| of).ok_or_else(|| invalid(name.name(), value, NONE))
}

fn compression_text(of: CompressionType) -> String {
    let (_, text) = COMPRESSION_TYPES.into_iter().find(|(one, _)| *one == of).expect("each has a name");
    text.into()
}

fn timestamp_type(name: ConfigName, value: &str) -> Result<TimestampType, String> {
    match value {
        CREATE_TIME => Ok(TimestampType::CreateTime),
        LOG_APPEND_TIME => Ok(TimestampType::LogAppendTime),
        other => Err(invalid(name.name(), other, "String must be one of: CreateTime, LogAppendTime")),
    }
}

fn timestamp_type_text(of: TimestampType) -> String {
    match of {
        TimestampType::CreateTime => CREATE_TIME.into(),
        TimestampType::LogAppendTime => LOG_APPEND_TIME.into(),
    }
}
