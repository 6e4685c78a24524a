//! What a run leaves for people and for campaigns.

use super::Ended;
use super::sizes::{Sizes, Table};
use crate::json;
use crate::oracle::Oracle;
use karst_core::machine::Mark;
use karst_runtime_sim::exec::{End, RunReport};
use karst_runtime_sim::failure::Failure;
use karst_runtime_sim::recording::Recording;
use karst_runtime_sim::trace::Line;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Counters that say how much happened, and are not faults.
const AMOUNTS: [(&str, &str); 6] = [
    ("broker.crashes", "crashes"),
    ("broker.starts", "starts"),
    ("wal.wraps", "WAL wraps"),
    ("uploads.committed", "committed uploads"),
    ("objects.uploaded", "objects uploaded"),
    ("compaction.committed", "compactions committed"),
];

/// What the counters of clients' requests begin with.
const REQUESTS: &str = "requests.";

/// What is to happen in most seeds: each by a name, and by the marks of which a run reached one.
pub const SITUATIONS: [(&str, &[Mark]); 4] = [
    ("rebalances", &[Mark::Rebalanced]),
    ("expiries", &[Mark::MemberExpired, Mark::ProducerForgotten, Mark::OffsetsExpired]),
    ("compactions", &[Mark::Compacted]),
    ("retention", &[Mark::TrimmedByAge, Mark::TrimmedBySize]),
];

/// What clients saw in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    answered: BTreeMap<&'static str, u64>,
    lost: BTreeMap<&'static str, u64>,
    writes: [u64; 3],
    growths: [u64; 3],
    batches_read: u64,
}

impl Observed {
    pub(super) fn of(oracle: &Oracle) -> Self {
        Self {
            answered: oracle.answered.clone(),
            lost: oracle.lost.clone(),
            writes: oracle.writes,
            growths: oracle.growths,
            batches_read: oracle.batches_read,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The plan, as text.
    pub plan: String,
    /// Equal for equal runs.
    pub trace: u64,
    /// Inputs handled.
    pub events: u64,
    /// How long it took in simulated time.
    pub simulated: Duration,
    /// What was violated, if anything.
    pub failure: Option<Failure>,
    /// Whether it came to its end, or was stopped before, or failed: then nobody knows what clients saw until then.
    pub is_whole: bool,
    /// Operations answered, by kind.
    pub answered: BTreeMap<&'static str, u64>,
    /// Operations without an answer, by kind.
    pub lost: BTreeMap<&'static str, u64>,
    /// Writes acked, refused, unknown.
    pub writes: [u64; 3],
    /// Growths of topics done, refused, unknown.
    pub growths: [u64; 3],
    /// Batches read back and compared.
    pub batches_read: u64,
    /// How large everything was as time went by, if the plan asks for that.
    pub sizes: Vec<Sizes>,
    /// How much happened.
    pub amounts: BTreeMap<&'static str, u64>,
    /// How often each mark was reached, by name.
    pub marks: BTreeMap<&'static str, u64>,
    /// Requests that clients made, by kind, until the end or the failure.
    pub requests: BTreeMap<&'static str, u64>,
    /// How many of each thing came to the gate, whether it happened or not.
    pub occurrences: BTreeMap<String, u64>,
    /// Faults fired, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The lines kept.
    pub lines: Vec<Line>,
    /// The recording asked for.
    pub recording: Option<Recording>,
}

impl Report {
    pub(super) fn new(plan: String, run: RunReport<Ended>) -> Self {
        let failure = run.verdict();
        let is_whole = matches!(run.end, End::Finished(_));
        let (observed, sizes) = match run.end {
            End::Finished(ended) => (ended.summary, ended.sizes),
            End::Stopped(_) => (Observed::default(), Vec::new()),
        };
        let amounts = AMOUNTS.iter().map(|(key, name)| (*name, run.fired.get(key))).collect();
        let is_mark = |name: &str| Mark::ALL.iter().any(|mark| mark.name() == name);
        let (marks, others): (BTreeMap<_, _>, BTreeMap<_, _>) = run.fired.iter().partition(|(name, _)| is_mark(name));
        let faults = others.into_iter().filter(|(kind, _)| AMOUNTS.iter().all(|(key, _)| key != kind));
        let faults = faults.filter(|(kind, _)| !kind.starts_with(REQUESTS)).collect();
        let requests =
            run.fired.iter().filter_map(|(kind, count)| Some((kind.strip_prefix(REQUESTS)?, count))).collect();
        Self {
            plan,
            trace: run.hash,
            events: run.events,
            simulated: Duration::from_nanos(run.at.0),
            failure,
            is_whole,
            answered: observed.answered,
            lost: observed.lost,
            writes: observed.writes,
            growths: observed.growths,
            batches_read: observed.batches_read,
            sizes,
            amounts,
            marks,
            requests,
            occurrences: run.occurrences,
            faults,
            lines: run.log,
            recording: run.recording,
        }
    }

    /// For a person, after a replay.
    #[must_use]
    pub fn story(&self) -> String {
        let mut out = String::new();
        match &self.failure {
            Some(failure) => {
                let _ = writeln!(out, "FAILED: {failure}\nfingerprint {}", failure.fingerprint());
            }
            None if self.is_whole => {
                let _ = writeln!(out, "passed");
            }
            None => {
                let _ = writeln!(out, "stopped at event {}: nothing failed so far", self.events);
            }
        }
        let operations: u64 = self.answered.values().sum();
        let _ = writeln!(out, "trace {:016x}, {} events, {:?} simulated", self.trace, self.events, self.simulated);
        if self.is_whole {
            let _ = writeln!(out, "{operations} operations answered, {} batches read back", self.batches_read);
        }
        if !self.sizes.is_empty() {
            let _ = writeln!(out, "{}", Table(&self.sizes));
        }
        for (name, count) in self.amounts.iter().chain(&self.faults).chain(&self.marks) {
            let _ = writeln!(out, "{count:>8}  {name}");
        }
        out
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self, seed: u64, profile: &str) -> String {
        let counts = |counts: &BTreeMap<&'static str, u64>| json::object(counts);
        let failure = self.failure.as_ref().map_or("null".to_owned(), |failure| {
            json::object([
                ("invariant", json::text(&failure.invariant)),
                ("component", json::text(&failure.component)),
                ("message", json::text(&failure.message)),
                ("event", failure.event.to_string()),
                ("at_ns", failure.at.0.to_string()),
                ("fingerprint", json::text(&failure.fingerprint().to_string())),
                ("replay", json::text(&format!("karst-sim replay {seed} --profile {profile}"))),
            ])
        });
        json::object([
            ("seed", seed.to_string()),
            ("trace", json::text(&format!("{:016x}", self.trace))),
            ("events", self.events.to_string()),
            ("simulated_ms", self.simulated.as_millis().to_string()),
            ("failure", failure),
            ("answered", counts(&self.answered)),
            ("lost", counts(&self.lost)),
            ("amounts", counts(&self.amounts)),
            ("marks", counts(&self.marks)),
            ("faults", counts(&self.faults)),
        ])
    }
}
