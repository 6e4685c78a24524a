//! The plan of a run: everything that is decided before the world begins, as data that can be read, edited and kept.
//!
//! ```text
//!   karst-plan 2
//!   # a comment
//!   root = 1234                      seed of all that is drawn while the world runs
//!   clients = 3         # a comment  a number; what is not named has its default
//!   at 166637 kill down=18297        a disturbance: microseconds, kind, named arguments
//!   only client-2 3,7,9-12           of these occurrences no others happen: see [`crate::gate`]
//! ```
//! What may be said is a [`Vocabulary`], which belongs to the world that the plan is for. A plan outlives changes of the
//! code: later numbers have their defaults in it, and a number that is gone stays in the vocabulary's table of retired
//! ones, so that plans which name it still load. Version 1 is the same without `only` lines.

mod text;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use text::PlanError;
pub use vocabulary::{Argument, Kind, Number, Retired, Role, Vocabulary};

use crate::gate::Occurrences;
use core::time::Duration;
use std::collections::BTreeMap;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Seed of everything that is drawn while the world runs.
    pub root: u64,
    /// Numbers that are not at their defaults. [`Vocabulary::set`] and [`Vocabulary::value`] keep it so.
    pub numbers: BTreeMap<&'static str, u64>,
    /// What is done to the world, ascending by time.
    pub schedule: Vec<Disturbance>,
    /// Names of which only some occurrences happen.
    pub only: BTreeMap<String, Occurrences>,
}

/// Something that is done to the world at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disturbance {
    /// Since the world's beginning; whole microseconds.
    pub at: Duration,
    /// What: the name of a [`Kind`].
    pub kind: &'static str,
    /// All arguments that the kind has.
    pub arguments: BTreeMap<&'static str, i64>,
}

impl Plan {
    /// All numbers at their defaults, and nothing is done to the world.
    #[must_use]
    pub const fn new(root: u64) -> Self {
        Self { root, numbers: BTreeMap::new(), schedule: Vec::new(), only: BTreeMap::new() }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new(1)
    }
}
