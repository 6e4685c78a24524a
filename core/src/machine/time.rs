//! Time as an argument.

use core::time::Duration;

/// A moment on this process's monotonic clock, in nanoseconds since its start. Compares only within one incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `by` later; saturates, so that "never" may be expressed by a huge duration.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`; zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds since the Unix epoch, as Kafka's timestamps. It may jump in either direction: nothing safe rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

/// Both clocks, read once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// For durations and deadlines.
    pub mono: Instant,
    /// For timestamps that people and clients see.
    pub wall: WallTime,
}

/// When a machine wants to be told the time, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// What is due then, for traces and logs.
    pub reason: &'static str,
}

impl Deadline {
    /// The earlier of several possible deadlines.
    #[must_use]
    pub fn earliest(all: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        all.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }
}
