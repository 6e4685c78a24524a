//! What is tried, from the coarse to the fine.

use super::address::address;
use super::search::{Grain, Search};
use super::size::happened;
use crate::gate::Occurrences;
use crate::plan::{Number, Plan, Role};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// What a pass is called, and what it does.
type Pass = (&'static str, fn(&mut Search<'_>));

const PASSES: [Pass; 11] = [
    ("cutting off what comes after", cut),
    ("turning classes of faults off", classes),
    ("leaving out disturbances", disturbances),
    ("leaving out operations", operations),
    ("leaving out faults", faults),
    ("giving rare faults their places", address),
    ("giving what remains to the first clients", renumber),
    ("bringing numbers to their defaults", defaults),
    ("making numbers smaller", smaller),
    ("making disturbances shorter", arguments),
    ("bringing disturbances forward", earlier),
];

/// How fine, and with how much effort, one round after the other. Large steps are worth an effort before small ones are
/// tried at all: where only few plans fail, small steps get nowhere.
const ROUNDS: [(Grain, usize); 9] = [
    (Grain::Coarse, 0),
    (Grain::Coarse, 1),
    (Grain::Coarse, 2),
    (Grain::Coarse, 3),
    (Grain::Fine, 0),
    (Grain::Coarse, 4),
    (Grain::Fine, 1),
    (Grain::Fine, 2),
    (Grain::Fine, 3),
];

/// All passes, again and again, until nothing helps in any round. Where one helped, the one before it may help again.
pub(super) fn all(search: &mut Search<'_>) {
    search.find_patience();
    let mut round = 0;
    while round < ROUNDS.len() && !search.is_over() {
        (search.grain, search.effort) = ROUNDS[round];
        let (before, patience) = (search.best.cost, search.patience);
        for (name, pass) in PASSES {
            search.pass = name;
            pass(search);
            search.confirm_now_and_then();
        }
        search.confirm();
        round = match search.best.cost < before {
            // What was found came right late.
            _ if search.patience != patience => 0,
            true => round.saturating_sub(1),
            false => round + 1,
        };
    }
}

/// Nothing that comes after the failure matters; and where it comes after all disturbances, they may end earlier.
fn cut(search: &mut Search<'_>) {
    let Some(horizon) = role(search, Role::Horizon).first().copied() else { return };
    let now = search.vocabulary().value(&search.best.plan, horizon);
    let failed = search.best.outcome.failure.as_ref().map_or(search.best.outcome.at, |failure| failure.at);
    let failed = micros(Duration::from_nanos(failed.0)) + 1_000;
    let mut later_left_out = search.best.plan.clone();
    later_left_out.schedule.retain(|one| micros(one.at) <= failed);
    let last = later_left_out.schedule.last().map_or(0, |one| micros(one.at)) + 1_000;
    let ends = if failed < now { vec![failed] } else { between(last, now) };
    let candidates = ends.into_iter().filter(|end| *end < now).map(|end| {
        let mut plan = later_left_out.clone();
        search.vocabulary().set(&mut plan, horizon, end.clamp(horizon.least, horizon.most));
        plan
    });
    let candidates: Vec<Plan> = candidates.chain([later_left_out.clone()]).collect();
    search.first(&candidates);
}

fn classes(search: &mut Search<'_>) {
    let on = |search: &Search<'_>| {
        let mut all = role(search, Role::Fault);
        all.retain(|number| search.vocabulary().value(&search.best.plan, number) > 0);
        all
    };
    reduce(search, on, |search, off| {
        let mut plan = search.best.plan.clone();
        off.iter().for_each(|number| search.vocabulary().set(&mut plan, number, 0));
        plan
    });
}

fn disturbances(search: &mut Search<'_>) {
    let all = |search: &Search<'_>| (0..search.best.plan.schedule.len()).collect();
    reduce(search, all, |search, out| {
        let mut plan = search.best.plan.clone();
        let mut nth = 0..;
        plan.schedule.retain(|_| nth.next().is_none_or(|nth| !out.contains(&nth)));
        plan
    });
}

/// First whole actors, then what all did about the same time, then any of what they do.
fn operations(search: &mut Search<'_>) {
    names(search, |search, name| search.vocabulary().is_actor(name));
    occurrences(search, Order::Moment, |search, name| search.vocabulary().is_actor(name));
    occurrences(search, Order::Name, |search, name| search.vocabulary().is_actor(name));
}

/// In which order occurrences are left out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Those of one name together.
    Name,
    /// Those of one moment together: the n-th of each name, more or less.
    Moment,
}

