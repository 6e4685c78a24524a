//! A batch in another codec: its records byte by byte the same, and of its header only what must be different.
//!
//! ```text
//!            length          CRC  codec                                       records
//!  +--------+######+--------+####+#####+----------------------------------+ - - - - - - - -
//!  | base offset   | epoch  |    |     | deltas, times, producer, sequence | other bytes
//! ```

use super::{Attributes, BatchHeader, COVERED, CRC_AT, Codec, Flaw, HEADER, OVERHEAD};
use crate::kafka::compression::{self, Encoder, InflateError};
use crate::machine::Payload;
use alloc::vec::Vec;

/// What becomes of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recoding {
    /// Their codec.
    pub into: Codec,
    /// What they take once decompressed, as it was found when they were looked into.
    pub inflated: u64,
    /// What the batch may take then.
    pub largest: usize,
}

impl Recoding {
    /// What the batch will take at most.
    #[must_use]
    pub fn bound(&self) -> u64 {
        let records = match self.into {
            Codec::None => self.inflated,
            _ => compression::bound(self.inflated),
        };
        (HEADER as u64).saturating_add(records).min(self.largest as u64)
    }
}

/// The batch in another codec.
///
/// # Errors
/// `TooLarge` if it takes more than it may, then; what is wrong with the records, if they are not what was found.
///
/// # Panics
/// When `batch` is shorter than a header, which no checked batch is.
pub fn recompressed(batch: &[u8], recoding: Recoding) -> Result<Payload, Flaw> {
    let header = BatchHeader::parse(batch).expect("only checked batches are recompressed");
    let from = header.attributes.codec().expect("the header was checked");
    let Recoding { into, inflated, largest } = recoding;
    if largest < HEADER {
        return Err(Flaw::TooLarge);
    }
    let mut front = Vec::with_capacity(recoding.bound() as usize);
    front.extend_from_slice(&batch[..HEADER]);
    let mut encoder = Encoder::new(into, inflated, front, largest);
    let mut came = 0;
    let taken = compression::inflate(from, &batch[HEADER..], inflated, &mut |piece| {
        came += piece.len() as u64;
        encoder.push(piece)
    });
    let changed = || Flaw::Unreadable("the records are not those that were looked into");
    match taken {
        Ok(taken) if taken == inflated => {}
        Err(InflateError::Stopped(_)) => return Err(Flaw::TooLarge),
        Ok(_) | Err(_) => return Err(changed()),
    }
    assert_eq!(came, inflated, "an encoder gets what it was promised");
    let mut bytes = encoder.finish().map_err(|_| Flaw::TooLarge)?;
    seal(&mut bytes, header.attributes.with_codec(into));
    Ok(Payload(bytes.into_boxed_slice().into()))
}

/// Writes what has changed into the header.
fn seal(batch: &mut [u8], attributes: Attributes) {
    let length = i32::try_from(batch.len() - OVERHEAD).expect("a request is shorter than 2 GiB, and so is a batch");
    batch[8..OVERHEAD].copy_from_slice(&length.to_be_bytes());
    batch[COVERED..COVERED + 2].copy_from_slice(&attributes.0.to_be_bytes());
    let crc = crc32c::crc32c(&batch[COVERED..]);
    batch[CRC_AT..COVERED].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::CheckedBatch;
    use crate::kafka::batch::tests::{batch, compressed, records};
    use bytes::Bytes;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn checked(bytes: &[u8]) -> CheckedBatch {
        let mut checked = CheckedBatch::check(&Bytes::copy_from_slice(bytes)).expect("sound");
        checked.facts = checked.check_records(u64::MAX).expect("sound records");
        checked
    }

    fn content(bytes: &[u8]) -> Vec<u8> {
        let codec = BatchHeader::parse(bytes).and_then(|header| header.attributes.codec()).expect("a batch");
        let mut all = Vec::new();
        let taken = compression::inflate(codec, &bytes[HEADER..], u64::MAX, &mut |piece| {
            all.extend_from_slice(piece);
            Ok::<_, ()>(())
        });
        taken.expect("sound");
        all
    }

    #[test]
    fn between_all_codecs_records_and_header_stay() {
        let plain = batch(60, &records(60));
        for from in ALL {
            let source = if from == Codec::None { plain.clone() } else { compressed(from, 60, &records(60)) };
            let before = checked(&source);
            for into in ALL {
                let recoding = Recoding { into, inflated: before.facts.inflated, largest: 1 << 20 };
                let made = recompressed(&source, recoding).expect("there is room");
                let after = checked(&made);
                assert_eq!(content(&made), content(&plain), "{from:?} to {into:?}");
                assert_eq!(after.facts, before.facts);
                assert!(made.len() as u64 <= recoding.bound());
                let expected = BatchHeader {
                    length: after.header.length,
                    crc: after.header.crc,
                    attributes: before.header.attributes.with_codec(into),
                    ..before.header
                };
                assert_eq!(after.header, expected, "{from:?} to {into:?}");
            }
        }
    }

    #[test]
    fn what_becomes_too_long_is_refused_and_not_made() {
        let plain = batch(60, &records(60));
        let small = compressed(Codec::Zstd, 60, &records(60));
        let inflated = checked(&plain).facts.inflated;
        let into = |into, largest| recompressed(&small, Recoding { into, inflated, largest });
        assert_eq!(into(Codec::None, plain.len()).map(|made| made.len()), Ok(plain.len()));
        for codec in ALL {
            let len = into(codec, 1 << 20).expect("there is room").len();
            assert!(into(codec, len).is_ok(), "{codec:?} to the byte");
            for largest in [0, HEADER, len - 1] {
                assert_eq!(into(codec, largest), Err(Flaw::TooLarge), "{codec:?} in {largest} bytes");
            }
        }
        let lie = Recoding { into: Codec::Gzip, inflated: inflated - 1, largest: 1 << 20 };
        assert!(matches!(recompressed(&small, lie), Err(Flaw::Unreadable(_))));
    }
}
