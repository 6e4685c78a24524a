//! Any bytes may lie on a disk.

use super::bench::{Bench, recover};
use super::disk::Disk;
use super::{PAGE, a_life, tiny};
use crate::envelope::{Kind, checksum, seal};
use crate::id::Lsn;
use crate::machine::Rng;

/// Changes some bytes from `at` on; may make the checksum right again, so that what lies behind it is reached.
fn mutate(bytes: &mut [u8], at: usize, rng: &mut Rng) {
    for _ in 0..rng.between(1, 4) {
        let span = if rng.chance(1, 2) { 120 } else { 4096 };
        let target = at + rng.below(span) as usize;
        let value = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]).expect("some");
        bytes[target] = if rng.chance(1, 2) { value } else { rng.next_u64() as u8 };
    }
    if rng.chance(3, 4) {
        bytes[at..at + 4].copy_from_slice(b"KRST");
        let body = u32::from_be_bytes([bytes[at + 8], bytes[at + 9], bytes[at + 10], bytes[at + 11]]) as usize;
        if let Some(end) = (at + 16).checked_add(body).filter(|end| *end <= bytes.len()) {
            let crc = checksum(&bytes[at + 4..at + 12], &bytes[at + 16..end]);
            bytes[at + 12..at + 16].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

#[test]
fn mutated_rings_are_read_without_a_panic() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed).child("fuzz");
        let (limits, device) = tiny(&mut rng);
        let mut bench = Bench::formatted(Disk::new(device), &limits, a_life(&mut rng), &mut rng);
        for _ in 0..rng.between(1, 300) {
            bench.step(&mut rng);
        }
        bench.disk.crash(&mut rng);
        for _ in 0..15 {
            let mut disk = bench.disk.clone();
            for _ in 0..rng.between(1, 3) {
                let sector = if rng.chance(1, 3) { rng.below(2) } else { rng.below(device / PAGE) };
                mutate(&mut disk.bytes, (sector * PAGE) as usize, &mut rng);
            }
            let from = if rng.chance(1, 2) { Lsn(0) } else { bench.trim };
            recover(&disk, &limits, from, &mut rng);
        }
    }
}

#[test]
fn random_headers_are_read_without_a_panic() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed).child("headers");
        let (limits, device) = tiny(&mut rng);
        let mut disk = Disk::new(device);
        let mut body = [0; 92];
        for chunk in body.chunks_mut(4) {
            let word = if rng.chance(2, 3) { rng.below(40) as u32 * 4096 } else { rng.next_u64() as u32 };
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        // The size and the flags are right often enough to be let in.
        body[52..60].copy_from_slice(&(device / PAGE * PAGE - 8192).to_be_bytes());
        body[88..92].fill(0);
        let slot = seal(Kind::RingHeader, 1, &body);
        disk.bytes[..slot.len()].copy_from_slice(&slot);
        recover(&disk, &limits, Lsn(rng.below(40) * 4096), &mut rng);
    }
}
