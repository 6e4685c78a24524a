//! Each codec as clients write it, what is wrong with it in every way, and bombs.

use super::encode::TooLong;
use super::*;
use crate::kafka::batch::{Batches, HEADER};
use crate::machine::Rng;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::hash::Hasher as _;
use flate2::{Compress, Compression, FlushCompress};
use twox_hash::xxhash32::Hasher;

pub(crate) const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Stored batches of real clients, one a line, as hexadecimal digits.
const CAPTURED: &str = include_str!("../../../../fixtures/batches/kcat-librdkafka-2.0.2.hex");

/// Compresses as clients do.
pub(crate) fn deflate(codec: Codec, content: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => content.to_vec(),
        Codec::Gzip => gzip(content),
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(content).expect("short enough"),
        Codec::Lz4 => lz4(content, 0x64, 64 << 10),
        Codec::Zstd => zstd(content, 3),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut code = Vec::with_capacity(content.len() + 1000);
    let mut encoder = Compress::new_gzip(Compression::new(6), 15);
    encoder.compress_vec(content, &mut code, FlushCompress::Finish).expect("there is room");
    code
}

/// As snappy-java does.
fn xerial(content: &[u8], block: usize) -> Vec<u8> {
    let mut code = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in content.chunks(block) {
        let block = deflate(Codec::Snappy, block);
        code.extend_from_slice(&(block.len() as u32).to_be_bytes());
        code.extend_from_slice(&block);
    }
    code
}

/// A frame with these flags, whose blocks have that length.
fn lz4(content: &[u8], flags: u8, block: usize) -> Vec<u8> {
    let mut code = [0x04, 0x22, 0x4d, 0x18, flags, 0x40].to_vec();
    if flags & 8 != 0 {
        code.extend_from_slice(&(content.len() as u64).to_le_bytes());
    }
    code.push((Hasher::oneshot(0, &code[4..]) >> 8) as u8);
    for piece in content.chunks(block) {
        let packed = lz4_flex::block::compress(piece);
        let (block, stored) = if packed.len() < piece.len() { (&packed[..], 0) } else { (piece, 1 << 31) };
        code.extend_from_slice(&(block.len() as u32 | stored).to_le_bytes());
        code.extend_from_slice(block);
        if flags & 16 != 0 {
            code.extend_from_slice(&Hasher::oneshot(0, block).to_le_bytes());
        }
    }
    code.extend_from_slice(&[0; 4]);
    if flags & 4 != 0 {
        let mut sum = Hasher::with_seed(0);
        sum.write(content);
        code.extend_from_slice(&sum.finish_32().to_le_bytes());
    }
    code
}

fn zstd(content: &[u8], level: i32) -> Vec<u8> {
    let mut code = vec![0; zstd_safe::compress_bound(content.len())];
    let len = zstd_safe::compress(&mut code[..], content, level).expect("there is room");
    code.truncate(len);
    code
}

/// As Java streams it: the content's length is not known when the frame begins, so that it asks for a window.
fn zstd_streamed(content: &[u8], level: i32) -> Vec<u8> {
    let mut encoder = zstd_safe::CCtx::create();
    encoder.set_parameter(zstd_safe::CParameter::CompressionLevel(level)).expect("a level");
    let mut code = vec![0; zstd_safe::compress_bound(content.len()) + 1000];
    let mut output = zstd_safe::OutBuffer::around(&mut code[..]);
    encoder.compress_stream(&mut output, &mut zstd_safe::InBuffer::around(content)).expect("there is room");
    assert_eq!(encoder.end_stream(&mut output), Ok(0));
    let len = output.pos();
    code.truncate(len);
    code
}

/// Compresses well in one half, and not in the other.
fn content(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|at| if at % 1000 < 500 { (at % 7) as u8 } else { rng.next_u64() as u8 }).collect()
}

fn inflated(codec: Codec, code: &[u8], limit: u64) -> Result<Vec<u8>, InflateError<()>> {
    let mut all = Vec::new();
    let len = inflate(codec, code, limit, &mut |piece| {
        assert!(!piece.is_empty());
        all.extend_from_slice(piece);
        Ok(())
    })?;
    assert_eq!(len, all.len() as u64);
    Ok(all)
}

