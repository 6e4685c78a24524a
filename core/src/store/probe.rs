//! MACHINE: the probe. Finds out at start whether a store keeps the contract on which everything else rests.
//!
//! **Owns** a handful of small objects under `probe/`, with names that no other probe has, and removes them at the end,
//! together with what a probe left behind that was killed more than a day ago.
//!
//! **Promises** that a store passes only if it was seen to refuse what it must refuse: a second conditional create, a
//! swap of a version that is gone or of nothing, all but one of those who race for a name or a version; and to show at
//! once what was written and what was deleted, in reads, partial reads and ordered pages of a listing. An error that may
//! pass proves nothing: the step is asked again, until patience ends; a write under fresh names, since nobody knows what
//! it did. What was seen stays seen: a probe takes some hundred requests, and ends also where one in twenty fails.
//!
//! ```text
//!  Start ─► reach ─► create ─► create again ─► swap ─► swap what is gone ─► swap nothing ─► 20 swaps in a row ─► race to swap
//!                                                                                                                    │
//!          Done ◄─ clean ◄─ delete all ◄─ list pages ◄─ race to create ◄─ read a part ◄─ read the tail ◄─────────────┘
//!
//!    each write is read back; after a write that failed in a way that may pass:   create elsewhere ─► that step again
//! ```

mod steps;
mod unfit;

pub use unfit::{Flaw, Unfit};

use super::{Found, Key, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use crate::limits::Limits;
use crate::machine::{Backoff, Deadline, Effects, Instant, Machine, Now, OpId, OpIds, Rng};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use steps::{Finding, Run};
use tracing::warn;

/// Where probes leave their objects.
pub const PREFIX: &str = "probe/";

/// A store that does not answer is given up after so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is left of a probe that began so long ago is nobody's any more.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// All that can happen to the probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Begin.
    Start,
    /// Give up, and clean up.
    Stop,
    /// A call completed.
    Store(OpId, StoreResult),
    /// Time has passed.
    Tick,
}

/// All that the probe wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask the store.
    Store(OpId, StoreCall),
    /// The probe is over.
    Done(Result<Report, Unfit>),
}

/// What was seen of a store that is fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Swaps made one after the other.
    pub swaps: u32,
    /// How long they took: the cluster's metadata advances no faster than that.
    pub took: Duration,
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Probe {
    attempt: Duration,
    rng: Rng,
    ids: OpIds,
    backoff: Backoff,
    give_up_at: Instant,
    /// Objects that may exist.
    made: BTreeSet<Key>,
    /// It was asked to stop while requests were in flight.
    stopping: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Running(Run, Asked),
    Resting(Instant, Run),
    /// Deleting what is left of it, with the verdict to tell afterwards.
    Cleaning(Result<Report, Unfit>, BTreeSet<OpId>),
    Over,
}

/// The requests of one step, made at once, and what came back.
#[derive(Debug)]
struct Asked {
    waiting: BTreeMap<OpId, usize>,
    results: Vec<Option<StoreResult>>,
}

