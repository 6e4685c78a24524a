//! What a run leaves for people and for campaigns.

use super::Ended;
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
const MARKS: [(&str, &str); 5] = [
    ("broker.crashes", "crashes"),
    ("broker.starts", "starts"),
    ("wal.wraps", "WAL wraps"),
    ("uploads.committed", "committed uploads"),
    ("objects.uploaded", "objects uploaded"),
];

/// What the counters of clients' requests begin with.
const REQUESTS: &str = "requests.";

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
    /// How much happened.
    pub marks: BTreeMap<&'static str, u64>,
    /// How often each mark was reached, by name.
    pub reached: BTreeMap<&'static str, u64>,
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
        let observed = match run.end {
            End::Finished(ended) => ended.summary,
            End::Stopped(_) => Observed::default(),
        };
        let marks = MARKS.iter().map(|(key, name)| (*name, run.fired.get(key))).collect();
        let is_mark = |name: &str| Mark::ALL.iter().any(|mark| mark.name() == name);
        let (reached, others): (BTreeMap<_, _>, BTreeMap<_, _>) = run.fired.iter().partition(|(name, _)| is_mark(name));
        let faults = others.into_iter().filter(|(kind, _)| MARKS.iter().all(|(key, _)| key != kind));
        let faults = faults.filter(|(kind, _)| !kind.starts_with(REQUESTS)).collect();
        let requests =
            run.fired.iter().filter_map(|(kind, count)| Some((kind.strip_prefix(REQUESTS)?, count))).collect();
        Self {
            plan,
            trace: run.hash,
            events: run.events,
            simulated: Duration::from_nanos(run.at.0),
            failure,
            answered: observed.answered,
            lost: observed.lost,
            writes: observed.writes,
            growths: observed.growths,
            batches_read: observed.batches_read,
            marks,
            reached,
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
            None => {
                let _ = writeln!(out, "passed");
            }
        }
        let operations: u64 = self.answered.values().sum();
        let _ = writeln!(out, "trace {:016x}, {} events, {:?} simulated", self.trace, self.events, self.simulated);
        let _ = writeln!(out, "{operations} operations answered, {} batches read back", self.batches_read);
        for (name, count) in self.marks.iter().chain(&self.faults).chain(&self.reached) {
            let _ = writeln!(out, "{count:>8}  {name}");
        }
        out
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self, seed: u64) -> String {
        let counts = |counts: &BTreeMap<&'static str, u64>| {
            let fields: Vec<String> = counts.iter().map(|(name, count)| format!("\"{name}\":{count}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let failure = match &self.failure {
            None => "null".to_owned(),
            Some(failure) => format!(
                "{{\"invariant\":{},\"component\":{},\"message\":{},\"event\":{},\"at_ns\":{},\
                 \"fingerprint\":\"{}\",\"replay\":\"karst-sim replay {seed}\"}}",
                json_text(&failure.invariant),
                json_text(&failure.component),
                json_text(&failure.message),
                failure.event,
                failure.at.0,
                failure.fingerprint()
            ),
        };
        format!(
            "{{\"seed\":{seed},\"trace\":\"{:016x}\",\"events\":{},\"simulated_ms\":{},\"failure\":{failure},\
             \"answered\":{},\"lost\":{},\"marks\":{},\"reached\":{},\"faults\":{}}}",
            self.trace,
            self.events,
            self.simulated.as_millis(),
            counts(&self.answered),
            counts(&self.lost),
            counts(&self.marks),
            counts(&self.reached),
            counts(&self.faults),
        )
    }
}

/// A JSON string (RFC 8259).
fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::json_text;

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        assert_eq!(json_text("a\"b\\c\n\0"), "\"a\\\"b\\\\c\\u000a\\u0000\"");
    }
}
