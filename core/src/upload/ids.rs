//! Object ids that were leased to this node epoch and are not used.

use crate::id::ObjectId;
use alloc::collections::{BTreeSet, VecDeque};

/// Unused ids, in the order in which they were leased.
#[derive(Debug, Default)]
pub(super) struct ObjectIds(VecDeque<ObjectId>);

impl ObjectIds {
    pub(super) fn add(&mut self, first: ObjectId, count: u32) {
        self.0.extend((first.0..).take(count as usize).map(ObjectId));
    }

    pub(super) fn take(&mut self) -> Option<ObjectId> {
        self.0.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Panics unless each id is unused or used by one object.
    pub(super) fn check(&self, used: impl Iterator<Item = ObjectId>) {
        let mut seen: BTreeSet<ObjectId> = self.0.iter().copied().collect();
        assert_eq!(seen.len(), self.0.len(), "ids are leased once");
        for id in used {
            assert!(seen.insert(id), "{id:?} is used once");
        }
    }
}
