//! Failures by what they have in common: each defect once, with the seed that shows it soonest.

use crate::cli::exit::Verdict;
use crate::world::Report;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The defects of a campaign, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Defects(BTreeMap<u64, Defect>);

/// Failures with one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defect {
    /// What they have in common. See [`karst_runtime_sim::failure::Failure::fingerprint`].
    pub(super) fingerprint: u64,
    pub(super) verdict: Verdict,
    /// How many seeds failed so.
    pub(super) seeds: u64,
    /// The one with the fewest events, and of several such the lowest.
    pub(super) quickest: Quickest,
}

/// How a defect shows itself soonest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quickest {
    pub(super) seed: u64,
    pub(super) events: u64,
    pub(super) trace: u64,
    pub(super) invariant: String,
    /// The whole failure, for a person.
    pub(super) message: String,
}

impl Defects {
    /// Takes a report. Returns whether it is of a defect that was not known.
    pub(super) fn add(&mut self, seed: u64, report: &Report) -> bool {
        let Some(failure) = &report.failure else { return false };
        let quickest = Quickest {
            seed,
            events: report.events,
            trace: report.trace,
            invariant: failure.invariant.clone(),
            message: failure.to_string(),
        };
        let fingerprint = failure.fingerprint().0;
        self.insert(Defect { fingerprint, verdict: Verdict::of(failure), seeds: 1, quickest })
    }

    /// Takes failures that have been counted. Returns whether their defect was not known.
    pub(super) fn insert(&mut self, new: Defect) -> bool {
        let Some(known) = self.0.get_mut(&new.fingerprint) else {
            self.0.insert(new.fingerprint, new);
            return true;
        };
        known.seeds += new.seeds;
        if (new.quickest.events, new.quickest.seed) < (known.quickest.events, known.quickest.seed) {
            known.quickest = new.quickest;
        }
        false
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Defect> {
        self.0.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For a person, the most frequent first.
    pub(super) fn text(&self, profile: &str) -> String {
        let mut out = String::new();
        if self.is_empty() {
            return out;
        }
        let _ = writeln!(out, "\ndefects");
        let mut all: Vec<&Defect> = self.iter().collect();
        all.sort_by_key(|defect| std::cmp::Reverse(defect.seeds));
        for defect in all {
            let Quickest { seed, events, message, .. } = &defect.quickest;
            let _ = writeln!(out, "  {} seeds, {}: {message}", defect.seeds, defect.verdict.name());
            let _ =
                writeln!(out, "     fingerprint {:016x}, quickest: seed {seed}, {events} events", defect.fingerprint);
            let _ = writeln!(out, "     again: {}", replay_command(*seed, profile));
        }
        out
    }
}

impl Defect {
    /// How its files are called.
    pub(super) fn file_name(&self) -> String {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let invariant: String = self.quickest.invariant.chars().map(safe).collect();
        format!("{invariant}-{:016x}", self.fingerprint)
    }
}

/// What runs a seed again and tells its story.
pub(super) fn replay_command(seed: u64, profile: &str) -> String {
    format!("cargo run --release --bin karst-sim -- replay {seed} --profile {profile} --log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defect(fingerprint: u64, seed: u64, events: u64) -> Defect {
        let (invariant, message) = ("G1a-Failed read".to_owned(), "why".to_owned());
        let quickest = Quickest { seed, events, trace: 0, invariant, message };
        Defect { fingerprint, verdict: Verdict::Safety, seeds: 1, quickest }
    }

    #[test]
    fn each_defect_is_kept_once_with_its_quickest_seed_in_whatever_order_they_come() {
        let all = [defect(7, 3, 500), defect(7, 1, 900), defect(9, 4, 10), defect(7, 2, 500)];
        let mut forward = Defects::default();
        let new: Vec<bool> = all.iter().map(|one| forward.insert(one.clone())).collect();
        assert_eq!(new, [true, false, true, false]);
        let mut backward = Defects::default();
        for one in all.iter().rev() {
            backward.insert(one.clone());
        }
        assert_eq!(forward, backward);
        let kept: Vec<_> = forward.iter().map(|one| (one.fingerprint, one.seeds, one.quickest.seed)).collect();
        assert_eq!(kept, [(7, 3, 2), (9, 1, 4)]);
    }

    #[test]
    fn a_files_name_has_no_place_for_surprises() {
        assert_eq!(defect(7, 0, 0).file_name(), "g1a-failed-read-0000000000000007");
    }
}