#[test]
fn what_clients_compress_comes_out_as_it_was() {
    for len in [0, 1, 100, 5_000, 70_000, 300_000] {
        let content = content(len);
        for codec in CODECS {
            assert_eq!(inflated(codec, &deflate(codec, &content), len as u64), Ok(content.clone()), "{codec:?} {len}");
        }
        for block in [7, 32 << 10, 1 << 20] {
            assert_eq!(inflated(Codec::Snappy, &xerial(&content, block), len as u64), Ok(content.clone()));
        }
        for flags in [0x60, 0x64, 0x68, 0x70, 0x7c] {
            assert_eq!(inflated(Codec::Lz4, &lz4(&content, flags, 65_536), len as u64), Ok(content.clone()));
        }
        for level in [-5, 1, 9, 19, 22] {
            assert_eq!(inflated(Codec::Zstd, &zstd(&content, level), len as u64), Ok(content.clone()));
            assert_eq!(inflated(Codec::Zstd, &zstd_streamed(&content, level), len as u64), Ok(content.clone()));
        }
    }
}

#[test]
fn what_is_cut_or_followed_by_something_is_refused() {
    let content = content(3_000);
    for codec in CODECS {
        let code = deflate(codec, &content);
        for len in 0..code.len() {
            let cut = inflated(codec, &code[..len], 1 << 20);
            assert!(matches!(cut, Err(InflateError::Malformed(_))) || cut == Ok(Vec::new()), "{codec:?} cut at {len}");
        }
        for junk in [&[0][..], &code] {
            let followed = inflated(codec, &[&code, junk].concat(), 1 << 20);
            assert!(matches!(followed, Err(InflateError::Malformed(_))), "{codec:?}: {followed:?}");
        }
    }
}

#[test]
fn checksums_are_verified() {
    let content = content(3_000);
    let frame = lz4(&content, 0x74, 65_536);
    let last = frame.len() - 1;
    for (at, why) in [
        (last, "the LZ4 frame does not match its checksum"),
        (last - 8, "an LZ4 block does not match its checksum"),
        (6, "the LZ4 frame's header is damaged"),
    ] {
        let mut damaged = frame.clone();
        damaged[at] ^= 1;
        assert_eq!(inflated(Codec::Lz4, &damaged, 1 << 20), Err(InflateError::Malformed(why)));
    }
    let mut damaged = gzip(&content);
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    assert_eq!(inflated(Codec::Gzip, &damaged, 1 << 20), Err(InflateError::Malformed("the gzip stream is damaged")));
}

#[test]
fn frames_that_consumers_do_not_know_are_refused() {
    let content = content(3_000);
    let dependent = lz4(&content, 0x44, 1000);
    assert!(
        matches!(inflated(Codec::Lz4, &dependent, 1 << 20), Err(InflateError::Malformed(why)) if why.contains("depend"))
    );
    for flags in [0xe4, 0x65, 0x66] {
        assert!(inflated(Codec::Lz4, &lz4(&content, flags, 1000), 1 << 20).is_err(), "flags {flags:x}");
    }
    let mut wide = zstd_streamed(&content, 3);
    assert_eq!(wide[4] & 0x20, 0, "it has a window");
    wide[5] = 17 << 3;
    assert_eq!(inflated(Codec::Zstd, &wide, 1 << 20), Ok(content), "128 MiB are legal, and not needed");
    wide[5] = (17 << 3) + 1;
    assert!(
        matches!(inflated(Codec::Zstd, &wide, 1 << 20), Err(InflateError::Malformed(why)) if why.contains("window"))
    );
}

#[test]
fn bombs_end_at_the_limit() {
    const LIMIT: u64 = 100_000;
    let zeros = vec![0; 4 << 20];
    let bombs = CODECS.map(|codec| (codec, deflate(codec, &zeros)));
    let more = [
        (Codec::Snappy, xerial(&zeros, 32 << 10)),
        (Codec::Lz4, lz4(&zeros, 0x60, 65_536)),
        (Codec::Zstd, zstd_streamed(&zeros, 22)),
    ];
    for (codec, bomb) in bombs.into_iter().chain(more) {
        let mut taken = 0;
        let outcome = inflate(codec, &bomb, LIMIT, &mut |piece| {
            taken += piece.len() as u64;
            Ok::<_, ()>(())
        });
        assert_eq!(outcome, Err(InflateError::TooLarge), "{codec:?}");
        assert!(taken <= LIMIT, "{codec:?}: {taken} bytes were handed on");
        assert_eq!(inflated(codec, &bomb, zeros.len() as u64).as_ref(), Ok(&zeros), "{codec:?}");
    }
}

