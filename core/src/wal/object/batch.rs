//! A batch of records in the layout of a data object, with a head that says what a recovery has to know: version 2.
//!
//! The records of a stream lie together, in data blocks, so that the object can become data as it is. Its head has what a
//! commit says of each stream, so that a recovery needs to read no more than that. Both are made of the records alone.

use super::format::{Built, HEAD, Sizes, begin_head, len};
use crate::data_object::{self, BlockEntry, ObjectWriter, StoredBatch, id_in_wal};
use crate::envelope::{self, DecodeError, Fields};
use crate::id::{Lsn, ObjectId, Offset, StreamEpoch, StreamId};
use crate::machine::{Rope, WallTime};
use crate::metadata::{CommitObject, CommitRange, CommitState, StateKind};
use crate::upload::CutRange;
use crate::wal::record::{appended, stamp};
use crate::wal::{Append, Appended, Life};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// The version of objects that are made like this.
pub(super) const VERSION: u16 = 2;

/// What stands in the parts of an object that has no number, since its place is beyond what numbers can tell: none has it.
const NUMBERLESS: ObjectId = ObjectId(u64::MAX);

/// Length of the directory without its entries, and of one of these.
const DIRECTORY: usize = 20;
const ENTRY: usize = 56;

/// What the head of an object says about the rest.
#[derive(Debug)]
pub(super) struct Directory {
    /// Of the whole object.
    len: u64,
    tail_len: u32,
    tail_crc: u32,
    ranges: Vec<CommitRange>,
}

/// Writes the object at `seq` with these records, whose streams have one stretch each.
pub(super) fn build(life: &Life, seq: Lsn, appends: &[Append], sizes: Sizes) -> Built {
    let ranges = ranges(appends, sizes.buffer);
    let head_len = HEAD + DIRECTORY + ENTRY * ranges.len();
    let mut writer = ObjectWriter::behind(head_len, life.cluster, number(life, seq), sizes.data_block);
    ranges.iter().for_each(|(_, range)| writer.add(range));
    let object = writer.finish();
    let mut body = Rope::default();
    body.push(head(life, seq, head_len, &object));
    body.append(object.body);
    let mut records: Vec<(usize, Appended)> =
        ranges.into_iter().flat_map(|(places, range)| places.into_iter().zip(range.batches)).collect();
    records.sort_unstable_by_key(|(place, _)| *place);
    Built { body, records: records.into_iter().map(|(_, record)| record).collect() }
}

/// The records by stream, each with its place among the appends.
fn ranges(appends: &[Append], buffer: usize) -> Vec<(Vec<usize>, CutRange)> {
    let mut order: Vec<usize> = (0..appends.len()).collect();
    order.sort_by_key(|place| appends[*place].stream);
    let mut ranges: Vec<(Vec<usize>, CutRange)> = Vec::new();
    let mut left = &order[..];
    while !left.is_empty() {
        let (now, later) = left.split_at(fitting(appends, left, buffer));
        for (place, record) in now.iter().zip(copy(appends, now)) {
            match ranges.last_mut().filter(|(_, range)| range.stream == record.stream) {
                Some((places, range)) => {
                    range.end = record.end;
                    places.push(*place);
                    range.batches.push(record);
                }
                None => ranges.push((Vec::from([*place]), range(record))),
            }
        }
        left = later;
    }
    ranges
}

fn range(first: Appended) -> CutRange {
    let Appended { stream, epoch, base, end, .. } = first;
    CutRange { stream, epoch, start: base, end, batches: Vec::from([first]), producers: None }
}

/// How many of the first ones share a buffer; at least one.
fn fitting(appends: &[Append], places: &[usize], buffer: usize) -> usize {
    let mut sum = 0;
    let more = places.iter().take_while(|place| {
        sum += len(&appends[**place]);
        sum <= buffer
    });
    more.count().max(1)
}

/// These, stamped, in one buffer.
fn copy(appends: &[Append], places: &[usize]) -> Vec<Appended> {
    let mut buffer = BytesMut::with_capacity(places.iter().map(|place| appends[*place].batch.len()).sum());
    for place in places {
        let at = buffer.len();
        buffer.extend_from_slice(&appends[*place].batch);
        stamp(&mut buffer[at..], &appends[*place]);
    }
    let mut buffer = buffer.freeze();
    places.iter().map(|place| appended(&appends[*place], buffer.split_to(appends[*place].batch.len()))).collect()
}

