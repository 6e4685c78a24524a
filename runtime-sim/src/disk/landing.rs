//! How writes reach the platter, and what a crash leaves of those that had not.

use super::image::Part;
use super::{SimDisk, Ticket};
use crate::fates::apart;
use crate::fault::Chance;
use crate::time::SimTime;
use bytes::Bytes;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::machine::Rng;

const CRASH_LOST: &str = "disk.crash_lost";

/// Sectors on their way to the platter.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) at: DevicePos,
    pub(super) data: Bytes,
    pub(super) lands: Lands,
}

#[derive(Debug)]
pub(super) enum Lands {
    All,
    Some(Vec<bool>),
}

impl SimDisk {
    /// Lets everything land whose moment has come.
    pub(super) fn settle(&mut self, now: SimTime) {
        while let Some(entry) = self.landing.first_entry()
            && entry.key().0 <= now
        {
            let landing = entry.remove();
            self.land(&landing);
        }
    }

    fn land(&mut self, landing: &Landing) {
        for (nth, sector) in sectors(&landing.data).enumerate() {
            let lands = match &landing.lands {
                Lands::All => true,
                Lands::Some(some) => some[nth],
            };
            if lands {
                let index = landing.at.0 / SECTOR + nth as u64;
                self.unreadable.remove(&index);
                self.image.write_sector(index, sector);
            }
        }
    }

    /// Each part of what is drawn for it is drawn apart: its length moves nothing.
    pub(super) fn crash_write(&mut self, (now, ticket): (SimTime, Ticket), landing: Landing, rng: &mut Rng) {
        let knobs = self.knobs.crash;
        let (lost, kept, late) = (knobs.lose.fires(rng), knobs.keep.fires(rng), knobs.late.fires(rng));
        let delay = self.knobs.write.draw(&mut apart(rng));
        let leaves = match (lost, kept, late) {
            (true, ..) => CRASH_LOST,
            (_, true, _) => "disk.crash_kept",
            (.., true) => "disk.crash_late",
            _ => "disk.crash_partial",
        };
        // What may not happen loses the write, as the simplest of crashes does.
        let leaves = if leaves == CRASH_LOST || self.gate.happens(leaves) { leaves } else { CRASH_LOST };
        self.fired.add(leaves);
        if !(lost || kept || late) {
            let mut survives = scatter(landing.data.len(), knobs.sector_survives, &mut apart(rng));
            survives.iter_mut().for_each(|survives| *survives &= leaves != CRASH_LOST);
            return self.tear(landing, survives, rng);
        }
        match leaves {
            "disk.crash_kept" => self.land(&landing),
            "disk.crash_late" => drop(self.landing.insert((now.after(delay), ticket), landing)),
            _ => {}
        }
    }

    fn tear(&mut self, mut landing: Landing, mut survives: Vec<bool>, rng: &mut Rng) {
        if let Lands::Some(some) = &landing.lands {
            survives.iter_mut().zip(some).for_each(|(survives, lands)| *survives &= lands);
        }
        for (nth, sector) in sectors(&landing.data).enumerate() {
            let rng = &mut apart(rng);
            let torn = self.knobs.crash.tear.fires(rng);
            if survives[nth] && torn && self.gate.happens("disk.crash_torn") {
                self.fired.add("disk.crash_torn");
                survives[nth] = false;
                let index = landing.at.0 / SECTOR + nth as u64;
                self.image.tear_sector(index, &sector, || part(self.knobs.crash.garble, rng));
            }
        }
        landing.lands = Lands::Some(survives);
        self.land(&landing);
    }
}

/// What becomes of one part of a torn sector.
fn part(garble: Chance, rng: &mut Rng) -> Part {
    let is_garbage = garble.fires(rng);
    match (is_garbage, rng.chance(1, 2)) {
        (true, _) => Part::Garbage(Rng::new(rng.next_u64())),
        (false, true) => Part::New,
        (false, false) => Part::Old,
    }
}

fn sectors(data: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..data.len() / SECTOR as usize).map(|nth| data.slice(nth * SECTOR as usize..(nth + 1) * SECTOR as usize))
}

/// Which sectors of a write of `len` bytes are the lucky ones.
pub(super) fn scatter(len: usize, survives: Chance, rng: &mut Rng) -> Vec<bool> {
    (0..len / SECTOR as usize).map(|_| survives.fires(rng)).collect()
}
