//! A toy world whose causes of failure are known.

use super::*;
use crate::failure::Failure;
use crate::fault::Chance;
use crate::gate::Gate;
use crate::plan::{Argument, Kind, Number, Role, Vocabulary};
use crate::seed::Seed;
use crate::time::SimTime;
use core::sync::atomic::{AtomicU64, Ordering};
use karst_core::machine::Rng;
use std::collections::{BTreeMap, BTreeSet};

static WORDS: Vocabulary = Vocabulary {
    numbers: &[
        Number::knob("horizon", 5_000_000).bounds(1, 100_000_000).role(Role::Horizon),
        Number::knob("events", 100_000).bounds(1, 10_000_000).role(Role::EventLimit),
        Number::knob("patience", 1_000_000).bounds(1, 1 << 30).role(Role::Patience),
        Number::knob("schedule", 0).role(Role::Schedule),
        Number::knob("clients", 3).bounds(1, 100).simplest(1).role(Role::Count),
        Number::knob("size", 600).bounds(8, 1 << 20).simplest(8).role(Role::Size),
        Number::knob("knob", 7),
        Number::knob("stall", 0).fault(),
        Number::knob("timeout", 0).fault(),
    ],
    kinds: &[Kind {
        name: "kill",
        arguments: &[Argument { name: "down", least: 0, most: 9_999_999, simplest: 10, role: Role::Time }],
    }],
    retired: &[],
    actors: "client-",
};

/// What a run of the toy did, step by step of a millisecond.
#[derive(Default)]
struct Story {
    done: BTreeSet<(u64, u64)>,
    stalls: u64,
    killed: bool,
    step: u64,
    numbers: BTreeMap<&'static str, u64>,
    /// Of all that decides.
    mixed: u64,
}

struct Toy {
    /// Names the defect that shows itself by now, if one does.
    defect: fn(&Story) -> Option<&'static str>,
    /// Without a kill it turns in circles.
    circles: bool,
    /// How long it takes to come right, in events.
    recovers: fn(&Story) -> u64,
    /// While it does, nothing happens: time passes.
    is_idle: bool,
    longest: AtomicU64,
    /// Events of all runs.
    worked: AtomicU64,
    /// Time that all runs waited.
    waited: AtomicU64,
}

impl Toy {
    fn new(defect: fn(&Story) -> Option<&'static str>) -> Self {
        let (longest, worked, waited) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { defect, circles: false, recovers: |_| 0, is_idle: false, longest, worked, waited }
    }

    fn outcome(&self, at: SimTime, events: u64, gate: &Gate, failed: Option<&str>) -> Outcome {
        self.longest.fetch_max(events, Ordering::Relaxed);
        self.worked.fetch_add(events, Ordering::Relaxed);
        let failure = failed.map(|invariant| Failure {
            invariant: invariant.into(),
            process: String::new(),
            component: "toy".into(),
            message: "it fails".into(),
            site: None,
            subjects: Vec::new(),
            at,
            event: events,
        });
        let (occurrences, requests) = (gate.occurrences(), BTreeMap::from([("produce".to_owned(), 2)]));
        Outcome { failure, hash: events, events, at, occurrences, requests, lines: Vec::new(), recording: None }
    }
}

impl Experiment for Toy {
    fn vocabulary(&self) -> &Vocabulary {
        &WORDS
    }

    /// Ten kills, five clients, two kinds of faults.
    fn draw(&self, seed: Seed) -> Plan {
        let kills: String = (1..=10).map(|nth| format!("at {} kill down=5000\n", nth * 3_000)).collect();
        let text =
            format!("karst-plan 2\nclients = 5\nsize = 9000\nknob = 3\nstall = 300000\ntimeout = 200000\n{kills}");
        Plan { root: seed.0, ..WORDS.from_text(&text).expect("this is a plan") }
    }

