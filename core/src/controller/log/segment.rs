//! A segment: entries that no longer fit into the head.

use super::{Name, VERSION, are_dense};
use crate::envelope::{self, DecodeError, Fields, Kind};
use crate::id::{ClusterId, Seq};
use crate::metadata::Entry;
use crate::metadata::codec::{Record, record};
use alloc::vec::Vec;
use bytes::Bytes;

/// Entries up to the SEQ in its name.
///
/// The body of an envelope of kind 4:
///
/// ```text
///  0         16
///  +---------+---------------+-----------------------------------------+
///  | cluster | name (record) | entries: list of entries, dense, up to   |
///  |         |               | the name's SEQ, at least one             |
///  +---------+---------------+-----------------------------------------+
///  | what later versions append
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Segment {
    pub(in crate::controller) cluster: ClusterId,
    pub(in crate::controller) name: Name,
    pub(in crate::controller) entries: Vec<Entry>,
}

record!(Segment { cluster, name, entries });

impl Segment {
    /// As bytes.
    pub(in crate::controller) fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        self.put_fields(&mut body);
        envelope::seal(Kind::Segment, VERSION, &body).into()
    }

    /// From bytes that stood under `name` in the bucket of `cluster`. `Foreign` if they belong elsewhere.
    pub(in crate::controller) fn decode(bytes: &Bytes, cluster: ClusterId, name: Name) -> Result<Self, DecodeError> {
        let (_, body) = envelope::open(Kind::Segment, VERSION, bytes)?;
        let segment = Self::take_fields(&mut Fields::new(body))?;
        if segment.cluster != cluster || segment.name != name {
            return Err(DecodeError::Foreign);
        }
        let before = segment.entries.first().and_then(|entry| entry.seq.0.checked_sub(1));
        let dense = before.is_some_and(|before| are_dense(Seq(before), &segment.entries));
        let reaches = segment.entries.last().is_some_and(|entry| entry.seq == name.seq);
        if dense && reaches { Ok(segment) } else { Err(DecodeError::Malformed) }
    }
}
