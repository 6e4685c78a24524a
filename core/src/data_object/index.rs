//! The index block: what is where in an object.

use super::block::BLOCK_HEAD;
use super::{Footer, VERSION, fields};
use crate::envelope::{self, DecodeError, Fields, HEAD, Kind};
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::WallTime;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// One data block, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockEntry {
    /// Whose records.
    pub stream: StreamId,
    /// First offset.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Position in the object.
    pub at: u64,
    /// Length, its envelope included.
    pub len: u32,
    /// How many record batches, at least one.
    pub batches: u32,
    /// Largest timestamp of a record in it.
    pub max_timestamp: WallTime,
    /// The checksum in its envelope.
    pub crc: u32,
}

impl BlockEntry {
    /// The block, if it is in `bytes`, which is the part of the object from `origin` on.
    #[must_use]
    pub fn block_in(&self, origin: u64, bytes: &Bytes) -> Option<Bytes> {
        super::slice(origin, bytes, self.at, self.len)
    }

    /// Position after it.
    const fn after(&self) -> u64 {
        self.at + self.len as u64
    }
}

/// Adjacent blocks to be read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Position of the first.
    pub at: u64,
    /// Length of all of them.
    pub len: u64,
    /// They; at least one.
    pub blocks: Vec<BlockEntry>,
}

/// An object's data blocks by (stream, offset), ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index(Vec<BlockEntry>);

impl Index {
    /// `states` is what the field about state blocks holds.
    pub(super) fn encode(object: ObjectId, entries: &[BlockEntry], states: &[u8]) -> Vec<u8> {
        let mut room = Vec::new();
        if !states.is_empty() {
            fields::put(STATES, states, &mut room);
        }
        let mut body = Vec::with_capacity(16 + room.len() + entries.len() * ENTRY);
        body.put_u64(object.0);
        body.put_u32(u32::try_from(entries.len()).expect("an object has far fewer blocks"));
        body.put_u32(u32::try_from(room.len()).expect("an object has far fewer state blocks"));
        body.put_slice(&room);
        for entry in entries {
            body.put_u64(entry.stream.0);
            body.put_u64(entry.start.0);
            body.put_u64(entry.end.0);
            body.put_u64(entry.at);
            body.put_u32(entry.len);
            body.put_u32(entry.batches);
            body.put_i64(entry.max_timestamp.0);
            body.put_u32(entry.crc);
        }
        envelope::seal(Kind::IndexBlock, VERSION, &body)
    }

    /// Decodes the index block that a footer names.
    ///
    /// # Errors
    /// `Foreign` if it is another object's; `Malformed` if entries are out of order or overlap; else what is wrong.
    pub fn decode(object: ObjectId, footer: &Footer, bytes: &Bytes) -> Result<Self, DecodeError> {
        let (_, body) = envelope::open(Kind::IndexBlock, VERSION, bytes)?;
        if bytes.len() != footer.index_len as usize || body.len() + HEAD != bytes.len() {
            return Err(DecodeError::Malformed);
        }
        let mut body = Fields::new(body);
        if body.u64()? != object.0 {
            return Err(DecodeError::Foreign);
        }
        let count = body.count(ENTRY)?;
        let room = body.u32()? as usize;
        fields::skip(body.bytes(room)?)?;
        if count.checked_mul(ENTRY) != Some(body.left()) {
            return Err(DecodeError::Malformed);
        }
        let mut entries: Vec<BlockEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = decode_entry(&mut body)?;
            if !fits(entries.last(), &entry, footer.index_at) {
                return Err(DecodeError::Malformed);
            }
            entries.push(entry);
        }
        Ok(Self(entries))
    }

    /// All blocks, by (stream, offset), ascending.
    #[must_use]
    pub fn entries(&self) -> &[BlockEntry] {
        &self.0
    }

    /// The blocks of one stream, by offset, ascending.
    #[must_use]
    pub fn of(&self, stream: StreamId) -> &[BlockEntry] {
        let from = self.0.partition_point(|entry| entry.stream < stream);
        let to = self.0.partition_point(|entry| entry.stream <= stream);
        &self.0[from..to]
    }

    /// The block that holds `offset`, or the next record after it, and all of the stream after it.
    #[must_use]
    pub fn from(&self, stream: StreamId, offset: Offset) -> &[BlockEntry] {
        let blocks = self.of(stream);
        &blocks[blocks.partition_point(|entry| entry.end <= offset)..]
    }

    /// The first block from there on that has a record of that time or later, and the largest time in those before it.
    #[must_use]
    pub fn seek(&self, stream: StreamId, offset: Offset, since: WallTime) -> (Option<Plan>, Option<WallTime>) {
        let mut older = None;
        for entry in self.from(stream, offset) {
            if entry.max_timestamp >= since {
                let plan = Plan { at: entry.at, len: entry.len.into(), blocks: alloc::vec![*entry] };
                return (Some(plan), older);
            }
            older = older.max(Some(entry.max_timestamp));
        }
        (None, older)
    }

    /// The block that holds `offset` (or the next record after it) and those after it, until they hold `max_bytes`
    /// together, would take more than `room`, or are not adjacent. `None` if the stream has nothing at or after `offset`
    /// here.
    #[must_use]
    pub fn plan(&self, stream: StreamId, offset: Offset, (max_bytes, room): (u64, u64)) -> Option<Plan> {
        let blocks = self.from(stream, offset);
        let first = blocks.first()?;
        let (mut wanted, mut len) = (0, 0);
        for entry in blocks {
            let is_enough = len >= max_bytes || len + u64::from(entry.len) > room;
            if entry.at != first.at + len || (wanted > 0 && is_enough) {
                break;
            }
            wanted += 1;
            len += u64::from(entry.len);
        }
        Some(Plan { at: first.at, len, blocks: blocks[..wanted].to_vec() })
    }
}

/// The field that names the state blocks.
const STATES: u16 = 0x0003;

/// Length of an entry.
const ENTRY: usize = 52;

fn decode_entry(body: &mut Fields) -> Result<BlockEntry, DecodeError> {
    Ok(BlockEntry {
        stream: StreamId(body.u64()?),
        start: Offset(body.u64()?),
        end: Offset(body.u64()?),
        at: body.u64()?,
        len: body.u32()?,
        batches: body.u32()?,
        max_timestamp: WallTime(body.i64()?),
        crc: body.u32()?,
    })
}

/// Whether an entry may follow `last` in an object whose blocks end at `limit` at the latest.
fn fits(last: Option<&BlockEntry>, entry: &BlockEntry, limit: u64) -> bool {
    let ordered = last.is_none_or(|last| {
        entry.at >= last.after()
            && (entry.stream > last.stream || (entry.stream == last.stream && entry.start >= last.end))
    });
    let within = entry.at.checked_add(u64::from(entry.len)).is_some_and(|after| after <= limit);
    ordered && within && entry.start < entry.end && entry.batches > 0 && entry.len as usize > BLOCK_HEAD
}
