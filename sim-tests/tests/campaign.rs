//! Seeds under all kinds of faults, and what a campaign must reach.

use karst_core::machine::Mark;
use karst_runtime_sim::seed::Seed;
use karst_sim::plan::{Disturbance, Numbers, Plan, Profile};
use karst_sim::world::{Options, Report, SITUATIONS, run};
use std::collections::BTreeMap;
use std::time::Duration;

/// What may expire: in a good part of all seeds each of them does.
const EXPIRIES: [(&str, &[Mark]); 3] = [
    ("producers are forgotten", &[Mark::ProducerForgotten]),
    ("offsets expire", &[Mark::OffsetsExpired]),
    ("members expire", &[Mark::MemberExpired]),
];

#[test]
fn seeds_pass_and_the_world_is_not_idle() {
    let seeds = 40;
    let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut with: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..seeds {
        let report = passed(&Plan::from_seed(Seed(seed), Profile::Swarm));
        let operations = report.answered.values().sum();
        for (name, count) in report.amounts.iter().chain(&report.faults).chain([(&"operations", &operations)]) {
            *sums.entry(name).or_default() += count;
        }
        for (name, marks) in SITUATIONS.into_iter().chain(EXPIRIES) {
            let happened = marks.iter().any(|mark| report.marks.contains_key(mark.name()));
            *with.entry(name).or_default() += u64::from(happened);
        }
    }
    for (name, each) in [("operations", 300), ("crashes", 3), ("WAL wraps", 3), ("committed uploads", 5)] {
        assert!(sums[name] >= each * seeds, "{} of {name} in {seeds} seeds", sums[name]);
    }
    for (name, _) in SITUATIONS {
        assert!(2 * with[name] > seeds, "{name} in {} of {seeds} seeds", with[name]);
    }
    for (name, _) in EXPIRIES {
        assert!(5 * with[name] > seeds, "{name} in {} of {seeds} seeds", with[name]);
    }
    for fault in [
        "disk.crash_partial",
        "disk.crash_torn",
        "store.done_despite_error",
        "store.late",
        "net.reset",
        "broker.stops-poisoned",
        "broker.stops-fenced",
        "aim.header",
        "aim.head",
        "aim.object",
        "aim.recovery",
    ] {
        assert!(sums.contains_key(fault), "{fault} never fired: {sums:?}");
    }
}

#[test]
fn storms_leave_clients_time_to_work_and_smoke_is_short() {
    let averages = |profile, seeds: u64| {
        let reports: Vec<Report> = (0..seeds).map(|seed| passed(&Plan::from_seed(Seed(seed), profile))).collect();
        let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>() / seeds;
        let idle = reports.iter().filter(|report| report.amounts["WAL wraps"] == 0).count() as u64;
        (sum(|report| report.answered.values().sum()), sum(|report| report.events), idle * 100 / seeds)
    };
    let (operations, _, idle) = averages(Profile::Storm, 12);
    assert!(operations >= 300 && idle <= 30, "{operations} operations, and {idle} in a hundred never wrap the ring");
    let (operations, events, idle) = averages(Profile::Smoke, 40);
    assert!(operations >= 50 && events <= 2_500, "{operations} operations in {events} events");
    assert!(idle <= 70, "{idle} in a hundred never wrap the ring");
}

#[test]
fn a_run_has_one_trace_whatever_happens_beside_it() {
    for seed in 0..6 {
        let plan = Plan::from_seed(Seed(seed), Profile::Storm);
        let alone = run(plan.clone(), Options::default());
        let beside = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(Plan::from_seed(Seed(99), Profile::Swarm), Options::default()));
            let report = run(plan, Options::default());
            other.join().expect("a run does not panic");
            report
        });
        assert_eq!((alone.trace, alone.events), (beside.trace, beside.events), "seed {seed}");
    }
}

#[test]
fn a_disk_that_fails_stops_the_broker_and_loses_nothing() {
    let numbers = Numbers { disk_write_error: 5_000, ..busy() };
    let report = passed(&Plan { numbers, ..Plan::default() });
    assert!(report.faults.get("broker.stops-poisoned").is_some_and(|count| *count > 0), "{}", report.story());
}

#[test]
fn an_outage_of_the_store_longer_than_the_ring_only_delays() {
    let outage = Disturbance::Outage { lasts: Duration::from_secs(30) };
    let numbers = Numbers { safety: 60_000_000, timeout: 60_000_000, ..busy() };
    let report = passed(&Plan { numbers, disturbances: vec![(Duration::from_millis(500), outage)], ..Plan::default() });
    assert!(report.amounts["WAL wraps"] > 3, "{}", report.story());
}

#[test]
fn a_crash_in_every_phase_of_the_start_is_survived() {
    let kill = |at| (Duration::from_millis(at), Disturbance::Kill { down: Duration::from_millis(1) });
    // A start takes some 100 ms here: most of these crashes come before the one before has been recovered from.
    let disturbances = (0..60).map(|nth| kill(1_000 + 37 * nth)).collect();
    let report = passed(&Plan { numbers: busy(), disturbances, ..Plan::default() });
    assert!(report.amounts["crashes"] > 30, "{}", report.story());
}

#[test]
fn rot_in_the_ring_is_never_served() {
    let mut detected = 0;
    for root in 0..12 {
        let disturbances = vec![(Duration::from_secs(2), Disturbance::Rot { at: root * 80_000 })];
        // Cuts are rare, so that the ring holds records when it rots.
        let numbers = Numbers { root, cut_bytes: 1 << 20, cut_age: 60_000_000, ..busy() };
        let report = passed(&Plan { numbers, disturbances, ..Plan::default() });
        detected += report.faults.get("rot.detected").copied().unwrap_or(0);
    }
    assert!(detected > 0, "no rot was ever noticed");
}

#[test]
fn drawing_a_plan_does_not_change_unnoticed() {
    insta::assert_snapshot!(Plan::from_seed(Seed(42), Profile::Swarm).to_text());
}

fn busy() -> Numbers {
    Numbers { pause: 5_000, crash_any: 1_000_000, ..Numbers::default() }
}

fn passed(plan: &Plan) -> Report {
    let report = run(plan.clone(), Options::default());
    assert!(report.failure.is_none(), "{}\n{}", report.story(), plan.to_text());
    report
}
