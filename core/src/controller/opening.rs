//! From nothing to the cluster's state: reads the head and folds what it refers to.
//!
//! ```text
//! head --missing--> list meta/, data/, wal/ --nothing--> the bucket is empty
//!  |                        |
//!  |                     something --> head once more --missing--> refused: this bucket lost its head
//!  v                                       |
//! snapshot, segments <---------------------+
//!  |        ^
//!  |        +--- the head is another by now ---+
//!  |                                           |
//!  +--missing--> head once more ---------------+--- unchanged --> refused: an object was lost
//!  v
//! loaded
//! ```

use super::call::{Call, Io, get, hopeless};
use super::log::{DATA, HEAD, Head, META, Name, Segment, Snapshot, WAL, fold};
use super::swap::Stored;
use crate::envelope::DecodeError;
use crate::machine::{Deadline, Mark, OpId, sometimes};
use crate::mail::Halt;
use crate::metadata::Image;
use crate::store::{Key, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use bytes::Bytes;
use core::time::Duration;
use tracing::warn;

/// Where everything of Karst's is, `probe/` aside.
const OURS: &[&str] = &[META, DATA, WAL];

/// The opening under way.
#[derive(Debug)]
pub(super) struct Opening {
    call: Call,
    step: Step,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// More is to be read.
    Reading(Opening),
    /// There is nothing of Karst's in the bucket.
    Empty,
    /// All of it.
    Loaded(Box<Loaded>),
    /// The bucket can't be used.
    Refused(Halt),
}

/// A head and what it folds to.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) stored: Stored,
    pub(super) image: Image,
}

#[derive(Debug)]
enum Step {
    Head(Look),
    /// Listing the first of these.
    Survey(&'static [&'static str]),
    /// Reading the first of these.
    Load(Box<Loaded>, VecDeque<Part>),
}

/// Why the head is read.
#[derive(Debug)]
enum Look {
    First,
    /// It was missing, and yet this was in the bucket.
    Stray(Key),
    /// It was these bytes, and this was missing.
    Lost(Bytes, Key),
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Snapshot(Name),
    Segment(Name),
}

impl Opening {
    /// Begins after a pause.
    pub(super) fn start(io: &Io<'_>, pause: Duration) -> Self {
        Self { call: Call::after(io, get(HEAD), pause), step: Step::Head(Look::First) }
    }

    /// Whether this completion is its own.
    pub(super) fn owns(&self, id: OpId) -> bool {
        self.call.owns(id)
    }

    /// Goes on after a pause.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        self.call.tick(io);
    }

    /// When the pause is over.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.call.deadline("retry of reading the metadata")
    }

    /// Goes on after a completion.
    pub(super) fn completed(mut self, io: &mut Io<'_>, result: StoreResult) -> Progress {
        if let Err(error) = result
            && error != StoreError::Missing
        {
            let (StoreOp::Get { key, .. } | StoreOp::List { prefix: key, .. }) = self.call.op() else {
                unreachable!("an opening only reads")
            };
            if let Some(halt) = hopeless("reading", &key.0, error) {
                return Progress::Refused(halt);
            }
            warn!(%key, %error, "metadata can't be read; trying again");
            self.call.again(io);
            return Progress::Reading(self);
        }
        let Self { call, step } = self;
        match step {
            Step::Head(look) => head_read(call, look, io, result),
            Step::Survey(prefixes) => surveyed(call, prefixes, io, result),
            Step::Load(loaded, parts) => part_read(call, loaded, parts, io, result),
        }
    }
}

