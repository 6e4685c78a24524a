//! Owners: threads that drive one machine each, and the inboxes by which they are reached.
//!
//! ```text
//!   Address::send ──► queue ──swap──► Inbox ──Turn::run──► Effects ──Perform──► other owners, disk, store
//!                                       ▲                     │
//!                                       └── sleeps until mail comes or the machine's deadline
//! ```
//! An inbox never refuses and never blocks a sender; credit bounds what is in it. The reader takes everything that
//! waits with one swap, so a busy owner pays one lock per turn, not per message, and a sender that knows its reader to
//! be awake pays no system call. A reader with nothing to do sleeps at once: looking again for some microseconds first
//! was measured, and made a hop between two owners slower, not faster, where processors are few.

use crate::clock::Clock;
use crate::exit::PanicGuard;
use karst_core::machine::{Deadline, Effects, Inbox, Machine, Turn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where an owner's inputs go. Cheap to clone.
#[derive(Debug)]
pub struct Address<I>(Arc<Shared<I>>);

/// The other end of an [`Address`]: to be given to [`spawn`].
#[derive(Debug)]
pub struct Receiver<I>(Arc<Shared<I>>);

#[derive(Debug)]
struct Shared<I> {
    queue: Mutex<Queue<I>>,
    arrived: Condvar,
    senders: AtomicUsize,
}

#[derive(Debug)]
struct Queue<I> {
    inputs: Vec<I>,
    reader_sleeps: bool,
    /// A turn is wanted, although there may be nothing to do.
    woken: bool,
}

/// Does what a machine wants done. Nothing in here may wait for the world.
pub trait Perform<E> {
    /// Does, or gathers for [`Perform::flush`], one effect.
    fn perform(&mut self, effect: E);

    /// The turn is over: what was gathered leaves.
    fn flush(&mut self) {}
}

/// A new inbox.
#[must_use]
pub fn inbox<I>() -> (Address<I>, Receiver<I>) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue { inputs: Vec::new(), reader_sleeps: false, woken: false }),
        arrived: Condvar::new(),
        senders: AtomicUsize::new(1),
    });
    (Address(shared.clone()), Receiver(shared))
}

/// Starts an owner: a thread that drives `machine` until every [`Address`] of `inbox` is gone. After each turn `look` may
/// look at the machine, quickly. A panic in it ends the process.
///
/// # Panics
/// When the operating system has no thread left.
pub fn spawn<M, P>(
    name: &'static str,
    inbox: Receiver<M::Input>,
    machine: M,
    turn: Turn,
    clock: Clock,
    perform: P,
    look: impl FnMut(&M) + Send + 'static,
) -> JoinHandle<()>
where
    M: Machine + Send + 'static,
    M::Input: Send,
    P: Perform<M::Effect> + Send + 'static,
{
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let _guard = PanicGuard::new(name);
            drive(&inbox, machine, turn, clock, perform, look);
        })
        .expect("without a thread for each owner there is no broker")
}

fn drive<M: Machine>(
    receiver: &Receiver<M::Input>,
    mut machine: M,
    turn: Turn,
    clock: Clock,
    mut perform: impl Perform<M::Effect>,
    mut look: impl FnMut(&M),
) {
    let mut swapped = Vec::new();
    let mut inbox = Inbox::default();
    let mut effects = Effects::default();
    loop {
        receiver.take(&mut swapped);
        swapped.drain(..).for_each(|input| inbox.push(input));
        turn.run(&mut machine, clock.now(), &mut inbox, &mut effects, |_| {});
        effects.drain().for_each(|effect| perform.perform(effect));
        perform.flush();
        look(&machine);
        if inbox.is_empty() && !receiver.wait(machine.deadline(), clock) {
            return;
        }
    }
}

impl<I> Address<I> {
    /// Puts one input at the end.
    pub fn send(&self, input: I) {
        let mut queue = self.0.lock();
        queue.inputs.push(input);
        self.0.announce(queue);
    }

    /// Has its owner take a turn, so that it is looked at.
    pub fn wake(&self) {
        let mut queue = self.0.lock();
        queue.woken = true;
        self.0.announce(queue);
    }

    /// Puts all of these at the end, in order, and leaves `inputs` empty.
    pub fn send_all(&self, inputs: &mut Vec<I>) {
        if inputs.is_empty() {
            return;
        }
        let mut queue = self.0.lock();
        queue.inputs.append(inputs);
        self.0.announce(queue);
    }
}

impl<I> Receiver<I> {
    /// Takes all that waits; `into` must be empty.
    fn take(&self, into: &mut Vec<I>) {
        debug_assert!(into.is_empty(), "what was taken before must be handled first");
        let mut queue = self.0.lock();
        std::mem::swap(&mut queue.inputs, into);
    }

    /// Returns when something waits or the deadline has come; false if nobody can send anything any more.
    fn wait(&self, deadline: Option<Deadline>, clock: Clock) -> bool {
        let until = deadline.and_then(|due| clock.when(due.at));
        let mut queue = self.0.lock();
        loop {
            if std::mem::take(&mut queue.woken) || !queue.inputs.is_empty() {
                return true;
            }
            if self.0.senders.load(Ordering::Acquire) == 0 {
                return false;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return true;
            }
            queue.reader_sleeps = true;
            queue = match left {
                Some(left) => self.0.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            queue.reader_sleeps = false;
        }
    }
}

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, Queue<I>> {
        // Whoever panicked while holding it is ending the process; until then the queue is as good as ever.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, queue: MutexGuard<'_, Queue<I>>) {
        let reader_sleeps = queue.reader_sleeps;
        drop(queue);
        if reader_sleeps {
            self.arrived.notify_one();
        }
    }
}

impl<I> Clone for Address<I> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<I> Drop for Address<I> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Under the lock, or the reader could miss it between its look at the count and its sleep.
            drop(self.0.lock());
            self.0.arrived.notify_one();
        }
    }
}

/// Gathers the mail of one turn for one addressee, so that it costs one lock and one wake-up.
#[derive(Debug)]
pub struct Outbox<I> {
    to: Address<I>,
    waiting: Vec<I>,
}

impl<I> Clone for Outbox<I> {
    /// An empty one to the same.
    fn clone(&self) -> Self {
        Self::new(self.to.clone())
    }
}

impl<I> Outbox<I> {
    /// To this owner.
    #[must_use]
    pub const fn new(to: Address<I>) -> Self {
        Self { to, waiting: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, input: I) {
        self.waiting.push(input);
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) {
        self.to.send_all(&mut self.waiting);
    }
}

#[cfg(test)]
mod tests;
