//! MACHINE: a simulated Kafka client.
//!
//! It encodes real requests with Kafka's own schemas, pipelines them, reconnects, retries, and tells the oracle what
//! it sent and what came back. It knows the cluster only by asking, as a real client does.
//!
//! ```text
//!  Start ─► connect ─► ApiVersions, Metadata ─► work: produce, fetch, list offsets, create, grow ... ───┐
//!              ▲                                                                                       │ Verify
//!              └── connection broke or timed out: everything in flight is unknown                      ▼
//!                                                             Metadata, then every partition, read to its end
//! ```

mod answers;
pub mod batch;
mod configs;
mod delete_records;
mod describe;
mod large;
pub mod pack;
mod sequenced;
mod slots;
mod times;
mod told;
mod verify;
pub(crate) mod wire;
mod work;

use crate::oracle::{GrowthId, Observation, Outcome, Place, TrimId, WriteId};
use bytes::BytesMut;
use configs::{Change, Wishes};
use karst_core::machine::{Deadline, Effects, Instant, Machine, Now, Payload, Rng, Rope};
use karst_runtime_sim::gate::Gate;
pub use large::BatchLimits;
use sequenced::{Attempt, Producer, Wanted};
pub(crate) use slots::Slots;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use times::Puzzle;
use verify::Verify;

/// All that can happen to a client.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// Begin.
    Start,
    /// The connection is there.
    Connected,
    /// There is no connection, or no more.
    Disconnected,
    /// Bytes from the broker, cut anywhere.
    Received(Payload),
    /// Stop changing anything; read everything back.
    Verify,
    /// Hang up and do nothing more.
    Stop,
    /// The deadline has come.
    Tick,
}

/// All that a client wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// Open a connection to the broker.
    Connect,
    /// Close it.
    Disconnect,
    /// To the broker.
    Send(Rope),
    /// To the oracle.
    Observe(Observation),
}

/// What a client does, in shares of its operations and in limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Mean pause between two operations.
    pub pause: Duration,
    /// Requests in flight at once.
    pub in_flight: usize,
    /// An answer that takes longer than this makes it close the connection.
    pub timeout: Duration,
    /// Records of a batch, at most.
    pub records: u32,
    /// Bytes of a value, at most; at least 8.
    pub value: u32,
    /// The largest batches that the broker takes: now and then one is larger.
    pub limits: BatchLimits,
    /// Shares of operations.
    pub shares: Shares,
    /// Topics that it creates, at most.
    pub topics: u32,
    /// Partitions of a topic when it is created, at most.
    pub partitions: u32,
    /// Partitions of a topic that it makes grow, at most.
    pub grown: u32,
    /// Per cent of its topics that are created with configs. Above 0, its records have keys and ages.
    pub configured: u64,
    /// Bytes of each partition that its topics are created to keep; at 0 it draws configs.
    pub kept: u64,
    /// Per cent of the fetches with which it begins to read at the start again.
    pub rewind: u64,
}

/// How often a client does what, relative to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Produce.
    pub produce: u64,
    /// Fetch.
    pub fetch: u64,
    /// List offsets.
    pub list: u64,
    /// Metadata.
    pub metadata: u64,
    /// Create a topic.
    pub create: u64,
    /// Delete a topic.
    pub delete: u64,
    /// Make a topic grow.
    pub grow: u64,
    /// Delete records.
    pub trim: u64,
    /// Describe or change configs.
    pub configure: u64,
    /// Produce as an idempotent producer.
    pub sequenced: u64,
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Client {
    id: u32,
    habits: Habits,
    /// Only its children are used.
    draws: Rng,
    /// Of the operation or the connection that is going on.
    rng: Rng,
    slots: Slots,
    connections: u64,
    link: Link,
    received: BytesMut,
    correlation: i32,
    pending: VecDeque<Pending>,
    topics: BTreeMap<String, KnownTopic>,
    positions: BTreeMap<Place, i64>,
    /// Where this connection's last write to each partition lies: the next lies behind it.
    acked: BTreeMap<Place, i64>,
    /// Leader epochs that answers told.
    epochs: BTreeMap<Place, i32>,
    producer: Producer,
    created: u32,
    writes: u64,
    questions: u64,
    asked: BTreeMap<&'static str, u64>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Idle,
    Work,
    Verify(Verify),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down { retry_at: Instant },
    Connecting { since: Instant },
    Up,
}

