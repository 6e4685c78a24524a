//! The turn: the one loop that drives a machine, in production and in simulation alike.

use super::{Effects, Inbox, Machine, Now};

/// Whether a turn checks the machine's invariants after every input. Decided at run time, so that one binary does both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// After every input.
    Invariants,
    /// Not at all.
    Nothing,
}

/// How much one turn may do before its effects leave and others get the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnBudget {
    /// Inputs per turn, at least one.
    pub inputs: usize,
    /// Effects after which no further input is taken.
    pub effects: usize,
}

impl Default for TurnBudget {
    fn default() -> Self {
        Self { inputs: 256, effects: 1024 }
    }
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    handled: usize,
    had_tick: bool,
}

/// Drives machines of one owner.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    budget: TurnBudget,
    check: Check,
}

impl Turn {
    /// A turn with these rules.
    #[must_use]
    pub const fn new(budget: TurnBudget, check: Check) -> Self {
        assert!(budget.inputs > 0, "a turn that may take no input never ends its inbox");
        Self { budget, check }
    }

    /// Feeds the machine from its inbox until that is empty or the budget is spent, then once with the time if a
    /// deadline has passed. `seen` is called before each input and after it, with the effects that it caused: it is
    /// how a trace is kept. Returns how many inputs were handled.
    pub fn run<M: Machine>(
        &self,
        machine: &mut M,
        now: Now,
        inbox: &mut Inbox<M::Input>,
        out: &mut Effects<M::Effect>,
        mut seen: impl FnMut(Seen<'_, M>),
    ) -> usize {
        let mut progress = Progress::default();
        while self.step(&mut progress, machine, now, inbox, out, &mut seen) {}
        progress.handled
    }

    /// One step of [`Turn::run`], so that somebody can look at the machine between two inputs. Returns whether there was
    /// something to do; when not, the turn is over.
    pub fn step<M: Machine>(
        &self,
        progress: &mut Progress,
        machine: &mut M,
        now: Now,
        inbox: &mut Inbox<M::Input>,
        out: &mut Effects<M::Effect>,
        mut seen: impl FnMut(Seen<'_, M>),
    ) -> bool {
        let may_go_on = progress.handled < self.budget.inputs && out.as_slice().len() < self.budget.effects;
        if let Some(input) = may_go_on.then(|| inbox.pop()).flatten() {
            self.handle(machine, now, input, out, &mut seen);
            progress.handled += 1;
            return true;
        }
        // After the inputs that waited: a late turn must not take silence for what is already in the inbox.
        let is_due = inbox.is_empty() && machine.deadline().is_some_and(|due| due.at <= now.mono);
        if progress.had_tick || !is_due {
            return false;
        }
        self.handle(machine, now, M::tick(), out, &mut seen);
        progress.handled += 1;
        progress.had_tick = true;
        true
    }

    fn handle<M: Machine>(
        &self,
        machine: &mut M,
        now: Now,
        input: M::Input,
        out: &mut Effects<M::Effect>,
        seen: &mut impl FnMut(Seen<'_, M>),
    ) {
        let before = out.as_slice().len();
        seen(Seen::Input(&input));
        machine.handle(now, input, out);
        seen(Seen::Effects(&out.as_slice()[before..]));
        if self.check == Check::Invariants {
            machine.invariants();
        }
    }
}

/// What a turn shows to the keeper of a trace.
#[derive(Debug)]
pub enum Seen<'a, M: Machine> {
    /// About to be handled.
    Input(&'a M::Input),
    /// What handling it caused.
    Effects(&'a [M::Effect]),
}
