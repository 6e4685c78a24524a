//! The log against a small bucket: requests end in any order, and what has no answer may take effect now, later or never.

mod bench;
mod bucket;
mod fence;
mod fuzz;
mod golden;
mod life;
mod recover;
mod room;

use crate::limits::Limits;
use crate::machine::Rng;
use crate::wal::cost;
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
