//! Batches as producers write them, and every way in which they can be wrong.

use super::*;
pub(crate) use crate::kafka::compression::tests::CODECS;
use crate::kafka::compression::tests::{captured, damage, deflate};
use crate::machine::Rng;
use alloc::vec;
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

/// A batch that says it has `count` records, compressed.
pub(crate) fn compressed(codec: Codec, count: i32, content: &[u8]) -> Vec<u8> {
    let mut bytes = batch(count, &deflate(codec, content));
    bytes[22] = codec as u8;
    seal(&mut bytes);
    bytes
}

/// A batch from that offset on whose records' times are these, counted from `time`, which has no largest time yet.
pub(crate) fn timed(codec: Option<Codec>, base: u64, time: i64, deltas: &[i8]) -> Vec<u8> {
    let mut content = Vec::new();
    for (number, delta) in (0_u8..).zip(deltas) {
        let zigzag = ((delta << 1) ^ (delta >> 7)).cast_unsigned();
        assert!(zigzag < 0x80 && number < 64, "each is one byte");
        content.extend_from_slice(&[12, 0, zigzag, number << 1, 1, 0, 0]);
    }
    let count = i32::try_from(deltas.len()).expect("few");
    let mut bytes = match codec {
        Some(codec) => compressed(codec, count, &content),
        None => batch(count, &content),
    };
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[27..35].copy_from_slice(&time.to_be_bytes());
    let latest = deltas.iter().max().map_or(-1, |delta| time + i64::from(*delta));
    bytes[MAX_TIMESTAMP].copy_from_slice(&latest.to_be_bytes());
    seal(&mut bytes);
    bytes
}

