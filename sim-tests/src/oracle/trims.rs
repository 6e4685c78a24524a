//! Where a partition may begin: what was asked to be deleted from it, and what was told of its start.

use super::{Violation, subject};
use std::collections::BTreeMap;

/// Names one attempt of one client to delete records. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrimId(pub u64);

/// What became of an attempt to delete records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trim {
    /// Acknowledged, with the start of the log.
    Done(i64),
    /// Refused before anything was done.
    Refused,
    /// Refused because of the topic's policy.
    Forbidden,
    /// The records may be gone, now or later.
    Unknown,
}

/// Up to where records are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upto {
    /// Those below this offset.
    Offset(i64),
    /// All that there are at that moment.
    HighWatermark,
}

#[derive(Debug)]
pub(super) struct Trims {
    name: String,
    /// Those that were not refused.
    wanted: BTreeMap<TrimId, Upto>,
    /// The start that was told last: it never goes back.
    start: i64,
}

impl Trims {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), wanted: BTreeMap::new(), start: 0 }
    }

    /// The start for certain.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Nothing from here on is gone, in a log that ends before `end`.
    pub(super) fn latest_start(&self, end: i64) -> i64 {
        let upto = |upto: &Upto| if let Upto::Offset(offset) = upto { *offset } else { end };
        self.wanted.values().map(upto).max().unwrap_or(0)
    }

    pub(super) fn trimming(&mut self, id: TrimId, upto: Upto) {
        self.wanted.insert(id, upto);
    }

    /// A trim was acknowledged, with that start.
    pub(super) fn done(&mut self, id: TrimId, start: i64) -> Result<(), Violation> {
        if let Upto::Offset(offset) = self.wanted[&id]
            && start < offset
        {
            let message = format!("{}: deleted up to {offset}, and the log starts at {start}", self.name);
            return Err(Violation::new("acked-trim-lost", message).about(subject::record(&self.name, start)));
        }
        self.start = self.start.max(start);
        if self.wanted[&id] == Upto::HighWatermark {
            self.wanted.insert(id, Upto::Offset(start));
        }
        Ok(())
    }

    /// A trim was refused: it explains nothing.
    pub(super) fn refused(&mut self, id: TrimId) {
        self.wanted.remove(&id);
    }

    /// An answer tells the start; when it was asked for, `known` was certain.
    pub(super) fn told(&mut self, known: i64, start: i64) -> Result<(), Violation> {
        if start < known {
            let message = format!("{}: the log starts at {start}, and at {known} before the question", self.name);
            return Err(Violation::new("log-start-goes-back", message).about(subject::record(&self.name, start)));
        }
        self.start = self.start.max(start);
        Ok(())
    }
}
