//! An object of the log: a batch of records, or the seal that ends a life.
//!
//! ```text
//!   0        4         6         8        12       16        32     36           44         60
//!  +--------+---------+---------+--------+--------+---------+------+------------+----------+-----+
//!  | "KRST" | kind 10 | version | body   | CRC32C | cluster | node | node epoch | WAL UUID | SEQ |
//!  |        |         | 1 or 2  | length |        |         |      |            |          |     |
//!  +--------+---------+---------+--------+--------+---------+------+------------+----------+-----+
//!   68            70         72      72 + skip
//!  +-------------+----------+- - - -+- - - - - - - - - - - - - - - - - - - - - - - - - - -+
//!  | must-       | length   | may-  | a seal, version 1: 8 bytes                          |
//!  | understand  | of       | skip  | a batch, version 1: records, to the end of the body |
//!  | bits        | may-skip |       | a batch, version 2: its directory                   |
//!  +-------------+----------+- - - -+- - - - - - - - - - - - - - - - - - - - - - - - - - -+
//! ```
//! The first 16 bytes are those of [`crate::envelope`]. Must-understand bit 0: a seal; the 8 bytes are the node epoch under
//! which it was written. A reader refuses must-understand bits that it does not know, and passes over may-skip bytes.
//!
//! A seal has exactly [`SEAL_LEN`] bytes, and every batch of records has more: so a listing tells which objects of an old
//! life must stay.
//!
//! # A batch of version 1
//! [Records](record) follow each other and are never cut, and nothing follows the body. It is written while the cluster's
//! feature level is below [`WAL_DATA_LEVEL`], and read for ever.
//!
//! # A batch of version 2
//! It is a [data object](crate::data_object) with this head, of body and directory, in front of its first data block. The
//! positions in its index and footer count from the object's beginning. Its parts name the number that
//! [`data_object::id_in_wal`](crate::data_object::id_in_wal) gives it, or else the largest there is.
//!
//! ```text
//!   72 + skip  80       84        88                  56 bytes each, by stream, ascending
//!  +----------+--------+---------+---------+- - - - -+- - - - - - - +- - - -+-------+--------+
//!  | length   | length | CRC of  | streams | streams | data blocks, | state | index | footer |
//!  | of the   | of     | tail    | (count) |         | by stream    | blocks|       |        |
//!  | object   | tail   |         |         |         |              |       |       |        |
//!  +----------+--------+---------+---------+- - - - -+- - - - - - - +- - - -+-------+--------+
//!                                                                           |<---- tail ---->|
//!   0        8        12       20       28          36         44               52       56
//!  +--------+--------+--------+--------+-----------+----------+----------------+--------+
//!  | stream | stream | first  | offset | max       | bytes of | position of    | length |
//!  | id     | epoch  | offset | after  | timestamp | batches  | state block    | of it  |
//!  +--------+--------+--------+--------+-----------+----------+----------------+--------+
//! ```
//! A stream without idempotent producers has zeros for the last two. Of each stream there is one stretch, without gaps and
//! of one epoch. The tail has the checksums of all data blocks and state blocks, so the head stands for the whole object.

use super::batch::{self, Directory};
use crate::envelope::{self, DecodeError, Fields, HEAD as ENVELOPE, Kind};
use crate::id::{ClusterId, FeatureLevel, Lsn, NodeEpoch, NodeId, WalUuid};
use crate::machine::{Payload, Rope};
use crate::metadata::{CommitObject, WAL_DATA_LEVEL};
use crate::store::Key;
use crate::wal::record::{self, RECORD_HEAD, STAMPED};
use crate::wal::{Append, Appended, Life};
use alloc::format;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// What all names of WAL objects begin with.
pub const PREFIX: &str = "wal/";

/// Bytes of a head before what differs from object to object.
pub const HEAD: usize = 72;

/// Length of a seal; a batch of records is longer.
pub const SEAL_LEN: usize = HEAD + 8;

const VERSION: u16 = 1;
const SEAL: u16 = 1;

/// The name of the object at `seq` of a node epoch's log.
#[must_use]
pub fn key(node: NodeId, epoch: NodeEpoch, seq: Lsn) -> Key {
    Key(format!("{PREFIX}{:010}/{:020}/{:020}", node.0, epoch.0, seq.0))
}

