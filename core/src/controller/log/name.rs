//! Names in the bucket.

use crate::id::{Seq, Term};
use crate::metadata::codec::record;
use crate::store::Key;
use alloc::format;

/// The head.
pub(in crate::controller) const HEAD: &str = "meta/head";
/// Where everything of the metadata log is.
pub(in crate::controller) const META: &str = "meta/";
/// Where segments are.
pub(in crate::controller) const SEGMENTS: &str = "meta/segment/";
/// Where snapshots are.
pub(in crate::controller) const SNAPSHOTS: &str = "meta/snapshot/";
/// Where data objects are.
pub(in crate::controller) const DATA: &str = "data/";
/// Where object WALs are.
pub(in crate::controller) const WAL: &str = "wal/";

/// What makes a segment or snapshot unmistakable; its name is `TERM-SEQ-NONCE`, each as 16 hexadecimal digits. Only the
/// leader of a term writes names of that term, and draws the nonce for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::controller) struct Name {
    /// The leadership that wrote it.
    pub(in crate::controller) term: Term,
    /// The last entry in it.
    pub(in crate::controller) seq: Seq,
    /// Drawn by the writer.
    pub(in crate::controller) nonce: u64,
}

record!(Name { term, seq, nonce });

impl Name {
    /// The key of a segment of this name.
    pub(in crate::controller) fn segment(self) -> Key {
        self.under(SEGMENTS)
    }

    /// The key of a snapshot of this name.
    pub(in crate::controller) fn snapshot(self) -> Key {
        self.under(SNAPSHOTS)
    }

    /// The name in a key under `prefix`, if it is one of ours.
    pub(in crate::controller) fn parse(prefix: &str, key: &Key) -> Option<Self> {
        let mut parts = key.0.strip_prefix(prefix)?.split('-').map(|part| u64::from_str_radix(part, 16));
        let mut part = || parts.next()?.ok();
        let name = Self { term: Term(part()?), seq: Seq(part()?), nonce: part()? };
        (name.under(prefix) == *key).then_some(name)
    }

    fn under(self, prefix: &str) -> Key {
        Key(format!("{prefix}{:016x}-{:016x}-{:016x}", self.term.0, self.seq.0, self.nonce))
    }
}
