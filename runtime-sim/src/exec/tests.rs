use super::*;
use crate::clock::NodeClock;
use crate::disk::{DiskKnobs, SimDisk};
use crate::failure::Failure;
use crate::fault::Latency;
use crate::net::{Closed, Host, NetEvent, NetKnobs, SendTag, SimNet};
use crate::recording::{About, Describe};
use crate::seed::{Seed, SeedTree};
use crate::store::{Caller, SimStore, StoreKnobs, Timeliness};
use crate::time::SimTime;
use crate::trace::LogOptions;
use core::time::Duration;
use karst_core::disk::{DevicePos, DiskOp, DiskResult, SECTOR};
use karst_core::machine::{Deadline, Effects, Instant, Machine, Now, Rng, Rope, TurnBudget};
use karst_core::store::{Precondition, StoreCall, StoreOp};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

mod causes;

/// Writes each ball that it gets to its disk, then throws it on.
#[derive(Debug, Default)]
struct Player {
    caught: u64,
    ticks: u64,
    deadline: Option<Deadline>,
    last: Now,
    _alive: Option<Arc<()>>,
}

#[derive(Clone, Debug, Hash)]
enum Input {
    Ball(u64),
    Written(u64, DiskResult),
    Deadline(Instant),
    Break,
    Tick,
}

#[derive(Clone, Debug, Hash)]
enum Effect {
    Write(u64),
    Throw(u64),
}

impl Describe for Input {
    fn describe(&self, about: &mut About) {
        if let Self::Ball(ball) | Self::Written(ball, _) = self {
            about.number("ball", *ball);
        }
    }
}

impl Describe for Effect {
    fn describe(&self, about: &mut About) {
        let (Self::Write(ball) | Self::Throw(ball)) = self;
        about.number("ball", *ball);
    }
}

impl Machine for Player {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        self.last = now;
        match input {
            Input::Ball(ball) => {
                self.caught += 1;
                out.push(Effect::Write(ball));
            }
            Input::Written(ball, _) => out.push(Effect::Throw(ball + 1)),
            Input::Deadline(at) => self.deadline = Some(Deadline { at, reason: "test" }),
            Input::Break => panic!("broken on purpose"),
            Input::Tick => {
                self.ticks += 1;
                self.deadline = None;
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    fn tick() -> Input {
        Input::Tick
    }

    fn invariants(&self) {
        assert!(self.caught < 1_000_000, "caught too many");
    }
}

const MILLI: Duration = Duration::from_millis(1);

fn options(seed: u64) -> Options {
    Options { log: LogOptions::LAST, ..Options::new(SeedTree::new(Seed(seed)).schedule()) }
}

fn process(world: &World, name: &str) -> Process {
    world.start_process(name, NodeClock::perfect(world.now()))
}

fn disk(world: &World, seed: u64, node: u32) -> Disk {
    Disk::new(world, SimDisk::new(64 * SECTOR, DiskKnobs::CALM, &SeedTree::new(Seed(seed)).disk(node)))
}

fn write() -> DiskOp {
    DiskOp::Write { at: DevicePos(0), data: Rope::from(vec![1; SECTOR as usize]) }
}

/// Pairs of players, each with a disk, that throw balls to and fro.
fn pairs(world: &World, seed: u64, pairs: u32) -> Vec<Owner<Player>> {
    let process = process(world, "n1");
    let mut owners = Vec::new();
    for pair in 0..pairs {
        let [here, there] = [process.mailbox("here"), process.mailbox("there")];
        for (mine, other, node) in [(&here, &there, 2 * pair), (&there, &here, 2 * pair + 1)] {
            let (disk, me, other) = (disk(world, seed, node), mine.clone(), other.clone());
            owners.push(process.drive(mine, Player::default(), move |effect| match effect {
                Effect::Throw(ball) => other.send(Input::Ball(ball)),
                Effect::Write(ball) => {
                    let me = me.clone();
                    disk.submit(me.clone().process(), write(), move |done| me.send(Input::Written(ball, done)));
                }
            }));
        }
        here.send(Input::Ball(0));
    }
    owners
}

fn toy(seed: u64, schedule: u64) -> RunReport<u64> {
    run(options(schedule), move |world| async move {
        let owners = pairs(&world, seed, 5);
        world.sleep(200 * MILLI).await;
        owners.iter().map(|owner| owner.machine().caught).sum()
    })
}

#[test]
fn the_same_seed_gives_the_same_run_on_any_thread() {
    let one = toy(1, 1);
    let End::Finished(caught) = one.end else { panic!("{:?}", one.end) };
    assert!(caught > 1000 && one.events > caught, "{caught} caught in {} events", one.events);
    let [other, third] = std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| toy(1, 1))).map(|thread| thread.join().expect("it runs"))
    });
    for again in [other, third, toy(1, 1)] {
        assert_eq!((again.hash, again.events, again.at, &again.log), (one.hash, one.events, one.at, &one.log));
    }
    assert_ne!(toy(2, 1).hash, one.hash, "other latencies");
    let silent = run(Options { log: LogOptions::OFF, ..options(1) }, |world| async move {
        let _owners = pairs(&world, 1, 5);
        world.sleep(200 * MILLI).await;
    });
    assert_eq!((silent.hash, silent.log.len()), (one.hash, 0), "looking changes nothing");
}

