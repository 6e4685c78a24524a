//! Version 1, byte for byte: what was written once is read for ever.

use super::bench::{Bench, Told, recover};
use super::disk::Disk;
use super::{PAGE, stamped};
use crate::id::{ClusterId, Lsn, NodeEpoch, NodeId, Offset, StreamEpoch, StreamId, WalUuid};
use crate::limits::Limits;
use crate::machine::{Instant, Rng, WallTime};
use crate::wal::cost;
use crate::wal::{Append, CutReason, Input, Life, Mail};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

const IMAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/wal/v1/ring.hex"));

fn limits() -> Limits {
    Limits { batch: 13_000, wal_block: 8192, wal_depth: 2, ..Limits::default() }
}

/// The `number`th of some appends whose bytes can be told apart by eye.
pub(in crate::wal) fn append(number: u64, len: usize) -> Append {
    let mut batch = vec![0; len];
    batch[..21].copy_from_slice(b"offset..len_EPOC2crc.");
    batch[len - 3..].copy_from_slice(b"end");
    Append {
        stream: StreamId(40 + number),
        epoch: StreamEpoch(3),
        base: Offset(100 * number),
        end: Offset(100 * number + 7),
        max_timestamp: WallTime(1_700_000_000_000),
        batch: batch.into(),
    }
}

/// Three records in two blocks, trimmed; small, large, small; one in three fragments across the ring's end; then idle.
fn a_ring() -> Bench {
    let mut rng = Rng::new(0);
    let life = Life {
        cluster: ClusterId(*b"golden cluster 1"),
        node: NodeId(5),
        epoch: NodeEpoch(12),
        uuid: WalUuid(*b"golden wal uuid."),
    };
    let mut bench = Bench::formatted(Disk::new(10 * PAGE), &limits(), life, &mut rng);
    let mut add = |bench: &mut Bench, appends: Vec<Append>| {
        bench.granted -= appends.iter().map(|append| cost(append.batch.len())).sum::<u64>();
        bench.sent.extend(appends.clone());
        bench.mail(Mail::Append(appends));
        bench.settle(&mut rng);
    };
    add(&mut bench, vec![append(0, 61), append(1, 300)]);
    add(&mut bench, vec![append(2, 5000)]);
    bench.mail(Mail::Cut(CutReason::Size));
    bench.trim_to(bench.cuts.len() - 1);
    add(&mut bench, vec![append(3, 70)]);
    add(&mut bench, vec![append(4, 5000)]);
    add(&mut bench, vec![append(5, 70)]);
    add(&mut bench, vec![append(6, 13_000)]);
    bench.now.mono = Instant(2_000_000_000);
    bench.handle(Input::Tick);
    bench.settle(&mut Rng::new(1));
    bench
}

/// Lines of 32 bytes; those of zeros alone are left out.
fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(32).enumerate().filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0)) {
        write!(text, "{:08x}:", line * 32).expect("a string takes all");
        for byte in chunk {
            write!(text, " {byte:02x}").expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for line in text.lines() {
        let (at, data) = line.split_once(':').expect("an offset");
        let at = usize::from_str_radix(at, 16).expect("hex");
        for (index, byte) in data.split_whitespace().enumerate() {
            bytes[at + index] = u8::from_str_radix(byte, 16).expect("hex");
        }
    }
    bytes
}

#[test]
fn the_image_is_what_is_written_today() {
    let made = to_hex(&a_ring().disk.bytes);
    assert!(made == IMAGE, "the format changed; this is the image now:\n{made}");
}

#[test]
fn the_image_is_read() {
    let bench = a_ring();
    let mut disk = Disk::new(10 * PAGE);
    disk.bytes = from_hex(IMAGE, disk.bytes.len());
    let Told::Records(records, _) = recover(&disk, &limits(), Lsn(0), &mut Rng::new(0)) else { panic!("damaged") };
    assert_eq!(records, bench.sent[3..].iter().map(stamped).collect::<Vec<_>>());
}
