//! `karst-sim determinism`: the same seed must give the same trace, wherever it runs.
//!
//! ```text
//!   this process    one run at a time ─┐
//!                   four at once      ─┤   hashes of all seeds ──► those that differ ──► their lines, each with the
//!   another process one run at a time ─┤                                                 hash so far: the first event
//!                   four at once      ─┘                                                 in which two runs part
//! ```

mod difference;

use super::args::{Args, UsageError};
use super::campaign::for_each;
use super::exit::Verdict;
use crate::plan::{Plan, Profile};
use crate::world::{self, Options};
use difference::{Told, first_difference};
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::trace::{Line, LogOptions};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, Command, ExitCode, Stdio};

/// Threads of the crowded runs.
const CROWD: usize = 4;
/// How often a difference is looked for again that does not show itself.
const ATTEMPTS: u32 = 5;

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let seeds = args.seeds()?;
    let profile = args.profile()?;
    args.end()?;
    let here = [1, CROWD].map(|jobs| hashes(seeds.clone(), profile, jobs));
    let elsewhere = [1, CROWD].map(|jobs| hashes_of_another_process(&seeds, profile, jobs));
    let [alone, crowded] = here;
    let [elsewhere_alone, elsewhere_crowded] = elsewhere;
    let others = [crowded, elsewhere_alone?, elsewhere_crowded?];
    let differs = |seed: &u64| others.iter().any(|hashes| hashes.get(seed) != alone.get(seed));
    let differing: Vec<u64> = seeds.filter(differs).collect();
    if differing.is_empty() {
        println!(
            "{} seeds, each with one hash, on one thread and on {CROWD}, here and in other processes",
            alone.len()
        );
        return Ok(Verdict::Passed.code());
    }
    for seed in &differing {
        let hash = |hashes: &BTreeMap<u64, u64>| hashes.get(seed).copied().unwrap_or_default();
        let [crowded, elsewhere_alone, elsewhere_crowded] = others.each_ref().map(hash);
        println!(
            "seed {seed}: {:016x} on one thread, {crowded:016x} on {CROWD}; in other processes {elsewhere_alone:016x} \
             on one, {elsewhere_crowded:016x} on {CROWD}",
            hash(&alone)
        );
        show_first_difference(*seed, profile)?;
    }
    Ok(Verdict::Different.code())
}

/// For the other process, and for CI: a line per seed; or each line of each seed's log with the hash so far.
pub(super) fn print_hashes(mut args: Args) -> Result<ExitCode, UsageError> {
    let seeds = args.seeds()?;
    let profile = args.profile()?;
    let jobs = args.jobs()?.unwrap_or(2);
    let is_long = args.flag("--log");
    args.end()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = if is_long {
        let mut lines = seeds.flat_map(|seed| log(seed, profile, jobs));
        lines.try_for_each(|line| writeln!(out, "{}", Told::of(&line)))
    } else {
        hashes(seeds, profile, jobs).iter().try_for_each(|(seed, hash)| writeln!(out, "{seed} {hash:016x}"))
    };
    // Whoever reads this may have seen enough.
    let _ = printed.and_then(|()| out.flush());
    Ok(ExitCode::SUCCESS)
}

fn hashes(seeds: Range<u64>, profile: Profile, jobs: usize) -> BTreeMap<u64, u64> {
    let mut hashes = BTreeMap::new();
    for_each(seeds, profile, jobs, |seed, report| {
        hashes.insert(seed, report.trace);
    });
    hashes
}

fn hashes_of_another_process(
    seeds: &Range<u64>,
    profile: Profile,
    jobs: usize,
) -> Result<BTreeMap<u64, u64>, UsageError> {
    let process = another_process(seeds, profile, jobs, &[])?;
    let output = process.wait_with_output().map_err(|error| UsageError(format!("another process: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(seed, hash)| Some((seed.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))).collect())
}

/// Another process that prints hashes.
fn another_process(seeds: &Range<u64>, profile: Profile, jobs: usize, more: &[&str]) -> Result<Child, UsageError> {
    let fail = |error: io::Error| UsageError(format!("could not start another process: {error}"));
    let profile = profile.name();
    let program = std::env::current_exe().map_err(fail)?;
    let (range, jobs) = (format!("{}..{}", seeds.start, seeds.end), jobs.to_string());
    let words = ["hashes", "--seeds", &range, "--profile", profile, "--jobs", &jobs];
    Command::new(program).args(words).args(more).stdout(Stdio::piped()).spawn().map_err(fail)
}

/// All lines of a run, of which others like it run at the same time.
fn log(seed: u64, profile: Profile, jobs: usize) -> Vec<Line> {
    let run = || {
        let options = Options { log: LogOptions { keep: usize::MAX, ..LogOptions::LAST }, ..Options::default() };
        world::run(Plan::from_seed(Seed(seed), profile), options).lines
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs {
            scope.spawn(|| world::run(Plan::from_seed(Seed(seed), profile), Options::default()));
        }
        run()
    })
}

/// Runs the seed again in all ways, with all lines, and shows the first event in which one of them differs.
fn show_first_difference(seed: u64, profile: Profile) -> Result<(), UsageError> {
    for _ in 0..ATTEMPTS {
        let alone: Vec<Told> = log(seed, profile, 1).iter().map(Told::of).collect();
        let crowded = log(seed, profile, CROWD);
        if let Some(difference) = first_difference(alone.iter().cloned(), crowded.iter().map(Told::of)) {
            println!("  on one thread and on {CROWD}: {difference}");
            return Ok(());
        }
        for jobs in [1, CROWD] {
            let mut process = another_process(&(seed..seed + 1), profile, jobs, &["--log"])?;
            let output = BufReader::new(process.stdout.take().expect("it is piped"));
            let theirs = output.lines().map_while(Result::ok).filter_map(|line| line.parse().ok());
            let difference = first_difference(alone.iter().cloned(), theirs);
            // It may have more to say, which nobody reads any more.
            let _ = process.kill().and_then(|()| process.wait());
            if let Some(difference) = difference {
                println!("  here and in another process, on {jobs} of its threads: {difference}");
                return Ok(());
            }
        }
    }
    println!("  {ATTEMPTS} more runs of it in each way are equal: the difference comes and goes");
    Ok(())
}