/// Whose object that is, and which; `None` unless the name is exactly what [`key`] makes.
#[must_use]
pub fn parse_key(key: &Key) -> Option<(NodeId, NodeEpoch, Lsn)> {
    let mut parts = key.0.strip_prefix(PREFIX)?.split('/');
    let mut number = |digits: usize| {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        part.parse::<u64>().ok()
    };
    let (node, epoch, seq) = (number(10)?, number(20)?, number(20)?);
    let node = NodeId(u32::try_from(node).ok()?);
    parts.next().is_none().then_some((node, NodeEpoch(epoch), Lsn(seq)))
}

/// A batch of records on its way into the bucket.
#[derive(Debug)]
pub struct Built {
    /// The object.
    pub body: Rope,
    /// What becomes durable with it: slices of the body.
    pub records: Vec<Appended>,
}

/// Bytes that an append takes in an object.
#[must_use]
pub fn len(append: &Append) -> usize {
    RECORD_HEAD + append.batch.len()
}

/// How large what an object consists of may become, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// A buffer with records: no slice keeps more in memory than it would of a ring. A larger record has one of its own.
    pub buffer: usize,
    /// A data block, before it is closed.
    pub data_block: u32,
}

/// Writes the object at `seq` with these records, as the feature level allows. Of each stream they are one stretch.
#[must_use]
pub fn build(life: &Life, seq: Lsn, appends: &[Append], level: FeatureLevel, sizes: Sizes) -> Built {
    if level < WAL_DATA_LEVEL {
        build_records(life, seq, appends, sizes.buffer)
    } else {
        batch::build(life, seq, appends, sizes)
    }
}

fn build_records(life: &Life, seq: Lsn, appends: &[Append], block: usize) -> Built {
    let mut pieces = Vec::new();
    let mut records = Vec::with_capacity(appends.len());
    let mut left = appends;
    while !left.is_empty() {
        let (now, later) = left.split_at(fitting(left, block));
        let mut buffer = BytesMut::with_capacity(now.iter().map(len).sum());
        for append in now {
            record::put_head(&mut buffer, append);
            let at = buffer.len();
            buffer.extend_from_slice(&append.batch);
            record::stamp(&mut buffer[at..], append);
        }
        let piece = buffer.freeze();
        let mut at = 0;
        for append in now {
            let end = at + len(append);
            records.push(record::appended(append, piece.slice(at + RECORD_HEAD..end)));
            at = end;
        }
        pieces.push(piece);
        left = later;
    }
    Built { body: seal_envelope(life, seq, 0, pieces), records }
}

/// How many of the first appends share a buffer; at least one.
fn fitting(appends: &[Append], block: usize) -> usize {
    let mut sum = 0;
    let more = appends.iter().take_while(|append| {
        sum += len(append);
        sum <= block
    });
    more.count().max(1)
}

/// Writes the seal at `seq`, by the node epoch that recovers that life.
#[must_use]
pub fn seal(life: &Life, seq: Lsn, by: NodeEpoch) -> Rope {
    seal_envelope(life, seq, SEAL, Vec::from([Bytes::copy_from_slice(&by.0.to_be_bytes())]))
}

/// A head of `len` bytes up to where its content begins, without its checksum.
pub(super) fn begin_head(life: &Life, seq: Lsn, version: u16, bits: u16, len: usize) -> BytesMut {
    let mut head = BytesMut::with_capacity(len.max(HEAD));
    head.put_slice(b"KRST");
    head.put_u16(Kind::WalObject as u16);
    head.put_u16(version);
    head.put_u32(u32::try_from(len - ENVELOPE).expect("limits bound an object far below 4 GiB"));
    head.put_u32(0);
    head.put_slice(&life.cluster.0);
    head.put_u32(life.node.0);
    head.put_u64(life.epoch.0);
    head.put_slice(&life.uuid.0);
    head.put_u64(seq.0);
    head.put_u16(bits);
    head.put_u16(0);
    head
}

