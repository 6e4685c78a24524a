//! Space: grants, the window, and the cuts that make room.

use super::bench::Bench;
use super::disk::Disk;
use super::{PAGE, a_life, tiny};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::wal::Wal;
use crate::wal::cost;
use crate::wal::cost::payload_cost;

#[test]
fn the_largest_batch_always_fits_again() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed).child("space");
        let (limits, device) = tiny(&mut rng);
        let mut bench = Bench::formatted(Disk::new(device), &limits, a_life(&mut rng), &mut rng);
        for _ in 0..rng.between(1, 200) {
            bench.step(&mut rng);
        }
        // Nobody but the log asks for cuts, and every batch is as large as allowed: it wraps many times.
        for _ in 0..40 {
            bench.drain(&mut rng);
            assert!(bench.granted >= cost(limits.batch as usize), "seed {seed}: {} granted", bench.granted);
            bench.append(limits.batch as usize, &mut rng);
        }
        assert!(bench.half_full > 0, "cuts were asked for");
    }
}

#[test]
fn small_batches_reach_the_end_of_the_ring_as_well() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed).child("small");
        let (limits, device) = tiny(&mut rng);
        let mut bench = Bench::formatted(Disk::new(device), &limits, a_life(&mut rng), &mut rng);
        for _ in 0..300 {
            if bench.granted < cost(100) {
                bench.drain(&mut rng);
            }
            bench.append(100, &mut rng);
        }
        bench.settle(&mut rng);
        assert_eq!(bench.delivered, bench.sent.len());
    }
}

#[test]
fn half_a_ring_asks_for_few_cuts() {
    let mut rng = Rng::new(1);
    let limits = Limits { batch: 4000, wal_block: 4096, wal_window: 64 * PAGE, ..Limits::default() };
    let mut bench = Bench::formatted(Disk::new(66 * PAGE), &limits, a_life(&mut rng), &mut rng);
    for _ in 0..640 {
        if bench.granted < cost(3900) {
            bench.drain(&mut rng);
        }
        bench.append(3900, &mut rng);
    }
    bench.drain(&mut rng);
    // Ten laps: two cuts each, or a few more.
    assert!((20..=40).contains(&bench.half_full), "{} cuts", bench.half_full);
}

#[test]
fn a_cost_bounds_every_way_to_cut_a_record() {
    let overhead = 84 + 5;
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let mut payload = rng.between(1, 40_000);
        let promised = payload_cost(payload);
        let mut used = 0;
        while payload > 0 {
            let block = rng.between(1, 3) * PAGE;
            let part = payload.min(block - overhead);
            payload -= part;
            used += (part + overhead).next_multiple_of(PAGE);
        }
        assert!(used <= promised, "{used} used, {promised} promised");
    }
}

#[test]
#[should_panic(expected = "beyond the")]
fn an_append_beyond_the_grant_is_our_mistake() {
    let mut rng = Rng::new(5);
    let (limits, device) = tiny(&mut rng);
    let mut bench = Bench::formatted(Disk::new(device), &limits, a_life(&mut rng), &mut rng);
    for _ in 0..100 {
        bench.granted = u64::MAX;
        bench.append(limits.batch as usize, &mut rng);
    }
}

#[test]
fn a_device_too_small_is_refused() {
    for device in [0, 8192, 12287] {
        assert!(Wal::new(device, &Limits::default()).is_err());
    }
    let why = Wal::new(1 << 20, &Limits::default()).expect_err("too small for its batches");
    assert!(why.contains("enlarge"), "{why}");
    let large = Limits { wal_block: 1 << 30, ..Limits::default() };
    assert!(Wal::new(1 << 40, &large).is_err(), "a block that no reader could hold");
}
