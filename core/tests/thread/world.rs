//! The smallest world: one thread, everything at once.

use karst_core::compaction::{self, Compactor};
use karst_core::controller::{self, Controller};
use karst_core::disk::{DiskDone, DiskOp, DiskResult};
use karst_core::id::{ClusterId, ConnId, Incarnation, NodeId};
use karst_core::kafka::Request;
use karst_core::limits::Limits;
use karst_core::machine::{Effects, Instant, Machine, Now, Payload, Rng, WallTime};
use karst_core::mail::{Halt, Mail};
use karst_core::metadata::ObjectState;
use karst_core::node::{self, Node, Purpose};
use karst_core::session::{self, Answer, Numbered, RequestNumber};
use karst_core::shard::{self, Shard};
use karst_core::store::{ETag, Found, Key, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use karst_core::upload::{self, Uploader};
use karst_core::wal::{self, Wal};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What outlives a broker.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) disk: Vec<u8>,
    bucket: BTreeMap<Key, (u64, Vec<u8>)>,
    puts: u64,
    starts: u64,
}

impl Storage {
    /// A blank disk of so many bytes, and an empty bucket.
    pub(crate) fn new(disk: usize) -> Self {
        Self { disk: vec![0; disk], bucket: BTreeMap::new(), puts: 0, starts: 0 }
    }

    /// The same for another broker, whose randomness differs.
    pub(crate) fn another(disk: usize) -> Self {
        Self { starts: 1000, ..Self::new(disk) }
    }

    /// Another bucket for this disk.
    pub(crate) fn with_bucket_of(self, other: &Self) -> Self {
        Self { bucket: other.bucket.clone(), ..self }
    }

    /// Another disk for this bucket.
    pub(crate) fn with_disk_of(self, other: &Self) -> Self {
        Self { disk: other.disk.clone(), ..self }
    }

    /// Whether nothing differs.
    pub(crate) fn holds_what(&self, other: &Self) -> bool {
        (&self.disk, &self.bucket) == (&other.disk, &other.bucket)
    }

    fn on_disk(&mut self, op: DiskOp) -> DiskResult {
        Ok(match op {
            DiskOp::Read { at, len } => {
                DiskDone::Read(Payload(self.disk[at.0 as usize..at.0 as usize + len].to_vec().into()))
            }
            DiskOp::Write { at, data } => {
                let data = data.to_bytes();
                self.disk[at.0 as usize..at.0 as usize + data.len()].copy_from_slice(&data);
                DiskDone::Written
            }
        })
    }

    /// Without a disk, the log is in the bucket.
    fn wal(&self, limits: &Limits, rng: &Rng) -> Wal {
        match self.disk.len() as u64 {
            0 => Wal::of_objects(1 << 20, limits, rng.child("wal")).expect("it is large enough"),
            len => Wal::new(len, limits).expect("the disk is large enough"),
        }
    }

    /// The length of each WAL object in the bucket.
    pub(crate) fn wal_objects(&self) -> Vec<usize> {
        let all = self.bucket.iter().filter(|(key, _)| key.0.starts_with("wal/"));
        all.map(|(_, (_, body))| body.len()).collect()
    }

    /// Something of a WAL object's is another byte.
    pub(crate) fn damage_wal_object(&mut self) {
        let found = self.bucket.iter_mut().find(|(key, _)| key.0.starts_with("wal/"));
        let (_, (_, body)) = found.expect("there is one");
        body[100] ^= 1;
    }

