//! What the bucket holds, and what each operation does to it: atomic, strongly consistent.

use super::knobs::Etags;
use crate::time::SimTime;
use crate::trace::TraceHasher;
use bytes::Bytes;
use core::hash::Hasher;
use core::ops::Bound;
use karst_core::machine::{Payload, Rope};
use karst_core::store::{ETag, Fatal, Found, Key, Precondition, Span, StoreDone, StoreError, StoreOp, StoreResult};
use std::collections::BTreeMap;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub body: Bytes,
    /// The store's name for it.
    pub etag: ETag,
    /// When it was put.
    pub at: SimTime,
}

/// The objects of a bucket. Copies share their contents.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    objects: BTreeMap<Key, Object>,
    versions: u64,
    bytes: u64,
}

/// What a request did to the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// An object was put.
    Put {
        /// Its name.
        key: Key,
        /// Its version.
        etag: ETag,
        /// Its content.
        body: Bytes,
    },
    /// An object was removed, and had been there.
    Deleted {
        /// Its name.
        key: Key,
    },
}

impl Bucket {
    /// All objects, by name.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// How long all objects are together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts an object whatever was there: for scenarios, not for requests.
    pub fn put(&mut self, at: SimTime, key: Key, body: Bytes, etags: Etags) -> ETag {
        self.versions += 1;
        let etag = match etags {
            Etags::Content => ETag(format!("\"{:016x}\"", hash(&body))),
            Etags::Unique => ETag(format!("\"v{}\"", self.versions)),
        };
        self.bytes += body.len() as u64;
        let replaced = self.objects.insert(key, Object { body, etag: etag.clone(), at });
        self.bytes -= replaced.map_or(0, |object| object.body.len() as u64);
        etag
    }

    /// Removes an object: for scenarios, not for requests.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        let removed = self.objects.remove(key)?;
        self.bytes -= removed.body.len() as u64;
        Some(removed)
    }

    /// Does what is asked, now.
    pub(super) fn apply(
        &mut self,
        at: SimTime,
        op: StoreOp,
        page: usize,
        etags: Etags,
    ) -> (StoreResult, Option<Change>) {
        match op {
            StoreOp::Put { key, body, only_if } => match self.allows(&key, &only_if) {
                Err(error) => (Err(error), None),
                Ok(()) => self.put_rope(at, key, &body, etags),
            },
            StoreOp::Delete { key } => {
                let change = self.remove(&key).map(|_| Change::Deleted { key });
                (Ok(StoreDone::Deleted), change)
            }
            StoreOp::Get { key, span } => (self.read(&key, span), None),
            StoreOp::List { prefix, after, max } => (Ok(self.list(&prefix, after, max.min(page))), None),
        }
    }

    fn put_rope(&mut self, at: SimTime, key: Key, body: &Rope, etags: Etags) -> (StoreResult, Option<Change>) {
        let body = Bytes::copy_from_slice(&body.to_bytes());
        let etag = self.put(at, key.clone(), body.clone(), etags);
        (Ok(StoreDone::Put { etag: etag.clone() }), Some(Change::Put { key, etag, body }))
    }

    fn allows(&self, key: &Key, only_if: &Precondition) -> Result<(), StoreError> {
        match (only_if, self.objects.get(key)) {
            (Precondition::Absent, None) => Ok(()),
            (Precondition::Is(wanted), Some(object)) if object.etag == *wanted => Ok(()),
            // S3 answers an If-Match on a missing object with 404.
            (Precondition::Is(_), None) => Err(StoreError::Missing),
            (_, Some(_)) => Err(StoreError::Exists),
        }
    }

    fn read(&self, key: &Key, span: Span) -> StoreResult {
        let object = self.objects.get(key).ok_or(StoreError::Missing)?;
        let total = object.body.len() as u64;
        let (from, to) = match span {
            Span::Whole => (0, total),
            // S3 answers a range without any byte with 416.
            Span::Range { at, len } if at >= total || len == 0 => return Err(StoreError::Fatal(Fatal::BadRequest)),
            Span::Last { len } if len == 0 || total == 0 => return Err(StoreError::Fatal(Fatal::BadRequest)),
            Span::Range { at, len } => (at, at.saturating_add(len).min(total)),
            Span::Last { len } => (total.saturating_sub(len), total),
        };
        let body = Payload(object.body.slice(from as usize..to as usize));
        Ok(StoreDone::Got { body, etag: object.etag.clone(), total })
    }

    fn list(&self, prefix: &Key, after: Option<Key>, max: usize) -> StoreDone {
        let start = match after {
            Some(after) if after >= *prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        let mut names = self
            .objects
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.0.starts_with(&prefix.0))
            .map(|(key, object)| Found { key: key.clone(), len: object.body.len() as u64 });
        let found: Vec<_> = names.by_ref().take(max).collect();
        // S3 calls an empty page the last one.
        let more = !found.is_empty() && names.next().is_some();
        StoreDone::Listed { found, more }
    }
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = TraceHasher::default();
    hasher.write(body);
    hasher.write_usize(body.len());
    hasher.finish()
}
