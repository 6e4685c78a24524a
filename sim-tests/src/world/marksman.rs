//! Kills the broker, at once or when what it aims at is in sight, and decides what that leaves on the disk and in the
//! bucket.

use super::aim::Aim;
use super::marks::Witness;
use karst_core::machine::Rng;
use karst_runtime_sim::broker::Broker;
use karst_runtime_sim::exec::{Disk, Store, World};
use karst_runtime_sim::store::Caller;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Of one broker's host. A clone is the same one.
#[derive(Clone)]
pub(super) struct Marksman(Rc<Inner>);

struct Inner {
    world: World,
    disk: Disk,
    store: Store,
    caller: Caller,
    target: RefCell<Option<Target>>,
    aim: Cell<Option<Aim>>,
    rng: RefCell<Rng>,
    crashes: Cell<u64>,
    witness: RefCell<Witness>,
}

struct Target {
    broker: Rc<Broker>,
    incarnation: u32,
}

impl Marksman {
    pub(super) fn new(world: &World, disk: &Disk, store: &Store, caller: Caller, rng: Rng) -> Self {
        let inner = Rc::new(Inner {
            world: world.clone(),
            disk: disk.clone(),
            store: store.clone(),
            caller,
            target: RefCell::new(None),
            aim: Cell::new(None),
            rng: RefCell::new(rng),
            crashes: Cell::new(0),
            witness: RefCell::default(),
        });
        let looks = Rc::downgrade(&inner);
        let look = move || {
            if let Some(inner) = looks.upgrade() {
                inner.look();
            }
        };
        disk.on_submit(look.clone());
        store.on_submit(look);
        Self(inner)
    }

    /// From now on fates are drawn from this.
    pub(super) fn face(&self, rng: Rng) {
        *self.0.rng.borrow_mut() = rng;
        self.0.crashes.set(0);
    }

    /// This is the broker from now on.
    pub(super) fn follow(&self, broker: &Rc<Broker>, incarnation: u32) {
        self.0.aim.set(None);
        *self.0.target.borrow_mut() = Some(Target { broker: broker.clone(), incarnation });
    }

    /// Lies in wait.
    pub(super) fn aim(&self, at: Aim) {
        self.0.aim.set(Some(at));
        self.0.look();
    }

    /// `kill -9`, and a power failure for what its disk has in flight. Whether there was anybody to kill.
    pub(super) fn kill(&self) -> bool {
        self.0.kill()
    }

    /// What a broker that ended itself had in flight is decided.
    pub(super) fn bury(&self) {
        self.0.bury();
    }

    /// Nobody is killed any more.
    pub(super) fn let_go(&self) {
        self.0.aim.set(None);
        *self.0.target.borrow_mut() = None;
    }

    /// What the last recovery found.
    pub(super) fn look_back(&self) {
        self.0.witness.borrow_mut().look_back();
    }
}

impl Inner {
    fn look(self: &Rc<Self>) {
        let Some(aim) = self.aim.get() else { return };
        let now = self.world.now();
        let Some(until) = aim.sight(now, &self.disk.model(), &self.store.model(), self.caller) else { return };
        self.aim.set(None);
        let lasts = u64::try_from(until.since(now).as_nanos()).unwrap_or(u64::MAX);
        let rng = &mut *self.rng.borrow_mut();
        // A put that has taken effect, but was not answered, is worth a crash as well.
        let after = if rng.chance(1, 4) { lasts + rng.below(lasts + 1) } else { rng.below(lasts.max(1)) };
        let (own, incarnation) = (Rc::downgrade(self), self.incarnation());
        self.world.after(Duration::from_nanos(after), move || {
            // Whoever came after it was not what was aimed at.
            if let Some(inner) = own.upgrade().filter(|inner| inner.incarnation() == incarnation)
                && inner.kill()
            {
                inner.world.count(aim.name());
                inner.world.note("nemesis", &aim);
            }
        });
    }

    fn incarnation(&self) -> Option<u32> {
        self.target.borrow().as_ref().map(|target| target.incarnation)
    }

    fn kill(&self) -> bool {
        self.aim.set(None);
        let target = self.target.borrow();
        let Some(Target { broker, incarnation }) = target.as_ref().filter(|target| target.broker.process.is_alive())
        else {
            return false;
        };
        self.witness.borrow_mut().before_kill(broker, &self.store, *incarnation);
        self.world.remark("nemesis", || self.in_flight());
        broker.process.kill();
        self.world.count("broker.crashes");
        self.bury();
        true
    }

    /// What a crash would catch now.
    fn in_flight(&self) -> String {
        let disk = self.disk.model();
        let (writes, reads) = (disk.on_their_way(self.world.now()).count(), disk.being_read().count());
        let puts = self.store.model().coming_puts().filter(|(_, from, ..)| *from == self.caller).count();
        let counts = [(writes, "write"), (reads, "read"), (puts, "put")].into_iter().filter(|(count, _)| *count > 0);
        let named = counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        let all: Vec<String> = named.collect();
        let during = if all.is_empty() { "nothing".into() } else { all.join(" and ") };
        format!("lets the broker crash with {during} on the way")
    }

    fn bury(&self) {
        self.crashes.set(self.crashes.get() + 1);
        let rng = self.rng.borrow().child(&format!("crash/{}", self.crashes.get()));
        self.disk.crash(&mut rng.child("disk"));
        self.store.crash(self.caller, &mut rng.child("store"));
    }
}
