//! The real clocks.

use karst_core::machine::{Instant, Now, WallTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads both clocks. Copies agree: they all count from the moment when the first was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now. One per process.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Both clocks, as of now.
    #[must_use]
    pub fn now(&self) -> Now {
        // A wall clock before 1970 is an operator's mistake that nothing safe rests on.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Instant(nanos(self.start.elapsed())),
            wall: WallTime(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// When `at` comes, on the operating system's clock; `None` if that is too far away to be told.
    #[must_use]
    pub fn when(&self, at: Instant) -> Option<std::time::Instant> {
        self.start.checked_add(Duration::from_nanos(at.0))
    }
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}
