//! Deletes what no durable head refers to any more, once slow readers are done with it.

use super::call::{Call, Io};
use crate::machine::{Deadline, Instant, OpId};
use crate::store::{Key, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::collections::VecDeque;
use core::time::Duration;
use tracing::warn;

/// Names on their way out, one at a time.
#[derive(Debug)]
pub(super) struct Trash {
    retention: Duration,
    /// In the order in which they are due.
    kept: VecDeque<(Instant, Key)>,
    deleting: Option<(Key, Call)>,
}

impl Trash {
    /// Keeps what it is given so long.
    pub(super) fn new(retention: Duration) -> Self {
        Self { retention, kept: VecDeque::new(), deleting: None }
    }

    /// To be deleted. The head that no longer refers to it is durable.
    pub(super) fn add(&mut self, now: Instant, key: Key) {
        if !self.holds(&key) {
            self.kept.push_back((now.after(self.retention), key));
        }
    }

    /// Whether it is on its way out.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.deleting.iter().map(|(key, _)| key).chain(self.kept.iter().map(|(_, key)| key)).any(|held| held == key)
    }

    /// Whether nothing is on its way out.
    pub(super) fn is_empty(&self) -> bool {
        self.deleting.is_none() && self.kept.is_empty()
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        self.deleting.as_ref().is_some_and(|(_, call)| call.owns(id))
    }

    /// Goes on after a completion.
    pub(super) fn completed(&mut self, io: &mut Io<'_>, result: StoreResult) {
        let Some((key, call)) = &mut self.deleting else { unreachable!("a completion has a call") };
        match result {
            Ok(StoreDone::Deleted) | Err(StoreError::Missing) => self.deleting = None,
            Ok(other) => unreachable!("a delete was answered with {other:?}"),
            Err(error) => {
                warn!(%key, %error, "old metadata can't be deleted; trying again");
                call.again(io);
            }
        }
        self.tick(io);
    }

    /// Deletes what is due.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        match &mut self.deleting {
            Some((_, call)) => call.tick(io),
            None if self.kept.front().is_some_and(|(due, _)| *due <= io.now.mono) => {
                self.deleting = self.kept.pop_front().map(|(_, key)| {
                    let call = Call::new(io, StoreOp::Delete { key: key.clone() });
                    (key, call)
                });
            }
            None => {}
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.deleting {
            Some((_, call)) => call.deadline("retry of deleting old metadata"),
            None => self.kept.front().map(|(at, _)| Deadline { at: *at, reason: "old metadata may be deleted" }),
        }
    }
}
