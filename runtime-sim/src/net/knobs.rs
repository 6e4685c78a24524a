//! How fast and how bad the network is.

use crate::fault::{Chance, Latency};
use core::time::Duration;

/// What a connection may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetKnobs {
    /// How long a byte travels, one way.
    pub latency: Latency,
    /// Bytes per second on each direction of each connection; 0 is without bound.
    pub bandwidth: u64,
    /// What has arrived is cut before it is read, anywhere: often after the first byte, often before the last.
    pub split: Chance,
    /// How long until the rest of what was cut is read.
    pub gap: Latency,
    /// This send, and all behind it, stalls.
    pub stall: Chance,
    /// For how long.
    pub stall_for: Latency,
    /// The connection breaks at some byte of this send.
    pub reset: Chance,
    /// Given a break: what had arrived and was not read is lost too.
    pub discard: Chance,
    /// Given a break or the death of a host: one side does not notice for a while.
    pub half_open: Chance,
    /// For how long.
    pub half_open_for: Latency,
    /// A direction holds so many bytes before further sends wait for the reader.
    pub buffer: usize,
    /// After so long without progress a sender gives its connection up; so does who tries to connect.
    pub patience: Duration,
}

impl NetKnobs {
    /// A good network: quick, without faults.
    pub const CALM: Self = Self {
        latency: Latency::uniform(Duration::from_micros(50), Duration::from_micros(500)),
        bandwidth: 0,
        split: Chance::NEVER,
        gap: Latency::uniform(Duration::from_micros(1), Duration::from_millis(1)),
        stall: Chance::NEVER,
        stall_for: Latency::uniform(Duration::from_millis(1), Duration::from_secs(5)),
        reset: Chance::NEVER,
        discard: Chance::percent(50),
        half_open: Chance::NEVER,
        half_open_for: Latency::uniform(Duration::from_secs(1), Duration::from_secs(120)),
        buffer: 256 << 10,
        patience: Duration::from_secs(60),
    };
}