/// Which of several ready owners came first, by name.
fn order(schedule: u64) -> String {
    let report = run(options(schedule), |world| async move {
        let process = process(&world, "n1");
        for name in ["a", "b", "c", "d"] {
            process.spawn_owner(name, Player::default(), |_| ()).address().send(Input::Ball(1));
        }
        world.sleep(MILLI).await;
    });
    report.log.iter().filter(|line| line.text.starts_with('<')).map(|line| &*line.owner).collect()
}

#[test]
fn the_seed_decides_which_ready_owner_runs() {
    let orders: std::collections::BTreeSet<_> = (0..200).map(order).collect();
    assert_eq!(orders.len(), 24, "every order of four");
    assert_eq!(order(7), order(7));
}

#[test]
fn inputs_are_handled_in_order_and_turns_take_turns() {
    let report = run(Options { turn: TurnBudget { inputs: 1, effects: 1 }, ..options(1) }, |world| async move {
        let process = process(&world, "n1");
        for name in ["a", "b"] {
            let owner = process.spawn_owner(name, Player::default(), |_| ());
            (0..20).for_each(|ball| owner.address().send(Input::Ball(ball)));
        }
        world.sleep(MILLI).await;
    });
    let of = |name: &str| -> Vec<_> {
        let inputs = report.log.iter().filter(|line| &*line.owner == name && line.text.starts_with('<'));
        inputs.map(|line| line.text.clone()).collect()
    };
    let expected: Vec<_> = (0..20).map(|ball| format!("< Ball({ball})")).collect();
    assert_eq!((of("a"), of("b")), (expected.clone(), expected));
    let first_of_b = report.log.iter().position(|line| &*line.owner == "b").expect("it ran");
    let last_of_a = report.log.iter().rposition(|line| &*line.owner == "a").expect("it ran");
    assert!(first_of_b < last_of_a, "neither waits for the other's end");
}

#[test]
fn a_killed_process_does_nothing_more() {
    let report = run(options(1), |world| async move {
        let disk = disk(&world, 1, 1);
        let old = process(&world, "n1");
        let hooked = Rc::new(Cell::new(0));
        let count = hooked.clone();
        old.on_kill(move || count.set(count.get() + 1));
        let owner = old.spawn_owner("wal", Player::default(), |_| ());
        owner.address().send(Input::Ball(1));
        owner.address().send(Input::Deadline(Instant(1_000_000)));
        world.sleep(MILLI / 2).await;
        let heard = Rc::new(Cell::new(0));
        for process in [&old, &process(&world, "n2")] {
            let heard = heard.clone();
            disk.submit(process, write(), move |_| heard.set(heard.get() + 1));
        }
        owner.address().send(Input::Ball(2));
        assert_eq!(owner.address().waiting(), 1);
        old.kill();
        old.kill();
        owner.address().send(Input::Ball(3));
        assert_eq!((owner.address().waiting(), hooked.get(), old.members()), (0, 1, 0));
        let never = old.spawn_owner("late", Player::default(), |_| ());
        never.address().send(Input::Ball(4));
        world.sleep(100 * MILLI).await;
        assert_eq!((owner.machine().caught, owner.machine().ticks, never.machine().caught), (1, 0, 0));
        assert_eq!(heard.get(), 1, "completions reach only the living");
        let next = world.start_process("n1", old.next_clock());
        assert!(next.now().mono < Instant(10_000), "its clock begins anew");
    });
    assert_eq!(report.end, End::Finished(()));
}

