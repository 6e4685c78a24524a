//! Which seeds a campaign runs, and which of them are done.
//!
//! ```text
//!   --seeds 100..109 --shard 2/3      nth       0    1    2
//!                                     seed    101  104  107
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The seeds of a campaign, in the order in which they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    pub(super) range: Range<u64>,
    pub(super) shard: Shard,
}

/// One of several disjoint parts of the same range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// From 1.
    part: u64,
    of: u64,
}

impl Shard {
    /// Everything.
    pub(super) const WHOLE: Self = Self { part: 1, of: 1 };
}

impl FromStr for Shard {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (part, of) = text.split_once('/').ok_or(())?;
        let shard = Self { part: part.parse().map_err(drop)?, of: of.parse().map_err(drop)? };
        if (1..=shard.of).contains(&shard.part) { Ok(shard) } else { Err(()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl Seeds {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        let all = self.range.end.saturating_sub(self.range.start);
        all.saturating_sub(self.shard.part - 1).div_ceil(self.shard.of)
    }

    /// The nth of them, from 0.
    pub(super) fn nth(&self, nth: u64) -> Option<u64> {
        let ahead = nth.checked_mul(self.shard.of)?.checked_add(self.shard.part - 1)?;
        self.range.start.checked_add(ahead).filter(|seed| *seed < self.range.end)
    }

    /// Which one this seed is, if it is one of them.
    pub(super) fn position(&self, seed: u64) -> Option<u64> {
        let ahead = seed.checked_sub(self.range.start)?.checked_sub(self.shard.part - 1)?;
        (seed < self.range.end && ahead.is_multiple_of(self.shard.of)).then_some(ahead / self.shard.of)
    }

    /// Whether it ends by itself.
    pub(super) fn is_bounded(&self) -> bool {
        self.range.end < u64::MAX
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.range.start)?;
        if self.is_bounded() {
            write!(f, "{}", self.range.end)?;
        }
        if self.shard == Shard::WHOLE { Ok(()) } else { write!(f, ", part {}", self.shard) }
    }
}

/// The first seed for a commit, or any other name: FNV-1a (64 bits) of its text in lower case, without what is around
/// it, and of that the upper 48 bits, so that a range has room behind it. It is the same for ever.
pub(in crate::cli) fn seed_of_commit(commit: &str) -> u64 {
    let text = commit.trim().to_ascii_lowercase();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash >> 16
}

/// Numbers, as disjoint ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done(BTreeMap<u64, u64>);

impl Done {
    /// Adds one that is not in it.
    pub(super) fn insert(&mut self, n: u64) {
        self.insert_range(n..n + 1);
    }

    /// Adds a range that does not overlap any in it.
    pub(super) fn insert_range(&mut self, range: Range<u64>) {
        let mut range = range;
        if let Some((&start, &end)) = self.0.range(..range.start).next_back()
            && end == range.start
        {
            self.0.remove(&start);
            range.start = start;
        }
        if let Some(end) = self.0.remove(&range.end) {
            range.end = end;
        }
        self.0.insert(range.start, range.end);
    }

    /// Whether it is in.
    pub(super) fn contains(&self, n: u64) -> bool {
        self.0.range(..=n).next_back().is_some_and(|(_, end)| n < *end)
    }

    /// Ascending.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn shards_are_disjoint_and_together_everything() {
        let mut seen = BTreeSet::new();
        for part in 1..=3 {
            let seeds = Seeds { range: 100..110, shard: Shard { part, of: 3 } };
            let all: Vec<u64> = (0..).map_while(|nth| seeds.nth(nth)).collect();
            assert_eq!(all.len() as u64, seeds.count());
            for (nth, seed) in (0..).zip(all) {
                assert_eq!(seeds.position(seed), Some(nth));
                assert!(seen.insert(seed), "{seed} is in two shards");
            }
        }
        assert_eq!(seen, (100..110).collect());
        let beyond = Seeds { range: 0..2, shard: Shard { part: 5, of: 8 } };
        assert_eq!((beyond.count(), beyond.nth(0), beyond.position(1)), (0, None, None));
    }

    #[test]
    fn shards_are_numbered_from_one() {
        assert_eq!("3/8".parse(), Ok(Shard { part: 3, of: 8 }));
        for wrong in ["0/8", "9/8", "3", "/", "3/0"] {
            assert_eq!(wrong.parse::<Shard>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn the_seed_of_a_commit_is_the_same_for_ever() {
        assert_eq!(seed_of_commit(""), 0xcbf2_9ce4_8422);
        assert_eq!(seed_of_commit(" 47B495B\n"), seed_of_commit("47b495b"));
        assert_eq!(seed_of_commit("47b495b"), 197_253_176_294_690);
    }

    #[test]
    fn what_is_done_is_known_in_whatever_order_it_was() {
        let mut done = Done::default();
        for n in [5, 3, 4, 0, 9, 8] {
            assert!(!done.contains(n));
            done.insert(n);
        }
        assert_eq!(done.ranges().collect::<Vec<_>>(), [0..1, 3..6, 8..10]);
        assert_eq!([0, 2, 4, 7, 9, 10].map(|n| done.contains(n)), [true, false, true, false, true, false]);
    }
}
