use super::*;
use crate::fault::{Chance, Latency};
use core::time::Duration;
use karst_core::machine::Rope;
use karst_core::store::{Cause, ETag, Fatal, Found, Precondition, Span, StoreDone};
use std::collections::BTreeSet;

const CALM: StoreKnobs = StoreKnobs::CALM;
const WITHIN: Duration = Duration::from_secs(10);
const ME: Caller = Caller(1);

fn store(knobs: StoreKnobs) -> SimStore {
    SimStore::new(knobs, &Rng::new(1))
}

fn call(op: StoreOp) -> StoreCall {
    StoreCall { op, within: WITHIN }
}

fn put(key: &str, body: &'static str, only_if: Precondition) -> StoreOp {
    StoreOp::Put { key: key.into(), body: Rope::from(body.as_bytes()), only_if }
}

fn create(key: &str) -> StoreOp {
    put(key, "body", Precondition::Absent)
}

fn get(key: &str, span: Span) -> StoreOp {
    StoreOp::Get { key: key.into(), span }
}

fn done(store: &mut SimStore, now: &mut SimTime, op: StoreOp) -> StoreResult {
    let submitted = store.submit(*now, ME, call(op));
    *now = submitted.answer;
    store.settle(*now);
    store.answer(*now, submitted.request)
}

fn etag(result: StoreResult) -> ETag {
    match result {
        Ok(StoreDone::Put { etag }) => etag,
        other => panic!("{other:?} is no put"),
    }
}

/// Plenty of everything: returns what fired.
fn exercise(knobs: StoreKnobs) -> Counters {
    let (mut store, mut rng, mut now) = (store(knobs), Rng::new(2), SimTime::ZERO);
    for n in 0..2000 {
        let key = format!("k{}", rng.below(500));
        let op = match rng.below(4) {
            0 => create(&key),
            1 if n % 2 == 0 => get(&key, Span::Range { at: 0, len: 1 }),
            1 => get(&key, Span::Whole),
            2 => StoreOp::Delete { key: key.into() },
            _ => StoreOp::List { prefix: "k".into(), after: None, max: 10 },
        };
        let one = store.submit(now, ME, call(op));
        let both = [(); 2].map(|()| store.submit(now, ME, call(create(&format!("x{n}")))));
        let all = [one, both[0], both[1]];
        for submitted in all {
            now = now.max(submitted.answer);
        }
        store.settle(now);
        for submitted in all {
            let result = store.answer(now, submitted.request);
            assert!(matches!(result, Ok(_) | Err(_)));
        }
    }
    store.settle(SimTime::NEVER);
    assert_eq!(store.in_flight(), 0);
    assert!(store.requests.is_empty() && store.puts.is_empty(), "nothing leaks");
    store.fired().clone()
}

#[test]
fn a_calm_store_does_what_it_is_asked_and_nothing_fires() {
    let (mut store, mut now) = (store(CALM), SimTime::ZERO);
    let first = etag(done(&mut store, &mut now, put("a", "one", Precondition::Absent)));
    assert_eq!(done(&mut store, &mut now, create("a")), Err(StoreError::Exists));
    let swap = put("a", "three", Precondition::Is(first.clone()));
    let second = etag(done(&mut store, &mut now, swap.clone()));
    assert_ne!(first, second);
    assert_eq!(done(&mut store, &mut now, swap), Err(StoreError::Exists), "no longer that version");
    assert_eq!(done(&mut store, &mut now, put("b", "x", Precondition::Is(first))), Err(StoreError::Missing));
    let got = |body: &'static str| {
        Ok(StoreDone::Got { body: bytes::Bytes::from(body).into(), etag: second.clone(), total: 5 })
    };
    assert_eq!(done(&mut store, &mut now, get("a", Span::Whole)), got("three"));
    assert_eq!(done(&mut store, &mut now, get("a", Span::Range { at: 1, len: 2 })), got("hr"));
    assert_eq!(done(&mut store, &mut now, get("a", Span::Range { at: 3, len: u64::MAX })), got("ee"));
    assert_eq!(done(&mut store, &mut now, get("a", Span::Last { len: 2 })), got("ee"));
    assert_eq!(done(&mut store, &mut now, get("a", Span::Last { len: 9 })), got("three"));
    let beyond = get("a", Span::Range { at: 5, len: 1 });
    assert_eq!(done(&mut store, &mut now, beyond), Err(StoreError::Fatal(Fatal::BadRequest)));
    for _ in 0..2 {
        assert_eq!(done(&mut store, &mut now, StoreOp::Delete { key: "a".into() }), Ok(StoreDone::Deleted));
    }
    assert_eq!(done(&mut store, &mut now, get("a", Span::Whole)), Err(StoreError::Missing));
    assert!(exercise(CALM).is_empty());
}

