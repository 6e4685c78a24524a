//! How writes reach the platter, and what a crash leaves of those that had not.

use super::{SimDisk, Ticket};
use crate::fault::Chance;
use crate::time::SimTime;
use bytes::Bytes;
use karst_core::disk::{DevicePos, SECTOR};
use karst_core::machine::Rng;

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

    pub(super) fn crash_write(&mut self, now: SimTime, ticket: Ticket, landing: Landing, rng: &mut Rng) {
        let knobs = self.knobs.crash;
        let (lost, kept, late) = (knobs.lose.fires(rng), knobs.keep.fires(rng), knobs.late.fires(rng));
        let delay = self.knobs.write.draw(rng);
        if lost {
            self.fired.add("disk.crash_lost");
        } else if kept {
            self.fired.add("disk.crash_kept");
            self.land(&landing);
        } else if late {
            self.fired.add("disk.crash_late");
            self.landing.insert((now.after(delay), ticket), landing);
        } else {
            self.fired.add("disk.crash_partial");
            let survives = scatter(landing.data.len(), knobs.sector_survives, rng);
            self.tear(landing, survives, rng);
        }
    }

    fn tear(&mut self, mut landing: Landing, mut survives: Vec<bool>, rng: &mut Rng) {
        if let Lands::Some(some) = &landing.lands {
            survives.iter_mut().zip(some).for_each(|(survives, lands)| *survives &= lands);
        }
        for (nth, sector) in sectors(&landing.data).enumerate() {
            let torn = self.knobs.crash.tear.fires(rng);
            if survives[nth] && torn {
                self.fired.add("disk.crash_torn");
                survives[nth] = false;
                let index = landing.at.0 / SECTOR + nth as u64;
                self.image.tear_sector(index, &sector, || rng.chance(1, 2));
            }
        }
        landing.lands = Lands::Some(survives);
        self.land(&landing);
    }
}

fn sectors(data: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..data.len() / SECTOR as usize).map(|nth| data.slice(nth * SECTOR as usize..(nth + 1) * SECTOR as usize))
}

/// Which sectors of a write of `len` bytes are the lucky ones.
pub(super) fn scatter(len: usize, survives: Chance, rng: &mut Rng) -> Vec<bool> {
    (0..len / SECTOR as usize).map(|_| survives.fires(rng)).collect()
}