    fn run(&self, plan: &Plan, _: &Look) -> Outcome {
        let value = |name| WORDS.value(plan, WORDS.number(name).expect("it is there"));
        let (gate, mut rng) = (Gate::new(plan.only.clone()), Rng::new(plan.root).child("faults"));
        let numbers = WORDS.numbers.iter().map(|number| (number.name, WORDS.value(plan, number))).collect();
        let mut story = Story { numbers, mixed: plan.root ^ value("schedule") << 32, ..Story::default() };
        let mut events = 0;
        for step in 0..value("horizon").min(200_000) / 1_000 {
            let at = SimTime(step * 1_000_000);
            story.step = step;
            story.killed |= plan.schedule.iter().any(|one| one.at.as_micros() <= u128::from(step * 1_000));
            for client in 1..=value("clients") {
                events += 1;
                if gate.permits(&format!("client-{client}")) {
                    story.done.insert((client, step));
                    story.mixed = story.mixed.wrapping_mul(31) ^ (client << 8 | step);
                }
            }
            story.stalls += u64::from(gate.fires("toy.stall", Chance(value("stall") as u32), &mut rng));
            let _ = gate.fires("toy.timeout", Chance(value("timeout") as u32), &mut rng);
            if events >= value("events") || self.circles && !story.killed && step == 10 {
                return self.outcome(at, value("events"), &gate, Some("liveness"));
            }
            if let Some(invariant) = (self.defect)(&story) {
                return self.outcome(at, events, &gate, Some(invariant));
            }
        }
        let (needed, patience) = ((self.recovers)(&story), value("patience"));
        let waited = needed.min(patience);
        self.waited.fetch_add(waited, Ordering::Relaxed);
        let at = SimTime((value("horizon") + waited) * 1_000);
        let events = if self.is_idle { events } else { events + waited };
        self.outcome(at, events, &gate, (needed > patience).then_some("liveness"))
    }
}

/// Client 2's operations 7 and 30, a kill, and a stall after all.
fn four_causes(story: &Story) -> Option<&'static str> {
    let done = [(2, 7), (2, 30)].iter().all(|operation| story.done.contains(operation));
    (done && story.killed && story.stalls > 0 && story.numbers["size"] > 1_000).then_some("A")
}

fn run(toy: &Toy, jobs: usize) -> Shrunk {
    shrink(toy, &toy.draw(Seed(1)), &Options { jobs, is_over: &|| false }, &mut |_| {}).expect("it fails")
}

#[test]
fn known_causes_are_all_that_remains() {
    let toy = Toy::new(four_causes);
    let found = run(&toy, 1);
    let Size { disturbances, actors, operations, faults, .. } = found.after;
    assert_eq!((disturbances, actors, operations, faults), (1, 1, 2, 1), "{}", WORDS.to_text(&found.plan, ""));
    assert_eq!(found.plan.only["client-2"].to_string(), "7,30");
    assert_eq!(found.plan.schedule[0].arguments["down"], 10, "its down time is the simplest");
    assert!(found.plan.schedule[0].at.is_zero(), "and it comes as early as it can");
    assert!(found.plan.numbers.keys().all(|name| ["horizon", "clients", "size", "stall"].contains(name)));
    assert!((1_001..1_200).contains(&found.plan.numbers["size"]), "{}", found.plan.numbers["size"]);
    assert!(found.plan.numbers["horizon"] < 40_000);
    let again = toy.run(&WORDS.from_text(&WORDS.to_text(&found.plan, "x")).expect("it is a plan"), &Look::OUTCOME);
    assert_eq!(again.failure.expect("it still fails").fingerprint(), found.fingerprint);
    let words = found.in_words(&toy);
    assert!(words.starts_with("1 client, 2 operations (2 produce).\nDisturbed by kill at 0.000 s"), "{words}");
    assert!(words.contains("1 fault (1 toy.stall)."), "{words}");
}

#[test]
fn faults_are_told_in_words_where_there_are_some() {
    let plan = WORDS.from_text("karst-plan 2\nonly toy.timeout none\n").expect("this is a plan");
    let toy = Toy::new(|_| None);
    let mut outcome = toy.run(&plan, &Look::OUTCOME);
    outcome.occurrences =
        [("store.timeout", 2), ("toy.stall", 5), ("toy.timeout", 3)].map(|(kind, n)| (kind.into(), n)).into();
    let words = super::words::describe(&WORDS, &plan, &outcome, &[]);
    let expected =
        "7 faults (5 toy.stall, 2 store.timeout).\n  store.timeout: the store does not answer in time a request";
    assert!(words.contains(expected), "{words}");
}

#[test]
fn another_defect_on_the_way_is_not_taken_for_this_one() {
    let toy = Toy::new(|story| match () {
        () if story.done.contains(&(1, 20)) && story.done.contains(&(2, 20)) => Some("A"),
        // Shows itself sooner, and is all that is left once client 3 is idle.
        () if !story.done.contains(&(3, 5)) && story.done.contains(&(1, 10)) => Some("B"),
        () => None,
    });
    let found = run(&toy, 1);
    assert_eq!(found.outcome.failure.as_ref().map(|failure| failure.invariant.as_str()), Some("A"));
    let only: Vec<String> = ["client-1", "client-2"].map(|name| found.plan.only[name].to_string()).to_vec();
    assert_eq!(only, ["20", "20"]);
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let toy = Toy::new(four_causes);
    assert_eq!(run(&toy, 1).plan, run(&toy, 4).plan);
}

