//! Where a campaign leaves what it found.

use super::Campaign;
use super::defects::{Defect, replay_command};
use super::state::State;
use super::totals::Group;
use super::{junit, shrunk};
use crate::cli::args::{Args, UsageError};
use crate::cli::json;
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
                let file =
                    File::options().create(true).write(true).append(is_resumed).truncate(!is_resumed).open(&path);
                let file = file.map_err(|error| UsageError(format!("--json-lines: {}: {error}", path.display())))?;
                Some((path, file))
            }
        };
        let (json, junit) = (args.value("--json")?, args.value("--junit")?);
        Ok(Self { json, lines, junit, plans: args.value("--plans")?, resume, failed: None })
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
    pub(super) fn add_line(&mut self, seed: u64, report: &Report) {
        if let Some((path, file)) = &mut self.lines {
            let written = writeln!(file, "{}", report.to_json(seed));
            let path = path.clone();
            self.note("--json-lines", &path, written);
        }
    }

    /// The campaign has ended, or was interrupted.
    pub(super) fn finish(&mut self, campaign: &Campaign, state: &State, stop: &AtomicBool) {
        self.save_state(state);
        if let Some(path) = self.json.clone() {
            let written = fs::write(&path, summary(campaign, state));
            self.note("--json", &path, written);
        }
        if let Some(path) = self.junit.clone() {
            let written = fs::write(&path, junit::text(campaign, state));
            self.note("--junit", &path, written);
        }
        if let Some(folder) = self.plans.clone() {
            for defect in state.defects.iter() {
                let written = save_plan(&folder, campaign, defect);
                self.note("--plans", &folder, written);
            }
            self.shrink(&folder, campaign, state, stop);
        }
    }

    fn shrink(&mut self, folder: &Path, campaign: &Campaign, state: &State, stop: &AtomicBool) {
        let Some(lasts) = campaign.shrink else { return };
        for defect in state.defects.iter().filter(|_| !stop.load(Ordering::Relaxed)) {
            let shrunk = shrunk::save(folder, campaign, defect, lasts, stop).map(|words| println!("\n{words}"));
            self.note("--shrink", folder, shrunk);
        }
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
    let text = Plan::from_seed(Seed(quickest.seed), campaign.profile).to_text();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let why = quickest.message.replace(['\n', '\r'], " ");
    let text = format!("{first}\n# {why}\n# Seed {}, profile {}.\n{rest}", quickest.seed, campaign.profile_name);
    fs::create_dir_all(folder)?;
    fs::write(folder.join(format!("{}.plan", defect.file_name())), text)
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
