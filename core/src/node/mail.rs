//! What the node hears and what it wants done.

use crate::id::{CutNumber, ObjectId};
use crate::machine::OpId;
use crate::mail::Halt;
use crate::metadata::{Command, Entry, Image};
use crate::store::{StoreCall, StoreResult};
use crate::wal;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

/// All that can happen to the node.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// The process is up: begin.
    Start,
    /// The operator asks the broker to stop (SIGTERM): drain, upload, commit, mark the WAL clean.
    Stop,
    /// From another owner.
    Mail(Mail),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// The deadline has come.
    Tick,
}

/// All that the node wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// In the bucket.
    Store(OpId, StoreCall),
    /// Clients may connect from now on.
    Ready,
    /// End the process.
    Halt(Halt),
}

/// What others tell the node.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// From the controller: the state as of now. Entries follow.
    Image(Box<Image>),
    /// From the controller: durable entries, in order, without gaps after the image.
    Entries(Arc<[Entry]>),
    /// From the controller: it can't go on.
    ControllerFailed(Halt),
    /// From the shard, the uploader or the compactor: send this to the controller. Its answer goes back to the owner named.
    Command(Asker, Command),
    /// From the WAL.
    WalFound(wal::Inspection),
    /// From the WAL.
    WalRecovered(wal::Recovered),
    /// From the WAL: the new life's header is durable.
    WalFormatted,
    /// From the WAL: drained and marked clean.
    WalClosed,
    /// From the WAL: a write failed. Nothing is acknowledged any more. Says what happened.
    WalPoisoned(alloc::string::String),
    /// From the uploader: this cut is committed, or superseded.
    CutCommitted(CutNumber),
    /// From the compactor: what to rewrite next, but for these objects? Answered by
    /// [`Planned`](crate::compaction::Mail::Planned).
    PlanCompaction(BTreeSet<ObjectId>),
    /// From the uploader, the shard or the compactor: it can't go on.
    Failed(Halt),
    /// From the shard: it has opened its partitions, so clients may come.
    Serves,
    /// From the shard: it drained; every record that it accepted is durable, and the closing cut is on its way with
    /// this number.
    Drained(CutNumber),
}

/// Who sent a command through the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// The node itself.
    Node,
    /// The shard, which recognises its commands by this number.
    Shard(u64),
    /// The uploader.
    Uploader,
    /// The compactor.
    Compactor,
    /// The node's janitor.
    Janitor,
}
