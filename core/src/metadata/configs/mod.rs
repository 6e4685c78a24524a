//! What topics may be configured to: Kafka's topic configs. Some are honoured, the others kept and told ([`InertName`]).
//!
//! A topic keeps only what somebody set ([`TopicConfigs`]); everything else is a default, and follows that if it ever
//! changes. What clients write and read stands in [`text`](self) form; the log has it typed, so that everybody who
//! folds it understands the same. Changes come as [`ConfigPatch`]es: what a request says is applied to what the topic
//! has at that entry, so two that meet lose nothing of each other.

mod inert;
mod parse;
#[cfg(test)]
mod tests;
mod text;

pub use inert::InertName;
pub use text::{ConfigKind, ConfigName};

use crate::kafka::Codec;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// A span of time in milliseconds; -1 where Kafka says that it never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

/// A size in bytes; negative where Kafka says that there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteLimit(pub i64);

/// A number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas(pub u32);

/// Whose clock a topic's records are stamped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, when it appends them.
    LogAppendTime,
}

/// How a topic's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CompressionType {
    /// As the producer did.
    #[default]
    Producer,
    /// Not at all.
    Uncompressed,
    /// By gzip.
    Gzip,
    /// By Snappy.
    Snappy,
    /// By LZ4.
    Lz4,
    /// By Zstandard.
    Zstd,
}

impl CompressionType {
    /// The codec of batches as they are stored; `None` if that is the producer's choice.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        Some(match self {
            Self::Producer => return None,
            Self::Uncompressed => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        })
    }
}

/// What happens to old records. With neither, nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CleanupPolicy {
    /// They are deleted by age and size.
    pub delete: Toggle,
    /// Only the newest record of each key is to be kept; so each record has one. Karst keeps all of them.
    pub compact: Toggle,
}

/// Whether something is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Toggle {
    /// No.
    #[default]
    Off,
    /// Yes.
    On,
}

impl Toggle {
    /// Whether it is on.
    #[must_use]
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl CleanupPolicy {
    /// Neither.
    pub const NONE: Self = Self { delete: Toggle::Off, compact: Toggle::Off };
    /// Kafka's default.
    pub const DELETE: Self = Self { delete: Toggle::On, compact: Toggle::Off };
    /// The latest record of each key stays.
    pub const COMPACT: Self = Self { delete: Toggle::Off, compact: Toggle::On };

    /// The elements of both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let either = |a: Toggle, b: Toggle| if a.is_on() { a } else { b };
        Self { delete: either(self.delete, other.delete), compact: either(self.compact, other.compact) }
    }

    fn without(self, other: Self) -> Self {
        let left = |a: Toggle, b: Toggle| if b.is_on() { Toggle::Off } else { a };
        Self { delete: left(self.delete, other.delete), compact: left(self.compact, other.compact) }
    }
}

/// What somebody set for a topic; `None` is Kafka's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicConfigs {
    /// `retention.ms`: records older than this may go.
    pub retention_time: Option<Millis>,
    /// `retention.bytes`: of a partition this much stays at least.
    pub retention_bytes: Option<ByteLimit>,
    /// `max.message.bytes`: of a record batch, its header included.
    pub max_message_bytes: Option<ByteLimit>,
    /// `message.timestamp.type`.
    pub timestamp_type: Option<TimestampType>,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a record's time may be.
    pub timestamp_before_max: Option<Millis>,
    /// `message.timestamp.after.max.ms`: how far ahead of it.
    pub timestamp_after_max: Option<Millis>,
    /// `compression.type`.
    pub compression_type: Option<CompressionType>,
    /// `cleanup.policy`.
    pub cleanup_policy: Option<CleanupPolicy>,
    /// `min.insync.replicas`. Nothing depends on it: durability comes from the WAL's device and the object store.
    pub min_insync_replicas: Option<Replicas>,
    /// What has no effect, as it is told.
    pub inert: BTreeMap<InertName, String>,
}

/// A change of a topic's configs, in this order: some go back to their defaults, some are set, and what is a list gets
/// and loses elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigPatch {
    /// Back to the default.
    pub clear: ConfigNames,
    /// What is `Some`.
    pub set: TopicConfigs,
    /// `cleanup.policy` gets these.
    pub append: CleanupPolicy,
    /// And loses these.
    pub subtract: CleanupPolicy,
}

/// Some of the configs: one bit each, of [`ConfigName`]'s number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigNames(pub u64);

