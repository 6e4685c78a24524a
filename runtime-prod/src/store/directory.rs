//! A directory as a bucket.
//!
//! ```text
//!   root/.lock        held for life: one broker per directory, so what races for a name races inside one process
//!   root/.tmp/N       bodies on their way; scrubbed at open
//!   root/a/b/c        the object "a/b/c", whole and durable: its bytes and nothing else
//! ```
//! A conditional *create* writes the body aside, syncs it, links it to its name, which fails if the name is taken, and
//! syncs the directory. A conditional *swap* writes and syncs the body aside, then, one at a time, compares the version
//! in place, renames, and syncs the directory. Nothing half-written ever has an object's name, and no answer tells of a
//! name that a power cut could still take back (see [`super::durability`]).
//!
//! The ETag of an object is a 128-bit hash of its content (XXH3): two contents that race for one name would have to
//! collide for a stale swap to be taken, and machines compare contents besides. A read of a part does not see the whole
//! content; its ETag tells versions apart and is never good for a swap.

use super::Backend;
use super::body;
use super::durability::{Durability, Failure};
use super::key_path::file_of;
use super::listing;
use crate::lock::{LockError, LockFile};
use bytes::{Bytes, BytesMut};
use karst_core::machine::Rope;
use karst_core::store::{Cause, ETag, Fatal, Key, Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tracing::{info, warn};
use twox_hash::XxHash3_128;

/// A bucket in a directory of its own.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    aside: PathBuf,
    durability: Durability,
    /// Held while a version is compared and replaced or removed.
    replacing: Mutex<()>,
    next_aside: AtomicU64,
    _lock: LockFile,
}

/// Why a directory can't be opened as a bucket. Its text is for the operator.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Held(String),
    /// It can't be made, read or written.
    Unusable(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held(what) | Self::Unusable(what) => f.write_str(what),
        }
    }
}

