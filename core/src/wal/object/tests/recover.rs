//! Reading back.

use super::bench::{Bench, Reader, Told, recover};
use super::bucket::Bucket;
use super::by_stream;
use super::life::sizes;
use crate::id::{FeatureLevel, Lsn, NodeEpoch, NodeId, WalUuid};
use crate::machine::Rng;
use crate::mail::Halt;
use crate::metadata::FEATURE_LEVEL;
use crate::node;
use crate::store::{Cause, Key, Span, StoreError, StoreOp};
use crate::wal::object::format;
use crate::wal::tests::{a_life, stamped};
use crate::wal::{CutReason, Input, Life, Mail};
use alloc::vec;
use alloc::vec::Vec;

/// A life with so many objects of a record each, which are read with others.
fn with(objects: usize, rng: &mut Rng) -> (Bench, Life, Bucket) {
    of_length(6_000, objects, rng)
}

fn of_length(len: usize, objects: usize, rng: &mut Rng) -> (Bench, Life, Bucket) {
    let life = a_life(rng);
    let mut bucket = Bucket::default();
    let mut bench = Bench::formatted(&sizes(), life, rng);
    for _ in 0..objects {
        bench.append(len, rng);
        bench.settle(&mut bucket, rng);
    }
    (bench, life, bucket)
}

fn name(life: &Life, seq: u64) -> Key {
    format::key(life.node, life.epoch, Lsn(seq))
}

#[test]
fn it_reads_from_the_trim_point_of_the_metadata_whatever_is_below() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = with(3, &mut rng);
    bench.mail(Mail::Cut(CutReason::Age));
    bench.append(100, &mut rng);
    bench.settle(&mut bucket, &mut rng);
    let expected = || Told::Records(vec![stamped(&bench.sent[3])], Lsn(4));
    assert_eq!(recover(&mut bucket, &sizes(), life, Lsn(3), &mut rng), expected());
    // Now that there is a seal, and those below are gone, as they may be by then.
    for seq in 0..3 {
        bucket.objects.remove(&name(&life, seq));
    }
    assert_eq!(recover(&mut bucket, &sizes(), life, Lsn(3), &mut rng), expected());
    assert_eq!(bucket.objects.len(), 2);
}

#[test]
fn large_lives_are_read_in_parts_a_few_objects_ahead() {
    let mut rng = Rng::new(1);
    let (bench, life, mut bucket) = with(10, &mut rng);
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    assert_eq!(reader.bench.pending.len(), 4);
    let told = reader.finish(&mut bucket, &mut rng);
    assert_eq!(told, Told::Records(by_stream(&bench.sent), Lsn(10)));
    assert_eq!(reader.parts, 3, "five objects each, and an end");
}

#[test]
fn of_large_objects_only_the_beginnings_are_read_and_they_become_data_in_order() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = of_length(9_000, 3, &mut rng);
    for len in [100, 100, 9_000, 100] {
        bench.append(len, &mut rng);
        bench.settle(&mut bucket, &mut rng);
    }
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    let mut told = None;
    while told.is_none() {
        assert!(reader.bench.pending.ops().all(|op| !matches!(op, StoreOp::Get { span: Span::Whole, .. })));
        told = reader.step_without_loss(&mut bucket, &mut rng);
    }
    assert_eq!(told, Some(Told::Records(by_stream(&bench.sent), Lsn(7))));
    assert_eq!((reader.objects, reader.parts), (4, 2), "the small ones between them, and the end");
}

#[test]
fn what_has_no_number_is_read_as_a_whole_however_large() {
    let mut rng = Rng::new(1);
    let life = Life { node: NodeId(5_000), ..a_life(&mut rng) };
    let mut bucket = Bucket::default();
    for level in [FEATURE_LEVEL, FeatureLevel(1)] {
        let life = Life { epoch: life.epoch.next(), ..if level == FEATURE_LEVEL { life } else { a_life(&mut rng) } };
        let mut bench = Bench::at_level(level, &sizes(), life, &rng);
        bench.append(9_000, &mut rng);
        bench.settle(&mut bucket, &mut rng);
        let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
        assert_eq!(reader.finish(&mut bucket, &mut rng), Told::Records(by_stream(&bench.sent), Lsn(1)));
        assert_eq!(reader.objects, 0, "{level:?}");
    }
}

#[test]
fn a_read_that_is_not_answered_is_never_taken_for_missing() {
    for error in [StoreError::Throttled, StoreError::Ambiguous(Cause::Timeout), StoreError::Corrupt] {
        let mut rng = Rng::new(1);
        let (bench, life, mut bucket) = with(2, &mut rng);
        let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
        for _ in 0..50 {
            while reader.bench.pending.len() > 0 {
                let is_get = |op: &StoreOp| matches!(op, StoreOp::Get { .. });
                let (op, result) = reader.bench.pending.fail_one(is_get, error);
                reader.bench.handle(Input::Store(op, result));
            }
            assert!(reader.listen(&bucket).is_none() && bucket.objects.len() == 2, "no seal, no end");
            reader.bench.wait();
        }
        let told = reader.finish(&mut bucket, &mut rng);
        assert_eq!(told, Told::Records(by_stream(&bench.sent), Lsn(2)));
    }
}

