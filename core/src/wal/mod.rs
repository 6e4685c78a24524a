//! MACHINE: the write-ahead log.
//!
//! It owns what the log lies on, and what may be overwritten or deleted there: a device, as a [`ring`], or objects in the
//! bucket, as an [`object`] WAL. Nothing above it knows which; an [`Lsn`] counts bytes of a ring, and objects of the other.
//! It promises:
//! - A record that it delivers ([`crate::shard::Mail::Appended`]) is on stable storage, as is every one before it, and
//!   is found again by a recovery of this life, whatever happens, until it is durable that it is trimmed. Records are
//!   delivered strictly in the order of their appends, although writes complete in any order.
//! - A recovery gives the contiguous prefix of one life, each record whole, byte for byte and once; or says loudly that
//!   records which were recorded as durable are missing. It never gives a record of another life, or one behind a gap.
//! - A cut marker is in order among the deliveries, and lies where no record crosses: everything delivered before it is
//!   below its LSN, everything after it is not.
//! - As long as cuts are committed and trimmed, what it granted becomes durable, and grants reach the cost of the largest
//!   batch again. When half of its room is in no cut, it asks for one.
//! - A write that failed for good is never repeated: the log is *poisoned*, acknowledges nothing more and writes nothing
//!   more. It still answers [`Mail::Cut`], so that what was delivered can be saved.
//!
//! ```text
//!            Inspect              Recover, RecoverMore             Format             Close
//!  (unread) ---------> inspected ----------------------> inspected --------> serving -------> closed
//!               \-> refused                                                    | a write fails
//!                                                                              v
//!                                                                           poisoned
//! ```

mod cost;
mod mail;
pub mod object;
pub mod record;
pub mod ring;

pub use cost::{cost, longest};
pub use mail::{Append, Appended, CutMarker, CutReason, Effect, Found, Input, Inspection, Life, Mail, Recovered};

use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Deadline, Effects, Machine, Now, Rng};
use alloc::string::String;
use object::ObjectWal;
use ring::RingWal;

/// The write-ahead log.
#[derive(Debug)]
pub struct Wal(Kind);

#[derive(Debug)]
enum Kind {
    Ring(RingWal),
    Objects(ObjectWal),
}

/// Up to where a life's log is. Everything below `trim` is committed, everything below `durable` is on stable storage,
/// everything below `head` is written or being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The trim point, as the WAL was told.
    pub trim: Lsn,
    /// The end of what is durable.
    pub durable: Lsn,
    /// Where the next block or object begins.
    pub head: Lsn,
    /// Bytes from the trim point to the head.
    pub used: u64,
    /// Bytes from the durable end to the head.
    pub in_flight: u64,
}

impl Wal {
    /// The log on a device of `device_len` bytes; what does not fill a sector at its end is left alone.
    ///
    /// # Errors
    /// Says which limits don't fit the device, and how to mend it.
    pub fn new(device_len: u64, limits: &Limits) -> Result<Self, String> {
        RingWal::new(device_len, limits).map(|ring| Self(Kind::Ring(ring)))
    }

    /// The log in objects that together hold up to `capacity` bytes which are not committed. `rng` draws back-offs.
    ///
    /// # Errors
    /// Says which limits don't fit that, and how to mend it.
    pub fn of_objects(capacity: u64, limits: &Limits, rng: Rng) -> Result<Self, String> {
        ObjectWal::new(capacity, limits, rng).map(|objects| Self(Kind::Objects(objects)))
    }

    /// The limits, as they hold on a device of `device_len` bytes.
    ///
    /// # Errors
    /// When that leaves no room for a ring.
    pub fn fit(device_len: u64, limits: Limits) -> Result<Limits, String> {
        RingWal::fit(device_len, limits)
    }

    /// The limits, as they hold with objects of `capacity` bytes in all.
    #[must_use]
    pub fn fit_objects(capacity: u64, limits: Limits) -> Limits {
        limits.fitted(capacity)
    }

    /// Up to where the log is, while a life is open.
    #[must_use]
    pub fn positions(&self) -> Option<Positions> {
        match &self.0 {
            Kind::Ring(ring) => ring.positions(),
            Kind::Objects(objects) => objects.positions(),
        }
    }

    /// Bytes that it has granted to the shard and that no append has used; `None` unless it is open.
    #[must_use]
    pub fn granted(&self) -> Option<u64> {
        match &self.0 {
            Kind::Ring(ring) => ring.granted(),
            Kind::Objects(objects) => objects.granted(),
        }
    }

    /// WAL objects of this life that may be in the bucket; 0 of a ring.
    #[must_use]
    pub fn objects(&self) -> u64 {
        match &self.0 {
            Kind::Ring(_) => 0,
            Kind::Objects(objects) => objects.objects(),
        }
    }
}

impl Machine for Wal {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match (&mut self.0, input) {
            (Kind::Ring(ring), Input::Mail(mail)) => ring.hear(now, mail, out),
            (Kind::Ring(ring), Input::Disk(op, result)) => ring.completed(now, op, result, out),
            (Kind::Ring(ring), Input::Tick) => ring.pump(now, out),
            (Kind::Objects(objects), Input::Mail(mail)) => objects.hear(now, mail, out),
            (Kind::Objects(objects), Input::Store(op, result)) => objects.completed(now, op, result, out),
            (Kind::Objects(objects), Input::Tick) => objects.pump(now, out),
            (Kind::Ring(_), Input::Store(op, _)) | (Kind::Objects(_), Input::Disk(op, _)) => {
                unreachable!("{op:?} was never asked for: it is of the other kind of WAL")
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        match &self.0 {
            Kind::Ring(ring) => ring.deadline(),
            Kind::Objects(objects) => objects.deadline(),
        }
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        match &self.0 {
            Kind::Ring(ring) => ring.invariants(),
            Kind::Objects(objects) => objects.invariants(),
        }
    }
}

#[cfg(test)]
mod tests;
