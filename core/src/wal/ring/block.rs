//! A block: one write, of any multiple of 4096 bytes.
//!
//! ```text
//!   0        4        6         8         12       16         32         48           56
//!  +--------+--------+---------+---------+--------+----------+----------+------------+-------+
//!  | "KRST" | kind 2 | vers. 1 | body    | CRC32C | cluster  | WAL UUID | node epoch | LSN   |
//!  |        |        |         | length  |        |          |          |            |       |
//!  +--------+--------+---------+---------+--------+----------+----------+------------+-------+
//!   64            72           80           82         84     84 + skip
//!  +-------------+------------+------------+----------+- - - -+- - - - - - -+- - - - -+
//!  | durable LSN | trim LSN   | must-      | length   | may-  | fragments   | zeros   |
//!  | known       | known      | understand | of       | skip  | to the end  | to 4096 |
//!  |             |            | bits (0)   | may-skip |       | of the body |         |
//!  +-------------+------------+------------+----------+- - - -+- - - - - - -+- - - - -+
//!
//!  a fragment:   +------+--------+- - - - - - - - -+    kind: 1 full, 2 first, 3 middle, 4 last
//!                | kind | length | part of a       |
//!                | (u8) | (u32)  | record          |
//!                +------+--------+- - - - - - - - -+
//! ```
//! The first 16 bytes are those of [`crate::envelope`]; the CRC covers everything but magic, CRC and padding. A
//! block's length is that of envelope and body rounded up. A reader refuses must-understand bits that it does not know
//! and passes over may-skip bytes. Durable and trim LSN are what the writer knew: facts that later blocks only exceed.

use super::aligned;
use crate::disk::SECTOR;
use crate::envelope::{self, DecodeError, Fields, HEAD, Kind};
use crate::id::{ClusterId, Lsn, NodeEpoch, WalUuid};
use crate::wal::record;
use crate::wal::{Append, Life};
use bytes::{BufMut, Bytes, BytesMut};
use core::ops::Range;

/// Bytes before the first fragment, the envelope's head included.
pub const BLOCK_HEAD: usize = 84;

/// Bytes before a fragment's part of a record.
pub const FRAGMENT_HEAD: usize = 5;

const VERSION: u16 = 1;
const MAGIC: &[u8; 4] = b"KRST";
const IDENTITY: Range<usize> = 16..56;

/// Whose blocks these are: cluster, UUID and node epoch as every block of that life has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; 40]);

impl Identity {
    /// Of these.
    #[must_use]
    pub fn new(cluster: ClusterId, uuid: WalUuid, epoch: NodeEpoch) -> Self {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&cluster.0);
        bytes[16..32].copy_from_slice(&uuid.0);
        bytes[32..].copy_from_slice(&epoch.0.to_be_bytes());
        Self(bytes)
    }
}

impl From<&Life> for Identity {
    fn from(life: &Life) -> Self {
        Self::new(life.cluster, life.uuid, life.epoch)
    }
}

/// Which part of a record a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FragmentKind {
    /// All of it.
    Full = 1,
    /// Its beginning.
    First = 2,
    /// Neither its beginning nor its end.
    Middle = 3,
    /// Its end.
    Last = 4,
}

/// What a block says besides its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// Where it begins.
    pub lsn: Lsn,
    /// Everything below was durable when it was written.
    pub durable: Lsn,
    /// Everything below was committed when it was written.
    pub trim: Lsn,
}

/// Writes a block in an aligned buffer.
#[derive(Debug)]
pub struct BlockBuilder {
    buffer: BytesMut,
}

impl BlockBuilder {
    /// A block that will be `len` bytes long at most, padding included.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut buffer = aligned(len);
        buffer.resize(BLOCK_HEAD, 0);
        Self { buffer }
    }

    /// Adds a fragment that begins a record and has the first `upto` bytes of its batch, which it copies and stamps.
    /// Returns where they are in the block.
    pub fn begin(&mut self, kind: FragmentKind, append: &Append, upto: usize) -> Range<usize> {
        self.fragment(kind, record::RECORD_HEAD + upto);
        record::put_head(&mut self.buffer, append);
        let at = self.copy(&append.batch[..upto]);
        record::stamp(&mut self.buffer[at.clone()], append);
        at
    }

    /// Adds a fragment that continues a record with these bytes of its batch, which it copies. Returns where they are
    /// in the block.
    pub fn resume(&mut self, kind: FragmentKind, part: &[u8]) -> Range<usize> {
        self.fragment(kind, part.len());
        self.copy(part)
    }

    /// The block, padded and with its checksum.
    #[must_use]
    pub fn finish(mut self, identity: &Identity, head: &BlockHead) -> Bytes {
        let body = u32::try_from(self.buffer.len() - HEAD).expect("a block is at most LARGEST_BLOCK bytes");
        self.buffer[..4].copy_from_slice(MAGIC);
        self.buffer[4..6].copy_from_slice(&(Kind::RingBlock as u16).to_be_bytes());
        self.buffer[6..8].copy_from_slice(&VERSION.to_be_bytes());
        self.buffer[8..12].copy_from_slice(&body.to_be_bytes());
        self.buffer[IDENTITY].copy_from_slice(&identity.0);
        self.buffer[56..64].copy_from_slice(&head.lsn.0.to_be_bytes());
        self.buffer[64..72].copy_from_slice(&head.durable.0.to_be_bytes());
        self.buffer[72..80].copy_from_slice(&head.trim.0.to_be_bytes());
        let crc = envelope::checksum(&self.buffer[4..12], &self.buffer[HEAD..]);
        self.buffer[12..16].copy_from_slice(&crc.to_be_bytes());
        self.buffer.resize(self.buffer.len().next_multiple_of(SECTOR as usize), 0);
        let block = self.buffer.freeze();
        assert!(block.as_ptr().addr().is_multiple_of(SECTOR as usize), "a block's buffer moved");
        block
    }

    fn fragment(&mut self, kind: FragmentKind, len: usize) {
        self.buffer.put_u8(kind as u8);
        self.buffer.put_u32(u32::try_from(len).expect("a block is at most LARGEST_BLOCK bytes"));
    }

    fn copy(&mut self, part: &[u8]) -> Range<usize> {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(part);
        at..self.buffer.len()
    }
}

