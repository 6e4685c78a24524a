//! A ring's life, step by step.

use super::bench::{Bench, Told, inspect, recover};
use super::disk::Disk;
use super::{PAGE, a_life, an_append, stamped, tiny};
use crate::disk::{DiskError, DiskOp};
use crate::id::Lsn;
use crate::limits::Limits;
use crate::machine::{Effects, Instant, Machine, OpId, Rng};
use crate::node;
use crate::wal::ring::header::{Header, Slots};
use crate::wal::{CutReason, Effect, Input, Inspection, Mail, Recovered};
use alloc::vec::Vec;
use bytes::Bytes;

fn limits() -> Limits {
    Limits { batch: 20_000, wal_block: 16_384, wal_depth: 2, ..Limits::default() }
}

fn a_bench(rng: &mut Rng) -> Bench {
    let life = a_life(rng);
    Bench::formatted(Disk::new(34 * PAGE), &limits(), life, rng)
}

fn header(bench: &Bench) -> Header {
    let geometry = crate::wal::ring::Geometry::of_device(bench.disk.bytes.len() as u64).expect("a ring");
    match Slots::read(&Bytes::copy_from_slice(&bench.disk.bytes[..8192]), geometry) {
        Ok(Slots::Newest(_, header)) => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blank_device_is_blank_and_a_foreign_one_refused() {
    let mut rng = Rng::new(1);
    let mut disk = Disk::new(34 * PAGE);
    assert_eq!(inspect(&disk, &limits(), &mut rng).1, Inspection::Blank);
    disk.bytes[5000] = 1;
    let (_, found) = inspect(&disk, &limits(), &mut rng);
    assert!(matches!(&found, Inspection::Refused(why) if why.contains("not a Karst WAL")), "{found:?}");
}

#[test]
fn a_ring_of_another_size_is_refused() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    bench.disk.bytes.resize(40 * PAGE as usize, 0);
    let (_, found) = inspect(&bench.disk, &limits(), &mut rng);
    assert!(matches!(&found, Inspection::Refused(why) if why.contains("old size")), "{found:?}");
}

#[test]
fn a_header_of_a_newer_version_is_refused_even_beside_an_older_one() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    let body = [9; 40];
    let newer = crate::envelope::seal(crate::envelope::Kind::RingHeader, 2, &body);
    bench.disk.bytes[4096..4096 + newer.len()].copy_from_slice(&newer);
    let (_, found) = inspect(&bench.disk, &limits(), &mut rng);
    assert!(matches!(&found, Inspection::Refused(why) if why.contains("newer Karst")), "{found:?}");
}

#[test]
fn an_unreadable_device_is_said_to_be_so() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    bench.append(100, &mut rng);
    bench.settle(&mut rng);
    let mut reader = Bench::new(bench.disk.clone(), &limits());
    reader.mail(Mail::Inspect);
    let (op, _) = reader.disk.complete(&mut rng);
    reader.handle(Input::Disk(op, Err(DiskError::Io)));
    assert!(matches!(reader.to_node.pop(), Some(node::Mail::WalFound(Inspection::Unreadable(_)))));
    let (mut reader, _) = inspect(&bench.disk, &limits(), &mut rng);
    reader.mail(super::recover_from(Lsn(0)));
    let (op, _) = reader.disk.complete(&mut rng);
    reader.handle(Input::Disk(op, Err(DiskError::Io)));
    let told = reader.to_node.pop();
    assert!(matches!(told, Some(node::Mail::WalRecovered(Recovered::Unreadable(_)))), "{told:?}");
}

#[test]
fn what_waits_goes_into_one_block_and_is_delivered_as_slices_of_it() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    let batches: Vec<_> = (0..30).map(|number| an_append(number, 200, &mut rng)).collect();
    bench.sent.clone_from(&batches);
    let mut out = Effects::default();
    bench.wal.handle(bench.now, Input::Mail(Mail::Append(batches)), &mut out);
    let writes: Vec<(OpId, DiskOp)> = out
        .drain()
        .filter_map(|effect| if let Effect::Disk(op, asked) = effect { Some((op, asked)) } else { None })
        .collect();
    let [(op, DiskOp::Write { data, .. })] = writes.as_slice() else { panic!("one block: {writes:?}") };
    assert_eq!(data.len() as u64, 2 * PAGE);
    let block = data.pieces()[0].as_ptr_range();
    bench.wal.handle(bench.now, Input::Disk(*op, Ok(crate::disk::DiskDone::Written)), &mut out);
    let Some(Effect::Mail(crate::mail::Mail::Shard(crate::shard::Mail::Appended(records)))) = out.drain().next() else {
        panic!("delivered first of all")
    };
    assert_eq!(records, bench.sent.iter().map(stamped).collect::<Vec<_>>());
    assert!(records.iter().all(|record| block.contains(&record.batch.as_ptr())), "not copied again");
}