#[test]
fn listings_come_in_order_and_in_pages() {
    let (mut store, mut now) = (store(StoreKnobs { page: 2, ..CALM }), SimTime::ZERO);
    for key in ["p/3", "q", "p/1", "o", "p/2"] {
        etag(done(&mut store, &mut now, create(key)));
    }
    let mut list = |prefix: &str, after: Option<&str>, max| {
        let op = StoreOp::List { prefix: prefix.into(), after: after.map(Key::from), max };
        match done(&mut store, &mut now, op) {
            Ok(StoreDone::Listed { found, more }) => (found.into_iter().map(|Found { key, .. }| key.0).collect(), more),
            other => panic!("{other:?} is no listing"),
        }
    };
    let page = |names: &[&str], more| (names.iter().map(ToString::to_string).collect::<Vec<_>>(), more);
    assert_eq!(list("p/", None, 10), page(&["p/1", "p/2"], true));
    assert_eq!(list("p/", Some("p/2"), 10), page(&["p/3"], false));
    assert_eq!(list("p/", Some("p/1"), 10), page(&["p/2", "p/3"], false), "a full page may be the last");
    assert_eq!(list("p/", Some("a"), 1), page(&["p/1"], true), "after a name before the prefix");
    assert_eq!(list("p/", Some("p/3"), 10), page(&[], false));
    assert_eq!(list("", None, 1), page(&["o"], true));
}

#[test]
fn etags_of_equal_contents_are_equal_or_not_as_told() {
    for (etags, equal) in [(Etags::Content, true), (Etags::Unique, false)] {
        let (mut store, mut now) = (store(StoreKnobs { etags, ..CALM }), SimTime::ZERO);
        let one = etag(done(&mut store, &mut now, create("a")));
        let other = etag(done(&mut store, &mut now, create("b")));
        assert_eq!(one == other, equal);
    }
}

#[test]
fn each_knob_fires_alone() {
    let some = Chance::percent(10);
    let cases = [
        ("store.throttled", StoreKnobs { throttle: some, ..CALM }),
        ("store.server_error", StoreKnobs { server_error: some, ..CALM }),
        ("store.cut_off", StoreKnobs { cut_off: some, ..CALM }),
        ("store.timeout", StoreKnobs { timeout: some, ..CALM }),
        ("store.conflict", StoreKnobs { conflict: some, ..CALM }),
        ("store.spurious_conflict", StoreKnobs { spurious_conflict: some, ..CALM }),
        ("store.truncated", StoreKnobs { truncate: some, ..CALM }),
        ("store.unread", StoreKnobs { unread: some, ..CALM }),
        ("store.slow", StoreKnobs { latency: CALM.latency.with_tail(some, 100 * WITHIN), ..CALM }),
    ];
    for (kind, knobs) in cases {
        let mut fired = exercise(knobs);
        assert!(fired.get(kind) > 10, "{kind} fired {} times", fired.get(kind));
        if kind == "store.slow" {
            let despite = fired.get("store.done_despite_error") + fired.get("store.late");
            assert!(despite > fired.get(kind) / 2, "slow puts and deletes take effect");
            fired = exercise(StoreKnobs { latency: CALM.latency, ..knobs });
        }
        assert!(fired.iter().count() <= 1, "{kind} alone, not {fired:?}");
    }
    assert!(exercise(StoreKnobs { done_despite_error: Chance::ALWAYS, late: Chance::ALWAYS, ..CALM }).is_empty());
}

#[test]
fn ambiguous_requests_are_done_not_done_or_done_late() {
    let all = [
        StoreKnobs { throttle: Chance::ALWAYS, ..CALM },
        StoreKnobs { server_error: Chance::ALWAYS, ..CALM },
        StoreKnobs { cut_off: Chance::ALWAYS, ..CALM },
        StoreKnobs { timeout: Chance::ALWAYS, ..CALM },
    ];
    let causes = [Cause::Throttled, Cause::Server, Cause::CutOff, Cause::Timeout];
    for (knobs, cause) in all.into_iter().zip(causes) {
        let there = |knobs, when: fn(SimTime) -> SimTime| {
            let (mut store, mut now) = (store(knobs), SimTime::ZERO);
            assert_eq!(done(&mut store, &mut now, create("a")), Err(StoreError::Ambiguous(cause)));
            assert!(now <= SimTime::ZERO.after(WITHIN));
            store.settle(when(now));
            store.bucket().get(&"a".into()).is_some()
        };
        let (at_once, at_last) = (|now| now, |_| SimTime::NEVER);
        assert!(!there(knobs, at_last));
        assert!(there(StoreKnobs { done_despite_error: Chance::ALWAYS, ..knobs }, at_once));
        let late = StoreKnobs { late: Chance::ALWAYS, ..knobs };
        assert!(there(late, at_last));
        if cause != Cause::Timeout {
            assert!(!there(late, at_once), "after the answer");
        }
    }
}

