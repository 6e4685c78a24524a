//! A plant: a bug as a patch, with what it is and what must find it in front of the first `diff`.
//!
//! ```text
//!   Breaks: what is wrong, in a sentence
//!   Found by: invariant, invariant
//!   diff --git a/core/src/...
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A patch and its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plant {
    /// The file's name without its extension; `open/NAME` for those that not every campaign finds.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// What is wrong.
    pub(super) breaks: String,
    /// The invariants, one of which must find it.
    pub(super) found_by: Vec<String>,
    /// The files that it changes, from the repository's root.
    pub(super) files: Vec<PathBuf>,
}

impl Plant {
    /// Reads a patch.
    pub(super) fn load(name: &str, path: PathBuf) -> Result<Self, String> {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::parse(name, path, &text))
    }

    fn parse(name: &str, path: PathBuf, text: &str) -> Self {
        let header = text.lines().take_while(|line| !line.starts_with("diff "));
        let fields: Vec<(&str, &str)> = header.filter_map(|line| line.split_once(": ")).collect();
        let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim());
        let found_by = field("Found by").unwrap_or_default().split(", ").filter(|one| !one.is_empty());
        let found_by: Vec<String> = found_by.map(Into::into).collect();
        let breaks = field("Breaks").unwrap_or_default().into();
        let changed = text.lines().filter_map(|line| line.strip_prefix("+++ b/").or(line.strip_prefix("--- a/")));
        let mut files: Vec<PathBuf> = changed.map(PathBuf::from).collect();
        files.sort();
        files.dedup();
        Self { name: name.into(), path, breaks, found_by, files }
    }

    /// What its header does not say, and should.
    pub(super) fn silence(&self) -> Option<&'static str> {
        if self.breaks.is_empty() {
            Some("no line 'Breaks: ...' in front of the patch says what is wrong")
        } else if self.found_by.is_empty() && !self.name.starts_with("open/") {
            Some("no line 'Found by: ...' in front of the patch names the invariant")
        } else {
            None
        }
    }

    /// Applies the patch in a folder, or only says whether it would.
    ///
    /// # Errors
    /// Git's, on what does not apply.
    pub(super) fn apply(&self, folder: &Path, how: How) -> Result<(), String> {
        let mut git = Command::new("git");
        // A copy inside of a repository is not that repository.
        git.current_dir(folder).env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder)).arg("apply");
        if how == How::CheckOnly {
            git.arg("--check");
        }
        let output = git.arg(&self.path).output().map_err(|error| format!("git can't be started: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// Whether a patch is applied for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Really,
    CheckOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Breaks: It forgets: everything.\nFound by: lost-write, no-panic\ndiff --git a/x.rs b/x.rs\n--- \
                        a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-Breaks: no\n+y\n";

    #[test]
    fn a_header_says_what_is_wrong_and_what_finds_it() {
        let plant = Plant::parse("forgets", PathBuf::new(), TEXT);
        assert_eq!(plant.silence(), None);
        assert_eq!(plant.breaks, "It forgets: everything.");
        assert_eq!(plant.found_by, ["lost-write", "no-panic"]);
        assert_eq!(plant.files, [PathBuf::from("x.rs")]);
    }

    #[test]
    fn a_patch_without_a_header_is_complained_of() {
        let body = TEXT.split_once("diff").map_or("", |(_, body)| body);
        let silence = |name: &str, text: &str| Plant::parse(name, PathBuf::new(), text).silence();
        assert!(silence("forgets", body).is_some_and(|why| why.contains("Breaks")));
        let unnamed = TEXT.replace("Found by", "Found");
        assert!(silence("forgets", &unnamed).is_some_and(|why| why.contains("Found by")));
        assert_eq!(silence("open/forgets", &unnamed), None);
    }
}
