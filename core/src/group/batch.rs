//! Records of the log as batches: made here, and taken apart when the log is read back.

use super::record::Record;
use crate::kafka::batch::HEADER;
use crate::kafka::{Batch, Codec};
use crate::machine::WallTime;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// What a record takes besides key and value, at most: length, attributes, two deltas, two lengths, count of headers.
const RECORD: usize = 5 + 1 + 1 + 5 + 5 + 5 + 1;

/// What a batch of these records takes at most.
pub(crate) fn size<'a>(records: impl IntoIterator<Item = &'a Record>) -> usize {
    HEADER + records.into_iter().map(record_size).sum::<usize>()
}

/// What a record takes at most.
pub(crate) fn record_size(record: &Record) -> usize {
    RECORD + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

/// Several batches, none of them longer than `limit`. Each record must fit into one.
pub(crate) fn split(records: Vec<Record>, limit: usize) -> Vec<Vec<Record>> {
    let mut batches = Vec::new();
    let (mut batch, mut len) = (Vec::new(), HEADER);
    for record in records {
        let size = record_size(&record);
        if len + size > limit && !batch.is_empty() {
            batches.push(core::mem::take(&mut batch));
            len = HEADER;
        }
        len += size;
        batch.push(record);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// A batch, its offset and leader epoch to be stamped.
pub(crate) fn encode(records: &[Record], at: WallTime) -> Bytes {
    assert!(!records.is_empty(), "a batch has records");
    let count = i32::try_from(records.len()).expect("a batch is bounded far below that");
    let mut covered = Vec::new();
    covered.put_i16(0);
    covered.put_i32(count - 1);
    covered.put_i64(at.0);
    covered.put_i64(at.0);
    covered.put_i64(-1);
    covered.put_i16(-1);
    covered.put_i32(-1);
    covered.put_i32(count);
    for (delta, record) in (0..).zip(records) {
        put_record(&mut covered, delta, record);
    }
    let mut batch = Vec::with_capacity(21 + covered.len());
    batch.put_i64(0);
    batch.put_i32(i32::try_from(covered.len() + 9).expect("a batch is bounded far below that"));
    batch.put_i32(0);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&covered));
    batch.put_slice(&covered);
    batch.into()
}

/// The records of a batch with their distances from its first offset; `None` if it is not one that was made here.
pub(crate) fn decode(batch: &Batch) -> Option<Vec<Record>> {
    if batch.header.attributes.codec() != Some(Codec::None) || batch.header.attributes.is_control() {
        return None;
    }
    let mut left = batch.bytes.slice(HEADER.min(batch.bytes.len())..);
    let mut records = Vec::new();
    for _ in 0..batch.header.record_count() {
        let len = usize::try_from(varint(&mut left)?).ok()?;
        if len > left.len() {
            return None;
        }
        records.push(take_record(left.split_to(len))?);
    }
    left.is_empty().then_some(records)
}

fn put_record(out: &mut Vec<u8>, delta: i64, record: &Record) {
    let mut body = Vec::with_capacity(record_size(record));
    body.put_u8(0);
    put_varint(&mut body, 0);
    put_varint(&mut body, delta);
    put_sized(&mut body, Some(&record.key));
    put_sized(&mut body, record.value.as_ref());
    put_varint(&mut body, 0);
    put_varint(out, body.len() as i64);
    out.put_slice(&body);
}

fn take_record(mut body: Bytes) -> Option<Record> {
    if body.is_empty() {
        return None;
    }
    let _attributes = body.split_to(1);
    varint(&mut body)?;
    varint(&mut body)?;
    let key = take_sized(&mut body)?.unwrap_or_default();
    let value = take_sized(&mut body)?;
    Some(Record { key, value })
}

fn put_sized(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Copied: a slice would keep the whole buffer that was read.
fn take_sized(body: &mut Bytes) -> Option<Option<Bytes>> {
    let len = varint(body)?;
    if len == -1 {
        return Some(None);
    }
    let len = usize::try_from(len).ok().filter(|len| *len <= body.len())?;
    Some(Some(Bytes::copy_from_slice(&body.split_to(len))))
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left > 0x7f {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.first()?;
        let _ = bytes.split_to(1);
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Batches, CheckedBatch};
    use crate::machine::Rng;
    use alloc::vec;

    fn records(rng: &mut Rng) -> Vec<Record> {
        let bytes = |rng: &mut Rng| Bytes::from(vec![7; *rng.pick(&[0, 1, 63, 64, 300]).expect("some")]);
        let record = |rng: &mut Rng| Record { key: bytes(rng), value: rng.chance(2, 3).then(|| bytes(rng)) };
        (0..=rng.below(100)).map(|_| record(rng)).collect()
    }

    #[test]
    fn batches_are_sound_and_come_back_as_they_were() {
        let mut rng = Rng::new(4);
        for _ in 0..200 {
            let records = records(&mut rng);
            let bytes = encode(&records, WallTime(1_700_000_000_000));
            assert!(bytes.len() <= size(&records));
            assert!(CheckedBatch::check(&bytes).is_ok(), "as a producer's would be checked");
            let batch = Batches::new(bytes).next().expect("a batch");
            assert_eq!(decode(&batch), Some(records));
        }
    }

    #[test]
    fn a_limit_is_kept_and_nothing_lost() {
        let mut rng = Rng::new(5);
        for _ in 0..100 {
            let all = records(&mut rng);
            let batches = split(all.clone(), 1_000);
            assert!(batches.iter().all(|batch| encode(batch, WallTime(0)).len() <= 1_000));
            assert_eq!(batches.concat(), all);
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut rng = Rng::new(6);
        for _ in 0..2_000 {
            let mut bytes = encode(&records(&mut rng), WallTime(0)).to_vec();
            for _ in 0..3 {
                let at = rng.between(HEADER as u64, bytes.len() as u64 - 1) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            let batch = Batches::new(bytes.into()).next().expect("its header is sound");
            let _ = decode(&batch);
        }
    }
}