#[test]
fn where_leaving_out_moves_the_moment_other_roots_help() {
    // Whether it fails hangs on everything: of plans that hold the cause, one in five fails.
    let toy = Toy::new(|story| {
        let ripe = story.done.contains(&(2, 7)) && story.step == 20;
        (ripe && Rng::new(story.mixed).next_u64().is_multiple_of(5)).then_some("A")
    });
    let found = run(&toy, 1);
    let Size { disturbances, operations, faults, .. } = found.after;
    assert_eq!((disturbances, faults), (0, 0));
    assert!(operations <= 2, "{}", WORDS.to_text(&found.plan, ""));
}

#[test]
fn a_candidate_that_turns_in_circles_is_stopped_soon() {
    let toy = Toy { circles: true, ..Toy::new(four_causes) };
    let found = run(&toy, 1);
    assert_eq!(found.outcome.failure.as_ref().map(|failure| failure.invariant.as_str()), Some("A"));
    assert!(toy.longest.load(Ordering::Relaxed) < 6_000, "{}", toy.longest.load(Ordering::Relaxed));
}

#[test]
fn what_never_comes_right_is_not_waited_for_each_time() {
    let never = |story: &Story| match story.done.contains(&(2, 7)) && story.killed {
        true => u64::MAX,
        // Slow, and no failure: little patience takes it for one.
        false if story.done.contains(&(1, 3)) => 200_000,
        false => 0,
    };
    let toy = Toy { recovers: never, ..Toy::new(|_| None) };
    let plan = || Plan { numbers: [("events", 10_000_000)].into(), ..toy.draw(Seed(1)) };
    let found = shrink(&toy, &plan(), &Options { jobs: 2, is_over: &|| false }, &mut |_| {}).expect("it fails");
    assert_eq!((found.after.operations, found.after.disturbances), (1, 1), "{}", WORDS.to_text(&found.plan, ""));
    assert_eq!(found.plan.only["client-2"].to_string(), "7", "what is slow only is no failure");
    assert!(!found.plan.numbers.contains_key("patience") && found.outcome.events > 1_000_000);
    let each = toy.worked.load(Ordering::Relaxed) / found.runs;
    assert!(each < 300_000, "{each} events a run, {} runs", found.runs);
}

#[test]
fn a_wait_in_which_nothing_happens_is_cut_short_as_well() {
    let never = |story: &Story| if story.done.contains(&(2, 7)) { 100_000_000 } else { 0 };
    let toy = Toy { recovers: never, is_idle: true, ..Toy::new(|_| None) };
    let plan = Plan { numbers: [("patience", 50_000_000)].into(), ..toy.draw(Seed(1)) };
    let found = shrink(&toy, &plan, &Options { jobs: 2, is_over: &|| false }, &mut |_| {}).expect("it fails");
    assert_eq!((found.after.operations, found.plan.numbers["patience"]), (1, 50_000_000));
    assert!(found.outcome.at.0 >= 50_000_000_000, "all of it was waited for in the end: {}", found.outcome.at);
    let each = toy.waited.load(Ordering::Relaxed) / found.runs;
    assert!(each < 5_000_000, "{each} of 50,000,000 a run, {} runs", found.runs);
}

#[test]
fn the_budget_is_respected_and_the_best_so_far_is_kept() {
    let toy = Toy::new(four_causes);
    let asked = AtomicU64::new(0);
    let is_over = || asked.fetch_add(1, Ordering::Relaxed) >= 60;
    let mut told = 0;
    let options = Options { jobs: 2, is_over: &is_over };
    let found = shrink(&toy, &toy.draw(Seed(1)), &options, &mut |_| told += 1).expect("it fails");
    assert!((20..=62).contains(&found.runs) && told > 0, "{} runs", found.runs);
    assert!(found.after.operations < found.before.operations);
    assert!(toy.run(&found.plan, &Look::OUTCOME).failure.is_some());
}

#[test]
fn what_passes_is_not_shrunk() {
    let toy = Toy::new(|_| None);
    let options = Options { jobs: 1, is_over: &|| false };
    assert_eq!(shrink(&toy, &toy.draw(Seed(1)), &options, &mut |_| {}).err(), Some(Passed));
}
