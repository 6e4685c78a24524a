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
mod lanes;
mod operations;
mod probe;

use crate::exec::{Address, Connection, Disk, NetHost, Owner, Process, Store};
use crate::fates::Fates;
use crate::fault::Chance;
use crate::net::{NetEvent, SendTag};
use crate::recording::{Describe, Tag};
use crate::store::Caller;
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
use lanes::{Lane, Lanes};
use operations::{Asker, Operations};
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
    /// How long mail takes, if it does.
    lanes: Option<RefCell<Lanes>>,
    operations: Operations,
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
        let gate = process.world().gate();
        let is_slow = gate.fires("broker.slow_mail", Chance::percent(50), &mut rng.child("is-slow"));
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
            lanes: is_slow.then(|| RefCell::new(Lanes::new(&rng.child("lanes")))),
            operations: Operations::default(),
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

    /// Which operation should have completed long ago, in a world without faults.
    #[must_use]
    pub fn overdue(&self) -> Option<String> {
        self.wires.0.operations.overdue(self.process.world().now())
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

    /// Between threads mail takes its time.
    fn carry(&self, mail: Mail) {
        let Some(lanes) = &self.0.lanes else { return self.deliver(mail) };
        let world = self.0.process.world();
        let at = lanes.borrow_mut().arrival(world.now(), Lane::of(&mail));
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
            shard::Effect::Compute(op, job) => {
                self.compute(Asker::Shard, &self.0.shard, op, &job, shard::Input::Computed)
            }
            shard::Effect::Store(op, call) => self.call(Asker::Shard, &self.0.shard, op, call, shard::Input::Store),
        }
    }

    fn perform_wal(&self, effect: wal::Effect) {
        match effect {
            wal::Effect::Mail(mail) => self.carry(mail),
            wal::Effect::Disk(op, disk) => {
                self.count_laps(&disk);
                let done = self.answering(Asker::Wal, &self.0.wal, op, wal::Input::Disk);
                self.0.parts.disk.submit(&self.0.process, disk, done);
            }
            wal::Effect::Store(op, call) => self.call(Asker::Wal, &self.0.wal, op, call, wal::Input::Store),
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
                self.call(Asker::Uploader, &self.0.uploader, op, call, upload::Input::Store)
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
                self.call(Asker::Compactor, &self.0.compactor, op, call, compaction::Input::Store)
            }
        }
    }

    fn perform_controller(&self, effect: controller::Effect) {
        match effect {
            controller::Effect::Mail(mail) => self.carry(mail),
            controller::Effect::Store(op, call) => {
                self.call(Asker::Controller, &self.0.controller, op, call, controller::Input::Store)
            }
        }
    }

    fn perform_node(&self, effect: node::Effect) {
        match effect {
            node::Effect::Mail(mail) => self.carry(mail),
            node::Effect::Store(op, call) => self.call(Asker::Node, &self.0.node, op, call, node::Input::Store),
            node::Effect::Ready => self.listen(),
            node::Effect::Halt(halt) => {
                let is_done = matches!(halt, Halt::Clean | Halt::NotStarted | Halt::GivenUp);
                self.0.halted.borrow_mut().get_or_insert(halt);
                if is_done { self.0.process.exit() } else { self.0.process.abort() }
            }
        }
    }

    /// A job takes its time; its outcome depends on nothing but the job.
    fn compute<I: 'static>(&self, who: Asker, asker: &Address<I>, op: OpId, job: &Job, input: fn(OpId, Outcome) -> I) {
        let world = self.0.process.world();
        let mut rng = self.0.compute.borrow_mut().draw(world.now(), asker.name());
        let takes = if rng.chance(1, 20) { rng.between(1_000, 100_000) } else { rng.between(10, 1_000) };
        world.count("jobs");
        let (done, outcome) = (self.answering(who, asker, op, input), job.run());
        let at = world.now().after(Duration::from_micros(takes));
        world.at(at, move || done(outcome));
    }

    fn call<I: 'static>(
        &self,
        who: Asker,
        asker: &Address<I>,
        op: OpId,
        call: StoreCall,
        input: fn(OpId, StoreResult) -> I,
    ) {
        let parts = &self.0.parts;
        let done = self.answering(who, asker, op, input);
        parts.store.submit(&self.0.process, parts.caller, call, done);
    }

    /// What to do when this operation, which begins now, is done: tell who asked.
    fn answering<I: 'static, R: 'static>(
        &self,
        who: Asker,
        asker: &Address<I>,
        op: OpId,
        input: fn(OpId, R) -> I,
    ) -> impl FnOnce(R) + 'static {
        self.0.operations.begin(self.0.process.world().now(), who, op);
        let (wires, asker) = (self.clone(), asker.clone());
        move |result| {
            wires.end(who, op);
            asker.send(input(op, result));
        }
    }

    fn end(&self, who: Asker, op: OpId) {
        // What a session asked for may be done after it is over.
        let is_over = matches!(who, Asker::Session(conn) if !self.0.sessions.borrow().contains_key(&conn));
        if !is_over {
            self.0.operations.end(who, op);
        }
    }

    fn listen(&self) {
        self.0.is_ready.set(true);
        let wires = self.clone();
        self.0.parts.net.listen(move |connection| {
            let (conn, session) = wires.open_session(connection);
            let wires = wires.clone();
            Box::new(move |event| match event {
                NetEvent::Opened => {}
                NetEvent::Received(bytes) => session.send(session::Input::Received(bytes)),
                NetEvent::Sent(SendTag(op)) => {
                    wires.end(Asker::Session(conn), OpId(op));
                    session.send(session::Input::Sent(OpId(op)));
                }
                NetEvent::Closed(_) => session.send(session::Input::Closed),
            })
        });
    }

    fn open_session(&self, connection: Connection) -> (ConnId, Address<session::Input>) {
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
        inner.process.drive(&address, session, move |effect| wires.perform_session(conn, &own, &connection, effect));
        for effect in opening.drain() {
            match effect {
                session::Effect::Mail(mail) => self.carry(mail),
                other => unreachable!("opening a session only sends mail, not {other:?}"),
            }
        }
        (conn, address)
    }

    fn perform_session(
        &self,
        conn: ConnId,
        own: &Address<session::Input>,
        connection: &Connection,
        effect: session::Effect,
    ) {
        let who = Asker::Session(conn);
        match effect {
            session::Effect::Send(op, data) => {
                self.0.operations.begin(self.0.process.world().now(), who, op);
                connection.send(SendTag(op.0), data);
            }
            session::Effect::Compute(op, job) => self.compute(who, own, op, &job, session::Input::Computed),
            session::Effect::Pause => connection.pause(),
            session::Effect::Resume => connection.resume(),
            session::Effect::Close(_) => {
                connection.close();
                own.send(session::Input::Closed);
            }
            session::Effect::Mail(mail) => {
                let is_over = matches!(mail, Mail::Shard(shard::Mail::Closed(_)));
                self.carry(mail);
                if is_over {
                    own.close();
                    self.0.sessions.borrow_mut().remove(&conn);
                    self.0.operations.forget(conn);
                }
            }
        }
    }
}
