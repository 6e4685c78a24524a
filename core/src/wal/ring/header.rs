//! The ring's header: who owns it, and from where on it is read.
//!
//! ```text
//!   0        4        6         8        12       16         32     36           44         60
//!  +--------+--------+---------+--------+--------+----------+------+------------+----------+------------+
//!  | "KRST" | kind 1 | vers. 1 | body   | CRC32C | cluster  | node | node epoch | WAL UUID | generation |
//!  |        |        |         | length |        |          |      |            |          |            |
//!  +--------+--------+---------+--------+--------+----------+------+------------+----------+------------+
//!   68        76         84            92        96         104          106        108     108 + skip
//!  +---------+----------+-------------+---------+----------+------------+----------+- - - -+- - - - -+
//!  | ring    | trim LSN | durable LSN | largest | bytes in | must-      | length   | may-  | zeros   |
//!  | size    |          | known       | block   | flight   | understand | of       | skip  | to 4096 |
//!  |         |          |             |         | at most  | bits       | may-skip |       |         |
//!  +---------+----------+-------------+---------+----------+------------+----------+- - - -+- - - - -+
//! ```
//! Must-understand bit 0: closed after a drain, nothing is in the ring. There are two slots, written in turn: the one
//! with the higher generation is the newest, and never the one that is overwritten, so that a torn write leaves the
//! header before it. "Bytes in flight" bounds how far apart the first block that is not durable and the last one that
//! was begun can be; it tells a reader how far to look behind a hole.

use super::{Geometry, LARGEST_BLOCK, LARGEST_NUMBER, aligned};
use crate::disk::{DevicePos, SECTOR};
use crate::envelope::{self, DecodeError, Fields, Kind};
use crate::id::{ClusterId, Lsn, NodeEpoch, NodeId, WalUuid};
use crate::wal::Life;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// How many slots there are.
pub const SLOTS: u64 = 2;

const VERSION: u16 = 1;
const CLEAN: u16 = 1;

/// Whether a ring was left in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is in use, or its owner died.
    Open,
    /// Its owner closed it after draining: nothing is in it.
    Clean,
}

/// What a slot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose ring this is.
    pub life: Life,
    /// Grows with each header written, over all lives.
    pub generation: u64,
    /// Size of the ring in bytes.
    pub ring: u64,
    /// Everything below is committed.
    pub trim: Lsn,
    /// Everything below was durable when this was written.
    pub durable: Lsn,
    /// No block is longer, in bytes.
    pub block: u32,
    /// No block begins further behind the first one that is not durable, in bytes.
    pub in_flight: u64,
    /// Whether it was left in order.
    pub ending: Ending,
}

