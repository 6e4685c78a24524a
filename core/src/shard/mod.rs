//! MACHINE: the shard. Everything that clients ask for is decided here.
//!
//! **Owns** the partitions that this broker leads, the log cache, the queue before the WAL, batches that are put into
//! their topic's codec on the way there, the debts of idempotent producers, waiting fetches, requests about topics, the
//! broker's credit, and a replica of the metadata image.
//!
//! **Promises** that a produce request is answered only when its records are durable; that a fetch returns exactly the
//! bytes that were acknowledged, never beyond the high watermark; that a partition's batches enter the WAL in the order
//! in which they came, and none of an idempotent producer's before one that was refused and comes again; that all credit
//! is back when nothing is asked any more.
//!
//! ```text
//!              requests                                   grants
//!  sessions ───────────────► api/NAME ──► appends queue ◄──────── Wal
//!     ▲                         │              │ Append            │
//!     │ answers                 │              └──────────────────►│
//!     │                         ▼                                  │ Appended, cut markers (FIFO)
//!     └──── joins ◄──── partitions, log cache ◄────────────────────┘
//!                               │ cuts                 ▲ entries
//!                               ▼                      │
//!                           Uploader                  Node
//! ```

mod api;
mod appends;
mod arrivals;
mod configs;
mod credit;
mod debts;
mod durable;
mod fetches;
mod found;
mod groups;
mod joins;
mod lookups;
mod mail;
mod partition;
mod producer_ids;
mod reads;
mod recompressions;
mod replica;
mod retention;
mod states;
mod topics;
mod unpaid;
mod watch;

#[cfg(test)]
mod tests;

pub use arrivals::{Arrival, Endpoint};
pub use credit::PoolState;
pub(crate) use joins::{Asked, Begun, Joins, Part};
pub use mail::{Effect, Input, Mail, Pool};
pub use watch::{WatchLimits, WatchedGroup, WatchedGroups, WatchedOffset};

use crate::data_object::{Finished, ObjectReader, Origin, ReadStats};
use crate::id::{ConnId, CutNumber, NodeEpoch, NodeId, StreamId};
use crate::kafka::{Request, RequestBody, encode};
use crate::limits::Limits;
use crate::log_cache::LogCache;
use crate::machine::{Deadline, Effects, Instant, Machine, Now, OpIds, Outcome, Rng, Rope};
use crate::mail::Mail as To;
use crate::metadata::{Command, Image};
use crate::node::{self, Asker};
use crate::session::{self, Answer, Fee, Numbered};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use api::ProduceOutcome;
use appends::Appends;
use arrivals::Arrivals;
use credit::{Credit, Grant};
use debts::Debts;
use fetches::Fetches;
use groups::{Appender, Groups};
use kafka_protocol::protocol::Encodable;
use lookups::Lookups;
use partition::Partition;
use producer_ids::ProducerIds;
use recompressions::Recompressions;
use retention::Retention;
use states::States;
use topics::{TopicRequest, Topics};
use unpaid::Unpaid;

/// The machine. See the module.
#[derive(Debug)]
pub struct Shard {
    limits: Limits,
    /// Where partitions are stored, for administrators.
    log_dir: Box<str>,
    rng: Rng,
    image: Option<Image>,
    me: Option<Me>,
    mode: Mode,
    partitions: BTreeMap<StreamId, Partition>,
    arrivals: Arrivals,
    appends: Appends,
    recompressions: Recompressions,
    produces: Joins<Appender, ProduceOutcome>,
    /// Which of them are answered at the latest when.
    produces_due: BTreeMap<(Instant, Asked), u64>,
    debts: Debts,
    topics: Topics,
    retention: Retention,
    groups: Groups,
    fetches: Fetches,
    lookups: Lookups,
    cache: LogCache,
    reader: ObjectReader,
    /// Reads that have ended, of which nobody has heard yet; none between two inputs.
    finished_reads: VecDeque<Finished>,
    /// Producers of partitions that are being opened.
    states: States,
    producer_ids: ProducerIds,
    ops: OpIds,
    credit: Credit,
    /// What waits for credit for answers; a connection has one such at most.
    unpaid: BTreeMap<ConnId, Unpaid>,
    /// The last cut that was made.
    cut: CutNumber,
    /// Whether a marker was asked for that has not come yet.
    cut_asked: bool,
}

/// The tag of the command that asks for producer ids; all others, by [`Topics::tag`], begin above it.
const PRODUCER_LEASE: u64 = 0;

/// This broker, once it serves.
#[derive(Clone, Copy, Debug)]
struct Me {
    node: NodeId,
    epoch: NodeEpoch,
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Yes, once the broker serves.
    Open,
    /// No: what was taken is made durable, and cut for the last time.
    Draining,
    /// The last cut is made.
    Drained,
    /// The WAL failed: nothing becomes durable any more.
    Poisoned,
}

