//! What all fault models share: chances, latencies, and what the oracle may expect after a fault.

pub(crate) mod words;

use crate::time::nanos;
use core::time::Duration;
use karst_core::machine::Rng;

/// A probability in parts per million. Every decision draws, whatever the chance: turning a fault off moves no draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chance(pub u32);

const WHOLE: u32 = 1_000_000;

impl Chance {
    /// Never fires.
    pub const NEVER: Self = Self(0);
    /// Always fires.
    pub const ALWAYS: Self = Self(WHOLE);

    /// So many in a hundred.
    #[must_use]
    pub const fn percent(part: u32) -> Self {
        Self(part * (WHOLE / 100))
    }

    /// Draws.
    pub fn fires(self, rng: &mut Rng) -> bool {
        rng.chance(self.0.into(), WHOLE.into())
    }
}

/// How long something takes: uniform between two bounds, and now and then far longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Latency {
    /// At least.
    pub low: Duration,
    /// At most, but for the tail.
    pub high: Duration,
    /// How often it is in the tail.
    pub tail: Chance,
    /// The longest that the tail gets; all orders of magnitude up to it are equally likely.
    pub longest: Duration,
}

impl Latency {
    /// Uniform, without a tail.
    #[must_use]
    pub const fn uniform(low: Duration, high: Duration) -> Self {
        Self { low, high, tail: Chance::NEVER, longest: high }
    }

    /// The same with a tail.
    #[must_use]
    pub const fn with_tail(self, tail: Chance, longest: Duration) -> Self {
        Self { tail, longest, ..self }
    }

    /// Draws one.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        self.draw_gated(rng, || true)
    }

    /// Draws one. One in the tail takes only its usual time unless `permits` says yes; that moves no later draw.
    pub fn draw_gated(&self, rng: &mut Rng, permits: impl FnOnce() -> bool) -> Duration {
        let low = nanos(self.low);
        let usual = rng.between(low, nanos(self.high).max(low));
        if !self.tail.fires(rng) {
            return Duration::from_nanos(usual);
        }
        let (shortest, longest) = (usual.max(1), nanos(self.longest));
        let octaves = (longest / shortest).max(1).ilog2();
        let from = shortest << rng.below(u64::from(octaves) + 1);
        let far_longer = rng.between(from, from.saturating_mul(2).min(longest).max(from));
        Duration::from_nanos(if permits() { far_longer } else { usual })
    }
}

/// What the system under test owes after a fault, and what the oracle therefore asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Nothing acknowledged may be lost, and service comes back.
    MustRecover,
    /// It must be noticed, and may end the node: the only copy is damaged. Damaged data may never be served.
    MustDetect,
    /// Both outcomes are legal.
    Ambiguous,
}
