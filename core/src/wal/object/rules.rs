//! What is fixed from the start.

use crate::limits::Limits;
use crate::wal::cost;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Deletes in flight at once: they must not crowd out puts.
pub(super) const PARALLEL_DELETES: usize = 8;

/// The rules of an object WAL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// What the records that are not committed may cost.
    pub(super) capacity: u64,
    /// Cost of what is granted, pending and in flight.
    pub(super) window: u64,
    /// Records that an object takes, in bytes, unless one alone is larger.
    pub(super) object: usize,
    /// A buffer with records.
    pub(super) block: usize,
    /// Between two objects that are not full.
    pub(super) interval: Duration,
    /// Objects in flight.
    pub(super) depth: usize,
    /// Objects in the bucket.
    pub(super) objects: u64,
    /// One attempt at a request.
    pub(super) attempt: Duration,
}

impl Rules {
    pub(super) fn new(capacity: u64, limits: &Limits) -> Result<Self, String> {
        limits.check(capacity)?;
        if u64::from(limits.wal_depth) * 2 > u64::from(limits.wal_objects) {
            return Err(format!(
                "the WAL may have more objects in flight ({}) than half of those that there may be ({})",
                limits.wal_depth, limits.wal_objects
            ));
        }
        // One batch must always fit through the window.
        let largest = limits.clone().fitted(capacity).largest_batch;
        Ok(Self {
            capacity,
            window: limits.wal_window.max(cost(largest as usize)),
            object: limits.wal_object as usize,
            block: limits.wal_block as usize,
            interval: limits.wal_object_interval,
            depth: limits.wal_depth as usize,
            objects: limits.wal_objects.into(),
            attempt: limits.store_attempt,
        })
    }
}
