//! Keeps the head small: inline entries become a segment, segments a snapshot.

use super::call::{Call, Io, hopeless, put};
use super::log::{Head, Name, Segment, Snapshot};
use crate::machine::{Deadline, Mark, OpId, sometimes};
use crate::mail::Halt;
use crate::metadata::Image;
use crate::store::{Precondition, StoreDone, StoreError, StoreResult};
use alloc::vec::Vec;
use tracing::{info, warn};

/// An object on its way, to which the next head will refer.
#[derive(Debug)]
pub(super) struct Spill {
    kind: Kind,
    name: Name,
    call: Call,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Snapshot,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Spilled {
    /// Not durable yet.
    Pending(Spill),
    /// Durable: the next head may refer to it.
    Done(Spill),
    /// No use in going on.
    Hopeless(Halt),
}

impl Spill {
    /// Writes what must leave the head before more goes in, if its inline part exceeds `inline` bytes: a snapshot if
    /// there are `segments` segments already.
    pub(super) fn due(io: &mut Io<'_>, head: &Head, image: &Image, inline: usize, segments: usize) -> Option<Self> {
        if head.inline.is_empty() || head.inline_len() <= inline {
            return None;
        }
        assert_eq!(image.seq, head.last, "only what is durable leaves the head");
        let name = Name { term: head.term, seq: head.last, nonce: io.desk.rng.next_u64() };
        let (kind, key, body) = if head.segments.len() < segments {
            let segment = Segment { cluster: head.cluster, name, entries: head.inline.clone() };
            (Kind::Segment, name.segment(), segment.encode())
        } else {
            (Kind::Snapshot, name.snapshot(), Snapshot::encode(name, image))
        };
        info!(%key, bytes = body.len(), "writing metadata out of the head");
        Some(Self { kind, name, call: Call::new(io, put(key, body, Precondition::Absent)) })
    }

    /// The head with this in place of what it holds.
    pub(super) fn apply(&self, head: &mut Head) {
        assert_eq!(self.name.seq, head.last, "nothing was appended meanwhile");
        head.inline = Vec::new();
        match self.kind {
            Kind::Segment => {
                sometimes!(Mark::SegmentSpilled);
                head.segments.push(self.name);
            }
            Kind::Snapshot => {
                sometimes!(Mark::SnapshotWritten);
                head.segments = Vec::new();
                head.snapshot = Some(self.name);
            }
        }
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        self.call.owns(id)
    }

    /// Goes on after a completion. A name is only ever put by the leader of its term, with the same bytes: if it is
    /// taken, then by an earlier attempt.
    pub(super) fn completed(mut self, io: &mut Io<'_>, result: StoreResult) -> Spilled {
        sometimes!(Mark::SpillWasThere, result == Err(StoreError::Exists));
        match result {
            Ok(StoreDone::Put { .. }) | Err(StoreError::Exists) => Spilled::Done(self),
            Ok(other) => unreachable!("a put was answered with {other:?}"),
            Err(error) => {
                if let Some(halt) = hopeless("writing", "meta/", error) {
                    return Spilled::Hopeless(halt);
                }
                warn!(%error, "metadata can't be written out of the head; trying again");
                self.call.again(io);
                Spilled::Pending(self)
            }
        }
    }

    /// Goes on after a pause.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        self.call.tick(io);
    }

    /// When the pause is over.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.call.deadline("retry of writing metadata out of the head")
    }
}
