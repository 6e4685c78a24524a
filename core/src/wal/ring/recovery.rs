//! Reading back what a life left.
//!
//! ```text
//!  start                          hole                 hole + in flight
//!  |-- block -- block -- block --|???|- - - - - - - - -|
//!  |<----- reading, in parts --->|<---- scanning ----->|
//! ```
//! From the start on, blocks follow each other: each of this life, valid, and with the LSN at which the one before ends.
//! The first place where that is not so is the *hole*: a torn tail, which is the end of the log, or damage. Parallel
//! writes may have left blocks behind a hole, so those within the bound on what is in flight are looked at. What they
//! and the header say was durable beyond the hole has been acknowledged: then it is damage.
//!
//! Two more things may lie at a start. A block of a later lap: the header slot that freed this place is lost, and the
//! block says where to begin instead. Nothing, although the metadata says that the log was committed up to here: then
//! the header or a block must show that this life ever came so far, or the disk is older than the metadata.

use super::Geometry;
use super::block::{Block, Identity, Sight, sight};
use super::fragments::Assembler;
use super::header::Header;
use super::{LARGEST_BLOCK, LARGEST_NUMBER};
use crate::disk::{DiskError, DiskOp, SECTOR};
use crate::id::Lsn;
use crate::machine::{Mark, sometimes};
use crate::wal::{Appended, Recovered};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// One read takes so many of the largest blocks, but at most [`CHUNK`] bytes if one of them fits into that.
const BLOCKS_PER_CHUNK: u32 = 4;
const CHUNK: u32 = 4 << 20;

/// A recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    geometry: Geometry,
    header: Header,
    identity: Identity,
    /// What the metadata knows as committed.
    from: Lsn,
    start: Lsn,
    /// Where the next block must begin.
    next: Lsn,
    assembler: Assembler,
    /// Of the part that is being made.
    records: Vec<Appended>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Reading,
    /// Until the node asks for more.
    Waiting,
    /// Looking behind the hole at `next`, having come to `at`.
    Scanning {
        at: Lsn,
        seen: Seen,
    },
    /// Looking for a block that ends at the start, from here on.
    LookingBack {
        at: Lsn,
    },
    Ended,
}

/// What blocks behind a hole say.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    any: bool,
    durable: Lsn,
    trim: Lsn,
}

/// What a recovery wants next.
#[derive(Debug)]
pub(super) enum Step {
    /// Read this.
    Read(DiskOp),
    /// Tell the node.
    Tell(Recovered),
}

impl Recovery {
    /// Begins, given the newest header and the trim point that the metadata knows.
    pub(super) fn begin(geometry: Geometry, header: Header, from: Lsn) -> (Self, Step) {
        let start = header.trim.max(from);
        let identity = Identity::from(&header.life);
        let mut recovery = Self {
            geometry,
            header,
            identity,
            from,
            start,
            next: start,
            assembler: Assembler::default(),
            records: Vec::new(),
            stage: Stage::Reading,
        };
        let step = if from.0.is_multiple_of(SECTOR) && from.0 <= LARGEST_NUMBER {
            recovery.read_on()
        } else {
            recovery.damaged(format!(
                "the metadata says that the WAL is committed up to LSN {from}, which is no place in it"
            ))
        };
        (recovery, step)
    }

    /// The node wants the next part.
    pub(super) fn more(&mut self) -> Step {
        assert!(matches!(self.stage, Stage::Waiting), "more is asked for only where there may be more");
        self.read_on()
    }

    /// Whether everything was told.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// What was asked for arrived.
    pub(super) fn read(&mut self, chunk: &Bytes) -> Step {
        match self.stage {
            Stage::Reading => self.follow(chunk),
            Stage::Scanning { at, seen } => self.scan(chunk, at, seen),
            Stage::LookingBack { at } => self.look_back(chunk, at),
            Stage::Waiting | Stage::Ended => unreachable!("nothing was asked for"),
        }
    }

    /// What was asked for can't be read.
    pub(super) fn failed(&mut self, error: DiskError) -> Step {
        self.stage = Stage::Ended;
        sometimes!(Mark::RecoveryReadFailed);
        Step::Tell(Recovered::Unreadable(format!(
            "the WAL can't be read at or behind LSN {}: {error}; its device needs attention, and nothing on it was \
             changed",
            self.next
        )))
    }

    /// Takes the blocks of a chunk that begins at `next`.
    fn follow(&mut self, chunk: &Bytes) -> Step {
        let mut at = 0;
        while at < chunk.len() {
            match sight(chunk, at, &self.identity, self.header.block) {
                Sight::Block(block) if block.lsn() == self.next => {
                    if let Err(error) = self.assembler.take(&block, &mut self.records) {
                        return self.damaged(format!(
                            "the block at LSN {} of the WAL does not fit what is before it: it {error}",
                            block.lsn()
                        ));
                    }
                    self.next = block.end();
                    at += block.len() as usize;
                }
                Sight::Incomplete if at > 0 => break,
                _ => return self.scan_from(self.next, Seen::default()),
            }
        }
        if self.next >= self.end() {
            return self.end_here();
        }
        if self.records.is_empty() {
            return self.read_on();
        }
        self.stage = Stage::Waiting;
        self.part(More::Maybe)
    }

