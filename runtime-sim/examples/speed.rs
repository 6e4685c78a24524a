//! How many events of trivial machines the simulated world handles per second: `cargo run --release --example speed`.

use karst_core::disk::{DevicePos, DiskOp, SECTOR};
use karst_core::machine::{Deadline, Effects, Machine, Now, Rng, Rope};
use karst_runtime_sim::clock::NodeClock;
use karst_runtime_sim::disk::{DiskKnobs, SimDisk};
use karst_runtime_sim::exec::{Disk, End, Limits, Options, World, run};
use karst_runtime_sim::seed::Seed;
use std::future::pending;
use std::time::Instant;

#[derive(Debug)]
struct Counter;

impl Machine for Counter {
    type Input = u64;
    type Effect = u64;

    fn handle(&mut self, _: Now, input: u64, out: &mut Effects<u64>) {
        out.push(input + 1);
    }

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn tick() -> u64 {
        0
    }

    fn invariants(&self) {}
}

const EVENTS: u64 = 2_000_000;

/// Pairs of machines that send each other a number, for ever.
async fn mail(world: World) {
    let process = world.start_process("n", NodeClock::perfect(world.now()));
    for _ in 0..8 {
        let [one, other] = [process.mailbox("one"), process.mailbox("other")];
        for (mine, theirs) in [(&one, &other), (&other, &one)] {
            let theirs = theirs.clone();
            process.drive(mine, Counter, move |n| theirs.send(n));
        }
        one.send(0);
    }
    pending().await
}

/// Machines that write to a disk, for ever: every event is a completion of its own.
async fn disk(world: World) {
    let process = world.start_process("n", NodeClock::perfect(world.now()));
    let block = Rope::from(vec![0; SECTOR as usize]);
    for n in 0..8 {
        let disk = Disk::new(&world, SimDisk::new(16 * SECTOR, DiskKnobs::CALM, &Rng::new(n)));
        let (me, block) = (process.mailbox("writer"), block.clone());
        let own = me.clone();
        process.drive(&me, Counter, move |n| {
            let own = own.clone();
            let op = DiskOp::Write { at: DevicePos(0), data: block.clone() };
            disk.submit(own.clone().process(), op, move |_| own.send(n));
        });
        me.send(0);
    }
    pending().await
}

fn main() {
    let options = Options { limits: Limits { events: EVENTS, ..Limits::default() }, ..Options::new(Seed(1)) };
    for name in ["mail", "disk"] {
        let start = Instant::now();
        let report = match name {
            "mail" => run::<(), _, _>(options, mail),
            _ => run(options, disk),
        };
        let seconds = start.elapsed().as_secs_f64();
        assert!(matches!(report.end, End::Stopped(_)) && report.events == EVENTS, "{:?}", report.end);
        println!("{name}: {:.0} events/s, hash {:016x}", EVENTS as f64 / seconds, report.hash);
    }
}
