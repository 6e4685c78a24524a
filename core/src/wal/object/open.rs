//! A life of the log: appends, cuts, trims and room, from its beginning to its close.
//!
//! ```text
//!   deleted    trim      mark    durable    head
//!  ---|- - - - -|---------|--------|---------|- - pending - - -|- - granted - -|
//!     |         |<---- at most `capacity`, by cost ----------------------------->|
//!     |<---- at most `objects` ------------->|
//! ```
//! Where the number of objects is at its bound, what is pending waits, and nothing is granted: until cuts that were made
//! already, or are made since the log is half full, are committed, trimmed and deleted. None of that waits for an append.

use super::log::Log;
use super::put::Judgement;
use super::rules::Rules;
use super::sweep::Sweep;
use crate::id::{FeatureLevel, Lsn};
use crate::machine::{Deadline, Effects, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Mail;
use crate::shard;
use crate::store::{StoreCall, StoreResult};
use crate::wal::{Append, CutMarker, CutReason, Effect, Life, Positions};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A log in use.
#[derive(Debug)]
pub(super) struct Open {
    rules: Rules,
    log: Log,
    sweep: Sweep,
    /// What each object from the trim point on costs, counted from the log's beginning; and the head.
    sums: VecDeque<u64>,
    /// Given to the shard and not used by it yet.
    granted: u64,
    /// Everything below is committed.
    trim: Lsn,
    /// The last cut marker's LSN.
    mark: Lsn,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Asked to close; something is still in flight.
    Draining,
    /// What is left is being deleted.
    Sweeping,
}

impl Open {
    /// Begins a life. Nothing is to be written for that: its names belong to nobody else.
    pub(super) fn new(life: Life, level: FeatureLevel, rules: Rules) -> Self {
        Self {
            rules,
            log: Log::new(life, level, rules),
            sweep: Sweep::new(life, rules),
            sums: VecDeque::from([0]),
            granted: 0,
            trim: Lsn(0),
            mark: Lsn(0),
            stage: Stage::Serving,
        }
    }

    /// Takes appends, within what was granted.
    pub(super) fn append(&mut self, batches: Vec<Append>) {
        assert!(batches.is_empty() || self.stage == Stage::Serving, "an append to a log that is {:?}", self.stage);
        for append in batches {
            let cost = self.log.push(append);
            assert!(cost <= self.granted, "an append of cost {cost} beyond the {} bytes granted", self.granted);
            self.granted -= cost;
        }
    }

    /// Puts a cut marker behind what was delivered.
    pub(super) fn cut(&mut self, reason: CutReason, out: &mut Effects<Effect>) {
        self.mark = self.log.durable();
        out.push(Effect::Mail(Mail::Shard(shard::Mail::Cut(CutMarker { lsn: self.mark, reason }))));
    }

    /// Everything below is committed.
    pub(super) fn trim(&mut self, lsn: Lsn) {
        assert!(lsn <= self.mark, "a trim to {lsn}, beyond the last cut at {}", self.mark);
        while self.trim < lsn {
            self.trim = self.trim.next();
            self.sums.pop_front();
        }
        self.sweep.trim(self.trim);
    }

    /// Nothing more will be appended. It is durable that the streams of this life are closed.
    pub(super) fn close(&mut self) {
        assert_eq!(self.stage, Stage::Serving, "a log is closed once, and while it serves");
        self.stage = Stage::Draining;
    }

    /// A request ended. What it means, if it is one for an object of the log, and of which.
    pub(super) fn completed(
        &mut self,
        now: Now,
        op: OpId,
        result: StoreResult,
        rng: &mut Rng,
        out: &mut Effects<Effect>,
    ) -> Option<(Judgement, Lsn)> {
        if self.sweep.completed(now, op, &result, rng) {
            return None;
        }
        // What belongs to neither is a read ahead of a recovery, which was over before it ended.
        let (judgement, seq, records) = self.log.completed(now, op, result, rng)?;
        if !records.is_empty() {
            out.push(Effect::Mail(Mail::Shard(shard::Mail::Appended(records))));
        }
        Some((judgement, seq))
    }

    /// Begins whatever can be begun. Whether it is closed.
    pub(super) fn pump(&mut self, now: Now, ops: &mut OpIds, out: &mut Effects<Effect>) -> bool {
        self.log.wake(now);
        while self.has_room() && self.log.forms_at().is_some_and(|at| at <= now.mono) {
            let cost = self.log.form(now);
            self.sums.push_back(self.sum_at(self.log.head().0 - 1) + cost);
        }
        sometimes!(Mark::WalObjectsAtBound, !self.has_room() && self.log.forms_at().is_some());
        if self.is_half_full() {
            sometimes!(Mark::ObjectWalHalfFull);
            self.cut(CutReason::RingHalfFull, out);
        }
        if self.stage == Stage::Draining && self.log.is_quiet() {
            self.sweep_all();
        }
        let calls: Vec<(OpId, StoreCall)> =
            self.log.requests(ops).into_iter().chain(self.sweep.requests(now, ops)).collect();
        calls.into_iter().for_each(|(id, call)| out.push(Effect::Store(id, call)));
        self.grant(out);
        self.stage == Stage::Sweeping && self.sweep.was_through()
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let forms_at = self.log.forms_at().filter(|_| self.has_room());
        Deadline::earliest([
            forms_at.map(|at| Deadline { at, reason: "put what has gathered into an object" }),
            self.log.wakes_at().map(|at| Deadline { at, reason: "put an object of the WAL again" }),
            self.sweep.wakes_at().map(|at| Deadline { at, reason: "delete objects of the WAL" }),
        ])
    }

    /// Up to where it is.
    pub(super) fn positions(&self) -> Positions {
        let (trim, durable, head) = (self.trim, self.log.durable(), self.log.head());
        let (used, in_flight) = (self.cost(trim, head), self.cost(durable, head));
        Positions { trim, durable, head, used, in_flight }
    }

    /// Everything below was delivered, and nothing above it.
    pub(super) fn durable(&self) -> Lsn {
        self.log.durable()
    }

    /// Objects that are not durable.
    pub(super) fn in_flight(&self) -> usize {
        self.log.in_flight()
    }

    /// Objects that may be in the bucket.
    pub(super) fn objects(&self) -> u64 {
        self.sweep.left(self.log.head())
    }

    /// Given to the shard and not used by it yet.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Panics with what is broken.
    pub(super) fn invariants(&self) {
        self.log.invariants();
        self.sweep.invariants();
        let order = [self.trim, self.mark, self.log.durable(), self.log.head()];
        assert!(order.is_sorted(), "out of order: trim, mark, durable, head = {order:?}");
        assert_eq!(self.sums.len() as u64, self.log.head().0 - self.trim.0 + 1, "each object has its cost");
        let (used, promised) = (self.cost(self.trim, self.log.head()), self.promised());
        assert!(used + promised <= self.rules.capacity, "{used} used and {promised} promised");
        assert!(self.windowed() <= self.rules.window, "{} bytes in a window of {}", self.windowed(), self.rules.window);
        assert!(self.objects() <= self.rules.objects, "{} objects in the bucket", self.objects());
        assert!(self.stage != Stage::Sweeping || self.log.is_quiet(), "nothing is put any more");
    }

    /// The streams of this life are closed: whatever there is of it, nobody needs it.
    fn sweep_all(&mut self) {
        if self.mark < self.log.durable() {
            tracing::warn!(
                cut = self.mark.0,
                durable = self.log.durable().0,
                "the WAL is closed with records in no cut"
            );
        }
        self.stage = Stage::Sweeping;
        self.mark = self.log.head();
        self.trim(self.mark);
    }

    fn has_room(&self) -> bool {
        self.objects() < self.rules.objects
    }

    /// Whether a cut is needed to make room: of bytes or of objects half is in no cut, a quarter of which is durable, so
    /// that what is only in flight does not cause a cut at every completion.
    fn is_half_full(&self) -> bool {
        if self.stage != Stage::Serving {
            return false;
        }
        let (mark, durable, head) = (self.mark, self.log.durable(), self.log.head());
        let bytes = self.cost(mark, head) + self.log.pending_cost() >= self.rules.capacity / 2
            && self.cost(mark, durable) >= self.rules.capacity / 4;
        let objects = head.0 - mark.0 >= self.rules.objects / 2 && durable.0 - mark.0 >= self.rules.objects.div_ceil(4);
        bytes || objects
    }

    fn grant(&mut self, out: &mut Effects<Effect>) {
        if self.stage != Stage::Serving || !self.has_room() {
            return;
        }
        let room = self.rules.capacity - self.cost(self.trim, self.log.head()) - self.promised();
        let more = room.min(self.rules.window - self.windowed());
        if more > 0 {
            self.granted += more;
            out.push(Effect::Mail(Mail::Shard(shard::Mail::Granted(more))));
        }
    }

    /// What the objects from `from` up to `to` cost.
    fn cost(&self, from: Lsn, to: Lsn) -> u64 {
        self.sum_at(to.0) - self.sum_at(from.0)
    }

    fn sum_at(&self, seq: u64) -> u64 {
        self.sums[usize::try_from(seq - self.trim.0).expect("few objects are not trimmed")]
    }

    /// What was granted and what is pending cost at most.
    fn promised(&self) -> u64 {
        self.granted + self.log.pending_cost()
    }

    /// Cost of what takes the window.
    fn windowed(&self) -> u64 {
        self.promised() + self.cost(self.log.durable(), self.log.head())
    }
}
