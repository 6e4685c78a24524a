//! The log against a small disk: writes complete in any order, and a crash leaves any of their sectors.

mod bench;
mod crash;
mod damage;
mod disk;
mod fuzz;
pub(super) mod golden;
mod large;
mod life;
mod space;

use super::ring::block::Identity;
use super::{Append, Appended, Life, Mail};
use crate::id::{ClusterId, Lsn, NodeEpoch, NodeId, Offset, StreamEpoch, StreamId, WalUuid};
use crate::limits::Limits;
use crate::machine::{Rng, WallTime};
use alloc::vec;
use alloc::vec::Vec;

const PAGE: u64 = 4096;

/// A small ring's limits, and its device's length.
fn tiny(rng: &mut Rng) -> (Limits, u64) {
    let ring = rng.between(8, 64) * PAGE;
    (tiny_for(ring, rng), 2 * PAGE + ring + rng.below(PAGE))
}

/// Limits that fit a ring of this size.
fn tiny_for(ring: u64, rng: &mut Rng) -> Limits {
    let wal_block = (rng.between(1, 4) * PAGE) as u32;
    // Two of the largest must fit: up to three blocks, or as the ring allows.
    let most = (3 * u64::from(wal_block)).min(ring / PAGE / 2 * 4007 - 40);
    Limits {
        batch: most as u32,
        largest_batch: most as u32,
        wal_block,
        wal_depth: rng.between(1, 5) as u32,
        wal_window: rng.between(1, ring),
        ..Limits::default()
    }
}

pub(super) fn a_life(rng: &mut Rng) -> Life {
    Life {
        cluster: ClusterId::draw(rng),
        node: NodeId(7),
        epoch: NodeEpoch(rng.between(1, 1000)),
        uuid: WalUuid::draw(rng),
    }
}

/// The `number`th append of a test: its base offset tells which one it is.
pub(super) fn an_append(number: usize, len: usize, rng: &mut Rng) -> Append {
    let mut batch = vec![0; len];
    for chunk in batch.chunks_mut(8) {
        let word = rng.next_u64().to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Append {
        stream: StreamId(rng.below(3)),
        epoch: StreamEpoch(rng.below(9) as u32),
        base: Offset(number as u64),
        end: Offset(number as u64 + 1),
        max_timestamp: WallTime(rng.next_u64() as i64),
        batch: batch.into(),
    }
}

/// What must come of an append.
pub(super) fn stamped(append: &Append) -> Appended {
    let mut batch: Vec<u8> = append.batch.to_vec();
    batch[..8].copy_from_slice(&append.base.0.to_be_bytes());
    batch[12..16].copy_from_slice(&append.epoch.0.to_be_bytes());
    Appended {
        stream: append.stream,
        epoch: append.epoch,
        base: append.base,
        end: append.end,
        max_timestamp: append.max_timestamp,
        batch: batch.into(),
    }
}

/// A ring is read back by what its header says.
fn recover_from(from: Lsn) -> Mail {
    let life = Life { cluster: ClusterId::default(), node: NodeId(0), epoch: NodeEpoch(0), uuid: WalUuid::default() };
    Mail::Recover { life, by: NodeEpoch(0), from }
}

fn identity(life: &Life) -> Identity {
    Identity::from(life)
}
