//! How long what was done to the store may hold up a broker that stops.

use karst_runtime_sim::time::SimTime;
use std::collections::VecDeque;
use std::time::Duration;

/// The longest pause between two attempts of one request that a stop waits for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest, which doubles from failure to failure.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Requests that failed, by time, and when the broker was asked to stop.
#[derive(Debug)]
pub(super) struct Troubles {
    /// One attempt at a request.
    attempt: Duration,
    /// What a stop may take in all.
    drain: Duration,
    /// How many requests had failed by then; as far back as they can still hold anything up.
    failed: VecDeque<(SimTime, u64)>,
    asked: Option<SimTime>,
}

impl Troubles {
    pub(super) fn new(attempt: Duration, drain: Duration) -> Self {
        Self { attempt, drain, failed: VecDeque::from([(SimTime::ZERO, 0)]), asked: None }
    }

    /// So many requests have failed so far.
    pub(super) fn observe(&mut self, now: SimTime, failed: u64) {
        let oldest = self.asked.unwrap_or(now);
        while self.failed.len() > 1 && oldest.since(self.failed[1].0) > LONGEST_PAUSE + self.attempt {
            self.failed.pop_front();
        }
        self.failed.push_back((now, failed));
    }

    /// A broker begins.
    pub(super) fn started(&mut self) {
        self.asked = None;
    }

    /// It is asked to stop.
    pub(super) fn asked_to_stop(&mut self, now: SimTime) {
        self.asked.get_or_insert(now);
    }

    /// Whether it was.
    pub(super) fn is_asked_to_stop(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a broker that gives up now has tried for as long as it should, and may have been held up for half of
    /// that at least. A good store takes far less than the other half.
    pub(super) fn explain_giving_up(&self, now: SimTime) -> bool {
        let Some(asked) = self.asked else { return false };
        let (first, last) = (self.failed.front(), self.failed.back());
        let failed = first.zip(last).map_or(0, |(first, last)| last.1 - first.1);
        // Its clock may be fast.
        now.since(asked) >= self.drain * 4 / 5 && self.held_up(failed) >= self.drain / 2
    }

    /// By so many failures of one request after the other, at most.
    fn held_up(&self, failures: u64) -> Duration {
        let mut pause = SHORTEST_PAUSE;
        let mut all = Duration::ZERO;
        for _ in 0..failures.min(1_000) {
            all += self.attempt + pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> SimTime {
        SimTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn gave_up(failures: &[(u64, u64)], asked: u64, now: u64) -> bool {
        let mut troubles = Troubles::new(Duration::from_secs(2), DRAIN);
        for (seconds, failed) in failures {
            if *seconds >= asked {
                troubles.asked_to_stop(at(asked));
            }
            troubles.observe(at(*seconds), *failed);
        }
        troubles.asked_to_stop(at(asked));
        troubles.explain_giving_up(at(now))
    }

    #[test]
    fn only_failures_while_it_tried_explain_that_it_gives_up() {
        assert!(!gave_up(&[(5, 0), (120, 0)], 100, 130), "nothing failed");
        assert!(gave_up(&[(5, 0), (110, 7)], 100, 130), "seven failures take long");
        assert!(!gave_up(&[(5, 0), (110, 2)], 100, 130), "two do not");
        assert!(
            !gave_up(&[(5, 100), (60, 100), (80, 100), (120, 100)], 100, 130),
            "an outage that was over long before"
        );
        assert!(!gave_up(&[(5, 0), (110, 7)], 100, 112), "it did not try for long");
    }
}
