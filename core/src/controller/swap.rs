//! One replacement of the head, to its end: won, lost, or hopeless.
//!
//! The bytes are fixed at the first attempt, and name the version of the head from whose fold they were derived. After
//! an ambiguous answer, and after every 412 (which may be about one's own late put), the head is read, and contents are
//! compared, never ETags:
//!
//! | the head holds | then |
//! |---|---|
//! | these bytes | they are durable, whenever they landed |
//! | what the put replaces | the same bytes again |
//! | anything else | somebody else replaced it |

use super::call::{Call, Io, get, hopeless, put};
use super::log::{HEAD, Head};
use crate::machine::{Deadline, Mark, OpId, sometimes};
use crate::mail::Halt;
use crate::metadata::{Command, Entry};
use crate::store::{ETag, Precondition, StoreDone, StoreError, StoreOp, StoreResult};
use bytes::Bytes;
use tracing::{info, warn};

/// A head that is durable, as far as one knows.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) head: Head,
    pub(super) bytes: Bytes,
    pub(super) etag: ETag,
}

/// A replacement under way.
#[derive(Debug)]
pub(super) struct Swap {
    /// What is replaced; nothing in an empty bucket.
    base: Option<(Bytes, ETag)>,
    head: Head,
    bytes: Bytes,
    call: Call,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing is known yet.
    Pending(Swap),
    /// The new head is durable.
    Won(Stored),
    /// The head is another's, these bytes. It can't become this one any more.
    Lost(Bytes),
    /// No use in going on.
    Hopeless(Halt),
}

impl Swap {
    /// Replaces `base` by `head`.
    pub(super) fn start(io: &mut Io<'_>, base: Option<&Stored>, head: Head) -> Self {
        let bytes = head.encode();
        let base = base.map(|stored| (stored.bytes.clone(), stored.etag.clone()));
        assert!(base.as_ref().is_none_or(|(base, _)| *base != bytes), "no two heads are equal");
        let call = Call::new(io, put_op(&base, &bytes));
        Self { base, head, bytes, call }
    }

    /// The head that it wants.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The bytes that it replaces.
    pub(super) fn base(&self) -> Option<&Bytes> {
        self.base.as_ref().map(|(bytes, _)| bytes)
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        self.call.owns(id)
    }

    /// Goes on after a completion.
    pub(super) fn completed(self, io: &mut Io<'_>, result: StoreResult) -> Verdict {
        match self.call.op() {
            StoreOp::Put { .. } => self.put_done(io, result),
            _ => self.read(io, result),
        }
    }

    /// Goes on after a pause.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        self.call.tick(io);
    }

    /// When the pause is over.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.call.deadline("retry of the metadata head")
    }

    fn put_done(mut self, io: &mut Io<'_>, result: StoreResult) -> Verdict {
        match result {
            Ok(StoreDone::Put { etag }) => return self.won(etag),
            Ok(other) => unreachable!("a put was answered with {other:?}"),
            Err(StoreError::Exists) => self.call.next(io, get(HEAD)),
            Err(StoreError::Conflict) => {
                sometimes!(Mark::SwapConflict);
                self.call.again(io);
            }
            Err(error) if hopeless("writing", HEAD, error).is_some() => {
                return Verdict::Hopeless(hopeless("writing", HEAD, error).expect("just seen"));
            }
            Err(error @ StoreError::Fatal(_)) => {
                warn!(%error, "the metadata head can't be written; trying again");
                self.call.again(io);
            }
            Err(error) => {
                let is_compaction = |entry: &Entry| matches!(*entry.by.command, Command::Compact(_));
                sometimes!(Mark::CompactionAmbiguous, self.head.inline.last().is_some_and(is_compaction));
                info!(%error, "reading back whether the metadata head was written");
                self.call.next_later(io, get(HEAD));
            }
        }
        Verdict::Pending(self)
    }

    fn read(mut self, io: &mut Io<'_>, result: StoreResult) -> Verdict {
        let is_own = |got: &StoreDone| matches!(got, StoreDone::Got { body, .. } if **body == self.bytes);
        sometimes!(Mark::OwnSwapRecognised, result.as_ref().is_ok_and(is_own));
        match result {
            Ok(StoreDone::Got { body, etag, .. }) if *body == self.bytes => return self.won(etag),
            Ok(StoreDone::Got { body, etag, .. }) => match &mut self.base {
                Some((base, named)) if *base == *body => {
                    *named = etag;
                    sometimes!(Mark::SwapTriedAgain);
                    self.put_again(io);
                }
                _ => return Verdict::Lost(body.0),
            },
            Ok(other) => unreachable!("a get was answered with {other:?}"),
            Err(StoreError::Missing) if self.base.is_none() => self.put_again(io),
            Err(StoreError::Missing) => return Verdict::Hopeless(head_is_gone()),
            Err(error) => match hopeless("reading", HEAD, error) {
                Some(halt) => return Verdict::Hopeless(halt),
                None => self.call.again(io),
            },
        }
        Verdict::Pending(self)
    }

    fn put_again(&mut self, io: &mut Io<'_>) {
        let op = put_op(&self.base, &self.bytes);
        self.call.next_later(io, op);
    }

    fn won(self, etag: ETag) -> Verdict {
        Verdict::Won(Stored { head: self.head, bytes: self.bytes, etag })
    }
}

fn put_op(base: &Option<(Bytes, ETag)>, bytes: &Bytes) -> StoreOp {
    let only_if = base.as_ref().map_or(Precondition::Absent, |(_, etag)| Precondition::Is(etag.clone()));
    put(HEAD, bytes.clone(), only_if)
}

fn head_is_gone() -> Halt {
    Halt::Bucket(
        "meta/head was deleted while this broker led: the cluster's metadata is gone; restore the object before any \
         broker is started again"
            .into(),
    )
}
