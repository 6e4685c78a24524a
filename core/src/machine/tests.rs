//! The laws that can be shown on one machine. That all machines keep them together is shown by every simulated run:
//! the same seed gives the same trace, and each completion reaches its machine exactly once.

use super::{Check, Deadline, Effects, Inbox, Instant, Job, Machine, Now, OpId, OpIds, Outcome, Rng, Turn, TurnBudget};
use crate::kafka::batch::tests::{batch, compressed, records};
use crate::kafka::{CheckedBatch, Codec, ErrorCode, RecordFacts, Refusal};
use alloc::vec::Vec;
use core::time::Duration;

/// Counts to a goal, one operation at a time; an operation that fails is tried again a second later.
#[derive(Debug)]
struct Counter {
    goal: u32,
    count: u32,
    ops: OpIds,
    in_flight: Option<OpId>,
    retry_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Input {
    Raise(u32),
    Done(OpId, Result<(), ()>),
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Add(OpId);

impl Counter {
    fn new() -> Self {
        Self { goal: 0, count: 0, ops: OpIds::default(), in_flight: None, retry_at: None }
    }

    fn go_on(&mut self, out: &mut Effects<Add>) {
        if self.in_flight.is_none() && self.retry_at.is_none() && self.count < self.goal {
            let op = self.ops.issue();
            self.in_flight = Some(op);
            out.push(Add(op));
        }
    }
}

impl Machine for Counter {
    type Input = Input;
    type Effect = Add;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Add>) {
        match input {
            Input::Raise(by) => self.goal += by,
            Input::Done(op, result) => {
                assert_eq!(self.in_flight.take(), Some(op), "one effect, one completion");
                match result {
                    Ok(()) => self.count += 1,
                    Err(()) => self.retry_at = Some(now.mono.after(Duration::from_secs(1))),
                }
            }
            Input::Tick => self.retry_at = self.retry_at.filter(|at| *at > now.mono),
        }
        self.go_on(out);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.retry_at.map(|at| Deadline { at, reason: "try again" })
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.count <= self.goal, "it never counts beyond its goal");
    }
}

const TURN: Turn = Turn::new(TurnBudget { inputs: 3, effects: 100 }, Check::Invariants);

fn at(seconds: u64) -> Now {
    Now { mono: Instant(seconds * 1_000_000_000), ..Now::default() }
}

/// Drives it for a while with what a seed says. Returns all that was seen.
fn story(seed: u64) -> Vec<Add> {
    let (mut machine, mut inbox, mut out) = (Counter::new(), Inbox::default(), Effects::default());
    let mut rng = Rng::new(seed);
    let mut all = Vec::new();
    for second in 0..100 {
        if rng.chance(1, 3) {
            inbox.push(Input::Raise(1));
        }
        TURN.run(&mut machine, at(second), &mut inbox, &mut out, |_| {});
        for add in out.drain() {
            all.push(add);
            inbox.push(Input::Done(add.0, if rng.chance(1, 2) { Ok(()) } else { Err(()) }));
        }
    }
    all
}

#[test]
fn law_1_the_same_inputs_give_the_same_effects() {
    assert_eq!(story(1), story(1));
    assert_ne!(story(1).len(), story(2).len());
}

#[test]
fn law_1_a_job_means_the_same_wherever_and_whenever_it_runs() {
    let sound = batch(2, &records(2));
    let lying = compressed(Codec::Gzip, 3, &records(2));
    let bomb = compressed(Codec::Zstd, 200, &records(200));
    let batches = [sound, lying, bomb].map(|bytes| CheckedBatch::check(&bytes.into()).expect("its header is sound"));
    let job = Job::CheckRecords { batches: batches.into(), inflated: 1_000 };
    let outcome = job.run();
    assert_eq!(job.clone().run(), outcome, "a job is not used up, and knows nothing but itself");
    let Outcome::CheckedRecords(verdicts) = outcome else { panic!("another job's outcome") };
    let of = |verdict: Result<RecordFacts, Refusal>| {
        verdict.map_or_else(|refusal| Err(refusal.code), |facts| Ok(facts.keyless.count))
    };
    let codes: Vec<_> = verdicts.into_iter().map(of).collect();
    assert_eq!(codes, [Ok(2), Err(ErrorCode::InvalidRecord), Err(ErrorCode::MessageTooLarge)]);
}

#[test]
fn law_2_a_turn_ends() {
    let (mut machine, mut inbox, mut out) = (Counter::new(), Inbox::default(), Effects::default());
    for _ in 0..10 {
        inbox.push(Input::Raise(1));
    }
    assert_eq!(TURN.run(&mut machine, at(0), &mut inbox, &mut out, |_| {}), 3);
    assert_eq!(inbox.len(), 7);
}

