//! Record batches as a producer makes them: real ones, with unique records. How they are compressed is up to
//! [`pack`](super::pack).
//!
//! Every record's value begins with the number of the write that it belongs to, so that whoever reads it back knows
//! which of a client's attempts it came from.

use crate::oracle::WriteId;
use bytes::{BufMut, Bytes, BytesMut};
use karst_core::kafka::{Codec, compression};
use karst_core::machine::Rng;

/// What to put into a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many records, at least one.
    pub records: u32,
    /// Length of each value in bytes, at least 8.
    pub value: u32,
    /// The time from which those of the records are counted, in milliseconds.
    pub timestamp: i64,
    /// What the records' times are beyond that: four bits each, again and again.
    pub times: u64,
    /// Length of each key in bytes; 0 for none.
    pub key: u32,
}

impl Shape {
    /// What a record's time is beyond the batch's.
    fn delta(self, index: u32) -> i64 {
        (self.times >> (index % 16 * 4) & 0xf).cast_signed()
    }
}

/// Offset of the part of a batch that its CRC covers, and that the broker leaves alone.
pub const STAMPED: usize = 21;

/// Encodes an uncompressed batch (magic 2) for a write.
#[must_use]
pub fn encode(write: WriteId, shape: Shape, rng: &mut Rng) -> Bytes {
    seal(Codec::None, shape, &records(write, shape, rng))
}

/// The records of a batch for a write.
pub(super) fn records(write: WriteId, shape: Shape, rng: &mut Rng) -> BytesMut {
    assert!(shape.records > 0 && shape.value >= 8, "a batch has records, and each names its write");
    let mut records = BytesMut::new();
    for index in 0..shape.records {
        put_record(&mut records, &record(write, index, shape, rng));
    }
    records
}

/// One record with this value.
pub(super) fn record_of(value: &[u8]) -> BytesMut {
    let mut record = beginning(0, 0, 0, value.len());
    record.put_slice(value);
    put_varint(&mut record, 0);
    let mut records = BytesMut::new();
    put_record(&mut records, &record);
    records
}

/// Records without the second.
pub(super) fn without_second(records: &[u8]) -> Vec<u8> {
    let ends: Vec<usize> = std::iter::successors(Some(0), |at| Some(at + record_len(records.get(*at..)?)?)).collect();
    [&records[..ends[1]], &records[ends[2]..]].concat()
}

fn record_len(mut records: &[u8]) -> Option<usize> {
    let before = records.len();
    let len = usize::try_from(take_varint(&mut records)?).ok()?;
    Some(before - records.len() + len)
}

/// The batch that says it has such records, whatever they are.
pub(super) fn seal(codec: Codec, shape: Shape, records: &[u8]) -> Bytes {
    let last_delta = i32::try_from(shape.records - 1).unwrap_or(i32::MAX);
    let mut covered = BytesMut::new();
    covered.put_i16(codec as i16); // attributes: create time
    covered.put_i32(last_delta);
    covered.put_i64(shape.timestamp);
    let latest = (0..shape.records).map(|index| shape.delta(index)).max().unwrap_or(0);
    covered.put_i64(shape.timestamp + latest);
    covered.put_i64(-1); // producer id
    covered.put_i16(-1);
    covered.put_i32(-1);
    covered.put_u32(shape.records);
    covered.put_slice(records);
    let mut batch = BytesMut::with_capacity(STAMPED + covered.len());
    batch.put_i64(0);
    batch.put_i32(i32::try_from(covered.len() + 9).unwrap_or(i32::MAX));
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c(&covered));
    batch.put_slice(&covered);
    batch.freeze()
}

/// The batch as an idempotent producer makes it.
pub(super) fn sequenced(batch: &[u8], producer: i64, epoch: i16, first: i32) -> Bytes {
    let mut sequenced = BytesMut::from(batch);
    sequenced[43..51].copy_from_slice(&producer.to_be_bytes());
    sequenced[51..53].copy_from_slice(&epoch.to_be_bytes());
    sequenced[53..57].copy_from_slice(&first.to_be_bytes());
    let crc = crc32c(&sequenced[STAMPED..]);
    sequenced[17..STAMPED].copy_from_slice(&crc.to_be_bytes());
    sequenced.freeze()
}

