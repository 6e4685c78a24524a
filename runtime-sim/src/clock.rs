//! The clocks of one process: what it takes simulated time for.
//!
//! Its monotonic clock starts at 0 with the process and runs a little fast or slow. Its wall clock is off, drifts, and
//! jumps in either direction when somebody sets it. Only the wall clock's state outlives an incarnation.

use crate::time::SimTime;
use karst_core::machine::{Instant, Now, Rng, WallTime};

const MILLION: i128 = 1_000_000;

/// What every wall clock shows at the beginning of the world, but for its skew: 2024-01-01 00:00:00 UTC.
pub const BEGINNING: WallTime = WallTime(1_704_067_200_000);

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClockKnobs {
    /// The monotonic clock runs faster or slower by up to so many parts per million.
    pub drift_ppm: u32,
    /// The wall clock starts up to so many milliseconds off, in either direction.
    pub skew_ms: u64,
}

/// Both clocks of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeClock {
    started: SimTime,
    drift_ppm: i32,
    skew_ms: i64,
    jumps: Vec<Jump>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jump {
    at: SimTime,
    by_ms: i64,
}

impl NodeClock {
    /// A perfect clock of a process that starts now.
    #[must_use]
    pub const fn perfect(started: SimTime) -> Self {
        Self { started, drift_ppm: 0, skew_ms: 0, jumps: Vec::new() }
    }

    /// A clock as wrong as the knobs allow.
    #[must_use]
    pub fn draw(started: SimTime, knobs: ClockKnobs, rng: &mut Rng) -> Self {
        // Beyond half its speed a clock is not one.
        let drift = i64::from(knobs.drift_ppm.min(500_000));
        let skew = i64::try_from(knobs.skew_ms).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let around = |rng: &mut Rng, most: i64| rng.between(0, 2 * most.unsigned_abs()) as i64 - most;
        let drift_ppm = around(rng, drift) as i32;
        let skew_ms = around(rng, skew);
        Self { started, drift_ppm, skew_ms, jumps: Vec::new() }
    }

    /// The clock of the next incarnation on the same host: the monotonic one starts again, the wall clock goes on.
    #[must_use]
    pub fn restarted(&self, started: SimTime) -> Self {
        Self { started, ..self.clone() }
    }

    /// Somebody sets the wall clock forward or back.
    pub fn jump(&mut self, at: SimTime, by_ms: i64) {
        self.jumps.push(Jump { at, by_ms });
    }

    /// What the process reads at that moment.
    #[must_use]
    pub fn now(&self, at: SimTime) -> Now {
        let mono = Instant(self.ran(at.0.saturating_sub(self.started.0)));
        let jumped =
            self.jumps.iter().filter(|jump| jump.at <= at).fold(0_i64, |sum, jump| sum.saturating_add(jump.by_ms));
        let passed = i64::try_from(self.ran(at.0) / 1_000_000).unwrap_or(i64::MAX);
        let wall = BEGINNING.0.saturating_add(passed).saturating_add(self.skew_ms).saturating_add(jumped);
        Now { mono, wall: WallTime(wall) }
    }

    /// The first moment at which the monotonic clock has reached `instant`.
    #[must_use]
    pub fn when(&self, instant: Instant) -> SimTime {
        if self.drift_ppm == 0 {
            return SimTime(self.started.0.saturating_add(instant.0));
        }
        let rate = MILLION + i128::from(self.drift_ppm);
        let ticks = (i128::from(instant.0) * MILLION + rate - 1) / rate;
        SimTime(self.started.0.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)))
    }

    fn ran(&self, nanos: u64) -> u64 {
        if self.drift_ppm == 0 {
            return nanos;
        }
        let ran = i128::from(nanos) * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        u64::try_from(ran).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_perfect_clock_is_perfect() {
        let clock = NodeClock::draw(SimTime(SECOND), ClockKnobs::default(), &mut Rng::new(1));
        assert_eq!(clock, NodeClock::perfect(SimTime(SECOND)));
        let now = clock.now(SimTime(3 * SECOND));
        assert_eq!((now.mono, now.wall), (Instant(2 * SECOND), WallTime(BEGINNING.0 + 3000)));
    }

    #[test]
    fn a_deadline_is_due_exactly_when_its_moment_comes() {
        let mut rng = Rng::new(2);
        let mut drifted = 0;
        for _ in 0..1000 {
            let knobs = ClockKnobs { drift_ppm: 200_000, skew_ms: 5 };
            let clock = NodeClock::draw(SimTime(rng.below(100 * SECOND)), knobs, &mut rng);
            let instant = Instant(1 + rng.below(100 * SECOND));
            let when = clock.when(instant);
            assert!(clock.now(when).mono >= instant);
            assert!(clock.now(SimTime(when.0 - 1)).mono < instant);
            drifted += u32::from(clock.drift_ppm != 0);
        }
        assert!(drifted > 900);
        assert_eq!(NodeClock::perfect(SimTime(7)).when(Instant(u64::MAX)), SimTime::NEVER);
    }

    #[test]
    fn the_wall_clock_jumps_and_outlives_the_process() {
        let mut clock = NodeClock::draw(SimTime::ZERO, ClockKnobs { drift_ppm: 0, skew_ms: 90_000 }, &mut Rng::new(3));
        let skewed = clock.now(SimTime::ZERO).wall.0 - BEGINNING.0;
        assert!(skewed != 0 && skewed.abs() <= 90_000);
        clock.jump(SimTime(2 * SECOND), -5000);
        assert_eq!(clock.now(SimTime(SECOND)).wall.0 - BEGINNING.0, skewed + 1000);
        assert_eq!(clock.now(SimTime(2 * SECOND)).wall.0 - BEGINNING.0, skewed - 3000);
        let next = clock.restarted(SimTime(4 * SECOND));
        assert_eq!(next.now(SimTime(4 * SECOND)).mono, Instant(0));
        assert_eq!(next.now(SimTime(4 * SECOND)).wall, clock.now(SimTime(4 * SECOND)).wall);
    }
}