    /// Looks at the sectors of a chunk that begins at `from`, behind the hole.
    fn scan(&mut self, chunk: &Bytes, from: Lsn, mut seen: Seen) -> Step {
        let mut at = 0;
        while at < chunk.len() {
            let here = Lsn(from.0 + at as u64);
            match sight(chunk, at, &self.identity, self.header.block) {
                Sight::Block(block) if self.belongs_behind(&block, here) => {
                    seen.any = true;
                    seen.durable = seen.durable.max(block.head().durable);
                    seen.trim = seen.trim.max(block.head().trim);
                    at += block.len() as usize;
                }
                Sight::Incomplete if at > 0 => break,
                _ => at += SECTOR as usize,
            }
        }
        self.scan_from(Lsn(from.0 + at as u64), seen)
    }

    /// Whether a block found where LSN `here` would be is there rightly, in this lap or a later one.
    fn belongs_behind(&self, block: &Block, here: Lsn) -> bool {
        block.lsn() >= here && self.geometry.position(block.lsn()) == self.geometry.position(here)
    }

    fn scan_from(&mut self, at: Lsn, seen: Seen) -> Step {
        // A block that begins just within the bound still counts: the one before it may end exactly there.
        let limit = self.end().min(Lsn(self.next.0 + self.header.in_flight + SECTOR));
        if at >= limit {
            return self.judge(seen);
        }
        self.stage = Stage::Scanning { at, seen };
        // A block that begins before the limit may end behind it.
        self.read_at(at, Lsn(limit.0 + u64::from(self.header.block)).min(self.end()))
    }

    /// Decides what the hole at `next` is.
    fn judge(&mut self, seen: Seen) -> Step {
        let hole = self.next;
        if seen.trim > hole {
            if hole == self.start {
                return self.restart(seen.trim);
            }
            return self.damaged(format!(
                "the WAL was committed up to LSN {}, as its blocks say, and header and metadata know only of LSN {}: \
                 its newest header is lost, or the bucket was restored from an older copy",
                seen.trim, self.start
            ));
        }
        let durable = seen.durable.max(self.header.durable);
        if durable > hole {
            return self.damaged(format!(
                "the WAL is damaged at LSN {hole}: everything below LSN {durable} was stored safely and has been \
                 acknowledged; restore the device: what it held from there on is nowhere else"
            ));
        }
        sometimes!(Mark::TornTail, seen.any);
        let shown = seen.any || hole > self.from || self.header.trim >= self.from || self.header.durable >= self.from;
        if shown { self.end_here() } else { self.look_back_from() }
    }

    /// A later lap's block says that everything below `trim` is committed.
    fn restart(&mut self, trim: Lsn) -> Step {
        tracing::warn!(
            header = self.header.trim.0,
            block = trim.0,
            "the WAL's newest header is lost; going by its blocks"
        );
        self.start = trim;
        self.next = trim;
        self.read_on()
    }

    /// Nothing is at the start: looks for the block that ends there. It is not overwritten before a header with this
    /// trim point is durable.
    fn look_back_from(&mut self) -> Step {
        let to_lap = match self.from.0 % self.geometry.ring() {
            0 => self.geometry.ring(),
            into_lap => into_lap,
        };
        let at = Lsn(self.from.0 - to_lap.min(u64::from(self.header.block)));
        self.stage = Stage::LookingBack { at };
        self.read_at(at, self.from)
    }

    fn look_back(&mut self, chunk: &Bytes, from: Lsn) -> Step {
        for at in (0..chunk.len()).step_by(SECTOR as usize) {
            let here = Lsn(from.0 + at as u64);
            match sight(chunk, at, &self.identity, self.header.block) {
                Sight::Block(block) if self.belongs_behind(&block, here) && block.end() >= self.from => {
                    sometimes!(Mark::LookedBack);
                    return self.end_here();
                }
                _ => {}
            }
        }
        self.damaged(format!(
            "the disk is older than the metadata: that says the WAL was committed up to LSN {}, and nothing shows that \
             this copy of it ever came so far; bring back the newest copy",
            self.from
        ))
    }

    /// Where the ring is used up, counted from the start.
    fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.geometry.ring())
    }

    fn read_on(&mut self) -> Step {
        self.stage = Stage::Reading;
        self.read_at(self.next, self.end())
    }

    /// Reads a chunk from `at`, not beyond `limit` or the ring's end.
    fn read_at(&self, at: Lsn, limit: Lsn) -> Step {
        let chunk = self.header.block.saturating_mul(BLOCKS_PER_CHUNK).min(CHUNK.max(self.header.block));
        assert!(at < limit && chunk <= LARGEST_BLOCK.max(CHUNK), "a read of nothing or too much");
        let len = u64::from(chunk).min(limit.0 - at.0).min(self.geometry.to_end(at));
        Step::Read(DiskOp::Read { at: self.geometry.position(at), len: len as usize })
    }

    fn end_here(&mut self) -> Step {
        self.stage = Stage::Ended;
        tracing::info!(start = self.start.0, end = self.next.0, "the WAL was read back");
        self.part(More::No)
    }

    fn part(&mut self, more: More) -> Step {
        let records = core::mem::take(&mut self.records);
        let upto = self.assembler.whole_below(self.next);
        sometimes!(Mark::RecoveredInParts, more == More::Maybe);
        sometimes!(Mark::HalfRecord, more == More::No && upto < self.next);
        Step::Tell(Recovered::Part { records, upto, more: more == More::Maybe })
    }

    fn damaged(&mut self, what: String) -> Step {
        self.stage = Stage::Ended;
        self.records.clear();
        tracing::warn!(%what, "the WAL is damaged");
        Step::Tell(Recovered::Damaged(what))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Maybe,
    No,
}
