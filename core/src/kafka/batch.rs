//! Record batches, seen through their header alone: the records stay as the producer wrote them.
//!
//! ```text
//!   0         8        12       16      17      21      23            27
//!   +---------+--------+--------+-------+-------+-------+-------------+- - -
//!   | base    | length | leader | magic | CRC32C| attri-| last offset |
//!   | offset  |        | epoch  | (2)   |       | butes | delta       |
//!   +---------+--------+--------+-------+-------+-------+-------------+- - -
//!  27         35         43         51         53         57       61
//!   +---------+----------+----------+----------+----------+--------+- - - - -
//!   | base    | max      | producer | producer | base     | record | records
//!   | time    | time     | id       | epoch    | sequence | count  |
//!   +---------+----------+----------+----------+----------+--------+- - - - -
//! ```
//! All numbers are big-endian. The length counts what follows it. The CRC covers everything from the attributes on, so
//! the broker may write base offset and leader epoch without touching it. Attributes: bits 0 to 2 codec, 3 timestamp
//! type (1: the broker's), 4 transactional, 5 control.

mod recompressed;
mod records;
mod times;

pub use recompressed::{Recoding, recompressed};
pub use records::{Flaw, Keyless, RecordFacts, RecordTime};
pub use times::{Since, Times, times};

use records::Described;

use super::error::{ErrorCode, Refusal};
use crate::id::{Offset, StreamEpoch};
use crate::machine::{Payload, WallTime};
use bytes::Bytes;
use core::ops::Range;

/// Length of a batch header.
pub const HEADER: usize = 61;

/// Base offset and length, which the length does not count.
pub const OVERHEAD: usize = 12;
/// Where the magic is, in this and all earlier formats.
const MAGIC_AT: usize = 16;
/// Where the CRC is, and its cover begins.
const CRC_AT: usize = 17;
const COVERED: usize = 21;
/// Where the largest of the records' times is.
const MAX_TIMESTAMP: Range<usize> = 35..43;
const MAGIC: u8 = 2;
/// The bit of the attributes' lower byte that says that the times are the broker's.
const LOG_APPEND_TIME: u8 = 1 << 3;
/// Length, attributes, two deltas, two lengths and a count of headers: a byte each at least.
const SMALLEST_RECORD: usize = 7;

/// A batch's header, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    /// Epoch of the leader that accepted it.
    pub leader_epoch: i32,
    /// CRC32C from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record, less the first's.
    pub last_offset_delta: i32,
    /// The time from which the records' times are counted.
    pub base_timestamp: i64,
    /// The largest of the records' times.
    pub max_timestamp: i64,
    /// The idempotent or transactional producer; -1 if it is neither.
    pub producer_id: i64,
    /// That producer's epoch.
    pub producer_epoch: i16,
    /// That producer's number of the first record.
    pub base_sequence: i32,
    /// How many records.
    pub count: i32,
}

/// Codec and flags of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

/// How records are compressed, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// By gzip.
    Gzip = 1,
    /// By Snappy.
    Snappy = 2,
    /// By LZ4.
    Lz4 = 3,
    /// By Zstandard.
    Zstd = 4,
}

impl Attributes {
    /// The codec, if Kafka knows it.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        Some(match self.0 & 0b111 {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    /// The same, with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !0b111 | codec as i16)
    }

    /// Whether the times are the broker's and not the producer's.
    #[must_use]
    pub const fn is_log_append_time(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Whether it holds a transaction's end instead of records.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

impl BatchHeader {
    /// The header at the front of `bytes`; `None` if that is cut short, of another format, or its length can't be.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let parsed = Self {
            base_offset: i64::from_be_bytes(field(header, 0)),
            length: i32::from_be_bytes(field(header, 8)),
            leader_epoch: i32::from_be_bytes(field(header, 12)),
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: Attributes(i16::from_be_bytes(field(header, 21))),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            count: i32::from_be_bytes(field(header, 57)),
        };
        let legal = header[MAGIC_AT] == MAGIC && parsed.size().is_some();
        legal.then_some(parsed)
    }

    /// Length of the whole batch in bytes; `None` if the length field is less than a header's.
    fn size(&self) -> Option<usize> {
        usize::try_from(self.length).ok()?.checked_add(OVERHEAD).filter(|size| *size >= HEADER)
    }

    /// How many records.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(0)
    }

    /// The largest of the records' times.
    #[must_use]
    pub const fn max_timestamp(&self) -> WallTime {
        WallTime(self.max_timestamp)
    }

    /// The time that the broker gave the records, if it did.
    #[must_use]
    pub fn append_time(&self) -> Option<WallTime> {
        self.attributes.is_log_append_time().then(|| self.max_timestamp())
    }

    /// Offset of the first record; `None` if it is negative.
    #[must_use]
    pub fn base(&self) -> Option<Offset> {
        u64::try_from(self.base_offset).ok().map(Offset)
    }

    /// Offset after the last record; `None` if that makes no sense.
    #[must_use]
    pub fn end(&self) -> Option<Offset> {
        let delta = u64::try_from(self.last_offset_delta).ok()?;
        self.base()?.0.checked_add(delta)?.checked_add(1).map(Offset)
    }
}

fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    core::array::from_fn(|i| header[at + i])
}

/// Whether a whole batch matches its CRC. What is too short for a header does not.
#[must_use]
pub fn crc_matches(batch: &[u8]) -> bool {
    BatchHeader::parse(batch)
        .and_then(|header| Some(crc32c::crc32c(batch.get(COVERED..header.size()?)?) == header.crc))
        .unwrap_or(false)
}

/// Writes what only the broker knows into a batch: the offset of its first record and the epoch of its leader.
///
/// # Panics
/// When `batch` is shorter than a header, which no checked batch is.
pub fn stamp(batch: &mut [u8], base: Offset, epoch: StreamEpoch) {
    assert!(batch.len() >= HEADER, "only checked batches are stamped");
    let base = i64::try_from(base.0).expect("no stream ever holds 2^63 records");
    let epoch = i32::try_from(epoch.0).expect("no stream is ever opened 2^31 times");
    batch[0..8].copy_from_slice(&base.to_be_bytes());
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
}

/// What a broker may say about the times of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchTime {
    /// The records' times are the producer's; this is the largest.
    Create(WallTime),
    /// They all count as appended at that time.
    LogAppend(WallTime),
}

/// A copy of the batch with these times in its header, and the CRC that follows from them.
///
/// # Panics
/// When `batch` is shorter than a header, which no checked batch is.
#[must_use]
pub fn retimed(batch: &[u8], time: BatchTime) -> Payload {
    assert!(batch.len() >= HEADER, "only checked batches get times");
    let mut copy = batch.to_vec();
    let (max, flag) = match time {
        BatchTime::Create(max) => (max, 0),
        BatchTime::LogAppend(now) => (now, LOG_APPEND_TIME),
    };
    copy[22] = copy[22] & !LOG_APPEND_TIME | flag;
    copy[MAX_TIMESTAMP].copy_from_slice(&max.0.to_be_bytes());
    let crc = crc32c::crc32c(&copy[COVERED..]);
    copy[CRC_AT..COVERED].copy_from_slice(&crc.to_be_bytes());
    Payload(copy.into())
}

/// One batch of a producer: complete, of the current format, its CRC verified. It may be appended once its records
/// were looked at, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckedBatch {
    /// Its header; once the records were looked at, with the largest of their times, whatever the bytes say.
    pub header: BatchHeader,
    /// All of it, header included, as it came.
    pub bytes: Payload,
    /// What is known of its records; nothing, as long as they are compressed and nobody has looked.
    pub facts: RecordFacts,
}

impl CheckedBatch {
    /// Checks the records of one partition of a produce request, but for what is compressed.
    ///
    /// # Errors
    /// Kafka's own for the defect:
    /// - `INVALID_RECORD`: no batch, one that is cut short, more than one, an older format, an unknown codec, a base offset other than 0, a count
    ///   that can't be, a control batch, a producer without epoch or sequence, or uncompressed records that don't fill the batch one behind the other;
    /// - `CORRUPT_MESSAGE`: a length that can't be, or a CRC that does not match;
    /// - `INVALID_TIMESTAMP`: the times claim to be the broker's;
    /// - `INVALID_TXN_STATE`: a transaction, of which there are none.
    pub fn check(records: &Bytes) -> Result<Self, Refusal> {
        let cut_short = ErrorCode::InvalidRecord.because("the batch is cut short");
        match records.get(MAGIC_AT) {
            None if records.is_empty() => return Err(ErrorCode::InvalidRecord.because("there are no records")),
            None => return Err(cut_short),
            Some(&MAGIC) => {}
            Some(_) => return Err(ErrorCode::InvalidRecord.because("the batch is not of magic 2")),
        }
        let corrupt = ErrorCode::CorruptMessage.because("the batch's length or CRC does not match");
        if records.len() < HEADER {
            return Err(cut_short);
        }
        let header = BatchHeader::parse(records).ok_or(corrupt)?;
        let size = header.size().ok_or(corrupt)?;
        if records.len() < size {
            return Err(cut_short);
        }
        if !crc_matches(records) {
            return Err(corrupt);
        }
        if records.len() > size {
            return Err(ErrorCode::InvalidRecord.because("something follows the batch"));
        }
        check_header(&header)?;
        let mut checked = Self { header, bytes: Payload(records.clone()), facts: RecordFacts::default() };
        if !checked.is_compressed() {
            checked.facts = checked.check_records(u64::MAX).map_err(Flaw::refusal)?;
        }
        Ok(checked)
    }

