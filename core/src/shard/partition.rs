//! One partition that this broker leads.

use crate::id::{Offset, StreamEpoch};
use crate::machine::{Now, WallTime};
use crate::producers::{Producers, Sequenced};
use crate::shard::joins::Part;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// So many wait at most for a batch that is in flight, beside who sent it first.
pub(super) const AGAIN: usize = 16;

/// The part of a partition's state that decides about appends. The records are in the log cache and in objects.
///
/// *Appended* runs ahead of *applied*: offsets are given when the WAL takes a batch; everything that a client may hear
/// follows the WAL's durability.
#[derive(Debug)]
pub(super) struct Partition {
    /// The stream epoch under which it is open here; Kafka's leader epoch.
    pub(super) epoch: StreamEpoch,
    /// Its idempotent producers; none while they are being loaded.
    pub(super) producers: Option<Producers>,
    /// How many state blocks say together what is known of the producers, once the last cut is committed.
    pub(super) states: usize,
    /// The offset that the next batch gets.
    appended: Offset,
    /// The high watermark: the end of what is durable.
    applied: Offset,
    /// Batches between the two, in order.
    in_flight: VecDeque<InFlight>,
    /// Whether a producer's batch became durable since the last cut.
    is_told: bool,
}

/// A batch on its way to the WAL.
#[derive(Debug)]
struct InFlight {
    base: Offset,
    end: Offset,
    sequenced: Option<Sequenced>,
    /// Who waits for it.
    part: Part,
    /// Who sent it again meanwhile.
    again: Vec<Part>,
}

impl Partition {
    /// Just opened, its committed records ending at `end`.
    pub(super) fn open(epoch: StreamEpoch, end: Offset, producers: Option<Producers>, states: usize) -> Self {
        Self { epoch, producers, states, appended: end, applied: end, in_flight: VecDeque::new(), is_told: true }
    }

    /// The high watermark.
    pub(super) fn high_watermark(&self) -> Offset {
        self.applied
    }

    /// The offset that the next batch gets.
    pub(super) fn appended(&self) -> Offset {
        self.appended
    }

    /// Gives offsets to a batch that goes to the WAL now. Returns its first and the one after its last.
    pub(super) fn append(&mut self, records: u32, sequenced: Option<Sequenced>, part: Part) -> (Offset, Offset) {
        let base = self.appended;
        let end = Offset(base.0 + u64::from(records));
        if let Some(sequenced) = &sequenced {
            self.producers.as_mut().expect("a producer's batch was checked").append(sequenced, base);
        }
        self.appended = end;
        self.in_flight.push_back(InFlight { base, end, sequenced, part, again: Vec::new() });
        (base, end)
    }

    /// The batch in flight that begins at `base` was sent again. False if so many wait for it that one more may not:
    /// who sends it again and again, and does not wait, would be remembered each time.
    #[must_use]
    pub(super) fn wait(&mut self, base: Offset, part: Part) -> bool {
        let at = self.in_flight.binary_search_by_key(&base, |batch| batch.base);
        let at = at.expect("what a producer has in flight is in flight");
        let again = &mut self.in_flight[at].again;
        let may_wait = again.len() < AGAIN;
        if may_wait {
            again.push(part);
        }
        may_wait
    }

    /// The WAL made the next batch durable. Returns who waits for it.
    pub(super) fn apply(
        &mut self,
        now: Now,
        (base, end): (Offset, Offset),
        times: (WallTime, Option<WallTime>),
    ) -> impl Iterator<Item = Part> + use<> {
        assert_eq!(base, self.applied, "the WAL delivers a partition's batches in order, without gaps");
        let batch = self.in_flight.pop_front().expect("the WAL delivers what was appended");
        assert_eq!(end, batch.end, "the WAL delivers batches as they were appended");
        self.applied = end;
        if let Some(sequenced) = &batch.sequenced {
            self.is_told = false;
            let producers = self.producers.as_mut().expect("a producer's batch was checked");
            producers.apply(now, sequenced, base, times);
        }
        batch.waiting()
    }

    /// A cut is made of what is applied. Says whether the object is to tell all that is known of the producers, instead
    /// of what the batches in it tell: when that would be more than `most` blocks to read at the next opening.
    pub(super) fn cut(&mut self, most: usize) -> bool {
        if core::mem::replace(&mut self.is_told, true) {
            return false;
        }
        self.states += 1;
        let is_due = self.states > most;
        if is_due {
            self.states = 1;
        }
        is_due
    }

    /// Whether nothing is on its way to the WAL.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The WAL failed: takes everybody who waits, in order. What was in flight is not appended any more.
    pub(super) fn poison(&mut self) -> impl Iterator<Item = Part> + use<> {
        self.appended = self.applied;
        if let Some(producers) = &mut self.producers {
            producers.poison();
        }
        core::mem::take(&mut self.in_flight).into_iter().flat_map(InFlight::waiting)
    }

    /// Takes everybody who waits, in order; for a partition that is being closed.
    pub(super) fn abandon(self) -> impl Iterator<Item = Part> {
        self.in_flight.into_iter().flat_map(InFlight::waiting)
    }

    pub(super) fn invariants(&self) {
        assert!(self.applied <= self.appended, "nothing is applied before it is appended");
        let last = self.in_flight.back().map_or(self.applied, |batch| batch.end);
        assert_eq!(last, self.appended, "what is in flight lies between applied and appended");
        if let Some(producers) = &self.producers {
            producers.invariants();
        }
    }
}

impl InFlight {
    fn waiting(self) -> impl Iterator<Item = Part> {
        core::iter::once(self.part).chain(self.again)
    }
}
