//! Rot, lost headers and old copies: said loudly, never passed over.

use super::bench::{Bench, Told, recover};
use super::disk::Disk;
use super::{PAGE, a_life, identity, stamped, tiny};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Instant, Rng};
use crate::wal::ring::block::{Sight, sight};
use crate::wal::{Appended, CutReason, Input, Life, Mail};
use alloc::vec::Vec;
use bytes::Bytes;

struct Used {
    bench: Bench,
    limits: Limits,
    life: Life,
}

fn used(rng: &mut Rng) -> Used {
    let (limits, device) = tiny(rng);
    let life = a_life(rng);
    let mut bench = Bench::formatted(Disk::new(device), &limits, life, rng);
    for _ in 0..rng.between(50, 500) {
        bench.step(rng);
    }
    Used { bench, limits, life }
}

impl Used {
    /// Lets it become idle: the header knows what is durable.
    fn idle(&mut self, rng: &mut Rng) {
        self.bench.settle(rng);
        self.bench.now.mono = Instant(self.bench.now.mono.0 + 2_000_000_000);
        self.bench.handle(Input::Tick);
        self.bench.settle(rng);
    }

    fn ring(&self) -> u64 {
        self.bench.disk.bytes.len() as u64 / PAGE * PAGE - 2 * PAGE
    }

    fn expected(&self, from: Lsn) -> Vec<Appended> {
        self.bench.sent[self.bench.below(from)..].iter().map(stamped).collect()
    }

    /// The largest durable LSN that any block on the disk records.
    fn recorded(&self) -> Lsn {
        let bytes = Bytes::copy_from_slice(&self.bench.disk.bytes);
        let blocks = (8192..bytes.len()).step_by(PAGE as usize).filter_map(|at| {
            match sight(&bytes, at, &identity(&self.life), self.limits.wal_block) {
                Sight::Block(block) => Some(block.head().durable),
                _ => None,
            }
        });
        blocks.max().unwrap_or_default()
    }
}

#[test]
fn rot_below_a_recorded_durable_lsn_is_never_passed_over() {
    let mut found = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed).child("rot");
        let mut used = used(&mut rng);
        used.idle(&mut rng);
        let at = 8192 + rng.below(used.ring()) as usize;
        used.bench.disk.bytes[at] ^= 1 << rng.below(8);
        match recover(&used.bench.disk, &used.limits, used.bench.trim, &mut rng) {
            Told::Damaged => found += 1,
            Told::Records(records, _) => assert_eq!(records, used.expected(used.bench.trim), "seed {seed}"),
        }
    }
    assert!(found > 20, "{found} times rot was found");
}

#[test]
fn rot_is_found_by_blocks_behind_it_alone() {
    let mut found = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed).child("behind");
        let mut used = used(&mut rng);
        used.bench.settle(&mut rng);
        let durable = used.recorded();
        if durable.0 <= used.bench.trim.0 {
            continue;
        }
        let lsn = used.bench.trim.0 + rng.below(durable.0 - used.bench.trim.0);
        let at = (8192 + lsn % used.ring()) as usize;
        used.bench.disk.bytes[at] ^= 1 << rng.below(8);
        match recover(&used.bench.disk, &used.limits, used.bench.trim, &mut rng) {
            Told::Damaged => found += 1,
            Told::Records(records, _) => assert_eq!(records, used.expected(used.bench.trim), "seed {seed}"),
        }
    }
    assert!(found > 20, "{found} times rot was found");
}

#[test]
fn a_lost_header_slot_is_made_up_for_by_blocks_or_said_loudly() {
    let (mut whole, mut wrapped) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed).child("slot");
        let mut used = used(&mut rng);
        used.bench.disk.crash(&mut rng);
        let at = rng.below(8192) as usize;
        let slot = at / 4096 * 4096;
        used.bench.disk.bytes[slot..slot + 4096].fill(0);
        let Told::Records(records, _) = recover(&used.bench.disk, &used.limits, Lsn(0), &mut rng) else { continue };
        let trimmed = used.bench.below(used.bench.trim);
        let start = records.first().map_or(used.bench.delivered, |record| record.base.0 as usize);
        assert!(start <= trimmed || records.is_empty() && trimmed == used.bench.delivered, "seed {seed}: a gap");
        assert!(start + records.len() >= used.bench.delivered, "seed {seed}: shorter");
        let expected: Vec<_> = used.bench.sent[start..start + records.len()].iter().map(stamped).collect();
        assert_eq!(records, expected, "seed {seed}");
        whole += 1;
        wrapped += usize::from(start > 0);
    }
    assert!(whole > 100 && wrapped > 20, "{whole} recovered, {wrapped} of them after a trim");
}

