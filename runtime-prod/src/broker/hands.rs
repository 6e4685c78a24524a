//! Performs what machines want: mail, disk, object store, computing, and the process itself.

use super::opening::Place;
use super::{Event, Report};
use crate::compute::Computer;
use crate::disk::DiskQueue;
use crate::monitor::metrics::{Asker, Operation};
use crate::monitor::{Monitor, Phase, Progress};
use crate::net::SessionOutbox;
use crate::owner::{Address, Outbox, Perform};
use crate::store::Submit;
use karst_core::compaction;
use karst_core::controller;
use karst_core::id::{ClusterId, Lsn, Offset};
use karst_core::machine::OpId;
use karst_core::mail::Mail;
use karst_core::node;
use karst_core::session::{self, Answer};
use karst_core::shard;
use karst_core::store::{StoreCall, StoreOp, StoreResult};
use karst_core::upload;
use karst_core::wal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;
/// Delivers mail from one owner to all others, in order to each.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) sessions: SessionOutbox,
    pub(super) shard: Outbox<shard::Input>,
    pub(super) wal: Outbox<wal::Input>,
    pub(super) uploader: Outbox<upload::Input>,
    pub(super) compactor: Outbox<compaction::Input>,
    pub(super) controller: Outbox<controller::Input>,
    pub(super) node: Outbox<node::Input>,
}

impl Perform<Mail> for Post {
    fn perform(&mut self, mail: Mail) {
        match mail {
            Mail::Session(conn, mail) => self.sessions.push(conn, mail),
            Mail::Shard(mail) => self.shard.push(shard::Input::Mail(mail)),
            Mail::Wal(mail) => self.wal.push(wal::Input::Mail(mail)),
            Mail::Uploader(mail) => self.uploader.push(upload::Input::Mail(mail)),
            Mail::Compactor(mail) => self.compactor.push(compaction::Input::Mail(mail)),
            Mail::Controller(mail) => self.controller.push(controller::Input::Mail(mail)),
            Mail::Node(mail) => self.node.push(node::Input::Mail(mail)),
        }
    }

    fn flush(&mut self) {
        self.wal.flush();
        self.sessions.flush();
        self.shard.flush();
        self.uploader.flush();
        self.compactor.flush();
        self.controller.flush();
        self.node.flush();
    }
}

/// Performs what an owner with mail and store calls wants done.
pub(super) struct Hands<I> {
    pub(super) post: Post,
    pub(super) store: Arc<dyn Submit>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) owner: Address<I>,
    pub(super) completed: fn(OpId, StoreResult) -> I,
    pub(super) asker: Asker,
}

impl<I: Send + 'static> Hands<I> {
    pub(super) fn new(
        post: &Post,
        (store, monitor): (&Arc<dyn Submit>, &Arc<Monitor>),
        (owner, completed): (Address<I>, fn(OpId, StoreResult) -> I),
        asker: Asker,
    ) -> Self {
        Self { post: post.clone(), store: store.clone(), monitor: monitor.clone(), owner, completed, asker }
    }

    fn call(&self, op: OpId, call: StoreCall) {
        let (owner, completed, monitor, asker) = (self.owner.clone(), self.completed, self.monitor.clone(), self.asker);
        let (operation, begun) = (Operation::of(&call.op), Instant::now());
        let sent = if let StoreOp::Put { body, .. } = &call.op { body.len() } else { 0 };
        self.store.submit(
            call,
            Box::new(move |result| {
                monitor.metrics.store.ended(asker, operation, sent, begun.elapsed(), &result);
                owner.send(completed(op, result));
            }),
        );
    }

    fn mail(&mut self, mail: Mail) {
        match &mail {
            Mail::Session(_, session::Mail::Answer { answer: Answer::Paid(body, fee), .. })
                if fee.pool == shard::Pool::Answers =>
            {
                self.monitor.metrics.records.fetched_bytes.add(body.len());
            }
            Mail::Node(node::Mail::CutCommitted(_)) => self.monitor.metrics.uploads.committed.add(1),
            _ => {}
        }
        self.post.perform(mail);
    }
}

/// For machines that want nothing done but mail and calls of the object store.
macro_rules! mail_and_store {
    ($($machine:ident),*) => {
        $(impl Perform<$machine::Effect> for Hands<$machine::Input> {
            fn perform(&mut self, effect: $machine::Effect) {
                match effect {
                    $machine::Effect::Mail(mail) => self.mail(mail),
                    $machine::Effect::Store(op, call) => self.call(op, call),
                }
            }

            fn flush(&mut self) {
                self.post.flush();
            }
        })*
    };
}

mail_and_store!(upload, compaction, controller);

/// The shard's: it also has records looked into.
pub(super) struct ShardHands {
    pub(super) hands: Hands<shard::Input>,
    pub(super) computer: Computer,
}

impl Perform<shard::Effect> for ShardHands {
    fn perform(&mut self, effect: shard::Effect) {
        match effect {
            shard::Effect::Mail(mail) => self.hands.mail(mail),
            shard::Effect::Store(op, call) => self.hands.call(op, call),
            shard::Effect::Compute(op, job) => self.computer.submit(op, job),
        }
    }

