//! The log cache: records that are durable in the WAL, in memory. A plain struct within the shard.
//!
//! It owns the durable batches that are not committed to an object yet, and keeps committed ones, as long as there is
//! room, for readers at the tail. It promises that a stream's batches in it are contiguous, that every batch is in
//! exactly one cut, and that **nothing leaves it before the commit of its cut**, other than by the deletion of its
//! stream. So a reader finds every durable record either here or in an object that the metadata knows.
//!
//! ```text
//!                      insert ──> uncut ──cut──> uploading ──committed──> evictable ──> gone
//!
//!  one stream:   | evictable | evictable | uploading | uploading |   uncut    |
//!                ^ first                                                      ^ end
//! ```
//! Eviction frees the oldest cut's batches first, and within a stream always the first, so what is left stays
//! contiguous up to the end.

use crate::id::{CutNumber, Offset, StreamId};
use crate::limits::Limits;
use crate::machine::{Instant, Now, WallTime};
use crate::upload::CutRange;
use crate::wal::Appended;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Durable records in memory.
#[derive(Debug)]
pub struct LogCache {
    limit: u64,
    streams: BTreeMap<StreamId, Cached>,
    uncut_streams: BTreeSet<StreamId>,
    oldest_uncut: Option<Instant>,
    cuts: VecDeque<CachedCut>,
    last_cut: CutNumber,
    bytes: Bytes,
}

/// How much there is, in bytes of record batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// In no cut yet.
    pub uncut: u64,
    /// In a cut that is not committed.
    pub uploading: u64,
    /// Committed.
    pub evictable: u64,
}

impl Bytes {
    /// All of it.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.uncut + self.uploading + self.evictable
    }
}

/// One stream's batches, contiguous.
#[derive(Debug, Default)]
struct Cached {
    batches: VecDeque<Appended>,
    /// How many of the last ones are in no cut yet.
    uncut: usize,
}

/// A cut of which something is still here.
#[derive(Debug)]
struct CachedCut {
    number: CutNumber,
    state: CutState,
    /// By stream, ascending; those that are gone are left out.
    parts: VecDeque<Part>,
}

