//! Crashes, and writers that do not know that they are dead.

use super::bench::{Bench, Reader, Told};
use super::bucket::Bucket;
use super::{by_stream, tiny};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::Rng;
use crate::wal::Life;
use crate::wal::object::format;
use crate::wal::tests::a_life;
use alloc::vec::Vec;

/// A life that has come to any point.
fn any_point(seed: u64) -> (Rng, (Limits, u64), Life, Bench, Bucket) {
    let mut rng = Rng::new(seed).child("fence");
    let sizes = tiny(&mut rng);
    let mut bucket = Bucket::default();
    let life = a_life(&mut rng);
    let mut bench = Bench::formatted(&sizes, life, &rng);
    for _ in 0..rng.between(0, 300) {
        bench.step(&mut bucket, &mut rng);
    }
    (rng, sizes, life, bench, bucket)
}

/// What was recovered must be what was sent, from the trim point on; returns how many records of the life are safe.
fn check(bench: &Bench, from: Lsn, told: &Told, seed: u64) -> usize {
    let Told::Records(records, _) = told else { panic!("seed {seed}: {told:?}") };
    let below = bench.below(from);
    let sent = by_stream(&bench.sent[below..below + records.len()]);
    assert_eq!(*records, sent, "seed {seed}: the contiguous prefix, byte for byte");
    below + records.len()
}

#[test]
fn whatever_was_delivered_is_recovered_after_a_crash_at_any_point() {
    for seed in 0..400 {
        let (mut rng, sizes, life, mut bench, mut bucket) = any_point(seed);
        bench.pending.abandon(&mut bucket, &mut rng);
        let from = bench.trim;
        let mut reader = Reader::new(&sizes, life, from, &rng);
        let told = loop {
            bucket.land_one(&mut rng);
            if let Some(told) = reader.step(&mut bucket, &mut rng) {
                break told;
            }
        };
        let safe = check(&bench, from, &told, seed);
        assert!(safe >= bench.delivered, "seed {seed}: {safe} of {} delivered", bench.delivered);
        // What was late changes nothing any more, wherever it lands.
        while !bucket.late.is_empty() {
            bucket.land_one(&mut rng);
        }
        let again = Reader::new(&sizes, life, from, &rng).finish(&mut bucket, &mut rng);
        assert_eq!(again, told, "seed {seed}");
    }
}

#[test]
fn a_writer_that_lives_on_acknowledges_nothing_that_was_not_recovered() {
    let (mut ended, mut went_on) = (0, 0);
    for seed in 0..600 {
        let (mut rng, sizes, life, mut bench, mut bucket) = any_point(seed);
        // From here on its commits are refused.
        bench.is_fenced = true;
        let from = bench.trim;
        let (before, mut reader) = (bench.delivered, Reader::new(&sizes, life, from, &rng));
        let mut told = None;
        for _ in 0..2_000 {
            if told.is_none() && rng.chance(1, 2) {
                told = reader.step(&mut bucket, &mut rng);
            } else {
                bench.step(&mut bucket, &mut rng);
            }
        }
        let told = told.unwrap_or_else(|| reader.finish(&mut bucket, &mut rng));
        bench.settle(&mut bucket, &mut rng);
        let safe = check(&bench, from, &told, seed);
        assert!(bench.delivered <= safe, "seed {seed}: it acknowledged {} and {safe} are safe", bench.delivered);
        ended += bench.poisoned;
        went_on += usize::from(bench.delivered > before);
    }
    assert!(ended > 30 && went_on > 30, "{ended} met the seal, {went_on} went on for a while");
}

#[test]
fn a_recovery_may_crash_at_any_point_and_be_begun_again_from_what_it_has_committed() {
    let (mut crashes, mut parts, mut objects) = (0, 0, 0);
    for seed in 0..400 {
        let (mut rng, sizes, life, mut bench, mut bucket) = any_point(seed);
        bench.pending.abandon(&mut bucket, &mut rng);
        let (mut from, mut all) = (bench.trim, Vec::new());
        let end = loop {
            bucket.land_one(&mut rng);
            let mut reader = Reader::new(&sizes, life, from, &rng);
            let steps = rng.between(0, 30);
            match reader.try_to_finish(steps, &mut bucket, &mut rng) {
                Told::Records(records, upto) => {
                    objects += reader.objects;
                    all.extend(records);
                    break upto;
                }
                Told::Crashed => {
                    crashes += 1;
                    (parts, objects) = (parts + reader.parts, objects + reader.objects);
                    from = reader.upto;
                    all.extend(reader.committed());
                }
                Told::Damaged => panic!("seed {seed}"),
            }
        };
        all.sort_by_key(|record| (record.stream, record.base));
        let safe = check(&bench, bench.trim, &Told::Records(all, end), seed);
        assert!(safe >= bench.delivered, "seed {seed}: {safe} of {} delivered", bench.delivered);
    }
    assert!(crashes > 100 && parts > 20 && objects > 100, "{crashes} crashes, {parts} parts, {objects} objects");
}

/// What the janitor deletes of a life that is over, and what lands afterwards.
#[test]
fn a_seal_that_stays_keeps_a_late_writer_out_for_ever() {
    for seed in 0..300 {
        let (mut rng, sizes, life, mut bench, mut bucket) = any_point(seed);
        let from = bench.trim;
        let told = Reader::new(&sizes, life, from, &rng).finish(&mut bucket, &mut rng);
        let safe = check(&bench, from, &told, seed);
        bucket.objects.retain(|_, body| body.len() <= format::SEAL_LEN);
        assert_eq!(bucket.objects.len(), 1, "seed {seed}: the seal");
        bench.settle(&mut bucket, &mut rng);
        assert!(bench.delivered <= safe, "seed {seed}: it acknowledged {} and {safe} are safe", bench.delivered);
    }
}
