//! What is fixed from the start.

use super::format::{HEAD, Sizes};
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
    /// What an object consists of.
    pub(super) sizes: Sizes,
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
    /// What a recovery reads of an object first. One that is no longer is put together with others; of a longer one, which
    /// becomes data as it is, that is all that is read.
    pub(super) fn first(&self) -> u64 {
        (self.object / 4).max(HEAD * 4) as u64
    }

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
            sizes: Sizes { buffer: limits.wal_block as usize, data_block: limits.data_block },
            interval: limits.wal_object_interval,
            depth: limits.wal_depth as usize,
            objects: limits.wal_objects.into(),
            attempt: limits.store_attempt,
        })
    }
}
