//! Names of a directory tree in the order of a bucket: by their bytes, the slashes included.

use super::key_path::is_component;
use karst_core::store::{Found, Key};
use std::io;
use std::path::Path;

/// One page of a listing, and whether more follows.
pub(super) fn list(root: &Path, prefix: &str, after: Option<&str>, max: usize) -> io::Result<(Vec<Found>, bool)> {
    let mut walk = Walk { prefix, after, max, found: Vec::new(), more: false };
    walk.below(root, "")?;
    Ok((walk.found, walk.more))
}

struct Walk<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    max: usize,
    found: Vec<Found>,
    more: bool,
}

impl Walk<'_> {
    /// Visits the directory whose names begin with `base`.
    fn below(&mut self, dir: &Path, base: &str) -> io::Result<()> {
        for name in names(dir, base)? {
            if self.more {
                break;
            }
            if name.ends_with('/') {
                if self.may_hold(&name) {
                    gone_is_empty(self.below(&dir.join(&name[base.len()..]), &name))?;
                }
            } else if name.starts_with(self.prefix) && self.after.is_none_or(|after| name.as_str() > after) {
                gone_is_empty(self.take(dir, base, name))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, dir: &Path, base: &str, name: String) -> io::Result<()> {
        let len = std::fs::symlink_metadata(dir.join(&name[base.len()..]))?.len();
        if self.found.len() == self.max {
            self.more = true;
        } else {
            self.found.push(Found { key: Key(name), len });
        }
        Ok(())
    }

    /// Whether a name that begins with `base` can be on this page.
    fn may_hold(&self, base: &str) -> bool {
        let prefixed = base.starts_with(self.prefix) || self.prefix.starts_with(base);
        // The largest of its names begins with `base`: all are too small only if `base` is smaller and no beginning.
        prefixed && self.after.is_none_or(|after| base > after || after.starts_with(base))
    }
}

/// The entries of a directory as names: files, and directories with a slash at their end, sorted. Other things, and what
/// can't be part of a name, are not ours.
fn names(dir: &Path, base: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_component(name)) else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            names.push(format!("{base}{name}/"));
        } else if kind.is_file() {
            names.push(format!("{base}{name}"));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What was deleted while we walked is not there.
fn gone_is_empty(visited: io::Result<()>) -> io::Result<()> {
    match visited {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