#[test]
fn a_late_put_lands_after_its_writers_next_steps() {
    let knobs = StoreKnobs { timeout: Chance::ALWAYS, late: Chance::ALWAYS, ..CALM };
    let late_by = Latency::uniform(2 * WITHIN, 3 * WITHIN);
    let (mut store, mut now) = (store(StoreKnobs { late_by, ..knobs }), SimTime::ZERO);
    assert_eq!(done(&mut store, &mut now, create("a")), Err(StoreError::Ambiguous(Cause::Timeout)));
    store.heal();
    etag(done(&mut store, &mut now, put("a", "again", Precondition::Absent)));
    assert_eq!(done(&mut store, &mut now, StoreOp::Delete { key: "a".into() }), Ok(StoreDone::Deleted));
    assert_eq!(store.in_flight(), 1);
    let [applied] = &store.settle(SimTime::NEVER)[..] else { panic!("the zombie lands") };
    assert_eq!((applied.from, applied.when), (ME, Timeliness::Late));
    assert_eq!(&store.bucket().get(&"a".into()).unwrap().body[..], b"body", "and resurrects the object");
    assert_eq!(store.fired().get("store.late"), 1);
}

#[test]
fn reads_are_throttled_puts_are_unknown() {
    let (mut store, mut now) = (store(StoreKnobs { throttle: Chance::ALWAYS, ..CALM }), SimTime::ZERO);
    assert_eq!(done(&mut store, &mut now, get("a", Span::Whole)), Err(StoreError::Throttled));
    let list = StoreOp::List { prefix: "".into(), after: None, max: 1 };
    assert_eq!(done(&mut store, &mut now, list), Err(StoreError::Throttled));
    let delete = StoreOp::Delete { key: "a".into() };
    assert_eq!(done(&mut store, &mut now, delete), Err(StoreError::Ambiguous(Cause::Throttled)));
}

#[test]
fn nobody_waits_longer_than_it_said() {
    let slow = Latency::uniform(Duration::from_secs(30), Duration::from_secs(60));
    let mut store = store(StoreKnobs { latency: slow, ..CALM });
    for op in [create("a"), get("a", Span::Whole), StoreOp::Delete { key: "b".into() }] {
        let submitted = store.submit(SimTime::ZERO, ME, call(op));
        assert_eq!(submitted.answer, SimTime::ZERO.after(WITHIN));
        assert!(submitted.effect.unwrap() > SimTime::ZERO);
        store.settle(submitted.answer);
        let result = store.answer(submitted.answer, submitted.request);
        assert_eq!(result, Err(StoreError::Ambiguous(Cause::Timeout)));
    }
    store.settle(SimTime::NEVER);
    assert!(store.bucket().get(&"a".into()).is_some());
}

#[test]
fn of_two_conditional_puts_one_wins() {
    let conflicts = StoreKnobs { conflict: Chance::percent(50), ..CALM };
    for (knobs, loser) in [(CALM, StoreError::Exists), (conflicts, StoreError::Conflict)] {
        let mut store = store(knobs);
        let mut seen = BTreeSet::new();
        for n in 0..200 {
            let now = SimTime::ZERO.after(n * WITHIN);
            let both = [(); 2].map(|()| store.submit(now, ME, call(create(&format!("k{n}")))));
            let after = now.after(WITHIN);
            store.settle(after);
            let results = both.map(|submitted| store.answer(after, submitted.request));
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
            seen.extend(results.into_iter().filter_map(Result::err).map(|error| format!("{error:?}")));
        }
        assert!(seen.contains(&format!("{loser:?}")), "{seen:?}");
    }
}

