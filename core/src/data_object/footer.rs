//! The footer: the last bytes of an object, from which everything else is found.

use super::VERSION;
use crate::envelope::{self, DecodeError, Fields, HEAD, Kind};
use crate::id::{ClusterId, ObjectId};
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// Where an object's index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The index block's position in the object.
    pub index_at: u64,
    /// Its length.
    pub index_len: u32,
}

impl Footer {
    /// Its own length in bytes.
    pub const LEN: usize = HEAD + BODY;

    pub(super) fn encode(self, cluster: ClusterId, object: ObjectId) -> Vec<u8> {
        let mut body = Vec::with_capacity(BODY);
        body.put_u64(object.0);
        body.put_u64(self.index_at);
        body.put_u32(self.index_len);
        body.put_u32(0);
        body.put_slice(&cluster.0);
        body.put_bytes(0, ROOM);
        envelope::seal(Kind::Footer, VERSION, &body)
    }

    /// Decodes it from the end of `bytes`, the last bytes of an object that is `total` bytes long.
    ///
    /// # Errors
    /// `Foreign` if it is another object's or another cluster's; `Malformed` if index and footer don't end the object; else what is wrong.
    pub fn decode(cluster: ClusterId, object: ObjectId, total: u64, bytes: &Bytes) -> Result<Self, DecodeError> {
        let at = bytes.len().checked_sub(Self::LEN).ok_or(DecodeError::Short)?;
        let (_, body) = envelope::open(Kind::Footer, VERSION, &bytes.slice(at..))?;
        if body.len() != BODY {
            return Err(DecodeError::Malformed);
        }
        let mut body = Fields::new(body);
        if body.u64()? != object.0 {
            return Err(DecodeError::Foreign);
        }
        let footer = Self { index_at: body.u64()?, index_len: body.u32()? };
        if body.u32()? != 0 {
            return Err(DecodeError::Unsupported);
        }
        if ClusterId(body.array()?) != cluster {
            return Err(DecodeError::Foreign);
        }
        let tail = u64::from(footer.index_len) + Self::LEN as u64;
        if footer.index_at.checked_add(tail) != Some(total) {
            return Err(DecodeError::Malformed);
        }
        Ok(footer)
    }

    /// The index block, if it is in `bytes`, which is the part of the object from `origin` on.
    #[must_use]
    pub fn index_in(&self, origin: u64, bytes: &Bytes) -> Option<Bytes> {
        super::slice(origin, bytes, self.index_at, self.index_len)
    }
}

/// Bytes at the end that may be skipped.
const ROOM: usize = 8;

const BODY: usize = 40 + ROOM;
