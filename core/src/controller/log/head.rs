//! The head: the one object that is replaced, always by compare-and-swap.

use super::{Name, VERSION, are_dense};
use crate::envelope::{self, DecodeError, Fields, Kind};
use crate::id::{ClusterId, FeatureLevel, Incarnation, NodeEpoch, NodeId, Seq, Term};
use crate::metadata::codec::{Field, record};
use crate::metadata::{Entry, FEATURE_LEVEL};
use crate::store::Key;
use alloc::vec::Vec;
use bytes::Bytes;

/// What the cluster's state is the fold of, and who wrote that.
///
/// The body of an envelope of kind 3; lists, options, records and entries as in `metadata::codec`:
///
/// ```text
///  0         16              18       26
///  +---------+---------------+--------+------------------+
///  | cluster | feature level | term   | writer (record)  |
///  +---------+---------------+--------+------------------+
///  | last SEQ u64 | snapshot: option of name             |
///  +--------------+--------------------------------------+
///  | segments: list of names, oldest first               |
///  +-----------------------------------------------------+
///  | inline: list of entries, dense, up to last SEQ      |
///  +-----------------------------------------------------+
///  | what later versions append                          |
///
///  writer: node u32 | node epoch u64 | incarnation | nonce u64
///  name:   term u64 | last SEQ u64 | nonce u64
/// ```
/// The writer's nonce is drawn for every head, so that no two are equal, and equal bytes mean the same head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Head {
    pub(in crate::controller) cluster: ClusterId,
    pub(in crate::controller) feature_level: FeatureLevel,
    pub(in crate::controller) term: Term,
    pub(in crate::controller) writer: Writer,
    pub(in crate::controller) last: Seq,
    pub(in crate::controller) snapshot: Option<Name>,
    pub(in crate::controller) segments: Vec<Name>,
    pub(in crate::controller) inline: Vec<Entry>,
}

/// Who wrote a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Writer {
    /// The broker.
    pub(in crate::controller) node: NodeId,
    /// Its epoch, as far as it is registered in this log; else 0.
    pub(in crate::controller) epoch: NodeEpoch,
    /// Its run.
    pub(in crate::controller) incarnation: Incarnation,
    /// Of this head.
    pub(in crate::controller) nonce: u64,
}

record!(Writer { node, epoch, incarnation, nonce });

impl Head {
    /// The head of a cluster that knows nothing yet.
    pub(in crate::controller) fn first(cluster: ClusterId, writer: Writer) -> Self {
        Self {
            cluster,
            feature_level: FEATURE_LEVEL,
            term: Term(1),
            writer,
            last: Seq(0),
            snapshot: None,
            segments: Vec::new(),
            inline: Vec::new(),
        }
    }

    /// As bytes.
    pub(in crate::controller) fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        let out = &mut body;
        self.cluster.put(out);
        self.feature_level.put(out);
        self.term.put(out);
        self.writer.put(out);
        self.last.put(out);
        self.snapshot.put(out);
        self.segments.put(out);
        self.inline.put(out);
        envelope::seal(Kind::Head, VERSION, &body).into()
    }

    /// From bytes. A head above the feature level of this build is `Unsupported`.
    pub(in crate::controller) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (_, body) = envelope::open(Kind::Head, VERSION, bytes)?;
        let mut body = Fields::new(body);
        let from = &mut body;
        let (cluster, feature_level) = (Field::take(from)?, Field::take(from)?);
        if feature_level > FEATURE_LEVEL {
            return Err(DecodeError::Unsupported);
        }
        let head = Self {
            cluster,
            feature_level,
            term: Field::take(from)?,
            writer: Field::take(from)?,
            last: Field::take(from)?,
            snapshot: Field::take(from)?,
            segments: Field::take(from)?,
            inline: Field::take(from)?,
        };
        if head.is_sound() { Ok(head) } else { Err(DecodeError::Malformed) }
    }

    /// The entry after which the inline ones begin.
    pub(in crate::controller) fn before_inline(&self) -> Seq {
        self.segments.last().or(self.snapshot.as_ref()).map_or(Seq(0), |name| name.seq)
    }

    /// Length of the inline entries in bytes.
    pub(in crate::controller) fn inline_len(&self) -> usize {
        let mut out = Vec::new();
        self.inline.iter().for_each(|entry| entry.put(&mut out));
        out.len()
    }

    /// The keys of all objects that it refers to.
    pub(in crate::controller) fn references(&self) -> impl Iterator<Item = Key> {
        let snapshot = self.snapshot.iter().map(|name| name.snapshot());
        snapshot.chain(self.segments.iter().map(|name| name.segment()))
    }

    /// Whether references ascend and the inline entries reach from them to the last.
    fn is_sound(&self) -> bool {
        let names = || self.snapshot.iter().chain(&self.segments);
        let ascend = names().zip(names().skip(1)).all(|(one, next)| one.seq < next.seq && one.term <= next.term);
        let known = names().all(|name| name.term <= self.term);
        let after = self.before_inline();
        let reached = self.inline.last().map_or(after, |entry| entry.seq);
        let bounded = self.term.0 < crate::metadata::bounds::COUNTER;
        ascend && known && bounded && are_dense(after, &self.inline) && reached == self.last
    }
}
