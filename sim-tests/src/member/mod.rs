//! MACHINE: a simulated member of a consumer group.
//!
//! It joins, is assigned, commits and fetches offsets, says that it lives; now and then it leaves, is silent, or dies and
//! comes back, or does not hear that there is another generation, and commits in the one before. In a recess all of its
//! group go away for long. One request is under way at a time. It tells the oracle all that it sends and hears.
//!
//! ```text
//!   find coordinator ─► join ─► sync ─► fetch offsets ─► STEADY: heartbeat, commit, fetch, leave, die, fall silent
//!          ▲             ▲        │                        │
//!          │             └────────┴── another generation ──┘
//!          └── connection broke: whatever was under way is unknown; it goes on as the member that it was
//! ```
//! Offsets are stamped: each is committed once, so whoever reads one knows which commit it is. They grow, by what was
//! fetched last, so in a partition a later generation's are above an earlier one's.

mod answers;
mod requests;

use crate::client::{Effect, Input, Slots};
use crate::oracle::{CommitId, GroupSeen, Landed, Observation};
use bytes::BytesMut;
use karst_core::machine::{Deadline, Effects, Instant, Machine, Now, Rng};
use karst_runtime_sim::gate::Gate;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who a member is, and how it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Character {
    /// Unique in the run.
    pub id: u32,
    /// Which group.
    pub group: String,
    /// What it consumes; the first member creates it.
    pub topic: String,
    /// Partitions of that.
    pub partitions: i32,
    /// Whether it creates the topic.
    pub creates: bool,
    /// Set if it is static.
    pub instance: Option<String>,
    /// After so long in silence it is taken for dead.
    pub session: Duration,
    /// An answer that takes longer breaks the connection.
    pub timeout: Duration,
    /// When all of its group go away.
    pub recess: Option<Recess>,
}

/// When all members of a group go away, and how long they stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recess {
    /// From the beginning of one to that of the next, and from the beginning of the run to that of the first.
    pub every: Duration,
    /// How long it is.
    pub lasts: Duration,
}

impl Recess {
    /// When the recess ends that has begun.
    fn ends(self, now: Instant) -> Option<Instant> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (every, lasts) = (nanos(self.every).max(1), nanos(self.lasts));
        let began = (now.0 / every).checked_mul(every).filter(|began| *began > 0)?;
        let end = began.saturating_add(lasts);
        (now.0 < end).then_some(Instant(end))
    }
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Member {
    me: Character,
    /// Only its children are used.
    draws: Rng,
    rng: Rng,
    slots: Slots,
    connections: u64,
    link: Link,
    received: BytesMut,
    correlation: i32,
    pending: Option<Pending>,
    /// Its group answered over this connection as only one does that is loaded: to heartbeats every group says yes.
    is_loaded: bool,
    /// When it may ask again, after an answer that told it to wait.
    patience: Instant,
    is_topic_there: bool,
    /// Its id in the group; empty if it has none.
    id: String,
    generation: i32,
    step: Step,
    /// What it subscribes with: another one makes a member another one.
    subscription: u32,
    owned: Vec<i32>,
    /// The largest offset that it fetched or committed, by partition.
    positions: BTreeMap<i32, i64>,
    /// It did not hear that the others have gone on.
    is_behind: bool,
    commits: u64,
    questions: u64,
    /// Heartbeats that were answered well since the last time somebody looked.
    beats: u64,
    asked: BTreeMap<&'static str, u64>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Work,
    /// It only does what keeps it alive.
    Settle,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down { retry_at: Instant },
    Connecting { since: Instant },
    Up,
}

/// What it does next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Find,
    Join,
    /// With the members among whom it divides the partitions, if it leads.
    Sync(Vec<String>),
    FetchOffsets,
    Steady,
}

#[derive(Debug)]
struct Pending {
    correlation: i32,
    version: i16,
    sent_at: Instant,
    asked: Asked,
}

#[derive(Clone, Debug)]
enum Asked {
    Create,
    Find,
    Join { floor: i32 },
    Sync,
    Heartbeat,
    Commit(CommitId, i32),
    Offsets(u64),
    Leave,
}

impl Asked {
    fn kind(&self) -> &'static str {
        match self {
            Self::Create => "create-topic",
            Self::Find => "find-coordinator",
            Self::Join { .. } => "join-group",
            Self::Sync => "sync-group",
            Self::Heartbeat => "heartbeat",
            Self::Commit(..) => "offset-commit",
            Self::Offsets(_) => "offset-fetch",
            Self::Leave => "leave-group",
        }
    }
}

