//! How long what expires must have been idle at least, as the world's clock counts it.

use karst_runtime_sim::time::SimTime;
use std::time::Duration;

/// A span after which a broker may forget something, by its own monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What may pass in the world at least while a broker's clock counts the span: its clock may run fast.
    least: Duration,
    /// The span itself, in milliseconds, as timestamps count it.
    pub(super) millis: i64,
}

impl Span {
    /// Longer than any run.
    pub const NEVER: Self = Self { least: Duration::MAX, millis: i64::MAX };

    /// A span that is counted by a clock which runs fast by up to so many parts per million.
    #[must_use]
    pub fn new(span: Duration, drift_ppm: u32) -> Self {
        let nanos = span.as_nanos() * 1_000_000 / (1_000_000 + u128::from(drift_ppm));
        let least = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Self { least, millis: i64::try_from(span.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Whether it may have passed between these moments.
    pub(super) fn fits(self, from: SimTime, to: SimTime) -> bool {
        to.since(from) >= self.least
    }

    /// Whether it is so short that it may pass in a run.
    pub(super) fn is_short(self) -> bool {
        self.least < Duration::from_secs(3_000)
    }
}

/// The spans of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// After which an idle producer may be forgotten.
    pub producers: Span,
    /// After which the offsets of a group without members may go.
    pub offsets: Span,
}

impl Default for Spans {
    fn default() -> Self {
        Self { producers: Span::NEVER, offsets: Span::NEVER }
    }
}
