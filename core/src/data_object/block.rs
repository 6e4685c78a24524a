//! Data blocks: record batches of one stream.

use super::{BlockEntry, VERSION, fields};
use crate::envelope::{self, DecodeError, Fields, HEAD, Kind};
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::{Payload, WallTime};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// Bytes before the first batch, the envelope's head included, without fields.
pub(super) const BLOCK_HEAD: usize = HEAD + 40;

/// One record batch out of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredBatch {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset after its last.
    pub end: Offset,
    /// Its largest timestamp.
    pub max_timestamp: WallTime,
    /// All of it, a slice of the block.
    pub batch: Payload,
}

/// What a block's head says beside its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) object: ObjectId,
    pub(super) stream: StreamId,
    pub(super) start: Offset,
    pub(super) end: Offset,
}

/// The bytes that go before `batches` in the object, and the checksum in them.
pub(super) fn encode_head(head: BlockHead, batches: &[Bytes]) -> (Vec<u8>, u32) {
    let mut fixed = Vec::with_capacity(BLOCK_HEAD - HEAD);
    fixed.put_u64(head.object.0);
    fixed.put_u64(head.stream.0);
    fixed.put_u64(head.start.0);
    fixed.put_u64(head.end.0);
    fixed.put_u32(u32::try_from(batches.len()).expect("a block of 4 GiB holds fewer batches"));
    fixed.put_u32(0);
    // The batches are not copied into one body, hence length and checksum are corrected afterwards.
    let mut out = envelope::seal(Kind::DataBlock, VERSION, &fixed);
    let len = fixed.len() + batches.iter().map(Bytes::len).sum::<usize>();
    let len = u32::try_from(len).expect("blocks are closed far below 4 GiB");
    out[8..12].copy_from_slice(&len.to_be_bytes());
    let crc =
        batches.iter().fold(envelope::checksum(&out[4..12], &fixed), |crc, batch| crc32c::crc32c_append(crc, batch));
    out[12..HEAD].copy_from_slice(&crc.to_be_bytes());
    (out, crc)
}

/// Decodes the block that an index entry names.
///
/// # Errors
/// `Foreign` if it is an intact block, but not this one; otherwise whatever is wrong with it. There is at least one
/// batch in a block without error.
pub fn decode_block(object: ObjectId, entry: &BlockEntry, bytes: &Bytes) -> Result<Vec<StoredBatch>, DecodeError> {
    let (_, body) = envelope::open(Kind::DataBlock, VERSION, bytes)?;
    if bytes.len() != entry.len as usize || body.len() + HEAD != bytes.len() {
        return Err(DecodeError::Malformed);
    }
    let mut body = Fields::new(body);
    let named = (ObjectId(body.u64()?), StreamId(body.u64()?), Offset(body.u64()?), Offset(body.u64()?));
    let count = body.u32()?;
    let room = body.u32()? as usize;
    fields::skip(body.bytes(room)?)?;
    if named != (object, entry.stream, entry.start, entry.end) || stored_checksum(bytes) != Some(entry.crc) {
        return Err(DecodeError::Foreign);
    }
    if count != entry.batches {
        return Err(DecodeError::Malformed);
    }
    split(entry, body.rest())
}

/// Cuts the concatenation of record batches into batches.
fn split(entry: &BlockEntry, mut bytes: Bytes) -> Result<Vec<StoredBatch>, DecodeError> {
    let mut batches: Vec<StoredBatch> = Vec::new();
    while !bytes.is_empty() {
        let batch = first_batch(&mut bytes)?;
        let follows = batches.last().map_or(batch.base == entry.start, |last| batch.base >= last.end);
        if !follows || batches.len() == entry.batches as usize {
            return Err(DecodeError::Malformed);
        }
        batches.push(batch);
    }
    let complete = batches.len() == entry.batches as usize && batches.last().is_some_and(|last| last.end == entry.end);
    if complete { Ok(batches) } else { Err(DecodeError::Malformed) }
}

/// Splits the first batch off, by Kafka's batch header.
fn first_batch(bytes: &mut Bytes) -> Result<StoredBatch, DecodeError> {
    /// Kafka's batch header up to and with the largest timestamp.
    const NEEDED: usize = 43;
    /// Offset and length itself are not counted in a batch's length.
    const UNCOUNTED: usize = 12;
    let mut header = Fields::new(bytes.get(..NEEDED).map(|_| bytes.slice(..NEEDED)).ok_or(DecodeError::Malformed)?);
    let base = header.u64()?;
    let len = header.u32()? as usize;
    header.bytes(11)?;
    let last_delta = header.u32()?;
    header.bytes(8)?;
    let max_timestamp = WallTime(header.i64()?);
    let whole = len.checked_add(UNCOUNTED).filter(|whole| (NEEDED..=bytes.len()).contains(whole));
    let end = base.checked_add(u64::from(last_delta)).and_then(|last| last.checked_add(1));
    let signed = i64::try_from(base).is_ok() && i32::try_from(last_delta).is_ok();
    match (whole, end) {
        (Some(whole), Some(end)) if signed => {
            Ok(StoredBatch { base: Offset(base), end: Offset(end), max_timestamp, batch: bytes.split_to(whole).into() })
        }
        _ => Err(DecodeError::Malformed),
    }
}

fn stored_checksum(bytes: &Bytes) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(12..HEAD)?.try_into().ok()?))
}
