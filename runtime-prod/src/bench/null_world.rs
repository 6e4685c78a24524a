//! All machines of a broker on one thread, in a world that does at once, and for nothing, whatever they ask.
//!
//! ```text
//!   chunks ──► Session ──► queue ──► Shard, Wal, Uploader, Controller, Node ──► queue ──► Session ──► counted
//!                            ▲                     │
//!                            └── "written", "put" ─┘
//! ```
//! The disk forgets what is written; the store keeps the metadata and forgets data objects. No time passes.

use crate::failure::Failure;
use bytes::Bytes;
use karst_core::controller::{self, Controller};
use karst_core::data_object;
use karst_core::disk::{DiskDone, DiskOp, DiskResult};
use karst_core::id::{ConnId, Incarnation, NodeId};
use karst_core::limits::Limits;
use karst_core::machine::{Effects, Instant as Mono, Machine, Now, Payload, Rng, WallTime};
use karst_core::mail::Mail;
use karst_core::node::{self, Node};
use karst_core::session::{self, Session};
use karst_core::shard::{self, Shard};
use karst_core::store::{ETag, Found, Key, Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use karst_core::upload::{self, Uploader};
use karst_core::wal::{self, Wal};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const WAL: u64 = 512 << 20;
const CONN: ConnId = ConnId(0);

/// Which machine took how much, of how many inputs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shares([(Duration, u64); 6]);

impl Shares {
    const NAMES: [&str; 6] = ["session", "shard", "wal", "uploader", "controller", "node"];

    /// By machine, those that had something to do.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, Duration, u64)> {
        let all = Self::NAMES.into_iter().zip(self.0).map(|(name, (time, inputs))| (name, time, inputs));
        all.filter(|(_, _, inputs)| *inputs > 0)
    }
}

/// What waits for a machine.
enum Event {
    Session(session::Input),
    Shard(shard::Input),
    Wal(wal::Input),
    Uploader(upload::Input),
    Controller(controller::Input),
    Node(node::Input),
}

/// A broker with one connection.
pub(super) struct NullWorld {
    session: Session,
    shard: Shard,
    wal: Wal,
    uploader: Uploader,
    controller: Controller,
    node: Node,
    now: Now,
    events: VecDeque<Event>,
    bucket: Bucket,
    ready: bool,
    answers: u64,
    shares: Option<Shares>,
}

/// Hands an input to a machine, and what that wants done to `$perform`.
macro_rules! step {
    ($world:ident, $place:literal, $machine:ident, $input:expr, |$effect:ident| $perform:expr) => {{
        let mut out = Effects::default();
        let begun = $world.shares.is_some().then(Instant::now);
        $world.$machine.handle($world.now, $input, &mut out);
        if let (Some(begun), Some(shares)) = (begun, &mut $world.shares) {
            shares.0[$place].0 += begun.elapsed();
            shares.0[$place].1 += 1;
        }
        for $effect in out.drain() {
            $perform
        }
    }};
}

impl NullWorld {
    /// A broker that serves.
    pub(super) fn start() -> Result<Self, Failure> {
        let limits = Limits::default();
        let rng = Rng::new(1);
        let (id, incarnation) = (NodeId(0), Incarnation::draw(&mut rng.child("incarnation")));
        let config =
            node::Config { node: id, incarnation, host: "localhost".into(), port: 9092, purpose: node::Purpose::Serve };
        let mut world = Self {
            session: Session::new(CONN, &limits),
            shard: Shard::new(&limits, rng.child("shard")),
            wal: Wal::new(WAL, &limits).map_err(Failure::new)?,
            uploader: Uploader::new(&limits, rng.child("uploader")),
            controller: Controller::new(id, incarnation, &limits, rng.child("controller")),
            node: Node::new(config, &limits, rng.child("node")),
            now: Now { mono: Mono(0), wall: WallTime(1_700_000_000_000) },
            events: VecDeque::new(),
            bucket: Bucket::default(),
            ready: false,
            answers: 0,
            shares: None,
        };
        world.events.push_back(Event::Node(node::Input::Start));
        world.settle();
        if !world.ready {
            return Err(Failure::new("the machines do not come up"));
        }
        let mut out = Effects::default();
        world.session.opened(world.now, karst_core::shard::Arrival::default(), &mut out);
        out.drain().for_each(|effect| world.perform_session(effect));
        world.settle();
        Ok(world)
    }

    /// The client sends these; everything that follows from it happens.
    pub(super) fn receive(&mut self, chunks: &[Bytes]) {
        for chunk in chunks {
            self.events.push_back(Event::Session(session::Input::Received(Payload(chunk.clone()))));
        }
        self.settle();
    }

    /// Answers that were sent.
    pub(super) const fn answers(&self) -> u64 {
        self.answers
    }