fn seal_envelope(life: &Life, seq: Lsn, bits: u16, pieces: Vec<Bytes>) -> Rope {
    let rest: usize = pieces.iter().map(Bytes::len).sum();
    let mut head = begin_head(life, seq, VERSION, bits, HEAD + rest);
    let begun = envelope::checksum(&head[4..12], &head[ENVELOPE..]);
    let crc = pieces.iter().fold(begun, |crc, piece| crc32c::crc32c_append(crc, piece));
    head[12..ENVELOPE].copy_from_slice(&crc.to_be_bytes());
    let mut body = Rope::default();
    body.push(head.freeze());
    pieces.into_iter().for_each(|piece| body.push(piece));
    body
}

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Records, in order.
    Records(Vec<Appended>),
    /// The end of its life, put there under this node epoch.
    Seal(NodeEpoch),
}

/// Reads an object: whose it is, at which SEQ, and what it holds.
///
/// # Errors
/// Whatever is wrong with it; never a panic.
pub fn read(bytes: &Bytes) -> Result<(Life, Lsn, Content), DecodeError> {
    let head = Head::take(bytes)?;
    let (life, seq) = (head.life, head.seq);
    let content = match head.version {
        batch::VERSION => Content::Records(head.directory()?.records(&life, seq, bytes)?),
        _ if head.len != bytes.len() => return Err(DecodeError::Malformed),
        _ => head.content()?,
    };
    Ok((life, seq, content))
}

/// What can be said of the object that should be at `seq` of that life, and is `total` bytes long, by its first bytes:
/// how a commit names it, as it is. `None` if that can't be said, or not by so few bytes.
///
/// # Errors
/// Whatever is wrong with it; never a panic.
pub fn peek(life: &Life, seq: Lsn, first: &Bytes, total: u64) -> Result<Option<CommitObject>, DecodeError> {
    let head = match Head::take(first) {
        Err(DecodeError::Short) => return Ok(None),
        head => head?,
    };
    if head.version != batch::VERSION {
        return Ok(None);
    }
    if (head.life, head.seq) != (*life, seq) {
        return Err(DecodeError::Foreign);
    }
    head.directory()?.object(life, seq, total)
}

/// Reads the object that should be at `seq` of that life.
///
/// # Errors
/// As [`read`]; [`DecodeError::Foreign`] if it belongs elsewhere.
pub fn open(life: &Life, seq: Lsn, bytes: &Bytes) -> Result<Content, DecodeError> {
    let (of, at, content) = read(bytes)?;
    if (of, at) == (*life, seq) { Ok(content) } else { Err(DecodeError::Foreign) }
}

/// What all objects begin with.
struct Head {
    version: u16,
    /// Of the envelope.
    len: usize,
    life: Life,
    seq: Lsn,
    bits: u16,
    /// What follows.
    rest: Fields,
}

impl Head {
    fn take(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (version, body) = envelope::open(Kind::WalObject, batch::VERSION, bytes)?;
        let len = body.len() + ENVELOPE;
        let mut rest = Fields::new(body);
        let life = Life {
            cluster: ClusterId(rest.array()?),
            node: NodeId(rest.u32()?),
            epoch: NodeEpoch(rest.u64()?),
            uuid: WalUuid(rest.array()?),
        };
        let (seq, bits, skip) = (Lsn(rest.u64()?), rest.u16()?, rest.u16()?);
        rest.bytes(usize::from(skip))?;
        Ok(Self { version, len, life, seq, bits, rest })
    }

    /// Of version 1.
    fn content(mut self) -> Result<Content, DecodeError> {
        match self.bits {
            0 => records(self.rest).map(Content::Records),
            SEAL => {
                let by = NodeEpoch(self.rest.u64()?);
                if self.rest.left() > 0 { Err(DecodeError::Malformed) } else { Ok(Content::Seal(by)) }
            }
            _ => Err(DecodeError::Unsupported),
        }
    }

    /// Of version 2.
    fn directory(self) -> Result<Directory, DecodeError> {
        if self.bits == 0 { Directory::take(self.rest) } else { Err(DecodeError::Unsupported) }
    }
}

fn records(mut fields: Fields) -> Result<Vec<Appended>, DecodeError> {
    let mut records = Vec::new();
    while fields.left() > 0 {
        let (mut record, len) = record::take_head(&mut fields)?;
        if len < STAMPED {
            return Err(DecodeError::Malformed);
        }
        record.batch = Payload(fields.bytes(len)?);
        records.push(record);
    }
    if records.is_empty() { Err(DecodeError::Malformed) } else { Ok(records) }
}