    fn flush(&mut self) {
        self.hands.post.flush();
    }
}

/// The node's: it also speaks to the process.
pub(super) struct NodeHands {
    pub(super) hands: Hands<node::Input>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) recovered: Arc<Recovered>,
    pub(super) cluster: ClusterId,
}

impl NodeHands {
    /// What the node tells others says where in its life it is.
    fn see(&mut self, mail: &Mail) {
        let monitor = &self.hands.monitor;
        match mail {
            Mail::Shard(shard::Mail::Image(image)) => self.cluster = image.cluster,
            Mail::Shard(shard::Mail::Serve { epoch, .. }) => monitor.serves(self.cluster, *epoch),
            Mail::Wal(wal::Mail::Recover { from, .. }) => monitor.enter(Phase::Recovering(self.recovered.begin(*from))),
            Mail::Wal(wal::Mail::Format { .. }) => monitor.enter(Phase::Opening),
            // As asked, or since the WAL failed.
            Mail::Shard(shard::Mail::Drain) => monitor.enter(Phase::Stopping),
            _ => {}
        }
    }

    fn tell(&self, event: Event) {
        // Nobody hears it only when the process ends already.
        let _ = self.events.send(event);
    }
}

impl Perform<node::Effect> for NodeHands {
    fn perform(&mut self, effect: node::Effect) {
        match effect {
            node::Effect::Mail(mail) => {
                self.see(&mail);
                self.hands.mail(mail);
            }
            node::Effect::Store(op, call) => self.hands.call(op, call),
            node::Effect::Ready => {
                let (records, bytes) = self.recovered.total();
                self.tell(Event::Ready(Report { cluster: self.cluster, records, bytes }));
            }
            node::Effect::Halt(halt) => self.tell(Event::Halt(halt)),
        }
    }

    fn flush(&mut self) {
        self.hands.post.flush();
    }
}

/// The WAL's: it has a disk, unless it is in the object store, and its recoveries are counted for the operator.
pub(super) struct WalHands {
    pub(super) hands: Hands<wal::Input>,
    pub(super) disk: Option<DiskQueue>,
    pub(super) recovered: Arc<Recovered>,
}

impl Perform<wal::Effect> for WalHands {
    fn perform(&mut self, effect: wal::Effect) {
        match effect {
            wal::Effect::Mail(mail) => {
                match &mail {
                    Mail::Shard(shard::Mail::Appended(batches)) => self.hands.monitor.metrics.records.durable(batches),
                    Mail::Node(node::Mail::WalFound(wal::Inspection::Ring(found))) => self.recovered.found(found.trim),
                    Mail::Node(node::Mail::WalRecovered(wal::Recovered::Part { records, upto, .. })) => {
                        let records = records.iter().map(|batch| (batch.base, batch.end, batch.batch.len() as u64));
                        self.hands.monitor.progress(self.recovered.add(records, *upto));
                    }
                    Mail::Node(node::Mail::WalRecovered(wal::Recovered::Object { object, upto })) => {
                        let ranges = object.ranges.iter().map(|range| (range.start, range.end, range.bytes));
                        self.hands.monitor.progress(self.recovered.add(ranges, *upto));
                    }
                    _ => {}
                }
                self.hands.mail(mail);
            }
            wal::Effect::Disk(op, call) => match &self.disk {
                Some(disk) => disk.submit(op, call),
                None => unreachable!("a WAL in the object store wants {call:?} of a disk"),
            },
            wal::Effect::Store(op, call) => self.hands.call(op, call),
        }
    }

    fn flush(&mut self) {
        self.hands.post.flush();
    }
}

/// What was read back from the WAL.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Where that begins, as an LSN.
    pub(super) from: AtomicU64,
    /// How much there can be.
    length: u64,
    /// What an LSN counts.
    lsn: Unit,
}

/// What an LSN counts.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Bytes,
    Objects,
}

impl Recovered {
    pub(super) fn new(place: &Place) -> Self {
        let lsn = match place {
            Place::Device(_) => Unit::Bytes,
            Place::Objects(_) => Unit::Objects,
        };
        let (records, bytes, from) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { records, bytes, from, length: place.len(), lsn }
    }

    /// The ring knows that everything below was committed.
    fn found(&self, trim: Lsn) {
        self.from.fetch_max(trim.0, Ordering::Relaxed);
    }

    /// The metadata knows that, too.
    fn begin(&self, from: Lsn) -> Progress {
        self.found(from);
        Progress { done: 0, of: self.length }
    }

    /// Stretches of records, from one offset to another and so many bytes long.
    fn add(&self, found: impl Iterator<Item = (Offset, Offset, u64)>, upto: Lsn) -> Progress {
        let sum = |(records, bytes), (base, end, len): (Offset, Offset, u64)| {
            (records + end.0.saturating_sub(base.0), bytes + len)
        };
        let (records, bytes) = found.fold((0, 0), sum);
        self.records.fetch_add(records, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let done = match self.lsn {
            Unit::Bytes => upto.0.saturating_sub(self.from.load(Ordering::Relaxed)),
            Unit::Objects => before.saturating_add(bytes).min(self.length),
        };
        Progress { done, of: self.length }
    }

    fn total(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
