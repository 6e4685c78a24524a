//! What befalls one thing among many of its kind: drawn for it alone, so that it stays what it is when others are left out.
//!
//! ```text
//!   time   ├─── slot ───┼─── slot ───┼─── slot ───┼──
//!   put        0   1                      0  1        each is drawn from (slot, kind, which of that kind in its slot)
//!   get          0         0   1
//! ```
//! Were all drawn in sequence, one put less would move the fate of everything that follows it. So it moves those of its
//! kind that follow in the same slot, and what is shifted in time keeps its fate where it keeps its slot.

use crate::time::{SimTime, nanos};
use crate::trace::TraceHasher;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use karst_core::machine::Rng;

/// Draws for one model.
#[derive(Clone, Debug)]
pub(crate) struct Fates {
    seed: u64,
    /// Nanoseconds.
    slot: u64,
    now: u64,
    /// How many of each kind there were in this slot. They are few.
    counts: Vec<(u64, u64)>,
}

impl Fates {
    /// With slots as long as that: a few things of a kind should be in one.
    pub(crate) fn new(rng: &Rng, slot: Duration) -> Self {
        Self { seed: rng.clone().next_u64(), slot: nanos(slot).max(1), now: 0, counts: Vec::new() }
    }

    /// The generator of one more thing of that kind, which happens now.
    pub(crate) fn draw(&mut self, now: SimTime, kind: impl Hash) -> Rng {
        let slot = now.0 / self.slot;
        if slot != self.now {
            self.now = slot;
            self.counts.clear();
        }
        let mut hasher = TraceHasher::default();
        kind.hash(&mut hasher);
        let kind = hasher.finish();
        let nth = self.count(kind);
        (self.seed, slot, nth).hash(&mut hasher);
        Rng::new(hasher.finish())
    }

    fn count(&mut self, kind: u64) -> u64 {
        match self.counts.iter_mut().find(|(counted, _)| *counted == kind) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((kind, 0));
                0
            }
        }
    }
}

/// A generator of its own for something that may take any number of draws; that takes one of `rng`.
pub(crate) fn apart(rng: &mut Rng) -> Rng {
    Rng::new(rng.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Duration = Duration::from_millis(1);

    /// First draws of things at these microseconds.
    fn drawn(all: &[(u64, &str)]) -> Vec<u64> {
        let mut fates = Fates::new(&Rng::new(7), SLOT);
        all.iter().map(|(at, kind)| fates.draw(SimTime(at * 1_000), kind).next_u64()).collect()
    }

    #[test]
    fn leaving_one_out_moves_its_kind_in_its_slot_alone() {
        let all = drawn(&[(100, "put"), (200, "get"), (300, "put"), (400, "get"), (1_500, "put"), (2_500, "put")]);
        let less = drawn(&[(200, "get"), (300, "put"), (400, "get"), (1_500, "put"), (2_500, "put")]);
        assert_eq!([less[0], less[2], less[3], less[4]], [all[1], all[3], all[4], all[5]]);
        assert_eq!(less[1], all[0], "it is the first put of its slot now");
    }

    #[test]
    fn a_small_delay_changes_nothing() {
        assert_eq!(drawn(&[(100, "put"), (1_100, "put")]), drawn(&[(900, "put"), (1_300, "put")]));
    }

    #[test]
    fn slots_kinds_and_ordinals_differ() {
        let mut all = drawn(&[(0, "put"), (0, "put"), (0, "put"), (0, "get"), (1_000, "put"), (2_000, "put")]);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn draws_apart_take_one_each() {
        let (mut one, mut other) = (Rng::new(1), Rng::new(1));
        let mut some = apart(&mut one);
        assert!((0..10).map(|_| some.next_u64()).any(|drawn| drawn > 0));
        other.next_u64();
        assert_eq!(one.next_u64(), other.next_u64());
    }
}
