//! A record: one record batch and where it belongs, cut into fragments where it crosses blocks.
//!
//! ```text
//!  0         8       12        20        28              36           40
//!  +---------+-------+---------+---------+---------------+------------+- - - - - - -+
//!  | stream  | epoch | base    | end     | max timestamp | batch      | batch, base |
//!  |         |       | offset  | offset  |               | length     | and epoch   |
//!  |         |       |         |         |               |            | stamped     |
//!  +---------+-------+---------+---------+---------------+------------+- - - - - - -+
//! ```
//! A record that is cut begins a block of its own: its first fragment is that block's only one, and has at least the
//! record's head and the stamped bytes. So every LSN at which a block begins either has no record across it, or lies
//! inside *one* record, and [`Assembler::whole_below`] names the place before that one.

use super::block::{Block, FragmentKind};
use crate::envelope::{DecodeError, Fields};
use crate::id::{Lsn, Offset, StreamEpoch, StreamId};
use crate::machine::{Payload, WallTime};
use crate::wal::{Append, Appended};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// Length of what precedes the batch.
pub const RECORD_HEAD: usize = 40;

/// Bytes of the batch that stamping reaches.
pub const STAMPED: usize = 16;

/// Writes what precedes the batch.
pub fn put_head(out: &mut BytesMut, append: &Append) {
    out.put_u64(append.stream.0);
    out.put_u32(append.epoch.0);
    out.put_u64(append.base.0);
    out.put_u64(append.end.0);
    out.put_i64(append.max_timestamp.0);
    out.put_u32(u32::try_from(append.batch.len()).expect("limits bound a batch far below 4 GiB"));
}

/// Puts base offset and leader epoch into Kafka's batch header.
pub fn stamp(batch: &mut [u8], append: &Append) {
    batch[..8].copy_from_slice(&append.base.0.to_be_bytes());
    batch[12..STAMPED].copy_from_slice(&append.epoch.0.to_be_bytes());
}

/// The stamped batch of an append, in a buffer of its own.
#[must_use]
pub fn stamped(append: &Append) -> Bytes {
    let mut batch = BytesMut::from(&append.batch[..]);
    stamp(&mut batch, append);
    batch.freeze()
}

/// The durable form of an append, given its stamped batch.
#[must_use]
pub fn appended(append: &Append, batch: Bytes) -> Appended {
    Appended {
        stream: append.stream,
        epoch: append.epoch,
        base: append.base,
        end: append.end,
        max_timestamp: append.max_timestamp,
        batch: Payload(batch),
    }
}

/// Joins pieces of a batch of `len` bytes.
fn join(pieces: &[Bytes], len: usize) -> Bytes {
    let mut batch = BytesMut::with_capacity(len);
    for piece in pieces {
        batch.extend_from_slice(piece);
    }
    batch.freeze()
}

/// Puts the fragments of successive blocks together again.
#[derive(Debug, Default)]
pub struct Assembler {
    cut: Option<Cut>,
}

/// A record of which not all fragments were seen yet.
#[derive(Debug)]
struct Cut {
    from: Lsn,
    /// All but the batch.
    record: Appended,
    len: usize,
    pieces: Vec<Bytes>,
    got: usize,
}

impl Assembler {
    /// Takes the next block's fragments and adds the records that they complete.
    ///
    /// # Errors
    /// When they don't continue what came before, or are no records. What was added stays.
    pub fn take(&mut self, block: &Block, into: &mut Vec<Appended>) -> Result<(), DecodeError> {
        let mut fragments = block.fragments();
        let mut alone = true;
        while let Some((kind, bytes)) = fragments.next()? {
            match (kind, self.cut.take()) {
                (FragmentKind::Full, None) => into.push(full(bytes)?),
                (FragmentKind::First, None) if alone && fragments.is_empty() => {
                    self.cut = Some(Cut::begin(block.lsn(), bytes)?);
                }
                (FragmentKind::Middle, Some(mut cut)) => {
                    cut.add(bytes)?;
                    self.cut = Some(cut);
                }
                (FragmentKind::Last, Some(mut cut)) => {
                    cut.add(bytes)?;
                    into.push(cut.finish()?);
                }
                _ => return Err(DecodeError::Malformed),
            }
            alone = false;
        }
        Ok(())
    }

    /// The largest LSN, given that blocks were taken up to `upto`, below which every record is whole.
    #[must_use]
    pub fn whole_below(&self, upto: Lsn) -> Lsn {
        self.cut.as_ref().map_or(upto, |cut| cut.from)
    }
}

impl Cut {
    fn begin(from: Lsn, bytes: Bytes) -> Result<Self, DecodeError> {
        let (record, len, piece) = head(bytes)?;
        if piece.len() < STAMPED || piece.len() >= len {
            return Err(DecodeError::Malformed);
        }
        Ok(Self { from, record, len, got: piece.len(), pieces: Vec::from([piece]) })
    }

    fn add(&mut self, piece: Bytes) -> Result<(), DecodeError> {
        self.got = self.got.checked_add(piece.len()).filter(|got| *got <= self.len).ok_or(DecodeError::Malformed)?;
        self.pieces.push(piece);
        Ok(())
    }

    fn finish(mut self) -> Result<Appended, DecodeError> {
        if self.got != self.len {
            return Err(DecodeError::Malformed);
        }
        self.record.batch = Payload(join(&self.pieces, self.len));
        Ok(self.record)
    }
}

fn full(bytes: Bytes) -> Result<Appended, DecodeError> {
    let (mut record, len, batch) = head(bytes)?;
    if batch.len() != len {
        return Err(DecodeError::Malformed);
    }
    record.batch = Payload(batch);
    Ok(record)
}

/// The record without its batch, the batch's length, and the bytes of it that follow the head.
fn head(bytes: Bytes) -> Result<(Appended, usize, Bytes), DecodeError> {
    let mut fields = Fields::new(bytes);
    let (record, len) = take_head(&mut fields)?;
    Ok((record, len, fields.rest()))
}

/// Reads what precedes the batch: the record without it, and its length.
///
/// # Errors
/// When that is cut short, or makes no sense.
pub fn take_head(fields: &mut Fields) -> Result<(Appended, usize), DecodeError> {
    let record = Appended {
        stream: StreamId(fields.u64()?),
        epoch: StreamEpoch(fields.u32()?),
        base: Offset(fields.u64()?),
        end: Offset(fields.u64()?),
        max_timestamp: WallTime(fields.i64()?),
        batch: Payload::default(),
    };
    let len = fields.u32()? as usize;
    if record.base >= record.end {
        return Err(DecodeError::Malformed);
    }
    Ok((record, len))
}
