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
use crate::plan::{Number, Plan, Role};
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
    for number in numbers.iter().filter(|number| number.role == Role::Fault && number.most >= CERTAIN) {
        let kind = kind_of(number);
        let (plan, outcome) = (&search.best.plan, &search.best.outcome);
        let value = search.vocabulary().value(plan, number);
        let fired = happened(plan, outcome, &kind);
        if value == 0 || value >= CERTAIN || fired.is_empty() || fired.len() > FEW {
            continue;
        }
        if let Some(addressed) = addressed(search, number, &kind, &fired) {
            search.adopt(addressed);
        }
    }
}

/// Faults of that number are counted by this name.
fn kind_of(number: &Number) -> String {
    number.name.replace('-', "_")
}

/// The best plan, with places for the faults of this kind that happen in it; `None` where that is another run.
fn addressed(search: &mut Search<'_>, number: &'static Number, kind: &str, fired: &[u64]) -> Option<Plan> {
    let best = search.best.plan.clone();
    let recorded = search.look(&best, &Look { record: Record::Everything, ..Look::OUTCOME });
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
    let certain = vocabulary.numbers.iter().filter(|number| number.role == Role::Fault);
    let certain = certain.filter(|number| vocabulary.value(plan, number) == CERTAIN).map(kind_of);
    let mut other = plan.clone();
    for kind in certain {
        let Some(places) = other.only.get_mut(&kind) else { continue };
        let near = rng.chance(1, 2);
        let moved = places.iter_below(u64::MAX).take(FEW).map(|place| match near {
            true => (place + 2).saturating_sub(rng.below(6)),
            false => rng.between(place / 4, place),
        });
        *places = moved.collect::<Occurrences>();
    }
    (other != *plan).then_some(other)
}
