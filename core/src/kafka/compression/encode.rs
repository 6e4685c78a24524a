//! The other way round: what a topic's `compression.type` has the broker make of records.
//!
//! ```text
//!  pieces of any length ──► Encoder ──► one gzip member | xerial's Snappy blocks | LZ4 frame | Zstandard frame
//! ```
//! Each form is the one that Kafka's broker writes, so every consumer reads it: gzip at level 6, Snappy in blocks of
//! 32 KiB, LZ4 in independent blocks of 64 KiB without checksums, Zstandard at level 3. Besides what it has made, an
//! encoder holds a block or a window: below 4 MiB with each codec. What comes out depends on the pieces alone, wherever and
//! whenever it runs.

use super::PIECE;
use crate::kafka::batch::Codec;
use alloc::vec;
use alloc::vec::Vec;
use flate2::{Compress, Compression, FlushCompress, Status};
use snap::raw::{Encoder as Snap, max_compress_len};
use twox_hash::xxhash32::Hasher;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// The largest window of gzip, as a power of two.
const WINDOW_BITS: u8 = 15;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
const SNAPPY_BLOCK: usize = 32 << 10;
const LZ4_BLOCK: usize = 64 << 10;
/// What xerial's blocks begin with: a name, a version, and the oldest that can read it.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// An LZ4 frame's magic, flags (version 1, independent blocks) and largest block (64 KiB).
const LZ4_HEAD: [u8; 6] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40];
const LZ4_STORED: u32 = 1 << 31;

/// What comes out is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What an encoding of so many bytes never exceeds, whatever they are.
pub(crate) const fn bound(content: u64) -> u64 {
    content.saturating_add(content / 4).saturating_add(1024)
}

/// Encodes bytes that come in pieces.
pub(crate) struct Encoder {
    made: Made,
    form: Form,
}

/// What has come out, behind what was there before.
struct Made {
    bytes: Vec<u8>,
    most: usize,
}

enum Form {
    None,
    Gzip(Compress),
    Snappy(Block),
    Lz4(Block),
    Zstd(CCtx<'static>),
}

/// A block that is being filled, and room for its code.
struct Block {
    content: Vec<u8>,
    len: usize,
    code: Vec<u8>,
}

impl Encoder {
    /// Encodes `content` bytes, and appends what comes out to `front`, which may become `most` bytes long.
    pub(crate) fn new(codec: Codec, content: u64, front: Vec<u8>, most: usize) -> Self {
        let mut made = Made { bytes: front, most };
        let form = match codec {
            Codec::None => Form::None,
            Codec::Gzip => Form::Gzip(Compress::new_gzip(Compression::new(GZIP_LEVEL), WINDOW_BITS)),
            Codec::Snappy => {
                made.bytes.extend_from_slice(XERIAL);
                Form::Snappy(Block::new(SNAPPY_BLOCK, max_compress_len(SNAPPY_BLOCK)))
            }
            Codec::Lz4 => {
                made.bytes.extend_from_slice(&LZ4_HEAD);
                made.bytes.push((Hasher::oneshot(0, &LZ4_HEAD[4..]) >> 8) as u8);
                Form::Lz4(Block::new(LZ4_BLOCK, lz4_flex::block::get_maximum_output_size(LZ4_BLOCK)))
            }
            Codec::Zstd => Form::Zstd(zstd(content)),
        };
        Self { made, form }
    }

    /// Goes on with the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let Self { made, form } = self;
        match form {
            Form::None => made.push(piece),
            Form::Gzip(stream) => gzip(stream, piece, FlushCompress::None, made),
            Form::Snappy(block) => block.fill(piece, made, snappy_block),
            Form::Lz4(block) => block.fill(piece, made, lz4_block),
            Form::Zstd(stream) => zstd_push(stream, piece, made),
        }
    }

    /// Ends it: what was there before, and behind it all that came out.
    pub(crate) fn finish(self) -> Result<Vec<u8>, TooLong> {
        let Self { mut made, form } = self;
        match form {
            Form::None => {}
            Form::Gzip(mut stream) => gzip(&mut stream, &[], FlushCompress::Finish, &mut made)?,
            Form::Snappy(mut block) => block.flush(&mut made, snappy_block)?,
            Form::Lz4(mut block) => {
                block.flush(&mut made, lz4_block)?;
                made.push(&[0; 4])?;
            }
            Form::Zstd(mut stream) => zstd_finish(&mut stream, &mut made)?,
        }
        Ok(made.bytes)
    }
}

