//! Reads from objects: which requests, in which order, and what to do about their failures. A plain struct within the
//! shard; the shard performs its calls and hands their completions back.
//!
//! ```text
//!  read ──> index cached? ──yes──> one GET of adjacent data blocks ──> batches
//!              │ no                        ^
//!              └─> GET of the object's last bytes ──> [GET of the rest of the index]
//!                  (once for all reads that wait for that index)
//! ```
//! What may pass is asked again with back-off; what never will, or did not for too long, ends the read. Objects never
//! change, so an index that was decoded once is right for as long as its object exists.

mod cache;
mod tries;

use self::cache::IndexCache;
use self::tries::{Tries, Verdict};
use super::{BlockEntry, Footer, Index, Plan, StoredBatch, decode_block, key};
use crate::envelope::DecodeError;
use crate::id::{ClusterId, ObjectId, Offset, StreamId};
use crate::limits::Limits;
use crate::machine::{Deadline, Instant, Now, OpId, OpIds, Payload, Rng, WallTime};
use crate::store::{Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult, attempt};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Names a read until it is finished. Chosen by the caller, unique among those not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// Its name.
    pub id: ReadId,
    /// The cluster; an object of another one is corrupt.
    pub cluster: ClusterId,
    /// From which object.
    pub object: ObjectId,
    /// Of which stream.
    pub stream: StreamId,
    /// From the batch on that holds this offset.
    pub offset: Offset,
    /// How much.
    pub extent: Extent,
    /// What is read may take so many bytes of memory.
    pub room: u64,
}

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// At most so many bytes of batches; the first is returned whole all the same.
    Bytes(u64),
    /// All batches from the offset on of the first data block there that has a record of this time or later; none if no
    /// block has.
    Since(WallTime),
}

/// A read that came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub id: ReadId,
    /// Consecutive batches. By [`Extent::Bytes`], at least one, the first being the one that holds the offset. There may
    /// be more of the range in the object than is returned, and less than was asked for.
    pub result: Result<ReadBatches, ReadError>,
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBatches {
    /// In order.
    pub batches: Vec<StoredBatch>,
    /// Length of the buffer that all of them are slices of.
    pub buffer: u64,
    /// By [`Extent::Since`]: the largest time in the blocks that were passed over.
    pub older: Option<WallTime>,
}

/// Why a read gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// The object is deleted: look at the metadata again.
    Gone,
    /// The object does not hold the offset: the metadata that said so is not about this object.
    NotHeld,
    /// There is so much to be read at once, for a batch that is so large, and less room was given.
    TooLong(u64),
    /// The object stays unreadable, however often it is read.
    Corrupt(DecodeError),
    /// The store did not answer for long, or denies access.
    Unavailable(StoreError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the object is not in the bucket"),
            Self::NotHeld => f.write_str("the object does not hold the offset"),
            Self::TooLong(len) => write!(f, "{len} bytes are to be read at once"),
            Self::Corrupt(error) => write!(f, "a part of the object {error}"),
            Self::Unavailable(error) => error.fmt(f),
        }
    }
}

/// What the reader wants done, and what it is done with. The caller drains both.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be performed; each completion goes to [`ObjectReader::handle`].
    pub calls: Vec<(OpId, StoreCall)>,
    /// Reads at their end.
    pub finished: Vec<Finished>,
}

/// Reads objects, remembering the indexes of those read last.
#[derive(Debug)]
pub struct ObjectReader {
    attempt: Duration,
    tail: u64,
    rng: Rng,
    indexes: IndexCache,
    loads: BTreeMap<ObjectId, Load>,
    fetches: BTreeMap<ReadId, Fetch>,
    in_flight: BTreeMap<OpId, Target>,
    retries: BTreeSet<(Instant, Target)>,
}

/// An index on its way, and who waits for it.
#[derive(Debug)]
struct Load {
    cluster: ClusterId,
    step: LoadStep,
    tries: Tries,
    waiting: Vec<Read>,
}

