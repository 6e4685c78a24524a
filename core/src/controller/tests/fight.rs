//! Several controllers on one bucket, with every fault, at random.
//!
//! The bucket itself checks, after every write, that the log only grows and can be folded; each broker, that what it is
//! mailed is durable, without gaps, and folds to what its controller knows.

use super::world::World;
use crate::machine::{Rng, WallTime};
use crate::mail::Halt;
use crate::metadata::workload::Workload;
use alloc::string::String;
use alloc::vec::Vec;

/// Brokers come and go on one bucket, up to so many at once, with every fault.
fn fight(seed: u64, rivals: usize) -> World {
    let mut rng = Rng::new(seed).child("fight");
    let limits = World::tiny(&mut rng);
    let mut world = World::new(seed, limits);
    let mut workload = Workload::new(rng.child("workload"), 2);
    let faults = rng.below(40);
    for _ in 0..400 {
        match rng.below(40) {
            0 if !world.brokers.is_empty() => {
                let at = rng.below(world.brokers.len() as u64) as usize;
                world.kill(at);
            }
            1 | 2 if world.brokers.len() < rivals => drop(world.start()),
            3..=9 => world.tick(),
            10..=12 => world.bucket.settle_one(&mut rng),
            13..=20 => send(&mut world, &mut workload, &mut rng),
            21 => world.now.wall = WallTime(rng.below(1 << 41) as i64),
            _ => complete(&mut world, &mut rng, faults),
        }
    }
    world
}

fn send(world: &mut World, workload: &mut Workload, rng: &mut Rng) {
    let count = world.brokers.len() as u64;
    let at = rng.below(count.max(1)) as usize;
    let Some(broker) = world.brokers.get(at).filter(|broker| broker.failed.is_none()) else { return };
    let Some(replica) = &broker.replica else { return };
    let command = workload.next(replica);
    world.send(at, command.clone());
    if rng.chance(1, 10) {
        world.send(at, command);
    }
}

fn complete(world: &mut World, rng: &mut Rng, faults: u64) {
    let all: Vec<_> = (0..world.brokers.len())
        .flat_map(|at| world.brokers[at].in_flight.iter().map(move |(id, op)| (at, *id, op.clone())))
        .collect();
    let Some((at, id, op)) = rng.pick(&all) else { return };
    let result = if rng.chance(faults, 100) { world.bucket.apply_badly(op, rng) } else { world.bucket.apply(op) };
    world.complete(*at, *id, result);
}

#[test]
fn fighting_controllers_keep_one_log() {
    let (mut deposed, mut entries, mut spills) = (0, 0, 0);
    for seed in 0..300 {
        let mut world = fight(seed, 1 + seed as usize % 3);
        let fenced = |world: &World| {
            world.brokers.iter().filter(|broker| matches!(broker.failed, Some(Halt::Fenced(_)))).count()
        };
        deposed += fenced(&world);
        for broker in &world.brokers {
            assert!(!matches!(broker.failed, Some(Halt::Bucket(_))), "seed {seed}: {:?}", broker.failed);
        }
        // All but one die, what is late lands, and the last one restarts.
        while !world.brokers.is_empty() {
            world.kill(0);
        }
        let mut rng = Rng::new(seed).child("peace");
        while world.bucket.late() > 0 {
            world.bucket.settle_one(&mut rng);
        }
        let at = world.start();
        world.settle();
        assert!(world.brokers[at].leads(), "seed {seed}");
        let before = world.bucket.log.len();
        let mut workload = Workload::new(rng.child("workload"), 2);
        for _ in 0..30 {
            send(&mut world, &mut workload, &mut rng);
            world.settle();
        }
        assert!(world.bucket.log.len() >= before + 30, "seed {seed}");
        assert_eq!(world.brokers[at].replica, world.bucket.image, "seed {seed}");
        world.pass(world.limits.scrub_interval);
        world.settle();
        world.pass(world.limits.deleted_retention);
        world.settle();
        assert_eq!(world.bucket.orphans(), [], "seed {seed}");
        entries += world.bucket.log.len();
        spills += world.bucket.spills;
    }
    assert!(deposed > 40 && entries > 8000 && spills > 800, "{deposed} {entries} {spills}");
}

#[test]
fn who_is_alone_is_never_deposed() {
    for seed in 1000..1200 {
        let world = fight(seed, 1);
        assert!(world.brokers.iter().all(|broker| broker.failed.is_none()), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let trace = |seed| -> String {
        let world = fight(seed, 2);
        alloc::format!("{:?} {:?}", world.bucket, world.now)
    };
    assert_eq!(trace(77), trace(77));
    assert_ne!(trace(77), trace(78));
}
