//! Reads from objects: which requests, in which order, and what to do about their failures. A plain struct within the
//! shard; the shard performs its calls and hands their completions back.
//!
//! **Owns** the indexes and data blocks that were read last, what is on its way from the bucket, the line of those who
//! wait for it, and where each reader is.
//!
//! **Promises** that a read gives what the object holds from its offset on, checked; that every read ends, also while the
//! store does not answer; that cached blocks and what is on its way take no more than [`Limits::block_cache`] together,
//! unless a single block does, which is then alone; that no more than [`Limits::object_reads`] requests are under way;
//! and that what is read ahead takes neither the place nor the turn of what is wanted now.
//!
//! ```text
//!  read ──> index known? ──yes──> first block there? ──yes──> batches, as far as blocks are there
//!              │ no                   │ no    ▲
//!              │                      │       └── is it on its way? wait for that, too
//!              ▼                      ▼
//!          GET of the object's    in line, by turns of the origins ──> one GET of adjacent blocks,
//!          last bytes                                                  also of several readers
//!          (once for all who wait)
//!                          then, in what is left of requests and memory: read ahead for whoever goes on
//! ```
//! Objects never change and no id is given twice, so what was read once is right for as long as it is kept. *Whether*
//! it may be read is decided before, by the metadata: a block of a stream that was trimmed or deleted may be here, and is
//! never asked for.
//!
//! What may pass is asked again with back-off; what never will, or did not for too long, ends the read, and all others
//! that wait for the same. What was read ahead and fails is forgotten, unless somebody waits for it by then.

mod ahead;
mod answers;
mod blocks;
mod cursors;
mod indexes;
mod line;
mod load;
mod loads;
mod plan;
mod tries;
mod types;

pub use types::{
    Extent, Finished, Following, Origin, Outcome, Read, ReadBatches, ReadBlock, ReadError, ReadId, ReadStats,
};

use self::answers::Failure;
use self::blocks::{BlockCache, BlockKey, Spare, Wasted};
use self::cursors::{Course, CursorKey, Cursors};
use self::indexes::IndexCache;
use self::load::{Load, ReadPlan, Waiter, What};
use self::loads::{Loads, Target};
use self::plan::{Planned, Taking};
use self::tries::{PATIENCE, Tries};
use super::{BlockEntry, IndexStep, key};
use crate::limits::Limits;
use crate::machine::{Deadline, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::store::{StoreCall, StoreDone, StoreOp, StoreResult, attempt};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

/// Reads objects, remembering what was read last.
#[derive(Debug)]
pub struct ObjectReader {
    attempt: Duration,
    tail: u64,
    /// Memory for blocks, cached and on their way.
    room: u64,
    /// Requests at once.
    requests: usize,
    /// What is read ahead, or of several readers, is asked for in pieces of so many bytes.
    piece: u64,
    rng: Rng,
    indexes: IndexCache,
    blocks: BlockCache,
    cursors: Cursors,
    loads: Loads,
    /// Cursors for which there may be something to be read ahead.
    eager: BTreeSet<CursorKey>,
    stats: ReadStats,
}

/// What is read of an object of which nothing is known: index and footer of all but huge objects.
const TAIL: u64 = 64 << 10;

/// Index entries kept in memory, over all objects: some 4 MiB.
const CACHED_ENTRIES: usize = 64 << 10;

/// Where a read that was begun is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    Finished,
    /// It waits for what others had asked for.
    Joined,
    /// It waits for what was asked for it.
    Asked,
}

