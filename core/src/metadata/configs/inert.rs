//! Topic configs that Kafka knows and that mean nothing here: how its log is cut into files, flushed, cleaned, replicated.
//!
//! Tools set them on every topic that they create (Kafka Streams, Connect, MirrorMaker, Terraform), so they are accepted,
//! if Kafka would accept them, and kept and told, each with why it has no effect. The names are those of Kafka 4.

use super::parse::{boolean, int, invalid, long, share};
use super::text::ConfigKind;
use alloc::format;
use alloc::string::{String, ToString};
use core::ops::RangeInclusive;

/// No value is longer, in bytes. Kafka has no such bound; only lists of replicas could exceed it.
pub(super) const LONGEST: usize = 255;

/// What Kafka takes.
#[derive(Clone, Debug)]
enum Rule {
    Boolean,
    /// Only false: what it asks for is not there, and a topic must not seem to have it.
    Never,
    Int(RangeInclusive<i32>),
    /// At least this.
    Long(i64),
    /// From 0 to 1.
    Share,
    /// From 1 to 9, or -1 for the codec's own.
    GzipLevel,
    /// `*`, or `PARTITION:BROKER` with commas between them.
    Replicas,
}

macro_rules! inert {
    ($($number:literal $variant:ident $name:literal, $broker:expr, $rule:expr, $default:literal, $why:literal;)*) => {
        /// A config of Kafka's that has no effect. Its number stands in the metadata.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum InertName {
            $(#[doc = concat!("`", $name, "`.")] $variant = $number,)*
        }

        impl InertName {
            /// All of them, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name on a topic.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The name of the broker's config that is its default in Kafka; some have none.
            #[must_use]
            pub const fn broker_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => $broker,)* }
            }

            /// What it is in Kafka unless it is set.
            #[must_use]
            pub const fn default_text(self) -> &'static str {
                match self { $(Self::$variant => $default,)* }
            }

            /// Why it has no effect, for people.
            #[must_use]
            pub const fn documentation(self) -> &'static str {
                match self { $(Self::$variant => concat!("No effect in Karst: ", $why),)* }
            }

            const fn rule(self) -> Rule {
                match self { $(Self::$variant => $rule,)* }
            }
        }
    };
}

inert! {
    0 GzipLevel "compression.gzip.level", Some("compression.gzip.level"), Rule::GzipLevel, "-1",
        "it compresses by gzip at level 6.";
    1 Lz4Level "compression.lz4.level", Some("compression.lz4.level"), Rule::Int(1..=17), "9",
        "it compresses by LZ4 in its fast way.";
    2 ZstdLevel "compression.zstd.level", Some("compression.zstd.level"), Rule::Int(-131_072..=22), "3",
        "it compresses by Zstandard at level 3.";
    3 DeleteRetention "delete.retention.ms", Some("log.cleaner.delete.retention.ms"), Rule::Long(0), "86400000",
        "tombstones stay, as all records of a key do.";
    4 FileDeleteDelay "file.delete.delay.ms", Some("log.segment.delete.delay.ms"), Rule::Long(0), "60000",
        "objects of the bucket are deleted, by the broker's store.delete.delay.ms.";
    5 FlushMessages "flush.messages", Some("log.flush.interval.messages"), Rule::Long(1), "9223372036854775807",
        "every record is flushed before it is acknowledged.";
    6 FlushTime "flush.ms", Some("log.flush.interval.ms"), Rule::Long(0), "9223372036854775807",
        "every record is flushed before it is acknowledged.";
    7 FollowerThrottle "follower.replication.throttled.replicas", None, Rule::Replicas, "",
        "brokers don't replicate.";
    8 IndexInterval "index.interval.bytes", Some("log.index.interval.bytes"), Rule::Int(0..=i32::MAX), "4096",
        "an object's index is by blocks of the broker's upload.block.bytes.";
    9 LeaderThrottle "leader.replication.throttled.replicas", None, Rule::Replicas, "",
        "brokers don't replicate.";
    10 LocalRetentionBytes "local.retention.bytes", Some("log.local.retention.bytes"), Rule::Long(-2), "-2",
        "all records are in the bucket.";
    11 LocalRetentionTime "local.retention.ms", Some("log.local.retention.ms"), Rule::Long(-2), "-2",
        "all records are in the bucket.";
    12 MaxCompactionLag "max.compaction.lag.ms", Some("log.cleaner.max.compaction.lag.ms"), Rule::Long(1),
        "9223372036854775807", "all records of a key stay.";
    13 DirtyRatio "min.cleanable.dirty.ratio", Some("log.cleaner.min.cleanable.ratio"), Rule::Share, "0.5",
        "all records of a key stay.";
    14 MinCompactionLag "min.compaction.lag.ms", Some("log.cleaner.min.compaction.lag.ms"), Rule::Long(0), "0",
        "all records of a key stay.";
    15 Preallocate "preallocate", Some("log.preallocate"), Rule::Boolean, "false",
        "partitions have no files.";
    16 RemoteCopyDisable "remote.log.copy.disable", None, Rule::Boolean, "false",
        "all records are in the bucket.";
    17 RemoteDeleteOnDisable "remote.log.delete.on.disable", None, Rule::Boolean, "false",
        "all records are in the bucket.";
    18 RemoteStorage "remote.storage.enable", None, Rule::Never, "false",
        "all records are in the bucket without it.";
    19 SegmentBytes "segment.bytes", Some("log.segment.bytes"), Rule::Int(14..=i32::MAX), "1073741824",
        "a log has no segments; records go into objects by the broker's upload.bytes.";
    20 SegmentIndexBytes "segment.index.bytes", Some("log.index.size.max.bytes"), Rule::Int(4..=i32::MAX), "10485760",
        "a log has no segments.";
    21 SegmentJitter "segment.jitter.ms", Some("log.roll.jitter.ms"), Rule::Long(0), "0",
        "a log has no segments.";
    22 SegmentTime "segment.ms", Some("log.roll.ms"), Rule::Long(1), "604800000",
        "a log has no segments; records go into objects by the broker's upload.interval.ms.";
    23 UncleanElection "unclean.leader.election.enable", Some("unclean.leader.election.enable"), Rule::Boolean, "false",
        "a partition has no other replica that could lead it.";
}

