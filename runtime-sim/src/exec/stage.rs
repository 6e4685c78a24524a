//! What a debugger sees of a run: each event once it is handled, and the state of every machine.

use super::world::World;
use core::fmt::Debug;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// When a watcher is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An event has been handled: [`World::events`] is its number. Its effects are known, and not performed yet.
    Handled,
    /// The run is over; the machines are as they were left.
    End,
}

type Watcher = Box<dyn FnMut(&World, Point)>;

/// Who watches, and what there is to be seen. Nothing is kept unless somebody watches.
#[derive(Default)]
pub(super) struct Stage {
    watcher: RefCell<Option<Watcher>>,
    is_watched: Cell<bool>,
    machines: RefCell<Vec<OnStage>>,
}

struct OnStage {
    process: Arc<str>,
    owner: Arc<str>,
    state: Box<dyn Fn() -> String>,
}

impl Stage {
    pub(super) fn watch(&self, watcher: Watcher) {
        self.is_watched.set(true);
        *self.watcher.borrow_mut() = Some(watcher);
    }

    /// A machine begins to work.
    pub(super) fn enter<M: Debug + 'static>(&self, (process, owner): (&Arc<str>, &Arc<str>), machine: &Rc<RefCell<M>>) {
        if !self.is_watched.get() {
            return;
        }
        let machine = machine.clone();
        let state = Box::new(move || format!("{:?}", machine.borrow()));
        self.machines.borrow_mut().push(OnStage { process: process.clone(), owner: owner.clone(), state });
    }

    /// A model is there, such as a disk. It belongs to no process.
    pub(super) fn enter_model<M: Debug + 'static>(&self, name: &str, model: &Rc<RefCell<M>>) {
        self.enter((&"world".into(), &name.into()), model);
    }

    /// Calls the watcher.
    pub(super) fn show(&self, world: &World, point: Point) {
        if !self.is_watched.get() {
            return;
        }
        // It may ask anything of the world, this included.
        let watcher = self.watcher.borrow_mut().take();
        if let Some(mut watcher) = watcher {
            watcher(world, point);
            *self.watcher.borrow_mut() = Some(watcher);
        }
    }

    pub(super) fn clear(&self) {
        let (watcher, machines) = (self.watcher.take(), self.machines.take());
        self.is_watched.set(false);
        drop((watcher, machines));
    }

    fn names(&self) -> Vec<String> {
        self.machines.borrow().iter().map(OnStage::name).collect()
    }

    fn state(&self, name: &str) -> Option<String> {
        let machines = self.machines.borrow();
        let found = machines.iter().rev().find(|one| one.name() == name)?;
        Some((found.state)())
    }
}

impl OnStage {
    fn name(&self) -> String {
        format!("{}/{}", self.process, self.owner)
    }
}

impl World {
    /// Calls `watcher` after each event, with nothing borrowed, and at the end. Machines that work already stay unseen:
    /// call this first. Watching changes nothing of the run.
    pub fn watch(&self, watcher: impl FnMut(&Self, Point) + 'static) {
        self.shared().stage.watch(Box::new(watcher));
    }

    /// The machines and models that a watcher can look at, such as `broker-1/wal` or `world/store`, in the order in which
    /// they began.
    #[must_use]
    pub fn states(&self) -> Vec<String> {
        self.shared().stage.names()
    }

    /// A machine's state as its Debug text, see [`debug_text`](crate::debug_text); of a machine that has ended, its last.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<String> {
        self.shared().stage.state(name)
    }
}

/// Called with the number of the event that [`Options::break_at`](super::Options::break_at) names, right before it is
/// handled: a place for a debugger's breakpoint.
#[inline(never)]
pub fn breakpoint(event: u64) {
    core::hint::black_box(event);
}