impl Directory {
    /// Opens or makes it, locks it for as long as the value lives, and removes what a crash left half-written.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let unusable = |what: &str, error: &io::Error| {
            OpenError::Unusable(format!("the object directory {} cannot be {what}: {error}", root.display()))
        };
        std::fs::create_dir_all(root).map_err(|error| unusable("made", &error))?;
        let lock = LockFile::acquire(&root.join(".lock")).map_err(|refused| match refused {
            LockError::Held(_) => OpenError::Held(format!("the object directory {} is {refused}", root.display())),
            LockError::Io(error) => unusable("locked", &error),
        })?;
        let aside = root.join(".tmp");
        scrub(&aside).map_err(|error| unusable("cleaned up", &error))?;
        // Whoever was here before may have died between a change and its sync.
        let synced = File::open(root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        synced.map_err(|error| unusable("synced", &error))?;
        Ok(Self {
            root: root.into(),
            aside,
            durability: Durability::default(),
            replacing: Mutex::new(()),
            next_aside: AtomicU64::new(0),
            _lock: lock,
        })
    }

    fn put(&self, key: &Key, body: &Rope, only_if: &Precondition) -> StoreResult {
        let path = self.file_of(key)?;
        let dir = path.parent().unwrap_or(&self.root);
        if *only_if == Precondition::Absent && self.is_taken(&path)? {
            return Err(StoreError::Exists);
        }
        let aside = self.write_aside(body).map_err(|error| self.refused("put", key, &error))?;
        self.durability.make_dirs(&self.root, dir).map_err(|error| self.refused("put", key, &error))?;
        match only_if {
            Precondition::Absent => self.create(key, &aside, &path, dir)?,
            Precondition::Is(expected) => self.swap(key, &aside, &path, dir, expected)?,
        }
        Ok(StoreDone::Put { etag: etag_of(body.pieces()) })
    }

    fn create(&self, key: &Key, aside: &Aside, path: &Path, dir: &Path) -> Result<(), StoreError> {
        match self.durability.change(dir, || std::fs::hard_link(&aside.0, path)) {
            Ok(()) => Ok(()),
            Err(Failure::Before(error)) if error.kind() == ErrorKind::AlreadyExists => {
                self.is_taken(path)?;
                Err(StoreError::Exists)
            }
            Err(Failure::Before(error)) => Err(self.refused("put", key, &error)),
            Err(Failure::After(error)) => Err(unknown("put", key, &error)),
        }
    }

    fn swap(&self, key: &Key, aside: &Aside, path: &Path, dir: &Path, expected: &ETag) -> Result<(), StoreError> {
        let replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = match self.read(path, Span::Whole) {
            Ok(read) => read.etag,
            Err(error) => return Err(self.unreadable("put", key, path, &error)),
        };
        if current != *expected {
            drop(replacing);
            self.settle(key, path)?;
            return Err(StoreError::Exists);
        }
        match self.durability.change(dir, || std::fs::rename(&aside.0, path)) {
            Ok(()) => Ok(()),
            Err(Failure::Before(error)) => Err(self.refused("put", key, &error)),
            Err(Failure::After(error)) => Err(unknown("put", key, &error)),
        }
    }

    fn get(&self, key: &Key, span: Span) -> StoreResult {
        let path = self.file_of(key)?;
        match self.read(&path, span) {
            Ok(read) => {
                self.settle(key, &path)?;
                Ok(StoreDone::Got { body: read.body.into(), etag: read.etag, total: read.total })
            }
            Err(error) => Err(self.unreadable("get", key, &path, &error)),
        }
    }

    fn delete(&self, key: &Key) -> StoreResult {
        let path = self.file_of(key)?;
        let dir = path.parent().unwrap_or(&self.root);
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.durability.change(dir, || std::fs::remove_file(&path)) {
            Ok(()) => Ok(StoreDone::Deleted),
            Err(Failure::Before(error)) if is_absent(&error) => {
                self.check_root()?;
                self.settle(key, &path)?;
                Ok(StoreDone::Deleted)
            }
            Err(Failure::Before(error)) => Err(self.refused("delete", key, &error)),
            Err(Failure::After(error)) => Err(unknown("delete", key, &error)),
        }
    }

    fn list(&self, prefix: &Key, after: Option<&Key>, max: usize) -> StoreResult {
        let listed = listing::list(&self.root, &prefix.0, after.map(|key| key.0.as_str()), max);
        let (found, more) = listed.map_err(|error| self.refused("list", prefix, &error))?;
        self.durability.settle_all().map_err(|error| unknown("list", prefix, &error))?;
        Ok(StoreDone::Listed { found, more })
    }

    fn read(&self, path: &Path, span: Span) -> io::Result<Read> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let total = about.len();
        let (from, to) = match span {
            Span::Whole => (0, total),
            Span::Range { at, len } => (at.min(total), at.saturating_add(len).min(total)),
            Span::Last { len } => (total - len.min(total), total),
        };
        let len = usize::try_from(to - from).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut body = BytesMut::zeroed(len);
        file.read_exact_at(&mut body, from)?;
        let body = body.freeze();
        let etag = if len as u64 == total { etag_of(std::slice::from_ref(&body)) } else { part_tag(&about) };
        Ok(Read { body, etag, total })
    }

    fn write_aside(&self, body: &Rope) -> io::Result<Aside> {
        let number = self.next_aside.fetch_add(1, Ordering::Relaxed);
        let aside = Aside(self.aside.join(number.to_string()));
        body::write_new(&aside.0, body)?;
        Ok(aside)
    }

    /// Whether an object has this name, durably. A directory's name can't be an object's.
    fn is_taken(&self, path: &Path) -> Result<bool, StoreError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => Err(StoreError::Fatal(Fatal::BadRequest)),
            Ok(_) => {
                let settled = self.durability.settle(path.parent().unwrap_or(&self.root));
                settled.map(|()| true).map_err(|_| StoreError::Ambiguous(Cause::Server))
            }
            Err(_) => Ok(false),
        }
    }

    fn settle(&self, key: &Key, path: &Path) -> Result<(), StoreError> {
        let dir = path.parent().unwrap_or(&self.root);
        match self.durability.settle(dir) {
            Err(error) if !is_absent(&error) => Err(unknown("read", key, &error)),
            _ => Ok(()),
        }
    }

    fn file_of(&self, key: &Key) -> Result<PathBuf, StoreError> {
        file_of(&self.root, key).ok_or(StoreError::Fatal(Fatal::BadRequest))
    }

    fn check_root(&self) -> Result<(), StoreError> {
        if self.aside.is_dir() { Ok(()) } else { Err(StoreError::Fatal(Fatal::NoBucket)) }
    }

    fn unreadable(&self, what: &str, key: &Key, path: &Path, error: &io::Error) -> StoreError {
        if is_absent(error) {
            // That it is gone must be as durable as that it was there.
            return self.check_root().and_then(|()| self.settle(key, path)).err().unwrap_or(StoreError::Missing);
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => StoreError::Corrupt,
            _ => self.refused(what, key, error),
        }
    }

    /// Of a failure that changed nothing that has an object's name.
    fn refused(&self, what: &str, key: &Key, error: &io::Error) -> StoreError {
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                ": free some space there, and the broker goes on by itself"
            }
            ErrorKind::PermissionDenied => ": give the broker's user the right to read and write there",
            _ => "",
        };
        warn!(%key, %error, "the object directory refused to {what}{advice}");
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Fatal(Fatal::NoSpace),
            ErrorKind::ReadOnlyFilesystem => StoreError::Fatal(Fatal::ReadOnly),
            ErrorKind::PermissionDenied => StoreError::Denied,
            ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename => {
                StoreError::Fatal(Fatal::BadRequest)
            }
            ErrorKind::NotFound => self.check_root().err().unwrap_or(StoreError::Ambiguous(Cause::Server)),
            _ => StoreError::Ambiguous(Cause::Server),
        }
    }
}