/// What is still here of one stream's range in a cut.
#[derive(Clone, Copy, Debug)]
struct Part {
    stream: StreamId,
    /// Offset after the last record of it.
    end: Offset,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutState {
    Uploading,
    Committed,
}

impl LogCache {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.log_cache,
            streams: BTreeMap::new(),
            uncut_streams: BTreeSet::new(),
            oldest_uncut: None,
            cuts: VecDeque::new(),
            last_cut: CutNumber(0),
            bytes: Bytes::default(),
        }
    }

    /// Adds a batch that has become durable.
    ///
    /// # Panics
    /// When it does not continue its stream, or comes under another epoch than the stream's uncut records.
    pub fn insert(&mut self, now: Now, batch: Appended) {
        assert!(batch.base < batch.end, "a batch has records: {batch:?}");
        let len = batch.batch.len() as u64;
        let stream = self.streams.entry(batch.stream).or_default();
        if let Some(last) = stream.batches.back() {
            assert_eq!((last.stream, last.end), (batch.stream, batch.base), "durable batches are contiguous");
            assert!(last.epoch == batch.epoch || stream.uncut == 0, "a stream is reopened only after its last cut");
        }
        self.uncut_streams.insert(batch.stream);
        stream.uncut += 1;
        stream.batches.push_back(batch);
        self.bytes.uncut += len;
        self.oldest_uncut.get_or_insert(now.mono);
        self.evict();
    }

    /// The stream's first offset in here; `None` if nothing of it is. Everything from there to
    /// [`LogCache::end`] can be read here.
    #[must_use]
    pub fn first(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream)?.batches.front().map(|batch| batch.base)
    }

    /// The offset after the stream's last record in here.
    #[must_use]
    pub fn end(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream)?.batches.back().map(|batch| batch.end)
    }

    /// Consecutive batches from the one on that holds `offset`, up to `max_bytes`, but the first one whole. Empty if that
    /// offset is not in here.
    #[must_use]
    pub fn read(&self, stream: StreamId, offset: Offset, max_bytes: u64) -> Vec<Appended> {
        let Some(cached) = self.streams.get(&stream) else { return Vec::new() };
        if cached.batches.front().is_none_or(|first| offset < first.base) {
            return Vec::new();
        }
        let from = cached.batches.partition_point(|batch| batch.end <= offset);
        let mut found: Vec<Appended> = Vec::new();
        let mut len = 0;
        for batch in cached.batches.range(from..) {
            len += batch.batch.len() as u64;
            if len > max_bytes && !found.is_empty() {
                break;
            }
            found.push(batch.clone());
        }
        found
    }

    /// The first batch from the one on that holds `from` which has a record of that time or later; and the largest time
    /// in those before it.
    #[must_use]
    pub fn seek(&self, stream: StreamId, from: Offset, since: WallTime) -> (Option<&Appended>, Option<WallTime>) {
        let mut older = None;
        let Some(cached) = self.streams.get(&stream) else { return (None, older) };
        let first = cached.batches.partition_point(|batch| batch.end <= from);
        for batch in cached.batches.range(first..) {
            if batch.max_timestamp >= since {
                return (Some(batch), older);
            }
            older = older.max(Some(batch.max_timestamp));
        }
        (None, older)
    }

    /// Bytes of the stream's batches in here that end behind `offset`.
    #[must_use]
    pub fn bytes_after(&self, stream: StreamId, offset: Offset) -> u64 {
        let Some(cached) = self.streams.get(&stream) else { return 0 };
        let first = cached.batches.partition_point(|batch| batch.end <= offset);
        cached.batches.range(first..).map(|batch| batch.batch.len() as u64).sum()
    }

    /// How much is in here.
    #[must_use]
    pub const fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// When the oldest record that is in no cut came in, or one before it that was dropped with its stream.
    #[must_use]
    pub const fn oldest_uncut(&self) -> Option<Instant> {
        self.oldest_uncut
    }

    /// Everything that came in since the last cut, by stream, ascending. It is this cut from now on.
    ///
    /// # Panics
    /// When the number is not above that of every earlier cut.
    pub fn cut(&mut self, number: CutNumber) -> Vec<CutRange> {
        assert!(number > self.last_cut, "{number:?} after {:?}", self.last_cut);
        self.last_cut = number;
        let mut ranges = Vec::with_capacity(self.uncut_streams.len());
        for stream in core::mem::take(&mut self.uncut_streams) {
            let cached = self.streams.get_mut(&stream).expect("a stream with uncut records is here");
            let from = cached.batches.len() - core::mem::take(&mut cached.uncut);
            let batches: Vec<Appended> = cached.batches.range(from..).cloned().collect();
            let (first, last) = (&batches[0], &batches[batches.len() - 1]);
            let (epoch, start, end) = (first.epoch, first.base, last.end);
            ranges.push(CutRange { stream, epoch, start, end, batches, producers: None });
        }
        let part = |range: &CutRange| Part { stream: range.stream, end: range.end, bytes: range.bytes() as u64 };
        let parts = ranges.iter().map(part).collect();
        self.cuts.push_back(CachedCut { number, state: CutState::Uploading, parts });
        self.bytes.uploading += core::mem::take(&mut self.bytes.uncut);
        self.oldest_uncut = None;
        ranges
    }

    /// A cut is committed: its records may go.
    ///
    /// # Panics
    /// When it is not the oldest one that is not committed.
    pub fn committed(&mut self, number: CutNumber) {
        let next = self.cuts.iter_mut().find(|cut| cut.state == CutState::Uploading);
        let cut = next.filter(|cut| cut.number == number).expect("cuts are committed in order");
        cut.state = CutState::Committed;
        let bytes: u64 = cut.parts.iter().map(|part| part.bytes).sum();
        self.bytes.uploading -= bytes;
        self.bytes.evictable += bytes;
        self.evict();
    }

    /// The stream is deleted: all of it goes, committed or not.
    pub fn drop_stream(&mut self, stream: StreamId) {
        let Some(cached) = self.streams.remove(&stream) else { return };
        self.uncut_streams.remove(&stream);
        let uncut = cached.batches.range(cached.batches.len() - cached.uncut..);
        self.bytes.uncut -= uncut.map(|batch| batch.batch.len() as u64).sum::<u64>();
        for cut in &mut self.cuts {
            let bytes: u64 = cut.parts.iter().filter(|part| part.stream == stream).map(|part| part.bytes).sum();
            cut.parts.retain(|part| part.stream != stream);
            match cut.state {
                CutState::Uploading => self.bytes.uploading -= bytes,
                CutState::Committed => self.bytes.evictable -= bytes,
            }
        }
        if self.bytes.uncut == 0 {
            self.oldest_uncut = None;
        }
    }

    /// Frees committed batches, the oldest cut's first, until the limit is kept or none is left.
    fn evict(&mut self) {
        while let Some(oldest) = self.cuts.front_mut().filter(|cut| cut.state == CutState::Committed) {
            let Some(part) = oldest.parts.front_mut() else {
                self.cuts.pop_front();
                continue;
            };
            let cached = self.streams.get_mut(&part.stream).expect("a part of a cut is of a stream that is here");
            while self.bytes.total() > self.limit
                && let Some(batch) = cached.batches.pop_front_if(|batch| batch.end <= part.end)
            {
                let len = batch.batch.len() as u64;
                part.bytes -= len;
                self.bytes.evictable -= len;
            }
            if part.bytes > 0 {
                return;
            }
            if cached.batches.is_empty() {
                self.streams.remove(&part.stream);
            }
            oldest.parts.pop_front();
        }
    }

    /// Panics with what is broken, if anything is.
    pub fn invariants(&self) {
        let mut bytes = Bytes::default();
        let mut covered: BTreeMap<StreamId, Vec<(Part, CutState)>> = BTreeMap::new();
        for cut in &self.cuts {
            for part in &cut.parts {
                covered.entry(part.stream).or_default().push((*part, cut.state));
            }
        }
        for (stream, cached) in &self.streams {
            assert!(!cached.batches.is_empty(), "{stream:?} is here without a batch");
            assert_eq!(cached.uncut > 0, self.uncut_streams.contains(stream), "{stream:?} is known as uncut");
            let mut batches = cached.batches.iter().peekable();
            for (part, state) in covered.remove(stream).unwrap_or_default() {
                let mut len = 0;
                while let Some(batch) = batches.next_if(|batch| batch.end <= part.end) {
                    len += batch.batch.len() as u64;
                }
                assert_eq!(len, part.bytes, "a part of {stream:?} is counted exactly");
                match state {
                    CutState::Uploading => bytes.uploading += len,
                    CutState::Committed => bytes.evictable += len,
                }
            }
            assert_eq!(batches.len(), cached.uncut, "every batch of {stream:?} is in one cut, or uncut");
            bytes.uncut += batches.map(|batch| batch.batch.len() as u64).sum::<u64>();
            let contiguous =
                cached.batches.iter().zip(cached.batches.iter().skip(1)).all(|(one, next)| one.end == next.base);
            assert!(contiguous, "{stream:?} is contiguous");
        }
        assert!(covered.is_empty(), "cuts have parts of streams that are gone: {covered:?}");
        assert_eq!(bytes, self.bytes, "bytes are counted exactly");
        assert!(bytes.total() <= self.limit || bytes.evictable == 0, "what may go goes when the limit is passed");
        assert_eq!(self.oldest_uncut.is_some(), bytes.uncut > 0, "the age of uncut records is known");
        let states: Vec<_> = self.cuts.iter().map(|cut| cut.state).collect();
        assert!(states.is_sorted_by_key(|state| *state == CutState::Uploading), "cuts are committed in order");
    }
}

#[cfg(test)]
mod tests;
