//! What becomes of one request: drawn when it is made, for it alone, and by each fault whether it is on or not.

use super::knobs::StoreKnobs;
use super::{Caller, Mode, Reach};
use crate::fates::{Fates, apart};
use crate::fault::Chance;
use crate::gate::Gate;
use crate::time::SimTime;
use core::time::Duration;
use karst_core::machine::Rng;
use karst_core::store::{Cause, Fatal, Span, StoreError, StoreOp};

/// When a request takes effect and what its caller hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives at the store.
    pub(super) arrives: SimTime,
    /// When it takes effect, if ever.
    pub(super) effect: Option<SimTime>,
    /// When the caller hears.
    pub(super) answer: SimTime,
    /// What instead of the outcome.
    pub(super) error: Option<StoreError>,
    /// The fault that fired.
    pub(super) fault: Option<&'static str>,
}

/// What is known of a request beside its operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) from: Caller,
    pub(super) now: SimTime,
    pub(super) deadline: SimTime,
    pub(super) mode: Mode,
    pub(super) reach: Reach,
    /// Another put of the same key is in flight.
    pub(super) contended: bool,
}

/// Requests that follow each other within this are told apart by their order.
const SLOT: Duration = Duration::from_millis(8);

/// The fates of all requests.
#[derive(Debug)]
pub(super) struct Draws(Fates);

impl Draws {
    pub(super) fn new(rng: &Rng) -> Self {
        Self(Fates::new(rng, SLOT))
    }

    /// One slot for all times: of each kind the n-th has the n-th fate, whenever it comes.
    pub(super) fn by_order(rng: &Rng) -> Self {
        Self(Fates::new(rng, Duration::MAX))
    }

    pub(super) fn fate(&mut self, (knobs, gate): (&StoreKnobs, &Gate), op: &StoreOp, about: Circumstances) -> Fate {
        let rng = &mut self.0.draw(about.now, (about.from, kind(op)));
        let timing = timing(knobs, gate, about.now, &mut apart(rng));
        let drawn = Drawn::draw(knobs, about, rng);
        let outage = outage(op, rng);
        let despite = Despite::draw(knobs, rng);
        let drawn = Drawn { unread: knobs.unread.fires(&mut apart(rng)), ..drawn };
        let fate = match (about.reach, about.mode) {
            (Reach::RequestsLost, _) => timing.without_effect(TIMEOUT, "store.request_lost").at(about.deadline),
            (_, Mode::Outage) => timing.despite(outage, "store.outage", despite),
            (_, Mode::Denied) => timing.without_effect(StoreError::Denied, "store.denied"),
            (_, Mode::NoBucket) => timing.without_effect(StoreError::Fatal(Fatal::NoBucket), "store.no_bucket"),
            (_, Mode::ReadOnly) if writes(op) => {
                timing.without_effect(StoreError::Fatal(Fatal::ReadOnly), "store.read_only")
            }
            (_, Mode::NoSpace) if matches!(op, StoreOp::Put { .. }) => {
                timing.without_effect(StoreError::Fatal(Fatal::NoSpace), "store.no_space")
            }
            _ => match drawn.trouble(gate, op) {
                None => timing,
                Some(Trouble::Definite(error, fault)) => timing.without_effect(error, fault),
                Some(trouble @ Trouble::Unreadable) => {
                    Fate { error: Some(StoreError::Corrupt), fault: Some(trouble.kind()), ..timing }
                }
                Some(Trouble::Unknown(error, fault)) => timing.despite(error, fault, despite),
            },
        };
        fate.in_time(about)
    }
}

/// What is asked, and of what: the part of the name before its number, which another run may give to another.
fn kind(op: &StoreOp) -> (&'static str, &str) {
    match op {
        StoreOp::Put { key, .. } => ("put", without_number(&key.0)),
        StoreOp::Get { key, .. } => ("get", without_number(&key.0)),
        StoreOp::Delete { key } => ("delete", without_number(&key.0)),
        StoreOp::List { prefix, .. } => ("list", without_number(&prefix.0)),
    }
}

fn without_number(name: &str) -> &str {
    name.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or(name)
}

fn timing(knobs: &StoreKnobs, gate: &Gate, now: SimTime, rng: &mut Rng) -> Fate {
    let takes = knobs.latency.draw_gated(&mut apart(rng), || gate.happens("store.tail"));
    let answer = now.after(takes);
    let arrives = SimTime(rng.between(now.0, answer.0));
    let effect = SimTime(rng.between(arrives.0, answer.0));
    Fate { arrives, effect: Some(effect), answer, error: None, fault: None }
}

fn outage(op: &StoreOp, rng: &mut Rng) -> StoreError {
    match rng.below(4) {
        0 if writes(op) => StoreError::Ambiguous(Cause::Throttled),
        0 => StoreError::Throttled,
        1 => StoreError::Ambiguous(Cause::Server),
        2 => StoreError::Ambiguous(Cause::CutOff),
        _ => TIMEOUT,
    }
}