    /// Begins or ends to measure each machine, which costs time itself. Returns what was measured so far.
    pub(super) const fn watch(&mut self, shares: Option<Shares>) -> Option<Shares> {
        std::mem::replace(&mut self.shares, shares)
    }

    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Session(input) => step!(self, 0, session, input, |effect| self.perform_session(effect)),
                Event::Shard(input) => step!(self, 1, shard, input, |effect| self.perform_shard(effect)),
                Event::Wal(input) => step!(self, 2, wal, input, |effect| self.perform_wal(effect)),
                Event::Uploader(input) => step!(self, 3, uploader, input, |effect| self.perform_uploader(effect)),
                Event::Controller(input) => step!(self, 4, controller, input, |effect| self.perform_controller(effect)),
                Event::Node(input) => step!(self, 5, node, input, |effect| self.perform_node(effect)),
            }
        }
    }

    fn post(&mut self, mail: Mail) {
        self.events.push_back(match mail {
            Mail::Session(_, mail) => Event::Session(session::Input::Mail(mail)),
            Mail::Shard(mail) => Event::Shard(shard::Input::Mail(mail)),
            Mail::Wal(mail) => Event::Wal(wal::Input::Mail(mail)),
            Mail::Uploader(mail) => Event::Uploader(upload::Input::Mail(mail)),
            // Nothing is rewritten here.
            Mail::Compactor(_) => return,
            Mail::Controller(mail) => Event::Controller(controller::Input::Mail(mail)),
            Mail::Node(mail) => Event::Node(node::Input::Mail(mail)),
        });
    }

    fn perform_session(&mut self, effect: session::Effect) {
        match effect {
            session::Effect::Send(op, _) => {
                self.answers += 1;
                self.events.push_back(Event::Session(session::Input::Sent(op)));
            }
            session::Effect::Compute(op, job) => {
                self.events.push_back(Event::Session(session::Input::Computed(op, job.run())));
            }
            session::Effect::Mail(mail) => self.post(mail),
            session::Effect::Close(why) => panic!("a benchmark's requests are sound: {why}"),
            session::Effect::Pause | session::Effect::Resume => {}
        }
    }

    fn perform_shard(&mut self, effect: shard::Effect) {
        match effect {
            shard::Effect::Mail(mail) => self.post(mail),
            shard::Effect::Compute(op, job) => {
                self.events.push_back(Event::Shard(shard::Input::Computed(op, job.run())));
            }
            shard::Effect::Store(op, call) => {
                let result = self.bucket.perform(call.op);
                self.events.push_back(Event::Shard(shard::Input::Store(op, result)));
            }
        }
    }

    fn perform_uploader(&mut self, effect: upload::Effect) {
        match effect {
            upload::Effect::Mail(mail) => self.post(mail),
            upload::Effect::Store(op, call) => {
                let result = self.bucket.perform(call.op);
                self.events.push_back(Event::Uploader(upload::Input::Store(op, result)));
            }
        }
    }

    fn perform_controller(&mut self, effect: controller::Effect) {
        match effect {
            controller::Effect::Mail(mail) => self.post(mail),
            controller::Effect::Store(op, call) => {
                let result = self.bucket.perform(call.op);
                self.events.push_back(Event::Controller(controller::Input::Store(op, result)));
            }
        }
    }

    fn perform_wal(&mut self, effect: wal::Effect) {
        match effect {
            wal::Effect::Mail(mail) => self.post(mail),
            wal::Effect::Disk(op, call) => self.events.push_back(Event::Wal(wal::Input::Disk(op, on_disk(&call)))),
            wal::Effect::Store(_, call) => unreachable!("a ring wants {call:?} of the object store"),
        }
    }

    fn perform_node(&mut self, effect: node::Effect) {
        match effect {
            node::Effect::Mail(mail) => self.post(mail),
            node::Effect::Store(op, call) => {
                let result = self.bucket.perform(call.op);
                self.events.push_back(Event::Node(node::Input::Store(op, result)));
            }
            node::Effect::Ready => self.ready = true,
            node::Effect::Halt(halt) => panic!("nothing in this world fails: {halt:?}"),
        }
    }
}

/// Blank, and it stays so.
fn on_disk(op: &DiskOp) -> DiskResult {
    Ok(match op {
        DiskOp::Read { len, .. } => DiskDone::Read(vec![0; *len].into()),
        DiskOp::Write { .. } => DiskDone::Written,
    })
}

/// Objects by name, with their versions.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<Key, (u64, Bytes)>,
    puts: u64,
}

impl Bucket {
    fn perform(&mut self, op: StoreOp) -> StoreResult {
        match op {
            StoreOp::Put { key, body, only_if } => {
                let there = self.objects.get(&key).map(|(version, _)| etag(*version));
                let holds = match only_if {
                    Precondition::Absent => there.is_none(),
                    Precondition::Is(etag) => there == Some(etag),
                };
                if !holds {
                    return Err(StoreError::Exists);
                }
                self.puts += 1;
                let body = if data_object::parse_key(&key).is_some() { Bytes::new() } else { body.to_bytes() };
                self.objects.insert(key, (self.puts, body));
                Ok(StoreDone::Put { etag: etag(self.puts) })
            }
            StoreOp::Get { key, span } => {
                let (version, body) = self.objects.get(&key).ok_or(StoreError::Missing)?;
                let total = body.len();
                let (from, to) = match span {
                    Span::Whole => (0, total),
                    Span::Range { at, len } => ((at as usize).min(total), ((at + len) as usize).min(total)),
                    Span::Last { len } => (total - (len as usize).min(total), total),
                };
                Ok(StoreDone::Got { body: body.slice(from..to).into(), etag: etag(*version), total: total as u64 })
            }
            StoreOp::Delete { key } => {
                self.objects.remove(&key);
                Ok(StoreDone::Deleted)
            }
            StoreOp::List { prefix, after, max } => {
                let all = self.objects.iter().filter(|(key, _)| key.0.starts_with(&prefix.0));
                let mut rest = all.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let found = rest.by_ref().take(max);
                let found = found.map(|(key, (_, body))| Found { key: key.clone(), len: body.len() as u64 }).collect();
                Ok(StoreDone::Listed { found, more: rest.next().is_some() })
            }
        }
    }
}

fn etag(version: u64) -> ETag {
    ETag(version.to_string())
}
