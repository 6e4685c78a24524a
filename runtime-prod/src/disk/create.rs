//! A WAL file's beginning: complete and durable, or not there.

use super::{OpenError, unusable};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::info;

const CHUNK: usize = 1 << 20;
const REPORT: Duration = Duration::from_secs(1);

/// Makes a file of `len` zeros, all of them allocated and durable, under a temporary name first: whoever finds the file
/// finds it whole. A leftover of an earlier attempt is overwritten.
pub(super) fn prewritten(path: &Path, len: u64) -> Result<(), OpenError> {
    let aside = aside(path);
    let made = write_zeros(&aside, len).and_then(|()| {
        std::fs::rename(&aside, path)?;
        sync_parent(path)
    });
    made.map_err(|error| {
        // What could not be finished only takes room; that it can't be removed either changes nothing.
        let _ = std::fs::remove_file(&aside);
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return OpenError::NoSpace(format!(
                "no room for a WAL of {len} bytes at {}: free some space or choose a smaller --wal-size",
                path.display()
            ));
        }
        unusable(path, "created", &error)
    })
}

/// Where the file grows until it is complete.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".creating");
    path.with_file_name(name)
}

fn write_zeros(aside: &Path, len: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(aside)?;
    let zeros = vec![0; CHUNK];
    let mut reported = Instant::now();
    let mut written = 0;
    while written < len {
        let next = zeros.len().min(usize::try_from(len - written).unwrap_or(CHUNK));
        file.write_all(&zeros[..next])?;
        written += next as u64;
        if reported.elapsed() > REPORT {
            reported = Instant::now();
            info!(percent = written * 100 / len, bytes = len, "preparing the WAL");
        }
    }
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
