//! Where the log may start: after what was trimmed, and after what retention may take.

use super::{Outcome, PartitionModel, Violation, Write};
use crate::oracle::configs::{Allowance, timestamp};
use crate::oracle::stored::most_stored;
use crate::oracle::trims::{Trim, TrimId, Upto};
use std::collections::BTreeSet;

impl PartitionModel {
    pub(in crate::oracle) fn trimming(&mut self, id: TrimId, upto: Upto) {
        self.trims.trimming(id, upto);
    }

    pub(in crate::oracle) fn trimmed(
        &mut self,
        id: TrimId,
        outcome: Trim,
        allowance: Allowance,
    ) -> Result<(), Violation> {
        match outcome {
            Trim::Done(start) => {
                self.trims.done(id, start)?;
                self.check_start(start, allowance)
            }
            Trim::Refused | Trim::Forbidden => {
                self.trims.refused(id);
                self.check_start(self.trims.start(), allowance)
            }
            Trim::Unknown => Ok(()),
        }
    }

    pub(in crate::oracle) fn log_start(
        &mut self,
        number: u64,
        start: i64,
        allowance: Allowance,
    ) -> Result<(), Violation> {
        let known = self.asked.get(&number).map_or(0, |known| known.start);
        self.trims.told(known, start)?;
        self.check_start(start, allowance)
    }

    /// What is gone, somebody asked to delete, or its topic's configs allowed to go.
    pub(super) fn check_start(&mut self, start: i64, allowance: Allowance) -> Result<(), Violation> {
        if !self.is_explained(start, allowance) {
            let latest = self.trims.latest_start(self.sent).max(self.explained);
            let message = format!(
                "{}: the log starts at {start}; nobody trimmed it above {latest}, and {allowance:?} does not explain it",
                self.name
            );
            return Err(Violation::new("log-start", message).about(self.record(latest)));
        }
        self.explained = self.explained.max(start);
        Ok(())
    }

    /// Whether the log may start there: after trims, or after retention by size, and then by age.
    pub(super) fn is_explained(&self, start: i64, allowance: Allowance) -> bool {
        let known = self.trims.latest_start(self.sent).max(self.explained);
        if start <= known {
            return true;
        }
        let young = self.log.range(..start).rev().find(|(base, id)| {
            let write = &self.writes[id];
            let stamped = self.stamp_at(**base, write).filter(|stamp| *stamp >= 0);
            !allowance.takes(stamped.unwrap_or_else(|| timestamp(&write.batch)))
        });
        let from = young.map_or(0, |(base, id)| (base + self.writes[id].records).min(start));
        from <= known || allowance.bytes.is_some_and(|kept| self.bytes_from(from, allowance) >= kept)
    }

    /// What the log may hold from there on, in bytes, at most.
    pub(super) fn bytes_from(&self, from: i64, allowance: Allowance) -> u64 {
        let is_there = |write: &&Write| {
            let is_below = write.at.is_some_and(|at| at + write.records <= from);
            let is_lost = write.at.is_none()
                && write.after_cuts < self.cuts.len()
                && matches!(write.outcome, Some(Outcome::Acked(_)));
            !is_below && !is_lost && write.outcome != Some(Outcome::Failed)
        };
        let stored = |write: &Write| match write.stored {
            Some(stored) if write.copies == 1 => stored.len(),
            _ if allowance.recompresses => most_stored(&write.batch) as u64,
            _ => write.batch.len() as u64,
        };
        self.writes.values().filter(is_there).map(|write| stored(write) * write.copies).sum()
    }

    /// The latest offset at which a log that ended at `end` or later may start by now: after trims, or after retention.
    /// Between batches of which the place is known others may lie, and go.
    pub(super) fn latest_start(&self, end: i64, allowance: Allowance) -> i64 {
        let known = self.trims.latest_start(self.sent).max(self.explained);
        let bounds = self.log.iter().flat_map(|(base, id)| [*base, base + self.writes[id].records]);
        let beyond: BTreeSet<i64> = bounds.chain([end]).filter(|bound| *bound > known).collect();
        beyond.into_iter().rev().find(|bound| self.is_explained(*bound, allowance)).unwrap_or(known)
    }
}
