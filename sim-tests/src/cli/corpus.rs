//! `karst-sim corpus`: the plans that ever failed, again.

use super::args::{Args, UsageError};
use super::exit::Verdict;
use super::repository;
use crate::plan::Plan;
use crate::world::{self, Options};
use std::path::{Path, PathBuf};

pub(super) fn main(mut args: Args) -> Result<Verdict, UsageError> {
    let mut files = Vec::new();
    let mut named = std::iter::from_fn(|| args.word()).map(PathBuf::from).peekable();
    let default = if named.peek().is_none() { Some(repository::root()?.join("sim-tests/corpus")) } else { None };
    for path in default.into_iter().chain(named) {
        if path.is_dir() { files.extend(repository::files(&path, "plan")?) } else { files.push(path) }
    }
    if files.is_empty() {
        return Err(UsageError("there is no plan in there: nothing would be tried".into()));
    }
    let mut worst = Verdict::Passed;
    for file in &files {
        worst = worst.max(run(file)?);
    }
    println!("{} plans, {}", files.len(), worst.name());
    Ok(worst)
}

fn run(file: &Path) -> Result<Verdict, UsageError> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| UsageError(format!("{name}: {error}")))?;
    let why = text.lines().nth(1).and_then(|line| line.strip_prefix("# "));
    let why = why.ok_or_else(|| UsageError(format!("{name}: its second line does not say why it is kept")))?;
    let plan = Plan::from_text(&text).map_err(|error| UsageError(format!("{name}: {error}")))?;
    let report = world::run(plan, Options::default());
    match &report.failure {
        None => println!("ok    {name}: {why}"),
        Some(failure) => println!("FAIL  {name}: {why}\n      {failure}"),
    }
    Ok(report.failure.as_ref().map_or(Verdict::Passed, Verdict::of))
}
