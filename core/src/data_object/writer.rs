//! Writing objects. Batches are not copied: the object is a rope of heads and of the batches as they are.

use super::block::{BlockHead, encode_head};
use super::state::encode_state;
use super::{BlockEntry, Footer, Index};
use crate::envelope::HEAD;
use crate::id::{ClusterId, ObjectId, Offset, StreamId};
use crate::machine::{Rope, WallTime};
use crate::metadata::{CommitRange, CommitState, CompactedRange, CompactedState, StateKind};
use crate::producers::ProducerTable;
use crate::upload::CutRange;
use crate::wal::Appended;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes};

/// An object ready to be put and committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its bytes.
    pub body: Rope,
    /// Its last bytes, index block and footer: they stand for the content of all.
    pub tail: Bytes,
    /// What it holds, by stream, ascending.
    pub ranges: Vec<CommitRange>,
}

/// An object that was copied together, ready to be put and to take the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its bytes.
    pub body: Rope,
    /// Its last bytes, index block and footer: they stand for the content of all.
    pub tail: Bytes,
    /// The ranges in it, as they were added.
    pub ranges: Vec<CompactedRange>,
    /// The state blocks in it, likewise.
    pub states: Vec<CompactedState>,
}

/// Builds an object of these ranges of a cluster's streams, which must be by stream, ascending.
///
/// # Panics
/// When the ranges are out of order, empty or have gaps: they are our own.
pub fn build<'a>(
    cluster: ClusterId,
    object: ObjectId,
    data_block: u32,
    ranges: impl IntoIterator<Item = &'a CutRange>,
) -> Built {
    let mut writer = ObjectWriter::new(cluster, object, data_block);
    for range in ranges {
        writer.add(range);
    }
    writer.finish()
}

/// Writes an object of cuts, range by range.
#[derive(Debug)]
pub struct ObjectWriter {
    blocks: Blocks,
    ranges: Vec<CommitRange>,
    /// What is to be said about producers, of which ranges.
    states: Vec<(usize, StateKind, ProducerTable)>,
}

impl ObjectWriter {
    /// An empty object of a cluster, whose data blocks are closed at `data_block` bytes.
    #[must_use]
    pub fn new(cluster: ClusterId, object: ObjectId, data_block: u32) -> Self {
        Self { blocks: Blocks::new(cluster, object, data_block), ranges: Vec::new(), states: Vec::new() }
    }

    /// An object as [`ObjectWriter::new`] makes it, of which the first `origin` bytes come from elsewhere: positions count
    /// from there.
    #[must_use]
    pub fn behind(origin: usize, cluster: ClusterId, object: ObjectId, data_block: u32) -> Self {
        let blocks = Blocks { origin, ..Blocks::new(cluster, object, data_block) };
        Self { blocks, ranges: Vec::new(), states: Vec::new() }
    }

    /// Adds a range; its stream is larger than all before.
    ///
    /// # Panics
    /// When it is not, or the range is empty or has gaps.
    pub fn add(&mut self, range: &CutRange) {
        let ascends = self.ranges.last().is_none_or(|last| last.stream < range.stream);
        assert!(ascends, "streams ascend in an object: {:?} after {:?}", range.stream, self.ranges.last());
        self.blocks.add(range.stream, (range.start, range.end), &range.batches);
        match &range.producers {
            Some(all) => self.states.push((self.ranges.len(), StateKind::Log, all.clone())),
            None => {
                let table = ProducerTable::of(&range.batches);
                if !table.is_empty() {
                    self.states.push((self.ranges.len(), StateKind::Range, table));
                }
            }
        }
        self.ranges.push(CommitRange {
            stream: range.stream,
            epoch: range.epoch,
            start: range.start,
            end: range.end,
            max_timestamp: max_timestamp(range.batches.iter()),
            bytes: range.bytes() as u64,
            producers: None,
        });
    }

    /// Ends the object with state blocks, index and footer.
    ///
    /// # Panics
    /// When nothing was added: an empty cut has no object.
    #[must_use]
    pub fn finish(mut self) -> Built {
        assert!(!self.ranges.is_empty(), "an object holds something");
        for (range, kind, table) in core::mem::take(&mut self.states) {
            let range = &mut self.ranges[range];
            let (at, len) = self.blocks.add_state(range.stream, range.end, &table);
            range.producers = Some(CommitState { kind, at, len });
        }
        let (body, tail) = self.blocks.finish();
        Built { body, tail, ranges: self.ranges }
    }
}

/// Writes an object of what others hold: ranges first, then state blocks.
#[derive(Debug)]
pub struct CopyWriter {
    blocks: Blocks,
    ranges: Vec<CompactedRange>,
    states: Vec<CompactedState>,
}

impl CopyWriter {
    /// An empty object of a cluster, whose data blocks are closed at `data_block` bytes.
    #[must_use]
    pub fn new(cluster: ClusterId, object: ObjectId, data_block: u32) -> Self {
        Self { blocks: Blocks::new(cluster, object, data_block), ranges: Vec::new(), states: Vec::new() }
    }

