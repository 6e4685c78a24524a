//! MACHINE: the compactor. Rewrites objects into fewer, so that their number, and what a reader must ask for, stays
//! bounded for years.
//!
//! It owns one rewriting under way, and the object ids leased for it. It promises:
//! - **an input is destroyed by the commit of what takes its place, and by nothing else**: the results hold exactly what
//!   streams still have of the inputs, which it checks (`check`), and the controller once more;
//! - it never holds more than one object's worth of records, nor moves more bytes per second than it may;
//! - whatever fails, the attempt ends, everything is given back, and there is a next one.
//!
//! Inputs: plans from the node (which has the metadata), completions of its requests, answers to its commands. Effects:
//! requests to the bucket, questions and commands to the node.
//!
//! ```text
//!   resting ──► PlanCompaction ──► planned ──► LeaseObjects ──► read, put ──► Compact ──► Done: the next plan
//!      ▲              │ nothing to do               │ failed                    │ NotCovered
//!      └──────────────┴──────── AbandonObjects ◄────┴───────────────────────────┘
//! ```
//! Progress is in the metadata alone: a crash leaves leased objects, which the next registration voids and the scrubber
//! deletes; a failed attempt gives up the ids that it may have used, and they are deleted like any destroyed object. The
//! next plan is made of what is there then, so nothing is remembered but objects that could not be read: they are left
//! alone for a while.

mod assemble;
mod attempt;
mod check;
mod mail;
mod plan;
mod rate;
mod survey;
mod work;

#[cfg(test)]
pub(crate) mod tests;

pub use mail::{Effect, Input, Mail};
pub use plan::{Kind, Plan, Rules, plan};
pub use survey::{Piece, StatePiece};

use self::attempt::{Attempt, CopyRules, Need, Trouble};
use self::rate::Rate;
use crate::id::ObjectId;
use crate::limits::Limits;
use crate::machine::{Backoff, Deadline, Effects, Instant, Machine, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Halt;
use crate::metadata::{Answer, Command, Refusal};
use crate::node::{self, Asker};
use crate::store::StoreResult;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

/// Rewrites objects.
#[derive(Debug)]
pub struct Compactor {
    interval: Duration,
    rules: CopyRules,
    rng: Rng,
    ops: OpIds,
    rate: Rate,
    stage: Stage,
    /// Ids that were leased and never used.
    ids: VecDeque<ObjectId>,
    /// Commands that are not answered, in the order of sending.
    asked: VecDeque<Asked>,
    /// Requests of attempts that were given up.
    forgotten: BTreeSet<OpId>,
    /// Objects that could not be read, and until when they are left alone.
    shunned: BTreeMap<ObjectId, Instant>,
    backoff: Backoff,
    totals: Totals,
}

/// What it has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Compactions that were committed.
    pub committed: u64,
    /// Those that were given up.
    pub abandoned: u64,
    /// Objects that others took the place of.
    pub inputs: u64,
    /// Objects that took their place.
    pub results: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes sent to the store.
    pub written: u64,
}