impl Shard {
    /// A broker's shard. `rng` draws topic ids and back-offs.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            groups: Groups::new(limits, &rng),
            reader: ObjectReader::new(limits, rng.child("reader")),
            finished_reads: VecDeque::new(),
            states: States::new(limits.store_attempt, rng.child("states")),
            producer_ids: ProducerIds::default(),
            log_dir: Box::default(),
            rng,
            image: None,
            me: None,
            mode: Mode::Open,
            partitions: BTreeMap::new(),
            arrivals: Arrivals::default(),
            appends: Appends::default(),
            recompressions: Recompressions::new(limits),
            produces: Joins::default(),
            produces_due: BTreeMap::new(),
            debts: Debts::default(),
            topics: Topics::default(),
            retention: Retention::default(),
            fetches: Fetches::default(),
            lookups: Lookups::default(),
            cache: LogCache::new(limits),
            ops: OpIds::default(),
            credit: Credit::new(limits),
            unpaid: BTreeMap::new(),
            cut: CutNumber(0),
            cut_asked: false,
            limits: limits.clone(),
        }
    }

    /// Its replica of the metadata, once there is one.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    /// The high watermark of a stream that is open here.
    #[must_use]
    pub fn high_watermark(&self, stream: StreamId) -> Option<crate::id::Offset> {
        self.partitions.get(&stream).map(Partition::high_watermark)
    }

    /// The offset that the next batch of a stream that is open here gets: nobody may hear of it yet.
    #[must_use]
    pub fn appended(&self, stream: StreamId) -> Option<crate::id::Offset> {
        self.partitions.get(&stream).map(Partition::appended)
    }

    /// Whether nobody waits for anything and all credit is back.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.produces.is_empty()
            && self.produces_due.is_empty()
            && self.topics.is_idle()
            && self.retention_is_idle()
            && self.groups.is_quiescent()
            && self.fetches.is_empty()
            && self.lookups.is_empty()
            && self.reader.is_idle()
            && self.unpaid.is_empty()
            && self.appends.is_empty()
            && self.recompressions.is_idle()
            && self.states.is_idle()
            && self.producer_ids.is_idle()
            && self.partitions.values().all(Partition::is_settled)
    }

    /// Bytes that the WAL has granted and no append has used.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.appends.granted()
    }

    /// Whether every byte of credit is in its pool.
    #[must_use]
    pub fn credit_is_whole(&self) -> bool {
        self.credit.is_whole()
    }

    /// Whether no connection has to send again what was refused, as is so when all are gone.
    #[must_use]
    pub fn is_owed_nothing(&self) -> bool {
        self.debts.is_empty()
    }

    /// What the log cache holds.
    #[must_use]
    pub const fn cache_bytes(&self) -> crate::log_cache::Bytes {
        self.cache.bytes()
    }

    /// What the reader of objects has done, and how it is.
    #[must_use]
    pub fn reads(&self) -> ReadStats {
        self.reader.stats()
    }

    /// How much of each pool of credit there is, is free, and is waited for.
    pub fn credit(&self) -> impl Iterator<Item = PoolState> {
        self.credit.states()
    }

    /// Streams that are open here: the partitions that this broker leads.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.partitions.len()
    }

    fn handle_mail(&mut self, now: Now, mail: Mail, out: &mut Effects<Effect>) {
        match mail {
            Mail::Opened(conn, arrival) => {
                self.arrivals.opened(conn, arrival);
                let idle = u64::from(self.limits.idle_credit);
                let grants = self.credit.want(now.mono, conn, Pool::Idle, idle);
                self.take_grants(now, grants, out);
            }
            Mail::Request(conn, numbered) => self.handle_request(now, conn, numbered, out),
            Mail::CreditWanted(conn, pool, bytes) => {
                let grants = self.credit.want(now.mono, conn, pool, bytes);
                self.take_grants(now, grants, out);
            }
            Mail::CreditBack(conn, pool, bytes) => {
                let grants = self.credit.give_back(now.mono, conn, pool, bytes);
                self.take_grants(now, grants, out);
            }
            Mail::Closed(conn) => {
                for read in self.fetches.forget(conn).into_iter().chain(self.lookups.forget(conn)) {
                    if let Some(op) = self.reader.cancel(read) {
                        self.lookups.orphan(op, conn);
                    }
                }
                self.reader.forget(Origin::Client(conn));
                self.groups.coordinator.forget(conn);
                self.forget_appends(now, conn, out);
                self.producer_ids.forget(conn);
                self.unpaid.remove(&conn);
                self.arrivals.closed(conn);
                self.debts.forget(conn);
                // What a job holds, or a read brings, is paid for until it comes back.
                let grants = if self.lookups.has_orphan_of(conn) {
                    self.credit.forget_wishes(now.mono, conn)
                } else {
                    self.credit.close(now.mono, conn)
                };
                self.take_grants(now, grants, out);
            }
            Mail::Granted(bytes) => {
                self.appends.grant(bytes);
                self.append_granted(now, out);
            }
            Mail::Appended(batches) => self.handle_appended(now, batches, out),
            Mail::Cut(marker) => self.handle_marker(marker, out),
            Mail::WalPoisoned => self.handle_poisoned(out),
            Mail::Image(image) => self.image = Some(*image),
            Mail::Entries(entries) => self.handle_entries(now, &entries, out),
            Mail::Serve { node, epoch } => {
                self.serve(now, Me { node, epoch }, out);
                self.begin_retention(now);
                out.push(to(To::Node(node::Mail::Serves)));
            }
            Mail::Answered(PRODUCER_LEASE, answer) => self.handle_producer_lease(&answer, out),
            Mail::Answered(tag, answer) => {
                if self.groups.answered(tag, &answer) || self.retention_answered(now, tag, out) {
                    return;
                }
                if let Some(complete) = self.topics.answered(tag, &answer) {
                    self.answer_topics(now, complete, out);
                }
            }
            Mail::Drain => self.drain(out),
        }
    }

    fn handle_request(&mut self, now: Now, conn: ConnId, numbered: Numbered, out: &mut Effects<Effect>) {
        let Numbered { number, request: Request { version, body, frame, .. } } = numbered;
        let asked = Asked { conn, number, version };
        match body {
            RequestBody::Produce(request) => self.handle_produce(now, asked, request, out),
            RequestBody::Fetch(request) => self.handle_fetch(now, asked, &request, out),
            RequestBody::FindCoordinator(request) => self.handle_find_coordinator(asked, &request, out),
            RequestBody::InitProducerId(request) => self.handle_init_producer_id(asked, &request, out),
            RequestBody::ListOffsets(request) => self.handle_list_offsets(now, asked, request, out),
            RequestBody::OffsetForLeaderEpoch(request) => self.handle_offset_for_leader_epoch(asked, &request, out),
            RequestBody::DescribeCluster(request) => self.handle_describe_cluster(asked, &request, out),
            RequestBody::DescribeTopicPartitions(request) => {
                self.handle_describe_topic_partitions(now, asked, request, out);
            }
            RequestBody::Metadata(request) => self.handle_metadata(now, asked, request, out),
            RequestBody::CreateTopics(request) => self.handle_create_topics(now, asked, request, out),
            RequestBody::CreatePartitions(request) => self.handle_create_partitions(now, asked, request, out),
            RequestBody::DeleteRecords(request) => self.handle_delete_records(now, asked, request, out),
            RequestBody::DescribeConfigs(request) => self.handle_describe_configs(now, asked, request, out),
            RequestBody::AlterConfigs(request) => self.handle_alter_configs(now, asked, request, out),
            RequestBody::IncrementalAlterConfigs(request) => {
                self.handle_incremental_alter_configs(now, asked, request, out);
            }
            RequestBody::DeleteTopics(request) => self.handle_delete_topics(now, asked, request, out),
            RequestBody::Admin(request) => self.handle_admin(now, asked, request, out),
            RequestBody::Group(request) => self.handle_group(now, asked, &frame, *request, out),
        }
    }

    fn answer_topics(&mut self, now: Now, complete: topics::Complete, out: &mut Effects<Effect>) {
        let ((asked, request), outcomes) = complete;
        match request {
            TopicRequest::Metadata(request) => self.answer_metadata(now, asked, request, out),
            TopicRequest::Create(request) => self.answer_create_topics(asked, &request, outcomes, out),
            TopicRequest::Grow(request) => self.answer_create_partitions(asked, &request, outcomes, out),
            TopicRequest::Alter(request) => self.answer_alter_configs(asked, &request, outcomes, out),
            TopicRequest::AlterIncrementally(request) => {
                self.answer_incremental_alter_configs(asked, &request, outcomes, out);
            }
            TopicRequest::Trim(request) => self.answer_delete_records(asked, &request, outcomes, out),
            TopicRequest::Delete(request, ids) => self.answer_delete_topics(asked, &request, &ids, outcomes, out),
        }
    }

    fn send_command(&mut self, asker: Asker, command: Command, out: &mut Effects<Effect>) {
        out.push(to(To::Node(node::Mail::Command(asker, command))));
    }

    /// Whether new records are taken at all.
    fn takes_records(&self) -> bool {
        self.mode == Mode::Open && self.me.is_some()
    }
}

