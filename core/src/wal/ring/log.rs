//! The log's end: appends that wait, blocks being written, and records acknowledged in order.
//!
//! ```text
//!      durable                         head
//!  ------->|  written |  writing | writing |<- - - - pending - - - -
//!          |<------- in flight ----------->|
//! ```

use super::block::{BLOCK_HEAD, BlockBuilder, BlockHead, FRAGMENT_HEAD, FragmentKind, Identity};
use super::machine::Rules;
use crate::disk::{DiskOp, SECTOR};
use crate::id::Lsn;
use crate::machine::{Mark, OpId, sometimes};
use crate::wal::cost::payload_cost;
use crate::wal::record::{self, RECORD_HEAD, STAMPED};
use crate::wal::{Append, Appended, cost};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// The end of one life's log.
#[derive(Debug)]
pub(super) struct Log {
    identity: Identity,
    rules: Rules,
    head: Lsn,
    durable: Lsn,
    whole: Lsn,
    pending: VecDeque<Append>,
    pending_cost: u64,
    /// The first pending record is partly in blocks already.
    cut: Option<Cut>,
    flight: VecDeque<Flight>,
    writing: usize,
}

/// The part of a record that is in blocks.
#[derive(Debug)]
struct Cut {
    from: Lsn,
    written: usize,
}

/// A block between head and durable.
#[derive(Debug)]
struct Flight {
    op: OpId,
    lsn: Lsn,
    end: Lsn,
    state: State,
    /// What it completes.
    records: Vec<Appended>,
    /// Below this every record is whole, once this block is durable.
    whole: Lsn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    Written,
}

/// What the next block will have.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Its bytes before padding.
    len: usize,
    /// Its first fragment, if that is not a whole record.
    lead: Option<Lead>,
    /// How many whole records follow.
    whole: usize,
}

/// A fragment of the first pending record: these bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lead {
    kind: FragmentKind,
    from: usize,
    upto: usize,
}

impl Log {
    /// A log of which nothing is written.
    pub(super) fn new(identity: Identity, rules: Rules) -> Self {
        Self {
            identity,
            rules,
            head: Lsn(0),
            durable: Lsn(0),
            whole: Lsn(0),
            pending: VecDeque::new(),
            pending_cost: 0,
            cut: None,
            flight: VecDeque::new(),
            writing: 0,
        }
    }

    /// Where the next block begins.
    pub(super) fn head(&self) -> Lsn {
        self.head
    }

    /// Everything below is on stable storage.
    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// The largest LSN up to the durable one that no record crosses: everything below it was delivered, and nothing
    /// above it. The only place at which the log may be cut.
    pub(super) fn whole(&self) -> Lsn {
        self.whole
    }

    /// What the pending records will cost at most.
    pub(super) fn pending_cost(&self) -> u64 {
        self.pending_cost
    }

    /// Blocks whose write has not ended.
    pub(super) fn writing(&self) -> usize {
        self.writing
    }

