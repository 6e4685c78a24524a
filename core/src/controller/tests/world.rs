//! Controllers of a few broker runs on one bucket.

use super::bucket::Bucket;
use crate::controller::{Controller, Effect, Input, Mail, NodeCommand};
use crate::id::{ClusterId, Incarnation, NodeId};
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, Now, OpId, Rng, WallTime};
use crate::mail::{self, Halt};
use crate::metadata::{Answer, Entry, Image};
use crate::node;
use crate::store::{StoreOp, StoreResult};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// A broker's run, as far as the controller concerns it.
pub(super) struct Broker {
    pub(super) controller: Controller,
    pub(super) in_flight: BTreeMap<OpId, StoreOp>,
    /// What the node knows: the image and the entries that it was mailed.
    pub(super) replica: Option<Image>,
    pub(super) heard: Vec<(Entry, Answer)>,
    pub(super) failed: Option<Halt>,
}

/// All of it.
pub(super) struct World {
    pub(super) bucket: Bucket,
    pub(super) brokers: Vec<Broker>,
    pub(super) now: Now,
    pub(super) limits: Limits,
    rng: Rng,
    runs: u64,
}

impl World {
    pub(super) fn new(seed: u64, limits: Limits) -> Self {
        let rng = Rng::new(seed);
        Self { bucket: Bucket::default(), brokers: Vec::new(), now: Now::default(), limits, rng, runs: 0 }
    }

    /// Small limits, so that a handful of entries makes segments and snapshots.
    pub(super) fn tiny(rng: &mut Rng) -> Limits {
        Limits {
            head_inline: rng.between(150, 1500) as u32,
            segments: rng.below(4) as u32,
            deleted_retention: Duration::from_millis(rng.between(0, 3000)),
            scrub_interval: Duration::from_secs(20),
            ..Limits::default()
        }
    }

    /// A new run of a broker with a blank WAL starts beside the others. Returns its place.
    pub(super) fn start(&mut self) -> usize {
        self.start_of(None)
    }

    /// The same, with a WAL of that cluster.
    pub(super) fn start_of(&mut self, cluster: Option<ClusterId>) -> usize {
        self.runs += 1;
        let rng = self.rng.child(&format!("run {}", self.runs));
        let incarnation = Incarnation::draw(&mut rng.child("incarnation"));
        let controller = Controller::new(NodeId(1), incarnation, &self.limits, rng);
        let (in_flight, heard) = (BTreeMap::new(), Vec::new());
        self.brokers.push(Broker { controller, in_flight, replica: None, heard, failed: None });
        self.handle(self.brokers.len() - 1, Input::Mail(Mail::Start { cluster }));
        self.brokers.len() - 1
    }

    /// The run ends in the middle of whatever it does.
    pub(super) fn kill(&mut self, at: usize) {
        let broker = self.brokers.remove(at);
        for (_, op) in broker.in_flight {
            self.bucket.orphan(op);
        }
    }

    pub(super) fn send(&mut self, at: usize, command: NodeCommand) {
        self.handle(at, Input::Mail(Mail::Command(command)));
    }

    /// Completes an operation.
    pub(super) fn complete(&mut self, at: usize, id: OpId, result: StoreResult) {
        self.brokers[at].in_flight.remove(&id).expect("in flight");
        self.handle(at, Input::Store(id, result));
    }

    /// The operation of a broker that is in flight, when there is just one.
    pub(super) fn only_op(&self, at: usize) -> (OpId, StoreOp) {
        let ops = &self.brokers[at].in_flight;
        assert_eq!(ops.len(), 1, "{ops:?}");
        let (id, op) = ops.first_key_value().expect("one");
        (*id, op.clone())
    }

    /// Completes the only operation as the bucket does it, and returns what it was.
    pub(super) fn do_only(&mut self, at: usize) -> StoreOp {
        let (id, op) = self.only_op(at);
        let result = self.bucket.apply(&op);
        self.complete(at, id, result);
        op
    }

    /// Completes the only operation with that.
    pub(super) fn answer_only(&mut self, at: usize, result: StoreResult) -> StoreOp {
        let (id, op) = self.only_op(at);
        self.complete(at, id, result);
        op
    }

    /// The time of the earliest deadline comes.
    pub(super) fn tick(&mut self) {
        let due = self.brokers.iter().filter_map(|broker| broker.controller.deadline()).map(|due| due.at).min();
        if let Some(at) = due {
            self.pass(at.since(self.now.mono));
        }
    }

    /// So much time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        self.now.wall = WallTime(self.now.wall.0 + time.as_millis() as i64);
        for at in 0..self.brokers.len() {
            let due = |broker: &Broker, now: Instant| broker.controller.deadline().is_some_and(|due| due.at <= now);
            if due(&self.brokers[at], self.now.mono) {
                self.handle(at, Controller::tick());
            }
        }
    }

    /// Everything goes well until nobody waits for anything but a scrub or a retention.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let busy = (0..self.brokers.len()).find(|at| !self.brokers[*at].in_flight.is_empty());
            match busy {
                Some(at) => {
                    let (id, op) = self.brokers[at].in_flight.first_key_value().expect("busy");
                    let (id, op) = (*id, op.clone());
                    let result = self.bucket.apply(&op);
                    self.complete(at, id, result);
                }
                None => {
                    let now = self.now.mono;
                    let retries = |broker: &Broker| {
                        let due = broker.controller.deadline()?;
                        (due.at <= now || due.reason.starts_with("retry")).then_some(due.at)
                    };
                    let Some(at) = self.brokers.iter().filter_map(retries).min() else { return };
                    self.pass(at.since(self.now.mono));
                }
            }
        }
        panic!("it does not come to rest");
    }

    fn handle(&mut self, at: usize, input: Input) {
        let mut out = Effects::default();
        let broker = &mut self.brokers[at];
        broker.controller.handle(self.now, input, &mut out);
        broker.controller.invariants();
        for effect in out.drain() {
            match effect {
                Effect::Store(id, call) => {
                    assert_eq!(call.within, self.limits.store_attempt);
                    assert!(broker.in_flight.insert(id, call.op).is_none());
                }
                Effect::Mail(mail::Mail::Node(mail)) => broker.hear(mail, &self.bucket),
                Effect::Mail(other) => panic!("unexpected mail: {other:?}"),
            }
        }
    }
}

impl Broker {
    pub(super) fn leads(&self) -> bool {
        self.controller.image().is_some()
    }

    fn hear(&mut self, mail: node::Mail, bucket: &Bucket) {
        assert!(self.failed.is_none(), "mail after the end");
        match mail {
            node::Mail::Image(image) => {
                assert!(self.replica.is_none(), "one image");
                assert_eq!(*image, bucket.image_at(image.seq), "the image is durable");
                self.replica = Some(*image);
            }
            node::Mail::Entries(entries) => self.fold(&entries, bucket),
            node::Mail::ControllerFailed(halt) => self.failed = Some(halt),
            other => panic!("unexpected mail: {other:?}"),
        }
    }

    fn fold(&mut self, entries: &Arc<[Entry]>, bucket: &Bucket) {
        let replica = self.replica.as_mut().expect("the image comes first");
        assert!(!entries.is_empty());
        for entry in &**entries {
            assert_eq!(entry.seq, replica.seq.next(), "no gap");
            assert_eq!(bucket.log.get(entry.seq.0 as usize - 1), Some(entry), "what is mailed is durable");
            let answer = replica.apply(entry);
            self.heard.push((entry.clone(), answer));
        }
        if let Some(image) = self.controller.image() {
            assert_eq!(image, replica, "the node and the controller know the same");
        }
    }
}
