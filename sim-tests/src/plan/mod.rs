//! The plan of a run: everything that is drawn before the world begins, as data.
//!
//! [`Plan::from_seed`] is the only reader of a seed. A plan is a table of named numbers and a schedule of disturbances;
//! its text can be read, edited and replayed, also after the code has changed.

mod draw;
mod general;
mod knobs;
mod profile;

pub use general::VOCABULARY;
pub use karst_runtime_sim::plan::PlanError;
pub use profile::Profile;

use karst_runtime_sim::gate::Occurrences;
use karst_runtime_sim::plan::{self, Number, Role};
use std::collections::BTreeMap;
use std::time::Duration;

/// A line is `field = "name", default;`, and may end in `=> ` and what else is known of it. See [`Number`].
macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $field:ident = $name:literal, $default:literal $(=> $(.$known:ident($($value:expr),*))+)?;)*) => {
        /// All numbers of a plan. Probabilities are in parts per million, times in microseconds, sizes in bytes.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Numbers {
            /// Seed of everything that is drawn while the world runs.
            pub root: u64,
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Default for Numbers {
            fn default() -> Self {
                Self { root: 1, $($field: $default,)* }
            }
        }

        impl Numbers {
            /// Those of a general plan.
            fn read(plan: &plan::Plan) -> Self {
                let value = |name, default| plan.numbers.get(name).copied().unwrap_or(default);
                Self { root: plan.root, $($field: value($name, $default),)* }
            }

            /// Every number but the root, in the order in which they are written.
            fn all(&self) -> [u64; NUMBERS.len()] {
                [$(self.$field,)*]
            }
        }

        static NUMBERS: &[Number] = &[$(Number::knob($name, $default).means(concat!($($doc),*))$($(.$known($($value),*))+)?,)*];
    };
}

