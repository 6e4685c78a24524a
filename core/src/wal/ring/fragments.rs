//! Records in fragments: cut where they cross blocks, and put together again.
//!
//! A [record](crate::wal::record) that is cut begins a block of its own: its first fragment is that block's only one, and has
//! at least the record's head and the stamped bytes. So every LSN at which a block begins either has no record across it,
//! or lies inside *one* record, and [`Assembler::whole_below`] names the place before that one.

use super::block::{Block, FragmentKind};
use crate::envelope::{DecodeError, Fields};
use crate::id::Lsn;
use crate::machine::Payload;
use crate::wal::Appended;
use crate::wal::record::{STAMPED, take_head};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

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
