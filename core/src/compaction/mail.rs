//! What the compactor hears and says.

use super::Plan;
use crate::machine::OpId;
use crate::metadata::Answer;
use crate::store::{StoreCall, StoreResult};
use alloc::boxed::Box;

/// All that can happen to the compactor.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// From another owner.
    Mail(Mail),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// The deadline has come.
    Tick,
}

/// All that the compactor wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// In the bucket.
    Store(OpId, StoreCall),
}

/// What others tell the compactor.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// From the node: it serves, so objects may be rewritten.
    Begin,
    /// From the node, which was asked: what to rewrite, as the metadata is now. Nothing, if there is nothing to do.
    Planned(Option<Box<Plan>>),
    /// The answer to a command that the compactor sent through the node, in the order of sending.
    Answered(Answer),
    /// From the node: it stops. Nothing more is begun.
    Stop,
}
