//! Records that are looked for by their time, for ListOffsets.
//!
//! ```text
//!              ranges of the metadata          data blocks of an object      batches           records
//!  a time ──► the first that is late enough ──► the first such ... ──► the first such ... ──► the first such
//!              (or the log cache)                  one GET or two                           decompressed, by a job
//!                                                                                           where that is not cheap
//! ```
//! Each level knows the largest time of what is below it, so what is too old is passed over unread. The bound of the
//! first range, block and batch may be that of a record below the log's start: then the search goes on behind it.
//!
//! The latest record is the first that is as late as the largest time of all. The search for it passes over everything
//! by an impossible time first, which tells the largest bound, and looks for that; where the bound was that of a trimmed
//! record it has learned the next lower one on its way.
//!
//! A request's partitions are searched one after the other, so that it holds one data block at a time, and credit for it.

use super::joins::Asked;
use crate::data_object::{ReadId, StoredBatch};
use crate::id::{ConnId, Offset, StreamId};
use crate::kafka::ErrorCode;
use crate::kafka::batch::{Since, Times};
use crate::machine::{Deadline, Instant, Mark, OpId, Payload, WallTime, sometimes};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use kafka_protocol::messages::ListOffsetsRequest;

/// A ListOffsets request that is being answered.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) asked: Asked,
    pub(super) request: ListOffsetsRequest,
    /// Partitions that the request names more than once.
    pub(super) repeated: BTreeSet<StreamId>,
    /// Which topic of the request is next, and which of its partitions.
    pub(super) next: (usize, usize),
    /// What those before that came to.
    pub(super) known: Vec<Result<Listed, ErrorCode>>,
    /// What is being done for the next.
    pub(super) search: Option<Search>,
    /// Credit for answers that it holds.
    pub(super) held: u64,
    /// What it has to read at once, if that turned out to be more than usual.
    pub(super) large: u64,
    /// When what is not found yet is not looked for any more.
    pub(super) due: Instant,
}

/// An offset that was asked for; by default, that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) offset: Option<Offset>,
    pub(super) time: Option<WallTime>,
    pub(super) epoch: Option<i32>,
}

/// Which record is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// The first of that time or later.
    Since(WallTime),
    /// The first of the largest time.
    Latest,
}

/// One partition that is being searched.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) stream: StreamId,
    sought: Sought,
    /// Nothing older is of interest.
    since: WallTime,
    /// Everything below is too old, or below the log's start.
    from: Offset,
    /// The largest time that was too old.
    older: Option<WallTime>,
    /// Of a data block, not looked at yet.
    batches: VecDeque<StoredBatch>,
    /// How often it went on from the metadata since an object was gone.
    pub(super) restarts: u32,
}

/// A batch that may hold the record.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) batch: Payload,
    pub(super) end: Offset,
}

impl Search {
    pub(super) fn new(stream: StreamId, sought: Sought) -> Self {
        let since = match sought {
            Sought::Since(time) => time,
            Sought::Latest => WallTime(i64::MAX),
        };
        let (from, older, batches) = (Offset(0), None, VecDeque::new());
        Self { stream, sought, since, from, older, batches, restarts: 0 }
    }

    /// What is looked for, in a log that starts there.
    pub(super) fn since(&mut self, log_start: Offset) -> Since {
        self.from = self.from.max(log_start);
        Since { from: self.from, time: self.since }
    }

    /// Everything below is too old, the latest of it being of that time.
    pub(super) fn pass(&mut self, upto: Offset, older: Option<WallTime>) {
        self.from = self.from.max(upto);
        self.older = self.older.max(older);
    }

    /// A data block was read for it, after others that were passed over. `range_end` is where its range ends.
    pub(super) fn take_block(&mut self, batches: Vec<StoredBatch>, older: Option<WallTime>, range_end: Offset) {
        self.older = self.older.max(older);
        if batches.is_empty() {
            sometimes!(Mark::TimeBoundTrimmed);
            self.from = self.from.max(range_end);
        }
        self.batches = batches.into();
    }

    /// Forgets what was read and not looked at: it is read again.
    pub(super) fn let_go(&mut self) {
        self.batches.clear();
    }

    /// The next batch of that block that is late enough.
    pub(super) fn next_candidate(&mut self) -> Option<Candidate> {
        while let Some(batch) = self.batches.pop_front() {
            if batch.end <= self.from {
                continue;
            }
            if batch.max_timestamp >= self.since {
                return Some(Candidate { batch: batch.batch, end: batch.end });
            }
            self.pass(batch.end, Some(batch.max_timestamp));
        }
        None
    }

    /// What is known of the records of a batch.
    pub(super) fn looked_into(&mut self, candidate: &Candidate, times: Times) -> Option<Listed> {
        let Some((offset, time)) = times.found else {
            sometimes!(Mark::TimeBoundTrimmed);
            self.pass(candidate.end, times.older);
            return None;
        };
        let epoch = candidate.batch.get(12..16).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
        Some(Listed { offset: Some(offset), time: Some(time), epoch })
    }

