//! The ring on a pre-written file or block device.

/// Ring and window bytes that appending a batch of `len` bytes may cost at most: what a grant is counted in.
#[must_use]
pub const fn cost(len: usize) -> u64 {
    (len as u64 + 128).next_multiple_of(4096) + 4096
}
