//! Record batches, made once and sent often.

use bytes::BufMut;
use karst_core::machine::Rng;

/// What is asked of a large batch: safely below Kafka's default of message.max.bytes.
const LARGE: usize = 1_000_000;

const TIME: i64 = 1_700_000_000_000;

/// As many records of `size` bytes as make a batch of about a megabyte, at least one.
pub(super) fn large(size: usize) -> Vec<u8> {
    batch(LARGE / (size + 12), size)
}

/// One record of `size` bytes.
pub(super) fn single(size: usize) -> Vec<u8> {
    batch(1, size)
}

/// A batch of records without keys, whose values are random bytes.
fn batch(records: usize, size: usize) -> Vec<u8> {
    let records = i32::try_from(records.max(1)).expect("a megabyte holds fewer records");
    let mut covered = Vec::new();
    covered.put_i16(0);
    covered.put_i32(records - 1);
    covered.put_i64(TIME);
    covered.put_i64(TIME);
    // No producer id, epoch, or sequence.
    covered.put_i64(-1);
    covered.put_i16(-1);
    covered.put_i32(-1);
    covered.put_i32(records);
    let mut rng = Rng::new(size as u64);
    for record in 0..records {
        put_record(&mut covered, record, size, &mut rng);
    }
    let mut batch = Vec::with_capacity(covered.len() + 21);
    batch.put_i64(0);
    batch.put_i32(i32::try_from(covered.len() + 9).expect("about a megabyte"));
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&covered));
    batch.put_slice(&covered);
    batch
}

fn put_record(out: &mut Vec<u8>, delta: i32, size: usize, rng: &mut Rng) {
    let mut record = vec![0];
    put_varint(&mut record, 0);
    put_varint(&mut record, i64::from(delta));
    put_varint(&mut record, -1);
    put_varint(&mut record, size as i64);
    let end = record.len() + size;
    while record.len() < end {
        record.extend_from_slice(&rng.next_u64().to_be_bytes());
    }
    record.truncate(end);
    put_varint(&mut record, 0);
    put_varint(out, record.len() as i64);
    out.extend_from_slice(&record);
}

/// Zig-zag, seven bits at a time.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use karst_core::kafka::CheckedBatch;
    use karst_core::limits::Limits;

    #[test]
    fn brokers_accept_them() {
        for size in [1, 100, 1024, 900_000] {
            let checked = CheckedBatch::check(&Bytes::from(single(size))).expect("a sound batch");
            assert_eq!(checked.header.record_count(), 1);
            let large = Bytes::from(large(size));
            assert!((LARGE / 2..=Limits::default().batch as usize).contains(&large.len()), "{}", large.len());
            let checked = CheckedBatch::check(&large).expect("a sound batch");
            assert_eq!(checked.header.record_count() as usize, (LARGE / (size + 12)).max(1));
        }
    }
}
