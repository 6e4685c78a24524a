//! Batches as producers write them, and every way in which they can be wrong.

use super::*;
use alloc::vec::Vec;

/// So many records with an empty value each.
pub(crate) fn records(count: u8) -> Vec<u8> {
    (0..count).flat_map(|delta| [12, 0, 0, delta << 1, 1, 0, 0]).collect()
}

/// A batch that says it has `count` records.
pub(crate) fn batch(count: i32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0_i64.to_be_bytes());
    bytes.extend_from_slice(&(HEADER as i32 - OVERHEAD as i32 + content.len() as i32).to_be_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.push(MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&0_i16.to_be_bytes());
    bytes.extend_from_slice(&(count - 1).to_be_bytes());
    bytes.extend_from_slice(&1_000_i64.to_be_bytes());
    bytes.extend_from_slice(&2_000_i64.to_be_bytes());
    bytes.extend_from_slice(&(-1_i64).to_be_bytes());
    bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    assert_eq!(bytes.len(), HEADER);
    bytes.extend_from_slice(content);
    seal(&mut bytes);
    bytes
}

/// Makes the CRC right again after a change.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[COVERED..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// What a sound batch is refused with after this change and a new CRC.
fn after(change: impl FnOnce(&mut Vec<u8>)) -> Result<CheckedBatch, ErrorCode> {
    let mut bytes = batch(3, &records(3));
    change(&mut bytes);
    seal(&mut bytes);
    CheckedBatch::check(&bytes.into())
}

#[test]
fn a_sound_batch_passes_with_its_header() {
    let checked = after(|_| ()).expect("sound");
    assert_eq!((checked.header.record_count(), checked.header.max_timestamp()), (3, WallTime(2_000)));
    assert_eq!((checked.header.base(), checked.header.end()), (Some(Offset(0)), Some(Offset(3))));
    assert_eq!(checked.header.attributes.codec(), Some(Codec::None));
    assert_eq!(checked.bytes.len(), HEADER + 21);
}

#[test]
fn each_defect_gets_kafkas_error() {
    use ErrorCode::{CorruptMessage, InvalidRecord, InvalidTimestamp, InvalidTxnState, UnsupportedVersion};
    let put = |at: usize, bytes: &'static [u8]| {
        after(move |batch| batch[at..at + bytes.len()].copy_from_slice(bytes)).map(|_| ()).unwrap_err()
    };
    assert_eq!(put(8, &[0, 0, 0, 48]), CorruptMessage, "length less than a header");
    assert_eq!(put(8, &[0xff; 4]), CorruptMessage, "negative length");
    assert_eq!(put(8, &[0x7f, 0xff, 0xff, 0xff]), CorruptMessage, "length beyond the end");
    assert_eq!(put(8, &[0, 0, 0, 60]), CorruptMessage, "length within the batch: its CRC covers less");
    assert_eq!(put(16, &[0]), InvalidRecord, "magic 0");
    assert_eq!(put(16, &[1]), InvalidRecord, "magic 1");
    assert_eq!(put(16, &[3]), InvalidRecord, "magic of the future");
    assert_eq!(put(21, &[0, 5]), InvalidRecord, "codec 5");
    assert_eq!(put(21, &[0, 1 << 3]), InvalidTimestamp, "the broker's time");
    assert_eq!(put(21, &[0, 1 << 4]), InvalidTxnState, "transactional");
    assert_eq!(put(21, &[0, 1 << 5]), InvalidRecord, "control");
    assert_eq!(put(21, &[0, 3 << 4]), InvalidRecord, "transactional control");
    assert_eq!(put(23, &[0, 0, 0, 3]), InvalidRecord, "last offset delta");
    assert_eq!(put(23, &[0x7f, 0xff, 0xff, 0xff]), InvalidRecord, "huge last offset delta");
    assert_eq!(put(43, &[0, 0, 0, 0, 0, 0, 0, 7]), UnsupportedVersion, "idempotent");
    assert_eq!(put(57, &[0; 4]), InvalidRecord, "no records");
    assert_eq!(put(57, &[0xff; 4]), InvalidRecord, "negative count");
    let crowded = |codec| {
        after(move |batch| {
            batch[22] = codec;
            batch[23..27].copy_from_slice(&3_i32.to_be_bytes());
            batch[57..61].copy_from_slice(&4_i32.to_be_bytes());
        })
    };
    assert_eq!(crowded(0).map(|_| ()), Err(InvalidRecord), "more records than there is room for");
    assert!(crowded(4).is_ok(), "compressed, there may be room");
    let none = after(|batch| batch[23..27].copy_from_slice(&[0xff; 4])).map(|_| ());
    assert_eq!(none, Err(InvalidRecord), "count 3 and delta -1");
}

#[test]
fn what_is_no_batch_or_more_than_one_is_refused() {
    let sound = batch(1, b"x");
    let check = |bytes: &[u8]| CheckedBatch::check(&Bytes::copy_from_slice(bytes)).map(|_| ());
    assert_eq!(check(&[]), Err(ErrorCode::InvalidRecord));
    assert_eq!(check(&[sound.as_slice(), &sound].concat()), Err(ErrorCode::InvalidRecord));
    assert_eq!(check(&[sound.as_slice(), b"?"].concat()), Err(ErrorCode::InvalidRecord));
    for len in 1..sound.len() {
        assert_eq!(check(&sound[..len]), Err(ErrorCode::CorruptMessage), "cut at {len}");
    }
    for at in COVERED..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        assert_eq!(check(&damaged), Err(ErrorCode::CorruptMessage), "damaged at {at}");
    }
}

#[test]
fn a_stamp_changes_offset_and_epoch_and_nothing_else() {
    let mut bytes = batch(3, &records(3));
    let before = bytes.clone();
    stamp(&mut bytes, Offset(77), StreamEpoch(5));
    assert!(crc_matches(&bytes));
    let header = BatchHeader::parse(&bytes).expect("sound");
    assert_eq!((header.base(), header.end(), header.leader_epoch), (Some(Offset(77)), Some(Offset(80)), 5));
    assert_eq!((&bytes[8..12], &bytes[16..]), (&before[8..12], &before[16..]));
}

#[test]
fn batches_are_skimmed_up_to_a_truncated_one() {
    let parts = [batch(1, b"one"), batch(2, b""), batch(3, b"three")];
    let all = parts.concat();
    for len in 0..=all.len() {
        let mut batches = Batches::new(Bytes::copy_from_slice(&all[..len]));
        let whole: Vec<Batch> = batches.by_ref().collect();
        let ends = [parts[0].len(), parts[0].len() + parts[1].len(), all.len()];
        let expected = ends.iter().filter(|end| **end <= len).count();
        assert_eq!(whole.len(), expected, "cut at {len}");
        let skimmed: usize = whole.iter().map(|batch| batch.bytes.len()).sum();
        assert_eq!(batches.rest().len(), len - skimmed);
        assert!(whole.iter().zip(&parts).all(|(batch, part)| *batch.bytes == part));
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut rng = crate::machine::Rng::new(7);
    let sound = batch(2, b"record");
    for _ in 0..20_000 {
        let mut bytes = [sound.as_slice(), &sound].concat();
        for _ in 0..rng.between(1, 6) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff, 61]).expect("not empty");
        }
        bytes.truncate(rng.between(0, bytes.len() as u64) as usize);
        let bytes = Bytes::from(bytes);
        let _ = CheckedBatch::check(&bytes);
        for batch in Batches::new(bytes) {
            let _ = (batch.header.base(), batch.header.end(), batch.header.record_count());
        }
    }
}
