//! What is in which object, as far as streams still have it.

use crate::id::{NodeId, ObjectId, Offset, StreamId};
use crate::machine::WallTime;
use crate::metadata::{Image, ObjectState, StateImage, TopicConfigs};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A stream's range in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// Which stream.
    pub stream: StreamId,
    /// First offset.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Length of its batches in bytes.
    pub bytes: u64,
    /// Where it is.
    pub object: ObjectId,
    /// It may be merged with ranges of the same class only.
    pub(super) class: RetentionClass,
}

/// A stream's state block in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatePiece {
    /// Which stream.
    pub stream: StreamId,
    /// It tells of the log up to this offset.
    pub end: Offset,
    /// Where it is.
    pub object: ObjectId,
    /// Its position in there.
    pub at: u64,
    /// Its length.
    pub len: u32,
}

/// What retention will want of a range: it trims whole ones, so those that go at different times stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RetentionClass {
    /// Which part of its topic's retention time it came in.
    pub(super) part: i64,
    /// What is merged has so many bytes at most.
    pub(super) room: u64,
}

/// A live object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) size: u64,
    pub(super) since: WallTime,
    /// By stream and offset.
    pub(super) ranges: Vec<Piece>,
    /// By stream and offset.
    pub(super) states: Vec<StatePiece>,
}

/// The live objects of streams that belong to one broker, and to nobody else.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) objects: BTreeMap<ObjectId, Found>,
}

impl Survey {
    pub(super) fn take(image: &Image, node: NodeId, excluded: &BTreeSet<ObjectId>) -> Self {
        let live = image
            .objects
            .iter()
            .filter(|(id, object)| matches!(object.state, ObjectState::Live(_)) && !excluded.contains(*id));
        let empty = |(id, object): (&ObjectId, &crate::metadata::ObjectImage)| {
            let (size, since) = (object.size, object.since);
            (*id, Found { id: *id, size, since, ranges: Vec::new(), states: Vec::new() })
        };
        let mut objects: BTreeMap<ObjectId, Found> = live.map(empty).collect();
        let mut foreign = BTreeSet::new();
        let none = TopicConfigs::default();
        for (id, stream) in &image.streams {
            let configs = image.topics.get(&stream.topic).map_or(&none, |topic| &topic.configs);
            if stream.owner != node {
                foreign.extend(stream.ranges.values().map(|range| range.object));
                foreign.extend(stream.producers.iter().map(|state| state.object));
                continue;
            }
            for (start, range) in &stream.ranges {
                let class = RetentionClass::of(configs, range.committed);
                let (stream, start, end, bytes, object) = (*id, *start, range.end, range.bytes, range.object);
                if let Some(found) = objects.get_mut(&object) {
                    found.ranges.push(Piece { stream, start, end, bytes, object, class });
                }
            }
            for StateImage { end, object, at, len } in stream.producers.iter().copied() {
                if let Some(found) = objects.get_mut(&object) {
                    found.states.push(StatePiece { stream: *id, end, object, at, len });
                }
            }
        }
        objects.retain(|id, _| !foreign.contains(id));
        Self { objects }
    }
}

impl RetentionClass {
    /// A range is let go with what came within an eighth of its topic's retention, or makes up an eighth of it.
    fn of(configs: &TopicConfigs, committed: WallTime) -> Self {
        const PARTS: u64 = 8;
        if !configs.cleanup_policy().delete.is_on() {
            return Self { part: 0, room: u64::MAX };
        }
        let part = configs.retention_time().map_or(0, |time| committed.0.div_euclid((time.0 / PARTS as i64).max(1)));
        Self { part, room: configs.retention_bytes().map_or(u64::MAX, |bytes| bytes / PARTS) }
    }
}

impl Found {
    /// Whether it holds records of one stream and nothing of any other: a *stream object*.
    pub(super) fn is_own(&self) -> bool {
        let (Some(first), Some(last)) = (self.ranges.first(), self.ranges.last()) else { return false };
        let states = self.states.first().into_iter().chain(self.states.last());
        first.stream == last.stream && states.into_iter().all(|state| state.stream == first.stream)
    }

    /// Bytes of what streams have of it.
    pub(super) fn live(&self) -> u64 {
        let ranges = self.ranges.iter().map(|piece| piece.bytes);
        ranges.chain(self.states.iter().map(|state| u64::from(state.len))).sum()
    }

    /// An object that holds no more than that is not longer.
    pub(super) fn needed(&self, data_block: u32) -> u64 {
        /// Head of a data block, and its entry in the index.
        const BLOCK: u64 = 108;
        /// What the index says about a state block.
        const STATE: u64 = 20;
        /// Index and footer without entries.
        const TAIL: u64 = 128;
        let ranges = self.ranges.len() as u64;
        let blocks = ranges + self.live() / u64::from(data_block.max(1));
        self.live() + BLOCK * blocks + STATE * self.states.len() as u64 + TAIL * (ranges + 1)
    }
}