impl Member {
    /// Such a member. Its operations are the occurrences of `member-ID` at the gate.
    #[must_use]
    pub fn new(me: Character, draws: Rng, gate: Gate) -> Self {
        let slots = Slots::new(format!("member-{}", me.id), gate, draws.clone(), me.session / 12);
        Self {
            rng: draws.child("connection/0"),
            draws,
            slots,
            connections: 0,
            link: Link::Down { retry_at: Instant(0) },
            received: BytesMut::new(),
            correlation: 0,
            pending: None,
            is_loaded: false,
            patience: Instant(0),
            is_topic_there: !me.creates,
            id: String::new(),
            generation: 0,
            step: Step::Create,
            subscription: 0,
            owned: Vec::new(),
            positions: BTreeMap::new(),
            is_behind: false,
            commits: 0,
            questions: 0,
            beats: 0,
            asked: BTreeMap::new(),
            mode: Mode::Idle,
            me,
        }
    }

    /// How many requests it made, by kind.
    #[must_use]
    pub fn asked(&self) -> &BTreeMap<&'static str, u64> {
        &self.asked
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.me.group
    }

    /// Partitions of its topic.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.me.partitions
    }

    /// The generation that it lives in and what it owns there; `None` while it has no place.
    #[must_use]
    pub fn place(&self) -> Option<(i32, &[i32])> {
        (self.step == Step::Steady).then_some((self.generation, &self.owned[..]))
    }

    /// Heartbeats that were answered well.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats
    }

    fn wants_link(&self) -> bool {
        matches!(self.mode, Mode::Work | Mode::Settle)
    }

    /// When the recess ends in which it is, if it is in one and has no need to be there.
    fn is_away_until(&self, now: Now) -> Option<Instant> {
        self.me.recess.filter(|_| self.mode == Mode::Work)?.ends(now.mono)
    }

    fn identity(&self) -> String {
        self.me.instance.clone().unwrap_or_else(|| self.id.clone())
    }

    fn see(&self, seen: GroupSeen, out: &mut Effects<Effect>) {
        out.push(Effect::Observe(Observation::Group(self.me.group.clone(), seen)));
    }

    fn handle_tick(&mut self, now: Now, out: &mut Effects<Effect>) {
        match self.link {
            Link::Down { retry_at } if retry_at <= now.mono && self.wants_link() => {
                self.link = Link::Connecting { since: now.mono };
                out.push(Effect::Connect);
            }
            Link::Connecting { since } if now.mono.since(since) >= self.me.timeout => self.hang_up(now, out),
            Link::Up if self.due_answer().is_some_and(|due| due <= now.mono) => self.hang_up(now, out),
            Link::Up => self.go_on(now, out),
            _ => {}
        }
    }

    /// When it has waited long enough for an answer. Who joins waits for others.
    fn due_answer(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        let patience = match pending.asked {
            Asked::Join { .. } | Asked::Sync => self.rebalance_timeout() + self.me.timeout,
            _ => self.me.timeout,
        };
        Some(pending.sent_at.after(patience))
    }

    fn rebalance_timeout(&self) -> Duration {
        3 * self.me.session
    }

    fn handle_disconnected(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Some(pending) = self.pending.take() {
            out.push(Effect::Observe(Observation::Lost(pending.asked.kind())));
            if let Asked::Commit(id, partition) = pending.asked {
                self.see(GroupSeen::Committed(id, partition, Landed::Unknown), out);
            }
        }
        self.received.clear();
        self.is_loaded = false;
        if matches!(self.step, Step::Sync(_)) {
            // It does not know what is its own in the generation that it has joined: it joins again.
            self.generation = 0;
        }
        // It goes on as who it was; but an answer to a join that it did not hear may have made it somebody else.
        self.step = match core::mem::replace(&mut self.step, Step::Find) {
            Step::Create => Step::Create,
            Step::Steady => Step::Steady,
            Step::FetchOffsets => Step::FetchOffsets,
            _ => Step::Find,
        };
        let mut lost = self.draws.child(&format!("lost/{}", self.connections));
        let pause = Duration::from_micros(lost.between(1_000, 50_000));
        self.link = Link::Down { retry_at: now.mono.after(pause) };
    }

    fn hang_up(&mut self, now: Now, out: &mut Effects<Effect>) {
        out.push(Effect::Disconnect);
        self.handle_disconnected(now, out);
    }

    /// Asks the next thing, if nothing is under way.
    fn go_on(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.pending.is_some() || self.link != Link::Up || !self.wants_link() || self.patience > now.mono {
            return;
        }
        match self.step.clone() {
            Step::Create if self.is_topic_there => {
                self.step = Step::Find;
                self.go_on(now, out);
            }
            Step::Create => self.create_topic(now, out),
            Step::Find | Step::Join if self.is_away_until(now).is_some() => {
                self.patience = self.is_away_until(now).unwrap_or(now.mono);
            }
            Step::Find => self.find(now, out),
            Step::Join => self.join(now, out),
            Step::Sync(members) => self.sync(now, &members, out),
            Step::FetchOffsets => self.fetch_offsets(now, out),
            Step::Steady => self.live(now, out),
        }
    }

    /// What a member does that has its place.
    fn live(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(operation) = self.next_operation(now) else { return };
        self.rng = operation;
        if self.mode == Mode::Settle {
            // What was committed must still be there, too.
            let reads = !self.owned.is_empty() && self.rng.chance(1, 4);
            return if reads { self.fetch_offsets(now, out) } else { self.heartbeat(now, out) };
        }
        if let Some(end) = self.is_away_until(now) {
            self.patience = end;
            return self.leave(now, out);
        }
        if std::mem::take(&mut self.is_behind) {
            return self.commit(now, out);
        }
        match self.rng.below(200) {
            0..90 => self.heartbeat(now, out),
            90..180 => self.commit(now, out),
            180..188 => self.fetch_offsets(now, out),
            188..190 => self.leave(now, out),
            190..192 => {
                // It dies, and comes back as somebody new, or as the instance that it is.
                self.forget();
                self.hang_up(now, out);
            }
            192..194 => {
                // It hangs, for a little or for too long.
                let most = self.me.session.as_micros() as u64 * 2;
                self.patience = now.mono.after(Duration::from_micros(self.rng.below(most)));
            }
            194..196 => {
                self.subscription += 1;
                self.step = Step::Join;
                self.go_on(now, out);
            }
            196..197 => self.hang_up(now, out),
            _ => {
                self.step = Step::Join;
                self.go_on(now, out);
            }
        }
    }

    fn next_operation(&mut self, now: Now) -> Option<Rng> {
        if self.mode == Mode::Work {
            return self.slots.take(now);
        }
        let mut operation = self.draws.child(&format!("settle/{}", self.correlation));
        let pause = self.me.session.as_micros() as u64 / 12;
        self.patience = now.mono.after(Duration::from_micros(operation.between(pause / 2, pause)));
        Some(operation)
    }

    fn forget(&mut self) {
        self.id = String::new();
        self.generation = 0;
        self.owned.clear();
        self.step = Step::Find;
    }
}

