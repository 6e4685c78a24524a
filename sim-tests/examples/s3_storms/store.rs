//! The thread that owns the model and moves it by the real clock.
//!
//! ```text
//!   connections ── ask ──► submit ── fate: when it takes effect, when it is answered, how ──► due
//!               ◄─ reply ─ answer ◄───────────────── settle, at that moment ─────────────────┘
//! ```
//! A request goes on when nobody waits for it any more: that its connection is gone, the thread does not hear.

use crate::weather::Weather;
use karst_core::machine::{Payload, Rng};
use karst_core::store::{ETag, Key, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use karst_runtime_sim::gate::Gate;
use karst_runtime_sim::report::Counters;
use karst_runtime_sim::store::{Caller, Mode, RequestId, SimStore};
use karst_runtime_sim::time::SimTime;
use karst_sim::plan::Plan;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// All come from one host: what tells callers apart is of no use here.
const CALLER: Caller = Caller(1);

/// It has nothing to do for so long when nobody asks.
const IDLE: Duration = Duration::from_secs(3600);

/// What a caller hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// That.
    Result(StoreResult),
    /// An object that breaks off in the middle.
    Truncated {
        /// What was asked for, all of it.
        body: Payload,
        /// Of the object.
        etag: ETag,
        /// Length of the object.
        total: u64,
    },
}

/// Reaches the thread.
#[derive(Clone, Debug)]
pub(crate) struct Store(Sender<Message>);

#[derive(Debug)]
enum Message {
    Ask(StoreOp, oneshot::Sender<Heard>),
    Count(&'static str),
    Plan(Box<Plan>),
    Report(oneshot::Sender<String>),
    Lose(String, oneshot::Sender<String>),
}

impl Store {
    /// Starts it with an empty bucket, which takes so many bytes.
    pub(crate) fn start(plan: Plan, capacity: u64) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || Thread::new(plan, capacity).run(&receiver));
        Self(sender)
    }

    /// Makes a request; the answer comes when it is due.
    pub(crate) async fn ask(&self, op: StoreOp) -> Heard {
        self.call(|reply| Message::Ask(op, reply)).await
    }

    /// Counts a request of that class.
    pub(crate) fn count(&self, class: &'static str) {
        self.send(Message::Count(class));
    }

    /// From now on it does as that plan says.
    pub(crate) fn set_plan(&self, plan: Plan) {
        self.send(Message::Plan(Box::new(plan)));
    }

    /// What was counted: a line with name and number for each thing.
    pub(crate) async fn report(&self) -> String {
        self.call(Message::Report).await
    }

    /// Loses the latest object with that prefix, although it was acknowledged: no store does so, and a test that does not
    /// notice tests nothing. Its name, or nothing.
    pub(crate) async fn lose(&self, prefix: String) -> String {
        self.call(|reply| Message::Lose(prefix, reply)).await
    }

    async fn call<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> T {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply));
        answer.await.expect("the store's thread ends with the process")
    }

    fn send(&self, message: Message) {
        self.0.send(message).expect("the store's thread ends with the process");
    }
}

/// A request that has not been answered.
#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Heard>,
    /// What is read, if something is.
    read: Option<(Key, Span)>,
}

#[derive(Debug)]
struct Thread {
    store: SimStore,
    weather: Weather,
    gate: Gate,
    begun: Instant,
    capacity: u64,
    due: BTreeMap<(SimTime, RequestId), Waiting>,
    fired: Counters,
    counted: Counters,
}

