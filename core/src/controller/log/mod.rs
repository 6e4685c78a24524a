//! The metadata log's objects: names, bytes, and what they fold to.
//!
//! ```text
//!   meta/head ---- snapshot ---> meta/snapshot/TERM-SEQ-NONCE     the image at SEQ, if there was ever one
//!       |
//!       +--------- segments ---> meta/segment/TERM-SEQ-NONCE ...  the entries from there on, up to each SEQ
//!       |
//!       +--------- inline                                        the newest entries
//! ```
//! The cluster's state is the fold of exactly what the head refers to. Only the head is ever replaced; snapshots and
//! segments are immutable, and unmistakable by the term and the nonce in name and body.

mod head;
mod name;
mod segment;
mod snapshot;
#[cfg(test)]
pub(super) mod tests;

pub(super) use head::{Head, Writer};
pub(super) use name::{DATA, HEAD, META, Name, SEGMENTS, SNAPSHOTS, WAL};
pub(super) use segment::Segment;
pub(super) use snapshot::Snapshot;

use crate::envelope::DecodeError;
use crate::id::Seq;
use crate::metadata::{Entry, Image};

/// The newest version of these formats.
const VERSION: u16 = 1;

/// Applies entries that follow the image.
pub(super) fn fold(image: &mut Image, entries: &[Entry]) -> Result<(), DecodeError> {
    if !are_dense(image.seq, entries) {
        return Err(DecodeError::Malformed);
    }
    for entry in entries {
        image.apply(entry);
    }
    Ok(())
}

/// Whether the entries follow `after` one by one.
fn are_dense(after: Seq, entries: &[Entry]) -> bool {
    let mut last = after.0;
    entries.iter().all(|entry| {
        let follows = last.checked_add(1) == Some(entry.seq.0);
        last = entry.seq.0;
        follows
    })
}
