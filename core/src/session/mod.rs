//! MACHINE: one connection of a client.
//!
//! Owns the connection's bytes in both directions: cuts what is received into requests, checks, decodes and numbers
//! them for the shard, and sends the shard's answers.
//!
//! ```text
//!  Received -> frame -> pay -> assemble -> may it start? -> decode, check -> shard -> Answer -> in turn -> Send -> Sent
//!                        |                     |                |    ^                                     |
//!                      Pause                 Pause           Compute -> Computed                    credit goes back
//! ```
//! It promises
//! - **order**: answers leave in the order of their requests. A produce starts while produces are under way; any other
//!   request starts only when all answers before it have left, and what follows it waits for its answer to leave. The
//!   shard gets produces in the order in which they came: while a job looks into one, those behind it don't start;
//! - **soundness**: the shard gets a batch only if its records are what its header says, compressed or not;
//! - **isolation**: bytes that are no request close this connection, with a reason, and do nothing else. Requests that
//!   started before are carried out, also one that a job looks into when the connection ends;
//! - **bounds**: a request is paid for by credit as soon as its first bytes say how long it is, before room is made for
//!   it, and until its answer has left. One request is received at a time, and while that can't start or be paid the
//!   socket is not read. At most 64 produces are under way;
//! - **patience**: while the client owes bytes of a request, or does not take an answer, each part of it may take
//!   [`Limits::stalled_connection`]; then the connection is closed. While others wait for the credit that it holds, a
//!   part may take [`Limits::crowded_patience`] only. Time in which the broker does not listen doesn't count. A
//!   connection on which nothing is under way is closed after [`Limits::idle_connection`];
//! - **credit**: an answer that has left gives back what its request cost beyond the idle credit. When the connection
//!   is gone, [`shard::Mail::Closed`] frees all of it at the shard, at once, or as soon as the job that is out has come
//!   back; answers and grants that come later are dropped.
//!
//! It answers ApiVersions by itself. Inputs and effects: [`Input`], [`Effect`].
//!
//! ```text
//!  new -> opened -> OPEN -- Halt --> HALTING (no new request starts; the last answer has left)
//!                     |                 |
//!                     '---- Close ------'--> CLOSING (deaf) -- Closed --> OVER
//!                                                                 |        ^
//!                                                     a job is out '-> GONE -' Computed
//! ```

mod answers;
mod checks;
mod credit;
mod intake;
mod mail;

pub use mail::*;

use crate::id::ConnId;
use crate::kafka::api;
use crate::kafka::request::{self, Ask};
use crate::kafka::{Api, encode};
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Instant, Machine, Mark, Now, OpId, OpIds, Outcome, Payload, sometimes};
use crate::shard;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use answers::{Answers, Owed};
use bytes::Bytes;
use checks::Checks;
use core::time::Duration;
use credit::{Charge, Credit};
use intake::Intake;

/// One connection of a client.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    /// Where the client is.
    from: Arc<str>,
    phase: Phase,
    reading: Reading,
    last: RequestNumber,
    /// When something last came from the client or left for it.
    active: Instant,
    idle: Duration,
    /// How long a client may hold up others.
    hurry: Duration,
    ops: OpIds,
    credit: Credit,
    intake: Intake,
    checks: Checks,
    answers: Answers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests start.
    Open,
    /// The broker stops: none starts, and when the last answer has left the connection closes.
    Halting,
    /// The connection is being closed.
    Closing,
    /// It is gone, and a job is out.
    Gone,
    /// It is gone, and so is the session.
    Over,
}

/// What the shell was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    Paused,
}

impl Session {
    /// The session of a new connection. Then call [`Session::opened`], once.
    #[must_use]
    pub fn new(conn: ConnId, limits: &Limits) -> Self {
        Self {
            conn,
            from: Arc::from(""),
            phase: Phase::Open,
            reading: Reading::On,
            last: RequestNumber::default(),
            active: Instant::default(),
            idle: limits.idle_connection,
            hurry: limits.crowded_patience,
            ops: OpIds::default(),
            credit: Credit::new(conn),
            intake: Intake::new(limits),
            checks: Checks::new(limits),
            answers: Answers::new(limits.stalled_connection),
        }
    }