impl Thread {
    fn new(plan: Plan, capacity: u64) -> Self {
        let (rng, gate) = (rng(&plan), Gate::new(plan.only.clone()));
        let mut store = SimStore::new(plan.numbers.store(), &rng);
        store.draw_by_order(&rng);
        store.set_gate(gate.clone());
        Self {
            store,
            weather: Weather::new(plan, SimTime::ZERO),
            gate,
            begun: Instant::now(),
            capacity,
            due: BTreeMap::new(),
            fired: Counters::default(),
            counted: Counters::default(),
        }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let pause = self.due.first_key_value().map_or(IDLE, |((at, _), _)| at.since(self.now()));
            match receiver.recv_timeout(pause) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.answer();
        }
    }

    fn now(&self) -> SimTime {
        SimTime::ZERO.after(self.begun.elapsed())
    }

    /// Who asked may be gone: then nobody hears the reply.
    fn handle(&mut self, message: Message) {
        match message {
            Message::Ask(op, reply) => self.submit(op, reply),
            Message::Count(class) => self.counted.add(class),
            Message::Plan(plan) => {
                self.store.draw_by_order(&rng(&plan));
                self.gate.restrict(plan.only.clone());
                self.weather = Weather::new(*plan, self.now());
            }
            Message::Report(reply) => drop(reply.send(self.report())),
            Message::Lose(prefix, reply) => drop(reply.send(self.lose(&prefix))),
        }
    }

    fn submit(&mut self, op: StoreOp, reply: oneshot::Sender<Heard>) {
        let now = self.now();
        self.store.settle(now);
        let (knobs, mode) = self.weather.at(now);
        let is_full = match &op {
            StoreOp::Put { body, .. } => self.store.bucket().bytes() + body.len() as u64 > self.capacity,
            _ => false,
        };
        self.store.set_knobs(knobs);
        self.store.set_mode(if is_full { Mode::NoSpace } else { mode });
        if let StoreOp::Put { body, .. } = &op {
            self.counted.add_many("bytes.put", body.len() as u64);
        }
        let read = match &op {
            StoreOp::Get { key, span } => Some((key.clone(), *span)),
            _ => None,
        };
        let submitted = self.store.submit(now, CALLER, StoreCall { op, within: self.weather.patience() });
        self.due.insert((submitted.answer, submitted.request), Waiting { reply, read });
        for fired in self.gate.take_fired() {
            // All others are counted by the model.
            if fired.kind == "store.tail" {
                self.fired.add(fired.kind);
            }
        }
    }

    fn answer(&mut self) {
        let now = self.now();
        self.store.settle(now);
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now
        {
            let ((_, request), Waiting { reply, read }) = entry.remove_entry();
            let result = self.store.answer(now, request);
            let heard = match (result, read) {
                (Err(StoreError::Corrupt), Some((key, span))) => self.truncated(&key, span),
                (result, _) => Heard::Result(result),
            };
            if let Heard::Result(Ok(StoreDone::Got { body, .. })) = &heard {
                self.counted.add_many("bytes.got", body.0.len() as u64);
            }
            drop(reply.send(heard));
        }
    }

    fn truncated(&self, key: &Key, span: Span) -> Heard {
        match self.store.bucket().get(key) {
            Some(object) => {
                let total = object.body.len() as u64;
                let (from, to) = match span {
                    Span::Whole => (0, total),
                    Span::Range { at, len } => (at.min(total), at.saturating_add(len).min(total)),
                    Span::Last { len } => (total.saturating_sub(len), total),
                };
                let body = Payload(object.body.slice(from as usize..to as usize));
                Heard::Truncated { body, etag: object.etag.clone(), total }
            }
            None => Heard::Result(Err(StoreError::Missing)),
        }
    }

    fn lose(&mut self, prefix: &str) -> String {
        self.store.settle(self.now());
        let latest = self.store.bucket().objects().filter(|(key, _)| key.0.starts_with(prefix));
        let Some(key) = latest.max_by_key(|(_, object)| object.at).map(|(key, _)| key.clone()) else {
            return String::new();
        };
        self.store.bucket_mut().remove(&key);
        key.0
    }

    fn report(&mut self) -> String {
        let now = self.now();
        self.store.settle(now);
        let mut fired = self.fired.clone();
        fired.merge(self.store.fired());
        let mut text = String::new();
        for (name, count) in self.counted.iter().chain(fired.iter()) {
            let _ = writeln!(text, "{name} {count}");
        }
        let bucket = self.store.bucket();
        let _ = writeln!(text, "bucket.objects {}", bucket.objects().count());
        let _ = writeln!(text, "bucket.bytes {}", bucket.bytes());
        let _ = writeln!(text, "bucket.late {}", self.store.in_flight());
        text
    }
}

fn rng(plan: &Plan) -> Rng {
    Rng::new(plan.numbers.root).child("store")
}
