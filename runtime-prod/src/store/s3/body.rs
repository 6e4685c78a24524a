//! An object's bytes on their way out: the pieces of a rope, each handed over as it is.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use karst_core::machine::Rope;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Up to this length the signature covers the body; the hash costs more than it tells for larger ones, which their
/// CRC32C and, over HTTPS, the connection protect.
const SIGNED: usize = 64 << 10;

/// A body that can be sent once.
pub(super) fn stream(body: &Rope) -> ByteStream {
    if body.len() <= SIGNED {
        return body.to_bytes().into();
    }
    ByteStream::from_body_1_x(Pieces { left: body.len() as u64, pieces: body.pieces().to_vec().into_iter() })
}

/// The checksum that S3 compares with what arrives: CRC32C, big-endian, in base 64.
pub(super) fn checksum(body: &Rope) -> String {
    let crc = body.pieces().iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
    base64(crc.to_be_bytes())
}

struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.next();
        self.left -= next.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn base64(bytes: [u8; 4]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u64::from(u32::from_be_bytes(bytes)) << 4;
    let digits = (0..6).rev().map(|at| char::from(DIGITS[(bits >> (6 * at)) as usize & 63]));
    digits.chain("==".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pieces: &[usize]) -> Rope {
        let mut rope = Rope::default();
        for (at, len) in pieces.iter().enumerate() {
            rope.push(vec![at as u8; *len]);
        }
        rope
    }

    #[test]
    fn every_rope_comes_out_as_it_was_and_tells_its_length() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for pieces in [&[][..], &[1], &[100, 3], &[SIGNED], &[SIGNED, 1], &[SIGNED, SIGNED, 7]] {
            let rope = rope(pieces);
            let stream = stream(&rope);
            assert_eq!(stream.size_hint(), (rope.len() as u64, Some(rope.len() as u64)));
            let read = runtime.block_on(stream.collect()).expect("in memory").into_bytes();
            assert_eq!(read, rope.to_bytes());
        }
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let rope = rope(&[SIGNED, 2 * SIGNED]);
        let mut stream = stream(&rope);
        for piece in rope.pieces() {
            let sent = runtime.block_on(stream.next()).expect("a piece").expect("in memory");
            assert_eq!(sent.as_ptr(), piece.as_ptr());
        }
    }

    #[test]
    fn checksums_are_written_as_s3_reads_them() {
        // RFC 3720, B.4: 32 bytes of zeros; and the empty body.
        assert_eq!(checksum(&Rope::from(vec![0; 32])), base64([0x8a, 0x91, 0x36, 0xaa]));
        assert_eq!(base64([0x8a, 0x91, 0x36, 0xaa]), "ipE2qg==");
        assert_eq!(checksum(&Rope::default()), "AAAAAA==");
        assert_eq!(base64([255; 4]), "/////w==");
    }
}
