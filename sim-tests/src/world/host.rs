//! The broker's host: its process comes and goes, its disk and its bucket stay.

use super::Judge;
use super::aim::Aim;
use super::checks;
use super::clients::BROKER;
use super::coverage;
use super::ledger::Ledger;
use super::loss::{Heard, Lost, Verdict};
use super::marksman::Marksman;
use super::rival::{RIVAL, Rival};
use super::rot::{self, Rot};
use super::sizes::COLUMNS;
use super::troubles::Troubles;
use super::zombie::Zombie;
use crate::plan::Numbers;
use bytes::Bytes;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::id::NodeId;
use karst_core::limits::Limits;
use karst_core::machine::Rng;
use karst_core::mail::Halt;
use karst_core::node::Purpose;
use karst_core::wal::ring::header::{Header, SLOTS};
use karst_runtime_sim::broker::{self, Broker, WalPlace};
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::disk::{DiskKnobs, Image, SimDisk};
use karst_runtime_sim::exec::{Disk, Net, Store, World};
use karst_runtime_sim::fault::Label;
use karst_runtime_sim::net::SimNet;
use karst_runtime_sim::seed::SeedTree;
use karst_runtime_sim::store::{Caller, Mode, SimStore};
use std::rc::Rc;
use std::time::Duration;

/// Who the broker is.
pub(super) const NODE: NodeId = NodeId(1);
const CALLER: Caller = Caller(NODE.0);

/// What the disk counts for which a broker may end itself.
const DISK_ERRORS: [&str; 3] = ["disk.read_error", "disk.write_error", "disk.no_space"];
/// What the store counts besides requests that failed.
const STORE_EFFECTS: [&str; 3] = ["store.done_despite_error", "store.late", "store.lost_with_caller"];

pub(super) struct Host {
    world: World,
    tree: SeedTree,
    limits: Limits,
    calm: DiskKnobs,
    disk: Disk,
    wal: WalPlace,
    store: Store,
    net: Net,
    nemesis: Rng,
    clock: NodeClock,
    incarnations: u32,
    broker: Option<Rc<Broker>>,
    marksman: Marksman,
    ledger: Ledger,
    /// It was asked why the last incarnation ended itself.
    was_examined: bool,
    /// The disk's errors when it started.
    errors_before: u64,
    /// Heads that others had put when it started.
    rivals_before: u64,
    troubles: Troubles,
    /// Of which it is not known yet what the broker makes of it.
    rot: Option<Rot>,
    /// What the last incarnation was started for.
    purpose: Purpose,
    /// A disk that is lost, or that somebody takes to be.
    lost: Option<Lost>,
    heard: Heard,
    judge: Judge,
    rival: Option<Rival>,
    rivals: u32,
    zombie: Option<Zombie>,
}

impl Host {
    pub(super) fn new(world: &World, numbers: &Numbers, tree: &SeedTree, judge: Judge) -> Self {
        let limits = numbers.limits();
        let disk = Disk::new(world, SimDisk::new(numbers.ring, numbers.disk(), &tree.disk(NODE.0)));
        let store = Store::new(world, SimStore::new(numbers.store(), &tree.store()));
        let nemesis = tree.nemesis();
        Self {
            calm: Numbers { disk_low: numbers.disk_low, disk_high: numbers.disk_high, ..Numbers::default() }.disk(),
            net: Net::new(world, SimNet::new(numbers.net(), tree.net())),
            clock: NodeClock::draw(world.now(), numbers.clock(), &mut tree.clock(NODE.0)),
            incarnations: 0,
            broker: None,
            marksman: Marksman::new(world, &disk, &store, CALLER, nemesis.child("marksman")),
            ledger: Ledger::watch(world, &store),
            was_examined: true,
            errors_before: 0,
            rivals_before: 0,
            troubles: Troubles::new(limits.store_attempt, limits.drain),
            rot: None,
            purpose: Purpose::Serve,
            lost: None,
            heard: Heard::default(),
            judge,
            rival: None,
            rivals: 0,
            zombie: None,
            world: world.clone(),
            tree: tree.clone(),
            limits,
            disk,
            wal: numbers.wal_place(),
            store,
            nemesis,
        }
    }

