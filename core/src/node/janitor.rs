//! Deletes from the bucket what the metadata no longer needs.
//!
//! Three kinds of garbage: objects that the metadata destroyed, once readers have had time to leave them; orphans:
//! uploads that were never committed and never can be; and what is left of lives of a WAL in the bucket: all below a trim
//! point, and all but the seal of a life that is over, unless it became data. Every delete follows a durable entry that made the
//! object unreferenceable. A scrub lists first and looks at the image afterwards: an id that was issued and is unknown to
//! the image was forgotten or has expired, a life that is over stays so, and a trim point never goes back, however old the
//! image is.

use super::{Effect, to_store};
use crate::data_object;
use crate::id::ObjectId;
use crate::limits::Limits;
use crate::machine::{Backoff, Deadline, Effects, Instant, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::metadata::{Command, Image, ObjectState, WalKind};
use crate::store::{Found, Key, StoreDone, StoreOp, StoreResult};
use crate::wal::object::format;
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
    /// Of data objects.
    scrub: Scrub,
    /// Of WAL objects.
    wal_scrub: Scrub,
    wal: WalKind,
    /// Whether this search has found WAL objects that nobody needs.
    found_wal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Garbage {
    Destroyed(ObjectId),
    Orphan,
    Wal,
}

/// A search through all names of one kind.
#[derive(Debug)]
struct Scrub {
    prefix: &'static str,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
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
            scrub: Scrub { prefix: data_object::PREFIX, stage: Stage::Idle { next: None } },
            wal_scrub: Scrub { prefix: format::PREFIX, stage: Stage::Idle { next: None } },
            wal: WalKind::Ring,
            found_wal: false,
        }
    }

    pub(super) fn start(&mut self, now: Now, wal: WalKind) {
        self.sweep_at = Some(now.mono);
        // A crash may just have left orphans.
        self.scrub.stage = Stage::Due { after: None, at: now.mono.after(self.retention) };
        self.wal = wal;
        // Nobody reads what an earlier life has left, also if this one is in a ring.
        self.wal_scrub.stage = Stage::Due { after: None, at: now.mono };
    }

    /// Starts what is due. Returns a command to send, if objects are gone that the metadata may forget.
    pub(super) fn run(&mut self, now: Now, image: &Image, out: &mut Effects<Effect>) -> Option<Command> {
        if self.sweep_at.is_some_and(|at| at <= now.mono) {
            self.sweep(now, image);
        }
        for scrub in [&mut self.scrub, &mut self.wal_scrub] {
            if let Some(after) = scrub.is_due(now) {
                let op = self.ops.issue();
                out.push(to_store(op, scrub.list(op, after), self.attempt));
            }
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
        let is_data = self.scrub.is_listing(op);
        assert!(is_data || self.wal_scrub.is_listing(op), "the janitor has no other operation in flight");
        let (next, wait) = match (result, image) {
            (Ok(StoreDone::Listed { found, more }), Some(image)) => {
                self.backoff.reset();
                sometimes!(Mark::ScrubbedInPages, more);
                if is_data {
                    self.find_orphans(&found, image)
                } else {
                    self.find_wal(&found, image)
                }
                (found.last().filter(|_| more).map(|last| last.key.clone()), None)
            }
            _ => (None, Some(self.backoff.wait(&mut self.rng))),
        };
        if is_data {
            self.scrub.listed(now, next, wait, Some(self.scrub_interval));
        } else {
            // Where the WAL is a ring, nothing more comes once there is nothing.
            let is_through = next.is_none() && wait.is_none();
            let is_over = is_through && !core::mem::take(&mut self.found_wal) && self.wal == WalKind::Ring;
            self.wal_scrub.listed(now, next, wait, Some(self.scrub_interval).filter(|_| !is_over));
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.sweep_at.map(|at| Deadline { at, reason: "look for destroyed objects" }),
            self.scrub.at().map(|at| Deadline { at, reason: "scrub the bucket" }),
            self.wal_scrub.at().map(|at| Deadline { at, reason: "look for what WALs have left in the bucket" }),
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

    fn find_orphans(&mut self, found: &[Found], image: &Image) {
        for found in found {
            let Some(id) = data_object::parse_key(&found.key) else { continue };
            if id < image.next_object && !image.objects.contains_key(&id) {
                tracing::info!(key = %found.key, "deleting an upload that was never committed");
                sometimes!(Mark::OrphanDeleted);
                self.queue.insert((found.key.clone(), Garbage::Orphan));
            }
        }
    }

    fn find_wal(&mut self, found: &[Found], image: &Image) {
        for found in found.iter().filter(|found| is_left_of_wal(found, image)) {
            sometimes!(Mark::OldWalObjectDeleted);
            self.found_wal = true;
            self.queue.insert((found.key.clone(), Garbage::Wal));
        }
    }

    fn handle_deleted(&mut self, now: Now, key: Key, garbage: Garbage, result: &StoreResult) {
        match (result, garbage) {
            (Ok(_), Garbage::Destroyed(id)) => {
                sometimes!(Mark::AdoptedWalObjectDeleted, data_object::place_in_wal(id).is_some());
                self.deleted.push(id);
            }
            (Ok(_), Garbage::Orphan | Garbage::Wal) => {}
            // The next sweep or scrub finds it again.
            (Err(error), _) => {
                tracing::warn!(%key, %error, "could not delete an object; trying again later");
                self.sweep_at = Some(now.mono.after(self.backoff.wait(&mut self.rng)));
            }
        }
    }
}

impl Scrub {
    /// Whether a page is to be listed; if so, of the names after which.
    fn is_due(&self, now: Now) -> Option<Option<Key>> {
        match &self.stage {
            Stage::Idle { next: Some(next) } if *next <= now.mono => Some(None),
            Stage::Due { after, at } if *at <= now.mono => Some(after.clone()),
            _ => None,
        }
    }

    fn list(&mut self, op: OpId, after: Option<Key>) -> StoreOp {
        self.stage = Stage::Listing { op, after: after.clone() };
        StoreOp::List { prefix: Key::from(self.prefix), after, max: PAGE }
    }

    fn is_listing(&self, op: OpId) -> bool {
        matches!(self.stage, Stage::Listing { op: listing, .. } if listing == op)
    }

    /// A page is over: the names after `next` come next, or after a wait the same page again, or nothing for a while, or ever.
    fn listed(&mut self, now: Now, next: Option<Key>, wait: Option<Duration>, interval: Option<Duration>) {
        let Stage::Listing { after, .. } = &mut self.stage else { unreachable!("the caller asked which is listing") };
        self.stage = match (next, wait) {
            (_, Some(wait)) => Stage::Due { after: after.take(), at: now.mono.after(wait) },
            (Some(next), None) => Stage::Due { after: Some(next), at: now.mono },
            (None, None) => Stage::Idle { next: interval.map(|interval| now.mono.after(interval)) },
        };
    }

    fn at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Idle { next } => *next,
            Stage::Due { at, .. } => Some(*at),
            Stage::Listing { .. } => None,
        }
    }
}

/// Whether nobody can need an object of a WAL any more. A seal, known by its length, is needed for ever: a put of the life
/// that it has ended may still be on its way. What became data is the objects' business.
fn is_left_of_wal(found: &Found, image: &Image) -> bool {
    let Some((node, epoch, seq)) = format::parse_key(&found.key) else { return false };
    let is_data = data_object::parse_any_key(&found.key).is_some_and(|id| image.objects.contains_key(&id));
    if is_data {
        return false;
    }
    let Some(node) = image.nodes.get(&node).filter(|_| found.len > format::SEAL_LEN as u64) else { return false };
    match node.epochs.get(&epoch) {
        Some(life) => seq < life.trim,
        // Its recovery has ended, or its streams were closed.
        None => epoch < node.epoch,
    }
}
