//! Room: of bytes and of objects. It runs out, and always comes back.

use super::bench::Bench;
use super::bucket::Bucket;
use super::life::sizes;
use super::tiny;
use crate::machine::Rng;
use crate::store::{StoreError, StoreOp};
use crate::wal::cost;
use crate::wal::tests::a_life;
use crate::wal::{CutReason, Input, Mail};

/// Commits whatever was cut, and lets everything end, until nothing changes.
pub(super) fn drain(bench: &mut Bench, bucket: &mut Bucket, rng: &mut Rng) {
    bench.settle(bucket, rng);
    for _ in 0..8 {
        bench.trim_to(bench.cuts.len() - 1);
        bench.settle(bucket, rng);
    }
}

#[test]
fn a_random_life_keeps_order_and_its_bounds_and_leaves_what_is_not_trimmed() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed).child("room");
        let sizes = tiny(&mut rng);
        let mut bucket = Bucket::default();
        let mut bench = Bench::formatted(&sizes, a_life(&mut rng), &rng);
        for _ in 0..500 {
            bench.step(&mut bucket, &mut rng);
        }
        // Grants reach the largest batch again by the cuts that it asks for itself.
        drain(&mut bench, &mut bucket, &mut rng);
        assert_eq!(bench.delivered, bench.sent.len(), "seed {seed}");
        let largest = cost(sizes.0.batch as usize);
        assert!(bench.granted >= largest, "seed {seed}: {} granted, {largest} for the largest", bench.granted);
        bench.mail(Mail::Cut(CutReason::Age));
        drain(&mut bench, &mut bucket, &mut rng);
        // What was late, and comes after its delete, is left for the janitor.
        bucket.late.clear();
        let before = bucket.objects.len();
        for _ in 0..5 {
            bench.append(100, &mut rng);
            bench.settle(&mut bucket, &mut rng);
        }
        assert_eq!(bucket.objects.len() as u64, before as u64 + bench.wal.objects(), "seed {seed}");
    }
}

#[test]
fn where_nothing_is_deleted_grants_end_and_begin_again() {
    let mut rng = Rng::new(1);
    let mut bucket = Bucket::default();
    let (limits, capacity) = sizes();
    let mut bench = Bench::formatted(&(limits.clone(), capacity), a_life(&mut rng), &rng);
    let is_delete = |op: &StoreOp| matches!(op, StoreOp::Delete { .. });
    let mut given = 0;
    while bench.granted >= cost(2_000) {
        bench.append(2_000, &mut rng);
        given += 1;
        for _ in 0..4 {
            while bench.pending.len() > 0 {
                let (op, result) = if bench.pending.ops().any(is_delete) {
                    bench.pending.fail_one(is_delete, StoreError::Denied)
                } else {
                    bench.pending.complete(&mut bucket, &mut rng)
                };
                bench.handle(Input::Store(op, result));
            }
            bench.wait();
        }
        if bench.delivered.is_multiple_of(3) {
            bench.mail(Mail::Cut(CutReason::Age));
            bench.trim_to(bench.cuts.len() - 1);
        }
        assert!(bench.wal.objects() <= u64::from(limits.wal_objects));
        assert!(given < 1_000, "it never ends");
    }
    assert_eq!(bench.wal.objects(), u64::from(limits.wal_objects));
    drain(&mut bench, &mut bucket, &mut rng);
    assert_eq!(bench.delivered, given);
    assert!(bench.granted >= cost(limits.batch as usize), "and all is well again");
}

#[test]
fn a_cut_is_asked_for_when_half_of_the_objects_is_in_none() {
    let mut rng = Rng::new(1);
    let mut bucket = Bucket::default();
    let mut bench = Bench::formatted(&sizes(), a_life(&mut rng), &rng);
    for _ in 0..5 {
        assert_eq!(bench.half_full, 0);
        bench.append(100, &mut rng);
        bench.settle(&mut bucket, &mut rng);
    }
    assert_eq!(bench.half_full, 1);
}
