//! One partition of the log: what is live in it, what is on its way, and when it is written again.
//!
//! ```text
//!      log start                    first live key written again           end
//!          |  old values, tombstones  |  live keys   ...  newer records     |
//!          '------- trimmed, once all live keys are durable behind it ------'
//! ```
//! What is live is known as of the log's *end*, durable or not: a key that is written again then never hides a newer value
//! that is still on its way. Keys are written again in batches, one at a time, so that what others write is not held up; a
//! value that changes meanwhile is written behind them in any case.

use super::Name;
use super::record::Record;
use super::reply::{JoinReply, Reply};
use crate::id::{Offset, StreamId};
use crate::kafka::ErrorCode;
use crate::limits::Limits;
use crate::machine::{Instant, Mark, sometimes};
use crate::shard::Asked;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// Names records on their way into the log. Unique over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AppendId(pub(crate) u64);

/// What follows when records are durable.
#[derive(Debug)]
pub(super) enum Then {
    /// A generation may be told.
    Joined { generation: i32, replies: Vec<(Asked, JoinReply)> },
    /// So may the leader's assignment.
    Assigned { generation: i32, assignments: BTreeMap<Name, Bytes> },
    /// Offsets are committed.
    Committed(super::offsets::Committed),
    /// Offsets are gone, and whoever asked for that is told.
    OffsetsDeleted { keys: Vec<(Name, i32)>, reply: Option<(Asked, Reply)> },
    /// The group is gone; and the part of a request that this answers.
    GroupDeleted(Option<u64>),
    /// Live keys are written again.
    Rewritten,
}

/// Records on their way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: AppendId,
    /// Whose they are; none of keys that are written again.
    pub(super) group: Option<Name>,
    pub(super) then: Then,
    /// What may be said once they are durable.
    pub(super) after: Vec<(Asked, Reply)>,
}

/// A partition of the log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) stream: StreamId,
    pub(super) phase: Phase,
    /// Each key that has a value, as of the end of the log.
    pub(super) live: BTreeMap<Bytes, Bytes>,
    live_bytes: u64,
    /// Bytes in the log that a start would read.
    logged: u64,
    pub(super) in_flight: VecDeque<InFlight>,
    rewrite: Rewrite,
}

/// Whether a partition may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is read from its start; `next` is the first offset that was not.
    Loading {
        next: Offset,
        since: Instant,
        step: Step,
    },
    Ready,
}

/// What loading waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// For its turn.
    Due,
    /// For objects.
    Reading,
    /// For an object to be readable again.
    Paused(Instant),
}

/// Writing live keys again.
#[derive(Debug)]
enum Rewrite {
    Idle,
    Writing {
        /// The last key that was written; none before the first.
        cursor: Option<Bytes>,
        /// The offset of the first.
        from: Option<Offset>,
        /// What was logged before it began.
        before: u64,
        is_out: bool,
    },
    /// The log is being cut off below.
    Trimming {
        before: u64,
    },
}

impl Log {
    pub(super) fn new(stream: StreamId, start: Offset, now: Instant) -> Self {
        Self {
            stream,
            phase: Phase::Loading { next: start, since: now, step: Step::Due },
            live: BTreeMap::new(),
            live_bytes: 0,
            logged: 0,
            in_flight: VecDeque::new(),
            rewrite: Rewrite::Idle,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether nothing is on its way, or about to be.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_ready() && self.in_flight.is_empty() && matches!(self.rewrite, Rewrite::Idle)
    }

    /// A record goes to the end of the log, or was read from there.
    pub(super) fn take(&mut self, record: &Record) {
        let old = match &record.value {
            Some(value) => {
                self.live_bytes += (record.key.len() + value.len()) as u64;
                self.live.insert(record.key.clone(), value.clone())
            }
            None => self.live.remove(&record.key),
        };
        if let Some(old) = old {
            self.live_bytes -= (record.key.len() + old.len()) as u64;
        }
    }

    /// So many bytes went to the end of the log, or were read from it.
    pub(super) fn grow(&mut self, bytes: u64) {
        self.logged += bytes;
    }

    /// The keys with that prefix.
    pub(super) fn keys(&self, prefix: &Bytes) -> Vec<Bytes> {
        let from = self.live.range::<Bytes, _>(prefix..).map(|(key, _)| key);
        from.take_while(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// The next live keys to be written again, if there is so much garbage that it pays.
    pub(super) fn next_rewrite(&mut self, limits: &Limits) -> Option<Vec<Record>> {
        if !self.is_ready() {
            return None;
        }
        if matches!(self.rewrite, Rewrite::Idle) {
            let bound = limits.group_log_garbage.max(self.live_bytes.saturating_mul(4));
            if self.logged <= bound {
                return None;
            }
            sometimes!(Mark::GroupLogRewritten);
            self.rewrite = Rewrite::Writing { cursor: None, from: None, before: self.logged, is_out: false };
        }
        let Rewrite::Writing { cursor, is_out: is_out @ false, .. } = &mut self.rewrite else { return None };
        let after = cursor.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut records = Vec::new();
        let mut len = super::batch::size([]);
        for (key, value) in self.live.range::<Bytes, _>((after, Bound::Unbounded)) {
            let record = Record { key: key.clone(), value: Some(value.clone()) };
            len += super::batch::record_size(&record);
            if len > (limits.batch as usize).min(REWRITTEN) && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        if let Some(last) = records.last() {
            *cursor = Some(last.key.clone());
            *is_out = true;
            return Some(records);
        }
        None
    }

    /// Live keys are durable behind everything older, the first of them there.
    pub(super) fn rewritten(&mut self, base: Offset) {
        if let Rewrite::Writing { from, is_out, .. } = &mut self.rewrite {
            from.get_or_insert(base);
            *is_out = false;
        }
    }

    /// Where the log may begin, if all live keys are written again. `end` is its end, for a log without any.
    pub(super) fn next_trim(&mut self, end: Offset) -> Option<Offset> {
        let Rewrite::Writing { cursor, from, before, is_out: false } = &self.rewrite else { return None };
        let after = cursor.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let is_all = self.live.range::<Bytes, _>((after, Bound::Unbounded)).next().is_none();
        // Without a live key, what is on its way are tombstones, or else there were one.
        let start = from.or_else(|| self.in_flight.is_empty().then_some(end));
        let start = start.filter(|_| is_all)?;
        self.rewrite = Rewrite::Trimming { before: *before };
        Some(start)
    }

    /// The log begins there now, or could not be cut off: then it is tried again when more has come.
    pub(super) fn trimmed(&mut self) {
        if let Rewrite::Trimming { before } = self.rewrite {
            self.logged -= before;
            self.rewrite = Rewrite::Idle;
        }
    }

    pub(super) fn invariants(&self) {
        assert!(self.in_flight.is_empty() || self.is_ready(), "nothing is written before all is read");
    }
}

/// Live keys are written again in batches of at most so much.
const REWRITTEN: usize = 64 << 10;

/// What those hear whose records the log does not take.
pub(super) const NOT_WRITTEN: ErrorCode = ErrorCode::CoordinatorNotAvailable;