    pub(super) fn net(&self) -> Net {
        self.net.clone()
    }

    /// A disturbance of the plan begins: from now on fates are drawn for it alone, whatever was drawn for others.
    pub(super) fn face(&mut self, planned: Duration) {
        self.nemesis = self.tree.nemesis().child(&format!("at/{}", planned.as_micros()));
        self.marksman.face(self.nemesis.child("marksman"));
    }

    /// Starts the broker, unless it is up.
    pub(super) fn start(&mut self) {
        if self.is_up() {
            return;
        }
        // It may have ended itself a moment ago, unseen.
        self.examine();
        let Some(purpose) = self.next_purpose() else { return };
        self.purpose = purpose;
        self.was_examined = false;
        self.errors_before = self.disk_errors();
        self.rivals_before = self.ledger.heads_of_others(CALLER);
        self.troubles.started();
        self.let_go();
        self.incarnations += 1;
        let clock = self.clock.restarted(self.world.now());
        let process = self.world.start_process(&format!("broker-{}", self.incarnations), clock);
        let parts = broker::Parts {
            disk: self.disk.clone(),
            wal: self.wal,
            store: self.store.clone(),
            caller: CALLER,
            net: self.net.attach(&process, BROKER),
        };
        let rng = self.tree.core(NODE.0, self.incarnations);
        match Broker::start(&process, parts, (NODE, purpose), &self.limits, &rng) {
            Ok(broker) => {
                let broker = Rc::new(broker);
                self.marksman.follow(&broker, self.incarnations);
                self.broker = Some(broker);
                self.world.count("broker.starts");
                if purpose != Purpose::Serve && self.nemesis.chance(1, 3) {
                    self.aim();
                }
            }
            Err(why) => self.world.fail("plan-fits", "world", why),
        }
    }

    /// Lies in wait for the broker, which serves or starts.
    pub(super) fn aim(&mut self) {
        let aim = if self.is_ready() { Aim::draw(&mut self.nemesis) } else { Aim::draw_at_start(&mut self.nemesis) };
        self.marksman.aim(aim);
    }

    /// Somebody takes the broker for dead, which stands still, and starts another in its place.
    pub(super) fn overtake(&mut self) {
        self.bury_zombie();
        if self.wal == WalPlace::Disk || !self.is_ready() || self.troubles.is_asked_to_stop() {
            return;
        }
        let Some(broker) = self.broker.take() else { return };
        self.world.count("broker.overtaken");
        self.marksman.let_go();
        self.clock = broker.process.next_clock();
        self.was_examined = true;
        self.zombie = Some(Zombie::make(broker, &self.net));
        self.start();
    }

    /// What was taken for dead goes on.
    pub(super) fn resume_zombie(&self) {
        if let Some(zombie) = &self.zombie {
            zombie.resume();
        }
    }

    /// And ends, at the latest now.
    fn bury_zombie(&mut self) {
        if let Some(Err(amiss)) = self.zombie.take().map(Zombie::end) {
            self.world.fail("fenced-acknowledges-nothing", "world", amiss);
        }
    }

    /// Whether the start after a crash is to crash as well.
    pub(super) fn draws_another(&mut self) -> bool {
        self.nemesis.chance(1, 3)
    }

    /// `kill -9`, and a power failure for what its disk has in flight.
    pub(super) fn kill(&mut self) {
        self.marksman.kill();
    }

    /// What is to be seen from outside, and a new start for a broker that ended itself: it must have had a reason.
    pub(super) fn supervise(&mut self) {
        if self.zombie.as_ref().is_some_and(|zombie| zombie.halted().is_some()) {
            self.world.count("broker.zombie-halts");
            self.bury_zombie();
        }
        self.troubles.observe(self.world.now(), self.store_failures());
        if self.is_up() {
            self.look();
        } else if self.halted().is_some() || self.lost.is_some() {
            if !self.was_examined {
                self.examine();
                self.world.remark("supervisor", || "finds that the broker ended itself, and starts it again".into());
            }
            self.start();
        }
    }