/// The classic loss: a cut between the fragments of a record, and a trim to it.
#[test]
fn a_cut_never_lies_within_a_record() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    bench.append(500, &mut rng);
    bench.settle(&mut rng);
    bench.append(20_000, &mut rng);
    assert_eq!(bench.disk.in_flight(), 2, "the large one takes two blocks");
    // End the first of them alone: only the second is left in flight.
    let (op, result) = loop {
        let mut disk = bench.disk.clone();
        let (op, result) = disk.complete(&mut rng);
        if op == OpId(4) {
            bench.disk = disk;
            break (op, result);
        }
    };
    bench.handle(Input::Disk(op, result));
    bench.mail(Mail::Cut(CutReason::Age));
    let &(lsn, below) = bench.cuts.last().expect("a cut");
    assert_eq!((lsn, below), (Lsn(PAGE), 1), "before the record that is not whole");
    bench.settle(&mut rng);
    assert_eq!(bench.delivered, 2);
    bench.trim_to(bench.cuts.len() - 1);
    bench.settle(&mut rng);
    let Told::Records(records, _) = recover(&bench.disk, &limits(), lsn, &mut rng) else { panic!("no damage") };
    assert_eq!(records, [stamped(&bench.sent[1])]);
}

#[test]
fn an_idle_log_records_its_durable_lsn_once() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    assert_eq!(bench.wal.deadline(), None, "nothing to record");
    bench.append(100, &mut rng);
    bench.now.mono = Instant(5);
    bench.settle(&mut rng);
    let due = bench.wal.deadline().expect("something to record").at;
    assert_eq!(due, Instant(1_000_000_005));
    bench.now.mono = Instant(due.0 - 1);
    bench.handle(Input::Tick);
    assert!(bench.disk.is_idle(), "not yet");
    bench.now.mono = due;
    bench.handle(Input::Tick);
    assert_eq!((bench.disk.in_flight(), bench.wal.deadline()), (1, None));
    bench.settle(&mut rng);
    assert_eq!(header(&bench).durable, Lsn(PAGE));
    assert_eq!(bench.wal.deadline(), None, "once");
}

#[test]
fn trims_that_come_while_a_header_is_written_share_the_next() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    for _ in 0..5 {
        bench.append(100, &mut rng);
        bench.settle(&mut rng);
        bench.mail(Mail::Cut(CutReason::Size));
    }
    let generation = header(&bench).generation;
    for cut in 1..bench.cuts.len() {
        bench.trim_to(cut);
        assert_eq!(bench.disk.in_flight(), 1);
    }
    bench.trim_to(1);
    bench.settle(&mut rng);
    let after = header(&bench);
    assert_eq!((after.generation, after.trim), (generation + 2, bench.trim));
}

#[test]
fn a_closed_ring_is_clean_and_empty() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed).child("close");
        let (limits, device) = tiny(&mut rng);
        let mut bench = Bench::formatted(Disk::new(device), &limits, a_life(&mut rng), &mut rng);
        for _ in 0..rng.between(0, 200) {
            bench.step(&mut rng);
        }
        bench.settle(&mut rng);
        bench.mail(Mail::Cut(CutReason::Close));
        let (lsn, below) = bench.cuts[bench.cuts.len() - 1];
        assert_eq!(below, bench.sent.len());
        if rng.chance(1, 2) {
            bench.trim_to(bench.cuts.len() - 1);
        }
        bench.mail(Mail::Close);
        assert!(bench.to_node.is_empty(), "not before the header is durable");
        bench.settle(&mut rng);
        assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalClosed)));
        let (_, found) = inspect(&bench.disk, &limits, &mut rng);
        assert!(matches!(found, Inspection::Ring(found) if found.clean && found.trim == lsn), "{found:?}");
        let Told::Records(records, _) = recover(&bench.disk, &limits, lsn, &mut rng) else { panic!("no damage") };
        assert_eq!(records, []);
    }
}

#[test]
fn records_behind_the_last_cut_are_kept_at_a_close() {
    let mut rng = Rng::new(1);
    let mut bench = a_bench(&mut rng);
    bench.append(100, &mut rng);
    bench.settle(&mut rng);
    bench.mail(Mail::Cut(CutReason::Close));
    bench.append(200, &mut rng);
    bench.mail(Mail::Close);
    bench.settle(&mut rng);
    assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalClosed)));
    let (_, found) = inspect(&bench.disk, &limits(), &mut rng);
    assert!(matches!(found, Inspection::Ring(found) if !found.clean && found.trim == Lsn(PAGE)), "{found:?}");
    let Told::Records(records, _) = recover(&bench.disk, &limits(), Lsn(0), &mut rng) else { panic!("no damage") };
    assert_eq!(records, [stamped(&bench.sent[1])]);
}