#[test]
fn a_crash_completes_nothing_of_what_was_in_flight() {
    let report = run(options(1), |world| async move {
        let (disk, node) = (disk(&world, 1, 1), process(&world, "n1"));
        let heard = Rc::new(Cell::new(0));
        let count = heard.clone();
        disk.submit(&node, write(), move |_| count.set(count.get() + 1));
        node.kill();
        disk.crash(&mut Rng::new(1));
        world.sleep(100 * MILLI).await;
        assert_eq!((heard.get(), disk.model().in_flight()), (0, 0));
    });
    assert_eq!(report.end, End::Finished(()));
    assert_eq!(report.fired.get("disk.crash_lost"), 1, "and the report counts it");
}

#[test]
fn an_effect_may_end_its_own_process() {
    let performed = run(options(1), |world| async move {
        let process = process(&world, "n1");
        let performed = Rc::new(Cell::new(0));
        let (count, own) = (performed.clone(), process.clone());
        let owner = process.spawn_owner("node", Player::default(), move |_| {
            count.set(count.get() + 1);
            own.kill();
        });
        (0..3).for_each(|ball| owner.address().send(Input::Ball(ball)));
        world.sleep(MILLI).await;
        performed.get()
    });
    assert_eq!(performed.end, End::Finished(1), "what follows in the same turn is not performed");
}

#[test]
fn an_owner_may_end_alone() {
    let report = run(options(1), |world| async move {
        let process = process(&world, "n1");
        for n in 0..1000 {
            let session = process.spawn_owner("session", Player::default(), |_| ());
            world.sleep(MILLI).await;
            session.address().close();
            session.address().send(Input::Ball(n));
            assert_eq!(session.machine().caught, 0);
        }
        assert_eq!(process.members(), 0);
        assert!(process.is_alive());
    });
    assert_eq!(report.end, End::Finished(()));
}

#[test]
fn a_pause_freezes_owners_and_tasks_while_time_goes_on() {
    let report = run(options(1), |world| async move {
        let process = process(&world, "n1");
        let owner = process.spawn_owner("shard", Player::default(), |_| ());
        owner.address().send(Input::Deadline(Instant(2_000_000)));
        let steps = Rc::new(Cell::new(0));
        let (count, clock) = (steps.clone(), world.clone());
        process.spawn_task("client", async move {
            loop {
                clock.sleep(MILLI).await;
                count.set(count.get() + 1);
            }
        });
        world.sleep(MILLI / 2).await;
        process.pause();
        owner.address().send(Input::Ball(1));
        world.sleep(10 * MILLI).await;
        assert_eq!((owner.machine().caught, owner.machine().ticks, steps.get()), (0, 0, 0));
        process.resume();
        world.sleep(MILLI / 2).await;
        assert_eq!((owner.machine().caught, owner.machine().ticks, steps.get()), (1, 1, 1));
        assert!(owner.machine().last.mono >= Instant(10_000_000), "its clock went on");
        process.kill();
        let before = steps.get();
        world.sleep(10 * MILLI).await;
        assert_eq!(steps.get(), before, "tasks die too");
    });
    assert_eq!(report.end, End::Finished(()));
}

#[test]
fn deadlines_come_when_the_process_clock_says_so() {
    let report = run(options(1), |world| async move {
        let mut rng = Rng::new(3);
        let knobs = crate::clock::ClockKnobs { drift_ppm: 300_000, skew_ms: 0 };
        for _ in 0..50 {
            let process = world.start_process("n", NodeClock::draw(world.now(), knobs, &mut rng));
            let owner = process.spawn_owner("o", Player::default(), |_| ());
            let late = Instant(20_000_000);
            owner.address().send(Input::Deadline(late));
            world.sleep(MILLI).await;
            let due = Instant(5_000_000 + rng.below(5_000_000));
            owner.address().send(Input::Deadline(due));
            world.sleep(30 * MILLI).await;
            assert_eq!(owner.machine().ticks, 1, "the earlier one, once");
            let at = owner.machine().last.mono;
            assert!(at >= due && at < due.after(Duration::from_micros(3)), "{at:?} is not {due:?}");
        }
    });
    assert_eq!(report.end, End::Finished(()));
}

