//! The broker's host: its process comes and goes, its disk and its bucket stay.

use super::clients::BROKER;
use super::{Judge, checks};
use crate::plan::Numbers;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::id::NodeId;
use karst_core::limits::Limits;
use karst_core::machine::Rng;
use karst_core::mail::Halt;
use karst_runtime_sim::broker::{self, Broker};
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::disk::{DiskKnobs, SimDisk};
use karst_runtime_sim::exec::{Disk, Net, Store, World};
use karst_runtime_sim::net::SimNet;
use karst_runtime_sim::seed::SeedTree;
use karst_runtime_sim::store::{Caller, Mode, SimStore};
use std::cell::RefCell;
use std::rc::Rc;

const NODE: u32 = 1;
const CALLER: Caller = Caller(NODE);

/// What a crash is aimed at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    Disk,
    Bucket,
}

pub(super) struct Host {
    world: World,
    tree: SeedTree,
    judge: Judge,
    limits: Limits,
    calm: DiskKnobs,
    disk: Disk,
    store: Store,
    net: Net,
    nemesis: Rng,
    clock: NodeClock,
    incarnations: u32,
    broker: Option<Broker>,
    /// The disk's errors when it started.
    errors_before: u64,
    /// The store answered nothing for a while, at some time.
    had_outage: bool,
    /// What the last incarnation had in flight was decided.
    was_buried: bool,
    watched: checks::Watched,
}

impl Host {
    pub(super) fn new(world: &World, numbers: &Numbers, tree: &SeedTree, judge: Judge) -> Self {
        let disk = SimDisk::new(numbers.ring, numbers.disk(), &tree.disk(NODE));
        let store = Store::new(world, SimStore::new(numbers.store(), &tree.store()));
        let watched: checks::Watched = Rc::new(RefCell::new(None));
        checks::watch_bucket(world, &store, &watched);
        Self {
            limits: numbers.limits(),
            calm: Numbers { disk_low: numbers.disk_low, disk_high: numbers.disk_high, ..Numbers::default() }.disk(),
            disk: Disk::new(world, disk),
            store,
            net: Net::new(world, SimNet::new(numbers.net(), tree.net())),
            nemesis: tree.nemesis(),
            clock: NodeClock::draw(world.now(), numbers.clock(), &mut tree.clock(NODE)),
            incarnations: 0,
            broker: None,
            errors_before: 0,
            had_outage: false,
            was_buried: true,
            world: world.clone(),
            tree: tree.clone(),
            judge,
            watched,
        }
    }

    pub(super) fn net(&self) -> Net {
        self.net.clone()
    }

    /// Starts the broker, unless it is up.
    pub(super) fn start(&mut self) {
        if self.is_up() {
            return;
        }
        // One that ended itself a moment ago, unseen.
        if self.broker.as_ref().is_some_and(|broker| broker.halted().is_some() && !self.was_buried) {
            self.after_death();
        }
        self.was_buried = false;
        self.errors_before = self.disk_errors();
        self.let_go();
        self.incarnations += 1;
        let clock = self.clock.restarted(self.world.now());
        let process = self.world.start_process(&format!("broker-{}", self.incarnations), clock);
        let parts = broker::Host {
            disk: self.disk.clone(),
            store: self.store.clone(),
            caller: CALLER,
            net: self.net.attach(&process, BROKER),
        };
        let rng = self.tree.core(NODE, self.incarnations);
        match Broker::start(&process, parts, NodeId(NODE), &self.limits, &rng) {
            Ok(broker) => {
                *self.watched.borrow_mut() = Some(broker.controller.clone());
                self.broker = Some(broker);
                self.world.count("broker.starts");
            }
            Err(why) => self.world.fail("plan-fits", "world", why),
        }
    }

    /// Whether something is on its way to the disk, or to the bucket: when a crash is most telling. Which of the two
    /// is drawn for each crash.
    pub(super) fn is_busy(&self, aim: Aim) -> bool {
        match aim {
            Aim::Disk => self.disk.model().in_flight() > 0,
            Aim::Bucket => self.store.model().in_flight() > 0,
        }
    }

    pub(super) fn draw_aim(&mut self) -> Aim {
        if self.nemesis.chance(1, 2) { Aim::Disk } else { Aim::Bucket }
    }

    /// `kill -9`, and a power failure for what its disk has in flight.
    pub(super) fn kill(&mut self) {
        if let Some(broker) = self.broker.as_ref().filter(|broker| broker.process.is_alive()) {
            self.clock = broker.process.next_clock();
            broker.process.kill();
            self.world.count("broker.crashes");
            self.after_death();
        }
    }

