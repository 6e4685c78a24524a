//! Records that a fetch has found, until its answer is made.
//!
//! They are slices: of a block of the WAL, if they come from the log cache, or of what was read of an object. A slice
//! keeps all of its buffer in memory. So an answer takes little things as copies, and is charged the whole buffer for
//! the others until it has left:
//!
//! ```text
//!  buffer   |....[ piece ]..........|     copied, and charged its own length, if it is small or a small part
//!           |[      piece       ]...|     sliced, and charged the buffer
//! ```

use crate::machine::Rope;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// A piece that is a smaller part of its buffer than one in so many is copied.
const PART: u64 = 4;

/// Records of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pieces: Vec<Piece>,
    len: u64,
}

/// What comes out of one buffer.
#[derive(Clone, Debug)]
struct Piece {
    batches: Vec<Bytes>,
    len: u64,
    buffer: u64,
}

impl Found {
    /// Adds batches that are all slices of one buffer of that length.
    pub(super) fn push(&mut self, buffer: u64, batches: Vec<Bytes>) {
        let len = batches.iter().map(|batch| batch.len() as u64).sum();
        assert!(len <= buffer, "slices are no longer than their buffer");
        self.len += len;
        self.pieces.push(Piece { batches, len, buffer });
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What they will hold in memory when they leave.
    pub(super) fn cost(&self, copied: u32) -> u64 {
        self.pieces.iter().map(|piece| if piece.is_copied(copied) { piece.len } else { piece.buffer }).sum()
    }

    /// The records as they leave. Pieces shorter than `copied` are copied.
    pub(super) fn leave(self, copied: u32) -> Rope {
        let copies = self.pieces.iter().filter(|piece| piece.is_copied(copied));
        let room: usize = copies.map(|piece| piece.len as usize).sum();
        let (mut records, mut copies) = (Rope::default(), BytesMut::with_capacity(room));
        for piece in self.pieces {
            if piece.is_copied(copied) {
                piece.batches.iter().for_each(|batch| copies.extend_from_slice(batch));
            } else {
                records.push(copies.split().freeze());
                piece.batches.into_iter().for_each(|batch| records.push(batch));
            }
        }
        records.push(copies.freeze());
        records
    }
}

impl Piece {
    fn is_copied(&self, copied: u32) -> bool {
        self.len < u64::from(copied) || self.len.saturating_mul(PART) < self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Slices of so many bytes of a buffer, one byte apart.
    fn slices(buffer: &Bytes, lens: &[usize]) -> Vec<Bytes> {
        let mut at = 0;
        let mut next = |len: &usize| {
            at += len + 1;
            buffer.slice(at - len - 1..at - 1)
        };
        lens.iter().map(&mut next).collect()
    }

    #[test]
    fn little_things_are_copied_and_large_ones_charged_with_their_buffers() {
        let buffers: Vec<Bytes> = (0..5).map(|byte| vec![byte; 1_000].into()).collect();
        let mut found = Found::default();
        let mut expected = Vec::new();
        for (buffer, lens) in buffers.iter().zip([&[40, 50][..], &[200], &[300, 9, 100], &[249], &[250]]) {
            let batches = slices(buffer, lens);
            batches.iter().for_each(|batch| expected.extend_from_slice(batch));
            found.push(1_000, batches);
        }
        assert_eq!(found.len(), expected.len() as u64);
        let cost = found.cost(100);
        let records = found.leave(100);
        assert_eq!(&records.to_bytes()[..], &expected[..]);
        // The third and the fifth are a quarter of their buffers or more, and long enough.
        assert_eq!(cost, 90 + 200 + 1_000 + 249 + 1_000);
        let own = |piece: &Bytes| buffers.iter().any(|buffer| buffer.as_ptr_range().contains(&piece.as_ptr()));
        let sliced: Vec<usize> = records.pieces().iter().filter(|piece| own(piece)).map(Bytes::len).collect();
        assert_eq!(sliced, [300, 9, 100, 250]);
        assert_eq!(records.pieces().len(), 6, "copies that follow each other are one piece");
    }

    #[test]
    fn a_copy_holds_nothing_and_a_buffer_of_its_own_costs_nothing_more() {
        let buffer = Bytes::from(vec![1; 1_000]);
        let mut small = Found::default();
        small.push(1_000, vec![buffer.slice(..10)]);
        let cost = small.cost(11);
        let copy = small.leave(11);
        drop(buffer.slice(..));
        assert_eq!((copy.len(), cost), (10, 10));
        assert!(buffer.is_unique(), "the answer pins nothing");
        let mut whole = Found::default();
        whole.push(1_000, vec![buffer]);
        assert_eq!(whole.cost(100), 1_000);
        assert_eq!(Found::default().leave(100).len(), 0);
    }
}
