//! Deletes the objects of a life that a durable commit has trimmed.

use super::format;
use super::rules::{PARALLEL_DELETES, Rules};
use crate::id::Lsn;
use crate::machine::{Backoff, Instant, Now, OpId, OpIds, Rng};
use crate::store::{StoreCall, StoreOp, StoreResult};
use crate::wal::Life;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// What is deleted, and what is to be.
#[derive(Debug)]
pub(super) struct Sweep {
    life: Life,
    rules: Rules,
    /// Objects from here on were not begun with.
    next: Lsn,
    /// Those below are to be deleted.
    upto: Lsn,
    deleting: BTreeMap<OpId, Lsn>,
    /// Those of which that failed.
    failed: BTreeSet<Lsn>,
    /// Until when nothing is tried after a failure.
    rests: Option<Instant>,
    backoff: Backoff,
}

impl Sweep {
    pub(super) fn new(life: Life, rules: Rules) -> Self {
        Self {
            life,
            rules,
            next: Lsn(0),
            upto: Lsn(0),
            deleting: BTreeMap::new(),
            failed: BTreeSet::new(),
            rests: None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
        }
    }

    /// It is durable that nobody needs what is below.
    pub(super) fn trim(&mut self, upto: Lsn) {
        self.upto = self.upto.max(upto);
    }

    /// Objects that may be in the bucket, of those below `head`.
    pub(super) fn left(&self, head: Lsn) -> u64 {
        head.0 - self.next.0 + (self.deleting.len() + self.failed.len()) as u64
    }

    /// Whether each object was tried once at least.
    pub(super) fn was_through(&self) -> bool {
        self.next == self.upto && self.deleting.is_empty()
    }

    /// The requests to be sent.
    pub(super) fn requests(&mut self, now: Now, ops: &mut OpIds) -> Vec<(OpId, StoreCall)> {
        self.rests.take_if(|until| *until <= now.mono);
        let mut calls = Vec::new();
        while self.deleting.len() < PARALLEL_DELETES
            && let Some(seq) = self.pop()
        {
            let id = ops.issue();
            let key = format::key(self.life.node, self.life.epoch, seq);
            self.deleting.insert(id, seq);
            calls.push((id, StoreCall { op: StoreOp::Delete { key }, within: self.rules.attempt }));
        }
        calls
    }

    /// What failed comes after what was not tried yet, and after a rest.
    fn pop(&mut self) -> Option<Lsn> {
        if self.next < self.upto {
            let seq = self.next;
            self.next = seq.next();
            return Some(seq);
        }
        if self.rests.is_some() { None } else { self.failed.pop_first() }
    }

    /// Takes a completion; false if it is of no delete.
    pub(super) fn completed(&mut self, now: Now, op: OpId, result: &StoreResult, rng: &mut Rng) -> bool {
        let Some(seq) = self.deleting.remove(&op) else { return false };
        match result {
            Ok(_) => self.backoff.reset(),
            Err(error) => {
                tracing::warn!(seq = seq.0, %error, "could not delete an object of the WAL; trying again later");
                self.failed.insert(seq);
                self.rests = Some(now.mono.after(self.backoff.wait(rng)));
            }
        }
        true
    }

    /// When it tries again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.rests.filter(|_| !self.failed.is_empty())
    }

    pub(super) fn invariants(&self) {
        assert!(self.next <= self.upto, "nothing is deleted that is not trimmed");
        assert!(self.deleting.len() <= PARALLEL_DELETES, "more deletes in flight than allowed");
        let all = self.deleting.values().chain(&self.failed);
        assert!(all.clone().all(|seq| *seq < self.next), "what is being deleted was begun with");
    }
}
