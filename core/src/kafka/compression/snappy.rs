//! Snappy: raw, or in the blocks that snappy-java ("xerial") puts it into.
//!
//! ```text
//!  raw:     length varint | tags ...
//!  xerial:  82 "SNAPPY" 00 | version u32 | compatible u32 | blocks: length u32 | raw
//! ```
//! Numbers are big-endian. Java and most clients write xerial's blocks, librdkafka and franz-go one raw block. A raw block
//! can refer to anything in it, so it is decoded as a whole; but no encoding of it is shorter than a 22nd of it.

use super::{InflateError, Input, Pieces};
use alloc::vec;
use snap::raw::{Decoder, decompress_len};

const XERIAL: &[u8] = b"\x82SNAPPY\0";

/// No code of Snappy's stands for more: three bytes for 64.
const MOST_PER_BYTE: usize = 22;

const CUT_SHORT: &str = "the Snappy blocks are cut short";
const DAMAGED: &str = "a Snappy block is damaged";

pub(super) fn inflate<E>(bytes: &[u8], pieces: &mut Pieces<'_, E>) -> Result<(), InflateError<E>> {
    let Some(framed) = bytes.strip_prefix(XERIAL) else { return block(bytes, pieces) };
    let mut input = Input(framed);
    let _versions: [u8; 8] = input.array().ok_or(InflateError::Malformed(CUT_SHORT))?;
    while !input.is_empty() {
        let len = input.array().map(u32::from_be_bytes).ok_or(InflateError::Malformed(CUT_SHORT))?;
        let code = input.take(len as usize).ok_or(InflateError::Malformed(CUT_SHORT))?;
        block(code, pieces)?;
    }
    Ok(())
}

fn block<E>(code: &[u8], pieces: &mut Pieces<'_, E>) -> Result<(), InflateError<E>> {
    let damaged = |_| InflateError::Malformed(DAMAGED);
    let len = decompress_len(code).map_err(damaged)?;
    if len > code.len().saturating_mul(MOST_PER_BYTE) {
        return Err(InflateError::Malformed(DAMAGED));
    }
    if len as u64 > pieces.left {
        return Err(InflateError::TooLarge);
    }
    let mut decoded = vec![0; len];
    let len = Decoder::new().decompress(code, &mut decoded).map_err(damaged)?;
    pieces.give(&decoded[..len])
}
