//! The log against a small bucket: requests end in any order, and what has no answer may take effect now, later or never.

mod bench;
mod bucket;
mod fence;
mod fuzz;
mod golden;
mod life;
mod recover;
mod room;

use super::format::Sizes;
use crate::id::{Offset, StreamEpoch, StreamId};
use crate::limits::Limits;
use crate::machine::{Rng, WallTime};
use crate::wal::tests::stamped;
use crate::wal::{Append, Appended, cost};
use alloc::vec;
use alloc::vec::Vec;
use bytes::BufMut;
use core::time::Duration;

/// Length of Kafka's batch header.
const BATCH_HEAD: usize = 61;

/// Sizes of what an object consists of.
const SIZES: Sizes = Sizes { buffer: 4096, data_block: 3000 };

/// A batch of `len` bytes that begins at an offset of a stream; those of stream 0 are an idempotent producer's.
fn an_append(stream: u64, base: u64, len: usize, rng: &mut Rng) -> Append {
    assert!(len >= BATCH_HEAD, "a batch has a header");
    let records = rng.between(1, 5) as u32;
    let max_timestamp = WallTime(rng.below(1 << 40) as i64);
    let mut batch = Vec::with_capacity(len);
    batch.put_u64(0);
    batch.put_u32(len as u32 - 12);
    batch.put_u32(0);
    batch.put_u8(2);
    batch.put_u32(rng.next_u64() as u32);
    batch.put_u16(0);
    batch.put_u32(records - 1);
    batch.put_i64(max_timestamp.0);
    batch.put_i64(max_timestamp.0);
    let (producer, epoch, first) = if stream == 0 { (7, 1, base as i32) } else { (-1, -1, -1) };
    batch.put_i64(producer);
    batch.put_i16(epoch);
    batch.put_i32(first);
    batch.put_u32(records);
    batch.resize_with(len, || rng.next_u64() as u8);
    let (base, end) = (Offset(base), Offset(base + u64::from(records)));
    Append { stream: StreamId(stream), epoch: StreamEpoch(3), base, end, max_timestamp, batch: batch.into() }
}

/// Appends of these lengths, one after the other to so many streams in turn.
fn appends(streams: u64, lens: &[usize], rng: &mut Rng) -> Vec<Append> {
    let mut ends = vec![0; streams as usize];
    let streams = (0..streams).cycle();
    lens.iter()
        .zip(streams)
        .map(|(len, stream)| {
            let append = an_append(stream, ends[stream as usize], *len, rng);
            ends[stream as usize] = append.end.0;
            append
        })
        .collect()
}

/// What must be read back of these: of each stream in order.
fn by_stream<'a>(sent: impl IntoIterator<Item = &'a Append>) -> Vec<Appended> {
    let mut all: Vec<Appended> = sent.into_iter().map(stamped).collect();
    all.sort_by_key(|record| (record.stream, record.base));
    all
}

/// Small limits, and what uncommitted records may cost.
fn tiny(rng: &mut Rng) -> (Limits, u64) {
    let capacity = 4096 * rng.between(8, 64);
    let batch = rng.between(100, 12_000) as u32;
    let limits = Limits {
        batch,
        largest_batch: batch,
        wal_block: 4096 * rng.between(1, 3) as u32,
        wal_depth: rng.between(1, 5) as u32,
        wal_window: rng.between(1, capacity),
        wal_object: rng.between(500, 20_000) as u32,
        wal_object_interval: Duration::from_millis(rng.between(0, 20)),
        wal_objects: rng.between(10, 40) as u32,
        ..Limits::default()
    };
    (limits, capacity.max(2 * cost(batch as usize)))
}
