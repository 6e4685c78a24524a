//! Rot on the WAL's device, judged at the moment when it happens by what the device and the metadata say.
//!
//! | where | what the broker owes |
//! |---|---|
//! | in a block that is not committed and that another block or the header records as durable | to refuse to start |
//! | in a header slot, or in a block that only proves how new the device is | to refuse, or to lose nothing |
//! | anywhere else, but in the newest blocks | to start, and to lose nothing |
//!
//! In the newest blocks, which nothing records as durable yet, rot looks like a torn write and loses what is in them:
//! they are spared.

use bytes::Bytes;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::id::{Lsn, NodeId};
use karst_core::metadata::Image;
use karst_core::wal::ring::Geometry;
use karst_core::wal::ring::block::{Identity, Sight, sight};
use karst_core::wal::ring::header::{SLOTS, Slots};
use karst_runtime_sim::fault::Label;
use std::ops::Range;

/// A sector that is to rot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rot {
    pub(super) at: DevicePos,
    /// What the next start owes.
    pub(super) label: Label,
}

/// Chooses a sector of a device with this content: `place`, in parts per million, says which. More than half of the
/// places are where there is something to lose.
pub(super) fn choose(device: &Bytes, node: NodeId, image: Option<&Image>, place: u64) -> Option<Rot> {
    let sectors = device.len() as u64 / SECTOR;
    let ring = image.and_then(|image| Ring::survey(device, node, image));
    let judged = (0..sectors).filter_map(|sector| {
        let label = match &ring {
            _ if sector < SLOTS => Some(Label::Ambiguous),
            Some(ring) => ring.label(sector * SECTOR),
            None => Some(Label::MustRecover),
        };
        label.map(|label| Rot { at: DevicePos(sector * SECTOR), label })
    });
    let (detected, others): (Vec<Rot>, Vec<Rot>) = judged.partition(|rot| rot.label == Label::MustDetect);
    let from = if place < 700_000 && !detected.is_empty() { detected } else { others };
    let nth = (place.wrapping_mul(7_919) % 1_000_000) as usize * from.len() / 1_000_000;
    from.get(nth).copied()
}

/// What a recovery needs of the ring.
#[derive(Debug)]
struct Ring {
    geometry: Geometry,
    blocks: Vec<Block>,
    /// Everything below is durable, as the header says.
    recorded: Lsn,
    /// Blocks here end where the recovery begins, and may be all that shows that the device is not an older copy.
    proof: Range<u64>,
}

/// A block that is not committed.
#[derive(Clone, Copy, Debug)]
struct Block {
    lsn: Lsn,
    end: Lsn,
    /// Everything below is durable, as it says.
    durable: Lsn,
}

impl Ring {
    /// `None` where nothing on the device is needed any more.
    fn survey(device: &Bytes, node: NodeId, image: &Image) -> Option<Self> {
        let geometry = Geometry::of_device(device.len() as u64).ok()?;
        let Slots::Newest(_, header) = Slots::read(&device.slice(..(SLOTS * SECTOR) as usize), geometry).ok()? else {
            return None;
        };
        let epoch = image.nodes.get(&node)?.epochs.get(&header.life.epoch).filter(|one| one.wal == header.life.uuid)?;
        let identity = Identity::from(&header.life);
        let start = header.trim.max(epoch.trim);
        let (mut blocks, mut next) = (Vec::new(), start);
        while next.0 < start.0 + geometry.ring()
            && let Sight::Block(block) = sight(device, geometry.position(next).0 as usize, &identity, header.block)
            && block.lsn() == next
        {
            blocks.push(Block { lsn: next, end: block.end(), durable: block.head().durable });
            next = block.end();
        }
        let proof = epoch.trim.0.saturating_sub(u64::from(header.block))..epoch.trim.0;
        Some(Self { geometry, blocks, recorded: header.durable, proof })
    }

    /// What rot at that place of the device demands; `None` where it may lose what was acknowledged.
    fn label(&self, at: u64) -> Option<Label> {
        let holds =
            |lsns: Range<u64>| lsns.step_by(SECTOR as usize).any(|lsn| self.geometry.position(Lsn(lsn)).0 == at);
        let Some(nth) = self.blocks.iter().position(|block| holds(block.lsn.0..block.end.0)) else {
            return Some(if holds(self.proof.clone()) { Label::Ambiguous } else { Label::MustRecover });
        };
        let others = self.blocks.iter().enumerate().filter(|(other, _)| *other != nth);
        let recorded = others.map(|(_, block)| block.durable).fold(self.recorded, Lsn::max);
        (recorded > self.blocks[nth].lsn).then_some(Label::MustDetect)
    }
}
