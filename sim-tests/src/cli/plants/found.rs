//! What campaigns make of one plant.

use super::child::output;
use super::patch::Plant;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A campaign's first failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Find {
    pub(super) seed: u64,
    pub(super) invariant: String,
    /// How many seeds it took, the failing one included.
    pub(super) seeds: u64,
    /// How long that took.
    pub(super) took: Duration,
}

/// A seed that is under way when the time is up may go on so long.
const LAST_SEED: Duration = Duration::from_secs(120);

/// Runs a campaign until its first failure, for `lasts` at most; `None` if there is none. Several threads may each have a
/// failing seed under way: the lowest counts, so that it does not matter how many there are.
pub(super) fn search(
    program: &Path,
    seeds: Range<u64>,
    lasts: Duration,
    folder: &Path,
) -> Result<Option<Find>, String> {
    let lines = folder.join("lines.json");
    let began = Instant::now();
    let mut karst = Command::new(program);
    karst.args(["run", "--until-failure", "--seeds", &format!("{}..{}", seeds.start, seeds.end)]);
    karst.args(["--for", &format!("{}s", lasts.as_secs().max(1)), "--json-lines"]).arg(&lines);
    output(&mut karst, lasts + LAST_SEED)?;
    let took = began.elapsed();
    let text = fs::read_to_string(&lines).map_err(|error| format!("{}: {error}", lines.display()))?;
    if text.is_empty() {
        return Err("it ran no seed".into());
    }
    let first = text.lines().filter_map(failed).min();
    Ok(first.map(|(seed, invariant)| Find { seed, invariant, seeds: seed - seeds.start + 1, took }))
}

/// Seed and invariant of a line, if the seed failed. The line is our own: see [`crate::world::Report::to_json`].
fn failed(line: &str) -> Option<(u64, String)> {
    let (seed, rest) = line.strip_prefix("{\"seed\":")?.split_once(',')?;
    let (_, failure) = rest.split_once("\"failure\":{\"invariant\":\"")?;
    let (invariant, _) = failure.split_once('"')?;
    Some((seed.parse().ok()?, invariant.into()))
}

/// What all campaigns came to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It could not be tried.
    Broken(String),
    /// What each campaign found.
    Tried(Vec<Option<Find>>),
}

impl Outcome {
    /// What is wrong with it, in two words.
    pub(super) fn complaint(&self, plant: &Plant) -> Option<&'static str> {
        let Self::Tried(finds) = self else { return Some("BROKEN") };
        let is_named = |find: &Find| plant.found_by.is_empty() || plant.found_by.contains(&find.invariant);
        if finds.iter().any(Option::is_none) {
            Some("NOT FOUND")
        } else if !finds.iter().flatten().all(is_named) {
            Some("BY ANOTHER")
        } else {
            None
        }
    }

    /// The invariants that found it.
    pub(super) fn invariants(&self) -> Vec<&str> {
        let Self::Tried(finds) = self else { return Vec::new() };
        let mut all: Vec<&str> = finds.iter().flatten().map(|find| find.invariant.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Median and worst of the seeds that it took; `None` where a campaign did not find it.
    pub(super) fn seeds(&self) -> (Option<u64>, Option<u64>) {
        let Self::Tried(finds) = self else { return (None, None) };
        let mut seeds: Vec<u64> = finds.iter().map(|find| find.as_ref().map_or(u64::MAX, |find| find.seeds)).collect();
        seeds.sort_unstable();
        let known = |seeds: Option<&u64>| seeds.copied().filter(|seeds| *seeds < u64::MAX);
        (known(seeds.get(seeds.len() / 2)), known(seeds.last()))
    }

    /// The median time that a campaign took to find it.
    pub(super) fn took(&self) -> Option<Duration> {
        let Self::Tried(finds) = self else { return None };
        let mut took: Vec<Duration> = finds.iter().flatten().map(|find| find.took).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }

    /// The find with the fewest seeds: what is shrunk.
    pub(super) fn first(&self) -> Option<&Find> {
        let Self::Tried(finds) = self else { return None };
        finds.iter().flatten().min_by_key(|find| find.seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(seeds: u64, invariant: &str) -> Option<Find> {
        Some(Find { seed: seeds, invariant: invariant.into(), seeds, took: Duration::from_secs(seeds) })
    }

    #[test]
    fn a_failed_seeds_line_tells_seed_and_invariant() {
        let line = "{\"seed\":42,\"trace\":\"00\",\"failure\":{\"invariant\":\"lost-write\",\"message\":\"x\"}}";
        assert_eq!(failed(line), Some((42, "lost-write".into())));
        assert_eq!(failed("{\"seed\":42,\"trace\":\"00\",\"failure\":null}"), None);
    }

    #[test]
    fn a_plant_must_be_found_by_every_campaign_and_by_what_its_header_names() {
        let plant = Plant { found_by: vec!["lost-write".into()], ..Plant::default() };
        let good = Outcome::Tried(vec![found(9, "lost-write"), found(2, "lost-write"), found(3, "lost-write")]);
        assert_eq!(good.complaint(&plant), None);
        assert_eq!((good.seeds(), good.took()), ((Some(3), Some(9)), Some(Duration::from_secs(3))));
        let missed = Outcome::Tried(vec![found(1, "lost-write"), None, found(3, "lost-write")]);
        assert_eq!((missed.complaint(&plant), missed.seeds()), (Some("NOT FOUND"), (Some(3), None)));
        let other = Outcome::Tried(vec![found(1, "no-panic")]);
        assert_eq!(other.complaint(&plant), Some("BY ANOTHER"));
        assert_eq!(Outcome::Broken("x".into()).complaint(&plant), Some("BROKEN"));
    }
}
