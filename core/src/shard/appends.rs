//! Batches on their way into the WAL.

use super::joins::Part;
use crate::id::{ConnId, StreamId};
use crate::kafka::batch::retimed;
use crate::kafka::{BatchTime, CheckedBatch};
use crate::machine::{Mark, Payload, WallTime, sometimes};
use crate::metadata::TimestampType;
use crate::producers::Sequenced;
use crate::wal;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A batch that waits for a grant. It gets its offset only when the WAL takes it.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Who is forgotten with it if it goes; none if the broker itself writes.
    pub(super) conn: Option<ConnId>,
    pub(super) stream: StreamId,
    pub(super) records: u32,
    pub(super) times: Times,
    pub(super) batch: Payload,
    /// What it says about its producer, if it has one.
    pub(super) sequenced: Option<Sequenced>,
    pub(super) part: Part,
    /// Bytes of the batch that its request does not pay for: all of it, if it was recompressed.
    pub(super) unpaid: u64,
}

/// What a batch's header is to say about its records' times once it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// What it says: this is the largest.
    AsSent(WallTime),
    /// The largest is this, and not what the producer wrote.
    Corrected(WallTime),
    /// That of the append.
    OfAppend,
}

impl Times {
    /// For a batch whose records were looked into.
    pub(super) fn of(batch: &CheckedBatch, timestamp_type: TimestampType) -> Self {
        let latest = batch.facts.latest();
        match timestamp_type {
            TimestampType::LogAppendTime => Self::OfAppend,
            TimestampType::CreateTime if batch.header.max_timestamp() == latest => Self::AsSent(latest),
            TimestampType::CreateTime => Self::Corrected(latest),
        }
    }
}

impl Waiting {
    /// It is this now.
    pub(super) fn recompressed(&mut self, batch: Payload) {
        self.unpaid = batch.len() as u64;
        self.batch = batch;
    }

    /// The batch as it is appended at that moment, and the largest of its times. A batch that changes is copied only
    /// now, when the WAL has room for it: what waits takes no more than its request pays for.
    pub(super) fn stamped(&self, now: WallTime) -> (Payload, WallTime) {
        match self.times {
            Times::AsSent(latest) => (self.batch.clone(), latest),
            Times::Corrected(latest) => (retimed(&self.batch, BatchTime::Create(latest)), latest),
            Times::OfAppend => {
                sometimes!(Mark::AppendTimeStamped);
                (retimed(&self.batch, BatchTime::LogAppend(now)), now)
            }
        }
    }
}

/// The queue before the WAL: strictly in arrival order, so that a partition's batches keep theirs.
#[derive(Debug, Default)]
pub(super) struct Appends {
    waiting: VecDeque<Waiting>,
    granted: u64,
    /// Of what waits, bytes that were recompressed.
    recompressed: u64,
}

impl Appends {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.recompressed += waiting.unpaid;
        self.waiting.push_back(waiting);
    }

    /// Bytes of waiting batches that were recompressed.
    pub(super) const fn recompressed(&self) -> u64 {
        self.recompressed
    }

    pub(super) fn grant(&mut self, bytes: u64) {
        self.granted += bytes;
    }

    /// What the WAL has granted and no batch has used.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// The next batch that fits into what the WAL has granted.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        let cost = wal::cost(self.waiting.front()?.batch.len());
        self.granted = self.granted.checked_sub(cost)?;
        let next = self.waiting.pop_front()?;
        self.recompressed -= next.unpaid;
        Some(next)
    }

    /// What waits for a connection that is gone.
    pub(super) fn forget(&mut self, conn: ConnId) -> Vec<Waiting> {
        self.take(|waiting| waiting.conn == Some(conn))
    }

    /// What waits of a request.
    pub(super) fn forget_request(&mut self, join: u64) -> Vec<Waiting> {
        self.take(|waiting| waiting.part.join() == join)
    }

    /// Everything that waits, when it will never be taken.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        self.recompressed = 0;
        self.waiting.drain(..)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn take(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        if !self.waiting.iter().any(&is_meant) {
            return Vec::new();
        }
        let all = core::mem::take(&mut self.waiting).into_iter();
        let (gone, kept): (Vec<_>, Vec<_>) = all.partition(is_meant);
        self.waiting = kept.into();
        self.recompressed -= gone.iter().map(|waiting| waiting.unpaid).sum::<u64>();
        gone
    }
}
