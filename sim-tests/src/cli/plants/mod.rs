//! `karst-sim plants`: proves that the simulator finds bugs, by planting some.
//!
//! ```text
//!   each patch ──► a copy of the repository ──► build ──► campaigns, until the first failure ──► a row of the table
//! ```

mod copy;
mod found;
mod patch;
mod shrunk;
mod table;

use super::args::{Args, Period, UsageError};
use super::exit::Verdict;
use super::repository;
use copy::Copy;
use found::{Outcome, search};
use patch::{How, Plant};
use shrunk::Shrunk;
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::Row;

/// Where a campaign begins, counted from the one before.
const APART: u64 = 1_000_000;

/// How long a failure is shrunk.
const SHRINK: Period = Period(Duration::from_secs(60));

/// How the plants are tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    campaigns: u64,
    seeds: u64,
    /// How long each first failure is shrunk.
    shrink: Option<Duration>,
}

pub(super) fn main(mut args: Args) -> Result<Verdict, UsageError> {
    let trial = Trial {
        campaigns: args.value("--campaigns")?.unwrap_or(3).clamp(1, 1_000),
        seeds: args.value("--seeds")?.unwrap_or(1000).clamp(1, APART),
        shrink: args.flag_or_equals("--shrink", SHRINK)?.map(|period| period.0),
    };
    let check_only = args.flag("--check");
    let markdown: Option<PathBuf> = args.value("--markdown")?;
    let folder: Option<PathBuf> = args.value("--folder")?;
    let names: Vec<String> = std::iter::from_fn(|| args.word()).collect();
    let root = repository::root()?;
    let plants = load(&root, &names, check_only)?;
    if check_only {
        return Ok(check(&root, &plants));
    }
    let folder = folder.unwrap_or_else(|| root.join("target/plants"));
    let copy = Copy::refresh(&root, &folder);
    let copy = copy.map_err(|error| UsageError(format!("{}: {error}", folder.display())))?;
    let rows = try_all(plants, copy, trial, &folder);
    let mut unsaved = false;
    if let Some(path) = markdown {
        unsaved = table::write_markdown(&path, &rows)
            .inspect_err(|error| eprintln!("karst-sim: --markdown: {}: {error}", path.display()))
            .is_err();
    }
    let missed = rows.iter().filter(|row| row.outcome.complaint(&row.plant).is_some()).count();
    println!("{} plants, {missed} not found as they should be", rows.len());
    Ok(match (missed, unsaved) {
        (0, false) => Verdict::Passed,
        (0, true) => Verdict::Unsaved,
        _ => Verdict::Missed,
    })
}

/// The plants of those names; without names all, and those that not every campaign finds only to be checked.
fn load(root: &Path, names: &[String], with_open: bool) -> Result<Vec<Plant>, UsageError> {
    let folder = root.join("sim-tests/plants");
    let mut files = Vec::new();
    if names.is_empty() {
        files = repository::files(&folder, "patch")?;
        let open = folder.join("open");
        if with_open && open.is_dir() {
            files.extend(repository::files(&open, "patch")?);
        }
    }
    for name in names {
        let file = folder.join(format!("{}.patch", name.trim_end_matches(".patch")));
        if !file.is_file() {
            return Err(UsageError(format!("there is no plant '{name}'")));
        }
        files.push(file);
    }
    let load = |file: PathBuf| {
        let name = file.strip_prefix(&folder).unwrap_or(&file).with_extension("");
        Plant::load(&name.to_string_lossy(), file).map_err(UsageError)
    };
    files.into_iter().map(load).collect()
}

fn check(root: &Path, plants: &[Plant]) -> Verdict {
    let mut verdict = Verdict::Passed;
    for plant in plants {
        let complaint = plant.silence().map(|why| format!("{why}\n"));
        if let Some(why) = complaint.or_else(|| plant.apply(root, How::CheckOnly).err()) {
            print!("{}: {why}", plant.name);
            verdict = Verdict::Missed;
        }
    }
    let all = if verdict == Verdict::Passed { "all have a header and apply" } else { "not all are as they should be" };
    println!("{} plants, {all}", plants.len());
    verdict
}

fn try_all(plants: Vec<Plant>, mut copy: Copy, trial: Trial, folder: &Path) -> Vec<Row> {
    println!("{}", table::heading());
    let mut rows = Vec::new();
    for plant in plants {
        let tried = try_one(&plant, &mut copy, trial, folder);
        let (outcome, shrunk) = tried.unwrap_or_else(|why| (Outcome::Broken(why), None));
        let row = Row { plant, outcome, shrunk };
        println!("{}", row.line());
        rows.push(row);
    }
    if let Err(error) = copy.restore() {
        eprintln!("karst-sim: the last plant is still in {}: {error}", folder.display());
    }
    rows
}

/// What campaigns made of a plant, and how small its first failure becomes.
type Tried = (Outcome, Option<Shrunk>);

fn try_one(plant: &Plant, copy: &mut Copy, trial: Trial, folder: &Path) -> Result<Tried, String> {
    copy.plant(plant)?;
    let program = copy.build()?;
    let campaigns = (0..trial.campaigns).map(|nth| nth * APART..nth * APART + trial.seeds);
    let finds: Result<Vec<_>, String> = campaigns.map(|seeds| search(&program, seeds, folder)).collect();
    let outcome = finds.map(Outcome::Tried)?;
    let shrunk = match (trial.shrink, outcome.first()) {
        (Some(lasts), Some(first)) => Some(Shrunk::of(&program, first.seed, lasts, folder)?),
        _ => None,
    };
    Ok((outcome, shrunk))
}