    /// Adds a range: of a larger stream than all before, or where the last one ends.
    ///
    /// # Panics
    /// When it is neither, comes after a state block, or is empty or has gaps.
    pub fn add(&mut self, stream: StreamId, (start, end): (Offset, Offset), batches: &[Appended]) {
        let follows = |last: &CompactedRange| last.stream < stream || (last.stream == stream && last.end == start);
        assert!(self.ranges.last().is_none_or(follows), "{stream:?} from {start:?} after {:?}", self.ranges.last());
        assert!(self.states.is_empty(), "state blocks come last");
        self.blocks.add(stream, (start, end), batches);
        let bytes = batches.iter().map(|batch| batch.batch.len() as u64).sum();
        self.ranges.push(CompactedRange { stream, start, end, bytes });
    }

    /// Adds a state block: what is known of a stream's producers up to `end`.
    pub fn add_state(&mut self, stream: StreamId, end: Offset, table: &ProducerTable) {
        let (at, len) = self.blocks.add_state(stream, end, table);
        self.states.push(CompactedState { stream, end, at, len });
    }

    /// Ends the object with index and footer.
    ///
    /// # Panics
    /// When nothing was added.
    #[must_use]
    pub fn finish(self) -> Copied {
        assert!(!self.ranges.is_empty() || !self.states.is_empty(), "an object holds something");
        let (body, tail) = self.blocks.finish();
        Copied { body, tail, ranges: self.ranges, states: self.states }
    }
}

/// The bytes of an object and its index, so far.
#[derive(Debug)]
struct Blocks {
    cluster: ClusterId,
    object: ObjectId,
    data_block: usize,
    /// Bytes before the body.
    origin: usize,
    body: Rope,
    entries: Vec<BlockEntry>,
    /// What the index says about state blocks.
    states: Vec<u8>,
}

impl Blocks {
    fn new(cluster: ClusterId, object: ObjectId, data_block: u32) -> Self {
        let data_block = data_block as usize;
        let (body, entries, states) = (Rope::default(), Vec::new(), Vec::new());
        Self { cluster, object, data_block, origin: 0, body, entries, states }
    }

    fn add(&mut self, stream: StreamId, (start, end): (Offset, Offset), batches: &[Appended]) {
        assert!(!batches.is_empty(), "a range of {stream:?} without batches");
        let mut at = start;
        let mut block: Vec<&Appended> = Vec::new();
        let mut block_len = 0;
        for batch in batches {
            assert_eq!((batch.stream, batch.base), (stream, at), "a range has no gaps");
            assert!(batch.end > batch.base && !batch.batch.is_empty(), "a batch has records");
            at = batch.end;
            block.push(batch);
            block_len += batch.batch.len();
            if block_len >= self.data_block {
                self.close(stream, &block);
                block.clear();
                block_len = 0;
            }
        }
        if !block.is_empty() {
            self.close(stream, &block);
        }
        assert_eq!(at, end, "a range ends where its last batch ends");
    }

    /// Where the state block lies, and its length.
    fn add_state(&mut self, stream: StreamId, end: Offset, table: &ProducerTable) -> (u64, u32) {
        let block = encode_state(self.object, stream, end, table);
        let at = self.at();
        let len = u32::try_from(block.len()).expect("a state block is far below 4 GiB");
        self.states.put_u64(stream.0);
        self.states.put_u64(at);
        self.states.put_u32(len);
        self.states.put_slice(&block[12..HEAD]);
        self.body.push(block);
        (at, len)
    }

    fn finish(mut self) -> (Rope, Bytes) {
        let mut tail = Index::encode(self.object, &self.entries, &self.states);
        let index_len = u32::try_from(tail.len()).expect("an index is far below 4 GiB");
        let footer = Footer { index_at: self.at(), index_len };
        tail.extend_from_slice(&footer.encode(self.cluster, self.object));
        let tail = Bytes::from(tail);
        self.body.push(tail.clone());
        (self.body, tail)
    }

    /// The position of what comes next.
    fn at(&self) -> u64 {
        (self.origin + self.body.len()) as u64
    }

    fn close(&mut self, stream: StreamId, batches: &[&Appended]) {
        let (start, end) = bounds(batches);
        let (at, begun) = (self.at(), self.body.len());
        let pieces: Vec<Bytes> = batches.iter().map(|batch| batch.batch.0.clone()).collect();
        let (head, crc) = encode_head(BlockHead { object: self.object, stream, start, end }, &pieces);
        self.body.push(head);
        for piece in pieces {
            self.body.push(piece);
        }
        self.entries.push(BlockEntry {
            stream,
            start,
            end,
            at,
            len: u32::try_from(self.body.len() - begun).expect("blocks are closed far below 4 GiB"),
            batches: u32::try_from(batches.len()).expect("a block of 4 GiB holds fewer batches"),
            max_timestamp: max_timestamp(batches.iter().copied()),
            crc,
        });
    }
}

fn bounds(batches: &[&Appended]) -> (Offset, Offset) {
    match batches {
        [first, .., last] => (first.base, last.end),
        [only] => (only.base, only.end),
        [] => unreachable!("a block is closed with its last batch in it"),
    }
}

fn max_timestamp<'a>(batches: impl Iterator<Item = &'a Appended>) -> WallTime {
    batches.map(|batch| batch.max_timestamp).max().expect("there is at least one batch")
}
