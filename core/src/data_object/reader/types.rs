//! What is asked of the reader, and what it gives.

use crate::data_object::StoredBatch;
use crate::envelope::DecodeError;
use crate::id::{ClusterId, ConnId, ObjectId, Offset, StreamId};
use crate::machine::{OpId, WallTime};
use crate::store::{StoreCall, StoreError};
use alloc::vec::Vec;
use core::fmt;

/// Names a read until it is finished. Chosen by the caller, unique among those not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// In whose name a read is. Each has its turn, however much the others want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A client's.
    Client(ConnId),
    /// The broker's own, for a partition of the groups' log.
    Groups(u32),
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// Its name.
    pub id: ReadId,
    /// In whose name.
    pub origin: Origin,
    /// The cluster; an object of another one is corrupt.
    pub cluster: ClusterId,
    /// From which object.
    pub object: ObjectId,
    /// Of which stream.
    pub stream: StreamId,
    /// From the batch on that holds this offset.
    pub offset: Offset,
    /// How much.
    pub extent: Extent,
    /// What is read may take so many bytes of memory.
    pub room: u64,
}

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// At most so many bytes of batches; the first is returned whole all the same. Who goes on reading like that is read
    /// ahead for.
    Bytes(u64),
    /// All batches from the offset on of the first data block there that has a record of this time or later; none if no
    /// block has.
    Since(WallTime),
}

/// A range that follows in a stream, as the metadata knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Following {
    /// Where it is.
    pub object: ObjectId,
    /// About so many bytes of it.
    pub bytes: u64,
}

/// A read that came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub id: ReadId,
    /// Consecutive batches. By [`Extent::Bytes`], at least one, the first being the one that holds the offset. There may
    /// be more of the range in the object than is returned, and less than was asked for.
    pub result: Result<ReadBatches, ReadError>,
}

/// What a read gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBatches {
    /// In order, by the data blocks that they are in.
    pub blocks: Vec<ReadBlock>,
    /// By [`Extent::Since`]: the largest time in the blocks that were passed over.
    pub older: Option<WallTime>,
}

/// What a read gives of one data block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBlock {
    /// In order; at least one.
    pub batches: Vec<StoredBatch>,
    /// Length of the buffer that all of them are slices of.
    pub buffer: u64,
}

impl ReadBatches {
    /// All batches, in order.
    pub fn into_batches(self) -> impl Iterator<Item = StoredBatch> {
        self.blocks.into_iter().flat_map(|block| block.batches)
    }
}

/// Why a read gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// The object is deleted: look at the metadata again.
    Gone,
    /// The object does not hold the offset: the metadata that said so is not about this object.
    NotHeld,
    /// There is so much to be read at once, for a batch that is so large, and less room was given.
    TooLong(u64),
    /// The object stays unreadable, however often it is read.
    Corrupt(DecodeError),
    /// The store did not answer for long, or denies access.
    Unavailable(StoreError),
    /// Others were before it for so long that it was never begun.
    Crowded,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the object is not in the bucket"),
            Self::NotHeld => f.write_str("the object does not hold the offset"),
            Self::TooLong(len) => write!(f, "{len} bytes are to be read at once"),
            Self::Corrupt(error) => write!(f, "a part of the object {error}"),
            Self::Unavailable(error) => error.fmt(f),
            Self::Crowded => f.write_str("too many other reads are before it"),
        }
    }
}

/// What the reader wants done, and what it is done with. The caller drains both.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be performed; each completion goes to [`ObjectReader::handle`](super::ObjectReader::handle).
    pub calls: Vec<(OpId, StoreCall)>,
    /// Reads at their end.
    pub finished: Vec<Finished>,
}

/// What the reader has done since it began, and how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Reads whose first block was in the cache.
    pub hits: u64,
    /// Reads that waited for a request that was under way.
    pub joined: u64,
    /// Reads that had data blocks requested.
    pub misses: u64,
    /// Requests for data blocks that were sent.
    pub requests: u64,
    /// Requests for indexes that were sent.
    pub index_requests: u64,
    /// Bytes of data blocks that arrived.
    pub bytes: u64,
    /// Bytes of blocks that were read ahead and then wanted.
    pub ahead_used: u64,
    /// Bytes of blocks that were read ahead for nothing.
    pub ahead_wasted: u64,
    /// Reads that ended since too many others were before them.
    pub crowded: u64,
    /// Memory of blocks in the cache.
    pub cached: u64,
    /// Of these, read ahead and not wanted yet.
    pub unread: u64,
    /// Memory that requests under way will fill.
    pub reserved: u64,
    /// Reads that wait.
    pub waiting: usize,
    /// Loads that wait for their turn.
    pub in_line: usize,
}
