//! Exclusive locks on files, held as long as the process lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A lock on a file of its own that says who holds it. The kernel lets go of it when the process ends, however it ends,
/// so the file itself stays.
#[derive(Debug)]
pub struct LockFile {
    _locked: File,
}

/// Why a lock was not granted.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it; its process id if the file tells.
    Held(Option<u32>),
    /// The file could not be opened, or its file system has no locks.
    Io(io::Error),
}

impl LockFile {
    /// Takes the lock and writes this process's id into the file.
    ///
    /// # Errors
    /// If somebody else holds it, and goes on doing so for a moment.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if let Err(refused) = lock(&file) {
            return Err(match refused {
                LockError::Held(_) => LockError::Held(holder(&mut file)),
                io @ LockError::Io(_) => io,
            });
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _locked: file })
    }
}

/// How long a lock is waited for. A process that was just killed lets go of its locks only when the kernel has taken it
/// apart, and its supervisor starts the next one at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Takes an exclusive lock on an open file, for as long as that stays open.
///
/// # Errors
/// If somebody else holds one, and goes on doing so for a moment.
pub fn lock(file: &File) -> Result<(), LockError> {
    let since = Instant::now();
    loop {
        match try_lock(file) {
            Err(LockError::Held(_)) if since.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
}

fn try_lock(file: &File) -> Result<(), LockError> {
    file.try_lock().map_err(|refused| match refused {
        TryLockError::WouldBlock => LockError::Held(None),
        TryLockError::Error(error) => LockError::Io(error),
    })
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for LockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held(Some(pid)) => write!(f, "in use by another broker (process {pid})"),
            Self::Held(None) => f.write_str("in use by another broker"),
            Self::Io(error) => write!(f, "cannot be locked: {error}"),
        }
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn one_holder_at_a_time_who_is_named_to_the_others() {
        let dir = Scratch::new("lock");
        let path = dir.path().join("lock");
        let held = LockFile::acquire(&path).expect("nobody holds it");
        match LockFile::acquire(&path) {
            Err(LockError::Held(Some(pid))) => assert_eq!(pid, std::process::id()),
            other => panic!("granted twice: {other:?}"),
        }
        drop(held);
        LockFile::acquire(&path).expect("free again");
    }
}
