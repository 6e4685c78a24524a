//! A directory for one benchmark, removed afterwards.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct WorkDir(PathBuf);

impl WorkDir {
    /// A new one within `parent`.
    pub(super) fn create(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("karst-bench-{}", std::process::id()));
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::create_dir(&path))
            .map_err(|error| Failure::new(format_args!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
