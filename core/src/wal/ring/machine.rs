//! The log on a device: which phase it is in, and who does what in it.

use super::open::{Open, Reached};
use super::opening::Opening;
use super::{Geometry, LARGEST_BLOCK};
use crate::disk::{DiskDone, DiskResult};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Mark, Now, OpId, OpIds, sometimes};
use crate::wal::{CutMarker, Effect, Mail, Positions, cost};
use crate::{node, shard};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

/// A write-ahead log on one device.
#[derive(Debug)]
pub(in crate::wal) struct RingWal {
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

/// What is fixed from the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) geometry: Geometry,
    /// The largest block.
    pub(super) block: u32,
    /// Writes in flight.
    pub(super) depth: usize,
    /// Bytes granted, pending and in flight.
    pub(super) window: u64,
}

impl Rules {
    /// How far the log may reach beyond what is durable.
    pub(super) fn in_flight(&self) -> u64 {
        u64::from(self.block) * self.depth as u64
    }
}

impl RingWal {
    /// The log on a device of `device_len` bytes; what does not fill a sector at its end is left alone.
    ///
    /// # Errors
    /// Says which limits don't fit the device, and how to mend it.
    pub(in crate::wal) fn new(device_len: u64, limits: &Limits) -> Result<Self, String> {
        let geometry = Geometry::of_device(device_len)?;
        limits.check(geometry.ring())?;
        if limits.wal_block > LARGEST_BLOCK {
            return Err(format!("a WAL block of {} bytes is above {LARGEST_BLOCK}", limits.wal_block));
        }
        // One batch must always fit through the window.
        let largest = limits.clone().fitted(geometry.ring()).largest_batch;
        let window = limits.wal_window.max(cost(largest as usize));
        let rules = Rules { geometry, block: limits.wal_block, depth: limits.wal_depth as usize, window };
        let phase = Phase::Opening(Box::new(Opening::new(rules)));
        Ok(Self { rules, ops: OpIds::default(), phase })
    }

    /// The limits, as they hold on a device of `device_len` bytes.
    ///
    /// # Errors
    /// When that leaves no room for a ring.
    pub(in crate::wal) fn fit(device_len: u64, limits: Limits) -> Result<Limits, String> {
        Ok(limits.fitted(Geometry::of_device(device_len)?.ring()))
    }

    /// Up to where the log is, while a life is open.
    pub(in crate::wal) fn positions(&self) -> Option<Positions> {
        match &self.phase {
            Phase::Open(open) => Some(open.positions()),
            _ => None,
        }
    }

    /// Bytes that it has granted to the shard and that no append has used; `None` unless it is open.
    pub(in crate::wal) fn granted(&self) -> Option<u64> {
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
            Mail::Recover { from, .. } => opening.recover(from, ops, out),
            Mail::RecoverMore => opening.recover_more(ops, out),
            Mail::Format { life, .. } => self.phase = Phase::Open(Box::new(opening.format(life, ops, out))),
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

impl RingWal {
    /// From another owner.
    pub(in crate::wal) fn hear(&mut self, now: Now, mail: Mail, out: &mut Effects<Effect>) {
        self.take_mail(mail, out);
        self.pump(now, out);
    }

    /// A disk operation ended.
    pub(in crate::wal) fn completed(&mut self, now: Now, op: OpId, result: DiskResult, out: &mut Effects<Effect>) {
        self.ended(now, op, result, out);
        self.pump(now, out);
    }

    /// Does what is due.
    pub(in crate::wal) fn pump(&mut self, now: Now, out: &mut Effects<Effect>) {
        if let Phase::Open(open) = &mut self.phase {
            open.pump(now, &mut self.ops, out);
        }
    }

    pub(in crate::wal) fn deadline(&self) -> Option<Deadline> {
        match &self.phase {
            Phase::Open(open) => open.deadline(),
            _ => None,
        }
    }

    pub(in crate::wal) fn invariants(&self) {
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
        Mail::Inspect | Mail::Recover { .. } | Mail::RecoverMore | Mail::Format { .. } => {
            panic!("{mail:?} to a ring that is open")
        }
    }
}