#[derive(Clone, Copy, Debug)]
struct KnownTopic {
    id: [u8; 16],
    partitions: i32,
}

/// A request on its way.
#[derive(Debug)]
struct Pending {
    correlation: i32,
    version: i16,
    sent_at: Instant,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    ApiVersions,
    Metadata(u64),
    Produce(Vec<Written>),
    Sequenced(Vec<Attempt>),
    ProducerId(Wanted),
    Fetch(Vec<(Place, i64, u64)>),
    List(Place, u64, i64),
    Create(String, Wishes),
    Delete(String),
    Grow(String, i32, Wish),
    /// The last says whether it may succeed at all.
    DeleteRecords(Place, TrimId, bool),
    Time(Place, Puzzle),
    Epoch(Place, Puzzle),
    Size(Place),
    Configs(String, u64),
    Change(Change),
    /// Of all configs at once.
    Replace(Change),
}

/// What a wish for more partitions must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// The topic grows, unless something is in the way.
    Real(GrowthId),
    /// Nothing: the broker only says what it thinks of it.
    Rehearsed,
    /// Nothing: it is to be refused.
    Impossible,
}

/// A batch on its way.
#[derive(Clone, Debug)]
struct Written {
    place: Place,
    write: WriteId,
    quality: Quality,
}

/// What a batch deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    /// To be appended.
    Good,
    /// To be refused: a bit is wrong, or it is larger than the broker takes.
    Bad,
    /// To be refused with this error: its records are not what it says.
    Lies(i16),
}

impl Quality {
    /// What became of a batch of which nothing is heard: what must be refused can't have been appended.
    fn unheard(self) -> Outcome {
        match self {
            Self::Good => Outcome::Unknown,
            Self::Bad | Self::Lies(_) => Outcome::Failed,
        }
    }
}

impl Asked {
    fn kind(&self) -> &'static str {
        match self {
            Self::ApiVersions => "api-versions",
            Self::Metadata(_) => "metadata",
            Self::Produce(_) => "produce",
            Self::Sequenced(_) => "produce-sequenced",
            Self::ProducerId(_) => "init-producer-id",
            Self::Fetch(_) => "fetch",
            Self::List(..) => "list-offsets",
            Self::Create(..) => "create-topic",
            Self::Delete(_) => "delete-topic",
            Self::Grow(..) => "grow-topic",
            Self::DeleteRecords(..) => "delete-records",
            Self::Time(..) => "list-offsets-by-time",
            Self::Epoch(..) => "offset-for-leader-epoch",
            Self::Size(_) => "describe-log-dirs",
            Self::Configs(..) => "describe-configs",
            Self::Change(_) => "change-configs",
            Self::Replace(_) => "replace-configs",
        }
    }
}

impl Client {
    /// A client with these habits. Its id is unique in the run. Which of its operations happen, the gate says: they are
    /// the occurrences of `client-ID`.
    #[must_use]
    pub fn new(id: u32, habits: Habits, draws: Rng, gate: Gate) -> Self {
        let slots = Slots::new(format!("client-{id}"), gate, draws.clone(), habits.pause);
        Self {
            id,
            habits,
            rng: draws.child("connection/0"),
            draws,
            slots,
            connections: 0,
            link: Link::Down { retry_at: Instant(0) },
            received: BytesMut::new(),
            correlation: 0,
            pending: VecDeque::new(),
            topics: BTreeMap::new(),
            positions: BTreeMap::new(),
            acked: BTreeMap::new(),
            epochs: BTreeMap::new(),
            producer: Producer::default(),
            created: 0,
            writes: 0,
            questions: 0,
            asked: BTreeMap::new(),
            mode: Mode::Idle,
        }
    }

