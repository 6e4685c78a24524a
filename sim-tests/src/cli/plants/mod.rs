//! `karst-sim plants`: proves that the simulator finds bugs, by planting some.
//!
//! ```text
//!   each patch ──► a copy of the repository ──► build ──► campaigns, until the first failure ──► shrink ──► a row
//!                            ▲                                                              │      of the table
//!                            └─────────────── the next one is planted and built meanwhile ◄─┘
//! ```
//! Nothing is built while a campaign runs, since its seconds are told.

mod child;
mod copy;
mod found;
mod measured;
mod patch;
mod shrunk;
mod table;

use super::args::{Args, Period, UsageError};
use super::exit::Verdict;
use super::repository;
use copy::Copy;
use found::{Find, Outcome, search};
use measured::Measured;
use patch::{How, Plant};
use shrunk::Shrunk;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
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
    /// How long all campaigns of a plant may take.
    within: Duration,
}

/// How long all campaigns of a plant may take, unless that is said.
const WITHIN: Period = Period(Duration::from_secs(300));

pub(super) fn main(mut args: Args) -> Result<Verdict, UsageError> {
    let trial = Trial {
        campaigns: args.value("--campaigns")?.unwrap_or(3).clamp(1, 1_000),
        seeds: args.value("--seeds")?.unwrap_or(1000).clamp(1, APART),
        shrink: args.flag_or_equals("--shrink", SHRINK)?.map(|period| period.0),
        within: args.value("--within")?.unwrap_or(WITHIN).0,
    };
    let resume = args.flag("--resume");
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
    let measured = Measured::load(folder.join("measured"), copy.digest(), trial);
    let is_plant = |name: &str| root.join("sim-tests/plants").join(format!("{name}.patch")).is_file();
    let mut unsaved = false;
    let mut saved = |rows: &[Row]| {
        let written = markdown.as_ref().map_or(Ok(()), |path| table::write_markdown(path, rows, &is_plant));
        unsaved = written.inspect_err(|error| eprintln!("karst-sim: --markdown: {error}")).is_err();
    };
    let rows = Series { measured, resume, trial, folder: &folder, saved: &mut saved }.run(&plants, copy);
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

/// Plants, tried one after the other.
struct Series<'a> {
    measured: Measured,
    /// Whether what was measured already counts.
    resume: bool,
    trial: Trial,
    folder: &'a Path,
    /// Called with all rows, whenever there is another one.
    saved: &'a mut dyn FnMut(&[Row]),
}

/// A plant and its program, or why it can't be built.
type Built = (Copy, Result<PathBuf, String>);

impl Series<'_> {
    fn run(mut self, plants: &[Plant], copy: Copy) -> Vec<Row> {
        println!("{}", table::heading());
        let known = |plant: &Plant| self.measured.row(plant).filter(|_| self.resume);
        let mut rows: Vec<Row> = plants.iter().filter_map(known).collect();
        rows.iter().for_each(|row| println!("{}", row.line()));
        let is_known = |plant: &&Plant| rows.iter().any(|row| row.plant.name == plant.name);
        let left: Vec<&Plant> = plants.iter().filter(|plant| !is_known(plant)).collect();
        let copy = std::thread::scope(|scope| {
            let build = |mut copy: Copy, plant: Option<&&Plant>| -> Building<'_> {
                match plant.map(|plant| (*plant).clone()) {
                    Some(plant) => Building::Under(scope.spawn(move || {
                        let program = copy.build_with(&plant);
                        (copy, program)
                    })),
                    None => Building::Over(copy),
                }
            };
            let mut building = build(copy, left.first());
            for (nth, plant) in left.iter().enumerate() {
                let (copy, program) = building.built();
                let outcome = program.and_then(|program| Ok((self.search(&program)?, program)));
                building = build(copy, left.get(nth + 1));
                let tried = outcome.and_then(|(finds, program)| self.shrink(Outcome::Tried(finds), &program));
                let (outcome, shrunk) = tried.unwrap_or_else(|why| (Outcome::Broken(why), None));
                let row = Row { plant: (*plant).clone(), outcome, shrunk };
                println!("{}", row.line());
                if let Err(error) = self.measured.keep(&row) {
                    eprintln!("karst-sim: what was measured can't be kept in {}: {error}", self.folder.display());
                }
                rows.push(row);
                (self.saved)(&rows);
            }
            building.built().0
        });
        self.end(copy);
        (self.saved)(&rows);
        rows
    }

    /// What each campaign finds, within the time that all have.
    fn search(&self, program: &Path) -> Result<Vec<Option<Find>>, String> {
        let began = Instant::now();
        let campaigns = (0..self.trial.campaigns).map(|nth| nth * APART..nth * APART + self.trial.seeds);
        campaigns
            .map(|seeds| match self.trial.within.checked_sub(began.elapsed()) {
                Some(left) => search(program, seeds, left, self.folder),
                None => Ok(None),
            })
            .collect()
    }

    /// How small the first failure becomes. The program is not needed any more.
    fn shrink(&self, outcome: Outcome, program: &Path) -> Result<(Outcome, Option<Shrunk>), String> {
        let shrunk = match (self.trial.shrink, outcome.first()) {
            (Some(lasts), Some(first)) => Some(Shrunk::of(program, first.seed, lasts, self.folder)?),
            _ => None,
        };
        fs::remove_file(program).map_err(|error| format!("{}: {error}", program.display()))?;
        Ok((outcome, shrunk))
    }

    fn end(&self, mut copy: Copy) {
        if let Err(error) = copy.restore() {
            eprintln!("karst-sim: the last plant is still in {}: {error}", self.folder.display());
        }
    }
}

/// The copy, in the hands of a thread or not.
enum Building<'a> {
    Under(ScopedJoinHandle<'a, Built>),
    /// There is no other plant.
    Over(Copy),
}

impl Building<'_> {
    /// Waits for the program.
    fn built(self) -> Built {
        match self {
            Self::Under(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Self::Over(copy) => (copy, Err("there is no other plant".into())),
        }
    }
}