    /// What the broker is to be started for; `None` while an operator is not there yet.
    fn next_purpose(&mut self) -> Option<Purpose> {
        if let Some(broker) = &self.broker {
            self.heard.learn(&broker.shard.borrow());
        }
        let Some(lost) = &mut self.lost else { return Some(Purpose::Serve) };
        if let Some(image) = self.ledger.image().filter(|image| lost.is_given_up(image)) {
            self.heard.lose(&self.world, &self.judge, &image);
            self.lost = None;
            return Some(Purpose::Serve);
        }
        lost.next(self.world.now(), &self.ledger)
    }

    /// The disk is another one from now on, which is blank; or an operator thinks so.
    pub(super) fn lose_disk(&mut self) {
        if self.wal != WalPlace::Disk {
            // Nothing was on it.
            return self.disk.model().replace(Image::default());
        }
        self.examine();
        self.disk.model().mend();
        self.rot = None;
        let now = self.world.now();
        let known = self.ledger.image().and_then(|image| Some(image.nodes.get(&NODE)?.epochs.values().next()?.wal));
        if let Some(wal) = known.filter(|_| self.nemesis.chance(1, 4)) {
            self.world.remark("operator", || "takes the disk for lost, although it is there".into());
            self.lost = Some(Lost::nothing(now, wal));
            return;
        }
        self.world.count("disk.lost");
        self.world.remark("nemesis", || "takes the disk away, and leaves a blank one".into());
        self.disk.model().replace(Image::default());
        self.lost = Some(Lost::disk(now, &mut self.nemesis));
    }

    /// Whether an operator has something to do about a disk.
    pub(super) fn has_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// What it lives by must be durable, and what is rotten must not have passed unnoticed.
    fn look(&mut self) {
        let Some(broker) = &self.broker else { return };
        if let (Some(zombie), Some(image)) = (&mut self.zombie, self.ledger.image().filter(|_| broker.is_ready())) {
            zombie.succeeded(&image);
        }
        if let Some(early) = checks::heard_too_early(broker, &self.ledger) {
            self.world.fail("heard-is-durable", "world", early);
        }
        // Nothing was to lose, or else the oracle will tell.
        self.lost.take_if(|_| broker.is_ready());
        if let Some(rot) = self.rot.take_if(|_| broker.is_ready()) {
            self.world.count("rot.survived");
            if rot.label == Label::MustDetect {
                let message = format!("acknowledged records rot at {} of the device, and the broker serves", rot.at.0);
                self.world.fail("rot-is-detected", "world", message);
            }
        }
    }

    /// A broker that ended itself must have had a reason.
    fn examine(&mut self) {
        if self.was_examined || self.is_up() {
            return;
        }
        self.was_examined = true;
        if let Some(broker) = &self.broker {
            self.clock = broker.process.next_clock();
        }
        let Some(halt) = self.halted() else { return };
        self.marksman.bury();
        let has_failed = self.disk_errors() > self.errors_before;
        let (count, is_explained, invariant, why) = match halt {
            Halt::NotStarted => {
                ("broker.stops-early", self.troubles.is_asked_to_stop(), "stops-when-asked", String::new())
            }
            Halt::Clean => ("broker.stops-clean", self.troubles.is_asked_to_stop(), "stops-when-asked", String::new()),
            Halt::GivenUp => {
                ("broker.stops-given-up", self.gave_up(has_failed), "gives-up-what-is-lost", String::new())
            }
            Halt::WalRefused(why) => ("broker.stops-refused", self.refused(&why), "wal-refused", why),
            Halt::WalPoisoned(why) => ("broker.stops-poisoned", has_failed, "wal-poisoned", why),
            Halt::WalUnreadable(why) => ("broker.stops-unreadable", has_failed, "wal-unreadable", why),
            Halt::Bucket(why) => {
                let gave_up = self.troubles.explain_giving_up(self.world.now());
                ("broker.stops-bucket", gave_up, "bucket-refused", why)
            }
            Halt::Fenced(why) => {
                let has_rival = self.ledger.heads_of_others(CALLER) > self.rivals_before;
                ("broker.stops-fenced", has_rival, "fenced", why)
            }
        };
        self.world.count(count);
        if !is_explained {
            self.world.fail(invariant, "node", format!("the broker ended itself without cause: {why}"));
        }
    }

