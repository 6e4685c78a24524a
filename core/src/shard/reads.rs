//! Between the reader of objects and those who want something read: fetches, searches by time, and the groups' log.
//!
//! Reads may end at once, when what they want is cached, and who hears of that may go on with the next. So what has ended
//! is heard at the end of each input, one after the other, and not where it was asked.

use super::fetches::Ended;
use super::{Effect, Shard};
use crate::data_object::{Finished, Following, Outcome, Read, ReadError};
use crate::id::{Offset, StreamId};
use crate::machine::{Effects, Mark, Now, OpId, sometimes};
use crate::store::StoreResult;
use alloc::vec::Vec;

/// A reader is told of so many ranges that follow in its stream, so that it can read ahead.
const FOLLOWING: usize = 32;

impl Shard {
    /// Begins reads; those that are begun together are asked for together.
    pub(super) fn begin_reads(&mut self, now: Now, reads: Vec<Read>, out: &mut Effects<Effect>) {
        let mut outcome = Outcome::default();
        for read in reads {
            let following = self.following(read.stream, read.offset);
            self.reader.read(now, read, following, &mut outcome);
        }
        self.reader.drive(now, &mut self.ops, &mut outcome);
        self.take_outcome(outcome, out);
    }

    pub(super) fn handle_store(&mut self, now: Now, op: OpId, result: StoreResult, out: &mut Effects<Effect>) {
        if self.states.owns(op) {
            return self.handle_state(now, op, result, out);
        }
        let mut outcome = Outcome::default();
        self.reader.handle(now, op, result, &mut self.ops, &mut outcome);
        self.take_outcome(outcome, out);
        if let Some(conn) = self.lookups.take_orphan(op) {
            self.orphan_came_back(now, conn, out);
        }
    }

    pub(super) fn tick_reader(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.reader.deadline().is_some_and(|due| due.at <= now.mono) {
            let mut outcome = Outcome::default();
            self.reader.tick(now, &mut self.ops, &mut outcome);
            self.take_outcome(outcome, out);
        }
    }

    /// Ends every input: whoever waited for a read that has ended goes on.
    pub(super) fn hear_reads(&mut self, now: Now, out: &mut Effects<Effect>) {
        while let Some(finished) = self.finished_reads.pop_front() {
            self.read_finished(now, finished, out);
            self.drive_groups(now, out);
        }
    }

    fn take_outcome(&mut self, outcome: Outcome, out: &mut Effects<Effect>) {
        for (op, call) in outcome.calls {
            out.push(Effect::Store(op, call));
        }
        self.finished_reads.extend(outcome.finished);
    }

    fn read_finished(&mut self, now: Now, finished: Finished, out: &mut Effects<Effect>) {
        sometimes!(Mark::ReadReplaced, finished.result == Err(ReadError::Gone) && self.was_replaced(finished.id));
        if let Some(partition) = self.groups.take_read(finished.id) {
            return self.groups.loaded(now, partition, finished.result);
        }
        if let Some(listing) = self.lookups.finish_read(finished.id) {
            return self.listing_read(now, listing, finished.result, out);
        }
        if let Err(error) = finished.result {
            self.report_failed_read(finished.id, error);
        }
        match self.fetches.finish(finished.id, finished.result) {
            Some(Ended::Complete(fetch, got)) => self.answer_fetched(now, fetch, got, out),
            Some(Ended::Again(fetch)) => self.fetch_again(now, fetch, out),
            Some(Ended::TooLong(fetch)) => self.fetch_too_long(now, fetch, out),
            None => {}
        }
    }

    /// The ranges of a stream from an offset on that are worth to be read ahead: those above are in the log cache.
    fn following(&self, stream: StreamId, offset: Offset) -> Vec<Following> {
        let cached = self.cache.first(stream).unwrap_or(Offset(u64::MAX));
        let Some(image) = self.image.as_ref().and_then(|image| image.streams.get(&stream)) else { return Vec::new() };
        let first = image.range_at(offset).map_or(offset, |(start, _)| start);
        let ranges = image.ranges.range(first..cached.max(first)).take(FOLLOWING);
        let mut all: Vec<Following> = Vec::new();
        for (_, range) in ranges {
            // Several ranges may lie in one object, one after the other.
            match all.last_mut().filter(|last| last.object == range.object) {
                Some(last) => last.bytes = last.bytes.saturating_add(range.bytes),
                None => all.push(Following { object: range.object, bytes: range.bytes }),
            }
        }
        all
    }
}
