//! Owners: a machine, its inbox, and the task that brings them together.

use super::member::Member;
use super::process::Process;
use super::recorder::{Moment, Why};
use super::stage::{Point, breakpoint};
use super::timers::{Timer, TimerId};
use super::world::World;
use super::{panics, task};
use crate::recording::{Describe, EntryId, Tag};
use crate::time::SimTime;
use crate::trace::Who;
use core::fmt::Debug;
use core::future::poll_fn;
use karst_core::machine::{Check, Deadline, Effects, Inbox, Machine, Now, Progress, Seen, Turn, TurnBudget};
use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Where to send an owner its inputs. They are handled in the order in which they were sent.
pub struct Address<I>(Rc<Mailbox<I>>);

impl<I> Clone for Address<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I> Address<I> {
    pub(super) fn new(mailbox: Rc<Mailbox<I>>) -> Self {
        Self(mailbox)
    }

    /// Sends an input; it vanishes if the process is dead or the owner has ended.
    pub fn send(&self, input: I) {
        if !self.0.is_over.get() {
            let recorder = &self.0.process.world().shared().recorder;
            if recorder.is_on() {
                self.0.causes.borrow_mut().push_back(recorder.why());
            }
            self.0.inbox.borrow_mut().push(input);
            self.0.wake();
        }
    }

    /// Whatever this owner does from now on is recorded as being about that, too; about nothing that was said so before.
    pub fn always_about(&self, tag: Tag) {
        if let Some(mut tape) = self.0.process.world().shared().recorder.tape() {
            tape.always(&self.0.who, tag);
        }
    }

    /// From now on that is not so any more.
    pub fn no_longer_about_it(&self) {
        if let Some(mut tape) = self.0.process.world().shared().recorder.tape() {
            tape.not_always(&self.0.who);
        }
    }

    /// Ends the owner, but not its process: a session whose connection is gone.
    pub fn close(&self) {
        self.0.end();
    }

    /// Inputs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.inbox.borrow().len()
    }

    /// The process that it is part of.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.0.process
    }

    /// The owner's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.who.owner
    }
}

/// A machine at work. Dropping this does not end it.
pub struct Owner<M: Machine> {
    address: Address<M::Input>,
    machine: Rc<RefCell<M>>,
}

impl<M: Machine<Input: Describe, Effect: Describe> + Debug + 'static> Owner<M> {
    pub(super) fn start(address: Address<M::Input>, machine: M, perform: impl FnMut(M::Effect) + 'static) -> Self {
        assert!(!address.0.has_machine.replace(true), "an inbox has one machine");
        let machine = Rc::new(RefCell::new(machine));
        let mailbox = address.0.clone();
        let world = mailbox.process.world().clone();
        world.shared().stage.enter((&mailbox.who.process, &mailbox.who.owner), &machine);
        let (out, whys) = (Effects::default(), VecDeque::new());
        let mut body = Body { mailbox, machine: machine.clone(), out, whys, perform };
        task::spawn_local(&world, poll_fn(move |cx| body.poll(cx)));
        Self { address, machine }
    }
}

impl<M: Machine> Owner<M> {
    /// Where to send it inputs.
    #[must_use]
    pub fn address(&self) -> &Address<M::Input> {
        &self.address
    }

    /// Looks at the machine; not from within its own `handle`.
    #[must_use]
    pub fn machine(&self) -> Ref<'_, M> {
        self.machine.borrow()
    }

    /// The machine itself, for checkers that outlive this.
    #[must_use]
    pub fn share(&self) -> Rc<RefCell<M>> {
        self.machine.clone()
    }
}

pub(super) struct Mailbox<I> {
    who: Who,
    process: Process,
    inbox: RefCell<Inbox<I>>,
    /// Why each input of the inbox was sent, while that is recorded.
    causes: RefCell<VecDeque<Why>>,
    has_machine: Cell<bool>,
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    timer: Cell<Option<TimerId>>,
}

