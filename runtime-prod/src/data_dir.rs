//! The data directory: made, locked, and nobody else's.

use crate::broker::StartError;
use crate::exit::Code;
use crate::lock::{LockError, LockFile};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What to do where a directory can't be used.
const ADVICE: &str = "give another --data-dir, or this user the right to write there";

/// Makes the directory and takes its lock.
pub(crate) fn claim(dir: &Path) -> Result<LockFile, StartError> {
    let name = dir.display();
    if let Some(other) = inside_another(dir) {
        return Err(StartError::new(
            Code::USAGE,
            format!(
                "the data directory {name} lies in {}, which is another broker's: their files would mix; give this \
                 broker a --data-dir elsewhere",
                other.display()
            ),
        ));
    }
    std::fs::create_dir_all(dir).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "it, or something above it, is no directory".into(),
            _ => error.to_string(),
        };
        StartError::new(Code::BUCKET, format!("the data directory {name} cannot be made: {what}; {ADVICE}"))
    })?;
    LockFile::acquire(&dir.join("lock")).map_err(|refused| match refused {
        LockError::Held(_) => StartError::new(
            Code::IN_USE,
            format!("the data directory {name} is {refused}: stop that one, or give this one its own --data-dir"),
        ),
        LockError::Io(error) => {
            StartError::new(Code::BUCKET, format!("the data directory {name} cannot be locked: {error}; {ADVICE}"))
        }
    })
}

/// The data directory or object directory of another broker that `dir` is below, or is. Links are followed.
fn inside_another(dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(dir).ok()?;
    let existing = absolute.ancestors().find(|above| above.exists())?;
    let real = existing.canonicalize().ok()?;
    // A data directory that exists is this broker's own.
    let own = if existing == absolute { Some(real.as_path()) } else { None };
    let others = |place: &&Path| is_object_dir(place) || (is_data_dir(place) && Some(*place) != own);
    real.ancestors().find(others).map(Path::to_path_buf)
}

fn is_data_dir(dir: &Path) -> bool {
    dir.join("lock").is_file() && (dir.join("wal").is_file() || is_object_dir(&dir.join("objects")))
}

fn is_object_dir(dir: &Path) -> bool {
    dir.join(".lock").is_file() && dir.join(".tmp").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::store::Directory;

    #[test]
    fn brokers_do_not_live_in_each_other() {
        let scratch = Scratch::new("nested");
        let first = scratch.path().join("first");
        let held = claim(&first).expect("a fresh directory");
        std::fs::write(first.join("wal"), "").expect("writable");
        Directory::open(&first.join("objects")).expect("a fresh directory");
        drop(held);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&first, &link).expect("a link");
        for inside in ["first/second", "first/objects", "first/objects/data/x", "link/second", "first/../first/x"] {
            let refused = claim(&scratch.path().join(inside)).expect_err(inside);
            assert_eq!(refused.code, Code::USAGE, "{inside}: {}", refused.what);
            assert!(refused.what.contains("another broker's"), "{}", refused.what);
        }
        // An object directory that lies elsewhere, behind a link.
        Directory::open(&scratch.path().join("bucket")).expect("a fresh directory");
        for inside in ["bucket", "bucket/x"] {
            claim(&scratch.path().join(inside)).expect_err(inside);
        }
        assert!(!first.join("second").exists() && !first.join("objects/data").exists());
        claim(&first).expect("one's own");
        claim(&link).expect("one's own by another name");
        claim(&scratch.path().join("beside")).expect("beside is not inside");
    }
}
