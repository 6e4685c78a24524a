//! Writing objects. Batches are not copied: the object is a rope of heads and of the batches as they are.

use super::block::{BlockHead, encode_head};
use super::{BlockEntry, Footer, Index};
use crate::id::{ClusterId, ObjectId, Offset, StreamId};
use crate::machine::{Rope, WallTime};
use crate::metadata::CommitRange;
use crate::upload::CutRange;
use crate::wal::Appended;
use alloc::vec::Vec;
use bytes::Bytes;

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

/// Writes one object, range by range.
#[derive(Debug)]
pub struct ObjectWriter {
    cluster: ClusterId,
    object: ObjectId,
    data_block: usize,
    body: Rope,
    entries: Vec<BlockEntry>,
    ranges: Vec<CommitRange>,
}

impl ObjectWriter {
    /// An empty object of a cluster, whose data blocks are closed at `data_block` bytes.
    #[must_use]
    pub fn new(cluster: ClusterId, object: ObjectId, data_block: u32) -> Self {
        Self {
            cluster,
            object,
            data_block: data_block as usize,
            body: Rope::default(),
            entries: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Adds a range; its stream is larger than all before.
    ///
    /// # Panics
    /// When it is not, or the range is empty or has gaps.
    pub fn add(&mut self, range: &CutRange) {
        let ascends = self.ranges.last().is_none_or(|last| last.stream < range.stream);
        assert!(ascends, "streams ascend in an object: {:?} after {:?}", range.stream, self.ranges.last());
        assert!(!range.batches.is_empty(), "a range of {:?} without batches", range.stream);
        let mut at = range.start;
        let mut block: Vec<&Appended> = Vec::new();
        let mut block_len = 0;
        for batch in &range.batches {
            assert_eq!((batch.stream, batch.base), (range.stream, at), "a range has no gaps");
            assert!(batch.end > batch.base && !batch.batch.is_empty(), "a batch has records");
            at = batch.end;
            block.push(batch);
            block_len += batch.batch.len();
            if block_len >= self.data_block {
                self.close(range.stream, &block);
                block.clear();
                block_len = 0;
            }
        }
        if !block.is_empty() {
            self.close(range.stream, &block);
        }
        assert_eq!(at, range.end, "a range ends where its last batch ends");
        self.ranges.push(CommitRange {
            stream: range.stream,
            epoch: range.epoch,
            start: range.start,
            end: range.end,
            max_timestamp: max_timestamp(range.batches.iter()),
            bytes: range.bytes() as u64,
        });
    }

    /// Ends the object with index and footer.
    ///
    /// # Panics
    /// When nothing was added: an empty cut has no object.
    #[must_use]
    pub fn finish(mut self) -> Built {
        assert!(!self.entries.is_empty(), "an object holds something");
        let mut tail = Index::encode(self.object, &self.entries);
        let index_len = u32::try_from(tail.len()).expect("an index is far below 4 GiB");
        let footer = Footer { index_at: self.body.len() as u64, index_len };
        tail.extend_from_slice(&footer.encode(self.cluster, self.object));
        let tail = Bytes::from(tail);
        self.body.push(tail.clone());
        Built { body: self.body, tail, ranges: self.ranges }
    }

    fn close(&mut self, stream: StreamId, batches: &[&Appended]) {
        let (start, end) = bounds(batches);
        let at = self.body.len();
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
            at: at as u64,
            len: u32::try_from(self.body.len() - at).expect("blocks are closed far below 4 GiB"),
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
