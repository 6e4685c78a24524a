//! What waits for a machine.

use alloc::collections::VecDeque;

/// Inputs in arrival order. It never refuses and never blocks: what bounds it is the credit taken where work enters.
#[derive(Debug)]
pub struct Inbox<I>(VecDeque<I>);

impl<I> Default for Inbox<I> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<I> Inbox<I> {
    /// Adds an input at the end.
    pub fn push(&mut self, input: I) {
        self.0.push_back(input);
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<I> {
        self.0.pop_front()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
