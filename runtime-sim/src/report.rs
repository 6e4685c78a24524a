//! Counters of what was injected.

use std::collections::BTreeMap;

/// How often each kind of fault *fired* (not: was configured). A campaign in which a kind never fires tests nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// One more of this kind.
    pub fn add(&mut self, kind: &'static str) {
        self.add_many(kind, 1);
    }

    /// So many more of this kind; adding none leaves no trace.
    pub fn add_many(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// How many of this kind.
    #[must_use]
    pub fn get(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Adds another's counts to these.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            self.add_many(kind, *count);
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_up_and_nothing_leaves_no_trace() {
        let mut one = Counters::default();
        one.add_many("b", 0);
        assert!(one.is_empty());
        one.add("a");
        let mut other = Counters::default();
        other.add_many("a", 2);
        other.add("c");
        one.merge(&other);
        assert_eq!(one.iter().collect::<Vec<_>>(), [("a", 3), ("c", 1)]);
        assert_eq!((one.get("a"), one.get("b")), (3, 0));
    }
}
