//! The table of everything that an operator may set. All else about a key follows from its line here.

use super::value::{self, sized, within};
use super::{Config, LogFormat, Secret, WAL_SIZE, WalDevice};
use crate::store::Location;
use karst_core::id::NodeId;
use std::time::Duration;

/// Something that an operator may set.
#[derive(Debug)]
pub struct Key {
    /// In a file. No name is the beginning of another one.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    place: Place,
}

/// Where in a [`Config`] a value goes, and what it may be.
#[derive(Debug)]
enum Place {
    /// A whole number of a unit.
    Small(Unit, (u64, u64), fn(&mut Config) -> &mut u32),
    /// The same, where it may be large.
    Large(Unit, (u64, u64), fn(&mut Config) -> &mut u64),
    /// A time, in milliseconds.
    Time((u64, u64), fn(&mut Config) -> &mut Duration),
    /// Yes or no.
    Switch(fn(&mut Config) -> &mut bool),
    /// A text of some form.
    Text(&'static str, fn(&mut Config, &str) -> Result<(), String>, fn(&Config) -> String),
    /// A text that is not shown where it is wrong, since it may hold by mistake what must not be shown.
    Url(fn(&mut Config, &str) -> Result<(), String>, fn(&Config) -> String),
    /// A text that is never shown.
    Hidden(fn(&mut Config) -> &mut Option<Secret>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    One,
}

/// Units of bytes, smallest first.
pub(crate) const SIZES: &[(u64, &str)] = &[(1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")];

/// Units of milliseconds, smallest first.
pub(crate) const TIMES: &[(u64, &str)] = &[(1, "ms"), (1000, "s"), (60_000, "m"), (3_600_000, "h"), (86_400_000, "d")];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// A frame's length is signed on the wire.
const FRAME: u64 = i32::MAX as u64;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// The key whose default depends on another.
pub(super) const REBALANCE_DELAY: &str = "group.initial.rebalance.delay.ms";

/// All of them, by subject.
pub static KEYS: &[Key] = &[
    Key {
        name: "data.dir",
        about: "Everything that the broker keeps; one broker per directory. DIR/wal is the write-ahead log, DIR/objects \
                the object store where none is named.",
        place: Place::Text(
            "DIR",
            |to, text| set(&mut to.data_dir, value::not_empty(text).map(Into::into)),
            |of| of.data_dir.display().to_string(),
        ),
    },
    Key {
        name: "node.id",
        about: "The broker's id, for good (Kafka's node.id).",
        place: Place::Small(Unit::One, (0, i32::MAX as u64), |of| {
            let NodeId(id) = &mut of.node;
            id
        }),
    },
    Key {
        name: "listen",
        about: "Where to listen for Kafka clients.",
        place: Place::Text(
            "HOST:PORT",
            |to, text| value::endpoint(text).map(|_| to.listen = text.into()),
            |of| of.listen.clone(),
        ),
    },
    Key {
        name: "advertise",
        about: "Where clients reach the broker, if not at listen.",
        place: Place::Text(
            "HOST:PORT",
            |to, text| set(&mut to.advertise, value::reachable(text).map(Some)),
            |of| of.advertise.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
    },
    Key {
        name: "http",
        about: "Where to listen for who watches the broker: /metrics, /healthz, /readyz and /status. Anybody who reaches \
                it may read them.",
        place: Place::Text("HOST:PORT or off", set_http, |of| of.http.clone().unwrap_or_else(|| "off".into())),
    },
    Key {
        name: "object.store",
        about: "A bucket instead of DIR/objects: s3://BUCKET?region=REGION&endpoint=http://HOST:PORT&path-style=true. All \
                after BUCKET may be left out; path-style is true with an endpoint.",
        place: Place::Url(
            |to, text| set(&mut to.bucket, Location::parse(text).map(Some)),
            |of| of.bucket.as_ref().map(Location::url).unwrap_or_default(),
        ),
    },
    Key {
        name: "s3.access.key.id",
        about: "With s3.secret.access.key: the credentials for the bucket, where they should not come from where AWS \
                programs look for them.",
        place: Place::Text(
            "ID",
            |to, text| set(&mut to.credentials.access_key, value::identifier(text).map(Some)),
            |of| of.credentials.access_key.clone().unwrap_or_default(),
        ),
    },
    Key {
        name: "s3.secret.access.key",
        about: "See s3.access.key.id.",
        place: Place::Hidden(|of| &mut of.credentials.secret_key),
    },
    Key {
        name: "s3.session.token",
        about: "What belongs to credentials that end after a while.",
        place: Place::Hidden(|of| &mut of.credentials.token),
    },
    Key {
        name: "log.level",
        about: "What is logged: error, warn, info, debug, trace or off, also by module, such as info,karst_core::wal=debug.",
        place: Place::Text("FILTER", |to, text| set(&mut to.log, value::filter(text)), |of| of.log.to_string()),
    },
    Key {
        name: "log.format",
        about: "How log lines are written: for people, or as one JSON object a line.",
        place: Place::Text("human or json", set_log_format, |of| match of.log_format {
            LogFormat::Human => "human".into(),
            LogFormat::Json => "json".into(),
        }),
    },
    Key {
        name: "num.network.threads",
        about: "Threads for clients' sockets (Kafka's num.network.threads).",
        place: Place::Small(Unit::One, (1, 64), |of| &mut of.network_threads),
    },
    Key {
        name: "num.store.threads",
        about: "Threads for the object store where it is a directory.",
        place: Place::Small(Unit::One, (1, 64), |of| &mut of.store_threads),
    },
    Key {
        name: "store.delay.ms",
        about: "Where the object store is a directory: each request takes so much longer, as one to a distant store would. \
                For measurements.",
        place: Place::Time((0, SECOND), |of| &mut of.store_delay),
    },
    Key {
        name: "check.invariants",
        about: "Check every machine's invariants after every step: slow, for tests.",
        place: Place::Switch(|of| &mut of.check_invariants),
    },
    Key {
        name: "max.connections",
        about: "Connections of clients at once; more are closed as they come (Kafka's max.connections). Each takes \
                credit.idle.bytes and an open file.",
        place: Place::Small(Unit::One, (1, 1_000_000), |of| &mut of.limits.connections),
    },
    Key {
        name: "connections.max.idle.ms",
        about: "A connection on which nothing is under way lives so long (Kafka's connections.max.idle.ms).",
        place: Place::Time((SECOND, 7 * DAY), |of| &mut of.limits.idle_connection),
    },
    Key {
        name: "connections.max.stalled.ms",
        about: "A half-received request, or an answer that nobody reads, lives so long; longer for each MiB of it.",
        place: Place::Time((SECOND, HOUR), |of| &mut of.limits.stalled_connection),
    },
    Key {
        name: "socket.request.max.bytes",
        about: "The largest request (Kafka's socket.request.max.bytes): a larger one closes its connection. It should be \
                well above record.batch.max.bytes, so that too large a batch can be answered.",
        place: Place::Small(Unit::Bytes, (KIB, FRAME), |of| &mut of.limits.request),
    },
    Key {
        name: "control.request.max.bytes",
        about: "The largest request without records.",
        place: Place::Small(Unit::Bytes, (KIB, FRAME), |of| &mut of.limits.control_request),
    },
    Key {
        name: "message.max.bytes",
        about: "The largest record batch, as sent, its header included, of a topic whose max.message.bytes is not set \
                (Kafka's message.max.bytes).",
        place: Place::Small(Unit::Bytes, (128, GIB), |of| &mut of.limits.batch),
    },
    Key {
        name: "record.batch.max.bytes",
        about: "What a topic's max.message.bytes may be at most. Less holds where such a batch would not fit twice into \
                the write-ahead log, or not into a request (socket.request.max.bytes); a start logs what holds.",
        place: Place::Small(Unit::Bytes, (128, GIB), |of| &mut of.limits.largest_batch),
    },
    Key {
        name: "message.decompressed.max.bytes",
        about: "What the records of a batch may take once decompressed.",
        place: Place::Small(Unit::Bytes, (128, FRAME), |of| &mut of.limits.inflated),
    },
    Key {
        name: "fetch.max.bytes",
        about: "What a fetch returns at most, however much it asks for; the first batch is returned whole all the same \
                (Kafka's fetch.max.bytes).",
        place: Place::Small(Unit::Bytes, (KIB, FRAME), |of| &mut of.limits.fetch),
    },
    Key {
        name: "topic.max.partitions",
        about: "Partitions of one topic.",
        place: Place::Small(Unit::One, (1, 100_000), |of| &mut of.limits.partitions_per_topic),
    },
    Key {
        name: "num.partitions",
        about: "Partitions of a topic of which nobody says how many it has.",
        place: Place::Small(Unit::One, (1, 100_000), |of| &mut of.limits.default_partitions),
    },
    Key {
        name: "auto.create.topics.enable",
        about: "Whether a topic is created when a client asks for it.",
        place: Place::Switch(|of| &mut of.limits.auto_create_topics),
    },
    Key {
        name: "producer.max.per.partition",
        about: "Idempotent producers that a partition remembers. Beyond that, one that has been idle for 15 minutes gives \
                way; while there is none, a new one is told to try again (NOT_LEADER_OR_FOLLOWER), which its client does until \
                its own time is up (delivery.timeout.ms): give many short-lived producers more.",
        place: Place::Small(Unit::One, (1, 32_768), |of| &mut of.limits.producers),
    },
    Key {
        name: "producer.id.expiration.ms",
        about: "An idempotent producer that has not written for so long is forgotten (Kafka's producer.id.expiration.ms).",
        place: Place::Time((HOUR, 30 * DAY), |of| &mut of.limits.producer_expiration),
    },
    Key {
        name: "credit.idle.bytes",
        about: "Memory that each connection holds without asking.",
        place: Place::Small(Unit::Bytes, (128, MIB), |of| &mut of.limits.idle_credit),
    },
    Key {
        name: "credit.produce.bytes",
        about: "Memory for requests with records, from socket to answer; those who want more wait.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.produce_credit),
    },
    Key {
        name: "credit.produce.large.bytes",
        about: "Memory of their own for requests with records above large.request.bytes.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.large_produce_credit),
    },
    Key {
        name: "credit.recompression.bytes",
        about: "Memory for batches that are put into the codec of their topic's compression.type, beside the requests that \
                they came in; those that find none wait.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.recompression),
    },
    Key {
        name: "large.request.bytes",
        about: "A request with records above this length counts as large.",
        place: Place::Small(Unit::Bytes, (KIB, FRAME), |of| &mut of.limits.large_request),
    },
    Key {
        name: "credit.control.bytes",
        about: "Memory for requests without records.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.control_credit),
    },
    Key {
        name: "credit.answer.bytes",
        about: "Memory for answers with records, until they have left.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.answer_credit),
    },
    Key {
        name: "credit.answer.control.bytes",
        about: "Memory for other answers until they have left, if they are larger than credit.idle.bytes.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.control_answer_credit),
    },
    Key {
        name: "credit.crowded.ms",
        about: "When credit has been waited for so long, those who hold it are told to hurry.",
        place: Place::Time((10, HOUR), |of| &mut of.limits.crowded_after),
    },
    Key {
        name: "credit.hurry.ms",
        about: "A client that is told to hurry and has not gone on for so long loses its connection.",
        place: Place::Time((10, HOUR), |of| &mut of.limits.crowded_patience),
    },
    Key {
        name: "wal.device",
        about: "Where the write-ahead log is: file:PATH, a file, which is made where there is none; block:PATH, a whole \
                block device, which holds nothing else; or object:, which is in the object store, so that the broker keeps \
                nothing on a disk. Without it, file:DIR/wal.",
        place: Place::Text(
            "file:PATH, block:PATH or object:",
            |to, text| set(&mut to.wal_device, WalDevice::parse(text).map(Some)),
            |of| of.wal_device.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
    },
    Key {
        name: "wal.size",
        about: "Length of a new write-ahead log in a file; one that exists keeps its length, and a block device is used \
                whole. Of one in the object store, what it holds at most that is not uploaded otherwise.",
        place: Place::Text("bytes, from 64KiB to 1024TiB", set_wal_size, |of| {
            sized(of.wal_size.unwrap_or(WAL_SIZE), SIZES)
        }),
    },
    Key {
        name: "wal.block.bytes",
        about: "The largest single write to the write-ahead log: a multiple of 4KiB. Of one in the object store, the memory \
                that records share.",
        place: Place::Small(Unit::Bytes, (4 * KIB, karst_core::wal::ring::LARGEST_BLOCK as u64), |of| {
            &mut of.limits.wal_block
        }),
    },
    Key {
        name: "wal.depth",
        about: "Writes to the write-ahead log in flight, a thread each; of one in the object store, objects that are being \
                put.",
        place: Place::Small(Unit::One, (1, 64), |of| &mut of.limits.wal_depth),
    },
    Key {
        name: "wal.object.bytes",
        about: "A write-ahead log in the object store puts an object as soon as it has gathered so many bytes; a batch that is \
                larger has an object of its own.",
        place: Place::Small(Unit::Bytes, (4 * KIB, GIB), |of| &mut of.limits.wal_object),
    },
    Key {
        name: "wal.object.interval.ms",
        about: "It puts one with less when the last one began so long ago: what comes after a pause leaves at once, and a \
                producer waits so long at most, and for the put. Lower is quicker, and more requests.",
        place: Place::Time((0, HOUR), |of| &mut of.limits.wal_object_interval),
    },
    Key {
        name: "wal.objects.max",
        about: "Objects that it has in the object store at most: where it has so many, producers wait until some are \
                uploaded otherwise and deleted.",
        place: Place::Small(Unit::One, (16, 1_000_000), |of| &mut of.limits.wal_objects),
    },
    Key {
        name: "wal.window.bytes",
        about: "Bytes accepted and not yet durable.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.wal_window),
    },
    Key {
        name: "cache.bytes",
        about: "Memory for records that are uploaded already, for consumers at the tail. Records that are not take memory \
                beside it, no more than the write-ahead log holds.",
        place: Place::Large(Unit::Bytes, (0, TIB), |of| &mut of.limits.log_cache),
    },
    Key {
        name: "block.cache.bytes",
        about: "Memory for blocks of objects, for consumers that are behind: those read last, and those being read. A block \
                that is larger than all of it is read alone.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.block_cache),
    },
    Key {
        name: "read.concurrency",
        about: "Requests to the object store at once for consumers that are behind. At most half of them are for what is \
                read ahead.",
        place: Place::Small(Unit::One, (1, 256), |of| &mut of.limits.object_reads),
    },
    Key {
        name: "read.request.bytes",
        about: "Adjacent blocks are read by one request, up to so many bytes.",
        place: Place::Small(Unit::Bytes, (4 * KIB, 64 * MIB), |of| &mut of.limits.read_piece),
    },
    Key {
        name: "read.ahead.bytes",
        about: "The most that is read ahead for a consumer of a partition; 0 reads nothing ahead.",
        place: Place::Large(Unit::Bytes, (0, GIB), |of| &mut of.limits.read_ahead),
    },
    Key {
        name: "read.idle.ms",
        about: "What was read ahead for a consumer that does not come for so long is not kept for it.",
        place: Place::Time((SECOND, DAY), |of| &mut of.limits.idle_reader),
    },
    Key {
        name: "upload.bytes",
        about: "Records are uploaded when there are so many bytes of them.",
        place: Place::Large(Unit::Bytes, (4 * KIB, GIB), |of| &mut of.limits.cut_bytes),
    },
    Key {
        name: "upload.interval.ms",
        about: "Records are uploaded at this age at the latest.",
        place: Place::Time((10, DAY), |of| &mut of.limits.cut_age),
    },
    Key {
        name: "upload.concurrency",
        about: "Uploads at once.",
        place: Place::Small(Unit::One, (1, 64), |of| &mut of.limits.uploads),
    },
    Key {
        name: "upload.split.bytes",
        about: "A partition with more bytes in an upload gets an object of its own.",
        place: Place::Large(Unit::Bytes, (4 * KIB, GIB), |of| &mut of.limits.split),
    },
    Key {
        name: "upload.block.bytes",
        about: "Bytes after which a block within an object ends: what a consumer reads at least.",
        place: Place::Small(Unit::Bytes, (4 * KIB, 64 * MIB), |of| &mut of.limits.data_block),
    },
    Key {
        name: "compaction.interval.ms",
        about: "Pause between two looks for objects to rewrite into fewer, when there was nothing to do.",
        place: Place::Time((10, 365 * DAY), |of| &mut of.limits.compaction_interval),
    },
    Key {
        name: "compaction.fan.in",
        about: "So many objects of similar size become one.",
        place: Place::Small(Unit::One, (2, 128), |of| &mut of.limits.compaction_fan_in),
    },
    Key {
        name: "compaction.object.bytes",
        about: "Objects are rewritten into larger ones up to this size. As much memory is taken meanwhile.",
        place: Place::Large(Unit::Bytes, (4 * KIB, GIB), |of| &mut of.limits.compaction_object),
    },
    Key {
        name: "compaction.bandwidth.bytes",
        about: "Bytes per second that rewriting objects may read and write, both together.",
        place: Place::Large(Unit::Bytes, (4 * KIB, TIB), |of| &mut of.limits.compaction_bandwidth),
    },
    Key {
        name: "compaction.split.age.ms",
        about: "Records stay so long in objects that partitions share, at most: then each partition's get their own.",
        place: Place::Time((SECOND, 365 * DAY), |of| &mut of.limits.compaction_force_split),
    },
    Key {
        name: "log.retention.check.interval.ms",
        about: "Pause between two looks for records that may go by age or size.",
        place: Place::Time((SECOND, 30 * DAY), |of| &mut of.limits.retention_check),
    },
    Key {
        name: "store.request.timeout.ms",
        about: "One attempt at a request to the object store.",
        place: Place::Time((100, HOUR), |of| &mut of.limits.store_attempt),
    },
    Key {
        name: "store.delete.delay.ms",
        about: "An object that is not needed any more is kept so long for who still reads it.",
        place: Place::Time((SECOND, 30 * DAY), |of| &mut of.limits.deleted_retention),
    },
    Key {
        name: "store.scrub.interval.ms",
        about: "Pause between two searches of the bucket for what nothing refers to.",
        place: Place::Time((SECOND, 30 * DAY), |of| &mut of.limits.scrub_interval),
    },
    Key {
        name: REBALANCE_DELAY,
        about: "How long the first rebalance of an empty consumer group waits for more members. With `object.store` \
                it is Kafka's 3 s unless this is given.",
        place: Place::Time((0, HOUR), |of| &mut of.limits.group_initial_rebalance_delay),
    },
    Key {
        name: "group.min.session.timeout.ms",
        about: "The shortest session timeout that a member of a consumer group may ask for.",
        place: Place::Time((1, HOUR), |of| &mut of.limits.group_min_session_timeout),
    },
    Key {
        name: "group.max.session.timeout.ms",
        about: "The longest.",
        place: Place::Time((1, DAY), |of| &mut of.limits.group_max_session_timeout),
    },
    Key {
        name: "group.max.size",
        about: "Members of a consumer group.",
        place: Place::Small(Unit::One, (1, 1_000_000), |of| &mut of.limits.group_size),
    },
    Key {
        name: "group.memory.bytes",
        about: "What all consumer groups, their members and offsets may take in memory.",
        place: Place::Large(Unit::Bytes, (64 * KIB, TIB), |of| &mut of.limits.group_memory),
    },
    Key {
        name: "offsets.topic.num.partitions",
        about: "Partitions of __consumer_offsets when it is created.",
        place: Place::Small(Unit::One, (1, 10_000), |of| &mut of.limits.offsets_partitions),
    },
    Key {
        name: "offset.metadata.max.bytes",
        about: "What a commit may say besides its offset.",
        place: Place::Small(Unit::Bytes, (0, 32_767), |of| &mut of.limits.offset_metadata),
    },
    Key {
        name: "offsets.retention.ms",
        about: "How long the offsets of a consumer group are kept after its last member left.",
        place: Place::Time((SECOND, 3650 * DAY), |of| &mut of.limits.offsets_retention),
    },
    Key {
        name: "offsets.retention.check.interval.ms",
        about: "Pause between two looks for expired offsets.",
        place: Place::Time((SECOND, DAY), |of| &mut of.limits.offsets_retention_check),
    },
    Key {
        name: "shutdown.upload.timeout.ms",
        about: "How long a stop may upload what is left.",
        place: Place::Time((SECOND, HOUR), |of| &mut of.limits.drain),
    },
];

impl Key {
    /// The key of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// On the command line: `--wal-size`.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('.', "-"))
    }

    /// In the environment: `KARST_WAL_SIZE`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("KARST_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Whether its value is never shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.place, Place::Hidden(_))
    }

    /// Whether a wrong value of it may be shown.
    pub(super) const fn is_quotable(&self) -> bool {
        !matches!(self.place, Place::Hidden(_) | Place::Url(..))
    }

    /// Whether it is true when it is named alone on the command line.
    #[must_use]
    pub const fn is_switch(&self) -> bool {
        matches!(self.place, Place::Switch(_))
    }

    /// What it may be: unit and range, or form.
    #[must_use]
    pub fn domain(&self) -> String {
        match &self.place {
            Place::Small(Unit::Bytes, (least, most), _) | Place::Large(Unit::Bytes, (least, most), _) => {
                format!("bytes, from {} to {}", sized(*least, SIZES), sized(*most, SIZES))
            }
            Place::Small(Unit::One, (least, most), _) | Place::Large(Unit::One, (least, most), _) => {
                format!("a number from {least} to {most}")
            }
            Place::Time((least, most), _) => {
                format!("milliseconds, from {} to {}", sized(*least, TIMES), sized(*most, TIMES))
            }
            Place::Switch(_) => "true or false".into(),
            Place::Text(form, ..) => (*form).into(),
            Place::Url(..) => "URL".into(),
            Place::Hidden(_) => "a secret, never shown".into(),
        }
    }

    /// Its value, as an operator would write it; empty where there is none, and `None` if it must not be shown.
    #[must_use]
    pub fn show(&self, config: &Config) -> Option<String> {
        // The table has one function per place, which both reads and writes.
        let of = &mut config.clone();
        Some(match &self.place {
            Place::Small(Unit::Bytes, _, at) => sized(u64::from(*at(of)), SIZES),
            Place::Large(Unit::Bytes, _, at) => sized(*at(of), SIZES),
            Place::Small(Unit::One, _, at) => at(of).to_string(),
            Place::Large(Unit::One, _, at) => at(of).to_string(),
            Place::Time(_, at) => sized(u64::try_from(at(of).as_millis()).unwrap_or(u64::MAX), TIMES),
            Place::Switch(at) => at(of).to_string(),
            Place::Text(.., show) | Place::Url(_, show) => show(of),
            Place::Hidden(at) => return if at(of).is_some() { None } else { Some(String::new()) },
        })
    }

    /// Puts a value where it belongs.
    ///
    /// # Errors
    /// Says what is wrong with it, to be put behind the key and the value.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        match &self.place {
            Place::Small(unit, range, at) => {
                let count = unit.read(text, *range)?;
                *at(config) = u32::try_from(count).expect("no range goes beyond; a test says so");
            }
            Place::Large(unit, range, at) => *at(config) = unit.read(text, *range)?,
            Place::Time((least, most), at) => {
                let millis = within(value::millis(text)?, (*least, *most), "ms")?;
                *at(config) = Duration::from_millis(millis);
            }
            Place::Switch(at) => *at(config) = value::switch(text)?,
            Place::Text(_, set, _) | Place::Url(set, _) => set(config, text)?,
            Place::Hidden(at) => *at(config) = value::secret(text)?,
        }
        Ok(())
    }
}

impl Unit {
    fn read(self, text: &str, range: (u64, u64)) -> Result<u64, String> {
        match self {
            Self::Bytes => within(value::bytes(text)?, range, "bytes"),
            Self::One => within(value::number(text)?, range, ""),
        }
    }
}

fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *place = value)
}

fn set_http(to: &mut Config, text: &str) -> Result<(), String> {
    to.http = if text == "off" { None } else { value::endpoint(text).map(|_| Some(text.into()))? };
    Ok(())
}

fn set_wal_size(to: &mut Config, text: &str) -> Result<(), String> {
    set(&mut to.wal_size, within(value::bytes(text)?, (64 * KIB, 1 << 50), "bytes").map(Some))
}

fn set_log_format(to: &mut Config, text: &str) -> Result<(), String> {
    to.log_format = match text {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        _ => return Err("is neither human nor json".into()),
    };
    Ok(())
}

/// The key, or what else is given, that a misspelt one was perhaps meant to be.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|known| (distance(typed, known), known));
    let (steps, name) = scored.min_by_key(|(steps, _)| *steps)?;
    (steps <= 1 + name.len() / 4).then_some(name)
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.bytes().enumerate().take(100) {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (to, byte) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != byte);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(row[to] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] + a.len().saturating_sub(100)
}