impl Machine for Shard {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Mail(mail) => self.handle_mail(now, mail, out),
            Input::Store(op, result) => self.handle_store(now, op, result, out),
            Input::Computed(op, Outcome::Recompressed(made)) => self.recompression_computed(now, op, made, out),
            Input::Computed(op, Outcome::FoundTime(found)) => self.time_computed(now, op, found, out),
            Input::Computed(_, outcome) => unreachable!("a shard has no batches looked into: {outcome:?}"),
            Input::Tick => self.handle_tick(now, out),
        }
        self.drive_groups(now, out);
        self.hear_reads(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.topics.deadline(),
            self.produces_due
                .first_key_value()
                .map(|((at, _), _)| Deadline { at: *at, reason: "answer a produce that waited long enough" }),
            self.groups.coordinator.deadline(),
            self.fetches.deadline(),
            self.lookups.deadline(),
            self.reader.deadline(),
            self.credit.deadline(),
            self.states.deadline(),
            self.cut_deadline(),
            self.retention_deadline(),
        ])
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        self.credit.invariants();
        self.groups.coordinator.invariants();
        self.cache.invariants();
        self.reader.invariants();
        assert!(self.finished_reads.is_empty(), "whoever waited for a read that has ended hears of it at once");
        self.recompressions.invariants();
        self.states.invariants();
        self.debts.invariants();
        for (stream, partition) in &self.partitions {
            partition.invariants();
            if let Some(end) = self.cache.end(*stream) {
                assert_eq!(end, partition.high_watermark(), "the log cache ends where the partition does");
            }
            let cached = self.cache.first(*stream).unwrap_or(partition.high_watermark());
            if let Some(stream) = self.image.as_ref().and_then(|image| image.streams.get(stream)) {
                assert!(cached <= stream.end, "durable records are in the log cache or in objects");
            }
        }
    }
}