impl Header {
    /// A slot with this content, in an aligned buffer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        body.put_slice(&self.life.cluster.0);
        body.put_u32(self.life.node.0);
        body.put_u64(self.life.epoch.0);
        body.put_slice(&self.life.uuid.0);
        body.put_u64(self.generation);
        body.put_u64(self.ring);
        body.put_u64(self.trim.0);
        body.put_u64(self.durable.0);
        body.put_u32(self.block);
        body.put_u64(self.in_flight);
        body.put_u16(if self.ending == Ending::Clean { CLEAN } else { 0 });
        body.put_u16(0);
        let mut slot = aligned(SECTOR as usize);
        slot.put_slice(&envelope::seal(Kind::RingHeader, VERSION, &body));
        slot.resize(SECTOR as usize, 0);
        slot.freeze()
    }

    /// What a slot says.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn decode(slot: &Bytes) -> Result<Self, DecodeError> {
        let (_, body) = envelope::open(Kind::RingHeader, VERSION, slot)?;
        let mut fields = Fields::new(body);
        let cluster = ClusterId(fields.array()?);
        let node = NodeId(fields.u32()?);
        let epoch = NodeEpoch(fields.u64()?);
        let uuid = WalUuid(fields.array()?);
        let mut header = Self {
            life: Life { cluster, node, epoch, uuid },
            generation: fields.u64()?,
            ring: fields.u64()?,
            trim: Lsn(fields.u64()?),
            durable: Lsn(fields.u64()?),
            block: fields.u32()?,
            in_flight: fields.u64()?,
            ending: Ending::Open,
        };
        match fields.u16()? {
            0 => {}
            CLEAN => header.ending = Ending::Clean,
            _ => return Err(DecodeError::Unsupported),
        }
        let skip = fields.u16()?;
        fields.bytes(usize::from(skip))?;
        if header.makes_sense() { Ok(header) } else { Err(DecodeError::Malformed) }
    }

    fn makes_sense(&self) -> bool {
        let sizes = [self.trim.0, self.durable.0, self.ring, self.in_flight, u64::from(self.block)];
        sizes.iter().all(|size| size.is_multiple_of(SECTOR) && *size <= LARGEST_NUMBER)
            && self.generation <= LARGEST_NUMBER
            && self.trim <= self.durable
            && self.ring > 0
            && (SECTOR as u32..=LARGEST_BLOCK).contains(&self.block)
            && self.in_flight >= u64::from(self.block)
    }
}

/// One of the two places for a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// At the device's start.
    First,
    /// Behind it.
    Second,
}

impl Slot {
    /// Where it lies.
    #[must_use]
    pub const fn position(self) -> DevicePos {
        match self {
            Self::First => DevicePos(0),
            Self::Second => DevicePos(SECTOR),
        }
    }

    /// The one that may be written while this one is the newest.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What both slots together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slots {
    /// Both are all zeros.
    Blank,
    /// The newest header, and where it is.
    Newest(Slot, Header),
}

impl Slots {
    /// Reads both slots of a device with this geometry.
    ///
    /// # Errors
    /// Says to a person what is wrong and what to do.
    pub fn read(bytes: &Bytes, geometry: Geometry) -> Result<Self, String> {
        if bytes.len() as u64 != SLOTS * SECTOR {
            return Err("the WAL's header could not be read whole: check the device".into());
        }
        let first = bytes.slice(..SECTOR as usize);
        let second = bytes.slice(SECTOR as usize..);
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Self::Blank);
        }
        let (slot, header) = newest(Header::decode(&first), Header::decode(&second))?;
        if header.ring != geometry.ring() {
            return Err(format!(
                "the WAL was formatted with a ring of {} bytes and its device now holds one of {}: give it back its \
                 old size, or the device that it was copied from",
                header.ring,
                geometry.ring()
            ));
        }
        Ok(Self::Newest(slot, header))
    }
}

fn newest(first: Result<Header, DecodeError>, second: Result<Header, DecodeError>) -> Result<(Slot, Header), String> {
    match (first, second) {
        // The other slot may be older by any number of laps: it says nothing about now.
        (Err(DecodeError::Unsupported), _) | (_, Err(DecodeError::Unsupported)) => {
            Err("the WAL's header was written by a newer Karst: start that version, and stop it cleanly before going \
                 back"
                .into())
        }
        (Ok(first), Ok(second)) if first.generation == second.generation => Err(format!(
            "both of the WAL's header slots claim to be generation {}: two brokers wrote to one device, or it was put \
             together from copies; restore one copy of it",
            first.generation
        )),
        (Ok(first), Ok(second)) if first.generation > second.generation => Ok((Slot::First, first)),
        (_, Ok(second)) => Ok((Slot::Second, second)),
        (Ok(first), Err(_)) => Ok((Slot::First, first)),
        (Err(first), Err(second)) => Err(format!(
            "this is not a Karst WAL, or its header is damaged (slot 0 {first}, slot 1 {second}): check the path; to \
             use the device or file as a new WAL, run 'karst wal blank --overwrite', which forgets what it holds"
        )),
    }
}
