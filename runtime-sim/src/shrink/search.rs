//! The best plan so far, and how candidates are tried.

use super::address::nudged;
use super::size::cost;
use super::{Options, Progress, Size};
use crate::experiment::{Experiment, Look, Outcome};
use crate::failure::Fingerprint;
use crate::plan::{Number, Plan, Role, Vocabulary};
use crate::trace::TraceHasher;
use core::hash::{Hash, Hasher};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use karst_core::machine::Rng;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Candidates are handed to the threads in lots of so many per thread, so that progress is told now and then.
const LOT: usize = 16;

/// How often a candidate is tried with other orders of owners and other roots, by effort.
const VARIANTS: [u64; 5] = [0, 2, 6, 14, 60];

/// Parts of the patience with which candidates may be looked at, the least first.
const PARTS: [u64; 3] = [64, 16, 4];

/// The best plan is run with all patience once candidates took so many times the events of such a run.
const CONFIRMED: u64 = 4;

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
    /// With how little patience candidates are looked at, and the best plan of them: what does not fail even so can't fail
    /// with more of it, and what does is run with all of it now and then.
    pub(super) patience: Option<u64>,
    /// The best plan that failed with all patience. With its cost where candidates have all patience, too.
    sure: Best,
    /// Events of candidates since then.
    since_sure: u64,
    /// Hashes of plans that are of no use.
    tried: BTreeSet<u64>,
}

#[derive(Clone)]
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
        let sure = best.clone();
        let (pass, effort, grain) = ("the plan itself", 0, Grain::Coarse);
        let (runs, patience, since_sure, tried) = (1, None, 0, BTreeSet::new());
        Self {
            experiment,
            options,
            progress,
            best,
            runs,
            pass,
            effort,
            grain,
            fingerprint,
            patience,
            sure,
            since_sure,
            tried,
        }
    }

    /// The best plan that certainly fails, its run, and how many runs that took.
    pub(super) fn end(mut self) -> (Best, u64) {
        self.pass = "looking with all patience";
        self.confirm();
        (self.sure, self.runs)
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
        let more = self.patience.unwrap_or(0);
        self.patience = None;
        for little in PARTS.map(|part| (whole / part).max(number.least)).into_iter().filter(|little| *little > more) {
            let outcome = self.look(&with(vocabulary, &self.best.plan, number, Some(little)), &Look::OUTCOME);
            // Waiting takes time though nothing happens: somebody looks every now and then.
            let (now, all) = (&outcome, &self.best.outcome);
            let is_less = now.events <= all.events / 2 || now.at.0 <= all.at.0 / 2;
            if is_less && self.is_same(&outcome) {
                self.patience = Some(little);
                self.best.cost = cost(vocabulary, &self.best.plan, &outcome);
                self.best.outcome = outcome;
                return;
            }
        }
    }

    fn is_same(&self, outcome: &Outcome) -> bool {
        fails_by(outcome, self.fingerprint)
    }

    /// The same once enough was done since to be worth a run with all patience.
    pub(super) fn confirm_now_and_then(&mut self) {
        if self.since_sure >= CONFIRMED.saturating_mul(self.sure.outcome.events) {
            self.confirm();
        }
    }

    /// Runs the best plan with all patience. Where it does not fail then, it comes right late: begins again with the last
    /// that does not, and with more patience.
    pub(super) fn confirm(&mut self) {
        self.since_sure = 0;
        if self.best.plan == self.sure.plan {
            return;
        }
        if self.patience.is_none() {
            self.sure = self.best.clone();
            return;
        }
        let outcome = self.look(&self.best.plan.clone(), &Look::OUTCOME);
        if self.is_same(&outcome) {
            let plan = self.best.plan.clone();
            self.sure = Best { cost: cost(self.vocabulary(), &plan, &outcome), plan, outcome };
        } else {
            self.best = self.sure.clone();
            if !self.is_over() {
                self.find_patience();
            }
        }
        self.tell();
    }

    /// A plan with the patience that candidates have.
    pub(super) fn patiently(&self, plan: &Plan) -> Plan {
        patiently(self.experiment, plan, self.patience)
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
        let outcome = self.look(&self.patiently(&plan), &Look::OUTCOME);
        if self.is_same(&outcome) {
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
        let (runs, events, found) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(None));
        let this = &*self;
        let (experiment, fingerprint, most, budget) =
            (this.experiment, this.fingerprint, this.best.cost, this.event_limit());
        let patience = this.patience;
        let is_over = this.options.is_over;
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= limit.load(Ordering::Relaxed) || is_over() {
                    return;
                }
                runs.fetch_add(1, Ordering::Relaxed);
                let plan = &lot[at].1;
                let outcome = experiment
                    .run(&bounded(experiment, &patiently(experiment, plan, patience), budget), &Look::OUTCOME);
                events.fetch_add(outcome.events, Ordering::Relaxed);
                let cost = cost(experiment.vocabulary(), plan, &outcome);
                if !fails_by(&outcome, fingerprint) || cost >= most {
                    continue;
                }
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
        self.since_sure = self.since_sure.saturating_add(events.into_inner());
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

fn fails_by(outcome: &Outcome, fingerprint: Fingerprint) -> bool {
    outcome.failure.as_ref().is_some_and(|failure| failure.fingerprint() == fingerprint)
}

/// A plan with so much patience.
fn patiently(experiment: &dyn Experiment, plan: &Plan, patience: Option<u64>) -> Plan {
    let number = number_of(experiment, Role::Patience);
    number.map_or_else(|| plan.clone(), |number| with(experiment.vocabulary(), plan, number, patience))
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
