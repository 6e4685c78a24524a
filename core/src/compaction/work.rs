//! Requests to the store: a few in flight, each asked again for a while.

use super::attempt::Trouble;
use crate::machine::{Backoff, Instant, Now, OpId, OpIds, Rng};
use crate::store::StoreCall;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// In flight at once: others have more to do.
const AT_ONCE: usize = 4;

/// A request that failed so often ends the attempt; the next one has more patience than this one.
const TRIES: u32 = 4;

/// Tasks of one kind `T` that are to be done, each by a request.
#[derive(Debug)]
pub(super) struct Work<T> {
    ready: VecDeque<Tried<T>>,
    in_flight: BTreeMap<OpId, Tried<T>>,
    resting: Vec<(Instant, Tried<T>)>,
}

/// A task, and how often it was tried.
#[derive(Debug)]
pub(super) struct Tried<T> {
    pub(super) task: T,
    backoff: Backoff,
}

impl<T> Default for Work<T> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), in_flight: BTreeMap::new(), resting: Vec::new() }
    }
}

impl<T> Tried<T> {
    /// Whether an earlier request may have taken effect.
    pub(super) const fn is_again(&self) -> bool {
        self.backoff.attempts() > 0
    }
}

impl<T> Work<T> {
    pub(super) fn add(&mut self, task: T) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        self.ready.push_back(Tried { task, backoff });
    }

    /// Whether nothing is left to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.in_flight.is_empty() && self.resting.is_empty()
    }

    /// Whether a request could go now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty() && self.in_flight.len() < AT_ONCE
    }

    /// The next request, if one may go.
    pub(super) fn ask(&mut self, ops: &mut OpIds, call: impl FnOnce(&T) -> StoreCall) -> Option<(OpId, StoreCall)> {
        if !self.is_ready() {
            return None;
        }
        let tried = self.ready.pop_front()?;
        let (op, call) = (ops.issue(), call(&tried.task));
        self.in_flight.insert(op, tried);
        Some((op, call))
    }

    /// What a completion is of.
    pub(super) fn completed(&mut self, op: OpId) -> Option<Tried<T>> {
        self.in_flight.remove(&op)
    }

    /// Goes on with another task at once, without a pause.
    pub(super) fn go_on(&mut self, tried: Tried<T>, task: T) {
        self.ready.push_front(Tried { task, ..tried });
    }

    /// Asks again, later.
    ///
    /// # Errors
    /// When that was done often enough.
    pub(super) fn again(
        &mut self,
        now: Now,
        mut tried: Tried<T>,
        rng: &mut Rng,
        trouble: impl FnOnce() -> Trouble,
    ) -> Result<(), Trouble> {
        let until = now.mono.after(tried.backoff.wait(rng));
        if tried.backoff.attempts() >= TRIES {
            return Err(trouble());
        }
        self.resting.push((until, tried));
        Ok(())
    }

    pub(super) fn wake(&mut self, now: Now) {
        self.ready.extend(self.resting.extract_if(.., |(until, _)| *until <= now.mono).map(|(_, tried)| tried));
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.resting.iter().map(|(until, _)| *until).min()
    }

    /// The requests in flight, whose completions nobody waits for any more.
    pub(super) fn give_up(self) -> impl Iterator<Item = OpId> {
        self.in_flight.into_keys()
    }

    pub(super) fn invariants(&self) {
        assert!(self.in_flight.len() <= AT_ONCE, "a few requests are in flight");
        assert!(self.resting.iter().all(|(_, tried)| tried.is_again()), "what rests was tried");
    }
}
