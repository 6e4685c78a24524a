//! Zstandard (RFC 8878): one frame.
//!
//! ```text
//!  28 b5 2f fd | descriptor u8 | window u8, unless single segment | dictionary id | content size | blocks | checksum
//! ```
//! A decoder makes room for the window that a frame asks for, which is 128 MiB at the highest levels, however short the
//! content. Since no more than the limit comes out, nothing refers further back than that: so a frame is decoded as if it
//! had asked for no more.

use super::{InflateError, PIECE, Pieces};
use alloc::vec;
use alloc::vec::Vec;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SINGLE_SEGMENT: u8 = 1 << 5;
/// Magic, descriptor and window.
const HEAD: usize = 6;

/// Base-2 logarithm of the largest window that Kafka's own decoder takes.
const LARGEST_WINDOW: u32 = 27;
/// Blocks are shorter than the window and at most so long: a smaller window would forbid some.
const LARGEST_BLOCK: u32 = 17;
/// What a window byte of 0 means.
const SMALLEST_WINDOW: u32 = 10;

const DAMAGED: &str = "the Zstandard frame is damaged";
const CUT_SHORT: &str = "the Zstandard frame is cut short";

pub(super) fn inflate<E>(bytes: &[u8], pieces: &mut Pieces<'_, E>) -> Result<(), InflateError<E>> {
    let enough = u64::BITS - pieces.left.saturating_sub(1).leading_zeros();
    let window = enough.clamp(LARGEST_BLOCK, LARGEST_WINDOW);
    let head = head(bytes, window).map_err(InflateError::Malformed)?;
    // A single segment is its own window.
    if zstd_safe::get_frame_content_size(bytes).ok().flatten().is_some_and(|told| told > pieces.left) {
        return Err(InflateError::TooLarge);
    }
    let mut decoder = DCtx::try_create().ok_or(InflateError::Malformed("there is no memory to decode Zstandard"))?;
    let refused = |_| InflateError::Malformed(DAMAGED);
    decoder.set_parameter(DParameter::WindowLogMax(window)).map_err(refused)?;
    let mut buffer = vec![0; PIECE];
    if Progress::Over == decode(&mut decoder, &head, &mut buffer, pieces)? {
        return Err(InflateError::Malformed(DAMAGED));
    }
    match decode(&mut decoder, &bytes[HEAD..], &mut buffer, pieces)? {
        Progress::Over => Ok(()),
        Progress::WantsMore => Err(InflateError::Malformed(CUT_SHORT)),
    }
}

/// The frame's first bytes, with a window of at most 2^`most`.
fn head(bytes: &[u8], most: u32) -> Result<Vec<u8>, &'static str> {
    if !bytes.starts_with(&MAGIC) {
        return Err("there is no Zstandard frame");
    }
    let mut head = bytes.get(..HEAD).ok_or(CUT_SHORT)?.to_vec();
    let asked = u32::from(head[5] >> 3) + SMALLEST_WINDOW;
    if head[4] & SINGLE_SEGMENT == 0 {
        let fraction = head[5] & 0b111;
        if asked > LARGEST_WINDOW || (asked == LARGEST_WINDOW && fraction > 0) {
            return Err("the Zstandard frame asks for a window that Kafka's consumers don't have");
        }
        if asked >= most {
            head[5] = ((most - SMALLEST_WINDOW) as u8) << 3;
        }
    }
    Ok(head)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The frame is whole, and all bytes are used.
    Over,
    WantsMore,
}

fn decode<E>(
    decoder: &mut DCtx<'_>,
    bytes: &[u8],
    buffer: &mut [u8],
    pieces: &mut Pieces<'_, E>,
) -> Result<Progress, InflateError<E>> {
    let mut input = InBuffer::around(bytes);
    loop {
        let mut output = OutBuffer::around(&mut *buffer);
        let hint = decoder.decompress_stream(&mut output, &mut input).map_err(|_| InflateError::Malformed(DAMAGED))?;
        let made = output.pos();
        let is_full = made == buffer.len();
        pieces.give(&buffer[..made])?;
        let is_used = input.pos() == bytes.len();
        if hint == 0 {
            let behind = InflateError::Malformed("something follows the Zstandard frame");
            return if is_used { Ok(Progress::Over) } else { Err(behind) };
        }
        if is_used && !is_full {
            return Ok(Progress::WantsMore);
        }
    }
}
