//! A life of a ring: appends, cuts, trims and space, from its format to its close.
//!
//! ```text
//!   durable header's trim   trim      mark      whole   durable    head
//!  --------|----------------|---------|---------|-------|----------|- - - pending - - -|- - granted - -|
//!          |<- waits for the header ->|         |       |
//!          |<--------------------------- at most the ring ------------------------------------------->|
//! ```

use super::header::Ending;
use super::headers::Headers;
use super::log::Log;
use super::machine::Rules;
use crate::disk::DiskOp;
use crate::id::Lsn;
use crate::machine::{Deadline, Effects, Instant, Mark, Now, OpId, OpIds, sometimes};
use crate::mail::Mail;
use crate::shard;
use crate::wal::{Append, CutMarker, CutReason, Effect, Positions};
use alloc::vec::Vec;
use core::time::Duration;

/// After so long without an acknowledgement the header records the durable LSN.
const IDLE: Duration = Duration::from_secs(1);

/// A ring in use.
#[derive(Debug)]
pub(super) struct Open {
    rules: Rules,
    log: Log,
    headers: Headers,
    /// Given to the shard and not used by it yet.
    granted: u64,
    /// Everything below is committed.
    trim: Lsn,
    /// The last cut marker's LSN.
    mark: Lsn,
    last_ack: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The first header is being written.
    Formatting,
    Serving,
    /// Asked to close; something is still in flight.
    Draining,
    /// The clean header is being written.
    Closing,
}

/// What a completed write was the last step of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nothing in particular.
    Progress,
    /// The life has begun.
    Formatted,
    /// The ring is closed and clean.
    Closed,
}

impl Open {
    /// Begins a life: its first header.
    pub(super) fn format(mut headers: Headers, log: Log, rules: Rules, op: OpId) -> (Self, DiskOp) {
        let write = headers.write(op, Lsn(0), Lsn(0), Ending::Open);
        let open = Self {
            rules,
            log,
            headers,
            granted: 0,
            trim: Lsn(0),
            mark: Lsn(0),
            last_ack: Instant::default(),
            stage: Stage::Formatting,
        };
        (open, write)
    }

    /// Takes appends, within what was granted.
    pub(super) fn append(&mut self, batches: Vec<Append>) {
        assert!(batches.is_empty() || self.stage == Stage::Serving, "an append to a ring that is {:?}", self.stage);
        for append in batches {
            let cost = self.log.push(append);
            assert!(cost <= self.granted, "an append of cost {cost} beyond the {} bytes granted", self.granted);
            self.granted -= cost;
        }
    }

    /// Puts a cut marker behind what was delivered.
    pub(super) fn cut(&mut self, reason: CutReason, out: &mut Effects<Effect>) {
        self.mark = self.log.whole();
        out.push(Effect::Mail(Mail::Shard(shard::Mail::Cut(CutMarker { lsn: self.mark, reason }))));
        sometimes!(Mark::CutBelowDurable, self.mark < self.log.durable());
    }

    /// Up to where it is.
    pub(super) fn positions(&self) -> Positions {
        let (trim, durable, head) = (self.trim, self.log.durable(), self.log.head());
        Positions { trim, durable, head, used: head.0 - trim.0, in_flight: head.0 - durable.0 }
    }

    /// Everything below is committed.
    pub(super) fn trim(&mut self, lsn: Lsn) {
        assert!(lsn <= self.mark, "a trim to {lsn}, beyond the last cut at {}", self.mark);
        self.trim = self.trim.max(lsn);
    }

    /// Nothing more will be appended.
    pub(super) fn close(&mut self) {
        assert_eq!(self.stage, Stage::Serving, "a ring is closed once, and while it serves");
        self.stage = Stage::Draining;
    }

    /// A write ended well.
    pub(super) fn written(&mut self, now: Now, op: OpId, out: &mut Effects<Effect>) -> Reached {
        if self.headers.written(op) {
            return self.header_written();
        }
        let before = self.log.durable();
        let records = self.log.written(op);
        if self.log.durable() > before {
            self.last_ack = now.mono;
        }
        if !records.is_empty() {
            out.push(Effect::Mail(Mail::Shard(shard::Mail::Appended(records))));
        }
        Reached::Progress
    }

    /// Begins whatever can be begun.
    pub(super) fn pump(&mut self, now: Now, ops: &mut OpIds, out: &mut Effects<Effect>) {
        while self.log.can_form() {
            let op = ops.issue();
            out.push(Effect::Disk(op, self.log.form(op, self.trim)));
        }
        self.write_header(now, ops, out);
        if self.is_half_full() {
            sometimes!(Mark::RingHalfFull);
            self.cut(CutReason::RingHalfFull, out);
        }
        self.grant(out);
    }