    /// Whether it has read everything back.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.mode, Mode::Done)
    }

    /// How many requests it made, by kind.
    #[must_use]
    pub fn asked(&self) -> &BTreeMap<&'static str, u64> {
        &self.asked
    }

    fn handle_tick(&mut self, now: Now, out: &mut Effects<Effect>) {
        match self.link {
            Link::Down { retry_at } if retry_at <= now.mono && self.wants_link() => {
                self.link = Link::Connecting { since: now.mono };
                out.push(Effect::Connect);
            }
            Link::Connecting { since } if now.mono.since(since) >= self.habits.timeout => self.hang_up(now, out),
            Link::Up if self.has_timed_out(now) => self.hang_up(now, out),
            Link::Up => self.go_on(now, out),
            _ => {}
        }
    }

    fn go_on(&mut self, now: Now, out: &mut Effects<Effect>) {
        match self.mode {
            Mode::Work => self.work(now, out),
            Mode::Verify(_) => self.verify(now, out),
            Mode::Idle | Mode::Done => {}
        }
    }

    fn handle_connected(&mut self, now: Now, out: &mut Effects<Effect>) {
        if !matches!(self.link, Link::Connecting { .. }) {
            return;
        }
        self.link = Link::Up;
        self.connections += 1;
        self.rng = self.draws.child(&format!("connection/{}", self.connections));
        self.ask_api_versions(now, out);
        self.ask_metadata(now, out);
        self.produce_again(now, out);
    }

    fn handle_disconnected(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.forget_pending(out);
        self.received.clear();
        self.acked.clear();
        let mut lost = self.draws.child(&format!("lost/{}", self.connections));
        let pause = Duration::from_micros(lost.between(1_000, 50_000));
        self.link = Link::Down { retry_at: now.mono.after(pause) };
    }

    fn hang_up(&mut self, now: Now, out: &mut Effects<Effect>) {
        out.push(Effect::Disconnect);
        self.handle_disconnected(now, out);
    }

    fn has_timed_out(&self, now: Now) -> bool {
        self.pending.front().is_some_and(|oldest| now.mono.since(oldest.sent_at) >= self.habits.timeout)
    }

    fn wants_link(&self) -> bool {
        matches!(self.mode, Mode::Work | Mode::Verify(_))
    }
}

impl Machine for Client {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Start => {
                self.mode = Mode::Work;
                self.handle_tick(now, out);
            }
            Input::Verify => {
                self.mode = Mode::Verify(Verify::default());
                self.handle_tick(now, out);
            }
            Input::Stop => {
                self.mode = Mode::Done;
                if matches!(self.link, Link::Up | Link::Connecting { .. }) {
                    self.hang_up(now, out);
                }
            }
            Input::Connected => self.handle_connected(now, out),
            Input::Disconnected => self.handle_disconnected(now, out),
            Input::Received(bytes) => self.handle_received(now, &bytes, out),
            Input::Tick => self.handle_tick(now, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let (at, reason) = match self.link {
            _ if !self.wants_link() => return None,
            Link::Down { retry_at } => (retry_at, "connect again"),
            Link::Connecting { since } => (since.after(self.habits.timeout), "give up connecting"),
            Link::Up => {
                let next = (self.pending.len() < self.habits.in_flight && matches!(self.mode, Mode::Work))
                    .then_some(self.slots.next_at());
                let timeout = self.pending.front().map(|oldest| oldest.sent_at.after(self.habits.timeout));
                let at = next.into_iter().chain(timeout).min()?;
                (at, "next operation, or an answer that is overdue")
            }
        };
        Some(Deadline { at, reason })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.pending.is_empty() || self.link == Link::Up, "requests are in flight on a connection only");
    }
}
