//! The write-ahead log's device: a pre-written file or a whole block device, locked for life, written by O_DIRECT and
//! O_DSYNC. Which of the two is there is found out by looking at it, never by its name.
//!
//! ```text
//!   Wal ──Effect::Disk(op, ..)──► queue ──► one of the workers: pwritev / preadv ──Input::Disk(op, ..)──► Wal
//! ```
//! There are as many workers as the WAL may have writes in flight. Each write is acknowledged by its own O_DSYNC
//! completion, never by somebody else's sync; none is ever repeated. The file is written with zeros once, when it is
//! created: a write into it then costs half of one that extends a file.

mod block;
mod create;
mod io;

pub(crate) use block::Content;

use crate::config::WalDevice;
use crate::exit::PanicGuard;
use crate::lock::{LockError, lock};
use crate::monitor::Progress;
use crate::signals::GiveUp;
use karst_core::disk::{DiskOp, DiskResult, SECTOR};
use karst_core::machine::OpId;
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::warn;

/// An open device. No other process has it.
#[derive(Debug)]
pub struct Device {
    file: File,
    len: u64,
}

/// A device to be made blank. No other process has it.
#[derive(Debug)]
pub(crate) struct Blanking {
    file: File,
    len: u64,
}

impl Blanking {
    /// Opens and locks what is there, whatever it holds.
    ///
    /// # Errors
    /// Says what is wrong with it and what to do.
    pub(crate) fn open(place: &WalDevice) -> Result<Self, OpenError> {
        let Some(path) = place.path() else { return in_the_store() };
        match (place, look(path)?) {
            (WalDevice::Block(path), Thing::Block) => {
                let (file, len) = block::open_any(path)?;
                Ok(Self { file, len })
            }
            (WalDevice::File(path), Thing::File) => {
                let Device { file, len } = Device::open_file(path)?;
                Ok(Self { file, len: len - len % SECTOR })
            }
            _ => Err(OpenError::Unusable(format!("{place} is not there, or is not what it is said to be"))),
        }
    }

    /// What it holds, as far as its ends tell.
    pub(crate) fn content(&self) -> std::io::Result<Content> {
        block::content(&self.file, self.len)
    }

    /// Forgets it.
    pub(crate) fn blank(&self) -> std::io::Result<()> {
        block::blank(&self.file, self.len)
    }
}

/// Why a device can't be used. Its text is for the operator.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds its lock.
    Held(String),
    /// There is no room to create it.
    NoSpace(String),
    /// That was asked before it was made; nothing is left of it.
    GivenUp(String),
    /// It is not what it is said to be, holds something else, or can't be opened, read or written.
    Unusable(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(what) | Self::NoSpace(what) | Self::GivenUp(what) | Self::Unusable(what) => f.write_str(what),
        }
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Nothing,
    File,
    Block,
    Other,
}

impl Device {
    /// Opens what is there, and locks it for as long as the device lives. Where a file is named and nothing is there, it
    /// is made, with `len` zeros, rounded up to whole sectors; that takes a while, in which it tells how far it is and can
    /// be given up. What exists keeps its length.
    ///
    /// # Errors
    /// Says what is wrong with it and what to do.
    pub fn open(place: &WalDevice, len: u64, give_up: &GiveUp, tell: &dyn Fn(Progress)) -> Result<Self, OpenError> {
        let Some(path) = place.path() else { return in_the_store() };
        let wrong = |what: &str, advice: &str| {
            Err(OpenError::Unusable(format!("the WAL {} is {what}: {advice}", path.display())))
        };
        match (place, look(path)?) {
            (WalDevice::File(path), Thing::Nothing) => {
                create::prewritten(path, len.next_multiple_of(SECTOR), give_up, tell)?;
                Self::open_file(path)
            }
            (WalDevice::File(path), Thing::File) => Self::open_file(path),
            (WalDevice::File(_), Thing::Block) => wrong("a block device", "to use all of it, name it as block:PATH"),
            (WalDevice::File(_), Thing::Other) => wrong("not a regular file", "name a file on a local disk"),
            (WalDevice::Block(path), Thing::Block) => block::open(path),
            (WalDevice::Block(_), Thing::File) => wrong("a file", "name it as file:PATH"),
            (WalDevice::Block(_), Thing::Nothing) => wrong("not there", "is the device attached? lsblk lists them"),
            (WalDevice::Block(_), Thing::Other) => wrong("no block device", "lsblk lists those that are there"),
            (WalDevice::Objects, _) => in_the_store(),
        }
    }

