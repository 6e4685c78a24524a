//! Complaints about a bucket that fails: a store that is down must not fill the log, and its return is told.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// At most one line in so long.
const PAUSE: Duration = Duration::from_secs(10);

/// What is wrong, since when, and what of it was told.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failing_since: Option<Instant>,
    told: Option<Instant>,
    /// Failures of this time, and those of them that share the next line.
    failures: u64,
    untold: u64,
    latest: String,
}

impl Complaints {
    /// A request failed, for a reason that says something about the store. Returns whether that was told.
    pub(super) fn failed(&self, doing: &str, key: &str, why: &dyn Display) -> bool {
        self.failed_at(Instant::now(), format!("{doing} {key}: {why}"))
    }

    fn failed_at(&self, now: Instant, what: String) -> bool {
        let mut state = self.lock();
        state.failing_since.get_or_insert(now);
        state.failures += 1;
        state.untold += 1;
        state.latest = what;
        if state.told.is_some_and(|told| now < told + PAUSE) {
            return false;
        }
        state.told = Some(now);
        let failures = std::mem::take(&mut state.untold);
        warn!(failures, "the object store fails: {}", state.latest);
        true
    }

    /// A request was answered as it should be. Returns whether that is news.
    pub(super) fn answered(&self) -> bool {
        self.answered_at(Instant::now())
    }

    fn answered_at(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let Some(since) = state.failing_since.take() else { return false };
        let failures = std::mem::take(&mut state.failures);
        // Single failures come and go: their end is no news.
        let lasted = now.saturating_duration_since(since);
        let is_news = failures > 1 && lasted >= PAUSE / 5;
        if is_news {
            info!(failures, "the object store answers again, after {:.1} s", lasted.as_secs_f32());
            state.told = None;
            state.untold = 0;
        }
        is_news
    }

    /// What failed last, if anything did.
    pub(super) fn latest(&self) -> Option<String> {
        Some(self.lock().latest.clone()).filter(|latest| !latest.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_a_line_and_the_end_is_told_once() {
        let complaints = Complaints::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(complaints.latest(), None);
        assert!(!complaints.answered_at(at(0)), "it never failed");
        let told: Vec<u64> =
            (0..250).map(|n| n * 100).filter(|ms| complaints.failed_at(at(*ms), format!("at {ms}"))).collect();
        assert_eq!(told, [0, 10_000, 20_000]);
        assert_eq!(complaints.latest().as_deref(), Some("at 24900"));
        assert!(complaints.answered_at(at(25_000)));
        assert!(!complaints.answered_at(at(25_001)));
        assert!(complaints.failed_at(at(25_002), "anew".into()), "a new failure is told at once");
    }

    #[test]
    fn failures_that_come_and_go_are_told_no_more_often() {
        for (every, pause) in [(50, 20), (5000, 3000)] {
            let complaints = Complaints::default();
            let begun = Instant::now();
            let mut lines = 0;
            for ms in (0..30_000).step_by(every) {
                let now = begun + Duration::from_millis(ms);
                lines += u32::from(complaints.failed_at(now, "once more".into()));
                lines += u32::from(complaints.answered_at(now + Duration::from_millis(pause)));
            }
            assert_eq!(lines, 3);
        }
    }
}
