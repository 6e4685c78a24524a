//! What everything durable begins with: magic, kind, format version, length and a CRC32C over all that follows.
//!
//! ```text
//!  0        4       6       8               12              16
//!  +--------+-------+-------+----------------+---------------+- - - - - -+
//!  | "KRST" | kind  | vers. | body length    | CRC32C        | body      |
//!  +--------+-------+-------+----------------+---------------+- - - - - -+
//! ```
//! All numbers are big-endian. The CRC covers kind, version, body length and body. A body begins with the identity that
//! makes it unmistakable (cluster, node, epoch, position), as its format says; being inside the CRC, it betrays a
//! misdirected or stale write.

use alloc::vec::Vec;
use bytes::{Buf, BufMut, Bytes};

/// Length of the envelope's head.
pub const HEAD: usize = 16;

const MAGIC: &[u8; 4] = b"KRST";

/// What is in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A slot of a ring's header.
    RingHeader = 1,
    /// A block of a ring.
    RingBlock = 2,
    /// The head of the metadata log.
    Head = 3,
    /// A segment of the metadata log.
    Segment = 4,
    /// A snapshot of the metadata.
    Snapshot = 5,
    /// A data block of a data object.
    DataBlock = 6,
    /// The index block of a data object.
    IndexBlock = 7,
    /// The footer of a data object.
    Footer = 8,
    /// A state block of a data object.
    State = 9,
    /// An object of an object WAL.
    WalObject = 10,
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Fewer bytes than announced.
    Short,
    /// Not Karst's, or of another kind.
    Foreign,
    /// A later format version, or a field that must be understood and is not.
    Unsupported,
    /// The checksum does not match.
    Checksum,
    /// The checksum matches and the content makes no sense.
    Malformed,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Short => "is cut short",
            Self::Foreign => "is not what Karst writes there",
            Self::Unsupported => "was written by a newer Karst",
            Self::Checksum => "fails its checksum",
            Self::Malformed => "passes its checksum but makes no sense",
        })
    }
}

/// Whether these bytes begin like an envelope of Karst's, sound or not.
#[must_use]
pub fn is_ours(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Wraps a body.
///
/// # Panics
/// When the body is longer than 4 GiB, which no format of ours allows.
#[must_use]
pub fn seal(kind: Kind, version: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + body.len());
    let len = u32::try_from(body.len()).expect("formats bound their bodies far below 4 GiB");
    out.put_slice(MAGIC);
    out.put_u16(kind as u16);
    out.put_u16(version);
    out.put_u32(len);
    out.put_u32(checksum(&out[4..12], body));
    out.put_slice(body);
    out
}

/// Unwraps a body of the kind expected from the front of `bytes`, with its format version; what follows is left alone.
///
/// # Errors
/// Whatever is wrong, never a panic; no length is believed before it is bounded by what is there.
pub fn open(kind: Kind, newest: u16, bytes: &Bytes) -> Result<(u16, Bytes), DecodeError> {
    let mut head = bytes.get(..HEAD).ok_or(DecodeError::Short)?;
    if &head[..4] != MAGIC || u16::from_be_bytes([head[4], head[5]]) != kind as u16 {
        return Err(DecodeError::Foreign);
    }
    let covered = &head[4..12];
    head.advance(6);
    let version = head.get_u16();
    let len = head.get_u32() as usize;
    let crc = head.get_u32();
    let end = HEAD.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(DecodeError::Short)?;
    let body = bytes.slice(HEAD..end);
    if checksum(covered, &body) != crc {
        return Err(DecodeError::Checksum);
    }
    if version == 0 || version > newest {
        return Err(DecodeError::Unsupported);
    }
    Ok((version, body))
}

/// The checksum of an envelope whose bytes are written piece by piece: over kind, version and length, then the body.
#[must_use]
pub fn checksum(covered: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(covered), body)
}

/// Reads fields from the front of a body, with errors instead of panics.
#[derive(Debug)]
pub struct Fields {
    body: Bytes,
    /// How much of it is read.
    at: usize,
    /// Where what may be read ends.
    end: usize,
}

/// Where a body ends, while only what is [within](Fields::enter) a part of it may be read.
#[derive(Debug)]
pub(crate) struct Outer {
    part: usize,
    body: usize,
}

impl Fields {
    /// Of this body.
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        let end = body.len();
        Self { body, at: 0, end }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let from = self.skip(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.body[from..from + N]);
        Ok(out)
    }

    /// The next `len` bytes, as a slice of the body.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let from = self.skip(len)?;
        Ok(self.body.slice(from..from + len))
    }

    /// Nothing behind the next `len` bytes can be read until [`Fields::leave`].
    pub(crate) fn enter(&mut self, len: usize) -> Result<Outer, DecodeError> {
        if self.left() < len {
            return Err(DecodeError::Short);
        }
        let outer = Outer { part: self.at + len, body: self.end };
        self.end = outer.part;
        Ok(outer)
    }

    /// What is left of the part is skipped.
    pub(crate) fn leave(&mut self, outer: Outer) {
        assert_eq!(self.end, outer.part, "parts are left in the order in which they contain each other");
        (self.at, self.end) = (outer.part, outer.body);
    }

    /// Returns where the next `len` bytes begin, which are read now.
    fn skip(&mut self, len: usize) -> Result<usize, DecodeError> {
        if self.left() < len {
            return Err(DecodeError::Short);
        }
        self.at += len;
        Ok(self.at - len)
    }

    /// A one-byte number.
    ///
    /// # Errors
    /// When the body ends.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A two-byte number.
    ///
    /// # Errors
    /// When the body ends.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A four-byte number.
    ///
    /// # Errors
    /// When the body ends.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// An eight-byte number.
    ///
    /// # Errors
    /// When the body ends.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// An eight-byte signed number.
    ///
    /// # Errors
    /// When the body ends.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A count of elements of at least `each` bytes: bounded by what is left before anything is allocated.
    ///
    /// # Errors
    /// When the body can't hold so many.
    pub fn count(&mut self, each: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count.checked_mul(each.max(1)).is_none_or(|least| least > self.left()) {
            return Err(DecodeError::Short);
        }
        Ok(count)
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.body.slice(self.at..self.end)
    }

    /// Bytes left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.end - self.at
    }
}
