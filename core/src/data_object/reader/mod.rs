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
mod blocks;
mod cursors;
mod indexes;
mod line;
mod loads;
mod plan;
mod tries;
mod types;

pub use types::{
    Extent, Finished, Following, Origin, Outcome, Read, ReadBatches, ReadBlock, ReadError, ReadId, ReadStats,
};

use self::blocks::{BlockCache, BlockKey, Spare, Wasted};
use self::cursors::{Course, CursorKey, Cursors};
use self::indexes::IndexCache;
use self::loads::{Load, Loads, ReadPlan, Step, Target, Waiter, What};
use self::plan::{Planned, Taking};
use self::tries::{PATIENCE, Tries, Verdict};
use super::{BlockEntry, Footer, Index, StoredBatch, decode_block, key};
use crate::envelope::DecodeError;
use crate::id::{ClusterId, ObjectId};
use crate::limits::Limits;
use crate::machine::{Deadline, Mark, Now, OpId, OpIds, Payload, Rng, sometimes};
use crate::store::{StoreCall, StoreDone, StoreError, StoreOp, StoreResult, attempt};
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
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
        self.eager.extend(load.ahead_for);
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
            let what = What::Index { cluster: read.cluster, object: read.object, step: Step::Tail };
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

    fn index_answered(
        &mut self,
        now: Now,
        (target, mut load): (Target, Load),
        (body, total): (&Payload, u64),
        ops: &mut OpIds,
        out: &mut Outcome,
    ) {
        let What::Index { cluster, object, step } = &mut load.what else {
            unreachable!("a load without blocks is of an index")
        };
        match learn(*cluster, *object, *step, (body, total)) {
            Ok(Learned::Footer(footer)) => {
                *step = Step::Rest(footer);
                let op = ops.issue();
                self.loads.go_on(target, load, op);
                self.call(now, target, op, out);
            }
            Ok(Learned::Index(index)) => {
                for Waiter { read, .. } in load.waiting {
                    let planned = Planned::of(&index, &read);
                    self.place_planned(now, read, planned, out);
                }
                self.indexes.insert(*object, index);
            }
            Err(error) => self.failed(now, target, load, Failure::Bytes(error), out),
        }
    }

    /// Keeps what is sound of the blocks that were asked for, and serves who waits for it.
    fn data_answered(&mut self, now: Now, mut load: Load, body: &Payload, out: &mut Outcome) {
        let (object, at) = (load.object(), load.blocks()[0].at);
        self.stats.bytes += body.len() as u64;
        let mut bad: Vec<(BlockEntry, DecodeError)> = Vec::new();
        for entry in load.blocks() {
            match alone(entry, at, body).and_then(|bytes| decode_block(object, entry, &bytes)) {
                Ok(batches) => self.keep(object, entry, batches, load.ahead_for),
                Err(error) => bad.push((*entry, error)),
            }
        }
        let is_stuck = |waiter: &mut Waiter| bad.iter().any(|(entry, _)| waiter.wants(entry));
        let mut stuck: Vec<Waiter> = load.waiting.extract_if(.., is_stuck).collect();
        for Waiter { read, plan } in core::mem::take(&mut load.waiting) {
            self.finish(&read, plan.expect("who waits for blocks knows which"), out);
        }
        // What is damaged is asked for again, block by block: the others are there.
        for (entry, error) in bad {
            let ours: Vec<Waiter> = stuck.extract_if(.., |waiter| waiter.wants(&entry)).collect();
            if ours.is_empty() {
                continue;
            }
            let target = Target::Data(self.loads.next_id());
            let mut again = Load::new(What::Blocks { object, blocks: vec![entry] }, load.origin, load.ahead_for);
            (again.waiting, again.tries) = (ours, load.tries.clone());
            self.failed(now, target, again, Failure::Bytes(error), out);
        }
        self.make_room(self.room.saturating_sub(self.loads.reserved()), Spare::All);
    }

    /// A load brought nothing: it is tried again, or all who wait for it hear so.
    fn failed(&mut self, now: Now, target: Target, mut load: Load, failure: Failure, out: &mut Outcome) {
        let object = load.object();
        if load.waiting.is_empty() {
            // Whoever wants it asks for it, and hears why.
            sometimes!(Mark::ReadAheadFailed, load.ahead_for.is_some());
            if !matches!(failure, Failure::Store(error) if error.may_pass()) {
                self.indexes.forget(object);
            }
            if let Some(cursor) = load.ahead_for {
                self.cursors.shrink(cursor);
            }
            return;
        }
        let within = attempt(self.attempt, load.len());
        let tries = load.tries.get_or_insert_with(|| Tries::new(now, within));
        let verdict = match failure {
            Failure::Store(error) => tries.failed(now, error, &mut self.rng),
            Failure::Bytes(error) => tries.undecodable(now, error, &mut self.rng),
        };
        match verdict {
            Verdict::Again(at) => self.loads.pause(target, load, at),
            Verdict::GiveUp(error) => {
                sometimes!(Mark::LoadFailedForMany, load.waiting.len() > 1);
                self.indexes.forget(object);
                fail(load.waiting, error, out);
            }
        }
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

    /// Keeps a block that has come; one that was read ahead for a cursor which is elsewhere by now may leave first.
    fn keep(&mut self, object: ObjectId, entry: &BlockEntry, batches: Vec<StoredBatch>, ahead_for: Option<CursorKey>) {
        let awaited = ahead_for.filter(|cursor| self.cursors.awaits(*cursor, entry));
        self.blocks.insert(object, entry, batches, awaited);
        if ahead_for.is_some() && awaited.is_none() {
            sometimes!(Mark::ReadAheadWasted);
            self.stats.ahead_wasted += u64::from(entry.len);
            self.blocks.spend(BlockKey::of(object, entry));
        }
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

/// Why a load brought nothing.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The store did not give it.
    Store(StoreError),
    /// It makes no sense.
    Bytes(DecodeError),
}

/// What one answer teaches about an object of which the index is wanted.
enum Learned {
    Footer(Footer),
    Index(Index),
}

fn learn(
    cluster: ClusterId,
    object: ObjectId,
    step: Step,
    (body, total): (&Payload, u64),
) -> Result<Learned, DecodeError> {
    let (footer, origin) = match step {
        Step::Rest(footer) => (footer, footer.index_at),
        Step::Tail => {
            let origin = total.checked_sub(body.len() as u64).ok_or(DecodeError::Malformed)?;
            (Footer::decode(cluster, object, total, body)?, origin)
        }
    };
    match (footer.index_in(origin, body), step) {
        (Some(index), _) => Index::decode(object, &footer, &index).map(Learned::Index),
        (None, Step::Tail) => Ok(Learned::Footer(footer)),
        (None, Step::Rest(_)) => Err(DecodeError::Short),
    }
}

/// A block in a buffer of its own.
fn alone(entry: &BlockEntry, origin: u64, body: &Payload) -> Result<Bytes, DecodeError> {
    let bytes = entry.block_in(origin, body).ok_or(DecodeError::Short)?;
    Ok(if bytes.len() == body.len() { bytes } else { Bytes::copy_from_slice(&bytes) })
}

fn fail(waiting: Vec<Waiter>, error: ReadError, out: &mut Outcome) {
    out.finished.extend(waiting.into_iter().map(|waiter| Finished { id: waiter.read.id, result: Err(error) }));
}

#[cfg(test)]
mod tests;
