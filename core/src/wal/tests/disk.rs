//! A disk whose writes complete in any order.

use super::PAGE;
use crate::disk::{DevicePos, DiskDone, DiskError, DiskOp, DiskResult};
use crate::machine::{OpId, Rng, Rope};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Clone)]
pub(super) struct Disk {
    pub(super) bytes: Vec<u8>,
    pending: Vec<(OpId, DiskOp)>,
    /// Every block written, to compare addresses.
    pub(super) written: Vec<Bytes>,
}

impl Disk {
    pub(super) fn new(len: u64) -> Self {
        Self { bytes: vec![0; len as usize], pending: Vec::new(), written: Vec::new() }
    }

    pub(super) fn submit(&mut self, op: OpId, asked: DiskOp) {
        if let DiskOp::Write { at, data } = &asked {
            assert!(at.0.is_multiple_of(PAGE), "an unaligned write");
            assert!(at.0 + data.len() as u64 <= self.bytes.len() as u64, "a write beyond the device");
            for piece in data.pieces() {
                let aligned = piece.as_ptr().addr().is_multiple_of(PAGE as usize);
                assert!(aligned && (piece.len() as u64).is_multiple_of(PAGE), "an unaligned piece");
                self.written.push(piece.clone());
            }
            for (_, other) in &self.pending {
                assert!(!overlap(&asked, other), "two operations in flight on one place: {asked:?}, {other:?}");
            }
        }
        self.pending.push((op, asked));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Ends one operation, any of them.
    pub(super) fn complete(&mut self, rng: &mut Rng) -> (OpId, DiskResult) {
        let (op, asked) = self.pending.swap_remove(rng.below(self.pending.len() as u64) as usize);
        let done = match asked {
            DiskOp::Read { at, len } => {
                let at = at.0 as usize;
                DiskDone::Read(Vec::from(&self.bytes[at..at + len]).into())
            }
            DiskOp::Write { at, data } => {
                self.put(at, &data, |_| true);
                DiskDone::Written
            }
        };
        (op, Ok(done))
    }

    /// Ends one operation badly: any of its sectors may have been written.
    pub(super) fn fail(&mut self, rng: &mut Rng) -> (OpId, DiskResult) {
        let (op, asked) = self.pending.swap_remove(rng.below(self.pending.len() as u64) as usize);
        if let DiskOp::Write { at, data } = asked {
            self.put(at, &data, |_| rng.chance(1, 2));
        }
        (op, Err(DiskError::Io))
    }

    /// The power goes: any sector of what was in flight may be there, and now and then one is garbled.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(4);
        let garbling = rng.chance(1, 3);
        for (_, asked) in core::mem::take(&mut self.pending) {
            if let DiskOp::Write { at, data } = asked {
                let whole = rng.chance(1, 2);
                let fate = rng.below(3);
                self.put(at, &data, |_| if whole { fate < kept } else { rng.below(3) < kept });
                if garbling {
                    let sector = at.0 + rng.below(data.len() as u64 / PAGE) * PAGE;
                    let torn = rng.below(PAGE) as usize;
                    self.bytes[sector as usize..][torn.min(100)..torn.max(100)].fill(rng.next_u64() as u8);
                }
            }
        }
    }

    fn put(&mut self, at: DevicePos, data: &Rope, mut lands: impl FnMut(usize) -> bool) {
        let mut at = at.0 as usize;
        let bytes = data.to_bytes();
        for (index, sector) in bytes.chunks(PAGE as usize).enumerate() {
            if lands(index) {
                self.bytes[at..at + sector.len()].copy_from_slice(sector);
            }
            at += sector.len();
        }
    }
}

fn overlap(one: &DiskOp, other: &DiskOp) -> bool {
    let (a, b) = (extent(one), extent(other));
    a.0 < b.1 && b.0 < a.1
}

fn extent(op: &DiskOp) -> (u64, u64) {
    match op {
        DiskOp::Read { at, len } => (at.0, at.0 + *len as u64),
        DiskOp::Write { at, data } => (at.0, at.0 + data.len() as u64),
    }
}
