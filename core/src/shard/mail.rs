//! What the shard hears and what it wants done.

use crate::id::{ConnId, NodeEpoch, NodeId};
use crate::machine::{Job, OpId, Outcome};
use crate::metadata::{Answer, Entry, Image};
use crate::session::Numbered;
use crate::shard::Arrival;
use crate::store::{StoreCall, StoreResult};
use crate::wal::{Appended, CutMarker};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// All that can happen to the shard.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// From another owner.
    Mail(Mail),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// What came of a job.
    Computed(OpId, Outcome),
    /// The deadline has come.
    Tick,
}

/// All that the shard wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// In the bucket.
    Store(OpId, StoreCall),
    /// To be computed elsewhere.
    Compute(OpId, Job),
}

/// From which of the broker's pools a credit is. They are apart, since what waits for one must not hold up another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// What each connection holds without asking: it pays for small requests of every kind.
    Idle,
    /// For requests with records.
    Produce,
    /// For those of them that are large: a few that are announced and do not come must not hold up all the others.
    LargeProduce,
    /// For all others.
    Control,
    /// For records on their way out. Taken by the shard before an answer is made of them; the session gives back
    /// [`session::Answer::Paid`](crate::session::Answer::Paid) when it has left, and what is out when a connection ends
    /// is free again with [`Mail::Closed`].
    Answers,
    /// The same for other answers that may be large, however short their requests.
    ControlAnswers,
}

/// What others tell the shard.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// From a session: it exists, and these are the ends of its connection.
    Opened(ConnId, Arrival),
    /// From a session: a request.
    Request(ConnId, Numbered),
    /// From a session: it wants so many bytes more credit, at once or not at all.
    CreditWanted(ConnId, Pool, u64),
    /// From a session: so many bytes of credit are free again.
    CreditBack(ConnId, Pool, u64),
    /// From a session: the connection is gone. All its credit is free again, and its wishes are void.
    Closed(ConnId),
    /// From the WAL: so many bytes of ring and window, in addition to what is left of earlier grants. An append costs
    /// [`crate::wal::cost`] of its batch's length.
    Granted(u64),
    /// From the WAL: durable, in LSN order.
    Appended(Vec<Appended>),
    /// From the WAL: a place to cut, in its order among [`Mail::Appended`].
    Cut(CutMarker),
    /// From the WAL: a write failed. What is not acknowledged by now never will be.
    WalPoisoned,
    /// From the node: the metadata as of now, before anything else.
    Image(Box<Image>),
    /// From the node: durable entries.
    Entries(Arc<[Entry]>),
    /// From the node: the broker's own registration is complete, and it may open partitions.
    Serve {
        /// This node.
        node: NodeId,
        /// Its epoch.
        epoch: NodeEpoch,
    },
    /// From the node: the answer to a command that the shard sent.
    Answered(u64, Answer),
    /// From the node: accept nothing new, cut what there is, then say [`crate::node::Mail::Drained`].
    Drain,
}
