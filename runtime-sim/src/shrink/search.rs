//! The best plan so far, and how candidates are tried.

use super::address::nudged;
use super::size::cost;
use super::{Options, Progress, Size};
use crate::experiment::{Experiment, Look, Outcome};
use crate::failure::Fingerprint;
use crate::plan::{Number, Plan, Role, Vocabulary};
use crate::trace::TraceHasher;
use core::hash::{Hash, Hasher};
use core::sync::atomic::{AtomicUsize, Ordering};
use karst_core::machine::Rng;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Candidates are handed to the threads in lots of so many per thread, so that progress is told now and then.
const LOT: usize = 16;

/// How often a candidate is tried with other orders of owners and other roots, by effort.
const VARIANTS: [u64; 5] = [0, 2, 6, 14, 60];

/// Parts of the patience with which candidates may be looked at first.
const PARTS: [u64; 2] = [32, 8];

/// How small the steps are that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// An eighth of what there is, or more at a time.
    Coarse,
    /// Down to one at a time.
    Fine,
}

pub(super) struct Search<'a> {
    experiment: &'a dyn Experiment,
    options: Options<'a>,
    progress: &'a mut dyn FnMut(&Progress),
    pub(super) best: Best,
    pub(super) runs: u64,
    pub(super) pass: &'static str,
    pub(super) effort: usize,
    pub(super) grain: Grain,
    fingerprint: Fingerprint,
    /// With how little patience a candidate is looked at first. One that does not fail even so can't fail with more of it;
    /// one that does has all of it then.
    patience: Option<u64>,
    /// Hashes of plans that are of no use.
    tried: BTreeSet<u64>,
}

pub(super) struct Best {
    pub(super) plan: Plan,
    pub(super) outcome: Outcome,
    pub(super) cost: u64,
}

impl<'a> Search<'a> {
    /// Begins with a plan that fails.
    pub(super) fn new(
        experiment: &'a dyn Experiment,
        options: Options<'a>,
        progress: &'a mut dyn FnMut(&Progress),
        (plan, outcome): (Plan, Outcome),
    ) -> Self {
        let failure = outcome.failure.as_ref().expect("only what fails is shrunk");
        let fingerprint = failure.fingerprint();
        let cost = cost(experiment.vocabulary(), &plan, &outcome);
        let best = Best { plan, outcome, cost };
        let (pass, effort, grain) = ("the plan itself", 0, Grain::Coarse);
        let (runs, patience, tried) = (1, None, BTreeSet::new());
        Self { experiment, options, progress, best, runs, pass, effort, grain, fingerprint, patience, tried }
    }

    /// A system that never comes right is waited for to the end, which may be most of a run: looks for less patience with
    /// which the best plan fails for the same reason, and sooner.
    pub(super) fn find_patience(&mut self) {
        let vocabulary = self.vocabulary();
        let value = |role: Role| {
            let number = vocabulary.numbers.iter().find(|number| number.role == role)?;
            Some((number, vocabulary.value(&self.best.plan, number)))
        };
        let (Some((number, whole)), Some((_, horizon))) = (value(Role::Patience), value(Role::Horizon)) else { return };
        let failed = self.best.outcome.failure.as_ref().map_or(0, |failure| failure.at.0 / 1_000);
        if failed <= horizon {
            return;
        }
        for part in PARTS {
            let little = (whole / part).max(number.least);
            let outcome = self.look(&with(vocabulary, &self.best.plan, number, Some(little)), &Look::OUTCOME);
            let is_same = outcome.failure.as_ref().is_some_and(|failure| failure.fingerprint() == self.fingerprint);
            if is_same && outcome.events <= self.best.outcome.events / 2 {
                self.patience = Some(little);
                return;
            }
        }
    }

    /// The best plan with the patience with which candidates are looked at first.
    pub(super) fn impatient(&self) -> Plan {
        let (plan, number) = (&self.best.plan, number_of(self.experiment, Role::Patience));
        number.map_or_else(|| plan.clone(), |number| with(self.vocabulary(), plan, number, self.patience))
    }

