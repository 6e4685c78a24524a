//! A life, step by step.

use super::bench::{Bench, Told, recover};
use super::bucket::Bucket;
use super::room::drain;
use super::{SIZES, an_append, appends, by_stream, tiny};
use crate::id::{FeatureLevel, Lsn, NodeEpoch, Offset, StreamEpoch, StreamId};
use crate::limits::Limits;
use crate::machine::{Instant, Machine, Rng};
use crate::metadata::WAL_DATA_LEVEL;
use crate::node;
use crate::store::{Cause, StoreError, StoreOp};
use crate::wal::cost;
use crate::wal::object::format::{self, Sizes};
use crate::wal::tests::{a_life, stamped};
use crate::wal::{Append, CutReason, Input, Life, Mail};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

pub(super) fn sizes() -> (Limits, u64) {
    let limits = Limits {
        batch: 20_000,
        largest_batch: 20_000,
        wal_block: 16_384,
        wal_depth: 2,
        wal_object: 30_000,
        wal_object_interval: Duration::from_millis(100),
        wal_objects: 10,
        ..Limits::default()
    };
    (limits, 1 << 20)
}

fn is_put(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Put { .. })
}

fn is_get(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Get { .. })
}

fn put_of(seq: u64) -> impl Fn(&StoreOp) -> bool {
    move |op| matches!(op, StoreOp::Put { key, .. } if format::parse_key(key).is_some_and(|(.., at)| at == Lsn(seq)))
}

fn begun(rng: &mut Rng) -> (Bench, Life, Bucket) {
    let life = a_life(rng);
    (Bench::formatted(&sizes(), life, rng), life, Bucket::default())
}

#[test]
fn what_comes_to_an_idle_log_leaves_at_once_and_then_at_intervals_unless_it_is_full() {
    let mut rng = Rng::new(1);
    let (mut bench, _, mut bucket) = begun(&mut rng);
    bench.now.mono = Instant(5_000_000_000);
    bench.append(100, &mut rng);
    assert_eq!(bench.pending.len(), 1, "at once");
    bench.complete(&mut bucket, &mut rng);
    bench.append(100, &mut rng);
    bench.append(200, &mut rng);
    assert_eq!(bench.pending.len(), 0, "the interval is not over");
    assert_eq!(bench.wal.deadline().map(|due| due.at), Some(Instant(5_100_000_000)));
    bench.wait();
    assert_eq!(bench.pending.len(), 1, "both in one");
    bench.append(20_000, &mut rng);
    assert_eq!(bench.pending.len(), 1);
    bench.append(12_000, &mut rng);
    assert_eq!(bench.pending.len(), 2, "that is more than one takes");
    bench.settle(&mut bucket, &mut rng);
    assert_eq!((bench.delivered, bucket.objects.len()), (5, 4));
}

#[test]
fn records_are_slices_of_what_is_put_in_buffers_no_larger_than_a_block() {
    let mut rng = Rng::new(1);
    let life = a_life(&mut rng);
    let appends = appends(2, &[7_000, 9_000, 9_000, 17_000, 100, 100], &mut rng);
    let sizes = Sizes { buffer: 16_384, data_block: 8_000 };
    for level in [FeatureLevel(1), WAL_DATA_LEVEL] {
        let built = format::build(&life, Lsn(3), &appends, level, sizes);
        assert_eq!(built.records, appends.iter().map(stamped).collect::<Vec<_>>(), "in the order in which they came");
        for record in &built.records {
            let within = |piece: &Bytes| piece.as_ptr_range().contains(&record.batch.as_ptr());
            assert!(built.body.pieces().iter().any(within), "not copied again");
        }
        let Ok(format::Content::Records(read)) = format::open(&life, Lsn(3), &built.body.to_bytes()) else {
            panic!("it is read back");
        };
        let in_order = if level < WAL_DATA_LEVEL { built.records } else { by_stream(&appends) };
        assert_eq!(read, in_order);
    }
}

