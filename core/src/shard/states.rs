//! Loading what objects say about the producers of partitions that are being opened.
//!
//! ```text
//!  open ──► wanted ──► in flight ──► decoded ──► all of a partition's: it knows its producers
//!             ▲            │
//!             └── later ◄──┘ failed, whatever the reason: without it, nobody can tell a duplicate
//! ```
//! An object that is gone was rewritten: its blocks are where the metadata says by now.
//! A partition takes no batch of an idempotent producer before it knows its producers; all else it does.
//! Blocks that lie side by side in an object are read at once. A few reads are in flight, so that opening takes bounded
//! memory, however many partitions there are.

use crate::data_object::{decode_state, key};
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::{Backoff, Deadline, Instant, Mark, Now, OpId, OpIds, Payload, Rng, sometimes};
use crate::metadata::StateImage;
use crate::producers::ProducerTable;
use crate::store::{Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// Reads in flight.
const AT_ONCE: usize = 8;

/// Blocks side by side are read at once up to this length.
const READ: u64 = 1 << 20;

/// One state block of a partition.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    stream: StreamId,
    /// Which of the stream's blocks.
    index: usize,
    state: StateImage,
}

/// Blocks of one object, side by side.
#[derive(Debug)]
struct Read {
    object: ObjectId,
    blocks: Vec<Wanted>,
}

/// A partition whose blocks are not all there.
#[derive(Debug)]
struct Loading {
    tables: Vec<Option<ProducerTable>>,
    missing: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct States {
    attempt: Duration,
    rng: Rng,
    backoff: Backoff,
    wanted: VecDeque<Read>,
    in_flight: BTreeMap<OpId, Read>,
    /// Nothing is asked before, since something failed.
    rests_until: Option<Instant>,
    loading: BTreeMap<StreamId, Loading>,
}

impl States {
    pub(super) fn new(attempt: Duration, rng: Rng) -> Self {
        Self {
            attempt,
            rng,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
            wanted: VecDeque::new(),
            in_flight: BTreeMap::new(),
            rests_until: None,
            loading: BTreeMap::new(),
        }
    }

    /// Loads all blocks of these streams, each of which has some.
    pub(super) fn load(&mut self, streams: &[(StreamId, &[StateImage])]) {
        let mut all: Vec<Wanted> = Vec::new();
        for (stream, states) in streams {
            let stream = *stream;
            all.extend(states.iter().enumerate().map(|(index, state)| Wanted { stream, index, state: *state }));
            let tables = states.iter().map(|_| None).collect();
            let other = self.loading.insert(stream, Loading { tables, missing: states.len() });
            assert!(other.is_none(), "a partition is opened once");
        }
        self.want(all);
    }

    fn want(&mut self, mut all: Vec<Wanted>) {
        all.sort_by_key(|wanted| (wanted.state.object, wanted.state.at));
        for wanted in all {
            match self.wanted.back_mut().filter(|read| read.takes(&wanted)) {
                Some(read) => read.blocks.push(wanted),
                None => {
                    let read = Read { object: wanted.state.object, blocks: alloc::vec![wanted] };
                    self.wanted.push_back(read);
                }
            }
        }
    }

    /// The partition is gone.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.loading.remove(&stream);
    }

    /// What is to be asked now.
    pub(super) fn ask(&mut self, now: Now, ops: &mut OpIds) -> Vec<(OpId, StoreCall)> {
        if self.rests_until.is_some_and(|until| now.mono < until) {
            return Vec::new();
        }
        self.rests_until = None;
        let mut calls = Vec::new();
        while self.in_flight.len() < AT_ONCE
            && let Some(mut read) = self.wanted.pop_front()
        {
            read.blocks.retain(|wanted| self.loading.contains_key(&wanted.stream));
            let Some(span) = read.span() else { continue };
            let op = ops.issue();
            calls.push((op, StoreCall { op: StoreOp::Get { key: key(read.object), span }, within: self.attempt }));
            self.in_flight.insert(op, read);
        }
        calls
    }

    /// Whether a call is of this and not completed.
    pub(super) fn owns(&self, op: OpId) -> bool {
        self.in_flight.contains_key(&op)
    }

