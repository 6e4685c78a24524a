//! What machines ask of the object store, and what they hear back.
//!
//! The store is one strongly consistent bucket with conditional puts, ordered listing and ranged reads. The directory
//! store, S3 and the simulated store all speak this.

pub(crate) mod attempts;
pub mod probe;

use crate::machine::{Payload, Rope};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// An object's name within the bucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Into<String>> From<S> for Key {
    fn from(name: S) -> Self {
        Self(name.into())
    }
}

/// The store's name for one version of an object. Only ever handed back to the store: contents are compared, never
/// ETags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// What must hold for a put to take effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// No object of that name (`If-None-Match: *`).
    Absent,
    /// The object is that version (`If-Match`).
    Is(ETag),
}

/// Which part of an object to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// All of it.
    Whole,
    /// `len` bytes from `at` on; fewer where the object ends.
    Range {
        /// First byte.
        at: u64,
        /// How many.
        len: u64,
    },
    /// The last `len` bytes, or all if there are fewer.
    Last {
        /// How many.
        len: u64,
    },
}

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreOp {
    /// Writes an object. Every put of Karst's is conditional.
    Put {
        /// Its name.
        key: Key,
        /// Its content.
        body: Rope,
        /// When it may take effect.
        only_if: Precondition,
    },
    /// Reads an object.
    Get {
        /// Its name.
        key: Key,
        /// Which part.
        span: Span,
    },
    /// Removes an object; one that is not there counts as removed.
    Delete {
        /// Its name.
        key: Key,
    },
    /// Lists names with a prefix, in order.
    List {
        /// What they begin with.
        prefix: Key,
        /// Only names after this one.
        after: Option<Key>,
        /// At most so many.
        max: usize,
    },
}

/// A request with the time that it may take. At the deadline the shell drops the attempt and completes it as
/// [`StoreError::Ambiguous`]: it may still take effect later, and no second completion follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreCall {
    /// What is asked.
    pub op: StoreOp,
    /// For how long.
    pub within: Duration,
}

/// Success of a [`StoreOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreDone {
    /// Durable under its name.
    Put {
        /// Of the version just written.
        etag: ETag,
    },
    /// Read.
    Got {
        /// The part asked for.
        body: Payload,
        /// Of the version read.
        etag: ETag,
        /// Length of the whole object.
        total: u64,
    },
    /// Not there any more.
    Deleted,
    /// One page of names.
    Listed {
        /// In order.
        found: Vec<Found>,
        /// Whether names follow after the last one.
        more: bool,
    },
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The object's name.
    pub key: Key,
    /// Its length in bytes.
    pub len: u64,
}

/// Why a [`StoreOp`] did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreError {
    /// The precondition does not hold (412): the object exists, or is another version. It may be one's own late put.
    Exists,
    /// No object of that name (404).
    Missing,
    /// A concurrent conditional put is being decided (409): ask again.
    Conflict,
    /// Refused for load, before anything was done (reads only; a throttled put is [`StoreError::Ambiguous`]).
    Throttled,
    /// It may have taken effect, may still do so, or never.
    Ambiguous(Cause),
    /// Credentials or rights are missing (401, 403).
    Denied,
    /// What came back is not what the store holds: truncated, or failing its checksum.
    Corrupt,
    /// The request can never succeed (other 4xx, no such bucket, no space left).
    Fatal(Fatal),
}

/// What made an outcome unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// 503 or 429.
    Throttled,
    /// Another 5xx.
    Server,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    CutOff,
}

/// What makes a request hopeless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fatal {
    /// The bucket or directory is not there.
    NoBucket,
    /// No space is left behind the store.
    NoSpace,
    /// The store is read-only.
    ReadOnly,
    /// A sync failed: what the store holds may be gone after a power failure, and asking again can't tell.
    SyncFailed,
    /// The store calls the request malformed.
    BadRequest,
}

/// The completion of a [`StoreCall`].
pub type StoreResult = Result<StoreDone, StoreError>;

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exists => "the object exists already or is another version",
            Self::Missing => "no such object",
            Self::Conflict => "a concurrent conditional request is being decided",
            Self::Throttled => "the store asks to slow down",
            Self::Ambiguous(Cause::Throttled) => "the store asked to slow down and may have done the request",
            Self::Ambiguous(Cause::Server) => "the store failed and may have done the request",
            Self::Ambiguous(Cause::Timeout) => "the store did not answer in time and may have done the request",
            Self::Ambiguous(Cause::CutOff) => {
                "the store cannot be reached, or the connection to it broke and it may have done the request"
            }
            Self::Denied => {
                "the store denies access, or there are no credentials for it: check them and their permissions"
            }
            Self::Corrupt => "the store's answer fails its checksum",
            Self::Fatal(Fatal::NoBucket) => "the bucket or directory does not exist",
            Self::Fatal(Fatal::NoSpace) => {
                "no space is left behind the object store: free some, and the broker goes on by itself"
            }
            Self::Fatal(Fatal::ReadOnly) => "the object store is read-only",
            Self::Fatal(Fatal::SyncFailed) => "the disk behind the object store failed to sync",
            Self::Fatal(Fatal::BadRequest) => "the store calls the request malformed",
        })
    }
}

/// An attempt gets the usual time once more for each so many bytes.
const BYTES_PER_ATTEMPT: u64 = 8 << 20;

/// The time for one request that moves so many bytes.
#[must_use]
pub fn attempt(usual: Duration, bytes: u64) -> Duration {
    usual.saturating_mul(u32::try_from(bytes / BYTES_PER_ATTEMPT).unwrap_or(u32::MAX).saturating_add(1))
}

impl StoreError {
    /// Whether asking again, later, may succeed.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Conflict | Self::Throttled | Self::Ambiguous(_) | Self::Corrupt => true,
            Self::Exists | Self::Missing | Self::Denied => false,
            // Space comes back when somebody frees it.
            Self::Fatal(fatal) => matches!(fatal, Fatal::NoSpace),
        }
    }
}