#[test]
fn an_object_takes_little_more_than_its_records() {
    for len in (61..9_000).step_by(13) {
        let mut rng = Rng::new(len);
        let append = an_append(len % 2, 0, len as usize, &mut rng);
        let built = format::build(&a_life(&mut rng), Lsn(0), &[append], WAL_DATA_LEVEL, SIZES);
        assert!(built.body.len() as u64 <= cost(len as usize) + 512, "{len}");
    }
}

#[test]
fn of_each_stream_an_object_holds_one_stretch() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = begun(&mut rng);
    bench.append(100, &mut rng);
    let first = bench.sent[0].clone();
    bench.granted -= 4 * cost(100);
    let mut batches = appends(2, &[100, 100, 100], &mut rng);
    batches.iter_mut().for_each(|append| append.stream = StreamId(append.stream.0 + 10));
    // The third goes on where the first ended, but was accepted under another epoch.
    batches[2].epoch = StreamEpoch(4);
    batches.push(Append { base: Offset(70), end: Offset(71), ..batches[2].clone() });
    bench.sent.extend(batches.iter().cloned());
    bench.mail(Mail::Append(batches));
    bench.settle(&mut bucket, &mut rng);
    assert_eq!(bench.delivered, 5);
    let held = |seq| match format::open(&life, Lsn(seq), &bucket.objects[&format::key(life.node, life.epoch, Lsn(seq))])
    {
        Ok(format::Content::Records(records)) => records.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((held(0), held(1), held(2), held(3)), (1, 2, 1, 1), "{first:?}");
}

#[test]
fn nothing_is_acknowledged_before_what_is_below() {
    let mut rng = Rng::new(1);
    let (mut bench, _, mut bucket) = begun(&mut rng);
    bench.append(100, &mut rng);
    bench.wait();
    bench.append(200, &mut rng);
    bench.wait();
    assert_eq!(bench.pending.len(), 2);
    let (op, result) = bench.pending.complete_one(&mut bucket, put_of(1));
    bench.handle(Input::Store(op, result));
    assert_eq!(bench.delivered, 0, "the first is not durable");
    let (op, result) = bench.pending.complete_one(&mut bucket, put_of(0));
    bench.handle(Input::Store(op, result));
    assert_eq!(bench.delivered, 2);
}

#[test]
fn a_put_without_an_answer_is_repeated_byte_for_byte_and_recognised() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = begun(&mut rng);
    bench.append(100, &mut rng);
    let bytes = |bench: &Bench| {
        let StoreOp::Put { body, .. } = bench.pending.ops().next().expect("a put") else { panic!("a put") };
        body.to_bytes()
    };
    let first = bytes(&bench);
    let (op, _) = bench.pending.complete_one(&mut bucket, is_put);
    bench.append(300, &mut rng);
    bench.handle(Input::Store(op, Err(StoreError::Ambiguous(Cause::CutOff))));
    assert_eq!((bench.delivered, bench.pending.len()), (0, 0), "it rests");
    bench.wait();
    assert_eq!(bytes(&bench), first);
    let (op, result) = bench.pending.complete_one(&mut bucket, put_of(0));
    assert_eq!(result, Err(StoreError::Exists));
    bench.handle(Input::Store(op, result));
    assert_eq!(bench.delivered, 0, "not before it was compared");
    let (op, result) = bench.pending.complete_one(&mut bucket, is_get);
    bench.handle(Input::Store(op, result));
    assert_eq!(bench.delivered, 1);
    assert_eq!(bucket.objects[&format::key(life.node, life.epoch, Lsn(0))], first);
}

