//! Every limit in one typed table, checked against each other at start.

use crate::wal::{cost, longest};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// What a broker allows itself and its clients. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request frame (Kafka's socket.request.max.bytes).
    pub request: u32,
    /// A request frame without records: larger ones close their connection.
    pub control_request: u32,
    /// A record batch, its header included, where its topic says nothing else (Kafka's message.max.bytes).
    pub batch: u32,
    /// A record batch, whatever its topic says; less where the ring or a request can't hold that: see
    /// [`Limits::fitted`].
    pub largest_batch: u32,
    /// What the records of a batch may take once decompressed.
    pub inflated: u32,
    /// Compressed batches of a request that together are so long, and hold little more, are looked into at once; for
    /// others that happens elsewhere, and others are served meanwhile.
    pub compute_inline: u32,
    /// Connections at once.
    pub connections: u32,
    /// Partitions of one topic.
    pub partitions_per_topic: u32,
    /// Of a topic of which nobody says how many it has (Kafka's num.partitions).
    pub default_partitions: u32,
    /// Whether a topic is created when a client asks for it (Kafka's auto.create.topics.enable).
    pub auto_create_topics: bool,
    /// What a fetch returns at most, however much it asks for (the first batch is returned whole all the same).
    pub fetch: u32,
    /// Credit for requests with records, from socket to answer.
    pub produce_credit: u64,
    /// A request with records above this length is paid from a pool of its own.
    pub large_request: u32,
    /// That pool.
    pub large_produce_credit: u64,
    /// Memory for batches that are being put, or have been put, into their topics' codecs, until the WAL takes them.
    pub recompression: u64,
    /// Credit for all other requests.
    pub control_credit: u64,
    /// Credit that each connection holds without asking.
    pub idle_credit: u32,
    /// Credit for records on their way out.
    pub answer_credit: u64,
    /// Credit for other answers on their way out, if they are larger than what a connection holds idle.
    pub control_answer_credit: u64,
    /// Records that a fetch finds in one place are copied into its answer if they are shorter than this.
    pub copied_records: u32,
    /// A half-received frame or an answer that nobody reads lives so long.
    pub stalled_connection: Duration,
    /// When credit has been waited for so long, those who hold it are told to hurry.
    pub crowded_after: Duration,
    /// A client that is told to hurry and has not gone on for so long loses its connection.
    pub crowded_patience: Duration,
    /// A connection on which nothing is under way lives so long (Kafka's connections.max.idle.ms).
    pub idle_connection: Duration,
    /// One write to the ring; of an object WAL, a buffer with records.
    pub wal_block: u32,
    /// Writes to the ring, or objects of an object WAL, in flight.
    pub wal_depth: u32,
    /// Records that an object of an object WAL takes, in bytes, unless one batch alone is larger.
    pub wal_object: u32,
    /// Pause between two objects of an object WAL that are not full.
    pub wal_object_interval: Duration,
    /// Objects of an object WAL in the bucket.
    pub wal_objects: u32,
    /// Bytes of appends accepted and not yet durable.
    pub wal_window: u64,
    /// A cut is made at so many bytes of records.
    pub cut_bytes: u64,
    /// A cut is made at this age of the oldest record.
    pub cut_age: Duration,
    /// Cuts being uploaded at once.
    pub uploads: u32,
    /// A stream with more bytes in a cut gets an object of its own.
    pub split: u64,
    /// A data block in an object is closed at this size.
    pub data_block: u32,
    /// Pause between two looks for objects to rewrite, when there was nothing to do.
    pub compaction_interval: Duration,
    /// So many objects of similar size become one.
    pub compaction_fan_in: u32,
    /// Up to this size; as much of records is held in memory meanwhile.
    pub compaction_object: u64,
    /// Bytes per second that rewriting reads and writes together.
    pub compaction_bandwidth: u64,
    /// Records stay so long in objects that partitions share, at most.
    pub compaction_force_split: Duration,
    /// The log cache keeps uploaded records up to this.
    pub log_cache: u64,
    /// Memory for data blocks of objects: those that were read last, and those that are being read.
    pub block_cache: u64,
    /// Requests for parts of data objects under way at once; half of them may be for what is read ahead.
    pub object_reads: u32,
    /// What is read ahead, or of several readers, is asked for in pieces of so many bytes at most.
    pub read_piece: u32,
    /// What is read ahead at most for one who reads a partition in order; 0: nothing.
    pub read_ahead: u64,
    /// One who has not read for so long is not read ahead for any more.
    pub idle_reader: Duration,
    /// Object ids per lease.
    pub lease: u32,
    /// Producer ids per lease.
    pub producer_lease: u32,
    /// Idempotent producers that are remembered per partition.
    pub producers: u32,
    /// One that did not write for so long is forgotten (Kafka's producer.id.expiration.ms).
    pub producer_expiration: Duration,
    /// State blocks that together say what is known of a partition's producers: as many are read when it is opened.
    pub producer_states: u32,
    /// The head's inline entries become a segment beyond this.
    pub head_inline: u32,
    /// Segments become a snapshot beyond this.
    pub segments: u32,
    /// A destroyed object or a dropped segment is kept for slow readers so long.
    pub deleted_retention: Duration,
    /// Pause between two scrubs of the bucket.
    pub scrub_interval: Duration,
    /// Pause between two looks for records that may go by age or size (Kafka's log.retention.check.interval.ms).
    pub retention_check: Duration,
    /// One attempt at an object-store request.
    pub store_attempt: Duration,
    /// Partitions of `__consumer_offsets` when it is created (Kafka's offsets.topic.num.partitions).
    pub offsets_partitions: u32,
    /// What a commit may say besides its offset (Kafka's offset.metadata.max.bytes).
    pub offset_metadata: u32,
    /// Offsets of a group are kept so long after its last member left (Kafka's offsets.retention.minutes).
    pub offsets_retention: Duration,
    /// Pause between two looks for expired offsets.
    pub offsets_retention_check: Duration,
    /// How long the first rebalance of an empty group waits for more members (Kafka's group.initial.rebalance.delay.ms).
    pub group_initial_rebalance_delay: Duration,
    /// The shortest session timeout of a member.
    pub group_min_session_timeout: Duration,
    /// The longest.
    pub group_max_session_timeout: Duration,
    /// Members of a group.
    pub group_size: u32,
    /// What all groups, their members and offsets may take in memory.
    pub group_memory: u64,
    /// What the log of groups may have waiting for durability.
    pub group_backlog: u64,
    /// A partition of the log of groups is written again beyond so much garbage, or four times what is live.
    pub group_log_garbage: u64,
    /// An upload at shutdown or after the WAL is poisoned may take so long in all.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: u32 = 1 << 10;
        const MIB: u32 = 1 << 20;
        Self {
            request: 160 * MIB,
            control_request: 16 * MIB,
            batch: MIB + 12,
            largest_batch: 128 * MIB,
            inflated: 128 * MIB,
            compute_inline: 32 * KIB,
            connections: 10_000,
            partitions_per_topic: 10_000,
            default_partitions: 1,
            auto_create_topics: true,
            fetch: 55 * MIB,
            produce_credit: 128 * u64::from(MIB),
            large_request: 8 * MIB,
            large_produce_credit: 128 * u64::from(MIB),
            recompression: 64 * u64::from(MIB),
            control_credit: 64 * u64::from(MIB),
            idle_credit: 4 * KIB,
            answer_credit: 256 * u64::from(MIB),
            control_answer_credit: 64 * u64::from(MIB),
            copied_records: 16 * KIB,
            stalled_connection: Duration::from_secs(60),
            crowded_after: Duration::from_secs(1),
            crowded_patience: Duration::from_secs(2),
            idle_connection: Duration::from_secs(600),
            wal_block: MIB,
            wal_depth: 8,
            wal_object: 8 * MIB,
            wal_object_interval: Duration::from_millis(250),
            wal_objects: 1_000,
            wal_window: 64 * u64::from(MIB),
            cut_bytes: 64 * u64::from(MIB),
            cut_age: Duration::from_secs(30),
            uploads: 2,
            split: 8 * u64::from(MIB),
            data_block: 512 * KIB,
            compaction_interval: Duration::from_secs(60),
            compaction_fan_in: 8,
            compaction_object: 128 * u64::from(MIB),
            compaction_bandwidth: 128 * u64::from(MIB),
            compaction_force_split: Duration::from_secs(6 * 3600),
            log_cache: 128 * u64::from(MIB),
            block_cache: 128 * u64::from(MIB),
            object_reads: 16,
            read_piece: 4 * MIB,
            read_ahead: 16 * u64::from(MIB),
            idle_reader: Duration::from_secs(60),
            lease: 64,
            producer_lease: 1_000,
            producers: 10_000,
            producer_expiration: Duration::from_secs(24 * 3600),
            producer_states: 16,
            head_inline: 64 * KIB,
            segments: 16,
            deleted_retention: Duration::from_secs(60),
            scrub_interval: Duration::from_secs(3600),
            retention_check: Duration::from_secs(300),
            store_attempt: Duration::from_secs(10),
            offsets_partitions: 50,
            offset_metadata: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_retention_check: Duration::from_secs(600),
            group_initial_rebalance_delay: Duration::from_secs(3),
            group_min_session_timeout: Duration::from_secs(6),
            group_max_session_timeout: Duration::from_secs(1800),
            group_size: 10_000,
            group_memory: 256 * u64::from(MIB),
            group_backlog: 16 * u64::from(MIB),
            group_log_garbage: u64::from(MIB),
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The limits as a ring of `ring` bytes lets them hold: no topic may have batches larger than what fits into the
    /// ring twice, so that one that is cut and one that comes have room, nor than a request.
    #[must_use]
    pub fn fitted(mut self, ring: u64) -> Self {
        let fits = u32::try_from(longest(ring / 2)).unwrap_or(u32::MAX);
        self.largest_batch = self.largest_batch.min(fits).min(self.request);
        self
    }

    /// Checks the limits against each other and against a ring of `ring` bytes.
    ///
    /// # Errors
    /// Says which two don't fit together, and how to mend it.
    pub fn check(&self, ring: u64) -> Result<(), String> {
        let batch_cost = cost(self.batch as usize);
        if ring < 2 * batch_cost {
            return Err(format!(
                "the WAL ({ring} bytes) must hold the largest record batch twice ({} bytes): enlarge the WAL or lower \
                 the batch limit",
                2 * batch_cost
            ));
        }
        if self.batch > self.largest_batch {
            return Err(format!(
                "the usual limit on a record batch (message.max.bytes, {} bytes) must not be above the one that holds \
                 whatever a topic says (record.batch.max.bytes, {} bytes)",
                self.batch, self.largest_batch
            ));
        }
        if self.batch > self.request {
            return Err(format!(
                "a record batch ({} bytes) must fit into a request ({} bytes)",
                self.batch, self.request
            ));
        }
        if self.inflated < self.batch {
            return Err(format!(
                "records may take no less decompressed ({} bytes) than as a batch ({} bytes)",
                self.inflated, self.batch
            ));
        }
        if !self.wal_block.is_multiple_of(4096) || self.wal_block < 4096 {
            return Err(format!("a WAL block ({} bytes) must be a multiple of 4096", self.wal_block));
        }
        if u64::from(self.control_request) > self.control_credit {
            return Err(format!(
                "a request without records ({} bytes) must fit into the credit for such ({} bytes)",
                self.control_request, self.control_credit
            ));
        }
        if u64::from(self.large_request) > self.produce_credit / 4 {
            return Err(format!(
                "requests of up to {} bytes count as small: four must fit into the credit for such ({} bytes)",
                self.large_request, self.produce_credit
            ));
        }
        if u64::from(self.batch) > self.answer_credit {
            return Err(format!(
                "a record batch ({} bytes) must fit into the credit for answers ({} bytes)",
                self.batch, self.answer_credit
            ));
        }
        if self.group_min_session_timeout > self.group_max_session_timeout {
            return Err(format!(
                "the shortest session timeout of a group's member ({} ms) must not be above the longest ({} ms)",
                self.group_min_session_timeout.as_millis(),
                self.group_max_session_timeout.as_millis()
            ));
        }
        if self.default_partitions > self.partitions_per_topic {
            return Err(format!(
                "a topic usually gets more partitions (num.partitions, {}) than one may have (topic.max.partitions, {})",
                self.default_partitions, self.partitions_per_topic
            ));
        }
        let idle = self.idle_credit;
        if idle == 0 || self.wal_depth == 0 || self.uploads == 0 || self.lease == 0 {
            return Err("idle credit, WAL depth, uploads and lease must be above zero".into());
        }
        if self.object_reads == 0 {
            return Err("requests for parts of data objects at once must be above zero".into());
        }
        if self.producer_lease == 0 || self.producer_states == 0 {
            return Err("the lease of producer ids and the number of state blocks must be above zero".into());
        }
        if self.compaction_fan_in < 2 || self.compaction_bandwidth == 0 {
            return Err("compaction must merge two objects at least, and needs some bandwidth".into());
        }
        let most = crate::data_object::PRODUCERS / 2;
        if self.producers == 0 || self.producers as usize > most {
            return Err(format!("a partition may remember 1 to {most} producers, not {}", self.producers));
        }
        Ok(())
    }
}
