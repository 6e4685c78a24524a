//! Disk and object store, bound to the world's time. Completions reach only the incarnation that asked.

use super::process::Process;
use super::world::World;
use crate::disk::SimDisk;
use crate::store::{Applied, Caller, SimStore};
use karst_core::disk::{DiskOp, DiskResult};
use karst_core::machine::Rng;
use karst_core::store::{StoreCall, StoreResult};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// A disk, shared by the successive incarnations of a node. A clone is the same disk.
#[derive(Clone)]
pub struct Disk {
    world: World,
    model: Rc<RefCell<SimDisk>>,
}

impl Disk {
    /// Puts a disk into the world.
    #[must_use]
    pub fn new(world: &World, model: SimDisk) -> Self {
        let model = Rc::new(RefCell::new(model));
        let counted = model.clone();
        world.count_at_end(move || counted.borrow().fired().clone());
        Self { world: world.clone(), model }
    }

    /// Begins an operation of this process. `done` is called once, unless the process dies first.
    pub fn submit(&self, process: &Process, op: DiskOp, done: impl FnOnce(DiskResult) + 'static) {
        let submitted = self.model().submit(self.world.now(), op);
        let (disk, process) = (self.clone(), process.clone());
        self.world.at(submitted.at, move || {
            let result = disk.model().complete(disk.world.now(), submitted.ticket);
            if let Some(result) = result.filter(|_| process.is_alive()) {
                done(result);
            }
        });
    }

    /// Its node died: draws what is left of the writes in flight.
    pub fn crash(&self, rng: &mut Rng) {
        self.model().crash(self.world.now(), rng);
    }

    /// The model: to look at, to damage, to heal.
    #[must_use]
    pub fn model(&self) -> RefMut<'_, SimDisk> {
        self.model.borrow_mut()
    }
}

/// The object store, shared by everybody. A clone is the same store.
#[derive(Clone)]
pub struct Store {
    world: World,
    model: Rc<RefCell<SimStore>>,
    watchers: Rc<RefCell<Vec<Watcher>>>,
}

type Watcher = Rc<dyn Fn(&Applied)>;

impl Store {
    /// Puts an object store into the world.
    #[must_use]
    pub fn new(world: &World, model: SimStore) -> Self {
        let model = Rc::new(RefCell::new(model));
        let counted = model.clone();
        world.count_at_end(move || counted.borrow().fired().clone());
        let watchers: Rc<RefCell<Vec<Watcher>>> = Rc::default();
        let watched = Rc::downgrade(&watchers);
        world.at_end(move || {
            if let Some(watchers) = watched.upgrade() {
                let all = watchers.take();
                drop(all);
            }
        });
        Self { world: world.clone(), model, watchers }
    }

    /// Makes a request of this process. `done` is called once, unless the process dies first; the request goes on even
    /// then.
    pub fn submit(&self, process: &Process, from: Caller, call: StoreCall, done: impl FnOnce(StoreResult) + 'static) {
        let submitted = self.model().submit(self.world.now(), from, call);
        if let Some(effect) = submitted.effect {
            let store = self.clone();
            self.world.at(effect, move || store.settle());
        }
        let (store, process) = (self.clone(), process.clone());
        self.world.at(submitted.answer, move || {
            store.settle();
            let result = store.model().answer(store.world.now(), submitted.request);
            if process.is_alive() {
                done(result);
            }
        });
    }

    /// A caller died: its requests go on, or get lost if they had not arrived.
    pub fn crash(&self, from: Caller, rng: &mut Rng) {
        self.settle();
        self.model().crash(self.world.now(), from, rng);
    }

    /// Shows a checker each change of the bucket, at its moment.
    pub fn watch(&self, watcher: impl Fn(&Applied) + 'static) {
        self.watchers.borrow_mut().push(Rc::new(watcher));
    }

    /// The model: to look at, to damage, to heal. The bucket in it is up to date.
    #[must_use]
    pub fn model(&self) -> RefMut<'_, SimStore> {
        self.model.borrow_mut()
    }

    fn settle(&self) {
        let applied = self.model().settle(self.world.now());
        if applied.is_empty() {
            return;
        }
        let watchers = self.watchers.borrow().clone();
        for (change, watcher) in applied.iter().flat_map(|change| watchers.iter().map(move |one| (change, one))) {
            watcher(change);
        }
    }
}
