//! Idempotent producers of one partition (KIP-98): which batch comes next, and which was there before. A plain struct
//! within the shard.
//!
//! It owns, per producer, the epoch and the last five batches. It promises that each (producer, epoch, sequence) is
//! taken once and in order, and that nothing is said about a batch that is not durable yet.
//!
//! ```text
//!          check                      append                        apply
//!  batch ────────► next of its producer ────► pending (in flight) ────────► known (durable): the last five
//!            │
//!            ├─► in flight: whoever sent it again waits for the first one
//!            ├─► durable: answered with the first one's offset
//!            └─► neither: refused
//! ```
//! What is *appended* (pending) decides about what comes next; what is *applied* (known) is answered and persisted.
//! A log that fails forgets what is pending.
//!
//! # What a batch comes to
//! | producer and epoch | sequence | it comes to |
//! |---|---|---|
//! | unknown | any | taken |
//! | unknown | above one that its connection owes | `OUT_OF_ORDER_SEQUENCE_NUMBER` |
//! | older epoch | any | `INVALID_PRODUCER_EPOCH` |
//! | newer epoch | 0 | taken, unasked (KIP-360) |
//! | newer epoch | not 0 | `OUT_OF_ORDER_SEQUENCE_NUMBER` |
//! | same epoch | the next | taken |
//! | same epoch | of a batch that is remembered | that one's offset, once it is durable |
//! | same epoch | any other | `OUT_OF_ORDER_SEQUENCE_NUMBER` |
//!
//! As in Kafka a producer that is unknown may be in the middle of its sequence: its topic was deleted and created again
//! under it, or it was idle for so long that it is forgotten. But where the first of two batches in flight was refused and
//! comes again, to take the second would write them in the wrong order; so the shard remembers what its connection *owes*.
//! What lies below all that are remembered may be written or not: nobody who keeps to five batches in flight asks.
//!
//! # Forgetting
//! A producer is forgotten a day (by default) after its last batch: a day by the owner's monotonic clock since it wrote or since the
//! partition was opened, *and* a day by the timestamps in the log. No wall clock is asked, so none can jump. At most so
//! many producers are remembered per partition; then the one that wrote longest ago gives way, if it has been idle for
//! longer than clients try again; if not, the newcomer is told to come again.

mod sequence;
mod table;

#[cfg(test)]
mod tests;

pub use sequence::{ProducerEpoch, ProducerId, Sequence, Sequenced};
pub use table::{ProducerState, ProducerTable, REMEMBERED, Written};

use crate::id::Offset;
use crate::kafka::{ErrorCode, Refusal};
use crate::limits::Limits;
use crate::machine::{Instant, Mark, Now, WallTime, sometimes};
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

/// A producer that wrote within this time may try again what it wrote, and gives way to nobody.
pub const RETRIES_WITHIN: Duration = Duration::from_secs(15 * 60);

/// See the module.
#[derive(Debug)]
pub struct Producers {
    /// So many are remembered at most.
    limit: usize,
    /// One that did not write for so long is forgotten.
    expiration: Duration,
    /// What is durable.
    known: BTreeMap<ProducerId, Known>,
    /// By last use, the longest idle first.
    by_use: BTreeMap<u64, ProducerId>,
    uses: u64,
    /// Batches in flight, in order.
    pending: BTreeMap<ProducerId, VecDeque<Pending>>,
    /// The largest timestamp of a producer's batch.
    newest: WallTime,
}

#[derive(Debug)]
struct Known {
    state: ProducerState,
    used: u64,
    seen: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    epoch: ProducerEpoch,
    first: Sequence,
    last: Sequence,
    base: Offset,
}

/// What a batch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next of its producer.
    Append,
    /// It is in flight already, from this offset on.
    InFlight(Offset),
    /// It is durable already, from this offset on, and the broker gave its records this time, if any.
    Durable(Offset, Option<WallTime>),
    /// No.
    Refused(Refusal),
}

