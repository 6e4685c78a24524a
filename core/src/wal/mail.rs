//! What the write-ahead log is told, wants done, and finds.

use crate::disk::{DiskOp, DiskResult};
use crate::id::{ClusterId, FeatureLevel, Lsn, NodeEpoch, NodeId, Offset, StreamEpoch, StreamId, WalUuid};
use crate::machine::{OpId, Payload};
use crate::metadata::CommitObject;
use crate::store::{StoreCall, StoreResult};
use alloc::string::String;
use alloc::vec::Vec;

/// All that can happen to the WAL.
#[derive(Clone, Debug, Hash)]
pub enum Input {
    /// From another owner.
    Mail(Mail),
    /// A disk operation ended.
    Disk(OpId, DiskResult),
    /// A store operation ended.
    Store(OpId, StoreResult),
    /// The deadline has come.
    Tick,
}

/// All that the WAL wants done.
#[derive(Clone, Debug, Hash)]
pub enum Effect {
    /// To another owner.
    Mail(crate::mail::Mail),
    /// On the device.
    Disk(OpId, DiskOp),
    /// In the bucket.
    Store(OpId, StoreCall),
}

/// What others tell the WAL.
#[derive(Clone, Debug, Hash)]
pub enum Mail {
    /// From the node, first of all: read the stored header. Answered by [`crate::node::Mail::WalFound`].
    Inspect,
    /// From the node: read back what an earlier life left, which of a ring is the one in its header, from the larger of
    /// its trim point and `from`. Answered by one [`crate::node::Mail::WalRecovered`] with the first part;
    /// [`Mail::RecoverMore`] asks for others.
    Recover {
        /// That life.
        life: Life,
        /// The epoch under which it is recovered.
        by: NodeEpoch,
        /// The trim point that the metadata knows for it.
        from: Lsn,
    },
    /// From the node: the next part of what is being recovered.
    RecoverMore,
    /// From the node: begin a new life. Of a ring, one header write. Answered by [`crate::node::Mail::WalFormatted`].
    Format {
        /// Which.
        life: Life,
        /// The cluster's: no format above it is written.
        level: FeatureLevel,
    },
    /// From the shard: append these, in order. Within what was granted.
    Append(Vec<Append>),
    /// From the shard: put a cut marker into the completions, for this reason.
    Cut(CutReason),
    /// From the uploader: everything below is committed; forget it.
    Trim(Lsn),
    /// From the node, at the end of a drain, when it is durable that this life's streams are closed: record the durable LSN
    /// and that nothing is left. Answered by [`crate::node::Mail::WalClosed`].
    Close,
}

/// Who a log belongs to, for one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// The cluster.
    pub cluster: ClusterId,
    /// The owner.
    pub node: NodeId,
    /// The owner's epoch. A log's life is one node epoch.
    pub epoch: NodeEpoch,
    /// This life.
    pub uuid: WalUuid,
}

/// One record batch on its way into the log. The WAL copies it once, stamping base offset and leader epoch into Kafka's
/// first 21 bytes, which the batch's CRC does not cover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// Where it goes.
    pub stream: StreamId,
    /// The stream epoch under which it was accepted; stamped as leader epoch.
    pub epoch: StreamEpoch,
    /// The offset of its first record; stamped as base offset.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its largest timestamp.
    pub max_timestamp: crate::machine::WallTime,
    /// The batch as the client sent it, but for times that the broker gave it.
    pub batch: Payload,
}

/// One record batch that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    /// Where it went.
    pub stream: StreamId,
    /// Under which epoch.
    pub epoch: StreamEpoch,
    /// Offset of its first record.
    pub base: Offset,
    /// Offset after its last.
    pub end: Offset,
    /// Its largest timestamp.
    pub max_timestamp: crate::machine::WallTime,
    /// The stamped batch: a slice of the written block, or a copy where fragments had to be joined.
    pub batch: Payload,
}

/// Why a cut was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutReason {
    /// Enough bytes gathered.
    Size,
    /// Enough time passed.
    Age,
    /// The log is half full.
    RingHalfFull,
    /// Streams are being closed.
    Close,
}

/// A place in the completions up to which everything is uploaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CutMarker {
    /// Everything below is part of this cut or an earlier one.
    pub lsn: Lsn,
    /// Why.
    pub reason: CutReason,
}

/// What a ring's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// To whom it belongs.
    pub life: Life,
    /// Everything below was committed.
    pub trim: Lsn,
    /// The owner closed it after draining: nothing is in it.
    pub clean: bool,
}

/// What is known of the log before the metadata is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inspection {
    /// Never formatted: both header slots are all zeros.
    Blank,
    /// A ring of this size with a header.
    Ring(Found),
    /// No device: the log is objects in the bucket, of which only the metadata knows.
    Objects,
    /// The device reports errors.
    Unreadable(String),
    /// Neither: a foreign or damaged file, or a ring of another size. Says what is wrong and what to do.
    Refused(String),
}

/// One part of what a recovery found, in LSN order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recovered {
    /// Some records, and the LSN up to which they reach.
    Part {
        /// Of each stream in LSN order.
        records: Vec<Appended>,
        /// Everything below is in this part or an earlier one.
        upto: Lsn,
        /// Whether [`Mail::RecoverMore`] may give more.
        more: bool,
    },
    /// An object that is more than a part, and may become data as it is. [`Mail::RecoverMore`] tells what follows.
    Object {
        /// All that it holds.
        object: CommitObject,
        /// Everything below is in it or in an earlier part.
        upto: Lsn,
    },
    /// Damage below an LSN that is recorded as durable: acknowledged records are unreadable.
    Damaged(String),
    /// The device could not be read.
    Unreadable(String),
}
