//! How often to read again, and when to give up.

use super::ReadError;
use crate::envelope::DecodeError;
use crate::machine::{Backoff, Instant, Mark, Now, Rng, sometimes};
use crate::store::StoreError;
use core::time::Duration;

/// The attempts at one thing so far.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    until: Instant,
    corrupt: u32,
    backoff: Backoff,
}

/// What follows from a failed attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ask again at that moment.
    Again(Instant),
    /// The read ends with this.
    GiveUp(ReadError),
}

/// Bytes that fail their checks so often are not damaged on the way, but in the store.
const CORRUPT_ATTEMPTS: u32 = 3;

/// A read may fail for so many attempts' time; its client asks again by itself.
pub(super) const PATIENCE: u32 = 3;

impl Tries {
    /// None so far, each taking at most `attempt`.
    pub(super) fn new(now: Now, attempt: Duration) -> Self {
        Self {
            until: now.mono.after(attempt.saturating_mul(PATIENCE)),
            corrupt: 0,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
        }
    }

    /// The store did not give the bytes.
    pub(super) fn failed(&mut self, now: Now, error: StoreError, rng: &mut Rng) -> Verdict {
        match error {
            StoreError::Missing => Verdict::GiveUp(ReadError::Gone),
            StoreError::Corrupt => self.undecodable(now, DecodeError::Checksum, rng),
            _ if error.may_pass() && now.mono < self.until => self.again(now, rng),
            _ => Verdict::GiveUp(ReadError::Unavailable(error)),
        }
    }

    /// It gave bytes that make no sense.
    pub(super) fn undecodable(&mut self, now: Now, error: DecodeError, rng: &mut Rng) -> Verdict {
        sometimes!(Mark::ObjectReadAgain);
        self.corrupt += 1;
        if self.corrupt >= CORRUPT_ATTEMPTS || error == DecodeError::Unsupported {
            return Verdict::GiveUp(ReadError::Corrupt(error));
        }
        self.again(now, rng)
    }

    fn again(&mut self, now: Now, rng: &mut Rng) -> Verdict {
        Verdict::Again(now.mono.after(self.backoff.wait(rng)))
    }
}