    /// Whether every append is durable.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.flight.is_empty()
    }

    /// Adds an append. Returns its cost.
    pub(super) fn push(&mut self, append: Append) -> u64 {
        assert!(append.batch.len() >= STAMPED, "a batch too short to have been checked");
        assert!(append.base < append.end, "a batch without records");
        let cost = cost(append.batch.len());
        self.pending_cost += cost;
        self.pending.push_back(append);
        cost
    }

    /// Whether another block can be formed now.
    pub(super) fn can_form(&self) -> bool {
        let room = self.rules.in_flight() - u64::from(self.rules.block);
        !self.pending.is_empty() && self.writing < self.rules.depth && self.head.0 - self.durable.0 <= room
    }

    /// Forms the next block of what is pending and begins to write it. `trim` is what it will say is committed.
    pub(super) fn form(&mut self, op: OpId, trim: Lsn) -> DiskOp {
        assert!(self.can_form(), "a block is formed when it may be");
        let lsn = self.head;
        let plan = self.plan();
        let mut builder = BlockBuilder::new(plan.len.next_multiple_of(SECTOR as usize));
        let lead = plan.lead.map(|lead| builder.lead(lead, &self.pending[0]));
        let skip = usize::from(plan.ends_first());
        for append in self.pending.iter().skip(skip).take(plan.whole) {
            builder.begin(FragmentKind::Full, append, append.batch.len());
        }
        let block = builder.finish(&self.identity, &BlockHead { lsn, durable: self.durable, trim });
        let mut records = Vec::with_capacity(plan.whole + skip);
        let mut at = BLOCK_HEAD;
        if let (Some(Lead { kind, upto, .. }), Some(piece)) = (plan.lead, lead) {
            at = piece.end;
            self.lead_written(kind, upto, &mut records);
        }
        self.take_whole(plan.whole, at, &block, &mut records);
        self.head = Lsn(lsn.0 + block.len() as u64);
        let at_ring_end = self.head.0.is_multiple_of(self.rules.geometry.ring());
        sometimes!(Mark::RecordCrossesRingEnd, at_ring_end && self.cut.is_some());
        self.writing += 1;
        let whole = self.cut.as_ref().map_or(self.head, |cut| cut.from);
        self.flight.push_back(Flight { op, lsn, end: self.head, state: State::Writing, records, whole });
        DiskOp::Write { at: self.rules.geometry.position(lsn), data: block.into() }
    }

    /// A block's write ended well. Returns the records that are durable by that, in order.
    pub(super) fn written(&mut self, op: OpId) -> Vec<Appended> {
        let at = self.flight.binary_search_by_key(&op, |flight| flight.op).expect("a completion of a block's write");
        assert_eq!(self.flight[at].state, State::Writing, "a second completion of one write");
        sometimes!(Mark::BlocksOutOfOrder, at > 0);
        self.flight[at].state = State::Written;
        self.writing -= 1;
        let mut records = Vec::new();
        while let Some(first) = self.flight.pop_front_if(|first| first.state == State::Written) {
            self.durable = first.end;
            self.whole = first.whole;
            if records.is_empty() {
                records = first.records;
            } else {
                records.extend(first.records);
            }
        }
        records
    }

    /// Panics with what is broken. Bounded by what is in flight.
    pub(super) fn invariants(&self) {
        let mut at = self.durable;
        for flight in &self.flight {
            assert_eq!(flight.lsn, at, "blocks in flight follow each other");
            assert!(flight.whole <= flight.end && flight.whole >= self.whole, "records are completed in order");
            let len = flight.end.0 - flight.lsn.0;
            assert!((SECTOR..=u64::from(self.rules.block)).contains(&len), "a block of {len} bytes");
            assert!(len <= self.rules.geometry.to_end(flight.lsn), "a block crosses the ring's end");
            at = flight.end;
        }
        assert_eq!(at, self.head, "the last block in flight ends at the head");
        let writing = self.flight.iter().filter(|flight| flight.state == State::Writing).count();
        assert_eq!(self.writing, writing, "writes in flight are counted");
        assert!(writing <= self.rules.depth, "more writes in flight than allowed");
        assert!(self.flight.front().is_none_or(|first| first.state == State::Writing), "a durable prefix is kept back");
        assert!(self.flight.iter().is_sorted_by_key(|flight| flight.op), "blocks are found by their operation");
        assert!(self.head.0 - self.durable.0 <= self.rules.in_flight(), "more in flight than the header says");
        assert!(self.whole <= self.durable, "more was delivered than is durable");
        assert_eq!(self.pending.is_empty(), self.pending_cost == 0, "pending records have a cost");
        assert!(self.cut.is_none() || !self.pending.is_empty(), "a record that is cut has an end to come");
    }

    /// Decides what the next block has: as much as there is, up to the largest block and the ring's end.
    fn plan(&self) -> Plan {
        let room = self.rules.geometry.to_end(self.head).min(u64::from(self.rules.block)) as usize;
        let mut plan = Plan { len: BLOCK_HEAD, lead: None, whole: 0 };
        if let Some(lead) = self.lead(room) {
            let head = if lead.kind == FragmentKind::First { RECORD_HEAD } else { 0 };
            plan.len += FRAGMENT_HEAD + head + (lead.upto - lead.from);
            plan.lead = Some(lead);
            if lead.kind != FragmentKind::Last {
                return plan;
            }
        }
        for append in self.pending.iter().skip(usize::from(plan.ends_first())) {
            let len = FRAGMENT_HEAD + RECORD_HEAD + append.batch.len();
            if plan.len + len > room {
                break;
            }
            plan.len += len;
            plan.whole += 1;
        }
        plan
    }

    /// The first fragment, if the first pending record is cut or has to be: that one begins a block of its own, so
    /// that the log can be cut before it.
    fn lead(&self, room: usize) -> Option<Lead> {
        let batch = self.pending.front()?.batch.len();
        let payload = room - BLOCK_HEAD - FRAGMENT_HEAD;
        match &self.cut {
            Some(cut) if batch - cut.written <= payload => {
                Some(Lead { kind: FragmentKind::Last, from: cut.written, upto: batch })
            }
            Some(cut) => Some(Lead { kind: FragmentKind::Middle, from: cut.written, upto: cut.written + payload }),
            None if RECORD_HEAD + batch <= payload => None,
            None => Some(Lead { kind: FragmentKind::First, from: 0, upto: payload - RECORD_HEAD }),
        }
    }

    /// Keeps account of the first pending record after a fragment of it, up to `upto` bytes of its batch, was put into
    /// the block at the head.
    fn lead_written(&mut self, kind: FragmentKind, upto: usize, records: &mut Vec<Appended>) {
        let from = self.head;
        let len = self.pending[0].batch.len();
        let cut = self.cut.get_or_insert(Cut { from, written: 0 });
        let before = if kind == FragmentKind::First { RECORD_HEAD + len } else { len - cut.written };
        self.pending_cost -= payload_cost(before as u64);
        self.pending_cost += payload_cost((len - upto) as u64);
        cut.written = upto;
        sometimes!(Mark::RecordSpansBlocks, kind == FragmentKind::First);
        if kind == FragmentKind::Last {
            self.cut = None;
            let append = self.pending.pop_front().expect("its last fragment was just written");
            // A copy of what came, and not of the blocks: those would all have to stay in memory until now.
            records.push(record::appended(&append, record::stamped(&append)));
        }
    }

    /// Takes `count` whole records, whose fragments begin at `at` in the block, off the pending ones.
    fn take_whole(&mut self, count: usize, mut at: usize, block: &Bytes, records: &mut Vec<Appended>) {
        for append in self.pending.drain(..count) {
            self.pending_cost -= cost(append.batch.len());
            let from = at + FRAGMENT_HEAD + RECORD_HEAD;
            at = from + append.batch.len();
            records.push(record::appended(&append, block.slice(from..at)));
        }
    }
}

impl Plan {
    /// Whether the lead completes its record.
    fn ends_first(&self) -> bool {
        matches!(self.lead, Some(Lead { kind: FragmentKind::Last, .. }))
    }
}

impl BlockBuilder {
    fn lead(&mut self, lead: Lead, append: &Append) -> core::ops::Range<usize> {
        if lead.kind == FragmentKind::First {
            self.begin(lead.kind, append, lead.upto)
        } else {
            self.resume(lead.kind, &append.batch[lead.from..lead.upto])
        }
    }
}