#[derive(Debug)]
enum Stage {
    /// The node does not serve (any more).
    Off,
    Resting(Instant),
    /// The node is asked what to do.
    Planning,
    Working(Box<Attempt>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Lease,
    Commit,
    Abandon,
}

/// What could not be read is left alone for so many pauses.
const SHUNNED: u32 = 16;

/// At most so many objects are left alone: then the oldest get another chance.
const SHUNNED_AT_ONCE: usize = 256;

impl Machine for Compactor {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Mail(Mail::Begin) => self.stage = Stage::Resting(now.mono.after(self.interval)),
            Input::Mail(Mail::Planned(plan)) => self.planned(now, plan),
            Input::Mail(Mail::Answered(answer)) => self.answered(now, answer, out),
            Input::Mail(Mail::Stop) => self.stop(),
            Input::Store(op, result) => self.completed(now, op, result, out),
            Input::Tick => self.wake(now),
        }
        self.advance(now, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        match &self.stage {
            Stage::Off | Stage::Planning => None,
            Stage::Resting(at) => Some(Deadline { at: *at, reason: "look for objects to rewrite" }),
            Stage::Working(attempt) => {
                let paid = attempt.is_ready().then(|| self.rate.free_at());
                let at = attempt.wakes_at().into_iter().chain(paid).min()?;
                Some(Deadline { at, reason: "go on rewriting objects" })
            }
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        if let Stage::Working(attempt) = &self.stage {
            attempt.invariants();
        }
        let leases = self.asked.iter().filter(|asked| **asked == Asked::Lease).count();
        let commits = self.asked.iter().filter(|asked| **asked == Asked::Commit).count();
        assert!(leases <= 1 && commits <= 1, "one thing at a time: {:?}", self.asked);
        assert!(self.shunned.len() <= SHUNNED_AT_ONCE, "what is left alone is bounded");
        assert_eq!(self.ids.iter().collect::<BTreeSet<_>>().len(), self.ids.len(), "ids are leased once");
    }
}

impl Compactor {
    /// One that does nothing until the node says so.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        let interval = limits.compaction_interval;
        Self {
            interval,
            rules: CopyRules {
                object: limits.compaction_object,
                data_block: limits.data_block,
                attempt: limits.store_attempt,
            },
            rng,
            ops: OpIds::default(),
            rate: Rate::new(limits.compaction_bandwidth),
            stage: Stage::Off,
            ids: VecDeque::new(),
            asked: VecDeque::new(),
            forgotten: BTreeSet::new(),
            shunned: BTreeMap::new(),
            backoff: Backoff::new(interval, interval.saturating_mul(SHUNNED)),
            totals: Totals::default(),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether objects are being rewritten.
    #[must_use]
    pub const fn is_working(&self) -> bool {
        matches!(self.stage, Stage::Working(_))
    }

    /// Bytes of records that it holds.
    #[must_use]
    pub fn held(&self) -> u64 {
        match &self.stage {
            Stage::Working(attempt) => attempt.held(),
            _ => 0,
        }
    }

    fn stop(&mut self) {
        if let Stage::Working(attempt) = core::mem::replace(&mut self.stage, Stage::Off) {
            self.forgotten.extend(attempt.give_up().2);
        }
    }

    fn planned(&mut self, now: Now, plan: Option<Box<Plan>>) {
        // A stop may have crossed it.
        if !matches!(self.stage, Stage::Planning) {
            return;
        }
        self.stage = match plan {
            Some(plan) => {
                tracing::debug!(kind = ?plan.kind, inputs = plan.inputs().count(), results = plan.results(), "compacting");
                Stage::Working(Box::new(Attempt::new(plan, self.rules)))
            }
            None => Stage::Resting(now.mono.after(self.interval)),
        };
    }

    fn completed(&mut self, now: Now, op: OpId, result: StoreResult, out: &mut Effects<Effect>) {
        if self.forgotten.remove(&op) {
            return;
        }
        let Stage::Working(attempt) = &mut self.stage else { unreachable!("a completion has an attempt") };
        if let Err(trouble) = attempt.completed(now, op, result, &mut self.rng) {
            self.abandon(now, &trouble, out);
        }
    }

    fn wake(&mut self, now: Now) {
        if let Stage::Working(attempt) = &mut self.stage {
            attempt.wake(now);
        }
    }

    fn advance(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Stage::Resting(until) = self.stage
            && until <= now.mono
        {
            self.stage = Stage::Planning;
            self.shunned.retain(|_, until| *until > now.mono);
            let shunned = self.shunned.keys().copied().collect();
            out.push(to_node(node::Mail::PlanCompaction(shunned)));
        }
        let Stage::Working(attempt) = &mut self.stage else { return };
        match attempt.advance(&mut self.ids) {
            Ok(Need::Nothing) => {}
            Ok(Need::Ids(missing)) => {
                if !self.asked.contains(&Asked::Lease) {
                    let count = u32::try_from(missing).unwrap_or(u32::MAX).min(crate::metadata::bounds::LEASE);
                    self.ask(Asked::Lease, Command::LeaseObjects { count }, out);
                }
            }
            Ok(Need::Commit(compaction)) => self.ask(Asked::Commit, Command::Compact(compaction), out),
            Err(trouble) => return self.abandon(now, &trouble, out),
        }
        self.request(now, out);
    }

    fn request(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Stage::Working(attempt) = &mut self.stage else { return };
        while self.rate.free_at() <= now.mono
            && let Some((op, call, moves)) = attempt.ask(&mut self.ops)
        {
            self.rate.charge(now.mono, moves);
            out.push(Effect::Store(op, call));
        }
    }

    fn ask(&mut self, asked: Asked, command: Command, out: &mut Effects<Effect>) {
        self.asked.push_back(asked);
        out.push(to_node(node::Mail::Command(Asker::Compactor, command)));
    }

    fn answered(&mut self, now: Now, answer: Answer, out: &mut Effects<Effect>) {
        let asked = self.asked.pop_front().expect("an answer is to a command");
        match (asked, answer) {
            (_, Answer::Refused(Refusal::Fenced)) => {
                self.stop();
                let why = "a newer registration of this node took over while it rewrote objects";
                out.push(to_node(node::Mail::Failed(Halt::Fenced(why.into()))));
            }
            (Asked::Lease, Answer::Leased { first, count }) => {
                self.ids.extend((first.0..).take(count as usize).map(ObjectId));
            }
            (Asked::Commit, Answer::Done) => self.committed(now),
            (Asked::Commit, Answer::Refused(refusal)) => {
                tracing::warn!(?refusal, "the controller refuses a compaction: objects stay as they are");
                let why = alloc::format!("its commit was refused: {refusal:?}");
                self.abandon(now, &Trouble { blamed: None, why }, out);
            }
            (Asked::Abandon, _) => {}
            (Asked::Lease, answer) => {
                let why = alloc::format!("no object ids were leased: {answer:?}");
                self.abandon(now, &Trouble { blamed: None, why }, out);
            }
            (Asked::Commit, answer) => unreachable!("a commit was answered by {answer:?}"),
        }
    }

    fn committed(&mut self, now: Now) {
        // A stop may have crossed it.
        let Stage::Working(attempt) = core::mem::replace(&mut self.stage, Stage::Off) else { return };
        let plan = attempt.plan();
        let (inputs, results) = (plan.inputs().count(), plan.results());
        sometimes!(Mark::Compacted);
        sometimes!(Mark::ForceSplit, plan.kind == Kind::ForceSplit);
        tracing::info!(kind = ?plan.kind, inputs, results, "compaction committed");
        self.totals.committed += 1;
        self.totals.inputs += inputs as u64;
        self.totals.results += results as u64;
        self.count(&attempt);
        self.backoff.reset();
        self.stage = Stage::Resting(now.mono);
    }

    /// Gives everything back. What may be in the bucket is to be deleted.
    fn abandon(&mut self, now: Now, trouble: &Trouble, out: &mut Effects<Effect>) {
        let rest = Stage::Resting(now.mono.after(self.backoff.wait(&mut self.rng)));
        let attempt = match core::mem::replace(&mut self.stage, rest) {
            Stage::Working(attempt) => attempt,
            // A stop may have crossed the answer that this is about.
            other => return self.stage = other,
        };
        tracing::info!(kind = ?attempt.plan().kind, why = trouble.why, "a compaction is given up; trying again later");
        sometimes!(Mark::CompactionAbandoned);
        self.totals.abandoned += 1;
        self.count(&attempt);
        if let Some(blamed) = trouble.blamed {
            self.shun(now, blamed);
        }
        let (used, unused, in_flight) = attempt.give_up();
        self.forgotten.extend(in_flight);
        self.ids.extend(unused);
        sometimes!(Mark::CompactionAbandonedHalfWay, !used.is_empty());
        if !used.is_empty() {
            self.ask(Asked::Abandon, Command::AbandonObjects { ids: used }, out);
        }
    }

    fn shun(&mut self, now: Now, object: ObjectId) {
        self.shunned.insert(object, now.mono.after(self.interval.saturating_mul(SHUNNED)));
        if self.shunned.len() > SHUNNED_AT_ONCE {
            let oldest = self.shunned.iter().min_by_key(|(_, until)| **until).map(|(object, _)| *object);
            self.shunned.retain(|object, _| Some(*object) != oldest);
        }
    }

    fn count(&mut self, attempt: &Attempt) {
        self.totals.read += attempt.volume.read;
        self.totals.written += attempt.volume.written;
    }
}

fn to_node(mail: node::Mail) -> Effect {
    Effect::Mail(crate::mail::Mail::Node(mail))
}
