//! One run: a broker, its clients, and what is done to them.
//!
//! ```text
//!  safety    clients work; disk, store, network, clocks and the broker's process are disturbed as the plan says
//!  heal      faults end, the broker is started if it is down
//!  liveness  a client reads everything back, within a budget
//!  quiet     what is pending ends by itself: cuts, deletes, credit
//!  rival     in some runs another broker takes over from the one that has nothing to do, and must be noticed
//!  stop      the broker is stopped as an operator does, and leaves nothing behind
//! ```

mod aim;
mod checks;
mod clients;
mod coverage;
mod host;
mod ledger;
mod loss;
mod marks;
mod marksman;
mod members;
mod report;
mod rival;
mod rot;
mod sizes;
mod troubles;
mod words;
mod zombie;

pub use report::{Report, SITUATIONS};
pub use sizes::Sizes;

use crate::oracle::{Loss, Oracle, Violation};
use crate::plan::{Disturbance, Plan};
use clients::Clients;
use host::Host;
use karst_core::mail::Halt;
use karst_runtime_sim::exec::{self, Point, World};
use karst_runtime_sim::recording::Record;
use karst_runtime_sim::seed::{Seed, SeedTree};
use karst_runtime_sim::time::SimTime;
use karst_runtime_sim::trace::LogOptions;
use members::Members;
use sizes::Samples;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// How to run a plan.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which lines to keep.
    pub log: LogOptions,
    /// Stop after this event.
    pub until: Option<u64>,
    /// Whether to record every entry.
    pub record: Record,
    /// Call [`breakpoint`](karst_runtime_sim::exec::breakpoint) right before this event.
    pub break_at: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { log: LogOptions::OFF, until: None, record: Record::Nothing, break_at: None }
    }
}

/// How often a phase looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is looked whether a crash has come, or rot was noticed.
const SHORT_LOOK: Duration = Duration::from_millis(1);

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: Plan, options: Options) -> Report {
    run_prepared(plan, options, |_| ())
}

/// The same, with somebody who watches: see [`World::watch`].
#[must_use]
pub fn run_watched(plan: Plan, options: Options, watcher: impl FnMut(&World, Point) + Send + 'static) -> Report {
    run_prepared(plan, options, |world| world.watch(watcher))
}

fn run_prepared(plan: Plan, options: Options, prepare: impl FnOnce(&World) + Send) -> Report {
    let tree = SeedTree::new(Seed(plan.numbers.root));
    let limits = exec::Limits {
        events: plan.numbers.events,
        time: Duration::from_micros(plan.numbers.safety + plan.numbers.liveness) + Duration::from_secs(60),
        until: options.until,
    };
    let Options { log, record, break_at, .. } = options;
    let schedule = Some(plan.numbers.schedule).filter(|schedule| *schedule != 0).map_or(tree.schedule(), Seed);
    let exec = exec::Options { limits, log, record, break_at, ..exec::Options::new(schedule) };
    let text = plan.to_annotated_text();
    let scenario = |world: World| {
        prepare(&world);
        async move { Run::new(&world, plan, &tree).play().await }
    };
    Report::new(text, exec::run(exec, scenario))
}

/// What the oracle hears from everywhere.
#[derive(Clone)]
struct Judge(Rc<RefCell<Oracle>>);

impl Judge {
    fn observe(&self, world: &World, seen: crate::oracle::Observation) {
        let mut oracle = self.0.borrow_mut();
        oracle.look_at_clock(world.now());
        let judged = oracle.observe(seen);
        drop(oracle);
        if let Err(violation) = judged {
            self.accuse(world, &violation);
        }
    }

    fn lose(&self, losses: &[Loss]) {
        self.0.borrow_mut().lose(losses);
    }

    fn accuse(&self, world: &World, violation: &Violation) {
        world.fail_about(violation.invariant, "oracle", violation.message.clone(), violation.about.clone());
    }
}

struct Run {
    world: World,
    plan: Plan,
    judge: Judge,
    host: Host,
    clients: Clients,
    members: Members,
    samples: Samples,
}

