//! One run: a broker, its clients, and what is done to them.
//!
//! ```text
//!  safety    clients work; disk, store, network, clocks and the broker's process are disturbed as the plan says
//!  heal      faults end, the broker is started if it is down
//!  liveness  a client reads everything back, within a budget
//!  quiet     what is pending ends by itself: cuts, deletes, credit
//!  stop      the broker is stopped as an operator does, and leaves nothing behind
//! ```

mod checks;
mod clients;
mod host;
mod report;

pub use report::Report;

use crate::oracle::{Oracle, Violation};
use crate::plan::{Disturbance, Plan};
use clients::Clients;
use host::Host;
use karst_core::mail::Halt;
use karst_runtime_sim::exec::{self, World};
use karst_runtime_sim::seed::{Seed, SeedTree};
use karst_runtime_sim::time::SimTime;
use karst_runtime_sim::trace::LogOptions;
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
}

impl Default for Options {
    fn default() -> Self {
        Self { log: LogOptions::OFF, until: None }
    }
}

/// How often a phase looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: Plan, options: Options) -> Report {
    let tree = SeedTree::new(Seed(plan.numbers.root));
    let limits = exec::Limits {
        events: plan.numbers.events,
        time: Duration::from_micros(plan.numbers.safety + plan.numbers.liveness) + Duration::from_secs(60),
        until: options.until,
    };
    let exec = exec::Options { limits, log: options.log, ..exec::Options::new(tree.schedule()) };
    let text = plan.to_text();
    let report = exec::run(exec, |world| async move { Run::new(&world, plan, &tree).play().await });
    Report::new(text, report)
}

/// What the oracle hears from everywhere.
#[derive(Clone, Default)]
struct Judge(Rc<RefCell<Judging>>);

#[derive(Default)]
struct Judging {
    oracle: Oracle,
    /// The only copy of something was damaged: losing it is legal, serving it is not.
    is_damaged: bool,
}

impl Judge {
    fn observe(&self, world: &World, seen: crate::oracle::Observation) {
        let judged = self.0.borrow_mut().oracle.observe(seen);
        if let Err(violation) = judged {
            self.accuse(world, &violation);
        }
    }

    fn accuse(&self, world: &World, violation: &Violation) {
        // The rotten end of a log is lost, and its offsets are given again.
        let is_loss = ["lost-write", "offsets-dense", "high-watermark-goes-back", "inconsistent-offsets"]
            .contains(&violation.invariant);
        if self.is_damaged() && is_loss {
            world.count("rot.loss-that-is-legal");
            return;
        }
        world.fail(violation.invariant, "oracle", violation.message.clone());
    }

    fn is_damaged(&self) -> bool {
        self.0.borrow().is_damaged
    }

    fn damage(&self) {
        self.0.borrow_mut().is_damaged = true;
    }
}

struct Run {
    world: World,
    plan: Plan,
    judge: Judge,
    host: Host,
    clients: Clients,
}

/// How a run ended, without a failure.
#[derive(Debug)]
struct Ended {
    summary: report::Observed,
}

impl Run {
    fn new(world: &World, plan: Plan, tree: &SeedTree) -> Self {
        let judge = Judge::default();
        let host = Host::new(world, &plan.numbers, tree, judge.clone());
        let clients = Clients::new(world, &plan.numbers, tree, host.net(), judge.clone());
        Self { world: world.clone(), plan, judge, host, clients }
    }

    async fn play(mut self) -> Ended {
        self.host.start();
        self.clients.start();
        self.safety().await;
        self.heal();
        if self.liveness().await && self.quiet().await {
            self.stop().await;
        }
        let summary = report::Observed::of(&self.judge.0.borrow().oracle);
        self.host.dismantle();
        Ended { summary }
    }

    async fn safety(&mut self) {
        let end = SimTime::ZERO.after(Duration::from_micros(self.plan.numbers.safety));
        for (at, what) in self.plan.disturbances.clone() {
            self.watch_until(SimTime::ZERO.after(at)).await;
            self.world.note("nemesis", &format!("{what:?}"));
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
        }
    }

    /// Most crashes come while something is on its way to the disk or the bucket, or else few would leave half of it.
    async fn await_busy(&mut self) {
        let aim = self.host.draw_aim();
        for _ in 0..2_000 {
            if self.host.is_busy(aim) || !self.host.is_up() {
                return;
            }
            self.world.sleep(Duration::from_micros(20)).await;
        }
    }

    async fn disturb(&mut self, what: Disturbance) {
        match what {
            Disturbance::Kill { down } => {
                self.await_busy().await;
                self.host.kill();
                self.world.sleep(down).await;
                self.host.start();
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
                self.judge.damage();
                self.host.rot(at);
                self.host.start();
            }
        }
    }

    fn heal(&mut self) {
        self.world.note("nemesis", &"heal");
        self.host.heal();
        self.clients.heal();
    }

    /// Everything acknowledged can be read, soon.
    async fn liveness(&mut self) -> bool {
        self.clients.stop_all();
        let verifier = self.clients.verify();
        let due = self.world.now().after(Duration::from_micros(self.plan.numbers.liveness / 2));
        while !self.clients.is_done(&verifier) {
            if self.has_ended_by_damage() {
                return false;
            }
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
        let judging = self.judge.0.borrow();
        let unread = judging.oracle.must_be_read().find(|place| !judging.oracle.was_read_to_the_end(place)).cloned();
        drop(judging);
        // What was rotten made a partition incomplete already.
        if let Some(place) = unread.filter(|_| !self.judge.is_damaged()) {
            let message = format!("{}-{} holds acknowledged records and was not found", place.topic, place.partition);
            self.judge.accuse(&self.world, &Violation::new("acked-topic-lost", message));
        }
        true
    }

    /// Nothing is pending any more, and nothing is left that should not be.
    async fn quiet(&mut self) -> bool {
        let due = self.world.now().after(Duration::from_micros(self.plan.numbers.liveness / 2));
        loop {
            if self.has_ended_by_damage() {
                return false;
            }
            let Some(pending) = self.host.pending() else { return true };
            if self.world.now() > due {
                self.world.fail("quiescence", "world", format!("{pending}, and nothing changes"));
                return false;
            }
            self.world.sleep(LOOK).await;
            self.host.supervise();
        }
    }

    async fn stop(&mut self) {
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

    /// The broker noticed damage to the only copy of something and refuses to go on: as it must.
    fn has_ended_by_damage(&self) -> bool {
        let refused = self.judge.is_damaged() && matches!(self.host.halted(), Some(Halt::WalRefused(_)));
        if refused {
            self.world.count("rot.detected");
        }
        refused
    }
}
