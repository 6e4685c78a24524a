//! The defects of a campaign, made small at once.

use super::Campaign;
use super::defects::Defect;
use crate::experiment::Karst;
use karst_runtime_sim::experiment::Experiment;
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::shrink::{Options, shrink};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Shrinks the plan of a defect's quickest seed for at most so long, or until told to stop, and saves what remains.
/// Says in words what that is.
pub(super) fn save(
    folder: &Path,
    campaign: &Campaign,
    defect: &Defect,
    lasts: Duration,
    stop: &AtomicBool,
) -> io::Result<String> {
    let karst = Karst { profile: campaign.profile };
    let seed = defect.quickest.seed;
    let began = Instant::now();
    let is_over = || began.elapsed() >= lasts || stop.load(Ordering::Relaxed);
    let options = Options { jobs: campaign.jobs, is_over: &is_over };
    let Ok(found) = shrink(&karst, &karst.draw(Seed(seed)), &options, &mut |_| ()) else {
        return Ok(format!("seed {seed} did not fail when it was to be shrunk"));
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
    fs::write(&path, karst.vocabulary().to_text(&found.plan, &comment))?;
    let (before, after, took) = (found.before, found.after, began.elapsed().as_secs_f64());
    Ok(format!("{}\n  before  {before}\n  after   {after}, {took:.1} s\n{words}", path.display()))
}
