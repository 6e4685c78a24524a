//! Requests whose answer has several parts that become known one by one.

use crate::id::ConnId;
use crate::session::RequestNumber;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Who is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) conn: ConnId,
    pub(crate) number: RequestNumber,
    /// The version of the request, which is that of its answer.
    pub(crate) version: i16,
}

/// One part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    join: u64,
    index: usize,
}

impl Part {
    /// Which one it is.
    pub(super) fn index(self) -> usize {
        self.index
    }

    /// The number of its request.
    pub(super) fn join(self) -> u64 {
        self.join
    }
}

/// Requests of one kind: `R` is what is remembered of the request, `O` the outcome of a part.
#[derive(Debug)]
pub(crate) struct Joins<R, O> {
    issued: u64,
    open: BTreeMap<u64, Join<R, O>>,
}

#[derive(Debug)]
struct Join<R, O> {
    request: R,
    outcomes: Vec<Option<O>>,
    missing: usize,
}

/// What beginning a request came to.
#[derive(Debug)]
pub(crate) enum Begun<R, O> {
    /// It waits, under this number.
    Open(u64),
    /// All its parts are known.
    Complete(Complete<R, O>),
}

/// A request all of whose parts are known.
pub(crate) type Complete<R, O> = (R, Vec<O>);

impl<R, O> Default for Joins<R, O> {
    fn default() -> Self {
        Self { issued: 0, open: BTreeMap::new() }
    }
}

impl<R, O> Joins<R, O> {
    /// Begins a request with as many parts as there are outcomes; `None` for those still unknown.
    pub(crate) fn begin(&mut self, request: R, outcomes: Vec<Option<O>>) -> Begun<R, O> {
        let missing = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        if missing == 0 {
            return Begun::Complete((request, outcomes.into_iter().flatten().collect()));
        }
        self.issued += 1;
        self.open.insert(self.issued, Join { request, outcomes, missing });
        Begun::Open(self.issued)
    }

    /// The name of one part.
    pub(crate) fn part(&self, join: u64, index: usize) -> Part {
        Part { join, index }
    }

    /// The request that a part is of, if that is open.
    pub(super) fn request(&self, part: Part) -> Option<&R> {
        self.open.get(&part.join).map(|join| &join.request)
    }

    /// A part's outcome is known. Returns the request if it was the last one. A part of a request that was given up is
    /// ignored.
    pub(crate) fn finish(&mut self, part: Part, outcome: O) -> Option<Complete<R, O>> {
        let join = self.open.get_mut(&part.join)?;
        let slot = &mut join.outcomes[part.index];
        assert!(slot.is_none(), "each part of a request has one outcome");
        *slot = Some(outcome);
        join.missing -= 1;
        if join.missing > 0 {
            return None;
        }
        let join = self.open.remove(&part.join)?;
        Some((join.request, join.outcomes.into_iter().flatten().collect()))
    }

    /// Ends a request, with this outcome for all that is unknown.
    pub(super) fn give_up(&mut self, join: u64, outcome: impl Fn(usize) -> O) -> Option<Complete<R, O>> {
        let join = self.open.remove(&join)?;
        let outcomes = join.outcomes.into_iter().enumerate();
        Some((join.request, outcomes.map(|(at, known)| known.unwrap_or_else(|| outcome(at))).collect()))
    }

    /// Whether none is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
