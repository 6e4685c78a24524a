//! The world: what all of a run's parts share.

use super::driver::Alarm;
use super::options::{Limits, Options, Stop};
use super::panics::Caught;
use super::process::{Process, ProcessState};
use super::recorder::{Moment, Recorder, Told};
use super::stage::Stage;
use super::task::Sleep;
use super::timers::{Timer, TimerId, Timers};
use crate::clock::NodeClock;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::recording::{About, Describe, EntryId, EntryKind, Recording, Tag};
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
    pub(super) recorder: Recorder,
    pub(super) stage: Stage,
    pub(super) break_at: Option<u64>,
    probes: RefCell<Vec<Probe>>,
    gate: Gate,
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

type Probe = Rc<dyn Fn(&World)>;

impl World {
    pub(super) fn new(options: &Options) -> Self {
        Self(Rc::new(Shared {
            time: TimeHandle::current(),
            limits: options.limits,
            turn: options.turn,
            timers: RefCell::default(),
            alarm: Alarm::default(),
            trace: RefCell::new(Trace::new(options.log)),
            recorder: Recorder::new(options.record),
            stage: Stage::default(),
            break_at: options.break_at,
            probes: RefCell::default(),
            gate: Gate::open(),
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

    /// Decides which single faults and operations happen. A scenario that leaves some out restricts it first.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.0.gate
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
        self.fail_about(invariant, component, message, Vec::new());
    }

    /// The same of certain things, each named by tags that are recorded with it: its story begins with them.
    pub fn fail_about(&self, invariant: &str, component: &str, message: impl Into<String>, subjects: Vec<Vec<Tag>>) {
        self.record_failure(invariant, ("", component), message.into(), None, subjects);
    }

    /// Whether the run is over: it failed, or exceeded a limit.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.get()
    }

    /// Puts something that the world did into trace and log, such as a nemesis at work. What its caller does from now on
    /// is recorded as done because of it.
    pub fn note(&self, who: &str, what: &(impl Hash + Debug + Describe)) {
        self.put_note(EntryKind::Note, who, what);
    }

    /// The same of a disturbance: a recording shows it among the faults.
    pub fn disturbance(&self, who: &str, what: &(impl Hash + Debug + Describe)) {
        self.put_note(EntryKind::Fault, who, what);
    }

    fn put_note(&self, kind: EntryKind, name: &str, what: &(impl Hash + Debug + Describe)) {
        let who = Who { id: 0, process: "world".into(), owner: name.into() };
        self.0.trace.borrow_mut().note(self.now(), &who, what);
        // What the world did before is not why it does this.
        self.0.recorder.because(None);
        let entry = self.record(kind, ("world", name), || Told::of(what));
        self.0.recorder.because(entry);
    }

    /// Whether this run is recorded. Recording decides nothing.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.recorder.is_on()
    }

    /// The same as [`World::note`] of what is no part of trace and log: a remark, for recordings only.
    pub fn remark(&self, who: &str, what: impl FnOnce() -> String) {
        self.0.recorder.because(None);
        let entry = self.record(EntryKind::Note, ("world", who), || Told::sentence(what()));
        self.0.recorder.because(entry);
    }

    /// Whatever is recorded with the one tag gets the other, too: the name of what has only a number in most places.
    pub fn alias(&self, one: Tag, other: Tag) {
        if let Some(mut tape) = self.0.recorder.tape() {
            tape.alias(one, other);
        }
    }

    /// Records that a number has this value from now on, if it is a new one.
    pub fn sample(&self, subject: &str, curve: &'static str, value: u64) {
        if let Some(mut tape) = self.0.recorder.tape() {
            tape.sample(self.now(), subject, curve, value);
        }
    }

    /// Records what is in force from now on, in this slot of the subject; `None` if nothing is. The bands of a process
    /// end with it.
    pub fn band(&self, subject: &str, slot: &'static str, label: Option<String>) {
        if let Some(mut tape) = self.0.recorder.tape() {
            tape.band(self.now(), subject, slot, label);
        }
    }

    pub(super) fn end_bands(&self, subject: &str) {
        if let Some(mut tape) = self.0.recorder.tape() {
            tape.end_bands(self.now(), subject);
        }
    }

    /// Calls `probe` after each event, to take samples; not at all if the run is not recorded.
    pub fn probe(&self, probe: impl Fn(&Self) + 'static) {
        if self.is_recording() {
            self.0.probes.borrow_mut().push(Rc::new(probe));
        }
    }

    /// Shows the recording so far, if there is one.
    pub fn with_recording<T>(&self, look: impl FnOnce(&Recording) -> T) -> Option<T> {
        self.0.recorder.tape().map(|tape| look(&tape.snapshot()))
    }

    /// Shows the entries from an event on, complete but for their causes, if the run is recorded.
    pub fn with_entries_since<T>(&self, event: u64, look: impl FnOnce(&Recording) -> T) -> Option<T> {
        self.0.recorder.tape().map(|tape| look(&tape.since(event)))
    }

    /// Ends the run as [`Limits::until`] does.
    pub fn stop_here(&self) {
        self.stop(Stop::Until);
    }

    /// Adds an entry whose cause is why things happen now.
    pub(super) fn record(&self, kind: EntryKind, who: (&str, &str), what: impl FnOnce() -> Told) -> Option<EntryId> {
        let moment = Moment { event: self.events(), at: self.now() };
        self.0.recorder.act(moment, who, kind, what)
    }

    /// Records the faults that fired since this was last called: each on the lane of its model, which its name begins
    /// with.
    pub(super) fn record_faults(&self, process: &str) {
        if !self.is_recording() {
            return;
        }
        for fault in self.0.gate.take_fired() {
            let owner = fault.kind.split('.').next().unwrap_or(fault.kind);
            let process = if owner == "disk" { process } else { "world" };
            let text = format!("{} {}", fault.kind, fault.ordinal);
            let words = fault.words().map(str::to_owned);
            self.record(EntryKind::Fault, (process, owner), || Told { text, words, about: About::default() });
        }
    }

    /// Lets the probes look.
    pub(super) fn run_probes(&self) {
        if !self.is_recording() {
            return;
        }
        let probes = self.0.probes.borrow().clone();
        probes.iter().for_each(|probe| probe(self));
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
        let id = self.0.timers.borrow_mut().set(at, timer, self.0.recorder.cause());
        self.0.alarm.ring_before(at);
        id
    }

    pub(super) fn fail_by_panic(&self, process: &str, component: &str, caught: Caught) {
        self.record_failure(Failure::PANIC, (process, component), caught.message, caught.site, Vec::new());
    }

    fn record_failure(
        &self,
        invariant: &str,
        who: (&str, &str),
        message: String,
        site: Option<String>,
        subjects: Vec<Vec<Tag>>,
    ) {
        let (process, component) = (who.0.to_owned(), who.1.to_owned());
        let (at, event) = (self.now(), self.events());
        let invariant = invariant.to_owned();
        self.stop(Stop::Failed(Failure { invariant, process, component, message, site, subjects, at, event }));
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
        drop(core::mem::take(&mut *self.0.probes.borrow_mut()));
        self.0.stage.clear();
        drop(core::mem::take(&mut *self.0.timers.borrow_mut()));
        self.0.alarm.ring();
    }
}