impl ConfigNames {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All, also those that later versions add.
    pub const ALL: Self = Self(u64::MAX);

    /// With that one.
    #[must_use]
    pub const fn with(self, name: ConfigName) -> Self {
        Self(self.0 | 1 << name.number())
    }

    /// Whether that one is among them.
    #[must_use]
    pub const fn has(self, name: ConfigName) -> bool {
        self.0 & 1 << name.number() != 0
    }
}

impl Default for ConfigPatch {
    fn default() -> Self {
        Self {
            clear: ConfigNames::NONE,
            set: TopicConfigs::default(),
            append: CleanupPolicy::NONE,
            subtract: CleanupPolicy::NONE,
        }
    }
}

impl TopicConfigs {
    /// With the change.
    #[must_use]
    pub fn patched(&self, patch: &ConfigPatch) -> Self {
        let mut patched = self.clone();
        for name in ConfigName::HONOURED.into_iter().filter(|name| patch.clear.has(*name)) {
            patched.clear(name);
        }
        patched.inert.retain(|name, _| !patch.clear.has(ConfigName::Inert(*name)));
        patched.overlay(&patch.set);
        if (patch.append, patch.subtract) != (CleanupPolicy::NONE, CleanupPolicy::NONE) {
            patched.cleanup_policy = Some(patched.cleanup_policy().join(patch.append).without(patch.subtract));
        }
        patched
    }

    /// Whether configs that are legal each go together.
    ///
    /// # Errors
    /// Which don't, in Kafka's words.
    pub fn check(&self) -> Result<(), String> {
        let number = |text: &str| text.parse::<i64>().ok();
        let lag = |name: InertName| {
            let set = self.inert.get(&name).and_then(|value| number(value));
            set.or(number(name.default_text())).unwrap_or(0)
        };
        let (least, most) = (InertName::MinCompactionLag, InertName::MaxCompactionLag);
        if lag(least) > lag(most) {
            let ((least, of), (most, than)) = ((least.name(), lag(least)), (most.name(), lag(most)));
            return Err(format!("conflict topic config setting {least} ({of}) > {most} ({than})"));
        }
        Ok(())
    }

    /// `cleanup.policy`, set or not.
    #[must_use]
    pub fn cleanup_policy(&self) -> CleanupPolicy {
        self.cleanup_policy.unwrap_or(CleanupPolicy::DELETE)
    }

    /// `message.timestamp.type`, set or not.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type.unwrap_or_default()
    }

    /// `compression.type`, set or not.
    #[must_use]
    pub fn compression_type(&self) -> CompressionType {
        self.compression_type.unwrap_or_default()
    }

    /// Records older than this may go; `None` if age is no reason.
    #[must_use]
    pub fn retention_time(&self) -> Option<Millis> {
        /// A week.
        const DEFAULT: Millis = Millis(7 * 24 * 3_600_000);
        Some(self.retention_time.unwrap_or(DEFAULT)).filter(|time| time.0 >= 0)
    }

    /// Of a partition this much stays; `None` if size is no reason for records to go.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        u64::try_from(self.retention_bytes?.0).ok()
    }

    /// How far behind the broker's clock a record's time may be.
    #[must_use]
    pub fn timestamp_before_max(&self) -> Millis {
        self.timestamp_before_max.unwrap_or(Millis(i64::MAX))
    }

    /// How far ahead of the broker's clock a record's time may be. Kafka's default since 4.0 (KIP-1030).
    #[must_use]
    pub fn timestamp_after_max(&self) -> Millis {
        self.timestamp_after_max.unwrap_or(Millis(3_600_000))
    }

    fn overlay(&mut self, set: &Self) {
        self.retention_time = set.retention_time.or(self.retention_time);
        self.retention_bytes = set.retention_bytes.or(self.retention_bytes);
        self.max_message_bytes = set.max_message_bytes.or(self.max_message_bytes);
        self.timestamp_type = set.timestamp_type.or(self.timestamp_type);
        self.timestamp_before_max = set.timestamp_before_max.or(self.timestamp_before_max);
        self.timestamp_after_max = set.timestamp_after_max.or(self.timestamp_after_max);
        self.compression_type = set.compression_type.or(self.compression_type);
        self.cleanup_policy = set.cleanup_policy.or(self.cleanup_policy);
        self.min_insync_replicas = set.min_insync_replicas.or(self.min_insync_replicas);
        self.inert.extend(set.inert.iter().map(|(name, value)| (*name, value.clone())));
    }
}
