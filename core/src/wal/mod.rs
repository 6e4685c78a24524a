//! MACHINE: the write-ahead log.
//!
//! It owns the ring's device: what is read from it and written to it, and what may be overwritten. It promises:
//! - A record that it delivers ([`crate::shard::Mail::Appended`]) is on stable storage, as is every one before it, and
//!   is found again by a recovery of this life, whatever happens, until a header that trims it is durable. Records are
//!   delivered strictly in the order of their appends, although writes complete in any order.
//! - A recovery gives the contiguous prefix of one life, each record whole, byte for byte and once; or says loudly that
//!   records which were recorded as durable are missing. It never gives a record of another life, or one behind a gap.
//! - A cut marker is in order among the deliveries, and lies where no record crosses: everything delivered before it is
//!   below its LSN, everything after it is not.
//! - What it granted fits: an append within a grant never waits for a trim. As long as cuts are committed and trimmed,
//!   grants reach the cost of the largest batch again. When half of the ring is in no cut, it asks for one.
//! - A write that failed is never repeated: the log is *poisoned*, acknowledges nothing more and writes nothing more.
//!   It still answers [`Mail::Cut`], so that what was delivered can be saved.
//!
//! ```text
//!            Inspect              Recover, RecoverMore             Format             Close
//!  (unread) ---------> inspected ----------------------> inspected --------> serving -------> closed
//!               \-> refused                                                    | a write fails
//!                                                                              v
//!                                                                           poisoned
//! ```
//! Format and bounds are in [`ring`]. Inside, `opening` stands for all that precedes a life, with `recovery`
//! reading one back; `open` for a life, with `log` at its end and `headers` at its beginning.

mod headers;
mod log;
mod mail;
mod open;
mod opening;
mod recovery;
pub mod ring;

pub use mail::{Append, Appended, CutMarker, CutReason, Effect, Found, Input, Inspection, Life, Mail, Recovered};

use crate::disk::{DiskDone, DiskResult};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Machine, Mark, Now, OpId, OpIds, sometimes};
use crate::{node, shard};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use open::{Open, Reached};
use opening::Opening;
use ring::{Geometry, LARGEST_BLOCK};

/// The write-ahead log on one device.
#[derive(Debug)]
pub struct Wal {
    rules: Rules,
    ops: OpIds,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Opening(Box<Opening>),
    Open(Box<Open>),
    Closed,
    /// Everything below was delivered.
    Poisoned(Lsn),
}

/// Up to where a life's log is. Everything below `trim` is committed, everything below `durable` is on stable storage,
/// everything below `head` is written or being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The trim point, as the WAL was told.
    pub trim: Lsn,
    /// The end of what is durable.
    pub durable: Lsn,
    /// Where the next block begins.
    pub head: Lsn,
}

/// What is fixed from the start.
#[derive(Clone, Copy, Debug)]
struct Rules {
    geometry: Geometry,
    /// The largest block.
    block: u32,
    /// Writes in flight.
    depth: usize,
    /// Bytes granted, pending and in flight.
    window: u64,
}

impl Rules {
    /// How far the log may reach beyond what is durable.
    fn in_flight(&self) -> u64 {
        u64::from(self.block) * self.depth as u64
    }
}

impl Wal {
    /// The log on a device of `device_len` bytes; what does not fill a sector at its end is left alone.
    ///
    /// # Errors
    /// Says which limits don't fit the device, and how to mend it.
    pub fn new(device_len: u64, limits: &Limits) -> Result<Self, String> {
        let geometry = Geometry::of_device(device_len)?;
        limits.check(geometry.ring())?;
        if limits.wal_block > LARGEST_BLOCK {
            return Err(format!("a WAL block of {} bytes is above {LARGEST_BLOCK}", limits.wal_block));
        }
        // One batch must always fit through the window.
        let largest = limits.clone().fitted(geometry.ring()).largest_batch;
        let window = limits.wal_window.max(ring::cost(largest as usize));
        let rules = Rules { geometry, block: limits.wal_block, depth: limits.wal_depth as usize, window };
        let phase = Phase::Opening(Box::new(Opening::new(rules)));
        Ok(Self { rules, ops: OpIds::default(), phase })
    }

    /// The limits, as they hold on a device of `device_len` bytes.
    ///
    /// # Errors
    /// When that leaves no room for a ring.
    pub fn fit(device_len: u64, limits: Limits) -> Result<Limits, String> {
        Ok(limits.fitted(Geometry::of_device(device_len)?.ring()))
    }

    /// Up to where the log is, while a life is open.
    #[must_use]
    pub fn positions(&self) -> Option<Positions> {
        match &self.phase {
            Phase::Open(open) => Some(open.positions()),
            _ => None,
        }
    }

