//! What a partition is said to take, against what was read of it.

use super::{Place, Violation, subject};

/// What a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Where the log begins.
    pub start: i64,
    /// Bytes of the batches that were read, from there to the end.
    pub read: u64,
    /// What the broker says.
    pub told: i64,
}

impl Size {
    /// Of a log of which nothing was deleted it is exact. Else batches below its start may count, as long as something
    /// that they are stored with is there.
    pub(super) fn check(self, place: &Place) -> Result<(), Violation> {
        let Self { start, read, told } = self;
        let is_true = u64::try_from(told).is_ok_and(|told| if start == 0 { told == read } else { told >= read });
        if is_true {
            return Ok(());
        }
        let message = format!("{place}: said to take {told} bytes, and {read} were read from its start, {start}, on");
        Err(Violation::new("partition-size", message).about(subject::partition(place)))
    }
}
