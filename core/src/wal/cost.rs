//! What a grant is counted in, whatever the log lies on: who appends counts, and does not know which.
//!
//! It is what a record takes of a ring at most, wherever it falls; an object takes less, but for what it has beside records.

use super::record::RECORD_HEAD;
use super::ring::block::{BLOCK_HEAD, FRAGMENT_HEAD};
use crate::disk::SECTOR;

/// Record bytes that one sector holds when it is a block of its own: the least that a sector of any block holds.
const SECTOR_PAYLOAD: u64 = SECTOR - (BLOCK_HEAD + FRAGMENT_HEAD) as u64;

/// Bytes of the log and of its window that appending a batch of `len` bytes may cost at most.
///
/// It holds wherever the record falls in a ring: of the blocks over which it is spread all but the last are full to the
/// byte, so cutting it at the ring's end costs nothing more.
#[must_use]
pub const fn cost(len: usize) -> u64 {
    payload_cost(RECORD_HEAD as u64 + len as u64)
}

/// The longest batch that costs at most `budget` bytes; 0 if none does.
#[must_use]
pub const fn longest(budget: u64) -> u64 {
    (budget / SECTOR * SECTOR_PAYLOAD).saturating_sub(RECORD_HEAD as u64)
}

/// [`cost`] of so many bytes of a record, its head included where it is among them.
#[must_use]
pub(super) const fn payload_cost(payload: u64) -> u64 {
    payload.div_ceil(SECTOR_PAYLOAD) * SECTOR
}
