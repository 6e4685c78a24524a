//! Reading back what a life left, and ending it for good.
//!
//! ```text
//!   from                             first missing
//!    |-- object -- object -- object --|- - - void - - -
//!    |<----- reading, in parts ------>|
//!                                     seal: whoever puts the first object here decides what is here
//! ```
//! Objects are read upwards from the trim point, a few ahead. Of each its beginning is read first: a small one is whole by
//! that, and its records are told with those of its neighbours; a large one [may become data](format::peek) as it is, and
//! is told by itself, without its records. A part ends before it, so what is told is in order.
//!
//! A read that is throttled, or of which nobody knows what it came to, is repeated, and never taken for a missing object.
//! Where one is missing, the log ends: but its writer may be alive, or a put of it on its way. So a *seal* is put there, on
//! the condition that nothing is there; the writer can then not complete the log beyond it any more, hence it acknowledges
//! nothing beyond it. If something was faster, that is read: records belong to the log, and a seal of an earlier recovery
//! is as good as one's own.

use super::format::{self, Content};
use super::rules::Rules;
use crate::envelope::DecodeError;
use crate::id::{Lsn, NodeEpoch};
use crate::machine::{Backoff, Instant, Mark, Now, OpId, OpIds, Rng, sometimes};
use crate::mail::Halt;
use crate::metadata::CommitObject;
use crate::store::{Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use crate::wal::{Appended, Life, Recovered};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Objects that are read at once, or were read and not taken yet.
const READ_AHEAD: usize = 4;

/// Bytes that make no sense so often make none in the bucket either.
const READINGS: u32 = 3;

/// A recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    rules: Rules,
    life: Life,
    /// Under which epoch.
    by: NodeEpoch,
    /// The next object to be taken.
    next: Lsn,
    /// What is known of the objects from `next` on.
    slots: VecDeque<Slot>,
    /// Of the part that is being made.
    records: Vec<Appended>,
    bytes: usize,
    /// How often the next object made no sense.
    senseless: u32,
    stage: Stage,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    /// Until the node asks for more.
    Waiting,
    Sealing(Step),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ready,
    Asked(OpId),
    Resting(Instant),
}

#[derive(Debug)]
enum Slot {
    Asking(Step, Much),
    /// All of it.
    Here(Bytes),
    /// Larger, and fit to become data.
    Stored(CommitObject),
    Missing,
}

/// How much of an object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Much {
    /// What tells whether the rest is needed.
    First,
    Whole,
}

/// What a recovery has to say.
#[derive(Debug)]
pub(super) enum Said {
    /// Nothing yet.
    Nothing,
    /// To the node.
    Tell(Recovered),
    /// It can't go on.
    Fail(Halt),
}

impl Recovery {
    /// Of that life, from its trim point on.
    pub(super) fn new(rules: Rules, life: Life, by: NodeEpoch, from: Lsn) -> Self {
        Self {
            rules,
            life,
            by,
            next: from,
            slots: VecDeque::new(),
            records: Vec::new(),
            bytes: 0,
            senseless: 0,
            stage: Stage::Reading,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
        }
    }

    /// The node wants the next part.
    pub(super) fn more(&mut self) -> Said {
        assert_eq!(self.stage, Stage::Waiting, "more is asked for only where there may be more");
        self.stage = Stage::Reading;
        self.take()
    }