    /// Bytes that it has granted to the shard and that no append has used; `None` unless it is open.
    #[must_use]
    pub fn granted(&self) -> Option<u64> {
        match &self.phase {
            Phase::Open(open) => Some(open.granted()),
            Phase::Opening(_) | Phase::Closed | Phase::Poisoned(_) => None,
        }
    }

    fn take_mail(&mut self, mail: Mail, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Opening(_) => self.take_mail_opening(mail, out),
            Phase::Open(open) => take_mail_open(open, mail, out),
            Phase::Poisoned(delivered) => {
                // What was delivered can still be saved; nothing else is done any more.
                if let Mail::Cut(reason) = mail {
                    sometimes!(Mark::CutOfPoisonedWal);
                    let marker = CutMarker { lsn: *delivered, reason };
                    out.push(Effect::Mail(crate::mail::Mail::Shard(shard::Mail::Cut(marker))));
                }
            }
            Phase::Closed => tracing::debug!(?mail, "too late for the WAL"),
        }
    }

    fn take_mail_opening(&mut self, mail: Mail, out: &mut Effects<Effect>) {
        let Phase::Opening(opening) = &mut self.phase else { unreachable!("mail is taken while opening") };
        let ops = &mut self.ops;
        match mail {
            Mail::Inspect => opening.inspect(ops, out),
            Mail::Recover { from } => opening.recover(from, ops, out),
            Mail::RecoverMore => opening.recover_more(ops, out),
            Mail::Format(life) => self.phase = Phase::Open(Box::new(opening.format(life, ops, out))),
            // A recovery's cuts are committed while there is no life of which anything could be trimmed.
            Mail::Trim(lsn) => tracing::debug!(lsn = lsn.0, "nothing to trim yet"),
            Mail::Close => {
                self.phase = Phase::Closed;
                out.push(Effect::Mail(crate::mail::Mail::Node(node::Mail::WalClosed)));
            }
            Mail::Append(_) | Mail::Cut(_) => panic!("{mail:?} to a ring that is not open"),
        }
    }

    fn written(&mut self, now: Now, op: OpId, out: &mut Effects<Effect>) {
        let Phase::Open(open) = &mut self.phase else { unreachable!("only an open log writes") };
        let reached = open.written(now, op, out);
        match reached {
            Reached::Progress => {}
            Reached::Formatted => out.push(Effect::Mail(crate::mail::Mail::Node(node::Mail::WalFormatted))),
            Reached::Closed => {
                self.phase = Phase::Closed;
                out.push(Effect::Mail(crate::mail::Mail::Node(node::Mail::WalClosed)));
            }
        }
    }

    fn poison(&mut self, what: String, out: &mut Effects<Effect>) {
        let Phase::Open(open) = &self.phase else { unreachable!("only an open log fails") };
        tracing::error!(%what, "the WAL is poisoned");
        sometimes!(Mark::PoisonedWithWritesInFlight, open.writing() > 1);
        self.phase = Phase::Poisoned(open.whole());
        out.push(Effect::Mail(crate::mail::Mail::Shard(shard::Mail::WalPoisoned)));
        out.push(Effect::Mail(crate::mail::Mail::Node(node::Mail::WalPoisoned(what))));
    }

    fn ended(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects<Effect>) {
        match &mut self.phase {
            Phase::Opening(opening) => opening.read(op, result, &mut self.ops, out),
            Phase::Open(_) => match result {
                Ok(DiskDone::Written) => self.written(now, op, out),
                Ok(DiskDone::Read(_)) => unreachable!("a write ended as a read"),
                Err(error) => self.poison(format!("a write to the WAL failed: {error}"), out),
            },
            // Completions of what was in flight when it ended.
            Phase::Poisoned(_) | Phase::Closed => {}
        }
    }
}

impl Machine for Wal {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Mail(mail) => self.take_mail(mail, out),
            Input::Disk(op, result) => self.ended(now, op, result, out),
            Input::Tick => {}
        }
        if let Phase::Open(open) = &mut self.phase {
            open.pump(now, &mut self.ops, out);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Open(open) => open.deadline(),
            _ => None,
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.rules.window > 0, "a window of nothing admits nothing");
        if let Phase::Open(open) = &self.phase {
            open.invariants();
        }
    }
}

fn take_mail_open(open: &mut Open, mail: Mail, out: &mut Effects<Effect>) {
    match mail {
        Mail::Append(batches) => open.append(batches),
        Mail::Cut(reason) => open.cut(reason, out),
        Mail::Trim(lsn) => open.trim(lsn),
        Mail::Close => open.close(),
        Mail::Inspect | Mail::Recover { .. } | Mail::RecoverMore | Mail::Format(_) => {
            panic!("{mail:?} to a ring that is open")
        }
    }
}

#[cfg(test)]
mod tests;