    fn gave_up(&self, has_failed: bool) -> bool {
        let (Purpose::GiveUp { wal, .. }, Some(lost)) = (self.purpose, &self.lost) else { return false };
        lost.gave_up(wal, has_failed) == Verdict::Right
    }

    /// The broker refuses its WAL, or to give it up, for that reason.
    fn refused(&mut self, why: &str) -> bool {
        let image = self.ledger.image();
        let verdict = match (&mut self.lost, self.purpose) {
            (None, _) => Verdict::Unrelated,
            (Some(lost), Purpose::Serve) => lost.refused(why, image.as_deref()),
            (Some(lost), Purpose::GiveUp { wal, .. }) => lost.kept(wal, image.as_deref()),
        };
        drop(image);
        self.lost.take_if(|lost| lost.was_nothing());
        if verdict == Verdict::Unrelated { self.restore() } else { verdict == Verdict::Right }
    }

    /// The broker refuses its WAL. If it is right, the operator does what it says: he restores what was rotten, or
    /// clears a device on which nothing but a torn first header ever was.
    fn restore(&mut self) -> bool {
        if let Some(rot) = self.rot.take() {
            self.world.count("rot.detected");
            self.disk.model().mend();
            return rot.label != Label::MustRecover;
        }
        let is_torn = self.has_only_a_torn_header();
        if is_torn {
            self.world.count("wal.first-header-torn");
            self.disk.model().replace(Image::default());
        }
        is_torn
    }

    fn has_only_a_torn_header(&self) -> bool {
        let is_named =
            self.ledger.image().is_some_and(|all| all.nodes.get(&NODE).is_some_and(|n| !n.epochs.is_empty()));
        let slots = self.device((SLOTS * SECTOR) as usize);
        let (first, second) = slots.split_at(SECTOR as usize);
        !is_named && Header::decode(&slots.slice(..first.len())).is_err() && second.iter().all(|byte| *byte == 0)
    }

    fn device(&self, len: usize) -> Bytes {
        self.disk.model().image(self.world.now()).read(DevicePos(0), len).into()
    }

    /// Damages a sector of the device, which `place` says.
    pub(super) fn rot(&mut self, place: u64) {
        if self.lost.is_some() || self.wal != WalPlace::Disk {
            return;
        }
        self.disk.model().mend();
        let size = self.disk.model().size();
        let device = self.device(size as usize);
        self.rot = rot::choose(&device, NODE, self.ledger.image().as_deref(), place);
        let Some(rot) = &mut self.rot else { return };
        // What it sent before it died may yet commit what is there.
        let is_committing = self.store.model().coming_puts().any(|(key, ..)| key.0.starts_with("meta/"));
        if rot.label == Label::MustDetect && is_committing {
            rot.label = Label::Ambiguous;
        }
        self.world.note("nemesis", rot);
        self.disk.model().rot(self.world.now(), rot.at, SECTOR);
    }

    /// Whether the broker has shown what it makes of the rot.
    pub(super) fn is_rot_judged(&self) -> bool {
        self.rot.is_none()
    }

    /// Somebody starts another broker on the same bucket, by mistake.
    pub(super) fn start_rival(&mut self) {
        self.rivals += 1;
        self.world.count("rival");
        let rng = self.tree.core(RIVAL.0, self.rivals);
        self.rival = Some(Rival::start(&self.world, &self.store, &self.limits, rng));
    }

    /// How often another broker has written the head of the metadata log.
    pub(super) fn heads_of_rivals(&self) -> u64 {
        self.ledger.heads_of_others(CALLER)
    }

    /// And ends it.
    pub(super) fn kill_rival(&mut self) {
        if let Some(rival) = self.rival.take() {
            rival.kill();
        }
    }