fn head(life: &Life, seq: Lsn, len: usize, object: &data_object::Built) -> Bytes {
    let mut out = begin_head(life, seq, VERSION, 0, len);
    out.put_u64((len + object.body.len()) as u64);
    out.put_u32(u32::try_from(object.tail.len()).expect("an index is far below 4 GiB"));
    out.put_u32(crc32c::crc32c(&object.tail));
    out.put_u32(u32::try_from(object.ranges.len()).expect("an object has far fewer ranges"));
    for range in &object.ranges {
        out.put_u64(range.stream.0);
        out.put_u32(range.epoch.0);
        out.put_u64(range.start.0);
        out.put_u64(range.end.0);
        out.put_i64(range.max_timestamp.0);
        out.put_u64(range.bytes);
        let state = range.producers.map_or((0, 0), |state| (state.at, state.len));
        out.put_u64(state.0);
        out.put_u32(state.1);
    }
    let crc = envelope::checksum(&out[4..12], &out[envelope::HEAD..]);
    out[12..envelope::HEAD].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// What stands as object number in the parts of the object at that place.
fn number(life: &Life, seq: Lsn) -> ObjectId {
    id_in_wal(life.node, life.epoch, seq).unwrap_or(NUMBERLESS)
}

impl Directory {
    /// Reads it from what follows the identity.
    pub(super) fn take(mut fields: Fields) -> Result<Self, DecodeError> {
        let (len, tail_len, tail_crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let count = fields.count(ENTRY)?;
        let mut ranges = Vec::with_capacity(count);
        for _ in 0..count {
            ranges.push(take_range(&mut fields)?);
        }
        let ascends = ranges.is_sorted_by(|one: &CommitRange, next| one.stream < next.stream);
        let is_whole = !ranges.is_empty() && ranges.iter().all(|range| range.start < range.end);
        if !ascends || !is_whole || fields.left() > 0 {
            return Err(DecodeError::Malformed);
        }
        Ok(Self { len, tail_len, tail_crc, ranges })
    }

    /// The object as a commit names it, if it has a number. It is `total` bytes long.
    pub(super) fn object(self, life: &Life, seq: Lsn, total: u64) -> Result<Option<CommitObject>, DecodeError> {
        if self.len != total {
            return Err(DecodeError::Malformed);
        }
        Ok(id_in_wal(life.node, life.epoch, seq).map(|id| CommitObject { id, size: total, ranges: self.ranges }))
    }

    /// The records of the object, of which all bytes are here, by stream.
    pub(super) fn records(&self, life: &Life, seq: Lsn, bytes: &Bytes) -> Result<Vec<Appended>, DecodeError> {
        let tail = bytes.len().checked_sub(self.tail_len as usize).and_then(|at| bytes.get(at..));
        if self.len != bytes.len() as u64 || tail.is_none_or(|tail| crc32c::crc32c(tail) != self.tail_crc) {
            return Err(DecodeError::Malformed);
        }
        let mut blocks = data_object::decode(life.cluster, number(life, seq), bytes)?.into_iter().peekable();
        let mut records = Vec::new();
        for range in &self.ranges {
            let mut at = range.start;
            while let Some((_, batches)) = blocks.next_if(|(entry, _)| follows(entry, range, at)) {
                for batch in batches {
                    if batch.base != at {
                        return Err(DecodeError::Malformed);
                    }
                    at = batch.end;
                    records.push(record(range, batch));
                }
            }
            if at != range.end {
                return Err(DecodeError::Malformed);
            }
            check_state(number(life, seq), range, bytes)?;
        }
        if blocks.next().is_some() { Err(DecodeError::Malformed) } else { Ok(records) }
    }
}

fn check_state(object: ObjectId, range: &CommitRange, bytes: &Bytes) -> Result<(), DecodeError> {
    let Some(CommitState { at, len, .. }) = range.producers else { return Ok(()) };
    let from = usize::try_from(at).map_err(|_| DecodeError::Malformed)?;
    let upto = from.checked_add(len as usize).filter(|upto| *upto <= bytes.len()).ok_or(DecodeError::Malformed)?;
    data_object::decode_state(object, range.stream, range.end, &bytes.slice(from..upto)).map(drop)
}

fn follows(entry: &BlockEntry, range: &CommitRange, at: Offset) -> bool {
    (entry.stream, entry.start) == (range.stream, at)
}

fn record(range: &CommitRange, batch: StoredBatch) -> Appended {
    let StoredBatch { base, end, max_timestamp, batch } = batch;
    Appended { stream: range.stream, epoch: range.epoch, base, end, max_timestamp, batch }
}

fn take_range(fields: &mut Fields) -> Result<CommitRange, DecodeError> {
    let mut range = CommitRange {
        stream: StreamId(fields.u64()?),
        epoch: StreamEpoch(fields.u32()?),
        start: Offset(fields.u64()?),
        end: Offset(fields.u64()?),
        max_timestamp: WallTime(fields.i64()?),
        bytes: fields.u64()?,
        producers: None,
    };
    let (at, len) = (fields.u64()?, fields.u32()?);
    range.producers = (len > 0).then_some(CommitState { kind: StateKind::Range, at, len });
    Ok(range)
}