    /// When the header is to record the durable LSN.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let known = self.headers.durable()?.durable;
        let due = self.stage == Stage::Serving && !self.headers.busy() && known < self.log.durable();
        due.then(|| Deadline { at: self.last_ack.after(IDLE), reason: "record the durable LSN" })
    }

    /// The largest LSN at which the log may be cut.
    pub(super) fn whole(&self) -> Lsn {
        self.log.whole()
    }

    /// Blocks whose write has not ended.
    pub(super) fn writing(&self) -> usize {
        self.log.writing()
    }

    /// Given to the shard and not used by it yet.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Panics with what is broken.
    pub(super) fn invariants(&self) {
        self.log.invariants();
        let order = [self.headers.trim(), self.trim, self.mark, self.log.whole(), self.log.durable(), self.log.head()];
        assert!(order.is_sorted(), "out of order: freed, trim, mark, whole, durable, head = {order:?}");
        let ring = self.rules.geometry.ring();
        assert!(self.used() + self.promised() <= ring, "{} used and {} promised", self.used(), self.promised());
        assert!(self.windowed() <= self.rules.window, "{} bytes in a window of {}", self.windowed(), self.rules.window);
        assert!(self.stage == Stage::Serving || self.log.is_quiet() || self.stage == Stage::Draining);
    }

    fn header_written(&mut self) -> Reached {
        match self.stage {
            Stage::Formatting => {
                self.stage = Stage::Serving;
                Reached::Formatted
            }
            Stage::Closing => Reached::Closed,
            Stage::Serving | Stage::Draining => Reached::Progress,
        }
    }

    fn write_header(&mut self, now: Now, ops: &mut OpIds, out: &mut Effects<Effect>) {
        if self.headers.busy() || matches!(self.stage, Stage::Formatting | Stage::Closing) {
            return;
        }
        let durable = self.log.durable();
        let (trim, ending) = if self.stage == Stage::Draining && self.log.is_quiet() {
            self.stage = Stage::Closing;
            self.last_words()
        } else if self.trim > self.headers.trim() || self.deadline().is_some_and(|due| due.at <= now.mono) {
            sometimes!(Mark::IdleHeader, self.trim == self.headers.trim());
            (self.trim, Ending::Open)
        } else {
            return;
        };
        let op = ops.issue();
        out.push(Effect::Disk(op, self.headers.write(op, trim, durable, ending)));
    }

    /// What the header of a drained ring says. Records that came behind the last cut belong to streams that were deleted
    /// meanwhile, or nobody cut them: then the ring is not empty, and the next start decides.
    fn last_words(&mut self) -> (Lsn, Ending) {
        self.trim = self.mark;
        if self.mark == self.log.durable() {
            return (self.mark, Ending::Clean);
        }
        tracing::warn!(cut = self.mark.0, durable = self.log.durable().0, "the WAL is closed with records in no cut");
        (self.mark, Ending::Open)
    }

    /// Whether a cut is needed to make room. As long as at most half of the ring is in no cut, the other half becomes
    /// free by trims alone, and that holds the largest batch. It takes a quarter of new records to cut again, so that
    /// what is only in flight does not cause a cut at every completion.
    fn is_half_full(&self) -> bool {
        let ring = self.rules.geometry.ring();
        let uncut = self.log.head().0 - self.mark.0 + self.log.pending_cost();
        uncut >= ring / 2 && self.log.whole().0 - self.mark.0 >= ring / 4
    }

    fn grant(&mut self, out: &mut Effects<Effect>) {
        if self.stage != Stage::Serving {
            return;
        }
        let ring = self.rules.geometry.ring() - self.used() - self.promised();
        let window = self.rules.window - self.windowed();
        let more = ring.min(window);
        if more > 0 {
            self.granted += more;
            out.push(Effect::Mail(Mail::Shard(shard::Mail::Granted(more))));
        }
    }

    /// Bytes of the ring that a reader may need.
    fn used(&self) -> u64 {
        self.log.head().0 - self.headers.trim().0
    }

    /// Bytes that what was granted and not written will cost at most.
    fn promised(&self) -> u64 {
        self.granted + self.log.pending_cost()
    }

    /// Bytes of the window that are taken.
    fn windowed(&self) -> u64 {
        self.promised() + (self.log.head().0 - self.log.durable().0)
    }
}
