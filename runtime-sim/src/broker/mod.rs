//! A Karst broker in the simulated world: its machines, wired to each other and to simulated disk, store and network.
//!
//! ```text
//!   connections ── sessions ──┐
//!                             ├── shard ── wal ── disk, or store
//!   store ────────────────────┤     │
//!                             └── uploader, compactor, controller, node ── store
//! ```
//! This is the counterpart of the production shell's `broker.rs`: both only perform effects and carry mail.

pub mod describe;
mod probe;

use crate::exec::{Address, Connection, Disk, NetHost, Owner, Process, Store};
use crate::fates::Fates;
use crate::fault::Chance;
use crate::net::{NetEvent, SendTag};
use crate::recording::{Describe, Tag};
use crate::store::Caller;
use crate::time::SimTime;
use core::fmt::Debug;
use core::time::Duration;
use karst_core::compaction::{self, Compactor};
use karst_core::controller::{self, Controller};
use karst_core::disk::{DiskOp, SECTOR};
use karst_core::id::{ConnId, CutNumber, Incarnation, NodeId};
use karst_core::limits::Limits;
use karst_core::machine::{Effects, Job, Machine, OpId, Outcome, Rng};
use karst_core::mail::{Halt, Mail};
use karst_core::metadata::Command;
use karst_core::node::{self, Config, Node, Purpose};
use karst_core::session::{self, Session};
use karst_core::shard::{self, Shard};
use karst_core::store::{StoreCall, StoreResult};
use karst_core::upload::{self, Uploader};
use karst_core::wal::{self, Wal};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Mail of one lane, and jobs of one session, that follow each other within this are told apart by their order.
const SLOT: Duration = Duration::from_millis(1);

/// What a WAL lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalPlace {
    /// The broker's disk.
    Disk,
    /// The bucket, which holds so many bytes of it at most.
    Bucket(u64),
}

impl WalPlace {
    fn fit(self, disk: u64, limits: Limits) -> Result<Limits, String> {
        match self {
            Self::Disk => Wal::fit(disk, limits),
            Self::Bucket(capacity) => Ok(Wal::fit_objects(capacity, limits)),
        }
    }

    fn wal(self, disk: u64, limits: &Limits, rng: &Rng) -> Result<Wal, String> {
        match self {
            Self::Disk => Wal::new(disk, limits),
            Self::Bucket(capacity) => Wal::of_objects(capacity, limits, rng.child("wal")),
        }
    }
}

/// What a broker runs on. All of it but the process outlives it.
#[derive(Clone)]
pub struct Parts {
    /// Its WAL's device.
    pub disk: Disk,
    /// What its WAL lies on.
    pub wal: WalPlace,
    /// The bucket.
    pub store: Store,
    /// Who it is to the bucket.
    pub caller: Caller,
    /// Its place in the network.
    pub net: NetHost,
}

/// A broker of one incarnation, for checkers to look at.
pub struct Broker {
    /// The process that it is.
    pub process: Process,
    /// Partitions, fetches, credit.
    pub shard: Rc<RefCell<Shard>>,
    /// The log.
    pub wal: Rc<RefCell<Wal>>,
    /// Uploads and commits.
    pub uploader: Rc<RefCell<Uploader>>,
    /// Rewrites objects.
    pub compactor: Rc<RefCell<Compactor>>,
    /// The metadata log.
    pub controller: Rc<RefCell<Controller>>,
    /// Start and stop.
    pub node: Rc<RefCell<Node>>,
    wires: Wires,
}

/// Where mail goes, and what the node said of the process.
#[derive(Clone)]
struct Wires(Rc<Inner>);

struct Inner {
    parts: Parts,
    process: Process,
    limits: Limits,
    sessions: RefCell<BTreeMap<ConnId, Address<session::Input>>>,
    shard: Address<shard::Input>,
    wal: Address<wal::Input>,
    uploader: Address<upload::Input>,
    compactor: Address<compaction::Input>,
    controller: Address<controller::Input>,
    node: Address<node::Input>,
    connections: Cell<u64>,
    last_write: Cell<u64>,
    uploading: RefCell<BTreeSet<CutNumber>>,
    /// Until when each mailbox's last mail is on its way, and how long others take.
    lanes: RefCell<(BTreeMap<u64, SimTime>, Fates)>,
    is_slow: bool,
    /// How long jobs take.
    compute: RefCell<Fates>,
    is_ready: Cell<bool>,
    halted: RefCell<Option<Halt>>,
}

