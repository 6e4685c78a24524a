//! Record batches for tests: real ones, as Kafka's format has them.

use crate::id::{ClusterId, Offset, StreamEpoch, StreamId};
use crate::kafka::batch::{BatchTime, retimed};
use crate::machine::{Rng, WallTime};
use crate::upload::CutRange;
use crate::wal::Appended;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// The cluster that objects of tests are of.
pub(crate) const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

/// A batch of `records` records with values of `len` bytes drawn from `rng`.
pub(crate) fn batch(stream: u64, epoch: u32, base: u64, records: u32, len: usize, rng: &mut Rng) -> Appended {
    assert!(records > 0, "a batch has records");
    let max_timestamp = WallTime(1_700_000_000_000 + rng.below(1_000_000) as i64);
    let mut content = Vec::new();
    content.put_u16(0);
    content.put_u32(records - 1);
    content.put_i64(max_timestamp.0);
    content.put_i64(max_timestamp.0);
    content.put_i64(-1);
    content.put_i16(-1);
    content.put_i32(-1);
    content.put_u32(records);
    for delta in 0..records {
        record(&mut content, delta, len, rng);
    }
    let mut bytes = Vec::new();
    bytes.put_u64(base);
    bytes.put_u32(content.len() as u32 + 9);
    bytes.put_u32(epoch);
    bytes.put_u8(2);
    bytes.put_u32(crc32c::crc32c(&content));
    bytes.put_slice(&content);
    Appended {
        stream: StreamId(stream),
        epoch: StreamEpoch(epoch),
        base: Offset(base),
        end: Offset(base + u64::from(records)),
        max_timestamp,
        batch: bytes.into(),
    }
}

/// The batch as a client sends it: where it lands is the broker's matter.
pub(crate) fn sent(batch: &Appended) -> Bytes {
    let mut bytes = batch.batch.to_vec();
    bytes[0..8].fill(0);
    bytes.into()
}

/// The batch as an idempotent producer would have made it.
pub(crate) fn sequenced(batch: &Appended, producer: u64, epoch: i16, first: i32) -> Appended {
    let mut bytes = batch.batch.to_vec();
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
    bytes[53..57].copy_from_slice(&first.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Appended { batch: bytes.into(), ..batch.clone() }
}

/// The batch as a broker makes it that gives its records the time.
pub(crate) fn stamped(batch: &Appended, time: i64) -> Appended {
    let max_timestamp = WallTime(time);
    Appended { batch: retimed(&batch.batch, BatchTime::LogAppend(max_timestamp)), max_timestamp, ..batch.clone() }
}

/// `batches` batches from `start` on, of random sizes.
pub(crate) fn range(stream: u64, start: u64, batches: usize, rng: &mut Rng) -> CutRange {
    let mut at = start;
    let mut next = |rng: &mut Rng| {
        let (records, len) = (1 + rng.below(4) as u32, rng.below(60) as usize);
        let batch = batch(stream, 3, at, records, len, rng);
        at = batch.end.0;
        batch
    };
    range_of((0..batches).map(|_| next(rng)).collect())
}

/// The range of these batches.
pub(crate) fn range_of(batches: Vec<Appended>) -> CutRange {
    let (first, last) = (&batches[0], &batches[batches.len() - 1]);
    CutRange { stream: first.stream, epoch: first.epoch, start: first.base, end: last.end, batches, producers: None }
}

fn record(out: &mut Vec<u8>, delta: u32, len: usize, rng: &mut Rng) {
    let mut body = Vec::new();
    body.put_u8(0);
    varint(&mut body, 0);
    varint(&mut body, i64::from(delta));
    varint(&mut body, -1);
    varint(&mut body, len as i64);
    body.extend((0..len).map(|_| b'a' + rng.below(26) as u8));
    varint(&mut body, 0);
    varint(out, body.len() as i64);
    out.put_slice(&body);
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left > 0x7f {
        out.put_u8(left as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}
