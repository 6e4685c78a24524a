//! One compaction under way: its inputs are read, its results written, some at a time.
//!
//! ```text
//!  indexes ─► ids ─► read ─► build ─► put ─┐  as many results at a time as one object may hold bytes
//!                     ▲                    │
//!                     └────────────────────┘
//!                                          └─► all are stored: checked, then committed
//! ```
//! What it holds in memory are the data blocks of the results in hand. Every block is verified when it comes, so that bytes
//! damaged on their way are read again, and damage in the store never spreads.

use super::check::check;
use super::plan::{Plan, PlannedResult};
use super::survey::{Piece, StatePiece};
use super::work::{Tried, Work};
use crate::data_object::{self, BlockEntry, Copied, CopyWriter, Index, IndexStep, Learned, StoredBatch};
use crate::envelope::DecodeError;
use crate::id::{ObjectId, StreamEpoch};
use crate::machine::{Instant, Mark, Now, OpId, OpIds, Payload, Rng, sometimes};
use crate::metadata::{CompactedObject, Compaction};
use crate::producers::ProducerTable;
use crate::store::{Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult, attempt};
use crate::wal::Appended;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// What is read at once.
const READ: u64 = 8 << 20;

/// What is read of an object of which nothing is known: index and footer of all but huge objects.
const TAIL: u64 = 64 << 10;

/// Why an attempt ends without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// This object is better left alone for a while.
    pub(super) blamed: Option<ObjectId>,
    pub(super) why: String,
}

/// What an attempt needs from others to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it waits for the store, or for an answer.
    Nothing,
    /// So many object ids.
    Ids(usize),
    /// The answer to this.
    Commit(Compaction),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Attempt {
    plan: Box<Plan>,
    rules: CopyRules,
    phase: Phase,
    work: Work<Task>,
    indexes: BTreeMap<ObjectId, Index>,
    /// Of each result.
    ids: Vec<ObjectId>,
    /// The results in hand; those before are stored.
    hand: Range<usize>,
    blocks: BTreeMap<(ObjectId, u64), Vec<StoredBatch>>,
    states: BTreeMap<(ObjectId, u64), ProducerTable>,
    built: BTreeMap<usize, Copied>,
    stored: BTreeMap<usize, CompactedObject>,
    /// Results of which a put was sent.
    touched: usize,
    pub(super) volume: Volume,
}

/// What of the limits concerns it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyRules {
    pub(super) object: u64,
    pub(super) data_block: u32,
    pub(super) attempt: Duration,
}

/// Bytes that were asked for and sent, repetitions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) read: u64,
    pub(super) written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Indexing,
    Naming,
    Reading,
    Putting,
    Committing,
}

/// What a request is for.
#[derive(Debug)]
enum Task {
    /// The index of an input.
    Index(ObjectId, IndexStep),
    /// Parts of an input that lie side by side.
    Parts(Parts),
    /// A result.
    Put(usize),
    /// It is there: whether it is what was put.
    Compare(usize),
}

#[derive(Debug)]
struct Parts {
    object: ObjectId,
    at: u64,
    len: u64,
    wanted: Vec<Wanted>,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Block(BlockEntry),
    State(StatePiece),
}