impl Broker {
    /// Starts a broker. It listens once it is ready; when it halts, its process is killed.
    ///
    /// # Errors
    /// When the limits don't fit the device.
    pub fn start(
        process: &Process,
        parts: Parts,
        (node, purpose): (NodeId, Purpose),
        limits: &Limits,
        rng: &Rng,
    ) -> Result<Self, String> {
        let (device, place) = (parts.disk.model().size(), parts.wal);
        let limits = &place.fit(device, limits.clone())?;
        let incarnation = Incarnation::draw(&mut rng.child("incarnation"));
        let id = node;
        let config = Config { node, incarnation, host: "broker".into(), port: 9092, purpose };
        let wires = Wires(Rc::new(Inner {
            parts,
            process: process.clone(),
            limits: limits.clone(),
            sessions: RefCell::default(),
            shard: process.mailbox("shard"),
            wal: process.mailbox("wal"),
            uploader: process.mailbox("uploader"),
            compactor: process.mailbox("compactor"),
            controller: process.mailbox("controller"),
            node: process.mailbox("node"),
            connections: Cell::new(0),
            last_write: Cell::new(0),
            uploading: RefCell::default(),
            is_slow: process.world().gate().fires("broker.slow_mail", Chance::percent(50), &mut rng.child("is-slow")),
            lanes: RefCell::new((BTreeMap::new(), Fates::new(&rng.child("lanes"), SLOT))),
            compute: RefCell::new(Fates::new(&rng.child("compute"), SLOT)),
            is_ready: Cell::new(false),
            halted: RefCell::default(),
        }));
        let inner = &wires.0;
        let shard = wires.drive(
            &inner.shard,
            Shard::new(limits, rng.child("shard")).storing_at("bucket"),
            Wires::perform_shard,
        );
        let wal = wires.drive(&inner.wal, place.wal(device, limits, rng)?, Wires::perform_wal);
        let uploader = Uploader::new(limits, rng.child("uploader"));
        let uploader = wires.drive(&inner.uploader, uploader, Wires::perform_uploader);
        let compactor = Compactor::new(limits, rng.child("compactor"));
        let compactor = wires.drive(&inner.compactor, compactor, Wires::perform_compactor);
        let controller = Controller::new(node, incarnation, limits, rng.child("controller"));
        let controller = wires.drive(&inner.controller, controller, Wires::perform_controller);
        let node = wires.drive(&inner.node, Node::new(config, limits, rng.child("node")), Wires::perform_node);
        inner.node.send(node::Input::Start);
        let broker = Self {
            process: process.clone(),
            shard: shard.share(),
            wal: wal.share(),
            uploader: uploader.share(),
            compactor: compactor.share(),
            controller: controller.share(),
            node: node.share(),
            wires,
        };
        probe::watch(&broker, id);
        Ok(broker)
    }

    /// What an operator's SIGTERM does.
    pub fn stop(&self) {
        self.wires.0.node.send(node::Input::Stop);
    }

    /// Whether it serves clients.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.wires.0.is_ready.get() && self.process.is_alive()
    }

    /// Why it ended itself, if it did.
    #[must_use]
    pub fn halted(&self) -> Option<Halt> {
        self.wires.0.halted.borrow().clone()
    }

    /// Sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.wires.0.sessions.borrow().len()
    }

    /// Lets go of what its parts hold of each other. Call it when the process is dead.
    pub fn dismantle(&self) {
        let sessions = self.wires.0.sessions.take();
        drop(sessions);
    }
}

