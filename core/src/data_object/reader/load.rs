//! One load, and who waits for it.

use super::blocks;
use super::cursors::CursorKey;
use super::tries::Tries;
use super::types::{Origin, Read};
use crate::data_object::{BlockEntry, IndexStep, Plan};
use crate::id::{ClusterId, ObjectId};
use crate::machine::{Instant, OpId, WallTime};
use crate::store::Span;
use alloc::vec::Vec;

/// One that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) read: Read,
    /// What it reads, once the index is known. It waits for the first block of it.
    pub(super) plan: Option<ReadPlan>,
}

/// What a read takes of an object.
#[derive(Debug)]
pub(super) struct ReadPlan {
    pub(super) plan: Plan,
    /// The largest time in what was passed over before that.
    pub(super) older: Option<WallTime>,
}

impl Waiter {
    /// Whether it waits for that block.
    pub(super) fn wants(&self, entry: &BlockEntry) -> bool {
        self.plan.as_ref().is_some_and(|of| of.plan.at == entry.at)
    }
}

/// A load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) what: What,
    /// In whose turn it leaves.
    pub(super) origin: Origin,
    /// For whom it is read ahead.
    pub(super) ahead_for: Option<CursorKey>,
    pub(super) waiting: Vec<Waiter>,
    /// None before it leaves for the first time.
    pub(super) tries: Option<Tries>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum What {
    Index {
        cluster: ClusterId,
        object: ObjectId,
        step: IndexStep,
    },
    /// Side by side, at least one.
    Blocks {
        object: ObjectId,
        blocks: Vec<BlockEntry>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Until then at the latest.
    InLine(Instant),
    InFlight(OpId),
    /// Until then.
    Pausing(Instant),
}

impl Load {
    /// A load that nobody waits for yet.
    pub(super) fn new(what: What, origin: Origin, ahead_for: Option<CursorKey>) -> Self {
        let (waiting, state) = (Vec::new(), State::Pausing(Instant(0)));
        Self { what, origin, ahead_for, waiting, tries: None, state }
    }

    /// Whether it is read ahead, and nobody waits for it.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead_for.is_some() && self.waiting.is_empty()
    }

    pub(super) const fn object(&self) -> ObjectId {
        match &self.what {
            What::Index { object, .. } | What::Blocks { object, .. } => *object,
        }
    }

    pub(super) fn span(&self, tail: u64) -> Span {
        match &self.what {
            What::Index { step, .. } => step.span(tail),
            What::Blocks { blocks, .. } => Span::Range { at: blocks[0].at, len: self.len() },
        }
    }

    /// Bytes of data blocks.
    pub(super) fn len(&self) -> u64 {
        self.blocks().iter().map(|entry| u64::from(entry.len)).sum()
    }

    /// Memory that its blocks will take.
    pub(super) fn cost(&self) -> u64 {
        self.blocks().iter().map(blocks::cost).sum()
    }

    pub(super) fn blocks(&self) -> &[BlockEntry] {
        match &self.what {
            What::Index { .. } => &[],
            What::Blocks { blocks, .. } => blocks,
        }
    }
}