    /// Whether its records are still to be looked into.
    pub(crate) fn is_compressed(&self) -> bool {
        self.header.attributes.codec() != Some(Codec::None)
    }

    /// Looks into the records, which may take `limit` bytes once decompressed.
    pub(crate) fn check_records(&self, limit: u64) -> Result<RecordFacts, Flaw> {
        let codec = self.header.attributes.codec().expect("the header was checked");
        let base = WallTime(self.header.base_timestamp);
        let described = Described { codec, count: self.header.record_count(), base };
        records::check(described, &self.bytes[HEADER..], limit, &mut |_, _| {})
    }
}

impl Flaw {
    /// What the producer is told. The CRC matches, so the records are what the producer made of them, and
    /// `CORRUPT_MESSAGE`, by which clients send the same again, would be of no use: also what can't be decompressed gets
    /// `INVALID_RECORD`.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Unreadable(why) => ErrorCode::InvalidRecord.because(why),
            Self::TooLarge => ErrorCode::MessageTooLarge.because("the records are too large once decompressed"),
        }
    }

    /// The same of a batch that its topic wants in another codec.
    pub(crate) const fn recompressed(self) -> Refusal {
        match self {
            Self::Unreadable(why) => ErrorCode::InvalidRecord.because(why),
            Self::TooLarge => ErrorCode::MessageTooLarge.because("the batch is too large in its topic's compression"),
        }
    }
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let invalid = |why| Err(ErrorCode::InvalidRecord.because(why));
    if header.base_offset != 0 {
        return invalid("a client's batch begins at offset 0: the broker gives it its own");
    }
    if header.attributes.is_control() {
        return invalid("clients may not write control records");
    }
    let Some(codec) = header.attributes.codec() else { return invalid("the codec is unknown") };
    let body = header.size().unwrap_or(0).saturating_sub(HEADER);
    let is_crowded = codec == Codec::None && header.record_count() as usize > body / SMALLEST_RECORD;
    if header.count <= 0 || is_crowded {
        return invalid("the batch's count of records can't be");
    }
    if i64::from(header.count) != i64::from(header.last_offset_delta) + 1 {
        return invalid("the batch's count of records and its last offset delta differ");
    }
    if header.attributes.is_transactional() {
        return Err(ErrorCode::InvalidTxnState.because("there is no such transaction"));
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return invalid("a producer's epoch and sequence begin at 0");
    }
    if header.attributes.is_log_append_time() {
        return Err(ErrorCode::InvalidTimestamp.because("the times claim to be the broker's"));
    }
    Ok(())
}

/// One of several batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    /// All of it, header included.
    pub bytes: Payload,
}

/// The batches in their concatenation, by their headers alone: CRCs are not verified. It ends before the first that is
/// cut short or none, whatever the bytes are.
#[derive(Clone, Debug)]
pub struct Batches {
    left: Bytes,
}

impl Batches {
    /// Of these bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { left: bytes }
    }

    /// What was not returned yet. Once the iterator has ended, nothing unless the last batch is cut short or damaged.
    #[must_use]
    pub const fn rest(&self) -> &Bytes {
        &self.left
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let header = BatchHeader::parse(&self.left)?;
        let size = header.size().filter(|size| *size <= self.left.len())?;
        Some(Batch { header, bytes: Payload(self.left.split_to(size)) })
    }
}

#[cfg(test)]
pub(crate) mod tests;