/// First whole kinds, then any of them.
fn faults(search: &mut Search<'_>) {
    names(search, |search, name| !search.vocabulary().is_actor(name));
    occurrences(search, Order::Name, |search, name| !search.vocabulary().is_actor(name));
}

fn names(search: &mut Search<'_>, is_meant: fn(&Search<'_>, &str) -> bool) {
    let all = |search: &Search<'_>| {
        let mut all: Vec<String> = search.best.outcome.occurrences.keys().cloned().collect();
        all.retain(|name| {
            is_meant(search, name) && !happened(&search.best.plan, &search.best.outcome, name).is_empty()
        });
        all
    };
    reduce(search, all, |search, out| {
        let mut plan = search.best.plan.clone();
        plan.only.extend(out.iter().map(|name| (name.clone(), Occurrences::NONE)));
        plan
    });
    // A line may have become idle: what it shuts does not come up any more.
    let lines = |search: &Search<'_>| {
        let mut all: Vec<String> = search.best.plan.only.keys().cloned().collect();
        all.retain(|name| is_meant(search, name));
        all
    };
    reduce(search, lines, |search, out| {
        let mut plan = search.best.plan.clone();
        plan.only.retain(|name, _| !out.contains(name));
        plan
    });
}

fn occurrences(search: &mut Search<'_>, order: Order, is_meant: fn(&Search<'_>, &str) -> bool) {
    let all = |search: &Search<'_>| {
        let (plan, outcome) = (&search.best.plan, &search.best.outcome);
        let names = outcome.occurrences.keys().filter(|name| is_meant(search, name));
        let all = names.flat_map(|name| happened(plan, outcome, name).into_iter().map(|nth| (name.clone(), nth)));
        let mut all: Vec<(String, u64)> = all.collect();
        if order == Order::Moment {
            all.sort_by_key(|(_, nth)| *nth);
        }
        all
    };
    reduce(search, all, |search, out: &[(String, u64)]| {
        let mut plan = search.best.plan.clone();
        let mut left: BTreeMap<&String, BTreeSet<u64>> = BTreeMap::new();
        for (name, nth) in out {
            let kept = || happened(&plan, &search.best.outcome, name).into_iter().collect();
            left.entry(name).or_insert_with(kept).remove(nth);
        }
        plan.only.extend(left.into_iter().map(|(name, kept)| (name.clone(), kept.into_iter().collect())));
        plan
    });
}

/// Lets an actor with a lower number do what one with a higher does, so that there need not be as many.
fn renumber(search: &mut Search<'_>) {
    let prefix = search.vocabulary().actors;
    loop {
        let (plan, outcome) = (&search.best.plan, &search.best.outcome);
        let names = outcome.occurrences.keys().chain(plan.only.keys());
        let numbers: BTreeSet<u64> = names.filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
        let does = |number: &u64| happened(plan, outcome, &format!("{prefix}{number}"));
        let (busy, idle): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| !does(number).is_empty());
        let moves =
            busy.iter().rev().flat_map(|from| idle.iter().filter(move |to| *to < from).map(move |to| (from, to)));
        let candidates = moves.map(|(from, to)| {
            let mut moved = plan.clone();
            moved.only.insert(format!("{prefix}{to}"), does(from).into_iter().collect());
            moved.only.insert(format!("{prefix}{from}"), Occurrences::NONE);
            moved
        });
        let candidates: Vec<Plan> = candidates.collect();
        if search.first(&candidates).is_none() {
            return;
        }
    }
}

fn defaults(search: &mut Search<'_>) {
    let named = |search: &Search<'_>| {
        let mut all: Vec<&'static Number> = search.vocabulary().numbers.iter().collect();
        all.retain(|number| search.best.plan.numbers.contains_key(number.name) && may_change(number.role));
        all
    };
    reduce(search, named, |search, out| {
        let mut plan = search.best.plan.clone();
        plan.numbers.retain(|name, _| out.iter().all(|number| number.name != *name));
        plan
    });
}

fn may_change(role: Role) -> bool {
    !matches!(role, Role::Horizon | Role::EventLimit | Role::Patience | Role::Fixed)
}

/// In large steps: to their simplest values, many at once.
fn smaller(search: &mut Search<'_>) {
    if search.grain == Grain::Fine {
        return each_smaller(search);
    }
    let larger = |search: &Search<'_>| {
        let mut all: Vec<&'static Number> = search.vocabulary().numbers.iter().collect();
        all.retain(|number| has_value(number.role));
        all.retain(|number| search.vocabulary().value(&search.best.plan, number) != number.simplest);
        all
    };
    reduce(search, larger, |search, out| {
        let mut plan = search.best.plan.clone();
        out.iter().for_each(|number| search.vocabulary().set(&mut plan, number, number.simplest));
        plan
    });
}

