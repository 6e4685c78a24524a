//! One object on its way into the bucket, until it is there or can't be.
//!
//! ```text
//!            ambiguous: the same bytes again
//!             +------------------+
//!             v                  |
//!   Ready(Put) ──> Waiting(Put) ─┴─ 200 ──────────────> durable
//!                     │ 412: exists
//!                     v
//!   Ready(Compare) ──> Waiting(Compare) ── ours ──────> durable
//!             ^             │     └─────── a seal ────> sealed
//!             └─ ambiguous ─┘     └─────── else ──────> lost
//! ```

use super::format::{self, Content, HEAD, SEAL_LEN};
use crate::id::{Lsn, NodeEpoch};
use crate::machine::{Backoff, Instant, Mark, Now, OpId, Payload, Rng, Rope, sometimes};
use crate::store::attempts::Attempts;
use crate::store::{Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use crate::wal::Life;
use core::time::Duration;

/// Bytes that differ so often differ in the bucket, not on the way from there.
const COMPARISONS: u32 = 3;

/// An object and its requests.
#[derive(Debug)]
pub(super) struct Put {
    life: Life,
    seq: Lsn,
    body: Rope,
    attempts: Attempts<Step>,
    differed: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Put it, unless something is there.
    Put,
    /// Something is there: see whether it is what was put.
    Compare,
}

/// What a completion means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The object is durable.
    Durable,
    /// It is asked again, at once or later.
    Again,
    /// A later life of this node, that of this epoch, has ended this one.
    Sealed(NodeEpoch),
    /// Something else has its name.
    Taken,
    /// The store will never take it.
    Hopeless(StoreError),
}

impl Put {
    pub(super) fn new(life: Life, seq: Lsn, body: Rope) -> Self {
        assert!(body.len() > SEAL_LEN, "an object as short as a seal would be taken for one");
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        Self { life, seq, body, attempts: Attempts::new(Step::Put, backoff), differed: 0 }
    }

    pub(super) fn seq(&self) -> Lsn {
        self.seq
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    pub(super) fn is_durable(&self) -> bool {
        self.attempts.is_done()
    }

    /// Whether a request is to be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.attempts.is_ready()
    }

    /// The request in flight.
    pub(super) fn waits_for(&self) -> Option<OpId> {
        self.attempts.waits_for()
    }

    /// When it is to be asked again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.attempts.wakes_at()
    }

    pub(super) fn wake(&mut self, now: Now) {
        self.attempts.wake(now);
    }

    /// The request to be sent, known as `op`.
    pub(super) fn request(&mut self, op: OpId) -> StoreOp {
        let key = format::key(self.life.node, self.life.epoch, self.seq);
        match self.attempts.begin(op) {
            Step::Put => StoreOp::Put { key, body: self.body.clone(), only_if: Precondition::Absent },
            // A seal is no longer; and of our own, the head has the checksum of all the rest.
            Step::Compare => StoreOp::Get { key, span: Span::Range { at: 0, len: SEAL_LEN as u64 } },
        }
    }

    /// Takes the completion of the request.
    pub(super) fn completed(&mut self, now: Now, result: StoreResult, rng: &mut Rng) -> Judgement {
        match (self.attempts.answered(), result) {
            (Step::Put, Ok(StoreDone::Put { .. })) => self.durable(),
            (Step::Put, Err(StoreError::Exists)) => {
                self.attempts.go_on(Step::Compare);
                Judgement::Again
            }
            (Step::Compare, Ok(StoreDone::Got { body, total, .. })) => self.compare(now, &body, total, rng),
            // It was there a moment ago: a later life has committed what it held, and deleted it.
            (Step::Compare, Err(StoreError::Missing)) => self.rest(now, Step::Put, rng),
            (step, Err(error)) if error.may_pass() => {
                tracing::debug!(seq = self.seq.0, attempts = self.attempts.rests(), %error, "a WAL object is tried again");
                self.rest(now, step, rng)
            }
            (_, Err(error)) => Judgement::Hopeless(error),
            (step, Ok(other)) => unreachable!("{step:?} completed as {other:?}"),
        }
    }

    fn compare(&mut self, now: Now, found: &Payload, total: u64, rng: &mut Rng) -> Judgement {
        let head = self.body.pieces().first().map_or(&[][..], |head| &head[..HEAD]);
        if total == self.body.len() as u64 && found.starts_with(head) {
            sometimes!(Mark::OwnWalObjectRecognised);
            return self.durable();
        }
        if let Ok(Content::Seal(by)) = format::open(&self.life, self.seq, found) {
            return Judgement::Sealed(by);
        }
        self.differed += 1;
        if self.differed < COMPARISONS { self.rest(now, Step::Compare, rng) } else { Judgement::Taken }
    }

    fn durable(&mut self) -> Judgement {
        self.attempts.done();
        Judgement::Durable
    }

    fn rest(&mut self, now: Now, step: Step, rng: &mut Rng) -> Judgement {
        self.attempts.rest(now, step, rng);
        Judgement::Again
    }
}
