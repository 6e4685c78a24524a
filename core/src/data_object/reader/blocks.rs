//! Data blocks that were read, as they were checked.
//!
//! A block is kept decoded: checking it costs more than anything else that a hit does, and a block is read by several
//! fetches of one reader, and by other readers. It is a buffer of its own, copied out of what was read with its
//! neighbours, so that a block that leaves frees what it took.
//!
//! Blocks leave in this order, and within a rank the one that was used longest ago:
//!
//! ```text
//!  rank     what it is                                            leaves for
//!  Spent    its readers have passed it, nobody comes behind       anything
//!  Used     somebody reads in it, or comes behind                 anything
//!  Unread   read ahead, and not wanted yet                        what is wanted now
//! ```
//! So however much a reader goes through, it takes the place of what it has passed itself; and what was read ahead for
//! one is not lost to what is read ahead for another.

use super::cursors::CursorKey;
use crate::data_object::{BlockEntry, StoredBatch};
use crate::id::ObjectId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Names a data block: objects never change, and no id is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub(super) object: ObjectId,
    /// Its position there.
    pub(super) at: u64,
}

impl BlockKey {
    pub(super) const fn of(object: ObjectId, entry: &BlockEntry) -> Self {
        Self { object, at: entry.at }
    }
}

/// How soon a block may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Spent,
    Used,
    Unread,
}

#[derive(Debug)]
struct Block {
    batches: Vec<StoredBatch>,
    len: u64,
    cost: u64,
    rank: Rank,
    used: u64,
    ahead_for: Option<CursorKey>,
}

/// What a block gives to who reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'a> {
    pub(super) batches: &'a [StoredBatch],
    /// Length of its buffer.
    pub(super) len: u64,
    /// Whether it was read ahead, and nobody had wanted it before.
    pub(super) is_first: bool,
}

/// A block that was read ahead left before anybody wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wasted {
    pub(super) ahead_for: Option<CursorKey>,
    pub(super) len: u64,
}

/// Which blocks may leave for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    /// Those that were wanted already.
    Read,
    /// All.
    All,
}

/// What of a block's memory is not its bytes: the list of its batches.
const BATCH: u64 = 64;

/// Memory that a block takes.
pub(super) fn cost(entry: &BlockEntry) -> u64 {
    u64::from(entry.len) + BATCH * u64::from(entry.batches)
}

/// The cache. It keeps no limit itself: whoever wants room makes it.
#[derive(Debug, Default)]
pub(super) struct BlockCache {
    blocks: BTreeMap<BlockKey, Block>,
    leaving: BTreeSet<(Rank, u64, BlockKey)>,
    held: u64,
    unread: u64,
    clock: u64,
}

impl BlockCache {
    /// Memory of all blocks.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// Of these, of blocks that were read ahead and not wanted yet.
    pub(super) const fn unread(&self) -> u64 {
        self.unread
    }

    pub(super) fn contains(&self, key: BlockKey) -> bool {
        self.blocks.contains_key(&key)
    }

    /// The block, which counts as used now.
    pub(super) fn read(&mut self, key: BlockKey) -> Option<Hit<'_>> {
        let is_first = self.blocks.get(&key)?.rank == Rank::Unread;
        self.rank(key, Rank::Used);
        let block = self.blocks.get_mut(&key)?;
        block.ahead_for = None;
        Some(Hit { batches: &block.batches, len: block.len, is_first })
    }

    /// Its last reader has passed it.
    pub(super) fn spend(&mut self, key: BlockKey) {
        self.rank(key, Rank::Spent);
    }

    /// Keeps a block that is wanted, or was read ahead for a cursor.
    pub(super) fn insert(
        &mut self,
        object: ObjectId,
        entry: &BlockEntry,
        batches: Vec<StoredBatch>,
        ahead_for: Option<CursorKey>,
    ) {
        self.clock += 1;
        let key = BlockKey::of(object, entry);
        let rank = if ahead_for.is_some() { Rank::Unread } else { Rank::Used };
        let block = Block { batches, len: entry.len.into(), cost: cost(entry), rank, used: self.clock, ahead_for };
        self.held += block.cost;
        self.unread += if rank == Rank::Unread { block.cost } else { 0 };
        self.leaving.insert((rank, self.clock, key));
        let earlier = self.blocks.insert(key, block);
        assert!(earlier.is_none(), "a block that is here is not loaded");
    }

    /// Lets blocks go until those left take so much at most, or no more of them may go.
    pub(super) fn shrink(&mut self, to: u64, spare: Spare) -> Vec<Wasted> {
        let mut wasted = Vec::new();
        while self.held > to
            && let Some((rank, _, key)) = self.leaving.first().copied()
            && (rank < Rank::Unread || spare == Spare::All)
        {
            self.leaving.pop_first();
            let block = self.blocks.remove(&key).expect("what leaves was there");
            self.held -= block.cost;
            if rank == Rank::Unread {
                self.unread -= block.cost;
                wasted.push(Wasted { ahead_for: block.ahead_for, len: block.len });
            }
        }
        wasted
    }

    /// What was read ahead for a cursor is not wanted any more. Returns how many bytes that was.
    pub(super) fn abandon(&mut self, cursor: CursorKey) -> u64 {
        let of_it: Vec<BlockKey> = self
            .leaving
            .range((Rank::Unread, 0, BlockKey { object: ObjectId(0), at: 0 })..)
            .map(|(.., key)| *key)
            .filter(|key| self.blocks[key].ahead_for == Some(cursor))
            .collect();
        let mut len = 0;
        for key in of_it {
            self.rank(key, Rank::Spent);
            if let Some(block) = self.blocks.get_mut(&key) {
                block.ahead_for = None;
                len += block.len;
            }
        }
        len
    }

    fn rank(&mut self, key: BlockKey, rank: Rank) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        self.clock += 1;
        self.leaving.remove(&(block.rank, block.used, key));
        if block.rank == Rank::Unread {
            self.unread -= block.cost;
        }
        (block.rank, block.used) = (rank, self.clock);
        self.leaving.insert((rank, self.clock, key));
    }

    pub(super) fn invariants(&self) {
        let held: u64 = self.blocks.values().map(|block| block.cost).sum();
        let unread = self.blocks.values().filter(|block| block.rank == Rank::Unread);
        assert_eq!(held, self.held, "the block cache accounts for what it holds");
        assert_eq!(unread.map(|block| block.cost).sum::<u64>(), self.unread, "and for what was read ahead");
        assert_eq!(self.blocks.len(), self.leaving.len(), "each block has its place among those that leave");
        for (key, block) in &self.blocks {
            assert!(self.leaving.contains(&(block.rank, block.used, *key)), "each block leaves in its turn");
            assert_eq!(block.rank == Rank::Unread, block.ahead_for.is_some(), "read ahead is for somebody");
        }
    }
}