impl Attempt {
    pub(super) fn new(plan: Box<Plan>, rules: CopyRules) -> Self {
        let mut work = Work::default();
        plan.inputs.iter().for_each(|input| work.add(Task::Index(input.id, IndexStep::Tail)));
        Self {
            plan,
            rules,
            phase: Phase::Indexing,
            work,
            indexes: BTreeMap::new(),
            ids: Vec::new(),
            hand: 0..0,
            blocks: BTreeMap::new(),
            states: BTreeMap::new(),
            built: BTreeMap::new(),
            stored: BTreeMap::new(),
            touched: 0,
            volume: Volume::default(),
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of batches that it holds.
    pub(super) fn held(&self) -> u64 {
        self.blocks.values().flatten().map(|batch| batch.batch.len() as u64).sum()
    }

    /// Goes as far as it can without the store.
    ///
    /// # Errors
    /// Why it can't succeed.
    pub(super) fn advance(&mut self, ids: &mut VecDeque<ObjectId>) -> Result<Need, Trouble> {
        while self.work.is_empty() {
            match self.phase {
                Phase::Indexing => self.phase = Phase::Naming,
                Phase::Naming => {
                    let missing = self.plan.results.len().saturating_sub(ids.len());
                    if missing > 0 {
                        return Ok(Need::Ids(missing));
                    }
                    self.ids = ids.drain(..self.plan.results.len()).collect();
                    self.begin_reading()?;
                }
                Phase::Reading => {
                    self.build()?;
                    self.touched = self.hand.end;
                    self.hand.clone().for_each(|result| self.work.add(Task::Put(result)));
                    self.phase = Phase::Putting;
                }
                Phase::Putting if self.hand.end < self.plan.results.len() => self.begin_reading()?,
                Phase::Putting => {
                    self.phase = Phase::Committing;
                    return self.compaction().map(Need::Commit);
                }
                Phase::Committing => return Ok(Need::Nothing),
            }
        }
        Ok(Need::Nothing)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.work.is_ready()
    }

    /// The next request, with what it moves.
    pub(super) fn ask(&mut self, ops: &mut OpIds) -> Option<(OpId, StoreCall, u64)> {
        let Self { plan, work, rules, built, ids, volume, .. } = self;
        let mut moves = 0;
        let (op, call) = work.ask(ops, |task| {
            let get = |object: &ObjectId, span| StoreOp::Get { key: data_object::key(*object), span };
            let op = match task {
                Task::Index(object, step) => {
                    let size = plan.inputs().find(|(id, _)| id == object).map_or(TAIL, |(_, size)| size);
                    moves = match step {
                        IndexStep::Tail => size.min(TAIL),
                        IndexStep::Whole(footer) => footer.index_len.into(),
                    };
                    get(object, step.span(TAIL))
                }
                Task::Parts(Parts { object, at, len, .. }) => {
                    moves = *len;
                    get(object, Span::Range { at: *at, len: *len })
                }
                Task::Put(result) => {
                    let body = built[result].body.clone();
                    moves = body.len() as u64;
                    volume.written += moves;
                    StoreOp::Put { key: data_object::key(ids[*result]), body, only_if: Precondition::Absent }
                }
                Task::Compare(result) => {
                    moves = built[result].tail.len() as u64;
                    get(&ids[*result], Span::Last { len: moves })
                }
            };
            StoreCall { op, within: attempt(rules.attempt, moves) }
        })?;
        Some((op, call, moves))
    }

    /// Takes the completion of a request.
    ///
    /// # Errors
    /// Why it can't succeed.
    pub(super) fn completed(&mut self, now: Now, op: OpId, result: StoreResult, rng: &mut Rng) -> Result<(), Trouble> {
        let tried = self.work.completed(op).expect("one completion for each request");
        let got = result.map(|done| match done {
            StoreDone::Got { body, total, .. } => Some((body, total)),
            StoreDone::Put { .. } => None,
            other => unreachable!("a get or put completed as {other:?}"),
        });
        match (got, &tried.task) {
            (Ok(Some((body, total))), _) => {
                self.volume.read += body.len() as u64;
                self.got(now, tried, &body, total, rng)
            }
            (Ok(None), Task::Put(result)) => {
                self.is_stored(*result);
                Ok(())
            }
            (Ok(None), other) => unreachable!("a get of {other:?} completed as a put"),
            (Err(StoreError::Exists), Task::Put(result)) if tried.is_again() => {
                let compare = Task::Compare(*result);
                self.work.go_on(tried, compare);
                Ok(())
            }
            (Err(error), _) if error.may_pass() => self.again(now, tried, rng, error.to_string()),
            (Err(error), _) => Err(self.trouble(&tried.task, error.to_string())),
        }
    }

    pub(super) fn wake(&mut self, now: Now) {
        self.work.wake(now);
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.work.wakes_at()
    }

    /// Ends it. Returns the ids that may have been used, those that were not, and the requests in flight.
    pub(super) fn give_up(self) -> (Vec<ObjectId>, Vec<ObjectId>, impl Iterator<Item = OpId>) {
        let mut used = self.ids;
        let unused = used.split_off(self.touched.min(used.len()));
        (used, unused, self.work.give_up())
    }

    pub(super) fn invariants(&self) {
        self.work.invariants();
        assert!(self.stored.len() <= self.hand.end, "results are stored in order of hands");
        assert!(self.hand.end <= self.touched.max(self.hand.end) && self.touched <= self.plan.results.len());
        assert!(self.phase != Phase::Committing || self.stored.len() == self.plan.results.len(), "all is stored");
    }

    fn got(&mut self, now: Now, tried: Tried<Task>, body: &Payload, total: u64, rng: &mut Rng) -> Result<(), Trouble> {
        let learned = match &tried.task {
            Task::Index(object, step) => match step.learn(self.plan.cluster, *object, body, total) {
                Ok(Learned::Index(index)) => {
                    self.indexes.insert(*object, index);
                    Ok(())
                }
                Ok(Learned::Next(step)) => {
                    let next = Task::Index(*object, step);
                    self.work.go_on(tried, next);
                    return Ok(());
                }
                Err(error) => Err(error),
            },
            Task::Parts(parts) => self.take_parts(parts, body),
            Task::Compare(result) => {
                let copied = &self.built[result];
                let same = total == copied.body.len() as u64 && body.0 == copied.tail;
                let result = *result;
                if same {
                    sometimes!(Mark::OwnObjectRecognised);
                    self.is_stored(result);
                }
                if same { Ok(()) } else { Err(DecodeError::Foreign) }
            }
            Task::Put(_) => unreachable!("a put brings no bytes"),
        };
        match learned {
            Ok(()) => Ok(()),
            Err(error) => self.again(now, tried, rng, error.to_string()),
        }
    }

    fn take_parts(&mut self, parts: &Parts, body: &Payload) -> Result<(), DecodeError> {
        let Parts { object, at: origin, .. } = parts;
        for wanted in &parts.wanted {
            match wanted {
                Wanted::Block(entry) => {
                    let bytes = entry.block_in(*origin, body).ok_or(DecodeError::Short)?;
                    let batches = data_object::decode_block(*object, entry, &bytes)?;
                    self.blocks.insert((*object, entry.at), batches);
                }
                Wanted::State(StatePiece { stream, end, at, len, .. }) => {
                    let from = usize::try_from(at - origin).map_err(|_| DecodeError::Short)?;
                    let upto = from.checked_add(*len as usize).filter(|upto| *upto <= body.len());
                    let bytes = body.slice(from..upto.ok_or(DecodeError::Short)?);
                    let table = data_object::decode_state(*object, *stream, *end, &bytes)?;
                    self.states.insert((*object, *at), table);
                }
            }
        }
        Ok(())
    }

    fn is_stored(&mut self, result: usize) {
        let copied = self.built.remove(&result).expect("what is put was built");
        let (id, size) = (self.ids[result], copied.body.len() as u64);
        let object = CompactedObject { id, size, ranges: copied.ranges, states: copied.states };
        self.stored.insert(result, object);
    }

    fn again(&mut self, now: Now, tried: Tried<Task>, rng: &mut Rng, why: String) -> Result<(), Trouble> {
        let trouble = self.trouble(&tried.task, why);
        self.work.again(now, tried, rng, || trouble)
    }

    fn trouble(&self, task: &Task, why: String) -> Trouble {
        match task {
            Task::Index(object, _) | Task::Parts(Parts { object, .. }) => {
                Trouble { blamed: Some(*object), why: format!("{} can't be read: {why}", data_object::key(*object)) }
            }
            Task::Put(result) | Task::Compare(result) => {
                let key = data_object::key(self.ids[*result]);
                Trouble { blamed: None, why: format!("{key} can't be written: {why}") }
            }
        }
    }

    /// Takes the next results in hand, and wants what they are made of.
    fn begin_reading(&mut self) -> Result<(), Trouble> {
        self.blocks.clear();
        self.states.clear();
        let from = self.hand.end;
        let mut bytes = 0_u64;
        let fits = |result: &&PlannedResult| {
            bytes = bytes.saturating_add(result.bytes());
            bytes <= self.rules.object
        };
        let taken = self.plan.results[from..].iter().take_while(fits).count().max(1);
        self.hand = from..from + taken;
        for parts in side_by_side(self.wanted()?) {
            self.work.add(Task::Parts(parts));
        }
        self.phase = Phase::Reading;
        Ok(())
    }

    /// What the results in hand are made of, by object and position.
    fn wanted(&self) -> Result<BTreeMap<(ObjectId, u64), Wanted>, Trouble> {
        let mut wanted = BTreeMap::new();
        for result in &self.plan.results[self.hand.clone()] {
            for piece in result.ranges.iter().flat_map(|range| &range.pieces) {
                let blocks = self.blocks_of(piece).iter();
                wanted.extend(blocks.map(|entry| ((piece.object, entry.at), Wanted::Block(*entry))));
            }
            wanted.extend(result.states.iter().map(|state| ((state.object, state.at), Wanted::State(*state))));
        }
        Ok(wanted)
    }

    /// The data blocks that hold a piece.
    fn blocks_of(&self, piece: &Piece) -> &[BlockEntry] {
        let blocks = self.indexes.get(&piece.object).map_or(&[][..], |index| index.from(piece.stream, piece.start));
        &blocks[..blocks.partition_point(|entry| entry.start < piece.end)]
    }

    fn build(&mut self) -> Result<(), Trouble> {
        for result in self.hand.clone() {
            let planned = &self.plan.results[result];
            let mut writer = CopyWriter::new(self.plan.cluster, self.ids[result], self.rules.data_block);
            for range in &planned.ranges {
                let mut batches = Vec::new();
                for piece in &range.pieces {
                    self.copy(piece, &mut batches)?;
                }
                writer.add(range.stream(), (range.start(), range.end()), &batches);
            }
            for state in &planned.states {
                let table = self.states.get(&(state.object, state.at)).expect("all that is wanted was read");
                writer.add_state(state.stream, state.end, table);
            }
            self.built.insert(result, writer.finish());
        }
        Ok(())
    }

    /// The batches of a piece: all that the metadata says, and nothing else.
    fn copy(&self, piece: &Piece, out: &mut Vec<Appended>) -> Result<(), Trouble> {
        let (mut at, mut bytes) = (piece.start, 0);
        for entry in self.blocks_of(piece) {
            let batches = self.blocks.get(&(piece.object, entry.at)).expect("all that is wanted was read");
            for batch in batches.iter().filter(|batch| piece.start <= batch.base && batch.base < piece.end) {
                if batch.base != at || batch.end > piece.end {
                    return Err(not_held(piece));
                }
                at = batch.end;
                bytes += batch.batch.len() as u64;
                out.push(Appended {
                    stream: piece.stream,
                    epoch: StreamEpoch::default(),
                    base: batch.base,
                    end: batch.end,
                    max_timestamp: batch.max_timestamp,
                    batch: batch.batch.clone(),
                });
            }
        }
        if (at, bytes) == (piece.end, piece.bytes) { Ok(()) } else { Err(not_held(piece)) }
    }

    /// What is to be committed.
    fn compaction(&mut self) -> Result<Compaction, Trouble> {
        self.blocks.clear();
        self.states.clear();
        let results: Vec<CompactedObject> = core::mem::take(&mut self.stored).into_values().collect();
        check(&self.plan, &results).map_err(|why| Trouble { blamed: None, why })?;
        self.stored = (0..).zip(results.iter().cloned()).collect();
        Ok(Compaction { inputs: self.plan.inputs.iter().map(|input| input.id).collect(), results })
    }
}

/// The object does not hold what the metadata says.
fn not_held(piece: &Piece) -> Trouble {
    let Piece { stream, start, end, bytes, object, .. } = piece;
    let key = data_object::key(*object);
    Trouble {
        blamed: Some(*object),
        why: format!("{key} does not hold the {bytes} bytes of stream {stream} from offset {start} to {end}"),
    }
}

/// Parts that lie side by side are read at once.
fn side_by_side(wanted: BTreeMap<(ObjectId, u64), Wanted>) -> Vec<Parts> {
    let mut all: Vec<Parts> = Vec::new();
    for ((object, at), one) in wanted {
        let len = match one {
            Wanted::Block(entry) => u64::from(entry.len),
            Wanted::State(state) => u64::from(state.len),
        };
        let follows = |last: &&mut Parts| (last.object, last.at + last.len) == (object, at) && last.len + len <= READ;
        match all.last_mut().filter(follows) {
            Some(last) => {
                last.len += len;
                last.wanted.push(one);
            }
            None => all.push(Parts { object, at, len, wanted: alloc::vec![one] }),
        }
    }
    all
}