    /// Introduces the session to the shard, before any input. The shard answers with the idle credit. `arrival` says
    /// where the client comes from, and where it has connected to, if that is what clients are to be told.
    pub fn opened(&mut self, now: Now, arrival: shard::Arrival, out: &mut Effects<Effect>) {
        self.active = now.mono;
        self.from = Arc::clone(&arrival.from);
        out.push(shard::Mail::Opened(self.conn, arrival));
    }

    /// Whether it will never want anything again: the runtime may drop it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The requests that have started and whose answers have not left, in order: for who measures how long that takes.
    /// One whose answer leaves in parts is named for each.
    pub fn under_way(&self) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)> {
        self.answers.under_way()
    }

    fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Halting)
    }

    fn handle_mail(&mut self, now: Now, mail: Mail, out: &mut Effects<Effect>) {
        match mail {
            Mail::Answer { to, answer } => {
                if self.is_serving() {
                    self.answers.answer(to, answer);
                }
            }
            Mail::Parked(number) => {
                if self.is_serving() {
                    self.answers.park(number, &mut self.credit, out);
                }
            }
            Mail::Credit(pool, bytes) => {
                if self.phase != Phase::Over {
                    self.credit.granted(pool, bytes, out);
                }
            }
            Mail::Hurry => self.close_if_stalled(now, out),
            Mail::Halt => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Halting;
                    if let Some(charge) = self.intake.clear() {
                        self.credit.refund(charge, out);
                    }
                }
            }
        }
    }

    /// Sends what may be sent and starts what may start.
    fn advance(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Err(why) = self.answers.send(now.mono, &mut self.ops, &mut self.credit, out) {
            return self.close(why, out);
        }
        if let Err(why) = self.start_all(now, out) {
            sometimes!(Mark::MalformedFrame);
            return self.close(why, out);
        }
        if self.phase == Phase::Halting && self.answers.is_idle() {
            return self.close(String::from("the broker stops"), out);
        }
        self.regulate(now, out);
    }

    fn start_all(&mut self, now: Now, out: &mut Effects<Effect>) -> Result<(), String> {
        while self.phase == Phase::Open {
            let next = self.intake.next(&mut self.credit, out).map_err(|malformed| malformed.to_string())?;
            let Some(key) = next else { break };
            if self.checks.is_out() || !self.answers.allow(Api::of_key(key)) {
                break;
            }
            let (frame, charge) = self.intake.take();
            self.start(now, frame, charge, out)?;
        }
        Ok(())
    }

    fn start(&mut self, now: Now, frame: Bytes, charge: Charge, out: &mut Effects<Effect>) -> Result<(), String> {
        let (header, ask) = request::decode(frame).map_err(|malformed| malformed.to_string())?;
        self.last = RequestNumber(self.last.0 + 1);
        let owed = |api, version, answer| Owed {
            number: self.last,
            api,
            version,
            correlation: header.correlation,
            charge,
            answer,
        };
        match ask {
            Ask::Versions { version, error } => {
                let body = encode(version, &api::api_versions(error)).expect("every version can say what is served");
                self.answers.owe(owed(Api::ApiVersions, version, Some(Answer::Body(body))));
                self.answers.send(now.mono, &mut self.ops, &mut self.credit, out)?;
            }
            Ask::Handle(request) => {
                self.answers.owe(owed(request.api, request.version, None));
                let numbered = Numbered { number: self.last, request };
                let checked = self.checks.begin(numbered, &mut self.ops, out);
                self.hand_over(checked, out);
            }
        }
        Ok(())
    }

    fn hand_over(&self, checked: Option<Numbered>, out: &mut Effects<Effect>) {
        if let Some(request) = checked {
            out.push(shard::Mail::Request(self.conn, request));
        }
    }

    /// A request that has started is carried out, also when nobody waits for its answer any more.
    fn computed(&mut self, op: OpId, outcome: Outcome, out: &mut Effects<Effect>) {
        assert_ne!(self.phase, Phase::Over, "a session waits for its job");
        let checked = self.checks.computed(op, outcome, &mut self.ops, out);
        self.hand_over(checked, out);
        if self.phase == Phase::Gone && !self.checks.is_out() {
            self.over(out);
        }
    }

    /// Reads the socket only while more bytes are of use.
    fn regulate(&mut self, now: Now, out: &mut Effects<Effect>) {
        let wanted = match self.phase {
            Phase::Open if !self.intake.is_blocked() => Reading::On,
            _ => Reading::Paused,
        };
        match wanted {
            Reading::On => self.intake.listen(now.mono),
            Reading::Paused => self.intake.rest(),
        }
        if wanted != self.reading {
            self.reading = wanted;
            sometimes!(Mark::ReadingPaused, wanted == Reading::Paused && self.phase == Phase::Open);
            out.push(match wanted {
                Reading::On => Effect::Resume,
                Reading::Paused => Effect::Pause,
            });
        }
    }

    fn close_if_late(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Some(late) = self.deadline().filter(|deadline| deadline.at <= now.mono) {
            sometimes!(Mark::ClientTooSlow);
            self.close(format!("{}: the client does not go on", late.reason), out);
        }
    }

    /// Others wait for what this connection holds. While its client goes on it keeps that.
    fn close_if_stalled(&mut self, now: Now, out: &mut Effects<Effect>) {
        let stalled = [self.intake.stalled_since(), self.answers.stalled_since()].into_iter().flatten().min();
        if self.is_serving() && stalled.is_some_and(|since| since.after(self.hurry) <= now.mono) {
            sometimes!(Mark::HeldUpOthers);
            self.close(String::from("others wait for the memory that it holds, and the client does not go on"), out);
        }
    }

    fn close(&mut self, why: String, out: &mut Effects<Effect>) {
        assert!(self.is_serving(), "a connection is closed once");
        tracing::info!(conn = self.conn.0, from = %self.from, %why, "closing a connection");
        self.phase = Phase::Closing;
        if let Some(charge) = self.intake.clear() {
            self.credit.refund(charge, out);
        }
        out.push(Effect::Close(why));
    }

    fn gone(&mut self, out: &mut Effects<Effect>) {
        if matches!(self.phase, Phase::Gone | Phase::Over) {
            return;
        }
        self.intake.clear();
        if self.checks.is_out() {
            self.phase = Phase::Gone;
        } else {
            self.over(out);
        }
    }

    /// Whatever is out for this connection, granted, wished for or under way, is free again when the shard hears this.
    fn over(&mut self, out: &mut Effects<Effect>) {
        self.phase = Phase::Over;
        out.push(shard::Mail::Closed(self.conn));
    }
}