impl Backend for Directory {
    fn perform(&self, op: &StoreOp) -> StoreResult {
        if self.durability.has_failed() {
            return Err(StoreError::Fatal(Fatal::SyncFailed));
        }
        match op {
            StoreOp::Put { key, body, only_if } => self.put(key, body, only_if),
            StoreOp::Get { key, span } => self.get(key, *span),
            StoreOp::Delete { key } => self.delete(key),
            StoreOp::List { prefix, after, max } => self.list(prefix, after.as_ref(), *max),
        }
    }
}

struct Read {
    body: Bytes,
    etag: ETag,
    total: u64,
}

/// A body under a name that nobody looks at, until it goes out of scope.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // A swap has moved it away; what else stays behind is scrubbed at the next open.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn scrub(aside: &Path) -> io::Result<()> {
    match std::fs::create_dir(aside) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut left_over = 0;
    for entry in std::fs::read_dir(aside)? {
        std::fs::remove_file(entry?.path())?;
        left_over += 1;
    }
    if left_over > 0 {
        info!(left_over, "removed half-written objects of an earlier run");
    }
    Ok(())
}

fn etag_of<'a>(content: impl IntoIterator<Item = &'a Bytes>) -> ETag {
    let mut hash = XxHash3_128::new();
    content.into_iter().for_each(|piece| hash.write(piece));
    ETag(format!("{:032x}", hash.finish_128()))
}

fn part_tag(about: &Metadata) -> ETag {
    ETag(format!("part-{}-{}-{}.{:09}", about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

fn unknown(what: &str, key: &Key, error: &io::Error) -> StoreError {
    warn!(%key, %error, "whether the {what} in the object directory lasts is unknown");
    StoreError::Ambiguous(Cause::Server)
}

#[cfg(test)]
mod tests;
