//! What the controller hears and says.

use crate::id::{ClusterId, CommandSeq, Incarnation, NodeEpoch, NodeId};
use crate::machine::OpId;
use crate::metadata::Command;
use crate::store::{StoreCall, StoreResult};
use alloc::boxed::Box;

/// All that can happen to the controller.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// From another owner.
    Mail(Mail),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// The deadline has come.
    Tick,
}

/// All that the controller wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// In the bucket.
    Store(OpId, StoreCall),
}

/// What others tell the controller.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// From the node, first of all: read the head and claim the next term. Answered by [`crate::node::Mail::Image`],
    /// then [`crate::node::Mail::Entries`] as they become durable.
    Start {
        /// The cluster that this broker's WAL belongs to: the bucket must be that cluster's. A broker whose WAL is
        /// blank takes any bucket, and initialises an empty one.
        cluster: Option<ClusterId>,
    },
    /// From a node: append this. Each becomes an entry, refusals included.
    Command(NodeCommand),
}

/// A command with who sent it. One FIFO per node: a gap is refused, a number already taken is answered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeCommand {
    /// The sender.
    pub node: NodeId,
    /// Its run.
    pub incarnation: Incarnation,
    /// Its epoch; 0 before it is registered.
    pub epoch: NodeEpoch,
    /// Counts the commands of that incarnation, from 1.
    pub seq: CommandSeq,
    /// Answers to commands up to this one have arrived and need not be kept.
    pub confirmed: CommandSeq,
    /// What is asked.
    pub command: Box<Command>,
}
