//! A bucket, as strict as the real one, that says what the metadata log in it folds to.

use crate::controller::log::{HEAD, Head, META, Segment, Snapshot};
use crate::id::Seq;
use crate::machine::Rng;
use crate::metadata::{Entry, Image};
use crate::store::{Cause, ETag, Fatal, Found, Key, Precondition, StoreDone, StoreError, StoreOp, StoreResult};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;

/// The bucket, and everything that was ever durable in its metadata log.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<Key, (Bytes, u64)>,
    versions: u64,
    /// Writes whose answer is given, and which take effect later, if at all.
    late: Vec<StoreOp>,
    /// Every durable entry, in order, and what they fold to.
    pub(super) log: Vec<Entry>,
    pub(super) image: Option<Image>,
    pub(super) swaps: u32,
    pub(super) spills: u32,
}

impl Bucket {
    /// Does it, without any fault.
    pub(super) fn apply(&mut self, op: &StoreOp) -> StoreResult {
        match op {
            StoreOp::Put { key, body, only_if } => self.put(key, body.to_bytes(), only_if),
            StoreOp::Get { key, .. } => {
                let (body, version) = self.objects.get(key).ok_or(StoreError::Missing)?;
                let total = body.len() as u64;
                Ok(StoreDone::Got { body: body.clone().into(), etag: etag(*version), total })
            }
            StoreOp::Delete { key } => {
                assert!(key.0 != HEAD, "the head is never deleted");
                self.objects.remove(key);
                self.observe();
                Ok(StoreDone::Deleted)
            }
            StoreOp::List { prefix, after, max } => {
                let below = |key: &Key| key.0.starts_with(&prefix.0) && after.as_ref().is_none_or(|after| key > after);
                let all = self.objects.iter().filter(|(key, _)| below(key));
                let mut found: Vec<Found> =
                    all.map(|(key, (body, _))| Found { key: key.clone(), len: body.len() as u64 }).collect();
                let more = found.len() > *max;
                found.truncate(*max);
                Ok(StoreDone::Listed { found, more })
            }
        }
    }

    /// Does it, perhaps wrongly, perhaps not at all, perhaps later.
    pub(super) fn apply_badly(&mut self, op: &StoreOp, rng: &mut Rng) -> StoreResult {
        let ambiguous = Err(StoreError::Ambiguous(
            *rng.pick(&[Cause::Throttled, Cause::Server, Cause::Timeout, Cause::CutOff]).expect("four"),
        ));
        let is_write = matches!(op, StoreOp::Put { .. } | StoreOp::Delete { .. });
        match rng.below(8) {
            0 if is_write => {
                self.late.push(op.clone());
                ambiguous
            }
            1 | 2 if is_write => {
                let _ = self.apply(op);
                ambiguous
            }
            // The store's own front end tried twice, and answers for the second time.
            3 if is_write => {
                let _ = self.apply(op);
                self.apply(op)
            }
            4 if is_write => Err(StoreError::Conflict),
            5 if is_write => Err(StoreError::Fatal(Fatal::NoSpace)),
            0..=2 => Err(*rng.pick(&[StoreError::Throttled, StoreError::Corrupt]).expect("two")),
            _ => ambiguous,
        }
    }

    /// What was thought lost happens, or is lost.
    pub(super) fn settle_one(&mut self, rng: &mut Rng) {
        if self.late.is_empty() {
            return;
        }
        let op = self.late.swap_remove(rng.below(self.late.len() as u64) as usize);
        if rng.chance(3, 4) {
            let _ = self.apply(&op);
        }
    }

    /// The sender died: its request is on its way all the same.
    pub(super) fn orphan(&mut self, op: StoreOp) {
        if matches!(op, StoreOp::Put { .. } | StoreOp::Delete { .. }) {
            self.late.push(op);
        }
    }

    pub(super) fn late(&self) -> usize {
        self.late.len()
    }

    /// What the log's first entries fold to.
    pub(super) fn image_at(&self, seq: Seq) -> Image {
        let last = self.image.as_ref().expect("there is a head");
        let mut image = Image::new(last.cluster, last.feature_level);
        for entry in &self.log[..seq.0 as usize] {
            image.apply(entry);
        }
        image
    }

    pub(super) fn head(&self) -> Option<Head> {
        let (bytes, _) = self.objects.get(&Key::from(HEAD))?;
        Some(Head::decode(bytes).expect("the head is sound"))
    }

    /// Metadata objects that the head does not refer to.
    pub(super) fn orphans(&self) -> Vec<Key> {
        let live: Vec<Key> = self.head().iter().flat_map(Head::references).chain([HEAD.into()]).collect();
        self.objects.keys().filter(|key| key.0.starts_with(META) && !live.contains(key)).cloned().collect()
    }

    fn put(&mut self, key: &Key, body: Bytes, only_if: &Precondition) -> StoreResult {
        let now = self.objects.get(key).map(|(_, version)| *version);
        match (only_if, now) {
            (Precondition::Absent, None) => {}
            (Precondition::Is(named), Some(version)) if *named == etag(version) => {}
            (Precondition::Is(_), None) => return Err(StoreError::Missing),
            (Precondition::Absent | Precondition::Is(_), _) => return Err(StoreError::Exists),
        }
        self.versions += 1;
        self.objects.insert(key.clone(), (body, self.versions));
        if key.0 == HEAD {
            self.swaps += 1;
        } else {
            self.spills += 1;
        }
        self.observe();
        Ok(StoreDone::Put { etag: etag(self.versions) })
    }

    /// Whatever happens to the bucket, the log only grows, and all of it can be folded.
    fn observe(&mut self) {
        let Some(head) = self.head() else { return };
        let read = |key: Key| &self.objects.get(&key).unwrap_or_else(|| panic!("{key} is referred to")).0;
        let mut folded = Image::new(head.cluster, head.feature_level);
        if let Some(name) = head.snapshot {
            folded = Snapshot::decode(read(name.snapshot()), head.cluster, name).expect("sound");
        }
        let mut entries = Vec::new();
        for name in &head.segments {
            entries.extend(Segment::decode(read(name.segment()), head.cluster, *name).expect("sound").entries);
        }
        entries.extend(head.inline);
        crate::controller::log::fold(&mut folded, &entries).expect("dense");
        let image = self.image.get_or_insert_with(|| Image::new(head.cluster, head.feature_level));
        assert!(folded.seq >= image.seq, "durable entries vanished");
        for entry in entries {
            match self.log.get(entry.seq.0 as usize - 1) {
                Some(known) => assert_eq!(*known, entry, "a durable entry changed"),
                None => {
                    assert!(self.log.last().is_none_or(|last| last.at <= entry.at), "time went back");
                    image.apply(&entry);
                    self.log.push(entry);
                }
            }
        }
        assert_eq!(*image, folded, "the head folds to the log");
    }
}

fn etag(version: u64) -> ETag {
    ETag(format!("\"{version}\""))
}
