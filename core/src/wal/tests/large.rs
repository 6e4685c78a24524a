//! Large records at every position relative to the ring's end: as many blocks long as records of 15.9 to 128 MiB are with
//! the usual blocks of 1 MiB, in the smallest ring that takes them.

use super::bench::{Bench, Told, recover};
use super::disk::Disk;
use super::{PAGE, a_life, stamped};
use crate::limits::Limits;
use crate::machine::Rng;
use crate::wal::Wal;
use crate::wal::{cost, longest};
use alloc::collections::BTreeSet;

/// What stands for a MiB here.
const BLOCK: u64 = PAGE;

fn limits(largest: u64) -> Limits {
    Limits {
        batch: 3_000,
        largest_batch: largest as u32,
        wal_block: BLOCK as u32,
        wal_depth: 8,
        wal_window: 4 * BLOCK,
        ..Limits::default()
    }
}

/// The number of the sector in the ring at which the next block begins.
fn position(bench: &Bench, ring: u64) -> u64 {
    bench.wal.positions().expect("it is open").head.0 % ring / PAGE
}

#[test]
fn a_record_of_any_size_is_taken_and_found_again_wherever_the_ring_ends() {
    for len in [BLOCK * 159 / 10, 16 * BLOCK, BLOCK * 161 / 10, 64 * BLOCK, 128 * BLOCK] {
        let ring = 2 * cost(len as usize);
        let limits = limits(len);
        let mut rng = Rng::new(len).child("large");
        let mut bench = Bench::formatted(Disk::new(2 * PAGE + ring), &limits, a_life(&mut rng), &mut rng);
        let mut seen = BTreeSet::new();
        while seen.len() < (ring / PAGE) as usize {
            bench.drain(&mut rng);
            assert!(bench.granted >= cost(len as usize), "{len}: {} granted", bench.granted);
            if !seen.insert(position(&bench, ring)) {
                bench.append(3_000, &mut rng);
                continue;
            }
            let before = bench.delivered;
            bench.append(len as usize, &mut rng);
            // A crash while it is written leaves a part of it, which is none.
            bench.complete(&mut rng);
            let mut crashed = bench.disk.clone();
            crashed.crash(&mut rng);
            let torn = recover(&crashed, &limits, bench.trim, &mut rng);
            bench.settle(&mut rng);
            assert_eq!(bench.delivered, before + 1, "{len}: delivered");
            let whole = recover(&bench.disk, &limits, bench.trim, &mut rng);
            let last = stamped(&bench.sent[before]);
            let (Told::Records(torn, _), Told::Records(whole, _)) = (torn, whole) else { panic!("no damage") };
            assert!(!torn.contains(&last), "{len}: a part is taken for the whole");
            assert_eq!(whole.last(), Some(&last), "{len}: read back");
        }
        // It does not depend on luck whether the ring's end was among the places.
        assert!(seen.contains(&0) && seen.len() > 30, "{len}");
    }
}

#[test]
fn the_largest_batch_is_what_fits_twice() {
    for pages in 4..400 {
        let ring = pages * PAGE;
        let largest = Limits::default().fitted(ring).largest_batch as usize;
        assert!(2 * cost(largest) <= ring && 2 * cost(largest + 1) > ring, "{pages} pages, {largest} bytes");
    }
    let usual = Limits::default();
    assert_eq!(usual.clone().fitted(512 << 20), usual, "a WAL of the usual size takes the usual largest batch");
    assert_eq!(longest(0), 0);
    let small = Limits { request: 5_000, ..usual.clone() };
    assert_eq!(small.fitted(1 << 30).largest_batch, 5_000, "a batch comes in a request");
    let fitted = Wal::fit(1 << 20, usual).expect("there is a ring");
    let why = Wal::new(1 << 20, &fitted).expect_err("it does not hold what topics usually take");
    assert!(why.contains("enlarge"), "{why}");
}
