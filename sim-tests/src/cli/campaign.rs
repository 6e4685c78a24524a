//! `karst-sim run`: many seeds, on several threads.

use super::args::{Args, UsageError};
use super::summary::Summary;
use crate::plan::{Plan, Profile};
use crate::world::{self, Options, Report};
use karst_runtime_sim::seed::Seed;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let seeds = args.seeds()?;
    let profile = args.profile()?;
    let default_jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.value("--jobs")?.unwrap_or(default_jobs).max(1);
    let json: Option<PathBuf> = args.value("--json")?;
    let plans: Option<PathBuf> = args.value("--plans")?;
    let stop = if args.flag("--until-failure") { Stop::AtFailure } else { Stop::AtEnd };
    args.end()?;

    let mut json = match json.as_deref().map(fs::File::create).transpose() {
        Ok(json) => json,
        Err(error) => return Err(UsageError(format!("--json: {error}"))),
    };
    let began = Instant::now();
    let cpu = cpu_time();
    let mut unsaved: Option<String> = None;
    let mut summary = Summary::default();
    let mut shown = Instant::now();
    let total = seeds.end.saturating_sub(seeds.start);
    for_each(seeds, profile, jobs, stop, |seed, report| {
        if report.failure.is_some() {
            show_failure(seed, profile, &report);
            if let Err(error) = save_plan(plans.as_deref(), seed, profile) {
                unsaved.get_or_insert(format!("--plans: {error}"));
            }
        }
        if let Some(json) = &mut json
            && let Err(error) = writeln!(json, "{}", report.to_json(seed))
        {
            unsaved.get_or_insert(format!("--json: {error}"));
        }
        summary.add(seed, &report);
        if shown.elapsed() >= Duration::from_secs(2) {
            shown = Instant::now();
            eprintln!("{}", summary.progress(total, began.elapsed()));
        }
    });
    print!("{}", summary.text(began.elapsed(), cpu_time().saturating_sub(cpu)));
    if let Some(why) = unsaved {
        return Err(UsageError(why));
    }
    Ok(if summary.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// When a campaign ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After its last seed.
    AtEnd,
    /// After the first seed that fails, and those under way.
    AtFailure,
}

/// Runs every seed on one of the threads; reports arrive in any order.
pub(super) fn for_each(
    seeds: Range<u64>,
    profile: Profile,
    jobs: usize,
    stop: Stop,
    mut seen: impl FnMut(u64, Report),
) {
    let next = AtomicU64::new(seeds.start);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let plan = Plan::from_seed(Seed(seed), profile);
                    if send.send((seed, world::run(plan, Options::default()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (seed, report) in receive {
            if stop == Stop::AtFailure && report.failure.is_some() {
                next.store(seeds.end, Ordering::Relaxed);
            }
            seen(seed, report);
        }
    });
}

fn show_failure(seed: u64, profile: Profile, report: &Report) {
    let Some(failure) = &report.failure else { return };
    println!("FAIL seed {seed}: {failure}");
    println!("     fingerprint {}, trace {:016x}", failure.fingerprint(), report.trace);
    let profile = match profile {
        Profile::Swarm => "",
        Profile::Calm => " --profile calm",
        Profile::Storm => " --profile storm",
    };
    println!("     again: cargo run --release --bin karst-sim -- replay {seed}{profile} --log");
}

fn save_plan(folder: Option<&Path>, seed: u64, profile: Profile) -> io::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let file = folder.join(format!("seed-{seed}.plan"));
    let text = Plan::from_seed(Seed(seed), profile).to_text();
    fs::create_dir_all(folder).and_then(|()| fs::write(file, text))
}

/// CPU time of this process so far, user and system. Zero where the system does not tell.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; the fields that matter are the 12th and 13th after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
