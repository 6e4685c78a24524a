//! How much there is to a plan, and to its run.

use crate::experiment::Outcome;
use crate::plan::{Plan, Role, Vocabulary};
use core::fmt;

/// What a person has to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// What is done to the world.
    pub disturbances: u64,
    /// Those who do operations.
    pub actors: u64,
    /// Operations that happen.
    pub operations: u64,
    /// Faults that happen, other than disturbances.
    pub faults: u64,
    /// Numbers that are not at their defaults.
    pub numbers: u64,
    /// Inputs handled until the failure.
    pub events: u64,
}

impl Size {
    /// Of a plan and its run.
    #[must_use]
    pub fn of(vocabulary: &Vocabulary, plan: &Plan, outcome: &Outcome) -> Self {
        let mut size = Self {
            disturbances: plan.schedule.len() as u64,
            numbers: plan.numbers.len() as u64,
            events: outcome.events,
            ..Self::default()
        };
        for name in outcome.occurrences.keys() {
            let happened = happened(plan, outcome, name).len() as u64;
            if vocabulary.is_actor(name) {
                size.actors += u64::from(happened > 0);
                size.operations += happened;
            } else {
                size.faults += happened;
            }
        }
        size
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disturbances, actors, operations, faults, numbers, events } = self;
        write!(f, "{disturbances} disturbances, {operations} operations of {actors}, {faults} faults, ")?;
        write!(f, "{numbers} numbers, {events} events")
    }
}

/// So many events somebody might look at.
const READ: u64 = 20_000;

/// Which occurrences of a name happened in a run.
pub(super) fn happened(plan: &Plan, outcome: &Outcome, name: &str) -> Vec<u64> {
    let count = outcome.occurrences.get(name).copied().unwrap_or(0);
    match plan.only.get(name) {
        Some(only) => only.iter_below(count).collect(),
        None => (0..count).collect(),
    }
}

/// What a plan costs its reader. Whatever is left out, brought to its default, made smaller or earlier makes it less.
pub(super) fn cost(vocabulary: &Vocabulary, plan: &Plan, outcome: &Outcome) -> u64 {
    let size = Size::of(vocabulary, plan, outcome);
    let things = 20_000 * size.disturbances + 5_000 * size.actors + 1_000 * size.operations + 2_000 * size.faults;
    let numbers: u64 = vocabulary.numbers.iter().map(|number| number_cost(vocabulary, plan, number)).sum();
    let arguments: u64 = plan.schedule.iter().flat_map(|one| vocabulary.arguments(one)).map(argument_cost).sum();
    let moments: u64 = plan.schedule.iter().map(|one| octaves(one.at.as_micros().try_into().unwrap_or(u64::MAX))).sum();
    let only: u64 = plan.only.values().map(|only| 100 + 10 * only.to_string().len() as u64).sum();
    let busy = outcome.occurrences.keys().filter(|name| !happened(plan, outcome, name).is_empty());
    let named = busy.filter_map(|name| name.strip_prefix(vocabulary.actors)?.parse::<u64>().ok());
    // Their numbers: the first clients are found more easily than others.
    let names: u64 = named.map(|number| 200 * number.min(1_000)).sum();
    // Waiting for what never comes is many events, and nobody reads them.
    let events = size.events.min(READ) / 4 + 4 * octaves(size.events);
    things + names + numbers + arguments + moments + only + 4 * octaves(outcome.at.0) + events
}

fn number_cost(vocabulary: &Vocabulary, plan: &Plan, number: &crate::plan::Number) -> u64 {
    let value = vocabulary.value(plan, number);
    let named = if value == number.default { 0 } else { 300 };
    named
        + match number.role {
            Role::Fault => {
                if value == 0 {
                    0
                } else {
                    500
                }
            }
            Role::Count | Role::Size | Role::Time => octaves(value.abs_diff(number.simplest)),
            Role::Horizon => 4 * octaves(value),
            Role::Knob => {
                if value == number.simplest || value == number.default {
                    0
                } else {
                    500
                }
            }
            // A plan may have any of these.
            Role::EventLimit | Role::Schedule | Role::Patience | Role::Fixed => 0,
        }
}

fn argument_cost((argument, value): (&crate::plan::Argument, i64)) -> u64 {
    octaves(value.abs_diff(argument.simplest))
}

/// A hundred times the logarithm, so that each halving counts the same, and smaller steps count too.
fn octaves(value: u64) -> u64 {
    let whole = value.saturating_add(1).ilog2();
    let rest = (((u128::from(value) + 1) * 100) >> whole) as u64 - 100;
    u64::from(whole) * 100 + rest
}

#[cfg(test)]
mod tests {
    use super::octaves;

    #[test]
    fn octaves_grow_with_their_value() {
        assert_eq!((octaves(0), octaves(1), octaves(3), octaves(1023)), (0, 100, 200, 1000));
        for value in 0..5_000 {
            assert!(octaves(value) <= octaves(value + 1) && octaves(value) < octaves(2 * value + 1), "{value}");
        }
        assert_eq!(octaves(u64::MAX), 6_400);
    }
}
