//! Disk and object store, bound to the world's time. Completions reach only the incarnation that asked.

use super::process::Process;
use super::recorder::Told;
use super::world::World;
use crate::disk::SimDisk;
use crate::recording::{About, Describe, EntryKind};
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
    observers: Observers,
}

impl Disk {
    /// Puts a disk into the world.
    #[must_use]
    pub fn new(world: &World, mut model: SimDisk) -> Self {
        model.set_gate(world.gate().clone());
        let model = Rc::new(RefCell::new(model));
        world.shared().stage.enter_model("disk", &model);
        let counted = model.clone();
        world.count_at_end(move || counted.borrow().fired().clone());
        Self { world: world.clone(), model, observers: Observers::new(world) }
    }

    /// Begins an operation of this process. `done` is called once, unless the process dies first.
    pub fn submit(&self, process: &Process, op: DiskOp, done: impl FnOnce(DiskResult) + 'static) {
        let submitted = self.model().submit(self.world.now(), op);
        self.world.record_faults(process.name());
        self.observers.tell();
        let (disk, process) = (self.clone(), process.clone());
        self.world.at(submitted.at, move || {
            let result = disk.model().complete(disk.world.now(), submitted.ticket);
            disk.world.record_faults(process.name());
            if let Some(result) = result.filter(|_| process.is_alive()) {
                done(result);
            }
        });
    }

    /// Tells somebody of each operation, when it has just begun.
    pub fn on_submit(&self, observer: impl Fn() + 'static) {
        self.observers.add(observer);
    }

    /// Its node died: draws what is left of the writes in flight.
    pub fn crash(&self, rng: &mut Rng) {
        self.model().crash(self.world.now(), rng);
        self.world.record_faults("world");
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
    observers: Observers,
}

type Watcher = Rc<dyn Fn(&Applied)>;

impl Store {
    /// Puts an object store into the world.
    #[must_use]
    pub fn new(world: &World, mut model: SimStore) -> Self {
        model.set_gate(world.gate().clone());
        let model = Rc::new(RefCell::new(model));
        world.shared().stage.enter_model("store", &model);
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
        Self { world: world.clone(), model, watchers, observers: Observers::new(world) }
    }

    /// Makes a request of this process. `done` is called once, unless the process dies first; the request goes on even
    /// then.
    pub fn submit(&self, process: &Process, from: Caller, call: StoreCall, done: impl FnOnce(StoreResult) + 'static) {
        let submitted = self.model().submit(self.world.now(), from, call);
        self.world.record_faults(process.name());
        self.observers.tell();
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

    /// Tells somebody of each request, when it has just been made.
    pub fn on_submit(&self, observer: impl Fn() + 'static) {
        self.observers.add(observer);
    }

    /// A caller died: its requests go on, or get lost if they had not arrived.
    pub fn crash(&self, from: Caller, rng: &mut Rng) {
        self.settle();
        self.model().crash(self.world.now(), from, rng);
        self.world.record_faults("world");
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
        for change in &applied {
            self.world.record(EntryKind::Note, ("world", "store"), || {
                let mut about = About::default();
                change.describe(&mut about);
                Told { text: change.to_string(), words: change.words(), about }
            });
        }
        let watchers = self.watchers.borrow().clone();
        for (change, watcher) in applied.iter().flat_map(|change| watchers.iter().map(move |one| (change, one))) {
            watcher(change);
        }
    }
}

/// Who wants to know that something has begun; forgotten when the run is over, since they may hold what holds them.
#[derive(Clone, Default)]
struct Observers(Rc<RefCell<Vec<Observer>>>);

type Observer = Rc<dyn Fn()>;

impl Observers {
    fn new(world: &World) -> Self {
        let observers = Self::default();
        let forgotten = Rc::downgrade(&observers.0);
        world.at_end(move || {
            if let Some(observers) = forgotten.upgrade() {
                drop(observers.take());
            }
        });
        observers
    }

    fn add(&self, observer: impl Fn() + 'static) {
        self.0.borrow_mut().push(Rc::new(observer));
    }

    fn tell(&self) {
        let all = self.0.borrow().clone();
        all.iter().for_each(|observer| observer());
    }
}
