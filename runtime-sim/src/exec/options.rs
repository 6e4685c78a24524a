//! What a run is told, and what it tells.

use crate::experiment::{Look, Outcome};
use crate::failure::Failure;
use crate::recording::{Record, Recording};
use crate::report::Counters;
use crate::seed::Seed;
use crate::time::SimTime;
use crate::trace::{Line, LogOptions};
use core::time::Duration;
use karst_core::machine::TurnBudget;
use std::collections::BTreeMap;

/// How to run a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Decides the order in which ready owners run, and nothing else. See [`crate::seed::SeedTree::schedule`].
    pub schedule: Seed,
    /// When to give up.
    pub limits: Limits,
    /// How much an owner does before others get their turn.
    pub turn: TurnBudget,
    /// Which lines of the event log to keep.
    pub log: LogOptions,
    /// Whether to record every entry, with its cause.
    pub record: Record,
    /// Call [`breakpoint`](super::breakpoint) right before this event is handled.
    pub break_at: Option<u64>,
}

impl Options {
    /// Generous limits, no log.
    #[must_use]
    pub fn new(schedule: Seed) -> Self {
        Self {
            schedule,
            limits: Limits::default(),
            turn: TurnBudget::default(),
            log: LogOptions::OFF,
            record: Record::Nothing,
            break_at: None,
        }
    }

    /// The same for a run that somebody looks at.
    #[must_use]
    pub fn looking(schedule: Seed, look: &Look) -> Self {
        let limits = Limits { until: look.until, ..Limits::default() };
        Self { limits, log: look.log, record: look.record, ..Self::new(schedule) }
    }
}

/// When a run ends though its scenario has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Inputs handled, over all owners: ends what turns in circles without time passing.
    pub events: u64,
    /// Simulated time.
    pub time: Duration,
    /// For replays: stop after this event, whatever comes.
    pub until: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 100_000_000, time: Duration::from_secs(24 * 3600), until: None }
    }
}

/// What a run leaves.
#[derive(Clone, Debug)]
pub struct RunReport<T> {
    /// How it ended.
    pub end: End<T>,
    /// Equal for equal runs: over time, owner, input and effects of all events.
    pub hash: u64,
    /// Inputs handled.
    pub events: u64,
    /// When the last of them was.
    pub at: SimTime,
    /// Faults that fired.
    pub fired: Counters,
    /// How many of each thing came to the gate, whether it happened or not. See [`crate::gate`].
    pub occurrences: BTreeMap<String, u64>,
    /// The lines kept.
    pub log: Vec<Line>,
    /// The recording asked for.
    pub recording: Option<Recording>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<T> {
    /// The scenario came to its end, and nothing failed before.
    Finished(T),
    /// It did not.
    Stopped(Stop),
}

/// Why a scenario did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something that must not happen did.
    Failed(Failure),
    /// No owner has work, no timer is set, and the scenario still waits: nothing will ever happen.
    Deadlock,
    /// See [`Limits::events`].
    OutOfEvents,
    /// See [`Limits::time`].
    OutOfTime,
    /// See [`Limits::until`].
    Until,
}

impl<T> RunReport<T> {
    /// What failed, if something did. A run that does not come to its end has failed, too, unless it was told to stop.
    #[must_use]
    pub fn verdict(&self) -> Option<Failure> {
        let message = match &self.end {
            End::Finished(_) | End::Stopped(Stop::Until) => return None,
            End::Stopped(Stop::Failed(failure)) => return Some(failure.clone()),
            End::Stopped(Stop::Deadlock) => "nothing will ever happen any more",
            End::Stopped(Stop::OutOfEvents) => "the run turns in circles: out of events",
            End::Stopped(Stop::OutOfTime) => "the run does not end: out of time",
        };
        Some(Failure {
            invariant: "liveness".into(),
            process: "world".into(),
            component: "world".into(),
            message: message.into(),
            site: None,
            subjects: Vec::new(),
            at: self.at,
            event: self.events,
        })
    }

    /// What failed, if something did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::Stopped(Stop::Failed(failure)) => Some(failure),
            _ => None,
        }
    }
}

impl<T> From<RunReport<T>> for Outcome {
    fn from(run: RunReport<T>) -> Self {
        Self {
            failure: run.verdict(),
            hash: run.hash,
            events: run.events,
            at: run.at,
            occurrences: run.occurrences,
            requests: BTreeMap::new(),
            lines: run.log,
            recording: run.recording,
        }
    }
}
