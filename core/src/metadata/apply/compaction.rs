//! Objects are rewritten into others, in one step or not at all.
//!
//! Nothing of it is taken on trust. The results must hold exactly what streams still have of the inputs:
//!
//! ```text
//!   stream      trimmed  │start
//!   ranges      ─────────┼──[ in 1 ]──[ in 2 ]──[ in 3 ]──[ other ]──     each in an object
//!   result   [ 0 ├─────────────────────────────────────┤ ]                 covers whole ranges, all of inputs
//! ```
//! - each range of a result covers whole ranges of its stream, all of them in inputs, without a gap; where its beginning
//!   was trimmed meanwhile, from the stream's first range on; and its length in bytes is theirs;
//! - each range and each state block is covered once;
//! - afterwards streams have nothing of any input: by this they are destroyed, and by nothing else.
//!
//! What streams have no more is dropped: ranges of deleted streams, those below a stream's start, and state blocks that
//! another took the place of. A result that holds nothing else is destroyed at once.

use crate::controller::NodeCommand;
use crate::id::{ObjectId, Offset, StreamId};
use crate::machine::{Mark, sometimes};
use crate::metadata::{
    Answer, CompactedObject, CompactedRange, CompactedState, Compaction, Image, ObjectImage, ObjectState, RangeImage,
    Refusal, StateImage, StreamImage, bounds,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

impl Image {
    /// The results take the place of the inputs.
    pub(super) fn compact(&mut self, by: &NodeCommand, compaction: &Compaction) -> Result<Answer, Refusal> {
        self.check_leases(by, compaction.results.iter().map(|object| (object.id, object.size)))?;
        let covered = Covering::check(self, by, compaction)?;
        for object in &compaction.results {
            let state = ObjectState::Destroyed(self.at);
            self.objects.insert(object.id, ObjectImage { state, size: object.size, since: self.at });
        }
        for (object, range) in covered.ranges {
            self.replace_ranges(object, range);
        }
        for (object, state) in covered.states {
            self.replace_state(object, state);
        }
        Ok(Answer::Done)
    }

    fn replace_ranges(&mut self, object: ObjectId, range: CompactedRange) {
        let Some(stream) = self.streams.get_mut(&range.stream) else { return };
        let replaced: Vec<(Offset, RangeImage)> =
            stream.ranges.extract_if(range.start..range.end, |_, _| true).collect();
        let Some((start, first)) = replaced.first() else { return };
        let merged = replaced.iter().skip(1).fold(*first, |merged, (_, next)| RangeImage {
            end: next.end,
            object,
            max_timestamp: merged.max_timestamp.max(next.max_timestamp),
            bytes: merged.bytes.saturating_add(next.bytes),
            committed: merged.committed.max(next.committed),
        });
        stream.ranges.insert(*start, RangeImage { object, ..merged });
        self.move_uses(object, replaced.into_iter().map(|(_, range)| range.object).collect());
    }

    fn replace_state(&mut self, object: ObjectId, CompactedState { stream, end, at, len }: CompactedState) {
        let states = self.streams.get_mut(&stream).map(|stream| &mut stream.producers);
        let Some(state) = states.into_iter().flatten().find(|state| state.end == end) else { return };
        let before = core::mem::replace(state, StateImage { end, object, at, len });
        self.move_uses(object, [before.object].into());
    }

    /// One use of an object takes the place of some of others.
    fn move_uses(&mut self, to: ObjectId, from: Vec<ObjectId>) {
        let since = from.iter().filter_map(|id| Some(self.objects.get(id)?.since)).min();
        self.use_object(to);
        if let (Some(object), Some(since)) = (self.objects.get_mut(&to), since) {
            object.since = object.since.min(since);
        }
        self.release(from);
    }
}

/// What is left of a compaction, as it is being checked.
#[derive(Default)]
struct Covering {
    ranges: Vec<(ObjectId, CompactedRange)>,
    states: Vec<(ObjectId, CompactedState)>,
    /// Ranges that are covered, by their beginnings.
    seen: BTreeSet<(StreamId, Offset)>,
    /// State blocks that are covered, by what they tell of.
    seen_states: BTreeSet<(StreamId, Offset)>,
    /// What streams still have of each input and no result covers so far.
    uses: BTreeMap<ObjectId, u32>,
}

impl Covering {
    fn check(image: &Image, by: &NodeCommand, compaction: &Compaction) -> Result<Self, Refusal> {
        let live = |id: &ObjectId| match image.objects.get(id).map(|object| object.state) {
            Some(ObjectState::Live(uses)) => (*id, uses),
            _ => (*id, 0),
        };
        let mut covering = Self { uses: compaction.inputs.iter().map(live).collect(), ..Self::default() };
        for result in &compaction.results {
            check_order(result)?;
            for range in &result.ranges {
                covering.add_range(image, by, result.id, *range)?;
            }
            for state in &result.states {
                covering.add_state(image, result.id, *state)?;
            }
        }
        match covering.uses.iter().find(|(_, uses)| **uses > 0) {
            Some((id, _)) => Err(Refusal::NotCovered { id: *id }),
            None => Ok(covering),
        }
    }

    fn add_range(
        &mut self,
        image: &Image,
        by: &NodeCommand,
        object: ObjectId,
        range: CompactedRange,
    ) -> Result<(), Refusal> {
        let wrong = Err(Refusal::NotCovered { id: object });
        let Some(stream) = image.streams.get(&range.stream) else {
            sometimes!(Mark::CompactedDeleted);
            return Ok(());
        };
        if range.end <= stream.start {
            sometimes!(Mark::CompactedTrimmed);
            return Ok(());
        }
        let Some(covered) = whole_ranges(stream, range).filter(|_| stream.owner == by.node) else { return wrong };
        let mut bytes = 0_u64;
        for (start, covered) in covered {
            let uses = self.uses.get_mut(&covered.object).and_then(|uses| uses.checked_sub(1).map(|left| (uses, left)));
            let Some((uses, left)) = uses else { return wrong };
            *uses = left;
            if !self.seen.insert((range.stream, start)) {
                return wrong;
            }
            bytes = bytes.saturating_add(covered.bytes);
        }
        let is_trimmed = !stream.ranges.contains_key(&range.start);
        sometimes!(Mark::CompactedTrimmed, is_trimmed);
        if range.bytes < bytes || (range.bytes > bytes && !is_trimmed) {
            return wrong;
        }
        self.ranges.push((object, range));
        Ok(())
    }

    fn add_state(&mut self, image: &Image, object: ObjectId, state: CompactedState) -> Result<(), Refusal> {
        let states = image.streams.get(&state.stream).map(|stream| &stream.producers);
        let Some(known) = states.into_iter().flatten().find(|known| known.end == state.end) else { return Ok(()) };
        let uses = self.uses.get_mut(&known.object).and_then(|uses| uses.checked_sub(1).map(|left| (uses, left)));
        let Some((uses, left)) = uses.filter(|_| self.seen_states.insert((state.stream, state.end))) else {
            return Err(Refusal::NotCovered { id: object });
        };
        *uses = left;
        self.states.push((object, state));
        Ok(())
    }
}

/// Of each stream an object holds one stretch: whoever reads on from one range comes to the next.
fn check_order(result: &CompactedObject) -> Result<(), Refusal> {
    let proper = |range: &CompactedRange| {
        range.start < range.end && range.end <= bounds::OFFSET && range.bytes <= bounds::OBJECT
    };
    let follows = |one: &CompactedRange, next: &CompactedRange| {
        one.stream < next.stream || (one.stream == next.stream && one.end == next.start)
    };
    let ordered = result.ranges.is_sorted_by(follows) && result.ranges.iter().all(proper);
    ordered.then_some(()).ok_or(Refusal::NotCovered { id: result.id })
}

/// The ranges that a result covers, if it covers whole ones: from the first on that was not trimmed meanwhile.
fn whole_ranges(
    stream: &StreamImage,
    range: CompactedRange,
) -> Option<impl Iterator<Item = (Offset, &RangeImage)> + Clone> {
    let covered = stream.ranges.range(range.start..range.end).map(|(start, range)| (*start, range));
    let (first, _) = covered.clone().next()?;
    let (_, last) = covered.clone().next_back()?;
    let is_first = stream.ranges.first_key_value().is_some_and(|(start, _)| *start == first);
    ((first == range.start || is_first) && last.end == range.end).then_some(covered)
}
