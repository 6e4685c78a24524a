//! Before a life: what the device holds.

use super::block::Identity;
use super::header::{Ending, SLOTS, Slots};
use super::headers::Headers;
use super::log::Log;
use super::machine::Rules;
use super::open::Open;
use super::recovery::{Recovery, Step};
use crate::disk::{DevicePos, DiskDone, DiskOp, DiskResult, SECTOR};
use crate::id::Lsn;
use crate::machine::{Effects, OpId, OpIds};
use crate::mail::Mail;
use crate::node;
use crate::wal::{Effect, Found, Inspection, Life};
use alloc::boxed::Box;
use alloc::format;

/// A ring that is not in use yet.
#[derive(Debug)]
pub(super) struct Opening {
    rules: Rules,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was asked yet.
    Unread,
    /// The header is being read.
    Inspecting(OpId),
    /// The device is not what it should be.
    Refused,
    /// The header is known.
    Inspected(Slots),
    /// What it says is being read back; the operation is the read in flight.
    Recovering(Slots, Option<OpId>, Box<Recovery>),
}

impl Opening {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, stage: Stage::Unread }
    }

    /// Reads the header.
    pub(super) fn inspect(&mut self, ops: &mut OpIds, out: &mut Effects<Effect>) {
        assert!(matches!(self.stage, Stage::Unread | Stage::Inspected(_) | Stage::Refused), "the ring is busy");
        let op = ops.issue();
        self.stage = Stage::Inspecting(op);
        out.push(Effect::Disk(op, DiskOp::Read { at: DevicePos(0), len: (SLOTS * SECTOR) as usize }));
    }

    /// Reads back what the header's life left.
    pub(super) fn recover(&mut self, from: Lsn, ops: &mut OpIds, out: &mut Effects<Effect>) {
        let slots = self.take_slots();
        let Slots::Newest(_, header) = &slots else { panic!("a blank device has nothing to recover") };
        let (recovery, step) = Recovery::begin(self.rules.geometry, header.clone(), from);
        let op = take_step(step, ops, out);
        self.stage = Stage::Recovering(slots, op, Box::new(recovery));
    }

    /// The next part of that.
    pub(super) fn recover_more(&mut self, ops: &mut OpIds, out: &mut Effects<Effect>) {
        let Stage::Recovering(_, op @ None, recovery) = &mut self.stage else { panic!("no recovery waits") };
        *op = take_step(recovery.more(), ops, out);
    }

    /// Begins a new life.
    pub(super) fn format(&mut self, life: Life, ops: &mut OpIds, out: &mut Effects<Effect>) -> Open {
        let headers = Headers::new(self.take_slots(), life, self.rules);
        let op = ops.issue();
        let (open, write) = Open::format(headers, Log::new(Identity::from(&life), self.rules), self.rules, op);
        tracing::info!(node = life.node.0, epoch = life.epoch.0, uuid = %life.uuid, "formatting the WAL");
        out.push(Effect::Disk(op, write));
        open
    }

    /// A read ended.
    pub(super) fn read(&mut self, op: OpId, result: DiskResult, ops: &mut OpIds, out: &mut Effects<Effect>) {
        match &mut self.stage {
            Stage::Inspecting(reading) if *reading == op => self.inspected(result, out),
            Stage::Recovering(_, reading, recovery) if *reading == Some(op) => {
                let step = match result {
                    Ok(DiskDone::Read(chunk)) => recovery.read(&chunk),
                    Ok(DiskDone::Written) => unreachable!("a read ended as a write"),
                    Err(error) => recovery.failed(error),
                };
                *reading = take_step(step, ops, out);
            }
            stage => panic!("a completion that nothing waits for: {op:?} while {stage:?}"),
        }
    }

    fn inspected(&mut self, result: DiskResult, out: &mut Effects<Effect>) {
        let slots = match result {
            Ok(DiskDone::Read(bytes)) => Slots::read(&bytes, self.rules.geometry),
            Ok(DiskDone::Written) => unreachable!("a read ended as a write"),
            Err(error) => {
                self.stage = Stage::Refused;
                let why = format!("its header can't be read: {error}");
                let found = node::Mail::WalFound(Inspection::Unreadable(why));
                return out.push(Effect::Mail(Mail::Node(found)));
            }
        };
        let (inspection, stage) = match slots {
            Err(why) => {
                tracing::warn!(%why, "the WAL is refused");
                (Inspection::Refused(why), Stage::Refused)
            }
            Ok(Slots::Blank) => (Inspection::Blank, Stage::Inspected(Slots::Blank)),
            Ok(Slots::Newest(slot, header)) => {
                let clean = header.ending == Ending::Clean;
                let found = Found { life: header.life, trim: header.trim, clean };
                (Inspection::Ring(found), Stage::Inspected(Slots::Newest(slot, header)))
            }
        };
        self.stage = stage;
        out.push(Effect::Mail(Mail::Node(node::Mail::WalFound(inspection))));
    }

    /// The slots, once nothing else needs them.
    fn take_slots(&mut self) -> Slots {
        match core::mem::replace(&mut self.stage, Stage::Unread) {
            Stage::Inspected(slots) => slots,
            Stage::Recovering(slots, None, recovery) if recovery.is_ended() => slots,
            stage => panic!("the ring is not ready for that: {stage:?}"),
        }
    }
}

/// Does what a recovery wants; returns the read that it then waits for.
fn take_step(step: Step, ops: &mut OpIds, out: &mut Effects<Effect>) -> Option<OpId> {
    match step {
        Step::Read(read) => {
            let op = ops.issue();
            out.push(Effect::Disk(op, read));
            Some(op)
        }
        Step::Tell(recovered) => {
            out.push(Effect::Mail(Mail::Node(node::Mail::WalRecovered(recovered))));
            None
        }
    }
}