    /// Whether everything was told.
    pub(super) fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// The requests to be sent.
    pub(super) fn requests(&mut self, now: Now, ops: &mut OpIds) -> Vec<(OpId, StoreCall)> {
        let mut calls = Vec::new();
        if let Stage::Sealing(step) = &mut self.stage
            && let Some(id) = step.begin(now, ops)
        {
            let body = format::seal(&self.life, self.next, self.by);
            let key = format::key(self.life.node, self.life.epoch, self.next);
            calls.push((id, StoreOp::Put { key, body, only_if: Precondition::Absent }));
        }
        if matches!(self.stage, Stage::Reading | Stage::Waiting) {
            let known = self.slots.iter().any(|slot| matches!(slot, Slot::Missing));
            while self.slots.len() < READ_AHEAD && !known {
                self.slots.push_back(Slot::Asking(Step::Ready, Much::First));
            }
        }
        for (seq, slot) in (self.next.0..).zip(&mut self.slots) {
            if let Slot::Asking(step, much) = slot
                && let Some(id) = step.begin(now, ops)
            {
                let key = format::key(self.life.node, self.life.epoch, Lsn(seq));
                let span = match much {
                    Much::First => Span::Range { at: 0, len: self.rules.first() },
                    Much::Whole => Span::Whole,
                };
                calls.push((id, StoreOp::Get { key, span }));
            }
        }
        let within = crate::store::attempt(self.rules.attempt, self.rules.object as u64);
        calls.into_iter().map(|(id, op)| (id, StoreCall { op, within })).collect()
    }

    /// A request ended. One that was forgotten meanwhile says nothing.
    pub(super) fn completed(&mut self, now: Now, op: OpId, result: StoreResult, rng: &mut Rng) -> Said {
        if self.stage == Stage::Sealing(Step::Asked(op)) {
            return self.was_sealed(now, result, rng);
        }
        let mut asking = (self.next.0..).zip(&mut self.slots);
        let asked = asking.find_map(|(seq, slot)| match slot {
            Slot::Asking(Step::Asked(asked), much) if *asked == op => Some((Lsn(seq), *much, slot)),
            _ => None,
        });
        let Some((seq, much, slot)) = asked else { return Said::Nothing };
        *slot = match result {
            Ok(StoreDone::Got { body, total, .. }) => {
                self.backoff.reset();
                if body.len() as u64 == total || much == Much::Whole {
                    Slot::Here(body.0)
                } else {
                    // What makes no sense is looked at as a whole, like what can't become data.
                    let object = format::peek(&self.life, seq, &body, total).ok().flatten();
                    object.map_or(Slot::Asking(Step::Ready, Much::Whole), Slot::Stored)
                }
            }
            Ok(other) => unreachable!("a get completed as {other:?}"),
            Err(StoreError::Missing) => Slot::Missing,
            Err(error) if error.may_pass() => {
                sometimes!(Mark::WalObjectReadAgain);
                tracing::debug!(%error, "an object of the WAL is read again");
                Slot::Asking(Step::Resting(now.mono.after(self.backoff.wait(rng))), much)
            }
            Err(error) => return self.hopeless("read", error),
        };
        if self.stage == Stage::Reading { self.take() } else { Said::Nothing }
    }

