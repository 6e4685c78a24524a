//! Work in the store whose requests are repeated until it is done.
//!
//! ```text
//!   Ready(step) ──begin──> Waiting(step) ──> Done
//!      ^  ^                   │    │ rest: an answer that says "later"
//!      │  └───── go_on ───────┘    v
//!      └───────── wake ─────── Resting(step)
//! ```
//! Which requests those are, its steps, and what answers mean is the owner's business.

use crate::machine::{Backoff, Instant, Now, OpId, Rng};

/// How far the work is. It has one request out at most.
#[derive(Debug)]
pub(crate) struct Attempts<S> {
    progress: Progress<S>,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum Progress<S> {
    Ready(S),
    Waiting(S, OpId),
    Resting(S, Instant),
    Done,
}

impl<S: Copy> Attempts<S> {
    pub(crate) const fn new(first: S, backoff: Backoff) -> Self {
        Self { progress: Progress::Ready(first), backoff }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.progress, Progress::Done)
    }

    /// Whether a request is to be sent.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.progress, Progress::Ready(_))
    }

    /// The request in flight.
    pub(crate) fn waits_for(&self) -> Option<OpId> {
        match self.progress {
            Progress::Waiting(_, op) => Some(op),
            _ => None,
        }
    }

    /// When it is to be asked again.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        match self.progress {
            Progress::Resting(_, until) => Some(until),
            _ => None,
        }
    }

    /// How often it had to rest.
    pub(crate) fn rests(&self) -> u32 {
        self.backoff.attempts()
    }

    pub(crate) fn wake(&mut self, now: Now) {
        if let Progress::Resting(step, until) = self.progress
            && until <= now.mono
        {
            self.progress = Progress::Ready(step);
        }
    }

    /// The request of the step that is returned is sent, known as `op`.
    pub(crate) fn begin(&mut self, op: OpId) -> S {
        let Progress::Ready(step) = self.progress else { unreachable!("only what is ready is sent") };
        self.progress = Progress::Waiting(step, op);
        step
    }

    /// The step whose request has been answered.
    pub(crate) fn answered(&self) -> S {
        let Progress::Waiting(step, _) = self.progress else { unreachable!("nothing was asked") };
        step
    }

    /// That step is next, at once.
    pub(crate) fn go_on(&mut self, step: S) {
        self.progress = Progress::Ready(step);
    }

    /// That step is next, after a pause that grows.
    pub(crate) fn rest(&mut self, now: Now, step: S, rng: &mut Rng) {
        self.progress = Progress::Resting(step, now.mono.after(self.backoff.wait(rng)));
    }

    pub(crate) fn done(&mut self) {
        self.progress = Progress::Done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_request_rests_until_its_time_and_goes_on_with_its_step() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let (mut work, mut rng) = (Attempts::new('a', backoff), Rng::new(1));
        assert_eq!((work.begin(OpId(4)), work.waits_for()), ('a', Some(OpId(4))));
        assert!(!work.is_ready());
        work.rest(Now::default(), work.answered(), &mut rng);
        let until = work.wakes_at().expect("it rests");
        assert_eq!((work.waits_for(), work.rests()), (None, 1));
        work.wake(Now { mono: Instant(until.0 - 1), ..Now::default() });
        assert!(!work.is_ready());
        work.wake(Now { mono: until, ..Now::default() });
        assert_eq!((work.begin(OpId(5)), work.wakes_at()), ('a', None));
        work.go_on('b');
        assert_eq!(work.begin(OpId(6)), 'b');
        work.done();
        work.wake(Now { mono: Instant(u64::MAX), ..Now::default() });
        assert!(work.is_done() && !work.is_ready() && work.waits_for().is_none() && work.wakes_at().is_none());
    }
}
