//! The format of data objects, and how to read from them.
//!
//! An object holds the record batches of one cut (many streams: a *stream set object*; one stream: a *stream object*;
//! the format is the same). Three kinds of parts, each in an [`envelope`](crate::envelope) of its own:
//!
//! ```text
//!  +--------------+--------------+- - -+--------------+-------------+--------+
//!  | data block   | data block   |     | data block   | index block | footer |
//!  +--------------+--------------+- - -+--------------+-------------+--------+
//!  0                                                  ^ index position       ^ length of the object
//! ```
//! Data blocks are in the order of (stream, offset), both ascending. A reader gets the last bytes of the object, decodes
//! the footer, then the index, and reads the data blocks that it wants with one ranged request.
//!
//! Each part names the object it belongs to inside its checksum, and the index carries each data block's checksum, so
//! that index and footer alone stand for the content of the whole object: two objects whose tails are equal are equal.
//!
//! # Data block
//! Record batches of one stream. Closed by its writer once it holds [`Limits::data_block`](crate::limits::Limits) bytes;
//! a batch is never divided, so a block may be larger by one batch.
//!
//! ```text
//!   0              16        24        32        40        48        52          56      56+F
//!  +--------------+---------+---------+---------+---------+---------+-----------+-------+- - - - - - - - -+
//!  | envelope     | object  | stream  | start   | end     | batches | F: length | F     | record batches, |
//!  | (DataBlock)  | id      | id      | offset  | offset  | (count) | of fields | bytes | back to back    |
//!  +--------------+---------+---------+---------+---------+---------+-----------+-------+- - - - - - - - -+
//! ```
//! A record batch is Kafka's (magic 2) as it was stored: base offset (8), length of what follows (4), leader epoch (4),
//! magic (1), CRC (4), attributes (2), last offset delta (4), ... Batches ascend; the first begins at the block's start
//! offset, the last ends at its end offset (which is the offset after its last record). Offsets between two batches
//! that belong to neither are offsets without a record.
//!
//! # Index block
//! ```text
//!   0              16        24        28          32      32+F                                52 bytes each
//!  +--------------+---------+---------+-----------+-------+- - - - - - - - - - - - - - - - - - - - - - - - -+
//!  | envelope     | object  | entries | F: length | F     | entries, one per data block, in their order     |
//!  | (IndexBlock) | id      | (count) | of fields | bytes |                                                 |
//!  +--------------+---------+---------+-----------+-------+- - - - - - - - - - - - - - - - - - - - - - - - -+
//!
//!   0         8         16        24         32       36        40              48       52
//!  +---------+---------+---------+----------+--------+---------+---------------+--------+
//!  | stream  | start   | end     | position | length | batches | max timestamp | CRC of |
//!  | id      | offset  | offset  | of block | of it  | (count) | (signed, ms)  | block  |
//!  +---------+---------+---------+----------+--------+---------+---------------+--------+
//! ```
//! Position and length are those of the block's envelope within the object, in bytes. The CRC is the one in the block's
//! envelope. The blocks of one stream ascend by offset and never overlap.
//!
//! # State block
//! What is known of a stream's idempotent producers, for the streams whose producers wrote. It lies between the data
//! blocks and the index, and the metadata says where: of its own range ([`Range`](crate::metadata::StateKind::Range)),
//! made from the headers of its batches alone, or of the whole log up to its range's end
//! ([`Log`](crate::metadata::StateKind::Log)).
//!
//! ```text
//!   0              16        24        32       40          44      44+F        48+F
//!  +--------------+---------+---------+--------+-----------+-------+-----------+- - - - - -+
//!  | envelope     | object  | stream  | end    | F: length | F     | producers | producers |
//!  | (State)      | id      | id      | offset | of fields | bytes | (count)   |           |
//!  +--------------+---------+---------+--------+-----------+-------+-----------+- - - - - -+
//!
//!  each producer, by id, ascending:                   each of its last one to five batches, in order:
//!   0     8       10                 18        19      0                 4                8        16           24
//!  +-----+-------+------------------+---------+- - -+ +-----------------+----------------+--------+------------+
//!  | id  | epoch | largest time of  | batches |     | | sequence of its | sequence of    | base   | broker's   |
//!  |     |       | its last batch   | (count) |     | | first record    | its last       | offset | time of it |
//!  +-----+-------+------------------+---------+- - -+ +-----------------+----------------+--------+------------+
//! ```
//! The broker's time of a batch is the one that it gave the records (signed, ms since 1970; `message.timestamp.type` was
//! LogAppendTime), or the least number if it gave none: a batch that is sent again is answered as it was the first time.
//!
//! # Footer
//! The last 64 bytes of the object.
//!
//! ```text
//!   0              16        24         32       36        40               56               64
//!  +--------------+---------+----------+--------+---------+----------------+----------------+
//!  | envelope     | object  | position | length | must be | cluster's UUID | room: zeros,   |
//!  | (Footer)     | id      | of index | of it  | zero    |                | may be skipped |
//!  +--------------+---------+----------+--------+---------+----------------+----------------+
//! ```
//! Index and footer end the object: position + length + 64 is the object's length. A reader of version 1 refuses a
//! footer whose word at 36 is not zero: a later writer sets it to be understood or left alone.
//!
//! # Fields
//! Data blocks and index blocks have room for what later versions add: `F` bytes of fields, each tag (2), length (4),
//! value. A tag with the highest bit set must be understood by the reader, any other may be skipped. Version 1 writes
//! 0x0003; the other tags are reserved:
//!
//! | tag    | where | what |
//! |--------|-------|------|
//! | 0x0001 | index | tenant |
//! | 0x0002 | index | bucket id, where the data blocks are in other objects' bucket |
//! | 0x0003 | index | state blocks: (stream 8, position 8, length 4, CRC 4) of each; see below |
//! | 0x0004 | index | aborted-transaction indexes: (stream, position, length) of each, lying there too |
//! | 0x8001 | block | compression of the record batches as a whole |
//! | 0x8002 | both  | encryption key id |
//!
//! # Names
//! `data/XX/ID`: ID is the object's number as 16 hexadecimal digits, XX two digits of a fixed hash of it, which spreads
//! consecutive objects over the key space of the store. An object of an object WAL that became data is called there what it
//! was called before (`name` draws its number); it has a [head](crate::wal::object) in front of its first data block, which
//! positions count in.

