//! What comes in: one request at a time, from its first bytes until it starts.

use super::credit::{Charge, Credit};
use super::mail::Effect;
use crate::kafka::frame::{Announced, Framer};
use crate::kafka::{Api, Fault, Malformed};
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Instant};
use crate::shard::Pool;
use bytes::Bytes;
use core::time::Duration;

/// A half-received request must grow by so much, or be complete, in each period of patience.
const PROGRESS: usize = 1 << 20;

/// The same while others wait for what it holds, and the period is shorter.
const HASTE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Intake {
    framer: Framer,
    /// The largest frame of a request without records.
    control_request: u32,
    /// The largest frame with records that is not large.
    large_request: u32,
    state: State,
    patience: Duration,
    owing: Option<Owing>,
}

/// The client owes bytes.
#[derive(Clone, Copy, Debug)]
struct Owing {
    /// By steps of [`PROGRESS`].
    patient: Pace,
    /// By steps of [`HASTE`].
    hurried: Pace,
}

/// How a request grows.
#[derive(Clone, Copy, Debug)]
struct Pace {
    step: usize,
    steps: usize,
    /// When the last step was made.
    since: Instant,
}

impl Pace {
    const fn begin(now: Instant, step: usize, received: usize) -> Self {
        Self { step, steps: received / step, since: now }
    }

    fn note(&mut self, now: Instant, received: usize) {
        if received / self.step > self.steps {
            *self = Self::begin(now, self.step, received);
        }
    }
}

#[derive(Debug)]
enum State {
    /// The next request's first bytes are not all here.
    Empty,
    /// They are, and credit for it is not.
    Unpaid,
    /// Its bytes are being assembled.
    Begun(Charge),
    /// It is whole and may start.
    Whole(Bytes, Charge),
}

impl Intake {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            framer: Framer::new(limits.request),
            control_request: limits.control_request,
            large_request: limits.large_request,
            state: State::Empty,
            patience: limits.stalled_connection,
            owing: None,
        }
    }

    /// From which pool a request is paid.
    fn pool_of(&self, announced: Announced) -> Pool {
        match Api::of_key(announced.api_key) {
            Some(Api::Produce) if announced.len > self.large_request => Pool::LargeProduce,
            Some(Api::Produce) => Pool::Produce,
            _ => Pool::Control,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.framer.push(bytes);
    }

    /// Goes on with what is here. The API key of the next request once that is whole.
    pub(super) fn next(&mut self, credit: &mut Credit, out: &mut Effects<Effect>) -> Result<Option<i16>, Malformed> {
        if matches!(self.state, State::Empty | State::Unpaid) {
            let Some(announced) = self.framer.announced()? else { return Ok(None) };
            let pool = self.pool_of(announced);
            if pool == Pool::Control && announced.len > self.control_request {
                return Err(Malformed { field: "the frame", fault: Fault::Length(announced.len.into()) });
            }
            self.state = match credit.pay(pool, u64::from(announced.len), out) {
                Some(charge) => {
                    self.framer.begin(announced);
                    State::Begun(charge)
                }
                None => State::Unpaid,
            };
        }
        self.state = match core::mem::replace(&mut self.state, State::Empty) {
            State::Begun(charge) => match self.framer.fill() {
                Some(frame) => {
                    self.owing = None;
                    State::Whole(frame, charge)
                }
                None => State::Begun(charge),
            },
            other => other,
        };
        Ok(match &self.state {
            State::Whole(frame, _) => frame.first_chunk().map(|key| i16::from_be_bytes(*key)),
            _ => None,
        })
    }

    /// The whole request, to be started.
    pub(super) fn take(&mut self) -> (Bytes, Charge) {
        match core::mem::replace(&mut self.state, State::Empty) {
            State::Whole(frame, charge) => (frame, charge),
            state => panic!("only a whole request starts, not {state:?}"),
        }
    }

    /// Forgets what is here; what it cost, if anything, goes back.
    pub(super) fn clear(&mut self) -> Option<Charge> {
        self.framer.clear();
        self.owing = None;
        match core::mem::replace(&mut self.state, State::Empty) {
            State::Begun(charge) | State::Whole(_, charge) => Some(charge),
            State::Empty | State::Unpaid => None,
        }
    }

    /// Whether more bytes are of no use now.
    pub(super) const fn is_blocked(&self) -> bool {
        matches!(self.state, State::Unpaid | State::Whole(..))
    }

    /// The client is to send; unless it stands between two requests it has to.
    pub(super) fn listen(&mut self, now: Instant) {
        let received = self.framer.assembled().unwrap_or(0) + self.framer.waiting();
        let half_received = received > 0 || matches!(self.state, State::Begun(_));
        if !half_received {
            self.owing = None;
            return;
        }
        let owing = self.owing.get_or_insert(Owing {
            patient: Pace::begin(now, PROGRESS, received),
            hurried: Pace::begin(now, HASTE, received),
        });
        owing.patient.note(now, received);
        owing.hurried.note(now, received);
    }

    /// The client is not listened to, and owes nothing meanwhile.
    pub(super) fn rest(&mut self) {
        self.owing = None;
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let since = self.owing?.patient.since;
        Some(Deadline { at: since.after(self.patience), reason: "half-received request" })
    }

    /// Since when a request that is paid for has not grown.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        matches!(self.state, State::Begun(_)).then(|| Some(self.owing?.hurried.since)).flatten()
    }

    /// What the request costs that has not started yet.
    pub(super) fn charged(&self) -> u64 {
        match &self.state {
            State::Begun(charge) | State::Whole(_, charge) => charge.bytes(),
            State::Empty | State::Unpaid => 0,
        }
    }
}
