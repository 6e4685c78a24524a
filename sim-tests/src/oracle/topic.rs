//! The model of one topic: whether it is there, and how many partitions it may have.

use super::{Violation, subject};
use std::collections::{BTreeMap, BTreeSet};

/// Names one attempt of one client to make a topic grow. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrowthId(pub u64);

/// What became of an attempt to make a topic grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Growth {
    /// Acknowledged.
    Done,
    /// Refused before anything was done.
    Refused,
    /// It may or may not have grown, now or later.
    Unknown,
}

#[derive(Debug)]
pub(super) struct TopicModel {
    name: String,
    life: Life,
    created_with: i32,
    /// How often somebody asked for it.
    asked: u32,
    /// What growths that were not refused would make of it.
    growths: BTreeMap<GrowthId, i32>,
    /// Acknowledged or seen: it never has fewer partitions again.
    least: i32,
    /// Every number of partitions that anybody saw.
    seen: BTreeSet<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Somebody asked for it.
    Asked,
    /// It was acknowledged or seen.
    There,
    /// Somebody asked to delete it: from here on anything may be answered.
    Deleting,
}

impl TopicModel {
    pub(super) fn asked_for(name: &str, partitions: i32) -> Self {
        Self {
            name: name.to_owned(),
            life: Life::Asked,
            created_with: partitions,
            asked: 1,
            growths: BTreeMap::new(),
            least: 0,
            seen: BTreeSet::new(),
        }
    }

    /// Somebody asks for it again, not knowing what became of the first time.
    pub(super) fn asked_again(&mut self) {
        self.asked += 1;
    }

    /// Whether its name may stand for two topics, one after the other: the first was deleted, and then somebody who had
    /// not heard of it created the second.
    pub(super) fn may_be_another(&self) -> bool {
        self.is_deleting() && self.asked > 1
    }

    /// Its creation was acknowledged.
    pub(super) fn created(&mut self) {
        self.is_there(self.created_with);
    }

    pub(super) fn deleting(&mut self) {
        self.life = Life::Deleting;
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.life == Life::Deleting
    }

    /// Partitions that it has for certain; none if it may be gone, or was never there.
    pub(super) fn certain(&self) -> i32 {
        if self.life == Life::There { self.least } else { 0 }
    }

    pub(super) fn growing(&mut self, id: GrowthId, partitions: i32) {
        self.growths.insert(id, partitions);
    }

    pub(super) fn grown(&mut self, id: GrowthId, outcome: Growth) -> Result<(), Violation> {
        let partitions = self.growths[&id];
        match outcome {
            Growth::Done => self.is_there(partitions),
            Growth::Refused => {
                self.growths.remove(&id);
                return self.check_explained(partitions);
            }
            Growth::Unknown => {}
        }
        Ok(())
    }

    /// An answer shows it with so many partitions.
    pub(super) fn shown(&mut self, partitions: i32) -> Result<(), Violation> {
        self.seen.insert(partitions);
        self.is_there(partitions);
        self.check_explained(partitions)
    }

    fn is_there(&mut self, partitions: i32) {
        if self.life != Life::Deleting {
            self.life = Life::There;
            self.least = self.least.max(partitions);
        }
    }

    /// If the number was seen, something that was not refused must have brought it about.
    fn check_explained(&self, partitions: i32) -> Result<(), Violation> {
        let explained = partitions == self.created_with || self.growths.values().any(|count| *count == partitions);
        if self.seen.contains(&partitions) && !explained && !self.is_deleting() {
            let message = format!("{} has {partitions} partitions, which no growth but a refused one made", self.name);
            return Err(Violation::new("refused-growth-seen", message).about(subject::topic(&self.name)));
        }
        Ok(())
    }
}
