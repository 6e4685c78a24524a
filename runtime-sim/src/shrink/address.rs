//! Faults by their place: from "one in a thousand, and of those number 2" to "number 731 of all that it might befall".
//!
//! ```text
//!   disk.write-error = 700                    disk.write-error = 1000000
//!   only disk.write_error 2          ──►      only disk.write_error 731
//! ```
//! Both are the same run. But in the former a rare fault comes when a rare draw meets a chance for it, and whatever moves
//! the chances by a little loses it; in the latter it stays with its write when others come sooner or later.

use super::search::Search;
use super::size::happened;
use crate::experiment::{Look, Record};
use crate::gate::Occurrences;
use crate::plan::{Number, Plan};
use crate::recording::{EntryKind, Recording};
use karst_core::machine::Rng;

/// Every draw fires.
const CERTAIN: u64 = 1_000_000;

/// More of a kind are not rare: they come again anyway.
const FEW: usize = 4;

/// Chances for a fault that may follow it before the run can be stopped.
const BEHIND: u64 = 16;

/// A wrong place shows itself within so many events.
const SHOWN: u64 = 300;

/// Gives the faults that are few their places.
pub(super) fn address(search: &mut Search<'_>) {
    let numbers = search.vocabulary().numbers;
    for number in numbers.iter().filter(|number| number.most >= CERTAIN) {
        let Some(kind) = number.fires else { continue };
        let (plan, outcome) = (&search.best.plan, &search.best.outcome);
        let value = search.vocabulary().value(plan, number);
        let fired = happened(plan, outcome, kind);
        if value == 0 || value >= CERTAIN || fired.is_empty() || fired.len() > FEW {
            continue;
        }
        if let Some(addressed) = addressed(search, number, kind, &fired) {
            search.adopt(addressed);
        }
    }
}

/// The best plan, with places for the faults of this kind that happen in it; `None` where that is another run.
fn addressed(search: &mut Search<'_>, number: &'static Number, kind: &str, fired: &[u64]) -> Option<Plan> {
    let best = search.best.plan.clone();
    // Faults come before the waiting.
    let recorded = search.look(&search.patiently(&best), &Look { record: Record::Everything, ..Look::OUTCOME });
    let events = recorded.recording.map(|recording| events_of(&recording, kind, fired))?;
    let mut places: Vec<u64> = Vec::new();
    let with = |search: &Search<'_>, places: &[u64]| {
        let mut plan = best.clone();
        search.vocabulary().set(&mut plan, number, CERTAIN);
        plan.only.insert(kind.to_owned(), places.iter().copied().collect());
        plan
    };
    for (nth, event) in events.iter().enumerate() {
        let stop = events.get(nth + 1).map_or(u64::MAX, |next| *next).min(event.saturating_add(SHOWN));
        let until = |event| Look { until: Some(event), ..Look::OUTCOME };
        let expected = search.look(&best, &until(stop)).hash;
        let chances = with(search, &places);
        let chances = search.look(&chances, &until(*event)).occurrences.get(kind).copied().unwrap_or(0);
        let place = (chances.saturating_sub(BEHIND)..chances).rev().find(|place| {
            let plan = with(search, &[&places[..], &[*place]].concat());
            search.look(&plan, &until(stop)).hash == expected
        });
        places.push(place?);
    }
    (places.len() == fired.len()).then(|| with(search, &places))
}

/// At which events these faults of a kind happened.
fn events_of(recording: &Recording, kind: &str, fired: &[u64]) -> Vec<u64> {
    let texts: Vec<String> = fired.iter().map(|ordinal| format!("{kind} {ordinal}")).collect();
    let faults = recording.entries.iter().filter(|entry| entry.kind == EntryKind::Fault);
    faults.filter(|entry| texts.contains(&entry.text)).map(|entry| entry.event).collect()
}

/// The same plan with its faults at other places, mostly near or before their own: something else was left out.
pub(super) fn nudged(search: &Search<'_>, plan: &Plan, rng: &mut Rng) -> Option<Plan> {
    let vocabulary = search.vocabulary();
    let certain = vocabulary.numbers.iter().filter(|number| vocabulary.value(plan, number) == CERTAIN);
    let mut other = plan.clone();
    for kind in certain.filter_map(|number| number.fires) {
        let Some(places) = other.only.get_mut(kind) else { continue };
        let near = rng.chance(1, 2);
        let moved = places.iter_below(u64::MAX).take(FEW).map(|place| match near {
            true => place.saturating_add(2).saturating_sub(rng.below(6)),
            false => rng.between(place / 4, place),
        });
        *places = moved.collect::<Occurrences>();
    }
    (other != *plan).then_some(other)
}