impl Machine for Session {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Received(Payload(bytes)) => {
                self.active = now.mono;
                if self.phase == Phase::Open {
                    self.intake.push(bytes);
                }
            }
            Input::Sent(op) => {
                self.active = now.mono;
                if self.is_serving() {
                    self.answers.sent(now.mono, op, &mut self.credit, out);
                }
            }
            Input::Computed(op, outcome) => self.computed(op, outcome, out),
            Input::Closed => self.gone(out),
            Input::Mail(mail) => self.handle_mail(now, mail, out),
            Input::Tick => self.close_if_late(now, out),
        }
        if self.is_serving() {
            self.advance(now, out);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        if !self.is_serving() {
            return None;
        }
        // A peer that is gone without a word would hold its idle credit for ever.
        let idle = Deadline { at: self.active.after(self.idle), reason: "the connection is idle" };
        let idle = self.answers.is_idle().then_some(idle);
        Deadline::earliest([self.intake.deadline(), self.answers.deadline(), idle])
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        if self.is_serving() {
            self.answers.invariants();
            self.credit.invariants(self.answers.charged() + self.intake.charged());
            let blocked = self.intake.is_blocked() || self.phase == Phase::Halting;
            assert_eq!(blocked, self.reading == Reading::Paused, "the socket is read exactly when that is of use");
        }
    }
}

#[cfg(test)]
mod tests;
