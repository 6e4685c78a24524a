//! A bucket whose requests end in any order.

use crate::machine::{OpId, Rng};
use crate::store::{Cause, ETag, Key, Precondition, Span, StoreCall, StoreDone, StoreError, StoreOp, StoreResult};
use crate::wal::object::format::PREFIX;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<Key, Bytes>,
    /// Requests whose callers have given up.
    pub(super) late: Vec<StoreOp>,
}

/// Requests of one caller.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<(OpId, StoreOp)>);

impl Pending {
    pub(super) fn submit(&mut self, op: OpId, call: StoreCall) {
        assert!(self.0.iter().all(|(other, _)| *other != op), "one completion for each");
        self.0.push((op, call.op));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn ops(&self) -> impl Iterator<Item = &StoreOp> {
        self.0.iter().map(|(_, op)| op)
    }

    /// Ends one request, any of them.
    pub(super) fn complete(&mut self, bucket: &mut Bucket, rng: &mut Rng) -> (OpId, StoreResult) {
        let (id, op) = self.0.swap_remove(rng.below(self.0.len() as u64) as usize);
        (id, bucket.perform(&op))
    }

    /// Ends the first request that fits.
    pub(super) fn complete_one(&mut self, bucket: &mut Bucket, fits: impl Fn(&StoreOp) -> bool) -> (OpId, StoreResult) {
        let at = self.0.iter().position(|(_, op)| fits(op)).expect("such a request");
        let (id, op) = self.0.remove(at);
        (id, bucket.perform(&op))
    }

    /// Ends the first request that fits in this way.
    pub(super) fn fail_one(&mut self, fits: impl Fn(&StoreOp) -> bool, error: StoreError) -> (OpId, StoreResult) {
        let at = self.0.iter().position(|(_, op)| fits(op)).expect("such a request");
        (self.0.remove(at).0, Err(error))
    }

    /// Ends one request without an answer: it takes effect now, later, or never.
    pub(super) fn lose(&mut self, bucket: &mut Bucket, rng: &mut Rng) -> (OpId, StoreResult) {
        let (id, op) = self.0.swap_remove(rng.below(self.0.len() as u64) as usize);
        bucket.forget(op, rng);
        let error = if rng.chance(1, 3) { StoreError::Conflict } else { StoreError::Ambiguous(Cause::Timeout) };
        (id, Err(error))
    }

    /// The caller is gone.
    pub(super) fn abandon(&mut self, bucket: &mut Bucket, rng: &mut Rng) {
        self.0.drain(..).for_each(|(_, op)| bucket.forget(op, rng));
    }
}

impl Bucket {
    /// What was late takes effect.
    pub(super) fn land_one(&mut self, rng: &mut Rng) {
        if !self.late.is_empty() {
            let op = self.late.swap_remove(rng.below(self.late.len() as u64) as usize);
            let _ = self.perform(&op);
        }
    }

    fn forget(&mut self, op: StoreOp, rng: &mut Rng) {
        match rng.below(3) {
            0 => drop(self.perform(&op)),
            1 if !matches!(op, StoreOp::Get { .. }) => self.late.push(op),
            _ => {}
        }
    }

    fn perform(&mut self, op: &StoreOp) -> StoreResult {
        let etag = ETag("e".to_string());
        match op {
            StoreOp::Put { key, body, only_if } => {
                assert_eq!(*only_if, Precondition::Absent, "no object of a WAL is ever replaced");
                assert!(key.0.starts_with(PREFIX), "{key}");
                if self.objects.contains_key(key) {
                    return Err(StoreError::Exists);
                }
                self.objects.insert(key.clone(), body.to_bytes());
                Ok(StoreDone::Put { etag })
            }
            StoreOp::Get { key, span } => {
                let body = self.objects.get(key).ok_or(StoreError::Missing)?;
                let end = match span {
                    Span::Whole => body.len(),
                    Span::Range { at: 0, len } => body.len().min(*len as usize),
                    span => panic!("{span:?} is asked for"),
                };
                Ok(StoreDone::Got { body: body.slice(..end).into(), etag, total: body.len() as u64 })
            }
            StoreOp::Delete { key } => {
                self.objects.remove(key);
                Ok(StoreDone::Deleted)
            }
            StoreOp::List { .. } => panic!("a WAL never lists"),
        }
    }
}
