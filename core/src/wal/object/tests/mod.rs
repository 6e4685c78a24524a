//! The log against a small bucket: requests end in any order, and what has no answer may take effect now, later or never.

mod bench;
mod bucket;
mod fence;
mod fuzz;
mod golden;
mod life;
mod recover;
mod room;

use crate::id::{ClusterId, NodeEpoch, NodeId, Offset, StreamEpoch, StreamId, WalUuid};
use crate::limits::Limits;
use crate::machine::{Rng, WallTime};
use crate::wal::ring::cost;
use crate::wal::{Append, Appended, Life};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// Small limits, and what uncommitted records may cost.
fn tiny(rng: &mut Rng) -> (Limits, u64) {
    let capacity = 4096 * rng.between(8, 64);
    let batch = rng.between(100, 12_000) as u32;
    let limits = Limits {
        batch,
        largest_batch: batch,
        wal_block: 4096 * rng.between(1, 3) as u32,
        wal_depth: rng.between(1, 5) as u32,
        wal_window: rng.between(1, capacity),
        wal_object: rng.between(500, 20_000) as u32,
        wal_object_interval: Duration::from_millis(rng.between(0, 20)),
        wal_objects: rng.between(10, 40) as u32,
        ..Limits::default()
    };
    (limits, capacity.max(2 * cost(batch as usize)))
}

fn a_life(rng: &mut Rng) -> Life {
    Life {
        cluster: ClusterId::draw(rng),
        node: NodeId(7),
        epoch: NodeEpoch(rng.between(1, 1000)),
        uuid: WalUuid::draw(rng),
    }
}

/// The `number`th append of a test: its base offset tells which one it is.
fn an_append(number: usize, len: usize, rng: &mut Rng) -> Append {
    let batch: Vec<u8> = vec![rng.next_u64() as u8; len];
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
fn stamped(append: &Append) -> Appended {
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
