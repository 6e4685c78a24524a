//! Decoded indexes, those used last.

use crate::data_object::Index;
use crate::id::ObjectId;
use alloc::collections::BTreeMap;

/// Keeps the indexes used last, up to a number of entries over all of them.
#[derive(Debug)]
pub(super) struct IndexCache {
    limit: usize,
    entries: usize,
    clock: u64,
    by_object: BTreeMap<ObjectId, (u64, Index)>,
    by_use: BTreeMap<u64, ObjectId>,
}

impl IndexCache {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, entries: 0, clock: 0, by_object: BTreeMap::new(), by_use: BTreeMap::new() }
    }

    /// The index of an object, which counts as used now.
    pub(super) fn get(&mut self, object: ObjectId) -> Option<&Index> {
        let (used, index) = self.by_object.get_mut(&object)?;
        self.clock += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.clock, object);
        *used = self.clock;
        Some(index)
    }

    /// The index of an object, which counts as used no more than before.
    pub(super) fn peek(&self, object: ObjectId) -> Option<&Index> {
        self.by_object.get(&object).map(|(_, index)| index)
    }

    /// Keeps an index, and forgets those used longest ago. One larger than the limit is not kept.
    pub(super) fn insert(&mut self, object: ObjectId, index: Index) {
        self.forget(object);
        if index.entries().len() > self.limit {
            return;
        }
        self.clock += 1;
        self.entries += index.entries().len();
        self.by_use.insert(self.clock, object);
        self.by_object.insert(object, (self.clock, index));
        while self.entries > self.limit {
            let (_, oldest) = self.by_use.first_key_value().expect("entries are of objects");
            self.forget(*oldest);
        }
    }

    pub(super) fn forget(&mut self, object: ObjectId) {
        if let Some((used, index)) = self.by_object.remove(&object) {
            self.entries -= index.entries().len();
            self.by_use.remove(&used);
        }
    }

    pub(super) fn invariants(&self) {
        let entries: usize = self.by_object.values().map(|(_, index)| index.entries().len()).sum();
        assert_eq!(entries, self.entries, "index entries are counted");
        assert!(entries <= self.limit, "indexes stay within their limit");
        assert_eq!(self.by_use.len(), self.by_object.len(), "each index has one moment of last use");
    }
}