#[test]
fn a_seal_ends_the_log_before_anything_beyond_it_is_acknowledged() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = begun(&mut rng);
    bucket.objects.insert(
        format::key(life.node, life.epoch, Lsn(0)),
        format::seal(&life, Lsn(0), NodeEpoch(life.epoch.0 + 1)).to_bytes(),
    );
    bench.append(100, &mut rng);
    bench.wait();
    bench.append(100, &mut rng);
    bench.wait();
    bench.settle(&mut bucket, &mut rng);
    assert_eq!((bench.delivered, bench.poisoned), (0, 1));
    let Some(node::Mail::WalPoisoned(why)) = bench.to_node.pop() else { panic!("the node hears of it") };
    assert!(why.contains("is a seal"), "{why}");
    bench.mail(Mail::Cut(CutReason::Close));
    assert_eq!(bench.cuts.last(), Some(&(Lsn(0), 0)), "what was delivered can be saved");
    assert_eq!(bench.pending.len(), 0, "nothing more is written");
}

#[test]
fn another_content_ends_the_log_even_where_its_length_is_the_same() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let (mut bench, life, mut bucket) = begun(&mut rng);
        let other = an_append(0, 0, 100, &mut rng);
        let body = format::build(&life, Lsn(0), &[other], WAL_DATA_LEVEL, SIZES).body.to_bytes();
        bucket.objects.insert(format::key(life.node, life.epoch, Lsn(0)), body);
        bench.append(100, &mut rng);
        if seed % 2 == 0 {
            let (op, result) = bench.pending.fail_one(is_put, StoreError::Ambiguous(Cause::Server));
            bench.handle(Input::Store(op, result));
        }
        bench.settle(&mut bucket, &mut rng);
        assert_eq!((bench.delivered, bench.poisoned), (0, 1));
    }
}

#[test]
fn what_the_store_will_never_take_ends_the_log() {
    let mut rng = Rng::new(1);
    let (mut bench, _, _) = begun(&mut rng);
    bench.append(100, &mut rng);
    let (op, result) = bench.pending.fail_one(is_put, StoreError::Denied);
    bench.handle(Input::Store(op, result));
    assert_eq!((bench.delivered, bench.poisoned), (0, 1));
}

#[test]
fn a_closed_log_has_left_nothing() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed).child("close");
        let sizes = tiny(&mut rng);
        let mut bucket = Bucket::default();
        let life = a_life(&mut rng);
        let mut bench = Bench::formatted(&sizes, life, &rng);
        for _ in 0..rng.between(0, 200) {
            bench.step(&mut bucket, &mut rng);
            // What lands after its delete is left to the janitor.
            bucket.late.clear();
        }
        drain(&mut bench, &mut bucket, &mut rng);
        assert_eq!(bench.delivered, bench.sent.len());
        bench.mail(Mail::Cut(CutReason::Close));
        if rng.chance(1, 2) {
            bench.trim_to(bench.cuts.len() - 1);
        }
        bench.mail(Mail::Close);
        bench.settle(&mut bucket, &mut rng);
        assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalClosed)));
        assert!(bucket.objects.is_empty(), "{:?}", bucket.objects.keys());
    }
}

#[test]
fn a_close_does_not_wait_for_deletes_that_fail() {
    let mut rng = Rng::new(1);
    let (mut bench, ..) = begun(&mut rng);
    let mut bucket = Bucket::default();
    for _ in 0..3 {
        bench.append(100, &mut rng);
        bench.settle(&mut bucket, &mut rng);
    }
    bench.mail(Mail::Close);
    while bench.pending.len() > 0 {
        let (op, result) = bench.pending.fail_one(|_| true, StoreError::Denied);
        bench.handle(Input::Store(op, result));
    }
    assert!(matches!(bench.to_node.pop(), Some(node::Mail::WalClosed)));
}

#[test]
fn a_life_of_which_nothing_was_written_is_sealed_at_its_beginning() {
    let mut rng = Rng::new(1);
    let (_, life, mut bucket) = begun(&mut rng);
    assert_eq!(recover(&mut bucket, &sizes(), life, Lsn(0), &mut rng), Told::Records(vec![], Lsn(0)));
    let sealed = bucket.objects.pop_first().expect("a seal");
    assert_eq!(sealed.0, format::key(life.node, life.epoch, Lsn(0)));
    assert_eq!(sealed.1.len(), format::SEAL_LEN);
}
