//! Where a partition may begin: what was asked to be deleted from it, and what was told of its start.

use super::Violation;
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

    pub(super) fn trimmed(&mut self, id: TrimId, outcome: Trim, end: i64) -> Result<(), Violation> {
        match outcome {
            Trim::Done(start) => {
                if let Upto::Offset(offset) = self.wanted[&id]
                    && start < offset
                {
                    let message = format!("{}: deleted up to {offset}, and the log starts at {start}", self.name);
                    return Err(Violation::new("acked-trim-lost", message));
                }
                self.told(0, start, end)?;
                self.wanted.insert(id, Upto::Offset(start));
                Ok(())
            }
            Trim::Refused => {
                self.wanted.remove(&id);
                self.check_explained(self.start, end)
            }
            Trim::Unknown => Ok(()),
        }
    }

    /// An answer tells the start; when it was asked for, `known` was certain.
    pub(super) fn told(&mut self, known: i64, start: i64, end: i64) -> Result<(), Violation> {
        if start < known {
            let message = format!("{}: the log starts at {start}, and at {known} before the question", self.name);
            return Err(Violation::new("log-start-goes-back", message));
        }
        self.start = self.start.max(start);
        self.check_explained(start, end)
    }

    /// What is gone, somebody asked to delete.
    pub(super) fn check_explained(&self, start: i64, end: i64) -> Result<(), Violation> {
        let latest = self.latest_start(end);
        if start > latest {
            let message = format!("{}: the log starts at {start}, and nobody trimmed it above {latest}", self.name);
            return Err(Violation::new("log-start", message));
        }
        Ok(())
    }
}
