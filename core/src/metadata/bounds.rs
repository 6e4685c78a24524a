//! What an entry may ask for at most. Part of the log's meaning: the same for everybody who folds it, whatever the
//! configuration; a broker's own [`crate::limits::Limits`] may be narrower.

use crate::id::{Offset, StreamEpoch};

/// Partitions of a topic.
pub const PARTITIONS: u32 = 100_000;

/// Streams of the cluster: everybody who folds the log holds them all in memory, so one request must not be able to ask
/// for more than that takes.
pub const STREAMS: usize = 100_000;

/// Object ids in one lease.
pub const LEASE: u32 = 1 << 16;

/// Kafka's offsets are signed; none is above this.
pub const OFFSET: Offset = Offset(i64::MAX as u64);

/// Kafka's leader epochs are signed; a stream that was opened so often stays closed.
pub const STREAM_EPOCH: StreamEpoch = StreamEpoch(i32::MAX as u32);

/// Epochs of a stream of which the beginning is remembered; see [`EpochHistory`](super::EpochHistory).
pub const EPOCHS: usize = 32;

/// Bytes of one data object, and of one range in it: above what any store holds in one object, and small enough that
/// sums never overflow.
pub const OBJECT: u64 = 1 << 44;

/// Every counter of an image stays below this, so that counting on never overflows.
pub const COUNTER: u64 = 1 << 62;
