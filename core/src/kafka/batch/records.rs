//! The records of a batch, as far as a broker must look: are there as many as the header says, one behind the other, and
//! does each hold what it says?
//!
//! ```text
//!  length | attributes u8 | timestamp delta | offset delta | key length | key | value length | value
//!         | count of headers | { key length | key | value length | value } ...
//! ```
//! All numbers but the attributes are zig-zag varints: the timestamp delta of up to 64 bits, the others of up to 32. A key
//! or value of length -1 is null; a header's key is not. Offset deltas count from 0. Records that end elsewhere than they
//! say would stop every consumer that meets them.
//!
//! On its way it notes what a topic's configs may ask about: which records have no key, and the first and last of their
//! times ([`RecordFacts`]).

use super::Codec;
use crate::kafka::compression::{self, InflateError};
use crate::machine::WallTime;

/// What is wrong with the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// They can't be read, for this reason.
    Unreadable(&'static str),
    /// They take more than they may, once decompressed.
    TooLarge,
}

/// What is known of records that were looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordFacts {
    /// Bytes that they take once decompressed.
    pub inflated: u64,
    /// Those without key.
    pub keyless: Keyless,
    /// The earliest and the latest of their times, with the records that have them; `None` if none has a time.
    pub times: Option<(RecordTime, RecordTime)>,
}

/// Records without key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keyless {
    /// How many there are.
    pub count: u32,
    /// Which of the first 64: a bit each, the lowest for the first record.
    pub first: u64,
}

/// The time of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordTime {
    /// When.
    pub at: WallTime,
    /// Which record of its batch, from 0 on.
    pub record: u32,
}

/// The time of a record that has none.
const NO_TIME: WallTime = WallTime(-1);

impl RecordFacts {
    /// The latest of the records' times; -1 if none has a time, or all lie before 1970.
    #[must_use]
    pub fn latest(&self) -> WallTime {
        self.times.map_or(NO_TIME, |(_, latest)| latest.at.max(NO_TIME))
    }

    fn note_keyless(&mut self, record: u32) {
        self.keyless.count += 1;
        self.keyless.first |= 1_u64.checked_shl(record).unwrap_or(0);
    }

    fn note_time(&mut self, at: WallTime, record: u32) {
        if at == NO_TIME {
            return;
        }
        let time = RecordTime { at, record };
        let (earliest, latest) = self.times.unwrap_or((time, time));
        let earliest = if at < earliest.at { time } else { earliest };
        let latest = if at > latest.at { time } else { latest };
        self.times = Some((earliest, latest));
    }
}

/// Records as their batch's header describes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub(super) codec: Codec,
    /// How many.
    pub(super) count: u32,
    /// From where their times count.
    pub(super) base: WallTime,
}

/// Looks into records, which may take `limit` bytes once decompressed. Tells `each` their numbers, from 0, and times.
pub(super) fn check(
    described: Described,
    records: &[u8],
    limit: u64,
    each: &mut dyn FnMut(u32, WallTime),
) -> Result<RecordFacts, Flaw> {
    let Described { codec, count, base } = described;
    let mut walk = Walk::new(count, base, each);
    let inflated = compression::inflate(codec, records, limit, &mut |piece| walk.take(piece));
    let inflated = inflated.map_err(|error| match error {
        InflateError::Malformed(why) | InflateError::Stopped(why) => Flaw::Unreadable(why),
        InflateError::TooLarge => Flaw::TooLarge,
    })?;
    walk.end().map_err(Flaw::Unreadable)?;
    Ok(RecordFacts { inflated, ..walk.facts })
}

/// Goes over records that come in pieces, cut anywhere.
struct Walk<'a> {
    count: u32,
    each: &'a mut dyn FnMut(u32, WallTime),
    /// The current record's.
    time: WallTime,
    /// Records that are behind it.
    seen: u32,
    /// What comes next, once `skip` bytes have passed.
    next: Field,
    skip: usize,
    number: Number,
    /// Bytes of the current record that belong to no field so far.
    left: usize,
    /// Headers of the current record that are still to come.
    headers: u32,
    base: WallTime,
    facts: RecordFacts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Length,
    Attributes,
    Timestamp,
    OffsetDelta,
    KeyLength,
    ValueLength,
    Headers,
    HeaderKeyLength,
    HeaderValueLength,
}

const TOO_LONG: &str = "a record's fields are longer than the record";