#[test]
fn timers_fire_in_order_unless_cancelled() {
    let report = run(options(1), |world| async move {
        let fired = Rc::new(RefCell::new(Vec::new()));
        let set = |at: u64, name: &'static str| {
            let fired = fired.clone();
            world.at(SimTime(at), move || fired.borrow_mut().push(name))
        };
        let cancelled = set(5000, "cancelled");
        set(900_000, "third");
        set(100_000, "second");
        set(50_000, "first");
        set(0, "past");
        set(900_000, "fourth");
        world.cancel(cancelled);
        assert_eq!(world.timers(), 5);
        world.sleep(MILLI).await;
        assert_eq!(world.timers(), 0);
        fired.take()
    });
    assert_eq!(report.end, End::Finished(vec!["past", "first", "second", "third", "fourth"]));
}

#[test]
fn sleeping_is_exact_to_the_microsecond() {
    let report = run(options(1), |world| async move {
        for micros in [1, 2, 70, 1000, 3_600_000_000] {
            let (by, start) = (Duration::from_micros(micros), world.now());
            world.sleep(by).await;
            let slept = world.now().since(start);
            assert!(slept >= by && slept <= by + Duration::from_micros(2), "{slept:?} instead of {by:?}");
        }
    });
    assert_eq!(report.end, End::Finished(()));
}

fn failure_of<T: core::fmt::Debug>(report: &RunReport<T>) -> &Failure {
    report.failure().unwrap_or_else(|| panic!("{:?} is no failure", report.end))
}

#[test]
fn a_panicking_machine_is_a_failure_and_the_campaign_goes_on() {
    for _ in 0..2 {
        let report = run(options(1), |world| async move {
            let owner = process(&world, "n1").spawn_owner("wal", Player::default(), |_| ());
            world.sleep(MILLI).await;
            owner.address().send(Input::Ball(1));
            owner.address().send(Input::Break);
            owner.address().send(Input::Ball(1));
            world.sleep(MILLI).await;
        });
        let failure = failure_of(&report);
        assert_eq!(failure.invariant, Failure::PANIC);
        assert_eq!((&*failure.process, &*failure.component), ("n1", "wal"));
        assert_eq!(failure.message, "broken on purpose");
        assert!(failure.site.as_ref().is_some_and(|site| site.contains("exec/tests.rs:")), "{:?}", failure.site);
        assert_eq!((failure.event, report.events), (2, 2), "nothing is handled after it");
        assert!(failure.at >= SimTime::ZERO.after(MILLI));
        assert_eq!(report.log.last().map(|line| &*line.text), Some("< Break"));
    }
}

#[test]
fn invariants_are_checked_after_every_input() {
    let report = run(options(1), |world| async move {
        let process = process(&world, "n1");
        let owner = process.spawn_owner("wal", Player { caught: 999_998, ..Player::default() }, |_| ());
        (0..3).for_each(|ball| owner.address().send(Input::Ball(ball)));
        world.sleep(MILLI).await;
    });
    assert_eq!((&*failure_of(&report).message, report.events), ("caught too many", 2));
}

#[test]
fn panics_of_shells_timers_tasks_and_scenarios_are_failures_too() {
    let shell = run(options(1), |world| async move {
        let owner = process(&world, "n1").spawn_owner("wal", Player::default(), |_| panic!("shell"));
        owner.address().send(Input::Ball(1));
        world.sleep(MILLI).await;
    });
    let timer = run(options(1), |world| async move {
        world.after(MILLI, || panic!("timer"));
        world.sleep(2 * MILLI).await;
    });
    let task = run(options(1), |world| async move {
        process(&world, "c1").spawn_task("client", async { panic!("task") });
        world.sleep(MILLI).await;
    });
    let scenario = run(options(1), |world| async move {
        world.sleep(MILLI).await;
        assert_eq!(world.events(), 1, "scenario");
    });
    let early = run(options(1), |_| {
        assert!(core::hint::black_box(false), "early");
        async {}
    });
    let who = [&shell, &timer, &task, &scenario, &early].map(|report| {
        let failure = failure_of(report);
        (failure.process.clone(), failure.component.clone(), failure.message.contains(&failure.component))
    });
    let names = who.iter().map(|(process, component, _)| format!("{process}/{component}")).collect::<Vec<_>>();
    assert_eq!(names, ["n1/wal", "world/timer", "c1/client", "world/scenario", "world/scenario"]);
    assert_eq!(failure_of(&early).message, "early");
}