impl Producers {
    /// As the log left them.
    #[must_use]
    pub fn open(now: Now, table: ProducerTable, limits: &Limits) -> Self {
        let mut producers = Self {
            // What was remembered under a larger limit stays.
            limit: table.producers.len().max(limits.producers as usize),
            expiration: limits.producer_expiration,
            known: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            pending: BTreeMap::new(),
            newest: WallTime(i64::MIN),
        };
        let mut states: alloc::vec::Vec<_> = table.producers.into_iter().collect();
        states.sort_by_key(|(_, state)| state.last().base);
        for (id, state) in states {
            producers.newest = producers.newest.max(state.timestamp);
            let used = producers.use_now(id);
            producers.known.insert(id, Known { state, used, seen: now.mono });
        }
        producers
    }

    /// What is durable.
    #[must_use]
    pub fn table(&self) -> ProducerTable {
        let producers = self.known.iter().map(|(id, known)| (*id, known.state.clone()));
        ProducerTable { producers: producers.collect() }
    }

    /// What is durable of each producer, by id.
    pub fn known(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.known.iter().map(|(id, known)| (*id, &known.state))
    }

    /// Producers of which something is durable.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// What a batch comes to, whose connection owes what begins with `owed`: it was refused, and comes again. May forget
    /// a producer to make room for a new one.
    pub fn check(&mut self, now: Now, batch: &Sequenced, owed: Option<Sequence>) -> Verdict {
        let known = self.known.get(&batch.producer).map(|known| &known.state);
        let pending = self.pending.get(&batch.producer);
        let last = pending
            .and_then(|pending| pending.back().map(|last| (last.epoch, last.last)))
            .or_else(|| known.map(|state| (state.epoch, state.last().last)));
        let Some((epoch, last)) = last else { return self.check_unknown(now, batch, owed) };
        if batch.epoch != epoch {
            return match (batch.epoch > epoch, batch.first == Sequence::FIRST) {
                (true, true) => {
                    sometimes!(Mark::ProducerEpochBumped);
                    Verdict::Append
                }
                (true, false) => refused(ErrorCode::OutOfOrderSequenceNumber, "a new epoch begins at sequence 0"),
                (false, _) => refused(ErrorCode::InvalidProducerEpoch, "the producer has begun a newer epoch"),
            };
        }
        let same = |first, last| (first, last) == (batch.first, batch.last);
        let mut in_flight = pending.into_iter().flatten().filter(|pending| pending.epoch == epoch);
        if let Some(first) = in_flight.find(|pending| same(pending.first, pending.last)) {
            sometimes!(Mark::DuplicateInFlight);
            return Verdict::InFlight(first.base);
        }
        let durable = known.filter(|state| state.epoch == epoch);
        if let Some(first) = durable.and_then(|state| state.batches.iter().find(|one| same(one.first, one.last))) {
            sometimes!(Mark::DuplicateDurable);
            return Verdict::Durable(first.base, first.stamped);
        }
        if batch.first == last.next() {
            return Verdict::Append;
        }
        sometimes!(Mark::SequenceGap);
        refused(ErrorCode::OutOfOrderSequenceNumber, "it does not follow the producer's last batch")
    }

    /// Takes a batch, for which [`Producers::check`] said so, at this offset.
    pub fn append(&mut self, batch: &Sequenced, base: Offset) {
        let Sequenced { producer, epoch, first, last } = *batch;
        self.pending.entry(producer).or_default().push_back(Pending { epoch, first, last, base });
    }

    /// The next batch that was taken is durable, with the largest time of its records and that which the broker gave them.
    ///
    /// # Panics
    /// When another was taken before.
    pub fn apply(
        &mut self,
        now: Now,
        batch: &Sequenced,
        base: Offset,
        (timestamp, stamped): (WallTime, Option<WallTime>),
    ) {
        let Sequenced { producer, epoch, first, last } = *batch;
        let pending = self.pending.get_mut(&producer).expect("what becomes durable was taken");
        let next = pending.pop_front().expect("a producer without batches in flight has no list");
        assert_eq!((next.epoch, next.first, next.base), (epoch, first, base), "batches become durable in order");
        if pending.is_empty() {
            self.pending.remove(&producer);
        }
        self.newest = self.newest.max(timestamp);
        let used = self.use_now(producer);
        let written = Written { first, last, base, stamped };
        if let Some(known) = self.known.get_mut(&producer) {
            known.state.write(epoch, timestamp, written);
            self.by_use.remove(&known.used);
            (known.used, known.seen) = (used, now.mono);
        } else {
            let state = ProducerState::new(epoch, timestamp, written);
            self.known.insert(producer, Known { state, used, seen: now.mono });
        }
        self.expire(now);
    }

