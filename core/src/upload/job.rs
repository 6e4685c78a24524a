//! One cut on its way into the metadata.

use super::object::Upload;
use super::{Cut, CutRange};
use crate::id::ObjectId;
use crate::metadata::Commit;
use alloc::vec::Vec;

/// Counts the cuts that arrived, whatever their epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobNumber(pub(super) u64);

impl JobNumber {
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A cut and its objects.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) cut: Cut,
    /// Bytes of its batches.
    pub(super) bytes: u64,
    pub(super) objects: Vec<Upload>,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for earlier cuts.
    Queued,
    /// Its objects are being put, or all are.
    Uploading,
    /// The controller is asked.
    Committing,
}

impl Job {
    /// The cut as it is to be uploaded: streams with `split` bytes get an object of their own.
    pub(super) fn new(cut: Cut, split: u64) -> Self {
        let bytes = cut.ranges.iter().map(|range| range.bytes() as u64).sum();
        let objects = divide(&cut.ranges, split).into_iter().map(Upload::new).collect();
        Self { cut, bytes, objects, stage: Stage::Queued }
    }

    /// Whether it was begun and is not all in the bucket.
    pub(super) fn is_uploading(&self) -> bool {
        self.stage == Stage::Uploading && !self.is_stored()
    }

    /// Whether all of it is in the bucket.
    pub(super) fn is_stored(&self) -> bool {
        self.objects.iter().all(Upload::is_stored)
    }

    /// An object's lease ended before the commit: it goes to the bucket again, under another id. `false` if none of the
    /// cut's objects has that id.
    pub(super) fn renew(&mut self, id: ObjectId) -> bool {
        assert_eq!(self.stage, Stage::Committing, "a lease ends at the commit");
        let Some(upload) = self.objects.iter_mut().find(|upload| upload.id() == Some(id)) else { return false };
        upload.renew();
        self.stage = Stage::Uploading;
        true
    }

    pub(super) fn commit(&self) -> Commit {
        Commit {
            epoch: self.cut.epoch,
            recovery: self.cut.recovery,
            number: self.cut.number,
            lsn: self.cut.lsn,
            objects: self.objects.iter().map(Upload::commit).chain(self.cut.stored.clone()).collect(),
        }
    }

    pub(super) fn invariants(&self) {
        let begun = self.objects.iter().any(|upload| upload.id().is_some());
        assert!(self.stage != Stage::Queued || !begun, "a queued cut has no objects");
        assert!(self.stage != Stage::Committing || self.is_stored(), "what is being committed is stored");
        assert!(self.cut.stored.is_none() || self.objects.is_empty(), "what is stored already is committed alone");
        let held: usize = self.objects.iter().map(|upload| upload.members().len()).sum();
        assert_eq!(held, self.cut.ranges.len(), "each range is in one object");
    }
}

/// Which ranges go into which object: first those that share one, then each large one.
fn divide(ranges: &[CutRange], split: u64) -> Vec<Vec<usize>> {
    let (large, small): (Vec<usize>, Vec<usize>) =
        (0..ranges.len()).partition(|at| ranges[*at].bytes() as u64 >= split);
    let shared = (!small.is_empty()).then_some(small);
    shared.into_iter().chain(large.into_iter().map(|at| alloc::vec![at])).collect()
}
