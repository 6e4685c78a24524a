//! What the uploader hears and says.

use crate::id::{ClusterId, CutNumber, Lsn, NodeEpoch, Offset, RecoveryNumber, StreamEpoch, StreamId};
use crate::machine::OpId;
use crate::metadata::{Answer, CommitObject};
use crate::producers::ProducerTable;
use crate::store::{StoreCall, StoreResult};
use crate::wal::Appended;
use alloc::vec::Vec;

/// All that can happen to the uploader.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// From another owner.
    Mail(Mail),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// The deadline has come.
    Tick,
}

/// All that the uploader wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// In the bucket.
    Store(OpId, StoreCall),
}

/// What others tell the uploader.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// Upload and commit this. Cuts arrive in the order of their numbers; an empty one (no ranges, nothing stored) is committed without
    /// an object, for its LSN.
    Cut(Cut),
    /// The answer to a command that the uploader sent through the node, in the order of sending.
    Answered(Answer),
}

/// Everything in the log cache up to an LSN: uploaded and committed together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// The cluster whose records these are.
    pub cluster: ClusterId,
    /// The epoch whose records these are.
    pub epoch: NodeEpoch,
    /// Set if that epoch is fenced and this is what its recovery found.
    pub recovery: Option<RecoveryNumber>,
    /// Counts the cuts of that epoch.
    pub number: CutNumber,
    /// The WAL's trim point once this is committed.
    pub lsn: Lsn,
    /// By stream, ascending, at most one range each.
    pub ranges: Vec<CutRange>,
    /// An object of the WAL that becomes data as it is, with what is committed of it. There are no ranges beside it.
    pub stored: Option<CommitObject>,
}

/// One stream's part of a cut: contiguous.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CutRange {
    /// Which stream.
    pub stream: StreamId,
    /// Its epoch when the records were accepted.
    pub epoch: StreamEpoch,
    /// First offset.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// The batches, in order, without gaps.
    pub batches: Vec<Appended>,
    /// All that is known of its producers at its end. `None`: its object says what the batches themselves tell.
    pub producers: Option<ProducerTable>,
}

impl CutRange {
    /// The batches' length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.batch.len()).sum()
    }
}