/// How a run ended, without a failure.
#[derive(Debug)]
struct Ended {
    summary: report::Observed,
    sizes: Vec<Sizes>,
}

impl Run {
    fn new(world: &World, plan: Plan, tree: &SeedTree) -> Self {
        world.gate().restrict(plan.only.clone());
        let oracle = Oracle::new(plan.numbers.batch_limits(), plan.numbers.spans());
        let judge = Judge(Rc::new(RefCell::new(oracle)));
        let host = Host::new(world, &plan.numbers, tree, judge.clone());
        let clients = Clients::new(world, &plan.numbers, tree, host.net(), judge.clone());
        let members = Members::new(world, &plan.numbers, tree, &host.net(), &judge);
        let samples = Samples::new(plan.numbers.samples, Duration::from_micros(plan.numbers.safety));
        Self { world: world.clone(), plan, judge, host, clients, members, samples }
    }

    async fn play(mut self) -> Ended {
        marks::watch(&self.world);
        self.phase("safety");
        self.host.start();
        if self.plan.disturbances.iter().any(|(_, what)| matches!(what, Disturbance::Kill { .. })) {
            self.crash_again(Duration::ZERO).await;
        }
        self.clients.start();
        self.members.start();
        self.safety().await;
        if let Some(grown) = self.samples.grown() {
            self.world.fail("sizes-are-flat", "world", grown);
        }
        self.heal();
        if self.liveness().await && self.settle().await && self.quiet().await && self.outlive_rival().await {
            self.stop().await;
        }
        let summary = report::Observed::of(&self.judge.0.borrow());
        self.host.dismantle();
        Ended { summary, sizes: self.samples.into_taken() }
    }

    fn phase(&self, name: &str) {
        self.world.band("world", "phase", Some(name.to_owned()));
    }

    async fn safety(&mut self) {
        let end = SimTime::ZERO.after(Duration::from_micros(self.plan.numbers.safety));
        for (at, what) in self.plan.disturbances.clone() {
            self.watch_until(SimTime::ZERO.after(at)).await;
            self.world.disturbance("nemesis", &what);
            self.host.face(at);
            self.disturb(what).await;
        }
        self.watch_until(end).await;
    }

    /// Lets time pass; a broker that ended itself is started again, as a supervisor does.
    async fn watch_until(&mut self, moment: SimTime) {
        while self.world.now() < moment && !self.world.is_stopped() {
            let left = moment.since(self.world.now());
            self.world.sleep(left.min(LOOK)).await;
            self.host.supervise();
            self.samples.look(self.world.now(), &self.host);
        }
    }

    /// Most crashes are aimed at something that is on its way, or else few would leave half of it.
    async fn crash(&mut self, patience: Duration) {
        self.host.aim();
        let due = self.world.now().after(patience);
        while self.host.is_up() && self.world.now() < due {
            self.world.sleep(SHORT_LOOK).await;
        }
        self.host.kill();
    }

    /// Now and then the start after a crash crashes as well.
    async fn crash_again(&mut self, down: Duration) {
        while self.host.draws_another() {
            self.crash(Duration::from_millis(100)).await;
            self.world.sleep(down).await;
            self.host.start();
        }
    }

