//! Sessions. Which connection a session is of is said of its owner.

use super::TICK;
use super::compute::{has_a_job, of_outcome};
use super::kafka::request_id;
use super::phrases::count;
use super::shard::of_pool;
use crate::recording::words::{SENDER, name_of};
use crate::recording::{About, Describe, Tag};
use karst_core::machine::Rope;
use karst_core::session::{Answer, Effect, Input, Mail, Numbered, RequestNumber};

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Mail(mail) => about.of(mail),
            Self::Sent(op) | Self::Computed(op, _) => about.of(op),
            Self::Received(_) | Self::Closed | Self::Tick => about,
        };
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Received(bytes) => format!("receives {}{SENDER}", count(bytes.len(), "byte")),
            Self::Sent(_) => "hears that an answer has left".into(),
            Self::Computed(_, outcome) => of_outcome(outcome),
            Self::Closed => "loses its connection".into(),
            Self::Mail(mail) => format!("gets{SENDER} {}", of_mail(mail)),
            Self::Tick => TICK.into(),
        })
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        match self {
            Self::Send(op, answer) => {
                if let Some(request) = answered(answer) {
                    about.number("request", request);
                }
                about.of(op);
            }
            Self::Compute(op, _) => op.describe(about),
            Self::Mail(mail) => mail.describe(about),
            Self::Pause | Self::Resume | Self::Close(_) => {}
        }
    }

    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Send(_, answer) => {
                let which = answered(answer).map_or_else(String::new, |number| format!(" to its request {number}"));
                format!("sends the client the answer{which}, {}", count(answer.len(), "byte"))
            }
            Self::Compute(_, job) => has_a_job(job),
            Self::Pause => "stops reading from its client".into(),
            Self::Resume => "reads from its client again".into(),
            Self::Close(why) => format!("closes the connection: {why}"),
            Self::Mail(mail) => return mail.words(),
        })
    }
}

impl Describe for Mail {
    fn describe(&self, about: &mut About) {
        if let Self::Answer { to, .. } | Self::Parked(to) = self {
            about.number("number", to.0);
        }
    }
}

impl Describe for Numbered {
    fn describe(&self, about: &mut About) {
        about.number("number", self.number.0).number("request", request_id(&self.request)).of(&self.request);
    }
}

pub(super) fn of_mail(mail: &Mail) -> String {
    match mail {
        Mail::Answer { to, answer } => {
            let what = match answer {
                Answer::Body(body) | Answer::Paid(body, _) => count(body.len(), "byte"),
                Answer::Nothing => "which is nothing, as its client asked".into(),
                Answer::Close(why) => format!("close the connection, since {why}"),
            };
            format!("the answer to {}, {what}", of_number(*to))
        }
        Mail::Credit(pool, bytes) => format!("{bytes} bytes of credit for {}", of_pool(*pool)),
        Mail::Hurry => "the news that others wait for its credit".into(),
        Mail::Parked(number) => format!("the news that {} waits for other clients", of_number(*number)),
        Mail::Halt => "the news that the broker stops".into(),
    }
}

/// A request that this broker has given a number, by the number that its client knows.
fn of_number(number: RequestNumber) -> String {
    name_of(&Tag::number("number", number.0))
}

/// By what number the client knows an answer: behind the length.
fn answered(answer: &Rope) -> Option<u64> {
    let head: Vec<u8> = answer.pieces().iter().flatten().copied().take(8).collect();
    let bytes = head.last_chunk::<4>().filter(|_| head.len() == 8)?;
    Some(i32::from_be_bytes(*bytes).unsigned_abs().into())
}
