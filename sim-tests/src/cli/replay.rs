//! `karst-sim replay`: one run again, told in lines, followed, stopped anywhere, looked into.

use super::args::{Args, UsageError};
use super::exit::Verdict;
use super::{follow, step};
use crate::plan::{Plan, Profile};
use crate::world::{self, Options, Report};
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::trace::LogOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Lines kept when none are asked for by number.
const LINES: usize = 200;

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let until = args.value("--until")?;
    let lines = args.flag_or_equals("--log", LINES)?;
    let query = args.value("--follow")?;
    let states: Option<String> = args.value("--state")?;
    let is_stepped = args.flag("--step");
    let break_at = args.value("--break")?;
    let plan = plan(&mut args, profile)?;
    args.end()?;
    let log = lines.map_or(LogOptions::OFF, |keep| LogOptions { keep, ..LogOptions::LAST });
    let options = Options { log, until, break_at, ..Options::default() };
    // Who is to do nothing at all does not come up.
    let named = plan.only.iter().filter(|(_, kept)| !kept.is_empty());
    let named: Vec<String> = named.map(|(name, _)| name.clone()).collect();
    let report = match (query, states, is_stepped) {
        (None, None, false) => world::run(plan, options),
        (Some(query), None, false) => {
            let report = follow::run(plan, options, &query)?;
            return Ok(looked_at(&report, until));
        }
        (None, Some(pattern), false) => {
            let report = step::show_states(plan, options, pattern)?;
            return Ok(looked_at(&report, until));
        }
        (None, None, true) => step::run(plan, options),
        _ => return Err(UsageError("--follow, --state and --step exclude each other".into())),
    };
    // Whoever reads this may have seen enough.
    let _ = tell(&report, &mut io::stdout().lock());
    if until.is_none() && !is_stepped {
        named.iter().filter(|name| !report.occurrences.contains_key(*name)).for_each(|name| warn_of_idle(name));
    }
    if !is_stepped {
        warn_of_early_end(&report, until);
    }
    Ok(report.failure.as_ref().map_or(Verdict::Passed, Verdict::of).code())
}

/// How the run ended is said only if it failed: somebody asked for something else.
fn looked_at(report: &Report, until: Option<u64>) -> ExitCode {
    if let Some(failure) = &report.failure {
        println!("FAILED: {failure}");
    }
    warn_of_early_end(report, until);
    report.failure.as_ref().map_or(Verdict::Passed, Verdict::of).code()
}

/// It was to go on until an event that never came.
fn warn_of_early_end(report: &Report, until: Option<u64>) {
    if let Some(until) = until.filter(|until| *until > report.events) {
        eprintln!("karst-sim: warning: there is no event {until}: the run has {} events", report.events);
    }
}

/// Perhaps a slip of the pen, perhaps what is left of a line that once did something.
fn warn_of_idle(name: &str) {
    eprintln!("karst-sim: warning: the plan's line 'only {name}' has no effect: nothing of that name came up");
}

fn tell(report: &Report, out: &mut impl Write) -> io::Result<()> {
    report.lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{}", report.story())
}

pub(super) fn print_plan(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let plan = plan(&mut args, profile)?;
    args.end()?;
    print!("{}", plan.to_annotated_text());
    Ok(ExitCode::SUCCESS)
}

/// The plan of a seed, or the one in a file.
pub(super) fn plan(args: &mut Args, profile: Profile) -> Result<Plan, UsageError> {
    let word = args.word().ok_or_else(|| UsageError("a seed or a plan file is missing".into()))?;
    if let Ok(seed) = word.parse() {
        return Ok(Plan::from_seed(Seed(seed), profile));
    }
    let text = std::fs::read_to_string(Path::new(&word)).map_err(|error| UsageError(format!("{word}: {error}")))?;
    Plan::from_text(&text).map_err(|error| UsageError(format!("{word}: {error}")))
}