numbers! {
    /// How long faults happen.
    safety = "phases.safety", 6_000_000 => .bounds(1, 100_000_000_000).role(Role::Horizon);
    /// Events after which a run that does not end is a failure.
    events = "phases.events", 3_000_000 => .bounds(1, 100_000_000_000).role(Role::EventLimit);
    /// How long everything may take once faults have ended.
    liveness = "phases.liveness", 400_000_000 => .bounds(1, 100_000_000_000).role(Role::Patience);
    /// Seed of the order in which ready owners run; at 0 the root decides.
    schedule = "schedule", 0 => .bounds(0, u64::MAX).role(Role::Schedule);

    /// Clients.
    clients = "clients", 3 => .bounds(1, 1_000).simplest(1).role(Role::Count);
    /// Mean pause between two operations of a client.
    pause = "client.pause", 30_000 => .simplest(1_000).role(Role::Time);
    /// Requests in flight per client.
    in_flight = "client.in-flight", 4 => .bounds(1, 1_000).simplest(1).role(Role::Count);
    /// An answer that takes longer breaks the connection.
    timeout = "client.timeout", 3_000_000;
    /// Most records in a batch.
    records = "client.records", 5 => .bounds(1, 200).simplest(1).role(Role::Count);
    /// Most bytes in a value.
    value = "client.value", 600 => .bounds(8, 1 << 20).simplest(8).role(Role::Size);
    /// Most topics that a client creates.
    topics = "client.topics", 2 => .simplest(1).role(Role::Count);
    /// Most partitions of a topic.
    partitions = "client.partitions", 3 => .bounds(1, 1_000).simplest(1).role(Role::Count);
    /// Share of produce requests.
    produce = "client.share.produce", 50;
    /// Share of fetches.
    fetch = "client.share.fetch", 30;
    /// Share of list-offsets requests.
    list = "client.share.list-offsets", 5;
    /// Share of metadata requests.
    metadata = "client.share.metadata", 5;
    /// Share of topic creations.
    create = "client.share.create", 3;
    /// Share of topic deletions.
    delete = "client.share.delete", 1;
    /// Share of wishes for more partitions.
    grow = "client.share.grow", 0;
    /// Share of wishes that records be deleted.
    trim = "client.share.delete-records", 0;
    /// Share of produce requests of an idempotent producer.
    sequenced = "client.share.produce-sequenced", 0;
    /// Most partitions of a topic that a client makes grow.
    grown = "client.grown-partitions", 6;

    /// Share of questions about configs and changes of them.
    configure = "client.share.configs", 0;
    /// Per cent of topics that are created with configs. Above 0, records have keys and ages.
    configured = "client.configured-topics", 0 => .bounds(0, 100);

    /// The WAL's device.
    ring = "wal.device", 139_264 => .bounds(24_576, 1 << 30);
    /// Largest write to it.
    block = "wal.block", 16_384;
    /// Writes in flight.
    depth = "wal.depth", 4 => .bounds(1, 1_000);
    /// Bytes accepted and not durable.
    window = "wal.window", 65_536;
    /// Largest record batch of a topic that is not configured.
    batch = "limits.batch", 8_192;
    /// Largest record batch of any topic; less where the ring can't hold it twice.
    largest_batch = "limits.largest-batch", 8_192;
    /// Compressed batches of a request that together are so long are looked into at once, others by a job.
    compute_inline = "limits.compute-inline", 1_024;
    /// Credit for requests with records.
    produce_credit = "limits.produce-credit", 65_536;
    /// Credit for all others.
    control_credit = "limits.control-credit", 65_536;
    /// Credit for records on their way out.
    answer_credit = "limits.answer-credit", 65_536;
    /// Records that a fetch finds in one place are copied if they are shorter.
    copied_records = "limits.copied-records", 16_384;
    /// A client that does not go on in the middle of something is given up after so long.
    stalled = "limits.stalled-connection", 60_000_000;
    /// Credit that a connection holds idle.
    idle_credit = "limits.idle-credit", 2_048;
    /// A cut is made at so many bytes.
    cut_bytes = "cut.bytes", 16_384;
    /// A cut is made at this age.
    cut_age = "cut.age", 500_000;
    /// Cuts uploaded at once.
    uploads = "cut.uploads", 2 => .bounds(1, 1_000);
    /// A stream with more gets an object of its own.
    split = "cut.split", 8_192;
    /// A data block is closed at this size.
    data_block = "object.data-block", 2_048;
    /// The log cache keeps uploaded records up to this.
    log_cache = "log-cache", 16_384;
    /// Object ids per lease.
    lease = "metadata.lease", 3 => .bounds(1, 1_000);
    /// Producer ids per lease.
    producer_lease = "metadata.producer-lease", 3 => .bounds(1, 1_000);
    /// Producers that a partition remembers.
    producers = "limits.producers", 1_000 => .bounds(1, 10_000);
    /// State blocks that say together what is known of a partition's producers.
    producer_states = "limits.producer-states", 3 => .bounds(1, 1_000);
    /// An idle producer is forgotten after so long.
    producer_expiration = "limits.producer-expiration", 86_400_000_000;
    /// The head's entries become a segment beyond this.
    head_inline = "metadata.head-inline", 1_024;
    /// Segments become a snapshot beyond this.
    segments = "metadata.segments", 3;
    /// What was deleted is kept for readers so long.
    retention = "bucket.retention", 1_000_000;
    /// Pause between two scrubs.
    scrub = "bucket.scrub", 5_000_000;
    /// Pause between two looks for records that may go.
    retention_check = "limits.retention-check", 1_000_000;
    /// One attempt at a request to the store.
    attempt = "bucket.attempt", 2_000_000;

    /// Shortest disk write.
    disk_low = "disk.latency.low", 40;
    /// Longest usual disk write.
    disk_high = "disk.latency.high", 300;
    /// A write fails for good.
    disk_write_error = "disk.write-error", 0 => .fires("disk.write_error");
    /// A write finds no space.
    disk_no_space = "disk.no-space", 0 => .fires("disk.no_space");
    /// A read fails once.
    disk_read_error = "disk.read-error", 0 => .fires("disk.read_error");
    /// The disk stalls.
    disk_stall = "disk.stall", 0 => .fires("disk.stall");
    /// A crash leaves any subset of the sectors in flight, instead of nothing.
    crash_any = "disk.crash-any", 0 => .fault();

    /// Shortest request to the store.
    store_low = "store.latency.low", 2_000;
    /// Longest usual request.
    store_high = "store.latency.high", 20_000;
    /// A request takes far longer.
    store_tail = "store.latency.tail", 0 => .fires("store.tail");
    /// 503.
    store_throttle = "store.throttle", 0 => .fires("store.throttled");
    /// Another 5xx.
    store_server_error = "store.server-error", 0 => .fires("store.server_error");
    /// The connection to the store breaks.
    store_cut_off = "store.cut-off", 0 => .fires("store.cut_off");
    /// No answer in time.
    store_timeout = "store.timeout", 0 => .fires("store.timeout");
    /// A failed request took effect all the same.
    store_done = "store.done-despite-error", 500_000;
    /// A failed request takes effect later.
    store_late = "store.late", 300_000;
    /// 409 without reason.
    store_conflict = "store.conflict", 0 => .fault();
    /// A read comes back truncated.
    store_truncate = "store.truncate", 0 => .fires("store.truncated");
    /// Names per page of a listing.
    store_page = "store.page", 5 => .bounds(1, 1_000);

    /// Each version of an object has an ETag of its own, instead of one made of its content.
    store_unique_etags = "store.unique-etags", 0;

    /// What arrives is cut anywhere.
    net_split = "net.split", 0 => .fires("net.split");
    /// A send stalls.
    net_stall = "net.stall", 0 => .fires("net.stall");
    /// A connection breaks.
    net_reset = "net.reset", 0 => .fires("net.reset");
    /// One side does not notice a break.
    net_half_open = "net.half-open", 0 => .fires("net.half_open");

    /// A monotonic clock runs fast or slow, in parts per million.
    drift = "clock.drift", 0;
    /// A wall clock starts off, in milliseconds.
    skew = "clock.skew", 0;

    /// Consumer groups.
    groups = "groups", 0 => .bounds(0, 100).role(Role::Count);
    /// Members of each.
    members = "group.members", 3 => .bounds(1, 100).simplest(1).role(Role::Count);
    /// How many of them are static.
    statics = "group.static-members", 0;
    /// A member that is silent for so long is taken for dead.
    session = "group.session", 1_000_000 => .bounds(20_000, 1_800_000_000);
    /// The first rebalance of a group waits so long for members.
    rebalance_delay = "group.rebalance-delay", 0;
    /// Partitions of the log of groups.
    log_partitions = "group.log-partitions", 2 => .bounds(1, 50);
    /// The log of groups is written again beyond so much garbage.
    log_garbage = "group.log-garbage", 4_096;
    /// Offsets of a group without members go after so long.
    offsets_retention = "group.offsets-retention", 3_600_000_000;
    /// Pause between two looks for such offsets.
    offsets_check = "group.offsets-check", 500_000 => .bounds(1_000, 1_000_000_000);
    /// From one recess of a group, when all of its members leave, to the next; at 0 there is none.
    recess = "group.recess", 0;
    /// How long they stay away.
    recess_lasts = "group.recess-lasts", 0;

    /// Whether another broker is started on the same bucket, by mistake, once everything is quiet.
    late_rival = "rival.late", 0 => .fault();

    /// Memory for blocks of objects.
    block_cache = "reads.block-cache", 65_536;
    /// Requests for parts of objects at once.
    object_reads = "reads.requests", 8 => .bounds(1, 1_000);
    /// Adjacent blocks are read together up to so many bytes.
    read_piece = "reads.piece", 16_384;
    /// The most that is read ahead for a reader.
    read_ahead = "reads.ahead", 8_192;
    /// A reader that does not come for so long is forgotten.
    idle_reader = "reads.idle", 10_000_000;
    /// Per cent of the fetches with which a client begins at the start again.
    rewind = "client.rewind", 0 => .bounds(0, 100);

    /// Pause between two looks for objects to rewrite.
    compaction = "compaction.interval", 100_000_000_000 => .bounds(1_000, 100_000_000_000).simplest(100_000_000_000);
    /// So many objects become one.
    fan_in = "compaction.fan-in", 8 => .bounds(2, 1_000);
    /// Up to this size.
    compacted = "compaction.object", 65_536 => .bounds(64, 1 << 30);
    /// Bytes per second that rewriting moves.
    bandwidth = "compaction.bandwidth", 1_000_000_000 => .bounds(1_000, 1 << 40);
    /// Records stay so long in shared objects.
    split_age = "compaction.split-age", 100_000_000_000 => .bounds(1_000, 100_000_000_000);

    /// Whether the WAL is objects in the bucket, instead of a ring on the disk; it holds as many bytes.
    object_wal = "wal.is-in-bucket", 0 => .bounds(0, 1);
    /// An object of that takes so many bytes of records.
    wal_object = "wal.object", 16_384 => .bounds(256, 1 << 30);
    /// Pause between two that are not full.
    wal_interval = "wal.object-interval", 5_000;
    /// So many there are at most.
    wal_objects = "wal.most-objects", 200 => .bounds(16, 1_000_000);

    /// How often it is looked how large everything is, which must not grow.
    samples = "phases.samples", 0 => .bounds(0, 10_000).simplest(0);
    /// Topics are created with so many bytes per partition to keep, and nothing else; at 0 by what clients draw.
    kept = "client.kept", 0;
}

