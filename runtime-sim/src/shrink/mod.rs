//! The shrinker: from a plan that fails to one that a person can follow, which fails for the same reason.
//!
//! ```text
//!   candidate: the best plan so far, simpler in one respect
//!      │  run, J at a time; the first in order that fails with the same fingerprint and costs less
//!      ▼
//!   best plan ──► next candidate ...   until a whole round of passes finds nothing, at any effort, or time is up
//! ```
//! The reason is a [`Fingerprint`]: invariant, component and place, and no other will do. A world is chaotic: what is left
//! out may move the moment that mattered, though it was no part of the cause. So where a candidate does not fail as it
//! is, later rounds try it again with other orders of owners and other roots, the more the longer nothing else helps.
//! Faults that are few are given their places, as in "write 61 fails", which then move along with what is left out.
//!
//! A system that never comes right is waited for, which may be most of a run. So candidates have a small part of the plan's
//! patience, and the best of them is run with all of it now and then, and at the end: one that comes right late is no
//! failure, and then all since the last that was is forgotten, and candidates have more patience.
//!
//! Results do not depend on the number of threads, unless time runs out.

mod address;
mod passes;
mod search;
mod size;
mod words;

#[cfg(test)]
mod tests;

pub use size::Size;

use crate::experiment::{Experiment, Look, Outcome, Record};
use crate::failure::Fingerprint;
use crate::plan::Plan;
use search::Search;

/// How to shrink.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Runs at once; at least one.
    pub jobs: usize,
    /// Asked before each run: whether to end with the best plan so far.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is tried now.
    pub pass: &'static str,
    /// Runs so far.
    pub runs: u64,
    /// Of the best plan so far.
    pub size: Size,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The simplest plan found.
    pub plan: Plan,
    /// Its run.
    pub outcome: Outcome,
    /// What it and the given plan have in common.
    pub fingerprint: Fingerprint,
    /// Of the given plan.
    pub before: Size,
    /// Of the plan found.
    pub after: Size,
    /// Runs that it took.
    pub runs: u64,
}

/// The plan does not fail: there is nothing to shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed;

/// Makes a failing plan as simple as it can.
///
/// # Errors
/// When the plan does not fail.
pub fn shrink(
    experiment: &dyn Experiment,
    plan: &Plan,
    options: &Options<'_>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Shrunk, Passed> {
    let outcome = experiment.run(plan, &Look::OUTCOME);
    let fingerprint = outcome.failure.as_ref().ok_or(Passed)?.fingerprint();
    let before = Size::of(experiment.vocabulary(), plan, &outcome);
    let mut search = Search::new(experiment, *options, progress, (plan.clone(), outcome));
    passes::all(&mut search);
    let (best, runs) = search.end();
    let after = Size::of(experiment.vocabulary(), &best.plan, &best.outcome);
    Ok(Shrunk { plan: best.plan, outcome: best.outcome, fingerprint, before, after, runs })
}

impl Shrunk {
    /// What remains, in words. Runs the plan once more, to see what its crashes caught.
    #[must_use]
    pub fn in_words(&self, experiment: &dyn Experiment) -> String {
        let recorded = experiment.run(&self.plan, &Look { record: Record::Everything, ..Look::OUTCOME });
        let crashes = recorded.recording.map_or_else(Vec::new, |recording| words::crashes(&recording));
        words::describe(experiment.vocabulary(), &self.plan, &self.outcome, &crashes)
    }
}