    pub(super) fn vocabulary(&self) -> &'a Vocabulary {
        self.experiment.vocabulary()
    }

    pub(super) fn is_over(&self) -> bool {
        (self.options.is_over)()
    }

    /// Tries candidates in order; the first that fails for the same reason and costs less is the best from now on.
    /// Returns which one it was.
    pub(super) fn first(&mut self, candidates: &[Plan]) -> Option<usize> {
        let variants = 1 + VARIANTS[self.effort];
        // Many a candidate never fails: none may use up what others need.
        let all: Vec<(usize, Plan)> = (0..variants)
            .flat_map(|variant| candidates.iter().enumerate().map(move |(nth, plan)| (nth, plan, variant)))
            .map(|(nth, plan, variant)| (nth, self.variant(plan, variant)))
            .filter(|(_, plan)| !self.tried.contains(&hash(plan)) && *plan != self.best.plan)
            .collect();
        for lot in all.chunks(LOT * self.options.jobs.max(1)) {
            if self.is_over() {
                return None;
            }
            let found = self.run_lot(lot);
            let useless = found.as_ref().map_or(lot.len(), |(at, _)| *at);
            if found.is_some() || !self.is_over() {
                self.tried.extend(lot[..useless].iter().map(|(_, plan)| hash(plan)));
            }
            if let Some((at, (outcome, cost))) = found {
                self.best = Best { plan: lot[at].1.clone(), outcome, cost };
                self.tell();
                return Some(lot[at].0);
            }
            self.tell();
        }
        None
    }

    /// Another way to say the best plan: it is the best from now on, if it fails for the same reason.
    pub(super) fn adopt(&mut self, plan: Plan) {
        let outcome = self.look(&plan, &Look::OUTCOME);
        if outcome.failure.as_ref().is_some_and(|failure| failure.fingerprint() == self.fingerprint) {
            let cost = cost(self.vocabulary(), &plan, &outcome);
            self.best = Best { plan, outcome, cost };
            self.tell();
        }
    }

    /// Runs a plan.
    pub(super) fn look(&mut self, plan: &Plan, look: &Look) -> Outcome {
        self.runs += 1;
        self.experiment.run(plan, look)
    }

    fn tell(&mut self) {
        let size = Size::of(self.vocabulary(), &self.best.plan, &self.best.outcome);
        (self.progress)(&Progress { pass: self.pass, runs: self.runs, size });
    }

    /// The first of these, in their order, that will do.
    fn run_lot(&mut self, lot: &[(usize, Plan)]) -> Option<(usize, (Outcome, u64))> {
        let (next, limit) = (AtomicUsize::new(0), AtomicUsize::new(lot.len()));
        let (runs, found) = (AtomicUsize::new(0), Mutex::new(None));
        let this = &*self;
        let (experiment, fingerprint, most, budget) =
            (this.experiment, this.fingerprint, this.best.cost, this.event_limit());
        let is_over = this.options.is_over;
        let impatient = this.patience.zip(number_of(experiment, Role::Patience));
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= limit.load(Ordering::Relaxed) || is_over() {
                    return;
                }
                runs.fetch_add(1, Ordering::Relaxed);
                let plan = &lot[at].1;
                let run = |run: &Plan| {
                    let outcome = experiment.run(&bounded(experiment, run, budget), &Look::OUTCOME);
                    let is_same = outcome.failure.as_ref().is_some_and(|failure| failure.fingerprint() == fingerprint);
                    let cost = cost(experiment.vocabulary(), plan, &outcome);
                    (is_same && cost < most).then_some((outcome, cost))
                };
                if let Some((little, number)) = impatient {
                    let quickly = run(&with(experiment.vocabulary(), plan, number, Some(little)));
                    if quickly.is_none() || is_over() {
                        continue;
                    }
                }
                let Some((outcome, cost)) = run(plan) else { continue };
                limit.fetch_min(at, Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if found.as_ref().is_none_or(|(other, _)| at < *other) {
                    *found = Some((at, (outcome, cost)));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.options.jobs.min(lot.len()) {
                scope.spawn(work);
            }
            work();
        });
        self.runs += runs.into_inner() as u64;
        found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A candidate may take about as long as the best plan. `None` where running out of events is what fails.
    fn event_limit(&self) -> Option<u64> {
        let number = limit_of(self.experiment)?;
        let planned = self.experiment.vocabulary().value(&self.best.plan, number);
        let bounded = (self.best.outcome.events * 2 + 5_000).clamp(number.least, number.most);
        (self.best.outcome.events < planned).then_some(bounded.min(planned))
    }

    /// The same plan with its faults at other places, or another order of owners, or other draws altogether.
    fn variant(&self, plan: &Plan, nth: u64) -> Plan {
        let mut other = plan.clone();
        let schedule = self.vocabulary().numbers.iter().find(|number| number.role == Role::Schedule);
        match (nth, schedule) {
            (0, _) => {}
            (_, Some(schedule)) if nth % 2 == 1 => match nudged(self, plan, &mut Rng::new(hash(plan) ^ nth)) {
                Some(nudged) => other = nudged,
                None => self.vocabulary().set(&mut other, schedule, nth.div_ceil(2)),
            },
            _ => other.root = nth,
        }
        other
    }
}

fn limit_of(experiment: &dyn Experiment) -> Option<&'static Number> {
    number_of(experiment, Role::EventLimit)
}

fn number_of(experiment: &dyn Experiment, role: Role) -> Option<&'static Number> {
    experiment.vocabulary().numbers.iter().find(|number| number.role == role)
}

/// A plan with a number set to a value, if there is one.
fn with(vocabulary: &Vocabulary, plan: &Plan, number: &Number, value: Option<u64>) -> Plan {
    let mut plan = plan.clone();
    value.into_iter().for_each(|value| vocabulary.set(&mut plan, number, value));
    plan
}

fn bounded(experiment: &dyn Experiment, plan: &Plan, limit: Option<u64>) -> Plan {
    let number = limit_of(experiment);
    number.map_or_else(|| plan.clone(), |number| with(experiment.vocabulary(), plan, number, limit))
}

fn hash(plan: &Plan) -> u64 {
    let mut hasher = TraceHasher::default();
    plan.hash(&mut hasher);
    hasher.finish()
}
