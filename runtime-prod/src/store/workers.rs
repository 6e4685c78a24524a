//! Threads that do store operations, and the clock that cuts them off.

use super::{Backend, Completion, Submit};
use crate::exit::PanicGuard;
use karst_core::store::{Cause, StoreCall, StoreError, StoreOp, StoreResult};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A pool of threads in front of a [`Backend`]. They end when the pool is dropped and everything submitted is done.
#[derive(Debug)]
pub struct Workers(Arc<Shared>);

/// The completion, until somebody takes it: the worker that is done, or the deadline.
#[derive(Clone)]
struct Slot(Arc<Mutex<Option<Completion>>>);

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    due: Mutex<Due>,
    sooner: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(StoreOp, Slot)>,
    over: bool,
}

#[derive(Default)]
struct Due {
    /// The earliest is on top.
    heap: BinaryHeap<Reverse<Attempt>>,
    issued: u64,
    over: bool,
}

struct Attempt {
    at: Instant,
    number: u64,
    slot: Slot,
}

impl Workers {
    /// Starts `threads` of them, and one for the deadlines.
    ///
    /// # Panics
    /// When the operating system has no thread left.
    pub fn start(backend: impl Backend, threads: u32) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            due: Mutex::default(),
            sooner: Condvar::new(),
        });
        let backend = Arc::new(backend);
        for number in 0..threads.max(1) {
            let (shared, backend) = (shared.clone(), backend.clone());
            thread(format!("store-{number}"), move || shared.work(&*backend));
        }
        let clock = shared.clone();
        thread("store-deadlines".into(), move || clock.expire());
        Self(shared)
    }
}

impl Submit for Workers {
    fn submit(&self, call: StoreCall, done: Completion) {
        let slot = Slot(Arc::new(Mutex::new(Some(done))));
        self.0.limit(call.within, slot.clone());
        lock(&self.0.queue).waiting.push_back((call.op, slot));
        self.0.arrived.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.0.queue).over = true;
        self.0.arrived.notify_all();
        lock(&self.0.due).over = true;
        self.0.sooner.notify_all();
    }
}

impl Shared {
    fn work(&self, backend: &dyn Backend) {
        while let Some((op, slot)) = self.next() {
            if slot.is_open() {
                slot.complete(backend.perform(&op));
            }
        }
    }

    fn next(&self) -> Option<(StoreOp, Slot)> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            if queue.over {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn limit(&self, within: Duration, slot: Slot) {
        // A deadline that no clock can tell is none.
        let Some(at) = Instant::now().checked_add(within) else { return };
        let mut due = lock(&self.due);
        due.issued += 1;
        let number = due.issued;
        let soonest = due.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        due.heap.push(Reverse(Attempt { at, number, slot }));
        if soonest {
            self.sooner.notify_one();
        }
    }

    fn expire(&self) {
        let mut due = lock(&self.due);
        while !due.over {
            let now = Instant::now();
            while due.heap.peek().is_some_and(|Reverse(first)| first.at <= now || !first.slot.is_open()) {
                let Some(Reverse(attempt)) = due.heap.pop() else { break };
                attempt.slot.complete(Err(StoreError::Ambiguous(Cause::Timeout)));
            }
            due = match due.heap.peek() {
                Some(Reverse(first)) => {
                    let left = first.at.saturating_duration_since(now);
                    self.sooner.wait_timeout(due, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.sooner.wait(due).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        lock(&self.0).is_some()
    }

    fn complete(&self, result: StoreResult) {
        let done = lock(&self.0).take();
        if let Some(done) = done {
            done(result);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("waiting", &lock(&self.queue).waiting.len()).finish()
    }
}

impl Ord for Attempt {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Attempt {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Attempt {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Attempt {}

fn thread(name: String, body: impl FnOnce() + Send + 'static) {
    let guarded = move || {
        let _guard = PanicGuard::new("a store worker");
        body();
    };
    std::thread::Builder::new().name(name).spawn(guarded).expect("without its workers there is no store");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_core::store::StoreDone;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    /// Deletes the key `slow` only when told to, everything else at once.
    struct Sluggish {
        release: Mutex<mpsc::Receiver<()>>,
        performed: Arc<AtomicUsize>,
    }

    impl Sluggish {
        fn start(threads: u32) -> (Workers, mpsc::Sender<()>, Arc<AtomicUsize>) {
            let (release, held) = mpsc::channel();
            let performed = Arc::new(AtomicUsize::new(0));
            let backend = Self { release: Mutex::new(held), performed: performed.clone() };
            (Workers::start(backend, threads), release, performed)
        }
    }

    impl Backend for Sluggish {
        fn perform(&self, op: &StoreOp) -> StoreResult {
            self.performed.fetch_add(1, Ordering::SeqCst);
            if matches!(op, StoreOp::Delete { key } if key.0 == "slow") {
                let _ = lock(&self.release).recv();
            }
            Ok(StoreDone::Deleted)
        }
    }

    fn delete(key: &str, within: Duration) -> StoreCall {
        StoreCall { op: StoreOp::Delete { key: key.into() }, within }
    }

    #[test]
    fn a_late_call_completes_once_and_those_behind_it_complete_too() {
        let (workers, release, performed) = Sluggish::start(1);
        let (tell, told) = mpsc::channel();
        for (name, within) in [("slow", 30), ("fast", 60), ("fast", 60_000)] {
            let tell = tell.clone();
            let done = Box::new(move |result| drop(tell.send((name, within, result))));
            workers.submit(delete(name, Duration::from_millis(within)), done);
        }
        let next = || told.recv_timeout(Duration::from_secs(10));
        let late = Err(StoreError::Ambiguous(Cause::Timeout));
        assert_eq!(next(), Ok(("slow", 30, late.clone())));
        assert_eq!(next(), Ok(("fast", 60, late)), "it never left the queue");
        release.send(()).expect("the worker waits");
        assert_eq!(next(), Ok(("fast", 60_000, Ok(StoreDone::Deleted))));
        assert_eq!(performed.load(Ordering::SeqCst), 2, "what nobody waits for is not done");
        drop((workers, tell));
        assert!(told.recv().is_err(), "nobody hears twice");
    }

    #[test]
    fn a_call_without_a_reachable_deadline_is_done_all_the_same() {
        let (workers, _release, _) = Sluggish::start(2);
        let (tell, told) = mpsc::channel();
        workers.submit(delete("fast", Duration::MAX), Box::new(move |result| drop(tell.send(result))));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Ok(StoreDone::Deleted)));
    }
}
