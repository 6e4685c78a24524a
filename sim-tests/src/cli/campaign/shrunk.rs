//! The defects of a campaign, made small at once.

use super::Campaign;
use super::defects::Defect;
use crate::experiment::Karst;
use crate::plan::Plan;
use karst_runtime_sim::experiment::Experiment;
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::shrink::{Options, shrink};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What remains of a defect's plan, and where it is.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) plan: Plan,
    pub(super) path: PathBuf,
}

/// Shrinks the plan of a defect's quickest seed for at most so long, or until told to stop, and saves what remains.
/// Says in words what that is. `None` if it does not fail any more.
pub(super) fn save(
    folder: &Path,
    campaign: &Campaign,
    defect: &Defect,
    lasts: Duration,
    stop: &AtomicBool,
) -> io::Result<Option<Small>> {
    let karst = Karst { profile: campaign.profile };
    let seed = defect.quickest.seed;
    let began = Instant::now();
    let is_over = || began.elapsed() >= lasts || stop.load(Ordering::Relaxed);
    let options = Options { jobs: campaign.jobs, is_over: &is_over };
    let Ok(found) = shrink(&karst, &karst.draw(Seed(seed)), &options, &mut |_| ()) else {
        return Ok(None);
    };
    let words = found.in_words(&karst);
    let name = &campaign.profile_name;
    let comment = format!(
        "{}\nSeed {seed}, profile {name}, shrunk by {} runs; fingerprint {}\n{words}",
        defect.quickest.message.replace(['\n', '\r'], " "),
        found.runs,
        found.fingerprint,
    );
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.shrunk.plan", defect.file_name()));
    fs::write(&path, karst.vocabulary().to_annotated_text(&found.plan, &comment))?;
    let (before, after, took) = (found.before, found.after, began.elapsed().as_secs_f64());
    println!("\n{}\n  before  {before}\n  after   {after}, {took:.1} s\n{words}", path.display());
    Ok(Some(Small { plan: Plan::from_general(&found.plan), path }))
}