impl InertName {
    /// The config of that name, if it is one of these.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// The one with that number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u8 == number)
    }

    /// Its type.
    #[must_use]
    pub const fn kind(self) -> ConfigKind {
        match self.rule() {
            Rule::Boolean | Rule::Never => ConfigKind::Boolean,
            Rule::Int(_) | Rule::GzipLevel => ConfigKind::Int,
            Rule::Long(_) => ConfigKind::Long,
            Rule::Share => ConfigKind::Double,
            Rule::Replicas => ConfigKind::List,
        }
    }

    /// The value as it is kept and told.
    ///
    /// # Errors
    /// What is wrong with it, in Kafka's words.
    pub(super) fn check(self, value: &str) -> Result<String, String> {
        let name = self.name();
        Ok(match self.rule() {
            Rule::Boolean => boolean(name, value)?.to_string(),
            Rule::Never => never(name, value)?.to_string(),
            Rule::Int(legal) => int(name, value, legal)?.to_string(),
            Rule::GzipLevel => gzip_level(name, value)?.to_string(),
            Rule::Long(least) => long(name, value, least)?.to_string(),
            Rule::Share => format!("{:?}", share(name, value)?),
            Rule::Replicas => replicas(name, value)?,
        })
    }
}

fn never(name: &str, value: &str) -> Result<bool, String> {
    if boolean(name, value)? {
        return Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                    storage."
                .into(),
        );
    }
    Ok(false)
}

fn gzip_level(name: &str, value: &str) -> Result<i32, String> {
    match int(name, value, i32::MIN..=i32::MAX)? {
        level @ (-1 | 1..=9) => Ok(level),
        _ => Err(invalid(name, value, "Value must be between 1 and 9 or equal to -1")),
    }
}

fn replicas(name: &str, value: &str) -> Result<String, String> {
    const FORM: &str = "must be the literal '*' or a list of replicas in the following format: \
                        [partitionId]:[brokerId],[partitionId]:[brokerId],...";
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_replica = |one: &str| one.split_once(':').is_some_and(|(of, at)| number(of) && number(at));
    let is_legal = value.is_empty() || value == "*" || value.split(',').map(str::trim).all(is_replica);
    if !is_legal {
        return Err(invalid(name, value, FORM));
    }
    if value.len() > LONGEST {
        return Err(invalid(name, value, &format!("Karst keeps no more than {LONGEST} bytes")));
    }
    Ok(value.into())
}
