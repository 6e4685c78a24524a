//! One object on its way into the bucket.

use super::CutRange;
use crate::data_object::{self, Built};
use crate::id::{ClusterId, ObjectId};
use crate::machine::{Backoff, Instant, Mark, Now, OpId, Rng, sometimes};
use crate::mail::Halt;
use crate::metadata::CommitObject;
use crate::store::attempts::Attempts;
use crate::store::{Fatal, Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// Some of a cut's ranges, and how far their object is.
#[derive(Debug)]
pub(super) struct Upload {
    /// Positions among the cut's ranges.
    members: Vec<usize>,
    /// The object, from the moment on at which it has an id.
    object: Option<Object>,
}

/// Bytes that differ so often differ in the bucket, not on the way from there.
const COMPARISONS: u32 = 3;

#[derive(Debug)]
struct Object {
    id: ObjectId,
    built: Built,
    attempts: Attempts<Step>,
    history: History,
    differed: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Put it, unless it is there.
    Put,
    /// It is there: see whether it is what was put.
    Compare,
}

/// Whether the object can be there by an attempt of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// The first attempt is still to be answered.
    Fresh,
    /// An earlier attempt may have taken effect, or still may.
    Attempted,
}

/// What a completion means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The object is durable.
    Stored,
    /// It is asked again, at once or later.
    Again,
    /// As above, because there is no space.
    NoSpace,
}

impl Upload {
    pub(super) const fn new(members: Vec<usize>) -> Self {
        Self { members, object: None }
    }

    /// Positions of its ranges in the cut.
    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    /// Builds the object under an id of its own; its bytes are fixed from now on.
    pub(super) fn fix(&mut self, cluster: ClusterId, id: ObjectId, data_block: u32, ranges: &[CutRange]) {
        assert!(self.object.is_none(), "an object has one id");
        let built = data_object::build(cluster, id, data_block, self.members.iter().map(|at| &ranges[*at]));
        self.object = Some(Object {
            id,
            built,
            attempts: Attempts::new(Step::Put, Backoff::new(Duration::from_millis(100), Duration::from_secs(10))),
            history: History::Fresh,
            differed: 0,
        });
    }

    /// Forgets the id, and the object with it. The scrubber deletes what was put.
    pub(super) fn renew(&mut self) {
        assert!(self.is_stored(), "an object is committed when it is stored");
        self.object = None;
    }

    pub(super) fn id(&self) -> Option<ObjectId> {
        self.object.as_ref().map(|object| object.id)
    }

    /// Bytes to be put.
    pub(super) fn size(&self) -> u64 {
        self.object.as_ref().map_or(0, |object| object.built.body.len() as u64)
    }

    pub(super) fn is_stored(&self) -> bool {
        self.attempts().is_some_and(Attempts::is_done)
    }

    /// Whether a request is to be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.attempts().is_some_and(Attempts::is_ready)
    }

    /// The request in flight.
    pub(super) fn waits_for(&self) -> Option<OpId> {
        self.attempts().and_then(Attempts::waits_for)
    }

    /// When it is to be asked again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.attempts().and_then(Attempts::wakes_at)
    }

    pub(super) fn wake(&mut self, now: Now) {
        if let Some(object) = &mut self.object {
            object.attempts.wake(now);
        }
    }

    /// The request to be sent, known as `op`.
    pub(super) fn request(&mut self, op: OpId) -> StoreOp {
        let object = self.object.as_mut().expect("an object that is ready has an id");
        let key = data_object::key(object.id);
        match object.attempts.begin(op) {
            Step::Put => StoreOp::Put { key, body: object.built.body.clone(), only_if: Precondition::Absent },
            Step::Compare => StoreOp::Get { key, span: Span::Last { len: object.built.tail.len() as u64 } },
        }
    }

    /// Takes the completion of the request.
    ///
    /// # Errors
    /// What the node must stop for.
    pub(super) fn completed(&mut self, now: Now, result: StoreResult, rng: &mut Rng) -> Result<Judgement, Halt> {
        let object = self.object.as_mut().expect("an object with a request has an id");
        match object.attempts.answered() {
            Step::Put => object.was_put(now, result, rng),
            Step::Compare => object.was_read(now, result, rng),
        }
    }

    pub(super) fn commit(&self) -> CommitObject {
        let object = self.object.as_ref().expect("an object is committed when it is stored");
        CommitObject { id: object.id, size: object.built.body.len() as u64, ranges: object.built.ranges.clone() }
    }

    fn attempts(&self) -> Option<&Attempts<Step>> {
        self.object.as_ref().map(|object| &object.attempts)
    }
}

