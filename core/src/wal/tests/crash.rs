//! Random appends, cuts, trims and crashes: what was delivered and not trimmed is found again.

use super::bench::{Bench, Told, inspect, recover, recover_inspected};
use super::disk::Disk;
use super::{a_life, stamped, tiny, tiny_for};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::Rng;
use crate::metadata::FEATURE_LEVEL;
use crate::node;
use crate::wal::{Inspection, Life, Mail};
use alloc::vec::Vec;

/// Checks what a crashed disk holds against what was sent in its life.
fn check(bench: &Bench, disk: &Disk, limits: &Limits, life: Life, rng: &mut Rng) {
    let (mut reader, found) = inspect(disk, limits, rng);
    let Inspection::Ring(found) = found else { panic!("{found:?}") };
    assert_eq!(found.life, life);
    assert!(found.trim <= bench.trim, "nothing is trimmed that was not asked for");
    let from = if rng.chance(1, 2) { bench.trim } else { Lsn(0) };
    let start = bench.below(found.trim.max(from));
    let Told::Records(records, parts) = recover_inspected(&mut reader, from, rng) else {
        panic!("a crash is no damage")
    };
    let end = start + records.len();
    assert!(end >= bench.delivered, "{} records were delivered, {end} are there", bench.delivered);
    assert!(end <= bench.sent.len(), "more is there than was sent");
    let expected: Vec<_> = bench.sent[start..end].iter().map(stamped).collect();
    assert_eq!(records, expected, "in order, byte for byte");
    // A recovery that crashed after committing some parts goes on exactly behind them.
    for (upto, count) in parts {
        let Told::Records(rest, _) = recover(disk, limits, upto.max(from), rng) else { panic!("no damage") };
        assert_eq!(rest, expected[count..], "the rest behind a part");
    }
}

/// One disk, several lives.
fn run(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let (mut limits, device) = tiny(&mut rng);
    let mut disk = Disk::new(device);
    let mut trace = 0;
    for _ in 0..3 {
        let life = a_life(&mut rng);
        let mut bench = Bench::formatted(disk, &limits, life, &mut rng);
        for _ in 0..rng.between(1, 600) {
            bench.step(&mut rng);
        }
        bench.disk.crash(&mut rng);
        limits = tiny_for((device - device % super::PAGE) - 2 * super::PAGE, &mut rng);
        check(&bench, &bench.disk, &limits, life, &mut rng);
        trace ^= bench.trace();
        disk = crash_while_formatting(&bench, &limits, life, &mut rng);
    }
    trace
}

/// A format that may be cut off: the ring is the old life's or a new one's, never neither.
fn crash_while_formatting(before: &Bench, limits: &Limits, old: Life, rng: &mut Rng) -> Disk {
    let (mut bench, _) = inspect(&before.disk, limits, rng);
    let new = a_life(rng);
    bench.mail(Mail::Format { life: new, level: FEATURE_LEVEL });
    bench.disk.crash(rng);
    let (mut reader, found) = inspect(&bench.disk, limits, rng);
    let Inspection::Ring(found) = found else { panic!("{found:?}") };
    if found.life == old {
        check(before, &bench.disk, limits, old, rng);
    } else {
        assert_eq!((found.life, found.trim), (new, Lsn(0)));
        let Told::Records(records, _) = recover_inspected(&mut reader, Lsn(0), rng) else { panic!("no damage") };
        assert_eq!(records, [], "a new life has nothing of the old one's");
    }
    bench.disk
}

#[test]
fn what_was_delivered_survives_crashes() {
    for seed in 0..400 {
        run(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_failed_write_ends_acknowledgement_for_good() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed).child("poison");
        let (limits, device) = tiny(&mut rng);
        let life = a_life(&mut rng);
        let mut bench = Bench::formatted(Disk::new(device), &limits, life, &mut rng);
        for _ in 0..rng.between(1, 300) {
            bench.step(&mut rng);
        }
        if bench.disk.is_idle() {
            continue;
        }
        let (op, failed) = bench.disk.fail(&mut rng);
        bench.handle(crate::wal::Input::Disk(op, failed));
        assert_eq!(bench.poisoned, 1);
        assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalPoisoned(_))));
        let in_flight = bench.disk.in_flight();
        bench.granted = u64::MAX;
        for _ in 0..50 {
            bench.step(&mut rng);
            assert!(bench.disk.in_flight() <= in_flight, "nothing more is written");
        }
        assert_eq!(bench.poisoned, 1, "said once");
        assert!(bench.to_node.is_empty(), "said once");
        bench.disk.crash(&mut rng);
        // Its last cut, answered after the failure, covers all that was delivered, and trims what it did not write.
        bench.mail(Mail::Cut(crate::wal::CutReason::Close));
        let last = *bench.cuts.last().expect("one cut at least");
        assert_eq!(last.1, bench.delivered);
        bench.trim = bench.trim.max(last.0);
        check(&bench, &bench.disk, &limits, life, &mut rng);
    }
}
