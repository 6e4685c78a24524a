//! Where the sources are: the plants and the corpus lie beside them.

use super::args::UsageError;
use std::path::{Path, PathBuf};

/// The repository that the working directory is in.
pub(super) fn root() -> Result<PathBuf, UsageError> {
    let here = std::env::current_dir().map_err(|error| UsageError(format!("the working directory: {error}")))?;
    let found = here.ancestors().find(|folder| folder.join("sim-tests/Cargo.toml").is_file());
    found.map(Path::to_path_buf).ok_or_else(|| {
        UsageError(format!("{} is not in Karst's repository, where the plants and the corpus are", here.display()))
    })
}

/// The files in a folder with that extension, by name.
pub(super) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, UsageError> {
    let fail = |error: std::io::Error| UsageError(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