#[test]
fn modes_refuse_what_they_say() {
    let answer = |mode, op| {
        let (mut store, mut now) = (store(CALM), SimTime::ZERO);
        store.bucket_mut().put(now, "a".into(), "x".into(), Etags::Content);
        store.set_mode(mode);
        let result = done(&mut store, &mut now, op);
        store.settle(SimTime::NEVER);
        assert_eq!(store.bucket().objects().count(), 1, "{mode:?} changes nothing");
        result.map(|_| ())
    };
    let read = || get("a", Span::Whole);
    let delete = || StoreOp::Delete { key: "missing".into() };
    assert_eq!(answer(Mode::NoSpace, create("b")), Err(StoreError::Fatal(Fatal::NoSpace)));
    assert_eq!(answer(Mode::NoSpace, delete()), Ok(()));
    assert_eq!(answer(Mode::ReadOnly, delete()), Err(StoreError::Fatal(Fatal::ReadOnly)));
    assert_eq!(answer(Mode::ReadOnly, read()), Ok(()));
    assert_eq!(answer(Mode::Denied, read()), Err(StoreError::Denied));
    assert_eq!(answer(Mode::NoBucket, create("b")), Err(StoreError::Fatal(Fatal::NoBucket)));
    assert!(answer(Mode::Outage, create("b")).unwrap_err().may_pass());
    assert!(answer(Mode::Outage, read()).unwrap_err().may_pass());
}

#[test]
fn a_caller_that_is_cut_off_from_the_store_hears_nothing() {
    for (reach, arrives) in [(Reach::RequestsLost, false), (Reach::AnswersLost, true)] {
        let (mut store, mut now) = (store(CALM), SimTime::ZERO);
        store.set_reach(ME, reach);
        assert_eq!(done(&mut store, &mut now, create("a")), Err(StoreError::Ambiguous(Cause::Timeout)));
        assert_eq!(now, SimTime::ZERO.after(WITHIN));
        assert_eq!(store.bucket().get(&"a".into()).is_some(), arrives);
        let other = store.submit(now, Caller(2), call(create("b")));
        assert!(other.answer < now.after(WITHIN), "others do");
    }
}

#[test]
fn requests_outlive_their_caller_unless_they_had_not_left() {
    for (lost, expected) in [(Chance::NEVER, 50), (Chance::ALWAYS, 0)] {
        let mut store = store(StoreKnobs { lost_with_caller: lost, ..CALM });
        for n in 0..50 {
            store.submit(SimTime::ZERO, ME, call(create(&format!("k{n}"))));
        }
        store.submit(SimTime::ZERO, Caller(2), call(create("other")));
        store.crash(SimTime::ZERO, ME, &mut Rng::new(1));
        store.settle(SimTime::NEVER);
        assert_eq!(store.bucket().objects().count(), expected + 1);
    }
}

#[test]
fn turning_one_fault_off_moves_no_draw_of_another() {
    let all = StoreKnobs { server_error: Chance::percent(5), truncate: Chance::percent(20), ..CALM };
    let without = StoreKnobs { truncate: Chance::NEVER, ..all };
    assert_eq!(exercise(all).get("store.server_error"), exercise(without).get("store.server_error"));
}

#[test]
fn a_request_less_moves_no_fate_of_another() {
    let knobs = StoreKnobs { server_error: Chance::percent(20), late: Chance::percent(50), ..CALM };
    let fates = |leaves_out: fn(u64) -> bool| {
        let mut store = store(knobs);
        let mut fates = Vec::new();
        for n in (0..300).filter(|n| !leaves_out(*n)) {
            let op = if n % 3 == 0 { get("a", Span::Whole) } else { create(&format!("data/{}", fates.len())) };
            let Submitted { effect, answer, .. } = store.submit(SimTime(n * 10_000_000), ME, call(op));
            fates.push((n, effect, answer));
        }
        fates
    };
    let mut all = fates(|_| false);
    all.retain(|(n, ..)| n % 7 != 0);
    assert_eq!(fates(|n| n % 7 == 0), all);
}

#[test]
fn by_order_the_nth_request_has_the_nth_fate_whenever_it_comes() {
    let knobs = StoreKnobs { server_error: Chance::percent(30), cut_off: Chance::percent(30), ..CALM };
    let answers = |pace: u64| {
        let (mut store, mut rng) = (store(knobs), Rng::new(pace));
        store.draw_by_order(&Rng::new(1));
        let mut now = SimTime::ZERO;
        let mut answers = Vec::new();
        for n in 0..200 {
            now = now.after(Duration::from_micros(rng.below(pace)));
            answers.push(done(&mut store, &mut now, create(&format!("data/{n}"))));
        }
        answers
    };
    assert_eq!(answers(10), answers(100_000));
    assert!(answers(10).iter().any(Result::is_err));
}

#[test]
fn a_bucket_knows_how_long_its_objects_are_together() {
    let mut bucket = Bucket::default();
    for (key, body) in [("a", "one"), ("b", "three"), ("a", "seven")] {
        bucket.put(SimTime::ZERO, key.into(), body.into(), Etags::Content);
    }
    assert_eq!(bucket.bytes(), 10);
    bucket.remove(&"a".into());
    bucket.remove(&"a".into());
    assert_eq!(bucket.bytes(), 5);
}
