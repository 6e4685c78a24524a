//! Plans of Karst's world as general plans: their vocabulary, and their text.

use super::{Disturbance, NUMBERS, Numbers, Plan};
use karst_runtime_sim::plan::{self, Argument, Kind, PlanError, Retired, Role, Vocabulary};
use std::collections::BTreeMap;
use std::time::Duration;

/// What plans of this world may say.
pub static VOCABULARY: Vocabulary =
    Vocabulary { numbers: NUMBERS, kinds: &KINDS, retired: &RETIRED, actors: "client-" };

/// Numbers of earlier versions. A number that is taken away gets a line here, so that plans which name it still load.
const RETIRED: [Retired; 0] = [];

const DAY: i64 = 24 * 3600 * 1_000_000;

const KINDS: [Kind; 10] = [
    Kind { name: "kill", arguments: &[time("down", 10_000)] },
    Kind { name: "stop", arguments: &[time("down", 10_000)] },
    Kind { name: "pause", arguments: &[time("lasts", 10_000)] },
    Kind { name: "outage", arguments: &[time("lasts", 50_000)] },
    Kind { name: "full", arguments: &[time("lasts", 50_000)] },
    Kind { name: "clock-jump", arguments: &[setting("by-ms", -(1 << 40), 1 << 40)] },
    Kind { name: "rival", arguments: &[time("lasts", 50_000)] },
    Kind { name: "rot", arguments: &[setting("at", 0, 999_999)] },
    Kind { name: "lose-disk", arguments: &[time("down", 10_000)] },
    Kind { name: "overtake", arguments: &[time("lasts", 10_000)] },
];

const fn time(name: &'static str, simplest: i64) -> Argument {
    Argument { name, least: 0, most: DAY, simplest, role: Role::Time }
}

const fn setting(name: &'static str, least: i64, most: i64) -> Argument {
    Argument { name, least, most, simplest: 0, role: Role::Knob }
}

impl Plan {
    /// The same plan in general terms.
    #[must_use]
    pub fn to_general(&self) -> plan::Plan {
        let mut general = plan::Plan { only: self.only.clone(), ..plan::Plan::new(self.numbers.root) };
        for (number, value) in NUMBERS.iter().zip(self.numbers.all()) {
            VOCABULARY.set(&mut general, number, value);
        }
        general.schedule = self.disturbances.iter().map(|(at, what)| what.to_general(*at)).collect();
        general
    }

    /// The plan that a general one of this world's [`VOCABULARY`] means.
    #[must_use]
    pub fn from_general(general: &plan::Plan) -> Self {
        let disturbances = general.schedule.iter();
        Self {
            numbers: Numbers::read(general),
            disturbances: disturbances.filter_map(|one| Some((one.at, Disturbance::from_general(one)?))).collect(),
            only: general.only.clone(),
        }
    }

    /// As text; only numbers that differ from their default are written.
    #[must_use]
    pub fn to_text(&self) -> String {
        VOCABULARY.to_text(&self.to_general(), "")
    }

    /// As text, and behind each number what it means.
    #[must_use]
    pub fn to_annotated_text(&self) -> String {
        VOCABULARY.to_annotated_text(&self.to_general(), "")
    }

    /// From text.
    ///
    /// # Errors
    /// The first line that makes no sense.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        VOCABULARY.from_text(text).map(|general| Self::from_general(&general))
    }
}

impl Disturbance {
    fn to_general(self, at: Duration) -> plan::Disturbance {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(DAY);
        let (kind, argument, value) = match self {
            Self::Kill { down } => ("kill", "down", micros(down)),
            Self::Stop { down } => ("stop", "down", micros(down)),
            Self::Pause { lasts } => ("pause", "lasts", micros(lasts)),
            Self::Outage { lasts } => ("outage", "lasts", micros(lasts)),
            Self::Full { lasts } => ("full", "lasts", micros(lasts)),
            Self::ClockJump { by_ms } => ("clock-jump", "by-ms", by_ms),
            Self::Rival { lasts } => ("rival", "lasts", micros(lasts)),
            Self::LoseDisk { down } => ("lose-disk", "down", micros(down)),
            Self::Overtake { lasts } => ("overtake", "lasts", micros(lasts)),
            Self::Rot { at } => ("rot", "at", i64::try_from(at).unwrap_or(0)),
        };
        plan::Disturbance { at, kind, arguments: BTreeMap::from([(argument, value)]) }
    }

