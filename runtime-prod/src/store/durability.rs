//! Which changes of directories are on stable storage.
//!
//! A name that was linked, renamed or removed is visible at once and durable only after a sync of its directory. Whoever
//! sees it in between must not act on it, since a power cut could take it back: an ambiguous put that is found in place
//! would count as done. So every change is registered before it is made, and every look at a directory with registered
//! changes syncs it before the answer leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of a tree of directories.
#[derive(Debug, Default)]
pub(super) struct Durability(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Changes made and not synced yet, by directory.
    unsettled: BTreeMap<PathBuf, u32>,
    /// Directories whose own entry is durable.
    rooted: BTreeSet<PathBuf>,
    /// Directories that a sync failed on. The kernel may forget such a failure and what it was about, so the next sync's
    /// success would prove nothing.
    broken: BTreeSet<PathBuf>,
}

impl Durability {
    /// Makes a change of `dir` by `change` and waits until it is durable. The error says in which half it failed.
    pub(super) fn change<T>(&self, dir: &Path, change: impl FnOnce() -> io::Result<T>) -> Result<T, Failure> {
        *self.known().unsettled.entry(dir.into()).or_default() += 1;
        let outcome = match change() {
            Ok(done) => self.sync(dir).map(|()| done).map_err(Failure::After),
            Err(error) => Err(Failure::Before(error)),
        };
        let mut known = self.known();
        if let Some(count) = known.unsettled.get_mut(dir) {
            *count -= 1;
            if *count == 0 {
                known.unsettled.remove(dir);
            }
        }
        outcome
    }

    /// Call it after looking at `dir` and before telling anybody: makes what was seen durable.
    pub(super) fn settle(&self, dir: &Path) -> io::Result<()> {
        let unsettled = {
            let known = self.known();
            known.unsettled.contains_key(dir) || known.broken.contains(dir)
        };
        if unsettled { self.sync(dir) } else { Ok(()) }
    }

    /// The same for all directories.
    pub(super) fn settle_all(&self) -> io::Result<()> {
        let dirs: Vec<PathBuf> = {
            let known = self.known();
            known.unsettled.keys().chain(&known.broken).cloned().collect()
        };
        dirs.iter().try_for_each(|dir| self.sync(dir))
    }

    /// Makes the directories from below `root`, which exists, down to `dir`, each durable before anything is put in it.
    pub(super) fn make_dirs(&self, root: &Path, dir: &Path) -> io::Result<()> {
        if dir == root || self.known().rooted.contains(dir) {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(root);
        self.make_dirs(root, parent)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // Whoever made it may not have synced it yet.
            Ok(()) | Err(_) => self.sync(parent)?,
        }
        self.known().rooted.insert(dir.into());
        Ok(())
    }

    /// Whether a sync failed, ever: from then on nothing here can be trusted to last.
    pub(super) fn has_failed(&self) -> bool {
        !self.known().broken.is_empty()
    }

    fn sync(&self, dir: &Path) -> io::Result<()> {
        if self.known().broken.contains(dir) {
            return Err(io::Error::other("an earlier sync of the directory failed: restart the broker"));
        }
        File::open(dir)?.sync_all().inspect_err(|_| {
            self.known().broken.insert(dir.into());
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a change failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not made.
    Before(io::Error),
    /// It was made and may not last.
    After(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_change_is_unsettled_until_it_is_synced() {
        let dir = Scratch::new("settle");
        let known = Durability::default();
        known
            .change(dir.path(), || {
                assert!(known.known().unsettled.contains_key(dir.path()));
                known.settle(dir.path())
            })
            .expect("both halves");
        assert!(known.known().unsettled.is_empty());
        let failed = known.change(dir.path(), || Err::<(), _>(io::Error::other("no")));
        assert!(matches!(failed, Err(Failure::Before(_))));
        assert!(known.known().unsettled.is_empty());
    }

    #[test]
    fn a_failed_sync_is_never_forgotten() {
        let dir = Scratch::new("broken");
        let known = Durability::default();
        known.known().broken.insert(dir.path().into());
        assert!(matches!(known.change(dir.path(), || Ok(())), Err(Failure::After(_))));
        assert!(known.settle(dir.path()).is_err());
        assert!(known.settle_all().is_err());
    }
}
