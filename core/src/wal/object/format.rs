//! An object of the log, version 1: a batch of records, or the seal that ends a life.
//!
//! ```text
//!   0        4         6         8        12       16        32     36           44         60
//!  +--------+---------+---------+--------+--------+---------+------+------------+----------+-----+
//!  | "KRST" | kind 10 | vers. 1 | body   | CRC32C | cluster | node | node epoch | WAL UUID | SEQ |
//!  |        |         |         | length |        |         |      |            |          |     |
//!  +--------+---------+---------+--------+--------+---------+------+------------+----------+-----+
//!   68            70         72      72 + skip
//!  +-------------+----------+- - - -+- - - - - - - - - - - - - - -+
//!  | must-       | length   | may-  | of a batch: records, to the |
//!  | understand  | of       | skip  | end of the body             |
//!  | bits        | may-skip |       | of a seal: 8 bytes          |
//!  +-------------+----------+- - - -+- - - - - - - - - - - - - - -+
//! ```
//! The first 16 bytes are those of [`crate::envelope`], and nothing follows the body. Must-understand bit 0: a seal; the 8
//! bytes are the node epoch under which it was written. A [record] is never cut. A reader refuses
//! must-understand bits that it does not know, and passes over may-skip bytes.
//!
//! A seal has exactly [`SEAL_LEN`] bytes, and every batch of records has more: so a listing tells which objects of an old
//! life must stay.

use crate::envelope::{self, DecodeError, Fields, HEAD as ENVELOPE, Kind};
use crate::id::{ClusterId, Lsn, NodeEpoch, NodeId, WalUuid};
use crate::machine::{Payload, Rope};
use crate::store::Key;
use crate::wal::record::{self, RECORD_HEAD, STAMPED};
use crate::wal::{Append, Appended, Life};
use alloc::format;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// What all names of WAL objects begin with.
pub const PREFIX: &str = "wal/";

/// Bytes before the first record.
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

/// Writes the object at `seq` with these records, in buffers of about `block` bytes, so that no slice keeps more in memory
/// than it would of a ring; a larger record has one of its own.
#[must_use]
pub fn build(life: &Life, seq: Lsn, appends: &[Append], block: usize) -> Built {
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

fn seal_envelope(life: &Life, seq: Lsn, bits: u16, pieces: Vec<Bytes>) -> Rope {
    let rest: usize = pieces.iter().map(Bytes::len).sum();
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_slice(b"KRST");
    head.put_u16(Kind::WalObject as u16);
    head.put_u16(VERSION);
    head.put_u32(u32::try_from(HEAD - ENVELOPE + rest).expect("limits bound an object far below 4 GiB"));
    head.put_u32(0);
    head.put_slice(&life.cluster.0);
    head.put_u32(life.node.0);
    head.put_u64(life.epoch.0);
    head.put_slice(&life.uuid.0);
    head.put_u64(seq.0);
    head.put_u16(bits);
    head.put_u16(0);
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
    let (_, body) = envelope::open(Kind::WalObject, VERSION, bytes)?;
    if body.len() + ENVELOPE != bytes.len() {
        return Err(DecodeError::Malformed);
    }
    let mut fields = Fields::new(body);
    let life = Life {
        cluster: ClusterId(fields.array()?),
        node: NodeId(fields.u32()?),
        epoch: NodeEpoch(fields.u64()?),
        uuid: WalUuid(fields.array()?),
    };
    let seq = Lsn(fields.u64()?);
    let bits = fields.u16()?;
    let skip = fields.u16()?;
    fields.bytes(usize::from(skip))?;
    let content = match bits {
        0 => Content::Records(records(fields)?),
        SEAL => {
            let by = NodeEpoch(fields.u64()?);
            if fields.left() > 0 {
                return Err(DecodeError::Malformed);
            }
            Content::Seal(by)
        }
        _ => return Err(DecodeError::Unsupported),
    };
    Ok((life, seq, content))
}

/// Reads the object that should be at `seq` of that life.
///
/// # Errors
/// As [`read`]; [`DecodeError::Foreign`] if it belongs elsewhere.
pub fn open(life: &Life, seq: Lsn, bytes: &Bytes) -> Result<Content, DecodeError> {
    let (of, at, content) = read(bytes)?;
    if (of, at) == (*life, seq) { Ok(content) } else { Err(DecodeError::Foreign) }
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
