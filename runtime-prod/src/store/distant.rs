//! A store that is nearer than those that one wants to know about.

use super::Backend;
use karst_core::store::{StoreOp, StoreResult};
use std::time::Duration;

/// A store each of whose operations takes so much longer.
#[derive(Debug)]
pub struct Distant<B> {
    near: B,
    delay: Duration,
}

impl<B: Backend> Distant<B> {
    /// Puts a store that far away.
    pub const fn new(near: B, delay: Duration) -> Self {
        Self { near, delay }
    }
}

impl<B: Backend> Backend for Distant<B> {
    fn perform(&self, op: &StoreOp) -> StoreResult {
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        self.near.perform(op)
    }
}
