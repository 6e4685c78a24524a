//! Whether the n-th occurrence of something happens: how a plan leaves out single faults and single operations.
//!
//! ```text
//!   only store.timeout 3        of all time-outs that are drawn, number 3 alone happens
//!   only client-2 3,7,9-12      of client 2's operations, these six
//!   only client-0 none          nothing of client 0's
//! ```
//! Occurrences are counted from 0, by name, whether they happen or not; a name without such a line happens always. What
//! does not happen has drawn all the same, so leaving it out moves no draw of anything else.

use crate::fault::{Chance, words};
use core::fmt::{self, Write};
use core::str::FromStr;
use karst_core::machine::Rng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Decides for one world. A clone is the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    only: BTreeMap<String, Occurrences>,
    counts: BTreeMap<String, u64>,
    fired: Vec<Fired>,
}

/// A fault that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fired {
    /// Of what kind, such as `store.timeout`.
    pub kind: &'static str,
    /// Which one of its kind, from 0.
    pub ordinal: u64,
}

impl Fired {
    /// What its model does, as the rest of a sentence; `None` if it is none of this library's models.
    #[must_use]
    pub fn words(&self) -> Option<&'static str> {
        words::of(self.kind)
    }
}

impl Gate {
    /// Everything happens.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// Of the names in `only`, nothing but these occurrences happens.
    #[must_use]
    pub fn new(only: BTreeMap<String, Occurrences>) -> Self {
        let gate = Self::open();
        gate.restrict(only);
        gate
    }

    /// From now on: as if it had been made by [`Gate::new`]. Counts go on.
    pub fn restrict(&self, only: BTreeMap<String, Occurrences>) {
        self.0.borrow_mut().only = only;
    }

    /// Draws whether a fault fires; if it does, that is an occurrence of its kind, and happens if it is permitted.
    pub fn fires(&self, kind: &'static str, chance: Chance, rng: &mut Rng) -> bool {
        chance.fires(rng) && self.happens(kind)
    }

    /// A fault whose draw has fired already, and which can happen now: one more occurrence of its kind. Returns whether
    /// it does happen.
    #[must_use]
    pub fn happens(&self, kind: &'static str) -> bool {
        let mut inner = self.0.borrow_mut();
        let (ordinal, permitted) = inner.count(kind);
        if permitted {
            inner.fired.push(Fired { kind, ordinal });
        }
        permitted
    }

    /// One more occurrence of something that is no fault, such as an operation of `client-2`. Returns whether it happens.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        self.0.borrow_mut().count(name).1
    }

    /// Whether nothing of that name ever happens.
    #[must_use]
    pub fn is_shut(&self, name: &str) -> bool {
        self.0.borrow().only.get(name).is_some_and(Occurrences::is_empty)
    }

    /// The faults that happened since this was last asked, in order.
    #[must_use]
    pub fn take_fired(&self) -> Vec<Fired> {
        core::mem::take(&mut self.0.borrow_mut().fired)
    }

    /// How many occurrences of each name there were, whether they happened or not.
    #[must_use]
    pub fn occurrences(&self) -> BTreeMap<String, u64> {
        self.0.borrow().counts.clone()
    }
}

impl Inner {
    fn count(&mut self, name: &str) -> (u64, bool) {
        let ordinal = match self.counts.get_mut(name) {
            Some(count) => {
                *count += 1;
                *count - 1
            }
            None => {
                self.counts.insert(name.to_owned(), 1);
                0
            }
        };
        (ordinal, self.only.get(name).is_none_or(|only| only.contains(ordinal)))
    }
}

/// A set of ordinals, written as `3,7,9-12`, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Occurrences {
    /// First and last of each range; ascending, and neither overlapping nor touching.
    ranges: Vec<(u64, u64)>,
}

impl Occurrences {
    /// None at all.
    pub const NONE: Self = Self { ranges: Vec::new() };

    /// Those from 0 up to, and without, `end`.
    #[must_use]
    pub fn below(end: u64) -> Self {
        Self { ranges: end.checked_sub(1).map(|last| (0, last)).into_iter().collect() }
    }