    pub(super) fn stop(&mut self) {
        self.troubles.asked_to_stop(self.world.now());
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

    pub(super) fn begin_outage(&self) {
        self.store.model().set_mode(Mode::Outage);
        self.world.band("store", "mode", Some("outage".into()));
        self.world.count("store.outage");
    }

    pub(super) fn fill_store(&self) {
        self.store.model().set_mode(Mode::NoSpace);
        self.world.band("store", "mode", Some("no space".into()));
        self.world.count("store.full");
    }

    pub(super) fn end_outage(&self) {
        self.store.model().set_mode(Mode::Normal);
        self.world.band("store", "mode", None);
    }

    pub(super) fn jump_clock(&self, by_ms: i64) {
        if let Some(broker) = self.broker.as_ref().filter(|broker| broker.process.is_alive()) {
            broker.process.jump_wall_clock(by_ms);
            self.world.count("clock.jump");
        }
    }

    /// No more faults, and the broker is up.
    pub(super) fn heal(&mut self) {
        self.look();
        self.bury_zombie();
        self.resume();
        self.kill_rival();
        self.end_outage();
        self.store.model().heal();
        self.disk.model().set_knobs(self.calm);
        self.disk.model().heal();
        // It may have read what was rotten a moment ago.
        if let Some(rot) = &mut self.rot {
            rot.label = Label::Ambiguous;
        }
        self.supervise();
        self.start();
    }

    pub(super) fn is_up(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.process.is_alive())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.is_ready())
    }

    pub(super) fn halted(&self) -> Option<Halt> {
        self.broker.as_ref().and_then(|broker| broker.halted())
    }

    /// What is still to be done before everything is quiet.
    pub(super) fn pending(&self) -> Option<String> {
        let Some(broker) = self.broker.as_ref().filter(|broker| broker.is_ready()) else {
            return Some("the broker does not serve".into());
        };
        let pending = checks::compacting(broker, &self.limits);
        pending.or_else(|| checks::pending(broker, &self.store, &self.ledger))
    }

    /// How long what is to be rewritten may take.
    pub(super) fn rewriting(&self) -> Duration {
        self.ledger.image().map_or(Duration::ZERO, |image| checks::rewriting(&image, &self.limits))
    }

    /// What is wrong with the objects of a broker that has nothing to do.
    pub(super) fn audit(&self) -> Result<(), String> {
        let image = self.ledger.image().ok_or("there is no metadata")?;
        coverage::check(&image, &self.limits, &self.store)
    }

    /// How large everything is, if the broker serves.
    pub(super) fn sizes(&self) -> Option<[u64; COLUMNS.len()]> {
        let broker = self.broker.as_ref().filter(|broker| broker.is_ready())?;
        let (shard, wal) = (broker.shard.borrow(), broker.wal.borrow());
        let store = self.store.model();
        let sizes = store.bucket().objects().map(|(key, object)| (key.0.starts_with("meta/"), object.body.len()));
        let (mut objects, mut bytes, mut metadata) = (0, 0, 0);
        for (is_metadata, size) in sizes {
            objects += 1;
            bytes += size as u64;
            metadata += if is_metadata { size as u64 } else { 0 };
        }
        let ranges = shard.image()?.streams.values().map(|stream| stream.ranges.len() as u64).sum();
        let used = wal.positions()?.used;
        Some([objects, bytes, metadata, ranges, used, shard.cache_bytes().total(), shard.reads().cached])
    }

    pub(super) fn state(&self) -> String {
        match &self.broker {
            None => "no broker".into(),
            Some(broker) => format!("ready {}, halted {:?}", broker.is_ready(), broker.halted()),
        }
    }

    pub(super) fn dismantle(&mut self) {
        self.marksman.look_back();
        self.let_go();
        self.kill_rival();
        self.marksman.let_go();
        self.bury_zombie();
        self.broker = None;
    }

    /// Errors that the disk reported, of any kind.
    fn disk_errors(&self) -> u64 {
        let model = self.disk.model();
        let fired = model.fired();
        DISK_ERRORS.iter().map(|kind| fired.get(kind)).sum()
    }

    /// Requests to the store that failed or took too long.
    fn store_failures(&self) -> u64 {
        let model = self.store.model();
        let failures = model.fired().iter().filter(|(kind, _)| !STORE_EFFECTS.contains(kind));
        failures.map(|(_, count)| count).sum()
    }

    fn let_go(&self) {
        if let Some(broker) = self.broker.as_ref().filter(|broker| !broker.process.is_alive()) {
            broker.dismantle();
        }
    }
}