#[test]
#[should_panic(expected = "it never counts beyond its goal")]
fn law_2_invariants_are_checked_after_every_input() {
    broken_turn(Check::Invariants);
}

#[test]
fn law_2_invariants_are_checked_only_when_told_to() {
    broken_turn(Check::Nothing);
}

/// The first input leaves the machine broken, the second mends it.
fn broken_turn(check: Check) {
    let (mut machine, mut inbox, mut out) = (Counter::new(), Inbox::default(), Effects::default());
    machine.count = 1;
    inbox.push(Input::Raise(0));
    inbox.push(Input::Raise(1));
    Turn::new(TurnBudget::default(), check).run(&mut machine, at(0), &mut inbox, &mut out, |_| {});
}

#[test]
fn law_3_what_follows_is_emitted_on_completion() {
    let (mut machine, mut out) = (Counter::new(), Effects::default());
    machine.handle(at(0), Input::Raise(5), &mut out);
    assert_eq!(out.as_slice().len(), 1, "the second waits for the first");
    let first = out.drain().next().expect("it was counted");
    machine.handle(at(0), Input::Done(first.0, Ok(())), &mut out);
    assert_eq!(out.as_slice().len(), 1);
}

#[test]
#[should_panic(expected = "one effect, one completion")]
fn law_4_a_second_completion_is_our_mistake() {
    let (mut machine, mut out) = (Counter::new(), Effects::default());
    machine.handle(at(0), Input::Raise(1), &mut out);
    let add = out.drain().next().expect("it was counted");
    machine.handle(at(0), Input::Done(add.0, Ok(())), &mut out);
    machine.handle(at(0), Input::Done(add.0, Ok(())), &mut out);
}

#[test]
fn law_5_failures_of_the_world_are_inputs() {
    let (mut machine, mut inbox, mut out) = (Counter::new(), Inbox::default(), Effects::default());
    machine.handle(at(0), Input::Raise(1), &mut out);
    let first = out.drain().next().expect("it was counted");
    machine.handle(at(0), Input::Done(first.0, Err(())), &mut out);
    assert!(out.as_slice().is_empty(), "it waits before it tries again");
    TURN.run(&mut machine, at(0), &mut inbox, &mut out, |_| {});
    assert!(out.as_slice().is_empty());
    assert_eq!(TURN.run(&mut machine, at(2), &mut inbox, &mut out, |_| {}), 1);
    let second = out.drain().next().expect("its deadline has come");
    assert_ne!(first, second, "another attempt is another operation");
}

#[test]
fn silence_is_not_what_waits_in_the_inbox() {
    let (mut machine, mut inbox, mut out) = (Counter::new(), Inbox::default(), Effects::default());
    machine.retry_at = Some(Instant(0));
    for _ in 0..5 {
        inbox.push(Input::Raise(0));
    }
    // Late, and more in the inbox than one turn takes: the time is told only after all of it.
    assert_eq!(TURN.run(&mut machine, at(9), &mut inbox, &mut out, |_| {}), 3);
    assert!(machine.retry_at.is_some());
    assert_eq!(TURN.run(&mut machine, at(9), &mut inbox, &mut out, |_| {}), 3);
    assert!(machine.retry_at.is_none());
}

#[test]
fn children_of_a_seed_do_not_depend_on_what_was_drawn() {
    let mut one = Rng::new(7);
    let before = one.child("disk").next_u64();
    one.next_u64();
    assert_eq!(one.child("disk").next_u64(), before);
    assert_ne!(one.child("disc").next_u64(), before);
    assert_ne!(Rng::new(8).child("disk").next_u64(), before);
}

#[test]
fn draws_stay_in_their_range() {
    let mut rng = Rng::new(3);
    let mut seen = [0_u32; 7];
    for _ in 0..7_000 {
        seen[rng.between(10, 16) as usize - 10] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    assert_eq!(rng.below(0), 0);
    assert_eq!(rng.between(5, 5), 5);
}

#[test]
fn a_wait_grows_to_its_cap_and_never_overflows() {
    let mut backoff = super::Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    let mut rng = Rng::new(1);
    let waits: Vec<Duration> = (0..100).map(|_| backoff.wait(&mut rng)).collect();
    assert!(waits[0] <= Duration::from_millis(10) && waits[0] >= Duration::from_millis(5));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
    assert!(waits[90..].iter().all(|wait| *wait >= Duration::from_millis(500)));
    backoff.reset();
    assert!(backoff.wait(&mut rng) <= Duration::from_millis(10));
}
