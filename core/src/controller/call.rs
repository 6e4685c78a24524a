//! One request to the store, asked again until something is known.

use super::Effect;
use crate::machine::{Backoff, Deadline, Effects, Instant, Now, OpId, OpIds, Rng};
use crate::mail::{Halt, Mail};
use crate::node;
use crate::store::{Fatal, Key, Precondition, Span, StoreCall, StoreError, StoreOp};
use alloc::format;
use bytes::Bytes;
use core::time::Duration;

/// What every part of the controller needs to act: the time, where effects go, operation numbers and randomness.
pub(super) struct Io<'a> {
    pub(super) now: Now,
    pub(super) desk: &'a mut Desk,
    pub(super) out: &'a mut Effects<Effect>,
}

/// What outlives a turn of that.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) ids: OpIds,
    pub(super) rng: Rng,
    pub(super) attempt: Duration,
}

impl Io<'_> {
    /// Mails the node.
    pub(super) fn tell(&mut self, mail: node::Mail) {
        self.out.push(Effect::Mail(Mail::Node(mail)));
    }
}

/// A request in flight, or waiting to be made.
#[derive(Debug)]
pub(super) struct Call {
    op: StoreOp,
    phase: Phase,
    backoff: Backoff,
}

#[derive(Debug)]
enum Phase {
    InFlight(OpId),
    Waiting(Instant),
}

impl Call {
    /// Asks at once.
    pub(super) fn new(io: &mut Io<'_>, op: StoreOp) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let phase = send(io, &op);
        Self { op, phase, backoff }
    }

    /// Asks after a pause.
    pub(super) fn after(io: &Io<'_>, op: StoreOp, pause: Duration) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        Self { op, phase: Phase::Waiting(io.now.mono.after(pause)), backoff }
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        matches!(self.phase, Phase::InFlight(own) if own == id)
    }

    /// What is or will be asked.
    pub(super) fn op(&self) -> &StoreOp {
        &self.op
    }

    /// Asks the same again, later.
    pub(super) fn again(&mut self, io: &mut Io<'_>) {
        let pause = self.backoff.wait(&mut io.desk.rng);
        self.phase = Phase::Waiting(io.now.mono.after(pause));
    }

    /// Goes on with another question at once.
    pub(super) fn next(&mut self, io: &mut Io<'_>, op: StoreOp) {
        self.phase = send(io, &op);
        self.op = op;
    }

    /// Goes on with another question, later.
    pub(super) fn next_later(&mut self, io: &mut Io<'_>, op: StoreOp) {
        self.op = op;
        self.again(io);
    }

    /// Asks if the pause is over.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        if matches!(self.phase, Phase::Waiting(until) if until <= io.now.mono) {
            self.phase = send(io, &self.op);
        }
    }

    /// When the pause is over.
    pub(super) fn deadline(&self, reason: &'static str) -> Option<Deadline> {
        match self.phase {
            Phase::Waiting(at) => Some(Deadline { at, reason }),
            Phase::InFlight(_) => None,
        }
    }
}

fn send(io: &mut Io<'_>, op: &StoreOp) -> Phase {
    let id = io.desk.ids.issue();
    // A large snapshot takes longer than one attempt's usual time.
    let size = if let StoreOp::Put { body, .. } = op { body.len() } else { 0 };
    let within = io.desk.attempt * (1 + u32::try_from(size >> 23).unwrap_or(u32::MAX >> 8));
    io.out.push(Effect::Store(id, StoreCall { op: op.clone(), within }));
    Phase::InFlight(id)
}

/// Reads all of an object.
pub(super) fn get(key: impl Into<Key>) -> StoreOp {
    StoreOp::Get { key: key.into(), span: Span::Whole }
}

/// Writes an object if that holds.
pub(super) fn put(key: impl Into<Key>, body: Bytes, only_if: Precondition) -> StoreOp {
    StoreOp::Put { key: key.into(), body: body.into(), only_if }
}

/// What a person has to hear if asking again is pointless; `None` for errors that may pass.
pub(super) fn hopeless(doing: &str, key: &str, error: StoreError) -> Option<Halt> {
    let advice = match error {
        StoreError::Denied => "grant this broker read, write, list and delete in the bucket, then start it again",
        StoreError::Fatal(Fatal::NoBucket) => "create it, or correct its name, then start the broker again",
        StoreError::Fatal(Fatal::ReadOnly) => "make it writable, then start the broker again",
        StoreError::Fatal(Fatal::SyncFailed) => "check the disk (dmesg), then start the broker again",
        StoreError::Fatal(Fatal::BadRequest) => "check that it supports conditional puts, and its address",
        _ => return None,
    };
    Some(Halt::Bucket(format!("{doing} {key}: {error}; {advice}")))
}