#[derive(Clone, Copy, Debug)]
enum LoadStep {
    Tail,
    Index(Footer),
}

/// Data blocks on their way.
#[derive(Debug)]
struct Fetch {
    read: Read,
    plan: Plan,
    older: Option<WallTime>,
    tries: Tries,
}

/// What a call or a retry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Index(ObjectId),
    Data(ReadId),
    /// The read was cancelled while the call was in flight.
    Nobody,
}

/// What is read of an object of which nothing is known: index and footer of all but huge objects.
const TAIL: u64 = 64 << 10;

/// Index entries kept in memory, over all objects: some 4 MiB.
const CACHED_ENTRIES: usize = 64 << 10;

impl ObjectReader {
    /// A reader that knows nothing yet.
    #[must_use]
    pub fn new(limits: &Limits, rng: Rng) -> Self {
        Self {
            attempt: limits.store_attempt,
            tail: TAIL,
            rng,
            indexes: IndexCache::new(CACHED_ENTRIES),
            loads: BTreeMap::new(),
            fetches: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            retries: BTreeSet::new(),
        }
    }

    /// Begins a read.
    ///
    /// # Panics
    /// When a read of that name is not finished.
    pub fn read(&mut self, now: Now, read: Read, ops: &mut OpIds, out: &mut Outcome) {
        if let Some(index) = self.indexes.get(read.object) {
            let planned = Planned::of(index, &read);
            return self.fetch(now, read, planned, ops, out);
        }
        if let Some(load) = self.loads.get_mut(&read.object) {
            return load.waiting.push(read);
        }
        let tries = Tries::new(now, self.attempt);
        self.loads.insert(
            read.object,
            Load { cluster: read.cluster, step: LoadStep::Tail, tries, waiting: alloc::vec![read] },
        );
        self.ask(Target::Index(read.object), ops, out);
    }

    /// Takes the completion of one of the calls.
    ///
    /// # Panics
    /// When the call is not this reader's.
    pub fn handle(&mut self, now: Now, op: OpId, result: StoreResult, ops: &mut OpIds, out: &mut Outcome) {
        let target = self.in_flight.remove(&op).expect("one completion for each call of this reader");
        let got = result.map(|done| match done {
            StoreDone::Got { body, total, .. } => (body, total),
            other => unreachable!("a get completed as {other:?}"),
        });
        match target {
            Target::Index(object) => self.index_answered(now, object, got, ops, out),
            Target::Data(id) => self.data_answered(now, id, got, out),
            Target::Nobody => {}
        }
    }

    /// Whether a call is this reader's and not completed.
    #[must_use]
    pub fn owns(&self, op: OpId) -> bool {
        self.in_flight.contains_key(&op)
    }