impl Probe {
    /// A probe whose names come from `rng`.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            attempt: limits.store_attempt,
            rng,
            ids: OpIds::default(),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
            give_up_at: Instant::default(),
            made: BTreeSet::new(),
            stopping: false,
            phase: Phase::Idle,
        }
    }

    fn begin(&mut self, now: Now, out: &mut Effects<Effect>) {
        let run = Run::new(self.names(now), self.rng.next_u64());
        self.ask(now, run, out);
    }

    /// What the names of objects begin with that nobody else has.
    fn names(&mut self, now: Now) -> String {
        format!("{PREFIX}{:013}-{:016x}/", now.wall.0.max(0), self.rng.next_u64())
    }

    fn go_on(&mut self, now: Now, out: &mut Effects<Effect>) {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Resting(_, run) => self.ask(now, run, out),
            other => self.phase = other,
        }
    }

    fn ask(&mut self, now: Now, mut run: Run, out: &mut Effects<Effect>) {
        let mut waiting = BTreeMap::new();
        for (at, op) in run.ops(now).into_iter().enumerate() {
            if let StoreOp::Put { key, .. } = &op {
                self.made.insert(key.clone());
            }
            waiting.insert(self.send(op, out), at);
        }
        let results = alloc::vec![None; waiting.len()];
        self.phase = Phase::Running(run, Asked { waiting, results });
    }

    fn send(&mut self, op: StoreOp, out: &mut Effects<Effect>) -> OpId {
        let id = self.ids.issue();
        out.push(Effect::Store(id, StoreCall { op, within: self.attempt }));
        id
    }

    fn completed(&mut self, now: Now, id: OpId, result: StoreResult, out: &mut Effects<Effect>) {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Running(run, mut asked) => {
                if let Some(at) = asked.waiting.remove(&id) {
                    asked.results[at] = Some(result);
                }
                if asked.waiting.is_empty() {
                    self.judge(now, run, asked.results.into_iter().flatten().collect(), out);
                } else {
                    self.phase = Phase::Running(run, asked);
                }
            }
            Phase::Cleaning(verdict, mut waiting) => {
                waiting.remove(&id);
                self.clean_up_after(verdict, waiting, out);
            }
            other => self.phase = other,
        }
    }

    fn judge(&mut self, now: Now, mut run: Run, results: Vec<StoreResult>, out: &mut Effects<Effect>) {
        self.note_left_behind(now, &results);
        let gains = run.gains();
        match run.judge(now, results) {
            _ if self.stopping => self.clean_up(Err(Unfit::GivenUp), out),
            Ok(None) => {
                if gains {
                    self.backoff.reset();
                }
                self.ask(now, run, out);
            }
            Ok(Some(report)) => {
                // They are gone, as was just seen.
                self.made.retain(|key| !key.0.starts_with(run.names()));
                self.clean_up(Ok(report), out);
            }
            Err(Finding::Unfit(unfit)) => self.clean_up(Err(unfit), out),
            Err(Finding::MayPass(error)) if now.mono < self.give_up_at => {
                warn!(%error, "the object store can't be probed yet; trying again");
                let run = run.again(self.names(now), self.rng.next_u64());
                self.phase = Phase::Resting(now.mono.after(self.backoff.wait(&mut self.rng)), run);
            }
            Err(Finding::MayPass(error)) => self.clean_up(Err(Unfit::Unreachable(error)), out),
        }
    }

    fn note_left_behind(&mut self, now: Now, results: &[StoreResult]) {
        let found = results.iter().filter_map(|result| match result {
            Ok(StoreDone::Listed { found, .. }) => Some(found),
            _ => None,
        });
        self.made.extend(found.flatten().filter(|found| is_left_behind(now, found)).map(|found| found.key.clone()));
    }

    fn clean_up(&mut self, verdict: Result<Report, Unfit>, out: &mut Effects<Effect>) {
        let hopeless = matches!(verdict, Err(Unfit::Refused(..) | Unfit::Unreachable(_)));
        let made = core::mem::take(&mut self.made);
        let waiting = match hopeless {
            // Whoever mends the store starts the broker again; a later probe removes what is left.
            true => BTreeSet::new(),
            false => made.into_iter().map(|key| self.send(StoreOp::Delete { key }, out)).collect(),
        };
        self.clean_up_after(verdict, waiting, out);
    }

    fn clean_up_after(&mut self, verdict: Result<Report, Unfit>, left: BTreeSet<OpId>, out: &mut Effects<Effect>) {
        if left.is_empty() {
            self.phase = Phase::Over;
            out.push(Effect::Done(verdict));
        } else {
            self.phase = Phase::Cleaning(verdict, left);
        }
    }
}

impl Machine for Probe {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match (input, &self.phase) {
            (Input::Start, Phase::Idle) => {
                self.give_up_at = now.mono.after(PATIENCE);
                self.begin(now, out);
            }
            (Input::Tick, Phase::Resting(until, _)) if *until <= now.mono => self.go_on(now, out),
            // What is in flight could land after it was deleted.
            (Input::Stop, Phase::Running(..)) => self.stopping = true,
            (Input::Stop, Phase::Idle | Phase::Resting(..)) => self.clean_up(Err(Unfit::GivenUp), out),
            (Input::Store(id, result), _) => self.completed(now, id, result, out),
            (Input::Start | Input::Stop | Input::Tick, _) => {}
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        match self.phase {
            Phase::Resting(at, _) => Some(Deadline { at, reason: "probe the store again" }),
            _ => None,
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        match &self.phase {
            Phase::Running(_, asked) => {
                let answered = asked.results.iter().flatten().count();
                assert_eq!(answered + asked.waiting.len(), asked.results.len(), "each request has one completion");
                assert!(!asked.waiting.is_empty(), "a step that is answered is judged");
            }
            Phase::Cleaning(_, waiting) => assert!(!waiting.is_empty(), "who has cleaned up is done"),
            Phase::Over => assert!(self.made.is_empty(), "nothing is left behind knowingly"),
            Phase::Idle | Phase::Resting(..) => {}
        }
    }
}

/// By the wall clock: who loses a probe's objects to a wrong one is only told to try again.
fn is_left_behind(now: Now, found: &Found) -> bool {
    let stamp = found.key.0.strip_prefix(PREFIX).and_then(|name| name.split('-').next());
    let begun = stamp.and_then(|stamp| stamp.parse::<i64>().ok());
    let day = i64::try_from(LEFT_BEHIND.as_millis()).unwrap_or(i64::MAX);
    begun.is_some_and(|begun| begun >= 0 && begun < now.wall.0.saturating_sub(day))
}

#[cfg(test)]
mod tests;
