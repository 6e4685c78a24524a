//! A WAL file's beginning: complete and durable, or not there.

use super::io::aligned_buffer;
use super::{OpenError, open_direct, unusable};
use crate::monitor::Progress;
use crate::signals::GiveUp;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const CHUNK: usize = 4 << 20;

/// Makes a file of `len` zeros, all of them allocated and durable, under a temporary name first: whoever finds the file
/// finds it whole. A leftover of an earlier attempt is overwritten, and an attempt that ends early leaves nothing.
pub(super) fn prewritten(path: &Path, len: u64, give_up: &GiveUp, tell: &dyn Fn(Progress)) -> Result<(), OpenError> {
    let aside = aside(path);
    let made = write_zeros(&aside, len, give_up, tell).and_then(|()| {
        std::fs::rename(&aside, path)?;
        sync_parent(path)
    });
    made.map_err(|error| {
        // What could not be finished only takes room; that it can't be removed either changes nothing.
        let _ = std::fs::remove_file(&aside);
        match error.kind() {
            io::ErrorKind::Interrupted => {
                OpenError::GivenUp("stopped before the WAL was made: nothing is there".into())
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                OpenError::NoSpace(format!(
                    "no room for a WAL of {len} bytes at {}: free some space or choose a smaller --wal-size",
                    path.display()
                ))
            }
            _ => unusable(path, "created", &error),
        }
    })
}

/// Where the file grows until it is complete.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".creating");
    path.with_file_name(name)
}

/// Past the page cache where that is possible: several times faster, and nobody wants to read zeros back.
fn write_zeros(aside: &Path, len: u64, give_up: &GiveUp, tell: &dyn Fn(Progress)) -> io::Result<()> {
    let mut file = open_direct(aside, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
    reserve(&file, len)?;
    let zeros = aligned_buffer(CHUNK);
    let mut written = 0;
    while written < len {
        if give_up.is_asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let next = zeros.len().min(usize::try_from(len - written).unwrap_or(CHUNK));
        file.write_all(&zeros[..next])?;
        written += next as u64;
        tell(Progress { done: written, of: len });
    }
    file.sync_all()
}

/// Fails at once where there is no room, instead of filling the disk to its end first.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        // Not every file system can.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