    async fn disturb(&mut self, what: Disturbance) {
        match what {
            Disturbance::Kill { down } => {
                self.crash(Duration::from_millis(300)).await;
                self.world.sleep(down).await;
                self.host.start();
                self.crash_again(down).await;
            }
            Disturbance::Stop { down } => {
                self.host.stop();
                let patience = self.world.now().after(Duration::from_secs(40));
                while self.host.is_up() && self.world.now() < patience {
                    self.world.sleep(LOOK).await;
                }
                self.host.supervise();
                self.world.sleep(down).await;
                self.host.start();
            }
            Disturbance::Pause { lasts } => {
                self.host.pause();
                self.world.sleep(lasts).await;
                self.host.resume();
            }
            Disturbance::Outage { lasts } => {
                self.host.begin_outage();
                let end = self.world.now().after(lasts);
                self.watch_until(end).await;
                self.host.end_outage();
            }
            Disturbance::Full { lasts } => {
                self.host.fill_store();
                let end = self.world.now().after(lasts);
                self.watch_until(end).await;
                self.host.end_outage();
            }
            Disturbance::ClockJump { by_ms } => self.host.jump_clock(by_ms),
            Disturbance::Rot { at } => {
                self.host.kill();
                self.host.rot(at);
                self.host.start();
                let due = self.world.now().after(Duration::from_secs(5));
                while !self.host.is_rot_judged() && self.world.now() < due && !self.world.is_stopped() {
                    self.world.sleep(SHORT_LOOK).await;
                    self.host.supervise();
                }
            }
            Disturbance::LoseDisk { down } => {
                self.crash(Duration::from_millis(300)).await;
                self.world.sleep(down).await;
                if self.host.draws_another() {
                    self.host.start();
                    self.crash(Duration::from_millis(100)).await;
                }
                self.host.lose_disk();
                self.host.start();
                let due = self.world.now().after(Duration::from_secs(10));
                while self.host.has_lost() && self.world.now() < due && !self.world.is_stopped() {
                    self.world.sleep(SHORT_LOOK).await;
                    self.host.supervise();
                }
            }
            Disturbance::Overtake { lasts } => {
                self.host.overtake();
                let end = self.world.now().after(lasts);
                self.watch_until(end).await;
                self.host.resume_zombie();
            }
            Disturbance::Rival { lasts } => {
                self.host.start_rival();
                let end = self.world.now().after(lasts);
                self.watch_until(end).await;
                self.host.kill_rival();
            }
        }
    }

    fn heal(&mut self) {
        self.phase("heal");
        self.world.note("nemesis", &"does nothing bad any more, and mends what it broke");
        self.host.heal();
        self.clients.heal();
    }

    /// Everything acknowledged can be read, soon.
    async fn liveness(&mut self) -> bool {
        self.phase("liveness");
        self.clients.stop_all();
        let verifier = self.clients.verify();
        let due = self.world.now().after(Duration::from_micros(self.plan.numbers.liveness / 2));
        while !self.clients.is_done(&verifier) {
            if self.world.now() > due {
                self.world.fail(
                    "liveness",
                    "world",
                    format!("not everything could be read back: {}", self.host.state()),
                );
                return false;
            }
            self.world.sleep(LOOK).await;
            self.host.supervise();
        }
        self.clients.stop(&verifier);
        let oracle = self.judge.0.borrow();
        let unread = oracle.must_be_read().find(|place| !oracle.was_read_to_the_end(place)).cloned();
        drop(oracle);
        if let Some(place) = unread {
            let message = format!("{}-{} holds acknowledged records and was not found", place.topic, place.partition);
            self.judge.accuse(&self.world, &Violation::new("acked-topic-lost", message));
        }
        true
    }

    /// Consumer groups find their peace, and a crash does not take it from them.
    async fn settle(&mut self) -> bool {
        if !self.members.are_there() {
            return true;
        }
        self.phase("settle");
        self.members.settle();
        // Who still waits for an answer from before has a place as far as it knows, and may be missed for long already.
        if !self.heard().await {
            return false;
        }
        let Some(before) = self.settled().await else { return false };
        self.host.kill();
        self.host.start();
        if !self.heard().await {
            return false;
        }
        let Some(after) = self.settled().await else { return false };
        if before != after {
            let message = format!("generations {before:?} became {after:?} by a crash alone");
            self.judge.accuse(&self.world, &Violation::new("crash-without-rebalance", message));
        }
        self.members.stop();
        true
    }

    /// Waits until the broker has heard of each member from now on.
    async fn heard(&mut self) -> bool {
        // The first answer may be to something older.
        let beats: Vec<u64> = self.members.beats().iter().map(|beats| beats + 2).collect();
        let due = self.world.now().after(Duration::from_micros(self.plan.numbers.liveness / 4));
        while self.members.beats().iter().zip(&beats).any(|(have, want)| have < want) {
            if self.world.now() > due || self.world.is_stopped() {
                self.world.fail("liveness", "world", format!("members are not heard: {}", self.host.state()));
                return false;
            }
            self.world.sleep(LOOK).await;
            self.host.supervise();
        }
        true
    }

