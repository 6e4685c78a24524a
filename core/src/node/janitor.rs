//! Deletes from the bucket what the metadata no longer needs.
//!
//! Two kinds of garbage: objects that the metadata destroyed, once readers have had time to leave them, and orphans:
//! uploads that were never committed and never can be. Every delete follows a durable entry that made the object
//! unreferenceable. The scrub lists first and looks at the image afterwards: an id that was issued and is unknown to
//! the image was forgotten or has expired, for ever, however old the image is.

use super::{Effect, to_store};
use crate::data_object;
use crate::id::ObjectId;
use crate::limits::Limits;
use crate::machine::{Backoff, Deadline, Effects, Instant, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::metadata::{Command, Image, ObjectState};
use crate::store::{Found, Key, StoreDone, StoreOp, StoreResult};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// Deletes in flight at once: background work that must not crowd out uploads.
const PARALLEL_DELETES: usize = 8;

/// Names per page of a scrub's listing.
const PAGE: usize = 1000;

#[derive(Debug)]
pub(super) struct Janitor {
    retention: Duration,
    scrub_interval: Duration,
    attempt: Duration,
    rng: Rng,
    ops: OpIds,
    backoff: Backoff,
    /// When the image is next searched for destroyed objects.
    sweep_at: Option<Instant>,
    /// When each destroyed object was first seen: its retention counts by the monotonic clock.
    seen: BTreeMap<ObjectId, Instant>,
    queue: BTreeSet<(Key, Garbage)>,
    deleting: BTreeMap<OpId, (Key, Garbage)>,
    deleted: Vec<ObjectId>,
    forgetting: bool,
    scrub: Scrub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Garbage {
    Destroyed(ObjectId),
    Orphan,
}

#[derive(Debug)]
enum Scrub {
    Idle {
        next: Option<Instant>,
    },
    /// The names after this one are to be listed, at this time.
    Due {
        after: Option<Key>,
        at: Instant,
    },
    Listing {
        op: OpId,
        after: Option<Key>,
    },
}

impl Janitor {
    pub(super) fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            retention: limits.deleted_retention,
            scrub_interval: limits.scrub_interval,
            attempt: limits.store_attempt,
            rng,
            ops: OpIds::default(),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            sweep_at: None,
            seen: BTreeMap::new(),
            queue: BTreeSet::new(),
            deleting: BTreeMap::new(),
            deleted: Vec::new(),
            forgetting: false,
            scrub: Scrub::Idle { next: None },
        }
    }

    pub(super) fn start(&mut self, now: Now) {
        self.sweep_at = Some(now.mono);
        // A crash may just have left orphans.
        self.scrub = Scrub::Due { after: None, at: now.mono.after(self.retention) };
    }

    /// Starts what is due. Returns a command to send, if objects are gone that the metadata may forget.
    pub(super) fn run(&mut self, now: Now, image: &Image, out: &mut Effects<Effect>) -> Option<Command> {
        if self.sweep_at.is_some_and(|at| at <= now.mono) {
            self.sweep(now, image);
        }
        match &self.scrub {
            Scrub::Idle { next: Some(next) } if *next <= now.mono => self.list(None, out),
            Scrub::Due { after, at } if *at <= now.mono => self.list(after.clone(), out),
            _ => {}
        }
        while self.deleting.len() < PARALLEL_DELETES
            && let Some((key, garbage)) = self.queue.pop_first()
        {
            let op = self.ops.issue();
            out.push(to_store(op, StoreOp::Delete { key: key.clone() }, self.attempt));
            self.deleting.insert(op, (key, garbage));
        }
        if self.forgetting || self.deleted.is_empty() {
            return None;
        }
        self.forgetting = true;
        Some(Command::ForgetObjects { ids: core::mem::take(&mut self.deleted) })
    }

    pub(super) fn handle_forgotten(&mut self) {
        self.forgetting = false;
    }

    pub(super) fn handle_store(&mut self, now: Now, op: OpId, result: StoreResult, image: Option<&Image>) {
        if let Some((key, garbage)) = self.deleting.remove(&op) {
            return self.handle_deleted(now, key, garbage, &result);
        }
        let Scrub::Listing { op: listing, after } = &self.scrub else { return };
        assert_eq!(*listing, op, "the janitor has no other operation in flight");
        match (result, image) {
            (Ok(StoreDone::Listed { found, more }), Some(image)) => self.handle_page(now, &found, more, image),
            _ => {
                let at = now.mono.after(self.backoff.wait(&mut self.rng));
                self.scrub = Scrub::Due { after: after.clone(), at };
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let scrub_at = match &self.scrub {
            Scrub::Idle { next } => *next,
            Scrub::Due { at, .. } => Some(*at),
            Scrub::Listing { .. } => None,
        };
        Deadline::earliest([
            self.sweep_at.map(|at| Deadline { at, reason: "look for destroyed objects" }),
            scrub_at.map(|at| Deadline { at, reason: "scrub the bucket" }),
        ])
    }

    fn sweep(&mut self, now: Now, image: &Image) {
        self.sweep_at = Some(now.mono.after((self.retention / 4).max(Duration::from_millis(10))));
        let destroyed = image.objects.iter().filter(|(_, object)| matches!(object.state, ObjectState::Destroyed(_)));
        let destroyed: BTreeSet<ObjectId> = destroyed.map(|(id, _)| *id).collect();
        self.seen.retain(|id, _| destroyed.contains(id));
        for id in destroyed {
            let since = *self.seen.entry(id).or_insert(now.mono);
            let due = now.mono.since(since) >= self.retention;
            if due && !self.deleted.contains(&id) {
                let garbage = (data_object::key(id), Garbage::Destroyed(id));
                if !self.deleting.values().any(|deleting| *deleting == garbage) {
                    self.queue.insert(garbage);
                }
            }
        }
    }

    fn list(&mut self, after: Option<Key>, out: &mut Effects<Effect>) {
        let op = self.ops.issue();
        let list = StoreOp::List { prefix: Key::from(data_object::PREFIX), after: after.clone(), max: PAGE };
        out.push(to_store(op, list, self.attempt));
        self.scrub = Scrub::Listing { op, after };
    }

    fn handle_page(&mut self, now: Now, found: &[Found], more: bool, image: &Image) {
        self.backoff.reset();
        sometimes!(Mark::ScrubbedInPages, more);
        for found in found {
            let Some(id) = data_object::parse_key(&found.key) else { continue };
            if id < image.next_object && !image.objects.contains_key(&id) {
                tracing::info!(key = %found.key, "deleting an upload that was never committed");
                sometimes!(Mark::OrphanDeleted);
                self.queue.insert((found.key.clone(), Garbage::Orphan));
            }
        }
        self.scrub = match found.last() {
            Some(last) if more => Scrub::Due { after: Some(last.key.clone()), at: now.mono },
            _ => Scrub::Idle { next: Some(now.mono.after(self.scrub_interval)) },
        };
    }

    fn handle_deleted(&mut self, now: Now, key: Key, garbage: Garbage, result: &StoreResult) {
        match (result, garbage) {
            (Ok(_), Garbage::Destroyed(id)) => self.deleted.push(id),
            (Ok(_), Garbage::Orphan) => {}
            // The next sweep or scrub finds it again.
            (Err(error), _) => {
                tracing::warn!(%key, %error, "could not delete an object; trying again later");
                self.sweep_at = Some(now.mono.after(self.backoff.wait(&mut self.rng)));
            }
        }
    }
}