#[test]
fn whoever_takes_the_pieces_may_stop() {
    for codec in CODECS {
        let code = deflate(codec, &content(300_000));
        let outcome = inflate(codec, &code, u64::MAX, &mut |_| Err("enough"));
        assert_eq!(outcome, Err(InflateError::Stopped("enough")), "{codec:?}");
    }
}

#[test]
fn a_lie_about_the_length_costs_nothing() {
    // Four GiB, says a block of six bytes.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(matches!(inflated(Codec::Snappy, &lie, 1 << 20), Err(InflateError::Malformed(_))));
    let told = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &[0, 0, 0, 0, 0, 1, 0, 0], &[1, 0, 0]].concat();
    assert_eq!(inflated(Codec::Zstd, &told, 1 << 20), Err(InflateError::TooLarge));
}

/// The captured batches, header included.
pub(crate) fn captured() -> Vec<Bytes> {
    let digit = |of: u8| (of as char).to_digit(16).expect("fixtures are hexadecimal") as u8;
    let lines = CAPTURED.lines().filter(|line| !line.starts_with('#'));
    let decoded =
        lines.map(|line| line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect());
    decoded.map(|bytes: Vec<u8>| bytes.into()).collect()
}

#[test]
fn damaged_batches_of_real_clients_break_nothing() {
    let mut rng = Rng::new(11);
    let mut seen = Vec::new();
    let mut outcomes = [0; 3];
    for batch in captured() {
        let header = Batches::new(batch.clone()).next().expect("a batch").header;
        let codec = header.attributes.codec().expect("a codec");
        seen.push(codec);
        let sound = inflated(codec, &batch[HEADER..], 1 << 20).expect("sound");
        assert!(sound.len() > batch.len());
        for _ in 0..4_000 {
            let mut code = batch[HEADER..].to_vec();
            damage(&mut rng, &mut code);
            let mut taken = 0;
            let outcome = inflate(codec, &code, 10_000, &mut |piece| {
                taken += piece.len();
                Ok::<_, ()>(())
            });
            assert!(taken <= 10_000);
            outcomes[match outcome {
                Ok(_) => 0,
                Err(InflateError::Malformed(_)) => 1,
                Err(_) => 2,
            }] += 1;
        }
    }
    assert_eq!(seen, CODECS);
    assert!(outcomes.iter().all(|count| *count > 0), "all outcomes are tried: {outcomes:?}");
}

/// Changes, drops, adds or repeats something.
pub(crate) fn damage(rng: &mut Rng, code: &mut Vec<u8>) {
    for _ in 0..rng.between(1, 4) {
        let at = rng.below(code.len() as u64) as usize;
        match rng.below(8) {
            0 => code.truncate(at.max(1)),
            1 => {
                let from = rng.below(at as u64 + 1) as usize;
                let again = code[from..=at].to_vec();
                code.splice(at..at, again);
            }
            2 => code[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]).expect("not empty"),
            _ => code[at] ^= 1 << rng.below(8),
        }
    }
}

fn encoded(codec: Codec, pieces: &[&[u8]], most: usize) -> Result<Vec<u8>, TooLong> {
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut encoder = Encoder::new(codec, len, b"front".to_vec(), most);
    pieces.iter().try_for_each(|piece| encoder.push(piece))?;
    encoder.finish()
}

#[test]
fn what_is_encoded_comes_out_as_it_was_however_it_was_cut() {
    let mut rng = Rng::new(3);
    for len in [0, 1, 100, 5_000, 32 << 10, 64 << 10, 70_000, 300_000] {
        for content in [content(len), vec![7; len], (0..len).map(|_| rng.next_u64() as u8).collect()] {
            for codec in [Codec::None].into_iter().chain(CODECS) {
                let whole = encoded(codec, &[&content], usize::MAX).expect("there is room");
                let code = whole.strip_prefix(b"front").expect("what was there stays");
                assert_eq!(inflated(codec, code, len as u64).as_ref(), Ok(&content), "{codec:?} {len}");
                assert!(code.len() as u64 <= bound(len as u64), "{codec:?} {len}");
                let (first, second) = content.split_at(rng.between(0, len as u64) as usize);
                let (second, third) = second.split_at(second.len() / 3);
                let pieces = encoded(codec, &[first, second, &[], third], usize::MAX).expect("there is room");
                assert_eq!(inflated(codec, &pieces[5..], len as u64).as_ref(), Ok(&content), "{codec:?} {len}");
                if len > 0 {
                    assert_eq!(encoded(codec, &[&content], whole.len() - 1), Err(TooLong), "{codec:?} {len}");
                }
            }
        }
    }
}
