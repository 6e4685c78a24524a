//! How long to wait before trying again.

use super::Rng;
use core::time::Duration;

/// Exponential back-off with full jitter, capped. Whatever the number of attempts, it never overflows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: u32,
}

impl Backoff {
    /// First wait up to `base`, doubling to at most `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempts: 0 }
    }

    /// The wait before the next attempt: at least half of the step, so that it never spins.
    pub fn wait(&mut self, rng: &mut Rng) -> Duration {
        let step = self.base.saturating_mul(1 << self.attempts.min(20)).min(self.cap);
        self.attempts = self.attempts.saturating_add(1);
        let half = u64::try_from(step.as_nanos() / 2).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(half + rng.below(half.saturating_add(1)))
    }

    /// Attempts that failed since the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A success: the next wait is short again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}