fn head_read(mut call: Call, look: Look, io: &mut Io<'_>, result: StoreResult) -> Progress {
    match (result, look) {
        (Ok(StoreDone::Got { body, .. }), Look::Lost(seen, missing)) if *body == seen => {
            Progress::Refused(Halt::Bucket(format!(
                "{missing} is missing, but meta/head refers to it: restore it, or the whole bucket, from a backup"
            )))
        }
        (Ok(StoreDone::Got { body, etag, .. }), _) => match Head::decode(&body) {
            Err(error) => Progress::Refused(unreadable(HEAD, error)),
            Ok(head) => {
                let image = Image::new(head.cluster, head.feature_level);
                let parts = head.snapshot.iter().map(|name| Part::Snapshot(*name));
                let parts = parts.chain(head.segments.iter().map(|name| Part::Segment(*name))).collect();
                load(call, Box::new(Loaded { stored: Stored { head, bytes: body.0, etag }, image }), parts, io)
            }
        },
        (Err(StoreError::Missing), Look::First) => {
            call.next(io, list(OURS[0]));
            Progress::Reading(Opening { call, step: Step::Survey(OURS) })
        }
        (Err(StoreError::Missing), Look::Stray(key) | Look::Lost(_, key)) => Progress::Refused(Halt::Bucket(format!(
            "the bucket holds objects of a Karst cluster (such as {key}) but no meta/head: restore that object; the \
             bucket is not initialised again, since that would give up everything in it. A new cluster needs an empty \
             bucket and a blank WAL"
        ))),
        (other, _) => unreachable!("a get was answered with {other:?}"),
    }
}

fn surveyed(mut call: Call, prefixes: &'static [&'static str], io: &mut Io<'_>, result: StoreResult) -> Progress {
    let found = match result {
        Ok(StoreDone::Listed { found, .. }) => found,
        Err(_) => {
            call.again(io);
            return Progress::Reading(Opening { call, step: Step::Survey(prefixes) });
        }
        Ok(other) => unreachable!("a list was answered with {other:?}"),
    };
    let step = match (found.into_iter().next(), &prefixes[1..]) {
        (Some(stray), _) => {
            call.next(io, get(HEAD));
            Step::Head(Look::Stray(stray.key))
        }
        (None, []) => return Progress::Empty,
        (None, rest) => {
            call.next(io, list(rest[0]));
            Step::Survey(rest)
        }
    };
    Progress::Reading(Opening { call, step })
}

fn part_read(
    mut call: Call,
    mut loaded: Box<Loaded>,
    mut parts: VecDeque<Part>,
    io: &mut Io<'_>,
    result: StoreResult,
) -> Progress {
    let part = parts.pop_front().expect("the part that was read");
    match result {
        Ok(StoreDone::Got { body, .. }) => match loaded.add(part, &body) {
            Ok(()) => load(call, loaded, parts, io),
            Err(error) => Progress::Refused(unreadable(&part.key().0, error)),
        },
        Err(_) => {
            call.next(io, get(HEAD));
            Progress::Reading(Opening { call, step: Step::Head(Look::Lost(loaded.stored.bytes, part.key())) })
        }
        Ok(other) => unreachable!("a get was answered with {other:?}"),
    }
}

/// Reads the next part, or folds the inline entries when there is none.
fn load(mut call: Call, mut loaded: Box<Loaded>, parts: VecDeque<Part>, io: &mut Io<'_>) -> Progress {
    if let Some(part) = parts.front() {
        call.next(io, get(part.key()));
        return Progress::Reading(Opening { call, step: Step::Load(loaded, parts) });
    }
    let head = &loaded.stored.head;
    let parts = [head.snapshot.is_some(), !head.segments.is_empty(), !head.inline.is_empty()];
    sometimes!(Mark::OpenedFromAllParts, parts == [true; 3]);
    match fold(&mut loaded.image, &loaded.stored.head.inline) {
        Ok(()) => Progress::Loaded(loaded),
        Err(error) => Progress::Refused(unreadable(HEAD, error)),
    }
}

impl Loaded {
    fn add(&mut self, part: Part, bytes: &Bytes) -> Result<(), DecodeError> {
        let cluster = self.stored.head.cluster;
        match part {
            Part::Snapshot(name) => self.image = Snapshot::decode(bytes, cluster, name)?,
            Part::Segment(name) => fold(&mut self.image, &Segment::decode(bytes, cluster, name)?.entries)?,
        }
        Ok(())
    }
}

impl Part {
    fn key(self) -> Key {
        match self {
            Self::Snapshot(name) => name.snapshot(),
            Self::Segment(name) => name.segment(),
        }
    }
}

fn list(prefix: &str) -> StoreOp {
    StoreOp::List { prefix: prefix.into(), after: None, max: 1 }
}

fn unreadable(key: &str, error: DecodeError) -> Halt {
    let advice = match error {
        DecodeError::Unsupported => "upgrade this broker",
        _ => "restore it, or the whole bucket, from a backup",
    };
    Halt::Bucket(format!("{key} {error}: {advice}"))
}