impl<'a> Walk<'a> {
    fn new(count: u32, base: WallTime, each: &'a mut dyn FnMut(u32, WallTime)) -> Self {
        Self {
            count,
            each,
            time: base,
            seen: 0,
            next: Field::Length,
            skip: 0,
            number: Number::NONE,
            left: 0,
            headers: 0,
            base,
            facts: RecordFacts::default(),
        }
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<(), &'static str> {
        loop {
            let passed = self.skip.min(piece.len());
            self.skip -= passed;
            piece = &piece[passed..];
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            if self.next != Field::Length {
                self.left = self.left.checked_sub(1).ok_or(TOO_LONG)?;
            }
            if self.next == Field::Attributes {
                self.next = Field::Timestamp;
            } else if let Some(value) = self.number.push(*byte, self.next)? {
                self.field(value)?;
            }
        }
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.next != Field::Length || self.skip > 0 || !self.number.is_none() {
            return Err("the last record is cut short");
        }
        if self.seen < self.count {
            return Err("there are fewer records than the batch's header says");
        }
        Ok(())
    }

    /// A number is complete.
    fn field(&mut self, value: i64) -> Result<(), &'static str> {
        self.next = match self.next {
            Field::Length => {
                if self.seen == self.count {
                    return Err("there are more records than the batch's header says");
                }
                self.left = usize::try_from(value).map_err(|_| "a record's length is negative")?;
                Field::Attributes
            }
            Field::Attributes => unreachable!("attributes are no number"),
            Field::Timestamp => {
                // Whatever the sum of two numbers of 64 bits is: clients wrap it, too.
                self.time = WallTime(self.base.0.wrapping_add(value));
                self.facts.note_time(self.time, self.seen);
                Field::OffsetDelta
            }
            Field::OffsetDelta => {
                if value != i64::from(self.seen) {
                    return Err("the records' offset deltas don't count from 0");
                }
                (self.each)(self.seen, self.time);
                Field::KeyLength
            }
            Field::KeyLength => {
                if value == -1 {
                    self.facts.note_keyless(self.seen);
                }
                self.pass(nullable(value)?)?;
                Field::ValueLength
            }
            Field::ValueLength => {
                self.pass(nullable(value)?)?;
                Field::Headers
            }
            Field::Headers => {
                self.headers = u32::try_from(value).map_err(|_| "a record's count of headers is negative")?;
                self.header_or_end()?
            }
            Field::HeaderKeyLength => {
                self.pass(usize::try_from(value).map_err(|_| "a header has no key")?)?;
                Field::HeaderValueLength
            }
            Field::HeaderValueLength => {
                self.pass(nullable(value)?)?;
                self.headers -= 1;
                self.header_or_end()?
            }
        };
        Ok(())
    }

    /// So many bytes are of no interest.
    fn pass(&mut self, len: usize) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(len).ok_or(TOO_LONG)?;
        self.skip = len;
        Ok(())
    }

    fn header_or_end(&mut self) -> Result<Field, &'static str> {
        if self.headers > 0 {
            return Ok(Field::HeaderKeyLength);
        }
        if self.left > 0 {
            return Err("a record's fields are shorter than the record");
        }
        self.seen += 1;
        Ok(Field::Length)
    }
}

fn nullable(length: i64) -> Result<usize, &'static str> {
    if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_| "a key's or value's length is negative") }
}

/// A zig-zag varint that is still arriving.
#[derive(Debug)]
struct Number {
    value: u64,
    shift: u32,
}

impl Number {
    const NONE: Self = Self { value: 0, shift: 0 };

    const fn is_none(&self) -> bool {
        self.shift == 0
    }

    /// The number, if this byte completes it.
    fn push(&mut self, byte: u8, of: Field) -> Result<Option<i64>, &'static str> {
        let bits = if of == Field::Timestamp { u64::BITS } else { u32::BITS };
        let group = u64::from(byte & 0x7f);
        // What does not come back was shifted out.
        if self.shift >= bits || (group << self.shift) >> self.shift != group {
            return Err("a number in a record never ends");
        }
        self.value |= group << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let Self { value, .. } = core::mem::replace(self, Self::NONE);
        if bits == u32::BITS && value > u64::from(u32::MAX) {
            return Err("a number in a record is too large");
        }
        Ok(Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Rng;
    use alloc::vec::Vec;

    /// No key, a value of two bytes, a header `k` of null.
    fn record(delta: u8) -> [u8; 12] {
        [22, 0, 0, delta << 1, 1, 4, b'a', b'b', 2, 2, b'k', 1]
    }

    fn verdict(records: &[u8], count: u32) -> Result<(), &'static str> {
        facts(records, count, 0).map(|_| ())
    }