impl Object {
    fn was_put(&mut self, now: Now, result: StoreResult, rng: &mut Rng) -> Result<Judgement, Halt> {
        let history = core::mem::replace(&mut self.history, History::Attempted);
        match result {
            Ok(StoreDone::Put { .. }) => Ok(self.stored()),
            Ok(other) => unreachable!("a put completed as {other:?}"),
            Err(StoreError::Exists) if history == History::Attempted => {
                self.attempts.go_on(Step::Compare);
                Ok(Judgement::Again)
            }
            Err(StoreError::Exists) => Err(self.taken()),
            Err(error) => self.failed(now, Step::Put, error, rng),
        }
    }

    fn was_read(&mut self, now: Now, result: StoreResult, rng: &mut Rng) -> Result<Judgement, Halt> {
        match result {
            Ok(StoreDone::Got { body, total, .. }) => {
                let same = total == self.built.body.len() as u64 && body.0 == self.built.tail;
                self.differed += u32::from(!same);
                sometimes!(Mark::OwnObjectRecognised, same);
                match same {
                    true => Ok(self.stored()),
                    false if self.differed < COMPARISONS => Ok(self.rest(now, Step::Compare, rng)),
                    false => Err(self.taken()),
                }
            }
            Ok(other) => unreachable!("a get completed as {other:?}"),
            // It was there a moment ago: its lease ended and the scrubber took it, which the commit will say.
            Err(StoreError::Missing) => Ok(self.rest(now, Step::Put, rng)),
            Err(error) => self.failed(now, Step::Compare, error, rng),
        }
    }

    fn failed(&mut self, now: Now, step: Step, error: StoreError, rng: &mut Rng) -> Result<Judgement, Halt> {
        if !error.may_pass() {
            return Err(hopeless(self.id, error));
        }
        tracing::debug!(object = %self.id, attempts = self.attempts.rests(), %error, "an upload is tried again");
        self.rest(now, step, rng);
        let no_space = error == StoreError::Fatal(Fatal::NoSpace);
        Ok(if no_space { Judgement::NoSpace } else { Judgement::Again })
    }

    fn stored(&mut self) -> Judgement {
        self.attempts.done();
        Judgement::Stored
    }

    fn rest(&mut self, now: Now, step: Step, rng: &mut Rng) -> Judgement {
        self.attempts.rest(now, step, rng);
        Judgement::Again
    }

    fn taken(&self) -> Halt {
        let key = data_object::key(self.id);
        Halt::Bucket(format!(
            "{key} exists in the bucket with a content that this broker did not write, although its id was leased to it \
             alone: the bucket was restored from another copy, or is used by two clusters. Nothing is lost: the records \
             are in the write-ahead log"
        ))
    }
}

/// Why an object can't be uploaded, and what to do about it.
fn hopeless(id: ObjectId, error: StoreError) -> Halt {
    let remedy = match error {
        StoreError::Denied => "allow this broker to create and read objects in the bucket",
        StoreError::Missing | StoreError::Fatal(Fatal::NoBucket) => {
            "restore the bucket or directory, or correct its name"
        }
        StoreError::Fatal(Fatal::ReadOnly) => "make the store writable",
        StoreError::Fatal(Fatal::SyncFailed) => "check the disk (dmesg)",
        _ => "check that the store supports conditional puts and objects of this size",
    };
    let key = data_object::key(id);
    Halt::Bucket(format!(
        "uploading {key} failed: {error}. To mend it, {remedy}, then start the broker again; the records are safe in the \
         write-ahead log"
    ))
}
