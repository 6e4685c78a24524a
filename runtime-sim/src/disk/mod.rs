//! FAULT MODEL: the disk under a write-ahead log.
//!
//! ```text
//!  submit ----- drawn latency -----> complete     the answer: exactly one, unless a crash comes first
//!     \--- drawn, earlier --> landed              the bytes are on stable storage
//!  crash: of each write that has not landed, nothing, all, or any of its sectors survive, whole or torn
//! ```
//! Operations in flight land and complete in any order. The disk outlives the incarnations of its node. Times are
//! simulated; nothing here waits.

mod image;
mod knobs;
mod landing;

#[cfg(test)]
mod tests;

pub use image::Image;
pub use knobs::{CrashKnobs, DiskKnobs};

use crate::fates::{Fates, apart};
use crate::fault::{Chance, Label};
use crate::gate::Gate;
use crate::report::Counters;
use crate::time::SimTime;
use bytes::Bytes;
use core::time::Duration;
use karst_core::disk::{DevicePos, DiskDone, DiskError, DiskOp, DiskResult, SECTOR};
use karst_core::machine::{Payload, Rng, Rope};
use landing::{Landing, Lands, scatter};
use std::collections::{BTreeMap, BTreeSet};

/// Names an operation until it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// When to ask for an operation's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Which operation.
    pub ticket: Ticket,
    /// When [`SimDisk::complete`] is due.
    pub at: SimTime,
}

/// Whether the device answers at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Working,
    /// Every write fails.
    ReadOnly,
    /// Every operation fails.
    Broken,
}

/// Whether the file system under a sparse WAL file can give it more blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// It can.
    Free,
    /// A write to a sector that was never written fails.
    Full,
}

/// Durable data that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Since when.
    pub at: SimTime,
    /// What happened.
    pub kind: DamageKind,
    /// Where.
    pub pos: DevicePos,
    /// How many bytes.
    pub len: u64,
    /// What the oracle may ask for.
    pub label: Label,
}

/// How data was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Bits turned over.
    Rot,
    /// A write for another place landed here.
    Overwritten,
    /// A write for this place was acknowledged and is not here.
    Missing,
}

/// A disk.
#[derive(Debug)]
pub struct SimDisk {
    size: u64,
    knobs: DiskKnobs,
    fates: Fates,
    image: Image,
    pending: BTreeMap<Ticket, Pending>,
    landing: BTreeMap<(SimTime, Ticket), Landing>,
    issued: u64,
    stalled_until: SimTime,
    health: Health,
    space: Space,
    unreadable: BTreeSet<u64>,
    damage: Vec<Damage>,
    gate: Gate,
    fired: Counters,
}

/// Operations of one kind that follow each other within this are told apart by their order. Their place would not do:
/// where a record goes hangs on all that were written before.
const SLOT: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Pending {
    Read { at: DevicePos, len: usize, fate: Result<(), DiskError> },
    Write(DiskResult),
}

impl SimDisk {
    /// A blank disk of `size` bytes.
    ///
    /// # Panics
    /// When the size is not a multiple of the sector's.
    #[must_use]
    pub fn new(size: u64, knobs: DiskKnobs, rng: &Rng) -> Self {
        assert!(size > 0 && size.is_multiple_of(SECTOR), "a disk is made of sectors");
        Self {
            size,
            knobs,
            fates: Fates::new(rng, SLOT),
            image: Image::default(),
            pending: BTreeMap::new(),
            landing: BTreeMap::new(),
            issued: 0,
            stalled_until: SimTime::ZERO,
            health: Health::Working,
            space: Space::Free,
            unreadable: BTreeSet::new(),
            damage: Vec::new(),
            gate: Gate::open(),
            fired: Counters::default(),
        }
    }

