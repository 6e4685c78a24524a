//! Where a campaign leaves what it found.

use super::Campaign;
use super::defects::{Defect, replay_command};
use super::junit;
use super::shrunk::{self, Small};
use super::state::State;
use super::totals::Group;
use crate::cli::args::{Args, UsageError};
use crate::cli::explain::page_of;
use crate::json;
use crate::plan::Plan;
use crate::world::Report;
use karst_runtime_sim::seed::Seed;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The files and folders that were asked for.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    json: Option<PathBuf>,
    lines: Option<(PathBuf, File)>,
    junit: Option<PathBuf>,
    plans: Option<PathBuf>,
    pages: Option<PathBuf>,
    resume: Option<PathBuf>,
    /// What could not be saved first.
    failed: Option<String>,
}

impl Outputs {
    pub(super) fn parse(args: &mut Args) -> Result<Self, UsageError> {
        let resume: Option<PathBuf> = args.value("--resume")?;
        let lines = match args.value::<PathBuf>("--json-lines")? {
            None => None,
            Some(path) => {
                // What was resumed goes on where its lines end.
                let is_resumed = resume.as_ref().is_some_and(|state| state.exists());
                let mut options = File::options();
                options.create(true).write(true).append(is_resumed).truncate(!is_resumed);
                let file = make_folder_of(&path).and_then(|()| options.open(&path));
                let file = file.map_err(|error| UsageError(format!("--json-lines: {}: {error}", path.display())))?;
                Some((path, file))
            }
        };
        let (json, junit) = (args.value("--json")?, args.value("--junit")?);
        let (plans, pages) = (args.value("--plans")?, args.value("--pages")?);
        Ok(Self { json, lines, junit, plans, pages, resume, failed: None })
    }

    /// The state that an earlier run left.
    pub(super) fn load_state(&self) -> Result<Option<State>, UsageError> {
        self.resume.as_deref().map_or(Ok(None), State::load).map_err(|why| UsageError(format!("--resume: {why}")))
    }

    pub(super) fn save_state(&mut self, state: &State) {
        if let Some(path) = &self.resume {
            let saved = state.save(path);
            self.note("--resume", &path.clone(), saved);
        }
    }

    /// A seed has ended.
    pub(super) fn add_line(&mut self, seed: u64, profile: &str, report: &Report) {
        if let Some((path, file)) = &mut self.lines {
            let written = writeln!(file, "{}", report.to_json(seed, profile));
            let path = path.clone();
            self.note("--json-lines", &path, written);
        }
    }

    /// The campaign has ended, or was interrupted.
    pub(super) fn finish(&mut self, campaign: &Campaign, state: &State, stop: &AtomicBool) {
        self.save_state(state);
        if let Some(path) = self.json.clone() {
            let written = write(&path, summary(campaign, state));
            self.note("--json", &path, written);
        }
        if let Some(path) = self.junit.clone() {
            let written = write(&path, junit::text(campaign, state));
            self.note("--junit", &path, written);
        }
        // All plans before the first is shrunk, which takes its time.
        if let Some(folder) = self.plans.clone() {
            for defect in state.defects.iter() {
                let written = save_plan(&folder, campaign, defect);
                self.note("--plans", &folder, written);
            }
        }
        for defect in state.defects.iter() {
            let small = self.shrink(campaign, defect, stop);
            self.draw(campaign, defect, small);
        }
    }

    fn shrink(&mut self, campaign: &Campaign, defect: &Defect, stop: &AtomicBool) -> Option<Small> {
        let (folder, lasts) = (self.plans.clone()?, campaign.shrink?);
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let saved = shrunk::save(&folder, campaign, defect, lasts, stop);
        saved.map_err(|error| self.note("--shrink", &folder, Err(error))).ok().flatten()
    }

    /// Draws what was shrunk, or else the seed itself.
    fn draw(&mut self, campaign: &Campaign, defect: &Defect, small: Option<Small>) {
        let Some(folder) = self.pages.clone() else { return };
        let seed = defect.quickest.seed;
        let (plan, name) = match small {
            Some(Small { plan, path }) => (plan, path.display().to_string()),
            None => (Plan::from_seed(Seed(seed), campaign.profile), seed.to_string()),
        };
        let html = page_of(plan, &name, campaign.profile);
        let path = folder.join(format!("{}.html", defect.file_name()));
        let written = write(&path, html);
        self.note("--pages", &folder, written);
    }

    /// Whether plans are saved at all.
    pub(super) fn saves_plans(&self) -> bool {
        self.plans.is_some()
    }

    /// What could not be saved, if anything.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn note(&mut self, option: &str, path: &Path, written: io::Result<()>) {
        if let Err(error) = written {
            self.failed.get_or_insert(format!("{option}: {}: {error}", path.display()));
        }
    }
}

/// The plan of a defect's quickest seed, with a line of why.
fn save_plan(folder: &Path, campaign: &Campaign, defect: &Defect) -> io::Result<()> {
    let quickest = &defect.quickest;
    let text = Plan::from_seed(Seed(quickest.seed), campaign.profile).to_annotated_text();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let why = quickest.message.replace(['\n', '\r'], " ");
    let text = format!("{first}\n# {why}\n# Seed {}, profile {}.\n{rest}", quickest.seed, campaign.profile_name);
    write(&folder.join(format!("{}.plan", defect.file_name())), text)
}

/// Writes a file, and makes the folder that it is in.
fn write(path: &Path, text: String) -> io::Result<()> {
    make_folder_of(path)?;
    fs::write(path, text)
}

/// The folder in which a file is to be.
pub(super) fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The summary as JSON.
fn summary(campaign: &Campaign, state: &State) -> String {
    let totals = &state.totals;
    let counts = Group::ALL.map(|group| (group.name(), json::object(totals.group(group))));
    let defects = state.defects.iter().map(|defect| {
        let quickest = &defect.quickest;
        json::object([
            ("fingerprint", json::text(&format!("{:016x}", defect.fingerprint))),
            ("kind", json::text(defect.verdict.name())),
            ("invariant", json::text(&quickest.invariant)),
            ("message", json::text(&quickest.message)),
            ("seeds", defect.seeds.to_string()),
            ("seed", quickest.seed.to_string()),
            ("events", quickest.events.to_string()),
            ("replay", json::text(&replay_command(quickest.seed, &campaign.profile_name))),
        ])
    });
    let unreached = totals.unreached();
    let mut text = json::object([
        ("campaign", json::text(&state.what)),
        ("seeds", totals.seeds.to_string()),
        ("failed", totals.failed.to_string()),
        ("events", totals.events.to_string()),
        ("simulated_ms", totals.simulated.as_millis().to_string()),
        ("elapsed_ms", totals.elapsed.as_millis().to_string()),
        ("cpu_ms", totals.cpu.as_millis().to_string()),
        ("defects", json::array(defects)),
        ("marks_never_reached", json::array(unreached.iter().map(|mark| json::text(mark.name())))),
        ("counts", json::object(counts)),
    ]);
    text.push('\n');
    text
}
