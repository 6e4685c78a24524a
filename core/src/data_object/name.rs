//! Names of data objects, and the numbers of those that were born as objects of a WAL.
//!
//! Most are written under a number that was leased for it, and named after that. An object of a WAL that a recovery
//! commits as it is stays where it is; its number says where that is:
//!
//! ```text
//!   63  62       51  50          32  31            0
//!  +---+-----------+---------------+----------------+
//!  | 1 | node      | node epoch    | SEQ            |     leased numbers have a 0 in front: they count from 1
//!  +---+-----------+---------------+----------------+
//! ```
//! So one number stands for one name and one content here as well, and whoever knows the number knows the name. A WAL
//! object beyond these bounds has no number; it is never committed as it is.

use crate::id::{Lsn, NodeEpoch, NodeId, ObjectId};
use crate::store::Key;
use crate::wal::object::format as wal_object;
use alloc::format;

/// What the names of all data objects begin with, but for those that were born in a WAL.
pub const PREFIX: &str = "data/";

const BORN_IN_WAL: u64 = 1 << 63;
const NODE_BITS: u32 = 12;
const EPOCH_BITS: u32 = 19;
const SEQ_BITS: u32 = 32;

/// The number of the object at `seq` of a node epoch's WAL, if it has one.
#[must_use]
pub fn id_in_wal(node: NodeId, epoch: NodeEpoch, seq: Lsn) -> Option<ObjectId> {
    let node = u64::from(node.0);
    let fits = node >> NODE_BITS == 0 && epoch.0 >> EPOCH_BITS == 0 && seq.0 >> SEQ_BITS == 0;
    fits.then_some(ObjectId(BORN_IN_WAL | (node << (EPOCH_BITS + SEQ_BITS)) | (epoch.0 << SEQ_BITS) | seq.0))
}

/// Of whose WAL that object is, and which, if it was born in one.
#[must_use]
pub fn place_in_wal(id: ObjectId) -> Option<(NodeId, NodeEpoch, Lsn)> {
    let part = |from: u32, bits: u32| (id.0 >> from) & ((1 << bits) - 1);
    (id.0 & BORN_IN_WAL != 0).then(|| {
        let node = u32::try_from(part(EPOCH_BITS + SEQ_BITS, NODE_BITS)).expect("these are few bits");
        (NodeId(node), NodeEpoch(part(SEQ_BITS, EPOCH_BITS)), Lsn(part(0, SEQ_BITS)))
    })
}

/// The name of an object in the bucket.
#[must_use]
pub fn key(id: ObjectId) -> Key {
    match place_in_wal(id) {
        Some((node, epoch, seq)) => wal_object::key(node, epoch, seq),
        None => Key(format!("{PREFIX}{:02x}/{:016x}", spread(id), id.0)),
    }
}

/// The object of that name; `None` unless it is exactly what [`key`] makes of a leased number.
#[must_use]
pub fn parse_key(key: &Key) -> Option<ObjectId> {
    let (prefix, digits) = key.0.strip_prefix(PREFIX)?.split_once('/')?;
    let lower = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if prefix.len() != 2 || digits.len() != 16 || !lower(prefix) || !lower(digits) {
        return None;
    }
    let id = ObjectId(u64::from_str_radix(digits, 16).ok()?);
    let is_spread = u8::from_str_radix(prefix, 16).ok()? == spread(id);
    (is_spread && id.0 & BORN_IN_WAL == 0).then_some(id)
}

/// The object of that name, also if it was born in a WAL; whether it ever became data, the metadata says.
#[must_use]
pub fn parse_any_key(key: &Key) -> Option<ObjectId> {
    let in_wal = || wal_object::parse_key(key).and_then(|(node, epoch, seq)| id_in_wal(node, epoch, seq));
    parse_key(key).or_else(in_wal)
}

/// Fixed for ever: it is part of every object's name.
const fn spread(id: ObjectId) -> u8 {
    let mut hash = id.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash >> 56) as u8
}
