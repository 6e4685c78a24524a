//! Compressed batches as producers make them, and as no producer should.
//!
//! Each codec in a form that clients in the field write. The same bytes come out on every machine: gzip only stores, since
//! what its library compresses depends on the processor.

use super::batch::{self, Shape};
use crate::oracle::WriteId;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use karst_core::kafka::Codec;
use karst_core::machine::Rng;
use twox_hash::xxhash32::Hasher;

/// What the records of a batch may take once decompressed, where batches are at most so long.
#[must_use]
pub fn most_inflated(batch: u32) -> u32 {
    batch.max(64 << 10)
}

/// A codec that this version of Produce may carry.
pub(super) fn any_codec(version: i16, rng: &mut Rng) -> Codec {
    const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let known = if version < 7 { &CODECS[..3] } else { &CODECS };
    *rng.pick(known).expect("the list is not empty")
}

/// What a broker must say to a batch that lies: Kafka's MESSAGE_TOO_LARGE and INVALID_RECORD.
const TOO_LARGE: i16 = 10;
const INVALID: i16 = 87;

/// A sound batch for a write.
pub(super) fn encode(write: WriteId, shape: Shape, codec: Codec, rng: &mut Rng) -> Bytes {
    let content = batch::records(write, shape, rng);
    batch::seal(codec, shape, &compress(codec, &content))
}

/// A batch with a right header and CRC, whose records are not what the header says; and the error it deserves where
/// batches are at most so long.
pub(super) fn lie(write: WriteId, shape: Shape, codec: Codec, most: u32, rng: &mut Rng) -> (Bytes, i16) {
    let (lying, error) = any_lie(write, shape, codec, most, rng);
    // Above the limit it is refused unseen.
    let error = if lying.len() > most as usize { TOO_LARGE } else { error };
    (lying, error)
}

fn any_lie(write: WriteId, shape: Shape, codec: Codec, most: u32, rng: &mut Rng) -> (Bytes, i16) {
    let content = batch::records(write, shape, rng);
    match rng.below(6) {
        0 => {
            let code = compress(codec, &content);
            let cut = rng.below(code.len() as u64) as usize;
            (batch::seal(codec, shape, &code[..cut]), INVALID)
        }
        1 => {
            let counted = Shape { records: shape.records + 1, ..shape };
            (batch::seal(codec, counted, &compress(codec, &content)), INVALID)
        }
        2 => {
            // The first two records of three, and the header says so, but the second is the third.
            let three = batch::records(write, Shape { records: 3, ..shape }, rng);
            let gap = batch::without_second(&three);
            (batch::seal(codec, Shape { records: 2, ..shape }, &compress(codec, &gap)), INVALID)
        }
        3 => {
            let followed = [&content[..], b"?"].concat();
            (batch::seal(codec, shape, &compress(codec, &followed)), INVALID)
        }
        4 => {
            let garbage: Vec<u8> = (0..rng.between(1, 200)).map(|_| rng.next_u64() as u8).collect();
            (batch::seal(codec, shape, &garbage), INVALID)
        }
        _ => {
            let zeros = vec![0; most_inflated(most) as usize + 1];
            let one = Shape { records: 1, ..shape };
            (batch::seal(codec, one, &compress(codec, &batch::record_of(&zeros))), TOO_LARGE)
        }
    }
}

fn compress(codec: Codec, content: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => content.to_vec(),
        Codec::Gzip => {
            let mut code = Vec::with_capacity(content.len() + 1000);
            let mut encoder = Compress::new_gzip(Compression::none(), 15);
            encoder.compress_vec(content, &mut code, FlushCompress::Finish).expect("there is room");
            code
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(content).expect("it is short"),
        Codec::Lz4 => lz4(content),
        Codec::Zstd => {
            let mut code = vec![0; zstd_safe::compress_bound(content.len())];
            let len = zstd_safe::compress(&mut code[..], content, 3).expect("there is room");
            code.truncate(len);
            code
        }
    }
}

/// A frame of independent blocks of up to 64 KiB, without checksums of the content.
fn lz4(content: &[u8]) -> Vec<u8> {
    const DESCRIPTOR: [u8; 2] = [0x60, 0x40];
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend(DESCRIPTOR);
    frame.push((Hasher::oneshot(0, &DESCRIPTOR) >> 8) as u8);
    for block in content.chunks(64 << 10) {
        let code = lz4_flex::block::compress(block);
        let stored = 1 << 31;
        let (code, length) = if code.len() < block.len() {
            (&code[..], code.len() as u32)
        } else {
            (block, block.len() as u32 | stored)
        };
        frame.extend(length.to_le_bytes());
        frame.extend(code);
    }
    frame.extend([0; 4]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_core::kafka::CheckedBatch;
    use karst_core::machine::{Job, Outcome};

    const MOST: u32 = 8_192;
    const SHAPE: Shape = Shape { records: 3, value: 100, timestamp: 5, times: 0x123, key: 0 };

    fn verdict(batch: &Bytes) -> Result<(), i16> {
        let checked = CheckedBatch::check(batch).expect("header and CRC are right");
        let job = Job::CheckRecords { batches: vec![checked], inflated: most_inflated(MOST).into() };
        let Outcome::CheckedRecords(verdicts) = job.run() else { panic!("another job's outcome") };
        verdicts[0].map(|_| ()).map_err(|refusal| refusal.code.code())
    }

    #[test]
    fn what_is_sound_passes_and_tells_its_write() {
        let mut rng = Rng::new(1);
        for id in 0..200 {
            let codec = any_codec(7, &mut rng);
            let sound = encode(WriteId(id), SHAPE, codec, &mut rng);
            assert_eq!(verdict(&sound), Ok(()));
            assert_eq!(batch::write_of(&sound), Some(WriteId(id)));
            assert_eq!(batch::times_of(&sound), Some(vec![8, 7, 6]));
        }
    }

    #[test]
    fn every_lie_is_found() {
        let mut rng = Rng::new(2);
        for id in 0..2_000 {
            let codec = any_codec(7, &mut rng);
            let (lying, error) = lie(WriteId(id), SHAPE, codec, MOST, &mut rng);
            if lying.len() <= MOST as usize {
                assert_eq!(verdict(&lying), Err(error), "lie {id}");
            }
        }
    }
}