    fn open_file(path: &Path) -> Result<Self, OpenError> {
        let file = open_direct(path, OFlags::RDWR | OFlags::DSYNC).map_err(|error| unusable(path, "opened", &error))?;
        lock(&file).map_err(|refused| match refused {
            LockError::Held(_) => OpenError::Held(format!("the WAL {} is {refused}", path.display())),
            LockError::Io(error) => unusable(path, "locked", &error),
        })?;
        let found = file.metadata().map_err(|error| unusable(path, "examined", &error))?;
        if found.blocks() * 512 < found.len() {
            warn!(
                wal = %path.display(),
                "the WAL file has holes, so writes are slower and may run out of space: was it copied without --sparse=never?"
            );
        }
        Ok(Self { file, len: found.len() })
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The file itself, for who measures what it can do without all this.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Starts `depth` workers, which tell `complete` how each operation ended and how long it took. They end when the handle is dropped and
    /// everything submitted is done.
    ///
    /// # Panics
    /// When the operating system has no thread left.
    pub fn start(self, depth: u32, complete: impl Fn(OpId, Ended) + Send + Sync + 'static) -> DiskQueue {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), arrived: Condvar::new() });
        let device = Arc::new((self, complete));
        for worker in 0..depth.max(1) {
            let (shared, device) = (shared.clone(), device.clone());
            std::thread::Builder::new()
                .name(format!("wal-io-{worker}"))
                .spawn(move || {
                    let _guard = PanicGuard::new("a WAL worker");
                    while let Some((id, op)) = shared.next() {
                        let (device, complete) = &*device;
                        let (begun, len) = (Instant::now(), written(&op));
                        let result = io::perform(&device.file, device.len, op);
                        complete(id, Ended { result, len, took: begun.elapsed() });
                    }
                })
                .expect("without its workers there is no WAL");
        }
        DiskQueue(shared)
    }
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub result: DiskResult,
    /// Bytes that were to be written.
    pub len: usize,
    /// From when a worker began with it.
    pub took: Duration,
}

/// Where operations are submitted.
#[derive(Debug)]
pub struct DiskQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(OpId, DiskOp)>,
    over: bool,
}

impl DiskQueue {
    /// Submits one. Operations in flight are unordered.
    pub fn submit(&self, id: OpId, op: DiskOp) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back((id, op));
        self.0.arrived.notify_one();
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.arrived.notify_all();
    }
}

impl Shared {
    fn next(&self) -> Option<(OpId, DiskOp)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                return Some(next);
            }
            if queue.over {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn written(op: &DiskOp) -> usize {
    match op {
        DiskOp::Write { data, .. } => data.len(),
        DiskOp::Read { .. } => 0,
    }
}

fn in_the_store<T>() -> Result<T, OpenError> {
    Err(OpenError::Unusable("the WAL object: is in the object store, and on no device".into()))
}

/// Through links: names of devices are often some.
fn look(path: &Path) -> Result<Thing, OpenError> {
    match std::fs::metadata(path).map(|found| found.file_type()) {
        Ok(found) if found.is_file() => Ok(Thing::File),
        Ok(found) if found.is_block_device() => Ok(Thing::Block),
        Ok(_) => Ok(Thing::Other),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Thing::Nothing),
        Err(error) => Err(unusable(path, "found", &error)),
    }
}

/// With O_DIRECT where the file system has it.
fn open_direct(path: &Path, flags: OFlags) -> std::io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::open(path, flags | OFlags::DIRECT, mode) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::INVAL) => {
            warn!(wal = %path.display(), "the file system has no O_DIRECT: the WAL goes through the page cache, slower");
            Ok(rustix::fs::open(path, flags, mode)?.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn unusable(path: &Path, what: &str, error: &std::io::Error) -> OpenError {
    OpenError::Unusable(format!("the WAL {} cannot be {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