    fn in_bucket(&mut self, op: StoreOp) -> StoreResult {
        match op {
            StoreOp::Put { key, body, only_if } => {
                let there = self.bucket.get(&key).map(|(version, _)| ETag(version.to_string()));
                let holds = match only_if {
                    Precondition::Absent => there.is_none(),
                    Precondition::Is(etag) => there == Some(etag),
                };
                if !holds {
                    return Err(StoreError::Exists);
                }
                self.puts += 1;
                self.bucket.insert(key, (self.puts, body.to_bytes().to_vec()));
                Ok(StoreDone::Put { etag: ETag(self.puts.to_string()) })
            }
            StoreOp::Get { key, span } => {
                let (version, body) = self.bucket.get(&key).ok_or(StoreError::Missing)?;
                let total = body.len();
                let (from, to) = match span {
                    Span::Whole => (0, total),
                    Span::Range { at, len } => ((at as usize).min(total), (at + len).min(total as u64) as usize),
                    Span::Last { len } => (total - (len as usize).min(total), total),
                };
                let body = Payload(body[from..to].to_vec().into());
                Ok(StoreDone::Got { body, etag: ETag(version.to_string()), total: total as u64 })
            }
            StoreOp::Delete { key } => {
                self.bucket.remove(&key);
                Ok(StoreDone::Deleted)
            }
            StoreOp::List { prefix, after, max } => {
                let all = self.bucket.iter().filter(|(key, _)| key.0.starts_with(&prefix.0));
                let mut rest = all.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let found = rest.by_ref().take(max);
                let found = found.map(|(key, (_, body))| Found { key: key.clone(), len: body.len() as u64 }).collect();
                Ok(StoreDone::Listed { found, more: rest.next().is_some() })
            }
        }
    }
}

/// A broker and what it runs on.
pub(crate) struct World {
    storage: Storage,
    now: Now,
    mail: VecDeque<Mail>,
    shard: Shard,
    wal: Wal,
    uploader: Uploader,
    compactor: Compactor,
    controller: Controller,
    node: Node,
    answers: VecDeque<Answer>,
    asked: u64,
    ready: bool,
    halted: Option<Halt>,
}

/// Hands an input to a machine, checks it, and performs what it wants.
macro_rules! step {
    ($world:ident, $machine:ident, $input:expr, $module:ident $(, $effect:pat => $perform:expr)*) => {{
        let mut out = Effects::default();
        $world.$machine.handle($world.now, $input, &mut out);
        $world.$machine.invariants();
        for effect in out.drain().collect::<Vec<_>>() {
            match effect {
                $module::Effect::Mail(mail) => $world.mail.push_back(mail),
                $($effect => $perform,)*
            }
        }
    }};
}

impl World {
    /// Starts a broker and waits until it serves.
    pub(crate) fn start(storage: Storage) -> Self {
        let world = Self::begin(storage, Purpose::Serve);
        assert!(world.ready, "the broker does not serve: {:?}", world.halted);
        world
    }

    /// Starts a broker that refuses to serve: why, and what it leaves.
    pub(crate) fn refuse(storage: Storage) -> (Halt, Storage) {
        Self::end_of(storage, Purpose::Serve)
    }

    /// Starts a broker that is not to serve: how it ends, and what it leaves.
    pub(crate) fn end_of(storage: Storage, purpose: Purpose) -> (Halt, Storage) {
        let world = Self::begin(storage, purpose);
        assert!(!world.ready, "the broker serves");
        (world.halted.expect("a broker that does not serve halts"), world.storage)
    }

    fn begin(mut storage: Storage, purpose: Purpose) -> Self {
        storage.starts += 1;
        let wal_object_interval = Duration::ZERO;
        let limits = Limits { batch: 16 << 10, wal_block: 16 << 10, wal_object_interval, ..Limits::default() };
        let rng = Rng::new(storage.starts);
        let node = NodeId(1);
        let incarnation = Incarnation::draw(&mut rng.child("incarnation"));
        let config = node::Config { node, incarnation, host: "localhost".into(), port: 9092, purpose };
        let mut world = Self {
            shard: Shard::new(&limits, rng.child("shard")),
            wal: storage.wal(&limits, &rng),
            uploader: Uploader::new(&limits, rng.child("uploader")),
            compactor: Compactor::new(&limits, rng.child("compactor")),
            controller: Controller::new(node, incarnation, &limits, rng.child("controller")),
            node: Node::new(config, &limits, rng.child("node")),
            storage,
            now: Now { mono: Instant(0), wall: WallTime(1_000_000) },
            mail: VecDeque::new(),
            answers: VecDeque::new(),
            asked: 0,
            ready: false,
            halted: None,
        };
        world.tell_node(node::Input::Start);
        world.settle();
        world
    }

    /// Asks the shard, and waits for the answer.
    pub(crate) fn ask(&mut self, conn: ConnId, request: Request) -> Answer {
        self.asked += 1;
        let numbered = Numbered { number: RequestNumber(self.asked), request };
        self.tell_shard(shard::Input::Mail(shard::Mail::Request(conn, numbered)));
        self.settle();
        self.answers.pop_front().expect("every request is answered when nothing is slow")
    }

