//! The ring on a pre-written file or block device: its format, version 1.
//!
//! ```text
//!  0          4096       8192                                            device end, rounded down to 4096
//!  +----------+----------+-----------+---------------------+- - - - -+---+
//!  | header   | header   | block     | block               |         |   |
//!  | slot 0   | slot 1   |           |                     |         |   |
//!  +----------+----------+-----------+---------------------+- - - - -+---+
//!                        |<------------------- the ring ---------------->|
//! ```
//! An [`Lsn`] is a byte position in the log of one life, from 0 on; it never wraps. The byte at LSN `n` lies at device
//! position `8192 + n % ring`. [Header slots](header) take turns; [blocks](block) follow each other without gaps, are
//! written once per lap, and never cross the ring's end: one is cut there. [Records](crate::wal::record) are cut into [fragments], so
//! they may be larger than a block and cross the ring's end.
//!
//! What a life left is identified by (cluster, UUID, node epoch): blocks of any other are void, so beginning a life is
//! one header write.
//!
//! Who writes and reads it is private: `machine` is the log in all its phases; `opening` stands for all that precedes a
//! life, with `recovery` reading one back; `open` for a life, with `log` at its end and `headers` at its beginning.

pub mod block;
pub mod fragments;
pub mod header;
mod headers;
mod log;
mod machine;
mod open;
mod opening;
mod recovery;

pub(super) use machine::RingWal;

use crate::disk::{DevicePos, SECTOR};
use crate::id::Lsn;
use alloc::format;
use alloc::string::String;
use bytes::{Buf, BytesMut};

/// A block is at most so long, in bytes, whatever a header says: what a reader has to be able to hold.
pub const LARGEST_BLOCK: u32 = 64 << 20;

/// No LSN or generation is beyond this: at 10 GiB/s it lasts ten years. It keeps arithmetic on what a disk says from
/// overflowing.
pub const LARGEST_NUMBER: u64 = 1 << 62;

/// Where the ring begins on the device.
const RING_START: u64 = header::SLOTS * SECTOR;

/// Where things lie on a device of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    ring: u64,
}

impl Geometry {
    /// Of a device of `len` bytes.
    ///
    /// # Errors
    /// When nothing is left for a ring.
    pub fn of_device(len: u64) -> Result<Self, String> {
        let ring = (len - len % SECTOR).saturating_sub(RING_START);
        if ring == 0 || ring > LARGEST_NUMBER {
            return Err(format!(
                "a WAL device of {len} bytes leaves no room for a ring: give it some MiB at least, or \
                 remove an empty file"
            ));
        }
        Ok(Self { ring })
    }

    /// Size of the ring in bytes; a multiple of [`SECTOR`].
    #[must_use]
    pub const fn ring(self) -> u64 {
        self.ring
    }

    /// Where the byte at this LSN lies.
    #[must_use]
    pub const fn position(self, lsn: Lsn) -> DevicePos {
        DevicePos(RING_START + lsn.0 % self.ring)
    }

    /// Bytes from this LSN to the ring's end.
    #[must_use]
    pub const fn to_end(self, lsn: Lsn) -> u64 {
        self.ring - lsn.0 % self.ring
    }
}

/// An empty buffer that starts at an address aligned to [`SECTOR`] and takes `len` bytes without moving.
#[must_use]
pub fn aligned(len: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(len + SECTOR as usize - 1);
    let address = buffer.as_ptr().addr();
    let skip = address.next_multiple_of(SECTOR as usize) - address;
    buffer.resize(skip, 0);
    buffer.advance(skip);
    buffer
}
