//! Karst's world as the tools see it: plans that can be run, shrunk and followed.

use crate::plan::{self, Profile, VOCABULARY};
use crate::world;
use karst_runtime_sim::experiment::{Experiment, Look, Outcome};
use karst_runtime_sim::plan::{Plan, Vocabulary};
use karst_runtime_sim::seed::Seed;
use karst_runtime_sim::time::SimTime;

/// Karst under simulated faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Karst {
    /// How seeds draw their plans.
    pub profile: Profile,
}

impl Experiment for Karst {
    fn vocabulary(&self) -> &Vocabulary {
        &VOCABULARY
    }

    fn draw(&self, seed: Seed) -> Plan {
        plan::Plan::from_seed(seed, self.profile).to_general()
    }

    fn run(&self, plan: &Plan, look: &Look) -> Outcome {
        let Look { log, record, until } = *look;
        let options = world::Options { log, until, record, ..world::Options::default() };
        let report = world::run(plan::Plan::from_general(plan), options);
        Outcome {
            hash: report.trace,
            events: report.events,
            at: SimTime(u64::try_from(report.simulated.as_nanos()).unwrap_or(u64::MAX)),
            occurrences: report.occurrences,
            requests: report.requests.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            failure: report.failure,
            lines: report.lines,
            recording: report.recording,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use karst_runtime_sim::gate::Occurrences;

    /// The shrinker counts a number's faults, and gives them places, by the name that the number says.
    #[test]
    fn chances_fire_what_they_say() {
        for number in VOCABULARY.numbers {
            let Some(kind) = number.fires else { continue };
            let text = "karst-plan 2\nroot = 1\nat 500000 kill down=1000\n";
            let mut plan = VOCABULARY.from_text(text).expect("this is a plan");
            VOCABULARY.set(&mut plan, number, number.most);
            // None of them happens, so that the run goes on however bad the fault.
            plan.only.insert(kind.to_owned(), Occurrences::NONE);
            let outcome = Karst::default().run(&plan, &Look { until: Some(20_000), ..Look::OUTCOME });
            assert!(
                outcome.occurrences.contains_key(kind),
                "{} fires no {kind}: {:?}",
                number.name,
                outcome.occurrences
            );
        }
    }
}
