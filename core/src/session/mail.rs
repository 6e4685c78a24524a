//! What goes into a session and what comes out of it.

use crate::kafka::Request;
use crate::machine::{Job, OpId, Outcome, Payload, Rope};
use alloc::string::String;

/// All that can happen to a session.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// Bytes from the client, cut anywhere.
    Received(Payload),
    /// A send has left: the socket took all of it.
    Sent(OpId),
    /// What came of a job.
    Computed(OpId, Outcome),
    /// The connection is gone, from either side.
    Closed,
    /// From another owner.
    Mail(Mail),
    /// The deadline has come.
    Tick,
}

/// All that a session wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To the client, in order.
    Send(OpId, Rope),
    /// To be computed elsewhere.
    Compute(OpId, Job),
    /// Stop reading the socket: back-pressure.
    Pause,
    /// Read it again.
    Resume,
    /// Close the connection after what was sent, for this reason (logged).
    Close(String),
    /// To another owner.
    Mail(crate::mail::Mail),
}

impl From<crate::shard::Mail> for Effect {
    fn from(mail: crate::shard::Mail) -> Self {
        Self::Mail(crate::mail::Mail::Shard(mail))
    }
}

/// What others tell a session.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// The answer to a request, by the number that the session gave it.
    Answer {
        /// Of which request.
        to: RequestNumber,
        /// What to say.
        answer: Answer,
    },
    /// So many bytes of credit from that pool, in addition to what it has. The first, unasked, is what it may hold idle.
    Credit(crate::shard::Pool, u64),
    /// Others wait for the credit that this connection holds: if its client has not gone on for a while, it ends.
    Hurry,
    /// A request waits for other clients, and is held in memory elsewhere: what it cost beyond the idle credit is free
    /// again.
    Parked(RequestNumber),
    /// The broker stops.
    Halt,
}

/// Counts the requests of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// What the shard has taken for an answer from one of its pools for answers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fee {
    /// From which.
    pub pool: crate::shard::Pool,
    /// How much; nothing for what is small.
    pub bytes: u64,
}

/// What a handler answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The response's body; the session puts length and header before it.
    Body(Rope),
    /// The same, with what was taken for it and from where: that goes back when it has left.
    Paid(Rope, Fee),
    /// Nothing: `acks=0` and all went well.
    Nothing,
    /// Close the connection: `acks=0` and something failed, so the client must refresh its metadata.
    Close(String),
}

/// A request on its way from a session to the shard.
#[derive(Clone, Debug, Hash)]
pub struct Numbered {
    /// Which of the connection's requests this is.
    pub number: RequestNumber,
    /// What is asked.
    pub request: Request,
}
