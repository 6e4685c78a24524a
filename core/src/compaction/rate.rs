//! How fast objects are rewritten.

use crate::machine::Instant;
use core::time::Duration;

/// Lets so many bytes per second pass, read and written together. A request goes as soon as those before it are paid for.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u64,
    /// From then on the next request may go.
    free_at: Instant,
}

impl Rate {
    pub(super) const fn new(per_second: u64) -> Self {
        Self { per_second, free_at: Instant(0) }
    }

    /// When the next request may go.
    pub(super) const fn free_at(&self) -> Instant {
        self.free_at
    }

    pub(super) fn charge(&mut self, now: Instant, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now).after(takes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_for_those_before_them_and_idleness_saves_nothing_up() {
        let mut rate = Rate::new(1_000);
        let second = |number: u64| Instant(number * 1_000_000_000);
        assert_eq!(rate.free_at(), second(0));
        rate.charge(second(5), 2_000);
        assert_eq!(rate.free_at(), second(7));
        rate.charge(second(6), 1_000);
        assert_eq!(rate.free_at(), second(8));
        rate.charge(second(100), 1_000);
        assert_eq!(rate.free_at(), second(101));
        rate.charge(second(100), u64::MAX);
        assert_eq!(rate.free_at(), Instant(u64::MAX), "nothing overflows");
    }
}
