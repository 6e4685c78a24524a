//! The world: what all of a run's parts share.

use super::driver::Alarm;
use super::options::{Limits, Options, Stop};
use super::panics::Caught;
use super::process::{Process, ProcessState};
use super::task::Sleep;
use super::timers::{Timer, TimerId, Timers};
use crate::clock::NodeClock;
use crate::failure::Failure;
use crate::report::Counters;
use crate::time::SimTime;
use crate::trace::{Trace, Who};
use core::fmt::Debug;
use core::hash::Hash;
use core::time::Duration;
use karst_core::machine::TurnBudget;
use madsim::time::TimeHandle;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Waker;

/// A handle to the world of one run. It stays in the run's thread.
#[derive(Clone)]
pub struct World(Rc<Shared>);

pub(super) struct Shared {
    time: TimeHandle,
    pub(super) limits: Limits,
    pub(super) turn: TurnBudget,
    pub(super) timers: RefCell<Timers>,
    pub(super) alarm: Alarm,
    pub(super) trace: RefCell<Trace>,
    stop: RefCell<Option<Stop>>,
    is_stopped: Cell<bool>,
    root: RefCell<Option<Waker>>,
    pub(super) tasks: Cell<usize>,
    issued: Cell<u32>,
    processes: RefCell<Vec<Weak<ProcessState>>>,
    counters: RefCell<Counters>,
    count_at_end: RefCell<Vec<Box<dyn Fn() -> Counters>>>,
    at_end: RefCell<Vec<Box<dyn FnOnce()>>>,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        Self(Rc::new(Shared {
            time: TimeHandle::current(),
            limits: options.limits,
            turn: options.turn,
            timers: RefCell::default(),
            alarm: Alarm::default(),
            trace: RefCell::new(Trace::new(options.log)),
            stop: RefCell::default(),
            is_stopped: Cell::new(false),
            root: RefCell::default(),
            tasks: Cell::new(0),
            issued: Cell::new(0),
            processes: RefCell::default(),
            counters: RefCell::default(),
            count_at_end: RefCell::default(),
            at_end: RefCell::default(),
        }))
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        // One of its microseconds is one of our nanoseconds.
        let elapsed = self.0.time.elapsed();
        SimTime(elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros()))
    }

    /// Inputs handled so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.0.trace.borrow().events()
    }

    /// Calls `f` at that moment, or soon if it is past. Whether what it is for still lives is its own to check.
    pub fn at(&self, when: SimTime, f: impl FnOnce() + 'static) -> TimerId {
        self.set_timer(when, Timer::Call(Box::new(f)))
    }

    /// Calls `f` so much later.
    pub fn after(&self, by: Duration, f: impl FnOnce() + 'static) -> TimerId {
        self.at(self.now().after(by), f)
    }

    /// Undoes [`World::at`], if it has not happened yet.
    pub fn cancel(&self, timer: TimerId) {
        // Dropped only when nothing is borrowed any more: it may own anything.
        let cancelled = self.0.timers.borrow_mut().cancel(timer);
        drop(cancelled);
    }

    /// Timers that are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.0.timers.borrow().len()
    }

    /// Waits.
    pub fn sleep(&self, by: Duration) -> Sleep {
        Sleep::new(self.clone(), self.now().after(by))
    }

    /// Starts a process: one incarnation of a node, or a client.
    #[must_use]
    pub fn start_process(&self, name: &str, clock: NodeClock) -> Process {
        let process = Process::new(self.clone(), name, clock);
        let mut all = self.0.processes.borrow_mut();
        all.retain(|one| one.strong_count() > 0);
        all.push(process.downgrade());
        process
    }

    /// An invariant does not hold: the run ends with this. Only the first failure counts.
    pub fn fail(&self, invariant: &str, component: &str, message: impl Into<String>) {
        self.record_failure(invariant, ("", component), message.into(), None);
    }

    /// Whether the run is over: it failed, or exceeded a limit.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.get()
    }

    /// Puts something that the world did into trace and log, such as a nemesis at work.
    pub fn note(&self, who: &str, what: &(impl Hash + Debug)) {
        let who = Who { id: 0, process: "world".into(), owner: who.into() };
        self.0.trace.borrow_mut().note(self.now(), &who, what);
    }

    /// Counts a fault, or anything else that should happen now and then.
    pub fn count(&self, kind: &'static str) {
        self.0.counters.borrow_mut().add(kind);
    }

    /// What else to count into the report, asked when the run is over.
    pub fn count_at_end(&self, counters: impl Fn() -> Counters + 'static) {
        self.0.count_at_end.borrow_mut().push(Box::new(counters));
    }

    /// Called when the run is over, to let go of what holds each other.
    pub(super) fn at_end(&self, f: impl FnOnce() + 'static) {
        self.0.at_end.borrow_mut().push(Box::new(f));
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    pub(super) fn issue_id(&self) -> u32 {
        self.0.issued.set(self.0.issued.get() + 1);
        self.0.issued.get()
    }

    pub(super) fn set_timer(&self, at: SimTime, timer: Timer) -> TimerId {
        let id = self.0.timers.borrow_mut().set(at, timer);
        self.0.alarm.ring_before(at);
        id
    }

    pub(super) fn fail_by_panic(&self, process: &str, component: &str, caught: Caught) {
        self.record_failure(Failure::PANIC, (process, component), caught.message, caught.site);
    }

    fn record_failure(&self, invariant: &str, who: (&str, &str), message: String, site: Option<String>) {
        let (process, component) = (who.0.to_owned(), who.1.to_owned());
        let (at, event) = (self.now(), self.events());
        let invariant = invariant.to_owned();
        self.stop(Stop::Failed(Failure { invariant, process, component, message, site, at, event }));
    }

    /// Ends the run; only the first reason counts.
    pub(super) fn stop(&self, why: Stop) {
        self.0.stop.borrow_mut().get_or_insert(why);
        self.0.is_stopped.set(true);
        if let Some(root) = &*self.0.root.borrow() {
            root.wake_by_ref();
        }
    }

    pub(super) fn take_stop(&self) -> Option<Stop> {
        self.0.stop.borrow_mut().take()
    }

    pub(super) fn set_root(&self, waker: &Waker) {
        let mut root = self.0.root.borrow_mut();
        if root.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            *root = Some(waker.clone());
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let mut all = self.0.counters.borrow().clone();
        for source in &*self.0.count_at_end.borrow() {
            all.merge(&source());
        }
        all
    }

    /// Lets go of everything that the world holds, so that nothing outlives the run.
    pub(super) fn shut_down(&self) {
        self.0.is_stopped.set(true);
        let processes = core::mem::take(&mut *self.0.processes.borrow_mut());
        for process in processes.iter().filter_map(Weak::upgrade) {
            process.end();
        }
        let at_end = core::mem::take(&mut *self.0.at_end.borrow_mut());
        at_end.into_iter().for_each(|f| f());
        drop(core::mem::take(&mut *self.0.count_at_end.borrow_mut()));
        drop(core::mem::take(&mut *self.0.timers.borrow_mut()));
        self.0.alarm.ring();
    }
}