    /// `None` for what is not of this world.
    fn from_general(general: &plan::Disturbance) -> Option<Self> {
        let value = |name| general.arguments.get(name).copied();
        let micros = |name| value(name).map(|value| Duration::from_micros(value.unsigned_abs()));
        Some(match general.kind {
            "kill" => Self::Kill { down: micros("down")? },
            "stop" => Self::Stop { down: micros("down")? },
            "pause" => Self::Pause { lasts: micros("lasts")? },
            "outage" => Self::Outage { lasts: micros("lasts")? },
            "full" => Self::Full { lasts: micros("lasts")? },
            "clock-jump" => Self::ClockJump { by_ms: value("by-ms")? },
            "rival" => Self::Rival { lasts: micros("lasts")? },
            "lose-disk" => Self::LoseDisk { down: micros("down")? },
            "overtake" => Self::Overtake { lasts: micros("lasts")? },
            "rot" => Self::Rot { at: value("at")?.unsigned_abs() },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;
    use crate::world::{self, Options};
    use karst_runtime_sim::seed::Seed;

    #[test]
    fn a_plan_survives_its_text() {
        for seed in 0..200 {
            let plan = Plan::from_seed(Seed(seed), Profile::Swarm);
            assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
        }
    }

    const FIRST: &str = include_str!("../../../fixtures/plans/version-1.plan");
    const SECOND: &str = include_str!("../../../fixtures/plans/version-2.plan");

    #[test]
    fn a_plan_of_the_first_version_loads_for_ever() {
        assert!(FIRST.starts_with("karst-plan 1\n"), "it must stay what it was");
        let plan = Plan::from_text(FIRST).expect("it loads");
        assert_eq!((plan.numbers.root, plan.numbers.clients), (14_002_371_756_970_584_464, 5));
        assert!(plan.only.is_empty() && !plan.disturbances.is_empty());
    }

    #[test]
    fn a_plan_of_the_second_version_loads_for_ever_with_all_that_it_says() {
        assert!(SECOND.starts_with("karst-plan 2\n"), "it must stay what it was");
        let plan = Plan::from_text(SECOND).expect("it loads");
        assert_eq!(plan.disturbances.len(), 8, "it has one of each kind that there was");
        let again = plan.to_text();
        let defaults = |name: &str| {
            VOCABULARY.number(name).is_some_and(|number| SECOND.contains(&format!("{name} = {}\n", number.default)))
        };
        for line in SECOND.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(" = ").next().unwrap_or(line);
            let is_gone = RETIRED.iter().any(|retired| retired.name == name) || defaults(name);
            assert!(is_gone || again.lines().any(|other| other == line), "'{line}' is lost");
        }
    }

    #[test]
    fn plans_of_all_versions_run() {
        for text in [FIRST, SECOND] {
            let report = world::run(Plan::from_text(text).expect("it loads"), Options::default());
            assert_eq!(report.failure, None, "{}", report.story());
            assert!(report.events > 1_000, "it does something: {} events", report.events);
        }
    }

    #[test]
    fn every_number_says_what_it_means() {
        for number in NUMBERS {
            assert!(number.means.ends_with('.'), "{}: '{}'", number.name, number.means);
        }
        let plan = Plan::from_seed(Seed(7), Profile::Storm);
        assert_eq!(Plan::from_text(&plan.to_annotated_text()), Ok(plan));
    }

    #[test]
    fn every_kind_means_a_disturbance() {
        for kind in &KINDS {
            let arguments = kind.arguments.iter().map(|argument| (argument.name, argument.simplest)).collect();
            let general = plan::Disturbance { at: Duration::from_secs(1), kind: kind.name, arguments };
            let meant = Disturbance::from_general(&general).unwrap_or_else(|| panic!("{} means nothing", kind.name));
            assert_eq!(meant.to_general(general.at), general);
        }
    }

    #[test]
    fn no_number_is_named_twice_or_was_retired() {
        for (nth, number) in NUMBERS.iter().enumerate() {
            assert!(NUMBERS[..nth].iter().all(|other| other.name != number.name), "{}", number.name);
            assert!(RETIRED.iter().all(|retired| retired.name != number.name), "{}", number.name);
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let error = |text| Plan::from_text(text).expect_err("no plan").to_string();
        assert_eq!(error("karst-plan 1\n\nclints = 3\n"), "line 3: there is no number 'clints'");
        assert_eq!(error("karst-plan 2\nstore.page = 0\n"), "line 2: store.page must lie between 1 and 1000");
        assert_eq!(error("karst-plan 2\nat 1 rot at=1000000\n"), "line 2: at must lie between 0 and 999999");
    }
}