const TIMEOUT: StoreError = StoreError::Ambiguous(Cause::Timeout);

/// Which troubles fired for one request.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    throttled: bool,
    failed: bool,
    cut_off: bool,
    timed_out: bool,
    conflict: bool,
    spurious: bool,
    truncated: bool,
    unread: bool,
}

impl Drawn {
    fn draw(knobs: &StoreKnobs, about: Circumstances, rng: &mut Rng) -> Self {
        let conflict = if about.contended { knobs.conflict } else { Chance::NEVER };
        Self {
            throttled: knobs.throttle.fires(rng),
            failed: knobs.server_error.fires(rng),
            cut_off: knobs.cut_off.fires(rng),
            timed_out: knobs.timeout.fires(rng),
            conflict: conflict.fires(rng),
            spurious: knobs.spurious_conflict.fires(rng),
            truncated: knobs.truncate.fires(rng),
            unread: false,
        }
    }

    /// The first that concerns such an operation and that the gate lets happen.
    fn trouble(self, gate: &Gate, op: &StoreOp) -> Option<Trouble> {
        let unknown = |cause, kind| Trouble::Unknown(StoreError::Ambiguous(cause), kind);
        let refused = |kind| Trouble::Definite(StoreError::Conflict, kind);
        let throttled = if writes(op) {
            unknown(Cause::Throttled, "store.throttled")
        } else {
            Trouble::Definite(StoreError::Throttled, "store.throttled")
        };
        let is_put = matches!(op, StoreOp::Put { .. });
        let is_get = matches!(op, StoreOp::Get { .. });
        let is_part = matches!(op, StoreOp::Get { span: Span::Range { .. }, .. });
        let all = [
            (self.throttled, throttled),
            (self.failed, unknown(Cause::Server, "store.server_error")),
            (self.cut_off, unknown(Cause::CutOff, "store.cut_off")),
            (self.timed_out, unknown(Cause::Timeout, "store.timeout")),
            (is_put && self.conflict, refused("store.conflict")),
            (is_put && self.spurious, refused("store.spurious_conflict")),
            (is_get && self.truncated, Trouble::Unreadable),
            (is_part && self.unread, unknown(Cause::Timeout, "store.unread")),
        ];
        let fired = all.into_iter().filter(|(fires, _)| *fires).map(|(_, trouble)| trouble);
        fired.into_iter().find(|trouble| gate.happens(trouble.kind()))
    }
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Nothing was done, and the caller knows it.
    Definite(StoreError, &'static str),
    /// It was done, and the answer is no use.
    Unreadable,
    /// Whatever was done, the caller can't tell.
    Unknown(StoreError, &'static str),
}

impl Trouble {
    fn kind(self) -> &'static str {
        match self {
            Self::Definite(_, kind) | Self::Unknown(_, kind) => kind,
            Self::Unreadable => "store.truncated",
        }
    }
}

/// What a request does although its caller hears of an error.
#[derive(Clone, Copy, Debug)]
enum Despite {
    Done,
    Late(Duration),
    Never,
}

impl Despite {
    fn draw(knobs: &StoreKnobs, rng: &mut Rng) -> Self {
        let done = knobs.done_despite_error.fires(rng);
        let late = knobs.late.fires(rng);
        let by = knobs.late_by.draw(&mut apart(rng));
        match (done, late) {
            (true, _) => Self::Done,
            (false, true) => Self::Late(by),
            (false, false) => Self::Never,
        }
    }
}

impl Fate {
    fn without_effect(self, error: StoreError, fault: &'static str) -> Self {
        Self { effect: None, error: Some(error), fault: Some(fault), ..self }
    }

    fn despite(self, error: StoreError, fault: &'static str, despite: Despite) -> Self {
        let effect = match despite {
            Despite::Done => self.effect,
            Despite::Late(by) => Some(self.answer.after(by)),
            Despite::Never => None,
        };
        let failed = Self { effect, error: Some(error), fault: Some(fault), ..self };
        if error == TIMEOUT { failed.at(SimTime::NEVER) } else { failed }
    }

    fn at(self, answer: SimTime) -> Self {
        Self { answer, ..self }
    }

    /// The caller waits no longer than it said.
    fn in_time(self, about: Circumstances) -> Self {
        let lost = about.reach == Reach::AnswersLost;
        if self.answer <= about.deadline && !lost {
            return self;
        }
        let fault = match self.fault {
            Some(fault) => fault,
            None if lost => "store.answer_lost",
            None => "store.slow",
        };
        Self { answer: about.deadline, error: Some(TIMEOUT), fault: Some(fault), ..self }
    }
}

pub(super) fn writes(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Put { .. } | StoreOp::Delete { .. })
}
