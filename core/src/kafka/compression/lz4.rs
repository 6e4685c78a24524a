//! LZ4: one frame of independent blocks.
//!
//! ```text
//!  04 22 4d 18 | flags u8 | largest block u8 | content size u64, if flagged | header checksum u8
//!  blocks: length u32, its highest bit set if stored as it is | code | checksum u32, if flagged
//!  0 u32 | checksum of the content u32, if flagged
//! ```
//! Numbers are little-endian. Flags: bits 6 and 7 version (1), 5 blocks are independent, 4 they have checksums, 3 content
//! size, 2 checksum of the content, 1 reserved, 0 dictionary. Checksums are XXH32. As in Kafka, frames that need a
//! dictionary, and blocks that refer to others, are refused.

use super::{InflateError, Input, Pieces};
use alloc::vec::Vec;
use core::hash::Hasher as _;
use twox_hash::xxhash32::Hasher;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const STORED: u32 = 1 << 31;

/// A byte of code stands for 255 bytes at most.
const MOST_PER_BYTE: usize = 256;

const VERSION: u8 = 0b1100_0000;
const VERSION_1: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 0b11;

const CUT_SHORT: &str = "the LZ4 frame is cut short";

struct Frame {
    flags: u8,
    largest_block: usize,
}

pub(super) fn inflate<E>(bytes: &[u8], pieces: &mut Pieces<'_, E>) -> Result<(), InflateError<E>> {
    let mut input = Input(bytes);
    let frame = header(&mut input).map_err(InflateError::Malformed)?;
    let mut content = Hasher::with_seed(0);
    let mut buffer = Vec::new();
    loop {
        let length = number(&mut input).map_err(InflateError::Malformed)?;
        if length == 0 {
            break;
        }
        let piece = block(&frame, length, &mut input, &mut buffer).map_err(InflateError::Malformed)?;
        if frame.has(CONTENT_CHECKSUM) {
            content.write(piece);
        }
        pieces.give(piece)?;
    }
    end(&frame, &content, &mut input).map_err(InflateError::Malformed)
}

impl Frame {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn header(input: &mut Input<'_>) -> Result<Frame, &'static str> {
    if input.array() != Some(MAGIC) {
        return Err("there is no LZ4 frame");
    }
    let descriptor = input.0;
    let [flags, largest] = input.array().ok_or(CUT_SHORT)?;
    if flags & VERSION != VERSION_1 || flags & RESERVED != 0 || largest & 0b1000_1111 != 0 {
        return Err("the LZ4 frame is of a kind that Kafka does not know");
    }
    if flags & INDEPENDENT == 0 {
        return Err("the LZ4 blocks depend on each other, which Kafka's consumers can't read");
    }
    let largest_block = match largest >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err("the LZ4 frame has blocks of a size that does not exist"),
    };
    let frame = Frame { flags, largest_block };
    if frame.has(CONTENT_SIZE) {
        let _told: [u8; 8] = input.array().ok_or(CUT_SHORT)?;
    }
    let covered = &descriptor[..descriptor.len() - input.0.len()];
    let [checksum] = input.array().ok_or(CUT_SHORT)?;
    if (Hasher::oneshot(0, covered) >> 8) as u8 != checksum {
        return Err("the LZ4 frame's header is damaged");
    }
    Ok(frame)
}

/// The next block's content, in the input or in the buffer.
fn block<'b, 'i: 'b>(
    frame: &Frame,
    length: u32,
    input: &mut Input<'i>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], &'static str> {
    let len = (length & !STORED) as usize;
    if len > frame.largest_block {
        return Err("an LZ4 block is larger than its frame allows");
    }
    let code = input.take(len).ok_or(CUT_SHORT)?;
    if frame.has(BLOCK_CHECKSUMS) && number(input)? != Hasher::oneshot(0, code) {
        return Err("an LZ4 block does not match its checksum");
    }
    if length & STORED != 0 {
        return Ok(code);
    }
    let most = frame.largest_block.min(len * MOST_PER_BYTE);
    if buffer.len() < most {
        buffer.resize(most, 0);
    }
    let made = lz4_flex::block::decompress_into(code, &mut buffer[..most]).map_err(|_| "an LZ4 block is damaged")?;
    Ok(&buffer[..made])
}

fn end(frame: &Frame, content: &Hasher, input: &mut Input<'_>) -> Result<(), &'static str> {
    if frame.has(CONTENT_CHECKSUM) && number(input)? != content.finish_32() {
        return Err("the LZ4 frame does not match its checksum");
    }
    if input.is_empty() { Ok(()) } else { Err("something follows the LZ4 frame") }
}

fn number(input: &mut Input<'_>) -> Result<u32, &'static str> {
    input.array().map(u32::from_le_bytes).ok_or(CUT_SHORT)
}