/// The write that a batch read back belongs to: the first eight bytes of its first value.
#[must_use]
pub fn write_of(batch: &[u8]) -> Option<WriteId> {
    let records = beginning_of_records(batch)?;
    let mut at = &records[..];
    let _length = take_varint(&mut at)?;
    let _attributes = take(&mut at, 1)?;
    let _timestamp = take_varint(&mut at)?;
    let _offset = take_varint(&mut at)?;
    let key = take_varint(&mut at)?;
    let _key = take(&mut at, usize::try_from(key).unwrap_or(0))?;
    let _value = take_varint(&mut at)?;
    Some(WriteId(u64::from_be_bytes(take(&mut at, 8)?.try_into().ok()?)))
}

/// The times of a batch's records; `None` if they can't be read.
#[must_use]
pub fn times_of(batch: &[u8]) -> Option<Vec<i64>> {
    let base = i64::from_be_bytes(batch.get(27..35)?.try_into().ok()?);
    let mut records = Vec::new();
    let outcome = compression::inflate(codec_of(batch)?, batch.get(61..)?, u64::MAX, &mut |piece| {
        records.extend_from_slice(piece);
        Ok::<(), ()>(())
    });
    outcome.ok()?;
    let mut left = &records[..];
    let mut times = Vec::new();
    while !left.is_empty() {
        let len = usize::try_from(take_varint(&mut left)?).ok()?;
        let mut record = take(&mut left, len)?;
        take(&mut record, 1)?;
        times.push(base + take_varint(&mut record)?);
    }
    Some(times)
}

/// Whether the records of a batch have no keys: all of a batch or none have.
#[must_use]
pub fn has_no_key(batch: &[u8]) -> bool {
    let key = || {
        let records = beginning_of_records(batch)?;
        let mut at = &records[..];
        take_varint(&mut at)?;
        take(&mut at, 1)?;
        take_varint(&mut at)?;
        take_varint(&mut at)?;
        take_varint(&mut at)
    };
    key() == Some(-1)
}

/// The first bytes of a batch's records, decompressed.
fn beginning_of_records(batch: &[u8]) -> Option<Vec<u8>> {
    /// As far as the write's number, if not further.
    const ENOUGH: usize = 64;
    let codec = codec_of(batch)?;
    let mut beginning = Vec::new();
    let outcome = compression::inflate(codec, batch.get(61..)?, u64::MAX, &mut |piece| {
        beginning.extend_from_slice(&piece[..piece.len().min(ENOUGH)]);
        if beginning.len() < ENOUGH { Ok(()) } else { Err(()) }
    });
    match outcome {
        Ok(_) | Err(compression::InflateError::Stopped(())) => Some(beginning),
        Err(_) => None,
    }
}

/// The codec that a batch says it has.
pub(crate) fn codec_of(batch: &[u8]) -> Option<Codec> {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    codecs.get(usize::from(batch.get(22)? & 0b111)).copied()
}

fn put_record(out: &mut BytesMut, record: &[u8]) {
    put_varint(out, i64::try_from(record.len()).unwrap_or(0));
    out.put_slice(record);
}

/// A record up to its value, with a key and a value that are so long.
fn beginning(index: u32, delta: i64, key: u32, value: usize) -> BytesMut {
    let mut record = BytesMut::with_capacity(value + 32);
    record.put_i8(0);
    put_varint(&mut record, delta);
    put_varint(&mut record, i64::from(index));
    if key == 0 {
        put_varint(&mut record, -1); // null key
    } else {
        put_varint(&mut record, i64::from(key));
        record.put_bytes(b'k', key as usize);
    }
    put_varint(&mut record, i64::try_from(value).unwrap_or(0));
    record
}

fn record(write: WriteId, index: u32, shape: Shape, rng: &mut Rng) -> BytesMut {
    let Shape { key, value, .. } = shape;
    let mut record = beginning(index, shape.delta(index), key, value as usize);
    record.put_u64(write.0);
    // Half of the values compress well.
    let word = rng.chance(1, 2).then(|| rng.next_u64());
    let mut left = value as usize - 8;
    while left > 0 {
        let word = word.unwrap_or_else(|| rng.next_u64()).to_be_bytes();
        let take = left.min(word.len());
        record.put_slice(&word[..take]);
        left -= take;
    }
    put_varint(&mut record, 0); // no headers
    record
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Kafka's zig-zag varint.
fn put_varint(out: &mut BytesMut, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}
