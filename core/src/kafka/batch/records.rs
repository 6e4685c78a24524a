//! The records of a batch, as far as a broker must look: are there as many as the header says, one behind the other?
//!
//! ```text
//!  length varint | attributes i8 | timestamp delta varint | offset delta varint | key, value, headers ...
//! ```
//! Records that end elsewhere than they say would stop every consumer that meets them.

/// Whether uncompressed records are `count` whole ones, numbered from 0, with nothing behind the last. Keys, values and
/// headers are not looked into.
pub(super) fn are_whole(mut records: &[u8], count: u32) -> bool {
    for index in 0..i64::from(count) {
        let Some(length) = varint(&mut records).and_then(|length| usize::try_from(length).ok()) else { return false };
        let Some((record, rest)) = records.split_at_checked(length) else { return false };
        if offset_delta(record) != Some(index) {
            return false;
        }
        records = rest;
    }
    records.is_empty()
}

fn offset_delta(record: &[u8]) -> Option<i64> {
    let (_attributes, mut rest) = record.split_first()?;
    varint(&mut rest)?;
    varint(&mut rest)
}

/// Kafka's zig-zag number of up to ten bytes.
fn varint(from: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::are_whole;

    /// A record of eight bytes behind its length: no key, an empty value, two headers' worth of nothing.
    fn record(delta: u8) -> [u8; 9] {
        [16, 0, 0, delta << 1, 1, 0, 0, 0, 0]
    }

    #[test]
    fn only_whole_records_in_order_that_fill_the_batch_pass() {
        let two = [record(0), record(1)].concat();
        assert!(are_whole(&two, 2));
        assert!(!are_whole(&two, 1), "a record too many");
        assert!(!are_whole(&two, 3), "a record too few");
        assert!(!are_whole(&[record(1), record(0)].concat(), 2), "out of order");
        assert!(!are_whole(&[record(0), record(2)].concat(), 2), "a gap");
        assert!(!are_whole(&[&two[..], b"junk"].concat(), 2), "something behind the last");
        assert!(!are_whole(&[0xff; 50], 1), "a length that never ends");
        for len in 0..two.len() {
            assert!(!are_whole(&two[..len], 2), "cut at {len}");
        }
    }
}
