//! Where a machine puts what it wants done.

use alloc::vec::Vec;

/// Names one fallible effect until its completion arrives. Unique within one machine's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Gives out [`OpId`]s.
#[derive(Debug, Default)]
pub struct OpIds(u64);

impl OpIds {
    /// A new one.
    pub fn issue(&mut self) -> OpId {
        self.0 += 1;
        OpId(self.0)
    }
}

/// The effects of one turn, in the order in which they were pushed.
#[derive(Debug)]
pub struct Effects<E>(Vec<E>);

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Effects<E> {
    /// Adds one.
    pub fn push(&mut self, effect: impl Into<E>) {
        self.0.push(effect.into());
    }

    /// What was pushed so far.
    #[must_use]
    pub fn as_slice(&self) -> &[E] {
        &self.0
    }

    /// Takes all of them out, keeping the room for the next turn.
    pub fn drain(&mut self) -> impl Iterator<Item = E> + '_ {
        self.0.drain(..)
    }
}