    /// Takes the completion of a call. Returns the partitions of which everything is known now.
    /// What was asked of an object that is gone is where `current` says that the block of that stream and end is now.
    pub(super) fn handle(
        &mut self,
        now: Now,
        op: OpId,
        result: StoreResult,
        current: impl Fn(StreamId, Offset) -> Option<StateImage>,
    ) -> Vec<(StreamId, ProducerTable)> {
        let mut read = self.in_flight.remove(&op).expect("one completion for each call");
        let is_gone = matches!(result, Err(StoreError::Missing));
        match result {
            Ok(StoreDone::Got { body, .. }) => self.take(&mut read, &body),
            Ok(other) => unreachable!("a get completed as {other:?}"),
            Err(error) => {
                tracing::debug!(object = %key(read.object), %error, "producers could not be read; trying again");
            }
        }
        read.blocks.retain(|wanted| self.loading.contains_key(&wanted.stream));
        if read.blocks.is_empty() {
            self.backoff.reset();
        } else {
            sometimes!(Mark::ProducersReadAgain);
            self.rests_until = Some(now.mono.after(self.backoff.wait(&mut self.rng)));
            if is_gone {
                sometimes!(Mark::ProducersReplaced);
                for wanted in &mut read.blocks {
                    wanted.state = current(wanted.stream, wanted.state.end).unwrap_or(wanted.state);
                }
                self.want(read.blocks);
            } else {
                self.wanted.push_back(read);
            }
        }
        let complete: Vec<StreamId> =
            self.loading.iter().filter(|(_, loading)| loading.missing == 0).map(|(stream, _)| *stream).collect();
        complete.into_iter().filter_map(|stream| Some((stream, self.loading.remove(&stream)?.fold()))).collect()
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.rests_until.map(|at| Deadline { at, reason: "read producers again" })
    }

    /// Whether nothing is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.loading.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn invariants(&self) {
        assert!(self.in_flight.len() <= AT_ONCE, "a few reads are in flight");
        let reads = self.in_flight.values().chain(&self.wanted);
        let mut wanted: BTreeMap<StreamId, usize> = BTreeMap::new();
        reads.flat_map(|read| &read.blocks).for_each(|block| *wanted.entry(block.stream).or_default() += 1);
        for (stream, loading) in &self.loading {
            assert_eq!(wanted.get(stream), Some(&loading.missing), "what is missing of {stream} is asked for");
        }
    }

    /// Decodes what came, and leaves in `read` what could not be.
    fn take(&mut self, read: &mut Read, body: &Payload) {
        let origin = read.blocks.first().map_or(0, |first| first.state.at);
        read.blocks.retain(|Wanted { stream, index, state }| {
            let Some(loading) = self.loading.get_mut(stream) else { return false };
            let from = usize::try_from(state.at - origin).unwrap_or(usize::MAX);
            let to = from.saturating_add(state.len as usize);
            let bytes = body.0.slice(from.min(body.len())..to.min(body.len()));
            match decode_state(state.object, *stream, state.end, &bytes) {
                Ok(table) => {
                    loading.tables[*index] = Some(table);
                    loading.missing -= 1;
                    false
                }
                Err(error) => {
                    tracing::warn!(object = %key(state.object), %stream, "a state block {error}; reading it again");
                    true
                }
            }
        });
    }
}

impl Read {
    fn takes(&self, wanted: &Wanted) -> bool {
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else { return false };
        let (first, last, next) = (first.state, last.state, wanted.state);
        self.object == next.object
            && last.at + u64::from(last.len) == next.at
            && next.at + u64::from(next.len) - first.at <= READ
    }

    /// From its first block to its last.
    fn span(&self) -> Option<Span> {
        let (first, last) = (self.blocks.first()?.state, self.blocks.last()?.state);
        Some(Span::Range { at: first.at, len: last.at + u64::from(last.len) - first.at })
    }
}

impl Loading {
    fn fold(self) -> ProducerTable {
        let mut all = ProducerTable::default();
        self.tables.into_iter().flatten().for_each(|table| all.follow(table));
        all
    }
}