    /// Whether it holds this one.
    #[must_use]
    pub fn contains(&self, ordinal: u64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= ordinal);
        after.checked_sub(1).is_some_and(|at| self.ranges[at].1 >= ordinal)
    }

    /// All below `end`, ascending.
    pub fn iter_below(&self, end: u64) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(move |(first, last)| *first..end.min(last.saturating_add(1)).max(*first))
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<u64> for Occurrences {
    fn from_iter<I: IntoIterator<Item = u64>>(ordinals: I) -> Self {
        canonical(ordinals.into_iter().map(|ordinal| (ordinal, ordinal)).collect())
    }
}

impl fmt::Display for Occurrences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return f.write_str("none");
        }
        for (nth, (first, last)) in self.ranges.iter().enumerate() {
            if nth > 0 {
                f.write_char(',')?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Occurrences {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let number = |part: &str| part.parse::<u64>().map_err(|_| format!("'{part}' is no ordinal"));
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first <= last { Ok((first, last)) } else { Err(format!("'{part}' holds nothing")) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(canonical)
    }
}

fn canonical(mut ranges: Vec<(u64, u64)>) -> Occurrences {
    ranges.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    Occurrences { ranges: out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(name: &str, text: &str) -> BTreeMap<String, Occurrences> {
        BTreeMap::from([(name.to_owned(), text.parse().expect("these are ordinals"))])
    }

    #[test]
    fn an_open_gate_lets_everything_happen_and_counts() {
        let gate = Gate::open();
        assert!(gate.happens("a") && gate.happens("a") && gate.permits("client-1"));
        assert_eq!(gate.occurrences(), BTreeMap::from([("a".to_owned(), 2), ("client-1".to_owned(), 1)]));
        let ordinals: Vec<_> = gate.take_fired().iter().map(|fired| (fired.kind, fired.ordinal)).collect();
        assert_eq!(ordinals, [("a", 0), ("a", 1)], "an operation is no fault");
        assert_eq!(gate.take_fired(), []);
    }

    #[test]
    fn what_is_left_out_draws_and_counts_all_the_same() {
        let run = |gate: &Gate| {
            let mut rng = Rng::new(7);
            let fired: Vec<bool> = (0..40).map(|_| gate.fires("a", Chance::percent(50), &mut rng)).collect();
            (fired, rng.next_u64())
        };
        let (open, restricted) = (Gate::open(), Gate::new(only("a", "1,3-4")));
        let ((all, end), (some, same_end)) = (run(&open), run(&restricted));
        assert_eq!(end, same_end, "leaving out moves no draw");
        assert_eq!(open.occurrences(), restricted.occurrences());
        let nth: Vec<usize> = all.iter().enumerate().filter(|(_, fired)| **fired).map(|(at, _)| at).collect();
        let left: Vec<usize> = some.iter().enumerate().filter(|(_, fired)| **fired).map(|(at, _)| at).collect();
        assert_eq!(left, [nth[1], nth[3], nth[4]]);
    }

    #[test]
    fn other_names_are_not_restricted() {
        let gate = Gate::new(only("client-2", "none"));
        assert!(gate.is_shut("client-2") && !gate.is_shut("client-1"));
        assert!(!gate.permits("client-2") && gate.permits("client-1") && gate.happens("disk.stall"));
    }

    #[test]
    fn ordinals_survive_their_text() {
        for (text, canonical) in [("none", "none"), ("3,7,9-12", "3,7,9-12"), ("5,4,3", "3-5"), ("1-3,2-9", "1-9")] {
            let read: Occurrences = text.parse().expect("these are ordinals");
            assert_eq!(read.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(read.clone()));
            for ordinal in 0..15 {
                assert_eq!(read.contains(ordinal), read.iter_below(15).any(|one| one == ordinal));
            }
        }
        let most = format!("{0}-{0},0", u64::MAX);
        assert!(most.parse::<Occurrences>().expect("these are ordinals").contains(u64::MAX));
        assert_eq!([2, 0, 1, 9].into_iter().collect::<Occurrences>().to_string(), "0-2,9");
        assert_eq!(Occurrences::below(0), Occurrences::NONE);
        assert_eq!(Occurrences::below(3).to_string(), "0-2");
        for wrong in ["", "3-", "x", "4-3", "1,,2", "-1", "99999999999999999999"] {
            assert!(wrong.parse::<Occurrences>().is_err(), "{wrong}");
        }
    }
}
