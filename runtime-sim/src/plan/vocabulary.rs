//! What the plans of a world may say.

use super::{Disturbance, Plan};

/// What plans may say, and how each thing may be made simpler.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// All numbers but the root, in the order in which they are written.
    pub numbers: &'static [Number],
    /// All kinds of disturbances.
    pub kinds: &'static [Kind],
    /// Numbers that earlier versions had: plans may name them, and nothing comes of it.
    pub retired: &'static [Retired],
    /// What the names of those begin with who do operations, such as `client-`. All other gated names are faults.
    pub actors: &'static str,
}

/// A number of a plan. Probabilities are in parts per million, times in microseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its name, such as `store.timeout`.
    pub name: &'static str,
    /// What it means, in a sentence; empty if nobody says.
    pub means: &'static str,
    /// Its value in a plan that does not name it.
    pub default: u64,
    /// Its smallest value.
    pub least: u64,
    /// Its largest value.
    pub most: u64,
    /// The value that makes a run easiest to understand.
    pub simplest: u64,
    /// What it is.
    pub role: Role,
    /// Of a chance: the name by which its faults pass the [gate](crate::gate), if all of them have one name.
    pub fires: Option<&'static str>,
}

/// What a number is: what a shrinker may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The chance of a kind of fault: 0 turns it off.
    Fault,
    /// How many of something there are: the fewer, the simpler.
    Count,
    /// How large something is: the smaller, the simpler.
    Size,
    /// How long something takes: the shorter, the simpler.
    Time,
    /// Any setting: its simplest value or none.
    Knob,
    /// How long the world is disturbed: what comes after a failure can be cut off.
    Horizon,
    /// Events after which a run that has not ended is a failure.
    EventLimit,
    /// What decides the order in which ready owners run; all values are equally simple.
    Schedule,
    /// How long the system may take to come right. Part of what is asked of it, so it is never changed; but a shrinker may
    /// look at less of it first.
    Patience,
    /// Part of what is asked of the system: never touched.
    Fixed,
}

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name, such as `kill`.
    pub name: &'static str,
    /// Its arguments, in the order in which they are written. Each must be given.
    pub arguments: &'static [Argument],
}

/// An argument of a disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name, such as `down`.
    pub name: &'static str,
    /// Its smallest value.
    pub least: i64,
    /// Its largest value.
    pub most: i64,
    /// The value that makes a run easiest to understand.
    pub simplest: i64,
    /// What it is.
    pub role: Role,
}

/// A number that no longer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its name, which no other number may ever have.
    pub name: &'static str,
    /// What became of it.
    pub why: &'static str,
}

impl Number {
    /// A setting, which has any value and is simplest at its default.
    #[must_use]
    pub const fn knob(name: &'static str, default: u64) -> Self {
        Self { name, means: "", default, least: 0, most: 1 << 40, simplest: default, role: Role::Knob, fires: None }
    }

    /// With what it means, in a sentence.
    #[must_use]
    pub const fn means(self, means: &'static str) -> Self {
        Self { means: means.trim_ascii(), ..self }
    }

    /// With a role.
    #[must_use]
    pub const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// With bounds.
    #[must_use]
    pub const fn bounds(self, least: u64, most: u64) -> Self {
        assert!(least <= self.default && self.default <= most, "a default lies within the bounds");
        Self { least, most, ..self }
    }

    /// With a simplest value that is not the default.
    #[must_use]
    pub const fn simplest(self, simplest: u64) -> Self {
        assert!(self.least <= simplest && simplest <= self.most, "the simplest value lies within the bounds");
        Self { simplest, ..self }
    }

    /// The chance of a kind of fault.
    #[must_use]
    pub const fn fault(self) -> Self {
        self.bounds(0, 1_000_000).simplest(0).role(Role::Fault)
    }

    /// The chance of faults that pass the gate by this name.
    #[must_use]
    pub const fn fires(self, kind: &'static str) -> Self {
        Self { fires: Some(kind), ..self.fault() }
    }
}

impl Argument {
    /// How long something takes, in microseconds.
    #[must_use]
    pub const fn time(name: &'static str, least: i64, most: i64) -> Self {
        assert!(least <= most, "there is a value within the bounds");
        Self { name, least, most, simplest: least, role: Role::Time }
    }
}

impl Vocabulary {
    /// The number of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<&'static Number> {
        self.numbers.iter().find(|number| number.name == name)
    }

    /// The kind of that name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// What a number is in a plan.
    #[must_use]
    pub fn value(&self, plan: &Plan, number: &Number) -> u64 {
        plan.numbers.get(number.name).copied().unwrap_or(number.default)
    }

    /// Sets a number.
    ///
    /// # Panics
    /// When the value is out of bounds.
    pub fn set(&self, plan: &mut Plan, number: &Number, value: u64) {
        assert!((number.least..=number.most).contains(&value), "{} can't be {value}", number.name);
        if value == number.default {
            plan.numbers.remove(number.name);
        } else {
            plan.numbers.insert(number.name, value);
        }
    }

    /// The arguments of a disturbance with what is known of each.
    pub fn arguments<'a>(&self, of: &'a Disturbance) -> impl Iterator<Item = (&'static Argument, i64)> + use<'a> {
        let known = self.kind(of.kind).map_or(&[][..], |kind| kind.arguments);
        known.iter().filter_map(|argument| Some((argument, *of.arguments.get(argument.name)?)))
    }

    /// Whether a gated name is somebody's who does operations.
    #[must_use]
    pub fn is_actor(&self, name: &str) -> bool {
        name.starts_with(self.actors)
    }
}
