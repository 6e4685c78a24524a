//! Sums over the seeds of a campaign.

use crate::world::{Report, SITUATIONS};
use karst_core::machine::Mark;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// What the seeds came to, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) seeds: u64,
    pub(super) failed: u64,
    pub(super) events: u64,
    pub(super) simulated: Duration,
    /// Time of the campaign, interruptions aside.
    pub(super) elapsed: Duration,
    /// CPU time of the process.
    pub(super) cpu: Duration,
    counts: BTreeMap<Group, BTreeMap<String, u64>>,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Operations answered, by kind.
    Answered,
    /// Operations without an answer, by kind.
    Lost,
    /// How writes ended.
    Writes,
    /// How growths of topics ended.
    Growths,
    /// How much happened.
    Amounts,
    /// Faults fired, by kind.
    Faults,
    /// Seeds in which what should happen in most of them happened.
    SeedsWith,
    /// Seeds that reached a mark.
    SeedsReaching,
    /// How often a mark was reached.
    Reached,
}

impl Group {
    pub(super) const ALL: [Self; 9] = [
        Self::Answered,
        Self::Lost,
        Self::Writes,
        Self::Growths,
        Self::Amounts,
        Self::Faults,
        Self::SeedsWith,
        Self::SeedsReaching,
        Self::Reached,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Lost => "lost",
            Self::Writes => "writes",
            Self::Growths => "growths",
            Self::Amounts => "amounts",
            Self::Faults => "faults",
            Self::SeedsWith => "seeds-with",
            Self::SeedsReaching => "seeds-reaching",
            Self::Reached => "reached",
        }
    }
}

/// The name under which batches that were read back are counted.
const BATCHES: &str = "batches read back and compared";

impl Totals {
    pub(super) fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.failed += u64::from(report.failure.is_some());
        self.events += report.events;
        self.simulated += report.simulated;
        self.count(Group::Amounts, BATCHES, report.batches_read);
        for (name, count) in ["acked", "refused", "unknown"].into_iter().zip(report.writes) {
            self.count(Group::Writes, name, count);
        }
        for (name, count) in ["done", "refused", "unknown"].into_iter().zip(report.growths) {
            self.count(Group::Growths, name, count);
        }
        let groups = [
            (Group::Answered, &report.answered),
            (Group::Lost, &report.lost),
            (Group::Amounts, &report.amounts),
            (Group::Faults, &report.faults),
            (Group::Reached, &report.marks),
        ];
        for (group, counts) in groups {
            for (name, count) in counts {
                self.count(group, name, *count);
            }
        }
        for (name, marks) in SITUATIONS {
            let happened = marks.iter().any(|mark| report.marks.contains_key(mark.name()));
            self.count(Group::SeedsWith, name, u64::from(happened));
        }
        for name in report.marks.keys() {
            self.count(Group::SeedsReaching, name, 1);
        }
    }

    /// Adds to a count.
    pub(super) fn count(&mut self, group: Group, name: &str, count: u64) {
        *self.counts.entry(group).or_default().entry(name.into()).or_default() += count;
    }

    /// All counts of a group, by name.
    pub(super) fn group(&self, group: Group) -> impl Iterator<Item = (&str, u64)> {
        self.counts.get(&group).into_iter().flatten().map(|(name, count)| (name.as_str(), *count))
    }

    fn get(&self, group: Group, name: &str) -> u64 {
        self.counts.get(&group).and_then(|counts| counts.get(name)).copied().unwrap_or(0)
    }

    /// Marks that no seed reached.
    pub(super) fn unreached(&self) -> Vec<Mark> {
        let all = Mark::ALL.iter().copied();
        all.filter(|mark| self.get(Group::SeedsReaching, mark.name()) == 0).collect()
    }

    pub(super) fn progress(&self, total: Option<u64>) -> String {
        let rate = self.seeds as f64 / self.elapsed.as_secs_f64().max(0.001);
        let of = total.map_or(String::new(), |total| format!(" of {total}"));
        format!("{}{of} seeds, {} failed, {rate:.1} seeds/s", self.seeds, self.failed)
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let seeds = self.seeds.max(1) as f64;
        let operations: u64 = self.group(Group::Answered).map(|(_, count)| count).sum();
        let _ = writeln!(out, "{} seeds, {} failed", self.seeds, self.failed);
        let _ = writeln!(out, "\nper seed on average");
        let _ = writeln!(out, "  {:>10.1}  client operations answered", operations as f64 / seeds);
        for (name, count) in self.group(Group::Amounts) {
            let _ = writeln!(out, "  {:>10.1}  {name}", count as f64 / seeds);
        }
        let _ = writeln!(out, "\noperations        answered        lost");
        for (kind, count) in self.group(Group::Answered) {
            let _ = writeln!(out, "  {kind:<14} {count:>10}  {:>10}", self.get(Group::Lost, kind));
        }
        for group in [Group::Writes, Group::Growths] {
            let counts: Vec<String> = self.group(group).map(|(name, count)| format!("{name} {count}")).collect();
            let _ = writeln!(out, "  {} {}", group.name(), counts.join(", "));
        }
        let _ = writeln!(out, "\nfaults fired");
        for (kind, count) in self.group(Group::Faults) {
            let _ = writeln!(out, "  {count:>10}  {kind}");
        }
        self.write_marks(&mut out);
        self.write_speed(&mut out, operations);
        out
    }

    fn write_marks(&self, out: &mut String) {
        let _ = writeln!(out, "\nseeds with");
        for (name, seeds) in self.group(Group::SeedsWith) {
            let _ = writeln!(out, "  {:>9.0}%  {seeds:>10}  {name}", 100.0 * seeds as f64 / self.seeds.max(1) as f64);
        }
        let _ = writeln!(out, "\nmarks           seeds       times");
        for (name, seeds) in self.group(Group::SeedsReaching) {
            let _ = writeln!(out, "  {seeds:>17}  {:>10}  {name}", self.get(Group::Reached, name));
        }
        let unreached = self.unreached();
        if !unreached.is_empty() {
            let _ = writeln!(out, "\nmarks never reached");
            for mark in unreached {
                let _ = writeln!(out, "  {}:{}", mark.name(), mark.meaning());
            }
        }
    }

    fn write_speed(&self, out: &mut String, operations: u64) {
        let wall = self.elapsed.as_secs_f64().max(0.001);
        let cpu = self.cpu.as_secs_f64().max(0.001);
        let _ = writeln!(
            out,
            "\n{wall:.1} s, {:.1} seeds/s, {:.1} seeds per CPU second, {:.0} events/s, {:.0} simulated s/s, {:.0} client \
             operations per CPU second",
            self.seeds as f64 / wall,
            self.seeds as f64 / cpu,
            self.events as f64 / wall,
            self.simulated.as_secs_f64() / wall,
            operations as f64 / cpu,
        );
    }
}
