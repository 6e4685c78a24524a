//! What machines ask of a write-ahead log's device, and what they hear back.

use crate::machine::{Payload, Rope};

/// A byte position on the device. Reads and writes are aligned to [`SECTOR`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePos(pub u64);

/// Alignment of positions and lengths, in bytes: what O_DIRECT and a disk's own atomicity ask for.
pub const SECTOR: u64 = 4096;

/// An operation on the device. Operations in flight are unordered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiskOp {
    /// Reads `len` bytes.
    Read {
        /// Where.
        at: DevicePos,
        /// How many.
        len: usize,
    },
    /// Writes, and completes when the bytes are on stable storage (O_DSYNC). After a crash before the completion any
    /// subset of the write's sectors may be there.
    Write {
        /// Where.
        at: DevicePos,
        /// What; its pieces start at aligned addresses and have aligned lengths.
        data: Rope,
    },
}

/// Success of a [`DiskOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiskDone {
    /// The bytes asked for, all of them.
    Read(Payload),
    /// On stable storage.
    Written,
}

/// Why a [`DiskOp`] failed. A failed write leaves its range undefined, and is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskError {
    /// The device reported an error.
    Io,
    /// The file system has no room for the block (a sparse file on a full disk).
    NoSpace,
}

impl core::fmt::Display for DiskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Io => "the device reported an input/output error",
            Self::NoSpace => "no space left on the device",
        })
    }
}

/// The completion of a [`DiskOp`].
pub type DiskResult = Result<DiskDone, DiskError>;