/// The slot that freed the start of the ring is lost, and later laps lie there.
#[test]
fn a_block_of_a_later_lap_at_the_start_tells_where_to_begin() {
    let mut rng = Rng::new(1);
    let limits = Limits { batch: 3000, wal_block: 4096, wal_depth: 2, ..Limits::default() };
    let mut bench = Bench::formatted(Disk::new(18 * PAGE), &limits, a_life(&mut rng), &mut rng);
    let mut fill = |bench: &mut Bench, count: usize| {
        for _ in 0..count {
            bench.append(3000, &mut rng);
            bench.settle(&mut rng);
        }
    };
    fill(&mut bench, 10);
    bench.mail(Mail::Cut(CutReason::Age));
    bench.trim_to(bench.cuts.len() - 1);
    fill(&mut bench, 12);
    // The format wrote slot 0, the trim slot 1.
    bench.disk.bytes[4096..8192].fill(0);
    let Told::Records(records, _) = recover(&bench.disk, &limits, Lsn(0), &mut rng) else { panic!("no damage") };
    assert_eq!(records, bench.sent[10..].iter().map(stamped).collect::<Vec<_>>());
}

#[test]
fn a_disk_older_than_the_metadata_is_refused() {
    let mut refused = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed).child("older");
        let mut used = used(&mut rng);
        let mut copy = used.bench.disk.clone();
        copy.crash(&mut rng);
        let ends = used.bench.sent.len();
        used.bench.drain(&mut rng);
        for _ in 0..rng.between(10, 100) {
            used.bench.step(&mut rng);
        }
        used.bench.settle(&mut rng);
        used.bench.mail(Mail::Cut(CutReason::Age));
        let (from, below) = used.bench.cuts[used.bench.cuts.len() - 1];
        // The real disk is taken, whether or not the trim was written.
        let Told::Records(records, _) = recover(&used.bench.disk, &used.limits, from, &mut rng) else {
            panic!("seed {seed}: the newest disk is refused")
        };
        assert_eq!(records, []);
        if below > ends {
            let told = recover(&copy, &used.limits, from, &mut rng);
            assert!(matches!(told, Told::Damaged), "seed {seed}: an old copy is taken");
            refused += 1;
        }
    }
    assert!(refused > 100);
}

#[test]
fn a_trim_point_that_cannot_be_is_refused() {
    let mut rng = Rng::new(1);
    let mut used = used(&mut rng);
    used.bench.settle(&mut rng);
    for from in [1, 4095, u64::MAX, u64::MAX - 4095, 1 << 61] {
        assert!(matches!(recover(&used.bench.disk, &used.limits, Lsn(from), &mut rng), Told::Damaged), "{from}");
    }
}

/// A head that survived alone announces more than there can be.
#[test]
fn a_block_that_would_cross_the_rings_end_is_none() {
    let mut rng = Rng::new(1);
    let limits = Limits { batch: 3000, wal_block: 8192, wal_depth: 1, ..Limits::default() };
    let mut bench = Bench::formatted(Disk::new(18 * PAGE), &limits, a_life(&mut rng), &mut rng);
    for _ in 0..15 {
        bench.append(3000, &mut rng);
        bench.settle(&mut rng);
    }
    let last = 17 * PAGE as usize;
    bench.disk.bytes.copy_within(last - PAGE as usize..last, last);
    bench.disk.bytes[last + 8..last + 12].copy_from_slice(&8000_u32.to_be_bytes());
    let Told::Records(records, _) = recover(&bench.disk, &limits, Lsn(0), &mut rng) else { panic!("no damage") };
    assert_eq!(records.len(), 15);
}
