//! The log's end: appends that wait, objects being put, and records acknowledged in order.
//!
//! ```text
//!      durable                                head
//!  ------->| durable |  being put | being put  |<- - - pending - - -
//!          |<----- in flight, at most depth -->|
//! ```
//! A batch leaves when it is full, or when the last one left an interval ago: so what comes to an idle log leaves at once,
//! and a busy one makes no more than one request per interval, and one per full object.

use super::format;
use super::put::{Judgement, Put};
use super::rules::Rules;
use crate::id::{FeatureLevel, Lsn, Offset, StreamEpoch, StreamId};
use crate::machine::{Instant, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::store::{StoreCall, StoreResult, attempt};
use crate::wal::record::STAMPED;
use crate::wal::{Append, Appended, Life, cost};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// The end of one life's log.
#[derive(Debug)]
pub(super) struct Log {
    life: Life,
    level: FeatureLevel,
    rules: Rules,
    durable: Lsn,
    pending: VecDeque<Append>,
    pending_cost: u64,
    /// What the pending records will take in objects.
    pending_len: usize,
    /// From `durable` on.
    flight: VecDeque<Flight>,
    /// When the last batch left.
    left: Option<Instant>,
}

/// An object between durable and head.
#[derive(Debug)]
struct Flight {
    put: Put,
    /// What it makes durable.
    records: Vec<Appended>,
}

impl Log {
    /// A log of which nothing is written.
    pub(super) fn new(life: Life, level: FeatureLevel, rules: Rules) -> Self {
        Self {
            life,
            level,
            rules,
            durable: Lsn(0),
            pending: VecDeque::new(),
            pending_cost: 0,
            pending_len: 0,
            flight: VecDeque::new(),
            left: None,
        }
    }

    /// The next object.
    pub(super) fn head(&self) -> Lsn {
        Lsn(self.durable.0 + self.flight.len() as u64)
    }

    /// All objects below are durable, and so is what they hold.
    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// What the pending records will cost.
    pub(super) fn pending_cost(&self) -> u64 {
        self.pending_cost
    }

    /// Objects that are not durable.
    pub(super) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Whether every append is durable.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.flight.is_empty()
    }

    /// Adds an append. Returns its cost.
    pub(super) fn push(&mut self, append: Append) -> u64 {
        assert!(append.batch.len() >= STAMPED, "a batch too short to have been checked");
        assert!(append.base < append.end, "a batch without records");
        let cost = cost(append.batch.len());
        self.pending_cost += cost;
        self.pending_len += format::len(&append);
        self.pending.push_back(append);
        cost
    }

    /// When the next object may be formed, if only time is missing.
    pub(super) fn forms_at(&self) -> Option<Instant> {
        if self.pending.is_empty() || self.flight.len() >= self.rules.depth {
            return None;
        }
        let is_full = self.pending_len >= self.rules.object;
        Some(self.left.filter(|_| !is_full).map_or(Instant::default(), |left| left.after(self.rules.interval)))
    }

    /// Forms the next object of what is pending. Returns its cost.
    pub(super) fn form(&mut self, now: Now) -> u64 {
        let count = self.fitting();
        let appends: Vec<Append> = self.pending.drain(..count).collect();
        let cost = appends.iter().map(|append| cost(append.batch.len())).sum();
        self.pending_cost -= cost;
        self.pending_len -= appends.iter().map(format::len).sum::<usize>();
        let seq = self.head();
        let built = format::build(&self.life, seq, &appends, self.level, self.rules.sizes);
        self.flight.push_back(Flight { put: Put::new(self.life, seq, built.body), records: built.records });
        self.left = Some(now.mono);
        cost
    }

    /// The requests to be sent.
    pub(super) fn requests(&mut self, ops: &mut OpIds) -> Vec<(OpId, StoreCall)> {
        let ready = self.flight.iter_mut().map(|flight| &mut flight.put).filter(|put| put.is_ready());
        ready
            .map(|put| {
                let id = ops.issue();
                let within = attempt(self.rules.attempt, put.len() as u64);
                (id, StoreCall { op: put.request(id), within })
            })
            .collect()
    }

    /// Takes a completion, and returns what it means and which records are durable by it; `None` if it is of no object.
    pub(super) fn completed(
        &mut self,
        now: Now,
        op: OpId,
        result: StoreResult,
        rng: &mut Rng,
    ) -> Option<(Judgement, Lsn, Vec<Appended>)> {
        let at = self.flight.iter().position(|flight| flight.put.waits_for() == Some(op))?;
        let put = &mut self.flight[at].put;
        let (judgement, seq) = (put.completed(now, result, rng), put.seq());
        sometimes!(Mark::WalObjectsOutOfOrder, at > 0 && judgement == Judgement::Durable);
        let mut records = Vec::new();
        while let Some(first) = self.flight.pop_front_if(|first| first.put.is_durable()) {
            self.durable = self.durable.next();
            records.extend(first.records);
        }
        Some((judgement, seq, records))
    }

    pub(super) fn wake(&mut self, now: Now) {
        self.flight.iter_mut().for_each(|flight| flight.put.wake(now));
    }

    /// When an object is asked for again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.flight.iter().filter_map(|flight| flight.put.wakes_at()).min()
    }

    /// Panics with what is broken. Bounded by what is in flight.
    pub(super) fn invariants(&self) {
        for (seq, flight) in (self.durable.0..).zip(&self.flight) {
            assert_eq!(flight.put.seq(), Lsn(seq), "objects in flight follow each other");
            assert!(!flight.records.is_empty(), "an object without records");
        }
        assert!(self.flight.len() <= self.rules.depth, "more objects in flight than allowed");
        assert!(self.flight.front().is_none_or(|first| !first.put.is_durable()), "a durable prefix is kept back");
        assert_eq!(self.pending.is_empty(), self.pending_cost == 0, "pending records have a cost");
        assert_eq!(self.pending.is_empty(), self.pending_len == 0, "pending records have a length");
    }

    /// How many of the pending records the next object takes: at least one. Of each stream it has one stretch of one epoch, so
    /// what does not go on where its stream has ended is left to the next one.
    fn fitting(&self) -> usize {
        let mut sum = 0;
        let mut ends: BTreeMap<StreamId, (StreamEpoch, Offset)> = BTreeMap::new();
        let more = self.pending.iter().take_while(|append| {
            sum += format::len(append);
            let before = ends.insert(append.stream, (append.epoch, append.end));
            sum <= self.rules.object && before.is_none_or(|end| end == (append.epoch, append.base))
        });
        more.count().max(1)
    }
}