#[test]
fn a_checker_ends_the_run_at_once() {
    let report = run(options(1), |world| async move {
        let checker = world.clone();
        world.after(MILLI, move || {
            checker.fail("acked-is-durable", "oracle", "offset 3 is gone");
            checker.fail("later", "oracle", "does not count");
        });
        let _owners = pairs(&world, 1, 1);
        world.sleep(3600 * 1000 * MILLI).await;
    });
    let failure = failure_of(&report);
    assert_eq!((&*failure.invariant, &*failure.message), ("acked-is-durable", "offset 3 is gone"));
    assert!(report.at <= SimTime::ZERO.after(2 * MILLI));
}

#[test]
fn runs_end_at_their_limits() {
    let with = |limits, script: fn(World) -> core::pin::Pin<Box<dyn Future<Output = ()>>>| {
        run(Options { limits, ..options(1) }, script)
    };
    let forever = |world: World| -> core::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let _owners = pairs(&world, 1, 1);
            core::future::pending().await
        })
    };
    let waits = |_: World| -> core::pin::Pin<Box<dyn Future<Output = ()>>> { Box::pin(core::future::pending()) };
    let limits = Limits { time: 100 * MILLI, ..Limits::default() };
    assert_eq!(with(limits, waits).end, End::Stopped(Stop::Deadlock));
    let late = with(limits, forever);
    assert_eq!(late.end, End::Stopped(Stop::OutOfTime));
    assert!(late.at > SimTime::ZERO.after(90 * MILLI) && late.at <= SimTime::ZERO.after(100 * MILLI));
    let many = with(Limits { events: 50, ..limits }, forever);
    assert_eq!((many.end, many.events), (End::Stopped(Stop::OutOfEvents), 50));
    let until = with(Limits { until: Some(30), ..limits }, forever);
    assert_eq!((until.end, until.events), (End::Stopped(Stop::Until), 30));
    assert_eq!(until.log[..], many.log[..until.log.len()], "a replay sees what happened");
}

#[test]
fn circles_without_time_end_too() {
    let limits = Limits { events: 10_000, ..Limits::default() };
    let report = run(Options { limits, ..options(1) }, |world| async move {
        let process = process(&world, "n1");
        let me = process.mailbox("self");
        let back = me.clone();
        let _owner = process.drive(&me, Player::default(), move |_| back.send(Input::Ball(1)));
        me.send(Input::Ball(1));
        world.sleep(MILLI).await;
    });
    assert_eq!(report.end, End::Stopped(Stop::OutOfEvents));
}

#[test]
fn nothing_outlives_a_run() {
    let alive = Arc::new(());
    for ends in ["finished", "failed", "killed"] {
        let held = alive.clone();
        let report = run(options(1), move |world| async move {
            let process = process(&world, "n1");
            let net = Net::new(&world, SimNet::new(NetKnobs::CALM, Rng::new(1)));
            let host = net.attach(&process, Host(1));
            let [one, other] = [process.mailbox("one"), process.mailbox("other")];
            for (mine, theirs) in [(&one, &other), (&other, &one)] {
                let (theirs, kept) = (theirs.clone(), (mine.clone(), host.clone(), held.clone()));
                let player = Player { _alive: Some(held.clone()), ..Player::default() };
                let _owner = process.drive(mine, player, move |_| {
                    let _ = &kept;
                    theirs.send(Input::Break);
                });
            }
            let (again, kept) = (host.clone(), held.clone());
            host.listen(move |connection| {
                let kept = (connection, again.clone(), kept.clone());
                Box::new(move |_| drop(kept.clone()))
            });
            let (again, kept) = (host.clone(), held.clone());
            let connection = host.connect(Host(1), move |_| drop((again.clone(), kept.clone())));
            let (clock, kept) = (world.clone(), held.clone());
            process.spawn_task("task", async move {
                clock.sleep(3600 * MILLI).await;
                drop((kept, connection));
            });
            let kept = (process.clone(), held.clone());
            world.after(3600 * MILLI, move || drop(kept));
            let kept = (process.clone(), held);
            process.on_kill(move || drop(kept));
            world.sleep(MILLI).await;
            match ends {
                "failed" => one.send(Input::Break),
                "killed" => process.kill(),
                _ => {}
            }
            world.sleep(MILLI).await;
        });
        assert_eq!(report.failure().is_some(), ends == "failed");
        assert_eq!(Arc::strong_count(&alive), 1, "{ends}");
    }
}