    /// When to call [`ObjectReader::tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.retries.first().map(|(at, _)| Deadline { at: *at, reason: "read an object again" })
    }

    /// Asks again for what is due.
    pub fn tick(&mut self, now: Now, ops: &mut OpIds, out: &mut Outcome) {
        while let Some((at, target)) = self.retries.first().copied()
            && at <= now.mono
        {
            self.retries.pop_first();
            self.ask(target, ops, out);
        }
    }

    /// Forgets a read that nobody waits for any more; one that is finished or unknown is left alone. Returns the call for
    /// its data if that is not completed: until then what it brings takes memory.
    pub fn cancel(&mut self, id: ReadId) -> Option<OpId> {
        for load in self.loads.values_mut() {
            load.waiting.retain(|read| read.id != id);
        }
        if self.fetches.remove(&id).is_some() {
            self.retries.retain(|(_, target)| *target != Target::Data(id));
            let mut calls = self.in_flight.iter_mut().filter(|(_, target)| **target == Target::Data(id));
            if let Some((op, target)) = calls.next() {
                *target = Target::Nobody;
                return Some(*op);
            }
        }
        None
    }

    /// Panics with what is broken, if anything is.
    pub fn invariants(&self) {
        let under_way = |target: &Target| match target {
            Target::Index(object) => self.loads.contains_key(object),
            Target::Data(id) => self.fetches.contains_key(id),
            Target::Nobody => true,
        };
        assert!(self.in_flight.values().all(under_way), "a call in flight is for something");
        assert!(self.retries.iter().all(|(_, target)| under_way(target)), "a retry is for something");
        let live = self.in_flight.values().filter(|target| **target != Target::Nobody).count() + self.retries.len();
        assert_eq!(live, self.loads.len() + self.fetches.len(), "each load and fetch has one call or one retry");
        self.indexes.invariants();
    }

    fn index_answered(
        &mut self,
        now: Now,
        object: ObjectId,
        got: Result<(Payload, u64), StoreError>,
        ops: &mut OpIds,
        out: &mut Outcome,
    ) {
        let load = self.loads.get_mut(&object).expect("a load lasts until its index is there or it failed");
        let verdict = match got {
            Ok((body, total)) => match load.learn(object, &body, total) {
                Ok(Learned::Index(index)) => return self.loaded(now, object, index, ops, out),
                Ok(Learned::Footer(footer)) => {
                    load.step = LoadStep::Index(footer);
                    return self.ask(Target::Index(object), ops, out);
                }
                Err(error) => load.tries.undecodable(now, error, &mut self.rng),
            },
            Err(error) => load.tries.failed(now, error, &mut self.rng),
        };
        match verdict {
            Verdict::Again(at) => {
                self.retries.insert((at, Target::Index(object)));
            }
            Verdict::GiveUp(error) => {
                let load = self.loads.remove(&object).expect("it was there above");
                let failed = |read: Read| Finished { id: read.id, result: Err(error) };
                out.finished.extend(load.waiting.into_iter().map(failed));
            }
        }
    }

    fn loaded(&mut self, now: Now, object: ObjectId, index: Index, ops: &mut OpIds, out: &mut Outcome) {
        let load = self.loads.remove(&object).expect("what was loaded was under way");
        for read in load.waiting {
            let planned = Planned::of(&index, &read);
            self.fetch(now, read, planned, ops, out);
        }
        self.indexes.insert(object, index);
    }

    fn fetch(&mut self, now: Now, read: Read, planned: Planned, ops: &mut OpIds, out: &mut Outcome) {
        let result = match planned {
            Planned::Blocks(plan, older) => {
                let tries = Tries::new(now, attempt(self.attempt, plan.len));
                let earlier = self.fetches.insert(read.id, Fetch { read, plan, older, tries });
                assert!(earlier.is_none(), "{:?} is not finished", read.id);
                return self.ask(Target::Data(read.id), ops, out);
            }
            Planned::Nothing(older) => Ok(ReadBatches { batches: Vec::new(), buffer: 0, older }),
            Planned::NotHeld => Err(ReadError::NotHeld),
            Planned::TooLong(len) => Err(ReadError::TooLong(len)),
        };
        out.finished.push(Finished { id: read.id, result });
    }

    fn data_answered(&mut self, now: Now, id: ReadId, got: Result<(Payload, u64), StoreError>, out: &mut Outcome) {
        let fetch = self.fetches.get_mut(&id).expect("a fetch lasts until its answer, or is cancelled with it");
        let object = fetch.read.object;
        let verdict = match got {
            Ok((body, _)) => match extract(&fetch.read, &fetch.plan, &body) {
                Ok(batches) => {
                    let result = Ok(ReadBatches { batches, buffer: body.len() as u64, older: fetch.older });
                    self.fetches.remove(&id);
                    return out.finished.push(Finished { id, result });
                }
                Err(error) => fetch.tries.undecodable(now, error, &mut self.rng),
            },
            Err(error) => fetch.tries.failed(now, error, &mut self.rng),
        };
        match verdict {
            Verdict::Again(at) => {
                self.retries.insert((at, Target::Data(id)));
            }
            Verdict::GiveUp(error) => {
                self.fetches.remove(&id);
                self.indexes.forget(object);
                out.finished.push(Finished { id, result: Err(error) });
            }
        }
    }

    /// Calls for the next thing that a load or a fetch needs.
    fn ask(&mut self, target: Target, ops: &mut OpIds, out: &mut Outcome) {
        let (object, span, within) = match target {
            Target::Index(object) => (object, self.loads[&object].step.span(self.tail), self.attempt),
            Target::Data(id) => {
                let Fetch { read, plan, .. } = &self.fetches[&id];
                (read.object, Span::Range { at: plan.at, len: plan.len }, attempt(self.attempt, plan.len))
            }
            Target::Nobody => unreachable!("nothing is asked for nobody"),
        };
        let op = ops.issue();
        self.in_flight.insert(op, target);
        let call = StoreCall { op: StoreOp::Get { key: key(object), span }, within };
        out.calls.push((op, call));
    }
}

