//! A record: one record batch and where it belongs. Rings hold them in fragments, WAL objects of version 1 back to back.
//!
//! ```text
//!  0         8       12        20        28              36           40
//!  +---------+-------+---------+---------+---------------+------------+- - - - - - -+
//!  | stream  | epoch | base    | end     | max timestamp | batch      | batch, base |
//!  |         |       | offset  | offset  |               | length     | and epoch   |
//!  |         |       |         |         |               |            | stamped     |
//!  +---------+-------+---------+---------+---------------+------------+- - - - - - -+
//! ```

use super::{Append, Appended};
use crate::envelope::{DecodeError, Fields};
use crate::id::{Offset, StreamEpoch, StreamId};
use crate::machine::{Payload, WallTime};
use bytes::{BufMut, Bytes, BytesMut};

/// Length of what precedes the batch.
pub const RECORD_HEAD: usize = 40;

/// Bytes of the batch that stamping reaches.
pub const STAMPED: usize = 16;

/// Writes what precedes the batch.
pub fn put_head(out: &mut BytesMut, append: &Append) {
    out.put_u64(append.stream.0);
    out.put_u32(append.epoch.0);
    out.put_u64(append.base.0);
    out.put_u64(append.end.0);
    out.put_i64(append.max_timestamp.0);
    out.put_u32(u32::try_from(append.batch.len()).expect("limits bound a batch far below 4 GiB"));
}

/// Puts base offset and leader epoch into Kafka's batch header.
pub fn stamp(batch: &mut [u8], append: &Append) {
    batch[..8].copy_from_slice(&append.base.0.to_be_bytes());
    batch[12..STAMPED].copy_from_slice(&append.epoch.0.to_be_bytes());
}

/// The stamped batch of an append, in a buffer of its own.
#[must_use]
pub fn stamped(append: &Append) -> Bytes {
    let mut batch = BytesMut::from(&append.batch[..]);
    stamp(&mut batch, append);
    batch.freeze()
}

/// The durable form of an append, given its stamped batch.
#[must_use]
pub fn appended(append: &Append, batch: Bytes) -> Appended {
    Appended {
        stream: append.stream,
        epoch: append.epoch,
        base: append.base,
        end: append.end,
        max_timestamp: append.max_timestamp,
        batch: Payload(batch),
    }
}

/// Reads what precedes the batch: the record without it, and its length.
///
/// # Errors
/// When that is cut short, or makes no sense.
pub fn take_head(fields: &mut Fields) -> Result<(Appended, usize), DecodeError> {
    let record = Appended {
        stream: StreamId(fields.u64()?),
        epoch: StreamEpoch(fields.u32()?),
        base: Offset(fields.u64()?),
        end: Offset(fields.u64()?),
        max_timestamp: WallTime(fields.i64()?),
        batch: Payload::default(),
    };
    let len = fields.u32()? as usize;
    if record.base >= record.end {
        return Err(DecodeError::Malformed);
    }
    Ok((record, len))
}