    /// The generations of all groups once they are settled.
    async fn settled(&mut self) -> Option<std::collections::BTreeMap<String, i32>> {
        let due = self.world.now().after(Duration::from_micros(self.plan.numbers.liveness / 4));
        // Who died before has a session to be missed, and then there is another generation.
        let lasting = Duration::from_micros(2 * self.plan.numbers.session);
        let mut since = (self.world.now(), None);
        loop {
            let now = self.world.now();
            let amiss = match self.members.settled() {
                Ok(generations) if since.1.as_ref() != Some(&generations) => {
                    since = (now, Some(generations));
                    "groups are not settled for long enough".to_owned()
                }
                Ok(generations) if now.since(since.0) >= lasting => return Some(generations),
                Ok(_) => "groups are not settled for long enough".to_owned(),
                Err(amiss) => {
                    since.1 = None;
                    amiss
                }
            };
            if now > due || self.world.is_stopped() {
                self.world.fail("liveness", "world", format!("{amiss}; {}", self.host.state()));
                return None;
            }
            self.world.sleep(LOOK).await;
            self.host.supervise();
        }
    }

    /// Nothing is pending any more, and nothing is left that should not be.
    async fn quiet(&mut self) -> bool {
        self.phase("quiet");
        let patience = Duration::from_micros(self.plan.numbers.liveness / 2) + self.host.rewriting();
        let due = self.world.now().after(patience);
        loop {
            let Some(pending) = self.host.pending() else { return self.audit() };
            if self.world.now() > due {
                self.world.fail("quiescence", "world", format!("{pending}, and that goes on"));
                return false;
            }
            self.world.sleep(LOOK).await;
            self.host.supervise();
        }
    }

    /// Objects hold exactly what the metadata says, and they are few.
    fn audit(&self) -> bool {
        let audited = self.host.audit();
        audited.map_err(|amiss| self.world.fail("objects-hold-the-streams", "bucket", amiss)).is_ok()
    }

    /// Another broker takes over from one that has nothing to append: it must notice that it leads no more, and come
    /// back.
    async fn outlive_rival(&mut self) -> bool {
        if self.plan.numbers.late_rival == 0 {
            return true;
        }
        self.phase("rival");
        let before = self.host.heads_of_rivals();
        self.host.start_rival();
        let due = self.world.now().after(Duration::from_secs(30));
        while self.host.heads_of_rivals() == before && self.world.now() < due && !self.world.is_stopped() {
            self.world.sleep(SHORT_LOOK).await;
        }
        self.host.kill_rival();
        self.quiet().await
    }

    async fn stop(&mut self) {
        self.phase("stop");
        if let Some(Halt::WalPoisoned(_)) = self.stop_once().await {
            // A write that was doomed before the healing failed only now. The next incarnation has none such.
            self.host.supervise();
            while !self.host.is_ready() && !self.world.is_stopped() {
                self.world.sleep(LOOK).await;
            }
            if let Some(other) = self.stop_once().await {
                self.world.fail("clean-stop", "world", format!("the healed broker ended with {other:?}"));
            }
        }
    }

    /// Stops the broker. Returns how it ended, unless cleanly.
    async fn stop_once(&mut self) -> Option<Halt> {
        self.host.stop();
        let due = self.world.now().after(Duration::from_secs(60));
        while self.host.is_up() {
            if self.world.now() > due {
                self.world.fail("liveness", "world", "the broker does not stop");
                return None;
            }
            self.world.sleep(LOOK).await;
        }
        match self.host.halted() {
            Some(Halt::Clean) => None,
            poisoned @ Some(Halt::WalPoisoned(_)) => poisoned,
            other => {
                self.world.fail("clean-stop", "world", format!("the healed broker ended with {other:?}"));
                None
            }
        }
    }
}