    /// The broker is gone; what it runs on is not.
    pub(crate) fn crash(self) -> Storage {
        self.storage
    }

    /// Stops the broker as an operator does.
    pub(crate) fn stop(mut self) -> Storage {
        self.tell_node(node::Input::Stop);
        self.settle();
        assert_eq!(self.halted, Some(Halt::Clean));
        self.storage
    }

    /// Lets time pass, in steps in which everything due is done.
    pub(crate) fn pass(&mut self, duration: Duration) {
        for _ in 0..100 {
            self.now.mono = self.now.mono.after(duration / 100);
            self.tick();
            self.settle();
        }
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.node.image().expect("a broker that started has an image").cluster
    }

    /// Data objects that the metadata knows.
    pub(crate) fn committed_objects(&self) -> usize {
        let image = self.node.image().expect("a broker that started has an image");
        image.objects.values().filter(|object| matches!(object.state, ObjectState::Live(_))).count()
    }

    fn settle(&mut self) {
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::Session(_, session::Mail::Answer { answer, .. }) => self.answers.push_back(answer),
                Mail::Session(..) => {}
                Mail::Shard(mail) => self.tell_shard(shard::Input::Mail(mail)),
                Mail::Wal(mail) => self.tell_wal(wal::Input::Mail(mail)),
                Mail::Uploader(mail) => self.tell_uploader(upload::Input::Mail(mail)),
                Mail::Compactor(mail) => self.tell_compactor(compaction::Input::Mail(mail)),
                Mail::Controller(mail) => self.tell_controller(controller::Input::Mail(mail)),
                Mail::Node(mail) => self.tell_node(node::Input::Mail(mail)),
            }
        }
    }

    fn tick(&mut self) {
        if self.shard.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_shard(Shard::tick());
        }
        if self.wal.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_wal(Wal::tick());
        }
        if self.uploader.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_uploader(Uploader::tick());
        }
        if self.compactor.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_compactor(Compactor::tick());
        }
        if self.controller.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_controller(Controller::tick());
        }
        if self.node.deadline().is_some_and(|due| due.at <= self.now.mono) {
            self.tell_node(Node::tick());
        }
    }

    fn tell_shard(&mut self, input: shard::Input) {
        step!(self, shard, input, shard, shard::Effect::Store(op, call) => {
            let result = self.call(call);
            self.tell_shard(shard::Input::Store(op, result));
        }, shard::Effect::Compute(op, job) => self.tell_shard(shard::Input::Computed(op, job.run())));
    }

    fn tell_wal(&mut self, input: wal::Input) {
        step!(self, wal, input, wal, wal::Effect::Disk(op, disk) => {
            let result = self.storage.on_disk(disk);
            self.tell_wal(wal::Input::Disk(op, result));
        }, wal::Effect::Store(op, call) => {
            let result = self.call(call);
            self.tell_wal(wal::Input::Store(op, result));
        });
    }

    fn tell_uploader(&mut self, input: upload::Input) {
        step!(self, uploader, input, upload, upload::Effect::Store(op, call) => {
            let result = self.call(call);
            self.tell_uploader(upload::Input::Store(op, result));
        });
    }

    fn tell_compactor(&mut self, input: compaction::Input) {
        step!(self, compactor, input, compaction, compaction::Effect::Store(op, call) => {
            let result = self.call(call);
            self.tell_compactor(compaction::Input::Store(op, result));
        });
    }

    fn tell_controller(&mut self, input: controller::Input) {
        step!(self, controller, input, controller, controller::Effect::Store(op, call) => {
            let result = self.call(call);
            self.tell_controller(controller::Input::Store(op, result));
        });
    }

    fn tell_node(&mut self, input: node::Input) {
        step!(self, node, input, node,
            node::Effect::Store(op, call) => {
                let result = self.call(call);
                self.tell_node(node::Input::Store(op, result));
            },
            node::Effect::Ready => self.ready = true,
            node::Effect::Halt(halt) => self.halted = Some(halt));
    }

    fn call(&mut self, call: StoreCall) -> StoreResult {
        self.storage.in_bucket(call.op)
    }
}