    fn facts(records: &[u8], count: u32, base: i64) -> Result<RecordFacts, &'static str> {
        let mut ignore = |_, _| {};
        let mut walk = Walk::new(count, WallTime(base), &mut ignore);
        walk.take(records)?;
        walk.end()?;
        Ok(walk.facts)
    }

    /// The second of two records, with this at that place.
    fn with(at: usize, byte: u8) -> Result<(), &'static str> {
        let mut second = record(1);
        second[at] = byte;
        verdict(&[record(0), second].concat(), 2)
    }

    #[test]
    fn only_whole_records_in_order_that_fill_the_batch_pass() {
        let two = [record(0), record(1)].concat();
        assert_eq!(verdict(&two, 2), Ok(()));
        assert_eq!(verdict(&two, 1), Err("there are more records than the batch's header says"));
        assert_eq!(verdict(&two, 3), Err("there are fewer records than the batch's header says"));
        let unordered = "the records' offset deltas don't count from 0";
        assert_eq!(verdict(&[record(1), record(0)].concat(), 2), Err(unordered));
        assert_eq!(verdict(&[record(0), record(2)].concat(), 2), Err(unordered), "a gap");
        assert_eq!(verdict(&[record(0), record(0)].concat(), 2), Err(unordered), "the same again");
        assert!(verdict(&[&two[..], b"junk"].concat(), 2).is_err(), "something behind the last");
        for len in 0..two.len() {
            assert!(verdict(&two[..len], 2).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn every_length_must_be_right() {
        assert_eq!(with(0, 24), Err("a record's fields are shorter than the record"));
        assert_eq!(with(0, 20), Err(TOO_LONG));
        assert_eq!(with(0, 21), Err("a record's length is negative"));
        assert_eq!(with(0, 0), Err(TOO_LONG));
        assert_eq!(with(4, 3), Err("a key's or value's length is negative"), "a key of -2");
        assert_eq!(with(5, 100), Err(TOO_LONG), "a long value");
        assert_eq!(with(8, 3), Err("a record's count of headers is negative"));
        assert_eq!(with(8, 4), Err("the last record is cut short"), "a header too many");
        assert_eq!(with(8, 0), Err("a record's fields are shorter than the record"), "a header too few");
        assert_eq!(with(9, 1), Err("a header has no key"));
        assert_eq!(with(11, 3), Err("a key's or value's length is negative"), "a header's value of -2");
        assert_eq!(with(1, 0xff), Ok(()), "attributes of records have no meaning");
    }

    #[test]
    fn numbers_end_where_they_must() {
        let never = Err("a number in a record never ends");
        assert_eq!(verdict(&[0xff; 50], 1), never);
        assert_eq!(verdict(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], 1), never, "32 bits have five bytes at most");
        assert_eq!(verdict(&[0xff, 0xff, 0xff, 0xff, 0x1f], 1), Err("a number in a record is too large"));
        let times = |time: &[u8]| {
            let body = [&[0], time, &[0, 1, 1, 0]].concat();
            verdict(&[&[(body.len() as u8) << 1], &body[..]].concat(), 1)
        };
        assert_eq!(times(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(()), "64 bits of time");
        assert_eq!(times(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), never);
    }

    #[test]
    fn keys_and_times_are_noted() {
        let timed = |at: u8, delta: u8| [14, 0, at << 1, delta << 1, 2, b'k', 1, 0];
        let mut records = [timed(7, 0), timed(3, 1)].concat();
        records.extend(record(2));
        records.extend([12, 0, 1, 6, 1, 1, 0]); // one millisecond before the base, no key
        let found = facts(&records, 4, 0).expect("sound");
        assert_eq!(found.keyless, Keyless { count: 2, first: 0b1100 });
        let time = |at, record| RecordTime { at: WallTime(at), record };
        assert_eq!(found.times, Some((time(0, 2), time(7, 0))), "-1 is no time");
        assert_eq!(found.latest(), WallTime(7));
        let later = facts(&records, 4, 100).expect("sound");
        assert_eq!(later.times, Some((time(99, 3), time(107, 0))));
        assert_eq!(facts(&record(0), 1, -1).expect("sound").latest(), WallTime(-1));
        assert_eq!(facts(&record(0), 1, -50).expect("sound").latest(), WallTime(-1));
        let many: Vec<u8> = (0..60).flat_map(record).collect();
        let found = facts(&many, 60, i64::MAX).expect("sound");
        assert_eq!(found.keyless, Keyless { count: 60, first: (1 << 60) - 1 });
        assert_eq!(facts(&timed(1, 0), 1, i64::MAX).expect("it wraps, as clients do").latest(), WallTime(-1));
    }

    #[test]
    fn pieces_are_cut_anywhere() {
        let mut rng = Rng::new(5);
        for _ in 0..5_000 {
            let mut records: Vec<u8> = (0..4).flat_map(record).collect();
            if rng.chance(1, 2) {
                let at = rng.below(records.len() as u64) as usize;
                records[at] = rng.next_u64() as u8;
            }
            let mut ignore = |_, _| {};
            let mut walk = Walk::new(4, WallTime(0), &mut ignore);
            let (first, rest) = records.split_at(rng.below(records.len() as u64) as usize);
            let (second, third) = rest.split_at(rng.below(rest.len() as u64) as usize);
            let pieces = [first, second, third].into_iter().try_for_each(|piece| walk.take(piece));
            assert_eq!(pieces.and_then(|()| walk.end()), verdict(&records, 4));
        }
    }
}