impl Made {
    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.len() > self.most.saturating_sub(self.bytes.len()) {
            return Err(TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Block {
    fn new(largest: usize, code: usize) -> Self {
        Self { content: vec![0; largest], len: 0, code: vec![0; code] }
    }

    fn fill(&mut self, mut piece: &[u8], made: &mut Made, close: CloseBlock) -> Result<(), TooLong> {
        while !piece.is_empty() {
            let (now, rest) = piece.split_at(piece.len().min(self.content.len() - self.len));
            self.content[self.len..self.len + now.len()].copy_from_slice(now);
            self.len += now.len();
            piece = rest;
            if self.len == self.content.len() {
                self.flush(made, close)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, made: &mut Made, close: CloseBlock) -> Result<(), TooLong> {
        let len = core::mem::take(&mut self.len);
        if len == 0 { Ok(()) } else { close(&self.content[..len], &mut self.code, made) }
    }
}

/// Encodes one block, with room for its code.
type CloseBlock = fn(&[u8], &mut [u8], &mut Made) -> Result<(), TooLong>;

fn snappy_block(content: &[u8], code: &mut [u8], made: &mut Made) -> Result<(), TooLong> {
    let len = Snap::new().compress(content, code).expect("the room is that of the longest code");
    made.push(&(len as u32).to_be_bytes())?;
    made.push(&code[..len])
}

fn lz4_block(content: &[u8], code: &mut [u8], made: &mut Made) -> Result<(), TooLong> {
    let len = lz4_flex::block::compress_into(content, code).expect("the room is that of the longest code");
    // What does not get shorter is stored as it is.
    let (stored, block) = if len < content.len() { (0, &code[..len]) } else { (LZ4_STORED, content) };
    made.push(&(block.len() as u32 | stored).to_le_bytes())?;
    made.push(block)
}

fn gzip(stream: &mut Compress, mut input: &[u8], flush: FlushCompress, made: &mut Made) -> Result<(), TooLong> {
    let mut buffer = vec![0; PIECE];
    let is_last = matches!(flush, FlushCompress::Finish);
    loop {
        let (taken, before) = (stream.total_in(), stream.total_out());
        let status = stream.compress(input, &mut buffer, flush).expect("a sound stream takes whatever comes");
        let out = (stream.total_out() - before) as usize;
        input = &input[(stream.total_in() - taken) as usize..];
        made.push(&buffer[..out])?;
        let is_over = if is_last { matches!(status, Status::StreamEnd) } else { input.is_empty() && out < PIECE };
        if is_over {
            return Ok(());
        }
    }
}

fn zstd(content: u64) -> CCtx<'static> {
    let mut stream = CCtx::create();
    // With the length known a short content gets a small window, in the frame and in memory.
    stream.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).expect("that level exists");
    stream.set_pledged_src_size(Some(content)).expect("the frame has not begun");
    stream
}

fn zstd_push(stream: &mut CCtx<'_>, piece: &[u8], made: &mut Made) -> Result<(), TooLong> {
    let mut buffer = vec![0; PIECE];
    let mut input = InBuffer::around(piece);
    while input.pos() < piece.len() {
        let mut output = OutBuffer::around(&mut buffer[..]);
        stream.compress_stream(&mut output, &mut input).expect("as much comes as was said");
        let len = output.pos();
        made.push(&buffer[..len])?;
    }
    Ok(())
}

fn zstd_finish(stream: &mut CCtx<'_>, made: &mut Made) -> Result<(), TooLong> {
    let mut buffer = vec![0; PIECE];
    loop {
        let mut output = OutBuffer::around(&mut buffer[..]);
        let left = stream.end_stream(&mut output).expect("as much came as was said");
        let len = output.pos();
        made.push(&buffer[..len])?;
        if left == 0 {
            return Ok(());
        }
    }
}