/// What of an object is to be read.
enum Planned {
    /// These blocks, after what was passed over.
    Blocks(Plan, Option<WallTime>),
    /// No block is late enough.
    Nothing(Option<WallTime>),
    NotHeld,
    TooLong(u64),
}

impl Planned {
    fn of(index: &Index, read: &Read) -> Self {
        let held = |entry: &BlockEntry| entry.start <= read.offset;
        let fitting = |plan: Plan, older| {
            if plan.len > read.room { Self::TooLong(plan.len) } else { Self::Blocks(plan, older) }
        };
        match read.extent {
            Extent::Bytes(max_bytes) => {
                let plan = index.plan(read.stream, read.offset, (max_bytes, read.room));
                plan.filter(|plan| held(&plan.blocks[0])).map_or(Self::NotHeld, |plan| fitting(plan, None))
            }
            Extent::Since(time) => {
                if !index.from(read.stream, read.offset).first().is_some_and(held) {
                    return Self::NotHeld;
                }
                let (plan, older) = index.seek(read.stream, read.offset, time);
                plan.map_or(Self::Nothing(older), |plan| fitting(plan, older))
            }
        }
    }
}

impl LoadStep {
    const fn span(self, tail: u64) -> Span {
        match self {
            Self::Tail => Span::Last { len: tail },
            Self::Index(footer) => Span::Range { at: footer.index_at, len: footer.index_len as u64 },
        }
    }
}

/// What one answer teaches about an object of which the index is wanted.
enum Learned {
    Footer(Footer),
    Index(Index),
}

impl Load {
    fn learn(&self, object: ObjectId, body: &Payload, total: u64) -> Result<Learned, DecodeError> {
        let (footer, origin) = match self.step {
            LoadStep::Index(footer) => (footer, footer.index_at),
            LoadStep::Tail => {
                let origin = total.checked_sub(body.len() as u64).ok_or(DecodeError::Malformed)?;
                (Footer::decode(self.cluster, object, total, body)?, origin)
            }
        };
        match (footer.index_in(origin, body), self.step) {
            (Some(index), _) => Index::decode(object, &footer, &index).map(Learned::Index),
            (None, LoadStep::Tail) => Ok(Learned::Footer(footer)),
            (None, LoadStep::Index(_)) => Err(DecodeError::Short),
        }
    }
}

/// The batches that were asked for, out of the blocks that hold them.
fn extract(read: &Read, plan: &Plan, body: &Payload) -> Result<Vec<StoredBatch>, DecodeError> {
    let mut batches: Vec<StoredBatch> = Vec::new();
    let mut len = 0;
    let max_bytes = match read.extent {
        Extent::Bytes(max_bytes) => max_bytes,
        Extent::Since(_) => u64::MAX,
    };
    for entry in &plan.blocks {
        let bytes = entry.block_in(plan.at, body).ok_or(DecodeError::Short)?;
        for batch in decode_block(read.object, entry, &bytes)? {
            if batch.end <= read.offset {
                continue;
            }
            len += batch.batch.len() as u64;
            if len > max_bytes && !batches.is_empty() {
                return Ok(batches);
            }
            batches.push(batch);
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests;
