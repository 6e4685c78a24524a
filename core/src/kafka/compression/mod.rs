//! What Kafka compresses records by, decoded piece by piece, and encoded (`encode`) where a topic asks for a codec.
//!
//! ```text
//!  compressed bytes -> gzip | snappy | lz4 | zstd -> pieces of at most a few KiB (of a block) -> whoever takes them
//! ```
//! The bytes are a client's: nothing in here panics on them. What is decoded is handed on and forgotten. What a decoder
//! needs to remember is bounded by its format and never out of proportion to what it was given:
//!
//! | codec | form | remembers at most |
//! |---|---|---|
//! | gzip | one member | 32 KiB |
//! | Snappy | xerial's blocks, as Java, librdkafka's readers and Go know them, or one raw block | a block, at most 22 times as long as its code |
//! | LZ4 | one frame of independent blocks; Java's consumers read no others | a block: 4 MiB, at most 256 times as long as its code |
//! | Zstandard | one frame, without dictionary | its window, or the limit on what may come out if that is less |
//!
//! Nothing may follow the end of what is compressed: some consumers would ignore it, others stop at it.

mod encode;
mod gzip;
mod lz4;
mod snappy;
mod zstd;

pub(crate) use encode::{Encoder, bound};

use super::batch::Codec;

/// Length of the buffers that pieces are decoded into, where the format leaves the choice.
const PIECE: usize = 16 << 10;

/// Why decoding ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InflateError<E> {
    /// The bytes are not what the codec makes.
    Malformed(&'static str),
    /// More than the limit comes out of them.
    TooLarge,
    /// Whoever took the pieces had enough.
    Stopped(E),
}

/// Decodes `bytes` and hands what comes out of them, at most `limit` bytes, to `take`, in order. Returns how many bytes
/// that were.
///
/// # Errors
/// When `bytes` are no whole encoding by `codec`, when more than `limit` bytes come out, or when `take` fails. Pieces from
/// before the defect have been taken by then.
pub fn inflate<E>(
    codec: Codec,
    bytes: &[u8],
    limit: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, InflateError<E>> {
    let mut pieces = Pieces { left: limit, take };
    match codec {
        Codec::None => pieces.give(bytes)?,
        Codec::Gzip => gzip::inflate(bytes, &mut pieces)?,
        Codec::Snappy => snappy::inflate(bytes, &mut pieces)?,
        Codec::Lz4 => lz4::inflate(bytes, &mut pieces)?,
        Codec::Zstd => zstd::inflate(bytes, &mut pieces)?,
    }
    Ok(limit - pieces.left)
}

/// Where decoders put what they have decoded.
struct Pieces<'a, E> {
    /// How many bytes more may come.
    left: u64,
    take: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
}

impl<E> Pieces<'_, E> {
    fn give(&mut self, piece: &[u8]) -> Result<(), InflateError<E>> {
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(InflateError::TooLarge)?;
        if piece.is_empty() { Ok(()) } else { (self.take)(piece).map_err(InflateError::Stopped) }
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

#[cfg(test)]
pub(crate) mod tests;
