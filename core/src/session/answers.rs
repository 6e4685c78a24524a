//! Answers: those that are owed, in the order of their requests, and those on their way out.

use super::credit::{Charge, Credit};
use super::mail::{Answer, Effect, Fee, RequestNumber};
use crate::kafka::Api;
use crate::kafka::frame::CorrelationId;
use crate::kafka::response;
use crate::machine::{Deadline, Effects, Instant, Mark, OpId, OpIds, Rope, sometimes};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Requests of one connection whose answers have not left.
const MOST: usize = 64;

/// An answer leaves in sends of at most so much, each of which has its own patience.
const SEND: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Answers {
    owed: VecDeque<Owed>,
    leaving: VecDeque<Leaving>,
    patience: Duration,
    /// When the first of those that leave became the first.
    since: Instant,
}

/// A request whose answer has not begun to leave.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) number: RequestNumber,
    pub(super) api: Api,
    pub(super) version: i16,
    pub(super) correlation: CorrelationId,
    pub(super) charge: Charge,
    /// Held back until those before it have begun to leave.
    pub(super) answer: Option<Answer>,
}

/// A send that the socket has not taken.
#[derive(Debug)]
struct Leaving {
    op: OpId,
    number: RequestNumber,
    api: Api,
    /// Set on an answer's last send: what its request cost.
    charge: Option<Charge>,
    /// Set on an answer's last send, if the shard took anything for it.
    fee: Option<Fee>,
}

impl Answers {
    pub(super) fn new(patience: Duration) -> Self {
        Self { owed: VecDeque::new(), leaving: VecDeque::new(), patience, since: Instant::default() }
    }

    /// Whether every answer has left.
    pub(super) fn is_idle(&self) -> bool {
        self.owed.is_empty() && self.leaving.is_empty()
    }

    /// Requests whose answers have not left, in order; one whose answer leaves in parts is named for each.
    pub(super) fn under_way(&self) -> impl DoubleEndedIterator<Item = (RequestNumber, Api)> {
        let leaving = self.leaving.iter().map(|leaving| (leaving.number, leaving.api));
        leaving.chain(self.owed.iter().map(|owed| (owed.number, owed.api)))
    }

    /// Whether a request of this API may start: a produce with other produces under way, any other only alone. That
    /// alone includes answers that have not left, so that a client that does not read can't order more and more.
    pub(super) fn allow(&self, api: Option<Api>) -> bool {
        let mut under_way = self.owed.iter().map(|owed| owed.api).chain(self.leaving.iter().map(|leaving| leaving.api));
        let count = self.owed.len() + self.leaving.len();
        count == 0 || (api == Some(Api::Produce) && count < MOST && under_way.all(|other| other == Api::Produce))
    }

    /// A request starts.
    pub(super) fn owe(&mut self, owed: Owed) {
        assert!(self.allow(Some(owed.api)), "requests wait until they may start");
        self.owed.push_back(owed);
    }

    /// A request waits for other clients: it may not hold credit that these need.
    pub(super) fn park(&mut self, number: RequestNumber, credit: &mut Credit, out: &mut Effects<Effect>) {
        if let Some(owed) = self.owed.iter_mut().find(|owed| owed.number == number) {
            credit.refund_extra(&mut owed.charge, out);
        }
    }

    /// The shard answers.
    pub(super) fn answer(&mut self, to: RequestNumber, answer: Answer) {
        sometimes!(Mark::AnswerHeldBack, self.owed.front().is_some_and(|first| first.number != to));
        let owed = self.owed.iter_mut().find(|owed| owed.number == to);
        let owed = owed.expect("the shard answers what it was asked");
        assert!(owed.answer.is_none(), "the shard answers once");
        owed.answer = Some(answer);
    }

    /// Sends the answers whose turn it is.
    ///
    /// # Errors
    /// When the turn is at one that says to close, with its reason.
    pub(super) fn send(
        &mut self,
        now: Instant,
        ops: &mut OpIds,
        credit: &mut Credit,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        while let Some(owed) = self.owed.front_mut() {
            match owed.answer.take() {
                None => break,
                Some(Answer::Close(why)) => return Err(why),
                Some(Answer::Nothing) => {
                    let owed = self.owed.pop_front().expect("it is the front");
                    credit.refund(owed.charge, out);
                }
                Some(Answer::Body(body)) => {
                    let owed = self.owed.pop_front().expect("it is the front");
                    self.leave(now, owed, (body, None), ops, out);
                }
                Some(Answer::Paid(body, fee)) => {
                    let owed = self.owed.pop_front().expect("it is the front");
                    self.leave(now, owed, (body, Some(fee)), ops, out);
                }
            }
        }
        Ok(())
    }

    /// The socket took a send.
    pub(super) fn sent(&mut self, now: Instant, op: OpId, credit: &mut Credit, out: &mut Effects<Effect>) {
        let leaving = self.leaving.pop_front().expect("only what is sent leaves");
        assert_eq!(leaving.op, op, "a connection's sends leave in order");
        self.since = now;
        if let Some(charge) = leaving.charge {
            credit.refund(charge, out);
        }
        if let Some(fee) = leaving.fee {
            credit.answer_left(fee, out);
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        Some(Deadline { at: self.stalled_since()?.after(self.patience), reason: "unread answer" })
    }

    /// Since when the client has not taken the next part of an answer.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        (!self.leaving.is_empty()).then_some(self.since)
    }

    /// What the requests cost that have started.
    pub(super) fn charged(&self) -> u64 {
        let owed = self.owed.iter().map(|owed| owed.charge.bytes());
        let leaving = self.leaving.iter().filter_map(|leaving| leaving.charge.as_ref()).map(Charge::bytes);
        owed.chain(leaving).sum()
    }

    pub(super) fn invariants(&self) {
        let mut under_way = self.owed.iter().map(|owed| owed.api).chain(self.leaving.iter().map(|leaving| leaving.api));
        let alone = self.owed.len() + self.leaving.len() <= 1;
        // Several sends may be parts of one answer.
        let only_leaving = self.owed.is_empty();
        assert!(alone || only_leaving || under_way.all(|api| api == Api::Produce), "only produces are pipelined");
        assert!(self.owed.len() <= MOST, "requests in flight are bounded");
        assert!(self.owed.front().is_none_or(|owed| owed.answer.is_none()), "an answer leaves when it is its turn");
        assert!(self.owed.iter().zip(self.owed.iter().skip(1)).all(|(a, b)| a.number < b.number), "in order");
    }

    fn leave(
        &mut self,
        now: Instant,
        owed: Owed,
        (body, fee): (Rope, Option<Fee>),
        ops: &mut OpIds,
        out: &mut Effects<Effect>,
    ) {
        let Owed { number, api, version, correlation, charge, .. } = owed;
        if self.leaving.is_empty() {
            self.since = now;
        }
        for part in parts(&response::frame(api, version, correlation, body)) {
            let op = ops.issue();
            self.leaving.push_back(Leaving { op, number, api, charge: None, fee: None });
            out.push(Effect::Send(op, part));
        }
        let last = self.leaving.back_mut().expect("a frame is never empty");
        last.charge = Some(charge);
        last.fee = fee;
    }
}

/// A frame in sends of at most [`SEND`] bytes.
fn parts(frame: &Rope) -> Vec<Rope> {
    let mut parts = Vec::new();
    let mut part = Rope::default();
    for piece in frame.pieces() {
        let mut piece = piece.clone();
        while !piece.is_empty() {
            let room = SEND - part.len();
            part.push(piece.split_to(room.min(piece.len())));
            if part.len() == SEND {
                parts.push(core::mem::take(&mut part));
            }
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}