#[cfg(test)]
mod tests {
    use crate::experiment::{Experiment, Look, Outcome};
    use crate::failure::Failure;
    use crate::fault::Chance;
    use crate::gate::Gate;
    use crate::plan::{Number, Plan, Vocabulary};
    use crate::recording::{Entry, EntryKind, LaneId, Recording};
    use crate::seed::Seed;
    use crate::shrink::{Options, shrink};
    use crate::time::SimTime;
    use karst_core::machine::Rng;
    use std::collections::BTreeMap;

    /// A thousand writes, of which few fail; it breaks by one that fails behind the five hundredth.
    struct Writes;

    static WORDS: Vocabulary = Vocabulary {
        numbers: &[Number::knob("disk.write-error", 0).fires("disk.write_error")],
        kinds: &[],
        retired: &[],
        actors: "client-",
    };

    impl Experiment for Writes {
        fn vocabulary(&self) -> &Vocabulary {
            &WORDS
        }

        fn draw(&self, seed: Seed) -> Plan {
            let text = "karst-plan 2\ndisk.write-error = 3000\n";
            Plan { root: seed.0, ..WORDS.from_text(text).expect("this is a plan") }
        }

        fn run(&self, plan: &Plan, look: &Look) -> Outcome {
            let chance = Chance(WORDS.value(plan, &WORDS.numbers[0]) as u32);
            let (gate, mut rng) = (Gate::new(plan.only.clone()), Rng::new(plan.root));
            let mut outcome = Outcome {
                failure: None,
                hash: 0,
                events: 0,
                at: SimTime::ZERO,
                occurrences: BTreeMap::new(),
                requests: BTreeMap::new(),
                lines: Vec::new(),
                recording: None,
            };
            let mut recording = Recording::default();
            for event in 1..=look.until.unwrap_or(1_000).min(1_000) {
                outcome.events = event;
                if !gate.fires("disk.write_error", chance, &mut rng) {
                    continue;
                }
                outcome.hash = outcome.hash.wrapping_mul(31) ^ event;
                for fired in gate.take_fired() {
                    recording.entries.push(Entry {
                        event,
                        at: SimTime(event),
                        lane: LaneId(0),
                        kind: EntryKind::Fault,
                        text: format!("{} {}", fired.kind, fired.ordinal),
                        words: None,
                        cause: None,
                        besides: Vec::new(),
                        tags: Vec::new(),
                    });
                }
                if event > 500 {
                    outcome.failure = Some(Failure {
                        invariant: "A".into(),
                        process: String::new(),
                        component: "writes".into(),
                        message: "it breaks".into(),
                        site: None,
                        subjects: Vec::new(),
                        at: SimTime(event),
                        event,
                    });
                    break;
                }
            }
            Outcome { occurrences: gate.occurrences(), recording: Some(recording), ..outcome }
        }
    }

    #[test]
    fn a_rare_fault_gets_its_place() {
        let seed = (0..100).map(Seed).find(|seed| {
            let outcome = Writes.run(&Writes.draw(*seed), &Look::OUTCOME);
            outcome.failure.is_some() && outcome.occurrences["disk.write_error"] > 1
        });
        let plan = Writes.draw(seed.expect("some do"));
        let before = Writes.run(&plan, &Look::OUTCOME).events;
        let found = shrink(&Writes, &plan, &Options { jobs: 1, is_over: &|| false }, &mut |_| {}).expect("it fails");
        assert_eq!(found.plan.numbers["disk.write-error"], 1_000_000, "{}", WORDS.to_text(&found.plan, ""));
        assert_eq!(found.after.faults, 1);
        let place = found.plan.only["disk.write_error"].iter_below(u64::MAX).next().expect("it is one");
        assert!((500..before).contains(&place), "one of those that break it, and not a later one: {place}");
        assert_eq!(found.outcome.events, place + 1, "it is the same write");
    }
}