    /// When something is asked again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let sealing = match self.stage {
            Stage::Sealing(step) => Some(step),
            _ => None,
        };
        let reading = self.slots.iter().filter_map(|slot| match slot {
            Slot::Asking(step, _) => Some(*step),
            _ => None,
        });
        let all = reading.chain(sealing);
        all.filter_map(|step| if let Step::Resting(until) = step { Some(until) } else { None }).min()
    }

    /// Takes objects in order, until there is a part, or the end.
    fn take(&mut self) -> Said {
        while let Some(slot) = self.slots.front() {
            let bytes = match slot {
                Slot::Asking(..) => return Said::Nothing,
                Slot::Stored(object) => {
                    let object = object.clone();
                    return self.take_stored(object);
                }
                Slot::Missing => {
                    // What lies behind is void, whatever it is.
                    self.slots.clear();
                    self.stage = Stage::Sealing(Step::Ready);
                    return Said::Nothing;
                }
                Slot::Here(bytes) => bytes.clone(),
            };
            match format::open(&self.life, self.next, &bytes) {
                Ok(Content::Records(records)) => {
                    self.bytes += bytes.len();
                    self.records.extend(records);
                    self.senseless = 0;
                    self.slots.pop_front();
                    self.next = self.next.next();
                }
                Ok(Content::Seal(by)) => {
                    tracing::info!(seq = self.next.0, %by, "an earlier recovery has sealed the WAL");
                    sometimes!(Mark::WalSealFound);
                    return self.end();
                }
                Err(error) => return self.makes_no_sense(error),
            }
            if self.bytes >= self.rules.object {
                self.stage = Stage::Waiting;
                sometimes!(Mark::RecoveredInParts);
                return self.part(More::Maybe);
            }
        }
        Said::Nothing
    }

    /// An object of its own, unless there are records that come before it.
    fn take_stored(&mut self, object: CommitObject) -> Said {
        self.stage = Stage::Waiting;
        if !self.records.is_empty() {
            sometimes!(Mark::RecoveredInParts);
            return self.part(More::Maybe);
        }
        self.senseless = 0;
        self.slots.pop_front();
        self.next = self.next.next();
        Said::Tell(Recovered::Object { object, upto: self.next })
    }

    fn makes_no_sense(&mut self, error: DecodeError) -> Said {
        self.senseless += 1;
        if self.senseless < READINGS {
            // It may have suffered on the way.
            self.slots[0] = Slot::Asking(Step::Ready, Much::Whole);
            return Said::Nothing;
        }
        self.stage = Stage::Ended;
        self.slots.clear();
        let key = format::key(self.life.node, self.life.epoch, self.next);
        Said::Tell(Recovered::Damaged(format!(
            "{key} {error}: it belongs to the WAL {}, and may hold acknowledged records; restore it, or the bucket",
            self.life.uuid
        )))
    }

    fn was_sealed(&mut self, now: Now, result: StoreResult, rng: &mut Rng) -> Said {
        match result {
            Ok(StoreDone::Put { .. }) => {
                sometimes!(Mark::WalSealed);
                self.end()
            }
            Ok(other) => unreachable!("a put completed as {other:?}"),
            Err(StoreError::Exists) => {
                // One's own seal, somebody else's, or a batch that was late.
                sometimes!(Mark::WalSealBeaten);
                self.stage = Stage::Reading;
                let step = Step::Resting(now.mono.after(self.backoff.wait(rng)));
                self.slots.push_back(Slot::Asking(step, Much::First));
                Said::Nothing
            }
            Err(error) if error.may_pass() => {
                self.stage = Stage::Sealing(Step::Resting(now.mono.after(self.backoff.wait(rng))));
                Said::Nothing
            }
            Err(error) => self.hopeless("seal", error),
        }
    }

    fn hopeless(&mut self, what: &str, error: StoreError) -> Said {
        self.stage = Stage::Ended;
        self.slots.clear();
        let key = format::key(self.life.node, self.life.epoch, self.next);
        Said::Fail(Halt::Bucket(format!(
            "the WAL of node epoch {} is in the bucket, and {key} can't be {what}: {error}",
            self.life.epoch
        )))
    }

    fn end(&mut self) -> Said {
        self.stage = Stage::Ended;
        self.slots.clear();
        tracing::info!(end = self.next.0, epoch = %self.life.epoch, "the WAL was read back");
        self.part(More::No)
    }

    fn part(&mut self, more: More) -> Said {
        self.bytes = 0;
        let records = core::mem::take(&mut self.records);
        Said::Tell(Recovered::Part { records, upto: self.next, more: more == More::Maybe })
    }
}

impl Step {
    /// Begins, if it is time.
    fn begin(&mut self, now: Now, ops: &mut OpIds) -> Option<OpId> {
        let is_due = match *self {
            Self::Ready => true,
            Self::Asked(_) => false,
            Self::Resting(until) => until <= now.mono,
        };
        is_due.then(|| {
            let id = ops.issue();
            *self = Self::Asked(id);
            id
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Maybe,
    No,
}
