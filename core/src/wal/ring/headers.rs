//! Who writes the header: one slot after the other, one write at a time.

use super::header::{Ending, Header, Slot, Slots};
use super::machine::Rules;
use crate::disk::DiskOp;
use crate::id::Lsn;
use crate::machine::OpId;
use crate::wal::Life;

/// The headers of one life.
#[derive(Debug)]
pub(super) struct Headers {
    /// The newest that is durable, which for the first header is one of an earlier life, or none.
    newest: Slots,
    flight: Option<(OpId, Header)>,
    life: Life,
    rules: Rules,
}

impl Headers {
    /// For a life that begins on a device with these slots.
    pub(super) fn new(newest: Slots, life: Life, rules: Rules) -> Self {
        Self { newest, flight: None, life, rules }
    }

    /// Begins to write the next one.
    pub(super) fn write(&mut self, op: OpId, trim: Lsn, durable: Lsn, ending: Ending) -> DiskOp {
        assert!(self.flight.is_none(), "two headers in flight: a crash could tear both slots");
        assert!(trim <= durable, "a header that forgets what is not durable yet");
        let (slot, before) = match &self.newest {
            Slots::Blank => (Slot::First, 0),
            Slots::Newest(slot, header) => (slot.other(), header.generation),
        };
        let header = Header {
            life: self.life,
            generation: before + 1,
            ring: self.rules.geometry.ring(),
            trim,
            durable,
            block: self.rules.block,
            in_flight: self.rules.in_flight(),
            ending,
        };
        let data = header.encode().into();
        self.flight = Some((op, header));
        DiskOp::Write { at: slot.position(), data }
    }

    /// A write ended well. Returns whether it was a header's.
    pub(super) fn written(&mut self, op: OpId) -> bool {
        let Some((_, header)) = self.flight.take_if(|(flying, _)| *flying == op) else { return false };
        let slot = match &self.newest {
            Slots::Blank => Slot::First,
            Slots::Newest(slot, _) => slot.other(),
        };
        self.newest = Slots::Newest(slot, header);
        true
    }

    /// The newest durable header of this life.
    pub(super) fn durable(&self) -> Option<&Header> {
        match &self.newest {
            Slots::Newest(_, header) if header.life == self.life => Some(header),
            _ => None,
        }
    }

    /// Whether one is being written.
    pub(super) fn busy(&self) -> bool {
        self.flight.is_some()
    }

    /// What a durable header of this life says is free for reuse.
    pub(super) fn trim(&self) -> Lsn {
        self.durable().map_or(Lsn(0), |header| header.trim)
    }
}