    /// Nothing in the log is late enough. Whether there is something else to look for.
    pub(super) fn lower(&mut self) -> bool {
        match (self.sought, self.older.take()) {
            (Sought::Latest, Some(older)) => {
                (self.since, self.from) = (older, Offset(0));
                true
            }
            _ => false,
        }
    }
}

/// Names a listing until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ListingId(u64);

/// What a listing waits for.
#[derive(Clone, Debug)]
enum State {
    /// A data block; with where the range ends that it is of.
    Reading(ReadId, Offset),
    /// A job.
    Computing(OpId, Candidate),
}

/// Listings that wait.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    issued: u64,
    open: BTreeMap<ListingId, (Listing, State)>,
    due: BTreeSet<(Instant, ListingId)>,
    reads: BTreeMap<ReadId, ListingId>,
    jobs: BTreeMap<OpId, ListingId>,
    /// Jobs and reads for connections that are gone: what they hold is paid for until they come back.
    orphans: BTreeMap<OpId, ConnId>,
}

/// What becomes of a job that came back.
#[derive(Debug)]
pub(super) enum Computed {
    For(Box<(Listing, Candidate)>),
    /// The connection is gone.
    Orphan(ConnId),
}

impl Lookups {
    pub(super) fn read(&mut self, listing: Listing, read: ReadId, range_end: Offset) {
        let id = self.next_id();
        self.due.insert((listing.due, id));
        self.reads.insert(read, id);
        self.open.insert(id, (listing, State::Reading(read, range_end)));
    }

    pub(super) fn compute(&mut self, listing: Listing, op: OpId, candidate: Candidate) {
        let id = self.next_id();
        self.jobs.insert(op, id);
        self.open.insert(id, (listing, State::Computing(op, candidate)));
    }

    /// A read has ended. Returns the listing that it is for, and where the range ends that it is of; `None` if it is not
    /// for a listing.
    pub(super) fn finish_read(&mut self, read: ReadId) -> Option<(Listing, Offset)> {
        let id = self.reads.remove(&read)?;
        match self.open.remove(&id)? {
            (listing, State::Reading(_, range_end)) => {
                self.due.remove(&(listing.due, id));
                Some((listing, range_end))
            }
            (_, State::Computing(..)) => unreachable!("a listing that is read for has no job out"),
        }
    }

    pub(super) fn finish_job(&mut self, op: OpId) -> Computed {
        if let Some(conn) = self.orphans.remove(&op) {
            return Computed::Orphan(conn);
        }
        let id = self.jobs.remove(&op).expect("one completion for each job");
        match self.open.remove(&id) {
            Some((listing, State::Computing(_, candidate))) => Computed::For(Box::new((listing, candidate))),
            other => unreachable!("a listing with a job out waits for it, and is not {other:?}"),
        }
    }

    /// Takes out those whose time is up, with the reads to be given up.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Listing, ReadId)> {
        let mut expired = Vec::new();
        while let Some(&(due, id)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            if let Some((listing, State::Reading(read, _))) = self.open.remove(&id) {
                self.reads.remove(&read);
                expired.push((listing, read));
            }
        }
        expired
    }

    /// The connection is gone. Returns the reads to be given up.
    pub(super) fn forget(&mut self, conn: ConnId) -> Vec<ReadId> {
        let gone: Vec<_> = self.open.extract_if(.., |_, (listing, _)| listing.asked.conn == conn).collect();
        let mut reads = Vec::new();
        for (id, (listing, state)) in gone {
            match state {
                State::Reading(read, _) => {
                    self.due.remove(&(listing.due, id));
                    self.reads.remove(&read);
                    reads.push(read);
                }
                State::Computing(op, _) => {
                    self.jobs.remove(&op);
                    self.orphans.insert(op, conn);
                }
            }
        }
        reads
    }

    /// A read's call is out for a connection that is gone. If an earlier one pays for it, whose read it was before, nobody
    /// else need do so.
    pub(super) fn orphan(&mut self, op: OpId, conn: ConnId) {
        self.orphans.entry(op).or_insert(conn);
    }

    /// Such a call is completed. For whom it was; `None` if it is not such a call.
    pub(super) fn take_orphan(&mut self, op: OpId) -> Option<ConnId> {
        self.orphans.remove(&op)
    }

    /// Whether a job or a read for a connection that is gone is out.
    pub(super) fn has_orphan_of(&self, conn: ConnId) -> bool {
        self.orphans.values().any(|orphan| *orphan == conn)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.first().map(|(at, _)| Deadline { at: *at, reason: "give up looking for a record by its time" })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.orphans.is_empty()
    }

    fn next_id(&mut self) -> ListingId {
        self.issued += 1;
        ListingId(self.issued)
    }
}
