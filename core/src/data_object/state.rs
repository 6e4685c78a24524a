//! State blocks: what is known of a stream's idempotent producers.

use super::{VERSION, fields};
use crate::envelope::{self, DecodeError, Fields, Kind};
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::WallTime;
use crate::producers::{ProducerEpoch, ProducerId, ProducerState, ProducerTable, REMEMBERED, Sequence, Written};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// The most producers of a state block, so that no bytes make a reader hold more.
pub const PRODUCERS: usize = 1 << 16;

pub(super) fn encode_state(object: ObjectId, stream: StreamId, end: Offset, table: &ProducerTable) -> Vec<u8> {
    let mut body = Vec::with_capacity(FIXED + table.producers.len() * (PRODUCER + REMEMBERED * WRITTEN));
    body.put_u64(object.0);
    body.put_u64(stream.0);
    body.put_u64(end.0);
    body.put_u32(0);
    body.put_u32(u32::try_from(table.producers.len()).expect("producers of a partition are bounded"));
    for (id, state) in &table.producers {
        body.put_u64(id.0);
        body.put_u16(state.epoch.0);
        body.put_i64(state.timestamp.0);
        body.put_u8(u8::try_from(state.batches.len()).expect("a few batches are remembered"));
        for Written { first, last, base, stamped } in &state.batches {
            body.put_u32(first.number());
            body.put_u32(last.number());
            body.put_u64(base.0);
            body.put_i64(stamped.map_or(NOT_STAMPED, |time| time.0));
        }
    }
    envelope::seal(Kind::State, VERSION, &body)
}

/// Decodes the state block of a stream whose log it tells up to `end`.
///
/// # Errors
/// `Foreign` if it is another one; else what is wrong. What is returned makes sense: a producer has batches, in order.
pub fn decode_state(
    object: ObjectId,
    stream: StreamId,
    end: Offset,
    bytes: &Bytes,
) -> Result<ProducerTable, DecodeError> {
    let (_, body) = envelope::open(Kind::State, VERSION, bytes)?;
    let mut body = Fields::new(body);
    if (ObjectId(body.u64()?), StreamId(body.u64()?), Offset(body.u64()?)) != (object, stream, end) {
        return Err(DecodeError::Foreign);
    }
    let room = body.u32()? as usize;
    fields::skip(body.bytes(room)?)?;
    let count = body.count(PRODUCER + WRITTEN)?;
    if count > PRODUCERS {
        return Err(DecodeError::Malformed);
    }
    let mut table = ProducerTable::default();
    for _ in 0..count {
        let id = ProducerId(body.u64()?);
        if table.producers.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(DecodeError::Malformed);
        }
        table.producers.insert(id, decode_producer(end, &mut body)?);
    }
    if body.left() == 0 { Ok(table) } else { Err(DecodeError::Malformed) }
}

/// Length of a block's body without producers, of a producer without batches, and of a batch.
const FIXED: usize = 32;
const PRODUCER: usize = 19;
const WRITTEN: usize = 24;
/// In the place of a time that the broker did not give.
const NOT_STAMPED: i64 = i64::MIN;

fn decode_producer(end: Offset, body: &mut Fields) -> Result<ProducerState, DecodeError> {
    let (epoch, timestamp) = (ProducerEpoch(body.u16()?), WallTime(body.i64()?));
    let count = usize::from(body.u8()?);
    if !(1..=REMEMBERED).contains(&count) || i16::try_from(epoch.0).is_err() {
        return Err(DecodeError::Malformed);
    }
    let mut batches: VecDeque<Written> = VecDeque::new();
    for _ in 0..count {
        let (first, last, base) = (sequence(body)?, sequence(body)?, Offset(body.u64()?));
        let stamped = Some(body.i64()?).filter(|time| *time != NOT_STAMPED).map(WallTime);
        let written = Written { first, last, base, stamped };
        let follows = |last: &Written| last.last.next() == written.first && last.base < written.base;
        if !batches.back().is_none_or(follows) || written.base >= end {
            return Err(DecodeError::Malformed);
        }
        batches.push_back(written);
    }
    Ok(ProducerState { epoch, timestamp, batches })
}

fn sequence(body: &mut Fields) -> Result<Sequence, DecodeError> {
    i32::try_from(body.u32()?).ok().and_then(Sequence::of).ok_or(DecodeError::Malformed)
}