impl Wires {
    fn drive<M: Machine<Input: Describe, Effect: Describe> + Debug + 'static>(
        &self,
        address: &Address<M::Input>,
        machine: M,
        perform: fn(&Self, M::Effect),
    ) -> Owner<M> {
        let wires = self.clone();
        self.0.process.drive(address, machine, move |effect| perform(&wires, effect))
    }

    /// Between threads mail takes its time: each mailbox gets its mail in order, and no two are in step.
    fn carry(&self, mail: Mail) {
        let inner = &self.0;
        if !inner.is_slow {
            return self.deliver(mail);
        }
        let lane = match &mail {
            Mail::Session(conn, _) => 10 + conn.0,
            Mail::Shard(_) => 0,
            Mail::Wal(_) => 1,
            Mail::Uploader(_) => 2,
            Mail::Controller(_) => 3,
            Mail::Node(_) => 4,
            Mail::Compactor(_) => 5,
        };
        let world = inner.process.world();
        let (lanes, fates) = &mut *inner.lanes.borrow_mut();
        let mut rng = fates.draw(world.now(), lane);
        let takes = if rng.chance(1, 20) { rng.between(1_000, 20_000) } else { rng.below(200) };
        let free = lanes.get(&lane).copied().unwrap_or(SimTime::ZERO);
        let at = free.max(world.now().after(Duration::from_micros(takes)));
        lanes.insert(lane, at);
        let wires = self.clone();
        world.at(at, move || wires.deliver(mail));
    }

    fn deliver(&self, mail: Mail) {
        let inner = &self.0;
        match mail {
            Mail::Session(conn, mail) => {
                let session = inner.sessions.borrow().get(&conn).cloned();
                if let Some(session) = session {
                    session.send(session::Input::Mail(mail));
                }
            }
            Mail::Shard(mail) => inner.shard.send(shard::Input::Mail(mail)),
            Mail::Wal(mail) => inner.wal.send(wal::Input::Mail(mail)),
            Mail::Uploader(mail) => inner.uploader.send(upload::Input::Mail(mail)),
            Mail::Compactor(mail) => inner.compactor.send(compaction::Input::Mail(mail)),
            Mail::Controller(mail) => inner.controller.send(controller::Input::Mail(mail)),
            Mail::Node(mail) => inner.node.send(node::Input::Mail(mail)),
        }
    }

    fn perform_shard(&self, effect: shard::Effect) {
        match effect {
            shard::Effect::Mail(mail) => self.carry(mail),
            shard::Effect::Compute(op, job) => self.compute(&self.0.shard, op, &job, shard::Input::Computed),
            shard::Effect::Store(op, call) => {
                let asker = self.0.shard.clone();
                self.call(call, move |result| asker.send(shard::Input::Store(op, result)));
            }
        }
    }

    fn perform_wal(&self, effect: wal::Effect) {
        match effect {
            wal::Effect::Mail(mail) => self.carry(mail),
            wal::Effect::Disk(op, disk) => {
                self.count_laps(&disk);
                let asker = self.0.wal.clone();
                let done = move |result| asker.send(wal::Input::Disk(op, result));
                self.0.parts.disk.submit(&self.0.process, disk, done);
            }
            wal::Effect::Store(op, call) => {
                let asker = self.0.wal.clone();
                self.call(call, move |result| asker.send(wal::Input::Store(op, result)));
            }
        }
    }

    /// A write that lies before the last one has begun the ring again.
    fn count_laps(&self, op: &DiskOp) {
        if let DiskOp::Write { at, .. } = op
            && at.0 >= 2 * SECTOR
            && self.0.last_write.replace(at.0) > at.0
        {
            self.0.process.world().count("wal.wraps");
        }
    }

    fn perform_uploader(&self, effect: upload::Effect) {
        match effect {
            upload::Effect::Mail(mail) => {
                self.count_commits(&mail);
                self.carry(mail);
            }
            upload::Effect::Store(op, call) => {
                let asker = self.0.uploader.clone();
                self.call(call, move |result| asker.send(upload::Input::Store(op, result)));
            }
        }
    }

    fn count_commits(&self, mail: &Mail) {
        match mail {
            Mail::Node(node::Mail::Command(_, Command::Commit(commit))) if !commit.objects.is_empty() => {
                self.0.uploading.borrow_mut().insert(commit.number);
            }
            Mail::Node(node::Mail::CutCommitted(number)) if self.0.uploading.borrow_mut().remove(number) => {
                self.0.process.world().count("uploads.committed");
            }
            _ => {}
        }
    }

    fn perform_compactor(&self, effect: compaction::Effect) {
        match effect {
            compaction::Effect::Mail(mail) => self.carry(mail),
            compaction::Effect::Store(op, call) => {
                let asker = self.0.compactor.clone();
                self.call(call, move |result| asker.send(compaction::Input::Store(op, result)));
            }
        }
    }

    fn perform_controller(&self, effect: controller::Effect) {
        match effect {
            controller::Effect::Mail(mail) => self.carry(mail),
            controller::Effect::Store(op, call) => {
                let asker = self.0.controller.clone();
                self.call(call, move |result| asker.send(controller::Input::Store(op, result)));
            }
        }
    }

    fn perform_node(&self, effect: node::Effect) {
        match effect {
            node::Effect::Mail(mail) => self.carry(mail),
            node::Effect::Store(op, call) => {
                let asker = self.0.node.clone();
                self.call(call, move |result| asker.send(node::Input::Store(op, result)));
            }
            node::Effect::Ready => self.listen(),
            node::Effect::Halt(halt) => {
                let is_done = matches!(halt, Halt::Clean | Halt::NotStarted | Halt::GivenUp);
                self.0.halted.borrow_mut().get_or_insert(halt);
                if is_done { self.0.process.exit() } else { self.0.process.abort() }
            }
        }
    }

    /// A job takes its time; its outcome depends on nothing but the job.
    fn compute<I: 'static>(&self, asker: &Address<I>, op: OpId, job: &Job, done: fn(OpId, Outcome) -> I) {
        let world = self.0.process.world();
        let mut rng = self.0.compute.borrow_mut().draw(world.now(), asker.name());
        let takes = if rng.chance(1, 20) { rng.between(1_000, 100_000) } else { rng.between(10, 1_000) };
        world.count("jobs");
        let (asker, outcome) = (asker.clone(), job.run());
        let at = world.now().after(Duration::from_micros(takes));
        world.at(at, move || asker.send(done(op, outcome)));
    }

    fn call(&self, call: StoreCall, done: impl FnOnce(StoreResult) + 'static) {
        let parts = &self.0.parts;
        parts.store.submit(&self.0.process, parts.caller, call, done);
    }

    fn listen(&self) {
        self.0.is_ready.set(true);
        let wires = self.clone();
        self.0.parts.net.listen(move |connection| {
            let session = wires.open_session(connection);
            Box::new(move |event| match event {
                NetEvent::Opened => {}
                NetEvent::Received(bytes) => session.send(session::Input::Received(bytes)),
                NetEvent::Sent(SendTag(op)) => session.send(session::Input::Sent(OpId(op))),
                NetEvent::Closed(_) => session.send(session::Input::Closed),
            })
        });
    }

    fn open_session(&self, connection: Connection) -> Address<session::Input> {
        let inner = &self.0;
        inner.connections.set(inner.connections.get() + 1);
        let conn = ConnId(inner.connections.get());
        let address = inner.process.mailbox(&format!("session-{conn}"));
        address.always_about(Tag::number("connection", conn.0));
        connection.call_it(Tag::name("connection", format!("{}/{conn}", inner.process.name())));
        inner.sessions.borrow_mut().insert(conn, address.clone());
        let mut session = Session::new(conn, &inner.limits);
        let mut opening = Effects::default();
        // Each connection seems to come from a host of its own.
        let from = format!("/10.{}.{}.{}", (conn.0 >> 16) & 255, (conn.0 >> 8) & 255, conn.0 & 255).into();
        session.opened(inner.process.now(), shard::Arrival { from, at: None }, &mut opening);
        let (wires, own) = (self.clone(), address.clone());
        inner.process.drive(&address, session, move |effect| wires.perform_session(&own, &connection, effect));
        for effect in opening.drain() {
            match effect {
                session::Effect::Mail(mail) => self.carry(mail),
                other => unreachable!("opening a session only sends mail, not {other:?}"),
            }
        }
        address
    }

    fn perform_session(&self, own: &Address<session::Input>, connection: &Connection, effect: session::Effect) {
        match effect {
            session::Effect::Send(OpId(op), data) => connection.send(SendTag(op), data),
            session::Effect::Compute(op, job) => self.compute(own, op, &job, session::Input::Computed),
            session::Effect::Pause => connection.pause(),
            session::Effect::Resume => connection.resume(),
            session::Effect::Close(_) => {
                connection.close();
                own.send(session::Input::Closed);
            }
            session::Effect::Mail(mail) => {
                let over = match &mail {
                    Mail::Shard(shard::Mail::Closed(conn)) => Some(*conn),
                    _ => None,
                };
                self.carry(mail);
                if let Some(conn) = over {
                    own.close();
                    self.0.sessions.borrow_mut().remove(&conn);
                }
            }
        }
    }
}
