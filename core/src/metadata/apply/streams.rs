//! Streams are opened, closed and trimmed.

use crate::controller::NodeCommand;
use crate::id::{Offset, StreamEpoch, StreamId};
use crate::metadata::{Answer, Image, RangeImage, Refusal, StreamImage, StreamState, bounds};
use alloc::vec::Vec;

impl Image {
    /// Opens every closed stream of the sender, each under its next epoch.
    pub(super) fn open_streams_of_sender(&mut self, by: &NodeCommand) -> Result<Answer, Refusal> {
        self.may_open(by)?;
        for stream in self.streams.values_mut() {
            let closed = stream.owner == by.node && stream.state == StreamState::Closed;
            if closed && stream.epoch < bounds::STREAM_EPOCH {
                stream.epoch = stream.epoch.next();
                stream.epochs.begin(stream.epoch, stream.end);
                stream.state = StreamState::Open(by.epoch);
            }
        }
        Ok(Answer::Done)
    }

    /// Closes what is open under the sender's epoch. It has drained, so nothing of that epoch is left to recover.
    pub(super) fn close_streams(&mut self, by: &NodeCommand) -> Answer {
        self.close_all(by.node, by.epoch);
        if let Some(node) = self.nodes.get_mut(&by.node) {
            node.epochs.remove(&by.epoch);
        }
        Answer::Done
    }

    /// Moves a stream's start up. It may pass the committed end (records that are acknowledged and not yet committed
    /// are trimmed as well): the end then counts as the start, and what is committed later begins at or below it.
    pub(super) fn trim_stream(
        &mut self,
        by: &NodeCommand,
        id: StreamId,
        epoch: StreamEpoch,
        start: Offset,
    ) -> Result<Answer, Refusal> {
        let held = |stream: &&mut StreamImage| {
            stream.owner == by.node && stream.state == StreamState::Open(by.epoch) && stream.epoch == epoch
        };
        let stream = self.streams.get_mut(&id).filter(held).ok_or(Refusal::UnknownStream)?;
        if start > bounds::OFFSET {
            return Err(Refusal::Invalid);
        }
        let dropped = stream.trim(start);
        self.release(dropped.into_iter().map(|range| range.object));
        Ok(Answer::Done)
    }
}

impl StreamImage {
    /// Moves the start up to `start`, unless it is there already, and returns the ranges that nobody can read any more.
    /// A range that reaches beyond the start stays whole: its object is read from the middle. State blocks stay: a
    /// producer is known whether or not its records can still be read.
    fn trim(&mut self, start: Offset) -> Vec<RangeImage> {
        self.start = self.start.max(start);
        self.end = self.end.max(self.start);
        self.epochs.trim(self.start);
        let mut dropped = Vec::new();
        while let Some(first) = self.ranges.first_entry().filter(|range| range.get().end <= self.start) {
            dropped.push(first.remove());
        }
        dropped
    }
}
