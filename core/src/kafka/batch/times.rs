//! The times of a stored batch's records.

use super::records::{self, Described};
use super::{BatchHeader, Flaw, HEADER};
use crate::id::Offset;
use crate::machine::WallTime;

/// What is looked for among the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Since {
    /// Only records from there on count.
    pub from: Offset,
    /// The first of them that is as late as this, or later.
    pub time: WallTime,
}

/// What the records of a batch have of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Times {
    /// The record that was looked for, with its time.
    pub found: Option<(Offset, WallTime)>,
    /// The largest time of those that count and are earlier.
    pub older: Option<WallTime>,
}

impl Times {
    fn see(&mut self, offset: Offset, time: WallTime, since: Since) {
        if offset < since.from {
            return;
        }
        if time < since.time {
            self.older = self.older.max(Some(time));
        } else if self.found.is_none() {
            self.found = Some((offset, time));
        }
    }
}

/// Looks into the records of a stored batch, which may take `limit` bytes once decompressed.
///
/// Where the times are the broker's, all records have the batch's largest; then nothing needs to be decompressed.
///
/// # Errors
/// When it is no batch whose records can be read within the limit.
pub fn times(batch: &[u8], since: Since, limit: u64) -> Result<Times, Flaw> {
    let header = BatchHeader::parse(batch).ok_or(Flaw::Unreadable("it has no header"))?;
    let (Some(base), Some(codec)) = (header.base(), header.attributes.codec()) else {
        return Err(Flaw::Unreadable("its header makes no sense"));
    };
    let mut times = Times::default();
    let offset = |number: u32| Offset(base.0.saturating_add(number.into()));
    if header.attributes.is_log_append_time() {
        let first = since.from.max(base);
        if header.end().is_some_and(|end| first < end) {
            times.see(first, header.max_timestamp(), since);
        }
        return Ok(times);
    }
    let mut each = |number, time| times.see(offset(number), time, since);
    let described = Described { codec, count: header.record_count(), base: WallTime(header.base_timestamp) };
    records::check(described, &batch[HEADER..], limit, &mut each)?;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::super::Codec;
    use super::super::tests::{CODECS, seal};
    use super::*;
    use alloc::vec::Vec;

    fn timed(codec: Option<Codec>, deltas: &[i8]) -> Vec<u8> {
        super::super::tests::timed(codec, 100, 1_000, deltas)
    }

    fn found(batch: &[u8], from: u64, time: i64) -> (Option<(u64, i64)>, Option<i64>) {
        let since = Since { from: Offset(from), time: WallTime(time) };
        let times = times(batch, since, 1 << 16).expect("a sound batch");
        (times.found.map(|(offset, time)| (offset.0, time.0)), times.older.map(|time| time.0))
    }

    #[test]
    fn the_first_record_from_there_on_that_is_late_enough_is_found() {
        for codec in [None].into_iter().chain(CODECS.map(Some)) {
            let batch = timed(codec, &[5, 1, 9, -3, 9]);
            assert_eq!(found(&batch, 0, 0), (Some((100, 1_005)), None));
            assert_eq!(found(&batch, 100, 1_006), (Some((102, 1_009)), Some(1_005)));
            assert_eq!(found(&batch, 103, 1_006), (Some((104, 1_009)), Some(997)));
            assert_eq!(found(&batch, 101, 1_000), (Some((101, 1_001)), Some(997)));
            assert_eq!(found(&batch, 0, 1_010), (None, Some(1_009)));
            assert_eq!(found(&batch, 103, 1_010), (None, Some(1_009)));
            assert_eq!(found(&batch, 105, 0), (None, None));
        }
    }

    #[test]
    fn all_records_have_the_brokers_time_if_that_is_what_the_batch_has() {
        let mut batch = timed(Some(Codec::Zstd), &[5, 1, 9]);
        batch[22] |= 1 << 3;
        batch[35..43].copy_from_slice(&2_000_i64.to_be_bytes());
        seal(&mut batch);
        assert_eq!(found(&batch, 0, 2_000), (Some((100, 2_000)), None));
        assert_eq!(found(&batch, 102, 1_500), (Some((102, 2_000)), None));
        assert_eq!(found(&batch, 103, 1_500), (None, None));
        assert_eq!(found(&batch, 0, 2_001), (None, Some(2_000)));
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        let since = Since { from: Offset(0), time: WallTime(0) };
        assert!(times(b"short", since, 100).is_err());
        let whole = timed(Some(Codec::Gzip), &[1, 2, 3]);
        assert_eq!(times(&whole, since, 20), Err(Flaw::TooLarge));
        assert!(times(&whole[..whole.len() - 1], since, 100).is_err());
    }
}
