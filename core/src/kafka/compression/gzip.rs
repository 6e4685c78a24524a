//! gzip (RFC 1952): one member. The library reads header and trailer, and verifies the CRC.

use super::{InflateError, PIECE, Pieces};
use alloc::vec;
use flate2::{Decompress, FlushDecompress, Status};

/// Base-2 logarithm of the largest window that the format knows.
const WINDOW_BITS: u8 = 15;

pub(super) fn inflate<E>(mut input: &[u8], pieces: &mut Pieces<'_, E>) -> Result<(), InflateError<E>> {
    let mut decoder = Decompress::new_gzip(WINDOW_BITS);
    let mut buffer = vec![0; PIECE];
    loop {
        let (taken, made) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(input, &mut buffer, FlushDecompress::None)
            .map_err(|_| InflateError::Malformed("the gzip stream is damaged"))?;
        let (taken, made) = ((decoder.total_in() - taken) as usize, (decoder.total_out() - made) as usize);
        input = &input[taken..];
        pieces.give(&buffer[..made])?;
        match status {
            Status::StreamEnd if input.is_empty() => return Ok(()),
            Status::StreamEnd => return Err(InflateError::Malformed("something follows the gzip stream")),
            Status::Ok | Status::BufError if taken == 0 && made == 0 => {
                return Err(InflateError::Malformed("the gzip stream is cut short"));
            }
            Status::Ok | Status::BufError => {}
        }
    }
}