    /// A broker that ended itself must have had a reason. It is started again.
    pub(super) fn supervise(&mut self) {
        if self.is_up() || self.broker.is_none() {
            return;
        }
        match self.halted() {
            Some(Halt::WalRefused(why)) if !self.judge.is_damaged() => {
                self.world.fail("wal-refused", "node", format!("the broker refuses an undamaged WAL: {why}"));
            }
            Some(Halt::WalRefused(_)) => return,
            Some(Halt::NotStarted) => self.world.count("broker.stops-early"),
            Some(Halt::Clean) => self.world.count("broker.stops-clean"),
            Some(Halt::WalPoisoned(why)) => {
                self.world.count("broker.stops-poisoned");
                self.demand(self.disk_errors() > self.errors_before, "wal-poisoned", &why);
            }
            Some(Halt::WalUnreadable(why)) => {
                self.world.count("broker.stops-unreadable");
                self.demand(self.disk_errors() > self.errors_before, "wal-unreadable", &why);
            }
            Some(Halt::Bucket(why)) => {
                self.world.count("broker.stops-bucket");
                self.demand(self.had_outage, "bucket-refused", &why);
            }
            // There is one broker: nobody can have taken its place.
            Some(Halt::Fenced(why)) => self.demand(false, "fenced", &why),
            None => return,
        }
        self.after_death();
        self.start();
    }

    /// A broker ends itself only for a fault that was injected.
    fn demand(&self, is_explained: bool, invariant: &str, why: &str) {
        if !is_explained {
            self.world.fail(invariant, "node", format!("the broker ended itself without cause: {why}"));
        }
    }

    fn disk_errors(&self) -> u64 {
        let model = self.disk.model();
        ["disk.read_error", "disk.write_error", "disk.no_space"].iter().map(|kind| model.fired().get(kind)).sum()
    }

    fn after_death(&mut self) {
        self.disk.crash(&mut self.nemesis);
        self.store.crash(CALLER, &mut self.nemesis);
        self.was_buried = true;
        self.let_go();
    }

    pub(super) fn stop(&self) {
        if let Some(broker) = &self.broker {
            broker.stop();
        }
    }

    pub(super) fn pause(&self) {
        if let Some(broker) = &self.broker {
            broker.process.pause();
            self.world.count("broker.pauses");
        }
    }

    pub(super) fn resume(&self) {
        if let Some(broker) = &self.broker {
            broker.process.resume();
        }
    }

    pub(super) fn begin_outage(&mut self) {
        self.had_outage = true;
        self.store.model().set_mode(Mode::Outage);
        self.world.count("store.outage");
    }

    pub(super) fn fill_store(&mut self) {
        self.had_outage = true;
        self.store.model().set_mode(Mode::NoSpace);
        self.world.count("store.full");
    }

    pub(super) fn end_outage(&self) {
        self.store.model().set_mode(Mode::Normal);
    }

    pub(super) fn jump_clock(&self, by_ms: i64) {
        if let Some(broker) = self.broker.as_ref().filter(|broker| broker.process.is_alive()) {
            broker.process.jump_wall_clock(by_ms);
            self.world.count("clock.jump");
        }
    }

    /// Damages a sector of the ring, at that part of the device.
    pub(super) fn rot(&self, place: u64) {
        let size = self.disk.model().size();
        let sectors = size / SECTOR - 2;
        let sector = 2 + place * sectors / 1_000_000;
        self.disk.model().rot(self.world.now(), DevicePos(sector * SECTOR), SECTOR);
    }

    /// No more faults, and the broker is up.
    pub(super) fn heal(&mut self) {
        self.resume();
        self.end_outage();
        self.store.model().heal();
        self.disk.model().set_knobs(self.calm);
        if !self.judge.is_damaged() {
            self.disk.model().heal();
        }
        self.supervise();
        self.start();
    }

    pub(super) fn is_up(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.process.is_alive())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.broker.as_ref().is_some_and(Broker::is_ready)
    }

    pub(super) fn halted(&self) -> Option<Halt> {
        self.broker.as_ref().and_then(Broker::halted)
    }

    /// What is still to be done before everything is quiet.
    pub(super) fn pending(&self) -> Option<String> {
        let Some(broker) = self.broker.as_ref().filter(|broker| broker.is_ready()) else {
            return Some("the broker does not serve".into());
        };
        checks::pending(broker, &self.store)
    }

    pub(super) fn state(&self) -> String {
        match &self.broker {
            None => "no broker".into(),
            Some(broker) => format!("ready {}, halted {:?}", broker.is_ready(), broker.halted()),
        }
    }

    pub(super) fn dismantle(&mut self) {
        self.let_go();
        self.broker = None;
        self.watched.borrow_mut().take();
    }

    fn let_go(&self) {
        if let Some(broker) = self.broker.as_ref().filter(|broker| !broker.process.is_alive()) {
            broker.dismantle();
        }
    }
}