#[test]
fn requests_outlive_their_process_and_checkers_see_their_effects() {
    let report = run(options(1), |world| async move {
        let latency = Latency::uniform(50 * MILLI, 50 * MILLI);
        let store = Store::new(&world, SimStore::new(StoreKnobs { latency, ..StoreKnobs::CALM }, &Rng::new(1)));
        let (node, seen, heard) = (process(&world, "n1"), Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let (watched, clock) = (seen.clone(), world.clone());
        store.watch(move |applied| {
            assert!(clock.now().since(applied.at) < Duration::from_micros(3), "at its moment");
            watched.borrow_mut().push((applied.from, applied.when));
        });
        for (key, within) in [("in time", 1000 * MILLI), ("late", MILLI / 10)] {
            let only_if = Precondition::Absent;
            let op = StoreOp::Put { key: key.into(), body: Rope::from(vec![1]), only_if };
            let heard = heard.clone();
            store.submit(&node, Caller(1), StoreCall { op, within }, move |_| heard.set(heard.get() + 1));
        }
        world.sleep(MILLI / 2).await;
        assert_eq!(heard.get(), 1, "a timeout");
        node.kill();
        world.sleep(100 * MILLI).await;
        assert_eq!((heard.get(), store.model().bucket().objects().count()), (1, 2));
        let mut seen = seen.take();
        seen.sort_by_key(|(_, when)| *when == Timeliness::Late);
        assert_eq!(seen, [(Caller(1), Timeliness::InTime), (Caller(1), Timeliness::Late)]);
    });
    assert_eq!(report.end, End::Finished(()));
    assert_eq!(report.fired.get("store.slow"), 1);
}

/// A server that sends back what it gets, and a client that remembers what happens.
fn echo(world: &World) -> (Process, NetHost, Process, NetHost) {
    let net = Net::new(world, SimNet::new(NetKnobs::CALM, Rng::new(1)));
    let (server, client) = (process(world, "server"), process(world, "client"));
    let (at_server, at_client) = (net.attach(&server, Host(1)), net.attach(&client, Host(2)));
    at_server.listen(|connection| {
        Box::new(move |event| {
            if let NetEvent::Received(bytes) = event {
                connection.send(SendTag(1), Rope::from(bytes.0));
            }
        })
    });
    (server, at_server, client, at_client)
}

#[test]
fn connections_carry_bytes_and_end_with_their_processes() {
    let report = run(options(1), |world| async move {
        let (server, at_server, client, at_client) = echo(&world);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let keep = || {
            let seen = seen.clone();
            move |event| seen.borrow_mut().push(event)
        };
        let connection = at_client.connect(Host(1), keep());
        world.sleep(10 * MILLI).await;
        assert_eq!(seen.take(), [NetEvent::Opened]);
        connection.send(SendTag(9), Rope::from(vec![1, 2]));
        world.sleep(10 * MILLI).await;
        assert_eq!(seen.take(), [NetEvent::Sent(SendTag(9)), NetEvent::Received(vec![1, 2].into())]);
        server.kill();
        world.sleep(10 * MILLI).await;
        assert_eq!(seen.take(), [NetEvent::Closed(Closed::Reset)]);
        let _refused = at_client.connect(Host(1), keep());
        world.sleep(10 * MILLI).await;
        assert_eq!(seen.take(), [NetEvent::Closed(Closed::Refused)]);
        let next = process(&world, "server");
        let listener = at_server.net().attach(&next, Host(1));
        let theirs = Rc::new(RefCell::new(Vec::new()));
        let kept = theirs.clone();
        listener.listen(move |_| {
            let kept = kept.clone();
            Box::new(move |event| kept.borrow_mut().push(event))
        });
        let _again = at_client.connect(Host(1), keep());
        world.sleep(10 * MILLI).await;
        client.kill();
        world.sleep(10 * MILLI).await;
        assert_eq!(theirs.take(), [NetEvent::Opened, NetEvent::Closed(Closed::Reset)]);
        assert_eq!(seen.take(), [NetEvent::Opened], "the dead hear nothing");
        assert_eq!(at_server.net().model().connections(), 0);
    });
    assert_eq!(report.end, End::Finished(()));
}
