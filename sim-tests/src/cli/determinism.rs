//! `karst-sim determinism`: the same seed must give the same trace, wherever it runs.

use super::args::{Args, UsageError};
use super::campaign::{Stop, for_each};
use crate::plan::{Plan, Profile};
use crate::world::{self, Options};
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::trace::{Line, LogOptions};
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::{Command, ExitCode};

/// Exit code when two runs of one seed differ.
const DIFFERENT: u8 = 3;

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let seeds = args.seeds()?;
    let profile = args.profile()?;
    args.end()?;
    let alone = hashes(seeds.clone(), profile, 1);
    let together = hashes(seeds.clone(), profile, 4);
    let elsewhere = hashes_of_another_process(&seeds, profile)?;
    let differing: Vec<u64> = seeds
        .clone()
        .filter(|seed| alone.get(seed) != together.get(seed) || alone.get(seed) != elsewhere.get(seed))
        .collect();
    if differing.is_empty() {
        println!("{} seeds, each with one hash on one thread, on four, and in another process", alone.len());
        return Ok(ExitCode::SUCCESS);
    }
    for seed in &differing {
        let [one, four, other] =
            [&alone, &together, &elsewhere].map(|hashes| hashes.get(seed).copied().unwrap_or_default());
        println!("seed {seed}: {one:016x} on one thread, {four:016x} on four, {other:016x} in another process");
        show_first_difference(*seed, profile);
    }
    Ok(ExitCode::from(DIFFERENT))
}

/// For the other process: a line per seed.
pub(super) fn print_hashes(mut args: Args) -> Result<ExitCode, UsageError> {
    let seeds = args.seeds()?;
    let profile = args.profile()?;
    args.end()?;
    for (seed, hash) in hashes(seeds, profile, 2) {
        println!("{seed} {hash:016x}");
    }
    Ok(ExitCode::SUCCESS)
}

fn hashes(seeds: Range<u64>, profile: Profile, jobs: usize) -> BTreeMap<u64, u64> {
    let mut hashes = BTreeMap::new();
    for_each(seeds, profile, jobs, Stop::AtEnd, |seed, report| {
        hashes.insert(seed, report.trace);
    });
    hashes
}

fn hashes_of_another_process(seeds: &Range<u64>, profile: Profile) -> Result<BTreeMap<u64, u64>, UsageError> {
    let fail = |error: std::io::Error| UsageError(format!("could not start another process: {error}"));
    let profile = match profile {
        Profile::Swarm => "swarm",
        Profile::Calm => "calm",
        Profile::Storm => "storm",
    };
    let program = std::env::current_exe().map_err(fail)?;
    let range = format!("{}..{}", seeds.start, seeds.end);
    let words = ["hashes", "--seeds", &range, "--profile", profile];
    let output = Command::new(program).args(words).output().map_err(fail)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(seed, hash)| Some((seed.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))).collect())
}

/// Runs the seed twice more with its log, and shows where they part.
fn show_first_difference(seed: u64, profile: Profile) {
    let log = || -> Vec<Line> {
        let options = Options { log: LogOptions { keep: usize::MAX, ..LogOptions::LAST }, until: None };
        world::run(Plan::from_seed(Seed(seed), profile), options).lines
    };
    let (first, second) = (log(), log());
    match first.iter().zip(&second).find(|(one, other)| one != other) {
        Some((one, other)) => println!("  the first difference:\n  {one}\n  {other}"),
        None if first.len() != second.len() => println!("  one run is longer than the other"),
        None => println!("  two more runs of it are equal: the difference is not in what was logged"),
    }
}
