//! How small a plant's first failure becomes.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
        let output = karst.arg(folder.join("shrunk.plan")).output();
        let output = output.map_err(|error| format!("{} can't be started: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let sizes =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|size| size.trim().to_owned());
        match (sizes("before "), sizes("after ")) {
            (Some(before), Some(after)) => Ok(Self { before, after, took: began.elapsed() }),
            _ => Err(format!("seed {seed} was not shrunk: {text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {} in {:.1} s", self.before, self.after, self.took.as_secs_f64())
    }
}
