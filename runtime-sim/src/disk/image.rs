//! What is on the platter: the bytes that were written, and, laid over them, what rotted since. So what should be there
//! is always known.

use bytes::Bytes;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::machine::Rng;
use std::collections::BTreeMap;

const SECTOR_LEN: usize = SECTOR as usize;

/// What is left of a 512-byte part of a torn sector.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Old,
    New,
    Garbage(Rng),
}

/// The content of a device. Sectors that were never written are zeros and take no room; copies share their bytes.
#[derive(Clone, Debug, Default)]
pub struct Image {
    sectors: BTreeMap<u64, Bytes>,
    rot: BTreeMap<u64, u8>,
}

impl Image {
    /// What a read returns.
    #[must_use]
    pub fn read(&self, at: DevicePos, len: usize) -> Vec<u8> {
        let mut out = self.pristine(at, len);
        for (pos, mask) in self.rot.range(at.0..at.0 + len as u64) {
            out[(pos - at.0) as usize] ^= mask;
        }
        out
    }

    /// What a read would return if nothing had rotted.
    #[must_use]
    pub fn pristine(&self, at: DevicePos, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let end = at.0 + len as u64;
        for (index, sector) in self.sectors.range(at.0 / SECTOR..end.div_ceil(SECTOR)) {
            let start = index * SECTOR;
            let (from, to) = (start.max(at.0), (start + SECTOR).min(end));
            let part = &sector[(from - start) as usize..(to - start) as usize];
            out[(from - at.0) as usize..(to - at.0) as usize].copy_from_slice(part);
        }
        out
    }

    /// Whether every sector of the range was written before.
    #[must_use]
    pub fn is_allocated(&self, at: DevicePos, len: usize) -> bool {
        let (first, end) = (at.0 / SECTOR, (at.0 + len as u64).div_ceil(SECTOR));
        self.sectors.range(first..end).count() as u64 == end - first
    }

    /// Writes one sector, which ends its rot.
    pub(super) fn write_sector(&mut self, index: u64, data: Bytes) {
        assert_eq!(data.len(), SECTOR_LEN, "a sector is written whole");
        if !self.rot.is_empty() {
            self.rot.retain(|pos, _| pos / SECTOR != index);
        }
        self.sectors.insert(index, data);
    }

    /// Writes some of a sector's 512-byte parts.
    pub(super) fn tear_sector(&mut self, index: u64, data: &Bytes, mut becomes: impl FnMut() -> Part) {
        const PART: usize = 512;
        let mut torn = self.pristine(DevicePos(index * SECTOR), SECTOR_LEN);
        for (old, new) in torn.chunks_mut(PART).zip(data.chunks(PART)) {
            match becomes() {
                Part::Old => {}
                Part::New => old.copy_from_slice(new),
                Part::Garbage(mut rng) => old.fill_with(|| rng.below(256) as u8),
            }
        }
        self.write_sector(index, torn.into());
    }

    /// Turns one bit over.
    pub(super) fn flip(&mut self, at: u64, bit: u32) {
        let mask = self.rot.entry(at).or_default();
        *mask ^= 1 << (bit % 8);
        if *mask == 0 {
            self.rot.remove(&at);
        }
    }

    /// Undoes all rot.
    pub(super) fn mend(&mut self) {
        self.rot.clear();
    }

    /// Some sector that was written.
    pub(super) fn pick_written(&self, rng: &mut Rng) -> Option<u64> {
        let last = *self.sectors.last_key_value()?.0;
        let from = rng.below(last + 1);
        self.sectors.range(from..).next().map(|(index, _)| *index)
    }
}
