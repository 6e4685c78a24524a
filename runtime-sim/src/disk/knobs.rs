//! How fast and how bad a disk is.

use crate::fault::{Chance, Latency};
use core::time::Duration;

/// What an operation may meet, and what a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskKnobs {
    /// How long a read takes.
    pub read: Latency,
    /// How long a write takes until it completes; its bytes are on stable storage at some moment before that.
    pub write: Latency,
    /// A read fails.
    pub read_error: Chance,
    /// Given that a read failed, its first sector fails from now on, until it is written.
    pub read_error_sticks: Chance,
    /// A write fails, and leaves any subset of its sectors.
    pub write_error: Chance,
    /// Given that a write failed, all later ones fail too.
    pub write_error_sticks: Chance,
    /// A write finds no space.
    pub no_space: Chance,
    /// The whole disk stalls as this operation arrives.
    pub stall: Chance,
    /// For how long it stalls.
    pub stall_for: Latency,
    /// As this write arrives, one bit of a sector that was written earlier turns over.
    pub rot: Chance,
    /// A write goes to another place and is reported as done.
    pub misdirect: Chance,
    /// A write goes nowhere and is reported as done.
    pub lose: Chance,
    /// What a crash does to writes in flight.
    pub crash: CrashKnobs,
}

/// What a crash does to each write in flight. Where none of the first three fires, each sector survives or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrashKnobs {
    /// Nothing of it survives.
    pub lose: Chance,
    /// All of it survives, though nobody was told.
    pub keep: Chance,
    /// All of it arrives, but only later: the next incarnation may already be reading.
    pub late: Chance,
    /// A sector survives.
    pub sector_survives: Chance,
    /// A surviving sector is torn: each of its 512-byte parts is the new one or the old one.
    pub tear: Chance,
    /// Given that: a part is neither of them, but garbage, as on a device that lost power while it wrote just there.
    pub garble: Chance,
}

impl DiskKnobs {
    /// A good disk: quick, without faults. A crash loses what is in flight.
    pub const CALM: Self = Self {
        read: Latency::uniform(Duration::from_micros(60), Duration::from_micros(200)),
        write: Latency::uniform(Duration::from_micros(40), Duration::from_micros(300)),
        read_error: Chance::NEVER,
        read_error_sticks: Chance::NEVER,
        write_error: Chance::NEVER,
        write_error_sticks: Chance::NEVER,
        no_space: Chance::NEVER,
        stall: Chance::NEVER,
        stall_for: Latency::uniform(Duration::from_millis(5), Duration::from_millis(50))
            .with_tail(Chance::percent(20), Duration::from_secs(30)),
        rot: Chance::NEVER,
        misdirect: Chance::NEVER,
        lose: Chance::NEVER,
        crash: CrashKnobs {
            lose: Chance::ALWAYS,
            keep: Chance::NEVER,
            late: Chance::NEVER,
            sector_survives: Chance::NEVER,
            tear: Chance::NEVER,
            garble: Chance::NEVER,
        },
    };

    /// Crashes that leave anything that a real one may leave.
    pub const ANY_CRASH: CrashKnobs = CrashKnobs {
        lose: Chance::percent(20),
        keep: Chance::percent(20),
        late: Chance::NEVER,
        sector_survives: Chance::percent(50),
        tear: Chance::percent(50),
        garble: Chance::percent(30),
    };
}