    /// The log failed: nothing that is in flight will become durable.
    pub fn poison(&mut self) {
        self.pending.clear();
    }

    /// Panics with what is broken, if anything is.
    pub fn invariants(&self) {
        assert_eq!(self.known.len(), self.by_use.len(), "each producer has one moment of last use");
        let unknown = self.pending.keys().filter(|id| !self.known.contains_key(id)).count();
        assert!(self.known.len() + unknown <= self.limit, "producers are bounded");
        for (id, known) in &self.known {
            assert_eq!(self.by_use.get(&known.used), Some(id), "a producer is found by its last use");
            check_batches(id, &known.state);
        }
        assert!(self.pending.values().all(|pending| !pending.is_empty()), "what is in flight is something");
    }

    fn check_unknown(&mut self, now: Now, batch: &Sequenced, owed: Option<Sequence>) -> Verdict {
        if owed.is_some_and(|owed| owed.lies_before(batch.first)) {
            sometimes!(Mark::GapAfterRefusal);
            return refused(
                ErrorCode::OutOfOrderSequenceNumber,
                "what comes before it was refused, and is to come again",
            );
        }
        if !self.make_room(now) {
            return refused(ErrorCode::NotLeaderOrFollower, "too many producers write to the partition");
        }
        sometimes!(Mark::ProducerTakenMidway, batch.first != Sequence::FIRST);
        Verdict::Append
    }

    /// Whether one more may be remembered.
    fn make_room(&mut self, now: Now) -> bool {
        let coming = self.pending.keys().filter(|id| !self.known.contains_key(id)).count();
        if self.known.len() + coming < self.limit {
            return true;
        }
        let Some((id, known)) = self.longest_idle() else { return false };
        let may_go = now.mono.since(known.seen) >= RETRIES_WITHIN && !self.pending.contains_key(&id);
        if may_go {
            self.forget(id);
        }
        may_go && self.known.len() + coming < self.limit
    }

    fn expire(&mut self, now: Now) {
        let expiration = i64::try_from(self.expiration.as_millis()).unwrap_or(i64::MAX);
        while let Some((id, known)) = self.longest_idle() {
            let by_clock = now.mono.since(known.seen) >= self.expiration;
            let by_log = self.newest.0.saturating_sub(known.state.timestamp.0) >= expiration;
            if !by_clock || !by_log || self.pending.contains_key(&id) {
                return;
            }
            self.forget(id);
        }
    }

    fn longest_idle(&self) -> Option<(ProducerId, &Known)> {
        let (_, id) = self.by_use.first_key_value()?;
        Some((*id, &self.known[id]))
    }

    fn forget(&mut self, id: ProducerId) {
        sometimes!(Mark::ProducerForgotten);
        if let Some(known) = self.known.remove(&id) {
            self.by_use.remove(&known.used);
        }
    }

    fn use_now(&mut self, id: ProducerId) -> u64 {
        self.uses += 1;
        self.by_use.insert(self.uses, id);
        self.uses
    }
}

fn refused(code: ErrorCode, why: &'static str) -> Verdict {
    Verdict::Refused(code.because(why))
}

fn check_batches(id: &ProducerId, state: &ProducerState) {
    assert!((1..=REMEMBERED).contains(&state.batches.len()), "a few batches of producer {id} are remembered");
    let follows = |(one, next): (&Written, &Written)| one.last.next() == next.first && one.base < next.base;
    let in_order = state.batches.iter().zip(state.batches.iter().skip(1)).all(follows);
    assert!(in_order, "the batches of producer {id} follow each other: {:?}", state.batches);
}
