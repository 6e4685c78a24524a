//! What a read needs of an object, and what it takes out of a block.

use super::types::{Extent, Read, ReadBlock};
use crate::data_object::{BlockEntry, Index, Plan, StoredBatch};
use crate::machine::WallTime;
use alloc::vec::Vec;

/// What of an object is to be read.
pub(super) enum Planned {
    /// These blocks, after what was passed over.
    Blocks(Plan, Option<WallTime>),
    /// No block is late enough.
    Nothing(Option<WallTime>),
    NotHeld,
    TooLong(u64),
}

impl Planned {
    pub(super) fn of(index: &Index, read: &Read) -> Self {
        let held = |entry: &BlockEntry| entry.start <= read.offset;
        let fitting = |plan: Plan, older| {
            if plan.len > read.room { Self::TooLong(plan.len) } else { Self::Blocks(plan, older) }
        };
        match read.extent {
            Extent::Bytes(max_bytes) => {
                let plan = index.plan(read.stream, read.offset, (max_bytes, read.room));
                plan.filter(|plan| held(&plan.blocks[0])).map_or(Self::NotHeld, |plan| fitting(plan, None))
            }
            Extent::Since(time) => {
                if !index.from(read.stream, read.offset).first().is_some_and(held) {
                    return Self::NotHeld;
                }
                let (plan, older) = index.seek(read.stream, read.offset, time);
                plan.map_or(Self::Nothing(older), |plan| fitting(plan, older))
            }
        }
    }
}

/// Takes what a read wants out of consecutive blocks.
pub(super) struct Taking<'a> {
    read: &'a Read,
    taken: u64,
    pub(super) blocks: Vec<ReadBlock>,
}

impl<'a> Taking<'a> {
    pub(super) const fn new(read: &'a Read) -> Self {
        Self { read, taken: 0, blocks: Vec::new() }
    }

    /// Takes out of the next block. Whether that was all of it, so that the one behind it is of interest.
    pub(super) fn take(&mut self, batches: &[StoredBatch], buffer: u64) -> bool {
        let max_bytes = match self.read.extent {
            Extent::Bytes(max_bytes) => max_bytes,
            Extent::Since(_) => u64::MAX,
        };
        let mut taken = Vec::new();
        let mut is_all = true;
        for batch in batches.iter().filter(|batch| batch.end > self.read.offset) {
            let len = batch.batch.len() as u64;
            if self.taken > 0 && self.taken + len > max_bytes {
                is_all = false;
                break;
            }
            self.taken += len;
            taken.push(batch.clone());
        }
        if !taken.is_empty() {
            self.blocks.push(ReadBlock { batches: taken, buffer });
        }
        is_all
    }
}