impl ObjectReader {
    /// A reader that knows nothing yet.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        let first = 2 * u64::from(limits.data_block);
        Self {
            attempt: limits.store_attempt,
            tail: TAIL,
            room: limits.block_cache,
            requests: limits.object_reads as usize,
            piece: limits.read_piece.into(),
            rng,
            indexes: IndexCache::new(CACHED_ENTRIES),
            blocks: BlockCache::default(),
            cursors: Cursors::new(first, limits.read_ahead, limits.idle_reader),
            loads: Loads::default(),
            eager: BTreeSet::new(),
            stats: ReadStats::default(),
        }
    }

    /// Begins a read. `following` are the ranges of the stream that it may go on in, the one that holds its offset first.
    /// Nothing is asked of the store before [`ObjectReader::drive`], so that reads begun together are asked for together.
    ///
    /// # Panics
    /// When a read of that name is not finished.
    pub fn read(&mut self, now: Now, read: Read, following: Vec<Following>, out: &mut Outcome) {
        let cursor = matches!(read.extent, Extent::Bytes(_)).then_some(read.cursor());
        let course = cursor.map(|_| self.cursors.begin(now.mono, &read, following));
        if let (Some(cursor), Some(Course::Elsewhere)) = (cursor, course) {
            self.waste(cursor);
        }
        let was_reached = cursor.and_then(|cursor| self.cursors.get(cursor)).is_some_and(|at| read.offset < at.reached);
        let placed = self.place(now, read, out);
        match placed {
            Placed::Finished => self.stats.hits += 1,
            Placed::Joined => self.stats.joined += 1,
            Placed::Asked => {
                sometimes!(Mark::BlockLeftWhileWanted, was_reached && course == Some(Course::On));
                self.stats.misses += 1;
            }
        }
        if let (Some(cursor), Some(Course::On), Placed::Joined | Placed::Asked) = (cursor, course, placed) {
            self.cursors.grow(cursor);
        }
        self.eager.extend(cursor);
        self.expire_cursors(now);
    }

    /// Asks the store for what is next: what is wanted first, then what is worth to be read ahead.
    pub fn drive(&mut self, now: Now, ops: &mut OpIds, out: &mut Outcome) {
        while let Some(target) = self.loads.first() {
            if self.loads.in_flight().requests >= self.requests {
                break;
            }
            let cost = self.loads.get(target).cost();
            let room = self.room.saturating_sub(self.loads.reserved());
            // What is larger than all the room goes alone.
            if cost > room && self.loads.reserved() > 0 {
                break;
            }
            let op = ops.issue();
            let target = self.loads.leave(op, room, self.piece);
            let held = self.room.saturating_sub(self.loads.reserved());
            self.make_room(held, Spare::All);
            self.call(now, target, op, out);
        }
        sometimes!(Mark::ReadWaitedInLine, self.loads.first().is_some());
        for cursor in core::mem::take(&mut self.eager) {
            self.read_ahead(now, cursor, ops, out);
        }
    }

    /// Takes the completion of one of the calls.
    ///
    /// # Panics
    /// When the call is not this reader's.
    pub fn handle(&mut self, now: Now, op: OpId, result: StoreResult, ops: &mut OpIds, out: &mut Outcome) {
        let (target, load) = self.loads.answered(op);
        let got = result.map(|done| match done {
            StoreDone::Got { body, total, .. } => (body, total),
            other => unreachable!("a get completed as {other:?}"),
        });
        if got.is_ok() {
            self.eager.extend(load.ahead_for);
        }
        match got {
            Err(error) => self.failed(now, target, load, Failure::Store(error), out),
            Ok((body, total)) if load.blocks().is_empty() => {
                self.index_answered(now, (target, load), (&body, total), ops, out);
            }
            Ok((body, _)) => self.data_answered(now, load, &body, out),
        }
        self.drive(now, ops, out);
    }

    /// Whether a call is this reader's and not completed.
    #[must_use]
    pub fn owns(&self, op: OpId) -> bool {
        self.loads.owns(op)
    }

    /// When to call [`ObjectReader::tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let at = |at, reason| Deadline { at, reason };
        Deadline::earliest([
            self.loads.deadline().map(|due| at(due, "read an object again, or give up waiting to")),
            self.cursors.deadline().map(|due| at(due, "forget where somebody read who reads no more")),
        ])
    }

    /// Asks again for what is due, and gives up what waited too long.
    pub fn tick(&mut self, now: Now, ops: &mut OpIds, out: &mut Outcome) {
        let due = now.mono.after(self.attempt.saturating_mul(PATIENCE));
        for load in self.loads.expire(now.mono, due) {
            sometimes!(Mark::ReadCrowdedOut);
            self.stats.crowded += load.waiting.len() as u64;
            fail(load.waiting, ReadError::Crowded, out);
        }
        self.expire_cursors(now);
        self.drive(now, ops, out);
    }

    /// Forgets a read that nobody waits for any more; one that is finished or unknown is left alone. Returns the call for
    /// its data if that is not completed and for nobody else: until then what it brings takes memory.
    pub fn cancel(&mut self, id: ReadId) -> Option<OpId> {
        self.loads.cancel(id)
    }

    /// Somebody reads no more.
    pub fn forget(&mut self, origin: Origin) {
        for cursor in self.cursors.forget(origin) {
            self.abandon(cursor);
        }
    }

    /// Whether nothing is on its way, and nobody waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.loads.is_idle()
    }

    /// What it has done, and how it is.
    #[must_use]
    pub fn stats(&self) -> ReadStats {
        ReadStats {
            cached: self.blocks.held(),
            unread: self.blocks.unread(),
            reserved: self.loads.reserved(),
            waiting: self.loads.waiting(),
            in_line: self.loads.in_line(),
            ..self.stats
        }
    }

    /// Panics with what is broken, if anything is.
    pub fn invariants(&self) {
        self.indexes.invariants();
        self.blocks.invariants();
        self.cursors.invariants();
        self.loads.invariants();
        let (held, reserved) = (self.blocks.held(), self.loads.reserved());
        let is_alone = held == 0 && reserved > self.room;
        assert!(held + reserved <= self.room || is_alone, "blocks stay within their memory: {held} and {reserved}");
        assert!(self.loads.in_flight().requests <= self.requests, "requests at once have a limit");
    }

    /// Finishes a read with what is there, or has it wait.
    fn place(&mut self, now: Now, read: Read, out: &mut Outcome) -> Placed {
        match self.indexes.get(read.object) {
            Some(index) => {
                let planned = Planned::of(index, &read);
                self.place_planned(now, read, planned, out)
            }
            None => self.want_index(now, read),
        }
    }

    fn place_planned(&mut self, now: Now, read: Read, planned: Planned, out: &mut Outcome) -> Placed {
        let result = match planned {
            Planned::Blocks(plan, older) => return self.place_in(now, read, ReadPlan { plan, older }, out),
            Planned::Nothing(older) => Ok(ReadBatches { blocks: Vec::new(), older }),
            Planned::NotHeld => Err(ReadError::NotHeld),
            Planned::TooLong(len) => Err(ReadError::TooLong(len)),
        };
        out.finished.push(Finished { id: read.id, result });
        Placed::Finished
    }

    fn place_in(&mut self, now: Now, read: Read, of: ReadPlan, out: &mut Outcome) -> Placed {
        let object = read.object;
        let first = BlockKey::of(object, &of.plan.blocks[0]);
        if self.blocks.contains(first) {
            self.finish(&read, of, out);
            return Placed::Finished;
        }
        if let Some(target) = self.loads.bringing(first) {
            sometimes!(Mark::ReadJoined, !self.loads.get(target).is_ahead());
            self.loads.join(target, Waiter { read, plan: Some(of) });
            return Placed::Joined;
        }
        let is_missing = |entry: &&BlockEntry| {
            let key = BlockKey::of(object, entry);
            !self.blocks.contains(key) && self.loads.bringing(key).is_none()
        };
        let blocks: Vec<BlockEntry> = of.plan.blocks.iter().take_while(is_missing).copied().collect();
        let within = attempt(self.attempt, of.plan.len);
        let target = Target::Data(self.loads.next_id());
        let load = Load::new(What::Blocks { object, blocks }, read.origin, None);
        self.loads.line_up(target, load, now.mono.after(within.saturating_mul(PATIENCE)));
        self.loads.join(target, Waiter { read, plan: Some(of) });
        Placed::Asked
    }

    fn want_index(&mut self, now: Now, read: Read) -> Placed {
        let target = Target::Index(read.object);
        let is_there = self.loads.contains(target);
        if !is_there {
            let what = What::Index { cluster: read.cluster, object: read.object, step: IndexStep::Tail };
            let due = now.mono.after(self.attempt.saturating_mul(PATIENCE));
            self.loads.line_up(target, Load::new(what, read.origin, None), due);
        }
        self.loads.join(target, Waiter { read, plan: None });
        if is_there { Placed::Joined } else { Placed::Asked }
    }

    /// Gives a read what is there, from its first block on.
    fn finish(&mut self, read: &Read, ReadPlan { plan, older }: ReadPlan, out: &mut Outcome) {
        let mut taking = Taking::new(read);
        let mut passed = Vec::new();
        for entry in &plan.blocks {
            let key = BlockKey::of(read.object, entry);
            let Some(hit) = self.blocks.read(key) else { break };
            let holds = (hit.batches.first().map(|first| first.base), hit.batches.last().map(|last| last.end));
            assert_eq!(holds, (Some(entry.start), Some(entry.end)), "a block in the cache is the one of its name");
            if hit.is_first {
                sometimes!(Mark::ReadAheadUsed);
                self.stats.ahead_used += hit.len;
            }
            if !taking.take(hit.batches, hit.len) {
                break;
            }
            passed.push((key, entry.end));
        }
        let blocks = taking.blocks;
        if matches!(read.extent, Extent::Bytes(_)) {
            let cursor = read.cursor();
            let end = blocks.last().and_then(|block| block.batches.last()).map(|batch| batch.end);
            self.cursors.advance(cursor, read.offset, end.unwrap_or(read.offset));
            for (key, end) in passed {
                if !self.cursors.is_followed(cursor, end) {
                    self.blocks.spend(key);
                }
            }
            self.eager.insert(cursor);
        }
        out.finished.push(Finished { id: read.id, result: Ok(ReadBatches { blocks, older }) });
    }

    /// Calls for what a load needs next.
    fn call(&mut self, now: Now, target: Target, op: OpId, out: &mut Outcome) {
        let load = self.loads.get_mut(target);
        let within = attempt(self.attempt, load.len());
        load.tries.get_or_insert_with(|| Tries::new(now, within));
        let op_of = StoreOp::Get { key: key(load.object()), span: load.span(self.tail) };
        if load.blocks().is_empty() {
            self.stats.index_requests += 1;
        } else {
            self.stats.requests += 1;
        }
        out.calls.push((op, StoreCall { op: op_of, within }));
    }

    /// Lets cached blocks go until the others take so much at most.
    fn make_room(&mut self, to: u64, spare: Spare) {
        for Wasted { ahead_for, len } in self.blocks.shrink(to, spare) {
            sometimes!(Mark::ReadAheadWasted);
            self.stats.ahead_wasted += len;
            if let Some(cursor) = ahead_for {
                self.cursors.shrink(cursor);
            }
        }
    }

    fn expire_cursors(&mut self, now: Now) {
        while let Some(cursor) = self.cursors.expire(now.mono) {
            self.abandon(cursor);
        }
    }

    /// Somebody reads elsewhere: less is worth to be read ahead.
    fn waste(&mut self, cursor: CursorKey) {
        self.cursors.shrink(cursor);
        self.abandon(cursor);
    }

    fn abandon(&mut self, cursor: CursorKey) {
        let len = self.blocks.abandon(cursor);
        sometimes!(Mark::ReadAheadWasted, len > 0);
        self.stats.ahead_wasted += len;
    }
}

fn fail(waiting: Vec<Waiter>, error: ReadError, out: &mut Outcome) {
    out.finished.extend(waiting.into_iter().map(|waiter| Finished { id: waiter.read.id, result: Err(error) }));
}

#[cfg(test)]
mod tests;