/// Something that is done to the broker at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disturbance {
    /// `kill -9`, and a start after so long.
    Kill {
        /// Until the next start.
        down: Duration,
    },
    /// SIGTERM, and a start so long after the process has ended.
    Stop {
        /// Until the next start.
        down: Duration,
    },
    /// The process stands still: a stopped VM.
    Pause {
        /// For so long.
        lasts: Duration,
    },
    /// The object store answers nothing.
    Outage {
        /// For so long.
        lasts: Duration,
    },
    /// The object store has no space left.
    Full {
        /// For so long.
        lasts: Duration,
    },
    /// The wall clock is set.
    ClockJump {
        /// By so many milliseconds, back or forth.
        by_ms: i64,
    },
    /// Another broker is started on the same bucket, by mistake.
    Rival {
        /// For so long.
        lasts: Duration,
    },
    /// A sector of the WAL's device rots while the broker is down: a crash, then damage, then a start.
    Rot {
        /// Which sector, in parts per million of those that are worth it.
        at: u64,
    },
    /// The broker stands still, and another is started in its place; then it goes on. Only with a WAL in the bucket.
    Overtake {
        /// For so long.
        lasts: Duration,
    },
    /// The broker crashes, its disk is replaced by a blank one, and an operator gives the lost WAL up; now and then the
    /// disk is there after all.
    LoseDisk {
        /// Until the next start.
        down: Duration,
    },
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its numbers.
    pub numbers: Numbers,
    /// What is done to the broker, and when; ascending.
    pub disturbances: Vec<(Duration, Disturbance)>,
    /// Names of which only some occurrences happen.
    pub only: BTreeMap<String, Occurrences>,
}