/// What lies at a place in the ring.
#[derive(Debug)]
pub enum Sight {
    /// No valid block of this life.
    Nothing,
    /// What may be one, and is longer than the bytes at hand.
    Incomplete,
    /// A valid block of this life; not necessarily one that belongs here.
    Block(Block),
}

/// Looks for a block of this life, of at most `largest` bytes, at `at` in `bytes`.
#[must_use]
pub fn sight(bytes: &Bytes, at: usize, identity: &Identity, largest: u32) -> Sight {
    let Some(head) = bytes.get(at..).and_then(|rest| rest.get(..BLOCK_HEAD)) else { return Sight::Nothing };
    // Before the checksum, which is costly: blocks of earlier lives lie everywhere.
    if head[..4] != *MAGIC || head[IDENTITY] != identity.0 {
        return Sight::Nothing;
    }
    let body = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let len = (HEAD as u64 + u64::from(body)).next_multiple_of(SECTOR);
    if len > u64::from(largest) {
        return Sight::Nothing;
    }
    let end = at + len as usize;
    if end > bytes.len() {
        return Sight::Incomplete;
    }
    Block::open(&bytes.slice(at..end)).map_or(Sight::Nothing, Sight::Block)
}

/// A valid block.
#[derive(Debug)]
pub struct Block {
    head: BlockHead,
    len: u64,
    fragments: Bytes,
}

impl Block {
    fn open(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (_, body) = envelope::open(Kind::RingBlock, VERSION, bytes)?;
        let mut fields = Fields::new(body);
        fields.bytes(IDENTITY.len())?;
        let head = BlockHead { lsn: Lsn(fields.u64()?), durable: Lsn(fields.u64()?), trim: Lsn(fields.u64()?) };
        if fields.u16()? != 0 {
            return Err(DecodeError::Unsupported);
        }
        let skip = fields.u16()?;
        fields.bytes(usize::from(skip))?;
        let ordered = head.trim <= head.durable && head.durable <= head.lsn && head.lsn.0 <= super::LARGEST_NUMBER;
        let on_sectors = [head.trim, head.durable, head.lsn].iter().all(|lsn| lsn.0.is_multiple_of(SECTOR));
        if !ordered || !on_sectors {
            return Err(DecodeError::Malformed);
        }
        Ok(Self { head, len: bytes.len() as u64, fragments: fields.rest() })
    }

    /// Where it says that it begins.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.head.lsn
    }

    /// Where the next one begins.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        Lsn(self.head.lsn.0 + self.len)
    }

    /// Its length in bytes, padding included.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Never: a block has a head.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// What it says besides its fragments.
    #[must_use]
    pub const fn head(&self) -> &BlockHead {
        &self.head
    }

    /// Its fragments, in order.
    #[must_use]
    pub fn fragments(&self) -> Fragments {
        Fragments(self.fragments.clone())
    }
}

/// The fragments that are left in a block.
#[derive(Debug)]
pub struct Fragments(Bytes);

impl Fragments {
    /// The next one: which part of a record, and its bytes.
    ///
    /// # Errors
    /// When what follows is no fragment.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would not end at the first error")]
    pub fn next(&mut self) -> Result<Option<(FragmentKind, Bytes)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields::new(core::mem::take(&mut self.0));
        let kind = match fields.u8()? {
            1 => FragmentKind::Full,
            2 => FragmentKind::First,
            3 => FragmentKind::Middle,
            4 => FragmentKind::Last,
            _ => return Err(DecodeError::Malformed),
        };
        let len = fields.u32()? as usize;
        let bytes = fields.bytes(len)?;
        self.0 = fields.rest();
        Ok(Some((kind, bytes)))
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
