//! Processes: what is killed and paused as one.

use super::member::Member;
use super::owner::{Address, Mailbox, Owner};
use super::recorder::Told;
use super::task;
use super::world::World;
use crate::clock::NodeClock;
use crate::recording::{Describe, EntryId, EntryKind};
use crate::time::SimTime;
use core::fmt::Debug;
use karst_core::machine::{Machine, Now};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// One incarnation of a node, or a client. A clone is the same process.
#[derive(Clone)]
pub struct Process(Rc<ProcessState>);

pub(super) struct ProcessState {
    world: World,
    name: Arc<str>,
    life: Cell<Life>,
    clock: RefCell<NodeClock>,
    members: RefCell<Members>,
    on_kill: RefCell<Vec<Box<dyn FnOnce()>>>,
}

#[derive(Default)]
struct Members {
    all: Vec<Rc<dyn Member>>,
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

impl Process {
    pub(super) fn new(world: World, name: &str, clock: NodeClock) -> Self {
        let process = Self(Rc::new(ProcessState {
            world,
            name: name.into(),
            life: Cell::new(Life::Running),
            clock: RefCell::new(clock),
            members: RefCell::default(),
            on_kill: RefCell::default(),
        }));
        process.record(EntryKind::Note, "starts");
        process
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The world that it lives in.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// An inbox without a machine yet, so that owners can know each other's addresses before they exist.
    #[must_use]
    pub fn mailbox<I: 'static>(&self, name: &str) -> Address<I> {
        let mailbox = Rc::new(Mailbox::new(self.clone(), name));
        self.add(mailbox.clone());
        Address::new(mailbox)
    }

    /// Gives an inbox its machine. `perform` is called with each effect, in order, after the turn that caused it.
    ///
    /// # Panics
    /// When it has one already.
    pub fn drive<M: Machine<Input: Describe, Effect: Describe> + Debug + 'static>(
        &self,
        address: &Address<M::Input>,
        machine: M,
        perform: impl FnMut(M::Effect) + 'static,
    ) -> Owner<M> {
        Owner::start(address.clone(), machine, perform)
    }

    /// Both: an inbox with its machine.
    pub fn spawn_owner<M: Machine<Input: Describe, Effect: Describe> + Debug + 'static>(
        &self,
        name: &str,
        machine: M,
        perform: impl FnMut(M::Effect) + 'static,
    ) -> Owner<M> {
        self.drive(&self.mailbox(name), machine, perform)
    }

    /// Runs an async part of this process, such as a client. It stops when the process does.
    pub fn spawn_task(&self, name: &str, future: impl Future<Output = ()> + 'static) {
        task::spawn(self, name, future);
    }

    /// Whether it has not been killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.life.get() != Life::Dead
    }

    /// Whether its owners may run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.life.get() == Life::Running
    }

    /// Ends it at once, as `kill -9` does: no further input is handled, no further effect is performed, what waits in
    /// inboxes is gone. Then the actions of [`Process::on_kill`] follow.
    pub fn kill(&self) {
        self.die(EntryKind::Fault, "is killed");
    }

    /// The same as [`Process::kill`] of one that ends of its own accord, and has done what it had to do: that is no fault.
    pub fn exit(&self) {
        self.die(EntryKind::Note, "ends");
    }

    /// The same of one that gives up.
    pub fn abort(&self) {
        self.die(EntryKind::Fault, "gives up, and ends");
    }

    fn die(&self, kind: EntryKind, how: &str) {
        if self.0.life.replace(Life::Dead) == Life::Dead {
            return;
        }
        let recorder = &self.0.world.shared().recorder;
        let before = recorder.because(self.record(kind, how).or(recorder.cause()));
        self.0.world.end_bands(&self.0.name);
        self.0.members.take().all.iter().for_each(|member| member.die());
        let actions = self.0.on_kill.take();
        actions.into_iter().for_each(|action| action());
        recorder.because(before);
    }

    /// What else happens when it is killed, such as the end of its connections.
    pub fn on_kill(&self, action: impl FnOnce() + 'static) {
        if self.is_alive() {
            self.0.on_kill.borrow_mut().push(Box::new(action));
        }
    }

    /// Freezes it, as SIGSTOP or a frozen virtual machine does: its clocks go on, and what arrives queues up.
    pub fn pause(&self) {
        if self.is_alive() {
            self.0.life.set(Life::Paused);
            self.record(EntryKind::Fault, "is paused");
            self.0.world.band(&self.0.name, "pause", Some("paused".into()));
        }
    }

    /// Ends a pause.
    pub fn resume(&self) {
        if self.0.life.get() == Life::Paused {
            self.0.life.set(Life::Running);
            self.record(EntryKind::Note, "goes on");
            self.0.world.band(&self.0.name, "pause", None);
            self.0.members.borrow().all.iter().for_each(|member| member.resume());
        }
    }

    /// What its clocks show.
    #[must_use]
    pub fn now(&self) -> Now {
        self.0.clock.borrow().now(self.0.world.now())
    }

    /// Sets its wall clock forward or back.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.0.clock.borrow_mut().jump(self.0.world.now(), by_ms);
        self.record(EntryKind::Fault, &format!("its wall clock jumps by {by_ms} ms"));
    }

    /// The clock of the next incarnation on the same host.
    #[must_use]
    pub fn next_clock(&self) -> NodeClock {
        self.0.clock.borrow().restarted(self.0.world.now())
    }

    /// Owners and tasks that have not ended.
    #[must_use]
    pub fn members(&self) -> usize {
        self.0.members.borrow().all.iter().filter(|member| !member.is_over()).count()
    }

    fn record(&self, kind: EntryKind, what: &str) -> Option<EntryId> {
        self.0.world.record(kind, (&self.0.name, "process"), || Told::sentence(what))
    }

    pub(super) fn full_name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub(super) fn now_at(&self, at: SimTime) -> Now {
        self.0.clock.borrow().now(at)
    }

    pub(super) fn when(&self, instant: karst_core::machine::Instant) -> SimTime {
        self.0.clock.borrow().when(instant)
    }

    /// Members come and go (a session per connection): those that ended are swept out now and then.
    pub(super) fn add(&self, member: Rc<dyn Member>) {
        if !self.is_alive() {
            member.die();
            return;
        }
        let mut members = self.0.members.borrow_mut();
        if members.all.len() >= members.sweep_at {
            members.all.retain(|member| !member.is_over());
            members.sweep_at = (2 * members.all.len()).max(16);
        }
        members.all.push(member);
    }

    pub(super) fn downgrade(&self) -> Weak<ProcessState> {
        Rc::downgrade(&self.0)
    }
}

impl ProcessState {
    /// The run is over: like a kill, without its actions.
    pub(super) fn end(&self) {
        self.life.set(Life::Dead);
        self.members.take().all.iter().for_each(|member| member.die());
        drop(self.on_kill.take());
    }
}
