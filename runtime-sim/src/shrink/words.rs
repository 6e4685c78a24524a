//! What remains of a plan, for a person.

use super::size::{Size, happened};
use crate::experiment::Outcome;
use crate::plan::{Disturbance, Plan, Vocabulary};
use crate::recording::{Entry, EntryKind, Recording};
use core::fmt::Write;
use core::time::Duration;
use std::collections::BTreeMap;

/// A few lines: who does what, what goes wrong, and where it fails.
pub(super) fn describe(vocabulary: &Vocabulary, plan: &Plan, outcome: &Outcome, crashes: &[String]) -> String {
    let size = Size::of(vocabulary, plan, outcome);
    let mut out = String::new();
    let _ = match size.actors {
        0 => writeln!(out, "Nobody does anything."),
        actors => {
            let operations = counted(size.operations, "operation");
            let who = counted(actors, vocabulary.actors.trim_end_matches('-'));
            writeln!(out, "{who}, {operations}{}.", requests(&outcome.requests, size.operations))
        }
    };
    let _ = writeln!(out, "{}", done_to_the_world(vocabulary, plan));
    for crash in crashes {
        let _ = writeln!(out, "{crash}.");
    }
    let faults = outcome.occurrences.keys().filter(|name| !vocabulary.is_actor(name));
    let faults = faults.map(|name| (name.clone(), happened(plan, outcome, name).len() as u64));
    let faults: BTreeMap<String, u64> = faults.filter(|(_, count)| *count > 0).collect();
    let _ = match size.faults {
        0 => writeln!(out, "No fault besides."),
        count => writeln!(out, "{}{}.", counted(count, "fault"), in_brackets(&faults)),
    };
    for kind in faults.keys() {
        if let (Some((model, _)), Some(words)) = (kind.split_once('.'), crate::fault::words::of(kind)) {
            let _ = writeln!(out, "  {kind}: the {model} {words}.");
        }
    }
    if let Some(failure) = &outcome.failure {
        let at = seconds(Duration::from_nanos(failure.at.0));
        let _ =
            writeln!(out, "Fails at event {}, after {at}: {}: {}", failure.event, failure.invariant, failure.message);
    }
    out
}

/// What was on its way at each crash: what the nemesis of a world remarks, if it does.
pub(super) fn crashes(recording: &Recording) -> Vec<String> {
    let lane = |entry: &Entry| recording.lanes.get(entry.lane.0 as usize);
    let is_crash = |entry: &&Entry| {
        entry.kind == EntryKind::Note
            && entry.text.starts_with("crash ")
            && lane(entry).is_some_and(|lane| &*lane.owner == "nemesis")
    };
    let told = |entry: &Entry| {
        let at = seconds(Duration::from_nanos(entry.at.0));
        format!("C{} at {at}", entry.text.trim_start_matches('c'))
    };
    recording.entries.iter().filter(is_crash).map(told).collect()
}

fn done_to_the_world(vocabulary: &Vocabulary, plan: &Plan) -> String {
    let words: Vec<String> = plan.schedule.iter().map(|one| disturbance(vocabulary, one)).collect();
    if words.is_empty() { "No disturbance.".into() } else { format!("Disturbed by {}.", words.join(", then ")) }
}

fn disturbance(vocabulary: &Vocabulary, one: &Disturbance) -> String {
    let mut words = format!("{} at {}", one.kind, seconds(one.at));
    for (argument, value) in vocabulary.arguments(one) {
        let _ = match u64::try_from(value).ok().filter(|_| argument.role == crate::plan::Role::Time) {
            Some(micros) => write!(words, " ({} {})", argument.name, seconds(Duration::from_micros(micros))),
            None => write!(words, " ({} {value})", argument.name),
        };
    }
    words
}

fn in_brackets(counts: &BTreeMap<String, u64>) -> String {
    let mut most_first: Vec<(&String, &u64)> = counts.iter().collect();
    most_first.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
    let parts: Vec<String> = most_first.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// What the operations came to: some take several requests, and so do connecting and asking what there is.
fn requests(counts: &BTreeMap<String, u64>, operations: u64) -> String {
    match counts.values().sum::<u64>() {
        total if total == operations => in_brackets(counts),
        total => format!(", {} in all{}", counted(total, "request"), in_brackets(counts)),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_are_more_than_the_operations_are_counted_apart() {
        let counts = BTreeMap::from([("metadata".to_owned(), 6_u64), ("produce".to_owned(), 14)]);
        assert_eq!(requests(&counts, 13), ", 20 requests in all (14 produce, 6 metadata)");
        assert_eq!(requests(&counts, 20), " (14 produce, 6 metadata)");
        assert_eq!(requests(&BTreeMap::new(), 0), "");
    }
}