impl Shard {
    fn handle_tick(&mut self, now: Now, out: &mut Effects<Effect>) {
        for complete in self.topics.expire(now.mono) {
            self.answer_topics(now, complete, out);
        }
        self.expire_produces(now, out);
        self.groups.tick(now);
        self.expire_fetches(now, out);
        self.expire_listings(now, out);
        self.tick_reader(now, out);
        self.hurry(now, out);
        self.load_states(now, out);
        self.cut_by_age(now, out);
        self.tick_retention(now, out);
    }

    fn answer(&self, asked: Asked, response: &impl Encodable, out: &mut Effects<Effect>) {
        self.send_answer(asked, Answer::Body(encoded(asked.version, response)), out);
    }

    fn want_answer_credit(&mut self, now: Now, conn: ConnId, fee: Fee, unpaid: Unpaid, out: &mut Effects<Effect>) {
        let other = self.unpaid.insert(conn, unpaid);
        assert!(other.is_none(), "a request whose answer may be large starts when the answer before has left");
        let grants = self.credit.want(now.mono, conn, fee.pool, fee.bytes);
        self.take_grants(now, grants, out);
    }

    fn give_back_answer_credit(&mut self, now: Now, conn: ConnId, bytes: u64, out: &mut Effects<Effect>) {
        if bytes > 0 {
            let grants = self.credit.give_back(now.mono, conn, Pool::Answers, bytes);
            self.take_grants(now, grants, out);
        }
    }

    fn hurry(&mut self, now: Now, out: &mut Effects<Effect>) {
        for conn in self.credit.crowded(now.mono) {
            out.push(to(To::Session(conn, session::Mail::Hurry)));
        }
    }

    fn take_grants(&mut self, now: Now, grants: Vec<Grant>, out: &mut Effects<Effect>) {
        for Grant { conn, pool, bytes } in grants {
            if !matches!(pool, Pool::Answers | Pool::ControlAnswers) {
                out.push(to(To::Session(conn, session::Mail::Credit(pool, bytes))));
                continue;
            }
            let unpaid = self.unpaid.remove(&conn).expect("credit for an answer is wanted by one that waits");
            self.go_on_paid(now, unpaid, Fee { pool, bytes }, out);
        }
    }

    fn send_answer(&self, asked: Asked, answer: Answer, out: &mut Effects<Effect>) {
        out.push(to(To::Session(asked.conn, session::Mail::Answer { to: asked.number, answer })));
    }
}

fn encoded(version: i16, response: &impl Encodable) -> Rope {
    encode(version, response).expect("handlers fill only what the version has")
}

fn to(mail: To) -> Effect {
    Effect::Mail(mail)
}
