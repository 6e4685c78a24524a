//! How small a plant's first failure becomes.

use super::child::output;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What is under way when the time is up may go on so long.
const LAST_RUNS: Duration = Duration::from_secs(120);

/// What shrinking made of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shrunk {
    /// Operations, faults and disturbances, in words.
    pub(super) before: String,
    pub(super) after: String,
    pub(super) took: Duration,
}

impl Shrunk {
    /// Shrinks a seed with the program that has the plant.
    pub(super) fn of(program: &Path, seed: u64, lasts: Duration, folder: &Path) -> Result<Self, String> {
        let began = Instant::now();
        let mut karst = Command::new(program);
        karst.args(["shrink", &seed.to_string(), "--for", &format!("{}s", lasts.as_secs()), "--out"]);
        let text = output(karst.arg(folder.join("shrunk.plan")), lasts + LAST_RUNS)?;
        let sizes =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|size| size.trim().to_owned());
        match (sizes("before "), sizes("after ")) {
            (Some(before), Some(after)) => Ok(Self { before, after, took: began.elapsed() }),
            _ => Err(format!("seed {seed} was not shrunk: {text}")),
        }
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {} in {:.1} s", self.before, self.after, self.took.as_secs_f64())
    }
}
