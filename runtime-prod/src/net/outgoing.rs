//! What a connection has yet to send.

use bytes::{Buf, Bytes};
use karst_core::machine::{OpId, Rope};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Pieces offered to the socket in one call.
pub(super) const SLICES: usize = 64;

/// Sends in order, with where each ends.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    /// Each send's end, counted in bytes since the connection began.
    ends: VecDeque<(OpId, u64)>,
    queued: u64,
    sent: u64,
}

impl Outgoing {
    pub(super) fn push(&mut self, op: OpId, data: &Rope) {
        self.queued += data.len() as u64;
        self.pieces.extend(data.pieces().iter().cloned());
        self.ends.push_back((op, self.queued));
    }

    /// Whether all has been sent and told.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The next bytes to send.
    pub(super) fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut filled = 0;
        for (slice, piece) in into.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// The socket took so many bytes; tells which sends have left by that.
    pub(super) fn advance(&mut self, mut taken: usize, mut left: impl FnMut(OpId)) {
        self.sent += taken as u64;
        assert!(self.sent <= self.queued, "the socket can't take more than it was offered");
        while let Some(first) = self.pieces.front_mut().filter(|_| taken > 0) {
            if first.len() > taken {
                first.advance(taken);
                break;
            }
            taken -= first.len();
            self.pieces.pop_front();
        }
        while let Some((op, end)) = self.ends.front().copied().filter(|(_, end)| *end <= self.sent) {
            debug_assert!(end <= self.sent);
            left(op);
            self.ends.pop_front();
        }
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_tells_each_send_once_and_keeps_the_bytes() {
        let ropes: [&[&str]; 4] = [&["ab", "c"], &[], &["defg"], &["h", "i", "jk"]];
        for step in 1..12 {
            let mut outgoing = Outgoing::default();
            for (at, pieces) in ropes.iter().enumerate() {
                let mut rope = Rope::default();
                pieces.iter().for_each(|piece| rope.push(piece.to_string()));
                outgoing.push(OpId(at as u64), &rope);
            }
            let (mut sent, mut told) = (Vec::new(), Vec::new());
            outgoing.advance(0, |op| told.push(op.0));
            assert!(told.is_empty());
            while !outgoing.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let filled = outgoing.slices(&mut slices);
                let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(offered.len());
                sent.extend_from_slice(&offered[..taken]);
                outgoing.advance(taken, |op| told.push(op.0));
                let ends = [3, 3, 7, 11].iter().filter(|end| **end <= sent.len()).count();
                assert_eq!(told.len(), ends, "after {} bytes", sent.len());
            }
            assert_eq!(sent, b"abcdefghijk");
            assert_eq!(told, [0, 1, 2, 3]);
        }
    }
}