mod block;
mod fields;
mod footer;
mod index;
mod learning;
mod name;
mod reader;
mod state;
mod writer;

pub use block::{StoredBatch, decode_block};
pub use footer::Footer;
pub use index::{BlockEntry, Index, Plan};
pub(crate) use learning::{IndexStep, Learned};
pub use name::{PREFIX, id_in_wal, key, parse_any_key, parse_key, place_in_wal};
pub use reader::{
    Extent, Finished, Following, ObjectReader, Origin, Outcome, Read, ReadBatches, ReadBlock, ReadError, ReadId,
    ReadStats,
};
pub use state::{PRODUCERS, decode_state};
pub use writer::{Built, Copied, CopyWriter, ObjectWriter, build};

use crate::envelope::DecodeError;
use crate::id::{ClusterId, ObjectId};
use alloc::vec::Vec;
use bytes::Bytes;

/// The format version that is written, and the newest that is read.
pub const VERSION: u16 = 1;

/// Decodes all of an object of that cluster.
///
/// # Errors
/// Whatever is wrong with the first part that is wrong.
pub fn decode(
    cluster: ClusterId,
    object: ObjectId,
    bytes: &Bytes,
) -> Result<Vec<(BlockEntry, Vec<StoredBatch>)>, DecodeError> {
    let footer = Footer::decode(cluster, object, bytes.len() as u64, bytes)?;
    let index = Index::decode(object, &footer, &footer.index_in(0, bytes).ok_or(DecodeError::Short)?)?;
    let block = |entry: &BlockEntry| {
        let bytes = entry.block_in(0, bytes).ok_or(DecodeError::Short)?;
        Ok((*entry, decode_block(object, entry, &bytes)?))
    };
    index.entries().iter().map(block).collect()
}

/// The slice of an object at `at..at + len`, of which `bytes` is the part from `origin` on; `None` if it isn't all there.
fn slice(origin: u64, bytes: &Bytes, at: u64, len: u32) -> Option<Bytes> {
    let from = usize::try_from(at.checked_sub(origin)?).ok()?;
    let to = from.checked_add(len as usize)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
