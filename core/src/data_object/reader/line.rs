//! Whose turn it is.

use super::types::Origin;
use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound::{Excluded, Unbounded};

/// What waits, in the order of arrival for each origin; origins take turns.
#[derive(Debug)]
pub(super) struct Line<T> {
    of: BTreeMap<Origin, VecDeque<T>>,
    /// Who was served last.
    last: Option<Origin>,
    len: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { of: BTreeMap::new(), last: None, len: 0 }
    }
}

impl<T: Copy + PartialEq> Line<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, origin: Origin, one: T) {
        self.len += 1;
        self.of.entry(origin).or_default().push_back(one);
    }

    /// Before what else the origin wants.
    pub(super) fn push_front(&mut self, origin: Origin, one: T) {
        self.len += 1;
        self.of.entry(origin).or_default().push_front(one);
    }

    /// Which is next.
    pub(super) fn first(&self) -> Option<T> {
        self.next().and_then(|origin| self.of[&origin].front()).copied()
    }

    /// The next goes: then it is another origin's turn.
    pub(super) fn pop(&mut self) -> Option<T> {
        let origin = self.next()?;
        self.last = Some(origin);
        let one = self.of.get_mut(&origin)?.pop_front();
        self.tidy(origin);
        self.len -= 1;
        one
    }

    /// One leaves without its turn.
    pub(super) fn remove(&mut self, origin: Origin, one: T) {
        if let Some(waiting) = self.of.get_mut(&origin) {
            let before = waiting.len();
            waiting.retain(|other| *other != one);
            self.len -= before - waiting.len();
            self.tidy(origin);
        }
    }

    fn next(&self) -> Option<Origin> {
        let after = self.last.and_then(|last| self.of.range((Excluded(last), Unbounded)).next());
        after.or_else(|| self.of.first_key_value()).map(|(origin, _)| *origin)
    }

    fn tidy(&mut self, origin: Origin) {
        if self.of.get(&origin).is_some_and(VecDeque::is_empty) {
            self.of.remove(&origin);
        }
    }

    pub(super) fn invariants(&self) {
        assert_eq!(self.of.values().map(VecDeque::len).sum::<usize>(), self.len, "what waits is counted");
        assert!(self.of.values().all(|waiting| !waiting.is_empty()), "an origin in line waits for something");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_turns_however_much_one_of_them_wants() {
        let mut line = Line::default();
        let [a, b] = [1, 2].map(Origin::Groups);
        (0..3).for_each(|one| line.push_back(a, one));
        line.push_back(b, 10);
        line.push_front(b, 9);
        line.push_back(b, 11);
        line.remove(a, 1);
        line.invariants();
        let all: alloc::vec::Vec<i32> = core::iter::from_fn(|| line.pop()).collect();
        assert_eq!(all, [0, 9, 2, 10, 11]);
        assert_eq!((line.first(), line.len()), (None, 0));
    }
}