    /// Who decides which of its faults happen; at first all do.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
    }

    /// Begins an operation.
    ///
    /// # Panics
    /// When it is misaligned or outside the device: that is the machine's mistake.
    pub fn submit(&mut self, now: SimTime, op: DiskOp) -> Submitted {
        self.settle(now);
        self.issued += 1;
        let ticket = Ticket(self.issued);
        let latency = match &op {
            DiskOp::Read { .. } => self.knobs.read,
            DiskOp::Write { .. } => self.knobs.write,
        };
        let rng = &mut self.fates.draw(now, matches!(op, DiskOp::Write { .. }));
        self.maybe_stall(now, &mut apart(rng));
        let starts = now.max(self.stalled_until);
        let at = starts.after(latency.draw(&mut apart(rng)));
        let pending = match op {
            DiskOp::Read { at, len } => {
                self.check_range(at, len);
                Pending::Read { at, len, fate: self.read_fate(at, rng) }
            }
            DiskOp::Write { at: pos, data } => {
                self.check_range(pos, data.len());
                let lands_at = SimTime(rng.between(starts.0, at.0));
                Pending::Write(self.write(now, (pos, &data), (lands_at, ticket), rng))
            }
        };
        self.pending.insert(ticket, pending);
        Submitted { ticket, at }
    }

    /// Ends an operation whose time has come; `None` if a crash was faster.
    pub fn complete(&mut self, now: SimTime, ticket: Ticket) -> Option<DiskResult> {
        self.settle(now);
        Some(match self.pending.remove(&ticket)? {
            Pending::Write(result) => result,
            Pending::Read { fate: Err(error), .. } => Err(error),
            Pending::Read { at, len, .. } => {
                let sectors = at.0 / SECTOR..(at.0 + len as u64) / SECTOR;
                if self.unreadable.range(sectors).next().is_some() {
                    self.fired.add("disk.unreadable_sector");
                    return Some(Err(DiskError::Io));
                }
                Ok(DiskDone::Read(Payload::from(self.image.read(at, len))))
            }
        })
    }

    /// The node dies. What has landed stays; each write still on its way meets its own fate. No operation completes.
    pub fn crash(&mut self, now: SimTime, rng: &mut Rng) {
        self.settle(now);
        self.pending.clear();
        for ((_, ticket), landing) in core::mem::take(&mut self.landing) {
            self.crash_write((now, ticket), landing, &mut apart(rng));
        }
    }

    /// From now on operations take so much longer to begin.
    pub fn stall(&mut self, until: SimTime) {
        self.stalled_until = self.stalled_until.max(until);
        self.fired.add("disk.stall");
    }

    /// Breaks or mends the device.
    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// Fills the file system or frees room.
    pub fn set_space(&mut self, space: Space) {
        self.space = space;
    }

    /// Other faults from now on.
    pub fn set_knobs(&mut self, knobs: DiskKnobs) {
        self.knobs = knobs;
    }

    /// Turns over one bit in each byte of a range that is durable now.
    pub fn rot(&mut self, now: SimTime, at: DevicePos, len: u64) {
        self.settle(now);
        assert!(at.0.checked_add(len).is_some_and(|end| end <= self.size), "only what is on the device rots");
        let mut rng = self.fates.draw(now, "rot");
        for pos in at.0..at.0 + len {
            self.image.flip(pos, rng.below(8) as u32);
        }
        self.fired.add("disk.rot");
        self.record(now, DamageKind::Rot, at, len);
    }

    /// The operator brings back what rotted.
    pub fn mend(&mut self) {
        self.image.mend();
    }

    /// Ends all faults that last: rot, unreadable sectors, stalls, a broken or full device. What is lost stays lost.
    pub fn heal(&mut self) {
        self.image.mend();
        self.unreadable.clear();
        self.stalled_until = SimTime::ZERO;
        self.health = Health::Working;
        self.space = Space::Free;
    }

    /// A copy of what is durable now.
    pub fn snapshot(&mut self, now: SimTime) -> Image {
        self.settle(now);
        self.image.clone()
    }

    /// The device is another one: an older snapshot, or a blank one (`Image::default()`). Not while its node lives.
    ///
    /// # Panics
    /// When operations are in flight.
    pub fn replace(&mut self, image: Image) {
        assert!(self.pending.is_empty(), "a disk is replaced when its node is down");
        self.landing.clear();
        self.unreadable.clear();
        self.damage.clear();
        self.image = image;
        self.fired.add("disk.replaced");
    }

    /// What is durable now, for checkers.
    pub fn image(&mut self, now: SimTime) -> &Image {
        self.settle(now);
        &self.image
    }

    /// All damage to durable data so far, in order.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The device's length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes whose bytes are not on stable storage yet: where, what, and when they will be.
    pub fn on_their_way(&self, now: SimTime) -> impl Iterator<Item = (DevicePos, &Bytes, SimTime)> {
        let later = (SimTime(now.0.saturating_add(1)), Ticket(0));
        self.landing.range(later..).map(|((lands, _), landing)| (landing.at, &landing.data, *lands))
    }

    /// Where reads that were not answered yet begin.
    pub fn being_read(&self) -> impl Iterator<Item = DevicePos> {
        self.pending.values().filter_map(|pending| match pending {
            Pending::Read { at, .. } => Some(*at),
            Pending::Write(_) => None,
        })
    }

    /// Operations that wait for their completion.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Faults that fired.
    #[must_use]
    pub const fn fired(&self) -> &Counters {
        &self.fired
    }

    fn check_range(&self, at: DevicePos, len: usize) {
        let aligned = at.0.is_multiple_of(SECTOR) && (len as u64).is_multiple_of(SECTOR) && len > 0;
        assert!(aligned, "an operation of {len} bytes at {} is not aligned to sectors", at.0);
        let inside = at.0.checked_add(len as u64).is_some_and(|end| end <= self.size);
        assert!(inside, "an operation of {len} bytes at {} leaves a device of {}", at.0, self.size);
    }

    fn maybe_stall(&mut self, now: SimTime, rng: &mut Rng) {
        let stalls = self.knobs.stall.fires(rng);
        let length = self.knobs.stall_for.draw(rng);
        if stalls && self.gate.happens("disk.stall") {
            self.stall(now.after(length));
        }
    }

    fn read_fate(&mut self, at: DevicePos, rng: &mut Rng) -> Result<(), DiskError> {
        let fails = self.knobs.read_error.fires(rng);
        let sticks = self.knobs.read_error_sticks.fires(rng);
        if self.health == Health::Broken {
            self.fired.add("disk.broken");
            return Err(DiskError::Io);
        }
        if !fails || !self.gate.happens("disk.read_error") {
            return Ok(());
        }
        self.fired.add("disk.read_error");
        if sticks {
            self.unreadable.insert(at.0 / SECTOR);
        }
        Err(DiskError::Io)
    }

    fn write(
        &mut self,
        now: SimTime,
        (at, data): (DevicePos, &Rope),
        when: (SimTime, Ticket),
        rng: &mut Rng,
    ) -> DiskResult {
        // A copy: the machine's buffer must not live as long as the ring.
        let data = Bytes::copy_from_slice(&data.to_bytes());
        let fate = self.write_fate(at, data.len(), rng);
        let landing = match fate {
            Ok(()) => self.aim(now, at, data, rng),
            Err(DiskError::NoSpace) => return Err(DiskError::NoSpace),
            Err(DiskError::Io) => {
                let lands = scatter(data.len(), Chance::percent(50), rng);
                Landing { at, data, lands: Lands::Some(lands) }
            }
        };
        self.landing.insert(when, landing);
        fate.map(|()| DiskDone::Written)
    }

    fn write_fate(&mut self, at: DevicePos, len: usize, rng: &mut Rng) -> Result<(), DiskError> {
        let fails = self.knobs.write_error.fires(rng);
        let sticks = self.knobs.write_error_sticks.fires(rng);
        let finds_none = self.knobs.no_space.fires(rng);
        if self.health != Health::Working {
            self.fired.add("disk.broken");
            return Err(DiskError::Io);
        }
        let is_full = self.space == Space::Full && !self.image.is_allocated(at, len);
        if is_full || finds_none && self.gate.happens("disk.no_space") {
            self.fired.add("disk.no_space");
            return Err(DiskError::NoSpace);
        }
        if !fails || !self.gate.happens("disk.write_error") {
            return Ok(());
        }
        self.fired.add("disk.write_error");
        if sticks {
            self.health = Health::ReadOnly;
        }
        Err(DiskError::Io)
    }

    /// Where a write that is reported as done really goes.
    fn aim(&mut self, now: SimTime, at: DevicePos, data: Bytes, rng: &mut Rng) -> Landing {
        let rots = self.knobs.rot.fires(rng);
        let byte = &mut apart(rng);
        let rotten = self.image.pick_written(byte).map(|sector| sector * SECTOR + byte.below(SECTOR));
        let goes_astray = self.knobs.misdirect.fires(rng);
        let places = (self.size - data.len() as u64) / SECTOR + 1;
        let elsewhere = DevicePos(rng.below(places) * SECTOR);
        let is_lost = self.knobs.lose.fires(rng);
        let len = data.len() as u64;
        if rots
            && let Some(byte) = rotten
            && self.gate.happens("disk.rot")
        {
            self.rot(now, DevicePos(byte), 1);
        }
        if is_lost && self.gate.happens("disk.lost_write") {
            self.fired.add("disk.lost_write");
            self.record(now, DamageKind::Missing, at, len);
            let nowhere = vec![false; data.len() / SECTOR as usize];
            return Landing { at, data, lands: Lands::Some(nowhere) };
        }
        if goes_astray && elsewhere != at && self.gate.happens("disk.misdirected_write") {
            self.fired.add("disk.misdirected_write");
            self.record(now, DamageKind::Missing, at, len);
            self.record(now, DamageKind::Overwritten, elsewhere, len);
            return Landing { at: elsewhere, data, lands: Lands::All };
        }
        Landing { at, data, lands: Lands::All }
    }

    fn record(&mut self, at: SimTime, kind: DamageKind, pos: DevicePos, len: u64) {
        self.damage.push(Damage { at, kind, pos, len, label: Label::MustDetect });
    }
}
