//! A cut becomes part of the streams, in one step or not at all.
//!
//! Checked in this order:
//! 1. the recovery's number, or without one the epoch;
//! 2. the cut's number: not above the last one is done already, beyond the next is a gap;
//! 3. stream by stream: a range of a deleted stream, or below a stream's start, is dropped and the rest commits, so
//!    that one deleted topic can't block every producer; what is left must continue its stream exactly. A range that
//!    the start cuts through is kept whole, since its object has it whole: it is read from the start on.
//!    What its object says about the stream's producers is kept in any case, as long as there is the stream.
//! 4. the objects' leases; of an object of the WAL, which a recovery commits as it is, that it is one of this WAL, and was
//!    not committed before. An object that holds nothing but dropped ranges is destroyed at once.

use crate::controller::NodeCommand;
use crate::data_object;
use crate::id::{Lsn, NodeEpoch, NodeId, ObjectId, StreamId};
use crate::machine::{Mark, sometimes};
use crate::metadata::{
    Answer, Commit, CommitObject, CommitRange, CommitState, EpochImage, Image, NodeImage, ObjectImage, ObjectState,
    RangeImage, Refusal, StateImage, StateKind, StreamState, WAL_DATA_LEVEL, WalKind, bounds,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl Image {
    /// Everything of the cut that still has a stream, and the new trim point.
    pub(super) fn commit(&mut self, by: &NodeCommand, commit: &Commit) -> Result<Answer, Refusal> {
        let node = self.nodes.get(&by.node).ok_or(Refusal::Fenced)?;
        let epoch = node.committing(commit)?;
        if commit.number <= epoch.last_cut {
            return Ok(Answer::Done);
        }
        if commit.number != epoch.last_cut.next() {
            return Err(Refusal::CutGap { expected: epoch.last_cut.next() });
        }
        if commit.lsn < epoch.trim || commit.lsn.0 >= bounds::COUNTER {
            return Err(Refusal::Invalid);
        }
        let kept = self.fitting(by.node, commit)?;
        let mut ranges = commit.objects.iter().flat_map(|object| &object.ranges);
        sometimes!(Mark::CommitOfDeletedTopic, ranges.any(|range| !self.streams.contains_key(&range.stream)));
        let is_born_in_wal = |object: &&CommitObject| data_object::place_in_wal(object.id).is_some();
        let (adopted, leased): (Vec<_>, Vec<_>) = commit.objects.iter().partition(is_born_in_wal);
        self.check_leases(by, leased.into_iter().map(|object| (object.id, object.size)))?;
        adopted.into_iter().try_for_each(|object| self.check_adopted(by.node, commit, epoch, object))?;
        self.insert(commit, &kept);
        if let Some(epoch) = self.nodes.get_mut(&by.node).and_then(|node| node.epochs.get_mut(&commit.epoch)) {
            epoch.trim = commit.lsn;
            epoch.last_cut = commit.number;
        }
        Ok(Answer::Done)
    }

    /// The ranges of streams that there are, with their objects, each after what precedes it in the same commit.
    fn fitting<'c>(&self, owner: NodeId, commit: &'c Commit) -> Result<Vec<Kept<'c>>, Refusal> {
        let mut ends = BTreeMap::<StreamId, _>::new();
        let mut kept = Vec::new();
        for (object, range) in commit.objects.iter().flat_map(|object| object.ranges.iter().map(|r| (object.id, r))) {
            let Some(stream) = self.streams.get(&range.stream) else { continue };
            let end = ends.get(&range.stream).copied().unwrap_or(stream.end);
            let proper = range.start < range.end && range.end <= bounds::OFFSET && range.bytes <= bounds::OBJECT;
            if proper && range.end <= stream.start {
                kept.push(Kept { object, range, is_readable: false });
                continue;
            }
            let open = stream.state == StreamState::Open(commit.epoch) && stream.owner == owner;
            if !proper || !open || stream.epoch != range.epoch || range.start.max(stream.start) != end {
                return Err(Refusal::NotContiguous { stream: range.stream, end });
            }
            ends.insert(range.stream, range.end);
            kept.push(Kept { object, range, is_readable: true });
        }
        Ok(kept)
    }

    /// Whether these objects, with their sizes, may be committed by the sender.
    pub(super) fn check_leases(
        &self,
        by: &NodeCommand,
        objects: impl Iterator<Item = (ObjectId, u64)>,
    ) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for (id, size) in objects {
            let state = self.objects.get(&id).map(|object| object.state);
            if state != Some(ObjectState::Leased(by.node, by.epoch)) || !seen.insert(id) {
                return Err(Refusal::NotLeased { id });
            }
            if size > bounds::OBJECT {
                return Err(Refusal::Invalid);
            }
        }
        Ok(())
    }

    /// Whether an object of a WAL may be committed as it is: by the recovery of that very WAL, and above what was committed
    /// of it before. It is below the new trim point then, so it can't be committed again, nor be read back.
    fn check_adopted(
        &self,
        owner: NodeId,
        commit: &Commit,
        epoch: &EpochImage,
        object: &CommitObject,
    ) -> Result<(), Refusal> {
        let is_of_this = |(node, of, seq): (NodeId, NodeEpoch, Lsn)| {
            (node, of) == (owner, commit.epoch) && (epoch.trim..commit.lsn).contains(&seq)
        };
        let alone = commit.objects.len() == 1 && !self.objects.contains_key(&object.id);
        let holds = self.feature_level >= WAL_DATA_LEVEL
            && commit.recovery.is_some()
            && epoch.kind == WalKind::Objects
            && data_object::place_in_wal(object.id).is_some_and(is_of_this)
            && alone;
        if !holds {
            return Err(Refusal::NotLeased { id: object.id });
        }
        if object.size > bounds::OBJECT { Err(Refusal::Invalid) } else { Ok(()) }
    }

    fn insert(&mut self, commit: &Commit, kept: &[Kept<'_>]) {
        for object in &commit.objects {
            let state = ObjectState::Destroyed(self.at);
            self.objects.insert(object.id, ObjectImage { state, size: object.size, since: self.at });
        }
        let committed = self.at;
        for Kept { object, range, is_readable } in kept {
            if *is_readable && let Some(stream) = self.streams.get_mut(&range.stream) {
                let CommitRange { end, max_timestamp, bytes, .. } = **range;
                stream.ranges.insert(range.start, RangeImage { end, object: *object, max_timestamp, bytes, committed });
                stream.end = end;
                self.use_object(*object);
            }
            if let Some(state) = range.producers {
                self.insert_state(*object, range, state);
            }
        }
    }

    /// One about all of the log takes the place of those before it.
    fn insert_state(&mut self, object: ObjectId, range: &CommitRange, state: CommitState) {
        let Some(stream) = self.streams.get_mut(&range.stream) else { return };
        let CommitState { kind, at, len } = state;
        let is_next = stream.producers.last().is_none_or(|last| last.end < range.end);
        if !is_next || range.end > stream.end {
            return;
        }
        let before = match kind {
            StateKind::Range => Vec::new(),
            StateKind::Log => core::mem::take(&mut stream.producers),
        };
        stream.producers.push(StateImage { end: range.end, object, at, len });
        self.use_object(object);
        self.release(before.into_iter().map(|state| state.object));
    }

    pub(super) fn use_object(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.state = match object.state {
                ObjectState::Live(uses) => ObjectState::Live(uses.saturating_add(1)),
                _ => ObjectState::Live(1),
            };
        }
    }
}

/// A range of a stream that there is.
struct Kept<'c> {
    object: ObjectId,
    range: &'c CommitRange,
    /// Whether some of it is not below the stream's start.
    is_readable: bool,
}

impl NodeImage {
    /// The epoch that the commit is for, if the sender may still commit for it.
    fn committing(&self, commit: &Commit) -> Result<&EpochImage, Refusal> {
        let image = self.epochs.get(&commit.epoch);
        match commit.recovery {
            None if commit.epoch != self.epoch => Err(Refusal::Fenced),
            None => image.ok_or(Refusal::NotRecovered),
            number => image.filter(|image| image.recovery == number).ok_or(Refusal::RecoverySuperseded),
        }
    }
}
