//! What the tools know of a simulation: that it has plans, and that a plan can be run.

use crate::failure::Failure;
use crate::plan::{Plan, Vocabulary};
pub use crate::recording::Record;
use crate::recording::Recording;
use crate::seed::Seed;
use crate::time::SimTime;
use crate::trace::{Line, LogOptions};
use std::collections::BTreeMap;

/// A world with its plans: what can be run, shrunk, followed and drawn.
pub trait Experiment: Sync {
    /// What its plans may say.
    fn vocabulary(&self) -> &Vocabulary;

    /// The plan of a seed. The only reader of the seed.
    fn draw(&self, seed: Seed) -> Plan;

    /// Runs a plan in a world of its own, to its end or its first failure.
    fn run(&self, plan: &Plan, look: &Look) -> Outcome;
}

/// What a run should leave besides its outcome. Looking changes nothing of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Which lines to keep.
    pub log: LogOptions,
    /// Whether to record every entry.
    pub record: Record,
    /// Stop after this event.
    pub until: Option<u64>,
}

impl Look {
    /// At the outcome alone.
    pub const OUTCOME: Self = Self { log: LogOptions::OFF, record: Record::Nothing, until: None };
    /// At everything.
    pub const EVERYTHING: Self = Self { log: LogOptions::OFF, record: Record::Everything, until: None };
}

/// How a run ended, and what it did on the way.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What failed, if something did.
    pub failure: Option<Failure>,
    /// Equal for equal runs.
    pub hash: u64,
    /// Inputs handled.
    pub events: u64,
    /// When the last of them was.
    pub at: SimTime,
    /// How often each gated thing came up, whether it happened or not: faults by kind, operations by client. See
    /// [`crate::gate`].
    pub occurrences: BTreeMap<String, u64>,
    /// What those who do operations asked for, by kind, such as `produce`: for people.
    pub requests: BTreeMap<String, u64>,
    /// The lines kept.
    pub lines: Vec<Line>,
    /// The recording asked for.
    pub recording: Option<Recording>,
}
