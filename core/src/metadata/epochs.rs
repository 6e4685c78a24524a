//! Where each epoch of a stream began.
//!
//! Kafka's leader epoch of a record is the epoch of the stream under which it was appended. By this history a client that
//! knows an epoch learns where that epoch's records end (KIP-101, KIP-320), and by the newest of them whether what it
//! has read is still what the log holds.

use super::bounds;
use crate::id::{Offset, StreamEpoch};
use alloc::collections::BTreeMap;
use core::ops::Bound;

/// The first offset of each epoch that has records, and of the newest, which may have none yet.
///
/// First offsets ascend strictly with the epochs: of epochs that began at the same offset only the last is kept, since
/// the others have no records. An epoch all of whose records are trimmed is forgotten, and the first that is left begins
/// at the log's start. So there are never more entries than restarts since the oldest record that is left, and never more
/// than [`bounds::EPOCHS`]: then the oldest is forgotten as if it were trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochHistory(pub(super) BTreeMap<StreamEpoch, Offset>);

impl EpochHistory {
    /// Of a new stream.
    #[must_use]
    pub fn new(first: StreamEpoch) -> Self {
        Self(BTreeMap::from([(first, Offset(0))]))
    }

    /// An epoch above all others begins at the log's end.
    pub(super) fn begin(&mut self, epoch: StreamEpoch, at: Offset) {
        self.0.retain(|_, start| *start < at);
        self.0.insert(epoch, at);
        while self.0.len() > bounds::EPOCHS {
            self.0.pop_first();
        }
    }

    /// The log starts there now.
    pub(super) fn trim(&mut self, log_start: Offset) {
        while self.0.values().nth(1).is_some_and(|second| *second <= log_start) {
            self.0.pop_first();
        }
        if let Some(mut first) = self.0.first_entry() {
            let start = (*first.get()).max(log_start);
            first.insert(start);
        }
    }

    /// Where the records of an epoch end in a log that ends at `log_end`, and the largest epoch up to that one that has
    /// any: what Kafka answers to OffsetForLeaderEpoch. An epoch from before everything that is known ends where that
    /// begins. `None` for an epoch that is not there yet.
    #[must_use]
    pub fn end_of(&self, epoch: StreamEpoch, log_end: Offset) -> Option<(StreamEpoch, Offset)> {
        if self.newest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let (_, end) = self.0.range((Bound::Excluded(epoch), Bound::Unbounded)).next()?;
        let found = self.0.range(..=epoch).next_back().map_or(epoch, |(found, _)| *found);
        Some((found, *end))
    }

    /// The epoch of the first record, if the log starts at `log_start` and that is known.
    #[must_use]
    pub fn earliest(&self, log_start: Offset) -> Option<StreamEpoch> {
        self.0.first_key_value().filter(|(_, start)| **start <= log_start).map(|(epoch, _)| *epoch)
    }

    fn newest(&self) -> Option<StreamEpoch> {
        self.0.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Whether it can be that of a stream under this epoch, with committed records from `start` to `end`.
    pub(super) fn fits(&self, epoch: StreamEpoch, start: Offset, end: Offset) -> bool {
        let starts = self.0.values().zip(self.0.values().skip(1));
        self.newest() == Some(epoch)
            && self.0.len() <= bounds::EPOCHS
            && starts.into_iter().all(|(one, next)| one < next)
            && self.0.values().all(|at| (start..=end).contains(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(begins: &[(u32, u64)]) -> EpochHistory {
        let mut history = EpochHistory::new(StreamEpoch(1));
        begins.iter().for_each(|(epoch, at)| history.begin(StreamEpoch(*epoch), Offset(*at)));
        history
    }

    fn end_of(history: &EpochHistory, epoch: u32) -> Option<(u32, u64)> {
        history.end_of(StreamEpoch(epoch), Offset(100)).map(|(epoch, end)| (epoch.0, end.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_with_records_begins() {
        let history = history(&[(2, 10), (5, 30)]);
        let ends: [_; 7] = core::array::from_fn(|epoch| end_of(&history, epoch as u32));
        let two = Some((2, 30));
        assert_eq!(ends, [Some((0, 0)), Some((1, 10)), two, two, two, Some((5, 100)), None]);
    }

    #[test]
    fn an_epoch_without_records_is_forgotten() {
        let history = history(&[(2, 0), (3, 10), (4, 10)]);
        assert_eq!(history, EpochHistory(BTreeMap::from([(StreamEpoch(2), Offset(0)), (StreamEpoch(4), Offset(10))])));
        assert_eq!((end_of(&history, 1), end_of(&history, 3)), (Some((1, 0)), Some((2, 10))));
    }

    #[test]
    fn what_is_trimmed_is_forgotten_and_the_rest_begins_at_the_start() {
        let mut history = history(&[(2, 10), (3, 20)]);
        assert_eq!(history.earliest(Offset(0)), Some(StreamEpoch(1)));
        history.trim(Offset(15));
        assert_eq!((end_of(&history, 1), end_of(&history, 2)), (Some((1, 15)), Some((2, 20))));
        assert_eq!(history.earliest(Offset(15)), Some(StreamEpoch(2)));
        history.trim(Offset(20));
        assert_eq!((end_of(&history, 2), end_of(&history, 3)), (Some((2, 20)), Some((3, 100))));
        history.trim(Offset(30));
        assert_eq!(end_of(&history, 2), Some((2, 30)));
        assert!(history.fits(StreamEpoch(3), Offset(30), Offset(30)));
    }

    #[test]
    fn there_are_only_so_many() {
        let begins: alloc::vec::Vec<_> = (2..=1_000).map(|epoch| (epoch, u64::from(epoch) * 10)).collect();
        let history = history(&begins);
        assert!(history.fits(StreamEpoch(1_000), Offset(0), Offset(10_000)));
        assert_eq!(history.0.len(), bounds::EPOCHS);
        let oldest = 1_001 - bounds::EPOCHS as u32;
        assert_eq!(end_of(&history, 3), Some((3, u64::from(oldest) * 10)), "as if it were trimmed");
        assert_eq!(history.earliest(Offset(0)), None, "whose record that is, is forgotten");
    }
}
