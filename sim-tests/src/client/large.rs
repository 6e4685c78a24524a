//! Batches above the usual limit, for topics that allow them, and limits of topics to go with them.
//!
//! ```text
//!            usual limit                              largest batch
//!  ───────────────┼───────────────────┼──────────────────────┼──────────►  bytes
//!    always taken │ taken where max.message.bytes says so    │ never taken
//! ```
//! Most are at a limit to the byte, where mistakes are.

use super::Client;
use super::batch::{self, Shape};
use crate::oracle::WriteId;
use bytes::Bytes;
use karst_core::machine::Rng;

/// The limits on batches in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Of a topic that is not configured.
    pub usual: u32,
    /// Of any topic.
    pub largest: u32,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { usual: 8_192, largest: 8_192 }
    }
}

impl BatchLimits {
    /// Whether a topic may allow more than is usual.
    pub(super) const fn may_be_raised(self) -> bool {
        self.largest > self.usual
    }

    /// A limit of a topic that lies above the usual one.
    pub(super) fn draw_raised(self, rng: &mut Rng) -> u32 {
        let Self { usual, largest } = self;
        if rng.chance(1, 2) { largest } else { rng.between(u64::from(usual) + 1, u64::from(largest)) as u32 }
    }

    /// A length of a batch, at or near a limit; often more than its topic allows, and sometimes more than any may.
    fn draw_len(self, rng: &mut Rng) -> u32 {
        match rng.below(10) {
            0 => self.usual,
            1 => self.usual + 1,
            2..4 => self.largest,
            4 => self.largest + 1,
            _ => self.draw_raised(rng),
        }
    }
}

impl Client {
    /// Now and then a batch that is large, where a topic may have such.
    pub(super) fn draw_large(&self, write: WriteId, shape: Shape) -> Option<Bytes> {
        let limits = self.habits.limits;
        let mut rng = self.rng.child("large");
        if !limits.may_be_raised() || !rng.chance(1, 6) {
            return None;
        }
        let len = limits.draw_len(&mut rng);
        Some(of_length(write, shape, len, &rng))
    }

    /// What is to be set for a topic: instead of a fixed limit on batches often one that this run's batches come near.
    pub(super) fn raised(&self, name: &str, value: &str) -> String {
        let limits = self.habits.limits;
        let mut rng = self.rng.child("raised");
        if name == "max.message.bytes" && limits.may_be_raised() && rng.chance(3, 4) {
            return limits.draw_raised(&mut rng).to_string();
        }
        value.to_owned()
    }

    /// A limit that no topic may have: just above that of all, or far.
    pub(super) fn beyond(&self, value: &'static str) -> String {
        let mut rng = self.rng.child("beyond");
        if rng.chance(1, 2) { (self.habits.limits.largest + 1).to_string() } else { value.to_owned() }
    }
}

/// An uncompressed batch of one record that is so long, or a byte less where no value makes it exactly so long.
fn of_length(write: WriteId, shape: Shape, len: u32, rng: &Rng) -> Bytes {
    /// The head of a batch, and what a record takes at least: a value so long would make it too long.
    const OVERHEAD: u32 = 68;
    let make = |value| {
        let shape = Shape { records: 1, value, ..shape };
        batch::encode(write, shape, &mut rng.child("content"))
    };
    let too_long = make(len.saturating_sub(OVERHEAD).max(8));
    let excess = u32::try_from(too_long.len()).unwrap_or(u32::MAX).saturating_sub(len);
    let shorter = make(len.saturating_sub(OVERHEAD + excess).max(8));
    let missing = len.saturating_sub(u32::try_from(shorter.len()).unwrap_or(u32::MAX));
    if missing == 0 { shorter } else { make(len.saturating_sub(OVERHEAD + excess) + missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_as_long_as_they_are_to_be() {
        let rng = Rng::new(1);
        for len in [200, 8_192, 8_193, 20_060, 16_384 + 70, 100_000] {
            for key in [0, 1] {
                let shape = Shape { records: 3, value: 9, timestamp: 1_600_000_000_000, times: 0, key };
                let made = of_length(WriteId(7), shape, len, &rng);
                assert_eq!((made.len(), batch::write_of(&made)), (len as usize, Some(WriteId(7))));
            }
        }
    }

    #[test]
    fn limits_and_lengths_are_drawn_on_both_sides_of_each_limit() {
        let limits = BatchLimits { usual: 100, largest: 200 };
        let mut rng = Rng::new(2);
        let drawn: Vec<u32> = (0..500).map(|_| limits.draw_len(&mut rng)).collect();
        for len in [100, 101, 150, 200, 201] {
            assert!(drawn.contains(&len), "{len}");
        }
        assert!((0..500).all(|_| (101..=200).contains(&limits.draw_raised(&mut rng))));
    }
}
