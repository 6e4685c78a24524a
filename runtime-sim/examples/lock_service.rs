//! Somebody else's machines in the simulated world: a lock service, its failing seed shrunk and drawn as a page.
//!
//! `cargo run --example lock_service`. A server grants a lock for 100 ms, a client stays inside for 80. Nothing is on
//! disk: a restarted server must let one lease pass before it grants again, and this one does not.

use karst_core::machine::{Deadline, Effects, Instant, Machine, Now};
use karst_runtime_sim::exec::{self, Address, Options, World};
use karst_runtime_sim::experiment::{Experiment, Look, Outcome};
use karst_runtime_sim::plan::{Argument, Disturbance, Kind, Number, Plan, Role, Vocabulary};
use karst_runtime_sim::seed::{Seed, SeedTree};
use karst_runtime_sim::{clock::NodeClock, fault::Chance, page, recording, shrink, time::SimTime};
use std::{cell::Cell, cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

const LEASE: Duration = Duration::from_millis(100);
const HOLD: Duration = Duration::from_millis(80);

/// A server, which grants again from a moment on, or a client, which goes in when it is told to.
#[derive(Debug)]
struct Peer(Option<Instant>);
/// What a client asks, and what it gets: a lease, named by its beginning as the server's clock says.
#[derive(Debug, Hash)]
enum Event {
    Ask(usize),
    Grant(usize, Instant),
}
impl recording::Describe for Event {
    fn describe(&self, about: &mut recording::About) {
        if let Self::Grant(_, lease) = self {
            about.number("lease", lease.0);
        }
    }
    fn words(&self) -> Option<String> {
        Some(match self {
            Self::Ask(client) => format!("the lock for client-{client}"),
            Self::Grant(client, _) => format!("client-{client} has the lock for {LEASE:?}, and goes in for {HOLD:?}"),
        })
    }
}
impl Machine for Peer {
    type Input = Event;
    type Effect = Event;
    fn handle(&mut self, now: Now, input: Event, out: &mut Effects<Event>) {
        match (&mut self.0, input) {
            (Some(free), Event::Ask(client)) if *free <= now.mono => {
                *free = now.mono.after(LEASE);
                out.push(Event::Grant(client, now.mono));
            }
            (None, grant @ Event::Grant(..)) => out.push(grant),
            _ => {}
        }
    }
    fn deadline(&self) -> Option<Deadline> {
        None
    }
    fn tick() -> Event {
        unreachable!("there is no deadline")
    }
    fn invariants(&self) {}
}

static WORDS: Vocabulary = Vocabulary {
    numbers: &[
        Number::knob("clients", 4).bounds(1, 9).simplest(1).role(Role::Count),
        Number::knob("net.lost", 50_000).fires("net.lost"),
    ],
    kinds: &[Kind { name: "kill", arguments: &[Argument::time("down", 1, 1_000_000)] }],
    retired: &[],
    actors: "client-",
};

struct LockService;
impl Experiment for LockService {
    fn vocabulary(&self) -> &Vocabulary {
        &WORDS
    }
    fn draw(&self, seed: Seed) -> Plan {
        let mut rng = SeedTree::new(seed).plan();
        let mut kill = |nth: u64| {
            let at = Duration::from_millis(1_000 * nth + rng.below(500));
            let arguments = BTreeMap::from([("down", rng.between(1_000, 300_000).cast_signed())]);
            Disturbance { at, kind: "kill", arguments }
        };
        Plan { schedule: (0..3).map(&mut kill).collect(), ..Plan::new(seed.0) }
    }
    fn run(&self, plan: &Plan, look: &Look) -> Outcome {
        let (tree, plan) = (SeedTree::new(Seed(plan.root)), plan.clone());
        exec::run(Options::looking(tree.schedule(), look), |world| play(world, plan, tree)).into()
    }
}

/// A slow network that loses messages, clients that ask now and then, and a server that is killed as the plan says.
async fn play(world: World, plan: Plan, tree: SeedTree) {
    let number = |at: usize| WORDS.value(&plan, &WORDS.numbers[at]);
    world.gate().restrict(plan.only.clone());
    let (lost, rng, net) = (Chance(number(1) as u32), RefCell::new(tree.net()), world.clone());
    let send = Rc::new(move |to: &Address<Event>, event| {
        if !net.gate().fires("net.lost", lost, &mut rng.borrow_mut()) {
            let (to, delay) = (to.clone(), rng.borrow_mut().between(100, 5_000));
            net.after(Duration::from_micros(delay), move || to.send(event));
        }
    });
    let server: Rc<RefCell<Option<Address<Event>>>> = Rc::default();
    let (mut clients, inside) = (Vec::new(), Rc::new(Cell::new((0, SimTime::ZERO, 0))));
    for id in 0..number(0) as usize {
        let name = format!("client-{id}");
        let process = world.start_process(&name, NodeClock::perfect(world.now()));
        let (judge, inside) = (world.clone(), inside.clone());
        let client = process.spawn_owner("client", Peer(None), move |effect| {
            let Event::Grant(_, lease) = effect else { return };
            let (other, until, theirs) = inside.replace((id, judge.now().after(HOLD), lease.0));
            if other != id && judge.now() < until {
                let leases = [theirs, lease.0].map(|lease| vec![recording::Tag::number("lease", lease)]).to_vec();
                judge.fail_about("mutual-exclusion", "oracle", format!("{id} enters while {other} is in"), leases);
            }
        });
        clients.push(client.address().clone());
        let (world, server, send, mut rng) = (world.clone(), server.clone(), send.clone(), tree.client(id as u32));
        process.spawn_task("wishes", async move {
            loop {
                world.sleep(Duration::from_micros(rng.below(100_000))).await;
                server.borrow().iter().filter(|_| world.gate().permits(&name)).for_each(|to| send(to, Event::Ask(id)));
            }
        });
    }
    for kill in plan.schedule.iter().map(Some).chain([None]) {
        let process = world.start_process("server", NodeClock::perfect(world.now()));
        let (send, clients) = (send.clone(), clients.clone());
        let owner = process.spawn_owner("server", Peer(Some(process.now().mono)), move |effect| {
            let Event::Grant(client, _) = effect else { return };
            send(&clients[client], effect);
        });
        *server.borrow_mut() = Some(owner.address().clone());
        let Some(kill) = kill else { return world.sleep(LEASE * 10).await };
        world.sleep(SimTime::ZERO.after(kill.at).since(world.now())).await;
        world.disturbance("nemesis", &"kills the server");
        process.kill();
        world.sleep(Duration::from_micros(kill.arguments["down"].unsigned_abs())).await;
    }
}

fn main() {
    let fails = |seed: &u64| LockService.run(&LockService.draw(Seed(*seed)), &Look::OUTCOME).failure.is_some();
    let seed = (0..1_000).find(fails).expect("the server forgets its leases");
    let options = shrink::Options { jobs: 2, is_over: &|| false };
    let found = shrink::shrink(&LockService, &LockService.draw(Seed(seed)), &options, &mut |_| {}).expect("it fails");
    let page = std::env::temp_dir().join("lock_service.html");
    std::fs::write(&page, page::explain(&LockService, &found.plan, "A lock service")).expect("there is room");
    println!("{}\n{}\n{}", found.in_words(&LockService), WORDS.to_text(&found.plan, ""), page.display());
}
