//! The broker's probe of a store, on the simulated one: it is as good as what a broker accepts, and when it lies, it is
//! refused.

use super::{Caller, Mode, SimStore, StoreKnobs, Submitted};
use crate::fault::Chance;
use crate::time::SimTime;
use core::time::Duration;
use karst_core::limits::Limits;
use karst_core::machine::{Check, Effects, Inbox, Instant, Machine, Now, OpId, Rng, Turn, TurnBudget, WallTime};
use karst_core::store::probe::{Effect, Flaw, Input, Probe, Report, Unfit};
use karst_core::store::{Precondition, StoreCall, StoreError, StoreOp};

const ME: Caller = Caller(1);

/// Changes a request on its way.
type Lens = fn(&SimStore, StoreCall) -> StoreCall;

fn probe(store: &mut SimStore, seed: u64, lens: Lens) -> Result<Report, Unfit> {
    let turn = Turn::new(TurnBudget::default(), Check::Invariants);
    let mut probe = Probe::new(&Limits::default(), Rng::new(seed));
    let (mut inbox, mut effects) = (Inbox::default(), Effects::default());
    let mut waiting: Vec<(OpId, Submitted)> = Vec::new();
    let mut now = SimTime::ZERO;
    inbox.push(Input::Start);
    loop {
        let both = Now { mono: Instant(now.since(SimTime::ZERO).as_nanos() as u64), wall: WallTime(1_700_000_000_000) };
        turn.run(&mut probe, both, &mut inbox, &mut effects, |_| {});
        for effect in effects.drain() {
            match effect {
                Effect::Store(id, call) => {
                    let call = lens(store, call);
                    waiting.push((id, store.submit(now, ME, call)));
                }
                Effect::Done(verdict) => return verdict,
            }
        }
        let Some(next) = (0..waiting.len()).min_by_key(|at| waiting[*at].1.answer) else {
            let due = probe.deadline().expect("it waits for something").at;
            now = now.max(SimTime::ZERO.after(Duration::from_nanos(due.0)));
            continue;
        };
        let (id, submitted) = waiting.swap_remove(next);
        now = now.max(submitted.answer);
        store.settle(now);
        inbox.push(Input::Store(id, store.answer(now, submitted.request)));
    }
}

fn as_it_is(_: &SimStore, call: StoreCall) -> StoreCall {
    call
}

/// As if the store did not look at conditions.
fn without_conditions(store: &SimStore, call: StoreCall) -> StoreCall {
    match call.op {
        StoreOp::Put { key, body, .. } => {
            let only_if =
                store.bucket().get(&key).map_or(Precondition::Absent, |object| Precondition::Is(object.etag.clone()));
            StoreCall { op: StoreOp::Put { key, body, only_if }, ..call }
        }
        op => StoreCall { op, ..call },
    }
}

#[test]
fn the_simulated_store_is_fit_for_a_broker_good_or_bad() {
    for seed in 0..8 {
        let mut store = SimStore::new(StoreKnobs::CALM, &Rng::new(seed));
        assert!(probe(&mut store, seed, as_it_is).is_ok(), "seed {seed}");
        assert_eq!(store.bucket().objects().count(), 0, "seed {seed}: it leaves nothing");
        let bad = StoreKnobs {
            throttle: Chance::percent(1),
            timeout: Chance::percent(1),
            done_despite_error: Chance::percent(50),
            late: Chance::percent(50),
            conflict: Chance::percent(20),
            page: 1,
            ..StoreKnobs::CALM
        };
        let verdict = probe(&mut SimStore::new(bad, &Rng::new(seed)), seed, as_it_is);
        assert!(!matches!(verdict, Err(Unfit::Flawed(_) | Unfit::Refused(..))), "seed {seed}: {verdict:?}");
    }
}

#[test]
fn a_probe_ends_in_a_storm() {
    for seed in 0..8 {
        let storm = StoreKnobs {
            throttle: Chance::percent(2),
            server_error: Chance::percent(1),
            cut_off: Chance::percent(1),
            done_despite_error: Chance::percent(50),
            late: Chance::percent(50),
            truncate: Chance::percent(5),
            ..StoreKnobs::CALM
        };
        let verdict = probe(&mut SimStore::new(storm, &Rng::new(seed)), seed, as_it_is);
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

#[test]
fn a_store_that_ignores_conditions_is_refused() {
    for seed in 0..8 {
        let mut store = SimStore::new(StoreKnobs::CALM, &Rng::new(seed));
        let verdict = probe(&mut store, seed, without_conditions);
        assert_eq!(verdict, Err(Unfit::Flawed(Flaw::CreatesTwice)), "seed {seed}");
    }
}

#[test]
fn a_store_that_is_away_or_denies_is_told_from_one_that_lies() {
    let mut store = SimStore::new(StoreKnobs::CALM, &Rng::new(1));
    store.set_mode(Mode::Denied);
    assert_eq!(probe(&mut store, 1, as_it_is), Err(Unfit::Refused("list objects", StoreError::Denied)));
    store.set_mode(Mode::Outage);
    assert!(matches!(probe(&mut store, 2, as_it_is), Err(Unfit::Unreachable(_))));
}
