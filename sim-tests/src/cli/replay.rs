//! `karst-sim replay`: one run again, told in lines.

use super::args::{Args, UsageError};
use crate::plan::{Plan, Profile};
use crate::world::{self, Options};
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::trace::LogOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Lines kept when none are asked for by number.
const LINES: usize = 200;

pub(super) fn main(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let until = args.value("--until")?;
    let lines = args.flag_or_value("--log", LINES);
    let plan = plan(&mut args, profile)?;
    args.end()?;
    let log = lines.map_or(LogOptions::OFF, |keep| LogOptions { keep, ..LogOptions::LAST });
    let report = world::run(plan, Options { log, until });
    let mut out = std::io::stdout().lock();
    let lines = report.lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    // Whoever reads this may have seen enough.
    let _ = lines.and_then(|()| writeln!(out, "{}", report.story()));
    Ok(if report.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn print_plan(mut args: Args) -> Result<ExitCode, UsageError> {
    let profile = args.profile()?;
    let plan = plan(&mut args, profile)?;
    args.end()?;
    print!("{}", plan.to_text());
    Ok(ExitCode::SUCCESS)
}

/// The plan of a seed, or the one in a file.
fn plan(args: &mut Args, profile: Profile) -> Result<Plan, UsageError> {
    let word = args.word().ok_or_else(|| UsageError("a seed or a plan file is missing".into()))?;
    if let Ok(seed) = word.parse() {
        return Ok(Plan::from_seed(Seed(seed), profile));
    }
    let text = std::fs::read_to_string(Path::new(&word)).map_err(|error| UsageError(format!("{word}: {error}")))?;
    Plan::from_text(&text).map_err(|error| UsageError(format!("{word}: {error}")))
}