fn has_steps(role: Role) -> bool {
    matches!(role, Role::Count | Role::Size | Role::Time)
}

fn has_value(role: Role) -> bool {
    has_steps(role) || role == Role::Knob
}

fn each_smaller(search: &mut Search<'_>) {
    let vocabulary = search.vocabulary();
    for number in vocabulary.numbers.iter().filter(|number| has_value(number.role)) {
        let steps = has_steps(number.role);
        loop {
            let value = vocabulary.value(&search.best.plan, number);
            let all =
                if steps && value > number.simplest { between(number.simplest, value) } else { vec![number.simplest] };
            let candidates = all.into_iter().filter(|other| *other != value).map(|other| {
                let mut plan = search.best.plan.clone();
                vocabulary.set(&mut plan, number, other);
                plan
            });
            let candidates: Vec<Plan> = candidates.collect();
            if search.first(&candidates).is_none() {
                break;
            }
        }
    }
}

fn arguments(search: &mut Search<'_>) {
    let vocabulary = search.vocabulary();
    for nth in (0..search.best.plan.schedule.len()).rev() {
        let known: Vec<_> =
            vocabulary.arguments(&search.best.plan.schedule[nth]).map(|(argument, _)| argument).collect();
        for argument in known {
            while let Some(value) = search.best.plan.schedule[nth].arguments.get(argument.name).copied() {
                let all = match argument.role {
                    Role::Time if value > argument.simplest => {
                        [4, 2].map(|part| value - (value - argument.simplest) / part * (part - 1)).to_vec()
                    }
                    _ => Vec::new(),
                };
                let candidates =
                    [argument.simplest].into_iter().chain(all).filter(|other| *other != value).map(|other| {
                        let mut plan = search.best.plan.clone();
                        plan.schedule[nth].arguments.insert(argument.name, other);
                        plan
                    });
                let candidates: Vec<Plan> = candidates.collect();
                if search.first(&candidates).is_none() {
                    break;
                }
            }
        }
    }
}

/// Each disturbance, with all that follow it.
fn earlier(search: &mut Search<'_>) {
    for nth in 0..search.best.plan.schedule.len() {
        loop {
            let schedule = &search.best.plan.schedule;
            let before = nth.checked_sub(1).map_or(0, |before| micros(schedule[before].at));
            let now = micros(schedule[nth].at);
            let candidates = between(before, now).into_iter().filter(|at| *at < now).map(|at| {
                let mut plan = search.best.plan.clone();
                plan.schedule[nth..].iter_mut().for_each(|one| one.at -= Duration::from_micros(now - at));
                plan
            });
            let candidates: Vec<Plan> = candidates.collect();
            if search.first(&candidates).is_none() {
                break;
            }
        }
    }
}

/// Takes away as many items as possible, in ever smaller chunks, from the last to the first. `items` are those of the
/// best plan, in an order that taking some away keeps; `without` is the best plan without some.
fn reduce<T: Clone>(
    search: &mut Search<'_>,
    items: impl Fn(&Search<'_>) -> Vec<T>,
    without: impl Fn(&Search<'_>, &[T]) -> Plan,
) {
    let mut chunk = items(search).len();
    let least = match search.grain {
        Grain::Coarse => (chunk / 8).max(1),
        Grain::Fine => 1,
    };
    while chunk >= least {
        let mut end = usize::MAX;
        loop {
            let left = items(search);
            let windows: Vec<(usize, usize)> =
                descending(end.min(left.len()), chunk).map(|end| (end.saturating_sub(chunk), end)).collect();
            let candidates: Vec<Plan> = windows.iter().map(|(from, to)| without(search, &left[*from..*to])).collect();
            match search.first(&candidates) {
                Some(nth) => end = windows[nth].0,
                None => break,
            }
        }
        if search.is_over() {
            return;
        }
        chunk = if chunk > 3 { chunk / 2 } else { chunk - 1 };
    }
}

/// `end`, and every `step` below it down to 1.
fn descending(end: usize, step: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(end), move |end| end.checked_sub(step)).take_while(|end| *end > 0)
}

/// The smaller value, and some between it and the larger, which is not one of them; ascending.
fn between(small: u64, large: u64) -> Vec<u64> {
    let gap = large.saturating_sub(small);
    let mut all = vec![small, small + gap / 8, small + gap / 2, small + gap / 8 * 7];
    all.dedup();
    all.retain(|value| *value < large);
    all
}

fn role(search: &Search<'_>, role: Role) -> Vec<&'static Number> {
    search.vocabulary().numbers.iter().filter(|number| number.role == role).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
