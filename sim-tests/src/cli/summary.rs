//! What a campaign came to.

use crate::world::Report;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Sums over the seeds of a campaign.
#[derive(Debug, Default)]
pub(super) struct Summary {
    seeds: u64,
    failures: Vec<(u64, String)>,
    answered: BTreeMap<&'static str, u64>,
    lost: BTreeMap<&'static str, u64>,
    writes: [u64; 3],
    batches_read: u64,
    marks: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    events: u64,
    simulated: Duration,
}

impl Summary {
    pub(super) fn add(&mut self, seed: u64, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.simulated += report.simulated;
        self.batches_read += report.batches_read;
        if let Some(failure) = &report.failure {
            self.failures.push((seed, failure.invariant.clone()));
        }
        add_all(&mut self.answered, &report.answered);
        add_all(&mut self.lost, &report.lost);
        add_all(&mut self.marks, &report.marks);
        add_all(&mut self.faults, &report.faults);
        for (sum, count) in self.writes.iter_mut().zip(report.writes) {
            *sum += count;
        }
    }

    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    pub(super) fn progress(&self, total: u64, elapsed: Duration) -> String {
        let rate = self.seeds as f64 / elapsed.as_secs_f64().max(0.001);
        format!("{} of {total} seeds, {} failed, {rate:.1} seeds/s", self.seeds, self.failures.len())
    }

    pub(super) fn text(&self, elapsed: Duration, cpu: Duration) -> String {
        let mut out = String::new();
        let seeds = self.seeds.max(1) as f64;
        let operations: u64 = self.answered.values().sum();
        let _ = writeln!(out, "{} seeds, {} failed", self.seeds, self.failures.len());
        let _ = writeln!(out, "\nper seed on average");
        let _ = writeln!(out, "  {:>10.1}  client operations answered", operations as f64 / seeds);
        for (name, count) in &self.marks {
            let _ = writeln!(out, "  {:>10.1}  {name}", *count as f64 / seeds);
        }
        let _ = writeln!(out, "\noperations        answered        lost");
        for (kind, count) in &self.answered {
            let lost = self.lost.get(kind).copied().unwrap_or(0);
            let _ = writeln!(out, "  {kind:<14} {count:>10}  {lost:>10}");
        }
        let [acked, failed, unknown] = self.writes;
        let _ = writeln!(out, "  writes acked {acked}, refused {failed}, unknown {unknown}");
        let _ = writeln!(out, "  batches read back and compared {}", self.batches_read);
        let _ = writeln!(out, "\nfaults fired");
        for (kind, count) in &self.faults {
            let _ = writeln!(out, "  {count:>10}  {kind}");
        }
        let wall = elapsed.as_secs_f64().max(0.001);
        let cpu = cpu.as_secs_f64().max(0.001);
        let _ = writeln!(
            out,
            "\n{:.1} s, {:.1} seeds/s, {:.0} events/s, {:.0} simulated s/s, {:.0} client operations per CPU second",
            wall,
            self.seeds as f64 / wall,
            self.events as f64 / wall,
            self.simulated.as_secs_f64() / wall,
            operations as f64 / cpu,
        );
        if !self.failures.is_empty() {
            let _ = writeln!(out, "\nfailed seeds");
            for (seed, invariant) in &self.failures {
                let _ = writeln!(out, "  {seed}: {invariant}");
            }
        }
        out
    }
}

fn add_all(sums: &mut BTreeMap<&'static str, u64>, counts: &BTreeMap<&'static str, u64>) {
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
}