/// By what a member is known whatever happens to it: a static one by its instance, with which its ids begin.
fn identity_of(id: &str) -> String {
    /// Length of the part that is drawn for each id, with what separates it.
    const DRAWN: usize = 37;
    match id.len().checked_sub(DRAWN).and_then(|end| id.get(..end)) {
        Some(instance) if instance.starts_with("instance-") => instance.to_owned(),
        _ => id.to_owned(),
    }
}

impl Machine for Member {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Start => {
                self.mode = Mode::Work;
                self.handle_tick(now, out);
            }
            Input::Verify => {
                self.mode = Mode::Settle;
                self.handle_tick(now, out);
            }
            Input::Stop => {
                self.mode = Mode::Done;
                if matches!(self.link, Link::Up | Link::Connecting { .. }) {
                    self.hang_up(now, out);
                }
            }
            Input::Connected => {
                if matches!(self.link, Link::Connecting { .. }) {
                    self.link = Link::Up;
                    self.connections += 1;
                    self.rng = self.draws.child(&format!("connection/{}", self.connections));
                    self.go_on(now, out);
                }
            }
            Input::Disconnected => self.handle_disconnected(now, out),
            Input::Received(bytes) => self.handle_received(now, &bytes, out),
            Input::Tick => self.handle_tick(now, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let (at, reason) = match self.link {
            _ if !self.wants_link() => return None,
            Link::Down { retry_at } => (retry_at.max(self.patience), "connect again"),
            Link::Connecting { since } => (since.after(self.me.timeout), "give up connecting"),
            Link::Up => match self.due_answer() {
                Some(due) => (due, "an answer that is overdue"),
                None if self.step == Step::Steady && self.mode == Mode::Work => {
                    (self.slots.next_at().max(self.patience), "next operation")
                }
                None => (self.patience, "ask on"),
            },
        };
        Some(Deadline { at, reason })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.pending.is_none() || self.link == Link::Up, "a request is under way on a connection only");
    }
}
