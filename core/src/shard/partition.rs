//! One partition that this broker leads.

use crate::id::{Offset, StreamEpoch};
use crate::shard::joins::Part;
use alloc::collections::VecDeque;

/// The part of a partition's state that decides about appends. The records are in the log cache and in objects.
///
/// *Appended* runs ahead of *applied*: offsets are given when the WAL takes a batch; everything that a client may hear
/// follows the WAL's durability.
#[derive(Debug)]
pub(super) struct Partition {
    /// The stream epoch under which it is open here; Kafka's leader epoch.
    pub(super) epoch: StreamEpoch,
    /// The offset that the next batch gets.
    appended: Offset,
    /// The high watermark: the end of what is durable.
    applied: Offset,
    /// Batches between the two, in order, with who waits for each.
    in_flight: VecDeque<(Offset, Part)>,
}

impl Partition {
    /// Just opened, its committed records ending at `end`.
    pub(super) fn open(epoch: StreamEpoch, end: Offset) -> Self {
        Self { epoch, appended: end, applied: end, in_flight: VecDeque::new() }
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
    pub(super) fn append(&mut self, records: u32, part: Part) -> (Offset, Offset) {
        let base = self.appended;
        let end = Offset(base.0 + u64::from(records));
        self.appended = end;
        self.in_flight.push_back((end, part));
        (base, end)
    }

    /// The WAL made the next batch durable. Returns who waits for it.
    pub(super) fn apply(&mut self, base: Offset, end: Offset) -> Part {
        assert_eq!(base, self.applied, "the WAL delivers a partition's batches in order, without gaps");
        let (expected, part) = self.in_flight.pop_front().expect("the WAL delivers what was appended");
        assert_eq!(end, expected, "the WAL delivers batches as they were appended");
        self.applied = end;
        part
    }

    /// Whether nothing is on its way to the WAL.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The WAL failed: takes everybody who waits, in order. What was in flight is not appended any more.
    pub(super) fn poison(&mut self) -> impl Iterator<Item = Part> + use<> {
        self.appended = self.applied;
        core::mem::take(&mut self.in_flight).into_iter().map(|(_, part)| part)
    }

    /// Takes everybody who waits, in order; for a partition that is being closed.
    pub(super) fn abandon(self) -> impl Iterator<Item = Part> {
        self.in_flight.into_iter().map(|(_, part)| part)
    }

    pub(super) fn invariants(&self) {
        assert!(self.applied <= self.appended, "nothing is applied before it is appended");
        let last = self.in_flight.back().map_or(self.applied, |(end, _)| *end);
        assert_eq!(last, self.appended, "what is in flight lies between applied and appended");
    }
}