impl<I> Mailbox<I> {
    pub(super) fn new(process: Process, name: &str) -> Self {
        let id = process.world().issue_id();
        let who = Who { id, process: process.full_name().clone(), owner: name.into() };
        Self {
            who,
            process,
            inbox: RefCell::default(),
            causes: RefCell::default(),
            has_machine: Cell::new(false),
            is_over: Cell::new(false),
            waker: RefCell::default(),
            timer: Cell::new(None),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn end(&self) {
        self.is_over.set(true);
        if let Some(timer) = self.timer.take() {
            self.process.world().cancel(timer);
        }
        self.causes.take();
        let waiting = self.inbox.take();
        drop(waiting);
        self.wake();
    }
}

impl<I> Member for Mailbox<I> {
    fn die(&self) {
        self.end();
    }

    fn resume(&self) {
        self.wake();
    }

    fn due(&self) {
        self.timer.set(None);
        self.wake();
    }

    fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

struct Body<M: Machine, P> {
    mailbox: Rc<Mailbox<M::Input>>,
    machine: Rc<RefCell<M>>,
    out: Effects<M::Effect>,
    /// The entry of each effect in `out`, while that is recorded.
    whys: VecDeque<EntryId>,
    perform: P,
}

impl<M: Machine<Input: Describe, Effect: Describe> + 'static, P: FnMut(M::Effect)> Body<M, P> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mailbox = self.mailbox.clone();
        let world = mailbox.process.world();
        if mailbox.is_over.get() {
            mailbox.waker.borrow_mut().take();
            return Poll::Ready(());
        }
        mailbox.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        if world.is_stopped() || !mailbox.process.is_running() {
            return Poll::Pending;
        }
        if let Err(caught) = panics::catch(|| self.turn(world)) {
            world.fail_by_panic(&mailbox.who.process, &mailbox.who.owner, caught);
            mailbox.end();
        }
        world.shared().recorder.because(None);
        // What is left waits for another turn, and so does a task that ended itself.
        if mailbox.is_over.get() || !mailbox.inbox.borrow().is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn turn(&mut self, world: &World) {
        let at = world.now();
        let now = self.mailbox.process.now_at(at);
        let Some(budget) = self.budget(world) else { return };
        let turn = Turn::new(budget, Check::Invariants);
        let mut progress = Progress::default();
        while self.step(world, turn, (at, now), &mut progress) {
            world.run_probes();
            world.shared().stage.show(world, Point::Handled);
            let is_last = world.shared().limits.until.is_some_and(|until| world.events() >= until);
            // A watcher may have seen enough, too. What is left of this turn's inputs is never handled.
            if is_last || world.is_stopped() {
                break;
            }
        }
        for effect in self.out.drain() {
            // An effect may end this owner, or its process.
            if self.mailbox.is_over.get() {
                break;
            }
            if let Some(why) = self.whys.pop_front() {
                world.shared().recorder.because(Some(why));
            }
            (self.perform)(effect);
        }
        self.whys.clear();
        world.shared().recorder.because(None);
        let deadline = self.machine.borrow().deadline();
        if !self.mailbox.is_over.get() {
            self.arm(world, deadline);
        }
    }

    /// Handles one input. Returns whether there was one.
    fn step(&mut self, world: &World, turn: Turn, (at, now): (SimTime, Now), progress: &mut Progress) -> bool {
        let shared = world.shared();
        let who = &self.mailbox.who;
        let (mut inbox, mut machine) = (self.mailbox.inbox.borrow_mut(), self.machine.borrow_mut());
        let mut input_entry = None;
        turn.step(progress, &mut *machine, now, &mut inbox, &mut self.out, |seen| {
            let mut trace = shared.trace.borrow_mut();
            match seen {
                Seen::Input(input) => {
                    trace.input(at, who, input);
                    let event = trace.events();
                    if shared.recorder.is_on() {
                        // One that no inbox held is the time.
                        let why = self.mailbox.causes.borrow_mut().pop_front().unwrap_or_default();
                        input_entry = shared.recorder.input(Moment { event, at }, who, input, why);
                    }
                    if shared.break_at == Some(event) {
                        breakpoint(event);
                    }
                }
                Seen::Effects(effects) => {
                    trace.effects(at, who, effects);
                    let moment = Moment { event: trace.events(), at };
                    shared.recorder.effects(moment, who, effects, input_entry, &mut self.whys);
                }
            }
        })
    }

    /// What this turn may do, within what the run may do; `None` ends the run.
    fn budget(&self, world: &World) -> Option<TurnBudget> {
        use super::options::Stop;
        let (turn, limits) = (world.shared().turn, world.shared().limits);
        let done = world.events();
        let (most, why) = match limits.until {
            Some(until) if until < limits.events => (until, Stop::Until),
            _ => (limits.events, Stop::OutOfEvents),
        };
        let left = usize::try_from(most.saturating_sub(done)).unwrap_or(usize::MAX);
        if left == 0 {
            world.stop(why);
            return None;
        }
        Some(TurnBudget { inputs: turn.inputs.min(left), ..turn })
    }

    /// Sets the timer for the machine's deadline. One that is set too early stays: waking up for nothing is cheap.
    fn arm(&self, world: &World, deadline: Option<Deadline>) {
        let mailbox = &self.mailbox;
        let when = deadline.map_or(SimTime::NEVER, |deadline| mailbox.process.when(deadline.at));
        let set = mailbox.timer.get();
        if when == SimTime::NEVER || set.is_some_and(|timer| timer.at() <= when) {
            return;
        }
        if let Some(timer) = set {
            world.cancel(timer);
        }
        mailbox.timer.set(Some(world.set_timer(when, Timer::Deadline(mailbox.clone()))));
    }
}