/// Makes the CRC right again after a change.
pub(crate) fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[COVERED..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// What a sound batch is refused with after this change and a new CRC.
fn after(change: impl FnOnce(&mut Vec<u8>)) -> Result<CheckedBatch, ErrorCode> {
    let mut bytes = batch(3, &records(3));
    change(&mut bytes);
    seal(&mut bytes);
    CheckedBatch::check(&bytes.into()).map_err(|refusal| refusal.code)
}

#[test]
fn a_sound_batch_passes_with_its_header() {
    let checked = after(|_| ()).expect("sound");
    assert_eq!((checked.header.record_count(), checked.facts.latest()), (3, WallTime(1_000)));
    assert_eq!((checked.header.base(), checked.header.end()), (Some(Offset(0)), Some(Offset(3))));
    assert_eq!(checked.header.attributes.codec(), Some(Codec::None));
    assert_eq!(checked.bytes.len(), HEADER + 21);
}

#[test]
fn the_largest_time_of_the_records_counts_whatever_the_header_says() {
    let right: Bytes = timed(None, 0, 1_000, &[5, 9, -3]).into();
    for wrong in [0_i64, i64::MAX, 1_008] {
        let mut bytes = right.to_vec();
        bytes[MAX_TIMESTAMP].copy_from_slice(&wrong.to_be_bytes());
        seal(&mut bytes);
        let checked = CheckedBatch::check(&bytes.into()).expect("its CRC is right");
        assert_eq!(checked.facts.latest(), WallTime(1_009));
        assert_eq!(&*retimed(&checked.bytes, BatchTime::Create(checked.facts.latest())), &right);
    }
    for codec in CODECS {
        let checked = CheckedBatch::check(&timed(Some(codec), 0, 1_000, &[5, 9, -3]).into()).expect("sound");
        assert_eq!(checked.check_records(100).expect("sound").latest(), WallTime(1_009));
    }
}

#[test]
fn each_defect_gets_kafkas_error() {
    use ErrorCode::{CorruptMessage, InvalidRecord, InvalidTimestamp, InvalidTxnState};
    let put = |at: usize, bytes: &'static [u8]| {
        after(move |batch| batch[at..at + bytes.len()].copy_from_slice(bytes)).map(|_| ()).unwrap_err()
    };
    assert_eq!(put(7, &[1]), InvalidRecord, "base offset 1");
    assert_eq!(put(0, &[0x80]), InvalidRecord, "negative base offset");
    assert_eq!(put(8, &[0, 0, 0, 48]), CorruptMessage, "length less than a header");
    assert_eq!(put(8, &[0xff; 4]), CorruptMessage, "negative length");
    assert_eq!(put(8, &[0x7f, 0xff, 0xff, 0xff]), InvalidRecord, "length beyond the end");
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
    assert_eq!(put(43, &[0, 0, 0, 0, 0, 0, 0, 7]), InvalidRecord, "a producer without epoch");
    assert_eq!(put(43, &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0]), InvalidRecord, "a producer without sequence");
    assert_eq!(put(43, &[0, 0, 0, 0, 0, 0, 0, 7, 0x80, 0, 0, 0, 0, 0]), InvalidRecord, "a producer's negative epoch");
    let producer = after(|batch| batch[43..57].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 2]));
    let sequenced = crate::producers::Sequenced::of(&producer.expect("sound").header).expect("a producer's");
    assert_eq!((sequenced.producer.0, sequenced.epoch.0), (7, 1));
    assert_eq!((sequenced.first.number(), sequenced.last.number()), (2, 4));
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
    let check =
        |bytes: &[u8]| CheckedBatch::check(&Bytes::copy_from_slice(bytes)).map(|_| ()).map_err(|refusal| refusal.code);
    assert_eq!(check(&[]), Err(ErrorCode::InvalidRecord));
    assert_eq!(check(&[sound.as_slice(), &sound].concat()), Err(ErrorCode::InvalidRecord));
    assert_eq!(check(&[sound.as_slice(), b"?"].concat()), Err(ErrorCode::InvalidRecord));
    for len in 1..sound.len() {
        assert_eq!(check(&sound[..len]), Err(ErrorCode::InvalidRecord), "cut at {len}");
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
    let mut rng = Rng::new(7);
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

/// What is said of a compressed batch of so many records.
fn verdict(codec: Codec, count: i32, content: &[u8]) -> Result<u64, Flaw> {
    let batch = CheckedBatch::check(&compressed(codec, count, content).into()).expect("its header is sound");
    batch.check_records(1 << 20).map(|facts| facts.inflated)
}

#[test]
fn compressed_records_are_held_to_the_same_rules() {
    for codec in CODECS {
        assert_eq!(verdict(codec, 3, &records(3)), Ok(21), "{codec:?}");
        assert_eq!(verdict(codec, 60, &records(60)), Ok(420), "{codec:?}");
        let fewer = verdict(codec, 4, &records(3));
        assert_eq!(fewer, Err(Flaw::Unreadable("there are fewer records than the batch's header says")), "{codec:?}");
        let more = verdict(codec, 2, &records(3));
        assert_eq!(more, Err(Flaw::Unreadable("there are more records than the batch's header says")), "{codec:?}");
        let gap = [records(1), records(3)[14..].to_vec()].concat();
        let gap = verdict(codec, 2, &gap);
        assert_eq!(gap, Err(Flaw::Unreadable("the records' offset deltas don't count from 0")), "{codec:?}");
        for content in [&records(3)[..20], &[records(3), vec![0]].concat(), b"", b"no records at all"] {
            let flaw = verdict(codec, 3, content).expect_err("no three records");
            assert_eq!(flaw.refusal().code, ErrorCode::InvalidRecord, "{codec:?}: {content:?}");
        }
        // A record of two MiB of zeros, which lies within the record that it says.
        let long =
            [&[0xa0, 0x80, 0x80, 0x02, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x02][..], &vec![0; (2 << 20) + 1]].concat();
        assert_eq!(verdict(codec, 1, &long), Err(Flaw::TooLarge), "{codec:?}");
        assert_eq!(Flaw::TooLarge.refusal().code, ErrorCode::MessageTooLarge);
    }
}

#[test]
fn codecs_are_not_taken_for_each_other() {
    for codec in CODECS {
        for wrong in CODECS.into_iter().filter(|wrong| *wrong != codec) {
            let mut bytes = compressed(codec, 3, &records(3));
            bytes[22] = wrong as u8;
            seal(&mut bytes);
            let batch = CheckedBatch::check(&bytes.into()).expect("its header is sound");
            assert!(batch.check_records(1 << 20).is_err(), "{codec:?} as {wrong:?}");
        }
    }
}

#[test]
fn damaged_batches_of_real_clients_are_refused_or_whole() {
    let mut rng = Rng::new(3);
    let (mut refused, mut whole) = (0, 0);
    for sound in captured() {
        let check =
            |bytes: Vec<u8>| CheckedBatch::check(&bytes.into()).expect("its header is sound").check_records(1 << 16);
        assert!(check(sound.to_vec()).is_ok());
        for _ in 0..3_000 {
            let mut content = sound[HEADER..].to_vec();
            damage(&mut rng, &mut content);
            let mut bytes = [&sound[..HEADER], &content].concat();
            let length = (bytes.len() - OVERHEAD) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            seal(&mut bytes);
            match check(bytes) {
                Ok(_) => whole += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 5 * whole && whole > 0, "both fates are tried: {refused} refused, {whole} whole");
}

#[test]
fn a_retimed_batch_differs_in_its_times_alone() {
    let sound = batch(3, &records(3));
    let stamped = retimed(&sound, BatchTime::LogAppend(WallTime(77)));
    assert!(crc_matches(&stamped));
    let header = BatchHeader::parse(&stamped).expect("a batch");
    assert!(header.attributes.is_log_append_time());
    assert_eq!((header.max_timestamp(), header.base_timestamp), (WallTime(77), 1_000));
    assert_eq!((&stamped[..17], &stamped[43..]), (&sound[..17], &sound[43..]));
    let back = retimed(&stamped, BatchTime::Create(WallTime(2_000)));
    assert_eq!(*back, sound, "and back again");
}
