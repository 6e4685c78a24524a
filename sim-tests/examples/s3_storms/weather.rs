//! What a plan says of the store, as time goes by.

use karst_runtime_sim::fault::{Chance, Latency};
use karst_runtime_sim::store::{Mode, StoreKnobs};
use karst_runtime_sim::time::SimTime;
use karst_sim::plan::{Disturbance, Plan};
use std::time::Duration;

/// A plan of the simulator's, of which only what concerns the store is carried out.
#[derive(Debug)]
pub(crate) struct Weather {
    plan: Plan,
    begun: SimTime,
}

impl Weather {
    /// That plan, from now on.
    pub(crate) const fn new(plan: Plan, begun: SimTime) -> Self {
        Self { plan, begun }
    }

    /// How long a caller waits for an answer.
    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_micros(self.plan.numbers.attempt)
    }

    /// How bad the store is now.
    pub(crate) fn at(&self, now: SimTime) -> (StoreKnobs, Mode) {
        let (knobs, age) = (self.plan.numbers.store(), now.since(self.begun));
        if age >= Duration::from_micros(self.plan.numbers.safety) {
            return (healed(knobs), Mode::Normal);
        }
        let mut modes = self.plan.disturbances.iter().filter_map(|(at, what)| {
            let (mode, lasts) = match *what {
                Disturbance::Outage { lasts } => (Mode::Outage, lasts),
                Disturbance::Full { lasts } => (Mode::NoSpace, lasts),
                _ => return None,
            };
            (*at..at.saturating_add(lasts)).contains(&age).then_some(mode)
        });
        (knobs, modes.next_back().unwrap_or(Mode::Normal))
    }
}

/// As fast and with pages as before, and without faults.
fn healed(knobs: StoreKnobs) -> StoreKnobs {
    let StoreKnobs { latency, page, etags, .. } = knobs;
    StoreKnobs { latency: Latency { tail: Chance::NEVER, ..latency }, page, etags, ..StoreKnobs::CALM }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbances_come_and_go_and_faults_end_with_the_safety_phase() {
        let text = "karst-plan 2\nphases.safety = 9000000\nstore.timeout = 5000\nstore.latency.tail = 7\n\
                    at 1000000 kill down=9\nat 2000000 outage lasts=3000000\nat 3000000 full lasts=1000000\n";
        let weather = Weather::new(Plan::from_text(text).expect("this is a plan"), SimTime(5_000_000_000));
        let at = |seconds: u64| weather.at(SimTime((5 + seconds) * 1_000_000_000));
        let modes = [0, 1, 2, 3, 4, 5, 8].map(|second| at(second).1);
        let (calm, out) = (Mode::Normal, Mode::Outage);
        assert_eq!(modes, [calm, calm, out, Mode::NoSpace, out, calm, calm]);
        assert_eq!((at(0).0.timeout, at(8).0.timeout), (Chance(5_000), Chance(5_000)));
        assert_eq!((at(9).0.timeout, at(9).0.latency.tail), (Chance::NEVER, Chance::NEVER));
        assert_eq!(at(9).0.latency.low, at(0).0.latency.low);
    }
}