#[test]
fn a_read_that_is_denied_stops_the_node() {
    let mut rng = Rng::new(1);
    let (_, life, _) = with(1, &mut rng);
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    let (op, result) = reader.bench.pending.fail_one(|_| true, StoreError::Denied);
    reader.bench.handle(Input::Store(op, result));
    let told = reader.bench.to_node.pop();
    assert!(matches!(&told, Some(node::Mail::Failed(Halt::Bucket(why))) if why.contains("can't be read")), "{told:?}");
}

#[test]
fn damage_and_objects_of_others_are_no_end_of_the_log() {
    let mut rng = Rng::new(1);
    for kind in 0..5 {
        let (_, life, mut bucket) = with(3, &mut rng);
        let key = name(&life, 1);
        let whole = bucket.objects[&key].clone();
        let changed = match kind {
            0 => whole.slice(..whole.len() - 1),
            1 => {
                let mut bytes = whole.to_vec();
                bytes[5_000] ^= 1;
                bytes.into()
            }
            2 => bucket.objects[&name(&life, 0)].clone(),
            3 => format::seal(&Life { uuid: WalUuid([9; 16]), ..life }, Lsn(1), NodeEpoch(2)).to_bytes(),
            _ => Vec::new().into(),
        };
        bucket.objects.insert(key, changed);
        let before = bucket.objects.clone();
        assert_eq!(recover(&mut bucket, &sizes(), life, Lsn(0), &mut rng), Told::Damaged, "{kind}");
        assert_eq!(bucket.objects, before, "nothing was changed");
    }
}

#[test]
fn what_suffered_on_the_way_is_read_again() {
    let mut rng = Rng::new(1);
    let (bench, life, mut bucket) = with(1, &mut rng);
    let whole = bucket.objects[&name(&life, 0)].clone();
    bucket.objects.insert(name(&life, 0), whole.slice(..100));
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    let first = |op: &StoreOp| matches!(op, StoreOp::Get { key, .. } if *key == name(&life, 0));
    let (op, result) = reader.bench.pending.complete_one(&mut bucket, first);
    reader.bench.handle(Input::Store(op, result));
    bucket.objects.insert(name(&life, 0), whole);
    assert_eq!(reader.finish(&mut bucket, &mut rng), Told::Records(vec![stamped(&bench.sent[0])], Lsn(1)));
}

#[test]
fn reads_that_come_after_the_end_say_nothing() {
    let mut rng = Rng::new(1);
    let (_, life, mut bucket) = with(1, &mut rng);
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    let early = |op: &StoreOp| match op {
        StoreOp::Get { key, .. } => *key == name(&life, 0) || *key == name(&life, 1),
        op => matches!(op, StoreOp::Put { .. }),
    };
    while reader.bench.pending.ops().any(early) {
        let (op, result) = reader.bench.pending.complete_one(&mut bucket, early);
        reader.bench.handle(Input::Store(op, result));
    }
    assert!(matches!(reader.listen(&bucket), Some(Told::Records(..))));
    assert_eq!(reader.bench.pending.len(), 3, "of those beyond the end");
    let life = Life { epoch: life.epoch.next(), ..life };
    reader.bench.mail(Mail::Format { life, level: FEATURE_LEVEL });
    reader.bench.append(100, &mut rng);
    reader.bench.to_node.clear();
    reader.bench.settle(&mut bucket, &mut rng);
    assert_eq!(reader.bench.delivered, 1);
}

#[test]
fn an_object_that_is_faster_than_the_seal_belongs_to_the_log() {
    let mut rng = Rng::new(1);
    let (mut bench, life, mut bucket) = with(1, &mut rng);
    bench.append(200, &mut rng);
    bench.wait();
    let mut reader = Reader::new(&sizes(), life, Lsn(0), &rng);
    // It finds the second one missing, and is about to seal.
    while !reader.bench.pending.ops().any(|op| matches!(op, StoreOp::Put { .. })) {
        let is_get = |op: &StoreOp| matches!(op, StoreOp::Get { .. });
        let (op, result) = reader.bench.pending.complete_one(&mut bucket, is_get);
        reader.bench.handle(Input::Store(op, result));
        assert!(reader.listen(&bucket).is_none());
    }
    bench.complete(&mut bucket, &mut rng);
    assert_eq!(bench.delivered, 2);
    let told = reader.finish(&mut bucket, &mut rng);
    assert_eq!(told, Told::Records(by_stream(&bench.sent), Lsn(2)));
}
